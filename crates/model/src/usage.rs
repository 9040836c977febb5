//! What a mixture's experts are used for, in memory that does not grow: always on, read without stopping a stream, and cleared apart
//! from its state.

use serde::{Deserialize, Serialize};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Gate mass and entropy are counted in steps of 2⁻²⁰, so that sums do not depend on their order and last for 2⁴⁴ samples.
const UNIT: f64 = (1u64 << 20) as f64;
/// Samples after which the recent counts are folded, at the end of a call: what is looked at column by column is not forgotten so.
const FOLD: u64 = 256;
/// Samples after which half of the recent counts is left.
const HALF: f64 = 1024.0;
/// Upper edges of the margin histogram's bins but the last.
pub const MARGINS: [f32; 9] = [1e-5, 1e-4, 1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0];
/// Bins of the run lengths: 1, 2-3, 4-7, 8-15, …, and the last for all that is longer.
const RUNS: usize = 16;

/// Running counts of one mixture.
#[derive(Debug, Default)]
pub struct UsageCounters {
    rows: AtomicU64,
    /// Of them, those that the recent counts have.
    folded: AtomicU64,
    near_ties: AtomicU64,
    entropy: AtomicU64,
    switches: AtomicU64,
    margins: [AtomicU64; MARGINS.len() + 1],
    runs: [AtomicU64; RUNS],
    experts: Vec<Expert>,
    /// `[from][to]`, between the leading experts of a stream's neighbouring samples.
    transitions: Vec<AtomicU64>,
}

/// Counts of one expert, and those of the recent past as `f64` bits with the totals they were folded at.
#[derive(Debug, Default)]
struct Expert {
    chosen: AtomicU64,
    mass: AtomicU64,
    recent: [AtomicU64; 2],
    folded: [AtomicU64; 2],
}

impl Expert {
    fn totals(&self) -> [u64; 2] {
        [self.chosen.load(Relaxed), self.mass.load(Relaxed)]
    }

    fn fold(&self, left: f64) {
        for ((recent, folded), total) in self.recent.iter().zip(&self.folded).zip(self.totals()) {
            let new = total.saturating_sub(folded.swap(total, Relaxed)) as f64;
            recent.store((f64::from_bits(recent.load(Relaxed)) * left + new).to_bits(), Relaxed);
        }
    }

    fn read_recent(&self) -> [f64; 2] {
        let totals = self.totals();
        let one = |i: usize| {
            f64::from_bits(self.recent[i].load(Relaxed)) + totals[i].saturating_sub(self.folded[i].load(Relaxed)) as f64
        };
        [one(0), one(1)]
    }

    fn clear(&self) {
        self.chosen.store(0, Relaxed);
        self.mass.store(0, Relaxed);
        self.recent.iter().chain(&self.folded).for_each(|count| count.store(0, Relaxed));
    }
}

/// One routed sample, as [`UsageCounters::record`] takes it.
#[derive(Clone, Copy, Debug)]
pub struct RoutedSample<'a> {
    /// The experts.
    pub choice_k: &'a [u32],
    /// Their gate weights.
    pub weights_k: &'a [f32],
    /// Distance of the last chosen from the best not chosen, in what was compared; infinite where all are chosen.
    pub margin: f32,
    /// The expert with the largest weight.
    pub leader: usize,
    /// That of the stream's sample before, and how many samples it had led for.
    pub before: Option<(usize, u64)>,
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
    /// Sum of each expert's gate weights; they add up to `samples` where a gate's weights sum to one.
    pub gate_mass: Vec<f64>,
    /// As `chosen`, forgetting by half every 1,024 samples.
    pub recent_chosen: Vec<f64>,
    /// As `gate_mass`, likewise.
    pub recent_gate_mass: Vec<f64>,
    /// Mean entropy of the chosen weights, in nats.
    pub entropy: f64,
    /// Samples by the margin of their choice; upper edges in [`MARGINS`], the last bin without one.
    pub margins: Vec<u64>,
    /// Samples whose leading expert was not that of the stream's sample before.
    pub switches: u64,
    /// Ended runs of one leading expert, by length: 1, 2-3, 4-7, …
    pub run_lengths: Vec<u64>,
    /// Leading experts of neighbouring samples of a stream, `[from][to]`.
    pub transitions: Vec<Vec<u64>>,
}

impl ExpertUsage {
    /// Each expert's share of all choices.
    pub fn shares(&self) -> Vec<f64> {
        let total = self.chosen.iter().sum::<u64>().max(1) as f64;
        self.chosen.iter().map(|&count| count as f64 / total).collect()
    }

    /// Coefficient of variation of the choice counts: 0 at perfect balance. Times `load_balance_coeff` it is the number that some crates
    /// call a balance loss; it has no gradient, so here it is a statistic.
    pub fn coefficient_of_variation(&self) -> f64 {
        let counts: Vec<f64> = self.chosen.iter().map(|&count| count as f64).collect();
        if self.chosen.iter().all(|&count| count == 0) {
            0.0
        } else {
            foretoken_kernels::balance::squared_variation(&counts).sqrt()
        }
    }

