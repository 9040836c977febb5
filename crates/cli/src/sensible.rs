//! A model for data that has none: a run that suits its size and its step, trained within a budget and kept.

use crate::{
    also::is_same,
    command::forecast::{load, names},
    error::CliError,
    interrupt::Interrupt,
    layout::{is_named, laid_out, numeric},
    run::{Run, read_series},
    say::remark,
};
use foretoken_data::{Format, Names, Outliers, ReadOptions, Signal, Standardiser, Values};
use foretoken_eval::{Inputs, ONE_THERE_OF, Ridge, seasons, shows_longer, shows_season, whole_windows};
use foretoken_model::file::write_atomically;
use std::{
    ops::Range,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

/// The run that is made, in its folder.
const RUN: &str = "sensible.toml";
/// What stands in its first line before the step of the rows.
const EVERY: &str = ", rows every ";
/// How often it is looked whether training is over.
const LOOK: Duration = Duration::from_millis(20);

/// Seasons of the training rows that there must be for one to be believed.
const FEWEST_SEASONS: usize = 3;
/// Share of the training windows that are whole enough for a linear expert, where more is missing than a window may lack.
const WHOLE: f64 = 0.25;
/// Windows that any look-back leaves of the training rows.
const FEWEST_WINDOWS: usize = 8;
/// Validation rows for strengths by step: with a few dozen those of the first step are chance (LOG.md).
const FEWEST_FOR_CUTS: usize = 96;
/// Validation rows for a longer look-back, and how much less a ridge with it errs on them (LOG.md).
const FEWEST_FOR_LONGER: usize = 60;
const LONGER_PAYS: f64 = 0.1;
const DAY: i64 = 86_400;
/// Most samples that structural maps look back: their time grows with the third power.
const LONGEST_MAP: usize = 720;
/// Most weights of structural maps, of all series together: 64 MiB in a model's file, and several times that while it is trained.
const MOST_WEIGHTS: usize = 1 << 24;
/// Samples that a series' own correction looks back, and those of all series together; more series than that many have none across them.
const OWN: usize = 128;
const ACROSS: usize = 512;
const MOST_ACROSS: usize = 64;
/// Horizons of training rows, beside a look-back, for corrections: quarters of them are held out.
const HORIZONS: usize = 8;
/// Most samples in a row of features.
const MOST_TAPS: usize = 192;
/// Samples of a window, which the fewest rows there may be hold beside the horizon: many short windows a step learn better than a few long ones (LOG.md).
const WINDOW: usize = 32;
/// Each of the two blocks.
const MIXTURE: &str = "[[model.layers]]\ntype = \"mixture\"\nnum_experts = 4\nexperts = [{ type = \"swiglu\", hidden = 128 }, { type = \"s4d\", states = 8 }]\n\n";

/// The folder of a model for this file and horizon: the one trained before, or a new one, and whether it is that.
///
/// # Errors
/// A model of another file of this name, or of this one when it had another step; what reading and training refuse.
pub fn model(data: &Path, horizon: usize, minutes: f64) -> Result<(PathBuf, bool), CliError> {
    let name = data.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let folder = Path::new("runs").join(format!("{name}-{horizon}"));
    let options = ReadOptions { outliers: Outliers::Glitches, ..ReadOptions::default() };
    if folder.join("model.safetensors").exists() {
        check_kept(&folder, data, &options)?;
        remark!("{}: trained before, used again; delete it to train anew", folder.display());
        return Ok((folder, false));
    }
    let (options, (mut signal, mut audit)) = laid_out(data, &options)?;
    // Without a column there may be fewer rows, and other training rows.
    loop {
        let learned = learnable(&signal, horizon);
        if learned.len() == signal.names.len() {
            break;
        }
        let out: Vec<&str> = signal.names.iter().filter(|name| !learned.contains(name)).map(String::as_str).collect();
        if learned.is_empty() {
            let problem = format!("expected a column whose values vary over the training rows, found {}", out.join(", "));
            return Err(CliError::file(data, problem));
        }
        remark!("left out, since they do not vary over the training rows: {}", out.join(", "));
        (signal, audit) = read_series(data, &options, Some(&learned))?;
    }
    let toml = run(data, &options, &signal, &audit.step, horizon)?;
    std::fs::create_dir_all(&folder).map_err(CliError::io(&folder))?;
    let path = folder.join(RUN);
    write_atomically(&path, toml.as_bytes())?;
    remark!("no model given: {} is trained for {horizon} steps, its network in at most {minutes} min", folder.display());
    // A process of its own, so that what it prints does not mix with the forecast.
    let program = std::env::current_exe().map_err(CliError::io(Path::new("foretoken")))?;
    let mut command = Command::new(program);
    command.arg("train").arg(&path).arg("--out").arg(&folder).arg(format!("--minutes={minutes}"));
    let io = CliError::io(&path);
    let interrupt = Interrupt::listen(false)?;
    let mut child = command.stdout(Stdio::from(std::io::stderr())).spawn().map_err(&io)?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(&io)? {
            break status;
        }
        // It does not go on alone.
        if interrupt.signal().is_some() {
            child.kill().and_then(|()| child.wait()).map_err(&io)?;
            interrupt.die();
        }
        std::thread::sleep(LOOK);
    };
    // A signal to all of a terminal's processes has ended it, too.
    if interrupt.signal().is_some() {
        interrupt.die();
    }
    interrupt.over();
    match status.success() {
        true => Ok((folder, true)),
        false => Err(CliError::file(&path, "expected a run that trains, found the error above")),
    }
}

