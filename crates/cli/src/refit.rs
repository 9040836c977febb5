//! A backtest with refits: every so many windows all that is fitted is fitted anew, on the rows before the first of them.
//!
//! ```text
//! rows      [ training …                | validation ]origin, …                 the first windows
//!           [ training …                             | validation ]origin, …    the next
//! ```
//! The first refit is what `train` makes, as long as its windows begin with the test rows. Units are the run's own, so that errors compare.

use crate::{
    error::CliError,
    fit,
    forecast_file::ForecastFile,
    run::{Run, predictor},
    say::say,
    score::{Boards, Judge, Ridges},
    table,
};
use foretoken_eval::Origins;
use foretoken_model::Forecaster;
use foretoken_train::{EpochReport, Shipped, StepReport, Trainer};
use indicatif::ProgressBar;
use std::{ops::ControlFlow, path::Path, sync::Arc};

/// What is fitted anew, and how often.
pub struct Refit<'a> {
    /// The run.
    pub run: &'a Run,
    /// Its TOML.
    pub path: &'a Path,
    /// Whether the model is its linear expert alone.
    pub alone: bool,
    /// Windows from one refit to the next.
    pub every: usize,
    /// Whether files are written, so that it goes on where nobody reads.
    pub for_files: bool,
    /// The bound of the models' look-back.
    pub refresh: Option<u64>,
}

impl Refit<'_> {
    /// Sums of errors of what is fitted anew, at the same origins as those of the run. A ridge baseline that some rows do not suffice for, is the one
    /// before it, at first that of the run.
    pub fn boards(
        &self,
        judge: &Judge<'_>,
        mut ridges: Ridges,
        origins: &Origins,
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<Boards, CliError> {
        let chunks = origins.chunks(self.every);
        let bar = fit::bar("refit {prefix}, ");
        let mut total = Boards::new();
        for (index, chunk) in chunks.iter().enumerate() {
            bar.set_prefix(format!("{} of {}", index + 1, chunks.len()));
            let judge = judge.refitted(chunk.first());
            ridges.expert = judge.expert(self.run.model.linear.as_ref())?;
            if let Some(baseline) = &mut ridges.baseline {
                *baseline = bar.suspend(|| judge.ridge())?.unwrap_or_else(|| baseline.clone());
            }
            let (forecaster, what) = self.model(&judge, &ridges, &bar, (chunks.len() - index) as u64)?;
            let mut predictor = predictor(&forecaster);
            predictor.refresh_every(self.refresh)?;
            let mut boards = judge.stream(predictor, chunk, file)?;
            boards.extend(judge.linear(&ridges, chunk, file)?);
            match total.is_empty() {
                true => total = boards,
                false => total.iter_mut().zip(&boards).for_each(|((_, total), (_, boards))| total.merge(boards)),
            }
            let (seconds, done) = (bar.elapsed().as_secs_f64(), index + 1);
            let left = seconds / done as f64 * (chunks.len() - done) as f64;
            let line = format!(
                "refit {done} of {}, on the {} rows before {}: {what}  {}, about {} left",
                chunks.len(),
                chunk.first(),
                judge.data().signal.stamps.at(chunk.first()),
                table::duration(seconds),
                table::duration(left),
            );
            let heard = bar.suspend(|| say!("{line}"));
            if !self.for_files {
                heard?;
            }
        }
        bar.finish_and_clear();
        Ok(total)
    }

    /// The model anew, and what there is to say of it; this one and those to come are so many.
    fn model(
        &self,
        judge: &Judge<'_>,
        ridges: &Ridges,
        bar: &ProgressBar,
        left: u64,
    ) -> Result<(Arc<Forecaster>, String), CliError> {
        let mut trainer = fit::trainer(self.run, self.path, judge.data(), judge.ranges(), ridges.expert.as_ref())?;
        let (forecaster, what) = if self.alone {
            let alone = trainer.linear_alone()?;
            let alone = alone.ok_or_else(|| CliError::file(self.path, "model.linear: expected one, found none"))?;
            (alone, "the linear expert alone".into())
        } else {
            bar.set_length(bar.position() + left * trainer.steps_an_epoch() * self.run.train.epochs as u64);
            let mut watch = Progress { bar, mse: f64::NAN };
            fit::train(&mut trainer, &mut watch)?;
            (Arc::new(trainer.best()?), format!("validation MSE {}", table::figure(watch.mse)))
        };
        let shipped = Shipped { forecaster, selected: None, unshipped: None, gain: None };
        let again = fit::again(self.run, &trainer, judge, ridges.expert.as_ref(), shipped, bar, || false)?;
        Ok((again.expect("nobody asked for an end").forecaster, what))
    }
}

/// The bar, and the validation error of the best epoch.
struct Progress<'a> {
    bar: &'a ProgressBar,
    mse: f64,
}

impl fit::Watch for Progress<'_> {
    fn step(&mut self, _: &Trainer<'_>, step: &StepReport) -> Result<ControlFlow<()>, CliError> {
        fit::show(self.bar, step);
        Ok(ControlFlow::Continue(()))
    }

    fn epoch(&mut self, _: &Trainer<'_>, epoch: &EpochReport) -> Result<ControlFlow<()>, CliError> {
        if epoch.best {
            self.mse = epoch.validation.mse;
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Each forecaster with its refits beside it.
pub fn beside(boards: Boards, mut refits: Boards) -> Boards {
    let mut all = Boards::new();
    for (name, board) in boards {
        let refit = refits.iter().position(|(refit, _)| refit.strip_suffix("-refit") == Some(&name));
        all.push((name, board));
        all.extend(refit.map(|at| refits.remove(at)));
    }
    all
}
