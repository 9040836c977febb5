//! The diagonal complex scan of S4D (Gu et al. 2022, arXiv:2206.11893), discretised exactly (zero-order hold).
//!
//! ```text
//! Ā = exp(ΔA),  C̄ = 2·C·(Ā − 1)/A,   A = −exp(log_neg_re) + i·im,  Δ = exp(log_step)
//! h_t = Ā ⊙ h_{t−1} + u_t             y_t = skip·u_t + Re⟨C̄, h_t⟩
//! h_t = Ā^(g + 1) ⊙ h_{t−1} + u_t     after a gap of g samples: what g samples of zero input would have done
//! ```
//! Sixteen channels ride in the lanes; a state is `[block of channels][state][re 16 | im 16]`, channels beyond the last are
//! zero. Groups of states stay in registers while a stretch of samples passes; an output adds its states in order whatever the
//! stretch, so a step of one gives the bits of a step among many. Backward recomputes from a state kept every [`STRETCH`] samples.
//! Shapes: `n` rows, `d` channels, `s` states a channel.

use crate::{
    hold::{Complex, Hold, conjugate, multiply},
    plain::Real,
    simd::{LANES, Simd, Task, dispatch, load, store},
    streams::{self, Per, STRETCH},
};

/// One complex value of a block of channels.
const CELL: usize = 2 * LANES;

/// The parameters of a scan, as trained: `log_step` and `skip` `[d]`, the others `[d][s]`.
#[derive(Clone, Copy, Debug)]
pub struct S4dParameters<'a, R = f32> {
    /// ln Δ.
    pub log_step: &'a [R],
    /// ln(−Re A).
    pub log_neg_re: &'a [R],
    /// Im A.
    pub im: &'a [R],
    /// Re C.
    pub c_re: &'a [R],
    /// Im C.
    pub c_im: &'a [R],
    /// Weight of the input itself.
    pub skip: &'a [R],
}

/// A discretised system, packed for the lanes.
#[derive(Clone, Debug)]
pub struct S4dSystem {
    channels: usize,
    states: usize,
    /// `[block][state][Ā re, Ā im, C̄ re, C̄ im][16]`.
    cells: Vec<f32>,
    /// `[block][16]`.
    skip: Vec<f32>,
}

/// Gradients of the discretised system: `[d][s]`, and `skip` `[d]`.
#[derive(Clone, Debug)]
pub struct S4dGradient {
    a: Vec<Complex>,
    c: Vec<Complex>,
    skip: Vec<f64>,
}

impl S4dGradient {
    /// Zeros.
    pub fn new(system: &S4dSystem) -> Self {
        let len = system.channels * system.states;
        Self { a: vec![(0.0, 0.0); len], c: vec![(0.0, 0.0); len], skip: vec![0.0; system.channels] }
    }
}

/// Zero-order hold of entry `i`, and Q = 2(Ā − 1)/A.
fn discretised(parameters: &S4dParameters<'_>, states: usize, i: usize) -> (Hold, Complex) {
    let hold = Hold::new(parameters.log_step[i / states], parameters.log_neg_re[i], parameters.im[i]);
    (hold, (2.0 * hold.q.0, 2.0 * hold.q.1))
}

impl S4dSystem {
    /// Discretises and packs.
    pub fn discretise(channels: usize, states: usize, parameters: &S4dParameters<'_>) -> Self {
        let blocks = channels.div_ceil(LANES);
        let mut system = Self { channels, states, cells: vec![0.0; blocks * states * 2 * CELL], skip: vec![0.0; blocks * LANES] };
        system.skip[..channels].copy_from_slice(parameters.skip);
        for i in 0..channels * states {
            let (Hold { a_bar, .. }, q) = discretised(parameters, states, i);
            let c_bar = multiply((f64::from(parameters.c_re[i]), f64::from(parameters.c_im[i])), q);
            let (channel, state) = (i / states, i % states);
            let place = (channel / LANES * states + state) * 2 * CELL + channel % LANES;
            for (part, value) in [a_bar.0, a_bar.1, c_bar.0, c_bar.1].into_iter().enumerate() {
                system.cells[place + part * LANES] = value as f32;
            }
        }
        system
    }

