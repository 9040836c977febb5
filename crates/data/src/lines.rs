//! The columns of a file, arriving line by line.

use crate::{
    DataError,
    number::{NUMBER, NUMBER_OR_MISSING, finite, finite_or_missing},
    stamps,
};

/// Parses lines of known columns.
#[derive(Clone, Debug)]
pub struct LineParser {
    names: Vec<String>,
    values: Vec<f64>,
    started: bool,
    missing: bool,
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parsed<'a> {
    /// The header, on the first line only.
    Header,
    /// A sample.
    Row {
        /// Its stamp, if the line has one.
        stamp: Option<&'a str>,
        /// One value a column.
        values: &'a [f64],
    },
}

impl LineParser {
    /// A parser for these columns, in this order; a missing value is an error.
    pub fn new(names: &[String]) -> Self {
        Self { names: names.to_vec(), values: vec![0.0; names.len()], started: false, missing: false }
    }

    /// The same, where nothing, `NA`, `NaN` and `null` are missing values and parse as NaN.
    pub fn with_missing(names: &[String]) -> Self {
        Self { missing: true, ..Self::new(names) }
    }

    /// Parses one line: the values, with or without a stamp in front. The first line may be a header with the same names.
    ///
    /// # Errors
    /// A wrong number of fields, a name that is not the column's, or a field that is not a finite number; with line and column.
    pub fn parse<'a>(&'a mut self, line: &'a str, number: u64) -> Result<Parsed<'a>, DataError> {
        let line = line.trim_end_matches(['\r', '\n']);
        let (count, fields) = (self.names.len(), line.split(',').count());
        let first = !std::mem::replace(&mut self.started, true);
        if fields != count && fields != count + 1 {
            let expected = format!("{count} or {}", count + 1);
            return Err(DataError::Ragged { source_name: "line".into(), line: number, expected, found: fields });
        }
        let stamped = fields == count + 1;
        let values = || line.split(',').skip(usize::from(stamped)).map(str::trim);
        // The names may be numbers, as the values are.
        let named = || !stamped || line.split(',').next().is_some_and(|stamp| stamps::parse(stamp.trim()).is_none());
        if first && values().zip(&self.names).all(|(field, name)| field == name) && named() {
            return Ok(Parsed::Header);
        }
        for ((text, name), slot) in values().zip(&self.names).zip(&mut self.values) {
            let (value, expected) =
                if self.missing { (finite_or_missing(text), NUMBER_OR_MISSING) } else { (finite(text), NUMBER) };
            *slot = value.ok_or_else(|| DataError::Field {
                source_name: "line".into(),
                line: number,
                column: name.clone(),
                expected,
                found: text.into(),
            })?;
        }
        Ok(Parsed::Row { stamp: if stamped { line.split(',').next().map(str::trim) } else { None }, values: &self.values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_is_optional_and_bad_lines_change_nothing() {
        let names = ["a".to_string(), "b".to_string()];
        let mut parser = LineParser::new(&names);
        assert_eq!(parser.parse("date,a,b\n", 1).expect("header"), Parsed::Header);
        assert_eq!(parser.parse("noon, 1,2e1", 2).expect("row"), Parsed::Row { stamp: Some("noon"), values: &[1.0, 20.0] });
        for (line, expected) in [
            ("1", "line:3: expected 2 or 3 fields, found 1"),
            ("1,x", "line:3: column `b`: expected a finite number, found `x`"),
            ("1,inf", "line:3: column `b`"),
            ("a,b", "line:3: column `a`"),
        ] {
            let error = parser.parse(line, 3).expect_err(line).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(parser.parse("3,4", 4).expect("row"), Parsed::Row { stamp: None, values: &[3.0, 4.0] });
    }

    #[test]
    fn a_header_of_numbers_has_no_stamp() {
        let names = ["0".to_string()];
        assert_eq!(LineParser::new(&names).parse("date,0", 1).expect("header"), Parsed::Header);
        let row = Parsed::Row { stamp: Some("2020-01-01"), values: &[0.0] };
        assert_eq!(LineParser::new(&names).parse("2020-01-01,0", 1).expect("row"), row);
    }

    #[test]
    fn missing_fields_are_nan_only_where_asked_for() {
        let names = ["a".to_string(), "b".to_string()];
        for text in ["", " ", "NA", "na", "NaN", "nan", "NULL"] {
            let line = format!("noon,1,{text}");
            let mut parser = LineParser::with_missing(&names);
            let parsed = parser.parse(&line, 1).expect(text);
            assert!(matches!(parsed, Parsed::Row { stamp: Some("noon"), values: [1.0, b] } if b.is_nan()), "{text}: {parsed:?}");
            assert!(LineParser::new(&names).parse(&line, 1).is_err(), "{text}");
        }
        for text in ["x", "inf", "-nan", "n/a"] {
            let error = LineParser::with_missing(&names).parse(&format!("1,{text}"), 3).expect_err(text).to_string();
            assert!(error.starts_with("line:3: column `b`: expected a finite number, or nothing"), "{error}");
        }
    }
}
