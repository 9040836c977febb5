//! `foretoken train`: from a run's TOML to a run folder.

use crate::{
    draw::{self, forecast::Picture},
    error::CliError,
    fit::{self, in_file},
    routing::timelines,
    run::{Prepared, Run, differ, predictor},
    say::{remark, say},
    score::{ByHorizon, Expert, Judge, by_name},
    session::{CHECKPOINT, Session, interrupted},
    ship, state, table,
    ui::About,
};
use cpu_time::ProcessTime;
use foretoken_data::{Audit, DataError, Numbers};
use foretoken_eval::{Baseline, Scores, SeasonalNaive};
use foretoken_model::{
    Blueprint, Forecaster, Registry,
    file::{sweep, write_atomically},
    linear_expert::LinearExpert,
    predictor::Parts,
};
use foretoken_train::{Checkpoint, Gain};
use indicatif::BinaryBytes;
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
    pub resume: bool,
    /// Most minutes of training: the epoch in which they are over is the last.
    #[arg(long, value_parser = minutes)]
    pub minutes: Option<f64>,
    /// Show curves, expert load and a forecast on the whole terminal while training. `q` ends it with a checkpoint, arrows show another column.
    #[arg(long)]
    pub ui: bool,
    /// Ship the network even where it adds nothing to the linear expert on the validation rows. With --resume after a run that shipped the linear
    /// expert alone, nothing is trained again.
    #[arg(long)]
    keep_network: bool,
}

/// A number of minutes, as an option has it.
pub fn minutes(text: &str) -> Result<f64, String> {
    text.parse()
        .ok()
        .filter(|minutes| (0.0..=1e6).contains(minutes))
        .ok_or_else(|| "expected a number from 0 to a million".into())
}

