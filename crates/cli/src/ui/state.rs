//! All that the screen shows, fed by what the trainer reports. It does not grow with the training.

use super::{
    curve::Curve,
    window::{Forecast, Window},
};
use crate::{
    error::CliError,
    run::{Prepared, Run},
};
use foretoken_train::{EpochReport, MixtureUsage, StepReport, Trainer};
use std::{collections::VecDeque, sync::Arc};

/// Lines and warnings that are kept.
const KEPT: usize = 1000;
/// Seconds over which samples a second are measured.
const PACE_SECONDS: f64 = 5.0;
/// What does not change in a training.
#[derive(Clone, Debug, Default)]
pub struct About {
    /// Name of the run.
    pub name: String,
    /// Epochs at most.
    pub epochs: u64,
    /// Steps an epoch.
    pub steps_an_epoch: u64,
    /// Steps done before.
    pub first_step: u64,
    /// Steps left out before.
    pub skipped: u64,
    /// What is forecast.
    pub window: Arc<Window>,
}

impl About {
    /// Of a run on data whose validation rows start at `validation`.
    pub fn new(name: &str, run: &Run, data: &Prepared, validation: usize, trainer: &Trainer<'_>) -> Result<Self, CliError> {
        let response = data.covariates.response.as_ref().map_or(0, |response| response.samples);
        Ok(Self {
            name: name.into(),
            epochs: run.train.epochs as u64,
            steps_an_epoch: trainer.steps_an_epoch(),
            first_step: trainer.step(),
            skipped: trainer.skipped(),
            window: Arc::new(Window::new(run, &data.signal, validation, response)?),
        })
    }
}

/// An epoch's validation.
#[derive(Clone, Copy, Debug)]
pub struct Validated {
    /// Of which epoch.
    pub epoch: u64,
    /// Mean squared error of what would be shipped.
    pub model: f64,
    /// Of the network alone.
    pub network: f64,
    /// Of the linear expert alone, if there is one.
    pub linear: Option<f64>,
}

/// What a mixture's experts were used for in the training passes of an epoch.
#[derive(Clone, Debug)]
pub struct Load {
    /// Number of the mixture.
    pub mixture: usize,
    /// Kind of each expert.
    pub experts: Vec<String>,
    /// Samples, and how many of them each expert got.
    pub samples: u64,
    /// See there.
    pub chosen: Vec<u64>,
}

/// All that is shown.
#[derive(Clone, Debug, Default)]
pub struct State {
    /// What does not change.
    pub about: About,
    /// Seconds since the screen was opened.
    pub seconds: f64,
    /// The newest step.
    pub step: Option<StepReport>,
    /// Steps done, those before the screen was opened too.
    pub done: u64,
    /// Loss, learning rate and norm of the gradient by step.
    pub loss: Curve,
    /// See there.
    pub rate: Curve,
    /// See there.
    pub norm: Curve,
    /// Validation errors by epoch: model, network, linear expert.
    pub errors: [Curve; 3],
    /// The newest validation, and that of the best network.
    pub validated: Option<Validated>,
    /// See there.
    pub best: Option<Validated>,
    /// Experts of every mixture, in the epoch that `step` is of.
    pub loads: Vec<Load>,
    /// Where the epoch's counts begin, one a mixture.
    base: Vec<(u64, Vec<u64>)>,
    /// The forecast of each column that has begun, and after how many steps.
    pub forecasts: Arc<[Option<Forecast>]>,
    /// See there.
    pub forecast_step: Option<u64>,
    /// The column that is shown.
    pub column: usize,
    /// Steps and seconds of the newest checkpoint.
    pub checkpoint: Option<(u64, f64)>,
    /// Steps left out.
    pub skipped: u64,
    /// All that was said, warnings marked.
    pub said: VecDeque<(bool, String)>,
    /// Whether it was asked to end.
    pub ending: bool,
    /// Samples and seconds of the recent past.
    pace: [f64; 2],
    since: f64,
}

impl State {
    /// Before the first step.
    pub fn new(about: About) -> Self {
        Self { done: about.first_step, skipped: about.skipped, about, ..Self::default() }
    }

