//! RMSNorm (Zhang & Sennrich 2019, arXiv:1910.07467): `y = x / √(mean(x²) + ε) ⊙ gain`, forward and backward.

use crate::simd::{LANES, Simd, Task, dispatch};

/// ε: keeps a row of zeros finite.
pub const RMS_EPSILON: f32 = 1e-6;

/// Rows of `x` and `y` are as wide as `gain`.
pub fn rms_norm(x_nd: &[f32], gain_d: &[f32], y_nd: &mut [f32]) {
    assert!(x_nd.len() == y_nd.len() && x_nd.len().is_multiple_of(gain_d.len()), "rows of a norm");
    dispatch(Forward { x_nd, gain_d, y_nd });
}

/// Adds the gradients: `dx += …`, `dgain += …`.
pub fn rms_norm_backward(x_nd: &[f32], gain_d: &[f32], dy_nd: &[f32], dx_nd: &mut [f32], dgain_d: &mut [f32]) {
    assert!(x_nd.len() == dy_nd.len() && x_nd.len() == dx_nd.len() && gain_d.len() == dgain_d.len(), "rows of a norm");
    dispatch(Backward { x_nd, gain_d, dy_nd, dx_nd, dgain_d });
}

struct Forward<'a> {
    x_nd: &'a [f32],
    gain_d: &'a [f32],
    y_nd: &'a mut [f32],
}

/// Σ f over a row, in 16 lanes and then their tree.
#[inline(always)]
fn sum<S: Simd>(simd: S, len: usize, mut f: impl FnMut(usize, S::F) -> S::F) -> f32 {
    let mut total = simd.splat(0.0);
    for start in (0..len).step_by(LANES) {
        total = f(start, total);
    }
    simd.sum(total)
}

#[inline(always)]
fn read<S: Simd>(simd: S, from: &[f32], start: usize) -> S::F {
    match from[start..].first_chunk() {
        Some(whole) => simd.load(whole),
        None => simd.load_part(&from[start..]),
    }
}

#[inline(always)]
fn write<S: Simd>(simd: S, value: S::F, to: &mut [f32], start: usize) {
    match to[start..].first_chunk_mut() {
        Some(whole) => simd.store(value, whole),
        None => simd.store_part(value, &mut to[start..]),
    }
}

/// 1/rms of a row.
#[inline(always)]
fn inverse<S: Simd>(simd: S, x: &[f32]) -> f32 {
    let square = sum(simd, x.len(), |start, total| {
        let x = read(simd, x, start);
        simd.fma(x, x, total)
    });
    1.0 / (square / x.len() as f32 + RMS_EPSILON).sqrt()
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let d = self.gain_d.len();
        for (x, y) in self.x_nd.chunks_exact(d).zip(self.y_nd.chunks_exact_mut(d)) {
            let scale = simd.splat(inverse(simd, x));
            for start in (0..d).step_by(LANES) {
                let value = simd.mul(simd.mul(read(simd, x, start), scale), read(simd, self.gain_d, start));
                write(simd, value, y, start);
            }
        }
    }
}

struct Backward<'a> {
    x_nd: &'a [f32],
    gain_d: &'a [f32],
    dy_nd: &'a [f32],
    dx_nd: &'a mut [f32],
    dgain_d: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x_nd, gain_d, dy_nd, dx_nd, dgain_d } = self;
        let d = gain_d.len();
        for ((x, dy), dx) in x_nd.chunks_exact(d).zip(dy_nd.chunks_exact(d)).zip(dx_nd.chunks_exact_mut(d)) {
            let r = inverse(simd, x);
            let projected = sum(simd, d, |start, total| {
                let g = simd.mul(read(simd, dy, start), read(simd, gain_d, start));
                simd.fma(g, read(simd, x, start), total)
            });
            let (scale, shift) = (simd.splat(r), simd.splat(r * r * r * projected / d as f32));
            for start in (0..d).step_by(LANES) {
                let (x, dy) = (read(simd, x, start), read(simd, dy, start));
                let g = simd.mul(dy, read(simd, gain_d, start));
                let step = simd.neg_fma(x, shift, simd.mul(g, scale));
                write(simd, simd.add(read(simd, dx, start), step), dx, start);
                let gain = simd.fma(dy, simd.mul(x, scale), read(simd, dgain_d, start));
                write(simd, gain, dgain_d, start);
            }
        }
    }
}