    fn blocks(&self) -> usize {
        self.channels.div_ceil(LANES)
    }

    /// Numbers in the state of one stream.
    pub fn state_len(&self) -> usize {
        self.blocks() * self.states * CELL
    }

    /// Numbers that [`S4dSystem::scan_saved`] keeps for these segments.
    pub fn checkpoint_len(&self, offsets: &[usize]) -> usize {
        Per::Stretch(self.state_len()).len(offsets)
    }

    /// `y = scan(u)`, segment `s` from and to state `s`. `gaps` holds the samples missed before each row; empty, there are none.
    pub fn scan(&self, u_nd: &[f32], offsets: &[usize], gaps: &[usize], states: &mut [f32], y_nd: &mut [f32]) {
        self.scan_with(u_nd, offsets, gaps, states, y_nd, (&mut [], Per::Stretch(0)));
    }

    /// [`S4dSystem::scan`] that also keeps the state before every stretch.
    pub fn scan_saved(
        &self,
        u_nd: &[f32],
        offsets: &[usize],
        gaps: &[usize],
        states: &mut [f32],
        y_nd: &mut [f32],
        checkpoints: &mut [f32],
    ) {
        self.scan_with(u_nd, offsets, gaps, states, y_nd, (checkpoints, Per::Stretch(self.state_len())));
    }

    fn scan_with(
        &self,
        u_nd: &[f32],
        offsets: &[usize],
        gaps: &[usize],
        states: &mut [f32],
        y_nd: &mut [f32],
        saved: (&mut [f32], Per),
    ) {
        let row = Per::Row(self.channels);
        let outputs = [(y_nd, row), (states, Per::Stream(self.state_len())), saved];
        streams::each(offsets, self.channels * self.states, [(u_nd, row)], outputs, &|rows, [u_td], [y_td, state, saved]| {
            dispatch(Scan { system: self, u_td, gaps: streams::gaps_of(gaps, rows), state, y_td, saved });
        });
    }

    /// Gradients of a [`S4dSystem::scan_saved`]: `du` is overwritten, the system's are added to `gradient`.
    pub fn scan_backward(
        &self,
        u_nd: &[f32],
        offsets: &[usize],
        gaps: &[usize],
        checkpoints: &[f32],
        dy_nd: &[f32],
        du_nd: &mut [f32],
        gradient: &mut S4dGradient,
    ) {
        let (streams, row) = (offsets.len() - 1, Per::Row(self.channels));
        let scratch_len = self.state_len() + STRETCH * CELL;
        // One sum a stream, added up in the order of the streams: independent of threads.
        let (mut sums, mut scratch) = (vec![0.0; streams * self.sum_len()], vec![0.0; streams * scratch_len]);
        let inputs = [(u_nd, row), (checkpoints, Per::Stretch(self.state_len())), (dy_nd, row)];
        let outputs = [(du_nd, row), (&mut sums[..], Per::Stream(self.sum_len())), (&mut scratch[..], Per::Stream(scratch_len))];
        let work = 2 * self.channels * self.states;
        streams::each(offsets, work, inputs, outputs, &|rows, [u_td, checkpoints, dy_td], [du_td, sums, scratch]| {
            let gaps = streams::gaps_of(gaps, rows);
            dispatch(ScanBackward { system: self, u_td, gaps, checkpoints, dy_td, du_td, sums, scratch });
        });
        for sums in sums.chunks_exact(self.sum_len()) {
            self.collect(sums, gradient);
        }
    }

    /// `[block][(Ā re, Ā im, C̄ re, C̄ im) of each state, skip][16]`.
    fn sum_len(&self) -> usize {
        self.blocks() * (4 * self.states + 1) * LANES
    }

    fn collect(&self, sums: &[f32], gradient: &mut S4dGradient) {
        for channel in 0..self.channels {
            let block = &sums[channel / LANES * (4 * self.states + 1) * LANES..][..(4 * self.states + 1) * LANES];
            let at = |row: usize| f64::from(block[row * LANES + channel % LANES]);
            for state in 0..self.states {
                let (a, c) = (&mut gradient.a[channel * self.states + state], &mut gradient.c[channel * self.states + state]);
                (a.0, a.1) = (a.0 + at(4 * state), a.1 + at(4 * state + 1));
                (c.0, c.1) = (c.0 + at(4 * state + 2), c.1 + at(4 * state + 3));
            }
            gradient.skip[channel] += at(4 * self.states);
        }
    }

