//! The clock of a live stream: whether stamps go on, and how many samples lie between two of them.

use crate::{
    DataError, Hours, compact,
    hours::{self, Open},
    stamps::{self, Clock as Counts, DAY, Form, SECOND, Time, nanoseconds},
};
use serde::{Deserialize, Serialize};

const DAYS: i128 = DAY as i128 * SECOND;
/// A day when clocks go forward.
const SHORT_DAY: i128 = DAYS - 3600 * SECOND;
/// Seconds that a clock may be early for a day.
const MOMENT: i64 = 600;
/// Differences that tell the step.
const RECENT: usize = 9;
/// Steps between two samples of a stream at most; beyond it is another stream, or a broken clock.
pub const LONGEST_GAP: u64 = 1_000_000;
/// A stamp that leaps further, or a year and so many steps, has to be followed by one that goes on from it.
const YEAR: (i128, u64) = (365 * DAYS, 1000);
/// Differences that the step has to stand on for that.
const SURE: usize = 5;
const MONTHS: std::ops::RangeInclusive<i128> = 28 * DAYS..=31 * DAYS;

/// What a live stream knows of its stamps. It looks at one, and takes it if its sample was taken.
///
/// The step is told by the newest nine differences: of those up to half above their lower quartile, as more is a gap, the median. So no two stamps that came
/// early or late make it another. What passed is the difference in steps, to the nearest, less one. Where that would be a guess nothing passed: before there
/// are two stamps, among stamps that are text, and where the step is 28 to 31 days, a month's. An empty stamp says nothing. Where samples are of some
/// hours of the week, those that are not pass by; a stamp that is not within them is refused. Integers are dates
/// (`20240131`) as long as all of them can be, with as many digits. Stamps with an offset count in UTC; where the offset changes
/// and whole days of their clocks lie between them, those are counted.
///
/// A stamp that leaps over more than [`LONGEST_GAP`] steps, or a thousand and more than a year, is refused: taken, one that is wrong would make all after it too early.
/// The next one is not, if it goes on from there: then a clock was set.
///
/// It can be kept, and goes on as it was, but for its hours, which are told again.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Clock {
    state: State,
    #[serde(skip)]
    hours: Option<Hours>,
    /// Nanoseconds, until the stamps tell.
    #[serde(skip)]
    told: Option<i128>,
}

/// A stamp that was looked at.
#[derive(Clone, Copy, Debug)]
#[must_use = "a clock goes on when it takes the tick"]
pub struct Tick {
    passed: u64,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[expect(clippy::large_enum_variant, reason = "a stream has one clock")]
enum State {
    #[default]
    Fresh,
    /// The first stamp was text.
    Text,
    /// As it is written; and as dates, as long as integers are.
    Stamped(Pace, Option<Pace>),
}

/// Stamps so far.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Pace {
    last: Time,
    /// The step, in nanoseconds; integers count seconds.
    step: Option<i128>,
    /// The newest differences, in a ring.
    #[serde(default)]
    recent: [i128; RECENT],
    /// How many there were.
    #[serde(default)]
    count: usize,
    /// The stamp of the line before, if it was refused as a leap.
    #[serde(default)]
    leapt: Option<Time>,
}

impl Tick {
    /// Samples between this stamp and the one before, by the step that is known so far.
    pub fn passed(&self) -> u64 {
        self.passed
    }
}

impl Clock {
    /// The same of samples that are of these hours of the week, if any.
    pub fn within(self, hours: Option<Hours>) -> Self {
        Self { hours: hours.filter(Hours::closes), ..self }
    }

    /// The same of samples that are said to be about so many seconds apart: until the stamps tell, leaps are told by it.
    pub fn apart(self, seconds: Option<f64>) -> Self {
        let nanoseconds = seconds.map(|seconds| (seconds * SECOND as f64) as i128);
        Self { told: nanoseconds.filter(|step| *step > 0), ..self }
    }

