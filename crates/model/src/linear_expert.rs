//! The closed-form linear expert: one ridge map from the last samples to the whole horizon, the floor a model starts from.
//!
//! ```text
//! ŷ = (z − mean(z))·W + b + mean(z),      z the last `lookback` samples, oldest first
//! ```
//! In units of the columns' training deviation. Its weights are fitted elsewhere, in closed form; before `lookback` samples it has no say.

use crate::{ModelError, scaler::ColumnHistory};
use foretoken_kernels::linear::{Panels, linear};
use serde::{Deserialize, Serialize};

/// Options of the linear expert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// Samples it looks back.
    pub lookback: usize,
}

impl Default for LinearConfig {
    fn default() -> Self {
        Self { lookback: 512 }
    }
}

/// The fitted map.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWeights {
    /// `[lookback][horizon]`, oldest sample first.
    pub weights_lh: Vec<f32>,
    /// `[horizon]`.
    pub bias_h: Vec<f32>,
}

/// The map, packed.
pub struct LinearExpert {
    weights: LinearWeights,
    panels: Panels,
}

impl LinearExpert {
    /// Packs `weights`, or says what is wrong with them.
    pub fn new(weights: LinearWeights, lookback: usize, horizon: usize) -> Result<Self, ModelError> {
        if weights.weights_lh.len() != lookback * horizon || weights.bias_h.len() != horizon {
            return Err(ModelError::Width {
                what: "linear expert",
                expected: lookback * horizon,
                found: weights.weights_lh.len(),
            });
        }
        let panels = Panels::pack(&weights.weights_lh, lookback, horizon);
        Ok(Self { weights, panels })
    }

    /// The same for these steps of the horizon alone, from 0.
    pub fn at(&self, steps: &[usize]) -> Self {
        let horizon = self.weights.bias_h.len();
        let pick = |row: &[f32]| steps.iter().map(|&step| row[step]).collect::<Vec<f32>>();
        let weights_lh: Vec<f32> = self.weights.weights_lh.chunks_exact(horizon).flat_map(pick).collect();
        let panels = Panels::pack(&weights_lh, self.lookback(), steps.len());
        Self { panels, weights: LinearWeights { weights_lh, bias_h: pick(&self.weights.bias_h) } }
    }

    /// The map as fitted.
    pub fn weights(&self) -> &LinearWeights {
        &self.weights
    }

    /// Samples it looks back.
    pub fn lookback(&self) -> usize {
        self.panels.inputs()
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.weights.weights_lh.len() + self.weights.bias_h.len()
    }

    /// Forecasts from `history` into `y_h`; false, and `y_h` untouched, before `lookback` samples. `scratch` holds lookback + horizon.
    pub fn forecast(&self, history: &ColumnHistory, scratch: &mut [f32], y_h: &mut [f64]) -> bool {
        let lookback = self.lookback();
        let (Some(values), Some(again)) = (history.newest(lookback), history.newest(lookback)) else { return false };
        let mean = values.sum::<f64>() / lookback as f64;
        let (z_l, out_h) = scratch.split_at_mut(lookback);
        z_l.iter_mut().zip(again).for_each(|(z, value)| *z = (value - mean) as f32);
        let out_h = &mut out_h[..y_h.len()];
        linear(z_l, &self.panels, Some(&self.weights.bias_h), out_h);
        y_h.iter_mut().zip(out_h).for_each(|(y, out)| *y = f64::from(*out) + mean);
        true
    }
}
