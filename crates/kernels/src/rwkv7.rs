//! The state of RWKV-7 (Peng et al. 2025, arXiv:2503.14456): a matrix a head, decayed, corrected by a delta rule, and read.
//!
//! ```text
//! S_t = S_{t−1}·diag(w_t) + (S_{t−1}·z_t)·b_tᵀ + v_t·k_tᵀ         y_t = S_t·r_t
//! S_{t−1} ← S_{t−1}·diag(w_{t−1}^g)                                before a sample that comes after a gap of g samples
//! ```
//! with z = −kk and b = kk ⊙ a. The rows of S, one a value of v, ride in the lanes: a head's state is `[key][value, padded to 16]`;
//! a stream's state is its heads', then the last ln w. Backward recomputes from a state kept every [`STRETCH`] samples.
//! Shapes: `n` rows, `a` = heads × size values a row.

use crate::{
    math,
    simd::{LANES, Simd, Task, dispatch, read, write},
    streams::STRETCH,
};

/// Heads and the size of each.
#[derive(Clone, Copy, Debug)]
pub struct Heads {
    /// How many.
    pub count: usize,
    /// Keys, and values, of one.
    pub size: usize,
}

/// What the state goes through, of one stream, each `[n][a]`.
#[derive(Clone, Copy, Debug)]
pub struct Wkv<'a> {
    /// r, what is read.
    pub r: &'a [f32],
    /// ln w, the decay.
    pub log_w: &'a [f32],
    /// k.
    pub k: &'a [f32],
    /// v.
    pub v: &'a [f32],
    /// z, what the delta rule looks at.
    pub z: &'a [f32],
    /// b, what it writes to.
    pub b: &'a [f32],
    /// Samples missed before each row; empty: none.
    pub gaps: &'a [usize],
}

/// Gradients of one stream; that of ln w is added, the others are overwritten.
#[derive(Debug)]
pub struct WkvGradient<'a> {
    /// Of r.
    pub r: &'a mut [f32],
    /// Of ln w.
    pub log_w: &'a mut [f32],
    /// Of k.
    pub k: &'a mut [f32],
    /// Of v.
    pub v: &'a mut [f32],
    /// Of z.
    pub z: &'a mut [f32],
    /// Of b.
    pub b: &'a mut [f32],
}

impl Heads {
    /// Values of a row.
    pub fn width(self) -> usize {
        self.count * self.size
    }

    fn padded(self) -> usize {
        self.size.next_multiple_of(LANES)
    }

    fn matrix(self) -> usize {
        self.size * self.padded()
    }

    /// Numbers in the state of one stream.
    pub fn state_len(self) -> usize {
        self.count * self.matrix() + self.width()
    }

    /// About the multiply-adds of a row.
    pub fn work(self) -> usize {
        5 * self.count * self.matrix()
    }

    /// One stream, from and to `state`; `saved`, unless it is empty, gets the state before every stretch.
    pub fn run(self, rows: Wkv<'_>, state: &mut [f32], y_na: &mut [f32], saved: &mut [f32]) {
        dispatch(Forward { heads: self, rows, state, y_na, saved });
    }

    /// Gradients of one stream, from what [`Heads::run`] saved. `scratch` has [`Heads::scratch_len`] values.
    pub fn backward(self, rows: Wkv<'_>, saved: &[f32], dy_na: &[f32], gradient: WkvGradient<'_>, scratch: &mut [f32]) {
        dispatch(Backward { heads: self, rows, saved, dy_na, gradient, scratch });
    }

    /// Scratch of [`Heads::backward`]: the adjoint, a head's states over a stretch, its w, and five sums a key.
    pub fn scratch_len(self) -> usize {
        self.count * self.matrix() + (STRETCH + 1) * self.matrix() + self.padded() + 5 * self.size * LANES
    }
}

impl<'a> Wkv<'a> {
    fn gap(&self, t: usize) -> usize {
        self.gaps.get(t).copied().unwrap_or(0)
    }
}

