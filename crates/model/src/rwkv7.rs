//! RWKV-7 (Peng et al. 2025, arXiv:2503.14456): blocks of time mix and channel mix, with a delta rule on a matrix of every head.
//!
//! ```text
//! n = LayerNorm(h),  x_· = n + (n_{t−1} − n) ⊙ shift_·                        for r, w, k, v, a, g
//! r = x_r·receptance   κ = x_k·key   v = x_v·value   ln w = −e^(−½)·σ(w0 + tanh(x_w·w1)·w2)   a = σ(a0 + x_a·a1·a2)   g = σ(x_g·g1)·g2
//! v ← v + (v of the first block − v) ⊙ σ(v0 + x_v·v1·v2)                      from the second block on
//! κ̂ = κ ⊙ k_k / ‖κ ⊙ k_k‖ by head,   k = κ ⊙ (1 + (a − 1) ⊙ k_a)
//! S_t = S_{t−1}·diag(w) − (S_{t−1}·κ̂)(κ̂ ⊙ a)ᵀ + v·kᵀ                         y = GroupNorm(S_t·r) + (Σ r ⊙ k ⊙ r_k)·v by head
//! h ← h + (y ⊙ g)·output
//! m = LayerNorm(h),  h ← h + relu((m + (m_{t−1} − m) ⊙ ffn_shift)·ffn_key)²·ffn_value
//! ```
//! The layer gives what its blocks added, h − x: it keeps its width and the residual is its surroundings'. In a gap of g samples S decays by
//! `wᵍ` with the w of the last sample; the removal is skipped and the shifts hold. Starts as the authors' code does (its plain constructor;
//! normal draws of the same scale where it has orthogonal ones): output and ffn_value at zero.
//! Shapes: `n` rows, `d` width, `a` = heads × size, `o` hidden values of the channel mix.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, positive},
};
use foretoken_kernels::{
    activation,
    buffers::{self, Buffer},
    linear::{self, Panels},
    norm,
    rwkv7::{Heads, Wkv, WkvGradient},
    streams::{self, Per, carve, carve_mut},
};
use serde::{Deserialize, Serialize};

/// `type = "rwkv7"`.
pub const KIND: Kind = Kind {
    name: "rwkv7",
    build,
    examples: &[
        "",
        "depth = 2\nheads = 2\nhead_size = 3\nhidden = 7\ndecay_rank = 2\nrate_rank = 3\nvalue_rank = 2\ngate_rank = 4",
    ],
};

/// Options of an RWKV-7 layer. Ranks grow with the square root of the width where absent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Rwkv7Config {
    /// Blocks, one behind the other.
    pub depth: usize,
    /// Heads; one for every 64 values of the width if absent.
    pub heads: Option<usize>,
    /// Values of a head; such that the heads are about as wide as the input if absent.
    pub head_size: Option<usize>,
    /// Hidden values of the channel mix; four times the width if absent.
    pub hidden: Option<usize>,
    /// Rank of the decay w.
    pub decay_rank: Option<usize>,
    /// Rank of the rate a.
    pub rate_rank: Option<usize>,
    /// Rank of the value residual, which blocks have from the second on.
    pub value_rank: Option<usize>,
    /// Rank of the gate g.
    pub gate_rank: Option<usize>,
}

impl Default for Rwkv7Config {
    fn default() -> Self {
        Self {
            depth: 1,
            heads: None,
            head_size: None,
            hidden: None,
            decay_rank: None,
            rate_rank: None,
            value_rank: None,
            gate_rank: None,
        }
    }
}

/// ε of LayerNorm.
const EPSILON: f32 = 1e-5;
/// ε of GroupNorm on a head.
const HEAD_EPSILON: f32 = 64e-5;
/// Least length that a key is divided by.
const LEAST: f32 = 1e-12;
/// e^(−½): the fastest decay is exp(−e^(−½)) a sample.
const FASTEST: f64 = 0.606_530_659_712_633_4;

/// Mixed inputs, in the order of the rows of `shift`.
const MIXES: usize = 6;

#[derive(Clone, Copy, Debug)]
struct Block {
    norm1: [Weight; 2],
    shift: Weight,
    receptance: Weight,
    key: Weight,
    value: Weight,
    output: Weight,
    w: [Weight; 3],
    a: [Weight; 3],
    /// The value residual; the first block has none.
    v: Option<[Weight; 3]>,
    g: [Weight; 2],
    k_k: Weight,
    k_a: Weight,
    r_k: Weight,
    ln_x: [Weight; 2],
    norm2: [Weight; 2],
    ffn_shift: Weight,
    ffn_key: Weight,
    ffn_value: Weight,
}

#[derive(Clone, Debug)]
struct Rwkv7 {
    width: usize,
    heads: Heads,
    blocks: Vec<Block>,
}

