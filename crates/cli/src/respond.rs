//! What the columns of a run do in response to covariates that are known ahead, and what is left of them to learn.

use crate::{
    error::CliError,
    run::{Prepared, Run, standardise},
    say::say,
    table,
};
use foretoken_data::{Values, known_columns};
use foretoken_eval::{EvalError, response};
use foretoken_model::{Covariates, linear_expert::LinearConfig, response::Response};
use std::path::Path;

/// Rows that columns may respond to, of all covariates together, where the run does not say how many.
const ROWS: usize = 512;
/// The training rows are so many times as many at least.
const TRAINED: usize = 8;
/// Columns that each may respond to so many; more respond to fewer.
const COLUMNS: usize = 32;
/// Fewer rows are no response.
const FEWEST: usize = 4;

/// Columns less what they do in response to what is known.
pub struct Left {
    /// In the data's unit.
    pub values: Vec<Values>,
    pub standardised: Vec<Values>,
    /// What they do, standardised, by column.
    pub responses: Vec<Vec<f64>>,
}

impl Prepared {
    /// The columns as they are learned from, standardised.
    pub fn learned(&self) -> &[Values] {
        self.left.as_ref().map_or(&self.standardised, |left| &left.standardised)
    }

    /// The same with what is left beside the columns, where those covariates have a response.
    pub fn without_response(self) -> Result<Self, CliError> {
        let (beside, rows) = (self.beside(), self.signal.len());
        let responses: Option<Vec<Vec<f64>>> =
            (0..self.columns.len()).map(|column| self.covariates.responses(&beside, column, rows)).collect();
        let Some(responses) = responses else { return Ok(self) };
        let mapped = self.signal.columns.iter().any(Values::is_mapped);
        let values = Values::table(self.columns.len(), rows, mapped, |index, to| {
            let deviation = self.columns[index].deviation;
            let rows = to.iter_mut().zip(&*self.signal.columns[index]).zip(&responses[index]);
            rows.for_each(|((to, value), response)| *to = value - deviation * response);
        })?;
        let left = Left { standardised: standardise(&self.columns, &values)?, values, responses };
        Ok(Self { left: Some(left), ..self })
    }
}

impl Run {
    /// Fits what the columns do in response to what is known ahead beside the calendar, where the validation rows say that they do.
    pub fn respond(&self, path: &Path, data: Prepared) -> Result<Prepared, CliError> {
        let names: Vec<String> = data.covariates.known.iter().map(|covariate| covariate.name.clone()).collect();
        let driving: Vec<&String> = known_columns(&names, &self.data.calendar)?;
        let (asked, width) = (self.model.covariates.response, driving.len());
        let train = &data.ranges.train;
        // What takes long is not done unasked.
        let rows = if self.data.bounds { 0 } else { ROWS * COLUMNS / data.columns.len().max(COLUMNS) };
        let samples = asked.unwrap_or((rows / width.max(1)).min(train.len() / TRAINED));
        if self.data.bounds && asked.is_some_and(|asked| asked > 0) {
            return Err(CliError::file(path, "model.covariates.response: expected none beside data.bounds, found one"));
        }
        if width == 0 && asked.is_some_and(|asked| asked > 0) {
            let problem = "model.covariates.response: expected covariates that are known ahead beside the calendar, found none";
            return Err(CliError::file(path, problem));
        }
        if width == 0 || samples == 0 || (asked.is_none() && samples < FEWEST) {
            return Ok(data);
        }
        let places: Vec<usize> =
            names.iter().enumerate().filter(|(_, name)| driving.contains(name)).map(|(place, _)| place).collect();
        let (beside, rows) = (data.beside(), data.signal.len());
        let is_shared = places.iter().all(|&place| beside.known[place].len() == 1);
        let of_column = |column: usize| {
            let mut row_k = vec![0.0; names.len()];
            let mut known = Vec::with_capacity(rows * width);
            for row in 0..rows {
                data.covariates.known_row(&beside, column, row, &mut row_k);
                known.extend(places.iter().map(|&place| row_k[place]));
            }
            known
        };
        let known: Vec<Vec<f32>> = (0..if is_shared { 1 } else { data.columns.len() }).map(of_column).collect();
        let lookback = self.model.linear.as_ref().map_or(LinearConfig::default().lookback, |linear| linear.lookback);
        let of = (lookback, self.model.horizon);
        let found = response(&data.standardised, &known, width, train, &data.ranges.validation, samples, of);
        let found = match found {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(data),
            // Rows that are too few, or lack too much, have none.
            Err(EvalError::TooShort { .. } | EvalError::Missing { .. }) if asked.is_none() => return Ok(data),
            Err(error) => return Err(CliError::file(&data.path, error)),
        };
        let (words, [before, after]) =
            (driving.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", "), found.squares);
        _ = say!(
            "columns respond to {words} over {samples} rows: validation MSE of a ridge {} without, {} with; all is learned of what is left",
            table::figure(before),
            table::figure(after)
        );
        // Those of the calendar have none.
        let mut weights_crk = vec![0.0; data.columns.len() * samples * names.len()];
        for (to, from) in weights_crk.chunks_exact_mut(names.len()).zip(found.weights_crk.chunks_exact(width)) {
            places.iter().zip(from).for_each(|(&place, weight)| to[place] = *weight);
        }
        let covariates = Covariates { response: Some(Response { samples, weights_crk }), ..data.covariates.clone() };
        Prepared { covariates, ..data }.without_response()
    }
}
