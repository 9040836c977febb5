//! A forecaster that is its linear expert alone: what is shipped where a network adds nothing.
//!
//! ```text
//! point = linear,      quantile = linear + factor·s·√3/π·ln(level / (1 − level))      s: the scaler's deviation
//! ```
//! Its network is one value wide and zero but for the heads' biases, so that every command runs it as any other. The distances are a logistic
//! distribution's, for the closed form: calibration scales each level's own, and may add what held-back rows say.

use crate::{
    Blueprint, Column, Covariates, Forecaster, ForecasterConfig, ModelError,
    layer::{LayerConfig, Registry},
    linear_expert::LinearWeights,
};

/// The smallest trunk there is.
fn smallest(config: &ForecasterConfig) -> ForecasterConfig {
    ForecasterConfig { taps: 1, width: 1, layers: vec![LayerConfig::new("linear").with("bias", false)], ..config.clone() }
}

impl Forecaster {
    /// The linear expert of a forecaster of this configuration alone, not calibrated yet.
    ///
    /// # Errors
    /// A configuration without a linear expert, or that cannot be built.
    pub fn linear_alone(
        config: &ForecasterConfig,
        columns: Vec<Column>,
        covariates: Covariates,
        linear: LinearWeights,
    ) -> Result<Self, ModelError> {
        let blueprint = Blueprint::new(&smallest(config), &Registry::default())?;
        let mut weights = vec![0.0; blueprint.layout.len()];
        let bias = blueprint.layout.specs().iter().find(|spec| spec.name == "head_bias").expect("every network has heads");
        let logistic = |level: &f64| 3f64.sqrt() / std::f64::consts::PI * (level / (1.0 - level)).ln();
        let raw = blueprint.levels.raw(&blueprint.levels.levels().iter().map(logistic).collect::<Vec<_>>());
        bias.weight.of_mut(&mut weights).chunks_exact_mut(raw.len()).for_each(|step| step.copy_from_slice(&raw));
        Self::new(blueprint, columns, covariates, weights, Some(linear), vec![0.0; config.horizon])
    }

    /// Whether it looks at covariates that are known ahead: a linear expert alone does not, unless its columns respond to them.
    pub fn looks_ahead(&self) -> bool {
        let Covariates { known, response, .. } = self.covariates();
        !known.is_empty() && (response.is_some() || !self.is_linear_alone())
    }

    /// Whether it is one of [`Forecaster::linear_alone`]: its network says nothing.
    pub fn is_linear_alone(&self) -> bool {
        self.linear().is_some()
            && *self.config() == smallest(self.config())
            && self.network_share().iter().all(|&share| share == 0.0)
    }
}
