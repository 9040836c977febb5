//! Which columns of a long file are what, where nothing tells.

use crate::{
    DataError, Names, ReadOptions, dates, stamps,
    table::{Field, Table},
};
use std::{
    collections::{HashMap, HashSet},
    path::Path,
};

/// What the columns of a long file are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Those that tell series apart.
    pub id: Names,
    /// That of stamps.
    pub time: String,
    /// Those of values.
    pub target: Names,
    /// Those with numbers that are the same in all rows of a series, or of a stamp, or that number the rows.
    pub fixed: Vec<String>,
    /// Those without numbers.
    pub others: Vec<String>,
}

/// Rows that a series has in the mean, at least.
const FEWEST_ROWS: usize = 8;
/// Of so many rows one may share its stamp with another of its series, where numbers tell series apart.
const ONE_DOUBLED_OF: usize = 100;
/// Columns of integers that are looked at for ids, and those that tell series apart together, at most.
const MOST_INTEGERS: usize = 8;
const MOST_TOGETHER: usize = 3;
/// Rows in a row, in the mean, of what lasts.
const LONG_RUN: usize = 3;
/// Share of all stamps of all series that have a row, where numbers tell series apart, or the time.
const LEAST_FULL: f64 = 0.2;
/// Words of names of columns with times as numbers, and what is one where there is no other.
const TIMES: [&str; 9] = ["time", "timestamp", "datetime", "date", "ts", "ds", "t", "epoch", "unixtime"];
const YEAR: [&str; 1] = ["year"];
/// Words of names of columns that tell more of the time, if they are numbers.
const PARTS: [&str; 20] = [
    "year", "month", "week", "weekday", "dow", "doy", "day", "hour", "hr", "he", "minute", "min", "second", "sec", "quarter",
    "period", "interval", "slot", "season", "time",
];
/// Words of names of columns that say something of a value.
const STATES: [&str; 10] = ["status", "quality", "flag", "qc", "unit", "units", "severity", "comment", "note", "message"];

/// What the columns of a file are in which rows are of more than one series: that of stamps is the first with dates that are not all alike, or with numbers and a name
/// that says so; those that tell series apart are the fewest columns of text, or where these do not do, of integers, with which stamps are rows' own; and values are all
/// other columns of numbers that are neither the same in all rows of a series, or of a stamp, nor rise by every row.
///
/// None is found where most rows have a stamp of their own and stamps go one way, unless the file `is_refused` as a wide one; then columns of text may tell series apart that do not stay the same for several rows.
/// The file is read several times, once more for each candidate.
///
/// # Errors
/// An unreadable file, a bad header, ragged rows.
pub fn layout(path: &Path, options: &ReadOptions, is_refused: bool) -> Result<Vec<Layout>, DataError> {
    let table = Table::open(path, options.decimal)?;
    table.header().check_values(path)?;
    let names = &table.header().names;
    let ReadOptions { id, time, target, .. } = ReadOptions::default();
    if id.0.iter().chain([&time]).chain(&target.0).all(|name| names.contains(name)) {
        return Ok(vec![Layout { id, time, target, fixed: Vec::new(), others: Vec::new() }]);
    }
    let columns = Columns::of(&table)?;
    let Some(time) = columns.time(names) else { return Ok(Vec::new()) };
    let (is_shared, goes_back) = columns.stamps(&table, time)?;
    if !is_refused && !is_shared && !goes_back {
        return Ok(Vec::new());
    }
    let codes = Codes::of(&table, &columns, time)?;
    let mut layouts = Vec::new();
    for ids in codes.ids(&columns, names, is_refused) {
        // One series whose rows are in no order is none, nor are those of what lasts while time goes on.
        let is_none = match is_refused {
            true => !goes_back && codes.last(&ids),
            false => !is_shared && codes.go_back(&table, &ids)?,
        };
        if is_none {
            continue;
        }
        let [targets, fixed] = values(&table, &columns, &codes, time, &ids)?;
        if targets.is_empty() {
            continue;
        }
        let is_other = |at: &usize| *at != time && !ids.contains(at) && !targets.contains(at) && !fixed.contains(at);
        let of = |columns: &[usize]| columns.iter().map(|&at| names[at].clone()).collect::<Vec<_>>();
        layouts.push(Layout {
            id: Names(of(&ids)),
            time: names[time].clone(),
            target: Names(of(&targets)),
            fixed: of(&fixed),
            others: of(&(0..names.len()).filter(is_other).collect::<Vec<_>>()),
        });
    }
    Ok(layouts)
}

