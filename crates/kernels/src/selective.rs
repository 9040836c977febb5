//! The selective scan of Mamba (Gu & Dao 2023, arXiv:2312.00752) and Mamba-2 (Dao & Gu 2024, arXiv:2405.21060), one sample after the
//! other.
//!
//! ```text
//! h_t = exp(Δ_t·A) ⊙ h_{t−1} + (Δ_t·u_t)·B_t          y_t = C_t·h_t + skip·u_t
//! h_{t−1} ← exp(g·Δ_{t−1}·A) ⊙ h_{t−1}                 before a sample that comes after a gap of g samples
//! ```
//! A has a value for every state of a channel (Mamba) or one for all of them (Mamba-2, where channels of a head also share Δ). Sixteen
//! channels ride in the lanes; a stream's state is `[block of channels][state][16]`, then the last Δ `[block][16]`. An output adds its
//! states in order, whatever the number of rows. Backward recomputes from a state kept every [`STRETCH`] samples.
//! Shapes: `n` rows, `e` channels, `s` states a channel.

use crate::{
    simd::{LANES, Simd, Task, dispatch, load, read, store, write},
    streams::STRETCH,
};

/// States of a block that stay in registers together.
const GROUP: usize = 8;

/// A, packed for the lanes, and the weight of the input itself.
#[derive(Clone, Debug)]
pub struct Selective {
    channels: usize,
    states: usize,
    /// Values of A a channel: `states`, or one.
    own: usize,
    /// `[block][own][16]`.
    a: Vec<f32>,
    /// `[block][16]`.
    skip: Vec<f32>,
}

/// What a scan reads, of one stream.
#[derive(Clone, Copy, Debug)]
pub struct Selected<'a> {
    /// `[n][u e | B s | C s]`.
    pub x_nx: &'a [f32],
    /// Δ `[n][e]`.
    pub step_ne: &'a [f32],
    /// Samples missed before each row; empty: none.
    pub gaps: &'a [usize],
}

/// Gradients of one stream's scan.
#[derive(Debug)]
pub struct SelectedGradient<'a> {
    /// As [`Selected::x_nx`]; overwritten.
    pub dx_nx: &'a mut [f32],
    /// Of Δ `[n][e]`; added to.
    pub dstep_ne: &'a mut [f32],
    /// Sums of A's and the skip's, as [`Selective::collect`] takes them; added to.
    pub sums: &'a mut [f32],
}

impl Selective {
    /// Packs A `[e][own]`, every value negative, and the skip `[e]`.
    pub fn pack(a: &[f32], skip: &[f32], states: usize) -> Self {
        let channels = skip.len();
        let (own, blocks) = (a.len() / channels, channels.div_ceil(LANES));
        assert!(own == 1 || own == states, "A has a value a channel or a value a state");
        let mut packed = vec![0.0; blocks * own * LANES];
        for (place, &value) in a.iter().enumerate() {
            let (channel, state) = (place / own, place % own);
            packed[(channel / LANES * own + state) * LANES + channel % LANES] = value;
        }
        let mut padded = vec![0.0; blocks * LANES];
        padded[..channels].copy_from_slice(skip);
        Self { channels, states, own, a: packed, skip: padded }
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Numbers in the state of one stream.
    pub fn state_len(&self) -> usize {
        self.blocks() * (self.states + 1) * LANES
    }

    /// Whether a state from outside could be one of a stream's: no step is below zero.
    pub fn is_sound(&self, state: &[f32]) -> bool {
        state[self.blocks() * self.states * LANES..].iter().all(|&step| step >= 0.0)
    }

    /// About the multiply-adds of a row.
    pub fn work(&self) -> usize {
        8 * self.channels * self.states
    }

    /// Numbers in a stream's [`SelectedGradient::sums`].
    pub fn sums_len(&self) -> usize {
        self.blocks() * (self.own + 1) * LANES
    }

    /// Adds the gradients of A `[e][own]` and of the skip `[e]` that the sums hold.
    pub fn collect(&self, sums: &[f32], da: &mut [f32], dskip: &mut [f32]) {
        for channel in 0..self.channels {
            let block = &sums[channel / LANES * (self.own + 1) * LANES..];
            for state in 0..self.own {
                da[channel * self.own + state] += block[state * LANES + channel % LANES];
            }
            dskip[channel] += block[self.own * LANES + channel % LANES];
        }
    }

    /// One stream, from and to `state`; `saved`, unless it is empty, gets the state before every stretch.
    pub fn run(&self, rows: Selected<'_>, state: &mut [f32], y_ne: &mut [f32], saved: &mut [f32]) {
        assert!(rows.step_ne.len() == y_ne.len() && state.len() == self.state_len(), "rows of a selective scan");
        dispatch(Scan { system: self, rows, state, y_ne, saved });
    }

    /// Gradients of one stream, from what [`Selective::run`] saved. `scratch` has [`Selective::scratch_len`] values.
    pub fn backward(
        &self,
        rows: Selected<'_>,
        saved: &[f32],
        dy_ne: &[f32],
        gradient: SelectedGradient<'_>,
        scratch: &mut [f32],
    ) {
        dispatch(Backward { system: self, rows, saved, dy_ne, gradient, scratch });
    }

    /// Values of a row of [`Selected::x_nx`].
    pub fn width(&self) -> usize {
        self.channels + 2 * self.states
    }

    /// u, B and C of a row.
    #[inline(always)]
    fn row<'a>(&self, x_nx: &'a [f32], t: usize) -> (&'a [f32], &'a [f32], &'a [f32]) {
        let row = &x_nx[t * self.width()..][..self.width()];
        let (u, bc) = row.split_at(self.channels);
        let (b, c) = bc.split_at(self.states);
        (u, b, c)
    }

