//! Quantiles that cannot cross: the median, and positive steps away from it.
//!
//! ```text
//! q_mid = r_mid,   q_{j+1} = q_j + softplus(r_{j+1} − 1),   q_{j−1} = q_j − softplus(r_{j−1} − 1)
//! ```
//! The shift by one makes fresh forecasts about as wide as a normal distribution's deciles.

use crate::ModelError;
use foretoken_kernels::activation;
use std::cmp::Ordering;

const SHIFT: f32 = 1.0;

/// Sorted quantile levels in (0, 1) with the median among them.
#[derive(Clone, Debug, PartialEq)]
pub struct Levels {
    levels: Vec<f64>,
    middle: usize,
}

impl Levels {
    /// Checks the levels.
    ///
    /// # Errors
    /// Levels that do not rise between 0 and 1, or without 0.5 among them.
    pub fn new(levels: &[f64]) -> Result<Self, ModelError> {
        let sorted = levels.windows(2).all(|pair| pair[0] < pair[1]) && levels.iter().all(|&level| level > 0.0 && level < 1.0);
        let middle = levels.iter().position(|&level| level == 0.5);
        match middle.filter(|_| sorted) {
            Some(middle) => Ok(Self { levels: levels.to_vec(), middle }),
            None => {
                Err(ModelError::config("quantiles", "increasing levels in (0, 1) with 0.5 among them", format!("{levels:?}")))
            }
        }
    }

    /// The levels.
    pub fn levels(&self) -> &[f64] {
        &self.levels
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.levels.len()
    }

    /// Number of levels and index of the median.
    pub fn shape(&self) -> (usize, usize) {
        (self.count(), self.middle)
    }

    /// Index of the median.
    pub fn middle(&self) -> usize {
        self.middle
    }

    /// The level that leaves as much beyond it on the other side of the median as this one does on its own; this one where there is none.
    pub fn mirrored(&self, level: usize) -> usize {
        // Levels are decimals: 1 − 0.1 is not 0.9 to the last bit.
        let is_mirror = |other: &f64| (other + self.levels[level] - 1.0).abs() < 1e-9;
        self.levels.iter().position(is_mirror).unwrap_or(level)
    }

    /// Deviation of a distribution with these quantiles: linear between the levels, and as far as the outermost of them beyond.
    pub fn deviation(&self, quantiles: &[f64]) -> f64 {
        let (levels, last) = (&self.levels, quantiles.len() - 1);
        let (below, above) = (levels[0], 1.0 - levels[last]);
        let mut mean = below * quantiles[0] + above * quantiles[last];
        for j in 1..=last {
            mean += (levels[j] - levels[j - 1]) * 0.5 * (quantiles[j - 1] + quantiles[j]);
        }
        let ends = below * (quantiles[0] - mean).powi(2) + above * (quantiles[last] - mean).powi(2);
        let mut thrice = 0.0;
        for j in 1..=last {
            let (a, b) = (quantiles[j - 1] - mean, quantiles[j] - mean);
            thrice += (levels[j] - levels[j - 1]) * (a * a + a * b + b * b);
        }
        (ends + thrice / 3.0).sqrt()
    }

    /// Turns raw head outputs `[…][levels]` into quantiles of the same shape. `scratch` is as long.
    pub fn forward(&self, raw: &[f32], scratch: &mut [f32], quantiles: &mut [f32]) {
        quantiles.iter_mut().zip(raw).for_each(|(q, r)| *q = r - SHIFT);
        activation::softplus(quantiles, scratch);
        let rows =
            raw.chunks_exact(self.count()).zip(scratch.chunks_exact(self.count())).zip(quantiles.chunks_exact_mut(self.count()));
        for ((raw, step), q) in rows {
            q[self.middle] = raw[self.middle];
            (self.middle + 1..q.len()).for_each(|j| q[j] = q[j - 1] + step[j]);
            (0..self.middle).rev().for_each(|j| q[j] = q[j + 1] - step[j]);
        }
    }

    /// The raw outputs that become these increasing quantiles, one a level: [`Levels::forward`], undone.
    pub fn raw(&self, quantiles: &[f64]) -> Vec<f32> {
        let of = |level: usize| match level.cmp(&self.middle) {
            Ordering::Equal => quantiles[level],
            Ordering::Greater => f64::from(SHIFT) + (quantiles[level] - quantiles[level - 1]).exp_m1().ln(),
            Ordering::Less => f64::from(SHIFT) + (quantiles[level + 1] - quantiles[level]).exp_m1().ln(),
        };
        (0..self.count()).map(|level| of(level) as f32).collect()
    }

