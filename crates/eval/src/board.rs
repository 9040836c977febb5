//! Running sums of a forecaster's errors, window by window, and the scores they come to.

use crate::metrics::{ColumnScores, Scores};

/// Weight of a truth's distance from a 95% interval that misses it: 2/α (Gneiting & Raftery 2007).
const MISS: f64 = 2.0 / 0.05;

/// What rounding moves a standardised truth or quantile by, at most: a truth so near to a quantile lies on it.
const TIE: f64 = 1e-9;

const DECILES: [f64; 9] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9];

/// Sums over the truths inside an interval between two levels.
#[derive(Clone, Debug)]
struct Interval {
    low: usize,
    high: usize,
    covered: u64,
    width: f64,
}

impl Interval {
    fn between(levels: &[f64], low: f64, high: f64) -> Option<Self> {
        let place = |level: f64| levels.iter().position(|&at| at == level);
        Some(Self { low: place(low)?, high: place(high)?, covered: 0, width: 0.0 })
    }
}

/// Sums over one column.
#[derive(Clone, Copy, Debug, Default)]
struct ColumnSums {
    windows: u64,
    values: u64,
    square: f64,
    absolute: f64,
    /// Of the 95% interval's scores.
    interval: f64,
    /// Of the truths' magnitudes, in the data's unit.
    magnitude: f64,
}

/// A column's mean and deviation, by which its values were standardised.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What was taken off.
    pub mean: f64,
    /// What was divided by then.
    pub deviation: f64,
}

/// Running sums of one forecaster's errors. A truth that is NaN is missing and in none of them.
#[derive(Clone, Debug)]
pub struct ScoreBoard {
    levels: Vec<f64>,
    scales: Vec<f64>,
    units: Vec<Unit>,
    /// Which levels are deciles.
    deciles: Vec<bool>,
    unforecast: u64,
    /// Three sums a step.
    values: Vec<u64>,
    square: Vec<f64>,
    absolute: Vec<f64>,
    columns: Vec<ColumnSums>,
    /// Of the pinball losses, `[column][level]`.
    pinball: Vec<f64>,
    magnitude: f64,
    relative: f64,
    /// 80% and 95%.
    intervals: [Option<Interval>; 2],
    bins: Vec<u64>,
}

/// The mean; NaN of nothing, which is not as good as no error.
fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { f64::NAN } else { sum / count as f64 }
}

impl ScoreBoard {
    /// An empty board for quantiles at `levels`; `scales` is one MASE unit a column.
    pub fn new(horizon: usize, levels: &[f64], scales: &[f64]) -> Self {
        Self {
            intervals: [Interval::between(levels, 0.1, 0.9), Interval::between(levels, 0.025, 0.975)],
            bins: vec![0; levels.len() + 1],
            levels: levels.to_vec(),
            scales: scales.to_vec(),
            units: vec![Unit { mean: 0.0, deviation: 1.0 }; scales.len()],
            deciles: levels.iter().map(|level| DECILES.contains(level)).collect(),
            unforecast: 0,
            values: vec![0; horizon],
            square: vec![0.0; horizon],
            absolute: vec![0.0; horizon],
            columns: vec![ColumnSums::default(); scales.len()],
            pinball: vec![0.0; scales.len() * levels.len()],
            magnitude: 0.0,
            relative: 0.0,
        }
    }

    /// The same for columns that were standardised by these units, one a column.
    pub fn in_units(self, units: &[Unit]) -> Self {
        assert_eq!(units.len(), self.columns.len(), "one unit a column");
        Self { units: units.to_vec(), ..self }
    }

