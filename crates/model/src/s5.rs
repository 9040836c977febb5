//! S5 (Smith et al. 2022, arXiv:2208.04933): one diagonal complex state space with many inputs and outputs, then a gated linear unit.
//!
//! ```text
//! x_t = exp(ΛΔ) ⊙ x_{t−1} + (exp(ΛΔ) − 1)/Λ ⊙ B·u_t        Λ = −exp(log_neg_re) + i·im, Δ = exp(log_step), one a state
//! s_t = 2·Re(C·x_t) + skip ⊙ u_t
//! y_t = a ⊙ σ(b),   [a | b] = silu(s_t)·out + bias
//! ```
//! Λ starts as the normal part of HiPPO-LegS, with the frequencies above zero, B and C in its eigenbasis. A gap is samples of zero input, in one exact step.
//! Where we differ: SiLU stands for the paper's GELU. Shapes: `n` rows, `d` channels, `p` states, one of each conjugate pair, `o` outputs;
//! `b` is `[re p; im p][d]`, `c` likewise, with C transposed.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    mamba::check_steps,
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, fan_in, positive},
};
use faer::{
    Mat, Par, Spec, c64,
    diag::Diag,
    dyn_stack::{MemBuffer, MemStack},
    linalg::evd::{ComputeEigenvectors, self_adjoint_evd, self_adjoint_evd_scratch},
};
use foretoken_kernels::{
    activation,
    buffers::{self, Buffer},
    linear::{self, Panels},
    s5::S5System,
    streams::{self, Per, carve, carve_mut},
};
use serde::{Deserialize, Serialize};

/// `type = "s5"`.
pub const KIND: Kind = Kind { name: "s5", build, examples: &["", "states = 5\nstep_min = 0.01\nstep_max = 0.5"] };

/// Options of an S5 layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S5Config {
    /// Complex states, each for a conjugate pair; half the input width if absent.
    pub states: Option<usize>,
    /// Smallest initial step Δ, in samples.
    pub step_min: f32,
    /// Largest initial step Δ, in samples.
    pub step_max: f32,
}

impl Default for S5Config {
    fn default() -> Self {
        Self { states: None, step_min: 1e-3, step_max: 1e-1 }
    }
}

#[derive(Clone, Copy, Debug)]
struct S5 {
    log_step_p: Weight,
    log_neg_re_p: Weight,
    im_p: Weight,
    b_pd: Weight,
    c_pd: Weight,
    skip_d: Weight,
    out_d2o: Weight,
    bias_2o: Weight,
}

/// The half of HiPPO-LegS' normal part with frequencies above zero: Im Λ by ascending frequency (Re Λ is −½), and their eigenvectors as
/// columns, `[2·states][states]`, the first value of each real and above zero.
pub(crate) fn hippo(states: usize) -> (Vec<f64>, Mat<c64>) {
    let size = 2 * states;
    // −½ plus a skew matrix K; −iK is Hermitian, with the eigenvectors of K.
    let entry = |i: usize, j: usize| {
        let size = 0.5 * ((2 * i + 1) as f64 * (2 * j + 1) as f64).sqrt();
        if i == j {
            0.0
        } else if i > j {
            -size
        } else {
            size
        }
    };
    let hermitian = Mat::from_fn(size, size, |i, j| c64::new(0.0, -entry(i, j)));
    let (mut values, mut vectors) = (Diag::zeros(size), Mat::zeros(size, size));
    let scratch = self_adjoint_evd_scratch::<c64>(size, ComputeEigenvectors::Yes, Par::Seq, Spec::default());
    let (mut memory, u) = (MemBuffer::new(scratch), Some(vectors.as_mut()));
    let stack = MemStack::new(&mut memory);
    self_adjoint_evd(hermitian.as_ref(), values.as_mut(), u, Par::Seq, stack, Spec::default())
        .expect("a Hermitian matrix has them");
    // K·v = i·f·v, so (−iK)·v = f·v; ascending, the upper half is above zero.
    let frequencies = (0..states).map(|p| values.column_vector()[states + p].re).collect();
    let phase = |p: usize| vectors[(0, p)].conj() / vectors[(0, p)].norm();
    (frequencies, Mat::from_fn(size, states, |i, p| vectors[(i, states + p)] * phase(states + p)))
}

