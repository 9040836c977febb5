//! The training loop: AdamW with global-norm clipping on the flat arena, a schedule, early stopping on validation.

use crate::{
    ahead::ahead,
    calibrate::calibrate,
    checkpoint::{Checkpoint, Progress, checksum},
    config::{NotFinite, TrainConfig},
    loader::{Lesson, Loader},
    loss::{QuantileLoss, step_weights},
    schedule::{Alike, alike},
    validate::{Gain, MOST_DECIDING, MOST_WINDOWS, Validation, validate},
};
use burn::tensor::{Device, Tensor, TensorData};
use foretoken_kernels::adamw::{self, AdamW};
use foretoken_model::{
    Beside, Blueprint, Column, Covariates, Forecaster, ForecasterConfig, ModelError, Registry,
    layer::{Nudge, all_finite},
    linear_expert::LinearWeights,
    mixture::MixtureEngine,
    network::Network,
    quantiles::Levels,
    train::network,
    usage::UsageCounters,
    weights::Spec,
};
use rayon::prelude::*;
use serde::Serialize;
use std::{
    ops::{ControlFlow, Range},
    sync::Arc,
    time::Instant,
};

/// Rows of the lessons that are looked at beside each other: a larger lesson's work is shared out inside, and its memory is one's alone.
const SMALL_LESSONS: usize = 4096;
/// Windows that an error names.
const WINDOWS_NAMED: usize = 4;

/// A further series: its training rows are learned from, and it is never validated on or forecast.
#[derive(Clone, Debug)]
pub struct Further<'a> {
    /// Its name, and its statistics.
    pub column: Column,
    /// Its values in its own unit, laid on the rows of the task: NaN where it has none.
    pub values: &'a [f64],
}

/// What a run learns from.
#[derive(Clone, Debug, Default)]
pub struct Task<'a> {
    /// The columns and their training statistics.
    pub columns: Vec<Column>,
    /// Their values in the data's unit, all rows.
    pub values: Vec<&'a [f64]>,
    /// What is learned of them where they respond to what is known ahead: the values less that, see [`foretoken_model::response`]. Else empty.
    pub left: Vec<&'a [f64]>,
    /// The covariates, and their values in the rows of `values`; what is known may reach beyond.
    pub covariates: Covariates,
    /// See there.
    pub beside: Beside<'a>,
    /// Series to learn from beside the columns; only where there are no covariates, and columns are not mixed.
    pub also: Vec<Further<'a>>,
    /// Rows to train on.
    pub train: Range<usize>,
    /// Rows to validate on.
    pub validation: Range<usize>,
    /// The fitted linear expert.
    pub linear: Option<LinearWeights>,
}

impl<'a> Task<'a> {
    /// All series to learn from, in the unit of each: the columns, or what is left of them, then the further ones.
    pub(crate) fn series(&self) -> impl Iterator<Item = (&Column, &'a [f64])> + Clone {
        let own = self.columns.iter().zip(if self.left.is_empty() { &self.values } else { &self.left }.iter().copied());
        own.chain(self.also.iter().map(|further| (&further.column, further.values)))
    }

    /// Of all values that are learned from or validated on, so that a checkpoint is known to be of others.
    fn checksum(&self) -> String {
        let until = |values: &'a [f64]| &values[..self.validation.end.min(values.len())];
        let further = self.also.iter().map(|further| &further.values[self.train.clone()]);
        let beside = self.beside.past.iter().chain(&self.beside.known).flatten().copied();
        let linear = self.linear.iter().flat_map(LinearWeights::values);
        let values = self.values.iter().copied().chain(beside).map(until).chain(further).map(bytemuck::cast_slice);
        checksum("", values.chain(linear.map(bytemuck::cast_slice)))
    }
}

