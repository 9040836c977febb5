//! The regular grid that stamps are on, or nearly.
//!
//! Its unit is the tick of a stamp, or the month where no two stamps are less than 28 days apart and all have one day of the month
//! (its last, where a month is shorter) at one time of the day; stamps that are all the same tell of no month. So months and years are
//! regular although their days are not. It is the day of work where stamps are most often a day apart, at one time of the day, and pass
//! over Saturdays and Sundays.

use crate::stamps::{self, DAY};
use std::collections::BTreeMap;

/// Ticks of the shortest month.
const MONTH: i64 = 28 * DAY;
/// The first day of 1970 was a Thursday: days since the Monday before it.
const THURSDAY: i64 = 3;
/// Weekends passed over that make days days of work.
pub(crate) const WEEKENDS: usize = 2;
/// What is moved by less than this part of a step is near its place.
const NEAR: i128 = 10;

/// What the grid counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Integer stamps.
    Count,
    /// Seconds.
    Second,
    /// Mondays to Fridays.
    Workday,
    /// Months of the calendar.
    Month,
}

/// A day of the month, clipped to the month, and a second of the day.
type Anchor = (i8, i64);

/// Positions at `phase + step · position`, in units; a step of 0 is unknown, and positions are units.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub unit: Unit,
    pub step: i64,
    phase: i64,
    anchor: Anchor,
}

/// The unit and the step of groups of sequences of sorted ticks. A group has one clock; each sequence has its differences.
/// The step is the most frequent difference, the smallest of those; 0 if there is none.
pub(crate) fn step(groups: &[Vec<&[i64]>], civil: bool) -> (Unit, i64) {
    step_past(groups, civil, WEEKENDS)
}

/// The same, where so many weekends passed over make days days of work.
pub(crate) fn step_past(groups: &[Vec<&[i64]>], civil: bool, weekends: usize) -> (Unit, i64) {
    let monthly = civil && groups.iter().any(|group| varies(group)) && groups.iter().all(|group| anchor(group).is_some());
    let unit = if monthly {
        Unit::Month
    } else if civil && are_workdays(groups, weekends) {
        Unit::Workday
    } else if civil {
        Unit::Second
    } else {
        Unit::Count
    };
    let differences =
        groups.iter().flatten().flat_map(|ticks| ticks.windows(2)).map(|pair| place(unit, pair[1]) - place(unit, pair[0]));
    // Sequences of one stamp each are a month apart, or more.
    (unit, most_frequent(differences.filter(|&difference| difference > 0)).unwrap_or(i64::from(monthly)))
}

/// The difference that as many are above as below, in units; none where there are no two stamps.
pub(crate) fn median(unit: Unit, groups: &[Vec<&[i64]>]) -> Option<i64> {
    let pairs = groups.iter().flatten().flat_map(|ticks| ticks.windows(2));
    let differences = pairs.map(|pair| place(unit, pair[1]) - place(unit, pair[0])).filter(|&difference| difference > 0);
    let mut differences: Vec<i64> = differences.collect();
    let middle = differences.len().checked_sub(1)? / 2;
    Some(*differences.select_nth_unstable(middle).1)
}

/// How badly these fit on their grid: stamps off it, and positions between them without one.
pub(crate) fn misfits(groups: &[Vec<&[i64]>], civil: bool) -> i64 {
    let (unit, step) = step(groups, civil);
    let mut sum = 0i64;
    for group in groups {
        let grid = Grid::fit(unit, step, group);
        let misfit = |ticks: i64| i64::from(!grid.position(ticks).1);
        let missing = |pair: &[i64]| (grid.position(pair[1]).0 - grid.position(pair[0]).0 - 1).max(0);
        for ticks in group {
            let all = ticks.iter().map(|&ticks| misfit(ticks)).chain(ticks.windows(2).map(missing));
            sum = all.fold(sum, i64::saturating_add);
        }
    }
    sum
}

/// Whether two stamps are different.
fn varies(group: &[&[i64]]) -> bool {
    let mut ticks = group.iter().copied().flatten();
    ticks.next().is_some_and(|first| ticks.any(|ticks| ticks != first))
}

/// Whether a day is what lies most often between stamps, all Saturdays and Sundays are passed over, `least` times at least, and each group has its time
/// of the day.
fn are_workdays(groups: &[Vec<&[i64]>], least: usize) -> bool {
    let alike = |group: &Vec<&[i64]>| {
        let mut ticks = group.iter().copied().flatten();
        let second = ticks.clone().next().map(|ticks| ticks.rem_euclid(DAY));
        ticks.all(|ticks| Some(ticks.rem_euclid(DAY)) == second && weekday(*ticks) < 5)
    };
    let pairs = || groups.iter().flatten().flat_map(|ticks| ticks.windows(2)).filter(|pair| pair[0] < pair[1]);
    let weekends = pairs().filter(|pair| weekday(pair[0]) == 4 && pair[1] - pair[0] == 3 * DAY);
    weekends.count() >= least && most_frequent(pairs().map(|pair| pair[1] - pair[0])) == Some(DAY) && groups.iter().all(alike)
}

