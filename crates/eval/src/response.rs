//! The response of columns to covariates that are known ahead, in closed form.
//!
//! ```text
//! z[t] = Σ a[j]·z[t − j] + Σ b[i]·u[t − i] + e         ridge regression: a tells how errors go on
//! A(z)[t] = Σ g[i]·A(u)[t − i] + e                     A(x)[t] = x[t] − Σ a[j]·x[t − j]
//! ```
//! The second is generalised least squares for an impulse response g whose errors are autoregressive (Cochrane & Orcutt 1949; Box & Jenkins 1970). Its
//! strength is picked by column, by how well a ridge forecasts what is left on the validation rows, all steps of the horizon: errors of the next sample alone
//! hardly see a slow response. A column responds only where that is better by more than a quarter, and by more than its standard error over four parts of those
//! rows: of what explains less, as the weather of rented bikes does, a network that sees the covariates makes more (LOG.md). In inputs a missing value is
//! the last one before it; rows without a value of their own are learned nothing of.

use crate::{EvalError, Inputs, Ridge};
use faer::{Mat, Par, Side, linalg::matmul::matmul, linalg::solvers::Solve, mat::AsMatMut};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;
use std::ops::Range;

/// Samples of its own that tell how a column's errors go on.
const ORDER: usize = 32;
/// Strengths to pick from, over the mean square of a covariate's row times the number of rows.
const STRENGTHS: [f64; 6] = [1e-7, 1e-5, 1e-3, 1e-2, 0.1, 1.0];
/// Most rows that are learned from; of more one of every so many is taken.
const MOST_ROWS: usize = 12_000;
/// Rows in one product.
const BLOCK: usize = 1024;
/// Parts of the validation rows that say how sure a gain is, and the least gain that is one.
const PARTS: usize = 4;
const LEAST_GAIN: f64 = 0.25;
/// Most samples that a ridge of one column looks back by which its gain is judged.
const MOST_OWN: usize = 256;

/// A column, what is missing filled beside it, and the standardised covariates, `[row][known]`.
struct Driven<'a> {
    index: usize,
    values: &'a [f64],
    filled: Vec<f64>,
    known: &'a [f32],
    width: usize,
    samples: usize,
}

/// Impulse responses that were found.
#[derive(Clone, Debug)]
pub struct Responses {
    /// `[column][row][covariate]`, the oldest row first; zeros of a column that does not respond.
    pub weights_crk: Vec<f32>,
    /// Mean square on validation rows of the ridge by which they were picked, without them and with.
    pub squares: [f64; 2],
}

