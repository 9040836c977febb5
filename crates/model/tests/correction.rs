//! Corrections of the linear expert: by a column's own samples, and by those of all columns.

mod common;

use common::{columns, config, forecaster_of};
use foretoken_model::{
    Forecaster, ForecasterConfig, Predictor, Registry,
    linear_expert::{CorrectionConfig, LinearWeights, SomeMaps},
    predictor::Parts,
};
use std::sync::Arc;

/// Sums of a few products in `f32`.
const SAME: f64 = 1e-5;
const ROWS: usize = 60;

fn corrected() -> ForecasterConfig {
    let mut config = config();
    config.linear.as_mut().unwrap().correction = Some(CorrectionConfig { own: 5, across: 3, autoregression: false });
    config
}

/// A forecaster without what is added, which says all else.
fn plain() -> Forecaster {
    let whole = forecaster_of(&config(), 1);
    let weights = forecaster_of(&corrected(), 1).linear().unwrap().weights().clone();
    let weights = LinearWeights { correct_own: SomeMaps::default(), correct_across: SomeMaps::default(), ..weights };
    assert_eq!(whole.linear().unwrap().weights(), &weights);
    whole
}

fn said(forecaster: Forecaster, values: &[Vec<f64>]) -> Vec<Vec<Parts>> {
    let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
    let mut all = vec![Vec::new(); values.len()];
    let sink = |_: usize, column: usize, parts: &Parts| all[column].push(parts.clone());
    let mut predictor = Predictor::new(Arc::new(forecaster));
    predictor.allow_missing(true);
    predictor.advance_many(&views, |row| row >= 30, sink, None).unwrap();
    all
}

#[test]
fn each_is_the_samples_less_their_mean_times_its_map() {
    let mut values = columns(ROWS);
    // What is missing is the sample before it; a glitch reaches 8 deviations into the other column.
    for row in [33, 40, 41] {
        values[0][row] = f64::NAN;
    }
    values[0][50] = 100.0;
    let forecaster = forecaster_of(&corrected(), 1);
    let weights = forecaster.linear().unwrap().weights().clone();
    assert_eq!((&weights.correct_own.columns[..], &weights.correct_across.columns[..]), (&[0][..], &[1][..]));
    assert_eq!(weights.correct_across.maps_kih.len(), 2 * 3 * 5, "both columns, three samples, five steps");
    let filled: Vec<Vec<f64>> = values
        .iter()
        .zip(forecaster.columns())
        .map(|(values, column)| {
            let mut last = f64::NAN;
            values
                .iter()
                .map(|&value| {
                    last = if value.is_nan() { last } else { column.standardise(value) };
                    last
                })
                .collect()
        })
        .collect();
    let newest = |column: usize, row: usize, samples: usize, largest: f64| {
        let window: Vec<f64> =
            filled[column][row + 1 - samples..=row].iter().map(|value| value.clamp(-largest, largest)).collect();
        let mean = window.iter().sum::<f64>() / samples as f64;
        window.iter().map(|value| value - mean).collect::<Vec<f64>>()
    };
    let more =
        |x: &[f64], map: &[f32], step: usize| x.iter().zip(map.chunks_exact(5)).map(|(x, row)| x * f64::from(row[step])).sum();
    let (with, without) = (said(forecaster, &values), said(plain(), &values));
    let mut added = [0.0; 2];
    for row in 30..ROWS {
        for step in 0..5 {
            let own: f64 = more(&newest(0, row, 5, f64::INFINITY), &weights.correct_own.maps_kih, step);
            let both = [newest(0, row, 3, 8.0), newest(1, row, 3, 8.0)].concat();
            let across: f64 = more(&both, &weights.correct_across.maps_kih, step);
            for (column, expected) in [own, across].into_iter().enumerate() {
                let linear = |all: &[Vec<Parts>]| all[column][row - 30].linear[step];
                let found = linear(&with) - linear(&without);
                assert!(
                    (found - expected).abs() < SAME * expected.abs().max(1.0),
                    "column {column}, row {row}, step {step}: {found} {expected}"
                );
                added[column] += expected.abs();
            }
        }
    }
    assert!(added.iter().all(|added| *added > 1.0), "{added:?}");
}

