//! CSV as rows of text, a line of it in memory at a time. Bytes that are not UTF-8 are read as Latin-1.

use crate::{
    DataError, Decimal, dates, dialect, number, stamps,
    table::{Field, Header, Rows, fault},
    top::{self, Top},
};
use std::{
    collections::VecDeque,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::{Path, PathBuf},
    sync::OnceLock,
};

/// A CSV file.
pub(crate) struct Csv {
    path: PathBuf,
    pub header: Header,
    /// Where dates stand, and the name of the column behind them with their times of day, which are one column here.
    pub times: Option<(usize, String)>,
    /// Columns at the end without a name and without values.
    unnamed: usize,
    pub top: Top,
    separator: char,
    told: Option<Decimal>,
    /// As the rows tell, once they are asked, or an option; and whether one of them does.
    decimal: OnceLock<(Decimal, bool)>,
}

impl Csv {
    pub fn open(path: &Path, decimal: Option<Decimal>) -> Result<Self, DataError> {
        let (top, separator) = top(path)?;
        let mut reader = reader(path, &top, separator)?;
        let names = reader.headers().map_err(|error| fault(path, "CSV", error.to_string()))?.clone();
        let blank = |record: &csv::StringRecord| record.len() < 2 && record.iter().all(|field| field.trim().is_empty());
        if blank(&names) && reader.records().all(|record| record.is_ok_and(|record| blank(&record))) {
            return Err(fault(path, "a header and rows", "an empty file"));
        }
        // Columns may be numbered.
        if names.iter().all(|name| name.parse::<f64>().is_ok()) || names.get(0).is_some_and(dates::is_stamp) {
            let found = format!("`{}`", written(&names, separator));
            return Err(fault(path, "a header with column names on line 1", found));
        }
        if let Some(found) = commented(path, &names, &top, separator)? {
            return Err(found);
        }
        let mut names: Vec<String> = names.iter().map(String::from).collect();
        let named = names.iter().rposition(|name| !name.is_empty()).map_or(1, |last| last + 1);
        let unnamed = names.len() - named;
        names.truncate(named);
        let mut times = None;
        if let Some(at) = dates_with_times(path, &names, &top, separator)? {
            let name = names.remove(at + 1);
            names[at] = format!("{} {name}", names[at]);
            times = Some((at, name));
        }
        let header = Header::new(path, names)?;
        Ok(Self { path: path.into(), header, times, unnamed, top, separator, told: decimal, decimal: OnceLock::new() })
    }

    pub fn rows(&self) -> Result<CsvRows<'_>, DataError> {
        let decimal = self.decimal()?;
        let reader = reader(&self.path, &self.top, self.separator)?;
        Ok(CsvRows { csv: self, decimal, reader, record: csv::StringRecord::new(), stamp: String::new(), blank: (0, 0) })
    }

    /// Whether a number of the file, or what is told, says that decimals have a point; none where they have commas.
    pub fn tells_points(&self) -> Option<bool> {
        self.decimal.get().filter(|(decimal, _)| *decimal == Decimal::Point).map(|(_, is_told)| *is_told)
    }

    /// What stands before decimals: a point where that is told; else what the first number says that can be meant in one way alone (where commas separate
    /// fields one of the first with a point, if there is one), what is told where there is none.
    pub fn decimal(&self) -> Result<Decimal, DataError> {
        if let Some((decimal, _)) = self.decimal.get() {
            return Ok(*decimal);
        }
        let mut found = None;
        let has_commas = self.separator == ',';
        if self.told != Some(Decimal::Point) {
            let (mut reader, mut record) = (reader(&self.path, &self.top, self.separator)?, csv::StringRecord::new());
            let is_doubtful = has_commas && self.told.is_none();
            // Between quotes a comma may as well stand in a text, or before three digits between thousands.
            let tells = |field: &str| {
                let is_thousand = is_doubtful && field.split_once(',').is_some_and(|(_, behind)| behind.len() == 3);
                Decimal::of(field).filter(|_| !is_thousand)
            };
            let most = if is_doubtful { MOST_QUOTED } else { usize::MAX };
            // What is wrong with a row is found where it is read.
            for _ in 0..most {
                let is_settled = found == Some(Decimal::Point) || found.is_some() && !is_doubtful;
                if is_settled || !matches!(reader.read_record(&mut record), Ok(true)) {
                    break;
                }
                for told in record.iter().filter_map(|field| tells(field.trim())) {
                    found = found.filter(|_| !is_doubtful || told == Decimal::Comma).or(Some(told));
                }
            }
        }
        let told = found.or(self.told);
        Ok(self.decimal.get_or_init(|| (told.unwrap_or(Decimal::Point), told.is_some())).0)
    }
}

