//! Every way a command can fail, as one line.

use foretoken_data::DataError;
use foretoken_model::ModelError;
use std::path::{Path, PathBuf};

/// An error of a command.
#[derive(Debug, thiserror::Error)]
pub enum CliError {
    #[error("{0}")]
    Model(#[from] ModelError),
    #[error("{0}")]
    Data(#[from] DataError),
    #[error("{}: {source}", path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("standard input or output: {0}")]
    Output(#[from] std::io::Error),
    #[error("line:{line}: {source}")]
    Line { line: u64, source: ModelError },
    #[error("{}: {problem}", path.display())]
    File { path: PathBuf, problem: String },
    #[error("interrupted after step {step}; `--resume` goes on from {}", path.display())]
    Interrupted { signal: i32, step: u64, path: PathBuf },
}

impl CliError {
    /// An error about a file.
    pub fn file(path: &Path, problem: impl ToString) -> Self {
        Self::File { path: path.into(), problem: problem.to_string() }
    }

    /// The system's refusal of a file.
    pub fn io(path: &Path) -> impl Fn(std::io::Error) -> Self + '_ {
        |source| Self::Io { path: path.into(), source }
    }

    /// Whether the reader of our output went away, which ends a command but is no error.
    pub fn is_closed_pipe(&self) -> bool {
        matches!(self, Self::Output(error) if error.kind() == std::io::ErrorKind::BrokenPipe)
    }
}
