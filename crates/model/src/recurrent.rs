//! What GRU and LSTM share: gates from the input and from the last hidden row, a cell, and a linear read-out.
//!
//! ```text
//! s_t = cell(x_t·input + input_bias, h_{t−1}·hidden + hidden_bias, s_{t−1})        h_t: the first values of s_t
//! y_t = h_t·out + out_bias
//! ```
//! Streams step together, so that a product serves many of them. Neither knows what to do in a gap: time is not in their equations. Shapes: `n` rows, `d` inputs, `h` hidden, `g` gates, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Layer, LayerConfig, Need, Pass, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, positive},
};
use foretoken_kernels::{
    buffers::{self, Buffer},
    linear::{self, Panels},
    streams::{self, Per, carve, carve_mut},
};
use serde::{Deserialize, Serialize};

/// Options of a GRU or an LSTM.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RecurrentConfig {
    /// Width of the hidden row; the input width if absent.
    pub hidden: Option<usize>,
}

/// `(x_g, h_g, before, after)`.
type Forward = fn(&[f32], &[f32], &[f32], &mut [f32]);
/// `(x_g, h_g, before, dafter, dx_g, dh_g, dbefore)`.
type Backward = fn(&[f32], &[f32], &[f32], &[f32], &mut [f32], &mut [f32], &mut [f32]);

/// A cell for one row. Gates and states lie one after the other, each as wide as the hidden row.
#[derive(Clone, Copy)]
pub(crate) struct Cell {
    /// Gates.
    pub gates: usize,
    /// Rows of state, the hidden one first.
    pub states: usize,
    pub forward: Forward,
    pub backward: Backward,
    /// The definition: `(x_g, h_g, state)`.
    pub plain: fn(&[f64], &[f64], &mut [f64]),
}

impl std::fmt::Debug for Cell {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Cell of {} gates", self.gates)
    }
}

#[derive(Debug)]
struct Recurrent {
    cell: Cell,
    weights: Weights,
}

#[derive(Clone, Copy, Debug)]
struct Weights {
    input_dg: Weight,
    input_bias_g: Weight,
    hidden_hg: Weight,
    hidden_bias_g: Weight,
    out_ho: Weight,
    out_bias_o: Weight,
}

impl Weights {
    fn all(&self) -> [Weight; 6] {
        [self.input_dg, self.input_bias_g, self.hidden_hg, self.hidden_bias_g, self.out_ho, self.out_bias_o]
    }
}

/// Builds a layer around `cell`. Everything starts uniform on ±1/√hidden.
pub(crate) fn build(
    cell: Cell,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: RecurrentConfig = config.read()?;
    let hidden = positive("hidden", options.hidden.unwrap_or(input))?;
    let (gates, init) = (cell.gates * hidden, Init::Uniform(1.0 / (hidden as f32).sqrt()));
    let weights = Weights {
        input_dg: layout.matrix("input", [input, gates], init.clone()),
        input_bias_g: layout.free("input_bias", [1, gates], init.clone()),
        hidden_hg: layout.matrix("hidden", [hidden, gates], init.clone()),
        hidden_bias_g: layout.free("hidden_bias", [1, gates], init.clone()),
        out_ho: layout.matrix("out", [hidden, output], init.clone()),
        out_bias_o: layout.free("out_bias", [1, output], init),
    };
    Ok(Box::new(Recurrent { cell, weights }))
}

impl Layer for Recurrent {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let Weights { input_dg, input_bias_g, hidden_hg, hidden_bias_g, out_ho, out_bias_o } = self.weights;
        let matrices = [input_dg, hidden_hg, out_ho];
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        Box::new(RecurrentEngine {
            cell: self.cell,
            weights: self.weights,
            panels: matrices.map(pack),
            biases: [input_bias_g, hidden_bias_g, out_bias_o].map(|weight| weight.of(arena).to_vec()),
            transposed: train.then(|| matrices.map(transposed)),
        })
    }

    fn active_parameters(&self) -> usize {
        self.weights.all().iter().map(|weight| weight.range().len()).sum()
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: vec![0.0; self.cell.states * self.weights.hidden_hg.shape[0]], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let Weights { input_dg, input_bias_g, hidden_hg, hidden_bias_g, out_ho, out_bias_o } = self.weights;
        let hidden = hidden_hg.shape[0];
        let x_g = plain::affine(sample.x, arena, input_dg, input_bias_g);
        let h_g = plain::affine(&state.floats[..hidden], arena, hidden_hg, hidden_bias_g);
        (self.cell.plain)(&x_g, &h_g, &mut state.floats);
        plain::affine(&state.floats[..hidden], arena, out_ho, out_bias_o)
    }
}

