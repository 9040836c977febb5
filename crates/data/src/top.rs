//! What stands at the top of a CSV file: lines above the header, the header, and a line of units under it.

use crate::{dates, dialect, number};

/// Lines in which a header is looked for, those of a mebibyte, though a header, units and two rows.
pub(crate) const LOOKED_AT: usize = 100;
pub(crate) const LONGEST: u64 = 1 << 20;
pub(crate) const FEWEST: usize = 4;

/// The top of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Top {
    /// What separates the header's fields, if there is one.
    pub separator: Option<char>,
    /// Numbers of the lines above the header that say something, from 1.
    pub above: Vec<u64>,
    /// The number of the line of units.
    pub units: Option<u64>,
}

impl Top {
    /// Of a file's first lines: its header is the first with names alone, two at least, whose next line has as many fields and a stamp among them; or the one
    /// after that has, and between them lies a line without a stamp or a number; but not where a blank line and other names follow its one row. No line is left out where no header is found, or the first line is one.
    pub fn of(lines: &[String]) -> Self {
        let said: Vec<(u64, &str)> =
            (1..).zip(lines).map(|(number, line)| (number, line.trim())).filter(|(_, line)| !line.is_empty()).collect();
        let fields_of = |at: usize, separator: char| said.get(at).map(|(_, line)| fields(line, separator));
        for at in 0..said.len() {
            for separator in dialect::separators(said[at].1) {
                let names = fields(said[at].1, separator);
                let next = |more: usize| fields_of(at + more, separator).filter(|next| next.len() == names.len());
                if !are_names(&names) {
                    continue;
                }
                // A table of one row, as of a place, before that of the rows.
                let ends = said.get(at + 1).zip(said.get(at + 2)).is_some_and(|((row, _), (later, _))| later - row > 1);
                if ends && fields_of(at + 2, separator).is_some_and(|names| are_names(&names)) {
                    continue;
                }
                let units = match (next(1), next(2)) {
                    (Some(next), _) if has_stamp(&next) => None,
                    // Units are those of columns with names.
                    (Some(next), Some(later))
                        if has_stamp(&later)
                            && !next.iter().any(|field| is_value(field))
                            && !names.iter().zip(&next).skip(1).any(|(name, unit)| name.is_empty() && !unit.is_empty()) =>
                    {
                        Some(said[at + 1].0)
                    }
                    _ => continue,
                };
                return Self { separator: Some(separator), above: said[..at].iter().map(|(number, _)| *number).collect(), units };
            }
        }
        Self::default()
    }
}

/// What separates the fields of a file without a header that is sure: what its first line has most of, of what gives the second as many fields, if there is such.
pub(crate) fn separator(lines: &[String]) -> char {
    let mut said = lines.iter().filter(|line| !line.trim().is_empty());
    let (first, second) = (said.next().map_or("", String::as_str), said.next().map_or("", String::as_str));
    let separators = dialect::separators(first);
    let fits = |separator: &&char| fields(first, **separator).len() == fields(second, **separator).len();
    separators.iter().find(fits).or(separators.first()).copied().unwrap_or(',')
}

/// Whether these are names of columns: two at least, and no values.
fn are_names(fields: &[String]) -> bool {
    fields.iter().filter(|name| !name.is_empty()).count() > 1 && !fields.iter().any(|name| is_value(name))
}

fn fields(line: &str, separator: char) -> Vec<String> {
    let mut options = csv::ReaderBuilder::new();
    options.has_headers(false).delimiter(separator as u8).trim(csv::Trim::All);
    let record = options.from_reader(line.as_bytes()).into_records().next().and_then(Result::ok).unwrap_or_default();
    record.iter().map(String::from).collect()
}

fn is_value(field: &str) -> bool {
    number::finite(field).is_some() || dialect::comma(field).is_some() || dates::is_stamp(field)
}

/// Whether these are fields of a row: the first is a stamp, or one a date.
fn has_stamp(fields: &[String]) -> bool {
    let is_date = |field: &String| field.parse::<f64>().is_err() && dates::is_stamp(field);
    fields.first().is_some_and(|first| dates::is_stamp(first)) || fields.iter().any(is_date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_line_has_as_many_fields() {
        for (lines, expected) in
            [(["id,a;b;c", "x,2"], ','), (["id;a", "x;2,5"], ';'), (["id,a;b;c", ""], ';'), (["id", "x"], ',')]
        {
            assert_eq!(separator(&lines.map(String::from)), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_header_has_names_and_a_stamp_under_it() {
        let top = |text: &str| {
            let Top { separator, above, units } = Top::of(&text.split_inclusive('\n').map(String::from).collect::<Vec<_>>());
            (separator, above, units)
        };
        for (text, expected) in [
            ("t,a\n1,2\n", (Some(','), vec![], None)),
            ("t;a;b\n1;2,5;3,5\n", (Some(';'), vec![], None)),
            ("# station, 7\n\nt;a\n1;2\n", (Some(';'), vec![1], None)),
            ("latitude,longitude\n52.5,13.4\n\ntime,t\n2024-01-01,2\n", (Some(','), vec![1, 2], None)),
            ("Export of 2024\nby me\nwhen,a,b\n2024-01-01,2,3\n", (Some(','), vec![1, 2], None)),
            ("t,a,b\n,kW,K\n1,2,3\n", (Some(','), vec![], Some(2))),
            ("Name,Foo\nHeight,35\nwhen,a\n2024-01-01,2\n", (Some(','), vec![1, 2], None)),
            ("TOA5,7\nTIMESTAMP,a\nTS,V\n2024-01-01 00:00,2\n", (Some(','), vec![1], Some(3))),
            ("#default,x,,\n,result,when,a\n,,2024-01-01,2\n", (Some(','), vec![1], None)),
            ("a,when\nx,2024-01-01\n", (Some(','), vec![], None)),
            ("t,a;x,b;y;z\n1,2,3\n", (Some(','), vec![], None)),
            ("t,a\n1,2\n\n2,3\n", (Some(','), vec![], None)),
            ("t,a\n1,2\nt,a\n2,3\n", (Some(','), vec![], None)),
            // Neither is a header without rows, or one of other rows.
            ("t,a\n", (None, vec![], None)),
            ("# here\n", (None, vec![], None)),
            ("t,a,b\n1,2\n", (None, vec![], None)),
            ("t,a\nx,2\n1,3\n", (None, vec![], None)),
        ] {
            assert_eq!(top(text), expected, "{text:?}");
        }
    }
}
