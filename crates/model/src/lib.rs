//! Layers, router, mixture and forecaster of foretoken, and the engine that streams them.
//!
//! Everything here works on slices: a layer's weights are spans of one arena, its `run` and its `forward` share every
//! instruction, and its backward is written by hand on the kernels. burn appears only behind the feature `train`, where a
//! whole network is one operation of its autodiff.

pub mod attention;
pub mod audit;
pub mod balance;
pub mod conformal;
pub mod covariates;
mod decoder;
mod error;
pub mod file;
pub mod forecaster;
pub mod gate;
pub mod glitches;
pub mod gru;
pub mod jumps;
pub mod layer;
pub mod linear;
mod linear_alone;
pub mod linear_expert;
pub mod lstm;
pub mod mamba;
pub mod mamba2;
pub mod mixture;
pub mod moe;
pub mod network;
pub mod outside;
pub mod plain;
pub mod predictor;
pub mod preset;
pub mod projected;
pub mod quantiles;
mod recurrent;
pub mod refresh;
pub mod response;
pub mod router;
pub mod rwkv7;
pub mod s4d;
pub mod s5;
pub mod scaler;
mod selective;
mod snapshot;
pub mod stack;
pub mod stretch;
pub mod swiglu;
pub mod trace;
#[cfg(feature = "train")]
pub mod train;
pub mod usage;
mod voice;
pub mod weights;

pub use covariates::{Beside, CovariateConfig, Covariates};
pub use error::ModelError;
pub use forecaster::{Blueprint, Bounds, Column, Forecaster, ForecasterConfig};
pub use glitches::Glitches;
pub use jumps::Jump;
pub use layer::{LayerConfig, Registry};
pub use mixture::{Clock, MixtureConfig};
pub use moe::{MixtureOfExperts, MoeConfig};
pub use outside::{FixedShare, FixedShareConfig, GatedPredictors};
pub use predictor::{Forecast, Predictor, SignalPredictor};
pub use router::{Router, RoutingStrategy};
pub use snapshot::Snapshot;
pub use trace::{Replay, Trace};
pub use usage::ExpertUsage;
