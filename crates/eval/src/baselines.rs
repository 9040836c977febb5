//! The seasonal naive forecast: the same as one season ago.

use crate::backtest::Baseline;
use std::ops::Range;

/// Repeats the last season.
#[derive(Clone, Copy, Debug)]
pub struct SeasonalNaive {
    /// Samples in a season.
    pub season: usize,
    /// Samples ahead.
    pub horizon: usize,
}

impl Baseline for SeasonalNaive {
    fn lookback(&self) -> usize {
        self.season
    }

    fn forecast(&self, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        origins.flat_map(|origin| (0..self.horizon).map(move |step| column[origin - self.season + step % self.season])).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_the_season_before_the_origin() {
        let naive = SeasonalNaive { season: 2, horizon: 3 };
        assert_eq!(naive.forecast(&[1.0, 2.0, 3.0, 4.0], 2..4), [1.0, 2.0, 1.0, 2.0, 3.0, 2.0]);
    }
}
