//! The mixture block: ours from `crates/foretoken/benches/moe.rs`, Hugging Face's by `reference/peers/bench_moe.py`, in the same minutes.

use super::{
    Bound::{AtLeast, AtMost},
    Group, Measured, Options, bench, figure,
};
use crate::{Failure, root, run};
use std::{path::PathBuf, process::Command};

/// Ours against the machine's limits and against the peer.
pub const GROUP: Group = Group {
    figures: &[
        figure("moe.one_token_over_bound", "ratio", AtMost(1.5)),
        figure("moe.tokens_4096_share_of_ceiling", "share", AtLeast(0.6)),
        figure("moe.small_token_us", "µs", AtMost(4.0)),
        figure("moe.forward_two_threads_speedup", "×", AtLeast(1.7)),
        figure("moe.training_two_threads_speedup", "×", AtLeast(1.7)),
        figure("moe.many_experts_two_threads_speedup", "×", AtLeast(1.2)),
        figure("moe.more_experts_beyond_router_and_memory_us", "µs", AtMost(0.5)),
        figure("moe.peer_token_ratio", "×", AtLeast(2.0)),
        figure("moe.peer_small_token_ratio", "×", AtLeast(20.0)),
        figure("moe.peer_forward_ratio", "×", AtLeast(1.0)),
        figure("moe.peer_training_ratio", "×", AtLeast(2.0)),
        figure("moe.peer_training_two_threads_ratio", "×", AtLeast(1.0)),
    ],
    measure: moe,
};

/// A Python with what `reference/requirements.txt` names; made on first use.
pub fn python() -> Result<PathBuf, Failure> {
    let venv = root().join("target/peers");
    let python = venv.join("bin/python");
    if !python.exists() || !venv.join("complete").exists() {
        let text = |path: &std::path::Path| path.display().to_string();
        run("python3", &["-m", "venv", &text(&venv)], &[])?;
        let requirements = root().join("reference/requirements.txt");
        run(&text(&python), &["-m", "pip", "install", "--quiet", "-r", &text(&requirements)], &[])?;
        std::fs::write(venv.join("complete"), "")?;
    }
    Ok(python)
}

fn peer(threads: &str) -> Result<Measured, Failure> {
    let script = root().join("reference/peers/bench_moe.py");
    let output = Command::new(python()?).arg(script).arg(threads).output()?;
    if !output.status.success() {
        return Err(format!("bench_moe.py: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .filter_map(|(name, value)| Some((name.into(), value.parse().ok()?)))
        .collect())
}

fn moe(_: &Options) -> Result<Measured, Failure> {
    python()?;
    let mut measured = bench("moe")?;
    let mut peers = peer("1")?;
    peers.extend(peer("2")?);
    for (name, value) in measured.iter().chain(&peers) {
        println!("# {name} {value}");
    }
    let ours = |name: &str| measured.get(name).copied().ok_or_else(|| format!("{name} was not measured"));
    let theirs = |what: &str| {
        let values = ["eager", "grouped_mm"].map(|kind| peers.get(&format!("peer.{kind}.{what}")).copied().unwrap_or(f64::MAX));
        values[0].min(values[1])
    };
    let figures = ["1.one_token_ms", "1.small_token_ms", "1.forward_4096_ms", "1.training_4096_ms", "2.training_4096_ms"];
    if let Some(missing) = figures.into_iter().find(|figure| theirs(figure) == f64::MAX) {
        return Err(format!("bench_moe.py gave no {missing}").into());
    }
    // 4,096 tokens, forward and backward: three times the forward's multiplications, at the ceiling.
    let least = 3.0 * 4096.0 * 2.0 * 2.0 * 3.0 * 256.0 * 512.0 / ours("moe.ceiling_gflops")? * 1e-6;
    println!(
        "# at the measured ceiling forward and backward take {least:.1} ms, {:.2} × the peer",
        theirs("1.training_4096_ms") / least
    );
    let ratios = [
        ("moe.peer_token_ratio", 1e3 * theirs("1.one_token_ms") / ours("moe.one_token_us")?),
        ("moe.peer_small_token_ratio", 1e3 * theirs("1.small_token_ms") / ours("moe.small_token_us")?),
        ("moe.peer_forward_ratio", theirs("1.forward_4096_ms") / ours("moe.forward_4096_ms")?),
        ("moe.peer_training_ratio", theirs("1.training_4096_ms") / ours("moe.training_4096_ms")?),
        ("moe.peer_training_two_threads_ratio", theirs("2.training_4096_ms") / ours("moe.training_4096_two_threads_ms")?),
    ];
    measured.extend(ratios.map(|(name, value)| (name.to_string(), value)));
    Ok(measured)
}
