//! `foretoken stream`: one prediction a line, for ever.

use crate::{
    error::CliError,
    interrupt,
    run::{data_of, differ, predictor},
    said::{Columns, Said, points},
    say::remark,
    table::{count, limits},
};
use foretoken_data::{
    Align, CalendarFeature, Clock, DataError, DateOrder, Format, Gather, Gathered, LONGEST_GAP, Lasting, LineParser, LongLines,
    Outliers, PARQUET, Parsed, ReadOptions, difference, is_stamp, known_columns, read_known,
};
use foretoken_model::{
    Beside, Bounds, Forecast, Forecaster, Glitches, ModelError, Predictor, Snapshot, file::write_atomically, glitches::Beyond,
};
use serde::{Deserialize, Serialize};
use std::{
    borrow::Cow,
    collections::VecDeque,
    io::{BufRead, Read, Write},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

/// Read samples line by line from standard input, write one prediction a line.
///
/// A line in is the model's columns in order, with or without a stamp in front; the first line may be their header. A line out
/// is the point forecast: for each column in order its values 1 to horizon, separated by commas; with --json all of the forecast. A first line that is a header of other columns,
/// or of another order, ends the stream. A bad line is reported on standard error with its number and changes nothing; so is one whose stamp does not come after the one before. Samples that
/// stamps pass over are missing ones with --missing; without it every line is the next sample, and the stream says where there are none.
///
/// Where the model's run makes outliers missing, a sample that far beyond its file's values is a glitch, and counts as missing, unless it is the third in a row, each near the one
/// before and another number. Before its first sample a column's prediction is NaN.
///
/// Behind the columns come the model's past covariates, one value each for all columns; what is known ahead comes from the file `--known`.
///
/// Of a model of a long file lines may be as there, of a series each, under a header with the columns of ids, stamps and values: there is a forecast where the last series of a stamp has come.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  head -2000 examples/data/ETTh1.csv | foretoken stream runs/etth1 | tail -1")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`.
    model: PathBuf,
    /// Go on from this snapshot if it exists, and write it when the input ends, or SIGINT or SIGTERM the stream.
    #[arg(long)]
    snapshot: Option<PathBuf>,
    /// Write what the experts are used for here as JSON, one entry a mixture, every thousand samples and at the end.
    #[arg(long)]
    usage: Option<PathBuf>,
    /// Let the state look back on between N and 2N samples, instead of the whole stream; twice the work.
    #[arg(long, value_name = "N")]
    refresh: Option<u64>,
    /// Samples here for one where the model was trained, 2 for data twice as fine. Predictions stay as far apart as in training. For models
    /// of s4d, s5 and layers without a state, with one tap and no linear expert.
    #[arg(long)]
    rate: Option<f64>,
    /// Steps ahead; the model's if absent.
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    horizon: Option<u32>,
    /// Write every forecast as a JSON object: the sample's `line` and stamp `ds`, and for each of the `columns` its `point` forecast, the `quantiles` by level, the
    /// spread `within` the experts and `between` them, the share of the samples looked back on that was `missing`, and whether the sample was a `glitch`.
    #[arg(long)]
    json: bool,
    /// Take empty fields, NA and NaN for samples that are missing, instead of refusing the line, and what stamps pass over, too.
    #[arg(long)]
    missing: bool,
    /// Take samples that are glitches as they are.
    #[arg(long)]
    keep_glitches: bool,
    /// A CSV or Parquet file with a stamp first and a column for every covariate known ahead, one line a sample and as many more as are known. Where samples
    /// have stamps each takes the line of its own; else the first line is that of the first sample, or goes on where the snapshot's end: lines that a snapshot
    /// knows already are passed over. A calendar comes from the stamps; other columns are passed over.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
}

/// Gaps that are told of, and glitches; of these later the hundredth, the thousandth and so on.
const TOLD: usize = 10;
/// Samples between two writings of the usage.
const USAGE_EVERY: u64 = 1000;
/// Bytes of a line at most, and at most for each of its values.
const LONGEST_LINE: (usize, usize) = (1 << 16, 1 << 10);

