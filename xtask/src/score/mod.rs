//! Figures that the README or an issue claims, measured afresh.
//!
//! One line each: `name value unit bound ok|short`. To add one: a [`Figure`] in a group's list, and the measuring in its function.

pub mod ablation;
mod accuracy;
mod covariates;
mod families;
mod mixture;
mod moe;
mod train;

use crate::{Failure, root, run};
use serde_json::Value;
use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Instant,
};

/// What a figure must be.
#[derive(Clone, Copy)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
    /// The value, give or take.
    About(f64, f64),
}

impl Bound {
    fn holds(self, value: f64) -> bool {
        match self {
            Self::AtMost(bound) => value <= bound,
            Self::AtLeast(bound) => value >= bound,
            Self::About(bound, spread) => (value - bound).abs() <= spread,
        }
    }
}

impl std::fmt::Display for Bound {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::AtMost(bound) => write!(f, "<={bound}"),
            Self::AtLeast(bound) => write!(f, ">={bound}"),
            Self::About(bound, spread) => write!(f, "{bound}±{spread}"),
        }
    }
}

struct Figure {
    name: &'static str,
    unit: &'static str,
    bound: Bound,
}

const fn figure(name: &'static str, unit: &'static str, bound: Bound) -> Figure {
    Figure { name, unit, bound }
}

/// What was measured, by the figures' names.
type Measured = BTreeMap<String, f64>;

/// Figures that are measured together.
struct Group {
    figures: &'static [Figure],
    measure: fn(&Options) -> Result<Measured, Failure>,
}

/// What a measurement may need besides the repository.
pub struct Options {
    /// Folder with data that the repository cannot hold.
    pub data: Option<PathBuf>,
    /// Whether accuracy is measured on test rows.
    pub last: bool,
    /// Seeds of the accuracy.
    pub seeds: u64,
}

use Bound::{About, AtLeast, AtMost};

const GROUPS: [Group; 11] = [
    accuracy::GROUP,
    covariates::GROUP,
    families::GROUP,
    mixture::REGIMES,
    mixture::COLLAPSE,
    moe::GROUP,
    train::GROUP,
    Group {
        figures: &[
            figure("etth1.windows", "windows", About(2785.0, 0.0)),
            figure("etth1.baselines_seconds", "s", AtMost(10.0)),
            figure("etth1.seconds", "s", AtMost(300.0)),
            figure("etth1.model_over_ridge_mse", "MSE", AtMost(0.003)),
            figure("etth1.network_mse_worst", "MSE", AtMost(0.395)),
            figure("etth1.model_mse_spread", "MSE", AtMost(0.005)),
            figure("etth1.model_mse", "MSE", About(0.363, 0.003)),
            figure("etth1.model_mae", "MAE", About(0.3904, 0.003)),
            figure("etth1.model_mase", "MASE", About(0.9064, 0.007)),
            figure("etth1.model_wql", "WQL", About(0.3429, 0.003)),
            figure("etth1.model_coverage_80", "share", About(0.817, 0.015)),
            figure("etth1.network_mse", "MSE", About(0.3776, 0.006)),
            figure("etth1.network_mae", "MAE", About(0.4027, 0.006)),
            figure("etth1.network_mase", "MASE", About(0.9344, 0.02)),
            figure("etth1.network_wql", "WQL", About(0.3513, 0.006)),
            figure("etth1.network_coverage_80", "share", About(0.807, 0.015)),
            figure("etth1.ridge_mse", "MSE", About(0.367, 0.0005)),
            figure("etth1.ridge_mae", "MAE", About(0.3914, 0.0005)),
            figure("etth1.ridge_mase", "MASE", About(0.9091, 0.0005)),
            figure("etth1.ridge_wql", "WQL", About(0.3652, 0.0005)),
            figure("etth1.ridge_coverage_80", "share", About(0.886, 0.002)),
            figure("etth1.seasonal_naive_mse", "MSE", About(0.5122, 0.0005)),
            figure("etth1.seasonal_naive_mae", "MAE", About(0.4333, 0.0005)),
            figure("etth1.seasonal_naive_mase", "MASE", About(1.0103, 0.0005)),
            figure("etth1.seasonal_naive_wql", "WQL", About(0.4091, 0.0005)),
            figure("etth1.seasonal_naive_coverage_80", "share", About(0.887, 0.002)),
            figure("etth1.linear_share", "share", About(0.62, 0.2)),
            figure("etth1.tokens_per_second", "samples/s", AtLeast(40_000.0)),
        ],
        measure: etth1,
    },
    Group {
        figures: &[
            figure("stream.same_bits_as_forecast", "of 672 values", AtLeast(672.0)),
            figure("stream.same_lines_after_restore", "of 2000 lines", AtLeast(2000.0)),
        ],
        measure: stream,
    },
    Group { figures: &[figure("forecast.one_series_ms", "ms", AtMost(50.0))], measure: command_line },
    Group {
        figures: &[
            figure("kernels.linear_speedup", "×", AtLeast(2.0)),
            figure("kernels.silu_speedup", "×", AtLeast(5.0)),
            figure("kernels.s4d_speedup", "×", AtLeast(40.0)),
            figure("live.one_column_advance_us", "µs", AtMost(10.0)),
            figure("live.one_column_predict_us", "µs", AtMost(20.0)),
            figure("live.seven_columns_advance_us", "µs", AtMost(45.0)),
            figure("live.seven_columns_predict_us", "µs", AtMost(140.0)),
        ],
        measure: timings,
    },
];

