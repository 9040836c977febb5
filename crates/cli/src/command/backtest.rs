//! `foretoken backtest`: a trained model over every test window of a file.

use crate::{
    error::CliError,
    run::{DataConfig, Run},
    score::Judge,
    table,
};
use foretoken_model::Predictor;
use std::path::PathBuf;

/// Score a trained model and its baselines on every test window.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken backtest runs/etth1 examples/data/ETTh1.csv")]
pub struct Arguments {
    /// The run folder.
    model: PathBuf,
    /// Wide CSV with the model's columns.
    data: PathBuf,
    /// Let the state look back on between N and 2N samples, instead of all rows before.
    #[arg(long, value_name = "N")]
    refresh: Option<u64>,
    /// Samples here for one where the model was trained, a whole number: 2 for data twice as fine. The same moments are forecast; the run's
    /// split counts training's rows. Without baselines.
    #[arg(long)]
    rate: Option<usize>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = super::forecast::load_at(&arguments.model, arguments.rate.map(|rate| rate as f64))?;
    let folder = if arguments.model.is_dir() { arguments.model.clone() } else { arguments.model.with_file_name("") };
    let run = Run::read(&folder.join("run.toml"))?;
    let names = super::forecast::names(&forecaster);
    let rate = arguments.rate.unwrap_or(1);
    let data = DataConfig { path: arguments.data.clone(), columns: Some(names), ..run.data }.prepare_at(rate)?;
    let config = forecaster.config();
    let judge = Judge::new(&data, config.horizon, &config.quantiles, run.data.season * rate).every(rate);
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.refresh_every(arguments.refresh)?;
    let mut rows = judge.stream(predictor, &data.ranges.test)?;
    if rate == 1 {
        let ridge = judge.ridge(config.linear.as_ref())?;
        rows.extend(judge.baselines(ridge.as_ref(), &data.ranges.test)?);
    }
    println!("test, {} windows of {} columns:", rows[0].1.windows / data.columns.len() as u64, data.columns.len());
    println!("{}", table::scores(&rows));
    Ok(())
}
