//! Training rates: `cargo bench -p foretoken-model --bench train [-- NAME …]`, or with the targets `cargo xtask score train`.
//!
//! Samples a second of a step of training (packing the weights, forward, loss, backward, AdamW) of four layers 128 wide on 16 windows of 512
//! samples, with sixteen outputs at every sample; the shape of `reference/peers/bench_train.py`. One line a figure; a family on one thread and
//! on two, once more with checkpointing, and the most memory it took, each family in a process of its own. Best of several steps; on one thread by the processor's time, which
//! says the same on a busy machine, and by the clock (`_wall`); on two by the clock.

use cpu_time::ProcessTime;
use foretoken_kernels::{
    adamw::AdamW,
    linear,
    simd::{LANES, Simd, Task, dispatch},
};
use foretoken_model::{
    CovariateConfig, LayerConfig, Registry,
    layer::{BackwardPass, Pass},
    network::{Heard, Network},
    quantiles::Levels,
    weights::Layout,
};
use std::{hint::black_box, process::Command, time::Instant};

/// As in the binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const WIDTH: usize = 128;
const WINDOW: usize = 512;
const BATCH: usize = 16;
const TAPS: usize = 16;
const HORIZON: usize = 16;
/// Seconds that a measurement takes at least, and its steps.
const SECONDS: f64 = 6.0;
const STEPS: usize = 5;

/// Families by name: the TOML of a block, repeated four times; RWKV-7 has blocks of its own.
const FAMILIES: [(&str, &str); 11] = [
    ("s4d", "[[layers]]\ntype = 's4d'"),
    ("s5", "[[layers]]\ntype = 's5'"),
    ("mamba", "[[layers]]\ntype = 'mamba'"),
    ("mamba2", "[[layers]]\ntype = 'mamba2'\nstates = 64\nhead_size = 32"),
    ("rwkv7", "[[layers]]\ntype = 'rwkv7'\ndepth = 4"),
    ("attention", "[[layers]]\ntype = 'attention'\nheads = 4\nwindow = 512\n[[layers]]\ntype = 'swiglu'\nhidden = 320"),
    ("gru", "[[layers]]\ntype = 'gru'"),
    ("lstm", "[[layers]]\ntype = 'lstm'"),
    ("dense", "[[layers]]\ntype = 'swiglu'\nhidden = 640"),
    ("mixture", "[[layers]]\ntype = 'mixture'\nnum_experts = 8\ntop_k = 2\nexperts = [{ type = 'swiglu', hidden = 320 }]"),
    ("attention_alone", "[[layers]]\ntype = 'attention'\nheads = 4\nwindow = 512"),
];

#[derive(serde::Deserialize)]
struct Block {
    layers: Vec<LayerConfig>,
}

fn layers(family: &str) -> Vec<LayerConfig> {
    let (_, text) = FAMILIES.iter().find(|(name, _)| *name == family).expect("a family of the list");
    let block: Block = toml::from_str(text).expect("a block");
    vec![block.layers; if family == "rwkv7" { 1 } else { 4 }].concat()
}

fn values(len: usize) -> Vec<f32> {
    // A cheap generator: windows must differ, so that all experts are visited.
    let mut state = 7u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..len).map(|_| next()).collect()
}

/// Best seconds of a step, and best seconds of the processor.
fn seconds(family: &str, checkpointing: bool) -> [f64; 2] {
    let mut layout = Layout::default();
    let levels = Levels::new(&[0.5]).expect("levels");
    let (registry, covariates) = (Registry::default(), CovariateConfig::default());
    let network =
        Network::build(&registry, &layers(family), TAPS, &covariates, WIDTH, HORIZON, levels, &mut layout).expect("it builds");
    let mut arena = layout.initialise(1);
    let rows = BATCH * WINDOW;
    let signal = values(rows * (TAPS + HORIZON));
    let features_nk = &signal[..rows * TAPS];
    let targets = &signal[rows * TAPS..];
    let offsets: Vec<usize> = (0..=BATCH).map(|window| window * WINDOW).collect();
    let positions: Vec<usize> = (0..rows).collect();
    let (mut moment_1, mut moment_2) = (vec![0.0; arena.len()], vec![0.0; arena.len()]);
    let (mut quantiles, mut dquantiles) = (vec![0.0; rows * HORIZON], vec![0.0; rows * HORIZON]);
    let (mut best, mut best_cpu, started, mut step) = (f64::MAX, f64::MAX, Instant::now(), 0);
    while step < STEPS || started.elapsed().as_secs_f64() < SECONDS {
        let (began, cpu) = (Instant::now(), ProcessTime::now());
        let engine = network.prepare(&arena, true);
        let heard = Heard { features_nk, offsets: &offsets, gaps: &[] };
        let mut pass = Pass::training(1, step as u64).with_checkpointing(checkpointing);
        let state = engine.state(BATCH);
        let kept = engine.forward(heard, state, &positions, &[], &mut quantiles, &mut pass).expect("finite");
        let scale = 2.0 / quantiles.len() as f32;
        dquantiles.iter_mut().zip(&quantiles).zip(targets).for_each(|((d, q), target)| *d = scale * (q - target));
        let mut gradient = vec![0.0; arena.len()];
        engine.backward(heard, &positions, &[], kept, &dquantiles, &mut gradient, &BackwardPass { auxiliary: 1.0 });
        AdamW::new(1e-3, 0.01, 1.0, step as u64 + 1).step(&mut arena, &gradient, &mut moment_1, &mut moment_2);
        pass.nudges.iter().for_each(|nudge| nudge.apply(&mut arena));
        best = best.min(began.elapsed().as_secs_f64());
        best_cpu = best_cpu.min(cpu.elapsed().as_secs_f64());
        step += 1;
    }
    assert!(arena.iter().all(|weight| weight.is_finite()), "{family} trains");
    [best, best_cpu]
}

