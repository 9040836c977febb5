//! What was found in a file and what was done about it.

use crate::{DateOrder, Decimal, Hours, Steps};
use serde::Serialize;
use std::collections::BTreeMap;

/// What [`read`](crate::read) found in a file. Nothing is repaired that is not in here.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audit {
    /// Rows of the signal.
    pub rows: usize,
    /// Its series.
    pub series: usize,
    /// Names of the series that were not asked for.
    #[serde(skip)]
    pub others: Vec<String>,
    /// Its step: `10 min`, `1 h`, `1 d`, `1 mo`, `1 y`, or a plain number for integer stamps; `-` for a single row.
    pub step: String,
    /// About so many seconds, of stamps that are dates or times.
    #[serde(skip)]
    pub seconds: Option<f64>,
    /// The hours of the week that rows are of.
    pub hours: Hours,
    /// The order of dates, where these have the year last.
    pub dates: Option<DateOrder>,
    /// What stands before decimals, where that is a comma.
    pub decimal: Option<Decimal>,
    /// By what values may last, where they are told when they change.
    #[serde(skip)]
    pub changes: Option<Steps>,
    /// What was found, by kind, then by column.
    pub findings: Vec<Finding>,
}

/// One kind of finding in one column.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// What was found.
    pub kind: FindingKind,
    /// The column or series; `None` if it concerns the whole file.
    pub column: Option<String>,
    /// How often.
    pub count: usize,
    /// First line of the file it was found on, from 1.
    pub line: u64,
}

/// What can be found in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// Bytes that are not UTF-8.
    Latin1,
    /// Lines above the header.
    Preamble,
    /// A line of units under it.
    Units,
    /// Numbers of the rows, in front of their stamps.
    Numbered,
    /// Stamps in another column than the first, which has none.
    StampsBehind,
    /// Times of day in a column of their own.
    Joined,
    /// Rows with nothing in any field.
    Blank,
    /// Dates with the year last, read with the day first.
    DayFirst,
    /// Dates with the year last, read with the month first.
    MonthFirst,
    /// Dates with two digits of the year, and these first.
    YearFirst,
    /// Numbers with a decimal comma, or points between thousands.
    DecimalComma,
    /// Numbers with signs between their thousands.
    Thousands,
    /// Rows earlier than one before them: of a long file, or all but the first of a wide one that has the newest first.
    Reordered,
    /// Rows that are one with others of their step.
    Averaged,
    /// Steps without a row, into which values of rows before last.
    Held,
    /// Values that are missing, or mean it, in rows of what lasts.
    Untold,
    /// Rows that are not within the hours that rows are of.
    Outside,
    /// Stamps off the regular grid.
    Snapped,
    /// Rows that repeat another.
    Duplicate,
    /// Rows with the stamp of another and different values.
    Conflict,
    /// Places where rows are missing.
    Gap,
    /// Rows missing in the gaps.
    Inserted,
    /// Values in the gaps of covariates that are known for the future.
    Repeated,
    /// Fields that are empty or say that they are missing; those of the future do not count.
    Missing,
    /// Numbers that mean missing.
    Sentinel,
    /// Outliers that stay.
    Outlier,
    /// Outliers that were made missing.
    Masked,
}

