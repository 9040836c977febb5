//! How a file is to be read.

use crate::{Bytes, DataError, DateOrder, Decimal, Every, Hours};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// How [`read`](crate::read) reads a file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReadOptions {
    /// How the file is laid out.
    pub format: Format,
    /// Column that names the series, in a long file and in the file of statics; of several all fields together do, with `/` between them.
    pub id: Names,
    /// Column of stamps, in a long file; in a wide one it is the first, or the one of dates behind numbers of the rows.
    pub time: String,
    /// Column of values, in a long file. Of several each has a series of its own an id, whose name ends in `/` and the column's.
    pub target: Names,
    /// The series to keep, in order: columns of a wide file, names of a long one's. All if absent.
    pub columns: Option<Vec<String>>,
    /// Numbers that mean a value is missing; in single precision, in a column that is kept in it.
    pub missing: Vec<f64>,
    /// What is done with outliers.
    pub outliers: Outliers,
    /// Distance from the median, in robust standard deviations, beyond which a value is an outlier.
    pub outlier_factor: f64,
    /// What series of a long file have in common.
    pub align: Align,
    /// Hours of the week that rows are of; found in the file if absent.
    pub hours: Option<Hours>,
    /// Step that rows are averaged over, those of a series alone, where stamps are on no grid: each row is the means of what its step has.
    pub every: Option<Every>,
    /// How long a value lasts at most, until the next of its series, where sensors tell of changes alone: then rows are means over time of what lasts in their step.
    pub hold: Option<Every>,
    /// The order of dates with the year last; found in the file if absent.
    pub dates: Option<DateOrder>,
    /// What stands before the decimals of numbers in CSV. The file's numbers tell, unless `point` is told; `comma` is for numbers that do not, such as `1.234`. Parquet has none.
    pub decimal: Option<Decimal>,
    /// Columns of covariates that are observed as the series are.
    pub past: Vec<String>,
    /// Columns of covariates that are known for the future, too.
    pub future: Vec<String>,
    /// Most memory for values while and after the file is read; beyond it they lie in a temporary file that is mapped. All in memory if absent.
    pub memory: Option<Bytes>,
    /// File of what does not change with time: the id column (names of columns, for a wide file) and columns of numbers, one line a
    /// series. The path is used as it is.
    pub statics: Option<PathBuf>,
}

/// Names of columns, one or several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "OneOrMore", into = "OneOrMore")]
pub struct Names(pub Vec<String>);

impl From<&str> for Names {
    fn from(name: &str) -> Self {
        Self(vec![name.into()])
    }
}

/// A name may stand without brackets.
#[derive(Serialize, Deserialize)]
#[serde(untagged, expecting = "expected the name of a column, or a list of them")]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

impl From<OneOrMore> for Names {
    fn from(names: OneOrMore) -> Self {
        match names {
            OneOrMore::One(name) => Self(vec![name]),
            OneOrMore::More(names) => Self(names),
        }
    }
}

impl From<Names> for OneOrMore {
    fn from(Names(names): Names) -> Self {
        match <[String; 1]>::try_from(names) {
            Ok([name]) => Self::One(name),
            Err(names) => Self::More(names),
        }
    }
}

/// How a file is laid out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A stamp column first, then one column a series.
    #[default]
    Wide,
    /// One line a sample: the series' id, a stamp, a value.
    Long,
}

/// What is done with outliers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outliers {
    /// They are counted.
    #[default]
    Report,
    /// They are counted and made missing.
    Mask,
    /// They are counted, and made missing in columns where they are glitches: scattered, or at most one in a thousand values, rounded up, or all one number, which
    /// means that there is none. An incident that lasts, or a job that runs every Sunday, is signal: where more than half of the gaps between outliers are
    /// alike they stay.
    Glitches,
}

/// What series of a long file have in common.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Align {
    /// Their clock: a row is a stamp.
    #[default]
    Stamp,
    /// Their end: the last observed samples share a row, and stamps become row numbers from 0.
    End,
}

impl Default for ReadOptions {
    fn default() -> Self {
        Self {
            format: Format::default(),
            id: "unique_id".into(),
            time: "ds".into(),
            target: "y".into(),
            columns: None,
            missing: Vec::new(),
            outliers: Outliers::default(),
            outlier_factor: 20.0,
            align: Align::default(),
            hours: None,
            every: None,
            hold: None,
            dates: None,
            decimal: None,
            past: Vec::new(),
            future: Vec::new(),
            memory: None,
            statics: None,
        }
    }
}

