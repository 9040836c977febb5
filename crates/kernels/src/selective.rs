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

/// States of a block that go through a stretch together; where registers are many they stay there.
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
        self.blocks() * self.states * LANES
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
        let grouped = s / GROUP * GROUP;
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
        scratch.fill(0.0);
        let x_nx = rows.x_nx;
        let mut blocks = vec![Stretch::new(simd); system.blocks()];
        let mut wide = Group::<S::F, BACK>::new(simd.splat(0.0));
        let mut narrow = Group::<S::F, 1>::new(simd.splat(0.0));
        let grouped = s / BACK * BACK;
        for (index, saved) in saved.chunks_exact(len).enumerate().rev() {
            let (start, end) = (index * STRETCH, count.min((index + 1) * STRETCH));
            for (block, here) in blocks.iter_mut().enumerate() {
                here.begin(simd, system, &rows, (start, end), block, saved, dy_ne);
            }
            let x_nx = &x_nx[start * system.width()..end * system.width()];
            let dx_nx = &mut gradient.dx_nx[start * system.width()..end * system.width()];
            for n in (0..grouped).step_by(BACK) {
                wide.backward(simd, system, x_nx, n, saved, scratch, gradient.sums, &mut blocks, dx_nx);
            }
            for n in grouped..s {
                narrow.backward(simd, system, x_nx, n, saved, scratch, gradient.sums, &mut blocks, dx_nx);
            }
            for (block, here) in blocks.iter_mut().enumerate() {
                here.end(simd, system, &rows, start, block, &mut gradient);
            }
        }
    }
}

/// States of a block that go backwards together. Blocks go by inside them, so that what is summed over blocks stays in the nearest cache.
const BACK: usize = 8;

/// What the states of a block share over a stretch.
#[derive(Clone)]
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
    fn new<S: Simd<F = F>>(simd: S) -> Self {
        let (zero, zeros) = (simd.splat(0.0), [simd.splat(0.0); STRETCH]);
        Self {
            rows: 0,
            step: zeros,
            fed: zeros,
            dy: zeros,
            missed: [0.0; STRETCH],
            decay: zeros,
            gone: zeros,
            last: zero,
            dfed: zeros,
            through: zeros,
            through_gap: zeros,
            dstep: zeros,
            dlast: zero,
        }
    }

    /// Reads rows `start..end`.
    #[inline(always)]
    fn begin<S: Simd<F = F>>(
        &mut self,
        simd: S,
        system: &Selective,
        rows: &Selected<'_>,
        (start, end): (usize, usize),
        block: usize,
        saved: &[f32],
        dy_ne: &[f32],
    ) {
        let (e, first, zero) = (system.channels, block * LANES, simd.splat(0.0));
        self.rows = end - start;
        self.last = load(simd, &saved[system.blocks() * system.states * LANES..], block);
        self.dlast = zero;
        for t in 0..self.rows {
            self.step[t] = read(simd, &rows.step_ne[(start + t) * e..][..e], first);
            self.fed[t] = simd.mul(self.step[t], read(simd, system.row(rows.x_nx, start + t).0, first));
            self.dy[t] = read(simd, &dy_ne[(start + t) * e..][..e], first);
            self.missed[t] = rows.gap(start + t) as f32;
            (self.dfed[t], self.through[t], self.through_gap[t], self.dstep[t]) = (zero, zero, zero, zero);
            if system.own == 1 {
                let a = load(simd, &system.a, block);
                self.decay[t] = exp_product(simd, self.step[t], a);
                if self.missed[t] > 0.0 {
                    self.gone[t] = exp_product(simd, simd.mul(simd.splat(self.missed[t]), self.before(t)), a);
                }
            }
        }
    }

    /// From what the states have added up to the gradients of rows `start..`.
    #[inline(always)]
    fn end<S: Simd<F = F>>(
        &mut self,
        simd: S,
        system: &Selective,
        rows: &Selected<'_>,
        start: usize,
        block: usize,
        gradient: &mut SelectedGradient<'_>,
    ) {
        let (e, own, first) = (system.channels, system.own, block * LANES);
        let sums = &mut gradient.sums[block * (own + 1) * LANES..][..(own + 1) * LANES];
        if own == 1 {
            let (a, mut da) = (load(simd, &system.a, block), load(simd, sums, 0));
            for t in (0..self.rows).rev() {
                let inner = simd.mul(self.through[t], self.decay[t]);
                self.dstep[t] = simd.fma(inner, a, self.dstep[t]);
                da = simd.fma(inner, self.step[t], da);
                if self.missed[t] > 0.0 {
                    let inner = simd.mul(self.through_gap[t], simd.splat(self.missed[t]));
                    da = simd.fma(inner, self.before(t), da);
                    self.reach_before(simd, t, simd.mul(inner, a));
                }
            }
            store(simd, da, sums, 0);
        }
        let skip = load(simd, &system.skip, block);
        let mut dskip = load(simd, sums, own);
        for t in 0..self.rows {
            let u = read(simd, system.row(rows.x_nx, start + t).0, first);
            dskip = simd.fma(self.dy[t], u, dskip);
            let du = simd.fma(self.dfed[t], self.step[t], simd.mul(skip, self.dy[t]));
            write(simd, du, &mut gradient.dx_nx[(start + t) * system.width()..][..e], first);
            let to = &mut gradient.dstep_ne[(start + t) * e..][..e];
            let own = simd.fma(self.dfed[t], u, self.dstep[t]);
            write(simd, simd.add(read(simd, to, first), own), to, first);
        }
        store(simd, dskip, sums, own);
        if start > 0 {
            let to = &mut gradient.dstep_ne[(start - 1) * e..][..e];
            write(simd, simd.add(read(simd, to, first), self.dlast), to, first);
        }
    }

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

