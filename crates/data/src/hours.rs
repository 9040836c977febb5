//! Hours of the week in which there are rows: those of an office, a shop or an exchange, or the days of work.
//!
//! They are found where the rows pass over the others again and again, and never are in one of them: then nights and weekends are no missing samples, and
//! what follows passes over them as well.

use crate::stamps::DAY;
use serde::{Deserialize, Serialize};
use std::{fmt, ops::RangeInclusive, str::FromStr};

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;
/// The first day of 1970 was a Thursday: days since the Monday before it.
const THURSDAY: i64 = 3;
/// A night is closed for at least this part of a day, passed over so many times.
const NIGHT: i64 = DAY / 8;
const NIGHTS: usize = 10;
/// A weekday is closed that was passed over so many times, in gaps of a week at most.
const PASSED: usize = 2;
/// Days that a gap leads ahead, if it tells of those it passes over.
const WEEK: RangeInclusive<i64> = 2..=7;
/// Rows that are there, of those within the hours, in quarters.
const FILLED: i64 = 3;

/// Days of the week, and hours of them: `mon-fri 09:00-17:30`, which ends before half past five; `mon-sat`, whole days; `22:00-06:00`, which goes on into
/// the day after; `always`. Days are those that hours begin on.
///
/// ```
/// use foretoken_data::Hours;
/// let hours: Hours = "mon-fri 09:00-17:30".parse()?;
/// assert_eq!(hours.to_string(), "mon-fri 09:00-17:30");
/// # Ok::<(), String>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Hours {
    /// A bit a day, from Monday.
    days: u8,
    /// A second of the day, and how many follow.
    opening: i64,
    length: i64,
}

impl Hours {
    const ALWAYS: Self = Self { days: ALL_DAYS, opening: 0, length: DAY };

    /// Whether a time lies within, in seconds since 1970.
    pub(crate) fn holds(&self, ticks: i64) -> bool {
        let (day, second) = self.split(ticks);
        second < self.length && self.days & (1 << weekday(day)) != 0
    }

    /// The day that a time is of, if the hours of a day begin it, and its seconds since.
    fn split(&self, ticks: i64) -> (i64, i64) {
        let past = ticks - self.opening;
        (past.div_euclid(DAY), past.rem_euclid(DAY))
    }

    /// Whether days are closed, or hours of them.
    pub(crate) fn closes(&self) -> bool {
        self.days != ALL_DAYS || self.length < DAY
    }
}

impl fmt::Display for Hours {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let open = |day: &usize| self.days & (1 << day) != 0;
        let mut runs: Vec<String> = Vec::new();
        let mut day = 0;
        while let Some(first) = (day..7).find(open) {
            let last = (first..7).take_while(open).last().unwrap_or(first);
            runs.push(if first == last { NAMES[first].into() } else { format!("{}-{}", NAMES[first], NAMES[last]) });
            day = last + 1;
        }
        let time = |second: i64| match second % 60 {
            0 => format!("{:02}:{:02}", second / 3600, second / 60 % 60),
            rest => format!("{:02}:{:02}:{rest:02}", second / 3600, second / 60 % 60),
        };
        let days = (self.days != ALL_DAYS).then(|| runs.join(","));
        let closing = self.opening + self.length;
        let hours = (self.length < DAY || self.opening > 0)
            .then(|| format!("{}-{}", time(self.opening), time(if closing > DAY { closing - DAY } else { closing })));
        let parts: Vec<String> = days.into_iter().chain(hours).collect();
        f.write_str(if parts.is_empty() { "always" } else { "" })?;
        f.write_str(&parts.join(" "))
    }
}

