//! A file as a checked header and rows of fields, whatever its format. It is read as often as is asked, a little of it in memory at a time.

use crate::{
    DataError, Decimal, csv_table, dialect, number, parquet_table,
    stamps::{self, Form, Time},
    top::Top,
};
use std::{borrow::Cow, fs::File, io::Read, path::Path};

/// The names of the columns, and the file they are from.
pub(crate) struct Header {
    /// The stamp column of a wide file first.
    pub names: Vec<String>,
    source_name: String,
}

/// Rows one after the other.
pub(crate) trait Rows {
    /// Goes to the next row and gives its number, from 1: its line, or that of the row where there are no lines. None at the end.
    fn advance(&mut self) -> Result<Option<u64>, DataError>;

    /// A field of the row.
    fn field(&self, column: usize) -> Field<'_>;

    /// Rows so far that had nothing in any field and are none, and the line of the first.
    fn blank(&self) -> Option<(usize, u64)> {
        None
    }

    /// Bytes so far that were not UTF-8 and read as Latin-1, and the line of the first.
    fn foreign(&self) -> Option<(usize, u64)> {
        None
    }
}

/// What stands in a row and a column.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Field<'a> {
    Text(&'a str),
    /// What may be a number, where numbers have decimal commas.
    Comma(&'a str),
    Number(f64),
    /// A number that is stored in single precision.
    Single(f32),
    Integer(i64),
    Truth(bool),
    Time(Time),
    Nothing,
}

impl Field<'_> {
    /// As it would be written; nothing is an empty text.
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) | Self::Comma(text) => Cow::Borrowed(text),
            Self::Number(value) => value.to_string().into(),
            Self::Single(value) => value.to_string().into(),
            Self::Integer(value) => value.to_string().into(),
            Self::Truth(truth) => truth.to_string().into(),
            Self::Time(time) => time.text().unwrap_or_else(|| format!("second {}", time.ticks)).into(),
            Self::Nothing => "".into(),
        }
    }

    /// A finite number.
    pub fn finite(&self) -> Option<f64> {
        match *self {
            Self::Text(text) => number::finite(text),
            Self::Comma(text) => dialect::comma(text),
            Self::Number(value) => Some(value).filter(|value| value.is_finite()),
            Self::Single(value) => Some(f64::from(value)).filter(|value| value.is_finite()),
            Self::Integer(value) => Some(value as f64),
            _ => None,
        }
    }

    /// A finite number, or 1 and 0 for what is true and false.
    pub fn finite_or_truth(&self) -> Option<f64> {
        match *self {
            Self::Text(text) => number::finite_or_truth(text),
            Self::Truth(truth) => Some(f64::from(u8::from(truth))),
            _ => self.finite(),
        }
    }

    /// A finite number, or NaN for what is missing.
    pub fn finite_or_missing(&self) -> Option<f64> {
        match *self {
            Self::Text(text) => number::finite_or_missing(text),
            Self::Nothing => Some(f64::NAN),
            Self::Number(value) if value.is_nan() => Some(f64::NAN),
            Self::Single(value) if value.is_nan() => Some(f64::NAN),
            _ => self.finite(),
        }
    }

    /// The field; where a single is one of these numbers as singles are, that number itself.
    pub fn meaning(self, numbers: &[f64]) -> Self {
        let Self::Single(value) = self else { return self };
        numbers.iter().find(|&&number| number as f32 == value).map_or(self, |&number| Self::Number(number))
    }

    /// A number with signs between its thousands, where decimals have points; of `1,234` it must be told.
    pub fn grouped(&self, is_told: bool) -> Option<f64> {
        let Self::Text(text) = self else { return None };
        dialect::grouped(text).filter(|(_, _, is_sure)| *is_sure || is_told).map(|(number, ..)| number)
    }

    /// A stamp.
    pub fn time(&self) -> Option<Time> {
        match *self {
            Self::Text(text) => stamps::parse(text),
            Self::Comma(text) => stamps::parse(&dialect::comma(text)?.to_string()),
            Self::Number(value) => stamps::parse(&value.to_string()),
            Self::Single(value) => stamps::parse(&value.to_string()),
            Self::Integer(ticks) => Some(Time::plain(ticks, Form::Integer)),
            Self::Time(time) => Some(time),
            _ => None,
        }
    }
}

/// What is wrong with a whole file.
pub(crate) fn fault(path: &Path, expected: impl Into<String>, found: impl Into<String>) -> DataError {
    DataError::File { path: path.into(), expected: expected.into(), found: found.into() }
}

/// How Parquet files begin.
pub const PARQUET: &[u8] = b"PAR1";

/// How packed files begin, and what they are called; workbooks of spreadsheets are zip files.
const PACKED: [(&[u8], &str); 3] = [(&[0x1f, 0x8b], "gzip"), (b"PK\x03\x04", "zip"), (&[0x28, 0xb5, 0x2f, 0xfd], "zstd")];

/// Bytes at the start of a file that say what it is.
const START: u64 = 64;

/// A file of rows.
pub(crate) enum Table {
    Csv(csv_table::Csv),
    Parquet(parquet_table::Parquet),
}

