//! `foretoken forecast`: what comes after the last row of a file.

use crate::{
    error::CliError,
    run::{Prepared, read_columns},
};
use foretoken_data::next_stamps;
use foretoken_eval::{Baseline, Ridge};
use foretoken_model::{Forecast, Forecaster, Predictor, Registry, file::write_atomically};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Forecast what follows the last row of a file.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken forecast runs/etth1 examples/data/ETTh1.csv > forecast.csv")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`.
    model: PathBuf,
    /// Wide CSV with the model's columns.
    data: PathBuf,
    /// Write the CSV here instead of to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Loads a model from its file or its run folder.
pub fn load(path: &Path) -> Result<Arc<Forecaster>, CliError> {
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.into() };
    Ok(Arc::new(Forecaster::load(&file, &Registry::default())?))
}

/// Names of a model's columns.
pub fn names(forecaster: &Forecaster) -> Vec<String> {
    forecaster.columns().iter().map(|column| column.name.clone()).collect()
}

/// Runs a predictor over everything in `signal` and forecasts.
pub fn after(forecaster: &Arc<Forecaster>, columns: &[&[f64]]) -> Result<Forecast, CliError> {
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.advance_many(columns, |_| false, |_, _, _| {}, None)?;
    let mut forecast = predictor.forecast_buffer();
    predictor.predict(&mut forecast)?;
    Ok(forecast)
}

/// A forecast as long CSV: stamp, column, point, quantiles.
pub fn to_csv(forecaster: &Forecaster, forecast: &Forecast, stamps: &[String]) -> Result<Vec<u8>, CliError> {
    let config = forecaster.config();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let problem = |error: csv::Error| CliError::file(Path::new("forecast.csv"), error);
    let header = ["ds", "unique_id", "point"].map(String::from).into_iter();
    writer.write_record(header.chain(config.quantiles.iter().map(|level| format!("q{level}")))).map_err(problem)?;
    let count = config.quantiles.len();
    for (index, column) in forecaster.columns().iter().enumerate() {
        for (step, stamp) in stamps.iter().enumerate() {
            let place = index * config.horizon + step;
            let quantiles = forecast.quantiles[place * count..][..count].iter().map(f64::to_string);
            let row = [stamp.clone(), column.name.clone(), forecast.point[place].to_string()];
            writer.write_record(row.into_iter().chain(quantiles)).map_err(problem)?;
        }
    }
    writer.into_inner().map_err(|error| CliError::file(Path::new("forecast.csv"), error))
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = load(&arguments.model)?;
    let signal = read_columns(&arguments.data, &names(&forecaster))?;
    let forecast = after(&forecaster, &signal.slice(0..signal.len()))?;
    let csv = to_csv(&forecaster, &forecast, &next_stamps(&signal.stamps, forecaster.config().horizon))?;
    match &arguments.out {
        Some(path) => write_atomically(path, &csv)?,
        None => std::io::Write::write_all(&mut std::io::stdout(), &csv)?,
    }
    Ok(())
}

/// The forecast from `origin` on, beside the truth, into the run folder.
pub fn write_example(
    forecaster: &Arc<Forecaster>,
    data: &Prepared,
    ridge: Option<&Ridge>,
    origin: usize,
    out: &Path,
) -> Result<(), CliError> {
    let forecast = after(forecaster, &data.signal.slice(0..origin))?;
    let stamps = &data.signal.stamps[origin..origin + forecaster.config().horizon];
    write_atomically(&out.join("forecast.csv"), &to_csv(forecaster, &forecast, stamps)?)?;
    let _ = ridge.map(|ridge| ridge.forecast(&data.standardised[0], origin..origin + 1));
    Ok(())
}
