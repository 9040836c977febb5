//! Dates with the year last, as `10/3/2016 0:00` or `03.10.2016`, or of two digits, as `10/3/16` or `16/03/10`: which number is the day the other dates of a file tell, or it is
//! told. With points it is the first, but where that is the year.

use crate::{
    DataError, grid, stamps,
    table::{self, Field, Table},
};
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use std::{borrow::Cow, path::Path};

/// A number above it is no month.
const MONTHS: i16 = 12;

/// Two digits from here on are of a year of the last century.
const LAST_CENTURY: i16 = 69;

/// Which number of dates is the first that have the year last, or of two digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DateOrder {
    /// `31/12/2016`.
    DayFirst,
    /// `12/31/2016`.
    MonthFirst,
    /// `16/12/31`.
    YearFirst,
}

/// All of them.
const ORDERS: [DateOrder; 3] = [DateOrder::DayFirst, DateOrder::MonthFirst, DateOrder::YearFirst];

impl DateOrder {
    /// A stamp with the year last, or of two digits, as one with the year first, `2016-12-31 13:05:00`; any other text as it is.
    ///
    /// ```
    /// use foretoken_data::DateOrder::{DayFirst, MonthFirst, YearFirst};
    /// assert_eq!(MonthFirst.year_first("3/10/2016 1:05 PM"), "2016-03-10 13:05");
    /// assert_eq!(DayFirst.year_first("3.10.16"), "2016-10-03");
    /// assert_eq!(YearFirst.year_first("16/3/10"), "2016-03-10");
    /// assert_eq!(DayFirst.year_first("2016-03-10"), "2016-03-10");
    /// ```
    pub fn year_first(self, stamp: &str) -> Cow<'_, str> {
        let turned = Parts::of(stamp).and_then(|parts| {
            let date = parts.date(self)?;
            Some(format!("{:04}-{:02}-{:02}{}", date.year(), date.month(), date.day(), clock(parts.time)?))
        });
        turned.map_or(stamp.into(), Cow::Owned)
    }
}

/// The year that two digits are of.
fn of_century(year: i16) -> i16 {
    if year < LAST_CENTURY { 2000 + year } else { 1900 + year }
}

/// A stamp with the year last, or of two digits.
struct Parts<'a> {
    numbers: [i16; 3],
    /// Whether the year has two digits.
    is_short: bool,
    /// What stands between them.
    sign: &'a str,
    /// What stands behind the date.
    time: &'a str,
}

impl<'a> Parts<'a> {
    fn of(stamp: &'a str) -> Option<Self> {
        let stamp = stamp.trim();
        let (date, time) = stamp.split_at(stamp.find([' ', 'T', 't']).unwrap_or(stamp.len()));
        let date = date.strip_suffix(',').filter(|_| !time.is_empty()).unwrap_or(date);
        let sign = date.find(['/', '.', '-']).map(|at| &date[at..=at])?;
        let mut numbers = date.split(sign);
        let (first, second, last) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let digits = |text: &str, most: usize| (1..=most).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        let is_date = digits(first, 2) && digits(second, 2) && digits(last, 4) && numbers.next().is_none();
        let numbers = [first.parse().ok()?, second.parse().ok()?, last.parse().ok()?];
        let is_short = last.len() == 2;
        (is_date && (is_short || last.len() == 4)).then_some(Self { numbers, is_short, sign, time })
    }

    /// The date, where it is one; with points the month is the second.
    fn date(&self, order: DateOrder) -> Option<Date> {
        let [first, second, last] = self.numbers;
        let (year, month, day) = match order {
            DateOrder::YearFirst if self.is_short => (first, second, last),
            DateOrder::YearFirst => return None,
            DateOrder::MonthFirst if !self.has_points() => (last, first, second),
            DateOrder::DayFirst | DateOrder::MonthFirst => (last, second, first),
        };
        let year = if self.is_short { of_century(year) } else { year };
        Date::new(year, month.try_into().ok()?, day.try_into().ok()?).ok()
    }

    fn has_points(&self) -> bool {
        self.sign == "."
    }

    /// The order with the year last, where one of the numbers is no month; none where both may be one.
    fn order(&self) -> Option<DateOrder> {
        let [first, second, _] = self.numbers.map(|number| number > MONTHS);
        match [first, second] {
            _ if self.has_points() => None,
            [true, false] => Some(DateOrder::DayFirst),
            [false, true] => Some(DateOrder::MonthFirst),
            _ => None,
        }
    }
}

