//! Jumps that the rows a model was trained on never made, such as a sensor that was moved or a tariff that changed. A linear map takes what came before one
//! for the level to return to, for as long as it looks back; here what came before is lifted to the new level, once the samples say that this explains them.
//!
//! ```text
//! r   = y − ŷ₁                  the error of the linear expert's first step, σ its running size
//! try     |r| > limit·σ          all before is lifted by r; a jump while one is tried lifts that once more, so that a pulse that has passed is taken out
//! follow  Σ (min(r, 6σ)² − min(r′, 6σ)²)/2σ² > 15, over three samples or more,      r′ with what is lifted
//! drop    below −15, or after a look-back
//! ```
//! A level shift against an innovation whose process goes on, of the kinds of outliers of Chen & Liu (1993). The `limit` is 8, and one and a half times what the
//! training and validation rows had at most: what they did is known and learned. A jump back is tried from 4σ on. At most four are followed in a look-back: each
//! moves what the next is told by.

use crate::{
    ModelError,
    forecaster::{Column, Forecaster},
    linear_expert::LinearExpert,
    scaler::{ColumnHistory, ScalerConfig},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::sync::{Arc, OnceLock};

/// Least limit.
const LIMIT: f64 = 8.0;
/// Times the largest of the rows that a limit is of.
const BEYOND: f64 = 1.5;
/// A jump back, in sizes of the error, and how near it comes to the one before.
const BACK: f64 = 4.0;
const NEAR: f64 = 0.5;
/// Nats that a jump has to explain, over so many samples at least.
const EVIDENCE: f64 = 15.0;
const FEWEST: u64 = 3;
/// Errors beyond it tell no more, in their sizes.
const CUT: f64 = 6.0;
/// How fast the size of errors follows them, what it is of their mean, and where they are cut for it.
const RATE: f64 = 0.005;
const TO_DEVIATION: f64 = 1.25;
const LARGEST: f64 = 4.0;
/// Of the column's deviation.
const SMALLEST: f64 = 1e-3;
/// Jumps that are followed in a look-back at most, and tried one on the other.
const MOST: usize = 4;
const MOST_TRIED: usize = 8;
/// Samples missing before one that may be a jump.
const MISSED: u64 = 3;
/// Errors that the first size is of, and as many again before a limit is known.
const FIRST: usize = 200;

/// From where on an error of a column's first step is a jump.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jump {
    /// The usual size of its error after the rows it is of, standardised.
    pub scale: f64,
    /// In sizes.
    pub limit: f64,
}

impl Jump {
    pub(crate) fn check(self, column: &str) -> Result<(), ModelError> {
        let sound = |value: f64| value.is_finite() && value > 0.0;
        match sound(self.scale) && sound(self.limit) {
            true => Ok(()),
            false => Err(ModelError::config(&format!("column `{column}` jump"), "finite numbers above 0", format!("{self:?}"))),
        }
    }
}

/// Samples before number `before` of a column, lifted.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lift {
    /// The first that is not, from 0, the column's first that was there.
    pub before: u64,
    /// Standardised.
    pub by: f64,
}

/// What a column's stream knows of jumps.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Size of the error.
    scale: f64,
    /// What is tried, the oldest first.
    tried: Vec<Lift>,
    evidence: f64,
    heard: u64,
    /// What was followed in the last look-back, the oldest first.
    followed: Vec<Followed>,
}

/// A jump that was followed.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Followed {
    /// The sample it came with, from 0, the column's first that was there.
    pub at: u64,
    /// How much that was, standardised.
    pub by: f64,
    /// How much higher all before it is taken for since, itself and what it ended; near 0 after a pulse.
    pub lifted: f64,
    /// The sample that made sure.
    since: u64,
}

impl Followed {
    /// Whether it was followed with the newest of so many samples of its column.
    pub fn is_of(&self, seen: u64) -> bool {
        self.since + 1 == seen
    }
}

