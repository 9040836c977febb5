//! Mamba-2 (Dao & Gu 2024, arXiv:2405.21060), the recurrence of its state space duality: one decay a head, norm behind the gate.
//!
//! ```text
//! [z | x | B | C | δ] = x_t·in     [u | B | C] = silu(conv([x | B | C]))     Δ = softplus(δ + step_bias), one a head
//! h_t = exp(ΔA) ⊙ h_{t−1} + (Δu)·B,   A = −exp(a_log), one a head            y = C·h_t + skip·u
//! y_t = (RMSNorm(y ⊙ silu(z)) ⊙ gain)·out
//! ```
//! In a gap of g samples h decays by exp(g·ΔA) with the Δ of the last sample; the taps hold. Starts as the paper has it: −A uniform on
//! [1, 16], skip = 1, Δ log-uniform. Training runs the recurrence too, not the paper's chunked products: its step is cheap here.
//! Shapes: `n` rows, `d` inputs, `e` channels = `h` heads × size, `s` states a channel, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    mamba::{check_steps, negative_exp},
    plain::{self, PlainPass, PlainState, Sample},
    selective::{Columns, Core, conv_weights, plain_conv},
    weights::{Init, Layout, Weight, fan_in, positive},
};
use foretoken_kernels::{
    activation,
    buffers::{self, Buffer},
    linear::{self, Panels},
    norm,
    selective::Selective,
    streams::{self, carve, carve_mut},
};
use serde::{Deserialize, Serialize};

/// `type = "mamba2"`.
pub const KIND: Kind = Kind {
    name: "mamba2",
    build,
    examples: &[
        "states = 5",
        "heads = 3\nhead_size = 4\nstates = 9\nconv = 2\nstep_min = 0.01\nstep_max = 0.5",
        "expand = 1\nconv = 1",
    ],
};

/// Options of a Mamba-2 layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mamba2Config {
    /// Channels inside a channel of the input, 2 if absent; not together with `heads`.
    pub expand: Option<usize>,
    /// Heads; as many as make `expand` times the input width if absent.
    pub heads: Option<usize>,
    /// Channels of a head.
    pub head_size: usize,
    /// States a channel.
    pub states: usize,
    /// Taps of the convolution.
    pub conv: usize,
    /// Smallest initial step Δ, in samples.
    pub step_min: f32,
    /// Largest initial step Δ, in samples.
    pub step_max: f32,
}

impl Default for Mamba2Config {
    fn default() -> Self {
        Self { expand: None, heads: None, head_size: 16, states: 16, conv: 4, step_min: 1e-3, step_max: 1e-1 }
    }
}

#[derive(Clone, Copy, Debug)]
struct Mamba2 {
    heads: usize,
    channels: usize,
    states: usize,
    in_dm: Weight,
    conv_kc: Weight,
    conv_bias_c: Weight,
    step_bias_h: Weight,
    a_log_h: Weight,
    skip_h: Weight,
    gain_e: Weight,
    out_eo: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: Mamba2Config = config.read()?;
    if let (Some(expand), Some(_)) = (options.expand, options.heads) {
        return Err(ModelError::config("expand", "`expand` or `heads`, as either says how wide it is", expand));
    }
    let (size, expand) = (positive("head_size", options.head_size)?, positive("expand", options.expand.unwrap_or(2))?);
    let heads = positive("heads", options.heads.unwrap_or((expand * input).div_ceil(size)))?;
    let (states, taps) = (positive("states", options.states)?, positive("conv", options.conv)?);
    check_steps(options.step_min, options.step_max)?;
    let channels = heads * size;
    let in_dm = layout.matrix("in", [input, 2 * channels + 2 * states + heads], fan_in(input));
    let (conv_kc, conv_bias_c) = conv_weights(layout, taps, channels + 2 * states);
    Ok(Box::new(Mamba2 {
        heads,
        channels,
        states,
        in_dm,
        conv_kc,
        conv_bias_c,
        step_bias_h: layout.free(
            "step_bias",
            [1, heads],
            Init::InverseSoftplus(options.step_min.max(1e-4), options.step_max.max(1e-4)),
        ),
        a_log_h: layout.free("a_log", [1, heads], Init::LogOfUniform(1.0, 16.0)),
        skip_h: layout.free("skip", [1, heads], Init::Constant(1.0)),
        gain_e: layout.free("gain", [1, channels], Init::Constant(1.0)),
        out_eo: layout.matrix("out", [channels, output], fan_in(channels)),
    }))
}

impl Mamba2 {
    fn size(&self) -> usize {
        self.channels / self.heads
    }

    /// One value a channel from one a head.
    fn spread(&self, heads: &[f32], channels: &mut [f32]) {
        channels.chunks_exact_mut(self.size()).zip(heads).for_each(|(channels, &value)| channels.fill(value));
    }

