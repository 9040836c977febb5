//! Sigmoid scores with a selection bias (DeepSeek-V3, arXiv:2412.19437, without groups).
//!
//! ```text
//! s = σ(x·W_g),   the k largest of s + b,   G = s / (Σ chosen s + 10⁻²⁰), or s as it is
//! ```
//! b has no gradient: it moves against the load after every step (loss-free balancing, arXiv:2408.15664).

use super::{Bias, Gate, GateKind, GateOptions, chosen};
use foretoken_kernels::{activation, router};

pub const KIND: GateKind = GateKind {
    build: |options| Box::new(Sigmoid(options)),
    every: false,
    noisy: false,
    plain_weights: true,
    bias: Bias::Always,
    evidence: false,
};

/// Keeps a row of vanishing scores finite.
const TINY: f32 = 1e-20;

#[derive(Debug)]
struct Sigmoid(GateOptions);

impl Gate for Sigmoid {
    fn select(&self, scores_ne: &[f32], _: usize, select_ne: &mut [f32]) {
        activation::sigmoid(scores_ne, select_ne);
    }

    fn weigh(&self, scores_ne: &[f32], experts: usize, choice_nk: &[u32], k: usize, weights_nk: &mut [f32]) {
        let rows = scores_ne.chunks_exact(experts).zip(choice_nk.chunks_exact(k)).zip(weights_nk.chunks_exact_mut(k));
        for ((scores, choice), weights) in rows {
            router::sigmoid_part(scores, choice, weights);
            if self.0.renormalise {
                let total = weights.iter().sum::<f32>() + TINY;
                weights.iter_mut().for_each(|weight| *weight /= total);
            }
        }
    }

    fn weigh_backward(
        &self,
        scores_ne: &[f32],
        experts: usize,
        choice_nk: &[u32],
        k: usize,
        weights_nk: &[f32],
        dweights_nk: &[f32],
        dscores_ne: &mut [f32],
    ) {
        let mut s_ne = vec![0.0; scores_ne.len()];
        activation::sigmoid(scores_ne, &mut s_ne);
        let rows = choice_nk.chunks_exact(k).zip(weights_nk.chunks_exact(k)).zip(dweights_nk.chunks_exact(k));
        for (((choice, weights), dweights), (s, dscores)) in
            rows.zip(s_ne.chunks_exact(experts).zip(dscores_ne.chunks_exact_mut(experts)))
        {
            let (mut total, mut mean) = (1.0, 0.0);
            if self.0.renormalise {
                total = choice.iter().map(|&expert| s[expert as usize]).sum::<f32>() + TINY;
                mean = weights.iter().zip(dweights).map(|(w, dw)| w * dw).sum::<f32>();
            }
            for (&expert, dweight) in choice.iter().zip(dweights) {
                let s = s[expert as usize];
                dscores[expert as usize] += s * (1.0 - s) * (dweight - mean) / total;
            }
        }
    }

    fn distribution(&self, scores_ne: &[f32], experts: usize, p_ne: &mut [f32]) {
        activation::sigmoid(scores_ne, p_ne);
        for p in p_ne.chunks_exact_mut(experts) {
            let total = p.iter().sum::<f32>() + TINY;
            p.iter_mut().for_each(|p| *p /= total);
        }
    }

    fn distribution_backward(&self, scores_ne: &[f32], p_ne: &[f32], slope_e: &[f32], dscores_ne: &mut [f32]) {
        let experts = slope_e.len();
        let mut s_ne = vec![0.0; scores_ne.len()];
        activation::sigmoid(scores_ne, &mut s_ne);
        let rows = s_ne.chunks_exact(experts).zip(p_ne.chunks_exact(experts)).zip(dscores_ne.chunks_exact_mut(experts));
        for ((s, p), dscores) in rows {
            let total = s.iter().sum::<f32>() + TINY;
            let mean = p.iter().zip(slope_e).map(|(p, slope)| p * slope).sum::<f32>();
            for ((s, slope), dscore) in s.iter().zip(slope_e).zip(dscores) {
                *dscore += s * (1.0 - s) * (slope - mean) / total;
            }
        }
    }

    fn sums_to_one(&self) -> bool {
        self.0.renormalise
    }

    fn plain_select(&self, scores: &[f64]) -> Vec<f64> {
        scores.iter().map(|&score| crate::plain::sigmoid(score)).collect()
    }

    fn plain_weigh(&self, scores: &[f64], choice: &[u32]) -> Vec<f64> {
        let s = chosen(&self.plain_select(scores), choice);
        let total = if self.0.renormalise { s.iter().sum::<f64>() + f64::from(TINY) } else { 1.0 };
        s.iter().map(|s| s / total).collect()
    }

    fn plain_distribution(&self, scores: &[f64]) -> Vec<f64> {
        let s = self.plain_select(scores);
        let total = s.iter().sum::<f64>() + f64::from(TINY);
        s.iter().map(|s| s / total).collect()
    }
}