/// `wᵍ` of a head from ln w.
#[inline(always)]
fn decay<S: Simd>(simd: S, log_w: &[f32], samples: f32, w: &mut [f32]) {
    for start in (0..log_w.len()).step_by(LANES) {
        write(simd, math::exp(simd, simd.mul(simd.splat(samples), read(simd, log_w, start))), w, start);
    }
}

struct Forward<'a> {
    heads: Heads,
    rows: Wkv<'a>,
    state: &'a mut [f32],
    y_na: &'a mut [f32],
    saved: &'a mut [f32],
}

/// Rows of a head that decay together.
const CHUNK: usize = 64;

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { heads, rows, state, y_na, saved } = self;
        let (width, len) = (heads.width(), heads.state_len());
        let count = y_na.len() / width;
        let (matrices, last) = state.split_at_mut(heads.count * heads.matrix());
        for t in 0..count {
            if !saved.is_empty() && t % STRETCH == 0 {
                let (kept, kept_last) = saved[t / STRETCH * len..][..len].split_at_mut(matrices.len());
                kept.copy_from_slice(matrices);
                kept_last.copy_from_slice(last);
            }
            for (head, matrix) in matrices.chunks_exact_mut(heads.matrix()).enumerate() {
                let own = t * width + head * heads.size..t * width + (head + 1) * heads.size;
                if rows.gap(t) > 0 {
                    let last = &last[head * heads.size..][..heads.size];
                    fade(simd, heads, last, rows.gap(t), matrix);
                }
                step(simd, heads, &rows, own, matrix, y_na);
            }
            last.copy_from_slice(&rows.log_w[t * width..][..width]);
        }
    }
}

/// A gap: every key's column times `wᵍ`.
#[inline(always)]
fn fade<S: Simd>(simd: S, heads: Heads, log_w: &[f32], gap: usize, matrix: &mut [f32]) {
    let padded = heads.padded();
    let mut w = [0.0; CHUNK];
    for first in (0..heads.size).step_by(CHUNK) {
        let keys = CHUNK.min(heads.size - first);
        decay(simd, &log_w[first..first + keys], gap as f32, &mut w[..keys]);
        for j in 0..keys {
            let column = &mut matrix[(first + j) * padded..][..padded];
            for start in (0..padded).step_by(LANES) {
                write(simd, simd.mul(simd.splat(w[j]), read(simd, column, start)), column, start);
            }
        }
    }
}

/// One sample of one head.
#[inline(always)]
fn step<S: Simd>(simd: S, heads: Heads, rows: &Wkv<'_>, own: std::ops::Range<usize>, matrix: &mut [f32], y_na: &mut [f32]) {
    let (size, padded) = (heads.size, heads.padded());
    let [r, log_w, k, v, z, b] = [rows.r, rows.log_w, rows.k, rows.v, rows.z, rows.b].map(|values| &values[own.clone()]);
    let y = &mut y_na[own];
    let mut w = [0.0; CHUNK];
    for start in (0..size).step_by(LANES) {
        let mut seen = simd.splat(0.0);
        for j in 0..size {
            seen = simd.fma(read(simd, &matrix[j * padded..], start), simd.splat(z[j]), seen);
        }
        let (v, mut total) = (read(simd, v, start), simd.splat(0.0));
        for first in (0..size).step_by(CHUNK) {
            let keys = CHUNK.min(size - first);
            decay(simd, &log_w[first..first + keys], 1.0, &mut w[..keys]);
            for j in first..first + keys {
                let column = &mut matrix[j * padded..][..padded];
                let held = simd.mul(read(simd, column, start), simd.splat(w[j - first]));
                let value = simd.fma(v, simd.splat(k[j]), simd.fma(seen, simd.splat(b[j]), held));
                write(simd, value, column, start);
                total = simd.fma(value, simd.splat(r[j]), total);
            }
        }
        write(simd, total, y, start);
    }
}

