//! The closed-form linear expert: one ridge map from the last samples to the whole horizon, the floor a model starts from.
//!
//! ```text
//! ŷ = [z − mean(z), p − mean(z)]·W + b + mean(z),      z the last `lookback` samples, oldest first
//! ```
//! `p`, if there is a profile, are the means of the last cycles at each phase of a season, that of the next sample first. With a return to the mean of all
//! samples so far that mean, less mean(z), is the last input.
//! With maps of the columns' own, fitted or structural, each adds `[z' − mean(z')]·D`, z' the last samples that they look back. With corrections some columns
//! have a map more, `x·D`: of their own last samples, or of those of all columns, `x = [z_1 − mean(z_1), …, z_C − mean(z_C)]`. With an autoregression these are followed by
//! the means and a 1, and of all else a part is kept, `keep·ŷ`.
//! What stands for a missing sample is what the seasons and the samples around it tell ([`Gap`](foretoken_kernels::missing::Gap)), where maps or profile have a season, else the sample before it.
//! In units of the columns' training deviation. Its weights are fitted elsewhere, in closed form; before `lookback` samples it has no say.

use crate::{
    ModelError,
    scaler::{ColumnHistory, LARGEST_SHOWN},
    weights::positive,
};
use foretoken_kernels::{
    linear::{Panels, linear},
    missing::SEASONS,
};
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
    /// For the fit: steps, ascending and below the horizon, up to which the ridges' strengths and the share of structural maps are picked on their own, as those
    /// beyond the last are; if empty, the strengths by the horizons that are scored, one share for all steps.
    // Without, the weights file is what it was.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<usize>,
    /// For the fit: shorter look-backs. The map is the mean of the ridges with each of the look-backs, and of those with the profile beside it, if
    /// there is one.
    pub shorter: Vec<usize>,
    /// Samples that every column's own map looks back, at most `lookback`; none if absent. The expert is the mean of the map of all columns and the
    /// column's own, which is shrunk towards that of all columns as much as the validation rows ask for: for many series that are not alike.
    pub own: Option<usize>,
    /// Structural maps of every column: forecasts of Gaussian processes of a level, seasons and noise, weighted by their evidence and by their errors at the
    /// horizons that are scored, without a fitted weight.
    /// A third of the expert is what it is without them, two thirds are they, where both err as much on the validation rows; more of what errs less; without
    /// corrections none at steps at which it errs 5% more with them on 96 validation rows or more. None if absent.
    pub structural: Option<StructuralConfig>,
    /// Maps of what all this leaves of each column, by its own samples or by those of all columns, each where it takes a fiftieth of the squared error both on
    /// the validation rows and on held-out quarters of the training rows. None if absent.
    // Without, the weights file is what it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correction: Option<CorrectionConfig>,
}

/// What corrections look at.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CorrectionConfig {
    /// A column's own newest samples, at most the expert's `lookback`; 0 for no such maps.
    pub own: usize,
    /// The newest samples of each of all columns, likewise.
    pub across: usize,
    /// Whether a vector autoregression of these samples, 32 of each column at most, may have a share of what is said, where it takes as much.
    // Without, the weights file is what it was.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub autoregression: bool,
}

/// Samples of all columns together that corrections look at, at most: their fit takes the square of that many values, and the third power of time.
const MOST_ACROSS: usize = 4096;

impl CorrectionConfig {
    /// Checks them for so many columns.
    ///
    /// # Errors
    /// More samples of all columns than corrections look at.
    pub fn check_columns(self, columns: usize) -> Result<(), ModelError> {
        let most = MOST_ACROSS / columns.max(1);
        match self.across > most {
            true => {
                let expected = format!("at most {most} samples of each of {columns} columns");
                Err(ModelError::config("correction.across", expected, self.across))
            }
            false => Ok(()),
        }
    }

    /// Inputs of maps of the samples of all of so many columns: with an autoregression their means and a 1 as well.
    pub fn inputs_across(self, columns: usize) -> usize {
        columns.saturating_mul(self.across).saturating_add(if self.autoregression { columns + 1 } else { 0 })
    }

    fn check(self, lookback: usize) -> Result<(), ModelError> {
        if self.autoregression && self.across == 0 {
            return Err(ModelError::config("autoregression", "some `across` that it looks at", 0));
        }
        for (name, samples) in [("own", self.own), ("across", self.across)] {
            if samples > lookback {
                return Err(ModelError::config(name, format!("at most {lookback} samples, the look-back"), samples));
            }
        }
        match self.own.max(self.across) {
            0 => Err(ModelError::config("own", "a sample or more, or some `across`", 0)),
            _ => Ok(()),
        }
    }
}

