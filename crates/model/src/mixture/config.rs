//! Options of a mixture, and what cannot be among them.

use crate::{
    ModelError,
    balance::Balance,
    layer::LayerConfig,
    router::{EvidenceConfig, RouterOptions, RoutingStrategy},
    weights::positive,
};
use serde::{Deserialize, Serialize};

/// Coefficient of the Switch loss where none is given (Fedus et al. 2021).
pub const LOAD_BALANCE_COEFF: f32 = 0.01;
/// Step of a selection bias where none is given (arXiv:2408.15664).
pub const BIAS_RATE: f32 = 1e-3;

/// What an expert's time is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Clock {
    /// Its own samples only: taps, recurrent state and positions see the sub-sequence it was given.
    #[default]
    Routed,
    /// As routed, but before a sample its state first goes through the samples it missed: with zero input where it does not vary in time, else by
    /// what its layer says it does in a gap.
    Elapsed,
    /// Every sample: every expert runs on all of them, and only the chosen ones are read.
    Every,
}

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
    /// Whether the chosen weights are made to sum to one; true if absent.
    pub renormalise: Option<bool>,
    /// Factor of every gate weight (DeepSeek's routed scaling factor); 1 if absent.
    pub gate_scale: Option<f32>,
    /// Weight of the Switch balance loss; 0.01 if absent, 0 where every expert is always chosen or a bias balances.
    pub load_balance_coeff: Option<f32>,
    /// Weight of the squared variation of the importance.
    pub importance_coeff: f32,
    /// Weight of the squared variation of the smooth load; `noisy-top-k` only.
    pub load_coeff: f32,
    /// Weight of the router's z-loss.
    pub z_loss_coeff: f32,
    /// Step of the selection bias against the load: `sigmoid` (0.001 if absent) and `top-k` (no bias if absent).
    pub bias_rate: Option<f32>,
    /// Probability that a chosen expert's contribution is dropped while training.
    pub expert_dropout: f32,
    /// Scale of the learned noise of `noisy-top-k`; 1 if absent.
    pub noise_std: Option<f32>,
    /// What a newcomer must be better by to replace a chosen expert; 0 is no hysteresis.
    pub switch_cost: f32,
    /// The experts' own models of the signal; `evidence` only.
    pub evidence: Option<EvidenceConfig>,
    /// What an expert's time is.
    pub clock: Clock,
    /// The experts' layers; a shorter list is repeated until there are `num_experts`.
    pub experts: Vec<LayerConfig>,
    /// Experts that every sample goes through besides.
    pub shared: Vec<LayerConfig>,
    /// Scales what the shared experts say by σ(x·w) (Qwen2-MoE, Time-MoE).
    pub shared_gate: bool,
}

impl Default for MixtureConfig {
    fn default() -> Self {
        Self {
            num_experts: 8,
            top_k: None,
            routing_strategy: RoutingStrategy::TopK,
            renormalise: None,
            gate_scale: None,
            load_balance_coeff: None,
            importance_coeff: 0.0,
            load_coeff: 0.0,
            z_loss_coeff: 0.0,
            bias_rate: None,
            expert_dropout: 0.0,
            noise_std: None,
            switch_cost: 0.0,
            evidence: None,
            clock: Clock::Routed,
            experts: vec![LayerConfig::new("swiglu")],
            shared: Vec::new(),
            shared_gate: false,
        }
    }
}

fn at_least_zero(field: &str, value: f32) -> Result<f32, ModelError> {
    if value.is_finite() && value >= 0.0 { Ok(value) } else { Err(ModelError::config(field, "a finite number >= 0", value)) }
}

/// Refuses an option that this strategy would ignore.
fn only(field: &str, given: bool, fits: bool, expected: &str, found: impl ToString) -> Result<(), ModelError> {
    if given && !fits { Err(ModelError::config(field, expected, found)) } else { Ok(()) }
}

/// Most experts: what follows what is counted for every pair of them.
const MOST_EXPERTS: usize = 1024;

