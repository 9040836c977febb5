//! The counterfactual audit: forcing what was chosen anyway changes nothing, and what cannot be audited is refused.

mod common;

use foretoken_model::{Beside, Blueprint, Forecaster, LayerConfig, Predictor, Registry, audit::audit};
use std::sync::Arc;

/// One expert a sample, and no linear expert beside it.
fn forecaster() -> Arc<Forecaster> {
    let mut config = common::config();
    config.linear = None;
    config.layers[1] = config.layers[1].clone().with("top_k", 1);
    Arc::new(common::forecaster_of(&config, 1))
}

#[test]
fn the_leader_alone_is_the_route_where_one_expert_is_chosen() {
    let forecaster = forecaster();
    let columns = common::columns(80);
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let audited = audit(&forecaster, &views, &Beside::default(), 0, &[10, 11, 40, 74]).unwrap();
    assert_eq!(audited.len(), 8, "two columns");
    assert_eq!(forecaster.network().mixtures()[0].live_usage().read().samples, 0, "an audit is not counted");
    for one in &audited {
        assert_eq!(one.alone.len(), 3);
        assert_eq!(one.route, one.alone[one.leader], "to the bit");
        assert!(one.regret() >= 0.0 && one.alone.iter().all(|error| error.is_finite()));
        assert!(one.alone.iter().any(|error| *error != one.route), "another expert says something else");
    }
    // The route's error is that of the stream itself.
    let mut predictor = Predictor::new(forecaster.clone());
    let mut forecast = predictor.forecast_buffer();
    for row in 0..=40 {
        predictor.advance(&[columns[0][row], columns[1][row]]).unwrap();
    }
    predictor.predict(&mut forecast).unwrap();
    let deviation = forecaster.columns()[1].deviation;
    let square = |step: usize| ((forecast.point[5 + step] - columns[1][41 + step]) / deviation).powi(2);
    let error = (0..5).map(square).sum::<f64>() / 5.0;
    let own = audited.iter().find(|one| (one.row, one.column) == (40, 1)).unwrap();
    assert!((own.route - error).abs() < 1e-12 * error.max(1.0));
}

#[test]
fn what_is_missing_is_not_audited() {
    let forecaster = forecaster();
    let mut columns = common::columns(80);
    let of = |columns: &[Vec<f64>]| {
        let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
        audit(&forecaster, &views, &Beside::default(), 0, &[10, 30, 40, 60]).unwrap()
    };
    let whole = of(&columns);
    // Of column 1 a sample that is audited, two truths of row 40 and all of row 60; a column that begins late has nothing to be audited at row 10.
    columns[1][30] = f64::NAN;
    columns[1][42..44].fill(f64::NAN);
    columns[1][61..66].fill(f64::NAN);
    columns[0][..12].fill(f64::NAN);
    let audited = of(&columns);
    let places: Vec<(usize, usize)> = audited.iter().map(|one| (one.row, one.column)).collect();
    assert_eq!(places, [(10, 1), (30, 0), (40, 0), (40, 1), (60, 0)]);
    assert_eq!(audited[0], whole[1], "nothing was missing yet");
    for one in &audited {
        assert!(one.route == one.alone[one.leader] && one.alone.iter().all(|error| error.is_finite()), "{one:?}");
    }
    // The error of row 40 is that of the three steps that are known.
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.allow_missing(true);
    let mut forecast = predictor.forecast_buffer();
    (0..=40).for_each(|row| predictor.advance(&[columns[0][row], columns[1][row]]).unwrap());
    predictor.predict(&mut forecast).unwrap();
    let square = |step: usize| ((forecast.point[5 + step] - columns[1][41 + step]) / forecaster.columns()[1].deviation).powi(2);
    let error = [0, 3, 4].map(square).iter().sum::<f64>() / 3.0;
    assert!((audited[3].route - error).abs() < 1e-12 * error.max(1.0), "{} {error}", audited[3].route);
}

#[test]
fn what_cannot_be_audited_is_refused() {
    let forecaster = forecaster();
    let columns = common::columns(30);
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let refused = |forecaster: &Arc<Forecaster>, views: &[&[f64]], mixture, rows: &[usize], word: &str| {
        let error = audit(forecaster, views, &Beside::default(), mixture, rows).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    };
    refused(&forecaster, &views, 1, &[3], "one of 1");
    refused(&forecaster, &views, 0, &[25], "at least 5 samples, found 4");
    refused(&forecaster, &views, 0, &[7, 7], "increasing");
    refused(&forecaster, &[&[], &[]], 0, &[0], "at least 5");
    let mut config = common::config();
    let inner = toml::Value::try_from(LayerConfig::new("mixture").with("num_experts", 3)).unwrap();
    config.layers[1] = LayerConfig::new("mixture").with("num_experts", 3).with("experts", vec![inner]);
    assert!(Blueprint::new(&config, &Registry::default()).is_ok());
    refused(&Arc::new(common::forecaster_of(&config, 1)), &views, 1, &[9], "inside an expert");
}