impl ReadOptions {
    /// # Errors
    /// A column with two roles, a wide file aligned at its end, or a factor that is not a number above 0.
    pub(crate) fn check(&self) -> Result<(), DataError> {
        let columns = self.columns.iter().flatten();
        let mut roles: Vec<&String> = self.past.iter().chain(&self.future).collect();
        match self.format {
            Format::Wide => roles.extend(columns.clone()),
            Format::Long => roles.extend(self.id.0.iter().chain([&self.time]).chain(&self.target.0)),
        }
        let doubled = |names: &[&String]| {
            names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)).map(|(_, name)| format!("`{name}` twice"))
        };
        let expected = "each column in one role, that of a series included";
        if let Some(found) = doubled(&columns.collect::<Vec<_>>()) {
            return Err(DataError::Option { key: "columns", expected: "each series once", found });
        }
        if let Some(found) = doubled(&roles) {
            return Err(DataError::Option { key: "past, future", expected, found });
        }
        let (long, is_wide) = (Self::default(), self.format == Format::Wide);
        let whole = "none with a wide file, whose first column has the stamps and whose others are targets";
        let quoted = |names: &Names| format!("`{}`", names.0.join("`, `"));
        for (key, expected, is_other, found) in [
            ("time", whole, self.time != long.time, format!("`{}`", self.time)),
            ("target", whole, self.target != long.target, quoted(&self.target)),
            ("id", "none with a wide file that has no statics", self.statics.is_none() && self.id != long.id, quoted(&self.id)),
            (
                "id",
                "one with a wide file, whose statics have the names of its columns there",
                self.id.0.len() > 1,
                quoted(&self.id),
            ),
        ] {
            if is_wide && is_other {
                return Err(DataError::Option { key, expected, found });
            }
        }
        if let Some((key, _)) = [("id", &self.id), ("target", &self.target)].iter().find(|(_, names)| names.0.is_empty()) {
            return Err(DataError::Option { key, expected: "the name of a column, or several", found: "none".into() });
        }
        if let Some(found) = self.missing.iter().find(|number| !number.is_finite()) {
            return Err(DataError::Option { key: "missing", expected: "finite numbers", found: found.to_string() });
        }
        if (self.format, self.align) == (Format::Wide, Align::End) {
            return Err(DataError::Option { key: "align", expected: "`stamp` with a wide file", found: "`end`".into() });
        }
        if let Some(hold) = self.hold.filter(|hold| self.every.is_none_or(|every| !every.is_like(*hold))) {
            let expected = "none without `every`, or a time as that is, or a number as that is";
            return Err(DataError::Option { key: "hold", expected, found: format!("`{hold}`") });
        }
        if self.outlier_factor.is_nan() || self.outlier_factor <= 0.0 {
            let found = self.outlier_factor.to_string();
            return Err(DataError::Option { key: "outlier_factor", expected: "a number above 0", found });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_says_only_what_differs() {
        assert_eq!(toml::from_str::<ReadOptions>("").expect("parses"), ReadOptions::default());
        let text = "format = \"long\"\nalign = \"end\"\noutliers = \"mask\"\nmemory = \"64 MiB\"\nmissing = [-9999]\npast = [\"wind\"]\n\
             id = [\"room\", \"meter\"]\ntarget = \"power\"";
        let options: ReadOptions = toml::from_str(text).expect("parses");
        let expected = ReadOptions {
            format: Format::Long,
            align: Align::End,
            outliers: Outliers::Mask,
            missing: vec![-9999.0],
            id: Names(vec!["room".into(), "meter".into()]),
            target: "power".into(),
            past: vec!["wind".into()],
            memory: Some(Bytes(64 << 20)),
            ..ReadOptions::default()
        };
        assert_eq!(options, expected);
        assert_eq!(toml::from_str::<ReadOptions>(&toml::to_string(&options).expect("writes")).expect("parses"), options);
        assert!(toml::from_str::<ReadOptions>("targets = []").is_err());
        let error = toml::from_str::<ReadOptions>("id = 1").expect_err("a number").to_string();
        assert!(error.contains("expected the name of a column, or a list of them"), "{error}");
        for (text, outliers) in [("report", Outliers::Report), ("mask", Outliers::Mask), ("glitches", Outliers::Glitches)] {
            let options: ReadOptions = toml::from_str(&format!("outliers = \"{text}\"")).expect(text);
            assert_eq!(options.outliers, outliers);
        }
    }

    #[test]
    fn options_that_cannot_be_are_refused() {
        for (text, expected) in [
            (
                "past = [\"a\"]\nfuture = [\"a\"]",
                "past, future: expected each column in one role, that of a series included, found `a` twice",
            ),
            ("past = [\"a\"]\ncolumns = [\"a\"]", "found `a` twice"),
            ("format = \"long\"\npast = [\"y\"]", "found `y` twice"),
            ("format = \"long\"\ntime = \"y\"", "found `y` twice"),
            ("format = \"long\"\ncolumns = [\"a\", \"a\"]", "columns: expected each series once, found `a` twice"),
            ("align = \"end\"", "align: expected `stamp` with a wide file, found `end`"),
            ("id = \"a\"", "id: expected none with a wide file that has no statics, found `a`"),
            ("target = [\"a\", \"b\"]", "whose others are targets, found `a`, `b`"),
            ("id = [\"a\", \"b\"]\nstatics = \"s.csv\"", "id: expected one with a wide file, whose statics"),
            ("format = \"long\"\nid = []", "id: expected the name of a column, or several, found none"),
            ("format = \"long\"\ntarget = [\"a\", \"ds\"]", "found `ds` twice"),
            ("missing = [nan]", "missing: expected finite numbers, found NaN"),
            ("outlier_factor = 0.0", "outlier_factor: expected a number above 0, found 0"),
            ("outlier_factor = nan", "outlier_factor: expected a number above 0, found NaN"),
        ] {
            let options: ReadOptions = toml::from_str(text).expect(text);
            let error = options.check().expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
    }
}
