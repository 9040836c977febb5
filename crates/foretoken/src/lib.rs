//! foretoken predicts live signals with a sparse mixture of experts whose experts are themselves sequence models.
//!
//! # Quick start
//!
//! Train on two columns, forecast, then go on sample by sample:
//!
#![cfg_attr(feature = "train", doc = "```")]
#![cfg_attr(not(feature = "train"), doc = "```ignore")]
//! use foretoken::{Column, ForecasterConfig, Predictor, train::{Task, TrainConfig, Trainer}};
//! use std::sync::Arc;
//!
//! let wave = |shift: f64| (0..600).map(|t| (t as f64 * 0.26 + shift).sin()).collect::<Vec<f64>>();
//! let (load, oil) = (wave(0.0), wave(1.0));
//! let column = |name: &str| Column::new(name, 0.0, 0.7);
//!
//! let model: ForecasterConfig = toml::from_str(r#"
//!     horizon = 12
//!     taps = 24
//!     width = 16
//!     [[layers]]
//!     type = "mixture"
//!     num_experts = 3
//!     experts = [{ type = "s4d", states = 4 }, { type = "swiglu" }]
//! "#)?;
//! let task = Task {
//!     columns: vec![column("load"), column("oil")],
//!     values: vec![&load, &oil],
//!     train: 0..450,
//!     validation: 450..600,
//!     ..Task::default()
//! };
//! let mut trainer = Trainer::new(&model, &TrainConfig { epochs: 3, window: 64, ..TrainConfig::default() }, task)?;
//! while !trainer.finished() {
//!     let epoch = trainer.train_epoch(|_step| {})?;
//!     println!("epoch {}: {:.3}", epoch.epoch, epoch.validation.mse);
//! }
//!
//! let mut stream = Predictor::new(Arc::new(trainer.best()?));
//! let mut forecast = stream.forecast_buffer();
//! for t in 0..600 {
//!     stream.advance(&[load[t], oil[t]])?;
//! }
//! stream.predict(&mut forecast)?;
//! assert_eq!(forecast.point.len(), 2 * 12);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Where things are
//!
//! The model's words are at the top: [`ForecasterConfig`], [`Forecaster`], [`Predictor`], [`MixtureOfExperts`], [`Router`],
//! [`SignalPredictor`]. [`data`] reads signals, [`eval`] scores them against baselines, [`train`] learns.

pub use foretoken_data as data;
pub use foretoken_eval as eval;
pub use foretoken_model::*;
#[cfg(feature = "train")]
pub use foretoken_train as train;
