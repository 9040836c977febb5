//! Missing values (NaN) of a window, filled from what came before them.

use foretoken_kernels::missing::{Gap, SEASONS};
use std::{borrow::Cow, ops::Range};

/// Of so many values at least one is there: a window with fewer is of no use.
pub const ONE_THERE_OF: usize = 10;

/// Rows of a column without gaps: as [`Gap::stand_in`] has it, or, without a season and where the sample before is too long ago, a missing value is the last present one, even
/// one from before these rows. NaN before the column's first value.
pub(crate) struct Filled {
    start: usize,
    values: Vec<f64>,
    /// What stands for a missing value while none has come after it; empty where that is the same.
    open: Vec<f64>,
    /// Values missing before each row, from the first of these rows on.
    missing: Vec<u32>,
}

impl Filled {
    /// Fills `rows` of `column`; without a `season`, from the last present value only. Reads nothing after them.
    pub(crate) fn of(column: &[f64], rows: Range<usize>, season: Option<usize>) -> Self {
        let mut before = column[..rows.start].iter().rposition(|value| !value.is_nan());
        let (mut values, mut missing) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() + 1));
        let (mut open, mut count, mut after) = (Vec::new(), 0, None);
        missing.push(count);
        for row in rows.clone() {
            if column[row].is_nan() {
                if after.is_none_or(|after| after < row) {
                    after = (row + 1..rows.end).find(|&row| !column[row].is_nan());
                }
                let last = before.map_or(f64::NAN, |before| column[before]);
                let near = before.zip(season).filter(|(before, season)| row - before <= SEASONS * season);
                let fill =
                    |after| near.map_or(last, |(before, season)| Gap { before, after }.stand_in(row, season, |row| column[row]));
                values.push(fill(after));
                if after.is_some() && near.is_some() {
                    open.resize(values.len() - 1, f64::NAN);
                    open.push(fill(None));
                }
                count += 1;
            } else {
                before = Some(row);
                values.push(column[row]);
            }
            missing.push(count);
        }
        Self { start: rows.start, values, open, missing }
    }

    /// All of the rows.
    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// These rows as they are seen from their end, after which nothing has come.
    pub(crate) fn seen(&self, rows: Range<usize>) -> Cow<'_, [f64]> {
        let (from, to) = (rows.start - self.start, rows.end - self.start);
        let values = &self.values[from..to];
        let gap = (from..to).rev().take_while(|&row| self.missing[row] < self.missing[row + 1]).last().unwrap_or(to);
        let open = self.open.get(gap..to.min(self.open.len())).filter(|open| !open.is_empty());
        open.map_or(Cow::Borrowed(values), |open| {
            let mut values = values.to_vec();
            let known = open.iter().zip(&mut values[gap - from..]);
            known.filter(|(open, _)| !open.is_nan()).for_each(|(open, value)| *value = *open);
            Cow::Owned(values)
        })
    }

    /// Whether one in ten of these rows is there at least, and the column does not begin after the first of them.
    fn is_whole(&self, rows: &Range<usize>) -> bool {
        let (from, to) = (rows.start - self.start, rows.end - self.start);
        let missing = (self.missing[to] - self.missing[from]) as usize;
        let begun = self.values.get(from).is_none_or(|value| !value.is_nan());
        begun && (rows.len() - missing) * ONE_THERE_OF >= rows.len()
    }

    /// What a forecast at the end of these rows looks at, if they are whole.
    pub(crate) fn past(&self, rows: Range<usize>) -> Option<Cow<'_, [f64]>> {
        self.is_whole(&rows).then(|| self.seen(rows))
    }

    /// What came in these rows, if they are whole.
    pub(crate) fn future(&self, rows: Range<usize>) -> Option<&[f64]> {
        self.is_whole(&rows).then(|| &self.values[rows.start - self.start..rows.end - self.start])
    }
}

