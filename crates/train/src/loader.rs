//! The loader: windows of every column, in an order that is a pure function of seed and epoch. Features are made when a lesson is.

use crate::{
    config::TrainConfig,
    sampling::Shares,
    series::{Sample, Series, Shared},
    trainer::Task,
};
use foretoken_model::{
    Blueprint, Column, ModelError,
    layer::{Pass, State, Workspace},
    network::{Heard, NetworkEngine},
    train::Batch,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::{collections::HashMap, ops::Range};

/// States by window: series and first row.
pub type Carried = HashMap<(usize, usize), State>;

/// Most bytes that the states of an epoch's windows may take.
pub const LARGEST_CARRIED: usize = 4 << 30;
/// The stream of draws that windows come from; those of steps have their numbers.
const DRAWN: u64 = u64::MAX - 1;
/// Rows that a state is carried over in one call.
const CHUNK: usize = 1024;

/// The training rows, ready to be cut into windows.
pub struct Loader<'a> {
    shared: Shared<'a>,
    series: Vec<Series<'a>>,
    /// The first sample that a window may start from: before it there is too little history.
    first: usize,
    /// How many samples from that one on windows may start from, by series.
    starts: Vec<usize>,
    shares: Option<Shares>,
    known: usize,
    horizon: usize,
    /// What errors of a series are multiplied by, beside the scaler's deviation.
    units: Vec<f64>,
    config: TrainConfig,
}

/// What one step learns from: the batch, and its targets in the scaler's units.
pub struct Lesson {
    /// The windows: column, or behind the columns a further series, and first of the training rows.
    pub windows: Vec<(usize, usize)>,
    /// The network's input.
    pub batch: Batch,
    /// `[position][horizon]`; NaN where there is none.
    pub targets_mh: Vec<f32>,
    /// `[position]`: by what errors are multiplied: the scaler's deviation, to come back to standardised units or part of the way, times what the series
    /// counts for.
    pub deviations_m: Vec<f32>,
}

/// What errors of each series are multiplied by, so that they count in its unit to this power: 1 in the mean.
fn units(series: &[(&Column, &[f64])], power: f64) -> Vec<f64> {
    // Over the largest, so that no power of a unit overflows.
    let largest = series.iter().map(|(column, _)| column.deviation).fold(0.0, f64::max);
    let powers: Vec<f64> = series.iter().map(|(column, _)| (column.deviation / largest).powf(power)).collect();
    let mean = powers.iter().sum::<f64>() / powers.len() as f64;
    powers.iter().map(|each| each / mean).collect()
}

