//! A forecast as a line of a stream: its points alone, or all of it as JSON.

use crate::command::forecast::Number;
use foretoken_model::{Forecast, Forecaster};
use serde::{Serialize, Serializer};
use std::fmt::Write as _;

/// The points of every column, `steps` of each, between commas.
pub fn points(forecaster: &Forecaster, forecast: &Forecast, steps: usize, line: &mut String) {
    line.clear();
    for points in forecast.point.chunks_exact(forecaster.config().horizon) {
        for &point in &points[..steps] {
            let comma = if line.is_empty() { "" } else { "," };
            write!(line, "{comma}{}", Number(point)).expect("writing to a string");
        }
    }
    line.push('\n');
}

/// A forecast after a sample, as JSON.
#[derive(Serialize)]
pub struct Said<'a> {
    /// The sample's line, and its stamp if it has one.
    pub line: u64,
    pub ds: Option<&'a str>,
    pub columns: Columns<'a>,
}

/// What is said of the next `steps` of every column, by its name.
pub struct Columns<'a> {
    pub forecaster: &'a Forecaster,
    pub forecast: &'a Forecast,
    pub steps: usize,
    /// Its columns whose sample was a glitch.
    pub glitches: &'a [bool],
}

impl Serialize for Columns<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.forecaster.columns().iter().enumerate().map(|(index, column)| (&column.name, self.of(index))))
    }
}

impl<'a> Columns<'a> {
    fn of(&self, index: usize) -> OfColumn<'a> {
        let (config, forecast) = (self.forecaster.config(), self.forecast);
        let place = index * config.horizon;
        let steps = |values: &'a [f64]| &values[place..][..self.steps];
        OfColumn {
            point: steps(&forecast.point),
            quantiles: Quantiles {
                levels: &config.quantiles,
                values: &forecast.quantiles[place * config.quantiles.len()..][..self.steps * config.quantiles.len()],
            },
            within: steps(&forecast.within),
            between: steps(&forecast.between),
            missing: forecast.missing[index],
            glitch: self.glitches[index],
        }
    }
}

#[derive(Serialize)]
struct OfColumn<'a> {
    point: &'a [f64],
    quantiles: Quantiles<'a>,
    within: &'a [f64],
    between: &'a [f64],
    missing: f64,
    glitch: bool,
}

/// Quantiles `[step][level]`, told by their levels.
struct Quantiles<'a> {
    levels: &'a [f64],
    values: &'a [f64],
}

impl Serialize for Quantiles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |level: usize| self.values.iter().skip(level).step_by(self.levels.len()).copied().collect::<Vec<_>>();
        serializer.collect_map(self.levels.iter().enumerate().map(|(place, level)| (level.to_string(), of(place))))
    }
}
