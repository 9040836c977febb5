//! S4D: a diagonal complex state space per channel (Gu et al. 2022, arXiv:2206.11893), then a gated linear unit.
//!
//! ```text
//! x_t = exp(ΔA) ⊙ x_{t−1} + u_t          A = −exp(log_neg_re) + i·im, Δ = exp(log_step)
//! s_t = 2·Re⟨C(exp(ΔA) − 1)/A, x_t⟩ + skip·u_t
//! y_t = a ⊙ σ(b),   [a | b] = silu(s_t)·out + bias
//! ```
//! A starts as one of four spectra, with n = 0 … s − 1 and N = 2s:
//!
//! | `initialisation` | A_n |
//! |---|---|
//! | `lin` | −½ + iπn |
//! | `inv` | −½ + i·N/π·(N/(2n + 1) − 1) |
//! | `real` | −(n + 1) |
//! | `legs` | the eigenvalues of the normal part of HiPPO-LegS of size N, one of each conjugate pair |
//!
//! Where we differ: SiLU stands for the paper's GELU, and B is absorbed in C.
//! Shapes: `n` rows, `d` channels, `s` states a channel, `o` outputs.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, fan_in, positive},
};
use foretoken_kernels::{
    activation,
    buffers::{self, Buffer},
    linear::{self, Panels},
    plain::Real,
    s4d::{S4dGradient, S4dParameters, S4dSystem},
};
use serde::{Deserialize, Serialize};

/// `type = "s4d"`.
pub const KIND: Kind = Kind {
    name: "s4d",
    build,
    examples: &[
        "",
        "states = 5\ninitialisation = 'inv'",
        "states = 3\nstep_min = 0.01\nstep_max = 0.5\ninitialisation = 'real'",
        "states = 4\ninitialisation = 'legs'",
    ],
};

/// Where A starts (arXiv:2206.11893, section 4).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, Default)]
#[serde(rename_all = "kebab-case")]
pub enum Initialisation {
    /// Evenly spaced frequencies.
    #[default]
    Lin,
    /// Frequencies as 1/n.
    Inv,
    /// No frequencies: decays alone.
    Real,
    /// HiPPO-LegS.
    Legs,
}

impl Initialisation {
    /// −Re A and Im A of `states` states, frequencies ascending.
    pub fn spectrum(self, states: usize) -> Vec<(f64, f64)> {
        use std::f64::consts::PI;
        let size = 2.0 * states as f64;
        let each = |f: fn(f64, f64) -> (f64, f64)| (0..states).map(|n| f(n as f64, size)).collect::<Vec<_>>();
        match self {
            Self::Lin => each(|n, _| (0.5, PI * n)),
            Self::Inv => {
                let mut spectrum = each(|n, size| (0.5, size / PI * (size / (2.0 * n + 1.0) - 1.0)));
                spectrum.reverse();
                spectrum
            }
            Self::Real => each(|n, _| (n + 1.0, 0.0)),
            Self::Legs => crate::s5::hippo(states).0.into_iter().map(|frequency| (0.5, frequency)).collect(),
        }
    }
}

/// Options of an S4D layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S4dConfig {
    /// Complex states a channel; each stands for a conjugate pair.
    pub states: usize,
    /// Smallest initial step Δ, in samples.
    pub step_min: f32,
    /// Largest initial step Δ, in samples.
    pub step_max: f32,
    /// Where the state matrix starts.
    pub initialisation: Initialisation,
}

impl Default for S4dConfig {
    fn default() -> Self {
        Self { states: 16, step_min: 1e-3, step_max: 1e-1, initialisation: Initialisation::Lin }
    }
}

