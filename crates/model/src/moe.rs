//! The mixture on its own: route, step, inspect — without a forecaster around it.

use crate::{
    ModelError,
    layer::{Engine, Layer, LayerConfig, Pass, Registry, Rows, State, Workspace},
    mixture::MixtureConfig,
    predictor::SignalPredictor,
    usage::ExpertUsage,
    weights::Layout,
};
use serde::{Deserialize, Serialize};

/// A mixture and its widths.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoeConfig {
    /// Values a sample, in.
    pub input_dim: usize,
    /// Values a sample, out.
    pub output_dim: usize,
    /// The mixture.
    pub mixture: MixtureConfig,
}

impl Default for MoeConfig {
    fn default() -> Self {
        Self { input_dim: 256, output_dim: 256, mixture: MixtureConfig::default() }
    }
}

impl MoeConfig {
    /// Reads a configuration from TOML; unknown keys are errors.
    ///
    /// # Errors
    /// An unknown key, or a value of another type, with its line.
    pub fn from_toml(text: &str) -> Result<Self, ModelError> {
        toml::from_str(text).map_err(|error| ModelError::toml(text, &error))
    }

    /// Writes the configuration as TOML.
    ///
    /// # Errors
    /// A value that TOML has no word for.
    pub fn to_toml(&self) -> Result<String, ModelError> {
        toml::to_string(self).map_err(ModelError::syntax)
    }
}

/// A mixture of experts over one stream of samples.
///
/// ```
/// use foretoken_model::{MixtureOfExperts, MoeConfig, SignalPredictor};
/// let config = MoeConfig { input_dim: 8, output_dim: 4, ..MoeConfig::default() };
/// let mut mixture = MixtureOfExperts::new(&config, 7)?;
/// let (experts, weights) = mixture.route(&[0.5; 8])?;
/// assert_eq!((experts.len(), weights.len()), (2, 2));
/// assert_eq!(mixture.step(&[0.5; 8])?.len(), 4);
/// # Ok::<(), foretoken_model::ModelError>(())
/// ```
pub struct MixtureOfExperts {
    config: MoeConfig,
    layout: Layout,
    weights: Vec<f32>,
    active_parameters: usize,
    engine: Box<dyn Engine>,
    state: State,
    workspace: Workspace,
}

impl MixtureOfExperts {
    /// A mixture with fresh weights; the same seed gives the same ones.
    ///
    /// # Errors
    /// An option that cannot be, by its path.
    pub fn new(config: &MoeConfig, seed: u64) -> Result<Self, ModelError> {
        let (layer, layout) = Self::build(config)?;
        let weights = layout.initialise(seed);
        Ok(Self::with_layer(config, &*layer, layout, weights))
    }

    /// A mixture with these weights, an arena of [`MixtureOfExperts::layout`].
    ///
    /// # Errors
    /// As [`MixtureOfExperts::new`], or a wrong number of weights.
    pub fn from_weights(config: &MoeConfig, weights: Vec<f32>) -> Result<Self, ModelError> {
        let (layer, layout) = Self::build(config)?;
        if weights.len() != layout.len() {
            return Err(ModelError::Width { what: "weights", expected: layout.len(), found: weights.len() });
        }
        Ok(Self::with_layer(config, &*layer, layout, weights))
    }

    fn build(config: &MoeConfig) -> Result<(Box<dyn Layer>, Layout), ModelError> {
        let options = toml::Table::try_from(&config.mixture).map_err(ModelError::syntax)?;
        let mut layout = Layout::default();
        let layer = LayerConfig { kind: "mixture".into(), options };
        let layer = Registry::default().build(&layer, config.input_dim, config.output_dim, &mut layout)?;
        Ok((layer, layout))
    }

    fn with_layer(config: &MoeConfig, layer: &dyn Layer, layout: Layout, weights: Vec<f32>) -> Self {
        let engine = layer.prepare(&weights, true);
        Self {
            config: config.clone(),
            layout,
            weights,
            active_parameters: layer.active_parameters(),
            state: engine.state(1),
            workspace: Workspace::default(),
            engine,
        }
    }

    /// Names and shapes of the weights.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// The weights, flat; spans by name are in [`MixtureOfExperts::layout`].
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    fn check(&self, rows: &[f32], exactly_one: bool) -> Result<usize, ModelError> {
        let width = self.config.input_dim;
        if !rows.len().is_multiple_of(width) || (exactly_one && rows.len() != width) {
            return Err(ModelError::Width { what: "sample", expected: width, found: rows.len() });
        }
        match rows.iter().position(|value| !value.is_finite()) {
            Some(place) => Err(ModelError::Sample { column: (place % width).to_string(), found: f64::from(rows[place]) }),
            None => Ok(rows.len() / width),
        }
    }

