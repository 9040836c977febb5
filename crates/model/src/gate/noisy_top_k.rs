//! Top-k of scores with learned noise while training (Shazeer et al. 2017, arXiv:1701.06538, eq. 3-5).
//!
//! ```text
//! H = x·W_g + noise_std·N(0, 1)·softplus(x·W_noise),   G = softmax(KeepTopK(H, k))
//! ```
//! The noise is drawn by the router; given H this is top-k.

use super::{Bias, GateKind, top_k::TopK};

pub const KIND: GateKind = GateKind {
    build: |options| Box::new(TopK(options)),
    every: false,
    noisy: true,
    plain_weights: false,
    bias: Bias::Never,
    evidence: false,
};