    /// Chain rule from the discretised system to the parameters: adds to `into`, spans in the order of [`S4dParameters`].
    pub fn parameter_gradient(&self, parameters: &S4dParameters<'_>, gradient: &S4dGradient, into: [&mut [f32]; 6]) {
        let [d_log_step, d_log_neg_re, d_im, d_c_re, d_c_im, d_skip] = into;
        for i in 0..self.channels * self.states {
            let (hold, q) = discretised(parameters, self.states, i);
            let c = (f64::from(parameters.c_re[i]), f64::from(parameters.c_im[i]));
            // For z = f·w in complex numbers, the gradient of w is that of z times conj(f).
            let dc = multiply(gradient.c[i], conjugate(q));
            d_c_re[i] += dc.0 as f32;
            d_c_im[i] += dc.1 as f32;
            let dq = multiply(gradient.c[i], conjugate(c));
            let [d_step, d_decay, d_frequency] = hold.gradient(gradient.a[i], (2.0 * dq.0, 2.0 * dq.1));
            d_log_step[i / self.states] += d_step as f32;
            d_log_neg_re[i] += d_decay as f32;
            d_im[i] += d_frequency as f32;
        }
        d_skip.iter_mut().zip(&gradient.skip).for_each(|(total, part)| *total += *part as f32);
    }
}

#[inline(always)]
fn read<S: Simd>(simd: S, from: &[f32], width: usize) -> S::F {
    if width == LANES { load(simd, from, 0) } else { simd.load_part(&from[..width]) }
}

#[inline(always)]
fn write<S: Simd>(simd: S, value: S::F, to: &mut [f32], width: usize) {
    if width == LANES { store(simd, value, to, 0) } else { simd.store_part(value, &mut to[..width]) }
}

/// One stream. `saved` gets the state before every stretch, unless it is empty.
struct Scan<'a> {
    system: &'a S4dSystem,
    u_td: &'a [f32],
    gaps: &'a [usize],
    state: &'a mut [f32],
    y_td: &'a mut [f32],
    saved: &'a mut [f32],
}

impl Task for Scan<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, u_td, gaps, state, y_td, saved } = self;
        let (d, len) = (system.channels, system.state_len());
        let rows = y_td.len() / d.max(1);
        for (index, start) in (0..rows).step_by(STRETCH).enumerate() {
            if !saved.is_empty() {
                saved[index * len..][..len].copy_from_slice(state);
            }
            let end = rows.min(start + STRETCH);
            let (rows, gaps) = (start * d..end * d, streams::gaps_of(gaps, start..end));
            advance(simd, system, &u_td[rows.clone()], gaps, state, &mut y_td[rows]);
        }
    }
}

/// One stretch of one stream.
#[inline(always)]
fn advance<S: Simd>(simd: S, system: &S4dSystem, u_td: &[f32], gaps: &[usize], state: &mut [f32], y_td: &mut [f32]) {
    let (d, states) = (system.channels, system.states);
    for block in 0..system.blocks() {
        let first = block * LANES;
        let width = LANES.min(d - first);
        let skip = load(simd, &system.skip, block);
        for (u, y) in u_td.chunks_exact(d).zip(y_td.chunks_exact_mut(d)) {
            let value = simd.mul(skip, read(simd, &u[first..], width));
            write(simd, value, &mut y[first..], width);
        }
        let cells = &system.cells[block * states * 2 * CELL..][..states * 2 * CELL];
        let state = &mut state[block * states * CELL..][..states * CELL];
        // What the compiler knows costs nothing.
        if gaps.is_empty() && width == LANES {
            block_states(simd, cells, state, (d, first, LANES), u_td, &[], y_td);
        } else {
            block_states(simd, cells, state, (d, first, width), u_td, gaps, y_td);
        }
    }
}

