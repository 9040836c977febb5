//! `foretoken backtest`: a trained model over every test window of a file.

use crate::{
    error::CliError,
    fit::in_file,
    forecast_file::ForecastFile,
    refit::{Refit, beside},
    run::{Run, folder_of, predictor},
    say::say,
    score::{Judge, by_name},
    table,
};
use foretoken_eval::Scores;
use foretoken_model::file::write_atomically;
use serde::Serialize;
use std::{collections::BTreeMap, path::PathBuf};

/// Score a trained model and its baselines on every test window.
///
/// Errors are in the model's own standardised units, whatever the file.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken backtest runs/etth1 examples/data/ETTh1.csv\n  \
                        foretoken backtest runs/etth1 examples/data/ETTh1.csv --step 24 --refit 28 --parquet forecasts.parquet")]
pub struct Arguments {
    /// The run folder.
    model: PathBuf,
    /// A CSV or Parquet file with the model's series, laid out as the run's own.
    data: PathBuf,
    /// Forecast at every so many rows only, counted back from the last.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    step: u32,
    /// Most windows, the last ones; all if absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    windows: Option<u32>,
    /// Write every score here as JSON: by forecaster, over all, by step and by series.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Train the whole model, or its linear expert where that alone was shipped, and the ridges anew every so many scored windows, as the run says, on the rows before the first of them; the last of these
    /// rows, as many as the run's own, are for validation. Scored beside those of the run, as `model-refit`, `ridge-refit`, …
    #[arg(long, value_name = "EVERY", value_parser = clap::value_parser!(u32).range(1..), conflicts_with = "rate")]
    refit: Option<u32>,
    /// Write every forecast of every scored window here as Parquet: `unique_id`, `cutoff`, `ds`, `step`, `y`, `forecaster`, `point` and the quantiles, in
    /// the data's own units.
    #[arg(long, value_name = "FILE")]
    parquet: Option<PathBuf>,
    /// Let the state look back on between N and 2N samples, instead of all rows before.
    #[arg(long, value_name = "N")]
    refresh: Option<u64>,
    /// Samples here for one where the model was trained, a whole number: 2 for data twice as fine. The same moments are forecast; the run's
    /// split counts training's rows. Without baselines.
    #[arg(long)]
    rate: Option<usize>,
}

/// What `--json` writes.
#[derive(Serialize)]
struct Report {
    /// Windows of the series that has most.
    windows: u64,
    /// Names of the series, in the order of `by_column`.
    series: Vec<String>,
    /// Quantile levels between which the bins of `pit` lie.
    levels: Vec<f64>,
    /// Scores at the longest horizon by forecaster.
    forecasters: BTreeMap<String, Scores>,
    /// The same at every horizon.
    by_horizon: BTreeMap<usize, BTreeMap<String, Scores>>,
    /// The skill against the seasonal naive forecast, by horizon and forecaster.
    skill: BTreeMap<usize, BTreeMap<String, f64>>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    super::forecast::writable(&[&arguments.json, &arguments.parquet], &[&arguments.data, &arguments.model])?;
    let forecaster = super::forecast::load_at(&arguments.model, arguments.rate.map(|rate| rate as f64))?;
    let path = folder_of(&arguments.model).join("run.toml");
    let run = Run::read(&path)?;
    if arguments.refit.is_some() && !forecaster.is_linear_alone() && run.model != *forecaster.config() {
        return Err(CliError::file(&path, "model: expected the configuration of the model to refit, found another"));
    }
    let rate = arguments.rate.unwrap_or(1);
    let data = run.data.prepare_for(&arguments.data, &forecaster, rate)?;
    let config = forecaster.config();
    let horizons = match rate {
        1 => run.train.horizons_of(config.horizon).map_err(|error| in_file(&path, error.under("train")))?,
        _ => vec![config.horizon],
    };
    let judge = Judge::new(&data, &horizons, &config.quantiles, run.data.season * rate).every(rate);
    let judge = judge.thinned(arguments.step as usize, arguments.windows.map(|windows| windows as usize));
    let mut predictor = predictor(&forecaster);
    predictor.refresh_every(arguments.refresh)?;
    // For files it goes on where nobody reads.
    let for_files = arguments.json.is_some() || arguments.parquet.is_some();
    let heard = |said: Result<(), CliError>| if for_files { Ok(()) } else { said };
    heard(table::show_audits(&data))?;
    let origins = judge.origins(&data.ranges.test)?;
    let file = arguments.parquet.as_ref().map(|path| ForecastFile::create(path, &data, &config.quantiles, rate));
    let mut file = file.transpose()?;
    let mut boards = judge.stream(predictor, &origins, &mut file)?;
    if rate == 1 {
        let ridges = judge.ridges(config.linear.as_ref())?;
        let [baselines] = judge.baselines(&ridges, [&origins], &mut file)?;
        boards.extend(baselines);
        boards.extend(judge.statistical(&origins, &mut file)?);
        if let Some(every) = arguments.refit {
            let refit = Refit {
                run: &run,
                path: &path,
                alone: forecaster.is_linear_alone(),
                every: every as usize,
                for_files,
                refresh: arguments.refresh,
            };
            boards = beside(boards, refit.boards(&judge, ridges, &origins, &mut file)?);
        }
    }
    file.map_or(Ok(()), ForecastFile::finish)?;
    let scored = judge.scores(&boards);
    let rows = &scored[scored.len() - 1].1;
    let write = |path: &PathBuf| {
        let report = Report {
            windows: rows[0].1.windows_of_one(),
            series: data.signal.names.clone(),
            levels: config.quantiles.clone(),
            forecasters: by_name(rows),
            by_horizon: scored.iter().map(|(horizon, rows)| (*horizon, by_name(rows))).collect(),
            skill: scored.iter().map(|(horizon, rows)| (*horizon, table::skills(rows))).collect(),
        };
        let json = serde_json::to_string_pretty(&report).map_err(|error| CliError::file(path, error))?;
        Ok(write_atomically(path, json.as_bytes())?)
    };
    // What was worked for is shown where it cannot be written.
    let written = arguments.json.as_ref().map_or(Ok(()), write);
    table::show(&scored, "test", data.columns.len())?;
    say!("{}", table::by_step(rows))?;
    say!("{}", table::by_series(rows, &data.signal.names))?;
    written
}