/// Whether the model in a folder is of this file as it is now; columns that it does not know are told of.
fn check_kept(folder: &Path, data: &Path, options: &ReadOptions) -> Result<(), CliError> {
    let path = folder.join("run.toml");
    let run = Run::read(&path)?;
    let (shown, trained) = (folder.display(), run.data.path);
    if !is_same(&trained, data) {
        let data = data.display();
        let problem = format!(
            "data.path: expected {data}, found {}; move {shown} away to train anew, or use its model: `foretoken forecast {shown} {data}`",
            trained.display()
        );
        return Err(CliError::file(&path, problem));
    }
    let ReadOptions { format, id, time, target, hours, every, hold, dates, decimal, .. } = run.data.read;
    let options = &ReadOptions { format, id, time, target, hours, every, hold, dates, decimal, ..options.clone() };
    let (signal, audit) = read_series(data, options, numeric(data, options)?.0.as_deref())?;
    let made = std::fs::read_to_string(folder.join(RUN)).unwrap_or_default();
    if let Some(step) = made.lines().next().and_then(|line| line.split_once(EVERY)).map(|(_, step)| step)
        && step != audit.step
    {
        let problem = format!(
            "expected rows every {step}, as its model was trained on, found every {}; move {shown} away to train anew",
            audit.step
        );
        return Err(CliError::file(data, problem));
    }
    let known = names(&*load(folder)?);
    let unknown: Vec<&str> = signal.names.iter().filter(|name| !known.contains(name)).map(String::as_str).collect();
    // Of all columns it is told where they are read.
    if run.data.columns.is_some() && !unknown.is_empty() {
        remark!("not among the columns of {shown}, and not forecast: {}", unknown.join(", "));
    }
    Ok(())
}

/// Rows of so many that are kept from training, for validation as for test.
fn held_back(rows: usize, horizon: usize) -> usize {
    (rows * 15 / 100).max(horizon + horizon / 2 + 1)
}

/// Names of the columns that vary over the training rows.
fn learnable(signal: &Signal, horizon: usize) -> Vec<String> {
    let rows = signal.observed_len();
    let train = rows.saturating_sub(2 * held_back(rows, horizon));
    let varies = |column: &[f64]| {
        let mut present = column[..train].iter().filter(|value| !value.is_nan());
        present.next().is_some_and(|first| present.any(|value| value != first))
    };
    let columns = signal.names.iter().zip(&signal.columns);
    // With too few rows to train on there is another error.
    columns.filter(|(_, column)| train < 2 || varies(column)).map(|(name, _)| name.clone()).collect()
}

