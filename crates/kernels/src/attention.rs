//! Causal attention over a sliding window, with rotary positions (Su et al. 2021, arXiv:2104.09864) and grouped queries (Ainslie et al.
//! 2023, arXiv:2305.13245), from a ring of keys and values (Beltagy et al. 2020, arXiv:2004.05150).
//!
//! ```text
//! p_ts = softmax_s(rotate(q_t, pos_t)·rotate(k_s, pos_s)/√size)       over s with pos_t − window < pos_s ≤ pos_t
//! y_t = Σ_s p_ts·v_s
//! ```
//! The sample that is a stream's c-th lies at c modulo the window in the ring, and every sum goes through the ring in its own order:
//! nothing is ever moved, and how the rows are cut into calls does not show. Keys and values are stored `[head][value][slot, padded to
//! 16]`, so that sixteen slots ride in the lanes. Positions are counted in `u64` and angles reduced in `f64`.

use crate::{
    math,
    simd::{LANES, Simd, Task, dispatch, read, write},
    streams::carve_mut,
};

/// Shape of the attention.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Query heads.
    pub heads: usize,
    /// Key and value heads; each serves as many query heads as any other.
    pub kv_heads: usize,
    /// Values of a head, even.
    pub size: usize,
    /// Positions that a query sees, its own among them.
    pub window: usize,
}

impl Window {
    /// Values of a row of queries and of outputs.
    pub fn width(self) -> usize {
        self.heads * self.size
    }

    /// Values of a row of keys, or of values.
    pub fn kv_width(self) -> usize {
        self.kv_heads * self.size
    }

    fn slots(self) -> usize {
        self.window.next_multiple_of(LANES)
    }

    /// Numbers in the ring of one stream: keys, then values.
    pub fn ring_len(self) -> usize {
        2 * self.kv_width() * self.slots()
    }

    /// Counts of one stream: the next position, the samples taken, and each slot's position.
    pub fn counters_len(self) -> usize {
        2 + self.window
    }

    /// About the multiply-adds of a row.
    pub fn work(self) -> usize {
        2 * self.width() * self.slots()
    }

    /// Scratch of [`Window::run`], of one stream: the scores of the rows that go through the ring together, and what they overwrite there.
    pub fn scratch_len(self) -> usize {
        ROWS * (self.slots() + 2 * self.kv_width() * LANES)
    }

    /// Scratch of [`Window::backward`], of one stream of so many rows that sees at most a window before them.
    pub fn backward_len(self, rows: usize) -> usize {
        4 * self.kv_width() * self.stride(rows) + 2 * ROWS * self.stride(rows)
    }

    /// Distance of two values of all keys: with room behind them, so that they do not fall into the same few lines of the cache.
    fn stride(self, rows: usize) -> usize {
        (self.window + rows).next_multiple_of(LANES) + LANES
    }

    /// The positions of rows, `gaps` counted, from the next position on.
    pub fn positions(next: u64, gaps: &[usize], rows: usize) -> impl Iterator<Item = u64> {
        let mut next = next;
        (0..rows).map(move |t| {
            let position = next + gaps.get(t).copied().unwrap_or(0) as u64;
            next = position + 1;
            position
        })
    }

    /// Cosines and sines of a position's angles, one of each a frequency.
    pub fn angles(frequencies: &[f64], position: u64, cos_sin: &mut [f32]) {
        let (cos, sin) = cos_sin.split_at_mut(frequencies.len());
        for ((cos, sin), frequency) in cos.iter_mut().zip(sin).zip(frequencies) {
            let angle = (position as f64 * frequency).rem_euclid(std::f64::consts::TAU);
            (*cos, *sin) = (libm::cos(angle) as f32, libm::sin(angle) as f32);
        }
    }

    /// Turns every head of the rows by its row's angles, `[n][size]`. `back` turns the other way.
    pub fn rotate(self, cos_sin: &[f32], back: bool, rows: &mut [f32]) {
        dispatch(Rotate { size: self.size, cos_sin, back, rows });
    }

