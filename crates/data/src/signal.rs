//! A signal in memory.

use crate::stamps;
use std::ops::Range;

/// Columns of equal length over one sequence of stamps.
///
/// Invariant: every value in `columns` and `covariates` is finite, or NaN where it is missing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Signal {
    /// Time stamps as written in the file.
    pub stamps: Vec<String>,
    /// Names of the columns.
    pub names: Vec<String>,
    /// `[column][row]`.
    pub columns: Vec<Vec<f64>>,
    /// What is observed or known beside the columns.
    pub covariates: Vec<Covariate>,
    /// What does not change with time.
    pub statics: Vec<Static>,
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
    pub values: Vec<Vec<f64>>,
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

    /// Number of rows up to the last one with a value in any column. The rows after it are the future that covariates know.
    pub fn observed_len(&self) -> usize {
        let last = |column: &Vec<f64>| column.iter().rposition(|value| !value.is_nan()).map_or(0, |row| row + 1);
        self.columns.iter().map(last).max().unwrap_or(0)
    }

    /// The columns over some rows.
    pub fn slice(&self, rows: Range<usize>) -> Vec<&[f64]> {
        self.columns.iter().map(|column| &column[rows.clone()]).collect()
    }

    /// Seconds (or counts, for integer stamps) between rows, if they are all alike.
    pub fn step(&self) -> Option<i64> {
        let times: Option<Vec<i64>> = self.stamps.iter().map(|stamp| stamps::parse(stamp).map(|time| time.ticks)).collect();
        let times = times?;
        let mut steps = times.windows(2).map(|pair| pair[1] - pair[0]);
        let first = steps.next()?;
        steps.all(|step| step == first).then_some(first)
    }
}
