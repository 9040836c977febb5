//! Scores of a model and its baselines on one range of rows.

use crate::{error::CliError, run::Prepared};
use foretoken_eval::{Baseline, Ridge, ScoreBoard, Scores, SeasonalNaive, evaluate, naive_scales, origins, residual_spread};
use foretoken_model::{Forecaster, Predictor};
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
}

impl<'a> Judge<'a> {
    /// A judge for forecasts `horizon` ahead with these quantile levels.
    pub fn new(data: &'a Prepared, horizon: usize, levels: &[f64], season: usize) -> Self {
        let train: Vec<&[f64]> = data.standardised.iter().map(|column| &column[data.ranges.train.clone()]).collect();
        Self { data, horizon, levels: levels.to_vec(), scales: naive_scales(&train, season), season }
    }

    /// Fits the ridge on training rows, its strength picked on validation rows.
    pub fn fit_ridge(&self, lookback: usize) -> Result<Ridge, CliError> {
        let ranges = &self.data.ranges;
        Ok(Ridge::fit(&self.data.standardised, &ranges.train, &ranges.validation, lookback, self.horizon)?)
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
        let fitted = origins(&self.data.ranges.validation, self.horizon)?;
        let spread = residual_spread(baseline, columns, &fitted, self.horizon, &self.levels)?;
        Ok(evaluate(baseline, columns, &origins(rows, self.horizon)?, &self.levels, &spread, &self.scales)?)
    }

    /// The model and its network alone on `rows`; the stream runs from the first row of the data.
    pub fn model(&self, forecaster: &Arc<Forecaster>, rows: &Range<usize>) -> Result<Rows, CliError> {
        let origins = origins(rows, self.horizon)?;
        let board = || ScoreBoard::new(self.horizon, &self.levels, &self.scales);
        let (mut combined, mut network) = (board(), board());
        let (count, middle) = forecaster.blueprint().levels.shape();
        let history = self.data.signal.slice(0..rows.end);
        let medians = |quantiles: &[f64]| quantiles.chunks_exact(count).map(|q| q[middle]).collect::<Vec<_>>();
        Predictor::new(forecaster.clone()).advance_many(
            &history,
            |row| origins.contains(&(row + 1)),
            |row, column, parts| {
                let truth = &self.data.standardised[column][row + 1..][..self.horizon];
                combined.add(column, truth, medians(&parts.combined).into_iter(), &parts.combined);
                network.add(column, truth, medians(&parts.network).into_iter(), &parts.network);
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
