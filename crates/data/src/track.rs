//! The rows of one clock: all of a wide file, or one series of a long one.

use crate::{
    Align, DataError, Every, FindingKind, Outliers, ReadOptions, Steps,
    audit::Ledger,
    grid::{self, Fit, Grid, Step, Unit},
    hold,
    hours::Open,
    outliers,
    stamps::{DAY, LARGEST, Style},
    table,
};
use std::{collections::BTreeMap, path::Path};

/// Rows in order of time, by column, in room that lies wherever the reader has it.
pub(crate) struct Track<'a> {
    /// The series; `None` for a wide file.
    pub name: Option<String>,
    /// Rows that there are; there is room for as many as were counted.
    pub rows: usize,
    /// Targets among the measured.
    pub targets: usize,
    /// Times; once they are placed, positions on the grid.
    pub ticks: &'a mut [i64],
    /// Numbers of the rows in the file; once they are placed, negative where the time is not on the grid.
    lines: &'a mut [i64],
    /// Targets, then covariates of the past, `[column][row]`.
    pub measured: Vec<&'a mut [f64]>,
    /// Covariates that are known for the future.
    pub known: Vec<&'a mut [f64]>,
    /// Rows up to the last with a target that was made missing as an outlier; 0 if none was.
    pub masked: usize,
    /// Within what measured values are no outliers, one a column; empty where outliers stay.
    pub limits: Vec<(f64, f64)>,
    /// Stamps by line that are written in another form than the file's.
    pub odd: BTreeMap<i64, Box<str>>,
}

/// How many times its rows a file may grow to when its gaps are filled.
const GROWTH: i64 = 3;

impl<'a> Track<'a> {
    /// Columns beside those of values.
    pub const OWN: usize = 2;

    /// A track in `room`, which is [`Track::OWN`] columns and one a value, of as many rows as fit.
    pub fn new(name: Option<String>, room: &'a mut [f64], targets: usize, measured: usize, known: usize) -> Self {
        let most = room.len() / (Self::OWN + measured + known);
        let (ticks, rest) = room.split_at_mut(most);
        let (lines, values) = rest.split_at_mut(most);
        let mut columns = values.chunks_exact_mut(most.max(1));
        let mut of = |count| (0..count).map(|_| columns.next().unwrap_or_default()).collect();
        let (measured, known) = (of(measured), of(known));
        let (ticks, lines) = (bytemuck::cast_slice_mut(ticks), bytemuck::cast_slice_mut(lines));
        Self { name, rows: 0, targets, ticks, lines, measured, known, masked: 0, limits: Vec::new(), odd: BTreeMap::new() }
    }

    /// Whether there is no room for another row.
    pub fn is_full(&self) -> bool {
        self.rows == self.ticks.len()
    }

    /// Adds a row, whose values are there already.
    pub fn push(&mut self, line: u64, ticks: i64) {
        (self.lines[self.rows], self.ticks[self.rows]) = (line as i64, ticks);
        self.rows += 1;
    }

    /// The number of a row in the file.
    pub fn line(&self, row: usize) -> u64 {
        self.lines[row].unsigned_abs()
    }

    /// Whether its time is on the grid.
    pub fn met(&self, row: usize) -> bool {
        self.lines[row] > 0
    }

