//! A sparse mixture whose experts are themselves sequence layers.
//!
//! ```text
//! S_t = experts chosen for sample t,  G = their gate weights
//! y_t = Σ_{e ∈ S_t} G_e · expert_e(x_t | what its clock lets it see)  +  σ(x_t·w) · Σ shared(x_t)
//! ```
//! The state clock says what an expert's time is, with I_e = {t : e ∈ S_t}:
//!
//! | clock | an expert sees | before a sample |
//! |---|---|---|
//! | `routed` | I_e | – |
//! | `elapsed` | I_e | its state goes through the samples it missed, with zero input, in one exact step |
//! | `every` | all samples; only I_e is read | – |
//!
//! Experts without a state ignore the clock. A mixture inside an expert lives on that expert's time; with the clock `elapsed` the samples that
//! the outer mixture kept from it count. Expert dropout removes contributions while training, rescales the rest by 1/(1 − p), and never
//! removes a state advance.

mod config;
mod deal;
mod engine;

pub use config::{BIAS_RATE, Clock, LOAD_BALANCE_COEFF, MixtureConfig};
pub use engine::MixtureEngine;

use crate::{
    ModelError,
    layer::{Engine, Kind, Layer, LayerConfig, Registry},
    plain::{self, PlainPass, PlainState, Sample},
    router::{Router, keep_slots, row_draws},
    usage::UsageCounters,
    weights::{Layout, Weight, fan_in},
};
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
        "num_experts = 3\nrouting_strategy = 'softmax'\nexpert_dropout = 0.3\nimportance_coeff = 0.2\nz_loss_coeff = 0.1",
        "num_experts = 4\nrouting_strategy = 'noisy-top-k'\nload_balance_coeff = 0.0",
        "num_experts = 4\nrouting_strategy = 'noisy-top-k'\nnoise_std = 0.5\nexpert_dropout = 0.5\nload_balance_coeff = 0.3\n\
         importance_coeff = 0.4\nload_coeff = 0.6\nz_loss_coeff = 0.05\n\
         experts = [{ type = 's4d', states = 2 }, { type = 'swiglu', hidden = 7 }]",
        "num_experts = 2\ntop_k = 2\nexperts = [{ type = 'mixture', num_experts = 3, top_k = 1, load_balance_coeff = 0.2 }, { type = 's4d' }]",
        "num_experts = 4\nrenormalise = false\ngate_scale = 1.7\nclock = 'elapsed'\nexperts = [{ type = 's4d', states = 3 }]",
        "num_experts = 4\ntop_k = 1\nclock = 'every'\nexperts = [{ type = 's4d', states = 3 }, { type = 'swiglu' }]\nrenormalise = false",
        "num_experts = 5\nrouting_strategy = 'sigmoid'\ngate_scale = 2.5\nshared = [{ type = 'swiglu', hidden = 5 }]\nload_balance_coeff = 0.1",
        "num_experts = 4\nrouting_strategy = 'sigmoid'\nrenormalise = false\nbias_rate = 0.02\nclock = 'elapsed'\n\
         experts = [{ type = 'projected', width = 4, layer = { type = 's4d', states = 3 } }, { type = 'linear' }]",
        "num_experts = 4\nbias_rate = 0.01\nshared = [{ type = 's4d', states = 2 }, { type = 'swiglu' }]\nshared_gate = true\nimportance_coeff = 0.1",
        "num_experts = 4\ntop_k = 1\nswitch_cost = 0.4\nclock = 'elapsed'\nexperts = [{ type = 's4d', states = 3 }]",
        "num_experts = 3\ntop_k = 1\nswitch_cost = 0.3\nclock = 'every'\n\
         experts = [{ type = 'mixture', num_experts = 3, clock = 'elapsed', experts = [{ type = 's4d', states = 2 }] }]",
        "num_experts = 3\ntop_k = 1\nclock = 'every'\n\
         experts = [{ type = 'mixture', num_experts = 3, top_k = 1, switch_cost = 0.4 }]",
        "num_experts = 3\nclock = 'elapsed'\n\
         experts = [{ type = 'mixture', num_experts = 3, top_k = 1, clock = 'elapsed', experts = [{ type = 's4d', states = 2 }] }]",
        "num_experts = 3\ntop_k = 1\nrouting_strategy = 'evidence'\nevidence = { lags = 3, switching = 0.05, coeff = 0.4 }\n\
         experts = [{ type = 's4d', states = 2 }]",
        "num_experts = 4\nrouting_strategy = 'evidence'\nevidence = { lags = 2 }\nrenormalise = false\nswitch_cost = 0.2",
    ],
};

#[derive(Debug)]
struct Mixture {
    id: usize,
    input: usize,
    output: usize,
    clock: Clock,
    dropout: f32,
    noisy: bool,
    router: Router,
    experts: Vec<Expert>,
    shared: Vec<Expert>,
    shared_gate_d: Option<Weight>,
    trained: Arc<UsageCounters>,
}

