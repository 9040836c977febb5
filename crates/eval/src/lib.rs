//! Metrics, baselines and the rolling backtest. Everything is in standardised units, as the benchmarks report it. NaN is a missing value.

mod backtest;
mod baselines;
mod board;
mod correction;
mod error;
mod horizons;
mod metrics;
mod missing;
mod mstl_ets;
mod own;
mod response;
mod ridge;
mod seasons;
mod structural;

pub use backtest::{Baseline, Origins, Told, Window, evaluate, evaluate_at, residual_spread};
pub use baselines::SeasonalNaive;
pub use board::{ScoreBoard, Unit};
pub use correction::{Blend, Corrected, Correction, Looks, Maps, Pick, Recursion, Seen};
pub use error::EvalError;
pub use horizons::HorizonBoards;
pub use metrics::{ColumnScores, Scores, adjusted_rand_index, naive_scales};
pub use missing::{ONE_THERE_OF, whole_windows};
pub use mstl_ets::MstlEts;
pub use own::Own;
pub use response::{Responses, response};
pub use ridge::{Inputs, Profile, Ridge};
pub use seasons::{seasons, shows_longer, shows_season};
pub use structural::structural;
