//! Covariates: seen when they may be, never before; the same bits however a stream is told of them; exact gradients.

mod common;

use common::{config, covariates, forecaster_of, value};
use foretoken_model::{
    Beside, Blueprint, CovariateConfig, Forecast, Forecaster, ForecasterConfig, ModelError, Predictor, Registry, Snapshot,
    layer::Pass, network::Heard, plain,
};
use std::sync::Arc;

const ROWS: usize = 60;
const HORIZON: usize = 5;

/// Two columns, two covariates observed and three known, one of them of each column, two static ones.
fn with_covariates() -> ForecasterConfig {
    ForecasterConfig {
        covariates: CovariateConfig { past: 2, known: 3, statics: 2, columns: 2, hidden: 4, response: None },
        adaptive: Some(0.1),
        ..config()
    }
}

/// The same, and columns that respond to what is known of seven rows.
fn responding() -> ForecasterConfig {
    let plain = with_covariates();
    ForecasterConfig { covariates: CovariateConfig { response: Some(7), ..plain.covariates }, ..plain }
}

fn wave(seed: usize, row: usize) -> f64 {
    ((row * (seed + 2)) as f64 * 0.23).cos() * 2.0 + seed as f64
}

/// `[covariate][column][row]`: past ones up to `rows`, known ones a horizon more.
struct Data {
    past: Vec<Vec<Vec<f64>>>,
    known: Vec<Vec<Vec<f64>>>,
}

impl Data {
    fn new(rows: usize) -> Self {
        let of = |seed: usize, columns: usize, rows: usize| {
            (0..columns).map(|column| (0..rows).map(|row| wave(seed + 10 * column, row)).collect()).collect()
        };
        let beyond = rows + HORIZON;
        Self { past: vec![of(0, 1, rows), of(1, 2, rows)], known: vec![of(2, 1, beyond), of(3, 1, beyond), of(4, 2, beyond)] }
    }

    fn rows(&self, past: std::ops::Range<usize>, known: std::ops::Range<usize>) -> Beside<'_> {
        fn cut<'a>(of: &'a [Vec<Vec<f64>>], rows: &std::ops::Range<usize>) -> Vec<Vec<&'a [f64]>> {
            of.iter().map(|columns| columns.iter().map(|values| &values[rows.clone()]).collect()).collect()
        }
        Beside { past: cut(&self.past, &past), known: cut(&self.known, &known) }
    }

    fn all(&self) -> Beside<'_> {
        let rows = self.past[0][0].len();
        self.rows(0..rows, 0..rows + HORIZON)
    }
}

fn forecast(predictor: &mut Predictor) -> Forecast {
    let mut forecast = predictor.forecast_buffer();
    predictor.predict(&mut forecast).unwrap();
    forecast
}

/// A stream that has run through all rows of `data`.
fn run(forecaster: &Arc<Forecaster>, data: &Data) -> Predictor {
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.tell(&data.all()).unwrap();
    (0..ROWS).for_each(|row| predictor.advance(&[value(0, row), value(1, row)]).unwrap());
    predictor
}

#[test]
fn told_row_by_row_at_once_or_resumed() {
    [with_covariates(), responding()].iter().for_each(however_it_is_told);
}

fn however_it_is_told(config: &ForecasterConfig) {
    let (forecaster, data) = (Arc::new(forecaster_of(config, 1)), Data::new(ROWS));
    let columns: Vec<Vec<f64>> = (0..2)
        .map(|column| (0..ROWS).map(|row| if row % 9 == 5 + column { f64::NAN } else { value(column, row) }).collect())
        .collect();
    let views: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let fresh = || {
        let mut predictor = Predictor::new(forecaster.clone());
        predictor.allow_missing(true);
        predictor
    };
    let (mut live, mut whole) = (fresh(), fresh());
    live.tell(&data.rows(0..0, 0..HORIZON)).unwrap();
    let mut said = Vec::new();
    for row in 0..ROWS {
        if row == 33 {
            let text = live.snapshot().unwrap().to_json().unwrap();
            live = fresh();
            live.restore(&Snapshot::from_json(&text).unwrap()).unwrap();
        }
        live.tell(&data.rows(row..row + 1, row + HORIZON..row + HORIZON + 1)).unwrap();
        live.advance(&[columns[0][row], columns[1][row]]).unwrap();
        said.push(forecast(&mut live).quantiles);
    }
    whole.tell(&data.all()).unwrap();
    let mut shown = vec![Vec::new(); ROWS];
    let sink = |row: usize, column: usize, parts: &foretoken_model::predictor::Parts| {
        shown[row].extend(parts.combined.iter().map(|value| forecaster.columns()[column].restore(*value)));
    };
    whole.advance_many(&views, |_| true, sink, None).unwrap();
    assert!(said.iter().flatten().all(|value| value.is_finite()));
    assert_eq!(said, shown);
    assert_eq!(live.snapshot().unwrap(), whole.snapshot().unwrap());
    // The same from a file.
    let file = tempfile::NamedTempFile::new().unwrap();
    forecaster.save(file.path()).unwrap();
    let loaded = Arc::new(Forecaster::load(file.path(), &Registry::default()).unwrap());
    assert_eq!(loaded.covariates(), forecaster.covariates());
    assert_eq!(forecast(&mut run(&loaded, &data)), forecast(&mut run(&forecaster, &data)));
}