/// A time behind a date, of 24 hours and padded; none where it is no such time.
fn clock(text: &str) -> Option<String> {
    let Some(sign) = text.chars().next() else { return Some(String::new()) };
    let time = text[sign.len_utf8()..].trim();
    let halves = time.len().checked_sub(2).and_then(|at| time.split_at_checked(at));
    let half =
        |name: &str| halves.filter(|(_, half)| half.eq_ignore_ascii_case(name)).map(|(time, _)| (time.trim_end(), name == "pm"));
    let (time, half) = half("am").or_else(|| half("pm")).map_or((time, None), |(time, is_after)| (time, Some(is_after)));
    let (hour, behind) = time.split_at(time.find(':').unwrap_or(time.len()));
    let number: u32 = hour.parse().ok().filter(|_| hour.len() <= 2 && hour.bytes().all(|byte| byte.is_ascii_digit()))?;
    let number = match half {
        None => number,
        Some(_) if !(1..=12).contains(&number) => return None,
        Some(is_after) => number % 12 + if is_after { 12 } else { 0 },
    };
    Some(format!("{sign}{number:02}{}", if behind.is_empty() { ":00" } else { behind }))
}

/// A stamp with a day of a month by its name, `2 Jan 2024`, `02-Jan-24`, `Tue, 02-Jan-2024 13:05` or `January 2, 2024`, with half a day, `2024-01-02 1:05 PM`, or with a zone
/// behind a space, `2024-01-02 13:05:00 UTC`, as those are that say the same in numbers; none where it is neither.
pub(crate) fn respelled(stamp: &str) -> Option<String> {
    let stamp = stamp.trim();
    let (date, rest) = named_date(stamp).or_else(|| {
        let (date, rest) = stamp.split_at(stamp.find([' ', 'T'])?);
        date.starts_with(|first: char| first.is_ascii_digit()).then(|| (date.to_string(), rest))
    })?;
    let rest = rest.trim_start_matches([',', ' ', ':', 'T']);
    if rest.is_empty() {
        return (date != stamp).then_some(date);
    }
    let (time, zone) = match rest.rsplit_once(' ') {
        Some((time, zone)) if !zone.starts_with(|first: char| "apAP".contains(first)) => (time, offset(zone)?),
        _ => (rest, String::new()),
    };
    let text = format!("{date}{}{zone}", clock(&format!(" {}", time.trim_end()))?);
    (text != stamp).then_some(text)
}

/// An offset from UTC as it stands behind a time, of one that stands alone.
fn offset(zone: &str) -> Option<String> {
    if ["UTC", "GMT", "Z"].contains(&zone) {
        return Some("+00:00".into());
    }
    let (sign, digits) = (zone.chars().next().filter(|sign| "+-".contains(*sign))?, zone[1..].replace(':', ""));
    let digits = if digits.len() == 2 { digits + "00" } else { digits };
    (digits.len() == 4 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| format!("{sign}{}:{}", &digits[..2], &digits[2..]))
}

/// The date at the beginning of a stamp that has a day of a month by its name, and what is behind it.
fn named_date(stamp: &str) -> Option<(String, &str)> {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let between = [' ', '-', '/', ',', '.'];
    let (mut words, mut rest) = (Vec::new(), stamp);
    while words.len() < 3 {
        let (word, behind) = rest.split_at(rest.find(|sign: char| !sign.is_ascii_alphanumeric()).unwrap_or(rest.len()));
        let is_day = words.is_empty() && DAYS.iter().any(|day| word.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(day)));
        if word.is_empty() {
            return None;
        }
        if !is_day {
            words.push(word);
        }
        rest = if words.len() < 3 { behind.trim_start_matches(between) } else { behind };
    }
    let digits = |word: &str, least: usize, most: usize| {
        ((least..=most).contains(&word.len()) && word.bytes().all(|byte| byte.is_ascii_digit()))
            .then(|| word.parse::<i16>().ok())?
    };
    let month = |word: &str| stamps::month_of(&word.to_ascii_lowercase());
    let (year, month, day) = match words[..] {
        [one, two, three] => match (month(one), month(two)) {
            (Some(month), _) => (digits(three, 4, 4)?, month, digits(two, 1, 2)?),
            (_, Some(month)) if one.len() == 4 => (digits(one, 4, 4)?, month, digits(three, 1, 2)?),
            (_, Some(month)) if three.len() == 2 => (of_century(digits(three, 2, 2)?), month, digits(one, 1, 2)?),
            (_, Some(month)) => (digits(three, 4, 4)?, month, digits(one, 1, 2)?),
            _ => return None,
        },
        _ => return None,
    };
    Date::new(year, month, i8::try_from(day).ok()?).ok()?;
    Some((format!("{year:04}-{month:02}-{day:02}"), rest))
}

/// A time of day, with colons; points between three numbers are such.
pub(crate) fn time_of_day(text: &str) -> Option<Cow<'_, str>> {
    let groups = text.split('.').collect::<Vec<_>>();
    let is_pointed = groups.len() == 3 && groups.iter().all(|group| group.len() <= 2);
    let time = if is_pointed { Cow::Owned(text.replace('.', ":")) } else { Cow::Borrowed(text) };
    let is_time = time.contains(':') && stamps::parse(&format!("2000-01-01{}", clock(&format!(" {time}"))?)).is_some();
    is_time.then_some(time)
}

