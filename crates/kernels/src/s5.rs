//! The scan of S5 (Smith et al. 2022, arXiv:2208.04933): one diagonal complex state space of many inputs, discretised exactly.
//!
//! ```text
//! Λ̄ = exp(ΛΔ),  q = (Λ̄ − 1)/Λ          Λ = −exp(log_neg_re) + i·im, Δ = exp(log_step)
//! x_t = Λ̄^(g + 1) ⊙ x_{t−1} + q ⊙ B·u_t        after a gap of g samples, which is what g samples of zero input would have done
//! ```
//! The products with B and C are the layer's. A row is `[re p | im p]`. Shapes: `n` rows, `p` states, one of each conjugate pair.

use crate::{
    s4d::{power, times},
    simd::{LANES, Simd, Task, dispatch, read, write},
};

type Complex = (f64, f64);

/// The discretised diagonal.
#[derive(Clone, Debug)]
pub struct S5System {
    states: usize,
    /// Λ̄ `[re p | im p]`.
    a: Vec<f32>,
}

/// Λ̄ and q of one state, in `f64`.
fn discretised(log_step: f32, log_neg_re: f32, im: f32) -> (f64, Complex, Complex, Complex) {
    let step = f64::from(log_step).exp();
    let a = (-f64::from(log_neg_re).exp(), f64::from(im));
    let size = (step * a.0).exp();
    let a_bar = (size * (step * a.1).cos(), size * (step * a.1).sin());
    let square = a.0 * a.0 + a.1 * a.1;
    let top = (a_bar.0 - 1.0, a_bar.1);
    (step, a, a_bar, ((top.0 * a.0 + top.1 * a.1) / square, (top.1 * a.0 - top.0 * a.1) / square))
}

fn multiply(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

impl S5System {
    /// Discretises; `q` gets `[re p | im p]`, by which the input matrix is scaled.
    pub fn discretise(log_step: &[f32], log_neg_re: &[f32], im: &[f32], q: &mut [f32]) -> Self {
        let states = log_step.len();
        let mut a = vec![0.0; 2 * states];
        for p in 0..states {
            let (_, _, a_bar, scale) = discretised(log_step[p], log_neg_re[p], im[p]);
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
            let (step, a, a_bar, q) = discretised(parameters[0][p], parameters[1][p], parameters[2][p]);
            let pair = |values: &[f32]| (f64::from(values[p]), f64::from(values[states + p]));
            let (da, dq) = (pair(da), pair(dq));
            // For z = f·w in complex numbers, the gradient of w is that of z times conj(f). q = (Λ̄ − 1)/Λ.
            let square = a.0 * a.0 + a.1 * a.1;
            let over_conjugate = |z: Complex| ((z.0 * a.0 - z.1 * a.1) / square, (z.1 * a.0 + z.0 * a.1) / square);
            let by_a_bar = over_conjugate(dq);
            let da_bar = (da.0 + by_a_bar.0, da.1 + by_a_bar.1);
            let by_a = over_conjugate(multiply(dq, (q.0, -q.1)));
            let dz = multiply(da_bar, (a_bar.0, -a_bar.1));
            let d = (dz.0 * step - by_a.0, dz.1 * step - by_a.1);
            d_log_step[p] += ((dz.0 * a.0 + dz.1 * a.1) * step) as f32;
            d_log_neg_re[p] += (d.0 * a.0) as f32;
            d_im[p] += d.1 as f32;
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
