//! The mixture block beside the limits of the machine: `cargo bench -p foretoken --bench moe`, or with bounds and beside PyTorch
//! `cargo xtask score moe`.
//!
//! Mixtral's shape: 8 experts, 2 a token, width 256, hidden 512; and a small one, width 64, hidden 128. One thread unless said. The ceilings
//! (fused multiply-adds, bytes a second) are measured in the same minute, by the same instructions.

use foretoken::{
    LayerConfig, Registry,
    layer::{BackwardPass, Engine, Pass, Rows, State, Workspace},
    weights::Layout,
};
use foretoken_kernels::simd::{LANES, Simd, Task, dispatch};
use std::{hint::black_box, time::Instant};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const TOKENS: usize = 4096;

struct Block {
    engine: Box<dyn Engine>,
    width: usize,
    hidden: usize,
    parameters: usize,
    state: State,
    workspace: Workspace,
}

fn block(experts: i64, width: usize, hidden: usize, train: bool) -> Block {
    let expert = toml::Value::try_from(LayerConfig::new("swiglu").with("hidden", hidden as i64)).expect("a table");
    let config = LayerConfig::new("mixture").with("num_experts", experts).with("top_k", 2).with("experts", vec![expert]);
    let mut layout = Layout::default();
    let layer = Registry::default().build(&config, width, width, &mut layout).expect("it builds");
    let engine = layer.prepare(&layout.initialise(1), train);
    let mut workspace = Workspace::default();
    workspace.reserve(engine.scratch(TOKENS, 1));
    Block { state: engine.state(1), engine, width, hidden, parameters: layout.len(), workspace }
}

fn values(len: usize) -> Vec<f32> {
    // A cheap generator: tokens must differ, so that all experts are visited.
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

impl Block {
    fn run(&mut self, x_nd: &[f32], y_nd: &mut [f32]) {
        let rows = x_nd.len() / self.width;
        self.engine.run(Rows::new(x_nd, &[0, rows]), &mut self.state, y_nd, &mut self.workspace.scratch()).expect("finite");
    }

    /// Best seconds a token, one at a time, over many different ones.
    fn token_seconds(&mut self) -> f64 {
        let (x, mut y) = (values(512 * self.width), vec![0.0; self.width]);
        let mut best = f64::MAX;
        for _ in 0..30 {
            let started = Instant::now();
            for x in black_box(&x).chunks_exact(self.width) {
                self.run(x, &mut y);
            }
            best = best.min(started.elapsed().as_secs_f64() / 512.0);
        }
        best
    }

    /// Best seconds of all tokens at once.
    fn batch_seconds(&mut self, rounds: usize) -> f64 {
        let (x, mut y) = (values(TOKENS * self.width), vec![0.0; TOKENS * self.width]);
        best(rounds, || self.run(black_box(&x), &mut y))
    }

    fn training_seconds(&self, rounds: usize) -> f64 {
        let (x, dy) = (values(TOKENS * self.width), values(TOKENS * self.width));
        let (mut y, mut dx, mut gradient) = (vec![0.0; x.len()], vec![0.0; x.len()], vec![0.0; self.parameters]);
        best(rounds, || {
            let rows = Rows::new(black_box(&x), &[0, TOKENS]);
            let saved = self.engine.forward(rows, &mut self.engine.state(1), &mut y, &mut Pass::training(1, 1)).expect("finite");
            self.engine.backward(rows, saved, &dy, &mut dx, &mut gradient, &BackwardPass { auxiliary: 1.0 });
        })
    }

    /// Multiply-adds of the two experts of a token, times two.
    fn useful(&self) -> f64 {
        2.0 * 2.0 * 3.0 * (self.width * self.hidden) as f64
    }
}

fn best(rounds: usize, mut work: impl FnMut()) -> f64 {
    (0..rounds)
        .map(|_| {
            let started = Instant::now();
            work();
            started.elapsed().as_secs_f64()
        })
        .fold(f64::MAX, f64::min)
}

/// Fused multiply-adds on registers alone.
struct Ceiling {
    steps: usize,
}

impl Task for Ceiling {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums: [S::F; 12] = std::array::from_fn(|i| simd.splat(i as f32));
        let (a, b) = (simd.splat(black_box(0.999)), simd.splat(black_box(0.001)));
        for _ in 0..self.steps {
            for sum in &mut sums {
                *sum = simd.fma(*sum, a, b);
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + simd.sum(sum))
    }
}

/// Reads everything once.
struct Read<'a> {
    from: &'a [f32],
}

impl Task for Read<'_> {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums = [simd.splat(0.0); 8];
        for part in self.from.chunks_exact(8 * LANES) {
            for (sum, lanes) in sums.iter_mut().zip(part.chunks_exact(LANES)) {
                *sum = simd.add(*sum, simd.load(lanes.first_chunk().expect("whole lanes")));
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + simd.sum(sum))
    }
}