/// Whether a word of a name, as they are written, is one of these.
fn has_word(name: &str, words: &[&str]) -> bool {
    let mut own = name.split(|sign: char| !sign.is_alphanumeric());
    own.any(|own| words.iter().any(|word| own.eq_ignore_ascii_case(word)))
}

/// A number, with signs between its thousands or without.
fn number_of(field: Field<'_>) -> Option<f64> {
    field.finite().or_else(|| field.grouped(true))
}

/// What is in the columns of a file.
struct Columns {
    rows: usize,
    /// Of all that is there.
    dates: Vec<bool>,
    integers: Vec<bool>,
    times_of_day: Vec<bool>,
    /// Of half of it at least.
    numbers: Vec<bool>,
    /// More than one.
    varies: Vec<bool>,
    /// Integers that rise from row to row.
    rises: Vec<bool>,
}

impl Columns {
    fn of(table: &Table) -> Result<Self, DataError> {
        let width = table.header().names.len();
        let all: Vec<usize> = (0..width).filter(|&at| table.has_fields(at)).collect();
        let mut own = Self {
            rows: 0,
            dates: vec![false; width],
            integers: vec![false; width],
            times_of_day: vec![false; width],
            numbers: vec![false; width],
            varies: vec![false; width],
            rises: vec![false; width],
        };
        for flags in [&mut own.dates, &mut own.integers, &mut own.times_of_day, &mut own.rises] {
            all.iter().for_each(|&at| flags[at] = true);
        }
        let (mut present, mut numbers) = (vec![0usize; width], vec![0usize; width]);
        let (mut first, mut last): (Vec<String>, Vec<Option<f64>>) = (vec![String::new(); width], vec![None; width]);
        let mut rows = table.rows(&all)?;
        while rows.advance()?.is_some() {
            own.rows += 1;
            for &at in &all {
                let field = rows.field(at);
                let text = field.text();
                if field.finite_or_missing().is_some_and(f64::is_nan) {
                    own.rises[at] = false;
                    continue;
                }
                if present[at] == 0 {
                    first[at] = text.to_string();
                }
                present[at] += 1;
                own.varies[at] |= text != first[at];
                let number = number_of(field);
                numbers[at] += usize::from(number.is_some());
                own.integers[at] &= number.is_some_and(|number| number.fract() == 0.0);
                own.rises[at] &= number.is_some() && last[at].is_none_or(|last| number > Some(last));
                last[at] = number;
                // These take longer to tell.
                let is_word = number.is_none() && !matches!(field, Field::Time(_));
                own.times_of_day[at] = own.times_of_day[at] && is_word && dates::time_of_day(&text).is_some();
                own.dates[at] = own.dates[at] && (matches!(field, Field::Time(_)) || is_word && dates::is_stamp(&text));
            }
        }
        for at in 0..width {
            let is_there = present[at] > 0;
            own.dates[at] &= is_there;
            own.integers[at] &= is_there;
            own.times_of_day[at] &= is_there;
            own.rises[at] &= is_there && own.integers[at];
            own.numbers[at] = is_there && 2 * numbers[at] >= present[at];
        }
        Ok(own)
    }

    /// The column of stamps.
    fn time(&self, names: &[String]) -> Option<usize> {
        let columns = || (0..names.len()).filter(|&at| self.varies[at]);
        let named = |words: &[&str]| columns().find(|&at| self.numbers[at] && has_word(&names[at], words));
        columns().find(|&at| self.dates[at]).or_else(|| named(&TIMES)).or_else(|| named(&YEAR))
    }

