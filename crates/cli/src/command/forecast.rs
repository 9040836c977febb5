//! `foretoken forecast`: what comes after the last row of a file.

use crate::{
    also::is_same,
    draw::{self, forecast::Picture},
    error::CliError,
    run::{beside, predictor, read_for, tell_others},
    say::remark,
    state, table,
};
use foretoken_data::{Signal, Values};
use foretoken_model::{
    Beside, Column, Forecast, Forecaster, Predictor, Registry, Replay, Trace, file::write_atomically, jumps::Followed,
    predictor::Parts,
};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

/// Forecast what follows the last row of a file.
///
/// Without a model one is trained first, for `--horizon` steps, in at most `--minutes` of the network's training, and kept in `runs`: the next forecast uses it.
///
/// The CSV has one line a column and step: its stamp `ds`, the column's name `unique_id`, the `point` forecast, the quantiles, the
/// spread within the experts and between them (deviations), and the share of the samples looked back on that was missing.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken forecast runs/etth1 examples/data/ETTh1.csv --svg forecast.svg > forecast.csv\n  \
                        foretoken forecast examples/data/ETTh1.csv --horizon 48 > forecast.csv")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`; or the data, to train a model for it.
    #[arg(value_name = "MODEL")]
    first: PathBuf,
    /// A CSV or Parquet file with the model's series, laid out as the run's own.
    data: Option<PathBuf>,
    /// Steps ahead; the model's if absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    horizon: Option<u32>,
    /// Most minutes of the network's training, without a model; 2 if absent.
    #[arg(long, value_parser = super::train::minutes)]
    minutes: Option<f64>,
    /// Write the CSV here instead of to standard output.
    #[arg(long)]
    out: Option<PathBuf>,
    /// Draw history and forecast here.
    #[arg(long)]
    svg: Option<PathBuf>,
    /// Make the choices of this routing trace, as `inspect --trace` writes it, instead of the routers' own.
    #[arg(long)]
    replay: Option<PathBuf>,
}

/// Series that a remark names.
const NAMED: usize = 5;
/// Minutes of training without a model, where nobody says how many.
const MINUTES: f64 = 2.0;

/// Loads a model from its file or its run folder.
pub fn load(path: &Path) -> Result<Arc<Forecaster>, CliError> {
    let file = if path.is_dir() { path.join("model.safetensors") } else { path.into() };
    Ok(Arc::new(Forecaster::load(&file, &Registry::default())?))
}

/// The same for data with `rate` samples where the model was trained on one.
pub fn load_at(path: &Path, rate: Option<f64>) -> Result<Arc<Forecaster>, CliError> {
    let forecaster = load(path)?;
    match rate.filter(|&rate| rate != 1.0) {
        Some(rate) => Ok(Arc::new(forecaster.at_rate(rate, &Registry::default()).map_err(|error| CliError::file(path, error))?)),
        None => Ok(forecaster),
    }
}

/// Steps that are asked for: no more than the model's.
pub fn steps(model: &Path, asked: Option<u32>, forecaster: &Forecaster) -> Result<usize, CliError> {
    let longest = forecaster.config().horizon;
    let steps = asked.map_or(longest, |steps| steps as usize);
    if steps > longest {
        return Err(CliError::file(model, format!("expected a horizon of at most {longest}, the model's, found {steps}")));
    }
    Ok(steps)
}

/// Names of a model's columns.
pub fn names(forecaster: &Forecaster) -> Vec<String> {
    forecaster.columns().iter().map(|column| column.name.clone()).collect()
}

/// A forecast, and what the linear expert alone says, if it speaks: one forecast a column, NaN where it is silent.
pub struct After {
    pub forecast: Forecast,
    pub linear: Option<Vec<Vec<f64>>>,
    /// By column, how many of the newest samples lie below and above the 80% interval that was said of them a step before.
    pub strays: Vec<[usize; 2]>,
    /// By column, the jumps that the look-back has, by the rows they came with.
    pub followed: Vec<Vec<(u64, Followed)>>,
}

/// Newest samples that are held against what was said of them, and how many to one side tell that the forecast does not follow.
pub const NEWEST: usize = 24;
const STRAYS: usize = 21;

