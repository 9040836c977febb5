//! CSV as rows of text, a line of it in memory at a time. Bytes that are not UTF-8 are read as Latin-1.

use crate::{
    DataError, dates, number, stamps,
    table::{Field, Header, Rows, fault},
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
};

/// What others put between fields.
const SEPARATORS: [(char, &str); 3] = [(';', "semicolons"), ('\t', "tabs"), ('|', "bars")];

/// A CSV file.
pub(crate) struct Csv {
    path: PathBuf,
    pub header: Header,
}

impl Csv {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        let mut reader = reader(path)?;
        let names = reader.headers().map_err(|error| fault(path, "CSV", error.to_string()))?.clone();
        let blank = |record: &csv::StringRecord| record.len() < 2 && record.iter().all(|field| field.trim().is_empty());
        if blank(&names) && reader.records().all(|record| record.is_ok_and(|record| blank(&record))) {
            return Err(fault(path, "a header and rows", "an empty file"));
        }
        // Columns may be numbered.
        if names.iter().all(|name| name.parse::<f64>().is_ok()) || names.get(0).is_some_and(dates::is_stamp) {
            let found = format!("`{}`", names.iter().collect::<Vec<_>>().join(","));
            return Err(fault(path, "a header with column names on line 1", found));
        }
        if let Some(found) = commented(path, &names)? {
            return Err(found);
        }
        if let (1, Some(line)) = (names.len(), names.get(0))
            && let Some((_, others)) = SEPARATORS.iter().find(|(sign, _)| line.contains(*sign))
        {
            return Err(fault(path, "fields separated by commas", format!("{others} and no comma on line 1")));
        }
        if names.len() > 1 && names.iter().next_back() == Some("") {
            let found = format!("`` as column {}, the last: the lines end in a comma", names.len());
            return Err(fault(path, "column names that are neither empty nor doubled", found));
        }
        let header = Header::new(path, names.iter().map(String::from).collect())?;
        Ok(Self { path: path.into(), header })
    }

    pub fn rows(&self) -> Result<CsvRows<'_>, DataError> {
        Ok(CsvRows { csv: self, reader: reader(&self.path)?, record: csv::StringRecord::new() })
    }
}

/// What is wrong where the first line is a comment, from `#` on, and no header: it has one field, or more or fewer than the next line, or that one is a
/// comment, too, or looks like the header.
fn commented(path: &Path, names: &csv::StringRecord) -> Result<Option<DataError>, DataError> {
    if !names.get(0).is_some_and(|first| first.starts_with('#')) {
        return Ok(None);
    }
    let mut reader = reader(path)?;
    let next = reader.records().next().and_then(Result::ok).map(|mut next| {
        next.trim();
        next
    });
    let is_value = |field: &str| number::finite_or_missing(field).is_some() || stamps::parse(field).is_some();
    let separated = names.len() == 1 && SEPARATORS.iter().any(|(sign, _)| names[0].contains(*sign));
    let goes_on = |next: csv::StringRecord| {
        next.len() == names.len() && !next[0].starts_with('#') && (separated || next.len() > 1 && next.iter().any(is_value))
    };
    if next.is_some_and(goes_on) {
        return Ok(None);
    }
    let line = reader.get_mut().line(0);
    let found = format!("`{}` on line {line}", names.iter().collect::<Vec<_>>().join(","));
    Ok(Some(fault(path, "a header with column names, and no comment above it", found)))
}

fn reader(path: &Path) -> Result<csv::Reader<Lines>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    Ok(csv::ReaderBuilder::new().has_headers(true).flexible(true).trim(csv::Trim::Headers).from_reader(Lines::new(file)))
}

/// The lines under the header.
pub(crate) struct CsvRows<'a> {
    csv: &'a Csv,
    reader: csv::Reader<Lines>,
    record: csv::StringRecord,
}

impl Rows for CsvRows<'_> {
    fn advance(&mut self) -> Result<Option<u64>, DataError> {
        let Csv { path, header } = self.csv;
        if !self.reader.read_record(&mut self.record).map_err(|error| fault(path, "CSV", error.to_string()))? {
            return Ok(None);
        }
        let start = self.record.position().map_or(0, csv::Position::byte);
        let line = self.reader.get_mut().line(start);
        if self.record.len() != header.names.len() {
            let (source_name, expected) = (path.display().to_string(), header.names.len().to_string());
            return Err(DataError::Ragged { source_name, line, expected, found: self.record.len() });
        }
        Ok(Some(line))
    }

    fn field(&self, column: usize) -> Field<'_> {
        Field::Text(self.record[column].trim())
    }

    fn foreign(&self) -> Option<(usize, u64)> {
        Some(self.reader.get_ref().foreign).filter(|(count, _)| *count > 0)
    }
}

/// The text of a file, and where its lines begin.
struct Lines {
    file: BufReader<File>,
    number: u64,
    raw: Vec<u8>,
    text: String,
    /// Bytes of `text` that were given away, and of all texts before it.
    given: usize,
    before: u64,
    /// Where lines that are not blank begin, and their numbers: those of the records to come, at least.
    starts: VecDeque<(u64, u64)>,
    foreign: (usize, u64),
}

impl Lines {
    fn new(file: File) -> Self {
        Self {
            file: BufReader::with_capacity(1 << 16, file),
            number: 0,
            raw: Vec::new(),
            text: String::new(),
            given: 0,
            before: 0,
            starts: VecDeque::new(),
            foreign: (0, 0),
        }
    }

    /// The line of the record that follows the byte `start`: a record's position is the end of the one before, which leaves out a line feed after a
    /// carriage return, and blank lines.
    fn line(&mut self, start: u64) -> u64 {
        while self.starts.front().is_some_and(|(at, _)| *at < start) {
            self.starts.pop_front();
        }
        self.starts.front().map_or(self.number, |(_, number)| *number)
    }
}

impl Read for Lines {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        if self.given == self.text.len() {
            self.before += self.text.len() as u64;
            (self.given, self.number) = (0, self.number + 1);
            self.raw.clear();
            self.text.clear();
            self.file.read_until(b'\n', &mut self.raw)?;
            for chunk in self.raw.utf8_chunks() {
                self.text.push_str(chunk.valid());
                self.text.extend(chunk.invalid().iter().map(|&byte| char::from(byte)));
                if !chunk.invalid().is_empty() {
                    let first = if self.foreign.0 == 0 { self.number } else { self.foreign.1 };
                    self.foreign = (self.foreign.0 + chunk.invalid().len(), first);
                }
            }
            if let Some(at) = self.text.bytes().position(|byte| !b"\r\n".contains(&byte)) {
                self.starts.push_back((self.before + at as u64, self.number));
            }
        }
        let count = to.len().min(self.text.len() - self.given);
        to[..count].copy_from_slice(&self.text.as_bytes()[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
