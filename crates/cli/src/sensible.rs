//! A model for data that has none: a run that suits its size and its step, trained within a budget and kept.

use crate::{
    also::is_same,
    error::CliError,
    run::{Run, read_series},
};
use foretoken_data::{Format, ReadOptions, Signal, column_names};
use foretoken_eval::ONE_MISSING_OF;
use foretoken_model::file::write_atomically;
use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Seasons of the training rows that there must be for one to be believed.
const FEWEST_SEASONS: usize = 3;
/// Windows that any look-back leaves of the training rows.
const FEWEST_WINDOWS: usize = 8;
const DAY: i64 = 86_400;
/// Most samples that structural maps look back: their time grows with the third power.
const LONGEST_MAP: usize = 720;
/// Most weights of structural maps, of all series together: 64 MiB in a model's file, and several times that while it is trained.
const MOST_WEIGHTS: usize = 1 << 24;
/// Most samples in a row of features.
const MOST_TAPS: usize = 192;
/// Samples of a window, which the fewest rows there may be hold beside the horizon: many short windows a step learn better than a few long ones (LOG.md).
const WINDOW: usize = 32;
/// Each of the two blocks.
const MIXTURE: &str = "[[model.layers]]\ntype = \"mixture\"\nnum_experts = 4\nexperts = [{ type = \"swiglu\", hidden = 128 }, { type = \"s4d\", states = 8 }]\n\n";

/// The folder of a model for this file and horizon: the one trained before, or a new one.
///
/// # Errors
/// A model of another file of this name; what reading and training refuse.
pub fn model(data: &Path, horizon: usize, minutes: f64) -> Result<PathBuf, CliError> {
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = Path::new("runs").join(format!("{name}-{horizon}"));
    if folder.join("model.safetensors").exists() {
        let path = folder.join("run.toml");
        let trained = Run::read(&path)?.data.path;
        if !is_same(&trained, data) {
            let (folder, data) = (folder.display(), data.display());
            let problem = format!(
                "data.path: expected {data}, found {}; move {folder} away to train anew, or use its model: `foretoken forecast {folder} {data}`",
                trained.display()
            );
            return Err(CliError::file(&path, problem));
        }
        eprintln!("{}: trained before, used again; delete it to train anew", folder.display());
        return Ok(folder);
    }
    let options = ReadOptions { format: format(data)?, ..ReadOptions::default() };
    let (signal, _) = read_series(data, &options, None)?;
    let toml = run(data, &options, &signal, horizon)?;
    std::fs::create_dir_all(&folder).map_err(CliError::io(&folder))?;
    let path = folder.join("sensible.toml");
    write_atomically(&path, toml.as_bytes())?;
    eprintln!("no model given: {} is trained for {horizon} steps, in about {minutes} min at most", folder.display());
    // A process of its own, so that what it prints does not mix with the forecast.
    let program = std::env::current_exe().map_err(CliError::io(Path::new("foretoken")))?;
    let mut command = Command::new(program);
    command.arg("train").arg(&path).arg("--out").arg(&folder).args(["--minutes", &minutes.to_string()]);
    let status = command.stdout(Stdio::from(std::io::stderr())).status().map_err(CliError::io(&path))?;
    match status.success() {
        true => Ok(folder),
        false => Err(CliError::file(&path, "expected a run that trains, found the error above")),
    }
}

/// Long, if the header names what a long file has.
fn format(data: &Path) -> Result<Format, CliError> {
    let names = column_names(data)?;
    let ReadOptions { id, time, target, .. } = ReadOptions::default();
    let long = [&id, &time, &target].iter().all(|name| names.contains(name));
    Ok(if long { Format::Long } else { Format::Wide })
}

/// Samples in a season: of a day for what is faster, of a week for days and workdays, of a year for weeks, months and quarters; 1 where there are too few.
fn season(signal: &Signal, rows: usize) -> usize {
    let season = match (signal.stamps.months(), signal.step()) {
        (Some(months), _) if 12 % months == 0 => (12 / months) as usize,
        (None, Some(step)) if step < DAY && DAY % step == 0 => (DAY / step) as usize,
        (None, None) if signal.stamps.are_workdays() => 5,
        (None, Some(DAY)) => 7,
        (None, Some(step)) if step == 7 * DAY => 52,
        _ => 1,
    };
    if season * FEWEST_SEASONS <= rows { season } else { 1 }
}

/// Structural maps beside the ridge where a look-back holds two seasons: of that and, for days, of the week if a look-back holds one. They are a map for
/// every series, so of very many there are none.
fn structural(signal: &Signal, season: usize, lookback: usize, horizon: usize) -> String {
    let lookback = lookback.min(LONGEST_MAP);
    let weights = signal.names.len().saturating_mul(lookback).saturating_mul(horizon);
    if season == 1 || 2 * season > lookback || weights > MOST_WEIGHTS {
        return String::new();
    }
    let is_day = signal.step().is_some_and(|step| step < DAY);
    let week = (is_day && 7 * season <= lookback).then_some(7 * season);
    let seasons: Vec<usize> = std::iter::once(season).chain(week).collect();
    format!(", structural = {{ lookbacks = [{lookback}], seasons = {seasons:?} }}")
}

/// The share of values that are missing in so many rows, from each series' first value on.
fn missing(signal: &Signal, rows: usize) -> f64 {
    let begun = || signal.columns.iter().flat_map(|column| column[..rows].iter().skip_while(|value| value.is_nan()));
    begun().filter(|value| value.is_nan()).count() as f64 / begun().count().max(1) as f64
}

