//! The regular grid that stamps are on, or nearly.
//!
//! Its unit is the tick of a stamp, or the month where no two stamps are less than 28 days apart and all have one day of the month
//! (its last, where a month is shorter) at one time of the day. So months and years are regular although their days are not.

use crate::stamps;
use std::collections::BTreeMap;

/// Ticks of the shortest month.
const MONTH: i64 = 28 * 86_400;

/// What the grid counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Integer stamps.
    Count,
    /// Seconds.
    Second,
    /// Months of the calendar.
    Month,
}

/// A day of the month, clipped to the month, and a second of the day.
type Anchor = (i8, i64);

/// Positions at `phase + step · position`, in units.
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
    let monthly = civil && groups.iter().all(|group| anchor(group).is_some());
    let unit = if monthly {
        Unit::Month
    } else if civil {
        Unit::Second
    } else {
        Unit::Count
    };
    let differences =
        groups.iter().flatten().flat_map(|ticks| ticks.windows(2)).map(|pair| place(unit, pair[1]) - place(unit, pair[0]));
    (unit, most_frequent(differences.filter(|&difference| difference > 0)).unwrap_or(0))
}

fn anchor(group: &[&[i64]]) -> Option<Anchor> {
    let close = |ticks: &&[i64]| ticks.windows(2).any(|pair| (1..MONTH).contains(&(pair[1] - pair[0])));
    if group.iter().any(close) {
        return None;
    }
    let ticks = || group.iter().copied().flatten().copied();
    let day = ticks().filter_map(stamps::civil).map(|time| time.day()).max()?;
    let second = ticks().next()?.rem_euclid(86_400);
    let anchored = |ticks: i64| stamps::ticks_in_month(place(Unit::Month, ticks), day, second) == Some(ticks);
    ticks().all(anchored).then_some((day, second))
}

/// A time in units; 0 where it has no month, which no parsed stamp is without.
fn place(unit: Unit, ticks: i64) -> i64 {
    if unit == Unit::Month { stamps::civil(ticks).map_or(0, stamps::month) } else { ticks }
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

    /// The grid of a group: its phase is the most frequent one.
    pub fn fit(unit: Unit, step: i64, group: &[&[i64]]) -> Self {
        let step = step.max(1);
        let phases = group.iter().copied().flatten().map(|&ticks| place(unit, ticks).rem_euclid(step));
        let phase = most_frequent(phases).unwrap_or(0);
        let anchor = if unit == Unit::Month { anchor(group) } else { None };
        Self { unit, step, phase, anchor: anchor.unwrap_or((1, 0)) }
    }

    /// The nearest position, and whether it is met exactly.
    pub fn position(&self, ticks: i64) -> (i64, bool) {
        let place = place(self.unit, ticks) - self.phase;
        ((place + self.step / 2).div_euclid(self.step), place.rem_euclid(self.step) == 0)
    }

    /// The time of a position.
    pub fn ticks(&self, position: i64) -> Option<i64> {
        let place = position.checked_mul(self.step)?.checked_add(self.phase)?;
        if self.unit == Unit::Month { stamps::ticks_in_month(place, self.anchor.0, self.anchor.1) } else { Some(place) }
    }
}

/// A step in words.
pub(crate) fn words(unit: Unit, step: i64) -> String {
    let names: &[(i64, &str)] = match unit {
        Unit::Count => &[],
        Unit::Second => &[(86_400, " d"), (3600, " h"), (60, " min"), (1, " s")],
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
        check(&["0", "2", "4", "5", "9"], "2");
        check(&["2020-01-01 00:00:00", "2020-01-01 00:10:00", "2020-01-01 00:20:00", "2020-01-01 02:00:00"], "10 min");
        check(&["2020-01-01 00:00:00", "2020-01-01 00:00:07"], "7 s");
        check(&["2020-01-01T00:00:00", "2020-01-01T03:00:00"], "3 h");
        check(&["2020-01-01", "2020-01-08"], "7 d");
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
