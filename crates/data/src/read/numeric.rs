//! Which columns hold numbers, so that others can be left out.

use super::Roles;
use crate::{
    DataError, ReadOptions, number,
    table::{Field, Table},
};
use std::path::Path;

/// The names of the value columns that hold numbers and of those that hold none, as text and truths are none, in the order of the file: a column holds numbers
/// if a field of it is a finite one, or one to its writer (`1,234.5`, which reading refuses), or all are missing. Of a wide file they are the series; of a long one its columns of values. Stamps are not looked at.
///
/// # Errors
/// An unreadable file, a header or options that do not fit it, ragged rows above the one where that is known of all columns.
pub fn numeric_columns(path: &Path, options: &ReadOptions) -> Result<(Vec<String>, Vec<String>), DataError> {
    options.check()?;
    let table = Table::open(path, options.decimal)?;
    let roles = Roles::find(path, &table, options)?;
    let mut values = roles.targets;
    values.sort_unstable();
    // Columns that have fields, but no number; of a column of columns none can be asked for.
    let mut others: Vec<bool> = (0..table.header().names.len()).map(|column| !table.has_fields(column)).collect();
    let mut open: Vec<usize> = values.iter().copied().filter(|&column| !others[column]).collect();
    let mut rows = table.rows(&open)?;
    while !open.is_empty() && rows.advance()?.is_some() {
        open.retain(|&column| {
            let field = rows.field(column);
            // One that is a number to its writer is not passed over: reading refuses it.
            let is_number = field.finite().is_some()
                || matches!(field, Field::Comma(_))
                || matches!(field, Field::Text(text) if number::is_nearly(text));
            others[column] = !is_number && (others[column] || field.finite_or_missing().is_none());
            !is_number
        });
    }
    let names = |other: bool| {
        let own = values.iter().filter(|&&column| others[column] == other);
        own.map(|&column| table.header().names[column].clone()).collect()
    };
    Ok((names(false), names(true)))
}
