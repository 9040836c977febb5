//! Validation with `run`, and the closed-form choice of the network's share.
//!
//! ```text
//! share = mean_p·max(0, 1 − error_p²/mean_p²)        of each part's  Σ (y − linear)(network − linear) / Σ (network − linear)², clamped to [0, 1]
//! ```
//! Both forecasts are out of sample on the validation rows: the linear expert is fitted on training rows only. Sums are pooled over neighbouring steps of
//! the horizon. The rows are cut into parts in order of time, and the mean of what they ask for is shrunk by how far they disagree (its standard error):
//! a share that one month alone asks for does not hold on others.

use foretoken_model::{Beside, Forecaster, ModelError, Predictor};
use std::{ops::Range, sync::Arc};

/// Steps of the horizon on either side whose sums a share is chosen from.
const POOL: usize = 12;
/// Parts of the rows that a share is asked of.
const PARTS: usize = 4;
/// Most windows that are scored, over all columns; beyond it they are taken by stride.
const MOST_WINDOWS: usize = 20_000;

/// What validation found.
#[derive(Clone, Debug)]
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
    pub network_share_h: Vec<f32>,
}

/// Sums of squares and products of errors, one entry a step.
#[derive(Clone)]
struct Sums {
    /// Truths that were there, and those of them where the linear expert spoke.
    values: u64,
    spoken: u64,
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
            spoken: 0,
            network: zeros(),
            linear: zeros(),
            square: [(); PARTS].map(|()| zeros()),
            cross: [(); PARTS].map(|()| zeros()),
        }
    }

    /// Mean over all values of the blend's squared errors; `share(step)` is the network's.
    fn mse(&self, share: impl Fn(usize) -> f64) -> f64 {
        let error = |step: usize| {
            let share = share(step);
            let all = |parts: &[Vec<f64>; PARTS]| parts.iter().map(|part| part[step]).sum::<f64>();
            self.linear[step] - 2.0 * share * all(&self.cross) + share * share * all(&self.square)
        };
        (0..self.linear.len()).map(error).sum::<f64>() / self.spoken.max(1) as f64
    }
}

/// A stream over held-back rows: it takes missing samples, and its quantiles are the model's own, whatever the configuration lets them learn.
pub(crate) fn held_back(forecaster: &Arc<Forecaster>, beside: &Beside<'_>) -> Result<Predictor, ModelError> {
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.allow_missing(true);
    predictor.adapt(None)?;
    predictor.tell(beside)?;
    Ok(predictor)
}

/// Scores the windows whose forecast rows lie in `rows`, at each of the `horizons`, none longer than the model's; the stream runs from the first
/// row of `columns` (the data's unit).
///
/// # Errors
/// No window fits, or the model refuses a sample.
pub fn validate(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    rows: Range<usize>,
    horizons: &[usize],
) -> Result<Validation, ModelError> {
    let shortest = horizons.iter().copied().min().unwrap_or(forecaster.config().horizon);
    if rows.len() < shortest || rows.start == 0 {
        return Err(ModelError::TooShort { what: "validation", expected: shortest, found: rows.len() });
    }
    let (count, middle) = forecaster.blueprint().levels.shape();
    let standardised: Vec<Vec<f64>> = columns
        .iter()
        .zip(forecaster.columns())
        .map(|(values, column)| values[..rows.end].iter().map(|&value| column.standardise(value)).collect())
        .collect();
    let history: Vec<&[f64]> = columns.iter().map(|column| &column[..rows.end]).collect();
    let mut by_horizon: Vec<Sums> = horizons.iter().map(|&horizon| Sums::new(horizon)).collect();
    let stride = ((rows.len() - shortest + 1) * columns.len()).div_ceil(MOST_WINDOWS).max(1);
    let wanted = |row: usize| row + 1 >= rows.start && row + shortest < rows.end && (row + 1 - rows.start).is_multiple_of(stride);
    let mut predictor = held_back(forecaster, beside)?;
    predictor.advance_many(
        &history,
        wanted,
        |row, column, parts| {
            for sums in by_horizon.iter_mut().filter(|sums| row + sums.linear.len() < rows.end) {
                // By the window's first row, so that every horizon has all parts.
                let part = (row + 1 - rows.start) * PARTS / (rows.len() - sums.linear.len() + 1);
                let truth = &standardised[column][row + 1..][..sums.linear.len()];
                for (step, &truth) in truth.iter().enumerate().filter(|(_, truth)| !truth.is_nan()) {
                    sums.values += 1;
                    sums.spoken += u64::from(parts.linear_spoke);
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
        },
        None,
    )?;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let network: Vec<f64> = by_horizon.iter().map(|sums| sums.network.iter().sum::<f64>() / sums.values.max(1) as f64).collect();
    let network_mse = mean(&network);
    let horizon = forecaster.config().horizon;
    if by_horizon.iter().all(|sums| sums.values == 0) {
        return Err(ModelError::TooShort { what: "validation", expected: 1, found: 0 });
    }
    if by_horizon.iter().any(|sums| sums.spoken == 0) {
        return Ok(Validation {
            network_mse,
            linear_mse: None,
            mse: network_mse,
            mse_by_horizon: network,
            network_share_h: vec![1.0; horizon],
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
        if known.len() < 2 || mean == 0.0 {
            return mean;
        }
        let variance = known.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (known.len() - 1) as f64;
        mean * (1.0 - variance / known.len() as f64 / (mean * mean)).max(0.0)
    };
    let shares: Vec<f64> = (0..horizon).map(share).collect();
    let mse_by_horizon: Vec<f64> = by_horizon.iter().map(|sums| sums.mse(|step| shares[step])).collect();
    Ok(Validation {
        network_mse,
        linear_mse: Some(mean(&by_horizon.iter().map(|sums| sums.mse(|_| 0.0)).collect::<Vec<_>>())),
        mse: mean(&mse_by_horizon),
        mse_by_horizon,
        network_share_h: shares.iter().map(|&share| share as f32).collect(),
    })
}