/// What follows the last row of `columns`, which go on from where `stream` is.
pub fn after(mut stream: Predictor, columns: &[&[f64]]) -> Result<After, CliError> {
    let forecaster = stream.forecaster().clone();
    let last = columns[0].len().saturating_sub(1);
    let mut linear = vec![vec![f64::NAN; forecaster.config().horizon]; columns.len()];
    let (mut spoke, mut strays) = (false, vec![[0; 2]; columns.len()]);
    let place = |level: f64| forecaster.config().quantiles.iter().position(|quantile| *quantile == level);
    let interval = place(0.1).zip(place(0.9));
    let sink = |row: usize, index: usize, parts: &Parts| {
        let column = &forecaster.columns()[index];
        if let (true, Some((low, high))) = (row < last, interval) {
            let next = column.standardise(columns[index][row + 1]);
            strays[index][0] += usize::from(next < parts.combined[low]);
            strays[index][1] += usize::from(next > parts.combined[high]);
        }
        if row == last && parts.linear_spoke {
            linear[index] = parts.linear.iter().map(|value| column.restore(*value)).collect();
            spoke = true;
        }
    };
    stream.advance_many(columns, |row| row + NEWEST >= last, sink, None)?;
    let mut forecast = stream.forecast_buffer();
    stream.predict(&mut forecast)?;
    let followed = (0..columns.len()).map(|column| stream.followed(column).collect()).collect();
    Ok(After { forecast, linear: spoke.then_some(linear), strays, followed })
}

/// A jump that was followed, in words.
pub fn told(column: &Column, jump: &Followed, at: &str) -> String {
    let [by, lifted] = [jump.by, jump.lifted].map(|standardised| table::figure(standardised * column.deviation));
    if jump.lifted.abs() < 0.5 * jump.by.abs() {
        format!("a jump of {by} {at} ended a pulse: its samples are taken for what the level has been since")
    } else {
        format!(
            "a jump of {by} {at}, as none before it was, and the level has stayed: samples before it are taken for {lifted} higher"
        )
    }
}

/// A forecast as long CSV: stamp, column, point, quantiles.
pub fn to_csv(forecaster: &Forecaster, forecast: &Forecast, stamps: &[String]) -> Result<Vec<u8>, CliError> {
    let config = forecaster.config();
    let mut writer = csv::Writer::from_writer(Vec::new());
    let problem = |error: csv::Error| CliError::file(Path::new("forecast.csv"), error);
    let header = ["ds", "unique_id", "point"].map(String::from).into_iter();
    let quantiles = config.quantiles.iter().map(|level| format!("q{level}"));
    let spreads = ["within", "between", "missing"].map(String::from);
    writer.write_record(header.chain(quantiles).chain(spreads)).map_err(problem)?;
    let count = config.quantiles.len();
    for (index, column) in forecaster.columns().iter().enumerate() {
        for (step, stamp) in stamps.iter().enumerate() {
            let place = index * config.horizon + step;
            let quantiles = forecast.quantiles[place * count..][..count].iter().map(|value| Number(*value).to_string());
            let row = [stamp.clone(), column.name.clone(), Number(forecast.point[place]).to_string()];
            let spreads = [forecast.within[place], forecast.between[place]].map(|value| Number(value).to_string());
            let missing = Number(forecast.missing[index]).to_string();
            writer.write_record(row.into_iter().chain(quantiles).chain(spreads).chain([missing])).map_err(problem)?;
        }
    }
    writer.into_inner().map_err(|error| CliError::file(Path::new("forecast.csv"), error))
}

/// A number that reads as the same bits; in powers of ten where it would be mostly zeros, which some readers take for nothing else.
pub struct Number(pub f64);

impl std::fmt::Display for Number {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self(value) = self;
        let plain = *value == 0.0 || !value.is_finite() || (1e-5..1e16).contains(&value.abs());
        if plain { write!(f, "{value}") } else { write!(f, "{value:e}") }
    }
}

/// The last row of a series that ended a horizon or more before the last of so many rows.
fn ended(column: &[f64], rows: usize, horizon: usize) -> Option<usize> {
    let last = column[..rows].iter().rposition(|value| !value.is_nan())?;
    (rows - 1 - last >= horizon).then_some(last)
}

/// Refuses a forecast of so many steps after so many rows where less is known ahead of a series, unless the series has ended.
fn check_known(signal: &Signal, rows: usize, steps: usize, horizon: usize) -> Result<(), String> {
    let mut unknown = 0;
    for covariate in signal.covariates.iter().filter(|covariate| covariate.known) {
        for (index, (name, column)) in signal.names.iter().zip(&signal.columns).enumerate() {
            let values = &covariate.values[index.min(covariate.values.len() - 1)];
            let known = values[rows.min(values.len())..].iter().take(steps).take_while(|value| !value.is_nan()).count();
            if known == steps {
                continue;
            }
            if ended(column, rows, horizon).is_none() {
                let expected = table::count(steps as u64, "sample");
                return Err(format!("series `{name}`: expected `{}` of the next {expected}, found {known}", covariate.name));
            }
            unknown += 1;
        }
    }
    if unknown > 0 {
        remark!("of series that have ended, what is known ahead ends as well: their forecasts take its means");
    }
    Ok(())
}

/// The first of some names, and how many more there are.
fn few(names: &[String]) -> String {
    let more = if names.len() > NAMED { format!(" and {} more", names.len() - NAMED) } else { String::new() };
    names[..names.len().min(NAMED)].join(", ") + &more
}

