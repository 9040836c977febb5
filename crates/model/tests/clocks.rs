//! The three state clocks against a naive loop, sample by sample, on random routings: outputs, final states and gradients, for any split
//! of the sequence and for one and two threads.

use foretoken_model::{
    Clock, LayerConfig, Registry, Trace,
    layer::{BackwardPass, Engine, Layer, Pass, Rows, State, Workspace},
    mixture::MixtureEngine,
    plain::{PlainPass, Sample},
    trace::{MixtureTrace, Replay, StreamTrace},
    weights::Layout,
};
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 6;
const EXPERTS: usize = 4;
const TOP_K: usize = 2;
const STREAMS: [usize; 3] = [61, 0, 40];

/// A gap in one step against the same gap in steps of one, both in `f32`, relative to the largest value.
const ELAPSED: f32 = 2e-5;
/// Sums of a few products of different order.
const SUMS: f32 = 1e-6;

struct Case {
    clock: Clock,
    layout: Layout,
    layer: Box<dyn Layer>,
    arena: Vec<f32>,
    engine: Box<dyn Engine>,
    x: Vec<Vec<f32>>,
    trace: Trace,
}

fn draws(rng: &mut ChaCha8Rng, len: usize) -> Vec<f32> {
    (0..len).map(|_| rng.random_range(-1.5..1.5)).collect()
}

fn case(clock: Clock, expert: &str, seed: u64) -> Case {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let name = toml::Value::try_from(clock).unwrap();
    let options = format!("num_experts = {EXPERTS}\ntop_k = {TOP_K}\nclock = {name}\nexperts = [{expert}]");
    let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(&options).unwrap() };
    let mut layout = Layout::default();
    let layer = Registry::default().build(&config, WIDTH, WIDTH, &mut layout).unwrap();
    let arena = layout.initialise(seed);
    let engine = layer.prepare(&arena, true);
    let x: Vec<Vec<f32>> = STREAMS.iter().map(|rows| draws(&mut rng, rows * WIDTH)).collect();
    // Runs of random length, so that gaps are short and long.
    let mut stream = |rows: usize| {
        let mut experts: Vec<u32> = (0..EXPERTS as u32).collect();
        let mut stream = StreamTrace::default();
        for _ in 0..rows {
            if rng.random::<f32>() < 0.3 {
                experts.shuffle(&mut rng);
            }
            stream.choices.extend_from_slice(&experts[..TOP_K]);
            stream.weights.extend([0.0; TOP_K]);
        }
        stream
    };
    let streams = STREAMS.map(&mut stream).to_vec();
    let trace = Trace { mixtures: vec![MixtureTrace { top_k: TOP_K, experts: EXPERTS, streams }] };
    Case { clock, layout, layer, arena, engine, x, trace }
}

impl Case {
    fn mixture(&self) -> &MixtureEngine {
        self.engine.mixtures()[0]
    }

    fn run(&self, step: usize) -> (Vec<Vec<f32>>, State, Trace) {
        let mut state = self.engine.state(STREAMS.len());
        let (mut replay, mut seen) = (Replay::choices(self.trace.clone()).unwrap(), Trace::default());
        let mut y = vec![Vec::new(); STREAMS.len()];
        for start in (0..61).step_by(step) {
            let part = |x: &Vec<f32>| (start * WIDTH).min(x.len())..((start + step) * WIDTH).min(x.len());
            let (packed, offsets) = pack(&self.x.iter().map(|x| &x[part(x)]).collect::<Vec<_>>());
            let mut workspace = Workspace::default();
            workspace.reserve(self.engine.scratch(offsets[STREAMS.len()], STREAMS.len()));
            let mut scratch = workspace.scratch();
            (scratch.replay, scratch.trace) = (Some(&mut replay), Some(&mut seen));
            let mut out = vec![f32::NAN; packed.len()];
            self.engine.run(Rows::new(&packed, &offsets), &mut state, &mut out, &mut scratch).unwrap();
            for (y, pair) in y.iter_mut().zip(offsets.windows(2)) {
                y.extend_from_slice(&out[pair[0] * WIDTH..pair[1] * WIDTH]);
            }
        }
        (y, state, seen)
    }

