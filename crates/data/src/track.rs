//! The rows of one clock: all of a wide file, or one series of a long one.

use crate::{
    Align, DataError, FindingKind, Outliers, ReadOptions,
    audit::Ledger,
    grid::{self, Grid},
    outliers, table,
};
use std::path::Path;

/// One line of a file.
pub(crate) struct Row {
    pub line: u64,
    pub ticks: i64,
    pub stamp: String,
    /// Targets, then covariates of the past.
    pub measured: Vec<f64>,
    /// Covariates that are known for the future.
    pub known: Vec<f64>,
    /// Position on the grid.
    pub position: i64,
    /// Whether its stamp is on the grid.
    pub met: bool,
}

impl Row {
    /// Whether both say the same of their stamp.
    fn repeats(&self, other: &Self) -> bool {
        let same = |one: &[f64], two: &[f64]| one.iter().zip(two).all(|(one, two)| one.to_bits() == two.to_bits());
        same(&self.measured, &other.measured) && same(&self.known, &other.known)
    }
}

/// Rows in order of time.
pub(crate) struct Track {
    /// The series; `None` for a wide file.
    pub name: Option<String>,
    pub rows: Vec<Row>,
    /// Targets among the measured.
    pub targets: usize,
}

/// How many times its rows a file may grow to when its gaps are filled.
const GROWTH: i64 = 3;

impl Track {
    /// Sorts by time and counts the rows that were behind.
    pub fn sort(&mut self, ledger: &mut Ledger) {
        let mut latest = i64::MIN;
        for row in &self.rows {
            if row.ticks < latest {
                ledger.add(FindingKind::Reordered, self.name.as_deref(), 1, row.line);
            }
            latest = latest.max(row.ticks);
        }
        self.rows.sort_by_key(|row| row.ticks);
    }

    /// Gives every row its position.
    fn place(&mut self, grid: &Grid, ledger: &mut Ledger) {
        for row in &mut self.rows {
            (row.position, row.met) = grid.position(row.ticks);
            if !row.met {
                ledger.add(FindingKind::Snapped, self.name.as_deref(), 1, row.line);
            }
        }
    }

    /// Keeps one row a position: one on the grid before one off it, a later line before an earlier one.
    fn merge(&mut self, ledger: &mut Ledger) {
        let name = self.name.as_deref();
        let mut merged: Vec<Row> = Vec::with_capacity(self.rows.len());
        for row in std::mem::take(&mut self.rows) {
            let Some(last) = merged.last_mut().filter(|last| last.position == row.position) else {
                merged.push(row);
                continue;
            };
            let kind = if row.repeats(last) { FindingKind::Duplicate } else { FindingKind::Conflict };
            ledger.add(kind, name, 1, row.line.max(last.line));
            if (row.met, row.line) > (last.met, last.line) {
                *last = row;
            }
        }
        self.rows = merged;
    }

    /// Counts gaps, and what is inserted and repeated in them.
    fn gaps(&self, known: &[String], ledger: &mut Ledger) -> i64 {
        let mut inserted = 0i64;
        for pair in self.rows.windows(2) {
            let rows = pair[1].position - pair[0].position - 1;
            if rows > 0 {
                inserted = inserted.saturating_add(rows);
                let (name, line) = (self.name.as_deref(), pair[1].line);
                ledger.add(FindingKind::Gap, name, 1, line);
                ledger.add(FindingKind::Inserted, name, rows as usize, line);
                known.iter().for_each(|name| ledger.add(FindingKind::Repeated, Some(name), rows as usize, line));
            }
        }
        inserted
    }

    /// Rows up to the last one with a target that is none of the numbers `missing`; all if there is none.
    pub fn observed(&self, missing: &[f64]) -> usize {
        let present = |value: &f64| !value.is_nan() && !missing.contains(value);
        let last = self.rows.iter().rposition(|row| row.measured[..self.targets].iter().any(present));
        last.map_or(self.rows.len(), |last| last + 1)
    }

    /// Makes missing what means it, counts what is missing, and looks for outliers. `names` are those of the measured columns.
    pub fn clean(&mut self, names: &[String], options: &ReadOptions, ledger: &mut Ledger) {
        let observed = self.observed(&options.missing);
        for (index, row) in self.rows.iter_mut().enumerate() {
            for (value, name) in row.measured.iter_mut().zip(names) {
                if options.missing.contains(value) {
                    *value = f64::NAN;
                    ledger.add(FindingKind::Sentinel, Some(name), 1, row.line);
                } else if value.is_nan() && (index < observed || row.known.is_empty()) {
                    ledger.add(FindingKind::Missing, Some(name), 1, row.line);
                }
            }
        }
        for (column, name) in names.iter().enumerate() {
            let (low, high) = outliers::bounds(self.rows.iter().map(|row| row.measured[column]), options.outlier_factor);
            for row in &mut self.rows {
                let value = &mut row.measured[column];
                if !value.is_nan() && !(low..=high).contains(value) {
                    let mask = options.outliers == Outliers::Mask;
                    ledger.add(if mask { FindingKind::Masked } else { FindingKind::Outlier }, Some(name), 1, row.line);
                    if mask {
                        *value = f64::NAN;
                    }
                }
            }
        }
    }
}

/// Puts every row on the grid of its clock, one a position; the grids, one a track. Rows are sorted.
///
/// # Errors
/// More than half of the stamps off the grid, or gaps that make up more than two thirds of it.
pub(crate) fn regularise(
    path: &Path,
    tracks: &mut [Track],
    known: &[String],
    civil: bool,
    align: Align,
    ledger: &mut Ledger,
) -> Result<Vec<Grid>, DataError> {
    let ticks: Vec<Vec<i64>> = tracks.iter().map(|track| track.rows.iter().map(|row| row.ticks).collect()).collect();
    let size = if align == Align::Stamp { tracks.len().max(1) } else { 1 };
    let groups: Vec<Vec<&[i64]>> = ticks.chunks(size).map(|group| group.iter().map(Vec::as_slice).collect()).collect();
    let (unit, step) = grid::step(&groups, civil);
    let fitted = groups.iter().flat_map(|group| std::iter::repeat_n(Grid::fit(unit, step, group), group.len()));
    let grids: Vec<Grid> = fitted.collect();
    for (track, grid) in tracks.iter_mut().zip(&grids) {
        track.place(grid, ledger);
    }
    let words = grid::words(unit, step);
    let rows = || tracks.iter().flat_map(|track| &track.rows);
    let (all, off) = (rows().count(), rows().filter(|row| !row.met).count());
    if off > all / 2 {
        let line = rows().filter(|row| !row.met).map(|row| row.line).min().unwrap_or(0);
        let found = format!("{off} of {all} off the grid of {words}, the first on line {line}");
        return Err(table::fault(path, "stamps with a regular step", found));
    }
    let (mut kept, mut inserted) = (0, 0i64);
    for track in tracks.iter_mut() {
        track.merge(ledger);
        kept += track.rows.len() as i64;
        inserted = inserted.saturating_add(track.gaps(known, ledger));
    }
    bounded(path, &words, kept, inserted)?;
    Ok(grids)
}

/// Whether so few rows may be so many with the gaps filled.
pub(crate) fn bounded(path: &Path, step: &str, rows: i64, inserted: i64) -> Result<(), DataError> {
    if inserted <= (GROWTH - 1) * rows {
        return Ok(());
    }
    let found = format!("{rows} rows and {inserted} missing between them");
    Err(table::fault(path, format!("rows on at least a third of the grid of {step}"), found))
}
