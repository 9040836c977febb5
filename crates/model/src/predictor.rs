//! The streaming engine: a forecaster with the state of one stream of samples.
//!
//! [`Predictor::advance`] takes a sample, [`Predictor::predict`] evaluates the heads; neither allocates, but for the first jump of a column. Every column is a stream
//! of the network, with shared weights. [`Predictor::advance_many`] takes whole stretches and gives the same bits (`stretch.rs`).
//!
//! Covariates come first: [`Predictor::tell`] takes those of coming samples, and of as many rows beyond as are known.
//!
//! A sample that is missing in a column counts as time there: it is in no statistic of the scaler, features have the sample before it in its place, the
//! linear expert one of the seasons before, the trunk's layers do with the gap what they say they do, and the forecast goes on from the last sample that
//! was there.
//!
//! A state lives as long as its stream, far longer than the windows it was trained on. [`Predictor::refresh_every`] bounds what it can look
//! back on: a second state fills beside the first and takes its place every so many samples.

use crate::{
    ModelError,
    conformal::{Adaptive, Following},
    covariates::{Along, Beside},
    forecaster::Forecaster,
    jumps::{Followed, Watching},
    layer::{State, Workspace},
    network::Heard,
    refresh::Refresh,
    scaler::{ColumnHistory, ScalerKind},
    snapshot::Snapshot,
    trace::Replay,
    voice::{Place, Room, look_across},
};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Standardised values beyond this are refused as bad samples: they would leave the range of `f32`.
pub const LARGEST_STANDARDISED: f64 = 1e12;

/// Anything that predicts a signal sample by sample.
pub trait SignalPredictor {
    /// Takes one sample and predicts.
    ///
    /// # Errors
    /// A sample of the wrong width or with a value that is not finite; the state is as before.
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError>;

    /// Forgets everything seen; the next step gives the bits of a first step.
    fn reset(&mut self);

    /// Samples that can still influence a prediction; `None` if all can.
    fn context_window(&self) -> Option<usize>;
}

/// A forecast of every column, in the data's unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Forecast {
    /// `[column][horizon]`.
    pub point: Vec<f64>,
    /// `[column][horizon][levels]`.
    pub quantiles: Vec<f64>,
    /// Spread within the experts: the deviation of the quantiles, `[column][horizon]`. With that between them, the variance of the pool in which the
    /// linear expert and the network each have this shape around their own point is `within² + between²`.
    pub within: Vec<f64>,
    /// Spread between the experts: √(share·(1 − share))·|network's median − linear|, `[column][horizon]`; 0 where one speaks alone.
    pub between: Vec<f64>,
    /// Share of the samples that each column's forecast looks back on that was missing, of its own or of those of all columns where it looks at them, whichever is more. Above zero the forecast stands on less than it was trained
    /// for. It is 1 before the column has begun, too, and then the forecast is NaN.
    pub missing: Vec<f64>,
}

/// One column's forecast by its parts, standardised.
#[derive(Clone, Debug)]
pub struct Parts {
    /// Its point forecasts, `[horizon]`: the medians, unless held-back rows say that those lie elsewhere.
    pub points: Vec<f64>,
    /// What the forecaster says: quantiles `[horizon][levels]`.
    pub combined: Vec<f64>,
    /// What the network alone says.
    pub network: Vec<f64>,
    /// What the linear expert alone says, `[horizon]`.
    pub linear: Vec<f64>,
    /// Spread between the two, `[horizon]`.
    pub between: Vec<f64>,
    /// Whether the linear expert had enough samples to speak.
    pub linear_spoke: bool,
}

/// The share of the newest samples of all columns, so many of each, that was missing, those before a column's first one too.
fn missing_across(columns: &[ColumnHistory], each: usize) -> f64 {
    if each == 0 {
        return 0.0;
    }
    columns.iter().map(|history| history.missing(each)).sum::<f64>() / columns.len() as f64
}

