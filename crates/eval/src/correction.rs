//! What a linear expert leaves of each column, by maps of the column's own newest samples or of those of all columns: where columns differ, one map for all of
//! them is wrong for each, and where they drive one another, none of them knows enough.
//!
//! ```text
//! ŷ_c = expert(c) + x·D_c        x = z_c − mean(z_c), the last `own` samples, or [z_1 − mean(z_1), …, z_C − mean(z_C)], the last `across` of every column
//! D_c = (G + λI)⁻¹·Xᵀ(Y_c − expert)
//! ```
//! Ridge regression of what is left, for each column and block of the horizon on its own. A map is kept where it takes a fiftieth of the squared error both
//! on validation rows and on held-out quarters of the training rows (each forecast by the maps of the other three): what one stretch alone prefers
//! the next may not (LOG.md). Input and strength are those with the smallest sum of both errors. All is done on sums over windows, so that a strength costs
//! products of the inputs' width.
//!
//! Beside all that a vector autoregression may have a share ([`Blend`]). It is linear in the same samples, so that it is folded into the maps of those of all columns: their inputs are then
//! followed by the columns' means and a 1, and what else is said is kept in part.

mod autoregression;

pub use autoregression::{Blend, Recursion};

use crate::{
    EvalError,
    backtest::Baseline,
    missing::Filled,
    ridge::{Ridge, Windows, rows_of, steps},
};
use faer::{Mat, MatRef, Par, Side, linalg::matmul::matmul, mat::AsMatMut};
use foretoken_kernels::thinned::taken;
use rayon::prelude::*;
use std::ops::Range;

/// Strengths to pick from.
const STRENGTHS: [f64; 8] = [1e-2, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5, 1e6];
/// The part of the squared error that a map has to take, of validation rows as of held-out quarters.
const LEAST_GAIN: f64 = 0.02;
/// Stretches of the training rows that are held out in turn.
const FOLDS: usize = 4;
/// Most windows of a column, of training rows as of validation rows.
const MOST_WINDOWS: usize = 20_000;
/// Windows in one product.
const BLOCK: usize = 1024;
/// How far a sample may reach into other columns, in its own column's deviations: as the model cuts them (`LARGEST_SHOWN`).
const LARGEST_SHOWN: f64 = 8.0;

/// What the maps look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Looks {
    /// The column's own newest samples; 0 for no such maps.
    pub own: usize,
    /// The newest samples of each of all columns; 0 for no such maps.
    pub across: usize,
    /// Whether a vector autoregression of these is judged, too.
    pub autoregression: bool,
}

/// Which of them a map looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// The column's own.
    Own,
    /// Those of all columns.
    All,
}

/// The map of a column for a block of the horizon.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pick {
    /// What it looks at.
    pub seen: Seen,
    /// Its strength.
    pub strength: f64,
}

/// Maps of some columns.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Maps {
    /// Whose they are, ascending.
    pub columns: Vec<usize>,
    /// `[map][input][horizon]`, oldest sample first, columns in their order, behind them their means and a 1 where an autoregression may be; zero at steps that have none.
    pub maps_kih: Vec<f32>,
}

impl Maps {
    /// That of a column, if it has one, of so many inputs.
    fn of(&self, column: usize, inputs: usize, horizon: usize) -> Option<MatRef<'_, f32>> {
        let place = self.columns.binary_search(&column).ok()?;
        Some(rows_of(&self.maps_kih[place * inputs * horizon..][..inputs * horizon], horizon))
    }
}

/// What a map makes of the inputs of some windows.
fn said_by(map: MatRef<'_, f32>, x: &[f64]) -> Mat<f32> {
    let x: Vec<f32> = x.iter().map(|&x| x as f32).collect();
    rows_of(&x, map.nrows()) * map
}

/// What is added to a linear expert.
#[derive(Clone, Debug, PartialEq)]
pub struct Correction {
    /// What the maps look at.
    pub looks: Looks,
    /// By column and block of the horizon; none where nothing is added.
    pub picks: Vec<Vec<Option<Pick>>>,
    /// Those of the columns' own samples.
    pub own: Maps,
    /// Those of the samples of all columns.
    pub across: Maps,
    /// The autoregressions in them; none where they do not pay.
    pub blend: Option<Blend>,
    /// The part of what all else says that is kept beside it, `[column][horizon]`; empty without one.
    pub keep_ch: Vec<f32>,
}

