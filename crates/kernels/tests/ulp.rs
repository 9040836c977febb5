//! The errors that `math` states, measured over a dense sample of all `f32` against `f64`.

use foretoken_kernels::activation;

/// Every `STRIDE`-th bit pattern; a prime, so that mantissas are sampled evenly.
const STRIDE: usize = 4099;

fn every_float() -> Vec<f32> {
    let edges = [0.0, -0.0, f32::MIN_POSITIVE, 1e-30, 87.33, 88.72, 88.73, -87.34, -103.9, -104.1, 0.625, 1e30, -1e30];
    let dense = (-20_000..20_000).map(|i| i as f32 * 5.03e-3);
    (0..=u32::MAX).step_by(STRIDE).map(f32::from_bits).filter(|x| x.is_finite()).chain(edges).chain(dense).collect()
}

/// Distance in units of the last place of the right result; a result below the normal range is measured in the smallest step.
fn ulp(got: f32, exact: f64) -> f64 {
    let rounded = exact as f32;
    if rounded.is_infinite() || got.is_infinite() {
        return if rounded == got { 0.0 } else { f64::INFINITY };
    }
    let exponent = rounded.abs().max(f32::MIN_POSITIVE).log2().floor();
    (f64::from(got) - exact).abs() / 2f64.powf(f64::from(exponent) - 23.0)
}

#[track_caller]
fn check(name: &str, kernel: fn(&[f32], &mut [f32]), exact: impl Fn(f64) -> f64, from: f32, stated: f64) {
    let mut x = every_float();
    x.retain(|&x| x >= from);
    let mut y = vec![f32::NAN; x.len()];
    kernel(&x, &mut y);
    let errors = x.iter().zip(&y).map(|(&x, &y)| (ulp(y, exact(f64::from(x))), x, y));
    let worst = errors.max_by(|a, b| a.0.total_cmp(&b.0)).expect("some values");
    println!("{name}: {:.2} ULP at {:e} ({:e})", worst.0, worst.1, worst.2);
    assert!(worst.0 <= stated, "{name}: {} ULP at {:e}, {:e}; stated {stated}", worst.0, worst.1, worst.2);
}

fn sigmoid(x: f64) -> f64 {
    if x < 0.0 { x.exp() / (1.0 + x.exp()) } else { 1.0 / (1.0 + (-x).exp()) }
}

#[test]
fn errors_are_as_stated() {
    check("exp", activation::exp, f64::exp, f32::MIN, 0.95);
    check("sigmoid", activation::sigmoid, sigmoid, f32::MIN, 2.1);
    check("silu", activation::silu, |x| x * sigmoid(x), -87.0, 3.0);
    check("softplus", activation::softplus, |x| x.max(0.0) + (-x.abs()).exp().ln_1p(), f32::MIN, 2.4);
    check("tanh", activation::tanh, f64::tanh, f32::MIN, 1.6);
}

#[test]
fn nan_goes_through_and_infinity_is_the_limit() {
    let x = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY];
    let results = |kernel: fn(&[f32], &mut [f32])| {
        let mut y = [0.0; 3];
        kernel(&x, &mut y);
        assert!(y[0].is_nan());
        (y[1], y[2])
    };
    assert_eq!(results(activation::exp), (f32::INFINITY, 0.0));
    assert_eq!(results(activation::sigmoid), (1.0, 0.0));
    assert_eq!(results(activation::softplus), (f32::INFINITY, 0.0));
    assert_eq!(results(activation::tanh), (1.0, -1.0));
}
