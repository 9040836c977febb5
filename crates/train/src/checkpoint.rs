//! A checkpoint: all that training needs to go on with the same bits, in one safetensors file with a checksum, written atomically.
//!
//! Random draws and the order of the windows are functions of the seed and the step, so that neither needs a place here.

use foretoken_model::{ModelError, file::write_atomically};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, io::Read, path::Path};

const KEY: &str = "foretoken-checkpoint";
const CHECKSUM: &str = "crc32";
const VERSION: u32 = 3;

/// Where training stands after a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Numbers.
    pub progress: Progress,
    /// Weights, first and second moments, mean weights, best weights, weights at the epoch's beginning: arenas of one length.
    pub arenas: [Vec<f32>; 6],
    /// The network's share that goes with the best weights.
    pub best_share_h: Vec<f32>,
}

/// The numbers of a checkpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progress {
    /// Format of the checkpoint.
    pub version: u32,
    /// Text of everything that shapes the run; a resume with another is refused.
    pub run: String,
    /// Epochs done.
    pub epoch: u64,
    /// Steps done.
    pub step: u64,
    /// Of them, steps of the epoch that has begun.
    pub epoch_step: u64,
    /// The sum of their losses.
    pub epoch_loss: f64,
    /// Those of the epoch that were left out.
    pub epoch_skipped: u64,
    /// All steps left out, since their loss or gradient was not finite.
    pub skipped: u64,
    /// Best validation error of the network so far.
    pub best_mse: f64,
    /// The epoch it came from.
    pub best_epoch: u64,
}

impl Progress {
    /// The start of a run.
    pub fn new(run: String) -> Self {
        Self {
            version: VERSION,
            run,
            epoch: 0,
            step: 0,
            epoch_step: 0,
            epoch_loss: 0.0,
            epoch_skipped: 0,
            skipped: 0,
            best_mse: f64::MAX,
            best_epoch: 0,
        }
    }
}

const NAMES: [&str; 7] = ["weights", "moment_1", "moment_2", "mean_weights", "best_weights", "epoch_weights", "best_share"];

/// Of the numbers and the arenas, in the order of [`NAMES`].
pub(crate) fn checksum<'a>(progress: &str, arenas: impl Iterator<Item = &'a [u8]>) -> String {
    let mut hash = crc32fast::Hasher::new();
    hash.update(progress.as_bytes());
    arenas.for_each(|arena| hash.update(arena));
    format!("{:08x}", hash.finalize())
}

impl Checkpoint {
    /// Writes the checkpoint; the old one stays whole until the new one is.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let problem = |error: safetensors::SafeTensorError| ModelError::File { path: path.into(), problem: error.to_string() };
        let arenas: Vec<Vec<u8>> = self
            .arenas
            .iter()
            .chain([&self.best_share_h])
            .map(|arena| arena.iter().flat_map(|value| value.to_le_bytes()).collect())
            .collect();
        let views = NAMES
            .into_iter()
            .zip(&arenas)
            .map(|(name, bytes)| TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map(|view| (name, view)))
            .collect::<Result<Vec<_>, _>>()
            .map_err(problem)?;
        let progress = serde_json::to_string(&self.progress).map_err(ModelError::syntax)?;
        let checksum = checksum(&progress, arenas.iter().map(Vec::as_slice));
        let header = HashMap::from([(KEY.to_string(), progress), (CHECKSUM.to_string(), checksum)]);
        let bytes = safetensors::serialize(views, Some(header)).map_err(problem)?;
        write_atomically(path, &bytes)
    }

    /// Reads a checkpoint of the run that `run` describes, with arenas of `len`.
    ///
    /// # Errors
    /// As [`Checkpoint::read`], or a checkpoint of something else.
    pub fn load(path: &Path, run: &str, len: usize, horizon: usize) -> Result<Self, ModelError> {
        let problem = |problem: &str| ModelError::File { path: path.into(), problem: problem.into() };
        let read = Self::read(path)?;
        let shapes = read.arenas[0].len() == len && read.best_share_h.len() == horizon;
        match read.progress.run == run && shapes {
            true => Ok(read),
            false => Err(problem("expected a checkpoint of this run, found one of another configuration or other data")),
        }
    }

    /// Whether the file, whole or not, says at its beginning that it is a checkpoint.
    pub fn is_one(path: &Path) -> bool {
        let (mut start, key) = (Vec::new(), format!("\"{KEY}\":"));
        let read = std::fs::File::open(path).and_then(|file| file.take(1 << 16).read_to_end(&mut start));
        read.is_ok() && start.windows(key.len()).any(|part| part == key.as_bytes())
    }

    /// Reads any checkpoint.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or is no checkpoint or one of another version.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        let problem = |problem: String| ModelError::File { path: path.into(), problem };
        let whole = |error: safetensors::SafeTensorError| problem(format!("expected a whole checkpoint, found: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(whole)?;
        let header = |key| metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
        let text =
            header(KEY).ok_or_else(|| problem("expected a foretoken checkpoint, found another safetensors file".into()))?;
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        if let Ok(Version { version }) = serde_json::from_str(text)
            && version != VERSION
        {
            return Err(problem(format!("version: expected {VERSION}, found {version}")));
        }
        let progress: Progress = serde_json::from_str(text).map_err(|error| problem(format!("header `{KEY}`: {error}")))?;
        let tensors = SafeTensors::deserialize(&bytes).map_err(whole)?;
        let data = NAMES.iter().filter_map(|name| tensors.tensor(name).ok());
        let (found, expected) = (checksum(text, data.map(|view| view.data())), header(CHECKSUM).map_or("none", String::as_str));
        if found != expected {
            return Err(problem(format!("expected the checksum {expected} of its header, found {found}: the file is damaged")));
        }
        let read = |name: &str| {
            let view = tensors.tensor(name).map_err(whole)?;
            match view.dtype() {
                Dtype::F32 => {
                    Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect::<Vec<f32>>())
                }
                found => Err(problem(format!("tensor `{name}`: expected F32, found {found:?}"))),
            }
        };
        let [arenas @ .., share] = NAMES;
        let arenas = arenas.into_iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if let Some(at) = arenas.iter().position(|arena| arena.len() != arenas[0].len()) {
            let (expected, found) = (arenas[0].len(), arenas[at].len());
            return Err(problem(format!("tensor `{}`: expected {expected} values, found {found}", NAMES[at])));
        }
        let arenas = arenas.try_into().expect("as many arenas as names");
        Ok(Self { progress, arenas, best_share_h: read(share)? })
    }
}
