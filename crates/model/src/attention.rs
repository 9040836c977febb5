//! Causal attention over a sliding window (Beltagy et al. 2020, arXiv:2004.05150), with rotary positions (Su et al. 2021,
//! arXiv:2104.09864) and grouped queries (Ainslie et al. 2023, arXiv:2305.13245).
//!
//! ```text
//! q_t = rotate(x_t·query, pos_t)   k_t = rotate(x_t·key, pos_t)   v_t = x_t·value
//! p_ts = softmax_s(q_t·k_s/√size)      over s with pos_t − window < pos_s ≤ pos_t
//! y_t = (Σ_s p_ts·v_s)·out             heads side by side
//! ```
//! The state is a ring of the window's keys and values. A gap of g samples makes positions go on by g, and what has left the window by
//! then is not seen. Positions are `u64`, angles reduced in `f64`: a stream may run for years.
//! Shapes: `n` rows, `d` inputs, `w` = heads × size, `k` = key and value heads × size, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Layout, Weight, fan_in, positive},
};
use foretoken_kernels::{
    attention::Window,
    buffers::{self, Buffer},
    linear::{self, Panels},
    streams::{carve, carve_mut},
};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// `type = "attention"`.
pub const KIND: Kind = Kind {
    name: "attention",
    build,
    examples: &[
        "window = 11",
        "heads = 4\nkv_heads = 2\nhead_size = 4\nwindow = 20\nrope_base = 100.0",
        "heads = 3\nhead_size = 2\nwindow = 1",
    ],
};

/// Options of an attention layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttentionConfig {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads, a divisor of `heads`; as many if absent.
    pub kv_heads: Option<usize>,
    /// Values of a head, even; such that the heads are about as wide as the input if absent.
    pub head_size: Option<usize>,
    /// Samples that a query sees, its own among them.
    pub window: usize,
    /// Base of the rotary frequencies base^(−2i/size).
    pub rope_base: f64,
}

impl Default for AttentionConfig {
    fn default() -> Self {
        Self { heads: 4, kv_heads: None, head_size: None, window: 128, rope_base: 1e4 }
    }
}

#[derive(Clone, Debug)]
struct Attention {
    shape: Window,
    frequencies: Vec<f64>,
    query_dw: Weight,
    key_dk: Weight,
    value_dk: Weight,
    out_wo: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: AttentionConfig = config.read()?;
    let heads = positive("heads", options.heads)?;
    let kv_heads = positive("kv_heads", options.kv_heads.unwrap_or(heads))?;
    let size = positive("head_size", options.head_size.unwrap_or(input.div_ceil(heads).next_multiple_of(2)))?;
    let window = positive("window", options.window)?;
    if !heads.is_multiple_of(kv_heads) {
        return Err(ModelError::config("kv_heads", format!("a divisor of heads ({heads})"), kv_heads));
    }
    if !size.is_multiple_of(2) {
        return Err(ModelError::config("head_size", "an even number, as values are turned in pairs", size));
    }
    if !(options.rope_base.is_finite() && options.rope_base >= 1.0) {
        return Err(ModelError::config("rope_base", "a finite number >= 1", options.rope_base));
    }
    let shape = Window { heads, kv_heads, size, window };
    Ok(Box::new(Attention {
        shape,
        frequencies: (0..size / 2).map(|i| options.rope_base.powf(-2.0 * i as f64 / size as f64)).collect(),
        query_dw: layout.matrix("query", [input, shape.width()], fan_in(input)),
        key_dk: layout.matrix("key", [input, shape.kv_width()], fan_in(input)),
        value_dk: layout.matrix("value", [input, shape.kv_width()], fan_in(input)),
        out_wo: layout.matrix("out", [shape.width(), output], fan_in(shape.width())),
    }))
}

impl Attention {
    fn weights(&self) -> [Weight; 4] {
        [self.query_dw, self.key_dk, self.value_dk, self.out_wo]
    }
}

