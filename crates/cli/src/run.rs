//! A run: one TOML file, complete, saved with its result.

use crate::{also::Also, command::forecast::names, error::CliError, respond::Left, say::remark};
use foretoken_data::{
    Audit, CalendarFeature, Covariate, DataError, Ranges, ReadOptions, Signal, Split, Standardiser, Values, calendar,
    mean_and_deviation, read, recurring_highest, recurring_lowest,
};
use foretoken_eval::naive_scales;
use foretoken_model::{Beside, Bounds, Column, Covariates, Forecaster, ForecasterConfig, ModelError, Predictor};
use foretoken_train::TrainConfig;
use serde::{Deserialize, Serialize};
use std::{
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

/// A run as its TOML says it.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Run {
    /// What to learn from.
    pub data: DataConfig,
    /// What to train.
    pub model: ForecasterConfig,
    /// How.
    #[serde(default)]
    pub train: TrainConfig,
}

/// The data of a run.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// A CSV or Parquet file; a relative path starts at the run's TOML.
    pub path: PathBuf,
    /// How it is laid out, and what of it is missing.
    #[serde(default)]
    pub read: ReadOptions,
    /// Training, validation and test rows.
    pub split: Split,
    /// Samples in a season, for the seasonal naive baseline and MASE.
    pub season: usize,
    /// What a series is measured in: errors, and so what is learned, weigh as much as the unit is small.
    #[serde(default)]
    pub unit: UnitKind,
    /// Series to learn, in order; all if absent.
    pub columns: Option<Vec<String>>,
    /// About how many seconds lie between the rows, of stamps that are dates or times. A run says it of its file, so that it is told where another has rows as far
    /// apart as the model has not learned.
    pub step: Option<f64>,
    /// Whether forecasts of a series stay within the lowest and the highest value of its training rows where these recur.
    #[serde(default)]
    pub bounds: bool,
    /// Whether a jump of a series that its training and validation rows never made is followed: what came before is lifted to its new level, once the samples
    /// say so.
    #[serde(default)]
    pub jumps: bool,
    /// Whether each series sees the newest samples of all (channel mixing), or itself alone.
    #[serde(default)]
    pub mix: bool,
    /// Quantities of the calendar, known of every row by its stamp.
    #[serde(default)]
    pub calendar: Vec<CalendarFeature>,
    /// Further files of the same layout, whose training rows are learned from as well. Nothing of them is validated on, scored or forecast.
    #[serde(default)]
    pub also: Vec<PathBuf>,
}

/// What a series is measured in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum UnitKind {
    /// The deviation of its training rows, as the benchmarks of long horizons have it.
    #[default]
    Deviation,
    /// The mean change of its training rows over a season, as MASE has it.
    SeasonalChange,
}

impl Run {
    /// Reads a run and makes its data path absolute or relative to the working folder.
    pub fn read(path: &Path) -> Result<Self, CliError> {
        let text = std::fs::read_to_string(path).map_err(CliError::io(path))?;
        let run = toml::from_str(&text).map_err(|error| CliError::file(path, ModelError::toml(&text, &error)));
        let mut run: Self = run?;
        for file in run.data.files().filter(|file| file.is_relative()) {
            *file = path.parent().unwrap_or(Path::new("")).join(&*file);
        }
        if run.data.season == 0 {
            return Err(CliError::file(path, "data.season: expected at least 1, found 0"));
        }
        if let Some(step) = run.data.step.filter(|step| !(step.is_finite() && *step > 0.0)) {
            return Err(CliError::file(path, format!("data.step: expected seconds, a number above 0, found {step}")));
        }
        run.data.check_also(path)?;
        Ok(run)
    }

    /// The run as TOML that works from any folder.
    pub fn to_toml(&self) -> Result<String, CliError> {
        let mut run = self.clone();
        for file in run.data.files() {
            *file = std::path::absolute(&*file).map_err(CliError::io(file))?;
        }
        toml::to_string(&run).map_err(|error| CliError::file(Path::new("run.toml"), error))
    }
}

