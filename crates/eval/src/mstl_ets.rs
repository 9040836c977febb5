//! A statistical forecast: the season by STL, what is left by exponential smoothing.
//!
//! ```text
//! window = season + rest      STL (Cleveland et al. 1990), as MSTL (Bandara et al. 2021) runs it with one season
//! rest                        ETS without a season, error, trend and damping by AICc (Hyndman & Khandakar 2008)
//! ŷ = ETS's forecast + the window's last season, repeated
//! ```
//! Fitted anew at each origin, on the rows before it alone.

use crate::{backtest::Baseline, missing::Filled};
use augurs_core::{Fit, Predict};
use augurs_ets::AutoETS;
use augurs_mstl::MSTLModel;
use rayon::prelude::*;
use std::ops::Range;

/// MSTL with one season, and AutoETS for the rest. A window with less than a tenth of its values or one that begins before its column, and one
/// that nothing fits, is not forecast.
#[derive(Clone, Copy, Debug)]
pub struct MstlEts {
    /// Samples in a season; below 2 there is none.
    pub season: usize,
    /// Samples ahead.
    pub horizon: usize,
    /// Samples it is fitted on: at least two seasons, best 8 to 20.
    pub lookback: usize,
}

impl MstlEts {
    /// The forecast after a window, if one can be fitted.
    fn after(&self, window: &[f64]) -> Option<Vec<f64>> {
        // STL is in f32 and ETS's start is absolute: in units of the window neither depends on how large its values are.
        let mean = window.iter().sum::<f64>() / window.len() as f64;
        let variance = window.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / window.len() as f64;
        let scale = if variance > 0.0 { variance.sqrt() } else { 1.0 };
        let unit: Vec<f64> = window.iter().map(|value| (value - mean) / scale).collect();
        if unit.iter().any(|value| !value.is_finite()) {
            return None;
        }
        let rest = AutoETS::non_seasonal();
        let point = if self.season < 2 {
            rest.fit(&unit).ok()?.predict(self.horizon, None).ok()?.point
        } else {
            let model = MSTLModel::new(vec![self.season], rest.into_trend_model());
            model.fit(&unit).ok()?.predict(self.horizon, None).ok()?.point
        };
        let complete = point.len() == self.horizon && point.iter().all(|value| value.is_finite());
        complete.then(|| point.into_iter().map(|value| mean + scale * value).collect())
    }
}

impl Baseline for MstlEts {
    fn lookback(&self) -> usize {
        self.lookback
    }

    fn forecast(&self, _index: usize, column: &[f64], origins: Range<usize>) -> Vec<f64> {
        let filled = Filled::of(column, origins.start - self.lookback..origins.end.max(origins.start + 1) - 1, Some(self.season));
        let at = |origin: usize| {
            let window = filled.past(origin - self.lookback..origin);
            window.and_then(|window| self.after(&window)).unwrap_or_else(|| vec![f64::NAN; self.horizon])
        };
        origins.into_par_iter().flat_map_iter(at).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origins, SeasonalNaive, evaluate};

