//! Conformal calibration: how far the quantiles have to lie from the median for as many samples to fall beyond as their levels say.
//!
//! ```text
//! split       q'_j = m ± f_j·d_j,           d_j = s_c·|q_j − m|, or with a part p of held-back rows (1 − p)·|q_j − m| + p·s_c·a_j
//!                                           f_j: the level's quantile of (y − m)/±d_j over held-back rows (Romano et al. 2019, Vovk 2005)
//!                                           a_j: the mean of |q_j − m| over held-back rows
//!                                           s_c: how large the column's errors are beside those of all columns, drawn to 1 where few rows tell
//! adaptive    f_j ← f_j·exp θ_j,            θ_j ← θ_j + rate/√h·((1 − S)·g_j + S·g_m),     g_j = 1{y beyond q'_j} − share the level leaves beyond
//! ```
//! Where held-back rows lie to one side of the point forecast, as counts and latencies do, the median is not there: m is the point forecast and the median of
//! y less it, one a column and step.
//!
//! What held-back rows say is the constant of normalised conformal prediction (Papadopoulos et al. 2008), one a column and step.
//!
//! h steps ahead, m the level that leaves as much beyond on the other side, if there is one. What makes errors grow makes them grow on both sides: the two
//! learn from each other, and with less noise, yet each ends where its own share is beyond.
//! Distances that would cross are widened to the one inside. The adaptive form follows a stream whose errors grow or shrink (Gibbs & Candès 2021, as
//! quantile tracking, Angelopoulos et al. 2023): at a few steps of the horizon every forecast is kept as it was given until its sample comes, so that what is
//! steered is the coverage of what was said. The rate falls with √h: forecasts that overlap miss together, and a long horizon's delay would make fast ones swing. Between
//! those steps `θ` is interpolated.

use crate::{
    ModelError,
    forecaster::Forecaster,
    linear_expert::LinearExpert,
    network::Heads,
    predictor::Parts,
    quantiles::Levels,
    scaler::ColumnHistory,
    voice::{Place, Room, Voice},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Factors beyond this are not a calibration but a model that does not fit.
pub const LARGEST_FACTOR: f32 = 1e3;
/// How much a level learns from the one on the other side, S above: below a half, so that its own share beyond decides in the end. On errors of 16 months
/// of ETT with rates twice as high coverage is nearer to its level by a fifth, at the same quantile loss.
const SHARED: f64 = 0.45;
/// Largest |θ|: a factor of 150.
const LARGEST_LOG: f64 = 5.0;

/// What the quantiles' distances from the median come to.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    factors_hq: Vec<f32>,
    factors_c: Vec<f32>,
    horizon: usize,
    held: Option<Held>,
    /// From the point forecast to the median, standardised, `[columns][horizon]`; none where it is the median.
    centres_ch: Vec<f32>,
}

/// What held-back rows say of distances, whatever the network says.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Distances `[horizon][levels]`, standardised.
    pub distances_hq: Vec<f32>,
    /// What they count in a column, `[columns][horizon]`.
    pub sizes_ch: Vec<f32>,
}

impl Calibration {
    /// Checks factors of the network's distances, `[horizon][levels]` and one a column.
    ///
    /// # Errors
    /// A wrong number of the first, or one of all that is not in 0 to 1000.
    pub fn new(factors_hq: Vec<f32>, factors_c: Vec<f32>, horizon: usize, levels: &Levels) -> Result<Self, ModelError> {
        ModelError::unless_as_many("calibration", horizon * levels.count(), factors_hq.len())?;
        factors(factors_hq.iter().chain(&factors_c))?;
        Ok(Self { factors_hq, factors_c, horizon, held: None, centres_ch: Vec::new() })
    }

    /// The same with what held-back rows say added.
    ///
    /// # Errors
    /// A wrong number of either, a distance that is negative or not finite, or a size that is not in 0 to 1000.
    pub fn beside(self, held: Held) -> Result<Self, ModelError> {
        ModelError::unless_as_many("held-back distances", self.factors_hq.len(), held.distances_hq.len())?;
        ModelError::unless_as_many("held-back sizes", self.factors_c.len() * self.horizon, held.sizes_ch.len())?;
        if let Some(found) = held.distances_hq.iter().find(|distance| !(0.0..=f32::MAX).contains(*distance)) {
            return Err(ModelError::config("calibration", "finite distances of at least 0", found));
        }
        factors(held.sizes_ch.iter())?;
        Ok(Self { held: Some(held), ..self })
    }

