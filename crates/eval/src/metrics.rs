//! Scores of point forecasts and quantiles.
//!
//! ```text
//! MSE, MAE   over all windows, columns and steps, standardised
//! MASE       MAE of each column / in-sample MAE of its seasonal naive forecast, mean over the columns
//!            where that is not zero (Hyndman & Koehler 2006)
//! WQL        mean over levels τ of 2·Σ pinball_τ / Σ|y|
//! CRPS       2·∫ pinball_τ dτ by the trapezoid rule over the levels, zero at 0 and 1: the continuous ranked probability score
//! coverage   share of truths within the 0.1 and 0.9 quantiles, and within the 0.025 and 0.975 quantiles
//! width      mean distance of those quantiles
//! PIT        share of truths between neighbouring levels, the first bin below all of them: calibrated if as wide as the levels say
//!            (Dawid 1984)
//! ```

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a forecaster is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Mean absolute scaled error.
    pub mase: f64,
    /// Mean weighted quantile loss.
    pub wql: f64,
    /// Continuous ranked probability score.
    pub crps: f64,
    /// Share of truths inside the 80% interval; none without quantiles at 0.1 and 0.9.
    pub coverage_80: Option<f64>,
    /// Mean width of that interval.
    pub width_80: Option<f64>,
    /// Share of truths inside the 95% interval; none without quantiles at 0.025 and 0.975.
    pub coverage_95: Option<f64>,
    /// Mean width of that interval.
    pub width_95: Option<f64>,
    /// Share of truths in each bin between the quantile levels, below the lowest first.
    pub pit: Vec<f64>,
    /// Windows scored, over all columns.
    pub windows: u64,
    /// Mean squared error of every step of the horizon.
    pub mse_by_step: Vec<f64>,
    /// Mean absolute error of every step of the horizon.
    pub mae_by_step: Vec<f64>,
    /// The columns one by one, in order.
    pub by_column: Vec<ColumnScores>,
}

/// What a forecaster is worth on one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnScores {
    /// Mean squared error.
    pub mse: f64,
    /// Mean absolute error.
    pub mae: f64,
    /// Mean absolute scaled error; none where the seasonal naive forecast has no error to scale by.
    pub mase: Option<f64>,
    /// Windows scored.
    pub windows: u64,
}

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

/// How far two labellings of the same samples agree, beyond chance: 1 if they are the same up to names, 0 on average for unrelated ones
/// (Hubert & Arabie 1985).
pub fn adjusted_rand_index(a: &[usize], b: &[usize]) -> f64 {
    let pairs = |count: u64| (count * count.saturating_sub(1) / 2) as f64;
    let (mut both, mut of_a, mut of_b) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for (&a, &b) in a.iter().zip(b) {
        *both.entry((a, b)).or_insert(0u64) += 1;
        *of_a.entry(a).or_insert(0u64) += 1;
        *of_b.entry(b).or_insert(0u64) += 1;
    }
    let index: f64 = both.into_values().map(pairs).sum();
    let (a_pairs, b_pairs): (f64, f64) = (of_a.into_values().map(pairs).sum(), of_b.into_values().map(pairs).sum());
    let expected = a_pairs * b_pairs / pairs(a.len().min(b.len()) as u64).max(1.0);
    let largest = 0.5 * (a_pairs + b_pairs);
    if largest == expected { 1.0 } else { (index - expected) / (largest - expected) }
}

/// Running sums of one forecaster's errors.
#[derive(Clone, Debug)]
pub struct ScoreBoard {
    levels: Vec<f64>,
    scales: Vec<f64>,
    windows: u64,
    square: Vec<f64>,
    absolute: Vec<f64>,
    square_by_column: Vec<f64>,
    absolute_by_column: Vec<f64>,
    windows_by_column: Vec<u64>,
    pinball: Vec<f64>,
    magnitude: f64,
    /// 80% and 95%.
    intervals: [Option<Interval>; 2],
    bins: Vec<u64>,
}

