//! Which windows an epoch learns from.
//!
//! ```text
//! without options   every window once, so that a series counts by its length
//! with              a series by its share, then a window of it, all alike        share ∝ weight · windows^power
//! ```
//! Both are pure functions of seed, epoch and place in the epoch, so an epoch may be entered anywhere.

use foretoken_model::ModelError;
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// How windows are drawn across series. A window may be drawn again.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sampling {
    /// Power of the number of a series' windows: 1 by length, 0 all series alike.
    pub power: f64,
    /// Weights of series by name; those that are not named weigh 1.
    pub weights: BTreeMap<String, f64>,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { power: 1.0, weights: BTreeMap::new() }
    }
}

impl Sampling {
    /// Checks the options.
    ///
    /// # Errors
    /// The option that cannot be.
    pub fn check(&self) -> Result<(), ModelError> {
        let sound = |value: f64| value.is_finite() && value >= 0.0;
        if !sound(self.power) {
            return Err(ModelError::config("sampling.power", "a finite number >= 0", self.power));
        }
        match self.weights.iter().find(|(_, weight)| !sound(**weight)) {
            Some((name, weight)) => Err(ModelError::config(&format!("sampling.weights.{name}"), "a finite number >= 0", weight)),
            None => Ok(()),
        }
    }
}

/// The shares of series, summed up.
pub(crate) struct Shares {
    /// Series that have windows, and the sum of the shares up to theirs.
    sums: Vec<(usize, f64)>,
}

/// Words of the generator from one draw to the next, more than one takes.
const WORDS: u128 = 8;

impl Shares {
    /// Of series with these names, and so many windows each.
    ///
    /// # Errors
    /// A weight of a series that is not there, or no series with a weight and a window.
    pub fn new<'n>(
        sampling: &Sampling,
        names: impl Iterator<Item = &'n str> + Clone,
        windows: &[usize],
    ) -> Result<Self, ModelError> {
        if let Some(name) = sampling.weights.keys().find(|name| !names.clone().any(|own| own == *name)) {
            return Err(ModelError::config("train.sampling.weights", "names of series", format!("`{name}`")));
        }
        let mut sum = 0.0;
        let mut sums = Vec::with_capacity(windows.len());
        for (series, (name, &count)) in names.zip(windows).enumerate().filter(|(_, (_, count))| **count > 0) {
            let share = sampling.weights.get(name).copied().unwrap_or(1.0) * (count as f64).powf(sampling.power);
            if share > 0.0 {
                sum += share;
                sums.push((series, sum));
            }
        }
        if !(sum > 0.0 && f64::is_finite(sum)) {
            let expected = "a series with a window and a weight above 0, and a finite sum";
            return Err(ModelError::config("train.sampling.weights", expected, format!("a sum of {sum}")));
        }
        Ok(Self { sums })
    }

    /// The window at a place of the epoch that `rng` stands at the beginning of: a series, and which of its `windows`.
    pub fn draw(&self, mut rng: ChaCha8Rng, place: u64, windows: &[usize]) -> (usize, usize) {
        rng.set_word_pos(rng.get_word_pos() + u128::from(place) * WORDS);
        let at = rng.random::<f64>() * self.sums.last().map_or(0.0, |(_, sum)| *sum);
        let found = self.sums.partition_point(|(_, sum)| *sum <= at).min(self.sums.len() - 1);
        let series = self.sums[found].0;
        (series, rng.random_range(0..windows[series]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;

    const NAMES: [&str; 4] = ["short", "long", "none", "other"];
    const WINDOWS: [usize; 4] = [100, 900, 0, 400];
    const DRAWS: u64 = 40_000;

    fn drawn(sampling: &Sampling) -> Vec<(usize, usize)> {
        let shares = Shares::new(sampling, NAMES.into_iter(), &WINDOWS).unwrap();
        let rng = ChaCha8Rng::seed_from_u64(3);
        (0..DRAWS).map(|place| shares.draw(rng.clone(), place, &WINDOWS)).collect()
    }

    fn check(text: &str, expected: [f64; 4]) {
        let sampling: Sampling = toml::from_str(text).unwrap();
        sampling.check().unwrap();
        let drawn = drawn(&sampling);
        for (series, expected) in expected.into_iter().enumerate() {
            let own: Vec<usize> = drawn.iter().filter(|(at, _)| *at == series).map(|(_, window)| *window).collect();
            let share = own.len() as f64 / DRAWS as f64;
            // Five standard deviations of a share of so many draws.
            let most = 5.0 * (expected * (1.0 - expected) / DRAWS as f64).sqrt();
            assert!((share - expected).abs() <= most, "{text}: {} {share}", NAMES[series]);
            if own.len() > 1000 {
                let mean = own.iter().sum::<usize>() as f64 / own.len() as f64;
                let middle = 0.5 * (WINDOWS[series] - 1) as f64;
                assert!((mean / middle - 1.0).abs() < 5.0 / (3.0 * own.len() as f64).sqrt(), "{text}: all windows alike, {mean}");
            }
        }
    }

    #[test]
    fn series_are_drawn_by_their_shares() {
        check("", [1.0 / 14.0, 9.0 / 14.0, 0.0, 4.0 / 14.0]);
        check("power = 0.0", [1.0 / 3.0, 1.0 / 3.0, 0.0, 1.0 / 3.0]);
        check("power = 0.5", [10.0 / 60.0, 30.0 / 60.0, 0.0, 20.0 / 60.0]);
        check("weights = { short = 3.0 }\npower = 0.0", [0.6, 0.2, 0.0, 0.2]);
        check("weights = { long = 0.0, none = 5.0 }", [0.2, 0.0, 0.0, 0.8]);
    }

    #[test]
    fn a_place_has_its_window_whatever_was_drawn_before() {
        let sampling = Sampling::default();
        let shares = Shares::new(&sampling, NAMES.into_iter(), &WINDOWS).unwrap();
        let all = drawn(&sampling);
        let rng = ChaCha8Rng::seed_from_u64(3);
        for place in [0, 7, DRAWS - 1] {
            assert_eq!(shares.draw(rng.clone(), place, &WINDOWS), all[place as usize]);
        }
        let again = all.windows(2).filter(|pair| pair[0] == pair[1]).count();
        assert!(again < DRAWS as usize / 400, "neighbours are drawn apart: {again}");
    }

    #[test]
    fn weights_that_cannot_be_are_refused() {
        for (text, expected) in [
            ("power = -1.0", "sampling.power: expected a finite number >= 0, found -1"),
            ("power = nan", "sampling.power: expected a finite number >= 0, found NaN"),
            ("weights = { long = -2.0 }", "sampling.weights.long: expected a finite number >= 0, found -2"),
            ("weights = { longer = 1.0 }", "train.sampling.weights: expected names of series, found `longer`"),
            ("weights = { long = 0.0, short = 0.0, other = 0.0 }", "expected a series with a window and a weight above 0"),
            ("power = 200.0", "a finite sum, found a sum of inf"),
        ] {
            let sampling: Sampling = toml::from_str(text).unwrap();
            let shares = sampling.check().and_then(|()| Shares::new(&sampling, NAMES.into_iter(), &WINDOWS).map(|_| ()));
            let error = shares.expect_err(text).to_string();
            assert!(error.contains(expected), "{error}");
        }
        assert!(toml::from_str::<Sampling>("by = 1").is_err());
    }
}
