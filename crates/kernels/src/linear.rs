//! Products with a packed matrix: `y = x·W + b`, one row or many, the same bits.
//!
//! W `[k][m]` is packed once into panels of 64 columns, each `[k][64]`. An output is `b`, then one fused multiply-add for every
//! k in order, so it does not matter how many rows are computed together, on which instruction set or thread. A weight gradient
//! likewise goes through the rows in order.

use crate::{
    simd::{LANES, Simd, Task, dispatch, read, write},
    streams,
};

/// Columns of a full panel.
const PANEL: usize = 4 * LANES;
/// Rows computed together, with a panel's whole width.
const ROWS: usize = 6;
/// Rows computed together where there are many, with half a panel's width: fewer bytes of weights a multiplication.
const MANY: usize = 12;
/// Values of k that such a product goes through before it turns to other rows; outputs rest in `y` meanwhile.
const SLAB: usize = 128;
/// Such tiles that share half a panel while it is in the nearest cache.
const TILES: usize = 4;
/// Distance of such rows once copied: not a power of two, so that they do not fall into the same few lines of the cache.
const COPIED: usize = SLAB + LANES;
/// Multiply-adds below which a call is not split over threads.
const SPLIT: usize = 1 << 20;

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
        let rows = y_nm.len() / m.max(1);
        let mut panels = w.data.as_slice();
        let mut done = 0;
        if S::TILE >= 4 && k > 0 && rows >= MANY {
            done = m / PANEL * PANEL;
            let (full, rest) = panels.split_at(k * done);
            panels = rest;
            many(simd, x_nk, k, full, start, m, y_nm);
        }
        // Where registers are few, a tile of few rows fills them with columns: one sum would wait for the other.
        let whole = if S::TILE >= 4 { rows } else { rows / ROWS * ROWS };
        let wide = match rows - whole {
            1 => 4,
            2 => 2,
            _ => 1,
        };
        let (x_low, x_high) = x_nk.split_at(whole * k);
        let (y_low, y_high) = y_nm.split_at_mut(whole * m);
        for (x_nk, y_nm, tile) in [(x_low, y_low, S::TILE), (x_high, y_high, wide)] {
            let mut panels = panels;
            for column in (done..m).step_by(PANEL) {
                let width = panel_width(m - column);
                let (this, rest) = panels.split_at(k * width);
                panels = rest;
                let mut vector = 0;
                while vector * LANES < width {
                    let vectors = tile.min(width / LANES - vector);
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
}

/// Columns of a panel: its values from the first of them on, the distance of its rows, and where they stand in `y`.
#[derive(Clone, Copy)]
struct Place<'a> {
    panel: &'a [f32],
    width: usize,
    column: usize,
}

/// The whole panels for many rows: slabs of k, tiles of rows copied together, halves of panels. Every output still goes through k in
/// order.
#[inline(always)]
fn many<S: Simd>(simd: S, x_nk: &[f32], k: usize, panels: &[f32], start: Start<'_>, m: usize, y_nm: &mut [f32]) {
    let (rows, halves) = (y_nm.len() / m, panels.len() / (k * PANEL) * 2);
    // Rows copied side by side have addresses that the compiler knows.
    let mut tile_x = [0.0; TILES * MANY * COPIED];
    for slab in (0..k).step_by(SLAB) {
        let depth = SLAB.min(k - slab);
        let start = if slab == 0 { start } else { Start::Output };
        let place = |half: usize| {
            let (panel, within) = (half / 2, half % 2 * (PANEL / 2));
            Place { panel: &panels[panel * k * PANEL + slab * PANEL + within..], width: PANEL, column: panel * PANEL + within }
        };
        let mut row = 0;
        while row + MANY <= rows {
            let tiles = TILES.min((rows - row) / MANY);
            for (r, to) in tile_x.chunks_exact_mut(COPIED).take(tiles * MANY).enumerate() {
                to[..depth].copy_from_slice(&x_nk[(row + r) * k + slab..][..depth]);
            }
            for half in 0..halves {
                for t in 0..tiles {
                    let (x, y) = (&tile_x[t * MANY * COPIED..], &mut y_nm[(row + t * MANY) * m..]);
                    tile::<S, MANY, 2>(simd, x, COPIED, depth, place(half), start, m, y);
                }
            }
            row += tiles * MANY;
        }
        while row < rows {
            let few = match rows - row {
                1 => 1,
                2..ROWS => 2,
                _ => ROWS,
            };
            for half in 0..halves {
                let (x, y) = (&x_nk[row * k + slab..], &mut y_nm[row * m..]);
                match few {
                    1 => tile::<S, 1, 2>(simd, x, k, depth, place(half), start, m, y),
                    2 => tile::<S, 2, 2>(simd, x, k, depth, place(half), start, m, y),
                    _ => tile::<S, ROWS, 2>(simd, x, k, depth, place(half), start, m, y),
                }
            }
            row += few;
        }
    }
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
        tile::<S, ROWS, C>(simd, &x_nk[row * k..], k, k, place, start, m, &mut y_nm[row * m..]);
        row += ROWS;
    }
    let (x, y) = (&x_nk[row * k..], &mut y_nm[row * m..]);
    match rows - row {
        5 => tile::<S, 5, C>(simd, x, k, k, place, start, m, y),
        4 => tile::<S, 4, C>(simd, x, k, k, place, start, m, y),
        3 => tile::<S, 3, C>(simd, x, k, k, place, start, m, y),
        2 => tile::<S, 2, C>(simd, x, k, k, place, start, m, y),
        1 => tile::<S, 1, C>(simd, x, k, k, place, start, m, y),
        _ => {}
    }
}