/// Both, in the order of what is kept of each.
const BOTH: [Seen; 2] = [Seen::Own, Seen::All];

/// A stretch of windows: where their forecasts begin.
type Stretch = Vec<usize>;

/// Where the windows whose rows lie in two quarters are among the stretches, behind those of each, and those of the validation rows.
const BETWEEN: usize = FOLDS;
const HELD_BACK: usize = FOLDS + 1;

/// The windows of the training rows by quarters, those whose rows lie in two, and, if there are validation rows, those whose forecast rows lie in them.
fn stretches(train: &Range<usize>, validation: Option<&Range<usize>>, span: usize, horizon: usize) -> Vec<Stretch> {
    let within = |first: usize, rows: &Range<usize>| first..(rows.end + 1).saturating_sub(horizon).max(first);
    let some = |origins: &Range<usize>| taken(origins.clone(), origins.len().div_ceil(MOST_WINDOWS).max(1), 0);
    let origins = within(train.start + span, train);
    let at = |fold: usize| origins.start + origins.len() * fold / FOLDS;
    let mut all = vec![Stretch::new(); BETWEEN + 1];
    for origin in some(&origins) {
        let fold = (0..FOLDS).rfind(|&fold| at(fold) <= origin).unwrap_or(0);
        let is_between = fold + 1 < FOLDS && origin + horizon > at(fold + 1);
        all[if is_between { BETWEEN } else { fold }].push(origin);
    }
    all.extend(validation.map(|rows| some(&within(rows.start.max(span), rows)).collect::<Stretch>()));
    all
}

/// Sums over the windows of a stretch.
struct Sums {
    /// Of products of the inputs, unless all columns share them.
    gram: Mat<f64>,
    /// Of products of the inputs with what is left.
    cross: Mat<f64>,
    /// Of squares of what is left, by step.
    squares: Vec<f64>,
}

/// Whether any of the newest values, so many, is beyond where samples are cut: an autoregression would draw the column back.
fn is_far(values: &[f64], samples: usize) -> bool {
    values[values.len().saturating_sub(samples)..].iter().any(|value| value.abs() > LARGEST_SHOWN)
}

/// The newest of some values less their mean, which is returned; zero where there are fewer, or the column begins later.
fn look(values: &[f64], to: &mut [f64]) -> f64 {
    let window = values.len().checked_sub(to.len()).map(|start| &values[start..]);
    let Some(window) = window.filter(|window| !window[0].is_nan()) else {
        to.fill(0.0);
        return 0.0;
    };
    let mean = window.iter().sum::<f64>() / window.len() as f64;
    to.iter_mut().zip(window).for_each(|(to, value)| *to = value - mean);
    mean
}

fn add_product(to: &mut Mat<f64>, x_wi: MatRef<'_, f64>, y_wj: MatRef<'_, f64>) {
    matmul(to.as_mat_mut(), faer::Accum::Add, x_wi.transpose(), y_wj, 1.0, Par::Seq);
}

/// Rows of the columns without gaps, and what maps of them look at.
struct Samples {
    looks: Looks,
    /// The first of the rows.
    start: usize,
    /// A missing value is the one before it, and none lies too far out; none where nothing looks across them.
    plain: Vec<Vec<f64>>,
    columns: usize,
    /// In which the expert looks for what is missing.
    season: Option<usize>,
}

impl Samples {
    /// Reads nothing after the rows, and of all columns only where something looks `across` them.
    fn of(columns: &[impl AsRef<[f64]> + Sync], rows: Range<usize>, season: Option<usize>, looks: Looks, across: bool) -> Self {
        let of = |column: &_| {
            let mut values = Filled::of(AsRef::<[f64]>::as_ref(column), rows.clone(), None).into_values();
            values.iter_mut().for_each(|value| *value = value.clamp(-LARGEST_SHOWN, LARGEST_SHOWN));
            values
        };
        let plain = if across { columns.par_iter().map(of).collect() } else { Vec::new() };
        Self { looks, start: rows.start, plain, columns: columns.len(), season }
    }

    /// Inputs of a column's map.
    fn inputs(&self, seen: Seen) -> usize {
        match seen {
            Seen::Own => self.looks.own,
            Seen::All => self.columns * self.looks.across,
        }
    }

    /// A column as maps of its own samples see it, from the first of the rows on.
    fn own(&self, column: &[f64], end: usize) -> Filled {
        Filled::of(column, self.start..end, self.season)
    }

