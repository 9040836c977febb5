//! The rolling backtest: every window of a range of rows, no window dropped.

use crate::{EvalError, HorizonBoards, metrics::Scores};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;
use std::ops::Range;

/// Origins whose forecasts are held at once.
const BLOCK: usize = 256;
/// Partial sums, whatever the number of threads, so that the result does not depend on it.
const PARTS: usize = 64;
/// Blocks whose forecasts are made beside each other; it divides the parts.
const ROUND: usize = 16;

/// A baseline: point forecasts from the rows before each origin.
pub trait Baseline: Sync {
    /// Rows it needs before an origin.
    fn lookback(&self) -> usize;

    /// Forecasts `[origin][horizon]` of one standardised column, the `index`-th of those that the baseline was fitted on; the first forecast row is the
    /// origin itself. NaN in the column is a missing value, NaN in the forecast is none.
    fn forecast(&self, index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64>;
}

impl<B: Baseline + ?Sized> Baseline for &B {
    fn lookback(&self) -> usize {
        (**self).lookback()
    }

    fn forecast(&self, index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        (**self).forecast(index, column, origins)
    }
}

/// First rows of forecasts: all of a range, or every so many of it, the last one always among them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origins {
    /// Where the rows end that forecasts lie in.
    end: usize,
    range: Range<usize>,
    step: usize,
}

impl Origins {
    /// Every origin whose first `shortest` forecast rows lie in `rows`: longer horizons fit all of them but the last.
    ///
    /// # Errors
    /// Too few rows for one window.
    pub fn of(rows: &Range<usize>, shortest: usize) -> Result<Self, EvalError> {
        if rows.len() < shortest {
            return Err(EvalError::TooShort { what: "backtest", expected: shortest, found: rows.len() });
        }
        Ok(Self { end: rows.end, range: rows.start..rows.end - shortest + 1, step: 1 })
    }

    /// Every `step`-th origin, counted from the last that a horizon longer than the shortest by `longer` fits, if any does, and at most `windows` of them, the
    /// last ones. Both at least 1.
    pub fn thinned(self, longer: usize, step: usize, windows: Option<usize>) -> Self {
        let behind = if longer < self.range.len() { longer % step } else { 0 };
        let (last, len) = (self.range.end - 1 - behind, self.range.len() - behind);
        let count = len.div_ceil(step).min(windows.unwrap_or(usize::MAX));
        Self { range: last - (count - 1) * step..last + 1, step, ..self }
    }

    /// From the first to the last.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = usize> + Clone + use<> {
        self.range.clone().step_by(self.step)
    }

    /// The first of them.
    pub fn first(&self) -> usize {
        self.range.start
    }

    /// Where the rows end that forecasts lie in.
    pub fn end(&self) -> usize {
        self.end
    }

    /// At most `count` of them at a time, in order; their forecasts lie in the same rows. `count` is at least 1.
    pub fn chunks(&self, count: usize) -> Vec<Self> {
        let rows = self.step.saturating_mul(count);
        let chunk = |start: usize| Self { range: start..self.range.end.min(start.saturating_add(rows)), ..*self };
        self.range.clone().step_by(rows).map(chunk).collect()
    }

    /// Whether a forecast starts at this row.
    pub fn contains(&self, row: usize) -> bool {
        self.range.contains(&row) && (row - self.range.start).is_multiple_of(self.step)
    }

    /// Every column with some of the origins, by column.
    fn blocks(&self, columns: usize) -> Vec<(usize, Vec<usize>)> {
        let origins: Vec<usize> = self.iter().collect();
        (0..columns).flat_map(|column| origins.chunks(BLOCK).map(move |block| (column, block.to_vec()))).collect()
    }

    /// Every (column, origin), or one of every so many for at most `most` of them, in blocks by column.
    fn sample(&self, columns: usize, most: usize) -> Vec<(usize, Vec<usize>)> {
        let per_column = self.iter().len();
        let total = per_column * columns;
        let mut blocks: Vec<(usize, Vec<usize>)> = Vec::new();
        for place in taken(0..total, total.div_ceil(most).max(1), 0) {
            let (column, origin) = (place / per_column, self.range.start + place % per_column * self.step);
            match blocks.last_mut() {
                Some((last, block)) if *last == column && block.len() < BLOCK => block.push(origin),
                _ => blocks.push((column, vec![origin])),
            }
        }
        blocks
    }
}