    pub(crate) fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// Adds one window: `truth` and `point` `[horizon]`, `quantiles` `[horizon][levels]`. A step without a truth (NaN) is skipped; one with
    /// a truth and without a point or one of its quantiles counts as unforecast.
    pub fn add(&mut self, column: usize, truth: &[f64], mut point: impl Iterator<Item = f64>, quantiles: &[f64]) {
        let count = self.levels.len();
        assert_eq!(quantiles.len(), truth.len() * count, "a quantile for every truth and level");
        let (mut own, unit) = (self.columns[column], self.units[column]);
        let pinball = &mut self.pinball[column * count..][..count];
        let (mut magnitude, mut relative, mut known) = (self.magnitude, self.relative, false);
        for (step, (&truth, quantiles)) in truth.iter().zip(quantiles.chunks_exact(count)).enumerate() {
            let point = point.next().unwrap_or(f64::NAN);
            if truth.is_nan() {
                continue;
            }
            known = true;
            // Without a short cut, so that it is one comparison of a whole vector.
            if quantiles.iter().fold(point.is_nan(), |missing, quantile| missing | quantile.is_nan()) {
                self.unforecast += 1;
                continue;
            }
            let error = truth - point;
            self.values[step] += 1;
            self.square[step] += error * error;
            self.absolute[step] += error.abs();
            own.values += 1;
            own.square += error * error;
            own.absolute += error.abs();
            magnitude += truth.abs();
            if error != 0.0 {
                relative += error.abs() / (truth.abs() + point.abs());
            }
            let mut below = 0;
            own.magnitude += (truth * unit.deviation + unit.mean).abs();
            for ((sum, level), &quantile) in pinball.iter_mut().zip(&self.levels).zip(quantiles) {
                let error = truth - quantile;
                let (over, under) = (level * error, (level - 1.0) * error);
                *sum += if over > under { over } else { under };
                below += u64::from(quantile < truth - TIE);
            }
            self.bins[below as usize] += 1;
            for interval in self.intervals.iter_mut().flatten() {
                let (low, high) = (quantiles[interval.low], quantiles[interval.high]);
                interval.covered += u64::from(low - TIE <= truth && truth <= high + TIE);
                interval.width += high - low;
            }
            if let [_, Some(interval)] = &self.intervals {
                let (low, high) = (quantiles[interval.low], quantiles[interval.high]);
                own.interval += high - low + MISS * ((low - truth).max(0.0) + (truth - high).max(0.0));
            }
        }
        own.windows += u64::from(known);
        (self.columns[column], self.magnitude, self.relative) = (own, magnitude, relative);
    }

