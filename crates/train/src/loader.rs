//! The loader: windows of every column, in an order that is a pure function of seed and epoch.

use crate::config::TrainConfig;
use foretoken_model::{
    Beside, Blueprint, Covariates, ModelError,
    layer::{Pass, State, Workspace},
    network::{Heard, NetworkEngine},
    scaler::ColumnHistory,
    train::Batch,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use rayon::prelude::*;
use std::{collections::HashMap, ops::Range};

/// States by window: column and first row.
pub type Carried = HashMap<(usize, usize), State>;

/// Most bytes that the states of an epoch's windows may take.
pub const LARGEST_CARRIED: usize = 4 << 30;

/// One column, standardised, with the features and the scaler's statistics at every row that is there.
struct Series {
    /// All rows; NaN where one is missing.
    values: Vec<f64>,
    /// The rows that are there.
    rows: Vec<usize>,
    /// Rows missing before each of them, since the column has begun.
    gaps: Vec<usize>,
    features_nk: Vec<f32>,
    /// What is known of every row, `[row][known]`.
    known: Vec<f32>,
    scale: Vec<(f64, f64)>,
    /// First rows, among those that are there, of windows: fewer than this.
    starts: usize,
}

impl Series {
    fn new(
        (index, column): (usize, &[f64]),
        (covariates, beside): (&Covariates, &Beside<'_>),
        shown: &[Vec<f32>],
        blueprint: &Blueprint,
        window: usize,
        shortest: usize,
    ) -> Self {
        let forecaster = &blueprint.config;
        let (config, width) = (&forecaster.covariates, forecaster.covariates.known);
        let inputs = config.count() + forecaster.taps;
        let mut shown_c = vec![0.0; config.columns];
        let mut history = ColumnHistory::new(blueprint.memory(), &forecaster.scaler);
        let rows: Vec<usize> = (0..column.len()).filter(|&row| !column[row].is_nan()).collect();
        let mut known = vec![0.0; column.len() * width];
        if width > 0 {
            known.chunks_exact_mut(width).enumerate().for_each(|(row, out)| covariates.known_row(beside, index, row, out));
        }
        let mut features_nk = vec![0.0; rows.len() * inputs];
        let (mut gaps, mut scale) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len()));
        let mut places = features_nk.chunks_exact_mut(inputs);
        for (row, &value) in column.iter().enumerate() {
            let gap = history.missed() as usize;
            history.push(value, &forecaster.scaler);
            if let Some(features) = (!value.is_nan()).then(|| places.next()).flatten() {
                let (own, taps) = features.split_at_mut(config.count());
                let (own, mixed) = own.split_at_mut(config.own());
                shown_c.iter_mut().zip(shown).for_each(|(to, column)| *to = column[row]);
                config.mix(index, &shown_c, mixed);
                covariates.row(beside, index, row, own);
                history.features(&forecaster.scaler, taps);
                gaps.push(gap);
                scale.push(history.scale(&forecaster.scaler));
            }
        }
        // At the last sample of a window at least the shortest horizon is known.
        let until = column.len().saturating_sub(shortest);
        let starts = rows.partition_point(|&row| row < until).saturating_sub(window - 1);
        Self { values: column.to_vec(), rows, gaps, features_nk, known, scale, starts }
    }
}

/// The training rows, ready to be cut into windows.
pub struct Loader {
    series: Vec<Series>,
    inputs: usize,
    known: usize,
    horizon: usize,
    config: TrainConfig,
}

/// What one step learns from: the batch, and its targets in the scaler's units.
pub struct Lesson {
    /// The windows: column, and first of the training rows.
    pub windows: Vec<(usize, usize)>,
    /// The network's input.
    pub batch: Batch,
    /// `[position][horizon]`; NaN where there is none.
    pub targets_mh: Vec<f32>,
    /// `[position]`: the scaler's deviation, by which errors are multiplied, to come back to standardised units or part of the way.
    pub deviations_m: Vec<f32>,
}

