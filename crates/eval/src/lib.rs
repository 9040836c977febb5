//! Metrics, baselines and the rolling backtest. Everything is in standardised units, as the benchmarks report it.

mod backtest;
mod baselines;
mod error;
mod metrics;
mod ridge;

pub use backtest::{Baseline, Origins, evaluate, residual_spread};
pub use baselines::SeasonalNaive;
pub use error::EvalError;
pub use metrics::{ColumnScores, ScoreBoard, Scores, adjusted_rand_index, naive_scales};
pub use ridge::Ridge;
