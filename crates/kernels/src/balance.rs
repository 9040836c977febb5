//! Losses that keep experts in use, with their gradients. Rows that are not there (padded, missing) are not counted.
//!
//! ```text
//! Switch      L = E·Σ f_e·P_e,  f_e = share of the assignments, P_e = mean probability   (Fedus et al. 2021, arXiv:2101.03961)
//! CV²         L = Var(v)/(mean(v)² + ε), population variance                             (Shazeer et al. 2017, arXiv:1701.06538)
//!             of the importance Σ_x G(x)_e, or of the smooth load Σ_x P(x, e),
//!             P(x, e) = Φ((l_e − kth_excluding(H, k, e))/σ_e)
//! z           L = mean(logsumexp(l)²)                                                     (Zoph et al. 2022, arXiv:2202.08906)
//! ```
//! f is a count and has no gradient. Sums run in `f64`.

/// Keeps CV² finite where nothing was counted.
const EPSILON: f64 = 1e-10;

/// The Switch loss of these probabilities, with `counts[e]` assignments to each expert: 1 at perfect balance. Zero without rows.
pub fn switch_loss(probabilities_ne: &[f32], counts: &[u64]) -> f64 {
    let Some(scale) = switch_scale(probabilities_ne, counts) else { return 0.0 };
    let row = |row: &[f32]| row.iter().zip(counts).map(|(&p, &count)| f64::from(p) * count as f64).sum::<f64>();
    scale * probabilities_ne.chunks_exact(counts.len()).map(row).sum::<f64>()
}

/// Slope of [`switch_loss`] by each expert's probability, the same in every row.
pub fn switch_slope(probabilities_ne: &[f32], counts: &[u64]) -> Vec<f64> {
    let scale = switch_scale(probabilities_ne, counts).unwrap_or(0.0);
    counts.iter().map(|&count| scale * count as f64).collect()
}

fn switch_scale(probabilities_ne: &[f32], counts: &[u64]) -> Option<f64> {
    let experts = counts.len();
    let product = (probabilities_ne.len() / experts) as f64 * counts.iter().sum::<u64>() as f64;
    (product > 0.0).then(|| experts as f64 / product)
}

/// The squared coefficient of variation: 0 where all are alike.
pub fn squared_variation(values: &[f64]) -> f64 {
    let (mean, variance) = moments(values);
    variance / (mean * mean + EPSILON)
}

/// Its slope by each value.
pub fn squared_variation_slope(values: &[f64]) -> Vec<f64> {
    let (mean, variance) = moments(values);
    let (count, square) = (values.len() as f64, mean * mean + EPSILON);
    let slope = |value: &f64| 2.0 / count * ((value - mean) / square - variance * mean / (square * square));
    values.iter().map(slope).collect()
}

fn moments(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count)
}

/// Mean square of each row's logsumexp.
pub fn z_loss(logits_ne: &[f32], experts: usize) -> f64 {
    let rows = (logits_ne.len() / experts).max(1) as f64;
    logits_ne.chunks_exact(experts).map(|row| log_sum_exp(row).powi(2)).sum::<f64>() / rows
}

/// Adds `scale` times its gradient.
pub fn z_loss_backward(logits_ne: &[f32], experts: usize, scale: f64, dlogits_ne: &mut [f32]) {
    let rows = (logits_ne.len() / experts).max(1) as f64;
    for (row, dlogits) in logits_ne.chunks_exact(experts).zip(dlogits_ne.chunks_exact_mut(experts)) {
        let total = log_sum_exp(row);
        for (&logit, dlogit) in row.iter().zip(dlogits) {
            *dlogit += (scale * 2.0 * total / rows * (f64::from(logit) - total).exp()) as f32;
        }
    }
}

fn log_sum_exp(row: &[f32]) -> f64 {
    let top = row.iter().fold(f64::NEG_INFINITY, |top, &value| top.max(f64::from(value)));
    top + row.iter().map(|&value| (f64::from(value) - top).exp()).sum::<f64>().ln()
}

/// What the smooth load is made of, `[row][expert]`; `choice_nk` are the k best of `noisy_ne`.
#[derive(Clone, Copy, Debug)]
pub struct SmoothLoad<'a> {
    /// Scores without noise.
    pub clean_ne: &'a [f32],
    /// Deviation of their noise.
    pub deviation_ne: &'a [f32],
    /// Scores with noise.
    pub noisy_ne: &'a [f32],
    /// The choice.
    pub choice_nk: &'a [u32],
    /// Number of experts.
    pub experts: usize,
    /// Experts chosen.
    pub k: usize,
}

impl SmoothLoad<'_> {
    /// Whether there is noise to smooth by, and an expert not chosen; else the load is a hard count, without gradient.
    fn is_smooth(&self) -> bool {
        self.k < self.experts && self.deviation_ne.iter().all(|&deviation| deviation > 0.0)
    }

    /// Each expert's load.
    pub fn load(&self) -> Vec<f64> {
        let mut load = vec![0.0; self.experts];
        if self.is_smooth() {
            self.each(|_, expert, _, z| load[expert] += normal_distribution(z));
        } else {
            self.choice_nk.iter().for_each(|&expert| load[expert as usize] += 1.0);
        }
        load
    }

    /// Adds the gradients of `Σ slope·load` to those of the clean scores, the deviations and the noisy scores.
    pub fn backward(&self, slope: &[f64], dclean_ne: &mut [f32], ddeviation_ne: &mut [f32], dnoisy_ne: &mut [f32]) {
        if !self.is_smooth() {
            return;
        }
        self.each(|row, expert, threshold, z| {
            let at = row * self.experts + expert;
            let deviation = f64::from(self.deviation_ne[at]);
            let density = slope[expert] * (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt() / deviation;
            dclean_ne[at] += density as f32;
            ddeviation_ne[at] -= (density * z) as f32;
            dnoisy_ne[row * self.experts + threshold] -= density as f32;
        });
    }

    /// Shows row, expert, the expert whose noisy score is the threshold, and the distance to it in deviations.
    fn each(&self, mut show: impl FnMut(usize, usize, usize, f64)) {
        for (row, choice) in self.choice_nk.chunks_exact(self.k).enumerate() {
            let at = row * self.experts..(row + 1) * self.experts;
            let (clean, deviation, noisy) = (&self.clean_ne[at.clone()], &self.deviation_ne[at.clone()], &self.noisy_ne[at]);
            let last = choice[self.k - 1] as usize;
            let others = (0..self.experts).filter(|expert| !choice.contains(&(*expert as u32)));
            let next = others.reduce(|best, expert| if noisy[expert] > noisy[best] { expert } else { best }).unwrap_or(last);
            for expert in 0..self.experts {
                let threshold = if choice.contains(&(expert as u32)) { next } else { last };
                let distance = f64::from(clean[expert]) - f64::from(noisy[threshold]);
                show(row, expert, threshold, distance / f64::from(deviation[expert]));
            }
        }
    }
}

/// Φ(z).
pub fn normal_distribution(z: f64) -> f64 {
    0.5 * libm::erfc(-z / std::f64::consts::SQRT_2)
}
