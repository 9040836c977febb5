//! What a layer is: a map from sequences to sequences, with one state per stream.
//!
//! [`Rows`] are packed samples; segment `s` is rows `offsets[s]..offsets[s + 1]` and belongs to stream `s`. Padding does not
//! exist: what is missing is not in the rows, at most counted in `gaps`. Many streams, ragged windows and the compacted samples
//! of one expert are all the same thing.

use crate::{
    ModelError,
    error::key,
    plain::{PlainPass, PlainState, Sample},
    trace::{Replay, Trace},
    weights::Layout,
};
use serde::{Deserialize, Serialize};
use std::any::Any;

/// A layer as a run's TOML names it: a `type` and that type's own options.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LayerConfig {
    /// Name in the [`Registry`].
    #[serde(rename = "type")]
    pub kind: String,
    /// The options of that kind; unknown ones are errors.
    #[serde(flatten)]
    pub options: toml::Table,
}

impl LayerConfig {
    /// A layer of this kind with every option at its default.
    pub fn new(kind: &str) -> Self {
        Self { kind: kind.into(), options: toml::Table::new() }
    }

    /// The same with one option set.
    pub fn with(mut self, option: &str, value: impl Into<toml::Value>) -> Self {
        self.options.insert(option.into(), value.into());
        self
    }

    /// Reads the options into the kind's own type.
    ///
    /// # Errors
    /// An unknown option, or a value of another type, by its name.
    pub fn read<T: for<'de> Deserialize<'de>>(&self) -> Result<T, ModelError> {
        let text = self.options.to_string();
        toml::from_str(&text).map_err(|error| {
            let key = error.span().and_then(|span| key(&text[..span.start]));
            let key = key.map_or(String::new(), |key| format!(", `{key}`"));
            ModelError::syntax(format!("{}{key}: {}", self.kind, error.message()))
        })
    }
}

/// Builds a layer of one kind from `input` to `output` values a sample.
pub type Build = fn(&Registry, &LayerConfig, usize, usize, &mut Layout) -> Result<Box<dyn Layer>, ModelError>;

/// A kind of layer: its name and how it is built. One line each in [`Registry::default`].
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// The word in the TOML.
    pub name: &'static str,
    /// The constructor.
    pub build: Build,
    /// Options in TOML that between them use every option of the kind: what the contract suite runs.
    pub examples: &'static [&'static str],
}

/// The kinds of layers that a model can be built from.
#[derive(Clone, Debug)]
pub struct Registry {
    kinds: Vec<Kind>,
}

impl Default for Registry {
    fn default() -> Self {
        Self {
            kinds: vec![
                crate::s4d::KIND,
                crate::swiglu::KIND,
                crate::linear::KIND,
                crate::gru::KIND,
                crate::lstm::KIND,
                crate::mamba::KIND,
                crate::mamba2::KIND,
                crate::s5::KIND,
                crate::attention::KIND,
                crate::rwkv7::KIND,
                crate::mixture::KIND,
                crate::stack::KIND,
                crate::projected::KIND,
            ],
        }
    }
}

impl Registry {
    /// The registered kinds.
    pub fn kinds(&self) -> &[Kind] {
        &self.kinds
    }

    /// The same with one kind more.
    pub fn with(mut self, kind: Kind) -> Self {
        self.kinds.push(kind);
        self
    }

    /// Builds a layer from `input` to `output` values a sample.
    ///
    /// # Errors
    /// A kind that is not registered, or an option that cannot be.
    pub fn build(
        &self,
        config: &LayerConfig,
        input: usize,
        output: usize,
        layout: &mut Layout,
    ) -> Result<Box<dyn Layer>, ModelError> {
        let kind = self.kinds.iter().find(|kind| kind.name == config.kind).ok_or_else(|| {
            let names: Vec<_> = self.kinds.iter().map(|kind| kind.name).collect();
            ModelError::config("type", format!("one of {}", names.join(", ")), format!("`{}`", config.kind))
        })?;
        crate::weights::positive("input width", input)?;
        crate::weights::positive("output width", output)?;
        (kind.build)(self, config, input, output, layout)
    }
}