/// A forecaster and the state of its stream.
pub struct Predictor {
    pub(crate) forecaster: Arc<Forecaster>,
    pub(crate) samples: u64,
    pub(crate) columns: Vec<ColumnHistory>,
    pub(crate) along: Along,
    pub(crate) state: State,
    pub(crate) hidden_cd: Vec<f32>,
    features_ck: Vec<f32>,
    offsets: Vec<usize>,
    gaps: Vec<usize>,
    fresh_cd: Vec<f32>,
    /// The columns' newest samples, scaled, where columns are mixed.
    shown_c: Vec<f32>,
    standardised: Vec<f64>,
    /// The columns' newest samples, where the linear expert looks at those of all.
    across: Vec<f32>,
    /// Room for covariates that columns respond to.
    known: Vec<f32>,
    room: Room,
    parts: Parts,
    pub(crate) replay: Option<Replay>,
    pub(crate) refresh: Option<Refresh>,
    pub(crate) following: Option<Following>,
    pub(crate) watching: Option<Watching>,
    pub(crate) counting: bool,
    allow_missing: bool,
    pub(crate) broken: bool,
    pub(crate) workspace: Workspace,
}

impl Predictor {
    /// A stream that has seen nothing.
    pub fn new(forecaster: Arc<Forecaster>) -> Self {
        let (config, network) = (forecaster.config(), forecaster.network());
        let count = forecaster.columns().len();
        let mut workspace = Workspace::default();
        workspace.reserve(network.scratch(count, count));
        let mut predictor = Self {
            samples: 0,
            columns: vec![
                ColumnHistory::new(forecaster.blueprint().memory(), &config.scaler).standing_in(forecaster.season());
                count
            ],
            along: Along::new(forecaster.covariates(), count),
            state: network.state(count),
            hidden_cd: vec![0.0; count * network.width()],
            features_ck: vec![0.0; count * network.inputs()],
            offsets: vec![0; count + 1],
            gaps: vec![0; count],
            fresh_cd: vec![0.0; count * network.width()],
            shown_c: vec![0.0; config.covariates.columns],
            standardised: vec![0.0; count],
            across: vec![0.0; forecaster.across()],
            known: Vec::with_capacity(
                forecaster
                    .covariates()
                    .response
                    .as_ref()
                    .map_or(0, |response| (response.samples + config.horizon) * forecaster.covariates().known.len()),
            ),
            room: Room::new(&forecaster, forecaster.voice(), 1),
            parts: Parts::new(config.horizon, config.quantiles.len()),
            replay: None,
            refresh: None,
            following: None,
            watching: Watching::new(&forecaster),
            counting: true,
            allow_missing: false,
            broken: false,
            workspace,
            forecaster,
        };
        let rate = predictor.forecaster.config().adaptive;
        predictor.adapt(rate).expect("a fresh stream, and a rate that was checked when the forecaster was built");
        predictor
    }

    /// A second stream that goes on from here on its own.
    pub fn fork(&self) -> Self {
        let mut fork = Self::new(self.forecaster.clone());
        fork.samples = self.samples;
        fork.columns.clone_from(&self.columns);
        fork.along.clone_from(&self.along);
        fork.state.clone_from(&self.state);
        fork.hidden_cd.clone_from(&self.hidden_cd);
        fork.replay.clone_from(&self.replay);
        fork.refresh.clone_from(&self.refresh);
        fork.following = self.following.as_ref().map(|following| following.fork(&self.forecaster));
        fork.watching = self.watching.as_ref().map(Watching::fork);
        (fork.counting, fork.allow_missing, fork.broken) = (self.counting, self.allow_missing, self.broken);
        fork
    }

    /// The forecaster behind it.
    pub fn forecaster(&self) -> &Arc<Forecaster> {
        &self.forecaster
    }

    /// The jumps of a column that were followed in the last look-back, the oldest first, by the number of the stream's sample that each came with, from 0; standardised.
    pub fn followed(&self, column: usize) -> impl Iterator<Item = (u64, Followed)> {
        let late = self.columns[column].taken() - self.columns[column].seen();
        let followed = self.watching.iter().flat_map(move |watching| watching.watches[column].followed());
        followed.map(move |followed| (late.saturating_add(followed.at), *followed))
    }

