//! Tables for people.

use crate::{
    error::CliError,
    run::Prepared,
    say::say,
    score::{ByHorizon, Rows},
};
use comfy_table::{CellAlignment, Table, presets};
use foretoken_data::Audit;
use foretoken_eval::Scores;
use foretoken_model::{Bounds, Column};
use std::collections::BTreeMap;

/// A mean squared error of standardised values that is none but rounding's.
const NOTHING: f64 = 1e-12;

/// A number with four digits behind the point, or in powers of ten where that would show none of it or too much.
pub fn figure(value: f64) -> String {
    if value == 0.0 || !value.is_finite() || (1e-4..1e6).contains(&value.abs()) {
        format!("{value:.4}")
    } else {
        format!("{value:.3e}")
    }
}

/// So many of what has this name.
pub fn count(number: u64, name: &str) -> String {
    format!("{number} {name}{}", if number == 1 { "" } else { "s" })
}

/// Says where the model is behind its baselines at the longest horizon, of errors of the same values.
pub fn behind(scored: &ByHorizon) -> Option<String> {
    let (horizon, rows) = scored.last()?;
    let of = |wanted: &str| rows.iter().find(|(name, _)| name == wanted).map(|(_, scores)| scores);
    let model = of("model")?;
    let line = |(name, what): (&str, &str)| {
        let baseline = of(name).filter(|baseline| baseline.unforecast == model.unforecast && baseline.mse > NOTHING)?;
        let above = 100.0 * (model.mse / baseline.mse - 1.0);
        (above >= 0.1).then(|| format!("{above:.1}% above {what}"))
    };
    let lines: Vec<String> =
        [("ridge", "the ridge's"), ("seasonal-naive", "the seasonal naive forecast's")].into_iter().filter_map(line).collect();
    (!lines.is_empty())
        .then(|| format!("behind: at {horizon} steps the model's squared error on the test rows is {}", lines.join(", ")))
}

/// How much less each errs in squares than the seasonal naive forecast, of those that are scored on the same values as that, where it errs at all.
pub fn skills(rows: &Rows) -> BTreeMap<String, f64> {
    let floor =
        rows.iter().find(|(name, _)| name == "seasonal-naive").map(|(_, scores)| scores).filter(|floor| floor.mse > NOTHING);
    let of = |(name, scores): &(String, Scores)| {
        let floor = floor.filter(|floor| floor.unforecast == scores.unforecast)?;
        Some((name.clone(), 1.0 - scores.mse / floor.mse)).filter(|(_, skill)| skill.is_finite())
    };
    rows.iter().filter_map(of).collect()
}

/// Scores as a table, with the skill against the seasonal naive forecast if it is among them.
pub fn scores(rows: &Rows) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "MSE", "MAE", "MASE", "WQL", "cover 80%", "cover 95%", "skill"]);
    let skills = skills(rows);
    for (name, scores) in rows {
        let figures = [scores.mse, scores.mae, scores.mase, scores.wql].map(figure);
        let [mse, mae, mase, wql] = figures;
        let cover = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        let skill = skills.get(name).map_or("-".into(), |skill| format!("{:+.1}%", 100.0 * skill));
        table.add_row([name.clone(), mse, mae, mase, wql, cover(scores.coverage_80), cover(scores.coverage_95), skill]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Prints scores at every horizon; `rows` says which.
pub fn show(scored: &ByHorizon, rows: &str, columns: usize) -> Result<(), CliError> {
    for (horizon, scores) in scored {
        let windows = scores.first().map_or(0, |(_, scores)| scores.windows_of_one());
        let (windows, of) = (count(windows, "window"), count(columns as u64, "column"));
        say!("{rows}, {}, {windows} of {of}:\n{}", count(*horizon as u64, "step"), self::scores(scores))?;
        for (name, scores) in scores.iter().filter(|(_, scores)| scores.unforecast > 0) {
            let count = scores.unforecast;
            say!("{name} had no forecast for {count} values, which are in none of its scores, but in those of others")?;
        }
    }
    Ok(())
}

/// What was found in a file.
pub fn audit(audit: &Audit) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["found", "count", "where", "done"]);
    audit.lines().into_iter().for_each(|line| _ = table.add_row(line));
    table
}

