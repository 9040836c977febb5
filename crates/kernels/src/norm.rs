//! Norms, forward and backward.
//!
//! ```text
//! RMSNorm     y = x / √(mean(x²) + ε) ⊙ gain                      (Zhang & Sennrich 2019, arXiv:1910.07467)
//! LayerNorm   y = (x − mean(x)) / √(var(x) + ε) ⊙ gain + bias     (Ba et al. 2016, arXiv:1607.06450)
//! GroupNorm   the same for every group of a row                   (Wu & He 2018, arXiv:1803.08494)
//! ```

use crate::simd::{LANES, Simd, Task, dispatch, read, write};

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

/// GroupNorm of rows as wide as `gain`, in `groups` groups; with one it is LayerNorm.
pub fn group_norm(x_nd: &[f32], groups: usize, epsilon: f32, gain_d: &[f32], bias_d: &[f32], y_nd: &mut [f32]) {
    let d = gain_d.len();
    assert!(
        x_nd.len() == y_nd.len() && x_nd.len().is_multiple_of(d) && bias_d.len() == d && d.is_multiple_of(groups),
        "rows of a norm"
    );
    dispatch(GroupForward { x_nd, groups, epsilon, gain_d, bias_d, y_nd });
}

/// Adds the gradients of [`group_norm`]: `dx += …`, `dgain += …`, `dbias += …`.
pub fn group_norm_backward(
    x_nd: &[f32],
    groups: usize,
    epsilon: f32,
    gain_d: &[f32],
    dy_nd: &[f32],
    dx_nd: &mut [f32],
    dgain_d: &mut [f32],
    dbias_d: &mut [f32],
) {
    let d = gain_d.len();
    assert!(x_nd.len() == dy_nd.len() && x_nd.len() == dx_nd.len() && dgain_d.len() == d && dbias_d.len() == d, "rows of a norm");
    dispatch(GroupBackward { x_nd, groups, epsilon, gain_d, dy_nd, dx_nd, dgain_d, dbias_d });
}

/// Mean of a group and 1/deviation, from squares about the mean.
#[inline(always)]
fn moments<S: Simd>(simd: S, x: &[f32], epsilon: f32) -> (f32, f32) {
    let count = x.len() as f32;
    let mean = sum(simd, x.len(), |start, total| simd.add(total, read(simd, x, start))) / count;
    // A loop, not a closure: it would be a function without the instructions of `S`.
    let mut total = simd.splat(0.0);
    for part in x.chunks(LANES) {
        // Lanes beyond the end must not count.
        let centred = simd.sub(simd.load_part(part), lanes_of(simd, mean, part.len()));
        total = simd.fma(centred, centred, total);
    }
    let square = simd.sum(total);
    (mean, 1.0 / (square / count + epsilon).sqrt())
}

/// `value` in the first `len` lanes, zeros in the others.
#[inline(always)]
fn lanes_of<S: Simd>(simd: S, value: f32, len: usize) -> S::F {
    simd.load_part(&[value; LANES][..len])
}

struct GroupForward<'a> {
    x_nd: &'a [f32],
    groups: usize,
    epsilon: f32,
    gain_d: &'a [f32],
    bias_d: &'a [f32],
    y_nd: &'a mut [f32],
}

impl Task for GroupForward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x_nd, groups, epsilon, gain_d, bias_d, y_nd } = self;
        let size = gain_d.len() / groups;
        for (index, (x, y)) in x_nd.chunks_exact(size).zip(y_nd.chunks_exact_mut(size)).enumerate() {
            let own = index % groups * size;
            let (gain, bias) = (&gain_d[own..own + size], &bias_d[own..own + size]);
            let (mean, scale) = moments(simd, x, epsilon);
            let (mean, scale) = (simd.splat(mean), simd.splat(scale));
            for start in (0..size).step_by(LANES) {
                let value = simd.mul(simd.sub(read(simd, x, start), mean), scale);
                write(simd, simd.fma(value, read(simd, gain, start), read(simd, bias, start)), y, start);
            }
        }
    }
}

struct GroupBackward<'a> {
    x_nd: &'a [f32],
    groups: usize,
    epsilon: f32,
    gain_d: &'a [f32],
    dy_nd: &'a [f32],
    dx_nd: &'a mut [f32],
    dgain_d: &'a mut [f32],
    dbias_d: &'a mut [f32],
}

impl Task for GroupBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x_nd, groups, epsilon, gain_d, dy_nd, dx_nd, dgain_d, dbias_d } = self;
        let size = gain_d.len() / groups;
        let rows = x_nd.chunks_exact(size).zip(dy_nd.chunks_exact(size)).zip(dx_nd.chunks_exact_mut(size));
        for (index, ((x, dy), dx)) in rows.enumerate() {
            let own = index % groups * size..(index % groups + 1) * size;
            let (gain, dgain, dbias) = (&gain_d[own.clone()], &mut dgain_d[own.clone()], &mut dbias_d[own]);
            let (mean, scale) = moments(simd, x, epsilon);
            let (mean, scale) = (simd.splat(mean), simd.splat(scale));
            let normal = |start: usize| simd.mul(simd.sub(read(simd, x, start), mean), scale);
            // With x̂ the normalised row and g = dy ⊙ gain: dx = (g − mean(g) − x̂·mean(g ⊙ x̂))/deviation.
            let g = |start: usize| simd.mul(read(simd, dy, start), read(simd, gain, start));
            let count = size as f32;
            let shift = simd.splat(sum(simd, size, |start, total| simd.add(total, g(start))) / count);
            let along = simd.splat(sum(simd, size, |start, total| simd.fma(g(start), normal(start), total)) / count);
            for start in (0..size).step_by(LANES) {
                let step = simd.neg_fma(normal(start), along, simd.sub(g(start), shift));
                write(simd, simd.fma(step, scale, read(simd, dx, start)), dx, start);
                let dy = read(simd, dy, start);
                write(simd, simd.fma(dy, normal(start), read(simd, dgain, start)), dgain, start);
                write(simd, simd.add(dy, read(simd, dbias, start)), dbias, start);
            }
        }
    }
}