impl<'a> Loader<'a> {
    /// Prepares the training rows of a task, those of its further series too, and their covariates.
    ///
    /// # Errors
    /// Too few rows for one window and its horizon, covariates that are not the model's, or covariates and further series.
    pub fn new(blueprint: &Blueprint, task: &Task<'a>, config: &TrainConfig) -> Result<Self, ModelError> {
        config.check()?;
        let forecaster = &blueprint.config;
        let (horizon, own, columns) = (forecaster.horizon, forecaster.covariates, task.values.len());
        let beside = task.beside.from(task.train.start, task.train.start);
        task.covariates.fits(&own, columns)?;
        task.covariates.check(&beside, columns)?;
        if !task.also.is_empty() && own.count() > 0 {
            return Err(ModelError::config("also", "series without covariates", format!("{} inputs of them", own.count())));
        }
        let lefts = if task.covariates.response.is_some() { columns } else { 0 };
        if task.left.len() != lefts || task.left.iter().zip(&task.values).any(|(left, values)| left.len() != values.len()) {
            return Err(ModelError::Width { what: "columns less their response", expected: lefts, found: task.left.len() });
        }
        let shortest = config.horizons_of(horizon)?.into_iter().min().unwrap_or(horizon);
        let shared = Shared::new(forecaster, &task.covariates, beside);
        let all: Vec<(&Column, &'a [f64])> = task.series().collect();
        let of = |(index, &(column, values)): (usize, &(&Column, &'a [f64]))| {
            Series::new(index, column, &values[task.train.clone()], &shared)
        };
        let series: Vec<Series<'a>> = all.par_iter().enumerate().map(of).collect();
        // At the last sample of a window at least the shortest horizon is known.
        let until = task.train.len().saturating_sub(shortest);
        // At the first sample that forecasts, the one after the burn-in, the history is complete.
        let first = config.history.saturating_sub(config.burn_in + 1);
        let needed = first.saturating_add(config.window);
        let starts: Vec<usize> = series.iter().map(|series| (series.there_before(until) + 1).saturating_sub(needed)).collect();
        if starts.iter().all(|&starts| starts == 0) {
            let found = series.iter().map(Series::there).max().unwrap_or(0);
            let what = if first > 0 { "training after train.history" } else { "training" };
            return Err(ModelError::TooShort { what, expected: needed.saturating_add(shortest), found });
        }
        let shown = if own.columns > 0 { series.par_iter().map(|series| series.shown(&shared)).collect() } else { Vec::new() };
        let names = task.series().map(|(column, _)| column.name.as_str());
        let shares = config.sampling.as_ref().map(|sampling| Shares::new(sampling, names, &starts)).transpose()?;
        let units = units(&all, config.unit_power);
        let (shared, known, config) = (shared.mixed(shown), own.known, config.clone());
        Ok(Self { shared, series, first, starts, shares, known, horizon, units, config })
    }

    /// The windows of an epoch as (column, first sample), in order.
    fn windows(&self, epoch: u64) -> Vec<(usize, usize)> {
        let count = self.lessons() * self.config.batch;
        let mut windows: Vec<(usize, usize)> = match &self.shares {
            Some(shares) => {
                let rng = self.draws(epoch, DRAWN);
                (0..count as u64).map(|place| shares.draw(rng.clone(), place, &self.starts)).collect()
            }
            None => {
                let every = self.every_window(epoch);
                every.iter().cycle().take(count).copied().collect()
            }
        };
        windows.iter_mut().for_each(|(_, start)| *start += self.first);
        windows
    }

    /// Every window of an epoch, shuffled, its start counted from the first that may be.
    fn every_window(&self, epoch: u64) -> Vec<(usize, usize)> {
        let mut rng = self.draws(epoch, u64::MAX);
        let mut windows = Vec::new();
        for (column, &starts) in self.starts.iter().enumerate().filter(|(_, starts)| **starts > 0) {
            let phase = rng.random_range(0..self.config.window.min(starts));
            windows.extend((phase..starts).step_by(self.config.window).map(|start| (column, start)));
        }
        windows.shuffle(&mut rng);
        windows
    }

    fn draws(&self, epoch: u64, stream: u64) -> ChaCha8Rng {
        let mut rng = ChaCha8Rng::seed_from_u64(self.config.seed);
        rng.set_stream(stream);
        rng.set_word_pos(u128::from(epoch) << 32);
        rng
    }

    /// Steps of the optimiser that every epoch has: as many as the options say, or as all windows take.
    pub fn steps(&self) -> u64 {
        if let Some(steps) = self.config.steps {
            return steps as u64;
        }
        // The phase may cost a column its last window, so the count is that of the largest phase.
        let windows = self.starts.iter().map(|starts| starts.div_ceil(self.config.window));
        windows.sum::<usize>().div_ceil(self.config.batch * self.config.accumulate) as u64
    }

    /// Lessons that every epoch has.
    fn lessons(&self) -> usize {
        self.steps() as usize * self.config.accumulate
    }

    /// Samples of a lesson.
    pub fn rows_a_lesson(&self) -> usize {
        self.config.batch * self.config.window
    }

    /// The state before every window of an epoch, of the stream that `engine` has run through from the first row.
    ///
    /// # Errors
    /// States that take more memory than [`LARGEST_CARRIED`], or what the network refuses.
    pub fn carried(&self, epoch: u64, engine: &NetworkEngine) -> Result<Carried, ModelError> {
        let mut starts: Vec<Vec<usize>> = vec![Vec::new(); self.series.len()];
        let windows = self.windows(epoch);
        let bytes = windows.len().saturating_mul(engine.state(1).bytes());
        if bytes > LARGEST_CARRIED {
            let found = format!("{bytes} for {} windows", windows.len());
            return Err(ModelError::config("carry", format!("states of at most {LARGEST_CARRIED} bytes"), found));
        }
        windows.into_iter().for_each(|(column, start)| starts[column].push(start));
        let inputs = self.shared.inputs();
        let of_column = |(column, mut starts): (usize, Vec<usize>)| {
            starts.sort_unstable();
            starts.dedup();
            let (mut walk, mut state) = (self.series[column].walk(&self.shared, 0), engine.state(1));
            let (mut done, mut workspace, mut hidden) = (0, Workspace::default(), Vec::new());
            let (mut features_nk, mut gaps) = (Vec::new(), Vec::new());
            let mut carried = Vec::with_capacity(starts.len());
            for start in starts {
                while done < start {
                    let rows = CHUNK.min(start - done);
                    features_nk.resize(rows * inputs, 0.0);
                    gaps.clear();
                    gaps.extend(
                        features_nk.chunks_exact_mut(inputs).map_while(|features| walk.next(features)).map(|sample| sample.gap),
                    );
                    workspace.reserve(engine.scratch(rows, 1));
                    hidden.resize(rows * engine.width(), 0.0);
                    let mut scratch = workspace.scratch();
                    scratch.count = false;
                    let heard = Heard { features_nk: &features_nk, offsets: &[0, rows], gaps: &gaps };
                    engine.run(heard, &mut state, &mut hidden, &mut scratch)?;
                    done += rows;
                }
                carried.push(((column, start), state.clone()));
            }
            Ok(carried)
        };
        let columns: Result<Vec<_>, ModelError> = starts.into_par_iter().enumerate().map(of_column).collect();
        Ok(columns?.into_iter().flatten().collect())
    }

    /// The lessons of an epoch, in order; those that are skipped are not made. `first` numbers the first. Windows start from the states of `carried`,
    /// if it is given.
    pub fn epoch<'l>(&'l self, epoch: u64, first: u64, carried: Option<&'l Carried>) -> Lessons<'l, 'a> {
        Lessons { loader: self, windows: self.windows(epoch), epoch, first, carried, lessons: 0..self.lessons() }
    }

    fn lesson(&self, windows: &[(usize, usize)], epoch: u64, step: u64) -> Lesson {
        let TrainConfig { window, burn_in, positions, seed, .. } = self.config;
        let (mut rng, inputs) = (self.draws(epoch, step), self.shared.inputs());
        let mut features_nk = vec![0.0; windows.len() * window * inputs];
        let walked = features_nk.par_chunks_exact_mut(window * inputs).zip(windows).map(|(rows, &(column, start))| {
            let mut walk = self.series[column].walk(&self.shared, start);
            rows.chunks_exact_mut(inputs).map_while(|features| walk.next(features)).collect()
        });
        let walked: Vec<Vec<Sample>> = walked.collect();
        let mut gaps: Vec<usize> = walked.iter().flatten().map(|sample| sample.gap).collect();
        if gaps.iter().all(|&gap| gap == 0) {
            gaps.clear();
        }
        let mut lesson = Lesson {
            windows: windows.iter().zip(&walked).map(|(&(column, _), samples)| (column, samples[0].row)).collect(),
            batch: Batch {
                features_nk,
                offsets: (0..=windows.len()).map(|place| place * window).collect(),
                gaps,
                state: None,
                positions: Vec::with_capacity(windows.len() * positions),
                known_mk: vec![0.0; windows.len() * positions * self.horizon * self.known],
                pass: Pass::training(seed, step).with_checkpointing(self.config.checkpointing),
            },
            targets_mh: Vec::with_capacity(windows.len() * positions * self.horizon),
            deviations_m: Vec::with_capacity(windows.len() * positions),
        };
        let mut known_mk = lesson.batch.known_mk.chunks_exact_mut((self.horizon * self.known).max(1));
        for (place, (&(column, _), samples)) in windows.iter().zip(&walked).enumerate() {
            let series = &self.series[column];
            let stride = (window - burn_in) / positions;
            let phase = burn_in + rng.random_range(0..(window - burn_in) - stride * (positions - 1));
            for position in 0..positions {
                let at = phase + position * stride;
                let Sample { row, scale: (mean, deviation), .. } = samples[at];
                lesson.batch.positions.push(place * window + at);
                lesson.deviations_m.push((deviation.powf(1.0 - self.config.evenness) * self.units[column]) as f32);
                let future = series.values(row + 1, self.horizon);
                let known = known_mk.next().into_iter().flat_map(|known| known.chunks_exact_mut(self.known));
                // Steps beyond the training rows have no target, so whatever is said of them.
                known.take(future.len()).enumerate().for_each(|(step, out)| series.known(&self.shared, row + 1 + step, out));
                lesson.targets_mh.extend(future.map(|value| ((value - mean) / deviation) as f32));
                lesson.targets_mh.resize(lesson.deviations_m.len() * self.horizon, f32::NAN);
            }
        }
        lesson
    }
}

/// The lessons of an epoch.
pub struct Lessons<'l, 'a> {
    loader: &'l Loader<'a>,
    windows: Vec<(usize, usize)>,
    epoch: u64,
    first: u64,
    carried: Option<&'l Carried>,
    lessons: Range<usize>,
}

impl Iterator for Lessons<'_, '_> {
    type Item = Lesson;

    fn next(&mut self) -> Option<Lesson> {
        self.nth(0)
    }

    fn nth(&mut self, skipped: usize) -> Option<Lesson> {
        let (index, batch) = (self.lessons.nth(skipped)?, self.loader.config.batch);
        let chosen = &self.windows[index * batch..][..batch];
        let mut lesson = self.loader.lesson(chosen, self.epoch, self.first + index as u64);
        lesson.batch.state = self.carried.map(|carried| {
            let mut state = State::default();
            chosen.iter().for_each(|window| state.extend(&carried[window]));
            state
        });
        Some(lesson)
    }
}