    /// Samples of a column since the first that was there, missing ones too.
    pub fn seen(&self, column: usize) -> u64 {
        self.columns[column].seen()
    }

    /// Samples taken so far.
    pub fn samples(&self) -> u64 {
        self.samples
    }

    /// Takes the covariates of coming samples: of those observed with them as many rows as samples follow, of those known ahead more, a
    /// horizon more for a forecast after the last of them. Rows go on from what it was told before.
    ///
    /// # Errors
    /// Other covariates than the model's, or a wrong number of columns; nothing is taken.
    pub fn tell(&mut self, beside: &Beside<'_>) -> Result<(), ModelError> {
        self.along.tell(self.forecaster.covariates(), beside)
    }

    /// Forgets covariates that it was told of rows after the newest sample, but what is known ahead of the next `rows`.
    pub fn untell(&mut self, rows: usize) {
        self.along.untell(self.forecaster.covariates(), rows);
    }

    /// Rows after the newest sample whose known covariates it was told of; `usize::MAX` of a model that has none.
    pub fn known_ahead(&self) -> usize {
        self.along.known_ahead(self.forecaster.covariates())
    }

    /// Forgets everything; choices that are forced begin anew.
    pub fn reset(&mut self) {
        self.broken = false;
        self.replay.iter_mut().for_each(Replay::rewind);
        self.samples = 0;
        self.columns.iter_mut().for_each(ColumnHistory::reset);
        self.along.reset();
        self.state.reset();
        self.hidden_cd.fill(0.0);
        if let Some(refresh) = &mut self.refresh {
            refresh.reset();
        }
        if let Some(following) = &mut self.following {
            following.adaptive.reset();
        }
        if let Some(watching) = &mut self.watching {
            watching.reset(&self.forecaster);
        }
    }

    /// Bounds the look-back of the network's state: from `samples` samples on it has seen between `samples` and twice as many. It costs a
    /// second state that fills beside the first, so twice the work a sample, and no sample more than another. `None` ends it. The scaler and
    /// the linear expert have windows of their own.
    ///
    /// # Errors
    /// A bound of no samples, one set after the first sample, or together with forced choices.
    pub fn refresh_every(&mut self, samples: Option<u64>) -> Result<(), ModelError> {
        if samples.is_some() && (self.samples > 0 || self.replay.is_some()) {
            return Err(ModelError::config("refresh", "a stream at its beginning, free to choose", "another"));
        }
        let state = self.forecaster.network().state(self.columns.len());
        self.refresh = samples.map(|every| Refresh::new(every, state)).transpose()?;
        Ok(())
    }

    /// Lets the intervals follow the stream's errors, see [`crate::conformal`]: the more at once, the higher the `rate`; 0.02 forgets in some hundred
    /// samples. A new stream does as its forecaster's configuration says. It costs a forecast of a few steps a sample. `None` ends it.
    ///
    /// # Errors
    /// A rate that is not above 0 and at most 1, or a stream that has begun.
    pub fn adapt(&mut self, rate: Option<f64>) -> Result<(), ModelError> {
        if rate.is_some() && self.samples > 0 {
            return Err(ModelError::config("adaptive rate", "a stream at its beginning", "another"));
        }
        self.following = rate.map(|rate| Following::new(&self.forecaster, rate)).transpose()?;
        Ok(())
    }

    pub(crate) fn standardise(&self, column: usize, value: f64) -> Result<f64, ModelError> {
        let column = &self.forecaster.columns()[column];
        let standardised = column.standardise(value);
        if standardised.abs() <= LARGEST_STANDARDISED || (value.is_nan() && self.allow_missing) {
            Ok(standardised)
        } else {
            Err(ModelError::Sample { column: column.name.clone(), found: value })
        }
    }

    /// Whether NaN is a sample that is missing, instead of an error; it is an error unless told otherwise.
    pub fn allow_missing(&mut self, allow: bool) {
        self.allow_missing = allow;
    }