    /// Seconds between samples, once enough stamps of dates or times were taken to be sure.
    pub fn seconds(&self) -> Option<f64> {
        let State::Stamped(pace, dates) = self.state else { return None };
        let pace = dates.unwrap_or(pace);
        pace.step.filter(|_| pace.count >= SURE && pace.has_days()).map(|step| step as f64 / SECOND as f64)
    }

    /// Looks at the stamp of a line.
    ///
    /// # Errors
    /// A stamp that is not after the one before, or leaps, or is not in the clock's hours, or that is text or of another kind where the first was none.
    pub fn look(&mut self, stamp: &str, line: u64) -> Result<Tick, DataError> {
        let refused = |expected: String| DataError::Field {
            source_name: "line".into(),
            line,
            column: "stamp".into(),
            expected: expected.into(),
            found: stamp.into(),
        };
        let time = match self.state {
            State::Text => None,
            _ => stamps::parse(stamp),
        };
        let (passed, state) = match (self.state, time) {
            (State::Fresh, None) if stamp.trim().is_empty() => (0, State::Fresh),
            (State::Fresh | State::Text, None) => (0, State::Text),
            (State::Fresh, Some(time)) => {
                let dates = date(time, None);
                if let Some(hours) = self.hours.filter(|hours| is_closed(hours, dates.unwrap_or(time))) {
                    return Err(refused(format!("a stamp within {hours}")));
                }
                (0, State::Stamped(Pace::new(time), dates.map(Pace::new)))
            }
            (State::Stamped(pace, dates), Some(time)) if time.form.clock() == pace.last.form.clock() => {
                let as_date = dates.and_then(|dates| Some((dates, date(time, Some(dates.last.form))?)));
                if nanoseconds(time) <= nanoseconds(pace.last) {
                    // What is written as a date goes on as one.
                    return Err(refused(dates.unwrap_or(pace).expected(self.hours)));
                }
                let (own, at) = as_date.unwrap_or((pace, time));
                let open = own.open(self.hours);
                let is_outside = |hours: &Hours| open.map_or_else(|| is_closed(hours, at), |open| !open.place(local(at)).1);
                if let Some(hours) = self.hours.filter(is_outside) {
                    return Err(refused(format!("a stamp within {hours}")));
                }
                let passed = own.passed(at, self.hours);
                if own.leaps(at, passed, self.told)
                    && !pace.leapt.is_some_and(|leapt| pace.goes_on(leapt, time, self.hours, self.told))
                {
                    self.state = State::Stamped(Pace { leapt: Some(time), ..pace }, dates);
                    let last = own.last.text().unwrap_or_default();
                    return Err(refused(format!(
                        "a stamp at most {LONGEST_GAP} steps after the one before, {last}, and at most a year or {} steps, or another that goes on from one further ahead",
                        YEAR.1
                    )));
                }
                (passed, State::Stamped(pace.after(time, self.hours), as_date.map(|(dates, date)| dates.after(date, self.hours))))
            }
            _ => return Err(refused(stamps::STAMP.into())),
        };
        Ok(Tick { passed, state })
    }

    /// Goes on to a stamp that was looked at.
    pub fn take(&mut self, tick: Tick) {
        self.state = tick.state;
    }
}

/// An integer as a date of this form, or any.
fn date(time: Time, form: Option<Form>) -> Option<Time> {
    let (digits, ticks) = compact::seconds(time.ticks).filter(|_| time.form == Form::Integer)?;
    let date = Time::plain(ticks, Form::Digits(digits));
    form.is_none_or(|form| form == date.form).then_some(date)
}

impl Pace {
    fn new(first: Time) -> Self {
        Self { last: first, step: None, recent: [0; RECENT], count: 0, leapt: None }
    }

    fn leaps(&self, next: Time, passed: u64, told: Option<i128>) -> bool {
        let difference = self.difference(next);
        let passed = match told.filter(|_| self.count < SURE && self.has_days()) {
            Some(step) => u64::try_from(difference / step).unwrap_or(u64::MAX),
            None if self.count < SURE => return false,
            None => passed,
        };
        passed > LONGEST_GAP || self.has_days() && passed > YEAR.1 && difference > YEAR.0
    }