    /// One stream, one sample and one expert at a time, through the experts' own engines.
    fn naive(&self, stream: usize, weights: &[f32]) -> (Vec<f32>, Vec<State>) {
        let mut states: Vec<State> = (0..EXPERTS).map(|expert| self.mixture().expert(expert).state(1)).collect();
        let choices = &self.trace.mixtures[0].streams[stream].choices;
        let mut y = Vec::new();
        let mut missed = [0; EXPERTS];
        for (t, x) in self.x[stream].chunks(WIDTH).enumerate() {
            let slots = &choices[t * TOP_K..][..TOP_K];
            let mut outs = vec![Vec::new(); EXPERTS];
            for (expert, state) in states.iter_mut().enumerate() {
                let step = |x: &[f32], state: &mut State| {
                    let engine = self.mixture().expert(expert);
                    let mut workspace = Workspace::default();
                    workspace.reserve(engine.scratch(1, 1));
                    let mut out = vec![f32::NAN; WIDTH];
                    engine.run(Rows::new(x, &[0, 1]), state, &mut out, &mut workspace.scratch()).unwrap();
                    out
                };
                let chosen = slots.contains(&(expert as u32));
                if chosen && self.clock == Clock::Elapsed {
                    // The definition: the samples missed, one by one, with zero input.
                    (0..missed[expert]).for_each(|_| drop(step(&[0.0; WIDTH], state)));
                }
                if chosen || self.clock == Clock::Every {
                    outs[expert] = step(x, state);
                }
                missed[expert] = if chosen { 0 } else { missed[expert] + 1 };
            }
            let mut row = vec![0.0; WIDTH];
            for (slot, &expert) in slots.iter().enumerate() {
                row.iter_mut().zip(&outs[expert as usize]).for_each(|(y, out)| *y += weights[t * TOP_K + slot] * out);
            }
            y.extend(row);
        }
        (y, states)
    }
}

fn pack(rows: &[&[f32]]) -> (Vec<f32>, Vec<usize>) {
    let mut offsets = vec![0];
    rows.iter().for_each(|rows| offsets.push(offsets[offsets.len() - 1] + rows.len() / WIDTH));
    (rows.concat(), offsets)
}

fn close(a: &[f32], b: &[f32], tolerance: f32) -> bool {
    let scale = b.iter().fold(1e-3f32, |scale, value| scale.max(value.abs()));
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * scale)
}

/// An expert with one recurrent layer, for which zero input is zero input.
const S4D: &str = "{ type = 's4d', states = 3 }";
/// Experts of several layers, one of them a mixture of its own.
const DEEP: &str = "{ type = 'stack', layers = [{ type = 's4d', states = 2 }, { type = 'mixture', num_experts = 2, top_k = 1, clock = 'elapsed', \
                    experts = [{ type = 's4d', states = 2 }] }] }";

const S5: &str = "{ type = 's5', states = 3 }";
/// Every family with a clock of its own, small.
const FAMILIES: [&str; 6] = [
    S4D,
    S5,
    "{ type = 'mamba', states = 3 }",
    "{ type = 'mamba2', heads = 2, head_size = 3, states = 4 }",
    "{ type = 'rwkv7', depth = 2, heads = 2, head_size = 3, hidden = 7, decay_rank = 2, rate_rank = 2, value_rank = 2, gate_rank = 3 }",
    "{ type = 'attention', heads = 2, window = 9 }",
];
/// Baselines that know no gaps.
const TIMELESS: [&str; 2] = ["{ type = 'gru' }", "{ type = 'lstm' }"];

const CLOCKS: [Clock; 3] = [Clock::Routed, Clock::Elapsed, Clock::Every];

#[test]
fn outputs_and_states_are_those_of_the_naive_loop() {
    // A gap is samples of zero input where the layer does not vary in time; what it is elsewhere, the contract of gaps says.
    let elapsed = [S4D, S5].map(|expert| (Clock::Elapsed, expert));
    let others = FAMILIES.into_iter().chain(TIMELESS).flat_map(|expert| [(Clock::Routed, expert), (Clock::Every, expert)]);
    for (clock, expert) in elapsed.into_iter().chain(others) {
        for seed in 1..4 {
            let case = case(clock, expert, seed);
            let (y, state, seen) = case.run(1000);
            for stream in 0..STREAMS.len() {
                let own = &seen.mixtures[0].streams[stream];
                assert_eq!(own.choices, case.trace.mixtures[0].streams[stream].choices, "replayed");
                let (naive, states) = case.naive(stream, &own.weights);
                let tolerance = if clock == Clock::Elapsed { ELAPSED } else { SUMS };
                assert!(close(&y[stream], &naive, tolerance), "{clock:?}, stream {stream}");
                for (expert, (whole, naive)) in state.children.iter().zip(&states).enumerate() {
                    let (own, naive) = (of_stream(whole, stream, STREAMS.len()), of_stream(naive, 0, 1));
                    let same = if clock == Clock::Elapsed { close(&own.0, &naive.0, ELAPSED) } else { own.0 == naive.0 };
                    assert!(same && own.1 == naive.1, "{clock:?}, stream {stream}, state of expert {expert}");
                }
            }
        }
    }
}

