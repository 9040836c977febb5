//! Time stamps: integers, dates, civil date-times and those with an offset from UTC, kept in the form they came in. What follows a date with
//! slashes is written with dashes. One stamp does not tell whether an integer is a date, or whether days are those of local clocks: [`settled`].

use crate::{
    compact,
    grid::{self, Grid, Unit},
    local,
};
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    fmt::temporal::Pieces,
};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, collections::BTreeMap, ops::Range};

/// What a stamp must be.
pub(crate) const STAMP: &str =
    "a date, a date and time, or an integer, in the form of the first, the year in front, an offset from UTC included";
/// Integer stamps stay below this, so that differences of them are integers, too.
pub(crate) const LARGEST: u64 = 1 << 61;
/// Seconds.
pub(crate) const DAY: i64 = 86_400;
/// Integers below it are no seconds since 1970: it is the third of March 1973.
const SECONDS: i64 = 100_000_000;
const EPOCH: DateTime = DateTime::constant(1970, 1, 1, 0, 0, 0, 0);

/// A stamp's time: seconds since 1970, of a civil time or in UTC, or the integer itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Time {
    /// Seconds, or counts.
    pub ticks: i64,
    /// What `ticks` is short of it, of the sign that the time has if it is before 1970.
    pub nanoseconds: i32,
    /// Seconds that its clock is ahead of UTC, where it has an offset.
    pub offset: i32,
    /// How it was written.
    pub form: Form,
    /// Whether [`write`] in this form gives what was read.
    pub plain: bool,
}

impl Time {
    /// A time in just this form.
    pub fn plain(ticks: i64, form: Form) -> Self {
        Self { ticks, nanoseconds: 0, offset: 0, form, plain: true }
    }

    /// Whether `ticks` is all of it: it has no fraction of a second.
    pub fn is_whole(&self) -> bool {
        self.nanoseconds == 0
    }

    /// As it would be written, its offset and its fraction of a second included; none beyond the year 9999.
    pub fn text(&self) -> Option<String> {
        let local = Form::Local { offset: self.offset, spaced: self.form == Form::SpacedUtc };
        let form = if self.offset == 0 { self.form } else { local };
        let text = write(self.ticks.checked_add(self.offset.into())?, form)?;
        if self.is_whole() {
            return Some(text);
        }
        let (civil, zone) = text.split_at_checked(SECONDS_END)?;
        let fraction = format!("{:09}", self.nanoseconds.unsigned_abs());
        Some(format!("{civil}.{}{zone}", fraction.trim_end_matches('0')))
    }
}

/// How a stamp is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Form {
    /// `7`.
    Integer,
    /// `2016-07`, the first day of a month.
    Month,
    /// `2016-07-01`.
    Date,
    /// `2016-07-01 00:10:00`.
    Spaced,
    /// `2016-07-01 00:10`.
    SpacedMinute,
    /// `2016-07-01T00:10:00`.
    Iso,
    /// `2016-07-01T00:10`.
    IsoMinute,
    /// `2016-07-01T00:10:00Z`.
    Utc,
    /// `2016-07-01 00:10:00+00:00`.
    SpacedUtc,
    /// `20160701`, a date as an integer of so many digits (see [`compact`]).
    Digits(u8),
    /// `2016-07-01 00:10:00+02:00`: the time of clocks that are so many seconds ahead of UTC; with a `T` unless `spaced` (see
    /// [`local`]).
    Local { offset: i32, spaced: bool },
    /// `2016-06-30 22:00:00+00:00`: the same time, written in UTC, since the offset of these clocks never changes.
    LocalUtc { offset: i32, spaced: bool },
}

/// What stamps count; those of one file count the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    Integer,
    Civil,
    Utc,
}

impl Form {
    /// What stamps in this form count.
    pub fn clock(self) -> Clock {
        match self {
            Self::Integer => Clock::Integer,
            Self::Utc | Self::SpacedUtc | Self::Local { .. } | Self::LocalUtc { .. } => Clock::Utc,
            _ => Clock::Civil,
        }
    }

    /// Whether ticks are those of local clocks.
    pub fn is_local(self) -> bool {
        matches!(self, Self::Local { .. } | Self::LocalUtc { .. })
    }