/// What structural maps look at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StructuralConfig {
    /// Samples they look back, the shortest first, at most the expert's `lookback` and 4,096, since their time grows with the third power; the map is the mean
    /// of those of each.
    pub lookbacks: Vec<usize>,
    /// Samples in a season: none, one, or two, the shorter first.
    pub seasons: Vec<usize>,
}

impl StructuralConfig {
    fn check(&self, lookback: usize) -> Result<(), ModelError> {
        let Self { lookbacks, seasons } = self;
        let longest = lookback.min(LONGEST_STRUCTURAL);
        let are_ascending = lookbacks.windows(2).all(|pair| pair[0] < pair[1]);
        if lookbacks.is_empty() || !are_ascending || lookbacks.iter().any(|own| !(1..=longest).contains(own)) {
            return Err(ModelError::config(
                "lookbacks",
                format!("one or more look-backs of 1 to {longest}, the shortest first"),
                format!("{lookbacks:?}"),
            ));
        }
        let in_order = seasons.windows(2).all(|pair| pair[0] < pair[1]);
        if seasons.len() > 2 || !in_order || seasons.iter().any(|season| !(2..=LONGEST_SPAN).contains(season)) {
            let expected = format!("at most two seasons of 2 to {LONGEST_SPAN} samples, the shorter first");
            return Err(ModelError::config("seasons", expected, format!("{seasons:?}")));
        }
        Ok(())
    }
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
    /// Checks the options of an expert for so many steps.
    ///
    /// # Errors
    /// A look-back, a season or cycles of zero, a span beyond a million samples, or cuts that do not rise below the horizon.
    pub fn check(&self, horizon: usize) -> Result<(), ModelError> {
        positive("lookback", self.lookback)?;
        if let Some(ProfileConfig { season, cycles }) = self.profile {
            positive("season", season).map_err(|error| error.under("profile"))?;
            positive("cycles", cycles).map_err(|error| error.under("profile"))?;
        }
        if let Some(shorter) = self.shorter.iter().find(|&&shorter| shorter == 0 || shorter >= self.lookback) {
            return Err(ModelError::config("shorter", format!("look-backs of 1 to {}", self.lookback - 1), shorter));
        }
        if let Some((_, twice)) = self.shorter.iter().enumerate().find(|(at, shorter)| self.shorter[..*at].contains(shorter)) {
            return Err(ModelError::config("shorter", "each look-back once", format!("{twice} twice")));
        }
        if let Some(own) = self.own.filter(|own| !(1..=self.lookback).contains(own)) {
            return Err(ModelError::config("own", format!("a look-back of 1 to {}", self.lookback), own));
        }
        if let Some(structural) = &self.structural {
            structural.check(self.lookback).map_err(|error| error.under("structural"))?;
        }
        if let Some(correction) = self.correction {
            correction.check(self.lookback).map_err(|error| error.under("correction"))?;
        }
        if let Some(reversion) = self.reversion.filter(|reversion| !(1.0..=1e9).contains(reversion)) {
            return Err(ModelError::config("reversion", "a number from 1 to a billion", reversion));
        }
        let rising = self.cuts.iter().zip(self.cuts.iter().skip(1).chain([&horizon])).all(|(cut, next)| *cut > 0 && cut < next);
        if !rising {
            return Err(ModelError::config(
                "cuts",
                format!("steps that rise from 1 to {}", horizon.saturating_sub(1)),
                format!("{:?}", self.cuts),
            ));
        }
        // What is left of one part is nothing to fit on.
        if self.folds == 1 || self.folds > MOST_FOLDS {
            return Err(ModelError::config("folds", format!("0, or 2 to {MOST_FOLDS}"), self.folds));
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

    /// Samples in the season by which something stands for a missing sample, if the options have any: else it is the one before it.
    pub fn season(&self) -> Option<usize> {
        let structural = self.structural.iter().flat_map(|structural| structural.seasons.first().copied()).next();
        structural.or(self.profile.map(|profile| profile.season))
    }

    /// Samples that must be remembered: those that it looks at, and those that tell what stands for what is missing among them.
    pub fn memory(&self) -> Option<usize> {
        self.span()?.checked_add(SEASONS.checked_mul(self.season().unwrap_or(0))?)
    }

    /// Samples that maps of the columns' own look back, fitted or structural; none without such maps.
    pub fn own_lookback(&self) -> Option<usize> {
        let structural = self.structural.iter().flat_map(|structural| &structural.lookbacks);
        self.own.into_iter().chain(structural.copied()).max()
    }

    /// Inputs of the map.
    pub fn inputs(&self) -> usize {
        self.lookback + self.profile.map_or(0, |profile| profile.season) + usize::from(self.reversion.is_some())
    }
}

/// Most samples that structural maps look back.
const LONGEST_STRUCTURAL: usize = 4096;

/// Longest span of samples that a linear expert looks at.
const LONGEST_SPAN: usize = 1 << 20;

/// Most folds: each costs a fit.
const MOST_FOLDS: usize = 100;

impl Default for LinearConfig {
    fn default() -> Self {
        Self {
            lookback: 512,
            profile: None,
            reversion: None,
            folds: 0,
            cuts: Vec::new(),
            shorter: Vec::new(),
            own: None,
            structural: None,
            correction: None,
        }
    }
}

/// Maps that some columns have.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SomeMaps {
    /// Whose they are, ascending.
    pub columns: Vec<usize>,
    /// `[map][input][horizon]`, oldest sample first.
    pub maps_kih: Vec<f32>,
}

impl SomeMaps {
    fn check(&self, what: &'static str, inputs: usize, horizon: usize, columns: usize) -> Result<(), ModelError> {
        if inputs == 0 && !self.columns.is_empty() {
            return Err(ModelError::config(what, "no columns, as nothing is looked at", format!("{:?}", self.columns)));
        }
        let is_ascending = self.columns.windows(2).all(|pair| pair[0] < pair[1]);
        if !is_ascending || self.columns.last().is_some_and(|last| *last >= columns) {
            return Err(ModelError::config(
                what,
                format!("places of {columns} columns, ascending"),
                format!("{:?}", self.columns),
            ));
        }
        ModelError::unless_as_many(what, self.columns.len() * inputs * horizon, self.maps_kih.len())
    }
}

/// The fitted map.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinearWeights {
    /// `[input][horizon]`, oldest sample first, the profile after the samples, the mean of all samples last.
    pub weights_lh: Vec<f32>,
    /// `[horizon]`.
    pub bias_h: Vec<f32>,
    /// What each column's own map adds, `[column][own][horizon]`, oldest sample first; empty without own maps.
    pub own_clh: Vec<f32>,
    /// Corrections by a column's own samples.
    pub correct_own: SomeMaps,
    /// Corrections by the samples of all columns, those of the first column first, and what an autoregression adds.
    pub correct_across: SomeMaps,
    /// The part of all else that is kept beside an autoregression, `[column][horizon]`; empty without one.
    pub keep_ch: Vec<f32>,
}

