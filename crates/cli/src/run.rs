//! A run: one TOML file, complete, saved with its result.

use crate::error::CliError;
use foretoken_data::{Audit, DataError, Ranges, ReadOptions, Signal, Split, Standardiser, read};
use foretoken_eval::naive_scales;
use foretoken_model::{Column, Forecaster, ForecasterConfig, ModelError, Predictor};
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
    /// A CSV file; a relative path starts at the run's TOML.
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
        if run.data.path.is_relative() {
            run.data.path = path.parent().unwrap_or(Path::new("")).join(&run.data.path);
        }
        if run.data.season == 0 {
            return Err(CliError::file(path, "data.season: expected at least 1, found 0"));
        }
        Ok(run)
    }

    /// The run as TOML that works from any folder.
    pub fn to_toml(&self) -> Result<String, CliError> {
        let mut run = self.clone();
        run.data.path = std::path::absolute(&self.data.path).map_err(CliError::io(&self.data.path))?;
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
    pub standardised: Vec<Vec<f64>>,
    /// Names and statistics.
    pub columns: Vec<Column>,
    /// The split.
    pub ranges: Ranges,
}

/// Reads series by name, or all.
pub fn read_series(path: &Path, options: &ReadOptions, names: Option<&[String]>) -> Result<(Signal, Audit), CliError> {
    if !(options.past.is_empty() && options.future.is_empty() && options.statics.is_none()) {
        let problem = "data.read: expected no past, future or static covariates, as no model uses them yet, found some";
        return Err(CliError::file(path, problem));
    }
    if options.columns.is_some() {
        return Err(CliError::file(path, "data.read.columns: expected the series' names in data.columns, found them here"));
    }
    Ok(read(path, &ReadOptions { columns: names.map(<[String]>::to_vec), ..options.clone() })?)
}

/// Reads series for a model, as its run read its own.
pub fn read_for(model: &Path, path: &Path, names: &[String]) -> Result<(Signal, Audit), CliError> {
    let folder = if model.is_dir() { model } else { model.parent().unwrap_or(Path::new("")) };
    let run = folder.join("run.toml");
    let options = if run.exists() { Run::read(&run)?.data.read } else { ReadOptions::default() };
    read_series(path, &options, Some(names))
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
        self.prepare_with(1, |signal, train| {
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
            Ok(columns.map(|((name, &mean), &deviation)| Column { name: name.clone(), mean, deviation }).collect())
        })
    }

    /// The same for a model's `columns`, standardised by its own statistics, with `rate` rows where the split counts one.
    pub fn prepare_for(&self, columns: &[Column], rate: usize) -> Result<Prepared, CliError> {
        self.prepare_with(rate, |_, _| Ok(columns.to_vec()))
    }

    fn prepare_with(
        &self,
        rate: usize,
        columns: impl FnOnce(&Signal, Range<usize>) -> Result<Vec<Column>, DataError>,
    ) -> Result<Prepared, CliError> {
        let (signal, audit) = read_series(&self.path, &self.read, self.columns.as_deref())?;
        let named = |error| match error {
            // A split is the run's fault, not the file's.
            DataError::Split { .. } => CliError::Data(error),
            error => CliError::file(&self.path, error),
        };
        let mut ranges = self.split.resolve(signal.len() / rate).map_err(named)?;
        for range in [&mut ranges.train, &mut ranges.validation, &mut ranges.test] {
            *range = range.start * rate..range.end * rate;
        }
        let columns = columns(&signal, ranges.train.clone()).map_err(named)?;
        let standardise =
            |(column, values): (&Column, &Vec<f64>)| values.iter().map(|&value| column.standardise(value)).collect();
        let standardised = columns.iter().zip(&signal.columns).map(standardise).collect();
        Ok(Prepared { path: self.path.clone(), standardised, signal, audit, columns, ranges })
    }
}