/// Makes `stamp` that of a date and a time of day, or of what stands in its place.
pub(crate) fn join(date: &str, time: &str, stamp: &mut String) {
    stamp.clear();
    stamp.push_str(date);
    stamp.push(' ');
    stamp.push_str(&time_of_day(time).unwrap_or(time.into()));
}

/// Whether a text is a date without a time of day, and no number.
pub(crate) fn is_date_alone(text: &str) -> bool {
    !text.contains(':') && text.parse::<f64>().is_err() && is_stamp(text)
}

/// Whether a text is a stamp, the year first or last.
pub(crate) fn is_stamp(text: &str) -> bool {
    ORDERS.iter().any(|order| stamps::parse(&order.year_first(text)).is_some())
}

/// The order of dates in a file's column of stamps, if its first has the year last, or of two digits: as it is told, as one of them tells, or as alone makes them regular. The year
/// is first where only so they are regular dates.
///
/// # Errors
/// Dates of which none tells, or of both orders.
pub(crate) fn order(path: &Path, table: &Table, column: usize, told: Option<DateOrder>) -> Result<Option<DateOrder>, DataError> {
    let mut rows = table.rows(&[column])?;
    let (mut found, mut first, mut has_slashes): (Option<DateOrder>, Option<u64>, bool) = (told, None, false);
    let (mut differs, mut may_be_first) = (None, told.is_none());
    while let Some(line) = rows.advance()? {
        let field = rows.field(column);
        let parts = if let Field::Text(text) = field { Parts::of(text) } else { None };
        let Some(parts) = parts else {
            match first {
                None => return Ok(None),
                // What is no such date is found where stamps are read.
                Some(_) => continue,
            }
        };
        first = first.or(Some(line));
        has_slashes |= !parts.has_points();
        may_be_first &= parts.date(DateOrder::YearFirst).is_some();
        match (found, parts.order()) {
            (None, order) => found = order,
            (Some(found), Some(order)) if found != order && found != DateOrder::YearFirst && differs.is_none() => {
                let expected = match found {
                    DateOrder::DayFirst => "a date with the day first, as others or `dates` have it",
                    _ => "a date with the month first, as others or `dates` have it",
                };
                differs = Some(table.header().field(line, column, expected, field));
            }
            _ => {}
        }
        if differs.is_some() && !may_be_first {
            break;
        }
    }
    let Some(line) = first else { return Ok(None) };
    let misfits = |order| regular(table, column, order);
    if !has_slashes {
        found = found.or(Some(DateOrder::DayFirst));
    }
    let is_last = differs.is_none();
    if let (true, Some(found)) = (is_last, found)
        && (!may_be_first || misfits(found)? == Some(0))
    {
        return Ok(Some(found));
    }
    if is_last && found.is_none() {
        match (misfits(DateOrder::DayFirst)?, misfits(DateOrder::MonthFirst)?) {
            (Some(0), Some(1..) | None) => return Ok(Some(DateOrder::DayFirst)),
            (Some(1..) | None, Some(0)) => return Ok(Some(DateOrder::MonthFirst)),
            (Some(0), Some(0)) => may_be_first = false,
            _ => {}
        }
    }
    if may_be_first && misfits(DateOrder::YearFirst)? == Some(0) {
        return Ok(Some(DateOrder::YearFirst));
    }
    match (differs, found) {
        (Some(differs), _) => Err(differs),
        (None, Some(found)) => Ok(Some(found)),
        (None, None) => {
            let expected = "dates with the year first, or a day above 12 that tells which number is the month, or `data.read.dates` in a run";
            let found = format!("none in column `{}`, from line {line} on", table.header().names[column]);
            Err(table::fault(path, expected, found))
        }
    }
}