/// A baseline's forecasts of one column at these origins, `[origin][horizon]`; neighbours are asked for at once.
fn forecasts(baseline: &dyn Baseline, index: usize, column: &[f64], origins: &[usize]) -> Vec<f64> {
    let runs = origins.chunk_by(|before, after| before + 1 == *after);
    runs.flat_map(|run| baseline.forecast(index, column, run[0]..run[0] + run.len())).collect()
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
    columns: &[impl AsRef<[f64]> + Sync],
    origins: &Origins,
    levels: &[f64],
    spread: &[f64],
    scales: &[f64],
) -> Result<Scores, EvalError> {
    let cuts = [spread.len() / levels.len()];
    let boards = HorizonBoards::new(&(origins.first()..origins.end()), &cuts, levels, scales);
    Ok(evaluate_at(baseline, columns, origins, spread, boards, None)?.scores().remove(0))
}

/// A window as it was scored: so many steps of one column from its origin on, standardised.
#[derive(Clone, Copy, Debug)]
pub struct Window<'a> {
    /// The column.
    pub column: usize,
    /// The first row that is forecast.
    pub origin: usize,
    /// `[steps]`; NaN is none.
    pub points: &'a [f64],
    /// `[steps][levels]`.
    pub quantiles: &'a [f64],
}

