//! Activations.
fn sig(x: f32) -> f32 {
    1.0 / (1.0 + (-x).exp())
}
/// x·σ(x)
pub fn silu(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x * sig(*x));
}
/// backward
pub fn silu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for i in 0..x.len() {
        let s = sig(x[i]);
        dx[i] = dy[i] * s * (1.0 + x[i] * (1.0 - s));
    }
}
/// silu(g)·u
pub fn swiglu(g: &[f32], u: &[f32], z: &mut [f32]) {
    for i in 0..g.len() {
        z[i] = g[i] * sig(g[i]) * u[i];
    }
}
/// backward
pub fn swiglu_backward(g: &[f32], u: &[f32], dz: &[f32], dg: &mut [f32], du: &mut [f32]) {
    for i in 0..g.len() {
        let s = sig(g[i]);
        du[i] = dz[i] * g[i] * s;
        dg[i] = dz[i] * u[i] * s * (1.0 + g[i] * (1.0 - s));
    }
}
/// a·σ(b)
pub fn glu(ab: &[f32], m: usize, y: &mut [f32]) {
    for (ab, y) in ab.chunks_exact(2 * m).zip(y.chunks_exact_mut(m)) {
        for i in 0..m {
            y[i] = ab[i] * sig(ab[m + i]);
        }
    }
}
/// backward
pub fn glu_backward(ab: &[f32], m: usize, dy: &[f32], dab: &mut [f32]) {
    for ((ab, dy), dab) in ab.chunks_exact(2 * m).zip(dy.chunks_exact(m)).zip(dab.chunks_exact_mut(2 * m)) {
        for i in 0..m {
            let s = sig(ab[m + i]);
            dab[i] = dy[i] * s;
            dab[m + i] = dy[i] * ab[i] * s * (1.0 - s);
        }
    }
}
/// ln(1+e^x)
pub fn softplus(x: &[f32], y: &mut [f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y = x.max(0.0) + (-x.abs()).exp().ln_1p());
}
/// backward
pub fn softplus_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    for i in 0..x.len() {
        dx[i] = dy[i] * sig(x[i]);
    }
}
