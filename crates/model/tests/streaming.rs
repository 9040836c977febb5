//! The streaming engine: one sample or thousands, stopped or not, saved or not — the same bits; bad samples change nothing.

mod common;

use common::{columns, forecaster, forecaster_of, value, variants};
use foretoken_model::{
    Covariates, Forecast, ModelError, Predictor, Registry, Replay, SignalPredictor, Snapshot, Trace,
    layer::{Rows, Workspace},
    weights::Layout,
};
use std::sync::Arc;

const ROWS: usize = 90;

fn forecast(predictor: &mut Predictor) -> Forecast {
    let mut forecast = predictor.forecast_buffer();
    predictor.predict(&mut forecast).unwrap();
    forecast
}

fn advance(predictor: &mut Predictor, rows: std::ops::Range<usize>) {
    rows.for_each(|row| predictor.advance(&[value(0, row), value(1, row)]).unwrap());
}

#[test]
fn sample_by_sample_is_all_at_once() {
    for config in variants() {
        let forecaster = Arc::new(forecaster_of(&config, 1));
        let mut live = Predictor::new(forecaster.clone());
        advance(&mut live, 0..ROWS);
        let data = columns(ROWS);
        let views: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
        let mut batch = Predictor::new(forecaster.clone());
        batch.advance_many(&views, |_| false, |_, _, _| {}, None).unwrap();
        assert_eq!(forecast(&mut live), forecast(&mut batch));
        assert_eq!(live.snapshot().unwrap(), batch.snapshot().unwrap());
        assert!(forecast(&mut live).quantiles.iter().all(|value| value.is_finite()));

        // What is shown on the way is what a stream stopped there forecasts.
        let mut shown = Vec::new();
        let mut again = Predictor::new(forecaster.clone());
        let sink = |row, column, parts: &foretoken_model::predictor::Parts| shown.push((row, column, parts.combined.clone()));
        again.advance_many(&views, |row| row == 3 || row == 40, sink, None).unwrap();
        assert_eq!(shown.len(), 4);
        for (row, column, combined) in shown {
            let mut stopped = Predictor::new(forecaster.clone());
            advance(&mut stopped, 0..row + 1);
            let quantiles = forecast(&mut stopped).quantiles;
            let restored: Vec<f64> = combined.iter().map(|value| forecaster.columns()[column].restore(*value)).collect();
            assert_eq!(quantiles[column * combined.len()..][..combined.len()], restored);
        }
    }
}

/// Two columns in which samples are missing: one by one, in a run, and before the second column begins.
fn gappy(rows: usize) -> Vec<Vec<f64>> {
    let mut data = columns(rows);
    for (column, values) in data.iter_mut().enumerate() {
        for (row, value) in values.iter_mut().enumerate() {
            let missing = (row + column) % 7 == 4 || (30..39).contains(&row) || (column == 1 && row < 12);
            *value = if missing { f64::NAN } else { *value };
        }
    }
    data
}

