//! Dates with the year last, as `10/3/2016 0:00` or `03.10.2016`: which number is the day the other dates of a file tell, or it is told. With points it is the
//! first.

use crate::{
    DataError, stamps,
    table::{self, Field, Table},
};
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, path::Path};

/// Days of the longest month that may be months.
const MONTHS: u32 = 12;

/// Which number of dates with the year last is the first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateOrder {
    /// `31/12/2016`.
    DayFirst,
    /// `12/31/2016`.
    MonthFirst,
}

impl DateOrder {
    /// A stamp with the year last as one with the year first, `2016-12-31 13:05:00`; any other text as it is.
    ///
    /// ```
    /// use foretoken_data::DateOrder::{DayFirst, MonthFirst};
    /// assert_eq!(MonthFirst.year_first("3/10/2016 1:05 PM"), "2016-03-10 13:05");
    /// assert_eq!(DayFirst.year_first("3.10.2016"), "2016-10-03");
    /// assert_eq!(DayFirst.year_first("2016-03-10"), "2016-03-10");
    /// ```
    pub fn year_first(self, stamp: &str) -> Cow<'_, str> {
        let Some(Parts { numbers: [first, second], year, time, .. }) = Parts::of(stamp) else { return stamp.into() };
        let (day, month) = match self {
            Self::DayFirst => (first, second),
            Self::MonthFirst => (second, first),
        };
        let date = format!("{year}-{month:02}-{day:02}");
        match clock(time) {
            Some(time) => format!("{date}{time}").into(),
            None => stamp.into(),
        }
    }
}

/// A stamp with the year last.
struct Parts<'a> {
    numbers: [u32; 2],
    /// What stands between them.
    sign: &'a str,
    year: &'a str,
    /// What stands behind the date.
    time: &'a str,
}

impl<'a> Parts<'a> {
    fn of(stamp: &'a str) -> Option<Self> {
        let stamp = stamp.trim();
        let (date, time) = stamp.split_at(stamp.find([' ', 'T', 't']).unwrap_or(stamp.len()));
        let sign = date.find(['/', '.', '-']).map(|at| &date[at..=at])?;
        let mut numbers = date.split(sign);
        let (first, second, year) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_date = digits(first, 2) && digits(second, 2) && year.len() == 4 && digits(year, 4) && numbers.next().is_none();
        let numbers = [first.parse().ok()?, second.parse().ok()?];
        is_date.then_some(Self { numbers, sign, year, time })
    }

    /// The order, where one of the numbers is no month, or points are between them; none where both may be one.
    fn order(&self) -> Option<DateOrder> {
        match self.numbers.map(|number| number > MONTHS) {
            [false, false] if self.sign == "." => Some(DateOrder::DayFirst),
            [true, false] => Some(DateOrder::DayFirst),
            [false, true] => Some(DateOrder::MonthFirst),
            _ => None,
        }
    }
}

/// A time behind a date, of 24 hours and padded; none where it is no such time.
fn clock(text: &str) -> Option<String> {
    let Some(sign) = text.chars().next() else { return Some(String::new()) };
    let time = text[sign.len_utf8()..].trim().to_ascii_lowercase();
    let half = ["am", "pm"].into_iter().find(|half| time.ends_with(half));
    let time = half.map_or(&*time, |half| time.trim_end_matches(half).trim_end());
    let (hour, behind) = time.split_at(time.find(':').unwrap_or(time.len()));
    let number: u32 = hour.parse().ok().filter(|_| hour.len() <= 2)?;
    let number = match half {
        None => number,
        Some(_) if !(1..=12).contains(&number) => return None,
        Some(half) => number % 12 + if half == "pm" { 12 } else { 0 },
    };
    Some(format!("{sign}{number:02}{}", if behind.is_empty() { ":00" } else { behind }))
}

/// Whether a text is a stamp, the year first or last.
pub(crate) fn is_stamp(text: &str) -> bool {
    let orders = [DateOrder::DayFirst, DateOrder::MonthFirst];
    orders.iter().any(|order| stamps::parse(&order.year_first(text)).is_some())
}

/// The order of dates in a file's column of stamps, if its first has the year last: as it is told, or as one of them tells.
///
/// # Errors
/// Dates of which none tells, or of both orders.
pub(crate) fn order(path: &Path, table: &Table, column: usize, told: Option<DateOrder>) -> Result<Option<DateOrder>, DataError> {
    let mut rows = table.rows(&[column])?;
    let (mut found, mut first): (Option<DateOrder>, Option<u64>) = (told, None);
    while let Some(line) = rows.advance()? {
        let Field::Text(text) = rows.field(column) else { return Ok(None) };
        let Some(parts) = Parts::of(text) else {
            match first {
                None => return Ok(None),
                // What is no such date is found where stamps are read.
                Some(_) => continue,
            }
        };
        first = first.or(Some(line));
        match (found, parts.order()) {
            (None, order) => found = order,
            (Some(found), Some(order)) if found != order => {
                let expected = match found {
                    DateOrder::DayFirst => "a date with the day first, as the others have it",
                    DateOrder::MonthFirst => "a date with the month first, as the others have it",
                };
                return Err(table.header().field(line, column, expected, Field::Text(text)));
            }
            _ => {}
        }
    }
    match (first, found) {
        (Some(line), None) => {
            let expected =
                "dates with the year first, or a day above 12 that tells which number is the month, or `dates` that says so";
            Err(table::fault(path, expected, format!("none, from line {line} on")))
        }
        (None, _) => Ok(None),
        (_, found) => Ok(found),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_with_the_year_last_are_turned_round() {
        for (stamp, day_first, month_first) in [
            ("3/10/2016", "2016-10-03", "2016-03-10"),
            ("03.10.2016 7:05", "2016-10-03 07:05", "2016-03-10 07:05"),
            ("03-10-2016T07:05:09.25", "2016-10-03T07:05:09.25", "2016-03-10T07:05:09.25"),
            ("3/10/2016 12:00:00 AM", "2016-10-03 00:00:00", "2016-03-10 00:00:00"),
            ("3/10/2016 12:30 pm", "2016-10-03 12:30", "2016-03-10 12:30"),
            ("3/10/2016 11PM", "2016-10-03 23:00", "2016-03-10 23:00"),
            (" 3/10/2016 ", "2016-10-03", "2016-03-10"),
        ] {
            assert_eq!(DateOrder::DayFirst.year_first(stamp), day_first, "{stamp}");
            assert_eq!(DateOrder::MonthFirst.year_first(stamp), month_first, "{stamp}");
            assert!(crate::is_stamp(day_first), "{day_first}");
        }
        // Neither are these, nor is an hour that no half of a day has.
        for stamp in [
            "2016-03-10",
            "2016/3/10 0:00",
            "3/10/16",
            "3/10",
            "3/10-2016",
            "3/10/2016/1",
            "a/b/2016",
            "noon",
            "",
            "7",
            "3/10/2016 13:00 PM",
            "3/10/2016 0 am",
            "3/10/2016 é",
        ] {
            assert_eq!(DateOrder::DayFirst.year_first(stamp), stamp);
        }
    }
}
