//! Further files of a run, `data.also`: their training rows are learned from, by the linear expert and by the network.
//!
//! ```text
//! rows      [ training …              | validation | test ]     of the run's own file
//!               [ training …          | validation …            of a further one: the ends of the training rows meet
//! ```
//! What lies behind its training rows is kept for what is fitted again on later rows; whoever fits says which rows are learned from.

use crate::{
    error::CliError,
    run::{DataConfig, Prepared, read_series, standardise},
    say::remark,
};
use foretoken_data::{Audit, Signal, Values};
use foretoken_model::{Column, file::folder};
use std::path::{Path, PathBuf};

/// A further file, on the rows of the run's own.
pub struct Also {
    /// Where it came from.
    pub path: PathBuf,
    /// What was found in it.
    pub audit: Audit,
    /// Its series: the file's name before theirs, and statistics over its own training rows.
    pub columns: Vec<Column>,
    /// In their own units; NaN where a series has no value, before and behind the file's rows too.
    pub values: Vec<Values>,
    /// The same, standardised.
    pub standardised: Vec<Values>,
}

/// Whether two paths lead to one file.
pub(crate) fn is_same(one: &Path, other: &Path) -> bool {
    // A file that is not there yet lies in a folder that is.
    let new = |path: &Path| Some(folder(path).canonicalize().ok()?.join(path.file_name()?));
    let real = |path: &Path| path.canonicalize().ok().or_else(|| new(path)).unwrap_or_else(|| path.into());
    real(one) == real(other)
}

impl DataConfig {
    /// Whether there can be such further files in the run at `path`.
    ///
    /// # Errors
    /// Anything beside the series, which further ones would lack; a file that is there twice.
    pub fn check_also(&self, path: &Path) -> Result<(), CliError> {
        let refused = |expected, found| Err(CliError::file(path, format!("data.also: expected {expected}, found {found}")));
        let beside = [
            ("data.read.past", !self.read.past.is_empty()),
            ("data.read.future", !self.read.future.is_empty()),
            ("data.read.statics", self.read.statics.is_some()),
            ("data.calendar", !self.calendar.is_empty()),
            ("data.mix", self.mix),
        ];
        if let Some((key, _)) = beside.iter().find(|(_, given)| *given && !self.also.is_empty()) {
            return refused("series without covariates", (*key).to_string());
        }
        let again = |&(place, file): &(usize, &PathBuf)| {
            std::iter::once(&self.path).chain(&self.also[..place]).any(|before| is_same(before, file))
        };
        match self.also.iter().enumerate().find(again) {
            Some((_, file)) => refused("files other than data.path, each once", format!("{} again", file.display())),
            None => Ok(()),
        }
    }

    /// Reads the further files onto the rows of `main`, which is not among them.
    pub(crate) fn read_also(&self, main: &Prepared) -> Result<Vec<Also>, CliError> {
        self.also.iter().filter(|path| !is_same(path, &main.path)).map(|path| self.read_one(path, main)).collect()
    }

    fn read_one(&self, path: &Path, main: &Prepared) -> Result<Also, CliError> {
        let (signal, audit) = read_series(path, &self.read, self.columns.as_deref())?;
        let named = |error| CliError::file(path, error);
        let train = self.split.resolve(signal.observed_len()).map_err(named)?.train;
        let most = main.ranges.train.end;
        // Of a longer one the last.
        let cut = train.end.saturating_sub(most);
        if cut > 0 {
            let (path, all, main) = (path.display(), train.len(), main.path.display());
            remark!("{path}: learned from the last {} of its {all} training rows, as many as {main} has", all - cut);
        }
        let mut columns = self.statistics(&signal, cut..train.end).map_err(named)?;
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        columns.iter_mut().for_each(|column| column.name = format!("{stem}/{}", column.name));
        let values = lay(&signal, cut, most + cut - train.end, main.signal.len())?;
        Ok(Also { path: path.into(), audit, standardised: standardise(&columns, &values)?, columns, values })
    }
}

