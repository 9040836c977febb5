//! What a step costs after a long history, of one column: `cargo bench -p foretoken --bench families [-- FOLDER]`.
//!
//! For every family `name_step_us_1000 value µs` and likewise after 10,000 and 100,000 samples; the preset `small`, or the models
//! `FOLDER/family/model.safetensors`.

use foretoken::{Blueprint, Column, Covariates, Forecaster, ForecasterConfig, Predictor, Registry, preset};
use std::{path::PathBuf, sync::Arc, time::Instant};

const HISTORIES: [u64; 3] = [1_000, 10_000, 100_000];
/// Steps timed together, and how often; the best counts.
const STEPS: usize = 100;
const ROUNDS: usize = 20;

/// The model, of one column.
fn forecaster(family: &str, folder: Option<&PathBuf>) -> Forecaster {
    let (registry, column) = (Registry::default(), Column::new("x", 0.0, 1.0));
    let (config, weights, share) = match folder {
        Some(folder) => {
            let path = folder.join(family).join("model.safetensors");
            let trained = Forecaster::load(&path, &registry).expect("a trained model");
            (trained.config().clone(), Some(trained.weights().to_vec()), trained.network_share().to_vec())
        }
        None => {
            let text = format!("horizon = 96\ntaps = 24\nfamily = '{family}'");
            let config: ForecasterConfig = toml::from_str(&text).expect("a preset");
            (config, None, vec![1.0; 96])
        }
    };
    let blueprint = Blueprint::new(&config, &registry).expect("it builds");
    let weights = weights.unwrap_or_else(|| blueprint.layout.initialise(1));
    Forecaster::new(blueprint, vec![column], Covariates::default(), weights, None, share).expect("parts that fit")
}

fn main() {
    let folder = std::env::args().skip(1).find(|argument| argument != "--bench").map(PathBuf::from);
    for family in preset::SEQUENCES.into_iter().chain([preset::ENSEMBLE]) {
        let mut predictor = Predictor::new(Arc::new(forecaster(family, folder.as_ref())));
        let step = |predictor: &mut Predictor| {
            let time = predictor.samples() as f64;
            predictor.advance(&[(time * 0.26).sin() + 0.3 * (time * 0.9).cos()]).expect("a good sample");
        };
        for history in HISTORIES {
            while predictor.samples() < history {
                step(&mut predictor);
            }
            let mut best = f64::MAX;
            for _ in 0..ROUNDS {
                let started = Instant::now();
                (0..STEPS).for_each(|_| step(&mut predictor));
                best = best.min(started.elapsed().as_secs_f64() / STEPS as f64);
            }
            println!("{family}_step_us_{history} {:.3} µs", 1e6 * best);
        }
    }
}
