//! What a stamp says by itself: covariates that are known for ever.

use crate::{Covariate, DataError, stamps};
use serde::{Deserialize, Serialize};
use std::f64::consts::TAU;

/// A quantity of the calendar.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CalendarFeature {
    /// Seconds of the day, as a sine and a cosine.
    HourOfDay,
    /// Days since Monday, as a sine and a cosine.
    DayOfWeek,
    /// Days since the first of January, as a sine and a cosine; 366 make the circle in leap years.
    DayOfYear,
    /// 1 on Saturday and Sunday, else 0.
    Weekend,
}

/// Covariates of the calendar, known and shared by all series: `hour-of-day-sin`, `hour-of-day-cos`, …, `weekend`.
///
/// # Errors
/// A stamp that is not a date or a date and time, where a feature is asked for; integers have no calendar.
pub fn calendar(stamps: &[String], features: &[CalendarFeature]) -> Result<Vec<Covariate>, DataError> {
    if features.is_empty() {
        return Ok(Vec::new());
    }
    let civil = |(row, stamp): (usize, &String)| {
        let time = stamps::parse(stamp).filter(|time| time.form != stamps::Form::Integer);
        time.and_then(|time| stamps::civil(time.ticks))
            .ok_or_else(|| DataError::Calendar { number: row + 1, found: stamp.clone() })
    };
    let times = stamps.iter().enumerate().map(civil).collect::<Result<Vec<_>, _>>()?;
    let covariate = |name: &str, value: &dyn Fn(usize) -> f64| Covariate {
        name: name.into(),
        known: true,
        values: vec![(0..times.len()).map(value).collect()],
    };
    let circle = |name: &str, share: &dyn Fn(usize) -> f64| {
        vec![
            covariate(&format!("{name}-sin"), &|row| (TAU * share(row)).sin()),
            covariate(&format!("{name}-cos"), &|row| (TAU * share(row)).cos()),
        ]
    };
    let weekday = |row: usize| f64::from(times[row].weekday().to_monday_zero_offset());
    let second = |row: usize| {
        let time = times[row];
        (f64::from(time.hour()) * 60.0 + f64::from(time.minute())) * 60.0 + f64::from(time.second())
    };
    Ok(features
        .iter()
        .flat_map(|feature| match feature {
            CalendarFeature::HourOfDay => circle("hour-of-day", &|row| second(row) / 86_400.0),
            CalendarFeature::DayOfWeek => circle("day-of-week", &|row| weekday(row) / 7.0),
            CalendarFeature::DayOfYear => {
                circle("day-of-year", &|row| f64::from(times[row].day_of_year() - 1) / f64::from(times[row].days_in_year()))
            }
            CalendarFeature::Weekend => vec![covariate("weekend", &|row| f64::from(u8::from(weekday(row) >= 5.0)))],
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sines and cosines of multiples of a quarter turn, in f64.
    const EXACT: f64 = 1e-12;

    fn check(feature: CalendarFeature, stamps: &[&str], expected: &[(&str, &[f64])]) {
        let stamps: Vec<String> = stamps.iter().map(|stamp| stamp.to_string()).collect();
        let covariates = calendar(&stamps, &[feature]).expect("dates");
        assert_eq!(covariates.len(), expected.len());
        for (covariate, (name, values)) in covariates.iter().zip(expected) {
            assert!(covariate.known && covariate.name == *name && covariate.values.len() == 1, "{covariate:?}");
            assert_eq!(covariate.values[0].len(), values.len());
            let near = covariate.values[0].iter().zip(*values).all(|(value, expected)| (value - expected).abs() < EXACT);
            assert!(near, "{name}: {:?}", covariate.values);
        }
    }

    #[test]
    fn features_are_turns_of_their_circle() {
        let day = ["2024-01-01", "2024-01-01 06:00:00", "2024-01-01T18:00:00"];
        check(CalendarFeature::HourOfDay, &day, &[("hour-of-day-sin", &[0.0, 1.0, -1.0]), ("hour-of-day-cos", &[1.0, 0.0, 0.0])]);
        let week = (TAU / 7.0).sin_cos();
        check(
            CalendarFeature::DayOfWeek,
            &["2024-01-01", "2024-01-02", "2024-01-08"],
            &[("day-of-week-sin", &[0.0, week.0, 0.0]), ("day-of-week-cos", &[1.0, week.1, 1.0])],
        );
        // The 184th day of a leap year begins its second half.
        check(
            CalendarFeature::DayOfYear,
            &["2024-01-01", "2024-07-02"],
            &[("day-of-year-sin", &[0.0, 0.0]), ("day-of-year-cos", &[1.0, -1.0])],
        );
        check(
            CalendarFeature::Weekend,
            &["2024-01-05", "2024-01-06", "2024-01-07", "2024-01-08"],
            &[("weekend", &[0.0, 1.0, 1.0, 0.0])],
        );
    }

    #[test]
    fn integers_have_no_calendar() {
        let error = calendar(&["2024-01-01".into(), "7".into()], &[CalendarFeature::Weekend]).expect_err("integer").to_string();
        assert!(calendar(&["7".into()], &[]).expect("nothing asked for").is_empty());
        assert_eq!(error, "calendar: expected a date or a date and time, found `7` as stamp 2");
        assert_eq!(
            toml::from_str::<std::collections::BTreeMap<String, Vec<CalendarFeature>>>("a = [\"hour-of-day\", \"weekend\"]")
                .expect("parses")["a"],
            [CalendarFeature::HourOfDay, CalendarFeature::Weekend]
        );
    }
}