/// `f(0), f(1), …` as a row.
fn values(len: usize, f: impl Fn(f64) -> f64) -> Init {
    Init::Row((0..len).map(|i| f(i as f64) as f32).collect())
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: Rwkv7Config = config.read()?;
    if input != output {
        return Err(ModelError::config("rwkv7", format!("equal widths in and out ({input})"), output));
    }
    let depth = positive("depth", options.depth)?;
    if let (1, Some(rank)) = (depth, options.value_rank) {
        return Err(ModelError::config("value_rank", "a second block, as the first has no value residual", rank));
    }
    let count = positive("heads", options.heads.unwrap_or(input.div_ceil(64)))?;
    let size = positive("head_size", options.head_size.unwrap_or(input.div_ceil(count)))?;
    let hidden = positive("hidden", options.hidden.unwrap_or(4 * input))?;
    let rank = |field: &str, given: Option<usize>, scale: f64| {
        let eighths = (scale * (input as f64).sqrt() / 8.0).round().max(1.0) as usize;
        positive(field, given.unwrap_or(8 * eighths))
    };
    let ranks = [
        rank("decay_rank", options.decay_rank, 2.5)?,
        rank("rate_rank", options.rate_rank, 2.5)?,
        rank("value_rank", options.value_rank, 1.7)?,
        rank("gate_rank", options.gate_rank, 5.0)?,
    ];
    let heads = Heads { count, size };
    let block = |index: usize| {
        layout.scope(&format!("layers.{index}"), |layout| block(index, depth, input, heads, hidden, ranks, layout))
    };
    Ok(Box::new(Rwkv7 { width: input, heads, blocks: (0..depth).map(block).collect() }))
}

fn block(index: usize, depth: usize, d: usize, heads: Heads, hidden: usize, ranks: [usize; 4], layout: &mut Layout) -> Block {
    let a = heads.width();
    // How deep the block lies, from 0 to 1, and from 1 to nearly 0.
    let (down, up) = (index as f64 / (depth.max(2) - 1) as f64, 1.0 - index as f64 / depth as f64);
    let along = |n: f64, len: usize| n / (len.max(2) - 1) as f64;
    let zigzag = |n: f64| {
        let middle = (heads.size as f64 - 1.0) / 2.0;
        let z = if middle > 0.0 { (n % heads.size as f64 - middle) / middle } else { 0.0 };
        z * z.abs()
    };
    let linear = |n: f64| along(n, a) - 0.5;
    let powers = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2];
    let shift = |place: f64| {
        let (mix, i) = (place as usize / d, place as usize % d);
        1.0 - (i as f64 / d as f64).powf(powers[mix] * up)
    };
    let bound = 0.5 / (d as f32).sqrt();
    let pair = |layout: &mut Layout, name: &str, width: usize, gain: f64| {
        let bias = format!("{name}_bias");
        [layout.free(name, [1, width], Init::Constant(gain as f32)), layout.free(&bias, [1, width], Init::Constant(0.0))]
    };
    // A product of two thin matrices, the first at zero, the second of the scale of 0.1 times an orthogonal one.
    let thin = |layout: &mut Layout, name: &str, rank: usize| {
        let second = Init::Normal(0.1 / (a as f32).sqrt());
        [layout.free(&format!("{name}1"), [d, rank], Init::Constant(0.0)), layout.free(&format!("{name}2"), [rank, a], second)]
    };
    let offset = |layout: &mut Layout, name: &str, f: &dyn Fn(f64) -> f64| layout.free(name, [1, a], values(a, f));
    let norm1 = pair(layout, "norm1", d, 1.0);
    let shift = layout.free("shift", [MIXES, d], values(MIXES * d, shift));
    let receptance = layout.matrix("receptance", [d, a], Init::Uniform(bound));
    let key = layout.matrix("key", [d, a], Init::Uniform(0.1 * bound));
    let value = layout.matrix("value", [d, a], Init::Uniform(bound));
    let output = layout.matrix("output", [a, d], Init::Constant(0.0));
    let w0 = offset(layout, "w0", &|n| -5.5 + 6.0 * along(n, a).powf(1.0 + down.powf(0.3)) + 2.5 * zigzag(n));
    let [w1, w2] = thin(layout, "w", ranks[0]);
    let a0 = offset(layout, "a0", &|n| -0.19 + 0.3 * zigzag(n) + 0.4 * linear(n));
    let [a1, a2] = thin(layout, "a", ranks[1]);
    let v = (index > 0).then(|| {
        let v0 = offset(layout, "v0", &|n| 0.73 - 0.4 * linear(n));
        let [v1, v2] = thin(layout, "v", ranks[2]);
        [v0, v1, v2]
    });
    Block {
        norm1,
        shift,
        receptance,
        key,
        value,
        output,
        w: [w0, w1, w2],
        a: [a0, a1, a2],
        v,
        g: thin(layout, "g", ranks[3]),
        k_k: offset(layout, "k_k", &|n| 0.71 - 0.1 * linear(n)),
        k_a: offset(layout, "k_a", &|_| 1.02),
        r_k: offset(layout, "r_k", &|_| -0.04),
        ln_x: pair(layout, "ln_x", a, ((1 + index) as f64 / depth as f64).powf(0.7)),
        norm2: pair(layout, "norm2", d, 1.0),
        ffn_shift: layout.free("ffn_shift", [1, d], values(d, |i| 1.0 - (i / d as f64).powf(up.powi(4)))),
        ffn_key: layout.matrix("ffn_key", [d, hidden], Init::Uniform(bound)),
        ffn_value: layout.matrix("ffn_value", [hidden, d], Init::Constant(0.0)),
    }
}

impl Block {
    fn weights(&self) -> impl Iterator<Item = Weight> + '_ {
        let single = [self.shift, self.receptance, self.key, self.value, self.output, self.k_k, self.k_a, self.r_k];
        let ffn = [self.ffn_shift, self.ffn_key, self.ffn_value];
        let pairs = [self.norm1, self.g, self.ln_x, self.norm2].into_iter().flatten();
        let triples = [self.w, self.a].into_iter().flatten().chain(self.v.into_iter().flatten());
        single.into_iter().chain(ffn).chain(pairs).chain(triples)
    }
}

