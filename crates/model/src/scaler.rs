//! The causal scaler: mean and deviation of what one column has shown so far, kept as a state like any other.
//!
//! ```text
//! window        mean and variance of the last `window` samples
//! prefix        of all samples (Welford 1962)
//! exponential   of all samples, weighted by exp(−age/window)
//! ```
//! Everything is `f64` and updated by differences, never as a mean of squares less a squared mean. The window form is summed afresh from its ring every
//! `window` samples, so rounding does not gather over years. A forecast is de-normalised with the statistics at its origin.

use crate::{ModelError, weights::positive};
use serde::{Deserialize, Serialize};

/// Which samples the statistics are of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ScalerKind {
    /// The last `window` samples.
    #[default]
    Window,
    /// All samples so far.
    Prefix,
    /// All samples, the older the less.
    Exponential,
}

/// Options of the scaler.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ScalerConfig {
    /// Which samples count.
    pub kind: ScalerKind,
    /// Samples in the window, or the time constant of the exponential form; `prefix` does not use it.
    pub window: usize,
    /// Smallest deviation, in units of the column's training deviation.
    pub floor: f64,
    /// Until so many samples were seen the deviation is taken to be 1, the column's training deviation.
    pub warm_up: usize,
}

impl Default for ScalerConfig {
    fn default() -> Self {
        Self { kind: ScalerKind::Window, window: 512, floor: 0.05, warm_up: 24 }
    }
}

impl ScalerConfig {
    /// Checks the options.
    pub fn check(&self) -> Result<(), ModelError> {
        positive("window", self.window)?;
        if self.floor.is_finite() && self.floor > 0.0 {
            Ok(())
        } else {
            Err(ModelError::config("floor", "a number > 0", self.floor))
        }
    }
}

/// The last samples of one column, oldest first on demand, with its running statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnHistory {
    ring: Vec<f64>,
    seen: u64,
    mean: f64,
    /// Sum of squared differences from the mean, or the variance itself for the exponential form.
    spread: f64,
}

impl ColumnHistory {
    /// An empty history that remembers `capacity` samples; at least the scaler's window.
    pub fn new(capacity: usize, scaler: &ScalerConfig) -> Self {
        Self { ring: vec![0.0; capacity.max(scaler.window)], seen: 0, mean: 0.0, spread: 0.0 }
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.ring.fill(0.0);
        (self.seen, self.mean, self.spread) = (0, 0.0, 0.0);
    }

    /// Samples taken so far.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many samples the history remembers.
    pub fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Whether this is a history that could have come about; a snapshot from outside may not be.
    pub fn is_sound(&self) -> bool {
        self.mean.is_finite() && self.spread.is_finite() && self.spread >= 0.0 && self.ring.iter().all(|value| value.is_finite())
    }

