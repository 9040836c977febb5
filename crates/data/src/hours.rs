//! Hours of the week in which there are rows: those of an office, a shop or an exchange, or the days of work.
//!
//! They are found where the rows pass over the others again and again, and hardly ever are in one of them: then nights and weekends are no missing samples, and
//! what follows passes over them as well. Times are those of the stamps' own clock.

use crate::{
    grid::{self, Grid, Step, Unit},
    stamps::DAY,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeSet, fmt, ops::RangeInclusive, str::FromStr};

const NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const ALL_DAYS: u8 = 0x7f;
/// The first day of 1970 was a Thursday: days since the Monday before it.
const THURSDAY: i64 = 3;
/// Where all days are open a night is closed for at least this part of one, passed over on so many dates: a shorter one is a gap like others.
const NIGHT: i64 = DAY / 4;
const NIGHTS: usize = 10;
/// Dates on which a weekday has to be passed over, Mondays to Fridays and at the weekend, in gaps of so many days.
const PASSED: [usize; 7] = [4, 4, 4, 4, 4, 2, 2];
const WEEK: RangeInclusive<i64> = 2..=7;
/// Hours that have one in so many of the rows that the fullest have are closed, if one in so many of all rows is outside at most.
const RARE: usize = 50;
const OUTSIDE: usize = 100;
/// Rows that are there of those within the hours, at least in parts of them: of days, and of what is faster.
const FILLED: [f64; 2] = [0.7, 0.5];
/// A row is near its place within one such part of a step, and of so many rows all but one are.
const NEAR: i64 = 10;

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
    /// All days, and all hours of them.
    pub const ALWAYS: Self = Self { days: ALL_DAYS, opening: 0, length: DAY };

    /// Seconds that were open since 1970 and the week before.
    pub(crate) fn passed(&self, ticks: i64) -> i64 {
        let past = ticks - self.opening;
        let day = past.div_euclid(DAY);
        days_before(self.days, day) * self.length
            + if is_open(self.days, day) { past.rem_euclid(DAY).min(self.length) } else { 0 }
    }

    /// Whether the day is open that a time is of.
    pub(crate) fn is_day(&self, ticks: i64) -> bool {
        is_open(self.days, (ticks - self.opening).div_euclid(DAY))
    }

    /// The second of the day that they begin at.
    pub(crate) fn opening(self) -> i64 {
        self.opening
    }

    /// Whether days are closed, or hours of them.
    pub fn closes(&self) -> bool {
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
            let digits = |part: &str| part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
            let plain = text.split(':').skip(1).all(digits) && text.starts_with(|first: char| first.is_ascii_digit());
            let second = match parts[..] {
                [hour, minute] if hour <= 24 && minute < 60 => hour * 3600 + minute * 60,
                [hour, minute, second] if hour <= 24 && minute < 60 && second < 60 => hour * 3600 + minute * 60 + second,
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
        let lowercase = text.to_ascii_lowercase();
        let words: Vec<&str> = lowercase.split_whitespace().collect();
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

/// The rows within some hours, a step apart from a phase after each opening on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Open {
    pub hours: Hours,
    pub step: i64,
    /// Less than a step; a little below 0 for clocks that are early.
    phase: i64,
}

impl Open {
    /// Those of a step of so many seconds, if a day has whole steps, the hours hold one, and they close. Rows are as long after midnight as `phase`, or whole steps more.
    pub fn new(hours: Hours, step: i64, phase: i64) -> Option<Self> {
        if !hours.closes() || step <= 0 || DAY % step != 0 {
            return None;
        }
        let mut phase = (phase - hours.opening).rem_euclid(step);
        if step < DAY && NEAR * (step - phase) < step {
            phase -= step;
        }
        let open = Self { hours, step, phase };
        (open.each_day() > 0).then_some(open)
    }

    /// The same of rows that have the phase of these.
    pub fn of(self, group: &[&[i64]]) -> Self {
        Self::new(self.hours, self.step, phase(group, self.step)).unwrap_or(self)
    }

    /// Rows of a day.
    pub fn each_day(&self) -> i64 {
        match self.hours.length {
            DAY => DAY / self.step,
            length => (length - self.phase.max(0) + self.step - 1) / self.step,
        }
    }

    /// Days of a week.
    pub fn days(&self) -> i64 {
        self.hours.days.count_ones().into()
    }

    /// The hours from the first row of a day to a step after the last, which tell the phase. Of days, whole ones.
    pub fn own_hours(&self) -> Hours {
        let Hours { days, opening, .. } = self.hours;
        let (opening, length) = (opening + self.phase.max(0), self.each_day() * self.step);
        match opening < DAY {
            _ if self.step == DAY => self.hours,
            true => Hours { days, opening, length },
            // The first row of a day comes after midnight.
            false => Hours { days: (days << 1 | days >> 6) & ALL_DAYS, opening: opening - DAY, length },
        }
    }

    /// Rows since the week of the first day of 1970, of the row nearest to a time, and whether it is open.
    pub fn place(&self, ticks: i64) -> (i64, bool) {
        let past = ticks - self.hours.opening - self.phase + self.step / 2;
        let (day, row) = (past.div_euclid(DAY), past.rem_euclid(DAY) / self.step);
        let (each_day, is_open) = (self.each_day(), is_open(self.hours.days, day));
        let nearest = if is_open { row.min(each_day - 1) } else { 0 };
        (days_before(self.hours.days, day) * each_day + nearest, is_open && row < each_day)
    }

    /// The time of a row.
    pub fn ticks(&self, place: i64) -> Option<i64> {
        let (day, row) = (place.div_euclid(self.each_day()), place.rem_euclid(self.each_day()));
        let (week, nth) = (day.div_euclid(self.days()), day.rem_euclid(self.days()));
        let weekday = (-THURSDAY..7 - THURSDAY).filter(|&day| is_open(self.hours.days, day)).nth(nth as usize)?;
        let day = week.checked_mul(7)?.checked_add(weekday)?;
        day.checked_mul(DAY)?.checked_add(self.hours.opening + self.phase + row * self.step)
    }
}

/// From Monday, 0, of a day since 1970.
fn weekday(day: i64) -> i64 {
    (day + THURSDAY).rem_euclid(7)
}

/// Whether a day since 1970 is one of those of a week.
fn is_open(days: u8, day: i64) -> bool {
    days & (1 << weekday(day)) != 0
}

/// How many of these there are from the week of the first day of 1970 on before a day.
fn days_before(days: u8, day: i64) -> i64 {
    let of_week = days & ((1 << weekday(day)) - 1);
    (day + THURSDAY).div_euclid(7) * i64::from(days.count_ones()) + i64::from(of_week.count_ones())
}

/// The rows of groups of sequences of sorted seconds: within hours that are told, or else within those that they are found in; none where these never close, or
/// no step is that a day has whole ones of.
pub(crate) fn open(groups: &[Vec<&[i64]>], told: Option<Hours>) -> Option<Open> {
    let phase = |step: i64| groups.first().map_or(0, |group| phase(group, step));
    let Some(hours) = told else {
        if !has_nights(groups) {
            return None;
        }
        let step = step(pairs(groups).map(|(one, next)| next - one))?;
        let open = Open::new(found(groups, step)?, step, phase(step))?;
        let (mut far, mut all) = (0, 0);
        for group in groups {
            // A group has its own phase.
            let open = open.of(group);
            for &ticks in group.iter().copied().flatten() {
                let (place, is_open) = open.place(ticks);
                let late = open.ticks(place).map_or(0, |place| (ticks - place).abs());
                far += usize::from(!is_open || NEAR * late >= step);
                all += 1;
            }
        }
        return (far * NEAR as usize <= all).then_some(open);
    };
    if !hours.closes() {
        return None;
    }
    // By the time that is open between rows.
    let step = step(pairs(groups).map(|(one, next)| hours.passed(next) - hours.passed(one)).filter(|&passed| passed > 0))?;
    Open::new(hours, step, phase(step))
}

/// Whether there are gaps as long as a night, without which there are no hours to be found.
pub(crate) fn has_nights(groups: &[Vec<&[i64]>]) -> bool {
    pairs(groups).filter(|(one, next)| next - one >= NIGHT).nth(1).is_some()
}

/// The step nearest to one that a day has whole ones of, if it is near.
pub(crate) fn whole(step: i64) -> Option<i64> {
    if step > 0 && DAY % step == 0 {
        return Some(step);
    }
    let near = step - step / NEAR..=(step + step / NEAR).min(DAY);
    near.filter(|&whole| whole > 0 && DAY % whole == 0).min_by_key(|whole| (whole - step).abs())
}

/// Rows that follow one another at another time.
fn pairs<'a>(groups: &'a [Vec<&'a [i64]>]) -> impl Iterator<Item = (i64, i64)> + 'a {
    groups.iter().flatten().flat_map(|ticks| ticks.windows(2)).map(|pair| (pair[0], pair[1])).filter(|(one, next)| one < next)
}

/// The step that a day has whole ones of, if it is the most frequent of these differences, or nearly their median; a day, if they are a few.
fn step(differences: impl Iterator<Item = i64>) -> Option<i64> {
    let mut all: Vec<i64> = differences.collect();
    let (frequent, _) = grid::most_frequent(all.iter().copied())?;
    if frequent % DAY == 0 && frequent < 7 * DAY {
        return Some(DAY);
    }
    let middle = all.len() / 2;
    if DAY % frequent == 0 { Some(frequent) } else { whole(*all.select_nth_unstable(middle).1) }
}

/// What the rows of a group are after whole steps.
fn phase(group: &[&[i64]], step: i64) -> i64 {
    Grid::fit(Step { unit: Unit::Second, size: step, parts: 1 }, group).phase()
}

/// The hours that hold nearly all rows, and of which most have one, where they pass over all others again and again.
fn found(groups: &[Vec<&[i64]>], step: i64) -> Option<Hours> {
    let each_day = DAY / step;
    // The rows as steps since 1970, each group by its phase.
    let sequences: Vec<Vec<i64>> = groups
        .iter()
        .flat_map(|group| {
            let phase = phase(group, step);
            group.iter().map(move |ticks| ticks.iter().map(|ticks| (ticks - phase + step / 2).div_euclid(step)).collect())
        })
        .filter(|sequence: &Vec<i64>| !sequence.is_empty())
        .collect();
    let rows = || sequences.iter().flatten().copied();
    let (mut of_day, mut of_week) = (vec![0; each_day as usize], vec![0; 7 * each_day as usize]);
    for row in rows() {
        of_day[row.rem_euclid(each_day) as usize] += 1;
        of_week[row.rem_euclid(7 * each_day) as usize] += 1;
    }
    let openings: BTreeSet<i64> = [0, opening(&of_day), opening(&of_week)].into_iter().map(|row| row as i64 % each_day).collect();
    let hours = openings.into_iter().filter_map(|opening| beside(&sequences, &of_day, opening));
    let (filled, length, days, opening) = hours.max_by(|one, other| one.0.total_cmp(&other.0))?;
    let hours = Hours { days, opening: opening * step, length: length * step };
    (hours.closes() && filled >= FILLED[usize::from(each_day > 1)]).then_some(hours)
}

/// Whether there are rows, and not hardly any, where the fullest place has so many.
fn is_seen(count: usize, fullest: usize) -> bool {
    RARE * count > fullest
}

/// The first place that is seen after the longest time, round and round, that is not.
fn opening(counts: &[usize]) -> usize {
    let fullest = counts.iter().copied().max().unwrap_or(0);
    let (mut longest, mut last) = ((0, 0), None);
    for at in (0..2 * counts.len()).filter(|at| is_seen(counts[at % counts.len()], fullest)) {
        let before = last.replace(at).map_or(0, |last| at - last - 1);
        longest = longest.max((before, at % counts.len()));
    }
    if longest.0 > 0 { longest.1 } else { 0 }
}

/// What is open if days begin at this row of them: the share of rows that are there, how many rows a day has, the days and that row; none where all is.
fn beside(sequences: &[Vec<i64>], of_day: &[usize], opening: i64) -> Option<(f64, i64, u8, i64)> {
    let each_day = of_day.len() as i64;
    let day = |row: i64| (row - opening).div_euclid(each_day);
    let fullest = of_day.iter().copied().max().unwrap_or(0);
    let at = |before: i64| of_day[(opening - before).rem_euclid(each_day) as usize];
    let mut night = (1..each_day).take_while(|&before| !is_seen(at(before), fullest)).count() as i64;
    let (mut of_weekday, mut nights, mut passed) = ([0; 7], BTreeSet::new(), vec![BTreeSet::new(); 7]);
    for sequence in sequences {
        sequence.iter().for_each(|&row| of_weekday[weekday(day(row)) as usize] += 1);
        for (one, next) in sequence.windows(2).map(|pair| (day(pair[0]), day(pair[1]))).filter(|(one, next)| one < next) {
            nights.insert(one);
            if WEEK.contains(&(next - one)) {
                (one + 1..next).for_each(|day| _ = passed[weekday(day) as usize].insert(day));
            }
        }
    }
    let fullest = of_weekday.iter().copied().max().unwrap_or(0);
    let is_closed = |weekday: usize| !is_seen(of_weekday[weekday], fullest) && passed[weekday].len() >= PASSED[weekday];
    let days = (0..7).filter(|&weekday| !is_closed(weekday)).fold(0, |days, weekday| days | (1 << weekday));
    // A short pause by night is a gap, unless days are closed, too.
    if nights.len() < NIGHTS || (days == ALL_DAYS && night * (DAY / each_day) < NIGHT) {
        night = 0;
    }
    let length = each_day - night;
    let is_open = |row: i64| is_open(days, day(row)) && (row - opening).rem_euclid(each_day) < length;
    // Rows of each day are numbered through.
    let place = |row: i64| days_before(days, day(row)) * length + (row - opening).rem_euclid(each_day);
    let (mut within, mut outside, mut all) = (0, 0, 0);
    for sequence in sequences {
        let mut places = sequence.iter().filter(|&&row| is_open(row)).map(|&row| place(row));
        outside += sequence.iter().filter(|&&row| !is_open(row)).count();
        let Some(first) = places.next() else { continue };
        // What an outage of weeks takes is not missing within.
        let week = length * i64::from(days.count_ones());
        let (_, count, span) = places.fold((first, 1, 1), |(last, count, span), place| {
            let passed = place - last;
            (place, count + usize::from(passed > 0), span + if passed > week { 1 } else { passed })
        });
        (within, all) = (within + count, all + span as usize);
    }
    let is_found = within > 0 && OUTSIDE * outside <= within;
    is_found.then(|| (within as f64 / all as f64, length, days, opening))
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
        for (text, step, phase, rows, own) in [
            ("mon-fri 09:00-17:30", 3600, 0, 45, "mon-fri 09:00-18:00"),
            ("mon-fri 09:00-17:30", 3600, 1800, 40, "mon-fri 09:30-17:30"),
            ("mon-fri 09:30-16:00", 3600, 1800, 35, "mon-fri 09:30-16:30"),
            ("mon-fri 09:30-16:00", 3600, 0, 30, "mon-fri 10:00-16:00"),
            ("mon,sun 23:30-02:00", 3600, 0, 4, "mon-tue 00:00-02:00"),
            ("sun-thu 22:00-06:00", 1800, 7, 80, "mon-thu,sun 22:00:07-06:00:07"),
            ("mon-fri", 3600, 1800, 120, "mon-fri 00:30-00:30"),
            ("mon-sat", DAY, 7200, 6, "mon-sat"),
            ("11:00-12:00", 7200, 3600, 7, "11:00-13:00"),
        ] {
            let open = Open::new(text.parse().expect(text), step, phase).expect(text);
            assert_eq!((open.each_day() * open.days(), &*open.own_hours().to_string()), (rows, own), "{text}");
            for place in [-1000, -1, 0, 1, 9999] {
                let [one, next] = [place, place + 1].map(|place| open.ticks(place).expect("near 1970"));
                assert!(one < next && one.rem_euclid(step) == phase, "{text} {place}");
                // Early and late.
                for ticks in [one - step / 2, one, one + (step - 1) / 2] {
                    assert_eq!(open.place(ticks), (place, true), "{text} {place}");
                }
                assert_eq!(open.place(one + step).1, next == one + step, "{text} {place}");
            }
            assert_eq!(open.ticks(rows).zip(open.ticks(0)).map(|(later, now)| later - now), Some(7 * DAY), "{text}");
            // The same rows, by the hours that they are.
            let own = Open::new(open.own_hours(), step, phase).expect(own);
            for ticks in [7, -8].map(|place| open.ticks(place).expect("near 1970")) {
                let (place, is_open) = own.place(ticks);
                assert!(is_open && own.ticks(place) == Some(ticks), "{text}");
            }
        }
        let new = |text: &str, step| Open::new(text.parse().expect(text), step, 1800);
        assert!(new("always", 3600).is_none() && new("mon-fri", 7 * DAY).is_none() && new("09:00-09:15", 3600).is_none());
    }

    /// Hours in which these rows are found, of days from a Monday on.
    fn find(days: impl Iterator<Item = i64>, seconds: &[i64]) -> Option<String> {
        let ticks: Vec<i64> = days.flat_map(|day| seconds.iter().map(move |second| MONDAY + day * DAY + second)).collect();
        open(&[vec![&ticks]], None).map(|open| open.own_hours().to_string())
    }

    #[test]
    fn hours_are_those_that_rows_pass_over_all_others_of() {
        let hours = |hours: std::ops::Range<i64>| hours.map(|hour| hour * 3600).collect::<Vec<_>>();
        let (office, day, work) = (hours(9..17), hours(0..24), |day: &i64| day % 7 < 5);
        let found = |days: &[i64], seconds: &[i64]| find(days.iter().copied(), seconds);
        let weeks = |open: &dyn Fn(&i64) -> bool| (0..21).filter(open).collect::<Vec<i64>>();
        assert_eq!(found(&weeks(&work), &office).as_deref(), Some("mon-fri 09:00-17:00"));
        assert_eq!(found(&weeks(&work), &day).as_deref(), Some("mon-fri"));
        assert_eq!(found(&weeks(&|_| true), &office).as_deref(), Some("09:00-17:00"));
        assert_eq!(found(&weeks(&|_| true), &day), None);
        assert_eq!(
            found(&weeks(&work), &office.iter().map(|second| second + 90).collect::<Vec<_>>()).as_deref(),
            Some("mon-fri 09:01:30-17:01:30")
        );
        // Holidays are gaps, one day in two may be one.
        assert_eq!(found(&weeks(&|day| work(day) && *day != 9), &office).as_deref(), Some("mon-fri 09:00-17:00"));
        assert_eq!(found(&weeks(&|day| work(day) && day % 7 != *day / 7), &office).as_deref(), Some("mon-fri 09:00-17:00"));
        // Two sessions of a day are one, with a gap.
        assert_eq!(found(&weeks(&work), &[hours(9..12), hours(14..17)].concat()).as_deref(), Some("mon-fri 09:00-17:00"));
        // Beyond midnight, of the day before; a week that begins on Sunday evening, with a pause by day.
        assert_eq!(found(&weeks(&work), &hours(20..28)).as_deref(), Some("mon-fri 20:00-04:00"));
        let sessions: Vec<i64> = (-1..62).filter(|day: &i64| [6, 0, 1, 2, 3].contains(&day.rem_euclid(7))).collect();
        assert_eq!(found(&sessions, &hours(18..41)).as_deref(), Some("mon-thu,sun 18:00-17:00"));
        // Nine nights, and one weekend, say nothing, nor do nights of less than six hours where no day is closed.
        assert_eq!(found(&(0..10).collect::<Vec<_>>(), &office), None);
        assert_eq!(found(&(0..11).collect::<Vec<_>>(), &office).as_deref(), Some("09:00-17:00"));
        assert_eq!(found(&(0..12).filter(work).collect::<Vec<_>>(), &day), None);
        assert_eq!(found(&weeks(&|_| true), &hours(5..24)), None);
        assert_eq!(found(&weeks(&|_| true), &hours(6..24)).as_deref(), Some("06:00-24:00"));
        assert_eq!(found(&weeks(&work), &hours(5..24)).as_deref(), Some("mon-fri 05:00-24:00"));
        // Three Wednesdays without a row are no rule, four are.
        assert_eq!(found(&weeks(&|day| day % 7 != 2), &office).as_deref(), Some("09:00-17:00"));
        let month: Vec<i64> = (0..28).filter(|day| day % 7 != 2).collect();
        assert_eq!(found(&month, &office).as_deref(), Some("mon-tue,thu-sun 09:00-17:00"));
        // Days of work, and some of them.
        assert_eq!(found(&weeks(&work), &[3600]).as_deref(), Some("mon-fri"));
        assert_eq!(
            found(&(0..35).filter(|day| [0, 2, 4].contains(&(day % 7))).collect::<Vec<_>>(), &[0]).as_deref(),
            Some("mon,wed,fri")
        );
        assert_eq!(found(&(0..60).step_by(2).collect::<Vec<_>>(), &[0]), None);
    }

    #[test]
    fn a_few_rows_make_no_hours() {
        // Clocks that are early and late, one row by night, one on a Saturday.
        let days = || (0..140).filter(|day| day % 7 < 5);
        let rows =
            days().flat_map(|day| (9..17).map(move |hour| MONDAY + day * DAY + hour * 3600 + (day * 5 + hour * 3) % 9 - 4));
        let mut rows: Vec<i64> = rows.chain([MONDAY + 9 * DAY + 7200, MONDAY + 33 * DAY + 43_200]).collect();
        rows.sort_unstable();
        let open_of = |groups: &[Vec<&[i64]>], told| open(groups, told);
        let found = open_of(&[vec![&rows]], None).expect("hours");
        assert!(found.hours.to_string() == "mon-fri 09:00-17:00" && found.step == 3600, "{found:?}");
        assert_eq!(rows.iter().filter(|&&row| !found.place(row).1).count(), 2);
        assert_eq!(found.place(rows[8]).0, found.place(rows[7]).0 + 1);
        // Many series that pass over one night, or one weekend, together.
        let outage: Vec<i64> = (0..11 * 24).filter(|hour| !(70..77).contains(hour)).map(|hour| MONDAY + hour * 3600).collect();
        assert_eq!(open_of(&[vec![&outage[..]; 12]], None), None);
        let weekend: Vec<i64> = (0..11).filter(|day| day % 7 < 5).map(|day| MONDAY + day * DAY).collect();
        assert_eq!(open_of(&[vec![&weekend[..]; 12]], None), None);
        // Told ones need no more than two rows.
        let told = Some("mon-fri 09:00-17:00".parse().expect("hours"));
        let friday = MONDAY + 4 * DAY + 16 * 3600;
        for (next, step) in [(friday + 65 * 3600, 3600), (friday + 66 * 3600, 7200), (friday - DAY, 8 * 3600)] {
            let rows = [friday.min(next), friday.max(next)];
            assert_eq!(open_of(&[vec![&rows]], told).map(|open| open.step), Some(step));
        }
        assert_eq!((open_of(&[vec![&rows[..1]]], told), open_of(&[], None)), (None, None));
        // Of a clock that is a moment early or late, too.
        for late in [-5, 0, 5] {
            let rows: Vec<i64> = (0..12).map(|row| MONDAY + row / 8 * DAY + (9 + row % 8) * 3600 + late).collect();
            let open = open_of(&[vec![&rows]], told).expect("hours");
            assert!(rows.iter().all(|&row| open.place(row).1 && open.ticks(open.place(row).0) == Some(row)), "{open:?}");
            assert_eq!((open.each_day(), open.place(rows[8]).0 - open.place(rows[7]).0), (8, 1));
        }
        // Steps beyond a day, however long, have no whole one near.
        assert_eq!(
            (whole(7 * DAY), whole(i64::MAX / 4), whole(0), whole(DAY + 60), whole(3601)),
            (None, None, None, Some(DAY), Some(3600))
        );
        // An outage of weeks is none of the rows that are missing.
        let outage: Vec<i64> =
            (0..280).filter(|day| day % 7 < 5 && !(70..210).contains(day)).map(|day| MONDAY + day * DAY).collect();
        assert_eq!(open_of(&[vec![&outage]], None).map(|open| open.hours.to_string()).as_deref(), Some("mon-fri"));
    }
}