/// The definition of LayerNorm and GroupNorm.
fn plain_norm(x: &[f64], size: usize, epsilon: f64, gain: &[f64], bias: &[f64]) -> Vec<f64> {
    let mut y = Vec::with_capacity(x.len());
    for group in x.chunks_exact(size) {
        let mean = group.iter().sum::<f64>() / size as f64;
        let variance = group.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / size as f64;
        y.extend(group.iter().map(|x| (x - mean) / (variance + epsilon).sqrt()));
    }
    y.iter().zip(gain.iter().zip(bias)).map(|(y, (gain, bias))| y * gain + bias).collect()
}

impl Rwkv7 {
    /// Numbers in the state of one block: the row before the time mix's, the matrices and last decays, the row before the channel mix's.
    fn plain_len(&self) -> usize {
        2 * self.width + self.heads.count * self.heads.size * self.heads.size + self.heads.width()
    }

    fn plain_block(&self, block: &Block, arena: &[f64], gap: u64, state: &mut [f64], h: &mut [f64], first_v: &mut Vec<f64>) {
        let (d, Heads { count, size }) = (self.width, self.heads);
        let of = |weight: Weight| &arena[weight.range()];
        let times = |x: &[f64], weight: Weight| plain::multiply(x, of(weight), weight.shape[1]);
        let norm = |x: &[f64], size: usize, epsilon: f32, [gain, bias]: [Weight; 2]| {
            plain_norm(x, size, epsilon.into(), of(gain), of(bias))
        };
        let (before, rest) = state.split_at_mut(d);
        let (matrices, rest) = rest.split_at_mut(count * size * size);
        let (last, ffn_before) = rest.split_at_mut(count * size);
        let mix = |now: &[f64], before: &[f64], shift: &[f64]| -> Vec<f64> {
            now.iter().zip(before.iter().zip(shift)).map(|(now, (before, shift))| now + (before - now) * shift).collect()
        };
        let n = norm(h, d, EPSILON, block.norm1);
        let [x_r, x_w, x_k, x_v, x_a, x_g]: [Vec<f64>; MIXES] =
            std::array::from_fn(|q| mix(&n, before, &of(block.shift)[q * d..][..d]));
        before.copy_from_slice(&n);
        let (r, key, mut v) = (times(&x_r, block.receptance), times(&x_k, block.key), times(&x_v, block.value));
        let thin = |x: &[f64], [offset, first, second]: [Weight; 3], f: fn(f64) -> f64| -> Vec<f64> {
            let inner: Vec<f64> = times(x, first).into_iter().map(f).collect();
            times(&inner, second).iter().zip(of(offset)).map(|(y, offset)| plain::sigmoid(y + offset)).collect()
        };
        let log_w: Vec<f64> = thin(&x_w, block.w, f64::tanh).into_iter().map(|s| -FASTEST * s).collect();
        let a = thin(&x_a, block.a, |x| x);
        let gate: Vec<f64> = times(&x_g, block.g[0]).into_iter().map(plain::sigmoid).collect();
        let gate = times(&gate, block.g[1]);
        match block.v {
            None => first_v.clone_from(&v),
            Some(v_weights) => {
                let share = thin(&x_v, v_weights, |x| x);
                v.iter_mut().zip(first_v.iter().zip(share)).for_each(|(v, (first, share))| *v += (first - *v) * share);
            }
        }
        let mut y = vec![0.0; count * size];
        let (mut k, mut bonus) = (vec![0.0; count * size], vec![0.0; count]);
        for head in 0..count {
            let own = head * size..(head + 1) * size;
            let raw: Vec<f64> = own.clone().map(|i| key[i] * of(block.k_k)[i]).collect();
            let length = raw.iter().map(|x| x * x).sum::<f64>().sqrt().max(LEAST.into());
            let kk: Vec<f64> = raw.iter().map(|x| x / length).collect();
            own.clone().for_each(|i| k[i] = key[i] * (1.0 + (a[i] - 1.0) * of(block.k_a)[i]));
            for i in 0..size {
                let row = &mut matrices[(head * size + i) * size..][..size];
                row.iter_mut().zip(&last[own.clone()]).for_each(|(s, log_w)| *s *= (gap as f64 * log_w).exp());
                let seen: f64 = row.iter().zip(&kk).map(|(s, kk)| s * kk).sum();
                for j in 0..size {
                    let key = own.start + j;
                    row[j] = row[j] * log_w[key].exp() - seen * kk[j] * a[key] + v[own.start + i] * k[key];
                    y[own.start + i] += row[j] * r[key];
                }
            }
            bonus[head] = own.map(|i| r[i] * k[i] * of(block.r_k)[i]).sum();
        }
        last.copy_from_slice(&log_w);
        let y = norm(&y, size, HEAD_EPSILON, block.ln_x);
        let gated: Vec<f64> = (0..count * size).map(|i| (y[i] + bonus[i / size] * v[i]) * gate[i]).collect();
        h.iter_mut().zip(times(&gated, block.output)).for_each(|(h, y)| *h += y);
        let m = norm(h, d, EPSILON, block.norm2);
        let x = mix(&m, ffn_before, of(block.ffn_shift));
        ffn_before.copy_from_slice(&m);
        let squares: Vec<f64> = times(&x, block.ffn_key).into_iter().map(|x| x.max(0.0).powi(2)).collect();
        h.iter_mut().zip(times(&squares, block.ffn_value)).for_each(|(h, y)| *h += y);
    }
}

