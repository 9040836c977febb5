//! The router: scores, choice and gate weights of every sample, and what a stream has to remember of them.
//!
//! ```text
//! scores = x·W_g (+ noise while training) (+ the evidence's log-posterior)        computed in f32
//! choice = the k largest of gate.select(scores) + bias + switch_cost·[chosen at the stream's last sample]
//! weight = scale · gate.weigh(scores, choice)
//! ```
//! Ties break by score descending, then index ascending. A score that is not finite is an error. `switch_cost` is a hysteresis: a
//! newcomer must beat a chosen expert by that much; it moves the choice, never the weights.

use crate::{
    ModelError,
    balance::{Balance, Routed, RoutedGradient},
    gate::{Bias, Gate, GateOptions},
    layer::{Need, Nudge, Pass, Rows, Scratch},
    plain::{self, PlainRouted, PlainState, Sample},
    trace::Replay,
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::{
    activation,
    balance::SmoothLoad,
    evidence::{Evidence, EvidenceGradient},
    linear::{self, Panels},
    router,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

pub use crate::gate::RoutingStrategy;

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
    gate: Box<dyn Gate>,
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
            gate: (kind.build)(GateOptions { renormalise: options.renormalise, biased }),
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
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        let kind = self.options.strategy.kind();
        RouterEngine {
            options: self.options,
            gate: (kind.build)(GateOptions { renormalise: self.options.renormalise, biased: self.bias_e.is_some() }),
            spans: (self.gate_de, self.noise_de, self.bias_e, self.evidence),
            logits: pack(self.gate_de),
            noise: self.noise_de.map(pack),
            logits_t: train.then(|| transposed(self.gate_de)),
            noise_t: self.noise_de.filter(|_| train).map(transposed),
            bias_e: self.bias_e.map_or(Vec::new(), |bias| bias.of(arena).to_vec()),
            evidence: self.evidence.map(|spans| spans.map(|span| span.of(arena).to_vec())),
            memory: self.memory().0,
        }
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

/// The choices of `n` rows.
pub struct Choice<'a> {
    /// `[row][slot]`, best first; every expert in order where all are chosen.
    pub experts_nk: &'a [u32],
    /// `[row][slot]`.
    pub weights_nk: &'a [f32],
    /// Distance of the last chosen from the best not chosen, by row.
    pub margins_n: &'a [f32],
}

/// What the router keeps of a training pass.
#[derive(Default)]
pub struct RouterKept {
    clean_ne: Vec<f32>,
    scores_ne: Vec<f32>,
    raw_noise_ne: Vec<f32>,
    normal_ne: Vec<f32>,
    deviation_ne: Vec<f32>,
    /// Log-posteriors after each row, and before each stream's first.
    posterior_ne: Vec<f32>,
    posterior_se: Vec<f32>,
    counts: Vec<u64>,
    /// `[row][slot]`.
    pub choice_nk: Vec<u32>,
    /// `[row][slot]`.
    pub weights_nk: Vec<f32>,
    /// As in [`Choice`].
    pub margins_n: Vec<f32>,
    /// Sum of the auxiliary losses.
    pub auxiliary: f32,
}

/// A router with packed weights.
pub struct RouterEngine {
    options: RouterOptions,
    gate: Box<dyn Gate>,
    spans: (Weight, Option<Weight>, Option<Weight>, Option<[Weight; 3]>),
    logits: Panels,
    noise: Option<Panels>,
    logits_t: Option<Panels>,
    noise_t: Option<Panels>,
    bias_e: Vec<f32>,
    evidence: Option<[Vec<f32>; 3]>,
    memory: Memory,
}

impl RouterEngine {
    /// The options it was built from.
    pub fn options(&self) -> &RouterOptions {
        &self.options
    }

    /// Experts to choose from.
    pub fn experts(&self) -> usize {
        self.options.experts
    }

    /// Experts chosen a sample.
    pub fn top_k(&self) -> usize {
        self.options.top_k
    }

    /// What a row's gate weights sum to, if that is a constant.
    pub fn weight_sum(&self) -> Option<f32> {
        self.gate.sums_to_one().then_some(self.options.scale)
    }

    /// How a stream's counters are laid out.
    pub fn memory(&self) -> Memory {
        self.memory
    }

    /// Numbers of the evidence a stream.
    pub fn state_len(&self) -> usize {
        if self.evidence.is_some() { self.experts() } else { 0 }
    }

    /// Scratch of [`RouterEngine::route`].
    pub fn scratch(&self, rows: usize) -> Need {
        let floats = rows * (2 * self.experts() + self.top_k() + 1);
        Need { floats, choices: rows * self.top_k(), offsets: 0 }
    }

    /// Chooses without noise. `floats` and `counters` are the streams' state: the evidence and the last choices move on.
    pub fn route<'a>(
        &self,
        rows: Rows<'_>,
        floats: &mut [f32],
        counters: &mut [u64],
        mixture: usize,
        scratch: &mut Scratch<'a>,
    ) -> Result<Choice<'a>, ModelError> {
        let (n, experts, k) = (rows.count(), self.experts(), self.top_k());
        let (scores_ne, select_ne) = (scratch.floats(n * experts), scratch.floats(n * experts));
        let (choice_nk, weights_nk) = (scratch.choices(n * k), scratch.floats(n * k));
        let margins_n = scratch.floats(n);
        linear::linear(rows.x_nd, &self.logits, None, scores_ne);
        self.gather_evidence(rows, floats, scores_ne, None);
        self.choose(
            rows,
            scores_ne,
            select_ne,
            counters,
            mixture,
            scratch.replay.as_deref_mut(),
            choice_nk,
            weights_nk,
            margins_n,
        )?;
        Ok(Choice { experts_nk: choice_nk, weights_nk, margins_n })
    }

    /// Chooses as training does, with noise if the strategy has it and the pass trains.
    pub fn forward(
        &self,
        rows: Rows<'_>,
        floats: &mut [f32],
        counters: &mut [u64],
        mixture: usize,
        pass: &mut Pass,
    ) -> Result<RouterKept, ModelError> {
        let (n, experts, k) = (rows.count(), self.experts(), self.top_k());
        let mut kept = RouterKept {
            clean_ne: vec![0.0; n * experts],
            choice_nk: vec![0; n * k],
            weights_nk: vec![0.0; n * k],
            margins_n: vec![0.0; n],
            posterior_se: floats.to_vec(),
            ..RouterKept::default()
        };
        linear::linear(rows.x_nd, &self.logits, None, &mut kept.clean_ne);
        let mut own_loss = 0.0;
        if self.evidence.is_some() {
            kept.posterior_ne = vec![0.0; n * experts];
            own_loss = self.gather_evidence(rows, floats, &mut kept.clean_ne, Some(&mut kept.posterior_ne));
        }
        kept.scores_ne.clone_from(&kept.clean_ne);
        if let Some(noise) = self.noise.as_ref().filter(|_| pass.training) {
            kept.raw_noise_ne = vec![0.0; n * experts];
            kept.normal_ne = vec![0.0; n * experts];
            kept.deviation_ne = vec![0.0; n * experts];
            linear::linear(rows.x_nd, noise, None, &mut kept.raw_noise_ne);
            for (row, normals) in kept.normal_ne.chunks_exact_mut(experts).enumerate() {
                let mut draws = row_draws(pass.seed, pass.step, mixture, row);
                normals.iter_mut().for_each(|normal| *normal = StandardNormal.sample(&mut draws));
            }
            let std = self.options.noise_std;
            router::noisy_logits(&kept.clean_ne, &kept.raw_noise_ne, &kept.normal_ne, std, &mut kept.scores_ne);
            activation::softplus(&kept.raw_noise_ne, &mut kept.deviation_ne);
            kept.deviation_ne.iter_mut().for_each(|deviation| *deviation *= std);
        }
        let mut select_ne = vec![0.0; n * experts];
        let RouterKept { scores_ne, choice_nk, weights_nk, margins_n, .. } = &mut kept;
        let replay = pass.replay.as_mut();
        self.choose(rows, scores_ne, &mut select_ne, counters, mixture, replay, choice_nk, weights_nk, margins_n)?;
        kept.counts = vec![0; experts];
        kept.choice_nk.iter().for_each(|&expert| kept.counts[expert as usize] += 1);
        if pass.training && n > 0 {
            let balance = self.options.balance.loss(&self.routed(&kept));
            kept.auxiliary = (balance + f64::from(self.options.evidence.coeff) * own_loss / n as f64) as f32;
            if let (Some(span), Some(rate)) = (self.spans.2, self.options.bias_rate.filter(|&rate| rate > 0.0)) {
                let mean = (n * k) as f64 / experts as f64;
                let by = kept.counts.iter().map(|&count| rate * sign(mean - count as f64)).collect();
                pass.nudges.push(Nudge { start: span.range().start, by });
            }
        }
        Ok(kept)
    }

    fn routed<'a>(&'a self, kept: &'a RouterKept) -> Routed<'a> {
        Routed {
            gate: &*self.gate,
            load: SmoothLoad {
                clean_ne: &kept.clean_ne,
                // Without noise every expert's load is a hard count.
                deviation_ne: if kept.deviation_ne.is_empty() { &[0.0] } else { &kept.deviation_ne },
                noisy_ne: &kept.scores_ne,
                choice_nk: &kept.choice_nk,
                experts: self.experts(),
                k: self.top_k(),
            },
            weights_nk: &kept.weights_nk,
            counts: &kept.counts,
        }
    }

    /// Adds the gradients of the weights, and those of the rows to `dx_nd`. `dweights_nk` is the loss by gate weight, `auxiliary` by the
    /// auxiliary loss.
    pub fn backward(
        &self,
        rows: Rows<'_>,
        kept: &RouterKept,
        dweights_nk: &mut [f32],
        auxiliary: f32,
        dx_nd: &mut [f32],
        gradient: &mut [f32],
    ) {
        let (inputs, experts, k) = (self.logits.inputs(), self.experts(), self.top_k());
        let zeros = || vec![0.0; kept.scores_ne.len()];
        let (mut dscores_ne, mut dclean_ne, mut ddeviation_ne) = (zeros(), zeros(), zeros());
        if auxiliary != 0.0 {
            let mut into = RoutedGradient {
                dscores_ne: &mut dscores_ne,
                dclean_ne: &mut dclean_ne,
                ddeviation_ne: &mut ddeviation_ne,
                dweights_nk,
            };
            self.options.balance.backward(&self.routed(kept), auxiliary, &mut into);
        }
        dweights_nk.iter_mut().for_each(|dweight| *dweight *= self.options.scale);
        let weights_nk: Vec<f32> = kept.weights_nk.iter().map(|weight| weight / self.options.scale).collect();
        self.gate.weigh_backward(&kept.scores_ne, experts, &kept.choice_nk, k, &weights_nk, dweights_nk, &mut dscores_ne);
        dclean_ne.iter_mut().zip(&dscores_ne).for_each(|(clean, score)| *clean += score);
        linear::weight_gradient(rows.x_nd, &dclean_ne, inputs, experts, self.spans.0.of_mut(gradient));
        linear::linear_add(&dclean_ne, self.logits_t.as_ref().expect("prepared for training"), dx_nd);
        if let (Some(noise_de), false) = (self.spans.1, kept.normal_ne.is_empty()) {
            let mut draw_ne = zeros();
            let std = self.options.noise_std;
            router::noisy_logits_backward(&kept.raw_noise_ne, &kept.normal_ne, std, &dscores_ne, &mut draw_ne);
            let mut slope_ne = zeros();
            activation::sigmoid(&kept.raw_noise_ne, &mut slope_ne);
            for ((draw, slope), ddeviation) in draw_ne.iter_mut().zip(&slope_ne).zip(&ddeviation_ne) {
                *draw += ddeviation * std * slope;
            }
            linear::weight_gradient(rows.x_nd, &draw_ne, inputs, experts, noise_de.of_mut(gradient));
            linear::linear_add(&draw_ne, self.noise_t.as_ref().expect("prepared for training"), dx_nd);
        }
        self.evidence_backward(rows, kept, &dclean_ne, auxiliary, gradient);
    }

    fn models(&self) -> Option<Evidence<'_>> {
        let switching = self.options.evidence.switching;
        let [lags_ep, bias_e, log_deviation_e] = self.evidence.as_ref()?;
        Some(Evidence { lags_ep, bias_e, log_deviation_e, switching })
    }

    /// Adds each row's log-posterior to its scores, and gives the sum of the negative log-evidence.
    fn gather_evidence(&self, rows: Rows<'_>, floats: &mut [f32], scores_ne: &mut [f32], mut keep: Option<&mut [f32]>) -> f64 {
        let Some(models) = self.models() else { return 0.0 };
        let (experts, width) = (self.experts(), rows.context_nc.len() / rows.count().max(1));
        let mut total = 0.0;
        for (pair, posterior) in rows.offsets.windows(2).zip(floats.chunks_exact_mut(experts)) {
            for row in pair[0]..pair[1] {
                total += models.step(&rows.context_nc[row * width..][..width], posterior, |l| l as f32);
                scores_ne[row * experts..][..experts].iter_mut().zip(&*posterior).for_each(|(score, l)| *score += l);
                if let Some(keep) = &mut keep {
                    keep[row * experts..][..experts].copy_from_slice(posterior);
                }
            }
        }
        total
    }

    fn evidence_backward(&self, rows: Rows<'_>, kept: &RouterKept, dclean_ne: &[f32], auxiliary: f32, gradient: &mut [f32]) {
        let (Some(models), Some(spans)) = (self.models(), self.spans.3) else { return };
        let (experts, n) = (self.experts(), rows.count());
        let width = rows.context_nc.len() / n.max(1);
        let dloss = f64::from(auxiliary * self.options.evidence.coeff) / n.max(1) as f64;
        let mut parts = spans.map(|span| vec![0.0f32; span.range().len()]);
        let [lags_ep, bias_e, log_deviation_e] = &mut parts;
        let mut into = EvidenceGradient { lags_ep, bias_e, log_deviation_e };
        let mut dposterior = vec![0.0; experts];
        for (pair, first) in rows.offsets.windows(2).zip(kept.posterior_se.chunks_exact(experts)) {
            dposterior.fill(0.0);
            for row in (pair[0]..pair[1]).rev() {
                let at = |row: usize| &kept.posterior_ne[row * experts..][..experts];
                let before = if row > pair[0] { at(row - 1) } else { first };
                let dscores = &dclean_ne[row * experts..][..experts];
                dposterior.iter_mut().zip(dscores).for_each(|(dl, dscore)| *dl += f64::from(*dscore));
                let signal = &rows.context_nc[row * width..][..width];
                models.step_backward(signal, before, at(row), dloss, &mut dposterior, &mut into);
            }
        }
        for (span, part) in spans.iter().zip(&parts) {
            span.of_mut(gradient).iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }

    fn choose(
        &self,
        rows: Rows<'_>,
        scores_ne: &[f32],
        select_ne: &mut [f32],
        counters: &mut [u64],
        mixture: usize,
        mut replay: Option<&mut Replay>,
        choice_nk: &mut [u32],
        weights_nk: &mut [f32],
        margins_n: &mut [f32],
    ) -> Result<(), ModelError> {
        let (experts, k) = (self.experts(), self.top_k());
        let failed = |error: router::NonFiniteLogit| ModelError::NonFiniteScore { row: error.row, expert: error.expert };
        router::all_finite(scores_ne, experts).map_err(failed)?;
        let every = self.options.strategy.kind().every;
        if !every {
            self.gate.select(scores_ne, experts, select_ne);
        }
        for (stream, (pair, counters)) in rows.offsets.windows(2).zip(counters.chunks_exact_mut(self.memory.len())).enumerate() {
            let last = self.memory.last_choice(counters);
            for row in pair[0]..pair[1] {
                let choice = &mut choice_nk[row * k..][..k];
                if every {
                    choice.iter_mut().enumerate().for_each(|(expert, choice)| *choice = expert as u32);
                    margins_n[row] = f32::INFINITY;
                } else {
                    let select = &mut select_ne[row * experts..][..experts];
                    select.iter_mut().zip(&self.bias_e).for_each(|(select, bias)| *select += bias);
                    if self.options.switch_cost > 0.0 {
                        last.iter()
                            .filter(|&&last| last > 0)
                            .for_each(|&last| select[last as usize - 1] += self.options.switch_cost);
                    }
                    margins_n[row] = router::choose(select, choice);
                }
                if let Some(forced) = replay.as_deref_mut().map(|replay| replay.next(mixture, stream, k)).transpose()?.flatten() {
                    choice.copy_from_slice(forced);
                }
                last.iter_mut().zip(&*choice).for_each(|(last, &expert)| *last = u64::from(expert) + 1);
            }
        }
        self.gate.weigh(scores_ne, experts, choice_nk, k, weights_nk);
        weights_nk.iter_mut().for_each(|weight| *weight *= self.options.scale);
        if let Some(replay) = replay {
            replay.weights(mixture, k, rows.offsets, weights_nk);
        }
        Ok(())
    }
}

fn sign(value: f64) -> f32 {
    if value == 0.0 { 0.0 } else { value.signum() as f32 }
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

/// Whether a strategy has a selection bias, given whether a rate was named.
pub fn has_bias(strategy: RoutingStrategy, named: bool) -> bool {
    match strategy.kind().bias {
        Bias::Never => false,
        Bias::Optional => named,
        Bias::Always => true,
    }
}
