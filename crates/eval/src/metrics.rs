//! Scores of point forecasts and quantiles.
//!
//! ```text
//! MSE, MAE   over all windows, columns and steps, standardised
//! MASE       MAE of each column / in-sample MAE of its seasonal naive forecast, mean over the columns
//!            where that is not zero (Hyndman & Koehler 2006)
//! MSIS       mean interval score of each column's 95% interval, its width + 2/0.05 · the truth's distance from it, / the same MAE,
//!            mean over the columns as MASE (Makridakis et al. 2020, as in M4)
//! sMAPE      mean of 200·|y − ŷ| / (|y| + |ŷ|), zero if both are zero (the same); in per cent, of meaning where zero has one
//! WQL        mean over levels τ of 2·Σ pinball_τ / Σ|y|
//! CRPS       2·∫ pinball_τ dτ by the trapezoid rule over the levels, zero at 0 and 1: the continuous ranked probability score
//! coverage   share of truths within the 0.1 and 0.9 quantiles, and within the 0.025 and 0.975 quantiles
//! width      mean distance of those quantiles
//! PIT        share of truths between neighbouring levels, the first bin below all of them: calibrated if as wide as the levels say
//!            (Dawid 1984)
//! ```
//!
//! A truth that is NaN is missing: it is in no sum and no count. A truth whose forecast is NaN is counted as unforecast, and in no mean. A
//! mean of nothing is NaN, `null` in JSON.

use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// What a forecaster is worth.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Scores {
    /// Mean squared error.
    #[serde(deserialize_with = "number")]
    pub mse: f64,
    /// Mean absolute error.
    #[serde(deserialize_with = "number")]
    pub mae: f64,
    /// Mean absolute scaled error.
    #[serde(deserialize_with = "number")]
    pub mase: f64,
    /// Mean scaled interval score of the 95% interval; none without quantiles at 0.025 and 0.975, or without a scale.
    #[serde(default)]
    pub msis_95: Option<f64>,
    /// Symmetric mean absolute percentage error; none without values.
    #[serde(default)]
    pub smape: Option<f64>,
    /// Mean weighted quantile loss.
    #[serde(deserialize_with = "number")]
    pub wql: f64,
    /// The same over the deciles and in the data's own unit, in which large columns count for more; none without deciles.
    #[serde(default)]
    pub wql_in_units: Option<f64>,
    /// Continuous ranked probability score.
    #[serde(deserialize_with = "number")]
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
    #[serde(deserialize_with = "numbers")]
    pub pit: Vec<f64>,
    /// Windows with a truth, over all columns.
    pub windows: u64,
    /// Values that had a truth but no forecast, and are in no mean.
    #[serde(default)]
    pub unforecast: u64,
    /// Mean squared error of every step of the horizon.
    #[serde(deserialize_with = "numbers")]
    pub mse_by_step: Vec<f64>,
    /// Mean absolute error of every step of the horizon.
    #[serde(deserialize_with = "numbers")]
    pub mae_by_step: Vec<f64>,
    /// The columns one by one, in order.
    pub by_column: Vec<ColumnScores>,
}

impl Scores {
    /// Windows of the column that has most: one without a truth in some is in fewer.
    pub fn windows_of_one(&self) -> u64 {
        self.by_column.iter().map(|column| column.windows).max().unwrap_or(0)
    }
}

/// What a forecaster is worth on one column.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnScores {
    /// Mean squared error.
    #[serde(deserialize_with = "number")]
    pub mse: f64,
    /// Mean absolute error.
    #[serde(deserialize_with = "number")]
    pub mae: f64,
    /// Mean absolute scaled error; none where the seasonal naive forecast has no error to scale by.
    pub mase: Option<f64>,
    /// Windows with a truth.
    pub windows: u64,
}

/// JSON has no NaN and writes it as null.
fn number<'de, D: Deserializer<'de>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

fn numbers<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<f64>, D::Error> {
    Ok(Vec::<Option<f64>>::deserialize(from)?.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect())
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

/// In-sample mean absolute error of each column's seasonal naive forecast, over the pairs of rows that are present: the unit of MASE.
/// Zero where there is no pair.
pub fn naive_scales(columns: &[&[f64]], season: usize) -> Vec<f64> {
    let scale = |values: &&[f64]| {
        let errors = values.iter().zip(&values[season.min(values.len())..]).map(|(before, now)| (now - before).abs());
        let (sum, count) =
            errors.filter(|error| !error.is_nan()).fold((0.0, 0u64), |(sum, count), error| (sum + error, count + 1));
        sum / count.max(1) as f64
    };
    columns.iter().map(scale).collect()
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
    fn naive_scale_by_hand() {
        assert_eq!(naive_scales(&[&[1.0, 2.0, 4.0, 1.0]], 2), [2.0]);
    }

    #[test]
    fn naive_scale_skips_missing_values() {
        // Of the pairs (1, 4), (2, NaN) and (4, 9) two are present.
        assert_eq!(naive_scales(&[&[1.0, 2.0, 4.0, f64::NAN, 9.0]], 2), [(3.0 + 5.0) / 2.0]);
        assert_eq!(naive_scales(&[&[f64::NAN; 4], &[]], 2), [0.0, 0.0]);
    }

    #[test]
    fn scores_written_before_a_field_existed_are_read() {
        let old = r#"{"mse":1.0,"mae":2.0,"mase":null,"wql":4.0,"crps":5.0,"coverage_80":0.5,"width_80":1.0,"coverage_95":null,
            "width_95":null,"pit":[0.5,0.5],"windows":7,"mse_by_step":[1.0,null],"mae_by_step":[2.0,2.0],"by_column":[]}"#;
        let scores: Scores = serde_json::from_str(old).unwrap();
        assert_eq!((scores.msis_95, scores.smape, scores.unforecast, scores.windows), (None, None, 0, 7));
        assert!(scores.mase.is_nan() && scores.mse_by_step[1].is_nan(), "null is NaN");
        let again: Scores = serde_json::from_str(&serde_json::to_string(&scores).unwrap()).unwrap();
        assert_eq!((again.mae, again.by_column), (2.0, vec![]));
    }
}