impl Table {
    /// # Errors
    /// An unreadable, packed or empty file, one in UTF-16, no header, fewer than two columns, or names that are empty or doubled.
    pub fn open(path: &Path, decimal: Option<Decimal>) -> Result<Self, DataError> {
        if std::fs::metadata(path).is_ok_and(|file| !file.is_file() && !file.is_dir()) {
            return Err(fault(path, "a file, which is read more than once", "a pipe or a device"));
        }
        let mut start = Vec::new();
        let read = File::open(path).and_then(|file| file.take(START).read_to_end(&mut start));
        read.map_err(|source| DataError::Io { path: path.into(), source })?;
        if let Some((_, kind)) = PACKED.iter().find(|(magic, _)| start.starts_with(magic)) {
            return Err(fault(path, "CSV or Parquet that is unpacked", format!("a {kind} file")));
        }
        let named = path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("parquet"));
        if named || start.starts_with(PARQUET) {
            return parquet_table::Parquet::open(path).map(Self::Parquet);
        }
        if start.starts_with(&[0xff, 0xfe]) || start.starts_with(&[0xfe, 0xff]) {
            return Err(fault(path, "UTF-8", "UTF-16, by its byte order mark"));
        }
        if start.contains(&0) {
            return Err(fault(path, "UTF-8", "NUL bytes, as UTF-16 has them"));
        }
        csv_table::Csv::open(path, decimal).map(Self::Csv)
    }

    /// The names of its columns.
    pub fn header(&self) -> &Header {
        match self {
            Self::Csv(csv) => &csv.header,
            Self::Parquet(parquet) => &parquet.header,
        }
    }

    /// The name of the column whose times of day are joined with the dates before it.
    pub fn times(&self) -> Option<&str> {
        match self {
            Self::Csv(csv) => csv.times.as_ref().map(|(_, name)| name.as_str()),
            Self::Parquet(_) => None,
        }
    }

    /// What was left out at the top of the file.
    pub fn top(&self) -> Option<&Top> {
        match self {
            Self::Csv(csv) => Some(&csv.top),
            Self::Parquet(_) => None,
        }
    }

    /// What stands before decimals, where that is a comma.
    ///
    /// # Errors
    /// An unreadable file.
    pub fn decimal(&self) -> Result<Option<Decimal>, DataError> {
        match self {
            Self::Csv(csv) => Ok(Some(csv.decimal()?).filter(|decimal| *decimal == Decimal::Comma)),
            Self::Parquet(_) => Ok(None),
        }
    }

    /// Whether the file, or what is told, says that decimals have a point; none where they have commas.
    pub fn tells_points(&self) -> Option<bool> {
        match self {
            Self::Csv(csv) => csv.tells_points(),
            Self::Parquet(_) => Some(false),
        }
    }

    /// Whether a column has fields of a kind that is ours.
    pub fn has_fields(&self, column: usize) -> bool {
        match self {
            Self::Csv(_) => true,
            Self::Parquet(parquet) => parquet.kind(column).is_some(),
        }
    }

    /// Its rows from the first on, of which these columns are asked for.
    ///
    /// # Errors
    /// A column of a kind that is none of ours; then what is wrong with each row.
    pub fn rows(&self, columns: &[usize]) -> Result<Box<dyn Rows + '_>, DataError> {
        Ok(match self {
            Self::Csv(csv) => Box::new(csv.rows()?),
            Self::Parquet(parquet) => Box::new(parquet.rows(columns)?),
        })
    }
}

impl Header {
    /// # Errors
    /// Names that are empty or doubled.
    pub fn new(path: &Path, names: Vec<String>) -> Result<Self, DataError> {
        let mut known = std::collections::HashSet::new();
        for (index, name) in names.iter().enumerate().skip(1) {
            if name.is_empty() || !known.insert(name) {
                let found = format!("`{name}` as column {}", index + 1);
                return Err(fault(path, "column names that are neither empty nor doubled", found));
            }
        }
        Ok(Self { names, source_name: path.display().to_string() })
    }

    /// Refuses a file of stamps alone.
    ///
    /// # Errors
    /// Fewer than two names.
    pub fn check_values(&self, path: &Path) -> Result<(), DataError> {
        match self.names.len() {
            0 | 1 => Err(fault(path, "a stamp column and at least one value column", format!("{} column", self.names.len()))),
            _ => Ok(()),
        }
    }

    /// Where a column stands; the stamp column of a wide file, the first, is `from` 0.
    ///
    /// # Errors
    /// No such column.
    pub fn place(&self, path: &Path, name: &str, from: usize) -> Result<usize, DataError> {
        let place = self.names.iter().skip(from).position(|column| column == name);
        let found = || self.names[from.min(self.names.len())..].join(", ");
        place.map(|place| place + from).ok_or_else(|| fault(path, format!("a column `{name}`"), found()))
    }

    /// What is wrong with a field of the row of this number.
    pub fn field(&self, number: u64, column: usize, expected: impl Into<Cow<'static, str>>, found: Field<'_>) -> DataError {
        let expected = match found {
            Field::Comma(_) => {
                format!("{}, with a decimal comma, as other numbers of the file or `decimal` have it", expected.into()).into()
            }
            _ => expected.into(),
        };
        DataError::Field {
            source_name: self.source_name.clone(),
            line: number,
            column: self.names[column].clone(),
            expected,
            found: found.text().into(),
        }
    }
}
