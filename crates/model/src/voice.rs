//! What a forecaster says of some steps of its horizon, from one column's history, hidden row and the covariates known of those steps.

use crate::{
    covariates::Along,
    forecaster::{Forecaster, UNBOUNDED},
    layer::Workspace,
    linear_expert::{LinearConfig, LinearExpert},
    network::Heads,
    predictor::Parts,
    scaler::ColumnHistory,
};

/// The heads and the linear expert for some steps.
#[derive(Clone, Copy)]
pub(crate) struct Voice<'a> {
    pub(crate) heads: &'a Heads,
    pub(crate) linear: Option<&'a LinearExpert>,
    /// The steps, from 0; all of the horizon if absent.
    pub(crate) steps: Option<&'a [usize]>,
}

impl Forecaster {
    /// The voice for the whole horizon.
    pub(crate) fn voice(&self) -> Voice<'_> {
        Voice { heads: self.network().heads(), linear: self.linear(), steps: None }
    }
}

/// Where a forecast is asked for.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) along: &'a Along,
    pub(crate) column: usize,
    /// Rows of the column's queue of covariates that its newest sample has passed.
    pub(crate) passed: usize,
    /// The newest samples of all columns, for a linear expert that looks at them: what [`look_across`] makes.
    pub(crate) across: &'a [f32],
}

/// The newest samples of all columns less each column's mean of them, `[column][sample]`, and as far as there is room the means and a 1.
pub(crate) fn look_across(forecaster: &Forecaster, histories: &[ColumnHistory], across: &mut [f32]) {
    let samples = forecaster.samples_across();
    if samples == 0 {
        return;
    }
    let (deviations, behind) = across.split_at_mut(histories.len() * samples);
    for (column, (deviations, history)) in deviations.chunks_exact_mut(samples).zip(histories).enumerate() {
        let mean = history.deviations(deviations);
        behind.get_mut(column).into_iter().for_each(|behind| *behind = mean as f32);
    }
    behind.last_mut().into_iter().for_each(|one| *one = 1.0);
}

impl Forecaster {
    /// The newest samples of each column that its linear expert looks at in all of them; 0 where it does not.
    pub(crate) fn samples_across(&self) -> usize {
        self.linear().map_or(0, LinearExpert::across)
    }

    /// Values that [`look_across`] makes of them.
    pub(crate) fn across(&self) -> usize {
        self.linear().map_or(0, LinearExpert::inputs_across)
    }
}

/// Forecasts that are made in one product.
pub(crate) const TOGETHER: usize = 24;

/// What is asked for, and room for what is computed on the way, all by row.
pub(crate) struct Room {
    columns: Vec<usize>,
    hidden_nd: Vec<f32>,
    missed: Vec<usize>,
    known_nsk: Vec<f32>,
    quantiles_nq: Vec<f32>,
    /// Mean and deviation of the scaler.
    scales: Vec<(f64, f64)>,
    /// What the forecasts are kept within.
    bounds: Vec<(f64, f64)>,
    /// What the linear expert's forecast is above or below, where it speaks.
    means: Vec<Option<f64>>,
    /// Of those rows alone.
    inputs_nl: Vec<f32>,
    /// Whether they look across the columns, and what they see there.
    is_across: Vec<bool>,
    across: Vec<f32>,
    linear_nh: Vec<f32>,
    own: Vec<f32>,
    workspace: Workspace,
}

impl Room {
    /// Room for so many forecasts at once.
    pub(crate) fn new(forecaster: &Forecaster, voice: Voice<'_>, rows: usize) -> Self {
        let (config, outputs) = (forecaster.config(), voice.heads.outputs());
        let steps = outputs / voice.heads.levels();
        let mut workspace = Workspace::default();
        workspace.reserve(voice.heads.scratch(rows));
        Self {
            hidden_nd: Vec::with_capacity(rows * forecaster.network().width()),
            missed: Vec::with_capacity(rows),
            known_nsk: Vec::with_capacity(rows * steps * config.covariates.known),
            quantiles_nq: vec![0.0; rows * outputs],
            scales: Vec::with_capacity(rows),
            bounds: Vec::with_capacity(rows),
            means: Vec::with_capacity(rows),
            inputs_nl: Vec::with_capacity(rows * config.linear.as_ref().map_or(0, LinearConfig::inputs)),
            is_across: Vec::with_capacity(rows),
            across: Vec::with_capacity(rows * forecaster.across()),
            columns: Vec::with_capacity(rows),
            linear_nh: vec![0.0; rows * steps],
            own: vec![0.0; voice.linear.map_or(0, LinearExpert::room)],
            workspace,
        }
    }

    /// Asks for nothing any more.
    pub(crate) fn clear(&mut self) {
        self.hidden_nd.clear();
        self.missed.clear();
        self.known_nsk.clear();
        self.scales.clear();
        self.bounds.clear();
        self.means.clear();
        self.columns.clear();
        self.inputs_nl.clear();
        self.is_across.clear();
        self.across.clear();
    }

    /// Keeps the `row`-th forecast that was asked for, as it is said at last, within the bounds of its column.
    pub(crate) fn hold(&self, row: usize, parts: &mut Parts) {
        let (lowest, highest) = self.bounds[row];
        if (lowest, highest) == UNBOUNDED {
            return;
        }
        // Not `clamp`, `max` and `min`: what is NaN stays NaN.
        for value in parts.combined.iter_mut().chain(&mut parts.points) {
            if *value < lowest {
                *value = lowest;
            } else if *value > highest {
                *value = highest;
            }
        }
    }
}

