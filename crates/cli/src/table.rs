//! Tables for people.

use crate::{
    error::CliError,
    run::Prepared,
    say::say,
    score::{ByHorizon, Rows},
};
use comfy_table::{CellAlignment, Table, presets};
use foretoken_data::Audit;

/// Scores as a table, with the skill against the seasonal naive forecast if it is among them.
pub fn scores(rows: &Rows) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(["", "MSE", "MAE", "MASE", "WQL", "cover 80%", "cover 95%", "skill"]);
    let floor = rows.iter().find(|(name, _)| name == "seasonal-naive").map(|(_, scores)| scores.mse);
    for (name, scores) in rows {
        let figures = [scores.mse, scores.mae, scores.mase, scores.wql].map(|value| format!("{value:.4}"));
        let [mse, mae, mase, wql] = figures;
        let cover = |share: Option<f64>| share.map_or("-".into(), |share| format!("{:.1}%", 100.0 * share));
        let skill = floor.map_or("-".into(), |floor| format!("{:+.1}%", 100.0 * (1.0 - scores.mse / floor)));
        table.add_row([name.clone(), mse, mae, mase, wql, cover(scores.coverage_80), cover(scores.coverage_95), skill]);
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Prints scores at every horizon; `rows` says which.
pub fn show(scored: &ByHorizon, rows: &str, columns: usize) -> Result<(), CliError> {
    for (horizon, scores) in scored {
        let windows = scores.first().map_or(0, |(_, scores)| scores.windows) / columns.max(1) as u64;
        say!("{rows}, {horizon} steps, {windows} windows of {columns} columns:\n{}", self::scores(scores))?;
        for (name, scores) in scores.iter().filter(|(_, scores)| scores.unforecast > 0) {
            say!("{name} had no forecast for {} values, which are in none of its scores", scores.unforecast)?;
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
        table.add_row([name].into_iter().chain(values.into_iter().map(|value| format!("{value:.4}"))));
    }
    table.column_iter_mut().skip(1).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    table
}

/// Mean squared errors by series; of many, those where the first forecaster errs most.
pub fn by_series(rows: &Rows, names: &[String]) -> Table {
    let error = |forecaster: usize, column: usize| rows[forecaster].1.by_column[column].mse;
    let mut order: Vec<usize> = (0..names.len()).collect();
    if names.len() > SERIES {
        order.sort_by(|&a, &b| error(0, b).total_cmp(&error(0, a)));
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
        let mean = |steps: &[f64]| steps.iter().sum::<f64>() / steps.len() as f64;
        let name = if end - start == 1 { end.to_string() } else { format!("{} to {end}", start + 1) };
        (name, rows.iter().map(|(_, scores)| mean(&scores.mse_by_step[start..end])).collect())
    };
    beside("MSE by step", rows, (0..horizon).step_by(block).map(line))
}

/// Seconds as minutes and seconds.
pub fn duration(seconds: f64) -> String {
    if seconds < 60.0 { format!("{seconds:.0} s") } else { format!("{}:{:02} min", seconds as u64 / 60, seconds as u64 % 60) }
}