    /// Whether most rows share their stamp with others, and whether stamps go both ways.
    fn stamps(&self, table: &Table, time: usize) -> Result<(bool, bool), DataError> {
        let mut counts: HashMap<Box<str>, usize> = HashMap::new();
        let mut ways = Ways::default();
        let mut rows = table.rows(&[time])?;
        while rows.advance()?.is_some() {
            let field = rows.field(time);
            let text = field.text();
            match counts.get_mut(&*text) {
                Some(count) => *count += 1,
                None => _ = counts.insert(text.into(), 1),
            }
            ways.go_on(field);
        }
        let shared: usize = counts.values().filter(|count| **count > 1).sum();
        Ok((2 * shared > self.rows, ways.are_both()))
    }
}

/// Which ways stamps go.
#[derive(Clone, Default)]
struct Ways {
    last: Option<i128>,
    forward: bool,
    back: bool,
}

impl Ways {
    /// What is no stamp goes nowhere.
    fn go_on(&mut self, field: Field<'_>) {
        if let Some(now) = field.time().map(stamps::nanoseconds) {
            self.forward |= self.last.is_some_and(|last| last < now);
            self.back |= self.last.is_some_and(|last| last > now);
            self.last = Some(now);
        }
    }

    fn are_both(&self) -> bool {
        self.forward && self.back
    }
}

/// What rows have in the column of stamps and in those that may tell series apart, by numbers.
struct Codes {
    rows: usize,
    /// The column of stamps.
    at: usize,
    time: Vec<u32>,
    /// How many stamps differ.
    stamps: usize,
    columns: Vec<(usize, Vec<u32>)>,
}

impl Codes {
    fn of(table: &Table, columns: &Columns, time: usize) -> Result<Self, DataError> {
        let names = &table.header().names;
        let may_be = |at: &usize| {
            let is_text = !columns.numbers[*at] && !columns.dates[*at] && !columns.times_of_day[*at];
            let is_key = columns.integers[*at] && !columns.rises[*at] && !has_word(&names[*at], &PARTS);
            *at != time && table.has_fields(*at) && (is_text || is_key)
        };
        let mut open: Vec<usize> = (0..names.len()).filter(may_be).collect();
        let most = columns.rows / FEWEST_ROWS;
        let asked: Vec<usize> = open.iter().copied().chain([time]).collect();
        let mut own =
            Self { rows: columns.rows, at: time, time: Vec::with_capacity(columns.rows), stamps: 0, columns: Vec::new() };
        let mut codes: Vec<Vec<u32>> = vec![Vec::new(); names.len()];
        let mut known: Vec<HashMap<Box<str>, u32>> = vec![HashMap::new(); names.len()];
        let mut code = |at: usize, text: &str| {
            let next = known[at].len() as u32;
            known[at].get(text).copied().unwrap_or_else(|| {
                known[at].insert(text.into(), next);
                next
            })
        };
        let mut rows = table.rows(&asked)?;
        while rows.advance()?.is_some() {
            own.time.push(code(time, &rows.field(time).text()));
            // A column with too many is no id.
            open.retain(|&at| {
                let code = code(at, &rows.field(at).text());
                codes[at].push(code);
                (code as usize) < most
            });
        }
        own.stamps = known[time].len();
        own.columns = open.into_iter().map(|at| (at, std::mem::take(&mut codes[at]))).collect();
        Ok(own)
    }

    /// The group of every row by these columns, and how many there are.
    fn groups(&self, ids: &[usize]) -> (Vec<u32>, usize) {
        let mut groups = vec![0; self.rows];
        let mut count = 1;
        for (_, codes) in self.columns.iter().filter(|(at, _)| ids.contains(at)) {
            let mut known: HashMap<(u32, u32), u32> = HashMap::new();
            for (group, code) in groups.iter_mut().zip(codes) {
                let next = known.len() as u32;
                *group = *known.entry((*group, *code)).or_insert(next);
            }
            count = known.len();
        }
        (groups, count)
    }

    /// Whether every one of several series has several rows in a row, as a state has that lasts, and sensors have not that take turns.
    fn last(&self, ids: &[usize]) -> bool {
        let (groups, count) = self.groups(ids);
        let (mut rows, mut runs) = (vec![0; count], vec![0; count]);
        for run in groups.chunk_by(|one, next| one == next) {
            rows[run[0] as usize] += run.len();
            runs[run[0] as usize] += 1;
        }
        count > 1 && rows.iter().zip(&runs).all(|(rows, runs)| *rows >= LONG_RUN * runs)
    }

