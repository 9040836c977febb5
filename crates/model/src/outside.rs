//! Mixtures of whole predictors, a user's own types among them: boxed, frozen, each hearing every sample.
//!
//! ```text
//! forecast_t = Σ_i w_i·forecast_i,t        each of `horizon` samples of `width` values
//! loss_i,t   = mean over j = 1..horizon of (x_t − what i said j samples ago of j samples ahead)²
//! ```
//! An error at step j is used j samples later and no sooner (no leak). A member that fails ends the step with an error that names it; those before it
//! have heard the sample, so nothing more is taken until a reset. Two ways to weigh, two types: [`FixedShare`] learns online, without
//! training; [`GatedPredictors`] has a gate that is trained beforehand (`foretoken_train::fit_gate`) and reads each predictor's recent losses.

use crate::{ModelError, predictor::SignalPredictor};
use foretoken_kernels::router;
use serde::{Deserialize, Serialize};

/// A predictor that can join.
pub type Member = Box<dyn SignalPredictor + Send>;

/// Predictors that hear the same signal, their pending forecasts, and what they were worth at the newest sample.
struct Council {
    members: Vec<Member>,
    width: usize,
    horizon: usize,
    /// The last `horizon` forecasts of all members, `[slot][member][step][value]`.
    ring: Vec<f32>,
    heard: u64,
    losses: Vec<f64>,
    broken: bool,
}

impl Council {
    fn new(members: Vec<Member>, width: usize, horizon: usize) -> Result<Self, ModelError> {
        crate::weights::positive("members", members.len())?;
        crate::weights::positive("width", width)?;
        crate::weights::positive("horizon", horizon)?;
        let (ring, losses) = (vec![0.0; horizon * members.len() * horizon * width], vec![0.0; members.len()]);
        Ok(Self { members, width, horizon, ring, heard: 0, losses, broken: false })
    }

    fn len(&self) -> usize {
        self.horizon * self.width
    }

    /// A member's forecast of `back` samples ago.
    fn said(&self, back: u64, member: usize) -> &[f32] {
        let slot = ((self.heard - 1 - back) % self.horizon as u64) as usize;
        &self.ring[(slot * self.members.len() + member) * self.len()..][..self.len()]
    }

    /// Holds what was said against `x`, then lets every member hear it; false if nothing was pending.
    fn hear(&mut self, x: &[f32]) -> Result<bool, ModelError> {
        if x.len() != self.width {
            return Err(ModelError::Width { what: "sample", expected: self.width, found: x.len() });
        }
        if let Some(place) = x.iter().position(|value| !value.is_finite()) {
            return Err(ModelError::Sample { column: place.to_string(), found: f64::from(x[place]) });
        }
        if self.broken {
            return Err(ModelError::config("members", "reset after the error that ended them", "a sample"));
        }
        let pending = self.heard.min(self.horizon as u64);
        for member in 0..self.members.len() {
            let square = |j: u64| {
                let said = &self.said(j, member)[j as usize * self.width..][..self.width];
                said.iter().zip(x).map(|(said, x)| (f64::from(*said) - f64::from(*x)).powi(2)).sum::<f64>() / self.width as f64
            };
            let loss = (0..pending).map(square).sum::<f64>() / pending.max(1) as f64;
            self.losses[member] = loss;
        }
        let len = self.len();
        self.broken = true;
        let slot = (self.heard % self.horizon as u64) as usize;
        for (member, predictor) in self.members.iter_mut().enumerate() {
            let problem =
                |expected: String, found: String| ModelError::Config { field: format!("member {member}"), expected, found };
            let said = predictor.step(x).map_err(|error| problem("a forecast".into(), error.to_string()))?;
            if said.len() != len || !said.iter().all(|value| value.is_finite()) {
                let found = if said.len() == len { "NaN or infinity".to_string() } else { format!("{} values", said.len()) };
                return Err(problem(format!("{len} finite values (horizon × width)"), found));
            }
            self.ring[(slot * self.losses.len() + member) * len..][..len].copy_from_slice(&said);
        }
        self.broken = false;
        self.heard += 1;
        Ok(pending > 0)
    }

