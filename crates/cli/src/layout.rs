//! How the file of `forecast DATA` is laid out, which nobody says.

use crate::{error::CliError, run::read_series, say::remark};
use foretoken_data::{Audit, DataError, Format, Layout, Names, ReadOptions, Signal, layout, numeric_columns};
use std::path::Path;

/// How a file is read, and what it holds.
pub type Read = (ReadOptions, (Signal, Audit));

/// What a file holds, as a long one where its rows are of more than one series, or where it is refused as a wide one and can be read so. Rows on no grid are averaged.
pub fn laid_out(data: &Path, options: &ReadOptions) -> Result<Read, CliError> {
    let long = |layout: &Layout| {
        let Layout { id, time, target, .. } = layout.clone();
        let (own, signal) = averaged(data, &ReadOptions { format: Format::Long, id, time, target, ..options.clone() }, None)?;
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
    let refused = match read_series(data, options, numeric.as_deref()) {
        Ok(signal) => {
            tell_left_out("they hold no numbers", &others);
            return Ok((options.clone(), signal));
        }
        Err(error) => error,
    };
    if let Some(read) = layout(data, options, true).iter().flatten().find_map(|layout| long(layout).ok()) {
        return Ok(read);
    }
    if let CliError::Data(DataError::Irregular { every: Some(_), .. }) = refused {
        let read = averaged(data, options, numeric.as_deref())?;
        tell_every(&read.0);
        tell_left_out("they hold no numbers", &others);
        return Ok(read);
    }
    Err(refused)
}

/// What a file holds, rows averaged over a step that most of have rows where they are on no grid.
fn averaged(data: &Path, options: &ReadOptions, columns: Option<&[String]>) -> Result<Read, CliError> {
    match read_series(data, options, columns) {
        Err(CliError::Data(DataError::Irregular { every: Some(every), .. })) => {
            let options = ReadOptions { every: Some(every), ..options.clone() };
            let signal = read_series(data, &options, columns)?;
            Ok((options, signal))
        }
        read => Ok((options.clone(), read?)),
    }
}

fn tell_every(options: &ReadOptions) {
    if let Some(every) = options.every {
        remark!("stamps are on no grid: rows are means of what comes within every {every}");
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