/// Says what a forecast after so many rows lacks.
fn remark_on(forecaster: &Forecaster, signal: &Signal, rows: usize) {
    let (horizon, lookback) = (forecaster.config().horizon, forecaster.blueprint().lookback());
    if rows < lookback {
        remark!("the forecast stands on {}, and the model looks back on {lookback}", table::count(rows as u64, "row"));
    }
    let empty = signal.names.iter().zip(&signal.columns).filter(|(_, column)| column[..rows].iter().all(|value| value.is_nan()));
    let empty: Vec<String> = empty.map(|(name, _)| name.clone()).collect();
    if !empty.is_empty() {
        remark!("no value at all, and so no forecast: {}", few(&empty));
    }
    let after = |(name, column): (&String, &Values)| {
        ended(column, rows, horizon).map(|last| format!("{name} (after {})", signal.stamps.at(last)))
    };
    let ended: Vec<String> = signal.names.iter().zip(&signal.columns).filter_map(after).collect();
    if !ended.is_empty() {
        remark!(
            "no values in the last {} or more, and forecast from the last row all the same: {}",
            table::count(horizon as u64, "row"),
            few(&ended)
        );
    }
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let horizon = arguments.horizon.map(|horizon| horizon as usize);
    let path = arguments.data.as_ref().unwrap_or(&arguments.first);
    // What could not be written is known before anything is trained.
    let outs = [&arguments.out, &arguments.svg];
    let replayed = arguments.replay.as_ref().unwrap_or(path);
    writable(&outs, &[path, &arguments.first, replayed])?;
    let (model, is_new) = match (&arguments.data, horizon) {
        (Some(_), _) if arguments.minutes.is_some() => {
            return Err(CliError::file(&arguments.first, "expected no --minutes where there is a model, found one"));
        }
        (Some(_), _) => (arguments.first.clone(), false),
        (None, Some(_)) if arguments.first.is_dir() => {
            return Err(CliError::file(&arguments.first, "expected a file of data, or a model and data, found a folder alone"));
        }
        (None, Some(horizon)) => crate::sensible::model(path, horizon, arguments.minutes.unwrap_or(MINUTES))?,
        (None, None) => {
            return Err(CliError::file(
                &arguments.first,
                "expected a model and data, or data and --horizon, found one file alone",
            ));
        }
    };
    writable(&outs, &[&model])?;
    let forecaster = load(&model)?;
    let longest = forecaster.config().horizon;
    let steps = steps(&model, arguments.horizon, &forecaster)?;
    let (signal, audit) = read_for(&model, path, &forecaster)?;
    tell_others(path, &audit);
    // Its training has told of it.
    if !audit.is_clean() && !is_new {
        remark!("{}", table::audit(&audit));
    }
    let rows = signal.observed_len();
    if rows < signal.len() && signal.covariates.iter().all(|covariate| !covariate.known) {
        let behind = signal.len() - rows;
        remark!(
            "the last {behind} rows have no value: the forecast begins after {}",
            if rows > 0 { format!("{}, the last that has", signal.stamps.at(rows - 1)) } else { "nothing".into() }
        );
    }
    remark_on(&forecaster, &signal, rows);
    let replay = arguments.replay.as_ref().map(|path| {
        let trace = Trace::load(path)?;
        trace.check(&forecaster.network().mixtures()).map_err(|error| CliError::file(path, error))?;
        Ok::<_, CliError>(Replay::choices(trace)?)
    });
    let replay = replay.transpose()?;
    let Beside { past, mut known } = beside(&signal);
    // Each step has its own row of what is known; those that are not asked for need none, nor does a model that looks at none.
    let needed = if forecaster.looks_ahead() { steps } else { 0 };
    check_known(&signal, rows, needed, longest).map_err(|error| CliError::file(path, error))?;
    let reach = rows + longest;
    let mut short: Vec<&mut &[f64]> = known.iter_mut().flatten().filter(|values| values.len() < reach).collect();
    let longer = |values: &&mut &[f64]| values.iter().copied().chain(std::iter::repeat(f64::NAN)).take(reach).collect();
    let padded: Vec<Vec<f64>> = short.iter().map(longer).collect();
    short.iter_mut().zip(&padded).for_each(|(values, padded)| **values = padded);
    let (columns, beside) = (signal.slice(0..rows), Beside { past, known });
    let stream = match replay {
        None => state::resume(&model, &forecaster, &columns, &beside, NEWEST + 1, arguments.data.is_none()),
        // A trace begins with the first row.
        Some(_) => {
            let mut stream = predictor(&forecaster);
            stream.tell(&beside).and_then(|()| stream.force(replay)).map(|()| stream)
        }
    };
    let stream = stream.map_err(|error| CliError::file(path, error))?;
    let seen = stream.samples() as usize;
    let After { forecast, linear, strays, followed } =
        after(stream, &signal.slice(seen..rows)).map_err(|error| CliError::file(path, error))?;
    for (name, [below, above]) in signal.names.iter().zip(&strays) {
        let (count, side) = if below > above { (below, "below") } else { (above, "above") };
        if *count >= STRAYS {
            remark!(
                "{name}: {count} of the newest {NEWEST} values lie {side} the 80% interval that is forecast for each from those before it: \
                 what follows may, too, as it does not go on as what was learned"
            );
        }
    }
    for (column, followed) in forecaster.columns().iter().zip(&followed) {
        for (row, jump) in followed {
            remark!("{}: {}", column.name, told(column, jump, &format!("at {}", signal.stamps.at(*row as usize))));
        }
    }
    let next = signal.stamps.after(rows, longest);
    let next = &next[..steps];
    let csv = to_csv(&forecaster, &forecast, next)?;
    if let Some(path) = &arguments.svg {
        let start = rows.saturating_sub(shown(&forecaster));
        let picture = Picture {
            forecaster: &forecaster,
            forecast: &forecast,
            history: signal.slice(start..rows),
            stamps: &[&signal.stamps.slice(start..rows), next].concat(),
            truth: None,
            // Alone it is the forecast.
            baseline: linear.filter(|_| !forecaster.is_linear_alone()).map(|forecasts| ("linear expert alone", forecasts)),
        };
        draw::forecast::draw(&picture, path)?;
    }
    match &arguments.out {
        Some(path) => Ok(write_atomically(path, &csv)?),
        None => Ok(std::io::Write::write_all(&mut std::io::stdout(), &csv)?),
    }
}

