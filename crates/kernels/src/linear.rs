//! Products with a packed matrix: `y = x·W + b`, one row or many, the same bits.
//!
//! W `[k][m]` is packed once into panels of 64 columns, each `[k][64]`. An output is `b`, then one fused multiply-add for every
//! k in order, so it does not matter how many rows are computed together, on which instruction set or thread.
//! Weight gradients only have to be reproducible, so they use the `gemm` crate, cut into blocks by shape alone.

use crate::simd::{LANES, Simd, Task, dispatch};

/// Columns of a full panel.
const PANEL: usize = 4 * LANES;
/// Rows computed together.
const ROWS: usize = 6;
/// Multiply-adds below which a call is not split over threads.
const SPLIT: usize = 1 << 20;
/// Rows of a weight gradient that one task computes.
const GRADIENT_ROWS: usize = 64;

/// A matrix packed for [`linear`].
#[derive(Clone, Debug)]
pub struct Panels {
    inputs: usize,
    outputs: usize,
    data: Vec<f32>,
}

impl Panels {
    /// Packs `w`, row-major `[inputs][outputs]`.
    pub fn pack(w: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_eq!(w.len(), inputs * outputs, "a matrix of {inputs}×{outputs}");
        Self::pack_with(inputs, outputs, |k, m| w[k * outputs + m])
    }

    /// Packs the transpose of `w`, row-major `[inputs][outputs]`: a map from `outputs` to `inputs` values.
    pub fn pack_transposed(w: &[f32], inputs: usize, outputs: usize) -> Self {
        assert_eq!(w.len(), inputs * outputs, "a matrix of {inputs}×{outputs}");
        Self::pack_with(outputs, inputs, |k, m| w[m * outputs + k])
    }

    fn pack_with(inputs: usize, outputs: usize, value: impl Fn(usize, usize) -> f32) -> Self {
        let mut data = Vec::with_capacity(inputs * outputs.next_multiple_of(LANES));
        for start in (0..outputs).step_by(PANEL) {
            let width = panel_width(outputs - start);
            for k in 0..inputs {
                data.extend((start..start + width).map(|m| if m < outputs { value(k, m) } else { 0.0 }));
            }
        }
        Self { inputs, outputs, data }
    }

    /// Values a row, in.
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Values a row, out.
    pub fn outputs(&self) -> usize {
        self.outputs
    }
}

/// Packed columns of a panel with `left` columns to come.
fn panel_width(left: usize) -> usize {
    left.min(PANEL).next_multiple_of(LANES)
}

/// What an output starts from.
#[derive(Clone, Copy)]
enum Start<'a> {
    Zero,
    Bias(&'a [f32]),
    Output,
}

/// `y = x·W + bias`, rows of `x` and `y` packed.
pub fn linear(x_nk: &[f32], w: &Panels, bias_m: Option<&[f32]>, y_nm: &mut [f32]) {
    let start = match bias_m {
        Some(bias) => {
            assert_eq!(bias.len(), w.outputs, "bias");
            Start::Bias(bias)
        }
        None => Start::Zero,
    };
    split(x_nk, w, start, y_nm);
}

/// `y += x·W`.
pub fn linear_add(x_nk: &[f32], w: &Panels, y_nm: &mut [f32]) {
    split(x_nk, w, Start::Output, y_nm);
}

fn split(x_nk: &[f32], w: &Panels, start: Start<'_>, y_nm: &mut [f32]) {
    assert_eq!(x_nk.len() * w.outputs, y_nm.len() * w.inputs, "rows of x and y");
    let rows = y_nm.len() / w.outputs.max(1);
    if rows >= 4 * ROWS && x_nk.len() * w.outputs >= 2 * SPLIT && rayon::current_num_threads() > 1 {
        let half = (rows / 2).next_multiple_of(ROWS);
        let (x_low, x_high) = x_nk.split_at(half * w.inputs);
        let (y_low, y_high) = y_nm.split_at_mut(half * w.outputs);
        rayon::join(|| split(x_low, w, start, y_low), || split(x_high, w, start, y_high));
    } else {
        dispatch(Product { x_nk, w, start, y_nm });
    }
}

struct Product<'a> {
    x_nk: &'a [f32],
    w: &'a Panels,
    start: Start<'a>,
    y_nm: &'a mut [f32],
}

impl Task for Product<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { x_nk, w, start, y_nm } = self;
        let (k, m) = (w.inputs, w.outputs);
        let mut panel = w.data.as_slice();
        for column in (0..m).step_by(PANEL) {
            let width = panel_width(m - column);
            let (this, rest) = panel.split_at(k * width);
            panel = rest;
            let mut vector = 0;
            while vector * LANES < width {
                let vectors = S::TILE.min(width / LANES - vector);
                let place = Place { panel: &this[vector * LANES..], width, column: column + vector * LANES };
                match vectors {
                    4 => columns::<S, 4>(simd, x_nk, k, place, start, m, y_nm),
                    3 => columns::<S, 3>(simd, x_nk, k, place, start, m, y_nm),
                    2 => columns::<S, 2>(simd, x_nk, k, place, start, m, y_nm),
                    _ => columns::<S, 1>(simd, x_nk, k, place, start, m, y_nm),
                }
                vector += vectors;
            }
        }
    }
}

/// Columns of a panel: its values from the first of them on, the distance of its rows, and where they stand in `y`.
#[derive(Clone, Copy)]
struct Place<'a> {
    panel: &'a [f32],
    width: usize,
    column: usize,
}

