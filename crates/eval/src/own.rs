//! What each column's own map adds to the one of all columns: ridge regression per column, shrunk towards the shared map.
//!
//! ```text
//! ŷ_c = shared(x) + x·D_c        x = z − mean(z), the last `lookback` samples        D_c = (G_c + λI)⁻¹·X_cᵀ(Y_c − shared(X_c))
//! ```
//! The posterior mean of a column's map whose prior is the shared one (hierarchical ridge): of a short column little is believed, of a long one more. The
//! strength λ is one for all columns, picked on the validation rows for each block of the horizon. Structural maps (`structural.rs`) are kept in the same
//! form, and summed with these where a run has both.

use crate::{
    EvalError,
    ridge::{MOST_VALIDATION, MOST_WINDOWS, Ridge, Windows, blocks, rows_of, steps, stride},
};
use faer::{Mat, Par, Side, linalg::matmul::matmul, linalg::solvers::Solve, mat::AsMatMut};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;
use std::ops::Range;

/// Strengths to pick from; the last is close to no map of a column's own.
const STRENGTHS: [f64; 12] = [1.0, 10.0, 30.0, 100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 1e6, 1e9];

/// The own maps of all columns.
#[derive(Clone, Debug, PartialEq)]
pub struct Own {
    /// Samples they look back.
    pub lookback: usize,
    /// `[column][lookback][horizon]`, oldest sample first.
    pub maps_clh: Vec<f32>,
    /// The strength picked for each block of the horizon; none of structural maps.
    pub strengths: Vec<f64>,
}

/// Sums over one column's windows, with what the shared map leaves.
struct Left {
    gram: Mat<f64>,
    cross: Mat<f64>,
}

/// What the shared map leaves of the futures of some windows, `[window][steps]`.
fn left(shared: &Ridge, windows: &Windows, end: usize, steps: &Range<usize>) -> Vec<f64> {
    let forecast = shared.apply(&windows.x);
    let rows = windows.y.chunks_exact(end).zip(forecast.chunks_exact(shared.horizon));
    rows.flat_map(|(y, said)| steps.clone().map(|step| y[step] - f64::from(said[step]))).collect()
}

impl Left {
    fn of(shared: &Ridge, column: &[f64], origins: &[(usize, Vec<usize>)], end: usize, steps: &Range<usize>) -> Self {
        let width = shared.inputs.width();
        let mut sums = Self { gram: Mat::zeros(width, width), cross: Mat::zeros(width, steps.len()) };
        for (_, origins) in origins {
            let windows = Windows::of(column, origins, &shared.inputs, end, 1.0);
            let left = left(shared, &windows, end, steps);
            let (x_wl, left_wh) = (rows_of(&windows.x, width), rows_of(&left, steps.len()));
            matmul(sums.gram.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), x_wl, 1.0, Par::Seq);
            matmul(sums.cross.as_mat_mut(), faer::Accum::Add, x_wl.transpose(), left_wh, 1.0, Par::Seq);
        }
        sums
    }

    /// The map of this strength.
    fn map(&self, strength: f64) -> Result<Mat<f64>, EvalError> {
        let width = self.gram.nrows();
        let gram = Mat::from_fn(width, width, |i, j| self.gram[(i, j)] + if i == j { strength } else { 0.0 });
        let factor = gram.llt(Side::Lower).map_err(|_| EvalError::NotFinite)?;
        Ok(factor.solve(&self.cross))
    }
}