/// The share of the columns' windows without too much missing: `lookback` rows before an origin, and `horizon` from it on that lie in `rows`; 0 if there are none.
#[must_use]
pub fn whole_windows(columns: &[impl AsRef<[f64]>], rows: &Range<usize>, lookback: usize, horizon: usize) -> f64 {
    let first = rows.start.max(lookback);
    let origins = first..(rows.end + 1).saturating_sub(horizon).max(first);
    let whole = columns.iter().map(|column| {
        let filled = Filled::of(column.as_ref(), first - lookback..rows.end.max(first), None);
        let is_whole =
            |origin: usize| filled.is_whole(&(origin - lookback..origin)) && filled.is_whole(&(origin..origin + horizon));
        origins.clone().filter(|&origin| is_whole(origin)).count()
    });
    whole.sum::<usize>() as f64 / (columns.len() * origins.len()).max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    fn same(found: &[f64], expected: &[f64]) {
        let bits = |values: &[f64]| values.iter().map(|value| value.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(found), bits(expected), "{found:?} {expected:?}");
    }

    #[test]
    fn without_a_season_a_gap_takes_the_last_value() {
        let column = [NAN, 1.0, 2.0, NAN, NAN, NAN, 7.0];
        same(&Filled::of(&column, 0..7, None).values, &[NAN, 1.0, 2.0, 2.0, 2.0, 2.0, 7.0]);
        // It may lie before the rows; none lies before the first.
        same(&Filled::of(&column, 4..6, None).values, &[2.0, 2.0]);
        same(&Filled::of(&column, 0..1, None).values, &[NAN]);
        same(&Filled::of(&column, 0..7, None).seen(3..5), &[2.0, 2.0]);
    }

    #[test]
    fn rows_are_seen_as_if_nothing_came_after_them() {
        let there = |row: usize| row > 2 && row % 4 != 1 && !(50..58).contains(&row) && !(90..140).contains(&row);
        let column: Vec<f64> = (0..200).map(|row| if there(row) { ((row * row) % 17) as f64 } else { NAN }).collect();
        let all = Filled::of(&column, 10..200, Some(5));
        for end in 20..200 {
            let until = Filled::of(&column[..end], 10..end, Some(5));
            same(&all.seen(14..end), &until.values[4..]);
            same(&until.seen(14..end), &until.values[4..]);
        }
        // A gap that has closed is no longer what it was; one of more than eight seasons is the last value.
        assert_ne!(all.values[43], all.seen(10..54)[43]);
        same(&all.values[121..129], &[column[88]; 8]);
    }

    #[test]
    fn a_window_has_one_value_in_ten_and_its_beginning() {
        let mut column = [1.0; 60];
        column[..10].fill(NAN);
        column[20..45].fill(NAN);
        let filled = Filled::of(&column, 2..60, None);
        assert!(filled.future(9..29).is_none(), "begins before the column");
        assert_eq!(filled.future(10..20), Some(&[1.0; 10][..]));
        assert_eq!(filled.future(19..29).map(<[f64]>::len), Some(10), "one of ten");
        assert!(filled.future(19..30).is_none() && filled.future(20..21).is_none() && filled.future(36..46).is_some());
        assert!(filled.future(18..38).is_some() && filled.future(18..39).is_none(), "two of twenty, two of 21");
    }

    #[test]
    fn windows_are_whole_that_have_one_value_in_ten() {
        let whole = vec![1.0; 40];
        let few = (0..40).map(|row| if row % 11 != 0 && row >= 20 { NAN } else { 1.0 }).collect::<Vec<f64>>();
        let holds = |columns: &[&Vec<f64>], rows: Range<usize>| whole_windows(columns, &rows, 10, 5) > 0.0;
        assert!(holds(&[&whole], 20..25) && holds(&[&whole], 0..15) && holds(&[&few, &whole], 34..40));
        assert!(!holds(&[&whole], 20..24) && !holds(&[&whole], 0..14) && !holds(&[&few], 34..40) && !holds(&[], 0..40));
        assert!(holds(&[&few], 15..20), "the windows of rows 15 to 19");
        assert_eq!(whole_windows(&[&whole, &few], &(34..40), 10, 5), 0.5);
    }
}