impl Layer for Attention {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        Box::new(AttentionEngine {
            layer: self.clone(),
            panels: self.weights().map(pack),
            transposed: train.then(|| self.weights().map(transposed)),
        })
    }

    fn active_parameters(&self) -> usize {
        self.weights().iter().map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn plain_state(&self) -> PlainState {
        PlainState { counters: vec![0], ..PlainState::default() }
    }

    /// The state of the definition is everything seen, `[position, turned keys, values]` each sample, as long as it is in the window.
    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let Window { heads, kv_heads, size, window } = self.shape;
        let position = state.counters[0] + sample.gap;
        state.counters[0] = position + 1;
        let product = |weight: Weight| plain::multiply(sample.x, &arena[weight.range()], weight.shape[1]);
        let turned = |mut row: Vec<f64>| {
            for head in row.chunks_exact_mut(size) {
                for (i, frequency) in self.frequencies.iter().enumerate() {
                    let (sin, cos) = (position as f64 * frequency).sin_cos();
                    let (a, b) = (head[i], head[size / 2 + i]);
                    (head[i], head[size / 2 + i]) = (a * cos - b * sin, a * sin + b * cos);
                }
            }
            row
        };
        let (q, k, v) = (turned(product(self.query_dw)), turned(product(self.key_dk)), product(self.value_dk));
        state.floats.extend([position as f64].iter().chain(&k).chain(&v));
        let width = 1 + 2 * kv_heads * size;
        let gone = state.floats.chunks(width).take_while(|seen| seen[0] + window as f64 <= position as f64).count();
        state.floats.drain(..gone * width);
        let mut y = Vec::with_capacity(heads * size);
        for (head, q) in q.chunks_exact(size).enumerate() {
            let own = 1 + head / (heads / kv_heads) * size;
            let key = |seen: &[f64]| q.iter().zip(&seen[own..]).map(|(q, k)| q * k).sum::<f64>() / (size as f64).sqrt();
            let p = plain::softmax(&state.floats.chunks(width).map(key).collect::<Vec<_>>());
            let value =
                |i: usize| state.floats.chunks(width).zip(&p).map(|(seen, p)| p * seen[own + kv_heads * size + i]).sum::<f64>();
            y.extend((0..size).map(value));
        }
        plain::multiply(&y, &arena[self.out_wo.range()], self.out_wo.shape[1])
    }
}

struct AttentionEngine {
    layer: Attention,
    panels: [Panels; 4],
    transposed: Option<[Panels; 4]>,
}

struct Kept {
    /// What [`AttentionEngine::compute`] wrote.
    buffers: Buffer,
    log_sum: Buffer,
    first: State,
}

/// One stream's part of a call.
struct Stream<'a> {
    rows: std::ops::Range<usize>,
    q: &'a mut [f32],
    k: &'a mut [f32],
    v: &'a mut [f32],
    y: &'a mut [f32],
    angles: &'a mut [f32],
    scratch: &'a mut [f32],
    log_sum: Option<&'a mut [f32]>,
    ring: &'a mut [f32],
    counters: &'a mut [u64],
}

/// Multiply-adds from which on streams run beside each other.
const SPLIT: usize = 1 << 19;

impl AttentionEngine {
    /// Queries, keys, values, what attention gives, and the rows' angles.
    fn lens(&self, rows: usize) -> [usize; 5] {
        let (width, kv_width) = (self.layer.shape.width(), self.layer.shape.kv_width());
        [width, kv_width, kv_width, width, self.layer.shape.size].map(|width| width * rows)
    }

    fn compute(
        &self,
        rows: Rows<'_>,
        state: &mut State,
        y_no: &mut [f32],
        buffers: &mut [f32],
        mut scratch: &mut [f32],
        mut log_sum: Option<&mut [f32]>,
    ) {
        let shape = self.layer.shape;
        let [mut q, mut k, mut v, y, mut angles] = carve_mut(buffers, self.lens(rows.count()));
        linear::linear(rows.x_nd, &self.panels[0], None, q);
        linear::linear(rows.x_nd, &self.panels[1], None, k);
        linear::linear(rows.x_nd, &self.panels[2], None, v);
        let mut attended = &mut *y;
        let rings = state.floats.chunks_exact_mut(shape.ring_len());
        let clocks = state.counters.chunks_exact_mut(shape.counters_len());
        let streams = rows.offsets.windows(2).zip(rings.zip(clocks)).map(|(pair, (ring, counters))| {
            let count = pair[1] - pair[0];
            let log_sum = log_sum.as_mut().map(|log_sum| cut(log_sum, count * shape.heads));
            Stream {
                rows: pair[0]..pair[1],
                q: cut(&mut q, count * shape.width()),
                k: cut(&mut k, count * shape.kv_width()),
                v: cut(&mut v, count * shape.kv_width()),
                y: cut(&mut attended, count * shape.width()),
                angles: cut(&mut angles, count * shape.size),
                scratch: cut(&mut scratch, shape.scratch_len()),
                log_sum,
                ring,
                counters,
            }
        });
        let run = |stream: Stream<'_>| {
            let Stream { rows: range, q, k, v, y, angles, scratch, log_sum, ring, counters } = stream;
            let gaps = rows.gaps_of(range.clone());
            for (angles, position) in angles.chunks_exact_mut(shape.size).zip(Window::positions(counters[0], gaps, range.len())) {
                Window::angles(&self.layer.frequencies, position, angles);
            }
            shape.rotate(angles, false, q);
            shape.rotate(angles, false, k);
            shape.run((q, k, v), gaps, ring, counters, y, log_sum, scratch);
        };
        if rows.streams() > 1 && rows.count() * shape.work() >= SPLIT && rayon::current_num_threads() > 1 {
            streams.collect::<Vec<_>>().into_par_iter().for_each(run);
        } else {
            streams.for_each(run);
        }
        linear::linear(y, &self.panels[3], None, y_no);
    }
}