#[test]
fn beside_an_autoregression_a_part_is_kept() {
    let mut config = corrected();
    config.linear.as_mut().unwrap().correction = Some(CorrectionConfig { own: 5, across: 3, autoregression: true });
    let mut values = columns(ROWS);
    // Too far to be drawn back: the rest speaks alone.
    values[1][45] = 100.0;
    let forecaster = forecaster_of(&config, 1);
    let LinearWeights { correct_across, keep_ch, .. } = forecaster.linear().unwrap().weights().clone();
    assert_eq!((correct_across.maps_kih.len(), keep_ch.len()), ((2 * 3 + 3) * 5, 2 * 5), "the means of two columns and a 1");
    let standardised = |column: usize, row: usize| forecaster.columns()[column].standardise(values[column][row]);
    let inputs = |row: usize| {
        let windows = [0, 1].map(|column| [2, 1, 0].map(|back| standardised(column, row - back).clamp(-8.0, 8.0)));
        let means = windows.map(|window| window.iter().sum::<f64>() / 3.0);
        let deviations =
            windows.iter().zip(means).flat_map(|(window, mean)| window.map(|value| value - mean)).collect::<Vec<f64>>();
        [&deviations[..], &means, &[1.0]].concat()
    };
    let inputs: Vec<Vec<f64>> = (30..ROWS).map(inputs).collect();
    let (with, without) = (said(forecaster, &values), said(plain(), &values));
    for (place, x) in inputs.iter().enumerate() {
        let is_far = (45..48).contains(&(30 + place));
        for step in 0..5 {
            let (found, rest) = (with[1][place].linear[step], without[1][place].linear[step]);
            let more: f64 = x.iter().zip(correct_across.maps_kih.chunks_exact(5)).map(|(x, row)| x * f64::from(row[step])).sum();
            let expected = if is_far { rest } else { f64::from(keep_ch[5 + step]) * rest + more };
            assert!(
                (found - expected).abs() < SAME * expected.abs().max(1.0),
                "row {}, step {step}: {found} {expected}",
                30 + place
            );
        }
    }
}

#[test]
fn a_forecast_is_flagged_by_what_it_looks_at() {
    let mut values = columns(ROWS);
    // Two of the newest three samples of the first column.
    values[0][ROWS - 2..].fill(f64::NAN);
    let missing = |forecaster: Forecaster| {
        let mut predictor = Predictor::new(Arc::new(forecaster));
        predictor.allow_missing(true);
        (0..ROWS).for_each(|row| predictor.advance(&[values[0][row], values[1][row]]).unwrap());
        let mut forecast = predictor.forecast_buffer();
        predictor.predict(&mut forecast).unwrap();
        forecast.missing
    };
    let (with, without) = (missing(forecaster_of(&corrected(), 1)), missing(plain()));
    assert_eq!((with[0], without[1]), (without[0], 0.0));
    assert!((with[1] - 2.0 / 6.0).abs() < SAME, "{with:?}");
    // Nothing is missing where it only begins.
    let mut begun = Predictor::new(Arc::new(forecaster_of(&corrected(), 1)));
    let mut forecast = begun.forecast_buffer();
    begun.advance(&[20.0, 21.0]).unwrap();
    begun.predict(&mut forecast).unwrap();
    assert_eq!(forecast.missing, [0.0, 0.0]);
}

