//! The causal scaler: mean and deviation of what one column has shown so far, kept as a state like any other.
//!
//! ```text
//! window        mean and variance of the last `window` samples
//! prefix        of all samples (Welford 1962)
//! exponential   of all samples, weighted by exp(−age/window)
//! ```
//! Everything is `f64` and updated by differences, never as a mean of squares less a squared mean. The window form is summed afresh from its ring every
//! `window` samples, so rounding does not gather over years. A forecast is de-normalised with the statistics at its origin.
//!
//! A missing sample counts as time, not as a value: it is in no statistic, and whoever looks back sees the sample before it in its place, or asks for what
//! seasons and the samples around it tell.

use crate::{ModelError, jumps::Lift, weights::positive};
use foretoken_kernels::missing::{Gap, SEASONS};
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

/// Smallest floor: below it the square of the largest sample over it is no `f32` any more.
const SMALLEST_FLOOR: f64 = 1e-6;

/// How far one column's outlier may reach into the others, in deviations.
pub const LARGEST_SHOWN: f32 = 8.0;

impl ScalerConfig {
    /// Checks the options.
    ///
    /// # Errors
    /// The option that cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        positive("window", self.window)?;
        if self.floor.is_finite() && self.floor >= SMALLEST_FLOOR {
            Ok(())
        } else {
            Err(ModelError::config("floor", format!("a number of at least {SMALLEST_FLOOR}"), self.floor))
        }
    }
}

/// The last samples of one column, oldest first on demand, with its running statistics.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ColumnHistory {
    ring: Vec<f64>,
    /// Which samples of the ring were missing; their places hold the samples before them.
    missing: Vec<bool>,
    /// Samples that were missing before the first that was there.
    late: u64,
    /// Samples since the first that was there, missing ones too.
    seen: u64,
    /// Samples in the statistics.
    counted: u64,
    /// Missing samples since the newest that was there.
    missed: u64,
    mean: f64,
    /// Sum of squared differences from the mean, or the variance itself for the exponential form.
    spread: f64,
    /// Mean of all samples; a missing one is the one before it.
    level: f64,
    #[serde(skip)]
    stands: Stands,
}

/// The ring with what stands for its missing samples; empty where nobody asks for it.
#[derive(Clone, Debug, Default)]
struct Stands {
    season: usize,
    ring: Vec<f64>,
}

/// They follow from the rest.
impl PartialEq for Stands {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl ColumnHistory {
    /// An empty history that remembers `capacity` samples; at least the scaler's window.
    pub fn new(capacity: usize, scaler: &ScalerConfig) -> Self {
        let len = capacity.max(scaler.window);
        Self {
            ring: vec![0.0; len],
            missing: vec![false; len],
            late: 0,
            seen: 0,
            counted: 0,
            missed: 0,
            mean: 0.0,
            spread: 0.0,
            level: 0.0,
            stands: Stands::default(),
        }
    }

    /// One that knows what stands for missing samples, by a season.
    #[must_use]
    pub fn standing_in(mut self, season: Option<usize>) -> Self {
        self.stands = season.map_or_else(Stands::default, |season| Stands { season, ring: self.ring.clone() });
        self.stand_again();
        self
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.ring.fill(0.0);
        self.stands.ring.fill(0.0);
        self.missing.fill(false);
        (self.late, self.seen, self.counted, self.missed) = (0, 0, 0, 0);
        (self.mean, self.spread, self.level) = (0.0, 0.0, 0.0);
    }

    /// Samples since the first that was there, missing ones too.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// All samples taken, those before the first that was there too.
    pub fn taken(&self) -> u64 {
        self.late.saturating_add(self.seen)
    }

    /// Missing samples since the newest that was there.
    pub fn missed(&self) -> u64 {
        self.missed
    }

    /// Share of the `len` newest samples that was missing; those before the first that was there are.
    pub fn missing(&self, len: usize) -> f64 {
        let known = self.seen.min(len as u64);
        let there = (self.seen - known..self.seen).filter(|&time| !self.missing[self.place(time)]).count();
        1.0 - there as f64 / len.max(1) as f64
    }

    /// Mean of all samples; a missing one counts as the one before it.
    pub fn level(&self) -> f64 {
        self.level
    }

    /// How many samples the history remembers.
    pub fn capacity(&self) -> usize {
        self.ring.len()
    }

