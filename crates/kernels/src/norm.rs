//! RMS norm.
/// Epsilon.
pub const RMS_EPSILON: f32 = 1e-6;
fn inv(x: &[f32]) -> f32 {
    1.0 / (x.iter().map(|x| x * x).sum::<f32>() / x.len() as f32 + RMS_EPSILON).sqrt()
}
/// y = x/rms·gain
pub fn rms_norm(x: &[f32], g: &[f32], y: &mut [f32]) {
    for (x, y) in x.chunks_exact(g.len()).zip(y.chunks_exact_mut(g.len())) {
        let r = inv(x);
        for ((y, x), g) in y.iter_mut().zip(x).zip(g) {
            *y = x * r * g;
        }
    }
}
/// Backward, both +=.
pub fn rms_norm_backward(x: &[f32], g: &[f32], dy: &[f32], dx: &mut [f32], dg: &mut [f32]) {
    let d = g.len();
    for ((x, dy), dx) in x.chunks_exact(d).zip(dy.chunks_exact(d)).zip(dx.chunks_exact_mut(d)) {
        let r = inv(x);
        let s: f32 = (0..d).map(|i| x[i] * dy[i] * g[i]).sum::<f32>() * r * r / d as f32;
        for i in 0..d {
            dx[i] += r * (dy[i] * g[i] - x[i] * s);
            dg[i] += dy[i] * x[i] * r;
        }
    }
}
