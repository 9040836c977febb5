//! Buffers that a training pass takes and gives back: the next pass finds them, with their pages in place.
//!
//! A pass of training asks for hundreds of megabytes and gives them back at its end. Asking the system for them anew costs a third of the
//! pass, as it clears every page. What is kept for the next pass is at most what was in use at once, and a quarter of that more.

use std::{
    collections::VecDeque,
    ops::{Deref, DerefMut},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Values below which a buffer is not worth keeping.
const LEAST: usize = 1 << 14;

/// Values of the pass: so many, whatever they hold.
#[derive(Debug)]
pub struct Buffer {
    values: Vec<f32>,
    len: usize,
}

struct Pool {
    /// Buffers nobody uses, the longest unused first.
    free: VecDeque<Vec<f32>>,
    kept: usize,
    used: usize,
    most_used: usize,
}

static POOL: Mutex<Pool> = Mutex::new(Pool { free: VecDeque::new(), kept: 0, used: 0, most_used: 0 });

fn pool() -> MutexGuard<'static, Pool> {
    // Its numbers hold whoever panicked.
    POOL.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The size of a kept buffer for `len` values: a few sizes an octave, so that calls of about the same size share them.
fn size_of(len: usize) -> usize {
    len.next_multiple_of(1 << len.ilog2().saturating_sub(3))
}

/// `len` values that may hold anything: NaN at first, so that who reads them is found out.
pub fn junk(len: usize) -> Buffer {
    if len < LEAST {
        return Buffer { values: vec![f32::NAN; len], len };
    }
    let size = size_of(len);
    let mut pool = pool();
    pool.used += size;
    pool.most_used = pool.most_used.max(pool.used);
    let place = pool.free.iter().rposition(|values| values.len() == size);
    let found = place.and_then(|place| pool.free.remove(place));
    pool.kept -= found.as_ref().map_or(0, Vec::len);
    let gone = pool.surplus();
    drop((pool, gone));
    Buffer { values: found.unwrap_or_else(|| vec![f32::NAN; size]), len }
}

/// `len` zeros.
pub fn zeroed(len: usize) -> Buffer {
    let mut buffer = junk(len);
    buffer.fill(0.0);
    buffer
}

impl Pool {
    /// Takes out what is too much to keep, to be freed without the lock.
    fn surplus(&mut self) -> Vec<Vec<f32>> {
        let mut gone = Vec::new();
        while self.kept + self.used > self.most_used + self.most_used / 4 {
            let Some(values) = self.free.pop_front() else { break };
            self.kept -= values.len();
            gone.push(values);
        }
        gone
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.values.len() < LEAST {
            return;
        }
        let values = std::mem::take(&mut self.values);
        let mut pool = pool();
        pool.used -= values.len();
        pool.kept += values.len();
        pool.free.push_back(values);
        let gone = pool.surplus();
        drop((pool, gone));
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.values[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.values[..self.len]
    }
}

impl Clone for Buffer {
    fn clone(&self) -> Self {
        let mut buffer = junk(self.len);
        buffer.copy_from_slice(self);
        buffer
    }
}

/// A copy of `values`.
pub fn copied(values: &[f32]) -> Buffer {
    let mut buffer = junk(values.len());
    buffer.copy_from_slice(values);
    buffer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn are_found_again_and_of_the_length_asked_for() {
        let len = 3 * LEAST + 5;
        let mut first = junk(len);
        first.fill(7.0);
        drop(first);
        assert_eq!(zeroed(len).iter().sum::<f32>(), 0.0);
        assert_eq!((junk(len).len(), junk(3).len(), junk(0).len()), (len, 3, 0));
        assert_eq!(copied(&[1.0; 3])[..], [1.0; 3]);
    }

    #[test]
    fn sizes_are_few_and_not_much_larger() {
        for len in [LEAST, LEAST + 1, 99_999, 1 << 20, (1 << 20) + 1] {
            assert!((len..=len + len / 8).contains(&size_of(len)), "{len}");
        }
        assert_eq!(size_of(100_000), size_of(101_000));
    }
}
