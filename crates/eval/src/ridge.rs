//! Ridge regression from a window to the whole horizon, in closed form: the floor that a network has to beat.
//!
//! ```text
//! ŷ = x·W + b + mean(z)       x = [z − mean(z), p − mean(z)]       W = (G + λI)⁻¹B, G and B the centred Gram matrices of all training windows
//! ```
//! `z` are the last `lookback` samples; `p`, if there is a profile, the means of the last cycles at each phase of the season, the next sample's first:
//! what a longer look-back knows, without its noise. One map for all columns. For a missing value stands what
//! seasons and the values around it tell if the inputs have a season, else the last present one before it; windows with less than a tenth of their look-back or of their horizon, or that begin before their column does, are left out, and are not forecast.
//!
//! The horizon is cut into blocks, each with a λ of its own, picked on the validation rows (and on held-out parts of the training rows), and with all the training windows that it fits. G = UΛUᵀ is
//! decomposed once a block, so every λ costs a product.

use crate::{EvalError, backtest::Baseline, missing::Filled, own::Own};
use faer::{
    Mat, MatRef, Par, Side,
    linalg::matmul::{
        matmul,
        triangular::{self, BlockStructure},
    },
    mat::AsMatMut,
};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;
use std::ops::Range;

/// Strengths to pick from.
const STRENGTHS: [f64; 9] = [1e-3, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 3e4, 1e5];
/// Most training windows; beyond it one of every so many is taken.
pub(crate) const MOST_WINDOWS: usize = 400_000;
/// Most validation windows, likewise.
pub(crate) const MOST_VALIDATION: usize = 20_000;
/// The profile's inputs are shrunk so much less than the samples: they are means already.
const PROFILE_SCALE: f64 = 10.0;
/// Windows in one product.
const BLOCK: usize = 1024;
/// Partial sums, whatever the number of threads, so that the result does not depend on it.
const PARTS: usize = 8;

/// Means of the last cycles at each phase of a season.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Samples in a season.
    pub season: usize,
    /// Seasons that the means are over.
    pub cycles: usize,
}

/// What a ridge looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inputs {
    /// Samples it looks back.
    pub lookback: usize,
    /// The seasonal profile beside them, if any.
    pub profile: Option<Profile>,
    /// Whether the mean of all samples so far is an input, the last.
    pub level: bool,
    /// Samples in the season that a missing value is looked for in; the last present one if absent.
    pub season: Option<usize>,
}

impl Inputs {
    /// The last samples alone.
    pub fn samples(lookback: usize) -> Self {
        Self { lookback, profile: None, level: false, season: None }
    }

    /// Inputs of the map.
    pub fn width(&self) -> usize {
        self.lookback + self.profile.map_or(0, |profile| profile.season) + usize::from(self.level)
    }

    /// Samples that must be known.
    pub fn span(&self) -> usize {
        self.lookback.max(self.profile.map_or(0, |profile| profile.season * profile.cycles))
    }

    /// The inputs from the last `span` samples and the mean of all, less the mean that is returned.
    fn push(&self, past: &[f64], level: f64, scale: f64, x: &mut Vec<f64>) -> f64 {
        let recent = &past[past.len() - self.lookback..];
        let mean = recent.iter().sum::<f64>() / self.lookback as f64;
        x.extend(recent.iter().map(|value| value - mean));
        if let Some(Profile { season, cycles }) = self.profile {
            let seasons = &past[past.len() - season * cycles..];
            let phase = |phase: usize| seasons.iter().skip(phase).step_by(season).sum::<f64>() / cycles as f64;
            x.extend((0..season).map(|at| scale * (phase(at) - mean)));
        }
        x.extend(self.level.then_some(level - mean));
        mean
    }
}

/// A fitted ridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// What it looks at.
    pub inputs: Inputs,
    /// Samples ahead.
    pub horizon: usize,
    /// `[input][horizon]`, oldest sample first, the profile after the samples.
    pub weights_lh: Vec<f32>,
    /// `[horizon]`.
    pub bias_h: Vec<f32>,
    /// The strength picked for each block.
    pub strengths: Vec<f64>,
    /// What each column's own map adds, if they have any.
    pub own: Option<Own>,
    /// The shares, one a step, of the last one that it is the mean with ([`Ridge::beside`]); empty without one.
    pub share_h: Vec<f64>,
}

