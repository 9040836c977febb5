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
                sum_lanes(simd, &db_lanes[(t - start) * s * LANES..][..s * LANES], db);
                sum_lanes(simd, &dc_lanes[(t - start) * s * LANES..][..s * LANES], dc);
            }
        }
    }
}

/// The sum of every sixteen values.
#[inline(always)]
fn sum_lanes<S: Simd>(simd: S, lanes: &[f32], sums: &mut [f32]) {
    for (lanes, sums) in lanes.chunks(LANES * LANES).zip(sums.chunks_mut(LANES)) {
        let mut all = [simd.splat(0.0); LANES];
        for i in 0..sums.len() {
            all[i] = load(simd, lanes, i);
        }
        write(simd, simd.sums(&all), sums, 0);
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
    let rows_here = end - start;
    let mut here = Stretch {
        rows: rows_here,
        step: [zero; STRETCH],
        fed: [zero; STRETCH],
        dy: [zero; STRETCH],
        missed: [0.0; STRETCH],
        decay: [zero; STRETCH],
        gone: [zero; STRETCH],
        last: load(simd, &saved[system.blocks() * s * LANES..], block),
        dfed: [zero; STRETCH],
        through: [zero; STRETCH],
        through_gap: [zero; STRETCH],
        dstep: [zero; STRETCH],
        dlast: zero,
    };
    for t in 0..rows_here {
        here.step[t] = read(simd, &rows.step_ne[(start + t) * e..][..e], first);
        here.fed[t] = simd.mul(here.step[t], read(simd, system.row(rows.x_nx, start + t).0, first));
        here.dy[t] = read(simd, &dy_ne[(start + t) * e..][..e], first);
        here.missed[t] = rows.gap(start + t) as f32;
        if own == 1 {
            here.decay[t] = exp_product(simd, here.step[t], load(simd, a, 0));
            if here.missed[t] > 0.0 {
                here.gone[t] = exp_product(simd, simd.mul(simd.splat(here.missed[t]), here.before(t)), load(simd, a, 0));
            }
        }
    }
    let states = &saved[block * s * LANES..][..s * LANES];
    let x_nx = &rows.x_nx[start * system.width()..];
    let grouped = if S::TILE > 1 { s / BACK * BACK } else { 0 };
    for n in (0..grouped).step_by(BACK) {
        group_backward::<S, BACK>(simd, system, x_nx, n, a, states, adjoint, sums, &mut here, db_lanes, dc_lanes);
    }
    for n in grouped..s {
        group_backward::<S, 1>(simd, system, x_nx, n, a, states, adjoint, sums, &mut here, db_lanes, dc_lanes);
    }
    if own == 1 {
        let (a, mut da) = (load(simd, a, 0), load(simd, sums, 0));
        for t in (0..rows_here).rev() {
            let inner = simd.mul(here.through[t], here.decay[t]);
            here.dstep[t] = simd.fma(inner, a, here.dstep[t]);
            da = simd.fma(inner, here.step[t], da);
            if here.missed[t] > 0.0 {
                let inner = simd.mul(here.through_gap[t], simd.splat(here.missed[t]));
                da = simd.fma(inner, here.before(t), da);
                here.reach_before(simd, t, simd.mul(inner, a));
            }
        }
        store(simd, da, sums, 0);
    }
    let skip = load(simd, &system.skip, block);
    let mut dskip = load(simd, sums, own);
    for t in 0..rows_here {
        let u = read(simd, system.row(rows.x_nx, start + t).0, first);
        dskip = simd.fma(here.dy[t], u, dskip);
        let du = simd.fma(here.dfed[t], here.step[t], simd.mul(skip, here.dy[t]));
        write(simd, du, &mut gradient.dx_nx[(start + t) * system.width()..][..e], first);
        let to = &mut gradient.dstep_ne[(start + t) * e..][..e];
        let own = simd.fma(here.dfed[t], u, here.dstep[t]);
        write(simd, simd.add(read(simd, to, first), own), to, first);
    }
    store(simd, dskip, sums, own);
    if start > 0 {
        let to = &mut gradient.dstep_ne[(start - 1) * e..][..e];
        write(simd, simd.add(read(simd, to, first), here.dlast), to, first);
    }
}

/// States of a block that go backwards together.
const BACK: usize = 4;

/// What the states of a block share over a stretch.
struct Stretch<F> {
    rows: usize,
    step: [F; STRETCH],
    fed: [F; STRETCH],
    dy: [F; STRETCH],
    missed: [f32; STRETCH],
    /// exp(Δ·A), and that of the gap before, where A is shared.
    decay: [F; STRETCH],
    gone: [F; STRETCH],
    /// The Δ before the stretch.
    last: F,
    dfed: [F; STRETCH],
    /// Σ g·h over states, where A is shared: through exp(Δ·A), and through that of the gap.
    through: [F; STRETCH],
    through_gap: [F; STRETCH],
    dstep: [F; STRETCH],
    /// What reaches the last Δ of the stretch before.
    dlast: F,
}

impl<F: Copy> Stretch<F> {
    #[inline(always)]
    fn before(&self, t: usize) -> F {
        if t == 0 { self.last } else { self.step[t - 1] }
    }

    #[inline(always)]
    fn reach_before<S: Simd<F = F>>(&mut self, simd: S, t: usize, part: F) {
        match t {
            0 => self.dlast = simd.add(self.dlast, part),
            _ => self.dstep[t - 1] = simd.add(self.dstep[t - 1], part),
        }
    }
}

/// `G` states of a block from `n` on, backwards over a stretch.
#[inline(always)]
fn group_backward<S: Simd, const G: usize>(
    simd: S,
    system: &Selective,
    x_nx: &[f32],
    n: usize,
    a: &[f32],
    states: &[f32],
    adjoint: &mut [f32],
    sums: &mut [f32],
    here: &mut Stretch<S::F>,
    db_lanes: &mut [f32],
    dc_lanes: &mut [f32],
) {
    let (s, shared, zero) = (system.states, system.own == 1, simd.splat(0.0));
    let (mut own, mut da, mut h, mut g) = ([zero; G], [zero; G], [zero; G], [zero; G]);
    for i in 0..G {
        if !shared {
            own[i] = load(simd, a, n + i);
            da[i] = load(simd, sums, n + i);
        }
        h[i] = load(simd, states, n + i);
        g[i] = load(simd, adjoint, n + i);
    }
    // The states again: before every row, its gap gone by.
    let (mut started, mut decay, mut gone) = ([[zero; G]; STRETCH], [[zero; G]; STRETCH], [[zero; G]; STRETCH]);
    for t in 0..here.rows {
        let (_, b, _) = system.row(x_nx, t);
        let b = &b[n..n + G];
        let dc = &mut dc_lanes[(t * s + n) * LANES..][..G * LANES];
        for i in 0..G {
            if here.missed[t] > 0.0 {
                gone[t][i] = match shared {
                    true => here.gone[t],
                    false => exp_product(simd, simd.mul(simd.splat(here.missed[t]), here.before(t)), own[i]),
                };
                h[i] = simd.mul(gone[t][i], h[i]);
            }
            started[t][i] = h[i];
            if shared {
                h[i] = simd.fma(here.decay[t], h[i], simd.mul(here.fed[t], simd.splat(b[i])));
            } else {
                decay[t][i] = exp_product(simd, here.step[t], own[i]);
                h[i] = simd.fma(decay[t][i], h[i], simd.mul(here.fed[t], simd.splat(b[i])));
            }
            store(simd, simd.fma(h[i], here.dy[t], load(simd, dc, i)), dc, i);
        }
    }
    for t in (0..here.rows).rev() {
        let (_, b, c) = system.row(x_nx, t);
        let (b, c) = (&b[n..n + G], &c[n..n + G]);
        let db = &mut db_lanes[(t * s + n) * LANES..][..G * LANES];
        let (dy, fed) = (here.dy[t], here.fed[t]);
        let (mut dfed, mut through, mut dstep) = (here.dfed[t], here.through[t], here.dstep[t]);
        for i in 0..G {
            g[i] = simd.fma(simd.splat(c[i]), dy, g[i]);
            store(simd, simd.fma(g[i], fed, load(simd, db, i)), db, i);
            dfed = simd.fma(g[i], simd.splat(b[i]), dfed);
            if shared {
                through = simd.fma(g[i], started[t][i], through);
                g[i] = simd.mul(g[i], here.decay[t]);
            } else {
                // Through exp(Δ·A) to Δ and A.
                g[i] = simd.mul(g[i], decay[t][i]);
                let inner = simd.mul(g[i], started[t][i]);
                dstep = simd.fma(inner, own[i], dstep);
                da[i] = simd.fma(inner, here.step[t], da[i]);
            }
        }
        (here.dfed[t], here.through[t], here.dstep[t]) = (dfed, through, dstep);
        if here.missed[t] > 0.0 {
            for i in 0..G {
                let inner = simd.mul(g[i], started[t][i]);
                if shared {
                    here.through_gap[t] = simd.add(here.through_gap[t], inner);
                } else {
                    let inner = simd.mul(inner, simd.splat(here.missed[t]));
                    da[i] = simd.fma(inner, here.before(t), da[i]);
                    here.reach_before(simd, t, simd.mul(inner, own[i]));
                }
                g[i] = simd.mul(g[i], gone[t][i]);
            }
        }
    }
    for i in 0..G {
        store(simd, g[i], adjoint, n + i);
        if !shared {
            store(simd, da[i], sums, n + i);
        }
    }
}
