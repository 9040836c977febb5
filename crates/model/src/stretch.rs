//! Whole stretches of samples: the bits of one sample after the other, the columns beside each other.
//!
//! A chunk of rows goes through three stages: what the network is shown, the trunk, and what is said of the rows that are wanted. In the first and the
//! last a column is a thread's work; forecasts of its rows are made some at a time, so that weights are read once for all of them.

use crate::{
    ModelError,
    conformal::{Knots, Learner},
    covariates::Along,
    forecaster::Forecaster,
    jumps::Lifted,
    network::Heard,
    predictor::{Parts, Predictor},
    refresh::Refresh,
    scaler::ColumnHistory,
    trace::Trace,
    voice::{Place, Room, TOGETHER, look_across},
};
use rayon::prelude::*;
use std::sync::Mutex;

/// Rows that go through the network in one call.
const CHUNK: usize = 512;
/// Groups of columns that are worth having apart: more than there are threads, few enough for each to have sums of its own.
pub const MOST_APART: usize = 64;
/// Values of features of them at most, of many columns.
const MOST_FEATURES: usize = 1 << 24;

/// What the columns of a chunk share.
struct Chunk<'a> {
    forecaster: &'a Forecaster,
    along: &'a Along,
    knots: Option<&'a Knots>,
    /// What lies across the columns after each row, where it is looked at.
    across: &'a [f32],
    lifted: &'a Lifted,
    /// The chunk's first row, and the number of its sample in the stream.
    first: usize,
    time: u64,
}

/// One column of a chunk.
struct Lane<'a> {
    index: usize,
    /// In the data's unit.
    values: &'a [f64],
    /// As it was before the chunk.
    history: ColumnHistory,
    /// The trunk's output at the samples that are there.
    fresh_nd: &'a [f32],
    /// The newest hidden row.
    hidden_d: &'a mut [f32],
    learner: Option<Learner<'a>>,
}

/// A thread's room for a column's forecasts.
struct Desk {
    room: Room,
    parts: Parts,
    knots: Option<(Room, Parts)>,
    /// For covariates that columns respond to.
    known: Vec<f32>,
}

impl Desk {
    fn new(chunk: &Chunk<'_>) -> Self {
        let (forecaster, config) = (chunk.forecaster, chunk.forecaster.config());
        let of_knots = |knots: &Knots| (Room::new(forecaster, knots.voice(), TOGETHER), knots.parts());
        Self {
            room: Room::new(forecaster, forecaster.voice(), TOGETHER),
            parts: Parts::new(config.horizon, config.quantiles.len()),
            knots: chunk.knots.map(of_knots),
            known: Vec::new(),
        }
    }
}

