//! Structural maps: forecasts of Gaussian processes of a level, seasons and noise, without a weight fitted. What a ridge learns of few independent windows
//! is noise in part; these know the shape of such series beforehand, and err elsewhere.
//!
//! ```text
//! k(d) = levels: two of v·m(d/T)                                      d samples apart; v and T drawn for each
//!      + season: (v·m(d/T) + v'·m(d/T'))·p(d)                          p(d) = exp(−2 sin²(πd/season)/ℓ²); none where no season is given
//!      + second season, in half of the draws: v·m(d/T)·p₂(d)·(1 + v'·p(d))  its own, and how it changes the first
//!      + short memory v·exp(−d/T) + noise
//! m: the Matérn kernel of ν = 1/2 (exp(−d/T)) in a third of the draws, of 3/2 or 5/2 and with little noise in another, for what changes smoothly;
//!    in the last third the second level alone has 3/2 or 5/2, and a larger share: a slope that lasts, under a level that wanders
//! ŷ = m + k(y, z)·K⁻¹·(z − m)        m the generalised least-squares mean of the window z
//! ```
//! Kernels are drawn from wide priors, the same ones for all data, and each column's map is the mean of theirs, weighted by their evidence on its training
//! rows: its scale and its mean profiled out, its power that of few samples (Rasmussen & Williams, Gaussian Processes for Machine Learning, 2006,
//! sections 2.2, 2.7 and 5.4; periodic kernel of MacKay, 1998). Evidence is of the next sample after each; what a kernel's forecasts are worth at the horizons
//! that are asked for, their errors on the training rows say, of windows half as long as the look-back, or as long as the seasons, and have as large a say:
//!
//! ```text
//! ln w = EVIDENCE·(ln evidence of a sample) − F/2·(mean over the horizons of ln of the mean square error up to each)
//! F = min(FIT, FIT_OF_ONE·windows)
//! ```
//! What a map takes for one step sums to one, so a forecast follows the level and the scale of its window.

use crate::{
    EvalError,
    own::Own,
    ridge::{Inputs, Windows, rows_of, stride},
};
use faer::{Mat, Par, Side, linalg::solvers::Solve, linalg::triangular_solve::solve_lower_triangular_in_place};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::{f64::consts::PI, ops::Range};

/// Kernels drawn for each look-back, of each manner as many.
const DRAWS: usize = 1200;
/// Samples that the training rows' evidence counts as: they depend on each other, and no kernel is true.
const EVIDENCE: f64 = 30.0;
/// Forecasts that those on the training rows count as, at most, for the same reasons.
const FIT: f64 = 30.0;
/// Forecasts that one window counts as: few windows decide nothing.
const FIT_OF_ONE: f64 = 3.0;
/// Kernels with less of the largest weight in a column than this are left out of its map.
const LEAST: f64 = 0.02;
/// Most windows that evidence is taken from, but one of each column.
const MOST_WINDOWS: usize = 2048;
/// Most multiplications of one kernel's forecasts on the training rows, but one of each column; windows are taken by stride beyond it.
const MOST_PRODUCTS: usize = 60_000_000;
/// Most such windows, likewise, where the horizon is short.
const MOST_TRIED: usize = 8192;
/// Windows beside each other in one solution.
const TOGETHER: usize = 256;
/// A window whose mean square is no larger says nothing of any kernel.
const FLAT: f64 = 1e-20;
/// Maps beside each other in memory.
const AT_ONCE: usize = 16;

/// What a drawn kernel takes to be smooth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Rough,
    Smooth,
    /// The second level.
    Drifting,
}

/// What is drawn of one kernel; times in samples.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(test, derive(serde::Deserialize))]
struct Kernel {
    /// The unit of all times; a season of no variance where there is none.
    season: f64,
    /// ν − 1/2 of all but the second level and the short memory: 0, 1 or 2.
    smoothness: u8,
    /// The same of the second level.
    drift: u8,
    /// Variance and time.
    levels: [(f64, f64); 2],
    /// ℓ of p(d).
    width: f64,
    /// Variance and time of a season that stays and of one that passes.
    shapes: [(f64, f64); 2],
    /// Its samples, variance, time, ℓ and how much it changes the first.
    second: Option<(f64, f64, f64, f64, f64)>,
    memory: (f64, f64),
    noise: f64,
}