/// `R` rows times `C` vectors of columns, over `depth` values of k; rows of x are `row_step` values apart.
#[inline(always)]
fn tile<S: Simd, const R: usize, const C: usize>(
    simd: S,
    x: &[f32],
    row_step: usize,
    depth: usize,
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
                Start::Bias(bias) => sums[r][c] = read(simd, &bias[span(c)], 0),
                Start::Output => sums[r][c] = read(simd, &y[r * m..][span(c)], 0),
            }
        }
    }
    assert!(depth == 0 || (x.len() >= (R - 1) * row_step + depth && panel.len() >= (depth - 1) * width + C * LANES));
    for i in 0..depth {
        // SAFETY: the assertion above holds every index of row `i` of the panel and of value `i` of each row of x.
        unsafe {
            let weights: [S::F; C] =
                std::array::from_fn(|c| simd.load(&*panel.as_ptr().add(i * width + c * LANES).cast::<[f32; LANES]>()));
            for r in 0..R {
                let value = simd.splat(*x.get_unchecked(r * row_step + i));
                for c in 0..C {
                    sums[r][c] = simd.fma(value, weights[c], sums[r][c]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            write(simd, sums[r][c], &mut y[r * m..][span(c)], 0);
        }
    }
}

/// `dw += xᵀ·dy`: the gradient of W `[k][m]` from `n` rows.
pub fn weight_gradient(x_nk: &[f32], dy_nm: &[f32], k: usize, m: usize, dw_km: &mut [f32]) {
    let rows = x_nk.len() / k.max(1);
    assert!(dw_km.len() == k * m && dy_nm.len() == rows * m && x_nk.len() == rows * k, "shapes of a weight gradient");
    if rows > 0 && m > 0 {
        gradient_rows(x_nk, dy_nm, k, m, 0, dw_km);
    }
}

/// Rows `first..` of dw, by halves over threads. Every element goes through the rows in order, so the halves do not show.
fn gradient_rows(x_nk: &[f32], dy_nm: &[f32], k: usize, m: usize, first: usize, dw: &mut [f32]) {
    let (count, rows) = (dw.len() / m, dy_nm.len() / m);
    if count >= 2 * TILES * MANY && rows * count * m >= 2 * SPLIT && rayon::current_num_threads() > 1 {
        let half = (count / 2).next_multiple_of(MANY);
        let (low, high) = dw.split_at_mut(half * m);
        rayon::join(|| gradient_rows(x_nk, dy_nm, k, m, first, low), || gradient_rows(x_nk, dy_nm, k, m, first + half, high));
    } else {
        dispatch(Gradient { x_nk, dy_nm, k, m, first, dw });
    }
}

struct Gradient<'a> {
    x_nk: &'a [f32],
    dy_nm: &'a [f32],
    k: usize,
    m: usize,
    first: usize,
    dw: &'a mut [f32],
}

impl Task for Gradient<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        if S::TILE >= 4 { gradient::<S, MANY, 2>(simd, self) } else { gradient::<S, ROWS, 1>(simd, self) }
    }
}

