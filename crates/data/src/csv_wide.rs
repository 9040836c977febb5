//! Wide CSV: a stamp column first, then one column a series.

use crate::{DataError, Signal, stamps};
use std::path::Path;

/// What a number must be.
pub(crate) const NUMBER: &str = "a finite number";

/// Reads a wide CSV file, strictly.
///
/// # Errors
/// A missing or empty file, no header, duplicate or empty names, ragged rows, text, NaN or nothing in a number column, stamps that
/// do not parse or do not increase; each with file, line and column.
pub fn read_wide(path: &Path) -> Result<Signal, DataError> {
    let text = std::fs::read_to_string(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let whole = |expected: &str, found: String| DataError::File { path: path.into(), expected: expected.into(), found };
    if text.trim().is_empty() {
        return Err(whole("a header and rows", "an empty file".into()));
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| whole("CSV", error.to_string()))?.clone();
    let names: Vec<String> = header.iter().skip(1).map(String::from).collect();
    if header.iter().skip(1).any(|name| name.parse::<f64>().is_ok())
        || header.get(0).is_some_and(|first| stamps::parse(first).is_some())
    {
        return Err(whole("a header with column names on line 1", format!("`{}`", header.iter().collect::<Vec<_>>().join(","))));
    }
    if names.is_empty() {
        return Err(whole("a stamp column and at least one value column", format!("{} column", header.len())));
    }
    for (index, name) in names.iter().enumerate() {
        if name.is_empty() || names[..index].contains(name) {
            return Err(whole("column names that are neither empty nor doubled", format!("`{name}` as column {}", index + 2)));
        }
    }
    let source_name = path.display().to_string();
    let mut signal = Signal { stamps: Vec::new(), columns: vec![Vec::new(); names.len()], names };
    let mut before = i64::MIN;
    for record in reader.records() {
        let record = record.map_err(|error| whole("CSV in UTF-8", error.to_string()))?;
        let line = record.position().map_or(0, csv::Position::line);
        if record.len() != header.len() {
            return Err(DataError::Ragged { source_name, line, expected: header.len().to_string(), found: record.len() });
        }
        let field = |column: &str, expected, found: &str| DataError::Field {
            source_name: source_name.clone(),
            line,
            column: column.into(),
            expected,
            found: found.into(),
        };
        let time =
            stamps::parse(&record[0]).ok_or_else(|| field(&header[0], "a date, a date and time, or an integer", &record[0]))?;
        if time.ticks <= before {
            return Err(field(&header[0], "a stamp later than the one before", &record[0]));
        }
        before = time.ticks;
        for (index, text) in record.iter().skip(1).enumerate() {
            let value = text.parse::<f64>().ok().filter(|value| value.is_finite());
            signal.columns[index].push(value.ok_or_else(|| field(&header[index + 1], NUMBER, text))?);
        }
        signal.stamps.push(record[0].to_string());
    }
    if signal.is_empty() {
        return Err(whole("rows under the header", "none".into()));
    }
    tracing::info!(path = %path.display(), rows = signal.len(), columns = signal.names.len(), "signal read");
    Ok(signal)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

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
            ("date,a\n1,2\nnoon,3\n", ":3: column `date`: expected a date"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
        assert!(read_wide(Path::new("no/such.csv")).expect_err("missing").to_string().contains("no/such.csv"));
    }
}