    /// A column as those of all columns see it, but for what is cut.
    fn uncut(&self, column: &[f64], end: usize) -> Vec<f64> {
        Filled::of(column, self.start..end, None).into_values()
    }

    /// The newest samples of all columns before a row less their means, and as far as there is room the means and a 1: as the model looks across them.
    fn across(&self, origin: usize, x: &mut [f64]) {
        let (deviations, behind) = x.split_at_mut(self.inputs(Seen::All));
        for (column, (x, values)) in deviations.chunks_exact_mut(self.looks.across).zip(&self.plain).enumerate() {
            let mean = look(&values[..origin - self.start], x);
            behind.get_mut(column).into_iter().for_each(|behind| *behind = mean);
        }
        behind.last_mut().into_iter().for_each(|one| *one = 1.0);
    }

    /// Inputs of some windows, so many each, `[window][input]`; `own` is the column for maps of its own samples.
    fn look(&self, seen: Seen, own: Option<&Filled>, origins: &[usize], inputs: usize) -> Vec<f64> {
        let mut x = vec![0.0; origins.len() * inputs];
        for (x, &origin) in x.chunks_exact_mut(inputs.max(1)).zip(origins) {
            match seen {
                Seen::Own => {
                    let rows = origin.saturating_sub(inputs).max(self.start)..origin;
                    _ = look(&own.map(|own| own.seen(rows)).unwrap_or_default(), x);
                }
                Seen::All => self.across(origin, x),
            }
        }
        x
    }
}

/// What is picked for a column, and its maps of both inputs.
struct Fitted {
    picks: Vec<Option<Pick>>,
    maps: [Option<Vec<f32>>; 2],
}

/// What maps are fitted on.
struct Fitting<'a, C> {
    columns: &'a [C],
    expert: &'a Ridge,
    samples: Samples,
    stretches: &'a [Stretch],
}

