//! A forecaster: causal scaler → embedding → layers → heads, on top of the closed-form linear expert.
//!
//! ```text
//! point    = linear + share ⊙ (network's median − linear)        share starts at 0, one number a step of the horizon
//! quantile = point ± distance        of the network's quantile from its median, calibrated: see [`crate::conformal`]
//! ```
//! An output-space mixture of two: while `share` is zero a model is exactly its floor. Without the linear expert's span of history, or
//! without a linear expert, the point is the network's.

use crate::{
    ModelError,
    conformal::Calibration,
    covariates::{CovariateConfig, Covariates},
    jumps::Jump,
    layer::{LayerConfig, Registry},
    linear_expert::{LinearConfig, LinearExpert, LinearWeights},
    network::{Network, NetworkEngine},
    preset::{self, Size},
    quantiles::Levels,
    scaler::{ColumnHistory, ScalerConfig, ScalerKind},
    weights::{Layout, positive},
};
use serde::{Deserialize, Serialize};

/// What a forecaster is built from. In TOML a `family` and a `size` may stand for `width` and `layers`, see [`crate::preset`].
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct ForecasterConfig {
    /// Samples ahead.
    pub horizon: usize,
    /// Quantile levels, increasing, 0.5 among them.
    pub quantiles: Vec<f64>,
    /// Samples in a row of features.
    pub taps: usize,
    /// Width of the trunk.
    pub width: usize,
    /// The causal scaler.
    pub scaler: ScalerConfig,
    /// The linear expert; none if absent.
    pub linear: Option<LinearConfig>,
    /// How fast the intervals of a stream follow its errors, see [`crate::Predictor::adapt`]; not at all if absent.
    pub adaptive: Option<f64>,
    /// Covariates beside the series.
    #[serde(skip_serializing_if = "CovariateConfig::is_empty")]
    pub covariates: CovariateConfig,
    /// The blocks of the trunk.
    pub layers: Vec<LayerConfig>,
}

/// A [`ForecasterConfig`] as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    horizon: usize,
    #[serde(default = "levels")]
    quantiles: Vec<f64>,
    #[serde(default = "default_taps")]
    taps: usize,
    width: Option<usize>,
    #[serde(default)]
    scaler: ScalerConfig,
    linear: Option<LinearConfig>,
    adaptive: Option<f64>,
    #[serde(default)]
    covariates: CovariateConfig,
    layers: Option<Vec<LayerConfig>>,
    family: Option<String>,
    size: Option<Size>,
}

impl TryFrom<Written> for ForecasterConfig {
    type Error = ModelError;

    fn try_from(written: Written) -> Result<Self, ModelError> {
        let Written { horizon, quantiles, taps, width, scaler, linear, adaptive, covariates, layers, family, size } = written;
        let (default, layers) = match (layers, family, size) {
            (Some(layers), None, None) => (DEFAULT_WIDTH, layers),
            (None, Some(family), size) => {
                let size = size.unwrap_or_default();
                (size.width(), preset::layers(&family, size)?)
            }
            (None, None, None) => return Err(ModelError::config("layers", "`layers` or a `family`", "neither")),
            (_, None, Some(_)) => return Err(ModelError::config("size", "a `family` that it is the size of", "none")),
            (Some(_), Some(_), _) => return Err(ModelError::config("family", "`layers` or a `family`", "both")),
        };
        Ok(Self { horizon, quantiles, taps, width: width.unwrap_or(default), scaler, linear, adaptive, covariates, layers })
    }
}

/// Most weights of a network, 8 GiB of them: a slip in a configuration is an error, not an end of all memory.
const LARGEST_ARENA: usize = 1 << 31;

/// Width of the trunk where neither a width nor a family is given.
const DEFAULT_WIDTH: usize = 64;

/// The deciles, and the ends of a 95% interval.
fn levels() -> Vec<f64> {
    let deciles = (1..10).map(|decile| f64::from(decile) / 10.0);
    std::iter::once(0.025).chain(deciles).chain([0.975]).collect()
}

fn default_taps() -> usize {
    96
}

