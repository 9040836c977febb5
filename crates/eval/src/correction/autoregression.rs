//! A vector autoregression that stands beside a corrected linear expert: every column's next sample from the newest of all columns, step by step to the horizon.
//!
//! ```text
//! z_t = c + A_1·z_{t−1} + … + A_p·z_{t−p}          Sims, Macroeconomics and reality, Econometrica 1980
//! ŷ = (1 − w)·corrected + w·autoregression          w for each column and block of the horizon
//! ```
//! A direct map has weights for every step, a recursion has the same few for all: where columns follow from one another as physics has it, it needs less to be
//! learned from. Fitted by ridge regression; order and strength are those with the smallest errors on validation rows once it is blended in, shares the least squares of those rows. A share is kept where it takes a
//! fiftieth of the squared error there, and on held-out quarters of the training rows of what the expert errs without corrections (which were fitted on them).

use super::{
    BETWEEN, BLOCK, Correction, FOLDS, Fitting, HELD_BACK, LEAST_GAIN, Looks, Maps, Samples, Seen, Stretch, add_product,
    fitted_on, is_far, look, said_by,
};
use crate::{EvalError, ridge::steps};
use faer::{Mat, MatRef, Side, linalg::solvers::Solve};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;

/// Samples of each column that it may look back, as far as the corrections do.
const ORDERS: [usize; 4] = [2, 4, 8, 16];
/// The most of them, which are judged as well.
const LONGEST_ORDER: usize = 32;
/// Strengths to pick from.
const STRENGTHS: [f64; 4] = [1e-3, 1.0, 30.0, 1e3];
/// The logarithm of what is left, at least: a column that is known to rounding says nothing of the others.
const LARGEST_GAIN: f64 = -20.0;
/// Squares that are none but rounding's.
const NOTHING: f64 = 1e-12;
/// Windows that are judged at least.
const FEWEST_JUDGED: usize = 16;
/// A weight of a forecast beyond this is of a recursion that runs away.
const LARGEST_WEIGHT: f64 = 100.0;
/// How often a strength is doubled for one that does.
const MOST_DOUBLED: u32 = 64;
/// Values of a recursion's forecasts from each of its inputs at most.
const MOST_FORECASTS: usize = 1 << 24;
/// Values of forecasts that are judged at once, of validation rows as of a quarter.
const MOST_JUDGED: usize = 1 << 20;

/// An autoregression.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Recursion {
    /// Samples of each column that it looks back.
    pub order: usize,
    /// Its strength.
    pub strength: f64,
}

/// What is blended in.
#[derive(Clone, Debug, PartialEq)]
pub struct Blend {
    /// The autoregression of each block of the horizon.
    pub picks: Vec<Recursion>,
    /// Its share by column and block.
    pub shares: Vec<Vec<f64>>,
}

/// What is blended in, and its forecasts from its inputs, one a block.
pub(super) type Blended = (Blend, Vec<Mat<f64>>);

/// Sums over rows: of products of the inputs, and of these with the next samples.
struct Equations {
    gram: Mat<f64>,
    cross: Mat<f64>,
}

impl Equations {
    /// Of no rows, for so many columns and the longest order.
    fn new(columns: usize, longest: usize) -> Self {
        let inputs = columns * longest + 1;
        Self { gram: Mat::zeros(inputs, inputs), cross: Mat::zeros(inputs, columns) }
    }

    fn sum<'e>(all: impl Iterator<Item = &'e Self>, columns: usize, longest: usize) -> Self {
        all.fold(Self::new(columns, longest), |sum, more| Self { gram: sum.gram + &more.gram, cross: sum.cross + &more.cross })
    }

    /// Every column's forecasts of the horizon from the inputs of this order, `[input][step · columns + column]`: samples by row, the oldest first, then 1.
    fn solve(&self, Recursion { order, strength }: Recursion, horizon: usize) -> Result<Mat<f64>, EvalError> {
        let (columns, inputs) = (self.cross.ncols(), order * self.cross.ncols() + 1);
        let from = self.gram.nrows() - inputs;
        let mut gram = self.gram.submatrix(from, from, inputs, inputs).to_owned();
        // The constant is free.
        (0..inputs - 1).for_each(|i| gram[(i, i)] += strength);
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
    fn solve_tamed(&self, pick: Recursion, horizon: usize) -> Result<Mat<f64>, EvalError> {
        let stronger = |times: u32| self.solve(Recursion { strength: pick.strength * f64::from(times).exp2(), ..pick }, horizon);
        (0..MOST_DOUBLED).map(stronger).find(Result::is_ok).unwrap_or_else(|| stronger(MOST_DOUBLED))
    }
}