/// `metrics.json`.
#[derive(Serialize)]
struct Metrics {
    /// Scores on test rows at the longest horizon by forecaster: `model`, which is what is shipped, `selected`, which it was before it was fitted once more, `network`, `blend` where linear expert and network
    /// are not shipped, `linear`, `ridge`, `seasonal-naive`.
    test: BTreeMap<String, Scores>,
    /// The same on validation rows.
    validation: BTreeMap<String, Scores>,
    /// Scores on test rows at every horizon.
    test_by_horizon: BTreeMap<usize, BTreeMap<String, Scores>>,
    /// The same on validation rows.
    validation_by_horizon: BTreeMap<usize, BTreeMap<String, Scores>>,
    /// The skill on test rows against the seasonal naive forecast, by horizon.
    skill: BTreeMap<usize, BTreeMap<String, f64>>,
    /// What was found in the run's own file.
    audit: Audit,
    /// Test windows of the column that has most.
    windows: u64,
    /// What is in `model.safetensors`: `linear`, the linear expert alone, or `model`, all that was trained.
    shipped: &'static str,
    /// What the network adds to the linear expert on validation rows; none without a linear expert that could stand alone.
    gain: Option<Gain>,
    /// Mean share of the linear expert in the point forecast.
    linear_share: f64,
    /// Wall time of the command.
    seconds: f64,
    /// Its time on all cores.
    cpu_seconds: f64,
    /// The most memory it had at once, pages of mapped files among it; none where the system does not tell.
    peak_memory_bytes: Option<u64>,
    /// The most bytes of values that lay in mapped files at once.
    peak_mapped_bytes: u64,
    /// Samples through the network a second of training; none where nothing was left to train.
    tokens_per_second: Option<f64>,
    parameters: usize,
    active_parameters: usize,
    /// Those of the linear expert.
    linear_parameters: usize,
    seed: u64,
    /// Epoch whose weights were kept.
    best_epoch: u64,
    /// Steps left out, since their loss or gradient was not finite.
    skipped_steps: u64,
    /// One entry a mixture: the choices of each expert from the first row to the end of the test rows.
    expert_usage: Vec<foretoken_model::ExpertUsage>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let started = Instant::now();
    let mut run = Run::read(&arguments.run)?;
    run.train.epochs = arguments.epochs.unwrap_or(run.train.epochs);
    run.train.seed = arguments.seed.unwrap_or(run.train.seed);
    run.train.keep_network |= arguments.keep_network;
    let name = arguments.run.file_stem().unwrap_or_default();
    let out = arguments.out.clone().unwrap_or_else(|| Path::new("runs").join(name));
    // Before the data, so that a wrong option does not wait for the baselines.
    Blueprint::new(&run.model, &Registry::default()).map_err(|error| in_file(&arguments.run, error.under("model")))?;
    run.train.check().map_err(|error| in_file(&arguments.run, error.under("train")))?;
    let data = run.data.prepare().map_err(|error| match error {
        // What is the run's fault, not that of a file.
        CliError::Data(error @ (DataError::Split { .. } | DataError::Option { key: "columns", .. })) => {
            CliError::file(&arguments.run, format!("data.{error}"))
        }
        CliError::Data(error @ DataError::Option { .. }) => CliError::file(&arguments.run, format!("data.read.{error}")),
        error => error,
    })?;
    if let Some(correction) = run.model.linear.as_ref().and_then(|linear| linear.correction) {
        let checked = correction.check_columns(data.columns.len());
        checked.map_err(|error| in_file(&arguments.run, error.under("linear").under("model")))?;
    }
    run.count_covariates(&arguments.run, &data.covariates, data.columns.len())?;
    let data = run.respond(&arguments.run, data)?;
    let horizons = run.train.horizons_of(run.model.horizon).map_err(|error| in_file(&arguments.run, error.under("train")))?;
    let judge = Judge::new(&data, &horizons, &run.model.quantiles, run.data.season);
    // Its work is the folder: it goes on where nobody reads.
    _ = table::show_audits(&data);
    // Few rows, as of a stream, do not show them.
    if differ(run.data.step, data.audit.seconds) {
        remark!("rows every {}, where data.step says {} s", data.audit.step, run.data.step.unwrap_or_default());
    }
    for also in data.also.iter().filter(|also| differ(data.audit.seconds, also.audit.seconds)) {
        let (path, step) = (also.path.display(), &also.audit.step);
        remark!("{path}: learned from rows every {step} beside those every {} of the run's own file", data.audit.step);
    }
    run.data.step = data.audit.seconds;
    let read = &mut run.data.read;
    read.hours = Some(data.audit.hours);
    (read.dates, read.decimal) = (read.dates.or(data.audit.dates), read.decimal.or(data.audit.decimal));
    if data.audit.hours.closes() {
        _ = say!("rows are of {} alone: all other time is passed over", data.audit.hours);
    }
    if let Some(steps) = data.audit.changes {
        remark!("values are told when they change: with {steps} in `data.read` each lasts until the next");
    }
    _ = table::show_bounds(&data.columns);
    let ridges = judge.ridges(run.model.linear.as_ref())?;
    if let Some(told) = ridges.expert.as_ref().and_then(Expert::told) {
        _ = say!("{told}");
    }
    let (test, validation) = (judge.origins(&data.ranges.test)?, judge.origins(&data.ranges.validation)?);
    let [baselines, validated_baselines] = judge.baselines(&ridges, [&test, &validation], &mut None)?;
    _ = table::show(&judge.scores(&baselines), "baselines on test rows", data.columns.len());
    let mut trainer = fit::trainer(&run, &arguments.run, &data, judge.ranges(), ridges.expert.as_ref())?;
    std::fs::create_dir_all(&out).map_err(CliError::io(&out))?;
    sweep(&out)?;
    if arguments.resume {
        let checkpoint = out.join(CHECKPOINT);
        trainer.resume(Checkpoint::load(&checkpoint, trainer.run(), trainer.arena_len(), run.model.horizon)?);
        match trainer.step() - trainer.epoch() * trainer.steps_an_epoch() {
            0 => _ = say!("resumed after epoch {}", trainer.epoch()),
            step => _ = say!("resumed after step {step} of epoch {}", trainer.epoch() + 1),
        }
    }
    // Beside a model lies its own run, until there is another model.
    let (model, beside) = (out.join("model.safetensors"), out.join("run.toml"));
    if !model.exists() {
        write_atomically(&beside, run.to_toml()?.as_bytes())?;
    }
    let name = name.to_string_lossy();
    let about = About::new(&name, &run, &data, judge.ranges().validation.start, &trainer)?;
    let (rows_a_second, interrupt) = Session::train(&mut trainer, &run.train, arguments, about, &out, started)?;
    let shipped = trainer.ship()?;
    ship::tell(&shipped);
    let bar = fit::bar("once more on training and validation rows, ");
    let asked = || interrupt.signal().is_some();
    let shipped = fit::again(&run, &trainer, &judge, ridges.expert.as_ref(), shipped, &bar, asked)?;
    bar.finish_and_clear();
    let Some(shipped) = shipped.filter(|_| !asked()) else {
        return Err(interrupted(interrupt.signal().unwrap_or_default(), &trainer, &out));
    };
    let forecaster = shipped.forecaster.clone();
    write_atomically(&beside, run.to_toml()?.as_bytes())?;
    state::forget(&out)?;
    forecaster.save(&model)?;
    interrupt.over();
    forecaster.network().mixtures().iter().for_each(|mixture| mixture.live_usage().clear());
    let [mut validated, mut tested] = ship::boards(&shipped, &judge, &validation, &test)?;
    validated.extend(validated_baselines);
    tested.extend(baselines);
    let test = judge.scores(&tested);
    _ = table::show(&test, "test", data.columns.len());
    table::behind(&test).into_iter().for_each(|line| _ = say!("{line}"));
    let share = forecaster.network_share().iter().map(|&share| f64::from(share)).sum::<f64>() / run.model.horizon as f64;
    _ = say!("the linear expert's share of the point forecast: {:.1}%", 100.0 * (1.0 - share));
    let expert_usage = forecaster.network().mixtures().iter().map(|mixture| mixture.live_usage().read()).collect();
    let validation = judge.scores(&validated);
    let by_horizon = |scored: &ByHorizon| scored.iter().map(|(horizon, rows)| (*horizon, by_name(rows))).collect();
    let longest = |scored: &ByHorizon| scored.last().map(|(_, rows)| by_name(rows)).unwrap_or_default();
    let mut metrics = Metrics {
        windows: test.last().map_or(0, |(_, rows)| rows[0].1.windows_of_one()),
        test: longest(&test),
        validation: longest(&validation),
        test_by_horizon: by_horizon(&test),
        validation_by_horizon: by_horizon(&validation),
        skill: test.iter().map(|(horizon, rows)| (*horizon, table::skills(rows))).collect(),
        audit: data.audit.clone(),
        shipped: ship::name(&shipped),
        gain: shipped.gain,
        linear_share: 1.0 - share,
        seconds: started.elapsed().as_secs_f64(),
        cpu_seconds: ProcessTime::now().as_duration().as_secs_f64(),
        peak_memory_bytes: None,
        peak_mapped_bytes: Numbers::most_mapped(),
        tokens_per_second: rows_a_second,
        parameters: forecaster.parameters(),
        active_parameters: forecaster.active_parameters(),
        linear_parameters: forecaster.linear().map_or(0, LinearExpert::parameters),
        seed: run.train.seed,
        best_epoch: trainer.best_epoch(),
        skipped_steps: trainer.skipped(),
        expert_usage,
    };
    // What is shipped alone is no baseline to itself.
    let mut named = ridges.named(&data).into_iter();
    let other = named.find(|(name, _)| !(forecaster.is_linear_alone() && *name == ridges.name()));
    pictures(&forecaster, &data, other, run.data.season, &out)?;
    metrics.peak_memory_bytes = peak_memory();
    let json = serde_json::to_string_pretty(&metrics).map_err(|error| CliError::file(&out, error))?;
    write_atomically(&out.join("metrics.json"), json.as_bytes())?;
    if let Some(peak) = metrics.peak_memory_bytes {
        let mapped = match metrics.peak_mapped_bytes {
            0 => String::new(),
            bytes => format!(", pages of {} of values in mapped files among it", BinaryBytes(bytes)),
        };
        _ = say!("at most {} of memory{mapped}", BinaryBytes(peak));
    }
    _ = say!("{} done, results in {}", table::duration(started.elapsed().as_secs_f64()), out.display());
    Ok(())
}