impl Kernel {
    /// One draw, each value between its bounds, even in its logarithm. Times are of the first season, or, where there is none, of 2 samples up to half the
    /// look-back.
    fn draw(random: &mut impl Rng, seasons: &[usize], lookback: usize, manner: Manner) -> Self {
        let is_smooth = manner == Manner::Smooth;
        let smoothness = if is_smooth { random.random_range(1..=2) } else { 0 };
        let mut between = |low: f64, high: f64| random.random_range(low.ln()..high.ln()).exp();
        let season = match seasons.first() {
            Some(&season) => season as f64,
            None => between(2.0, (lookback as f64 / 2.0).max(3.0)),
        };
        let mut levels = [(between(0.1, 10.0), season * between(4.0, 60.0)), (between(0.1, 10.0), season * between(60.0, 800.0))];
        let width = between(0.3, 1.5);
        let stays = (between(0.1, 30.0), season * between(20.0, 400.0));
        let (passes, memory, noise, second) = if is_smooth {
            let passes = (between(1e-5, 1.0), season * between(1.0, 20.0));
            (passes, (between(1e-6, 0.3), season * between(0.06, 4.0)), between(1e-7, 1e-2), between(1e-4, 3.0))
        } else {
            let passes = (between(0.03, 3.0), season * between(0.5, 8.0));
            (passes, (between(0.05, 2.0), season * between(0.06, 1.2)), between(3e-4, 1.0), between(0.01, 3.0))
        };
        let shapes = [stays, passes].map(|(variance, time)| (if seasons.is_empty() { 0.0 } else { variance }, time));
        let second = (second, season * between(40.0, 800.0), between(0.05, 0.5), between(0.01, 3.0));
        let [is_there, changes] = [random.random_bool(0.5), random.random_bool(0.5)];
        let second = seasons.get(1).filter(|_| is_there).map(|&samples| {
            let (variance, time, width, change) = second;
            (samples as f64, variance, time, width, if changes { change } else { 0.0 })
        });
        let mut drift = smoothness;
        if manner == Manner::Drifting {
            let mut between = |low: f64, high: f64| random.random_range(low.ln()..high.ln()).exp();
            levels[1] = (between(1.0, 1000.0), season * between(20.0, 400.0));
            drift = random.random_range(1..=2);
        }
        Self { season, smoothness, drift, levels, width, shapes, second, memory, noise }
    }

    /// The covariance of samples so far apart.
    fn at(&self, apart: usize) -> f64 {
        let d = apart as f64;
        let matern = |smoothness: u8, (variance, time): (f64, f64)| {
            let far = d / time * (2.0 * f64::from(smoothness) + 1.0).sqrt();
            let polynomial = match smoothness {
                0 => 1.0,
                1 => 1.0 + far,
                _ => 1.0 + far + far * far / 3.0,
            };
            variance * polynomial * (-far).exp()
        };
        let fading = |of: (f64, f64)| matern(self.smoothness, of);
        let (variance, time) = self.memory;
        let periodic = |season: f64, width: f64| (-2.0 * ((PI * d / season).sin() / width).powi(2)).exp();
        let of_season = periodic(self.season, self.width);
        let second = self.second.map_or(0.0, |(season, variance, time, width, change)| {
            fading((variance, time)) * periodic(season, width) * (1.0 + change * of_season)
        });
        fading(self.levels[0])
            + matern(self.drift, self.levels[1])
            + self.shapes.iter().copied().map(fading).sum::<f64>() * of_season
            + second
            + variance * (-d / time).exp()
            + if apart == 0 { self.noise } else { 0.0 }
    }
}

/// A kernel on windows of so many samples.
struct Process {
    covariances: Vec<f64>,
    factor: faer::linalg::solvers::Llt<f64>,
    /// L⁻¹·1.
    whitened_one: Vec<f64>,
}

impl Process {
    /// None where rounding leaves no positive matrix.
    fn new(kernel: &Kernel, lookback: usize, horizon: usize) -> Option<Self> {
        let covariances: Vec<f64> = (0..lookback + horizon).map(|apart| kernel.at(apart)).collect();
        let gram = Mat::from_fn(lookback, lookback, |i, j| covariances[i.abs_diff(j)]);
        let factor = gram.llt(Side::Lower).ok()?;
        let mut one = Mat::from_fn(lookback, 1, |_, _| 1.0);
        solve_lower_triangular_in_place(factor.L(), one.as_mut(), Par::Seq);
        Some(Self { covariances, whitened_one: one.col_as_slice(0).to_vec(), factor })
    }

