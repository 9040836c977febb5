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

    /// Scratch of [`Window::run`], of one stream.
    pub fn scratch_len(self) -> usize {
        self.slots()
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

    /// Turns every head of `rows` by its row's position. `back` turns the other way.
    pub fn rotate(self, frequencies: &[f64], position: u64, back: bool, row: &mut [f32]) {
        let half = self.size / 2;
        for (i, frequency) in frequencies.iter().enumerate() {
            let angle = (position as f64 * frequency).rem_euclid(std::f64::consts::TAU);
            let (sin, cos) = (libm::sin(angle) as f32, libm::cos(angle) as f32);
            let sin = if back { -sin } else { sin };
            for head in row.chunks_exact_mut(self.size) {
                let (a, b) = (head[i], head[half + i]);
                head[i] = b.mul_add(-sin, a * cos);
                head[half + i] = a.mul_add(sin, b * cos);
            }
        }
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
        mut log_sum: Option<&mut [f32]>,
        scratch: &mut [f32],
    ) {
        let (width, kv_width, slots) = (self.width(), self.kv_width(), self.slots());
        let rows = y.len() / width;
        assert!(q.len() == y.len() && k.len() == rows * kv_width && v.len() == k.len(), "rows of attention");
        assert!(ring.len() == self.ring_len() && counters.len() == self.counters_len(), "the ring of a stream");
        let (keys, values) = ring.split_at_mut(kv_width * slots);
        let (clock, places) = counters.split_at_mut(2);
        for (t, position) in Self::positions(clock[0], gaps, rows).enumerate() {
            let slot = (clock[1] % self.window as u64) as usize;
            places[slot] = position;
            clock[0] = position + 1;
            clock[1] += 1;
            for i in 0..kv_width {
                keys[i * slots + slot] = k[t * kv_width + i];
                values[i * slots + slot] = v[t * kv_width + i];
            }
            let held = clock[1].min(self.window as u64) as usize;
            let seen = Seen { places: &places[..held], position, window: self.window as u64 };
            let log_sum = log_sum.as_mut().map(|log_sum| &mut log_sum[t * self.heads..][..self.heads]);
            let (q, y) = (&q[t * width..][..width], &mut y[t * width..][..width]);
            dispatch(Row { shape: self, q, keys, values, slots, seen, y, log_sum, scores: scratch });
        }
    }

    /// Gradients of one stream, all overwritten. `first` is its ring and its counts before the call. Gradients do not reach into it.
    pub fn backward(
        self,
        (q, k, v): (&[f32], &[f32], &[f32]),
        gaps: &[usize],
        (ring, counters): (&[f32], &[u64]),
        saved: &[f32],
        (y, dy): (&[f32], &[f32]),
        (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    ) {
        let (width, kv_width, slots) = (self.width(), self.kv_width(), self.slots());
        let rows = y.len() / width;
        // Everything that can be seen, oldest first: what the ring held, then the rows; `[kv value][key]`.
        let held = counters[1].min(self.window as u64) as usize;
        let oldest = counters[1] - held as u64;
        let slot = |i: usize| ((oldest + i as u64) % self.window as u64) as usize;
        let count = held + rows;
        let mut positions: Vec<u64> = (0..held).map(|i| counters[2 + slot(i)]).collect();
        positions.extend(Self::positions(counters[0], gaps, rows));
        let all = |ring: &[f32], rows_nk: &[f32]| {
            let mut all = vec![0.0; kv_width * count];
            for i in 0..kv_width {
                let row = &mut all[i * count..][..count];
                (0..held).for_each(|j| row[j] = ring[i * slots + slot(j)]);
                (0..rows).for_each(|t| row[held + t] = rows_nk[t * kv_width + i]);
            }
            all
        };
        let (keys, values) = (all(&ring[..kv_width * slots], k), all(&ring[kv_width * slots..], v));
        let (mut dkeys, mut dvalues) = (vec![0.0; keys.len()], vec![0.0; keys.len()]);
        let mut scratch = vec![0.0; 2 * self.window.min(count).next_multiple_of(LANES)];
        for t in 0..rows {
            let newest = held + t;
            let earliest = (newest + 1).saturating_sub(self.window);
            let visible = |j: &usize| positions[*j] + self.window as u64 > positions[newest];
            let from = (earliest..=newest).find(visible).unwrap_or(newest);
            dispatch(RowBackward {
                shape: self,
                range: (from, newest + 1),
                count,
                q: &q[t * width..][..width],
                keys: &keys,
                values: &values,
                log_sum: &saved[t * self.heads..][..self.heads],
                y: &y[t * width..][..width],
                dy: &dy[t * width..][..width],
                dq: &mut dq[t * width..][..width],
                dkeys: &mut dkeys,
                dvalues: &mut dvalues,
                scratch: &mut scratch,
            });
        }
        for t in 0..rows {
            for i in 0..kv_width {
                dk[t * kv_width + i] = dkeys[i * count + held + t];
                dv[t * kv_width + i] = dvalues[i * count + held + t];
            }
        }
    }
}

/// Which slots a query sees.
#[derive(Clone, Copy)]
struct Seen<'a> {
    places: &'a [u64],
    position: u64,
    window: u64,
}

