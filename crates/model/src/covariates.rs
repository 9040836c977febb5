//! Covariates: what is observed or known beside the series.
//!
//! ```text
//! past      seen with the sample of its row
//! known     seen with the sample, and by the heads at every step of the horizon
//! static    one value a column
//! response  what columns do in response to known ones, see [`crate::response`]
//! columns   with channel mixing: the newest sample of every column, scaled by its own statistics and cut at ±8, and which of them the column is
//! ```
//! Each is standardised by its training rows; a value that is missing counts as its mean. They come before the samples they belong to: a stream is told of
//! them with [`crate::Predictor::tell`].

use crate::{ModelError, forecaster::Column, predictor::LARGEST_STANDARDISED, response::Response, weights::positive};
use serde::{Deserialize, Serialize};
use std::{collections::VecDeque, ops::Range};

/// How many covariates a network is shown.
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CovariateConfig {
    /// Observed with the samples.
    pub past: usize,
    /// Known for the horizon, too.
    pub known: usize,
    /// Of a column, for ever.
    pub statics: usize,
    /// Columns that each column is shown: all of them, or 0 for none but itself.
    pub columns: usize,
    /// Width of the layer through which the heads see a step's known covariates.
    pub hidden: usize,
    /// For the fit: rows of known covariates that columns may respond to, 0 for none; if absent, what the data allow.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response: Option<usize>,
}

// Where no response is asked for it is what it was before there were any: a checkpoint knows its run by it.
impl std::fmt::Debug for CovariateConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { past, known, statics, columns, hidden, response } = self;
        let mut config = f.debug_struct("CovariateConfig");
        config
            .field("past", past)
            .field("known", known)
            .field("statics", statics)
            .field("columns", columns)
            .field("hidden", hidden);
        if let Some(response) = response {
            config.field("response", response);
        }
        config.finish()
    }
}

impl Default for CovariateConfig {
    fn default() -> Self {
        Self { past: 0, known: 0, statics: 0, columns: 0, hidden: 32, response: None }
    }
}

impl CovariateConfig {
    /// Values in a row of features beside the taps.
    pub fn count(&self) -> usize {
        self.own() + 2 * self.columns
    }

    /// Those of them that are covariates.
    pub fn own(&self) -> usize {
        self.past + self.known + self.statics
    }

    /// Fills in what `column` is shown of all columns, `shown_c` their newest samples.
    pub fn mix(&self, column: usize, shown_c: &[f32], out: &mut [f32]) {
        let (values, which) = out.split_at_mut(self.columns);
        values.copy_from_slice(shown_c);
        // An indicator, standardised over the columns.
        let scale = (self.columns.saturating_sub(1).max(1) as f32).sqrt();
        which.fill(-1.0 / scale);
        if let Some(own) = which.get_mut(column) {
            *own = scale;
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count() == 0
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        if self.count() > MOST {
            return Err(ModelError::config("past, known, statics, columns", format!("at most {MOST} values"), self.count()));
        }
        positive("hidden", self.hidden).map(|_| ())
    }
}

/// Most values beside the taps.
const MOST: usize = 10_000;

/// The covariates that a forecaster was trained with.
#[derive(Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Covariates {
    /// Names and training statistics.
    pub past: Vec<Column>,
    /// The same of those known ahead.
    pub known: Vec<Column>,
    /// The same of the static ones, over the series.
    pub statics: Vec<Column>,
    /// `[column][static]`, in their own unit.
    pub values_cs: Vec<f64>,
    /// What the columns do in response to those known ahead.
    // Without, the weights file is what it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub response: Option<Response>,
}

// Without a response it is what it was before there were any: a checkpoint knows its run by it.
impl std::fmt::Debug for Covariates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { past, known, statics, values_cs, response } = self;
        let mut covariates = f.debug_struct("Covariates");
        covariates.field("past", past).field("known", known).field("statics", statics).field("values_cs", values_cs);
        if let Some(response) = response {
            // Weights are of one processor.
            covariates.field("response", &response.samples);
        }
        covariates.finish()
    }
}

/// Covariates of a stretch of rows in their own unit, `[covariate][column][row]`; one column stands for all.
#[derive(Clone, Debug, Default)]
pub struct Beside<'a> {
    /// Of coming rows.
    pub past: Vec<Vec<&'a [f64]>>,
    /// Of coming rows and beyond, as far as they are known.
    pub known: Vec<Vec<&'a [f64]>>,
}

