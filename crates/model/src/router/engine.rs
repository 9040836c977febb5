//! The router at work: scores, choices and weights of packed rows, and their gradients.

use super::{Memory, Router, RouterOptions, row_draws};
use crate::{
    ModelError,
    balance::{Routed, RoutedGradient},
    gate::Gate,
    layer::{Need, Nudge, Pass, Rows, Scratch},
    trace::Replay,
    weights::Weight,
};
use foretoken_kernels::{
    activation,
    balance::SmoothLoad,
    evidence::{Evidence, EvidenceGradient},
    linear::{self, Panels},
    router,
};
use rand_distr::{Distribution, StandardNormal};
use std::sync::Arc;

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
    gate: Arc<dyn Gate>,
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
    pub(super) fn new(router: &Router, arena: &[f32], train: bool) -> Self {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        Self {
            options: router.options,
            gate: router.gate.clone(),
            spans: (router.gate_de, router.noise_de, router.bias_e, router.evidence),
            logits: pack(router.gate_de),
            noise: router.noise_de.map(pack),
            logits_t: train.then(|| transposed(router.gate_de)),
            noise_t: router.noise_de.filter(|_| train).map(transposed),
            bias_e: router.bias_e.map_or(Vec::new(), |bias| bias.of(arena).to_vec()),
            evidence: router.evidence.map(|spans| spans.map(|span| span.of(arena).to_vec())),
            memory: router.memory().0,
        }
    }

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
    ///
    /// # Errors
    /// A score that is not finite, or a forced choice that is not there.
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
    ///
    /// # Errors
    /// As [`RouterEngine::route`].
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
                if let Some(forced) =
                    replay.as_deref_mut().map(|replay| replay.next(mixture, stream, k, experts)).transpose()?.flatten()
                {
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
