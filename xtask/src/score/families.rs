//! The families beside each other on ETTh1, from variants of `examples/etth1.toml`; how they age, and at another rate.

use super::{
    Bound::{About, AtLeast, AtMost},
    Figure, Group, Measured, Options, bench_of, figure, foretoken,
    mixture::{SEEDS, largest, mean, smallest},
};
use crate::{Failure, root};
use serde_json::Value;
use std::path::Path;

/// Each family's layer, and how wide the SwiGLU behind it is, so that all models have the same size. RWKV-7 has its own.
const FAMILIES: [(&str, usize); 8] =
    [("s4d", 257), ("s5", 236), ("mamba", 153), ("mamba2", 176), ("rwkv7", 0), ("attention", 237), ("gru", 171), ("lstm", 128)];

/// Samples in a training window: the test rows begin after sixty of them.
const WINDOW: usize = 192;

macro_rules! figures {
    ($($family:literal),*) => {
        &[
            figure("families.parameters_spread", "share", AtMost(0.01)),
            figure("families.worst_loss_fall", "ratio", AtMost(0.95)),
            $(
                figure(concat!("families.", $family, "_over_naive_mse"), "ratio", AtMost(0.9)),
                figure(concat!("families.", $family, "_old_over_fresh_mse"), "ratio", AtMost(1.02)),
                figure(concat!("families.", $family, "_step_growth"), "ratio", AtMost(1.15)),
            )*
            figure("families.same_bits_as_forecast", "of 672 values", AtLeast(672.0)),
            figure("families.s4d_twice_the_rate", "ratio", About(1.0, 0.05)),
            figure("families.s5_twice_the_rate", "ratio", About(1.0, 0.05)),
        ]
    };
}

const FIGURES: &[Figure] = figures!("s4d", "s5", "mamba", "mamba2", "rwkv7", "attention", "gru", "lstm", "ensemble");

/// Every family on ETTh1, 96 steps.
pub const GROUP: Group = Group { figures: FIGURES, measure: families };

/// A run's TOML: few taps and no linear expert, so that what lies further back must come from the state.
fn run_text(data: &Path, split: &str, [horizon, taps, season, scaler]: [usize; 4], layers: &str) -> String {
    format!(
        "[data]\npath = \"{}\"\nsplit = {split}\nseason = {season}\n\
         [model]\nhorizon = {horizon}\ntaps = {taps}\nwidth = 64\nscaler = {{ window = {scaler} }}\n{layers}\
         [train]\nepochs = 8\nwindow = {WINDOW}\ncarry = true\n",
        data.display()
    )
}

fn layers(family: &str) -> String {
    if let Some((_, hidden)) = FAMILIES.iter().find(|(name, _)| *name == family) {
        let swiglu = format!("[[model.layers]]\ntype = \"swiglu\"\nhidden = {hidden}\n");
        return format!("[[model.layers]]\ntype = \"{family}\"\n{}", if *hidden > 0 { &swiglu } else { "" });
    }
    "family = \"ensemble\"\n".into()
}

/// Trains into `at/name`; its metrics, and the last epoch's loss over the first's.
fn train(at: &Path, name: &str, text: &str, seed: u64) -> Result<(Value, f64), Failure> {
    std::fs::write(at.join("run.toml"), text)?;
    let printed = foretoken(&["train", "run.toml", "--seed", &seed.to_string(), "--out", name], "", at)?;
    let losses: Vec<f64> = printed
        .lines()
        .filter(|line| line.starts_with("epoch"))
        .filter_map(|line| line.split("loss ").nth(1)?.split_whitespace().next()?.parse().ok())
        .collect();
    let (Some(first), Some(last)) = (losses.first(), losses.last()) else {
        return Err(format!("{name}: no losses in its output").into());
    };
    Ok((serde_json::from_str(&std::fs::read_to_string(at.join(name).join("metrics.json"))?)?, last / first))
}

/// The model's squared error as `backtest` prints it.
fn backtest(at: &Path, arguments: &[&str]) -> Result<f64, Failure> {
    let printed = foretoken(&[&["backtest"], arguments].concat(), "", at)?;
    let line = printed.lines().find(|line| line.trim_start().starts_with("model")).ok_or("backtest printed no model")?;
    Ok(line.split_whitespace().nth(1).ok_or("backtest printed no error")?.parse()?)
}