impl Layer for Rwkv7 {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let blocks = self.blocks.iter().map(|block| BlockEngine::new(self, block, arena, train)).collect();
        Box::new(Rwkv7Engine { width: self.width, blocks })
    }

    fn active_parameters(&self) -> usize {
        self.blocks.iter().flat_map(Block::weights).map(|weight| weight.range().len()).sum()
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn plain_state(&self) -> PlainState {
        PlainState { floats: vec![0.0; self.blocks.len() * self.plain_len()], ..PlainState::default() }
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let (mut h, mut first_v) = (sample.x.to_vec(), Vec::new());
        for (block, state) in self.blocks.iter().zip(state.floats.chunks_exact_mut(self.plain_len())) {
            self.plain_block(block, arena, sample.gap, state, &mut h, &mut first_v);
        }
        h.iter().zip(sample.x).map(|(h, x)| h - x).collect()
    }
}

struct Rwkv7Engine {
    width: usize,
    blocks: Vec<BlockEngine>,
}

// Places of the matrices in [`BlockEngine::matrices`].
const RECEPTANCE: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;
const OUTPUT: usize = 3;
const W1: usize = 4;
const W2: usize = 5;
const A1: usize = 6;
const A2: usize = 7;
const G1: usize = 8;
const G2: usize = 9;
const FFN_KEY: usize = 10;
const FFN_VALUE: usize = 11;
const V1: usize = 12;
const V2: usize = 13;

struct BlockEngine {
    spans: Block,
    heads: Heads,
    /// Panels of the matrices; without a value residual the last two are missing.
    panels: Vec<Panels>,
    transposed: Option<Vec<Panels>>,
    norm1: [Vec<f32>; 2],
    shift: Vec<f32>,
    w0: Vec<f32>,
    a0: Vec<f32>,
    v0: Vec<f32>,
    k_k: Vec<f32>,
    k_a: Vec<f32>,
    r_k: Vec<f32>,
    ln_x: [Vec<f32>; 2],
    norm2: [Vec<f32>; 2],
    ffn_shift: Vec<f32>,
}

/// Buffers of rows, by name, and how many there are.
macro_rules! buffers {
    ($($name:ident),*) => {
        const BUFFERS: usize = [$(stringify!($name)),*].len();

        /// What a block computes on its way.
        struct Buffers<T> {
            $($name: T),*
        }

        impl<T> Buffers<T> {
            fn new([$($name),*]: [T; BUFFERS]) -> Self {
                Self { $($name),* }
            }
        }
    };
}

buffers!(
    n, before, x_r, x_w, x_k, x_v, x_a, x_g, r, key, v_own, w_in, w_tanh, w_pre, log_w, a_in, a_pre, a, v_in, v_pre, v_share, v,
    g_in, g_inner, g, kk, k, z, b, y, normal, bonus, gated, middle, m, ffn_before, ffn_x, ffn_pre, ffn_square
);

/// `now + (before − now) ⊙ shift`, row by row.
fn mix(now: &[f32], before: &[f32], shift_d: &[f32], x: &mut [f32]) {
    let d = shift_d.len();
    for ((now, before), x) in now.chunks_exact(d).zip(before.chunks_exact(d)).zip(x.chunks_exact_mut(d)) {
        for i in 0..d {
            x[i] = (before[i] - now[i]) * shift_d[i] + now[i];
        }
    }
}

/// Adds the gradients of [`mix`].
fn mix_backward(
    (now, before, shift_d): (&[f32], &[f32], &[f32]),
    dx: &[f32],
    dnow: &mut [f32],
    dbefore: &mut [f32],
    dshift_d: &mut [f32],
) {
    let d = shift_d.len();
    for (row, dx) in dx.chunks_exact(d).enumerate() {
        for i in 0..d {
            let place = row * d + i;
            dnow[place] += dx[i] * (1.0 - shift_d[i]);
            dbefore[place] += dx[i] * shift_d[i];
            dshift_d[i] += dx[i] * (before[place] - now[place]);
        }
    }
}

impl BlockEngine {
    fn new(layer: &Rwkv7, block: &Block, arena: &[f32], train: bool) -> Self {
        let vector = |weight: Weight| weight.of(arena).to_vec();
        let matrices = Self::matrices(block);
        let pack = |weight: &Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: &Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        Self {
            spans: *block,
            heads: layer.heads,
            panels: matrices.iter().map(pack).collect(),
            transposed: train.then(|| matrices.iter().map(transposed).collect()),
            norm1: block.norm1.map(vector),
            shift: vector(block.shift),
            w0: vector(block.w[0]),
            a0: vector(block.a[0]),
            v0: block.v.map_or_else(Vec::new, |v| vector(v[0])),
            k_k: vector(block.k_k),
            k_a: vector(block.k_a),
            r_k: vector(block.r_k),
            ln_x: block.ln_x.map(vector),
            norm2: block.norm2.map(vector),
            ffn_shift: vector(block.ffn_shift),
        }
    }

    fn matrices(block: &Block) -> Vec<Weight> {
        let Block { receptance, key, value, output, w, a, g, ffn_key, ffn_value, .. } = *block;
        let mut all = vec![receptance, key, value, output, w[1], w[2], a[1], a[2], g[0], g[1], ffn_key, ffn_value];
        all.extend(block.v.iter().flat_map(|v| [v[1], v[2]]));
        all
    }

    fn width(&self) -> usize {
        self.ffn_shift.len()
    }

