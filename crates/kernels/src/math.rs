//! Elementary functions of sixteen lanes. Every instruction set gives the same bits.
//!
//! Largest errors over all `f32` of the stated range, measured by `tests/ulp.rs` against `f64`:
//!
//! | function | range | ULP |
//! |---|---|---|
//! | `exp` | everywhere; infinity above 88.73, gradual underflow below −87.3 | 0.95 |
//! | `sigmoid` | everywhere | 2.1 |
//! | `silu` | above −87; below, its sigmoid underflows gradually | 3.0 |
//! | `softplus` | everywhere | 2.4 |
//! | `tanh` | everywhere | 1.6 |

use crate::simd::Simd;

/// Horner's scheme, highest coefficient first.
#[inline(always)]
fn polynomial<S: Simd, const N: usize>(simd: S, x: S::F, coefficients: [f32; N]) -> S::F {
    let mut value = simd.splat(coefficients[0]);
    for coefficient in &coefficients[1..] {
        value = simd.fma(value, x, simd.splat(*coefficient));
    }
    value
}

/// eˣ: x = n·ln 2 + r, |r| ≤ ½ ln 2, and the polynomial of Cephes' `expf` (Moshier) for eʳ. NaN stays NaN.
#[inline(always)]
pub fn exp<S: Simd>(simd: S, x: S::F) -> S::F {
    // Beyond these the result is 0 and infinity; the order of the operands lets NaN through.
    let x = simd.max(simd.splat(-104.0), simd.min(simd.splat(89.0), x));
    let n = simd.round(simd.mul(x, simd.splat(std::f32::consts::LOG2_E)));
    // ln 2 in two parts, the first with few bits, so that n times it is exact.
    let r = simd.neg_fma(n, simd.splat(0.693_359_4), x);
    let r = simd.neg_fma(n, simd.splat(-2.121_944_4e-4), r);
    let coefficients = [1.987_569_2e-4, 1.398_199_9e-3, 8.333_452e-3, 4.166_579_6e-2, 0.166_666_65, 0.5];
    let tail = simd.mul(polynomial(simd, r, coefficients), simd.mul(r, r));
    let value = simd.add(simd.add(tail, r), simd.splat(1.0));
    simd.scale(value, n)
}

/// 1/(1 + e⁻ˣ), from e^(−|x|) so that neither tail cancels.
#[inline(always)]
pub fn sigmoid<S: Simd>(simd: S, x: S::F) -> S::F {
    let (zero, one) = (simd.splat(0.0), simd.splat(1.0));
    let e = exp(simd, simd.sub(zero, simd.abs(x)));
    simd.div(simd.select_less(x, zero, e, one), simd.add(one, e))
}

/// x·sigmoid(x).
#[inline(always)]
pub fn silu<S: Simd>(simd: S, x: S::F) -> S::F {
    simd.mul(x, sigmoid(simd, x))
}

/// ln(1 + eˣ) = max(x, 0) + 2·artanh(e/(2 + e)) with e = e^(−|x|); the series of artanh, as its argument is at most ⅓.
#[inline(always)]
pub fn softplus<S: Simd>(simd: S, x: S::F) -> S::F {
    let zero = simd.splat(0.0);
    let e = exp(simd, simd.sub(zero, simd.abs(x)));
    let s = simd.div(e, simd.add(simd.splat(2.0), e));
    let square = simd.mul(s, s);
    let series = [2.0 / 15.0, 2.0 / 13.0, 2.0 / 11.0, 2.0 / 9.0, 2.0 / 7.0, 2.0 / 5.0, 2.0 / 3.0];
    let tail = simd.mul(polynomial(simd, square, series), simd.mul(square, s));
    let log = simd.fma(simd.splat(2.0), s, tail);
    simd.add(simd.max(zero, x), log)
}

/// tanh x: an odd polynomial of Cephes' `tanhf` (Moshier) below 0.625, else 1 − 2/(1 + e^(2|x|)).
#[inline(always)]
pub fn tanh<S: Simd>(simd: S, x: S::F) -> S::F {
    let (zero, one, two) = (simd.splat(0.0), simd.splat(1.0), simd.splat(2.0));
    let size = simd.abs(x);
    let square = simd.mul(x, x);
    let coefficients = [-5.704_988_7e-3, 2.063_908_8e-2, -5.373_971_6e-2, 0.133_314_42, -0.333_332_8];
    let small = simd.fma(simd.mul(polynomial(simd, square, coefficients), square), x, x);
    let large = simd.sub(one, simd.div(two, simd.add(one, exp(simd, simd.mul(two, size)))));
    let large = simd.select_less(x, zero, simd.sub(zero, large), large);
    simd.select_less(size, simd.splat(0.625), small, large)
}