impl Loader {
    /// Prepares the training rows of standardised `columns`, and their covariates.
    ///
    /// # Errors
    /// Too few rows for one window and its horizon, or covariates that are not the model's.
    pub fn new(
        blueprint: &Blueprint,
        columns: &[&[f64]],
        (covariates, beside): (&Covariates, &Beside<'_>),
        config: &TrainConfig,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let forecaster = &blueprint.config;
        let (horizon, own) = (forecaster.horizon, forecaster.covariates);
        covariates.fits(&own, columns.len())?;
        covariates.check(beside, columns.len())?;
        let shortest = config.horizons_of(horizon)?.into_iter().min().unwrap_or(horizon);
        // What every column shows the others.
        let show = |column: &&[f64]| {
            let mut history = ColumnHistory::new(blueprint.memory(), &forecaster.scaler);
            let at = |&value: &f64| {
                history.push(value, &forecaster.scaler);
                history.shown(&forecaster.scaler)
            };
            column.iter().map(at).collect::<Vec<f32>>()
        };
        let shown: Vec<_> = if own.columns > 0 { columns.par_iter().map(show).collect() } else { Vec::new() };
        let of = |column: (usize, &&[f64])| {
            Series::new((column.0, column.1), (covariates, beside), &shown, blueprint, config.window, shortest)
        };
        let series: Vec<Series> = columns.par_iter().enumerate().map(of).collect();
        if series.iter().all(|series| series.starts == 0) {
            let found = series.iter().map(|series| series.rows.len()).max().unwrap_or(0);
            return Err(ModelError::TooShort { what: "training", expected: config.window + shortest, found });
        }
        Ok(Self { series, inputs: own.count() + forecaster.taps, known: own.known, horizon, config: config.clone() })
    }

    /// Every window of an epoch as (column, first row), shuffled.
    fn windows(&self, epoch: u64) -> Vec<(usize, usize)> {
        let mut rng = self.draws(epoch, u64::MAX);
        let mut windows = Vec::new();
        for (column, series) in self.series.iter().enumerate().filter(|(_, series)| series.starts > 0) {
            let phase = rng.random_range(0..self.config.window.min(series.starts));
            windows.extend((phase..series.starts).step_by(self.config.window).map(|start| (column, start)));
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

    /// Lessons that every epoch has.
    pub fn lessons(&self) -> u64 {
        // The phase may cost a column its last window, so the count is that of the largest phase.
        let windows = |series: &Series| match series.starts {
            0 => 0,
            starts => starts.div_ceil(self.config.window),
        };
        self.series.iter().map(windows).sum::<usize>().div_ceil(self.config.batch) as u64
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
        let of_column = |(column, mut starts): (usize, Vec<usize>)| {
            starts.sort_unstable();
            let (series, mut state) = (&self.series[column], engine.state(1));
            let (mut done, mut workspace, mut hidden) = (0, Workspace::default(), Vec::new());
            let mut carried = Vec::with_capacity(starts.len());
            for start in starts {
                let rows = start - done;
                workspace.reserve(engine.scratch(rows, 1));
                hidden.resize(rows * engine.width(), 0.0);
                let mut scratch = workspace.scratch();
                scratch.count = false;
                let features_nk = &series.features_nk[done * self.inputs..start * self.inputs];
                let heard = Heard { features_nk, offsets: &[0, rows], gaps: &series.gaps[done..start] };
                engine.run(heard, &mut state, &mut hidden, &mut scratch)?;
                done = start;
                carried.push(((column, start), state.clone()));
            }
            Ok(carried)
        };
        let columns: Result<Vec<_>, ModelError> = starts.into_par_iter().enumerate().map(of_column).collect();
        Ok(columns?.into_iter().flatten().collect())
    }

    /// These lessons of an epoch, in order; beyond its last window it begins anew. `first` is the number of the epoch's first among all lessons. Windows
    /// start from the states of `carried`, if it is given.
    pub fn epoch<'a>(
        &'a self,
        epoch: u64,
        first: u64,
        lessons: Range<u64>,
        carried: Option<&'a Carried>,
    ) -> impl Iterator<Item = Lesson> + use<'a> {
        let windows = self.windows(epoch);
        let batch = self.config.batch;
        lessons.map(move |index| {
            let chosen: Vec<_> = (0..batch).map(|place| windows[(index as usize * batch + place) % windows.len()]).collect();
            let mut lesson = self.lesson(&chosen, epoch, first + index);
            lesson.batch.state = carried.map(|carried| {
                let mut state = State::default();
                chosen.iter().for_each(|window| state.extend(&carried[window]));
                state
            });
            lesson
        })
    }

    fn lesson(&self, windows: &[(usize, usize)], epoch: u64, step: u64) -> Lesson {
        let TrainConfig { window, burn_in, positions, seed, .. } = self.config;
        let mut rng = self.draws(epoch, step);
        let mut lesson = Lesson {
            windows: windows.iter().map(|&(column, start)| (column, self.series[column].rows[start])).collect(),
            batch: Batch {
                features_nk: Vec::with_capacity(windows.len() * window * self.inputs),
                offsets: (0..=windows.len()).map(|place| place * window).collect(),
                gaps: Vec::with_capacity(windows.len() * window),
                state: None,
                positions: Vec::with_capacity(windows.len() * positions),
                known_mk: Vec::with_capacity(windows.len() * positions * self.horizon * self.known),
                pass: Pass::training(seed, step),
            },
            targets_mh: Vec::with_capacity(windows.len() * positions * self.horizon),
            deviations_m: Vec::with_capacity(windows.len() * positions),
        };
        for (place, &(column, start)) in windows.iter().enumerate() {
            let series = &self.series[column];
            lesson.batch.features_nk.extend_from_slice(&series.features_nk[start * self.inputs..(start + window) * self.inputs]);
            lesson.batch.gaps.extend_from_slice(&series.gaps[start..start + window]);
            let stride = (window - burn_in) / positions;
            let phase = burn_in + rng.random_range(0..(window - burn_in) - stride * (positions - 1));
            for position in 0..positions {
                let row = phase + position * stride;
                let (mean, deviation) = series.scale[start + row];
                lesson.batch.positions.push(place * window + row);
                lesson.deviations_m.push(deviation.powf(1.0 - self.config.evenness) as f32);
                let next = series.rows[start + row] + 1;
                let future = &series.values[next..series.values.len().min(next + self.horizon)];
                lesson.targets_mh.extend(future.iter().map(|value| ((value - mean) / deviation) as f32));
                lesson.targets_mh.resize(lesson.deviations_m.len() * self.horizon, f32::NAN);
                // Steps beyond the training rows have no target, so whatever is said of them.
                let known = &series.known[next * self.known..(next + future.len()) * self.known];
                lesson.batch.known_mk.extend_from_slice(known);
                lesson.batch.known_mk.resize(lesson.deviations_m.len() * self.horizon * self.known, 0.0);
            }
        }
        if lesson.batch.gaps.iter().all(|&gap| gap == 0) {
            lesson.batch.gaps.clear();
        }
        lesson
    }
}
