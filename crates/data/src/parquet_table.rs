//! Parquet as rows of typed fields, a few thousand rows of a row group in memory at a time, and a page a column.
//!
//! Stamps are timestamps, dates, integers or text; numbers are `f32`, `f64`, integers, decimals of any width, rounded to `f64`, or text;
//! nulls are missing. The stamp column of a wide file is the one of timestamps or dates, if there is just one (an index is written last),
//! else the first.

use crate::{
    DataError,
    stamps::{DAY, Form, Time, shortest},
    table::{Field, Header, Rows, fault},
};
use parquet::{
    basic::{Compression, ConvertedType, LogicalType, TimeUnit, Type as Physical},
    column::reader::ColumnReader,
    data_type::{ByteArray, FixedLenByteArray, Int96},
    errors::ParquetError,
    file::{
        metadata::ParquetMetaData,
        reader::{FileReader, SerializedFileReader},
    },
    schema::types::ColumnDescriptor,
};
use std::{
    fs::File,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

/// Fields that are decoded at once, over all columns that are asked for, and rows at most.
const FIELDS: usize = 1 << 17;
const ROWS: usize = 1 << 12;
/// Of a second.
const NANOSECONDS: i64 = 1_000_000_000;
const WHOLE: &str = "a Parquet file that is whole";

/// A Parquet file.
pub(crate) struct Parquet {
    path: PathBuf,
    reader: SerializedFileReader<File>,
    pub header: Header,
    /// The file's columns in the header's order; none for a column of columns.
    columns: Vec<Option<usize>>,
}

/// What is wrong with the file, in a line.
fn broken(path: &Path, error: &ParquetError) -> DataError {
    fault(path, WHOLE, error.to_string().replace('\n', " "))
}

/// What `read` gives; a panic is an error, since the parquet crate panics at some of the bytes that are not what they should be.
fn guarded<T>(path: &Path, read: impl FnOnce() -> Result<T, DataError>) -> Result<T, DataError> {
    catch_unwind(AssertUnwindSafe(read)).unwrap_or_else(|panic| {
        let said = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
        let found = format!("one at which its decoder panicked: {}", said.unwrap_or("without a word").replace('\n', " "));
        Err(fault(path, WHOLE, found))
    })
}

impl Parquet {
    pub fn open(path: &Path) -> Result<Self, DataError> {
        guarded(path, || Self::opened(path))
    }

    fn opened(path: &Path) -> Result<Self, DataError> {
        let file = File::open(path).map_err(|source| DataError::Io { path: path.into(), source })?;
        let reader = SerializedFileReader::new(file).map_err(|error| broken(path, &error))?;
        check_rows(path, reader.metadata())?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let fields = schema.root_schema().get_fields();
        let leaf = |name: &str| {
            let own = |at: &usize| schema.column(*at).path().parts() == [name.to_string()];
            (0..schema.num_columns()).find(own)
        };
        let mut columns: Vec<(String, Option<usize>)> =
            fields.iter().map(|field| (field.name().to_string(), leaf(field.name()))).collect();
        let is_time = |column: &(String, Option<usize>)| {
            let kind = column.1.and_then(|at| Kind::of(&schema.column(at)));
            matches!(kind, Some(Kind::Date | Kind::Time(..)))
        };
        if columns.iter().filter(|column| is_time(column)).count() == 1 {
            let at = columns.iter().position(is_time).unwrap_or(0);
            columns[..=at].rotate_right(1);
        }
        let (names, columns) = columns.into_iter().unzip();
        Ok(Self { path: path.into(), header: Header::new(path, names)?, reader, columns })
    }

    pub fn rows(&self, columns: &[usize]) -> Result<ParquetRows<'_>, DataError> {
        let mut slots = vec![None; self.columns.len()];
        let mut read = Vec::with_capacity(columns.len());
        for &column in columns {
            if slots[column].is_none() {
                slots[column] = Some(read.len());
                read.push(guarded(&self.path, || self.column(column))?);
            }
        }
        let most = (FIELDS / read.len().max(1)).clamp(1, ROWS);
        Ok(ParquetRows { parquet: self, slots, columns: read, most, group: 0, left: 0, at: 0, len: 0, number: 0 })
    }

    /// The kind of a column's fields; none if it is none of ours.
    pub fn kind(&self, column: usize) -> Option<Kind> {
        let descriptor = self.reader.metadata().file_metadata().schema_descr().column(self.columns[column]?);
        Kind::of(&descriptor).filter(|_| descriptor.max_rep_level() == 0)
    }

    /// A column that is asked for.
    fn column(&self, column: usize) -> Result<Column, DataError> {
        let name = &self.header.names[column];
        let metadata = self.reader.metadata();
        let refused = |found: String| fault(&self.path, format!("numbers, text, dates or timestamps in column `{name}`"), found);
        let leaf = self.columns[column].ok_or_else(|| refused("columns in it".into()))?;
        let descriptor = metadata.file_metadata().schema_descr().column(leaf);
        let kind = self.kind(column).ok_or_else(|| refused(format!("{}", descriptor.physical_type())))?;
        for group in metadata.row_groups() {
            let codec = group.column(leaf).compression();
            if !decoded(codec) {
                let expected = format!("column `{name}` compressed with snappy, gzip, zstd or lz4, or not at all");
                let found = codec.to_string();
                return Err(fault(&self.path, expected, found.split('(').next().unwrap_or_default()));
            }
        }
        Ok(Column { leaf, kind, optional: descriptor.max_def_level() > 0, reader: None, cells: Vec::new() })
    }
}

