//! Routing traces: what every mixture chose, recorded, written to a file, and replayed.

use crate::{ModelError, file::write_atomically, mixture::MixtureEngine};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// Version of the trace file.
pub const TRACE_VERSION: u32 = 1;

/// What each mixture chose at each of its samples.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trace {
    /// By the mixture's number.
    pub mixtures: Vec<MixtureTrace>,
}

/// The choices of one mixture.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixtureTrace {
    /// Experts chosen a sample.
    pub top_k: usize,
    /// Experts to choose from.
    pub experts: usize,
    /// By stream.
    pub streams: Vec<StreamTrace>,
}

/// The choices for one stream, sample after sample, `top_k` a sample.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StreamTrace {
    /// The experts.
    pub choices: Vec<u32>,
    /// Their gate weights.
    pub weights: Vec<f32>,
}

/// The slot with the largest weight, the first of equals: its expert leads the sample.
pub fn leading_slot(weights_k: &[f32]) -> usize {
    (1..weights_k.len()).fold(0, |best, slot| if weights_k[slot] > weights_k[best] { slot } else { best })
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    format_version: u32,
    trace: Trace,
}

impl Trace {
    /// Notes a call's rows.
    pub fn record(&mut self, mixture: usize, experts: usize, top_k: usize, offsets: &[usize], choice: &[u32], weights: &[f32]) {
        if self.mixtures.len() <= mixture {
            self.mixtures.resize(mixture + 1, MixtureTrace::default());
        }
        let own = &mut self.mixtures[mixture];
        (own.top_k, own.experts) = (top_k, experts);
        own.streams.resize(own.streams.len().max(offsets.len() - 1), StreamTrace::default());
        for (stream, pair) in own.streams.iter_mut().zip(offsets.windows(2)) {
            stream.choices.extend_from_slice(&choice[pair[0] * top_k..pair[1] * top_k]);
            stream.weights.extend_from_slice(&weights[pair[0] * top_k..pair[1] * top_k]);
        }
    }

    /// Checks that the trace is of these mixtures.
    ///
    /// # Errors
    /// Another number of mixtures, of experts, or of experts a sample.
    pub fn check(&self, mixtures: &[&MixtureEngine]) -> Result<(), ModelError> {
        let own: Vec<_> = self.mixtures.iter().map(|mixture| (mixture.top_k, mixture.experts)).collect();
        let expected: Vec<_> = mixtures.iter().map(|mixture| (mixture.top_k(), mixture.expert_names().len())).collect();
        if own == expected {
            return Ok(());
        }
        let text = |shapes: &[(usize, usize)]| match shapes {
            [] => "no mixture".to_string(),
            shapes => shapes.iter().map(|(k, e)| format!("{k} of {e} experts")).collect::<Vec<_>>().join(", "),
        };
        Err(ModelError::config("routing trace", text(&expected), text(&own)))
    }

    /// Checks that the parts fit together.
    ///
    /// # Errors
    /// Choices and weights that are not `top_k` a sample, experts that do not exist, or the same one twice in a sample.
    pub fn validate(&self) -> Result<(), ModelError> {
        for (index, mixture) in self.mixtures.iter().enumerate() {
            for (number, stream) in mixture.streams.iter().enumerate() {
                let wrong = |expected: String, found: String| ModelError::Config {
                    field: format!("routing trace, mixture {index}, stream {number}"),
                    expected,
                    found,
                };
                let (choices, weights, k) = (stream.choices.len(), stream.weights.len(), mixture.top_k.max(1));
                if choices != weights || !choices.is_multiple_of(k) {
                    return Err(wrong(format!("{k} choices and weights a sample"), format!("{choices} and {weights}")));
                }
                if let Some(expert) = stream.choices.iter().find(|expert| **expert as usize >= mixture.experts) {
                    return Err(wrong(format!("experts below {}", mixture.experts), expert.to_string()));
                }
                let doubled = |slots: &&[u32]| (1..slots.len()).any(|slot| slots[..slot].contains(&slots[slot]));
                if let Some(slots) = stream.choices.chunks(k).find(doubled) {
                    return Err(wrong("different experts in a sample".into(), format!("{slots:?}")));
                }
            }
        }
        Ok(())
    }

