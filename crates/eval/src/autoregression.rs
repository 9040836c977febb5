//! A vector autoregression that stands beside a corrected linear expert: every column's next sample from the newest of all columns, step by step to the horizon.
//!
//! ```text
//! z_t = c + A_1·z_{t−1} + … + A_p·z_{t−p}          Sims, Macroeconomics and reality, Econometrica 1980
//! ŷ = (1 − w)·corrected + w·autoregression          w for each column and block of the horizon
//! ```
//! A direct map has weights for every step, a recursion has the same few for all: where columns follow from one another as physics has it, it needs less to be
//! learned from. Fitted by ridge regression; order and strength are those with the smallest errors on validation rows once it is blended in, shares the least squares of those rows. A share is kept where it takes a
//! fiftieth of the squared error there, and on held-out quarters of the training rows of what the expert errs without corrections (which were fitted on them).

use crate::{EvalError, ridge::steps};
use faer::{Mat, MatRef, Side, linalg::solvers::Solve};
use rayon::prelude::*;

/// Samples of each column that it may look back, as far as the corrections do.
const ORDERS: [usize; 4] = [2, 4, 8, 16];
/// The most of them, which are judged as well.
pub(crate) const LONGEST_ORDER: usize = 32;
/// Strengths to pick from.
const STRENGTHS: [f64; 4] = [1e-3, 1.0, 30.0, 1e3];
/// The part of the squared error that a share has to take, of validation rows as of held-out quarters.
const LEAST_GAIN: f64 = 0.02;
/// The logarithm of what is left, at least: a column that is known to rounding says nothing of the others.
const LARGEST_GAIN: f64 = -20.0;
/// Squares that are none but rounding's.
const NOTHING: f64 = 1e-12;
/// A weight of a forecast beyond this is of a recursion that runs away.
const LARGEST_WEIGHT: f64 = 100.0;
/// How often a strength is doubled for one that does.
const MOST_DOUBLED: u32 = 64;
/// Values of forecasts that are judged at once, of validation rows as of a quarter.
const MOST_JUDGED: usize = 1 << 20;

/// One autoregression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// Samples of each column that it looks back.
    pub order: usize,
    /// Its strength.
    pub strength: f64,
}

/// What is blended in.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// The autoregression of each block of the horizon.
    pub picks: Vec<Pick>,
    /// Its share by column and block.
    pub shares: Vec<Vec<f64>>,
}

/// Sums over rows: of products of the inputs, and of these with the next samples.
pub(crate) struct Equations {
    pub gram: Mat<f64>,
    pub cross: Mat<f64>,
}

impl Equations {
    /// Of no rows, for so many columns and the longest order.
    pub fn new(columns: usize, longest: usize) -> Self {
        let inputs = columns * longest + 1;
        Self { gram: Mat::zeros(inputs, inputs), cross: Mat::zeros(inputs, columns) }
    }

    pub fn sum<'e>(all: impl Iterator<Item = &'e Self>, columns: usize, longest: usize) -> Self {
        all.fold(Self::new(columns, longest), |sum, more| Self { gram: sum.gram + &more.gram, cross: sum.cross + &more.cross })
    }

    /// Every column's forecasts of the horizon from the inputs of this order, `[input][step · columns + column]`: samples by row, the oldest first, then 1.
    pub fn solve(&self, Pick { order, strength }: Pick, horizon: usize) -> Result<Mat<f64>, EvalError> {
        let (columns, inputs) = (self.cross.ncols(), order * self.cross.ncols() + 1);
        let from = self.gram.nrows() - inputs;
        let mut gram = self.gram.submatrix(from, from, inputs, inputs).to_owned();
        // The constant is free; the least of it keeps a sum of nothing solvable.
        (0..inputs).for_each(|i| gram[(i, i)] += if i + 1 < inputs { strength } else { f64::MIN_POSITIVE });
        let factor = gram.llt(Side::Lower).map_err(|_| EvalError::NotFinite)?;
        let next = factor.solve(self.cross.subrows(from, inputs));
        // What each input alone leads to, row by row of the future.
        let mut rows = Mat::zeros(inputs, (order + horizon) * columns);
        (0..inputs - 1).for_each(|i| rows[(i, i)] = 1.0);
        for step in 0..horizon {
            let mut said = rows.subcols(step * columns, inputs - 1) * next.subrows(0, inputs - 1);
            (0..columns).for_each(|column| said[(inputs - 1, column)] += next[(inputs - 1, column)]);
            rows.subcols_mut((order + step) * columns, columns).copy_from(&said);
        }
        let said_in = rows.subcols(order * columns, horizon * columns);
        let runs_away =
            said_in.col_iter().any(|column| column.iter().any(|weight| weight.abs() > LARGEST_WEIGHT || weight.is_nan()));
        if runs_away { Err(EvalError::NotFinite) } else { Ok(said_in.to_owned()) }
    }

    /// The same with as much more strength as keeps it from running away on rows that it was not picked on.
    pub fn solve_tamed(&self, pick: Pick, horizon: usize) -> Result<Mat<f64>, EvalError> {
        let stronger = |times: u32| self.solve(Pick { strength: pick.strength * f64::from(times).exp2(), ..pick }, horizon);
        (0..MOST_DOUBLED).map(stronger).find(Result::is_ok).unwrap_or_else(|| stronger(MOST_DOUBLED))
    }
}