    /// The adjoint of that: adds a head's channels up.
    fn gather(&self, channels: &[f32], heads: &mut [f32]) {
        let sums = channels.chunks_exact(self.size()).map(|channels| channels.iter().sum::<f32>());
        heads.iter_mut().zip(sums).for_each(|(head, sum)| *head += sum);
    }
}

impl Layer for Mamba2 {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let matrices = [self.in_dm, self.out_eo];
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        let a_h = negative_exp(self.a_log_h.of(arena));
        let (mut a, mut skip) = (vec![0.0; self.channels], vec![0.0; self.channels]);
        self.spread(&a_h, &mut a);
        self.spread(self.skip_h.of(arena), &mut skip);
        Box::new(Mamba2Engine {
            layer: *self,
            panels: matrices.map(pack),
            core: Core {
                taps_kc: self.conv_kc.of(arena).to_vec(),
                bias_c: self.conv_bias_c.of(arena).to_vec(),
                scan: Selective::pack(&a, &skip, self.states),
            },
            step_bias_h: self.step_bias_h.of(arena).to_vec(),
            gain_e: self.gain_e.of(arena).to_vec(),
            training: train.then(|| Training { transposed: matrices.map(transposed), a_h }),
        })
    }

    fn active_parameters(&self) -> usize {
        let own = [self.in_dm, self.conv_kc, self.conv_bias_c, self.step_bias_h, self.a_log_h, self.skip_h, self.gain_e];
        own.iter().chain([&self.out_eo]).map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn plain_state(&self) -> PlainState {
        let held = self.conv_kc.range().len() - self.conv_bias_c.shape[1];
        PlainState { floats: vec![0.0; held + self.channels * self.states + self.heads], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let Self { heads, channels, states, .. } = *self;
        let held = self.conv_kc.range().len() - self.conv_bias_c.shape[1];
        let (held, rest) = state.floats.split_at_mut(held);
        let (h, last) = rest.split_at_mut(channels * states);
        let x = plain::multiply(sample.x, &arena[self.in_dm.range()], self.in_dm.shape[1]);
        let (z, rest) = x.split_at(channels);
        let (xbc, step) = rest.split_at(channels + 2 * states);
        let xbc = plain_conv(arena, self.conv_kc, self.conv_bias_c, xbc, held);
        let xbc: Vec<f64> = xbc.into_iter().map(plain::silu).collect();
        let (u, bc) = xbc.split_at(channels);
        let (b, c) = bc.split_at(states);
        let of = |weight: Weight| &arena[weight.range()];
        let mut y = Vec::with_capacity(channels);
        for head in 0..heads {
            let (a, step) = (-of(self.a_log_h)[head].exp(), plain::softplus(step[head] + of(self.step_bias_h)[head]));
            let decay = (step * a).exp() * (sample.gap as f64 * last[head] * a).exp();
            last[head] = step;
            for e in head * self.size()..(head + 1) * self.size() {
                let mut total = of(self.skip_h)[head] * u[e];
                for n in 0..states {
                    let h = &mut h[e * states + n];
                    *h = decay * *h + step * u[e] * b[n];
                    total += c[n] * *h;
                }
                y.push(total * plain::silu(z[e]));
            }
        }
        plain::multiply(&plain::rms_norm(&y, of(self.gain_e)), of(self.out_eo), self.out_eo.shape[1])
    }
}

struct Mamba2Engine {
    layer: Mamba2,
    panels: [Panels; 2],
    core: Core,
    step_bias_h: Vec<f32>,
    gain_e: Vec<f32>,
    training: Option<Training>,
}

struct Training {
    transposed: [Panels; 2],
    a_h: Vec<f32>,
}

struct Kept {
    /// What [`Mamba2Engine::compute`] wrote.
    buffers: Buffer,
    saved: Buffer,
    first: Vec<f32>,
}

impl Mamba2Engine {
    /// Values of a row behind the first product.
    fn width(&self) -> usize {
        self.panels[0].outputs()
    }

    /// Behind the first product, convolved, the scan's rows, Δ of a head before softplus and after, of a channel, the scan's outputs, those
    /// gated, and normalised.
    fn lens(&self, rows: usize) -> [usize; 9] {
        let (e, s, h) = (self.layer.channels, self.layer.states, self.layer.heads);
        [self.width(), e + 2 * s, e + 2 * s, h, h, e, e, e, e].map(|width| width * rows)
    }

    fn columns(&self) -> Columns {
        Columns { stride: self.width(), start: self.layer.channels }
    }

    fn compute(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], buffers: &mut [f32], saved: &mut [f32]) {
        let Mamba2 { channels: e, heads: h, .. } = self.layer;
        let [zxbcd, conv, x, before, step_h, step, y, gated, normal] = carve_mut(buffers, self.lens(rows.count()));
        let width = self.width();
        linear::linear(rows.x_nd, &self.panels[0], None, zxbcd);
        self.core.convolve(rows, zxbcd, self.columns(), &mut state.floats, conv);
        activation::silu(conv, x);
        for (row, before) in zxbcd.chunks_exact(width).zip(before.chunks_exact_mut(h)) {
            for ((before, value), bias) in before.iter_mut().zip(&row[width - h..]).zip(&self.step_bias_h) {
                *before = value + bias;
            }
        }
        activation::softplus(before, step_h);
        step_h.chunks_exact(h).zip(step.chunks_exact_mut(e)).for_each(|(heads, step)| self.layer.spread(heads, step));
        self.core.scan(rows, x, step, &mut state.floats, y, saved);
        for ((row, y), gated) in zxbcd.chunks_exact(width).zip(y.chunks_exact(e)).zip(gated.chunks_exact_mut(e)) {
            activation::swiglu(&row[..e], y, gated);
        }
        norm::rms_norm(gated, &self.gain_e, normal);
        linear::linear(normal, &self.panels[1], None, y_no);
    }
}

