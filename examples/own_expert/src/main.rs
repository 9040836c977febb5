//! Experts from outside, in both ways: weighted online by fixed share, and under a gate trained here.
//!
//! ```sh
//! cargo run --release -p own-expert                       # on examples/data/regimes.csv
//! cargo run --release -p own-expert -- MODEL.safetensors  # with a model that foretoken trained on it as one expert more
//! ```

use foretoken::{
    FixedShare, FixedShareConfig, Forecaster, GatedPredictors, Predictor, Registry, SignalPredictor,
    data::read_wide,
    outside::Member,
    train::{GateConfig, fit_gate},
};
use own_expert::{Holt, Repeat};
use std::{path::Path, sync::Arc};

const HORIZON: usize = 8;
const TRAIN: usize = 14_000;

type Failure = Box<dyn std::error::Error>;

fn members(model: Option<&Arc<Forecaster>>) -> Vec<(&'static str, Member)> {
    let mut members: Vec<(&str, Member)> = vec![
        ("holt", Box::new(Holt::new(HORIZON, [0.9, 0.3]))),
        ("repeat 6", Box::new(Repeat::new(HORIZON, 6))),
        ("repeat 16", Box::new(Repeat::new(HORIZON, 16))),
        ("repeat 2", Box::new(Repeat::new(HORIZON, 2))),
    ];
    if let Some(model) = model {
        members.push(("foretoken", Box::new(Predictor::new(model.clone()))));
    }
    members
}

/// Mean squared error of the forecasts from row `TRAIN` on.
fn error(predictor: &mut dyn SignalPredictor, x: &[f32]) -> Result<f64, Failure> {
    let (mut sum, mut count) = (0.0, 0u32);
    for t in 0..x.len() - HORIZON {
        let forecast = predictor.step(&x[t..=t])?;
        if t >= TRAIN {
            let square = |(said, truth): (&f32, &f32)| f64::from(said - truth).powi(2);
            sum += forecast.iter().zip(&x[t + 1..]).map(square).sum::<f64>();
            count += HORIZON as u32;
        }
    }
    Ok(sum / f64::from(count))
}

fn main() -> Result<(), Failure> {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../data/regimes.csv");
    let signal = read_wide(&data)?;
    let x: Vec<f32> = signal.columns[0].iter().map(|&value| value as f32).collect();
    let model = std::env::args().nth(1).map(|path| Forecaster::load(Path::new(&path), &Registry::default()));
    let model = model.transpose()?.map(Arc::new);
    let boxed = || members(model.as_ref()).into_iter().map(|(_, member)| member).collect::<Vec<_>>();

    for (name, mut member) in members(model.as_ref()) {
        println!("{name:12} alone        MSE {:.3}", error(&mut *member, &x)?);
    }
    let mut online = FixedShare::new(boxed(), 1, HORIZON, FixedShareConfig::default())?;
    println!("fixed share, online       MSE {:.3}, weights now {:.2?}", error(&mut online, &x)?, online.weights());

    let mut gated = GatedPredictors::new(boxed(), 1, HORIZON)?;
    println!("even mean                 MSE {:.3}", error(&mut gated, &x)?);
    let report = fit_gate(&mut gated, &x[..TRAIN], &GateConfig::default())?;
    println!("trained gate              MSE {:.3}, on training rows {:.3}", error(&mut gated, &x)?, report.trained);
    Ok(())
}
