//! The counterfactual audit: what would have come of a sample if another expert had been given it?
//!
//! At a sampled row every expert of a mixture is forced to speak alone, from the very state of the stream, and the forecast from there is
//! held against what came. Regret is the error of the chosen route less that of the best expert in hindsight; it is negative where the
//! experts together beat each of them.

use crate::{
    ModelError,
    covariates::Beside,
    forecaster::Forecaster,
    layer::Engine,
    mixture::MixtureEngine,
    predictor::Predictor,
    trace::{MixtureTrace, Replay, StreamTrace, Trace, leading_slot},
};
use std::sync::Arc;

/// One audited sample of one column.
#[derive(Clone, Debug, PartialEq)]
pub struct Audited {
    /// Row of the sample.
    pub row: usize,
    /// The column.
    pub column: usize,
    /// The expert that had the largest weight.
    pub leader: usize,
    /// Mean squared error, standardised, over the horizon of the forecast by the chosen route; of the steps whose truth is known.
    pub route: f64,
    /// The same with each expert alone.
    pub alone: Vec<f64>,
}

impl Audited {
    /// The expert with the smallest error.
    pub fn best(&self) -> usize {
        (0..self.alone.len()).min_by(|&a, &b| self.alone[a].total_cmp(&self.alone[b])).unwrap_or(0)
    }

    /// Error of the route less that of the best expert.
    pub fn regret(&self) -> f64 {
        self.route - self.alone[self.best()]
    }
}

/// Audits one mixture at the given rows, in increasing order, each with a whole horizon after it; the stream runs from the first row of
/// `columns`, in the data's unit, NaN where a sample is missing. A column is left out at rows where its sample, or all of its horizon, is missing.
///
/// # Errors
/// No such mixture, a mixture inside an expert (it has no place on the common axis of time), rows without a horizon after them, or what
/// [`Predictor::advance`] refuses.
pub fn audit(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    mixture: usize,
    rows: &[usize],
) -> Result<Vec<Audited>, ModelError> {
    let mixtures = forecaster.network().mixtures();
    let Some(own) = mixtures.iter().find(|own| own.id() == mixture) else {
        return Err(ModelError::config("mixture", format!("one of {}", mixtures.len()), mixture));
    };
    let holds = |outer: &&&MixtureEngine| outer.id() != mixture && outer.mixtures().iter().any(|inner| inner.id() == mixture);
    if mixtures.iter().any(|outer| holds(&outer)) {
        return Err(ModelError::config("mixture", "a mixture of the trunk", format!("mixture {mixture} inside an expert")));
    }
    let (experts, horizon) = (own.expert_names().len(), forecaster.config().horizon);
    let len = columns.first().map_or(0, |column| column.len());
    if let Some(row) = rows.iter().find(|row| **row + horizon >= len) {
        return Err(ModelError::TooShort {
            what: "rows after an audited one",
            expected: horizon,
            found: len.saturating_sub(row + 1),
        });
    }
    if let Some(pair) = rows.windows(2).find(|pair| pair[1] <= pair[0]) {
        return Err(ModelError::config("audited rows", "rows in increasing order", format!("{} after {}", pair[1], pair[0])));
    }
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.tell(beside)?;
    // Forced choices are not what the experts are used for.
    predictor.count_usage(false);
    predictor.allow_missing(true);
    let mut forecast = predictor.forecast_buffer();
    let (mut audited, mut next) = (Vec::new(), 0);
    for &row in rows {
        let until: Vec<&[f64]> = columns.iter().map(|column| &column[next..row]).collect();
        predictor.advance_many(&until, |_| false, |_, _, _| {}, None)?;
        next = row;
        let sample: Vec<&[f64]> = columns.iter().map(|column| &column[row..=row]).collect();
        let mut error = |mut stream: Predictor, trace: Option<&mut Trace>| -> Result<Vec<f64>, ModelError> {
            stream.advance_many(&sample, |_| false, |_, _, _| {}, trace)?;
            stream.predict(&mut forecast)?;
            let points = forecast.point.chunks_exact(horizon).zip(columns).zip(forecaster.columns());
            let squares = points.map(|((points, truth), column)| {
                let square = |(point, truth): (&f64, &f64)| ((point - truth) / column.deviation).powi(2);
                let known = || points.iter().zip(&truth[row + 1..]).filter(|(_, truth)| !truth.is_nan());
                known().map(square).sum::<f64>() / known().count() as f64
            });
            Ok(squares.collect())
        };
        let mut trace = Trace::default();
        let route = error(predictor.fork(), Some(&mut trace))?;
        let chosen = &trace.mixtures[mixture];
        let mut alone = vec![Vec::with_capacity(experts); columns.len()];
        for expert in 0..experts as u32 {
            let mut stream = predictor.fork();
            stream.force(Some(Replay::choices_and_weights(only(expert, chosen, mixture))?))?;
            for (alone, error) in alone.iter_mut().zip(error(stream, None)?) {
                alone.push(error);
            }
        }
        let columns = route.into_iter().zip(alone).zip(&chosen.streams).enumerate();
        for (column, ((route, alone), stream)) in
            columns.filter(|(_, ((route, _), stream))| !(route.is_nan() || stream.weights.is_empty()))
        {
            audited.push(Audited { row, column, leader: stream.choices[leading_slot(&stream.weights)] as usize, route, alone });
        }
    }
    Ok(audited)
}

/// A trace of one sample in which `expert` alone speaks, with all the weight that was given; the other slots keep silent. Where there is no sample nobody speaks.
fn only(expert: u32, chosen: &MixtureTrace, mixture: usize) -> Trace {
    let stream = |stream: &StreamTrace| {
        if stream.weights.is_empty() {
            return StreamTrace::default();
        }
        let others = (0..chosen.experts as u32).filter(|other| *other != expert);
        let choices: Vec<u32> = std::iter::once(expert).chain(others).take(chosen.top_k).collect();
        let mut weights = vec![0.0; chosen.top_k];
        weights[0] = stream.weights.iter().sum();
        StreamTrace { choices, weights }
    };
    let mut mixtures = vec![MixtureTrace::default(); mixture];
    let streams = chosen.streams.iter().map(stream).collect();
    mixtures.push(MixtureTrace { top_k: chosen.top_k, experts: chosen.experts, streams });
    Trace { mixtures }
}
