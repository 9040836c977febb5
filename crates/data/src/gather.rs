//! Samples that belong to one row, put together as they come.

use crate::{DataError, DateOrder, Every, LONGEST_GAP, Lasting, ReadOptions, hold::Held, stamps};
use std::collections::VecDeque;

/// Nanoseconds of a second.
const SECOND: f64 = 1e9;

/// Puts samples of series together into rows of all.
///
/// Samples belong to one row whose stamps are the same, or less than half a step apart, as those of sensors that are asked in turn; the row is whole with the last series,
/// or when a sample of the next comes, or no more. With [`ReadOptions::every`] they do that lie in one of its steps; the row has their means, and is whole when
/// the next begins. With [`ReadOptions::hold`] it has the means of what lasts, and steps without a sample, into which values last, are rows as well.
#[derive(Debug)]
pub struct Gather {
    names: Vec<String>,
    /// Whether samples may be missing.
    missing: bool,
    dates: Option<DateOrder>,
    every: Option<Every>,
    /// Nanoseconds that a value lasts, and what lasts of each series.
    hold: Option<(i64, Vec<Held>)>,
    /// Nanoseconds between rows, 0 where that is not known.
    step: i128,
    row: Option<Row>,
    /// The stamp of the row before.
    last: Option<String>,
    ready: VecDeque<Result<Gathered, DataError>>,
}

#[derive(Debug)]
struct Row {
    line: u64,
    stamp: String,
    /// Sum and count of what is present, where there was a sample; none of what lasts.
    values: Vec<Option<(f64, u32)>>,
    /// Of what lasts times, in nanoseconds, and places.
    samples: Vec<(i128, usize, f64)>,
}

/// A row of all series.
#[derive(Clone, Debug, PartialEq)]
pub struct Gathered {
    /// The number of its last line.
    pub line: u64,
    /// The stamp of its first, or of its step's beginning.
    pub stamp: String,
    /// One a series, NaN where it is missing.
    pub values: Vec<f64>,
    /// What lasts of each series after it.
    pub lasting: Vec<Option<Lasting>>,
}

impl Gather {
    /// Rows of the series of these names, read by these options; `step` is the seconds between rows where they are known. Where samples may not be `missing`, a row that
    /// lacks a series is an error.
    pub fn of(options: &ReadOptions, names: &[String], step: Option<f64>, missing: bool) -> Self {
        Self {
            names: names.to_vec(),
            missing,
            dates: options.dates,
            every: options.every,
            hold: options.hold.map(|hold| (hold.nanoseconds(), vec![Held::default(); names.len()])),
            step: (step.unwrap_or(0.0) * SECOND) as i128,
            row: None,
            last: None,
            ready: VecDeque::new(),
        }
    }

    /// Goes on behind a row of this stamp, after which so much lasted; whether there can be such a row.
    #[must_use]
    pub fn resume(&mut self, stamp: &str, lasting: &[Option<Lasting>]) -> bool {
        let end = self.every.and_then(|every| every.end(stamp));
        let Some(((_, held), end)) = self.hold.as_mut().zip(end).filter(|((_, held), _)| held.len() == lasting.len()) else {
            return false;
        };
        held.iter_mut().zip(lasting).for_each(|(held, last)| *held = Held::resume(*last, end));
        self.last = Some(stamp.into());
        true
    }

    /// Takes samples of a line, by the place of their series; NaN is missing. `name` is what an error says of them.
    ///
    /// # Errors
    /// A stamp before that of the row, of a row that is whole, or that has no step, or a second sample of a series; nothing is taken.
    pub fn add(&mut self, line: u64, stamp: &str, told: &[(usize, f64)], name: &str) -> Result<(), DataError> {
        let fault = |expected: String| DataError::Field {
            source_name: "line".into(),
            line,
            column: "stamp".into(),
            expected: expected.into(),
            found: stamp.into(),
        };
        let turned = self.dates.map_or(stamp.into(), |dates| dates.year_first(stamp));
        let time = self.hold.as_ref().and_then(|_| stamps::parse(&turned)).map(stamps::nanoseconds);
        let own = match self.every {
            Some(every) => every.begin(&turned).ok_or_else(|| fault(format!("a stamp that has a step of {every}")))?,
            None => turned.into_owned(),
        };
        // Nanoseconds after a row; those of its own are 0.
        let after = |row: &str| {
            let since = stamps::difference(&own, row);
            since.map(|since| if self.every.is_none() && 2 * since.abs() < self.step { 0 } else { since })
        };
        if let Some(before) = self.last.as_ref().filter(|last| after(last).is_some_and(|since| since <= 0)) {
            return Err(fault(format!("a stamp after {before}, whose row is taken")));
        }
        let since = self.row.as_ref().map(|row| after(&row.stamp));
        if let (Some(row), Some(Some(..0))) = (&self.row, since) {
            return Err(fault(format!("a stamp not before {}, whose row has begun", row.stamp)));
        }
        if since == Some(Some(0)) {
            let doubled = |row: &&Row| self.every.is_none() && told.iter().any(|(place, _)| row.values[*place].is_some());
            if let Some(row) = self.row.as_ref().filter(doubled) {
                return Err(fault(format!("one line of `{name}` for the row of {}", row.stamp)));
            }
        } else {
            self.end();
            self.hold_until(line, &own);
        }
        let count = self.names.len();
        let row = self.row.get_or_insert_with(|| Row { line, stamp: own, values: vec![None; count], samples: Vec::new() });
        row.line = line;
        if let Some(time) = time {
            row.samples.extend(told.iter().map(|&(place, value)| (time, place, value)));
            return Ok(());
        }
        for &(place, value) in told {
            let (sum, count) = row.values[place].get_or_insert((0.0, 0));
            if !value.is_nan() {
                (*sum, *count) = (*sum + value, *count + 1);
            }
        }
        if self.every.is_none() && row.values.iter().all(Option::is_some) {
            self.end();
        }
        Ok(())
    }