    /// The finer of two forms: a month says less than a date, that less than a time to the minute, and that less than one to the second. This one where
    /// they say as much.
    pub fn finest(self, other: Self) -> Self {
        let fineness = |form| match form {
            Self::Month => 0,
            Self::Date => 1,
            Self::SpacedMinute | Self::IsoMinute => 2,
            _ => 3,
        };
        if fineness(other) > fineness(self) { other } else { self }
    }
}

/// Reads a stamp; `None` if it is none of the forms.
pub fn parse(stamp: &str) -> Option<Time> {
    if let Ok(ticks) = stamp.parse::<i64>() {
        let digits = stamp.strip_prefix('-').unwrap_or(stamp);
        let plain = stamp == "0" || !digits.starts_with(['0', '+']);
        return Some(Time { plain, ..Time::plain(ticks, Form::Integer) });
    }
    if stamp.contains('/') {
        return unpadded(stamp, '/');
    }
    if stamp.len() == MONTH {
        return month_of_year(stamp);
    }
    // A time zone's name would be passed over.
    if stamp.contains('[') {
        return None;
    }
    let time = stamp.find(['T', 't', ' ']).map_or("", |at| &stamp[at..]);
    if time.contains(['Z', '+', '-']) {
        let since = stamp.parse::<Timestamp>().ok()?.duration_since(Timestamp::UNIX_EPOCH);
        let form = if time.starts_with(' ') && !time.ends_with('Z') { Form::SpacedUtc } else { Form::Utc };
        let plain = is_plain(stamp, form);
        let offset = if plain { 0 } else { offset(stamp) };
        return Some(Time { ticks: since.as_secs(), nanoseconds: since.subsec_nanos(), offset, form, plain });
    }
    let form = match stamp.as_bytes().get(10) {
        None => Form::Date,
        Some(b' ') if stamp.len() == MINUTES => Form::SpacedMinute,
        Some(b' ') => Form::Spaced,
        Some(_) if stamp.len() == MINUTES => Form::IsoMinute,
        Some(_) => Form::Iso,
    };
    let Ok(civil) = stamp.parse::<DateTime>() else { return unpadded(stamp, '-') };
    let since = civil.duration_since(EPOCH);
    Some(Time { ticks: since.as_secs(), nanoseconds: since.subsec_nanos(), offset: 0, form, plain: is_plain(stamp, form) })
}

/// Which of two stamps is the later one, however each is written; `None` where that is not known, of different texts or of kinds that are not the same.
pub fn order(stamp: &str, other: &str) -> Option<Ordering> {
    if stamp == other {
        return Some(Ordering::Equal);
    }
    let (one, other) = (parse(stamp)?, parse(other)?);
    (one.form.clock() == other.form.clock()).then(|| (one.ticks, one.nanoseconds).cmp(&(other.ticks, other.nanoseconds)))
}

/// Seconds that the clock of a stamp is ahead of UTC.
fn offset(stamp: &str) -> i32 {
    Pieces::parse(stamp).ok().and_then(|pieces| pieces.to_numeric_offset()).map_or(0, |offset| offset.seconds())
}

/// A date with slashes or dashes, the year first, and a time after it, as spreadsheets write them: `2016/7/1 0:00`, digits padded or not. What follows it is
/// written with dashes, and padded. With the year last nobody knows which is the day.
fn unpadded(stamp: &str, sign: char) -> Option<Time> {
    let (year, _) = stamp.split_once(sign)?;
    if year.len() != 4 || !year.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let date = format!("%Y{sign}%m{sign}%d");
    let (form, civil) = match (stamp.contains(' '), stamp.matches(':').count()) {
        (false, 0) => (Form::Date, Date::strptime(date, stamp).ok()?.to_datetime(jiff::civil::Time::midnight())),
        (true, 1) => (Form::SpacedMinute, DateTime::strptime(date + " %H:%M", stamp).ok()?),
        (true, 2) => (Form::Spaced, DateTime::strptime(date + " %H:%M:%S", stamp).ok()?),
        _ => return None,
    };
    Some(Time { plain: false, ..Time::plain(seconds(civil), form) })
}

/// A month: `2016-07`.
fn month_of_year(stamp: &str) -> Option<Time> {
    let (year, month) = stamp.split_once('-')?;
    let digits = |text: &str, count| text.len() == count && text.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(year, 4) || !digits(month, 2) {
        return None;
    }
    let first = Date::new(year.parse().ok()?, month.parse().ok()?, 1).ok()?;
    Some(Time::plain(seconds(first.to_datetime(jiff::civil::Time::midnight())), Form::Month))
}