#[test]
fn missing_samples_one_by_one_or_all_at_once() {
    let data = gappy(ROWS);
    for config in variants() {
        let forecaster = Arc::new(forecaster_of(&config, 1));
        let fresh = || {
            let mut predictor = Predictor::new(forecaster.clone());
            predictor.allow_missing(true);
            predictor
        };
        let (mut live, mut batch) = (fresh(), fresh());
        let mut said = Vec::new();
        for row in 0..ROWS {
            live.advance(&[data[0][row], data[1][row]]).unwrap();
            let forecast = forecast(&mut live);
            let outputs = forecast.quantiles.len() / 2;
            for (column, quantiles) in forecast.quantiles.chunks_exact(outputs).enumerate() {
                let begun = column == 0 || row >= 12;
                assert!(begun || forecast.missing[column] == 1.0, "row {row}");
                assert!(quantiles.iter().all(|value| value.is_finite() == begun), "row {row}");
                said.extend(begun.then(|| (row, column, quantiles.to_vec())));
            }
        }
        said.sort_by_key(|(row, column, _)| (*row, *column));
        let views: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
        let mut shown = Vec::new();
        let sink = |row, column: usize, parts: &foretoken_model::predictor::Parts| {
            let restored = parts.combined.iter().map(|value| forecaster.columns()[column].restore(*value)).collect::<Vec<_>>();
            shown.push((row, column, restored));
        };
        batch.advance_many(&views, |_| true, sink, None).unwrap();
        shown.sort_by_key(|(row, column, _)| (*row, *column));
        assert_eq!(live.snapshot().unwrap(), batch.snapshot().unwrap());
        assert!(said == shown, "{config:?}");
        // Columns beside each other: all to one sink, or one to each.
        for (sinks, heard) in [(1, vec![vec![0, 1]]), (2, vec![vec![0], vec![1]]), (3, vec![vec![0], vec![1], vec![]])] {
            let (mut apart, mut by_sink) = (fresh(), vec![Vec::new(); sinks]);
            let sinks = by_sink.iter_mut().map(|shown| {
                |row, column: usize, parts: &foretoken_model::predictor::Parts| {
                    let column_of = &forecaster.columns()[column];
                    let restored: Vec<f64> = parts.combined.iter().map(|value| column_of.restore(*value)).collect();
                    shown.push((row, column, restored));
                }
            });
            apart.advance_many_apart(&views, |_| true, &mut sinks.collect::<Vec<_>>()).unwrap();
            assert_eq!(live.snapshot().unwrap(), apart.snapshot().unwrap());
            for (shown, columns) in by_sink.iter().zip(heard) {
                assert!(shown.iter().all(|(_, column, _)| columns.contains(column)), "{config:?}");
                let of = |all: &[(usize, usize, Vec<f64>)], column| {
                    all.iter().filter(|(_, own, _)| *own == column).cloned().collect::<Vec<_>>()
                };
                columns.into_iter().for_each(|column| assert!(of(shown, column) == of(&said, column), "{config:?}"));
            }
        }
        let mut resumed = fresh();
        resumed.restore(&live.snapshot().unwrap()).unwrap();
        assert_eq!(forecast(&mut resumed), forecast(&mut live));
    }
}

#[test]
fn a_gap_costs_time_but_no_state() {
    // The hidden row does not change while samples are missing: what was said of the step after next is now said of the next.
    let forecaster = Arc::new(forecaster());
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.allow_missing(true);
    advance(&mut predictor, 0..40);
    let (before, hidden) = (forecast(&mut predictor), predictor.snapshot().unwrap().hidden);
    predictor.advance(&[value(0, 40), f64::NAN]).unwrap();
    let after = forecast(&mut predictor);
    let width = hidden.len() / 2;
    assert_ne!(predictor.snapshot().unwrap().hidden[..width], hidden[..width]);
    assert_eq!(predictor.snapshot().unwrap().hidden[width..], hidden[width..]);
    assert_eq!((before.missing[1], after.missing[0]), (0.0, 0.0));
    assert!(after.missing[1] > 0.0 && after.missing[1] < 1.0);
    let mut strict = Predictor::new(forecaster);
    assert!(strict.advance(&[1.0, f64::NAN]).is_err());
}

#[test]
fn spread_within_and_between_the_experts() {
    let forecaster = Arc::new(forecaster());
    let mut predictor = Predictor::new(forecaster.clone());
    advance(&mut predictor, 0..40);
    let before = forecast(&mut predictor);
    let data = columns(41);
    let last = [&data[0][40..], &data[1][40..]];
    let mut shown = Vec::new();
    let sink = |_, _, parts: &foretoken_model::predictor::Parts| shown.push(parts.clone());
    predictor.advance_many(&last, |_| true, sink, None).unwrap();
    let said = forecast(&mut predictor);
    assert_ne!(before.between, said.between);
    for (column, parts) in shown.iter().enumerate() {
        let deviation = forecaster.columns()[column].deviation;
        for step in 0..5 {
            let share = f64::from(forecaster.network_share()[step]);
            let distance = deviation * (parts.network[step * 3 + 1] - parts.linear[step]);
            let place = column * 5 + step;
            let pooled = share * (1.0 - share) * distance * distance;
            assert!((said.between[place].powi(2) - pooled).abs() < 1e-9, "{place}");
            assert!(said.within[place] > 0.0 && (share > 0.0) == (said.between[place] > 0.0));
        }
    }
}

#[test]
fn reset_is_a_fresh_start() {
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    advance(&mut predictor, 0..ROWS);
    let first = forecast(&mut predictor);
    predictor.reset();
    assert_eq!(predictor.snapshot().unwrap(), Predictor::new(predictor.forecaster().clone()).snapshot().unwrap());
    advance(&mut predictor, 0..ROWS);
    assert_eq!(forecast(&mut predictor), first);
}

