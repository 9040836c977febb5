//! A sparse mixture whose experts are themselves sequence layers.
//!
//! ```text
//! S_t = experts chosen for sample t,  G = their gate weights
//! y_t = Σ_{e ∈ S_t} G_e · expert_e(x_t | the earlier samples given to e)
//! ```
//! The state clock is `Routed`: an expert's time advances only on its own samples, I_e = {t : e ∈ S_t}; its convolution taps and
//! recurrent state see that sub-sequence and nothing else. Expert dropout removes contributions while training, rescales the
//! rest by 1/(1 − p), and never removes a state advance. Balance: Switch loss (Fedus et al. 2021, arXiv:2101.03961),
//! L = E·Σ f_i·P_i, 1 at perfect balance.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Saved, Scratch, State},
    plain::{PlainPass, PlainState},
    router::{Router, RouterEngine, RouterKept, RoutingStrategy, keep_slots, row_draws},
    usage::UsageCounters,
    weights::{Layout, positive},
};
use foretoken_kernels::{experts, router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// `type = "mixture"`.
pub const KIND: Kind = Kind {
    name: "mixture",
    build,
    examples: &[
        "",
        "num_experts = 4\ntop_k = 1\nload_balance_coeff = 0.5\nexperts = [{ type = 's4d', states = 3 }]",
        "num_experts = 5\ntop_k = 3\nexpert_dropout = 0.4\nexperts = [{ type = 'swiglu' }, { type = 's4d', states = 4 }]",
        "num_experts = 3\nrouting_strategy = 'softmax'\nexperts = [{ type = 's4d', states = 3 }, { type = 'swiglu' }]",
        "num_experts = 3\nrouting_strategy = 'softmax'\nexpert_dropout = 0.3",
        "num_experts = 4\nrouting_strategy = 'noisy-top-k'\nload_balance_coeff = 0.0",
        "num_experts = 4\nrouting_strategy = 'noisy-top-k'\nnoise_std = 0.5\nexpert_dropout = 0.5\nload_balance_coeff = 0.3\n\
         experts = [{ type = 's4d', states = 2 }, { type = 'swiglu', hidden = 7 }]",
        "num_experts = 2\ntop_k = 2\nexperts = [{ type = 'mixture', num_experts = 3, top_k = 1, load_balance_coeff = 0.2 }, { type = 's4d' }]",
    ],
};

/// Coefficient of the balance loss where none is given (Fedus et al. 2021).
pub const LOAD_BALANCE_COEFF: f32 = 0.01;

/// Options of a mixture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MixtureConfig {
    /// Number of experts E.
    pub num_experts: usize,
    /// Experts chosen a sample, k; 2 (or E if less) if absent. `softmax` uses every expert.
    pub top_k: Option<usize>,
    /// How experts are chosen.
    pub routing_strategy: RoutingStrategy,
    /// Weight of the Switch balance loss; 0.01 if absent, 0 where every expert is always chosen.
    pub load_balance_coeff: Option<f32>,
    /// Probability that a chosen expert's contribution is dropped while training.
    pub expert_dropout: f32,
    /// Scale of the learned noise of `noisy-top-k`; 1 if absent.
    pub noise_std: Option<f32>,
    /// The experts' layers; a shorter list is repeated until there are `num_experts`.
    pub experts: Vec<LayerConfig>,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            num_experts: 8,
            top_k: None,
            routing_strategy: RoutingStrategy::TopK,
            load_balance_coeff: None,
            expert_dropout: 0.0,
            noise_std: None,
            experts: vec![LayerConfig::new("swiglu")],
        }
    }
}

/// A mixture's options, checked: what cannot be wrong any more.
#[derive(Clone, Copy, Debug)]
struct Checked {
    top_k: usize,
    load_balance_coeff: f32,
    expert_dropout: f32,
    noise_std: f32,
}

