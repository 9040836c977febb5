//! Every layer gives the same bits on every instruction set of the machine. One test, as the instruction set is the process's.

use foretoken_kernels::simd::Isa;
use foretoken_model::{
    LayerConfig, Registry,
    layer::{BackwardPass, Pass, Rows},
    weights::Layout,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const WIDTH: usize = 19;

fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.5..1.5)).collect()
}

/// Outputs of every kind and example, and their gradients.
fn everything() -> Vec<(String, Vec<u32>, Vec<f32>)> {
    let registry = Registry::default();
    let mut results = Vec::new();
    for kind in registry.kinds() {
        for example in kind.examples {
            let config = LayerConfig { kind: kind.name.into(), options: toml::from_str(example).unwrap() };
            let mut layout = Layout::default();
            let layer = layout.with_context(WIDTH, |layout| registry.build(&config, WIDTH, WIDTH, layout)).unwrap();
            let mut arena = layout.initialise(1);
            arena.iter_mut().zip(draws(2, layout.len())).for_each(|(weight, shift)| *weight += 0.1 * shift);
            let engine = layer.prepare(&arena, true);
            let (x, offsets) = (draws(3, 60 * WIDTH), [0, 37, 37, 60]);
            let rows = Rows { context_nc: &x, ..Rows::new(&x, &offsets) };
            let mut y = vec![f32::NAN; x.len()];
            let saved = engine.forward(rows, &mut engine.state(3), &mut y, &mut Pass::training(1, 2)).unwrap();
            let (mut dx, mut gradient) = (vec![f32::NAN; x.len()], vec![0.0; arena.len()]);
            engine.backward(rows, saved, &draws(4, y.len()), &mut dx, &mut gradient, &BackwardPass { auxiliary: 1.0 });
            dx.extend(gradient);
            results.push((format!("{} [{example}]", kind.name), y.into_iter().map(f32::to_bits).collect(), dx));
        }
    }
    results
}

#[test]
fn every_layer_gives_the_same_bits_on_every_instruction_set() {
    /// Some gradients are summed by the compiler's own instructions, which fuse as the target has it.
    const GRADIENTS: f32 = 1e-5;
    let sets = Isa::available();
    let best = everything();
    for isa in sets {
        isa.force();
        for ((name, y, gradient), (_, own_y, own_gradient)) in best.iter().zip(everything()) {
            assert!(*y == own_y, "{name} on {isa:?}");
            let scale = gradient.iter().fold(1.0f32, |scale, value| scale.max(value.abs()));
            let worst = gradient.iter().zip(&own_gradient).fold(0.0f32, |worst, (a, b)| worst.max((a - b).abs()));
            assert!(worst <= GRADIENTS * scale, "{name} on {isa:?}: gradients {worst} apart");
        }
    }
}