impl Lane<'_> {
    /// Says what is wanted of the rows.
    fn speak(
        &mut self,
        chunk: &Chunk<'_>,
        desk: &mut Desk,
        wanted: &impl Fn(usize) -> bool,
        mut sink: impl FnMut(usize, &Parts),
    ) {
        let Chunk { forecaster, along, knots, across, lifted, first, time } = *chunk;
        let (column, scaler, voice) = (&forecaster.columns()[self.index], &forecaster.config().scaler, forecaster.voice());
        let Desk { room, parts, knots: of_knots, known } = desk;
        let mut fresh = self.fresh_nd.chunks_exact(self.hidden_d.len());
        for (block, values) in self.values.chunks(TOGETHER).enumerate() {
            let start = block * TOGETHER;
            let mut asked = [false; TOGETHER];
            room.clear();
            if let Some((room, _)) = of_knots {
                room.clear();
            }
            for (place, &value) in values.iter().enumerate() {
                let (row, width, there) = (start + place, forecaster.across(), !value.is_nan());
                let across = across.get(row * width..(row + 1) * width).unwrap_or_default();
                let from = Place { along, column: self.index, passed: row + 1, across };
                lifted.push(self.index, row, &mut self.history, column.standardise(value), scaler);
                if let Some(fresh) = there.then(|| fresh.next()).flatten() {
                    self.hidden_d.copy_from_slice(fresh);
                }
                if let Some((knots, (room, _))) = knots.zip(of_knots.as_mut()).filter(|_| there) {
                    knots.voice().ask(forecaster, &self.history, self.hidden_d, from, room);
                }
                asked[place] = self.history.seen() > 0 && wanted(first + start + place);
                if asked[place] {
                    voice.ask(forecaster, &self.history, self.hidden_d, from, room);
                }
            }
            voice.think(room);
            if let Some((knots, (room, _))) = knots.zip(of_knots.as_mut()) {
                knots.voice().think(room);
            }
            let (mut said, mut expected) = (0, 0);
            for (place, &value) in values.iter().enumerate() {
                let learning = knots.zip(self.learner.as_mut());
                if let Some(((knots, learner), (room, parts))) = learning.zip(of_knots.as_mut()) {
                    let time = time + (start + place) as u64;
                    learner.hear(knots, time, column.standardise(value));
                    if !value.is_nan() {
                        knots.voice().answer(forecaster, room, expected, parts);
                        learner.expect(knots, time, &parts.combined);
                        expected += 1;
                    }
                }
                if asked[place] {
                    voice.answer(forecaster, room, said, parts);
                    if let Some((knots, learner)) = knots.zip(self.learner.as_ref()) {
                        learner.apply(knots, &mut parts.combined);
                    }
                    let (next, steps) = (start + place + 1, parts.points.len());
                    along.respond(forecaster.covariates(), self.index, next..next + steps, known, |row, response| {
                        parts.shift(row - next, response);
                    });
                    room.hold(said, parts);
                    sink(first + start + place, parts);
                    said += 1;
                }
            }
        }
    }
}

impl Predictor {
    /// Takes a stretch of samples, `columns[column][row]` in the data's unit, and shows the forecast at each row for which
    /// `wanted(row)` holds to `sink(row, column, parts)`, rows of one column in order, none before the column has begun. Gives the bits of [`Predictor::advance`]
    /// row by row; steps of which no covariates are known are NaN. `trace`, if given, collects every choice of every mixture; a column is a stream.
    ///
    /// # Errors
    /// As [`Predictor::advance`]; nothing is taken if any value is bad.
    pub fn advance_many(
        &mut self,
        columns: &[&[f64]],
        wanted: impl Fn(usize) -> bool,
        mut sink: impl FnMut(usize, usize, &Parts),
        trace: Option<&mut Trace>,
    ) -> Result<(), ModelError> {
        let mut desk = None;
        self.take(columns, &wanted, trace, |chunk, lanes| {
            let desk = desk.get_or_insert_with(|| Desk::new(chunk));
            for lane in lanes {
                let index = lane.index;
                lane.speak(chunk, desk, &wanted, |row, parts| sink(row, index, parts));
            }
        })
    }

    /// The same with several sinks, on all threads: columns are dealt to them in order, [`Predictor::apart`] to each.
    ///
    /// # Errors
    /// As [`Predictor::advance_many`].
    pub fn advance_many_apart<S: FnMut(usize, usize, &Parts) + Send>(
        &mut self,
        columns: &[&[f64]],
        wanted: impl Fn(usize) -> bool + Sync,
        sinks: &mut [S],
    ) -> Result<(), ModelError> {
        // Never more of them than threads.
        let desks = Mutex::new(Vec::new());
        let idle = || desks.lock().expect("no thread ends while it holds it");
        let each = Self::apart(columns.len(), sinks.len());
        self.take(columns, &wanted, None, |chunk, lanes| {
            lanes.par_chunks_mut(each).zip(sinks.par_iter_mut()).for_each(|(lanes, sink)| {
                let desk = idle().pop();
                let mut desk = desk.unwrap_or_else(|| Desk::new(chunk));
                for lane in lanes {
                    let index = lane.index;
                    lane.speak(chunk, &mut desk, &wanted, |row, parts| sink(row, index, parts));
                }
                idle().push(desk);
            });
        })
    }

    /// Columns that each of so many sinks hears; the last may hear fewer, or none.
    pub fn apart(columns: usize, sinks: usize) -> usize {
        columns.div_ceil(sinks.max(1)).max(1)
    }