/// Samples in a season, 1 if there is none: what the stamps tell if the rows hold a few of it, else what the rows themselves show.
/// And those that structural maps have: what the stamps tell only if the rows show it, of a day and a week one of the two.
fn seasons_of(signal: &Signal, rows: usize) -> (usize, Vec<usize>) {
    // Of a day, and days of a week, for what is faster, of a week for days, of a year for weeks, months and quarters.
    let (told, days) = match (signal.stamps.months(), signal.step(), signal.stamps.each_day_and_week()) {
        _ if signal.stamps.are_counts() => (1, None),
        (Some(months), ..) if 12 % months == 0 => ((12 / months) as usize, None),
        (None, _, Some([1, days])) => (days, None),
        (None, _, Some([rows, days])) => (rows, Some(days).filter(|days| *days > 1)),
        (None, Some(step), _) if step < DAY && DAY % step == 0 => ((DAY / step) as usize, Some(7)),
        (None, Some(DAY), _) => (7, None),
        (None, Some(step), _) if step == 7 * DAY => (52, None),
        _ => (1, None),
    };
    let past = signal.slice(0..rows);
    if told > 1 && told * FEWEST_SEASONS <= rows {
        let week = days.map(|days| days * told);
        // Of days that differ most from one another the week alone may be alike.
        let shows_week = || week.is_some_and(|week| week * FEWEST_SEASONS <= rows && shows_season(&past, week));
        return match shows_season(&past, told) || shows_week() {
            true => (told, std::iter::once(told).chain(week).collect()),
            false => {
                if 2 * told <= LONGEST_MAP {
                    remark!(
                        "the training rows show no season of {told} samples above their noise: the linear expert's structural maps have none"
                    );
                }
                (told, Vec::new())
            }
        };
    }
    let found = seasons(&past);
    let why = if told > 1 { "they hold too little of the stamps' own" } else { "the stamps tell of none" };
    match found[..] {
        [season] => remark!("a season of {season} samples, which the training rows show: {why}"),
        [season, longer] => remark!("seasons of {season} and {longer} samples, which the training rows show: {why}"),
        _ => {}
    }
    (found.first().copied().unwrap_or(1), found)
}

/// Structural maps beside the ridge where there is no season or a look-back holds it twice: of that and of the longer one if a look-back holds it. They are a
/// map for every series, so of very many there are none.
fn structural(signal: &Signal, seasons: &[usize], lookback: usize, horizon: usize) -> String {
    let lookback = lookback.min(LONGEST_MAP);
    let weights = signal.names.len().saturating_mul(lookback).saturating_mul(horizon);
    if weights > MOST_WEIGHTS || seasons.first().is_some_and(|season| 2 * season > lookback) {
        return String::new();
    }
    let held: Vec<usize> = seasons.iter().copied().filter(|season| *season <= lookback).collect();
    format!(", structural = {{ lookbacks = [{lookback}], seasons = {held:?} }}")
}

/// Corrections of the linear expert, where there are several series, and rows to judge them on.
fn correction(signal: &Signal, known: usize, lookback: usize, horizon: usize) -> String {
    let series = signal.names.len();
    if series < 2 || known < lookback + HORIZONS * horizon + HORIZONS {
        return String::new();
    }
    let holds = |samples: usize| series.saturating_mul(samples).saturating_mul(horizon) <= MOST_WEIGHTS;
    let own = if holds(OWN) { OWN.min(lookback) } else { 0 };
    let across = if series <= MOST_ACROSS && holds(ACROSS) { (ACROSS / series).min(lookback) } else { 0 };
    match own.max(across) {
        0 => String::new(),
        _ => format!(", correction = {{ own = {own}, across = {across}, autoregression = {} }}", across > 0),
    }
}

