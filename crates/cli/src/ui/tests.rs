//! Pictures of states at many sizes: what must be read in them, and that nothing breaks.

use super::{
    curve::{Curve, MOST},
    draw::{Panel, arrange, draw},
    state::{About, Load, State},
    window::{Around, Forecast, Window},
};
use crate::{
    command::forecast::after,
    fit,
    run::{Run, predictor},
};
use foretoken_train::{EpochReport, StepReport, Validation};
use ratatui::{Terminal, backend::TestBackend, layout::Rect, style::Color};

const HORIZON: usize = 96;
const STEPS: u64 = 29;

fn about(columns: usize) -> About {
    let value = |column: usize, row: usize| (row as f64 * 0.26 + column as f64).sin() * 5.0 + 20.0;
    let around = |column: usize| Around {
        name: format!("column-{column}"),
        values: (0..2 * HORIZON).map(|row| value(column, row)).collect(),
    };
    let window = Window {
        levels: vec![0.025, 0.1, 0.5, 0.9, 0.975],
        columns: (0..columns).map(around).collect(),
        stamps: (0..2 * HORIZON).map(|row| format!("2017-06-{:02} {:02}:00:00", 18 + row / 24, row % 24)).collect(),
        before: HORIZON,
        drawn: HORIZON - 8,
        ..Window::default()
    };
    About { name: "etth1".into(), epochs: 20, steps_an_epoch: STEPS, first_step: 0, skipped: 0, window: window.into() }
}

fn step(number: u64, loss: f32) -> StepReport {
    StepReport {
        epoch: 1 + number / STEPS,
        step: 1 + number % STEPS,
        steps: STEPS,
        loss,
        auxiliary: 1.0,
        norm: f64::from(loss) / 3.0,
        rate: 1e-3,
        rows: 2048,
        skipped: !loss.is_finite(),
    }
}

fn forecast() -> Forecast {
    (0..HORIZON).map(|step| [14.0, 20.0, 26.0].map(|value| value + step as f64 / 50.0)).collect()
}

fn epoch(number: u64, linear: Option<f64>) -> EpochReport {
    EpochReport {
        epoch: number,
        loss: 0.4,
        validation: Validation {
            network_mse: 0.7 + 0.2 / number as f64,
            linear_mse: linear,
            mse: 0.6,
            mse_by_horizon: vec![0.6],
            network_share_h: vec![0.5; HORIZON],
            gain: None,
        },
        best: true,
        rows_a_second: 2e5,
    }
}

/// After so many steps of a training.
fn state(steps: u64, columns: usize, experts: usize) -> State {
    let mut state = State::new(about(columns));
    for number in 0..steps {
        let loss = 0.3 + 1.0 / (1.0 + number as f32 / 30.0) + 0.1 * (number as f32).sin();
        state.step(number as f64 * 0.02, &step(number, loss));
        if (number + 1).is_multiple_of(STEPS) {
            state.epoch(number as f64 * 0.02, &epoch((number + 1) / STEPS, Some(0.65)), "an epoch");
            state.forecast(number + 1, vec![Some(forecast()); columns]);
            state.checkpoint(number as f64 * 0.02, number + 1);
        }
    }
    if steps > 0 && experts > 0 {
        let chosen = (0..experts as u64).map(|expert| 100 * expert).collect();
        state.loads = vec![Load { mixture: 0, experts: vec!["s4d".into(); experts], samples: 10_000, chosen }];
    }
    state
}

/// The lines of a picture, and its cells with a shaded ground.
fn picture(state: &State, width: u16, height: u16) -> (String, usize) {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(state, frame)).unwrap();
    let buffer = terminal.backend().buffer().clone();
    let shaded = buffer.content().iter().filter(|cell| cell.bg != Color::Reset).count();
    let lines = buffer.content().chunks(width.into()).map(|row| row.iter().map(|cell| cell.symbol()).collect::<String>());
    (lines.collect::<Vec<_>>().join("\n"), shaded)
}

#[track_caller]
fn shows(text: &str, expected: &[&str]) {
    for expected in expected {
        assert!(text.contains(expected), "`{expected}` is not in\n{text}");
    }
}

const TITLES: [&str; 7] =
    ["Loss", "Validation MSE", "Learning rate", "Gradient norm", "Expert load", "Forecast column-0", "Checkpoints and warnings"];

