//! Depthwise causal convolution: every channel with its own few taps, oldest first.
//!
//! ```text
//! y_t = bias + Σ_k tap_k ⊙ x_{t − K + 1 + k}
//! ```
//! The state of a stream is its last K − 1 rows. Shapes: `n` rows, `c` channels, `K` taps.

use crate::simd::{LANES, Simd, Task, dispatch, read, write};

/// The taps of a convolution.
#[derive(Clone, Copy, Debug)]
pub struct Conv<'a> {
    /// `[K][c]`.
    pub taps_kc: &'a [f32],
    /// `[c]`.
    pub bias_c: &'a [f32],
}

impl Conv<'_> {
    fn channels(&self) -> usize {
        self.bias_c.len()
    }

    fn taps(&self) -> usize {
        self.taps_kc.len() / self.channels()
    }

    /// One stream. Its rows of x are the columns from `start` on of rows of `stride` values.
    pub fn run(&self, x: &[f32], stride: usize, start: usize, state: &mut [f32], y_nc: &mut [f32]) {
        let (c, held) = (self.channels(), self.taps() - 1);
        let rows = y_nc.len() / c;
        assert!(state.len() == held * c && x.len() == rows * stride && start + c <= stride, "rows of a convolution");
        dispatch(Forward { conv: *self, x, stride, start, state, y_nc });
        // The rows that the next call looks back at.
        let kept = held.saturating_sub(rows);
        state.copy_within((held - kept) * c.., 0);
        for place in kept..held {
            let row = rows - (held - place);
            state[place * c..][..c].copy_from_slice(&x[row * stride + start..][..c]);
        }
    }

    /// Gradients of one stream that began with `state`: dx is written to the columns of its rows, the others are added up.
    pub fn backward(
        &self,
        x: &[f32],
        stride: usize,
        start: usize,
        state: &[f32],
        dy_nc: &[f32],
        dx: &mut [f32],
        dtaps_kc: &mut [f32],
        dbias_c: &mut [f32],
    ) {
        dispatch(Backward { conv: *self, x, stride, start, state, dy_nc, dx, dtaps_kc, dbias_c });
    }
}

struct Forward<'a> {
    conv: Conv<'a>,
    x: &'a [f32],
    stride: usize,
    start: usize,
    state: &'a [f32],
    y_nc: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { conv, x, stride, start, state, y_nc } = self;
        let (c, taps) = (conv.channels(), conv.taps());
        for (t, y) in y_nc.chunks_exact_mut(c).enumerate() {
            for first in (0..c).step_by(LANES) {
                let mut total = read(simd, conv.bias_c, first);
                for k in 0..taps {
                    let row = row(t + k, taps, c, state, x, stride, start);
                    total = simd.fma(read(simd, &conv.taps_kc[k * c..][..c], first), read(simd, row, first), total);
                }
                write(simd, total, y, first);
            }
        }
    }
}

/// Row `place` of the state's rows followed by those of x.
#[inline(always)]
fn row<'a>(place: usize, taps: usize, c: usize, state: &'a [f32], x: &'a [f32], stride: usize, start: usize) -> &'a [f32] {
    match place.checked_sub(taps - 1) {
        Some(row) => &x[row * stride + start..][..c],
        None => &state[place * c..][..c],
    }
}

/// Taps whose gradients the registers hold together.
const FEW: usize = 4;

struct Backward<'a> {
    conv: Conv<'a>,
    x: &'a [f32],
    stride: usize,
    start: usize,
    state: &'a [f32],
    dy_nc: &'a [f32],
    dx: &'a mut [f32],
    dtaps_kc: &'a mut [f32],
    dbias_c: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { conv, x, stride, start, state, dy_nc, dx, dtaps_kc, dbias_c } = self;
        let (c, taps) = (conv.channels(), conv.taps());
        let rows = dy_nc.len() / c;
        // A few taps at once, over all rows: their sums rest in registers.
        for few in (0..taps).step_by(FEW) {
            let here = FEW.min(taps - few);
            for first in (0..c).step_by(LANES) {
                let mut dbias = read(simd, dbias_c, first);
                let (mut tap, mut dtap) = ([simd.splat(0.0); FEW], [simd.splat(0.0); FEW]);
                for i in 0..here {
                    tap[i] = read(simd, &conv.taps_kc[(few + i) * c..][..c], first);
                    dtap[i] = read(simd, &dtaps_kc[(few + i) * c..][..c], first);
                }
                for t in 0..rows {
                    let step = read(simd, &dy_nc[t * c..][..c], first);
                    let dx = &mut dx[t * stride + start..][..c];
                    let mut total = if few == 0 { simd.splat(0.0) } else { read(simd, dx, first) };
                    dbias = simd.add(dbias, step);
                    for i in 0..FEW {
                        if i < here {
                            let x = read(simd, row(t + few + i, taps, c, state, x, stride, start), first);
                            dtap[i] = simd.fma(step, x, dtap[i]);
                            // x_t was tap k of row t + K − 1 − k.
                            let later = t + taps - 1 - few - i;
                            if later < rows {
                                total = simd.fma(tap[i], read(simd, &dy_nc[later * c..][..c], first), total);
                            }
                        }
                    }
                    write(simd, total, dx, first);
                }
                if few == 0 {
                    write(simd, dbias, dbias_c, first);
                }
                for i in 0..here {
                    write(simd, dtap[i], &mut dtaps_kc[(few + i) * c..][..c], first);
                }
            }
        }
    }
}