    /// The weighted sum of the newest forecasts.
    fn combine(&self, weights: impl Iterator<Item = f32>) -> Vec<f32> {
        let mut forecast = vec![0.0; self.len()];
        for (member, weight) in weights.enumerate() {
            forecast.iter_mut().zip(self.said(0, member)).for_each(|(total, said)| *total += weight * said);
        }
        forecast
    }

    fn reset(&mut self) {
        self.members.iter_mut().for_each(|member| member.reset());
        self.ring.fill(0.0);
        self.losses.fill(0.0);
        (self.heard, self.broken) = (0, false);
    }
}

/// Options of [`FixedShare`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FixedShareConfig {
    /// Learning rate η, in units of the members' mean loss.
    pub rate: f64,
    /// Share α of the weight that is dealt out evenly at every sample: the probability that another member becomes the best one.
    pub share: f64,
}

impl Default for FixedShareConfig {
    fn default() -> Self {
        Self { rate: 0.5, share: 0.01 }
    }
}

/// Predictors weighted online by fixed share (Herbster & Warmuth 1998) on their delayed losses.
///
/// ```text
/// w_i ← (1 − α)·w_i·exp(−η·loss_i/scale)/Σ + α/E,     scale: the running mean of the members' mean loss
/// ```
pub struct FixedShare {
    council: Council,
    config: FixedShareConfig,
    weights: Vec<f64>,
    scale: f64,
    scored: u64,
}

impl FixedShare {
    /// A mixture of these predictors, each of which forecasts `horizon` samples of `width` values, `[step][value]`.
    ///
    /// # Errors
    /// No predictors, a width or horizon of zero, or options out of range.
    pub fn new(members: Vec<Member>, width: usize, horizon: usize, config: FixedShareConfig) -> Result<Self, ModelError> {
        if !(config.rate.is_finite() && config.rate > 0.0) {
            return Err(ModelError::config("rate", "a finite number > 0", config.rate));
        }
        // Without a share a weight could vanish for good.
        if !(config.share > 0.0 && config.share < 1.0) {
            return Err(ModelError::config("share", "0 < share < 1", config.share));
        }
        let even = vec![1.0 / members.len().max(1) as f64; members.len()];
        Ok(Self { council: Council::new(members, width, horizon)?, config, weights: even, scale: 0.0, scored: 0 })
    }

    /// Each predictor's weight; they sum to one.
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    /// Each predictor's loss at the newest sample.
    pub fn losses(&self) -> &[f64] {
        &self.council.losses
    }
}

impl SignalPredictor for FixedShare {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        if self.council.hear(x)? {
            let count = self.weights.len() as f64;
            self.scored += 1;
            let mean = self.council.losses.iter().sum::<f64>() / count;
            // A mean over all samples at first, over the last thousand or so later.
            self.scale += (mean - self.scale) / self.scored.min(1000) as f64;
            if self.scale > 0.0 {
                let least = self.council.losses.iter().copied().fold(f64::INFINITY, f64::min);
                for (weight, loss) in self.weights.iter_mut().zip(&self.council.losses) {
                    *weight *= (-self.config.rate * (loss - least) / self.scale).exp();
                }
                let total: f64 = self.weights.iter().sum();
                for weight in &mut self.weights {
                    *weight = (1.0 - self.config.share) * *weight / total + self.config.share / count;
                }
            }
        }
        Ok(self.council.combine(self.weights.iter().map(|&weight| weight as f32)))
    }

    fn reset(&mut self) {
        self.council.reset();
        let even = 1.0 / self.weights.len() as f64;
        self.weights.fill(even);
        (self.scale, self.scored) = (0.0, 0);
    }

    fn context_window(&self) -> Option<usize> {
        None
    }
}

/// Memories of the recent losses that a gate reads, in samples.
const MEMORIES: [f64; 2] = [8.0, 64.0];
/// Keeps the logarithm of a perfect record finite.
const TINY: f64 = 1e-12;

