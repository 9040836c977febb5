//! Values too far from the others to be measurements.
//!
//! `x` is one if `|x − median| > factor · max(IQR / 1.349, (q99 − q01) / 4.652)`. Both scales are the standard deviation of normal
//! values; the second keeps columns that seldom move, as rain does, from being all outliers. Of a column that mostly stands still, IQR 0, it may lie among the least of
//! what moves; there the median distance of the values that differ from the median is a scale, too. Without a scale there are none.

/// Interquartile range of a standard normal variable.
const QUARTILES: f64 = 1.349;
/// Its range between the 1st and the 99th percentile.
const PERCENTILES: f64 = 4.652;

/// Limits that nothing lies beyond.
pub(crate) const EVERYTHING: (f64, f64) = (f64::NEG_INFINITY, f64::INFINITY);

/// The least and the greatest value that is no outlier. NaN does not count.
pub(crate) fn bounds(values: impl Iterator<Item = f64>, factor: f64) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * sorted.len().saturating_sub(1) as f64;
        let (below, part) = (place as usize, place.fract());
        let (low, high) = (sorted.get(below).copied(), sorted.get(below + 1).copied());
        let low = low.unwrap_or(f64::NAN);
        let high = high.unwrap_or(low);
        // Between two that are the same there is nothing else, as rounding may say.
        if low == high { low } else { low * (1.0 - part) + high * part }
    };
    let (median, quartiles) = (quantile(0.5), quantile(0.75) - quantile(0.25));
    let mut scale = (quartiles / QUARTILES).max((quantile(0.99) - quantile(0.01)) / PERCENTILES);
    if quartiles == 0.0 && scale > 0.0 {
        let mut moved: Vec<f64> = sorted.iter().filter(|value| **value != median).map(|value| (value - median).abs()).collect();
        moved.sort_unstable_by(f64::total_cmp);
        scale = scale.max(moved[moved.len() / 2]);
    }
    if scale > 0.0 { (median - factor * scale, median + factor * scale) } else { EVERYTHING }
}

/// At most one in so many values is a glitch, whatever lies between them.
const FEW: usize = 1000;

/// Whether outliers, by place on their grid, of so many values are glitches: few, all one number, or scattered. In a run, or on a schedule, more than half of the gaps
/// between them are alike.
pub(crate) fn are_glitches(outliers: &[(i64, f64)], values: usize) -> bool {
    let mut gaps: Vec<i64> = outliers.windows(2).map(|pair| pair[1].0 - pair[0].0).collect();
    gaps.sort_unstable();
    let commonest = gaps.chunk_by(|gap, next| gap == next).map(<[i64]>::len).max().unwrap_or(0);
    outliers.len() <= values.div_ceil(FEW)
        || outliers.windows(2).all(|pair| pair[0].1 == pair[1].1)
        || 2 * commonest <= gaps.len()
}

/// What a sample that comes later may be: within `bounds`, or as far beyond as a value that stayed.
pub(crate) fn limits((low, high): (f64, f64), stayed: impl Iterator<Item = f64>) -> (f64, f64) {
    stayed.filter(|value| !value.is_nan()).fold((low, high), |(low, high), value| (low.min(value), high.max(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_column_that_stands_still_has_no_outliers() {
        for count in 1..300 {
            for value in [0.1, 18.01, -2.7e9, 1.0 / 3.0] {
                assert_eq!(bounds(std::iter::repeat_n(value, count), 20.0), EVERYTHING, "{count} of {value}");
            }
        }
    }

    #[test]
    fn glitches_are_few_or_one_number_or_scattered() {
        let of = |rows: &[i64], value: &dyn Fn(i64) -> f64| rows.iter().map(|row| (*row, value(*row))).collect::<Vec<_>>();
        let (own, one): (&dyn Fn(i64) -> f64, &dyn Fn(i64) -> f64) = (&|row| row as f64, &|_| -9999.0);
        let run: Vec<i64> = (955..1000).collect();
        let sundays: Vec<i64> = (0..17).map(|week| 15 + 168 * week).collect();
        for (rows, values, expected) in [
            (&[][..], 0, true),
            (&[4], 10, true),
            (&[4, 5], 1001, true),
            (&[4, 5, 6], 1000, false),
            (&run, 1000, false),
            (&sundays, 3000, false),
            // Half of the gaps are alike, and one more.
            (&[1, 2, 3, 9, 40], 1000, true),
            (&[1, 2, 3, 4, 40], 1000, false),
            (&[100, 131, 570, 602, 777, 912, 1500, 1508, 2400], 3000, true),
        ] {
            assert_eq!(are_glitches(&of(rows, own), values), expected, "{rows:?} of {values}");
            assert!(are_glitches(&of(rows, one), values), "{rows:?} of {values}");
        }
    }

    #[test]
    fn bounds_are_the_formula() {
        assert_eq!(bounds([].into_iter(), 20.0), EVERYTHING);
        assert_eq!(bounds([5.0; 9].into_iter(), 20.0), EVERYTHING);
        let (low, high) = bounds((0..=100).map(f64::from).chain([f64::NAN]), 2.0);
        // IQR 50, q99 − q01 98: 37.06 and 21.07.
        assert!((low - (50.0 - 100.0 / QUARTILES)).abs() < 1e-9 && (high - (50.0 + 100.0 / QUARTILES)).abs() < 1e-9);
        // One row in ten moves, or one in ninety: no IQR, and what moves does so by 1.
        for each in [10, 90] {
            assert_eq!(bounds((0..990).map(|row| f64::from(u8::from(row % each == 0))), 20.0), (-20.0, 20.0));
        }
        // By 1, 101, 201 or 301.
        let (_, high) = bounds((0..1000).map(|row| if row % 10 == 0 { f64::from(row % 40) * 10.0 + 1.0 } else { 0.0 }), 20.0);
        assert_eq!(high, 20.0 * 201.0);
    }
}