    /// 1ᵀ·K⁻¹·1.
    fn precision(&self) -> f64 {
        self.whitened_one.iter().map(|one| one * one).sum()
    }

    /// The logarithm of the determinant of what is left of a window beside its mean.
    fn determinant(&self) -> f64 {
        let factor = self.factor.L();
        2.0 * (0..factor.nrows()).map(|i| factor[(i, i)].ln()).sum::<f64>() + self.precision().ln()
    }

    /// The square of each window, a column of `windows`, in the metric of K⁻¹, less its mean.
    fn squares(&self, windows: &Mat<f64>) -> Vec<f64> {
        let mut whitened = windows.clone();
        solve_lower_triangular_in_place(self.factor.L(), whitened.as_mut(), Par::Seq);
        let square = |column: &[f64]| {
            let along = column.iter().zip(&self.whitened_one).map(|(value, one)| value * one).sum::<f64>();
            column.iter().map(|value| value * value).sum::<f64>() - along * along / self.precision()
        };
        (0..whitened.ncols()).map(|column| square(whitened.col_as_slice(column))).collect()
    }

    /// The map `[lookback][horizon]` to the process beyond the window; for each step it sums to one.
    fn map(&self) -> Mat<f64> {
        let lookback = self.factor.L().nrows();
        let horizon = self.covariances.len() - lookback;
        let to = |i: usize, j: usize| if j < horizon { self.covariances[lookback + j - i] } else { 1.0 };
        let solved = self.factor.solve(Mat::from_fn(lookback, horizon + 1, to));
        let one = solved.col_as_slice(horizon);
        let rest: Vec<f64> =
            (0..horizon).map(|j| (1.0 - solved.col_as_slice(j).iter().sum::<f64>()) / self.precision()).collect();
        Mat::from_fn(lookback, horizon, |i, j| solved[(i, j)] + one[i] * rest[j])
    }
}

/// Whether a window, less its mean, says anything.
fn moves(window: &[f64]) -> bool {
    window.iter().map(|value| value * value).sum::<f64>() > FLAT * window.len() as f64
}

/// Origins so far apart, ascending, the last among them: the last rows of a column are its best known, as series that end together may begin late.
fn back_from_the_last(origins: Range<usize>, apart: usize) -> Vec<usize> {
    let mut taken: Vec<usize> = origins.rev().step_by(apart).collect();
    taken.reverse();
    taken
}

/// Windows of the training rows, columns beside each other, and whose they are.
struct Seen {
    windows: Vec<Mat<f64>>,
    columns: Vec<usize>,
    /// Windows of each column.
    counts: Vec<usize>,
}

impl Seen {
    fn of(columns: &[impl AsRef<[f64]> + Sync], train: &Range<usize>, lookback: usize) -> Self {
        let ends = train.start + lookback..train.end + 1;
        let apart = (lookback / 3).max(1).max(stride(columns.len(), &ends, MOST_WINDOWS));
        let origins = back_from_the_last(ends, apart);
        let of_column = |column: &_| Windows::of(AsRef::<[f64]>::as_ref(column), &origins, &Inputs::samples(lookback), 0, 1.0).x;
        let found: Vec<Vec<f64>> = columns.par_iter().map(of_column).collect();
        let of_columns: Vec<Vec<&[f64]>> =
            found.iter().map(|x| x.chunks_exact(lookback).filter(|window| moves(window)).collect()).collect();
        let counts: Vec<usize> = of_columns.iter().map(Vec::len).collect();
        let owners = counts.iter().enumerate().flat_map(|(column, &count)| std::iter::repeat_n(column, count));
        let all: Vec<&[f64]> = of_columns.iter().flatten().copied().collect();
        let beside = |windows: &[&[f64]]| Mat::from_fn(lookback, windows.len(), |i, j| windows[j][i]);
        Self { windows: all.chunks(TOGETHER).map(beside).collect(), columns: owners.collect(), counts }
    }