/// From Monday, 0.
pub(crate) fn weekday(ticks: i64) -> i64 {
    (ticks.div_euclid(DAY) + THURSDAY).rem_euclid(7)
}

fn anchor(group: &[&[i64]]) -> Option<Anchor> {
    let close = |ticks: &&[i64]| ticks.windows(2).any(|pair| (1..MONTH).contains(&(pair[1] - pair[0])));
    if group.iter().any(close) {
        return None;
    }
    let ticks = || group.iter().copied().flatten().copied();
    let day = ticks().filter_map(stamps::civil).map(|time| time.day()).max()?;
    let second = ticks().next()?.rem_euclid(DAY);
    let anchored = |ticks: i64| stamps::ticks_in_month(place(Unit::Month, ticks), day, second) == Some(ticks);
    ticks().all(anchored).then_some((day, second))
}

/// A time in units; 0 where it has no month, which no parsed stamp is without.
pub(crate) fn place(unit: Unit, ticks: i64) -> i64 {
    match unit {
        Unit::Month => stamps::civil(ticks).map_or(0, stamps::month),
        Unit::Workday => 5 * (ticks.div_euclid(DAY) + THURSDAY).div_euclid(7) + weekday(ticks),
        Unit::Count | Unit::Second => ticks,
    }
}

fn most_frequent(values: impl Iterator<Item = i64>) -> Option<i64> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0usize) += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(value, _)| value)
}

impl Grid {
    /// The integers.
    pub fn counting() -> Self {
        Self { unit: Unit::Count, step: 1, phase: 0, anchor: (1, 0) }
    }

    /// The grid of a group: its phase is the most frequent one, or amid all where most are off that.
    pub fn fit(unit: Unit, step: i64, group: &[&[i64]]) -> Self {
        let phases = group.iter().copied().flatten().map(|&ticks| place(unit, ticks).rem_euclid(step.max(1)));
        let phase = most_frequent(phases).unwrap_or(0);
        let anchor = match unit {
            Unit::Month => anchor(group),
            Unit::Workday => group.iter().copied().flatten().next().map(|ticks| (1, ticks.rem_euclid(DAY))),
            Unit::Count | Unit::Second => None,
        };
        Self { unit, step, phase, anchor: anchor.unwrap_or((1, 0)) }.amid(group)
    }

    /// Where most ticks are off it, the grid that as many are early for as are late.
    fn amid(mut self, group: &[&[i64]]) -> Self {
        let all = || group.iter().copied().flatten().copied();
        let (count, off) = (all().count(), all().filter(|&ticks| !self.position(ticks).1).count());
        if matches!(self.unit, Unit::Count | Unit::Second) && off > count / 2 {
            let (step, half) = (self.step.max(1), self.step / 2);
            let mut late: Vec<i64> = all().map(|ticks| (ticks - self.phase + half).rem_euclid(step) - half).collect();
            self.phase = (self.phase + *late.select_nth_unstable(count / 2).1).rem_euclid(step);
        }
        self
    }

    /// Whether it tells what follows: its step is known, or integers are counted.
    pub fn goes_on(&self) -> bool {
        self.step > 0 || self.unit == Unit::Count
    }

    /// The nearest position, and whether it is met exactly.
    pub fn position(&self, ticks: i64) -> (i64, bool) {
        let (place, step) = (place(self.unit, ticks) - self.phase, self.step.max(1));
        ((place + step / 2).div_euclid(step), place.rem_euclid(step) == 0)
    }

    /// Whether the nearest position is less than a tenth of a step away, as that of a clock that is a little early or late.
    pub fn is_near(&self, ticks: i64) -> bool {
        let step = self.step.max(1);
        let past = (place(self.unit, ticks) - self.phase).rem_euclid(step);
        NEAR * i128::from(past.min(step - past)) < i128::from(step)
    }

    /// The time of a position.
    pub fn ticks(&self, position: i64) -> Option<i64> {
        let place = position.checked_mul(self.step.max(1))?.checked_add(self.phase)?;
        let (day, second) = self.anchor;
        match self.unit {
            Unit::Month => stamps::ticks_in_month(place, day, second),
            Unit::Workday => {
                let day = place.div_euclid(5).checked_mul(7)?.checked_add(place.rem_euclid(5) - THURSDAY)?;
                day.checked_mul(DAY)?.checked_add(second)
            }
            Unit::Count | Unit::Second => Some(place),
        }
    }
}

