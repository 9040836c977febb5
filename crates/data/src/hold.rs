//! Values that last until the next, and their means over steps, where sensors tell of changes alone.

use crate::{
    Align, DataError, Every, FindingKind, Numbers, ReadOptions, audit::Ledger, stamps::SECOND, table, track::Track, values,
};
use serde::{Deserialize, Serialize};
use std::path::Path;

/// A value that lasts.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lasting {
    /// What was told last.
    pub value: f64,
    /// For how long at most, in nanoseconds, or billionths of a number, after the row.
    pub rest: i64,
}

/// What a series says, and its mean over the step that has begun. Times are nanoseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// What was told last, and until when it lasts.
    last: Option<(f64, i128)>,
    /// Until where the step is summed.
    from: i128,
    /// The first value of the step, from which those that follow differ by `area` in all.
    base: f64,
    area: f64,
    covered: i128,
}

impl Default for Held {
    fn default() -> Self {
        Self { last: None, from: i128::MIN, base: 0.0, area: 0.0, covered: 0 }
    }
}

impl Held {
    /// What lasts from then on.
    pub fn resume(last: Option<Lasting>, from: i128) -> Self {
        Self { last: last.map(|last| (last.value, from + i128::from(last.rest))), from, ..Self::default() }
    }

    /// What lasts still where the step has ended.
    pub fn last(&self) -> Option<Lasting> {
        let (value, until) = self.last?;
        let rest = i64::try_from(until - self.from).ok().filter(|rest| *rest > 0)?;
        Some(Lasting { value, rest })
    }

    fn reach(&mut self, time: i128) {
        if let Some((value, until)) = self.last {
            let lasted = time.min(until) - self.from;
            if lasted > 0 {
                if self.covered == 0 {
                    self.base = value;
                }
                self.area += (value - self.base) * lasted as f64;
                self.covered += lasted;
            }
        }
        self.from = self.from.max(time);
    }

    /// Takes a value, which lasts so long; NaN tells nothing. Times do not go back.
    pub fn tell(&mut self, time: i128, value: f64, hold: i64) {
        if !value.is_nan() {
            self.reach(time);
            self.last = Some((value, time + i128::from(hold)));
        }
    }

    /// The mean of the step that ends then; NaN where nothing lasted into it.
    pub fn end(&mut self, time: i128) -> f64 {
        self.reach(time);
        let mean = if self.covered == 0 { f64::NAN } else { self.base + self.area / self.covered as f64 };
        (self.area, self.covered) = (0.0, 0);
        mean
    }
}

/// Steps a row in the mean, at most.
const MOST_STEPS: usize = 1000;

/// How the values of a file last, in its ticks.
pub(crate) struct Holding<'a> {
    /// Ticks of a step.
    size: i64,
    /// Nanoseconds of a tick.
    tick: i64,
    /// Nanoseconds that a value lasts at most.
    hold: i64,
    /// Numbers that mean missing.
    missing: &'a [f64],
    /// The last stamp, into whose step values last; each series' own where they have no common clock.
    last: Option<i64>,
}