/// The columns of a signal from its row `cut` on, on so many rows, of which `first` is that one.
fn lay(signal: &Signal, cut: usize, first: usize, rows: usize) -> Result<Vec<Values>, CliError> {
    let mapped = signal.columns.iter().any(Values::is_mapped);
    let laid = Values::table(signal.columns.len(), rows, mapped, |index, to| {
        to.fill(f64::NAN);
        to[first..].iter_mut().zip(&signal.columns[index][cut..]).for_each(|(to, &value)| *to = value);
    });
    Ok(laid?)
}

#[cfg(test)]
mod tests {
    use crate::run::Run;
    use foretoken_data::Values;
    use std::fmt::Write;

    /// Rows of a file with a column that counts from `first` and is missing in row 3.
    fn csv(first: usize, rows: usize) -> String {
        let mut text = "time,a,b\n".to_string();
        for row in 0..rows {
            let a = if row == 3 { String::new() } else { (first + row).to_string() };
            writeln!(text, "{row},{a},{}", (row * row) % 7).unwrap();
        }
        text
    }

    /// The first further column's values, where it begins, and where it ends, for files of so many rows.
    fn check(split: &str, rows: [usize; 2], train: usize, expected: std::ops::Range<usize>) {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        write("main.csv", &csv(0, rows[0]));
        write("more.csv", &csv(100, rows[1]));
        let text = format!(
            "[data]\npath = 'main.csv'\nalso = ['more.csv']\nsplit = {split}\nseason = 2\ncolumns = ['a']\n\
             [model]\nhorizon = 1\nlayers = []"
        );
        write("run.toml", &text);
        let data = Run::read(&folder.path().join("run.toml")).unwrap().data.prepare().unwrap();
        let [also] = &data.also[..] else { panic!("one file") };
        assert_eq!((also.columns.len(), also.columns[0].name.as_str()), (1, "more/a"));
        let values: &Values = &also.values[0];
        assert_eq!(values.len(), rows[0]);
        // Rows of the further file that lie before the first.
        let cut = train.saturating_sub(data.ranges.train.end);
        for (row, value) in values.iter().enumerate() {
            let of_file = (row + cut).wrapping_sub(expected.start);
            let there = expected.contains(&row) && of_file != 3;
            let own = (100 + of_file) as f64;
            assert!(if there { *value == own } else { value.is_nan() }, "{split}: {values:?}");
        }
        // Units are those of its own training rows, whose ends meet the others'.
        let of_training = (cut..train).filter(|row| *row != 3).map(|row| (100 + row) as f64);
        let mean = of_training.clone().sum::<f64>() / of_training.count() as f64;
        assert_eq!((also.columns[0].mean, data.ranges.train.end), (mean, expected.start + train - cut));
        let standardised = also.standardised[0][expected.start];
        assert_eq!(standardised, also.columns[0].standardise((100 + cut) as f64));
    }

    #[test]
    fn the_ends_of_the_training_rows_meet() {
        check("{ shares = [0.5, 0.25, 0.25] }", [20, 12], 6, 4..16);
        check("{ rows = [6, 2, 2] }", [10, 10], 6, 0..10);
        check("{ rows = [6, 2, 2] }", [12, 30], 6, 0..12);
        check("{ last = [2, 2] }", [15, 14], 10, 1..15);
        // Of a longer one the last.
        check("{ last = [2, 2] }", [15, 24], 20, 0..15);
    }

    #[test]
    fn rows_behind_the_last_value_are_in_no_part() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
        let behind = |rows: usize| (rows..rows + 5).map(|row| format!("{row},,\n")).collect::<String>();
        write("main.csv", &(csv(0, 15) + &behind(15)));
        write("more.csv", &(csv(100, 14) + &behind(14)));
        let text = "[data]\npath = 'main.csv'\nalso = ['more.csv']\nsplit = { last = [2, 2] }\nseason = 2\n\
                    [model]\nhorizon = 1\nlayers = []";
        write("run.toml", text);
        let data = Run::read(&folder.path().join("run.toml")).unwrap().data.prepare().unwrap();
        assert_eq!((data.ranges.train, data.ranges.test, data.signal.len()), (0..11, 13..15, 20));
        assert_eq!((data.also[0].values[0][0].is_nan(), data.also[0].values[0][1]), (true, 100.0));
    }
}
