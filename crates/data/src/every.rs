//! Steps that rows are averaged over, where stamps are on no grid.

use crate::stamps::{self, Clock, SECOND};
use serde::{Deserialize, Serialize};

/// Nanoseconds of what steps are written in.
const UNITS: [(&str, i64); 5] =
    [("d", 86_400_000_000_000), ("h", 3_600_000_000_000), ("min", 60_000_000_000), ("s", 1_000_000_000), ("ms", 1_000_000)];

/// A step of time, `10 min`, `1 h`, `250 ms`, or of stamps that are numbers, `60`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "NumberOrText", into = "String")]
pub struct Every {
    /// Above 0; of numbers the billionths.
    nanoseconds: i64,
    is_time: bool,
}

#[derive(Deserialize)]
#[serde(untagged, expecting = "expected a step as `10 min` or, of stamps that are numbers, `60`")]
enum NumberOrText {
    Whole(i64),
    Number(f64),
    Text(String),
}

impl TryFrom<NumberOrText> for Every {
    type Error = String;

    fn try_from(step: NumberOrText) -> Result<Self, String> {
        match step {
            NumberOrText::Whole(number) => number.to_string().parse(),
            NumberOrText::Number(number) => number.to_string().parse(),
            NumberOrText::Text(text) => text.parse(),
        }
    }
}

impl std::str::FromStr for Every {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("expected a step above 0 as `10 min`, `1 h` or, of stamps that are numbers, `60`, found `{text}`");
        let end = text.find(|sign: char| sign.is_ascii_alphabetic() && sign != 'e').unwrap_or(text.len());
        let (number, unit) = (text[..end].trim(), &text[end..]);
        let size =
            UNITS.iter().find(|(name, _)| *name == unit).map(|(_, size)| *size).or(unit.is_empty().then_some(SECOND as i64));
        let nanoseconds = number.parse::<f64>().ok().zip(size).map(|(number, size)| (number * size as f64).round());
        let nanoseconds = nanoseconds.filter(|all| (1.0..(1u64 << 62) as f64).contains(all)).ok_or_else(bad)?;
        Ok(Self { nanoseconds: nanoseconds as i64, is_time: !unit.is_empty() })
    }
}

impl From<Every> for String {
    fn from(every: Every) -> Self {
        every.to_string()
    }
}

impl std::fmt::Display for Every {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.is_time {
            return write!(formatter, "{}", self.nanoseconds as f64 / SECOND as f64);
        }
        let (name, size) = UNITS.into_iter().find(|(_, size)| self.nanoseconds % size == 0).unwrap_or(UNITS[UNITS.len() - 1]);
        write!(formatter, "{} {name}", self.nanoseconds as f64 / size as f64)
    }
}

impl Every {
    /// Ticks of which a second, or a count, has 10 to the power of `resolution`: steps are these, where whole ones make such.
    pub(crate) fn ticks(self, resolution: u8) -> Option<i64> {
        let all = i128::from(self.nanoseconds) * 10i128.pow(resolution.into());
        (all % SECOND == 0).then_some((all / SECOND) as i64)
    }

    /// Of so many ticks.
    pub(crate) fn of_ticks(ticks: i64, resolution: u8, is_time: bool) -> Option<Self> {
        let nanoseconds = i64::try_from(i128::from(ticks) * SECOND / 10i128.pow(resolution.into())).ok()?;
        (nanoseconds > 0).then_some(Self { nanoseconds, is_time })
    }

    pub(crate) fn nanoseconds(self) -> i64 {
        self.nanoseconds
    }

    /// Whether both are of time, or of numbers.
    pub(crate) fn is_like(self, other: Self) -> bool {
        self.is_time == other.is_time
    }

    /// Whether stamps that count so have such steps.
    pub(crate) fn is_of(self, clock: Clock) -> bool {
        self.is_time == (clock != Clock::Integer)
    }

    /// The stamp at which the step of this one begins; none of what is no stamp, or one of the other kind.
    pub(crate) fn begin(self, stamp: &str) -> Option<String> {
        let time = stamps::parse(stamp).filter(|time| self.is_of(time.form.clock()))?;
        let step = i128::from(self.nanoseconds);
        time.moved(stamps::nanoseconds(time).div_euclid(step) * step)?.text()
    }

    /// Where the step that begins with this stamp ends, in nanoseconds.
    pub(crate) fn end(self, begin: &str) -> Option<i128> {
        Some(stamps::nanoseconds(stamps::parse(begin)?) + i128::from(self.nanoseconds))
    }

    /// The stamp of the step after the one that begins with this stamp.
    pub(crate) fn next(self, begin: &str) -> Option<String> {
        stamps::parse(begin)?.moved(self.end(begin)?)?.text()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_read_and_written() {
        for (text, shown, ticks) in [
            ("10 min", "10 min", Some(600)),
            ("90s", "90 s", Some(90)),
            ("120 min", "2 h", Some(7200)),
            ("0.5 h", "30 min", Some(1800)),
            ("250 ms", "250 ms", None),
            ("7 d", "7 d", Some(604_800)),
            ("60", "60", Some(60)),
            ("0.25", "0.25", None),
        ] {
            let every: Every = text.parse().expect(text);
            assert_eq!((every.to_string().as_str(), every.ticks(0)), (shown, ticks));
            assert_eq!(shown.parse(), Ok(every));
        }
        #[derive(Deserialize)]
        struct Run {
            every: Every,
        }
        assert_eq!(toml::from_str::<Run>("every = 60").expect("a number").every.to_string(), "60");
        for text in ["", "0 s", "-1 h", "1 mo", "ten min", "min", "1e30 d", "nan s"] {
            let error = text.parse::<Every>().expect_err(text);
            assert!(error.starts_with("expected a step above 0 as `10 min`"), "{error}");
        }
    }

    #[test]
    fn a_step_begins_where_its_stamps_are_whole_ones() {
        for (every, stamp, expected) in [
            ("10 min", "2024-01-01T10:19:59.250Z", Some("2024-01-01T10:10:00Z")),
            ("10 min", "2024-01-01 10:20", Some("2024-01-01 10:20")),
            ("1 d", "2024-01-01 10:20:01", Some("2024-01-01 00:00:00")),
            ("1 h", "2024-01-01 10:20:01+02:00", Some("2024-01-01 10:00:00+02:00")),
            ("250 ms", "2024-01-01 10:20:01.3", Some("2024-01-01 10:20:01.25")),
            ("60", "119.5", Some("60")),
            ("60", "-1", Some("-60")),
            ("60", "2024-01-01", None),
            ("10 min", "7", None),
            ("10 min", "noon", None),
        ] {
            let every: Every = every.parse().expect(every);
            assert_eq!(every.begin(stamp).as_deref(), expected, "{every} {stamp}");
        }
    }
}