    /// Ends the row that has begun: no more samples come, or those of the next.
    pub fn end(&mut self) {
        let Some(Row { line, stamp, values, mut samples }) = self.row.take() else { return };
        self.last = Some(stamp.clone());
        let mean = |(sum, count): (f64, u32)| if count == 0 { f64::NAN } else { sum / f64::from(count) };
        let Some((hold, held)) = &mut self.hold else {
            let values = values.into_iter().map(|value| value.map(mean)).collect();
            return self.give(line, stamp, values);
        };
        samples.sort_by_key(|(time, ..)| *time);
        for (time, place, value) in samples {
            held[place].tell(time, value, *hold);
        }
        self.end_step(line, stamp);
    }

    /// Gives the row of a step with the means of what lasts.
    fn end_step(&mut self, line: u64, stamp: String) {
        let Some(((_, held), end)) = self.hold.as_mut().zip(self.every.and_then(|every| every.end(&stamp))) else { return };
        let means = held.iter_mut().map(|held| Some(held.end(end)).filter(|mean| !mean.is_nan())).collect();
        self.give(line, stamp, means);
    }

    /// Gives the rows of the steps without a sample before this one, as far as values last.
    fn hold_until(&mut self, line: u64, begin: &str) {
        for _ in 0..LONGEST_GAP {
            let lasts = self.hold.as_ref().is_some_and(|(_, held)| held.iter().any(|held| held.last().is_some()));
            let next = self.every.zip(self.last.as_deref()).and_then(|(every, last)| every.next(last));
            let Some(next) = next.filter(|next| lasts && stamps::difference(begin, next).is_some_and(|since| since > 0)) else {
                return;
            };
            self.last = Some(next.clone());
            self.end_step(line, next);
        }
    }

    fn give(&mut self, line: u64, stamp: String, values: Vec<Option<f64>>) {
        let lasting = self.hold.iter().flat_map(|(_, held)| held.iter().map(Held::last)).collect();
        self.ready.push_back(match values.iter().position(Option::is_none).filter(|_| !self.missing) {
            Some(at) => Err(DataError::Field {
                source_name: "line".into(),
                line,
                column: self.names[at].clone(),
                expected: format!("a line of it for the row of {stamp}, as of others").into(),
                found: "none".into(),
            }),
            None => {
                let values = values.into_iter().map(|value| value.unwrap_or(f64::NAN)).collect();
                Ok(Gathered { line, stamp, values, lasting })
            }
        });
    }
}

/// Rows that are whole, or what they lack.
impl Iterator for Gather {
    type Item = Result<Gathered, DataError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_means_of_steps() {
        let options: ReadOptions = toml::from_str("every = \"10 min\"").expect("options");
        let names = ["a".to_string(), "b".into()];
        let mut rows = Gather::of(&options, &names, None, true);
        for (line, stamp, told) in [
            (2, "2024-01-01 00:01:10", vec![(0, 1.0), (1, 5.0)]),
            (3, "2024-01-01 00:09:59", vec![(0, 2.0), (1, f64::NAN)]),
            (4, "2024-01-01 00:03:00", vec![(0, 6.0)]),
            (5, "2024-01-01 00:30:00", vec![(1, f64::NAN)]),
        ] {
            rows.add(line, stamp, &told, "a").expect(stamp);
        }
        let row = rows.next().expect("a row").expect("whole");
        assert_eq!(row, Gathered { line: 4, stamp: "2024-01-01 00:00:00".into(), values: vec![3.0, 5.0], lasting: Vec::new() });
        assert!(rows.next().is_none());
        for (stamp, expected) in [
            (
                "2024-01-01 00:09:00",
                "expected a stamp after 2024-01-01 00:00:00, whose row is taken, found `2024-01-01 00:09:00`",
            ),
            ("2024-01-01 00:29:00", "expected a stamp not before 2024-01-01 00:30:00, whose row has begun"),
            ("7", "expected a stamp that has a step of 10 min, found `7`"),
        ] {
            let error = rows.add(6, stamp, &[(0, 1.0)], "a").expect_err(stamp).to_string();
            assert!(error.starts_with("line:6: column `stamp`: ") && error.contains(expected), "{error}");
        }
        rows.end();
        let row = rows.next().expect("a row").expect("whole");
        assert!(row.stamp == "2024-01-01 00:30:00" && row.values.iter().all(|value| value.is_nan()), "{row:?}");
        // Where nothing may be missing, a step without a series is none.
        let mut rows = Gather::of(&options, &names, None, false);
        rows.add(2, "2024-01-01 00:01:10", &[(0, 1.0)], "a").expect("a stamp");
        rows.end();
        let error = rows.next().expect("a row").expect_err("no b").to_string();
        assert_eq!(
            error,
            "line:2: column `b`: expected a line of it for the row of 2024-01-01 00:00:00, as of others, found `none`"
        );
    }
}