/// The share of values that are missing in so many rows, from each series' first value to its last.
fn missing(signal: &Signal, rows: usize) -> f64 {
    // Nothing is missing of a series that has ended.
    let end = |column: &[f64]| column.iter().rposition(|value| !value.is_nan()).map_or(0, |last| rows.min(last + 1));
    let begun = || signal.columns.iter().flat_map(|column| column[..end(column)].iter().skip_while(|value| value.is_nan()));
    begun().filter(|value| value.is_nan()).count() as f64 / begun().count().max(1) as f64
}

/// The longer of two look-backs where a ridge with it errs so much less on the validation rows, else the shorter.
fn longer_if_it_pays(
    signal: &Signal,
    train: usize,
    held_back: usize,
    [shorter, longer]: [usize; 2],
    horizon: usize,
    season: usize,
) -> Result<usize, CliError> {
    let scale = Standardiser::fit(signal, 0..train)?;
    let of =
        |(column, (mean, deviation)): (&Values, (&f64, &f64))| column.iter().map(|value| (value - mean) / deviation).collect();
    let scales = scale.means.iter().zip(&scale.deviations);
    let columns: Vec<Vec<f64>> = signal.columns.iter().zip(scales).map(of).collect();
    let (rows, validation) = (0..train, train..train + held_back);
    let error = |lookback: usize| {
        let inputs = Inputs { season: Some(season).filter(|season| *season > 1), ..Inputs::samples(lookback) };
        let ridge = Ridge::fit(&columns, columns.len(), &rows, &validation, inputs, &[horizon], 0).ok()?;
        ridge.mean_square(&columns, validation.start..validation.end - horizon + 1, &(0..horizon))
    };
    let Some((short, long)) = error(shorter).zip(error(longer)) else { return Ok(shorter) };
    let gain = 1.0 - long / short;
    if gain > LONGER_PAYS {
        remark!(
            "a look-back of {longer} instead of {shorter} samples: a ridge with it errs {:.0}% less on the validation rows",
            100.0 * gain
        );
    }
    Ok(if gain > LONGER_PAYS { longer } else { shorter })
}