impl<'a> Beside<'a> {
    /// What of `column` and one row is there, NaN where it is not.
    fn value(of: &[&'a [f64]], column: usize, row: usize) -> f64 {
        of.get(column).or(of.first()).and_then(|values| values.get(row)).copied().unwrap_or(f64::NAN)
    }

    /// Rows of the covariates of one kind.
    fn rows(of: &[Vec<&'a [f64]>]) -> usize {
        of.iter().flatten().map(|values| values.len()).min().unwrap_or(0)
    }

    /// The same from a row on, and from another on what is known ahead.
    pub fn from(&self, past: usize, known: usize) -> Self {
        self.cut(|values| &values[past.min(values.len())..], |values| &values[known.min(values.len())..])
    }

    /// The same up to a row, and up to another what is known ahead.
    pub fn until(&self, past: usize, known: usize) -> Self {
        self.cut(|values| &values[..past.min(values.len())], |values| &values[..known.min(values.len())])
    }

    fn cut(&self, past: impl Fn(&'a [f64]) -> &'a [f64], known: impl Fn(&'a [f64]) -> &'a [f64]) -> Self {
        Self {
            past: self.past.iter().map(|columns| columns.iter().map(|values| past(values)).collect()).collect(),
            known: self.known.iter().map(|columns| columns.iter().map(|values| known(values)).collect()).collect(),
        }
    }
}

impl Covariates {
    /// Checks that there are as many of each kind as `config` says, of so many columns, and that their numbers can be.
    ///
    /// # Errors
    /// The kind that differs, or the covariate whose statistics or values cannot be.
    pub fn fits(&self, config: &CovariateConfig, columns: usize) -> Result<(), ModelError> {
        let width = ModelError::unless_as_many;
        width("past covariates", config.past, self.past.len())?;
        width("known covariates", config.known, self.known.len())?;
        width("static covariates", config.statics, self.statics.len())?;
        if config.columns > 0 {
            width("columns that are mixed", config.columns, columns)?;
        }
        width("values of static covariates", config.statics * columns, self.values_cs.len())?;
        self.response.as_ref().map_or(Ok(()), |response| response.check(columns, self.known.len()))?;
        for column in self.past.iter().chain(&self.known).chain(&self.statics) {
            column.check("covariate")?;
        }
        match self.values_cs.iter().find(|value| !value.is_finite()) {
            Some(found) => Err(ModelError::config("static covariates", "finite values", found)),
            None => Ok(()),
        }
    }

    fn standardised(columns: &[Column], value: impl Fn(usize) -> f64, out: &mut [f32]) {
        for (index, (column, out)) in columns.iter().zip(out).enumerate() {
            let value = value(index);
            *out = if value.is_finite() { column.standardise(value) as f32 } else { 0.0 };
        }
    }

    /// Standardised values of a column's row.
    fn past_row(&self, beside: &Beside<'_>, column: usize, row: usize, out: &mut [f32]) {
        Self::standardised(&self.past, |index| Beside::value(&beside.past[index], column, row), out);
    }

    /// The same of what is known.
    pub fn known_row(&self, beside: &Beside<'_>, column: usize, row: usize, out: &mut [f32]) {
        Self::standardised(&self.known, |index| Beside::value(&beside.known[index], column, row), out);
    }

    /// What a column does in response to what is known of the first `rows` rows, standardised; none without a response.
    pub fn responses(&self, beside: &Beside<'_>, column: usize, rows: usize) -> Option<Vec<f64>> {
        let (response, width) = (self.response.as_ref()?, self.known.len());
        let mut known = vec![0.0; rows * width];
        known.chunks_exact_mut(width).enumerate().for_each(|(row, out)| self.known_row(beside, column, row, out));
        let of = |row: usize| {
            let first = (row + 1).saturating_sub(response.samples);
            response.of(column, (&known[first * width..(row + 1) * width], width))
        };
        Some((0..rows).map(of).collect())
    }

    /// All of a column's row, as a network is shown it.
    pub fn row(&self, beside: &Beside<'_>, column: usize, row: usize, out: &mut [f32]) {
        let (past, known, statics) = self.split(out);
        self.past_row(beside, column, row, past);
        self.known_row(beside, column, row, known);
        self.static_row(column, statics);
    }

    /// The places of past, known and static ones in a row.
    fn split<'a>(&self, out: &'a mut [f32]) -> (&'a mut [f32], &'a mut [f32], &'a mut [f32]) {
        let (past, rest) = out.split_at_mut(self.past.len());
        let (known, statics) = rest.split_at_mut(self.known.len());
        (past, known, statics)
    }

    /// Standardised values of a column's static covariates.
    fn static_row(&self, column: usize, out: &mut [f32]) {
        let values = &self.values_cs[column * self.statics.len()..];
        Self::standardised(&self.statics, |index| values[index], out);
    }

    /// Checks that `beside` has values of these covariates, for so many columns.
    ///
    /// # Errors
    /// Other covariates, a wrong number of columns, or a value that is absurd.
    pub fn check(&self, beside: &Beside<'_>, columns: usize) -> Result<(), ModelError> {
        for (what, expected, found) in
            [("past covariates", &self.past, &beside.past), ("known covariates", &self.known, &beside.known)]
        {
            if expected.len() != found.len() {
                return Err(ModelError::Width { what, expected: expected.len(), found: found.len() });
            }
            for (own, values) in expected.iter().zip(found) {
                if values.len() != 1 && values.len() != columns {
                    return Err(ModelError::Width { what: "columns of a covariate", expected: columns, found: values.len() });
                }
                let bad = |value: &&f64| own.standardise(**value).abs() > LARGEST_STANDARDISED;
                if let Some(&found) = values.iter().flat_map(|values| values.iter()).find(bad) {
                    return Err(ModelError::Sample { column: own.name.clone(), found });
                }
            }
        }
        Ok(())
    }
}

/// Standardised covariates that a stream was told of and has not come to yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Along {
    /// `[column]`, a row after the other.
    past: Vec<VecDeque<f32>>,
    /// The same of what is known, the next sample's row first.
    known: Vec<VecDeque<f32>>,
    /// The same of what was known of the newest samples, as far as columns respond to it; no columns of a model without a response.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    before: Vec<VecDeque<f32>>,
}

impl Along {
    pub(crate) fn new(covariates: &Covariates, columns: usize) -> Self {
        let held = covariates.response.as_ref().map(|response| response.samples * covariates.known.len());
        let before = |held| (0..columns).map(|_| VecDeque::with_capacity(held)).collect();
        Self {
            past: vec![VecDeque::new(); columns],
            known: vec![VecDeque::new(); columns],
            before: held.map_or(Vec::new(), before),
        }
    }

    pub(crate) fn reset(&mut self) {
        self.past.iter_mut().chain(&mut self.known).chain(&mut self.before).for_each(VecDeque::clear);
    }

    pub(crate) fn tell(&mut self, covariates: &Covariates, beside: &Beside<'_>) -> Result<(), ModelError> {
        covariates.check(beside, self.past.len())?;
        let (mut past, mut known) = (vec![0.0; covariates.past.len()], vec![0.0; covariates.known.len()]);
        for column in 0..self.past.len() {
            for row in 0..Beside::rows(&beside.past) {
                covariates.past_row(beside, column, row, &mut past);
                self.past[column].extend(&past);
            }
            for row in 0..Beside::rows(&beside.known) {
                covariates.known_row(beside, column, row, &mut known);
                self.known[column].extend(&known);
            }
        }
        Ok(())
    }

    /// Forgets what is known of the next `rows` samples.
    pub(crate) fn pass_over(&mut self, covariates: &Covariates, rows: usize) {
        for column in 0..self.known.len() {
            self.leave(covariates, column, rows);
        }
    }

    /// What is known of a column's next `rows` rows is of rows before now.
    fn leave(&mut self, covariates: &Covariates, column: usize, rows: usize) {
        let width = covariates.known.len();
        let known = &mut self.known[column];
        let gone = known.drain(..(rows * width).min(known.len()));
        let (Some(response), Some(before)) = (&covariates.response, self.before.get_mut(column)) else { return };
        before.extend(gone);
        before.drain(..before.len().saturating_sub((response.samples - 1) * width));
    }

    /// What a column does in response to each of the coming rows, from 0, the next sample's; NaN where nothing is known of it. `room` is for their covariates.
    pub(crate) fn respond(
        &self,
        covariates: &Covariates,
        column: usize,
        rows: Range<usize>,
        room: &mut Vec<f32>,
        mut each: impl FnMut(usize, f64),
    ) {
        let Some(response) = &covariates.response else { return };
        let (width, known) = (covariates.known.len(), &self.known[column]);
        let (held, there) = (self.before.get(column).map_or(0, |before| before.len() / width), known.len() / width);
        let (first, end) = ((held + rows.start).saturating_sub(response.samples - 1), rows.end.min(there));
        room.clear();
        if let Some(before) = self.before.get(column) {
            room.extend(before.range(first.min(held) * width..));
        }
        room.extend(known.range(first.saturating_sub(held).min(end) * width..end * width));
        for row in rows {
            if row >= there {
                each(row, f64::NAN);
                continue;
            }
            let last = held + row + 1 - first;
            let from = last.saturating_sub(response.samples);
            each(row, response.of(column, (&room[from * width..last * width], width)));
        }
    }

    /// Takes back the last row that was observed, of so many covariates.
    pub(crate) fn untell_past(&mut self, width: usize) {
        self.past.iter_mut().for_each(|queue| queue.truncate(queue.len() - width));
    }

    /// Forgets what was observed of rows that are still to come, and what is known of more than so many of them.
    pub(crate) fn untell(&mut self, covariates: &Covariates, rows: usize) {
        self.past.iter_mut().for_each(VecDeque::clear);
        self.known.iter_mut().for_each(|queue| queue.truncate(rows * covariates.known.len()));
    }

    /// Whether the covariates of the next `rows` samples are there.
    pub(crate) fn reach(&self, covariates: &Covariates, rows: usize) -> Result<(), ModelError> {
        reach("past covariates of the samples", &self.past, covariates.past.len(), rows)?;
        reach("known covariates of the samples", &self.known, covariates.known.len(), rows)
    }

    /// Rows beyond the newest sample that something is known of, of every column; all where there is nothing to know.
    pub(crate) fn known_ahead(&self, covariates: &Covariates) -> usize {
        let held = self.known.iter().map(VecDeque::len).min().unwrap_or(0);
        held.checked_div(covariates.known.len()).unwrap_or(usize::MAX)
    }

    /// Whether what is known reaches so many rows beyond the newest sample.
    pub(crate) fn reach_ahead(&self, covariates: &Covariates, rows: usize) -> Result<(), ModelError> {
        reach("known covariates of the horizon", &self.known, covariates.known.len(), rows)
    }

    /// The covariates of a column's sample `ahead` rows after the next.
    pub(crate) fn row(&self, covariates: &Covariates, column: usize, ahead: usize, out: &mut [f32]) {
        let (past, known, statics) = covariates.split(out);
        read(&self.past[column], ahead, past);
        read(&self.known[column], ahead, known);
        covariates.static_row(column, statics);
    }

    /// A column's next samples have come.
    pub(crate) fn pass(&mut self, covariates: &Covariates, column: usize, samples: usize) {
        self.past[column].drain(..samples * covariates.past.len());
        self.leave(covariates, column, samples);
    }

    /// What is known of these steps after the newest sample, from 0, into `[step][known]`; NaN where nothing is.
    pub(crate) fn steps(&self, column: usize, steps: impl Iterator<Item = usize>, known: usize, out: &mut [f32]) {
        if known > 0 {
            steps.zip(out.chunks_exact_mut(known)).for_each(|(step, out)| read(&self.known[column], step, out));
        }
    }

    /// Whether these could be the queues of a stream of so many columns.
    pub(crate) fn fits(&self, covariates: &Covariates, columns: usize) -> bool {
        let of = |queues: &[VecDeque<f32>], width: usize| {
            queues.len() == columns
                && queues.iter().all(|queue| {
                    queue.len() == queues[0].len()
                        && (if width == 0 { queue.is_empty() } else { queue.len().is_multiple_of(width) })
                        && queue.iter().all(|value| value.is_finite())
                })
        };
        let held = match &covariates.response {
            Some(response) => {
                let most = (response.samples - 1) * covariates.known.len();
                of(&self.before, covariates.known.len()) && self.before.iter().all(|before| before.len() <= most)
            }
            None => self.before.is_empty(),
        };
        held && of(&self.past, covariates.past.len()) && of(&self.known, covariates.known.len())
    }
}

/// A row of a queue, NaN beyond its end.
fn read(queue: &VecDeque<f32>, row: usize, out: &mut [f32]) {
    let start = (row * out.len()).min(queue.len());
    let there = queue.range(start..(start + out.len()).min(queue.len()));
    out.fill(f32::NAN);
    out.iter_mut().zip(there).for_each(|(out, value)| *out = *value);
}

fn reach(what: &'static str, queues: &[VecDeque<f32>], width: usize, expected: usize) -> Result<(), ModelError> {
    let found = queues.iter().map(VecDeque::len).min().unwrap_or(0).checked_div(width).unwrap_or(expected);
    if found >= expected { Ok(()) } else { Err(ModelError::TooShort { what, expected, found }) }
}