impl Watch {
    fn new(column: &Column) -> Self {
        Self {
            scale: column.jump.map_or(0.0, |jump| jump.scale),
            tried: Vec::with_capacity(MOST_TRIED + 1),
            followed: Vec::with_capacity(MOST),
            ..Self::default()
        }
    }

    /// What was followed in the last look-back, the oldest first.
    pub fn followed(&self) -> &[Followed] {
        &self.followed
    }

    /// Whether it could have come about.
    pub(crate) fn is_sound(&self, seen: u64) -> bool {
        let lifts = self.tried.iter().map(|lift| (lift.before, lift.by));
        let followed = self.followed.iter().flat_map(|followed| [(followed.at, followed.by), (followed.since, followed.lifted)]);
        self.scale.is_finite()
            && self.scale >= 0.0
            && self.evidence.is_finite()
            && self.tried.len() <= MOST_TRIED
            && self.followed.len() <= MOST
            && lifts.chain(followed).all(|(at, by)| at < seen && by.is_finite())
    }
}

/// The first step of the linear expert, and the limits of the columns.
pub(crate) struct Jumps {
    first: LinearExpert,
    limits: Vec<Option<f64>>,
    /// What is within a column's bounds is not lifted out of them.
    bounds: Vec<(f64, f64)>,
    scaler: ScalerConfig,
    memory: usize,
    /// By column, once it is asked for: what a forecast gains where so many of the newest samples are one higher.
    responses: Vec<OnceLock<Vec<f64>>>,
}

/// Room for a forecast of one step.
pub(crate) struct Sight {
    x_l: Vec<f32>,
    room: Vec<f32>,
}

impl Sight {
    pub(crate) fn new(first: &LinearExpert) -> Self {
        Self { x_l: vec![0.0; first.options().inputs()], room: vec![0.0; first.room()] }
    }

    /// What comes next in a column, from its own samples; none before there are enough.
    fn next(&mut self, first: &LinearExpert, column: usize, history: &ColumnHistory) -> Option<f64> {
        let mean = first.look(history, &mut self.x_l)?;
        let mut above = [0.0];
        first.forecast(std::iter::once((column, mean, false)), &self.x_l, &[], &mut above, &mut self.room);
        Some(mean + f64::from(above[0]))
    }
}

impl Jumps {
    /// None where no column has a limit, or there is no linear expert.
    pub(crate) fn new(forecaster: &Forecaster) -> Option<Self> {
        let limits: Vec<Option<f64>> = forecaster.columns().iter().map(|column| Some(column.jump?.limit)).collect();
        let linear = forecaster.linear().filter(|_| limits.iter().any(Option::is_some))?;
        Some(Self {
            first: linear.at(&[0]),
            responses: limits.iter().map(|_| OnceLock::new()).collect(),
            limits,
            bounds: forecaster.columns().iter().map(Column::standardised_bounds).collect(),
            scaler: forecaster.config().scaler.clone(),
            memory: forecaster.blueprint().memory(),
        })
    }

    /// Takes a column's next sample, NaN if it is missing, into its history, and gives what is lifted then.
    fn push(
        &self,
        column: usize,
        watch: &mut Watch,
        history: &mut ColumnHistory,
        value: f64,
        sight: &mut Sight,
        mut lifted: impl FnMut(&[Lift]),
    ) {
        let follows = self.hear(column, watch, history, value, sight);
        history.push(value, &self.scaler);
        if follows {
            self.lift(column, history, &watch.tried);
            lifted(&watch.tried);
            watch.tried.clear();
        }
    }

    fn lift(&self, column: usize, history: &mut ColumnHistory, lifts: &[Lift]) {
        lifts.iter().for_each(|lift| history.lift(*lift, self.bounds[column], &self.scaler));
    }