#[test]
fn it_is_the_same_after_saving_and_only_its_file_is_of_the_newest_version() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let mut blended = corrected();
    blended.linear.as_mut().unwrap().correction = Some(CorrectionConfig { own: 5, across: 3, autoregression: true });
    for (config, version) in [(config(), 7), (blended, 11), (corrected(), 10)] {
        let forecaster = forecaster_of(&config, 1);
        forecaster.save(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let expected = format!(r#"\"format_version\":{version}"#);
        assert!(bytes.windows(expected.len()).any(|part| part == expected.as_bytes()), "{version}");
        let loaded = Forecaster::load(&path, &Registry::default()).unwrap();
        assert_eq!(loaded.fingerprint(), forecaster.fingerprint());
        assert_eq!(loaded.linear().unwrap().weights(), forecaster.linear().unwrap().weights());
    }
    let good = std::fs::read(&path).unwrap();
    for (from, to, words) in [
        (r#"\"across\":[1]"#, r#"\"across\":[0]"#, "checksum"),
        (r#"\"corrected\""#, r#"\"corrupted\""#, "corrupted"),
        (r#"\"across\":3"#, r#"\"across\":4"#, "tensor `linear.correction.across`: expected F32 [8, 5], found F32 [6, 5]"),
    ] {
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).expect(from);
        std::fs::write(&path, [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()).unwrap();
        let error = Forecaster::load(&path, &Registry::default()).unwrap_err().to_string();
        assert!(error.contains("model.safetensors") && error.contains(words), "{error} lacks {words}");
    }
}

#[test]
fn some_may_have_none() {
    let whole = forecaster_of(&corrected(), 1);
    let without = plain();
    let weights = without.linear().unwrap().weights().clone();
    let alone = |weights: LinearWeights| {
        Forecaster::linear_alone(&corrected(), whole.columns().to_vec(), whole.covariates().clone(), weights)
    };
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let none = alone(weights.clone()).unwrap();
    none.save(&path).unwrap();
    let none = Forecaster::load(&path, &Registry::default()).unwrap();
    let values = columns(ROWS);
    for (ours, theirs) in said(none, &values).concat().iter().zip(said(without, &values).concat()) {
        assert_eq!(ours.linear, theirs.linear);
    }
    for (columns, maps_kih, words) in [
        (vec![1, 0], vec![0.0; 2 * 5 * 5], "places of 2 columns, ascending, found [1, 0]"),
        (vec![2], vec![0.0; 5 * 5], "places of 2 columns, ascending, found [2]"),
        (vec![0], vec![0.0; 5 * 5 + 1], "expected 25 values, found 26"),
        (vec![], vec![0.0], "expected 0 values, found 1"),
    ] {
        let weights = LinearWeights { correct_own: SomeMaps { columns, maps_kih }, ..weights.clone() };
        let error = alone(weights).unwrap_err().to_string();
        assert!(error.contains("corrections by own samples") && error.contains(words), "{error} lacks {words}");
    }
    // Maps of what is not looked at, and of more than is worth looking at.
    let refused = |correction: CorrectionConfig, weights: LinearWeights| {
        let mut config = corrected();
        let linear = config.linear.as_mut().unwrap();
        (linear.lookback, linear.correction) = (4000, Some(correction));
        let weights = LinearWeights { weights_lh: vec![0.0; 4000 * 5], ..weights };
        let columns = whole.columns().to_vec();
        Forecaster::linear_alone(&config, columns, whole.covariates().clone(), weights).unwrap_err().to_string()
    };
    let maps = || SomeMaps { columns: vec![0], maps_kih: Vec::new() };
    let none = CorrectionConfig { own: 0, across: 3, autoregression: false };
    let error = refused(none, LinearWeights { correct_own: maps(), ..weights.clone() });
    assert!(error.contains("expected no columns, as nothing is looked at, found [0]"), "{error}");
    let none = CorrectionConfig { own: 5, across: 0, autoregression: false };
    let error = refused(none, LinearWeights { correct_across: maps(), ..weights.clone() });
    assert!(error.contains("expected no columns, as nothing is looked at, found [0]"), "{error}");
    let kept = LinearWeights { keep_ch: vec![1.0; 10], ..weights.clone() };
    let error = refused(CorrectionConfig { own: 5, across: 3, autoregression: false }, kept);
    assert!(error.contains("what is kept beside an autoregression: expected 0 values, found 10"), "{error}");
    let error = refused(CorrectionConfig { own: 5, across: 0, autoregression: true }, weights.clone());
    assert!(error.contains("autoregression: expected some `across` that it looks at"), "{error}");
    let error = refused(CorrectionConfig { own: 5, across: 2049, autoregression: false }, weights);
    assert!(error.contains("correction.across: expected at most 2048 samples of each of 2 columns, found 2049"), "{error}");
}
