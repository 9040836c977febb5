//! y = x·W + b
use rayon::prelude::*;
/// Packed.
pub struct Panels {
    inputs: usize,
    outputs: usize,
    data: Vec<f32>,
}
impl Panels {
    /// Packs.
    pub fn pack(w: &[f32], inputs: usize, outputs: usize) -> Self {
        Self { inputs, outputs, data: w.to_vec() }
    }
    /// Packs the transpose.
    pub fn pack_transposed(w: &[f32], inputs: usize, outputs: usize) -> Self {
        let mut data = vec![0.0; w.len()];
        for k in 0..inputs {
            for n in 0..outputs {
                data[n * inputs + k] = w[k * outputs + n];
            }
        }
        Self { inputs: outputs, outputs: inputs, data }
    }
    /// k
    pub fn inputs(&self) -> usize {
        self.inputs
    }
    /// n
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}
fn one(x: &[f32], w: &Panels, bias: Option<&[f32]>, y: &mut [f32]) {
    match bias {
        Some(b) => y.copy_from_slice(b),
        None => y.fill(0.0),
    }
    for (x, w) in x.iter().zip(w.data.chunks_exact(w.outputs)) {
        for (y, w) in y.iter_mut().zip(w) {
            *y += x * w;
        }
    }
}
/// y = x·W + b
pub fn linear(x: &[f32], w: &Panels, bias: Option<&[f32]>, y: &mut [f32]) {
    if x.len() * w.outputs > 1 << 21 {
        y.par_chunks_exact_mut(w.outputs)
            .with_min_len(64)
            .zip(x.par_chunks_exact(w.inputs))
            .for_each(|(y, x)| one(x, w, bias, y));
    } else {
        y.chunks_exact_mut(w.outputs).zip(x.chunks_exact(w.inputs)).for_each(|(y, x)| one(x, w, bias, y));
    }
}
/// y += x·W
pub fn linear_add(x: &[f32], w: &Panels, y: &mut [f32]) {
    let mut t = vec![0.0; y.len()];
    linear(x, w, None, &mut t);
    y.iter_mut().zip(t).for_each(|(y, t)| *y += t);
}
/// dw += xᵀ·dy
pub fn weight_gradient(x: &[f32], dy: &[f32], k: usize, m: usize, dw: &mut [f32]) {
    let n = x.len() / k.max(1);
    if n == 0 {
        return;
    }
    // SAFETY: shapes are checked.
    assert!(dw.len() == k * m && dy.len() == n * m);
    unsafe {
        gemm::gemm(
            k,
            m,
            n,
            dw.as_mut_ptr(),
            1,
            m as isize,
            true,
            x.as_ptr(),
            k as isize,
            1,
            dy.as_ptr(),
            1,
            m as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        )
    }
}
/// db += Σ dy
pub fn bias_gradient(dy: &[f32], db: &mut [f32]) {
    for r in dy.chunks_exact(db.len()) {
        for (b, r) in db.iter_mut().zip(r) {
            *b += r;
        }
    }
}
