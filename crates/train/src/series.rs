//! One column on its way to the network: its features at any row, made when they are asked for.
//!
//! Nothing is kept of a row. Marks keep the column's history at every so many rows; from the nearest one the samples between are pushed again. So features
//! and scales are [`ColumnHistory`]'s, bit for bit, and memory is a byte or so a row.

use foretoken_model::{Beside, Column, Covariates, ForecasterConfig, scaler::ColumnHistory};

/// Least rows from one mark to the next.
const EVERY: usize = 4096;
/// Least rows from one mark to the next, in samples that a history remembers.
const HISTORIES: usize = 8;

/// What all columns of a task share.
pub(crate) struct Shared<'a> {
    config: ForecasterConfig,
    covariates: Covariates,
    beside: Beside<'a>,
    /// What every column shows the others, `[column][row]`; none where they are not mixed.
    shown: Vec<Vec<f32>>,
}

impl<'a> Shared<'a> {
    /// Of covariates that fit the configuration.
    pub fn new(config: &ForecasterConfig, covariates: &Covariates, beside: Beside<'a>) -> Self {
        Self { config: config.clone(), covariates: covariates.clone(), beside, shown: Vec::new() }
    }

    /// The same with what every column shows the others.
    pub fn mixed(self, shown: Vec<Vec<f32>>) -> Self {
        Self { shown, ..self }
    }

    /// Values in a row of features.
    pub fn inputs(&self) -> usize {
        self.config.covariates.count() + self.config.taps
    }

    fn history(&self) -> ColumnHistory {
        ColumnHistory::new(self.config.taps, &self.config.scaler)
    }
}

/// A history before a row.
struct Mark {
    row: usize,
    /// Samples that are there before it.
    there: usize,
    history: ColumnHistory,
}

/// The training rows of one column.
pub(crate) struct Series<'a> {
    index: usize,
    column: Column,
    /// In the data's unit; NaN where one is missing.
    values: &'a [f64],
    marks: Vec<Mark>,
    /// Samples that are there.
    there: usize,
}

/// A sample that is there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Sample {
    pub row: usize,
    /// Rows missing before it, since the column has begun.
    pub gap: usize,
    /// Mean and deviation with it.
    pub scale: (f64, f64),
}

impl<'a> Series<'a> {
    pub fn new(index: usize, column: &Column, values: &'a [f64], shared: &Shared<'_>) -> Self {
        let mut series = Self { index, column: column.clone(), values, marks: Vec::new(), there: 0 };
        let (mut history, scaler) = (shared.history(), &shared.config.scaler);
        let every = EVERY.max(HISTORIES * history.capacity());
        for (row, &value) in values.iter().enumerate() {
            if row > 0 && row.is_multiple_of(every) {
                series.marks.push(Mark { row, there: series.there, history: history.clone() });
            }
            history.push(column.standardise(value), scaler);
            series.there += usize::from(!value.is_nan());
        }
        series
    }

    /// Samples that are there.
    pub fn there(&self) -> usize {
        self.there
    }

    /// Those of them before a row.
    pub fn there_before(&self, row: usize) -> usize {
        let after = self.values.get(row..).unwrap_or_default();
        self.there - after.iter().filter(|value| !value.is_nan()).count()
    }

    /// The standardised values from a row on, at most so many.
    pub fn values(&self, row: usize, count: usize) -> impl ExactSizeIterator<Item = f64> {
        self.values[row..self.values.len().min(row + count)].iter().map(|&value| self.column.standardise(value))
    }

    /// What this column shows the others.
    pub fn shown(&self, shared: &Shared<'_>) -> Vec<f32> {
        let (mut history, scaler) = (shared.history(), &shared.config.scaler);
        let at = |&value: &f64| {
            history.push(self.column.standardise(value), scaler);
            history.shown(scaler)
        };
        self.values.iter().map(at).collect()
    }

    /// What is known of a row.
    pub fn known(&self, shared: &Shared<'_>, row: usize, out: &mut [f32]) {
        shared.covariates.known_row(&shared.beside, self.index, row, out);
    }

    /// A walk from the sample on that has `start` samples before it.
    pub fn walk<'s>(&'s self, shared: &'s Shared<'a>, start: usize) -> Walk<'s, 'a> {
        let mark = self.marks.partition_point(|mark| mark.there <= start).checked_sub(1).map(|place| &self.marks[place]);
        let (row, there, history) = match mark {
            Some(mark) => (mark.row, mark.there, mark.history.clone()),
            None => (0, 0, shared.history()),
        };
        let mut walk = Walk { series: self, shared, history, row, shown_c: vec![0.0; shared.config.covariates.columns] };
        (there..start).for_each(|_| _ = walk.step());
        walk
    }
}

/// Samples one after the other.
pub(crate) struct Walk<'s, 'a> {
    series: &'s Series<'a>,
    shared: &'s Shared<'a>,
    history: ColumnHistory,
    row: usize,
    shown_c: Vec<f32>,
}

impl Walk<'_, '_> {
    /// The row of the next sample that is there, and what is missing before it.
    fn step(&mut self) -> Option<(usize, usize)> {
        loop {
            let value = self.series.column.standardise(*self.series.values.get(self.row)?);
            let gap = self.history.missed() as usize;
            self.history.push(value, &self.shared.config.scaler);
            self.row += 1;
            if !value.is_nan() {
                return Some((self.row - 1, gap));
            }
        }
    }