/// A column's name and its training statistics, by which everything is standardised.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Column {
    /// Name in the header.
    pub name: String,
    /// Mean over the training rows.
    pub mean: f64,
    /// Deviation over the training rows.
    pub deviation: f64,
    /// What its values are kept within.
    // Without, the weights file is what it was.
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub bounds: Bounds,
    /// What its samples lie within unless they are outliers, in the data's unit; see [`crate::glitches`].
    #[serde(default, skip_serializing_if = "Bounds::is_empty")]
    pub limits: Bounds,
    /// From where on an error is a jump that its rows never made, if such are followed; see [`crate::jumps`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jump: Option<Jump>,
}

/// A sample this much beyond a bound, in deviations, is rounding.
const BOUND_SLACK: f64 = 1e-9;
/// Bounds that hold nothing back.
pub(crate) const UNBOUNDED: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// Two values in the data's unit, the lowest and the highest. As a column's `bounds` it never passes them and often stays at them, 0 of a count, 100 of a
/// percentage: what a finished forecaster says stays within them, unless a sample that its look-back holds does not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bounds {
    /// None below.
    pub lowest: Option<f64>,
    /// None above.
    pub highest: Option<f64>,
}

impl std::fmt::Display for Bounds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.lowest, self.highest) {
            (Some(lowest), Some(highest)) => write!(f, "{lowest} to {highest}"),
            (Some(lowest), None) => write!(f, "{lowest} at least"),
            (None, Some(highest)) => write!(f, "{highest} at most"),
            (None, None) => f.write_str("anything"),
        }
    }
}

// Without bounds and limits it is what it was before there were any: a checkpoint knows its run by it.
impl std::fmt::Debug for Column {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut column = f.debug_struct("Column");
        column.field("name", &self.name).field("mean", &self.mean).field("deviation", &self.deviation);
        if !self.bounds.is_empty() {
            column.field("bounds", &self.bounds);
        }
        if !self.limits.is_empty() {
            column.field("limits", &self.limits);
        }
        if let Some(jump) = &self.jump {
            column.field("jump", jump);
        }
        column.finish()
    }
}

impl Bounds {
    /// Whether there is neither.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Whether a value lies between them; NaN does not.
    pub fn hold(self, value: f64) -> bool {
        self.lowest.is_none_or(|lowest| lowest <= value) && self.highest.is_none_or(|highest| value <= highest) && !value.is_nan()
    }

    fn both(self) -> impl Iterator<Item = f64> {
        [self.lowest, self.highest].into_iter().flatten()
    }
}

impl Column {
    /// A column without bounds and limits.
    pub fn new(name: impl Into<String>, mean: f64, deviation: f64) -> Self {
        Self { name: name.into(), mean, deviation, bounds: Bounds::default(), limits: Bounds::default(), jump: None }
    }

    /// Its bounds, standardised; infinite where there are none.
    pub(crate) fn standardised_bounds(&self) -> (f64, f64) {
        let of = |bound: Option<f64>, none| bound.map_or(none, |bound| self.standardise(bound));
        (of(self.bounds.lowest, UNBOUNDED.0), of(self.bounds.highest, UNBOUNDED.1))
    }

    /// From the data's unit to standardised.
    pub fn standardise(&self, value: f64) -> f64 {
        (value - self.mean) / self.deviation
    }

    pub(crate) fn check(&self, what: &str) -> Result<(), ModelError> {
        for (kind, own) in [("bounds", self.bounds), ("limits", self.limits)] {
            let crossed = own.lowest.zip(own.highest).is_some_and(|(lowest, highest)| lowest >= highest);
            if crossed || !own.both().all(f64::is_finite) {
                let expected = format!("finite {kind}, the lowest below the highest");
                return Err(ModelError::config(&format!("{what} `{}`", self.name), &expected, format!("{own:?}")));
            }
        }
        self.jump.map_or(Ok(()), |jump| jump.check(&self.name))?;
        if self.mean.is_finite() && self.deviation.is_finite() && self.deviation > 0.0 {
            return Ok(());
        }
        let found = format!("mean {}, deviation {}", self.mean, self.deviation);
        Err(ModelError::config(&format!("{what} `{}`", self.name), "a finite mean and a deviation > 0", found))
    }

