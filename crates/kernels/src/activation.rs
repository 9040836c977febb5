//! Activations, forward and backward, value by value.
//!
//! ```text
//! silu      y = x·σ(x)
//! SwiGLU    z = silu(g) ⊙ u           (Shazeer 2020, arXiv:2002.05202)
//! GLU       y = a ⊙ σ(b)              (Dauphin et al. 2016, arXiv:1612.08083)
//! softplus  y = ln(1 + eˣ)
//! ```

use crate::{
    math,
    simd::{LANES, Simd, Task, dispatch},
};

/// Reads `I` slices and writes `O`, lane by lane; the last lanes in part.
struct Map<'a, const I: usize, const O: usize, F> {
    inputs: [&'a [f32]; I],
    outputs: [&'a mut [f32]; O],
    function: F,
}

/// A function of sixteen lanes, whatever the instructions; made by `lanes!`.
pub(crate) trait Lanes<const I: usize, const O: usize> {
    fn apply<S: Simd>(&self, simd: S, inputs: [S::F; I]) -> [S::F; O];
}

impl<const I: usize, const O: usize, F: Lanes<I, O>> Task for Map<'_, I, O, F> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { inputs, outputs, function } = self;
        let len = inputs[0].len();
        let whole = len - len % LANES;
        // Loops over the slices, as `map` of an array is not always inlined, and then its vectors travel through memory.
        let mut values = [simd.splat(0.0); I];
        for start in (0..whole).step_by(LANES) {
            for i in 0..I {
                values[i] = simd.load(inputs[i][start..].first_chunk().expect("a whole vector"));
            }
            let results = function.apply(simd, values);
            for o in 0..O {
                simd.store(results[o], outputs[o][start..].first_chunk_mut().expect("a whole vector"));
            }
        }
        if whole < len {
            for i in 0..I {
                values[i] = simd.load_part(&inputs[i][whole..]);
            }
            let results = function.apply(simd, values);
            for o in 0..O {
                simd.store_part(results[o], &mut outputs[o][whole..]);
            }
        }
    }
}

pub(crate) fn map<const I: usize, const O: usize>(inputs: [&[f32]; I], outputs: [&mut [f32]; O], function: impl Lanes<I, O>) {
    let len = inputs[0].len();
    assert!(inputs.iter().all(|x| x.len() == len) && outputs.iter().all(|y| y.len() == len), "slices of one length");
    dispatch(Map { inputs, outputs, function });
}

macro_rules! lanes {
    ($name:ident, $inputs:literal -> $outputs:literal, |$simd:ident, $values:pat_param| $body:expr) => {
        struct $name;
        impl $crate::activation::Lanes<$inputs, $outputs> for $name {
            #[inline(always)]
            fn apply<S: $crate::simd::Simd>(&self, $simd: S, $values: [S::F; $inputs]) -> [S::F; $outputs] {
                $body
            }
        }
    };
}

pub(crate) use lanes;

lanes!(Exp, 1 -> 1, |simd, [x]| [math::exp(simd, x)]);
lanes!(Sigmoid, 1 -> 1, |simd, [x]| [math::sigmoid(simd, x)]);
lanes!(Tanh, 1 -> 1, |simd, [x]| [math::tanh(simd, x)]);
lanes!(Silu, 1 -> 1, |simd, [x]| [math::silu(simd, x)]);
lanes!(ReluSquare, 1 -> 1, |simd, [x]| {
    let x = simd.max(simd.splat(0.0), x);
    [simd.mul(x, x)]
});
lanes!(ReluSquareBackward, 2 -> 1, |simd, [x, dy]| {
    let x = simd.max(simd.splat(0.0), x);
    [simd.mul(dy, simd.add(x, x))]
});
lanes!(SigmoidBackward, 2 -> 1, |simd, [y, dy]| [simd.mul(simd.mul(dy, y), simd.sub(simd.splat(1.0), y))]);
lanes!(TanhBackward, 2 -> 1, |simd, [y, dy]| [simd.mul(dy, simd.neg_fma(y, y, simd.splat(1.0)))]);
lanes!(Product, 2 -> 1, |simd, [x, y]| [simd.mul(x, y)]);
lanes!(Softplus, 1 -> 1, |simd, [x]| [math::softplus(simd, x)]);
lanes!(SoftplusBackward, 2 -> 1, |simd, [x, dy]| [simd.mul(dy, math::sigmoid(simd, x))]);
lanes!(SiluBackward, 2 -> 1, |simd, [x, dy]| [simd.mul(dy, silu_slope(simd, x).1)]);
lanes!(Swiglu, 2 -> 1, |simd, [g, u]| [simd.mul(math::silu(simd, g), u)]);
lanes!(SwigluBackward, 3 -> 2, |simd, [g, u, dz]| {
    let (silu, slope) = silu_slope(simd, g);
    [simd.mul(simd.mul(dz, u), slope), simd.mul(dz, silu)]
});
lanes!(Glu, 2 -> 1, |simd, [a, b]| [simd.mul(a, math::sigmoid(simd, b))]);
lanes!(GluBackward, 3 -> 2, |simd, [a, b, dy]| {
    let s = math::sigmoid(simd, b);
    let da = simd.mul(dy, s);
    [da, simd.mul(simd.mul(da, a), simd.sub(simd.splat(1.0), s))]
});

