//! Where the stream of a run's own rows stood near their end, beside its model: a forecast after the same rows, and any number more, goes on from there
//! and has the same bits.

use crate::{
    error::CliError,
    run::{folder_of, predictor},
    say::remark,
};
use foretoken_model::{Beside, Forecaster, ModelError, Predictor, Snapshot, file::write_atomically, predictor::Parts};
use sha2::{Digest, Sha256};
use std::{path::Path, sync::Arc};

const FILE: &str = "state.json";

/// Writes where a stream stands after so many rows, as far as they are known a horizon ahead, into the folder of its run. It has seen some of them or all.
///
/// # Errors
/// As [`Predictor::advance_many`]; a file that cannot be written.
pub fn keep(folder: &Path, mut stream: Predictor, columns: &[&[f64]], beside: &Beside<'_>, rows: usize) -> Result<(), CliError> {
    let (seen, horizon) = (stream.samples() as usize, stream.forecaster().config().horizon);
    let left: Vec<&[f64]> = columns.iter().map(|column| &column[seen..rows]).collect();
    stream.advance_many_apart(&left, |_| false, &mut [|_: usize, _: usize, _: &Parts| {}])?;
    stream.untell(horizon);
    let snapshot = Snapshot { note: digest(columns, beside, rows, horizon), ..stream.snapshot()? };
    Ok(write_atomically(&folder.join(FILE), snapshot.to_json()?.as_bytes())?)
}

/// Removes what another model of the run has left.
///
/// # Errors
/// A file that cannot be removed.
pub fn forget(folder: &Path) -> Result<(), CliError> {
    let path = folder.join(FILE);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(CliError::io(&path)(error)),
        _ => Ok(()),
    }
}

/// A stream that stands where the model's run has left one, if that was after the same rows and `left` or more follow, or else at its beginning; it is told
/// what lies beside the rest. Where the rows should be the run's own it is said that they are not.
///
/// # Errors
/// As [`Predictor::tell`].
pub fn resume(
    model: &Path,
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    left: usize,
    is_own: bool,
) -> Result<Predictor, ModelError> {
    let mut stream = predictor(forecaster);
    let path = folder_of(model).join(FILE);
    if let Ok(text) = std::fs::read_to_string(&path) {
        match Snapshot::from_json(&text) {
            Ok(snapshot) if is_of(&snapshot, forecaster, columns, beside, left) => {
                if let Err(error) = stream.restore(&snapshot) {
                    remark!("{}: {error}; all rows are gone through instead", path.display());
                }
            }
            Ok(_) if is_own => remark!("the file no longer begins with the rows that {} was trained on", model.display()),
            Ok(_) => {}
            Err(error) => remark!("{}: {error}; all rows are gone through instead", path.display()),
        }
    }
    let seen = stream.samples() as usize;
    stream.tell(&beside.from(seen, seen.saturating_add(stream.known_ahead())))?;
    Ok(stream)
}

/// Whether a snapshot is of these rows.
fn is_of(snapshot: &Snapshot, forecaster: &Forecaster, columns: &[&[f64]], beside: &Beside<'_>, left: usize) -> bool {
    let rows = usize::try_from(snapshot.samples).unwrap_or(usize::MAX);
    let there = columns.first().map_or(0, |column| column.len());
    rows.saturating_add(left) <= there && snapshot.note == digest(columns, beside, rows, forecaster.config().horizon)
}

/// Of all that a stream of so many rows knows of a signal.
fn digest(columns: &[&[f64]], beside: &Beside<'_>, rows: usize, horizon: usize) -> String {
    let Beside { past, known } = beside.until(rows, rows + horizon);
    let own = columns.iter().map(|column| &column[..rows]);
    let mut hash = Sha256::new();
    for values in own.chain(past.into_iter().flatten()).chain(known.into_iter().flatten()) {
        hash.update((values.len() as u64).to_le_bytes());
        for values in values.chunks(BLOCK) {
            let mut bytes = [0; BLOCK * 8];
            bytes.chunks_exact_mut(8).zip(values).for_each(|(bytes, value)| bytes.copy_from_slice(&value.to_le_bytes()));
            hash.update(&bytes[..values.len() * 8]);
        }
    }
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Values that are hashed at once.
const BLOCK: usize = 512;