impl<C: AsRef<[f64]> + Sync> Fitting<'_, C> {
    /// What the expert leaves of a column's futures, `[window][horizon]`; zero where it says nothing, or there is too little to hold it against. And where that is.
    fn left(&self, column: usize, origins: &[usize]) -> (Vec<f64>, Vec<bool>) {
        let horizon = self.expert.horizon;
        let windows = Windows::of(self.columns[column].as_ref(), origins, &self.expert.inputs, horizon, 1.0);
        let said = self.expert.say(column, &windows);
        let mut complete = windows.y.chunks_exact(horizon).zip(said.chunks_exact(horizon));
        let mut left = Vec::with_capacity(origins.len() * horizon);
        for &is_complete in &windows.complete {
            match is_complete.then(|| complete.next()).flatten() {
                Some((y, said)) => left.extend(y.iter().zip(said).map(|(y, said)| y - f64::from(*said))),
                None => left.extend(std::iter::repeat_n(0.0, horizon)),
            }
        }
        (left, windows.complete)
    }

    /// The sums of every stretch for a column's maps of both inputs, those that are `wanted`.
    fn sums(&self, column: usize, wanted: impl Fn(Seen) -> bool) -> [Option<Vec<Sums>>; 2] {
        let horizon = self.expert.horizon;
        let empty = |seen: Seen| {
            let (inputs, own) = (self.samples.inputs(seen), if seen == Seen::Own { self.samples.looks.own } else { 0 });
            Sums { gram: Mat::zeros(own, own), cross: Mat::zeros(inputs, horizon), squares: vec![0.0; horizon] }
        };
        let of_all = |seen: Seen| wanted(seen).then(|| self.stretches.iter().map(|_| empty(seen)).collect::<Vec<Sums>>());
        let mut all = BOTH.map(of_all);
        if all.iter().all(Option::is_none) {
            return all;
        }
        let end = self.stretches.iter().flat_map(|stretch| stretch.last()).max().copied().unwrap_or(0);
        let own = all[Seen::Own as usize].is_some().then(|| self.samples.own(self.columns[column].as_ref(), end));
        for (place, stretch) in self.stretches.iter().enumerate() {
            for origins in stretch.chunks(BLOCK) {
                let (left, complete) = self.left(column, origins);
                for (seen, sums) in BOTH.into_iter().zip(&mut all) {
                    let Some(sums) = sums.as_mut().map(|sums| &mut sums[place]) else { continue };
                    let inputs = self.samples.inputs(seen);
                    let mut x = self.samples.look(seen, own.as_ref(), origins, inputs);
                    if seen == Seen::Own {
                        let windows = x.chunks_exact_mut(self.samples.looks.own).zip(&complete);
                        windows.filter(|(_, complete)| !**complete).for_each(|(x, _)| x.fill(0.0));
                    }
                    let x_wi = rows_of(&x, inputs);
                    add_product(&mut sums.cross, x_wi, rows_of(&left, horizon));
                    if seen == Seen::Own {
                        add_product(&mut sums.gram, x_wi, x_wi);
                    }
                    for left in left.chunks_exact(horizon) {
                        sums.squares.iter_mut().zip(left).for_each(|(sum, left)| *sum += left * left);
                    }
                }
            }
        }
        all
    }

    /// A column's maps, those that are given or those that pay.
    fn fit(
        &self,
        column: usize,
        across: Option<&Inputs>,
        cuts: &[usize],
        given: Option<&[Option<Pick>]>,
    ) -> Result<Fitted, EvalError> {
        let sums = self.sums(column, |seen| self.samples.looks.are_wanted(seen, given));
        let grams = sums[0].as_ref().map(|sums| sums.iter().map(|sums| &sums.gram).collect::<Vec<_>>());
        let own = grams.map(|grams| Inputs::of(&grams, given.is_none())).transpose()?;
        let both = BOTH.map(|seen| {
            let inputs = if seen == Seen::Own { own.as_ref() } else { across };
            inputs.zip(sums[seen as usize].as_deref())
        });
        let picks = given.map_or_else(|| pick(&both, cuts), <[_]>::to_vec);
        let maps = BOTH.map(|seen| {
            let of = |pick: &Option<Pick>| pick.filter(|pick| pick.seen == seen).map(|pick| pick.strength);
            let strengths: Vec<Option<f64>> = picks.iter().map(of).collect();
            let (inputs, sums) = both[seen as usize].filter(|_| strengths.iter().any(Option::is_some))?;
            Some(inputs.map(sums, cuts, &strengths))
        });
        Ok(Fitted { picks, maps })
    }

    /// Products of all columns' samples, by stretch.
    fn grams(&self) -> Vec<Mat<f64>> {
        let inputs = self.samples.inputs(Seen::All);
        let of = |stretch: &Stretch| {
            let mut gram = Mat::zeros(inputs, inputs);
            for origins in stretch.chunks(BLOCK) {
                let x = self.samples.look(Seen::All, None, origins, inputs);
                add_product(&mut gram, rows_of(&x, inputs), rows_of(&x, inputs));
            }
            gram
        };
        self.stretches.par_iter().map(of).collect()
    }
}

/// The inputs' axes: eigenvectors and -values of a Gram matrix.
struct Axes {
    vectors: Mat<f64>,
    values: Vec<f64>,
}

impl Axes {
    fn of(gram: &Mat<f64>) -> Result<Self, EvalError> {
        let found = gram.self_adjoint_eigen(Side::Lower).map_err(|_| EvalError::NotFinite)?;
        let values = found.S().column_vector();
        Ok(Self { vectors: found.U().to_owned(), values: (0..gram.nrows()).map(|place| values[place].max(0.0)).collect() })
    }

    /// What is along the axes.
    fn along(&self, cross: &Mat<f64>) -> Mat<f64> {
        self.vectors.transpose() * cross
    }

    /// The map of a strength, along the axes, of what is along them.
    fn map(&self, along: &Mat<f64>, strength: f64) -> Mat<f64> {
        Mat::from_fn(along.nrows(), along.ncols(), |i, j| along[(i, j)] / (self.values[i] + strength))
    }
}

/// The stretches that a fit is made on: the other quarters where one is held out, else all of the training rows.
fn fitted_on(held_out: usize) -> impl Iterator<Item = usize> {
    (0..=BETWEEN).filter(move |&stretch| held_out == HELD_BACK || (stretch != BETWEEN && stretch != held_out))
}

fn sum<'m>(shape: &Mat<f64>, of: impl Iterator<Item = &'m Mat<f64>>) -> Mat<f64> {
    of.fold(Mat::zeros(shape.nrows(), shape.ncols()), |sum, more| sum + more)
}

/// What fits on some inputs have in common.
struct Inputs {
    /// Of all training windows.
    whole: Axes,
    /// Of what is fitted without each quarter; none where nothing is judged.
    folds: Vec<Axes>,
    /// Products of the inputs of each quarter, and of the validation rows, in the axes of what is judged there.
    held: Vec<Mat<f64>>,
}