/// Characters of a month, of a date and a time to the minute, and to the second.
const MONTH: usize = 7;
const MINUTES: usize = 16;
const SECONDS_END: usize = 19;

/// Whether a time that was read is in just this form: signs where they are, and so digits elsewhere.
fn is_plain(stamp: &str, form: Form) -> bool {
    let (len, separator, offset) = match form {
        Form::Integer | Form::Digits(_) | Form::Local { .. } | Form::LocalUtc { .. } => return true,
        Form::Month => (MONTH, b'-', ""),
        Form::Date => (10, b'-', ""),
        Form::Spaced => (19, b' ', ""),
        Form::SpacedMinute => (MINUTES, b' ', ""),
        Form::IsoMinute => (MINUTES, b'T', ""),
        Form::Iso => (19, b'T', ""),
        Form::Utc => (19, b'T', "Z"),
        Form::SpacedUtc => (19, b' ', "+00:00"),
    };
    let Some(civil) = stamp.strip_suffix(offset) else { return false };
    let signs = [(4, b'-'), (7, b'-'), (10, separator), (13, b':'), (16, b':')];
    // A leap second is read as the one before it.
    civil.len() == len
        && signs.iter().all(|&(at, sign)| civil.as_bytes().get(at).is_none_or(|byte| *byte == sign))
        && civil.as_bytes().get(17) != Some(&b'6')
}

/// The civil time at some seconds since 1970.
pub fn civil(ticks: i64) -> Option<DateTime> {
    EPOCH.checked_add(jiff::SignedDuration::from_secs(ticks)).ok()
}

/// Seconds from 1970 to a civil time.
pub fn seconds(civil: DateTime) -> i64 {
    civil.duration_since(EPOCH).as_secs()
}

/// Months since the year 0.
pub fn month(time: DateTime) -> i64 {
    i64::from(time.year()) * 12 + i64::from(time.month()) - 1
}

/// Seconds since 1970 in a month since the year 0, on a day of it (its last, if it is shorter), at a second of the day.
pub fn ticks_in_month(month: i64, day: i8, second: i64) -> Option<i64> {
    let first = Date::new(month.div_euclid(12).try_into().ok()?, (month.rem_euclid(12) + 1) as i8, 1).ok()?;
    let days = i64::from(day.min(first.days_in_month())) - 1;
    Some(seconds(first.to_datetime(jiff::civil::Time::midnight())) + days * DAY + second)
}

