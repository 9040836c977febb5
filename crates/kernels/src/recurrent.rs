//! The cells of GRU and LSTM for one row, forward and backward: what is left when the products are done.
//!
//! `x_g` and `h_g` are the gates' pre-activations from the input and from the last hidden row, `[gate][hidden]`.

use crate::{
    activation::{lanes, map},
    math,
};

lanes!(Gru, 7 -> 1, |simd, [xr, xz, xn, hr, hz, hn, h]| {
    let (r, z) = (math::sigmoid(simd, simd.add(xr, hr)), math::sigmoid(simd, simd.add(xz, hz)));
    let n = math::tanh(simd, simd.fma(r, hn, xn));
    [simd.fma(z, simd.sub(h, n), n)]
});

lanes!(GruBackward, 8 -> 5, |simd, [xr, xz, xn, hr, hz, hn, h, dy]| {
    let one = simd.splat(1.0);
    let (r, z) = (math::sigmoid(simd, simd.add(xr, hr)), math::sigmoid(simd, simd.add(xz, hz)));
    let n = math::tanh(simd, simd.fma(r, hn, xn));
    let dn = simd.mul(simd.mul(dy, simd.sub(one, z)), simd.neg_fma(n, n, one));
    let dz = simd.mul(simd.mul(dy, simd.sub(h, n)), simd.mul(z, simd.sub(one, z)));
    let dr = simd.mul(simd.mul(dn, hn), simd.mul(r, simd.sub(one, r)));
    [dr, dz, dn, simd.mul(dn, r), simd.mul(dy, z)]
});

lanes!(Lstm, 9 -> 2, |simd, [xi, xf, xg, xo, hi, hf, hg, ho, c]| {
    let (i, f) = (math::sigmoid(simd, simd.add(xi, hi)), math::sigmoid(simd, simd.add(xf, hf)));
    let (g, o) = (math::tanh(simd, simd.add(xg, hg)), math::sigmoid(simd, simd.add(xo, ho)));
    let c = simd.fma(f, c, simd.mul(i, g));
    [simd.mul(o, math::tanh(simd, c)), c]
});

lanes!(LstmBackward, 11 -> 5, |simd, [xi, xf, xg, xo, hi, hf, hg, ho, c, dh, dc]| {
    let one = simd.splat(1.0);
    let (i, f) = (math::sigmoid(simd, simd.add(xi, hi)), math::sigmoid(simd, simd.add(xf, hf)));
    let (g, o) = (math::tanh(simd, simd.add(xg, hg)), math::sigmoid(simd, simd.add(xo, ho)));
    let tanh = math::tanh(simd, simd.fma(f, c, simd.mul(i, g)));
    let dc = simd.fma(simd.mul(dh, o), simd.neg_fma(tanh, tanh, one), dc);
    let di = simd.mul(simd.mul(dc, g), simd.mul(i, simd.sub(one, i)));
    let df = simd.mul(simd.mul(dc, c), simd.mul(f, simd.sub(one, f)));
    let dg = simd.mul(simd.mul(dc, i), simd.neg_fma(g, g, one));
    let dout = simd.mul(simd.mul(dh, tanh), simd.mul(o, simd.sub(one, o)));
    [di, df, dg, dout, simd.mul(dc, f)]
});

fn parts<const N: usize>(values: &[f32]) -> [&[f32]; N] {
    let len = values.len() / N;
    std::array::from_fn(|i| &values[i * len..(i + 1) * len])
}

fn parts_mut<const N: usize>(values: &mut [f32]) -> [&mut [f32]; N] {
    let lens = [values.len() / N; N];
    crate::streams::carve_mut(values, lens)
}

/// A GRU's hidden row after a sample; gates r, z, n.
pub fn gru(x_g: &[f32], h_g: &[f32], before_h: &[f32], after_h: &mut [f32]) {
    let ([xr, xz, xn], [hr, hz, hn]) = (parts(x_g), parts(h_g));
    map([xr, xz, xn, hr, hz, hn, before_h], [after_h], Gru);
}

/// Gradients of [`gru`], all overwritten.
pub fn gru_backward(
    x_g: &[f32],
    h_g: &[f32],
    before_h: &[f32],
    dafter_h: &[f32],
    dx_g: &mut [f32],
    dh_g: &mut [f32],
    dbefore_h: &mut [f32],
) {
    let ([xr, xz, xn], [hr, hz, hn]) = (parts(x_g), parts(h_g));
    let [dr, dz, dn] = parts_mut(dx_g);
    let [hr_out, hz_out, hn_out] = parts_mut(dh_g);
    map([xr, xz, xn, hr, hz, hn, before_h, dafter_h], [&mut *dr, &mut *dz, dn, hn_out, dbefore_h], GruBackward);
    hr_out.copy_from_slice(dr);
    hz_out.copy_from_slice(dz);
}

/// An LSTM's row `[h | c]` after a sample; gates i, f, g, o.
pub fn lstm(x_g: &[f32], h_g: &[f32], before: &[f32], after: &mut [f32]) {
    let ([xi, xf, xg, xo], [hi, hf, hg, ho]) = (parts(x_g), parts(h_g));
    let ([_, c], [h_out, c_out]) = (parts(before), parts_mut(after));
    map([xi, xf, xg, xo, hi, hf, hg, ho, c], [h_out, c_out], Lstm);
}

/// Gradients of [`lstm`], all overwritten.
pub fn lstm_backward(
    x_g: &[f32],
    h_g: &[f32],
    before: &[f32],
    dafter: &[f32],
    dx_g: &mut [f32],
    dh_g: &mut [f32],
    dbefore: &mut [f32],
) {
    let ([xi, xf, xg, xo], [hi, hf, hg, ho]) = (parts(x_g), parts(h_g));
    let ([_, c], [dh, dc]) = (parts(before), parts(dafter));
    let ([di, df, dg, dout], [dh_before, dc_before]) = (parts_mut(dx_g), parts_mut(dbefore));
    map([xi, xf, xg, xo, hi, hf, hg, ho, c, dh, dc], [di, df, dg, dout, dc_before], LstmBackward);
    dh_before.fill(0.0);
    dh_g.copy_from_slice(dx_g);
}
