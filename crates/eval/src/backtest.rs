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

/// First rows of forecasts: all of a range, or every so many of it, the last one always among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    range: Range<usize>,
    step: usize,
}

impl Origins {
    /// Every origin whose `horizon` forecast rows lie in `rows`.
    ///
    /// # Errors
    /// Too few rows for one window.
    pub fn of(rows: &Range<usize>, horizon: usize) -> Result<Self, EvalError> {
        if rows.len() < horizon {
            return Err(EvalError::TooShort { what: "backtest", expected: horizon, found: rows.len() });
        }
        Ok(Self { range: rows.start..rows.end - horizon + 1, step: 1 })
    }

    /// Every `step`-th origin, counted back from the last, and at most `windows` of them. Both at least 1.
    pub fn thinned(self, step: usize, windows: Option<usize>) -> Self {
        let last = self.range.end - 1;
        let count = self.range.len().div_ceil(step).min(windows.unwrap_or(usize::MAX));
        Self { range: last - (count - 1) * step..last + 1, step }
    }

    /// From the first to the last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + Clone + use<> {
        self.range.clone().step_by(self.step)
    }

    /// Whether a forecast starts at this row.
    pub fn contains(&self, row: usize) -> bool {
        self.range.contains(&row) && (row - self.range.start).is_multiple_of(self.step)
    }

    /// A baseline's forecasts of one column at all of them, `[origin][horizon]`.
    fn forecasts(&self, baseline: &dyn Baseline, column: &[f64]) -> Vec<f64> {
        match self.step {
            1 => baseline.forecast(column, self.range.clone()),
            _ => self.iter().flat_map(|origin| baseline.forecast(column, origin..origin + 1)).collect(),
        }
    }
}

fn check(baseline: &dyn Baseline, origins: &Origins) -> Result<(), EvalError> {
    let (expected, found) = (baseline.lookback(), origins.range.start);
    if found < expected { Err(EvalError::TooShort { what: "look-back of a baseline", expected, found }) } else { Ok(()) }
}

/// Scores `baseline` at every origin of every standardised column; its quantiles are its points plus `spread` `[horizon][levels]`.
///
/// # Errors
/// Too few rows before the first origin.
pub fn evaluate(
    baseline: &dyn Baseline,
    columns: &[Vec<f64>],
    origins: &Origins,
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
            let forecasts = origins.forecasts(baseline, column);
            for (origin, points) in origins.iter().zip(forecasts.chunks_exact(horizon)) {
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
    origins: &Origins,
    horizon: usize,
    levels: &[f64],
) -> Result<Vec<f64>, EvalError> {
    check(baseline, origins)?;
    let forecasts: Vec<Vec<f64>> = columns.par_iter().map(|column| origins.forecasts(baseline, column)).collect();
    let spread = (0..horizon).into_par_iter().flat_map_iter(|step| {
        let mut errors: Vec<f64> = Vec::with_capacity(columns.len() * origins.iter().len());
        for (column, forecasts) in columns.iter().zip(&forecasts) {
            errors.extend(origins.iter().enumerate().map(|(at, origin)| column[origin + step] - forecasts[at * horizon + step]));
        }
        errors.sort_unstable_by(f64::total_cmp);
        let last = errors.len() - 1;
        levels.iter().map(move |level| errors[(level * last as f64).round() as usize]).collect::<Vec<_>>()
    });
    Ok(spread.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_origins_end_with_the_last() {
        let all = Origins::of(&(10..30), 5).unwrap();
        let rows = |origins: &Origins| origins.iter().collect::<Vec<_>>();
        assert_eq!((rows(&all).len(), rows(&all)[0], rows(&all)[15]), (16, 10, 25));
        let thin = all.clone().thinned(4, None);
        assert_eq!(rows(&thin), [13, 17, 21, 25]);
        assert_eq!(rows(&all.clone().thinned(4, Some(2))), [21, 25]);
        assert_eq!(rows(&all.clone().thinned(100, Some(9))), [25]);
        assert!((0..40).filter(|&row| thin.contains(row)).eq(thin.iter()));
        assert!(Origins::of(&(0..4), 5).is_err());
    }
}