/// Windows to judge on.
pub(crate) struct Held {
    /// The inputs of the longest order.
    pub x: Mat<f64>,
    /// By column: what came, and what is left of it without the autoregression, `[window][horizon]`; NaN where nothing is held against it.
    pub columns: Vec<(Vec<f64>, Vec<f64>)>,
}

/// Windows that are judged of so many.
pub(crate) fn judged(columns: usize, horizon: usize) -> usize {
    (MOST_JUDGED / (columns * horizon).max(1)).max(16)
}

/// Sums over windows and steps: squares of what is left, its products with how far the autoregression is from what is said, and squares of that.
type Squares = [f64; 3];

/// What is left of the squares with a share.
fn blended([left, common, distance]: Squares, share: f64) -> f64 {
    left - 2.0 * share * common + share * share * distance
}

impl Held {
    fn squares(&self, said_in: MatRef<'_, f64>, horizon: usize, cuts: &[usize]) -> Vec<Vec<Squares>> {
        let (inputs, columns) = (said_in.nrows(), self.columns.len());
        let said = self.x.subcols(self.x.ncols() - inputs, inputs) * said_in;
        let of_column = |(column, (came, left)): (usize, &(Vec<f64>, Vec<f64>))| {
            let of_block = |block: usize| {
                let mut sums = [0.0; 3];
                for (window, (came, left)) in came.chunks_exact(horizon).zip(left.chunks_exact(horizon)).enumerate() {
                    for step in steps(cuts, block).filter(|&step| !left[step].is_nan()) {
                        let distance = left[step] - (came[step] - said[(window, step * columns + column)]);
                        let more = [left[step] * left[step], left[step] * distance, distance * distance];
                        sums.iter_mut().zip(more).for_each(|(sum, more)| *sum += more);
                    }
                }
                sums
            };
            (0..cuts.len()).map(of_block).collect()
        };
        self.columns.iter().enumerate().map(of_column).collect()
    }
}

impl Blend {
    /// What pays: of the quarters each is judged with what is fitted `without` it, validation rows with `whole`.
    pub(crate) fn judge(
        whole: &Equations,
        without: &[Equations],
        validation: &Held,
        quarters: &[Held],
        horizon: usize,
        cuts: &[usize],
    ) -> Option<Self> {
        let columns = whole.cross.ncols();
        let longest = (whole.gram.nrows() - 1) / columns;
        let orders = ORDERS.into_iter().filter(|order| *order < longest).chain([longest]);
        let candidates: Vec<Pick> = orders.flat_map(|order| STRENGTHS.map(|strength| Pick { order, strength })).collect();
        let share = |[_, common, distance]: Squares| if distance > 0.0 { (common / distance).clamp(0.0, 1.0) } else { 0.0 };
        let judged = |pick: &Pick| {
            // One that cannot be solved, or runs away, is none.
            let said_in = whole.solve(*pick, horizon).ok()?;
            Some((*pick, validation.squares(said_in.as_ref(), horizon, cuts)))
        };
        let judged: Vec<_> = candidates.par_iter().filter_map(judged).collect();
        let left = |squares: &Vec<Vec<Squares>>, block: usize| -> f64 {
            let of = |squares: &Vec<Squares>| (blended(squares[block], share(squares[block])) / squares[block][0]).ln();
            squares.iter().map(of).map(|left| if left.is_nan() { 0.0 } else { left.max(LARGEST_GAIN) }).sum()
        };
        let best = |block: usize| judged.iter().min_by(|(_, a), (_, b)| left(a, block).total_cmp(&left(b, block)));
        let best = (0..cuts.len()).map(best).collect::<Option<Vec<_>>>()?;
        let picks: Vec<Pick> = best.iter().map(|(pick, _)| *pick).collect();
        let mut held = vec![vec![[0.0; 3]; cuts.len()]; columns];
        for (equations, quarter) in without.iter().zip(quarters) {
            for (block, pick) in picks.iter().enumerate() {
                let Ok(said_in) = equations.solve(*pick, horizon) else {
                    held.iter_mut().for_each(|held| held[block] = [f64::NAN; 3]);
                    continue;
                };
                let squares = quarter.squares(said_in.as_ref(), horizon, cuts);
                for (held, more) in held.iter_mut().zip(&squares) {
                    held[block].iter_mut().zip(more[block]).for_each(|(sum, more)| *sum += more);
                }
            }
        }
        let found: Vec<Vec<Squares>> = (0..columns)
            .map(|column| best.iter().enumerate().map(|(block, (_, squares))| squares[column][block]).collect())
            .collect();
        let pays = |squares: &Squares, share: f64| blended(*squares, share) + NOTHING < (1.0 - LEAST_GAIN) * squares[0];
        let of_block = |(found, held): (&Squares, &Squares)| {
            let share = share(*found);
            if pays(found, share) && pays(held, share) { share } else { 0.0 }
        };
        let shares: Vec<Vec<f64>> =
            found.iter().zip(&held).map(|(found, held)| found.iter().zip(held).map(of_block).collect()).collect();
        let any = shares.iter().flatten().any(|share| *share > 0.0);
        any.then_some(Self { picks, shares })
    }

    /// Its share by column and step.
    pub fn share_ch(&self, horizon: usize, cuts: &[usize]) -> Vec<Vec<f64>> {
        let of = |shares: &Vec<f64>| {
            let mut share_h = vec![0.0; horizon];
            shares.iter().enumerate().for_each(|(block, share)| share_h[steps(cuts, block)].fill(*share));
            share_h
        };
        self.shares.iter().map(of).collect()
    }
}