#[test]
fn a_restored_snapshot_goes_on_with_the_same_bits() {
    for config in variants() {
        let mut predictor = Predictor::new(Arc::new(forecaster_of(&config, 1)));
        advance(&mut predictor, 0..37);
        let text = predictor.snapshot().unwrap().to_json().unwrap();
        advance(&mut predictor, 37..ROWS);
        let mut resumed = Predictor::new(predictor.forecaster().clone());
        resumed.restore(&Snapshot::from_json(&text).unwrap()).unwrap();
        assert_eq!(resumed.samples(), 37);
        advance(&mut resumed, 37..ROWS);
        assert_eq!(forecast(&mut resumed), forecast(&mut predictor));
    }
}

#[test]
fn a_saved_model_streams_the_same_bits() {
    let folder = tempfile::tempdir().unwrap();
    for config in variants() {
        let path = folder.path().join("model.safetensors");
        let original = forecaster_of(&config, 1);
        original.save(&path).unwrap();
        let loaded = foretoken_model::Forecaster::load(&path, &Registry::default()).unwrap();
        assert_eq!(loaded.config(), original.config());
        assert_eq!(loaded.fingerprint(), original.fingerprint());
        let [mut a, mut b] = [original, loaded].map(|forecaster| Predictor::new(Arc::new(forecaster)));
        advance(&mut a, 0..ROWS);
        advance(&mut b, 0..ROWS);
        assert_eq!(forecast(&mut a), forecast(&mut b));
    }
}

#[test]
fn a_bounded_look_back_is_bounded_and_streams_the_same_bits() {
    const EVERY: u64 = 13;
    for config in variants() {
        let forecaster = Arc::new(forecaster_of(&config, 1));
        let fresh = || {
            let mut predictor = Predictor::new(forecaster.clone());
            predictor.refresh_every(Some(EVERY)).unwrap();
            predictor
        };
        let mut live = fresh();
        advance(&mut live, 0..ROWS);
        let data = columns(ROWS);
        let views: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
        let mut batch = fresh();
        batch.advance_many(&views, |_| false, |_, _, _| {}, None).unwrap();
        assert_eq!(live.snapshot().unwrap(), batch.snapshot().unwrap());
        assert_eq!(forecast(&mut live), forecast(&mut batch));

        // Stopped and restored between two exchanges.
        let mut stopped = fresh();
        advance(&mut stopped, 0..50);
        let text = serde_json::to_string(&stopped.snapshot().unwrap()).unwrap();
        let mut resumed = fresh();
        resumed.restore(&serde_json::from_str(&text).unwrap()).unwrap();
        advance(&mut resumed, 50..ROWS);
        assert_eq!(forecast(&mut resumed), forecast(&mut live));
        let mut foreign: serde_json::Value = serde_json::from_str(&text).unwrap();
        foreign["refresh"]["age"] = 3.into();
        let foreign = serde_json::from_value(foreign).unwrap();
        assert!(fresh().restore(&foreign).unwrap_err().to_string().contains("snapshot"), "an age it cannot have");
        let error = Predictor::new(forecaster.clone()).restore(&stopped.snapshot().unwrap()).unwrap_err().to_string();
        assert!(error.contains("refresh") && error.contains("13"), "{error}");

        // What lies further back than it says changes nothing; a little later it does.
        let Some(window) = SignalPredictor::context_window(&fresh()) else {
            continue;
        };
        let after = |odd: usize| {
            let mut predictor = fresh();
            for row in 0..window + 40 {
                let shift = if row == odd { 3.0 } else { 0.0 };
                predictor.advance(&[value(0, row) + shift, value(1, row)]).unwrap();
            }
            forecast(&mut predictor)
        };
        assert_eq!(after(39), after(usize::MAX));
        assert!(after(window + 30) != after(usize::MAX));
    }
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    assert!(predictor.refresh_every(Some(0)).unwrap_err().to_string().contains("at least 1"));
    let mut bounded = Predictor::new(Arc::new(forecaster()));
    bounded.refresh_every(Some(5)).unwrap();
    assert!(bounded.force(Some(Replay::choices(Trace::default()).unwrap())).unwrap_err().to_string().contains("look-back"));
    advance(&mut predictor, 0..1);
    assert!(predictor.refresh_every(Some(5)).unwrap_err().to_string().contains("beginning"));
}