#[derive(Debug)]
struct S4d {
    log_step_d: Weight,
    log_neg_re_ds: Weight,
    im_ds: Weight,
    c_re_ds: Weight,
    c_im_ds: Weight,
    skip_d: Weight,
    out_d2o: Weight,
    bias_2o: Weight,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: S4dConfig = config.read()?;
    let states = positive("states", options.states)?;
    if !(options.step_min > 0.0 && options.step_min <= options.step_max && options.step_max.is_finite()) {
        let found = format!("{} and {}", options.step_min, options.step_max);
        return Err(ModelError::config("step_min, step_max", "0 < step_min <= step_max", found));
    }
    let shape = [input, states];
    let spectrum = options.initialisation.spectrum(states);
    let row = |value: fn(&(f64, f64)) -> f64| Init::Row(spectrum.iter().map(|pair| value(pair) as f32).collect());
    // Half the variance of a standard complex normal in each part.
    let c = Init::Normal(0.5f32.sqrt());
    Ok(Box::new(S4d {
        log_step_d: layout.free("log_step", [1, input], Init::LogUniform(options.step_min, options.step_max)),
        log_neg_re_ds: layout.free("log_neg_re", shape, row(|(decay, _)| decay.ln())),
        im_ds: layout.free("im", shape, row(|(_, frequency)| *frequency)),
        c_re_ds: layout.free("c_re", shape, c.clone()),
        c_im_ds: layout.free("c_im", shape, c),
        skip_d: layout.free("skip", [1, input], Init::Normal(1.0)),
        out_d2o: layout.matrix("out", [input, 2 * output], fan_in(input)),
        bias_2o: layout.free("bias", [1, 2 * output], Init::Constant(0.0)),
    }))
}

fn parameters<R>([log_step, log_neg_re, im, c_re, c_im, skip]: [&[R]; 6]) -> S4dParameters<'_, R> {
    S4dParameters { log_step, log_neg_re, im, c_re, c_im, skip }
}

impl S4d {
    fn system(&self) -> [Weight; 6] {
        [self.log_step_d, self.log_neg_re_ds, self.im_ds, self.c_re_ds, self.c_im_ds, self.skip_d]
    }

    /// The definition: one sample, straight from the weights. `state` holds `[channel][state][re, im]`.
    fn step<R: Real>(&self, arena: &[R], u: &[R], gap: u64, state: &mut [R]) -> Vec<R> {
        let parameters = parameters(self.system().map(|weight| &arena[weight.range()]));
        foretoken_kernels::s4d::plain_gap(&parameters, gap, state);
        let mut z = vec![R::from_f64(0.0); self.im_ds.shape[0]];
        foretoken_kernels::s4d::plain_step(&parameters, u, state, &mut z);
        z.iter_mut().for_each(|z| *z = plain::silu(*z));
        let width = self.out_d2o.shape[1];
        let ab = plain::multiply(&z, &arena[self.out_d2o.range()], width);
        let ab: Vec<R> = ab.iter().zip(&arena[self.bias_2o.range()]).map(|(&v, &b)| v + b).collect();
        (0..width / 2).map(|o| ab[o] * plain::sigmoid(ab[width / 2 + o])).collect()
    }
}

impl Layer for S4d {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let [channels, states] = self.im_ds.shape;
        let [inputs, outputs] = self.out_d2o.shape;
        Box::new(S4dEngine {
            spans: self.system(),
            out: self.out_d2o,
            bias: self.bias_2o,
            system: S4dSystem::discretise(channels, states, &parameters(self.system().map(|weight| weight.of(arena)))),
            panels: Panels::pack(self.out_d2o.of(arena), inputs, outputs),
            bias_2o: self.bias_2o.of(arena).to_vec(),
            training: train.then(|| Training {
                transposed: Panels::pack_transposed(self.out_d2o.of(arena), inputs, outputs),
                parameters: self.system().map(|weight| weight.of(arena).to_vec()),
            }),
        })
    }

    fn active_parameters(&self) -> usize {
        self.system().iter().chain([&self.out_d2o, &self.bias_2o]).map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn resample(&self, arena: &mut [f32], factor: f32) -> Result<(), ModelError> {
        self.log_step_d.of_mut(arena).iter_mut().for_each(|log_step| *log_step += factor.ln());
        Ok(())
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: vec![0.0; 2 * self.im_ds.range().len()], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        self.step(arena, sample.x, sample.gap, &mut state.floats)
    }
}