/// A stamp in a form; `None` beyond the year 9999.
pub fn write(ticks: i64, form: Form) -> Option<String> {
    if form == Form::Integer {
        return Some(ticks.to_string());
    }
    if let Form::LocalUtc { offset, spaced } = form {
        return write(ticks.checked_sub(offset.into())?, if spaced { Form::SpacedUtc } else { Form::Utc });
    }
    let time = civil(ticks)?;
    Some(match form {
        Form::Month if time.day() == 1 => time.strftime("%Y-%m").to_string(),
        Form::Date | Form::Month => time.strftime("%Y-%m-%d").to_string(),
        Form::SpacedMinute if time.second() == 0 => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Form::IsoMinute if time.second() == 0 => time.strftime("%Y-%m-%dT%H:%M").to_string(),
        Form::Iso | Form::IsoMinute => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Form::Utc => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Form::SpacedUtc => time.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string(),
        Form::Digits(digits) => compact::write(time, digits),
        Form::Local { offset, spaced } => local::write(time, offset, spaced),
        Form::Spaced | Form::SpacedMinute | Form::Integer | Form::LocalUtc { .. } => {
            time.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
    })
}

/// The stamps of a signal. Those of a regular grid are written when they are asked for; texts in another form are kept.
#[derive(Clone, Debug)]
pub struct Stamps(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Written(Vec<String>),
    Regular { grid: Grid, first: i64, form: Form, len: usize, odd: BTreeMap<usize, Box<str>> },
}

impl Stamps {
    /// `len` positions of a grid from `first` on, `odd` those of other texts; none where one would be beyond the year 9999.
    pub(crate) fn regular(grid: Grid, first: i64, len: usize, form: Form, odd: BTreeMap<usize, Box<str>>) -> Option<Self> {
        for position in [first, first.checked_add(len as i64)? - 1] {
            write(grid.ticks(position)?, form)?;
        }
        Some(Self(Kind::Regular { grid, first, form, len, odd }))
    }

    /// The numbers from 0 on.
    pub(crate) fn counted(len: usize) -> Self {
        Self(Kind::Regular { grid: Grid::counting(), first: 0, form: Form::Integer, len, odd: BTreeMap::new() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Written(stamps) => stamps.len(),
            Kind::Regular { len, .. } => *len,
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The stamp of a row.
    pub fn at(&self, row: usize) -> String {
        assert!(row < self.len(), "row {row} of {}", self.len());
        match &self.0 {
            Kind::Written(stamps) => stamps[row].clone(),
            Kind::Regular { odd, form, .. } => match odd.get(&row) {
                Some(text) => text.to_string(),
                None => self.ticks(row).and_then(|ticks| write(ticks, *form)).unwrap_or_default(),
            },
        }
    }

    /// Those of some rows.
    pub fn slice(&self, rows: Range<usize>) -> Vec<String> {
        rows.map(|row| self.at(row)).collect()
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = String> + '_ {
        (0..self.len()).map(|row| self.at(row))
    }

    /// The `count` stamps after the first `rows`, on their grid and in their form; `+1`, `+2`, … where there is none, which one time alone does not
    /// tell, or beyond the year 9999.
    pub fn after(&self, rows: usize, count: usize) -> Vec<String> {
        let next = match &self.0 {
            Kind::Written(stamps) => {
                written_next(&stamps[..rows]).and_then(|(grid, next, form)| on_grid(&grid, next, count, form))
            }
            Kind::Regular { grid, first, form, .. } => {
                first.checked_add(rows as i64).and_then(|position| on_grid(grid, position, count, *form))
            }
        };
        next.unwrap_or_else(|| (1..=count).map(|ahead| format!("+{ahead}")).collect())
    }

    /// Months from row to row, where they are regular by the calendar.
    pub fn months(&self) -> Option<i64> {
        match &self.0 {
            Kind::Regular { grid: Grid { unit: Unit::Month, step, .. }, .. } => Some(*step),
            _ => None,
        }
    }

    /// Whether rows are Mondays to Fridays.
    pub fn are_workdays(&self) -> bool {
        matches!(&self.0, Kind::Regular { grid: Grid { unit: Unit::Workday, .. }, .. })
    }

    /// Whether stamps count rows, one by one or in any steps, which tells of no time. Integers that begin at 10⁸ or later with other steps than 1 may be
    /// seconds since 1970.
    pub fn are_counts(&self) -> bool {
        match &self.0 {
            Kind::Regular { grid, first, .. } if grid.unit == Unit::Count => {
                grid.step <= 1 || grid.ticks(*first).is_some_and(|ticks| ticks < SECONDS)
            }
            _ => false,
        }
    }

    /// Seconds since 1970, of a civil time, in UTC or of local clocks where their days are regular, or the integer itself; none
    /// of what is neither.
    pub(crate) fn ticks(&self, row: usize) -> Option<i64> {
        match &self.0 {
            Kind::Written(stamps) => parse(&stamps[row]).map(|time| time.ticks),
            Kind::Regular { grid, first, .. } => grid.ticks(first.checked_add(row as i64)?),
        }
    }

    /// The civil times of the rows, and of those after them: by the local clock where that is what counts, else in UTC where stamps have an offset; integers
    /// have none, but for those that are dates.
    pub(crate) fn civil(&self) -> Box<dyn Fn(usize) -> Option<DateTime> + '_> {
        match &self.0 {
            Kind::Regular { form: Form::Integer, .. } => Box::new(|_| None),
            Kind::Regular { grid, len, .. } => {
                Box::new(|row| if row < *len || grid.goes_on() { civil(self.ticks(row)?) } else { None })
            }
            Kind::Written(stamps) => {
                let times: Option<Vec<Time>> = stamps.iter().map(|stamp| parse(stamp)).collect();
                let local = times.is_some_and(|times| settled(&times).1.is_local());
                let next = written_next(stamps);
                Box::new(move |row| match (stamps.get(row), &next) {
                    (Some(stamp), _) => parse_civil(stamp, local),
                    (None, Some((grid, next, form))) if grid.goes_on() => {
                        let ticks = grid.ticks(next.checked_add((row - stamps.len()) as i64)?)?;
                        if *form == Form::Integer { compact_civil(ticks) } else { civil(ticks) }
                    }
                    _ => None,
                })
            }
        }
    }
}

/// Stamps that tell how those go on that are on no grid yet.
const LATEST: usize = 64;

/// The grid that some texts are on, the position after them, and the form that they go on in.
fn written_next(stamps: &[String]) -> Option<(Grid, i64, Form)> {
    let latest = &stamps[stamps.len().saturating_sub(LATEST)..];
    let times: Vec<Time> = latest.iter().map(|stamp| parse(stamp)).collect::<Option<_>>()?;
    let (ticks, form) = settled(&times);
    let (unit, step) = grid::step(&[vec![&ticks]], form != Form::Integer);
    let grid = Grid::fit(unit, step, &[&ticks]);
    let (last, _) = grid.position(*ticks.last()?);
    Some((grid, last.checked_add(1)?, form))
}

/// The ticks of times in order, as the grid takes them, and the form that they go on in: the finest of theirs, that of compact
/// dates or of local clocks.
pub(crate) fn settled(times: &[Time]) -> (Vec<i64>, Form) {
    let ticks: Vec<i64> = times.iter().map(|time| time.ticks).collect();
    let form = times.iter().map(|time| time.form).reduce(Form::finest).unwrap_or(Form::Integer);
    let settled = match form.clock() {
        Clock::Integer if times.iter().all(|time| time.plain) => {
            compact::dates(&[vec![&ticks]]).map(|(mut dates, form)| (dates.remove(0), form))
        }
        Clock::Utc => local::days(times, &ticks),
        _ => None,
    };
    settled.unwrap_or((ticks, form))
}

/// `count` positions of a grid from one on, in a form; none where its step is unknown.
fn on_grid(grid: &Grid, first: i64, count: usize, form: Form) -> Option<Vec<String>> {
    if !grid.goes_on() {
        return None;
    }
    (0..count as i64).map(|ahead| write(grid.ticks(first.checked_add(ahead)?)?, form)).collect()
}

/// The civil time of a stamp, `local` or in UTC where it has an offset; integers have none, but for compact dates.
fn parse_civil(stamp: &str, local: bool) -> Option<DateTime> {
    let time = parse(stamp)?;
    match time.form {
        Form::Integer => compact_civil(time.ticks),
        _ => civil(time.ticks.checked_add(if local { time.offset.into() } else { 0 })?),
    }
}

/// The civil time of an integer that is a date.
fn compact_civil(number: i64) -> Option<DateTime> {
    civil(compact::seconds(number)?.1)
}

impl Default for Stamps {
    fn default() -> Self {
        Self(Kind::Written(Vec::new()))
    }
}

impl From<Vec<String>> for Stamps {
    fn from(stamps: Vec<String>) -> Self {
        Self(Kind::Written(stamps))
    }
}

/// As they are written.
impl PartialEq for Stamps {
    fn eq(&self, other: &Self) -> bool {
        self.len() == other.len() && self.iter().eq(other.iter())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_are_in_order_however_they_are_written() {
        for (one, other, expected) in [
            ("2024-01-01 01:00", "2024/1/1 1:00", Some(Ordering::Equal)),
            ("2024-01-01T01:00:00Z", "2024-01-01 02:00:00+02:00", Some(Ordering::Greater)),
            ("2024-01-01", "2024-01-01 00:00:00.5", Some(Ordering::Less)),
            ("9", "10", Some(Ordering::Less)),
            ("noon", "noon", Some(Ordering::Equal)),
            ("noon", "night", None),
            ("2024-01-01", "20240101", None),
            ("2024-01-01 00:00", "2024-01-01 00:00Z", None),
        ] {
            assert_eq!(order(one, other), expected, "{one} and {other}");
            assert_eq!(order(other, one), expected.map(Ordering::reverse), "{other} and {one}");
        }
    }

    #[test]
    fn what_is_plain_is_written_as_it_was_read() {
        let plain = [
            "0",
            "7",
            "-12",
            "2016-07",
            "2016-07-01",
            "2016-07-01 00:10:00",
            "2016-07-01 00:10",
            "2016-07-01T00:10:59",
            "2016-07-01T23:10",
            "2016-07-01T00:10:00Z",
            "2016-07-01 00:10:00+00:00",
            "9999-12-31",
        ];
        let odd = [
            "-0",
            "+7",
            "007",
            "2016-07-01 00:10:00.0",
            "2016-07-01t00:10:00",
            "20160701T000000.000",
            "2016-07-01T00:10Z",
            "2016-07-01 00:10:00Z",
            "2016-07-01T00:10:00+00:00",
            "2016-07-01 00:10:00+02:00",
            "2016-07-01 00:10:00.5+00:00",
            "2016-12-31 23:59:60",
            "2016-12-31T23:59:60Z",
        ];
        for (stamps, expected) in [(&plain[..], true), (&odd[..], false)] {
            for stamp in stamps {
                let Some(time) = parse(stamp) else { continue };
                let written = write(time.ticks, time.form);
                assert_eq!(time.plain, expected, "{stamp}");
                assert!(!time.plain || written.as_deref() == Some(stamp), "{stamp}: {written:?}");
            }
        }
        assert!(plain.iter().all(|stamp| parse(stamp).is_some()));
    }

    #[test]
    fn months_are_read_by_their_year() {
        for stamp in ["2016-00", "2016-13", "2016_07", "2016-7 ", "216-007", "+016-07", "2016-0x", "-016-07", "2016-W1"] {
            assert_eq!(parse(stamp), None, "{stamp}");
        }
        assert_eq!(order("2016-07", "2016-07-01"), Some(Ordering::Equal));
        assert_eq!(order("2016-07", "2016-08"), Some(Ordering::Less));
    }

    #[test]
    fn offsets_count_in_utc() {
        let ticks = |stamp: &str| parse(stamp).map(|time| (time.ticks, time.form.clock()));
        let expected = Some((1_603_587_600, Clock::Utc));
        for stamp in [
            "2020-10-25T01:00:00Z",
            "2020-10-25 01:00:00Z",
            "2020-10-25 01:00:00+00:00",
            "2020-10-25 03:00:00+02:00",
            "2020-10-25T03:00+02:00",
            "2020-10-25 03:00:00+0200",
            "2020-10-25 03:00:00+02",
            "2020-10-24 20:30:00-04:30",
        ] {
            assert_eq!(ticks(stamp), expected, "{stamp}");
        }
        for stamp in [
            "2020-10-25+02:00",
            "2020-10-25Z",
            "2020-10-25t03:00:00z",
            "2020-10-25 03:00:00[Europe/Berlin]",
            "2020-10-25 03:00:00 +02:00 x",
        ] {
            assert_eq!(ticks(stamp), None, "{stamp}");
        }
    }

    #[test]
    fn times_show_their_offset_and_their_fraction() {
        for (stamp, expected) in [
            ("2024-02-01T00:00:00.5Z", "2024-02-01T00:00:00.5Z"),
            ("2024-02-01 00:00:00.000250", "2024-02-01 00:00:00.00025"),
            ("2024-02-01 00:00:00.000000001+00:00", "2024-02-01 00:00:00.000000001+00:00"),
            ("2024-02-01 00:00:00-04:30", "2024-02-01 00:00:00-04:30"),
            ("2024-02-01T00:00:00.25+05:45", "2024-02-01T00:00:00.25+05:45"),
            ("2024-02-01 00:00", "2024-02-01 00:00"),
            ("20240201", "20240201"),
        ] {
            assert_eq!(parse(stamp).and_then(|time| time.text()).as_deref(), Some(expected));
        }
    }

    #[test]
    fn slashes_after_the_year_and_digits_that_are_not_padded_are_read() {
        for (stamp, expected) in [
            ("2016/7/1", Some("2016-07-01")),
            ("2016/07/01", Some("2016-07-01")),
            ("2016/7/1 0:00", Some("2016-07-01 00:00")),
            ("2016/12/31 23:10", Some("2016-12-31 23:10")),
            ("2016/7/1 9:05:07", Some("2016-07-01 09:05:07")),
            ("2016-7-1", Some("2016-07-01")),
            ("2016-7-1 0:00", Some("2016-07-01 00:00")),
            ("2016-07-01 9:05:07", Some("2016-07-01 09:05:07")),
            ("2016/13/1", None),
            ("2016-13-1", None),
            ("2016-2-30", None),
            ("1-7-2016", None),
            ("2016-7", None),
            ("2016-7-1T0:00", None),
            ("2016-7-1 0:00+02:00", None),
            ("2016/2/30 0:00", None),
            ("1/7/2016", None),
            ("7/1/16 0:00", None),
            ("2016/7/1T0:00", None),
            ("2016/7/1 0:00 PM", None),
            ("2016/7/1 0:00:00.5", None),
            ("2016/7/1 0:00+02:00", None),
            ("2016/7/1 24:00", None),
            ("+201/7/1", None),
            ("/", None),
        ] {
            let time = parse(stamp);
            assert!(time.is_none_or(|time| time.is_whole() && !time.plain), "{stamp}");
            assert_eq!(time.and_then(|time| write(time.ticks, time.form)).as_deref(), expected, "{stamp}");
        }
    }

    fn check<const N: usize>(stamps: [&str; N], expected: [&str; 2]) {
        let stamps: Vec<String> = stamps.map(String::from).into();
        let times: Option<Vec<Time>> = stamps.iter().map(|stamp| parse(stamp)).collect();
        if let Some((ticks, form)) = times.map(|times| settled(&times)) {
            let (unit, step) = grid::step(&[vec![&ticks]], form != Form::Integer);
            let grid = Grid::fit(unit, step, &[&ticks]);
            let first = grid.position(ticks[0]).0;
            let regular = Stamps::regular(grid, first, N, form, BTreeMap::new()).expect("before the year 10000");
            assert_eq!(regular.after(N, 2), expected);
        }
        assert_eq!(Stamps::from(stamps).after(N, 2), expected);
    }

    #[test]
    fn stamps_go_on_in_their_form() {
        check(["2016-12-31 22:00:00", "2016-12-31 23:00:00"], ["2017-01-01 00:00:00", "2017-01-01 01:00:00"]);
        check(["2016-02-27", "2016-02-28"], ["2016-02-29", "2016-03-01"]);
        check(["2016-02-28T23:40:00", "2016-02-28T23:50:00"], ["2016-02-29T00:00:00", "2016-02-29T00:10:00"]);
        check(["2016-02-28T23:40:00Z", "2016-02-28T23:50:00Z"], ["2016-02-29T00:00:00Z", "2016-02-29T00:10:00Z"]);
        check(
            ["2016-02-28 23:40:00+00:00", "2016-02-28 23:50:00+00:00"],
            ["2016-02-29 00:00:00+00:00", "2016-02-29 00:10:00+00:00"],
        );
        check(
            ["2020-10-25 02:00:00+02:00", "2020-10-25 02:00:00+01:00"],
            ["2020-10-25 02:00:00+00:00", "2020-10-25 03:00:00+00:00"],
        );
        check(["2016-02-28 23:40", "2016-02-28 23:50"], ["2016-02-29 00:00", "2016-02-29 00:10"]);
        check(["2016/2/28 23:40", "2016/2/28 23:50"], ["2016-02-29 00:00", "2016-02-29 00:10"]);
        check(["7", "9"], ["11", "13"]);
        check(["2019-11-30", "2019-12-31"], ["2020-01-31", "2020-02-29"]);
        check(["2019-10-01", "2019-11-01", "2019-12-01"], ["2020-01-01", "2020-02-01"]);
        check(["2019-07-01", "2019-10-01"], ["2020-01-01", "2020-04-01"]);
        check(["2018-01-01", "2019-01-01"], ["2020-01-01", "2021-01-01"]);
        check(["2019-11-30", "2019-11-30 12:00", "2019-12-01"], ["2019-12-01 12:00", "2019-12-02 00:00"]);
        check(["2023-10", "2023-11", "2023-12"], ["2024-01", "2024-02"]);
        check(["2023-04", "2023-07"], ["2023-10", "2024-01"]);
        check(["2023-10", "2023-11-01", "2023-12"], ["2024-01-01", "2024-02-01"]);
        check(["2024-3-24 23:00", "2024-3-25 0:00"], ["2024-03-25 01:00", "2024-03-25 02:00"]);
        check(["20240228", "20240229", "20240301"], ["20240302", "20240303"]);
        check(
            ["2024-02-29T00:00+01:00", "2024-03-31T00:00+01:00", "2024-04-30T00:00+02:00"],
            ["2024-05-31T00:00:00+02:00", "2024-06-30T00:00:00+02:00"],
        );
        check(["monday", "tuesday"], ["+1", "+2"]);
        // One stamp has no step, and numbers are counted.
        check(["2024-01-01 05:00:00"], ["+1", "+2"]);
        check(["2024-01-01", "2024-01-01"], ["+1", "+2"]);
        check(["7"], ["8", "9"]);
    }
}
