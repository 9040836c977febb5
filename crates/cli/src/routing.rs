//! The routing timeline: the gate weights of every expert at every sample of a stretch.

use crate::{error::CliError, run::predictor};
use foretoken_model::{
    Beside, Forecaster, Predictor, Trace,
    mixture::MixtureEngine,
    trace::{MixtureTrace, StreamTrace},
};
use std::sync::Arc;

/// One mixture over a stretch of rows.
pub struct Timeline {
    /// Number of the mixture.
    pub mixture: usize,
    /// Experts chosen a sample.
    pub top_k: usize,
    /// Kind of each expert.
    pub experts: Vec<String>,
    rows: usize,
    /// `[column][row][expert]`; zero where an expert was not chosen, or the sample is missing.
    weights: Vec<f32>,
}

impl Timeline {
    /// Gate weight of an expert at a row of a column.
    pub fn weight(&self, column: usize, row: usize, expert: usize) -> f32 {
        self.weights[(column * self.rows + row) * self.experts.len() + expert]
    }

    /// The expert with the largest weight; none where the sample is missing.
    pub fn loudest(&self, column: usize, row: usize) -> Option<usize> {
        let weight = |expert: &usize| self.weight(column, row, *expert);
        (0..self.experts.len()).filter(|expert| weight(expert) > 0.0).max_by(|a, b| weight(a).total_cmp(&weight(b)))
    }
}

/// Every choice of every mixture over the columns, from their first row.
pub fn trace(forecaster: &Arc<Forecaster>, columns: &[&[f64]], beside: &Beside<'_>) -> Result<Trace, CliError> {
    // A mixture inside an expert that is never chosen makes no choices, and is in the trace all the same.
    let shape = |mixture: &&MixtureEngine| MixtureTrace {
        top_k: mixture.top_k(),
        experts: mixture.expert_names().len(),
        streams: Vec::new(),
    };
    let mut trace = Trace { mixtures: forecaster.network().mixtures().iter().map(shape).collect() };
    let mut predictor = predictor(forecaster);
    // What is shown of usage is of one stream.
    predictor.count_usage(false);
    predictor.tell(beside)?;
    predictor.advance_many(columns, |_| false, |_, _, _| {}, Some(&mut trace))?;
    Ok(trace)
}

/// Runs the columns, which go on from where `stream` is, and keeps the routing from the row `first` on. Mixtures inside experts see only the samples they were
/// given, so they have no place on the common axis of time and are left out.
pub fn timelines(mut stream: Predictor, columns: &[&[f64]], first: usize) -> Result<Vec<Timeline>, CliError> {
    let forecaster = stream.forecaster().clone();
    let (head, tail): (Vec<&[f64]>, Vec<&[f64]>) = columns.iter().map(|column| column.split_at(first)).unzip();
    stream.advance_many(&head, |_| false, |_, _, _| {}, None)?;
    let mut trace = Trace::default();
    stream.advance_many(&tail, |_| false, |_, _, _| {}, Some(&mut trace))?;
    let rows = tail.first().map_or(0, |column| column.len());
    let of_column = |column: &&[f64]| (0..rows).filter(|&row| !column[row].is_nan()).collect();
    let present: Vec<Vec<usize>> = tail.iter().map(of_column).collect();
    let mut timelines = Vec::new();
    for (mixture, own) in forecaster.network().mixtures().iter().zip(&trace.mixtures) {
        let (experts, top_k) = (mixture.expert_names().to_vec(), mixture.top_k());
        let whole = |(stream, present): (&StreamTrace, &Vec<usize>)| stream.choices.len() == present.len() * top_k;
        if own.streams.len() != columns.len() || !own.streams.iter().zip(&present).all(whole) {
            continue;
        }
        let mut weights = vec![0.0; columns.len() * rows * experts.len()];
        let by_column = own.streams.iter().zip(&present).zip(weights.chunks_exact_mut(rows * experts.len()));
        for ((stream, present), weights) in by_column {
            for (place, (&expert, &weight)) in stream.choices.iter().zip(&stream.weights).enumerate() {
                weights[present[place / top_k] * experts.len() + expert as usize] = weight;
            }
        }
        timelines.push(Timeline { mixture: mixture.id(), top_k, experts, rows, weights });
    }
    Ok(timelines)
}