/// One step's figures.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct StepReport {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps done in the epoch.
    pub step: u64,
    /// Steps in the epoch.
    pub steps: u64,
    /// Loss of the heads; NaN of a step that was left out.
    pub loss: f32,
    /// Auxiliary losses.
    pub auxiliary: f32,
    /// Global norm of the gradient before clipping.
    pub norm: f64,
    /// Learning rate.
    pub rate: f64,
    /// Samples through the network.
    pub rows: usize,
    /// Whether the step was left out, since its loss or gradient was not finite.
    pub skipped: bool,
}

/// One epoch's figures.
#[derive(Clone, Debug, Serialize)]
pub struct EpochReport {
    /// Number of the epoch, from 1.
    pub epoch: u64,
    /// Mean training loss.
    pub loss: f64,
    /// What validation found.
    pub validation: Validation,
    /// Whether it is the best so far.
    pub best: bool,
    /// Samples trained on a second, validation not counted.
    pub rows_a_second: f64,
}

/// One mixture's counts.
#[derive(Clone, Debug)]
pub struct MixtureUsage {
    /// Number of the mixture.
    pub mixture: usize,
    /// Kind of each expert.
    pub experts: Vec<String>,
    /// What they are used for in training's passes.
    pub counters: Arc<UsageCounters>,
}

/// A run of training.
pub struct Trainer<'a> {
    task: Task<'a>,
    model: ForecasterConfig,
    config: TrainConfig,
    network: Arc<Network>,
    usage: Vec<MixtureUsage>,
    specs: Vec<Spec>,
    levels: Levels,
    loader: Arc<Loader<'a>>,
    device: Device,
    alike: Vec<Alike>,
    progress: Progress,
    weights: Vec<f32>,
    moments: [Vec<f32>; 2],
    /// Mean of the weights over the steps.
    mean: Vec<f32>,
    /// As they were when the epoch began.
    epoch_weights: Vec<f32>,
    horizons: Vec<usize>,
    weights_h: Arc<[f32]>,
    best: Vec<f32>,
    best_share_h: Vec<f32>,
}

/// What a step found, before it changes a weight.
struct Found {
    loss: f32,
    auxiliary: f32,
    norm: f64,
    gradient: Vec<f32>,
    nudges: Vec<Nudge>,
}

fn floats(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().expect("an f32 tensor")
}

/// The counters that all engines of a network share.
fn usage(network: &Network, weights: &[f32]) -> Vec<MixtureUsage> {
    let of = |mixture: &MixtureEngine| MixtureUsage {
        mixture: mixture.id(),
        experts: mixture.expert_names().to_vec(),
        counters: mixture.training_usage().clone(),
    };
    network.prepare(weights, false).mixtures().into_iter().map(of).collect()
}

impl<'a> Trainer<'a> {
    /// A run at its beginning.
    ///
    /// # Errors
    /// A configuration that cannot be built, or too few rows.
    pub fn new(model: &ForecasterConfig, config: &TrainConfig, task: Task<'a>) -> Result<Self, ModelError> {
        let blueprint = Blueprint::new(model, &Registry::default()).map_err(|error| error.under("model"))?;
        config.check().map_err(|error| error.under("train"))?;
        let loader = Arc::new(Loader::new(&blueprint, &task, config)?);
        let weights = blueprint.layout.initialise(config.seed);
        let specs = blueprint.layout.specs().to_vec();
        let alike = alike(&specs, config.weight_decay, &config.groups).map_err(|error| error.under("train"))?;
        let zeros = || vec![0.0; weights.len()];
        let learned = config.of_the_weights();
        let (columns, covariates) = (&task.columns, &task.covariates);
        let mut run = format!("{model:?} {learned:?} {columns:?} {covariates:?} {:?} {:?}", task.train, task.validation);
        if !task.also.is_empty() {
            let also: Vec<&Column> = task.also.iter().map(|further| &further.column).collect();
            run += &format!(" also {also:?}");
        }
        run += &format!(" {}", task.checksum());
        let trainer = Self {
            moments: [zeros(), zeros()],
            mean: weights.clone(),
            epoch_weights: weights.clone(),
            best: weights.clone(),
            usage: usage(&blueprint.network, &weights),
            weights,
            network: Arc::new(blueprint.network),
            levels: blueprint.levels,
            specs,
            alike,
            progress: Progress::new(run),
            weights_h: step_weights(model.horizon, &config.horizons_of(model.horizon)?),
            horizons: config.horizons_of(model.horizon)?,
            best_share_h: vec![if task.linear.is_some() { 0.0 } else { 1.0 }; model.horizon],
            model: model.clone(),
            config: config.clone(),
            loader,
            device: Device::flex(),
            task,
        };
        tracing::info!(
            parameters = trainer.weights.len(),
            windows_a_step = config.batch * config.accumulate,
            steps_an_epoch = trainer.steps_an_epoch(),
            "training starts"
        );
        Ok(trainer)
    }

