//! `foretoken inspect`: what a model is, and who in it speaks when.

use crate::{draw, error::CliError, routing::timelines, run::read_columns};
use std::path::PathBuf;

/// Show a model's parts, and its expert usage on data.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken inspect runs/etth1 examples/data/ETTh1.csv --svg routing.svg")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`.
    model: PathBuf,
    /// Wide CSV with the model's columns: shows the experts' usage over it, and the routing of its last rows.
    data: Option<PathBuf>,
    /// Rows of the routing timeline.
    #[arg(long, default_value_t = 96, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    last: usize,
    /// Draw the routing timeline here.
    #[arg(long, requires = "data")]
    svg: Option<PathBuf>,
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
    let Some(path) = &arguments.data else { return Ok(()) };
    let names = super::forecast::names(&forecaster);
    let signal = read_columns(path, &names)?;
    let rows = signal.len().saturating_sub(arguments.last)..signal.len();
    let timelines = timelines(&forecaster, &signal.slice(0..signal.len()), rows.clone())?;
    for mixture in forecaster.network().mixtures() {
        let usage = mixture.live_usage().read();
        let (samples, ties) = (usage.samples, usage.near_ties);
        println!(
            "mixture {}: {} of {} experts a sample, {samples} samples, {ties} near ties, imbalance {:.2}",
            mixture.id(),
            mixture.top_k(),
            mixture.expert_names().len(),
            usage.coefficient_of_variation(),
        );
        for (expert, (name, share)) in mixture.expert_names().iter().zip(usage.shares()).enumerate() {
            let mass = usage.gate_mass[expert] / samples.max(1) as f64;
            println!("  {} {name:10} chosen {:5.1}%, gate weight {:5.1}%", symbol(expert), 100.0 * share, 100.0 * mass);
        }
    }
    for timeline in &timelines {
        println!("\nmixture {}, the loudest expert at each of the last {} samples:", timeline.mixture, rows.len());
        let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
        for (column, name) in names.iter().enumerate() {
            let line: String = (0..rows.len()).map(|row| symbol(timeline.loudest(column, row))).collect();
            println!("  {name:width$}  {line}");
        }
    }
    if let Some(path) = &arguments.svg {
        draw::routing::draw(&timelines, &names, &signal.slice(rows.clone()), &signal.stamps[rows], path)?;
    }
    Ok(())
}

/// One character an expert: 0-9, then letters.
fn symbol(expert: usize) -> char {
    char::from_digit(expert as u32 % 36, 36).unwrap_or('?')
}