fn run(data: &Path, options: &ReadOptions, signal: &Signal, horizon: usize) -> Result<String, CliError> {
    let rows = signal.observed_len();
    let held_back = (rows * 15 / 100).max(horizon + horizon / 2 + 1);
    let train = rows.saturating_sub(2 * held_back);
    let needed = horizon + WINDOW;
    if train < needed {
        let problem = format!("expected at least {needed} rows to train on beside {} held back, found {train}", 2 * held_back);
        return Err(CliError::file(data, problem));
    }
    let season = season(signal, train);
    let most = train - horizon - FEWEST_WINDOWS;
    let lookback = (train / 4).max(2 * season).min((2 * season).max(512)).min(most);
    let taps = lookback.min(MOST_TAPS);
    let path = std::path::absolute(data).map_err(CliError::io(data))?;
    let path = toml::Value::String(path.display().to_string());
    let missing = missing(signal, train);
    let most = 1.0 / ONE_MISSING_OF as f64;
    let linear = if missing <= most {
        format!("linear = {{ lookback = {lookback}{} }}\n", structural(signal, season, lookback, horizon))
    } else {
        let (found, most) = (100.0 * missing, 100.0 * most);
        eprintln!(
            "no linear expert: {found:.0}% of the training rows' values are missing, and its windows may lack at most {most:.0}%"
        );
        String::new()
    };
    let format = if options.format == Format::Long { "read = { format = \"long\" }\n" } else { "" };
    Ok(format!(
        "# Made by `foretoken forecast` for {rows} rows of {} series and {horizon} steps.\n\n\
         [data]\npath = {path}\nsplit = {{ last = [{held_back}, {held_back}] }}\nseason = {season}\n{format}\n\
         [model]\nhorizon = {horizon}\ntaps = {taps}\nadaptive = 0.08\nscaler = {{ window = {lookback} }}\n\
         {linear}\n\
         {MIXTURE}{MIXTURE}\
         [train]\nepochs = 15\nbatch = 16\nwindow = {WINDOW}\nburn_in = 0\npositions = 8\nheld_back = 0.5\n",
        signal.names.len(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_lacks_two_days_of_seven_has_no_linear_expert() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let lines = |days: i64| {
            let days = (0..900).filter(|day| day % 7 < days);
            days.map(|day| format!("{day},{}\n", day % 5)).collect::<String>()
        };
        for (days, expected) in [(7, true), (5, false)] {
            std::fs::write(&path, format!("ds,a\n{}", lines(days))).unwrap();
            let options = ReadOptions::default();
            let (signal, _) = read_series(&path, &options, None).unwrap();
            let run = run(&path, &options, &signal, 5).unwrap();
            assert_eq!(run.contains("linear = {"), expected, "{run}");
        }
    }

    #[test]
    fn structural_maps_have_the_seasons_that_a_look_back_holds() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let hours = |row: i64| format!("2024-{:02}-{:02} {:02}:00:00", 1 + row / 672, 1 + row / 24 % 28, row % 24);
        let minutes = |row: i64| format!("2024-01-{:02} {:02}:{:02}:00", 1 + row / 1440, row / 60 % 24, row % 60);
        let days = |row: i64| format!("{}-{:02}-{:02}", 2020 + row / 336, 1 + row / 28 % 12, 1 + row % 28);
        let numbers = |row: i64| row.to_string();
        let lines = |stamp: &dyn Fn(i64) -> String, rows: i64| {
            (0..rows).map(|row| format!("{},{}\n", stamp(row), row % 24)).collect::<String>()
        };
        for (lines, expected) in [
            (lines(&hours, 672), Some("lookbacks = [117], seasons = [24] }")),
            (lines(&hours, 1200), Some("lookbacks = [210], seasons = [24, 168] }")),
            (lines(&minutes, 15 * 1440), None),
            (lines(&days, 28), None),
            (lines(&numbers, 600), None),
        ] {
            std::fs::write(&path, format!("ds,a\n{lines}")).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            let linear = structural(&signal, season(&signal, signal.len()), lines.lines().count() * 7 / 10 / 4, 8);
            assert_eq!(structural(&signal, season(&signal, signal.len()), 512, 1 << 20), "", "more weights than that");
            assert_eq!(linear.split_once("structural = { ").map(|(_, maps)| maps), expected, "{linear}");
        }
    }

    #[test]
    fn few_rows_have_look_backs_of_two_seasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let of_rows = |rows: usize| {
            let month = |row: usize| format!("{}-{:02}-01,{row}\n", 2000 + row / 12, 1 + row % 12);
            std::fs::write(&path, format!("ds,a\n{}", (0..rows).map(month).collect::<String>())).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            run(&path, &ReadOptions::default(), &signal, 12)
        };
        let seven_years = of_rows(84).unwrap();
        assert!(seven_years.contains("lookbacks = [24], seasons = [12] }"), "{seven_years}");
        let longer = of_rows(240).unwrap();
        assert!(longer.contains("lookbacks = [42], seasons = [12] }"), "{longer}");
        let fewest = of_rows(82).unwrap();
        assert!(fewest.contains("lookbacks = [24], seasons = [12] }"), "{fewest}");
        let error = of_rows(81).unwrap_err().to_string();
        assert!(error.contains("expected at least 44 rows to train on beside 38 held back, found 43"), "{error}");
    }

    #[test]
    fn seasons_are_the_calendars() {
        for (months, expected) in [(1, 12), (3, 4), (12, 1), (5, 1)] {
            let stamp = |row: usize| format!("{}-{:02}-01,{row}\n", 1900 + months * row / 12, 1 + months * row % 12);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.csv");
            std::fs::write(&path, format!("ds,a\n{}", (0..120).map(stamp).collect::<String>())).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            assert_eq!(season(&signal, signal.len()), expected, "{months} months");
        }
    }
}