    /// Whether this is a history that could have come about; a snapshot from outside may not be.
    pub fn is_sound(&self, scaler: &ScalerConfig) -> bool {
        let len = self.ring.len() as u64;
        let finite = self.level.is_finite() && self.mean.is_finite() && self.spread.is_finite() && self.spread >= 0.0;
        if !finite || self.missing.len() as u64 != len || !self.ring.iter().all(|value| value.is_finite()) {
            return false;
        }
        // What the ring still shows has to be what was counted.
        let known = self.seen.min(len);
        let newest_first = || (0..known).map(|age| self.missing[self.place(self.seen - 1 - age)]);
        let run = newest_first().take_while(|missing| *missing).count() as u64;
        let missed = if run < known { self.missed == run } else { (run..=self.seen).contains(&self.missed) };
        let window = newest_first().take(scaler.window).filter(|missing| !missing).count() as u64;
        let counted =
            if scaler.kind == ScalerKind::Window { self.counted == window } else { (window..=self.seen).contains(&self.counted) };
        missed && counted
    }

    /// The `len` newest samples, oldest first: those up to the ring's end, then those from its beginning on. `None` before there are so many.
    pub fn newest(&self, len: usize) -> Option<[&[f64]; 2]> {
        self.newest_of(&self.ring, len)
    }

    /// The same as [`newest`](Self::newest), but where it knows of a season something stands for the missing samples ([`Gap::stand_in`]). Where the one before is more than
    /// [`SEASONS`] ago, and for those older than the ring less as many, it is that.
    pub fn filled(&self, len: usize) -> Option<[&[f64]; 2]> {
        self.newest_of(if self.stands.ring.is_empty() { &self.ring } else { &self.stands.ring }, len)
    }

    fn newest_of<'a>(&self, ring: &'a [f64], len: usize) -> Option<[&'a [f64]; 2]> {
        assert!(len <= ring.len(), "a history of {} cannot give {len}", ring.len());
        if self.seen < len as u64 || len == 0 {
            return (len == 0).then_some([&[]; 2]);
        }
        let first = self.place(self.seen - len as u64);
        let (begun, old) = ring.split_at(first);
        let old = &old[..len.min(old.len())];
        Some([old, &begun[..len - old.len()]])
    }

    /// The first sample for which all that stands for it is within the ring.
    fn first_filled(&self) -> u64 {
        let reach = SEASONS.saturating_mul(self.stands.season);
        self.seen.saturating_sub(self.ring.len().saturating_sub(reach) as u64)
    }

    /// What stands for the samples of a gap from one on, as far as it is filled.
    fn stand(&mut self, from: u64, gap: Gap) {
        let last = gap.after.map_or(self.seen, |after| after as u64).min((gap.before + SEASONS * self.stands.season) as u64 + 1);
        for time in from.max(self.first_filled())..last {
            let there = |time: usize| if self.missing[self.place(time as u64)] { f64::NAN } else { self.at(time as u64) };
            let value = gap.stand_in(time as usize, self.stands.season, there);
            let place = self.place(time);
            self.stands.ring[place] = value;
        }
    }

    /// All that stands for missing samples anew.
    fn stand_again(&mut self) {
        if self.stands.ring.is_empty() {
            return;
        }
        self.stands.ring.clone_from(&self.ring);
        let mut before: Option<u64> = None;
        for time in self.seen.saturating_sub(self.ring.len() as u64)..=self.seen {
            if time < self.seen && self.missing[self.place(time)] {
                continue;
            }
            if let Some(before) = before.filter(|before| time - before > 1) {
                let after = (time < self.seen).then_some(time as usize);
                self.stand(before + 1, Gap { before: before as usize, after });
            }
            before = Some(time);
        }
    }

    fn place(&self, time: u64) -> usize {
        (time % self.ring.len() as u64) as usize
    }

    fn at(&self, time: u64) -> f64 {
        self.ring[self.place(time)]
    }