/// Prints what was found in the files of a run, if there is anything to say; before that of a further one stands its name.
pub fn show_audits(data: &Prepared) -> Result<(), CliError> {
    show_audit("", &data.audit)?;
    data.also.iter().try_for_each(|also| show_audit(&format!("{}: ", also.path.display()), &also.audit))
}

/// Prints which series are kept within what, if any is.
pub fn show_bounds(columns: &[Column]) -> Result<(), CliError> {
    let of = |column: &Column| (!column.bounds.is_empty()).then(|| column.bounds.to_string());
    show_series(columns, of, "forecasts are kept within", "their lowest or highest value")
}

/// Prints beyond what a stream takes samples for glitches, if there is any such limit.
pub fn show_limits(columns: &[Column]) -> Result<(), CliError> {
    let of = |column: &Column| (!column.limits.is_empty()).then(|| limits(column.limits));
    show_series(columns, of, "a live sample is a glitch beyond", "their limits")
}

/// Prints beyond what an error of the next sample is a jump that is followed, if any is.
pub fn show_jumps(columns: &[Column]) -> Result<(), CliError> {
    let of = |column: &Column| column.jump.map(|jump| figure(jump.limit * jump.scale * column.deviation));
    show_series(columns, of, "a jump is followed where the next sample is off by more than about", "their limits")
}

/// Prints what is said of some series, of many of them in `short`.
fn show_series(columns: &[Column], of: impl Fn(&Column) -> Option<String>, what: &str, short: &str) -> Result<(), CliError> {
    let each: Vec<String> = columns.iter().filter_map(|column| Some(format!("{} {}", column.name, of(column)?))).collect();
    match each.len() {
        0 => Ok(()),
        1..=SERIES => say!("{what}: {}", each.join(", ")),
        count => say!("{what}: {count} series of {}, {short}", columns.len()),
    }
}

/// Limits, to a few digits.
pub fn limits(limits: Bounds) -> String {
    let [lowest, highest] = [limits.lowest, limits.highest].map(|limit| limit.map_or("any".into(), figure));
    format!("{lowest} to {highest}")
}

fn show_audit(before: &str, found: &Audit) -> Result<(), CliError> {
    if found.is_clean() {
        return Ok(());
    }
    say!("{before}{} rows of {} series, every {}:\n{}", found.rows, found.series, found.step, audit(found))
}

/// Most lines of a table by series.
const SERIES: usize = 20;
/// Lines of a table by step.
const BLOCKS: usize = 8;