    /// The `len` newest samples, oldest first; `None` before there are so many.
    pub fn newest(&self, len: usize) -> Option<impl Iterator<Item = f64> + '_> {
        assert!(len <= self.ring.len(), "a history of {} cannot give {len}", self.ring.len());
        (self.seen >= len as u64).then(|| (self.seen - len as u64..self.seen).map(|time| self.at(time)))
    }

    fn at(&self, time: u64) -> f64 {
        self.ring[(time % self.ring.len() as u64) as usize]
    }

    /// Takes one sample.
    pub fn push(&mut self, value: f64, scaler: &ScalerConfig) {
        let window = scaler.window as u64;
        let oldest = (self.seen >= window).then(|| self.at(self.seen - window));
        let place = (self.seen % self.ring.len() as u64) as usize;
        self.ring[place] = value;
        self.seen += 1;
        match (scaler.kind, oldest) {
            (ScalerKind::Window, _) if self.seen.is_multiple_of(window) => self.sum_afresh(window),
            (ScalerKind::Window, Some(oldest)) => {
                let before = self.mean;
                self.mean += (value - oldest) / window as f64;
                self.spread += (value - oldest) * (value - self.mean + oldest - before);
                self.spread = self.spread.max(0.0);
            }
            (ScalerKind::Window | ScalerKind::Prefix, _) => {
                let difference = value - self.mean;
                self.mean += difference / self.seen as f64;
                self.spread += difference * (value - self.mean);
            }
            (ScalerKind::Exponential, _) => {
                let share = (1.0 - (-1.0 / scaler.window as f64).exp()).max(1.0 / self.seen as f64);
                let difference = value - self.mean;
                self.mean += share * difference;
                self.spread = (1.0 - share) * (self.spread + share * difference * difference);
            }
        }
    }

    fn sum_afresh(&mut self, window: u64) {
        let times = || (self.seen - window)..self.seen;
        let mean = times().map(|time| self.at(time)).sum::<f64>() / window as f64;
        self.spread = times().map(|time| (self.at(time) - mean).powi(2)).sum();
        self.mean = mean;
    }

    /// Mean and deviation at this moment.
    pub fn scale(&self, scaler: &ScalerConfig) -> (f64, f64) {
        if self.seen < scaler.warm_up.max(1) as u64 {
            return (self.mean, 1.0);
        }
        let variance = match scaler.kind {
            ScalerKind::Window => self.spread / self.seen.min(scaler.window as u64) as f64,
            ScalerKind::Prefix => self.spread / self.seen as f64,
            ScalerKind::Exponential => self.spread,
        };
        (self.mean, variance.sqrt().max(scaler.floor))
    }

    /// The newest `features.len()` samples, oldest first, scaled by the statistics of this moment; zero (the mean) where there
    /// was no sample yet.
    pub fn features(&self, scaler: &ScalerConfig, features: &mut [f32]) {
        let (mean, deviation) = self.scale(scaler);
        let known = self.seen.min(features.len() as u64);
        let missing = features.len() - known as usize;
        features[..missing].fill(0.0);
        for (feature, time) in features[missing..].iter_mut().zip(self.seen - known..) {
            *feature = ((self.at(time) - mean) / deviation) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences of `f64` sums in another order.
    const TOLERANCE: f64 = 1e-9;

    fn signal(t: usize) -> f64 {
        (t as f64 * 0.37).sin() * 3.0 + (t % 11) as f64
    }

    fn check(kind: ScalerKind, weight: impl Fn(usize) -> f64) {
        let scaler = ScalerConfig { kind, window: 32, floor: 1e-6, warm_up: 2 };
        let mut history = ColumnHistory::new(8, &scaler);
        for t in 0..500 {
            history.push(signal(t), &scaler);
            let total: f64 = (0..=t).map(&weight).sum();
            let mean = (0..=t).map(|age| weight(age) * signal(t - age)).sum::<f64>() / total;
            let variance = (0..=t).map(|age| weight(age) * (signal(t - age) - mean).powi(2)).sum::<f64>() / total;
            let (got_mean, got) = history.scale(&scaler);
            assert!((got_mean - mean).abs() < TOLERANCE, "{kind:?} mean at {t}");
            assert!(t < 2 || (got - variance.sqrt()).abs() < TOLERANCE, "{kind:?} deviation at {t}: {got}");
        }
    }

    #[test]
    fn window_and_prefix_are_what_they_say() {
        check(ScalerKind::Window, |age| if age < 32 { 1.0 } else { 0.0 });
        check(ScalerKind::Prefix, |_| 1.0);
    }

    #[test]
    fn exponential_forgets() {
        let scaler = ScalerConfig { kind: ScalerKind::Exponential, window: 8, ..ScalerConfig::default() };
        let mut history = ColumnHistory::new(8, &scaler);
        (0..200).for_each(|t| history.push(if t < 100 { 50.0 } else { signal(t) }, &scaler));
        let (mean, deviation) = history.scale(&scaler);
        assert!((mean - 5.0).abs() < 4.0 && deviation < 6.0, "{mean} {deviation}");
    }

    #[test]
    fn a_great_step_leaves_no_rounding_behind() {
        let scaler = ScalerConfig { window: 16, warm_up: 1, ..ScalerConfig::default() };
        let mut history = ColumnHistory::new(16, &scaler);
        (0..16).for_each(|_| history.push(1e9, &scaler));
        (0..48).for_each(|t| history.push(signal(t), &scaler));
        let mut fresh = ColumnHistory::new(16, &scaler);
        (32..48).for_each(|t| fresh.push(signal(t), &scaler));
        assert!((history.scale(&scaler).1 - fresh.scale(&scaler).1).abs() < TOLERANCE);
    }

    #[test]
    fn features_start_at_the_mean() {
        let scaler = ScalerConfig::default();
        let mut history = ColumnHistory::new(8, &scaler);
        [3.0, 5.0].into_iter().for_each(|value| history.push(value, &scaler));
        let mut features = [9.0; 4];
        history.features(&scaler, &mut features);
        assert_eq!(features, [0.0, 0.0, -1.0, 1.0]);
    }
}