/// Responses are of f32, of covariates of some units.
const RESPONSE: f64 = 1e-5;

#[test]
fn a_column_that_responds_is_what_is_left_of_it_and_its_response() {
    let ([plain, driven], data) =
        ([with_covariates(), responding()].map(|config| Arc::new(forecaster_of(&config, 1))), Data::new(ROWS));
    let rows = ROWS + HORIZON;
    let responses: Vec<Vec<f64>> =
        (0..2).map(|column| driven.covariates().responses(&data.rows(0..0, 0..rows), column, rows).unwrap()).collect();
    // By its definition.
    let response = driven.covariates().response.as_ref().unwrap();
    for (column, row) in [(0, 0), (0, 3), (1, 40)] {
        let mut expected = 0.0;
        for back in 0..response.samples.min(row + 1) {
            for (known, own) in driven.covariates().known.iter().enumerate() {
                let of = &data.known[known];
                let weight = response.weights_crk[(column * 7 + 6 - back) * 3 + known];
                expected += own.standardise(of[column.min(of.len() - 1)][row - back]) * f64::from(weight);
            }
        }
        assert!((responses[column][row] - expected).abs() < RESPONSE, "{column}, {row}: {} {expected}", responses[column][row]);
    }
    // A stream of what is left by a model without a response, five rows that never come in the middle.
    let left = |column: usize, row: usize| value(column, row) - plain.columns()[column].deviation * responses[column][row];
    let streams = [(&plain, true), (&driven, false)].map(|(forecaster, is_left)| {
        let mut stream = Predictor::new(forecaster.clone());
        stream.tell(&data.rows(0..0, 0..rows)).unwrap();
        for row in (0..20).chain(25..ROWS) {
            let sample = [0, 1].map(|column| if is_left { left(column, row) } else { value(column, row) });
            stream.advance_after(if row == 25 { 5 } else { 0 }, &sample, &[wave(0, row), wave(1, row)]).unwrap();
        }
        forecast(&mut stream)
    });
    let quantiles = streams[0].quantiles.iter().zip(&streams[1].quantiles).enumerate();
    for (place, (left, whole)) in quantiles {
        let (column, step) = (place / 3 / HORIZON, place / 3 % HORIZON);
        let response = plain.columns()[column].deviation * responses[column][ROWS + step];
        assert!((left + response - whole).abs() < RESPONSE * (1.0 + whole.abs()), "{place}: {left} {response} {whole}");
    }
    assert_eq!(streams[0].between, streams[1].between);
}

#[test]
fn a_step_sees_what_is_known_of_it_and_of_no_other() {
    let (forecaster, mut data) = (Arc::new(forecaster_of(&with_covariates(), 1)), Data::new(ROWS));
    let before = forecast(&mut run(&forecaster, &data));
    // Known of column 1 alone, two steps ahead.
    data.known[2][1][ROWS + 1] += 3.0;
    let after = forecast(&mut run(&forecaster, &data));
    for (place, (a, b)) in before.quantiles.iter().zip(&after.quantiles).enumerate() {
        assert_eq!(a != b, place / 3 == HORIZON + 1, "{place}");
    }
    // What was observed moves everything said of its column.
    data.past[1][0][ROWS - 1] += 3.0;
    let last = forecast(&mut run(&forecaster, &data));
    // (At a step of the linear expert alone the median stays.)
    assert!(after.quantiles[..15].chunks(3).zip(last.quantiles.chunks(3)).all(|(a, b)| a[0] != b[0] && a[2] != b[2]));
    assert_eq!(after.quantiles[15..], last.quantiles[15..]);
}