struct RecurrentEngine {
    cell: Cell,
    weights: Weights,
    panels: [Panels; 3],
    biases: [Vec<f32>; 3],
    transposed: Option<[Panels; 3]>,
}

struct Kept {
    /// What [`RecurrentEngine::compute`] wrote.
    buffers: Buffer,
    first: Vec<f32>,
}

impl RecurrentEngine {
    fn hidden(&self) -> usize {
        self.weights.hidden_hg.shape[0]
    }

    fn gates(&self) -> usize {
        self.cell.gates * self.hidden()
    }

    /// Values of a stream's state.
    fn memory(&self) -> usize {
        self.cell.states * self.hidden()
    }

    /// Gates from the input and from the hidden row, states, hidden rows.
    fn lens(&self, rows: usize) -> [usize; 4] {
        [self.gates(), self.gates(), self.memory(), self.hidden()].map(|width| width * rows)
    }

    /// Hidden rows and their gates, for streams that step together.
    fn together_len(&self) -> usize {
        self.hidden() + self.gates()
    }

    fn compute(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], buffers: &mut [f32], together: &mut [f32]) {
        let [x_ng, h_ng, s_nm, hidden_nh] = carve_mut(buffers, self.lens(rows.count()));
        let (hidden, gates, memory) = (self.hidden(), self.gates(), self.memory());
        let [input_bias, hidden_bias, out_bias] = &self.biases;
        linear::linear(rows.x_nd, &self.panels[0], Some(input_bias), x_ng);
        let outputs = [
            (&mut *h_ng, Per::Row(gates)),
            (&mut *s_nm, Per::Row(memory)),
            (&mut *hidden_nh, Per::Row(hidden)),
            (&mut state.floats[..], Per::Stream(memory)),
            (together, Per::Stream(self.together_len())),
        ];
        let inputs = [(&*x_ng, Per::Row(gates))];
        streams::groups(rows.offsets, hidden * gates, inputs, outputs, &|offsets, [x], [h, s, hidden_rows, state, together]| {
            let (before_sh, gates_sg) = together.split_at_mut((offsets.len() - 1) * hidden);
            for t in 0..longest(offsets) {
                for ((_, stream), before) in at(offsets, t).zip(before_sh.chunks_exact_mut(hidden)) {
                    before.copy_from_slice(&state[stream * memory..][..hidden]);
                }
                let active = at(offsets, t).count();
                linear::linear(
                    &before_sh[..active * hidden],
                    &self.panels[1],
                    Some(hidden_bias),
                    &mut gates_sg[..active * gates],
                );
                for ((row, stream), from) in at(offsets, t).zip(gates_sg.chunks_exact(gates)) {
                    let (after, state) = (&mut s[row * memory..][..memory], &mut state[stream * memory..][..memory]);
                    h[row * gates..][..gates].copy_from_slice(from);
                    (self.cell.forward)(&x[row * gates..][..gates], from, state, after);
                    state.copy_from_slice(after);
                    hidden_rows[row * hidden..][..hidden].copy_from_slice(&after[..hidden]);
                }
            }
        });
        linear::linear(hidden_nh, &self.panels[2], Some(out_bias), y_no);
    }
}

/// Rows of the longest stream.
fn longest(offsets: &[usize]) -> usize {
    offsets.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or(0)
}

/// Row `t` of every stream that has so many, counted from the group's first row, and the stream's number.
fn at(offsets: &[usize], t: usize) -> impl Iterator<Item = (usize, usize)> {
    let rows = offsets.windows(2).enumerate().filter(move |(_, pair)| t < pair[1] - pair[0]);
    rows.map(move |(stream, pair)| (pair[0] - offsets[0] + t, stream))
}