/// Windows to judge on.
struct Held {
    /// Where they begin, from the first row of the samples.
    origins: Vec<usize>,
    /// The inputs of the longest order.
    x: Mat<f64>,
    /// By column: its rows, and what is left of the futures without the autoregression, `[window][horizon]`; NaN where nothing is held against it.
    columns: Vec<(Vec<f64>, Vec<f64>)>,
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
        let of_column = |(column, (rows, left)): (usize, &(Vec<f64>, Vec<f64>))| {
            let of_block = |block: usize| {
                let mut sums = [0.0; 3];
                for (window, (origin, left)) in self.origins.iter().zip(left.chunks_exact(horizon)).enumerate() {
                    for step in steps(cuts, block).filter(|&step| !left[step].is_nan()) {
                        let distance = left[step] - (rows[origin + step] - said[(window, step * columns + column)]);
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
    fn judge(
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
        let candidates: Vec<Recursion> =
            orders.flat_map(|order| STRENGTHS.map(|strength| Recursion { order, strength })).collect();
        let share = |[_, common, distance]: Squares| if distance > 0.0 { (common / distance).clamp(0.0, 1.0) } else { 0.0 };
        let judged = |pick: &Recursion| {
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
        let picks: Vec<Recursion> = best.iter().map(|(pick, _)| *pick).collect();
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
    fn share_ch(&self, horizon: usize, cuts: &[usize]) -> Vec<Vec<f64>> {
        let of = |shares: &Vec<f64>| {
            let mut share_h = vec![0.0; horizon];
            shares.iter().enumerate().for_each(|(block, share)| share_h[steps(cuts, block)].fill(*share));
            share_h
        };
        self.shares.iter().map(of).collect()
    }
}

impl Samples {
    /// What an autoregression sees of some windows, `[window][input]`: the newest `longest` samples of all columns, row by row, the oldest first, and a 1.
    fn lags(&self, longest: usize, origins: &[usize]) -> Mat<f64> {
        let mut x = Mat::zeros(origins.len(), self.columns * longest + 1);
        let mut window = vec![0.0; self.looks.across];
        for (row, &origin) in origins.iter().enumerate() {
            for (column, values) in self.plain.iter().enumerate() {
                let mean = look(&values[..origin - self.start], &mut window);
                let newest = &window[self.looks.across - longest..];
                newest.iter().enumerate().for_each(|(lag, value)| x[(row, lag * self.columns + column)] = value + mean);
            }
            x[(row, self.columns * longest)] = 1.0;
        }
        x
    }

    /// The next samples of all columns; the mean where there is none yet.
    fn next(&self, origins: &[usize]) -> Mat<f64> {
        let of = |row: usize, column: usize| self.plain[column][origins[row] - self.start];
        Mat::from_fn(origins.len(), self.columns, |row, column| if of(row, column).is_nan() { 0.0 } else { of(row, column) })
    }
}

impl<C: AsRef<[f64]> + Sync> Fitting<'_, C> {
    /// The autoregression's equations by stretch of the training rows.
    fn equations(&self, longest: usize) -> Vec<Equations> {
        let of = |stretch: &Stretch| {
            let mut sums = Equations::new(self.columns.len(), longest);
            for origins in stretch.chunks(BLOCK) {
                let (x, next) = (self.samples.lags(longest, origins), self.samples.next(origins));
                add_product(&mut sums.gram, x.as_ref(), x.as_ref());
                add_product(&mut sums.cross, x.as_ref(), next.as_ref());
            }
            sums
        };
        self.stretches[..=BETWEEN].par_iter().map(of).collect()
    }

    /// Windows of a stretch that an autoregression is judged on, beside the expert, or what it is with these maps.
    fn held(&self, stretch: usize, longest: usize, corrected: Option<&Correction>) -> Held {
        let (all, samples, horizon) = (&self.stretches[stretch], &self.samples, self.expert.horizon);
        let most = (MOST_JUDGED / (self.columns.len() * horizon)).max(FEWEST_JUDGED);
        let origins: Vec<usize> = taken(0..all.len(), all.len().div_ceil(most).max(1), 0).map(|place| all[place]).collect();
        let end = origins.last().map_or(samples.start, |last| last + horizon);
        let of_column = |column: usize| {
            let (mut left, complete) = self.left(column, &origins);
            let (rows, level) =
                (samples.own(self.columns[column].as_ref(), end), samples.uncut(self.columns[column].as_ref(), end));
            for (seen, maps) in
                corrected.into_iter().flat_map(|corrected| [(Seen::Own, &corrected.own), (Seen::All, &corrected.across)])
            {
                let inputs = samples.inputs(seen);
                let Some(map) = maps.of(column, inputs, horizon) else { continue };
                let more = said_by(map, &samples.look(seen, Some(&rows), &origins, inputs));
                for (row, left) in left.chunks_exact_mut(horizon).enumerate() {
                    left.iter_mut().enumerate().for_each(|(step, left)| *left -= f64::from(more[(row, step)]));
                }
            }
            for ((left, &origin), complete) in left.chunks_exact_mut(horizon).zip(&origins).zip(complete) {
                if !complete || is_far(&level[..origin - samples.start], samples.looks.across) {
                    left.fill(f64::NAN);
                }
            }
            (rows.into_values(), left)
        };
        let columns = (0..self.columns.len()).into_par_iter().map(of_column).collect();
        Held {
            x: samples.lags(longest, &origins),
            origins: origins.iter().map(|origin| origin - samples.start).collect(),
            columns,
        }
    }

    /// The autoregressions that pay, or those that are given, with their forecasts from their inputs, fitted on all training windows: one a block.
    pub(super) fn autoregression(
        &self,
        correction: &Correction,
        cuts: &[usize],
        given: Option<&Option<Blend>>,
    ) -> Result<Option<Blended>, EvalError> {
        let (horizon, columns) = (self.expert.horizon, self.columns.len());
        let longest = self.samples.looks.longest(columns, horizon);
        if longest == 0 {
            return Ok(None);
        }
        let equations = self.equations(longest);
        let whole = Equations::sum(equations.iter(), columns, longest);
        let blend = match given {
            Some(given) => given.clone(),
            None => {
                let of = |fold: usize| Equations::sum(fitted_on(fold).map(|stretch| &equations[stretch]), columns, longest);
                let without: Vec<Equations> = (0..FOLDS).map(of).collect();
                let quarters: Vec<Held> = (0..FOLDS).map(|fold| self.held(fold, longest, None)).collect();
                let validation = self.held(HELD_BACK, longest, Some(correction));
                Blend::judge(&whole, &without, &validation, &quarters, horizon, cuts)
            }
        };
        let Some(blend) = blend else { return Ok(None) };
        let said_in = blend.picks.iter().map(|pick| whole.solve_tamed(*pick, horizon)).collect::<Result<_, _>>()?;
        Ok(Some((blend, said_in)))
    }
}

impl Correction {
    /// Gives the maps of all columns' samples the inputs that autoregressions have beside them, and their share of them; their forecasts are `said_in` their inputs.
    pub(super) fn fold(&mut self, found: Option<Blended>, columns: usize, horizon: usize, cuts: &[usize]) {
        let (across, inputs) = (self.looks.across, self.looks.inputs(columns));
        self.keep_ch = if found.is_some() { vec![1.0; columns * horizon] } else { Vec::new() };
        let (before, mut maps) = (std::mem::take(&mut self.across), Maps::default());
        let share_ch =
            found.as_ref().map_or_else(|| vec![vec![0.0; horizon]; columns], |(blend, _)| blend.share_ch(horizon, cuts));
        for (column, share_h) in share_ch.iter().enumerate() {
            let map = before.of(column, columns * across, horizon);
            let blended = found.as_ref().filter(|_| share_h.iter().any(|share| *share > 0.0));
            if map.is_none() && blended.is_none() {
                continue;
            }
            let mut map_ih = vec![0.0; inputs * horizon];
            for (to, from) in map_ih.chunks_exact_mut(horizon).zip(map.into_iter().flat_map(MatRef::row_iter)) {
                (0..horizon).for_each(|step| to[step] = (1.0 - share_h[step]) * f64::from(from[step]));
            }
            for (block, (pick, said_in)) in
                blended.iter().flat_map(|(blend, said_in)| blend.picks.iter().zip(said_in)).enumerate()
            {
                let mut add = |input: usize, of: usize| {
                    for step in steps(cuts, block) {
                        map_ih[input * horizon + step] += share_h[step] * said_in[(of, step * columns + column)];
                    }
                };
                for of in 0..pick.order * columns {
                    let (lag, other) = (of / columns, of % columns);
                    // A level is a deviation and the mean.
                    add((other + 1) * across - pick.order + lag, of);
                    add(columns * across + other, of);
                }
                add(inputs - 1, pick.order * columns);
            }
            let keep = self.keep_ch.iter_mut().skip(column * horizon).zip(share_h);
            keep.for_each(|(keep, share)| *keep = (1.0 - share) as f32);
            maps.columns.push(column);
            maps.maps_kih.extend(map_ih.iter().map(|weight| *weight as f32));
        }
        self.across = maps;
        self.blend = found.map(|(blend, _)| blend);
    }
}

impl Looks {
    /// The longest order of an autoregression of so many columns: its forecasts from each of its inputs take memory.
    fn longest(self, columns: usize, horizon: usize) -> usize {
        let fits = |order: &usize| (order * columns + 1) * (order + horizon) * columns <= MOST_FORECASTS;
        (1..=self.across.min(LONGEST_ORDER)).take_while(fits).last().unwrap_or(0)
    }
}
