//! Missing values (NaN) of a window, filled from what came before them.

use std::ops::Range;

/// Of so many values one may be missing: a window with fewer present is of no use.
pub const ONE_MISSING_OF: usize = 3;

/// Seasons back to look for a present value.
pub(crate) const SEASONS: usize = 8;

/// Rows of a column without gaps: a missing value is the newest present one at its place in the last seasons, else the last present one, even one from
/// before these rows. NaN before the column's first value.
pub(crate) struct Filled {
    start: usize,
    values: Vec<f64>,
    /// Values missing before each row, from the first of these rows on.
    missing: Vec<u32>,
}

impl Filled {
    /// Fills `rows` of `column`; without a `season`, from the last present value only. Reads nothing after them.
    pub(crate) fn of(column: &[f64], rows: Range<usize>, season: Option<usize>) -> Self {
        let mut last = column[..rows.start].iter().rev().copied().find(|value| !value.is_nan()).unwrap_or(f64::NAN);
        let (mut values, mut missing) = (Vec::with_capacity(rows.len()), Vec::with_capacity(rows.len() + 1));
        let mut count = 0;
        missing.push(count);
        for row in rows.clone() {
            let gap = column[row].is_nan();
            if !gap {
                last = column[row];
            }
            let back =
                |season: usize| (1..=SEASONS).map_while(move |count| row.checked_sub(count * season)).map(|row| column[row]);
            let before = season.filter(|_| gap).and_then(|season| back(season).find(|value| !value.is_nan()));
            values.push(before.unwrap_or(if gap { last } else { column[row] }));
            count += u32::from(gap);
            missing.push(count);
        }
        Self { start: rows.start, values, missing }
    }

    /// All of the rows.
    pub(crate) fn into_values(self) -> Vec<f64> {
        self.values
    }

    /// These rows, unless more than a third of them was missing or the column begins after the first of them.
    pub(crate) fn window(&self, rows: Range<usize>) -> Option<&[f64]> {
        let (from, to) = (rows.start - self.start, rows.end - self.start);
        let missing = (self.missing[to] - self.missing[from]) as usize;
        let begun = self.values.get(from).is_none_or(|value| !value.is_nan());
        (begun && missing * ONE_MISSING_OF <= rows.len()).then(|| &self.values[from..to])
    }
}

/// The share of the columns' windows without too much missing: `lookback` rows before an origin, and `horizon` from it on that lie in `rows`; 0 if there are none.
#[must_use]
pub fn whole_windows(columns: &[impl AsRef<[f64]>], rows: &Range<usize>, lookback: usize, horizon: usize) -> f64 {
    let first = rows.start.max(lookback);
    let origins = first..(rows.end + 1).saturating_sub(horizon).max(first);
    let whole = columns.iter().map(|column| {
        let filled = Filled::of(column.as_ref(), first - lookback..rows.end.max(first), None);
        let is_whole = |rows: Range<usize>| filled.window(rows).is_some();
        origins.clone().filter(|&origin| is_whole(origin - lookback..origin) && is_whole(origin..origin + horizon)).count()
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
    fn a_gap_takes_the_season_before_else_the_last_value() {
        let column = [NAN, 1.0, 2.0, NAN, NAN, NAN, 7.0];
        same(&Filled::of(&column, 0..7, None).values, &[NAN, 1.0, 2.0, 2.0, 2.0, 2.0, 7.0]);
        same(&Filled::of(&column, 0..7, Some(2)).values, &[NAN, 1.0, 2.0, 1.0, 2.0, 1.0, 7.0]);
        // The last value may lie before the rows; none lies before the first.
        same(&Filled::of(&column, 4..6, None).values, &[2.0, 2.0]);
        same(&Filled::of(&column, 0..1, None).values, &[NAN]);
    }

    #[test]
    fn a_window_may_lack_a_third_and_not_its_beginning() {
        let mut column = [1.0; 40];
        column[..10].fill(NAN);
        column[20] = NAN;
        column[25] = NAN;
        let filled = Filled::of(&column, 2..40, None);
        assert!(filled.window(9..29).is_none(), "begins before the column");
        assert_eq!(filled.window(10..20), Some(&[1.0; 10][..]));
        assert_eq!(filled.window(18..21).map(<[f64]>::len), Some(3), "one of three");
        assert!(filled.window(19..21).is_none() && filled.window(20..26).is_some() && filled.window(20..22).is_none());
        assert!(filled.window(21..26).is_some() && filled.window(24..26).is_none(), "one of five, one of two");
    }

    #[test]
    fn windows_are_whole_that_lack_a_third_at_most() {
        let whole = vec![1.0; 40];
        let every_other = (0..40).map(|row| if row % 2 == 0 && row >= 20 { NAN } else { 1.0 }).collect::<Vec<f64>>();
        let holds = |columns: &[&Vec<f64>], rows: Range<usize>| whole_windows(columns, &rows, 10, 5) > 0.0;
        assert!(holds(&[&whole], 20..25) && holds(&[&whole], 0..15) && holds(&[&every_other, &whole], 30..40));
        assert!(!holds(&[&whole], 20..24) && !holds(&[&whole], 0..14) && !holds(&[&every_other], 30..40) && !holds(&[], 0..40));
        assert!(holds(&[&every_other], 15..40), "the windows of rows 15 to 19");
        assert_eq!(whole_windows(&[&whole, &every_other], &(24..40), 10, 5), 0.5);
    }
}
