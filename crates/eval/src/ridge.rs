//! Ridge regression from a window to the whole horizon, in closed form: the floor that a network has to beat.
//!
//! ```text
//! ŷ = (z − mean(z))·W + b + mean(z)       W = (G + λI)⁻¹B, G and B the centred Gram matrices of all training windows
//! ```
//! One map for all columns. A missing value is the last present one before it; windows that lack more than a tenth of their look-back or of
//! their horizon, or that begin before their column does, are left out, and are not forecast. λ is picked on the validation rows. G = UΛUᵀ is decomposed once, so every λ costs a product.

use crate::{EvalError, backtest::Baseline, missing::Filled};
use faer::{Mat, MatRef, Par, Side, linalg::matmul::matmul, mat::AsMatMut};
use rayon::prelude::*;
use std::ops::Range;

/// Strengths to pick from.
const STRENGTHS: [f64; 9] = [1e-3, 1.0, 10.0, 100.0, 1e3, 3e3, 1e4, 3e4, 1e5];
/// Most training windows; beyond it they are taken by stride.
const MOST_WINDOWS: usize = 400_000;
/// Most validation windows, likewise.
const MOST_VALIDATION: usize = 60_000;
/// Windows in one product.
const BLOCK: usize = 1024;
/// Partial sums, whatever the number of threads, so that the result does not depend on it.
const PARTS: usize = 8;

/// A fitted ridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Ridge {
    /// Samples it looks back.
    pub lookback: usize,
    /// Samples ahead.
    pub horizon: usize,
    /// `[lookback][horizon]`, oldest sample first.
    pub weights_lh: Vec<f32>,
    /// `[horizon]`.
    pub bias_h: Vec<f32>,
    /// The strength picked.
    pub strength: f64,
    /// Its mean squared error on the validation windows.
    pub validation_mse: f64,
}

/// Sums over windows.
struct Sums {
    gram: Mat<f64>,
    cross: Mat<f64>,
    x: Vec<f64>,
    y: Vec<f64>,
    windows: usize,
}

impl Sums {
    fn new(lookback: usize, horizon: usize) -> Self {
        Self {
            gram: Mat::zeros(lookback, lookback),
            cross: Mat::zeros(lookback, horizon),
            x: vec![0.0; lookback],
            y: vec![0.0; horizon],
            windows: 0,
        }
    }

    fn add(&mut self, other: &Self) {
        self.gram += &other.gram;
        self.cross += &other.cross;
        self.x.iter_mut().zip(&other.x).for_each(|(to, from)| *to += from);
        self.y.iter_mut().zip(&other.y).for_each(|(to, from)| *to += from);
        self.windows += other.windows;
    }
}

/// Windows and futures of one column at some origins, each less the window's mean.
#[derive(Default)]
struct Windows {
    /// `[window][lookback]`.
    x: Vec<f64>,
    /// `[window][horizon]`.
    y: Vec<f64>,
    /// `[window]`.
    means: Vec<f64>,
    /// Which of the origins, in order, have a window.
    complete: Vec<bool>,
}

impl Windows {
    /// The windows at ascending `origins` that lack few values. With a horizon of 0 it reads no row from the last origin on.
    fn of(column: &[f64], origins: &[usize], lookback: usize, horizon: usize) -> Self {
        let (Some(first), Some(last)) = (origins.first(), origins.last()) else { return Self::default() };
        let filled = Filled::of(column, first - lookback..last + horizon, None);
        let mut windows = Self {
            x: Vec::with_capacity(origins.len() * lookback),
            y: Vec::with_capacity(origins.len() * horizon),
            ..Self::default()
        };
        for &origin in origins {
            let (past, future) = (filled.window(origin - lookback..origin), filled.window(origin..origin + horizon));
            windows.complete.push(past.is_some() && future.is_some());
            if let (Some(past), Some(future)) = (past, future) {
                let mean = past.iter().sum::<f64>() / lookback as f64;
                windows.x.extend(past.iter().map(|value| value - mean));
                windows.y.extend(future.iter().map(|value| value - mean));
                windows.means.push(mean);
            }
        }
        windows
    }
}

fn rows_of(values: &[f64], width: usize) -> MatRef<'_, f64> {
    MatRef::from_row_major_slice(values, values.len() / width, width)
}

/// Every (column, origin) by stride, at most `most` of them, in blocks of one column.
fn blocks(columns: usize, origins: Range<usize>, most: usize) -> Vec<(usize, Vec<usize>)> {
    let stride = (origins.len() * columns).div_ceil(most).max(1);
    let origins: Vec<usize> = origins.step_by(stride).collect();
    (0..columns).flat_map(|column| origins.chunks(BLOCK).map(move |block| (column, block.to_vec()))).collect()
}