    /// Adds another board's sums.
    pub fn merge(&mut self, other: &Self) {
        let add = |to: &mut [f64], from: &[f64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        let count = |to: &mut [u64], from: &[u64]| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        count(&mut self.values, &other.values);
        count(&mut self.bins, &other.bins);
        add(&mut self.square, &other.square);
        add(&mut self.absolute, &other.absolute);
        add(&mut self.pinball, &other.pinball);
        for (own, other) in self.columns.iter_mut().zip(&other.columns) {
            own.windows += other.windows;
            own.values += other.values;
            own.square += other.square;
            own.absolute += other.absolute;
            own.interval += other.interval;
            own.magnitude += other.magnitude;
        }
        for (own, other) in self.intervals.iter_mut().flatten().zip(other.intervals.iter().flatten()) {
            own.covered += other.covered;
            own.width += other.width;
        }
        self.magnitude += other.magnitude;
        self.relative += other.relative;
        self.unforecast += other.unforecast;
    }

    /// Pinball losses of a level, over all columns.
    fn of_level(&self, level: usize) -> f64 {
        self.pinball.iter().skip(level).step_by(self.levels.len()).sum()
    }

    /// ∫ pinball_τ dτ by the trapezoid rule.
    fn integral(&self) -> f64 {
        let level = |place: usize| match place.checked_sub(1) {
            None => 0.0,
            Some(place) => self.levels.get(place).copied().unwrap_or(1.0),
        };
        (0..self.levels.len()).map(|place| 0.5 * (level(place + 2) - level(place)) * self.of_level(place)).sum()
    }

    /// The mean over the columns that have values and a scale, of a sum over each.
    fn scaled(&self, sum: impl Fn(&ColumnSums) -> f64) -> Option<f64> {
        let scaled = self.columns.iter().zip(&self.scales).filter(|(own, scale)| own.values > 0 && **scale > TIE);
        let scaled: Vec<f64> = scaled.map(|(own, scale)| mean(sum(own), own.values) / scale).collect();
        (!scaled.is_empty()).then(|| scaled.iter().sum::<f64>() / scaled.len() as f64)
    }

    /// The scores so far.
    pub fn scores(&self) -> Scores {
        let values = self.values.iter().sum();
        let over_values = |sum: f64| mean(sum, values);
        let by_step = |sums: &[f64]| sums.iter().zip(&self.values).map(|(sum, count)| mean(*sum, *count)).collect();
        let by_column = self.columns.iter().zip(&self.scales).map(|(own, scale)| {
            let mae = mean(own.absolute, own.values);
            let mase = (own.values > 0 && *scale > TIE).then(|| mae / scale);
            ColumnScores { mse: mean(own.square, own.values), mae, mase, windows: own.windows }
        });
        let pinball = self.pinball.iter().sum::<f64>() / self.levels.len() as f64;
        let interval = |mean: &dyn Fn(&Interval) -> f64| self.intervals.each_ref().map(|own| own.as_ref().map(mean));
        let [coverage_80, coverage_95] = interval(&|own| over_values(own.covered as f64));
        let [width_80, width_95] = interval(&|own| over_values(own.width));
        Scores {
            mse: over_values(self.square.iter().sum()),
            mae: over_values(self.absolute.iter().sum()),
            mase: self.scaled(|own| own.absolute).unwrap_or(f64::NAN),
            msis_95: self.intervals[1].as_ref().and_then(|_| self.scaled(|own| own.interval)),
            smape: (values > 0).then(|| over_values(200.0 * self.relative)),
            wql: 2.0 * pinball / self.magnitude,
            wql_in_units: self.deciles.contains(&true).then(|| {
                let count = self.deciles.iter().filter(|decile| **decile).count() as f64;
                let by_column = self.pinball.chunks_exact(self.levels.len()).zip(&self.units);
                let of_deciles = |own: &[f64]| own.iter().zip(&self.deciles).filter(|own| *own.1).map(|own| own.0).sum::<f64>();
                let loss = by_column.map(|(own, unit)| of_deciles(own) * unit.deviation).sum::<f64>();
                2.0 * loss / count / self.columns.iter().map(|own| own.magnitude).sum::<f64>()
            }),
            crps: over_values(2.0 * self.integral()),
            coverage_80,
            width_80,
            coverage_95,
            width_95,
            pit: self.bins.iter().map(|&count| over_values(count as f64)).collect(),
            windows: self.columns.iter().map(|own| own.windows).sum(),
            unforecast: self.unforecast,
            mse_by_step: by_step(&self.square),
            mae_by_step: by_step(&self.absolute),
            by_column: by_column.collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn scores_by_hand() {
        // Two steps, one window: errors 1 and −2; quantile errors at 0.1 (2, −1), 0.5 (1, −2), 0.9 (0, −3).
        let mut board = ScoreBoard::new(2, &[0.1, 0.5, 0.9], &[0.5]);
        board.add(0, &[2.0, 1.0], [1.0, 3.0].into_iter(), &[0.0, 1.0, 2.0, 2.0, 3.0, 4.0]);
        let scores = board.scores();
        assert_eq!((scores.mse, scores.mae, scores.mase), (2.5, 1.5, 3.0));
        assert_eq!((scores.coverage_80, scores.windows, scores.unforecast), (Some(0.5), 1, 0));
        let smape = (200.0 / 3.0 + 200.0 * 2.0 / 4.0) / 2.0;
        assert!((scores.smape.unwrap() - smape).abs() < 1e-12 && scores.msis_95.is_none());
        let expected = 2.0 / 3.0 / 3.0 * ((0.2 + 0.9) + (0.5 + 1.0) + (0.0 + 0.3));
        assert!((scores.wql - expected).abs() < 1e-12, "{} {expected}", scores.wql);
        // The same in a unit where the truths are 2·2 + 1 and 2·1 + 1.
        let mut board = ScoreBoard::new(2, &[0.1, 0.5, 0.9], &[0.5]).in_units(&[Unit { mean: 1.0, deviation: 2.0 }]);
        board.add(0, &[2.0, 1.0], [1.0, 3.0].into_iter(), &[0.0, 1.0, 2.0, 2.0, 3.0, 4.0]);
        let in_units = board.scores().wql_in_units.expect("deciles");
        assert!((in_units - expected * 3.0 * 2.0 / 8.0).abs() < 1e-12, "{in_units}");
        let crps = 2.0 * (0.25 * (0.2 + 0.9) + 0.4 * (0.5 + 1.0) + 0.25 * (0.0 + 0.3)) / 2.0;
        assert!((scores.crps - crps).abs() < 1e-12, "{}", scores.crps);
        assert_eq!((scores.mse_by_step, scores.mae_by_step), (vec![1.0, 4.0], vec![1.0, 2.0]));
        assert_eq!((scores.width_80, scores.coverage_95, scores.width_95), (Some(2.0), None, None));
        // 2 is above 0 and 1 but not above 2; 1 is above none.
        assert_eq!(scores.pit, [0.5, 0.0, 0.5, 0.0]);
        assert_eq!(scores.by_column, [ColumnScores { mse: 2.5, mae: 1.5, mase: Some(3.0), windows: 1 }]);
    }

    #[test]
    fn boards_add_up_to_one_of_all_windows() {
        let levels = [0.025, 0.1, 0.5, 0.9, 0.975];
        let board = || ScoreBoard::new(1, &levels, &[1.0, 0.0]);
        let (mut all, mut parts) = (board(), [board(), board()]);
        for window in 0..40 {
            let (truth, column) = (f64::from(window * 7 % 11) - 5.0, window as usize % 2);
            let quantiles = [-4.0, -2.0, 0.0, 2.0, 4.0];
            all.add(column, &[truth], [0.5].into_iter(), &quantiles);
            parts[window as usize / 25].add(column, &[truth], [0.5].into_iter(), &quantiles);
        }
        let [mut first, second] = parts;
        first.merge(&second);
        let (all, merged) = (all.scores(), first.scores());
        assert_eq!(all.by_column[1].mase, None, "a column without a scale");
        assert_eq!(
            (&all.pit, all.coverage_80, all.coverage_95, all.windows),
            (&merged.pit, merged.coverage_80, merged.coverage_95, 40)
        );
        assert!((all.mse - merged.mse).abs() < 1e-12 && (all.crps - merged.crps).abs() < 1e-12 && all.width_95 == Some(8.0));
        assert!((all.pit.iter().sum::<f64>() - 1.0).abs() < 1e-12 && all.coverage_80 < all.coverage_95);
    }

    #[test]
    fn interval_score_by_hand() {
        // Widths 4; the second truth is 3 below, the third 2 above: 4, 4 + 40·3, 4 + 40·2, by the scale of 0.5.
        let mut board = ScoreBoard::new(3, &[0.025, 0.975], &[0.5, 0.0]);
        let quantiles = [-2.0, 2.0, -2.0, 2.0, -2.0, 2.0];
        board.add(0, &[0.0, -5.0, 4.0], [0.0; 3].into_iter(), &quantiles);
        // A column without a scale is not in it.
        board.add(1, &[9.0; 3], [0.0; 3].into_iter(), &quantiles);
        let expected: f64 = (4.0 + 124.0 + 84.0) / 3.0 / 0.5;
        assert!((board.scores().msis_95.unwrap() - expected).abs() < 1e-12);
    }

    #[test]
    fn a_missing_truth_is_in_no_sum_and_no_count() {
        let levels = [0.025, 0.1, 0.5, 0.9, 0.975];
        let quantiles = [-2.0, -1.0, 0.0, 1.0, 2.0].repeat(3);
        let mut board = ScoreBoard::new(3, &levels, &[1.0, 1.0]);
        // A forecast of NaN where there is no truth is no matter.
        board.add(0, &[1.5, NAN, 3.0], [0.0, NAN, 0.0].into_iter(), &quantiles);
        board.add(0, &[0.5, NAN, NAN], [0.0; 3].into_iter(), &quantiles);
        board.add(1, &[NAN; 3], [0.0; 3].into_iter(), &quantiles);
        let scores = board.scores();
        let mut present = ScoreBoard::new(1, &levels, &[1.0]);
        [1.5, 3.0, 0.5].iter().for_each(|truth| present.add(0, &[*truth], [0.0].into_iter(), &quantiles[..5]));
        let expected = present.scores();
        assert_eq!((scores.mse, scores.mae, scores.mase), (expected.mse, expected.mae, expected.mase));
        assert_eq!((scores.wql, scores.crps, &scores.pit), (expected.wql, expected.crps, &expected.pit));
        assert_eq!((scores.coverage_80, scores.width_95), (expected.coverage_80, expected.width_95));
        assert_eq!((scores.msis_95, scores.smape), (expected.msis_95, expected.smape));
        assert_eq!((scores.windows, scores.unforecast), (2, 0), "a window without a truth is none");
        assert_eq!((scores.mae_by_step[0], scores.mae_by_step[2]), (1.0, 3.0));
        assert!(scores.mse_by_step[1].is_nan(), "no error known is not no error");
        assert_eq!((scores.by_column[0].mae, scores.by_column[0].windows), (5.0 / 3.0, 2));
        assert!(scores.by_column[1].mse.is_nan() && scores.by_column[1].mase.is_none() && scores.by_column[1].windows == 0);
    }

    #[test]
    fn a_missing_forecast_is_counted() {
        let mut board = ScoreBoard::new(4, &[0.1, 0.9], &[1.0]);
        let quantiles = [-1.0, 1.0, -1.0, NAN, -1.0, 1.0, -1.0, 1.0];
        // The second lacks a quantile, the third its point, the fourth's points have ended.
        board.add(0, &[2.0; 4], [0.0, 0.0, NAN].into_iter(), &quantiles);
        let scores = board.scores();
        assert_eq!((scores.unforecast, scores.windows, scores.mse), (3, 1, 4.0));
        let mut none = ScoreBoard::new(1, &[0.5], &[1.0]);
        none.add(0, &[2.0], [NAN].into_iter(), &[NAN]);
        none.merge(&none.clone());
        let none = none.scores();
        assert_eq!((none.unforecast, none.windows, none.smape), (2, 2, None));
        assert!(none.mse.is_nan() && none.mase.is_nan() && none.crps.is_nan(), "not the best of all");
    }
}
