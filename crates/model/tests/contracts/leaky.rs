//! A layer that a stranger added: this file and one line in `case.rs`. The suite does the rest.
//!
//! ```text
//! h_t = λ·h_{t−1} + x_t,   λ = σ(decay)        y_t = h_t·out
//! ```
//! It says nothing of gaps, so a mixture with the clock `elapsed` refuses it.

use foretoken_kernels::linear::{Panels, linear, weight_gradient};
use foretoken_model::{
    ModelError, Registry,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, fan_in},
};

pub const KIND: Kind = Kind { name: "leaky", build, examples: &["", "start = 0.2"] };

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
struct LeakyConfig {
    start: f32,
}

impl Default for LeakyConfig {
    fn default() -> Self {
        Self { start: 1.0 }
    }
}

#[derive(Debug)]
struct Leaky {
    decay_d: Weight,
    out_do: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: LeakyConfig = config.read()?;
    Ok(Box::new(Leaky {
        decay_d: layout.free("decay", [1, input], Init::Constant(options.start)),
        out_do: layout.matrix("out", [input, output], fan_in(input)),
    }))
}

impl Layer for Leaky {
    fn prepare(&self, arena: &[f32], _: bool) -> Box<dyn Engine> {
        let [inputs, outputs] = self.out_do.shape;
        let out = self.out_do.of(arena);
        Box::new(LeakyEngine {
            spans: [self.decay_d, self.out_do],
            lambda_d: self.decay_d.of(arena).iter().map(|&decay| plain::sigmoid(decay)).collect(),
            out: Panels::pack(out, inputs, outputs),
            out_t: Panels::pack_transposed(out, inputs, outputs),
        })
    }

    fn active_parameters(&self) -> usize {
        self.decay_d.range().len() + self.out_do.range().len()
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: vec![0.0; self.decay_d.shape[1]], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        for ((h, x), decay) in state.floats.iter_mut().zip(sample.x).zip(&arena[self.decay_d.range()]) {
            *h = plain::sigmoid(*decay) * *h + x;
        }
        plain::multiply(&state.floats, &arena[self.out_do.range()], self.out_do.shape[1])
    }
}

struct LeakyEngine {
    spans: [Weight; 2],
    lambda_d: Vec<f32>,
    out: Panels,
    out_t: Panels,
}

impl LeakyEngine {
    fn scan(&self, x_nd: &[f32], offsets: &[usize], state: &mut State, h_nd: &mut [f32]) {
        let d = self.lambda_d.len();
        for (pair, state) in offsets.windows(2).zip(state.floats.chunks_exact_mut(d)) {
            for row in pair[0]..pair[1] {
                for i in 0..d {
                    state[i] = self.lambda_d[i] * state[i] + x_nd[row * d + i];
                }
                h_nd[row * d..][..d].copy_from_slice(state);
            }
        }
    }
}

impl Engine for LeakyEngine {
    fn widths(&self) -> (usize, usize) {
        (self.out.inputs(), self.out.outputs())
    }

    fn state(&self, streams: usize) -> State {
        State::zeros(streams, self.lambda_d.len())
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        Need::floats(rows * self.lambda_d.len())
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let h_nd = scratch.floats(rows.x_nd.len());
        self.scan(rows.x_nd, rows.offsets, state, h_nd);
        linear(h_nd, &self.out, None, y);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let (mut h_nd, first) = (vec![0.0; rows.x_nd.len()], state.floats.clone());
        self.scan(rows.x_nd, rows.offsets, state, &mut h_nd);
        linear(&h_nd, &self.out, None, y);
        Ok(Box::new((h_nd, first)))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let (h_nd, first) = *saved.downcast::<(Vec<f32>, Vec<f32>)>().expect("saved by this layer");
        let (d, o) = self.widths();
        weight_gradient(&h_nd, dy, d, o, self.spans[1].of_mut(gradient));
        linear(dy, &self.out_t, None, dx_nd);
        let ddecay = self.spans[0].of_mut(gradient);
        for (pair, first) in rows.offsets.windows(2).zip(first.chunks_exact(d)) {
            for row in (pair[0]..pair[1]).rev() {
                for i in 0..d {
                    let lambda = self.lambda_d[i];
                    if row + 1 < pair[1] {
                        dx_nd[row * d + i] += lambda * dx_nd[(row + 1) * d + i];
                    }
                    // h_{t−1} = (h_t − x_t)/λ would cancel; the row before has it.
                    let before = if row > pair[0] { h_nd[(row - 1) * d + i] } else { first[i] };
                    ddecay[i] += dx_nd[row * d + i] * before * lambda * (1.0 - lambda);
                }
            }
        }
    }
}
