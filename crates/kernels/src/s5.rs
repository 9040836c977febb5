//! The scan of S5 (Smith et al. 2022, arXiv:2208.04933): one diagonal complex state space of many inputs, discretised exactly.
//!
//! ```text
//! Λ̄ = exp(ΛΔ),  q = (Λ̄ − 1)/Λ          Λ = −exp(log_neg_re) + i·im, Δ = exp(log_step)
//! x_t = Λ̄^(g + 1) ⊙ x_{t−1} + q ⊙ B·u_t        after a gap of g samples, which is what g samples of zero input would have done
//! ```
//! The products with B and C are the layer's. A row is `[re p | im p]`. Shapes: `n` rows, `p` states, one of each conjugate pair.

use crate::{
    hold::Hold,
    s4d::{power, times},
    simd::{LANES, Simd, Task, dispatch, read, write},
};

/// The discretised diagonal.
#[derive(Clone, Debug)]
pub struct S5System {
    states: usize,
    /// Λ̄ `[re p | im p]`.
    a: Vec<f32>,
}

impl S5System {
    /// Discretises; `q` gets `[re p | im p]`, by which the input matrix is scaled.
    pub fn discretise(log_step: &[f32], log_neg_re: &[f32], im: &[f32], q: &mut [f32]) -> Self {
        let states = log_step.len();
        let mut a = vec![0.0; 2 * states];
        for p in 0..states {
            let Hold { a_bar, q: scale, .. } = Hold::new(log_step[p], log_neg_re[p], im[p]);
            (a[p], a[states + p]) = (a_bar.0 as f32, a_bar.1 as f32);
            (q[p], q[states + p]) = (scale.0 as f32, scale.1 as f32);
        }
        Self { states, a }
    }

    /// Numbers in the state of one stream.
    pub fn state_len(&self) -> usize {
        2 * self.states
    }

    /// One stream: rows of `q ⊙ B·u` become rows of the state.
    pub fn run(&self, gaps: &[usize], state: &mut [f32], x_np: &mut [f32]) {
        dispatch(Scan { system: self, gaps, state, x_np });
    }

    /// Gradients of one stream that began with `state`: those of the rows of x become those of `q ⊙ B·u`, Λ̄'s are added to `da`
    /// `[re p | im p]`.
    pub fn backward(&self, gaps: &[usize], state: &[f32], x_np: &[f32], dx_np: &mut [f32], da: &mut [f32]) {
        dispatch(Backward { system: self, gaps, state, x_np, dx_np, da });
    }

    /// Chain rule to the parameters: adds to `into`, in the order step, decay, frequency. `da` and `dq` are `[re p | im p]`.
    pub fn parameter_gradient(parameters: [&[f32]; 3], da: &[f32], dq: &[f32], into: [&mut [f32]; 3]) {
        let states = parameters[0].len();
        let [d_log_step, d_log_neg_re, d_im] = into;
        for p in 0..states {
            let pair = |values: &[f32]| (f64::from(values[p]), f64::from(values[states + p]));
            let hold = Hold::new(parameters[0][p], parameters[1][p], parameters[2][p]);
            let [d_step, d_decay, d_frequency] = hold.gradient(pair(da), pair(dq));
            d_log_step[p] += d_step as f32;
            d_log_neg_re[p] += d_decay as f32;
            d_im[p] += d_frequency as f32;
        }
    }
}

struct Scan<'a> {
    system: &'a S5System,
    gaps: &'a [usize],
    state: &'a mut [f32],
    x_np: &'a mut [f32],
}

/// Both parts of sixteen states.
#[inline(always)]
fn pair<S: Simd>(simd: S, row: &[f32], start: usize) -> (S::F, S::F) {
    let (re, im) = row.split_at(row.len() / 2);
    (read(simd, re, start), read(simd, im, start))
}

#[inline(always)]
fn put<S: Simd>(simd: S, value: (S::F, S::F), row: &mut [f32], start: usize) {
    let (re, im) = row.split_at_mut(row.len() / 2);
    write(simd, value.0, re, start);
    write(simd, value.1, im, start);
}

impl Task for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, gaps, state, x_np } = self;
        let p = system.states;
        for start in (0..p).step_by(LANES) {
            let a = pair(simd, &system.a, start);
            let mut x = pair(simd, state, start);
            for (t, row) in x_np.chunks_exact_mut(2 * p).enumerate() {
                if let Some(&gap @ 1..) = gaps.get(t) {
                    x = times(simd, power(simd, a, gap), x);
                }
                let u = pair(simd, row, start);
                let re = simd.neg_fma(a.1, x.1, simd.fma(a.0, x.0, u.0));
                x = (re, simd.fma(a.0, x.1, simd.fma(a.1, x.0, u.1)));
                put(simd, x, row, start);
            }
            put(simd, x, state, start);
        }
    }
}

struct Backward<'a> {
    system: &'a S5System,
    gaps: &'a [usize],
    state: &'a [f32],
    x_np: &'a [f32],
    dx_np: &'a mut [f32],
    da: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, gaps, state, x_np, dx_np, da } = self;
        let (p, zero) = (system.states, simd.splat(0.0));
        let rows = x_np.len() / (2 * p);
        for start in (0..p).step_by(LANES) {
            let a = pair(simd, &system.a, start);
            let (mut g, mut sum) = ((zero, zero), pair(simd, da, start));
            for t in (0..rows).rev() {
                let row = &mut dx_np[t * 2 * p..][..2 * p];
                let dx = pair(simd, row, start);
                g = (simd.add(g.0, dx.0), simd.add(g.1, dx.1));
                put(simd, g, row, start);
                let before = match t {
                    0 => state,
                    _ => &x_np[(t - 1) * 2 * p..][..2 * p],
                };
                let (mut before, mut transition) = (pair(simd, before, start), a);
                if let Some(&gap @ 1..) = gaps.get(t) {
                    // The transition is Λ̄^(gap + 1), whose slope is (gap + 1)·Λ̄^gap.
                    let decay = power(simd, a, gap);
                    let (count, gone) = (simd.splat((gap + 1) as f32), times(simd, decay, before));
                    before = (simd.mul(count, gone.0), simd.mul(count, gone.1));
                    transition = times(simd, decay, a);
                }
                sum.0 = simd.fma(g.1, before.1, simd.fma(g.0, before.0, sum.0));
                sum.1 = simd.neg_fma(g.0, before.1, simd.fma(g.1, before.0, sum.1));
                g = times(simd, (transition.0, simd.sub(zero, transition.1)), g);
            }
            put(simd, sum, da, start);
        }
    }
}
