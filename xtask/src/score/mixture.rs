//! Does the mixture pay, and do its experts live? Trained afresh with three seeds, from variants of `examples/regimes.toml`.

use super::{
    Bound::{AtLeast, AtMost},
    Figure, Group, Measured, Options, binary, figure,
};
use crate::{Failure, root};
use serde_json::Value;
use std::{path::Path, process::Command};

pub const SEEDS: [u64; 3] = [1, 2, 3];

/// The regime signal: the mixture against dense networks of equal active and of equal total size.
pub const REGIMES: Group = Group {
    figures: &[
        figure("mixture.mse_over_dense_active", "ratio", AtMost(0.95)),
        figure("mixture.mse_over_dense_total", "ratio", AtMost(0.97)),
        figure("mixture.rand_index_worst", "index", AtLeast(0.6)),
        figure("mixture.one_regime_cost", "ratio", AtMost(1.01)),
    ],
    measure: regimes,
};

const COLLAPSED: &[Figure] = &[
    figure("collapse.off_dead", "experts", AtLeast(1.0)),
    figure("collapse.off_max_violation", "ratio", AtLeast(1.0)),
    figure("collapse.switch_dead", "experts", AtMost(0.0)),
    figure("collapse.switch_max_violation", "ratio", AtMost(1.0)),
    figure("collapse.importance_dead", "experts", AtMost(0.0)),
    figure("collapse.importance_max_violation", "ratio", AtMost(1.0)),
    figure("collapse.bias_dead", "experts", AtMost(0.0)),
    figure("collapse.bias_max_violation", "ratio", AtMost(1.0)),
    figure("collapse.sigmoid_bias_dead", "experts", AtMost(0.0)),
    figure("collapse.sigmoid_bias_max_violation", "ratio", AtMost(1.0)),
    figure("collapse.load_dead", "experts", AtMost(0.0)),
    figure("collapse.load_max_violation", "ratio", AtMost(1.0)),
];

/// Eight experts on the regime signal, without and with each balancer.
pub const COLLAPSE: Group = Group { figures: COLLAPSED, measure: collapse };

const TRAIN: &str = "[train]\nepochs = 100\npatience = 100\nbatch = 2\npositions = 128\nlearning_rate = 8e-3\n";

fn swiglu(hidden: usize) -> String {
    format!("[[model.layers]]\ntype = \"swiglu\"\nhidden = {hidden}\n")
}

fn run_text(data: &str, layers: &str, train: &str) -> String {
    let path = root().join("examples/data").join(data);
    format!(
        "[data]\npath = \"{}\"\ncolumns = [\"x\"]\nsplit = {{ rows = [14000, 2000, 4000] }}\nseason = 16\n\
         [model]\nhorizon = 8\ntaps = 16\nwidth = 32\n{layers}{train}",
        path.display()
    )
}

/// One trained run's metrics; its folder stays under `folder`.
pub fn train(folder: &Path, name: &str, text: &str, seed: u64) -> Result<Value, Failure> {
    let (toml, out) = (folder.join(format!("{name}-{seed}.toml")), folder.join(format!("{name}-{seed}")));
    std::fs::write(&toml, text)?;
    let mut command = Command::new(binary());
    let output = command.arg("train").arg(&toml).args(["--seed", &seed.to_string(), "--out"]).arg(&out).output()?;
    if !output.status.success() {
        return Err(format!("{name}: {}", String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json"))?)?)
}

/// The network's errors with every seed, on `rows` (`test` or `validation`); prints a line.
fn errors(folder: &Path, name: &str, text: &str, rows: &str) -> Result<Vec<f64>, Failure> {
    let (mut errors, mut parameters) = (Vec::new(), (0, 0));
    for seed in SEEDS {
        let metrics = train(folder, name, text, seed)?;
        let own = if metrics[rows]["network"].is_null() { "model" } else { "network" };
        errors.push(metrics[rows][own]["mse"].as_f64().unwrap_or(f64::NAN));
        let count = |key: &str| metrics[key].as_u64().unwrap_or(0);
        parameters = (count("parameters"), count("active_parameters"));
    }
    println!(
        "# {name:24} {rows} MSE {:.4} ± {:.4}, {} parameters, {} active",
        mean(&errors),
        0.5 * (largest(&errors) - smallest(&errors)),
        parameters.0,
        parameters.1
    );
    Ok(errors)
}

pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

pub fn largest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MIN, f64::max)
}

pub fn smallest(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::MAX, f64::min)
}

fn example() -> Result<String, Failure> {
    let text = std::fs::read_to_string(root().join("examples/regimes.toml"))?;
    let (Some(from), Some(to)) = (text.find("[[model.layers]]"), text.find("[train]")) else {
        return Err("examples/regimes.toml has no layers".into());
    };
    Ok(text[from..to].to_string())
}

