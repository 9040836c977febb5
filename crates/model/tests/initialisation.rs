//! Fresh layers start as their papers have it, at every width and depth.

use foretoken_model::{
    LayerConfig, Registry,
    layer::{Rows, Workspace},
    weights::Layout,
};

/// Rounding of `f32`, relative.
const ROUNDING: f32 = 1e-6;

struct Fresh {
    layout: Layout,
    arena: Vec<f32>,
}

fn fresh(options: &str, width: usize, seed: u64) -> Fresh {
    let config: LayerConfig = toml::from_str(options).unwrap();
    let mut layout = Layout::default();
    Registry::default().build(&config, width, width, &mut layout).unwrap();
    let arena = layout.initialise(seed);
    Fresh { layout, arena }
}

impl Fresh {
    fn of(&self, name: &str) -> &[f32] {
        let spec = self.layout.specs().iter().find(|spec| spec.name == name).unwrap_or_else(|| panic!("no {name}"));
        spec.weight.of(&self.arena)
    }

    #[track_caller]
    fn is(&self, name: &str, expected: impl Fn(usize) -> f64) {
        for (place, &value) in self.of(name).iter().enumerate() {
            let expected = expected(place) as f32;
            assert!((value - expected).abs() <= ROUNDING * expected.abs().max(1.0), "{name}[{place}]: {value}, paper {expected}");
        }
    }

    #[track_caller]
    fn lies(&self, name: &str, low: f64, high: f64, f: fn(f64) -> f64) {
        let values: Vec<f64> = self.of(name).iter().map(|&value| f(f64::from(value))).collect();
        let slack = 1e-4 * high.abs();
        assert!(values.iter().all(|value| (low - slack..=high + slack).contains(value)), "{name}: {values:?}");
        if values.len() > 30 {
            // Spread over most of the range, not gathered at a point of it.
            let (least, most) = values.iter().fold((f64::MAX, f64::MIN), |(a, b), &v| (a.min(v), b.max(v)));
            assert!(most - least > 0.5 * (high - low), "{name}: {least} to {most}");
        }
    }
}

fn softplus(x: f64) -> f64 {
    x.exp().ln_1p()
}

#[test]
fn every_family_is_finite_at_every_width_and_depth() {
    let names = ["s4d", "s5", "mamba", "mamba2", "attention", "gru", "lstm"].map(|name| format!("type = '{name}'"));
    let depths = [1, 2, 5].map(|depth| format!("type = 'rwkv7'\ndepth = {depth}"));
    for options in names.iter().chain(&depths) {
        for width in [1, 2, 5, 64, 130] {
            let Fresh { layout, arena } = fresh(options, width, 3);
            assert!(arena.iter().all(|value| value.is_finite()), "{options}, width {width}");
            // A fresh layer neither blows a unit signal up nor, but for RWKV-7's zero outputs, loses it.
            let layer =
                Registry::default().build(&toml::from_str(options).unwrap(), width, width, &mut Layout::default()).unwrap();
            let engine = layer.prepare(&arena, false);
            let x: Vec<f32> = (0..64 * width).map(|i| (i as f32 * 0.7).sin() * 1.4).collect();
            let (mut y, mut workspace) = (vec![f32::NAN; x.len()], Workspace::default());
            workspace.reserve(engine.scratch(64, 1));
            engine.run(Rows::new(&x, &[0, 64]), &mut engine.state(1), &mut y, &mut workspace.scratch()).unwrap();
            let size = (y.iter().map(|y| y * y).sum::<f32>() / y.len() as f32).sqrt();
            let silent = options.contains("rwkv7");
            assert!(size.is_finite() && size < 10.0 && (size > 0.0) != silent, "{options}, width {width}: rms {size}");
            assert!(!layout.is_empty());
        }
    }
}

