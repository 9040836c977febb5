//! `foretoken stream`: one prediction a line, for ever.

use crate::{
    error::CliError,
    run::{predictor, reading},
    say::remark,
};
use foretoken_data::{Clock, DataError, LineParser, Parsed, Tick, order, read_known};
use foretoken_model::{Beside, Predictor, Snapshot, file::write_atomically};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Ordering,
    collections::VecDeque,
    io::{BufRead, Read, Write},
    path::{Path, PathBuf},
};

/// Read samples line by line from standard input, write one prediction a line.
///
/// A line in is the model's columns in order, with or without a stamp in front; the first line may be their header. A line out
/// is the point forecast: for each column in order its values 1 to horizon, separated by commas. A bad line is reported on
/// standard error with its number and changes nothing; so is one whose stamp does not come after the one before. Every line is the next sample: of samples
/// that stamps pass over the stream is only told by lines of empty fields, with --missing, and where there are none it says so.
///
/// Behind the columns come the model's past covariates, one value each for all columns; what is known ahead comes from the file `--known`.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  head -2000 examples/data/ETTh1.csv | foretoken stream runs/etth1 | tail -1")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`.
    model: PathBuf,
    /// Go on from this snapshot if it exists, and write it when the input ends.
    #[arg(long)]
    snapshot: Option<PathBuf>,
    /// Write what the experts are used for here as JSON, one entry a mixture, every thousand samples and when the input ends.
    #[arg(long)]
    usage: Option<PathBuf>,
    /// Let the state look back on between N and 2N samples, instead of the whole stream; twice the work.
    #[arg(long, value_name = "N")]
    refresh: Option<u64>,
    /// Samples here for one where the model was trained, 2 for data twice as fine. Predictions stay as far apart as in training. For models
    /// of s4d, s5 and layers without a state, with one tap and no linear expert.
    #[arg(long)]
    rate: Option<f64>,
    /// Take empty fields, NA and NaN for samples that are missing, instead of refusing the line. Before its first sample a column's prediction
    /// is NaN.
    #[arg(long)]
    missing: bool,
    /// A CSV or Parquet file with a stamp first and a column for every covariate known ahead, one line a sample and as many more as are known. Where samples
    /// have stamps each takes the line of its own; else the first line is that of the first sample, or goes on where the snapshot's end. A calendar comes
    /// from the stamps; other columns are passed over.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
}

/// Gaps that are told of.
const GAPS: usize = 10;
/// Samples between two writings of the usage.
const USAGE_EVERY: u64 = 1000;
/// Bytes of a line at most, and at most for each of its values.
const LONGEST_LINE: (usize, usize) = (1 << 16, 1 << 10);

/// Where a stream stands, which its snapshot keeps beside the model's state.
#[derive(Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Place {
    /// Whether lines have stamps, once that is settled.
    stamped: Option<bool>,
    clock: Clock,
    /// Stamps of what is known ahead, the next sample's first; none where a snapshot does not say.
    known: Option<VecDeque<String>>,
}

impl Place {
    /// Rows of what is known ahead that a line's stamp passes over.
    fn passed(&self, stamp: &str, line: u64) -> Result<usize, DataError> {
        let Some(known) = &self.known else { return Ok(0) };
        // What cannot be compared is taken in order.
        let later = |row: &String| order(stamp, row).is_some_and(Ordering::is_gt);
        let passed = known.iter().take_while(|row| later(row)).count();
        match known.get(passed).map(|row| order(stamp, row)) {
            Some(None | Some(Ordering::Equal)) => Ok(passed),
            _ if known.is_empty() => Ok(0),
            _ => Err(DataError::Field {
                source_name: "line".into(),
                line,
                column: "stamp".into(),
                expected: format!("a stamp of what is known ahead, {} to {}", known[0], known[known.len() - 1]).into(),
                found: stamp.into(),
            }),
        }
    }
}

fn write_usage(path: &Path, predictor: &Predictor) -> Result<(), CliError> {
    let usage: Vec<_> = predictor.forecaster().network().mixtures().iter().map(|mixture| mixture.live_usage().read()).collect();
    let json = serde_json::to_string_pretty(&usage).map_err(|error| CliError::file(path, error))?;
    Ok(write_atomically(path, json.as_bytes())?)
}