#[test]
fn another_rate_is_the_same_signal_in_time() {
    /// The powers of a step and of half of it, in `f32`.
    const HELD: f32 = 1e-5;
    let kinds =
        ["type = 's4d'", "type = 's5'\nstates = 4", "type = 'projected'\nwidth = 5\nlayer = { type = 's5' }", "type = 'swiglu'"];
    for text in kinds {
        let mut layout = Layout::default();
        let layer = Registry::default().build(&toml::from_str(text).unwrap(), 4, 4, &mut layout).unwrap();
        let arena = layout.initialise(1);
        let mut halved = arena.clone();
        layer.resample(&mut halved, 0.5).unwrap();
        // An input that is held, seen twice as often.
        let run = |arena: &[f32], repeats: usize| {
            let x: Vec<f32> =
                (0..60).flat_map(|row| [value(0, row) as f32, 1.0, value(1, row) as f32, 0.3].repeat(repeats)).collect();
            let (engine, rows, mut y) = (layer.prepare(arena, false), 60 * repeats, vec![f32::NAN; x.len()]);
            let mut workspace = Workspace::default();
            workspace.reserve(engine.scratch(rows, 1));
            engine.run(Rows::new(&x, &[0, rows]), &mut engine.state(1), &mut y, &mut workspace.scratch()).unwrap();
            y.chunks(4 * repeats).flat_map(|rows| rows[4 * (repeats - 1)..].to_vec()).collect::<Vec<_>>()
        };
        let (coarse, fine) = (run(&arena, 1), run(&halved, 2));
        let scale = coarse.iter().fold(0.0f32, |scale, value| scale.max(value.abs()));
        for (a, b) in coarse.iter().zip(&fine) {
            assert!((a - b).abs() <= HELD * scale, "{text}: {a}, at twice the rate {b}");
        }
    }
    let refused = |config: &foretoken_model::ForecasterConfig, rate: f64| {
        forecaster_of(config, 1).at_rate(rate, &Registry::default()).unwrap_err().to_string()
    };
    let mut config = common::config();
    assert!(refused(&config, 2.0).contains("taps"));
    config.taps = 1;
    assert!(refused(&config, 2.0).contains("linear"));
    config.linear = None;
    let error = refused(&config, 2.0);
    assert!(error.contains("layers.1") && error.contains("s4d, s5"), "{error}");
    config.adaptive = Some(0.05);
    assert!(refused(&config, 2.0).contains("adaptive"));
    assert!(refused(&config, 0.0).contains("rate") && refused(&config, f64::NAN).contains("rate"));
}

#[test]
fn states_that_no_stream_can_have_are_refused() {
    for (family, wrong) in [("mamba", -1.0f32), ("mamba2", -0.5), ("rwkv7", 0.5), ("rwkv7", -3.0), ("attention", 0.0)] {
        let text = format!("horizon = 4\nfamily = '{family}'\nsize = 'tiny'");
        let mut predictor = Predictor::new(Arc::new(forecaster_of(&toml::from_str(&text).unwrap(), 1)));
        advance(&mut predictor, 0..20);
        let good = predictor.snapshot().unwrap();
        let mut bad = good.clone();
        fn last(state: &mut foretoken_model::layer::State) -> &mut foretoken_model::layer::State {
            if state.children.is_empty() { state } else { last(&mut state.children[0]) }
        }
        let state = last(&mut bad.network);
        match family {
            // A position ahead of the clock.
            "attention" => state.counters[2] = state.counters[0],
            // RWKV-7's ln w lie before the row of its channel mix, 32 wide.
            "rwkv7" => {
                let len = state.floats.len();
                state.floats[len - 32 - 1] = wrong;
            }
            _ => *state.floats.last_mut().unwrap() = wrong,
        }
        assert!(predictor.restore(&bad).unwrap_err().to_string().contains("snapshot"), "{family}");
        predictor.restore(&good).unwrap();
    }
}

#[test]
fn a_family_is_one_word() {
    use foretoken_model::{ForecasterConfig, preset};
    for family in preset::SEQUENCES.into_iter().chain([preset::ENSEMBLE]) {
        for size in ["tiny", "small", "base"] {
            let config: ForecasterConfig = toml::from_str(&format!("horizon = 4\nfamily = '{family}'\nsize = '{size}'")).unwrap();
            let again: ForecasterConfig = toml::from_str(&toml::to_string(&config).unwrap()).unwrap();
            assert_eq!(again, config, "what is saved is what was meant");
            if size == "tiny" {
                let mut predictor = Predictor::new(Arc::new(forecaster_of(&config, 1)));
                advance(&mut predictor, 0..30);
                assert!(forecast(&mut predictor).quantiles.iter().all(|value| value.is_finite()), "{family}");
            }
        }
    }
    let refused = |text: &str, words: &[&str]| {
        let error = toml::from_str::<ForecasterConfig>(text).unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    };
    refused("horizon = 4\nfamily = 'mamba9'", &["family", "one of s4d", "ensemble", "`mamba9`"]);
    refused("horizon = 4\nfamily = 'mamba'\nsize = 'huge'", &["huge", "tiny"]);
    refused("horizon = 4", &["layers", "family", "neither"]);
    refused("horizon = 4\nsize = 'tiny'\nlayers = []", &["size", "family"]);
    refused("horizon = 4\nfamily = 'gru'\nlayers = []", &["family", "both"]);
}

