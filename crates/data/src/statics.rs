//! What does not change with time, from a file with one line a series.

use crate::{
    DataError, Decimal, Names, Static, number,
    table::{Table, fault},
};
use std::{collections::HashMap, path::Path};

/// What stands between the fields that name a series together.
const BETWEEN: &str = "/";

/// The name that fields give; those that are empty say nothing.
pub(crate) fn joined<'a>(fields: impl Iterator<Item = &'a str>) -> String {
    fields.filter(|field| !field.is_empty()).collect::<Vec<_>>().join(BETWEEN)
}

/// The name of a series, by its id and the column of its values; that alone where there is one such column.
pub(crate) fn series_name(id: &str, column: &str, columns: usize) -> String {
    if columns > 1 { joined([id, column].into_iter()) } else { id.into() }
}

/// Reads the statics of the ids that series have, in their order. Lines of other ids are passed over.
///
/// # Errors
/// An unreadable file, no column `id`, an id with no line or two, or a field that is not a finite number.
pub(crate) fn read(path: &Path, decimal: Option<Decimal>, id: &Names, ids: &[String]) -> Result<Vec<Static>, DataError> {
    let table = Table::open(path, decimal)?;
    let header = table.header();
    header.check_values(path)?;
    let named = id.0.iter().map(|name| header.place(path, name, 0)).collect::<Result<Vec<_>, _>>()?;
    let columns = || (0..header.names.len()).filter(|column| !named.contains(column));
    let mut found: HashMap<&str, Option<Vec<f64>>> = ids.iter().map(|id| (id.as_str(), None)).collect();
    let all: Vec<usize> = (0..header.names.len()).collect();
    let mut lines = table.rows(&all)?;
    while let Some(line) = lines.advance()? {
        let fields: Vec<String> = named.iter().map(|&column| lines.field(column).text().into_owned()).collect();
        let Some(row) = found.get_mut(joined(fields.iter().map(String::as_str)).as_str()) else { continue };
        if row.is_some() {
            return Err(header.field(line, named[0], "one line a series", lines.field(named[0])));
        }
        let value = |column| {
            let field = lines.field(column);
            field.finite().ok_or_else(|| header.field(line, column, number::NUMBER, field))
        };
        *row = Some(columns().map(value).collect::<Result<_, _>>()?);
    }
    let rows = ids.iter().map(|id| {
        let row = found.get(id.as_str()).and_then(Option::as_ref);
        row.ok_or_else(|| fault(path, format!("a line for series `{id}`"), "none"))
    });
    let rows = rows.collect::<Result<Vec<_>, _>>()?;
    let values = |at: usize| rows.iter().map(|row| row[at]).collect();
    Ok(columns().enumerate().map(|(at, column)| Static { name: header.names[column].clone(), values: values(at) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> Result<Vec<Static>, DataError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        super::read(file.path(), None, &"unique_id".into(), &["b".into(), "a".into()])
    }

    #[test]
    fn statics_come_in_the_order_of_the_series() {
        let statics = read("area,unique_id,height\n1,a,2\n0,other,x\n3,b,4\n").expect("reads");
        let expected = [("area", vec![3.0, 1.0]), ("height", vec![4.0, 2.0])];
        assert_eq!(statics, expected.map(|(name, values)| Static { name: name.into(), values }));
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        for (text, expected) in [
            ("id,x\na,1\n", "expected a column `unique_id`, found id, x"),
            ("unique_id,x\na,1\n", "expected a line for series `b`, found none"),
            ("unique_id,x\na,1\na,2\n", ":3: column `unique_id`: expected one line a series, found `a`"),
            ("unique_id,x\na,\n", ":2: column `x`: expected a finite number, found ``"),
            ("unique_id,x\na,1,2\n", ":2: expected 2 fields, found 3"),
        ] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
    }
}
