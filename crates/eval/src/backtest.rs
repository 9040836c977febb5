//! The rolling backtest: every window of a range of rows, no window dropped.

use crate::{
    EvalError,
    metrics::{ScoreBoard, Scores},
};
use rayon::prelude::*;
use std::ops::Range;

/// A baseline: point forecasts from the rows before each origin.
pub trait Baseline: Sync {
    /// Rows it needs before an origin.
    fn lookback(&self) -> usize;

    /// Forecasts `[origin][horizon]` of one standardised column; the first forecast row is the origin itself.
    fn forecast(&self, column: &[f64], origins: Range<usize>) -> Vec<f64>;
}

/// Every origin whose forecast rows lie in `rows`.
///
/// # Errors
/// Too few rows for one window.
pub fn origins(rows: &Range<usize>, horizon: usize) -> Result<Range<usize>, EvalError> {
    if rows.len() < horizon {
        return Err(EvalError::TooShort { what: "backtest", expected: horizon, found: rows.len() });
    }
    Ok(rows.start..rows.end - horizon + 1)
}

fn check(baseline: &dyn Baseline, origins: &Range<usize>) -> Result<(), EvalError> {
    let (expected, found) = (baseline.lookback(), origins.start);
    if found < expected { Err(EvalError::TooShort { what: "look-back of a baseline", expected, found }) } else { Ok(()) }
}

/// Scores `baseline` at every origin of every standardised column; its quantiles are its points plus `spread` `[horizon][levels]`.
///
/// # Errors
/// Too few rows before the first origin.
pub fn evaluate(
    baseline: &dyn Baseline,
    columns: &[Vec<f64>],
    origins: &Range<usize>,
    levels: &[f64],
    spread: &[f64],
    scales: &[f64],
) -> Result<Scores, EvalError> {
    check(baseline, origins)?;
    let horizon = spread.len() / levels.len();
    let boards: Vec<ScoreBoard> = columns
        .par_iter()
        .enumerate()
        .map(|(index, column)| {
            let mut board = ScoreBoard::new(horizon, levels, scales);
            let mut quantiles = vec![0.0; spread.len()];
            let forecasts = baseline.forecast(column, origins.clone());
            for (origin, points) in origins.clone().zip(forecasts.chunks_exact(horizon)) {
                for ((quantiles, spread), point) in
                    quantiles.chunks_exact_mut(levels.len()).zip(spread.chunks_exact(levels.len())).zip(points)
                {
                    quantiles.iter_mut().zip(spread).for_each(|(quantile, offset)| *quantile = point + offset);
                }
                board.add(index, &column[origin..origin + horizon], points.iter().copied(), &quantiles);
            }
            board
        })
        .collect();
    let mut total = ScoreBoard::new(horizon, levels, scales);
    boards.iter().for_each(|board| total.merge(board));
    Ok(total.scores())
}

/// Quantiles `[horizon][levels]` of a baseline's errors over `origins` and all columns: what to add to its points.
///
/// # Errors
/// Too few rows before the first origin.
pub fn residual_spread(
    baseline: &dyn Baseline,
    columns: &[Vec<f64>],
    origins: &Range<usize>,
    horizon: usize,
    levels: &[f64],
) -> Result<Vec<f64>, EvalError> {
    check(baseline, origins)?;
    let forecasts: Vec<Vec<f64>> = columns.par_iter().map(|column| baseline.forecast(column, origins.clone())).collect();
    let spread = (0..horizon).into_par_iter().flat_map_iter(|step| {
        let mut errors: Vec<f64> = Vec::with_capacity(columns.len() * origins.len());
        for (column, forecasts) in columns.iter().zip(&forecasts) {
            errors.extend(origins.clone().enumerate().map(|(at, origin)| column[origin + step] - forecasts[at * horizon + step]));
        }
        errors.sort_unstable_by(f64::total_cmp);
        let last = errors.len() - 1;
        levels.iter().map(move |level| errors[(level * last as f64).round() as usize]).collect::<Vec<_>>()
    });
    Ok(spread.collect())
}
