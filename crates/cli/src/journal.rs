//! The log of a run: `log.jsonl`, one event a line, written as it happens.

use crate::error::CliError;
use foretoken_train::{EpochReport, StepReport};
use serde::Serialize;
use std::{
    fs::File,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// What can happen. Numbers that are not finite are null.
#[derive(Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// Training begins or goes on, at a time in seconds since 1970.
    Start { unix_time: f64, resumed: bool, epoch: u64, step: u64, parameters: usize, seed: u64 },
    /// A step was done, or left out.
    Step(&'a StepReport),
    /// An epoch was done.
    Epoch(&'a EpochReport),
    /// A checkpoint was written; or could not be, and the one before it is whole.
    Checkpoint { epoch: u64, step: u64, problem: Option<String> },
    /// Training was asked to end by a signal, or ended with an error.
    End { step: u64, problem: Option<String> },
}

#[derive(Serialize)]
struct Line<'a> {
    /// Since the command began.
    seconds: f64,
    #[serde(flatten)]
    event: &'a Event<'a>,
}

/// The log, open at its end.
pub struct Journal {
    path: PathBuf,
    file: File,
    started: Instant,
    failed: bool,
}

impl Journal {
    /// Begins the log, or goes on with it, without the half line that a killed process may have left.
    pub fn open(path: &Path, resume: bool, started: Instant) -> Result<Self, CliError> {
        let io = CliError::io(path);
        let mut file = File::options().create(true).read(true).write(true).truncate(!resume).open(path).map_err(&io)?;
        let mut text = Vec::new();
        file.read_to_end(&mut text).map_err(&io)?;
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |place| place + 1);
        file.set_len(whole as u64).and_then(|()| file.seek(SeekFrom::End(0))).map_err(&io)?;
        Ok(Self { path: path.into(), file, started, failed: false })
    }

    /// Writes one event. What cannot be written is given back once as a warning, and training goes on.
    #[must_use]
    pub fn write(&mut self, event: &Event<'_>) -> Option<String> {
        let line = Line { seconds: self.started.elapsed().as_secs_f64(), event };
        let text = serde_json::to_string(&line).map_err(std::io::Error::other);
        let error = text.and_then(|text| self.file.write_all((text + "\n").as_bytes())).err()?;
        (!std::mem::replace(&mut self.failed, true)).then(|| format!("{}: {error}", self.path.display()))
    }
}

/// Seconds since 1970.
pub fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64())
}
