//! A checkpoint: all that training needs to go on with the same bits, in one safetensors file written atomically.

use foretoken_model::{ModelError, file::write_atomically};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, path::Path};

const KEY: &str = "foretoken-checkpoint";
const VERSION: u32 = 2;

/// Where training stands after an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct Checkpoint {
    /// Numbers.
    pub progress: Progress,
    /// Weights, first and second moments, mean weights, best weights: arenas of one length.
    pub arenas: [Vec<f32>; 5],
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
    /// Steps the optimiser counted.
    pub moments: usize,
    /// Best validation error of the network so far.
    pub best_mse: f64,
    /// The epoch it came from.
    pub best_epoch: u64,
}

impl Progress {
    /// The start of a run.
    pub fn new(run: String) -> Self {
        Self { version: VERSION, run, epoch: 0, step: 0, moments: 0, best_mse: f64::MAX, best_epoch: 0 }
    }
}

const NAMES: [&str; 6] = ["weights", "moment_1", "moment_2", "mean_weights", "best_weights", "best_share"];

impl Checkpoint {
    /// Writes the checkpoint; the old one stays whole until the new one is.
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
        let bytes = safetensors::serialize(views, Some(HashMap::from([(KEY.to_string(), progress)]))).map_err(problem)?;
        write_atomically(path, &bytes)
    }

    /// Reads a checkpoint of the run that `run` describes, with arenas of `len`.
    pub fn load(path: &Path, run: &str, len: usize, horizon: usize) -> Result<Self, ModelError> {
        let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        let problem = |problem: String| ModelError::File { path: path.into(), problem };
        let whole = |error: safetensors::SafeTensorError| problem(format!("expected a whole checkpoint, found: {error}"));
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(whole)?;
        let progress = metadata.metadata().as_ref().and_then(|metadata| metadata.get(KEY));
        let progress =
            progress.ok_or_else(|| problem("expected a foretoken checkpoint, found another safetensors file".into()))?;
        let progress: Progress = serde_json::from_str(progress).map_err(|error| problem(format!("header `{KEY}`: {error}")))?;
        if progress.version != VERSION {
            return Err(problem(format!("version: expected {VERSION}, found {}", progress.version)));
        }
        if progress.run != run {
            return Err(problem("expected a checkpoint of this run, found one of another configuration or other data".into()));
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(whole)?;
        let read = |name: &str, len: usize| {
            let view = tensors.tensor(name).map_err(whole)?;
            if view.shape() != [len] || view.dtype() != Dtype::F32 {
                return Err(problem(format!(
                    "tensor `{name}`: expected F32 [{len}], found {:?} {:?}",
                    view.dtype(),
                    view.shape()
                )));
            }
            Ok(view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
        };
        let [weights, moment_1, moment_2, mean, best, share] = NAMES;
        Ok(Self {
            progress,
            arenas: [read(weights, len)?, read(moment_1, len)?, read(moment_2, len)?, read(mean, len)?, read(best, len)?],
            best_share_h: read(share, horizon)?,
        })
    }
}
