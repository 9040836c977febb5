//! Every registered kind of layer with every one of its examples, at several widths, and the ways to run it.

use foretoken_model::{
    LayerConfig, Registry,
    layer::{Engine, Kind, Layer, Rows, State, Workspace},
    plain::{PlainPass, Sample},
    trace::Trace,
    weights::Layout,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Widths in and out: small, uneven, and large enough for work to be split over threads.
const WIDTHS: [(usize, usize); 3] = [(6, 6), (7, 19), (32, 32)];

/// What the model around a layer is shown at each sample: a function of the row, so that it is the same in every way of running.
const CONTEXT: usize = 4;

/// The layers of the product and one that a stranger added.
pub fn registry() -> Registry {
    Registry::default().with(crate::leaky::KIND)
}

/// One layer, built.
pub struct Case {
    pub name: String,
    pub layout: Layout,
    pub layer: Box<dyn Layer>,
    pub arena: Vec<f32>,
    pub engine: Box<dyn Engine>,
    pub widths: (usize, usize),
}

fn config(kind: &Kind, example: &str) -> LayerConfig {
    LayerConfig { kind: kind.name.into(), options: toml::from_str(example).expect("an example is TOML") }
}

/// Every layer and every option.
pub fn all() -> Vec<Case> {
    let registry = registry();
    let mut cases = Vec::new();
    for kind in registry.kinds() {
        assert!(!kind.examples.is_empty(), "{} has no examples", kind.name);
        for example in kind.examples {
            for widths in WIDTHS {
                let mut layout = Layout::default();
                let build = |layout: &mut Layout| registry.build(&config(kind, example), widths.0, widths.1, layout);
                match layout.with_context(CONTEXT, build) {
                    Ok(layer) => cases.push(Case::new(format!("{} [{example}] {widths:?}", kind.name), layout, layer, widths)),
                    // Only a layer that must keep its width may refuse, and says so.
                    Err(error) => assert!(widths.0 != widths.1 && error.to_string().contains("equal widths"), "{error}"),
                }
            }
        }
    }
    cases
}

/// The small ones, for what is slow.
pub fn small() -> Vec<Case> {
    all().into_iter().filter(|case| case.widths.0 < 10).collect()
}

pub fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.5..1.5)).collect()
}

impl Case {
    /// One layer of the product with these options.
    pub fn of(kind: &str, options: &str, widths: (usize, usize)) -> Self {
        let config = LayerConfig { kind: kind.into(), options: toml::from_str(options).expect("TOML") };
        let mut layout = Layout::default();
        let build = |layout: &mut Layout| registry().build(&config, widths.0, widths.1, layout);
        let layer = layout.with_context(CONTEXT, build).expect("it builds");
        Self::new(format!("{kind} [{options}]"), layout, layer, widths)
    }

    fn new(name: String, layout: Layout, layer: Box<dyn Layer>, widths: (usize, usize)) -> Self {
        let mut arena = layout.initialise(3);
        // What starts at a constant, such as a bias, is moved so that it matters.
        arena.iter_mut().zip(draws(4, layout.len())).for_each(|(weight, shift)| *weight += 0.1 * shift);
        let engine = layer.prepare(&arena, true);
        assert_eq!(engine.widths(), widths, "{name}");
        Self { name, layout, layer, arena, engine, widths }
    }

    /// Samples of `rows.len()` streams.
    pub fn streams(&self, rows: &[usize]) -> Vec<Vec<f32>> {
        rows.iter().enumerate().map(|(stream, rows)| draws(100 + stream as u64, rows * self.widths.0)).collect()
    }

    /// One call of `run`: rows of every stream, packed.
    pub fn call(&self, rows: &[&[f32]], state: &mut State, trace: Option<&mut Trace>) -> Vec<Vec<f32>> {
        let (packed, offsets) = self.pack(rows);
        let mut workspace = Workspace::default();
        workspace.reserve(self.engine.scratch(offsets[rows.len()], rows.len()));
        let mut y = vec![f32::NAN; offsets[rows.len()] * self.widths.1];
        let mut scratch = workspace.scratch();
        scratch.trace = trace;
        let context = self.context(&packed);
        self.engine.run(rows_of(&packed, &offsets, &context), state, &mut y, &mut scratch).expect("finite rows");
        offsets.windows(2).map(|pair| y[pair[0] * self.widths.1..pair[1] * self.widths.1].to_vec()).collect()
    }

    /// The context of packed rows: some of their own values.
    pub fn context<R: Copy>(&self, packed: &[R]) -> Vec<R> {
        packed.chunks_exact(self.widths.0).flat_map(|x| &x[..CONTEXT]).copied().collect()
    }

    pub fn pack(&self, rows: &[&[f32]]) -> (Vec<f32>, Vec<usize>) {
        let mut offsets = vec![0];
        for rows in rows {
            offsets.push(offsets[offsets.len() - 1] + rows.len() / self.widths.0);
        }
        (rows.concat(), offsets)
    }

    /// Streams from their beginning, `step` rows a call; outputs and final state.
    pub fn run(&self, streams: &[Vec<f32>], step: usize) -> (Vec<Vec<u32>>, State) {
        let mut state = self.engine.state(streams.len());
        let longest = streams.iter().map(Vec::len).max().unwrap_or(0);
        let mut outputs = vec![Vec::new(); streams.len()];
        for start in (0..longest).step_by(step * self.widths.0) {
            let part = |x: &'_ Vec<f32>| start.min(x.len())..(start + step * self.widths.0).min(x.len());
            let rows: Vec<&[f32]> = streams.iter().map(|x| &x[part(x)]).collect();
            for (output, part) in outputs.iter_mut().zip(self.call(&rows, &mut state, None)) {
                output.extend(part.into_iter().map(f32::to_bits));
            }
        }
        (outputs, state)
    }

    /// The plain step over all streams, one after the other, as `f64` sees the weights.
    pub fn plain(&self, arena: &[f64], streams: &[Vec<f64>], pass: &mut PlainPass) -> Vec<f64> {
        let mut y = Vec::new();
        for stream in streams {
            let mut state = self.layer.plain_state();
            for x in stream.chunks_exact(self.widths.0) {
                let sample = Sample { x, gap: 0, context: &x[..CONTEXT] };
                y.extend(self.layer.plain_step(arena, sample, &mut state, pass));
            }
        }
        y
    }
}

/// Rows with their context.
pub fn rows_of<'a>(x_nd: &'a [f32], offsets: &'a [usize], context_nc: &'a [f32]) -> Rows<'a> {
    Rows { x_nd, offsets, gaps: &[], context_nc }
}

pub fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}
