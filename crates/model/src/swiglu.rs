//! SwiGLU: the gated feed-forward layer (Shazeer 2020, arXiv:2002.05202), without state.
//!
//! ```text
//! y = (silu(x·gate) ⊙ x·up)·down
//! ```
//! Shapes: `n` rows, `d` inputs, `h` hidden, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    plain::{PlainPass, PlainState, Sample},
    weights::{Layout, Weight, fan_in, positive},
};
use foretoken_kernels::{
    activation,
    linear::{self, Panels},
    plain,
};
use serde::{Deserialize, Serialize};

/// `type = "swiglu"`.
pub const KIND: Kind = Kind { name: "swiglu", build, examples: &["", "hidden = 5"] };

/// Options of a SwiGLU layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwigluConfig {
    /// Width of the hidden layer; twice the input width if absent.
    pub hidden: Option<usize>,
}

#[derive(Debug)]
struct Swiglu {
    gate_dh: Weight,
    up_dh: Weight,
    down_ho: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: SwigluConfig = config.read()?;
    let hidden = positive("hidden", options.hidden.unwrap_or(2 * input))?;
    Ok(Box::new(Swiglu {
        gate_dh: layout.matrix("gate", [input, hidden], fan_in(input)),
        up_dh: layout.matrix("up", [input, hidden], fan_in(input)),
        down_ho: layout.matrix("down", [hidden, output], fan_in(hidden)),
    }))
}

impl Layer for Swiglu {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let pack = |weight: &Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: &Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        let weights = [self.gate_dh, self.up_dh, self.down_ho];
        Box::new(SwigluEngine {
            weights,
            panels: weights.each_ref().map(pack),
            transposed: train.then(|| weights.each_ref().map(transposed)),
        })
    }

    fn active_parameters(&self) -> usize {
        [self.gate_dh, self.up_dh, self.down_ho].iter().map(|weight| weight.range().len()).sum()
    }

    fn plain_state(&self) -> PlainState {
        PlainState::default()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, _: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let [gate, up, down] = [self.gate_dh, self.up_dh, self.down_ho].map(|weight| &arena[weight.range()]);
        plain::swiglu(sample.x, gate, up, down, self.gate_dh.shape[1], self.down_ho.shape[1])
    }
}

struct SwigluEngine {
    weights: [Weight; 3],
    panels: [Panels; 3],
    transposed: Option<[Panels; 3]>,
}

impl SwigluEngine {
    fn hidden(&self) -> usize {
        self.weights[0].shape[1]
    }

    fn compute(&self, x_nd: &[f32], gate_nh: &mut [f32], up_nh: &mut [f32], z_nh: &mut [f32], y_no: &mut [f32]) {
        let [gate, up, down] = &self.panels;
        linear::linear(x_nd, gate, None, gate_nh);
        linear::linear(x_nd, up, None, up_nh);
        activation::swiglu(gate_nh, up_nh, z_nh);
        linear::linear(z_nh, down, None, y_no);
    }
}

struct Kept {
    gate_nh: Vec<f32>,
    up_nh: Vec<f32>,
}

impl Engine for SwigluEngine {
    fn widths(&self) -> (usize, usize) {
        (self.weights[0].shape[0], self.weights[2].shape[1])
    }

    fn state(&self, _: usize) -> State {
        State::default()
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        Need::floats(3 * rows * self.hidden())
    }

    fn run(&self, rows: Rows<'_>, _: &mut State, y_nd: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let len = rows.count() * self.hidden();
        self.compute(rows.x_nd, scratch.floats(len), scratch.floats(len), scratch.floats(len), y_nd);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, _: &mut State, y_nd: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let len = rows.count() * self.hidden();
        let mut kept = Kept { gate_nh: vec![0.0; len], up_nh: vec![0.0; len] };
        self.compute(rows.x_nd, &mut kept.gate_nh, &mut kept.up_nh, &mut vec![0.0; len], y_nd);
        Ok(Box::new(kept))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let [gate_t, up_t, down_t] = self.transposed.as_ref().expect("prepared for training");
        let [gate, up, down] = &self.weights;
        let ([inputs, hidden], outputs) = (gate.shape, down.shape[1]);
        let len = kept.gate_nh.len();
        let (mut z_nh, mut dz_nh) = (vec![0.0; len], vec![0.0; len]);
        let (mut dgate_nh, mut dup_nh) = (vec![0.0; len], vec![0.0; len]);
        activation::swiglu(&kept.gate_nh, &kept.up_nh, &mut z_nh);
        linear::linear(dy_no, down_t, None, &mut dz_nh);
        linear::weight_gradient(&z_nh, dy_no, hidden, outputs, down.of_mut(gradient));
        activation::swiglu_backward(&kept.gate_nh, &kept.up_nh, &dz_nh, &mut dgate_nh, &mut dup_nh);
        linear::weight_gradient(rows.x_nd, &dgate_nh, inputs, hidden, gate.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, &dup_nh, inputs, hidden, up.of_mut(gradient));
        linear::linear(&dgate_nh, gate_t, None, dx_nd);
        linear::linear_add(&dup_nh, up_t, dx_nd);
    }
}
