//! Gates: how the scores of a row become a choice of experts and their weights. One gate is one file and one line here.

mod evidence;
mod noisy_top_k;
mod sigmoid;
mod softmax;
mod top_k;

use foretoken_kernels::router;
use serde::{Deserialize, Serialize};

/// What a gate is built from.
#[derive(Clone, Copy, Debug)]
pub struct GateOptions {
    /// Whether the weights of the chosen experts are made to sum to one.
    pub renormalise: bool,
    /// Whether a selection bias is added to what is compared.
    pub biased: bool,
}

/// What a routing strategy is, apart from its arithmetic.
#[derive(Clone, Copy, Debug)]
pub struct GateKind {
    /// Builds the arithmetic.
    pub build: fn(GateOptions) -> Box<dyn Gate>,
    /// Every expert is always chosen.
    pub every: bool,
    /// Scores get learned noise while training.
    pub noisy: bool,
    /// The chosen weights can be left as they are, without renormalisation.
    pub plain_weights: bool,
    /// A selection bias: never, if asked for, or always.
    pub bias: Bias,
    /// Scores also hold the evidence that each expert's own model of the signal has gathered.
    pub evidence: bool,
}

/// Whether a gate has a selection bias.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bias {
    /// It cannot have one.
    Never,
    /// Where a rate is given.
    Optional,
    /// Always.
    Always,
}

impl Bias {
    /// Whether there is one, given whether a rate was named.
    pub fn is_used(self, named: bool) -> bool {
        match self {
            Self::Never => false,
            Self::Optional => named,
            Self::Always => true,
        }
    }
}

macro_rules! gates {
    ($($(#[$doc:meta])* $name:ident => $file:ident,)*) => {
        /// How experts are chosen.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
        #[serde(rename_all = "kebab-case")]
        pub enum RoutingStrategy {
            $($(#[$doc])* $name,)*
        }

        impl RoutingStrategy {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// What it is.
            pub fn kind(self) -> &'static GateKind {
                match self {
                    $(Self::$name => &$file::KIND,)*
                }
            }
        }
    };
}

gates! {
    /// Every expert, weighted by the softmax of all scores.
    Softmax => softmax,
    /// The k best, weighted by the softmax of their scores.
    #[default]
    TopK => top_k,
    /// Top-k of scores with learned noise while training (Shazeer et al. 2017, arXiv:1701.06538).
    NoisyTopK => noisy_top_k,
    /// The k best by sigmoid score plus selection bias, weighted without the bias (DeepSeek-V3, arXiv:2412.19437).
    Sigmoid => sigmoid,
    /// Top-k of scores that hold the log-posterior of each expert's own model of the signal.
    Evidence => evidence,
}

impl std::fmt::Display for RoutingStrategy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.serialize(f)
    }
}

/// The arithmetic of a gate, over rows of `experts` scores with `k` chosen.
pub trait Gate: std::fmt::Debug + Send + Sync {
    /// What is compared to choose, before a selection bias and a switching cost are added.
    fn select(&self, scores_ne: &[f32], _experts: usize, select_ne: &mut [f32]) {
        select_ne.copy_from_slice(scores_ne);
    }

    /// Weights of the chosen.
    fn weigh(&self, scores_ne: &[f32], experts: usize, choice_nk: &[u32], k: usize, weights_nk: &mut [f32]);

    /// Adds the scores' gradient.
    fn weigh_backward(
        &self,
        scores_ne: &[f32],
        experts: usize,
        choice_nk: &[u32],
        k: usize,
        weights_nk: &[f32],
        dweights_nk: &[f32],
        dscores_ne: &mut [f32],
    );

    /// Each expert's probability, each row summing to one: the P of the Switch loss.
    fn distribution(&self, scores_ne: &[f32], experts: usize, p_ne: &mut [f32]) {
        router::softmax(scores_ne, experts, p_ne);
    }

    /// Adds the scores' gradient of `Σ slope·p`.
    fn distribution_backward(&self, _scores_ne: &[f32], p_ne: &[f32], slope_e: &[f32], dscores_ne: &mut [f32]) {
        let experts = slope_e.len();
        for (p, dscores) in p_ne.chunks_exact(experts).zip(dscores_ne.chunks_exact_mut(experts)) {
            router::softmax_backward(p, experts, slope_e, dscores);
        }
    }

    /// Whether the chosen weights sum to one.
    fn sums_to_one(&self) -> bool;

    /// The definition of [`Gate::select`], one row.
    fn plain_select(&self, scores: &[f64]) -> Vec<f64> {
        scores.to_vec()
    }

    /// The definition of [`Gate::weigh`], one row.
    fn plain_weigh(&self, scores: &[f64], choice: &[u32]) -> Vec<f64>;

    /// The definition of [`Gate::distribution`], one row.
    fn plain_distribution(&self, scores: &[f64]) -> Vec<f64> {
        crate::plain::softmax(scores)
    }
}

/// The chosen of one row.
fn chosen(values: &[f64], choice: &[u32]) -> Vec<f64> {
    choice.iter().map(|&expert| values[expert as usize]).collect()
}
