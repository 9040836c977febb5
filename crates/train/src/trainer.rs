//! The training loop: AdamW with global-norm clipping on the flat arena, warm-up and cosine, early stopping on validation.

use crate::{
    calibrate::calibrate,
    checkpoint::{Checkpoint, Progress},
    config::TrainConfig,
    loader::{Lesson, Loader},
    loss::{QuantileLoss, step_weights},
    validate::{Validation, validate},
};
use burn::{
    optim::{AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, Optimizer},
    tensor::{Device, Tensor, TensorData},
};
use foretoken_model::{
    Beside, Blueprint, Column, Covariates, Forecaster, ForecasterConfig, ModelError, Registry, linear_expert::LinearWeights,
    network::Network, quantiles::Levels, train::network,
};
use std::{ops::Range, sync::Arc, time::Instant};

/// What a run learns from.
#[derive(Clone, Debug, Default)]
pub struct Task<'a> {
    /// The columns and their training statistics.
    pub columns: Vec<Column>,
    /// Their values in the data's unit, all rows.
    pub values: Vec<&'a [f64]>,
    /// The covariates, and their values in the rows of `values`; what is known may reach beyond.
    pub covariates: Covariates,
    /// See there.
    pub beside: Beside<'a>,
    /// Rows to train on.
    pub train: Range<usize>,
    /// Rows to validate on.
    pub validation: Range<usize>,
    /// The fitted linear expert.
    pub linear: Option<LinearWeights>,
}

/// One step's figures.
#[derive(Clone, Copy, Debug)]
pub struct StepReport {
    /// Steps done in the epoch.
    pub step: u64,
    /// Steps in the epoch.
    pub steps: u64,
    /// Loss of the heads.
    pub loss: f32,
    /// Auxiliary losses.
    pub auxiliary: f32,
    /// Samples through the network.
    pub rows: usize,
}

/// One epoch's figures.
#[derive(Clone, Debug)]
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

/// A run of training.
pub struct Trainer<'a> {
    task: Task<'a>,
    model: ForecasterConfig,
    config: TrainConfig,
    network: Arc<Network>,
    levels: Levels,
    loader: Arc<Loader<'a>>,
    device: Device,
    optimiser: AdamW,
    weights: Tensor<1>,
    /// Mean of the weights over the steps.
    mean: Tensor<1>,
    moments: Option<AdamWState<1>>,
    decay: Tensor<1>,
    progress: Progress,
    horizons: Vec<usize>,
    weights_h: Arc<[f32]>,
    best: Vec<f32>,
    best_share_h: Vec<f32>,
}

