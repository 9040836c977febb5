//! Wide CSV: a stamp column first, then one column a series.

use crate::{DataError, Signal, number, stamps, table};
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
