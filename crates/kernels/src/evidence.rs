//! The evidence that E one-step models of a signal gather, as a forward filter with fixed-share switching.
//!
//! ```text
//! r_i = z_t − V_i·(z_{t−1} … z_{t−p}) − b_i           the residual of model i
//! e_i = ½·(r_i/σ_i)² + ln σ_i                          its negative log-likelihood, up to a constant;  σ = max(exp(s), 0.001)
//! u_i = ln((1 − α)·π_i + α/E) − e_i                    π = softmax(l_{t−1}),  α the probability of a switch
//! l_t = u − logsumexp(u)                               the log-posterior;   own loss: −logsumexp(u)
//! ```
//! A hidden Markov model whose regimes are the models (Hamilton 1989), switching by fixed share (Herbster & Warmuth 1998). A handful of
//! numbers a sample, so it runs in `f64`; the posterior is kept in `f32`, so that a stream and a batch round alike.

/// Residuals beyond this many units are cut: one absurd sample must not decide for ever.
const LARGEST_RESIDUAL: f64 = 1e6;
/// ln of the smallest σ: a model that predicts a stuck signal perfectly must not become infinitely sure of it.
const LEAST_LOG_DEVIATION: f64 = -6.907_755_278_982_137;

/// The models: `lags_ep` newest lag last, like the signal.
#[derive(Clone, Copy, Debug)]
pub struct Evidence<'a, R = f32> {
    /// V, `[model][lag]`.
    pub lags_ep: &'a [R],
    /// b.
    pub bias_e: &'a [R],
    /// s = ln σ.
    pub log_deviation_e: &'a [R],
    /// α.
    pub switching: f64,
}

/// Gradients of the models.
#[derive(Debug)]
pub struct EvidenceGradient<'a> {
    /// Of V.
    pub lags_ep: &'a mut [f32],
    /// Of b.
    pub bias_e: &'a mut [f32],
    /// Of s.
    pub log_deviation_e: &'a mut [f32],
}

impl<R: Copy + Into<f64>> Evidence<'_, R> {
    fn models(&self) -> usize {
        self.bias_e.len()
    }

    fn lags(&self) -> usize {
        self.lags_ep.len() / self.bias_e.len()
    }

    /// Residual of a model, its inverse variance and its negative log-likelihood; `signal` ends with the newest sample.
    fn likelihood<T: Copy + Into<f64>>(&self, model: usize, signal: &[T]) -> (f64, f64, f64) {
        let p = self.lags();
        let (lags, newest) = (&signal[signal.len() - 1 - p..signal.len() - 1], signal[signal.len() - 1].into());
        let weights = &self.lags_ep[model * p..(model + 1) * p];
        let predicted = weights.iter().zip(lags).fold(self.bias_e[model].into(), |sum, (&v, &z)| sum + v.into() * z.into());
        let residual = (newest - predicted).clamp(-LARGEST_RESIDUAL, LARGEST_RESIDUAL);
        let log_deviation: f64 = self.log_deviation_e[model].into().max(LEAST_LOG_DEVIATION);
        let precision = libm::exp(-2.0 * log_deviation);
        (residual, precision, 0.5 * residual * residual * precision + log_deviation)
    }

    /// One sample: the log-posterior before becomes the one after; gives the negative log-evidence. Zeros stand for no knowledge.
    pub fn step<T: Copy + Into<f64>, L: Copy + Into<f64>>(
        &self,
        signal: &[T],
        posterior: &mut [L],
        round: impl Fn(f64) -> L,
    ) -> f64 {
        let share = self.switching / self.models() as f64;
        let total = log_sum_exp(posterior.iter().map(|&l| l.into()));
        // Two passes over so few models cost less than somewhere to keep them.
        let updated = |model: usize, before: L| {
            let prior = (1.0 - self.switching) * libm::exp(before.into() - total) + share;
            libm::log(prior) - self.likelihood(model, signal).2
        };
        let evidence = log_sum_exp(posterior.iter().enumerate().map(|(model, &before)| updated(model, before)));
        for (model, l) in posterior.iter_mut().enumerate() {
            *l = round(updated(model, *l) - evidence);
        }
        -evidence
    }
}

impl Evidence<'_> {
    /// The chain rule of one [`Evidence::step`]: `dposterior` is the gradient of the log-posterior after it and becomes that of the one
    /// before; `dloss` is the gradient of its loss.
    pub fn step_backward(
        &self,
        signal: &[f32],
        before: &[f32],
        after: &[f32],
        dloss: f64,
        dposterior: &mut [f64],
        gradient: &mut EvidenceGradient<'_>,
    ) {
        let (p, share) = (self.lags(), self.switching / self.models() as f64);
        let total = log_sum_exp(before.iter().map(|&l| f64::from(l)));
        let sum: f64 = dposterior.iter().sum();
        let lags = &signal[signal.len() - 1 - p..signal.len() - 1];
        let mut mean = 0.0;
        for model in 0..self.models() {
            let (residual, precision, _) = self.likelihood(model, signal);
            let du = dposterior[model] - libm::exp(f64::from(after[model])) * (sum + dloss);
            let dresidual = -du * residual * precision * f64::from(u8::from(residual.abs() < LARGEST_RESIDUAL));
            if f64::from(self.log_deviation_e[model]) > LEAST_LOG_DEVIATION {
                gradient.log_deviation_e[model] -= (du * (1.0 - residual * residual * precision)) as f32;
            }
            gradient.bias_e[model] -= dresidual as f32;
            for (dv, &z) in gradient.lags_ep[model * p..(model + 1) * p].iter_mut().zip(lags) {
                *dv -= (dresidual * f64::from(z)) as f32;
            }
            let pi = libm::exp(f64::from(before[model]) - total);
            // Now the gradient of π, made that of l once their mean is known.
            dposterior[model] = du * (1.0 - self.switching) / ((1.0 - self.switching) * pi + share);
            mean += pi * dposterior[model];
        }
        for (dl, &before) in dposterior.iter_mut().zip(before) {
            *dl = libm::exp(f64::from(before) - total) * (*dl - mean);
        }
    }
}

fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let top = values.clone().fold(f64::NEG_INFINITY, f64::max);
    top + libm::log(values.map(|value| libm::exp(value - top)).sum::<f64>())
}
