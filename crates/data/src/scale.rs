//! Standardisation by training statistics.

use crate::{DataError, Signal, Values};
use std::ops::Range;

/// Mean and population deviation of every column over the training rows; missing values do not count.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardiser {
    /// One a column.
    pub means: Vec<f64>,
    /// One a column.
    pub deviations: Vec<f64>,
}

/// Mean and population deviation of some values; NaN of none.
pub fn mean_and_deviation(values: impl Iterator<Item = f64> + Clone) -> (f64, f64) {
    let count = values.clone().count() as f64;
    let mean = values.clone().sum::<f64>() / count;
    let variance = values.map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    (mean, variance.sqrt())
}

/// One in so many values is at a recurring bound, or more.
const AT_BOUND_ONE_OF: usize = 50;
/// How often values come to it at least.
const VISITS: usize = 3;
/// What is nearer, in deviations, is the same value.
const SAME: f64 = 1e-9;

/// The lowest of some values if it is one that they are kept above, as counts are kept above 0: 2% of them are there, in three stretches or more, and it is 0,
/// or more are there than at the next value above it, or there is no third value; and none of the `later` ones lies below. Missing values do not count.
pub fn recurring_lowest(values: impl Iterator<Item = f64> + Clone, mut later: impl Iterator<Item = f64>) -> Option<f64> {
    let present = values.filter(|value| !value.is_nan());
    let slack = SAME * mean_and_deviation(present.clone()).1;
    let lowest = present.clone().fold(f64::INFINITY, f64::min) + slack;
    let next = present.clone().filter(|value| *value > lowest).fold(f64::INFINITY, f64::min) + slack;
    let (mut there, mut beside, mut beyond, mut visits, mut was_there) = (0usize, 0usize, 0usize, 0, false);
    let mut bound = f64::NEG_INFINITY;
    for value in present {
        let is_there = value <= lowest;
        visits += usize::from(is_there && !was_there);
        was_there = is_there;
        if is_there {
            (there, bound) = (there + 1, bound.max(value));
        } else if value <= next {
            beside += 1;
        } else {
            beyond += 1;
        }
    }
    let recurs = visits >= VISITS && there * AT_BOUND_ONE_OF >= there + beside + beyond && beside > 0;
    let is_bound = recurs && (bound == 0.0 || there > beside || beyond == 0) && !later.any(|value| value < bound - slack);
    // Not −0.
    is_bound.then_some(bound + 0.0)
}

/// The highest of some values if they are kept below it, as [`recurring_lowest`].
pub fn recurring_highest(values: impl Iterator<Item = f64> + Clone, later: impl Iterator<Item = f64>) -> Option<f64> {
    recurring_lowest(values.map(|value| -value), later.map(|value| -value)).map(|lowest| 0.0 - lowest)
}

impl Standardiser {
    /// Fits on `rows`.
    ///
    /// # Errors
    /// A column that is constant there, or has no value; one whose mean or deviation overflows, or whose deviation underflows to 0.
    pub fn fit(signal: &Signal, rows: Range<usize>) -> Result<Self, DataError> {
        let mut fitted = Self { means: Vec::new(), deviations: Vec::new() };
        for (name, values) in signal.names.iter().zip(signal.slice(rows)) {
            let present = values.iter().copied().filter(|value| !value.is_nan());
            let first = present.clone().next().unwrap_or(f64::NAN);
            if present.clone().all(|value| value == first) {
                return Err(DataError::Constant { column: name.clone(), found: first });
            }
            let (mean, deviation) = mean_and_deviation(present);
            if !(mean.is_finite() && deviation.is_finite() && deviation > 0.0) {
                return Err(DataError::Statistics { column: name.clone(), mean, deviation });
            }
            fitted.means.push(mean);
            fitted.deviations.push(deviation);
        }
        Ok(fitted)
    }

