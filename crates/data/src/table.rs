//! CSV text as a checked header and lines of as many fields.

use crate::DataError;
use crate::stamps;
use std::path::Path;

/// The names of the columns, and the file they are from.
pub(crate) struct Header {
    pub names: csv::StringRecord,
    source_name: String,
}

/// One line under the header, with as many fields.
pub(crate) struct Line {
    /// From 1.
    pub number: u64,
    pub fields: csv::StringRecord,
}

/// What is wrong with a whole file.
pub(crate) fn fault(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> DataError {
    DataError::File { path: path.into(), expected: expected.into(), found: found.into() }
}

/// The header of a CSV text and its lines.
///
/// # Errors
/// No text, no header, fewer than two columns, or names that are empty or doubled; a line with another number of fields.
pub(crate) fn open<'a>(
    path: &'a Path,
    text: &'a str,
) -> Result<(Header, impl Iterator<Item = Result<Line, DataError>> + 'a), DataError> {
    if text.trim().is_empty() {
        return Err(fault(path, "a header and rows", "an empty file"));
    }
    let mut reader = csv::ReaderBuilder::new().has_headers(true).flexible(true).trim(csv::Trim::All).from_reader(text.as_bytes());
    let names = reader.headers().map_err(|error| fault(path, "CSV", error.to_string()))?.clone();
    if names.iter().skip(1).any(|name| name.parse::<f64>().is_ok())
        || names.get(0).is_some_and(|first| stamps::parse(first).is_some())
    {
        let found = format!("`{}`", names.iter().collect::<Vec<_>>().join(","));
        return Err(fault(path, "a header with column names on line 1", found));
    }
    if names.len() < 2 {
        return Err(fault(path, "a stamp column and at least one value column", format!("{} column", names.len())));
    }
    for (index, name) in names.iter().enumerate().skip(1) {
        if name.is_empty() || names.iter().skip(1).take(index - 1).any(|before| before == name) {
            let found = format!("`{name}` as column {}", index + 1);
            return Err(fault(path, "column names that are neither empty nor doubled", found));
        }
    }
    let source_name = path.display().to_string();
    let header = Header { names, source_name: source_name.clone() };
    let count = header.names.len();
    let lines = reader.into_records().map(move |record| {
        let fields = record.map_err(|error| fault(path, "CSV in UTF-8", error.to_string()))?;
        let number = fields.position().map_or(0, |start| line(text, start));
        if fields.len() != count {
            let (source_name, expected) = (source_name.clone(), count.to_string());
            return Err(DataError::Ragged { source_name, line: number, expected, found: fields.len() });
        }
        Ok(Line { number, fields })
    });
    Ok((header, lines))
}

/// The line of a record. Its position is the end of the record before, which leaves out a line feed after a carriage return, and
/// blank lines.
fn line(text: &str, start: &csv::Position) -> u64 {
    let rest = text.as_bytes().get(start.byte() as usize..).unwrap_or_default();
    start.line() + rest.iter().take_while(|byte| b"\r\n".contains(byte)).filter(|&&byte| byte == b'\n').count() as u64
}

impl Header {
    /// Where a column stands; the stamp column of a wide file, the first, is `from` 0.
    ///
    /// # Errors
    /// No such column.
    pub fn place(&self, path: &Path, name: &str, from: usize) -> Result<usize, DataError> {
        let place = self.names.iter().skip(from).position(|column| column == name);
        let found = || self.names.iter().skip(from).collect::<Vec<_>>().join(", ");
        place.map(|place| place + from).ok_or_else(|| fault(path, format!("a column `{name}`"), found()))
    }

    /// What is wrong with a field.
    pub fn field(&self, line: &Line, column: usize, expected: &'static str) -> DataError {
        DataError::Field {
            source_name: self.source_name.clone(),
            line: line.number,
            column: self.names[column].into(),
            expected,
            found: line.fields[column].into(),
        }
    }
}
