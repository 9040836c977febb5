//! Weights: one flat arena of `f32`, and a layout that names, shapes and initialises its spans.
//!
//! A layer asks the [`Layout`] for its weights once and keeps [`Weight`] spans. Whoever owns an arena of that length (fresh
//! values, a loaded file, a burn parameter, a gradient) can be read through the same spans.

use crate::ModelError;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};
use std::ops::Range;

/// How a fresh weight starts.
#[derive(Clone, Debug)]
pub enum Init {
    /// Every value the same.
    Constant(f32),
    /// Uniform on `[-bound, bound]`.
    Uniform(f32),
    /// Normal with this standard deviation.
    Normal(f32),
    /// Natural logarithm of a log-uniform draw from `[low, high]`.
    LogUniform(f32, f32),
    /// Natural logarithm of a uniform draw from `[low, high]`.
    LogOfUniform(f32, f32),
    /// What softplus turns into a log-uniform draw from `[low, high]`.
    InverseSoftplus(f32, f32),
    /// These values, over and over: a row for every row, or the whole matrix.
    Row(Vec<f32>),
    /// A row of so many values that this function gives, over and over.
    Made(fn(usize) -> Vec<f32>, usize),
    /// A matrix `[rows][inner]` that the function gives for this number, times `inner` rows of normal draws with this deviation.
    Mixed(fn(usize) -> Vec<f32>, usize, f32),
}

/// A span of the arena: a matrix `[rows, columns]`, row-major.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    start: usize,
    /// Rows and columns.
    pub shape: [usize; 2],
}

impl Weight {
    /// Where the span lies.
    pub fn range(&self) -> Range<usize> {
        self.start..self.start + self.shape[0] * self.shape[1]
    }

    /// The values in `arena`.
    pub fn of<'a>(&self, arena: &'a [f32]) -> &'a [f32] {
        &arena[self.range()]
    }

    /// The values in `arena`, to be written.
    pub fn of_mut<'a>(&self, arena: &'a mut [f32]) -> &'a mut [f32] {
        &mut arena[self.range()]
    }
}

/// One named weight.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Path of the weight, such as `blocks.0.layer.gate`.
    pub name: String,
    /// Its span.
    pub weight: Weight,
    /// How it starts.
    pub init: Init,
    /// Whether weight decay applies: matrices, but never state-space parameters, norms or biases.
    pub decay: bool,
}

/// Names, shapes and initial values of every weight of a model.
#[derive(Clone, Debug, Default)]
pub struct Layout {
    specs: Vec<Spec>,
    prefix: Vec<String>,
    len: usize,
    mixtures: usize,
    context: usize,
}

impl Layout {
    fn add(&mut self, name: &str, shape: [usize; 2], init: Init, decay: bool) -> Weight {
        let weight = Weight { start: self.len, shape };
        self.len = weight.range().end;
        let name = self.prefix.iter().map(String::as_str).chain([name]).collect::<Vec<_>>().join(".");
        self.specs.push(Spec { name, weight, init, decay });
        weight
    }

    /// A matrix that weight decay applies to, mapping `shape[0]` inputs to `shape[1]` outputs.
    pub fn matrix(&mut self, name: &str, shape: [usize; 2], init: Init) -> Weight {
        self.add(name, shape, init, true)
    }

    /// A weight without decay: state-space parameters, gains, biases.
    pub fn free(&mut self, name: &str, shape: [usize; 2], init: Init) -> Weight {
        self.add(name, shape, init, false)
    }

    /// Everything built inside gets names under `name`.
    pub fn scope<T>(&mut self, name: &str, build: impl FnOnce(&mut Self) -> T) -> T {
        self.prefix.push(name.into());
        let built = build(self);
        self.prefix.pop();
        built
    }

    /// Values that the model is shown at each sample, where layers can see them; 0 where they cannot.
    pub fn context(&self) -> usize {
        self.context
    }

    /// Everything built inside sees `context` values a sample.
    pub fn with_context<T>(&mut self, context: usize, build: impl FnOnce(&mut Self) -> T) -> T {
        let outside = std::mem::replace(&mut self.context, context);
        let built = build(self);
        self.context = outside;
        built
    }

    /// A number for one more mixture.
    pub fn next_mixture(&mut self) -> usize {
        self.mixtures += 1;
        self.mixtures - 1
    }

