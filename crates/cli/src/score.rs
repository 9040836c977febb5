//! Scores of a model and its baselines on one range of rows.

mod expert;

pub use expert::{Expert, Whole};

use crate::{
    error::CliError,
    forecast_file::ForecastFile,
    run::{Prepared, predictor},
    say::say,
};
use foretoken_data::{Ranges, Values};
use foretoken_eval::{
    Baseline, EvalError, HorizonBoards, Inputs, MstlEts, Origins, Ridge, Scores, SeasonalNaive, Told, Unit, Window, evaluate_at,
    naive_scales, residual_spread,
};
use foretoken_model::{Forecaster, Predictor, linear_expert::LinearConfig, predictor::Parts, stretch::MOST_APART};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Rows of a table: name and scores, in the order to print.
pub type Rows = Vec<(String, Scores)>;

/// The same at each of several horizons, the longest last.
pub type ByHorizon = Vec<(usize, Rows)>;

/// Sums of errors by forecaster, in the order to print.
pub type Boards = Vec<(String, HorizonBoards)>;

/// Seasons that the statistical baseline is fitted on.
const MSTL_SEASONS: usize = 14;
/// Most of its forecasts, each a fit of milliseconds, and how many errors its quantiles come from at least.
const MOST_FITS: usize = 4000;
const FEWEST_FITS: usize = 1000;
/// Most errors of one step that a baseline's quantiles come from; of more one of every so many is taken.
const MOST_ERRORS: usize = 20_000;

/// Ridges of a run.
pub struct Ridges {
    /// The linear expert.
    pub expert: Option<Expert>,
    /// Whether that is the usual ridge.
    pub usual: bool,
    /// The usual ridge, where it is another and the rows are enough for it.
    pub baseline: Option<Ridge>,
}

impl Ridges {
    /// By the names of the tables: the linear expert with all that it looks at of the `data`.
    pub fn named<'r>(&'r self, data: &'r Prepared) -> Vec<(&'static str, Box<dyn Baseline + 'r>)> {
        let whole = |expert| Box::new(Whole { expert, data }) as Box<dyn Baseline + 'r>;
        let ridge = |ridge| Box::new(ridge) as Box<dyn Baseline + 'r>;
        let named = [(self.name(), self.expert.as_ref().map(whole)), ("ridge", self.baseline.as_ref().map(ridge))];
        named.into_iter().filter_map(|(name, baseline)| Some((name, baseline?))).collect()
    }

    /// The name of the linear expert.
    pub fn name(&self) -> &'static str {
        if self.usual { "ridge" } else { "linear" }
    }
}

/// What every evaluation of a run shares.
#[derive(Clone)]
pub struct Judge<'a> {
    data: &'a Prepared,
    /// Rows to fit and to select on.
    ranges: Ranges,
    /// What the names of forecasters end with.
    suffix: &'static str,
    /// Ascending; the last is the model's.
    horizons: Vec<usize>,
    levels: Vec<f64>,
    scales: Vec<f64>,
    season: usize,
    /// Rows from one step of a model's forecast to the next.
    every: usize,
    /// Rows from one window to the next, and most windows.
    thinned: (usize, Option<usize>),
}

impl<'a> Judge<'a> {
    /// A judge for forecasts at these horizons with these quantile levels.
    pub fn new(data: &'a Prepared, horizons: &[usize], levels: &[f64], season: usize) -> Self {
        let mut horizons = horizons.to_vec();
        horizons.sort_unstable();
        horizons.dedup();
        let past = data.ranges.train.start..data.ranges.validation.end;
        let past: Vec<&[f64]> = data.standardised.iter().map(|column| &column[past.clone()]).collect();
        Self {
            data,
            ranges: data.ranges.clone(),
            suffix: "",
            horizons,
            levels: levels.to_vec(),
            scales: naive_scales(&past, season),
            season,
            every: 1,
            thinned: (1, None),
        }
    }

    /// The same for models whose steps lie so many rows apart.
    pub fn every(self, rows: usize) -> Self {
        Self { every: rows, ..self }
    }

    /// The same at every `step`-th window only, counted back from the last, and at most `windows` of them.
    pub fn thinned(self, step: usize, windows: Option<usize>) -> Self {
        Self { thinned: (step, windows), ..self }
    }