/// All states of one block over a stretch, as many together as pays.
#[inline(always)]
fn block_states<S: Simd>(
    simd: S,
    cells: &[f32],
    state: &mut [f32],
    shape: (usize, usize, usize),
    u_td: &[f32],
    gaps: &[usize],
    y_td: &mut [f32],
) {
    let together = if S::TILE > 1 { 4 } else { 2 };
    let grouped = state.len() / (together * CELL) * together;
    let (wide, narrow) = cells.split_at(grouped * 2 * CELL);
    let (wide_state, narrow_state) = state.split_at_mut(grouped * CELL);
    for (cells, state) in wide.chunks_exact(together * 2 * CELL).zip(wide_state.chunks_exact_mut(together * CELL)) {
        if S::TILE > 1 {
            group::<S, 4>(simd, cells, state, shape, u_td, gaps, y_td);
        } else {
            group::<S, 2>(simd, cells, state, shape, u_td, gaps, y_td);
        }
    }
    for (cells, state) in narrow.chunks_exact(2 * CELL).zip(narrow_state.chunks_exact_mut(CELL)) {
        group::<S, 1>(simd, cells, state, shape, u_td, gaps, y_td);
    }
}

/// `G` states of one block over a stretch, held in registers.
#[inline(always)]
fn group<S: Simd, const G: usize>(
    simd: S,
    cells: &[f32],
    state: &mut [f32],
    (d, first, width): (usize, usize, usize),
    u_td: &[f32],
    gaps: &[usize],
    y_td: &mut [f32],
) {
    let zero = simd.splat(0.0);
    let (mut a, mut c, mut h) = ([(zero, zero); G], [(zero, zero); G], [(zero, zero); G]);
    for g in 0..G {
        a[g] = (load(simd, cells, 4 * g), load(simd, cells, 4 * g + 1));
        c[g] = (load(simd, cells, 4 * g + 2), load(simd, cells, 4 * g + 3));
        h[g] = (load(simd, state, 2 * g), load(simd, state, 2 * g + 1));
    }
    for (t, (u, y)) in u_td.chunks_exact(d).zip(y_td.chunks_exact_mut(d)).enumerate() {
        let gap = gaps.get(t).copied().unwrap_or(0);
        if gap > 0 {
            for g in 0..G {
                h[g] = times(simd, power(simd, a[g], gap), h[g]);
            }
        }
        let u = read(simd, &u[first..], width);
        let mut total = read(simd, &y[first..], width);
        for g in 0..G {
            h[g] = step(simd, a[g], h[g], u);
            total = simd.fma(c[g].0, h[g].0, total);
            total = simd.neg_fma(c[g].1, h[g].1, total);
        }
        write(simd, total, &mut y[first..], width);
    }
    for g in 0..G {
        store(simd, h[g].0, state, 2 * g);
        store(simd, h[g].1, state, 2 * g + 1);
    }
}

/// Ā·h + u.
#[inline(always)]
fn step<S: Simd>(simd: S, a: (S::F, S::F), h: (S::F, S::F), u: S::F) -> (S::F, S::F) {
    let re = simd.neg_fma(a.1, h.1, simd.fma(a.0, h.0, u));
    let im = simd.fma(a.0, h.1, simd.mul(a.1, h.0));
    (re, im)
}

/// `a·b` of complex numbers.
#[inline(always)]
pub(crate) fn times<S: Simd>(simd: S, a: (S::F, S::F), b: (S::F, S::F)) -> (S::F, S::F) {
    let re = simd.neg_fma(a.1, b.1, simd.mul(a.0, b.0));
    let im = simd.fma(a.0, b.1, simd.mul(a.1, b.0));
    (re, im)
}

/// `aⁿ` by squaring, n ≥ 1.
#[inline(always)]
pub(crate) fn power<S: Simd>(simd: S, a: (S::F, S::F), n: usize) -> (S::F, S::F) {
    let (mut square, mut left) = (a, n);
    while left & 1 == 0 {
        square = times(simd, square, square);
        left >>= 1;
    }
    let mut total = square;
    left >>= 1;
    while left > 0 {
        square = times(simd, square, square);
        if left & 1 == 1 {
            total = times(simd, total, square);
        }
        left >>= 1;
    }
    total
}

