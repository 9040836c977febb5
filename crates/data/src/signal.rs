//! A signal in memory.

use crate::stamps;
use std::ops::Range;

/// Columns of equal length over one sequence of stamps.
#[derive(Clone, Debug, PartialEq)]
pub struct Signal {
    /// Time stamps as written in the file.
    pub stamps: Vec<String>,
    /// Names of the columns.
    pub names: Vec<String>,
    /// `[column][row]`.
    pub columns: Vec<Vec<f64>>,
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