impl Ridge {
    /// Fits on the windows that lie in `train`, and picks the strength on those whose forecast rows lie in `validation`.
    ///
    /// # Errors
    /// Too few rows, too many missing values, or values that are not finite.
    pub fn fit(
        columns: &[Vec<f64>],
        train: &Range<usize>,
        validation: &Range<usize>,
        lookback: usize,
        horizon: usize,
    ) -> Result<Self, EvalError> {
        let too_short = |what, expected, found| Err(EvalError::TooShort { what, expected, found });
        if train.len() < lookback + horizon {
            return too_short("training windows of the ridge", lookback + horizon, train.len());
        }
        if validation.len() < horizon {
            return too_short("validation windows of the ridge", horizon, validation.len());
        }
        if validation.start < lookback {
            return too_short("look-back of the ridge", lookback, validation.start);
        }
        let training = blocks(columns.len(), train.start + lookback..train.end - horizon + 1, MOST_WINDOWS);
        let sums = sum(columns, &training, lookback, horizon);
        if sums.windows == 0 {
            return Err(EvalError::Missing { what: "training windows of the ridge" });
        }
        let n = sums.windows as f64;
        let gram = Mat::from_fn(lookback, lookback, |i, j| sums.gram[(i, j)] - sums.x[i] * sums.x[j] / n);
        let cross = Mat::from_fn(lookback, horizon, |i, j| sums.cross[(i, j)] - sums.x[i] * sums.y[j] / n);
        let decomposed = gram.self_adjoint_eigen(Side::Lower).map_err(|_| EvalError::NotFinite)?;
        let (vectors, values) = (decomposed.U(), decomposed.S().column_vector());
        let projected = vectors.transpose() * &cross;
        let held_out = blocks(columns.len(), validation.start..validation.end - horizon + 1, MOST_VALIDATION);
        let candidates: Vec<Self> = STRENGTHS
            .iter()
            .map(|&strength| {
                let scaled = Mat::from_fn(lookback, horizon, |i, j| projected[(i, j)] / (values[i] + strength));
                let weights = vectors * &scaled;
                let bias = |j: usize| (sums.y[j] - (0..lookback).map(|i| sums.x[i] * weights[(i, j)]).sum::<f64>()) / n;
                Self {
                    lookback,
                    horizon,
                    weights_lh: (0..lookback)
                        .flat_map(|i| (0..horizon).map(move |j| (i, j)))
                        .map(|at| weights[at] as f32)
                        .collect(),
                    bias_h: (0..horizon).map(|j| bias(j) as f32).collect(),
                    strength,
                    validation_mse: 0.0,
                }
            })
            .collect();
        let errors: Vec<(usize, Vec<f64>)> = held_out
            .par_iter()
            .map(|(column, origins)| {
                let Windows { x, y, .. } = Windows::of(&columns[*column], origins, lookback, horizon);
                (y.len(), candidates.iter().map(|ridge| ridge.square_error(&x, &y)).collect())
            })
            .collect();
        let count: usize = errors.iter().map(|(count, _)| count).sum();
        if count == 0 {
            return Err(EvalError::Missing { what: "validation windows of the ridge" });
        }
        let scored = candidates.into_iter().enumerate().map(|(index, mut ridge)| {
            ridge.validation_mse = errors.iter().map(|(_, errors)| errors[index]).sum::<f64>() / count as f64;
            ridge
        });
        let best =
            scored.filter(|ridge| ridge.validation_mse.is_finite()).min_by(|a, b| a.validation_mse.total_cmp(&b.validation_mse));
        best.ok_or(EvalError::NotFinite)
    }

    /// Forecasts of centred windows, `[window][horizon]`.
    fn apply(&self, x: &[f64]) -> Vec<f32> {
        let x: Vec<f32> = x.iter().map(|&value| value as f32).collect();
        let rows = x.len() / self.lookback;
        let mut y = vec![0.0f32; rows * self.horizon];
        let x = MatRef::from_row_major_slice(&x, rows, self.lookback);
        let weights = MatRef::from_row_major_slice(&self.weights_lh, self.lookback, self.horizon);
        let out = faer::MatMut::from_row_major_slice_mut(&mut y, rows, self.horizon);
        matmul(out, faer::Accum::Replace, x, weights, 1.0, Par::Seq);
        for row in y.chunks_exact_mut(self.horizon) {
            row.iter_mut().zip(&self.bias_h).for_each(|(y, bias)| *y += bias);
        }
        y
    }

