//! What columns do in response to what is known ahead: a setpoint, a commanded load, a heater's duty.
//!
//! ```text
//! z = z' + r        r[t] = Σ g[i]·u[t − i],  0 ≤ i < samples        u the known covariates, z a column, standardised
//! ```
//! A transfer function with a finite impulse response (Box & Jenkins, Time Series Analysis, 1970). All of a forecaster, its linear expert, its network and
//! the errors that its intervals follow, is of what is left, z'; `r` of the coming steps, whose covariates are known, is added to what it says of them. The
//! weights are fitted elsewhere. Before a stream's first row the covariates were at their means.

use crate::ModelError;
use serde::{Deserialize, Serialize};

/// The impulse responses of all columns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Response {
    /// Rows that it looks back, that of the sample itself among them.
    pub samples: usize,
    /// `[column][row][known]`, the oldest row first.
    pub weights_crk: Vec<f32>,
}

/// Sums beside each other.
const LANES: usize = 16;

impl Response {
    /// Checks that these are the finite weights of so many columns and known covariates.
    pub(crate) fn check(&self, columns: usize, known: usize) -> Result<(), ModelError> {
        if self.samples == 0 || known == 0 {
            return Err(ModelError::config("response", "one row and one covariate known ahead at least", "none"));
        }
        ModelError::unless_as_many("weights of the response", columns * self.samples * known, self.weights_crk.len())?;
        match self.weights_crk.iter().find(|weight| !weight.is_finite()) {
            Some(found) => Err(ModelError::config("response", "finite weights", found)),
            None => Ok(()),
        }
    }

    /// Of a column to the rows `[row][known]`, the newest last, of which it has as many as it looks back, or less at the start of a stream.
    pub(crate) fn of(&self, column: usize, (rows, known): (&[f32], usize)) -> f64 {
        let len = self.samples * known;
        let weights = &self.weights_crk[column * len..][len - rows.len()..len];
        let (mut sums, mut rest) = ([0.0f32; LANES], 0.0f32);
        let (whole, more) = (rows.chunks_exact(LANES), weights.chunks_exact(LANES));
        rest += whole.remainder().iter().zip(more.remainder()).map(|(row, weight)| row * weight).sum::<f32>();
        for (rows, weights) in whole.zip(more) {
            sums.iter_mut().zip(rows.iter().zip(weights)).for_each(|(sum, (row, weight))| *sum += row * weight);
        }
        f64::from(sums.iter().sum::<f32>() + rest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_the_sum_over_the_rows_that_there_are() {
        let (samples, known) = (9, 3);
        let weights_crk: Vec<f32> = (0..2 * samples * known).map(|at| (at as f32 * 0.7).sin()).collect();
        let response = Response { samples, weights_crk };
        let rows: Vec<f32> = (0..samples * known).map(|at| (at as f32 * 0.3).cos()).collect();
        for (column, there) in [(0, 9), (1, 9), (1, 4), (0, 1), (1, 0)] {
            let rows = &rows[..there * known];
            let mut expected = 0.0;
            for back in 0..there {
                for covariate in 0..known {
                    let weight = response.weights_crk[(column * samples + samples - 1 - back) * known + covariate];
                    expected += f64::from(rows[(there - 1 - back) * known + covariate]) * f64::from(weight);
                }
            }
            assert!((response.of(column, (rows, known)) - expected).abs() < 1e-5, "{column}, {there}");
        }
        let wrong = |samples: usize, weights: Vec<f32>| Response { samples, weights_crk: weights }.check(2, 3).is_err();
        assert!(wrong(0, Vec::new()) && wrong(1, vec![0.0; 5]) && wrong(1, vec![f32::NAN; 6]) && !wrong(1, vec![1.0; 6]));
    }
}
