//! What can go wrong, said so that a user can mend it.

use crate::predictor::LARGEST_STANDARDISED;
use std::path::PathBuf;

/// An error of this crate: one line that names what, where, what was expected and what was found.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// A configuration value that cannot be built.
    #[error("{field}: expected {expected}, found {found}")]
    Config {
        /// Path of the field, as in the run's TOML.
        field: String,
        /// What would have been accepted.
        expected: String,
        /// What stood there.
        found: String,
    },
    /// A configuration text that does not parse, with the parser's own place and reason.
    #[error("{place}{}{reason}", if place.is_empty() { "" } else { ": " })]
    Syntax {
        /// Path of the field or number of the line, as far as it is known.
        place: String,
        /// The parser's reason.
        reason: String,
    },
    /// A sample or a buffer of the wrong width.
    #[error("{what}: expected {expected} values, found {found}")]
    Width {
        /// Which input.
        what: &'static str,
        /// Width the model was built for.
        expected: usize,
        /// Width that was given.
        found: usize,
    },
    /// A sample that is not finite, or so far off that nothing could count with it; the state is untouched.
    #[error("column `{column}`: expected {}, found {found}", wanted(*found))]
    Sample {
        /// Name of the column.
        column: String,
        /// The value.
        found: f64,
    },
    /// Not enough samples to do what was asked.
    #[error("{what}: expected at least {expected} samples, found {found}")]
    TooShort {
        /// What needs the samples.
        what: &'static str,
        /// How many it needs.
        expected: usize,
        /// How many there were.
        found: usize,
    },
    /// A file that is not a model of ours, is damaged, or is of another version.
    #[error("{}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Expected and found.
        problem: String,
    },
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// A router met a NaN or an infinite score.
    #[error("router: expected finite scores, found NaN or infinity at row {row}, expert {expert}")]
    NonFiniteScore {
        /// Row of the call.
        row: usize,
        /// Expert whose score it is.
        expert: usize,
    },
    /// A pass or a stream that met NaN or infinity.
    #[error("{place}: expected finite values, found NaN or infinity")]
    NotFinite {
        /// Layer or weight, by its path.
        place: String,
    },
}

impl ModelError {
    /// A [`ModelError::Config`] from anything printable.
    pub fn config(field: &str, expected: impl ToString, found: impl ToString) -> Self {
        Self::Config { field: field.into(), expected: expected.to_string(), found: found.to_string() }
    }

    /// A [`ModelError::Width`] unless there are as many as expected.
    pub(crate) fn unless_as_many(what: &'static str, expected: usize, found: usize) -> Result<(), Self> {
        if expected == found { Ok(()) } else { Err(Self::Width { what, expected, found }) }
    }

    /// A [`ModelError::Syntax`] whose place is not known yet.
    pub fn syntax(reason: impl ToString) -> Self {
        Self::Syntax { place: String::new(), reason: reason.to_string() }
    }

    /// A [`ModelError::Syntax`] from TOML's, which draws its place over several lines: the line's number, the key whose value it is, and the reason.
    pub fn toml(text: &str, error: &toml::de::Error) -> Self {
        let reason = error.message().trim().replace('\n', " ");
        match error.span() {
            Some(span) => {
                let key = key(&text[..span.start]).map_or(String::new(), |key| format!(", `{key}`"));
                Self::Syntax { place: format!("line {}{key}", text[..span.start].matches('\n').count() + 1), reason }
            }
            None => Self::syntax(reason),
        }
    }

    /// The same error with its field placed under `parent`.
    pub fn under(self, parent: &str) -> Self {
        match self {
            Self::Config { field, expected, found } => Self::Config { field: format!("{parent}.{field}"), expected, found },
            Self::Syntax { place, reason } if place.is_empty() => Self::Syntax { place: parent.into(), reason },
            Self::Syntax { place, reason } => Self::Syntax { place: format!("{parent}.{place}"), reason },
            Self::NotFinite { place } => Self::NotFinite { place: format!("{parent}.{place}") },
            score @ Self::NonFiniteScore { .. } => Self::NotFinite { place: format!("{parent}, {score}") },
            other => other,
        }
    }
}

/// What a sample had to be.
fn wanted(found: f64) -> String {
    match found.is_finite() {
        true => format!("a value within {LARGEST_STANDARDISED:e} deviations of the mean"),
        false => "a finite value".into(),
    }
}

/// The key in front of a value, where TOML was read up to it.
pub(crate) fn key(before: &str) -> Option<&str> {
    let own = before.rsplit(['\n', '{', ',']).next()?;
    Some(own.split_once('=')?.0.trim()).filter(|key| !key.is_empty())
}