/// The data of a run, read and standardised.
pub struct Prepared {
    /// Where it came from.
    pub path: PathBuf,
    /// The signal in its own unit; NaN is a missing value.
    pub signal: Signal,
    /// What was found in the file.
    pub audit: Audit,
    /// Its columns, standardised.
    pub standardised: Vec<Values>,
    /// What is learned of them where they respond to what is known ahead.
    pub left: Option<Left>,
    /// Names and statistics.
    pub columns: Vec<Column>,
    /// Those of the covariates.
    pub covariates: Covariates,
    /// The split.
    pub ranges: Ranges,
    /// Further files to learn from, on the same rows.
    pub also: Vec<Also>,
}

impl Run {
    /// Counts the covariates of the data in the model, and its columns where they are mixed.
    ///
    /// # Errors
    /// Counts that the TOML gives and that are others.
    pub fn count_covariates(&mut self, path: &Path, found: &Covariates, columns: usize) -> Result<(), CliError> {
        let (own, mixed) = (&mut self.model.covariates, if self.data.mix { columns } else { 0 });
        for (kind, count, found) in [
            ("past", &mut own.past, found.past.len()),
            ("known", &mut own.known, found.known.len()),
            ("statics", &mut own.statics, found.statics.len()),
            ("columns", &mut own.columns, mixed),
        ] {
            if *count != 0 && *count != found {
                let problem = format!("model.covariates.{kind}: expected {found}, as many as the data's, found {count}");
                return Err(CliError::file(path, problem));
            }
            *count = found;
        }
        Ok(())
    }
}

impl Prepared {
    /// The covariates' values, from the first row on.
    pub fn beside(&self) -> Beside<'_> {
        beside(&self.signal)
    }
}

/// The values of a signal's covariates, from the first row on.
pub fn beside(signal: &Signal) -> Beside<'_> {
    let kind = |known: bool| {
        let own = signal.covariates.iter().filter(move |covariate| covariate.known == known);
        own.map(|covariate| covariate.values.iter().map(|values| &values[..]).collect()).collect()
    };
    Beside { past: kind(false), known: kind(true) }
}

/// Reads series by name, or all.
pub fn read_series(path: &Path, options: &ReadOptions, names: Option<&[String]>) -> Result<(Signal, Audit), CliError> {
    if options.columns.is_some() {
        return Err(CliError::file(path, "data.read.columns: expected the series' names in data.columns, found them here"));
    }
    Ok(read(path, &ReadOptions { columns: names.map(<[String]>::to_vec), ..options.clone() })?)
}

/// The folder of a model's run.
pub fn folder_of(model: &Path) -> &Path {
    if model.is_dir() { model } else { model.parent().unwrap_or(Path::new("")) }
}

/// What the run of a model says of its data, if it is there.
pub fn data_of(model: &Path) -> Result<Option<DataConfig>, CliError> {
    let run = folder_of(model).join("run.toml");
    if !run.exists() {
        return Ok(None);
    }
    Ok(Some(Run::read(&run)?.data))
}

/// Steps that differ by less are the same: those of a piece of a file may be found a little otherwise.
const SAME_STEP: f64 = 0.1;

/// Whether steps in seconds are not the same; of those that are not known nobody knows.
pub fn differ(told: Option<f64>, found: Option<f64>) -> bool {
    told.zip(found).is_some_and(|(told, found)| (found / told).ln().abs() > SAME_STEP)
}

impl DataConfig {
    /// Tells of a file for a model whose rows are as far apart as it has not learned.
    fn tell_step(&self, path: &Path, audit: &Audit, rate: usize) {
        let told = self.step.map(|step| step / rate as f64);
        if let Some(told) = told.filter(|_| differ(told, audit.seconds)) {
            let (path, found) = (path.display(), &audit.step);
            remark!(
                "{path}: its rows are {found} apart, and the model has learned from rows {told} s apart (`data.step` of its run)"
            );
        }
    }
}

/// Tells of the series of a file for a model that it does not know.
pub fn tell_others(path: &Path, audit: &Audit) {
    if !audit.others.is_empty() {
        remark!("{}: not among the columns of the model, and not forecast: {}", path.display(), audit.others.join(", "));
    }
}

