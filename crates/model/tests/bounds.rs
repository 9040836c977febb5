//! Forecasts that stay within a column's bounds: live as in a stretch, and only while the samples do.

mod common;

use common::{columns, config, forecaster_within};
use foretoken_model::{
    Blueprint, Bounds, Covariates, Forecaster, ForecasterConfig, Glitches, Predictor, Registry, conformal::Calibration,
    predictor::Parts,
};
use std::sync::Arc;

const ROWS: usize = 40;

fn within(config: &ForecasterConfig, lowest: Option<f64>, highest: Option<f64>) -> Forecaster {
    let forecaster = forecaster_within(config, 1, Bounds { lowest, highest });
    let levels = &forecaster.blueprint().levels;
    let calibration = Calibration::new(vec![40.0; 5 * levels.count()], vec![1.0; 2], 5, levels).unwrap();
    forecaster.calibrated(Some(calibration))
}

/// Points and quantiles of all columns after all rows, sample by sample and in a stretch: the same bits.
fn said(forecaster: Forecaster) -> (Vec<f64>, Vec<f64>) {
    let (data, forecaster) = (columns(ROWS), Arc::new(forecaster));
    let mut live = Predictor::new(forecaster.clone());
    (0..ROWS).for_each(|row| live.advance(&[data[0][row], data[1][row]]).unwrap());
    let mut forecast = live.forecast_buffer();
    live.predict(&mut forecast).unwrap();
    let (mut points, mut quantiles) = (Vec::new(), Vec::new());
    let all: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let sink = |_: usize, column: usize, parts: &Parts| {
        let column = &forecaster.columns()[column];
        points.extend(parts.points.iter().map(|value| column.restore(*value)));
        quantiles.extend(parts.combined.iter().map(|value| column.restore(*value)));
    };
    Predictor::new(forecaster.clone()).advance_many(&all, |row| row + 1 == ROWS, sink, None).unwrap();
    assert_eq!((&points, &quantiles), (&forecast.point, &forecast.quantiles));
    (points, quantiles)
}

#[test]
fn forecasts_stay_within_bounds_that_the_samples_stay_within() {
    let data = columns(ROWS);
    let lowest = data[0].iter().copied().fold(f64::INFINITY, f64::min);
    let highest = data[0].iter().copied().fold(f64::NEG_INFINITY, f64::max);
    for adaptive in [None, Some(0.1)] {
        let config = ForecasterConfig { adaptive, ..config() };
        let free = said(within(&config, None, None));
        let (points, quantiles) = said(within(&config, Some(lowest), Some(highest)));
        let (own, other) = quantiles.split_at(quantiles.len() / 2);
        let clamped: Vec<f64> = free.1.iter().map(|value| value.clamp(lowest, highest)).collect();
        assert_eq!((own, other), (&clamped[..own.len()], &free.1[own.len()..]));
        assert!(own.contains(&lowest) && own.contains(&highest), "a bound is reached, to the last bit");
        assert_eq!(points, free.0);
        // One of two; what the other side learns from the stream is what it learned without.
        let (_, quantiles) = said(within(&config, Some(lowest), None));
        let raised: Vec<f64> = free.1[..own.len()].iter().map(|value| value.max(lowest)).collect();
        assert!(quantiles[..own.len()] == raised && raised.iter().any(|&value| value > highest));
        // A bound that a sample has passed is none; the other still is.
        let (_, quantiles) = said(within(&config, Some(lowest + 0.1), Some(highest)));
        assert!(quantiles.iter().any(|&value| value < lowest) && quantiles.contains(&highest));
    }
}

#[test]
fn points_stay_within_them_too_once_the_forecaster_is_finished() {
    // All samples are at the bound, and the linear expert, which errs, says more.
    let forecaster = |highest: f64| forecaster_within(&config(), 1, Bounds { lowest: None, highest: Some(highest) });
    let level = |forecaster: Forecaster| {
        let mut predictor = Predictor::new(Arc::new(forecaster));
        (0..ROWS).for_each(|_| predictor.advance(&[20.0, 20.0]).unwrap());
        let mut forecast = predictor.forecast_buffer();
        predictor.predict(&mut forecast).unwrap();
        forecast
    };
    let (free, unfinished) = (level(forecaster(1e9)), level(forecaster(20.0)));
    let own = 5 * 3;
    assert!(free.point[..5].iter().any(|&value| value > 20.0) && free.quantiles[..own].iter().any(|&value| value > 20.0));
    assert_eq!((&unfinished.point, &unfinished.quantiles), (&free.point, &free.quantiles));
    let finished = level(forecaster(20.0).calibrated(None));
    let lowered = |values: &[f64]| values.iter().map(|value| value.min(20.0)).collect::<Vec<_>>();
    assert_eq!(
        (finished.point[..5].to_vec(), finished.quantiles[..own].to_vec()),
        (lowered(&free.point[..5]), lowered(&free.quantiles[..own]))
    );
    assert_eq!((&finished.point[5..], &finished.quantiles[own..]), (&free.point[5..], &free.quantiles[own..]));
}

#[test]
fn bounds_are_saved_and_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let saved = within(&config(), Some(0.0), Some(100.0));
    saved.save(&path).unwrap();
    let loaded = Forecaster::load(&path, &Registry::default()).unwrap();
    assert_eq!(loaded.columns(), saved.columns());
    assert_ne!(loaded.fingerprint(), within(&config(), Some(0.0), None).fingerprint());
    for (lowest, highest) in [(3.0, 3.0), (4.0, 3.0), (f64::NAN, 3.0), (0.0, f64::INFINITY)] {
        let mut columns = saved.columns().to_vec();
        columns[0].bounds = Bounds { lowest: Some(lowest), highest: Some(highest) };
        let blueprint = Blueprint::new(&config(), &Registry::default()).unwrap();
        let (weights, linear) = (saved.weights().to_vec(), saved.linear().map(|linear| linear.weights().clone()));
        let made = Forecaster::new(blueprint, columns, Covariates::default(), weights, linear, saved.network_share().to_vec());
        let error = made.expect_err("bounds that cannot be").to_string();
        assert!(error.contains("column `load`") && error.contains("bounds"), "{error}");
    }
}

#[test]
fn limits_are_saved_and_checked_and_change_no_forecast() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let free = within(&config(), None, None);
    let limited = |limits: Bounds| {
        let mut columns = free.columns().to_vec();
        columns[1].limits = limits;
        let blueprint = Blueprint::new(&config(), &Registry::default()).unwrap();
        let (weights, linear) = (free.weights().to_vec(), free.linear().map(|linear| linear.weights().clone()));
        let made = Forecaster::new(blueprint, columns, Covariates::default(), weights, linear, free.network_share().to_vec());
        made.map(|made| made.calibrated(free.calibration().cloned()))
    };
    let saved = limited(Bounds { lowest: Some(0.0), highest: Some(1e-3) }).unwrap();
    saved.save(&path).unwrap();
    let loaded = Forecaster::load(&path, &Registry::default()).unwrap();
    assert_eq!(loaded.columns(), saved.columns());
    assert_ne!(loaded.fingerprint(), free.fingerprint());
    let glitches = Glitches::of(&loaded);
    assert!(glitches.has_limits() && glitches.limits() == [Bounds::default(), saved.columns()[1].limits]);
    assert_eq!(said(loaded), said(within(&config(), None, None)));
    let error = limited(Bounds { lowest: Some(2.0), highest: Some(1.0) }).expect_err("limits that cannot be").to_string();
    assert!(error.contains("expected finite limits, the lowest below the highest"), "{error}");
}