/// Tiles of `R` rows times `C` vectors of dw. Slabs of the rows are copied so that a tile reads both sides one value after the other.
#[inline(always)]
fn gradient<S: Simd, const R: usize, const C: usize>(simd: S, task: Gradient<'_>) {
    let Gradient { x_nk, dy_nm, k, m, first, dw } = task;
    let (rows, count, width) = (dy_nm.len() / m, dw.len() / m, C * LANES);
    let slab = SLAB.min(rows);
    // `[group of columns][row][width]`, zeros beyond the last column, and `[tile][row][R]` of a few tiles.
    let mut columns = vec![0.0; m.div_ceil(width) * slab * width];
    let mut tiles = vec![0.0; TILES * slab * R];
    for start in (0..rows).step_by(SLAB) {
        let depth = SLAB.min(rows - start);
        for (group, to) in columns.chunks_exact_mut(slab * width).enumerate() {
            let part = group * width..((group + 1) * width).min(m);
            for (row, to) in to.chunks_exact_mut(width).take(depth).enumerate() {
                copy_up_to(&dy_nm[(start + row) * m..][part.clone()], to, width);
            }
        }
        for block in (0..count).step_by(TILES * R) {
            let here = (count - block).min(TILES * R);
            for (t, to) in tiles.chunks_exact_mut(slab * R).take(here.div_ceil(R)).enumerate() {
                let part = t * R..((t + 1) * R).min(here);
                for (row, to) in to.chunks_exact_mut(R).take(depth).enumerate() {
                    copy_up_to(&x_nk[(start + row) * k + first + block..][part.clone()], to, R);
                }
            }
            for (group, right) in columns.chunks_exact(slab * width).enumerate() {
                for (t, left) in tiles.chunks_exact(slab * R).take(here.div_ceil(R)).enumerate() {
                    let (left, right) = (&left[..depth * R], &right[..depth * width]);
                    let valid = (here - t * R).min(R);
                    outer::<S, R, C>(simd, left, right, group * width, valid, m, &mut dw[(block + t * R) * m..]);
                }
            }
        }
    }
}

/// Copies all of `from`; where that is `width`, in a few instructions, as the compiler then knows how much it is.
#[inline(always)]
fn copy_up_to(from: &[f32], to: &mut [f32], width: usize) {
    if from.len() == width {
        to[..width].copy_from_slice(&from[..width]);
    } else {
        to[..from.len()].copy_from_slice(from);
    }
}

/// `dw += leftᵀ·right`, the first `valid` rows of a tile at one group of columns.
#[inline(always)]
fn outer<S: Simd, const R: usize, const C: usize>(
    simd: S,
    left: &[f32],
    right: &[f32],
    column: usize,
    valid: usize,
    m: usize,
    dw: &mut [f32],
) {
    let span = |c: usize| (column + c * LANES).min(m)..(column + (c + 1) * LANES).min(m);
    let mut sums = [[simd.splat(0.0); C]; R];
    for r in 0..R {
        for c in 0..C {
            if r < valid {
                sums[r][c] = read(simd, &dw[r * m..][span(c)], 0);
            }
        }
    }
    let depth = left.len() / R;
    assert!(right.len() == depth * C * LANES);
    for i in 0..depth {
        // SAFETY: by the assertion, i is a row of both sides.
        unsafe {
            let weights: [S::F; C] =
                std::array::from_fn(|c| simd.load(&*right.as_ptr().add((i * C + c) * LANES).cast::<[f32; LANES]>()));
            for r in 0..R {
                let value = simd.splat(*left.get_unchecked(i * R + r));
                for c in 0..C {
                    sums[r][c] = simd.fma(value, weights[c], sums[r][c]);
                }
            }
        }
    }
    for r in 0..R {
        for c in 0..C {
            if r < valid {
                write(simd, sums[r][c], &mut dw[r * m..][span(c)], 0);
            }
        }
    }
}

/// `db += Σ dy` over the rows.
pub fn bias_gradient(dy_nm: &[f32], db_m: &mut [f32]) {
    streams::add_up(dy_nm, db_m);
}