    /// (largest load − mean load) / mean load: 0 at perfect balance (DeepSeek, arXiv:2408.15664).
    pub fn max_violation(&self) -> f64 {
        let mean = self.chosen.iter().sum::<u64>() as f64 / self.chosen.len().max(1) as f64;
        if mean == 0.0 { 0.0 } else { (self.chosen.iter().copied().max().unwrap_or(0) as f64 - mean) / mean }
    }

    /// Experts that get less than a hundredth of an even share.
    pub fn dead_experts(&self) -> Vec<usize> {
        let even = self.chosen.iter().sum::<u64>() as f64 / self.chosen.len().max(1) as f64;
        (0..self.chosen.len()).filter(|&expert| (self.chosen[expert] as f64) < 0.01 * even).collect()
    }

    /// Share of the samples at which a stream's leading expert changed.
    pub fn switch_rate(&self) -> f64 {
        self.switches as f64 / self.transitions.iter().flatten().sum::<u64>().max(1) as f64
    }
}

impl UsageCounters {
    /// Counters of `experts` experts.
    pub fn new(experts: usize) -> Self {
        Self {
            experts: (0..experts).map(|_| Expert::default()).collect(),
            transitions: (0..experts * experts).map(|_| AtomicU64::new(0)).collect(),
            ..Self::default()
        }
    }

    /// Adds one sample.
    pub fn record(&self, sample: &RoutedSample<'_>) {
        self.rows.fetch_add(1, Relaxed);
        if sample.margin < foretoken_kernels::router::NEAR_TIE {
            self.near_ties.fetch_add(1, Relaxed);
        }
        let bin = MARGINS.iter().position(|edge| sample.margin < *edge).unwrap_or(MARGINS.len());
        self.margins[bin].fetch_add(1, Relaxed);
        let total: f32 = sample.weights_k.iter().sum();
        let mut entropy = 0.0;
        for (&expert, &weight) in sample.choice_k.iter().zip(sample.weights_k) {
            let own = &self.experts[expert as usize];
            own.chosen.fetch_add(1, Relaxed);
            own.mass.fetch_add((f64::from(weight) * UNIT).round() as u64, Relaxed);
            let share = f64::from(weight / total);
            if share > 0.0 && share < 1.0 {
                entropy -= share * share.ln();
            }
        }
        self.entropy.fetch_add((entropy * UNIT).round() as u64, Relaxed);
        if let Some((before, led)) = sample.before {
            self.transitions[before * self.experts.len() + sample.leader].fetch_add(1, Relaxed);
            if before != sample.leader {
                self.switches.fetch_add(1, Relaxed);
                self.runs[(led.max(1).ilog2() as usize).min(RUNS - 1)].fetch_add(1, Relaxed);
            }
        }
    }

    /// After the samples of a call.
    pub fn settle(&self) {
        let (rows, folded) = (self.rows.load(Relaxed), self.folded.load(Relaxed));
        let new = rows.saturating_sub(folded);
        // Of threads that come at once one folds.
        if new >= FOLD && self.folded.compare_exchange(folded, rows, Relaxed, Relaxed).is_ok() {
            let left = 0.5f64.powf(new as f64 / HALF);
            self.experts.iter().for_each(|expert| expert.fold(left));
        }
    }

    /// The counts so far.
    pub fn read(&self) -> ExpertUsage {
        let counts = |counts: &[AtomicU64]| counts.iter().map(|count| count.load(Relaxed)).collect::<Vec<_>>();
        let samples = self.rows.load(Relaxed);
        ExpertUsage {
            samples,
            near_ties: self.near_ties.load(Relaxed),
            chosen: self.experts.iter().map(|expert| expert.totals()[0]).collect(),
            gate_mass: self.experts.iter().map(|expert| expert.totals()[1] as f64 / UNIT).collect(),
            recent_chosen: self.experts.iter().map(|expert| expert.read_recent()[0]).collect(),
            recent_gate_mass: self.experts.iter().map(|expert| expert.read_recent()[1] / UNIT).collect(),
            entropy: self.entropy.load(Relaxed) as f64 / UNIT / samples.max(1) as f64,
            margins: counts(&self.margins),
            switches: self.switches.load(Relaxed),
            run_lengths: counts(&self.runs),
            transitions: self.transitions.chunks(self.experts.len().max(1)).map(counts).collect(),
        }
    }

    /// Starts again from zero.
    pub fn clear(&self) {
        let own = [&self.rows, &self.folded, &self.near_ties, &self.entropy, &self.switches];
        let all = own.into_iter().chain(&self.margins).chain(&self.runs).chain(&self.transitions);
        all.for_each(|count| count.store(0, Relaxed));
        self.experts.iter().for_each(Expert::clear);
    }
}