    /// Numbers in the state of one stream: the row before, the heads' state, the row before the channel mix.
    fn state_len(&self) -> usize {
        2 * self.width() + self.heads.state_len()
    }

    /// Places of the two rows in it.
    fn places(&self) -> [(usize, usize); 2] {
        [(self.state_len(), 0), (self.state_len(), self.state_len() - self.width())]
    }

    fn lens(&self, rows: usize) -> [usize; BUFFERS] {
        let (d, a, hidden) = (self.width(), self.heads.width(), self.panels[FFN_KEY].outputs());
        let [w, rate, g] = [W1, A1, G1].map(|matrix| self.panels[matrix].outputs());
        // Without a value residual its buffers are empty.
        let (v, share) = self.panels.get(V1).map_or((0, 0), |panels| (panels.outputs(), a));
        let widths = [
            [d, d, d, d, d, d, d, d, a, a, a, w, w],
            [a, a, rate, a, a, v, share, share, a, g, g, a, a],
            [a, a, a, a, a, self.heads.count, a, d, d, d, d, hidden, hidden],
        ];
        let widths = widths.as_flattened();
        std::array::from_fn(|i| widths[i] * rows)
    }

    fn times(&self, x: &[f32], matrix: usize, y: &mut [f32]) {
        linear::linear(x, &self.panels[matrix], None, y);
    }

    /// κ̂, k, z and b of every row from the key and the rate.
    fn keys(&self, key: &[f32], a: &[f32], kk: &mut [f32], k: &mut [f32], z: &mut [f32], b: &mut [f32]) {
        let (width, size) = (self.heads.width(), self.heads.size);
        for start in (0..key.len()).step_by(size) {
            let own = start % width;
            let raw = |i: usize| key[start + i] * self.k_k[own + i];
            let length = (0..size).map(|i| raw(i) * raw(i)).sum::<f32>().sqrt().max(LEAST);
            for i in 0..size {
                let (place, value) = (start + i, raw(i) / length);
                kk[place] = value;
                k[place] = key[place] * (1.0 + (a[place] - 1.0) * self.k_a[own + i]);
                (z[place], b[place]) = (-value, value * a[place]);
            }
        }
    }

    /// A block: `h` goes through it in place. The first block writes `first_v`, the others read it.
    fn compute(
        &self,
        rows: Rows<'_>,
        state: &mut State,
        h: &mut [f32],
        first_v: &mut [f32],
        f: Buffers<&mut [f32]>,
        saved: &mut [f32],
    ) {
        let (d, width, size) = (self.width(), self.heads.width(), self.heads.size);
        let [place, ffn_place] = self.places();
        norm::group_norm(h, 1, EPSILON, &self.norm1[0], &self.norm1[1], f.n);
        streams::rows_before(f.n, d, rows.offsets, &state.floats, place, f.before);
        streams::keep_last(f.n, d, rows.offsets, &mut state.floats, place);
        let mixed = [&mut *f.x_r, &mut *f.x_w, &mut *f.x_k, &mut *f.x_v, &mut *f.x_a, &mut *f.x_g];
        mixed.into_iter().zip(self.shift.chunks_exact(d)).for_each(|(x, shift)| mix(f.n, f.before, shift, x));
        self.times(f.x_r, RECEPTANCE, f.r);
        self.times(f.x_k, KEY, f.key);
        self.times(f.x_v, VALUE, f.v_own);
        self.times(f.x_w, W1, f.w_in);
        activation::tanh(f.w_in, f.w_tanh);
        linear::linear(f.w_tanh, &self.panels[W2], Some(&self.w0), f.w_pre);
        activation::sigmoid(f.w_pre, f.log_w);
        f.log_w.iter_mut().for_each(|value| *value *= -FASTEST as f32);
        self.times(f.x_a, A1, f.a_in);
        linear::linear(f.a_in, &self.panels[A2], Some(&self.a0), f.a_pre);
        activation::sigmoid(f.a_pre, f.a);
        self.times(f.x_g, G1, f.g_in);
        activation::sigmoid(f.g_in, f.g_inner);
        self.times(f.g_inner, G2, f.g);
        f.v.copy_from_slice(f.v_own);
        if self.spans.v.is_some() {
            self.times(f.x_v, V1, f.v_in);
            linear::linear(f.v_in, &self.panels[V2], Some(&self.v0), f.v_pre);
            activation::sigmoid(f.v_pre, f.v_share);
            f.v.iter_mut().zip(first_v.iter().zip(&*f.v_share)).for_each(|(v, (first, share))| *v += (first - *v) * share);
        } else {
            first_v.copy_from_slice(f.v);
        }
        self.keys(f.key, f.a, f.kk, f.k, f.z, f.b);
        self.scan(rows, state, [f.r, f.log_w, f.k, f.v, f.z, f.b], f.y, saved);
        norm::group_norm(f.y, self.heads.count, HEAD_EPSILON, &self.ln_x[0], &self.ln_x[1], f.normal);
        for (head, bonus) in f.bonus.iter_mut().enumerate() {
            let (start, own) = (head * size, head * size % width);
            *bonus = (0..size).map(|i| f.r[start + i] * f.k[start + i] * self.r_k[own + i]).sum();
            for i in start..start + size {
                f.gated[i] = (*bonus * f.v[i] + f.normal[i]) * f.g[i];
            }
        }
        f.middle.copy_from_slice(h);
        linear::linear_add(f.gated, &self.panels[OUTPUT], f.middle);
        norm::group_norm(f.middle, 1, EPSILON, &self.norm2[0], &self.norm2[1], f.m);
        streams::rows_before(f.m, d, rows.offsets, &state.floats, ffn_place, f.ffn_before);
        streams::keep_last(f.m, d, rows.offsets, &mut state.floats, ffn_place);
        mix(f.m, f.ffn_before, &self.ffn_shift, f.ffn_x);
        self.times(f.ffn_x, FFN_KEY, f.ffn_pre);
        activation::relu_square(f.ffn_pre, f.ffn_square);
        h.copy_from_slice(f.middle);
        linear::linear_add(f.ffn_square, &self.panels[FFN_VALUE], h);
    }