impl Parts {
    /// All that is said of a step, so much higher.
    pub(crate) fn shift(&mut self, step: usize, by: f64) {
        let count = self.combined.len() / self.points.len();
        let quantiles = [&mut self.combined, &mut self.network].into_iter().flat_map(|all| &mut all[step * count..][..count]);
        quantiles.chain([&mut self.points[step], &mut self.linear[step]]).for_each(|value| *value += by);
    }

    pub(crate) fn new(steps: usize, levels: usize) -> Self {
        let outputs = vec![0.0; steps * levels];
        Self {
            points: vec![0.0; steps],
            combined: outputs.clone(),
            network: outputs,
            linear: vec![0.0; steps],
            between: vec![0.0; steps],
            linear_spoke: false,
        }
    }
}

impl Voice<'_> {
    fn step(self, place: usize) -> usize {
        self.steps.map_or(place, |steps| steps[place])
    }

    /// Asks for the forecast after a column's newest sample.
    pub(crate) fn ask(
        self,
        forecaster: &Forecaster,
        history: &ColumnHistory,
        hidden_d: &[f32],
        Place { along, column, passed, across }: Place<'_>,
        room: &mut Room,
    ) {
        let (steps, known) = (self.heads.outputs() / self.heads.levels(), forecaster.config().covariates.known);
        room.columns.push(column);
        room.hidden_nd.extend_from_slice(hidden_d);
        // The heads speak of the steps after the newest sample that was there.
        room.missed.push(forecaster.steps_in(history.missed()));
        room.scales.push(history.scale(&forecaster.config().scaler));
        // What waits at a few steps for its sample is held against it as it was learned.
        room.bounds.push(if self.steps.is_none() { forecaster.bounds_after(column, history) } else { UNBOUNDED });
        let before = room.known_nsk.len();
        room.known_nsk.resize(before + steps * known, 0.0);
        along.steps(column, (0..steps).map(|place| passed + self.step(place)), known, &mut room.known_nsk[before..]);
        let before = room.inputs_nl.len();
        let looked = self.linear.and_then(|linear| {
            room.inputs_nl.resize(before + linear.options().inputs(), 0.0);
            linear.look(history, &mut room.inputs_nl[before..])
        });
        if looked.is_none() {
            room.inputs_nl.truncate(before);
        }
        let is_across = looked.is_some() && self.linear.is_some_and(|linear| linear.is_across(column, history));
        room.across.extend_from_slice(if is_across { across } else { &[] });
        room.is_across.push(is_across);
        room.means.push(looked);
    }

    /// Makes all that was asked for.
    pub(crate) fn think(self, room: &mut Room) {
        let rows = room.missed.len();
        let quantiles_nq = &mut room.quantiles_nq[..rows * self.heads.outputs()];
        self.heads.forecast(&room.hidden_nd, &room.missed, &room.known_nsk, quantiles_nq, &mut room.workspace.scratch());
        if let Some(linear) = self.linear {
            let rows = || room.columns.iter().zip(&room.means).zip(&room.is_across);
            let spoken = || rows().filter_map(|((column, mean), is_across)| Some((*column, (*mean)?, *is_across)));
            let linear_nh = &mut room.linear_nh[..spoken().count() * self.heads.outputs() / self.heads.levels()];
            linear.forecast(spoken(), &room.inputs_nl, &room.across, linear_nh, &mut room.own);
        }
    }

    /// The `row`-th forecast that was asked for, standardised, into `parts`.
    pub(crate) fn answer(self, forecaster: &Forecaster, room: &Room, row: usize, parts: &mut Parts) {
        let (count, middle) = forecaster.blueprint().levels.shape();
        let (outputs, (mean, deviation)) = (self.heads.outputs(), room.scales[row]);
        let quantiles = &room.quantiles_nq[row * outputs..][..outputs];
        parts.network.iter_mut().zip(quantiles).for_each(|(part, q)| *part = f64::from(*q) * deviation + mean);
        parts.linear_spoke = room.means[row].is_some();
        if let Some(mean) = room.means[row] {
            let (steps, place) = (outputs / count, room.means[..row].iter().flatten().count());
            let linear_h = &room.linear_nh[place * steps..][..steps];
            parts.linear.iter_mut().zip(linear_h).for_each(|(part, above)| *part = f64::from(*above) + mean);
        }
        let steps = parts.combined.chunks_exact_mut(count).zip(parts.network.chunks_exact(count)).enumerate();
        for (place, (combined, network)) in steps {
            let step = self.step(place);
            let median = network[middle];
            let (mut shift, mut between) = (0.0, 0.0);
            if parts.linear_spoke {
                // Beyond the heads the linear expert speaks alone.
                let is_reached = step.saturating_add(room.missed[row]) < forecaster.config().horizon;
                let share = if is_reached { f64::from(forecaster.network_share()[step]) } else { 0.0 };
                let distance = parts.linear[place] - median;
                (shift, between) = (distance * (1.0 - share), distance.abs() * (share * (1.0 - share)).sqrt());
            }
            parts.between[place] = between;
            combined.iter_mut().zip(network).for_each(|(combined, network)| *combined = network + shift);
            parts.points[place] = combined[middle];
            if let Some(calibration) = forecaster.calibration() {
                calibration.apply(step, room.columns[row], combined, middle);
            }
        }
    }

    /// One forecast alone.
    pub(crate) fn speak(
        self,
        forecaster: &Forecaster,
        history: &ColumnHistory,
        hidden_d: &[f32],
        place: Place<'_>,
        room: &mut Room,
        parts: &mut Parts,
    ) {
        room.clear();
        self.ask(forecaster, history, hidden_d, place, room);
        self.think(room);
        self.answer(forecaster, room, 0, parts);
    }
}