    /// From standardised back to the data's unit.
    #[inline]
    pub fn restore(&self, value: f64) -> f64 {
        // What lies on a bound does so to the last bit.
        let lies_on = |bound: &f64| value == self.standardise(*bound);
        match (self.bounds.lowest, self.bounds.highest) {
            (None, None) => value * self.deviation + self.mean,
            (lowest, highest) => lowest.filter(lies_on).or(highest.filter(lies_on)).unwrap_or(value * self.deviation + self.mean),
        }
    }
}

/// The frame of a forecaster: its network's layout, without values.
#[derive(Debug)]
pub struct Blueprint {
    /// The configuration it was built from.
    pub config: ForecasterConfig,
    /// Names and shapes of the network's weights.
    pub layout: Layout,
    /// The network.
    pub network: Network,
    /// The quantile levels.
    pub levels: Levels,
}

impl Blueprint {
    /// Checks a configuration and lays its weights out.
    ///
    /// # Errors
    /// The field that cannot be, with what was expected and what was found.
    pub fn new(config: &ForecasterConfig, registry: &Registry) -> Result<Self, ModelError> {
        let horizon = positive("horizon", config.horizon)?;
        let (taps, width) = (positive("taps", config.taps)?, positive("width", config.width)?);
        config.scaler.check().map_err(|error| error.under("scaler"))?;
        if let Some(linear) = &config.linear {
            linear.check(horizon).map_err(|error| error.under("linear"))?;
        }
        if let Some(rate) = config.adaptive {
            crate::conformal::check_rate("adaptive", rate)?;
        }
        config.covariates.check().map_err(|error| error.under("covariates"))?;
        let levels = Levels::new(&config.quantiles)?;
        let mut layout = Layout::default();
        let network =
            Network::build(registry, &config.layers, taps, &config.covariates, width, horizon, levels.clone(), &mut layout)?;
        if layout.len() > LARGEST_ARENA {
            return Err(ModelError::config("layers", format!("at most {LARGEST_ARENA} weights"), layout.len()));
        }
        Ok(Self { config: config.clone(), layout, network, levels })
    }

    /// Samples that a forecast looks at as they are, beside the states.
    pub fn lookback(&self) -> usize {
        let span = self.config.linear.as_ref().and_then(LinearConfig::span).unwrap_or(0);
        span.max(self.config.taps)
    }

    /// Samples a column's history must remember.
    pub fn memory(&self) -> usize {
        let linear = self.config.linear.as_ref().and_then(LinearConfig::memory).unwrap_or(0);
        linear.max(self.config.taps).max(self.config.scaler.window)
    }
}

/// A forecaster with values: what is saved, loaded and streamed.
pub struct Forecaster {
    blueprint: Blueprint,
    columns: Vec<Column>,
    covariates: Covariates,
    weights: Vec<f32>,
    network: NetworkEngine,
    linear: Option<LinearExpert>,
    network_share_h: Vec<f32>,
    calibration: Option<Calibration>,
    /// Whether forecasts stay within the columns' bounds: not while it is what a calibration is made from.
    holds_bounds: bool,
    /// Samples from one step of a forecast to the next.
    rate: f64,
}

impl std::fmt::Debug for Forecaster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forecaster")
            .field("config", &self.blueprint.config)
            .field("columns", &self.columns)
            .finish_non_exhaustive()
    }
}