    /// The logarithm of a process's evidence for each column, for one sample; none of a column without a window.
    fn evidence(&self, process: &Process, lookback: usize) -> Vec<Option<f64>> {
        let mut squares = vec![0.0; self.counts.len()];
        let all = self.windows.iter().flat_map(|windows| process.squares(windows));
        self.columns.iter().zip(all).for_each(|(&column, square)| squares[column] += square);
        // The mean takes one of a window's samples.
        let free = (lookback - 1).max(1) as f64;
        let determinant = process.determinant() / free;
        let of =
            |(square, &count): (f64, &usize)| (count > 0).then(|| -0.5 * ((square / (count as f64 * free)).ln() + determinant));
        squares.into_iter().zip(&self.counts).map(of).collect()
    }
}

/// Windows of the training rows half as long, so that there are more of them, but no shorter than the seasons, and what came after each.
struct Tried {
    lookback: usize,
    /// Ends of the scored parts of the horizon.
    cuts: Vec<usize>,
    /// Of each column, `[window][lookback]` and `[window][horizon]`, less the window's mean.
    columns: Vec<(Vec<f64>, Vec<f64>)>,
}

impl Tried {
    fn of(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        lookback: usize,
        seasons: &[usize],
        cuts: &[usize],
    ) -> Self {
        let longest = seasons.iter().copied().max().map_or(1, |season| season.min(lookback));
        let (lookback, horizon) = (lookback.div_ceil(2).max(longest), cuts[cuts.len() - 1]);
        let origins = train.start + lookback..(train.end + 1).saturating_sub(horizon);
        let apart = stride(columns.len(), &origins, (MOST_PRODUCTS / (lookback * horizon)).clamp(1, MOST_TRIED));
        let origins = back_from_the_last(origins, apart);
        let of_column = |column: &_| {
            let all = Windows::of(AsRef::<[f64]>::as_ref(column), &origins, &Inputs::samples(lookback), horizon, 1.0);
            let (mut windows, mut futures) = (Vec::with_capacity(all.x.len()), Vec::with_capacity(all.y.len()));
            for (x, y) in all.x.chunks_exact(lookback).zip(all.y.chunks_exact(horizon)).filter(|(x, _)| moves(x)) {
                windows.extend_from_slice(x);
                futures.extend_from_slice(y);
            }
            (windows, futures)
        };
        Self { lookback, cuts: cuts.to_vec(), columns: columns.par_iter().map(of_column).collect() }
    }

    /// Forecasts that a column's windows count as.
    fn count(&self, column: usize) -> f64 {
        FIT.min(FIT_OF_ONE * (self.columns[column].0.len() / self.lookback) as f64)
    }

    /// Minus half the logarithm of the mean square error of a kernel's forecasts, the mean over the cuts, for each column; 0 of a column without a window.
    /// None where rounding leaves no positive matrix.
    fn fit(&self, kernel: &Kernel) -> Option<Vec<f64>> {
        let horizon = self.cuts[self.cuts.len() - 1];
        let map = Process::new(kernel, self.lookback, horizon)?.map();
        let of_column = |(x, y): &(Vec<f64>, Vec<f64>)| {
            if x.is_empty() {
                return 0.0;
            }
            let said = rows_of(x, self.lookback) * &map;
            let count = said.nrows() as f64;
            let square = |step: usize| {
                said.col(step).iter().zip(y.iter().skip(step).step_by(horizon)).map(|(said, y)| (said - y).powi(2)).sum::<f64>()
                    / count
            };
            let squares: Vec<f64> = (0..horizon).map(square).collect();
            let up_to = |&cut: &usize| (squares[..cut].iter().sum::<f64>() / cut as f64 + f64::MIN_POSITIVE).ln();
            -0.5 * self.cuts.iter().map(up_to).sum::<f64>() / self.cuts.len() as f64
        };
        Some(self.columns.iter().map(of_column).collect())
    }
}

/// What each draw's logarithm makes of its weight in one column; little ones are none. All weigh the same if none has any.
fn weights(logarithms: &[f64]) -> Vec<f64> {
    let most = logarithms.iter().copied().fold(f64::MIN, f64::max);
    normalised(logarithms.iter().map(|logarithm| (logarithm - most).exp()).collect())
}

fn normalised(mut weights: Vec<f64>) -> Vec<f64> {
    let total = weights.iter().sum::<f64>();
    if total == 0.0 {
        return vec![1.0 / weights.len() as f64; weights.len()];
    }
    let least = LEAST * weights.iter().copied().fold(0.0, f64::max);
    weights.iter_mut().for_each(|weight| *weight = if *weight < least { 0.0 } else { *weight });
    let total = weights.iter().sum::<f64>();
    weights.iter_mut().for_each(|weight| *weight /= total);
    weights
}

