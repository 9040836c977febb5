//! SIGINT and SIGTERM: the first asks for an end after the step, the second ends the process.

use crate::error::CliError;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// Whether the process was asked to end.
pub struct Interrupt {
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on.
    pub fn listen() -> Result<Self, CliError> {
        let own = Self { asked: Arc::default(), signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: what was asked before is looked at before it is set.
            flag::register_conditional_default(signal, own.asked.clone())?;
            flag::register_usize(signal, own.signal.clone(), signal as usize)?;
            flag::register(signal, own.asked.clone())?;
        }
        Ok(own)
    }

    /// The signal that asked, if any did.
    pub fn signal(&self) -> Option<i32> {
        let signal = self.signal.load(SeqCst);
        (signal > 0).then_some(signal as i32)
    }

    /// From here on the first signal ends the process.
    pub fn over(&self) {
        self.asked.store(true, SeqCst);
    }
}
