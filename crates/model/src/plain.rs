//! The plain side of every layer: one sample at a time in `f64`, straight from the weights. It is the definition; everything
//! fast is compared with it.

pub use foretoken_kernels::plain::{multiply, rms_norm, sigmoid, silu, softplus, switch_loss};

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