/// Where a stream stands, which its snapshot keeps beside the model's state.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Whether lines have stamps, once that is settled.
    stamped: Option<bool>,
    clock: Clock,
    /// Stamps of what is known ahead, the next sample's first; none where a snapshot does not say.
    known: Option<VecDeque<String>>,
    /// The stamp of what was known of the last sample.
    #[serde(default)]
    last: Option<String>,
    /// What lay beyond limits until now; none where a snapshot does not say, or glitches are kept.
    #[serde(default)]
    beyond: Vec<Beyond>,
    /// The last row's stamp and what lasts after it, where values last.
    #[serde(default)]
    lasting: Option<(String, Vec<Option<Lasting>>)>,
}

/// Steps between known rows of which the shortest is one.
const STEPS: usize = 8;

impl Place {
    /// Rows of what is known ahead that a line's stamp passes over. It is that of the nearest row, as in a file, and less than half a step off; rows whose
    /// stamps are text are taken in order.
    fn passed(&self, stamp: &str, line: u64) -> Result<usize, DataError> {
        let Some(known) = self.known.as_ref().filter(|known| !known.is_empty()) else { return Ok(0) };
        let since = |row: &String| difference(stamp, row);
        let later = known.iter().take_while(|row| since(row).is_some_and(|since| since > 0)).count();
        if known.get(later).is_some_and(|row| !is_stamp(row)) {
            return Ok(later);
        }
        // What lies between two of them may be a night.
        let (rows, next) = (self.last.iter().chain(known), self.last.iter().chain(known).skip(1));
        let steps = rows.zip(next).take(STEPS).filter_map(|(row, next)| difference(next, row));
        let step = steps.filter(|&step| step > 0).min().unwrap_or(0);
        let is_near = |row: &usize| {
            let off = known.get(*row).and_then(since);
            off.is_some_and(|off| off == 0 || 2 * off.abs() < step)
        };
        let off = |row: &usize| known.get(*row).and_then(since).map_or(i128::MAX, i128::abs);
        let nearest = (later.saturating_sub(1)..=later).filter(is_near).min_by_key(off);
        nearest.ok_or_else(|| DataError::Field {
            source_name: "line".into(),
            line,
            column: "stamp".into(),
            expected: format!("a stamp of what is known ahead, {} to {}", known[0], known[known.len() - 1]).into(),
            found: stamp.into(),
        })
    }

    /// Goes on behind a sample before which so many rows were passed over.
    fn take(&mut self, passed: usize) {
        let Some(known) = &mut self.known else { return };
        if let Some(last) = known.drain(..(passed + 1).min(known.len())).next_back() {
            self.last = Some(last);
        }
    }
}

fn write_usage(path: &Path, predictor: &Predictor) -> Result<(), CliError> {
    let usage: Vec<_> = predictor.forecaster().network().mixtures().iter().map(|mixture| mixture.live_usage().read()).collect();
    let json = serde_json::to_string_pretty(&usage).map_err(|error| CliError::file(path, error))?;
    Ok(write_atomically(path, json.as_bytes())?)
}

/// Tells the stream what is known ahead.
fn tell_known(
    predictor: &mut Predictor,
    place: &mut Place,
    arguments: &Arguments,
    features: &[CalendarFeature],
    options: &ReadOptions,
) -> Result<(), CliError> {
    let covariates = predictor.forecaster().covariates().clone();
    let names: Vec<String> = covariates.known.iter().map(|covariate| covariate.name.clone()).collect();
    let path = match &arguments.known {
        Some(_) if covariates.known.is_empty() => {
            return Err(CliError::file(
                &arguments.model,
                "expected no --known, as the model has no covariates known ahead, found one",
            ));
        }
        Some(path) => path,
        None if !predictor.forecaster().looks_ahead() => return Ok(()),
        None if arguments.snapshot.as_ref().is_some_and(|path| path.exists()) => return Ok(()),
        None => {
            let columns: Vec<&str> =
                std::iter::once("a stamp").chain(known_columns(&names, features)?.into_iter().map(String::as_str)).collect();
            let problem = format!("expected --known, a file with {}, found none", columns.join(", "));
            return Err(CliError::file(&arguments.model, problem));
        }
    };
    let before: Vec<String> = place.last.iter().chain(place.known.iter().flatten()).cloned().collect();
    let found = read_known(path, &names, features, options, &before)?;
    if let Some(waiting) = &mut place.known {
        waiting.extend(found.stamps);
    }
    let known: Vec<Vec<&[f64]>> = found.values.iter().map(|values| vec![&values[..]]).collect();
    let past = vec![vec![&[][..]]; covariates.past.len()];
    predictor.tell(&Beside { past, known }).map_err(|error| CliError::file(path, error))
}

