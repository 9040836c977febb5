//! A stream's state outside of it, and as text.

use crate::{
    ModelError,
    conformal::Adaptive,
    covariates::Along,
    file::{Version, short},
    jumps::Watch,
    layer::State,
    refresh::Refresh,
    scaler::ColumnHistory,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest, Sha256};

/// Version of the text.
const FORMAT_VERSION: u32 = 7;

/// All that a stream has to remember; save it, and the stream goes on elsewhere with the same bits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Snapshot {
    /// Fingerprint of the model it belongs to.
    pub model: String,
    /// Samples taken.
    pub samples: u64,
    /// One history a column.
    pub columns: Vec<ColumnHistory>,
    /// Covariates that wait for their samples.
    pub along: Along,
    /// The network's state.
    pub network: State,
    /// The trunk's output at the newest sample.
    pub hidden: Vec<f32>,
    /// The state that will take its place, if there is a bound.
    pub refresh: Option<Refresh>,
    /// What the intervals have learned, if they follow the stream.
    pub adaptive: Option<Adaptive>,
    /// What it knows of jumps, by column; nothing of a model that follows none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub watches: Vec<Watch>,
    /// What whoever runs the stream keeps beside its state, such as a clock; nothing here reads it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// The text: a snapshot whose damage shows.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Sealed<S> {
    format_version: u32,
    /// Of the snapshot's own JSON.
    checksum: String,
    snapshot: S,
}

impl Snapshot {
    /// As JSON, with a checksum.
    ///
    /// # Errors
    /// A value that JSON has no word for.
    pub fn to_json(&self) -> Result<String, ModelError> {
        let sealed = Sealed { format_version: FORMAT_VERSION, checksum: self.checksum()?, snapshot: self };
        serde_json::to_string(&sealed).map_err(syntax)
    }

    /// What [`Self::to_json`] wrote.
    ///
    /// # Errors
    /// Another text, another version, or a value that is not what was written.
    pub fn from_json(text: &str) -> Result<Self, ModelError> {
        let Version { format_version } = parse(text)?;
        if format_version != FORMAT_VERSION {
            return Err(ModelError::config("snapshot format_version", FORMAT_VERSION, format_version));
        }
        let Sealed { checksum, snapshot, .. } = parse::<Sealed<Self>>(text)?;
        let found = snapshot.checksum()?;
        match found == checksum {
            true => Ok(snapshot),
            false => {
                Err(ModelError::config("snapshot checksum", format!("{checksum}, as written"), format!("{found}: it is damaged")))
            }
        }
    }

    fn checksum(&self) -> Result<String, ModelError> {
        Ok(short(&Sha256::digest(serde_json::to_string(self).map_err(syntax)?)))
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<T, ModelError> {
    serde_json::from_str(text).map_err(syntax)
}

fn syntax(error: serde_json::Error) -> ModelError {
    ModelError::syntax(error).under("snapshot")
}