impl FromStr for Hours {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let refused = || format!("hours like `mon-fri 09:00-17:30`, `mon-sat`, `22:00-06:00` or `always`, found `{text}`");
        let day = |name: &str| NAMES.iter().position(|day| *day == name);
        let days_of = |text: &str| {
            text.split(',').try_fold(0, |days: u8, run| {
                let (first, last) = run.split_once('-').unwrap_or((run, run));
                let (first, last) = (day(first)?, day(last)?);
                Some((0..=(last + 7 - first) % 7).fold(days, |days, ahead| days | (1 << ((first + ahead) % 7))))
            })
        };
        let time = |text: &str| {
            let parts: Vec<i64> = text.split(':').map(|part| part.parse().ok()).collect::<Option<_>>()?;
            let plain = text.bytes().all(|byte| byte.is_ascii_digit() || byte == b':');
            let second = match parts[..] {
                [hour, minute] if minute < 60 => hour * 3600 + minute * 60,
                [hour, minute, second] if minute < 60 && second < 60 => hour * 3600 + minute * 60 + second,
                _ => return None,
            };
            (plain && second <= DAY).then_some(second)
        };
        let hours_of = |text: &str| {
            let (opening, closing) =
                text.split_once('-').and_then(|(opening, closing)| Some((time(opening)?, time(closing)?)))?;
            let length = closing - opening;
            (opening < DAY).then_some((opening, if length > 0 { length } else { length + DAY }))
        };
        let words: Vec<&str> = text.split_whitespace().collect();
        let (days, (opening, length)) = match words[..] {
            ["always"] => (ALL_DAYS, (0, DAY)),
            [one] if one.contains(':') => (ALL_DAYS, hours_of(one).ok_or_else(refused)?),
            [one] => (days_of(one).ok_or_else(refused)?, (0, DAY)),
            [days, hours] => (days_of(days).ok_or_else(refused)?, hours_of(hours).ok_or_else(refused)?),
            _ => return Err(refused()),
        };
        Ok(Self { days, opening, length })
    }
}

impl TryFrom<String> for Hours {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Hours> for String {
    fn from(hours: Hours) -> Self {
        hours.to_string()
    }
}

/// The rows within some hours, a step apart from each opening on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub hours: Hours,
    pub step: i64,
}

impl Open {
    /// Those of a step of so many seconds, if a day has whole steps, and hours that close.
    pub fn new(hours: Hours, step: i64) -> Option<Self> {
        (hours.closes() && step > 0 && DAY % step == 0).then_some(Self { hours, step })
    }

    /// Rows of a day.
    pub fn each_day(&self) -> i64 {
        (self.hours.length + self.step - 1) / self.step
    }

    /// Days of a week.
    pub fn days(&self) -> i64 {
        self.hours.days.count_ones().into()
    }

    /// Rows since the week of the first day of 1970, for a time within the hours.
    pub fn place(&self, ticks: i64) -> i64 {
        let (day, second) = self.hours.split(ticks);
        let before = self.hours.days & ((1 << weekday(day)) - 1);
        let days = (day + THURSDAY).div_euclid(7) * self.days() + i64::from(before.count_ones());
        days * self.each_day() + (second / self.step).min(self.each_day() - 1)
    }

    /// The time of a row.
    pub fn ticks(&self, place: i64) -> Option<i64> {
        let (day, row) = (place.div_euclid(self.each_day()), place.rem_euclid(self.each_day()));
        let (week, nth) = (day.div_euclid(self.days()), day.rem_euclid(self.days()));
        let weekday = (0..7).filter(|day| self.hours.days & (1 << day) != 0).nth(nth as usize)?;
        let day = week.checked_mul(7)?.checked_add(weekday - THURSDAY)?;
        day.checked_mul(DAY)?.checked_add(self.hours.opening + row * self.step)
    }
}

/// From Monday, 0.
fn weekday(day: i64) -> i64 {
    (day + THURSDAY).rem_euclid(7)
}

/// The rows of groups of sequences of sorted seconds, most often so many apart: within the hours that are told, or else within those that they are found in;
/// none where these never close. Every group has one time of the step.
pub(crate) fn open(groups: &[Vec<&[i64]>], step: i64, told: Option<Hours>) -> Option<Open> {
    let alike = |group: &Vec<&[i64]>| {
        let mut ticks = group.iter().copied().flatten();
        let first = ticks.next().map(|ticks| ticks.rem_euclid(step));
        ticks.all(|ticks| Some(ticks.rem_euclid(step)) == first)
    };
    if step <= 0 || DAY % step != 0 || !groups.iter().all(alike) {
        return None;
    }
    Open::new(told.or_else(|| found(groups, step))?, step)
}