/// Measures the groups that hold a figure of this name, and prints those figures.
pub fn score(name: &str, options: &Options) -> Result<bool, Failure> {
    let wanted = |figure: &&Figure| figure.name.starts_with(name);
    if !GROUPS.iter().any(|group| group.figures.iter().any(|figure| wanted(&figure))) {
        let names: Vec<_> = GROUPS.iter().flat_map(|group| group.figures).map(|figure| figure.name).collect();
        return Err(format!("no figure starts with `{name}`; there are {}", names.join(", ")).into());
    }
    let mut all_hold = true;
    for group in GROUPS.iter().filter(|group| group.figures.iter().any(|figure| wanted(&figure))) {
        run("cargo", &["build", "--release", "--quiet"], &[])?;
        let started = Instant::now();
        let measured = (group.measure)(options)?;
        if measured.is_empty() {
            // The measurement has said what it lacks.
            continue;
        }
        for figure in group.figures.iter().filter(wanted) {
            let Some(&value) = measured.get(figure.name) else {
                println!("{} not measured", figure.name);
                all_hold = false;
                continue;
            };
            let holds = figure.bound.holds(value);
            all_hold &= holds;
            let digits = if value.abs() >= 100.0 { 0 } else { 4 };
            println!("{} {value:.digits$} {} {} {}", figure.name, figure.unit, figure.bound, if holds { "ok" } else { "short" });
        }
        println!("# {:.0} s", started.elapsed().as_secs_f64());
    }
    Ok(all_hold)
}

fn binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("release").join("foretoken")
}

/// The example, trained with three seeds.
fn etth1(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let mut figures = BTreeMap::new();
    let mut seen: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
    let mut worst = |name: &str, value: f64| {
        let entry = figures.entry(format!("etth1.{name}")).or_insert(value);
        *entry = entry.max(value);
    };
    let mut slowest_rate = f64::MAX;
    let mut shares = Vec::new();
    for seed in ["1", "2", "3"] {
        let out = folder.path().join(seed);
        let started = Instant::now();
        let mut command = Command::new(binary());
        command.args(["train", "examples/etth1.toml", "--seed", seed, "--out"]).arg(&out).current_dir(root());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        for line in BufReader::new(child.stdout.take().ok_or("no output")?).lines() {
            if line?.contains("seasonal-naive") && !out.join("model.safetensors").exists() {
                worst("baselines_seconds", started.elapsed().as_secs_f64());
            }
        }
        if !child.wait()?.success() {
            return Err(format!("training with seed {seed} failed").into());
        }
        worst("seconds", started.elapsed().as_secs_f64());
        let metrics: Value = serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json"))?)?;
        let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
        let mse = |name: &str| number(&metrics["test"][name]["mse"]);
        worst("windows", number(&metrics["windows"]));
        worst("model_over_ridge_mse", mse("model") - mse("ridge"));
        worst("network_mse_worst", mse("network"));
        shares.push(number(&metrics["linear_share"]));
        slowest_rate = slowest_rate.min(number(&metrics["tokens_per_second"]));
        for name in ["model", "network", "ridge", "seasonal-naive"] {
            for score in ["mse", "mae", "mase", "wql", "coverage_80"] {
                seen.entry((name, score)).or_default().push(number(&metrics["test"][name][score]));
            }
        }
    }
    for ((name, score), values) in seen {
        let mean = values.iter().sum::<f64>() / values.len() as f64;
        let spread = values.iter().copied().fold(f64::MIN, f64::max) - values.iter().copied().fold(f64::MAX, f64::min);
        println!("# {name} {score}: {mean:.4} ± {:.4} over three seeds", spread / 2.0);
        let name = name.replace('-', "_");
        figures.insert(format!("etth1.{name}_{score}"), mean);
        figures.insert(format!("etth1.{name}_{score}_spread"), spread / 2.0);
    }
    figures.insert("etth1.linear_share".into(), shares.iter().sum::<f64>() / shares.len() as f64);
    figures.insert("etth1.tokens_per_second".into(), slowest_rate);
    Ok(figures)
}

