//! Mamba (Gu & Dao 2023, arXiv:2312.00752): a state space that chooses, sample by sample, what to remember.
//!
//! ```text
//! [u | z] = x_t·in                 u ← silu(conv(u))                          conv: causal, a few taps a channel
//! [δ | B | C] = u·select           Δ = softplus(δ·step + step_bias)           with `norms`, RMSNorm on δ, B and C (Jamba)
//! h_t = exp(ΔA) ⊙ h_{t−1} + (Δu)·B,   A = −exp(a_log)                         y = C·h_t + skip ⊙ u
//! y_t = (y ⊙ silu(z))·out
//! ```
//! In a gap of g samples h decays by exp(g·ΔA) with the Δ of the last sample; the taps hold. Starts as the paper has it: A = −1 … −s,
//! skip = 1, Δ log-uniform.
//! Shapes: `n` rows, `d` inputs, `e` channels inside, `s` states a channel, `r` rank of Δ, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
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

/// `type = "mamba"`.
pub const KIND: Kind = Kind {
    name: "mamba",
    build,
    examples: &[
        "states = 5",
        "expand = 3\nstates = 9\nconv = 2\nrank = 3\nstep_min = 0.01\nstep_max = 0.5",
        "norms = true\nconv = 1",
    ],
};

/// Options of a Mamba layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MambaConfig {
    /// Channels inside a channel of the input.
    pub expand: usize,
    /// States a channel.
    pub states: usize,
    /// Taps of the convolution.
    pub conv: usize,
    /// Rank of Δ; a sixteenth of the width if absent.
    pub rank: Option<usize>,
    /// Smallest initial step Δ, in samples.
    pub step_min: f32,
    /// Largest initial step Δ, in samples.
    pub step_max: f32,
    /// RMSNorm on what selects, as in Jamba (Lieber et al. 2024, arXiv:2403.19887).
    pub norms: bool,
}

impl Default for MambaConfig {
    fn default() -> Self {
        Self { expand: 2, states: 16, conv: 4, rank: None, step_min: 1e-3, step_max: 1e-1, norms: false }
    }
}

/// Checks initial steps.
pub(crate) fn check_steps(low: f32, high: f32) -> Result<(), ModelError> {
    if low > 0.0 && low <= high && high.is_finite() {
        return Ok(());
    }
    Err(ModelError::config("step_min, step_max", "0 < step_min <= step_max", format!("{low} and {high}")))
}

#[derive(Clone, Copy, Debug)]
struct Mamba {
    channels: usize,
    states: usize,
    rank: usize,
    in_d2e: Weight,
    conv_ke: Weight,
    conv_bias_e: Weight,
    select_eq: Weight,
    gains: Option<[Weight; 3]>,
    step_re: Weight,
    step_bias_e: Weight,
    a_log_es: Weight,
    skip_e: Weight,
    out_eo: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: MambaConfig = config.read()?;
    let channels = positive("expand", options.expand)? * input;
    let (states, taps) = (positive("states", options.states)?, positive("conv", options.conv)?);
    let rank = positive("rank", options.rank.unwrap_or(input.div_ceil(16)))?;
    check_steps(options.step_min, options.step_max)?;
    let in_d2e = layout.matrix("in", [input, 2 * channels], fan_in(input));
    let (conv_ke, conv_bias_e) = conv_weights(layout, taps, channels);
    let select_eq = layout.matrix("select", [channels, rank + 2 * states], fan_in(channels));
    let gains = options.norms.then(|| {
        [("step_gain", rank), ("b_gain", states), ("c_gain", states)]
            .map(|(name, width)| layout.free(name, [1, width], Init::Constant(1.0)))
    });
    Ok(Box::new(Mamba {
        channels,
        states,
        rank,
        in_d2e,
        conv_ke,
        conv_bias_e,
        select_eq,
        gains,
        step_re: layout.matrix("step", [rank, channels], Init::Uniform(1.0 / (rank as f32).sqrt())),
        // The reference floors Δ at 1e-4.
        step_bias_e: layout.free(
            "step_bias",
            [1, channels],
            Init::InverseSoftplus(options.step_min.max(1e-4), options.step_max.max(1e-4)),
        ),
        a_log_es: layout.free("a_log", [channels, states], Init::Row((1..=states).map(|n| (n as f32).ln()).collect())),
        skip_e: layout.free("skip", [1, channels], Init::Constant(1.0)),
        out_eo: layout.matrix("out", [channels, output], fan_in(channels)),
    }))
}

/// A from its logarithm.
pub(crate) fn negative_exp(a_log: &[f32]) -> Vec<f32> {
    a_log.iter().map(|&value| -f64::from(value).exp() as f32).collect()
}

