//! The router: scores, choice and gate weights of every sample.
//!
//! ```text
//! softmax        G = softmax(x·W_g), every expert
//! top-k          G = softmax over the k largest of x·W_g                            (Mixtral)
//! noisy top-k    H = x·W_g + noise_std·N(0,1)·softplus(x·W_noise), then top-k of H  (Shazeer et al. 2017, arXiv:1701.06538)
//! ```
//! Noise is drawn in training only. Ties break by score descending, then index ascending. Scores are computed in `f32`.

use crate::{
    ModelError,
    layer::{Need, Pass, Scratch},
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::{
    linear::{self, Panels},
    router,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// How experts are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum RoutingStrategy {
    /// Every expert, weighted by the softmax of all scores.
    Softmax,
    /// The k best, weighted by the softmax of their scores.
    #[default]
    TopK,
    /// Top-k of scores with learned noise while training.
    NoisyTopK,
}

/// Where the router's weights lie.
#[derive(Clone, Debug)]
pub struct Router {
    strategy: RoutingStrategy,
    gate_de: Weight,
    noise_de: Option<Weight>,
    top_k: usize,
    noise_std: f32,
}

impl Router {
    /// Names, shapes and initialises the weights. `top_k` is the number of experts for [`RoutingStrategy::Softmax`].
    pub fn build(
        strategy: RoutingStrategy,
        input: usize,
        experts: usize,
        top_k: usize,
        noise_std: f32,
        layout: &mut Layout,
    ) -> Self {
        let noisy = strategy == RoutingStrategy::NoisyTopK;
        Self {
            strategy,
            gate_de: layout.matrix("gate", [input, experts], fan_in(input)),
            // The paper's zeros: softplus(0) is noise enough to start with.
            noise_de: noisy.then(|| layout.matrix("noise", [input, experts], Init::Constant(0.0))),
            top_k,
            noise_std,
        }
    }

    /// Packs the weights.
    pub fn prepare(&self, arena: &[f32], train: bool) -> RouterEngine {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        RouterEngine {
            router: self.clone(),
            gate: pack(self.gate_de),
            noise: self.noise_de.map(pack),
            gate_t: train.then(|| transposed(self.gate_de)),
            noise_t: self.noise_de.filter(|_| train).map(transposed),
        }
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.gate_de.range().len() + self.noise_de.map_or(0, |noise| noise.range().len())
    }

    /// The scores that choose, in `f64`; `row` and `place` name the draws of a training pass.
    pub fn plain_scores(&self, arena: &[f64], x: &[f64], draws: Option<&mut ChaCha8Rng>) -> Vec<f64> {
        let experts = self.gate_de.shape[1];
        let mut scores = crate::plain::multiply(x, &arena[self.gate_de.range()], experts);
        if let (Some(noise), Some(draws)) = (self.noise_de, draws) {
            let raw = crate::plain::multiply(x, &arena[noise.range()], experts);
            for (score, raw) in scores.iter_mut().zip(raw) {
                let normal: f32 = StandardNormal.sample(draws);
                *score += f64::from(self.noise_std) * f64::from(normal) * crate::plain::softplus(raw);
            }
        }
        scores
    }
}

/// The generator of one row's draws: noise first, then dropout. Independent of how rows are batched.
pub fn row_draws(seed: u64, step: u64, mixture: usize, row: usize) -> ChaCha8Rng {
    let mut key = [0; 32];
    for (bytes, part) in key.chunks_exact_mut(8).zip([seed, step, mixture as u64, row as u64]) {
        bytes.copy_from_slice(&part.to_le_bytes());
    }
    ChaCha8Rng::from_seed(key)
}

/// The choices of `n` rows.
pub struct Choice<'a> {
    /// `[row][slot]`, best first.
    pub experts_nk: &'a [u32],
    /// `[row][slot]`, each row sums to one.
    pub weights_nk: &'a [f32],
    /// Rows whose k-th and next score lay within 1e-5.
    pub near_ties: u64,
}

/// What the router keeps of a training pass.
pub struct RouterKept {
    /// The scores that chose.
    pub scores_ne: Vec<f32>,
    raw_noise_ne: Vec<f32>,
    normal_ne: Vec<f32>,
    /// `[row][slot]`.
    pub choice_nk: Vec<u32>,
    /// `[row][slot]`.
    pub weights_nk: Vec<f32>,
    /// Near ties, as in [`Choice`].
    pub near_ties: u64,
}

/// A router with packed weights.
pub struct RouterEngine {
    router: Router,
    gate: Panels,
    noise: Option<Panels>,
    gate_t: Option<Panels>,
    noise_t: Option<Panels>,
}

impl RouterEngine {
    /// How experts are chosen.
    pub fn strategy(&self) -> RoutingStrategy {
        self.router.strategy
    }

    /// Experts to choose from.
    pub fn experts(&self) -> usize {
        self.gate.outputs()
    }

    /// Experts chosen a sample.
    pub fn top_k(&self) -> usize {
        self.router.top_k
    }

    /// Scratch of [`RouterEngine::route`].
    pub fn scratch(&self, rows: usize) -> Need {
        Need { floats: rows * (self.experts() + self.top_k()), choices: rows * self.top_k(), offsets: 0 }
    }

