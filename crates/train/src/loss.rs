//! The loss of the heads: quantile (pinball) loss of every level, and the median's squared error.
//!
//! ```text
//! d = (target − q)·deviation            in standardised units, or those of `evenness` and `unit_power`
//! L = mean over levels τ of max(τ·d, (τ − 1)·d)  +  squared_error · mean d_median²
//! ```
//! Means are over the targets that are there, each weighted by its step: a step counts as often as the horizons that are scored hold it. One pass gives the loss and its gradient.

use rayon::prelude::*;
use std::sync::Arc;

/// What a step's forecasts are held against.
#[derive(Clone, Debug)]
pub struct QuantileLoss {
    /// `[position][horizon]`; NaN where there is none.
    pub targets_mh: Vec<f32>,
    /// `[position]`: by what errors are multiplied.
    pub deviations_m: Vec<f32>,
    /// The quantile levels.
    pub levels: Vec<f32>,
    /// Index of the median.
    pub middle: usize,
    /// Weight of the median's squared error.
    pub squared_error: f32,
    /// What each step counts for.
    pub weights_h: Arc<[f32]>,
}

/// What each step of `horizon` counts for where the means over these horizons count alike.
pub fn step_weights(horizon: usize, horizons: &[usize]) -> Arc<[f32]> {
    let weight = |step: usize| horizons.iter().filter(|&&each| step < each).map(|&each| 1.0 / each as f32).sum::<f32>();
    let longest = horizons.iter().copied().max().unwrap_or(horizon);
    // Steps beyond the longest are learned like its last.
    let weights: Vec<f32> = (0..horizon).map(|step| weight(step.min(longest - 1))).collect();
    let mean = weights.iter().sum::<f32>() / horizon as f32;
    weights.iter().map(|weight| weight / mean).collect()
}

impl QuantileLoss {
    /// The loss of `quantiles` `[position][horizon][level]`, and its gradient into `gradient`. The same bits on any number of threads.
    pub fn of(&self, quantiles: &[f32], gradient: &mut [f32]) -> f32 {
        let (count, positions) = (self.levels.len(), self.deviations_m.len());
        let horizon = self.targets_mh.len() / positions;
        let there = |targets: &[f32]| -> f32 {
            targets.iter().zip(self.weights_h.iter()).filter(|(target, _)| !target.is_nan()).map(|(_, weight)| weight).sum()
        };
        let known = self.targets_mh.chunks_exact(horizon).map(there).sum::<f32>().max(f32::MIN_POSITIVE);
        let (pinball, square) = (1.0 / (known * count as f32), self.squared_error / known);
        let outputs = horizon * count;
        let parts: Vec<f32> = gradient
            .par_chunks_exact_mut(outputs)
            .zip(quantiles.par_chunks_exact(outputs))
            .zip(self.targets_mh.par_chunks_exact(horizon))
            .zip(&self.deviations_m)
            .map(|(((gradient, quantiles), targets), &deviation)| {
                let mut sum = 0.0;
                let steps =
                    gradient.chunks_exact_mut(count).zip(quantiles.chunks_exact(count)).zip(targets).zip(self.weights_h.iter());
                for (((gradient, quantiles), &target), &weight) in steps {
                    let (pinball, square) = (pinball * weight, square * weight);
                    if target.is_nan() {
                        gradient.fill(0.0);
                        continue;
                    }
                    let mut losses = 0.0;
                    for ((gradient, quantile), level) in gradient.iter_mut().zip(quantiles).zip(&self.levels) {
                        let difference = (target - quantile) * deviation;
                        let slope = if difference < 0.0 { level - 1.0 } else { *level };
                        losses += slope * difference;
                        *gradient = -slope * deviation * pinball;
                    }
                    let difference = (target - quantiles[self.middle]) * deviation;
                    gradient[self.middle] -= 2.0 * difference * deviation * square;
                    sum += losses * pinball + difference * difference * square;
                }
                sum
            })
            .collect();
        parts.into_iter().sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_count_as_the_horizons_hold_them() {
        let weights = step_weights(4, &[1, 2, 4]);
        let expected = [1.0 + 0.5 + 0.25, 0.5 + 0.25, 0.25, 0.25].map(|weight: f32| weight * 4.0 / 3.0);
        assert!(weights.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{weights:?}");
        assert_eq!(*step_weights(3, &[3]), [1.0; 3]);
    }

    #[test]
    fn is_what_it_says_and_so_is_its_gradient() {
        let loss = QuantileLoss {
            targets_mh: vec![0.3, f32::NAN, -1.0, 2.0],
            deviations_m: vec![2.0, 0.5],
            levels: vec![0.1, 0.5, 0.8],
            middle: 1,
            squared_error: 0.7,
            weights_h: Arc::new([0.5, 1.5]),
        };
        let quantiles: Vec<f32> = (0..12).map(|i| (i as f32 * 1.3).sin() * 2.0).collect();
        let mut gradient = vec![9.0; 12];
        let value = loss.of(&quantiles, &mut gradient);
        let mut expected = 0.0;
        for (at, target) in [(0, 0.3f64), (2, -1.0), (3, 2.0)] {
            let deviation = [2.0, 0.5][at / 2];
            for (j, level) in [0.1, 0.5, 0.8].into_iter().enumerate() {
                let d = (target - f64::from(quantiles[at * 3 + j])) * deviation;
                let share = [0.5, 1.5][at % 2] / 2.5;
                expected += share * (f64::max(level * d, (level - 1.0) * d) / 3.0 + if j == 1 { 0.7 * d * d } else { 0.0 });
            }
        }
        // f32 against f64.
        assert!((f64::from(value) - expected).abs() < 1e-5, "{value} {expected}");
        assert_eq!(gradient[3..6], [0.0; 3]);
        for i in 0..12 {
            let shifted = |by: f32| {
                let mut quantiles = quantiles.clone();
                quantiles[i] += by;
                loss.of(&quantiles, &mut [0.0; 12])
            };
            // Central differences in f32 with this step are good to about 1e-3; no quantile lies that near its target.
            let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((numeric - gradient[i]).abs() < 2e-3, "{i}: {numeric} {}", gradient[i]);
        }
    }
}
