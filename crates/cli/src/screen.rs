//! What is seen of a training: lines under a bar, or the terminal as a whole.

use crate::{fit, interrupt::Interrupt, say::say, ui};
use foretoken_train::{EpochReport, StepReport, Trainer};
use indicatif::ProgressBar;
use std::io::{IsTerminal, stderr, stdout};

/// What shows a training.
pub trait Screen {
    /// A step was done, or left out.
    fn step(&mut self, trainer: &Trainer<'_>, step: &StepReport);
    /// An epoch was done; the line says all of it that a line can.
    fn epoch(&mut self, trainer: &Trainer<'_>, epoch: &EpochReport, line: &str);
    /// A checkpoint of so many steps was written.
    fn checkpoint(&mut self, step: u64);
    /// Something to know.
    fn say(&mut self, line: &str);
    /// Something to worry about.
    fn warn(&mut self, warning: &str);
    /// Gives the terminal back.
    fn end(&mut self);
}

/// Lines, where the whole terminal is not wanted; or where it cannot be had, and then standard error says why.
pub fn open(
    trainer: &Trainer<'_>,
    about: ui::About,
    wanted: bool,
) -> Result<(Box<dyn Screen>, Interrupt), crate::error::CliError> {
    let steps = (about.epochs * trainer.steps_an_epoch()).saturating_sub(trainer.step());
    let problem = match wanted {
        false => None,
        true if !stdout().is_terminal() => Some("standard output is not a terminal".to_string()),
        true if tracing::enabled!(tracing::Level::ERROR) && stderr().is_terminal() => {
            Some("the events of RUST_LOG go to the same terminal; `2> events.txt` sends them elsewhere".to_string())
        }
        true => {
            let interrupt = Interrupt::listen(true)?;
            match ui::Ui::open(ui::State::new(about), interrupt.clone()) {
                Ok(ui) => return Ok((Box::new(ui), interrupt)),
                Err(error) => Some(error.to_string()),
            }
        }
    };
    if let Some(problem) = problem {
        crate::say::remark!("no --ui, lines instead: {problem}");
    }
    let bar = fit::bar("");
    bar.set_length(steps);
    Ok((Box::new(Lines { bar }), Interrupt::listen(false)?))
}

/// Lines, and a bar below them where there is a terminal.
struct Lines {
    bar: ProgressBar,
}

impl Screen for Lines {
    fn step(&mut self, _: &Trainer<'_>, step: &StepReport) {
        fit::show(&self.bar, step);
    }

    fn epoch(&mut self, _: &Trainer<'_>, _: &EpochReport, line: &str) {
        self.say(line);
    }

    fn checkpoint(&mut self, _: u64) {}

    fn say(&mut self, line: &str) {
        self.bar.suspend(|| _ = say!("{line}"));
    }

    fn warn(&mut self, warning: &str) {
        self.bar.suspend(|| crate::say::remark!("warning: {warning}"));
    }

    fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}