    /// Whether [`Predictor::advance_beside`] would take the values of a sample and the past covariates of its row.
    ///
    /// # Errors
    /// A wrong number of values, or one that is not finite or far out of range.
    pub fn check_sample(&self, sample: &[f64], past: &[f64]) -> Result<(), ModelError> {
        self.check_width(sample.len())?;
        let known = vec![vec![&[][..]]; self.forecaster.covariates().known.len()];
        let past = past.iter().map(|value| vec![std::slice::from_ref(value)]).collect();
        self.forecaster.covariates().check(&Beside { past, known }, self.columns.len())?;
        sample.iter().enumerate().try_for_each(|(column, &value)| self.standardise(column, value).map(drop))
    }

    pub(crate) fn check_width(&self, found: usize) -> Result<(), ModelError> {
        ModelError::unless_as_many("sample", self.columns.len(), found)
    }

    /// Takes one sample, one value a column in the data's unit.
    ///
    /// # Errors
    /// A wrong number of values, one that is not finite, or a sample whose covariates it was not told of; the state is as before. A router's score or a value of the network that is not finite,
    /// or a forced trace that has come to its end: the stream is broken until it is reset or restored.
    pub fn advance(&mut self, sample: &[f64]) -> Result<(), ModelError> {
        self.check_whole()?;
        self.check_width(sample.len())?;
        for (column, &value) in sample.iter().enumerate() {
            self.standardised[column] = self.standardise(column, value)?;
        }
        let forecaster = &*self.forecaster;
        let (scaler, network, covariates) = (&forecaster.config().scaler, forecaster.network(), forecaster.covariates());
        let (inputs, width, config) = (network.inputs(), network.width(), &forecaster.config().covariates);
        self.along.reach(covariates, 1)?;
        for (index, column) in forecaster.columns().iter().enumerate() {
            let (known, value) = (&mut self.known, &mut self.standardised[index]);
            self.along.respond(covariates, index, 0..1, known, |_, response| {
                *value = column.standardise(sample[index] - column.deviation * response);
            });
        }
        let mut rows = 0;
        for (index, (history, &value)) in self.columns.iter_mut().zip(&self.standardised).enumerate() {
            self.gaps[rows] = history.missed() as usize;
            match &mut self.watching {
                Some(watching) => watching.push(index, history, value),
                None => history.push(value, scaler),
            }
            rows += usize::from(!value.is_nan());
        }
        self.shown_c.iter_mut().zip(&self.columns).for_each(|(shown, history)| *shown = history.shown(scaler));
        rows = 0;
        for (index, (history, &value)) in self.columns.iter().zip(&self.standardised).enumerate() {
            if !value.is_nan() {
                let (beside, taps) = self.features_ck[rows * inputs..][..inputs].split_at_mut(config.count());
                let (own, mixed) = beside.split_at_mut(config.own());
                self.along.row(covariates, index, 0, own);
                config.mix(index, &self.shown_c, mixed);
                history.features(scaler, taps);
                rows += 1;
            }
            self.along.pass(covariates, index, 1);
            self.offsets[index + 1] = rows;
        }
        self.samples += 1;
        let gaps = &self.gaps[..rows];
        let gaps = if gaps.iter().all(|&gap| gap == 0) { &[][..] } else { gaps };
        let heard = Heard { features_nk: &self.features_ck[..rows * inputs], offsets: &self.offsets, gaps };
        let fresh_cd = &mut self.fresh_cd[..rows * width];
        let mut done = Ok(());
        if let Some(refresh) = &mut self.refresh {
            done = refresh.fill(network, 1, heard, fresh_cd, &mut self.workspace);
        }
        let mut scratch = self.workspace.scratch();
        (scratch.replay, scratch.count) = (self.replay.as_mut(), self.counting);
        let run = network.run(heard, &mut self.state, fresh_cd, &mut scratch);
        done = done.and(run);
        if let Some(refresh) = &mut self.refresh {
            refresh.exchange(&mut self.state);
        }
        if done.is_ok() {
            for (pair, hidden) in
                self.offsets.windows(2).zip(self.hidden_cd.chunks_exact_mut(width)).filter(|(pair, _)| pair[0] < pair[1])
            {
                hidden.copy_from_slice(&fresh_cd[pair[0] * width..][..width]);
            }
            if let Some(following) = &mut self.following {
                let (along, time) = (&self.along, self.samples - 1);
                look_across(&self.forecaster, &self.columns, &mut self.across);
                for (index, history) in self.columns.iter().enumerate() {
                    let (hidden, value) = (&self.hidden_cd[index * width..][..width], self.standardised[index]);
                    let place = Place { along, column: index, passed: 0, across: &self.across };
                    following.hear(forecaster, history, hidden, place, time, value);
                }
            }
        }
        self.broken = done.is_err();
        done
    }