/// `G` states, backwards over a stretch, of all blocks.
struct Group<F, const G: usize> {
    /// States before every row, its gap gone by, and exp(Δ·A) of the row and of the gap where A is not shared.
    started: [[F; G]; STRETCH],
    decay: [[F; G]; STRETCH],
    gone: [[F; G]; STRETCH],
    /// Lanes of the gradients of B and C.
    db: [[F; G]; STRETCH],
    dc: [[F; G]; STRETCH],
}

impl<F: Copy, const G: usize> Group<F, G> {
    #[inline(always)]
    fn new(zero: F) -> Self {
        let zeros = [[zero; G]; STRETCH];
        Self { started: zeros, decay: zeros, gone: zeros, db: zeros, dc: zeros }
    }

    /// The states from `n` on.
    #[inline(always)]
    fn backward<S: Simd<F = F>>(
        &mut self,
        simd: S,
        system: &Selective,
        x_nx: &[f32],
        n: usize,
        saved: &[f32],
        adjoint: &mut [f32],
        sums: &mut [f32],
        blocks: &mut [Stretch<F>],
        dx_nx: &mut [f32],
    ) {
        let (e, s, own, zero) = (system.channels, system.states, system.own, simd.splat(0.0));
        for t in 0..STRETCH {
            for i in 0..G {
                (self.db[t][i], self.dc[t][i]) = (zero, zero);
            }
        }
        for (block, here) in blocks.iter_mut().enumerate() {
            let (a, sums) = (&system.a[block * own * LANES..], &mut sums[block * (own + 1) * LANES..]);
            let (states, adjoint) = (&saved[block * s * LANES..], &mut adjoint[block * s * LANES..]);
            if own == 1 {
                self.shared(simd, system, x_nx, n, states, adjoint, here);
            } else {
                self.apart(simd, system, x_nx, n, a, states, adjoint, sums, here);
            }
        }
        for t in 0..x_nx.len() / system.width() {
            let (db, dc) = dx_nx[t * system.width()..][e..system.width()].split_at_mut(s);
            let (db, dc) = (&mut db[n..n + G], &mut dc[n..n + G]);
            if 2 * G == LANES {
                let (mut all, mut lanes) = ([zero; LANES], [0.0; LANES]);
                for i in 0..G {
                    (all[i], all[G + i]) = (self.db[t][i], self.dc[t][i]);
                }
                simd.store(simd.sums(&all), &mut lanes);
                db.copy_from_slice(&lanes[..G]);
                dc.copy_from_slice(&lanes[G..]);
            } else {
                for i in 0..G {
                    (db[i], dc[i]) = (simd.sum(self.db[t][i]), simd.sum(self.dc[t][i]));
                }
            }
        }
    }