/// Reads series for a model, as its run read its own; of the calendar a horizon beyond the last sample is known.
pub fn read_for(model: &Path, path: &Path, forecaster: &Forecaster) -> Result<(Signal, Audit), CliError> {
    let data = data_of(model)?;
    let (options, features) = data.as_ref().map(|data| (data.read.clone(), data.calendar.clone())).unwrap_or_default();
    let (mut signal, mut audit) = read_series(path, &options, Some(&names(forecaster)))?;
    if let Some(data) = data {
        data.tell_step(path, &audit, 1);
        // Of columns that were picked the others are known.
        audit.others.retain(|_| data.columns.is_none());
    }
    add_calendar(path, &mut signal, &features, forecaster.config().horizon)?;
    let (known, past) = (&forecaster.covariates().known, &forecaster.covariates().past);
    if let Some(lacking) = known.iter().chain(past).find(|own| signal.covariates.iter().all(|found| found.name != own.name)) {
        let problem =
            format!("expected run.toml beside it, which says where covariates like `{}` come from, found none", lacking.name);
        return Err(CliError::file(model, problem));
    }
    Ok((signal, audit))
}

/// Puts the calendar beside a signal, `ahead` rows beyond its end.
fn add_calendar(path: &Path, signal: &mut Signal, features: &[CalendarFeature], ahead: usize) -> Result<(), CliError> {
    let mapped = signal.columns.iter().any(Values::is_mapped);
    for own in calendar(&signal.stamps, ahead, features, mapped).map_err(|error| CliError::file(path, error))? {
        if signal.covariates.iter().any(|other| other.name == own.name) {
            let problem =
                format!("data.calendar: expected quantities once, beside covariates of other names, found `{}` twice", own.name);
            return Err(CliError::file(path, problem));
        }
        signal.covariates.push(own);
    }
    Ok(())
}

/// A stream of a model that takes missing samples.
pub fn predictor(forecaster: &Arc<Forecaster>) -> Predictor {
    let mut predictor = Predictor::new(forecaster.clone());
    predictor.allow_missing(true);
    predictor
}

impl DataConfig {
    /// Reads, splits, and standardises by the training rows.
    pub fn prepare(&self) -> Result<Prepared, CliError> {
        let mut own = self.prepare_with(1, covariates, |signal, train| self.statistics(signal, train))?;
        if self.bounds {
            let Ranges { train, validation, .. } = own.ranges.clone();
            let rows = own.signal.slice(train).into_iter().zip(own.signal.slice(validation));
            for (column, (values, later)) in own.columns.iter_mut().zip(rows) {
                let (values, later) = (|| values.iter().copied(), || later.iter().copied());
                column.bounds =
                    Bounds { lowest: recurring_lowest(values(), later()), highest: recurring_highest(values(), later()) };
            }
        }
        for (column, limits) in own.columns.iter_mut().zip(&own.signal.limits) {
            column.limits = finite(*limits);
        }
        // Further files have the hours of this one, and the order of its dates. Decimals each shows by itself.
        let read = ReadOptions { hours: Some(own.audit.hours), dates: self.read.dates.or(own.audit.dates), ..self.read.clone() };
        Ok(Prepared { also: Self { read, ..self.clone() }.read_also(&own)?, ..own })
    }

    /// The same of another file for a model, standardised by the model's own statistics, with `rate` rows where the split counts one. Further files are read
    /// where that is one, and without this one.
    pub fn prepare_for(&self, path: &Path, model: &Forecaster, rate: usize) -> Result<Prepared, CliError> {
        let main = Self { path: path.into(), columns: Some(names(model)), ..self.clone() };
        let own = main.prepare_with(rate, |_, _| model.covariates().clone(), |_, _| Ok(model.columns().to_vec()))?;
        self.tell_step(path, &own.audit, rate);
        if self.columns.is_none() {
            tell_others(path, &own.audit);
        }
        Prepared { also: if rate == 1 { self.read_also(&own)? } else { Vec::new() }, ..own }.without_response()
    }

    /// Names and statistics of a signal's series over its training rows, in the run's unit.
    pub(crate) fn statistics(&self, signal: &Signal, train: Range<usize>) -> Result<Vec<Column>, DataError> {
        let scale = Standardiser::fit(signal, train.clone())?;
        let rows = signal.slice(train);
        let deviations: Vec<f64> = match self.unit {
            UnitKind::Deviation => scale.deviations.clone(),
            UnitKind::SeasonalChange => {
                let changes = naive_scales(&rows, self.season);
                let or = |(change, deviation): (&f64, &f64)| if *change > 0.0 { *change } else { *deviation };
                changes.iter().zip(&scale.deviations).map(or).collect()
            }
        };
        let columns = signal.names.iter().zip(&scale.means).zip(&deviations);
        Ok(columns.map(|((name, &mean), &deviation)| Column::new(name, mean, deviation)).collect())
    }