impl Layer for Mamba {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let matrices = [self.in_d2e, self.select_eq, self.step_re, self.out_eo];
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        let a = negative_exp(self.a_log_es.of(arena));
        Box::new(MambaEngine {
            layer: *self,
            panels: matrices.map(pack),
            core: Core {
                taps_kc: self.conv_ke.of(arena).to_vec(),
                bias_c: self.conv_bias_e.of(arena).to_vec(),
                scan: Selective::pack(&a, self.skip_e.of(arena), self.states),
            },
            gains: self.gains.map(|gains| gains.map(|gain| gain.of(arena).to_vec())),
            step_bias_e: self.step_bias_e.of(arena).to_vec(),
            training: train.then(|| Training { transposed: matrices.map(transposed), a_es: a }),
        })
    }

    fn active_parameters(&self) -> usize {
        let own = [self.in_d2e, self.conv_ke, self.conv_bias_e, self.select_eq, self.step_re, self.step_bias_e, self.a_log_es];
        let gains = self.gains.iter().flatten();
        own.iter().chain([&self.skip_e, &self.out_eo]).chain(gains).map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn plain_state(&self) -> PlainState {
        let held = self.conv_ke.range().len() - self.channels;
        PlainState { floats: vec![0.0; held + self.channels * (self.states + 1)], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let Self { channels, states, rank, .. } = *self;
        let held = self.conv_ke.range().len() - channels;
        let (held, rest) = state.floats.split_at_mut(held);
        let (h, last) = rest.split_at_mut(channels * states);
        let x = plain::multiply(sample.x, &arena[self.in_d2e.range()], 2 * channels);
        let u = plain_conv(arena, self.conv_ke, self.conv_bias_e, &x[..channels], held);
        let u: Vec<f64> = u.into_iter().map(plain::silu).collect();
        let select = plain::multiply(&u, &arena[self.select_eq.range()], rank + 2 * states);
        let parts = [&select[..rank], &select[rank..rank + states], &select[rank + states..]];
        let [step, b, c] = std::array::from_fn(|i| match self.gains {
            Some(gains) => plain::rms_norm(parts[i], &arena[gains[i].range()]),
            None => parts[i].to_vec(),
        });
        let step = plain::affine(&step, arena, self.step_re, self.step_bias_e);
        let mut y = Vec::with_capacity(channels);
        for e in 0..channels {
            let step = plain::softplus(step[e]);
            let mut total = arena[self.skip_e.range()][e] * u[e];
            for n in 0..states {
                let a = -arena[self.a_log_es.range()][e * states + n].exp();
                let h = &mut h[e * states + n];
                *h = (step * a).exp() * (sample.gap as f64 * last[e] * a).exp() * *h + step * u[e] * b[n];
                total += c[n] * *h;
            }
            last[e] = step;
            y.push(total * plain::silu(x[channels + e]));
        }
        plain::multiply(&y, &arena[self.out_eo.range()], self.out_eo.shape[1])
    }
}

struct MambaEngine {
    layer: Mamba,
    panels: [Panels; 4],
    core: Core,
    gains: Option<[Vec<f32>; 3]>,
    step_bias_e: Vec<f32>,
    training: Option<Training>,
}

struct Training {
    transposed: [Panels; 4],
    a_es: Vec<f32>,
}

struct Kept {
    /// What [`MambaEngine::compute`] wrote.
    buffers: Buffer,
    saved: Buffer,
    first: Vec<f32>,
}

/// Copies columns `from..` of rows of one width to columns `to..` of rows of another.
fn copy_columns(source: &[f32], width: usize, from: usize, target: &mut [f32], other: usize, to: usize, count: usize) {
    for (source, target) in source.chunks_exact(width).zip(target.chunks_exact_mut(other)) {
        target[to..to + count].copy_from_slice(&source[from..from + count]);
    }
}

impl MambaEngine {
    /// u and z, convolved u, u, what selects, its part for Δ, Δ before softplus, Δ, the scan's rows, its outputs, and those gated.
    fn lens(&self, rows: usize) -> [usize; 10] {
        let (e, s, r) = (self.layer.channels, self.layer.states, self.layer.rank);
        [2 * e, e, e, r + 2 * s, r, e, e, e + 2 * s, e, e].map(|width| width * rows)
    }

    fn compute(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], buffers: &mut [f32], saved: &mut [f32]) {
        let Mamba { channels: e, states: s, rank: r, .. } = self.layer;
        let [uz, conv, u, select, step_r, before, step, x, y, gated] = carve_mut(buffers, self.lens(rows.count()));
        let [into, select_panels, step_panels, out] = &self.panels;
        linear::linear(rows.x_nd, into, None, uz);
        self.core.convolve(rows, uz, Columns { stride: 2 * e, start: 0 }, &mut state.floats, conv);
        activation::silu(conv, u);
        linear::linear(u, select_panels, None, select);
        let (q, w) = (r + 2 * s, e + 2 * s);
        copy_columns(u, e, 0, x, w, 0, e);
        match &self.gains {
            None => {
                copy_columns(select, q, 0, step_r, r, 0, r);
                copy_columns(select, q, r, x, w, e, 2 * s);
            }
            Some([step_gain, b_gain, c_gain]) => {
                let targets = step_r.chunks_exact_mut(r).zip(x.chunks_exact_mut(w));
                for (select, (step_r, x)) in select.chunks_exact(q).zip(targets) {
                    norm::rms_norm(&select[..r], step_gain, step_r);
                    norm::rms_norm(&select[r..r + s], b_gain, &mut x[e..e + s]);
                    norm::rms_norm(&select[r + s..], c_gain, &mut x[e + s..]);
                }
            }
        }
        linear::linear(step_r, step_panels, Some(&self.step_bias_e), before);
        activation::softplus(before, step);
        self.core.scan(rows, x, step, &mut state.floats, y, saved);
        for ((uz, y), gated) in uz.chunks_exact(2 * e).zip(y.chunks_exact(e)).zip(gated.chunks_exact_mut(e)) {
            activation::swiglu(&uz[e..], y, gated);
        }
        linear::linear(gated, out, None, y_no);
    }
}

