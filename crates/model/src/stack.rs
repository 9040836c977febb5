//! A stack of residual blocks with the norm in front (Zhang & Sennrich 2019, arXiv:1910.07467).
//!
//! ```text
//! x ← x + layer(x / rms(x) ⊙ gain)      for every block
//! ```
//! A stack keeps its width; it can itself be an expert of a mixture.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State, all_finite},
    mixture::MixtureEngine,
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight},
};
use foretoken_kernels::{
    buffers::{self, Buffer},
    norm,
};
use serde::{Deserialize, Serialize};

/// `type = "stack"`.
pub const KIND: Kind = Kind {
    name: "stack",
    build,
    examples: &[
        "layers = [{ type = 's4d', states = 4 }, { type = 'swiglu', hidden = 9 }]",
        "layers = [{ type = 's4d', states = 4 }, { type = 'mixture', num_experts = 3 }, { type = 'mixture', num_experts = 2, top_k = 1 }]",
    ],
};

/// Options of a stack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StackConfig {
    /// The layers, first to last.
    pub layers: Vec<LayerConfig>,
}

#[derive(Debug)]
struct Stack {
    width: usize,
    blocks: Vec<Block>,
}

#[derive(Debug)]
struct Block {
    /// Its path and its layer's kind, for errors.
    place: String,
    gain_d: Weight,
    layer: Box<dyn Layer>,
}

fn build(
    registry: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: StackConfig = config.read()?;
    if input != output {
        return Err(ModelError::config("stack", format!("equal widths in and out ({input})"), output));
    }
    if options.layers.is_empty() {
        return Err(ModelError::config("layers", "at least one layer", "none"));
    }
    let block = |(index, config): (usize, &LayerConfig)| {
        let name = format!("blocks.{index}");
        layout.scope(&name, |layout| {
            let gain_d = layout.free("gain", [1, input], Init::Constant(1.0));
            let layer = layout.scope("layer", |layout| registry.build(config, input, input, layout));
            Ok(Block {
                place: format!("{name}.layer ({})", config.kind),
                gain_d,
                layer: layer.map_err(|error| error.under(&format!("layers.{index}")))?,
            })
        })
    };
    let blocks = options.layers.iter().enumerate().map(block).collect::<Result<_, ModelError>>()?;
    Ok(Box::new(Stack { width: input, blocks }))
}

impl Layer for Stack {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let block = |block: &Block| BlockEngine {
            place: block.place.clone(),
            span: block.gain_d,
            gain_d: block.gain_d.of(arena).to_vec(),
            layer: block.layer.prepare(arena, train),
        };
        Box::new(StackEngine { width: self.width, blocks: self.blocks.iter().map(block).collect() })
    }

    fn active_parameters(&self) -> usize {
        self.blocks.iter().map(|block| block.gain_d.range().len() + block.layer.active_parameters()).sum()
    }

    fn plain_state(&self) -> PlainState {
        PlainState { children: self.blocks.iter().map(|block| block.layer.plain_state()).collect(), ..PlainState::default() }
    }

    fn resample(&self, arena: &mut [f32], factor: f32) -> Result<(), ModelError> {
        let each = |(index, block): (usize, &Block)| {
            block.layer.resample(arena, factor).map_err(|error| error.under(&format!("layers.{index}")))
        };
        self.blocks.iter().enumerate().try_for_each(each)
    }

    fn can_elapse(&self) -> bool {
        self.blocks.iter().all(|block| block.layer.can_elapse())
    }

    fn plain_auxiliary(&self, pass: &PlainPass) -> f64 {
        self.blocks.iter().map(|block| block.layer.plain_auxiliary(pass)).sum()
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64> {
        let mut x = sample.x.to_vec();
        for (block, state) in self.blocks.iter().zip(&mut state.children) {
            let h = plain::rms_norm(&x, &arena[block.gain_d.range()]);
            let y = block.layer.plain_step(arena, sample.with(&h), state, pass);
            x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
        }
        x
    }
}

struct StackEngine {
    width: usize,
    blocks: Vec<BlockEngine>,
}

struct BlockEngine {
    place: String,
    span: Weight,
    gain_d: Vec<f32>,
    layer: Box<dyn Engine>,
}