fn floats(tensor: &Tensor<1>) -> Vec<f32> {
    tensor.clone().into_data().try_to_vec().expect("an f32 tensor")
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
        let device = Device::flex();
        let best = blueprint.layout.initialise(config.seed);
        let mut decay = vec![0.0; best.len()];
        for spec in blueprint.layout.specs().iter().filter(|spec| spec.decay) {
            spec.weight.of_mut(&mut decay).fill(1.0);
        }
        let vector = |values: &[f32]| Tensor::<1>::from_data(TensorData::new(values.to_vec(), [values.len()]), &device);
        // What is shipped in the end changes nothing of the training.
        let learned = TrainConfig { keep_network: false, ..config.clone() };
        let (columns, covariates) = (&task.columns, &task.covariates);
        let run = format!("{model:?} {learned:?} {columns:?} {covariates:?} {:?} {:?}", task.train, task.validation);
        tracing::info!(
            parameters = best.len(),
            windows_a_step = config.batch,
            steps_an_epoch = loader.steps(),
            "training starts"
        );
        Ok(Self {
            weights: vector(&best),
            mean: vector(&best),
            decay: vector(&decay),
            network: Arc::new(blueprint.network),
            levels: blueprint.levels,
            optimiser: AdamWConfig::new().with_epsilon(1e-8).with_weight_decay(0.0).build(),
            moments: None,
            progress: Progress::new(run),
            weights_h: step_weights(model.horizon, &config.horizons_of(model.horizon)?),
            horizons: config.horizons_of(model.horizon)?,
            best_share_h: vec![if task.linear.is_some() { 0.0 } else { 1.0 }; model.horizon],
            best,
            model: model.clone(),
            config: config.clone(),
            loader,
            device,
            task,
        })
    }

    /// Epochs done.
    pub fn epoch(&self) -> u64 {
        self.progress.epoch
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
        let zeros = || vec![0.0; self.best.len()];
        let (moment_1, moment_2) = match &self.moments {
            Some(state) => (floats(&state.momentum.moment_1), floats(&state.momentum.moment_2)),
            None => (zeros(), zeros()),
        };
        Checkpoint {
            progress: self.progress.clone(),
            arenas: [floats(&self.weights), moment_1, moment_2, floats(&self.mean), self.best.clone()],
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
        let vector = |values: Vec<f32>| {
            let shape = [values.len()];
            Tensor::<1>::from_data(TensorData::new(values, shape), &self.device)
        };
        let [weights, moment_1, moment_2, mean, best] = checkpoint.arenas;
        (self.weights, self.mean) = (vector(weights), vector(mean));
        self.moments = (checkpoint.progress.moments > 0).then(|| {
            AdamWState::new(AdaptiveMomentumState {
                time: checkpoint.progress.moments,
                moment_1: vector(moment_1),
                moment_2: vector(moment_2),
                max_moment_2: None,
            })
        });
        self.best = best;
        self.best_share_h = checkpoint.best_share_h;
        self.progress = checkpoint.progress;
    }

    /// One pass over the training rows, and a validation.
    ///
    /// # Errors
    /// A loss or gradient that is not finite, naming the step; or what the model refuses.
    pub fn train_epoch(&mut self, mut report: impl FnMut(StepReport)) -> Result<EpochReport, ModelError> {
        let started = Instant::now();
        let (epoch, first) = (self.progress.epoch, self.progress.step);
        let steps = self.loader.steps();
        let mut total = 0.0;
        let loader = self.loader.clone();
        let carried = match self.config.carry {
            true => Some(loader.carried(epoch, &self.network.prepare(&floats(&self.weights), false))?),
            false => None,
        };
        for (index, lesson) in loader.epoch(epoch, first, carried.as_ref()).enumerate() {
            let rows = lesson.batch.offsets[lesson.batch.offsets.len() - 1];
            let (loss, auxiliary) = self.step(lesson)?;
            total += f64::from(loss);
            report(StepReport { step: index as u64 + 1, steps, loss, auxiliary, rows });
        }
        let seconds = started.elapsed().as_secs_f64();
        self.progress.epoch += 1;
        let arena = floats(if self.config.ema > 0.0 { &self.mean } else { &self.weights });
        let forecaster = Arc::new(self.forecaster(arena.clone(), vec![0.0; self.model.horizon])?);
        let validation =
            validate(&forecaster, &self.task.values, &self.task.beside, self.task.validation.clone(), &self.horizons)?;
        let best = validation.network_mse < self.progress.best_mse;
        if best {
            self.progress.best_mse = validation.network_mse;
            self.progress.best_epoch = self.progress.epoch;
            self.best = arena;
            self.best_share_h.clone_from(&validation.network_share_h);
        }
        let rows_a_second = (steps as usize * self.loader.rows_a_step()) as f64 / seconds;
        tracing::info!(
            epoch = self.progress.epoch,
            network_mse = validation.network_mse,
            model_mse = validation.mse,
            best,
            "epoch done"
        );
        Ok(EpochReport { epoch: self.progress.epoch, loss: total / steps as f64, validation, best, rows_a_second })
    }

    fn step(&mut self, lesson: Lesson) -> Result<(f32, f32), ModelError> {
        let step = self.progress.step;
        let tracked = Tensor::<1>::from_inner(self.weights.clone()).require_grad();
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
        let (loss_value, auxiliary_value) = (values[0], values[1]);
        let gradients = output.sum().backward();
        let gradient = tracked.grad(&gradients).expect("the weights are tracked");
        let norm = gradient.clone().square().sum().sqrt().into_scalar::<f32>();
        if !(loss_value.is_finite() && norm.is_finite()) {
            tracing::error!(step, loss_value, norm, "loss or gradient is not finite");
            let found = format!("loss {loss_value}, gradient norm {norm}");
            return Err(ModelError::config(&format!("step {step}"), "a finite loss and gradient", found));
        }
        let clip = (self.config.clip_norm / f64::from(norm).max(1e-12)).min(1.0);
        let steps = self.loader.steps() * self.config.epochs as u64;
        let rate = self.config.rate(step, steps);
        let decay = self.decay.clone().mul_scalar(-rate * self.config.weight_decay).add_scalar(1.0);
        let (weights, moments) =
            self.optimiser.step(rate, self.weights.clone() * decay, gradient.mul_scalar(clip), self.moments.take());
        self.weights = weights;
        if !nudges.is_empty() {
            let mut arena = floats(&self.weights);
            nudges.iter().for_each(|nudge| nudge.apply(&mut arena));
            let shape = [arena.len()];
            self.weights = Tensor::from_data(TensorData::new(arena, shape), &self.device);
        }
        if self.config.ema > 0.0 {
            let decay = self.config.ema.min((1.0 + step as f64) / (10.0 + step as f64));
            self.mean = self.mean.clone().mul_scalar(decay) + self.weights.clone().mul_scalar(1.0 - decay);
        }
        self.progress.moments = moments.as_ref().map_or(0, |state| state.momentum.time);
        self.moments = moments;
        self.progress.step += 1;
        Ok((loss_value, auxiliary_value))
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

    pub(crate) fn horizons(&self) -> &[usize] {
        &self.horizons
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

    /// The best forecaster so far, its quantiles calibrated on the validation rows.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn best(&self) -> Result<Forecaster, ModelError> {
        let forecaster = Arc::new(self.forecaster(self.best.clone(), self.best_share_h.clone())?);
        let calibration = calibrate(&forecaster, &self.task.values, &self.task.beside, self.task.validation.clone())?;
        Ok(Arc::into_inner(forecaster).expect("no predictor is left").calibrated(calibration))
    }
}