/// Best seconds to read the weights of two experts, taken in turn from all of them: where a token's time cannot be below.
fn read_seconds(experts: usize, floats: usize) -> f64 {
    let memory = values(experts * floats);
    let order = values(512);
    let mut best = f64::MAX;
    for _ in 0..30 {
        let started = Instant::now();
        for draw in &order {
            let first = ((draw + 1.0) * 0.5 * experts as f32) as usize % experts;
            for expert in [first, (first + 1 + experts / 3) % experts] {
                black_box(dispatch(Read { from: &memory[expert * floats..(expert + 1) * floats] }));
            }
        }
        best = best.min(started.elapsed().as_secs_f64() / order.len() as f64);
    }
    best
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(work)
}

fn main() {
    let ceiling = 2.0 * 12.0 * LANES as f64 * 1e5 / best(200, || _ = black_box(dispatch(Ceiling { steps: 100_000 }))) * 1e-9;
    println!("moe.ceiling_gflops {ceiling:.1} GFLOP/s");
    let (one, small, many) = with_threads(1, || {
        let mut large = block(8, 256, 512, false);
        let one = (large.token_seconds(), read_seconds(8, 3 * 256 * 512));
        let flops = TOKENS as f64 * large.useful() / large.batch_seconds(21) * 1e-9;
        println!("moe.tokens_4096_gflops {flops:.1} GFLOP/s");
        println!("moe.tokens_4096_share_of_ceiling {:.3} share", flops / ceiling);
        (one, block(8, 64, 128, false).token_seconds(), block(64, 64, 128, false).token_seconds())
    });
    println!("moe.one_token_us {:.2} µs", 1e6 * one.0);
    println!("moe.one_token_bound_us {:.2} µs", 1e6 * one.1);
    println!("moe.one_token_over_bound {:.3} ratio", one.0 / one.1);
    println!("moe.small_token_us {:.2} µs", 1e6 * small);
    println!("moe.small_token_64_experts_us {:.2} µs", 1e6 * many);
    let routers = with_threads(1, || [8, 64].map(|experts| router_seconds(experts, 64)));
    println!("moe.router_8_us {:.3} µs", 1e6 * routers[0]);
    println!("moe.router_64_us {:.3} µs", 1e6 * routers[1]);
    // 64 small experts lie further away than 8: what their bytes take to read is the memory's, not the mixture's.
    let reads = with_threads(1, || [8, 64].map(|experts| read_seconds(experts, 3 * 64 * 128)));
    println!("moe.read_8_us {:.3} µs", 1e6 * reads[0]);
    println!("moe.read_64_us {:.3} µs", 1e6 * reads[1]);
    let more = (many - small) - (routers[1] - routers[0]);
    println!("moe.more_experts_beyond_router_us {:.3} µs", 1e6 * more);
    println!("moe.more_experts_beyond_router_and_memory_us {:.3} µs", 1e6 * (more - (reads[1] - reads[0])));
    let training = [1, 2].map(|threads| with_threads(threads, || block(8, 256, 512, true).training_seconds(15)));
    println!("moe.training_4096_ms {:.2} ms", 1e3 * training[0]);
    println!("moe.training_4096_two_threads_ms {:.2} ms", 1e3 * training[1]);
    let forward = [1, 2].map(|threads| with_threads(threads, || block(8, 256, 512, false).batch_seconds(21)));
    println!("moe.forward_4096_ms {:.2} ms", 1e3 * forward[0]);
    println!("moe.forward_4096_two_threads_ms {:.2} ms", 1e3 * forward[1]);
    println!("moe.forward_two_threads_speedup {:.3} ×", forward[0] / forward[1]);
    println!("moe.training_two_threads_speedup {:.3} ×", training[0] / training[1]);
    // Too few rows an expert to be shared out: here the experts run beside each other.
    let many = [1, 2].map(|threads| with_threads(threads, || block(64, 64, 128, false).batch_seconds(15)));
    println!("moe.many_experts_two_threads_speedup {:.3} ×", many[0] / many[1]);
}

/// Best seconds of routing one token.
fn router_seconds(experts: i64, width: usize) -> f64 {
    let block = block(experts, width, 8, false);
    let router = block.engine.mixtures()[0].router();
    let mut workspace = Workspace::default();
    workspace.reserve(router.scratch(1));
    let (x, mut state) = (values(512 * width), block.engine.state(1));
    best(30, || {
        for x in black_box(&x).chunks_exact(width) {
            let rows = Rows::new(x, &[0, 1]);
            let choice = router.route(rows, &mut state.floats, &mut state.counters, 0, &mut workspace.scratch());
            black_box(choice.expect("finite").weights_nk[0]);
        }
    }) / 512.0
}
