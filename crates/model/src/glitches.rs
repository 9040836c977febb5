//! Samples of a stream that are no measurements: the 9999 of a sensor that is disconnected, a bit that flipped.
//!
//! A column's limits come from the file it was trained on, far outside of what is usual there ([`Column::limits`](crate::Column)). A stream cannot look ahead, as a file's
//! reader can: what lies beyond them is a glitch, unless it is the third value in a row that does, each near the one before (within a quarter of the limits' width). That is
//! a level the column has gone to. The same number again and again is one value, since a broken sensor repeats itself, until it is all that the model looks back on: then
//! nothing else is known of the column.

use crate::{Bounds, Forecaster, ModelError};
use serde::{Deserialize, Serialize};

/// So many values in a row beyond the limits, each near the one before, are a level. A pair of glitches is none.
const LEVEL: u8 = 3;
/// What is nearer than this part of the limits' width is near.
const NEAR: f64 = 0.25;

/// Tells glitches from the samples of a stream.
///
/// ```
/// use foretoken_model::{Bounds, Glitches};
///
/// let mut glitches = Glitches::new(vec![Bounds { lowest: Some(-40.0), highest: Some(80.0) }], 512);
/// let mut sample = [9999.0];
/// assert_eq!(glitches.mask(&mut sample), 1);
/// // Missing, for `Predictor::advance` of a stream that may lack samples.
/// assert!(sample[0].is_nan());
/// ```
#[derive(Clone, Debug)]
pub struct Glitches {
    limits: Vec<Bounds>,
    lookback: u64,
    beyond: Vec<Beyond>,
}

/// What lay beyond a column's limits until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Beyond {
    /// Values in a row near one another, 3 at most; 0 within the limits.
    values: u8,
    /// The newest of them, and how often it came.
    last: f64,
    times: u64,
}

impl Glitches {
    /// Those of a stream that begins, with the limits of each of its values, for a model that looks back on so many samples.
    pub fn new(limits: Vec<Bounds>, lookback: usize) -> Self {
        Self { beyond: vec![Beyond::default(); limits.len()], limits, lookback: lookback as u64 }
    }

    /// Those of a model's columns, and of the covariates that are observed with them.
    pub fn of(forecaster: &Forecaster) -> Self {
        let limits = forecaster.columns().iter().chain(&forecaster.covariates().past).map(|column| column.limits);
        Self::new(limits.collect(), forecaster.blueprint().lookback())
    }

    /// Whether any column has limits.
    pub fn has_limits(&self) -> bool {
        self.limits.iter().any(|limits| !limits.is_empty())
    }

    /// The limits, one a value.
    pub fn limits(&self) -> &[Bounds] {
        &self.limits
    }

    /// Makes the glitches of the next sample NaN, and says how many: values in the data's unit, a model's columns first, then its past covariates. NaN stays, and counts
    /// as no value.
    ///
    /// # Panics
    /// Another number of values than of limits.
    pub fn mask(&mut self, values: &mut [f64]) -> usize {
        assert_eq!(values.len(), self.limits.len(), "as many values as limits");
        let mut masked = 0;
        for ((value, limits), beyond) in values.iter_mut().zip(&self.limits).zip(&mut self.beyond) {
            if value.is_nan() {
                continue;
            }
            if limits.hold(*value) {
                *beyond = Beyond::default();
                continue;
            }
            let width = limits.highest.unwrap_or(f64::INFINITY) - limits.lowest.unwrap_or(f64::NEG_INFINITY);
            let is_near = beyond.values > 0 && (*value - beyond.last).abs() <= NEAR * width;
            *beyond = match beyond {
                Beyond { values: 1.., last, .. } if last == value => Beyond { times: beyond.times.saturating_add(1), ..*beyond },
                _ => Beyond { values: if is_near { (beyond.values + 1).min(LEVEL) } else { 1 }, last: *value, times: 1 },
            };
            if beyond.times > self.lookback {
                beyond.values = LEVEL;
            }
            if beyond.values < LEVEL {
                *value = f64::NAN;
                masked += 1;
            }
        }
        masked
    }

    /// What it has to remember, for a snapshot.
    pub fn state(&self) -> &[Beyond] {
        &self.beyond
    }

    /// Goes on where `state` was taken.
    ///
    /// # Errors
    /// The state of other columns, or one that is none; everything is as before.
    pub fn restore(&mut self, state: &[Beyond]) -> Result<(), ModelError> {
        ModelError::unless_as_many("glitches", self.beyond.len(), state.len())?;
        if let Some(found) = state.iter().find(|beyond| beyond.values > LEVEL || !beyond.last.is_finite()) {
            return Err(ModelError::config("glitches", "at most 3 values, the newest finite", format!("{found:?}")));
        }
        self.beyond.copy_from_slice(state);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> Glitches {
        Glitches::new(vec![Bounds { lowest: Some(-1.0), highest: Some(1.0) }], 40)
    }

    /// What becomes of samples that come one after the other.
    fn masked(values: &[f64]) -> Vec<bool> {
        let mut glitches = fresh();
        values.iter().map(|value| glitches.mask(&mut [*value]) == 1).collect()
    }

    #[test]
    fn a_third_value_beyond_the_limits_is_a_level() {
        const NAN: f64 = f64::NAN;
        assert_eq!(masked(&[-1.0, 1.0, 1.5, 0.0, -3.0, -3.25, 0.5]), [false, false, true, false, true, true, false]);
        assert_eq!(masked(&[5.0, 5.1, 5.2, 5.2, 0.0, 5.0]), [true, true, false, false, false, true]);
        // One number is one value, and what is missing is none.
        assert_eq!(masked(&[9.0, 9.0, NAN, 9.0, 8.75, NAN, 8.5]), [true, true, false, true, true, false, false]);
        let constant = masked(&[[9.0; 45].as_slice(), &[9.25, 9.0, 0.0, 9.0]].concat());
        assert_eq!(constant, [[true; 40].as_slice(), &[false; 8], &[true]].concat());
        // What jumps about is no level.
        assert_eq!(masked(&[9.0, -9.0, 9.0, -9.0, 9.0, 9.25, 9.75]), [true, true, true, true, true, true, false]);
        assert_eq!(masked(&[0.0, NAN]), [false, false]);
        assert_eq!(Glitches::new(vec![Bounds::default()], 40).mask(&mut [1e300]), 0);
    }

    #[test]
    fn a_state_goes_on_where_it_was_taken() {
        let (mut whole, mut stopped) = (fresh(), fresh());
        for value in [3.0, 3.5] {
            assert_eq!((whole.mask(&mut [value]), stopped.mask(&mut [value])), (1, 1));
        }
        let text = serde_json::to_string(stopped.state()).unwrap();
        let mut second = fresh();
        second.restore(&serde_json::from_str::<Vec<Beyond>>(&text).unwrap()).unwrap();
        assert_eq!((whole.mask(&mut [4.0]), second.mask(&mut [4.0]), fresh().mask(&mut [4.0])), (0, 0, 1));
        assert_eq!(whole.state(), second.state());
        for bad in [&[][..], &[Beyond { values: 4, last: 0.0, times: 1 }], &[Beyond { values: 1, last: f64::NAN, times: 1 }]] {
            assert!(second.restore(bad).is_err(), "{bad:?}");
        }
        assert_eq!(whole.state(), second.state());
    }
}