    fn square_error(&self, x: &[f64], y: &[f64]) -> f64 {
        self.apply(x).iter().zip(y).map(|(forecast, y)| (f64::from(*forecast) - y).powi(2)).sum()
    }
}

fn sum(columns: &[Vec<f64>], blocks: &[(usize, Vec<usize>)], lookback: usize, horizon: usize) -> Sums {
    let parts: Vec<Sums> = (0..PARTS)
        .into_par_iter()
        .map(|part| {
            let mut sums = Sums::new(lookback, horizon);
            for (column, origins) in blocks.iter().skip(part).step_by(PARTS) {
                let Windows { x, y, means, .. } = Windows::of(&columns[*column], origins, lookback, horizon);
                let (x_wl, y_wh) = (rows_of(&x, lookback), rows_of(&y, horizon));
                matmul(sums.gram.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), x_wl, 1.0, Par::Seq);
                matmul(sums.cross.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), y_wh, 1.0, Par::Seq);
                for (x, y) in x.chunks_exact(lookback).zip(y.chunks_exact(horizon)) {
                    sums.x.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                    sums.y.iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
                }
                sums.windows += means.len();
            }
            sums
        })
        .collect();
    let mut total = Sums::new(lookback, horizon);
    parts.iter().for_each(|part| total.add(part));
    total
}

impl Baseline for Ridge {
    fn lookback(&self) -> usize {
        self.lookback
    }

    fn forecast(&self, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        let origins: Vec<usize> = origins.collect();
        let block = |origins: &[usize]| {
            let windows = Windows::of(column, origins, self.lookback, 0);
            let y = self.apply(&windows.x);
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
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn wave(rows: usize) -> Vec<f64> {
        (0..rows).map(|row| (row as f64 * 0.7).sin() + ((row * 7919) % 101) as f64 / 300.0).collect()
    }

    fn fit(columns: &[Vec<f64>], horizon: usize) -> Ridge {
        Ridge::fit(columns, &(0..300), &(300..400), 20, horizon).expect("fits")
    }

    #[test]
    fn a_gap_is_the_last_value_before_it() {
        let (mut gap, mut filled) = (wave(400), wave(400));
        for row in [100, 101, 250, 333] {
            gap[row] = NAN;
            filled[row] = filled[if row == 101 { 99 } else { row - 1 }];
        }
        // No window of 20 lacks more than 2.
        let own = fit(&[gap.clone()], 20);
        assert_eq!(own, fit(&[filled.clone()], 20));
        assert_eq!(own.forecast(&gap, 90..280), own.forecast(&filled, 90..280));
        let mut later = gap.clone();
        later[200..].fill(NAN);
        assert_eq!(own.forecast(&gap, 150..201), own.forecast(&later, 150..201), "nothing from the future");
    }

    #[test]
    fn windows_that_lack_too_much_are_left_out_and_not_forecast() {
        let whole = wave(400);
        // A column that begins late is fitted on the rows it has; one that never begins is no matter.
        let mut late = whole.clone();
        late[..150].fill(NAN);
        let columns = [late.clone(), vec![NAN; 400]];
        let windows = sum(&columns, &blocks(2, 20..296, MOST_WINDOWS), 20, 5).windows;
        assert_eq!(windows, 296 - 170);
        let ridge = fit(&columns, 5);
        assert!(ridge.weights_lh.iter().all(|weight| weight.is_finite()));
        let forecast = ridge.forecast(&late, 160..180);
        for (row, forecast) in forecast.chunks_exact(5).enumerate() {
            let complete = 160 + row >= 170;
            assert!(forecast.iter().all(|value| value.is_nan() != complete), "{}: {forecast:?}", 160 + row);
        }
        assert!(ridge.forecast(&columns[1], 100..101).iter().all(|value| value.is_nan()));
        let mut holes = whole;
        holes[200..203].fill(NAN);
        let missing = |origin: usize| ridge.forecast(&holes, origin..origin + 1)[0].is_nan();
        assert!(!missing(202) && missing(203) && missing(220) && !missing(221), "three of twenty are too many");
    }

    #[test]
    fn nothing_to_fit_on_is_an_error() {
        let error = |column: Vec<f64>| Ridge::fit(&[column], &(0..300), &(300..400), 20, 5).expect_err("missing").to_string();
        assert!(error(vec![NAN; 400]).contains("training windows"));
        let mut ends = wave(400);
        ends[280..].fill(NAN);
        assert!(error(ends).contains("validation windows"));
    }
}