    /// [`BlockEngine::compute`], and what it wrote.
    fn forward(&self, rows: Rows<'_>, state: &mut State, h: &mut [f32], first_v: &mut [f32]) -> (Buffer, Buffer) {
        let lens = self.lens(rows.count());
        let mut buffers = buffers::junk(lens.iter().sum());
        let mut saved = buffers::junk(Per::Stretch(self.heads.state_len()).len(rows.offsets));
        self.compute(rows, state, h, first_v, Buffers::new(carve_mut(&mut buffers, lens)), &mut saved);
        (buffers, saved)
    }

    fn scan(&self, rows: Rows<'_>, state: &mut State, inputs: [&[f32]; 6], y: &mut [f32], saved: &mut [f32]) {
        let (heads, d, len) = (self.heads, self.width(), self.heads.state_len());
        let kept = if saved.is_empty() { 0 } else { len };
        let row = Per::Row(heads.width());
        let outputs = [(y, row), (&mut state.floats[..], Per::Stream(self.state_len())), (saved, Per::Stretch(kept))];
        let inputs = inputs.map(|values| (values, row));
        streams::each(rows.offsets, heads.work(), inputs, outputs, &|range, inputs, [y, state, saved]| {
            heads.run(wkv(inputs, rows.gaps_of(range)), &mut state[d..d + len], y, saved);
        });
    }

    /// Whether the last ln w of every stream is one that the layer can give.
    fn is_sound(&self, state: &State) -> bool {
        let (d, len) = (self.width(), self.heads.state_len());
        let last = |state: &[f32]| state[d + len - self.heads.width()..d + len].iter().all(|log_w| (-0.61..=0.0).contains(log_w));
        state.floats.chunks_exact(self.state_len()).all(last)
    }