    /// Whether stamps go both ways in a series.
    fn go_back(&self, table: &Table, ids: &[usize]) -> Result<bool, DataError> {
        let (groups, count) = self.groups(ids);
        let mut ways = vec![Ways::default(); count];
        let mut rows = table.rows(&[self.at])?;
        for group in groups {
            if rows.advance()?.is_none() {
                break;
            }
            ways[group as usize].go_on(rows.field(self.at));
        }
        Ok(ways.iter().any(Ways::are_both))
    }

    /// Rows whose stamp another of their group had before, and how many groups there are.
    fn doubled(&self, ids: &[usize]) -> (usize, usize) {
        let (groups, count) = self.groups(ids);
        let own: HashSet<(u32, u32)> = groups.into_iter().zip(self.time.iter().copied()).collect();
        (self.rows - own.len(), count)
    }

    /// Columns that may tell series apart together, the best first.
    fn ids(&self, columns: &Columns, names: &[String], is_refused: bool) -> Vec<Vec<usize>> {
        let of = |numbers: bool| self.columns.iter().map(|(at, _)| *at).filter(move |&at| columns.numbers[at] == numbers);
        let texts = of(false).filter(|&at| !is_refused || !has_word(&names[at], &STATES));
        let (varying, constant): (Vec<usize>, Vec<usize>) = texts.partition(|&at| columns.varies[at]);
        if is_refused {
            let alone = varying.iter().map(|&at| vec![at]);
            let all = std::iter::once(self.fewest(&varying));
            let constant = constant.into_iter().map(|at| vec![at]);
            return alone.chain(all).chain(constant).filter(|ids| !ids.is_empty()).collect();
        }
        let full = |groups: usize| self.rows as f64 / (groups * self.stamps) as f64;
        let (doubled, _) = self.doubled(&varying);
        if ONE_DOUBLED_OF * doubled <= self.rows {
            let ids = self.fewest(&varying);
            let (_, groups) = self.groups(&ids);
            let is_told = columns.dates[self.at] || full(groups) >= LEAST_FULL;
            if groups > 1 {
                return Vec::from_iter(is_told.then_some(ids));
            }
        }
        let mut integers: Vec<usize> = of(true).filter(|&at| columns.varies[at]).collect();
        integers.truncate(MOST_INTEGERS);
        let mut best: Option<(f64, Vec<usize>)> = None;
        for chosen in (1u32..1 << integers.len()).filter(|chosen| chosen.count_ones() as usize <= MOST_TOGETHER) {
            let own = integers.iter().enumerate().filter(|(index, _)| chosen >> index & 1 == 1).map(|(_, &at)| at);
            let ids: Vec<usize> = varying.iter().copied().chain(own).collect();
            let (doubled, groups) = self.doubled(&ids);
            let full = full(groups);
            let is_better = best.as_ref().is_none_or(|(most, _)| full > *most);
            if ONE_DOUBLED_OF * doubled <= self.rows && full >= LEAST_FULL && is_better {
                best = Some((full, ids));
            }
        }
        best.into_iter().map(|(_, ids)| self.fewest(&ids)).collect()
    }

    /// These without those that the others make needless, the last first.
    fn fewest(&self, ids: &[usize]) -> Vec<usize> {
        let mut kept = ids.to_vec();
        let (doubled, _) = self.doubled(&kept);
        for at in ids.iter().rev() {
            let without: Vec<usize> = kept.iter().copied().filter(|kept| kept != at).collect();
            if !without.is_empty() && self.doubled(&without).0 <= doubled {
                kept = without;
            }
        }
        kept.sort_unstable();
        kept
    }
}