/// A step in words.
pub(crate) fn words(unit: Unit, step: i64) -> String {
    let names: &[(i64, &str)] = match unit {
        Unit::Count => &[],
        Unit::Workday => &[(1, " workday")],
        Unit::Second => &[(DAY, " d"), (3600, " h"), (60, " min"), (1, " s")],
        Unit::Month => &[(12, " y"), (1, " mo")],
    };
    let (size, name) = names.iter().find(|(size, _)| step % size == 0).unwrap_or(&(1, ""));
    if step == 0 { "-".into() } else { format!("{}{name}", step / size) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stamps: &[&str], expected: &str) {
        let ticks: Vec<i64> = stamps.iter().map(|stamp| stamps::parse(stamp).expect("a stamp").ticks).collect();
        let civil = stamps[0].contains('-');
        let (unit, step) = step(&[vec![&ticks]], civil);
        assert_eq!(words(unit, step), expected, "{stamps:?}");
        let grid = Grid::fit(unit, step, &[&ticks]);
        for &ticks in &ticks {
            let (position, met) = grid.position(ticks);
            assert!(!met || grid.ticks(position) == Some(ticks), "{stamps:?}");
        }
    }

    #[test]
    fn steps_are_the_most_frequent_difference() {
        check(&["3"], "-");
        check(&["2020-01-01"], "-");
        check(&["2020-01-01 05:00:00", "2020-01-01 05:00:00"], "-");
        check(&["0", "2", "4", "5", "9"], "2");
        check(&["2020-01-01 00:00:00", "2020-01-01 00:10:00", "2020-01-01 00:20:00", "2020-01-01 02:00:00"], "10 min");
        check(&["2020-01-01 00:00:00", "2020-01-01 00:00:07"], "7 s");
        check(&["2020-01-01T00:00:00", "2020-01-01T03:00:00"], "3 h");
        check(&["2020-01-01", "2020-01-08"], "7 d");
    }

    #[test]
    fn a_grid_lies_amid_stamps_that_are_early_and_late() {
        let fitted = |ticks: &[i64]| Grid::fit(Unit::Count, 10, &[ticks]).ticks(0);
        assert_eq!(fitted(&[2, 12, 22, 33, 43]), Some(2));
        assert_eq!(fitted(&[3, 13, 22, 32, 41, 51, 50]), Some(2));
        // Around 0, too.
        assert_eq!(fitted(&[1, 11, 20, 29, 39, 50, 61]), Some(0));
        let grid = Grid::fit(Unit::Count, 10, &[&[0, 10, 20]]);
        let near = [0, 1, 5, 9, 10, -1].map(|ticks| grid.is_near(ticks));
        assert_eq!(near, [true, false, false, false, true, false]);
        assert_eq!(median(Unit::Count, &[vec![&[0, 9, 19, 19], &[5, 16]]]), Some(10));
    }

    #[test]
    fn one_stamp_tells_of_no_step() {
        let stamp = stamps::parse("2020-01-31 05:00:00").expect("a stamp").ticks;
        let later = stamps::parse("2020-02-29 05:00:00").expect("a stamp").ticks;
        for group in [vec![&[stamp][..]], vec![&[stamp, stamp][..]], vec![&[stamp], &[stamp]], vec![]] {
            assert_eq!(step(&[group], true), (Unit::Second, 0));
        }
        assert_eq!(step(&[vec![&[stamp, later]]], true), (Unit::Month, 1));
        // Months apart, whichever series they are of.
        assert_eq!(step(&[vec![&[stamp], &[later]]], true), (Unit::Month, 1));
    }

    #[test]
    fn days_that_pass_over_weekends_are_workdays() {
        // 2024-01-01 is a Monday.
        let days = |days: &[i8]| days.iter().map(|day| format!("2024-01-{day:02}")).collect::<Vec<_>>();
        let checked = |all: &[i8], expected: &str| {
            let all = days(all);
            check(&all.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        };
        checked(&[4, 5, 8, 9, 10, 11, 12, 15, 16], "1 workday");
        // A holiday is a gap among them.
        checked(&[2, 3, 4, 5, 8, 10, 11, 12, 15, 16], "1 workday");
        // One weekend, a Saturday, or every Friday and Monday: days.
        checked(&[4, 5, 8, 9, 10, 11], "1 d");
        checked(&[4, 5, 8, 9, 10, 11, 12, 15, 16, 20], "1 d");
        checked(&[5, 8, 12, 15, 19, 22], "3 d");
        let late: Vec<String> = days(&[4, 5, 8, 9, 10, 11, 12, 15]).iter().map(|day| format!("{day} 17:30:00")).collect();
        let late: Vec<&str> = late.iter().map(String::as_str).collect();
        check(&late, "1 workday");
        check(&[&late[..], &["2024-01-16 17:00:00"]].concat(), "1 d");
        // Before 1970, too.
        check(&["1969-12-18", "1969-12-19", "1969-12-22", "1969-12-23", "1969-12-26", "1969-12-29", "1969-12-30"], "1 workday");
    }

    #[test]
    fn months_are_regular_by_the_calendar() {
        check(&["2020-01-01", "2020-02-01", "2020-03-01"], "1 mo");
        check(&["2020-01-31", "2020-02-29", "2020-03-31", "2020-05-31"], "1 mo");
        check(&["2020-01-30 12:00:00", "2020-02-29 12:00:00", "2020-03-30 12:00:00"], "1 mo");
        check(&["2020-01-15", "2020-04-15", "2020-07-15"], "3 mo");
        check(&["2019-12-31", "2020-12-31", "2021-12-31"], "1 y");
        // Every 28 days is no month.
        check(&["2021-01-01", "2021-01-29", "2021-02-26"], "28 d");
        check(&["2021-01-01", "2021-02-01", "2021-02-02", "2021-02-03"], "1 d");
    }
}