fn regimes(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let at = folder.path();
    let mixture = example()?;
    let (active, total) = (swiglu(13), swiglu(23) + &swiglu(23));
    let networks = mixture.replace("{ type = \"linear\" }", "{ type = \"swiglu\", hidden = 16 }");
    let test = |name: &str, layers: &str| errors(at, name, &run_text("regimes.csv", layers, TRAIN), "test");
    let own = test("mixture of linear", &mixture)?;
    test("mixture of swiglu", &networks)?;
    let active_errors = test("dense, equal active", &active)?;
    let total_errors = test("dense, equal total", &total)?;
    let mut rand = Vec::new();
    for seed in SEEDS {
        let run = at.join(format!("mixture of linear-{seed}"));
        let mut command = Command::new(binary());
        let data = root().join("examples/data/regimes.csv");
        let output = command.arg("inspect").arg(run).arg(data).args(["--regime", "regime", "--last", "4000"]).output()?;
        let text = String::from_utf8(output.stdout)?;
        let line = text.lines().find(|line| line.contains("adjusted Rand index")).ok_or("inspect gave no Rand index")?;
        rand.push(line.split_whitespace().last().unwrap_or("").parse::<f64>()?);
    }
    println!("# adjusted Rand index of routing and regimes on test rows: {rand:?}");
    let single = |name: &str, layers: &str| errors(at, name, &run_text("one_regime.csv", layers, TRAIN), "test");
    let one = single("one regime, mixture", &mixture)?;
    let (one_active, one_total) = (single("one regime, active", &active)?, single("one regime, total", &total)?);
    Ok(Measured::from([
        ("mixture.mse_over_dense_active".into(), mean(&own) / mean(&active_errors)),
        ("mixture.mse_over_dense_total".into(), mean(&own) / mean(&total_errors)),
        ("mixture.rand_index_worst".into(), smallest(&rand)),
        ("mixture.one_regime_cost".into(), mean(&one) / mean(&one_active).min(mean(&one_total))),
    ]))
}

fn collapse(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let mut measured = Measured::new();
    for (name, top_k, options) in [
        ("off", 1, "load_balance_coeff = 0.0\nrenormalise = false"),
        ("switch", 1, "load_balance_coeff = 0.05\nrenormalise = false"),
        ("importance", 1, "load_balance_coeff = 0.0\nimportance_coeff = 0.1\nrenormalise = false"),
        ("bias", 1, "bias_rate = 0.01\nrenormalise = false"),
        ("sigmoid_bias", 1, "routing_strategy = \"sigmoid\"\nbias_rate = 0.01\nrenormalise = false"),
        ("load", 2, "routing_strategy = \"noisy-top-k\"\nload_balance_coeff = 0.0\nload_coeff = 0.1"),
    ] {
        let layers = format!(
            "[[model.layers]]\ntype = \"mixture\"\nnum_experts = 8\ntop_k = {top_k}\n\
             experts = [{{ type = \"swiglu\", hidden = 16 }}]\n{options}\n"
        );
        let train_text = TRAIN.replace("= 100", "= 30");
        let (mut dead, mut violations) = (Vec::new(), Vec::new());
        for seed in SEEDS {
            let metrics = train(folder.path(), name, &run_text("regimes.csv", &layers, &train_text), seed)?;
            let usage = metrics["expert_usage"][0]["chosen"].as_array().ok_or("no usage")?;
            let chosen: Vec<f64> = usage.iter().filter_map(Value::as_f64).collect();
            let even = mean(&chosen);
            dead.push(chosen.iter().filter(|count| **count < 0.01 * even).count() as f64);
            violations.push(largest(&chosen) / even - 1.0);
        }
        println!("# {name:14} dead experts {dead:?}, MaxVio {violations:.2?}");
        // Without a balancer the best seed, with one the worst.
        let pick = |values: &[f64]| if name == "off" { smallest(values) } else { largest(values) };
        measured.insert(format!("collapse.{name}_dead"), pick(&dead));
        measured.insert(format!("collapse.{name}_max_violation"), pick(&violations));
    }
    Ok(measured)
}

/// Options of a mixture on Weather.
pub const EVIDENCE: &str = "top_k = 1\nrouting_strategy = \"evidence\"\nload_balance_coeff = 0.0\nevidence = { coeff = 0.3 }\n";

/// A mixture of four such experts.
pub fn mixture_of(expert: &str, options: &str) -> String {
    format!("[[model.layers]]\ntype = \"mixture\"\nnum_experts = 4\n{options}experts = [{expert}]\n")
}

/// A run on Weather, light enough to be repeated: few taps, five epochs.
pub fn weather_run(data: &Path, layers: &str) -> String {
    format!(
        "[data]\npath = \"{}\"\nsplit = {{ shares = [0.7, 0.1, 0.2] }}\nseason = 144\n\
         [model]\nhorizon = 96\ntaps = 144\nlinear = {{ lookback = 512 }}\n\
         [[model.layers]]\ntype = \"s4d\"\n{layers}[train]\nepochs = 5\nbatch = 16\n",
        data.display()
    )
}