fn foretoken(arguments: &[&str], input: &str, folder: &Path) -> Result<String, Failure> {
    let mut command = Command::new(binary());
    let mut child =
        command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let (mut stdin, input) = (child.stdin.take().ok_or("no input")?, input.to_string());
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output()?;
    writer.join().map_err(|_| "the input was not written")??;
    match output.status.success() {
        true => Ok(String::from_utf8(output.stdout)?),
        false => Err(format!("foretoken {} failed", arguments.join(" ")).into()),
    }
}

/// The first 2,000 samples of ETTh1 through `stream`, whole and in two halves, beside `forecast`.
fn stream(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let example = root().join("examples/etth1.toml").display().to_string();
    foretoken(&["train", &example, "--epochs", "2", "--out", "run"], "", at)?;
    let data = std::fs::read_to_string(root().join("examples/data/ETTh1.csv"))?;
    let lines: Vec<&str> = data.lines().take(2001).collect();
    let text = |lines: &[&str]| lines.iter().flat_map(|line| [*line, "\n"]).collect::<String>();
    std::fs::write(at.join("head.csv"), text(&lines))?;
    let csv = foretoken(&["forecast", "run", "head.csv"], "", at)?;
    let forecast: Vec<&str> = csv.lines().skip(1).filter_map(|line| line.split(',').nth(2)).collect();
    let whole = foretoken(&["stream", "run"], &text(&lines), at)?;
    let last: Vec<&str> = whole.lines().last().unwrap_or("").split(',').collect();
    // Values are printed in the shortest form that reads back to the same bits, so equal text is equal bits.
    let same = last.iter().zip(&forecast).filter(|(a, b)| a == b).count();
    let snapshot = ["stream", "run", "--snapshot", "snapshot.json"];
    let halves = foretoken(&snapshot, &text(&lines[..1001]), at)? + &foretoken(&snapshot, &text(&lines[1001..]), at)?;
    let equal = whole.lines().zip(halves.lines()).filter(|(a, b)| a == b).count();
    Ok(BTreeMap::from([
        ("stream.same_bits_as_forecast".into(), same as f64),
        ("stream.same_lines_after_restore".into(), equal as f64),
    ]))
}

/// Processes that are timed, after one that is not.
const TIMED: usize = 11;

/// 96 steps of one series of 17,420 rows from the command line, everything included, by the model of `forecast DATA` with its network: the median.
fn command_line(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let data = std::fs::read_to_string(root().join("examples/data/ETTh1.csv"))?;
    let last = |line: &str| Some(format!("{},{}\n", line.split_once(',')?.0, line.rsplit_once(',')?.1));
    std::fs::write(at.join("OT.csv"), data.lines().filter_map(last).collect::<String>())?;
    foretoken(&["forecast", "OT.csv", "--horizon", "96", "--minutes", "0"], "", at)?;
    foretoken(&["train", "runs/OT-96/sensible.toml", "--out", "run", "--minutes", "0.2", "--keep-network"], "", at)?;
    let mut times = Vec::new();
    for _ in 0..=TIMED {
        let started = Instant::now();
        foretoken(&["forecast", "run", "OT.csv"], "", at)?;
        times.push(1e3 * started.elapsed().as_secs_f64());
    }
    times.remove(0);
    times.sort_by(f64::total_cmp);
    Ok(BTreeMap::from([("forecast.one_series_ms".into(), times[TIMED / 2])]))
}

/// What `crates/foretoken/benches/figures.rs` prints.
fn timings(_: &Options) -> Result<Measured, Failure> {
    bench("figures")
}

/// The figures that a bench of `crates/foretoken` prints.
fn bench(name: &str) -> Result<Measured, Failure> {
    bench_of(name, &[])
}

/// The same, of what the arguments name.
fn bench_of(name: &str, arguments: &[&str]) -> Result<Measured, Failure> {
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet", "--workspace", "--bench", name, "--"]).args(arguments);
    figures_of(&mut command)
}

/// The figures that a command prints, run at the root of the repository.
fn figures_of(command: &mut Command) -> Result<Measured, Failure> {
    let output = command.current_dir(root()).output()?;
    if !output.status.success() {
        return Err(format!("{command:?} failed").into());
    }
    let text = String::from_utf8(output.stdout)?;
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_string(), words.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}