    /// Whether `next` goes on from a stamp that leapt.
    fn goes_on(&self, leapt: Time, next: Time, hours: Option<Hours>, told: Option<i128>) -> bool {
        let there = Self { last: leapt, ..*self };
        nanoseconds(next) > nanoseconds(leapt) && !there.leaps(next, there.passed(next, hours), told)
    }

    fn has_days(&self) -> bool {
        self.last.form.clock() != Counts::Integer
    }

    /// Nanoseconds to a later stamp.
    fn difference(&self, next: Time) -> i128 {
        let (utc, ahead) = (nanoseconds(next) - nanoseconds(self.last), next.offset - self.last.offset);
        let local = utc + i128::from(ahead) * SECOND;
        let in_days = utc >= SHORT_DAY && self.step.is_none_or(|step| step >= SHORT_DAY) && local % DAYS == 0;
        if ahead != 0 && in_days { local } else { utc }
    }

    fn passed(&self, next: Time, hours: Option<Hours>) -> u64 {
        let known = |step: &i128| *step > 0 && !(self.has_days() && MONTHS.contains(step));
        let Some(step) = self.step.filter(known) else { return 0 };
        let steps = match self.open(hours) {
            Some(open) => i128::from(open.place(local(next)).0 - open.place(local(self.last)).0),
            None => (self.difference(next) + step / 2) / step,
        };
        u64::try_from((steps - 1).max(0)).unwrap_or(u64::MAX)
    }

    /// The rows that samples are within some hours, once their step is known.
    fn open(&self, hours: Option<Hours>) -> Option<Open> {
        let (hours, step) = hours.zip(self.step.filter(|_| self.has_days()))?;
        let step = hours::whole(i64::try_from((step + SECOND / 2) / SECOND).ok()?)?;
        // Hours begin with a row, but those of days.
        Open::new(hours, step, if step == DAY { local(self.last) } else { hours.opening() })
    }

    /// Nanoseconds to a later stamp that are open.
    fn open_difference(&self, next: Time, hours: Option<Hours>) -> i128 {
        let open = hours.filter(|_| self.has_days()).map(|hours| hours.passed(local(next)) - hours.passed(local(self.last)));
        open.filter(|&open| open > 0).map_or_else(|| self.difference(next), |open| i128::from(open) * SECOND)
    }

    fn after(&self, next: Time, hours: Option<Hours>) -> Self {
        let (mut recent, mut count) = (self.recent, self.count);
        // A clock that was kept before there were these knows its step alone.
        for difference in self.step.filter(|_| count == 0).into_iter().chain([self.open_difference(next, hours)]) {
            recent[count % RECENT] = difference;
            count += 1;
        }
        let mut sorted = recent;
        let known = &mut sorted[..count.min(RECENT)];
        known.sort_unstable();
        let short = known[(known.len() - 1) / 4];
        let one = known.partition_point(|difference| *difference < short + short / 2 + 1);
        let step = known[(one - 1) / 2];
        Self { last: next, step: Some(step), recent, count, leapt: None }
    }

    /// What would follow.
    fn expected(&self, hours: Option<Hours>) -> String {
        let known = self.step.filter(|step| !(self.has_days() && MONTHS.contains(step)) && self.last.form != Form::Month);
        let next = known.and_then(|step| {
            let open = self.open(hours).and_then(|open| open.ticks(open.place(local(self.last)).0 + 1));
            let step = open.map_or(step, |next| i128::from(next - local(self.last)) * SECOND);
            let next = Time::of_nanoseconds(nanoseconds(self.last) + step, self.last.form)?;
            Time { digits: self.last.digits.max(next.digits), offset: self.last.offset, ..next }.text()
        });
        match next {
            Some(next) => format!("{next}, a step after the one before, or later"),
            None => format!("a stamp later than the one before, {}", self.last.text().unwrap_or_default()),
        }
    }
}