    /// Chooses without noise.
    pub fn route<'a>(&self, x_nd: &[f32], scratch: &mut Scratch<'a>) -> Result<Choice<'a>, ModelError> {
        let rows = x_nd.len() / self.gate.inputs();
        let scores_ne = scratch.floats(rows * self.experts());
        let (choice_nk, weights_nk) = (scratch.choices(rows * self.top_k()), scratch.floats(rows * self.top_k()));
        linear::linear(x_nd, &self.gate, None, scores_ne);
        let near_ties = self.choose(scores_ne, choice_nk, weights_nk)?;
        Ok(Choice { experts_nk: choice_nk, weights_nk, near_ties })
    }

    /// Chooses as training does, with noise if the strategy has it and the pass trains.
    pub fn forward(&self, x_nd: &[f32], mixture: usize, pass: &Pass) -> Result<RouterKept, ModelError> {
        let rows = x_nd.len() / self.gate.inputs();
        let experts = self.experts();
        let mut kept = RouterKept {
            scores_ne: vec![0.0; rows * experts],
            raw_noise_ne: Vec::new(),
            normal_ne: Vec::new(),
            choice_nk: vec![0; rows * self.top_k()],
            weights_nk: vec![0.0; rows * self.top_k()],
            near_ties: 0,
        };
        linear::linear(x_nd, &self.gate, None, &mut kept.scores_ne);
        if let Some(noise) = self.noise.as_ref().filter(|_| pass.training) {
            kept.raw_noise_ne = vec![0.0; rows * experts];
            kept.normal_ne = vec![0.0; rows * experts];
            linear::linear(x_nd, noise, None, &mut kept.raw_noise_ne);
            for (row, normals) in kept.normal_ne.chunks_exact_mut(experts).enumerate() {
                let mut draws = row_draws(pass.seed, pass.step, mixture, row);
                normals.iter_mut().for_each(|normal| *normal = StandardNormal.sample(&mut draws));
            }
            let clean = kept.scores_ne.clone();
            router::noisy_logits(&clean, &kept.raw_noise_ne, &kept.normal_ne, self.router.noise_std, &mut kept.scores_ne);
        }
        kept.near_ties = self.choose(&kept.scores_ne, &mut kept.choice_nk, &mut kept.weights_nk)?;
        Ok(kept)
    }

    /// Adds the gradients of the weights, and those of the rows to `dx_nd`. `dweights_nk` is the loss by gate weight, `dscores_ne`
    /// what the balance loss already put on the scores.
    pub fn backward(
        &self,
        x_nd: &[f32],
        kept: &RouterKept,
        dweights_nk: &[f32],
        dscores_ne: &mut [f32],
        dx_nd: &mut [f32],
        gradient: &mut [f32],
    ) {
        let (inputs, experts) = (self.gate.inputs(), self.experts());
        match self.router.strategy {
            RoutingStrategy::Softmax => router::softmax_backward(&kept.weights_nk, experts, dweights_nk, dscores_ne),
            RoutingStrategy::TopK | RoutingStrategy::NoisyTopK => {
                router::top_k_backward(&kept.choice_nk, &kept.weights_nk, dweights_nk, experts, self.top_k(), dscores_ne);
            }
        }
        linear::weight_gradient(x_nd, dscores_ne, inputs, experts, self.router.gate_de.of_mut(gradient));
        linear::linear_add(dscores_ne, self.gate_t.as_ref().expect("prepared for training"), dx_nd);
        if let (Some(noise_de), false) = (self.router.noise_de, kept.normal_ne.is_empty()) {
            let mut draw_ne = vec![0.0; dscores_ne.len()];
            router::noisy_logits_backward(&kept.raw_noise_ne, &kept.normal_ne, self.router.noise_std, dscores_ne, &mut draw_ne);
            linear::weight_gradient(x_nd, &draw_ne, inputs, experts, noise_de.of_mut(gradient));
            linear::linear_add(&draw_ne, self.noise_t.as_ref().expect("prepared for training"), dx_nd);
        }
    }

    fn choose(&self, scores_ne: &[f32], choice_nk: &mut [u32], weights_nk: &mut [f32]) -> Result<u64, ModelError> {
        let experts = self.experts();
        let failed = |error: router::NonFiniteLogit| ModelError::NonFiniteScore { row: error.row, expert: error.expert };
        match self.router.strategy {
            RoutingStrategy::Softmax => {
                router::softmax(scores_ne, experts, weights_nk).map_err(failed)?;
                choice_nk.iter_mut().enumerate().for_each(|(place, choice)| *choice = (place % experts) as u32);
                Ok(0)
            }
            RoutingStrategy::TopK | RoutingStrategy::NoisyTopK => {
                router::top_k(scores_ne, experts, self.top_k(), choice_nk, weights_nk).map_err(failed)
            }
        }
    }
}

/// Draws of expert dropout for one row, after its noise: whether each slot's contribution is kept.
pub fn keep_slots(draws: &mut ChaCha8Rng, noisy: bool, experts: usize, dropout: f32, kept: &mut [bool]) {
    if noisy {
        for _ in 0..experts {
            let _: f32 = StandardNormal.sample(draws);
        }
    }
    kept.iter_mut().for_each(|kept| *kept = draws.random::<f32>() >= dropout);
}
