//! Ridge regression from a window to the whole horizon, in closed form: the floor that a network has to beat.
//!
//! ```text
//! ŷ = (z − mean(z))·W + b + mean(z)       W = (G + λI)⁻¹B, G and B the centred Gram matrices of all training windows
//! ```
//! One map for all columns. λ is picked on the validation rows. G = UΛUᵀ is decomposed once, so every λ costs a product.

use crate::{EvalError, backtest::Baseline};
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

/// Windows and futures of one column at some origins, each less the window's mean: `[window][lookback]`, `[window][horizon]`.
fn windows(column: &[f64], origins: &[usize], lookback: usize, horizon: usize) -> (Vec<f64>, Vec<f64>) {
    let (mut x, mut y) = (Vec::with_capacity(origins.len() * lookback), Vec::with_capacity(origins.len() * horizon));
    for &origin in origins {
        let window = &column[origin - lookback..origin];
        let mean = window.iter().sum::<f64>() / lookback as f64;
        x.extend(window.iter().map(|value| value - mean));
        y.extend(column[origin..origin + horizon].iter().map(|value| value - mean));
    }
    (x, y)
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
    /// Too few rows, or values that are not finite.
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
        let errors: Vec<Vec<f64>> = held_out
            .par_iter()
            .map(|(column, origins)| {
                let (x, y) = windows(&columns[*column], origins, lookback, horizon);
                candidates.iter().map(|ridge| ridge.square_error(&x, &y)).collect()
            })
            .collect();
        let count: usize = held_out.iter().map(|(_, origins)| origins.len() * horizon).sum();
        let scored = candidates.into_iter().enumerate().map(|(index, mut ridge)| {
            ridge.validation_mse = errors.iter().map(|errors| errors[index]).sum::<f64>() / count as f64;
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
                let (x, y) = windows(&columns[*column], origins, lookback, horizon);
                let (x_wl, y_wh) = (rows_of(&x, lookback), rows_of(&y, horizon));
                matmul(sums.gram.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), x_wl, 1.0, Par::Seq);
                matmul(sums.cross.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), y_wh, 1.0, Par::Seq);
                for (x, y) in x.chunks_exact(lookback).zip(y.chunks_exact(horizon)) {
                    sums.x.iter_mut().zip(x).for_each(|(sum, x)| *sum += x);
                    sums.y.iter_mut().zip(y).for_each(|(sum, y)| *sum += y);
                }
                sums.windows += origins.len();
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
            let (x, _) = windows(column, origins, self.lookback, 0);
            let y = self.apply(&x);
            let rows = origins.iter().zip(y.chunks_exact(self.horizon));
            let restored = rows.flat_map(|(&origin, y)| {
                let mean = column[origin - self.lookback..origin].iter().sum::<f64>() / self.lookback as f64;
                y.iter().map(move |&y| f64::from(y) + mean)
            });
            restored.collect::<Vec<_>>()
        };
        origins.par_chunks(BLOCK).flat_map_iter(block).collect()
    }
}