/// Whether a stamp is of a day that is closed, a moment later, too.
fn is_closed(hours: &Hours, at: Time) -> bool {
    at.form.clock() != Counts::Integer && !hours.is_day(local(at)) && !hours.is_day(local(at) + MOMENT)
}

/// Seconds since 1970 by its clock.
fn local(time: Time) -> i64 {
    time.ticks.saturating_add(time.offset.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What passed before each of some stamps, which all are taken.
    fn passed(stamps: &[&str]) -> Vec<u64> {
        passed_by(Clock::default(), stamps)
    }

    fn passed_by(mut clock: Clock, stamps: &[&str]) -> Vec<u64> {
        let mut look = |(at, stamp): (usize, &&str)| {
            let tick = clock.look(stamp, at as u64 + 1).unwrap_or_else(|error| panic!("{error}"));
            clock.take(tick);
            tick.passed()
        };
        stamps.iter().enumerate().map(&mut look).collect()
    }

    fn check(stamps: &[&str], expected: &[u64]) {
        assert_eq!(passed(stamps), expected, "{stamps:?}");
    }

    /// These stamps, then one that is refused.
    fn refuse(stamps: &[&str], found: &str, expected: &str) {
        let mut clock = Clock::default();
        for stamp in stamps {
            let tick = clock.look(stamp, 1).unwrap_or_else(|error| panic!("{error}"));
            clock.take(tick);
        }
        let error = clock.look(found, 7).expect_err(found).to_string();
        assert_eq!(error, format!("line:7: column `stamp`: expected {expected}, found `{found}`"));
    }

    #[test]
    fn what_passed_is_counted_in_steps() {
        check(&["0", "1", "2", "5"], &[0, 0, 0, 2]);
        check(&["-4", "-2", "4", "5", "8"], &[0, 0, 2, 0, 2]);
        check(&["2024-01-01 00:00", "2024-01-01 05:00", "2024-01-01 06:00", "2024-01-01 08:00"], &[0, 0, 0, 1]);
        // To the nearest: clocks are early and late.
        check(&["0", "60", "121", "179", "302"], &[0, 0, 0, 0, 1]);
        // Tenths of a second, before 1970, too.
        let tenths = ["1969-12-31T23:59:59.8", "1969-12-31T23:59:59.9", "1970-01-01T00:00:00", "1970-01-01T00:00:00.3"];
        check(&tenths, &[0, 0, 0, 2]);
        let largest = [i64::MIN.to_string(), "0".into(), i64::MAX.to_string()];
        check(&[&largest[0], &largest[1], &largest[2]], &[0; 3]);
    }

    #[test]
    fn one_late_stamp_makes_no_step() {
        check(&["0", "60", "140", "180", "240", "300", "360", "420", "600"], &[0, 0, 0, 0, 1, 0, 0, 0, 2]);
        // One that came at once, and a clock that was put back.
        let tenths: Vec<String> = (0..20).map(|row| format!("{}.{}", row / 10, row % 10)).collect();
        let tenths = tenths.iter().map(String::as_str);
        let stamps: Vec<&str> = tenths.chain(["1.901", "2.0", "2.1", "2.16", "2.26", "2.36", "102.36"]).collect();
        check(&stamps, &[&[0; 26][..], &[999]].concat());
        // Gaps leave the step.
        check(&["0", "1", "2", "5", "9", "12", "16"], &[0, 0, 0, 2, 3, 2, 3]);
    }

    #[test]
    fn a_stamp_that_was_not_taken_changes_nothing() {
        let mut clock = Clock::default();
        for stamp in ["0", "10"] {
            let tick = clock.look(stamp, 1).expect(stamp);
            clock.take(tick);
        }
        for _ in 0..2 {
            assert_eq!(clock.look("11", 2).expect("a tick").passed(), 0);
            assert_eq!(clock.look("30", 2).expect("a tick").passed(), 1);
        }
    }

    #[test]
    fn a_stamp_that_leaps_is_taken_where_the_next_goes_on() {
        let look = |clock: &mut Clock, stamp: &str| {
            let tick = clock.look(stamp, 1).ok()?;
            clock.take(tick);
            Some(tick.passed())
        };
        let mut clock = Clock::default();
        let begun = (0..6).map(|second| format!("2025-12-31T23:59:5{}Z", second + 4)).chain(["2026-01-01T00:00:02Z".into()]);
        begun.for_each(|stamp| assert!(look(&mut clock, &stamp).is_some(), "{stamp}"));
        // One that is wrong, and others after it.
        assert_eq!(look(&mut clock, "2206-01-01T00:00:03Z"), None);
        assert_eq!(look(&mut clock, "2026-01-01T00:00:04Z"), Some(1));
        let error = clock.look("2206-01-01T00:00:05Z", 9).expect_err("a leap").to_string();
        assert!(error.contains("at most 1000000 steps after the one before, 2026-01-01T00:00:04Z"), "{error}");
        // The same once more does not go on, nor does another leap; what is kept meanwhile knows of it.
        assert_eq!(look(&mut clock, "2206-01-01T00:00:05Z"), None);
        assert_eq!(look(&mut clock, "2106-01-01T00:00:00Z"), None);
        clock = serde_json::from_str(&serde_json::to_string(&clock).expect("text")).expect("a clock");
        assert!(look(&mut clock, "2106-01-01T00:00:01Z").is_some_and(|passed| passed > 80 * 365 * 86_400));
        assert_eq!(look(&mut clock, "2106-01-01T00:00:04Z"), Some(2));
        // No leap: ten days of seconds, a year of hours, ten of weeks, dates that are integers.
        assert_eq!(look(&mut clock, "2106-01-11T00:00:04Z"), Some(863_999));
        assert_eq!(look(&mut clock, "2106-01-25T00:00:04Z"), None);
        assert_eq!(passed(&["2016-01-01 00:00", "2016-01-01 01:00", "2016-12-31 01:00"])[2], 365 * 24 - 1);
        assert_eq!(passed(&["2016-01-01", "2016-01-08", "2026-01-09"])[2], 521);
        // Hours of seventy years; a second leap is none that goes on.
        let mut hours = Clock::default();
        assert!((0..6).all(|hour| look(&mut hours, &format!("2024-01-01 0{hour}:00")) == Some(0)));
        let found = ["2094-01-01 06:00", "2194-01-01 06:00", "2194-01-01 08:00"].map(|stamp| look(&mut hours, stamp));
        assert!(found[..2] == [None, None] && found[2].is_some(), "{found:?}");
        // A step that stands on little refuses nothing, and integers may count milliseconds.
        let accident =
            ["2024-01-01 10:00:00.000", "2024-01-01 10:00:00.001", "2024-01-01 11:00:00.000", "2024-01-01 12:00:00.000"];
        assert_eq!(passed(&accident)[3], 3_599_999);
        let minutes: Vec<String> =
            (0..8).chain([2888]).map(|minute| (1_700_000_000_000i64 + 60_000 * minute).to_string()).collect();
        assert_eq!(passed(&minutes.iter().map(String::as_str).collect::<Vec<_>>())[8], 2880);
        check(&["202312312358", "202312312359", "202401010000"], &[0; 3]);
    }

    #[test]
    fn a_clock_that_was_kept_goes_on() {
        let stamps = ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09", "2024-01-12", "2024-01-15", "2024-01-17"];
        let expected = [0, 0, 0, 0, 2, 0, 1];
        let mut clock = Clock::default();
        for (stamp, expected) in stamps.iter().zip(expected) {
            let kept = serde_json::to_string(&clock).expect("text");
            clock = serde_json::from_str::<Clock>(&kept).expect("a clock").within(Some("mon-fri".parse().expect("hours")));
            let tick = clock.look(stamp, 1).expect(stamp);
            assert_eq!(tick.passed(), expected, "{stamp}");
            clock.take(tick);
        }
        clock.look("2024-01-17", 1).expect_err("a stamp that came before");
    }

    #[test]
    fn what_does_not_go_on_is_refused() {
        refuse(&["7"], "7", "a stamp later than the one before, 7");
        refuse(&["7", "9"], "8", "11, a step after the one before, or later");
        refuse(
            &["2024-01-01 00:00", "2024-01-01 01:00"],
            "2024-01-01 01:00",
            "2024-01-01 02:00, a step after the one before, or later",
        );
        refuse(&["2024-01-01", "2024-02-01"], "2024-01-31", "a stamp later than the one before, 2024-02-01");
        refuse(&["2024-01", "2024-04"], "2024-03", "a stamp later than the one before, 2024-04");
        refuse(&["20240130", "20240131"], "20240130", "20240201, a step after the one before, or later");
        let zoned = "2024-01-01 02:00:00+02:00, a step after the one before, or later";
        refuse(&["2024-01-01 00:00:00+02:00", "2024-01-01 01:00:00+02:00"], "2023-12-31 23:00:00+00:00", zoned);
        refuse(
            &["2024-01-01T00:00:00.5Z"],
            "2024-01-01T00:00:00.25Z",
            "a stamp later than the one before, 2024-01-01T00:00:00.5Z",
        );
        for (first, found) in
            [("7", "noon"), ("7", ""), ("7", "2024-01-01"), ("2024-01-01", "7"), ("2024-01-01", "2024-01-02 00:00Z")]
        {
            refuse(&[first], found, stamps::STAMP);
        }
    }

    #[test]
    fn text_is_taken_in_order() {
        check(&["monday", "tuesday", "monday", "7", "2024-01-01", "5"], &[0; 6]);
        // Nothing settles nothing.
        check(&["", "1", "2", "9"], &[0, 0, 0, 6]);
    }

    #[test]
    fn months_are_not_counted() {
        check(&["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30", "2024-07-31"], &[0; 5]);
        check(&["202401", "202402", "202403", "202410"], &[0; 4]);
        check(&["2024-01", "2024-02", "2024-03", "2024-10"], &[0; 4]);
        // Quarters and years are, as they are long.
        check(&["2023-01-01", "2023-04-01", "2023-07-01", "2024-01-01"], &[0, 0, 0, 1]);
        check(&["2020-01-01", "2021-01-01", "2022-01-01", "2025-01-01"], &[0, 0, 0, 2]);
        check(&["2023-01", "2023-04", "2023-07", "2024-01"], &[0, 0, 0, 1]);
        // Of integers 28 is no month.
        check(&["0", "2500000", "7500000"], &[0, 0, 1]);
    }

    #[test]
    fn what_is_not_in_its_hours_passes_by() {
        let within = |hours: &str| Clock::default().within(Some(hours.parse().expect(hours)));
        let check = |hours: &str, stamps: &[&str], expected: &[u64]| {
            assert_eq!(passed_by(within(hours), stamps), expected, "{hours} {stamps:?}");
        };
        // 2024-01-04 is a Thursday.
        let days = ["04", "05", "08", "09", "12", "15", "17", "22"].map(|day| format!("2024-01-{day}"));
        check("mon-fri", &days.each_ref().map(String::as_str), &[0, 0, 0, 0, 2, 0, 1, 2]);
        check("mon-fri", &["20240104", "20240105", "20240108", "20240110"], &[0, 0, 0, 1]);
        check("always", &["2024-01-04", "2024-01-05", "2024-01-08"], &[0, 0, 2]);
        let hours = ["04 15:00", "04 16:00", "05 09:00", "05 11:00", "05 16:00", "08 09:00", "10 10:00"];
        let hours = hours.map(|hour| format!("2024-01-{hour}:00"));
        check("mon-fri 09:00-17:00", &hours.each_ref().map(String::as_str), &[0, 0, 0, 1, 4, 0, 16]);
        // By the local clock, whose offset changed.
        let local = ["2024-03-29 15:00+01:00", "2024-03-29 16:00+01:00", "2024-04-01 09:00+02:00", "2024-04-01 10:00+02:00"];
        check("mon-fri 09:00-17:00", &local, &[0; 4]);
        // A night is no step.
        check("mon-fri 09:00-17:00", &[&hours[1], &hours[2], "2024-01-05 10:00:00", &hours[4]], &[0, 0, 0, 5]);
        // Clocks that are early and late.
        let late = ["04 15:00:01", "04 16:00:03", "05 08:59:58", "05 10:00:02", "05 11:00:05", "05 16:00:00", "08 09:00:04"];
        let late = late.map(|hour| format!("2024-01-{hour}"));
        check("mon-fri 09:00-17:00", &late.each_ref().map(String::as_str), &[0, 0, 0, 0, 0, 4, 0]);
        for (stamps, stamp, hours) in [
            (["2024-01-04", "2024-01-05"], "2024-01-06", "mon-fri"),
            (["20240104", "20240105"], "20240106", "mon-fri"),
            (["2024-01-05 15:00", "2024-01-05 16:00"], "2024-01-05 17:00", "mon-fri 09:00-17:00"),
        ] {
            let mut clock = within(hours);
            for stamp in stamps {
                let tick = clock.look(stamp, 1).expect(stamp);
                clock.take(tick);
            }
            let error = clock.look(stamp, 7).expect_err(stamp).to_string();
            assert_eq!(error, format!("line:7: column `stamp`: expected a stamp within {hours}, found `{stamp}`"));
        }
        let mut friday = within("mon-fri 09:00-17:00");
        for stamp in ["2024-01-05 15:00", "2024-01-05 16:00"] {
            let tick = friday.look(stamp, 1).expect(stamp);
            friday.take(tick);
        }
        let error = friday.look("2024-01-05 16:00", 7).expect_err("a stamp twice").to_string();
        assert!(error.contains("expected 2024-01-08 09:00, a step after the one before, or later"), "{error}");
    }

    #[test]
    fn integers_are_dates_as_long_as_they_can_be() {
        check(&["20240130", "20240131", "20240201", "20240204"], &[0, 0, 0, 2]);
        check(&["2024011322", "2024011323", "2024011402"], &[0, 0, 2]);
        check(&["20240130", "20240131", "20240132", "20240201"], &[0, 0, 0, 68]);
        check(&["20240130", "20240131", "20240133", "20240201"], &[0, 0, 1, 67]);
        check(&["99991230", "99991231", "100000101"], &[0, 0, 8_869]);
    }

    #[test]
    fn days_of_clocks_that_change_are_days() {
        let of = |day: u32, ahead: u32| format!("2024-{:02}-{:02} 00:00:00+0{ahead}:00", 3 + day / 32, day % 32 + day / 32);
        let stamps = [of(29, 1), of(30, 1), of(31, 1), of(32, 2), of(33, 2), of(36, 2)];
        assert_eq!(stamps[3], "2024-04-01 00:00:00+02:00");
        check(&stamps.each_ref().map(String::as_str), &[0, 0, 0, 0, 0, 2]);
        // Twelve days from a start on the day of the change.
        check(&["2024-03-31 00:00:00+01:00", "2024-04-01 00:00:00+02:00", "2024-04-13 00:00:00+02:00"], &[0, 0, 11]);
        // Hours are in UTC.
        let hours =
            ["2020-10-25 01:00:00+02:00", "2020-10-25 02:00:00+02:00", "2020-10-25 02:00:00+01:00", "2020-10-26 02:00:00+01:00"];
        check(&hours, &[0, 0, 0, 23]);
        check(&["2024-03-30 22:00:00+01:00", "2024-03-30 23:00:00+01:00", "2024-03-31 23:00:00+02:00"], &[0, 0, 22]);
    }
}
