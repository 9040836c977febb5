//! A linear expert alone: every part of a forecaster, and a network that says nothing.

mod common;

use common::{columns, config, forecaster};
use foretoken_model::{Covariates, Forecaster, ForecasterConfig, Predictor, Registry};
use std::sync::Arc;

fn alone(config: &ForecasterConfig) -> Forecaster {
    let whole = forecaster();
    Forecaster::linear_alone(config, whole.columns().to_vec(), Covariates::default(), whole.linear().unwrap().weights().clone())
        .unwrap()
}

#[test]
fn it_says_what_the_linear_expert_says_and_is_small() {
    let (alone, whole) = (Arc::new(alone(&config())), Arc::new(forecaster()));
    assert!(alone.is_linear_alone() && !whole.is_linear_alone());
    // Taps, bias, gains, weight, and two values an output of the heads.
    assert_eq!(alone.weights().len(), 1 + 1 + 1 + 1 + 1 + 2 * 5 * 3);
    let values = columns(60);
    let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let spoken = |forecaster: &Arc<Forecaster>| {
        let mut all = Vec::new();
        let mut predictor = Predictor::new(forecaster.clone());
        predictor.advance_many(&views, |row| row >= 20, |_, _, parts| all.push(parts.clone()), None).unwrap();
        all
    };
    for (own, theirs) in spoken(&alone).iter().zip(spoken(&whole)) {
        assert_eq!(own.linear, theirs.linear);
        for (step, quantiles) in own.combined.chunks_exact(3).enumerate() {
            assert!((quantiles[1] - own.linear[step]).abs() < 1e-6);
            // ln 9·√3/π deviations away, on either side and at every step.
            let (low, high) = (quantiles[1] - quantiles[0], quantiles[2] - quantiles[1]);
            let first = own.combined[2] - own.combined[1];
            assert!((low / high - 1.0).abs() < 1e-5 && (high / first - 1.0).abs() < 1e-5 && high > 0.1, "{low} {high}");
        }
    }
}

#[test]
fn it_is_the_same_after_saving() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let alone = alone(&config());
    alone.save(&path).unwrap();
    let loaded = Forecaster::load(&path, &Registry::default()).unwrap();
    assert!(loaded.is_linear_alone() && loaded.fingerprint() == alone.fingerprint());
}

#[test]
fn without_a_linear_expert_there_is_none() {
    let (whole, config) = (forecaster(), ForecasterConfig { linear: None, ..config() });
    let weights = whole.linear().unwrap().weights().clone();
    let error =
        Forecaster::linear_alone(&config, whole.columns().to_vec(), Covariates::default(), weights).unwrap_err().to_string();
    assert!(error.contains("linear") && error.contains("weights of one"), "{error}");
}