    /// The same with medians that lie so far from the point forecasts, `[columns][horizon]`, standardised.
    ///
    /// # Errors
    /// A wrong number of them, or one that is not finite.
    pub fn off_centre(self, centres_ch: Vec<f32>) -> Result<Self, ModelError> {
        ModelError::unless_as_many("centres", self.factors_c.len() * self.horizon, centres_ch.len())?;
        match centres_ch.iter().find(|centre| !centre.is_finite()) {
            Some(found) => Err(ModelError::config("calibration", "finite centres", found)),
            None => Ok(Self { centres_ch, ..self }),
        }
    }

    /// From the point forecasts to the medians, `[columns][horizon]`; empty where they are the same.
    pub fn centres(&self) -> &[f32] {
        &self.centres_ch
    }

    /// The factors, `[horizon][levels]`.
    pub fn factors(&self) -> &[f32] {
        &self.factors_hq
    }

    /// The columns' factors.
    pub fn of_columns(&self) -> &[f32] {
        &self.factors_c
    }

    /// What held-back rows say.
    pub fn held(&self) -> Option<&Held> {
        self.held.as_ref()
    }

    /// Moves the quantiles of one step of one column, `[levels]`, by their distances from the median, and that where it lies.
    pub(crate) fn apply(&self, step: usize, column: usize, quantiles: &mut [f64], middle: usize) {
        let count = quantiles.len();
        let (factors, own) = (&self.factors_hq[step * count..][..count], f64::from(self.factors_c[column]));
        let of_network = |level: usize, distance: f64| f64::from(factors[level]) * own * distance;
        let place = column * self.horizon + step;
        match &self.held {
            None => stretch(quantiles, middle, of_network),
            Some(held) => {
                let (held_q, size) = (&held.distances_hq[step * count..][..count], f64::from(held.sizes_ch[place]));
                stretch(quantiles, middle, |level, distance| of_network(level, distance) + size * f64::from(held_q[level]));
            }
        }
        if let Some(&centre) = self.centres_ch.get(place) {
            quantiles.iter_mut().for_each(|quantile| *quantile += f64::from(centre));
        }
    }
}

fn factors<'a>(mut all: impl Iterator<Item = &'a f32>) -> Result<(), ModelError> {
    match all.find(|factor| !(0.0..=LARGEST_FACTOR).contains(*factor)) {
        Some(found) => Err(ModelError::config("calibration", format!("factors of 0 to {LARGEST_FACTOR}"), found)),
        None => Ok(()),
    }
}

/// Moves the quantiles of one step from their distances to the median to `to(level, distance)`; they do not cross.
fn stretch(quantiles: &mut [f64], middle: usize, to: impl Fn(usize, f64) -> f64) {
    let median = quantiles[middle];
    let mut reach = 0.0f64;
    for level in middle + 1..quantiles.len() {
        reach = reach.max(to(level, quantiles[level] - median));
        quantiles[level] = median + reach;
    }
    reach = 0.0;
    for level in (0..middle).rev() {
        reach = reach.max(to(level, median - quantiles[level]));
        quantiles[level] = median - reach;
    }
}

/// What adaptive calibration has learned and waits for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Adaptive {
    /// How fast it learns.
    rate: f64,
    /// `θ`, `[column][knot][level]`.
    log_factors: Vec<f64>,
    /// Forecasts as given that wait for their sample, `[column][knot][step + 1][level]`: the median at its place, distances from it at the others; all zero:
    /// none.
    pending: Vec<f64>,
}

/// The steps at which forecasts are held against what comes, and what is needed to make them.
pub(crate) struct Knots {
    steps: Vec<usize>,
    heads: Heads,
    linear: Option<LinearExpert>,
    /// Share that each level leaves beyond it.
    beyond: Vec<f64>,
    /// The level that leaves as much beyond on the other side; a level's own place where there is none.
    mirrored: Vec<usize>,
    middle: usize,
    /// For every step of the horizon: the knot before it, and how far it lies on the way to the next.
    between: Vec<(usize, f64)>,
}

