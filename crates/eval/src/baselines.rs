//! The seasonal naive forecast: the same as one season ago.

use crate::backtest::Baseline;
use foretoken_kernels::missing::SEASONS;
use std::ops::Range;

/// Repeats the last season. A missing value is the newest present one at its place in the eight last seasons, else the newest of them all,
/// else NaN.
#[derive(Clone, Copy, Debug)]
pub struct SeasonalNaive {
    /// Samples in a season.
    pub season: usize,
    /// Samples ahead.
    pub horizon: usize,
}

impl SeasonalNaive {
    /// The season repeated after the end of `history`.
    fn last_season(&self, history: &[f64]) -> Vec<f64> {
        let recent = &history[history.len().saturating_sub(SEASONS * self.season)..];
        let newest = recent.iter().rev().copied().find(|value| !value.is_nan()).unwrap_or(f64::NAN);
        let place = |from_end: usize| {
            let mut seasons = recent.iter().rev().skip(from_end).step_by(self.season).copied();
            seasons.find(|value| !value.is_nan()).unwrap_or(newest)
        };
        (0..self.season).rev().map(place).collect()
    }
}

impl Baseline for SeasonalNaive {
    fn lookback(&self) -> usize {
        self.season
    }

    fn forecast(&self, _index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        origins.flat_map(|origin| self.last_season(&column[..origin]).into_iter().cycle().take(self.horizon)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAN: f64 = f64::NAN;

    #[test]
    fn repeats_the_season_before_the_origin() {
        let naive = SeasonalNaive { season: 2, horizon: 3 };
        assert_eq!(naive.forecast(0, &[1.0, 2.0, 3.0, 4.0], 2..4), [1.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    }

    #[test]
    fn a_missing_value_is_looked_for_eight_seasons_back() {
        let naive = SeasonalNaive { season: 2, horizon: 3 };
        assert_eq!(naive.forecast(0, &[1.0, 2.0, NAN, 4.0], 4..5), [1.0, 4.0, 1.0], "the same place a season before");
        assert_eq!(naive.forecast(0, &[NAN, 2.0, NAN, 4.0], 4..5), [4.0; 3], "the newest at any place");
        let mut column = [NAN; 18];
        (column[0], column[1]) = (5.0, 6.0);
        assert!(naive.forecast(0, &column, 18..19).iter().all(|value| value.is_nan()), "nine seasons back is too far");
        column[2] = 7.0;
        assert_eq!(naive.forecast(0, &column, 18..19), [7.0; 3]);
    }
}
