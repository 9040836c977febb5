//! SIGINT and SIGTERM: the first asks for an end after the step, the second ends the process; at once, or by who has to tidy up first.

use crate::error::CliError;
use signal_hook::{
    consts::{SIGINT, SIGTERM},
    flag,
    iterator::Signals,
    low_level,
};
use std::sync::{
    Arc,
    atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst},
};

/// Whether the process was asked to end.
#[derive(Clone)]
pub struct Interrupt {
    /// Whether the next signal ends the process where it stands.
    deadly: Arc<AtomicBool>,
    asked: Arc<AtomicBool>,
    signal: Arc<AtomicUsize>,
}

impl Interrupt {
    /// Listens from now on. If the end has to be tidy, somebody must ask [`Interrupt::asked`] and obey by [`Interrupt::die`].
    pub fn listen(tidy: bool) -> Result<Self, CliError> {
        let asked: Arc<AtomicBool> = Arc::default();
        let deadly = if tidy { Arc::default() } else { asked.clone() };
        let own = Self { deadly, asked, signal: Arc::default() };
        for signal in [SIGINT, SIGTERM] {
            // In this order: what was asked before is looked at before it is set.
            flag::register_conditional_default(signal, own.deadly.clone())?;
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

    /// Whether it was asked since this was looked at before.
    pub fn asked(&self) -> bool {
        self.asked.swap(false, SeqCst)
    }

    /// Asks as Ctrl-C does where the terminal makes no signal of it.
    pub fn ask(&self) {
        low_level::raise(SIGINT).expect("a signal that is listened to");
    }

    /// Ends the process by the signal that asked.
    pub fn die(&self) {
        low_level::emulate_default_handler(self.signal().unwrap_or(SIGINT)).expect("a signal that ends a process");
    }

    /// From here on the first signal ends the process.
    pub fn over(&self) {
        self.deadly.store(true, SeqCst);
    }
}

/// Does this before SIGINT or SIGTERM ends the process, on a thread of its own, which waits for them.
pub fn before_the_end(tidy: impl FnOnce() + Send + 'static) -> Result<(), CliError> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            tidy();
            low_level::emulate_default_handler(signal).expect("a signal that ends a process");
        }
    });
    Ok(())
}