    /// One block whose states share A.
    #[inline(always)]
    fn shared<S: Simd<F = F>>(
        &mut self,
        simd: S,
        system: &Selective,
        x_nx: &[f32],
        n: usize,
        states: &[f32],
        adjoint: &mut [f32],
        here: &mut Stretch<F>,
    ) {
        let (mut h, mut g) = ([simd.splat(0.0); G], [simd.splat(0.0); G]);
        for i in 0..G {
            (h[i], g[i]) = (load(simd, states, n + i), load(simd, adjoint, n + i));
        }
        for t in 0..here.rows {
            let b = &system.row(x_nx, t).1[n..n + G];
            let (dy, fed, decay) = (here.dy[t], here.fed[t], here.decay[t]);
            if here.missed[t] > 0.0 {
                for i in 0..G {
                    h[i] = simd.mul(here.gone[t], h[i]);
                }
            }
            for i in 0..G {
                self.started[t][i] = h[i];
                h[i] = simd.fma(decay, h[i], simd.mul(fed, simd.splat(b[i])));
                self.dc[t][i] = simd.fma(h[i], dy, self.dc[t][i]);
            }
        }
        for t in (0..here.rows).rev() {
            let (_, b, c) = system.row(x_nx, t);
            let (b, c) = (&b[n..n + G], &c[n..n + G]);
            let (dy, fed, decay) = (here.dy[t], here.fed[t], here.decay[t]);
            let (mut dfed, mut through) = (here.dfed[t], here.through[t]);
            for i in 0..G {
                g[i] = simd.fma(simd.splat(c[i]), dy, g[i]);
                self.db[t][i] = simd.fma(g[i], fed, self.db[t][i]);
                dfed = simd.fma(g[i], simd.splat(b[i]), dfed);
                through = simd.fma(g[i], self.started[t][i], through);
                g[i] = simd.mul(g[i], decay);
            }
            (here.dfed[t], here.through[t]) = (dfed, through);
            if here.missed[t] > 0.0 {
                for i in 0..G {
                    here.through_gap[t] = simd.fma(g[i], self.started[t][i], here.through_gap[t]);
                    g[i] = simd.mul(g[i], here.gone[t]);
                }
            }
        }
        for i in 0..G {
            store(simd, g[i], adjoint, n + i);
        }
    }

    /// One block whose states have an A each.
    #[inline(always)]
    fn apart<S: Simd<F = F>>(
        &mut self,
        simd: S,
        system: &Selective,
        x_nx: &[f32],
        n: usize,
        a: &[f32],
        states: &[f32],
        adjoint: &mut [f32],
        sums: &mut [f32],
        here: &mut Stretch<F>,
    ) {
        let zero = simd.splat(0.0);
        let (mut own, mut da, mut h, mut g) = ([zero; G], [zero; G], [zero; G], [zero; G]);
        for i in 0..G {
            (own[i], da[i]) = (load(simd, a, n + i), load(simd, sums, n + i));
            (h[i], g[i]) = (load(simd, states, n + i), load(simd, adjoint, n + i));
        }
        for t in 0..here.rows {
            let b = &system.row(x_nx, t).1[n..n + G];
            let (dy, fed, step) = (here.dy[t], here.fed[t], here.step[t]);
            if here.missed[t] > 0.0 {
                let missed = simd.mul(simd.splat(here.missed[t]), here.before(t));
                for i in 0..G {
                    self.gone[t][i] = exp_product(simd, missed, own[i]);
                    h[i] = simd.mul(self.gone[t][i], h[i]);
                }
            }
            for i in 0..G {
                let decay = exp_product(simd, step, own[i]);
                (self.started[t][i], self.decay[t][i]) = (h[i], decay);
                h[i] = simd.fma(decay, h[i], simd.mul(fed, simd.splat(b[i])));
                self.dc[t][i] = simd.fma(h[i], dy, self.dc[t][i]);
            }
        }
        for t in (0..here.rows).rev() {
            let (_, b, c) = system.row(x_nx, t);
            let (b, c) = (&b[n..n + G], &c[n..n + G]);
            let (dy, fed, step) = (here.dy[t], here.fed[t], here.step[t]);
            let (mut dfed, mut dstep) = (here.dfed[t], here.dstep[t]);
            for i in 0..G {
                g[i] = simd.fma(simd.splat(c[i]), dy, g[i]);
                self.db[t][i] = simd.fma(g[i], fed, self.db[t][i]);
                dfed = simd.fma(g[i], simd.splat(b[i]), dfed);
                // Through exp(Δ·A) to Δ and A.
                g[i] = simd.mul(g[i], self.decay[t][i]);
                let inner = simd.mul(g[i], self.started[t][i]);
                dstep = simd.fma(inner, own[i], dstep);
                da[i] = simd.fma(inner, step, da[i]);
            }
            (here.dfed[t], here.dstep[t]) = (dfed, dstep);
            if here.missed[t] > 0.0 {
                for i in 0..G {
                    let inner = simd.mul(simd.mul(g[i], self.started[t][i]), simd.splat(here.missed[t]));
                    da[i] = simd.fma(inner, here.before(t), da[i]);
                    here.reach_before(simd, t, simd.mul(inner, own[i]));
                    g[i] = simd.mul(g[i], self.gone[t][i]);
                }
            }
        }
        for i in 0..G {
            store(simd, g[i], adjoint, n + i);
            store(simd, da[i], sums, n + i);
        }
    }
}