#[test]
fn a_stream_that_was_told_too_little_says_so() {
    let (forecaster, data) = (Arc::new(forecaster_of(&with_covariates(), 1)), Data::new(ROWS));
    let mut predictor = Predictor::new(forecaster.clone());
    let sample = [value(0, 0), value(1, 0)];
    let problem = |result: Result<(), ModelError>| result.unwrap_err().to_string();
    assert!(problem(predictor.advance(&sample)).contains("past covariates of the samples"));
    predictor.tell(&data.rows(0..1, 0..0)).unwrap();
    assert!(problem(predictor.advance(&sample)).contains("known covariates of the samples"));
    predictor.tell(&data.rows(1..1, 0..HORIZON)).unwrap();
    predictor.advance(&sample).unwrap();
    let mut buffer = predictor.forecast_buffer();
    let found = problem(predictor.predict(&mut buffer));
    assert!(found.contains("known covariates of the horizon") && found.contains('5') && found.contains('4'), "{found}");
    predictor.tell(&data.rows(1..1, HORIZON..HORIZON + 1)).unwrap();
    predictor.predict(&mut buffer).unwrap();
    let before = predictor.snapshot().unwrap();
    assert!(problem(predictor.advance_beside(&[f64::NAN, 1.0], &[0.5, 0.5])).contains("load"));
    assert_eq!(predictor.snapshot().unwrap(), before);
    predictor.advance_beside(&sample, &[0.5, 0.5]).unwrap();
    predictor.tell(&data.rows(1..1, 6..7)).unwrap();
    // Nothing is taken of what is wrong.
    let snapshot = predictor.snapshot().unwrap();
    let mut few = data.rows(1..2, 6..7);
    few.known.pop();
    assert!(problem(predictor.tell(&few)).contains("known covariates"));
    let huge = [f64::MAX];
    let mut bad = data.rows(1..2, 6..7);
    bad.past[0][0] = &huge;
    assert!(problem(predictor.tell(&bad)).contains("past0"));
    let mut wide = data.rows(1..2, 6..7);
    let first = wide.past[0][0];
    wide.past[0] = vec![first; 3];
    assert!(problem(predictor.tell(&wide)).contains("columns of a covariate"));
    assert_eq!(predictor.snapshot().unwrap(), snapshot);
    let counts = CovariateConfig { known: 1, ..with_covariates().covariates };
    let blueprint = Blueprint::new(&ForecasterConfig { covariates: counts, ..with_covariates() }, &Registry::default()).unwrap();
    let own = covariates(&with_covariates());
    let refused =
        Forecaster::new(blueprint, forecaster.columns().to_vec(), own, forecaster.weights().to_vec(), None, vec![0.0; HORIZON]);
    assert!(refused.is_err());
}

/// Central differences in f32 at this step are good to about a thousandth of the largest gradient.
const STEP: f32 = 1e-2;
const GRADIENT: f32 = 3e-3;

#[test]
fn samples_that_never_come_take_what_is_known_of_them_along() {
    // Forecasts that wait for their samples were given before, with what was known then.
    let config = ForecasterConfig { adaptive: None, ..with_covariates() };
    let (forecaster, data) = (Arc::new(forecaster_of(&config, 1)), Data::new(ROWS));
    let sample = |row: usize| [value(0, row), value(1, row)];
    let past = |row: usize| [wave(0, row), wave(1, row)];
    let [mut gap, mut told] = [(); 2].map(|()| Predictor::new(forecaster.clone()));
    gap.tell(&data.rows(0..0, 0..ROWS)).unwrap();
    // The other stream was never told of three rows.
    told.tell(&data.rows(0..0, 0..10)).unwrap();
    told.tell(&data.rows(0..0, 13..ROWS)).unwrap();
    for row in 0..10 {
        gap.advance_after(0, &sample(row), &past(row)).unwrap();
        told.advance_beside(&sample(row), &past(row)).unwrap();
    }
    // A sample that is refused takes nothing along.
    let before = gap.snapshot().unwrap();
    gap.advance_after(3, &[f64::NAN, 0.0], &past(13)).unwrap_err();
    gap.advance_after(ROWS, &sample(13), &past(13)).unwrap_err();
    assert!(gap.snapshot().unwrap() == before);
    gap.advance_after(3, &sample(13), &past(13)).unwrap();
    told.advance_beside(&sample(13), &past(13)).unwrap();
    assert!(gap.snapshot().unwrap() == told.snapshot().unwrap());
}