fn frequencies(states: usize) -> Vec<f32> {
    hippo(states).0.into_iter().map(|frequency| frequency as f32).collect()
}

/// V⁻¹ = Vᴴ as `[re p; im p][2·states]`.
fn inverse(states: usize) -> Vec<f32> {
    let vectors = hippo(states).1;
    let entry = |place: usize| {
        let (p, i) = (place / (2 * states), place % (2 * states));
        let value = vectors[(i, p % states)];
        if p < states { value.re as f32 } else { -value.im as f32 }
    };
    (0..4 * states * states).map(entry).collect()
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: S5Config = config.read()?;
    let states = positive("states", options.states.unwrap_or(input.div_ceil(2)))?;
    check_steps(options.step_min, options.step_max)?;
    // V⁻¹·G of a real G for B. C·V of a complex normal C is a complex normal matrix itself, as V is unitary.
    let deviation = 1.0 / (2.0 * states as f32).sqrt();
    Ok(Box::new(S5 {
        log_step_p: layout.free("log_step", [1, states], Init::LogUniform(options.step_min, options.step_max)),
        log_neg_re_p: layout.free("log_neg_re", [1, states], Init::Constant(0.5f32.ln())),
        im_p: layout.free("im", [1, states], Init::Made(frequencies, states)),
        b_pd: layout.free("b", [2 * states, input], Init::Mixed(inverse, states, deviation)),
        c_pd: layout.free("c", [2 * states, input], Init::Normal(deviation)),
        skip_d: layout.free("skip", [1, input], Init::Normal(1.0)),
        out_d2o: layout.matrix("out", [input, 2 * output], fan_in(input)),
        bias_2o: layout.free("bias", [1, 2 * output], Init::Constant(0.0)),
    }))
}

impl S5 {
    fn weights(&self) -> [Weight; 8] {
        let Self { log_step_p, log_neg_re_p, im_p, b_pd, c_pd, skip_d, out_d2o, bias_2o } = *self;
        [log_step_p, log_neg_re_p, im_p, b_pd, c_pd, skip_d, out_d2o, bias_2o]
    }

    fn states(&self) -> usize {
        self.im_p.shape[1]
    }

    /// The diagonal's parameters in the order of the kernel.
    fn diagonal(&self) -> [Weight; 3] {
        [self.log_step_p, self.log_neg_re_p, self.im_p]
    }
}

/// `q ⊙ B`, transposed to map inputs to states: `[d][re p | im p]`.
fn input_matrix(q: &[f32], b_pd: &[f32], inputs: usize) -> Vec<f32> {
    let states = q.len() / 2;
    let mut matrix = vec![0.0; b_pd.len()];
    for p in 0..states {
        for d in 0..inputs {
            let (re, im) = (b_pd[p * inputs + d], b_pd[(states + p) * inputs + d]);
            matrix[d * 2 * states + p] = q[p] * re - q[states + p] * im;
            matrix[d * 2 * states + states + p] = q[p] * im + q[states + p] * re;
        }
    }
    matrix
}

