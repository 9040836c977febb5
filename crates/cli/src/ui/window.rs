//! The first validation window, and what weights forecast there: by a fresh stream that looks back on a bounded stretch of rows, so that it is cheap.

use crate::{error::CliError, run::Run};
use foretoken_data::{Signal, Values};
use foretoken_model::{Beside, Blueprint, Forecaster, Predictor, Registry};
use std::{ops::Range, sync::Arc};

/// Least rows of history that are drawn.
const DRAWN: usize = 48;
/// Levels at the ends of the band that is drawn, as near as the model has them.
const BAND: [f64; 2] = [0.1, 0.9];

/// A column around the first validation row.
#[derive(Clone, Debug)]
pub struct Around {
    /// Its name.
    pub name: String,
    /// History and truth, NaN where missing.
    pub values: Vec<f64>,
}

/// The rows that are looked back on, and those of the forecast.
#[derive(Debug, Default)]
pub struct Window {
    /// The columns.
    pub columns: Vec<Around>,
    /// Stamps of their rows.
    pub stamps: Vec<String>,
    /// How many of the rows lie before the forecast, and how many of these are drawn.
    pub before: usize,
    /// See there.
    pub drawn: usize,
    /// Quantile levels.
    pub levels: Vec<f64>,
    /// Covariates observed, and known ahead, `[covariate][column][row]`.
    pub beside: [Vec<Vec<Vec<f64>>>; 2],
}

/// Band and median of one column, `[step]` of low, median, high.
pub type Forecast = Vec<[f64; 3]>;

impl Window {
    /// The rows around `validation` of a run's data: as many before it as the model looks back on, `response` of them what its columns respond to, and a
    /// training window for its states.
    pub fn new(run: &Run, signal: &Signal, validation: usize, response: usize) -> Result<Self, CliError> {
        let (horizon, memory) = (run.model.horizon, Blueprint::new(&run.model, &Registry::default())?.memory() + response);
        let drawn = horizon.max(DRAWN);
        let rows = validation.saturating_sub(memory.max(drawn) + run.train.window)..(validation + horizon).min(signal.len());
        let around = |(name, values): (&String, &[f64])| Around { name: name.clone(), values: values.into() };
        let kind = |known: bool, rows: Range<usize>| {
            let own = signal.covariates.iter().filter(move |covariate| covariate.known == known);
            let cut = |values: &Values| values[rows.start..values.len().min(rows.end)].to_vec();
            own.map(|covariate| covariate.values.iter().map(cut).collect()).collect()
        };
        Ok(Self {
            columns: signal.names.iter().zip(signal.slice(rows.clone())).map(around).collect(),
            before: validation - rows.start,
            drawn: drawn.min(validation - rows.start),
            levels: run.model.quantiles.clone(),
            beside: [kind(false, rows.start..validation), kind(true, rows.clone())],
            stamps: signal.stamps.slice(rows),
        })
    }

    /// Places of the band's ends among the levels.
    pub fn band(&self) -> Option<[usize; 2]> {
        let nearest = |level: f64| {
            let distance = |place: &usize| (self.levels[*place] - level).abs();
            (0..self.levels.len()).min_by(|a, b| distance(a).total_cmp(&distance(b)))
        };
        let [low, high] = BAND.map(nearest);
        Some([low?, high?]).filter(|[low, high]| low < high)
    }

    /// What a forecaster says after the rows before; nothing of a column that has not begun. Its intervals are those of the weights, not calibrated.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn forecast(&self, forecaster: Forecaster) -> Result<Vec<Option<Forecast>>, CliError> {
        let (horizon, (count, middle)) = (forecaster.config().horizon, forecaster.blueprint().levels.shape());
        let [low, high] = self.band().unwrap_or([middle; 2]);
        let [past, known] =
            self.beside.each_ref().map(|kind| kind.iter().map(|each| each.iter().map(Vec::as_slice).collect()).collect());
        let mut predictor = Predictor::new(Arc::new(forecaster));
        predictor.allow_missing(true);
        predictor.adapt(None)?;
        predictor.tell(&Beside { past, known })?;
        let columns: Vec<&[f64]> = self.columns.iter().map(|column| &column.values[..self.before]).collect();
        predictor.advance_many(&columns, |_| false, |_, _, _| {}, None)?;
        let mut forecast = predictor.forecast_buffer();
        predictor.predict(&mut forecast)?;
        let columns = forecast.quantiles.chunks_exact(horizon * count);
        let steps = |column: &[f64]| column.chunks_exact(count).map(|step| [step[low], step[middle], step[high]]).collect();
        Ok(columns.map(|column| column.iter().all(|value| value.is_finite()).then(|| steps(column))).collect())
    }
}