    /// Takes one sample and the past covariates of its row, one value each for all columns.
    ///
    /// # Errors
    /// As [`Predictor::tell`] and [`Predictor::advance`]; nothing is taken.
    pub fn advance_beside(&mut self, sample: &[f64], past: &[f64]) -> Result<(), ModelError> {
        if past.is_empty() {
            return self.advance(sample);
        }
        let known = vec![vec![&[][..]]; self.forecaster.covariates().known.len()];
        self.tell(&Beside { past: past.iter().map(|value| vec![std::slice::from_ref(value)]).collect(), known })?;
        let done = self.advance(sample);
        if done.is_err() && !self.broken {
            self.along.untell_past(past.len());
        }
        done
    }

    /// The same after `rows` samples that never come: what is known of them is forgotten, and the sample is of the row behind them.
    ///
    /// # Errors
    /// As [`Predictor::advance_beside`]; nothing is taken or forgotten.
    pub fn advance_after(&mut self, rows: usize, sample: &[f64], past: &[f64]) -> Result<(), ModelError> {
        let before = (rows > 0).then(|| self.along.clone());
        self.along.pass_over(self.forecaster.covariates(), rows);
        let done = self.advance_beside(sample, past);
        if let (Err(_), Some(before)) = (&done, before) {
            self.along = before;
        }
        done
    }

    /// Whether the stream goes on: a network that refuses half-way leaves a state that is neither before nor after.
    ///
    /// # Errors
    /// A stream that an error of [`Predictor::advance`] has ended.
    pub fn check_whole(&self) -> Result<(), ModelError> {
        match self.broken {
            true => Err(ModelError::config("stream", "one that is reset or restored after the error that ended it", "none")),
            false => Ok(()),
        }
    }

    /// Whether the mixtures count what this stream does in their live statistics; they do unless told otherwise.
    pub fn count_usage(&mut self, counting: bool) {
        self.counting = counting;
    }

    /// Forces the choices that `replay` holds on every mixture, from the next sample on; a sample that it holds none for is an error.
    /// `None` ends it.
    ///
    /// # Errors
    /// A stream with a bounded look-back, whose second state chooses by itself.
    pub fn force(&mut self, replay: Option<Replay>) -> Result<(), ModelError> {
        if replay.is_some() && self.refresh.is_some() {
            return Err(ModelError::config("replay", "a stream without a bounded look-back", "one with"));
        }
        self.replay = replay;
        Ok(())
    }

    /// An empty forecast of the right size.
    pub fn forecast_buffer(&self) -> Forecast {
        let config = self.forecaster.config();
        let steps = self.columns.len() * config.horizon;
        Forecast {
            point: vec![0.0; steps],
            quantiles: vec![0.0; steps * config.quantiles.len()],
            within: vec![0.0; steps],
            between: vec![0.0; steps],
            missing: vec![0.0; self.columns.len()],
        }
    }