    fn columns(&mut self) -> impl Iterator<Item = &mut &'a mut [f64]> {
        self.measured.iter_mut().chain(&mut self.known)
    }

    /// Whether two rows say the same.
    fn repeats(&self, one: usize, other: usize) -> bool {
        self.measured.iter().chain(&self.known).all(|column| column[one].to_bits() == column[other].to_bits())
    }

    fn copy(&mut self, from: usize, to: usize) {
        (self.ticks[to], self.lines[to]) = (self.ticks[from], self.lines[from]);
        self.columns().for_each(|column| column[to] = column[from]);
    }

    /// Sorts by time and counts the rows that were behind.
    pub fn sort(&mut self, ledger: &mut Ledger) {
        let (mut latest, mut behind) = (i64::MIN, false);
        for row in 0..self.rows {
            if self.ticks[row] < latest {
                behind = true;
                ledger.add(FindingKind::Reordered, self.name.as_deref(), 1, self.line(row));
            }
            latest = latest.max(self.ticks[row]);
        }
        if behind {
            let mut order: Vec<usize> = (0..self.rows).collect();
            order.sort_by_key(|&row| self.ticks[row]);
            arrange(self.ticks, &order);
            arrange(self.lines, &order);
            self.columns().for_each(|column| arrange(column, &order));
        }
    }

    /// Keeps the texts of the rows in a style that is not to be the file's, where the new one is another.
    pub fn keep_texts(&mut self, resolution: u8, style: Style, new: impl Fn(i64) -> Option<String>) {
        for row in 0..self.rows {
            let (line, ticks) = (self.lines[row], self.ticks[row]);
            if !self.odd.contains_key(&line)
                && let Some(text) = style.write(ticks, resolution)
                && new(ticks).is_none_or(|new| new != text)
            {
                self.odd.insert(line, text.into());
            }
        }
    }

    /// Counts ticks in parts of them; none if they are too many then.
    pub fn refine(&mut self, parts: i64) -> Option<()> {
        for ticks in &mut self.ticks[..self.rows] {
            *ticks = ticks.checked_mul(parts).filter(|ticks| ticks.unsigned_abs() < LARGEST)?;
        }
        Some(())
    }

    /// Makes the rows of each step of so many ticks one, with the means of their values but for the numbers `missing`. They are sorted.
    pub fn average(&mut self, size: i64, missing: &[f64], ledger: &mut Ledger) {
        let all = self.rows;
        let (mut from, mut kept) = (0, 0);
        while from < all {
            let begin = self.ticks[from].div_euclid(size) * size;
            let count = self.ticks[from..all].iter().take_while(|ticks| **ticks - begin < size).count();
            let name = self.name.as_deref();
            (from + 1..from + count).for_each(|row| ledger.add(FindingKind::Averaged, name, 1, self.lines[row].unsigned_abs()));
            for column in self.measured.iter_mut().chain(&mut self.known) {
                let present = column[from..from + count].iter().filter(|value| !value.is_nan() && !missing.contains(value));
                let (sum, count) = present.fold((0.0, 0usize), |(sum, count), value| (sum + value, count + 1));
                column[kept] = if count == 0 { f64::NAN } else { sum / count as f64 };
            }
            (self.ticks[kept], self.lines[kept]) = (begin, self.lines[from]);
            (from, kept) = (from + count, kept + 1);
        }
        self.rows = kept;
        self.odd.clear();
    }

    /// Counts ticks in wholes of so many, which all of them are.
    pub fn coarsen(&mut self, parts: i64) {
        self.ticks[..self.rows].iter_mut().for_each(|ticks| *ticks = ticks.div_euclid(parts));
    }

    /// Leaves out the rows that are not within the hours that rows are of. They are sorted.
    pub fn leave_out(&mut self, open: Open, ledger: &mut Ledger) {
        let mut kept = 0;
        for row in 0..self.rows {
            if open.place(self.ticks[row]).1 {
                self.copy(row, kept);
                kept += 1;
            } else {
                ledger.add(FindingKind::Outside, self.name.as_deref(), 1, self.line(row));
            }
        }
        self.rows = kept;
    }

    /// Gives every row its position, as that of a sequence.
    fn place(&mut self, fit: &Fit, sequence: usize, ledger: &mut Ledger) {
        let mut before = i64::MIN;
        for row in 0..self.rows {
            let ticks = self.ticks[row];
            let (position, met) = fit.position(sequence, row, ticks);
            // Of two that are nearest to one position the first is that of the one before, if it may be and that has none.
            let is_free = row < 2 || self.ticks[row - 2] < position - 1;
            if row > 0 && self.ticks[row - 1] == position && before < ticks && is_free && fit.may_be_late(sequence, before) {
                self.ticks[row - 1] -= 1;
            }
            before = ticks;
            self.ticks[row] = position;
            if !met {
                ledger.add(FindingKind::Snapped, self.name.as_deref(), 1, self.line(row));
                self.lines[row] = -self.lines[row];
            }
        }
    }

    /// Keeps one row a position: one on the grid before one off it, a later line before an earlier one.
    fn merge(&mut self, ledger: &mut Ledger) {
        let mut kept = 0;
        for row in 0..self.rows {
            if kept == 0 || self.ticks[kept - 1] != self.ticks[row] {
                self.copy(row, kept);
                kept += 1;
                continue;
            }
            let last = kept - 1;
            let kind = if self.repeats(row, last) { FindingKind::Duplicate } else { FindingKind::Conflict };
            ledger.add(kind, self.name.as_deref(), 1, self.line(row).max(self.line(last)));
            if (self.met(row), self.line(row)) > (self.met(last), self.line(last)) {
                self.copy(row, last);
            }
        }
        self.rows = kept;
    }

    /// Counts gaps, and what is inserted and repeated in them.
    fn gaps(&self, known: &[String], ledger: &mut Ledger) -> i64 {
        let mut inserted = 0i64;
        for row in 1..self.rows {
            let rows = self.ticks[row] - self.ticks[row - 1] - 1;
            if rows > 0 {
                inserted = inserted.saturating_add(rows);
                let (name, line) = (self.name.as_deref(), self.line(row));
                ledger.add(FindingKind::Gap, name, 1, line);
                ledger.add(FindingKind::Inserted, name, rows as usize, line);
                known.iter().for_each(|name| ledger.add(FindingKind::Repeated, Some(name), rows as usize, line));
            }
        }
        inserted
    }

    /// Rows up to the last one with a target that is none of the numbers `missing`, or was an outlier; all if there is none.
    pub fn observed(&self, missing: &[f64]) -> usize {
        let present = |row: usize| {
            let mut targets = self.measured[..self.targets].iter().map(|column| column[row]);
            targets.any(|value| !value.is_nan() && !missing.contains(&value))
        };
        (0..self.rows).rev().find(|&row| present(row) || row + 1 == self.masked).map_or(self.rows, |last| last + 1)
    }

    /// Makes missing what means it, counts what is missing, and looks for outliers. `names` are those of the measured columns.
    pub fn clean(&mut self, names: &[String], options: &ReadOptions, ledger: &mut Ledger) {
        let (observed, lines) = (self.observed(&options.missing), &*self.lines);
        for (at, (values, name)) in self.measured.iter_mut().zip(names).enumerate() {
            let values = &mut values[..self.rows];
            for (row, value) in values.iter_mut().enumerate() {
                let kind = if options.missing.contains(value) {
                    *value = f64::NAN;
                    FindingKind::Sentinel
                } else if value.is_nan() && (row < observed || self.known.is_empty()) {
                    FindingKind::Missing
                } else {
                    continue;
                };
                ledger.add(kind, Some(name), 1, lines[row].unsigned_abs());
            }
            let (low, high) = outliers::bounds(values.iter().copied(), options.outlier_factor);
            let is_outlier = |value: &f64| !value.is_nan() && !(low..=high).contains(value);
            let mask = match options.outliers {
                Outliers::Report => false,
                Outliers::Mask => true,
                Outliers::Glitches => {
                    let present = values.iter().filter(|value| !value.is_nan()).count();
                    let places = self.ticks.iter().copied();
                    let all: Vec<(i64, f64)> =
                        places.zip(values.iter().copied()).filter(|(_, value)| is_outlier(value)).collect();
                    outliers::are_glitches(&all, present)
                }
            };
            for (row, value) in values.iter_mut().enumerate().filter(|(_, value)| is_outlier(value)) {
                let kind = if mask { FindingKind::Masked } else { FindingKind::Outlier };
                ledger.add(kind, Some(name), 1, lines[row].unsigned_abs());
                if mask {
                    *value = f64::NAN;
                }
                if mask && at < self.targets {
                    self.masked = self.masked.max(row + 1);
                }
            }
            if options.outliers != Outliers::Report {
                self.limits.push(outliers::limits((low, high), values.iter().copied()));
            }
        }
    }
}

