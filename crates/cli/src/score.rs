//! Scores of a model and its baselines on one range of rows.

use crate::{
    error::CliError,
    run::{Prepared, predictor},
};
use foretoken_eval::{
    Baseline, EvalError, HorizonBoards, Inputs, MstlEts, Origins, Profile, Ridge, Scores, SeasonalNaive, Unit, evaluate_at,
    naive_scales, residual_spread,
};
use foretoken_model::{Forecaster, Predictor, linear_expert::LinearConfig};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Rows of a table: name and scores, in the order to print.
pub type Rows = Vec<(String, Scores)>;

/// The same at each of several horizons, the longest last.
pub type ByHorizon = Vec<(usize, Rows)>;

/// Adds one forecaster's scores at every horizon.
fn push(to: &mut ByHorizon, name: &str, scores: Vec<Scores>) {
    to.iter_mut().zip(scores).for_each(|((_, rows), scores)| rows.push((name.into(), scores)));
}

/// Joins the rows of others.
pub fn join(to: &mut ByHorizon, others: ByHorizon) {
    to.iter_mut().zip(others).for_each(|((_, rows), (_, more))| rows.extend(more));
}

/// Seasons that the statistical baseline is fitted on, and most of its forecasts: each is a fit of milliseconds.
const MSTL_SEASONS: usize = 14;
const MOST_FITS: usize = 4000;

/// Ridges of a run.
pub struct Ridges {
    /// The linear expert.
    pub expert: Option<Ridge>,
    /// The usual ridge, where it is another.
    pub baseline: Option<Ridge>,
}

impl Ridges {
    /// By the names of the tables.
    pub fn named(&self) -> Vec<(&'static str, &Ridge)> {
        match self {
            Self { expert: Some(expert), baseline: None } => vec![("ridge", expert)],
            Self { expert, baseline } => {
                let named = [("linear", expert), ("ridge", baseline)];
                named.into_iter().filter_map(|(name, ridge)| Some((name, ridge.as_ref()?))).collect()
            }
        }
    }

    /// The one to draw.
    pub fn best(&self) -> Option<&Ridge> {
        self.expert.as_ref().or(self.baseline.as_ref())
    }
}

