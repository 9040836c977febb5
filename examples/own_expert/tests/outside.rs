//! A user's own types in a mixture: what they say is weighed by what it was worth, never by what it will be.

use foretoken::{
    FixedShare, FixedShareConfig, GatedPredictors, ModelError, SignalPredictor,
    outside::Member,
    train::{GateConfig, fit_gate},
};
use own_expert::{Holt, Repeat};

const HORIZON: usize = 3;

/// Says one number for ever.
struct Stubborn(f32);

impl SignalPredictor for Stubborn {
    fn step(&mut self, _: &[f32]) -> Result<Vec<f32>, ModelError> {
        Ok(vec![self.0; HORIZON])
    }

    fn reset(&mut self) {}

    fn context_window(&self) -> Option<usize> {
        Some(0)
    }
}

fn stubborn(values: &[f32]) -> Vec<Member> {
    values.iter().map(|&value| Box::new(Stubborn(value)) as Member).collect()
}

fn own() -> Vec<Member> {
    vec![Box::new(Holt::new(HORIZON, [0.8, 0.2])), Box::new(Repeat::new(HORIZON, 7)), Box::new(Repeat::new(HORIZON, 5))]
}

/// Period 7, then period 5, in turns of 200 samples.
fn signal(len: usize) -> Vec<f32> {
    (0..len).map(|t| (t as f32 * std::f32::consts::TAU / if t / 200 % 2 == 0 { 7.0 } else { 5.0 }).sin() + 2.0).collect()
}

fn run(predictor: &mut dyn SignalPredictor, x: &[f32]) -> Vec<Vec<f32>> {
    x.iter().map(|x| predictor.step(&[*x]).unwrap()).collect()
}

fn error(said: &[Vec<f32>], x: &[f32], from: usize) -> f32 {
    let rows = from..x.len() - HORIZON;
    let square = |t: usize| said[t].iter().zip(&x[t + 1..]).map(|(said, x)| (said - x).powi(2)).sum::<f32>();
    rows.clone().map(square).sum::<f32>() / (rows.len() * HORIZON) as f32
}

#[test]
fn fixed_share_follows_whoever_is_right_now() {
    let mut mixture = FixedShare::new(stubborn(&[1.0, 5.0]), 1, HORIZON, FixedShareConfig::default()).unwrap();
    run(&mut mixture, &[1.0; 60]);
    assert!(mixture.weights()[0] > 0.9);
    run(&mut mixture, &[5.0; 60]);
    assert!(mixture.weights()[1] > 0.9);
    assert!((mixture.weights().iter().sum::<f64>() - 1.0).abs() < 1e-12);
    let x = signal(4000);
    let alone: Vec<f32> = own().into_iter().map(|mut member| error(&run(&mut *member, &x), &x, 200)).collect();
    let mut mixture = FixedShare::new(own(), 1, HORIZON, FixedShareConfig::default()).unwrap();
    let together = error(&run(&mut mixture, &x), &x, 200);
    assert!(alone.iter().all(|alone| together < 0.7 * alone), "{together} of {alone:?}");
}

#[test]
fn an_error_at_a_step_counts_when_that_step_has_come() {
    // Two members that differ at step 3 alone: nothing can be told apart before the third sample after the first forecast.
    struct Late(f32);
    impl SignalPredictor for Late {
        fn step(&mut self, _: &[f32]) -> Result<Vec<f32>, ModelError> {
            Ok(vec![0.0, 0.0, self.0])
        }
        fn reset(&mut self) {}
        fn context_window(&self) -> Option<usize> {
            Some(0)
        }
    }
    let members: Vec<Member> = vec![Box::new(Late(0.0)), Box::new(Late(9.0))];
    let mut mixture = FixedShare::new(members, 1, HORIZON, FixedShareConfig::default()).unwrap();
    let weights: Vec<f64> = (0..5)
        .map(|_| {
            mixture.step(&[0.0]).unwrap();
            mixture.weights()[0]
        })
        .collect();
    assert_eq!(weights[..3], [0.5; 3]);
    assert!(weights[3] > 0.5 && weights[4] > weights[3], "{weights:?}");
    // What is said at t does not hang on what comes after.
    let x = signal(300);
    let mut changed = x.clone();
    changed[250] = 40.0;
    let run = |x: &[f32]| run(&mut FixedShare::new(own(), 1, HORIZON, FixedShareConfig::default()).unwrap(), x);
    let (a, b) = (run(&x), run(&changed));
    assert!(a[..250] == b[..250] && a[250..] != b[250..]);
}