/// Tells a stream that looks at nothing known ahead of no more than that, as far as it was not told of the next so many rows.
fn tell_nothing(predictor: &mut Predictor, rows: usize) -> Result<(), ModelError> {
    let lacking = rows.saturating_sub(predictor.known_ahead());
    if lacking == 0 || predictor.forecaster().looks_ahead() {
        return Ok(());
    }
    let (covariates, nothing) = (predictor.forecaster().covariates(), vec![f64::NAN; lacking]);
    let (past, known) = (vec![vec![&[][..]]; covariates.past.len()], vec![vec![&nothing[..]]; covariates.known.len()]);
    predictor.tell(&Beside { past, known })
}

/// Goes on where a snapshot was taken.
fn restore(predictor: &mut Predictor, path: &Path) -> Result<Place, CliError> {
    let text = std::fs::read_to_string(path).map_err(CliError::io(path))?;
    let snapshot = Snapshot::from_json(&text).and_then(|snapshot| predictor.restore(&snapshot).map(|()| snapshot));
    let note = snapshot.map_err(|error| CliError::file(path, error))?.note;
    if note.is_empty() {
        return Ok(Place::default());
    }
    serde_json::from_str(&note).map_err(|error| CliError::file(path, format!("snapshot note: {error}")))
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = super::forecast::load_at(&arguments.model, arguments.rate)?;
    super::forecast::writable(
        &[&arguments.snapshot, &arguments.usage],
        &[&arguments.model, arguments.known.as_ref().unwrap_or(&arguments.model)],
    )?;
    let steps = super::forecast::steps(&arguments.model, arguments.horizon, &forecaster)?;
    let mut predictor = predictor(&forecaster);
    predictor.refresh_every(arguments.refresh)?;
    let mut place = match arguments.snapshot.as_ref().filter(|path| path.exists()) {
        Some(path) => restore(&mut predictor, path)?,
        None => Place { known: Some(VecDeque::new()), ..Place::default() },
    };
    let data = data_of(&arguments.model)?;
    let step = data.as_ref().and_then(|data| data.step).map(|step| step / arguments.rate.unwrap_or(1.0));
    let (options, features) = data.map(|data| (data.read, data.calendar)).unwrap_or_default();
    place.clock = place.clock.within(options.hours).apart(step);
    tell_known(&mut predictor, &mut place, arguments, &features, &options)?;
    let mut glitches = Glitches::of(&forecaster);
    if arguments.keep_glitches {
        glitches = Glitches::new(vec![Bounds::default(); glitches.limits().len()], 0);
    } else if !glitches.has_limits() && options.outliers != Outliers::Report {
        remark!("values far from the others are taken as they are, as the model has no limits of its columns");
    }
    if !place.beyond.is_empty() {
        let restored = glitches.restore(&place.beyond);
        restored.map_err(|error| CliError::file(arguments.snapshot.as_deref().unwrap_or(Path::new("")), error))?;
    }
    let live = Live { predictor, place, glitches, unwritten: None };
    // What cannot be written is known before the first sample.
    live.keep(arguments.snapshot.as_deref(), arguments.usage.as_deref())?;
    let live = Arc::new(Mutex::new(live));
    // A service is stopped by a signal, which may come while it waits for a line.
    let (at_end, paths) = (live.clone(), (arguments.snapshot.clone(), arguments.usage.clone()));
    interrupt::before_the_end(move || {
        let live = at_end.lock().unwrap_or_else(PoisonError::into_inner);
        live.keep(paths.0.as_deref(), paths.1.as_deref()).unwrap_or_else(|error| remark!("{error}"));
        // Nothing is taken after what was kept.
        std::mem::forget(live);
    })?;
    let followed = follow(&live, arguments, (steps, step), &options);
    // However it ended: a reader that left takes no state with it.
    let live = live.lock().unwrap_or_else(PoisonError::into_inner);
    match (followed, live.keep(arguments.snapshot.as_deref(), arguments.usage.as_deref())) {
        (Err(error), Err(lost)) if !error.is_closed_pipe() => {
            remark!("{lost}");
            Err(error)
        }
        (Err(error), Ok(())) => Err(error),
        (_, kept) => kept,
    }
}