/// Rows that are looked at for times of day, and for decimal commas where commas separate fields.
const LOOKED_AT: usize = 100;
const MOST_QUOTED: usize = 1000;

/// The first column with dates, and times of day in the next, of more than one row a date.
fn dates_with_times(path: &Path, names: &[String], top: &Top, separator: char) -> Result<Option<usize>, DataError> {
    if names.len() < 3 {
        return Ok(None);
    }
    let (mut reader, mut record) = (reader(path, top, separator)?, csv::StringRecord::new());
    let mut open: Vec<usize> = (0..names.len() - 1).collect();
    let (mut last, mut repeats) = (csv::StringRecord::new(), vec![false; open.len()]);
    // What is wrong with a row is found where it is read.
    for _ in 0..LOOKED_AT {
        if open.is_empty() || !matches!(reader.read_record(&mut record), Ok(true)) {
            break;
        }
        if is_blank(&record) {
            continue;
        }
        let field = |at: usize| record.get(at).unwrap_or_default().trim();
        open.retain(|&at| dates::is_date_alone(field(at)) && dates::time_of_day(field(at + 1)).is_some());
        open.iter().for_each(|&at| repeats[at] |= last.get(at).is_some_and(|last| last.trim() == field(at)));
        last.clone_from(&record);
    }
    Ok(open.into_iter().find(|&at| repeats[at]))
}

/// Whether a row has nothing in any field.
fn is_blank(record: &csv::StringRecord) -> bool {
    record.iter().all(|field| field.trim().is_empty())
}

/// A line of these fields.
fn written(fields: &csv::StringRecord, separator: char) -> String {
    fields.iter().collect::<Vec<_>>().join(&separator.to_string())
}

/// The top of a file, and what separates its fields, as it tells or its header shows, or where that is none its first line that is not blank.
fn top(path: &Path) -> Result<(Top, char), DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let (mut lines, mut texts) = (Lines::new(File::open(path).map_err(io)?), Vec::new());
    // Of long lines fewer will do.
    while (texts.len() < top::LOOKED_AT && lines.before < top::LONGEST || texts.len() < top::FEWEST)
        && lines.next_line().map_err(io)?
    {
        texts.resize(lines.number as usize - 1, String::new());
        texts.push(lines.text.trim_start_matches('\u{feff}').into());
    }
    let top = Top::of(&texts);
    let separator = lines.told.or(top.separator).unwrap_or_else(|| top::separator(&texts));
    Ok((top, separator))
}

/// What is wrong where the first line is a comment, from `#` on, and no header: it has one field, or more or fewer than the next line, or that one is a
/// comment, too, or looks like the header.
fn commented(path: &Path, names: &csv::StringRecord, top: &Top, separator: char) -> Result<Option<DataError>, DataError> {
    if !names.get(0).is_some_and(|first| first.starts_with('#')) {
        return Ok(None);
    }
    let mut reader = reader(path, top, separator)?;
    let next = reader.records().next().and_then(Result::ok).map(|mut next| {
        next.trim();
        next
    });
    let is_value = |field: &str| {
        number::finite_or_missing(field).is_some() || dialect::comma(field).is_some() || stamps::parse(field).is_some()
    };
    let goes_on = |next: csv::StringRecord| {
        next.len() == names.len() && !next[0].starts_with('#') && next.len() > 1 && next.iter().any(is_value)
    };
    if next.is_some_and(goes_on) {
        return Ok(None);
    }
    let line = reader.get_mut().line(0);
    let found = format!("`{}` on line {line}", written(names, separator));
    Ok(Some(fault(path, "a header with column names, and no comment above it", found)))
}