/// In-sample mean absolute error of each column's seasonal naive forecast: the unit of MASE.
pub fn naive_scales(columns: &[&[f64]], season: usize) -> Vec<f64> {
    let scale = |values: &&[f64]| {
        let errors = values.iter().zip(&values[season.min(values.len())..]).map(|(before, now)| (now - before).abs());
        errors.sum::<f64>() / values.len().saturating_sub(season).max(1) as f64
    };
    columns.iter().map(scale).collect()
}

impl ScoreBoard {
    /// An empty board for quantiles at `levels`; `scales` is one MASE unit a column.
    pub fn new(horizon: usize, levels: &[f64], scales: &[f64]) -> Self {
        Self {
            intervals: [Interval::between(levels, 0.1, 0.9), Interval::between(levels, 0.025, 0.975)],
            bins: vec![0; levels.len() + 1],
            square_by_column: vec![0.0; scales.len()],
            levels: levels.to_vec(),
            scales: scales.to_vec(),
            windows: 0,
            square: vec![0.0; horizon],
            absolute: vec![0.0; horizon],
            absolute_by_column: vec![0.0; scales.len()],
            windows_by_column: vec![0; scales.len()],
            pinball: vec![0.0; levels.len()],
            magnitude: 0.0,
        }
    }

    /// Adds one window: `truth` and `point` `[horizon]`, `quantiles` `[horizon][levels]`.
    pub fn add(&mut self, column: usize, truth: &[f64], point: impl Iterator<Item = f64>, quantiles: &[f64]) {
        let count = self.levels.len();
        for (step, ((&truth, point), quantiles)) in truth.iter().zip(point).zip(quantiles.chunks_exact(count)).enumerate() {
            let error = truth - point;
            self.square[step] += error * error;
            self.absolute[step] += error.abs();
            self.square_by_column[column] += error * error;
            self.absolute_by_column[column] += error.abs();
            self.magnitude += truth.abs();
            for ((sum, level), quantile) in self.pinball.iter_mut().zip(&self.levels).zip(quantiles) {
                let error = truth - quantile;
                *sum += (level * error).max((level - 1.0) * error);
            }
            for interval in self.intervals.iter_mut().flatten() {
                let (low, high) = (quantiles[interval.low], quantiles[interval.high]);
                interval.covered += u64::from(low <= truth && truth <= high);
                interval.width += high - low;
            }
            self.bins[quantiles.iter().filter(|&&quantile| quantile < truth).count()] += 1;
        }
        self.windows += 1;
        self.windows_by_column[column] += 1;
    }

    /// Adds another board's sums.
    pub fn merge(&mut self, other: &Self) {
        let add = |to: &mut Vec<f64>, from: &Vec<f64>| to.iter_mut().zip(from).for_each(|(to, from)| *to += from);
        add(&mut self.square, &other.square);
        add(&mut self.absolute, &other.absolute);
        add(&mut self.square_by_column, &other.square_by_column);
        add(&mut self.absolute_by_column, &other.absolute_by_column);
        add(&mut self.pinball, &other.pinball);
        self.windows_by_column.iter_mut().zip(&other.windows_by_column).for_each(|(to, from)| *to += from);
        self.magnitude += other.magnitude;
        for (own, other) in self.intervals.iter_mut().flatten().zip(other.intervals.iter().flatten()) {
            own.covered += other.covered;
            own.width += other.width;
        }
        self.bins.iter_mut().zip(&other.bins).for_each(|(to, from)| *to += from);
        self.windows += other.windows;
    }

    /// ∫ pinball_τ dτ by the trapezoid rule.
    fn integral(&self) -> f64 {
        let level = |place: usize| match place.checked_sub(1) {
            None => 0.0,
            Some(place) => self.levels.get(place).copied().unwrap_or(1.0),
        };
        self.pinball.iter().enumerate().map(|(place, sum)| 0.5 * (level(place + 2) - level(place)) * sum).sum()
    }

