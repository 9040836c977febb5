//! The network of a forecaster: embedding → stack → norm → heads.
//!
//! ```text
//! h_t = stack(features_t·embed + bias)          features: covariates, and the last `taps` samples, scaled by the statistics at t
//! n_t = h_t / rms(h_t) ⊙ gain
//! q_t = quantiles(n_t·head + bias + silu(n_t·U + x·V + c)·W)      [horizon][levels], in units of the scaler at t
//! ```
//! `x` are the covariates known of each step of the horizon; without any the last term is none.
//! The trunk runs at every sample; the heads only where a forecast is wanted.

use crate::{
    ModelError,
    covariates::CovariateConfig,
    decoder::{Decoder, DecoderEngine, DecoderKept},
    layer::{BackwardPass, Engine, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State, all_finite},
    mixture::MixtureEngine,
    plain::{self, PlainPass, PlainState, Sample},
    quantiles::Levels,
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::{
    buffers::{self, Buffer},
    linear::{self, Panels},
    norm,
};

/// Where the network's weights lie.
#[derive(Debug)]
pub struct Network {
    embed_kd: Weight,
    embed_bias_d: Weight,
    stack: Box<dyn Layer>,
    gain_d: Weight,
    head_dq: Weight,
    head_bias_q: Weight,
    decoder: Option<Decoder>,
    levels: Levels,
}

impl Network {
    /// Names, shapes and initialises everything.
    ///
    /// # Errors
    /// An option of a layer that cannot be, by its path.
    pub fn build(
        registry: &Registry,
        layers: &[LayerConfig],
        taps: usize,
        covariates: &CovariateConfig,
        width: usize,
        horizon: usize,
        levels: Levels,
        layout: &mut Layout,
    ) -> Result<Self, ModelError> {
        let (outputs, inputs) = (horizon * levels.count(), covariates.count() + taps);
        let stack = LayerConfig::new("stack").with("layers", layer_values(layers)?);
        Ok(Self {
            embed_kd: layout.matrix("embed", [inputs, width], fan_in(inputs)),
            embed_bias_d: layout.free("embed_bias", [1, width], Init::Constant(0.0)),
            stack: layout.with_context(taps, |layout| registry.build(&stack, width, width, layout))?,
            gain_d: layout.free("gain", [1, width], Init::Constant(1.0)),
            // Small: a fresh network forecasts the scaler's mean.
            head_dq: layout.matrix("head", [width, outputs], Init::Normal(0.02)),
            head_bias_q: layout.free("head_bias", [1, outputs], Init::Constant(0.0)),
            decoder: (covariates.known > 0).then(|| Decoder::build(covariates, width, levels.count(), layout)),
            levels,
        })
    }

    /// Packs the weights of `arena`.
    pub fn prepare(&self, arena: &[f32], train: bool) -> NetworkEngine {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        NetworkEngine {
            embed: pack(self.embed_kd),
            embed_bias_d: self.embed_bias_d.of(arena).to_vec(),
            stack: self.stack.prepare(arena, train),
            gain_d: self.gain_d.of(arena).to_vec(),
            heads: Heads {
                panels: pack(self.head_dq),
                bias_q: self.head_bias_q.of(arena).to_vec(),
                decoder: self.decoder.as_ref().map(|decoder| decoder.prepare(arena, train)),
                levels: self.levels.clone(),
            },
            head_t: train.then(|| Panels::pack_transposed(self.head_dq.of(arena), self.head_dq.shape[0], self.head_dq.shape[1])),
            spans: [self.embed_kd, self.embed_bias_d, self.gain_d, self.head_dq, self.head_bias_q],
        }
    }

    /// The heads for these steps of the horizon alone, from 0.
    pub fn heads_at(&self, arena: &[f32], steps: &[usize]) -> Heads {
        let count = self.levels.count();
        let pick = |row: &[f32]| steps.iter().flat_map(|step| row[step * count..][..count].to_vec()).collect::<Vec<f32>>();
        let [width, outputs] = self.head_dq.shape;
        let head: Vec<f32> = self.head_dq.of(arena).chunks_exact(outputs).flat_map(pick).collect();
        Heads {
            panels: Panels::pack(&head, width, steps.len() * count),
            bias_q: pick(self.head_bias_q.of(arena)),
            decoder: self.decoder.as_ref().map(|decoder| decoder.prepare(arena, false)),
            levels: self.levels.clone(),
        }
    }

    /// Weights that one sample and its forecast touch.
    pub fn active_parameters(&self) -> usize {
        let own = [self.embed_kd, self.embed_bias_d, self.gain_d, self.head_dq, self.head_bias_q];
        let decoder = self.decoder.as_ref().map_or(0, Decoder::parameters);
        own.iter().map(|weight| weight.range().len()).sum::<usize>() + decoder + self.stack.active_parameters()
    }

    /// Scales the steps of its layers, see [`Layer::resample`].
    ///
    /// # Errors
    /// A layer whose steps are not in time.
    pub fn resample(&self, arena: &mut [f32], factor: f32) -> Result<(), ModelError> {
        self.stack.resample(arena, factor)
    }

    /// An empty state of the plain step.
    pub fn plain_state(&self) -> PlainState {
        self.stack.plain_state()
    }

    /// The definition of the trunk: one sample in `f64`, from features to the normalised hidden row.
    pub fn plain_step(&self, arena: &[f64], features: &[f64], state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64> {
        let mut x = plain::multiply(features, &arena[self.embed_kd.range()], self.embed_kd.shape[1]);
        x.iter_mut().zip(&arena[self.embed_bias_d.range()]).for_each(|(x, bias)| *x += bias);
        let sample = Sample { x: &x, gap: 0, context: features };
        plain::rms_norm(&self.stack.plain_step(arena, sample, state, pass), &arena[self.gain_d.range()])
    }
}

fn layer_values(layers: &[LayerConfig]) -> Result<Vec<toml::Value>, ModelError> {
    let value = |layer: &LayerConfig| toml::Value::try_from(layer).map_err(ModelError::syntax);
    layers.iter().map(value).collect()
}

/// The heads for some steps of the horizon.
pub struct Heads {
    panels: Panels,
    bias_q: Vec<f32>,
    decoder: Option<DecoderEngine>,
    levels: Levels,
}

impl Heads {
    /// Values of one forecast: steps × levels.
    pub fn outputs(&self) -> usize {
        self.bias_q.len()
    }

    /// Levels of each step.
    pub fn levels(&self) -> usize {
        self.levels.count()
    }

    /// Scratch of [`Heads::forecast`] for so many rows.
    pub fn scratch(&self, rows: usize) -> Need {
        let decoder = self.decoder.as_ref().map_or(0, |decoder| decoder.scratch(self.outputs() / self.levels.count()));
        Need::floats(2 * rows * self.outputs() + decoder)
    }

    /// Quantiles `[row][step][levels]` at the hidden rows of samples that lie `missed[row]` samples back; the last step stands for those beyond. `known_nsk`
    /// are the covariates known of each step.
    pub fn forecast(
        &self,
        hidden_nd: &[f32],
        missed: &[usize],
        known_nsk: &[f32],
        quantiles: &mut [f32],
        scratch: &mut Scratch<'_>,
    ) {
        let (raw_nq, steps) = (scratch.floats(quantiles.len()), scratch.floats(quantiles.len()));
        linear::linear(hidden_nd, &self.panels, Some(&self.bias_q), raw_nq);
        let (count, width) = (self.levels.count(), self.panels.inputs());
        let known = known_nsk.len() / missed.len().max(1);
        for (row, (&missed, raw)) in missed.iter().zip(raw_nq.chunks_exact_mut(self.outputs())).enumerate() {
            let last = raw.len() / count - 1;
            if missed > 0 {
                for step in 0..=last {
                    let from = step.saturating_add(missed).min(last) * count;
                    raw.copy_within(from..from + count, step * count);
                }
            }
            if let Some(decoder) = &self.decoder {
                decoder.add(&hidden_nd[row * width..][..width], &known_nsk[row * known..][..known], raw, &mut scratch.rest());
            }
        }
        self.levels.forward(raw_nq, steps, quantiles);
    }
}

/// The network with its weights packed.
pub struct NetworkEngine {
    embed: Panels,
    embed_bias_d: Vec<f32>,
    stack: Box<dyn Engine>,
    gain_d: Vec<f32>,
    heads: Heads,
    head_t: Option<Panels>,
    spans: [Weight; 5],
}

/// What the network is shown.
#[derive(Clone, Copy, Debug)]
pub struct Heard<'a> {
    /// `[row][inputs]`: covariates, then taps.
    pub features_nk: &'a [f32],
    /// Stream `s` has rows `offsets[s]..offsets[s + 1]`.
    pub offsets: &'a [usize],
    /// Samples that were missing before each row; empty: none.
    pub gaps: &'a [usize],
}

impl<'a> Heard<'a> {
    /// The trunk's rows; mixtures in it may look at the features themselves.
    fn rows(self, x_nd: &'a [f32]) -> Rows<'a> {
        Rows { x_nd, offsets: self.offsets, gaps: self.gaps, context_nc: self.features_nk }
    }
}

/// What a training pass keeps.
pub struct NetworkKept {
    x_nd: Buffer,
    stack_nd: Buffer,
    stack: Saved,
    hidden_md: Buffer,
    raw_mq: Buffer,
    decoder: Option<DecoderKept>,
}

impl NetworkEngine {
    /// Values in a row of features.
    pub fn inputs(&self) -> usize {
        self.embed.inputs()
    }

    /// Width of the trunk.
    pub fn width(&self) -> usize {
        self.embed.outputs()
    }

    /// Values of one forecast: horizon × levels.
    pub fn outputs(&self) -> usize {
        self.heads.outputs()
    }

    /// An empty state.
    pub fn state(&self, streams: usize) -> State {
        self.stack.state(streams)
    }

    /// Whether a state of the right shape, from outside, could be this network's.
    pub fn is_sound(&self, state: &State) -> bool {
        self.stack.is_sound(state)
    }

    /// Scratch of [`NetworkEngine::run`].
    pub fn scratch(&self, rows: usize, streams: usize) -> Need {
        self.stack.scratch(rows, streams).plus(Need::floats(2 * rows * self.width()))
    }

    /// The mixtures, outermost first.
    pub fn mixtures(&self) -> Vec<&MixtureEngine> {
        self.stack.mixtures()
    }

    /// The trunk: rows of features to normalised hidden rows.
    ///
    /// # Errors
    /// What a layer refuses, or hidden rows that are not finite.
    pub fn run(
        &self,
        heard: Heard<'_>,
        state: &mut State,
        hidden_nd: &mut [f32],
        scratch: &mut Scratch<'_>,
    ) -> Result<(), ModelError> {
        let (x_nd, y_nd) = (scratch.floats(hidden_nd.len()), scratch.floats(hidden_nd.len()));
        linear::linear(heard.features_nk, &self.embed, Some(&self.embed_bias_d), x_nd);
        self.stack.run(heard.rows(x_nd), state, y_nd, &mut scratch.rest())?;
        norm::rms_norm(y_nd, &self.gain_d, hidden_nd);
        all_finite("trunk", hidden_nd)
    }

    /// The heads for the whole horizon.
    pub fn heads(&self) -> &Heads {
        &self.heads
    }

    /// Training: quantiles `[position][horizon][levels]` at the rows `positions`, with the covariates `[position][horizon][known]`. Gradients do not
    /// reach into `state`.
    ///
    /// # Errors
    /// As [`Engine::forward`].
    pub fn forward(
        &self,
        heard: Heard<'_>,
        mut state: State,
        positions: &[usize],
        known_mk: &[f32],
        quantiles_mq: &mut [f32],
        pass: &mut Pass,
    ) -> Result<NetworkKept, ModelError> {
        let (rows, width) = (heard.offsets[heard.offsets.len() - 1], self.width());
        let (mut x_nd, mut stack_nd) = (buffers::junk(rows * width), buffers::junk(rows * width));
        linear::linear(heard.features_nk, &self.embed, Some(&self.embed_bias_d), &mut x_nd);
        all_finite("embed", &x_nd)?;
        let stack = self.stack.forward(heard.rows(&x_nd), &mut state, &mut stack_nd, pass)?;
        let mut picked_md = buffers::junk(positions.len() * width);
        for (&row, picked) in positions.iter().zip(picked_md.chunks_exact_mut(width)) {
            picked.copy_from_slice(&stack_nd[row * width..][..width]);
        }
        let mut hidden_md = buffers::junk(picked_md.len());
        norm::rms_norm(&picked_md, &self.gain_d, &mut hidden_md);
        let mut raw_mq = buffers::junk(positions.len() * self.outputs());
        linear::linear(&hidden_md, &self.heads.panels, Some(&self.heads.bias_q), &mut raw_mq);
        let decoder = self.heads.decoder.as_ref().map(|decoder| decoder.forward(&hidden_md, known_mk, &mut raw_mq));
        self.heads.levels.forward(&raw_mq, &mut buffers::junk(quantiles_mq.len()), quantiles_mq);
        all_finite("head", quantiles_mq)?;
        Ok(NetworkKept { x_nd, stack_nd: picked_md, stack, hidden_md, raw_mq, decoder })
    }

    /// Adds the weights' gradients to `gradient`.
    pub fn backward(
        &self,
        heard: Heard<'_>,
        positions: &[usize],
        known_mk: &[f32],
        kept: NetworkKept,
        dquantiles_mq: &[f32],
        gradient: &mut [f32],
        pass: &BackwardPass,
    ) {
        let [embed, embed_bias, gain, head, head_bias] = &self.spans;
        let (width, outputs) = (self.width(), self.outputs());
        let mut draw_mq = buffers::junk(dquantiles_mq.len());
        self.heads.levels.backward(&kept.raw_mq, dquantiles_mq, &mut draw_mq);
        linear::weight_gradient(&kept.hidden_md, &draw_mq, width, outputs, head.of_mut(gradient));
        linear::bias_gradient(&draw_mq, head_bias.of_mut(gradient));
        let mut dhidden_md = buffers::junk(kept.hidden_md.len());
        linear::linear(&draw_mq, self.head_t.as_ref().expect("prepared for training"), None, &mut dhidden_md);
        if let (Some(decoder), Some(own)) = (&self.heads.decoder, &kept.decoder) {
            decoder.backward(&kept.hidden_md, known_mk, own, &draw_mq, &mut dhidden_md, gradient);
        }
        let mut dpicked_md = buffers::zeroed(dhidden_md.len());
        norm::rms_norm_backward(&kept.stack_nd, &self.gain_d, &dhidden_md, &mut dpicked_md, gain.of_mut(gradient));
        let mut dstack_nd = buffers::zeroed(kept.x_nd.len());
        for (&row, dpicked) in positions.iter().zip(dpicked_md.chunks_exact(width)) {
            dstack_nd[row * width..][..width].iter_mut().zip(dpicked).for_each(|(total, part)| *total += part);
        }
        let mut dx_nd = buffers::junk(kept.x_nd.len());
        self.stack.backward(heard.rows(&kept.x_nd), kept.stack, &dstack_nd, &mut dx_nd, gradient, pass);
        linear::weight_gradient(heard.features_nk, &dx_nd, self.inputs(), width, embed.of_mut(gradient));
        linear::bias_gradient(&dx_nd, embed_bias.of_mut(gradient));
    }
}
