//! How the file of `forecast DATA` is laid out, which nobody says.

use crate::{error::CliError, run::read_series, say::remark};
use foretoken_data::{Audit, DataError, Format, Layout, Names, ReadOptions, Signal, Steps, layout, numeric_columns};
use std::path::Path;

/// How a file is read, and what it holds.
pub type Read = (ReadOptions, (Signal, Audit));

/// What a file holds, as a long one where its rows are of more than one series, or where it is refused as a wide one and can be read so. Rows on no grid are averaged.
pub fn laid_out(data: &Path, options: &ReadOptions) -> Result<Read, CliError> {
    let long = |layout: &Layout| {
        let Layout { id, time, target, .. } = layout.clone();
        let own = ReadOptions { format: Format::Long, id, time, target, ..options.clone() };
        let (own, signal) = averaged(data, &own, None, read_series(data, &own, None))?;
        tell(layout, &own);
        Ok((own, signal))
    };
    if let Some(layout) = layout(data, options, false)?.first() {
        return long(layout);
    }
    let (numeric, others) = match numeric(data, options) {
        Ok(columns) => columns,
        Err(error) => {
            return layout(data, options, true).iter().flatten().find_map(|layout| long(layout).ok()).ok_or(error);
        }
    };
    let read = read_series(data, options, numeric.as_deref());
    if read.is_err()
        && let Some(read) = layout(data, options, true).iter().flatten().find_map(|layout| long(layout).ok())
    {
        return Ok(read);
    }
    let read = averaged(data, options, numeric.as_deref(), read)?;
    tell_every(&read.0);
    tell_left_out("they hold no numbers", &others);
    Ok(read)
}

/// What a file holds that was read so, rows averaged over a step where they are on no grid, and of what lasts where values are told when they change.
fn averaged(
    data: &Path,
    options: &ReadOptions,
    columns: Option<&[String]>,
    read: Result<(Signal, Audit), CliError>,
) -> Result<Read, CliError> {
    let steps = match &read {
        Ok((_, audit)) => audit.changes,
        Err(CliError::Data(DataError::Irregular { steps, .. })) => *steps,
        Err(_) => None,
    };
    let Some(Steps { every, hold }) = steps else { return Ok((options.clone(), read?)) };
    let options = ReadOptions { every: Some(every), hold, ..options.clone() };
    let read = read_series(data, &options, columns)?;
    Ok((options, read))
}

fn tell_every(options: &ReadOptions) {
    match (options.every, options.hold) {
        (Some(every), Some(hold)) => {
            remark!(
                "values are told when they change: each lasts until the next, at most for {hold}, and rows are means over every {every}"
            );
        }
        (Some(every), None) => remark!("stamps are on no grid: rows are means of what comes within every {every}"),
        (None, _) => {}
    }
}

/// Tells which columns are what, unless their names do.
fn tell(layout: &Layout, options: &ReadOptions) {
    tell_every(options);
    if is_named(options) {
        return;
    }
    let quoted = |names: &Names| names.0.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
    let (id, target) = (quoted(&layout.id), quoted(&layout.target));
    remark!("a row a series and stamp: series are told apart by {id}, stamps are `{}`, values {target}", layout.time);
    tell_left_out("they are the same in all rows of a series or of a stamp, or number the rows", &layout.fixed);
    tell_left_out("they hold no numbers, or tell no more", &layout.others);
}

fn tell_left_out(why: &str, names: &[String]) {
    if !names.is_empty() {
        remark!("left out, since {why}: {}", names.join(", "));
    }
}

/// Whether a long file's columns have the names that they have if none are told.
pub fn is_named(options: &ReadOptions) -> bool {
    let ReadOptions { id, time, target, .. } = ReadOptions::default();
    (&options.id, &options.time, &options.target) == (&id, &time, &target)
}

/// The columns with numbers where there are others, and these.
pub fn numeric(data: &Path, options: &ReadOptions) -> Result<(Option<Vec<String>>, Vec<String>), CliError> {
    if options.format == Format::Long {
        return Ok((None, Vec::new()));
    }
    let (numeric, others) = numeric_columns(data, options)?;
    // Where there is no number at all, the first of them is an error.
    Ok(if others.is_empty() || numeric.is_empty() { (None, Vec::new()) } else { (Some(numeric), others) })
}