    /// The scores so far.
    pub fn scores(&self) -> Scores {
        let horizon = self.square.len();
        let values = (self.windows * horizon as u64).max(1) as f64;
        let by_step = |sums: &[f64]| sums.iter().map(|sum| sum / self.windows.max(1) as f64).collect();
        let by_column = (0..self.scales.len()).map(|column| {
            let values = (self.windows_by_column[column] * horizon as u64).max(1) as f64;
            let (mae, scale) = (self.absolute_by_column[column] / values, self.scales[column]);
            let windows = self.windows_by_column[column];
            let mase = (windows > 0 && scale > 0.0).then(|| mae / scale);
            ColumnScores { mse: self.square_by_column[column] / values, mae, mase, windows }
        });
        let by_column: Vec<ColumnScores> = by_column.collect();
        let mase: Vec<f64> = by_column.iter().filter_map(|column| column.mase).collect();
        let pinball = self.pinball.iter().sum::<f64>() / self.levels.len() as f64;
        let [coverage_80, coverage_95] = self.intervals.each_ref().map(|own| own.as_ref().map(|own| own.covered as f64 / values));
        let [width_80, width_95] = self.intervals.each_ref().map(|own| own.as_ref().map(|own| own.width / values));
        Scores {
            mse: self.square.iter().sum::<f64>() / values,
            mae: self.absolute.iter().sum::<f64>() / values,
            mase: mase.iter().sum::<f64>() / mase.len().max(1) as f64,
            wql: 2.0 * pinball / self.magnitude,
            crps: 2.0 * self.integral() / values,
            coverage_80,
            width_80,
            coverage_95,
            width_95,
            pit: self.bins.iter().map(|&count| count as f64 / values).collect(),
            windows: self.windows,
            mse_by_step: by_step(&self.square),
            mae_by_step: by_step(&self.absolute),
            by_column,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rand_index_is_one_for_the_same_and_zero_for_the_unrelated() {
        assert_eq!(adjusted_rand_index(&[0, 0, 1, 1, 2], &[5, 5, 3, 3, 4]), 1.0);
        // By hand: of 10 pairs 1 is together in both, 2 in the first, 4 in the second; expected 0.8, largest 3.
        assert!((adjusted_rand_index(&[0, 0, 1, 1, 2], &[0, 0, 0, 1, 1]) - (1.0 - 0.8) / (3.0 - 0.8)).abs() < 1e-12);
        let unrelated: Vec<usize> = (0..3000).map(|i| i % 3).collect();
        let other: Vec<usize> = (0..3000).map(|i| i / 1000).collect();
        assert!(adjusted_rand_index(&unrelated, &other).abs() < 0.01);
    }

    #[test]
    fn scores_by_hand() {
        // Two steps, one window: errors 1 and −2; quantile errors at 0.1 (2, −1), 0.5 (1, −2), 0.9 (0, −3).
        let mut board = ScoreBoard::new(2, &[0.1, 0.5, 0.9], &[0.5]);
        board.add(0, &[2.0, 1.0], [1.0, 3.0].into_iter(), &[0.0, 1.0, 2.0, 2.0, 3.0, 4.0]);
        let scores = board.scores();
        assert_eq!((scores.mse, scores.mae, scores.mase), (2.5, 1.5, 3.0));
        assert_eq!((scores.coverage_80, scores.windows), (Some(0.5), 1));
        let expected = 2.0 / 3.0 / 3.0 * ((0.2 + 0.9) + (0.5 + 1.0) + (0.0 + 0.3));
        assert!((scores.wql - expected).abs() < 1e-12, "{} {expected}", scores.wql);
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
    fn naive_scale_by_hand() {
        assert_eq!(naive_scales(&[&[1.0, 2.0, 4.0, 1.0]], 2), [2.0]);
    }
}