    /// Forecasts from the newest sample on into `forecast`.
    ///
    /// # Errors
    /// No sample was taken yet, covariates are not known to the end of the horizon, or the stream is broken.
    pub fn predict(&mut self, forecast: &mut Forecast) -> Result<(), ModelError> {
        self.check_whole()?;
        if self.samples == 0 {
            return Err(ModelError::TooShort { what: "a forecast", expected: 1, found: 0 });
        }
        let (outputs, width) = (self.forecaster.network().outputs(), self.forecaster.network().width());
        let levels = self.forecaster.blueprint().levels.shape();
        let (horizon, lookback) = (outputs / levels.0, self.forecaster.blueprint().lookback());
        self.along.reach_ahead(self.forecaster.covariates(), horizon)?;
        look_across(&self.forecaster, &self.columns, &mut self.across);
        let across = missing_across(&self.columns, self.forecaster.samples_across());
        for index in 0..self.columns.len() {
            forecast.missing[index] = match self.columns[index].seen() {
                0 => 1.0,
                // Before there were so many samples nothing is missing.
                seen => {
                    let own = self.columns[index].missing(lookback.min(usize::try_from(seen).unwrap_or(usize::MAX)));
                    if self.forecaster.linear().is_some_and(|linear| linear.speaks_across(index, seen)) {
                        own.max(across)
                    } else {
                        own
                    }
                }
            };
            if self.columns[index].seen() == 0 {
                forecast.point[index * horizon..][..horizon].fill(f64::NAN);
                forecast.quantiles[index * outputs..][..outputs].fill(f64::NAN);
                forecast.within[index * horizon..][..horizon].fill(f64::NAN);
                forecast.between[index * horizon..][..horizon].fill(f64::NAN);
                continue;
            }
            let hidden = &self.hidden_cd[index * width..][..width];
            let (history, room) = (&self.columns[index], &mut self.room);
            let place = Place { along: &self.along, column: index, passed: 0, across: &self.across };
            self.forecaster.voice().speak(&self.forecaster, history, hidden, place, room, &mut self.parts);
            if let Some(Following { knots, adaptive, .. }) = &mut self.following {
                adaptive.of(knots, index).apply(knots, &mut self.parts.combined);
            }
            let parts = &mut self.parts;
            self.along.respond(self.forecaster.covariates(), index, 0..horizon, &mut self.known, |step, response| {
                parts.shift(step, response);
            });
            self.room.hold(0, &mut self.parts);
            let column = &self.forecaster.columns()[index];
            let quantiles = &mut forecast.quantiles[index * outputs..][..outputs];
            quantiles.iter_mut().zip(&self.parts.combined).for_each(|(q, part)| *q = column.restore(*part));
            let point = &mut forecast.point[index * horizon..][..horizon];
            point.iter_mut().zip(&self.parts.points).for_each(|(point, part)| *point = column.restore(*part));
            let within = forecast.within[index * horizon..][..horizon].iter_mut().zip(quantiles.chunks_exact(levels.0));
            within.for_each(|(within, q)| *within = self.forecaster.blueprint().levels.deviation(q));
            let between = forecast.between[index * horizon..][..horizon].iter_mut().zip(&self.parts.between);
            between.for_each(|(between, part)| *between = column.deviation * part);
        }
        Ok(())
    }

    /// All that the stream has to remember.
    ///
    /// # Errors
    /// The stream is broken.
    pub fn snapshot(&self) -> Result<Snapshot, ModelError> {
        self.check_whole()?;
        Ok(Snapshot {
            model: self.forecaster.fingerprint(),
            samples: self.samples,
            columns: self.columns.clone(),
            along: self.along.clone(),
            network: self.state.clone(),
            hidden: self.hidden_cd.clone(),
            refresh: self.refresh.clone(),
            adaptive: self.following.as_ref().map(|following| following.adaptive.clone()),
            watches: self.watching.as_ref().map_or(Vec::new(), |watching| watching.watches.clone()),
            note: String::new(),
        })
    }

