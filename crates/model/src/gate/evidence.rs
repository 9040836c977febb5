//! Top-k of scores that hold evidence: each expert has a small model of the signal itself, and is chosen by how well that model
//! has been predicting.
//!
//! ```text
//! scores = x·W_g + l_t,   l_t the log-posterior of E one-step models under fixed-share switching   (kernels::evidence)
//! ```
//! The posterior is the forward filter of a hidden Markov model whose regimes are the experts (Hamilton 1989; fixed-share: Herbster
//! & Warmuth 1998). Its own loss, the mean negative log-evidence, makes the models compete for the signal (Jacobs et al. 1991). Given
//! the scores this is top-k.

use super::{Bias, GateKind, top_k::TopK};

pub const KIND: GateKind = GateKind {
    build: |options| Box::new(TopK(options)),
    every: false,
    noisy: false,
    plain_weights: true,
    bias: Bias::Never,
    evidence: true,
};