    /// A step was done, `seconds` after the beginning.
    pub fn step(&mut self, seconds: f64, step: &StepReport) {
        (self.step, self.seconds) = (Some(*step), seconds);
        self.done += 1;
        self.loss.push(self.done, step.loss.into());
        self.norm.push(self.done, step.norm);
        self.rate.push(self.done, step.rate);
        self.skipped += u64::from(step.skipped);
        let past = (seconds - self.since).max(0.0);
        let left = (-past / PACE_SECONDS).exp();
        self.pace = [self.pace[0] * left + step.rows as f64, self.pace[1] * left + past];
        self.since = seconds;
    }

    /// What the experts are used for; counts of an epoch begin with its first step.
    pub fn count(&mut self, usage: &[MixtureUsage]) {
        let read: Vec<_> = usage.iter().map(|each| each.counters.read()).collect();
        let load = |((each, read), (samples, chosen)): ((&MixtureUsage, _), &(u64, Vec<u64>))| {
            let read: &foretoken_model::ExpertUsage = read;
            Load {
                mixture: each.mixture,
                experts: each.experts.clone(),
                samples: read.samples - samples,
                chosen: read.chosen.iter().zip(chosen).map(|(now, then)| now - then).collect(),
            }
        };
        self.base.resize_with(usage.len(), Default::default);
        self.base.iter_mut().zip(&read).for_each(|(base, read)| base.1.resize(read.chosen.len(), 0));
        self.loads = usage.iter().zip(&read).zip(&self.base).map(load).collect();
        if self.step.is_some_and(|step| step.step == step.steps) {
            self.base = read.into_iter().map(|read| (read.samples, read.chosen)).collect();
        }
    }

    /// An epoch was validated.
    pub fn epoch(&mut self, seconds: f64, report: &EpochReport, line: &str) {
        let found = &report.validation;
        let (epoch, linear) = (report.epoch, found.linear_mse);
        let validated = Validated { epoch, model: found.mse, network: found.network_mse, linear };
        let values = [found.mse, found.network_mse, linear.unwrap_or(f64::NAN)];
        self.errors.iter_mut().zip(values).for_each(|(curve, value)| curve.push(epoch, value));
        self.validated = Some(validated);
        if report.best {
            self.best = Some(validated);
        }
        (self.seconds, self.since) = (seconds, seconds);
        self.say(false, line);
    }

    /// What the weights of a step forecast.
    pub fn forecast(&mut self, step: u64, forecasts: Vec<Option<Forecast>>) {
        (self.forecast_step, self.forecasts) = (Some(step), forecasts.into());
    }

    /// A checkpoint was written.
    pub fn checkpoint(&mut self, seconds: f64, step: u64) {
        self.checkpoint = Some((step, seconds));
    }

    /// Something was said.
    pub fn say(&mut self, warning: bool, line: &str) {
        if self.said.len() == KEPT {
            self.said.pop_front();
        }
        self.said.push_back((warning, line.into()));
    }

    /// Shows another column.
    pub fn turn(&mut self, forward: bool) {
        let count = self.about.window.columns.len().max(1);
        self.column = (self.column + if forward { 1 } else { count - 1 }) % count;
    }

    /// Steps of the whole training.
    pub fn steps(&self) -> u64 {
        self.about.epochs * self.about.steps_an_epoch
    }

    /// Samples a second of late, validation not counted.
    pub fn samples_a_second(&self) -> Option<f64> {
        let [samples, seconds] = self.pace;
        (seconds > 0.0).then(|| samples / seconds)
    }

    /// Seconds to the end, if patience does not run out before, at the mean pace so far, validation counted.
    pub fn seconds_left(&self) -> Option<f64> {
        let done = self.done - self.about.first_step;
        (done > 0).then(|| self.seconds / done as f64 * self.steps().saturating_sub(self.done) as f64)
    }

    /// Whether the epoch's steps are done and its validation is not.
    pub fn validating(&self) -> bool {
        let validated = self.validated.map_or(0, |validated| validated.epoch);
        self.step.is_some_and(|step| step.step == step.steps && step.epoch > validated)
    }
}
