//! Seasons that a signal shows by itself: peaks of the autocorrelation of its differences (Box & Jenkins, 1970).
//!
//! ```text
//! r(l) = Σ d_t·d_{t−l} / Σ d_t²,   d_t = y_t − y_{t−1} less its mean        the mean of r(l) over the columns
//! ```
//! Differences, since a level that wanders would hide every season. A lag is a season where r has a local maximum that rises high above both zero and what is
//! lower before it; of those nearly as high as the highest the shortest is taken, for the others are its multiples. A longer one beside it, as a week beside a day, is
//! the multiple that is alike above all others.

use rayon::prelude::*;
use std::ops::RangeInclusive;

/// Most samples of a column that are looked at, the newest; most columns; longest season.
const MOST_SAMPLES: usize = 10_000;
const MOST_COLUMNS: usize = 32;
const LONGEST: usize = 1000;
/// Shortest: differences of noise are alike in turns, so that a lag of 2 stands out above its neighbours whatever the season.
const SHORTEST: usize = 3;
/// Seasons that the samples must hold.
const FEWEST: usize = 3;
/// Least height of a peak, and how many standard errors of a single autocorrelation of noise: the highest of hundreds must not reach it by chance.
const LEAST: f64 = 0.25;
const ERRORS: f64 = 3.5;
/// The same of a season that is known beforehand.
const LEAST_KNOWN: f64 = 0.1;
const ERRORS_KNOWN: f64 = 2.0;
/// A peak of this share of the highest is nearly as high.
const NEARLY: f64 = 0.8;
/// A peak is looked for within one such part of its lag.
const BROAD: usize = 10;
/// A longer season is one of these multiples, though not the first, and higher than at least so many that are no neighbours of it by this.
const MULTIPLES: RangeInclusive<usize> = 2..=13;
const APART: usize = 3;
const HIGHER: f64 = 0.05;
/// What a straight line leaves beside its slope, of squares.
const ROUNDING: f64 = 1e-18;

/// The season of these columns, and a longer one that is a multiple of it if they show one; none where they show none. NaN is a missing value, and columns
/// that begin late, with less than half the samples of the longest, have no say.
#[must_use]
pub fn seasons(columns: &[&[f64]]) -> Vec<usize> {
    let columns = moving(columns, MOST_SAMPLES);
    let Some(fewest) = columns.iter().map(Vec::len).min() else { return Vec::new() };
    let lags = (fewest / FEWEST).min(LONGEST);
    let r = mean_autocorrelation(&columns, &(0..=lags).collect::<Vec<_>>());
    let least = LEAST.max(ERRORS / (fewest as f64).sqrt());
    let mut lowest = f64::INFINITY;
    let mut peaks = Vec::new();
    for lag in SHORTEST..lags {
        if r[lag] >= r[lag - 1].max(r[lag + 1]) && r[lag] >= least.max(lowest + least) {
            peaks.push(lag);
        }
        lowest = lowest.min(r[lag]);
    }
    let highest = peaks.iter().map(|&lag| r[lag]).fold(f64::NEG_INFINITY, f64::max);
    let Some(about) = peaks.into_iter().find(|&lag| r[lag] >= NEARLY * highest) else { return Vec::new() };
    // A smooth season's peak is broad, and its multiples tell where it is.
    let (shortest, longest) = (about - about / BROAD, (about + about / BROAD).min(lags));
    let comb = |lag: usize| (1..=lags / longest).map(|count| r[count * lag]).sum::<f64>();
    let season = (shortest..=longest).max_by(|&a, &b| comb(a).total_cmp(&comb(b))).unwrap_or(about);
    let multiples: Vec<usize> = MULTIPLES.map(|count| count * season).take_while(|&lag| lag <= lags).collect();
    // As if every lag had as many pairs.
    let alike = |lag: usize| r[lag] * fewest as f64 / (fewest - lag) as f64;
    let longer = multiples.iter().copied().skip(1).find(|&longer| {
        let apart = || multiples.iter().filter(|&&lag| lag.abs_diff(longer) > season);
        let highest = multiples.iter().all(|&lag| alike(longer) >= alike(lag));
        let inside = multiples.last() != Some(&longer);
        inside && highest && apart().count() >= APART && apart().all(|&lag| alike(longer) >= alike(lag) + HIGHER)
    });
    std::iter::once(season).chain(longer).collect()
}

