//! The terminal as a whole: a thread of its own draws what the training tells, at most ten times a second, and reads the keys.

mod curve;
mod draw;
mod panels;
mod plot;
mod state;
#[cfg(test)]
mod tests;
mod window;

pub use state::{About, State};

use crate::{error::CliError, interrupt::Interrupt, say::say, screen::Screen};
use foretoken_train::{EpochReport, StepReport, Trainer};
use ratatui::{
    Terminal,
    backend::CrosstermBackend,
    crossterm::{
        cursor::Show,
        event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers},
        execute,
        terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode},
    },
};
use std::{
    io::{Stdout, stdout},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering::SeqCst},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

/// Least time from one picture to the next.
const FRAME: Duration = Duration::from_millis(100);

/// Least seconds from one forecast to the next, and least part of them that are free of it.
const LOOK_SECONDS: f64 = 10.0;
const LOOK_SHARE: f64 = 0.02;

/// A training on the whole terminal.
pub struct Ui {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    begun: Instant,
    /// When the experts' counts were read.
    counted: f64,
    /// The network's share that the newest validation chose.
    share_h: Vec<f32>,
    /// What is being forecast, and when it began.
    looking: Option<JoinHandle<f64>>,
    looked: f64,
    look_seconds: f64,
}

/// What training and drawing share.
struct Shared {
    state: Mutex<State>,
    /// Held while drawing, and while the terminal is given back.
    drawing: Mutex<()>,
    closed: AtomicBool,
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the terminal back, once. It may be called by the thread that draws, when it panics: so it does not wait for ever.
    fn close(&self) {
        if self.closed.swap(true, SeqCst) {
            return;
        }
        let started = Instant::now();
        while matches!(self.drawing.try_lock(), Err(std::sync::TryLockError::WouldBlock)) && started.elapsed() < 2 * FRAME {
            thread::sleep(FRAME / 50);
        }
        disable_raw_mode().ok();
        execute!(stdout(), LeaveAlternateScreen, Show).ok();
    }
}

impl Ui {
    /// Takes the terminal.
    ///
    /// # Errors
    /// A terminal that cannot be had.
    pub fn open(state: State, interrupt: Interrupt) -> std::io::Result<Self> {
        enable_raw_mode()?;
        let shared = Arc::new(Shared { state: Mutex::new(state), drawing: Mutex::default(), closed: AtomicBool::default() });
        let of_panics = shared.clone();
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            of_panics.close();
            before(info);
        }));
        let begun = Instant::now();
        let terminal = execute!(stdout(), EnterAlternateScreen).and_then(|()| Terminal::new(CrosstermBackend::new(stdout())));
        let terminal = terminal.inspect_err(|_| shared.close())?;
        let own = shared.clone();
        let thread = thread::spawn(move || {
            // A terminal that is gone is no reason to end a training.
            show(&own, terminal, &interrupt, begun).ok();
            own.close();
        });
        Ok(Self {
            shared,
            thread: Some(thread),
            begun,
            counted: f64::NEG_INFINITY,
            share_h: Vec::new(),
            looking: None,
            looked: 0.0,
            look_seconds: 0.0,
        })
    }

    fn seconds(&self) -> f64 {
        self.begun.elapsed().as_secs_f64()
    }

    /// Has the weights as they are forecast on a thread of its own, unless it is still at it.
    fn look(&mut self, trainer: &Trainer<'_>) {
        if self.looking.as_ref().is_some_and(|looking| !looking.is_finished()) {
            return;
        }
        self.look_seconds = self.looking.take().and_then(|looking| looking.join().ok()).unwrap_or(0.0);
        self.looked = self.seconds();
        let started = Instant::now();
        let (forecaster, step, shared) = (trainer.of_mean(self.share_h.clone()), trainer.step(), self.shared.clone());
        self.looking = Some(thread::spawn(move || {
            let window = shared.state().about.window.clone();
            let found = forecaster.map_err(CliError::from).and_then(|forecaster| window.forecast(forecaster));
            match found {
                Ok(forecasts) => shared.state().forecast(step, forecasts),
                Err(error) => shared.state().say(true, &format!("no forecast after step {step}: {error}")),
            }
            started.elapsed().as_secs_f64()
        }));
    }
}

/// Draws and reads keys until the screen is closed.
fn show(
    shared: &Shared,
    mut terminal: Terminal<CrosstermBackend<Stdout>>,
    interrupt: &Interrupt,
    begun: Instant,
) -> std::io::Result<()> {
    let mut next = Instant::now();
    while !shared.closed.load(SeqCst) {
        if event::poll(next.saturating_duration_since(Instant::now()))? {
            match event::read()? {
                Event::Key(key) if key.kind != KeyEventKind::Release => press(key, &mut shared.state(), interrupt),
                _ => {}
            }
        }
        if interrupt.asked() && std::mem::replace(&mut shared.state().ending, true) {
            shared.close();
            interrupt.die();
        }
        if Instant::now() >= next {
            let mut state = shared.state().clone();
            state.seconds = begun.elapsed().as_secs_f64();
            let drawing = shared.drawing.lock().unwrap_or_else(PoisonError::into_inner);
            if !shared.closed.load(SeqCst) {
                terminal.draw(|frame| draw::draw(&state, frame))?;
            }
            drop(drawing);
            next = Instant::now() + FRAME;
        }
    }
    Ok(())
}

fn press(key: KeyEvent, state: &mut State, interrupt: &Interrupt) {
    match key.code {
        KeyCode::Char('c') if key.modifiers.contains(KeyModifiers::CONTROL) => interrupt.ask(),
        KeyCode::Char('q') if !state.ending => interrupt.ask(),
        KeyCode::Tab | KeyCode::Right | KeyCode::Down => state.turn(true),
        KeyCode::BackTab | KeyCode::Left | KeyCode::Up => state.turn(false),
        _ => {}
    }
}

impl Screen for Ui {
    fn step(&mut self, trainer: &Trainer<'_>, step: &StepReport) {
        let seconds = self.seconds();
        let mut state = self.shared.state();
        state.step(seconds, step);
        if seconds - self.counted >= FRAME.as_secs_f64() || step.step == step.steps {
            state.count(trainer.usage());
            self.counted = seconds;
        }
        drop(state);
        if !self.share_h.is_empty() && seconds - self.looked >= LOOK_SECONDS.max(self.look_seconds / LOOK_SHARE) {
            self.look(trainer);
        }
    }

    fn epoch(&mut self, trainer: &Trainer<'_>, epoch: &EpochReport, line: &str) {
        self.shared.state().epoch(self.seconds(), epoch, line);
        self.share_h.clone_from(&epoch.validation.network_share_h);
        self.look(trainer);
    }

    fn checkpoint(&mut self, step: u64) {
        self.shared.state().checkpoint(self.seconds(), step);
    }

    fn say(&mut self, line: &str) {
        self.shared.state().say(false, line);
    }

    fn warn(&mut self, warning: &str) {
        self.shared.state().say(true, warning);
    }

    /// What was said stays in the terminal.
    fn end(&mut self) {
        self.shared.close();
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
        for (warning, line) in self.shared.state().said.drain(..) {
            match warning {
                true => crate::say::remark!("warning: {line}"),
                false => _ = say!("{line}"),
            }
        }
    }
}

impl Drop for Ui {
    fn drop(&mut self) {
        self.end();
    }
}