/// Sums over windows.
struct Sums {
    /// Its lower half; it is symmetric.
    gram: Mat<f64>,
    cross: Mat<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    windows: usize,
}

impl Sums {
    fn new(width: usize, horizon: usize) -> Self {
        Self {
            gram: Mat::zeros(width, width),
            cross: Mat::zeros(width, horizon),
            x: vec![0.0; width],
            y: vec![0.0; horizon],
            windows: 0,
        }
    }

    /// Adds the sums of more windows, whose horizon may be longer.
    fn add(&mut self, other: &Self) {
        self.gram += &other.gram;
        self.cross += other.cross.subcols(0, self.y.len());
        self.x.iter_mut().zip(&other.x).for_each(|(to, from)| *to += from);
        self.y.iter_mut().zip(&other.y).for_each(|(to, from)| *to += from);
        self.windows += other.windows;
    }

    /// Becomes what `all` has and this has not.
    fn complement(&mut self, all: &Self) {
        self.gram = &all.gram - &self.gram;
        self.cross = &all.cross - &self.cross;
        self.x.iter_mut().zip(&all.x).for_each(|(own, all)| *own = all - *own);
        self.y.iter_mut().zip(&all.y).for_each(|(own, all)| *own = all - *own);
        self.windows = all.windows - self.windows;
    }
}

/// Means of all samples of a column before a row; a missing one is the last before it.
struct Levels<'a> {
    column: &'a [f64],
    row: usize,
    last: f64,
    count: f64,
    mean: f64,
}

impl<'a> Levels<'a> {
    fn new(column: &'a [f64]) -> Self {
        Self { column, row: 0, last: f64::NAN, count: 0.0, mean: 0.0 }
    }

    /// Rows may not go back.
    fn before(&mut self, row: usize) -> f64 {
        for &value in &self.column[self.row..row] {
            self.last = if value.is_nan() { self.last } else { value };
            if !self.last.is_nan() {
                self.count += 1.0;
                self.mean += (self.last - self.mean) / self.count;
            }
        }
        self.row = row;
        self.mean
    }
}

/// Windows and futures of one column at some origins, each less the window's mean.
#[derive(Default)]
pub(crate) struct Windows {
    /// `[window][input]`.
    pub x: Vec<f64>,
    /// `[window][horizon]`.
    pub y: Vec<f64>,
    /// `[window]`.
    means: Vec<f64>,
    /// Which of the origins, in order, have a window.
    pub complete: Vec<bool>,
}

impl Windows {
    /// The windows at ascending `origins` that lack few values. With a horizon of 0 it reads no row from the last origin on.
    pub fn of(column: &[f64], origins: &[usize], inputs: &Inputs, horizon: usize, scale: f64) -> Self {
        let (Some(first), Some(last)) = (origins.first(), origins.last()) else { return Self::default() };
        let span = inputs.span();
        let filled = Filled::of(column, first - span..last + horizon, inputs.season);
        let mut levels = inputs.level.then(|| Levels::new(column));
        let mut windows = Self {
            x: Vec::with_capacity(origins.len() * inputs.width()),
            y: Vec::with_capacity(origins.len() * horizon),
            ..Self::default()
        };
        for &origin in origins {
            let (past, future) = (filled.past(origin - span..origin), filled.future(origin..origin + horizon));
            windows.complete.push(past.is_some() && future.is_some());
            if let (Some(past), Some(future)) = (past, future) {
                let level = levels.as_mut().map_or(0.0, |levels| levels.before(origin));
                let mean = inputs.push(&past, level, scale, &mut windows.x);
                windows.y.extend(future.iter().map(|value| value - mean));
                windows.means.push(mean);
            }
        }
        windows
    }
}

pub(crate) fn rows_of<T>(values: &[T], width: usize) -> MatRef<'_, T> {
    MatRef::from_row_major_slice(values, values.len() / width, width)
}

/// Whether a value is missing after the first that is there.
fn has_gaps(rows: &[f64]) -> bool {
    rows.iter().skip_while(|value| value.is_nan()).any(|value| value.is_nan())
}

/// Of how many origins one is taken, for about `most` windows of all columns.
pub(crate) fn stride(columns: usize, origins: &Range<usize>, most: usize) -> usize {
    (origins.len() * columns).div_ceil(most).max(1)
}