    /// Takes a stretch, and hands on every chunk of it when it has been through the trunk.
    fn take(
        &mut self,
        columns: &[&[f64]],
        wanted: impl Fn(usize) -> bool,
        mut trace: Option<&mut Trace>,
        mut speak: impl FnMut(&Chunk<'_>, &mut [Lane<'_>]),
    ) -> Result<(), ModelError> {
        self.check_whole()?;
        self.check_width(columns.len())?;
        let rows = columns[0].len();
        for (index, column) in columns.iter().enumerate() {
            if column.len() != rows {
                return Err(ModelError::Width { what: "column", expected: rows, found: column.len() });
            }
            column.iter().try_for_each(|&value| self.standardise(index, value).map(|_| ()))?;
        }
        let forecaster = self.forecaster.clone();
        let (network, covariates) = (forecaster.network(), forecaster.covariates());
        let (count, inputs, width) = (columns.len(), network.inputs(), network.width());
        self.along.reach(covariates, rows)?;
        let left = self.without_response(columns);
        let left: Vec<&[f64]> = left.iter().map(Vec::as_slice).collect();
        let columns = if left.is_empty() { columns } else { &left };
        let chunk = (MOST_FEATURES / (count * inputs).max(forecaster.across()).max(1)).clamp(1, CHUNK).min(rows);
        let (mut features, mut hidden) = (vec![0.0; count * chunk * inputs], vec![0.0; count * chunk * width]);
        let (mut gaps, mut offsets) = (vec![0; count * chunk], vec![0; count + 1]);
        let mut next = 0;
        while next < rows {
            let first = next;
            // An exchange of states falls between two calls.
            let until = self.refresh.as_ref().map_or(chunk, Refresh::left);
            let len = chunk.min(rows - first).min(until);
            next += len;
            let values: Vec<&[f64]> = columns.iter().map(|column| &column[first..next]).collect();
            for (index, values) in values.iter().enumerate() {
                offsets[index + 1] = offsets[index] + values.iter().filter(|value| !value.is_nan()).count();
            }
            let before = self.columns.clone();
            let of = |column: usize, value: f64| forecaster.columns()[column].standardise(value);
            let lifted = self.watching.as_mut().map(|watching| watching.ahead(&before, &values, of)).unwrap_or_default();
            let across = self.across(&values, &lifted, |row| self.following.is_some() || wanted(first + row));
            self.show(&values, &lifted, &offsets, &mut features, &mut gaps);
            let heard = offsets[count];
            let gaps = if gaps[..heard].iter().all(|&gap| gap == 0) { &[] } else { &gaps[..heard] };
            let hidden = &mut hidden[..heard * width];
            let heard = Heard { features_nk: &features[..heard * inputs], offsets: &offsets, gaps };
            self.workspace.reserve(network.scratch(hidden.len() / width, count));
            let mut done = Ok(());
            if let Some(refresh) = &mut self.refresh {
                done = refresh.fill(network, len, heard, hidden, &mut self.workspace);
            }
            let mut scratch = self.workspace.scratch();
            scratch.trace = trace.as_deref_mut();
            (scratch.replay, scratch.count) = (self.replay.as_mut(), self.counting);
            done = done.and(network.run(heard, &mut self.state, hidden, &mut scratch));
            self.broken = done.is_err();
            done?;
            if let Some(refresh) = &mut self.refresh {
                refresh.exchange(&mut self.state);
            }
            let (knots, mut adaptive) = match &mut self.following {
                Some(following) => (Some(&*following.knots), Some(&mut following.adaptive)),
                None => (None, None),
            };
            let mut learners = knots.zip(adaptive.as_mut()).map(|(knots, adaptive)| adaptive.columns(knots));
            let lanes = before.into_iter().zip(values).zip(self.hidden_cd.chunks_exact_mut(width)).enumerate();
            let lanes = lanes.map(|(index, ((history, values), hidden_d))| Lane {
                index,
                values,
                history,
                fresh_nd: &hidden[offsets[index] * width..offsets[index + 1] * width],
                hidden_d,
                learner: learners.as_mut().and_then(Iterator::next),
            });
            let chunk = Chunk {
                forecaster: &forecaster,
                along: &self.along,
                knots,
                across: &across,
                lifted: &lifted,
                first,
                time: self.samples,
            };
            speak(&chunk, &mut lanes.collect::<Vec<_>>());
            (0..count).for_each(|index| self.along.pass(covariates, index, len));
            self.samples += len as u64;
        }
        Ok(())
    }

    /// The columns less what they do in response to what is known; nothing without a response.
    fn without_response(&self, columns: &[&[f64]]) -> Vec<Vec<f64>> {
        let covariates = self.forecaster.covariates();
        if covariates.response.is_none() {
            return Vec::new();
        }
        let of = |(index, values): (usize, &&[f64])| {
            let (column, mut left, mut known) = (&self.forecaster.columns()[index], values.to_vec(), Vec::new());
            self.along.respond(covariates, index, 0..values.len(), &mut known, |row, response| {
                left[row] -= column.deviation * response;
            });
            left
        };
        columns.iter().enumerate().map(of).collect()
    }

    /// What lies across the columns after each of some rows, as far as it is `wanted`; nothing where nobody looks at it.
    fn across(&self, values: &[&[f64]], lifted: &Lifted, wanted: impl Fn(usize) -> bool) -> Vec<f32> {
        let (width, rows) = (self.forecaster.across(), values[0].len());
        if width == 0 || !(0..rows).any(&wanted) {
            return Vec::new();
        }
        let (mut histories, mut across) = (self.columns.clone(), vec![0.0; rows * width]);
        for (row, across) in across.chunks_exact_mut(width).enumerate() {
            for (index, ((history, column), values)) in
                histories.iter_mut().zip(self.forecaster.columns()).zip(values).enumerate()
            {
                lifted.push(index, row, history, column.standardise(values[row]), &self.forecaster.config().scaler);
            }
            if wanted(row) {
                look_across(&self.forecaster, &histories, across);
            }
        }
        across
    }

    /// Takes some rows into the histories: what the network is shown of them, and the samples missing before each.
    fn show(&mut self, values: &[&[f64]], lifted: &Lifted, offsets: &[usize], features: &mut [f32], gaps: &mut [usize]) {
        let (forecaster, along) = (&*self.forecaster, &self.along);
        let (scaler, covariates, config) =
            (&forecaster.config().scaler, forecaster.covariates(), &forecaster.config().covariates);
        let (inputs, mixed) = (forecaster.network().inputs(), config.columns);
        // What every column shows the others, `[row][column]`.
        let mut shown = vec![0.0; values[0].len() * mixed];
        if mixed > 0 {
            for (index, mut history) in self.columns.iter().cloned().enumerate() {
                for (row, &value) in values[index].iter().enumerate() {
                    lifted.push(index, row, &mut history, forecaster.columns()[index].standardise(value), scaler);
                    shown[row * mixed + index] = history.shown(scaler);
                }
            }
        }
        let (mut features, mut gaps) = (features, gaps);
        let mut parts = Vec::with_capacity(values.len());
        for ((index, history), pair) in self.columns.iter_mut().enumerate().zip(offsets.windows(2)) {
            let (own, rest) = features.split_at_mut((pair[1] - pair[0]) * inputs);
            let (own_gaps, rest_gaps) = gaps.split_at_mut(pair[1] - pair[0]);
            parts.push((index, history, own, own_gaps));
            (features, gaps) = (rest, rest_gaps);
        }
        parts.into_par_iter().for_each(|(index, history, features, gaps)| {
            let mut places = features.chunks_exact_mut(inputs).zip(gaps);
            for (row, &value) in values[index].iter().enumerate() {
                let missed = history.missed() as usize;
                lifted.push(index, row, history, forecaster.columns()[index].standardise(value), scaler);
                if let Some((features, gap)) = (!value.is_nan()).then(|| places.next()).flatten() {
                    let (beside, taps) = features.split_at_mut(config.count());
                    let (own, beside) = beside.split_at_mut(config.own());
                    along.row(covariates, index, row, own);
                    config.mix(index, &shown[row * mixed..][..mixed], beside);
                    history.features(scaler, taps);
                    *gap = missed;
                }
            }
        });
    }
}
