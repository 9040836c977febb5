//! Training the gate of a mixture of frozen predictors: their forecasts are given, so this is a small softmax regression on the squared
//! error of what they say together.

use burn::{
    optim::{AdamWConfig, Optimizer},
    tensor::{Device, Tensor, TensorData, activation::softmax},
};
use foretoken_model::{GatedPredictors, ModelError, SignalPredictor};

/// How to train a gate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateConfig {
    /// Steps, each over all samples.
    pub steps: usize,
    /// Learning rate of AdamW.
    pub learning_rate: f64,
    /// First samples that are not learned from: the predictors are still filling.
    pub burn_in: usize,
}

impl Default for GateConfig {
    fn default() -> Self {
        Self { steps: 300, learning_rate: 0.05, burn_in: 64 }
    }
}

/// What became of the training.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GateReport {
    /// Mean squared error of the even mean of all predictors.
    pub even: f64,
    /// Of the best predictor alone.
    pub best_alone: f64,
    /// Of the trained mixture, on the same samples.
    pub trained: f64,
}

/// Lets the predictors hear `samples` (`[row][value]`) from a fresh start, trains the gate on what they say, and resets them.
///
/// # Errors
/// Too few samples for one forecast after the burn-in, what a predictor refuses, or a loss that is not finite.
pub fn fit_gate(mixture: &mut GatedPredictors, samples: &[f32], config: &GateConfig) -> Result<GateReport, ModelError> {
    let (width, horizon) = mixture.shape();
    let (rows, members) = (samples.len() / width, mixture.weights().len());
    let wanted = config.burn_in..rows.saturating_sub(horizon);
    if wanted.is_empty() {
        return Err(ModelError::TooShort { what: "training a gate", expected: config.burn_in + horizon + 1, found: rows });
    }
    let (mut features, mut said, mut truth) = (Vec::new(), Vec::new(), Vec::new());
    mixture.reset();
    for (row, x) in samples.chunks_exact(width).enumerate() {
        mixture.step(x)?;
        if wanted.contains(&row) {
            features.extend_from_slice(mixture.features());
            (0..members).for_each(|member| said.extend_from_slice(mixture.said(member)));
            truth.extend_from_slice(&samples[(row + 1) * width..(row + 1 + horizon) * width]);
        }
    }
    mixture.reset();
    let (n, len, inputs) = (wanted.len(), horizon * width, mixture.features().len());
    let device = Device::flex().autodiff();
    let features = Tensor::<2>::from_data(TensorData::new(features, [n, inputs]), &device);
    let said = Tensor::<3>::from_data(TensorData::new(said, [n, members, len]), &device);
    let truth = Tensor::<2>::from_data(TensorData::new(truth, [n, len]), &device);
    let loss = |gate: Tensor<2>| {
        let weights = softmax(features.clone().matmul(gate), 1).reshape([n, members, 1]);
        ((weights * said.clone()).sum_dim(1).reshape([n, len]) - truth.clone()).square().mean()
    };
    let value = |gate: Tensor<2>| f64::from(loss(gate).into_scalar::<f32>());
    let plain = Device::flex();
    let mut gate = Tensor::<2>::zeros([inputs, members], &plain);
    let even = value(Tensor::from_inner(gate.clone()));
    let alone = |member: usize| {
        let own = said.clone().narrow(1, member, 1).reshape([n, len]);
        f64::from((own - truth.clone()).square().mean().into_scalar::<f32>())
    };
    let best_alone = (0..members).map(alone).fold(f64::INFINITY, f64::min);
    let optimiser = AdamWConfig::new().with_weight_decay(0.0).build();
    let mut moments = None;
    for step in 0..config.steps {
        let tracked = Tensor::from_inner(gate.clone()).require_grad();
        let loss = loss(tracked.clone());
        let gradient = tracked.grad(&loss.backward()).expect("the gate is tracked");
        let rate = config.learning_rate * (1.0 - step as f64 / config.steps as f64);
        (gate, moments) = optimiser.step(rate, gate, gradient, moments);
    }
    let trained = value(Tensor::from_inner(gate.clone()));
    if !trained.is_finite() {
        return Err(ModelError::config("gate", "a finite loss", trained));
    }
    mixture.set_gate(gate.into_data().try_to_vec().expect("an f32 tensor"))?;
    Ok(GateReport { even, best_alone, trained })
}