/// Refuses a footer that counts other rows than its row groups do. How many they have is known when their columns are decoded.
fn check_rows(path: &Path, metadata: &ParquetMetaData) -> Result<(), DataError> {
    let mut sum = 0i128;
    for group in metadata.row_groups() {
        if group.num_rows() < 0 {
            return Err(fault(path, WHOLE, format!("a row group of {} rows", group.num_rows())));
        }
        sum += i128::from(group.num_rows());
    }
    let rows = metadata.file_metadata().num_rows();
    match sum == i128::from(rows) {
        true => Ok(()),
        false => Err(fault(path, WHOLE, format!("{rows} rows in its footer and {sum} in its row groups"))),
    }
}

/// Whether there is a decoder for it here.
fn decoded(codec: Compression) -> bool {
    use Compression::{GZIP, LZ4, LZ4_RAW, SNAPPY, UNCOMPRESSED, ZSTD};
    matches!(codec, UNCOMPRESSED | SNAPPY | GZIP(_) | ZSTD(_) | LZ4 | LZ4_RAW)
}

/// What a column's values mean.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Kind {
    Text,
    Float,
    Truth,
    Integer,
    /// Without a sign.
    Unsigned,
    /// So many digits behind the point.
    Decimal(i32),
    Date,
    /// So many a second, of a civil time or of UTC.
    Time(i64, Form),
}

impl Kind {
    fn of(column: &ColumnDescriptor) -> Option<Self> {
        let form = |utc: bool| if utc { Form::Utc } else { Form::Spaced };
        let (physical, logical, converted) = (column.physical_type(), column.logical_type_ref(), column.converted_type());
        match (physical, logical) {
            (Physical::BOOLEAN, _) => Some(Self::Truth),
            (Physical::FLOAT | Physical::DOUBLE, _) => Some(Self::Float),
            (Physical::INT96, _) => Some(Self::Time(NANOSECONDS, Form::Spaced)),
            (Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY, Some(LogicalType::Decimal(decimal))) => {
                Some(Self::Decimal(decimal.scale))
            }
            (Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY, _) if converted == ConvertedType::DECIMAL => {
                Some(Self::Decimal(column.type_scale()))
            }
            (Physical::BYTE_ARRAY, _) => Some(Self::Text),
            (Physical::FIXED_LEN_BYTE_ARRAY, _) => None,
            (_, Some(LogicalType::Timestamp(timestamp))) => {
                let a_second = match timestamp.unit {
                    TimeUnit::MILLIS => 1_000,
                    TimeUnit::MICROS => 1_000_000,
                    TimeUnit::NANOS => NANOSECONDS,
                };
                Some(Self::Time(a_second, form(timestamp.is_adjusted_to_u_t_c)))
            }
            (_, Some(LogicalType::Integer(integer))) if !integer.is_signed => Some(Self::Unsigned),
            (_, Some(LogicalType::Decimal(decimal))) => Some(Self::Decimal(decimal.scale)),
            (_, Some(LogicalType::Date)) => Some(Self::Date),
            (_, Some(LogicalType::Time(_))) => None,
            _ => match converted {
                ConvertedType::TIMESTAMP_MILLIS => Some(Self::Time(1_000, Form::Utc)),
                ConvertedType::TIMESTAMP_MICROS => Some(Self::Time(1_000_000, Form::Utc)),
                ConvertedType::TIME_MILLIS | ConvertedType::TIME_MICROS => None,
                ConvertedType::DATE => Some(Self::Date),
                ConvertedType::DECIMAL => Some(Self::Decimal(column.type_scale())),
                ConvertedType::UINT_8 | ConvertedType::UINT_16 | ConvertedType::UINT_32 | ConvertedType::UINT_64 => {
                    Some(Self::Unsigned)
                }
                _ => Some(Self::Integer),
            },
        }
    }

