//! Standardisation by training statistics.

use crate::{DataError, Signal};
use std::ops::Range;

/// Mean and population deviation of every column over the training rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Standardiser {
    /// One a column.
    pub means: Vec<f64>,
    /// One a column.
    pub deviations: Vec<f64>,
}

impl Standardiser {
    /// Fits on `rows`.
    ///
    /// # Errors
    /// A column that is constant there.
    pub fn fit(signal: &Signal, rows: Range<usize>) -> Result<Self, DataError> {
        let mut fitted = Self { means: Vec::new(), deviations: Vec::new() };
        for (name, values) in signal.names.iter().zip(signal.slice(rows)) {
            let mean = values.iter().sum::<f64>() / values.len() as f64;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
            if values.iter().all(|value| *value == values[0]) {
                return Err(DataError::Constant { column: name.clone(), found: values[0] });
            }
            fitted.means.push(mean);
            fitted.deviations.push(variance.sqrt());
        }
        Ok(fitted)
    }

    /// All columns, standardised.
    pub fn apply(&self, signal: &Signal) -> Vec<Vec<f64>> {
        let scale = self.means.iter().zip(&self.deviations);
        let column = |(values, (mean, deviation)): (&Vec<f64>, (&f64, &f64))| {
            values.iter().map(|value| (value - mean) / deviation).collect()
        };
        signal.columns.iter().zip(scale).map(column).collect()
    }
}
