//! What does not change with time, from a file with one line a series.

use crate::{
    DataError, Decimal, Static, number,
    table::{Table, fault},
};
use std::path::Path;

/// Reads the statics of `series`, in their order. Lines of other series are passed over.
///
/// # Errors
/// An unreadable file, no column `id`, a series with no line or two, or a field that is not a finite number.
pub(crate) fn read(path: &Path, decimal: Option<Decimal>, id: &str, series: &[String]) -> Result<Vec<Static>, DataError> {
    let table = Table::open(path, decimal)?;
    let header = table.header();
    header.check_values(path)?;
    let id = header.place(path, id, 0)?;
    let columns = || (0..header.names.len()).filter(|&column| column != id);
    let mut rows: Vec<Option<Vec<f64>>> = vec![None; series.len()];
    let places: std::collections::HashMap<&str, usize> =
        series.iter().enumerate().map(|(place, name)| (name.as_str(), place)).collect();
    let all: Vec<usize> = (0..header.names.len()).collect();
    let mut lines = table.rows(&all)?;
    while let Some(line) = lines.advance()? {
        let name = lines.field(id);
        let Some(&place) = places.get(&*name.text()) else { continue };
        if rows[place].is_some() {
            return Err(header.field(line, id, "one line a series", name));
        }
        let value = |column| {
            let field = lines.field(column);
            field.finite().ok_or_else(|| header.field(line, column, number::NUMBER, field))
        };
        rows[place] = Some(columns().map(value).collect::<Result<_, _>>()?);
    }
    if let Some((name, _)) = series.iter().zip(&rows).find(|(_, row)| row.is_none()) {
        return Err(fault(path, format!("a line for series `{name}`"), "none"));
    }
    let values = |at: usize| rows.iter().flatten().map(|row| row[at]).collect();
    Ok(columns().enumerate().map(|(at, column)| Static { name: header.names[column].clone(), values: values(at) }).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read(text: &str) -> Result<Vec<Static>, DataError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        super::read(file.path(), None, "unique_id", &["b".into(), "a".into()])
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
