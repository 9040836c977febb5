//! One training: what is shown of it, its log, its checkpoints, and its end when it is asked for.

use crate::{
    command::train::Arguments,
    error::CliError,
    fit::{self, Watch},
    interrupt::Interrupt,
    journal::{Event, Journal, unix_time},
    screen::{self, Screen},
    table,
    ui::About,
};
use foretoken_train::{EpochReport, StepReport, TrainConfig, Trainer};
use std::{ops::ControlFlow, path::Path, time::Instant};

/// Where training goes on from.
pub const CHECKPOINT: &str = "checkpoint.safetensors";
/// The best epoch so far, a model that can be used; its intervals are not calibrated.
const BEST: &str = "best.safetensors";
const LOG: &str = "log.jsonl";

/// A training that is watched.
pub struct Session<'a> {
    config: &'a TrainConfig,
    minutes: Option<f64>,
    out: &'a Path,
    screen: Box<dyn Screen>,
    journal: Journal,
    interrupt: Interrupt,
    begun: Instant,
    /// Epochs that were done before.
    first: u64,
    /// Samples of the epochs since, and the seconds that these took.
    trained: (f64, f64),
    /// Those of the epoch that goes on.
    rows: usize,
}

impl<'a> Session<'a> {
    /// Trains to the end, or until the minutes are over; gives the samples a second, if there were any, and who listens for signals.
    ///
    /// # Errors
    /// What the trainer refuses, or a signal: then there is a checkpoint to go on from.
    pub fn train(
        trainer: &mut Trainer<'_>,
        config: &'a TrainConfig,
        arguments: &Arguments,
        about: About,
        out: &'a Path,
        started: Instant,
    ) -> Result<(Option<f64>, Interrupt), CliError> {
        let journal = Journal::open(&out.join(LOG), arguments.resume, started)?;
        let (screen, interrupt) = screen::open(trainer, about, arguments.ui)?;
        let mut session = Self {
            config,
            minutes: arguments.minutes,
            out,
            screen,
            journal,
            interrupt,
            begun: Instant::now(),
            first: trainer.epoch(),
            trained: (0.0, 0.0),
            rows: 0,
        };
        session.note(&Event::Start {
            unix_time: unix_time(),
            resumed: arguments.resume,
            epoch: trainer.epoch(),
            step: trainer.step(),
            parameters: trainer.arena_len(),
            seed: config.seed,
        });
        let done = fit::train(trainer, &mut session);
        session.screen.end();
        let done = done.and_then(|()| match session.interrupt.signal() {
            None => Ok(()),
            Some(signal) => Err(interrupted(signal, trainer, session.out)),
        });
        let problem = done.as_ref().err().map(ToString::to_string);
        session.note(&Event::End { step: trainer.step(), problem });
        let (rows, seconds) = session.trained;
        done?;
        // Where a screen asked none does any longer: a second signal ends the process.
        let interrupt = if arguments.ui { Interrupt::listen(false)? } else { session.interrupt };
        Ok(((seconds > 0.0).then(|| rows / seconds), interrupt))
    }

    fn note(&mut self, event: &Event<'_>) {
        if let Some(warning) = self.journal.write(event) {
            self.screen.warn(&warning);
        }
    }

    /// What cannot be written costs neither what stood there before nor the training.
    fn checkpoint(&mut self, trainer: &Trainer<'_>, best: bool) {
        let problem = trainer.checkpoint().save(&self.out.join(CHECKPOINT)).err().map(|error| error.to_string());
        match &problem {
            None => self.screen.checkpoint(trainer.step()),
            Some(problem) => self.screen.warn(&format!("no checkpoint after step {}: {problem}", trainer.step())),
        }
        self.note(&Event::Checkpoint { epoch: trainer.epoch(), step: trainer.step(), problem });
        let kept = || trainer.best_uncalibrated()?.save(&self.out.join(BEST));
        if let Some(problem) = best.then(kept).and_then(Result::err) {
            self.screen.warn(&format!("the best epoch, {}, is not kept: {problem}", trainer.epoch()));
        }
    }
}

impl Watch for Session<'_> {
    fn step(&mut self, trainer: &Trainer<'_>, step: &StepReport) -> Result<ControlFlow<()>, CliError> {
        self.rows += step.rows;
        self.screen.step(trainer, step);
        self.note(&Event::Step(step));
        if step.skipped {
            let (step, epoch) = (step.step, step.epoch);
            self.screen.warn(&format!("step {step} of epoch {epoch} left out: its loss or gradient was not finite"));
        }
        let interrupted = self.interrupt.signal().is_some();
        // After an epoch's last step comes its validation, and then a checkpoint anyway.
        let due = trainer.step().is_multiple_of(self.config.checkpoint_steps) && step.step < step.steps;
        if interrupted || due {
            self.checkpoint(trainer, false);
        }
        Ok(if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }

    fn epoch(&mut self, trainer: &Trainer<'_>, epoch: &EpochReport) -> Result<ControlFlow<()>, CliError> {
        self.note(&Event::Epoch(epoch));
        self.checkpoint(trainer, epoch.best);
        let rows = std::mem::take(&mut self.rows) as f64;
        self.trained.0 += rows;
        self.trained.1 += rows / epoch.rows_a_second;
        let seconds = self.begun.elapsed().as_secs_f64();
        let epochs = self.config.epochs as u64;
        let left = seconds / (epoch.epoch - self.first) as f64 * (epochs - epoch.epoch) as f64;
        self.screen.epoch(trainer, epoch, &line(epoch, seconds, left));
        let over = self.minutes.is_some_and(|minutes| seconds >= 60.0 * minutes);
        if over {
            self.screen.say(&format!("the {} min for training are over", self.minutes.unwrap_or_default()));
        }
        let interrupted = self.interrupt.signal().is_some();
        Ok(if over || interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    }
}

/// The end that a signal asked for, after a checkpoint.
pub fn interrupted(signal: i32, trainer: &Trainer<'_>, out: &Path) -> CliError {
    CliError::Interrupted { signal, step: trainer.step(), path: out.join(CHECKPOINT) }
}

fn line(epoch: &EpochReport, seconds: f64, left: f64) -> String {
    let validation = &epoch.validation;
    let linear = validation.linear_mse.map_or(String::new(), |mse| format!(" (linear {})", table::figure(mse)));
    let by_horizon = match &validation.mse_by_horizon[..] {
        [_] => String::new(),
        each => format!(" [{}]", each.iter().copied().map(table::figure).collect::<Vec<_>>().join(" ")),
    };
    format!(
        "epoch {:3}  loss {}  validation MSE: model {}{by_horizon}, network {}{linear}{}  {:.0} samples/s, {}, at most {} left",
        epoch.epoch,
        table::figure(epoch.loss),
        table::figure(validation.mse),
        table::figure(validation.network_mse),
        if epoch.best { " *" } else { "" },
        epoch.rows_a_second,
        table::duration(seconds),
        table::duration(left),
    )
}
