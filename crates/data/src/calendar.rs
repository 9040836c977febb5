//! What a stamp says by itself: covariates that are known for ever.

use crate::{Covariate, DataError, Stamps, Values, outliers::EVERYTHING};
use jiff::civil::DateTime;
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

/// Covariates of the calendar of some stamps and so many rows after them, known and shared by all series, `mapped` or in memory: `hour-of-day-sin`, `hour-of-day-cos`, …, `weekend`.
/// Stamps with an offset have the calendar of UTC, but for those that are whole local days apart, or of hours of the local week, which have that of their clock.
///
/// # Errors
/// A stamp that is not a date or a date and time, where a feature is asked for; integers have no calendar, but for those that are dates: `20240131`.
pub fn calendar(stamps: &Stamps, ahead: usize, features: &[CalendarFeature], mapped: bool) -> Result<Vec<Covariate>, DataError> {
    if features.is_empty() {
        return Ok(Vec::new());
    }
    let (len, civil) = (stamps.len(), stamps.civil());
    if let Some(row) = (0..len + ahead).find(|&row| civil(row).is_none()) {
        let found = if row < len { stamps.at(row) } else { stamps.after(len, row - len + 1).pop().unwrap_or_default() };
        return Err(DataError::Calendar { number: row + 1, found });
    }
    let mut covariates = Vec::new();
    let mut covariate = |name: String, value: &dyn Fn(DateTime) -> f64| {
        let fill = |_, values: &mut [f64]| {
            values.iter_mut().enumerate().for_each(|(row, to)| *to = civil(row).map_or(f64::NAN, value));
        };
        let values = Values::table(1, len + ahead, mapped, fill)?;
        covariates.push(Covariate { name, known: true, values, limits: EVERYTHING });
        Ok::<_, DataError>(())
    };
    let weekday = |time: DateTime| f64::from(time.weekday().to_monday_zero_offset());
    let second = |time: DateTime| {
        let whole = (f64::from(time.hour()) * 60.0 + f64::from(time.minute())) * 60.0 + f64::from(time.second());
        whole + f64::from(time.subsec_nanosecond()) / 1e9
    };
    for feature in features {
        let (name, share): (&str, &dyn Fn(DateTime) -> f64) = match feature {
            CalendarFeature::HourOfDay => ("hour-of-day", &|time| second(time) / 86_400.0),
            CalendarFeature::DayOfWeek => ("day-of-week", &|time| weekday(time) / 7.0),
            CalendarFeature::DayOfYear => {
                ("day-of-year", &|time| f64::from(time.day_of_year() - 1) / f64::from(time.days_in_year()))
            }
            CalendarFeature::Weekend => {
                covariate("weekend".into(), &|time| f64::from(u8::from(weekday(time) >= 5.0)))?;
                continue;
            }
        };
        covariate(format!("{name}-sin"), &|time| (TAU * share(time)).sin())?;
        covariate(format!("{name}-cos"), &|time| (TAU * share(time)).cos())?;
    }
    Ok(covariates)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sines and cosines of multiples of a quarter turn, in f64.
    const EXACT: f64 = 1e-12;

    fn check(feature: CalendarFeature, stamps: &[&str], expected: &[(&str, &[f64])]) {
        let stamps: Vec<String> = stamps.iter().map(|stamp| stamp.to_string()).collect();
        let covariates = calendar(&stamps.into(), 0, &[feature], false).expect("dates");
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
    fn months_go_on_by_the_calendar() {
        let stamps: Vec<String> = ["2023-05-01", "2023-06-01"].map(String::from).into();
        let covariates = calendar(&stamps.into(), 1, &[CalendarFeature::Weekend], false).expect("dates");
        // The first of July is a Saturday.
        assert_eq!(covariates[0].values[0][..], [0.0, 0.0, 1.0]);
    }

    #[test]
    fn integers_have_no_calendar() {
        let error = calendar(&vec!["2024-01-01".into(), "7".into()].into(), 0, &[CalendarFeature::Weekend], false)
            .expect_err("integer")
            .to_string();
        assert!(calendar(&vec!["7".into()].into(), 0, &[], false).expect("nothing asked for").is_empty());
        assert_eq!(error, "calendar: expected a date or a date and time, found `7` as stamp 2");
        // But for those that are dates, as what is known ahead may be a few days.
        check(CalendarFeature::Weekend, &["20240105", "20240106"], &[("weekend", &[0.0, 1.0])]);
        assert_eq!(
            toml::from_str::<std::collections::BTreeMap<String, Vec<CalendarFeature>>>("a = [\"hour-of-day\", \"weekend\"]")
                .expect("parses")["a"],
            [CalendarFeature::HourOfDay, CalendarFeature::Weekend]
        );
    }
}
