//! The regular grid that stamps are on, or nearly. Ticks are seconds or counts, or a power of ten of them where stamps have fractions.
//!
//! Its unit is the tick of a stamp, or the month where no two stamps are less than 28 days apart and all have one day of the month
//! (its last, where a month is shorter) at one time of the day; stamps that are all the same tell of no month. So months and years are
//! regular although their days are not. It is the row of an hour of the week where stamps pass over all others, nights or weekends.

mod fit;

pub(crate) use fit::{Fit, fit, round_sizes};

use crate::{
    hours::{self, Hours, Open},
    stamps::{self, DAY},
};
use std::collections::BTreeMap;

/// Ticks of the shortest month.
const MONTH: i64 = 28 * DAY;
/// What is moved by less than this part of a step is near its place.
const NEAR: i128 = 10;
/// Digits of a second, or a count, that steps are told to.
const FINEST: u8 = 15;

/// What the grid counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Integer stamps.
    Count,
    /// Seconds.
    Second,
    /// Rows of some hours of the week.
    Open(Open),
    /// Months of the calendar.
    Month,
}

/// A day of the month, clipped to the month, and a second of the day.
type Anchor = (i8, i64);

/// A step: so many `parts` of ticks, in a unit; 0 if there is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Step {
    pub unit: Unit,
    pub size: i64,
    /// How many make a tick: 1 but where the step is no whole number of them.
    pub parts: i64,
}

impl Step {
    /// Whether both are as long.
    fn is(&self, other: &Self) -> bool {
        i128::from(self.size) * i128::from(other.parts) == i128::from(other.size) * i128::from(self.parts)
    }
}

/// Positions at `phase + step · position`, in units; a step of 0 is unknown, and positions are units.
#[derive(Clone, Debug)]
pub(crate) struct Grid {
    pub step: Step,
    /// In parts, too.
    phase: i64,
    anchor: Anchor,
}

/// The most frequent step of groups of sequences of sorted ticks, the smallest of those; 0 if there is none. A group has one clock; each sequence has its
/// differences. Rows may be those of some hours of the week.
fn step(groups: &[Vec<&[i64]>], civil: bool, resolution: u8, open: Option<Open>) -> Step {
    let whole = civil && resolution == 0;
    let monthly = whole && groups.iter().any(|group| varies(group)) && groups.iter().all(|group| anchor(group).is_some());
    let unit = if monthly {
        Unit::Month
    } else if let Some(open) = open.filter(|_| whole) {
        return Step { unit: Unit::Open(open), size: 1, parts: 1 };
    } else if civil {
        Unit::Second
    } else {
        Unit::Count
    };
    // Sequences of one stamp each are a month apart, or more.
    let (size, _) = most_frequent(differences(unit, groups)).unwrap_or((i64::from(monthly), 0));
    Step { unit, size, parts: 1 }
}

/// Those of sequences of sorted ticks that are not 0.
fn differences<'a>(unit: Unit, groups: &'a [Vec<&[i64]>]) -> impl Iterator<Item = i64> + 'a {
    let pairs = groups.iter().flatten().flat_map(|ticks| ticks.windows(2));
    pairs.map(move |pair| place(unit, pair[1]) - place(unit, pair[0])).filter(|&difference| difference > 0)
}

/// How badly these fit on their grid: stamps off it, and positions between them without one.
pub(crate) fn misfits(groups: &[Vec<&[i64]>], civil: bool, told: Option<Hours>) -> i64 {
    let step = step(groups, civil, 0, if civil { hours::open(groups, told) } else { None });
    let mut sum = 0i64;
    for group in groups {
        let grid = Grid::fit(step, group);
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
        Unit::Open(open) => open.place(ticks).0,
        Unit::Count | Unit::Second => ticks,
    }
}

/// The most frequent value, the smallest of those, and how often it is there.
pub(crate) fn most_frequent(values: impl Iterator<Item = i64>) -> Option<(i64, usize)> {
    let mut counts = BTreeMap::new();
    values.for_each(|value| *counts.entry(value).or_insert(0usize) += 1);
    counts.into_iter().rev().max_by_key(|(_, count)| *count)
}

impl Grid {
    /// The integers.
    pub fn counting() -> Self {
        Self { step: Step { unit: Unit::Count, size: 1, parts: 1 }, phase: 0, anchor: (1, 0) }
    }

    /// The grid of a group: its phase is the most frequent one, or amid all where most are off that.
    pub fn fit(mut step: Step, group: &[&[i64]]) -> Self {
        if let Unit::Open(open) = step.unit {
            step.unit = Unit::Open(open.of(group));
            return Self { step, phase: 0, anchor: (1, 0) };
        }
        let all = || group.iter().copied().flatten();
        let phases = all().map(|&ticks| (place(step.unit, ticks) * step.parts).rem_euclid(step.size.max(1)));
        let phase = most_frequent(phases).map_or(0, |(phase, _)| phase);
        let anchor = match step.unit {
            Unit::Month => anchor(group),
            Unit::Count | Unit::Second | Unit::Open(_) => None,
        };
        let grid = Self { step, phase, anchor: anchor.unwrap_or((1, 0)) };
        let off = all().filter(|&&ticks| !grid.position(ticks).1).count();
        let most = matches!(step.unit, Unit::Count | Unit::Second) && off > all().count() / 2;
        if most { grid.between(group) } else { grid }
    }