    /// Every file that it names.
    fn files(&mut self) -> impl Iterator<Item = &mut PathBuf> {
        std::iter::once(&mut self.path).chain(&mut self.read.statics).chain(&mut self.also)
    }

    fn prepare_with(
        &self,
        rate: usize,
        covariates: impl FnOnce(&Signal, &Range<usize>) -> Covariates,
        columns: impl FnOnce(&Signal, Range<usize>) -> Result<Vec<Column>, DataError>,
    ) -> Result<Prepared, CliError> {
        let (mut signal, audit) = read_series(&self.path, &self.read, self.columns.as_deref())?;
        add_calendar(&self.path, &mut signal, &self.calendar, 0)?;
        let named = |error| match error {
            // A split is the run's fault, not the file's.
            DataError::Split { .. } => CliError::Data(error),
            error => CliError::file(&self.path, error),
        };
        // The future that covariates know is in no part.
        let mut ranges = self.split.resolve(signal.observed_len() / rate).map_err(named)?;
        for range in [&mut ranges.train, &mut ranges.validation, &mut ranges.test] {
            *range = range.start * rate..range.end * rate;
        }
        for (part, rows) in [("validation", &ranges.validation), ("test", &ranges.test)] {
            if signal.slice(rows.clone()).iter().all(|column| column.iter().all(|value| value.is_nan())) {
                let (first, last) = (signal.stamps.at(rows.start), signal.stamps.at(rows.end - 1));
                let problem = format!("{part} rows: expected a value in at least one, found none from {first} to {last}");
                return Err(CliError::file(&self.path, problem));
            }
        }
        let columns = columns(&signal, ranges.train.clone()).map_err(named)?;
        let covariates = covariates(&signal, &ranges.train);
        let standardised = standardise(&columns, &signal.columns)?;
        let (path, left, also) = (self.path.clone(), None, Vec::new());
        Ok(Prepared { path, standardised, left, signal, audit, columns, covariates, ranges, also })
    }
}

/// Limits as a column has them.
fn finite((lowest, highest): (f64, f64)) -> Bounds {
    let finite = |limit: f64| Some(limit).filter(|limit| limit.is_finite());
    Bounds { lowest: finite(lowest), highest: finite(highest) }
}

/// Columns, standardised; they lie where the values themselves do.
pub(crate) fn standardise(columns: &[Column], values: &[Values]) -> Result<Vec<Values>, DataError> {
    let (rows, mapped) = (values.first().map_or(0, |values| values.len()), values.iter().any(Values::is_mapped));
    Values::table(columns.len(), rows, mapped, |index, to| {
        to.iter_mut().zip(&*values[index]).for_each(|(to, &value)| *to = columns[index].standardise(value));
    })
}

/// Names of a signal's covariates, and their statistics over the training rows, or over the series. One that never changes, or has no value, is given a
/// deviation of 1.
fn covariates(signal: &Signal, train: &Range<usize>) -> Covariates {
    fn column<'v>(name: &str, values: impl Iterator<Item = &'v f64> + Clone) -> Column {
        let there = values.copied().filter(|value| !value.is_nan());
        let (mean, deviation) = if there.clone().next().is_none() { (0.0, 1.0) } else { mean_and_deviation(there) };
        Column::new(name, mean, if deviation > 0.0 { deviation } else { 1.0 })
    }
    let kind = |known: bool| {
        let own = signal.covariates.iter().filter(move |covariate| covariate.known == known);
        let column = |each: &Covariate| {
            let values = each.values.iter().flat_map(|values| &values[train.clone()]);
            Column { limits: finite(each.limits), ..column(&each.name, values) }
        };
        own.map(column).collect()
    };
    let statics = signal.statics.iter();
    Covariates {
        past: kind(false),
        known: kind(true),
        statics: statics.clone().map(|each| column(&each.name, each.values.iter())).collect(),
        values_cs: (0..signal.names.len()).flat_map(|series| statics.clone().map(move |each| each.values[series])).collect(),
        response: None,
    }
}
