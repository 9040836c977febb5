//! Every forecast of a backtest, as Parquet: a row a forecaster, window and step, in the data's unit.
//!
//! Rows are held until there is a row group of them, so memory does not grow with the file but for its footer, a few hundred bytes a group and
//! column. The file has its name once it is whole.

use crate::{error::CliError, interrupt::before_the_end, run::Prepared};
use foretoken_eval::Window;
use foretoken_model::file::{begin, publish};
use parquet::{
    basic::{Compression, LogicalType, Repetition, Type as Physical},
    data_type::{ByteArray, ByteArrayType, DoubleType, Int32Type},
    errors::ParquetError,
    file::{
        properties::WriterProperties,
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::types::{ColumnPath, Type},
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use tempfile::NamedTempFile;

/// Rows of a group: with eleven levels 14 MB of numbers.
const GROUP: usize = 1 << 17;

/// The file while it is written.
pub struct ForecastFile<'a> {
    path: PathBuf,
    data: &'a Prepared,
    /// Rows of the data from one step of a forecast to the next.
    every: usize,
    writer: SerializedFileWriter<NamedTempFile>,
    series: Vec<ByteArray>,
    forecasters: Vec<ByteArray>,
    rows: Rows,
    failed: Result<(), ParquetError>,
}

/// Rows of the group to come, by column; texts by their place.
struct Rows {
    series: Vec<u32>,
    cutoffs: Vec<u32>,
    stamps: Vec<u32>,
    steps: Vec<i32>,
    truths: Vec<f64>,
    forecasters: Vec<u32>,
    points: Vec<f64>,
    /// `[level][row]`.
    quantiles: Vec<Vec<f64>>,
}

fn schema(levels: &[f64]) -> Result<Type, ParquetError> {
    let column = |name: &str, physical, required| {
        let repetition = if required { Repetition::REQUIRED } else { Repetition::OPTIONAL };
        let text = (physical == Physical::BYTE_ARRAY).then_some(LogicalType::String);
        let built = Type::primitive_type_builder(name, physical).with_repetition(repetition).with_logical_type(text);
        built.build().map(Arc::new)
    };
    let mut columns = vec![
        column("unique_id", Physical::BYTE_ARRAY, true)?,
        column("cutoff", Physical::BYTE_ARRAY, true)?,
        column("ds", Physical::BYTE_ARRAY, true)?,
        column("step", Physical::INT32, true)?,
        column("y", Physical::DOUBLE, false)?,
        column("forecaster", Physical::BYTE_ARRAY, true)?,
        column("point", Physical::DOUBLE, false)?,
    ];
    for level in levels {
        columns.push(column(&format!("q{level}"), Physical::DOUBLE, false)?);
    }
    Type::group_type_builder("forecasts").with_fields(columns).build()
}

/// Numbers that are all different are no dictionary.
fn properties(levels: &[f64]) -> WriterProperties {
    let numbers = levels.iter().map(|level| format!("q{level}")).chain(["point".into()]);
    let builder = WriterProperties::builder().set_compression(Compression::SNAPPY);
    let plain = |name| (ColumnPath::new(vec![name]), false);
    numbers.map(plain).fold(builder, |builder, (path, used)| builder.set_column_dictionary_enabled(path, used)).build()
}

impl<'a> ForecastFile<'a> {
    /// A file for forecasts of `data` with quantiles at `levels`, whose steps lie `every` rows apart.
    pub fn create(path: &Path, data: &'a Prepared, levels: &[f64], every: usize) -> Result<Self, CliError> {
        let named = |error: ParquetError| CliError::file(path, error);
        let file = begin(path)?;
        let part = file.path().to_path_buf();
        // Once it has its name there is nothing to remove.
        before_the_end(move || _ = std::fs::remove_file(part))?;
        let schema = Arc::new(schema(levels).map_err(named)?);
        let writer = SerializedFileWriter::new(file, schema, Arc::new(properties(levels))).map_err(named)?;
        let texts = |texts: &[String]| texts.iter().map(|text| ByteArray::from(text.as_str())).collect();
        Ok(Self {
            path: path.into(),
            data,
            every,
            writer,
            series: texts(&data.signal.names),
            forecasters: Vec::new(),
            rows: Rows::new(levels.len()),
            failed: Ok(()),
        })
    }

    /// Adds a window of a forecaster, standardised. What cannot be written is told by `check`.
    pub fn add(&mut self, forecaster: &str, window: Window<'_>) {
        if self.failed.is_err() {
            return;
        }
        let Window { column, origin, points, quantiles } = window;
        let name = self.forecasters.iter().position(|name| name.data() == forecaster.as_bytes()).unwrap_or_else(|| {
            self.forecasters.push(ByteArray::from(forecaster));
            self.forecasters.len() - 1
        });
        let (unit, values) = (&self.data.columns[column], &self.data.signal.columns[column]);
        let levels = self.rows.quantiles.len();
        for (step, (&point, quantiles)) in points.iter().zip(quantiles.chunks_exact(levels)).enumerate() {
            let (cutoff, row) = (origin - 1, origin - 1 + (step + 1) * self.every);
            self.rows.series.push(column as u32);
            self.rows.cutoffs.push(cutoff as u32);
            self.rows.stamps.push(row as u32);
            self.rows.steps.push(step as i32 + 1);
            self.rows.truths.push(values[row]);
            self.rows.forecasters.push(name as u32);
            self.rows.points.push(unit.restore(point));
            self.rows.quantiles.iter_mut().zip(quantiles).for_each(|(to, &quantile)| to.push(unit.restore(quantile)));
            if self.rows.steps.len() == GROUP {
                self.failed = self.write();
            }
        }
    }

    /// Whether all so far could be written.
    pub fn check(&mut self) -> Result<(), CliError> {
        std::mem::replace(&mut self.failed, Ok(())).map_err(|error| CliError::file(&self.path, error))
    }

    /// Writes what is left and gives the file its name.
    pub fn finish(mut self) -> Result<(), CliError> {
        self.check()?;
        self.failed = if self.rows.steps.is_empty() { Ok(()) } else { self.write() };
        self.check()?;
        let file = self.writer.into_inner().map_err(|error| CliError::file(&self.path, error))?;
        Ok(publish(file, &self.path)?)
    }

    /// Writes the rows as a group.
    fn write(&mut self) -> Result<(), ParquetError> {
        let mut group = self.writer.next_row_group()?;
        let rows = &mut self.rows;
        let stamp = |row: usize| ByteArray::from(self.data.signal.stamps.at(row).as_str());
        texts(&mut group, |place| self.series[place].clone(), &mut rows.series)?;
        texts(&mut group, stamp, &mut rows.cutoffs)?;
        texts(&mut group, stamp, &mut rows.stamps)?;
        let mut steps = group.next_column()?.expect("a column of the schema");
        steps.typed::<Int32Type>().write_batch(&rows.steps, None, None)?;
        steps.close()?;
        rows.steps.clear();
        numbers(&mut group, &mut rows.truths)?;
        texts(&mut group, |place| self.forecasters[place].clone(), &mut rows.forecasters)?;
        numbers(&mut group, &mut rows.points)?;
        rows.quantiles.iter_mut().try_for_each(|level| numbers(&mut group, level))?;
        group.close().map(|_| ())
    }
}

impl Rows {
    fn new(levels: usize) -> Self {
        Self {
            series: Vec::new(),
            cutoffs: Vec::new(),
            stamps: Vec::new(),
            steps: Vec::new(),
            truths: Vec::new(),
            forecasters: Vec::new(),
            points: Vec::new(),
            quantiles: vec![Vec::new(); levels],
        }
    }
}

/// Writes and clears a column of texts.
fn texts(
    group: &mut SerializedRowGroupWriter<'_, NamedTempFile>,
    text: impl Fn(usize) -> ByteArray,
    places: &mut Vec<u32>,
) -> Result<(), ParquetError> {
    let values: Vec<ByteArray> = places.drain(..).map(|place| text(place as usize)).collect();
    let mut column = group.next_column()?.expect("a column of the schema");
    column.typed::<ByteArrayType>().write_batch(&values, None, None)?;
    column.close()
}

/// Writes and clears a column of numbers; NaN is null.
fn numbers(group: &mut SerializedRowGroupWriter<'_, NamedTempFile>, numbers: &mut Vec<f64>) -> Result<(), ParquetError> {
    let known: Vec<i16> = numbers.iter().map(|number| i16::from(!number.is_nan())).collect();
    numbers.retain(|number| !number.is_nan());
    let mut column = group.next_column()?.expect("a column of the schema");
    column.typed::<DoubleType>().write_batch(numbers, Some(&known), None)?;
    numbers.clear();
    column.close()
}