    /// Whether what is tried is to be followed once the next sample is there.
    fn hear(&self, column: usize, watch: &mut Watch, history: &ColumnHistory, value: f64, sight: &mut Sight) -> bool {
        let (Some(limit), now, missed) = (self.limits[column], history.seen(), history.missed()) else { return false };
        if value.is_nan() || missed > MISSED {
            return false;
        }
        let Some(expected) = sight.next(&self.first, column, history) else { return false };
        let span = self.first.span() as u64;
        watch.followed.retain(|followed| now - followed.since < span);
        let (error, usual) = (value - expected, watch.scale);
        let size = usual * ((1 + missed) as f64).sqrt();
        let is_back = |error: f64, last: f64| error * last < 0.0 && (error + last).abs() < NEAR * last.abs();
        let mut follows = false;
        if let Some(newest) = watch.tried.last().copied() {
            let lifted = watch.tried.iter().map(|lift| lift.by * self.left(column, now - lift.before)).sum::<f64>();
            let after = error - lifted;
            if after.abs() > size * if is_back(after, newest.by) { BACK } else { limit } {
                watch.tried.push(Lift { before: now, by: after });
                (watch.evidence, watch.heard) = (0.0, 0);
            } else {
                let square = |error: f64| (error.abs() / usual).min(CUT).powi(2);
                watch.evidence += (square(error) - square(after)) / 2.0;
                watch.heard += 1;
                let is_sure = watch.heard >= FEWEST && watch.evidence > EVIDENCE;
                follows = is_sure && watch.followed.len() < MOST;
                if follows {
                    let lifted = watch.tried.iter().map(|lift| lift.by).sum();
                    let Lift { before: at, by } = newest;
                    watch.followed.push(Followed { at, by, lifted, since: now });
                } else if is_sure || watch.heard >= span || watch.evidence < -EVIDENCE {
                    watch.tried.clear();
                }
            }
            if watch.tried.len() > MOST_TRIED {
                watch.tried.clear();
            }
        } else {
            let is_back = watch.followed.last().is_some_and(|last| is_back(error, last.by));
            if error.abs() > size * if is_back { BACK } else { limit } {
                watch.tried.push(Lift { before: now, by: error });
                (watch.evidence, watch.heard) = (0.0, 0);
            }
        }
        if missed == 0 {
            watch.scale = grown(usual, error);
        }
        follows
    }

    /// What is left of a lift in a column's forecast once so many samples have come that are not lifted.
    fn left(&self, column: usize, newer: u64) -> f64 {
        let response = self.responses[column].get_or_init(|| self.response(column));
        let all = response.last().copied().unwrap_or(0.0);
        all - response.get(newer as usize).copied().unwrap_or(all)
    }

    fn response(&self, column: usize) -> Vec<f64> {
        let (mut history, mut sight) =
            (ColumnHistory::new(self.memory, &self.scaler).standing_in(self.first.options().season()), Sight::new(&self.first));
        let span = self.first.span();
        (0..span).for_each(|_| history.push(0.0, &self.scaler));
        let mut at = |history: &ColumnHistory| sight.next(&self.first, column, history).unwrap_or(0.0);
        let none = at(&history);
        let mut response = vec![0.0];
        for _ in 0..span {
            history.push(1.0, &self.scaler);
            response.push(at(&history) - none);
        }
        response
    }
}

/// The size of errors after one more.
fn grown(scale: f64, error: f64) -> f64 {
    (scale + RATE * (TO_DEVIATION * error.abs().min(LARGEST * scale) - scale)).max(SMALLEST)
}