    /// Takes one sample; NaN is a missing one. Those before the first that is there are only counted.
    pub fn push(&mut self, value: f64, scaler: &ScalerConfig) {
        let there = !value.is_nan();
        if !there && self.seen == 0 {
            self.late += 1;
            return;
        }
        let before = self.missed;
        self.missed = if there { 0 } else { before + 1 };
        let stored = if there { value } else { self.at(self.seen - 1) };
        self.level += (stored - self.level) / (self.seen + 1) as f64;
        let (window, place) = (scaler.window as u64, self.place(self.seen));
        let leaving = self.seen.checked_sub(window).filter(|&oldest| !self.missing[self.place(oldest)]);
        let oldest = leaving.map(|oldest| self.at(oldest));
        (self.ring[place], self.missing[place]) = (stored, !there);
        self.seen += 1;
        if let Some(stands) = self.stands.ring.get_mut(place) {
            *stands = stored;
            let time = self.seen as usize - 1;
            let (missed, after) = if there { (before, Some(time)) } else { (self.missed, None) };
            let before = time.checked_sub(missed as usize + usize::from(there)).filter(|_| missed > 0);
            if let Some(before) = before {
                self.stand(if there { before as u64 + 1 } else { time as u64 }, Gap { before, after });
            }
        }
        match scaler.kind {
            ScalerKind::Window if self.seen.is_multiple_of(window) => self.sum_afresh(window),
            ScalerKind::Window => match (oldest, there) {
                (Some(oldest), true) => {
                    let before = self.mean;
                    self.mean += (value - oldest) / self.counted as f64;
                    self.spread += (value - oldest) * (value - self.mean + oldest - before);
                    self.spread = self.spread.max(0.0);
                }
                (Some(oldest), false) => self.drop_out(oldest),
                (None, true) => self.count_in(value),
                (None, false) => {}
            },
            _ if !there => {}
            ScalerKind::Prefix => self.count_in(value),
            ScalerKind::Exponential => {
                self.counted += 1;
                let share = (1.0 - (-1.0 / scaler.window as f64).exp()).max(1.0 / self.counted as f64);
                let difference = value - self.mean;
                self.mean += share * difference;
                self.spread = (1.0 - share) * (self.spread + share * difference * difference);
            }
        }
    }

    /// Lifts the samples before one as if they had been taken so, but none out of `within` that lies there; the statistics of a window follow.
    pub(crate) fn lift(&mut self, Lift { before, by }: Lift, within: (f64, f64), scaler: &ScalerConfig) {
        let before = before.min(self.seen);
        for time in self.seen.saturating_sub(self.ring.len() as u64)..before {
            let place = self.place(time);
            let sample = self.ring[place];
            let lifted = sample + by;
            self.ring[place] = if (within.0..=within.1).contains(&sample) { lifted.clamp(within.0, within.1) } else { lifted };
        }
        self.level += by * before as f64 / self.seen.max(1) as f64;
        self.sum_afresh(scaler.window as u64);
        self.stand_again();
    }

    fn count_in(&mut self, value: f64) {
        self.counted += 1;
        let difference = value - self.mean;
        self.mean += difference / self.counted as f64;
        // The first after an empty window is its mean, to a rounding.
        self.spread = (self.spread + difference * (value - self.mean)).max(0.0);
    }

    /// A window that empties keeps its last mean.
    fn drop_out(&mut self, value: f64) {
        self.counted -= 1;
        if self.counted == 0 {
            self.spread = 0.0;
            return;
        }
        let difference = value - self.mean;
        self.mean -= difference / self.counted as f64;
        self.spread = (self.spread - difference * (value - self.mean)).max(0.0);
    }

    fn sum_afresh(&mut self, window: u64) {
        let there = || {
            (self.seen.saturating_sub(window)..self.seen)
                .filter(|&time| !self.missing[self.place(time)])
                .map(|time| self.at(time))
        };
        let counted = there().count();
        if counted > 0 {
            let mean = there().sum::<f64>() / counted as f64;
            (self.spread, self.mean) = (there().map(|value| (value - mean).powi(2)).sum(), mean);
        }
        self.counted = counted as u64;
    }

    /// Mean and deviation at this moment.
    pub fn scale(&self, scaler: &ScalerConfig) -> (f64, f64) {
        if self.seen < scaler.warm_up.max(1) as u64 || self.counted == 0 {
            return (self.mean, 1.0);
        }
        let variance = match scaler.kind {
            ScalerKind::Window | ScalerKind::Prefix => self.spread / self.counted as f64,
            ScalerKind::Exponential => self.spread,
        };
        (self.mean, variance.sqrt().max(scaler.floor))
    }

    /// The newest sample, scaled by the statistics of this moment and cut at ±[`LARGEST_SHOWN`]; zero (the mean) before the first.
    pub fn shown(&self, scaler: &ScalerConfig) -> f32 {
        if self.seen == 0 {
            return 0.0;
        }
        let (mean, deviation) = self.scale(scaler);
        (((self.at(self.seen - 1) - mean) / deviation) as f32).clamp(-LARGEST_SHOWN, LARGEST_SHOWN)
    }

