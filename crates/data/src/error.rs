//! What can be wrong with data, said with its place.

use crate::Every;
use std::{borrow::Cow, path::PathBuf};

/// How to read such a file.
fn told(steps: Option<Steps>) -> String {
    let of = |steps: Steps| if steps.hold.is_some() { "lasts in each of these steps" } else { "each of these steps has" };
    steps.map_or_else(String::new, |steps| format!("; with {steps} in `data.read` rows are means of what {}", of(steps)))
}

/// By what samples on no grid may be averaged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steps {
    /// A step that most of have rows, or values that last.
    pub every: Every,
    /// How long values last, where series tell of their changes alone.
    pub hold: Option<Every>,
}

/// As a run has them.
impl std::fmt::Display for Steps {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "`every = \"{}\"`", self.every)?;
        self.hold.map_or(Ok(()), |hold| write!(formatter, " and `hold = \"{hold}\"`"))
    }
}

/// An error of this crate: one line that names file, line and column, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The file as a whole is not what it should be.
    #[error("{}: expected {expected}, found {found}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What would have been accepted.
        expected: String,
        /// What it is.
        found: String,
    },
    /// Stamps that are on no grid.
    #[error("{}: expected {expected}, found {found}{}", path.display(), told(*steps))]
    Irregular {
        /// The file.
        path: PathBuf,
        /// What would have been accepted.
        expected: String,
        /// What they are.
        found: String,
        /// By what they may be averaged.
        steps: Option<Steps>,
    },
    /// A line with the wrong number of fields.
    #[error("{source_name}:{line}: expected {expected} fields, found {found}")]
    Ragged {
        /// File, or `line` of a stream.
        source_name: String,
        /// Line number from 1.
        line: u64,
        /// Fields the header announces.
        expected: String,
        /// Fields on the line.
        found: usize,
    },
    /// A header of other columns, or of the same in another order, above the lines of a stream: no line under it is what it seems to be.
    #[error("line:{line}: expected the columns {expected} in this order, found {found}")]
    Header {
        /// Line number from 1.
        line: u64,
        /// The columns.
        expected: String,
        /// What the line names.
        found: String,
    },
    /// A field that does not parse.
    #[error("{source_name}:{line}: column `{column}`: expected {expected}, found `{found}`")]
    Field {
        /// File, or `line` of a stream.
        source_name: String,
        /// Line number from 1.
        line: u64,
        /// Name of the column.
        column: String,
        /// What would have been accepted.
        expected: Cow<'static, str>,
        /// The text.
        found: String,
    },
    /// A column that cannot be scaled.
    #[error("column `{column}`: expected values that vary over the training rows, found only {found}")]
    Constant {
        /// Name of the column.
        column: String,
        /// Its one value; NaN if it has none.
        found: f64,
    },
    /// A column whose statistics are no numbers.
    #[error(
        "column `{column}`: expected values with a finite mean and a finite deviation above 0 over the training rows, found a mean of \
         {mean:?} and a deviation of {deviation:?}"
    )]
    Statistics {
        /// Name of the column.
        column: String,
        /// Its mean.
        mean: f64,
        /// Its population deviation.
        deviation: f64,
    },
    /// Values that there is no memory for.
    #[error("memory: expected room for {values} values, found less")]
    Memory {
        /// How many they are, of 8 bytes each.
        values: usize,
    },
    /// Too few rows for what was asked.
    #[error("{what}: expected at least {expected} rows, found {found}")]
    TooShort {
        /// What needs them.
        what: &'static str,
        /// How many it needs.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// A split that cannot be.
    #[error("split: expected {expected}, found {found}")]
    Split {
        /// What would have been accepted.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// An option that cannot be, by itself or beside the others.
    #[error("{key}: expected {expected}, found {found}")]
    Option {
        /// Key of the option.
        key: &'static str,
        /// What would have been accepted.
        expected: &'static str,
        /// What was given.
        found: String,
    },
    /// A stamp without a calendar.
    #[error("calendar: expected a date or a date and time, found `{found}` as stamp {number}")]
    Calendar {
        /// Which stamp, from 1.
        number: usize,
        /// The stamp.
        found: String,
    },
}