    /// `dh` is the gradient of what the block gave, then of what it got; `dfirst_v` that of the first block's v, added to by the
    /// others and used up by the first.
    fn backward(
        &self,
        rows: Rows<'_>,
        kept: &BlockKept,
        first_v: &[f32],
        dh: &mut [f32],
        dfirst_v: &mut [f32],
        gradient: &mut [f32],
    ) {
        let (d, heads, spans) = (self.width(), self.heads, &self.spans);
        let (width, size) = (heads.width(), heads.size);
        let transposed = self.transposed.as_ref().expect("prepared for training");
        let lens = self.lens(rows.count());
        let f = Buffers::new(carve(&kept.buffers, lens));
        let mut gradients = buffers::zeroed(kept.buffers.len());
        let g = Buffers::new(carve_mut(&mut gradients, lens));
        // The gradient of a product's matrix, and of its input.
        let through = |x: &[f32], dy: &[f32], matrix: usize, span: Weight, gradient: &mut [f32], dx: &mut [f32]| {
            linear::weight_gradient(x, dy, span.shape[0], span.shape[1], span.of_mut(gradient));
            linear::linear_add(dy, &transposed[matrix], dx);
        };
        through(f.ffn_square, dh, FFN_VALUE, spans.ffn_value, gradient, g.ffn_square);
        activation::relu_square_backward(f.ffn_pre, g.ffn_square, g.ffn_pre);
        through(f.ffn_x, g.ffn_pre, FFN_KEY, spans.ffn_key, gradient, g.ffn_x);
        let dshift = spans.ffn_shift.of_mut(gradient);
        mix_backward((f.m, f.ffn_before, &self.ffn_shift), g.ffn_x, g.m, g.ffn_before, dshift);
        streams::add_before(g.ffn_before, d, rows.offsets, g.m);
        norm_backward((f.middle, g.m), 1, EPSILON, &self.norm2[0], spans.norm2, dh, gradient);
        through(f.gated, dh, OUTPUT, spans.output, gradient, g.gated);
        let dr_k = spans.r_k.of_mut(gradient);
        for head in 0..f.bonus.len() {
            let (start, own, bonus) = (head * size, head * size % width, f.bonus[head]);
            let mut dbonus = 0.0;
            for i in start..start + size {
                g.g[i] = g.gated[i] * (bonus * f.v[i] + f.normal[i]);
                g.normal[i] = g.gated[i] * f.g[i];
                dbonus += g.normal[i] * f.v[i];
            }
            for i in 0..size {
                let (place, weight) = (start + i, self.r_k[own + i]);
                dr_k[own + i] += dbonus * f.r[place] * f.k[place];
                // What the state's scan gives is added below.
                g.r[place] = dbonus * f.k[place] * weight;
                g.k[place] = dbonus * f.r[place] * weight;
                g.v[place] = g.normal[place] * bonus;
            }
        }
        norm_backward((f.y, g.normal), heads.count, HEAD_EPSILON, &self.ln_x[0], spans.ln_x, g.y, gradient);
        self.scan_backward(rows, kept, &f, g.y, [&mut *g.r, g.log_w, &mut *g.k, &mut *g.v, g.z, g.b]);
        self.keys_backward(&f, [g.k, g.z, g.b], g.key, g.a, gradient);
        // v and its residual.
        match spans.v {
            None => g.v_own.iter_mut().zip(g.v.iter().zip(&*dfirst_v)).for_each(|(own, (dv, first))| *own = dv + first),
            Some([v0, v1, v2]) => {
                for i in 0..g.v.len() {
                    let (dv, share) = (g.v[i], f.v_share[i]);
                    g.v_own[i] = dv * (1.0 - share);
                    dfirst_v[i] += dv * share;
                    g.v_share[i] = dv * (first_v[i] - f.v_own[i]);
                }
                activation::sigmoid_backward(f.v_share, g.v_share, g.v_pre);
                linear::bias_gradient(g.v_pre, v0.of_mut(gradient));
                through(f.v_in, g.v_pre, V2, v2, gradient, g.v_in);
                through(f.x_v, g.v_in, V1, v1, gradient, g.x_v);
            }
        }
        through(f.g_inner, g.g, G2, spans.g[1], gradient, g.g_inner);
        activation::sigmoid_backward(f.g_inner, g.g_inner, g.g_in);
        through(f.x_g, g.g_in, G1, spans.g[0], gradient, g.x_g);
        activation::sigmoid_backward(f.a, g.a, g.a_pre);
        linear::bias_gradient(g.a_pre, spans.a[0].of_mut(gradient));
        through(f.a_in, g.a_pre, A2, spans.a[2], gradient, g.a_in);
        through(f.x_a, g.a_in, A1, spans.a[1], gradient, g.x_a);
        // ln w = −c·σ: its slope by what σ is of is ln w·(1 + ln w/c).
        for i in 0..g.w_pre.len() {
            g.w_pre[i] = g.log_w[i] * f.log_w[i] * (1.0 + f.log_w[i] / FASTEST as f32);
        }
        linear::bias_gradient(g.w_pre, spans.w[0].of_mut(gradient));
        through(f.w_tanh, g.w_pre, W2, spans.w[2], gradient, g.w_tanh);
        activation::tanh_backward(f.w_tanh, g.w_tanh, g.w_in);
        through(f.x_w, g.w_in, W1, spans.w[1], gradient, g.x_w);
        through(f.x_r, g.r, RECEPTANCE, spans.receptance, gradient, g.x_r);
        through(f.x_k, g.key, KEY, spans.key, gradient, g.x_k);
        through(f.x_v, g.v_own, VALUE, spans.value, gradient, g.x_v);
        let dshift = spans.shift.of_mut(gradient);
        for (q, dx) in [g.x_r, g.x_w, g.x_k, g.x_v, g.x_a, g.x_g].into_iter().enumerate() {
            let own = q * d..(q + 1) * d;
            mix_backward((f.n, f.before, &self.shift[own.clone()]), dx, g.n, g.before, &mut dshift[own]);
        }
        streams::add_before(g.before, d, rows.offsets, g.n);
        norm_backward((&kept.h, g.n), 1, EPSILON, &self.norm1[0], spans.norm1, dh, gradient);
    }

    /// Adds the scan's gradients to those of r, k and v, and gives those of ln w, z and b.
    fn scan_backward(&self, rows: Rows<'_>, kept: &BlockKept, f: &Buffers<&[f32]>, dy: &[f32], into: [&mut [f32]; 6]) {
        let (heads, len) = (self.heads, self.heads.state_len());
        let row = Per::Row(heads.width());
        let mut scratch = buffers::junk(heads.scratch_len() * rows.streams());
        let [dr, dlog_w, dk, dv, dz, db] = into;
        let mut own = buffers::junk(3 * dr.len());
        let [own_r, own_k, own_v] = carve_mut(&mut own, [dr.len(); 3]);
        let inputs = [
            (f.r, row),
            (f.log_w, row),
            (f.k, row),
            (f.v, row),
            (f.z, row),
            (f.b, row),
            (dy, row),
            (&kept.saved[..], Per::Stretch(len)),
        ];
        let outputs = [
            (&mut *own_r, row),
            (dlog_w, row),
            (&mut *own_k, row),
            (&mut *own_v, row),
            (dz, row),
            (db, row),
            (&mut scratch[..], Per::Stream(heads.scratch_len())),
        ];
        streams::each(rows.offsets, 4 * heads.work(), inputs, outputs, &|range, inputs, [r, log_w, k, v, z, b, scratch]| {
            let [inputs @ .., dy, saved] = inputs;
            heads.backward(wkv(inputs, rows.gaps_of(range)), saved, dy, WkvGradient { r, log_w, k, v, z, b }, scratch);
        });
        for (total, part) in [(dr, own_r), (dk, own_k), (dv, own_v)] {
            total.iter_mut().zip(&*part).for_each(|(total, part)| *total += part);
        }
    }