/// The limits of columns, from their values up to those that nothing is known of yet, standardised; none of a column of few. A stream of these very values, which
/// begins with the scale that they end with, has no jump.
pub fn limits(linear: &LinearExpert, scaler: &ScalerConfig, memory: usize, columns: &[&[f64]]) -> Vec<Option<Jump>> {
    let first = linear.at(&[0]);
    let of = |(column, values): (usize, &&[f64])| {
        let (mut history, mut sight) =
            (ColumnHistory::new(memory, scaler).standing_in(first.options().season()), Sight::new(&first));
        // With the samples missing before it.
        let mut errors = Vec::new();
        for &value in *values {
            let missed = history.missed();
            let expected = if value.is_nan() || missed > MISSED { None } else { sight.next(&first, column, &history) };
            errors.extend(expected.map(|expected| (value - expected, missed)));
            history.push(value, scaler);
        }
        let (early, late) = errors.split_at_checked(FIRST).filter(|(_, late)| late.len() >= FIRST)?;
        let begun = TO_DEVIATION * early.iter().map(|(error, _)| error.abs()).sum::<f64>() / FIRST as f64;
        let after = |scale: f64, &(error, missed): &(f64, u64)| if missed == 0 { grown(scale, error) } else { scale };
        let scale = late.iter().fold(begun.max(SMALLEST), after);
        let ratio = |scale: &mut f64, error: &(f64, u64)| {
            let ratio = error.0.abs() / (*scale * ((1 + error.1) as f64).sqrt());
            *scale = after(*scale, error);
            Some(ratio)
        };
        let largest = errors.iter().scan(scale, ratio).fold(0.0, f64::max);
        Some(Jump { scale, limit: LIMIT.max(BEYOND * largest) })
    };
    columns.par_iter().enumerate().map(of).collect()
}

/// What is lifted in some rows, by column: after which row, and what.
#[derive(Default)]
pub(crate) struct Lifted {
    jumps: Option<Arc<Jumps>>,
    by_column: Vec<Vec<(usize, Vec<Lift>)>>,
}

impl Lifted {
    /// Takes a column's sample of a row, NaN if it is missing, into a history that has taken those before it.
    pub(crate) fn push(&self, column: usize, row: usize, history: &mut ColumnHistory, value: f64, scaler: &ScalerConfig) {
        history.push(value, scaler);
        if let Some(jumps) = &self.jumps {
            let of_row = self.by_column[column].iter().filter(|(at, _)| *at == row);
            of_row.for_each(|(_, lifts)| jumps.lift(column, history, lifts));
        }
    }
}

/// The watches of a stream.
pub(crate) struct Watching {
    jumps: Arc<Jumps>,
    pub(crate) watches: Vec<Watch>,
    sight: Sight,
}

impl Watching {
    /// Those of one that begins; none where there is nothing to watch for.
    pub(crate) fn new(forecaster: &Forecaster) -> Option<Self> {
        let jumps = Arc::new(Jumps::new(forecaster)?);
        let sight = Sight::new(&jumps.first);
        Some(Self { watches: forecaster.columns().iter().map(Watch::new).collect(), jumps, sight })
    }

    pub(crate) fn reset(&mut self, forecaster: &Forecaster) {
        self.watches = forecaster.columns().iter().map(Watch::new).collect();
    }

    /// A second one that goes on from here on its own.
    pub(crate) fn fork(&self) -> Self {
        Self { jumps: self.jumps.clone(), watches: self.watches.clone(), sight: Sight::new(&self.jumps.first) }
    }

    /// Takes a column's next sample, standardised, NaN if it is missing, into its history.
    pub(crate) fn push(&mut self, column: usize, history: &mut ColumnHistory, value: f64) {
        self.jumps.push(column, &mut self.watches[column], history, value, &mut self.sight, |_| {});
    }

