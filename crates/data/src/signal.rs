//! A signal: in memory, or its values in a mapped file.

use crate::{Stamps, Values, stamps::SECOND};
use std::ops::Range;

/// Columns of equal length over one sequence of stamps.
///
/// Invariant: every value in `columns` and `covariates` is finite, or NaN where it is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal {
    /// Time stamps as written in the file.
    pub stamps: Stamps,
    /// Names of the columns.
    pub names: Vec<String>,
    /// `[column][row]`.
    pub columns: Vec<Values>,
    /// What is observed or known beside the columns.
    pub covariates: Vec<Covariate>,
    /// What does not change with time.
    pub statics: Vec<Static>,
    /// Rows up to the last with a value that was made missing as an outlier; 0 if none was.
    pub masked_len: usize,
    /// The least and the greatest value of each column that is no outlier, or one that stays; empty where all stay.
    pub limits: Vec<(f64, f64)>,
}

/// A quantity that goes along with the series.
#[derive(Clone, Debug, PartialEq)]
pub struct Covariate {
    /// Its name.
    pub name: String,
    /// Whether it is known for the future, too. Then it is missing only where a series has no row: before its first, after its
    /// last.
    pub known: bool,
    /// `[0][row]`, shared by all series, or `[series][row]`.
    pub values: Vec<Values>,
    /// As [`Signal::limits`], of all series together; infinite of what is known for the future, and where all outliers stay.
    pub limits: (f64, f64),
}

/// A quantity of each series that does not change with time.
#[derive(Clone, Debug, PartialEq)]
pub struct Static {
    /// Its name.
    pub name: String,
    /// One a series, finite.
    pub values: Vec<f64>,
}

impl Signal {
    /// Number of rows.
    pub fn len(&self) -> usize {
        self.stamps.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.stamps.is_empty()
    }

    /// Number of rows up to the last one with a value in any column, one that was made missing as an outlier included. The rows after it are the future that
    /// covariates know.
    pub fn observed_len(&self) -> usize {
        let last = |column: &Values| column.iter().rposition(|value| !value.is_nan()).map_or(0, |row| row + 1);
        self.columns.iter().map(last).max().unwrap_or(0).max(self.masked_len)
    }

    /// The columns over some rows.
    pub fn slice(&self, rows: Range<usize>) -> Vec<&[f64]> {
        self.columns.iter().map(|column| &column[rows.clone()]).collect()
    }

    /// Seconds (or counts, for stamps that are numbers) between rows, if they are whole and all alike.
    pub fn step(&self) -> Option<i64> {
        let step = |row: usize| Some(self.stamps.nanoseconds(row)? - self.stamps.nanoseconds(row - 1)?);
        let first = if self.len() < 2 { None } else { step(1) }?;
        let whole = (first % SECOND == 0).then_some(first / SECOND).and_then(|step| i64::try_from(step).ok());
        whole.filter(|_| (2..self.len()).all(|row| step(row) == Some(first)))
    }
}