    /// From the gradients of k, z and b to those of the key and the rate, which are added to.
    fn keys_backward(
        &self,
        f: &Buffers<&[f32]>,
        [dk, dz, db]: [&[f32]; 3],
        dkey: &mut [f32],
        da: &mut [f32],
        gradient: &mut [f32],
    ) {
        let (width, size) = (self.heads.width(), self.heads.size);
        let (mut dk_k, mut dk_a) = (vec![0.0; width], vec![0.0; width]);
        for start in (0..dkey.len()).step_by(size) {
            let own = start % width;
            let raw = |i: usize| f.key[start + i] * self.k_k[own + i];
            let length = (0..size).map(|i| raw(i) * raw(i)).sum::<f32>().sqrt();
            let dkk = |i: usize| db[start + i] * f.a[start + i] - dz[start + i];
            let along: f32 = (0..size).map(|i| dkk(i) * f.kk[start + i]).sum();
            for i in 0..size {
                let (place, own) = (start + i, own + i);
                // A key shorter than the least length is divided by a constant.
                let draw = match length > LEAST {
                    true => (dkk(i) - f.kk[place] * along) / length,
                    false => dkk(i) / LEAST,
                };
                let (key, a) = (f.key[place], f.a[place]);
                dkey[place] += draw * self.k_k[own] + dk[place] * (1.0 + (a - 1.0) * self.k_a[own]);
                dk_k[own] += draw * key;
                dk_a[own] += dk[place] * key * (a - 1.0);
                da[place] += dk[place] * key * self.k_a[own] + db[place] * f.kk[place];
            }
        }
        streams::add_up(&dk_k, self.spans.k_k.of_mut(gradient));
        streams::add_up(&dk_a, self.spans.k_a.of_mut(gradient));
    }
}

fn wkv<'a>([r, log_w, k, v, z, b]: [&'a [f32]; 6], gaps: &'a [usize]) -> Wkv<'a> {
    Wkv { r, log_w, k, v, z, b, gaps }
}

/// Adds a norm's gradients to `dx` and to its gain and bias.
fn norm_backward(
    (x, dy): (&[f32], &[f32]),
    groups: usize,
    epsilon: f32,
    gain: &[f32],
    [gain_span, bias_span]: [Weight; 2],
    dx: &mut [f32],
    gradient: &mut [f32],
) {
    let (mut dgain, mut dbias) = (vec![0.0; gain.len()], vec![0.0; gain.len()]);
    norm::group_norm_backward(x, groups, epsilon, gain, dy, dx, &mut dgain, &mut dbias);
    streams::add_up(&dgain, gain_span.of_mut(gradient));
    streams::add_up(&dbias, bias_span.of_mut(gradient));
}

struct BlockKept {
    /// What the block got.
    h: Buffer,
    /// The state that it began with, where the rest is to be computed again.
    first: Option<State>,
    /// What [`BlockEngine::compute`] wrote.
    buffers: Buffer,
    saved: Buffer,
}

impl Engine for Rwkv7Engine {
    fn widths(&self) -> (usize, usize) {
        (self.width, self.width)
    }

    fn state(&self, streams: usize) -> State {
        State { children: self.blocks.iter().map(|block| State::zeros(streams, block.state_len())).collect(), ..State::default() }
    }

    fn scratch(&self, rows: usize, _: usize) -> Need {
        let blocks = self.blocks.iter().map(|block| block.lens(rows).iter().sum::<usize>());
        Need::floats(rows * self.blocks[0].heads.width() + blocks.max().unwrap_or(0))
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let first_v = scratch.floats(rows.count() * self.blocks[0].heads.width());
        y_nd.copy_from_slice(rows.x_nd);
        for (block, state) in self.blocks.iter().zip(&mut state.children) {
            let lens = block.lens(rows.count());
            let buffers = carve_mut(scratch.rest().floats(lens.iter().sum()), lens);
            block.compute(rows, state, y_nd, first_v, Buffers::new(buffers), &mut []);
        }
        y_nd.iter_mut().zip(rows.x_nd).for_each(|(y, x)| *y -= x);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], pass: &mut Pass) -> Result<Saved, ModelError> {
        let mut first_v = buffers::junk(rows.count() * self.blocks[0].heads.width());
        y_nd.copy_from_slice(rows.x_nd);
        let mut kept = Vec::with_capacity(self.blocks.len());
        for (block, state) in self.blocks.iter().zip(&mut state.children) {
            let first = pass.checkpointing.then(|| state.clone());
            let h = buffers::copied(y_nd);
            let (buffers, saved) = block.forward(rows, state, y_nd, &mut first_v);
            kept.push(match first {
                Some(_) => BlockKept { h, first, buffers: buffers::junk(0), saved: buffers::junk(0) },
                None => BlockKept { h, first, buffers, saved },
            });
        }
        y_nd.iter_mut().zip(rows.x_nd).for_each(|(y, x)| *y -= x);
        Ok(Box::new((kept, first_v)))
    }

    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_nd: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let (kept, mut first_v) = *saved.downcast::<(Vec<BlockKept>, Buffer)>().expect("saved by this layer");
        let mut dfirst_v = buffers::zeroed(first_v.len());
        dx_nd.copy_from_slice(dy_nd);
        for (block, mut kept) in self.blocks.iter().zip(kept).rev() {
            if let Some(mut first) = kept.first.take() {
                (kept.buffers, kept.saved) = block.forward(rows, &mut first, &mut buffers::copied(&kept.h), &mut first_v);
            }
            block.backward(rows, &kept, &first_v, dx_nd, &mut dfirst_v, gradient);
        }
        // y = h − x.
        dx_nd.iter_mut().zip(dy_nd).for_each(|(dx, dy)| *dx -= dy);
    }

    fn checkpoints(&self) -> bool {
        true
    }

    fn is_sound(&self, state: &State) -> bool {
        self.blocks.iter().zip(&state.children).all(|(block, state)| block.is_sound(state))
    }
}