impl Engine for RecurrentEngine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[0].inputs(), self.panels[2].outputs())
    }

    fn state(&self, streams: usize) -> State {
        State::zeros(streams, self.memory())
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        Need::floats(self.lens(rows).iter().sum::<usize>() + streams * self.together_len())
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let buffers = scratch.floats(self.lens(rows.count()).iter().sum());
        self.compute(rows, state, y_no, buffers, scratch.floats(rows.streams() * self.together_len()));
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let mut buffers = buffers::junk(self.lens(rows.count()).iter().sum());
        let first = state.floats.clone();
        self.compute(rows, state, y_no, &mut buffers, &mut vec![0.0; rows.streams() * self.together_len()]);
        Ok(Box::new(Kept { buffers, first }))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let [input_t, hidden_t, out_t] = self.transposed.as_ref().expect("prepared for training");
        let (count, (inputs, outputs)) = (rows.count(), self.widths());
        let (hidden, gates, memory) = (self.hidden(), self.gates(), self.memory());
        let [x_ng, h_ng, s_nm, hidden_nh] = carve(&kept.buffers, self.lens(count));
        let weights = &self.weights;
        linear::weight_gradient(hidden_nh, dy_no, hidden, outputs, weights.out_ho.of_mut(gradient));
        linear::bias_gradient(dy_no, weights.out_bias_o.of_mut(gradient));
        let mut dhidden_nh = buffers::junk(hidden_nh.len());
        linear::linear(dy_no, out_t, None, &mut dhidden_nh);
        let mut before_nm = buffers::junk(s_nm.len());
        streams::rows_before(s_nm, memory, rows.offsets, &kept.first, (memory, 0), &mut before_nm);
        let (mut dx_ng, mut dh_ng) = (buffers::junk(x_ng.len()), buffers::junk(h_ng.len()));
        let mut adjoints = vec![0.0; 2 * memory * rows.streams()];
        let mut together = vec![0.0; self.together_len() * rows.streams()];
        let read = [
            (x_ng, Per::Row(gates)),
            (h_ng, Per::Row(gates)),
            (&before_nm[..], Per::Row(memory)),
            (&dhidden_nh[..], Per::Row(hidden)),
        ];
        let written = [
            (&mut dx_ng[..], Per::Row(gates)),
            (&mut dh_ng[..], Per::Row(gates)),
            (&mut adjoints[..], Per::Stream(2 * memory)),
            (&mut together[..], Per::Stream(self.together_len())),
        ];
        streams::groups(rows.offsets, 2 * hidden * gates, read, written, &|offsets, read, [dx, dh, adjoints, together]| {
            let [x, h, before, dhidden] = read;
            let (dbefore_sh, dgates_sg) = together.split_at_mut((offsets.len() - 1) * hidden);
            for t in (0..longest(offsets)).rev() {
                for ((row, stream), dgates) in at(offsets, t).zip(dgates_sg.chunks_exact_mut(gates)) {
                    let (after, earlier) = adjoints[2 * stream * memory..][..2 * memory].split_at_mut(memory);
                    let (gate, own) = (row * gates..(row + 1) * gates, row * memory..(row + 1) * memory);
                    after[..hidden].iter_mut().zip(&dhidden[row * hidden..]).for_each(|(after, dhidden)| *after += dhidden);
                    let dx = &mut dx[gate.clone()];
                    (self.cell.backward)(&x[gate.clone()], &h[gate.clone()], &before[own], after, dx, dgates, earlier);
                    dh[gate].copy_from_slice(dgates);
                    after.copy_from_slice(earlier);
                }
                let active = at(offsets, t).count();
                linear::linear(&dgates_sg[..active * gates], hidden_t, None, &mut dbefore_sh[..active * hidden]);
                for ((_, stream), dbefore) in at(offsets, t).zip(dbefore_sh.chunks_exact(hidden)) {
                    adjoints[2 * stream * memory..].iter_mut().zip(dbefore).for_each(|(total, part)| *total += part);
                }
            }
        });
        let mut hidden_before_nh = buffers::junk(hidden_nh.len());
        let before = before_nm.chunks_exact(memory).zip(hidden_before_nh.chunks_exact_mut(hidden));
        before.for_each(|(row, hidden_before)| hidden_before.copy_from_slice(&row[..hidden]));
        linear::weight_gradient(&hidden_before_nh, &dh_ng, hidden, gates, weights.hidden_hg.of_mut(gradient));
        linear::bias_gradient(&dh_ng, weights.hidden_bias_g.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, &dx_ng, inputs, gates, weights.input_dg.of_mut(gradient));
        linear::bias_gradient(&dx_ng, weights.input_bias_g.of_mut(gradient));
        linear::linear(&dx_ng, input_t, None, dx_nd);
    }
}
