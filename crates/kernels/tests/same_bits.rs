//! One sample gives the same bits on every instruction set of the machine, alone or among many, on one thread or several.
//! One test, as the instruction set is the process's.

use foretoken_kernels::{
    activation,
    linear::{Panels, linear, weight_gradient},
    norm, router,
    s4d::{S4dGradient, S4dParameters, S4dSystem},
    simd::Isa,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-2.0..2.0)).collect()
}

fn system(d: usize, states: usize) -> S4dSystem {
    let [log_step, im, c_re, c_im, skip] =
        [(1, d), (2, d * states), (3, d * states), (4, d * states), (5, d)].map(|(seed, len)| draws(seed, len));
    let log_step: Vec<f32> = log_step.iter().map(|value| value - 4.0).collect();
    let log_neg_re = vec![-0.7; d * states];
    S4dSystem::discretise(
        d,
        states,
        &S4dParameters { log_step: &log_step, log_neg_re: &log_neg_re, im: &im, c_re: &c_re, c_im: &c_im, skip: &skip },
    )
}

/// Everything the kernels compute, of `streams` streams with `rows` rows each, cut into calls of `step` rows.
fn everything(streams: usize, rows: usize, step: usize) -> Vec<Vec<u32>> {
    let (d, m, states) = (37, 91, 6);
    let panels = Panels::pack(&draws(7, d * m), d, m);
    let (bias, gain) = (draws(8, m), draws(9, m));
    let system = system(m, states);
    let x: Vec<Vec<f32>> = (0..streams).map(|stream| draws(10 + stream as u64, rows * d)).collect();
    let mut results = vec![Vec::new(); streams];
    let mut state = vec![0.0; streams * system.state_len()];
    for start in (0..rows).step_by(step) {
        let len = step.min(rows - start);
        let part: Vec<f32> = x.iter().flat_map(|x| &x[start * d..(start + len) * d]).copied().collect();
        let offsets: Vec<usize> = (0..=streams).map(|stream| stream * len).collect();
        let (mut y, mut z) = (vec![f32::NAN; streams * len * m], vec![f32::NAN; streams * len * m]);
        linear(&part, &panels, Some(&bias), &mut y);
        norm::rms_norm(&y, &gain, &mut z);
        activation::silu(&z, &mut y);
        system.scan(&y, &offsets, &[], &mut state, &mut z);
        activation::tanh(&z, &mut y);
        activation::softplus(&y, &mut z);
        router::softmax(&z, m, &mut y);
        for (stream, result) in results.iter_mut().enumerate() {
            result.extend(y[stream * len * m..][..len * m].iter().map(|value| value.to_bits()));
        }
    }
    results
}

/// Gradients with `gaps` before the rows, none if empty.
fn gradients_after(gaps: &[usize]) -> Vec<u32> {
    let (d, states, streams, rows) = (70, 5, 6, 300);
    let system = system(d, states);
    let (u, dy) = (draws(20, streams * rows * d), draws(21, streams * rows * d));
    let offsets: Vec<usize> = (0..=streams).map(|stream| stream * rows).collect();
    let (mut y, mut du) = (vec![f32::NAN; u.len()], vec![f32::NAN; u.len()]);
    let mut saved = vec![f32::NAN; system.checkpoint_len(&offsets)];
    system.scan_saved(&u, &offsets, gaps, &mut vec![0.0; streams * system.state_len()], &mut y, &mut saved);
    let mut gradient = S4dGradient::new(&system);
    system.scan_backward(&u, &offsets, gaps, &saved, &dy, &mut du, &mut gradient);
    let mut dw = vec![0.0; d * d];
    weight_gradient(&u, &dy, d, d, &mut dw);
    let system = format!("{gradient:?}").bytes().map(u32::from).collect::<Vec<_>>();
    du.iter().chain(&dw).chain(&y).map(|value| value.to_bits()).chain(system).collect()
}

/// Of rows without gaps, whether that is known of all of them or of each, and of some with.
fn gradients() -> Vec<u32> {
    let rows = 6 * 300;
    let none = gradients_after(&[]);
    assert!(gradients_after(&vec![0; rows]) == none, "no gap is no gap");
    let gaps: Vec<usize> = (0..rows).map(|row| if row % 7 == 3 { row % 5 } else { 0 }).collect();
    [none, gradients_after(&gaps)].concat()
}

#[test]
fn everywhere() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let (reference, reference_gradients) = (everything(4, 600, 600), gradients());
    for isa in Isa::available() {
        isa.force();
        for step in [1, 7, 64, 600] {
            // The portable instruction set has no hardware behind its fused operations everywhere: fewer samples.
            let rows = if isa == Isa::Portable { 40 } else { 600 };
            let got = everything(4, rows, step);
            assert!(got.iter().zip(&reference).all(|(got, all)| all.starts_with(got)), "{isa:?}, {step} rows a call");
        }
        if isa != Isa::Portable {
            let all = |threads| pool(threads).install(|| (everything(4, 600, 600), gradients()));
            let one = all(1);
            assert!(one.0 == reference && one.1 == reference_gradients && all(2) == one && all(3) == one, "{isa:?} by threads");
        }
    }
}
