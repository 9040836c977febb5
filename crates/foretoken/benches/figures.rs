//! The timings that the README claims: `cargo bench -p foretoken --bench figures`, or with bounds `cargo xtask score`.
//!
//! One line each, `name value unit`. Ratios are measured side by side: the two sides take turns, the best of each counts.

use foretoken::{Blueprint, Column, Covariates, Forecaster, ForecasterConfig, Predictor, Registry, linear_expert::LinearWeights};
use foretoken_kernels::{
    activation,
    linear::{Panels, linear},
    plain,
    s4d::{self, S4dParameters, S4dSystem},
};
use std::{hint::black_box, sync::Arc, time::Instant};

const ROUNDS: usize = 40;

/// Best seconds a call of each side over rounds in turn.
fn best<const N: usize>(calls: usize, mut sides: [&mut dyn FnMut(); N]) -> [f64; N] {
    let mut best = [f64::MAX; N];
    for _ in 0..ROUNDS {
        for (side, best) in sides.iter_mut().zip(&mut best) {
            let started = Instant::now();
            (0..calls).for_each(|_| side());
            *best = best.min(started.elapsed().as_secs_f64() / calls as f64);
        }
    }
    best
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn kernels() {
    const ROWS: usize = 64;
    let (x, w, mut y) = (values(ROWS * 64), values(64 * 64), vec![0.0; ROWS * 64]);
    let panels = Panels::pack(&w, 64, 64);
    let ratio = |name: &str, [fast, plain]: [f64; 2]| println!("{name} {:.1} ×", plain / fast);
    let mut fast = || linear(black_box(&x), &panels, None, &mut y);
    let mut slow = || {
        black_box(&x).chunks_exact(64).for_each(|x| drop(black_box(plain::multiply(x, &w, 64))));
    };
    ratio("kernels.linear_speedup", best(20, [&mut fast, &mut slow]));

    let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mut fast = || activation::silu(black_box(&x), &mut y);
    let mut slow = || black_box(&x).iter().zip(&mut z).for_each(|(&x, z)| *z = plain::silu(x));
    ratio("kernels.silu_speedup", best(20, [&mut fast, &mut slow]));

    let part = |len, shift: f32| values(len).into_iter().map(|value| value + shift).collect::<Vec<f32>>();
    let [log_step, log_neg_re, im, c_re, c_im, skip] =
        [part(64, -4.0), part(1024, -1.0), part(1024, 3.0), part(1024, 0.0), part(1024, 0.0), part(64, 0.0)];
    let parameters =
        S4dParameters { log_step: &log_step, log_neg_re: &log_neg_re, im: &im, c_re: &c_re, c_im: &c_im, skip: &skip };
    let system = S4dSystem::discretise(64, 16, &parameters);
    let (mut state, mut plain_state) = (vec![0.0; system.state_len()], vec![0.0; 2 * 1024]);
    let (mut y, mut z) = (vec![0.0; x.len()], vec![0.0; x.len()]);
    let mut fast = || system.scan(black_box(&x), &[0, ROWS], &[], &mut state, &mut y);
    let mut slow = || {
        for (u, z) in black_box(&x).chunks_exact(64).zip(z.chunks_exact_mut(64)) {
            s4d::plain_step(&parameters, u, &mut plain_state, z);
        }
    };
    ratio("kernels.s4d_speedup", best(4, [&mut fast, &mut slow]));
}

/// A fresh forecaster of the example's shape.
fn forecaster(columns: usize) -> Forecaster {
    let run: toml::Table = include_str!("../../../examples/etth1.toml").parse().expect("the example parses");
    let config: ForecasterConfig = run["model"].clone().try_into().expect("the example's model");
    let blueprint = Blueprint::new(&config, &Registry::default()).expect("the example builds");
    let weights = blueprint.layout.initialise(1);
    let linear = config.linear.as_ref().map(|linear| LinearWeights {
        weights_lh: vec![0.001; linear.lookback * config.horizon],
        bias_h: vec![0.0; config.horizon],
        ..LinearWeights::default()
    });
    let columns = (0..columns).map(|index| Column::new(index.to_string(), 0.0, 1.0)).collect();
    Forecaster::new(blueprint, columns, Covariates::default(), weights, linear, vec![0.5; config.horizon])
        .expect("parts that fit")
}

fn live() {
    for (name, columns) in [("live.one_column", 1), ("live.seven_columns", 7)] {
        let mut predictor = Predictor::new(Arc::new(forecaster(columns)));
        let mut forecast = predictor.forecast_buffer();
        let mut sample = vec![0.0; columns];
        let mut time = 0u32;
        let mut advance = |predictor: &mut Predictor| {
            time += 1;
            sample.fill(f64::from(time % 24));
            predictor.advance(&sample).expect("a good sample");
        };
        (0..1000).for_each(|_| advance(&mut predictor));
        let [seconds] = best(200, [&mut || advance(&mut predictor)]);
        println!("{name}_advance_us {:.2} µs", 1e6 * seconds);
        let [seconds] = best(50, [&mut || predictor.predict(&mut forecast).expect("samples were taken")]);
        println!("{name}_predict_us {:.2} µs", 1e6 * seconds);
    }
}

fn main() {
    kernels();
    live();
}