/// Every column's structural maps for each of `lookbacks`, their mean, from what the rows of `train` say of each kernel. `seasons` are two at most, in samples,
/// `cuts` the ends of the scored parts of the horizon, the horizon last. A column without a complete window there, or with none that moves, has what the
/// others have in the mean; if all are such, kernels weigh the same.
///
/// # Errors
/// Too few rows, or kernels of which rounding leaves none.
///
/// # Panics
/// No look-back or no horizon.
pub fn structural(
    columns: &[impl AsRef<[f64]> + Sync],
    train: &Range<usize>,
    lookbacks: &[usize],
    seasons: &[usize],
    cuts: &[usize],
) -> Result<Own, EvalError> {
    let horizon = cuts[cuts.len() - 1];
    let longest = lookbacks.iter().copied().max().expect("a look-back");
    if train.len() < longest {
        let what = "training windows of the structural maps";
        return Err(EvalError::TooShort { what, expected: longest, found: train.len() });
    }
    let size = longest * horizon;
    let mut maps_clh = vec![0.0f32; columns.len() * size];
    for &lookback in lookbacks {
        let mut random = ChaCha8Rng::seed_from_u64(lookback as u64);
        let manners = [Manner::Rough, Manner::Smooth, Manner::Drifting];
        let of = |manner| std::iter::repeat_n(manner, DRAWS / 3);
        let kernels: Vec<Kernel> =
            manners.into_iter().flat_map(of).map(|manner| Kernel::draw(&mut random, seasons, lookback, manner)).collect();
        let seen = Seen::of(columns, train, lookback);
        let tried = Tried::of(columns, train, lookback, seasons, cuts);
        let of_columns = of_columns(&kernels, &seen, &tried, lookback);
        let heard: Vec<usize> = (0..DRAWS).filter(|&draw| of_columns.iter().any(|weights| weights[draw] > 0.0)).collect();
        for draws in heard.chunks(AT_ONCE) {
            let map = |&draw: &usize| Process::new(&kernels[draw], lookback, horizon).map(|process| process.map());
            let maps = draws.par_iter().map(map).collect::<Option<Vec<Mat<f64>>>>().ok_or(EvalError::NotFinite)?;
            maps_clh.par_chunks_exact_mut(size).zip(&of_columns).for_each(|(map_lh, weights)| {
                let map_lh = &mut map_lh[(longest - lookback) * horizon..];
                for (&draw, map) in draws.iter().zip(&maps).filter(|(draw, _)| weights[**draw] > 0.0) {
                    let share = weights[draw] / lookbacks.len() as f64;
                    for step in 0..horizon {
                        let to = map_lh.iter_mut().skip(step).step_by(horizon);
                        to.zip(map.col_as_slice(step)).for_each(|(to, from)| *to += (share * from) as f32);
                    }
                }
            });
        }
    }
    Ok(Own { lookback: longest, maps_clh, strengths: Vec::new() })
}