    /// Scratch of [`Selective::backward`].
    pub fn scratch_len(&self) -> usize {
        let adjoint = self.blocks() * self.states * LANES;
        adjoint + 2 * STRETCH * self.states * LANES
    }
}

impl Selected<'_> {
    fn gap(&self, t: usize) -> usize {
        self.gaps.get(t).copied().unwrap_or(0)
    }
}

struct Scan<'a> {
    system: &'a Selective,
    rows: Selected<'a>,
    state: &'a mut [f32],
    y_ne: &'a mut [f32],
    saved: &'a mut [f32],
}

impl Task for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, rows, state, y_ne, saved } = self;
        let (e, len) = (system.channels, system.state_len());
        let count = y_ne.len() / e;
        for (stretch, start) in (0..count).step_by(STRETCH).enumerate() {
            if !saved.is_empty() {
                saved[stretch * len..][..len].copy_from_slice(state);
            }
            let end = count.min(start + STRETCH);
            advance(simd, system, &rows, start, end, state, y_ne);
        }
    }
}

/// Rows `start..end`, at most a stretch.
#[inline(always)]
fn advance<S: Simd>(
    simd: S,
    system: &Selective,
    rows: &Selected<'_>,
    start: usize,
    end: usize,
    state: &mut [f32],
    y_ne: &mut [f32],
) {
    let (e, s) = (system.channels, system.states);
    let (states, last) = state.split_at_mut(system.blocks() * s * LANES);
    let mut decays = [simd.splat(0.0); STRETCH];
    for block in 0..system.blocks() {
        let first = block * LANES;
        let (skip, a) = (load(simd, &system.skip, block), &system.a[block * system.own * LANES..][..system.own * LANES]);
        for t in start..end {
            write(simd, simd.mul(skip, read(simd, system.row(rows.x_nx, t).0, first)), &mut y_ne[t * e..][..e], first);
            if system.own == 1 {
                decays[t - start] = exp_product(simd, read(simd, &rows.step_ne[t * e..][..e], first), load(simd, a, 0));
            }
        }
        let last = &mut last[first..][..LANES];
        let state = &mut states[block * s * LANES..][..s * LANES];
        let grouped = if S::TILE > 1 { s / GROUP * GROUP } else { 0 };
        for n in (0..grouped).step_by(GROUP) {
            group::<S, GROUP>(simd, system, rows, (start, end), block, n, a, &decays, last, state, y_ne);
        }
        for n in grouped..s {
            group::<S, 1>(simd, system, rows, (start, end), block, n, a, &decays, last, state, y_ne);
        }
        let step = read(simd, &rows.step_ne[(end - 1) * e..][..e], first);
        store(simd, step, last, 0);
    }
}

/// exp(Δ·A).
#[inline(always)]
fn exp_product<S: Simd>(simd: S, step: S::F, a: S::F) -> S::F {
    crate::math::exp(simd, simd.mul(step, a))
}

