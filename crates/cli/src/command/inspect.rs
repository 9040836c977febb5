//! `foretoken inspect`: what a model is, and who in it speaks when.

use crate::{error::CliError, run::read_columns};
use foretoken_model::Predictor;
use std::path::PathBuf;

/// Show a model's parts, and its expert usage on data.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken inspect runs/etth1 examples/data/ETTh1.csv")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`.
    model: PathBuf,
    /// Wide CSV with the model's columns.
    data: Option<PathBuf>,
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = super::forecast::load(&arguments.model)?;
    println!("{} parameters, {} active", forecaster.parameters(), forecaster.active_parameters());
    for spec in forecaster.blueprint().layout.specs() {
        println!("  {:40} {:?}", spec.name, spec.weight.shape);
    }
    let config = toml::to_string(forecaster.config()).map_err(|error| CliError::file(&arguments.model, error))?;
    println!("\n{config}");
    if let Some(path) = &arguments.data {
        let signal = read_columns(path, &super::forecast::names(&forecaster))?;
        let mut predictor = Predictor::new(forecaster.clone());
        predictor.advance_many(&signal.slice(0..signal.len()), |_| false, |_, _, _| {}, None)?;
        for mixture in forecaster.network().mixtures() {
            let usage = mixture.live_usage().read();
            println!("mixture {}: {} samples, {} near ties", mixture.id(), usage.samples, usage.near_ties);
            for ((name, share), mass) in mixture.expert_names().iter().zip(usage.shares()).zip(&usage.gate_mass) {
                println!("  {name:10} chosen {:5.1}%, gate mass {:5.1}%", 100.0 * share, 100.0 * mass / usage.samples as f64);
            }
        }
    }
    Ok(())
}