impl MixtureConfig {
    fn check(&self) -> Result<Checked, ModelError> {
        let experts = positive("num_experts", self.num_experts)?;
        let softmax = self.routing_strategy == RoutingStrategy::Softmax;
        let top_k = self.top_k.unwrap_or(if softmax { experts } else { experts.min(2) });
        if top_k == 0 || top_k > experts {
            return Err(ModelError::config("top_k", format!("1 to num_experts ({experts})"), top_k));
        }
        if softmax && top_k != experts {
            return Err(ModelError::config(
                "top_k",
                format!("none or num_experts ({experts}), as softmax uses every expert"),
                top_k,
            ));
        }
        let dense = top_k == experts;
        let load_balance_coeff = self.load_balance_coeff.unwrap_or(if dense { 0.0 } else { LOAD_BALANCE_COEFF });
        if !(load_balance_coeff.is_finite() && load_balance_coeff >= 0.0) {
            return Err(ModelError::config("load_balance_coeff", "a finite number >= 0", load_balance_coeff));
        }
        if dense && load_balance_coeff > 0.0 {
            let expected = "0: with every expert chosen the Switch loss is constant and has no gradient";
            return Err(ModelError::config("load_balance_coeff", expected, load_balance_coeff));
        }
        if !(0.0..1.0).contains(&self.expert_dropout) {
            return Err(ModelError::config("expert_dropout", "0 <= p < 1", self.expert_dropout));
        }
        let noise_std = self.noise_std.unwrap_or(1.0);
        if self.noise_std.is_some() && self.routing_strategy != RoutingStrategy::NoisyTopK {
            return Err(ModelError::config("noise_std", "routing_strategy = \"noisy-top-k\" with it", noise_std));
        }
        if !(noise_std.is_finite() && noise_std >= 0.0) {
            return Err(ModelError::config("noise_std", "a finite number >= 0", noise_std));
        }
        if self.experts.is_empty() || self.experts.len() > experts {
            let expected = format!("1 to num_experts ({experts}) layers");
            return Err(ModelError::config("experts", expected, self.experts.len()));
        }
        Ok(Checked { top_k, load_balance_coeff, expert_dropout: self.expert_dropout, noise_std })
    }
}

#[derive(Debug)]
struct Mixture {
    id: usize,
    output: usize,
    options: Checked,
    noisy: bool,
    router: Router,
    experts: Vec<(String, Box<dyn Layer>)>,
    trained: Arc<UsageCounters>,
}

fn build(
    registry: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let config: MixtureConfig = config.read()?;
    let options = config.check()?;
    let id = layout.next_mixture();
    let strategy = config.routing_strategy;
    let router = layout
        .scope("router", |layout| Router::build(strategy, input, config.num_experts, options.top_k, options.noise_std, layout));
    let expert = |index: usize| {
        let expert = &config.experts[index % config.experts.len()];
        let built = layout.scope(&format!("experts.{index}"), |layout| registry.build(expert, input, output, layout));
        built.map(|layer| (expert.kind.clone(), layer)).map_err(|error| error.under(&format!("experts.{index}")))
    };
    Ok(Box::new(Mixture {
        id,
        output,
        options,
        noisy: strategy == RoutingStrategy::NoisyTopK,
        router,
        experts: (0..config.num_experts).map(expert).collect::<Result<_, _>>()?,
        trained: Arc::new(UsageCounters::new(config.num_experts)),
    }))
}