    /// The same for what is fitted anew before `origin`, a test row: selected on as many rows before it as the run's own, trained on all before those.
    pub fn refitted(&self, origin: usize) -> Self {
        let start = origin - self.ranges.validation.len();
        let ranges = Ranges { train: 0..start, validation: start..origin, test: origin..self.ranges.test.end };
        Self { ranges, suffix: "-refit", ..self.clone() }
    }

    /// The data that is judged on.
    pub fn data(&self) -> &'a Prepared {
        self.data
    }

    /// Rows to fit and to select on.
    pub fn ranges(&self) -> &Ranges {
        &self.ranges
    }

    fn horizon(&self) -> usize {
        self.horizons.last().copied().unwrap_or(1)
    }

    fn units(&self) -> Vec<Unit> {
        self.data.columns.iter().map(|column| Unit { mean: column.mean, deviation: column.deviation }).collect()
    }

    /// Empty boards for windows whose forecast rows end here.
    fn boards(&self, end: usize) -> HorizonBoards {
        HorizonBoards::new(&(0..end), &self.horizons, &self.levels, &self.scales).in_units(&self.units())
    }

    /// Where forecasts of `rows` start.
    pub fn origins(&self, rows: &Range<usize>) -> Result<Origins, CliError> {
        // Of few windows all have to fit the longest horizon.
        let shortest = if self.thinned.1.is_some() { self.horizon() } else { self.horizons[0] };
        // The first step is so many rows after the last that is known.
        let rows = rows.start + 1 - self.every.min(rows.start + 1)..rows.end;
        let all = Origins::of(&rows, shortest * self.every).map_err(|error| self.named(error))?;
        Ok(all.thinned((self.horizon() - shortest) * self.every, self.thinned.0, self.thinned.1))
    }

    /// The scores at every horizon.
    pub fn scores(&self, boards: &Boards) -> ByHorizon {
        let mut scored: ByHorizon = self.horizons.iter().map(|&horizon| (horizon, Rows::new())).collect();
        for (name, boards) in boards {
            scored.iter_mut().zip(boards.scores()).for_each(|((_, rows), scores)| rows.push((name.clone(), scores)));
        }
        scored
    }

    /// A ridge, fitted on training rows of some series, the data's own first, its strengths picked on validation rows of those.
    fn fit(&self, series: &[&Values], inputs: Inputs, cuts: &[usize], folds: usize) -> Result<Ridge, EvalError> {
        let (own, Ranges { train, validation, .. }) = (self.data.columns.len(), &self.ranges);
        Ridge::fit(series, own, train, validation, inputs, cuts, folds)
    }

    /// The ridge that a model's linear expert is, if it has one, and the ridges to hold a model against: that one and the usual one, once if they
    /// are the same.
    pub fn ridges(&self, linear: Option<&LinearConfig>) -> Result<Ridges, CliError> {
        let expert = self.expert(linear)?;
        // The usual one learns from the run's own file.
        let usual = self.data.also.is_empty()
            && self.data.left.is_none()
            && linear.is_some_and(|options| *options == LinearConfig::default());
        let baseline = if usual { None } else { self.ridge()? };
        Ok(Ridges { expert, usual, baseline })
    }

    /// The ridge baseline; none where the rows are too few for it.
    pub fn ridge(&self) -> Result<Option<Ridge>, CliError> {
        let own: Vec<&Values> = self.data.standardised.iter().collect();
        match self.fit(&own, Inputs::samples(LinearConfig::default().lookback), &self.horizons, 0) {
            Ok(ridge) => Ok(Some(ridge)),
            Err(error @ (EvalError::TooShort { .. } | EvalError::Missing { .. })) => {
                // A training goes on where nobody reads.
                _ = say!("no ridge baseline: {error}");
                Ok(None)
            }
            Err(error) => Err(self.named(error)),
        }
    }

    /// Names the file whose rows are at fault.
    fn named(&self, error: EvalError) -> CliError {
        CliError::file(&self.data.path, error)
    }

    /// The baselines, by name, at each of some stretches of origins; their quantiles come from their errors on validation rows.
    pub fn baselines<const N: usize>(
        &self,
        ridges: &Ridges,
        stretches: [&Origins; N],
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<[Boards; N], CliError> {
        let naive = SeasonalNaive { season: self.season, horizon: self.horizon() };
        let before = self.ranges.validation.start;
        if naive.lookback() > before {
            let problem = format!("data.season: expected at most the {before} rows before validation, found {}", self.season);
            return Err(CliError::file(&self.data.path, problem));
        }
        let mut boards = [(); N].map(|()| Boards::new());
        for (name, baseline) in
            ridges.named(self.data).into_iter().chain([("seasonal-naive", Box::new(naive) as Box<dyn Baseline>)])
        {
            let own = self.baseline(name, &*baseline, stretches, file)?;
            boards.iter_mut().zip(own).for_each(|(boards, own)| boards.push(own));
        }
        Ok(boards)
    }

    /// The ridges among them, at some origins.
    pub fn linear(&self, ridges: &Ridges, origins: &Origins, file: &mut Option<ForecastFile<'_>>) -> Result<Boards, CliError> {
        let of =
            |(name, ridge): (_, Box<dyn Baseline + '_>)| self.baseline(name, &*ridge, [origins], file).map(|[boards]| boards);
        ridges.named(self.data).into_iter().map(of).collect()
    }

    /// A statistical baseline that is fitted anew at every window; its quantiles come from as many windows of the validation rows.
    /// None where that takes too many fits, or more rows than there are before those.
    pub fn statistical(&self, origins: &Origins, file: &mut Option<ForecastFile<'_>>) -> Result<Boards, CliError> {
        let validation = &self.ranges.validation;
        let mstl = MstlEts { season: self.season, horizon: self.horizon(), lookback: MSTL_SEASONS * self.season.max(2) };
        let columns = self.data.columns.len();
        let fits = origins.iter().len() * columns;
        if validation.start < mstl.lookback() {
            let (expected, found) = (mstl.lookback(), validation.start);
            _ = say!("no mstl-ets baseline: expected at least {expected} rows before those of validation, found {found}");
            return Ok(Boards::new());
        }
        if fits > MOST_FITS {
            _ = say!("no mstl-ets baseline: {fits} fits, expected at most {MOST_FITS}; --step and --windows thin them");
            return Ok(Boards::new());
        }
        let all = Origins::of(validation, self.horizons[0]).map_err(|error| self.named(error))?;
        let errors = fits.max(FEWEST_FITS);
        Ok(self.spread("mstl-ets", &mstl, (&all, errors), [origins], file)?.into())
    }

    fn baseline<const N: usize>(
        &self,
        name: &str,
        baseline: &dyn Baseline,
        stretches: [&Origins; N],
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<[(String, HorizonBoards); N], CliError> {
        let fitted = Origins::of(&self.ranges.validation, self.horizons[0]).map_err(|error| self.named(error))?;
        self.spread(name, baseline, (&fitted, MOST_ERRORS), stretches, file)
    }

    /// A baseline whose quantiles come from its errors at so many of the origins `fitted`.
    fn spread<const N: usize>(
        &self,
        name: &str,
        baseline: &dyn Baseline,
        (fitted, most): (&Origins, usize),
        stretches: [&Origins; N],
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<[(String, HorizonBoards); N], CliError> {
        let (columns, name) = (&self.data.standardised, format!("{name}{}", self.suffix));
        let spread = residual_spread(baseline, columns, fitted, self.horizon(), &self.levels, most);
        let spread = spread.map_err(|error| self.named(error))?;
        let mut scored = stretches.map(|origins| (name.clone(), self.boards(origins.end())));
        for ((_, boards), origins) in scored.iter_mut().zip(stretches) {
            let empty = boards.clone();
            let all = match file {
                None => evaluate_at(baseline, columns, origins, &spread, empty, None),
                Some(file) => {
                    let told: Told<'_> = &mut |window| file.add(&name, window);
                    evaluate_at(baseline, columns, origins, &spread, empty, Some(told))
                }
            };
            *boards = all.map_err(|error| self.named(error))?;
            file.as_mut().map_or(Ok(()), ForecastFile::check)?;
        }
        Ok(scored)
    }

    /// The model, and its network alone where it is not all or nothing of the model, at each of some stretches of origins; the stream runs from the first row of
    /// the data, once for all of them. Experts' usage is counted or not.
    pub fn model<const N: usize>(
        &self,
        forecaster: &Arc<Forecaster>,
        stretches: [&Origins; N],
        counted: bool,
    ) -> Result<[Boards; N], CliError> {
        let mut predictor = predictor(forecaster);
        predictor.count_usage(counted);
        self.streams(predictor, stretches, &mut None)
    }

    /// The same for a stream at its beginning.
    pub fn stream(
        &self,
        predictor: Predictor,
        origins: &Origins,
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<Boards, CliError> {
        self.streams(predictor, [origins], file).map(|[boards]| boards)
    }

    fn streams<const N: usize>(
        &self,
        mut predictor: Predictor,
        stretches: [&Origins; N],
        file: &mut Option<ForecastFile<'_>>,
    ) -> Result<[Boards; N], CliError> {
        let forecaster = predictor.forecaster().clone();
        let empty = |origins: &Origins| {
            // Boards count a model's own steps, `every` rows each.
            let end = if self.every == 1 { origins.end() } else { usize::MAX / 2 };
            let mut boards: Boards = vec![(format!("model{}", self.suffix), self.boards(end))];
            if forecaster.linear().is_some() && !forecaster.is_linear_alone() {
                boards.push((format!("network{}", self.suffix), self.boards(end)));
            }
            boards
        };
        let mut total = stretches.map(empty);
        let (count, middle) = forecaster.blueprint().levels.shape();
        let end = stretches.iter().map(|origins| origins.end()).max().unwrap_or(0);
        let history = self.data.signal.slice(0..end);
        let add = |all: &mut [Boards; N], row: usize, column: usize, parts: &Parts, file: &mut Option<&mut ForecastFile<'_>>| {
            let (values, origin) = (&self.data.standardised[column], row + 1);
            for (boards, origins) in all.iter_mut().zip(stretches).filter(|(_, origins)| origins.contains(origin)) {
                let rows = (1..=self.horizon()).map(|step| row + step * self.every).take_while(|&at| at < origins.end());
                let truth: Vec<f64> = rows.map(|at| values[at]).collect();
                let of_network: Vec<f64> = parts.network.chunks_exact(count).map(|q| q[middle]).collect();
                let said = [(&parts.points, &parts.combined), (&of_network, &parts.network)];
                for ((name, boards), (points, quantiles)) in boards.iter_mut().zip(said) {
                    boards.add(origin, column, &truth, points, quantiles);
                    if let Some(file) = file {
                        let steps = boards.steps(origin);
                        let (points, quantiles) = (&points[..steps], &quantiles[..steps * count]);
                        file.add(name, Window { column, origin, points, quantiles });
                    }
                }
            }
        };
        predictor.tell(&self.data.beside())?;
        let wanted = |row: usize| stretches.iter().any(|origins| origins.contains(row + 1));
        let mut groups = vec![total.clone(); history.len().min(MOST_APART)];
        match file {
            // A file's rows have an order.
            Some(file) => {
                let each = Predictor::apart(history.len(), groups.len());
                let sink = |row, column: usize, parts: &Parts| {
                    add(&mut groups[column / each], row, column, parts, &mut Some(&mut *file));
                };
                predictor.advance_many(&history, wanted, sink, None)?;
            }
            None => {
                let sinks = groups
                    .iter_mut()
                    .map(|all| |row: usize, column: usize, parts: &Parts| add(all, row, column, parts, &mut None));
                predictor.advance_many_apart(&history, wanted, &mut sinks.collect::<Vec<_>>())?;
            }
        }
        for group in &groups {
            let boards = total.iter_mut().flatten().zip(group.iter().flatten());
            boards.for_each(|((_, boards), (_, more))| boards.merge(more));
        }
        file.as_mut().map_or(Ok(()), ForecastFile::check)?;
        Ok(total)
    }
}

/// Rows by name, for `metrics.json`.
pub fn by_name(rows: &Rows) -> BTreeMap<String, Scores> {
    rows.iter().cloned().collect()
}