    /// An integer of this kind, and what it is without its sign.
    fn integer(self, value: i64, unsigned: u64) -> Cell {
        match self {
            Self::Unsigned => i64::try_from(unsigned).map_or(Cell::Number(unsigned as f64), Cell::Integer),
            Self::Decimal(scale) => Cell::Number(value as f64 / 10f64.powi(scale)),
            Self::Date => match value.checked_mul(DAY) {
                Some(ticks) => Cell::Time(Time::plain(ticks, Form::Date)),
                None => Cell::Integer(value),
            },
            Self::Time(a_second, form) => {
                let nanoseconds = (value.rem_euclid(a_second) * (NANOSECONDS / a_second)) as i32;
                Cell::Time(time(value.div_euclid(a_second), nanoseconds, form))
            }
            _ => Cell::Integer(value),
        }
    }
}

/// A time with as many digits as it needs.
fn time(seconds: i64, nanoseconds: i32, form: Form) -> Time {
    Time { nanoseconds, digits: shortest(nanoseconds), ..Time::plain(seconds, form) }
}

/// A decimal of so many digits behind the point, from its bytes: two's complement, the highest first.
fn decimal(bytes: &[u8], scale: i32) -> Cell {
    let negative = bytes.first().is_some_and(|byte| byte & 0x80 != 0);
    // The complement of a negative one is what it lies below −1.
    let magnitude = bytes.iter().fold(0.0, |sum, byte| 256.0 * sum + f64::from(if negative { !byte } else { *byte }));
    Cell::Number((if negative { -1.0 - magnitude } else { magnitude }) / 10f64.powi(scale))
}

/// A decoded field.
#[derive(Clone, Debug)]
enum Cell {
    Text(ByteArray),
    Number(f64),
    Single(f32),
    Integer(i64),
    Truth(bool),
    Time(Time),
    Nothing,
}

/// A column that is asked for, and its fields that were decoded.
struct Column {
    leaf: usize,
    kind: Kind,
    optional: bool,
    reader: Option<ColumnReader>,
    cells: Vec<Cell>,
}