impl Layer for Mixture {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        Box::new(MixtureEngine {
            id: self.id,
            options: self.options,
            noisy: self.noisy,
            output: self.output,
            router: self.router.prepare(arena, train),
            names: self.experts.iter().map(|(name, _)| name.clone()).collect(),
            experts: self.experts.iter().map(|(_, expert)| expert.prepare(arena, train)).collect(),
            trained: self.trained.clone(),
            live: UsageCounters::new(self.experts.len()),
        })
    }

    fn active_parameters(&self) -> usize {
        let mut sizes: Vec<usize> = self.experts.iter().map(|(_, expert)| expert.active_parameters()).collect();
        // Experts may differ: the k largest are what a sample can touch at most.
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        self.router.parameters() + sizes.iter().take(self.options.top_k).sum::<usize>()
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: Vec::new(), children: self.experts.iter().map(|(_, expert)| expert.plain_state()).collect() }
    }

    fn plain_step(&self, arena: &[f64], x: &[f64], state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64> {
        let (row, k) = (pass.row(self.id), self.options.top_k);
        let mut draws = pass.training.map(|(seed, step)| row_draws(seed, step, self.id, row));
        let scores = self.router.plain_scores(arena, x, draws.as_mut());
        let mut choice: Vec<u32> = (0..self.experts.len() as u32).collect();
        if k < choice.len() || self.noisy {
            choice.sort_by(|&a, &b| scores[b as usize].total_cmp(&scores[a as usize]).then(a.cmp(&b)));
        }
        choice.truncate(k);
        if let Some(forced) = &pass.forced {
            choice.clone_from(&forced[self.id][row]);
        }
        let top = choice.iter().map(|&e| scores[e as usize]).fold(f64::NEG_INFINITY, f64::max);
        let exp: Vec<f64> = choice.iter().map(|&e| (scores[e as usize] - top).exp()).collect();
        let total: f64 = exp.iter().sum();
        let mut kept = vec![true; k];
        let dropout = self.options.expert_dropout;
        if let Some((seed, step)) = pass.training.filter(|_| dropout > 0.0) {
            keep_slots(&mut row_draws(seed, step, self.id, row), self.noisy, self.experts.len(), dropout, &mut kept);
        }
        pass.scores[self.id].push(scores);
        pass.choices[self.id].push(choice.clone());
        let rescale = if pass.training.is_some() { 1.0 / (1.0 - f64::from(dropout)) } else { 1.0 };
        let mut y = vec![0.0; self.output];
        for ((&expert, weight), kept) in choice.iter().zip(exp).zip(kept) {
            let state = &mut state.children[expert as usize];
            let out = self.experts[expert as usize].1.plain_step(arena, x, state, pass);
            if kept {
                y.iter_mut().zip(out).for_each(|(y, out)| *y += weight / total * rescale * out);
            }
        }
        y
    }
}

/// A mixture with packed weights.
pub struct MixtureEngine {
    id: usize,
    options: Checked,
    noisy: bool,
    output: usize,
    router: RouterEngine,
    names: Vec<String>,
    experts: Vec<Box<dyn Engine>>,
    trained: Arc<UsageCounters>,
    live: UsageCounters,
}

/// What a mixture chose, row by row of one call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Trace {
    /// One entry a choice.
    pub choices: Vec<TraceEntry>,
}

/// One choice.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TraceEntry {
    /// Number of the mixture, in the order of building.
    pub mixture: usize,
    /// Row of the mixture's call.
    pub row: usize,
    /// The expert.
    pub expert: u32,
    /// Its gate weight.
    pub weight: f32,
}

/// How the rows of a call are dealt to the experts.
struct Deal<'a> {
    order: &'a mut [u32],
    place: &'a mut [u32],
    spans: &'a mut [usize],
    segments: &'a mut [usize],
}

struct Kept {
    router: RouterKept,
    scaled_nk: Vec<f32>,
    keep_nk: Vec<bool>,
    order: Vec<u32>,
    place: Vec<u32>,
    spans: Vec<usize>,
    segments: Vec<Vec<usize>>,
    grouped_ad: Vec<f32>,
    out_ao: Vec<f32>,
    experts: Vec<Saved>,
    counts: Vec<u64>,
}

impl MixtureEngine {
    /// Number of the mixture in its model, in the order of building.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What kind of layer each expert is.
    pub fn expert_names(&self) -> &[String] {
        &self.names
    }

    /// Experts chosen a sample.
    pub fn top_k(&self) -> usize {
        self.options.top_k
    }

    /// Weight of the balance loss.
    pub fn load_balance_coeff(&self) -> f32 {
        self.options.load_balance_coeff
    }

    /// The router.
    pub fn router(&self) -> &RouterEngine {
        &self.router
    }

    /// Counts of `run`: a live stream's own.
    pub fn live_usage(&self) -> &UsageCounters {
        &self.live
    }

    /// Counts of training passes; evaluation never touches them.
    pub fn training_usage(&self) -> &UsageCounters {
        &self.trained
    }