impl Engine for Mamba2Engine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[0].inputs(), self.panels[1].outputs())
    }

    fn state(&self, streams: usize) -> State {
        State::zeros(streams, self.core.state_len())
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        Need::floats(self.lens(rows).iter().sum())
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let buffers = scratch.floats(self.lens(rows.count()).iter().sum());
        self.compute(rows, state, y_no, buffers, &mut []);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let mut kept = Kept {
            buffers: buffers::junk(self.lens(rows.count()).iter().sum()),
            saved: buffers::junk(self.core.saved_len(rows.offsets)),
            first: state.floats.clone(),
        };
        self.compute(rows, state, y_no, &mut kept.buffers, &mut kept.saved);
        Ok(Box::new(kept))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let Training { transposed: [into_t, out_t], a_h } = self.training.as_ref().expect("prepared for training");
        let Mamba2 { channels: e, states: s, heads: h, .. } = self.layer;
        let (layer, (inputs, outputs), width) = (&self.layer, self.widths(), self.width());
        let lens = self.lens(rows.count());
        let [zxbcd, conv, x, before, _, step, y, gated, normal] = carve(&kept.buffers, lens);
        let mut gradients = buffers::junk(kept.buffers.len());
        let [dzxbcd, dconv, dx, dbefore, dstep_h, dstep, dy, dgated, dnormal] = carve_mut(&mut gradients, lens);
        // What is added to.
        [&mut *dstep_h, &mut *dstep, &mut *dgated].into_iter().for_each(|values| values.fill(0.0));
        linear::weight_gradient(normal, dy_no, e, outputs, layer.out_eo.of_mut(gradient));
        linear::linear(dy_no, out_t, None, dnormal);
        norm::rms_norm_backward(gated, &self.gain_e, dnormal, dgated, layer.gain_e.of_mut(gradient));
        for row in 0..rows.count() {
            let (own, z) = (row * e..(row + 1) * e, row * width..row * width + e);
            activation::swiglu_backward(&zxbcd[z.clone()], &y[own.clone()], &dgated[own.clone()], &mut dzxbcd[z], &mut dy[own]);
        }
        let (mut da, mut dskip) = (vec![0.0; e], vec![0.0; e]);
        self.core.scan_backward(rows, (x, step), &kept.saved, dy, (dx, dstep), (&mut da, &mut dskip));
        layer.gather(&dskip, layer.skip_h.of_mut(gradient));
        let mut da_h = vec![0.0; h];
        layer.gather(&da, &mut da_h);
        // A = −exp(a_log), so its slope is A itself.
        let da_log = layer.a_log_h.of_mut(gradient).iter_mut().zip(&da_h).zip(a_h);
        da_log.for_each(|((total, da), a)| *total += da * a);
        dstep.chunks_exact(e).zip(dstep_h.chunks_exact_mut(h)).for_each(|(step, heads)| layer.gather(step, heads));
        activation::softplus_backward(before, dstep_h, dbefore);
        linear::bias_gradient(dbefore, layer.step_bias_h.of_mut(gradient));
        for (row, dbefore) in dzxbcd.chunks_exact_mut(width).zip(dbefore.chunks_exact(h)) {
            row[width - h..].copy_from_slice(dbefore);
        }
        activation::silu_backward(conv, dx, dconv);
        let (mut dtaps, mut dbias) = (vec![0.0; self.core.taps_kc.len()], vec![0.0; e + 2 * s]);
        self.core.convolve_backward(rows, zxbcd, self.columns(), &kept.first, dconv, dzxbcd, (&mut dtaps, &mut dbias));
        streams::add_up(&dtaps, layer.conv_kc.of_mut(gradient));
        streams::add_up(&dbias, layer.conv_bias_c.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, dzxbcd, inputs, width, layer.in_dm.of_mut(gradient));
        linear::linear(dzxbcd, into_t, None, dx_nd);
    }

    fn is_sound(&self, state: &State) -> bool {
        self.core.is_sound(&state.floats)
    }
}