    /// What is lifted in some rows of every column, `values[column][row]` standardised by `of`, after these histories.
    pub(crate) fn ahead(
        &mut self,
        histories: &[ColumnHistory],
        values: &[&[f64]],
        of: impl Fn(usize, f64) -> f64 + Sync,
    ) -> Lifted {
        let jumps = &self.jumps;
        let columns = self.watches.par_iter_mut().zip(histories).zip(values).enumerate();
        let of_column = |(column, ((watch, history), values)): (usize, ((&mut Watch, &ColumnHistory), &&[f64]))| {
            let (mut history, mut sight, mut lifted) = (history.clone(), Sight::new(&jumps.first), Vec::new());
            for (row, &value) in values.iter().enumerate() {
                let keep = |lifts: &[Lift]| lifted.push((row, lifts.to_vec()));
                jumps.push(column, watch, &mut history, of(column, value), &mut sight, keep);
            }
            lifted
        };
        Lifted { by_column: columns.map(of_column).collect(), jumps: Some(jumps.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blueprint, Covariates, ForecasterConfig, Predictor, Registry, linear_expert::LinearWeights};

    /// Samples that the map looks back on: the mean of four seasons of six.
    const SPAN: usize = 24;
    const SEASON: usize = 6;
    /// Times the error of a quiet signal: a lift is off by the noise of the samples it came with.
    const AS_GOOD: f64 = 3.0;

    /// A season with noise of .1, and what is added to it.
    fn signal(rows: usize, more: impl Fn(usize) -> f64) -> Vec<f64> {
        let noise = |row: usize| 0.1 * ((row * 7919 % 1009) as f64 / 504.5 - 1.0);
        (0..rows).map(|row| (row as f64 * std::f64::consts::TAU / SEASON as f64).sin() + noise(row) + more(row)).collect()
    }

    fn forecaster(jump: Option<Jump>) -> Arc<Forecaster> {
        let text = "horizon = 8\ntaps = 1\nwidth = 2\nscaler = { window = 24 }\nlinear = { lookback = 24 }\nlayers = [{ type = \"linear\" }]";
        let config: ForecasterConfig = toml::from_str(text).unwrap();
        let blueprint = Blueprint::new(&config, &Registry::default()).unwrap();
        let at = |place: usize| (place / 8, place % 8);
        let is_of = |place: usize| (SPAN + at(place).1 - at(place).0).is_multiple_of(SEASON);
        let linear = LinearWeights {
            weights_lh: (0..SPAN * 8).map(|place| if is_of(place) { 0.25 } else { 0.0 }).collect(),
            bias_h: vec![0.0; 8],
            ..LinearWeights::default()
        };
        let weights = blueprint.layout.initialise(1);
        let column = Column { jump, ..Column::new("a", 0.0, 1.0) };
        Arc::new(Forecaster::new(blueprint, vec![column], Covariates::default(), weights, Some(linear), vec![0.0; 8]).unwrap())
    }

    fn limit() -> Jump {
        let plain = forecaster(None);
        let rows = signal(600, |_| 0.0);
        let of = limits(plain.linear().unwrap(), &plain.config().scaler, plain.blueprint().memory(), &[&rows]);
        of[0].expect("enough rows")
    }

    /// The mean squared error of the forecasts after each of the last rows, and what was followed on the way, each once.
    fn error(jump: Option<Jump>, rows: &[f64], last: usize) -> (f64, Vec<Followed>) {
        let mut stream = Predictor::new(forecaster(jump));
        stream.allow_missing(true);
        let (mut forecast, mut followed, mut squares) = (stream.forecast_buffer(), Vec::new(), Vec::new());
        for (row, value) in rows.iter().enumerate() {
            stream.advance(&[*value]).unwrap();
            followed.extend(stream.followed(0).map(|(_, jump)| jump).filter(|jump| jump.since == row as u64));
            if row + last >= rows.len() && row + 8 < rows.len() {
                stream.predict(&mut forecast).unwrap();
                squares.extend(forecast.point.iter().zip(&rows[row + 1..]).map(|(point, truth)| (point - truth).powi(2)));
            }
        }
        (squares.iter().sum::<f64>() / squares.len() as f64, followed)
    }

    #[test]
    fn the_rows_themselves_set_the_limit() {
        let Jump { scale, limit } = limit();
        assert!((0.03..0.12).contains(&scale) && limit == LIMIT, "{scale} {limit}");
        let plain = forecaster(None);
        let of = |rows: &[f64]| limits(plain.linear().unwrap(), &plain.config().scaler, plain.blueprint().memory(), &[rows])[0];
        // What they did once is no jump, and few rows say nothing.
        let wild = of(&signal(600, |row| f64::from(u8::from(row == 500)) * 5.0)).unwrap();
        assert!(wild.limit > 50.0, "{wild:?}");
        // Rows that end much quieter than they begin have none themselves.
        let calmer =
            signal(900, |row| if row < 300 { ((row * 31 % 17) as f64 - 8.0) * if row > 200 { 0.4 } else { 0.1 } } else { 0.0 });
        let limit = of(&calmer).unwrap();
        assert!(limit.limit > LIMIT && error(Some(limit), &calmer, 10).1.is_empty(), "{limit:?}");
        assert_eq!(of(&signal(SPAN + 2 * FIRST - 1, |_| 0.0)), None);
        assert!(of(&signal(SPAN + 2 * FIRST, |_| 0.0)).is_some());
    }

    #[test]
    fn a_shift_is_followed_and_a_pulse_is_taken_out() {
        let jump = Some(limit());
        let (quiet, none) = error(jump, &signal(700, |_| 0.0), 100);
        assert!(none.is_empty() && quiet == error(None, &signal(700, |_| 0.0), 100).0, "{none:?}");
        let shifted = signal(700, |row| if row < 650 { 0.0 } else { 3.0 });
        let ((with, followed), (without, _)) = (error(jump, &shifted, 47), error(None, &shifted, 47));
        assert!(with < AS_GOOD * quiet && without > 50.0 * quiet, "{with} {without} {quiet}");
        assert!(followed.len() == 1 && followed[0].at == 650 && followed[0].since == 653, "{followed:?}");
        assert!((followed[0].lifted - 3.0).abs() < 0.3 && followed[0].by == followed[0].lifted, "{followed:?}");
        // Back again, also before it was sure.
        for len in [1, 2, 20] {
            let pulse = signal(700, |row| if (650..650 + len).contains(&row) { 3.0 } else { 0.0 });
            let ((with, followed), (without, _)) = (error(jump, &pulse, 700 - 654 - len), error(None, &pulse, 700 - 654 - len));
            assert!(with < AS_GOOD * quiet && without > 3.0 * with, "{len}: {with} {without}");
            let lifted: f64 = followed.iter().map(|jump| jump.lifted).sum();
            assert!(lifted.abs() < 0.3, "{len}: {followed:?}");
        }
        // A look-back follows four of them, and none for ever.
        let wild = signal(2000, |row| if row < 650 { 0.0 } else { 3.0 * ((row / 4 * 7919 % 13) as f64) });
        let (_, followed) = error(jump, &wild, 10);
        let most = followed
            .iter()
            .map(|one| followed.iter().filter(|two| (one.since..one.since + SPAN as u64).contains(&two.since)).count());
        assert!(followed.len() > MOST && most.max() == Some(MOST), "{followed:?}");
    }

    #[test]
    fn what_is_missing_is_no_jump_and_one_behind_it_is() {
        let gap = |rows: Vec<f64>| {
            rows.into_iter().enumerate().map(|(row, value)| if (650..652).contains(&row) { f64::NAN } else { value })
        };
        let shifted: Vec<f64> = gap(signal(700, |row| if row < 650 { 0.0 } else { 3.0 })).collect();
        let (_, followed) = error(Some(limit()), &shifted, 20);
        assert!(followed.len() == 1 && followed[0].at == 652, "{followed:?}");
        let (_, none) = error(Some(limit()), &gap(signal(700, |_| 0.0)).collect::<Vec<_>>(), 20);
        assert!(none.is_empty(), "{none:?}");
    }

    #[test]
    fn a_jump_needs_a_linear_expert_and_numbers() {
        let config: ForecasterConfig = toml::from_str("horizon = 2\nlayers = [{ type = \"linear\" }]").unwrap();
        let blueprint = || Blueprint::new(&config, &Registry::default()).unwrap();
        let of = |jump: Jump| {
            let column = Column { jump: Some(jump), ..Column::new("a", 0.0, 1.0) };
            let weights = blueprint().layout.initialise(1);
            Forecaster::new(blueprint(), vec![column], Covariates::default(), weights, None, vec![1.0; 2])
                .err()
                .map(|error| error.to_string())
        };
        assert!(of(Jump { scale: 0.1, limit: 8.0 }).unwrap().contains("jumps: expected a linear expert"));
        assert!(of(Jump { scale: 0.1, limit: f64::NAN }).unwrap().contains("column `a` jump: expected finite numbers above 0"));
    }
}