#[test]
fn a_bad_sample_is_named_and_changes_nothing() {
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    advance(&mut predictor, 0..20);
    let before = predictor.snapshot().unwrap();
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY, 1e300] {
        let error = predictor.advance(&[1.0, bad]).unwrap_err();
        assert!(matches!(&error, ModelError::Sample { column, .. } if column == "oil"), "{error}");
        let error = predictor.advance_many(&[&[1.0, 2.0], &[1.0, bad]], |_| true, |_, _, _| {}, None).unwrap_err();
        assert!(error.to_string().contains("`oil`"), "{error}");
    }
    for width in [0, 1, 3] {
        let error = predictor.advance(&vec![1.0; width]).unwrap_err();
        assert!(matches!(error, ModelError::Width { expected: 2, found, .. } if found == width), "{error}");
    }
    assert_eq!(predictor.snapshot().unwrap(), before);
    advance(&mut predictor, 20..ROWS);
    let mut clean = Predictor::new(predictor.forecaster().clone());
    advance(&mut clean, 0..ROWS);
    assert_eq!(forecast(&mut predictor), forecast(&mut clean));
}

#[test]
fn hostile_signals_stay_finite_and_scale_back() {
    let signals: [fn(usize) -> f64; 4] =
        [|_| 5.0, |row| if row < 500 { 1e6 } else { -1e6 }, |row| if row == 0 { 1.0 } else { 0.0 }, |row| 1e9 * row as f64];
    for config in variants() {
        for (index, signal) in signals.iter().enumerate() {
            let mut predictor = Predictor::new(Arc::new(forecaster_of(&config, 1)));
            for row in 0..2000 {
                predictor.advance(&[signal(row), -signal(row)]).unwrap();
            }
            let forecast = forecast(&mut predictor);
            assert!(forecast.quantiles.iter().all(|value| value.is_finite()), "signal {index}");
            let levels = config.quantiles.len();
            assert!(forecast.quantiles.chunks(levels).all(|q| q.is_sorted()), "signal {index}: quantiles cross");
        }
    }
}

#[test]
fn nothing_to_forecast_from_is_an_error() {
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    let mut buffer = predictor.forecast_buffer();
    assert!(matches!(predictor.predict(&mut buffer), Err(ModelError::TooShort { .. })));
}

#[test]
fn the_model_starts_at_its_floor() {
    let config = common::config();
    let base = forecaster_of(&config, 1);
    let blueprint = foretoken_model::Blueprint::new(&config, &Registry::default()).unwrap();
    let linear = base.linear().map(|linear| linear.weights().clone());
    let floor = foretoken_model::Forecaster::new(
        blueprint,
        base.columns().to_vec(),
        Covariates::default(),
        base.weights().to_vec(),
        linear,
        vec![0.0; 5],
    )
    .unwrap();
    let mut predictor = Predictor::new(Arc::new(floor));
    let data = columns(ROWS);
    let views: Vec<&[f64]> = data.iter().map(Vec::as_slice).collect();
    let mut seen = 0;
    let sink = |row: usize, _, parts: &foretoken_model::predictor::Parts| {
        assert_eq!(parts.linear_spoke, row >= 15, "row {row}");
        if parts.linear_spoke {
            seen += 1;
            let medians = parts.combined.iter().skip(1).step_by(3);
            // median + (linear − median) rounds once more than linear itself.
            assert!(medians.zip(&parts.linear).all(|(median, linear)| (median - linear).abs() < 1e-12 * linear.abs().max(1.0)));
        }
    };
    predictor.advance_many(&views, |_| true, sink, None).unwrap();
    assert_eq!(seen, 2 * (ROWS - 15));
}