#[test]
fn a_large_terminal_shows_all() {
    for (width, height) in [(120, 40), (80, 24)] {
        let (text, shaded) = picture(&state(250, 7, 4), width, height);
        shows(&text, &TITLES);
        shows(&text, &["epoch 9/20", "step 18/29", "250/580 steps", "validation MSE 0.6000", "samples/s", "at most 7 s left"]);
        shows(&text, &["model 0.6000", "network 0.7250", "linear 0.6500", "3.0%", "1 of 7 · after step 232", "06-18 08:00"]);
        shows(
            &text,
            &[
                "checkpoint: step 232",
                "Learning rate 0.0010",
                "no step left out",
                "q ends with a checkpoint",
                "80%, not calibrated",
            ],
        );
        assert!(shaded > 100, "{shaded}\n{text}");
        assert!(!text.contains("hidden"), "{text}");
    }
}

#[test]
fn what_is_not_there_yet_is_not_made_up() {
    let (text, shaded) = picture(&state(0, 7, 4), 120, 40);
    shows(&text, &TITLES);
    shows(
        &text,
        &["before the first step", "nothing yet", "model –", "time left not known yet", "no checkpoint yet", "– samples/s"],
    );
    shows(&text, &["after the first epoch"]);
    let legend = " 80%, not calibrated ".len();
    assert_eq!(shaded, legend, "{text}");
    assert!(!text.contains('%') || text.matches('%').count() == 2, "{text}");
    // One step has a point, and no rate without a time.
    let (text, _) = picture(&state(1, 7, 0), 120, 40);
    shows(&text, &["step 1/29", "loss 1.3000", "no mixture in this model", "– samples/s"]);
    // Without a linear expert there is no error of one.
    let mut alone = state(3, 1, 0);
    alone.epoch(1.0, &epoch(1, None), "an epoch");
    shows(&picture(&alone, 120, 40).0, &["linear none"]);
    // A column that has not begun has no forecast.
    alone.forecast(3, vec![None]);
    shows(&picture(&alone, 120, 40).0, &["none, the column has not begun"]);
}

#[test]
fn losses_that_are_not_finite_are_said_and_not_drawn() {
    let mut state = State::new(about(2));
    for number in 0..5 {
        state.step(number as f64, &step(number, f32::NAN));
    }
    state.say(true, "step 5 of epoch 1 left out");
    let (text, _) = picture(&state, 120, 40);
    shows(&text, &["loss –", "nothing yet", "5 steps left out", "! step 5 of epoch 1 left out", "! 1 warnings"]);
    state.step(6.0, &step(6, 0.5));
    state.step(7.0, &step(7, f32::INFINITY));
    shows(&picture(&state, 120, 40).0, &["smoothed 0.5000", "6 steps left out"]);
}

#[test]
fn a_small_terminal_says_what_is_hidden() {
    let state = state(250, 7, 4);
    let (text, _) = picture(&state, 40, 10);
    shows(&text, &["epoch 9/20", "43%", "Loss", "too small (80×24 shows all), hidden: r"]);
    assert!(!text.contains("Forecast"), "{text}");
    let (text, _) = picture(&state, 20, 5);
    shows(&text, &["epoch 9/20", "43%", "too small (80×24 sho"]);
    assert_eq!(picture(&state, 1, 1).0, "e");
}

#[test]
fn no_size_breaks_it_and_no_two_panels_overlap() {
    let mut absurd = state(2, 1, 1);
    let values = [f64::MAX, f64::MIN, f64::NAN, f64::INFINITY, 5e-324, 0.0];
    let columns = vec![Around { name: "\u{1b}[2J 长江".into(), values: values.into() }];
    absurd.about.window = Window { columns, drawn: 2, before: 3, ..Window::default() }.into();
    absurd.loss.push(3, f64::MAX);
    absurd.norm.push(3, f64::MIN);
    let states = [state(0, 0, 0), state(1, 1, 1), state(250, 414, 12), state(60, 2, 200), absurd];
    for (width, height) in (1..130).step_by(3).flat_map(|width| (1..50).step_by(2).map(move |height| (width, height))) {
        let area = Rect::new(0, 0, width, height);
        let (places, hidden) = arrange(area);
        assert_eq!(hidden, Panel::DROPPED[..6 - places.len()]);
        assert!(width < 80 || height < 24 || hidden.is_empty());
        for (index, (_, place)) in places.iter().enumerate() {
            assert!(place.y >= 2 && place.bottom() < height && place.right() <= width, "{width}×{height}: {place}");
            assert!(places[..index].iter().all(|(_, other)| !place.intersects(*other)), "{width}×{height}");
        }
        for state in &states {
            picture(state, width, height);
        }
    }
}