impl MixtureConfig {
    /// Checks the options; gives what the router is built from.
    pub(super) fn check(&self) -> Result<RouterOptions, ModelError> {
        let experts = positive("num_experts", self.num_experts)?;
        if experts > MOST_EXPERTS {
            return Err(ModelError::config("num_experts", format!("at most {MOST_EXPERTS}"), experts));
        }
        let strategy = self.routing_strategy;
        let kind = strategy.kind();
        let top_k = self.top_k.unwrap_or(if kind.every { experts } else { experts.min(2) });
        if top_k == 0 || top_k > experts {
            return Err(ModelError::config("top_k", format!("1 to num_experts ({experts})"), top_k));
        }
        if kind.every && top_k != experts {
            let expected = format!("none or num_experts ({experts}), as softmax uses every expert");
            return Err(ModelError::config("top_k", expected, top_k));
        }
        let dense = top_k == experts;
        let renormalise = self.renormalise.unwrap_or(true);
        only("renormalise", self.renormalise.is_some(), kind.plain_weights, "top-k, sigmoid or evidence with it", renormalise)?;
        let scale = self.gate_scale.unwrap_or(1.0);
        if !(scale.is_finite() && scale > 0.0) {
            return Err(ModelError::config("gate_scale", "a finite number > 0", scale));
        }
        let biased = kind.bias.is_used(self.bias_rate.is_some());
        let rate = at_least_zero("bias_rate", self.bias_rate.unwrap_or(BIAS_RATE))?;
        only("bias_rate", self.bias_rate.is_some(), biased, "routing_strategy = \"top-k\" or \"sigmoid\" with it", rate)?;
        let moot = "none: with every expert chosen a bias chooses nothing";
        only("bias_rate", self.bias_rate.is_some(), !dense, moot, rate)?;
        let default = if dense || biased { 0.0 } else { LOAD_BALANCE_COEFF };
        let switch = at_least_zero("load_balance_coeff", self.load_balance_coeff.unwrap_or(default))?;
        let constant = "0: with every expert chosen the Switch loss is constant and has no gradient";
        only("load_balance_coeff", switch > 0.0, !dense, constant, switch)?;
        let load = at_least_zero("load_coeff", self.load_coeff)?;
        let noisy = "routing_strategy = \"noisy-top-k\" with it, and fewer experts chosen than there are";
        only("load_coeff", load > 0.0, kind.noisy && !dense, noisy, load)?;
        let noise_std = at_least_zero("noise_std", self.noise_std.unwrap_or(1.0))?;
        only("noise_std", self.noise_std.is_some(), kind.noisy, "routing_strategy = \"noisy-top-k\" with it", noise_std)?;
        let switch_cost = at_least_zero("switch_cost", self.switch_cost)?;
        only("switch_cost", switch_cost > 0.0, !dense, "0: with every expert chosen nothing switches", switch_cost)?;
        let apart = "0 beside load_coeff: the smooth load knows no hysteresis";
        only("switch_cost", switch_cost > 0.0, load == 0.0, apart, switch_cost)?;
        only("evidence", self.evidence.is_some(), kind.evidence, "routing_strategy = \"evidence\" with it", "evidence")?;
        let evidence = self.evidence.unwrap_or_default();
        positive("evidence.lags", evidence.lags)?;
        at_least_zero("evidence.coeff", evidence.coeff)?;
        if !(evidence.switching > 0.0 && evidence.switching < 1.0) {
            return Err(ModelError::config("evidence.switching", "0 < p < 1", evidence.switching));
        }
        if !(0.0..1.0).contains(&self.expert_dropout) {
            return Err(ModelError::config("expert_dropout", "0 <= p < 1", self.expert_dropout));
        }
        if self.experts.is_empty() || self.experts.len() > experts {
            let expected = format!("1 to num_experts ({experts}) layers");
            return Err(ModelError::config("experts", expected, self.experts.len()));
        }
        only("shared_gate", self.shared_gate, !self.shared.is_empty(), "shared experts with it", "none")?;
        let importance = at_least_zero("importance_coeff", self.importance_coeff)?;
        let learns = top_k > 1 || !renormalise || !kind.plain_weights && kind.every;
        let constant = "0, or renormalise = false: one expert with weight 1 has an importance without gradient";
        only("importance_coeff", importance > 0.0, learns, constant, importance)?;
        let balance = Balance { switch, importance, load, z: at_least_zero("z_loss_coeff", self.z_loss_coeff)? };
        let bias_rate = biased.then_some(rate);
        Ok(RouterOptions { strategy, experts, top_k, renormalise, scale, noise_std, switch_cost, bias_rate, evidence, balance })
    }
}