/// One stream. `scratch` holds the adjoint of the state and the states of a stretch.
struct ScanBackward<'a> {
    system: &'a S4dSystem,
    u_td: &'a [f32],
    gaps: &'a [usize],
    checkpoints: &'a [f32],
    dy_td: &'a [f32],
    du_td: &'a mut [f32],
    sums: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Task for ScanBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { system, u_td, gaps, checkpoints, dy_td, du_td, sums, scratch } = self;
        let (d, states, len) = (system.channels, system.states, system.state_len());
        let (adjoint, history) = scratch.split_at_mut(len);
        adjoint.fill(0.0);
        let rows = u_td.len() / d.max(1);
        for (index, checkpoint) in checkpoints.chunks_exact(len).enumerate().rev() {
            let rows = index * STRETCH * d..((index + 1) * STRETCH).min(rows) * d;
            let gaps = streams::gaps_of(gaps, rows.start / d..rows.end / d);
            let (u_td, dy_td, du_td) = (&u_td[rows.clone()], &dy_td[rows.clone()], &mut du_td[rows]);
            for block in 0..system.blocks() {
                let first = block * LANES;
                let width = LANES.min(d - first);
                let sums = &mut sums[block * (4 * states + 1) * LANES..][..(4 * states + 1) * LANES];
                let skip = load(simd, &system.skip, block);
                let mut dskip = load(simd, sums, 4 * states);
                for ((u, dy), du) in u_td.chunks_exact(d).zip(dy_td.chunks_exact(d)).zip(du_td.chunks_exact_mut(d)) {
                    let dy = read(simd, &dy[first..], width);
                    dskip = simd.fma(dy, read(simd, &u[first..], width), dskip);
                    write(simd, simd.mul(skip, dy), &mut du[first..], width);
                }
                store(simd, dskip, sums, 4 * states);
                for state in 0..states {
                    let place = block * states + state;
                    let (cell, checkpoint) = (&system.cells[place * 2 * CELL..][..2 * CELL], &checkpoint[place * CELL..][..CELL]);
                    let (adjoint, sums) = (&mut adjoint[place * CELL..][..CELL], &mut sums[4 * state * LANES..][..4 * LANES]);
                    let rows = (u_td, dy_td, &mut *du_td);
                    // As above.
                    if gaps.is_empty() && width == LANES {
                        stretch_backward(simd, cell, checkpoint, adjoint, sums, history, (d, first, LANES), &[], rows);
                    } else {
                        stretch_backward(simd, cell, checkpoint, adjoint, sums, history, (d, first, width), gaps, rows);
                    }
                }
            }
        }
    }
}

