//! The stamps of a signal: those of a regular grid, or texts, and how they go on.

use super::{Clock, Form, SECOND, Style, Time, civil, civil_at, nanoseconds, parse, shortest};
use crate::{
    compact,
    grid::{self, Fit, Grid, Step, Unit},
    hours::{self, Hours, Open},
    local,
};
use jiff::civil::DateTime;
use std::{collections::BTreeMap, ops::Range};

/// Integers below it are no seconds since 1970: it is the third of March 1973.
const SECONDS: i128 = 100_000_000;

/// The stamps of a signal. Those of a regular grid are written when they are asked for; texts in another form are kept.
#[derive(Clone, Debug)]
pub struct Stamps(Kind);

#[derive(Clone, Debug)]
enum Kind {
    Written(Vec<String>, Option<Hours>),
    Regular { grid: Grid, first: i64, style: Style, resolution: u8, len: usize, odd: BTreeMap<usize, Box<str>> },
}

impl Stamps {
    /// `len` positions of a grid from `first` on, `odd` those of other texts; none where one would be beyond the year 9999. How they are written comes with
    /// the resolution of the grid's ticks.
    pub(crate) fn regular(
        grid: Grid,
        first: i64,
        len: usize,
        (style, resolution): (Style, u8),
        odd: BTreeMap<usize, Box<str>>,
    ) -> Option<Self> {
        for position in [first, first.checked_add(len as i64)? - 1] {
            style.write(grid.ticks(position)?, resolution)?;
        }
        Some(Self(Kind::Regular { grid, first, style, resolution, len, odd }))
    }

    /// Texts, whose rows are of these hours if they are told.
    pub(crate) fn written(stamps: Vec<String>, told: Option<Hours>) -> Self {
        Self(Kind::Written(stamps, told))
    }

    /// The numbers from 0 on.
    pub(crate) fn counted(len: usize) -> Self {
        let style = Style::whole(Form::Integer);
        Self(Kind::Regular { grid: Grid::counting(), first: 0, style, resolution: 0, len, odd: BTreeMap::new() })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        match &self.0 {
            Kind::Written(stamps, _) => stamps.len(),
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
            Kind::Written(stamps, _) => stamps[row].clone(),
            Kind::Regular { odd, style, resolution, .. } => match odd.get(&row) {
                Some(text) => text.to_string(),
                None => self.ticks(row).and_then(|ticks| style.write(ticks, *resolution)).unwrap_or_default(),
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
            Kind::Written(stamps, told) => {
                written_next(&stamps[..rows], *told).and_then(|(grid, next, style)| on_grid(&grid, next, count, style))
            }
            Kind::Regular { grid, first, style, resolution, .. } => {
                first.checked_add(rows as i64).and_then(|position| on_grid(grid, position, count, (*style, *resolution)))
            }
        };
        next.unwrap_or_else(|| (1..=count).map(|ahead| format!("+{ahead}")).collect())
    }

    /// Months from row to row, where they are regular by the calendar.
    pub fn months(&self) -> Option<i64> {
        match &self.0 {
            Kind::Regular { grid: Grid { step: Step { unit: Unit::Month, size, .. }, .. }, .. } => Some(*size),
            _ => None,
        }
    }

    /// Rows of a day and days of a week of them.
    pub fn each_day_and_week(&self) -> Option<[usize; 2]> {
        self.open().map(|open| [open.each_day() as usize, open.days() as usize])
    }

    fn open(&self) -> Option<&Open> {
        match &self.0 {
            Kind::Regular { grid: Grid { step: Step { unit: Unit::Open(open), .. }, .. }, .. } => Some(open),
            _ => None,
        }
    }

    /// Whether stamps count rows, one by one or in any steps, which tells of no time. Numbers that begin at 10⁸ or later with other steps than 1 may be
    /// seconds since 1970.
    pub fn are_counts(&self) -> bool {
        match &self.0 {
            Kind::Regular { grid, len, .. } if grid.step.unit == Unit::Count => {
                let step = (*len > 1).then(|| self.nanoseconds(1).zip(self.nanoseconds(0)));
                let counts = step.flatten().is_none_or(|(second, first)| second - first == SECOND);
                counts || self.nanoseconds(0).is_some_and(|first| first < SECONDS * SECOND)
            }
            _ => false,
        }
    }

    /// Nanoseconds since 1970, of a civil time, in UTC or of local clocks where their days or hours are regular, or of the number as seconds; none of what is neither.
    pub(crate) fn nanoseconds(&self, row: usize) -> Option<i128> {
        match &self.0 {
            Kind::Written(stamps, _) => parse(&stamps[row]).map(nanoseconds),
            Kind::Regular { resolution, .. } => {
                self.ticks(row).map(|ticks| i128::from(ticks) * SECOND / 10i128.pow((*resolution).into()))
            }
        }
    }

    /// Ticks of a regular grid.
    fn ticks(&self, row: usize) -> Option<i64> {
        match &self.0 {
            Kind::Written(..) => None,
            Kind::Regular { grid, first, .. } => grid.ticks(first.checked_add(row as i64)?),
        }
    }

    /// The civil times of the rows, and of those after them: by the local clock where that is what counts, else in UTC where stamps have an offset; integers
    /// have none, but for those that are dates.
    pub(crate) fn civil(&self) -> Box<dyn Fn(usize) -> Option<DateTime> + '_> {
        match &self.0 {
            Kind::Regular { style: Style { form: Form::Integer, .. }, .. } => Box::new(|_| None),
            Kind::Regular { grid, len, resolution, .. } => {
                Box::new(|row| if row < *len || grid.goes_on() { civil_at(self.ticks(row)?, *resolution) } else { None })
            }
            Kind::Written(stamps, told) => {
                let times: Option<Vec<Time>> = stamps.iter().map(|stamp| parse(stamp)).collect();
                let local = times.and_then(|times| settled(&times, *told)).is_some_and(|settled| settled.style.form.is_local());
                let next = written_next(stamps, *told);
                Box::new(move |row| match (stamps.get(row), &next) {
                    (Some(stamp), _) => parse_civil(stamp, local),
                    (None, Some((grid, next, (style, resolution)))) if grid.goes_on() => {
                        let ticks = grid.ticks(next.checked_add((row - stamps.len()) as i64)?)?;
                        let is_number = style.form == Form::Integer;
                        if is_number { compact_civil(ticks) } else { civil_at(ticks, *resolution) }
                    }
                    _ => None,
                })
            }
        }
    }
}