/// The hours that rows are in, and nearly always, where they pass over all others again and again.
fn found(groups: &[Vec<&[i64]>], step: i64) -> Option<Hours> {
    let sequences = || groups.iter().flatten().filter(|ticks| !ticks.is_empty());
    let pairs = || sequences().flat_map(|ticks| ticks.windows(2)).map(|pair| (pair[0], pair[1]));
    let mut seen = vec![false; (DAY / step) as usize];
    sequences().copied().flatten().for_each(|ticks| seen[(ticks.rem_euclid(DAY) / step) as usize] = true);
    let mut hours = beside_night(&seen, step);
    if pairs().filter(|&(one, next)| hours.split(one).0 < hours.split(next).0).count() < NIGHTS {
        hours = Hours::ALWAYS;
    }
    let (mut days, mut passed) = (0, [0; 7]);
    sequences().copied().flatten().for_each(|&ticks| days |= 1 << weekday(hours.split(ticks).0));
    for (one, next) in pairs().map(|(one, next)| (hours.split(one).0, hours.split(next).0)) {
        if WEEK.contains(&(next - one)) {
            (one + 1..next).for_each(|day| passed[weekday(day) as usize] += 1);
        }
    }
    hours.days = (0..7).filter(|&day| days & (1 << day) != 0 || passed[day] < PASSED).fold(0, |days, day| days | (1 << day));
    let open = Open::new(hours, step)?;
    let rows = |ticks: &[i64]| 1 + ticks.windows(2).filter(|pair| pair[0] < pair[1]).count() as i64;
    let within = |ticks: &[i64]| 1 + open.place(ticks[ticks.len() - 1]) - open.place(ticks[0]);
    let (rows, within) = sequences().fold((0, 0), |(all, of), ticks| (all + rows(ticks), of + within(ticks)));
    (4 * rows >= FILLED * within).then_some(hours)
}

