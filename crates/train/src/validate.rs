//! Validation with `run`, the closed-form choice of the network's share, and whether the network is worth having.
//!
//! ```text
//! share = mean_p·max(0, 1 − error_p²/mean_p²)        of each part's  Σ (y − linear)(network − linear) / Σ (network − linear)², clamped to [0, 1]
//! gain  = 1 − MSE of the blend / MSE of the linear expert,      its error that of the mean of the parts' own
//! ```
//! Both forecasts are out of sample on the validation rows: the linear expert is fitted on training rows only. Sums are pooled over neighbouring steps of
//! the horizon. The rows are cut into parts in order of time, and the mean of what they ask for is shrunk by how far they disagree (its standard error):
//! a share that one month alone asks for does not hold on others. Where there are fewer windows in time than parts, the parts are of the columns.
//! The gain is on the rows that chose the shares, so it flatters the network a little.

use foretoken_kernels::thinned::is_taken;
use foretoken_model::{Beside, Forecaster, ModelError, Predictor, predictor::Parts, stretch::MOST_APART};
use serde::Serialize;
use std::{ops::Range, sync::Arc};

/// Steps of the horizon on either side whose sums a share is chosen from.
const POOL: usize = 12;
/// Parts of the rows that a share is asked of.
const PARTS: usize = 4;
/// Least gain that is worth a network.
const LEAST_GAIN: f64 = 0.002;
/// Most windows that are scored after an epoch, over all columns; beyond it one of every so many is taken. Neighbours overlap, so that more of them say
/// little more.
pub(crate) const MOST_WINDOWS: usize = 5_000;
/// Most windows by which it is decided, once, whether the network pays.
pub(crate) const MOST_DECIDING: usize = 20_000;

/// What the network adds to the linear expert.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Gain {
    /// Mean squared error of the linear expert alone.
    pub linear_mse: f64,
    /// Of both together.
    pub blend_mse: f64,
    /// How much lower that is, as a share of the linear expert's.
    pub gain: f64,
    /// Standard error of the gain over the parts of the rows; none where only one part has values.
    pub standard_error: Option<f64>,
}

impl Gain {
    /// Whether the gain is surer than its standard error, and above 0.2%.
    pub fn pays(&self) -> bool {
        self.gain > LEAST_GAIN && self.standard_error.is_some_and(|error| self.gain > error)
    }
}

/// What validation found.
#[derive(Clone, Debug, Serialize)]
pub struct Validation {
    /// Mean squared error of the network alone, standardised; the mean over the horizons.
    pub network_mse: f64,
    /// Of the linear expert alone, if there is one.
    pub linear_mse: Option<f64>,
    /// Of both together, with the shares below.
    pub mse: f64,
    /// The same at each of the horizons.
    pub mse_by_horizon: Vec<f64>,
    /// The network's share, one number a step of the horizon.
    #[serde(skip)]
    pub network_share_h: Vec<f32>,
    /// What the network adds to the linear expert; none where that does not speak at every row, and so cannot stand alone.
    pub gain: Option<Gain>,
}

/// Sums of squares and products of errors, one entry a step.
#[derive(Clone)]
struct Sums {
    /// Truths that were there, and those of them where the linear expert spoke.
    values: u64,
    spoken: [u64; PARTS],
    /// Of the network's errors.
    network: Vec<f64>,
    /// Of the linear expert's.
    linear: Vec<f64>,
    /// Of the network's distance from the linear expert, by part of the rows.
    square: [Vec<f64>; PARTS],
    /// Of that distance times the linear expert's error, likewise.
    cross: [Vec<f64>; PARTS],
}

impl Sums {
    fn new(horizon: usize) -> Self {
        let zeros = || vec![0.0; horizon];
        Self {
            values: 0,
            spoken: [0; PARTS],
            network: zeros(),
            linear: zeros(),
            square: [(); PARTS].map(|()| zeros()),
            cross: [(); PARTS].map(|()| zeros()),
        }
    }