impl Own {
    /// Fits on the windows of `train` what `shared`, a ridge over samples alone, leaves of each of the columns, and picks the strengths on those whose
    /// forecast rows lie in `validation`. `cuts` are the ends of the blocks of the horizon.
    ///
    /// # Errors
    /// Too few rows, too many missing values, or values that are not finite.
    pub fn fit(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        validation: &Range<usize>,
        shared: &Ridge,
        cuts: &[usize],
    ) -> Result<Self, EvalError> {
        Self::fit_by(columns, train, shared, cuts, |_, end, steps, sums| {
            let held_out = validation.start..(validation.end + 1).saturating_sub(end);
            let stride = stride(columns.len(), &held_out, MOST_VALIDATION);
            let of_column = |(index, (column, left_of)): (usize, (&_, &Left))| {
                let column: &[f64] = AsRef::<[f64]>::as_ref(column);
                let origins: Vec<usize> = taken(held_out.clone(), stride, index).collect();
                let windows = Windows::of(column, &origins, &shared.inputs, end, 1.0);
                let left = left(shared, &windows, end, steps);
                let errors = STRENGTHS.iter().map(|&strength| {
                    let said = rows_of(&windows.x, shared.inputs.width()) * left_of.map(strength)?;
                    let error = |(row, left): (usize, &[f64])| {
                        left.iter().enumerate().map(|(step, left)| (left - said[(row, step)]).powi(2)).sum::<f64>()
                    };
                    Ok(left.chunks_exact(steps.len()).enumerate().map(error).sum::<f64>())
                });
                errors.collect::<Result<Vec<f64>, EvalError>>()
            };
            let errors: Result<Vec<Vec<f64>>, EvalError> = columns.par_iter().zip(sums).enumerate().map(of_column).collect();
            let errors = errors?;
            let total = |place: usize| errors.iter().map(|errors| errors[place]).sum::<f64>();
            let best = (0..STRENGTHS.len()).min_by(|&a, &b| total(a).total_cmp(&total(b)));
            Ok(STRENGTHS[best.unwrap_or(STRENGTHS.len() - 1)])
        })
    }

    /// Fits with strengths that were picked before, one a block.
    ///
    /// # Errors
    /// As [`Own::fit`].
    pub fn fit_with(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        shared: &Ridge,
        cuts: &[usize],
        strengths: &[f64],
    ) -> Result<Self, EvalError> {
        Self::fit_by(columns, train, shared, cuts, |block, _, _, _| Ok(strengths[block]))
    }

    fn fit_by(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        shared: &Ridge,
        cuts: &[usize],
        pick: impl Fn(usize, usize, &Range<usize>, &[Left]) -> Result<f64, EvalError>,
    ) -> Result<Self, EvalError> {
        let (width, span, horizon) = (shared.inputs.width(), shared.inputs.span(), shared.horizon);
        let mut own = Self {
            lookback: width,
            maps_clh: vec![0.0; columns.len() * width * horizon],
            strengths: Vec::with_capacity(cuts.len()),
        };
        for (block, &end) in cuts.iter().enumerate() {
            let steps = steps(cuts, block);
            let origins = train.start + span..(train.end + 1).saturating_sub(end);
            let stride = stride(columns.len(), &origins, MOST_WINDOWS);
            let of_column = |(index, column): (usize, &_)| {
                let blocks = blocks(index..index + 1, &origins, stride);
                Left::of(shared, AsRef::<[f64]>::as_ref(column), &blocks, end, &steps)
            };
            let sums: Vec<Left> = columns.par_iter().enumerate().map(of_column).collect();
            let strength = pick(block, end, &steps, &sums)?;
            let maps = own.maps_clh.par_chunks_exact_mut(width * horizon).zip(&sums);
            maps.try_for_each(|(map_lh, sums)| {
                let map = sums.map(strength)?;
                for (at, row) in map_lh.chunks_exact_mut(horizon).enumerate() {
                    row[steps.clone()].iter_mut().enumerate().for_each(|(step, to)| *to = map[(at, step)] as f32);
                }
                Ok(())
            })?;
            own.strengths.push(strength);
        }
        Ok(own)
    }

    /// Adds what they say to forecasts `[window][horizon]` of one column, from the samples of its windows less any mean, `[window][width]`, of which the
    /// first `lookback` inputs are samples.
    pub(crate) fn add(&self, column: usize, x: &[f64], (width, lookback): (usize, usize), y: &mut [f32]) {
        if x.is_empty() {
            return;
        }
        let rows = x.len() / width;
        let horizon = y.len() / rows;
        let mut z = Vec::with_capacity(rows * self.lookback);
        for x in x.chunks_exact(width) {
            let samples = &x[lookback - self.lookback..lookback];
            let mean = samples.iter().sum::<f64>() / samples.len() as f64;
            z.extend(samples.iter().map(|sample| (sample - mean) as f32));
        }
        let map = &self.maps_clh[column * self.lookback * horizon..][..self.lookback * horizon];
        let (z, map) = (rows_of(&z, self.lookback), rows_of(map, horizon));
        let out = faer::MatMut::from_row_major_slice_mut(y, rows, horizon);
        matmul(out, faer::Accum::Add, z, map, 1.0, Par::Seq);
    }