/// The columns of numbers that change with series and time, and those that do not.
fn values(table: &Table, columns: &Columns, codes: &Codes, time: usize, ids: &[usize]) -> Result<[Vec<usize>; 2], DataError> {
    let is_value = |at: &usize| columns.numbers[*at] && *at != time && !ids.contains(at);
    let all: Vec<usize> = (0..table.header().names.len()).filter(is_value).collect();
    let (groups, count) = codes.groups(ids);
    let places = [groups, codes.time.clone()];
    // By column, what the last row of a group and of a stamp had, how often the next had the same, and whether it had another.
    let none = || (vec![f64::NAN; codes.stamps.max(count)], 0, false);
    let mut lasts: Vec<[(Vec<f64>, usize, bool); 2]> = all.iter().map(|_| [none(), none()]).collect();
    let mut rows = table.rows(&all)?;
    let mut row = 0;
    while row < codes.rows && rows.advance()?.is_some() {
        for (&at, own) in all.iter().zip(&mut lasts) {
            let Some(value) = number_of(rows.field(at)) else { continue };
            for ((last, same, varies), places) in own.iter_mut().zip(&places) {
                let last = &mut last[places[row] as usize];
                *same += usize::from(*last == value);
                *varies |= !last.is_nan() && *last != value;
                *last = value;
            }
        }
        row += 1;
    }
    let varies = |index: usize| {
        let [(_, _, by_row), (_, same, by_series)] = &lasts[index];
        // Stamps that are rows' own say nothing of it.
        let is_of_stamps = count > 1 && !by_series && 2 * same >= codes.rows;
        *by_row && !is_of_stamps && !columns.rises[all[index]]
    };
    let (own, fixed): (Vec<usize>, Vec<usize>) = (0..all.len()).partition(|&index| varies(index));
    Ok([own, fixed].map(|columns| columns.into_iter().map(|index| all[index]).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const ROWS: usize = 40;

    /// A file with a row of two series an hour, or the rows of one after those of the other.
    fn file(header: &str, is_sorted: bool, row: impl Fn(usize, usize) -> String) -> tempfile::NamedTempFile {
        let mut rows: Vec<(usize, usize)> = (0..2 * ROWS).map(|at| (at / 2, at % 2)).collect();
        if is_sorted {
            rows.sort_by_key(|(_, series)| *series);
        }
        let lines: String = rows.into_iter().map(|(at, series)| row(at, series) + "\n").collect();
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(format!("{header}\n{lines}").as_bytes()).expect("written");
        file
    }

    fn hour(at: usize) -> String {
        format!("2024-01-{:02} {:02}:00", 1 + at / 24, at % 24)
    }

    /// The layouts of a file: ids, time, targets, what is fixed, and others, by blanks.
    fn found(file: &tempfile::NamedTempFile, is_refused: bool) -> Vec<String> {
        let layouts = layout(file.path(), &ReadOptions::default(), is_refused).expect("reads");
        let words = |layout: Layout| {
            let parts = [layout.id.0, vec![layout.time], layout.target.0, layout.fixed, layout.others];
            parts.map(|names| names.join(" ")).join("; ")
        };
        layouts.into_iter().map(words).collect()
    }

    #[test]
    fn columns_of_long_files_are_told_by_what_they_hold() {
        let name = |series: usize| ["north", "south"][series];
        // Neither changes with the other.
        let value = |at: usize, series: usize| at * 7 % 13 + 20 * series;
        type Row<'a> = &'a dyn Fn(usize, usize) -> String;
        let cases: [(&str, Row<'_>, &str); 10] = [
            ("unique_id,ds,y", &|at, series| format!("{},{at},{}", name(series), value(at, series)), "unique_id; ds; y; ; "),
            (
                "time,sensor,value",
                &|at, series| format!("{},{},{}", hour(at), name(series), value(at, series)),
                "sensor; time; value; ; ",
            ),
            (
                "time;sensor;value",
                &|at, series| format!("{};{};1,{:03}.5", hour(at), name(series), value(at, series)),
                "sensor; time; value; ; ",
            ),
            // Times as numbers, by their name; a missing word is no text.
            (
                "value,ts,sensor",
                &|at, series| {
                    format!("{},{},{}", if at == 7 { "NA".into() } else { value(at, series).to_string() }, 60 * at, name(series))
                },
                "sensor; ts; value; ; ",
            ),
            // Several values; a state and a place are none.
            (
                "when,state,id,t,h,lat",
                &|at, series| {
                    let (state, h) = (["ok", "late"][usize::from(at % 9 == 4)], value(at, 1 - series));
                    format!("{},{state},{},{},{h},4{series}.5", hour(at), name(series), value(at, series))
                },
                "id; when; t h; lat; state",
            ),
            // What all series share at a time is none of one.
            (
                "when,id,y,common,until",
                &|at, series| format!("{},{},{},{},{}", hour(at), name(series), value(at, series), at % 5, hour(at + 1)),
                "id; when; y; common; until",
            ),
            // The first stamps stand still.
            (
                "start,stop,time,y,host",
                &|at, series| format!("{},{},{},{},{}", hour(0), hour(ROWS), hour(at), value(at, series), name(series)),
                "host; time; y; ; start stop",
            ),
            (
                "station,date,y",
                &|at, series| format!("{},{},{}", 101 + series, hour(at), value(at, series)),
                "station; date; y; ; ",
            ),
            // Of two columns that say the same the first; years alone.
            (
                "code,country,year,y",
                &|at, series| format!("{series}c,{},{},{}", name(series), 1950 + at, value(at, series)),
                "code; year; y; ; country",
            ),
            ("day,hour,y", &|at, series| format!("{},{series},{}", hour(24 * (at % 25)), value(at, series)), ""),
        ];
        for (header, row, expected) in cases {
            for is_sorted in [false, true] {
                let found = found(&file(header, is_sorted, row), false);
                assert_eq!(found.first().map_or("", String::as_str), expected, "{header}, sorted: {is_sorted}");
            }
        }
        // Numbers of the rows are no values.
        let row = |at: usize, series: usize| format!("{},{},{},{}", 2 * at + series, hour(at), name(series), value(at, series));
        assert_eq!(found(&file("row,when,id,y", false, row), false), ["id; when; y; row; "]);
        // Rows with stamps of their own are of one series, unless they begin anew.
        let row = |at: usize, series: usize| format!("{},{},{}", hour(2 * at + series), name(series), value(at, series));
        assert!(found(&file("when,state,y", false, row), false).is_empty());
        assert_eq!(found(&file("when,id,y", true, row), false), ["id; when; y; ; "]);
    }

    #[test]
    fn several_columns_may_tell_series_apart() {
        // Two rooms with two meters each, by name or by number.
        for (names, header, expected) in [
            (["attic", "cellar", "heat", "light"], "time,room,meter,y", "room meter; time; y; ; "),
            (["1", "2", "7", "8"], "time,room,meter,y", "room meter; time; y; ; "),
            // Of a state beside them that seldom changes nothing hangs.
            (["1", "2", "7", "8"], "time,state,room,meter,y", "room meter; time; y; ; state"),
        ] {
            let row = |at: usize, room: usize| {
                let line = |meter: usize| {
                    let state = if header.contains("state") { ["ok,", "late,"][usize::from(at == 5)] } else { "" };
                    format!("{},{state}{},{},{}", hour(at), names[room], names[2 + meter], at * 7 % 13 + 20 * room + 100 * meter)
                };
                format!("{}\n{}", line(0), line(1))
            };
            assert_eq!(found(&file(header, false, row), false), [expected], "{names:?}");
        }
    }

    #[test]
    fn a_file_that_is_refused_may_have_a_series_a_text() {
        // Polled in turn, a second apart.
        let row = |at: usize, series: usize| format!("2024-01-01 00:{at:02}:0{series},room{series},{}", at * 7 % 13);
        let polled = file("time,topic,payload", false, row);
        assert!(found(&polled, false).is_empty());
        assert_eq!(found(&polled, true), ["topic; time; payload; ; "; 2]);
        // All of one, whose stamps stand behind others that stand still.
        let one = file("result,start,time,y", false, |at, series| format!("r,{},{},{at}.5", hour(0), hour(2 * at + series)));
        assert_eq!(found(&one, true), ["result; time; y; ; start"]);
        // What lasts says something of a value.
        let state = |at: usize, series: usize| format!("{},{},{at}", hour(2 * at + series), ["ok", "late"][at / 5 % 2]);
        assert!(found(&file("time,state,y", false, state), true).is_empty());
        let wide = file("time,y", false, |at, series| format!("{},{at}.5", hour(2 * at + series)));
        assert!(found(&wide, true).is_empty());
    }

    #[test]
    fn rows_in_no_order_are_no_series() {
        let row = |at: usize, series: usize| format!("{},{},{at}", hour((7 * (2 * at + series)) % 80), ["ok", "late"][series]);
        assert!(found(&file("time,state,y", false, row), false).is_empty());
    }
}