impl Forecaster {
    /// Puts a forecaster together. `weights` is an arena of the blueprint's layout; `linear` must be there exactly if the
    /// configuration has a linear expert; `network_share_h` is one number in 0..=1 a step of the horizon.
    ///
    /// # Errors
    /// A part that does not fit the blueprint, or a number that cannot be.
    pub fn new(
        blueprint: Blueprint,
        columns: Vec<Column>,
        covariates: Covariates,
        weights: Vec<f32>,
        linear: Option<LinearWeights>,
        network_share_h: Vec<f32>,
    ) -> Result<Self, ModelError> {
        let config = &blueprint.config;
        let width = ModelError::unless_as_many;
        width("network weights", blueprint.layout.len(), weights.len())?;
        width("network share", config.horizon, network_share_h.len())?;
        positive("columns", columns.len())?;
        let linear = match (&config.linear, linear) {
            (Some(options), Some(weights)) => Some(LinearExpert::new(weights, options, config.horizon, columns.len())?),
            (None, None) => None,
            (Some(_), None) => return Err(ModelError::config("linear", "weights of the linear expert", "none")),
            (None, Some(_)) => return Err(ModelError::config("linear", "no linear expert", "weights of one")),
        };
        columns.iter().try_for_each(|column| column.check("column"))?;
        if columns.iter().any(|column| column.jump.is_some())
            && (config.linear.is_none() || config.scaler.kind != ScalerKind::Window)
        {
            return Err(ModelError::config("jumps", "a linear expert, and a scaler of a window", "none, or another"));
        }
        covariates.fits(&config.covariates, columns.len())?;
        if !network_share_h.iter().all(|share| (0.0..=1.0).contains(share)) {
            return Err(ModelError::config("network share", "numbers in 0..=1", "others"));
        }
        let network = blueprint.network.prepare(&weights, false);
        let (calibration, holds_bounds) = (None, false);
        Ok(Self {
            network,
            blueprint,
            columns,
            covariates,
            weights,
            linear,
            network_share_h,
            calibration,
            holds_bounds,
            rate: 1.0,
        })
    }

    /// The same, uncalibrated, for its medians alone, which are the same bits at a fraction of the cost.
    ///
    /// # Errors
    /// A layer that the default registry does not know.
    pub fn medians(&self) -> Result<Self, ModelError> {
        let (count, middle) = self.blueprint.levels.shape();
        let config = ForecasterConfig { quantiles: vec![0.5], adaptive: None, ..self.config().clone() };
        let blueprint = Blueprint::new(&config, &Registry::default())?;
        let mut weights = vec![0.0; blueprint.layout.len()];
        // What differs is what ends in the levels of each step.
        for (to, from) in blueprint.layout.specs().iter().zip(self.blueprint.layout.specs()) {
            let (own, all) = (to.weight.of_mut(&mut weights), from.weight.of(&self.weights));
            match own.len() == all.len() {
                true => own.copy_from_slice(all),
                false => own.iter_mut().zip(all.chunks_exact(count)).for_each(|(own, levels)| *own = levels[middle]),
            }
        }
        let linear = self.linear.as_ref().map(|linear| linear.weights().clone());
        let medians =
            Self::new(blueprint, self.columns.clone(), self.covariates.clone(), weights, linear, self.network_share_h.clone())?;
        Ok(Self { rate: self.rate, ..medians })
    }

    /// The same, finished: with quantiles that are calibrated, where there is a calibration, and forecasts within the columns' bounds.
    ///
    /// # Panics
    /// A calibration of other columns.
    pub fn calibrated(self, calibration: Option<Calibration>) -> Self {
        let columns = calibration.as_ref().map_or(self.columns.len(), |calibration| calibration.of_columns().len());
        assert_eq!(columns, self.columns.len(), "one factor a column");
        Self { calibration, holds_bounds: true, ..self }
    }

