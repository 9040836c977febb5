//! Calibrated intervals: saved with the model, following the stream, the same bits however it comes.

mod common;

use common::{columns, config, forecaster_of, variants};
use foretoken_model::{
    Blueprint, Column, Covariates, Forecaster, Predictor, Registry,
    conformal::{Calibration, Held},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

#[test]
fn a_calibration_is_saved_with_the_model_and_moves_its_quantiles() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let plain = forecaster_of(&config(), 1);
    let levels = plain.blueprint().levels.clone();
    let factors: Vec<f32> = (0..5).flat_map(|step| [2.0, 1.0, 0.5 + step as f32]).collect();
    let calibration = Calibration::new(factors, vec![1.5, 0.5], 5, &levels).unwrap();
    let calibrated = forecaster_of(&config(), 1).calibrated(Some(calibration.clone()));
    calibrated.save(&path).unwrap();
    let loaded = Forecaster::load(&path, &Registry::default()).unwrap();
    assert_eq!(loaded.calibration(), Some(&calibration));
    assert_ne!(loaded.fingerprint(), plain.fingerprint());
    let data = columns(40);
    let forecast = |forecaster: Forecaster| {
        let mut predictor = Predictor::new(Arc::new(forecaster));
        (0..40).for_each(|row| predictor.advance(&[data[0][row], data[1][row]]).unwrap());
        let mut forecast = predictor.forecast_buffer();
        predictor.predict(&mut forecast).unwrap();
        forecast
    };
    let written = std::fs::read(&path).unwrap();
    let renamed = |bytes: &[u8], from: &str, to: &str| {
        let at = bytes.windows(from.len()).position(|part| part == from.as_bytes()).expect("in the header");
        [&bytes[..at], to.as_bytes(), &bytes[at + to.len()..]].concat()
    };
    // Damage to a name is damage: a calibration that is not found would only make other intervals.
    for (from, to) in
        [("calibration.columns", "calibration.colvmns"), ("\"calibration\"", "\"calibratiom\""), ("checksum", "checksun")]
    {
        std::fs::write(&path, renamed(&written, from, to)).unwrap();
        let error = Forecaster::load(&path, &Registry::default()).expect_err(from).to_string();
        assert!(error.contains("model.safetensors") && error.contains("checksum"), "{error}");
    }
    // A file from before columns had factors of their own, and checksums.
    let older = renamed(&written, r#"\"format_version\":7"#, r#"\"format_version\":3"#);
    let older = renamed(&renamed(&older, "calibration.columns", "calibration.unknown"), "checksum", "nothing_");
    std::fs::write(&path, older).unwrap();
    let older = Forecaster::load(&path, &Registry::default()).unwrap();
    assert_eq!(older.calibration().map(Calibration::of_columns), Some(&[1.0, 1.0][..]));
    let held = Held {
        distances_hq: (0..15).map(|place| place as f32).collect(),
        sizes_ch: (1..=10).map(|place| 0.5 * place as f32).collect(),
    };
    let beside = calibration.clone().beside(held).unwrap();
    let with_held = forecaster_of(&config(), 1).calibrated(Some(beside.clone()));
    with_held.save(&path).unwrap();
    let with_held = Forecaster::load(&path, &Registry::default()).unwrap();
    assert_eq!(with_held.calibration(), Some(&beside));
    let (before, after, held) = (forecast(plain), forecast(loaded), forecast(with_held));
    assert_eq!(before.point, after.point);
    for (place, (after, held)) in after.quantiles.chunks(3).zip(held.quantiles.chunks(3)).enumerate() {
        let (step, size) = (place % 5, 0.5 * (place + 1) as f64);
        let deviation = forecaster_of(&config(), 1).columns()[place / 5].deviation;
        for level in [0, 2] {
            let further = (held[level] - held[1]).abs() - (after[level] - after[1]).abs();
            let expected = size * (3 * step + level) as f64 * deviation;
            // As above.
            assert!((further - expected).abs() < 1e-9, "column and step {place}, level {level}: {further} {expected}");
        }
    }
    for (step, (before, after)) in before.quantiles.chunks(3).zip(after.quantiles.chunks(3)).enumerate() {
        let own = [1.5, 0.5][step / 5];
        let ratio = |level: usize| (after[level] - after[1]) / (before[level] - before[1]) / own;
        let expected = [2.0, 0.5 + (step % 5) as f64];
        // Rounding of differences of values near 20.
        assert!((ratio(0) - expected[0]).abs() < 1e-9 && (ratio(2) - expected[1]).abs() < 1e-9, "step {step}");
    }
    for bad in [vec![1.0; 14], vec![-1.0; 15], vec![f32::NAN; 15], vec![1e9; 15]] {
        assert!(Calibration::new(bad, vec![1.0; 2], 5, &levels).is_err());
    }
    for bad in [-1.0, f32::NAN, 1e9] {
        assert!(Calibration::new(vec![1.0; 15], vec![1.0, bad], 5, &levels).is_err());
    }
    let good = || Held { distances_hq: vec![1.0; 15], sizes_ch: vec![1.0; 10] };
    let mut bad = [(); 6].map(|()| good());
    bad[0].distances_hq.pop();
    bad[1].sizes_ch.pop();
    bad[2].sizes_ch.truncate(8);
    (bad[3].distances_hq[4], bad[4].distances_hq[4], bad[5].sizes_ch[4]) = (-1.0, f32::NAN, 1e9);
    assert!(bad.into_iter().all(|bad| calibration.clone().beside(bad).is_err()) && calibration.beside(good()).is_ok());
}

#[test]
fn adaptive_intervals_come_out_the_same_live_whole_and_resumed() {
    let data = columns(90);
    let views: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    for config in variants() {
        let forecaster = Arc::new(forecaster_of(&config, 1));
        let fresh = || {
            let mut predictor = Predictor::new(forecaster.clone());
            predictor.adapt(Some(0.05)).unwrap();
            predictor
        };
        let (mut live, mut whole, mut resumed, mut plain) = (fresh(), fresh(), fresh(), Predictor::new(forecaster.clone()));
        whole.advance_many(&views, |_| false, |_, _, _| {}, None).unwrap();
        plain.advance_many(&views, |_| false, |_, _, _| {}, None).unwrap();
        for row in 0..90 {
            live.advance(&[data[0][row], data[1][row]]).unwrap();
            if row == 50 {
                let json = serde_json::to_string(&live.snapshot().unwrap()).unwrap();
                resumed.restore(&serde_json::from_str(&json).unwrap()).unwrap();
            } else if row > 50 {
                resumed.advance(&[data[0][row], data[1][row]]).unwrap();
            }
        }
        let forecast = |predictor: &mut Predictor| {
            let mut forecast = predictor.forecast_buffer();
            predictor.predict(&mut forecast).unwrap();
            forecast
        };
        let expected = forecast(&mut live);
        assert_eq!(live.snapshot().unwrap(), whole.snapshot().unwrap());
        assert_eq!(forecast(&mut whole), expected);
        assert_eq!(forecast(&mut resumed), expected);
        let plain_forecast = forecast(&mut plain);
        assert_eq!(plain_forecast.point, expected.point);
        assert_ne!(plain_forecast.quantiles, expected.quantiles);
        assert!(expected.quantiles.chunks(3).all(|q| q.is_sorted()));
        assert!(plain.restore(&live.snapshot().unwrap()).unwrap_err().to_string().contains("adaptive"));
        assert!(live.adapt(Some(0.1)).is_err(), "a stream that has begun");
    }
    for rate in [0.0, -1.0, 2.0, f64::NAN] {
        assert!(Predictor::new(Arc::new(forecaster_of(&config(), 1))).adapt(Some(rate)).is_err());
    }
}

/// Samples of the test stream; its deviation doubles, so its variance is four times, after half of them.
const SAMPLES: usize = 12_000;
/// What an interval may miss its level by, of thousands of samples.
const POINTS: f64 = 0.03;

/// Shares of the samples below the lower two and above the upper two quantiles of what is forecast after `rows`, at all steps.
fn beyond(values: &[f64], rate: Option<f64>, rows: std::ops::Range<usize>) -> [f64; 4] {
    let mut config = config();
    config.quantiles = vec![0.025, 0.1, 0.5, 0.9, 0.975];
    config.linear = None;
    // A scaler that sees little of the change: what follows the stream is the calibration.
    config.scaler.window = 4000;
    let blueprint = Blueprint::new(&config, &Registry::default()).unwrap();
    let weights = blueprint.layout.initialise(1);
    let columns = vec![Column::new("noise", 0.0, 1.0)];
    let forecaster = Arc::new(Forecaster::new(blueprint, columns, Covariates::default(), weights, None, vec![1.0; 5]).unwrap());
    let mut predictor = Predictor::new(forecaster);
    predictor.adapt(rate).unwrap();
    let (mut beyond, mut total) = ([0; 4], 0);
    let sink = |row: usize, _, parts: &foretoken_model::predictor::Parts| {
        for (step, q) in parts.combined.chunks_exact(5).enumerate() {
            let truth = values[row + 1 + step];
            total += 1;
            let is_beyond = [truth < q[0], truth < q[1], truth > q[3], truth > q[4]];
            beyond.iter_mut().zip(is_beyond).for_each(|(count, is)| *count += usize::from(is));
        }
    };
    predictor.advance_many(&[values], |row| rows.contains(&row), sink, None).unwrap();
    beyond.map(|count| count as f64 / total as f64)
}

#[test]
fn adaptive_intervals_keep_their_level_when_the_variance_grows() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let noise = |row: usize, rng: &mut ChaCha8Rng| {
        let gauss = (0..12).map(|_| rng.random::<f64>()).sum::<f64>() - 6.0;
        if row < SAMPLES / 2 { gauss } else { 2.0 * gauss }
    };
    let values: Vec<f64> = (0..SAMPLES).map(|row| noise(row, &mut rng)).collect();
    let coverage = |rate: Option<f64>, rows: std::ops::Range<usize>| {
        let [lowest, low, high, highest] = beyond(&values, rate, rows);
        [1.0 - low - high, 1.0 - lowest - highest]
    };
    for rows in [1000..SAMPLES / 2 - 10, SAMPLES / 2..SAMPLES - 10] {
        let adaptive = coverage(Some(0.02), rows.clone());
        for (covered, level) in adaptive.into_iter().zip([0.8, 0.95]) {
            assert!((covered - level).abs() < POINTS, "{rows:?}: {covered} of {level}");
        }
    }
    let fixed = coverage(None, SAMPLES / 2..SAMPLES - 10);
    assert!((fixed[0] - 0.8).abs() > POINTS, "{fixed:?}: nothing to adapt to");
}

#[test]
fn each_side_of_an_adaptive_interval_ends_at_its_own_share() {
    let mut rng = ChaCha8Rng::seed_from_u64(8);
    // Many small ones and few large: what is beyond lies on one side at first.
    let values: Vec<f64> = (0..SAMPLES).map(|_| -(1.0 - rng.random::<f64>()).ln()).collect();
    let rows = SAMPLES / 2..SAMPLES - 10;
    let shares = [0.025, 0.1, 0.1, 0.025];
    for (found, share) in beyond(&values, Some(0.05), rows.clone()).into_iter().zip(shares) {
        assert!((found - share).abs() < 0.5 * POINTS, "{found} of {share}");
    }
    let fixed = beyond(&values, None, rows);
    assert!((fixed[1] - 0.1).abs() > POINTS && (fixed[2] - 0.1).abs() > POINTS, "{fixed:?}: nothing to adapt to");
}