/// The most memory that the process has had.
fn peak_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(1024 * line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?)
}

/// Rows of `routing.svg`: two weeks of hours.
const ROUTING_ROWS: usize = 336;

/// The last test window as `forecast.csv` and `forecast.svg`, the last test rows as `routing.svg`, and where a stream of the rows stands near their end.
fn pictures(
    forecaster: &Arc<Forecaster>,
    data: &Prepared,
    ridge: Option<(&'static str, Box<dyn Baseline + '_>)>,
    season: usize,
    out: &Path,
) -> Result<(), CliError> {
    let horizon = forecaster.config().horizon;
    let end = data.ranges.test.end;
    let origin = end - horizon;
    let (signal, stamps) = (&data.signal, &data.signal.stamps);
    let rows = end.saturating_sub(ROUTING_ROWS).max(data.ranges.test.start)..end;
    // One stream up to where the first picture begins; `forecast` goes on from where all is known that it is held against.
    let (observed, beside) = (signal.observed_len(), data.beside());
    let kept = observed.saturating_sub(horizon.max(super::forecast::NEWEST + 1));
    let begun = origin.min(rows.start).min(kept);
    let mut stream = predictor(forecaster);
    stream.tell(&beside)?;
    stream.advance_many_apart(&signal.slice(0..begun), |_| false, &mut [|_: usize, _: usize, _: &Parts| {}])?;
    state::keep(out, stream.fork(), &signal.slice(0..observed), &beside, kept)?;
    let forecast = super::forecast::after(stream.fork(), &signal.slice(begun..origin))?.forecast;
    let csv = super::forecast::to_csv(forecaster, &forecast, &stamps.slice(origin..end))?;
    write_atomically(&out.join("forecast.csv"), &csv)?;
    let (name, baseline) = ridge.unwrap_or_else(|| ("seasonal naive", Box::new(SeasonalNaive { season, horizon })));
    let restored = data.standardised.iter().zip(forecaster.columns()).enumerate().map(|(index, (values, column))| {
        baseline.forecast(index, values, origin..origin + 1).iter().map(|value| column.restore(*value)).collect()
    });
    let start = origin.saturating_sub(super::forecast::shown(forecaster));
    let picture = Picture {
        forecaster,
        forecast: &forecast,
        history: signal.slice(start..origin),
        stamps: &stamps.slice(start..end),
        truth: Some(signal.slice(origin..end)),
        baseline: Some((name, restored.collect())),
    };
    draw::forecast::draw(&picture, &out.join("forecast.svg"))?;
    let timelines = timelines(stream, &signal.slice(begun..end), rows.start - begun)?;
    let names = super::forecast::names(forecaster);
    draw::routing::draw(&timelines, &names, &signal.slice(rows.clone()), &stamps.slice(rows), &out.join("routing.svg"))
}