struct Backward<'a> {
    heads: Heads,
    rows: Wkv<'a>,
    saved: &'a [f32],
    dy_na: &'a [f32],
    gradient: WkvGradient<'a>,
    scratch: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { heads, rows, saved, dy_na, mut gradient, scratch } = self;
        let (width, len, size, matrix) = (heads.width(), heads.state_len(), heads.size, heads.matrix());
        let count = dy_na.len() / width;
        let lens = [heads.count * matrix, (STRETCH + 1) * matrix, heads.padded(), 5 * size * LANES];
        let [adjoint, history, w, sums] = crate::streams::carve_mut(scratch, lens);
        adjoint.fill(0.0);
        // What `step` writes as y is not wanted here.
        let mut unread = vec![0.0; dy_na.len().min(STRETCH * width)];
        for (index, saved) in saved.chunks_exact(len).enumerate().rev() {
            let (start, end) = (index * STRETCH, count.min((index + 1) * STRETCH));
            let here = rows.part(start * width..end * width);
            for (head, g) in adjoint.chunks_exact_mut(matrix).enumerate() {
                let own = |t: usize| t * width + head * size..t * width + (head + 1) * size;
                let last = &saved[heads.count * matrix + head * size..][..size];
                let before = |t: usize| if t == 0 { last } else { &rows.log_w[own(start + t - 1)] };
                // history[t]: the state before row t, its gap gone by.
                history[..matrix].copy_from_slice(&saved[head * matrix..][..matrix]);
                for t in 0..end - start {
                    let (low, high) = history.split_at_mut((t + 1) * matrix);
                    let (old, new) = (&mut low[t * matrix..], &mut high[..matrix]);
                    if rows.gap(start + t) > 0 {
                        fade(simd, heads, before(t), rows.gap(start + t), old);
                    }
                    again(simd, heads, &here, own(t), old, new, &mut unread);
                }
                for t in (0..end - start).rev() {
                    let (old, new) = (&history[t * matrix..][..matrix], &history[(t + 1) * matrix..][..matrix]);
                    step_backward(simd, heads, &rows, own(start + t), (old, new), g, dy_na, &mut gradient, w, sums);
                    let gap = rows.gap(start + t);
                    if gap > 0 {
                        // old = before·wᵍ: the slope by ln w is g·old.
                        let reached = if start + t > 0 { Some(own(start + t - 1)) } else { None };
                        fade_backward(simd, heads, before(t), gap, old, g, w, reached.map(|own| &mut gradient.log_w[own]));
                        if t > 0 {
                            // The row before left its state as it was before the gap.
                            let (low, high) = history.split_at_mut(t * matrix);
                            let (old, new) = (&low[(t - 1) * matrix..], &mut high[..matrix]);
                            again(simd, heads, &here, own(t - 1), old, new, &mut unread);
                        }
                    }
                }
            }
        }
    }
}

impl<'a> Wkv<'a> {
    fn part(&self, range: std::ops::Range<usize>) -> Self {
        let of = |values: &'a [f32]| &values[range.clone()];
        Self { r: of(self.r), log_w: of(self.log_w), k: of(self.k), v: of(self.v), z: of(self.z), b: of(self.b), gaps: &[] }
    }
}

#[inline(always)]
fn fade_backward<S: Simd>(
    simd: S,
    heads: Heads,
    log_w: &[f32],
    gap: usize,
    old: &[f32],
    g: &mut [f32],
    w: &mut [f32],
    dlog_w: Option<&mut [f32]>,
) {
    let (size, padded) = (heads.size, heads.padded());
    decay(simd, log_w, gap as f32, &mut w[..size]);
    if let Some(dlog_w) = dlog_w {
        for j in 0..size {
            let mut total = simd.splat(0.0);
            for start in (0..padded).step_by(LANES) {
                let place = j * padded + start;
                total = simd.fma(read(simd, g, place), read(simd, old, place), total);
            }
            dlog_w[j] += gap as f32 * simd.sum(total);
        }
    }
    for j in 0..size {
        for start in (0..padded).step_by(LANES) {
            let place = j * padded + start;
            write(simd, simd.mul(read(simd, g, place), simd.splat(w[j])), g, place);
        }
    }
}

