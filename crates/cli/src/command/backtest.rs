//! `foretoken backtest`: a trained model over every test window of a file.

use crate::{
    error::CliError,
    run::{DataConfig, Run},
    score::Judge,
    table,
};
use std::path::PathBuf;

/// Score a trained model and its baselines on every test window.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken backtest runs/etth1 examples/data/ETTh1.csv")]
pub struct Arguments {
    /// The run folder.
    model: PathBuf,
    /// Wide CSV with the model's columns.
    data: PathBuf,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = super::forecast::load(&arguments.model)?;
    let folder = if arguments.model.is_dir() { arguments.model.clone() } else { arguments.model.with_file_name("") };
    let run = Run::read(&folder.join("run.toml"))?;
    let names = super::forecast::names(&forecaster);
    let data = DataConfig { path: arguments.data.clone(), columns: Some(names), ..run.data }.prepare()?;
    let config = forecaster.config();
    let judge = Judge::new(&data, config.horizon, &config.quantiles, run.data.season);
    let mut rows = judge.model(&forecaster, &data.ranges.test)?;
    let ridge = judge.ridge(config.linear.as_ref())?;
    rows.extend(judge.baselines(ridge.as_ref(), &data.ranges.test)?);
    println!("test, {} windows of {} columns:", rows[0].1.windows / data.columns.len() as u64, data.columns.len());
    println!("{}", table::scores(&rows));
    Ok(())
}
