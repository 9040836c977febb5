//! What stands for samples that are missing, where something looks at samples one by one.

/// Seasons back that are looked at.
pub const SEASONS: usize = 8;

/// A stretch of missing samples.
#[derive(Clone, Copy, Debug)]
pub struct Gap {
    /// The sample before it.
    pub before: usize,
    /// The one after it, if it has come.
    pub after: Option<usize>,
}

/// The middle of sorted numbers, of which one may be left out.
fn median(sorted: &[f64], without: Option<usize>) -> f64 {
    let at = |place: usize| sorted[place + usize::from(without.is_some_and(|without| without <= place))];
    let len = sorted.len() - usize::from(without.is_some());
    (at((len - 1) / 2) + at(len / 2)) / 2.0
}

impl Gap {
    /// What stands for the missing sample at a `time` in the gap; `at` gives the samples, NaN the missing ones, and is asked for none before the last [`SEASONS`].
    ///
    /// Three things may be: a straight line between the samples around the gap (the one before it, while there is none after it); that and what the seasons before had beside
    /// such lines, in the median; and the newest sample at its place in a season. Each counts by the inverse of its mean squared error in the seasons before. Where these are
    /// too few to tell, it is the second, and where there are none the first.
    pub fn stand_in(self, time: usize, season: usize, at: impl Fn(usize) -> f64) -> f64 {
        let (since, reach) = (time - self.before, SEASONS * season);
        // Where the gap would be so many samples ago.
        let line = |ago: usize| {
            let from = at(self.before - ago);
            match self.after {
                Some(after) => from + (at(after - ago) - from) * since as f64 / (after - self.before) as f64,
                None => from,
            }
        };
        let straight = line(0);
        let mut beside = [0.0; SEASONS];
        let (mut count, mut newest, mut last, mut changes, mut changed) = (0, f64::NAN, f64::NAN, 0, 0.0);
        for ago in (1..=SEASONS).map(|count| count * season).take_while(|ago| *ago <= self.before && ago + since <= reach) {
            let then = at(time - ago);
            if then.is_nan() {
                continue;
            }
            if last.is_nan() {
                newest = then;
            } else {
                (changes, changed) = (changes + 1, changed + (then - last).powi(2));
            }
            last = then;
            let more = then - line(ago);
            if !more.is_nan() {
                beside[count] = more;
                count += 1;
            }
        }
        let beside = &mut beside[..count];
        if beside.is_empty() {
            return straight;
        }
        beside.sort_unstable_by(f64::total_cmp);
        let shaped = straight + median(beside, None);
        if count < 2 || changes < 2 {
            return shaped;
        }
        let mean = |error: &dyn Fn(usize) -> f64| (0..count).map(|place| error(place).powi(2)).sum::<f64>() / count as f64;
        let errors = [
            mean(&|place| beside[place]),
            mean(&|place| beside[place] - median(beside, Some(place))),
            changed / f64::from(changes),
        ];
        let least = errors.into_iter().fold(f64::INFINITY, f64::min);
        let mut sums = (0.0, 0.0);
        for (guess, error) in [straight, shaped, newest].into_iter().zip(errors) {
            let weight = if error == least { 1.0 } else { least / error };
            sums = (sums.0 + weight, sums.1 + weight * guess);
        }
        let mean = sums.1 / sums.0;
        if mean.is_finite() { mean } else { straight }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn a_median_may_leave_one_out() {
        let sorted = [1.0, 2.0, 4.0, 8.0];
        assert_eq!((median(&sorted, None), median(&sorted[..3], None), median(&sorted[..1], None)), (3.0, 2.0, 1.0));
        assert_eq!([0, 1, 2, 3].map(|without| median(&sorted, Some(without))), [4.0, 4.0, 2.0, 2.0]);
        assert_eq!([0, 1, 2].map(|without| median(&sorted[..3], Some(without))), [3.0, 2.5, 1.5]);
    }

    /// What stands for the samples from 40 on, of which some are missing.
    fn filled(column: &[f64], season: usize) -> Vec<f64> {
        let at = |time: usize| column[time];
        let of = |time: usize| {
            if !column[time].is_nan() {
                return column[time];
            }
            let before = (0..time).rev().find(|&time| !column[time].is_nan()).expect("a sample");
            let after = (time + 1..column.len()).find(|&time| !column[time].is_nan());
            let seen = std::cell::Cell::new(usize::MAX);
            let value = Gap { before, after }.stand_in(time, season, |time| {
                seen.set(seen.get().min(time));
                at(time)
            });
            assert!(seen.get() >= time.saturating_sub(SEASONS * season).min(before), "{time}");
            value
        };
        (40..column.len()).map(of).collect()
    }

    fn close(found: &[f64], expected: impl Iterator<Item = f64>) {
        let expected: Vec<f64> = expected.collect();
        assert!(found.iter().zip(&expected).all(|(one, other)| (one - other).abs() < 1e-9), "{found:?} {expected:?}");
    }

    #[test]
    fn each_kind_of_signal_is_filled_as_it_goes() {
        let missing = |time: usize| time > 40 && (time.is_multiple_of(3) || (46..52).contains(&time) || time > 56);
        let with = |signal: &dyn Fn(usize) -> f64| -> Vec<f64> {
            (0..60).map(|time| if missing(time) { NAN } else { signal(time) }).collect()
        };
        // A season, and one on a slope: until there is a sample after the gap a slope is known by the seasons.
        for slope in [0.0, 0.25] {
            let signal = |time: usize| slope * time as f64 + [3.0, -1.0, 4.0, 1.5, -5.0][time % 5];
            close(&filled(&with(&signal), 5), (40..60).map(signal));
        }
        // A line without a season.
        let signal = |time: usize| 7.0 - 0.5 * time as f64;
        close(&filled(&with(&signal), 5), (40..60).map(signal));
    }

    #[test]
    fn what_is_not_known_is_a_line_or_the_last_sample() {
        let mut column = vec![NAN; 60];
        (column[39], column[44]) = (1.0, 11.0);
        close(&filled(&column, 50), [3.0, 5.0, 7.0, 9.0, 11.0].into_iter().chain([11.0; 15]));
        // Squares that are too large to count are no reason for NaN.
        let huge: Vec<f64> = (0..60).map(|time| if time == 45 { NAN } else { 1e200 * (time % 5) as f64 }).collect();
        assert!(filled(&huge, 5)[5].is_finite());
    }
}
