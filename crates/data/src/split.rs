//! Training, validation and test rows.

use crate::DataError;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How rows are split, in order of time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Split {
    /// 12, 4 and 4 months of 30 days of hourly rows, as the ETT benchmark has it.
    Ett,
    /// Shares of all rows for training, validation and test; they sum to one.
    Shares([f64; 3]),
    /// Rows for training, validation and test.
    Rows([usize; 3]),
    /// Rows for validation and test, at the end; all before them are for training. Suits series that are aligned at their ends.
    Last([usize; 2]),
}

/// The rows of each part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ranges {
    /// Rows to train on.
    pub train: Range<usize>,
    /// Rows to select on.
    pub validation: Range<usize>,
    /// Rows to report on.
    pub test: Range<usize>,
}

const MONTH: usize = 30 * 24;

impl Split {
    /// The rows of each part in a signal of `len` observed rows.
    ///
    /// # Errors
    /// Fewer rows than the split names, an empty part, or shares that do not sum to one.
    pub fn resolve(&self, len: usize) -> Result<Ranges, DataError> {
        let sizes = match self {
            Self::Ett => [12 * MONTH, 4 * MONTH, 4 * MONTH],
            Self::Rows(rows) => *rows,
            Self::Last([validation, test]) => [len.saturating_sub(validation.saturating_add(*test)), *validation, *test],
            Self::Shares(shares) => {
                if !(shares.iter().all(|share| *share > 0.0) && (shares.iter().sum::<f64>() - 1.0).abs() < 1e-9) {
                    return Err(DataError::Split {
                        expected: "three shares above 0 that sum to 1",
                        found: format!("{shares:?}"),
                    });
                }
                let (train, test) = ((len as f64 * shares[0]) as usize, (len as f64 * shares[2]) as usize);
                [train, len.saturating_sub(train + test), test]
            }
        };
        if sizes.contains(&0) {
            return Err(DataError::Split {
                expected: "at least one row in each part",
                found: format!("{sizes:?} of {len} rows"),
            });
        }
        let [train, validation, test] = sizes;
        let needed = train.saturating_add(validation).saturating_add(test);
        if len < needed {
            return Err(DataError::TooShort { what: "split", expected: needed, found: len });
        }
        Ok(Ranges { train: 0..train, validation: train..train + validation, test: train + validation..needed })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ett_is_8640_11520_14400() {
        let ranges = Split::Ett.resolve(17420).expect("resolves");
        assert_eq!((ranges.train, ranges.validation, ranges.test), (0..8640, 8640..11520, 11520..14400));
        assert!(Split::Ett.resolve(14399).expect_err("short").to_string().contains("14400 rows, found 14399"));
    }

    #[test]
    fn shares_cover_everything() {
        let ranges = Split::Shares([0.7, 0.1, 0.2]).resolve(52696).expect("resolves");
        assert_eq!((ranges.train.end, ranges.test.start, ranges.test.end), (36887, 42157, 52696));
        assert!(Split::Shares([0.7, 0.1, 0.1]).resolve(100).is_err());
        assert!(Split::Rows([5, 0, 5]).resolve(100).is_err());
    }

    #[test]
    fn last_rows_are_held_back() {
        let ranges = Split::Last([2, 3]).resolve(10).expect("resolves");
        assert_eq!((ranges.train, ranges.validation, ranges.test), (0..5, 5..7, 7..10));
        for (last, len) in [([2, 3], 5), ([2, 3], 0), ([0, 3], 10), ([usize::MAX, 3], 10)] {
            let error = Split::Last(last).resolve(len).expect_err("too few").to_string();
            assert!(error.contains("at least one row in each part"), "{error}");
        }
        let split: Split = toml::from_str::<std::collections::BTreeMap<String, Split>>("split = { last = [2, 3] }")
            .expect("parses")
            .remove("split")
            .expect("there");
        assert_eq!(split, Split::Last([2, 3]));
    }
}