/// Cuts off the first `len` values.
fn cut<'a>(values: &mut &'a mut [f32], len: usize) -> &'a mut [f32] {
    let (part, rest) = std::mem::take(values).split_at_mut(len);
    *values = rest;
    part
}

impl Engine for AttentionEngine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[0].inputs(), self.panels[3].outputs())
    }

    fn state(&self, streams: usize) -> State {
        let shape = self.layer.shape;
        State { counters: vec![0; streams * shape.counters_len()], ..State::zeros(streams, shape.ring_len()) }
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        Need::floats(self.lens(rows).iter().sum::<usize>() + streams * self.layer.shape.scratch_len())
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let buffers = scratch.floats(self.lens(rows.count()).iter().sum());
        self.compute(rows, state, y_no, buffers, scratch.floats(rows.streams() * self.layer.shape.scratch_len()), None);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let shape = self.layer.shape;
        let mut kept = Kept {
            buffers: buffers::junk(self.lens(rows.count()).iter().sum()),
            log_sum: buffers::junk(rows.count() * shape.heads),
            first: state.clone(),
        };
        let mut scratch = buffers::junk(rows.streams() * shape.scratch_len());
        self.compute(rows, state, y_no, &mut kept.buffers, &mut scratch, Some(&mut kept.log_sum));
        Ok(Box::new(kept))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let [query_t, key_t, value_t, out_t] = self.transposed.as_ref().expect("prepared for training");
        let (layer, shape, (inputs, outputs)) = (&self.layer, self.layer.shape, self.widths());
        let (width, kv_width) = (shape.width(), shape.kv_width());
        let lens = self.lens(rows.count());
        let [q, k, v, y, angles] = carve(&kept.buffers, lens);
        let mut gradients = buffers::junk(lens[..4].iter().sum());
        let [dq, dk, dv, dy] = carve_mut(&mut gradients, [lens[0], lens[1], lens[2], lens[3]]);
        linear::weight_gradient(y, dy_no, width, outputs, layer.out_wo.of_mut(gradient));
        linear::linear(dy_no, out_t, None, dy);
        let (mut dq_left, mut dk_left, mut dv_left) = (&mut *dq, &mut *dk, &mut *dv);
        let streams: Vec<_> = (rows.offsets.windows(2).enumerate())
            .map(|(stream, pair)| {
                let count = pair[1] - pair[0];
                let (dk, dv) = (cut(&mut dk_left, count * kv_width), cut(&mut dv_left, count * kv_width));
                (stream, pair[0]..pair[1], cut(&mut dq_left, count * width), dk, dv)
            })
            .collect();
        streams.into_par_iter().for_each(|(stream, range, dq, dk, dv)| {
            let own = |width: usize| range.start * width..range.end * width;
            let (wide, narrow) = (own(width), own(kv_width));
            let first = (
                &kept.first.floats[stream * shape.ring_len()..][..shape.ring_len()],
                &kept.first.counters[stream * shape.counters_len()..][..shape.counters_len()],
            );
            let gaps = rows.gaps_of(range.clone());
            let log_sum = &kept.log_sum[range.start * shape.heads..range.end * shape.heads];
            let turned = (&q[wide.clone()], &k[narrow.clone()], &v[narrow]);
            let mut scratch = buffers::junk(shape.backward_len(range.len()));
            let into = (&mut *dq, &mut *dk, dv);
            shape.backward(turned, gaps, first, log_sum, (&y[wide.clone()], &dy[wide]), into, &mut scratch);
            let angles = &angles[range.start * shape.size..range.end * shape.size];
            shape.rotate(angles, true, dq);
            shape.rotate(angles, true, dk);
        });
        linear::weight_gradient(rows.x_nd, dq, inputs, width, layer.query_dw.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, dk, inputs, kv_width, layer.key_dk.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, dv, inputs, kv_width, layer.value_dk.of_mut(gradient));
        linear::linear(dq, query_t, None, dx_nd);
        linear::linear_add(dk, key_t, dx_nd);
        linear::linear_add(dv, value_t, dx_nd);
    }

    fn is_sound(&self, state: &State) -> bool {
        // Positions in the ring are behind the clock, which has room to go on.
        state.counters.chunks_exact(self.layer.shape.counters_len()).all(|counters| {
            let (clock, places) = counters.split_at(2);
            let held = places.len().min(usize::try_from(clock[1]).unwrap_or(usize::MAX));
            clock[0] < 1 << 62 && clock[1] <= clock[0] && places[..held].iter().all(|&place| place < clock[0])
        })
    }
}
