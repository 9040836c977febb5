//! LSTM (Hochreiter & Schmidhuber 1997; with the forget gate of Gers et al. 2000), as PyTorch has it: an honest baseline.
//!
//! ```text
//! i = σ(x_i + h_i)   f = σ(x_f + h_f)   g = tanh(x_g + h_g)   o = σ(x_o + h_o)     x_· = x_t·input + input_bias, h_· = h_{t−1}·hidden + hidden_bias
//! c_t = f ⊙ c_{t−1} + i ⊙ g             h_t = o ⊙ tanh(c_t)                        y_t = h_t·out + out_bias
//! ```

use crate::{
    ModelError,
    layer::{Kind, Layer, LayerConfig, Registry},
    plain::sigmoid,
    recurrent::{self, Cell},
    weights::Layout,
};
use foretoken_kernels::recurrent::{lstm, lstm_backward};

/// `type = "lstm"`.
pub const KIND: Kind = Kind { name: "lstm", build, examples: &["", "hidden = 5"] };

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let cell = Cell { gates: 4, states: 2, forward: lstm, backward: lstm_backward, plain };
    recurrent::build(cell, config, input, output, layout)
}

/// The definition; the state is `[h | c]`.
fn plain(x: &[f64], from_h: &[f64], state: &mut [f64]) {
    let len = state.len() / 2;
    let (h, c) = state.split_at_mut(len);
    for unit in 0..len {
        let gate = |gate: usize| x[gate * len + unit] + from_h[gate * len + unit];
        let (i, f, g, o) = (sigmoid(gate(0)), sigmoid(gate(1)), gate(2).tanh(), sigmoid(gate(3)));
        c[unit] = f * c[unit] + i * g;
        h[unit] = o * c[unit].tanh();
    }
}