    /// One stream: turned rows of queries `[n][heads·size]`, and turned keys and values `[n][kv_heads·size]`, through its ring. A training
    /// pass keeps ln Σ exp of the scores, `[n][heads]`.
    pub fn run(
        self,
        (q, k, v): (&[f32], &[f32], &[f32]),
        gaps: &[usize],
        ring: &mut [f32],
        counters: &mut [u64],
        y: &mut [f32],
        log_sum: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let rows = y.len() / self.width();
        assert!(q.len() == y.len() && k.len() == rows * self.kv_width() && v.len() == k.len(), "rows of attention");
        assert!(ring.len() == self.ring_len() && counters.len() == self.counters_len(), "the ring of a stream");
        assert!(log_sum.as_ref().is_none_or(|log_sum| log_sum.len() == rows * self.heads), "a sum a row and head");
        let (keys, values) = ring.split_at_mut(self.kv_width() * self.slots());
        dispatch(Forward { shape: self, q, k, v, gaps, keys, values, counters, y, log_sum, scratch });
    }

    /// Gradients of one stream, all overwritten. `first` is its ring and its counts before the call. Gradients do not reach into it. `scratch` has
    /// [`Window::backward_len`] values.
    pub fn backward(
        self,
        (q, k, v): (&[f32], &[f32], &[f32]),
        gaps: &[usize],
        (ring, counters): (&[f32], &[u64]),
        saved: &[f32],
        (y, dy): (&[f32], &[f32]),
        (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
        scratch: &mut [f32],
    ) {
        let (width, kv_width, slots) = (self.width(), self.kv_width(), self.slots());
        let rows = y.len() / width;
        // Everything that can be seen, oldest first: what the ring held, then the rows; `[kv value][key]`.
        let held = counters[1].min(self.window as u64) as usize;
        let oldest = counters[1] - held as u64;
        let slot = |i: usize| ((oldest + i as u64) % self.window as u64) as usize;
        let (count, stride) = (held + rows, self.stride(rows));
        let mut positions: Vec<u64> = (0..held).map(|i| counters[2 + slot(i)]).collect();
        positions.extend(Self::positions(counters[0], gaps, rows));
        let [keys, values, dkeys, dvalues, lanes] = carve_mut(
            &mut scratch[..self.backward_len(rows)],
            [kv_width * stride, kv_width * stride, kv_width * stride, kv_width * stride, 2 * ROWS * stride],
        );
        for (all, (ring, rows_nk)) in
            [(&mut *keys, (&ring[..kv_width * slots], k)), (&mut *values, (&ring[kv_width * slots..], v))]
        {
            for i in 0..kv_width {
                let row = &mut all[i * stride..][..stride];
                (0..held).for_each(|j| row[j] = ring[i * slots + slot(j)]);
                row[count..].fill(0.0);
            }
            // By pieces of rows, so that what is read and written stays near.
            for first in (0..rows).step_by(LANES) {
                for i in 0..kv_width {
                    let row = &mut all[i * stride + held..][..rows];
                    (first..rows.min(first + LANES)).for_each(|t| row[t] = rows_nk[t * kv_width + i]);
                }
            }
        }
        dkeys.fill(0.0);
        dvalues.fill(0.0);
        dispatch(Backward {
            shape: self,
            positions: &positions,
            held,
            stride,
            q,
            keys,
            values,
            log_sum: saved,
            y,
            dy,
            dq,
            dkeys,
            dvalues,
            lanes,
        });
        for (all, rows_nk) in [(&*dkeys, dk), (&*dvalues, dv)] {
            for first in (0..rows).step_by(LANES) {
                for i in 0..kv_width {
                    let row = &all[i * stride + held..][..rows];
                    (first..rows.min(first + LANES)).for_each(|t| rows_nk[t * kv_width + i] = row[t]);
                }
            }
        }
    }
}

/// Queries that go through the keys together, at most.
const ROWS: usize = 8;
/// The same where registers are few.
const FEW: usize = 4;

struct Rotate<'a> {
    size: usize,
    cos_sin: &'a [f32],
    back: bool,
    rows: &'a mut [f32],
}

impl Task for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { size, cos_sin, back, rows } = self;
        let (half, count) = (size / 2, cos_sin.len() / size);
        if count == 0 {
            return;
        }
        for (row, angles) in rows.chunks_exact_mut(rows.len() / count).zip(cos_sin.chunks_exact(size)) {
            let (cos, sin) = angles.split_at(half);
            for head in row.chunks_exact_mut(size) {
                let (a, b) = head.split_at_mut(half);
                for start in (0..half).step_by(LANES) {
                    let (cos, sin) = (read(simd, cos, start), read(simd, sin, start));
                    let sin = if back { simd.sub(simd.splat(0.0), sin) } else { sin };
                    let (x, y) = (read(simd, a, start), read(simd, b, start));
                    write(simd, simd.neg_fma(y, sin, simd.mul(x, cos)), a, start);
                    write(simd, simd.fma(x, sin, simd.mul(y, cos)), b, start);
                }
            }
        }
    }
}