/// A stream, and where it stands.
struct Live {
    predictor: Predictor,
    place: Place,
    glitches: Glitches,
    /// The line whose sample was taken, and whose forecast is not written yet.
    unwritten: Option<u64>,
}

impl Live {
    /// Writes its state, unless it is broken and has none, and what its experts were used for.
    fn keep(&self, snapshot: Option<&Path>, usage: Option<&Path>) -> Result<(), CliError> {
        let counted = usage.map_or(Ok(()), |path| write_usage(path, &self.predictor));
        if let Some(path) = snapshot.filter(|_| self.predictor.check_whole().is_ok()) {
            let place = Place { beyond: self.glitches.state().to_vec(), ..self.place.clone() };
            let note = serde_json::to_string(&place).map_err(|error| CliError::file(path, error))?;
            let json = Snapshot { note, ..self.predictor.snapshot()? }.to_json().map_err(|error| CliError::file(path, error))?;
            write_atomically(path, json.as_bytes())?;
            if let Some(line) = self.unwritten {
                remark!("line:{line}: the snapshot has its sample, and its forecast was not written");
            }
        }
        counted
    }

    /// Takes the sample of a line, unless its stamp does not come after the one before, or is none of what is known ahead. Samples that its stamp passes over
    /// are missing ones before it, as many as that is at most.
    ///
    /// # Errors
    /// As told above; nothing is taken.
    fn advance(&mut self, line: u64, stamp: Option<&str>, told: &[f64], most_missing: u64) -> Result<Taken, CliError> {
        let Self { predictor, place, glitches, .. } = self;
        let tick = stamp.map(|stamp| place.clock.look(stamp, line)).transpose()?;
        let passed = stamp.map_or(Ok(0), |stamp| place.passed(stamp, line))?;
        let columns = predictor.forecaster().columns().len();
        let horizon = predictor.forecaster().config().horizon;
        let over = tick.map_or(0, |tick| tick.passed());
        // Where rows are known there are as many samples as rows; a snapshot that does not say which are tells of none.
        let rows = match &place.known {
            Some(known) if !known.is_empty() => passed as u64,
            None if predictor.forecaster().looks_ahead() => 0,
            _ => over,
        };
        let missing = if rows <= most_missing { rows as usize } else { 0 };
        let (mut seen, mut values) = (glitches.clone(), told.to_vec());
        seen.mask(&mut values);
        let (sample, past) = values.split_at(columns);
        tell_nothing(predictor, passed.max(missing) + 1 + horizon)?;
        if missing > 0 {
            // What is refused leaves no gap behind.
            predictor.check_whole()?;
            predictor.check_sample(sample, past)?;
            let nothing = vec![f64::NAN; values.len()];
            for _ in 0..missing {
                predictor.advance_beside(&nothing[..columns], &nothing[columns..])?;
            }
        }
        predictor.advance_after(passed.saturating_sub(missing), sample, past)?;
        *glitches = seen;
        place.take(passed);
        if let Some(tick) = tick {
            place.clock.take(tick);
        }
        let glitches = told.iter().zip(&values).map(|(told, taken)| taken.is_nan() && !told.is_nan()).collect();
        Ok(Taken { over, missing, glitches })
    }
}