    /// All columns, standardised; what is missing stays missing.
    pub fn apply(&self, signal: &Signal) -> Vec<Vec<f64>> {
        let scale = self.means.iter().zip(&self.deviations);
        let column = |(values, (mean, deviation)): (&Values, (&f64, &f64))| {
            values.iter().map(|value| (value - mean) / deviation).collect()
        };
        signal.columns.iter().zip(scale).map(column).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn signal(values: &[f64]) -> Signal {
        Signal {
            stamps: (0..values.len()).map(|row| row.to_string()).collect::<Vec<_>>().into(),
            names: vec!["a".into()],
            columns: vec![values.to_vec().into()],
            ..Signal::default()
        }
    }

    #[test]
    fn a_bound_is_a_value_that_recurs_at_the_end() {
        let floor = |values: &[f64]| recurring_lowest(values.iter().copied(), [].into_iter());
        let ceiling = |values: &[f64]| recurring_highest(values.iter().copied(), [].into_iter());
        let counts: Vec<f64> = (0..100).map(|row| f64::from(row % 7 * (row % 3))).collect();
        assert_eq!((floor(&counts), ceiling(&counts)), (Some(0.0), None), "12 is as rare as 10");
        // What is missing ends no stretch.
        assert_eq!(floor(&[2.0, 1.0, NAN, 1.0, 3.0, 1.0, 2.0, 1.0]), Some(1.0));
        assert_eq!(floor(&[2.0, 1.0, NAN, 1.0, 3.0, 2.0, 1.0]), None, "twice");
        assert_eq!(ceiling(&[9.0, 10.0, 4.0, 10.0, 10.0, 3.0, 10.0]), Some(10.0));
        // More than at the next value, unless it is 0 or there is no third.
        let three = |shift: f64| [0.0, 1.0, 1.0, 0.0, 2.0, 1.0, 1.0, 0.0].map(|value| value + shift);
        assert_eq!((floor(&three(0.0)), floor(&three(1.0)), ceiling(&three(-2.0))), (Some(0.0), None, None));
        assert_eq!(
            (floor(&[5.0, 6.0, 6.0, 5.0, 6.0, 6.0, 5.0]), ceiling(&[5.0, 6.0, 5.0, 6.0, 5.0, 5.0, 6.0])),
            (Some(5.0), Some(6.0))
        );
        // 2% of them.
        let rare = |count: usize| {
            (0..count).map(|row| if row % 40 == 0 && row < 120 { 3.0 } else { 4.0 + row as f64 }).collect::<Vec<f64>>()
        };
        assert_eq!((floor(&rare(150)), floor(&rare(151))), (Some(3.0), None));
        // Rounding makes no other value, and zero has no sign.
        let rounded = [0.0, 3.0, -1e-12, 5.0, 0.0, 4.0];
        let signs = [floor(&rounded), floor(&[-0.0, 2.0, 0.0, 1.0, -0.0]), ceiling(&[-0.0, -2.0, 0.0, -1.0, 0.0])];
        assert!(signs.iter().all(|zero| zero.is_some_and(|zero| zero == 0.0 && zero.is_sign_positive())), "{signs:?}");
        assert_eq!((floor(&[4.0; 9]), floor(&[])), (None, None));
        // What comes later says that it is none.
        let later = |value: f64| recurring_lowest(counts.iter().copied(), [NAN, 3.0, value].into_iter());
        assert_eq!([0.0, -1e-12, -0.5].map(later), [Some(0.0), Some(0.0), None]);
        let later = |value: f64| recurring_highest(counts.iter().map(|count| -count), [NAN, value].into_iter());
        assert_eq!([-1.0, 1e-12, 0.5].map(later), [Some(0.0), Some(0.0), None]);
    }

    #[test]
    fn missing_values_do_not_count() {
        let signal = signal(&[NAN, 1.0, NAN, 5.0, 9.0]);
        let scale = Standardiser::fit(&signal, 0..4).expect("fits");
        assert_eq!(scale, Standardiser { means: vec![3.0], deviations: vec![2.0] });
        let applied = &scale.apply(&signal)[0];
        assert!(applied[0].is_nan() && applied[2].is_nan());
        assert_eq!([applied[1], applied[3], applied[4]], [-1.0, 1.0, 3.0]);
    }

    #[test]
    fn one_value_or_none_cannot_be_scaled() {
        for (values, found) in [(vec![NAN, NAN], "NaN"), (vec![], "NaN"), (vec![2.0, NAN, 2.0], "2")] {
            let error = Standardiser::fit(&signal(&values), 0..values.len()).expect_err("constant").to_string();
            assert!(error.starts_with("column `a`: ") && error.ends_with(&format!("found only {found}")), "{error}");
        }
    }

    #[test]
    fn statistics_that_overflow_or_underflow_are_refused() {
        for (values, found) in [
            ([1e-200, 2e-200, 3e-200], "a mean of 2e-200 and a deviation of 0"),
            ([1e200, -1e200, 1e200], "and a deviation of inf"),
            ([1e308, 1.5e308, 1e308], "a mean of inf"),
            ([-1e308, -1.5e308, -1e308], "a mean of -inf"),
        ] {
            let error = Standardiser::fit(&signal(&values), 0..3).expect_err(found).to_string();
            let expected =
                "column `a`: expected values with a finite mean and a finite deviation above 0 over the training rows, found ";
            assert!(error.starts_with(expected) && error.contains(found), "{error}");
        }
        for values in [[1e-150, 2e-150, 3e-150], [1e150, -1e150, 0.0]] {
            let scale = Standardiser::fit(&signal(&values), 0..3).expect("fits");
            assert!(scale.apply(&signal(&values))[0].iter().all(|value| value.is_finite() && value.abs() < 2.0));
        }
    }
}
