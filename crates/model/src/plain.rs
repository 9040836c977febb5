//! The plain side of every layer: one sample at a time in `f64`, straight from the weights. It is the definition; everything
//! fast is compared with it.

use crate::weights::Weight;

pub use foretoken_kernels::plain::{multiply, rms_norm, sigmoid, silu, softmax, softplus, switch_loss, z_loss};

/// One sample of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Sample<'a> {
    /// The row.
    pub x: &'a [f64],
    /// Samples missed before it, as in [`crate::layer::Rows::gaps`].
    pub gap: u64,
    /// What the model was shown, as in [`crate::layer::Rows::context_nc`].
    pub context: &'a [f64],
}

impl<'a> Sample<'a> {
    /// The same sample with another row.
    pub fn with(self, x: &'a [f64]) -> Self {
        Self { x, ..self }
    }
}

/// State of one stream in the plain step.
#[derive(Clone, Debug, Default)]
pub struct PlainState {
    /// Own numbers.
    pub floats: Vec<f64>,
    /// Own counts.
    pub counters: Vec<u64>,
    /// States of the layers inside.
    pub children: Vec<PlainState>,
}

/// How one row was routed.
#[derive(Clone, Debug, Default)]
pub struct PlainRouted {
    /// Scores without noise, by expert.
    pub clean: Vec<f64>,
    /// Deviation of their noise; empty without.
    pub deviation: Vec<f64>,
    /// Scores with noise.
    pub scores: Vec<f64>,
    /// What was compared to choose: a function of the scores, a selection bias and a switching cost added.
    pub select: Vec<f64>,
    /// The choice, by slot.
    pub choice: Vec<u32>,
    /// Gate weights, by slot.
    pub weights: Vec<f64>,
    /// Loss of the gate itself.
    pub own_loss: f64,
}

/// One plain pass over a batch: forced choices and seeded draws make it comparable with a training pass.
#[derive(Clone, Debug, Default)]
pub struct PlainPass {
    /// Draws noise and dropout as a training pass with this seed and step does.
    pub training: Option<(u64, u64)>,
    /// For each mixture, the experts to choose at each of its rows, `[mixture][row][slot]`; absent, each row chooses by its scores.
    pub forced: Option<Vec<Vec<Vec<u32>>>>,
    /// What each mixture did, `[mixture][row]`.
    pub routed: Vec<Vec<PlainRouted>>,
}

impl PlainPass {
    /// Makes room for mixture `id` and tells the row it is at.
    pub fn row(&mut self, id: usize) -> usize {
        if self.routed.len() <= id {
            self.routed.resize(id + 1, Vec::new());
        }
        self.routed[id].len()
    }

    /// The choices made, as [`PlainPass::forced`] takes them.
    pub fn choices(&self) -> Vec<Vec<Vec<u32>>> {
        self.routed.iter().map(|rows| rows.iter().map(|row| row.choice.clone()).collect()).collect()
    }
}

/// `x·W + b`.
pub fn affine(x: &[f64], arena: &[f64], weight: Weight, bias: Weight) -> Vec<f64> {
    let mut y = multiply(x, &arena[weight.range()], weight.shape[1]);
    y.iter_mut().zip(&arena[bias.range()]).for_each(|(y, bias)| *y += bias);
    y
}