/// One state of one block over a stretch, backwards.
#[inline(always)]
fn stretch_backward<S: Simd>(
    simd: S,
    cell: &[f32],
    checkpoint: &[f32],
    adjoint: &mut [f32],
    sums: &mut [f32],
    history: &mut [f32],
    (d, first, width): (usize, usize, usize),
    gaps: &[usize],
    (u_td, dy_td, du_td): (&[f32], &[f32], &mut [f32]),
) {
    let (a, c) = ((load(simd, cell, 0), load(simd, cell, 1)), (load(simd, cell, 2), load(simd, cell, 3)));
    let mut h = (load(simd, checkpoint, 0), load(simd, checkpoint, 1));
    let gap = |t: usize| gaps.get(t).copied().unwrap_or(0);
    for (t, u) in u_td.chunks_exact(d).enumerate() {
        if gap(t) > 0 {
            h = times(simd, power(simd, a, gap(t)), h);
        }
        h = step(simd, a, h, read(simd, &u[first..], width));
        store(simd, h.0, history, 2 * t);
        store(simd, h.1, history, 2 * t + 1);
    }
    let mut g = (load(simd, adjoint, 0), load(simd, adjoint, 1));
    let mut adjoint_gap = None;
    let (mut da, mut dc) = ((load(simd, sums, 0), load(simd, sums, 1)), (load(simd, sums, 2), load(simd, sums, 3)));
    for (t, (dy, du)) in dy_td.chunks_exact(d).zip(du_td.chunks_exact_mut(d)).enumerate().rev() {
        let dy = read(simd, &dy[first..], width);
        dc.0 = simd.fma(dy, h.0, dc.0);
        dc.1 = simd.neg_fma(dy, h.1, dc.1);
        // The adjoint: conj(Ā)·g + conj(C̄)·dy.
        let re = simd.fma(a.1, g.1, simd.fma(a.0, g.0, simd.mul(c.0, dy)));
        let im = simd.neg_fma(a.1, g.0, simd.neg_fma(c.1, dy, simd.mul(a.0, g.1)));
        g = (re, im);
        write(simd, simd.add(read(simd, &du[first..], width), g.0), &mut du[first..], width);
        h = match t {
            0 => (load(simd, checkpoint, 0), load(simd, checkpoint, 1)),
            _ => (load(simd, history, 2 * t - 2), load(simd, history, 2 * t - 1)),
        };
        // After a gap the transition is Ā^(gap + 1), whose slope is (gap + 1)·Ā^gap.
        let before = h;
        if gap(t) > 0 {
            let (decay, count) = (power(simd, a, gap(t)), simd.splat((gap(t) + 1) as f32));
            let gone = times(simd, decay, h);
            h = (simd.mul(count, gone.0), simd.mul(count, gone.1));
            adjoint_gap = Some(decay);
        }
        da.0 = simd.fma(g.1, h.1, simd.fma(g.0, h.0, da.0));
        da.1 = simd.neg_fma(g.0, h.1, simd.fma(g.1, h.0, da.1));
        if let Some((re, im)) = adjoint_gap.take() {
            g = times(simd, (re, simd.sub(simd.splat(0.0), im)), g);
        }
        h = before;
    }
    store(simd, g.0, adjoint, 0);
    store(simd, g.1, adjoint, 1);
    for (vector, value) in [da.0, da.1, dc.0, dc.1].into_iter().enumerate() {
        store(simd, value, sums, vector);
    }
}

/// The definition of a gap: `state` after `gap` samples of zero input, in one exact step.
pub fn plain_gap<R: Real>(parameters: &S4dParameters<'_, R>, gap: u64, state: &mut [R]) {
    let channels = parameters.skip.len();
    let states = parameters.im.len() / channels.max(1);
    for i in 0..channels * states {
        let span = parameters.log_step[i / states].exp() * R::from_f64(gap as f64);
        let (size, angle) = ((span * (-parameters.log_neg_re[i].exp())).exp(), span * parameters.im[i]);
        let (re, im) = (size * angle.cos(), size * angle.sin());
        let (h_re, h_im) = (state[2 * i], state[2 * i + 1]);
        (state[2 * i], state[2 * i + 1]) = (re * h_re - im * h_im, re * h_im + im * h_re);
    }
}

/// The definition: one sample, straight from the parameters. `state` is `[d][s][re, im]`.
pub fn plain_step<R: Real>(parameters: &S4dParameters<'_, R>, u_d: &[R], state: &mut [R], y_d: &mut [R]) {
    let states = parameters.im.len() / u_d.len().max(1);
    let (zero, one, two) = (R::from_f64(0.0), R::from_f64(1.0), R::from_f64(2.0));
    for (channel, (&u, y)) in u_d.iter().zip(y_d).enumerate() {
        let step = parameters.log_step[channel].exp();
        let mut total = zero;
        for i in channel * states..(channel + 1) * states {
            let (re, im) = (zero - parameters.log_neg_re[i].exp(), parameters.im[i]);
            let size = (step * re).exp();
            let (a_re, a_im) = (size * (step * im).cos(), size * (step * im).sin());
            let (h_re, h_im) = (state[2 * i], state[2 * i + 1]);
            let (h_re, h_im) = (a_re * h_re - a_im * h_im + u, a_re * h_im + a_im * h_re);
            (state[2 * i], state[2 * i + 1]) = (h_re, h_im);
            let square = re * re + im * im;
            let (p_re, p_im) = (a_re - one, a_im);
            let (q_re, q_im) = ((p_re * re + p_im * im) / square, (p_im * re - p_re * im) / square);
            let (c_re, c_im) = (parameters.c_re[i], parameters.c_im[i]);
            total = total + (c_re * q_re - c_im * q_im) * h_re - (c_re * q_im + c_im * q_re) * h_im;
        }
        *y = two * total + parameters.skip[channel] * u;
    }
}