/// All days, but for the longest time that is never seen, if it is as long as a night.
fn beside_night(seen: &[bool], step: i64) -> Hours {
    let (mut longest, mut last) = ((0, 0), None);
    for at in (0..2 * seen.len()).filter(|at| seen[at % seen.len()]) {
        let before = last.replace(at).map_or(0, |last| at - last - 1);
        longest = longest.max((before, at % seen.len()));
    }
    let (night, opening) = (longest.0 as i64 * step, longest.1 as i64 * step);
    if night < NIGHT { Hours::ALWAYS } else { Hours { days: ALL_DAYS, opening, length: DAY - night } }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2024-01-01, a Monday.
    const MONDAY: i64 = 19_723 * DAY;

    #[test]
    fn hours_are_written_as_they_are_read() {
        for text in [
            "mon-fri 09:00-17:30",
            "mon-fri",
            "mon-thu,sun",
            "tue,thu,sat 08:15:30-24:00",
            "22:00-06:00",
            "sun 18:00-18:00",
            "always",
        ] {
            let hours: Hours = text.parse().expect(text);
            assert_eq!(hours.to_string(), text);
            assert_eq!(Hours::try_from(String::from(hours)), Ok(hours));
        }
        let same = |one: &str, other: &str| assert_eq!(one.parse::<Hours>(), other.parse::<Hours>(), "{one}");
        same("sun-thu", "mon-thu,sun");
        same("mon-sun 00:00-24:00", "always");
        same("mon-sun 9:00-17:00", "09:00-17:00");
        for text in [
            "",
            "mon-",
            "mo",
            "9-17",
            "09:00",
            "24:00-25:00",
            "09:60-10:00",
            "24:00-06:00",
            "mon 09:00-+9:30",
            "mon tue",
            "a b c",
        ] {
            let error = text.parse::<Hours>().expect_err(text);
            assert!(error.ends_with(&format!("found `{text}`")), "{error}");
        }
    }

    #[test]
    fn rows_of_some_hours_are_numbered_through() {
        for (text, step, rows) in
            [("mon-fri 09:00-17:30", 3600, 45), ("sun-thu 22:00-06:00", 1800, 80), ("mon-sat", DAY, 6), ("11:00-12:00", 7200, 7)]
        {
            let open = Open::new(text.parse().expect(text), step).expect(text);
            assert_eq!(open.each_day() * open.days(), rows, "{text}");
            for place in [-1000, -1, 0, 1, 9999] {
                let [one, next] = [place, place + 1].map(|place| open.ticks(place).expect("near 1970"));
                assert!(open.hours.holds(one) && one < next && open.place(one) == place, "{text} {place}");
                // A later time of the same step.
                assert_eq!(open.place(one + step.min(1800) - 1), place);
            }
            assert_eq!(open.ticks(rows).zip(open.ticks(0)).map(|(later, now)| later - now), Some(7 * DAY), "{text}");
        }
        assert!(Open::new(Hours::ALWAYS, 3600).is_none() && Open::new("mon-fri".parse().expect("hours"), 7 * DAY).is_none());
    }

    /// Hours in which these rows are found, of days from a Monday on.
    fn find(days: impl Iterator<Item = i64>, seconds: &[i64], step: i64) -> Option<String> {
        let ticks: Vec<i64> = days.flat_map(|day| seconds.iter().map(move |second| MONDAY + day * DAY + second)).collect();
        open(&[vec![&ticks]], step, None).map(|open| open.hours.to_string())
    }

    #[test]
    fn hours_are_those_that_rows_pass_over_all_others_of() {
        let hours = |hours: std::ops::Range<i64>| hours.map(|hour| hour * 3600).collect::<Vec<_>>();
        let (office, day, work) = (hours(9..17), hours(0..24), |day: &i64| day % 7 < 5);
        let found = |days: &[i64], seconds: &[i64]| find(days.iter().copied(), seconds, 3600);
        let weeks = |open: &dyn Fn(&i64) -> bool| (0..21).filter(open).collect::<Vec<i64>>();
        assert_eq!(found(&weeks(&work), &office).as_deref(), Some("mon-fri 09:00-17:00"));
        assert_eq!(found(&weeks(&work), &day).as_deref(), Some("mon-fri"));
        assert_eq!(found(&weeks(&|_| true), &office).as_deref(), Some("09:00-17:00"));
        assert_eq!(found(&weeks(&|day| day % 7 != 2), &office).as_deref(), Some("mon-tue,thu-sun 09:00-17:00"));
        assert_eq!(found(&weeks(&|_| true), &day), None);
        // Holidays are gaps, one row in four may be.
        assert_eq!(found(&weeks(&|day| work(day) && *day != 9), &office).as_deref(), Some("mon-fri 09:00-17:00"));
        assert_eq!(found(&weeks(&|day| work(day) && !(3..10).contains(day)), &office), None);
        // Beyond midnight, of the day before.
        let night: Vec<i64> = hours(20..28);
        assert_eq!(found(&weeks(&work), &night).as_deref(), Some("mon-fri 20:00-04:00"));
        // Nine nights, and one weekend, say nothing, nor does a pause of less than three hours.
        assert_eq!(found(&(0..10).collect::<Vec<_>>(), &office), None);
        assert_eq!(found(&(0..11).collect::<Vec<_>>(), &office).as_deref(), Some("09:00-17:00"));
        assert_eq!(found(&(0..12).filter(work).collect::<Vec<_>>(), &day), None);
        assert_eq!(found(&weeks(&|_| true), &hours(2..24)), None);
        assert_eq!(found(&weeks(&|_| true), &hours(3..24)).as_deref(), Some("03:00-24:00"));
        // Not at one time of the hour, or hours that no day has whole ones of.
        assert_eq!(found(&weeks(&work), &[office.clone(), vec![60_001]].concat()), None);
        assert_eq!(find(0..21, &[9 * 3600, 16 * 3600], 7 * 3600), None);
    }
}
