//! Validation with `run`, and the closed-form choice of the network's share.
//!
//! ```text
//! share_h = Σ (y − linear)(network − linear) / Σ (network − linear)²      clamped to [0, 1]
//! ```
//! Both forecasts are out of sample on the validation rows: the linear expert is fitted on training rows only. Sums are pooled
//! over neighbouring steps of the horizon.

use foretoken_model::{Forecaster, ModelError, Predictor};
use std::{ops::Range, sync::Arc};

/// Steps of the horizon on either side whose sums a share is chosen from.
const POOL: usize = 12;

/// What validation found.
#[derive(Clone, Debug)]
pub struct Validation {
    /// Mean squared error of the network alone, standardised.
    pub network_mse: f64,
    /// Of the linear expert alone, if there is one.
    pub linear_mse: Option<f64>,
    /// Of both together, with the shares below.
    pub mse: f64,
    /// The network's share, one number a step of the horizon.
    pub network_share_h: Vec<f32>,
}

/// Scores every window whose forecast rows lie in `rows`; the stream runs from the first row of `columns` (the data's unit).
///
/// # Errors
/// No window fits, or the model refuses a sample.
pub fn validate(forecaster: &Arc<Forecaster>, columns: &[&[f64]], rows: Range<usize>) -> Result<Validation, ModelError> {
    let horizon = forecaster.config().horizon;
    if rows.len() < horizon || rows.start == 0 {
        return Err(ModelError::TooShort { what: "validation", expected: horizon, found: rows.len() });
    }
    let (count, middle) = forecaster.blueprint().levels.shape();
    let standardised: Vec<Vec<f64>> = columns
        .iter()
        .zip(forecaster.columns())
        .map(|(values, column)| values[..rows.end].iter().map(|&value| column.standardise(value)).collect())
        .collect();
    let history: Vec<&[f64]> = columns.iter().map(|column| &column[..rows.end]).collect();
    let (mut cross, mut square, mut linear, mut network) =
        (vec![0.0; horizon], vec![0.0; horizon], vec![0.0; horizon], vec![0.0; horizon]);
    let mut windows = 0u64;
    let mut silent = false;
    let wanted = |row: usize| row + 1 >= rows.start && row + horizon < rows.end;
    Predictor::new(forecaster.clone()).advance_many(
        &history,
        wanted,
        |row, column, parts| {
            windows += 1;
            silent |= !parts.linear_spoke;
            let truth = &standardised[column][row + 1..][..horizon];
            for (step, &truth) in truth.iter().enumerate() {
                let median = parts.network[step * count + middle];
                network[step] += (truth - median).powi(2);
                if parts.linear_spoke {
                    let (a, b) = (median - parts.linear[step], truth - parts.linear[step]);
                    cross[step] += a * b;
                    square[step] += a * a;
                    linear[step] += b * b;
                }
            }
        },
        None,
    )?;
    let values = (windows * horizon as u64) as f64;
    let network_mse = network.iter().sum::<f64>() / values;
    if silent || forecaster.linear().is_none() {
        return Ok(Validation { network_mse, linear_mse: None, mse: network_mse, network_share_h: vec![1.0; horizon] });
    }
    let pooled = |sums: &[f64], step: usize| sums[step.saturating_sub(POOL)..(step + POOL + 1).min(horizon)].iter().sum::<f64>();
    let share = |step: usize| {
        let square = pooled(&square, step);
        if square > 0.0 { (pooled(&cross, step) / square).clamp(0.0, 1.0) } else { 0.0 }
    };
    let shares: Vec<f64> = (0..horizon).map(share).collect();
    let error = |(step, share): (usize, &f64)| linear[step] - 2.0 * share * cross[step] + share * share * square[step];
    Ok(Validation {
        network_mse,
        linear_mse: Some(linear.iter().sum::<f64>() / values),
        mse: shares.iter().enumerate().map(error).sum::<f64>() / values,
        network_share_h: shares.iter().map(|&share| share as f32).collect(),
    })
}