/// Packed samples of several streams.
#[derive(Clone, Copy, Debug)]
pub struct Rows<'a> {
    /// `[row][width]`.
    pub x_nd: &'a [f32],
    /// Segment `s` is rows `offsets[s]..offsets[s + 1]`.
    pub offsets: &'a [usize],
    /// Samples of its stream, before each row, that were not given to this layer and count as time all the same; empty: none.
    pub gaps: &'a [usize],
    /// What the model itself was shown at each row, `[row][any]`; empty inside an expert and without a model around.
    pub context_nc: &'a [f32],
}

impl<'a> Rows<'a> {
    /// Rows without gaps and context.
    pub fn new(x_nd: &'a [f32], offsets: &'a [usize]) -> Self {
        Self { x_nd, offsets, gaps: &[], context_nc: &[] }
    }

    /// The same rows with other values.
    pub fn with(self, x_nd: &'a [f32]) -> Self {
        Self { x_nd, ..self }
    }

    /// Number of rows.
    pub fn count(&self) -> usize {
        self.offsets[self.offsets.len() - 1]
    }

    /// Number of streams.
    pub fn streams(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Gaps of some rows, for a kernel: empty if there are none.
    pub fn gaps_of(&self, rows: std::ops::Range<usize>) -> &'a [usize] {
        foretoken_kernels::streams::gaps_of(self.gaps, rows)
    }

    /// Samples missed before a row.
    pub fn gap(&self, row: usize) -> usize {
        self.gaps.get(row).copied().unwrap_or(0)
    }
}

/// A layer: where its weights lie in the arena.
pub trait Layer: std::fmt::Debug + Send + Sync {
    /// Packs the weights of `arena` for use. `train` also prepares what [`Engine::backward`] needs.
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine>;

    /// Weights that one sample touches; less than all where experts are chosen.
    fn active_parameters(&self) -> usize;

    /// Whether the layer knows what to do in a gap: a mixture with the clock `elapsed` refuses experts that do not.
    fn can_elapse(&self) -> bool {
        false
    }

    /// Scales the steps in `arena` so that a sample stands for `factor` times the time it stood for in training.
    ///
    /// # Errors
    /// A layer that counts samples instead of time.
    fn resample(&self, _arena: &mut [f32], _factor: f32) -> Result<(), ModelError> {
        Err(ModelError::config("type", "a layer with a step to scale (s4d, s5) or without a state, for another rate", "another"))
    }

    /// An empty state of the plain step.
    fn plain_state(&self) -> PlainState;

    /// The definition: one sample in `f64`.
    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64>;

    /// The definition of the auxiliary losses of a pass: those of the mixtures inside.
    fn plain_auxiliary(&self, _pass: &PlainPass) -> f64 {
        0.0
    }
}

/// A layer with its weights packed. `run` and `forward` give the same bits.
pub trait Engine: Send + Sync {
    /// Values a sample, in and out.
    fn widths(&self) -> (usize, usize);

    /// An empty state for this many streams.
    fn state(&self, streams: usize) -> State;

    /// Scratch that `run` takes for at most `rows` rows of `streams` streams.
    fn scratch(&self, rows: usize, streams: usize) -> Need;