/// Multiply-adds of the products that the families live on, per second: 8192 rows through 128×512 and back.
fn product_gflops() -> f64 {
    let (rows, k, m) = (BATCH * WINDOW, WIDTH, 4 * WIDTH);
    let (x, w, mut y) = (values(rows * k), values(k * m), vec![0.0; rows * m]);
    let panels = linear::Panels::pack(&w, k, m);
    let best = (0..20).map(|_| {
        let began = Instant::now();
        linear::linear(black_box(&x), &panels, None, &mut y);
        began.elapsed().as_secs_f64()
    });
    2.0 * (rows * k * m) as f64 * 1e-9 / best.fold(f64::MAX, f64::min)
}

/// Fused multiply-adds on registers alone.
struct Ceiling(usize);

impl Task for Ceiling {
    type Output = f32;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> f32 {
        let mut sums: [S::F; 12] = std::array::from_fn(|i| simd.splat(i as f32));
        let (a, b) = (simd.splat(black_box(0.999)), simd.splat(black_box(0.001)));
        for _ in 0..self.0 {
            for sum in &mut sums {
                *sum = simd.fma(*sum, a, b);
            }
        }
        sums.into_iter().fold(0.0, |total, sum| total + simd.sum(sum))
    }
}

fn ceiling_gflops() -> f64 {
    let best = (0..200).map(|_| {
        let began = Instant::now();
        black_box(dispatch(Ceiling(100_000)));
        began.elapsed().as_secs_f64()
    });
    2.0 * 12.0 * LANES as f64 * 1e5 * 1e-9 / best.fold(f64::MAX, f64::min)
}

/// The most memory that this process has held, in MiB; none where the system does not say.
fn peak_mib() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.split_whitespace().next()?.parse::<f64>().ok()? / 1024.0)
}

fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads").install(work)
}

fn main() {
    let mut arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    if let [one, threads, checkpointing, family] = &arguments[..]
        && one == "--one"
    {
        let threads: usize = threads.parse().expect("a number of threads");
        let checkpointing: bool = checkpointing.parse().expect("true or false");
        let best = with_threads(threads, || seconds(family, checkpointing));
        let [wall, cpu] = best.map(|seconds| (BATCH * WINDOW) as f64 / seconds);
        if threads > 1 {
            println!("train.{family}_{threads}_threads {wall:.0} samples/s");
            return;
        }
        let name = if checkpointing { format!("{family}_checkpointing") } else { family.clone() };
        println!("train.{name} {cpu:.0} samples/s");
        println!("train.{name}_wall {wall:.0} samples/s");
        if let Some(peak) = peak_mib() {
            println!("train.{name}_peak {peak:.0} MiB");
        }
        return;
    }
    with_threads(1, || {
        println!("train.ceiling {:.0} GFLOP/s", ceiling_gflops());
        println!("train.product {:.0} GFLOP/s", product_gflops());
    });
    if arguments.is_empty() {
        arguments = FAMILIES.iter().map(|(name, _)| (*name).to_string()).collect();
    }
    for family in arguments {
        for (threads, checkpointing) in [("1", "false"), ("1", "true"), ("2", "false")] {
            let own = std::env::current_exe().expect("this program");
            let status = Command::new(own).args(["--one", threads, checkpointing, &family]).status().expect("this program runs");
            assert!(status.success(), "{family}");
        }
    }
}