    /// What both add together, as maps of the longer look-back.
    pub(crate) fn sum(self, other: Self, horizon: usize) -> Self {
        let (mut sum, short) = if self.lookback >= other.lookback { (self, other) } else { (other, self) };
        sum.strengths.extend(&short.strengths);
        let maps = sum.maps_clh.chunks_exact_mut(sum.lookback * horizon);
        for (to_lh, map_lh) in maps.zip(short.maps_clh.chunks_exact(short.lookback * horizon)) {
            let to_lh = &mut to_lh[(sum.lookback - short.lookback) * horizon..];
            for step in 0..horizon {
                let rows = || map_lh.iter().skip(step).step_by(horizon);
                // A window less its own mean is one less the longer window's, less what is between the two means.
                let between = rows().sum::<f32>() / short.lookback as f32;
                let to = to_lh.iter_mut().skip(step).step_by(horizon);
                to.zip(rows()).for_each(|(to, from)| *to += from - between);
            }
        }
        sum
    }

    /// The same with each step of the horizon by a factor.
    pub(crate) fn scaled(mut self, horizon: usize, factor: impl Fn(usize) -> f32) -> Self {
        let rows = self.maps_clh.chunks_exact_mut(horizon);
        rows.for_each(|row| row.iter_mut().enumerate().for_each(|(step, weight)| *weight *= factor(step)));
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{backtest::Baseline, ridge::Inputs};

    /// Sums in another order, maps in f32.
    const SAME: f64 = 1e-4;

    /// Half of the columns go on as they last went, and half turn back: the last two samples do not say the same of both.
    fn columns() -> Vec<Vec<f64>> {
        let column = |of: u64| {
            let mut state = of + 1;
            let noise = move || {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
            };
            let memory = if of.is_multiple_of(2) { 0.7 } else { -0.7 };
            let steps = std::iter::repeat_with(noise).scan(0.0, move |step, noise| {
                *step = memory * *step + noise;
                Some(*step)
            });
            let sum = |sum: &mut f64, step: f64| {
                *sum += step;
                Some(*sum)
            };
            steps.scan(0.0, sum).take(400).collect()
        };
        (0..6).map(column).collect()
    }

    fn fitted(columns: &[Vec<f64>], lookback: usize, strength: Option<f64>) -> (Ridge, Own) {
        let cuts = [2, 4];
        let shared =
            Ridge::fit(columns, columns.len(), &(0..300), &(300..400), Inputs::samples(lookback), &cuts, 0).expect("fits");
        let own = match strength {
            None => Own::fit(columns, &(0..300), &(300..400), &shared, &cuts),
            Some(strength) => Own::fit_with(columns, &(0..300), &shared, &cuts, &[strength; 2]),
        };
        (shared, own.expect("fits"))
    }

    /// Mean square of the errors on the rows after the training rows.
    fn error(ridge: &Ridge, columns: &[Vec<f64>]) -> f64 {
        let of = |(index, column): (usize, &Vec<f64>)| {
            let said = ridge.forecast(index, column, 300..396);
            let error = |(row, said): (usize, &[f64])| {
                said.iter().enumerate().map(|(step, y)| (y - column[300 + row + step]).powi(2)).sum::<f64>()
            };
            said.chunks_exact(4).enumerate().map(error).sum::<f64>() / said.len() as f64
        };
        columns.iter().enumerate().map(of).sum::<f64>() / columns.len() as f64
    }

    #[test]
    fn a_column_that_is_unlike_the_others_has_a_map_of_its_own() {
        let columns = columns();
        let (shared, own) = fitted(&columns, 2, None);
        let both = shared.clone().beside(Ridge { own: Some(own.clone()), ..shared.clone() }, vec![0.5; shared.horizon]);
        assert!(own.strengths.iter().all(|strength| *strength < 1e6), "{:?}", own.strengths);
        assert!(
            error(&both, &columns) < 0.9 * error(&shared, &columns),
            "{} {}",
            error(&both, &columns),
            error(&shared, &columns)
        );
        // What is picked is no worse on those rows than what is next to it.
        for strength in STRENGTHS {
            let (shared, own) = fitted(&columns, 2, Some(strength));
            let whole = Ridge { own: Some(own), ..shared };
            let picked = Ridge { own: Some(fitted(&columns, 2, None).1), ..whole.clone() };
            // The validation windows of a block are those that fit it, more than these.
            assert!(error(&picked, &columns) < 1.02 * error(&whole, &columns), "{strength}");
        }
    }

    #[test]
    fn it_is_the_ridge_regression_of_what_the_shared_map_leaves() {
        let columns = columns();
        let (shared, own) = fitted(&columns, 12, Some(30.0));
        let column = &columns[3];
        // The normal equations by hand: (G + λI)·D = Xᵀ(Y − shared), at every window of the last block.
        let mut gram_d = [0.0; 12];
        let mut cross = [0.0; 12];
        for origin in 12..=296 {
            let window = &column[origin - 12..origin];
            let mean = window.iter().sum::<f64>() / 12.0;
            let x: Vec<f64> = window.iter().map(|value| value - mean).collect();
            let row = |place: usize| f64::from(own.maps_clh[(3 * 12 + place) * 4 + 3]);
            let said: f64 = x.iter().enumerate().map(|(place, x)| x * row(place)).sum();
            let left = column[origin + 3] - shared.forecast(3, column, origin..origin + 1)[3];
            for (place, x) in x.iter().enumerate() {
                gram_d[place] += x * said;
                cross[place] += x * left;
            }
        }
        for (place, cross) in cross.iter().enumerate() {
            let sum = gram_d[place] + 30.0 * f64::from(own.maps_clh[(3 * 12 + place) * 4 + 3]);
            assert!((sum - cross).abs() < SAME * 284.0, "{place}: {sum} {cross}");
        }
    }

    #[test]
    fn the_mean_of_both_and_its_return_are_what_they_say() {
        let columns = columns();
        let (shared, own) = fitted(&columns, 12, Some(10.0));
        let longer = Ridge::fit(&columns, columns.len(), &(0..300), &(300..400), Inputs::samples(20), &[2, 4], 0).expect("fits");
        let whole = Ridge { own: Some(own), ..shared };
        let both = longer.clone().beside(whole.clone(), vec![0.5; whole.horizon]);
        let missing = vec![f64::NAN; 400];
        assert!(whole.forecast(3, &missing, 340..342).iter().all(|value| value.is_nan()), "no window, no forecast");
        let at = |ridge: &Ridge| ridge.forecast(3, &columns[3], 340..341);
        let returning = both.clone().reverting(5.0);
        let level = columns[3][..340].iter().sum::<f64>() / 340.0;
        for step in 0..4 {
            let mean = 0.5 * (at(&longer)[step] + at(&whole)[step]);
            assert!((at(&both)[step] - mean).abs() < SAME, "{step}");
            let share = 1.0 - (-((step + 1) as f64) / 5.0).exp();
            assert!((at(&returning)[step] - (1.0 - share) * mean - share * level).abs() < SAME, "{step}");
        }
        // Others beside them, that look further back than the first and no further than the ridge.
        let maps = crate::structural(&columns, &(0..300), &[16], &[5], &[4]).expect("maps");
        let alone = Ridge { own: Some(maps), ..Ridge::level(16, 4) };
        let all = both.clone().beside(alone.clone(), vec![2.0 / 3.0; alone.horizon]);
        for step in 0..4 {
            let mean = (at(&both)[step] + 2.0 * at(&alone)[step]) / 3.0;
            assert!((at(&all)[step] - mean).abs() < SAME, "{step}");
        }
    }
}