    /// Inference: any number of samples of any number of streams; a step is a run of one. Allocates nothing for small calls.
    ///
    /// # Errors
    /// A router's score, or what a layer computed, that is not finite; the state is neither before nor after then.
    fn run(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError>;

    /// Training: the same values, and what [`Engine::backward`] needs of them. A pass may start from any state; gradients do not reach
    /// into it.
    ///
    /// # Errors
    /// As [`Engine::run`], with the place by name.
    fn forward(&self, rows: Rows<'_>, state: &mut State, y_nd: &mut [f32], pass: &mut Pass) -> Result<Saved, ModelError>;

    /// Gradients: `dx_nd` is overwritten; the weights' are added to `gradient`, an arena of the layout's length.
    fn backward(&self, rows: Rows<'_>, saved: Saved, dy_nd: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], pass: &BackwardPass);

    /// Whether [`Pass::checkpointing`] is this layer's own concern: it then keeps little, and whoever holds it need not run it again.
    fn checkpoints(&self) -> bool {
        false
    }

    /// Whether a state of the right shape, from outside, could be one of this layer's.
    fn is_sound(&self, _state: &State) -> bool {
        true
    }

    /// The mixtures in this layer, outermost first, in a fixed order.
    fn mixtures(&self) -> Vec<&crate::mixture::MixtureEngine> {
        Vec::new()
    }
}

/// What `forward` keeps for `backward`; each layer knows its own.
pub type Saved = Box<dyn Any + Send>;

/// The state of a layer for several streams: its own numbers and its children's.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Own numbers `[stream][len]`.
    pub floats: Vec<f32>,
    /// Own counts `[stream][len]`: clocks and choices. Absent in old snapshots, whose version is then refused.
    #[serde(default)]
    pub counters: Vec<u64>,
    /// States of the layers inside.
    pub children: Vec<State>,
}

impl State {
    /// `len` zeros for each stream.
    pub fn zeros(streams: usize, len: usize) -> Self {
        Self { floats: vec![0.0; streams * len], ..Self::default() }
    }

    /// The streams of both, one after the other: `other`'s states follow.
    pub fn extend(&mut self, other: &Self) {
        self.floats.extend_from_slice(&other.floats);
        self.counters.extend_from_slice(&other.counters);
        if self.children.is_empty() {
            self.children.clone_from(&other.children);
        } else {
            self.children.iter_mut().zip(&other.children).for_each(|(own, other)| own.extend(other));
        }
    }

    /// Bytes of its numbers.
    pub fn bytes(&self) -> usize {
        4 * self.floats.len() + 8 * self.counters.len() + self.children.iter().map(Self::bytes).sum::<usize>()
    }

    /// Forgets everything.
    pub fn reset(&mut self) {
        self.floats.fill(0.0);
        self.counters.fill(0);
        self.children.iter_mut().for_each(State::reset);
    }

    /// Whether both have the same shape, children included.
    pub fn same_shape(&self, other: &Self) -> bool {
        self.floats.len() == other.floats.len()
            && self.counters.len() == other.counters.len()
            && self.children.len() == other.children.len()
            && self.children.iter().zip(&other.children).all(|(a, b)| a.same_shape(b))
    }

    /// Whether the layer remembers anything of the signal. (A mixture's clocks and last choices are not of the signal.)
    pub fn is_empty(&self) -> bool {
        self.floats.is_empty() && self.children.iter().all(State::is_empty)
    }

    /// Whether every number is finite.
    pub fn is_finite(&self) -> bool {
        self.floats.iter().all(|value| value.is_finite()) && self.children.iter().all(State::is_finite)
    }
}

/// How much scratch a call needs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// `f32` values.
    pub floats: usize,
    /// `u32` values.
    pub choices: usize,
    /// Row offsets.
    pub offsets: usize,
}

impl Need {
    /// Room for both at once.
    pub fn plus(self, other: Self) -> Self {
        Self { floats: self.floats + other.floats, choices: self.choices + other.choices, offsets: self.offsets + other.offsets }
    }

    /// Room for either, one after the other.
    pub fn or(self, other: Self) -> Self {
        Self {
            floats: self.floats.max(other.floats),
            choices: self.choices.max(other.choices),
            offsets: self.offsets.max(other.offsets),
        }
    }

    /// `floats` only.
    pub fn floats(floats: usize) -> Self {
        Self { floats, ..Self::default() }
    }
}

/// Owned scratch memory; its content means nothing between calls.
#[derive(Debug, Default)]
pub struct Workspace {
    floats: Vec<f32>,
    choices: Vec<u32>,
    offsets: Vec<usize>,
}

impl Workspace {
    /// Grows to `need`; what is new starts as junk on purpose.
    pub fn reserve(&mut self, need: Need) {
        if self.floats.len() < need.floats {
            self.floats.resize(need.floats, f32::NAN);
        }
        if self.choices.len() < need.choices {
            self.choices.resize(need.choices, u32::MAX);
        }
        if self.offsets.len() < need.offsets {
            self.offsets.resize(need.offsets, usize::MAX);
        }
    }

    /// A view to take scratch from.
    pub fn scratch(&mut self) -> Scratch<'_> {
        Scratch {
            floats: &mut self.floats,
            choices: &mut self.choices,
            offsets: &mut self.offsets,
            trace: None,
            replay: None,
            count: true,
        }
    }
}

/// Scratch handed down a call: take from the front, lend the rest.
#[derive(Debug)]
pub struct Scratch<'a> {
    floats: &'a mut [f32],
    choices: &'a mut [u32],
    offsets: &'a mut [usize],
    /// Where mixtures note their choices, if somebody wants to see them.
    pub trace: Option<&'a mut Trace>,
    /// Choices that mixtures are to make, if somebody forces them.
    pub replay: Option<&'a mut Replay>,
    /// Whether mixtures count what they do in their live statistics.
    pub count: bool,
}