    /// Every weight in the order of the arena.
    pub fn specs(&self) -> &[Spec] {
        &self.specs
    }

    /// Length of an arena.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are no weights at all.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fresh values. The same seed gives the same arena.
    pub fn initialise(&self, seed: u64) -> Vec<f32> {
        let mut arena = vec![0.0; self.len];
        for (index, spec) in self.specs.iter().enumerate() {
            let mut rng = ChaCha8Rng::seed_from_u64(seed);
            rng.set_stream(index as u64);
            if let Init::Mixed(basis, size, deviation) = &spec.init {
                let ([rows, columns], basis) = (spec.weight.shape, basis(*size));
                let draws: Vec<f32> = (0..basis.len() / rows * columns).map(|_| normal(&mut rng, *deviation)).collect();
                let mixed = foretoken_kernels::plain::multiply::<f32>;
                for (row, basis) in
                    spec.weight.of_mut(&mut arena).chunks_exact_mut(columns).zip(basis.chunks_exact(basis.len() / rows))
                {
                    row.copy_from_slice(&mixed(basis, &draws, columns));
                }
                continue;
            }
            let row = match &spec.init {
                Init::Row(values) => values.clone(),
                Init::Made(values, size) => values(*size),
                _ => Vec::new(),
            };
            for (place, value) in spec.weight.of_mut(&mut arena).iter_mut().enumerate() {
                *value = match &spec.init {
                    Init::Constant(value) => *value,
                    Init::Uniform(bound) => rng.random_range(-bound..=*bound),
                    Init::Normal(deviation) => normal(&mut rng, *deviation),
                    Init::LogUniform(low, high) => rng.random_range(low.ln()..=high.ln()),
                    Init::LogOfUniform(low, high) => rng.random_range(*low..=*high).ln(),
                    Init::InverseSoftplus(low, high) => {
                        let step = rng.random_range(low.ln()..=high.ln()).exp();
                        step + (-(-step).exp_m1()).ln()
                    }
                    Init::Row(_) | Init::Made(..) => row[place % row.len()],
                    Init::Mixed(..) => unreachable!("filled above"),
                };
            }
        }
        arena
    }

    /// Collects an arena from named tensors; every weight must be there with its shape, and nothing else.
    ///
    /// # Errors
    /// The first tensor that is missing, of another shape or not finite, or how many there are too many.
    pub fn collect<'a>(
        &self,
        count: usize,
        mut find: impl FnMut(&str) -> Option<([usize; 2], &'a [u8])>,
    ) -> Result<Vec<f32>, String> {
        let mut arena = vec![0.0; self.len];
        for spec in &self.specs {
            let (shape, bytes) = find(&spec.name)
                .ok_or_else(|| format!("tensor `{}`: expected {:?}, found none", spec.name, spec.weight.shape))?;
            if shape != spec.weight.shape {
                return Err(format!("tensor `{}`: expected shape {:?}, found {shape:?}", spec.name, spec.weight.shape));
            }
            for (value, bytes) in spec.weight.of_mut(&mut arena).iter_mut().zip(bytes.chunks_exact(4)) {
                *value = f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
                if !value.is_finite() {
                    return Err(format!("tensor `{}`: expected finite values, found {value}", spec.name));
                }
            }
        }
        if count != self.specs.len() {
            return Err(format!("expected {} network tensors, found {count}", self.specs.len()));
        }
        Ok(arena)
    }
}

fn normal(rng: &mut ChaCha8Rng, deviation: f32) -> f32 {
    let draw: f32 = StandardNormal.sample(rng);
    deviation * draw
}

/// `1/√inputs`, the usual bound of a matrix that keeps the variance of its input.
pub fn fan_in(inputs: usize) -> Init {
    Init::Uniform((3.0 / inputs as f32).sqrt())
}

/// The largest width or count: far beyond any model, and products of three do not overflow.
const LARGEST: usize = 1 << 20;

/// Checks a width or a count that must be positive.
///
/// # Errors
/// Zero, or more than a million.
pub fn positive(field: &str, value: usize) -> Result<usize, ModelError> {
    match value {
        0 => Err(ModelError::config(field, "at least 1", 0)),
        1..=LARGEST => Ok(value),
        _ => Err(ModelError::config(field, format!("at most {LARGEST}"), value)),
    }
}