/// Tells the stream what is known ahead.
fn tell_known(predictor: &mut Predictor, place: &mut Place, arguments: &Arguments) -> Result<(), CliError> {
    let covariates = predictor.forecaster().covariates().clone();
    let names = || covariates.known.iter().map(|covariate| covariate.name.clone());
    let path = match &arguments.known {
        Some(_) if covariates.known.is_empty() => {
            return Err(CliError::file(
                &arguments.model,
                "expected no --known, as the model has no covariates known ahead, found one",
            ));
        }
        Some(path) => path,
        None if covariates.known.is_empty() || arguments.snapshot.as_ref().is_some_and(|path| path.exists()) => return Ok(()),
        None => {
            let problem = format!("expected --known, a file with {}, found none", names().collect::<Vec<_>>().join(", "));
            return Err(CliError::file(&arguments.model, problem));
        }
    };
    let (_, features) = reading(&arguments.model)?;
    let found = read_known(path, &names().collect::<Vec<_>>(), &features)?;
    if let Some(waiting) = &mut place.known {
        if let (Some(last), Some(first)) = (waiting.back(), found.stamps.first())
            && order(first, last).is_some_and(Ordering::is_le)
        {
            let problem = format!("expected rows after {last}, up to which the snapshot knows, found {first}");
            return Err(CliError::file(path, problem));
        }
        waiting.extend(found.stamps);
    }
    let known: Vec<Vec<&[f64]>> = found.values.iter().map(|values| vec![&values[..]]).collect();
    let past = vec![vec![&[][..]]; covariates.past.len()];
    predictor.tell(&Beside { past, known }).map_err(|error| CliError::file(path, error))
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
    let mut predictor = predictor(&forecaster);
    predictor.refresh_every(arguments.refresh)?;
    predictor.allow_missing(arguments.missing);
    let mut place = match arguments.snapshot.as_ref().filter(|path| path.exists()) {
        Some(path) => restore(&mut predictor, path)?,
        None => Place { known: Some(VecDeque::new()), ..Place::default() },
    };
    tell_known(&mut predictor, &mut place, arguments)?;
    // What cannot be written is known before the first sample.
    arguments.usage.as_ref().map_or(Ok(()), |path| write_usage(path, &predictor))?;
    let followed = follow(&mut predictor, &mut place, arguments);
    let counted = arguments.usage.as_ref().map_or(Ok(()), |path| write_usage(path, &predictor));
    // However it ended: a reader that left takes no state with it. That of a broken stream is none.
    if let Some(path) = arguments.snapshot.as_ref().filter(|_| predictor.check_whole().is_ok()) {
        let note = serde_json::to_string(&place).map_err(|error| CliError::file(path, error))?;
        let json = Snapshot { note, ..predictor.snapshot()? }.to_json().map_err(|error| CliError::file(path, error))?;
        write_atomically(path, json.as_bytes())?;
    }
    followed.and(counted)
}

/// Takes the sample of a line, unless its stamp does not come after the one before, or is none of what is known ahead.
fn advance(
    predictor: &mut Predictor,
    place: &mut Place,
    line: u64,
    stamp: Option<&str>,
    values: &[f64],
    columns: usize,
) -> Result<Option<Tick>, CliError> {
    let tick = stamp.map(|stamp| place.clock.look(stamp, line)).transpose()?;
    let passed = stamp.map_or(Ok(0), |stamp| place.passed(stamp, line))?;
    let before = if passed > 0 { Some(predictor.snapshot()?) } else { None };
    predictor.pass_over(passed);
    let done = predictor.advance_beside(&values[..columns], &values[columns..]);
    if let (Err(_), Some(before)) = (&done, before) {
        predictor.restore(&before)?;
    }
    done?;
    if let Some(known) = &mut place.known {
        known.drain(..(passed + 1).min(known.len()));
    }
    if let Some(tick) = tick {
        place.clock.take(tick);
    }
    Ok(tick)
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

/// Forecasts after every line, until there are no more.
fn follow(predictor: &mut Predictor, place: &mut Place, arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = predictor.forecaster().clone();
    let mut names = super::forecast::names(&forecaster);
    let columns = names.len();
    names.extend(forecaster.covariates().past.iter().map(|covariate| covariate.name.clone()));
    let parser = if arguments.missing { LineParser::with_missing(&names) } else { LineParser::new(&names) };
    let mut parser = parser.settled(place.stamped).meaning(&reading(&arguments.model)?.0.missing);
    let mut forecast = predictor.forecast_buffer();
    let mut gaps = 0;
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let (mut line, mut number) = (Vec::new(), 0);
    let most = LONGEST_LINE.0.max(names.len() * LONGEST_LINE.1);
    let mut text = String::new();
    while read_line(&mut input, &mut line, most)? {
        number += 1;
        if line.len() > most {
            remark!("line:{number}: expected at most {most} bytes, found more");
            continue;
        }
        let problem: String = match std::str::from_utf8(&line).map(|line| parser.parse(line, number)) {
            Ok(Ok(Parsed::Header)) => continue,
            Ok(Ok(Parsed::Row { stamp, values })) => match advance(predictor, place, number, stamp, values, columns) {
                Ok(tick) => {
                    place.stamped = parser.stamped();
                    let passed = tick.map_or(0, |tick| tick.passed());
                    gaps += usize::from(passed > 0);
                    if passed > 0 && gaps <= GAPS {
                        let more = if gaps == GAPS { "; no more of them is said" } else { "" };
                        remark!("line:{number}: its stamp passes over {passed} samples, of which no line tells{more}");
                    }
                    // What is not known of the horizon ends no stream: the sample was taken.
                    match predictor.predict(&mut forecast) {
                        Ok(()) => {
                            text.clear();
                            for (place, value) in forecast.point.iter().enumerate() {
                                use std::fmt::Write as _;
                                let comma = if place == 0 { "" } else { "," };
                                write!(text, "{comma}{value}").expect("writing to a string");
                            }
                            text.push('\n');
                            output.write_all(text.as_bytes())?;
                            output.flush()?;
                        }
                        Err(error) => remark!("line:{number}: no forecast: {error}"),
                    }
                    if let Some(path) = arguments.usage.as_ref().filter(|_| predictor.samples().is_multiple_of(USAGE_EVERY)) {
                        write_usage(path, predictor).unwrap_or_else(|error| remark!("{error}"));
                    }
                    continue;
                }
                // A broken stream has no next sample, and no state to keep.
                Err(CliError::Model(error)) if predictor.check_whole().is_err() => {
                    return Err(CliError::Line { line: number, source: error });
                }
                Err(CliError::Model(error)) => format!("line:{number}: {error}"),
                Err(error) => error.to_string(),
            },
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("line:{number}: expected UTF-8, found other bytes"),
        };
        remark!("{problem}");
    }
    Ok(())
}