    /// The grid of a group, in seconds or counts, that as many are early for as are late.
    fn amid(step: Step, group: &[&[i64]]) -> Self {
        let first = group.iter().copied().flatten().next().map_or(0, |ticks| (ticks * step.parts).rem_euclid(step.size.max(1)));
        // Half a step away from the first, early and late are one.
        Self { step, phase: first, anchor: (1, 0) }.between(group).between(group)
    }

    /// The same with another phase: that as many are early for as are late, each by its nearest position.
    fn between(mut self, group: &[&[i64]]) -> Self {
        let mut late: Vec<i64> = group.iter().copied().flatten().map(|&ticks| self.late(ticks)).collect();
        let middle = late.len() / 2;
        if middle < late.len() {
            self.phase = (self.phase + *late.select_nth_unstable(middle).1).rem_euclid(self.step.size.max(1));
        }
        self
    }

    /// Units that positions are after whole steps.
    pub fn phase(&self) -> i64 {
        self.phase
    }

    /// Parts after the nearest position, negative before it.
    fn late(&self, ticks: i64) -> i64 {
        if let Unit::Open(open) = self.step.unit {
            return open.ticks(open.place(ticks).0).map_or(0, |place| ticks.saturating_sub(place));
        }
        let (step, half) = (self.step.size.max(1), self.step.size / 2);
        (place(self.step.unit, ticks) * self.step.parts - self.phase + half).rem_euclid(step) - half
    }

    /// Whether it tells what follows: its step is known, or integers are counted.
    pub fn goes_on(&self) -> bool {
        self.step.size > 0 || self.step.unit == Unit::Count
    }

    /// The nearest position, and whether it is met exactly, or as nearly as ticks can.
    pub fn position(&self, ticks: i64) -> (i64, bool) {
        if let Unit::Open(open) = self.step.unit {
            let (place, _) = open.place(ticks);
            return (place, open.ticks(place) == Some(ticks));
        }
        let (past, step) = (place(self.step.unit, ticks) * self.step.parts - self.phase, self.step.size.max(1));
        let position = (past + step / 2).div_euclid(step);
        (position, past.rem_euclid(step) == 0 || (self.step.parts > 1 && self.ticks(position) == Some(ticks)))
    }

    /// Whether the nearest position is less than a tenth of a step away, as that of a clock that is a little early or late, or as near as ticks can be.
    pub fn is_near(&self, ticks: i64) -> bool {
        let late = i128::from(self.late(ticks).unsigned_abs());
        let step = if let Unit::Open(open) = self.step.unit { open.step } else { self.step.size.max(1) };
        NEAR * late < i128::from(step) || 2 * late <= i128::from(self.step.parts)
    }

    /// Whether its nearest position comes more than a quarter of a step later.
    pub fn is_early(&self, ticks: i64) -> bool {
        matches!(self.step.unit, Unit::Count | Unit::Second) && self.late(ticks) < -(self.step.size / 4)
    }

    /// The time of a position, to the nearest tick.
    pub fn ticks(&self, position: i64) -> Option<i64> {
        let place = position.checked_mul(self.step.size.max(1))?.checked_add(self.phase)?;
        let (day, second) = self.anchor;
        match self.step.unit {
            Unit::Month => stamps::ticks_in_month(place, day, second),
            Unit::Open(open) => open.ticks(place),
            Unit::Count | Unit::Second => Some(place.checked_add(self.step.parts / 2)?.div_euclid(self.step.parts)),
        }
    }
}

/// Seconds of a mean month.
const MEAN_MONTH: f64 = 2_629_746.0;

/// About how many seconds a step has, if it is one of time.
pub(crate) fn seconds(step: Step, resolution: u8) -> f64 {
    let size = step.size as f64;
    match step.unit {
        Unit::Open(open) => open.step as f64,
        Unit::Month => size * MEAN_MONTH,
        Unit::Second | Unit::Count => size / 10f64.powi(resolution.into()) / step.parts as f64,
    }
}

