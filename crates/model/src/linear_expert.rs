//! The closed-form linear expert: one ridge map from the last samples to the whole horizon, the floor a model starts from.
//!
//! ```text
//! ŷ = [z − mean(z), p − mean(z)]·W + b + mean(z),      z the last `lookback` samples, oldest first
//! ```
//! `p`, if there is a profile, are the means of the last cycles at each phase of a season, that of the next sample first. With a return to the mean of all
//! samples so far that mean, less mean(z), is the last input.
//! In units of the columns' training deviation. Its weights are fitted elsewhere, in closed form; before `lookback` samples it has no say.

use crate::{ModelError, scaler::ColumnHistory, weights::positive};
use foretoken_kernels::linear::{Panels, linear};
use serde::{Deserialize, Serialize};

/// Options of the linear expert.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearConfig {
    /// Samples it looks back.
    pub lookback: usize,
    /// The seasonal profile beside them; none if absent.
    pub profile: Option<ProfileConfig>,
    /// Time constant, in samples, of the return to the mean of all samples so far: of step h its share is 1 − exp(−h/reversion). None if absent.
    pub reversion: Option<f64>,
    /// For the fit: parts of the training rows that are held out in turn to pick the ridges' strengths, beside the validation rows; 0 for those alone.
    pub folds: usize,
    /// For the fit: shorter look-backs. The map is the mean of the ridges with each of the look-backs, and of those with the profile beside it, if
    /// there is one.
    pub shorter: Vec<usize>,
}

/// Means of the last cycles at each phase of a season.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProfileConfig {
    /// Samples in a season.
    pub season: usize,
    /// Seasons that the means are over.
    pub cycles: usize,
}

impl LinearConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// A look-back, a season or cycles of zero, or a span beyond a million samples.
    pub fn check(&self) -> Result<(), ModelError> {
        positive("lookback", self.lookback)?;
        if let Some(ProfileConfig { season, cycles }) = self.profile {
            positive("season", season).map_err(|error| error.under("profile"))?;
            positive("cycles", cycles).map_err(|error| error.under("profile"))?;
        }
        if let Some(shorter) = self.shorter.iter().find(|&&shorter| shorter == 0 || shorter >= self.lookback) {
            return Err(ModelError::config("shorter", format!("look-backs of 1 to {}", self.lookback - 1), shorter));
        }
        if let Some(reversion) = self.reversion.filter(|reversion| !(1.0..=1e9).contains(reversion)) {
            return Err(ModelError::config("reversion", "a number from 1 to a billion", reversion));
        }
        if self.folds > MOST_FOLDS {
            return Err(ModelError::config("folds", format!("at most {MOST_FOLDS}"), self.folds));
        }
        match self.span() {
            Some(span) if span <= LONGEST_SPAN => Ok(()),
            _ => Err(ModelError::config("lookback", format!("a span of at most {LONGEST_SPAN} samples"), "a longer one")),
        }
    }

    /// Samples that it looks at; none if there are too many to count.
    pub fn span(&self) -> Option<usize> {
        let profile = self.profile.map_or(Some(0), |profile| profile.season.checked_mul(profile.cycles))?;
        Some(self.lookback.max(profile))
    }

    /// Inputs of the map.
    pub fn inputs(&self) -> usize {
        self.lookback + self.profile.map_or(0, |profile| profile.season) + usize::from(self.reversion.is_some())
    }
}

/// Longest span of samples that a linear expert looks at.
const LONGEST_SPAN: usize = 1 << 20;

/// Most folds: each costs a fit.
const MOST_FOLDS: usize = 100;

impl Default for LinearConfig {
    fn default() -> Self {
        Self { lookback: 512, profile: None, reversion: None, folds: 0, shorter: Vec::new() }
    }
}

/// The fitted map.
#[derive(Clone, Debug, PartialEq)]
pub struct LinearWeights {
    /// `[input][horizon]`, oldest sample first, the profile after the samples, the mean of all samples last.
    pub weights_lh: Vec<f32>,
    /// `[horizon]`.
    pub bias_h: Vec<f32>,
}

/// The map, packed.
pub struct LinearExpert {
    weights: LinearWeights,
    options: LinearConfig,
    panels: Panels,
}

impl LinearExpert {
    /// Packs `weights`, or says what is wrong with them.
    pub fn new(weights: LinearWeights, options: &LinearConfig, horizon: usize) -> Result<Self, ModelError> {
        let inputs = options.inputs();
        if weights.weights_lh.len() != inputs * horizon || weights.bias_h.len() != horizon {
            return Err(ModelError::Width { what: "linear expert", expected: inputs * horizon, found: weights.weights_lh.len() });
        }
        let panels = Panels::pack(&weights.weights_lh, inputs, horizon);
        Ok(Self { weights, options: options.clone(), panels })
    }

    /// The same for these steps of the horizon alone, from 0.
    pub fn at(&self, steps: &[usize]) -> Self {
        let horizon = self.weights.bias_h.len();
        let pick = |row: &[f32]| steps.iter().map(|&step| row[step]).collect::<Vec<f32>>();
        let weights_lh: Vec<f32> = self.weights.weights_lh.chunks_exact(horizon).flat_map(pick).collect();
        let panels = Panels::pack(&weights_lh, self.panels.inputs(), steps.len());
        Self { panels, options: self.options.clone(), weights: LinearWeights { weights_lh, bias_h: pick(&self.weights.bias_h) } }
    }

    /// The map as fitted.
    pub fn weights(&self) -> &LinearWeights {
        &self.weights
    }

    /// What it looks at.
    pub fn options(&self) -> &LinearConfig {
        &self.options
    }

    /// Samples that must have been seen.
    pub fn span(&self) -> usize {
        self.options.span().expect("checked when it was built")
    }

    /// Number of weights.
    pub fn parameters(&self) -> usize {
        self.weights.weights_lh.len() + self.weights.bias_h.len()
    }

    /// What it sees of `history`, into its inputs `x_l`: the mean that its forecast is above or below. None, and `x_l` means nothing, before `span`
    /// samples.
    pub fn look(&self, history: &ColumnHistory, x_l: &mut [f32]) -> Option<f64> {
        let lookback = self.options.lookback;
        if history.seen() < self.span() as u64 {
            return None;
        }
        let values = || history.newest(lookback).into_iter().flatten().flatten();
        let mean = values().sum::<f64>() / lookback as f64;
        let (z_l, rest) = x_l.split_at_mut(lookback);
        let (p_l, level) = rest.split_at_mut(rest.len() - usize::from(self.options.reversion.is_some()));
        level.fill((history.level() - mean) as f32);
        z_l.iter_mut().zip(values()).for_each(|(z, value)| *z = (value - mean) as f32);
        if let Some(ProfileConfig { season, cycles }) = self.options.profile {
            let mut values = history.newest(season * cycles)?.into_iter().flatten();
            p_l.fill(0.0);
            for _ in 0..cycles {
                p_l.iter_mut().zip(values.by_ref()).for_each(|(p, value)| *p += (value - mean) as f32);
            }
            p_l.iter_mut().for_each(|p| *p /= cycles as f32);
        }
        Some(mean)
    }

    /// How far its forecasts `[row][horizon]` are above the means, from the inputs of some rows.
    pub fn forecast(&self, x_nl: &[f32], y_nh: &mut [f32]) {
        linear(x_nl, &self.panels, Some(&self.weights.bias_h), y_nh);
    }
}