/// `R` rows times `C` vectors of columns: `[row][value]`, rows `row_step` apart, times `[value][column]`, values `step` apart, from column `start`
/// on. Sums go through the values in order.
#[inline(always)]
fn products<S: Simd, const R: usize, const C: usize>(
    simd: S,
    rows: &[f32],
    row_step: usize,
    columns: &[f32],
    step: usize,
    start: usize,
    size: usize,
) -> [[S::F; C]; R] {
    assert!(
        rows.len() >= (R - 1) * row_step + size && columns.len() >= (size - 1) * step + start + C * LANES,
        "rows and columns"
    );
    let mut sums = [[simd.splat(0.0); C]; R];
    for i in 0..size {
        // SAFETY: the assertion above holds value `i` of every row and the vectors of column `i`.
        unsafe {
            let mut vectors = [simd.splat(0.0); C];
            for c in 0..C {
                vectors[c] = simd.load(&*columns.as_ptr().add(i * step + start + c * LANES).cast::<[f32; LANES]>());
            }
            for r in 0..R {
                let value = simd.splat(*rows.get_unchecked(r * row_step + i));
                for c in 0..C {
                    sums[r][c] = simd.fma(value, vectors[c], sums[r][c]);
                }
            }
        }
    }
    sums
}

/// Lanes of `R` rows' weights, rows `row_step` apart, times those of `C` columns, `step` apart, over the vectors of `range`: what their sums over
/// lanes are is wanted.
#[inline(always)]
fn weigh<S: Simd, const R: usize, const C: usize>(
    simd: S,
    sums: &mut [[S::F; C]; R],
    weights: &[f32],
    row_step: usize,
    columns: &[f32],
    places: [usize; C],
    range: std::ops::Range<usize>,
) {
    if range.is_empty() {
        return;
    }
    let end = range.end.next_multiple_of(LANES);
    assert!(
        weights.len() >= (R - 1) * row_step + end && places.iter().all(|place| columns.len() >= place + end),
        "weights and columns"
    );
    for start in range.step_by(LANES) {
        // SAFETY: the assertion above holds the vectors up to `end` of every row and column.
        unsafe {
            let mut vectors = [simd.splat(0.0); C];
            for c in 0..C {
                vectors[c] = simd.load(&*columns.as_ptr().add(places[c] + start).cast::<[f32; LANES]>());
            }
            for r in 0..R {
                let weight = simd.load(&*weights.as_ptr().add(r * row_step + start).cast::<[f32; LANES]>());
                for c in 0..C {
                    sums[r][c] = simd.fma(weight, vectors[c], sums[r][c]);
                }
            }
        }
    }
}

/// The sums over lanes of at most sixteen vectors.
#[inline(always)]
fn totals<S: Simd, const R: usize, const C: usize>(simd: S, sums: &[[S::F; C]; R]) -> [[f32; C]; R] {
    let mut totals = [[0.0; C]; R];
    if S::TILE >= 4 {
        let (mut all, mut lanes) = ([simd.splat(0.0); LANES], [0.0; LANES]);
        for r in 0..R {
            for c in 0..C {
                all[r * C + c] = sums[r][c];
            }
        }
        simd.store(simd.sums(&all), &mut lanes);
        for r in 0..R {
            for c in 0..C {
                totals[r][c] = lanes[r * C + c];
            }
        }
    } else {
        for r in 0..R {
            for c in 0..C {
                totals[r][c] = simd.sum(sums[r][c]);
            }
        }
    }
    totals
}

/// Scores of what is not seen: their exponential is zero.
const UNSEEN: f32 = f32::MIN;

struct Forward<'a> {
    shape: Window,
    q: &'a [f32],
    k: &'a [f32],
    v: &'a [f32],
    gaps: &'a [usize],
    keys: &'a mut [f32],
    values: &'a mut [f32],
    counters: &'a mut [u64],
    y: &'a mut [f32],
    log_sum: Option<&'a mut [f32]>,
    scratch: &'a mut [f32],
}

impl Task for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let (rows, window) = (self.y.len() / self.shape.width(), self.shape.window);
        let mut t = 0;
        while t < rows {
            // Rows that go together have a slot each.
            if S::TILE >= 4 && window >= ROWS && rows - t >= ROWS {
                together::<S, ROWS, 2, 2>(simd, &mut self, t);
                t += ROWS;
            } else if S::TILE < 4 && window >= FEW && rows - t >= FEW {
                together::<S, FEW, 1, 1>(simd, &mut self, t);
                t += FEW;
            } else {
                together::<S, 1, 4, 4>(simd, &mut self, t);
                t += 1;
            }
        }
    }
}