    /// The newest `deviations.len()` samples, cut at ±[`LARGEST_SHOWN`], less their mean, which is returned, oldest first; zero before there are so many.
    pub fn deviations(&self, deviations: &mut [f32]) -> f64 {
        let Some(samples) = self.newest(deviations.len()) else {
            deviations.fill(0.0);
            return 0.0;
        };
        let largest = f64::from(LARGEST_SHOWN);
        let samples = || samples.into_iter().flatten().map(|sample| sample.clamp(-largest, largest));
        let mean = samples().sum::<f64>() / deviations.len() as f64;
        deviations.iter_mut().zip(samples()).for_each(|(deviation, sample)| *deviation = (sample - mean) as f32);
        mean
    }

    /// The newest `features.len()` samples, oldest first, scaled by the statistics of this moment; zero (the mean) where there
    /// was no sample yet.
    pub fn features(&self, scaler: &ScalerConfig, features: &mut [f32]) {
        let (mean, deviation) = self.scale(scaler);
        let known = self.seen.min(features.len() as u64) as usize;
        let (missing, features) = features.split_at_mut(features.len() - known);
        missing.fill(0.0);
        let [old, new] = self.newest(known).expect("so many were seen");
        let (to_old, to_new) = features.split_at_mut(known.min(old.len()));
        for (features, samples) in [(to_old, old), (to_new, new)] {
            features.iter_mut().zip(samples).for_each(|(feature, at)| *feature = ((at - mean) / deviation) as f32);
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
    fn missing_samples_are_in_no_statistic() {
        let there = |t: usize| !(t % 5 == 3 || (60..110).contains(&t));
        for kind in [ScalerKind::Window, ScalerKind::Prefix, ScalerKind::Exponential] {
            let scaler = ScalerConfig { kind, window: 32, floor: 1e-6, warm_up: 2 };
            let (mut history, mut dense) = (ColumnHistory::new(8, &scaler), ColumnHistory::new(8, &scaler));
            history.push(f64::NAN, &scaler);
            assert_eq!(history.seen(), 0, "nothing has begun");
            for t in 0..500 {
                history.push(if there(t) { signal(t) } else { f64::NAN }, &scaler);
                let span = if kind == ScalerKind::Window { t.saturating_sub(31)..=t } else { 0..=t };
                let values: Vec<f64> = span.filter(|&t| there(t)).map(signal).collect();
                if kind == ScalerKind::Exponential {
                    if there(t) {
                        dense.push(signal(t), &scaler);
                    }
                    assert_eq!((history.mean, history.spread), (dense.mean, dense.spread), "{t}");
                } else if values.len() > 1 && t > 2 {
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / values.len() as f64;
                    let (got_mean, got) = history.scale(&scaler);
                    assert!((got_mean - mean).abs() < TOLERANCE && (got - variance.sqrt()).abs() < 1e-6, "{kind:?} at {t}");
                }
            }
            assert!(history.is_sound(&scaler));
            for bad in [
                ColumnHistory { counted: 0, ..history.clone() },
                ColumnHistory { missed: 3, ..history.clone() },
                ColumnHistory { spread: f64::NAN, ..history.clone() },
            ] {
                assert!(!bad.is_sound(&scaler), "{bad:?}");
            }
            let filled: Vec<f64> = history.newest(4).expect("four").concat();
            assert_eq!(filled, [signal(496), signal(497), signal(497), signal(499)]);
            assert_eq!((history.missing(4), history.missed()), (0.25, 0));
        }
    }

    #[test]
    fn what_stands_for_missing_samples_is_what_all_samples_so_far_tell() {
        let scaler = ScalerConfig { window: 8, ..ScalerConfig::default() };
        let there = |t: usize| !(t % 5 == 3 || (60..75).contains(&t) || (120..180).contains(&t) || t == 2);
        let mut history = ColumnHistory::new(24 + 7 * SEASONS, &scaler).standing_in(Some(7));
        for now in 1..260 {
            history.push(if there(now - 1) { signal(now - 1) } else { f64::NAN }, &scaler);
            let len = 24.min(now);
            let at = |t: usize| if there(t) { signal(t) } else { f64::NAN };
            let expected = (now - len..now).map(|t| {
                let before = (0..=t).rev().find(|&t| there(t)).expect("the first is there");
                match t - before {
                    0 => signal(t),
                    since if since > 7 * SEASONS => signal(before),
                    _ => Gap { before, after: (t..now).find(|&t| there(t)) }.stand_in(t, 7, at),
                }
            });
            let expected: Vec<f64> = expected.collect();
            assert_eq!(history.filled(len).expect("so many").concat(), expected, "{now}");
            let again = history.clone().standing_in(Some(7));
            assert_eq!(again.filled(len).expect("so many").concat(), expected, "{now}");
            let plain = history.clone().standing_in(None);
            assert_eq!(plain.filled(len), history.newest(len), "{now}");
        }
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
