//! Wide CSV: a stamp column first, then one column a series.

use crate::{CalendarFeature, DataError, Signal, calendar, number, stamps, table};
use std::path::Path;

/// Reads a wide CSV file, strictly: nothing is missing, nothing is repaired. [`read`](crate::read) is the forgiving one.
///
/// # Errors
/// A missing or empty file, no header, duplicate or empty names, ragged rows, text, NaN or nothing in a number column, stamps that
/// do not parse or do not increase; each with file, line and column.
pub fn read_wide(path: &Path) -> Result<Signal, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let (header, lines) = table::open(path, &text)?;
    let names: Vec<String> = header.names.iter().skip(1).map(String::from).collect();
    let mut signal = Signal { columns: vec![Vec::new(); names.len()], names, ..Signal::default() };
    let mut before = i64::MIN;
    for line in lines {
        let line = line?;
        let time = stamps::parse(&line.fields[0]).ok_or_else(|| header.field(&line, 0, stamps::STAMP))?;
        if time.ticks <= before {
            return Err(header.field(&line, 0, "a stamp later than the one before"));
        }
        before = time.ticks;
        for (index, text) in line.fields.iter().enumerate().skip(1) {
            let value = number::finite(text).ok_or_else(|| header.field(&line, index, number::NUMBER))?;
            signal.columns[index - 1].push(value);
        }
        signal.stamps.push(line.fields[0].to_string());
    }
    if signal.is_empty() {
        return Err(table::fault(path, "rows under the header", "none"));
    }
    tracing::info!(path = %path.display(), rows = signal.len(), columns = signal.names.len(), "signal read");
    Ok(signal)
}

/// Reads covariates known ahead by `names`, `[covariate][row]`: columns of a wide CSV file, or quantities of the calendar, which come from its stamps. Other
/// columns are passed over.
///
/// # Errors
/// As [`read_wide`]; a name that is neither.
pub fn read_known(path: &Path, names: &[String], features: &[CalendarFeature]) -> Result<Vec<Vec<f64>>, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let (header, lines) = table::open(path, &text)?;
    let days = calendar(&[], features)?;
    let ours = |name: &&String| days.iter().any(|feature| feature.name == **name);
    let columns = names.iter().filter(|name| !ours(name)).map(|name| Ok((name, header.place(path, name, 1)?)));
    let columns: Vec<(&String, usize)> = columns.collect::<Result<_, DataError>>()?;
    let (mut stamps, mut values) = (Vec::new(), vec![Vec::new(); columns.len()]);
    for line in lines {
        let line = line?;
        for ((_, place), values) in columns.iter().zip(&mut values) {
            values
                .push(number::finite_or_truth(&line.fields[*place]).ok_or_else(|| header.field(&line, *place, number::NUMBER))?);
        }
        stamps.push(line.fields[0].to_string());
    }
    let mut calendar = calendar(&stamps, features)?;
    let mut of = |name: &String| match columns.iter().position(|(column, _)| *column == name) {
        Some(place) => std::mem::take(&mut values[place]),
        None => calendar.iter_mut().find(|own| own.name == *name).map_or(Vec::new(), |own| std::mem::take(&mut own.values[0])),
    };
    Ok(names.iter().map(&mut of).collect())
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
        let known = read_known(file.path(), &names, &[CalendarFeature::Weekend]).expect("reads");
        assert_eq!(known, [[0.0, 1.0], [3.0, 4.5]]);
        for (names, expected) in [(["rain"], "expected a column `rain`"), (["x"], ":2: column `x`: expected a finite number")] {
            let error = read_known(file.path(), &names.map(String::from), &[]).expect_err("refused").to_string();
            assert!(error.contains(expected), "{error}");
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
            ("date,a\n1,2\nnoon,3\n", ":3: column `date`: expected a date"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
        assert!(read_wide(Path::new("no/such.csv")).expect_err("missing").to_string().contains("no/such.csv"));
    }
}