/// `G` states of a block from `n` on, over rows `start..end`.
#[inline(always)]
fn group<S: Simd, const G: usize>(
    simd: S,
    system: &Selective,
    rows: &Selected<'_>,
    (start, end): (usize, usize),
    block: usize,
    n: usize,
    a: &[f32],
    decays: &[S::F; STRETCH],
    last: &[f32],
    state: &mut [f32],
    y_ne: &mut [f32],
) {
    let (e, first, shared) = (system.channels, block * LANES, system.own == 1);
    let mut own = [simd.splat(0.0); G];
    let mut h = own;
    for g in 0..G {
        own[g] = load(simd, a, if shared { 0 } else { n + g });
        h[g] = load(simd, state, n + g);
    }
    let mut before = load(simd, last, 0);
    for t in start..end {
        let step = read(simd, &rows.step_ne[t * e..][..e], first);
        if rows.gap(t) > 0 {
            let gone = simd.mul(simd.splat(rows.gap(t) as f32), before);
            for g in 0..G {
                h[g] = simd.mul(exp_product(simd, gone, own[g]), h[g]);
            }
        }
        let fed = simd.mul(step, read(simd, system.row(rows.x_nx, t).0, first));
        let (_, b, c) = system.row(rows.x_nx, t);
        let (b, c) = (&b[n..n + G], &c[n..n + G]);
        let y = &mut y_ne[t * e..][..e];
        let mut total = read(simd, y, first);
        for g in 0..G {
            let decay = if shared { decays[t - start] } else { exp_product(simd, step, own[g]) };
            h[g] = simd.fma(decay, h[g], simd.mul(fed, simd.splat(b[g])));
            total = simd.fma(simd.splat(c[g]), h[g], total);
        }
        write(simd, total, y, first);
        before = step;
    }
    for g in 0..G {
        store(simd, h[g], state, n + g);
    }
}

struct Backward<'a> {
    system: &'a Selective,
    rows: Selected<'a>,
    saved: &'a [f32],
    dy_ne: &'a [f32],
    gradient: SelectedGradient<'a>,
    scratch: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, rows, saved, dy_ne, mut gradient, scratch } = self;
        let (e, s, len) = (system.channels, system.states, system.state_len());
        let count = dy_ne.len() / e;
        let (adjoint, lanes) = scratch.split_at_mut(system.blocks() * s * LANES);
        let (db_lanes, dc_lanes) = lanes.split_at_mut(STRETCH * s * LANES);
        adjoint.fill(0.0);
        for (index, saved) in saved.chunks_exact(len).enumerate().rev() {
            let (start, end) = (index * STRETCH, count.min((index + 1) * STRETCH));
            db_lanes.fill(0.0);
            dc_lanes.fill(0.0);
            for block in 0..system.blocks() {
                stretch_backward(
                    simd,
                    system,
                    &rows,
                    (start, end),
                    block,
                    saved,
                    &mut adjoint[block * s * LANES..][..s * LANES],
                    dy_ne,
                    &mut gradient,
                    db_lanes,
                    dc_lanes,
                );
            }
            for t in start..end {
                let (db, dc) = gradient.dx_nx[t * system.width()..][e..system.width()].split_at_mut(s);
                for n in 0..s {
                    let place = (t - start) * s + n;
                    db[n] = simd.sum(load(simd, db_lanes, place));
                    dc[n] = simd.sum(load(simd, dc_lanes, place));
                }
            }
        }
    }
}