/// Predictors under a trained gate.
///
/// ```text
/// features  = 1, and for two memories m and each predictor i: ln(recent loss)_i,m less its mean over the predictors
/// w         = softmax(features·gate)
/// ```
/// The features do not know the signal's unit. Untrained, the gate is zero and all weigh the same.
pub struct GatedPredictors {
    council: Council,
    gate_fe: Vec<f32>,
    recent: Vec<f64>,
    features_f: Vec<f32>,
    weights_e: Vec<f32>,
}

impl GatedPredictors {
    /// A mixture of these predictors, each of which forecasts `horizon` samples of `width` values, with an untrained gate.
    ///
    /// # Errors
    /// No predictors, or a width or horizon of zero.
    pub fn new(members: Vec<Member>, width: usize, horizon: usize) -> Result<Self, ModelError> {
        let count = members.len();
        let features = 1 + MEMORIES.len() * count;
        Ok(Self {
            council: Council::new(members, width, horizon)?,
            gate_fe: vec![0.0; features * count],
            recent: vec![0.0; MEMORIES.len() * count],
            features_f: vec![0.0; features],
            weights_e: vec![1.0 / count as f32; count],
        })
    }

    /// The gate, `[feature][predictor]`.
    pub fn gate(&self) -> &[f32] {
        &self.gate_fe
    }

    /// Sets the gate.
    ///
    /// # Errors
    /// Another number of values, or one that is not finite.
    pub fn set_gate(&mut self, gate_fe: Vec<f32>) -> Result<(), ModelError> {
        if gate_fe.len() != self.gate_fe.len() {
            return Err(ModelError::Width { what: "gate", expected: self.gate_fe.len(), found: gate_fe.len() });
        }
        if let Some(value) = gate_fe.iter().find(|value| !value.is_finite()) {
            return Err(ModelError::config("gate", "finite values", value));
        }
        self.gate_fe = gate_fe;
        Ok(())
    }

    /// What the gate read at the newest sample.
    pub fn features(&self) -> &[f32] {
        &self.features_f
    }

    /// Each predictor's weight; they sum to one.
    pub fn weights(&self) -> &[f32] {
        &self.weights_e
    }

    /// What each predictor said at the newest sample, `[step][value]`.
    ///
    /// # Panics
    /// Before the first sample.
    pub fn said(&self, member: usize) -> &[f32] {
        assert!(self.council.heard > 0, "nothing was said yet");
        self.council.said(0, member)
    }

    /// Values a sample, and samples ahead.
    pub fn shape(&self) -> (usize, usize) {
        (self.council.width, self.council.horizon)
    }
}

impl SignalPredictor for GatedPredictors {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        let scored = self.council.hear(x)?;
        let count = self.weights_e.len();
        self.features_f.fill(0.0);
        self.features_f[0] = 1.0;
        if scored {
            for (m, memory) in MEMORIES.into_iter().enumerate() {
                let recent = &mut self.recent[m * count..][..count];
                let newness = 1.0 / memory.min((self.council.heard - 1) as f64);
                recent.iter_mut().zip(&self.council.losses).for_each(|(recent, loss)| *recent += newness * (loss - *recent));
                let logarithm = |recent: &f64| (recent + TINY).ln();
                let mean = recent.iter().map(logarithm).sum::<f64>() / count as f64;
                let features = &mut self.features_f[1 + m * count..][..count];
                features.iter_mut().zip(&*recent).for_each(|(feature, recent)| *feature = (logarithm(recent) - mean) as f32);
            }
        }
        let mut scores = vec![0.0; count];
        for (feature, row) in self.features_f.iter().zip(self.gate_fe.chunks_exact(count)) {
            scores.iter_mut().zip(row).for_each(|(score, weight)| *score += feature * weight);
        }
        router::softmax(&scores, count, &mut self.weights_e);
        Ok(self.council.combine(self.weights_e.iter().copied()))
    }

    fn reset(&mut self) {
        self.council.reset();
        self.recent.fill(0.0);
        self.features_f.fill(0.0);
        let even = 1.0 / self.weights_e.len() as f32;
        self.weights_e.fill(even);
    }

    fn context_window(&self) -> Option<usize> {
        None
    }
}