impl LinearWeights {
    /// All values of it.
    pub fn values(&self) -> [&[f32]; 6] {
        let Self { weights_lh, bias_h, own_clh, correct_own, correct_across, keep_ch } = self;
        [weights_lh, bias_h, own_clh, &correct_own.maps_kih, &correct_across.maps_kih, keep_ch]
    }
}

/// Packed maps of some columns.
struct Corrections {
    columns: Vec<usize>,
    panels: Vec<Panels>,
}

impl Corrections {
    fn pack(maps: &SomeMaps, inputs: usize, horizon: usize) -> Self {
        let panels =
            maps.maps_kih.chunks_exact((inputs * horizon).max(1)).map(|map| Panels::pack(map, inputs, horizon)).collect();
        Self { columns: maps.columns.clone(), panels }
    }

    fn of(&self, column: usize) -> Option<&Panels> {
        self.columns.binary_search(&column).ok().map(|place| &self.panels[place])
    }
}

/// The map, packed.
pub struct LinearExpert {
    weights: LinearWeights,
    options: LinearConfig,
    panels: Panels,
    /// One a column, if they have maps of their own.
    own: Vec<Panels>,
    correct_own: Corrections,
    correct_across: Corrections,
    /// Of the model, for what lies across them.
    columns: usize,
}