#[test]
fn mamba_and_mamba2() {
    let mamba = fresh("type = 'mamba'\nstates = 5", 64, 1);
    mamba.is("a_log", |place| ((place % 5 + 1) as f64).ln());
    mamba.is("skip", |_| 1.0);
    mamba.lies("step_bias", 1e-3, 0.1, softplus);
    mamba.lies("step", -0.5, 0.5, |x| x);
    let mamba2 = fresh("type = 'mamba2'\nheads = 40", 64, 1);
    mamba2.lies("a_log", 1.0, 16.0, f64::exp);
    mamba2.lies("step_bias", 1e-3, 0.1, softplus);
    mamba2.is("skip", |_| 1.0);
    mamba2.is("gain", |_| 1.0);
}

#[test]
fn long_first_steps_are_finite() {
    for name in ["mamba", "mamba2"] {
        let layer = fresh(&format!("type = '{name}'\nstep_min = 0.5\nstep_max = 1000.0"), 64, 1);
        layer.lies("step_bias", 0.5, 1000.0, |x| if x > 30.0 { x } else { softplus(x) });
    }
}

#[test]
fn s5_starts_the_same_on_any_number_of_threads() {
    // So many states that the eigenvalue solver would share them out.
    let start = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| fresh("type = 's5'\nstates = 170", 3, 1).arena)
    };
    assert!(start(1) == start(2));
}

#[test]
fn gru_and_lstm_are_uniform() {
    for name in ["gru", "lstm"] {
        let layer = fresh(&format!("type = '{name}'\nhidden = 25"), 8, 1);
        ["input", "input_bias", "hidden", "hidden_bias", "out"].iter().for_each(|name| layer.lies(name, -0.2, 0.2, |x| x));
    }
}

#[test]
fn rwkv7_by_its_authors_formulas() {
    const D: usize = 64;
    for depth in [1, 2, 4] {
        let layer = fresh(&format!("type = 'rwkv7'\ndepth = {depth}\nheads = 4"), D, 1);
        for l in 0..depth {
            let name = |name: &str| format!("layers.{l}.{name}");
            // At one block the first ratio would be 0/0; it is the first block, so 0.
            let (down, up) = (if depth > 1 { l as f64 / (depth - 1) as f64 } else { 0.0 }, 1.0 - l as f64 / depth as f64);
            let powers = [0.2, 0.9, 0.7, 0.7, 0.9, 0.2];
            layer.is(&name("shift"), |i| 1.0 - ((i % D) as f64 / D as f64).powf(powers[i / D] * up));
            layer.is(&name("ffn_shift"), |i| 1.0 - (i as f64 / D as f64).powf(up.powi(4)));
            let along = |n: usize| n as f64 / (D - 1) as f64;
            let zigzag = |n: usize| {
                let z = ((n % 16) as f64 - 7.5) / 7.5;
                z * z.abs()
            };
            let w0 = |n: usize| -6.0 + 6.0 * along(n).powf(1.0 + down.powf(0.3)) + 0.5 + 2.5 * zigzag(n);
            layer.is(&name("w0"), w0);
            layer.is(&name("a0"), |n| -0.19 + 0.3 * zigzag(n) + 0.4 * (along(n) - 0.5));
            layer.is(&name("k_k"), |n| 0.71 - 0.1 * (along(n) - 0.5));
            layer.is(&name("k_a"), |_| 1.02);
            layer.is(&name("r_k"), |_| -0.04);
            layer.is(&name("ln_x"), |_| ((1 + l) as f64 / depth as f64).powf(0.7));
            ["output", "ffn_value", "w1", "a1", "g1"].iter().for_each(|zero| layer.is(&name(zero), |_| 0.0));
            let bound = 0.5 / (D as f64).sqrt();
            ["receptance", "value", "ffn_key"].iter().for_each(|uniform| layer.lies(&name(uniform), -bound, bound, |x| x));
            layer.lies(&name("key"), -0.1 * bound, 0.1 * bound, |x| x);
            if l > 0 {
                layer.is(&name("v0"), |n| 0.73 - 0.4 * (along(n) - 0.5));
                layer.is(&name("v1"), |_| 0.0);
            }
        }
    }
}
