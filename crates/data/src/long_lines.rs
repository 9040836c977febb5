//! Lines of a series and a stamp each, gathered into rows of all series.

use crate::{
    DataError, Gather, ReadOptions, dates, dialect,
    lines::{Fields, Reading, meaning},
    statics::{joined, series_name},
};
use std::collections::{HashMap, HashSet};

/// Names that are none of the series, of which it is told.
const MOST_OTHERS: usize = 1000;

/// Gathers lines that have a series and a stamp each, as the rows of a long file, into rows of all series.
#[derive(Debug)]
pub struct LongLines {
    separator: char,
    width: usize,
    ids: Vec<usize>,
    time: Stamp,
    targets: Vec<(usize, String)>,
    names: Vec<String>,
    reading: Reading,
    /// Series by the fields of ids, by target.
    known: HashMap<String, Vec<Option<usize>>>,
    others: HashSet<String>,
    rows: Gather,
    quoted: csv::StringRecord,
    field: String,
    /// Room for a date and its time of day.
    stamp: String,
}

/// Where stamps stand.
#[derive(Clone, Copy, Debug)]
enum Stamp {
    At(usize),
    /// Dates here, times of day in the next column.
    WithTimes(usize),
}

impl LongLines {
    /// What gathers the lines under a header with the columns of ids, stamps and targets that a long file has by these options, in any order, others among them; none under
    /// another first line. `names` are those of the series, `step` the seconds between rows where they are known, and values may be `missing` or not.
    pub fn under(header: &str, options: &ReadOptions, names: &[String], step: Option<f64>, missing: bool) -> Option<Self> {
        let header = header.trim_end_matches(['\r', '\n']);
        let header = header.strip_prefix('\u{feff}').unwrap_or(header);
        let separator = dialect::separator(header, options.decimal);
        let (mut quoted, mut field) = (csv::StringRecord::new(), String::new());
        let columns: Vec<String> = Fields::of(header, separator, &mut quoted, &mut field).iter().map(String::from).collect();
        let place = |name: &String| columns.iter().position(|column| column == name);
        let with_times = || columns.windows(2).position(|pair| format!("{} {}", pair[0], pair[1]) == options.time);
        let time = place(&options.time).map(Stamp::At).or_else(|| with_times().map(Stamp::WithTimes))?;
        Some(Self {
            separator,
            width: columns.len(),
            ids: options.id.0.iter().map(place).collect::<Option<_>>()?,
            time,
            targets: options.target.0.iter().map(|name| Some((place(name)?, name.clone()))).collect::<Option<_>>()?,
            names: names.to_vec(),
            reading: Reading { missing, meaning: meaning(&options.missing), decimal: options.decimal },
            known: HashMap::new(),
            others: HashSet::new(),
            rows: Gather::of(options, names, step, missing),
            quoted,
            field,
            stamp: String::new(),
        })
    }

    /// Takes a line; the name of its series if that is none of the names, the first time it comes.
    ///
    /// # Errors
    /// A wrong number of fields, a value that is no finite number, a stamp before that of the row, or a second value of a series in it; nothing is taken.
    pub fn push(&mut self, line: &str, number: u64) -> Result<Option<String>, DataError> {
        let line = line.trim_end_matches(['\r', '\n']);
        let fields = Fields::of(line, self.separator, &mut self.quoted, &mut self.field);
        let all: Vec<&str> = fields.iter().collect();
        if all.len() != self.width {
            let expected = self.width.to_string();
            return Err(DataError::Ragged { source_name: "line".into(), line: number, expected, found: all.len() });
        }
        let id = joined(self.ids.iter().map(|&at| all[at]));
        let (names, targets) = (&self.names, &self.targets);
        let places = self.known.entry(id.clone()).or_insert_with(|| {
            let name = |target: &str| series_name(&id, target, targets.len());
            targets.iter().map(|(_, target)| names.iter().position(|own| *own == name(target))).collect()
        });
        if places.iter().all(Option::is_none) {
            self.known.remove(&id);
            let is_new = self.others.len() < MOST_OTHERS && self.others.insert(id.clone());
            return Ok(is_new.then_some(id));
        }
        let stamp = match self.time {
            Stamp::At(at) => all[at],
            Stamp::WithTimes(at) => {
                dates::join(all[at], all[at + 1], &mut self.stamp);
                &self.stamp
            }
        };
        let mut told: Vec<(usize, f64)> = Vec::with_capacity(self.targets.len());
        for ((at, name), place) in self.targets.iter().zip(&*places) {
            if let Some(place) = place {
                told.push((*place, self.reading.value(all[*at], name, number)?));
            }
        }
        self.rows.add(number, stamp, &told, &id)?;
        Ok(None)
    }