fn run(data: &Path, options: &ReadOptions, signal: &Signal, step: &str, horizon: usize) -> Result<String, CliError> {
    let rows = signal.observed_len();
    let held_back = held_back(rows, horizon);
    // From the first value on.
    let begun = signal.columns.iter().filter_map(|column| column.iter().position(|value| !value.is_nan())).min().unwrap_or(0);
    let train = rows.saturating_sub(2 * held_back);
    let (known, needed) = (train.saturating_sub(begun), horizon + WINDOW);
    if known < needed {
        let of =
            if begun == 0 { format!("{rows}") } else { format!("{}, without the {begun} before the first value", rows - begun) };
        let problem = format!(
            "expected at least {} rows, {needed} to train on and {} held back, found {of}",
            needed + 2 * held_back,
            2 * held_back
        );
        return Err(CliError::file(data, problem));
    }
    let (season, seasons) = seasons_of(signal, train);
    let most = known - horizon - FEWEST_WINDOWS;
    // A longer season that the rows show is held, as a week, and a day of the one before it.
    let week = match seasons[..] {
        [day, week] if day + week <= LONGEST_MAP && shows_longer(&signal.slice(0..train), day, week) => day + week,
        _ => 0,
    };
    let bounded = |samples: usize| samples.max(2 * season).min((2 * season).max(512)).max(week).min(most);
    let (quarter, series) = (bounded(known / 4), signal.names.len());
    // Several columns have more windows to learn from.
    let longer = bounded((known * series / (series + 3)).min(known / 2));
    let lookback = match longer > quarter && held_back >= FEWEST_FOR_LONGER {
        true => longer_if_it_pays(signal, train, held_back, [quarter, longer], horizon, season)?,
        false => quarter,
    };
    let taps = lookback.min(MOST_TAPS);
    let path = std::path::absolute(data).map_err(CliError::io(data))?;
    let path = toml::Value::String(path.display().to_string());
    let missing = missing(signal, train);
    let most = 1.0 - 1.0 / ONE_THERE_OF as f64;
    let whole = |part: Range<usize>| whole_windows(&signal.columns, &part, lookback, horizon);
    let (learned, validated) = (whole(0..train), whole(train..train + held_back));
    // What one outage takes leaves the other windows whole.
    let linear = if missing > most && learned < WHOLE {
        let (found, most) = (100.0 * missing, 100.0 * most);
        remark!(
            "no linear expert: {found:.0}% of the training rows' values are missing, and its windows may lack at most {most:.0}%"
        );
        String::new()
    } else if learned == 0.0 || validated == 0.0 {
        let most = 100.0 * most;
        remark!(
            "no linear expert: every window of the training or of the validation rows lacks more than {most:.0}% of its values"
        );
        String::new()
    } else {
        // Near steps ask for other strengths than far ones, where enough rows tell.
        let mut cuts = if held_back < FEWEST_FOR_CUTS { Vec::new() } else { vec![1, horizon / 6] };
        cuts.dedup();
        cuts.retain(|cut| (1..horizon).contains(cut));
        let structural = structural(signal, &seasons, lookback, horizon);
        let correction = correction(signal, known, lookback, horizon);
        format!("linear = {{ lookback = {lookback}, cuts = {cuts:?}{structural}{correction} }}\n")
    };
    let mut format = String::new();
    if options.format == Format::Long {
        format.push_str("format = \"long\", ");
    }
    if options.format == Format::Long && !is_named(options) {
        let names = |names: &Names| toml::Value::try_from(names).map_or_else(|_| String::new(), |names| names.to_string());
        let (id, time, target) = (names(&options.id), names(&options.time.as_str().into()), names(&options.target));
        format.push_str(&format!("id = {id}, time = {time}, target = {target}, "));
    }
    for (key, step) in [("every", options.every), ("hold", options.hold)] {
        if let Some(step) = step {
            format.push_str(&format!("{key} = \"{step}\", "));
        }
    }
    let jumps = !linear.is_empty();
    let columns = toml::Value::Array(signal.names.iter().cloned().map(toml::Value::String).collect());
    Ok(format!(
        "# Made by `foretoken forecast` for {horizon} steps, {rows} rows of {} series{EVERY}{step}\n\n\
         [data]\npath = {path}\nsplit = {{ last = [{held_back}, {held_back}] }}\nseason = {season}\nbounds = true\njumps = {jumps}\nread = {{ {format}outliers = \"glitches\" }}\n\
         columns = {columns}\n\n\
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
    fn a_file_whose_windows_lack_too_much_has_no_linear_expert() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let lines = |is_there: &dyn Fn(i64) -> bool| {
            let value = |day: i64| if is_there(day) { (day % 5).to_string() } else { String::new() };
            (0..900).map(|day| format!("{day},{}\n", value(day))).collect::<String>()
        };
        // The last has no validation rows, which are 630 to 764.
        for (lines, expected) in [
            (lines(&|_| true), true),
            (lines(&|day| day % 3 == 0), true),
            (lines(&|day| day % 25 == 0), false),
            (lines(&|day| !(630..765).contains(&day)), false),
        ] {
            std::fs::write(&path, format!("ds,a\n{lines}")).unwrap();
            let options = ReadOptions::default();
            let (signal, _) = read_series(&path, &options, None).unwrap();
            let run = run(&path, &options, &signal, "1", 5).unwrap();
            assert_eq!(run.contains("linear = {"), expected, "{run}");
            assert_eq!(run.contains("cuts = [1]"), expected, "{run}");
        }
    }

    #[test]
    fn structural_maps_have_the_seasons_that_rows_show_and_a_look_back_holds() {
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
            // A week is not what days in 24 show.
            (lines(&days, 28), Some("lookbacks = [4], seasons = [] }")),
            (lines(&days, 300), Some("lookbacks = [52], seasons = [] }")),
            (lines(&numbers, 600), Some("lookbacks = [105], seasons = [24] }")),
            (lines(&|row| (2 * row).to_string(), 600), Some("lookbacks = [105], seasons = [24] }")),
            (lines(&numbers, 70), Some("lookbacks = [12], seasons = [] }")),
        ] {
            std::fs::write(&path, format!("ds,a\n{lines}")).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            let linear = structural(&signal, &seasons_of(&signal, signal.len()).1, lines.lines().count() * 7 / 10 / 4, 8);
            assert_eq!(structural(&signal, &seasons_of(&signal, signal.len()).1, 512, 1 << 20), "", "more weights than that");
            assert_eq!(linear.split_once("structural = { ").map(|(_, maps)| maps), expected, "{linear}");
        }
    }

    #[test]
    fn several_columns_have_a_longer_look_back_where_it_pays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        // Numbers that come again after 200 rows, or never.
        let uniform = |at: usize| (at * 7919 % 1009 * (at + 7) % 1009) as f64 / 1009.0;
        let hour = |row: usize| format!("2024-01-{:02} {:02}:00:00", 1 + row / 24, row % 24);
        for (columns, every, expected) in [(6, 200, 261), (6, 1000, 130), (1, 200, 130), (2, 200, 208)] {
            let row = |row: usize| {
                let value =
                    |column: usize| format!(",{:.3}", uniform(row % every + 1009 * column) + uniform(row + 31 * column) / 9.0);
                format!("{}{}\n", hour(row), (0..columns).map(value).collect::<String>())
            };
            let names: String = (0..columns).map(|column| format!(",c{column}")).collect();
            std::fs::write(&path, format!("ds{names}\n{}", (0..744).map(row).collect::<String>())).unwrap();
            let options = ReadOptions::default();
            let (signal, _) = read_series(&path, &options, None).unwrap();
            let run = run(&path, &options, &signal, "1 h", 12).unwrap();
            assert!(run.contains(&format!("linear = {{ lookback = {expected},")), "{columns} {every}: {run}");
        }
    }

    #[test]
    fn few_rows_have_look_backs_of_two_seasons() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.csv");
        let of_rows = |rows: usize| {
            let month = |row: usize| format!("{}-{:02}-01,{}\n", 2000 + row / 12, 1 + row % 12, row % 12);
            std::fs::write(&path, format!("ds,a\n{}", (0..rows).map(month).collect::<String>())).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            run(&path, &ReadOptions::default(), &signal, "1 mo", 12)
        };
        let seven_years = of_rows(84).unwrap();
        assert!(seven_years.contains("lookbacks = [24], seasons = [12] }"), "{seven_years}");
        let longer = of_rows(240).unwrap();
        assert!(longer.contains("lookbacks = [42], seasons = [12] }"), "{longer}");
        let fewest = of_rows(82).unwrap();
        assert!(fewest.contains("lookbacks = [24], seasons = [12] }"), "{fewest}");
        let error = of_rows(81).unwrap_err().to_string();
        assert!(error.contains("expected at least 82 rows, 44 to train on and 38 held back, found 81"), "{error}");
    }

    #[test]
    fn seasons_are_the_calendars() {
        for (months, expected) in [(1, 12), (3, 4), (12, 1), (5, 1)] {
            let stamp = |row: usize| format!("{}-{:02}-01,{row}\n", 1900 + months * row / 12, 1 + months * row % 12);
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("data.csv");
            std::fs::write(&path, format!("ds,a\n{}", (0..120).map(stamp).collect::<String>())).unwrap();
            let (signal, _) = read_series(&path, &ReadOptions::default(), None).unwrap();
            assert_eq!(seasons_of(&signal, signal.len()).0, expected, "{months} months");
        }
    }
}