#[inline(always)]
fn columns<S: Simd, const C: usize>(
    simd: S,
    x_nk: &[f32],
    k: usize,
    place: Place<'_>,
    start: Start<'_>,
    m: usize,
    y_nm: &mut [f32],
) {
    let rows = y_nm.len() / m;
    let mut row = 0;
    while row + ROWS <= rows {
        tile::<S, ROWS, C>(simd, &x_nk[row * k..], k, place, start, m, &mut y_nm[row * m..]);
        row += ROWS;
    }
    let (x, y) = (&x_nk[row * k..], &mut y_nm[row * m..]);
    match rows - row {
        5 => tile::<S, 5, C>(simd, x, k, place, start, m, y),
        4 => tile::<S, 4, C>(simd, x, k, place, start, m, y),
        3 => tile::<S, 3, C>(simd, x, k, place, start, m, y),
        2 => tile::<S, 2, C>(simd, x, k, place, start, m, y),
        1 => tile::<S, 1, C>(simd, x, k, place, start, m, y),
        _ => {}
    }
}

/// `R` rows times `C` vectors of columns.
#[inline(always)]
fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    k: usize,
    place: Place<'_>,
    start: Start<'_>,
    m: usize,
    y: &mut [f32],
) {
    let Place { panel, width, column } = place;
    let span = |c: usize| column + c * LANES..(column + (c + 1) * LANES).min(m);
    let mut sums = [[simd.splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            match start {
                Start::Zero => {}
                Start::Bias(bias) => sums[r][c] = read(simd, &bias[span(c)]),
                Start::Output => sums[r][c] = read(simd, &y[r * m..][span(c)]),
            }
        }
    }
    assert!(x.len() >= R * k && (k == 0 || panel.len() >= (k - 1) * width + C * LANES));
    for i in 0..k {
        // SAFETY: the assertion above holds every index of row `i` of the panel and of value `i` of each row of x.
        unsafe {
            let weights: [S::F; C] =
                std::array::from_fn(|c| simd.load(&*panel.as_ptr().add(i * width + c * LANES).cast::<[f32; LANES]>()));
            for r in 0..R {
                let value = simd.splat(*x.get_unchecked(r * k + i));
                for c in 0..C {
                    sums[r][c] = simd.fma(value, weights[c], sums[r][c]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            write(simd, sums[r][c], &mut y[r * m..][span(c)]);
        }
    }
}

#[inline(always)]
fn read<S: Simd>(simd: S, from: &[f32]) -> S::F {
    match from.first_chunk() {
        Some(whole) => simd.load(whole),
        None => simd.load_part(from),
    }
}

#[inline(always)]
fn write<S: Simd>(simd: S, value: S::F, to: &mut [f32]) {
    match to.first_chunk_mut() {
        Some(whole) => simd.store(value, whole),
        None => simd.store_part(value, to),
    }
}

/// `dw += xᵀ·dy`: the gradient of W `[k][m]` from `n` rows.
pub fn weight_gradient(x_nk: &[f32], dy_nm: &[f32], k: usize, m: usize, dw_km: &mut [f32]) {
    let rows = x_nk.len() / k.max(1);
    assert!(dw_km.len() == k * m && dy_nm.len() == rows * m && x_nk.len() == rows * k, "shapes of a weight gradient");
    if rows > 0 {
        gradient_rows(x_nk, dy_nm, k, m, 0, dw_km);
    }
}

/// Rows `first..` of dw, by halves of whole blocks, so that a block is always computed alike.
fn gradient_rows(x_nk: &[f32], dy_nm: &[f32], k: usize, m: usize, first: usize, dw: &mut [f32]) {
    let count = dw.len() / m.max(1);
    let rows = dy_nm.len() / m.max(1);
    if count <= GRADIENT_ROWS {
        gradient_block(x_nk, dy_nm, k, m, first, dw);
        return;
    }
    let half = count.div_ceil(2).next_multiple_of(GRADIENT_ROWS);
    let (low, high) = dw.split_at_mut(half * m);
    let mut low = || gradient_rows(x_nk, dy_nm, k, m, first, low);
    let mut high = || gradient_rows(x_nk, dy_nm, k, m, first + half, high);
    if rows * count * m >= 2 * SPLIT {
        rayon::join(low, high);
    } else {
        low();
        high();
    }
}

fn gradient_block(x_nk: &[f32], dy_nm: &[f32], k: usize, m: usize, first: usize, dw: &mut [f32]) {
    let (rows, count) = (dy_nm.len() / m.max(1), dw.len() / m.max(1));
    assert!(x_nk.len() == rows * k && first + count <= k);
    // SAFETY: by the assertion, columns first..first + count of x [rows][k], dy [rows][m] and dw [count][m] are in bounds.
    unsafe {
        gemm::gemm(
            count,
            m,
            rows,
            dw.as_mut_ptr(),
            1,
            m as isize,
            true,
            x_nk.as_ptr().add(first),
            k as isize,
            1,
            dy_nm.as_ptr(),
            1,
            m as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

/// `db += Σ dy` over the rows.
pub fn bias_gradient(dy_nm: &[f32], db_m: &mut [f32]) {
    for row in dy_nm.chunks_exact(db_m.len()) {
        db_m.iter_mut().zip(row).for_each(|(total, part)| *total += part);
    }
}