/// One block of channels over rows `start..end`, backwards.
#[inline(always)]
fn stretch_backward<S: Simd>(
    simd: S,
    system: &Selective,
    rows: &Selected<'_>,
    (start, end): (usize, usize),
    block: usize,
    saved: &[f32],
    adjoint: &mut [f32],
    dy_ne: &[f32],
    gradient: &mut SelectedGradient<'_>,
    db_lanes: &mut [f32],
    dc_lanes: &mut [f32],
) {
    let (e, s, first, own, zero) = (system.channels, system.states, block * LANES, system.own, simd.splat(0.0));
    let a = &system.a[block * own * LANES..][..own * LANES];
    let sums = &mut gradient.sums[block * (own + 1) * LANES..][..(own + 1) * LANES];
    let (mut step, mut fed, mut dy) = ([zero; STRETCH], [zero; STRETCH], [zero; STRETCH]);
    let (mut dstep, mut dfed) = ([zero; STRETCH], [zero; STRETCH]);
    let rows_here = end - start;
    for t in 0..rows_here {
        step[t] = read(simd, &rows.step_ne[(start + t) * e..][..e], first);
        fed[t] = simd.mul(step[t], read(simd, system.row(rows.x_nx, start + t).0, first));
        dy[t] = read(simd, &dy_ne[(start + t) * e..][..e], first);
    }
    let last = load(simd, &saved[system.blocks() * s * LANES..], block);
    let before = |t: usize| if t == 0 { last } else { step[t - 1] };
    // What reaches the last Δ of the stretch before.
    let mut dlast = zero;
    let (mut h, mut decay) = ([zero; STRETCH + 1], [zero; STRETCH]);
    for n in 0..s {
        let a_n = load(simd, a, if own == 1 { 0 } else { n });
        let mut da = load(simd, sums, if own == 1 { 0 } else { n });
        // The states again, h[t] before row t.
        h[0] = load(simd, &saved[block * s * LANES..], n);
        for t in 0..rows_here {
            let gap = rows.gap(start + t);
            let mut start_h = h[t];
            if gap > 0 {
                start_h = simd.mul(exp_product(simd, simd.mul(simd.splat(gap as f32), before(t)), a_n), start_h);
            }
            decay[t] = exp_product(simd, step[t], a_n);
            let b = simd.splat(system.row(rows.x_nx, start + t).1[n]);
            h[t + 1] = simd.fma(decay[t], start_h, simd.mul(fed[t], b));
        }
        let mut g = load(simd, adjoint, n);
        for t in (0..rows_here).rev() {
            let place = t * s + n;
            let (_, b, c) = system.row(rows.x_nx, start + t);
            let (b, c) = (simd.splat(b[n]), simd.splat(c[n]));
            store(simd, simd.fma(h[t + 1], dy[t], load(simd, dc_lanes, place)), dc_lanes, place);
            g = simd.fma(c, dy[t], g);
            store(simd, simd.fma(g, fed[t], load(simd, db_lanes, place)), db_lanes, place);
            dfed[t] = simd.fma(g, b, dfed[t]);
            let gap = rows.gap(start + t);
            let missed = simd.splat(gap as f32);
            let gone = if gap > 0 { exp_product(simd, simd.mul(missed, before(t)), a_n) } else { simd.splat(1.0) };
            let start_h = simd.mul(gone, h[t]);
            // Through exp(Δ·A) to Δ and A.
            let inner = simd.mul(simd.mul(g, start_h), decay[t]);
            dstep[t] = simd.fma(inner, a_n, dstep[t]);
            da = simd.fma(inner, step[t], da);
            g = simd.mul(g, decay[t]);
            if gap > 0 {
                let inner = simd.mul(simd.mul(g, start_h), missed);
                let reached = simd.mul(inner, a_n);
                da = simd.fma(inner, before(t), da);
                match t {
                    0 => dlast = simd.add(dlast, reached),
                    _ => dstep[t - 1] = simd.add(dstep[t - 1], reached),
                }
                g = simd.mul(g, gone);
            }
        }
        store(simd, g, adjoint, n);
        store(simd, da, sums, if own == 1 { 0 } else { n });
    }
    let skip = load(simd, &system.skip, block);
    let mut dskip = load(simd, sums, own);
    for t in 0..rows_here {
        let u = read(simd, system.row(rows.x_nx, start + t).0, first);
        dskip = simd.fma(dy[t], u, dskip);
        let du = simd.fma(dfed[t], step[t], simd.mul(skip, dy[t]));
        write(simd, du, &mut gradient.dx_nx[(start + t) * system.width()..][..e], first);
        let to = &mut gradient.dstep_ne[(start + t) * e..][..e];
        let own = simd.fma(dfed[t], u, dstep[t]);
        write(simd, simd.add(read(simd, to, first), own), to, first);
    }
    store(simd, dskip, sums, own);
    if start > 0 {
        let to = &mut gradient.dstep_ne[(start - 1) * e..][..e];
        write(simd, simd.add(read(simd, to, first), dlast), to, first);
    }
}