impl Knots {
    pub(crate) fn new(forecaster: &Forecaster) -> Self {
        let horizon = forecaster.config().horizon;
        // 1, 2, 4, … steps ahead, and the last.
        let mut steps: Vec<usize> = std::iter::successors(Some(1usize), |ahead| ahead.checked_mul(2))
            .take_while(|&ahead| ahead < horizon)
            .map(|ahead| ahead - 1)
            .collect();
        steps.push(horizon - 1);
        let at = |step: usize| ((step + 1) as f64).ln();
        let between = |step: usize| {
            let knot = steps.partition_point(|&knot| knot <= step).saturating_sub(1);
            match steps.get(knot + 1) {
                Some(&next) => (knot, (at(step) - at(steps[knot])) / (at(next) - at(steps[knot]))),
                None => (knot, 0.0),
            }
        };
        let levels = &forecaster.blueprint().levels;
        Self {
            between: (0..horizon).map(between).collect(),
            heads: forecaster.blueprint().network.heads_at(forecaster.weights(), &steps),
            linear: forecaster.linear().map(|linear| linear.at(&steps)),
            beyond: levels.levels().iter().map(|&level| level.min(1.0 - level)).collect(),
            mirrored: (0..levels.count()).map(|level| levels.mirrored(level)).collect(),
            middle: levels.middle(),
            steps,
        }
    }

    pub(crate) fn voice(&self) -> Voice<'_> {
        Voice { heads: &self.heads, linear: self.linear.as_ref(), steps: Some(&self.steps) }
    }

    fn outputs(&self) -> usize {
        self.heads.outputs()
    }

    /// Room for what the voice says.
    pub(crate) fn parts(&self) -> Parts {
        Parts::new(self.steps.len(), self.beyond.len())
    }

    /// Pending values of one column.
    fn waiting(&self) -> usize {
        self.steps.iter().map(|step| step + 1).sum::<usize>() * self.beyond.len()
    }
}

pub(crate) fn check_rate(field: &str, rate: f64) -> Result<(), ModelError> {
    match rate > 0.0 && rate <= 1.0 {
        true => Ok(()),
        false => Err(ModelError::config(field, "a number above 0 and at most 1", rate)),
    }
}

impl Adaptive {
    /// Nothing learned, nothing waiting.
    pub(crate) fn new(rate: f64, columns: usize, knots: &Knots) -> Result<Self, ModelError> {
        check_rate("rate", rate)?;
        Ok(Self { rate, log_factors: vec![0.0; columns * knots.outputs()], pending: vec![0.0; columns * knots.waiting()] })
    }

    /// How fast it learns.
    pub fn rate(&self) -> f64 {
        self.rate
    }

    pub(crate) fn reset(&mut self) {
        self.log_factors.fill(0.0);
        self.pending.fill(0.0);
    }

    /// Whether it could belong where `other` does.
    pub(crate) fn fits(&self, other: &Self) -> bool {
        self.rate == other.rate
            && self.log_factors.len() == other.log_factors.len()
            && self.pending.len() == other.pending.len()
            && self.log_factors.iter().all(|log| log.abs() <= LARGEST_LOG)
            && self.pending.iter().all(|value| value.is_finite())
    }

    /// Every column's part.
    pub(crate) fn columns(&mut self, knots: &Knots) -> impl Iterator<Item = Learner<'_>> {
        let (logs, pending) =
            (self.log_factors.chunks_exact_mut(knots.outputs()), self.pending.chunks_exact_mut(knots.waiting()));
        let rate = self.rate;
        logs.zip(pending).map(move |(log_factors, pending)| Learner { rate, log_factors, pending })
    }

    /// One column's part.
    pub(crate) fn of(&mut self, knots: &Knots, column: usize) -> Learner<'_> {
        self.columns(knots).nth(column).expect("a column of the stream")
    }
}

/// Intervals that follow a stream: what they have learned, and what it takes to learn.
pub(crate) struct Following {
    pub(crate) knots: Arc<Knots>,
    pub(crate) adaptive: Adaptive,
    room: Room,
    parts: Parts,
}

impl Following {
    pub(crate) fn new(forecaster: &Forecaster, rate: f64) -> Result<Self, ModelError> {
        let knots = Knots::new(forecaster);
        let adaptive = Adaptive::new(rate, forecaster.columns().len(), &knots)?;
        Ok(Self::with(forecaster, Arc::new(knots), adaptive))
    }

    fn with(forecaster: &Forecaster, knots: Arc<Knots>, adaptive: Adaptive) -> Self {
        let (room, parts) = (Room::new(forecaster, knots.voice(), 1), knots.parts());
        Self { knots, adaptive, room, parts }
    }

    /// A second one that goes on from here on its own.
    pub(crate) fn fork(&self, forecaster: &Forecaster) -> Self {
        Self::with(forecaster, self.knots.clone(), self.adaptive.clone())
    }