impl LinearExpert {
    /// Packs `weights` for so many columns, or says what is wrong with them.
    ///
    /// # Errors
    /// A wrong number of weights, or one that is not finite.
    pub fn new(weights: LinearWeights, options: &LinearConfig, horizon: usize, columns: usize) -> Result<Self, ModelError> {
        let inputs = options.inputs();
        let own = options.own_lookback().unwrap_or(0) * horizon;
        if weights.own_clh.len() != columns * own {
            let (expected, found) = (columns * own, weights.own_clh.len());
            return Err(ModelError::Width { what: "the columns' own linear maps", expected, found });
        }
        if weights.weights_lh.len() != inputs * horizon || weights.bias_h.len() != horizon {
            return Err(ModelError::Width { what: "linear expert", expected: inputs * horizon, found: weights.weights_lh.len() });
        }
        let correction = options.correction.unwrap_or_default();
        correction.check_columns(columns)?;
        weights.correct_own.check("corrections by own samples", correction.own, horizon, columns)?;
        weights.correct_across.check("corrections across columns", correction.inputs_across(columns), horizon, columns)?;
        let keep = if correction.autoregression && !weights.keep_ch.is_empty() { columns * horizon } else { 0 };
        ModelError::unless_as_many("what is kept beside an autoregression", keep, weights.keep_ch.len())?;
        Ok(Self::pack(weights, options, columns))
    }

    fn pack(weights: LinearWeights, options: &LinearConfig, columns: usize) -> Self {
        let (horizon, lookback) = (weights.bias_h.len(), options.own_lookback().unwrap_or(0));
        let panels = Panels::pack(&weights.weights_lh, options.inputs(), horizon);
        let own =
            weights.own_clh.chunks_exact((lookback * horizon).max(1)).map(|map| Panels::pack(map, lookback, horizon)).collect();
        let correction = options.correction.unwrap_or_default();
        Self {
            correct_own: Corrections::pack(&weights.correct_own, correction.own, horizon),
            correct_across: Corrections::pack(&weights.correct_across, correction.inputs_across(columns), horizon),
            weights,
            options: options.clone(),
            panels,
            own,
            columns,
        }
    }

    /// The same for these steps of the horizon alone, from 0.
    pub fn at(&self, steps: &[usize]) -> Self {
        let horizon = self.weights.bias_h.len();
        let pick = |row: &[f32]| steps.iter().map(|&step| row[step]).collect::<Vec<f32>>();
        let rows = |weights: &[f32]| weights.chunks_exact(horizon).flat_map(pick).collect();
        let some = |maps: &SomeMaps| SomeMaps { columns: maps.columns.clone(), maps_kih: rows(&maps.maps_kih) };
        let LinearWeights { weights_lh, bias_h, own_clh, correct_own, correct_across, keep_ch } = &self.weights;
        let weights = LinearWeights {
            weights_lh: rows(weights_lh),
            bias_h: pick(bias_h),
            own_clh: rows(own_clh),
            correct_own: some(correct_own),
            correct_across: some(correct_across),
            keep_ch: rows(keep_ch),
        };
        Self::pack(weights, &self.options, self.columns)
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
        self.weights.values().iter().map(|values| values.len()).sum()
    }

    /// Weights that one column's forecast touches, corrections as if they were even.
    pub fn active_parameters(&self) -> usize {
        let LinearWeights { weights_lh, bias_h, own_clh, correct_own, correct_across, .. } = &self.weights;
        let maps = own_clh.len() + correct_own.maps_kih.len() + correct_across.maps_kih.len();
        weights_lh.len() + bias_h.len() + maps.div_ceil(self.columns)
    }

    /// The newest samples of each column that a column's forecast looks at beside its own; 0 where none does.
    pub fn across(&self) -> usize {
        if self.correct_across.columns.is_empty() { 0 } else { self.options.correction.map_or(0, |correction| correction.across) }
    }

    /// Values of what lies across the columns that a column's forecast looks at; 0 where none does.
    pub fn inputs_across(&self) -> usize {
        match self.across() {
            0 => 0,
            _ => self.options.correction.map_or(0, |correction| correction.inputs_across(self.columns)),
        }
    }

    /// Whether a column's forecast looks at the samples of all columns.
    pub fn looks_across(&self, column: usize) -> bool {
        self.correct_across.of(column).is_some()
    }

    /// Whether a column's forecast, after so many samples of it, looks at the samples of all columns.
    pub fn speaks_across(&self, column: usize, seen: u64) -> bool {
        self.looks_across(column) && seen >= self.span() as u64
    }

