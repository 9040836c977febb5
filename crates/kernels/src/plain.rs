//! The definitions, generic over `f32` and `f64`, one value or one row at a time: the oracles of everything fast.

use std::ops::{Add, Div, Mul, Neg, Sub};

/// A real number: `f32` or `f64`.
pub trait Real:
    Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> + Neg<Output = Self>
{
    /// Rounds from `f64`.
    fn from_f64(value: f64) -> Self;
    /// e^x.
    fn exp(self) -> Self;
    /// ln(1 + x).
    fn ln_1p(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
}

macro_rules! real {
    ($($type:ty),*) => {$(
        impl Real for $type {
            fn from_f64(value: f64) -> Self { value as $type }
            fn exp(self) -> Self { self.exp() }
            fn ln_1p(self) -> Self { self.ln_1p() }
            fn sqrt(self) -> Self { self.sqrt() }
            fn sin(self) -> Self { self.sin() }
            fn cos(self) -> Self { self.cos() }
        }
    )*};
}
real!(f32, f64);

fn zero<R: Real>() -> R {
    R::from_f64(0.0)
}

fn one<R: Real>() -> R {
    R::from_f64(1.0)
}

fn dot<R: Real>(a: &[R], b: &[R]) -> R {
    a.iter().zip(b).fold(zero(), |total, (&a, &b)| total + a * b)
}

/// `x·w`, with `w` row-major `[inputs][outputs]`.
pub fn multiply<R: Real>(x: &[R], w: &[R], outputs: usize) -> Vec<R> {
    let mut y = vec![zero(); outputs];
    for (&x, row) in x.iter().zip(w.chunks_exact(outputs)) {
        y.iter_mut().zip(row).for_each(|(y, &w)| *y = *y + x * w);
    }
    y
}

/// `1/(1 + e⁻ˣ)`.
pub fn sigmoid<R: Real>(x: R) -> R {
    let e = if x < zero() { x.exp() } else { (-x).exp() };
    if x < zero() { e / (one::<R>() + e) } else { one::<R>() / (one::<R>() + e) }
}

/// `x·σ(x)`.
pub fn silu<R: Real>(x: R) -> R {
    x * sigmoid(x)
}

/// `ln(1 + eˣ)`.
pub fn softplus<R: Real>(x: R) -> R {
    if x < zero() { x.exp().ln_1p() } else { x + (-x).exp().ln_1p() }
}

/// `x / √(mean(x²) + ε) ⊙ gain`.
pub fn rms_norm<R: Real>(x: &[R], gain: &[R]) -> Vec<R> {
    let mean = dot(x, x) / R::from_f64(x.len() as f64);
    let scale = one::<R>() / (mean + R::from_f64(f64::from(crate::norm::RMS_EPSILON))).sqrt();
    x.iter().zip(gain).map(|(&x, &gain)| x * scale * gain).collect()
}

/// `(silu(x·gate) ⊙ x·up)·down`.
pub fn swiglu<R: Real>(x: &[R], gate: &[R], up: &[R], down: &[R], hidden: usize, outputs: usize) -> Vec<R> {
    let (gate, up) = (multiply(x, gate, hidden), multiply(x, up, hidden));
    let z: Vec<R> = gate.into_iter().zip(up).map(|(gate, up)| silu(gate) * up).collect();
    multiply(&z, down, outputs)
}

/// Softmax of one row.
pub fn softmax<R: Real>(logits: &[R]) -> Vec<R> {
    let top = logits.iter().fold(logits[0], |top, &logit| if logit > top { logit } else { top });
    let weights: Vec<R> = logits.iter().map(|&logit| (logit - top).exp()).collect();
    let total = weights.iter().fold(zero(), |total, &weight| total + weight);
    weights.into_iter().map(|weight| weight / total).collect()
}

/// The `k` largest scores of one row by a stable sort: score descending, then index ascending.
pub fn top_k<R: Real>(logits: &[R], k: usize) -> Vec<u32> {
    let mut order: Vec<u32> = (0..logits.len() as u32).collect();
    order.sort_by(|&a, &b| logits[b as usize].partial_cmp(&logits[a as usize]).unwrap_or(std::cmp::Ordering::Equal));
    order.truncate(k);
    order
}

/// `E·Σ f_e·P_e` of rows of probabilities, with `counts[e]` assignments.
pub fn switch_loss<R: Real>(probabilities: &[Vec<R>], counts: &[u64]) -> R {
    let total = R::from_f64(counts.iter().sum::<u64>() as f64 * probabilities.len() as f64);
    let f: Vec<R> = counts.iter().map(|&count| R::from_f64(count as f64)).collect();
    let sum = probabilities.iter().fold(zero(), |sum, row| sum + dot(row, &f));
    R::from_f64(counts.len() as f64) * sum / total
}

/// The mean square of `ln Σ exp(l)` over rows of scores.
pub fn z_loss(logits: &[Vec<f64>]) -> f64 {
    let square = |row: &Vec<f64>| row.iter().map(|logit| logit.exp()).sum::<f64>().ln().powi(2);
    logits.iter().map(square).sum::<f64>() / logits.len() as f64
}
