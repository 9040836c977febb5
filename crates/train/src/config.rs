//! Options of a training run.

use crate::{
    sampling::Sampling,
    schedule::{Group, Schedule},
};
use foretoken_model::ModelError;
use serde::{Deserialize, Serialize};

/// How to train. Every option has a default; unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TrainConfig {
    /// Seed of everything random.
    pub seed: u64,
    /// Most passes over the training rows.
    pub epochs: usize,
    /// Epochs without a better network on the validation rows before training stops.
    pub patience: usize,
    /// Windows a step.
    pub batch: usize,
    /// Samples a window.
    pub window: usize,
    /// Steps an epoch; if absent, as many as all windows take.
    pub steps: Option<usize>,
    /// How windows are drawn across series; if absent, every window is taken once an epoch (and so often more as `steps` says).
    pub sampling: Option<Sampling>,
    /// Whether a window starts from the state that the rows before it leave, as the network was at the epoch's beginning, instead of from
    /// an empty one. A forward pass over all rows an epoch more, and a state in memory for every window; for layers whose memory is longer than
    /// a window.
    pub carry: bool,
    /// First samples of a window at which nothing is forecast: the state is still filling.
    pub burn_in: usize,
    /// Samples of a series that were seen before the heads are trained on it. In short series a good part of the rows lies where taps and scaler's window
    /// are not full, and no forecast at their ends is like those. The network is then not trained for forecasts with fewer samples behind them.
    pub history: usize,
    /// Samples of a window at which the heads are trained.
    pub positions: usize,
    /// Peak learning rate of AdamW.
    pub learning_rate: f64,
    /// Steps until the learning rate is at its peak.
    pub warm_up: usize,
    /// How the learning rate rises and falls.
    pub schedule: Schedule,
    /// Decoupled weight decay, on matrices only: not on the dynamics of state-space models, norms and biases.
    pub weight_decay: f64,
    /// Weights that learn at another rate or decay otherwise.
    pub groups: Vec<Group>,
    /// Batches whose gradients are averaged for one step of the optimiser: the memory of one, the step of all. Batches of up to some thousand samples,
    /// which threads cannot share, go beside each other.
    pub accumulate: usize,
    /// Whether a training pass keeps only what each block got, and computes the rest again for the gradient (gradient checkpointing, Chen et al. 2016,
    /// arXiv:1604.06174): half the memory or less, about a quarter more time, the same weights.
    pub checkpointing: bool,
    /// Largest global norm of the gradient.
    pub clip_norm: f64,
    /// What is done at a loss or gradient that is not finite. A run that stopped there can go on with another choice.
    pub not_finite: NotFinite,
    /// Decay a step of the mean of the weights (Polyak & Juditsky 1992), which is what is validated and kept; 0 for the weights themselves. At the beginning
    /// the mean is of fewer steps: the decay is at most (1 + t)/(10 + t).
    pub ema: f64,
    /// Weight of the median's squared error beside the quantile loss.
    pub squared_error: f64,
    /// How far windows count alike: errors are in units of the window's deviation to this power. 0 for standardised units, 1 for the window's own.
    pub evenness: f64,
    /// How far series count as they do in the data's own unit: errors are multiplied by the deviation that a series is standardised by to this power, over its
    /// mean of all series. 0 for standardised units, 1 for the data's, in which the largest series are nearly all there is.
    pub unit_power: f64,
    /// Part of an interval's distances from the median that validation rows say, by how large each column's errors were there at each step, whatever the
    /// network says of the moment. 0: a factor a column of what the network says.
    pub held_back: f64,
    /// Horizons to score at, from one forecast; none longer than the model's, and that among them. The model's own if empty.
    pub horizons: Vec<usize>,
    /// Whether the network is shipped even where it adds nothing to the linear expert on the validation rows.
    pub keep_network: bool,
    /// Whether all is fitted once more on training and validation rows, as it was selected: the network as many epochs as its best had, its
    /// shares and the calibration as they are, the linear expert the mean of both fits. What is shipped then was never scored on rows it did not see, but
    /// for the test rows.
    pub refit: bool,
    /// Steps from one checkpoint to the next, beside those after every epoch. Changes no weight.
    pub checkpoint_steps: u64,
    /// Batches made ahead on a thread of their own; 0 makes each when it is needed. Changes no weight.
    pub prefetch: usize,
}

/// What is done at a loss or gradient that is NaN or infinite.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotFinite {
    /// Training ends with an error that names the step, its windows and the layer.
    #[default]
    Stop,
    /// The step is left out and counted.
    Skip,
}