    /// Gradient of the raw outputs from that of the quantiles.
    pub fn backward(&self, raw: &[f32], dquantiles: &[f32], draw: &mut [f32]) {
        let shifted: Vec<f32> = raw.iter().map(|r| r - SHIFT).collect();
        let mut dstep = vec![0.0; raw.len()];
        let rows = dquantiles.chunks_exact(self.count()).zip(dstep.chunks_exact_mut(self.count()));
        for (dq, dstep) in rows {
            let mut sum = 0.0;
            (self.middle + 1..dq.len()).rev().for_each(|j| {
                sum += dq[j];
                dstep[j] = sum;
            });
            let mut low = 0.0;
            (0..self.middle).for_each(|j| {
                low += dq[j];
                dstep[j] = -low;
            });
            dstep[self.middle] = sum + low + dq[self.middle];
        }
        activation::softplus_backward(&shifted, &dstep, draw);
        let middles = draw.chunks_exact_mut(self.count()).zip(dstep.chunks_exact(self.count()));
        middles.for_each(|(draw, dstep)| draw[self.middle] = dstep[self.middle]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_cross_and_gradients_agree() {
        let levels = Levels::new(&[0.1, 0.3, 0.5, 0.8]).unwrap();
        assert_eq!([0, 1, 2, 3].map(|level| levels.mirrored(level)), [0, 1, 2, 3]);
        let sides = Levels::new(&[0.025, 0.1, 0.5, 0.9]).unwrap();
        assert_eq!([0, 1, 2, 3].map(|level| sides.mirrored(level)), [0, 3, 2, 1]);
        let raw: Vec<f32> = (0..8).map(|i| (i as f32 * 1.7).sin() * 3.0).collect();
        let value = |raw: &[f32]| {
            let (mut scratch, mut q) = ([0.0; 8], [0.0; 8]);
            levels.forward(raw, &mut scratch, &mut q);
            q
        };
        let q = value(&raw);
        assert!(q.chunks(4).all(|q| q.windows(2).all(|pair| pair[0] < pair[1])), "{q:?}");
        let weights: Vec<f32> = (0..8).map(|i| (i as f32).cos()).collect();
        let mut draw = [0.0; 8];
        levels.backward(&raw, &weights, &mut draw);
        for i in 0..8 {
            let shifted = |by: f32| {
                let mut raw = raw.clone();
                raw[i] += by;
                value(&raw).iter().zip(&weights).map(|(q, w)| q * w).sum::<f32>()
            };
            // Central differences in f32 with this step are good to about 1e-3.
            let numeric = (shifted(1e-2) - shifted(-1e-2)) / 2e-2;
            assert!((numeric - draw[i]).abs() < 2e-3, "{i}: {numeric} {}", draw[i]);
        }
    }

    #[test]
    fn raw_undoes_forward() {
        let levels = Levels::new(&[0.025, 0.1, 0.5, 0.9]).unwrap();
        let expected = [-3.0, -0.5, 0.25, 40.0];
        let (mut scratch, mut quantiles) = ([0.0; 4], [0.0; 4]);
        levels.forward(&levels.raw(&expected), &mut scratch, &mut quantiles);
        let close = quantiles.iter().zip(expected).all(|(found, expected)| (f64::from(*found) - expected).abs() < 1e-5);
        assert!(close, "{quantiles:?}");
    }

    #[test]
    fn the_deviation_is_that_of_the_pieces() {
        // Evenly spread from 0 to 1 but for the ends, which are as far as the outermost levels.
        let levels = Levels::new(&[0.01, 0.25, 0.5, 0.75, 0.99]).unwrap();
        let found = levels.deviation(&[5.01, 5.25, 5.5, 5.75, 5.99]);
        assert!((found - (1.0f64 / 12.0).sqrt()).abs() < 1e-3, "{found}");
        assert_eq!(levels.deviation(&[2.0; 5]), 0.0);
    }

    #[test]
    fn bad_levels_are_errors() {
        for levels in [&[][..], &[0.1, 0.9], &[0.5, 0.4], &[0.5, 1.0]] {
            assert!(Levels::new(levels).is_err(), "{levels:?}");
        }
    }
}