    /// Uniform in −1 to 1, by a linear congruential generator.
    fn noise(seed: u64) -> impl Iterator<Item = f64> {
        let next = |state: &u64| Some(state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407));
        std::iter::successors(next(&seed), next).map(|state| (state >> 11) as f64 / (1u64 << 52) as f64 - 1.0)
    }

    fn sine(rows: usize) -> Vec<f64> {
        noise(7)
            .take(rows)
            .enumerate()
            .map(|(row, noise)| (row as f64 * std::f64::consts::TAU / 24.0).sin() + 0.5 * noise)
            .collect()
    }

    #[test]
    fn a_noisy_season_is_forecast_better_than_by_the_last_one() {
        let columns = [sine(1000)];
        let origins = Origins::of(&(500..1000), 48).unwrap().thinned(0, 7, None);
        let mse = |baseline: &dyn Baseline| evaluate(baseline, &columns, &origins, &[0.5], &[0.0; 48], &[1.0]).unwrap();
        let own = mse(&MstlEts { season: 24, horizon: 48, lookback: 336 });
        let naive = mse(&SeasonalNaive { season: 24, horizon: 48 });
        assert_eq!(own.unforecast, 0);
        assert!(own.mse < 0.75 * naive.mse, "{} {}", own.mse, naive.mse);
    }

    #[test]
    fn a_trend_and_a_season_go_on_whatever_their_unit() {
        for (scale, offset) in [(1.0, 0.0), (1e-6, 0.0), (1e9, 1e10), (1.0, 1e6)] {
            let value = |row: usize| offset + scale * (0.02 * row as f64 + [0.0, 1.0, 3.0, 1.0][row % 4]);
            let column: Vec<f64> = (0..80).map(value).collect();
            let forecast = MstlEts { season: 4, horizon: 8, lookback: 80 }.forecast(0, &column, 80..81);
            for (step, forecast) in forecast.iter().enumerate() {
                assert!((forecast - value(80 + step)).abs() < 0.1 * scale, "{step}: {forecast} {}", value(80 + step));
            }
        }
        let column: Vec<f64> = (0..60).map(|row| 0.1 * row as f64).collect();
        let forecast = MstlEts { season: 1, horizon: 4, lookback: 60 }.forecast(0, &column, 60..61);
        assert!((forecast[3] - 6.3).abs() < 0.1, "without a season: {forecast:?}");
    }

    #[test]
    fn gaps_are_filled_and_too_many_not_forecast() {
        let (whole, own) = (sine(400), MstlEts { season: 24, horizon: 24, lookback: 240 });
        let mut gaps = whole.clone();
        (200..210).for_each(|row| gaps[row] = f64::NAN);
        let (a, b) = (own.forecast(0, &whole, 300..301), own.forecast(0, &gaps, 300..301));
        assert!(a.iter().zip(&b).all(|(a, b)| (a - b).abs() < 0.5), "{a:?} {b:?}");
        (0..290).for_each(|row| gaps[row] = f64::NAN);
        let late = own.forecast(0, &gaps, 300..303);
        assert!(late.len() == 72 && late.iter().all(|value| value.is_nan()));
        let short = MstlEts { lookback: 47, ..own }.forecast(0, &whole, 300..301);
        assert!(short.len() == 24 && short.iter().all(|value| value.is_nan()), "less than two seasons");
        assert!(own.forecast(0, &whole, 300..300).is_empty());
    }

    #[test]
    fn no_window_panics() {
        let mut noise = noise(3);
        let mut random = || noise.next().unwrap();
        let mut windows: Vec<Vec<f64>> = vec![
            vec![0.0; 48],
            vec![3.5; 48],
            vec![-1e300; 48],
            (0..48).map(|row| 1e300 * row as f64).collect(),
            (0..48).map(|row| 1e-310 * row as f64).collect(),
            (0..48).map(|row| f64::from(row % 12)).collect(),
            (0..48).map(|row| f64::from(row == 30)).collect(),
            (0..48).map(|row| f64::from(row == 47) * 1e12).collect(),
            (0..48).map(|row| if row == 20 { f64::INFINITY } else { 1.0 }).collect(),
            (0..48).map(|row| 1.5f64.powi(row)).collect(),
            (0..48).map(|row| if row < 24 { 0.0 } else { 1e6 }).collect(),
        ];
        // Heavy tails, integers, runs of one value.
        windows.extend((0..40).map(|_| (0..48).map(|_| (random() * 3.0).exp().powi(4)).collect()));
        windows.extend((0..40).map(|_| (0..48).map(|_| (random() * 2.0).round()).collect()));
        windows.extend((0..40).map(|_| (0..48).map(|_| (random() * 0.55).round()).collect()));
        for window in windows {
            for (season, lookback) in [(12, 48), (24, 48), (2, 5), (1, 48), (0, 1), (7, 20), (48, 48)] {
                let forecast = MstlEts { season, horizon: 6, lookback }.forecast(0, &window, 48..49);
                let missing = forecast.iter().filter(|value| value.is_nan()).count();
                assert!(forecast.len() == 6 && (missing == 0 || missing == 6), "{season} {forecast:?}");
            }
        }
    }
}
