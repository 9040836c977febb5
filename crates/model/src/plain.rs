//! The plain side of every layer: one sample at a time in `f64`, straight from the weights. It is the definition; everything
//! fast is compared with it.

use foretoken_kernels::plain::Real;

/// State of one stream in the plain step.
#[derive(Clone, Debug, Default)]
pub struct PlainState {
    /// Own numbers.
    pub floats: Vec<f64>,
    /// States of the layers inside.
    pub children: Vec<PlainState>,
}

/// One plain pass over a batch: forced choices and seeded draws make it comparable with a training pass.
#[derive(Clone, Debug, Default)]
pub struct PlainPass {
    /// Draws noise and dropout as a training pass with this seed and step does.
    pub training: Option<(u64, u64)>,
    /// For each mixture, the experts to choose at each of its rows, `[mixture][row][slot]`; absent, each row chooses by its scores.
    pub forced: Option<Vec<Vec<Vec<u32>>>>,
    /// Scores that each mixture chose by, `[mixture][row][expert]`.
    pub scores: Vec<Vec<Vec<f64>>>,
    /// Choices that each mixture made, `[mixture][row][slot]`.
    pub choices: Vec<Vec<Vec<u32>>>,
}

impl PlainPass {
    /// Makes room for mixture `id` and tells the row it is at.
    pub fn row(&mut self, id: usize) -> usize {
        if self.scores.len() <= id {
            self.scores.resize(id + 1, Vec::new());
            self.choices.resize(id + 1, Vec::new());
        }
        self.scores[id].len()
    }
}

/// `x·w`, with `w` row-major `[inputs][outputs]`.
pub fn multiply<R: Real>(x: &[R], w: &[R], outputs: usize) -> Vec<R> {
    let mut y = vec![R::from_f64(0.0); outputs];
    for (&x, row) in x.iter().zip(w.chunks_exact(outputs)) {
        y.iter_mut().zip(row).for_each(|(y, &w)| *y = *y + x * w);
    }
    y
}

/// `1/(1 + exp(−x))`.
pub fn sigmoid<R: Real>(x: R) -> R {
    R::from_f64(1.0) / (R::from_f64(1.0) + (R::from_f64(0.0) - x).exp())
}

/// `x·sigmoid(x)`.
pub fn silu<R: Real>(x: R) -> R {
    x * sigmoid(x)
}

/// `x / rms(x) ⊙ gain`.
pub fn rms_norm(x: &[f64], gain: &[f64]) -> Vec<f64> {
    let mean = x.iter().map(|x| x * x).sum::<f64>() / x.len() as f64;
    let scale = 1.0 / (mean + f64::from(foretoken_kernels::norm::RMS_EPSILON)).sqrt();
    x.iter().zip(gain).map(|(x, gain)| x * scale * gain).collect()
}