impl Column {
    /// Decodes the next rows, at most so many.
    fn decode(&mut self, most: usize) -> Result<(), ParquetError> {
        let kind = self.kind;
        self.cells.clear();
        let mut levels = Vec::new();
        macro_rules! decode {
            ($reader:expr, $cell:expr) => {{
                let mut values = Vec::new();
                // The levels of a page end with it, so a call may give fewer than there are.
                while self.cells.len() < most {
                    (values.clear(), levels.clear());
                    let (rows, _, _) = $reader.read_records(most - self.cells.len(), Some(&mut levels), None, &mut values)?;
                    if rows == 0 {
                        break;
                    }
                    let mut values = values.drain(..).map($cell);
                    let mut next = || values.next().unwrap_or(Cell::Nothing);
                    match self.optional {
                        true => self.cells.extend(levels.iter().map(|&level| if level > 0 { next() } else { Cell::Nothing })),
                        false => self.cells.extend((0..rows).map(|_| next())),
                    }
                }
            }};
        }
        match &mut self.reader {
            Some(ColumnReader::BoolColumnReader(reader)) => decode!(reader, Cell::Truth),
            Some(ColumnReader::Int32ColumnReader(reader)) => {
                decode!(reader, |value: i32| kind.integer(value.into(), u64::from(value as u32)))
            }
            Some(ColumnReader::Int64ColumnReader(reader)) => decode!(reader, |value: i64| kind.integer(value, value as u64)),
            Some(ColumnReader::Int96ColumnReader(reader)) => decode!(reader, |value: Int96| {
                Cell::Time(time(value.to_seconds(), value.to_nanos().rem_euclid(NANOSECONDS) as i32, Form::Spaced))
            }),
            Some(ColumnReader::FloatColumnReader(reader)) => decode!(reader, Cell::Single),
            Some(ColumnReader::DoubleColumnReader(reader)) => decode!(reader, Cell::Number),
            Some(ColumnReader::ByteArrayColumnReader(reader)) => decode!(reader, |value: ByteArray| match kind {
                Kind::Decimal(scale) => decimal(value.data(), scale),
                _ => Cell::Text(value),
            }),
            Some(ColumnReader::FixedLenByteArrayColumnReader(reader)) => decode!(reader, |value: FixedLenByteArray| match kind {
                Kind::Decimal(scale) => decimal(value.data(), scale),
                _ => Cell::Nothing,
            }),
            _ => {}
        }
        Ok(())
    }
}

/// The rows of some columns.
pub(crate) struct ParquetRows<'a> {
    parquet: &'a Parquet,
    /// By column of the header.
    slots: Vec<Option<usize>>,
    columns: Vec<Column>,
    /// Rows that are decoded at once.
    most: usize,
    /// The next row group, and rows of the one before that are not decoded.
    group: usize,
    left: usize,
    /// The row among those that are decoded, and how many they are.
    at: usize,
    len: usize,
    number: u64,
}

impl ParquetRows<'_> {
    /// Decodes the next rows; false at the end.
    fn decode(&mut self) -> Result<bool, DataError> {
        let path = &self.parquet.path;
        guarded(path, || self.decoded().map_err(|error| broken(path, &error)))
    }

    fn decoded(&mut self) -> Result<bool, ParquetError> {
        let reader = &self.parquet.reader;
        while self.left == 0 {
            if self.group == reader.num_row_groups() {
                return Ok(false);
            }
            let group = reader.get_row_group(self.group)?;
            for column in &mut self.columns {
                column.reader = Some(group.get_column_reader(column.leaf)?);
            }
            self.left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            self.group += 1;
        }
        (self.at, self.len) = (0, self.left.min(self.most));
        self.left -= self.len;
        for column in &mut self.columns {
            column.decode(self.len)?;
            if column.cells.len() != self.len {
                let found = format!(
                    "column {} ends {} rows before its row group",
                    column.leaf,
                    self.left + self.len - column.cells.len()
                );
                return Err(ParquetError::General(found));
            }
        }
        Ok(true)
    }
}

impl Rows for ParquetRows<'_> {
    fn advance(&mut self) -> Result<Option<u64>, DataError> {
        self.at += 1;
        if self.at >= self.len && !self.decode()? {
            return Ok(None);
        }
        self.number += 1;
        for column in &self.columns {
            if let Cell::Text(bytes) = &column.cells[self.at]
                && bytes.as_utf8().is_err()
            {
                return Err(fault(&self.parquet.path, "text in UTF-8", format!("other bytes in row {}", self.number)));
            }
        }
        Ok(Some(self.number))
    }

    fn field(&self, column: usize) -> Field<'_> {
        let slot = self.slots[column].expect("a column that was asked for");
        match &self.columns[slot].cells[self.at] {
            Cell::Text(bytes) => Field::Text(bytes.as_utf8().unwrap_or_default().trim()),
            Cell::Number(value) => Field::Number(*value),
            Cell::Single(value) => Field::Single(*value),
            Cell::Integer(value) => Field::Integer(*value),
            Cell::Truth(truth) => Field::Truth(*truth),
            Cell::Time(time) => Field::Time(*time),
            Cell::Nothing => Field::Nothing,
        }
    }
}
