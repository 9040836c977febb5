//! The k best experts.
//!
//! ```text
//! renormalised   G = softmax over the k largest scores, which is softmax over all, then rescaled     (Mixtral, arXiv:2401.04088)
//! as they are    G = softmax over all, of which k are kept            (Switch, Jamba, Qwen2-MoE; needed at k = 1 to learn a router)
//! ```
//! With a selection bias b the probabilities plus b are compared, and the weights are without it (arXiv:2408.15664).

use super::{Bias, Gate, GateKind, GateOptions, chosen};
use foretoken_kernels::router;

pub const KIND: GateKind = GateKind {
    build: |options| Box::new(TopK(options)),
    every: false,
    noisy: false,
    plain_weights: true,
    bias: Bias::Optional,
    evidence: false,
};

#[derive(Debug)]
pub(super) struct TopK(pub GateOptions);

impl Gate for TopK {
    fn select(&self, scores_ne: &[f32], experts: usize, select_ne: &mut [f32]) {
        match self.0.biased {
            true => router::softmax(scores_ne, experts, select_ne),
            false => select_ne.copy_from_slice(scores_ne),
        }
    }

    fn weigh(&self, scores_ne: &[f32], experts: usize, choice_nk: &[u32], k: usize, weights_nk: &mut [f32]) {
        if self.0.renormalise {
            router::softmax_of_chosen(scores_ne, experts, choice_nk, k, weights_nk);
            return;
        }
        let rows = scores_ne.chunks_exact(experts).zip(choice_nk.chunks_exact(k)).zip(weights_nk.chunks_exact_mut(k));
        for ((scores, choice), weights) in rows {
            router::softmax_part(scores, choice, weights);
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
        if self.0.renormalise {
            router::softmax_of_chosen_backward(choice_nk, weights_nk, dweights_nk, experts, k, dscores_ne);
            return;
        }
        let (mut p_ne, mut dp_ne) = (vec![0.0; scores_ne.len()], vec![0.0; scores_ne.len()]);
        router::softmax(scores_ne, experts, &mut p_ne);
        router::pick_backward(dweights_nk, choice_nk, k, experts, &mut dp_ne);
        router::softmax_backward(&p_ne, experts, &dp_ne, dscores_ne);
    }

    fn sums_to_one(&self) -> bool {
        self.0.renormalise
    }

    fn plain_select(&self, scores: &[f64]) -> Vec<f64> {
        if self.0.biased { crate::plain::softmax(scores) } else { scores.to_vec() }
    }

    fn plain_weigh(&self, scores: &[f64], choice: &[u32]) -> Vec<f64> {
        match self.0.renormalise {
            true => crate::plain::softmax(&chosen(scores, choice)),
            false => chosen(&crate::plain::softmax(scores), choice),
        }
    }
}