/// A step in words, of ticks of which a second, or a count, has 10 to the power of `resolution`.
pub(crate) fn words(step: Step, resolution: u8) -> String {
    // Ten to the power of −15 of a second, or of a count.
    let finest = i128::from(step.size) * 10i128.pow(u32::from(FINEST - resolution)) / i128::from(step.parts);
    let second = 10i128.pow(FINEST.into());
    let (size, name) = match step.unit {
        Unit::Open(open) => {
            let each = words(Step { unit: Unit::Second, size: open.step, parts: 1 }, resolution);
            return format!("{each}, {}", open.own_hours());
        }
        Unit::Month if step.size % 12 == 0 => return format!("{} y", step.size / 12),
        Unit::Month => return format!("{} mo", step.size),
        Unit::Count => (second, ""),
        Unit::Second => {
            let whole = [(86_400, " d"), (3600, " h"), (60, " min"), (1, " s")].map(|(seconds, name)| (seconds * second, name));
            let parts = [(second / 1_000, " ms"), (second / 1_000_000, " µs")];
            let fits = |(size, _): &&(i128, &str)| finest % size == 0;
            let below = if finest < second / 1_000 {
                parts[1]
            } else if finest < second {
                parts[0]
            } else {
                whole[3]
            };
            whole.iter().find(fits).copied().unwrap_or(below)
        }
    };
    if finest == 0 { "-".into() } else { decimal(finest, size) + name }
}

/// A number of parts of a size, a power of ten of them, as a decimal.
fn decimal(parts: i128, size: i128) -> String {
    let digits = size.checked_ilog10().unwrap_or(0) as usize;
    let fraction = format!("{:0digits$}", parts % size);
    format!("{}.{fraction}", parts / size).trim_end_matches('0').trim_end_matches('.').into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(stamps: &[&str], expected: &str) {
        let ticks: Vec<i64> = stamps.iter().map(|stamp| stamps::parse(stamp).expect("a stamp").ticks).collect();
        let civil = stamps[0].contains('-');
        let step = step(&[vec![&ticks]], civil, 0, hours::open(&[vec![&ticks]], None));
        assert_eq!(words(step, 0), expected, "{stamps:?}");
        let grid = Grid::fit(step, &[&ticks]);
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
        let ten = Step { unit: Unit::Count, size: 10, parts: 1 };
        let fitted = |ticks: &[i64]| Grid::fit(ten, &[ticks]).ticks(0);
        assert_eq!(fitted(&[2, 12, 22, 33, 43]), Some(2));
        assert_eq!(fitted(&[3, 13, 22, 32, 41, 51, 50]), Some(2));
        // Around 0, too.
        assert_eq!(fitted(&[1, 11, 20, 29, 39, 50, 61]), Some(0));
        let grid = Grid::fit(ten, &[&[0, 10, 20]]);
        let near = [0, 1, 5, 9, 10, -1].map(|ticks| grid.is_near(ticks));
        assert_eq!(near, [true, false, false, false, true, false]);
    }

    #[test]
    fn one_stamp_tells_of_no_step() {
        let stamp = stamps::parse("2020-01-31 05:00:00").expect("a stamp").ticks;
        let later = stamps::parse("2020-02-29 05:00:00").expect("a stamp").ticks;
        for group in [vec![&[stamp][..]], vec![&[stamp, stamp][..]], vec![&[stamp], &[stamp]], vec![]] {
            assert_eq!(step(&[group], true, 0, None), Step { unit: Unit::Second, size: 0, parts: 1 });
        }
        let month = Step { unit: Unit::Month, size: 1, parts: 1 };
        assert_eq!(step(&[vec![&[stamp, later]]], true, 0, None), month);
        // Months apart, whichever series they are of.
        assert_eq!(step(&[vec![&[stamp], &[later]]], true, 0, None), month);
    }

    #[test]
    fn days_that_pass_over_weekends_are_workdays() {
        // 2024-01-01 is a Monday.
        let days = |days: &[i8]| days.iter().map(|day| format!("2024-01-{day:02}")).collect::<Vec<_>>();
        let checked = |all: &[i8], expected: &str| {
            let all = days(all);
            check(&all.iter().map(String::as_str).collect::<Vec<_>>(), expected);
        };
        checked(&[4, 5, 8, 9, 10, 11, 12, 15, 16], "1 d, mon-fri");
        // A holiday is a gap among them.
        checked(&[2, 3, 4, 5, 8, 10, 11, 12, 15, 16], "1 d, mon-fri");
        // One weekend, a Saturday, or every Friday and Monday: days.
        checked(&[4, 5, 8, 9, 10, 11], "1 d");
        checked(&[4, 5, 8, 9, 10, 11, 12, 15, 16, 20], "1 d");
        checked(&[5, 8, 12, 15, 19, 22], "3 d");
        let late: Vec<String> = days(&[4, 5, 8, 9, 10, 11, 12, 15]).iter().map(|day| format!("{day} 17:30:00")).collect();
        let late: Vec<&str> = late.iter().map(String::as_str).collect();
        check(&late, "1 d, mon-fri");
        // One that is early.
        check(&[&late[..], &["2024-01-16 17:00:00"]].concat(), "1 d, mon-fri");
        // Before 1970, too.
        check(
            &["1969-12-18", "1969-12-19", "1969-12-22", "1969-12-23", "1969-12-26", "1969-12-29", "1969-12-30"],
            "1 d, mon-fri",
        );
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