#[test]
fn snapshots_that_do_not_fit_are_refused() {
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    advance(&mut predictor, 0..9);
    let good = predictor.snapshot().unwrap();
    let other = Predictor::new(Arc::new(forecaster_of(&common::config(), 2))).snapshot().unwrap();
    let mut short = good.clone();
    short.hidden.pop();
    let mut poisoned = good.clone();
    poisoned.hidden[0] = f32::NAN;
    let mut miscounted = good.clone();
    miscounted.samples += 1;
    // An expert that does not exist led last, or was chosen last; one was last chosen after now.
    let counters = &good.network.children[1].counters;
    let choices =
        [(0, u64::MAX), (1, 77), (2, u64::MAX), (3, 77), (3, counters[4]), (counters.len() / 2 - 1, 77)].map(|(place, value)| {
            let mut bad = good.clone();
            bad.network.children[1].counters[place] = value;
            (bad, "choices")
        });
    let others = [(other, "model"), (short, "shapes"), (poisoned, "finite"), (miscounted, "shapes")];
    for (bad, word) in others.into_iter().chain(choices) {
        let error = predictor.restore(&bad).unwrap_err().to_string();
        assert!(error.contains(word), "{word}: {error}");
    }
    assert_eq!(predictor.snapshot().unwrap(), good);
}

#[test]
fn damage_to_a_snapshot_is_an_error() {
    let mut predictor = Predictor::new(Arc::new(forecaster()));
    advance(&mut predictor, 0..9);
    let (good, text) = (predictor.snapshot().unwrap(), predictor.snapshot().unwrap().to_json().unwrap());
    // Spaces mean nothing.
    assert_eq!(Snapshot::from_json(&text.replace(',', ",\n ")).unwrap(), good);
    let version = text.replace("\"format_version\":7", "\"format_version\":5");
    let error = Snapshot::from_json(&version).unwrap_err().to_string();
    assert!(error.contains("snapshot format_version: expected 7, found 5"), "{error}");
    for at in 0..text.len() {
        let mut bytes = text.clone().into_bytes();
        // Digits become other digits.
        bytes[at] ^= 1;
        match Snapshot::from_json(&String::from_utf8(bytes).unwrap()) {
            // A number's last digit may say nothing.
            Ok(read) => assert_eq!(read, good, "byte {at}"),
            Err(error) => assert!(error.to_string().starts_with("snapshot"), "byte {at}: {error}"),
        }
        assert!(Snapshot::from_json(&text[..at]).is_err(), "{at} bytes");
    }
}

#[test]
fn a_forced_trace_that_ends_breaks_the_stream_until_it_is_reset() {
    let forecaster = Arc::new(forecaster());
    let columns = common::columns(20);
    let views: Vec<&[f64]> = columns.iter().map(|column| &column[..5]).collect();
    let mut trace = Trace::default();
    Predictor::new(forecaster.clone()).advance_many(&views, |_| false, |_, _, _| {}, Some(&mut trace)).unwrap();
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.force(Some(Replay::choices(trace.clone()).unwrap())).unwrap();
    advance(&mut predictor, 0..5);
    let sample = [columns[0][5], columns[1][5]];
    assert!(predictor.advance(&sample).unwrap_err().to_string().contains("more than 5 samples"));
    // From the beginning it forces the same choices once more.
    predictor.reset();
    advance(&mut predictor, 0..5);
    assert!(predictor.advance(&sample).is_err());
    predictor.force(None).unwrap();
    let mut forecast = predictor.forecast_buffer();
    assert!(predictor.advance(&sample).unwrap_err().to_string().contains("reset or restored"));
    assert!(predictor.predict(&mut forecast).is_err());
    predictor.reset();
    let mut fresh = Predictor::new(forecaster.clone());
    advance(&mut predictor, 0..6);
    advance(&mut fresh, 0..6);
    assert_eq!(predictor.snapshot().unwrap(), fresh.snapshot().unwrap());
    // A trace of another mixture, and one that does not fit together, are errors too.
    let with = |change: &dyn Fn(&mut Trace)| {
        let mut trace = trace.clone();
        change(&mut trace);
        Replay::choices(trace)
    };
    assert!(with(&|trace| trace.mixtures[0].streams[0].weights.truncate(1)).is_err());
    assert!(with(&|trace| trace.mixtures[0].streams[0].choices[0] = 3).is_err());
    let mut other = Predictor::new(forecaster);
    other.force(Some(with(&|trace| trace.mixtures[0].experts = 8).unwrap())).unwrap();
    let error = other.advance(&sample).unwrap_err().to_string();
    assert!(error.contains("2 of 3 experts") && error.contains("2 of 8"), "{error}");
}