    /// Writes the trace.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&self, path: &Path) -> Result<(), ModelError> {
        let file = File { format_version: TRACE_VERSION, trace: self.clone() };
        write_atomically(path, serde_json::to_string(&file).map_err(ModelError::syntax)?.as_bytes())
    }

    /// Reads a trace.
    ///
    /// # Errors
    /// A missing or damaged file, one of another version, or one whose parts do not fit together.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let problem = |problem: String| ModelError::File { path: path.into(), problem };
        let text = std::fs::read_to_string(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        let file: File =
            serde_json::from_str(&text).map_err(|error| problem(format!("expected a routing trace, found: {error}")))?;
        if file.format_version != TRACE_VERSION {
            return Err(problem(format!("format_version: expected {TRACE_VERSION}, found {}", file.format_version)));
        }
        file.trace.validate().map_err(|error| problem(error.to_string()))?;
        Ok(file.trace)
    }
}

/// A trace on its way through a model: every mixture makes the choices it holds, in order.
#[derive(Clone, Debug)]
pub struct Replay {
    trace: Trace,
    /// Also forces the gate weights; else they follow from the scores of the forced choice.
    weights: bool,
    /// Samples done, `[mixture][stream]`.
    done: Vec<Vec<usize>>,
}

impl Replay {
    /// Forces the choices; gate weights still follow from the scores.
    ///
    /// # Errors
    /// What [`Trace::validate`] refuses.
    pub fn choices(trace: Trace) -> Result<Self, ModelError> {
        trace.validate()?;
        let done = trace.mixtures.iter().map(|mixture| vec![0; mixture.streams.len()]).collect();
        Ok(Self { trace, weights: false, done })
    }

    /// Forces choices and gate weights.
    ///
    /// # Errors
    /// What [`Trace::validate`] refuses.
    pub fn choices_and_weights(trace: Trace) -> Result<Self, ModelError> {
        Ok(Self { weights: true, ..Self::choices(trace)? })
    }

    /// Begins anew.
    pub fn rewind(&mut self) {
        self.done.iter_mut().for_each(|streams| streams.fill(0));
    }

    /// The next choice of a stream of a mixture; `None` if the trace does not speak of that mixture, which then chooses freely.
    ///
    /// # Errors
    /// The trace holds no more, or is of a mixture of another shape.
    pub fn next(&mut self, mixture: usize, stream: usize, top_k: usize, experts: usize) -> Result<Option<&[u32]>, ModelError> {
        let wrong = |expected: String, found: String| ModelError::Config { field: "routing trace".into(), expected, found };
        let Some(own) = self.trace.mixtures.get(mixture).filter(|own| own.top_k > 0) else { return Ok(None) };
        if own.streams.len() <= stream {
            return Err(wrong(format!("stream {stream} of mixture {mixture}"), format!("{} streams", own.streams.len())));
        }
        if (own.top_k, own.experts) != (top_k, experts) {
            let expected = format!("{top_k} of {experts} experts a sample in mixture {mixture}");
            return Err(wrong(expected, format!("{} of {}", own.top_k, own.experts)));
        }
        let done = &mut self.done[mixture][stream];
        let span = *done * top_k..(*done + 1) * top_k;
        let own = &own.streams[stream];
        if own.choices.len() < span.end {
            return Err(wrong(format!("more than {done} samples of mixture {mixture}, stream {stream}"), done.to_string()));
        }
        *done += 1;
        Ok(Some(&own.choices[span]))
    }

    /// Overwrites the gate weights of the rows whose choices were just made, if weights are forced.
    pub fn weights(&self, mixture: usize, top_k: usize, offsets: &[usize], weights_nk: &mut [f32]) {
        let Some(own) = self.trace.mixtures.get(mixture).filter(|own| self.weights && own.top_k > 0) else { return };
        let done = &self.done[mixture];
        for ((pair, stream), done) in offsets.windows(2).zip(&own.streams).zip(done) {
            let rows = pair[1] - pair[0];
            weights_nk[pair[0] * top_k..pair[1] * top_k].copy_from_slice(&stream.weights[(done - rows) * top_k..done * top_k]);
        }
    }
}
