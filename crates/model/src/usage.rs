//! Who was chosen how often, in memory that does not grow.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gate mass is counted in steps of 2⁻²⁰, so that sums do not depend on their order and last for 2⁴⁴ samples.
const MASS_UNIT: f64 = (1u64 << 20) as f64;

/// Running counts of one mixture; read and cleared without stopping it.
#[derive(Debug, Default)]
pub struct UsageCounters {
    rows: AtomicU64,
    near_ties: AtomicU64,
    chosen: Vec<AtomicU64>,
    mass: Vec<AtomicU64>,
}

/// What a mixture's experts were used for since the last clearing.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ExpertUsage {
    /// Samples that were routed.
    pub samples: u64,
    /// Samples whose last chosen and first unchosen score lay within 1e-5.
    pub near_ties: u64,
    /// How often each expert was chosen; they add up to `samples · k`.
    pub chosen: Vec<u64>,
    /// Sum of each expert's gate weights; they add up to `samples`.
    pub gate_mass: Vec<f64>,
}

impl ExpertUsage {
    /// Each expert's share of all choices.
    pub fn shares(&self) -> Vec<f64> {
        let total = self.chosen.iter().sum::<u64>().max(1) as f64;
        self.chosen.iter().map(|&count| count as f64 / total).collect()
    }

    /// Coefficient of variation of the choice counts: 0 at perfect balance.
    pub fn coefficient_of_variation(&self) -> f64 {
        let mean = self.chosen.iter().sum::<u64>() as f64 / self.chosen.len().max(1) as f64;
        if mean == 0.0 {
            return 0.0;
        }
        let square = |&count: &u64| (count as f64 - mean).powi(2);
        (self.chosen.iter().map(square).sum::<f64>() / self.chosen.len() as f64).sqrt() / mean
    }
}

impl UsageCounters {
    /// Counters of `experts` experts.
    pub fn new(experts: usize) -> Self {
        let zeros = || (0..experts).map(|_| AtomicU64::new(0)).collect();
        Self { chosen: zeros(), mass: zeros(), ..Self::default() }
    }

    /// Adds the choices of `rows` samples.
    pub fn record(&self, rows: usize, near_ties: u64, choice: &[u32], weights: &[f32]) {
        self.rows.fetch_add(rows as u64, Relaxed);
        self.near_ties.fetch_add(near_ties, Relaxed);
        for (&expert, &weight) in choice.iter().zip(weights) {
            self.chosen[expert as usize].fetch_add(1, Relaxed);
            self.mass[expert as usize].fetch_add((f64::from(weight) * MASS_UNIT).round() as u64, Relaxed);
        }
    }

    /// The counts so far.
    pub fn read(&self) -> ExpertUsage {
        ExpertUsage {
            samples: self.rows.load(Relaxed),
            near_ties: self.near_ties.load(Relaxed),
            chosen: self.chosen.iter().map(|count| count.load(Relaxed)).collect(),
            gate_mass: self.mass.iter().map(|mass| mass.load(Relaxed) as f64 / MASS_UNIT).collect(),
        }
    }

    /// Starts again from zero.
    pub fn clear(&self) {
        self.rows.store(0, Relaxed);
        self.near_ties.store(0, Relaxed);
        self.chosen.iter().chain(&self.mass).for_each(|count| count.store(0, Relaxed));
    }
}