    /// Goes on where `snapshot` was taken, free to choose.
    ///
    /// # Errors
    /// A snapshot of another model, or with parts that do not fit; the stream is as before.
    pub fn restore(&mut self, snapshot: &Snapshot) -> Result<(), ModelError> {
        let differs = |field: &str, expected: String, found: String| Err(ModelError::config(field, expected, found));
        let model = self.forecaster.fingerprint();
        if snapshot.model != model {
            return differs("snapshot model", model, snapshot.model.clone());
        }
        let every = |refresh: &Option<Refresh>| refresh.as_ref().map_or("none".into(), |refresh| refresh.every().to_string());
        if every(&snapshot.refresh) != every(&self.refresh) {
            return differs("snapshot refresh", every(&self.refresh), every(&snapshot.refresh));
        }
        let rate = |adaptive: Option<&Adaptive>| adaptive.map_or("none".into(), |adaptive| adaptive.rate().to_string());
        let own = self.following.as_ref().map(|following| &following.adaptive);
        if rate(snapshot.adaptive.as_ref()) != rate(own) {
            return differs("snapshot adaptive rate", rate(own), rate(snapshot.adaptive.as_ref()));
        }
        let (network, scaler) = (self.forecaster.network(), &self.forecaster.config().scaler);
        let sound = |state: &State| state.same_shape(&self.state) && state.is_finite() && network.is_sound(state);
        let fits =
            snapshot.columns.len() == self.columns.len()
                && snapshot.columns.iter().zip(&self.columns).all(|(new, old)| {
                    new.capacity() == old.capacity() && new.is_sound(scaler) && new.taken() == snapshot.samples
                })
                && snapshot.along.fits(self.forecaster.covariates(), self.columns.len())
                && sound(&snapshot.network)
                && snapshot.refresh.as_ref().is_none_or(|refresh| refresh.is_at(snapshot.samples) && sound(refresh.state()))
                && snapshot.adaptive.as_ref().zip(own).is_none_or(|(adaptive, own)| adaptive.fits(own))
                && snapshot.watches.len() == self.watching.as_ref().map_or(0, |watching| watching.watches.len())
                && snapshot.watches.iter().zip(&snapshot.columns).all(|(watch, history)| watch.is_sound(history.seen()))
                && snapshot.hidden.len() == self.hidden_cd.len()
                && snapshot.hidden.iter().all(|value| value.is_finite());
        if !fits {
            return differs(
                "snapshot",
                "the shapes of this model, finite values and choices it can make".into(),
                "others".into(),
            );
        }
        self.broken = false;
        self.replay = None;
        self.samples = snapshot.samples;
        let season = self.forecaster.season();
        self.columns = snapshot.columns.iter().map(|column| column.clone().standing_in(season)).collect();
        self.along.clone_from(&snapshot.along);
        self.state.clone_from(&snapshot.network);
        self.hidden_cd.clone_from(&snapshot.hidden);
        self.refresh.clone_from(&snapshot.refresh);
        if let Some(watching) = &mut self.watching {
            watching.watches.clone_from(&snapshot.watches);
        }
        if let (Some(own), Some(adaptive)) = (&mut self.following, &snapshot.adaptive) {
            own.adaptive.clone_from(adaptive);
        }
        Ok(())
    }
}

/// A trained forecaster as one predictor among others: the point forecasts, `[step][column]`.
impl SignalPredictor for Predictor {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        let sample: Vec<f64> = x.iter().map(|&value| f64::from(value)).collect();
        self.advance(&sample)?;
        let mut forecast = self.forecast_buffer();
        self.predict(&mut forecast)?;
        let horizon = self.forecaster.config().horizon;
        let steps = (0..horizon).flat_map(|step| forecast.point.chunks_exact(horizon).map(move |column| column[step] as f32));
        Ok(steps.collect())
    }

    fn reset(&mut self) {
        Self::reset(self);
    }

    fn context_window(&self) -> Option<usize> {
        let (config, blueprint) = (self.forecaster.config(), self.forecaster.blueprint());
        let refresh = usize::try_from(self.refresh.as_ref()?.every()).ok()?;
        // The window's statistics are summed afresh once a window: until then a sample that has left it may still round them.
        let reach = config.taps.max(2 * config.scaler.window);
        let forgets = config.linear.as_ref().is_none_or(|linear| linear.reversion.is_none());
        (config.scaler.kind == ScalerKind::Window && forgets)
            .then(|| refresh.saturating_mul(2).saturating_add(reach).max(blueprint.memory()))
    }
}