/// What was taken with a line.
struct Taken {
    /// Samples that its stamp passes over.
    over: u64,
    /// Those of them that count as missing.
    missing: usize,
    /// Which of its values are glitches.
    glitches: Vec<bool>,
}

/// Reads a line, or as much of it as a line may have.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>, most: usize) -> Result<bool, CliError> {
    line.clear();
    let read = input.by_ref().take(most as u64 + 1).read_until(b'\n', line)?;
    if read > most && line.last() != Some(&b'\n') {
        input.skip_until(b'\n')?;
    }
    Ok(read > 0)
}

/// What ends a sample without a forecast.
enum Refused {
    /// Nothing but the sample is lost.
    Line(String),
    /// There is no next sample.
    Stream(CliError),
}

/// What forecasts are said of samples.
struct Forecasts<'a> {
    arguments: &'a Arguments,
    /// Of the columns, then of the past covariates.
    names: Vec<String>,
    dates: Option<DateOrder>,
    forecast: Forecast,
    /// Those of the forecast that are written.
    steps: usize,
    /// Seconds between the rows that the model has learned from, until it is told whether samples are.
    step: Option<f64>,
    text: String,
    /// Gaps so far, and glitches.
    gaps: usize,
    glitches: usize,
}

impl Forecasts<'_> {
    /// Takes a sample, of the line of this number; its forecast is `text` then.
    fn take(&mut self, live: &mut Live, number: u64, stamp: Option<&str>, values: &[f64]) -> Result<(), Refused> {
        let refused = |problem: &dyn std::fmt::Display| Refused::Line(format!("line:{number}: {problem}"));
        let stamp = stamp.map(|stamp| self.dates.map_or(Cow::Borrowed(stamp), |dates| dates.year_first(stamp)));
        let stamp = stamp.as_deref();
        if let Some(found) = stamp.filter(|stamp| self.dates.is_some() && !stamp.trim().is_empty() && !is_stamp(stamp)) {
            let expected = "a date with the year first, or last and the day and month as in the run (`data.read.dates`)";
            return Err(refused(&format!("column `stamp`: expected {expected}, found `{found}`")));
        }
        let ds = stamp.filter(|_| self.arguments.json).map(String::from);
        let most_missing = if self.arguments.missing { LONGEST_GAP } else { 0 };
        let taken = live.advance(number, stamp, values, most_missing).map_err(|error| match error {
            // A broken stream has no next sample, and no state to keep.
            CliError::Model(error) if live.predictor.check_whole().is_err() => {
                Refused::Stream(CliError::Line { line: number, source: error })
            }
            CliError::Model(error) => refused(&error),
            error => Refused::Line(error.to_string()),
        })?;
        let Live { predictor, place, glitches, unwritten } = live;
        for (at, _) in taken.glitches.iter().enumerate().filter(|(_, glitch)| **glitch) {
            self.glitches += 1;
            if self.glitches <= TOLD || self.glitches == 10usize.pow(self.glitches.ilog10()) {
                let (name, value, limits) = (&self.names[at], shown(values[at]), limits(glitches.limits()[at]));
                let more = match self.glitches {
                    ..TOLD => String::new(),
                    TOLD => "; few more of them are said".into(),
                    count => format!("; it is the {count}th, and --keep-glitches takes them"),
                };
                remark!("line:{number}: column `{name}`: {value} is a glitch, beyond {limits}, and counts as missing{more}");
            }
        }
        let newest = predictor.samples().saturating_sub(1);
        for (index, column) in predictor.forecaster().columns().iter().enumerate() {
            // It is told with the sample that makes sure.
            if let Some((at, jump)) = predictor.followed(index).last().filter(|(_, jump)| jump.is_of(predictor.seen(index))) {
                let at = format!("{} before this one", count(newest - at, "sample"));
                remark!("line:{number}: {}: {}", column.name, super::forecast::told(column, &jump, &at));
            }
        }
        if let Some(found) = place.clock.seconds()
            && let Some(learned) = self.step.take()
            && differ(Some(learned), Some(found))
        {
            remark!("line:{number}: samples are {found} s apart, and the model has learned from rows {learned} s apart");
        }
        self.tell_gap(number, &taken);
        if let Some(path) = self.arguments.usage.as_ref().filter(|_| predictor.samples().is_multiple_of(USAGE_EVERY)) {
            write_usage(path, predictor).unwrap_or_else(|error| remark!("{error}"));
        }
        // What is not known of the horizon ends no stream: the sample was taken.
        predictor.predict(&mut self.forecast).map_err(|error| refused(&format!("no forecast: {error}")))?;
        let (forecaster, forecast, steps) = (predictor.forecaster(), &self.forecast, self.steps);
        if self.arguments.json {
            let columns = Columns { forecaster, forecast, steps, glitches: &taken.glitches };
            let said = Said { line: number, ds: ds.as_deref(), columns };
            self.text = serde_json::to_string(&said).map_err(|error| refused(&error))? + "\n";
        } else {
            points(forecaster, forecast, steps, &mut self.text);
        }
        *unwritten = Some(number);
        Ok(())
    }

    fn tell_gap(&mut self, number: u64, taken: &Taken) {
        if taken.over == 0 {
            return;
        }
        self.gaps += 1;
        if self.gaps <= TOLD {
            let what = match taken.missing {
                0 if self.arguments.missing => "too many to be missing",
                0 => "of which no line tells",
                1 => "which counts as missing",
                _ => "which count as missing",
            };
            let more = if self.gaps == TOLD { "; no more of them is said" } else { "" };
            let passed = if taken.missing > 0 { taken.missing as u64 } else { taken.over };
            remark!("line:{number}: its stamp passes over {}, {what}{more}", count(passed, "sample"));
        }
    }
}