impl<'a> Scratch<'a> {
    /// Takes `len` floats, junk inside.
    pub fn floats(&mut self, len: usize) -> &'a mut [f32] {
        take(&mut self.floats, len)
    }

    /// Takes `len` choices, junk inside.
    pub fn choices(&mut self, len: usize) -> &'a mut [u32] {
        take(&mut self.choices, len)
    }

    /// Takes `len` offsets, junk inside.
    pub fn offsets(&mut self, len: usize) -> &'a mut [usize] {
        take(&mut self.offsets, len)
    }

    /// Lends what is left to a callee; it comes back when the callee is done.
    pub fn rest(&mut self) -> Scratch<'_> {
        Scratch {
            floats: self.floats,
            choices: self.choices,
            offsets: self.offsets,
            trace: self.trace.as_deref_mut(),
            replay: self.replay.as_deref_mut(),
            count: self.count,
        }
    }
}

fn take<'a, T>(from: &mut &'a mut [T], len: usize) -> &'a mut [T] {
    let (taken, rest) = std::mem::take(from).split_at_mut(len);
    *from = rest;
    taken
}

/// One training pass: where its random draws come from, and what it collects besides the outputs.
#[derive(Debug, Clone)]
pub struct Pass {
    /// Seed of the run.
    pub seed: u64,
    /// Step of the optimiser; with the seed and a mixture's place it fixes every draw.
    pub step: u64,
    /// Draws noise, drops experts and counts usage; off, `forward` computes what `run` does.
    pub training: bool,
    /// Whether mixtures count what they do in their statistics of training.
    pub count: bool,
    /// Keep only what each block of a stack got and its state, and compute the rest again in backward: the same bits in less memory and more time.
    pub checkpointing: bool,
    /// Sum of the auxiliary losses, each with its coefficient.
    pub auxiliary: f32,
    /// Changes of weights that are not the gradient's: to be added after the optimiser's step.
    pub nudges: Vec<Nudge>,
    /// Choices that mixtures are to make, if somebody forces them.
    pub replay: Option<Replay>,
}

/// A change of some weights outside the gradient, such as a selection bias.
#[derive(Debug, Clone, PartialEq)]
pub struct Nudge {
    /// Where in the arena.
    pub start: usize,
    /// What to add.
    pub by: Vec<f32>,
}

impl Nudge {
    /// Adds it.
    pub fn apply(&self, arena: &mut [f32]) {
        arena[self.start..][..self.by.len()].iter_mut().zip(&self.by).for_each(|(weight, by)| *weight += by);
    }
}

/// An error that names `place`, if a value is NaN or infinite.
///
/// # Errors
/// The place, where one is.
pub fn all_finite(place: &str, values: &[f32]) -> Result<(), ModelError> {
    // By pieces, so that the compiler can look at many values at once.
    let finite = |values: &[f32]| values.iter().fold(true, |finite, value| finite & value.is_finite());
    match values.chunks(1024).all(finite) {
        true => Ok(()),
        false => Err(ModelError::NotFinite { place: place.into() }),
    }
}

impl Pass {
    /// A pass of training.
    pub fn training(seed: u64, step: u64) -> Self {
        Self { seed, step, training: true, ..Self::quiet() }
    }

    /// The same with [`Pass::checkpointing`].
    pub fn with_checkpointing(self, checkpointing: bool) -> Self {
        Self { checkpointing, ..self }
    }

    /// This pass once more, for what was not kept: the same draws and choices, nothing counted, and what it collects is for nobody.
    pub(crate) fn again(&self) -> Self {
        Self { count: false, checkpointing: false, auxiliary: 0.0, nudges: Vec::new(), replay: self.replay.clone(), ..*self }
    }

    /// A pass without noise and dropout.
    pub fn quiet() -> Self {
        Self {
            seed: 0,
            step: 0,
            training: false,
            count: true,
            checkpointing: false,
            auxiliary: 0.0,
            nudges: Vec::new(),
            replay: None,
        }
    }
}

/// What backward needs to know of the loss.
#[derive(Clone, Copy, Debug)]
pub struct BackwardPass {
    /// Gradient of the total loss with respect to [`Pass::auxiliary`].
    pub auxiliary: f32,
}