    /// What the experts are used for in training's passes since this trainer was made, mixture by mixture, outermost first.
    pub fn usage(&self) -> &[MixtureUsage] {
        &self.usage
    }

    /// Epochs done.
    pub fn epoch(&self) -> u64 {
        self.progress.epoch
    }

    /// Steps done.
    pub fn step(&self) -> u64 {
        self.progress.step
    }

    /// Epoch of the best weights so far; 0 for those that training began with.
    pub fn best_epoch(&self) -> u64 {
        self.progress.best_epoch
    }

    /// Steps left out, since their loss or gradient was not finite.
    pub fn skipped(&self) -> u64 {
        self.progress.skipped
    }

    /// Steps of one epoch.
    pub fn steps_an_epoch(&self) -> u64 {
        self.loader.steps()
    }

    /// Whether all epochs are done or patience has run out.
    pub fn finished(&self) -> bool {
        let Progress { epoch, best_epoch, .. } = self.progress;
        epoch >= self.config.epochs as u64 || epoch >= best_epoch + self.config.patience as u64
    }

    /// Where training stands.
    pub fn checkpoint(&self) -> Checkpoint {
        let [moment_1, moment_2] = &self.moments;
        Checkpoint {
            progress: self.progress.clone(),
            arenas: [&self.weights, moment_1, moment_2, &self.mean, &self.best, &self.epoch_weights].map(Clone::clone),
            best_share_h: self.best_share_h.clone(),
        }
    }

    /// Text that a checkpoint must carry to belong to this run.
    pub fn run(&self) -> &str {
        &self.progress.run
    }

    /// Length of the arenas in a checkpoint.
    pub fn arena_len(&self) -> usize {
        self.best.len()
    }

    /// Goes on from a checkpoint of this run.
    pub fn resume(&mut self, checkpoint: Checkpoint) {
        let [weights, moment_1, moment_2, mean, best, epoch_weights] = checkpoint.arenas;
        (self.weights, self.moments, self.mean) = (weights, [moment_1, moment_2], mean);
        (self.best, self.epoch_weights) = (best, epoch_weights);
        self.best_share_h = checkpoint.best_share_h;
        self.progress = checkpoint.progress;
    }

    /// One pass over the training rows, or what is left of it, and a validation.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, naming the step, its windows and the layer; or what the model refuses.
    pub fn train_epoch(&mut self, mut report: impl FnMut(StepReport)) -> Result<EpochReport, ModelError> {
        let done = self.train_until(|_, step| {
            report(*step);
            ControlFlow::Continue(())
        })?;
        Ok(done.expect("nothing breaks it off"))
    }

    /// The same, but no further than the step after which `after` breaks it off: then there is no validation and no report, and the epoch goes
    /// on with the next call, with the same bits.
    ///
    /// # Errors
    /// As [`Trainer::train_epoch`]. The weights are those of the step before.
    pub fn train_until(
        &mut self,
        after: impl FnMut(&Self, &StepReport) -> ControlFlow<()>,
    ) -> Result<Option<EpochReport>, ModelError> {
        let (started, left) = (Instant::now(), self.steps_an_epoch() - self.progress.epoch_step);
        if self.pass(after)?.is_break() {
            return Ok(None);
        }
        let seconds = started.elapsed().as_secs_f64();
        let rows = left as usize * self.config.accumulate * self.loader.rows_a_lesson();
        Ok(Some(self.end_epoch(rows as f64 / seconds)?))
    }