/// Stamps that tell how those go on that are on no grid yet.
const LATEST: usize = 64;

/// The grid that some texts are on, the position after them, how they are written and the resolution of ticks.
fn written_next(stamps: &[String], told: Option<Hours>) -> Option<(Grid, i64, (Style, u8))> {
    let latest = &stamps[stamps.len().saturating_sub(LATEST)..];
    let times: Vec<Time> = latest.iter().map(|stamp| parse(stamp)).collect::<Option<_>>()?;
    let settled = settled(&times, told)?;
    let grid = settled.fit(told).grids.pop()?;
    let Settled { ticks, resolution, style } = settled;
    let (last, _) = grid.position(*ticks.last()?);
    Some((grid, last.checked_add(1)?, (style, resolution)))
}

/// Times in order as the grid takes them.
pub(crate) struct Settled {
    pub ticks: Vec<i64>,
    /// A second, or a count, has 10 to the power of it of them.
    pub resolution: u8,
    /// How they go on: in the finest of their forms, that of compact dates or of local clocks.
    pub style: Style,
}

impl Settled {
    /// Their rows of some hours of the week, told or found; none where these never close.
    pub fn open(&self, told: Option<Hours>) -> Option<Open> {
        let is_dated = self.style.form != Form::Integer && self.resolution == 0;
        if is_dated { hours::open(&[vec![&self.ticks]], told) } else { None }
    }

    /// Their grid.
    pub fn fit(&self, told: Option<Hours>) -> Fit {
        grid::fit(&[vec![&self.ticks]], self.style.form != Form::Integer, self.resolution, self.open(told))
    }
}

/// Times in order as the grid takes them; none where there are none, or too large ones.
pub(crate) fn settled(times: &[Time], told: Option<Hours>) -> Option<Settled> {
    let style = times.iter().skip(1).fold(Style::of(times.first()?), Style::and);
    let resolution = times.iter().map(|time| shortest(time.nanoseconds)).max()?;
    let ticks: Vec<i64> = times.iter().map(|time| time.at(resolution)).collect::<Option<_>>()?;
    let settled = match style.form.clock() {
        Clock::Integer if style.digits == 0 && times.iter().all(|time| time.plain) => {
            compact::dates(&[vec![&ticks]], told).map(|(mut dates, form)| (dates.remove(0), form))
        }
        Clock::Utc if resolution == 0 => local::days(times, &ticks, told),
        _ => None,
    };
    let (ticks, form) = settled.unwrap_or((ticks, style.form));
    Some(Settled { ticks, resolution, style: Style { form, ..style } })
}

/// `count` positions of a grid from one on, and how they are written; none where its step is unknown.
fn on_grid(grid: &Grid, first: i64, count: usize, (style, resolution): (Style, u8)) -> Option<Vec<String>> {
    if !grid.goes_on() {
        return None;
    }
    (0..count as i64).map(|ahead| style.write(grid.ticks(first.checked_add(ahead)?)?, resolution)).collect()
}

/// The civil time of a stamp, `local` or in UTC where it has an offset; numbers have none, but for compact dates.
fn parse_civil(stamp: &str, local: bool) -> Option<DateTime> {
    let time = parse(stamp)?;
    match time.form {
        Form::Integer => compact_civil(time.ticks),
        _ => civil(time.ticks.checked_add(if local { time.offset.into() } else { 0 })?)?
            .checked_add(jiff::SignedDuration::from_nanos(time.nanoseconds.into()))
            .ok(),
    }
}

/// The civil time of an integer that is a date.
fn compact_civil(number: i64) -> Option<DateTime> {
    civil(compact::seconds(number)?.1)
}

impl Default for Stamps {
    fn default() -> Self {
        Self(Kind::Written(Vec::new(), None))
    }
}

impl From<Vec<String>> for Stamps {
    fn from(stamps: Vec<String>) -> Self {
        Self::written(stamps, None)
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

    fn check<const N: usize>(stamps: [&str; N], expected: [&str; 2]) {
        let stamps: Vec<String> = stamps.map(String::from).into();
        let times: Option<Vec<Time>> = stamps.iter().map(|stamp| parse(stamp)).collect();
        if let Some(settled) = times.and_then(|times| settled(&times, None)) {
            let grid = settled.fit(None).grids.remove(0);
            let Settled { ticks, resolution, style } = settled;
            let first = grid.position(ticks[0]).0;
            let regular = Stamps::regular(grid, first, N, (style, resolution), BTreeMap::new()).expect("before the year 10000");
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
