//! Wide files, read strictly: a stamp column first, then one column a series.

use crate::{
    CalendarFeature, DataError, Hours, ReadOptions, Signal, Stamps, calendar, number,
    read::{First, KNOWN},
    stamps::{self, Settled, Time, difference, nanoseconds},
    table::{Field, Header, Rows, Table, fault},
};
use std::{borrow::Cow, path::Path};

/// Reads a wide file, CSV or Parquet, strictly: nothing is missing, nothing is repaired. [`read`](crate::read) is the forgiving one.
///
/// # Errors
/// A missing or empty file, no header, duplicate or empty names, ragged rows, text, NaN or nothing in a number column, stamps that
/// do not parse or do not increase; each with file, line and column.
pub fn read_wide(path: &Path) -> Result<Signal, DataError> {
    let table = Table::open(path, None)?;
    let header = table.header();
    header.check_values(path)?;
    let names = header.names[1..].to_vec();
    let (mut columns, mut written) = (vec![Vec::new(); names.len()], Vec::new());
    let all: Vec<usize> = (0..header.names.len()).collect();
    let mut lines = table.rows(&all)?;
    let (mut before, mut clock) = (i128::MIN, None);
    while let Some(line) = lines.advance()? {
        let stamp = lines.field(0);
        let time = stamp
            .time()
            .filter(|time| *clock.get_or_insert(time.form.clock()) == time.form.clock())
            .ok_or_else(|| header.field(line, 0, stamps::STAMP, stamp))?;
        if nanoseconds(time) <= before {
            return Err(header.field(line, 0, "a stamp later than the one before", stamp));
        }
        before = nanoseconds(time);
        for (column, values) in columns.iter_mut().enumerate() {
            let field = lines.field(column + 1);
            values.push(field.finite().ok_or_else(|| header.field(line, column + 1, number::NUMBER, field))?);
        }
        written.push(stamp.text().into_owned());
    }
    in_utf8(path, &*lines)?;
    if let Some((count, line)) = lines.blank() {
        return Err(fault(path, "rows with fields that say something", format!("{count} without, the first on line {line}")));
    }
    if written.is_empty() {
        return Err(fault(path, "rows under the header", "none"));
    }
    let columns = columns.into_iter().map(Into::into).collect();
    let signal = Signal { stamps: written.into(), names, columns, ..Signal::default() };
    tracing::info!(path = %path.display(), rows = signal.len(), columns = signal.names.len(), "signal read");
    Ok(signal)
}

/// Refuses a file with bytes that are not UTF-8, once all of it was read.
fn in_utf8(path: &Path, rows: &dyn Rows) -> Result<(), DataError> {
    match rows.foreign() {
        Some((count, line)) => Err(fault(path, "UTF-8", format!("{count} other bytes, the first on line {line}"))),
        None => Ok(()),
    }
}

/// Covariates known ahead.
#[derive(Clone, Debug, PartialEq)]
pub struct Known {
    /// The stamp of each row, as it is written.
    pub stamps: Vec<String>,
    /// `[covariate][row]`.
    pub values: Vec<Vec<f64>>,
}

/// The names of what is known ahead that a file has to hold: those that the calendar of its stamps does not say.
///
/// # Errors
/// As [`calendar`], of no stamps.
pub fn known_columns<'a>(names: &'a [String], features: &[CalendarFeature]) -> Result<Vec<&'a String>, DataError> {
    let calendar = calendar(&Stamps::default(), 0, features, false)?;
    Ok(names.iter().filter(|name| calendar.iter().all(|own| own.name != **name)).collect())
}