    /// So many epochs without a validation, from the beginning.
    pub(crate) fn train_blindly(
        &mut self,
        epochs: u64,
        mut report: impl FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<ControlFlow<()>, ModelError> {
        for _ in 0..epochs {
            if self.pass(|_, step| report(*step))?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
            self.progress.epoch += 1;
            (self.progress.epoch_step, self.progress.epoch_loss, self.progress.epoch_skipped) = (0, 0.0, 0);
        }
        Ok(ControlFlow::Continue(()))
    }

    /// The steps of the epoch, or those that are left of it.
    fn pass(&mut self, mut after: impl FnMut(&Self, &StepReport) -> ControlFlow<()>) -> Result<ControlFlow<()>, ModelError> {
        let begun = self.progress.epoch_step;
        if begun == 0 {
            self.epoch_weights.clone_from(&self.weights);
        }
        let (loader, epoch, steps, each) =
            (self.loader.clone(), self.progress.epoch, self.steps_an_epoch(), self.config.accumulate as u64);
        let carried = match self.config.carry {
            true => Some(loader.carried(epoch, &self.network.prepare(&self.epoch_weights, false))?),
            false => None,
        };
        let first = (self.progress.step - begun) * each;
        let lessons = loader.epoch(epoch, first, carried.as_ref()).skip((begun * each) as usize);
        ahead(lessons, self.config.prefetch, |lessons| {
            while self.progress.epoch_step < steps {
                let report = self.one_step(lessons.take(each as usize).collect())?;
                if after(self, &report).is_break() {
                    return Ok(ControlFlow::Break(()));
                }
            }
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The weights that are validated: as they are, or their mean.
    fn validated(&self) -> &Vec<f32> {
        if self.config.ema > 0.0 { &self.mean } else { &self.weights }
    }

    /// The forecaster of the weights that would be validated now, its network with these shares.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn of_mean(&self, share_h: Vec<f32>) -> Result<Forecaster, ModelError> {
        self.forecaster(self.validated().clone(), share_h)
    }

    /// Validates, and keeps what is best.
    fn end_epoch(&mut self, rows_a_second: f64) -> Result<EpochReport, ModelError> {
        let arena = self.validated().clone();
        let forecaster = Arc::new(self.forecaster(arena.clone(), vec![0.0; self.model.horizon])?.medians()?);
        let validation = validate(
            &forecaster,
            &self.task.values,
            &self.task.beside,
            self.task.validation.clone(),
            &self.horizons,
            MOST_WINDOWS,
        )?;
        self.progress.epoch += 1;
        let Progress { epoch_step, epoch_loss, epoch_skipped, .. } = self.progress;
        let loss = epoch_loss / (epoch_step - epoch_skipped) as f64;
        (self.progress.epoch_step, self.progress.epoch_loss, self.progress.epoch_skipped) = (0, 0.0, 0);
        let best = validation.network_mse < self.progress.best_mse;
        if best {
            self.progress.best_mse = validation.network_mse;
            self.progress.best_epoch = self.progress.epoch;
            self.best = arena;
            self.best_share_h.clone_from(&validation.network_share_h);
        }
        tracing::info!(
            epoch = self.progress.epoch,
            network_mse = validation.network_mse,
            model_mse = validation.mse,
            best,
            "epoch done"
        );
        Ok(EpochReport { epoch: self.progress.epoch, loss, validation, best, rows_a_second })
    }

    fn one_step(&mut self, lessons: Vec<Lesson>) -> Result<StepReport, ModelError> {
        let Progress { step, epoch, .. } = self.progress;
        let steps = self.steps_an_epoch();
        let rate = self.config.learning_rate
            * self.config.schedule.factor(step, steps * self.config.epochs as u64, self.config.warm_up as u64);
        let windows: Vec<_> = lessons.iter().flat_map(|lesson| lesson.windows.clone()).collect();
        let rows = lessons.iter().map(|lesson| lesson.batch.offsets[lesson.batch.offsets.len() - 1]).sum();
        let mut report = StepReport {
            epoch: epoch + 1,
            step: self.progress.epoch_step + 1,
            steps,
            loss: f32::NAN,
            auxiliary: f32::NAN,
            norm: f64::NAN,
            rate,
            rows,
            skipped: false,
        };
        match self.look(lessons) {
            Ok(found) => {
                (report.loss, report.auxiliary, report.norm) = (found.loss, found.auxiliary, found.norm);
                self.progress.epoch_loss += f64::from(found.loss);
                self.learn(found, rate);
            }
            Err(ModelError::NotFinite { place }) => {
                let place = format!("step {} (epoch {}), {}: {place}", step + 1, epoch + 1, self.named(&windows));
                let error = ModelError::NotFinite { place };
                tracing::error!(%error, "loss or gradient is not finite");
                if self.config.not_finite == NotFinite::Stop {
                    return Err(error);
                }
                report.skipped = true;
                self.progress.skipped += 1;
                self.progress.epoch_skipped += 1;
            }
            Err(error) => return Err(error),
        }
        self.progress.step += 1;
        self.progress.epoch_step += 1;
        Ok(report)
    }

    /// Some windows in words.
    fn named(&self, windows: &[(usize, usize)]) -> String {
        let names: Vec<&str> = self.task.series().map(|(column, _)| column.name.as_str()).collect();
        let name = |&(series, row): &(usize, usize)| format!("`{}` from row {}", names[series], self.task.train.start + row);
        let some: Vec<String> = windows.iter().take(WINDOWS_NAMED).map(name).collect();
        let more = match windows.len().saturating_sub(WINDOWS_NAMED) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        format!("windows {}{more}", some.join(", "))
    }

    /// Loss and gradient of one lesson.
    fn look_at(&self, lesson: Lesson) -> Result<Found, ModelError> {
        let weights = TensorData::new(self.weights.clone(), [self.weights.len()]);
        let tracked = Tensor::<1>::from_data(weights, &self.device.clone().autodiff()).require_grad();
        let loss = QuantileLoss {
            targets_mh: lesson.targets_mh,
            deviations_m: lesson.deviations_m,
            levels: self.levels.levels().iter().map(|&level| level as f32).collect(),
            middle: self.levels.middle(),
            squared_error: self.config.squared_error as f32,
            weights_h: self.weights_h.clone(),
        };
        let loss = Arc::new(move |quantiles: &[f32], gradient: &mut [f32]| loss.of(quantiles, gradient));
        let (output, nudges) = network(&self.network, tracked.clone(), lesson.batch, loss)?;
        let values = floats(&output.clone().inner());
        all_finite("loss", &values)?;
        let gradients = output.sum().backward();
        let gradient = floats(&tracked.grad(&gradients).expect("the weights are tracked"));
        Ok(Found { loss: values[0], auxiliary: values[1], norm: 0.0, gradient, nudges })
    }

    /// Loss and gradient: the means over the lessons. Small ones, which threads cannot share, are beside each other.
    fn look(&self, lessons: Vec<Lesson>) -> Result<Found, ModelError> {
        let share = 1.0 / lessons.len() as f32;
        let at_once = (SMALL_LESSONS / self.loader.rows_a_lesson()).max(1);
        let mut total = Found { loss: 0.0, auxiliary: 0.0, norm: 0.0, gradient: Vec::new(), nudges: Vec::new() };
        let mut lessons = lessons.into_iter();
        while lessons.len() > 0 {
            let some: Vec<Lesson> = lessons.by_ref().take(at_once).collect();
            let found: Vec<Result<Found, ModelError>> = some.into_par_iter().map(|lesson| self.look_at(lesson)).collect();
            for found in found {
                let Found { loss, auxiliary, gradient, mut nudges, .. } = found?;
                (total.loss, total.auxiliary) = (total.loss + share * loss, total.auxiliary + share * auxiliary);
                if share == 1.0 {
                    (total.gradient, total.nudges) = (gradient, nudges);
                    continue;
                }
                total.gradient.resize(gradient.len(), 0.0);
                total.gradient.iter_mut().zip(&gradient).for_each(|(total, part)| *total += share * part);
                nudges.iter_mut().flat_map(|nudge| &mut nudge.by).for_each(|by| *by *= share);
                total.nudges.append(&mut nudges);
            }
        }
        total.norm = adamw::squares(&total.gradient).sqrt();
        if !total.norm.is_finite() {
            // Backward goes from the last weights to the first, so the last that is not finite was the first to be so.
            let of = |spec: &Spec| all_finite(&format!("gradient of `{}`", spec.name), spec.weight.of(&total.gradient));
            self.specs.iter().rev().try_for_each(of)?;
            // Each weight's is finite, their squares are not.
            return Err(ModelError::NotFinite { place: "norm of the gradient".into() });
        }
        Ok(total)
    }

    /// The optimiser's step.
    fn learn(&mut self, found: Found, rate: f64) {
        let clip = (self.config.clip_norm / found.norm.max(1e-12)).min(1.0);
        let Progress { step, skipped, .. } = self.progress;
        let [moment_1, moment_2] = &mut self.moments;
        for Alike { span, rate: own, decay } in &self.alike {
            AdamW::new(rate * own, *decay, clip, step + 1 - skipped).step(
                &mut self.weights[span.clone()],
                &found.gradient[span.clone()],
                &mut moment_1[span.clone()],
                &mut moment_2[span.clone()],
            );
        }
        found.nudges.iter().for_each(|nudge| nudge.apply(&mut self.weights));
        if self.config.ema > 0.0 {
            let keep = self.config.ema.min((1.0 + step as f64) / (10.0 + step as f64));
            let (keep, rest) = (keep as f32, (1.0 - keep) as f32);
            self.mean.iter_mut().zip(&self.weights).for_each(|(mean, weight)| *mean = keep * *mean + rest * weight);
        }
    }

    /// What the best network adds to the linear expert on the validation rows, with the shares that suit the windows which decide; none without one that could
    /// stand alone.
    pub(crate) fn gain(&self) -> Result<Option<Gain>, ModelError> {
        let (task, medians) = (&self.task, Arc::new(self.best_uncalibrated()?.medians()?));
        let rows = task.validation.clone();
        Ok(validate(&medians, &task.values, &task.beside, rows, &self.horizons, MOST_DECIDING)?.gain)
    }

    pub(crate) fn task(&self) -> &Task<'a> {
        &self.task
    }

    pub(crate) fn model(&self) -> &ForecasterConfig {
        &self.model
    }

    pub(crate) fn config(&self) -> &TrainConfig {
        &self.config
    }

    fn forecaster(&self, arena: Vec<f32>, share_h: Vec<f32>) -> Result<Forecaster, ModelError> {
        let blueprint = Blueprint::new(&self.model, &Registry::default())?;
        Forecaster::new(
            blueprint,
            self.task.columns.clone(),
            self.task.covariates.clone(),
            arena,
            self.task.linear.clone(),
            share_h,
        )
    }

    /// The best forecaster so far, its quantiles as the network says them.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn best_uncalibrated(&self) -> Result<Forecaster, ModelError> {
        self.forecaster(self.best.clone(), self.best_share_h.clone())
    }

    /// The best forecaster so far, its quantiles calibrated on the validation rows.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn best(&self) -> Result<Forecaster, ModelError> {
        self.calibrated(self.best_uncalibrated()?)
    }

    /// A forecaster calibrated on the validation rows.
    pub(crate) fn calibrated(&self, forecaster: Forecaster) -> Result<Forecaster, ModelError> {
        let (task, forecaster) = (&self.task, Arc::new(forecaster));
        let calibration = calibrate(&forecaster, &task.values, &task.beside, task.validation.clone(), self.config.held_back)?;
        Ok(Arc::into_inner(forecaster).expect("no predictor is left").calibrated(calibration))
    }
}