impl FindingKind {
    /// What it is and what was done.
    fn words(self) -> [&'static str; 2] {
        match self {
            Self::Latin1 => ["bytes that are not UTF-8", "read as Latin-1"],
            Self::Preamble => ["lines above the header", "left out"],
            Self::Units => ["a line without numbers, under the header", "left out"],
            Self::Numbered => ["numbers of rows, before the stamps", "left out"],
            Self::StampsBehind => ["stamps that are not in the first column", "taken as the stamps"],
            Self::Joined => ["times of day, beside their dates", "joined with them"],
            Self::Blank => ["rows without anything", "left out"],
            Self::DayFirst => ["dates with the year last", "read with the day first"],
            Self::MonthFirst => ["dates with the year last", "read with the month first"],
            Self::YearFirst => ["dates with two digits of the year", "read with these first"],
            Self::DecimalComma => ["numbers with a decimal comma", "read with a point"],
            Self::Thousands => ["numbers with signs between thousands", "read without"],
            Self::Reordered => ["rows out of order", "sorted"],
            Self::Averaged => ["rows beside others of their step", "averaged"],
            Self::Held => ["steps without a row", "the value before lasts"],
            Self::Untold => ["missing values where values last", "the value before lasts"],
            Self::Outside => ["rows outside of the hours", "left out"],
            Self::Snapped => ["stamps off the grid", "moved to a regular step"],
            Self::Duplicate => ["repeated rows", "merged"],
            Self::Conflict => ["rows with one stamp and different values", "last one on the grid kept"],
            Self::Gap => ["gaps", "filled"],
            Self::Inserted => ["rows missing in gaps", "inserted, without values"],
            Self::Repeated => ["known values missing in gaps", "last one repeated"],
            Self::Missing => ["missing values", "kept missing"],
            Self::Sentinel => ["numbers that mean missing", "made missing"],
            Self::Outlier => ["outliers", "kept"],
            Self::Masked => ["outliers", "made missing"],
        }
    }
}

/// Columns that a line of [`Audit::lines`] names.
const NAMED: usize = 3;

impl Audit {
    /// Whether there is nothing to say.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    /// How often something was found, in all columns.
    pub fn total(&self, kind: FindingKind) -> usize {
        self.findings.iter().filter(|finding| finding.kind == kind).map(|finding| finding.count).sum()
    }

    /// One line a kind: what was found, how often, where (the columns with most of it, the first line), what was done.
    pub fn lines(&self) -> Vec<[String; 4]> {
        self.findings.chunk_by(|one, next| one.kind == next.kind).map(|same| self.line(same)).collect()
    }

    fn line(&self, same: &[Finding]) -> [String; 4] {
        let kind = same[0].kind;
        let mut columns: Vec<(&str, usize)> =
            same.iter().filter_map(|finding| Some((finding.column.as_deref()?, finding.count))).collect();
        columns.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut places: Vec<String> = columns.iter().take(NAMED).map(|(name, count)| format!("`{name}` {count}")).collect();
        if columns.len() > NAMED {
            places.push(format!("{} more", columns.len() - NAMED));
        }
        let first = same.iter().map(|finding| finding.line).min().unwrap_or(0);
        places.push(format!("first on line {first}"));
        let [what, done] = kind.words();
        [what.into(), self.total(kind).to_string(), places.join(", "), done.into()]
    }
}

/// Findings as they are made: count and first line by kind and column.
#[derive(Default)]
pub(crate) struct Ledger(BTreeMap<(FindingKind, Option<String>), (usize, u64)>);

impl Ledger {
    pub fn add(&mut self, kind: FindingKind, column: Option<&str>, count: usize, line: u64) {
        let (total, first) = self.0.entry((kind, column.map(String::from))).or_insert((0, line));
        (*total, *first) = (total.saturating_add(count), line.min(*first));
    }

    pub fn close(self) -> Vec<Finding> {
        let finding = |((kind, column), (count, line))| Finding { kind, column, count, line };
        self.0.into_iter().map(finding).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_the_worst_columns_and_the_first_line() {
        let mut ledger = Ledger::default();
        for (column, count, line) in [("a", 1, 9), ("b", 4, 8), ("c", 2, 7), ("d", 3, 6), ("a", 1, 5)] {
            ledger.add(FindingKind::Missing, Some(column), count, line);
        }
        ledger.add(FindingKind::Gap, None, 1, 3);
        let audit = Audit {
            rows: 1,
            series: 4,
            others: Vec::new(),
            step: "1".into(),
            seconds: None,
            hours: Hours::ALWAYS,
            dates: None,
            decimal: None,
            changes: None,
            findings: ledger.close(),
        };
        assert!(!audit.is_clean());
        assert_eq!((audit.total(FindingKind::Missing), audit.total(FindingKind::Masked)), (11, 0));
        assert_eq!(
            audit.lines(),
            [
                ["gaps", "1", "first on line 3", "filled"],
                ["missing values", "11", "`b` 4, `d` 3, `a` 2, 1 more, first on line 5", "kept missing"],
            ]
        );
    }
}