/// silu(x) and its slope σ(x)·(1 + x·(1 − σ(x))).
#[inline(always)]
fn silu_slope<S: Simd>(simd: S, x: S::F) -> (S::F, S::F) {
    let (s, one) = (math::sigmoid(simd, x), simd.splat(1.0));
    (simd.mul(x, s), simd.mul(s, simd.fma(x, simd.sub(one, s), one)))
}

/// `y = eˣ`.
pub fn exp(x: &[f32], y: &mut [f32]) {
    map([x], [y], Exp);
}

/// `y = relu(x)²` (So et al. 2021, arXiv:2109.08668).
pub fn relu_square(x: &[f32], y: &mut [f32]) {
    map([x], [y], ReluSquare);
}

/// `dx = dy·2·relu(x)`.
pub fn relu_square_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    map([x, dy], [dx], ReluSquareBackward);
}

/// `dx = dy·y·(1 − y)` of `y = σ(x)`.
pub fn sigmoid_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    map([y, dy], [dx], SigmoidBackward);
}

/// `dx = dy·(1 − y²)` of `y = tanh x`.
pub fn tanh_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    map([y, dy], [dx], TanhBackward);
}

/// `z = x ⊙ y`.
pub fn product(x: &[f32], y: &[f32], z: &mut [f32]) {
    map([x, y], [z], Product);
}

/// `y = 1/(1 + e⁻ˣ)`.
pub fn sigmoid(x: &[f32], y: &mut [f32]) {
    map([x], [y], Sigmoid);
}

/// `y = tanh x`.
pub fn tanh(x: &[f32], y: &mut [f32]) {
    map([x], [y], Tanh);
}

/// `y = x·σ(x)`.
pub fn silu(x: &[f32], y: &mut [f32]) {
    map([x], [y], Silu);
}

/// `dx = dy·silu′(x)`.
pub fn silu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    map([x, dy], [dx], SiluBackward);
}

/// `z = silu(g) ⊙ u`.
pub fn swiglu(g: &[f32], u: &[f32], z: &mut [f32]) {
    map([g, u], [z], Swiglu);
}

/// Gradients of [`swiglu`].
pub fn swiglu_backward(g: &[f32], u: &[f32], dz: &[f32], dg: &mut [f32], du: &mut [f32]) {
    map([g, u, dz], [dg, du], SwigluBackward);
}

/// `y = a ⊙ σ(b)` for rows `[a | b]` of `2m` values.
pub fn glu(ab: &[f32], m: usize, y: &mut [f32]) {
    assert_eq!(ab.len(), 2 * y.len(), "rows of a GLU");
    for (ab, y) in ab.chunks_exact(2 * m).zip(y.chunks_exact_mut(m)) {
        let (a, b) = ab.split_at(m);
        map([a, b], [y], Glu);
    }
}

/// Gradient of [`glu`].
pub fn glu_backward(ab: &[f32], m: usize, dy: &[f32], dab: &mut [f32]) {
    assert!(ab.len() == 2 * dy.len() && ab.len() == dab.len(), "rows of a GLU");
    for ((ab, dy), dab) in ab.chunks_exact(2 * m).zip(dy.chunks_exact(m)).zip(dab.chunks_exact_mut(2 * m)) {
        let ((a, b), (da, db)) = (ab.split_at(m), dab.split_at_mut(m));
        map([a, b, dy], [da, db], GluBackward);
    }
}

/// `y = ln(1 + eˣ)`.
pub fn softplus(x: &[f32], y: &mut [f32]) {
    map([x], [y], Softplus);
}

/// `dx = dy·σ(x)`.
pub fn softplus_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    map([x, dy], [dx], SoftplusBackward);
}