/// Whether results may be written there: not over what is read nor over one another, and into folders that are there. Of a model the run beside its weights
/// is read, too.
pub fn writable(outs: &[&Option<PathBuf>], read: &[&Path]) -> Result<(), CliError> {
    let outs: Vec<&Path> = outs.iter().copied().flatten().map(PathBuf::as_path).collect();
    let files = |path: &Path| match path.is_dir() {
        true => [path.join("model.safetensors"), path.join("run.toml")],
        false => [path.into(), path.with_file_name("run.toml")],
    };
    let read: Vec<PathBuf> = read.iter().copied().flat_map(files).collect();
    for (place, out) in outs.iter().enumerate() {
        if read.iter().any(|read| is_same(out, read)) {
            return Err(CliError::file(out, "expected another file to write to, found one that is read"));
        }
        if out.is_dir() {
            return Err(CliError::file(out, "expected a file to write to, found a folder"));
        }
        if outs[..place].iter().any(|before| is_same(before, out)) {
            return Err(CliError::file(out, "expected a file for each result, found one for two"));
        }
        if let Some(folder) = out.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
            return Err(CliError::file(out, format!("expected a folder {}, found none", folder.display())));
        }
    }
    Ok(())
}

/// Rows of history worth showing before a forecast.
pub fn shown(forecaster: &Forecaster) -> usize {
    2 * forecaster.config().horizon.max(48)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_data::Covariate;

    #[test]
    fn what_is_not_known_of_one_series_alone_is_refused_unless_it_has_ended() {
        const NAN: f64 = f64::NAN;
        let signal = |b: [f64; 6], known_b: [f64; 6]| Signal {
            names: vec!["a".into(), "b".into()],
            columns: vec![vec![1.0, 2.0, 3.0, 4.0, NAN, NAN].into(), b.to_vec().into()],
            covariates: vec![Covariate {
                name: "heat".into(),
                known: true,
                values: vec![vec![0.0; 6].into(), known_b.to_vec().into()],
                limits: (f64::NEG_INFINITY, f64::INFINITY),
            }],
            ..Signal::default()
        };
        let (alive, dead) = ([1.0, 2.0, 3.0, 4.0, NAN, NAN], [1.0, 2.0, NAN, NAN, NAN, NAN]);
        let (one, none) = ([0.0, 0.0, 0.0, 0.0, 0.0, NAN], [0.0, 0.0, NAN, NAN, NAN, NAN]);
        assert_eq!(check_known(&signal(alive, [0.0; 6]), 4, 2, 2), Ok(()));
        let refused = "series `b`: expected `heat` of the next 2 samples, found 1";
        assert_eq!(check_known(&signal(alive, one), 4, 2, 2), Err(refused.into()));
        assert_eq!(check_known(&signal(alive, one), 4, 1, 2), Ok(()));
        assert_eq!(check_known(&signal(dead, none), 4, 2, 2), Ok(()));
        // Neither the last row nor those after it are there.
        assert!(check_known(&signal(alive, [0.0; 6]), 6, 1, 3).is_err_and(|problem| problem.contains("`a`")));
    }
}
