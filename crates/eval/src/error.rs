//! What can keep an evaluation from being made.

/// An error of this crate.
#[derive(Debug, thiserror::Error, PartialEq)]
pub enum EvalError {
    /// Too few rows.
    #[error("{what}: expected at least {expected} rows, found {found}")]
    TooShort {
        /// What needs the rows.
        what: &'static str,
        /// How many it needs.
        expected: usize,
        /// How many there are.
        found: usize,
    },
    /// Too many missing values.
    #[error("{what}: expected one with a tenth of its values at least, found none")]
    Missing {
        /// What lacks them.
        what: &'static str,
    },
    /// A decomposition that did not converge, from values that are not finite or too large.
    #[error("linear map: expected rows whose products are finite, found values that cannot be decomposed")]
    NotFinite,
}