/// Each kernel's weight in each column.
fn of_columns(kernels: &[Kernel], seen: &Seen, tried: &Tried, lookback: usize) -> Vec<Vec<f64>> {
    let logarithms = |kernel: &Kernel| {
        let evidence = seen.evidence(&Process::new(kernel, lookback, 0)?, lookback);
        let both = |(column, (evidence, fit)): (usize, (Option<f64>, f64))| {
            let logarithm = EVIDENCE * evidence? + tried.count(column) * fit;
            // Rounding may leave no square where it is very small.
            Some(if logarithm.is_finite() { logarithm } else { f64::NEG_INFINITY })
        };
        Some(evidence.into_iter().zip(tried.fit(kernel)?).enumerate().map(both).collect())
    };
    let by_kernel: Vec<Option<Vec<Option<f64>>>> = kernels.par_iter().map(logarithms).collect();
    let of_column = |column: usize| {
        let logarithms = by_kernel.iter().map(|of| of.as_ref().map_or(Some(f64::NEG_INFINITY), |of| of[column]));
        logarithms.collect::<Option<Vec<f64>>>().map(|logarithms| weights(&logarithms))
    };
    let known: Vec<Option<Vec<f64>>> = match seen.columns.is_empty() {
        true => vec![None; seen.counts.len()],
        false => (0..seen.counts.len()).map(of_column).collect(),
    };
    let of_all = |draw: usize| match seen.columns.is_empty() {
        true => f64::from(u8::from(by_kernel[draw].is_some())),
        false => known.iter().flatten().map(|weights| weights[draw]).sum::<f64>(),
    };
    let mean = normalised((0..kernels.len()).map(of_all).collect());
    known.into_iter().map(|weights| weights.unwrap_or_else(|| mean.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::Baseline, ridge::Ridge};

    /// The reference adds a constant of variance 1e6 where ours has none, and both lose digits to it.
    const SAME: f64 = 1e-5;

    #[derive(serde::Deserialize)]
    struct Golden {
        kernel: Kernel,
        window: Vec<f64>,
        forecast: Vec<f64>,
        square: f64,
        determinant: f64,
    }

    #[test]
    fn maps_and_evidence_are_those_of_scikit_learn() {
        let text = include_str!("../../../testdata/structural.json");
        let golden: Vec<Golden> = serde_json::from_str(text).expect("the golden");
        assert_eq!(golden.len(), 3);
        for Golden { kernel, window, forecast, square, determinant } in golden {
            let process = Process::new(&kernel, window.len(), forecast.len()).expect("a positive matrix");
            let seen = Mat::from_fn(window.len(), 1, |i, _| window[i]);
            let near = |found: f64, expected: f64| {
                assert!((found - expected).abs() <= SAME * expected.abs().max(1.0), "{found} {expected}")
            };
            near(process.squares(&seen)[0], square);
            near(process.determinant(), determinant);
            let map = process.map();
            for (j, &expected) in forecast.iter().enumerate() {
                near((0..window.len()).map(|i| map[(i, j)] * window[i]).sum(), expected);
            }
        }
    }

    /// A season of 12 on a level that wanders, and noise.
    fn columns() -> Vec<Vec<f64>> {
        let column = |seed: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut level = 50.0;
            let sample = |row: usize| {
                level += random.random_range(-0.3..0.3);
                level + 4.0 * (row as f64 * PI / 6.0 + seed as f64).sin() + random.random_range(-0.5..0.5)
            };
            (0..500).map(sample).collect()
        };
        (0..3).map(column).collect()
    }

    fn whole(columns: &[Vec<f64>], own: Own) -> Ridge {
        let (lookback, horizon) = (own.lookback, own.maps_clh.len() / columns.len() / own.lookback);
        Ridge { own: Some(own), ..Ridge::level(lookback, horizon) }
    }

    #[test]
    fn it_follows_level_and_scale_and_beats_the_season_before() {
        let columns = columns();
        let own = structural(&columns, &(0..400), &[36, 60], &[12], &[24]).expect("maps");
        let ridge = whole(&columns, own);
        let error = |forecast: &dyn Fn(usize, usize) -> f64| {
            let steps = (400..476).step_by(4).flat_map(|origin| (0..24).map(move |step| (origin, step)));
            steps.map(|(origin, step)| (forecast(origin, step) - columns[0][origin + step]).powi(2)).sum::<f64>()
        };
        let ours = error(&|origin, step| ridge.forecast(0, &columns[0], origin..origin + 1)[step]);
        let naive = error(&|origin, step| columns[0][origin - 12 + step % 12]);
        assert!(ours < 0.8 * naive, "{ours} {naive}");
        // Another level, another scale: the same forecast there.
        let moved: Vec<f64> = columns[0].iter().map(|value| 3.0 * value - 70.0).collect();
        let (here, there) = (ridge.forecast(0, &columns[0], 400..401), ridge.forecast(0, &moved, 400..401));
        here.iter().zip(there).for_each(|(here, there)| assert!((3.0 * here - 70.0 - there).abs() < 1e-3, "{here} {there}"));
    }

    #[test]
    fn columns_have_maps_of_their_own_and_a_late_one_that_of_the_others() {
        let mut columns = columns();
        // Nothing but noise.
        let mut random = ChaCha8Rng::seed_from_u64(9);
        columns[1] = (0..500).map(|_| random.random_range(-1.0..1.0)).collect();
        columns[2][..390].fill(f64::NAN);
        let own = structural(&columns, &(0..400), &[48], &[12], &[12]).expect("maps");
        let map = |column: usize| &own.maps_clh[column * 48 * 12..][..48 * 12];
        // The last sample says more of a wandering level than of noise.
        assert!(map(0)[47 * 12] > 2.0 * map(1)[47 * 12], "{} {}", map(0)[47 * 12], map(1)[47 * 12]);
        let mean = |place: usize| (map(0)[place] + map(1)[place]) / 2.0;
        (0..48 * 12).for_each(|place| assert!((map(2)[place] - mean(place)).abs() < 0.02, "{} {}", map(2)[place], mean(place)));
        let sum: f32 = (0..48).map(|i| map(0)[i * 12 + 5]).sum();
        assert!((sum - 1.0).abs() < 1e-4, "{sum}");
    }

    #[test]
    fn it_goes_on_along_a_slope() {
        // A random walk with a drift: what comes is where it is, and the drift.
        let column = |seed: u64| {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut level = 0.0;
            let sample = |_| {
                level += 1.0 + random.random_range(-1.0..1.0);
                level
            };
            (0..240).map(sample).collect::<Vec<f64>>()
        };
        let columns: Vec<Vec<f64>> = (0..3).map(column).collect();
        let mean = |error: &dyn Fn(usize, usize) -> f64| {
            let all = (0..3).flat_map(|column| (120..228).map(move |origin| (column, origin)));
            all.map(|(column, origin)| error(column, origin).abs()).sum::<f64>()
        };
        let last = mean(&|column, origin| columns[column][origin - 1] - columns[column][origin + 11]);
        for seasons in [&[4][..], &[]] {
            let ridge = whole(&columns, structural(&columns, &(0..120), &[40], seasons, &[12]).expect("maps"));
            let ours = mean(&|column, origin| {
                ridge.forecast(column, &columns[column], origin..origin + 1)[11] - columns[column][origin + 11]
            });
            assert!(ours < 0.4 * last, "{seasons:?}: {ours} {last}");
        }
    }

    #[test]
    fn without_a_season_no_kernel_has_one() {
        let mut random = ChaCha8Rng::seed_from_u64(1);
        for manner in [Manner::Rough, Manner::Smooth, Manner::Drifting].repeat(20) {
            let kernel = Kernel::draw(&mut random, &[], 64, manner);
            assert!((2.0..32.0).contains(&kernel.season) && kernel.second.is_none(), "{kernel:?}");
            assert_eq!(kernel.shapes.map(|(variance, _)| variance), [0.0; 2]);
            // A covariance that only falls.
            assert!((1..200).all(|apart| kernel.at(apart) <= kernel.at(apart - 1)), "{kernel:?}");
        }
    }

    #[test]
    fn too_few_rows_are_an_error() {
        let short = structural(&columns(), &(0..40), &[48], &[12], &[12]);
        let what = "training windows of the structural maps";
        assert_eq!(short, Err(EvalError::TooShort { what, expected: 48, found: 40 }));
    }

    #[test]
    fn a_column_that_says_nothing_has_the_mean_of_all_kernels() {
        let [empty, flat] =
            [f64::NAN, 1.0].map(|value| structural(&[vec![value; 500]], &(0..400), &[48], &[12], &[12]).expect("maps"));
        assert_eq!(empty, flat);
        for step in 0..12 {
            let sum = empty.maps_clh.iter().skip(step).step_by(12).sum::<f32>();
            assert!((sum - 1.0).abs() < 1e-4, "{sum}");
        }
        // Beside others it has their mean.
        let mut all = columns();
        all.push(vec![1.0; 500]);
        let beside = structural(&all, &(0..400), &[48], &[12], &[12]).expect("maps");
        let (others, last) = beside.maps_clh.split_at(3 * 48 * 12);
        for (place, weight) in last.iter().enumerate() {
            let mean = others.iter().skip(place).step_by(48 * 12).sum::<f32>() / 3.0;
            assert!((weight - mean).abs() < 0.02, "{weight} {mean}");
        }
    }

    #[test]
    fn the_fit_of_a_kernel_is_what_its_forecasts_were_worth() {
        let mut columns = columns();
        columns[1] = vec![2.0; 500];
        columns[2][..395].fill(f64::NAN);
        let (lookback, horizon, cuts) = (24, 12, [4, 12]);
        let tried = Tried::of(&columns, &(0..400), 48, &[12], &cuts);
        let one = Kernel::draw(&mut ChaCha8Rng::seed_from_u64(3), &[12], 48, Manner::Rough);
        let other = Kernel { noise: 1.5 * one.noise, ..one.clone() };
        let by_hand = |kernel: &Kernel| {
            let map = Process::new(kernel, lookback, horizon).expect("a positive matrix").map();
            let origins = lookback..400 - horizon + 1;
            let up_to = |cut: usize| {
                let error = |origin: usize, step: usize| {
                    let said: f64 = (0..lookback).map(|i| map[(i, step)] * columns[0][origin - lookback + i]).sum();
                    (said - columns[0][origin + step]).powi(2)
                };
                let all = origins.clone().flat_map(|origin| (0..cut).map(move |step| (origin, step)));
                all.map(|(origin, step)| error(origin, step)).sum::<f64>() / (cut * origins.len()) as f64
            };
            -0.25 * (up_to(4).ln() + up_to(12).ln())
        };
        for kernel in [&one, &other] {
            let fit = tried.fit(kernel).expect("a positive matrix");
            assert!((fit[0] - by_hand(kernel)).abs() < 1e-9, "{fit:?} {}", by_hand(kernel));
            assert_eq!(fit[1..], [0.0, 0.0], "a flat column and one without a window say nothing");
        }
        let seen = Seen::of(&columns, &(0..400), 48);
        let logarithm = |kernel: &Kernel| {
            let evidence = seen.evidence(&Process::new(kernel, 48, 0).expect("a positive matrix"), 48)[0];
            EVIDENCE * evidence.expect("windows") + FIT * by_hand(kernel)
        };
        let expected = weights(&[logarithm(&one), logarithm(&other)]);
        assert!(expected.iter().all(|weight| *weight > 0.05), "{expected:?}");
        let found = of_columns(&[one, other], &seen, &tried, 48);
        assert!((found[0][0] - expected[0]).abs() < 1e-6, "{found:?} {expected:?}");
    }

    #[test]
    fn few_windows_decide_nothing_and_many_are_taken_by_stride_from_the_last() {
        let columns = columns();
        let windows = |train, lookback, seasons: &[usize], horizon| {
            let tried = Tried::of(&columns[..1], &train, lookback, seasons, &[horizon]);
            (tried.lookback, tried.columns[0].0.len() / tried.lookback, tried.count(0))
        };
        assert_eq!(windows(0..36, 48, &[12], 12), (24, 1, FIT_OF_ONE));
        assert_eq!(windows(0..35, 48, &[12], 12), (24, 0, 0.0));
        assert_eq!(windows(0..400, 48, &[12], 12), (24, 365, FIT));
        // A week of 40 is seen whole, and one of 60 as far as the look-back goes.
        assert_eq!(windows(0..400, 48, &[12, 40], 12).0, 40);
        assert_eq!(windows(0..400, 48, &[12, 60], 12).0, 48);
        let long: Vec<f64> = (0..20_000).map(|row| f64::from(row).powi(2)).collect();
        let tried = Tried::of(&[&long[..]], &(0..20_000), 4, &[1], &[1]);
        let (x, y) = &tried.columns[0];
        assert_eq!((tried.lookback, x.len()), (2, 2 * y.len()));
        assert_eq!(y.len(), 19_998usize.div_ceil(3), "every third of the origins: {MOST_TRIED} at most");
        assert_eq!(*y.last().expect("a window"), long[19_999] - (long[19_998] + long[19_997]) / 2.0);
    }

    #[test]
    fn evidence_knows_no_scale() {
        let kernel = Kernel::draw(&mut ChaCha8Rng::seed_from_u64(3), &[12], 48, Manner::Rough);
        let times = |(variance, time): (f64, f64)| (4.0 * variance, time);
        let larger = Kernel {
            levels: kernel.levels.map(times),
            shapes: kernel.shapes.map(times),
            memory: times(kernel.memory),
            noise: 4.0 * kernel.noise,
            ..kernel.clone()
        };
        let columns = columns();
        for lookback in [2, 12, 48] {
            let seen = Seen::of(&columns, &(0..400), lookback);
            let [one, other] = [&kernel, &larger]
                .map(|kernel| seen.evidence(&Process::new(kernel, lookback, 0).expect("a positive matrix"), lookback));
            for (one, other) in one.iter().zip(&other) {
                assert!((one.unwrap() - other.unwrap()).abs() < 1e-9, "{one:?} {other:?}");
            }
        }
    }
}