fn beside(first: &str, rows: &Rows, lines: impl Iterator<Item = (String, Vec<f64>)>) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header([first].into_iter().chain(rows.iter().map(|(name, _)| name.as_str())));
    for (name, values) in lines {
        table.add_row([name].into_iter().chain(values.into_iter().map(figure)));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Mean squared errors by series; of many, those where the first forecaster errs most.
pub fn by_series(rows: &Rows, names: &[String]) -> Table {
    let error = |forecaster: usize, column: usize| rows[forecaster].1.by_column[column].mse;
    let mut order: Vec<usize> = (0..names.len()).collect();
    if names.len() > SERIES {
        // Those without an error, NaN, last.
        let key = |column: usize| Some(error(0, column)).filter(|error| !error.is_nan()).unwrap_or(f64::NEG_INFINITY);
        order.sort_by(|&a, &b| key(b).total_cmp(&key(a)));
        order.truncate(SERIES);
    }
    let line = |column: usize| (names[column].clone(), (0..rows.len()).map(|forecaster| error(forecaster, column)).collect());
    let title = if names.len() > SERIES { format!("MSE, worst {SERIES} of {}", names.len()) } else { "MSE by series".into() };
    beside(&title, rows, order.into_iter().map(line))
}

/// Mean squared errors by blocks of steps.
pub fn by_step(rows: &Rows) -> Table {
    let horizon = rows.first().map_or(0, |(_, scores)| scores.mse_by_step.len());
    let block = horizon.div_ceil(BLOCKS).max(1);
    let line = |start: usize| {
        let end = horizon.min(start + block);
        // Of steps without a truth there is none.
        let mean = |steps: &[f64]| {
            let known: Vec<f64> = steps.iter().copied().filter(|error| !error.is_nan()).collect();
            known.iter().sum::<f64>() / known.len() as f64
        };
        let name = if end - start == 1 { end.to_string() } else { format!("{} to {end}", start + 1) };
        (name, rows.iter().map(|(_, scores)| mean(&scores.mse_by_step[start..end])).collect())
    };
    beside("MSE by step", rows, (0..horizon).step_by(block).map(line))
}

/// Seconds as minutes and seconds.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { format!("{}:{:02} min", seconds as u64 / 60, seconds as u64 % 60) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_eval::ScoreBoard;

    const NAN: f64 = f64::NAN;

    /// Scores of two columns, the second without a truth, of forecasts that are so far off; NaN is no forecast.
    fn scored(errors: [f64; 2]) -> foretoken_eval::Scores {
        let mut board = ScoreBoard::new(2, &[0.5], &[1.0, 1.0]);
        board.add(0, &[1.0, 1.0], errors.into_iter().map(|error| 1.0 + error), &errors.map(|error| 1.0 + error));
        board.add(0, &[1.0, NAN], errors.into_iter().map(|error| 1.0 + error), &errors.map(|error| 1.0 + error));
        board.add(1, &[NAN, NAN], errors.into_iter(), &errors);
        board.scores()
    }

    #[test]
    fn skill_is_of_the_same_values_and_a_naive_forecast_that_errs() {
        let skill = |own: [f64; 2], naive: [f64; 2]| {
            let rows = vec![("model".to_string(), scored(own)), ("seasonal-naive".to_string(), scored(naive))];
            let line = scores(&rows).lines().find(|line| line.contains("model")).unwrap_or_default();
            line.split_whitespace().last().unwrap_or_default().to_string()
        };
        assert_eq!(skill([1.0, 1.0], [2.0, 2.0]), "+75.0%");
        assert_eq!(skill([1.0, NAN], [2.0, 2.0]), "-");
        assert_eq!(skill([1.0, 1.0], [0.0, 0.0]), "-");
        assert_eq!(skill([0.0, 0.0], [0.0, 0.0]), "-");
    }

    #[test]
    fn numbers_show_their_digits_whatever_their_size() {
        for (value, expected) in [
            (0.0, "0.0000"),
            (0.25, "0.2500"),
            (-3e-15, "-3.000e-15"),
            (12345.0, "12345.0000"),
            (1.5e38, "1.500e38"),
            (NAN, "NaN"),
        ] {
            assert_eq!(figure(value), expected);
        }
        assert_eq!((count(1, "row"), count(0, "row")), ("1 row".into(), "0 rows".into()));
    }

    #[test]
    fn a_model_behind_its_baselines_is_told_of() {
        let said = |model: [f64; 2], ridge: [f64; 2], naive: [f64; 2]| {
            let rows = [("model", model), ("ridge", ridge), ("seasonal-naive", naive)];
            behind(&vec![(2, rows.map(|(name, errors)| (name.to_string(), scored(errors))).to_vec())])
        };
        assert_eq!(said([1.0, 1.0], [1.0, 1.0], [2.0, 2.0]), None);
        let line = said([2.0, 2.0], [1.9, 1.9], [1.0, 1.0]).unwrap_or_default();
        assert!(line.ends_with("is 10.8% above the ridge's, 300.0% above the seasonal naive forecast's"), "{line}");
        // Of other values, or of none but rounding's.
        assert_eq!(said([2.0, 2.0], [1.0, NAN], [1e-9, 1e-9]), None);
    }

    #[test]
    fn what_has_no_truth_hides_nothing() {
        assert_eq!(scored([1.0, 1.0]).windows_of_one(), 2);
        // As many columns without a truth as there are lines, and one with.
        let mut scores = scored([1.0, 3.0]);
        scores.by_column = [vec![scores.by_column[1].clone(); SERIES + 4], vec![scores.by_column[0].clone()]].concat();
        let names: Vec<String> = (0..SERIES + 5).map(|column| format!("c{column}")).collect();
        let rows = vec![("model".to_string(), scores)];
        assert!(by_series(&rows, &names).to_string().contains(&format!(" c{} ", SERIES + 4)));
        let mut scores = scored([1.0, 3.0]);
        scores.mse_by_step = [vec![NAN, 4.0], vec![1.0; 14]].concat();
        let table = by_step(&vec![("model".to_string(), scores)]).to_string();
        assert!(table.contains("1 to 2") && table.contains("4.0000") && !table.contains("NaN"), "{table}");
    }
}
