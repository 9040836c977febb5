//! GRU (Cho et al. 2014, arXiv:1406.1078), as PyTorch has it: an honest baseline.
//!
//! ```text
//! r = σ(x_r + h_r)   z = σ(x_z + h_z)   n = tanh(x_n + r ⊙ h_n)      x_· = x_t·input + input_bias, h_· = h_{t−1}·hidden + hidden_bias
//! h_t = (1 − z) ⊙ n + z ⊙ h_{t−1}                                    y_t = h_t·out + out_bias
//! ```

use crate::{
    ModelError,
    layer::{Kind, Layer, LayerConfig, Registry},
    plain::sigmoid,
    recurrent::{self, Cell},
    weights::Layout,
};
use foretoken_kernels::recurrent::{gru, gru_backward};

/// `type = "gru"`.
pub const KIND: Kind = Kind { name: "gru", build, examples: &["", "hidden = 5"] };

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let cell = Cell { gates: 3, states: 1, forward: gru, backward: gru_backward, plain };
    recurrent::build(cell, config, input, output, layout)
}

/// The definition.
fn plain(x: &[f64], from_h: &[f64], h: &mut [f64]) {
    let len = h.len();
    for i in 0..len {
        let (r, z) = (sigmoid(x[i] + from_h[i]), sigmoid(x[len + i] + from_h[len + i]));
        let n = (x[2 * len + i] + r * from_h[2 * len + i]).tanh();
        h[i] = (1.0 - z) * n + z * h[i];
    }
}
