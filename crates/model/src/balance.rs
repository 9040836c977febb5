//! The losses that keep a mixture's experts in use, each with its coefficient; formulas in [`foretoken_kernels::balance`].

use crate::{
    gate::Gate,
    plain::{self, PlainRouted},
};
use foretoken_kernels::balance::{self, SmoothLoad};

/// Coefficients; zero turns a loss off.
#[derive(Clone, Copy, Debug, Default)]
pub struct Balance {
    /// Switch loss.
    pub switch: f32,
    /// CV² of the importance.
    pub importance: f32,
    /// CV² of the smooth load.
    pub load: f32,
    /// Router z-loss.
    pub z: f32,
}

/// What a training pass knows of its rows' routing.
pub struct Routed<'a> {
    /// The gate.
    pub gate: &'a dyn Gate,
    /// What the smooth load is made of; `noisy_ne` are the scores that chose.
    pub load: SmoothLoad<'a>,
    /// Gate weights `[row][slot]`.
    pub weights_nk: &'a [f32],
    /// Rows given to each expert.
    pub counts: &'a [u64],
}

/// Where the gradients go; each is added to.
pub struct RoutedGradient<'a> {
    /// Of the scores that chose.
    pub dscores_ne: &'a mut [f32],
    /// Of the scores without noise, beyond what they are of the former.
    pub dclean_ne: &'a mut [f32],
    /// Of the noise's deviations.
    pub ddeviation_ne: &'a mut [f32],
    /// Of the gate weights.
    pub dweights_nk: &'a mut [f32],
}

impl Balance {
    /// The sum of the losses.
    pub fn loss(&self, routed: &Routed<'_>) -> f64 {
        let SmoothLoad { clean_ne, experts, .. } = routed.load;
        let mut total = 0.0;
        if self.switch > 0.0 {
            total += f64::from(self.switch) * balance::switch_loss(&routed.probabilities(), routed.counts);
        }
        if self.importance > 0.0 {
            total += f64::from(self.importance) * balance::squared_variation(&routed.importance());
        }
        if self.load > 0.0 {
            total += f64::from(self.load) * balance::squared_variation(&routed.load.load());
        }
        if self.z > 0.0 {
            total += f64::from(self.z) * balance::z_loss(clean_ne, experts);
        }
        total
    }

    /// Adds `scale` times the gradients.
    pub fn backward(&self, routed: &Routed<'_>, scale: f32, into: &mut RoutedGradient<'_>) {
        let SmoothLoad { clean_ne, noisy_ne, experts, .. } = routed.load;
        let scaled = |slope: Vec<f64>, coefficient: f32| -> Vec<f64> {
            slope.into_iter().map(|slope| slope * f64::from(coefficient) * f64::from(scale)).collect()
        };
        if self.switch > 0.0 {
            let p_ne = routed.probabilities();
            let slope = scaled(balance::switch_slope(&p_ne, routed.counts), self.switch);
            let slope: Vec<f32> = slope.into_iter().map(|slope| slope as f32).collect();
            routed.gate.distribution_backward(noisy_ne, &p_ne, &slope, into.dscores_ne);
        }
        if self.importance > 0.0 {
            let slope = scaled(balance::squared_variation_slope(&routed.importance()), self.importance);
            for (dweight, &expert) in into.dweights_nk.iter_mut().zip(routed.load.choice_nk) {
                *dweight += slope[expert as usize] as f32;
            }
        }
        if self.load > 0.0 {
            let slope = scaled(balance::squared_variation_slope(&routed.load.load()), self.load);
            routed.load.backward(&slope, into.dclean_ne, into.ddeviation_ne, into.dscores_ne);
        }
        if self.z > 0.0 {
            balance::z_loss_backward(clean_ne, experts, f64::from(self.z) * f64::from(scale), into.dclean_ne);
        }
    }

    /// The definition of [`Balance::loss`].
    pub fn plain(&self, gate: &dyn Gate, rows: &[PlainRouted], experts: usize) -> f64 {
        let (mut counts, mut importance, mut load) = (vec![0; experts], vec![0.0; experts], vec![0.0; experts]);
        for row in rows {
            for (&expert, weight) in row.choice.iter().zip(&row.weights) {
                counts[expert as usize] += 1;
                importance[expert as usize] += weight;
            }
            let mut others: Vec<f64> = row.scores.clone();
            others.sort_by(|a, b| b.total_cmp(a));
            let k = row.choice.len();
            for expert in 0..experts {
                load[expert] += if k == experts || row.deviation.iter().all(|&deviation| deviation == 0.0) {
                    f64::from(u8::from(row.choice.contains(&(expert as u32))))
                } else {
                    // The k-th largest of the others' scores: with distinct scores, one place further for a chosen expert.
                    let threshold = others[if row.choice.contains(&(expert as u32)) { k } else { k - 1 }];
                    balance::normal_distribution((row.clean[expert] - threshold) / row.deviation[expert])
                };
            }
        }
        let p: Vec<Vec<f64>> = rows.iter().map(|row| gate.plain_distribution(&row.scores)).collect();
        let clean: Vec<Vec<f64>> = rows.iter().map(|row| row.clean.clone()).collect();
        let part =
            |coefficient: f32, loss: &dyn Fn() -> f64| if coefficient > 0.0 { f64::from(coefficient) * loss() } else { 0.0 };
        part(self.switch, &|| plain::switch_loss(&p, &counts))
            + part(self.importance, &|| balance::squared_variation(&importance))
            + part(self.load, &|| balance::squared_variation(&load))
            + part(self.z, &|| plain::z_loss(&clean))
    }
}

impl Routed<'_> {
    fn probabilities(&self) -> Vec<f32> {
        let mut p_ne = vec![0.0; self.load.noisy_ne.len()];
        self.gate.distribution(self.load.noisy_ne, self.load.experts, &mut p_ne);
        p_ne
    }

    fn importance(&self) -> Vec<f64> {
        let mut importance = vec![0.0; self.load.experts];
        for (&expert, &weight) in self.load.choice_nk.iter().zip(self.weights_nk) {
            importance[expert as usize] += f64::from(weight);
        }
        importance
    }
}
