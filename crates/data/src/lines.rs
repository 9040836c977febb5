//! The columns of a file, arriving line by line.

use crate::{
    DataError, Decimal, dates, dialect,
    number::{NUMBER, NUMBER_OR_MISSING, finite, finite_or_missing},
    stamps,
};

/// Parses lines of known columns. The first header or row settles whether lines have stamps, unless it is blank.
#[derive(Clone, Debug)]
pub struct LineParser {
    names: Vec<String>,
    values: Vec<f64>,
    /// Room for the fields of a line with quotes, and for one of them.
    quoted: csv::StringRecord,
    field: String,
    started: bool,
    /// Whether lines have stamps, once that is settled.
    stamped: Option<bool>,
    reading: Reading,
    /// What separates fields, once a line that parses shows it.
    separator: Option<char>,
    /// Date and time of day, where these are two fields.
    stamp: String,
}

/// What a line was.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Parsed<'a> {
    /// The header, on the first line only.
    Header,
    /// A sample.
    Row {
        /// Its stamp, if lines have one.
        stamp: Option<&'a str>,
        /// One value a column.
        values: &'a [f64],
    },
}

impl LineParser {
    /// A parser for these columns, in this order; a missing value is an error.
    pub fn new(names: &[String]) -> Self {
        Self {
            names: names.to_vec(),
            values: vec![0.0; names.len()],
            quoted: csv::StringRecord::new(),
            field: String::new(),
            started: false,
            stamped: None,
            reading: Reading::default(),
            separator: None,
            stamp: String::new(),
        }
    }

    /// The same, where nothing, `NA`, `NaN` and `null` are missing values and parse as NaN.
    pub fn with_missing(names: &[String]) -> Self {
        Self { reading: Reading { missing: true, ..Reading::default() }, ..Self::new(names) }
    }

    /// The same, where these numbers mean that a value is missing, as in [`crate::ReadOptions::missing`].
    #[must_use]
    pub fn meaning(self, missing: &[f64]) -> Self {
        Self { reading: Reading { meaning: meaning(missing), ..self.reading }, ..self }
    }

    /// The same, where numbers have these decimals, as in [`crate::ReadOptions::decimal`]; points if none are told.
    #[must_use]
    pub fn decimals(self, decimal: Option<Decimal>) -> Self {
        Self { reading: Reading { decimal, ..self.reading }, ..self }
    }

    /// The same, where it is settled before whether lines have stamps.
    #[must_use]
    pub fn settled(self, stamped: Option<bool>) -> Self {
        Self { stamped, ..self }
    }

    /// Whether lines have stamps, once a line has settled it.
    pub fn stamped(&self) -> Option<bool> {
        self.stamped
    }

    /// Parses one line: the values, with a stamp in front on all lines or on none, which may be two fields, a date and a time of day. Fields may be quoted as in a CSV file, and are
    /// separated by commas, or by the semicolons, tabs or bars of the first line that parses. The first line may be a header with the same names, and may begin with a byte order mark.
    ///
    /// # Errors
    /// [`DataError::Header`] for a first line that is a header of other names, or of the same in another order: whoever reads should stop there. A wrong number
    /// of fields, or a field that is not a finite number; with line and column.
    pub fn parse<'a>(&'a mut self, line: &'a str, number: u64) -> Result<Parsed<'a>, DataError> {
        let first = !std::mem::replace(&mut self.started, true);
        let line = line.trim_end_matches(['\r', '\n']);
        let line = if first { line.strip_prefix('\u{feff}').unwrap_or(line) } else { line };
        let separator = self.separator.unwrap_or_else(|| dialect::separator(line, self.reading.decimal));
        let fields = Fields::of(line, separator, &mut self.quoted, &mut self.field);
        let is_timed = self.stamped != Some(false)
            && fields.count() == self.names.len() + 2
            && (fields.has_time() || first && fields.iter().skip(2).eq(&self.names));
        let stamped = match is_stamped(fields.count() - usize::from(is_timed), self.names.len(), self.stamped, number) {
            Err(_) if first && fields.are_names() => {
                let stamp = (self.stamped == Some(true)).then(|| "a stamp".to_string());
                let expected: Vec<String> = stamp.into_iter().chain(self.names.iter().cloned()).collect();
                return Err(other_header(&expected, fields.iter(), number));
            }
            stamped => stamped?,
        };
        let mut stamp = if stamped { fields.iter().next() } else { None };
        if let Some((date, time)) = stamp.zip(fields.iter().nth(1)).filter(|_| is_timed) {
            dates::join(date, time, &mut self.stamp);
            stamp = Some(&self.stamp);
        }
        let values = || fields.iter().skip(usize::from(stamped) + usize::from(is_timed));
        // The names may be numbers, as the values are.
        let named = || stamp.is_none_or(|stamp| !dates::is_stamp(stamp));
        if first && values().zip(&self.names).all(|(field, name)| field == name) && named() {
            (self.stamped, self.separator) = (Some(stamped), Some(separator));
            return Ok(Parsed::Header);
        }
        // One word where a stream goes on may as well be a sample that is none.
        let may_be_names = fields.count() > 1 || self.stamped.is_none();
        if first && named() && may_be_names && values().all(|field| !is_number(field) && dialect::comma(field).is_none()) {
            return Err(other_header(&self.names, values(), number));
        }
        for ((text, name), slot) in values().zip(&self.names).zip(&mut self.values) {
            *slot = self.reading.value(text, name, number)?;
        }
        // A blank line is a missing sample, and says nothing of stamps.
        if !line.trim().is_empty() {
            (self.stamped, self.separator) = (Some(stamped), Some(separator));
        }
        Ok(Parsed::Row { stamp, values: &self.values })
    }
}