struct Kept {
    x_nd: Buffer,
    layer: Layered,
}

/// What backward needs of a block's layer.
enum Layered {
    Saved(Saved),
    /// The state it began with and its pass, to go forward once more.
    Again(State, Pass),
}

fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}

impl Engine for StackEngine {
    fn widths(&self) -> (usize, usize) {
        (self.width, self.width)
    }

    fn state(&self, streams: usize) -> State {
        State { children: self.blocks.iter().map(|block| block.layer.state(streams)).collect(), ..State::default() }
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        let layers = self.blocks.iter().fold(Need::default(), |need, block| need.or(block.layer.scratch(rows, streams)));
        layers.plus(Need::floats(2 * rows * self.width))
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let x_nd = rows.x_nd;
        let (h_nd, out_nd) = (scratch.floats(x_nd.len()), scratch.floats(x_nd.len()));
        y_nd.copy_from_slice(x_nd);
        for (block, state) in self.blocks.iter().zip(&mut state.children) {
            norm::rms_norm(y_nd, &block.gain_d, h_nd);
            block.layer.run(rows.with(h_nd), state, out_nd, &mut scratch.rest())?;
            add(y_nd, out_nd);
        }
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], pass: &mut Pass) -> Result<Saved, ModelError> {
        let x_nd = rows.x_nd;
        let (mut h_nd, mut out_nd) = (buffers::junk(x_nd.len()), buffers::junk(x_nd.len()));
        let mut kept = Vec::with_capacity(self.blocks.len());
        y_nd.copy_from_slice(x_nd);
        for (block, state) in self.blocks.iter().zip(&mut state.children) {
            norm::rms_norm(y_nd, &block.gain_d, &mut h_nd);
            let layer = if pass.checkpointing && !block.layer.checkpoints() {
                let again = Layered::Again(state.clone(), pass.again());
                pass.checkpointing = false;
                let done = block.layer.forward(rows.with(&h_nd), state, &mut out_nd, pass);
                pass.checkpointing = true;
                done.map(|_| again)
            } else {
                block.layer.forward(rows.with(&h_nd), state, &mut out_nd, pass).map(Layered::Saved)
            };
            let layer = layer.map_err(|error| error.under(&block.place))?;
            all_finite(&block.place, &out_nd)?;
            kept.push(Kept { x_nd: buffers::copied(y_nd), layer });
            add(y_nd, &out_nd);
        }
        Ok(Box::new(kept))
    }

    fn backward(
        &self,
        rows: Rows<'_>,
        saved: Saved,
        dy_nd: &[f32],
        dx_nd: &mut [f32],
        gradient: &mut [f32],
        pass: &BackwardPass,
    ) {
        let kept = saved.downcast::<Vec<Kept>>().expect("saved by this layer");
        let (mut h_nd, mut dh_nd) = (buffers::junk(dx_nd.len()), buffers::junk(dx_nd.len()));
        dx_nd.copy_from_slice(dy_nd);
        for (block, kept) in self.blocks.iter().zip(*kept).rev() {
            norm::rms_norm(&kept.x_nd, &block.gain_d, &mut h_nd);
            let saved = match kept.layer {
                Layered::Saved(saved) => saved,
                // What it gives is known already.
                Layered::Again(mut state, mut own) => {
                    let again = block.layer.forward(rows.with(&h_nd), &mut state, &mut dh_nd, &mut own);
                    again.expect("what was computed once can be computed again")
                }
            };
            block.layer.backward(rows.with(&h_nd), saved, dx_nd, &mut dh_nd, gradient, pass);
            norm::rms_norm_backward(&kept.x_nd, &block.gain_d, &dh_nd, dx_nd, block.span.of_mut(gradient));
        }
    }

    fn checkpoints(&self) -> bool {
        true
    }

    fn is_sound(&self, state: &State) -> bool {
        self.blocks.iter().zip(&state.children).all(|(block, state)| block.layer.is_sound(state))
    }

    fn mixtures(&self) -> Vec<&MixtureEngine> {
        self.blocks.iter().flat_map(|block| block.layer.mixtures()).collect()
    }
}