/// Whether these columns show a season that is known beforehand: what it takes is less, for it is not the highest of many.
#[must_use]
pub fn shows_season(columns: &[&[f64]], season: usize) -> bool {
    let columns = moving(columns, MOST_SAMPLES.max(season.saturating_mul(FEWEST)));
    let Some(fewest) = columns.iter().map(Vec::len).min() else { return false };
    season < fewest && mean_autocorrelation(&columns, &[season])[0] >= LEAST_KNOWN.max(ERRORS_KNOWN / (fewest as f64).sqrt())
}

/// Whether these columns, two and a half of the longer of two seasons at least, are more alike after it than after the shorter.
#[must_use]
pub fn shows_longer(columns: &[&[f64]], season: usize, longer: usize) -> bool {
    let columns = moving(columns, MOST_SAMPLES.max(longer.saturating_mul(FEWEST)));
    let Some(fewest) = columns.iter().map(Vec::len).min() else { return false };
    if 2 * fewest < 5 * longer {
        return false;
    }
    let r = mean_autocorrelation(&columns, &[season, longer]);
    let [shorter, longer] = [(r[0], season), (r[1], longer)].map(|(r, lag)| r * fewest as f64 / (fewest - lag) as f64);
    longer >= LEAST.max(ERRORS / (fewest as f64).sqrt()).max(shorter + HIGHER)
}

/// Differences of some of the columns over at most so many samples, of those that move and do not begin late.
fn moving(columns: &[&[f64]], most_samples: usize) -> Vec<Vec<f64>> {
    let taken = columns.iter().step_by(columns.len().div_ceil(MOST_COLUMNS).max(1));
    let mut differences: Vec<Vec<f64>> = taken.filter_map(|column| differences(column, most_samples)).collect();
    let most = differences.iter().map(Vec::len).max().unwrap_or(0);
    differences.retain(|column| 2 * column.len() >= most);
    differences
}

/// r of some lags.
fn mean_autocorrelation(columns: &[Vec<f64>], lags: &[usize]) -> Vec<f64> {
    let each: Vec<Vec<f64>> = columns.par_iter().map(|column| autocorrelation(column, lags)).collect();
    (0..lags.len()).map(|at| each.iter().map(|r| r[at]).sum::<f64>() / each.len() as f64).collect()
}

/// Differences less their mean of a column from its first value on, NaN beside a missing value; none of a column that goes straight on.
fn differences(column: &[f64], most_samples: usize) -> Option<Vec<f64>> {
    let first = column.iter().position(|value| !value.is_nan())?;
    let known = &column[first.max(column.len().saturating_sub(most_samples))..];
    let mut differences: Vec<f64> = known.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let present = || differences.iter().filter(|difference| !difference.is_nan());
    let mean = present().sum::<f64>() / present().count().max(1) as f64;
    let squares = |mean: f64| present().map(|difference| (difference - mean).powi(2)).sum::<f64>();
    let varies = squares(mean) > ROUNDING * squares(0.0);
    differences.iter_mut().for_each(|difference| *difference -= mean);
    varies.then_some(differences)
}