    /// Adds the sums of other columns.
    fn merge(&mut self, other: &Self) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        self.values += other.values;
        add(&mut self.network, &other.network);
        add(&mut self.linear, &other.linear);
        for part in 0..PARTS {
            self.spoken[part] += other.spoken[part];
            add(&mut self.square[part], &other.square[part]);
            add(&mut self.cross[part], &other.cross[part]);
        }
    }

    /// Truths where the linear expert spoke.
    fn all_spoken(&self) -> u64 {
        self.spoken.iter().sum()
    }

    /// How much lower the blend's mean squared error is than the linear expert's, on one part of the rows; none without values there.
    fn gain(&self, part: usize, share_h: &[f64]) -> Option<f64> {
        let of = |step: usize| share_h[step] * (2.0 * self.cross[part][step] - share_h[step] * self.square[part][step]);
        let spoken = self.spoken[part];
        (spoken > 0).then(|| (0..self.linear.len()).map(of).sum::<f64>() / spoken as f64)
    }

    /// Mean over all values of the blend's squared errors; `share(step)` is the network's.
    fn mse(&self, share: impl Fn(usize) -> f64) -> f64 {
        let error = |step: usize| {
            let share = share(step);
            let all = |parts: &[Vec<f64>; PARTS]| parts.iter().map(|part| part[step]).sum::<f64>();
            self.linear[step] - 2.0 * share * all(&self.cross) + share * share * all(&self.square)
        };
        (0..self.linear.len()).map(error).sum::<f64>() / self.all_spoken() as f64
    }
}

/// Whether a window that begins at this place of the rows is among the one of so many that are looked at; the first is, since it fits any horizon.
pub(crate) fn is_wanted(place: usize, of: usize) -> bool {
    place == 0 || is_taken(place, of, 0)
}

/// A stream over held-back rows: it takes missing samples, and its quantiles are the model's own, whatever the configuration lets them learn.
pub(crate) fn held_back(forecaster: &Arc<Forecaster>, beside: &Beside<'_>) -> Result<Predictor, ModelError> {
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.allow_missing(true);
    predictor.adapt(None)?;
    predictor.tell(beside)?;
    Ok(predictor)
}

/// Of the mean of so many values; none below two.
fn standard_error(values: &[f64]) -> Option<f64> {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (count - 1.0);
    (values.len() > 1).then(|| (variance / count).sqrt())
}