/// A value as it was written, or nearly.
fn shown(value: f64) -> String {
    if value.abs() < 1e15 { value.to_string() } else { format!("{value:e}") }
}

/// Forecasts so many steps after every line, until there are no more; lines are read as the run reads.
fn follow(
    live: &Mutex<Live>,
    arguments: &Arguments,
    (steps, step): (usize, Option<f64>),
    options: &ReadOptions,
) -> Result<(), CliError> {
    let lock = || live.lock().unwrap_or_else(PoisonError::into_inner);
    let (forecaster, forecast, stamped, lasting) = {
        let Live { predictor, place, .. } = &*lock();
        (predictor.forecaster().clone(), predictor.forecast_buffer(), place.stamped, place.lasting.clone())
    };
    let resume = |rows: &mut Gather| match &lasting {
        Some((stamp, lasting)) if !rows.resume(stamp, lasting) => {
            let path = arguments.snapshot.as_deref().unwrap_or(Path::new(""));
            Err(CliError::file(path, format!("expected what lasts of every series after a row that `hold` has, found `{stamp}`")))
        }
        _ => Ok(()),
    };
    let mut names = super::forecast::names(&forecaster);
    names.extend(forecaster.covariates().past.iter().map(|covariate| covariate.name.clone()));
    let parser = if arguments.missing { LineParser::with_missing(&names) } else { LineParser::new(&names) };
    let mut parser = parser.settled(stamped).meaning(&options.missing).decimals(options.decimal);
    let mut rows: Option<LongLines> = None;
    let mut averaged = options.every.map(|_| Gather::of(options, &names, step, arguments.missing));
    averaged.iter_mut().try_for_each(resume)?;
    let (dates, most) = (options.dates, LONGEST_LINE.0.max(names.len() * LONGEST_LINE.1));
    let mut forecasts = Forecasts { arguments, names, dates, forecast, steps, step, text: String::new(), gaps: 0, glitches: 0 };
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let mut forecast = |number: u64, stamp: Option<&str>, values: &[f64], lasting: Vec<Option<Lasting>>| {
        let mut live = lock();
        let taken = forecasts.take(&mut live, number, stamp, values);
        if let Some(stamp) = stamp.filter(|_| options.hold.is_some()) {
            live.place.lasting = Some((stamp.into(), lasting));
        }
        drop(live);
        // Nobody waits for a slow reader but the next line.
        match taken {
            Ok(()) => {
                output.write_all(forecasts.text.as_bytes())?;
                output.flush()?;
                lock().unwritten = None;
            }
            Err(Refused::Line(problem)) => remark!("{problem}"),
            Err(Refused::Stream(error)) => return Err(error),
        }
        Ok(())
    };
    let (mut line, mut number) = (Vec::new(), 0);
    while read_line(&mut input, &mut line, most)? {
        number += 1;
        if number == 1 && line.starts_with(PARQUET) {
            return Err(CliError::file(Path::new("standard input"), "expected lines of CSV, found Parquet"));
        }
        if line.len() > most {
            remark!("line:{number}: expected at most {most} bytes, found more");
            continue;
        }
        let Ok(line) = std::str::from_utf8(&line) else {
            remark!("line:{number}: expected UTF-8, found other bytes");
            continue;
        };
        if number == 1 {
            rows = long_lines(line, arguments, options, &forecaster, step)?;
            rows.iter_mut().map(LongLines::rows).try_for_each(resume)?;
        } else if let Some(rows) = &mut rows {
            match rows.push(line, number) {
                Ok(None) => {}
                Ok(Some(other)) => {
                    remark!("line:{number}: series `{other}` is none of the model's, and its lines are passed over")
                }
                Err(error) => remark!("{error}"),
            }
        }
        if let Some(rows) = &mut rows {
            written(rows.rows(), &mut forecast)?;
            continue;
        }
        match parser.parse(line, number) {
            Ok(Parsed::Header) => {}
            Ok(Parsed::Row { stamp, values }) => {
                if let Some(rows) = &mut averaged {
                    let told: Vec<(usize, f64)> = values.iter().copied().enumerate().collect();
                    rows.add(number, stamp.unwrap_or_default(), &told, "").unwrap_or_else(|error| remark!("{error}"));
                    written(rows, &mut forecast)?;
                } else {
                    forecast(number, stamp, values, Vec::new())?;
                }
                lock().place.stamped = parser.stamped();
            }
            // All lines after it would be of other columns.
            Err(error @ DataError::Header { .. }) => return Err(error.into()),
            Err(error) => remark!("{error}"),
        }
    }
    for rows in rows.iter_mut().map(LongLines::rows).chain(&mut averaged) {
        rows.end();
        written(rows, &mut forecast)?;
    }
    Ok(())
}