/// One of every `stride` origins of each column, in blocks of one column.
pub(crate) fn blocks(columns: Range<usize>, origins: &Range<usize>, stride: usize) -> Vec<(usize, Vec<usize>)> {
    let of_column = |column: usize| {
        let origins: Vec<usize> = taken(origins.clone(), stride, column).collect();
        origins.chunks(BLOCK).map(|block| (column, block.to_vec())).collect::<Vec<_>>()
    };
    columns.flat_map(of_column).collect()
}

/// The steps of a block of the horizon, of which `cuts` are the ends.
pub(crate) fn steps(cuts: &[usize], block: usize) -> Range<usize> {
    block.checked_sub(1).map_or(0, |before| cuts[before])..cuts[block]
}

/// A block of the horizon, while it is fitted.
struct Block<'a> {
    index: usize,
    /// Its steps, and the end of the last.
    steps: Range<usize>,
    end: usize,
    /// Where training windows may begin, and of how many one is taken.
    origins: Range<usize>,
    stride: usize,
    sums: &'a Sums,
}

impl Ridge {
    /// Fits on the windows that lie in `train`, and picks the strengths on those whose forecast rows lie in `validation`. `cuts` are the ends of
    /// the blocks of the horizon, the horizon last. With `folds` above 0 the training rows, cut into so many parts in order of time, have their say as
    /// well: each part is forecast by the ridges that are fitted on the windows without a row of it, and the sum of the logarithms of all mean squares decides.
    /// Only the first `judged` of the columns are forecast for that; those behind them are learned from, and rows that are held out are held out of them too.
    ///
    /// # Errors
    /// Too few rows, too many missing values, or values that are not finite.
    ///
    /// # Panics
    /// More columns to judge on than there are.
    pub fn fit(
        columns: &[impl AsRef<[f64]> + Sync],
        judged: usize,
        train: &Range<usize>,
        validation: &Range<usize>,
        inputs: Inputs,
        cuts: &[usize],
        folds: usize,
    ) -> Result<Self, EvalError> {
        let too_short = |what, expected, found| Err(EvalError::TooShort { what, expected, found });
        let (span, horizon) = Self::long_enough(train, &inputs, cuts)?;
        if validation.len() < horizon {
            return too_short("validation windows of the ridge", horizon, validation.len());
        }
        if validation.start < span {
            return too_short("look-back of the ridge", span, validation.start);
        }
        let judged = &columns[..judged];
        Self::fit_by(columns, train, inputs, cuts, |block, candidates| {
            let Block { end, steps, origins, stride, sums, .. } = block;
            let held_out = validation.start..validation.end - end + 1;
            let logarithms = |squares: Vec<f64>| squares.into_iter().map(|square| (square + f64::MIN_POSITIVE).ln()).collect();
            let mut score: Vec<f64> = Self::mean_squares(candidates, judged, held_out, steps)
                .map(logarithms)
                .ok_or(EvalError::Missing { what: "validation windows of the ridge" })?;
            for fold in 0..folds {
                let at = |fold: usize| train.start + train.len() * fold / folds;
                let part = at(fold)..at(fold + 1);
                let touched = (part.start + 1).saturating_sub(*end).max(origins.start)..(part.end + span).min(origins.end);
                let mut rest = sum(columns, &blocks(0..columns.len(), &touched, *stride), &inputs, *end);
                rest.complement(sums);
                let scored = part.start.max(origins.start)..(part.end + 1).saturating_sub(*end);
                if rest.windows == 0 || scored.is_empty() {
                    continue;
                }
                let squares = Self::mean_squares(&Self::candidates(inputs, &rest, steps)?, judged, scored, steps);
                if let Some(more) = squares.map(logarithms) {
                    score.iter_mut().zip(more).for_each(|(score, more)| *score += more);
                }
            }
            let best = (0..score.len()).filter(|&at| score[at].is_finite()).min_by(|&a, &b| score[a].total_cmp(&score[b]));
            best.ok_or(EvalError::NotFinite)
        })
    }

    /// Fits on the windows that lie in `train`, with strengths that were picked before, one a block.
    ///
    /// # Errors
    /// Too few rows, too many missing values, or values that are not finite.
    ///
    /// # Panics
    /// A strength that no ridge is ever picked with, or not one a block.
    pub fn fit_with(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        inputs: Inputs,
        cuts: &[usize],
        strengths: &[f64],
    ) -> Result<Self, EvalError> {
        assert_eq!(strengths.len(), cuts.len(), "a strength a block");
        Self::fit_by(columns, train, inputs, cuts, |block, candidates| {
            let found = candidates.iter().position(|each| each.strengths[0] == strengths[block.index]);
            Ok(found.expect("one of the strengths there are"))
        })
    }