#[test]
fn many_experts_and_many_columns() {
    let mut state = state(40, 414, 12);
    shows(&picture(&state, 120, 40).0, &["0 s4d", "11 s4d", "11.0%", "1 of 414"]);
    shows(&picture(&state, 80, 24).0, &["mixture 0", "0.0–11.0%"]);
    state.turn(false);
    shows(&picture(&state, 120, 40).0, &["Forecast column-413", "414 of 414"]);
    state.turn(true);
    assert_eq!(state.column, 0);
    state.loads = vec![state.loads[0].clone(); 9];
    shows(&picture(&state, 80, 24).0, &["and 7 more mixtures"]);
}

#[test]
fn a_curve_stays_small_and_loses_no_extreme() {
    let mut curve = Curve::default();
    for x in 0..1_000_000 {
        curve.push(x, if x == 654_321 { 9.0 } else { (x % 7) as f64 });
    }
    let buckets = curve.buckets();
    assert!(buckets.len() <= MOST && buckets.len() > MOST / 3, "{}", buckets.len());
    assert!(buckets.windows(2).all(|pair| pair[0].x < pair[1].x));
    assert_eq!(buckets.last().unwrap().x, 999_999);
    assert_eq!(buckets.iter().fold(0.0, |most: f64, bucket| most.max(bucket.high)), 9.0);
    assert!((curve.smooth().unwrap() - 3.0).abs() < 0.2);
}

#[test]
fn the_time_left_counts_only_steps_of_this_training() {
    let mut state = State::new(About { first_step: 290, ..about(1) });
    (0..29).for_each(|number| state.step(f64::from(number + 1), &step(290 + number as u64, 0.4)));
    assert_eq!((state.done, state.steps()), (319, 580));
    assert!((state.seconds_left().unwrap() - 261.0).abs() < 1e-9);
    assert!((state.samples_a_second().unwrap() - 2048.0).abs() < 1e-6);
    assert!(state.validating());
}

#[test]
fn the_window_forecasts_what_the_rows_before_it_do() {
    let folder = tempfile::tempdir().unwrap();
    let line = |t: usize| format!("2020-01-{:02} {:02}:00:00,{}\n", 1 + t / 24, t % 24, (t as f64 * 0.26).sin());
    let data = "time,load\n".to_string() + &(0..600).map(line).collect::<String>();
    std::fs::write(folder.path().join("data.csv"), data).unwrap();
    let path = folder.path().join("run.toml");
    let text = "[data]\npath = 'data.csv'\nsplit = { shares = [0.6, 0.2, 0.2] }\nseason = 24\ncalendar = ['hour-of-day']\n\
                [model]\nhorizon = 8\ntaps = 12\nwidth = 16\nscaler = { window = 48 }\n[[model.layers]]\ntype = 's4d'\n\
                [train]\nwindow = 64\nburn_in = 8";
    std::fs::write(&path, text).unwrap();
    let mut run = Run::read(&path).unwrap();
    let data = run.data.prepare().unwrap();
    run.count_covariates(&path, &data.covariates, 1).unwrap();
    let trainer = fit::trainer(&run, &path, &data, &data.ranges, None).unwrap();
    let start = data.ranges.validation.start;
    let window = Window::new(&run, &data.signal, start, 0).unwrap();
    assert_eq!((window.before, window.drawn, window.stamps.len()), (48 + 64, 48, 48 + 64 + 8));
    let forecast = window.forecast(trainer.of_mean(vec![1.0; 8]).unwrap()).unwrap();
    let (rows, mut beside) = (start - window.before..start, data.beside());
    beside.known.iter_mut().flatten().for_each(|values| *values = &values[rows.start..]);
    let forecaster = trainer.of_mean(vec![1.0; 8]).unwrap().into();
    let mut stream = predictor(&forecaster);
    stream.tell(&beside).unwrap();
    let expected = after(stream, &data.signal.slice(rows)).unwrap().forecast;
    let medians: Vec<f64> = forecast[0].as_ref().unwrap().iter().map(|step| step[1]).collect();
    assert_eq!(medians, expected.point);
}