    /// The rows that come of the lines.
    pub fn rows(&mut self) -> &mut Gather {
        &mut self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Gathered;

    /// What comes of lines under a header, one a line and at the end: errors of lines, and rows.
    fn gathered(header: &str, lines: &[&str], options: &str, step: Option<f64>, missing: bool) -> Vec<String> {
        let options = toml::from_str(&format!("format = \"long\"\n{options}")).expect("options");
        let names = ["a".to_string(), "b".into()];
        let mut rows = LongLines::under(header, &options, &names, step, missing).expect("a header");
        let mut all = Vec::new();
        let shown = |row: Result<Gathered, DataError>| match row {
            Ok(Gathered { line, stamp, values, .. }) => format!("{line}: {stamp} {values:?}"),
            Err(error) => error.to_string(),
        };
        for (line, number) in lines.iter().zip(2..) {
            match rows.push(line, number) {
                Ok(None) => {}
                Ok(Some(other)) => all.push(format!("not `{other}`")),
                Err(error) => all.push(error.to_string()),
            }
            all.extend(rows.rows().map(shown));
        }
        rows.rows().end();
        all.extend(rows.rows().map(shown));
        all
    }

    #[test]
    fn a_row_is_whole_with_its_last_series_or_where_the_next_begins() {
        let header = "unique_id,ds,y";
        let lines = ["a,1,5", "b,1,6", "b,2,7", "a,3,8", "c,3,1", "c,3,1", "b,3,9", "a,4,5"];
        let expected = [
            "3: 1 [5.0, 6.0]",
            "line:4: column `a`: expected a line of it for the row of 2, as of others, found `none`",
            "not `c`",
            "8: 3 [8.0, 9.0]",
            "line:9: column `b`: expected a line of it for the row of 4, as of others, found `none`",
        ];
        assert_eq!(gathered(header, &lines, "", None, false), expected);
        let expected = ["3: 1 [5.0, 6.0]", "4: 2 [NaN, 7.0]", "not `c`", "8: 3 [8.0, 9.0]", "9: 4 [5.0, NaN]"];
        assert_eq!(gathered(header, &lines, "", None, true), expected);
    }

    #[test]
    fn a_line_that_is_refused_changes_nothing() {
        let lines = ["a,1,5", "a,1,5", "b,1,x", "b,0,6", "b,1", "b,1,NA", "b,1,6", "a,1,7", "b,2,1", "a,2,3"];
        let expected = [
            "line:3: column `stamp`: expected one line of `a` for the row of 1, found `1`",
            "line:4: column `y`: expected a finite number, found `x`",
            "line:5: column `stamp`: expected a stamp not before 1, whose row has begun, found `0`",
            "line:6: expected 3 fields, found 2",
            "line:7: column `y`: expected a finite number, found `NA`",
            "8: 1 [5.0, 6.0]",
            "line:9: column `stamp`: expected a stamp after 1, whose row is taken, found `1`",
            "11: 2 [3.0, 1.0]",
        ];
        assert_eq!(gathered("unique_id,ds,y", &lines, "", None, false), expected);
    }

    #[test]
    fn columns_stand_where_the_header_says() {
        let options =
            "id = [\"room\", \"meter\"]\ntime = \"Date Time\"\ntarget = \"kW\"\ndates = \"day-first\"\ndecimal = \"comma\"";
        let lines = ["1;01.02.2024;18.00.00;b;;2,5", "1;01.02.2024;18.00.00;;a;\"1,5\""];
        let expected = ["3: 2024-02-01 18:00:00 [1.5, 2.5]"];
        assert_eq!(gathered("state;Date;Time;meter;room;kW", &lines, options, None, false), expected);
        // Asked in turn, a second apart; of several values a series those that are known.
        let options = "id = \"id\"\ntime = \"t\"\ntarget = [\"x\", \"y\"]\nmissing = [-9]";
        let options = toml::from_str(&format!("format = \"long\"\n{options}")).expect("options");
        let names = ["a/y".to_string(), "b/x".into()];
        let mut rows = LongLines::under("t,id,x,y", &options, &names, Some(60.0), true).expect("a header");
        for (line, number) in
            ["2024-01-01 00:00:59,a,high,1", "2024-01-01 00:01:01,b,-9,low", "2024-01-01 00:01:59,b,3,4"].iter().zip(2..)
        {
            rows.push(line, number).expect(line);
        }
        let row = rows.rows().next().expect("a row").expect("whole");
        assert_eq!((row.line, row.stamp.as_str(), row.values[0]), (3, "2024-01-01 00:00:59", 1.0));
        assert!(row.values[1].is_nan() && rows.rows().next().is_none());
    }

    #[test]
    fn other_first_lines_are_no_header() {
        for line in ["ds,a,b", "unique_id,ds", "a,1,5", ""] {
            assert!(LongLines::under(line, &ReadOptions::default(), &["a".into()], None, false).is_none(), "{line}");
        }
    }
}