/// Scores the windows whose forecast rows lie in `rows`, at each of the `horizons`, none longer than the model's; the stream runs from the first
/// row of `columns` (the data's unit). About `most` windows at most.
///
/// # Errors
/// No window fits, or the model refuses a sample.
pub fn validate(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    rows: Range<usize>,
    horizons: &[usize],
    most: usize,
) -> Result<Validation, ModelError> {
    let shortest = horizons.iter().copied().min().unwrap_or(forecaster.config().horizon);
    if rows.len() < shortest || rows.start == 0 {
        return Err(ModelError::TooShort { what: "validation", expected: shortest, found: rows.len() });
    }
    let (count, middle) = forecaster.blueprint().levels.shape();
    let history: Vec<&[f64]> = columns.iter().map(|column| &column[..rows.end]).collect();
    let mut groups: Vec<Vec<Sums>> =
        vec![horizons.iter().map(|&horizon| Sums::new(horizon)).collect(); columns.len().min(MOST_APART)];
    let stride = ((rows.len() - shortest + 1) * columns.len()).div_ceil(most);
    let wanted = |row: usize| row + 1 >= rows.start && row + shortest < rows.end && is_wanted(row + 1 - rows.start, stride);
    let add = |by_horizon: &mut [Sums], row: usize, column: usize, parts: &Parts| {
        for sums in by_horizon.iter_mut().filter(|sums| row + sums.linear.len() < rows.end) {
            // By the window's first row, so that every horizon has all parts.
            let windows = rows.len() - sums.linear.len() + 1;
            let part = if windows < PARTS { column % PARTS } else { (row + 1 - rows.start) * PARTS / windows };
            let truth = history[column][row + 1..][..sums.linear.len()].iter();
            let truth = truth.map(|&value| forecaster.columns()[column].standardise(value));
            for (step, truth) in truth.enumerate().filter(|(_, truth)| !truth.is_nan()) {
                sums.values += 1;
                sums.spoken[part] += u64::from(parts.linear_spoke);
                let median = parts.network[step * count + middle];
                sums.network[step] += (truth - median).powi(2);
                if parts.linear_spoke {
                    let (a, b) = (median - parts.linear[step], truth - parts.linear[step]);
                    sums.cross[part][step] += a * b;
                    sums.square[part][step] += a * a;
                    sums.linear[step] += b * b;
                }
            }
        }
    };
    let sinks = groups.iter_mut().map(|sums| |row: usize, column: usize, parts: &Parts| add(sums, row, column, parts));
    held_back(forecaster, beside)?.advance_many_apart(&history, wanted, &mut sinks.collect::<Vec<_>>())?;
    let mut groups = groups.into_iter();
    let mut by_horizon = groups.next().unwrap_or_default();
    groups.for_each(|group| by_horizon.iter_mut().zip(&group).for_each(|(sums, more)| sums.merge(more)));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    // A horizon that no row is far enough from has no error; any other that is NaN stays one.
    let over_horizons = |errors: &[f64]| {
        let known = errors.iter().zip(&by_horizon).filter(|(_, sums)| sums.values > 0);
        mean(&known.map(|(error, _)| *error).collect::<Vec<_>>())
    };
    let network: Vec<f64> = by_horizon.iter().map(|sums| sums.network.iter().sum::<f64>() / sums.values as f64).collect();
    let network_mse = over_horizons(&network);
    let horizon = forecaster.config().horizon;
    if by_horizon.iter().all(|sums| sums.values == 0) {
        return Err(ModelError::TooShort { what: "validation", expected: 1, found: 0 });
    }
    if by_horizon.iter().any(|sums| sums.values > 0 && sums.all_spoken() == 0) {
        return Ok(Validation {
            network_mse,
            linear_mse: None,
            mse: network_mse,
            mse_by_horizon: network,
            network_share_h: vec![1.0; horizon],
            gain: None,
        });
    }
    // Of a step beyond the longest horizon that was scored nothing is known but its neighbours.
    let longest = horizons.iter().copied().max().unwrap_or(horizon);
    let pooled = |sums: &dyn Fn(&Sums) -> &[f64], step: usize| {
        let near = step.min(longest - 1).saturating_sub(POOL)..(step + POOL + 1).min(longest);
        let of = |each: &Sums| sums(each).get(near.start..near.end.min(each.linear.len())).map_or(0.0, |part| part.iter().sum());
        by_horizon.iter().map(of).sum::<f64>()
    };
    let share = |step: usize| {
        let of_part = |part: usize| {
            let square = pooled(&|sums| &sums.square[part], step);
            (square > 0.0).then(|| (pooled(&|sums| &sums.cross[part], step) / square).clamp(0.0, 1.0))
        };
        let known: Vec<f64> = (0..PARTS).filter_map(of_part).collect();
        let mean = known.iter().sum::<f64>() / known.len().max(1) as f64;
        match standard_error(&known) {
            Some(error) if mean > 0.0 => mean * (1.0 - error * error / (mean * mean)).max(0.0),
            _ => mean,
        }
    };
    let share_h: Vec<f64> = (0..horizon).map(share).collect();
    let mse_by_horizon: Vec<f64> = by_horizon.iter().map(|sums| sums.mse(|step| share_h[step])).collect();
    let linear: Vec<f64> = by_horizon.iter().map(|sums| sums.mse(|_| 0.0)).collect();
    let (mse, linear_mse) = (over_horizons(&mse_by_horizon), over_horizons(&linear));
    let of_part = |part: usize| {
        let known: Vec<f64> = by_horizon.iter().filter_map(|sums| sums.gain(part, &share_h)).collect();
        (!known.is_empty()).then(|| mean(&known) / linear_mse)
    };
    let gains: Vec<f64> = (0..PARTS).filter_map(of_part).collect();
    let gain = Gain { linear_mse, blend_mse: mse, gain: 1.0 - mse / linear_mse, standard_error: standard_error(&gains) };
    Ok(Validation {
        network_mse,
        linear_mse: Some(linear_mse),
        mse,
        mse_by_horizon,
        network_share_h: share_h.iter().map(|&share| share as f32).collect(),
        gain: by_horizon.iter().all(|sums| sums.values == sums.all_spoken()).then_some(gain),
    })
}