impl Layer for S5 {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let (inputs, outputs, states) = (self.out_d2o.shape[0], self.out_d2o.shape[1], self.states());
        let [log_step, log_neg_re, im] = self.diagonal().map(|weight| weight.of(arena));
        let mut q = vec![0.0; 2 * states];
        let system = S5System::discretise(log_step, log_neg_re, im, &mut q);
        let input = input_matrix(&q, self.b_pd.of(arena), inputs);
        // s = 2·Re(C·x): twice the real part, minus twice the imaginary one.
        let (re, im) = self.c_pd.of(arena).split_at(states * inputs);
        let read: Vec<f32> = re.iter().map(|c| 2.0 * c).chain(im.iter().map(|c| -2.0 * c)).collect();
        let out = self.out_d2o.of(arena);
        Box::new(S5Engine {
            layer: *self,
            system,
            panels: [
                Panels::pack(&input, inputs, 2 * states),
                Panels::pack(&read, 2 * states, inputs),
                Panels::pack(out, inputs, outputs),
            ],
            skip_d: self.skip_d.of(arena).to_vec(),
            bias_2o: self.bias_2o.of(arena).to_vec(),
            training: train.then(|| Training {
                transposed: [
                    Panels::pack_transposed(&input, inputs, 2 * states),
                    Panels::pack_transposed(&read, 2 * states, inputs),
                    Panels::pack_transposed(out, inputs, outputs),
                ],
                diagonal: self.diagonal().map(|weight| weight.of(arena).to_vec()),
                q,
                b_pd: self.b_pd.of(arena).to_vec(),
            }),
        })
    }

    fn active_parameters(&self) -> usize {
        self.weights().iter().map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn resample(&self, arena: &mut [f32], factor: f32) -> Result<(), ModelError> {
        self.log_step_p.of_mut(arena).iter_mut().for_each(|log_step| *log_step += factor.ln());
        Ok(())
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: vec![0.0; 2 * self.states()], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let [log_step, log_neg_re, im, b, c, skip, ..] = self.weights().map(|weight| &arena[weight.range()]);
        let (states, inputs) = (self.states(), self.out_d2o.shape[0]);
        let mut s: Vec<f64> = sample.x.iter().zip(skip).map(|(x, skip)| x * skip).collect();
        for p in 0..states {
            let a = c64::new(-log_neg_re[p].exp(), im[p]);
            let step = log_step[p].exp();
            let exp = |scale: f64| c64::from_polar((scale * a.re).exp(), scale * a.im);
            let dot = |rows: &[f64]| rows[p * inputs..][..inputs].iter().zip(sample.x).map(|(b, x)| b * x).sum::<f64>();
            let fed = c64::new(dot(b), dot(&b[states * inputs..]));
            let before = c64::new(state.floats[p], state.floats[states + p]);
            let x = exp(step * (sample.gap + 1) as f64) * before + (exp(step) - c64::new(1.0, 0.0)) / a * fed;
            (state.floats[p], state.floats[states + p]) = (x.re, x.im);
            for (d, s) in s.iter_mut().enumerate() {
                *s += 2.0 * (c[p * inputs + d] * x.re - c[(states + p) * inputs + d] * x.im);
            }
        }
        s.iter_mut().for_each(|s| *s = plain::silu(*s));
        let ab = plain::affine(&s, arena, self.out_d2o, self.bias_2o);
        let (a, b) = ab.split_at(ab.len() / 2);
        a.iter().zip(b).map(|(a, b)| a * plain::sigmoid(*b)).collect()
    }
}

struct S5Engine {
    layer: S5,
    system: S5System,
    /// Into the states, out of them, and the gated unit's.
    panels: [Panels; 3],
    skip_d: Vec<f32>,
    bias_2o: Vec<f32>,
    training: Option<Training>,
}

struct Training {
    transposed: [Panels; 3],
    diagonal: [Vec<f32>; 3],
    q: Vec<f32>,
    b_pd: Vec<f32>,
}

struct Kept {
    /// What [`S5Engine::compute`] wrote.
    buffers: Buffer,
    first: Vec<f32>,
}

impl S5Engine {
    fn state_len(&self) -> usize {
        self.system.state_len()
    }

    /// States, what is read of them, that activated, and the gated unit's two halves.
    fn lens(&self, rows: usize) -> [usize; 4] {
        let [inputs, outputs] = self.layer.out_d2o.shape;
        [self.state_len(), inputs, inputs, outputs].map(|width| width * rows)
    }

    fn compute(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], buffers: &mut [f32]) {
        let [x, s, z, ab] = carve_mut(buffers, self.lens(rows.count()));
        let len = self.state_len();
        linear::linear(rows.x_nd, &self.panels[0], None, x);
        let outputs = [(&mut *x, Per::Row(len)), (&mut state.floats[..], Per::Stream(len))];
        streams::each(rows.offsets, 2 * len, [], outputs, &|range, [], [x, state]| {
            self.system.run(rows.gaps_of(range), state, x);
        });
        let width = self.skip_d.len();
        for (s, u) in s.chunks_exact_mut(width).zip(rows.x_nd.chunks_exact(width)) {
            activation::product(u, &self.skip_d, s);
        }
        linear::linear_add(x, &self.panels[1], s);
        activation::silu(s, z);
        linear::linear(z, &self.panels[2], Some(&self.bias_2o), ab);
        activation::glu(ab, self.bias_2o.len() / 2, y_no);
    }
}