    /// The calibration of the quantiles, if there is one.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.calibration.as_ref()
    }

    /// The same forecaster for data with `rate` samples where it was trained on one: the steps of its layers are scaled, and so is the
    /// scaler's window. Its horizon stays what it was in time: step `h` lies `h·rate` samples ahead.
    ///
    /// # Errors
    /// A rate that is not a number from 0.001 to 1000, a layer that counts samples instead of time, more than one tap or a linear expert, whose
    /// weights belong to one rate, or intervals that follow the stream, whose forecasts wait a sample a step.
    pub fn at_rate(&self, rate: f64, registry: &Registry) -> Result<Self, ModelError> {
        if !(1e-3..=1e3).contains(&rate) {
            return Err(ModelError::config("rate", "a number from 0.001 to 1000", rate));
        }
        let mut config = self.config().clone();
        if config.taps != 1 {
            return Err(ModelError::config("taps", "1, for another rate", config.taps));
        }
        if config.linear.is_some() {
            return Err(ModelError::config("linear", "no linear expert, for another rate", "one"));
        }
        if let Some(adaptive) = config.adaptive {
            return Err(ModelError::config("adaptive", "none, for another rate", adaptive));
        }
        if !config.covariates.is_empty() {
            return Err(ModelError::config("covariates", "none, for another rate", config.covariates.count()));
        }
        let scaled = |samples: usize| ((samples as f64 * rate).round() as usize).max(1);
        (config.scaler.window, config.scaler.warm_up) = (scaled(config.scaler.window), scaled(config.scaler.warm_up));
        let (blueprint, mut weights) = (Blueprint::new(&config, registry)?, self.weights.clone());
        blueprint.network.resample(&mut weights, (1.0 / rate) as f32)?;
        let resampled =
            Self::new(blueprint, self.columns.clone(), Covariates::default(), weights, None, self.network_share_h.clone())?;
        Ok(Self { rate, ..resampled.calibrated(self.calibration.clone()) })
    }

    /// The bounds, standardised, of what is said of a column after `history`; infinite where there is none, or one that a sample of the look-back passes.
    pub(crate) fn bounds_after(&self, column: usize, history: &ColumnHistory) -> (f64, f64) {
        let column = &self.columns[column];
        // The history of a column that responds to what is known is of what is left.
        if column.bounds.is_empty() || !self.holds_bounds || self.covariates.response.is_some() {
            return UNBOUNDED;
        }
        let span = self.blueprint.lookback().min(usize::try_from(history.seen()).unwrap_or(usize::MAX));
        let newest = || history.newest(span).into_iter().flatten().flatten();
        let standardised = |bound: Option<f64>| bound.map(|bound| column.standardise(bound));
        let lowest = standardised(column.bounds.lowest).filter(|lowest| newest().all(|sample| *sample >= lowest - BOUND_SLACK));
        let highest =
            standardised(column.bounds.highest).filter(|highest| newest().all(|sample| *sample <= highest + BOUND_SLACK));
        (lowest.unwrap_or(UNBOUNDED.0), highest.unwrap_or(UNBOUNDED.1))
    }

    /// Whole steps of a forecast in so many samples.
    pub(crate) fn steps_in(&self, samples: u64) -> usize {
        (samples as f64 / self.rate) as usize
    }

    /// The configuration.
    pub fn config(&self) -> &ForecasterConfig {
        &self.blueprint.config
    }

    /// The frame: layout and levels.
    pub fn blueprint(&self) -> &Blueprint {
        &self.blueprint
    }

    /// The columns it was trained on, in order.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The covariates it was trained with.
    pub fn covariates(&self) -> &Covariates {
        &self.covariates
    }

    /// The network's weights.
    pub fn weights(&self) -> &[f32] {
        &self.weights
    }

    /// The network, ready to run.
    pub fn network(&self) -> &NetworkEngine {
        &self.network
    }

    /// The linear expert, if there is one.
    pub fn linear(&self) -> Option<&LinearExpert> {
        self.linear.as_ref()
    }

    /// By which season something stands for missing samples.
    pub(crate) fn season(&self) -> Option<usize> {
        self.linear.as_ref().and_then(|linear| linear.options().season())
    }

    /// The network's part in the point forecast, one number a step of the horizon.
    pub fn network_share(&self) -> &[f32] {
        &self.network_share_h
    }

    /// All weights: network, linear expert, shares.
    pub fn parameters(&self) -> usize {
        self.weights.len() + self.network_share_h.len() + self.linear.as_ref().map_or(0, LinearExpert::parameters)
    }

    /// Weights that one sample and its forecast touch.
    pub fn active_parameters(&self) -> usize {
        let linear = self.linear.as_ref().map_or(0, LinearExpert::active_parameters);
        self.network_share_h.len() + linear + self.blueprint.network.active_parameters()
    }
}