/// `R` rows from `t` on. Every sum of a row is what it would be alone: products over the values in order, weighted values over the ring's vectors
/// in order.
#[inline(always)]
fn together<S: Simd, const R: usize, const C: usize, const V: usize>(simd: S, task: &mut Forward<'_>, t: usize) {
    let shape = task.shape;
    let (width, kv_width, slots, size) = (shape.width(), shape.kv_width(), shape.slots(), shape.size);
    let (window, group) = (shape.window as u64, shape.heads / shape.kv_heads);
    let (clock, places) = task.counters.split_at_mut(2);
    let taken = clock[1];
    let slot = |r: usize| ((taken + r as u64) % window) as usize;
    let vector = |r: usize| slot(r) / LANES * LANES;
    // A full ring: what later rows overwrite is still seen by earlier ones.
    let full = R > 1 && taken + R as u64 > window;
    let (scores, before) = task.scratch.split_at_mut(ROWS * slots);
    let (mut positions, mut old_places) = ([0; R], [0; R]);
    if full {
        for r in 0..R {
            let kept = before[r * 2 * kv_width * LANES..][..2 * kv_width * LANES].split_at_mut(kv_width * LANES);
            for (kept, ring) in [(kept.0, &*task.keys), (kept.1, &*task.values)] {
                for i in 0..kv_width {
                    kept[i * LANES..][..LANES].copy_from_slice(&ring[i * slots + vector(r)..][..LANES]);
                }
            }
        }
    }
    for r in 0..R {
        positions[r] = clock[0] + task.gaps.get(t + r).copied().unwrap_or(0) as u64;
        clock[0] = positions[r] + 1;
        old_places[r] = places[slot(r)];
        places[slot(r)] = positions[r];
        for i in 0..kv_width {
            task.keys[i * slots + slot(r)] = task.k[(t + r) * kv_width + i];
            task.values[i * slots + slot(r)] = task.v[(t + r) * kv_width + i];
        }
    }
    clock[1] += R as u64;
    let held = |r: usize| (taken + r as u64 + 1).min(window) as usize;
    // Slots that were ever filled, by whole vectors.
    let used = held(R - 1).next_multiple_of(LANES);
    // Whether row r sees a slot; the rows behind it have written theirs already.
    let sees = |r: usize, slot_: usize| {
        let place = (r + 1..R).find(|&later| slot(later) == slot_).map_or(places[slot_], |later| old_places[later]);
        place <= positions[r] && positions[r] - place < window
    };
    // Whether it sees all that were filled: the oldest is the first to go.
    let mut sees_all = [false; R];
    for r in 0..R {
        let oldest = if taken + (r as u64) < window { 0 } else { slot(r + 1) };
        sees_all[r] = sees(r, oldest);
    }
    // Where a full ring's vectors differ between the rows: lanes that row `codes[lane]` has written.
    let codes = |start: usize| {
        let mut codes = [-1.0; LANES];
        (0..R).filter(|&r| vector(r) == start).for_each(|r| codes[slot(r) - start] = r as f32);
        codes
    };
    let first_of = |start: usize| (0..R).find(|&r| vector(r) == start);
    let scale = simd.splat(1.0 / (size as f32).sqrt());
    for head in 0..shape.heads {
        let first = head / group * size;
        let (keys, values) = (&task.keys[first * slots..][..size * slots], &task.values[first * slots..][..size * slots]);
        let q = &task.q[t * width + head * size..];
        let mut start = 0;
        while start + C * LANES <= used {
            let sums = products::<S, R, C>(simd, q, width, keys, slots, start, size);
            for r in 0..R {
                for c in 0..C {
                    write(simd, simd.mul(sums[r][c], scale), scores, r * slots + start + c * LANES);
                }
            }
            start += C * LANES;
        }
        while start < used {
            let sums = products::<S, R, 1>(simd, q, width, keys, slots, start, size);
            for r in 0..R {
                write(simd, simd.mul(sums[r][0], scale), scores, r * slots + start);
            }
            start += LANES;
        }
        if full {
            for r in (0..R).filter(|&r| first_of(vector(r)) == Some(r)) {
                let (start, codes) = (vector(r), simd.load(&codes(vector(r))));
                let old = &before[(r * 2 * kv_width + first) * LANES..];
                for row in 0..R {
                    let mut sum = simd.splat(0.0);
                    for i in 0..size {
                        let (new, old) = (read(simd, &keys[i * slots..], start), read(simd, old, i * LANES));
                        let key = simd.select_less(codes, simd.splat(row as f32 + 0.5), new, old);
                        sum = simd.fma(simd.splat(q[row * width + i]), key, sum);
                    }
                    write(simd, simd.mul(sum, scale), scores, row * slots + start);
                }
            }
        }
        let mut sums = [0.0; R];
        for r in 0..R {
            let scores = &mut scores[r * slots..][..used];
            if sees_all[r] {
                scores[held(r)..].fill(UNSEEN);
            } else {
                for (slot, score) in scores.iter_mut().enumerate() {
                    *score = if slot < held(r) && sees(r, slot) { *score } else { UNSEEN };
                }
            }
            let mut top = simd.splat(UNSEEN);
            for start in (0..used).step_by(LANES) {
                top = simd.max(top, read(simd, scores, start));
            }
            let mut lanes = [0.0; LANES];
            simd.store(top, &mut lanes);
            let top = lanes.iter().fold(UNSEEN, |top, &score| if score > top { score } else { top });
            let (shift, mut total) = (simd.splat(top), simd.splat(0.0));
            for start in (0..used).step_by(LANES) {
                let p = math::exp(simd, simd.sub(read(simd, scores, start), shift));
                write(simd, p, scores, start);
                total = simd.add(total, p);
            }
            sums[r] = simd.sum(total);
            if let Some(log_sum) = &mut task.log_sum {
                log_sum[(t + r) * shape.heads + head] = top + libm::logf(sums[r]);
            }
        }
        for i in (0..size).step_by(V) {
            let mut values_at = [0; V];
            for c in 0..V {
                values_at[c] = (i + c).min(size - 1) * slots;
            }
            let mut weighed = [[simd.splat(0.0); V]; R];
            let mut from = 0;
            if full {
                for start in (0..used).step_by(LANES) {
                    let Some(kept) = first_of(start) else { continue };
                    weigh(simd, &mut weighed, scores, slots, values, values_at, from..start);
                    from = start + LANES;
                    let (codes, old) = (simd.load(&codes(start)), &before[(kept * 2 * kv_width + kv_width + first) * LANES..]);
                    for r in 0..R {
                        let p = read(simd, scores, r * slots + start);
                        for c in 0..V {
                            let value = (i + c).min(size - 1);
                            let (new, old) = (read(simd, values, value * slots + start), read(simd, old, value * LANES));
                            let value = simd.select_less(codes, simd.splat(r as f32 + 0.5), new, old);
                            weighed[r][c] = simd.fma(p, value, weighed[r][c]);
                        }
                    }
                }
            }
            weigh(simd, &mut weighed, scores, slots, values, values_at, from..used);
            let totals = totals(simd, &weighed);
            for r in 0..R {
                let y = &mut task.y[(t + r) * width + head * size..][..size];
                for (y, total) in y[i..].iter_mut().zip(&totals[r]) {
                    *y = total / sums[r];
                }
            }
        }
    }
}