/// [`step`] once more, from `old` to `new`.
#[inline(always)]
fn again<S: Simd>(
    simd: S,
    heads: Heads,
    rows: &Wkv<'_>,
    own: std::ops::Range<usize>,
    old: &[f32],
    new: &mut [f32],
    unread: &mut [f32],
) {
    new.copy_from_slice(old);
    step(simd, heads, rows, own, new, unread);
}

/// One sample of one head, backwards: `g` is the adjoint of the state after it, then of the state before it.
#[inline(always)]
fn step_backward<S: Simd>(
    simd: S,
    heads: Heads,
    rows: &Wkv<'_>,
    own: std::ops::Range<usize>,
    (old, new): (&[f32], &[f32]),
    g: &mut [f32],
    dy_na: &[f32],
    gradient: &mut WkvGradient<'_>,
    w: &mut [f32],
    sums: &mut [f32],
) {
    let (size, padded) = (heads.size, heads.padded());
    let [r, log_w, k, v, z, b] = [rows.r, rows.log_w, rows.k, rows.v, rows.z, rows.b].map(|values| &values[own.clone()]);
    let dy = &dy_na[own.clone()];
    decay(simd, log_w, 1.0, &mut w[..size]);
    sums.fill(0.0);
    let [sum_r, sum_w, sum_k, sum_z, sum_b] = crate::streams::carve_mut(sums, [size * LANES; 5]);
    let zero = simd.splat(0.0);
    for start in (0..size).step_by(LANES) {
        let (dy, v) = (read(simd, dy, start), read(simd, v, start));
        let mut seen = zero;
        for j in 0..size {
            seen = simd.fma(read(simd, &old[j * padded..], start), simd.splat(z[j]), seen);
        }
        let (mut dseen, mut dv) = (zero, zero);
        for j in 0..size {
            let (place, lane) = (j * padded + start, j * LANES);
            let value = simd.fma(dy, simd.splat(r[j]), read(simd, g, place));
            write(simd, value, g, place);
            let before = read(simd, old, place);
            write(simd, simd.fma(read(simd, new, place), dy, read(simd, sum_r, lane)), sum_r, lane);
            write(simd, simd.fma(value, before, read(simd, sum_w, lane)), sum_w, lane);
            write(simd, simd.fma(value, v, read(simd, sum_k, lane)), sum_k, lane);
            write(simd, simd.fma(value, seen, read(simd, sum_b, lane)), sum_b, lane);
            dseen = simd.fma(value, simd.splat(b[j]), dseen);
            dv = simd.fma(value, simd.splat(k[j]), dv);
        }
        write(simd, dv, &mut gradient.v[own.clone()], start);
        for j in 0..size {
            let (place, lane) = (j * padded + start, j * LANES);
            let before = read(simd, old, place);
            write(simd, simd.fma(before, dseen, read(simd, sum_z, lane)), sum_z, lane);
            let through = simd.fma(dseen, simd.splat(z[j]), simd.mul(read(simd, g, place), simd.splat(w[j])));
            write(simd, through, g, place);
        }
    }
    for first in (0..size).step_by(LANES) {
        let keys = LANES.min(size - first);
        let own = own.start + first..own.start + first + keys;
        write(simd, sum_keys(simd, sum_r, first, keys), &mut gradient.r[own.clone()], 0);
        write(simd, sum_keys(simd, sum_k, first, keys), &mut gradient.k[own.clone()], 0);
        write(simd, sum_keys(simd, sum_z, first, keys), &mut gradient.z[own.clone()], 0);
        write(simd, sum_keys(simd, sum_b, first, keys), &mut gradient.b[own.clone()], 0);
        let dlog_w = &mut gradient.log_w[own];
        let slope = simd.fma(read(simd, &w[..size], first), sum_keys(simd, sum_w, first, keys), read(simd, dlog_w, 0));
        write(simd, slope, dlog_w, 0);
    }
}

/// The sums over lanes of some keys from `first` on.
#[inline(always)]
fn sum_keys<S: Simd>(simd: S, sums: &[f32], first: usize, keys: usize) -> S::F {
    let mut all = [simd.splat(0.0); LANES];
    for i in 0..keys {
        all[i] = read(simd, sums, (first + i) * LANES);
    }
    simd.sums(&all)
}