/// How badly dates of an order fit on their grid; none where one is no date.
fn regular(table: &Table, column: usize, order: DateOrder) -> Result<Option<i64>, DataError> {
    let (mut rows, mut ticks) = (table.rows(&[column])?, Vec::new());
    while rows.advance()?.is_some() {
        let Field::Text(text) = rows.field(column) else { return Ok(None) };
        let Some(time) = stamps::parse(&order.year_first(text)) else { return Ok(None) };
        ticks.push(time.ticks);
    }
    ticks.sort_unstable();
    ticks.dedup();
    Ok(Some(grid::misfits(&[vec![&ticks]], true, None)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_of_months_by_name_halves_of_days_and_zones_are_read() {
        for (stamp, same) in [
            ("2 Jan 2024", "2024-01-02"),
            ("02-Jan-2024", "2024-01-02"),
            ("2-Jan-24 13:05", "2024-01-02 13:05"),
            ("02 Jan 69", "1969-01-02"),
            ("02/jan/2024:13:05:09", "2024-01-02 13:05:09"),
            ("Jan 2, 2024", "2024-01-02"),
            ("January 2 2024, 1:05 PM", "2024-01-02 13:05"),
            ("Tue, 02 Jan 2024 13:05:09 GMT", "2024-01-02 13:05:09+00:00"),
            ("Tuesday, January 2, 2024", "2024-01-02"),
            ("2024-Jan-02 13:05", "2024-01-02 13:05"),
            ("2024-01-02 12:00:00 AM", "2024-01-02 00:00:00"),
            ("2024-01-02 1:05PM", "2024-01-02 13:05"),
            ("2024-01-02 13:05:00 UTC", "2024-01-02 13:05:00+00:00"),
            ("2024-01-02 13:05:00.250 -0830", "2024-01-02 13:05:00.250-08:30"),
            ("2024-01-02 13:05:00 +01", "2024-01-02 13:05:00+01:00"),
        ] {
            assert_eq!(respelled(stamp).as_deref(), Some(same), "{stamp}");
            assert_eq!(
                stamps::parse(stamp).map(|time| (time.ticks, time.form)),
                stamps::parse(same).map(|time| (time.ticks, time.form))
            );
            assert!(stamps::parse(stamp).is_some_and(|time| !time.plain), "{stamp}");
        }
        // Names of zones and other words are none of this.
        for stamp in [
            "Jan 2, 24",
            "31 Feb 2024",
            "2 Foo 2024",
            "2024-01-02 13:05:00 CET",
            "2024-01-02 13:00 PM",
            "sensor 2 2024",
            "Jan 2",
            "2024-01-02",
            "2024-01-02 13:05:00",
            "2024-01-02 x",
            "é 2 2024",
            "2024-01-02 13:05:00 +é1",
            "Mon",
            "",
        ] {
            assert_eq!(respelled(stamp), None, "{stamp}");
        }
    }

    #[test]
    fn stamps_with_the_year_last_are_turned_round() {
        for (stamp, day_first, month_first) in [
            ("3/10/2016", "2016-10-03", "2016-03-10"),
            ("03.10.2016 7:05", "2016-10-03 07:05", "2016-10-03 07:05"),
            ("3/10/2016 7:05Z", "2016-10-03 07:05Z", "2016-03-10 07:05Z"),
            ("03-10-2016T07:05:09.25", "2016-10-03T07:05:09.25", "2016-03-10T07:05:09.25"),
            ("3/10/2016 12:00:00 AM", "2016-10-03 00:00:00", "2016-03-10 00:00:00"),
            ("3/10/2016 12:30 pm", "2016-10-03 12:30", "2016-03-10 12:30"),
            ("3/10/2016 11PM", "2016-10-03 23:00", "2016-03-10 23:00"),
            ("3/10/2016, 3:00:00 PM", "2016-10-03 15:00:00", "2016-03-10 15:00:00"),
            (" 3/10/2016 ", "2016-10-03", "2016-03-10"),
            ("3/10/16 1:05 PM", "2016-10-03 13:05", "2016-03-10 13:05"),
            ("03.10.68", "2068-10-03", "2068-10-03"),
            ("03-10-69", "1969-10-03", "1969-03-10"),
        ] {
            assert_eq!(DateOrder::DayFirst.year_first(stamp), day_first, "{stamp}");
            assert_eq!(DateOrder::MonthFirst.year_first(stamp), month_first, "{stamp}");
            assert!(crate::is_stamp(day_first), "{day_first}");
        }
        for (stamp, year_first) in [("16/3/10", "2016-03-10"), ("99.12.31 7:05", "1999-12-31 07:05")] {
            assert_eq!(DateOrder::YearFirst.year_first(stamp), year_first);
            assert!(is_stamp(stamp));
        }
        for stamp in ["3/10/2016", "3/13/10", "16/02/30"] {
            assert_eq!(DateOrder::YearFirst.year_first(stamp), stamp);
        }
        // Neither are these, nor is an hour that no half of a day has.
        for stamp in [
            "2016-03-10",
            "2016/3/10 0:00",
            "3/10/016",
            "3/10/6",
            "3/10",
            "3/10-2016",
            "3/10/2016/1",
            "a/b/2016",
            "noon",
            "",
            "7",
            "3/10/2016 13:00 PM",
            "3/10/2016 0 am",
            "3/10/2016 +5:00",
            "13/13/2016",
            "31/11/2016",
            "3/10/2016 é",
        ] {
            assert_eq!(DateOrder::DayFirst.year_first(stamp), stamp);
        }
    }
}
