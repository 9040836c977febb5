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
    buffers::{self, Buffer},
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

    fn resample(&self, _: &mut [f32], _: f32) -> Result<(), ModelError> {
        Ok(())
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

/// Rows that go through the whole block together: what lies between the products stays in the cache.
const BLOCK: usize = 96;

impl SwigluEngine {
    fn hidden(&self) -> usize {
        self.weights[0].shape[1]
    }

    fn block(&self, x_nd: &[f32], gate_nh: &mut [f32], up_nh: &mut [f32], z_nh: &mut [f32], y_no: &mut [f32]) {
        let [gate, up, down] = &self.panels;
        linear::linear(x_nd, gate, None, gate_nh);
        linear::linear(x_nd, up, None, up_nh);
        activation::swiglu(gate_nh, up_nh, z_nh);
        linear::linear(z_nh, down, None, y_no);
    }

    /// Blocks of rows, over threads if there are many; `scratch` holds three hidden rows a row, of which each thread uses a block's.
    fn blocks(&self, x_nd: &[f32], y_no: &mut [f32], scratch: &mut [f32]) {
        let ((inputs, outputs), hidden) = (self.widths(), self.hidden());
        let rows = x_nd.len() / inputs;
        if let Some(half) = halves(rows) {
            let (x_low, x_high) = x_nd.split_at(half * inputs);
            let (y_low, y_high) = y_no.split_at_mut(half * outputs);
            let (low, high) = scratch.split_at_mut(half * 3 * hidden);
            rayon::join(|| self.blocks(x_low, y_low, low), || self.blocks(x_high, y_high, high));
            return;
        }
        for (x, y) in x_nd.chunks(BLOCK * inputs).zip(y_no.chunks_mut(BLOCK * outputs)) {
            let len = x.len() / inputs * hidden;
            let (gate, rest) = scratch.split_at_mut(len);
            let (up, z) = rest.split_at_mut(len);
            self.block(x, gate, up, &mut z[..len], y);
        }
    }

    /// The same, keeping what is between the products.
    fn blocks_kept(&self, x_nd: &[f32], gate_nh: &mut [f32], up_nh: &mut [f32], y_no: &mut [f32]) {
        let ((inputs, outputs), hidden) = (self.widths(), self.hidden());
        if let Some(half) = halves(x_nd.len() / inputs) {
            let (x_low, x_high) = x_nd.split_at(half * inputs);
            let (y_low, y_high) = y_no.split_at_mut(half * outputs);
            let (gate_low, gate_high) = gate_nh.split_at_mut(half * hidden);
            let (up_low, up_high) = up_nh.split_at_mut(half * hidden);
            rayon::join(
                || self.blocks_kept(x_low, gate_low, up_low, y_low),
                || self.blocks_kept(x_high, gate_high, up_high, y_high),
            );
            return;
        }
        let mut z = buffers::junk(BLOCK.min(x_nd.len() / inputs) * hidden);
        let kept = gate_nh.chunks_mut(BLOCK * hidden).zip(up_nh.chunks_mut(BLOCK * hidden));
        for ((x, y), (gate, up)) in x_nd.chunks(BLOCK * inputs).zip(y_no.chunks_mut(BLOCK * outputs)).zip(kept) {
            let len = gate.len();
            self.block(x, gate, up, &mut z[..len], y);
        }
    }

    /// Blocks of rows, backwards: overwrites what is between the products by its gradients, `z_nh` and `dx_nd`.
    fn blocks_backward(&self, gate_nh: &mut [f32], up_nh: &mut [f32], z_nh: &mut [f32], dy_no: &[f32], dx_nd: &mut [f32]) {
        let ((inputs, outputs), hidden) = (self.widths(), self.hidden());
        if let Some(half) = halves(dx_nd.len() / inputs) {
            let (dx_low, dx_high) = dx_nd.split_at_mut(half * inputs);
            let (dy_low, dy_high) = dy_no.split_at(half * outputs);
            let (gate_low, gate_high) = gate_nh.split_at_mut(half * hidden);
            let (up_low, up_high) = up_nh.split_at_mut(half * hidden);
            let (z_low, z_high) = z_nh.split_at_mut(half * hidden);
            rayon::join(
                || self.blocks_backward(gate_low, up_low, z_low, dy_low, dx_low),
                || self.blocks_backward(gate_high, up_high, z_high, dy_high, dx_high),
            );
            return;
        }
        let [gate_t, up_t, down_t] = self.transposed.as_ref().expect("prepared for training");
        let size = BLOCK.min(dx_nd.len() / inputs) * hidden;
        let [mut dz, mut dgate, mut dup] = [(); 3].map(|()| buffers::junk(size));
        let kept = gate_nh.chunks_mut(BLOCK * hidden).zip(up_nh.chunks_mut(BLOCK * hidden)).zip(z_nh.chunks_mut(BLOCK * hidden));
        for ((dx, dy), ((gate, up), z)) in dx_nd.chunks_mut(BLOCK * inputs).zip(dy_no.chunks(BLOCK * outputs)).zip(kept) {
            let len = gate.len();
            activation::swiglu(gate, up, z);
            linear::linear(dy, down_t, None, &mut dz[..len]);
            activation::swiglu_backward(gate, up, &dz[..len], &mut dgate[..len], &mut dup[..len]);
            gate.copy_from_slice(&dgate[..len]);
            up.copy_from_slice(&dup[..len]);
            linear::linear(gate, gate_t, None, dx);
            linear::linear_add(up, up_t, dx);
        }
    }
}

/// Where to cut so many rows for two threads, a whole number of the tiles of a product; none if they are few.
fn halves(rows: usize) -> Option<usize> {
    (rows >= 2 * BLOCK && rayon::current_num_threads() > 1).then(|| (rows / 2).next_multiple_of(12))
}

struct Kept {
    gate_nh: Buffer,
    up_nh: Buffer,
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
        self.blocks(rows.x_nd, y_nd, scratch.floats(3 * rows.count() * self.hidden()));
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, _: &mut State, y_nd: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let len = rows.count() * self.hidden();
        let mut kept = Kept { gate_nh: buffers::junk(len), up_nh: buffers::junk(len) };
        self.blocks_kept(rows.x_nd, &mut kept.gate_nh, &mut kept.up_nh, y_nd);
        Ok(Box::new(kept))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let mut kept = saved.downcast::<Kept>().expect("saved by this layer");
        let [gate, up, down] = &self.weights;
        let ([inputs, hidden], outputs) = (gate.shape, down.shape[1]);
        let mut z_nh = buffers::junk(kept.gate_nh.len());
        self.blocks_backward(&mut kept.gate_nh, &mut kept.up_nh, &mut z_nh, dy_no, dx_nd);
        linear::weight_gradient(&z_nh, dy_no, hidden, outputs, down.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, &kept.gate_nh, inputs, hidden, gate.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, &kept.up_nh, inputs, hidden, up.of_mut(gradient));
    }
}
