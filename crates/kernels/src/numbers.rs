//! Numbers in memory, or in a temporary file without a name that is mapped: then the system may write pages out and drop them, so that there may be more
//! numbers than memory.

use memmap2::MmapMut;
use std::{
    io::{Error, Result, Write},
    ops::{Deref, DerefMut},
    slice,
    sync::atomic::{AtomicU64, Ordering},
};

/// Bytes of all files that are mapped, and the most that there have been.
static MAPPED: AtomicU64 = AtomicU64::new(0);
static MOST_MAPPED: AtomicU64 = AtomicU64::new(0);

/// Zeros that are written at once.
const ZEROS: usize = 1 << 20;

/// A fixed count of `f64`, zeros at first.
#[derive(Debug)]
pub struct Numbers(Place);

#[derive(Debug)]
enum Place {
    Held(Vec<f64>),
    Mapped(MmapMut),
}

impl Numbers {
    /// In memory.
    pub fn held(len: usize) -> Self {
        Self(Place::Held(vec![0.0; len]))
    }

    /// In a file in the system's folder of temporary files, whose room is taken at once.
    ///
    /// # Errors
    /// The file cannot be made, or there is no room for it.
    pub fn mapped(len: usize) -> Result<Self> {
        let Some(bytes) = len.checked_mul(size_of::<f64>()).filter(|&bytes| bytes > 0) else {
            return if len == 0 { Ok(Self::held(0)) } else { Err(Error::other(format!("{len} numbers are too many"))) };
        };
        let mut file = tempfile::tempfile()?;
        let zeros = vec![0; ZEROS.min(bytes)];
        // A hole would be filled when it is written to, and a full disk be found out by a signal.
        for start in (0..bytes).step_by(ZEROS) {
            file.write_all(&zeros[..ZEROS.min(bytes - start)])?;
        }
        // SAFETY: the file has no name and its one handle is dropped here, so nobody else writes to it or cuts it while it is mapped.
        let map = unsafe { MmapMut::map_mut(&file)? };
        let now = MAPPED.fetch_add(bytes as u64, Ordering::Relaxed) + bytes as u64;
        MOST_MAPPED.fetch_max(now, Ordering::Relaxed);
        Ok(Self(Place::Mapped(map)))
    }

    /// Whether they are in a file.
    pub fn is_mapped(&self) -> bool {
        matches!(self.0, Place::Mapped(_))
    }

    /// The most bytes of files that this process has had mapped at once.
    pub fn most_mapped() -> u64 {
        MOST_MAPPED.load(Ordering::Relaxed)
    }
}

impl From<Vec<f64>> for Numbers {
    fn from(values: Vec<f64>) -> Self {
        Self(Place::Held(values))
    }
}

impl Deref for Numbers {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        match &self.0 {
            Place::Held(values) => values,
            // SAFETY: a mapping begins with a page, so it is aligned; it holds that many whole `f64`, for which all bits are values.
            Place::Mapped(map) => unsafe { slice::from_raw_parts(map.as_ptr().cast(), map.len() / size_of::<f64>()) },
        }
    }
}

impl DerefMut for Numbers {
    fn deref_mut(&mut self) -> &mut [f64] {
        match &mut self.0 {
            Place::Held(values) => values,
            // SAFETY: as above; the mapping is borrowed for as long.
            Place::Mapped(map) => unsafe { slice::from_raw_parts_mut(map.as_mut_ptr().cast(), map.len() / size_of::<f64>()) },
        }
    }
}

impl Drop for Numbers {
    fn drop(&mut self) {
        if let Place::Mapped(map) = &self.0 {
            MAPPED.fetch_sub(map.len() as u64, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_hold_what_is_written() {
        for len in [0, 1, 5000, ZEROS / 8 + 3] {
            let mut both = [Numbers::held(len), Numbers::mapped(len).expect("room")];
            assert_eq!(both.each_ref().map(Numbers::is_mapped), [false, len > 0]);
            for numbers in &mut both {
                assert!(numbers.len() == len && numbers.iter().all(|value| value.to_bits() == 0));
                numbers.iter_mut().enumerate().for_each(|(place, value)| *value = place as f64 - 0.5);
            }
            assert_eq!(both[0][..], both[1][..]);
        }
        assert!(Numbers::most_mapped() >= 5000 * 8);
        assert!(Numbers::mapped(usize::MAX).is_err());
    }
}
