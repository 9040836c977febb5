//! Every expert, weighted by the softmax of all scores: `G = softmax(x·W_g)`.

use super::{Bias, Gate, GateKind, chosen};
use foretoken_kernels::router;

pub const KIND: GateKind = GateKind {
    build: |_| Box::new(Softmax),
    every: true,
    noisy: false,
    plain_weights: false,
    bias: Bias::Never,
    evidence: false,
};

#[derive(Debug)]
struct Softmax;

impl Gate for Softmax {
    fn weigh(&self, scores_ne: &[f32], experts: usize, _: &[u32], _: usize, weights_nk: &mut [f32]) {
        router::softmax(scores_ne, experts, weights_nk);
    }

    fn weigh_backward(
        &self,
        _: &[f32],
        experts: usize,
        _: &[u32],
        _: usize,
        weights_nk: &[f32],
        dweights_nk: &[f32],
        dscores_ne: &mut [f32],
    ) {
        router::softmax_backward(weights_nk, experts, dweights_nk, dscores_ne);
    }

    fn sums_to_one(&self) -> bool {
        true
    }

    fn plain_weigh(&self, scores: &[f64], choice: &[u32]) -> Vec<f64> {
        chosen(&crate::plain::softmax(scores), choice)
    }
}
