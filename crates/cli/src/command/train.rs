//! `foretoken train`: from a run's TOML to a run folder.

use crate::{
    draw::{self, forecast::Picture},
    error::CliError,
    routing::timelines,
    run::{Prepared, Run},
    score::{Judge, by_name},
    table,
};
use foretoken_eval::{Baseline, Ridge, Scores, SeasonalNaive};
use foretoken_model::{Forecaster, ModelError, file::write_atomically, linear_expert::LinearWeights};
use foretoken_train::{Checkpoint, EpochReport, Task, Trainer};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// Train a forecaster, score it against its baselines, and fill a run folder.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken train examples/etth1.toml --out runs/etth1")]
pub struct Arguments {
    /// The run's TOML.
    run: PathBuf,
    /// Folder for the results; `runs/NAME` by default.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Most epochs, instead of the TOML's.
    #[arg(long)]
    epochs: Option<usize>,
    /// Seed, instead of the TOML's.
    #[arg(long)]
    seed: Option<u64>,
    /// Go on from the checkpoint in the run folder.
    #[arg(long)]
    resume: bool,
}

/// `metrics.json`.
#[derive(Serialize)]
struct Metrics {
    /// Scores on test rows by forecaster: `model`, `network`, `ridge`, `seasonal-naive`.
    test: BTreeMap<String, Scores>,
    /// The same on validation rows.
    validation: BTreeMap<String, Scores>,
    /// Test windows of one column.
    windows: u64,
    /// Mean share of the linear expert in the point forecast.
    linear_share: f64,
    /// Wall time of the command.
    seconds: f64,
    /// Samples through the network a second of training.
    tokens_per_second: f64,
    parameters: usize,
    active_parameters: usize,
    seed: u64,
    /// Epoch whose weights were kept.
    best_epoch: u64,
    /// One entry a mixture: choices of each expert over the test rows.
    expert_usage: Vec<foretoken_model::ExpertUsage>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let started = Instant::now();
    let mut run = Run::read(&arguments.run)?;
    run.train.epochs = arguments.epochs.unwrap_or(run.train.epochs);
    run.train.seed = arguments.seed.unwrap_or(run.train.seed);
    let name = arguments.run.file_stem().unwrap_or_default();
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    let data = run.data.prepare()?;
    let judge = Judge::new(&data, run.model.horizon, &run.model.quantiles, run.data.season);
    let ridge = run.model.linear.as_ref().map(|linear| judge.fit_ridge(linear.lookback)).transpose()?;
    let baselines = judge.baselines(ridge.as_ref(), &data.ranges.test)?;
    println!(
        "baselines on {} test windows of {} columns:",
        baselines[0].1.windows / data.columns.len() as u64,
        data.columns.len()
    );
    println!("{}", table::scores(&baselines));
    std::fs::create_dir_all(&out).map_err(CliError::io(&out))?;
    write_atomically(&out.join("run.toml"), run.to_toml()?.as_bytes())?;
    let (forecaster, trained) = train(&run, &data, ridge.as_ref(), &out, arguments)?;
    let forecaster = Arc::new(forecaster);
    forecaster.save(&out.join("model.safetensors"))?;
    forecaster.network().mixtures().iter().for_each(|mixture| mixture.live_usage().clear());
    let mut test = judge.model(&forecaster, &data.ranges.test)?;
    test.extend(baselines);
    println!("test, {} windows of {} columns:", test[0].1.windows / data.columns.len() as u64, data.columns.len());
    println!("{}", table::scores(&test));
    let share = forecaster.network_share().iter().map(|&share| f64::from(share)).sum::<f64>() / run.model.horizon as f64;
    println!("the linear expert's share of the point forecast: {:.1}%", 100.0 * (1.0 - share));
    let expert_usage = forecaster.network().mixtures().iter().map(|mixture| mixture.live_usage().read()).collect();
    let mut validation = judge.model(&forecaster, &data.ranges.validation)?;
    validation.extend(judge.baselines(ridge.as_ref(), &data.ranges.validation)?);
    let metrics = Metrics {
        windows: test[0].1.windows / data.columns.len() as u64,
        test: by_name(test),
        validation: by_name(validation),
        linear_share: 1.0 - share,
        seconds: started.elapsed().as_secs_f64(),
        tokens_per_second: trained.rows_a_second,
        parameters: forecaster.parameters(),
        active_parameters: forecaster.active_parameters(),
        seed: run.train.seed,
        best_epoch: trained.best_epoch,
        expert_usage,
    };
    let json = serde_json::to_string_pretty(&metrics).map_err(|error| CliError::file(&out, error))?;
    write_atomically(&out.join("metrics.json"), json.as_bytes())?;
    pictures(&forecaster, &data, ridge.as_ref(), run.data.season, &out)?;
    println!("{} done, results in {}", table::duration(started.elapsed().as_secs_f64()), out.display());
    Ok(())
}

/// Rows of `routing.svg`: two weeks of hours.
const ROUTING_ROWS: usize = 336;