fn reader(path: &Path, top: &Top, separator: char) -> Result<csv::Reader<Lines>, DataError> {
    let file = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let mut options = csv::ReaderBuilder::new();
    options.has_headers(true).flexible(true).trim(csv::Trim::Headers).delimiter(separator as u8);
    Ok(options.from_reader(Lines { left_out: top.above.iter().chain(&top.units).copied().collect(), ..Lines::new(file) }))
}

/// The lines under the header.
pub(crate) struct CsvRows<'a> {
    csv: &'a Csv,
    decimal: Decimal,
    reader: csv::Reader<Lines>,
    record: csv::StringRecord,
    /// Date and time of day, where these are two columns.
    stamp: String,
    /// Rows without anything, and the line of the first.
    blank: (usize, u64),
}

impl Rows for CsvRows<'_> {
    fn advance(&mut self) -> Result<Option<u64>, DataError> {
        let Csv { path, header, times, unnamed, .. } = self.csv;
        let line = loop {
            if !self.reader.read_record(&mut self.record).map_err(|error| fault(path, "CSV", error.to_string()))? {
                return Ok(None);
            }
            let start = self.record.position().map_or(0, csv::Position::byte);
            let line = self.reader.get_mut().line(start);
            // One field may be a value that is missing.
            if self.record.len() < 2 || !is_blank(&self.record) {
                break line;
            }
            self.blank = (self.blank.0 + 1, if self.blank.0 == 0 { line } else { self.blank.1 });
        };
        let expected = header.names.len() + usize::from(times.is_some());
        let beyond = self.record.iter().skip(expected);
        let fits = self.record.len() >= expected
            && beyond.clone().count() <= *unnamed
            && beyond.into_iter().all(|field| field.trim().is_empty());
        if !fits {
            let (source_name, expected) = (path.display().to_string(), expected.to_string());
            return Err(DataError::Ragged { source_name, line, expected, found: self.record.len() });
        }
        if let Some((at, _)) = times {
            dates::join(self.record[*at].trim(), self.record[at + 1].trim(), &mut self.stamp);
        }
        Ok(Some(line))
    }

    fn field(&self, column: usize) -> Field<'_> {
        let times = self.csv.times.as_ref().map(|(at, _)| *at);
        if times == Some(column) {
            return Field::Text(&self.stamp);
        }
        let text = self.record[column + usize::from(times.is_some_and(|at| at < column))].trim();
        // Digits without such signs are the same either way.
        let may_differ = self.decimal == Decimal::Comma && text.contains(|sign| dialect::SIGNS.contains(&sign));
        if may_differ && (dialect::comma(text).is_some() || number::finite(text).is_some()) {
            Field::Comma(text)
        } else {
            Field::Text(text)
        }
    }

    fn blank(&self) -> Option<(usize, u64)> {
        Some(self.blank).filter(|(count, _)| *count > 0)
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
    /// What the first line says that separates fields, if it says that and is no header.
    told: Option<char>,
    /// Numbers of lines that are blank here.
    left_out: Vec<u64>,
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
            told: None,
            left_out: Vec::new(),
        }
    }

    /// Goes to the next line that is read; whether there is one.
    fn next_line(&mut self) -> io::Result<bool> {
        loop {
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
            let told = if self.number == 1 { dialect::told(&self.text) } else { None };
            if told.is_none() && !self.left_out.contains(&self.number) {
                break;
            }
            self.told = told.or(self.told);
            self.text.clear();
        }
        if let Some(at) = self.text.bytes().position(|byte| !b"\r\n".contains(&byte)) {
            self.starts.push_back((self.before + at as u64, self.number));
        }
        Ok(!self.text.is_empty())
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
            self.next_line()?;
        }
        let count = to.len().min(self.text.len() - self.given);
        to[..count].copy_from_slice(&self.text.as_bytes()[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}