impl Seen<'_> {
    fn sees(&self, slot: usize) -> bool {
        self.places.get(slot).is_some_and(|&place| place <= self.position && self.position - place < self.window)
    }
}

/// One sample.
struct Row<'a> {
    shape: Window,
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    slots: usize,
    seen: Seen<'a>,
    y: &'a mut [f32],
    log_sum: Option<&'a mut [f32]>,
    scores: &'a mut [f32],
}

/// Scores of what is not seen: their exponential is zero.
const UNSEEN: f32 = f32::MIN;

impl Task for Row<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shape, q, keys, values, slots, seen, y, mut log_sum, scores } = self;
        let (size, group) = (shape.size, shape.heads / shape.kv_heads);
        let scale = simd.splat(1.0 / (size as f32).sqrt());
        // Slots that were ever filled, by whole vectors.
        let used = seen.places.len().next_multiple_of(LANES);
        let full = (0..seen.places.len()).all(|slot| seen.sees(slot));
        for (head, (q, y)) in q.chunks_exact(size).zip(y.chunks_exact_mut(size)).enumerate() {
            let first = head / group * size;
            let (keys, values) = (&keys[first * slots..][..size * slots], &values[first * slots..][..size * slots]);
            let mut top = simd.splat(UNSEEN);
            for start in (0..used).step_by(LANES) {
                let mut score = simd.splat(0.0);
                for i in 0..size {
                    score = simd.fma(simd.splat(q[i]), read(simd, &keys[i * slots..], start), score);
                }
                write(simd, simd.mul(score, scale), scores, start);
                if !full || start + LANES > seen.places.len() {
                    for slot in start..start + LANES {
                        scores[slot] = if seen.sees(slot) { scores[slot] } else { UNSEEN };
                    }
                }
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
            let total = simd.sum(total);
            for (i, y) in y.iter_mut().enumerate() {
                let mut sum = simd.splat(0.0);
                for start in (0..used).step_by(LANES) {
                    sum = simd.fma(read(simd, scores, start), read(simd, &values[i * slots..], start), sum);
                }
                *y = simd.sum(sum) / total;
            }
            if let Some(log_sum) = &mut log_sum {
                log_sum[head] = top + libm::logf(total);
            }
        }
    }
}

/// One sample, backwards.
struct RowBackward<'a> {
    shape: Window,
    range: (usize, usize),
    count: usize,
    q: &'a [f32],
    keys: &'a [f32],
    values: &'a [f32],
    log_sum: &'a [f32],
    y: &'a [f32],
    dy: &'a [f32],
    dq: &'a mut [f32],
    dkeys: &'a mut [f32],
    dvalues: &'a mut [f32],
    scratch: &'a mut [f32],
}

impl Task for RowBackward<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let Self { shape, range: (from, to), count, q, keys, values, log_sum, y, dy, dq, dkeys, dvalues, scratch } = self;
        let (size, group, len) = (shape.size, shape.heads / shape.kv_heads, to - from);
        let factor = 1.0 / (size as f32).sqrt();
        let (p, ds) = scratch.split_at_mut(scratch.len() / 2);
        let (p, ds) = (&mut p[..len], &mut ds[..len]);
        for head in 0..shape.heads {
            let (own, first) = (head * size..(head + 1) * size, head / group * size);
            let (q, y, dy) = (&q[own.clone()], &y[own.clone()], &dy[own.clone()]);
            let column = |i: usize| (first + i) * count + from..(first + i) * count + to;
            let inner: f32 = y.iter().zip(dy).map(|(y, dy)| y * dy).sum();
            let (shift, inner) = (simd.splat(log_sum[head]), simd.splat(inner));
            for start in (0..len).step_by(LANES) {
                let (mut score, mut dp) = (simd.splat(0.0), simd.splat(0.0));
                for i in 0..size {
                    score = simd.fma(simd.splat(q[i]), read(simd, &keys[column(i)], start), score);
                    dp = simd.fma(simd.splat(dy[i]), read(simd, &values[column(i)], start), dp);
                }
                let own = math::exp(simd, simd.sub(simd.mul(score, simd.splat(factor)), shift));
                write(simd, own, p, start);
                let slope = simd.mul(simd.mul(own, simd.sub(dp, inner)), simd.splat(factor));
                write(simd, slope, ds, start);
            }
            for i in 0..size {
                let (dkey, dvalue) = (&mut dkeys[column(i)], &mut dvalues[column(i)]);
                let (q, dy, mut total) = (simd.splat(q[i]), simd.splat(dy[i]), simd.splat(0.0));
                for start in (0..len).step_by(LANES) {
                    let (p, ds) = (read(simd, p, start), read(simd, ds, start));
                    write(simd, simd.fma(ds, q, read(simd, dkey, start)), dkey, start);
                    write(simd, simd.fma(p, dy, read(simd, dvalue, start)), dvalue, start);
                    total = simd.fma(ds, read(simd, &keys[column(i)], start), total);
                }
                dq[own.start + i] = simd.sum(total);
            }
        }
    }
}
