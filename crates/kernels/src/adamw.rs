//! AdamW (Loshchilov & Hutter 2019, arXiv:1711.05101) in one pass over the weights.
//!
//! ```text
//! g ← clip·g      m ← β₁m + (1 − β₁)g      v ← β₂v + (1 − β₂)g²
//! w ← (1 − rate·decay)·w − rate·(m/(1 − β₁ᵗ)) / (√(v/(1 − β₂ᵗ)) + ε)
//! ```
//! Value by value, so the bits depend neither on the instructions nor on how the weights are cut.

use crate::simd::{Simd, Task, dispatch};
use rayon::prelude::*;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
const EPSILON: f32 = 1e-8;

/// Weights from which on a second thread is worth it: some 20 µs of work each.
const SPLIT: usize = 1 << 15;

/// One step's numbers, the same for every weight of a group.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    rate: f32,
    keep: f32,
    clip: f32,
    correct_1: f32,
    correct_2: f32,
}

impl AdamW {
    /// The step with this learning `rate`, decoupled weight `decay` and factor `clip` of the gradients, after which `time` steps, at least one, are done.
    pub fn new(rate: f64, decay: f64, clip: f64, time: u64) -> Self {
        let correct = |beta: f64| (1.0 / (1.0 - beta.powf(time as f64))) as f32;
        Self {
            rate: rate as f32,
            keep: (1.0 - rate * decay) as f32,
            clip: clip as f32,
            correct_1: correct(BETA_1),
            correct_2: correct(BETA_2),
        }
    }

    /// Steps `weights` against `gradient`, and updates both moments.
    pub fn step(self, weights: &mut [f32], gradient: &[f32], moment_1: &mut [f32], moment_2: &mut [f32]) {
        let len = weights.len();
        assert!(gradient.len() == len && moment_1.len() == len && moment_2.len() == len, "slices of one length");
        let pieces = weights.par_chunks_mut(SPLIT).zip(gradient.par_chunks(SPLIT));
        let moments = moment_1.par_chunks_mut(SPLIT).zip(moment_2.par_chunks_mut(SPLIT));
        pieces.zip(moments).for_each(|((weights, gradient), (moment_1, moment_2))| {
            dispatch(Step { own: self, weights, gradient, moment_1, moment_2 });
        });
    }
}

struct Step<'a> {
    own: AdamW,
    weights: &'a mut [f32],
    gradient: &'a [f32],
    moment_1: &'a mut [f32],
    moment_2: &'a mut [f32],
}

impl Task for Step<'_> {
    type Output = ();

    // Plain arithmetic that the compiler widens to the instructions at hand; division and root are rounded alike by all of them.
    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let AdamW { rate, keep, clip, correct_1, correct_2 } = self.own;
        let (beta_1, beta_2) = (BETA_1 as f32, BETA_2 as f32);
        let (rest_1, rest_2) = ((1.0 - BETA_1) as f32, (1.0 - BETA_2) as f32);
        let len = self.weights.len();
        let (weights, gradient) = (&mut self.weights[..len], &self.gradient[..len]);
        let (moment_1, moment_2) = (&mut self.moment_1[..len], &mut self.moment_2[..len]);
        for i in 0..len {
            let g = clip * gradient[i];
            let m = beta_1 * moment_1[i] + rest_1 * g;
            let v = beta_2 * moment_2[i] + rest_2 * (g * g);
            moment_1[i] = m;
            moment_2[i] = v;
            weights[i] = keep * weights[i] - rate * (correct_1 * m) / ((correct_2 * v).sqrt() + EPSILON);
        }
    }
}

/// Values whose squares are added up apart, so that threads can share them and the sum stays the same.
const PIECE: usize = 1 << 14;

/// Sum of squares, in `f64` and in one order.
pub fn squares(values: &[f32]) -> f64 {
    let piece = |values: &[f32]| {
        let mut lanes = [0.0f64; 8];
        let (whole, rest) = values.as_chunks::<8>();
        for eight in whole {
            lanes.iter_mut().zip(eight).for_each(|(lane, &value)| *lane += f64::from(value) * f64::from(value));
        }
        let rest: f64 = rest.iter().map(|&value| f64::from(value) * f64::from(value)).sum();
        lanes.iter().sum::<f64>() + rest
    };
    values.par_chunks(PIECE).map(piece).collect::<Vec<f64>>().into_iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounding of some ten operations in `f32`, for weights near one.
    const TOLERANCE: f64 = 1e-6;

    #[test]
    fn ten_steps_are_the_papers_in_f64() {
        let count = SPLIT + 37;
        let value = |i: usize, t: usize| ((i * 7 + t * 13) % 101) as f32 / 50.0 - 1.0;
        let mut weights: Vec<f32> = (0..count).map(|i| value(i, 3)).collect();
        let mut plain: Vec<[f64; 3]> = weights.iter().map(|&w| [f64::from(w), 0.0, 0.0]).collect();
        let (mut moment_1, mut moment_2) = (vec![0.0; count], vec![0.0; count]);
        let (rate, decay, clip) = (3e-3, 0.1, 0.7);
        for time in 1..=10 {
            let gradient: Vec<f32> = (0..count).map(|i| value(i, time)).collect();
            AdamW::new(rate, decay, clip, time as u64).step(&mut weights, &gradient, &mut moment_1, &mut moment_2);
            for ([w, m, v], &g) in plain.iter_mut().zip(&gradient) {
                let g = clip * f64::from(g);
                *m = 0.9 * *m + 0.1 * g;
                *v = 0.999 * *v + 0.001 * g * g;
                let (m, v) = (*m / (1.0 - 0.9f64.powi(time as i32)), *v / (1.0 - 0.999f64.powi(time as i32)));
                *w -= rate * decay * *w + rate * m / (v.sqrt() + 1e-8);
            }
        }
        for (i, (&found, [expected, ..])) in weights.iter().zip(&plain).enumerate() {
            assert!((f64::from(found) - expected).abs() < TOLERANCE, "weight {i}: {found}, expected {expected}");
        }
    }

    #[test]
    fn squares_are_added_in_one_order() {
        let values: Vec<f32> = (0..3 * PIECE + 5).map(|i| (i % 17) as f32 / 16.0).collect();
        let plain: f64 = values.iter().map(|&value| f64::from(value * value)).sum();
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let found = pool(1).install(|| squares(&values));
        assert_eq!(found.to_bits(), pool(2).install(|| squares(&values)).to_bits());
        assert!((found / plain - 1.0).abs() < 1e-6);
    }
}