    /// Sample number `time` of a column has come, NaN if it is missing: learns from it, and expects what the voice says after it.
    pub(crate) fn hear(
        &mut self,
        forecaster: &Forecaster,
        history: &ColumnHistory,
        hidden_d: &[f32],
        place: Place<'_>,
        time: u64,
        value: f64,
    ) {
        let Self { knots, adaptive, room, parts } = self;
        let mut learner = adaptive.of(knots, place.column);
        learner.hear(knots, time, value);
        if !value.is_nan() {
            knots.voice().speak(forecaster, history, hidden_d, place, room, parts);
            learner.expect(knots, time, &parts.combined);
        }
    }
}

/// One column's part of [`Adaptive`].
pub(crate) struct Learner<'a> {
    rate: f64,
    log_factors: &'a mut [f64],
    pending: &'a mut [f64],
}

impl Learner<'_> {
    /// Sample number `time` has come, NaN if it is missing: learns from the forecasts of it.
    pub(crate) fn hear(&mut self, knots: &Knots, time: u64, value: f64) {
        let (count, middle) = (knots.beyond.len(), knots.middle);
        let mut waiting = &mut *self.pending;
        for (step, logs) in knots.steps.iter().zip(self.log_factors.chunks_exact_mut(count)) {
            let (own, rest) = waiting.split_at_mut((step + 1) * count);
            waiting = rest;
            let slot = &mut own[(time % (*step as u64 + 1)) as usize * count..][..count];
            // Forecasts that overlap miss together: of so many samples only one is news.
            let rate = self.rate / ((step + 1) as f64).sqrt();
            let spread = slot.iter().enumerate().any(|(level, distance)| level != middle && *distance > 0.0);
            if spread && !value.is_nan() {
                let off = |level: usize| {
                    let error = if level > middle { value - slot[middle] } else { slot[middle] - value };
                    f64::from(u8::from(error > slot[level])) - knots.beyond[level]
                };
                for (level, log) in logs.iter_mut().enumerate().filter(|(level, _)| *level != middle) {
                    let learned = (1.0 - SHARED) * off(level) + SHARED * off(knots.mirrored[level]);
                    *log = (*log + rate * learned).clamp(-LARGEST_LOG, LARGEST_LOG);
                }
            }
            slot.fill(0.0);
        }
    }

    /// Keeps what was forecast after sample number `time`: quantiles `[knot][level]` before this calibration.
    pub(crate) fn expect(&mut self, knots: &Knots, time: u64, quantiles: &[f64]) {
        let (count, middle) = (knots.beyond.len(), knots.middle);
        let mut waiting = &mut *self.pending;
        let by_knot = quantiles.chunks_exact(count).zip(self.log_factors.chunks_exact(count));
        for (step, (quantiles, logs)) in knots.steps.iter().zip(by_knot) {
            let (own, rest) = waiting.split_at_mut((step + 1) * count);
            waiting = rest;
            let slot = &mut own[(time % (*step as u64 + 1)) as usize * count..][..count];
            // A step of which no covariates are known is not forecast.
            if quantiles.iter().any(|quantile| quantile.is_nan()) {
                slot.fill(0.0);
                continue;
            }
            slot.copy_from_slice(quantiles);
            stretch(slot, middle, |level, distance| distance * logs[level].exp());
            let median = quantiles[middle];
            slot.iter_mut()
                .enumerate()
                .filter(|(level, _)| *level != middle)
                .for_each(|(_, slot)| *slot = (*slot - median).abs());
        }
    }

    /// Moves the quantiles `[horizon][levels]` by what was learned.
    pub(crate) fn apply(&self, knots: &Knots, quantiles: &mut [f64]) {
        let (count, logs) = (knots.beyond.len(), &*self.log_factors);
        for (quantiles, &(knot, way)) in quantiles.chunks_exact_mut(count).zip(&knots.between) {
            let at = |knot: usize, level: usize| logs.get(knot * count + level).copied().unwrap_or(0.0);
            stretch(quantiles, knots.middle, |level, distance| {
                let (low, high) = (at(knot, level), at(knot + 1, level));
                distance * (if way > 0.0 { low + way * (high - low) } else { low }).exp()
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stretched_quantiles_do_not_cross() {
        let mut quantiles = [1.0, 2.0, 3.0, 3.5, 6.0];
        stretch(&mut quantiles, 2, |level, distance| distance * [0.1, 2.0, 9.0, 8.0, 0.5][level]);
        assert_eq!(quantiles, [1.0, 1.0, 3.0, 7.0, 7.0]);
        let mut same = [1.0, 2.0, 3.0];
        stretch(&mut same, 1, |_, distance| distance);
        assert_eq!(same, [1.0, 2.0, 3.0]);
    }
}