/// What gathers the lines of a model of a long file, if their first is a header with the columns of that.
///
/// # Errors
/// Series without a common clock, which have no rows, or past covariates, which a stream has in common.
fn long_lines(
    header: &str,
    arguments: &Arguments,
    options: &ReadOptions,
    forecaster: &Forecaster,
    step: Option<f64>,
) -> Result<Option<LongLines>, CliError> {
    if options.format != Format::Long {
        return Ok(None);
    }
    let names = super::forecast::names(forecaster);
    let rows = LongLines::under(header, options, &names, step, arguments.missing);
    let refused = match (options.align, forecaster.covariates().past.is_empty()) {
        (Align::End, _) => "series have no common clock",
        (_, false) => "its past covariates are one value of all series here",
        (Align::Stamp, true) => return Ok(rows),
    };
    match rows {
        Some(_) => {
            let problem = format!("expected lines with a value of every series, as {refused}, found a header of a series a line");
            Err(CliError::file(&arguments.model, problem))
        }
        None => Ok(None),
    }
}

/// Forecasts after every row that is whole; of others it is told what they lack.
fn written(
    rows: &mut Gather,
    forecast: &mut impl FnMut(u64, Option<&str>, &[f64], Vec<Option<Lasting>>) -> Result<(), CliError>,
) -> Result<(), CliError> {
    for row in rows {
        match row {
            Ok(Gathered { line, stamp, values, lasting }) => forecast(line, Some(&stamp), &values, lasting)?,
            Err(error) => remark!("{error}"),
        }
    }
    Ok(())
}