#[derive(Debug)]
struct Expert {
    name: String,
    layer: Box<dyn Layer>,
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
    let router = layout.scope("router", |layout| Router::build(options, input, layout))?;
    let mut expert = |place: &str, index: usize, config: &LayerConfig| {
        let path = format!("{place}.{index}");
        // What the model is shown is given to the trunk alone.
        let built = layout.with_context(0, |layout| layout.scope(&path, |layout| registry.build(config, input, output, layout)));
        built.map(|layer| Expert { name: config.kind.clone(), layer }).map_err(|error| error.under(&path))
    };
    let experts = (0..config.num_experts)
        .map(|index| expert("experts", index, &config.experts[index % config.experts.len()]))
        .collect::<Result<Vec<_>, _>>()?;
    let shared =
        config.shared.iter().enumerate().map(|(index, shared)| expert("shared", index, shared)).collect::<Result<Vec<_>, _>>()?;
    if let Some(expert) = experts.iter().position(|expert| config.clock == Clock::Elapsed && !expert.layer.can_elapse()) {
        let expected = "an expert that knows what to do in a gap, as the clock is elapsed";
        return Err(ModelError::config(&format!("experts.{expert}.type"), expected, format!("`{}`", experts[expert].name)));
    }
    Ok(Box::new(Mixture {
        id,
        input,
        output,
        clock: config.clock,
        dropout: config.expert_dropout,
        noisy: config.routing_strategy.kind().noisy,
        router,
        experts,
        shared,
        shared_gate_d: config.shared_gate.then(|| layout.matrix("shared_gate", [input, 1], fan_in(input))),
        trained: Arc::new(UsageCounters::new(config.num_experts)),
    }))
}

impl Layer for Mixture {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        Box::new(MixtureEngine::new(self, arena, train))
    }

    fn active_parameters(&self) -> usize {
        let mut sizes: Vec<usize> = self.experts.iter().map(|expert| expert.layer.active_parameters()).collect();
        // Experts may differ: the k largest are what a sample can touch at most.
        sizes.sort_unstable_by(|a, b| b.cmp(a));
        let shared: usize = self.shared.iter().map(|expert| expert.layer.active_parameters()).sum();
        let gate = self.shared_gate_d.map_or(0, |weight| weight.range().len());
        let top_k = match self.clock {
            Clock::Every => sizes.len(),
            Clock::Routed | Clock::Elapsed => self.router.memory().0.top_k(),
        };
        self.router.parameters() + sizes.iter().take(top_k).sum::<usize>() + shared + gate
    }

    fn can_elapse(&self) -> bool {
        self.experts.iter().chain(&self.shared).all(|expert| expert.layer.can_elapse())
    }

    fn plain_state(&self) -> PlainState {
        let (memory, evidence) = self.router.memory();
        PlainState {
            floats: vec![0.0; evidence],
            counters: vec![0; memory.len()],
            children: self.experts.iter().chain(&self.shared).map(|expert| expert.layer.plain_state()).collect(),
        }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64> {
        let row = pass.row(self.id);
        let memory = self.router.memory().0;
        let mut draws = pass.training.map(|(seed, step)| row_draws(seed, step, self.id, row));
        let forced = pass.forced.as_ref().map(|forced| forced[self.id][row].clone());
        let routed = self.router.plain_route(arena, sample, state, draws.as_mut(), forced.as_deref());
        let mut kept = vec![true; routed.choice.len()];
        if let Some((seed, step)) = pass.training.filter(|_| self.dropout > 0.0) {
            let draws = &mut row_draws(seed, step, self.id, row);
            keep_slots(draws, self.noisy, self.experts.len(), self.dropout, &mut kept);
        }
        let rescale = if pass.training.is_some() { 1.0 / (1.0 - f64::from(self.dropout)) } else { 1.0 };
        let (choice, weights) = (routed.choice.clone(), routed.weights.clone());
        pass.routed[self.id].push(routed);
        let mut missed = vec![0; choice.len()];
        memory.pass(&mut state.counters, sample.gap as usize, &choice, |slot, gap| missed[slot] = gap as u64);

        let mut y = vec![0.0; self.output];
        for (index, expert) in self.experts.iter().enumerate() {
            let slot = choice.iter().position(|&chosen| chosen as usize == index);
            let gap = match (self.clock, slot) {
                (Clock::Every, _) => sample.gap,
                (Clock::Routed, Some(_)) => 0,
                (Clock::Elapsed, Some(slot)) => missed[slot],
                (Clock::Routed | Clock::Elapsed, None) => continue,
            };
            let sample = Sample { x: sample.x, gap, context: &[] };
            let out = expert.layer.plain_step(arena, sample, &mut state.children[index], pass);
            if let Some(slot) = slot.filter(|&slot| kept[slot]) {
                y.iter_mut().zip(out).for_each(|(y, out)| *y += weights[slot] * rescale * out);
            }
        }
        let gate =
            self.shared_gate_d.map_or(1.0, |weight| plain::sigmoid(plain::multiply(sample.x, &arena[weight.range()], 1)[0]));
        for (expert, state) in self.shared.iter().zip(&mut state.children[self.experts.len()..]) {
            let out = expert.layer.plain_step(arena, Sample { context: &[], ..sample }, state, pass);
            y.iter_mut().zip(out).for_each(|(y, out)| *y += gate * out);
        }
        y
    }

    fn plain_auxiliary(&self, pass: &PlainPass) -> f64 {
        let own = pass.routed.get(self.id).filter(|rows| !rows.is_empty()).map_or(0.0, |rows| self.router.plain_auxiliary(rows));
        own + self.experts.iter().chain(&self.shared).map(|expert| expert.layer.plain_auxiliary(pass)).sum::<f64>()
    }
}