const PRESENT: &str = "a number that does not mean a missing value";

/// How the numbers of lines are read.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reading {
    /// Whether one may be missing.
    pub missing: bool,
    /// Numbers that mean a value is missing.
    pub meaning: Vec<f64>,
    pub decimal: Option<Decimal>,
}

/// Numbers that mean a value is missing, as they are, and as single precision has them.
pub(crate) fn meaning(missing: &[f64]) -> Vec<f64> {
    missing.iter().flat_map(|&value| [value, f64::from(value as f32)]).collect()
}

impl Reading {
    /// The value of a field, NaN if it is missing and may be.
    pub fn value(&self, text: &str, column: &str, line: u64) -> Result<f64, DataError> {
        let comma = self.decimal == Some(Decimal::Comma);
        let grouped = || dialect::grouped(text).filter(|(_, _, is_sure)| *is_sure).map(|(number, ..)| number);
        let own = if comma { dialect::comma(text) } else { finite(text).or_else(grouped) };
        let missing = || finite_or_missing(text).filter(|value| value.is_nan());
        let (value, expected) = if self.missing { (own.or_else(missing), NUMBER_OR_MISSING) } else { (own, NUMBER) };
        let means_missing = value.is_some_and(|value| self.meaning.contains(&value));
        let (value, expected) = if means_missing && !self.missing { (None, PRESENT) } else { (value, expected) };
        let value = value.ok_or_else(|| DataError::Field {
            source_name: "line".into(),
            line,
            column: column.into(),
            expected: if comma { format!("{expected}, with a decimal comma").into() } else { expected.into() },
            found: text.into(),
        })?;
        Ok(if means_missing { f64::NAN } else { value })
    }
}

/// What is wrong with a header of these fields.
fn other_header<'a>(names: &[String], fields: impl Iterator<Item = &'a str>, line: u64) -> DataError {
    DataError::Header { line, expected: names.join(", "), found: fields.collect::<Vec<_>>().join(", ") }
}

/// Whether a field says that it is a number, or missing.
fn is_number(field: &str) -> bool {
    field.parse::<f64>().is_ok() || finite_or_missing(field).is_some()
}

/// Whether a line of so many fields has a stamp.
///
/// # Errors
/// Neither as many fields as values nor one more; one of them where the other is settled.
fn is_stamped(fields: usize, values: usize, settled: Option<bool>, line: u64) -> Result<bool, DataError> {
    let stamped = settled.unwrap_or(fields == values + 1);
    if fields == values + usize::from(stamped) {
        return Ok(stamped);
    }
    let expected = match settled {
        Some(stamped) => (values + usize::from(stamped)).to_string(),
        None => format!("{values} or {}", values + 1),
    };
    Err(DataError::Ragged { source_name: "line".into(), line, expected, found: fields })
}