/// What every evaluation of a run shares.
pub struct Judge<'a> {
    data: &'a Prepared,
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
        let train: Vec<&[f64]> = data.standardised.iter().map(|column| &column[data.ranges.train.clone()]).collect();
        Self {
            data,
            horizons,
            levels: levels.to_vec(),
            scales: naive_scales(&train, season),
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

    fn horizon(&self) -> usize {
        self.horizons.last().copied().unwrap_or(1)
    }

    fn units(&self) -> Vec<Unit> {
        self.data.columns.iter().map(|column| Unit { mean: column.mean, deviation: column.deviation }).collect()
    }

    fn none(&self) -> ByHorizon {
        self.horizons.iter().map(|&horizon| (horizon, Rows::new())).collect()
    }

    fn origins(&self, rows: &Range<usize>) -> Result<Origins, CliError> {
        // Of few windows all have to fit the longest horizon.
        let shortest = if self.thinned.1.is_some() { self.horizon() } else { self.horizons[0] };
        let all = Origins::of(rows, shortest * self.every).map_err(|error| self.named(error))?;
        Ok(all.thinned(self.thinned.0, self.thinned.1))
    }

    /// A ridge, fitted on training rows, its strengths picked on validation rows.
    fn fit(&self, inputs: Inputs) -> Result<Ridge, EvalError> {
        let ranges = &self.data.ranges;
        Ridge::fit(&self.data.standardised, &ranges.train, &ranges.validation, inputs, &self.horizons)
    }

    /// The ridge that a model's linear expert is, if it has one, and the ridges to hold a model against: that one and the usual one, once if they
    /// are the same.
    pub fn ridges(&self, linear: Option<&LinearConfig>) -> Result<Ridges, CliError> {
        let Some(options) = linear else { return Ok(Ridges { expert: None, baseline: self.ridge()? }) };
        let fitted: Result<Vec<Ridge>, EvalError> = members(options).into_iter().map(|inputs| self.fit(inputs)).collect();
        let expert = Ridge::mean(&fitted.map_err(|error| self.named(error))?);
        let baseline = if *options == LinearConfig::default() { None } else { self.ridge()? };
        Ok(Ridges { expert: Some(expert), baseline })
    }

    /// The ridge baseline; none where the rows are too few for it.
    fn ridge(&self) -> Result<Option<Ridge>, CliError> {
        match self.fit(Inputs::samples(LinearConfig::default().lookback)) {
            Ok(ridge) => Ok(Some(ridge)),
            Err(error @ (EvalError::TooShort { .. } | EvalError::Missing { .. })) => {
                println!("no ridge baseline: {error}");
                Ok(None)
            }
            Err(error) => Err(self.named(error)),
        }
    }

    /// Names the file whose rows are at fault.
    fn named(&self, error: EvalError) -> CliError {
        CliError::file(&self.data.path, error)
    }

    /// The baselines on `rows`, by name; their quantiles come from their errors on validation rows.
    pub fn baselines(&self, ridges: &[(&str, &Ridge)], rows: &Range<usize>) -> Result<ByHorizon, CliError> {
        let mut scored = self.none();
        for (name, ridge) in ridges {
            push(&mut scored, name, self.baseline(*ridge, rows)?);
        }
        let naive = SeasonalNaive { season: self.season, horizon: self.horizon() };
        push(&mut scored, "seasonal-naive", self.baseline(&naive, rows)?);
        Ok(scored)
    }

    /// A statistical baseline that is fitted anew at every window, on `rows`; its quantiles come from as many windows of the validation rows.
    /// None where that takes too many fits.
    pub fn statistical(&self, rows: &Range<usize>) -> Result<Option<ByHorizon>, CliError> {
        let ranges = &self.data.ranges;
        let mstl = MstlEts { season: self.season, horizon: self.horizon(), lookback: MSTL_SEASONS * self.season.max(2) };
        let (columns, origins) = (self.data.columns.len(), self.origins(rows)?);
        let fits = origins.iter().len() * columns;
        if fits > MOST_FITS || ranges.validation.start < mstl.lookback() {
            println!("no mstl-ets baseline: {fits} fits, expected at most {MOST_FITS}; --step and --windows thin them");
            return Ok(None);
        }
        let named = |error| self.named(error);
        let all = Origins::of(&ranges.validation, self.horizon()).map_err(named)?;
        let step = all.iter().len().div_ceil((MOST_FITS / columns).max(1));
        let fitted = all.thinned(step.max(1), None);
        let spread = residual_spread(&mstl, &self.data.standardised, &fitted, self.horizon(), &self.levels).map_err(named)?;
        let standardised = &self.data.standardised;
        let scores =
            evaluate_at(&mstl, standardised, &origins, &self.horizons, &self.levels, &spread, &self.scales, &self.units());
        let mut scored = self.none();
        push(&mut scored, "mstl-ets", scores.map_err(named)?);
        Ok(Some(scored))
    }

    fn baseline(&self, baseline: &dyn Baseline, rows: &Range<usize>) -> Result<Vec<Scores>, CliError> {
        let columns = &self.data.standardised;
        let named = |error| self.named(error);
        let fitted = Origins::of(&self.data.ranges.validation, self.horizons[0]).map_err(named)?;
        let spread = residual_spread(baseline, columns, &fitted, self.horizon(), &self.levels).map_err(named)?;
        let origins = self.origins(rows)?;
        evaluate_at(baseline, columns, &origins, &self.horizons, &self.levels, &spread, &self.scales, &self.units())
            .map_err(named)
    }

    /// The model, and its network alone where it is not all or nothing of the model, on `rows`; the stream runs from the first row of the data.
    pub fn model(&self, forecaster: &Arc<Forecaster>, rows: &Range<usize>) -> Result<ByHorizon, CliError> {
        self.stream(predictor(forecaster), rows)
    }

    /// The same for a stream at its beginning.
    pub fn stream(&self, mut predictor: Predictor, rows: &Range<usize>) -> Result<ByHorizon, CliError> {
        let origins = self.origins(rows)?;
        let forecaster = predictor.forecaster().clone();
        // Boards count a model's own steps, `every` rows each.
        let end = if self.every == 1 { rows.end } else { usize::MAX / 2 };
        let boards =
            || HorizonBoards::new(&(rows.start..end), &self.horizons, &self.levels, &self.scales).in_units(&self.units());
        let (mut combined, mut network) = (boards(), boards());
        let (count, middle) = forecaster.blueprint().levels.shape();
        let history = self.data.signal.slice(0..rows.end);
        let medians = |quantiles: &[f64], to: &mut Vec<f64>| {
            to.clear();
            to.extend(quantiles.chunks_exact(count).map(|q| q[middle]));
        };
        let (mut truth, mut points) = (Vec::new(), Vec::new());
        let blended = forecaster.linear().is_some() && !forecaster.is_linear_alone();
        predictor.advance_many(
            &history,
            |row| origins.contains(row + 1),
            |row, column, parts| {
                let values = &self.data.standardised[column];
                truth.clear();
                truth.extend(
                    (1..=self.horizon()).map(|step| row + step * self.every).take_while(|&at| at < rows.end).map(|at| values[at]),
                );
                medians(&parts.combined, &mut points);
                combined.add(row + 1, column, &truth, &points, &parts.combined);
                if blended {
                    medians(&parts.network, &mut points);
                    network.add(row + 1, column, &truth, &points, &parts.network);
                }
            },
            None,
        )?;
        let mut scored = self.none();
        push(&mut scored, "model", combined.scores());
        if blended {
            push(&mut scored, "network", network.scores());
        }
        Ok(scored)
    }
}

/// What the ridges look at whose mean is a model's linear expert.
fn members(linear: &LinearConfig) -> Vec<Inputs> {
    let profile = linear.profile.map(|profile| Profile { season: profile.season, cycles: profile.cycles });
    let lookbacks = || linear.shorter.iter().copied().chain([linear.lookback]);
    let plain = lookbacks().map(Inputs::samples);
    match profile {
        None => plain.collect(),
        // A look-back alone has the profile beside it.
        Some(_) if linear.shorter.is_empty() => vec![Inputs { lookback: linear.lookback, profile }],
        Some(_) => plain.chain(lookbacks().map(|lookback| Inputs { lookback, profile })).collect(),
    }
}

/// Rows by name, for `metrics.json`.
pub fn by_name(rows: &Rows) -> BTreeMap<String, Scores> {
    rows.iter().cloned().collect()
}