impl Inputs {
    fn of(grams: &[&Mat<f64>], judged: bool) -> Result<Self, EvalError> {
        let axes = |held_out: usize| Axes::of(&sum(grams[0], fitted_on(held_out).map(|stretch| grams[stretch])));
        let whole = axes(HELD_BACK)?;
        let folds =
            if judged { (0..FOLDS).into_par_iter().map(axes).collect::<Result<Vec<Axes>, EvalError>>()? } else { Vec::new() };
        let turned = |(axes, gram): (&Axes, &&Mat<f64>)| axes.vectors.transpose() * *gram * &axes.vectors;
        let mut held: Vec<Mat<f64>> = folds.iter().zip(grams).map(turned).collect();
        held.extend(grams.get(HELD_BACK).map(|gram| turned((&whole, gram))));
        Ok(Self { whole, folds, held })
    }

    /// Squares of what maps of each strength leave of a quarter without which they are fitted, or of the validation rows, `[strength][step]`.
    fn errors(&self, sums: &[Sums], held_out: usize) -> Vec<Vec<f64>> {
        let (axes, held) = match held_out {
            HELD_BACK => (&self.whole, &self.held[FOLDS]),
            fold => (&self.folds[fold], &self.held[fold]),
        };
        let scored = &sums[held_out];
        let fitted = axes.along(&sum(&scored.cross, fitted_on(held_out).map(|stretch| &sums[stretch].cross)));
        let common = axes.along(&scored.cross);
        let of = |&strength: &f64| {
            let map = axes.map(&fitted, strength);
            let turned = held * &map;
            let of_step = |step: usize| {
                let more = |i: usize| map[(i, step)] * (turned[(i, step)] - 2.0 * common[(i, step)]);
                scored.squares[step] + (0..map.nrows()).map(more).sum::<f64>()
            };
            (0..map.ncols()).map(of_step).collect()
        };
        STRENGTHS.iter().map(of).collect()
    }

    /// For every block of the horizon the strength with the smallest errors, in parts of what there is without a map, and their sum; none where they are too
    /// large.
    fn judge(&self, sums: &[Sums], cuts: &[usize]) -> Vec<Option<(f64, f64)>> {
        let folds: Vec<_> = (0..FOLDS).map(|fold| self.errors(sums, fold)).collect();
        let validation = self.errors(sums, HELD_BACK);
        let of_block = |block: usize| {
            let total = |squares: &[f64]| squares[steps(cuts, block)].iter().sum::<f64>();
            let held: f64 = sums[..FOLDS].iter().map(|sums| total(&sums.squares)).sum();
            let of_strength = |place: usize| {
                let folds = folds.iter().map(|errors| total(&errors[place])).sum::<f64>() / held;
                (STRENGTHS[place], folds, total(&validation[place]) / total(&sums[HELD_BACK].squares))
            };
            let all = (0..STRENGTHS.len()).map(of_strength);
            let best = all.min_by(|a, b| (a.1 + a.2).total_cmp(&(b.1 + b.2)));
            let enough = |error: f64| error < 1.0 - LEAST_GAIN;
            best.filter(|(_, folds, validation)| enough(*folds) && enough(*validation)).map(|best| (best.0, best.1 + best.2))
        };
        (0..cuts.len()).map(of_block).collect()
    }

    /// The maps of some blocks, `[input][horizon]`.
    fn map(&self, sums: &[Sums], cuts: &[usize], strengths: &[Option<f64>]) -> Vec<f32> {
        let along = self.whole.along(&sum(&sums[0].cross, fitted_on(HELD_BACK).map(|stretch| &sums[stretch].cross)));
        let horizon = along.ncols();
        let mut map_ih = vec![0.0; along.nrows() * horizon];
        for (block, strength) in strengths.iter().enumerate() {
            let (Some(strength), steps) = (*strength, steps(cuts, block)) else { continue };
            let some = Mat::from_fn(along.nrows(), steps.len(), |i, j| along[(i, steps.start + j)]);
            let map = &self.whole.vectors * self.whole.map(&some, strength);
            for (input, row) in map_ih.chunks_exact_mut(horizon).enumerate() {
                row[steps.clone()].iter_mut().enumerate().for_each(|(step, to)| *to = map[(input, step)] as f32);
            }
        }
        map_ih
    }
}

