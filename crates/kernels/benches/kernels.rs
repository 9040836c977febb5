//! Fast kernels beside their definitions, and one instruction set beside another: `cargo bench -p foretoken-kernels`.

use divan::{Bencher, black_box, counter::ItemsCount};
use foretoken_kernels::{
    activation,
    linear::{self, Panels, linear},
    norm, plain,
    s4d::{self, S4dGradient, S4dParameters, S4dSystem},
    simd::Isa,
};

fn main() {
    divan::main();
}

fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin()).collect()
}

/// Row counts and widths: a live step and a training batch.
const PRODUCTS: [(usize, usize); 7] = [(1, 64), (2, 64), (3, 64), (7, 64), (1, 256), (512, 64), (512, 256)];

#[divan::bench(args = PRODUCTS)]
fn linear_packed(bencher: Bencher<'_, '_>, (rows, d): (usize, usize)) {
    let (x, panels, mut y) = (values(rows * d), Panels::pack(&values(d * d), d, d), vec![0.0; rows * d]);
    bencher.counter(ItemsCount::new(2 * rows * d * d)).bench_local(|| linear(black_box(&x), &panels, None, &mut y));
}

#[divan::bench(args = PRODUCTS)]
fn linear_plain(bencher: Bencher<'_, '_>, (rows, d): (usize, usize)) {
    let (x, w) = (values(rows * d), values(d * d));
    bencher
        .counter(ItemsCount::new(2 * rows * d * d))
        .bench_local(|| black_box(&x).chunks_exact(d).map(|x| plain::multiply(x, &w, d)[0]).sum::<f32>());
}

#[divan::bench(args = [64, 256])]
fn weight_gradient(bencher: Bencher<'_, '_>, d: usize) {
    let (x, dy, mut dw) = (values(512 * d), values(512 * d), vec![0.0; d * d]);
    bencher.counter(ItemsCount::new(2 * 512 * d * d)).bench_local(|| linear::weight_gradient(black_box(&x), &dy, d, d, &mut dw));
}

#[divan::bench]
fn silu_fast(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (values(4096), vec![0.0; 4096]);
    bencher.counter(ItemsCount::new(4096usize)).bench_local(|| activation::silu(black_box(&x), &mut y));
}

#[divan::bench]
fn silu_plain(bencher: Bencher<'_, '_>) {
    let (x, mut y) = (values(4096), vec![0.0; 4096]);
    bencher
        .counter(ItemsCount::new(4096usize))
        .bench_local(|| black_box(&x).iter().zip(&mut y).for_each(|(&x, y)| *y = plain::silu(x)));
}

#[divan::bench]
fn rms_norm(bencher: Bencher<'_, '_>) {
    let (x, gain, mut y) = (values(4096), values(64), vec![0.0; 4096]);
    bencher.counter(ItemsCount::new(64usize)).bench_local(|| norm::rms_norm(black_box(&x), &gain, &mut y));
}

struct Scan {
    parts: [Vec<f32>; 6],
}

const D: usize = 64;
const STATES: usize = 16;
const ROWS: usize = 512;

impl Scan {
    fn new() -> Self {
        let part = |len, shift: f32| values(len).into_iter().map(|value| value + shift).collect::<Vec<f32>>();
        let n = D * STATES;
        Self { parts: [part(D, -4.0), part(n, -1.0), part(n, 3.0), part(n, 0.0), part(n, 0.0), part(D, 0.0)] }
    }

    fn parameters(&self) -> S4dParameters<'_> {
        let [log_step, log_neg_re, im, c_re, c_im, skip] = &self.parts;
        S4dParameters { log_step, log_neg_re, im, c_re, c_im, skip }
    }
}

#[divan::bench(args = [1, ROWS])]
fn s4d_fast(bencher: Bencher<'_, '_>, rows: usize) {
    let scan = Scan::new();
    let system = S4dSystem::discretise(D, STATES, &scan.parameters());
    let (u, mut y, mut state) = (values(rows * D), vec![0.0; rows * D], vec![0.0; system.state_len()]);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| system.scan(black_box(&u), &[0, rows], &[], &mut state, &mut y));
}

#[divan::bench(args = [1, ROWS])]
fn s4d_plain(bencher: Bencher<'_, '_>, rows: usize) {
    let scan = Scan::new();
    let (u, mut y, mut state) = (values(rows * D), vec![0.0; rows * D], vec![0.0; 2 * D * STATES]);
    bencher.counter(ItemsCount::new(rows)).bench_local(|| {
        for (u, y) in black_box(&u).chunks_exact(D).zip(y.chunks_exact_mut(D)) {
            s4d::plain_step(&scan.parameters(), u, &mut state, y);
        }
    });
}

#[divan::bench]
fn s4d_backward(bencher: Bencher<'_, '_>) {
    let scan = Scan::new();
    let system = S4dSystem::discretise(D, STATES, &scan.parameters());
    let (u, mut y, mut du) = (values(ROWS * D), vec![0.0; ROWS * D], vec![0.0; ROWS * D]);
    let mut saved = vec![0.0; system.checkpoint_len(&[0, ROWS])];
    system.scan_saved(&u, &[0, ROWS], &[], &mut vec![0.0; system.state_len()], &mut y, &mut saved);
    let mut gradient = S4dGradient::new(&system);
    bencher
        .counter(ItemsCount::new(ROWS))
        .bench_local(|| system.scan_backward(&u, &[0, ROWS], &[], &saved, black_box(&y), &mut du, &mut gradient));
}

/// The same product on every instruction set, last, as it changes the process's choice.
#[divan::bench(args = Isa::available())]
fn zz_linear_by_isa(bencher: Bencher<'_, '_>, isa: Isa) {
    isa.force();
    let (x, panels, mut y) = (values(64 * 64), Panels::pack(&values(64 * 64), 64, 64), vec![0.0; 64 * 64]);
    bencher.counter(ItemsCount::new(2 * 64usize.pow(3))).bench_local(|| linear(black_box(&x), &panels, None, &mut y));
    if let Some(best) = Isa::available().pop() {
        best.force();
    }
}