    /// Chooses experts for one sample: indices, best first (all of them, in their order, with `softmax`), and gate weights, which sum to `gate_scale` unless they
    /// are not renormalised. Counts nothing, advances nothing.
    ///
    /// # Errors
    /// A wrong number of values, one that is not finite, or a score that is not.
    pub fn route(&mut self, x: &[f32]) -> Result<(Vec<usize>, Vec<f32>), ModelError> {
        self.check(x, true)?;
        let router = self.engine.mixtures()[0].router();
        self.workspace.reserve(router.scratch(1));
        let mut state = self.state.clone();
        let rows = Rows::new(x, &[0, 1]);
        let choice = router.route(rows, &mut state.floats, &mut state.counters, 0, &mut self.workspace.scratch())?;
        Ok((choice.experts_nk.iter().map(|&expert| expert as usize).collect(), choice.weights_nk.to_vec()))
    }

    /// Any number of samples, packed; advances the state.
    ///
    /// # Errors
    /// Values that are no whole samples, one that is not finite, or what an expert's values come to.
    pub fn forward(&mut self, x_nd: &[f32]) -> Result<Vec<f32>, ModelError> {
        let rows = self.check(x_nd, false)?;
        self.workspace.reserve(self.engine.scratch(rows, 1));
        let mut y = vec![0.0; rows * self.config.output_dim];
        self.engine.run(Rows::new(x_nd, &[0, rows]), &mut self.state, &mut y, &mut self.workspace.scratch())?;
        Ok(y)
    }

    /// Outputs of a training pass from an empty state, with its noise and dropout. Counts in the training statistics.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn forward_training(&self, x_nd: &[f32], seed: u64, step: u64) -> Result<Vec<f32>, ModelError> {
        let rows = self.check(x_nd, false)?;
        let mut y = vec![0.0; rows * self.config.output_dim];
        self.engine.forward(Rows::new(x_nd, &[0, rows]), &mut self.engine.state(1), &mut y, &mut Pass::training(seed, step))?;
        Ok(y)
    }

    /// The balance loss of these samples, with its coefficient, as a training pass computes it: it is one, and counts in the training statistics.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn load_balance_loss(&self, x_nd: &[f32], seed: u64, step: u64) -> Result<f32, ModelError> {
        let rows = self.check(x_nd, false)?;
        let mut pass = Pass::training(seed, step);
        let mut y = vec![0.0; rows * self.config.output_dim];
        self.engine.forward(Rows::new(x_nd, &[0, rows]), &mut self.engine.state(1), &mut y, &mut pass)?;
        Ok(pass.auxiliary)
    }

    /// What the experts were used for, by `step` and `forward`.
    pub fn expert_usage_stats(&self) -> ExpertUsage {
        self.engine.mixtures()[0].live_usage().read()
    }

    /// What the experts were used for in training passes.
    pub fn training_usage_stats(&self) -> ExpertUsage {
        self.engine.mixtures()[0].training_usage().read()
    }

    /// Clears the usage counts, not the state.
    pub fn clear_routing_history(&self) {
        self.engine.mixtures()[0].live_usage().clear();
    }

    /// Number of weights, and how many of them one sample touches.
    pub fn parameters(&self) -> (usize, usize) {
        (self.layout.len(), self.active_parameters)
    }

    /// The configuration.
    pub fn config(&self) -> &MoeConfig {
        &self.config
    }
}

impl SignalPredictor for MixtureOfExperts {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        self.check(x, true)?;
        self.forward(x)
    }

    fn reset(&mut self) {
        self.state.reset();
    }

    fn context_window(&self) -> Option<usize> {
        // One sample if no expert has a state and no choice hangs on the last one, all of them otherwise.
        let stateless =
            self.state.is_empty() && self.engine.mixtures().iter().all(|mixture| mixture.router().options().switch_cost == 0.0);
        stateless.then_some(1)
    }
}

impl std::fmt::Display for MixtureOfExperts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mixture = self.engine.mixtures()[0];
        let strategy = self.config.mixture.routing_strategy;
        write!(
            f,
            "MixtureOfExperts({} → {}, {} of {} experts by {strategy}: {}; {} parameters, {} active)",
            self.config.input_dim,
            self.config.output_dim,
            mixture.top_k(),
            mixture.expert_names().len(),
            mixture.expert_names().join(", "),
            self.layout.len(),
            self.active_parameters,
        )
    }
}