/// Reads covariates known ahead by `names`: columns of a wide file, or quantities of the calendar, which come from its stamps. Other
/// columns are passed over. Stamps that are no dates, times or numbers are taken in the order they are in. Of a file that
/// begins among the rows that were known before, of the stamps `before`, or earlier, those are passed over. A number of `options.missing` is not known, and rows
/// are of `options.hours` if these are told: others are passed over.
///
/// # Errors
/// As [`read_wide`], each with the file; a name that is neither; a stamp that is not the one after the stamp above, or after what was known before, so that
/// what is known would be of another sample.
pub fn read_known(
    path: &Path,
    names: &[String],
    features: &[CalendarFeature],
    options: &ReadOptions,
    before: &[String],
) -> Result<Known, DataError> {
    let table = Table::open(path, options.decimal)?;
    let header = table.header();
    let (time, from) = First::of(&table)?.time_and_from();
    let columns = known_columns(names, features)?.into_iter().map(|name| Ok((name, header.place(path, name, from)?)));
    let columns: Vec<(&String, usize)> = columns.collect::<Result<_, DataError>>()?;
    let (mut stamps, mut values) = (before.to_vec(), vec![Vec::new(); columns.len()]);
    let mut times: Vec<(u64, Option<Time>)> = before.iter().map(|stamp| (0, stamps::parse(stamp))).collect();
    let is_known = |stamp: &str| before.last().and_then(|last| difference(stamp, last)).is_some_and(|since| since <= 0);
    let places: Vec<usize> = std::iter::once(time).chain(columns.iter().map(|(_, place)| *place)).collect();
    let mut lines = table.rows(&places)?;
    while let Some(line) = lines.advance()? {
        let stamp = lines.field(time);
        let text = stamp.text();
        let turned = options.dates.map(|dates| dates.year_first(&text));
        if stamps.len() == before.len() && is_known(turned.as_ref().unwrap_or(&text)) {
            continue;
        }
        for ((_, place), values) in columns.iter().zip(&mut values) {
            let field = lines.field(*place);
            let value = field.finite_or_truth().filter(|value| !options.missing.contains(value));
            values.push(value.ok_or_else(|| header.field(line, *place, KNOWN, field))?);
        }
        let at = turned.as_ref().map_or_else(|| stamp.time(), |turned| stamps::parse(turned));
        stamps.push(turned.unwrap_or(Cow::Borrowed(&*text)).into_owned());
        times.push((line, at));
    }
    in_utf8(path, &*lines)?;
    if let Some(open) = options.hours.and_then(|told| open(&times[before.len()..], told)) {
        fn keep<T>(all: &mut Vec<T>, from: usize, open: &[bool]) {
            let mut rows = std::iter::repeat_n(&true, from).chain(open);
            all.retain(|_| rows.next() == Some(&true));
        }
        keep(&mut stamps, before.len(), &open);
        keep(&mut times, before.len(), &open);
        values.iter_mut().for_each(|values| keep(values, 0, &open));
    }
    check_steps((header, time), &stamps, &times, before.len(), options.hours)?;
    let calendar =
        calendar(&Stamps::written(stamps.clone(), options.hours), 0, features, false).map_err(|error| match error {
            DataError::Calendar { number, found } => {
                fault(path, "a date or a date and time for the calendar", format!("`{found}` as stamp {number}"))
            }
            error => error,
        })?;
    let mut of = |name: &String| match columns.iter().position(|(column, _)| *column == name) {
        Some(place) => std::mem::take(&mut values[place]),
        None => calendar.iter().find(|own| own.name == *name).map_or(Vec::new(), |own| own.values[0][before.len()..].to_vec()),
    };
    Ok(Known { values: names.iter().map(&mut of).collect(), stamps: stamps.split_off(before.len()) })
}

/// Whether rows are within hours that are told; none where their times do not tell.
fn open(times: &[(u64, Option<Time>)], told: Hours) -> Option<Vec<bool>> {
    let times: Vec<Time> = times.iter().map(|(_, time)| *time).collect::<Option<_>>()?;
    let settled = stamps::settled(&times, Some(told)).filter(|settled| settled.ticks.is_sorted())?;
    let open = settled.open(Some(told))?;
    Some(settled.ticks.iter().map(|&ticks| open.place(ticks).1).collect())
}