#[test]
fn the_heads_do_what_their_definition_says_and_their_gradients_agree() {
    let config = with_covariates();
    let blueprint = Blueprint::new(&config, &Registry::default()).unwrap();
    let mut weights = blueprint.layout.initialise(3);
    weights.iter_mut().enumerate().for_each(|(place, weight)| *weight += 0.1 * (place as f32).sin());
    let inputs = config.covariates.count() + config.taps;
    let features: Vec<f32> = (0..8 * inputs).map(|i| (i as f32 * 0.7).sin()).collect();
    let known: Vec<f32> = (0..2 * HORIZON * 3).map(|i| (i as f32 * 1.3).cos()).collect();
    let positions = [3, 7];
    let heard = Heard { features_nk: &features, offsets: &[0, 8], gaps: &[] };
    let weigh: Vec<f32> = (0..2 * HORIZON * 3).map(|i| (i as f32 * 0.9).sin()).collect();
    let pass = || Pass::training(1, 0);
    let quantiles = |weights: &[f32]| {
        let engine = blueprint.network.prepare(weights, true);
        let mut out = vec![0.0; weigh.len()];
        let kept = engine.forward(heard, engine.state(1), &positions, &known, &mut out, &mut pass()).unwrap();
        (engine, out, kept)
    };
    let (engine, out, kept) = quantiles(&weights);
    let mut gradient = vec![0.0; weights.len()];
    engine.backward(
        heard,
        &positions,
        &known,
        kept,
        &weigh,
        &mut gradient,
        &foretoken_model::layer::BackwardPass { auxiliary: 0.0 },
    );
    let spans = blueprint.layout.specs().iter().filter(|spec| spec.name.starts_with("decoder") || spec.name == "gain");
    let mut checked = 0;
    for place in spans.flat_map(|spec| spec.weight.range()) {
        let loss = |by: f32| {
            let mut weights = weights.clone();
            weights[place] += by;
            quantiles(&weights).1.iter().zip(&weigh).map(|(q, w)| q * w).sum::<f32>()
        };
        let numeric = (loss(STEP) - loss(-STEP)) / (2.0 * STEP);
        assert!((numeric - gradient[place]).abs() < GRADIENT * (1.0 + numeric.abs()), "{place}: {numeric} {}", gradient[place]);
        checked += 1;
    }
    assert_eq!(checked, 12 * 4 + 3 * 4 + 4 + 4 * 3 + 12);

    // The definition, in f64: what the decoder adds to the heads without it.
    let arena: Vec<f64> = weights.iter().map(|&weight| f64::from(weight)).collect();
    let of = |name: &str| blueprint.layout.specs().iter().find(|spec| spec.name == name).unwrap().weight;
    let mut state = blueprint.network.plain_state();
    let mut plain_pass = plain::PlainPass { training: Some((1, 0)), ..plain::PlainPass::default() };
    let mut hidden = Vec::new();
    for row in features.chunks_exact(inputs) {
        let row: Vec<f64> = row.iter().map(|&value| f64::from(value)).collect();
        hidden = blueprint.network.plain_step(&arena, &row, &mut state, &mut plain_pass);
    }
    let raw = plain::affine(&hidden, &arena, of("head"), of("head_bias"));
    let base = plain::affine(&hidden, &arena, of("decoder.hidden"), of("decoder.bias"));
    for step in 0..HORIZON {
        let x: Vec<f64> = known[(HORIZON + step) * 3..][..3].iter().map(|&value| f64::from(value)).collect();
        let seen = plain::multiply(&x, &arena[of("decoder.known").range()], 4);
        let z: Vec<f64> = seen.iter().zip(&base).map(|(a, b)| plain::silu(a + b)).collect();
        let more = plain::multiply(&z, &arena[of("decoder.out").range()], 3);
        let raw: Vec<f32> = raw[step * 3..][..3].iter().zip(&more).map(|(a, b)| (a + b) as f32).collect();
        let mut expected = [0.0; 3];
        blueprint.levels.forward(&raw, &mut [0.0; 3], &mut expected);
        for (expected, found) in expected.iter().zip(&out[(HORIZON + step) * 3..]) {
            assert!((expected - found).abs() < 1e-4, "{step}: {expected} {found}");
        }
    }
}