/// Puts `values[order[0]]`, `values[order[1]]`, … in front.
fn arrange<T: Copy>(values: &mut [T], order: &[usize]) {
    let arranged: Vec<T> = order.iter().map(|&from| values[from]).collect();
    values[..arranged.len()].copy_from_slice(&arranged);
}

/// The ticks of the tracks, those of one clock together.
pub(crate) fn groups<'a>(tracks: &'a [Track<'_>], align: Align) -> Vec<Vec<&'a [i64]>> {
    let size = if align == Align::Stamp { tracks.len().max(1) } else { 1 };
    tracks.chunks(size).map(|group| group.iter().map(|track| &track.ticks[..track.rows]).collect()).collect()
}

/// Whether most rows have a stamp of their own, or share it with such as say the same. Rows are sorted.
///
/// # Errors
/// More than half of them share it with another that says something else.
pub(crate) fn check_stamps(path: &Path, tracks: &[Track<'_>]) -> Result<(), DataError> {
    let all: usize = tracks.iter().map(|track| track.rows).sum();
    let (mut count, mut first) = (0, u64::MAX);
    for track in tracks {
        let mut begin = 0;
        for same in track.ticks[..track.rows].chunk_by(|one, other| one == other) {
            let rows = begin..begin + same.len();
            if rows.clone().any(|row| !track.repeats(begin, row)) {
                count += rows.len();
                // The one before it is the first with its stamp.
                first = first.min(track.line(begin + 1));
            }
            begin = rows.end;
        }
    }
    if 2 * count <= all {
        return Ok(());
    }
    let found = format!(
        "{count} of {all} rows with the stamp of another and different values, the first on line {first}: time may lie in more than \
         one column, as a day and an hour do, or the rows be of more than one series"
    );
    Err(table::fault(path, "one row a stamp", found))
}

/// Puts every row on the grid of its clock, one a position; the grids, one a track. Rows are sorted.
///
/// # Errors
/// More than half of the stamps off the grid by a tenth of its step or more, or gaps that make up more than two thirds of it.
pub(crate) fn regularise(
    path: &Path,
    tracks: &mut [Track<'_>],
    options: &ReadOptions,
    civil: bool,
    resolution: u8,
    open: Option<Open>,
    ledger: &mut Ledger,
) -> Result<Vec<Grid>, DataError> {
    let fit = match options.every.and_then(|every| every.ticks(resolution)) {
        Some(size) if open.is_none() => Fit::told(tracks.len(), size, civil),
        _ => grid::fit(&groups(tracks, options.align), civil, resolution, open),
    };
    let (grids, count) = (&fit.grids, fit.far);
    let all = tracks.iter().map(|track| track.rows).sum::<usize>();
    let words = grids.first().map_or(String::new(), |grid| grid::words(grid.step, resolution));
    if 2 * count > all {
        let off = |(track, grid): (&Track<'_>, &Grid)| {
            (0..track.rows).filter(|&row| !grid.is_near(track.ticks[row])).map(|row| track.line(row)).min()
        };
        let line = tracks.iter().zip(grids).filter_map(off).min().unwrap_or(0);
        let found = format!("{count} of {all} off the grid of {words}, the first on line {line}");
        let steps = options.every.map_or_else(|| fitting(tracks, civil, resolution), |_| None);
        return Err(DataError::Irregular { path: path.into(), expected: "stamps with a regular step".into(), found, steps });
    }
    for (sequence, track) in tracks.iter_mut().enumerate() {
        track.place(&fit, sequence, ledger);
    }
    let (mut kept, mut inserted) = (0, 0i64);
    for track in tracks.iter_mut() {
        track.merge(ledger);
        kept += track.rows as i64;
        inserted = inserted.saturating_add(track.gaps(&options.future, ledger));
    }
    match bounded(path, &words, kept, inserted) {
        Err(DataError::Irregular { path, expected, found, .. }) if options.every.is_none() => {
            for (track, grid) in tracks.iter_mut().zip(grids) {
                let rows = track.rows;
                track.ticks[..rows].iter_mut().for_each(|ticks| *ticks = grid.ticks(*ticks).unwrap_or(*ticks));
            }
            Err(DataError::Irregular { path, expected, found, steps: fitting(tracks, civil, resolution) })
        }
        bounded => bounded,
    }?;
    Ok(fit.grids)
}

/// Share of the steps of all series that have rows, where rows may be averaged over them, and steps that there are then.
const FULL: f64 = 0.75;
const FEWEST_STEPS: i64 = 100;
/// Steps that a value lasts.
const LASTING: i64 = 100;
/// Seconds since 1970 are more, from 1973 on.
const SINCE_1970: u64 = 100_000_000;

/// The shortest round step that most of have rows, of twice what lies between rows and more; where series tell of their changes alone, of what lies between rows in the
/// mean, and values last.
fn fitting(tracks: &[Track<'_>], civil: bool, resolution: u8) -> Option<Steps> {
    let ticks = || tracks.iter().map(|track| &track.ticks[..track.rows]);
    let mut apart: Vec<i64> =
        ticks().flat_map(|ticks| ticks.windows(2)).map(|pair| pair[1] - pair[0]).filter(|apart| *apart > 0).collect();
    let middle = apart.len() / 2;
    let median = if apart.is_empty() { return None } else { *apart.select_nth_unstable(middle).1 };
    let is_full = |size: &i64| {
        let (mut steps, mut full) = (0, 0);
        for ticks in ticks().filter(|ticks| !ticks.is_empty()) {
            let step = |row: usize| ticks[row].div_euclid(*size);
            steps += step(ticks.len() - 1) - step(0) + 1;
            full += 1 + (1..ticks.len()).filter(|&row| step(row) != step(row - 1)).count() as i64;
        }
        full >= FEWEST_STEPS && full as f64 >= FULL * steps as f64
    };
    // Numbers as large as times since 1970 are such, of seconds or parts of them.
    let (second, largest) =
        (10i64.pow(resolution.into()), ticks().flatten().map(|ticks| ticks.unsigned_abs()).max().unwrap_or(0));
    let parts = [9, 6, 3, 0].into_iter().filter_map(|digits| second.checked_mul(10i64.pow(digits)));
    let since_1970 = |parts: &i64| u128::from(SINCE_1970) * u128::from(parts.unsigned_abs()) <= u128::from(largest);
    let second = if civil { Some(second) } else { parts.clone().find(since_1970) };
    let every = |size| Every::of_ticks(size, resolution, civil);
    if !hold::tell_changes(tracks, false) {
        let size = grid::round_sizes(second).filter(|size| *size >= 2 * median).find(is_full)?;
        return Some(Steps { every: every(size)?, hold: None });
    }
    let spans = ticks().filter_map(|ticks| Some(i128::from(*ticks.last()?) - i128::from(*ticks.first()?)));
    let (span, rows) = (spans.sum::<i128>(), apart.len() as i128);
    let size = grid::round_sizes(second).find(|size| i128::from(*size) * rows >= span)?;
    let hold = lasting(size, second, &every);
    (span >= i128::from(FEWEST_STEPS) * i128::from(size)).then_some(Steps { every: every(size)?, hold })
}

/// How long values last: a day, or a hundred steps if that is longer or nobody knows what a day is.
fn lasting(size: i64, second: Option<i64>, every: &impl Fn(i64) -> Option<Every>) -> Option<Every> {
    second.and_then(|second| every(second.checked_mul(DAY)?)).max(every(size.checked_mul(LASTING)?))
}

/// By what values on a grid may last, where they are told when they change.
pub(crate) fn changing(tracks: &[Track<'_>], step: Step, resolution: u8) -> Option<Steps> {
    let civil = match step.unit {
        Unit::Second => true,
        Unit::Count => false,
        Unit::Month | Unit::Open(_) => return None,
    };
    let every = |size| Every::of_ticks(size, resolution, civil);
    let second = civil.then(|| 10i64.pow(resolution.into()));
    let hold = lasting(step.size, second, &every);
    (step.parts == 1 && hold::tell_changes(tracks, true)).then_some(Steps { every: every(step.size)?, hold })
}

/// Whether so few rows may be so many with the gaps filled.
pub(crate) fn bounded(path: &Path, step: &str, rows: i64, inserted: i64) -> Result<(), DataError> {
    if inserted <= (GROWTH - 1) * rows {
        return Ok(());
    }
    let found = format!("{rows} rows and {inserted} missing between them");
    let expected = format!("rows on at least a third of the grid of {step}");
    Err(DataError::Irregular { path: path.into(), expected, found, steps: None })
}