    fn deal(&self, choice_nk: &[u32], deal: &mut Deal<'_>) {
        experts::group(choice_nk, self.experts.len(), deal.order, deal.spans);
        experts::invert(deal.order, deal.place);
    }
}

impl Engine for MixtureEngine {
    fn widths(&self) -> (usize, usize) {
        (self.experts[0].widths().0, self.output)
    }

    fn state(&self, streams: usize) -> State {
        State { floats: Vec::new(), children: self.experts.iter().map(|expert| expert.state(streams)).collect() }
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        let assignments = rows * self.options.top_k;
        let (input, output) = self.widths();
        let experts = self.experts.iter().fold(Need::default(), |need, expert| need.or(expert.scratch(rows, streams)));
        let own = Need {
            floats: assignments * (input + output),
            choices: 2 * assignments,
            offsets: self.experts.len() + 1 + streams + 1,
        };
        experts.plus(own).plus(self.router.scratch(rows))
    }

    fn run(
        &self,
        x_nd: &[f32],
        offsets: &[usize],
        state: &mut State,
        y_no: &mut [f32],
        scratch: &mut Scratch<'_>,
    ) -> Result<(), ModelError> {
        let (rows, k) = (offsets[offsets.len() - 1], self.options.top_k);
        let (input, output) = self.widths();
        let choice = self.router.route(x_nd, scratch)?;
        let mut deal = Deal {
            order: scratch.choices(rows * k),
            place: scratch.choices(rows * k),
            spans: scratch.offsets(self.experts.len() + 1),
            segments: scratch.offsets(offsets.len()),
        };
        self.deal(choice.experts_nk, &mut deal);
        let (grouped_ad, out_ao) = (scratch.floats(rows * k * input), scratch.floats(rows * k * output));
        experts::gather(x_nd, input, k, deal.order, grouped_ad);
        for (index, (expert, state)) in self.experts.iter().zip(&mut state.children).enumerate() {
            let span = deal.spans[index]..deal.spans[index + 1];
            if span.is_empty() {
                continue;
            }
            experts::segments_of(&deal.order[span.clone()], k, offsets, deal.segments);
            let x = &grouped_ad[span.start * input..span.end * input];
            let y = &mut out_ao[span.start * output..span.end * output];
            expert.run(x, deal.segments, state, y, &mut scratch.rest())?;
        }
        experts::combine(out_ao, output, k, deal.place, choice.weights_nk, y_no);
        self.live.record(rows, choice.near_ties, choice.experts_nk, choice.weights_nk);
        if let Some(trace) = &mut scratch.trace {
            let entries = choice.experts_nk.iter().zip(choice.weights_nk).enumerate();
            trace.choices.extend(entries.map(|(place, (&expert, &weight))| TraceEntry {
                mixture: self.id,
                row: place / k,
                expert,
                weight,
            }));
        }
        Ok(())
    }