/// Told of every window, in order.
pub type Told<'a> = &'a mut dyn FnMut(Window<'_>);

/// The same for the several horizons of `boards`, which are empty: none is longer than that of `spread` and the baseline, and each is scored over
/// the origins that it fits. `told` hears of every window, up to the longest horizon that fits.
///
/// # Errors
/// Too few rows before the first origin.
pub fn evaluate_at(
    baseline: &dyn Baseline,
    columns: &[impl AsRef<[f64]> + Sync],
    origins: &Origins,
    spread: &[f64],
    boards: HorizonBoards,
    mut told: Option<Told<'_>>,
) -> Result<HorizonBoards, EvalError> {
    check(baseline, origins)?;
    let count = boards.levels().len();
    let horizon = spread.len() / count;
    assert!(boards.longest() <= horizon, "a horizon of {} beyond that of {horizon}", boards.longest());
    let shift = |points: &[f64], quantiles: &mut [f64]| {
        for ((quantiles, spread), point) in quantiles.chunks_exact_mut(count).zip(spread.chunks_exact(count)).zip(points) {
            quantiles.iter_mut().zip(spread).for_each(|(quantile, offset)| *quantile = point + offset);
        }
    };
    let blocks = origins.blocks(columns.len());
    let mut parts = vec![boards.clone(); PARTS.min(blocks.len())];
    for (round, blocks) in blocks.chunks(ROUND).enumerate() {
        let first = round * ROUND % PARTS;
        let scored = parts[first..].par_iter_mut().zip(blocks).map(|(boards, (index, block))| {
            let column = columns[*index].as_ref();
            let points = forecasts(baseline, *index, column, block);
            let mut quantiles = vec![0.0; spread.len()];
            for (origin, points) in block.iter().zip(points.chunks_exact(horizon)) {
                let steps = boards.steps(*origin);
                shift(&points[..steps], &mut quantiles);
                boards.add(*origin, *index, &column[*origin..origin + steps], points, &quantiles);
            }
            points
        });
        let scored: Vec<Vec<f64>> = scored.collect();
        let Some(told) = &mut told else { continue };
        let mut quantiles = vec![0.0; spread.len()];
        for ((column, block), points) in blocks.iter().zip(&scored) {
            for (&origin, points) in block.iter().zip(points.chunks_exact(horizon)) {
                let points = &points[..boards.steps(origin)];
                shift(points, &mut quantiles);
                told(Window { column: *column, origin, points, quantiles: &quantiles[..points.len() * count] });
            }
        }
    }
    let mut total = boards;
    parts.iter().for_each(|part| total.merge(part));
    Ok(total)
}

/// Quantiles `[horizon][levels]` of a baseline's errors over `origins` and all columns: what to add to its points. Of more than `most` windows, an
/// even sample. A step that no origin with a truth reaches has the spread of the step before it; NaN if there is none.
///
/// # Errors
/// Too few rows before the first origin.
pub fn residual_spread(
    baseline: &dyn Baseline,
    columns: &[impl AsRef<[f64]> + Sync],
    origins: &Origins,
    horizon: usize,
    levels: &[f64],
    most: usize,
) -> Result<Vec<f64>, EvalError> {
    check(baseline, origins)?;
    let blocks = origins.sample(columns.len(), most);
    // `[origin][horizon]` of each block; NaN where there is no truth, no forecast or no row.
    let errors = blocks.par_iter().map(|(index, block)| {
        let column = columns[*index].as_ref();
        let mut errors = forecasts(baseline, *index, column, block);
        for (origin, errors) in block.iter().zip(errors.chunks_exact_mut(horizon)) {
            let truths = column[*origin..origins.end].iter().copied().chain(std::iter::repeat(f64::NAN));
            errors.iter_mut().zip(truths).for_each(|(error, truth)| *error = truth - *error);
        }
        errors
    });
    let errors: Vec<Vec<f64>> = errors.collect();
    let of_step = |step: usize| {
        let all = errors.iter().flat_map(|errors| errors.iter().skip(step).step_by(horizon));
        let mut sorted: Vec<f64> = all.copied().filter(|error| !error.is_nan()).collect();
        sorted.sort_unstable_by(f64::total_cmp);
        let at = |level: &f64| sorted[(level * (sorted.len() - 1) as f64).round() as usize];
        (!sorted.is_empty()).then(|| levels.iter().map(at).collect::<Vec<f64>>())
    };
    let by_step: Vec<Option<Vec<f64>>> = (0..horizon).into_par_iter().map(of_step).collect();
    let mut last = vec![f64::NAN; levels.len()];
    let mut spread = Vec::with_capacity(horizon * levels.len());
    for step in by_step {
        last = step.unwrap_or(last);
        spread.extend_from_slice(&last);
    }
    Ok(spread)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thinned_origins_end_with_the_last() {
        let all = Origins::of(&(10..30), 5).unwrap();
        let rows = |origins: &Origins| origins.iter().collect::<Vec<_>>();
        assert_eq!((rows(&all).len(), rows(&all)[0], rows(&all)[15]), (16, 10, 25));
        let thin = all.clone().thinned(0, 4, None);
        assert_eq!(rows(&thin), [13, 17, 21, 25]);
        assert_eq!(rows(&all.clone().thinned(0, 4, Some(2))), [21, 25]);
        assert_eq!(rows(&all.clone().thinned(0, 100, Some(9))), [25]);
        assert!((0..40).filter(|&row| thin.contains(row)).eq(thin.iter()));
        // The last window of a longer horizon is among them, and those behind it that a shorter one has.
        assert_eq!(rows(&all.clone().thinned(6, 4, None)), [11, 15, 19, 23]);
        assert_eq!(rows(&all.clone().thinned(5, 4, None)), [12, 16, 20, 24]);
        assert_eq!(rows(&all.clone().thinned(6, 100, None)), [19]);
        assert_eq!(rows(&all.clone().thinned(16, 4, None)), [13, 17, 21, 25]);
        assert!(Origins::of(&(0..4), 5).is_err());
    }

    #[test]
    fn chunks_are_all_origins_in_order() {
        let origins = Origins::of(&(10..30), 5).unwrap().thinned(0, 3, None);
        for count in [1, 2, 4, 6, 100, usize::MAX] {
            let chunks = origins.chunks(count);
            assert!(chunks.iter().flat_map(Origins::iter).eq(origins.iter()), "{count}");
            assert!(chunks.iter().all(|chunk| chunk.iter().len() <= count && chunk.end() == 30 && chunk.contains(chunk.first())));
            assert_eq!(chunks.len(), 6usize.div_ceil(count));
        }
    }

    const NAN: f64 = f64::NAN;
    /// Sums in another order.
    const ROUNDING: f64 = 1e-12;

    /// Noise on a season of 6 with gaps.
    fn columns(rows: usize) -> Vec<Vec<f64>> {
        let value = |column: usize, row: usize| ((row * 7919 + column * 31) % 101) as f64 / 50.0 + (row % 6) as f64;
        let of = |column: usize| {
            (0..rows).map(|row| if (row + column).is_multiple_of(23) { NAN } else { value(column, row) }).collect()
        };
        (0..3).map(of).collect()
    }

    #[test]
    fn several_horizons_at_once_score_as_one_by_one() {
        // Over a block of origins.
        let (columns, rows, cuts, levels) = (columns(700), 40..700, [4, 9, 20], [0.025, 0.5, 0.975]);
        let scales = [1.0, 2.0, 0.5];
        let naive = |horizon| crate::SeasonalNaive { season: 6, horizon };
        let spread =
            residual_spread(&naive(20), &columns, &Origins::of(&(10..40), 20).unwrap(), 20, &levels, usize::MAX).unwrap();
        let origins = Origins::of(&rows, 4).unwrap();
        let boards = || HorizonBoards::new(&rows, &cuts, &levels, &scales);
        let mut heard = boards();
        let mut told = |window: Window<'_>| {
            let truth = &columns[window.column][window.origin..][..window.points.len()];
            heard.add(window.origin, window.column, truth, window.points, window.quantiles);
        };
        let all = evaluate_at(&naive(20), &columns, &origins, &spread, boards(), Some(&mut told)).unwrap().scores();
        for (scores, heard) in all.iter().zip(heard.scores()) {
            assert!((scores.windows, scores.unforecast) == (heard.windows, 0) && (scores.wql - heard.wql).abs() < ROUNDING);
        }
        for (scores, cut) in all.iter().zip(cuts) {
            let origins = Origins::of(&rows, cut).unwrap();
            let alone = evaluate(&naive(cut), &columns, &origins, &levels, &spread[..cut * 3], &scales).unwrap();
            assert_eq!((scores.windows, scores.unforecast), (alone.windows, 0));
            assert_eq!((scores.mse_by_step.len(), scores.windows), (cut, 3 * (661 - cut as u64)));
            for (a, b) in [(scores.mse, alone.mse), (scores.mase, alone.mase), (scores.crps, alone.crps)] {
                assert!((a - b).abs() < ROUNDING, "{cut}: {a} {b}");
            }
            assert!((scores.msis_95.unwrap() - alone.msis_95.unwrap()).abs() < ROUNDING * 100.0);
        }
    }

    #[test]
    fn scores_do_not_depend_on_threads() {
        let (columns, levels) = (columns(700), [0.5]);
        let naive = crate::SeasonalNaive { season: 6, horizon: 4 };
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            let origins = Origins::of(&(40..700), 4).unwrap();
            pool.install(|| evaluate(&naive, &columns, &origins, &levels, &[0.0; 4], &[1.0; 3]).unwrap())
        };
        assert_eq!(run(1), run(2));
    }

    #[test]
    fn a_sample_is_all_or_even() {
        let origins = Origins::of(&(100..1100), 1).unwrap();
        let flat = |most| -> Vec<(usize, usize)> {
            let blocks = origins.sample(30, most);
            assert!(blocks.iter().all(|(_, block)| block.len() <= BLOCK));
            blocks.into_iter().flat_map(|(column, block)| block.into_iter().map(move |origin| (column, origin))).collect()
        };
        let every: Vec<(usize, usize)> = (0..30).flat_map(|column| (100..1100).map(move |origin| (column, origin))).collect();
        assert_eq!(flat(30_000), every);
        let some = flat(1250);
        assert_eq!(some.len(), 1250);
        assert!(some.windows(2).all(|pair| pair[0] < pair[1]), "each once");
        for phase in 0..24 {
            let share = some.iter().filter(|(_, origin)| origin % 24 == phase).count();
            assert!((26..=78).contains(&share), "1250 over 24 hours, half more or less at most: {share} at {phase}");
        }
        for ratio in [16_000, 20_000, 29_999] {
            let some = flat(ratio);
            assert!(some.len() == 15_000 && some.windows(2).all(|pair| pair[0] < pair[1]), "{ratio}: each once");
        }
        for column in 0..30 {
            assert!((40..=43).contains(&some.iter().filter(|(at, _)| *at == column).count()));
        }
    }

    #[test]
    fn spread_skips_missing_values_and_goes_on_where_none_are_left() {
        let naive = crate::SeasonalNaive { season: 1, horizon: 4 };
        let column = vec![vec![0.0, 1.0, NAN, 4.0, 4.0]];
        // From row 1: truths 1, NaN, 4, 4 after 0. From 2: NaN, 4, 4 after 1. From 3: 4, 4 after 1, the newest. From 4: 4 after 4.
        let spread = residual_spread(&naive, &column, &Origins::of(&(1..5), 1).unwrap(), 4, &[0.0, 1.0], usize::MAX).unwrap();
        assert_eq!(spread, [0.0, 3.0, 3.0, 3.0, 3.0, 4.0, 4.0, 4.0]);
        let shorter = residual_spread(&naive, &column, &Origins::of(&(1..4), 1).unwrap(), 4, &[1.0], usize::MAX).unwrap();
        assert_eq!(shorter, [3.0, 3.0, 4.0, 4.0], "no row for the fourth step");
        let nothing = residual_spread(&naive, &[vec![NAN; 5]], &Origins::of(&(1..5), 1).unwrap(), 4, &[0.5], usize::MAX).unwrap();
        assert!(nothing.iter().all(|offset| offset.is_nan()));
    }

    #[test]
    fn a_forecast_that_is_missing_is_counted() {
        let naive = crate::SeasonalNaive { season: 1, horizon: 1 };
        let mut columns = vec![vec![NAN; 20]];
        columns[0][12..].fill(1.0);
        let scores = evaluate(&naive, &columns, &Origins::of(&(1..20), 1).unwrap(), &[0.5], &[0.0], &[1.0]).unwrap();
        assert_eq!((scores.windows, scores.unforecast, scores.mse), (8, 1, 0.0));
    }
}