/// Refuses stamps that go back, stay or leave one out, from row `new` on. `times` are their lines and what they say; where the first says nothing, none is
/// looked at.
fn check_steps(
    (header, column): (&Header, usize),
    stamps: &[String],
    times: &[(u64, Option<Time>)],
    new: usize,
    told: Option<Hours>,
) -> Result<(), DataError> {
    let Some(&(_, Some(first))) = times.first() else { return Ok(()) };
    let refused =
        |row: usize, expected: Cow<'static, str>| Err(header.field(times[row].0, column, expected, Field::Text(&stamps[row])));
    let mut stamped: Vec<Time> = Vec::with_capacity(times.len());
    for (row, (_, time)) in times.iter().enumerate() {
        let Some(time) = time.filter(|time| time.form.clock() == first.form.clock()) else {
            return refused(row, stamps::STAMP.into());
        };
        if stamped.last().is_some_and(|before| nanoseconds(time) < nanoseconds(*before)) {
            return refused(row, "a stamp not before the one above".into());
        }
        stamped.push(time);
    }
    let Some(settled) = stamps::settled(&stamped, told) else { return Ok(()) };
    let fit = settled.fit(told);
    let Settled { ticks, resolution, style } = settled;
    let grid = &fit.grids[0];
    let place = |row: usize| fit.position(0, row, ticks[row]).0;
    let Some(row) = (new.max(1)..ticks.len()).find(|&row| place(row) != place(row - 1) + 1) else { return Ok(()) };
    let above = if row == new { "what is known already" } else { "the one above" };
    let next = Some(place(row - 1) + 1).filter(|_| grid.step.size > 0);
    let next = next.and_then(|next| style.write(grid.ticks(next)?, resolution));
    refused(row, next.map_or("a stamp later than the one before".into(), |next| format!("{next}, a step after {above}").into()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn what_is_known_is_found_by_name_or_in_the_calendar() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"t,x,heat\n2024-01-05,a,3\n2024-01-06,b,4.5\n").expect("written");
        let names = ["weekend".to_string(), "heat".into()];
        let known = read_known(file.path(), &names, &[CalendarFeature::Weekend], &ReadOptions::default(), &[]).expect("reads");
        assert_eq!(
            known,
            Known { stamps: vec!["2024-01-05".into(), "2024-01-06".into()], values: vec![vec![0.0, 1.0], vec![3.0, 4.5]] }
        );
        for (names, expected) in [(["rain"], "expected a column `rain`"), (["x"], ":2: column `x`: expected a finite number")] {
            let error = read_known(file.path(), &names.map(String::from), &[], &ReadOptions::default(), &[])
                .expect_err("refused")
                .to_string();
            assert!(error.contains(expected), "{error}");
        }
    }

    #[test]
    fn the_calendar_of_what_is_known_is_that_of_its_clock() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"t,x\n2024-03-30T00:00+01:00,1\n2024-03-31T00:00+01:00,2\n2024-04-01T00:00+02:00,3\n").expect("written");
        let known = read_known(file.path(), &["weekend".to_string()], &[CalendarFeature::Weekend], &ReadOptions::default(), &[])
            .expect("reads");
        assert_eq!(known.values, [[1.0, 1.0, 0.0]]);
    }

    #[test]
    fn what_was_known_before_is_passed_over_and_gone_on_from() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"t,x\n2024-03-30T00:00+01:00,1\n2024-03-31T00:00+01:00,2\n2024-04-01T00:00+02:00,3\n").expect("written");
        let names = ["weekend".to_string(), "x".into()];
        let after = |before: &[&str]| {
            let before: Vec<String> = before.iter().map(ToString::to_string).collect();
            read_known(file.path(), &names, &[CalendarFeature::Weekend], &ReadOptions::default(), &before)
        };
        // One day alone tells of no local clock.
        let known = after(&["2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00"]).expect("reads");
        assert_eq!((known.stamps, known.values), (vec!["2024-04-01T00:00+02:00".to_string()], vec![vec![0.0], vec![3.0]]));
        assert_eq!(after(&["2024-04-01T00:00+02:00"]).expect("reads").stamps, [""; 0]);
        assert_eq!(after(&["2024-03-28T00:00+01:00", "2024-03-29T00:00+01:00"]).expect("reads").stamps.len(), 3);
        let error = after(&["2024-03-27T00:00+01:00", "2024-03-28T00:00+01:00"]).expect_err("a gap").to_string();
        let expected = ", a step after what is known already, found `2024-03-30T00:00+01:00`";
        assert!(error.contains(":2: column `t`: expected 2024-03-29T00:00") && error.ends_with(expected), "{error}");
    }

    fn known(text: &str, features: &[CalendarFeature]) -> Result<Vec<Vec<f64>>, (String, String)> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let name = file.path().display().to_string();
        let known = read_known(
            file.path(),
            &["x".to_string()],
            features,
            &ReadOptions { missing: vec![-9999.0], ..ReadOptions::default() },
            &[],
        );
        known.map(|known| known.values).map_err(|error| (name, error.to_string()))
    }

    /// Lines of these stamps, numbered from 0.
    fn stamped(stamps: &[&str]) -> String {
        let lines = stamps.iter().enumerate().map(|(row, stamp)| format!("{stamp},{row}\n"));
        "t,x\n".to_string() + &lines.collect::<String>()
    }

    #[test]
    fn what_is_missing_is_not_known() {
        let (_, error) = known("t,x\n1,2\n2,-9999\n", &[]).expect_err("refused");
        assert!(error.ends_with(&format!(":3: column `x`: expected {KNOWN}, found `-9999`")), "{error}");
    }

    #[test]
    fn what_is_known_of_another_sample_is_refused() {
        for (stamps, line, expected, found) in [
            (&["2", "1", "3"][..], 3, "a stamp not before the one above", "1"),
            (&["0", "1", "1", "2"], 4, "2, a step after the one above", "1"),
            (&["0", "1", "2", "4"], 5, "3, a step after the one above", "4"),
            (&["0", "10", "20", "40"], 5, "30, a step after the one above", "40"),
            (&["7", "7"], 3, "a stamp later than the one before", "7"),
            (&["2024-01-01 00:00", "2024-01-01 01:00", "2024-01-01 03:00"], 4, "2024-01-01 02:00, a step", "2024-01-01 03:00"),
            (&["2024-01-31", "2024-02-29", "2024-04-30"], 4, "2024-03-31, a step", "2024-04-30"),
            (&["2024-01-01", "2024-01-02", "x"], 4, "a month, a date, a date and time, or a number", "x"),
            (&["0.0", "0.1", "0.3"], 4, "0.2, a step", "0.3"),
            (
                &["2024-01-01 00:00:00.0", "2024-01-01 00:00:00.5", "2024-01-01 00:00:01.5"],
                4,
                "2024-01-01 00:00:01.0, a step",
                "2024-01-01 00:00:01.5",
            ),
            (&["2024-01-01", "2"], 3, "a month, a date, a date and time, or a number", "2"),
            (&["20240629", "20240630", "20240702"], 4, "20240701, a step", "20240702"),
            (&["2024-02-01", "2024-02-01 01:00", "2024-02-01 03:00"], 4, "2024-02-01 02:00, a step", "2024-02-01 03:00"),
            // Mondays are not a step after Saturdays.
            (&["2024-01-05", "2024-01-06", "2024-01-08"], 4, "2024-01-07, a step", "2024-01-08"),
        ] {
            let (name, error) = known(&stamped(stamps), &[]).expect_err(expected);
            let start = format!("{name}:{line}: column `t`: expected {expected}");
            assert!(error.starts_with(&start) && error.ends_with(&format!("found `{found}`")), "{error}");
        }
        for stamps in [
            &["monday", "tuesday", "monday"][..],
            &["monday", "2", "1"],
            &["7"],
            &["0", "2", "4"],
            &["2024-01-31", "2024-02-29", "2024-03-31"],
            &["2024-01-01 00:00:00", "2024-01-01 00:00:00.5", "2024-01-01 00:00:01"],
            &["0.033", "0.067", "0.1", "0.133", "0.167"],
            // Off the grid, but nearest to their places.
            &["0", "10", "21", "30", "40"],
            // Dates as integers, and days and months of local clocks.
            &["20240629", "20240630", "20240701"],
            &["202411", "202412", "202501", "202502"],
            &["2024-03-30T00:00+01:00", "2024-03-31T00:00+01:00", "2024-04-01T00:00+02:00", "2024-04-02T00:00+02:00"],
            &["2024-02-01 00:00:00+01:00", "2024-03-01 00:00:00+01:00", "2024-04-01 00:00:00+02:00"],
        ] {
            let expected: Vec<f64> = (0..stamps.len()).map(|row| row as f64).collect();
            assert_eq!(known(&stamped(stamps), &[]), Ok(vec![expected]), "{stamps:?}");
        }
    }

    #[test]
    fn what_is_known_is_of_the_hours_that_are_told() {
        let known = |stamps: &[&str]| {
            let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
            file.write_all(stamped(stamps).as_bytes()).expect("written");
            let options = ReadOptions { hours: Some("mon-fri 09:00-17:00".parse().expect("hours")), ..ReadOptions::default() };
            let known = read_known(file.path(), &["x".to_string()], &[], &options, &[]);
            known.map(|known| known.stamps.len()).map_err(|error| error.to_string())
        };
        // A Friday and a Monday.
        let weekend = ["2024-01-05 15:00+05:30", "2024-01-05 16:00+05:30", "2024-01-08 09:00+05:30"];
        assert_eq!((known(&weekend), known(&weekend.map(|stamp| &stamp[..16]))), (Ok(3), Ok(3)));
        let error = known(&["2024-01-05 15:00", "2024-01-05 16:00", "2024-01-08 10:00"]).expect_err("a gap");
        let expected = ":4: column `t`: expected 2024-01-08 09:00, a step after the one above, found `2024-01-08 10:00`";
        assert!(error.ends_with(expected), "{error}");
        // What is known at all times is taken within them.
        let always =
            (1..=14).flat_map(|day| (0..24).map(move |hour| format!("2024-01-{day:02} {hour:02}:00"))).collect::<Vec<_>>();
        assert_eq!(known(&always.iter().map(String::as_str).collect::<Vec<_>>()), Ok(80));
    }

    #[test]
    fn every_fault_of_what_is_known_names_the_file_once() {
        for (text, features, expected) in [
            ("t,x\n1,y\n", &[][..], ":2: column `x`"),
            ("t,x\n1,2,3\n", &[], ":2: expected 2 fields"),
            ("t,y\n1,2\n", &[], ": expected a column `x`"),
            (
                "t,x\n7,1\n",
                &[CalendarFeature::Weekend],
                ": expected a date or a date and time for the calendar, found `7` as stamp 1",
            ),
        ] {
            let (name, error) = known(text, features).expect_err(expected);
            assert!(error.starts_with(&format!("{name}{expected}")) && error.matches(&name).count() == 1, "{error}");
        }
    }

    fn read(text: &str) -> Result<Signal, DataError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        read_wide(file.path())
    }

    #[test]
    fn reads_what_is_right() {
        let signal = read("date,a,b\n2016-07-01 00:00:00,1,2.5\n2016-07-01 01:00:00,-3e2,4\n").expect("reads");
        assert_eq!(signal.names, ["a", "b"]);
        assert_eq!(signal.columns, [[1.0, -300.0], [2.5, 4.0]]);
        assert_eq!(signal.step(), Some(3600));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (text, expected) in [
            ("", "empty file"),
            ("date,a\n", "expected rows under the header"),
            ("2016-07-01 00:00:00,1\n2016-07-01 01:00:00,2\n", "expected a header"),
            ("date\n1\n", "at least one value column"),
            ("date,a,a\n1,2,3\n", "`a` as column 3"),
            ("date,a,b\n1,2,3\n2,3\n", ":3: expected 3 fields, found 2"),
            ("date,a\n1,2\n2,three\n", ":3: column `a`: expected a finite number, found `three`"),
            ("date,a\n1,2\n2,\n", ":3: column `a`: expected a finite number, found ``"),
            ("date,a\n1,2\n2,NaN\n", ":3: column `a`: expected a finite number, found `NaN`"),
            ("date,a\n1,2\n1,3\n", ":3: column `date`: expected a stamp later"),
            ("date,a\r\n1,2\r\n\r\n2,three\r\n", ":4: column `a`"),
            ("\u{feff}date,a\n1,2\n\n\n2,three\n", ":5: column `a`"),
            ("date,a\n1,2\nnoon,3\n", ":3: column `date`: expected a month, a date"),
            ("date,a\n2016-07-01 00:00,2\n2016-07-01T01:00Z,3\n", ":3: column `date`: expected a month, a date"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
        assert!(read_wide(Path::new("no/such.csv")).expect_err("missing").to_string().contains("no/such.csv"));
    }
}