    /// What it sees of `history`, into its inputs `x_l`: the mean that its forecast is above or below. None, and `x_l` means nothing, before `span`
    /// samples.
    pub fn look(&self, history: &ColumnHistory, x_l: &mut [f32]) -> Option<f64> {
        let span = self.span();
        if history.seen() < span as u64 {
            return None;
        }
        let lookback = self.options.lookback;
        let newest = |len: usize| history.filled(len).into_iter().flatten().flatten().copied();
        let values = || newest(lookback);
        let mean = values().sum::<f64>() / lookback as f64;
        let (z_l, rest) = x_l.split_at_mut(lookback);
        let (p_l, level) = rest.split_at_mut(rest.len() - usize::from(self.options.reversion.is_some()));
        level.fill((history.level() - mean) as f32);
        // By `for_each` of the samples: it goes through the ring's pieces one by one, `zip` asks at every sample which of them comes.
        let mut places = z_l.iter_mut();
        values().for_each(|value| places.next().into_iter().for_each(|z| *z = (value - mean) as f32));
        if let Some(ProfileConfig { season, cycles }) = self.options.profile {
            let mut values = newest(season * cycles);
            p_l.fill(0.0);
            for _ in 0..cycles {
                p_l.iter_mut().zip(values.by_ref()).for_each(|(p, value)| *p += (value - mean) as f32);
            }
            p_l.iter_mut().for_each(|p| *p /= cycles as f32);
        }
        Some(mean)
    }

    /// Whether a column's forecast after `history` looks at the samples of all columns: an autoregression in it would draw a column that is beyond where samples are cut
    /// back there.
    pub(crate) fn is_across(&self, column: usize, history: &ColumnHistory) -> bool {
        let horizon = self.weights.bias_h.len();
        let is_blended = || self.weights.keep_ch.iter().skip(column * horizon).take(horizon).any(|keep| *keep < 1.0);
        let is_near =
            || history.newest(self.across()).into_iter().flatten().flatten().all(|x| x.abs() <= f64::from(LARGEST_SHOWN));
        self.looks_across(column) && (is_near() || !is_blended())
    }

    /// How far its forecasts `[row][horizon]` are above the means, from the columns of some rows with these, whether they look across the columns, and their inputs; `across` has what they see
    /// there, of those that do. `room` has [`LinearExpert::room`] values.
    pub fn forecast(
        &self,
        rows: impl Iterator<Item = (usize, f64, bool)>,
        x_nl: &[f32],
        across: &[f32],
        y_nh: &mut [f32],
        room: &mut [f32],
    ) {
        linear(x_nl, &self.panels, Some(&self.weights.bias_h), y_nh);
        if room.is_empty() {
            return;
        }
        let (lookback, horizon) = (self.options.lookback, self.weights.bias_h.len());
        let mut across = across.chunks_exact(self.inputs_across().max(1));
        let inputs = x_nl.chunks_exact(self.panels.inputs()).zip(y_nh.chunks_exact_mut(horizon));
        for ((column, mean, is_across), (x_l, y_h)) in rows.zip(inputs) {
            for panels in self.own.get(column).into_iter().chain(self.correct_own.of(column)) {
                let (z_l, more_h) = room.split_at_mut(panels.inputs());
                let samples = &x_l[lookback - z_l.len()..lookback];
                let mean = samples.iter().sum::<f32>() / samples.len() as f32;
                z_l.iter_mut().zip(samples).for_each(|(z, sample)| *z = sample - mean);
                add(z_l, panels, &mut more_h[..horizon], y_h);
            }
            if let Some((panels, x_i)) =
                self.correct_across.of(column).filter(|_| is_across).and_then(|panels| Some((panels, across.next()?)))
            {
                if let Some(keep_h) = self.weights.keep_ch.get(column * horizon..(column + 1) * horizon) {
                    // An autoregression is of levels: of the mean as much is left as of what lies above it.
                    y_h.iter_mut().zip(keep_h).for_each(|(y, keep)| *y = keep * *y - (1.0 - keep) * mean as f32);
                }
                add(x_i, panels, &mut room[..horizon], y_h);
            }
        }
    }

    /// Values that a forecast needs room for beside its inputs and outputs.
    pub fn room(&self) -> usize {
        let inputs = self.own.iter().chain(&self.correct_own.panels).map(Panels::inputs).max();
        // What lies across the columns is looked at where it is.
        let inputs = inputs.or((!self.correct_across.columns.is_empty()).then_some(0));
        inputs.map_or(0, |inputs| inputs + self.weights.bias_h.len())
    }
}

/// Adds what a map makes of its inputs.
fn add(x_i: &[f32], panels: &Panels, more_h: &mut [f32], y_h: &mut [f32]) {
    linear(x_i, panels, None, more_h);
    y_h.iter_mut().zip(more_h).for_each(|(y, more)| *y += *more);
}
