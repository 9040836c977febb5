//! Values too far from the others to be measurements.
//!
//! `x` is one if `|x − median| > factor · max(IQR / 1.349, (q99 − q01) / 4.652)`. Both scales are the standard deviation of normal
//! values; the second keeps columns that seldom move, as rain does, from being all outliers. Without a scale there are none.

/// Interquartile range of a standard normal variable.
const QUARTILES: f64 = 1.349;
/// Its range between the 1st and the 99th percentile.
const PERCENTILES: f64 = 4.652;

/// The least and the greatest value that is no outlier. NaN does not count.
pub(crate) fn bounds(values: impl Iterator<Item = f64>, factor: f64) -> (f64, f64) {
    let mut sorted: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    sorted.sort_unstable_by(f64::total_cmp);
    let quantile = |share: f64| {
        let place = share * sorted.len().saturating_sub(1) as f64;
        let (below, part) = (place as usize, place.fract());
        let (low, high) = (sorted.get(below).copied(), sorted.get(below + 1).copied());
        let low = low.unwrap_or(f64::NAN);
        low * (1.0 - part) + high.unwrap_or(low) * part
    };
    let scale = ((quantile(0.75) - quantile(0.25)) / QUARTILES).max((quantile(0.99) - quantile(0.01)) / PERCENTILES);
    if scale > 0.0 {
        (quantile(0.5) - factor * scale, quantile(0.5) + factor * scale)
    } else {
        (f64::NEG_INFINITY, f64::INFINITY)
    }
}

/// Where outliers are few, at most one in so many values is one.
const FEW: usize = 1000;

/// Whether these outliers of so many values are few, or all the same.
pub(crate) fn are_few(outliers: impl Iterator<Item = f64> + Clone, values: usize) -> bool {
    let first = outliers.clone().next();
    outliers.clone().count() <= values.div_ceil(FEW) || outliers.clone().all(|value| Some(value) == first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_are_one_in_a_thousand_or_all_the_same() {
        for (outliers, values, expected) in [
            (&[][..], 0, true),
            (&[9.0], 1, true),
            (&[9.0, 8.0], 1000, false),
            (&[9.0, 8.0], 1001, true),
            (&[9.0, 8.0, 9.0], 2000, false),
            (&[9.0, 9.0, 9.0], 3, true),
        ] {
            assert_eq!(are_few(outliers.iter().copied(), values), expected, "{outliers:?} of {values}");
        }
    }

    #[test]
    fn bounds_are_the_formula() {
        let everything = (f64::NEG_INFINITY, f64::INFINITY);
        assert_eq!(bounds([].into_iter(), 20.0), everything);
        assert_eq!(bounds([5.0; 9].into_iter(), 20.0), everything);
        let (low, high) = bounds((0..=100).map(f64::from).chain([f64::NAN]), 2.0);
        // IQR 50, q99 − q01 98: 37.06 and 21.07.
        assert!((low - (50.0 - 100.0 / QUARTILES)).abs() < 1e-9 && (high - (50.0 + 100.0 / QUARTILES)).abs() < 1e-9);
        // One row in ten moves: no IQR, and q99 − q01 is 1.
        let (low, high) = bounds((0..100).map(|row| f64::from(u8::from(row % 10 == 0))), 20.0);
        assert!((high - 20.0 / PERCENTILES).abs() < 1e-9 && (low + 20.0 / PERCENTILES).abs() < 1e-9);
    }
}