fn families(_: &Options) -> Result<Measured, Failure> {
    let folder = tempfile::tempdir()?;
    let (at, data) = (folder.path(), root().join("examples/data/ETTh1.csv"));
    let hourly = data.display().to_string();
    let mut measured = Measured::new();
    let (mut sizes, mut falls, mut lines) = (Vec::new(), Vec::new(), Vec::new());
    for family in FAMILIES.iter().map(|(family, _)| *family).chain(["ensemble"]) {
        let text = run_text(&data, "\"ett\"", [96, 24, 24, 512], &layers(family));
        let (mut mse, mut mae, mut aged, mut seconds, mut rates) = (Vec::new(), Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (mut parameters, mut active, mut naive) = (0, 0, 0.0);
        // The first seed last: its models stay, to be timed and streamed.
        for seed in SEEDS.into_iter().rev() {
            let (metrics, fall) = train(at, family, &text, seed)?;
            let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);
            let test = &metrics["test"]["model"];
            mse.push(number(&test["mse"]));
            mae.push(number(&test["mae"]));
            seconds.push(number(&metrics["seconds"]));
            rates.push(number(&metrics["tokens_per_second"]));
            (parameters, active) =
                (metrics["parameters"].as_u64().unwrap_or(0), metrics["active_parameters"].as_u64().unwrap_or(0));
            naive = number(&metrics["test"]["seasonal-naive"]["mse"]);
            falls.push(fall);
            // The state carried from the first row of the file, beside one that looks back on a window.
            let fresh = backtest(at, &[family, &hourly, "--refresh", &WINDOW.to_string()])?;
            aged.push(number(&test["mse"]) / fresh);
        }
        if family != "ensemble" {
            sizes.push(parameters as f64);
        }
        measured.insert(format!("families.{family}_over_naive_mse"), mean(&mse) / naive);
        measured.insert(format!("families.{family}_old_over_fresh_mse"), largest(&aged));
        let half = |values: &[f64]| 0.5 * (largest(values) - smallest(values));
        lines.push((
            family,
            format!(
                "| `{family}` | {:.4} ± {:.4} | {:.4} ± {:.4} | {parameters} | {active} | {:.1} | {:.0}k | ",
                mean(&mse),
                half(&mse),
                mean(&mae),
                half(&mae),
                mean(&seconds),
                smallest(&rates) / 1e3
            ),
            format!("{:.3} … {:.3}", smallest(&aged), largest(&aged)),
        ));
    }
    measured.insert("families.parameters_spread".into(), largest(&sizes) / smallest(&sizes) - 1.0);
    measured.insert("families.worst_loss_fall".into(), largest(&falls));
    let steps = bench_of("families", &[&at.display().to_string()])?;
    println!(
        "# | family | MSE | MAE | parameters | active | seconds | samples/s | step µs after 1k, 10k, 100k samples | old/fresh |"
    );
    for (family, line, aged) in lines {
        let step = |history: u32| steps.get(&format!("{family}_step_us_{history}")).copied().unwrap_or(f64::NAN);
        println!("# {line}{:.1}, {:.1}, {:.1} | {aged} |", step(1_000), step(10_000), step(100_000));
        measured.insert(format!("families.{family}_step_growth"), step(100_000) / step(1_000));
    }
    measured.insert("families.same_bits_as_forecast".into(), same_bits(at, &data)?);
    for family in ["s4d", "s5"] {
        measured.insert(format!("families.{family}_twice_the_rate"), twice_the_rate(at, &data, family)?);
    }
    Ok(measured)
}

/// The first 2,000 samples through the ensemble's `stream` beside its `forecast`: values of the last forecast that are equal.
fn same_bits(at: &Path, data: &Path) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(data)?;
    let head: String = text.lines().take(2001).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(at.join("head.csv"), &head)?;
    let forecast = foretoken(&["forecast", "ensemble", "head.csv"], "", at)?;
    let streamed = foretoken(&["stream", "ensemble"], &head, at)?;
    let last = streamed.lines().last().unwrap_or("").split(',');
    let same = last.zip(forecast.lines().skip(1).filter_map(|line| line.split(',').nth(2)));
    Ok(same.filter(|(a, b)| a == b).count() as f64)
}

/// Trained on every second row and streamed on all of them with `--rate 2`: its error over that at its own rate.
fn twice_the_rate(at: &Path, data: &Path, family: &str) -> Result<f64, Failure> {
    let text = std::fs::read_to_string(data)?;
    let mut rows = text.lines();
    let header = rows.next().ok_or("no header")?;
    let coarse: String = [header].into_iter().chain(rows.step_by(2)).flat_map(|line| [line, "\n"]).collect();
    let path = at.join("coarse.csv");
    std::fs::write(&path, coarse)?;
    let text = run_text(&path, "{ rows = [4320, 1440, 1440] }", [48, 1, 12, 256], &layers(family));
    let (mut own, mut twice) = (Vec::new(), Vec::new());
    for seed in SEEDS {
        train(at, "coarse", &text, seed)?;
        own.push(backtest(at, &["coarse", "coarse.csv"])?);
        twice.push(backtest(at, &["coarse", &data.display().to_string(), "--rate", "2"])?);
    }
    println!("# {family}: MSE every two hours {own:.4?}, every hour with `--rate 2` {twice:.4?}");
    Ok(mean(&twice) / mean(&own))
}
