//! The router: scores, choice and gate weights of every sample, and what a stream has to remember of them.
//!
//! ```text
//! scores = x·W_g (+ noise while training) (+ the evidence's log-posterior)        computed in f32
//! choice = the k largest of gate.select(scores) + bias + switch_cost·[chosen at the stream's last sample]
//! weight = scale · gate.weigh(scores, choice)
//! ```
//! Ties break by score descending, then index ascending. A score that is not finite is an error. `switch_cost` is a hysteresis: a
//! newcomer must beat a chosen expert by that much; it moves the choice, never the weights.

mod engine;

pub use crate::gate::RoutingStrategy;
pub use engine::{Choice, RouterEngine, RouterKept};

use crate::{
    ModelError,
    balance::Balance,
    gate::{Gate, GateOptions},
    plain::{self, PlainRouted, PlainState, Sample},
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::evidence::Evidence;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What a router is built from, checked by the mixture.
#[derive(Clone, Copy, Debug)]
pub struct RouterOptions {
    /// How experts are chosen.
    pub strategy: RoutingStrategy,
    /// Experts to choose from.
    pub experts: usize,
    /// Experts chosen.
    pub top_k: usize,
    /// Whether the chosen weights are made to sum to one, where the gate leaves the choice.
    pub renormalise: bool,
    /// Factor of every gate weight.
    pub scale: f32,
    /// Scale of the learned noise.
    pub noise_std: f32,
    /// Advantage of the experts chosen last.
    pub switch_cost: f32,
    /// Step of the selection bias, if there is one.
    pub bias_rate: Option<f32>,
    /// The experts' own models of the signal, for a gate that gathers evidence.
    pub evidence: EvidenceConfig,
    /// Coefficients of the balance losses.
    pub balance: Balance,
}

/// Options of the routing strategy `evidence`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvidenceConfig {
    /// Samples that each expert's one-step model looks back.
    pub lags: usize,
    /// Probability that the regime changes from one sample to the next.
    pub switching: f64,
    /// Weight of the mean negative log-evidence in the loss.
    pub coeff: f32,
}

impl Default for EvidenceConfig {
    fn default() -> Self {
        Self { lags: 8, switching: 0.01, coeff: 0.1 }
    }
}

/// Where the router's weights lie.
#[derive(Debug)]
pub struct Router {
    options: RouterOptions,
    gate: Arc<dyn Gate>,
    gate_de: Weight,
    noise_de: Option<Weight>,
    bias_e: Option<Weight>,
    /// Lags, bias, log-deviation.
    evidence: Option<[Weight; 3]>,
}

/// What a stream's counters hold: clock, leader + 1, samples it has led, the last choice + 1 each, and each expert's last time + 1.
#[derive(Clone, Copy, Debug)]
pub struct Memory {
    top_k: usize,
    experts: usize,
}

impl Memory {
    /// Counters a stream.
    pub fn len(&self) -> usize {
        3 + self.top_k + self.experts
    }

    /// Experts chosen a sample.
    pub fn top_k(&self) -> usize {
        self.top_k
    }

    /// Whether there are none; never.
    pub fn is_empty(&self) -> bool {
        false
    }

    fn last_choice<'a>(&self, counters: &'a mut [u64]) -> &'a mut [u64] {
        &mut counters[3..3 + self.top_k]
    }

    /// Whether these counters could be a stream's: experts that exist, and no time after now.
    pub fn is_sound(&self, counters: &[u64]) -> bool {
        let experts = self.experts as u64;
        let (choice, times) = counters[3..].split_at(self.top_k);
        counters[0] <= u64::MAX / 2
            && counters[1] <= experts
            && counters[2] <= counters[0]
            && choice.iter().all(|last| *last <= experts)
            && (1..choice.len()).all(|slot| choice[slot] == 0 || !choice[..slot].contains(&choice[slot]))
            && times.iter().all(|last| *last <= counters[0])
    }

    /// Lets `gap` samples and then this one pass; gives the samples that each chosen expert missed, slot by slot, to `missed`.
    pub fn pass(&self, counters: &mut [u64], gap: usize, choice_k: &[u32], mut missed: impl FnMut(usize, usize)) {
        counters[0] += gap as u64;
        let now = counters[0];
        for (slot, &expert) in choice_k.iter().enumerate() {
            let last = &mut counters[3 + self.top_k + expert as usize];
            missed(slot, (now - *last) as usize);
            *last = now + 1;
        }
        counters[0] += 1;
    }

    /// Notes who leads now; gives who led before, and for how long.
    pub fn lead(&self, counters: &mut [u64], leader: usize) -> Option<(usize, u64)> {
        let before = counters[1].checked_sub(1).map(|before| (before as usize, counters[2]));
        let stays = before.is_some_and(|(before, _)| before == leader);
        (counters[1], counters[2]) = (leader as u64 + 1, if stays { counters[2] + 1 } else { 1 });
        before
    }
}