/// The fields of a line, without spaces around them.
#[derive(Clone, Copy)]
pub(crate) enum Fields<'a> {
    Plain(&'a str, char),
    Quoted(&'a csv::StringRecord),
}

impl<'a> Fields<'a> {
    /// Those of a line; where there are quotes, `record` and `field` are room for them.
    pub fn of(line: &'a str, separator: char, record: &'a mut csv::StringRecord, field: &mut String) -> Self {
        if !line.contains('"') {
            return Self::Plain(line, separator);
        }
        record.clear();
        let mut rest = Some(line);
        while let Some(text) = rest {
            field.clear();
            let plain = unquote(text, field);
            let (end, more) = plain.split_once(separator).map_or((plain, None), |(end, more)| (end, Some(more)));
            field.push_str(end);
            record.push_field(field.trim());
            rest = more;
        }
        Self::Quoted(record)
    }

    pub fn count(self) -> usize {
        match self {
            Self::Plain(line, separator) => line.split(separator).count(),
            Self::Quoted(record) => record.len(),
        }
    }

    /// Whether they are those of a header, however many there should be: two at least, none of which is a number, missing or a stamp.
    fn are_names(self) -> bool {
        self.count() > 1
            && self.iter().all(|field| !is_number(field) && dialect::comma(field).is_none() && stamps::parse(field).is_none())
    }

    /// Whether they begin with a date and a time of day.
    fn has_time(self) -> bool {
        let mut fields = self.iter();
        let (date, time) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        dates::is_date_alone(date) && dates::time_of_day(time).is_some()
    }

    pub fn iter(self) -> impl Iterator<Item = &'a str> {
        let (plain, quoted) = match self {
            Self::Plain(line, separator) => (Some(line.split(separator).map(str::trim)), None),
            Self::Quoted(record) => (None, Some(record.iter())),
        };
        plain.into_iter().flatten().chain(quoted.into_iter().flatten())
    }
}