impl Default for TrainConfig {
    fn default() -> Self {
        Self {
            seed: 1,
            epochs: 20,
            patience: 5,
            batch: 8,
            window: 256,
            steps: None,
            sampling: None,
            carry: false,
            burn_in: 32,
            history: 0,
            positions: 32,
            learning_rate: 3e-3,
            warm_up: 50,
            schedule: Schedule::default(),
            weight_decay: 0.05,
            groups: Vec::new(),
            accumulate: 1,
            checkpointing: false,
            clip_norm: 1.0,
            not_finite: NotFinite::default(),
            ema: 0.0,
            squared_error: 1.0,
            evenness: 0.0,
            unit_power: 0.0,
            held_back: 0.0,
            horizons: Vec::new(),
            keep_network: false,
            refit: false,
            checkpoint_steps: 1000,
            prefetch: 2,
        }
    }
}

/// Most windows of an epoch.
const MOST_WINDOWS: usize = 1 << 26;
/// Most parts of steps that wait.
const MOST_PREFETCHED: usize = 4096;

impl TrainConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// The option that cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        for (field, value) in [
            ("epochs", self.epochs),
            ("batch", self.batch),
            ("window", self.window),
            ("positions", self.positions),
            ("patience", self.patience),
            ("accumulate", self.accumulate),
            ("checkpoint_steps", usize::try_from(self.checkpoint_steps).unwrap_or(usize::MAX)),
            ("steps", self.steps.unwrap_or(1)),
        ] {
            foretoken_model::weights::positive(field, value)?;
        }
        let needed = self.burn_in.saturating_add(self.positions);
        if needed > self.window {
            let expected = format!("burn_in + positions <= window ({})", self.window);
            return Err(ModelError::config("burn_in", expected, needed));
        }
        let windows = self.steps.unwrap_or(1).saturating_mul(self.accumulate).saturating_mul(self.batch);
        if windows > MOST_WINDOWS {
            return Err(ModelError::config("steps", format!("steps · accumulate · batch <= {MOST_WINDOWS}"), windows));
        }
        if self.prefetch > MOST_PREFETCHED {
            return Err(ModelError::config("prefetch", format!("at most {MOST_PREFETCHED}"), self.prefetch));
        }
        for (field, value, positive) in [
            ("learning_rate", self.learning_rate, true),
            ("clip_norm", self.clip_norm, true),
            ("weight_decay", self.weight_decay, false),
            ("squared_error", self.squared_error, false),
            ("evenness", self.evenness, false),
        ] {
            if !(value.is_finite() && value >= 0.0 && !(positive && value == 0.0)) {
                return Err(ModelError::config(
                    field,
                    if positive { "a finite number > 0" } else { "a finite number >= 0" },
                    value,
                ));
            }
        }
        for (index, group) in self.groups.iter().enumerate() {
            group.check().map_err(|error| error.under(&format!("groups.{index}")))?;
        }
        self.sampling.as_ref().map_or(Ok(()), Sampling::check)?;
        if !(0.0..=1.0).contains(&self.unit_power) {
            return Err(ModelError::config("unit_power", "a number from 0 to 1", self.unit_power));
        }
        if !(0.0..=1.0).contains(&self.held_back) {
            return Err(ModelError::config("held_back", "a number from 0 to 1", self.held_back));
        }
        match (0.0..1.0).contains(&self.ema) {
            true => Ok(()),
            false => Err(ModelError::config("ema", "a number from 0 to below 1", self.ema)),
        }
    }

    /// The horizons to score at, for a model of this one.
    ///
    /// # Errors
    /// A horizon of zero steps, or longer than the model's; the model's not among them; horizons that do not rise.
    pub fn horizons_of(&self, horizon: usize) -> Result<Vec<usize>, ModelError> {
        match self.horizons.iter().find(|&&each| each == 0 || each > horizon) {
            Some(found) => Err(ModelError::config("horizons", format!("horizons of 1 to {horizon} steps"), found)),
            None if self.horizons.is_empty() => Ok(vec![horizon]),
            None if !self.horizons.is_sorted_by(|one, next| one < next) => {
                Err(ModelError::config("horizons", "horizons that rise", format!("{:?}", self.horizons)))
            }
            None if self.horizons.contains(&horizon) => Ok(self.horizons.clone()),
            None => {
                let expected = format!("{horizon}, the model's horizon, among them");
                Err(ModelError::config("horizons", expected, format!("{:?}", self.horizons)))
            }
        }
    }

    /// What of this shapes the weights: all but what is done beside the training.
    pub(crate) fn of_the_weights(&self) -> Self {
        let Self { keep_network, refit, held_back, checkpointing, checkpoint_steps, prefetch, not_finite, .. } = Self::default();
        Self { keep_network, refit, held_back, checkpointing, checkpoint_steps, prefetch, not_finite, ..self.clone() }
    }
}