#[test]
fn a_trained_gate_beats_every_member_and_the_even_mean_on_samples_it_has_not_seen() {
    let x = signal(6000);
    let (train, test) = x.split_at(4000);
    let mut mixture = GatedPredictors::new(own(), 1, HORIZON).unwrap();
    let even = error(&run(&mut mixture, test), test, 100);
    let report = fit_gate(&mut mixture, train, &GateConfig::default()).unwrap();
    assert!(report.trained < 0.7 * report.best_alone && report.trained < 0.7 * report.even, "{report:?}");
    let gated = error(&run(&mut mixture, test), test, 100);
    let alone: Vec<f32> = own().into_iter().map(|mut member| error(&run(&mut *member, test), test, 100)).collect();
    assert!(gated < 0.7 * even && alone.iter().all(|alone| gated < 0.8 * alone), "{gated} of {even}, {alone:?}");
    // Seedless and deterministic.
    let mut again = GatedPredictors::new(own(), 1, HORIZON).unwrap();
    fit_gate(&mut again, train, &GateConfig::default()).unwrap();
    assert_eq!(again.gate(), mixture.gate());
}

#[test]
fn reset_gives_the_bits_of_a_fresh_start() {
    let x = signal(120);
    let mut online = FixedShare::new(own(), 1, HORIZON, FixedShareConfig::default()).unwrap();
    let mut gated = GatedPredictors::new(own(), 1, HORIZON).unwrap();
    gated.set_gate(vec![-0.4; gated.gate().len()]).unwrap();
    for mixture in [&mut online as &mut dyn SignalPredictor, &mut gated] {
        let first = run(mixture, &x);
        mixture.reset();
        assert_eq!(run(mixture, &x), first);
    }
}

#[test]
fn what_cannot_be_is_a_typed_error() {
    let fixed = |members, width, horizon, rate, share| {
        FixedShare::new(members, width, horizon, FixedShareConfig { rate, share }).map(|_| ()).unwrap_err().to_string()
    };
    assert!(fixed(Vec::new(), 1, 3, 0.5, 0.01).contains("members"));
    assert!(fixed(stubborn(&[1.0]), 0, 3, 0.5, 0.01).contains("width"));
    assert!(fixed(stubborn(&[1.0]), 1, 0, 0.5, 0.01).contains("horizon"));
    assert!(fixed(stubborn(&[1.0]), 1, 3, 0.0, 0.01).contains("rate"));
    assert!(
        fixed(stubborn(&[1.0]), 1, 3, 0.5, 1.0).contains("share") && fixed(stubborn(&[1.0]), 1, 3, 0.5, 0.0).contains("share")
    );
    let mut mixture = FixedShare::new(stubborn(&[1.0, f32::NAN]), 1, HORIZON, FixedShareConfig::default()).unwrap();
    assert!(mixture.step(&[1.0]).unwrap_err().to_string().contains("member 1"));
    let mut mixture = FixedShare::new(stubborn(&[1.0]), 1, HORIZON + 1, FixedShareConfig::default()).unwrap();
    let error = mixture.step(&[1.0]).unwrap_err().to_string();
    assert!(error.contains("4 finite values") && error.contains("3 values"), "{error}");
    let mut mixture = FixedShare::new(own(), 1, HORIZON, FixedShareConfig::default()).unwrap();
    assert!(matches!(mixture.step(&[1.0, 2.0]), Err(ModelError::Width { expected: 1, found: 2, .. })));
    assert!(matches!(mixture.step(&[f32::INFINITY]), Err(ModelError::Sample { .. })));
    let mut gated = GatedPredictors::new(own(), 1, HORIZON).unwrap();
    assert!(gated.set_gate(vec![0.0; 2]).is_err() && gated.set_gate(vec![f32::NAN; gated.gate().len()]).is_err());
    assert!(fit_gate(&mut gated, &[1.0; 20], &GateConfig::default()).unwrap_err().to_string().contains("at least 68"));
}

#[test]
fn errors_as_large_as_numbers_can_be_are_finite() {
    let mut mixture = FixedShare::new(stubborn(&[3e38, 1.0]), 1, HORIZON, FixedShareConfig::default()).unwrap();
    for x in [3e38, -3e38, 3e38, 1.0, 2.0] {
        let said = mixture.step(&[x]).unwrap();
        assert!(said.iter().all(|value| value.is_finite()), "{said:?}");
    }
}