struct Backward<'a> {
    shape: Window,
    positions: &'a [u64],
    held: usize,
    stride: usize,
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    log_sum: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    dq: &'a mut [f32],
    dkeys: &'a mut [f32],
    dvalues: &'a mut [f32],
    lanes: &'a mut [f32],
}

impl Task for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let rows = self.y.len() / self.shape.width();
        let together = if S::TILE >= 4 { ROWS } else { FEW };
        let whole = rows - rows % together;
        for t in (0..whole).step_by(together) {
            if S::TILE >= 4 { back::<S, ROWS, 2, 2>(simd, &mut self, t) } else { back::<S, FEW, 1, 1>(simd, &mut self, t) }
        }
        for t in whole..rows {
            back::<S, 1, 2, 2>(simd, &mut self, t);
        }
    }
}

/// `R` rows from `t` on, backwards.
#[inline(always)]
fn back<S: Simd, const R: usize, const C: usize, const V: usize>(simd: S, task: &mut Backward<'_>, t: usize) {
    let (shape, stride, held) = (task.shape, task.stride, task.held);
    let (width, size, group) = (shape.width(), shape.size, shape.heads / shape.kv_heads);
    let factor = 1.0 / (size as f32).sqrt();
    // What each row sees, and what any of them does, by whole vectors.
    let mut seen = [(0, 0); R];
    for r in 0..R {
        let newest = held + t + r;
        let visible = |j: &usize| task.positions[*j] + shape.window as u64 > task.positions[newest];
        let from = ((newest + 1).saturating_sub(shape.window)..=newest).find(visible).unwrap_or(newest);
        seen[r] = (from, newest + 1);
    }
    let (from, to) = (seen[0].0 / LANES * LANES, (held + t + R).next_multiple_of(LANES));
    let (p, ds) = task.lanes.split_at_mut(ROWS * stride);
    for head in 0..shape.heads {
        let (own, first) = (head * size, head / group * size);
        let (q, dy) = (&task.q[t * width + own..], &task.dy[t * width + own..]);
        let (keys, values) = (&task.keys[first * stride..][..size * stride], &task.values[first * stride..][..size * stride]);
        let (mut shift, mut inner) = ([simd.splat(0.0); R], [simd.splat(0.0); R]);
        for r in 0..R {
            let (y, dy) = (&task.y[(t + r) * width + own..][..size], &dy[r * width..][..size]);
            shift[r] = simd.splat(task.log_sum[(t + r) * shape.heads + head]);
            let mut total = simd.splat(0.0);
            for start in (0..size).step_by(LANES) {
                total = simd.fma(read(simd, y, start), read(simd, dy, start), total);
            }
            inner[r] = simd.splat(simd.sum(total));
        }
        let mut start = from;
        while start + C * LANES <= to {
            let scores = products::<S, R, C>(simd, q, width, keys, stride, start, size);
            let dp = products::<S, R, C>(simd, dy, width, values, stride, start, size);
            for r in 0..R {
                for c in 0..C {
                    write(simd, scores[r][c], p, r * stride + start + c * LANES);
                    write(simd, dp[r][c], ds, r * stride + start + c * LANES);
                }
            }
            start += C * LANES;
        }
        while start < to {
            let scores = products::<S, R, 1>(simd, q, width, keys, stride, start, size);
            let dp = products::<S, R, 1>(simd, dy, width, values, stride, start, size);
            for r in 0..R {
                write(simd, scores[r][0], p, r * stride + start);
                write(simd, dp[r][0], ds, r * stride + start);
            }
            start += LANES;
        }
        for r in 0..R {
            let (p, ds) = (&mut p[r * stride..][..to], &mut ds[r * stride..][..to]);
            for start in (from..to).step_by(LANES) {
                let (score, dp) = (read(simd, p, start), read(simd, ds, start));
                let own = math::exp(simd, simd.sub(simd.mul(score, simd.splat(factor)), shift[r]));
                let slope = simd.mul(simd.mul(own, simd.sub(dp, inner[r])), simd.splat(factor));
                write(simd, own, p, start);
                write(simd, slope, ds, start);
            }
            for lanes in [p, ds] {
                lanes[from..seen[r].0].fill(0.0);
                lanes[seen[r].1..].fill(0.0);
            }
        }
        let dkeys = &mut task.dkeys[first * stride..][..size * stride];
        let dvalues = &mut task.dvalues[first * stride..][..size * stride];
        for start in (from..to).step_by(LANES) {
            let (mut p_here, mut ds_here) = ([simd.splat(0.0); R], [simd.splat(0.0); R]);
            for r in 0..R {
                p_here[r] = read(simd, p, r * stride + start);
                ds_here[r] = read(simd, ds, r * stride + start);
            }
            for i in 0..size {
                let place = i * stride + start;
                let (mut dkey, mut dvalue) = (read(simd, dkeys, place), read(simd, dvalues, place));
                for r in 0..R {
                    dkey = simd.fma(ds_here[r], simd.splat(q[r * width + i]), dkey);
                    dvalue = simd.fma(p_here[r], simd.splat(dy[r * width + i]), dvalue);
                }
                write(simd, dkey, dkeys, place);
                write(simd, dvalue, dvalues, place);
            }
        }
        for i in (0..size).step_by(V) {
            let mut keys_at = [0; V];
            for c in 0..V {
                keys_at[c] = (i + c).min(size - 1) * stride;
            }
            let mut weighed = [[simd.splat(0.0); V]; R];
            weigh(simd, &mut weighed, ds, stride, keys, keys_at, from..to);
            let totals = totals(simd, &weighed);
            for r in 0..R {
                let dq = &mut task.dq[(t + r) * width + own..][..size];
                dq[i..].iter_mut().zip(&totals[r]).for_each(|(dq, total)| *dq = *total);
            }
        }
    }
}
