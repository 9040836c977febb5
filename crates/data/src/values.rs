//! The values of a column, in memory or in a mapped file, shared and never changed.

use crate::DataError;
use foretoken_kernels::numbers::Numbers;
use std::{
    fmt,
    ops::{Deref, Range},
    sync::Arc,
};

/// Numbers of one column: a slice that knows where it lies.
#[derive(Clone)]
pub struct Values {
    numbers: Arc<Numbers>,
    range: Range<usize>,
}

impl Values {
    /// A table of `columns` of `len`, `mapped` or in memory; `fill` is given each column in turn, of zeros.
    ///
    /// # Errors
    /// No room in memory, or for a file.
    pub fn table(
        columns: usize,
        len: usize,
        mapped: bool,
        mut fill: impl FnMut(usize, &mut [f64]),
    ) -> Result<Vec<Self>, DataError> {
        // What is more than can be counted is more than there is room for.
        let mut numbers = numbers(columns.saturating_mul(len), mapped)?;
        numbers.chunks_exact_mut(len.max(1)).enumerate().for_each(|(column, values)| fill(column, values));
        let numbers = Arc::new(numbers);
        Ok((0..columns).map(|column| Self { numbers: numbers.clone(), range: column * len..(column + 1) * len }).collect())
    }

    /// Whether they lie in a mapped file.
    pub fn is_mapped(&self) -> bool {
        self.numbers.is_mapped()
    }
}

/// Zeros, `mapped` or in memory.
///
/// # Errors
/// No room in memory, or for a file.
pub(crate) fn numbers(len: usize, mapped: bool) -> Result<Numbers, DataError> {
    if !mapped {
        // Asked for before it is taken, since taking what is not there ends the process; the box keeps it from being left out.
        let mut room = Vec::<f64>::new();
        std::hint::black_box(&mut room).try_reserve_exact(len).map_err(|_| DataError::Memory { values: len })?;
        return Ok(Numbers::held(len));
    }
    Numbers::mapped(len).map_err(|source| DataError::Io { path: std::env::temp_dir(), source })
}

impl From<Vec<f64>> for Values {
    fn from(values: Vec<f64>) -> Self {
        Self { range: 0..values.len(), numbers: Arc::new(values.into()) }
    }
}

impl Deref for Values {
    type Target = [f64];

    fn deref(&self) -> &[f64] {
        &self.numbers[self.range.clone()]
    }
}

impl AsRef<[f64]> for Values {
    fn as_ref(&self) -> &[f64] {
        self
    }
}

impl fmt::Debug for Values {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(formatter)
    }
}

impl<T: AsRef<[f64]>> PartialEq<T> for Values {
    fn eq(&self, other: &T) -> bool {
        self[..] == *other.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_there_is_room_for_is_an_error() {
        for len in [1 << 50, 1 << 60, usize::MAX] {
            let error = numbers(len, false).expect_err("no room").to_string();
            assert_eq!(error, format!("memory: expected room for {len} values, found less"));
        }
        assert!(Values::table(usize::MAX, 3, true, |_, _| ()).is_err());
        assert_eq!(Values::table(2, 1, false, |at, values| values.fill(at as f64)).expect("room"), [[0.0], [1.0]]);
    }
}
