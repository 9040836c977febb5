//! `foretoken stream`: one prediction a line, for ever.

use crate::{
    error::CliError,
    run::{predictor, reading},
    say::remark,
};
use foretoken_data::{Clock, LineParser, Parsed, Tick, read_known};
use foretoken_model::{Beside, Predictor, Snapshot, file::write_atomically};
use std::{
    io::{BufRead, Write},
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
    /// A CSV or Parquet file with a stamp first and a column for every covariate known ahead, one line a sample and as many more as are known: the first
    /// line is that of the first sample, or goes on where the snapshot's end. A calendar comes from the stamps; other columns are passed over.
    #[arg(long, value_name = "FILE")]
    known: Option<PathBuf>,
}

/// Gaps that are told of.
const GAPS: usize = 10;
/// Samples between two writings of the usage.
const USAGE_EVERY: u64 = 1000;

fn write_usage(path: &Path, predictor: &Predictor) -> Result<(), CliError> {
    let usage: Vec<_> = predictor.forecaster().network().mixtures().iter().map(|mixture| mixture.live_usage().read()).collect();
    let json = serde_json::to_string_pretty(&usage).map_err(|error| CliError::file(path, error))?;
    Ok(write_atomically(path, json.as_bytes())?)
}

/// Tells the stream what is known ahead.
fn tell_known(predictor: &mut Predictor, arguments: &Arguments) -> Result<(), CliError> {
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
    let known: Vec<Vec<&[f64]>> = found.iter().map(|values| vec![&values[..]]).collect();
    let past = vec![vec![&[][..]]; covariates.past.len()];
    predictor.tell(&Beside { past, known }).map_err(|error| CliError::file(path, error))
}

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = super::forecast::load_at(&arguments.model, arguments.rate)?;
    let mut predictor = predictor(&forecaster);
    predictor.refresh_every(arguments.refresh)?;
    predictor.allow_missing(arguments.missing);
    if let Some(path) = arguments.snapshot.as_ref().filter(|path| path.exists()) {
        let text = std::fs::read_to_string(path).map_err(CliError::io(path))?;
        let restored = Snapshot::from_json(&text).and_then(|snapshot| predictor.restore(&snapshot));
        restored.map_err(|error| CliError::file(path, error))?;
    }
    tell_known(&mut predictor, arguments)?;
    // What cannot be written is known before the first sample.
    arguments.usage.as_ref().map_or(Ok(()), |path| write_usage(path, &predictor))?;
    let followed = follow(&mut predictor, arguments);
    let counted = arguments.usage.as_ref().map_or(Ok(()), |path| write_usage(path, &predictor));
    // However it ended: a reader that left takes no state with it. That of a broken stream is none.
    if let Some(path) = arguments.snapshot.as_ref().filter(|_| predictor.check_whole().is_ok()) {
        let json = predictor.snapshot()?.to_json().map_err(|error| CliError::file(path, error))?;
        write_atomically(path, json.as_bytes())?;
    }
    followed.and(counted)
}

/// Takes the sample of a line, unless its stamp does not come after the one before.
fn advance(
    predictor: &mut Predictor,
    clock: &Clock,
    line: u64,
    stamp: Option<&str>,
    values: &[f64],
    columns: usize,
) -> Result<Option<Tick>, CliError> {
    let tick = stamp.map(|stamp| clock.look(stamp, line)).transpose()?;
    predictor.advance_beside(&values[..columns], &values[columns..])?;
    Ok(tick)
}

/// Forecasts after every line, until there are no more.
fn follow(predictor: &mut Predictor, arguments: &Arguments) -> Result<(), CliError> {
    let forecaster = predictor.forecaster().clone();
    let mut names = super::forecast::names(&forecaster);
    let columns = names.len();
    names.extend(forecaster.covariates().past.iter().map(|covariate| covariate.name.clone()));
    let mut parser = if arguments.missing { LineParser::with_missing(&names) } else { LineParser::new(&names) };
    let mut forecast = predictor.forecast_buffer();
    let (mut clock, mut gaps) = (Clock::default(), 0);
    let (mut input, mut output) = (std::io::stdin().lock(), std::io::stdout().lock());
    let (mut line, mut number) = (Vec::new(), 0);
    let mut text = String::new();
    loop {
        line.clear();
        if input.read_until(b'\n', &mut line)? == 0 {
            break;
        }
        number += 1;
        let problem: String = match std::str::from_utf8(&line).map(|line| parser.parse(line, number)) {
            Ok(Ok(Parsed::Header)) => continue,
            Ok(Ok(Parsed::Row { stamp, values })) => match advance(predictor, &clock, number, stamp, values, columns) {
                Ok(tick) => {
                    if let Some(tick) = tick {
                        clock.take(tick);
                        gaps += usize::from(tick.passed() > 0);
                        if tick.passed() > 0 && gaps <= GAPS {
                            let more = if gaps == GAPS { "; no more of them is said" } else { "" };
                            remark!(
                                "line:{number}: its stamp passes over {} samples, of which no line tells{more}",
                                tick.passed()
                            );
                        }
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
