//! Training of foretoken's forecasters: loader, loss, loop, checkpoints.

mod ahead;
pub mod calibrate;
pub mod checkpoint;
pub mod config;
pub mod gate;
pub mod loader;
pub mod loss;
pub mod sampling;
pub mod schedule;
mod series;
pub mod ship;
pub mod trainer;
pub mod validate;

pub use calibrate::calibrate;
pub use checkpoint::Checkpoint;
pub use config::{NotFinite, TrainConfig};
pub use gate::{GateConfig, GateReport, fit_gate};
pub use sampling::Sampling;
pub use schedule::{Group, Schedule};
pub use ship::Shipped;
pub use trainer::{EpochReport, Further, MixtureUsage, StepReport, Task, Trainer};
pub use validate::{Gain, Validation};