/// The numbers of one of `streams` streams in a state, children's included.
fn of_stream(state: &State, stream: usize, streams: usize) -> (Vec<f32>, Vec<u64>) {
    fn part<T: Copy>(values: &[T], stream: usize, streams: usize) -> Vec<T> {
        let len = values.len() / streams;
        values[stream * len..(stream + 1) * len].to_vec()
    }
    let mut own = (part(&state.floats, stream, streams), part(&state.counters, stream, streams));
    for child in &state.children {
        let (floats, counters) = of_stream(child, stream, streams);
        own.0.extend(floats);
        own.1.extend(counters);
    }
    own
}

#[test]
fn the_clocks_differ() {
    let runs: Vec<_> = CLOCKS.iter().map(|&clock| case(clock, S4D, 1).run(1000).0).collect();
    assert!(runs[0] != runs[1] && runs[1] != runs[2] && runs[0] != runs[2]);
    // Experts without a state ignore the clock.
    let stateless: Vec<_> = CLOCKS.iter().map(|&clock| case(clock, "{ type = 'swiglu' }", 1).run(1000).0).collect();
    assert!(stateless[0] == stateless[1] && stateless[1] == stateless[2]);
}

#[test]
fn any_split_and_any_number_of_threads_give_the_same_bits() {
    for clock in CLOCKS {
        for expert in FAMILIES.into_iter().chain([DEEP]) {
            let mut case = case(clock, expert, 5);
            // Inner mixtures choose freely; only the outer one is forced.
            if expert == DEEP {
                case.trace = case.free();
            }
            let whole = case.run(1000);
            for step in [1, 4, 17] {
                assert!(case.run(step) == whole, "{clock:?}, {step} samples a call");
            }
            for threads in [1, 2] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                assert!(pool.install(|| case.run(1000)) == whole, "{clock:?}, {threads} threads");
            }
        }
    }
}