impl<'a> Holding<'a> {
    /// Steps of so many ticks, and values that last so long. Tracks are sorted.
    pub fn of(size: i64, hold: Every, resolution: u8, tracks: &[Track<'_>], options: &'a ReadOptions) -> Self {
        let last = tracks.iter().map(|track| track.ticks[track.rows - 1]).max();
        Self {
            size,
            tick: (SECOND / 10i128.pow(resolution.into())) as i64,
            hold: hold.nanoseconds(),
            missing: &options.missing,
            last: last.filter(|_| options.align == Align::Stamp),
        }
    }

    fn last_step(&self, track: &Track<'_>) -> i64 {
        self.last.unwrap_or(track.ticks[track.rows - 1]).div_euclid(self.size)
    }

    /// Steps that the track may have.
    fn most(&self, track: &Track<'_>) -> usize {
        let lasts = self.hold / self.tick / self.size + 2;
        let step = |row: usize| track.ticks[row].div_euclid(self.size);
        let next = |row: usize| if row + 1 < track.rows { step(row + 1) } else { self.last_step(track) + 1 };
        (0..track.rows).map(|row| (next(row) - step(row)).min(lasts) as usize).fold(0, usize::saturating_add)
    }

    /// Room for the steps of all tracks, mapped where it is more than so many bytes.
    ///
    /// # Errors
    /// More than a thousand steps a row in the mean, or no room.
    pub fn room(&self, path: &Path, tracks: &[Track<'_>], budget: u64) -> Result<Numbers, DataError> {
        let all = tracks.iter().map(|track| track.rows).fold(0, usize::saturating_add);
        let steps = tracks.iter().map(|track| self.most(track)).fold(0, usize::saturating_add);
        if steps / MOST_STEPS > all {
            let expected = format!("at most {MOST_STEPS} steps (`every`) a row in the mean, into which its values last (`hold`)");
            return Err(table::fault(path, expected, format!("{steps} steps of {all} rows")));
        }
        let words = steps.saturating_mul(width(&tracks[0]));
        values::numbers(words, (words as u64).saturating_mul(8) > budget)
    }

    /// Tracks with the means of what lasts in each step, in that room.
    pub fn fill<'b>(&self, tracks: &[Track<'_>], mut room: &'b mut [f64], ledger: &mut Ledger) -> Vec<Track<'b>> {
        let mut filled = Vec::with_capacity(tracks.len());
        for track in tracks {
            let own;
            (own, room) = room.split_at_mut(self.most(track) * width(track));
            filled.push(self.steps(track, own, ledger));
        }
        filled
    }

    fn steps<'b>(&self, from: &Track<'_>, room: &'b mut [f64], ledger: &mut Ledger) -> Track<'b> {
        let mut track = Track::new(from.name.clone(), room, from.targets, from.measured.len(), from.known.len());
        let mut held = vec![Held::default(); from.measured.len() + from.known.len()];
        let (mut row, mut line, last) = (0, 0, self.last_step(from));
        // Behind the last sample there may be rows of what is known ahead.
        let observed =
            if from.known.is_empty() { last } else { from.ticks[from.observed(self.missing) - 1].div_euclid(self.size) };
        let mut step = from.ticks[0].div_euclid(self.size);
        while step <= last {
            let (begin, name) = (row, from.name.as_deref());
            let end = (step + 1).saturating_mul(self.size);
            while row < from.rows && from.ticks[row] < end {
                let time = i128::from(from.ticks[row]) * i128::from(self.tick);
                for (held, column) in held.iter_mut().zip(from.measured.iter().chain(&from.known)) {
                    if !column[row].is_nan() && !self.missing.contains(&column[row]) {
                        held.tell(time, column[row], self.hold);
                    } else if step <= observed {
                        ledger.add(FindingKind::Untold, name, 1, from.line(row));
                    }
                }
                line = from.line(row);
                row += 1;
            }
            (begin + 1..row).for_each(|row| ledger.add(FindingKind::Averaged, name, 1, from.line(row)));
            let end = i128::from(end) * i128::from(self.tick);
            let mut is_there = row > begin;
            let (measured, known) = (track.measured.iter_mut(), track.known.iter_mut());
            let columns = measured.map(|column| (column, step > observed)).chain(known.map(|column| (column, false)));
            for (held, (column, is_ahead)) in held.iter_mut().zip(columns) {
                let mean = held.end(end);
                column[track.rows] = if is_ahead { f64::NAN } else { mean };
                is_there |= !mean.is_nan();
            }
            if is_there {
                if row == begin {
                    ledger.add(FindingKind::Held, name, 1, line);
                }
                track.push(line, step * self.size);
            }
            let lasts = held.iter().any(|held| held.last().is_some());
            step = match from.ticks[..from.rows].get(row) {
                _ if lasts => step + 1,
                Some(next) => next.div_euclid(self.size),
                None => break,
            };
        }
        track
    }
}

/// Numbers that a row takes.
fn width(track: &Track<'_>) -> usize {
    Track::OWN + track.measured.len() + track.known.len()
}

/// Values from which a series may be told to tell of changes alone.
const FEWEST: usize = 20;
/// Changes that are smaller than nearly all, in a hundred; those that are not more than twice as large, and places on a grid without a row, in so many.
const SMALLEST: usize = 100;
const NEAR: usize = 20;
/// How much larger changes over such places are than others, at most.
const LARGER: f64 = 1.5;

/// Whether most of the series tell of their changes alone; with stamps that are counted on a grid.
pub(crate) fn tell_changes(tracks: &[Track<'_>], on_grid: bool) -> bool {
    let columns = tracks.iter().flat_map(|track| track.measured.iter().map(|column| (&track.ticks[..track.rows], column)));
    let told: Vec<bool> = columns.filter_map(|(ticks, column)| tells_changes(ticks, column, on_grid)).collect();
    !told.is_empty() && 2 * told.iter().filter(|told| **told).count() > told.len()
}

/// Whether hardly any value is that of the one before, or less far from it than a least distance, from which to its double at least one in twenty changes is: so it is with a
/// sensor that speaks when its value leaves a band, however long that takes. None of few values.
fn tells_changes(ticks: &[i64], values: &[f64], on_grid: bool) -> Option<bool> {
    let present = || ticks.iter().zip(values).filter(|(_, value)| !value.is_nan());
    let pairs = || present().zip(present().skip(1)).map(|((from, one), (to, other))| (to - from > 1, (other - one).abs()));
    let sums =
        |over: bool| pairs().filter(|pair| pair.0 == over).fold((0, 0.0), |(count, sum), (_, change)| (count + 1, sum + change));
    let ((over, larger), (beside, usual)) = (sums(true), sums(false));
    let count: usize = over + beside;
    if count < FEWEST {
        return None;
    }
    // What goes on where no row is has changed more after it.
    let goes_on = beside >= FEWEST && larger * beside as f64 > LARGER * usual * over as f64;
    if on_grid && (NEAR * over < count || goes_on) {
        return Some(false);
    }
    let mut changes: Vec<f64> = pairs().map(|(_, change)| change).collect();
    let rank = count / SMALLEST + 1;
    let least = *changes.select_nth_unstable_by(rank, f64::total_cmp).1;
    let near = changes[rank..].iter().filter(|change| **change < 2.0 * least).count();
    Some(least > 0.0 && NEAR * near >= count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_is_of_the_time_that_values_last() {
        // Times may lie before 1970.
        let mut held = Held::default();
        assert!(held.end(-10).is_nan() && held.last().is_none());
        held.tell(-8, 5.0, 100);
        held.tell(-4, f64::NAN, 100);
        held.tell(-3, 1.0, 6);
        // Five for five, then one for three.
        assert_eq!(held.end(0), 3.5);
        assert_eq!(held.last(), Some(Lasting { value: 1.0, rest: 3 }));
        let mut resumed = Held::resume(held.last(), 0);
        for held in [&mut held, &mut resumed] {
            assert_eq!((held.end(10), held.last()), (1.0, None));
            assert!(held.end(20).is_nan());
            held.tell(20, 0.1, 1000);
            held.tell(20, 0.3, 1000);
            held.tell(23, 0.3, 1000);
            // Of two at once the second lasts, and what stays the same is not rounded.
            assert_eq!(held.end(30), 0.3);
        }
    }

    #[test]
    fn sensors_that_speak_when_a_value_changes_are_told_from_others() {
        let random = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1u64 << 24) as f64;
        let walk = |step: &dyn Fn(f64) -> f64| {
            let (mut value, mut last, mut rows) = (0.0, f64::NAN, Vec::new());
            for tick in 0..4000 {
                value += random(tick as u64) - 0.5;
                let shown = step(value);
                if shown != last {
                    rows.push((tick, shown));
                }
                last = shown;
            }
            rows
        };
        let every = |at: usize, rows: &[(i64, f64)]| rows.iter().copied().step_by(at).collect::<Vec<_>>();
        let told = |rows: &[(i64, f64)], on_grid| {
            let (ticks, values): (Vec<i64>, Vec<f64>) = rows.iter().copied().unzip();
            tells_changes(&ticks, &values, on_grid)
        };
        let (rounded, on_off) = (walk(&f64::round), walk(&|value| f64::from((10.0 * value).sin() > 0.0)));
        let plain = walk(&|value| value);
        for on_grid in [false, true] {
            assert_eq!(told(&rounded, on_grid), Some(true));
            assert_eq!(told(&on_off, on_grid), Some(true));
            // With empty fields in between, too.
            let mut filled: Vec<(i64, f64)> = (0..4000).map(|tick| (tick, f64::NAN)).collect();
            rounded.iter().for_each(|row| filled[row.0 as usize] = *row);
            assert_eq!(told(&filled, on_grid), Some(true));
            assert_eq!(told(&plain, on_grid), Some(false));
            assert_eq!(told(&rounded[..FEWEST], on_grid), None);
            // One in three of what is asked all the time, rounded, and of a random walk.
            let asked: Vec<(i64, f64)> = (0..4000).map(|tick| (tick, (3.0 * random(tick as u64)).round())).collect();
            assert_eq!(told(&every(3, &asked), on_grid), Some(false));
            assert_eq!(told(&every(3, &plain), on_grid), Some(false));
        }
        // A counter of which rows are lost has gone on.
        let counted: Vec<(i64, f64)> =
            (0..4000).filter(|tick| random(*tick as u64) < 0.8).map(|tick| (tick, tick as f64)).collect();
        assert_eq!((told(&counted, true), told(&counted, false)), (Some(false), Some(true)));
        assert_eq!(told(&rounded[rounded.len() / 2..], true), Some(true));
    }
}
