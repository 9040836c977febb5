//! The loss of the heads: quantile (pinball) loss of every level, and the median's squared error.
//!
//! ```text
//! d = (target − q)·deviation            in standardised units
//! L = mean over levels τ of max(τ·d, (τ − 1)·d)  +  squared_error · mean d_median²
//! ```
//! Means are over the targets that are there.

use burn::tensor::{Device, Tensor, TensorData, activation::relu};

/// Mean loss of `quantiles_mhq` against `targets_mh`, errors multiplied by `deviations_m`; a NaN among the targets is none.
pub fn quantile_loss(
    quantiles_mhq: Tensor<3>,
    targets_mh: Vec<f32>,
    deviations_m: Vec<f32>,
    levels: &[f64],
    middle: usize,
    squared_error: f64,
    device: &Device,
) -> Tensor<1> {
    let [positions, horizon, count] = quantiles_mhq.dims();
    let there: Vec<f32> = targets_mh.iter().map(|target| f32::from(!target.is_nan())).collect();
    let known = there.iter().sum::<f32>().max(1.0);
    let targets_mh = targets_mh.into_iter().map(|target| if target.is_nan() { 0.0 } else { target }).collect::<Vec<_>>();
    let there = Tensor::<3>::from_data(TensorData::new(there, [positions, horizon, 1]), device);
    let targets = Tensor::<3>::from_data(TensorData::new(targets_mh, [positions, horizon, 1]), device);
    let deviations = Tensor::<3>::from_data(TensorData::new(deviations_m, [positions, 1, 1]), device);
    let levels: Vec<f32> = levels.iter().map(|&level| level as f32).collect();
    let levels = Tensor::<3>::from_data(TensorData::new(levels, [1, 1, count]), device);
    let difference = (targets - quantiles_mhq) * (deviations * there);
    let median = difference.clone().narrow(2, middle, 1);
    let pinball = difference.clone() * levels + relu(difference.neg());
    pinball.sum() / (known * count as f32) + median.square().sum().mul_scalar(squared_error / f64::from(known))
}