/// What is picked for every block of the horizon, of both inputs as far as they are judged.
fn pick(both: &[Option<(&Inputs, &[Sums])>; 2], cuts: &[usize]) -> Vec<Option<Pick>> {
    let judged = BOTH.map(|seen| both[seen as usize].map(|(inputs, sums)| inputs.judge(sums, cuts)));
    let of_block = |block: usize| {
        let found = BOTH.into_iter().zip(&judged).filter_map(|(seen, judged)| Some((seen, judged.as_ref()?[block]?)));
        let best = found.min_by(|(_, (_, a)), (_, (_, b))| a.total_cmp(b));
        best.map(|(seen, (strength, _))| Pick { seen, strength })
    };
    (0..cuts.len()).map(of_block).collect()
}

impl Correction {
    /// Fits on the windows of `train` what the expert leaves of each of the columns, and keeps what pays there and on the windows whose forecast rows lie in
    /// `validation`. `cuts` are the ends of the blocks of the horizon.
    ///
    /// # Errors
    /// Too few rows for windows in every quarter and in the validation rows, or values that are not finite.
    pub fn fit(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        validation: &Range<usize>,
        expert: &Ridge,
        looks: Looks,
        cuts: &[usize],
    ) -> Result<Self, EvalError> {
        let (span, horizon) = (looks.span(expert), expert.horizon);
        let stretches = stretches(train, Some(validation), span, horizon);
        if stretches[..FOLDS].iter().any(|stretch| stretch.is_empty()) {
            let expected = span + FOLDS * (horizon + 1) + horizon;
            return Err(EvalError::TooShort { what: "training windows of the correction", expected, found: train.len() });
        }
        if stretches[HELD_BACK].is_empty() {
            let (what, found) = ("validation windows of the correction", validation.len());
            return Err(EvalError::TooShort { what, expected: horizon, found });
        }
        Self::fit_by(columns, &stretches, expert, looks, cuts, None)
    }

    /// Fits maps that were picked before.
    ///
    /// # Errors
    /// Values that are not finite.
    pub fn fit_with(
        columns: &[impl AsRef<[f64]> + Sync],
        train: &Range<usize>,
        expert: &Ridge,
        before: &Self,
        cuts: &[usize],
    ) -> Result<Self, EvalError> {
        let stretches = stretches(train, None, before.looks.span(expert), expert.horizon);
        Self::fit_by(columns, &stretches, expert, before.looks, cuts, Some(before))
    }

    fn fit_by(
        columns: &[impl AsRef<[f64]> + Sync],
        stretches: &[Stretch],
        expert: &Ridge,
        looks: Looks,
        cuts: &[usize],
        before: Option<&Self>,
    ) -> Result<Self, EvalError> {
        let (given, given_blend) = (before.map(|before| &before.picks[..]), before.map(|before| &before.blend));
        let end = stretches.iter().flat_map(|stretch| stretch.last()).max().map_or(0, |last| last + expert.horizon);
        let is_across = looks.are_wanted(Seen::All, given.map(<[_]>::concat).as_deref());
        let is_judged = looks.autoregression && looks.across > 0 && !columns.is_empty();
        let is_blended = is_judged && given_blend.is_none_or(Option::is_some);
        let samples = Samples::of(columns, 0..end, expert.inputs.season, looks, is_across || is_blended);
        let fitting = Fitting { columns, expert, samples, stretches };
        let across = is_across.then(|| fitting.grams());
        let across = across.map(|grams| Inputs::of(&grams.iter().collect::<Vec<_>>(), given.is_none())).transpose()?;
        let of_column = |column: usize| fitting.fit(column, across.as_ref(), cuts, given.map(|given| &given[column][..]));
        let fitted: Result<Vec<Fitted>, EvalError> = (0..columns.len()).into_par_iter().map(of_column).collect();
        let (own, across) = (Maps::default(), Maps::default());
        let mut correction = Self { looks, picks: Vec::new(), own, across, blend: None, keep_ch: Vec::new() };
        for (column, Fitted { picks, maps }) in fitted?.into_iter().enumerate() {
            correction.picks.push(picks);
            for (all, map) in [&mut correction.own, &mut correction.across].into_iter().zip(maps) {
                all.columns.extend(map.is_some().then_some(column));
                all.maps_kih.extend(map.into_iter().flatten());
            }
        }
        if looks.autoregression {
            let found = if is_blended { fitting.autoregression(&correction, cuts, given_blend)? } else { None };
            correction.fold(found, columns.len(), expert.horizon, cuts);
        }
        let is_finite = |maps: &Maps| maps.maps_kih.iter().all(|weight| weight.is_finite());
        if is_finite(&correction.own) && is_finite(&correction.across) { Ok(correction) } else { Err(EvalError::NotFinite) }
    }

