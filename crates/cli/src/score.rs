//! Scores of a model and its baselines on one range of rows.

use crate::{error::CliError, run::Prepared};
use foretoken_eval::{
    Baseline, EvalError, Origins, Ridge, ScoreBoard, Scores, SeasonalNaive, evaluate, naive_scales, residual_spread,
};
use foretoken_model::{Forecaster, Predictor, linear_expert::LinearConfig};
use std::{collections::BTreeMap, ops::Range, sync::Arc};

/// Rows of a table: name and scores, in the order to print.
pub type Rows = Vec<(String, Scores)>;

/// What every evaluation of a run shares.
pub struct Judge<'a> {
    data: &'a Prepared,
    horizon: usize,
    levels: Vec<f64>,
    scales: Vec<f64>,
    season: usize,
    /// Rows from one step of a model's forecast to the next.
    every: usize,
    /// Rows from one window to the next, and most windows.
    thinned: (usize, Option<usize>),
}

impl<'a> Judge<'a> {
    /// A judge for forecasts `horizon` ahead with these quantile levels.
    pub fn new(data: &'a Prepared, horizon: usize, levels: &[f64], season: usize) -> Self {
        let train: Vec<&[f64]> = data.standardised.iter().map(|column| &column[data.ranges.train.clone()]).collect();
        Self {
            data,
            horizon,
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

    fn origins(&self, rows: &Range<usize>, horizon: usize) -> Result<Origins, CliError> {
        let all = Origins::of(rows, horizon).map_err(|error| self.named(error))?;
        Ok(all.thinned(self.thinned.0, self.thinned.1))
    }

    /// The ridge, fitted on training rows, its strength picked on validation rows; with a model's own look-back if it has a linear
    /// expert, else with the usual one, and then none where the rows are too few for it.
    pub fn ridge(&self, linear: Option<&LinearConfig>) -> Result<Option<Ridge>, CliError> {
        let ranges = &self.data.ranges;
        let lookback = linear.unwrap_or(&LinearConfig::default()).lookback;
        match Ridge::fit(&self.data.standardised, &ranges.train, &ranges.validation, lookback, self.horizon) {
            Ok(ridge) => Ok(Some(ridge)),
            Err(error @ EvalError::TooShort { .. }) if linear.is_none() => {
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

    /// The baselines on `rows`; their quantiles come from their errors on validation rows.
    pub fn baselines(&self, ridge: Option<&Ridge>, rows: &Range<usize>) -> Result<Rows, CliError> {
        let naive = SeasonalNaive { season: self.season, horizon: self.horizon };
        let mut scored = Rows::new();
        if let Some(ridge) = ridge {
            scored.push(("ridge".into(), self.baseline(ridge, rows)?));
        }
        scored.push(("seasonal-naive".into(), self.baseline(&naive, rows)?));
        Ok(scored)
    }

    fn baseline(&self, baseline: &dyn Baseline, rows: &Range<usize>) -> Result<Scores, CliError> {
        let columns = &self.data.standardised;
        let named = |error| self.named(error);
        let fitted = Origins::of(&self.data.ranges.validation, self.horizon).map_err(named)?;
        let spread = residual_spread(baseline, columns, &fitted, self.horizon, &self.levels).map_err(named)?;
        let origins = self.origins(rows, self.horizon)?;
        evaluate(baseline, columns, &origins, &self.levels, &spread, &self.scales).map_err(named)
    }

    /// The model and its network alone on `rows`; the stream runs from the first row of the data.
    pub fn model(&self, forecaster: &Arc<Forecaster>, rows: &Range<usize>) -> Result<Rows, CliError> {
        self.stream(Predictor::new(forecaster.clone()), rows)
    }

    /// The same for a stream at its beginning.
    pub fn stream(&self, mut predictor: Predictor, rows: &Range<usize>) -> Result<Rows, CliError> {
        let origins = self.origins(rows, self.horizon * self.every)?;
        let forecaster = predictor.forecaster().clone();
        let board = || ScoreBoard::new(self.horizon, &self.levels, &self.scales);
        let (mut combined, mut network) = (board(), board());
        let (count, middle) = forecaster.blueprint().levels.shape();
        let history = self.data.signal.slice(0..rows.end);
        let medians = |quantiles: &[f64]| quantiles.chunks_exact(count).map(|q| q[middle]).collect::<Vec<_>>();
        let mut truth = Vec::new();
        predictor.advance_many(
            &history,
            |row| origins.contains(row + 1),
            |row, column, parts| {
                let column_values = &self.data.standardised[column];
                truth.clear();
                truth.extend((1..=self.horizon).map(|step| column_values[row + step * self.every]));
                combined.add(column, &truth, medians(&parts.combined).into_iter(), &parts.combined);
                network.add(column, &truth, medians(&parts.network).into_iter(), &parts.network);
            },
            None,
        )?;
        let mut scored = vec![("model".to_string(), combined.scores())];
        if forecaster.linear().is_some() {
            scored.push(("network".into(), network.scores()));
        }
        Ok(scored)
    }
}

/// Rows by name, for `metrics.json`.
pub fn by_name(rows: Rows) -> BTreeMap<String, Scores> {
    rows.into_iter().collect()
}
