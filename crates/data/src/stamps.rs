//! Time stamps: integers, dates and civil date-times, kept in the form they came in.

use jiff::civil::{Date, DateTime};

/// What a stamp must be.
pub(crate) const STAMP: &str = "a date, a date and time, or an integer";
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A stamp's time: seconds since 1970 of a civil time, or the integer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Time {
    /// Seconds, or counts.
    pub ticks: i64,
    /// Whether `ticks` is all of it: no fraction of a second was cut off.
    pub whole: bool,
    /// How it was written.
    pub form: Form,
}

/// How a stamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `7`.
    Integer,
    /// `2016-07-01`.
    Date,
    /// `2016-07-01 00:10:00`.
    Spaced,
    /// `2016-07-01T00:10:00`.
    Iso,
    /// `2016-07-01T00:10:00Z`.
    Utc,
}

/// Reads a stamp; `None` if it is none of the forms.
pub fn parse(stamp: &str) -> Option<Time> {
    if let Ok(ticks) = stamp.parse::<i64>() {
        return Some(Time { ticks, whole: true, form: Form::Integer });
    }
    let (civil, utc) = match stamp.strip_suffix('Z') {
        Some(civil) => (civil, true),
        None => (stamp, false),
    };
    let form = match civil.as_bytes().get(10) {
        None if utc => return None,
        None => Form::Date,
        Some(b' ') if !utc => Form::Spaced,
        Some(_) if utc => Form::Utc,
        Some(_) => Form::Iso,
    };
    let time: DateTime = civil.parse().ok()?;
    let since = time.duration_since(EPOCH);
    Some(Time { ticks: since.as_secs(), whole: since.subsec_nanos() == 0, form })
}

/// The civil time at some seconds since 1970.
pub fn civil(ticks: i64) -> Option<DateTime> {
    EPOCH.checked_add(jiff::SignedDuration::from_secs(ticks)).ok()
}

/// Months since the year 0.
pub fn month(time: DateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month()) - 1
}

/// Seconds since 1970 in a month since the year 0, on a day of it (its last, if it is shorter), at a second of the day.
pub fn ticks_in_month(month: i64, day: i8, second: i64) -> Option<i64> {
    let first = Date::new(month.div_euclid(12).try_into().ok()?, (month.rem_euclid(12) + 1) as i8, 1).ok()?;
    let days = i64::from(day.min(first.days_in_month())) - 1;
    Some(first.to_datetime(jiff::civil::Time::midnight()).duration_since(EPOCH).as_secs() + days * 86_400 + second)
}

/// A stamp in a form; `None` beyond the year 9999.
pub fn write(ticks: i64, form: Form) -> Option<String> {
    if form == Form::Integer {
        return Some(ticks.to_string());
    }
    let time = civil(ticks)?;
    Some(match form {
        Form::Date => time.strftime("%Y-%m-%d").to_string(),
        Form::Iso => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Form::Utc => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Form::Spaced | Form::Integer => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
    })
}

/// The `count` stamps after `stamps`, at their median step and in their form; `+1`, `+2`, … where that cannot be told.
pub fn next_stamps(stamps: &[String], count: usize) -> Vec<String> {
    let known: Option<Vec<Time>> = stamps.iter().rev().take(64).map(|stamp| parse(stamp)).collect();
    let next = known.filter(|known| known.len() >= 2).and_then(|known| {
        let mut steps: Vec<i64> = known.windows(2).map(|pair| pair[0].ticks - pair[1].ticks).collect();
        steps.sort_unstable();
        let step = steps[steps.len() / 2];
        (1..=count as i64).map(|ahead| write(known[0].ticks.checked_add(step.checked_mul(ahead)?)?, known[0].form)).collect()
    });
    next.unwrap_or_else(|| (1..=count).map(|ahead| format!("+{ahead}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stamps: [&str; 2], expected: [&str; 2]) {
        assert_eq!(next_stamps(&stamps.map(String::from), 2), expected);
    }

    #[test]
    fn stamps_go_on_in_their_form() {
        check(["2016-12-31 22:00:00", "2016-12-31 23:00:00"], ["2017-01-01 00:00:00", "2017-01-01 01:00:00"]);
        check(["2016-02-27", "2016-02-28"], ["2016-02-29", "2016-03-01"]);
        check(["2016-02-28T23:40:00", "2016-02-28T23:50:00"], ["2016-02-29T00:00:00", "2016-02-29T00:10:00"]);
        check(["2016-02-28T23:40:00Z", "2016-02-28T23:50:00Z"], ["2016-02-29T00:00:00Z", "2016-02-29T00:10:00Z"]);
        check(["7", "9"], ["11", "13"]);
        check(["monday", "tuesday"], ["+1", "+2"]);
    }
}