    /// The next sample that is there, its features in `features`; none at the end.
    pub fn next(&mut self, features: &mut [f32]) -> Option<Sample> {
        let (row, gap) = self.step()?;
        let (shared, index) = (self.shared, self.series.index);
        let config = &shared.config.covariates;
        let (own, taps) = features.split_at_mut(config.count());
        let (own, mixed) = own.split_at_mut(config.own());
        self.shown_c.iter_mut().zip(&shared.shown).for_each(|(to, column)| *to = column[row]);
        config.mix(index, &self.shown_c, mixed);
        shared.covariates.row(&shared.beside, index, row, own);
        self.history.features(&shared.config.scaler, taps);
        Some(Sample { row, gap, scale: self.history.scale(&shared.config.scaler) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROWS: usize = 3 * EVERY + 100;

    /// Two columns with single gaps, a long one over a mark, and a late beginning.
    fn columns() -> Vec<Vec<f64>> {
        let missing = |column: usize, row: usize| {
            (row + column).is_multiple_of(9) || (EVERY - 20..EVERY + 30).contains(&row) || (column == 1 && row < EVERY + 500)
        };
        let value = |column: usize, row: usize| (row as f64 * 0.37 + column as f64).sin() * 3.0 + (row % 11) as f64;
        let of = |column| (0..ROWS).map(|row| if missing(column, row) { f64::NAN } else { value(column, row) }).collect();
        (0..2).map(of).collect()
    }

    /// Every sample of a column with its features, from one history that remembers more than it must.
    fn plain(config: &ForecasterConfig, covariates: &Covariates, beside: &Beside<'_>, index: usize) -> Vec<(Sample, Vec<u32>)> {
        let (columns, scale) = (columns(), Column::new("a", 2.0, 3.0));
        let mut histories = vec![ColumnHistory::new(600, &config.scaler); 2];
        let mut samples = Vec::new();
        for row in 0..ROWS {
            let gap = histories[index].missed() as usize;
            for (history, column) in histories.iter_mut().zip(&columns) {
                history.push(scale.standardise(column[row]), &config.scaler);
            }
            if columns[index][row].is_nan() {
                continue;
            }
            let mut features = vec![0.0; config.covariates.count() + config.taps];
            let (own, rest) = features.split_at_mut(config.covariates.own());
            let (mixed, taps) = rest.split_at_mut(2 * config.covariates.columns);
            covariates.row(beside, index, row, own);
            let shown: Vec<f32> = histories.iter().map(|history| history.shown(&config.scaler)).collect();
            config.covariates.mix(index, &shown[..config.covariates.columns], mixed);
            histories[index].features(&config.scaler, taps);
            let sample = Sample { row, gap, scale: histories[index].scale(&config.scaler) };
            samples.push((sample, features.iter().map(|value| value.to_bits()).collect()));
        }
        samples
    }

    fn check(text: &str, columns_mixed: usize) {
        let mut config: ForecasterConfig = toml::from_str(&format!("horizon = 4\ntaps = 40\n{text}\nlayers = []")).unwrap();
        let along: Vec<f64> = (0..ROWS + 10).map(|row| if row % 7 == 3 { f64::NAN } else { row as f64 }).collect();
        let column = |name: &str| Column::new(name, 100.0, 7.0);
        let covariates = Covariates {
            past: vec![column("p")],
            known: vec![column("k")],
            statics: vec![column("s")],
            values_cs: vec![90.0, 120.0],
            response: None,
        };
        config.covariates = foretoken_model::covariates::CovariateConfig {
            past: 1,
            known: 1,
            statics: 1,
            columns: columns_mixed,
            ..Default::default()
        };
        let beside = Beside { past: vec![vec![&along[..ROWS], &along[5..]]], known: vec![vec![&along]] };
        let (values, scale) = (columns(), Column::new("a", 2.0, 3.0));
        let shared = Shared::new(&config, &covariates, beside.clone());
        let series: Vec<Series<'_>> =
            values.iter().enumerate().map(|(index, values)| Series::new(index, &scale, values, &shared)).collect();
        let shown = if columns_mixed > 0 { series.iter().map(|series| series.shown(&shared)).collect() } else { Vec::new() };
        let shared = shared.mixed(shown);
        for (index, series) in series.iter().enumerate() {
            let expected = plain(&config, &covariates, &beside, index);
            assert_eq!(series.there(), expected.len());
            for row in [0, 1, EVERY, ROWS - 1, ROWS, ROWS + 5] {
                assert_eq!(series.there_before(row), expected.iter().filter(|(sample, _)| sample.row < row).count());
            }
            for start in (0..expected.len()).step_by(977).chain([1, expected.len() - 1, expected.len()]) {
                let (mut walk, mut features) = (series.walk(&shared, start), vec![9.0; shared.inputs()]);
                for (sample, bits) in expected[start..].iter().take(300) {
                    assert_eq!(walk.next(&mut features).as_ref(), Some(sample), "{text}: {start}");
                    assert!(features.iter().map(|value| value.to_bits()).eq(bits.iter().copied()), "{text}: {sample:?}");
                }
                assert!(start + 300 < expected.len() || walk.next(&mut features).is_none());
            }
        }
    }

    #[test]
    fn features_made_anywhere_are_the_historys_bits() {
        check("scaler = { window = 48 }", 0);
        check("scaler = { window = 512 }", 2);
        check("scaler = { kind = \"prefix\" }", 2);
        check("scaler = { kind = \"exponential\", window = 100 }", 0);
    }
}