impl Case {
    /// What every mixture of the case chooses by itself, as a trace to replay.
    fn free(&self) -> Trace {
        let (packed, offsets) = pack(&self.x.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut workspace = Workspace::default();
        workspace.reserve(self.engine.scratch(offsets[STREAMS.len()], STREAMS.len()));
        let mut trace = Trace::default();
        let mut scratch = workspace.scratch();
        scratch.trace = Some(&mut trace);
        let mut y = vec![f32::NAN; packed.len()];
        self.engine.run(Rows::new(&packed, &offsets), &mut self.engine.state(STREAMS.len()), &mut y, &mut scratch).unwrap();
        trace
    }
}

#[test]
fn gradients_are_those_of_the_plain_loop() {
    /// Central differences in `f64` against sums in `f32`, relative to the largest of a weight.
    const GRADIENTS: f64 = 5e-5;
    let all = FAMILIES.into_iter().flat_map(|expert| CLOCKS.map(|clock| (clock, expert)));
    let timeless = TIMELESS.into_iter().flat_map(|expert| [(Clock::Routed, expert), (Clock::Every, expert)]);
    for (clock, expert) in all.chain(timeless) {
        let mut case = case(clock, expert, 7);
        // What starts at zero, such as RWKV-7's outputs, is moved so that it matters.
        let shifts = draws(&mut ChaCha8Rng::seed_from_u64(8), case.arena.len());
        case.arena.iter_mut().zip(shifts).for_each(|(weight, shift)| *weight += 0.1 * shift);
        case.engine = case.layer.prepare(&case.arena, true);
        let (packed, offsets) = pack(&case.x.iter().map(Vec::as_slice).collect::<Vec<_>>());
        let mut pass = Pass { replay: Some(Replay::choices(case.trace.clone()).unwrap()), ..Pass::quiet() };
        let mut y = vec![f32::NAN; packed.len()];
        let rows = Rows::new(&packed, &offsets);
        let saved = case.engine.forward(rows, &mut case.engine.state(STREAMS.len()), &mut y, &mut pass).unwrap();
        assert_eq!(y, case.run(1000).0.concat(), "forward gives the bits of run");
        let dy = draws(&mut ChaCha8Rng::seed_from_u64(9), y.len());
        let (mut dx, mut gradient) = (vec![f32::NAN; packed.len()], vec![0.0; case.arena.len()]);
        case.engine.backward(rows, saved, &dy, &mut dx, &mut gradient, &BackwardPass { auxiliary: 0.0 });

        let choices: Vec<Vec<u32>> =
            case.trace.mixtures[0].streams.iter().flat_map(|s| s.choices.chunks(TOP_K).map(<[u32]>::to_vec)).collect();
        let mut arena: Vec<f64> = case.arena.iter().map(|&weight| f64::from(weight)).collect();
        let x: Vec<Vec<f64>> = case.x.iter().map(|x| x.iter().map(|&value| f64::from(value)).collect()).collect();
        let loss = |arena: &[f64]| {
            let mut pass = PlainPass { forced: Some(vec![choices.clone()]), ..PlainPass::default() };
            let mut y = Vec::new();
            for x in &x {
                let mut state = case.layer.plain_state();
                for x in x.chunks(WIDTH) {
                    y.extend(case.layer.plain_step(arena, Sample { x, gap: 0, context: &[] }, &mut state, &mut pass));
                }
            }
            y.iter().zip(&dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>()
        };
        for spec in case.layout.specs() {
            let range = spec.weight.range();
            let tried: Vec<usize> = range.clone().step_by(range.len().div_ceil(4)).collect();
            let mut numeric = |place: usize| {
                let before = arena[place];
                let mut at = |value: f64| {
                    arena[place] = value;
                    loss(&arena)
                };
                let difference = (at(before + 1e-5) - at(before - 1e-5)) / 2e-5;
                arena[place] = before;
                difference
            };
            let numeric: Vec<f64> = tried.iter().map(|&place| numeric(place)).collect();
            let scale = numeric.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
            for (&place, numeric) in tried.iter().zip(&numeric) {
                let error = (f64::from(gradient[place]) - numeric).abs();
                assert!(
                    error <= GRADIENTS * scale,
                    "{clock:?} {expert} {}[{}]: {error} of {numeric}",
                    spec.name,
                    place - range.start
                );
            }
        }
    }
}

#[test]
fn a_layer_that_does_not_know_gaps_is_refused_by_name() {
    let kind = foretoken_model::layer::Kind { name: "deaf", ..foretoken_model::linear::KIND };
    let deaf = |_: &Registry, config: &LayerConfig, input, output, layout: &mut Layout| {
        let linear =
            Registry::default().build(&LayerConfig { kind: "linear".into(), ..config.clone() }, input, output, layout)?;
        Ok(Box::new(Deaf(linear)) as Box<dyn Layer>)
    };
    let registry = Registry::default().with(foretoken_model::layer::Kind { build: deaf, ..kind });
    for (clock, accepted) in [("routed", true), ("every", true), ("elapsed", false)] {
        let options = format!("clock = '{clock}'\nexperts = [{{ type = 'swiglu' }}, {{ type = 'deaf' }}]");
        let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(&options).unwrap() };
        let built = registry.build(&config, 4, 4, &mut Layout::default());
        assert_eq!(built.is_ok(), accepted, "{clock}");
        if let Err(error) = built {
            let text = error.to_string();
            assert!(text.contains("experts.1") && text.contains("gap") && text.contains("`deaf`"), "{text}");
        }
    }
}

#[test]
fn gru_and_lstm_are_refused_by_name() {
    for (name, expert) in ["gru", "lstm"].into_iter().zip(TIMELESS) {
        let options = format!("clock = 'elapsed'\nexperts = [{{ type = 'swiglu' }}, {expert}]");
        let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(&options).unwrap() };
        let text = Registry::default().build(&config, 4, 4, &mut Layout::default()).unwrap_err().to_string();
        assert!(text.contains("experts.1") && text.contains("gap") && text.contains(name), "{text}");
    }
}

#[derive(Debug)]
struct Deaf(Box<dyn Layer>);

impl Layer for Deaf {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        self.0.prepare(arena, train)
    }

    fn active_parameters(&self) -> usize {
        self.0.active_parameters()
    }

    fn plain_state(&self) -> foretoken_model::plain::PlainState {
        self.0.plain_state()
    }

    fn plain_step(
        &self,
        arena: &[f64],
        sample: Sample<'_>,
        state: &mut foretoken_model::plain::PlainState,
        pass: &mut PlainPass,
    ) -> Vec<f64> {
        self.0.plain_step(arena, sample, state, pass)
    }
}