    /// What a window spans, and the horizon, of which one pair fits the rows.
    fn long_enough(train: &Range<usize>, inputs: &Inputs, cuts: &[usize]) -> Result<(usize, usize), EvalError> {
        let (span, horizon) = (inputs.span(), cuts.last().copied().unwrap_or(0));
        match train.len() < span + horizon {
            true => {
                Err(EvalError::TooShort { what: "training windows of the ridge", expected: span + horizon, found: train.len() })
            }
            false => Ok((span, horizon)),
        }
    }

    /// Fits every block of the horizon with the strength that `pick` picks of the candidates.
    fn fit_by(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        inputs: Inputs,
        cuts: &[usize],
        pick: impl Fn(&Block<'_>, &[Self]) -> Result<usize, EvalError>,
    ) -> Result<Self, EvalError> {
        let (span, horizon) = Self::long_enough(train, &inputs, cuts)?;
        let origins = |cut: usize| train.start + span..train.end - cut + 1;
        let stride = stride(columns.len(), &origins(cuts[0]), MOST_WINDOWS);
        // From the longest horizon down: without gaps a shorter one has the same windows, and those after them.
        let gaps = columns.iter().any(|column| has_gaps(&column.as_ref()[train.clone()]));
        let mut fitted: Vec<(usize, Self)> = Vec::new();
        let mut known: Option<Sums> = None;
        let mut next = origins(horizon).start;
        for (index, &end) in cuts.iter().enumerate().rev() {
            let until = origins(end).end;
            let mut sums = sum(columns, &blocks(0..columns.len(), &(next..until), stride), &inputs, end);
            next = until;
            if let Some(longer) = &known {
                sums.add(longer);
            }
            let steps = steps(cuts, index);
            let mut candidates = Self::candidates(inputs, &sums, &steps)?;
            let picked =
                pick(&Block { index, end, steps: steps.clone(), origins: origins(end), stride, sums: &sums }, &candidates)?;
            fitted.push((steps.start, candidates.swap_remove(picked)));
            if gaps {
                next = origins(horizon).start;
            } else {
                known = Some(sums);
            }
        }
        fitted.reverse();
        let mut whole = Self {
            inputs,
            horizon,
            weights_lh: vec![0.0; inputs.width() * horizon],
            bias_h: Vec::with_capacity(horizon),
            strengths: fitted.iter().flat_map(|(_, block)| block.strengths.clone()).collect(),
            own: None,
            share_h: Vec::new(),
        };
        for (start, block) in &fitted {
            let rows = whole.weights_lh.chunks_exact_mut(horizon).zip(block.weights_lh.chunks_exact(block.horizon));
            rows.for_each(|(to, from)| to[*start..start + block.horizon].copy_from_slice(from));
            whole.bias_h.extend_from_slice(&block.bias_h);
        }
        Ok(whole)
    }

    /// The maps to some steps, one a strength.
    fn candidates(inputs: Inputs, sums: &Sums, steps: &Range<usize>) -> Result<Vec<Self>, EvalError> {
        if sums.windows == 0 {
            return Err(EvalError::Missing { what: "training windows of the ridge" });
        }
        let (width, horizon, n) = (inputs.width(), steps.len(), sums.windows as f64);
        let gram = Mat::from_fn(width, width, |i, j| sums.gram[(i, j)] - sums.x[i] * sums.x[j] / n);
        let y = &sums.y[steps.clone()];
        let cross = Mat::from_fn(width, horizon, |i, j| sums.cross[(i, steps.start + j)] - sums.x[i] * y[j] / n);
        let decomposed = gram.self_adjoint_eigen(Side::Lower).map_err(|_| EvalError::NotFinite)?;
        let (vectors, values) = (decomposed.U(), decomposed.S().column_vector());
        let projected = vectors.transpose() * &cross;
        let of = |&strength: &f64| {
            let scaled = Mat::from_fn(width, horizon, |i, j| projected[(i, j)] / (values[i] + strength));
            let weights = vectors * &scaled;
            let bias = |j: usize| (y[j] - (0..width).map(|i| sums.x[i] * weights[(i, j)]).sum::<f64>()) / n;
            let scale = |i: usize| if i < inputs.lookback { 1.0 } else { PROFILE_SCALE };
            let places = (0..width).flat_map(|i| (0..horizon).map(move |j| (i, j)));
            Self {
                inputs,
                horizon,
                weights_lh: places.map(|(i, j)| (scale(i) * weights[(i, j)]) as f32).collect(),
                bias_h: (0..horizon).map(|j| bias(j) as f32).collect(),
                strengths: vec![strength],
                own: None,
                share_h: Vec::new(),
            }
        };
        Ok(STRENGTHS.iter().map(of).collect())
    }

    /// Each one's mean square over windows that begin at some of `origins`; none where no window is complete.
    fn mean_squares(
        ridges: &[Self],
        columns: &[impl AsRef<[f64]> + Sync],
        origins: Range<usize>,
        steps: &Range<usize>,
    ) -> Option<Vec<f64>> {
        let held_out = blocks(0..columns.len(), &origins, stride(columns.len(), &origins, MOST_VALIDATION));
        let errors: Vec<(usize, Vec<f64>)> = held_out
            .par_iter()
            .map(|(column, origins)| {
                let windows = Windows::of(columns[*column].as_ref(), origins, &ridges[0].inputs, steps.end, 1.0);
                let y: Vec<f64> = windows.y.chunks_exact(steps.end).flat_map(|y| y[steps.clone()].to_vec()).collect();
                (y.len(), ridges.iter().map(|ridge| ridge.square_error(*column, &windows, &y)).collect())
            })
            .collect();
        let count = errors.iter().map(|(count, _)| count).sum::<usize>();
        let mean = |index: usize| errors.iter().map(|(_, errors)| errors[index]).sum::<f64>() / count as f64;
        (count > 0).then(|| (0..ridges.len()).map(mean).collect())
    }

    /// The same with a return to the mean of all samples so far: of step `h` a share of 1 − exp(−h/`time`) is that mean, with the profile's shape on it if
    /// there is one. A forecast far ahead, fitted on few years, knows its level less well than that mean does.
    pub fn reverting(self, time: f64) -> Self {
        let Self { inputs, horizon, mut weights_lh, mut bias_h, strengths, own, share_h } = self;
        let share = |step: usize| (1.0 - (-((step + 1) as f64) / time).exp()) as f32;
        weights_lh.chunks_exact_mut(horizon).for_each(|row| {
            row.iter_mut().enumerate().for_each(|(step, weight)| *weight *= 1.0 - share(step));
        });
        bias_h.iter_mut().enumerate().for_each(|(step, bias)| *bias *= 1.0 - share(step));
        if let Some(Profile { season, .. }) = inputs.profile {
            for (phase, row) in weights_lh[inputs.lookback * horizon..].chunks_exact_mut(horizon).enumerate() {
                for (step, weight) in row.iter_mut().enumerate() {
                    let own = if step % season == phase { 1.0 } else { 0.0 };
                    *weight += share(step) * (own - 1.0 / season as f32);
                }
            }
        }
        weights_lh.extend((0..horizon).map(share));
        let own = own.map(|own| own.scaled(horizon, |step| 1.0 - share(step)));
        Self { inputs: Inputs { level: true, ..inputs }, horizon, weights_lh, bias_h, strengths, own, share_h }
    }

    /// The mean of the window, whatever it is.
    pub fn level(lookback: usize, horizon: usize) -> Self {
        let (weights_lh, bias_h) = (vec![0.0; lookback * horizon], vec![0.0; horizon]);
        Self {
            inputs: Inputs::samples(lookback),
            horizon,
            weights_lh,
            bias_h,
            strengths: Vec::new(),
            own: None,
            share_h: Vec::new(),
        }
    }

    /// The mean of two fits of the same inputs.
    ///
    /// # Panics
    /// Other inputs, another horizon, or own maps in one alone.
    pub fn halfway_to(mut self, other: &Self) -> Self {
        assert_eq!((self.inputs, self.horizon), (other.inputs, other.horizon), "the same map, fitted on other rows");
        let halfway = |to: &mut [f32], from: &[f32]| {
            assert_eq!(to.len(), from.len(), "the same map, fitted on other rows");
            to.iter_mut().zip(from).for_each(|(to, from)| *to = 0.5 * (*to + from));
        };
        halfway(&mut self.weights_lh, &other.weights_lh);
        halfway(&mut self.bias_h, &other.bias_h);
        match (&mut self.own, &other.own) {
            (Some(own), Some(other)) => halfway(&mut own.maps_clh, &other.maps_clh),
            (None, None) => {}
            _ => panic!("own maps in one fit alone"),
        }
        self
    }

    /// The mean with another, which has `share_h` of it, one a step, and of the own maps of both.
    ///
    /// # Panics
    /// Other horizons, different profiles, or one that looks at the mean of all samples.
    pub fn beside(mut self, mut other: Self, share_h: Vec<f64>) -> Self {
        let rest_h: Vec<f64> = share_h.iter().map(|share| 1.0 - share).collect();
        let shares = [(&mut self, &rest_h), (&mut other, &share_h)];
        let own =
            shares.map(|(ridge, share_h)| ridge.own.take().map(|own| own.scaled(ridge.horizon, |step| share_h[step] as f32)));
        let own = match own {
            [Some(one), Some(other)] => Some(one.sum(other, self.horizon)),
            [one, other] => one.or(other),
        };
        let both = Self::weighted(&[(&rest_h[..], &self), (&share_h[..], &other)]);
        Self { own, share_h, ..both }
    }

    /// The mean of several ridges as one: what each looks at is folded into inputs that hold all of it. All that have a profile have the same.
    ///
    /// # Panics
    /// No ridges, different horizons, different profiles, or one that looks at the mean of all samples or has own maps.
    pub fn mean(ridges: &[Self]) -> Self {
        let share_h = vec![1.0 / ridges.len() as f64; ridges.first().map_or(0, |ridge| ridge.horizon)];
        Self::weighted(&ridges.iter().map(|ridge| (&share_h[..], ridge)).collect::<Vec<_>>())
    }

    /// Their mean with these shares, one a step each.
    fn weighted(ridges: &[(&[f64], &Self)]) -> Self {
        let horizon = ridges[0].1.horizon;
        let lookback = ridges.iter().map(|(_, ridge)| ridge.inputs.lookback).max().unwrap_or(0);
        let profile = ridges.iter().find_map(|(_, ridge)| ridge.inputs.profile);
        let season = ridges.iter().find_map(|(_, ridge)| ridge.inputs.season);
        let inputs = Inputs { lookback, profile, level: false, season };
        let mut weights = vec![0.0; inputs.width() * horizon];
        let mut bias = vec![0.0; horizon];
        for &(share_h, ridge) in ridges {
            let plain = (ridge.inputs.level, ridge.own.is_some());
            assert_eq!((ridge.horizon, plain), (horizon, (false, false)), "one horizon, no level and no own maps yet");
            assert!(ridge.inputs.profile.is_none_or(|own| Some(own) == profile), "one profile");
            let own = ridge.inputs.lookback;
            let rows = || ridge.weights_lh.chunks_exact(horizon);
            for step in 0..horizon {
                // A window less its own mean is one less the longer window's, less what is between the two means, which is linear in it as well.
                let between = (1.0 - rows().map(|row| f64::from(row[step])).sum::<f64>()) / own as f64;
                for (at, row) in rows().enumerate() {
                    let (place, more) = if at < own { (lookback - own + at, between) } else { (lookback + at - own, 0.0) };
                    weights[place * horizon + step] += share_h[step] * (f64::from(row[step]) + more);
                }
                bias[step] += share_h[step] * f64::from(ridge.bias_h[step]);
            }
        }
        Self {
            inputs,
            horizon,
            weights_lh: weights.into_iter().map(|weight| weight as f32).collect(),
            bias_h: bias.into_iter().map(|bias| bias as f32).collect(),
            strengths: ridges.iter().flat_map(|(_, ridge)| ridge.strengths.clone()).collect(),
            own: None,
            share_h: Vec::new(),
        }
    }

    /// The mean square of its errors at some steps, over windows that begin at some of `origins`; none where no window is complete.
    pub fn mean_square(&self, columns: &[impl AsRef<[f64]> + Sync], origins: Range<usize>, steps: &Range<usize>) -> Option<f64> {
        Self::mean_squares(&[self.at(steps)], columns, origins, steps).map(|squares| squares[0])
    }

    /// The same for some steps of the horizon alone.
    fn at(&self, steps: &Range<usize>) -> Self {
        let pick = |rows: &[f32]| rows.chunks_exact(self.horizon).flat_map(|row| &row[steps.clone()]).copied().collect();
        Self {
            inputs: self.inputs,
            horizon: steps.len(),
            weights_lh: pick(&self.weights_lh),
            bias_h: self.bias_h[steps.clone()].to_vec(),
            strengths: Vec::new(),
            own: self.own.as_ref().map(|own| Own { maps_clh: pick(&own.maps_clh), strengths: Vec::new(), ..*own }),
            share_h: Vec::new(),
        }
    }

    /// Forecasts of a column from windows of it, less their means, `[window][horizon]`.
    pub(crate) fn say(&self, column: usize, windows: &Windows) -> Vec<f32> {
        let mut y = self.apply(&windows.x);
        if let Some(own) = &self.own {
            own.add(column, &windows.x, (self.inputs.width(), self.inputs.lookback), &mut y);
        }
        y
    }

    /// Forecasts from inputs less their means, `[window][horizon]`.
    pub(crate) fn apply(&self, x: &[f64]) -> Vec<f32> {
        let x: Vec<f32> = x.iter().map(|&value| value as f32).collect();
        let rows = x.len() / self.inputs.width();
        let mut y = vec![0.0f32; rows * self.horizon];
        let x = MatRef::from_row_major_slice(&x, rows, self.inputs.width());
        let weights = MatRef::from_row_major_slice(&self.weights_lh, self.inputs.width(), self.horizon);
        let out = faer::MatMut::from_row_major_slice_mut(&mut y, rows, self.horizon);
        matmul(out, faer::Accum::Replace, x, weights, 1.0, Par::Seq);
        for row in y.chunks_exact_mut(self.horizon) {
            row.iter_mut().zip(&self.bias_h).for_each(|(y, bias)| *y += bias);
        }
        y
    }

    fn square_error(&self, column: usize, windows: &Windows, y: &[f64]) -> f64 {
        self.say(column, windows).iter().zip(y).map(|(forecast, y)| (f64::from(*forecast) - y).powi(2)).sum()
    }
}

fn sum(columns: &[impl AsRef<[f64]> + Sync], blocks: &[(usize, Vec<usize>)], inputs: &Inputs, horizon: usize) -> Sums {
    let width = inputs.width();
    let parts: Vec<Sums> = (0..PARTS)
        .into_par_iter()
        .map(|part| {
            let mut sums = Sums::new(width, horizon);
            for (column, origins) in blocks.iter().skip(part).step_by(PARTS) {
                let Windows { x, y, means, .. } = Windows::of(columns[*column].as_ref(), origins, inputs, horizon, PROFILE_SCALE);
                let (x_wl, y_wh) = (rows_of(&x, width), rows_of(&y, horizon));
                let (gram, lower, all) = (sums.gram.as_mat_mut(), BlockStructure::TriangularLower, BlockStructure::Rectangular);
                triangular::matmul(gram, lower, faer::Accum::Add, x_wl.transpose(), all, x_wl, all, 1.0, Par::Seq);
                matmul(sums.cross.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), y_wh, 1.0, Par::Seq);
                for (x, y) in x.chunks_exact(width).zip(y.chunks_exact(horizon)) {
                    sums.x.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                    sums.y.iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
                }
                sums.windows += means.len();
            }
            sums
        })
        .collect();
    let mut total = Sums::new(width, horizon);
    parts.iter().for_each(|part| total.add(part));
    total
}

impl Baseline for Ridge {
    fn lookback(&self) -> usize {
        self.inputs.span()
    }

    fn forecast(&self, index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        let origins: Vec<usize> = origins.collect();
        let block = |origins: &[usize]| {
            let windows = Windows::of(column, origins, &self.inputs, 0, 1.0);
            let y = self.say(index, &windows);
            let mut complete = y.chunks_exact(self.horizon).zip(&windows.means);
            let mut restored = Vec::with_capacity(origins.len() * self.horizon);
            for &is_complete in &windows.complete {
                match is_complete.then(|| complete.next()).flatten() {
                    Some((y, mean)) => restored.extend(y.iter().map(|&y| f64::from(y) + mean)),
                    None => restored.extend(std::iter::repeat_n(f64::NAN, self.horizon)),
                }
            }
            restored
        };
        origins.par_chunks(BLOCK).flat_map_iter(block).collect()
    }
}

#[cfg(test)]
mod tests;