struct S4dEngine {
    spans: [Weight; 6],
    out: Weight,
    bias: Weight,
    system: S4dSystem,
    panels: Panels,
    bias_2o: Vec<f32>,
    training: Option<Training>,
}

struct Training {
    transposed: Panels,
    parameters: [Vec<f32>; 6],
}

struct Kept {
    s_nd: Buffer,
    ab_n2o: Buffer,
    checkpoints: Buffer,
}

impl S4dEngine {
    fn read_out(&self, s_nd: &[f32], z_nd: &mut [f32], ab_n2o: &mut [f32], y_no: &mut [f32]) {
        activation::silu(s_nd, z_nd);
        linear::linear(z_nd, &self.panels, Some(&self.bias_2o), ab_n2o);
        activation::glu(ab_n2o, self.out.shape[1] / 2, y_no);
    }
}

impl Engine for S4dEngine {
    fn widths(&self) -> (usize, usize) {
        (self.out.shape[0], self.out.shape[1] / 2)
    }

    fn state(&self, streams: usize) -> State {
        State::zeros(streams, self.system.state_len())
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        Need::floats(rows * (2 * self.out.shape[0] + self.out.shape[1]))
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let (s_nd, z_nd) = (scratch.floats(rows.x_nd.len()), scratch.floats(rows.x_nd.len()));
        self.system.scan(rows.x_nd, rows.offsets, rows.gaps, &mut state.floats, s_nd);
        self.read_out(s_nd, z_nd, scratch.floats(rows.count() * self.out.shape[1]), y_nd);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        let Rows { x_nd, offsets, gaps, .. } = rows;
        let mut kept = Kept {
            s_nd: buffers::junk(x_nd.len()),
            ab_n2o: buffers::junk(rows.count() * self.out.shape[1]),
            checkpoints: buffers::junk(self.system.checkpoint_len(offsets)),
        };
        self.system.scan_saved(x_nd, offsets, gaps, &mut state.floats, &mut kept.s_nd, &mut kept.checkpoints);
        self.read_out(&kept.s_nd, &mut buffers::junk(x_nd.len()), &mut kept.ab_n2o, y_nd);
        Ok(Box::new(kept))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let Rows { x_nd, offsets, gaps, .. } = rows;
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let training = self.training.as_ref().expect("prepared for training");
        let [inputs, outputs] = self.out.shape;
        let mut dab_n2o = buffers::junk(kept.ab_n2o.len());
        let [mut z_nd, mut dz_nd, mut ds_nd] = [(); 3].map(|()| buffers::junk(x_nd.len()));
        activation::glu_backward(&kept.ab_n2o, outputs / 2, dy_no, &mut dab_n2o);
        activation::silu(&kept.s_nd, &mut z_nd);
        linear::weight_gradient(&z_nd, &dab_n2o, inputs, outputs, self.out.of_mut(gradient));
        linear::bias_gradient(&dab_n2o, self.bias.of_mut(gradient));
        linear::linear(&dab_n2o, &training.transposed, None, &mut dz_nd);
        activation::silu_backward(&kept.s_nd, &dz_nd, &mut ds_nd);
        let mut system = S4dGradient::new(&self.system);
        self.system.scan_backward(x_nd, offsets, gaps, &kept.checkpoints, &ds_nd, dx_nd, &mut system);
        let mut parts = self.spans.map(|span| vec![0.0f32; span.range().len()]);
        let trained = parameters(training.parameters.each_ref().map(Vec::as_slice));
        self.system.parameter_gradient(&trained, &system, parts.each_mut().map(Vec::as_mut_slice));
        for (span, part) in self.spans.iter().zip(&parts) {
            span.of_mut(gradient).iter_mut().zip(part).for_each(|(total, part)| *total += part);
        }
    }
}