impl Engine for S5Engine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[2].inputs(), self.panels[2].outputs() / 2)
    }

    fn state(&self, streams: usize) -> State {
        State::zeros(streams, self.state_len())
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        Need::floats(self.lens(rows).iter().sum())
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let buffers = scratch.floats(self.lens(rows.count()).iter().sum());
        self.compute(rows, state, y_no, buffers);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let mut buffers = buffers::junk(self.lens(rows.count()).iter().sum());
        let first = state.floats.clone();
        self.compute(rows, state, y_no, &mut buffers);
        Ok(Box::new(Kept { buffers, first }))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let training = self.training.as_ref().expect("prepared for training");
        let [into_t, read_t, out_t] = &training.transposed;
        let (layer, len, [inputs, outputs]) = (&self.layer, self.state_len(), self.layer.out_d2o.shape);
        let states = len / 2;
        let lens = self.lens(rows.count());
        let [x, s, z, ab] = carve(&kept.buffers, lens);
        let mut gradients = buffers::junk(kept.buffers.len());
        let [dx, ds, dz, dab] = carve_mut(&mut gradients, lens);
        activation::glu_backward(ab, outputs / 2, dy_no, dab);
        linear::weight_gradient(z, dab, inputs, outputs, layer.out_d2o.of_mut(gradient));
        linear::bias_gradient(dab, layer.bias_2o.of_mut(gradient));
        linear::linear(dab, out_t, None, dz);
        activation::silu_backward(s, dz, ds);
        let dskip = layer.skip_d.of_mut(gradient);
        for (ds, u) in ds.chunks_exact(inputs).zip(rows.x_nd.chunks_exact(inputs)) {
            dskip.iter_mut().zip(ds.iter().zip(u)).for_each(|(total, (ds, u))| *total += ds * u);
        }
        let mut dread = vec![0.0; len * inputs];
        linear::weight_gradient(x, ds, len, inputs, &mut dread);
        let dc = layer.c_pd.of_mut(gradient).iter_mut().zip(&dread).enumerate();
        dc.for_each(|(place, (total, dread))| *total += if place < states * inputs { 2.0 * dread } else { -2.0 * dread });
        linear::linear(ds, read_t, None, dx);
        let mut sums = vec![0.0; len * rows.streams()];
        let read = [(x, Per::Row(len)), (&kept.first[..], Per::Stream(len))];
        let written = [(&mut *dx, Per::Row(len)), (&mut sums[..], Per::Stream(len))];
        streams::each(rows.offsets, 4 * len, read, written, &|range, [x, first], [dx, sums]| {
            self.system.backward(rows.gaps_of(range), first, x, dx, sums);
        });
        let (mut da, mut dq) = (vec![0.0; len], vec![0.0; len]);
        streams::add_up(&sums, &mut da);
        let mut dinput = vec![0.0; len * inputs];
        linear::weight_gradient(rows.x_nd, dx, inputs, len, &mut dinput);
        let (q, b, db) = (&training.q, &training.b_pd, layer.b_pd.of_mut(gradient));
        for p in 0..states {
            for d in 0..inputs {
                let (re, im) = (p * inputs + d, (states + p) * inputs + d);
                let (g_re, g_im) = (dinput[d * len + p], dinput[d * len + states + p]);
                db[re] += g_re * q[p] + g_im * q[states + p];
                db[im] += g_im * q[p] - g_re * q[states + p];
                dq[p] += g_re * b[re] + g_im * b[im];
                dq[states + p] += g_im * b[re] - g_re * b[im];
            }
        }
        let mut parts = layer.diagonal().map(|weight| vec![0.0f32; weight.range().len()]);
        let diagonal = training.diagonal.each_ref().map(Vec::as_slice);
        S5System::parameter_gradient(diagonal, &da, &dq, parts.each_mut().map(Vec::as_mut_slice));
        layer.diagonal().iter().zip(&parts).for_each(|(weight, part)| streams::add_up(part, weight.of_mut(gradient)));
        linear::linear(dx, into_t, None, dx_nd);
        for (dx, ds) in dx_nd.chunks_exact_mut(inputs).zip(ds.chunks_exact(inputs)) {
            dx.iter_mut().zip(ds.iter().zip(&self.skip_d)).for_each(|(total, (ds, skip))| *total += ds * skip);
        }
    }
}