    fn forward(
        &self,
        x_nd: &[f32],
        offsets: &[usize],
        state: &mut State,
        y_no: &mut [f32],
        pass: &mut Pass,
    ) -> Result<Saved, ModelError> {
        let (rows, k, count) = (offsets[offsets.len() - 1], self.options.top_k, self.experts.len());
        let (input, output) = self.widths();
        let routed = self.router.forward(x_nd, self.id, pass)?;
        let mut kept = Kept {
            scaled_nk: routed.weights_nk.clone(),
            keep_nk: Vec::new(),
            router: routed,
            order: vec![0; rows * k],
            place: vec![0; rows * k],
            spans: vec![0; count + 1],
            segments: Vec::with_capacity(count),
            grouped_ad: vec![0.0; rows * k * input],
            out_ao: vec![0.0; rows * k * output],
            experts: Vec::with_capacity(count),
            counts: Vec::new(),
        };
        let dropout = self.options.expert_dropout;
        if pass.training && dropout > 0.0 {
            kept.keep_nk = vec![true; rows * k];
            for (row, (keep, scaled)) in kept.keep_nk.chunks_exact_mut(k).zip(kept.scaled_nk.chunks_exact_mut(k)).enumerate() {
                keep_slots(&mut row_draws(pass.seed, pass.step, self.id, row), self.noisy, count, dropout, keep);
                for (scaled, keep) in scaled.iter_mut().zip(keep) {
                    *scaled *= if *keep { 1.0 / (1.0 - dropout) } else { 0.0 };
                }
            }
        }
        let mut segments = vec![0; offsets.len()];
        let mut deal = Deal { order: &mut kept.order, place: &mut kept.place, spans: &mut kept.spans, segments: &mut segments };
        self.deal(&kept.router.choice_nk, &mut deal);
        experts::gather(x_nd, input, k, deal.order, &mut kept.grouped_ad);
        for (index, (expert, state)) in self.experts.iter().zip(&mut state.children).enumerate() {
            let span = deal.spans[index]..deal.spans[index + 1];
            experts::segments_of(&deal.order[span.clone()], k, offsets, deal.segments);
            let x = &kept.grouped_ad[span.start * input..span.end * input];
            let y = &mut kept.out_ao[span.start * output..span.end * output];
            kept.experts.push(expert.forward(x, deal.segments, state, y, pass)?);
            kept.segments.push(deal.segments.to_vec());
        }
        kept.counts = kept.spans.windows(2).map(|pair| (pair[1] - pair[0]) as u64).collect();
        experts::combine(&kept.out_ao, output, k, &kept.place, &kept.scaled_nk, y_no);
        if pass.training {
            self.trained.record(rows, kept.router.near_ties, &kept.router.choice_nk, &kept.router.weights_nk);
            if self.options.load_balance_coeff > 0.0 {
                pass.auxiliary +=
                    self.options.load_balance_coeff * router::switch_loss(&kept.router.scores_ne, count, &kept.counts);
            }
        }
        Ok(Box::new((kept, pass.training)))
    }

    fn backward(
        &self,
        x_nd: &[f32],
        offsets: &[usize],
        saved: Saved,
        dy_no: &[f32],
        dx_nd: &mut [f32],
        gradient: &mut [f32],
        pass: &BackwardPass,
    ) {
        let (kept, training) = *saved.downcast::<(Kept, bool)>().expect("saved by this layer");
        let (rows, k, count) = (offsets[offsets.len() - 1], self.options.top_k, self.experts.len());
        let (input, output) = self.widths();
        let (mut dout_ao, mut dgrouped_ad) = (vec![0.0; rows * k * output], vec![0.0; rows * k * input]);
        let mut dweights_nk = vec![0.0; rows * k];
        experts::combine_backward(&kept.out_ao, output, k, &kept.place, &kept.scaled_nk, dy_no, &mut dout_ao, &mut dweights_nk);
        for (dweight, keep) in dweights_nk.iter_mut().zip(&kept.keep_nk) {
            *dweight *= if *keep { 1.0 / (1.0 - self.options.expert_dropout) } else { 0.0 };
        }
        for (index, (expert, saved)) in self.experts.iter().zip(kept.experts).enumerate() {
            let span = kept.spans[index]..kept.spans[index + 1];
            if span.is_empty() {
                continue;
            }
            let (inputs, outputs) = (span.start * input..span.end * input, span.start * output..span.end * output);
            expert.backward(
                &kept.grouped_ad[inputs.clone()],
                &kept.segments[index],
                saved,
                &dout_ao[outputs],
                &mut dgrouped_ad[inputs],
                gradient,
                pass,
            );
        }
        dx_nd.fill(0.0);
        experts::gather_backward(&dgrouped_ad, input, k, &kept.order, dx_nd);
        let mut dscores_ne = vec![0.0; rows * count];
        if training && self.options.load_balance_coeff > 0.0 {
            let scale = self.options.load_balance_coeff * pass.auxiliary;
            router::switch_loss_backward(&kept.router.scores_ne, count, &kept.counts, scale, &mut dscores_ne);
        }
        self.router.backward(x_nd, &kept.router, &dweights_nk, &mut dscores_ne, dx_nd, gradient);
    }

    fn mixtures(&self) -> Vec<&MixtureEngine> {
        std::iter::once(self).chain(self.experts.iter().flat_map(|expert| expert.mixtures())).collect()
    }
}