/// Fits the impulse response of each column to `width` covariates, `known[column][row][covariate]` or one for all columns, over `samples` rows; none if no
/// column responds. Strengths are picked by a ridge over `lookback` samples for all steps of `horizon`. NaN are missing values.
///
/// # Errors
/// Too few rows, or values that are not finite.
pub fn response(
    columns: &[impl AsRef<[f64]> + Sync],
    known: &[Vec<f32>],
    width: usize,
    train: &Range<usize>,
    validation: &Range<usize>,
    samples: usize,
    (lookback, horizon): (usize, usize),
) -> Result<Option<Responses>, EvalError> {
    let expected = samples.saturating_mul(2).saturating_add(ORDER);
    if train.len() < expected {
        return Err(EvalError::TooShort { what: "training rows of a response", expected, found: train.len() });
    }
    let of = |index: usize| {
        let (values, known) = (columns[index].as_ref(), &known[if known.len() == 1 { 0 } else { index }][..]);
        let last = |last: &mut f64, value: &f64| {
            *last = if value.is_nan() { *last } else { *value };
            Some(*last)
        };
        Driven { index, values, filled: values.iter().scan(f64::NAN, last).collect(), known, width, samples }
    };
    let maps: Vec<Vec<Vec<f32>>> =
        (0..columns.len()).into_par_iter().map(|index| of(index).maps(train)).collect::<Result<_, _>>()?;
    // The errors of a ridge on what is left of columns, by column and part.
    let squares = |left: &[Vec<f64>], lookback: usize| {
        let inputs = Inputs::samples(lookback.min(train.len() / 4));
        let ridge = Ridge::fit(left, left.len(), train, validation, inputs, &[horizon], 0)?;
        let windows = validation.start..(validation.end + 1).saturating_sub(horizon);
        let part = |part: usize| {
            let at = |part: usize| windows.start + windows.len() * part / PARTS;
            at(part)..at(part + 1)
        };
        let of_column = |index: usize| {
            let of = |at: usize| ridge.mean_square(&left[index..index + 1], part(at), &(0..horizon)).unwrap_or(f64::NAN);
            (0..PARTS).map(of).collect::<Vec<f64>>()
        };
        Ok::<_, EvalError>((0..left.len()).into_par_iter().map(of_column).collect::<Vec<_>>())
    };
    let plain: Vec<Vec<f64>> = columns.iter().map(|column| column.as_ref().to_vec()).collect();
    let before = squares(&plain, lookback)?;
    let mut best: Vec<Option<Best>> = vec![None; columns.len()];
    for place in 0..STRENGTHS.len() {
        let left: Vec<Vec<f64>> = (0..columns.len()).into_par_iter().map(|index| of(index).left(&maps[index][place])).collect();
        for ((best, before), after) in best.iter_mut().zip(&before).zip(squares(&left, lookback)?) {
            let gain = gain(before, &after).filter(|gain| best.is_none_or(|best| *gain > best.gain));
            *best = gain.map(|gain| Best { gain, place, square: mean(&after) }).or(*best);
        }
    }
    // The ridge is one for all columns: each has to gain by one of its own, too.
    let own = |(index, best): (usize, &mut Option<Best>)| {
        let Some(Best { place, .. }) = *best else { return Ok(()) };
        // A column that lacks too much for a ridge of its own has none to gain by.
        let of_one = |column: Vec<f64>| match squares(&[column], lookback.min(MOST_OWN)) {
            Ok(mut squares) => Ok(squares.remove(0)),
            Err(EvalError::TooShort { .. } | EvalError::Missing { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        };
        if gain(&of_one(plain[index].clone())?, &of_one(of(index).left(&maps[index][place]))?).is_none() {
            *best = None;
        }
        Ok(())
    };
    best.par_iter_mut().enumerate().try_for_each(own)?;
    if best.iter().all(Option::is_none) {
        return Ok(None);
    }
    let picked = |index: usize| match best[index] {
        Some(Best { place, .. }) => maps[index][place].clone(),
        None => vec![0.0; samples * width],
    };
    let after = |(best, before): (&Option<Best>, &Vec<f64>)| best.map_or(mean(before), |best| best.square);
    let squares = [before.iter().map(|squares| mean(squares)).collect(), best.iter().zip(&before).map(after).collect()];
    Ok(Some(Responses {
        weights_crk: (0..columns.len()).flat_map(picked).collect(),
        squares: squares.map(|squares: Vec<f64>| mean(&squares)),
    }))
}

/// The strength that a column gains most by.
#[derive(Clone, Copy)]
struct Best {
    gain: f64,
    place: usize,
    /// Its mean square then.
    square: f64,
}

/// Of what is there.
fn mean(values: &[f64]) -> f64 {
    let there = || values.iter().filter(|value| !value.is_nan());
    there().sum::<f64>() / there().count() as f64
}

/// How much lower mean squares of the parts are, as a share, where that is a gain.
fn gain(before: &[f64], after: &[f64]) -> Option<f64> {
    let gains: Vec<f64> =
        before.iter().zip(after).map(|(before, after)| 1.0 - after / before).filter(|gain| gain.is_finite()).collect();
    let (count, all) = (gains.len() as f64, 1.0 - mean(after) / mean(before));
    let middle = gains.iter().sum::<f64>() / count;
    let error = (gains.iter().map(|gain| (gain - middle).powi(2)).sum::<f64>() / (count - 1.0) / count).sqrt();
    (gains.len() > 1 && all > LEAST_GAIN && all > error).then_some(all)
}

impl Driven<'_> {
    /// The impulse response of each strength.
    fn maps(&self, train: &Range<usize>) -> Result<Vec<Vec<f32>>, EvalError> {
        let (len, none) = (self.samples * self.width, || vec![vec![0.0; self.samples * self.width]; STRENGTHS.len()]);
        let rows = || taken(train.start + ORDER..train.end, train.len().div_ceil(MOST_ROWS), self.index);
        // How errors go on.
        let known: Vec<f64> = self.known.iter().map(|&value| f64::from(value)).collect();
        let own = |row: usize, out: &mut [f64]| {
            let (own, beside) = out.split_at_mut(ORDER);
            own.iter_mut().enumerate().for_each(|(back, to)| *to = self.filled[row - 1 - back]);
            self.lags(&known, row, beside);
        };
        let Some((gram, cross)) = sums(rows(), ORDER + len, own, |row| self.values[row]) else { return Ok(none()) };
        let first = solved(&gram, &cross, 1.0)?;
        let a: Vec<f64> = (0..ORDER).map(|at| first[(at, 0)]).collect();
        let whitened = |of: &dyn Fn(usize) -> f64, row: usize| {
            of(row) - a.iter().enumerate().filter(|(back, _)| *back < row).map(|(back, a)| a * of(row - 1 - back)).sum::<f64>()
        };
        let white_known: Vec<f64> =
            (0..known.len()).map(|at| whitened(&|row| known[row * self.width + at % self.width], at / self.width)).collect();
        let white = |row: usize| if self.values[row].is_nan() { f64::NAN } else { whitened(&|row| self.filled[row], row) };
        let Some((gram, cross)) = sums(rows(), len, |row, out| self.lags(&white_known, row, out), white) else {
            return Ok(none());
        };
        let scale = (0..len).map(|at| gram[(at, at)]).sum::<f64>() / len as f64;
        let map = |strength: &f64| {
            let map = solved(&gram, &cross, strength * scale)?;
            // Lags go back, rows go on.
            let rows = (0..self.samples).rev().flat_map(|lag| (0..self.width).map(move |known| lag * self.width + known));
            Ok(rows.map(|at| map[(at, 0)] as f32).collect())
        };
        STRENGTHS.iter().map(map).collect()
    }

    /// The column less its response.
    fn left(&self, map: &[f32]) -> Vec<f64> {
        let of = |(row, value): (usize, &f64)| {
            let rows = &self.known[(row + 1).saturating_sub(self.samples) * self.width..(row + 1) * self.width];
            let weights = &map[map.len() - rows.len()..];
            value - f64::from(rows.iter().zip(weights).map(|(known, weight)| known * weight).sum::<f32>())
        };
        self.values.iter().enumerate().map(of).collect()
    }

    /// The newest rows of covariates at a row, that row first, `[lag][known]`; zeros before there are any.
    fn lags(&self, known: &[f64], row: usize, out: &mut [f64]) {
        for (back, out) in out.chunks_exact_mut(self.width).enumerate() {
            match row.checked_sub(back) {
                Some(row) => out.copy_from_slice(&known[row * self.width..][..self.width]),
                None => out.fill(0.0),
            }
        }
    }
}

/// Sums of products of the inputs of some rows with each other and with their targets, rows with what is missing left out; none if all are.
fn sums(
    rows: impl Iterator<Item = usize>,
    width: usize,
    inputs: impl Fn(usize, &mut [f64]),
    target: impl Fn(usize) -> f64,
) -> Option<(Mat<f64>, Mat<f64>)> {
    let (mut gram, mut cross, mut any) = (Mat::zeros(width, width), Mat::zeros(width, 1), false);
    let (mut x, mut y) = (Vec::with_capacity(BLOCK * width), Vec::with_capacity(BLOCK));
    let mut add = |x: &mut Vec<f64>, y: &mut Vec<f64>| {
        let (inputs, targets) =
            (faer::MatRef::from_row_major_slice(x, y.len(), width), faer::MatRef::from_row_major_slice(y, y.len(), 1));
        matmul(gram.as_mat_mut(), faer::Accum::Add, inputs.transpose(), inputs, 1.0, Par::Seq);
        matmul(cross.as_mat_mut(), faer::Accum::Add, inputs.transpose(), targets, 1.0, Par::Seq);
        any |= !y.is_empty();
        x.clear();
        y.clear();
    };
    for row in rows {
        let start = x.len();
        x.resize(start + width, 0.0);
        inputs(row, &mut x[start..]);
        let value = target(row);
        if value.is_finite() && x[start..].iter().all(|value| value.is_finite()) {
            y.push(value);
        } else {
            x.truncate(start);
        }
        if y.len() == BLOCK {
            add(&mut x, &mut y);
        }
    }
    add(&mut x, &mut y);
    any.then_some((gram, cross))
}

/// The ridge regression of some sums.
fn solved(gram: &Mat<f64>, cross: &Mat<f64>, strength: f64) -> Result<Mat<f64>, EvalError> {
    let width = gram.nrows();
    // Covariates that never change have no square.
    let gram =
        Mat::from_fn(width, width, |i, j| gram[(i, j)] + if i == j { strength.max(f64::MIN_POSITIVE.sqrt()) } else { 0.0 });
    Ok(gram.llt(Side::Lower).map_err(|_| EvalError::NotFinite)?.solve(cross))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Uniform in −1 to 1, by a linear congruential generator.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let next = |state: &u64| Some(state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
        std::iter::successors(next(&seed), next).map(|state| (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }

    /// A covariate that steps, one of noise, and a column that follows the first by a second-order lag, under errors that go on.
    fn loop_of(rows: usize) -> (Vec<f64>, Vec<f32>) {
        let mut steps = noise(3).step_by(40);
        let (mut level, mut error, mut state) = (0.0, 0.0, [0.0, 0.0]);
        let (mut column, mut known) = (Vec::new(), Vec::new());
        for ((row, noise), useless) in (0..rows).zip(noise(5)).zip(noise(7)) {
            if row % 40 == 0 {
                level = steps.next().unwrap_or(0.0);
            }
            error = 0.9 * error + 0.02 * noise;
            state = [1.5 * state[0] - 0.6 * state[1] + 0.1 * level, state[0]];
            column.push(state[0] + error);
            known.extend([level as f32, useless as f32]);
        }
        (column, known)
    }

    #[test]
    fn a_lag_is_found_under_errors_that_go_on() {
        let (column, known) = loop_of(3_000);
        let found =
            response(&[column], &[known], 2, &(0..2_000), &(2_000..2_500), 64, (64, 20)).expect("fits").expect("a response");
        assert!(found.squares[1] < 0.1 * found.squares[0], "{:?}", found.squares);
        let found = found.weights_crk;
        // The impulse response of the lag, the newest row last.
        let mut expected = [0.1, 0.15];
        for back in 0..40 {
            let [weight, useless] = [0, 1].map(|at| f64::from(found[(63 - back) * 2 + at]));
            assert!((weight - expected[0]).abs() < 0.02 && useless.abs() < 0.02, "{back}: {weight} {} {useless}", expected[0]);
            expected = [expected[1], 1.5 * expected[1] - 0.6 * expected[0]];
        }
    }

    #[test]
    fn only_what_responds_does_and_gaps_are_no_hindrance() {
        let (mut column, known) = loop_of(3_000);
        // Every thirtieth value is missing, and beside it is a column of errors that go on alone.
        (0..3_000).step_by(30).for_each(|row| column[row] = f64::NAN);
        let alone: Vec<f64> = noise(9).scan(0.0, |at, noise| (*at = 0.97 * *at + noise, Some(*at)).1).take(3_000).collect();
        let mostly_missing: Vec<f64> =
            column.iter().enumerate().map(|(row, value)| if row % 13 < 12 { f64::NAN } else { *value }).collect();
        let columns = [column.clone(), column, alone, mostly_missing];
        let found =
            response(&columns, &[known], 2, &(0..2_000), &(2_000..2_500), 64, (64, 20)).expect("fits").expect("a response");
        let of = |index: usize| &found.weights_crk[index * 128..][..128];
        assert!((of(0)[126] - 0.1).abs() < 0.03 && of(0)[126] == of(1)[126], "{} {}", of(0)[126], of(1)[126]);
        assert!(of(2).iter().chain(of(3)).all(|weight| *weight == 0.0));
    }

    #[test]
    fn steps_at_round_times_are_no_hindrance_where_rows_are_thinned() {
        let rows = 60_000;
        let (column, known) = loop_of(rows);
        let known: Vec<f32> = known.chunks_exact(2).map(|row| row[0]).collect();
        // A step every forty rows, of which one of four is learned from.
        let found =
            response(&[column], &[known], 1, &(0..48_000), &(48_000..54_000), 32, (64, 20)).expect("fits").expect("a response");
        let mut expected = [0.1, 0.15];
        for back in 0..20 {
            let weight = f64::from(found.weights_crk[31 - back]);
            assert!((weight - expected[0]).abs() < 0.02, "{back}: {weight} {}", expected[0]);
            expected = [expected[1], 1.5 * expected[1] - 0.6 * expected[0]];
        }
    }

    #[test]
    fn nothing_responds_to_noise() {
        for seed in 1..9 {
            let column: Vec<f64> =
                noise(seed).scan(0.0, |at, noise| (*at = 0.95 * *at + noise, Some(*at)).1).take(2_500).collect();
            let known: Vec<f32> = noise(seed + 100).map(|value| value as f32).take(2_500).collect();
            let found = response(&[column], &[known], 1, &(0..2_000), &(2_000..2_500), 64, (64, 20)).expect("fits");
            assert!(found.is_none(), "{seed}");
        }
        let short =
            response(&[[0.0; 100]], &[vec![0.0; 100]], 1, &(0..100), &(100..100), 64, (64, 1)).expect_err("short").to_string();
        assert!(short.contains("training rows of a response: expected at least 160 rows, found 100"), "{short}");
        // What never changes.
        let found = response(&[loop_of(600).0], &[vec![0.0; 600]], 1, &(0..400), &(400..600), 64, (64, 9)).expect("fits");
        assert!(found.is_none());
    }
}