    /// Whether nothing is added.
    pub fn is_empty(&self) -> bool {
        self.own.columns.is_empty() && self.across.columns.is_empty()
    }

    /// The mean of two fits of the same picks.
    ///
    /// # Panics
    /// Other picks.
    pub fn halfway_to(mut self, other: &Self) -> Self {
        assert_eq!((&self.picks, &self.blend), (&other.picks, &other.blend), "the same maps, fitted on other rows");
        for (to, from) in [(&mut self.own, &other.own), (&mut self.across, &other.across)] {
            to.maps_kih.iter_mut().zip(&from.maps_kih).for_each(|(to, from)| *to = 0.5 * (*to + from));
        }
        self
    }
}

impl Looks {
    /// Whether there are maps of that: of given picks only what they look at.
    fn are_wanted(self, seen: Seen, given: Option<&[Option<Pick>]>) -> bool {
        let samples = if seen == Seen::Own { self.own } else { self.across };
        samples > 0 && given.is_none_or(|picks| picks.iter().flatten().any(|pick| pick.seen == seen))
    }

    /// Inputs of maps of the samples of all of so many columns.
    pub fn inputs(self, columns: usize) -> usize {
        columns * self.across + if self.autoregression { columns + 1 } else { 0 }
    }

    fn span(&self, expert: &Ridge) -> usize {
        expert.lookback().max(self.own).max(self.across)
    }
}

/// A linear expert and what is added to it, among all columns that it was fitted on.
pub struct Corrected<'a, C> {
    /// The expert.
    pub expert: &'a Ridge,
    /// What is added.
    pub correction: &'a Correction,
    /// The columns.
    pub columns: &'a [C],
}

impl<C: AsRef<[f64]> + Sync> Baseline for Corrected<'_, C> {
    fn lookback(&self) -> usize {
        self.correction.looks.span(self.expert)
    }

    fn forecast(&self, index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        let (Correction { looks, own, across, keep_ch, .. }, horizon) = (self.correction, self.expert.horizon);
        let mut said = self.expert.forecast(index, column, origins.clone());
        let maps = [own.of(index, looks.own, horizon), across.of(index, looks.inputs(self.columns.len()), horizon)];
        if maps.iter().all(Option::is_none) {
            return said;
        }
        let (rows, of_own) = (
            origins.start - looks.own.max(looks.across).min(origins.start)..origins.end.saturating_sub(1),
            self.columns[index].as_ref(),
        );
        let end = rows.end;
        let samples = Samples::of(self.columns, rows, self.expert.inputs.season, *looks, maps[Seen::All as usize].is_some());
        let own = maps[Seen::Own as usize].is_some().then(|| samples.own(of_own, end));
        let keep_h = keep_ch.get(index * horizon..(index + 1) * horizon).filter(|keep_h| keep_h.iter().any(|keep| *keep < 1.0));
        let level = if keep_h.is_some() { samples.uncut(of_own, end) } else { Vec::new() };
        let origins: Vec<usize> = origins.collect();
        for (seen, map) in BOTH.into_iter().zip(maps) {
            let Some(map) = map else { continue };
            said.par_chunks_mut(BLOCK * horizon).zip(origins.par_chunks(BLOCK)).for_each(|(said, origins)| {
                let more = said_by(map, &samples.look(seen, own.as_ref(), origins, map.nrows()));
                for (row, (said, &origin)) in said.chunks_exact_mut(horizon).zip(origins).enumerate() {
                    if let Some(keep_h) = keep_h.filter(|_| seen == Seen::All) {
                        if is_far(&level[..origin - samples.start], looks.across) {
                            continue;
                        }
                        said.iter_mut().zip(keep_h).for_each(|(said, keep)| *said *= f64::from(*keep));
                    }
                    said.iter_mut().enumerate().for_each(|(step, said)| *said += f64::from(more[(row, step)]));
                }
            });
        }
        said
    }
}

#[cfg(test)]
mod tests;