/// The last test window as `forecast.csv` and `forecast.svg`, the last test rows as `routing.svg`.
fn pictures(
    forecaster: &Arc<Forecaster>,
    data: &Prepared,
    ridge: Option<&Ridge>,
    season: usize,
    out: &Path,
) -> Result<(), CliError> {
    let horizon = forecaster.config().horizon;
    let end = data.ranges.test.end;
    let origin = end - horizon;
    let (signal, stamps) = (&data.signal, &data.signal.stamps);
    let (forecast, _) = super::forecast::after(forecaster, &signal.slice(0..origin))?;
    let csv = super::forecast::to_csv(forecaster, &forecast, &stamps[origin..end])?;
    write_atomically(&out.join("forecast.csv"), &csv)?;
    let naive = SeasonalNaive { season, horizon };
    let (name, baseline): (_, &dyn Baseline) = match ridge {
        Some(ridge) => ("ridge", ridge),
        None => ("seasonal naive", &naive),
    };
    let restored = data.standardised.iter().zip(forecaster.columns()).map(|(values, column)| {
        baseline.forecast(values, origin..origin + 1).iter().map(|value| column.restore(*value)).collect()
    });
    let start = origin.saturating_sub(super::forecast::shown(forecaster));
    let picture = Picture {
        forecaster,
        forecast: &forecast,
        history: signal.slice(start..origin),
        stamps: &stamps[start..end],
        truth: Some(signal.slice(origin..end)),
        baseline: Some((name, restored.collect())),
    };
    draw::forecast::draw(&picture, &out.join("forecast.svg"))?;
    let rows = end.saturating_sub(ROUTING_ROWS).max(data.ranges.test.start)..end;
    let timelines = timelines(forecaster, &signal.slice(0..end), rows.clone())?;
    let names = super::forecast::names(forecaster);
    draw::routing::draw(&timelines, &names, &signal.slice(rows.clone()), &stamps[rows], &out.join("routing.svg"))
}

struct Trained {
    rows_a_second: f64,
    best_epoch: u64,
}

fn train(
    run: &Run,
    data: &Prepared,
    ridge: Option<&Ridge>,
    out: &Path,
    arguments: &Arguments,
) -> Result<(Forecaster, Trained), CliError> {
    let task = Task {
        columns: data.columns.clone(),
        values: data.signal.slice(0..data.ranges.validation.end),
        train: data.ranges.train.clone(),
        validation: data.ranges.validation.clone(),
        linear: ridge.map(|ridge| LinearWeights { weights_lh: ridge.weights_lh.clone(), bias_h: ridge.bias_h.clone() }),
    };
    let mut trainer = Trainer::new(&run.model, &run.train, task).map_err(|error| in_file(&arguments.run, error))?;
    let path = out.join("checkpoint.safetensors");
    if arguments.resume {
        trainer.resume(Checkpoint::load(&path, trainer.run(), trainer.arena_len(), run.model.horizon)?);
        println!("resumed after epoch {}", trainer.epoch());
    }
    let left = |epoch: u64| (run.train.epochs as u64 - epoch) * trainer.steps_an_epoch();
    let bar = ProgressBar::new(left(trainer.epoch()));
    let style = ProgressStyle::with_template("{wide_bar} {pos}/{len} steps, {per_sec}, {msg}, at most {eta} left");
    bar.set_style(style.map_err(|error| CliError::file(&arguments.run, error))?);
    let mut trained = Trained { rows_a_second: 0.0, best_epoch: 0 };
    while !trainer.finished() {
        let epoch = trainer.train_epoch(|step| {
            bar.inc(1);
            bar.set_message(format!("loss {:.4}, balance {:.4}", step.loss, step.auxiliary));
        })?;
        trainer.checkpoint().save(&path)?;
        trained.rows_a_second = epoch.rows_a_second;
        let line = line(&epoch, bar.elapsed().as_secs_f64());
        bar.suspend(|| println!("{line}"));
    }
    bar.finish_and_clear();
    trained.best_epoch = trainer.checkpoint().progress.best_epoch;
    Ok((trainer.best()?, trained))
}

fn line(epoch: &EpochReport, seconds: f64) -> String {
    let validation = &epoch.validation;
    let linear = validation.linear_mse.map_or(String::new(), |mse| format!(" (linear {mse:.4})"));
    format!(
        "epoch {:3}  loss {:.4}  validation MSE: model {:.4}, network {:.4}{linear}{}  {:.0} samples/s, {}",
        epoch.epoch,
        epoch.loss,
        validation.mse,
        validation.network_mse,
        if epoch.best { " *" } else { "" },
        epoch.rows_a_second,
        table::duration(seconds),
    )
}

/// Names the file in which a configuration error stands.
fn in_file(path: &Path, error: ModelError) -> CliError {
    match error {
        error @ (ModelError::Config { .. } | ModelError::Syntax(_)) => CliError::file(path, error),
        error => error.into(),
    }
}