impl Router {
    /// Names, shapes and initialises the weights.
    ///
    /// # Errors
    /// Evidence where there is no signal to gather it from, or fewer samples of it than the lags need.
    pub fn build(options: RouterOptions, input: usize, layout: &mut Layout) -> Result<Self, ModelError> {
        let kind = options.strategy.kind();
        let experts = options.experts;
        let biased = options.bias_rate.is_some();
        let evidence = if kind.evidence {
            let lags = options.evidence.lags;
            if layout.context() <= lags {
                let expected = format!("a mixture in a model's trunk whose taps are more than evidence.lags ({lags})");
                return Err(ModelError::config("routing_strategy", expected, format!("{} taps", layout.context())));
            }
            Some([
                // Small and different: models that start alike would stay alike.
                layout.free("evidence.lags", [experts, lags], Init::Normal(0.3 / (lags as f32).sqrt())),
                layout.free("evidence.bias", [1, experts], Init::Constant(0.0)),
                layout.free("evidence.log_deviation", [1, experts], Init::Constant(0.0)),
            ])
        } else {
            None
        };
        // Evidence alone decides at first; noise is enough to start from (the paper's zeros), a bias starts without opinion.
        let gate = if kind.evidence { Init::Constant(0.0) } else { fan_in(input) };
        Ok(Self {
            gate: Arc::from((kind.build)(GateOptions { renormalise: options.renormalise, biased })),
            gate_de: layout.matrix("gate", [input, experts], gate),
            noise_de: kind.noisy.then(|| layout.matrix("noise", [input, experts], Init::Constant(0.0))),
            bias_e: biased.then(|| layout.free("bias", [1, experts], Init::Constant(0.0))),
            evidence,
            options,
        })
    }

    /// What a stream has to remember: counters, and numbers of the evidence.
    pub fn memory(&self) -> (Memory, usize) {
        let RouterOptions { top_k, experts, .. } = self.options;
        (Memory { top_k, experts }, if self.evidence.is_some() { experts } else { 0 })
    }

    /// Packs the weights.
    pub fn prepare(&self, arena: &[f32], train: bool) -> RouterEngine {
        RouterEngine::new(self, arena, train)
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        let evidence = self.evidence.iter().flatten().map(|weight| weight.range().len()).sum::<usize>();
        let optional = |weight: Option<Weight>| weight.map_or(0, |weight| weight.range().len());
        self.gate_de.range().len() + optional(self.noise_de) + optional(self.bias_e) + evidence
    }

    /// The definition, one row: what the gate compared, chose and weighed. `draws` are a training pass's. `forced` is the choice, if it is
    /// not free. The state's numbers are the evidence's, its counters as [`Memory`] has them.
    pub fn plain_route(
        &self,
        arena: &[f64],
        sample: Sample<'_>,
        state: &mut PlainState,
        draws: Option<&mut ChaCha8Rng>,
        forced: Option<&[u32]>,
    ) -> PlainRouted {
        let RouterOptions { experts, top_k, noise_std, scale, switch_cost, .. } = self.options;
        let mut routed =
            PlainRouted { clean: plain::multiply(sample.x, &arena[self.gate_de.range()], experts), ..Default::default() };
        if let Some(evidence) = self.evidence {
            let [lags_ep, bias_e, log_deviation_e] = evidence.map(|span| &arena[span.range()]);
            let evidence = Evidence { lags_ep, bias_e, log_deviation_e, switching: self.options.evidence.switching };
            routed.own_loss = evidence.step(sample.context, &mut state.floats, |l| l);
            routed.clean.iter_mut().zip(&state.floats).for_each(|(score, l)| *score += l);
        }
        routed.scores = routed.clean.clone();
        if let (Some(noise), Some(draws)) = (self.noise_de, draws) {
            let raw = plain::multiply(sample.x, &arena[noise.range()], experts);
            routed.deviation = raw.iter().map(|&raw| f64::from(noise_std) * plain::softplus(raw)).collect();
            for (score, deviation) in routed.scores.iter_mut().zip(&routed.deviation) {
                let normal: f32 = StandardNormal.sample(draws);
                *score += f64::from(normal) * deviation;
            }
        }
        let memory = self.memory().0;
        let mut select = self.gate.plain_select(&routed.scores);
        if let Some(bias) = self.bias_e {
            select.iter_mut().zip(&arena[bias.range()]).for_each(|(select, bias)| *select += bias);
        }
        for &last in memory.last_choice(&mut state.counters).iter().filter(|_| switch_cost > 0.0) {
            if let Some(expert) = last.checked_sub(1) {
                select[expert as usize] += f64::from(switch_cost);
            }
        }
        let mut choice: Vec<u32> = (0..experts as u32).collect();
        if !self.options.strategy.kind().every {
            choice.sort_by(|&a, &b| select[b as usize].total_cmp(&select[a as usize]).then(a.cmp(&b)));
        }
        choice.truncate(top_k);
        if let Some(forced) = forced {
            choice = forced.to_vec();
        }
        memory.last_choice(&mut state.counters).iter_mut().zip(&choice).for_each(|(last, &e)| *last = u64::from(e) + 1);
        routed.weights = self.gate.plain_weigh(&routed.scores, &choice).iter().map(|weight| weight * f64::from(scale)).collect();
        (routed.select, routed.choice) = (select, choice);
        routed
    }

    /// The definition of the auxiliary losses of these rows.
    pub fn plain_auxiliary(&self, rows: &[PlainRouted]) -> f64 {
        let own = rows.iter().map(|row| row.own_loss).sum::<f64>() / rows.len().max(1) as f64;
        self.options.balance.plain(&*self.gate, rows, self.options.experts) + f64::from(self.options.evidence.coeff) * own
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

/// Draws of expert dropout for one row, after its noise: whether each slot's contribution is kept.
pub fn keep_slots(draws: &mut ChaCha8Rng, noisy: bool, experts: usize, dropout: f32, kept: &mut [bool]) {
    if noisy {
        for _ in 0..experts {
            let _: f32 = StandardNormal.sample(draws);
        }
    }
    kept.iter_mut().for_each(|kept| *kept = draws.random::<f32>() >= dropout);
}