/// Adds what is in quotes at the start of a text to `field`, and gives the text behind them. Two quotes in them are one.
fn unquote<'a>(text: &'a str, field: &mut String) -> &'a str {
    let Some(mut quoted) = text.strip_prefix('"') else { return text };
    while let Some((inside, after)) = quoted.split_once('"') {
        field.push_str(inside);
        let Some(more) = after.strip_prefix('"') else { return after };
        field.push('"');
        quoted = more;
    }
    field.push_str(quoted);
    ""
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
            ("1", "line:3: expected 3 fields, found 1"),
            ("0,1,x", "line:3: column `b`: expected a finite number, found `x`"),
            ("0,1,inf", "line:3: column `b`"),
            ("date,a,b", "line:3: column `a`"),
        ] {
            let error = parser.parse(line, 3).expect_err(line).to_string();
            assert!(error.starts_with(expected), "{error}");
        }
        assert_eq!(parser.parse("night,3,4", 4).expect("row"), Parsed::Row { stamp: Some("night"), values: &[3.0, 4.0] });
    }

    fn names(count: usize) -> Vec<String> {
        ["a", "b", "c"][..count].iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn the_first_line_that_parses_says_whether_there_are_stamps() {
        for (count, first, cut, expected) in [
            (1, "t,a", "2", "expected 2 fields, found 1"),
            (1, "0,1.5", "2", "expected 2 fields, found 1"),
            (1, "a", "0,1.5", "expected 1 fields, found 2"),
            (1, "1.5", "0,1.5", "expected 1 fields, found 2"),
            (3, "0,1,2,3", "1,2,3", "expected 4 fields, found 3"),
            (3, "1,2,3", "0,1,2,3", "expected 3 fields, found 4"),
            (3, "\"0,5\",1,2,3", "0,5,1", "expected 4 fields, found 3"),
        ] {
            for mut parser in [LineParser::new(&names(count)), LineParser::with_missing(&names(count))] {
                // What does not parse settles nothing.
                for bad in ["0,1,2,3,4,5", "x,y,z"] {
                    parser.parse(bad, 1).expect_err(bad);
                }
                let mut parser = LineParser { started: false, ..parser };
                parser.parse(first, 2).expect(first);
                let error = parser.parse(cut, 3).expect_err(cut).to_string();
                assert_eq!(error, format!("line:3: {expected}"), "{first}");
            }
        }
        let error = LineParser::new(&names(2)).parse("1", 1).expect_err("too few").to_string();
        assert_eq!(error, "line:1: expected 2 or 3 fields, found 1");
    }

    #[test]
    fn a_header_of_other_columns_is_no_bad_row() {
        let three = [names(2), vec!["y, in K".to_string()]].concat();
        for (names, line, expected) in [
            (names(2), "b,a", "line:1: expected the columns a, b in this order, found b, a"),
            (names(2), "\u{feff}date,\"a\",c\r\n", "line:1: expected the columns a, b in this order, found a, c"),
            (names(2), "date,a,b,c", "line:1: expected the columns a, b in this order, found date, a, b, c"),
            (names(1), "t,y", "line:1: expected the columns a in this order, found y"),
            (names(3), "t,a", "line:1: expected the columns a, b, c in this order, found t, a"),
            (three, "t,a,b,\"y, in C\"", "line:1: expected the columns a, b, y, in K in this order, found a, b, y, in C"),
        ] {
            for mut parser in [LineParser::new(&names), LineParser::with_missing(&names)] {
                let error = parser.parse(line, 1).expect_err(line);
                assert!(matches!(error, DataError::Header { line: 1, .. }), "{error:?}");
                assert_eq!(error.to_string(), expected);
                // Lines under it are bad rows.
                let error = parser.parse(line, 2).expect_err(line);
                assert!(!matches!(error, DataError::Header { .. }), "{error:?}");
            }
            let error = LineParser::new(&names).settled(Some(true)).parse(line, 1).expect_err(line);
            assert!(matches!(error, DataError::Header { .. }), "{error:?}");
        }
        for line in ["noon,1,x", "noon,x,", "noon,x,NaN", "noon,inf,x", "2024-01-01,x,y", "7,x,y", "x", "1,b,c,d", ",b,c,d", ""] {
            let error = LineParser::new(&names(2)).parse(line, 1).expect_err(line);
            assert!(!matches!(error, DataError::Header { .. }), "{line}: {error:?}");
        }
    }

    #[test]
    fn a_word_where_a_stream_goes_on_is_a_bad_row() {
        let mut parser = LineParser::new(&names(1)).settled(Some(false));
        let error = parser.parse("ERR", 1).expect_err("no number");
        assert!(!matches!(error, DataError::Header { .. }), "{error:?}");
        parser.parse("1", 2).expect("a row");
        let error = LineParser::new(&names(1)).parse("ERR", 1).expect_err("a header");
        assert!(matches!(error, DataError::Header { .. }), "{error:?}");
        let error = LineParser::new(&names(2)).settled(Some(true)).parse("a,b", 1).expect_err("no stamp").to_string();
        assert_eq!(error, "line:1: expected the columns a stamp, a, b in this order, found a, b");
    }

    #[test]
    fn a_blank_line_is_a_missing_sample_of_one_column_without_stamps() {
        let blank = |parser: &mut LineParser| match parser.parse("\n", 9) {
            Ok(Parsed::Row { stamp: None, values: [value] }) => assert!(value.is_nan()),
            other => panic!("{other:?}"),
        };
        let mut parser = LineParser::with_missing(&names(1));
        // It says nothing of stamps.
        blank(&mut parser);
        parser.parse("1.5\n", 2).expect("a row");
        blank(&mut parser);
        parser.parse("0,1.5\n", 3).expect_err("a stamp");
        let mut parser = LineParser::with_missing(&names(1));
        blank(&mut parser);
        parser.parse("0,1.5\n", 2).expect("a row");
        let error = parser.parse("\n", 3).expect_err("blank").to_string();
        assert_eq!(error, "line:3: expected 2 fields, found 1");
        LineParser::new(&names(1)).parse("\n", 1).expect_err("no number");
    }

    #[test]
    fn a_byte_order_mark_in_front_is_no_part_of_a_field() {
        let names = names(2);
        let parse = |line: &str, expected: Parsed<'_>| {
            let mut parser = LineParser::new(&names);
            assert_eq!(parser.parse(&format!("\u{feff}{line}\r\n"), 1).expect(line), expected, "{line}");
            parser.parse("\u{feff}1,2,3", 2).map(|_| ()).expect_err("a mark on the second line");
        };
        parse("a,b", Parsed::Header);
        parse("1,2", Parsed::Row { stamp: None, values: &[1.0, 2.0] });
        parse("\"1\",2", Parsed::Row { stamp: None, values: &[1.0, 2.0] });
        let mut parser = LineParser::new(&names);
        let expected = Parsed::Row { stamp: Some("0"), values: &[1.0, 2.0] };
        assert_eq!(parser.parse("\u{feff}0,1,2", 1).expect("a row"), expected);
        assert_eq!(LineParser::new(&names).parse("\u{feff}t,a,b", 1).expect("a header"), Parsed::Header);
    }

    #[test]
    fn fields_are_those_of_the_csv_reader() {
        let (mut record, mut field) = (csv::StringRecord::new(), String::new());
        let mut lines = vec![String::new()];
        // All lines of up to six of these characters.
        for _ in 0..6 {
            lines = lines.iter().flat_map(|line| ["\"", ",", "é", " ", ""].map(|more| format!("{line}{more}"))).collect();
        }
        lines.sort();
        lines.dedup();
        for line in lines.iter().filter(|line| !line.is_empty()) {
            let mut options = csv::ReaderBuilder::new();
            let mut reader = options.has_headers(false).trim(csv::Trim::All).from_reader(line.as_bytes());
            let expected = reader.records().next().expect("a record").expect("text");
            let fields = Fields::of(line, ',', &mut record, &mut field);
            assert!(fields.iter().eq(expected.iter()) && fields.count() == expected.len(), "{line:?}: {expected:?}");
        }
    }

    #[test]
    fn quoted_fields_are_read_as_in_a_file() {
        let mut parser = LineParser::new(&["x".to_string(), "y, in K".into()]);
        assert_eq!(parser.parse("\"t\",\"x\",\"y, in K\"\r\n", 1).expect("a header"), Parsed::Header);
        for (line, stamp) in [
            ("\"0\",\"1.5\",2", "0"),
            ("\"Monday, noon\",1.5,\" 2 \"", "Monday, noon"),
            ("\"said \"\"noon\"\"\",1.5,2\n", "said \"noon\""),
            ("no \"quote\",1.5,2", "no \"quote\""),
            ("\"\",1.5,2", ""),
        ] {
            let expected = Parsed::Row { stamp: Some(stamp), values: &[1.5, 2.0] };
            assert_eq!(parser.parse(line, 2).expect(line), expected, "{line}");
        }
        for (line, expected) in [
            ("\"0,1.5,2", "line:3: expected 3 fields, found 1"),
            ("\"0\",1.5,2,3", "line:3: expected 3 fields, found 4"),
            ("\"0\",\"x\",2", "line:3: column `x`: expected a finite number, found `x`"),
            ("\"0\",1,2\r0,3,4", "line:3: expected 3 fields, found 5"),
        ] {
            let error = parser.parse(line, 3).expect_err(line).to_string();
            assert_eq!(error, expected, "{line}");
        }
        let mut parser = LineParser::with_missing(&names(1));
        assert!(matches!(parser.parse("\"\"", 1), Ok(Parsed::Row { stamp: None, values: [value] }) if value.is_nan()));
    }

    #[test]
    fn numbers_may_mean_that_a_value_is_missing() {
        let mut parser = LineParser::with_missing(&names(2)).meaning(&[-9999.0]);
        let parsed = parser.parse("-9999.0,1", 1).expect("a row");
        assert!(matches!(parsed, Parsed::Row { stamp: None, values: [a, 1.0] } if a.is_nan()), "{parsed:?}");
        let error = LineParser::new(&names(2)).meaning(&[-9999.0]).parse("1,-9999", 3).expect_err("missing").to_string();
        assert_eq!(error, "line:3: column `b`: expected a number that does not mean a missing value, found `-9999`");
        // What a file in single precision says.
        let mut parser = LineParser::with_missing(&names(2)).meaning(&[-999.9]);
        let parsed = parser.parse("-999.9000244140625,-999.9", 1).expect("a row");
        assert!(matches!(parsed, Parsed::Row { stamp: None, values: [a, b] } if a.is_nan() && b.is_nan()), "{parsed:?}");
    }

    #[test]
    fn fields_and_decimals_may_be_told_apart_as_in_a_file() {
        let row = |stamp, values| Parsed::Row { stamp, values };
        for (decimal, header, line, expected) in [
            (None, "t;a;b", "noon;1.5;2", row(Some("noon"), &[1.5, 2.0])),
            (None, "", "noon\t1.5\t2", row(Some("noon"), &[1.5, 2.0])),
            (None, "t;a;b", "noon;1'234.5;-1,234,567", row(Some("noon"), &[1234.5, -1_234_567.0])),
            (Some(Decimal::Point), "a|b", "1.5|2", row(None, &[1.5, 2.0])),
            (Some(Decimal::Comma), "t;a;b", "01.02.2024;1,5;1.234", row(Some("01.02.2024"), &[1.5, 1234.0])),
            (Some(Decimal::Comma), "", "noon;1,5;2,5", row(Some("noon"), &[1.5, 2.5])),
            (Some(Decimal::Comma), "t,a,b", "noon,\"1,5\",2", row(Some("noon"), &[1.5, 2.0])),
        ] {
            let mut parser = LineParser::new(&names(2)).decimals(decimal);
            if !header.is_empty() {
                assert_eq!(parser.parse(header, 1).expect(header), Parsed::Header);
            }
            assert_eq!(parser.parse(line, 2).expect(line), expected, "{line}");
        }
        let mut parser = LineParser::new(&names(1)).decimals(Some(Decimal::Comma));
        assert_eq!(parser.parse("0,5", 1).expect("a row"), row(None, &[0.5]));
        assert_eq!(
            parser.parse("0.5", 2).expect_err("a point").to_string(),
            "line:2: column `a`: expected a finite number, with a decimal comma, found `0.5`"
        );
        let mut parser = LineParser::with_missing(&names(2)).decimals(Some(Decimal::Comma));
        let parsed = parser.parse("1,5;NA", 1).expect("a row");
        assert!(matches!(parsed, Parsed::Row { stamp: None, values: [1.5, b] } if b.is_nan()), "{parsed:?}");
        // Of a date and a time of day, with and without a header.
        for (header, line) in [("Date;Time;a;b", "01.02.2024;18.00.00;1,5;2"), ("", "01.02.2024;18:00:00;1,5;2")] {
            let mut parser = LineParser::new(&names(2)).decimals(Some(Decimal::Comma));
            if !header.is_empty() {
                assert_eq!(parser.parse(header, 1).expect(header), Parsed::Header);
            }
            assert_eq!(parser.parse(line, 2).expect(line), row(Some("01.02.2024 18:00:00"), &[1.5, 2.0]));
            let error = parser.parse("01.02.2024;late;1,5;2", 3).expect_err("no time").to_string();
            assert_eq!(error, "line:3: expected 3 fields, found 4");
        }
        // A line that does not parse shows nothing.
        let mut parser = LineParser::new(&names(2));
        parser.parse("ERR; of 2; x; y", 1).expect_err("a message");
        assert_eq!(parser.parse("noon,1.5,2", 2).expect("a row"), row(Some("noon"), &[1.5, 2.0]));
        let mut parser = LineParser::with_missing(&names(2)).decimals(Some(Decimal::Comma));
        parser.parse("1,5;NA", 1).expect("a row");
        // What the first line shows stays.
        let error = parser.parse("1,2", 2).expect_err("one field").to_string();
        assert_eq!(error, "line:2: expected 2 fields, found 1");
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
        for text in ["", " ", "NA", "na", "NaN", "nan", "NULL", "n/a", "None"] {
            let line = format!("noon,1,{text}");
            let mut parser = LineParser::with_missing(&names);
            let parsed = parser.parse(&line, 1).expect(text);
            assert!(matches!(parsed, Parsed::Row { stamp: Some("noon"), values: [1.0, b] } if b.is_nan()), "{text}: {parsed:?}");
            assert!(LineParser::new(&names).parse(&line, 1).is_err(), "{text}");
        }
        for text in ["x", "inf", "-nan", "no data"] {
            let error = LineParser::with_missing(&names).parse(&format!("1,{text}"), 3).expect_err(text).to_string();
            assert!(error.starts_with("line:3: column `b`: expected a finite number, or nothing"), "{error}");
        }
    }
}