impl Engine for MambaEngine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[0].inputs(), self.panels[3].outputs())
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
        let Training { transposed: [into_t, select_t, step_t, out_t], a_es } =
            self.training.as_ref().expect("prepared for training");
        let Mamba { channels: e, states: s, rank: r, .. } = self.layer;
        let (layer, (inputs, outputs)) = (&self.layer, self.widths());
        let lens = self.lens(rows.count());
        let [uz, conv, u, select, step_r, before, step, x, y, gated] = carve(&kept.buffers, lens);
        let mut gradients = buffers::junk(kept.buffers.len());
        let [duz, dconv, du, dselect, dstep_r, dbefore, dstep, dx, dy, dgated] = carve_mut(&mut gradients, lens);
        // What is added to.
        dstep.fill(0.0);
        dselect.fill(0.0);
        linear::weight_gradient(gated, dy_no, e, outputs, layer.out_eo.of_mut(gradient));
        linear::linear(dy_no, out_t, None, dgated);
        let rows_of = |values: &mut [f32]| values.len() / e;
        for row in 0..rows_of(dgated) {
            let (own, both) = (row * e..(row + 1) * e, row * 2 * e + e..(row + 1) * 2 * e);
            activation::swiglu_backward(&uz[both.clone()], &y[own.clone()], &dgated[own.clone()], &mut duz[both], &mut dy[own]);
        }
        let (mut da, mut dskip) = (vec![0.0; a_es.len()], vec![0.0; e]);
        self.core.scan_backward(rows, (x, step), &kept.saved, dy, (dx, dstep), (&mut da, &mut dskip));
        // A = −exp(a_log), so its slope is A itself.
        let da_log = layer.a_log_es.of_mut(gradient).iter_mut().zip(&da).zip(a_es);
        da_log.for_each(|((total, da), a)| *total += da * a);
        streams::add_up(&dskip, layer.skip_e.of_mut(gradient));
        activation::softplus_backward(before, dstep, dbefore);
        linear::bias_gradient(dbefore, layer.step_bias_e.of_mut(gradient));
        linear::weight_gradient(step_r, dbefore, r, e, layer.step_re.of_mut(gradient));
        linear::linear(dbefore, step_t, None, dstep_r);
        let (q, w) = (r + 2 * s, e + 2 * s);
        match (&self.gains, layer.gains) {
            (Some([step_gain, b_gain, c_gain]), Some([step_span, b_span, c_span])) => {
                for row in 0..rows.count() {
                    let (select, dselect) = (&select[row * q..][..q], &mut dselect[row * q..][..q]);
                    let (dstep_r, dx) = (&dstep_r[row * r..][..r], &dx[row * w..][..w]);
                    let mut back = |own: std::ops::Range<usize>, gain: &[f32], dy: &[f32], span: Weight| {
                        norm::rms_norm_backward(&select[own.clone()], gain, dy, &mut dselect[own], span.of_mut(gradient));
                    };
                    back(0..r, step_gain, dstep_r, step_span);
                    back(r..r + s, b_gain, &dx[e..e + s], b_span);
                    back(r + s..q, c_gain, &dx[e + s..], c_span);
                }
            }
            _ => {
                copy_columns(dstep_r, r, 0, dselect, q, 0, r);
                copy_columns(dx, w, e, dselect, q, r, 2 * s);
            }
        }
        linear::weight_gradient(u, dselect, e, q, layer.select_eq.of_mut(gradient));
        copy_columns(dx, w, 0, du, e, 0, e);
        linear::linear_add(dselect, select_t, du);
        activation::silu_backward(conv, du, dconv);
        let (mut dtaps, mut dbias) = (vec![0.0; self.core.taps_kc.len()], vec![0.0; e]);
        let columns = Columns { stride: 2 * e, start: 0 };
        self.core.convolve_backward(rows, uz, columns, &kept.first, dconv, duz, (&mut dtaps, &mut dbias));
        streams::add_up(&dtaps, layer.conv_ke.of_mut(gradient));
        streams::add_up(&dbias, layer.conv_bias_e.of_mut(gradient));
        linear::weight_gradient(rows.x_nd, duz, inputs, 2 * e, layer.in_d2e.of_mut(gradient));
        linear::linear(duz, into_t, None, dx_nd);
    }

    fn is_sound(&self, state: &State) -> bool {
        self.core.is_sound(&state.floats)
    }
}
