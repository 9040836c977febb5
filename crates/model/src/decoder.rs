//! How the heads see what is known of each step of the horizon: one small layer for all steps.
//!
//! ```text
//! raw_s += silu(n·U + x_s·V + c)·W        n: the normalised hidden row, x_s: the covariates known of step s
//! ```
//! As the temporal decoder of TiDE (Das et al. 2023), with the hidden row in the place of a step's decoded vector.

use crate::{
    covariates::CovariateConfig,
    layer::Scratch,
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::{
    activation,
    linear::{self, Panels},
};

/// Where the weights lie.
#[derive(Debug)]
pub(crate) struct Decoder {
    hidden_dm: Weight,
    known_km: Weight,
    bias_m: Weight,
    out_mq: Weight,
}

impl Decoder {
    pub(crate) fn build(covariates: &CovariateConfig, width: usize, levels: usize, layout: &mut Layout) -> Self {
        let (known, hidden) = (covariates.known, covariates.hidden);
        Self {
            hidden_dm: layout.matrix("decoder.hidden", [width, hidden], fan_in(width)),
            known_km: layout.matrix("decoder.known", [known, hidden], fan_in(known)),
            bias_m: layout.free("decoder.bias", [1, hidden], Init::Constant(0.0)),
            // Small: a fresh network does not heed them.
            out_mq: layout.matrix("decoder.out", [hidden, levels], Init::Normal(0.02)),
        }
    }

    fn spans(&self) -> [Weight; 4] {
        [self.hidden_dm, self.known_km, self.bias_m, self.out_mq]
    }

    pub(crate) fn parameters(&self) -> usize {
        self.spans().iter().map(|weight| weight.range().len()).sum()
    }

    pub(crate) fn prepare(&self, arena: &[f32], train: bool) -> DecoderEngine {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed =
            |weight: Weight| train.then(|| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]));
        DecoderEngine {
            hidden: pack(self.hidden_dm),
            known: pack(self.known_km),
            bias_m: self.bias_m.of(arena).to_vec(),
            out: pack(self.out_mq),
            hidden_t: transposed(self.hidden_dm),
            out_t: transposed(self.out_mq),
            spans: self.spans(),
        }
    }
}

/// The decoder with its weights packed.
pub(crate) struct DecoderEngine {
    hidden: Panels,
    known: Panels,
    bias_m: Vec<f32>,
    out: Panels,
    hidden_t: Option<Panels>,
    out_t: Option<Panels>,
    spans: [Weight; 4],
}

/// What a training pass keeps: `[position · step][hidden]` before and after the nonlinearity.
pub(crate) struct DecoderKept {
    before: Vec<f32>,
    after: Vec<f32>,
}

impl DecoderEngine {
    /// Floats that [`DecoderEngine::add`] needs for so many steps.
    pub(crate) fn scratch(&self, steps: usize) -> usize {
        (2 * steps + 1) * self.bias_m.len()
    }

    /// Adds to the raw outputs `[step][levels]` at one hidden row.
    pub(crate) fn add(&self, hidden_d: &[f32], known_sk: &[f32], raw: &mut [f32], scratch: &mut Scratch<'_>) {
        let m = self.bias_m.len();
        let steps = raw.len() / self.out.outputs();
        let (base, before, after) = (scratch.floats(m), scratch.floats(steps * m), scratch.floats(steps * m));
        self.see(hidden_d, known_sk, base, before);
        activation::silu(before, after);
        linear::linear_add(after, &self.out, raw);
    }

    /// `n·U + c + x·V`, `[position · step][hidden]`; `base` holds the first two terms.
    fn see(&self, hidden_nd: &[f32], known_sk: &[f32], base_nm: &mut [f32], before: &mut [f32]) {
        let m = self.bias_m.len();
        linear::linear(hidden_nd, &self.hidden, Some(&self.bias_m), base_nm);
        linear::linear(known_sk, &self.known, None, before);
        let positions = base_nm.len() / m;
        for (base, before) in base_nm.chunks_exact(m).zip(before.chunks_exact_mut(before.len() / positions)) {
            before.chunks_exact_mut(m).for_each(|before| before.iter_mut().zip(base).for_each(|(to, from)| *to += from));
        }
    }

    /// The same for many hidden rows.
    pub(crate) fn forward(&self, hidden_nd: &[f32], known_sk: &[f32], raw: &mut [f32]) -> DecoderKept {
        let m = self.bias_m.len();
        let rows = raw.len() / self.out.outputs();
        let (mut base, mut before) = (vec![0.0; hidden_nd.len() / self.hidden.inputs() * m], vec![0.0; rows * m]);
        self.see(hidden_nd, known_sk, &mut base, &mut before);
        let mut after = vec![0.0; before.len()];
        activation::silu(&before, &mut after);
        linear::linear_add(&after, &self.out, raw);
        DecoderKept { before, after }
    }

    pub(crate) fn backward(
        &self,
        hidden_nd: &[f32],
        known_sk: &[f32],
        kept: &DecoderKept,
        draw: &[f32],
        dhidden_nd: &mut [f32],
        gradient: &mut [f32],
    ) {
        let [hidden, known, bias, out] = &self.spans;
        let ([d, m], [k, _], [_, q]) = (hidden.shape, known.shape, out.shape);
        linear::weight_gradient(&kept.after, draw, m, q, out.of_mut(gradient));
        let (mut dafter, mut dbefore) = (vec![0.0; kept.after.len()], vec![0.0; kept.before.len()]);
        linear::linear(draw, self.out_t.as_ref().expect("prepared for training"), None, &mut dafter);
        activation::silu_backward(&kept.before, &dafter, &mut dbefore);
        linear::weight_gradient(known_sk, &dbefore, k, m, known.of_mut(gradient));
        linear::bias_gradient(&dbefore, bias.of_mut(gradient));
        let positions = hidden_nd.len() / d;
        let mut dbase = vec![0.0; positions * m];
        for (dbase, dbefore) in dbase.chunks_exact_mut(m).zip(dbefore.chunks_exact(dbefore.len() / positions)) {
            dbefore.chunks_exact(m).for_each(|part| dbase.iter_mut().zip(part).for_each(|(to, from)| *to += from));
        }
        linear::weight_gradient(hidden_nd, &dbase, d, m, hidden.of_mut(gradient));
        linear::linear_add(&dbase, self.hidden_t.as_ref().expect("prepared for training"), dhidden_nd);
    }
}
