//! A bounded look-back: a second state fills beside the one that answers and takes its place every so many samples.

use crate::{
    ModelError,
    layer::{State, Workspace},
    network::{Heard, NetworkEngine},
};
use serde::{Deserialize, Serialize};

/// The state that fills.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refresh {
    /// Samples from one exchange to the next.
    every: u64,
    /// Samples that the filling state has seen.
    age: u64,
    state: State,
}

impl Refresh {
    pub(crate) fn new(every: u64, state: State) -> Result<Self, ModelError> {
        match every {
            0 => Err(ModelError::config("refresh", "at least 1 sample", 0)),
            _ => Ok(Self { every, age: 0, state }),
        }
    }

    /// Samples from one exchange to the next.
    pub fn every(&self) -> u64 {
        self.every
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// Samples until the next exchange.
    pub(crate) fn left(&self) -> usize {
        usize::try_from(self.every - self.age).unwrap_or(usize::MAX)
    }

    /// Whether a stream of so many samples leaves it at this age.
    pub(crate) fn is_at(&self, samples: u64) -> bool {
        self.every > 0 && self.age == samples % self.every
    }

    pub(crate) fn reset(&mut self) {
        self.age = 0;
        self.state.reset();
    }

    /// Feeds the filling state with what the streams had in the last `samples`; what it says goes nowhere.
    pub(crate) fn fill(
        &mut self,
        network: &NetworkEngine,
        samples: usize,
        heard: Heard<'_>,
        unread: &mut [f32],
        workspace: &mut Workspace,
    ) -> Result<(), ModelError> {
        let mut scratch = workspace.scratch();
        scratch.count = false;
        self.age += samples as u64;
        network.run(heard, &mut self.state, unread, &mut scratch)
    }

    /// If it is time, the filling state answers from now on.
    pub(crate) fn exchange(&mut self, state: &mut State) {
        if self.age == self.every {
            std::mem::swap(state, &mut self.state);
            self.reset();
        }
    }
}