/// By lag, of the pairs that are there.
fn autocorrelation(differences: &[f64], lags: &[usize]) -> Vec<f64> {
    let present: Vec<f64> = differences.iter().map(|difference| if difference.is_nan() { 0.0 } else { 1.0 }).collect();
    let filled: Vec<f64> = differences.iter().map(|difference| if difference.is_nan() { 0.0 } else { *difference }).collect();
    let product = |of: &[f64], lag: usize| of[lag..].iter().zip(of).map(|(later, earlier)| later * earlier).sum::<f64>();
    let (all, count, rows) = (product(&filled, 0), product(&present, 0), differences.len() as f64);
    // The fewer pairs a lag has the less it counts, but those that gaps take are made up for.
    let of = |lag: usize| {
        let there = product(&present, lag) / (rows - lag as f64) * rows / count;
        if there > 0.0 { product(&filled, lag) / all / there } else { 0.0 }
    };
    lags.iter().map(|&lag| of(lag)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A level that wanders, a day of `day` samples, a week of which two days are even, and noise.
    fn wandering(rows: usize, day: usize, week: bool) -> Vec<f64> {
        let (mut level, mut random) = (0.0, ChaCha8Rng::seed_from_u64(1));
        let mut next = || random.random_range(-1.7..1.7);
        let of = |row: usize| {
            let height = if week && row / day % 7 > 4 { 0.0 } else { 4.0 };
            level += 0.3 * next();
            level + height * (std::f64::consts::TAU * row as f64 / day as f64).sin() + 0.2 * next()
        };
        (0..rows).map(of).collect()
    }

    #[test]
    fn a_day_and_a_week_are_found() {
        assert_eq!(seasons(&[&wandering(240, 24, false)]), [24]);
        assert_eq!(seasons(&[&wandering(1200, 24, true)]), [24, 168]);
        // Three of them must be there.
        assert_eq!(seasons(&[&wandering(500, 24, true)]), [24]);
        assert!(seasons(&[&wandering(60, 24, false)]).is_empty());
        let mut gaps = wandering(1200, 24, true);
        gaps.iter_mut().step_by(17).for_each(|value| *value = f64::NAN);
        assert_eq!(seasons(&[&gaps]), [24, 168]);
    }

    #[test]
    fn a_season_that_is_known_beforehand_is_there_or_not() {
        let signal = wandering(300, 24, false);
        assert!(shows_season(&[&signal], 24) && shows_season(&[&signal], 48));
        assert!(!shows_season(&[&signal], 12) && !shows_season(&[&signal], 300));
        let walk: Vec<f64> = wandering(300, 1, false);
        assert!((2..100).filter(|&season| shows_season(&[&walk], season)).count() < 10);
        assert!(!shows_season(&[&[2.0; 300]], 24));
        // Longer than what is looked at where nothing is known.
        let days = wandering(600, 6, false);
        let slow: Vec<f64> = (0..5 * MOST_SAMPLES).map(|row| days[row % 12_000 % 600] + row as f64).collect();
        assert!(shows_season(&[&slow], 12_000));
    }

    #[test]
    fn columns_are_asked_together_and_late_ones_not() {
        let (day, flat, straight) =
            (wandering(600, 24, false), vec![1.5; 600], (0..600).map(|row| row as f64 * 0.1).collect::<Vec<_>>());
        let mut late = wandering(600, 10, false);
        late[..550].fill(f64::NAN);
        assert_eq!(seasons(&[&day, &flat, &straight, &late, &[f64::NAN; 600]]), [24]);
        assert!(seasons(&[&flat, &straight]).is_empty());
        assert!(seasons(&[]).is_empty());
    }

    #[test]
    fn a_week_is_shown_where_days_of_it_differ() {
        for (rows, week, expected) in
            [(430, true, true), (430, false, false), (400, true, false), (2000, true, true), (2000, false, false)]
        {
            assert_eq!(shows_longer(&[&wandering(rows, 24, week)], 24, 168), expected, "{rows} {week}");
        }
        assert!(!shows_longer(&[], 24, 168));
    }

    #[test]
    fn none_is_found_where_none_is() {
        // Of 200 signals of each kind and length, at most so many may show one by chance.
        const MOST: usize = 10;
        let sums = |memory: f64, values: Vec<f64>| {
            let sum = |sum: &mut f64, value: f64| {
                *sum = memory * *sum + value;
                Some(*sum)
            };
            values.into_iter().scan(0.0, sum).collect::<Vec<f64>>()
        };
        type Of<'a> = &'a dyn Fn(Vec<f64>) -> Vec<f64>;
        let signals: [(&str, Of<'_>); 4] = [
            ("white", &|noise| noise),
            ("wandering", &|noise| sums(1.0, noise)),
            ("returning", &|noise| sums(0.9, noise)),
            ("sloping", &|noise| sums(1.0, sums(1.0, noise))),
        ];
        for (name, signal) in signals {
            for rows in [50, 100, 300, 1000] {
                let of = |seed: u64| {
                    let mut random = ChaCha8Rng::seed_from_u64(seed);
                    signal((0..rows).map(|_| random.random_range(-1.0..1.0)).collect())
                };
                let found = (0..200).filter(|&seed| !seasons(&[&of(seed)]).is_empty()).count();
                assert!(found <= MOST, "{name}, {rows} rows: {found} of 200");
            }
        }
    }
}
