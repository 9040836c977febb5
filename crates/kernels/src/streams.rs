//! Work by stream: every stream of a call on its own, over threads if there is enough of it.

use std::ops::Range;

/// Samples between two states that a forward pass keeps for its backward pass.
pub const STRETCH: usize = 16;
/// Multiply-adds below which a call is not split over threads.
const SPLIT: usize = 1 << 18;

/// How many values of a buffer belong to a stream.
#[derive(Clone, Copy, Debug)]
pub enum Per {
    /// So many a row.
    Row(usize),
    /// So many, whatever its rows.
    Stream(usize),
    /// So many for every [`STRETCH`] rows, the last in part.
    Stretch(usize),
}

impl Per {
    /// Values of the streams whose rows `offsets` bound.
    pub fn len(self, offsets: &[usize]) -> usize {
        let rows = |pair: &[usize]| pair[1] - pair[0];
        match self {
            Self::Row(len) => len * (offsets[offsets.len() - 1] - offsets[0]),
            Self::Stream(len) => len * (offsets.len() - 1),
            Self::Stretch(len) => offsets.windows(2).map(|pair| rows(pair).div_ceil(STRETCH) * len).sum(),
        }
    }
}

/// Runs `task(rows, inputs, outputs)` for every stream, each with its own parts of the buffers. `work` is about the number of
/// multiply-adds a row takes.
pub fn each<const I: usize, const O: usize>(
    offsets: &[usize],
    work: usize,
    mut inputs: [(&[f32], Per); I],
    mut outputs: [(&mut [f32], Per); O],
    task: &(impl Fn(Range<usize>, [&[f32]; I], [&mut [f32]; O]) + Sync),
) {
    let streams = offsets.len() - 1;
    let fits = |len: usize, per: Per| len == per.len(offsets);
    assert!(inputs.iter().all(|(values, per)| fits(values.len(), *per)), "inputs by stream");
    assert!(outputs.iter().all(|(values, per)| fits(values.len(), *per)), "outputs by stream");
    let rows = offsets[streams] - offsets[0];
    if streams < 2 || rows * work < 2 * SPLIT || rayon::current_num_threads() < 2 {
        for pair in offsets.windows(2) {
            let (inputs, outputs) = (cut(&mut inputs, pair), cut_mut(&mut outputs, pair));
            task(pair[0]..pair[1], inputs.map(|(values, _)| values), outputs.map(|(values, _)| values));
        }
        return;
    }
    let half = streams / 2;
    let (low_in, low_out) = (cut(&mut inputs, &offsets[..=half]), cut_mut(&mut outputs, &offsets[..=half]));
    rayon::join(|| each(&offsets[..=half], work, low_in, low_out, task), || each(&offsets[half..], work, inputs, outputs, task));
}

/// Runs `task(offsets, inputs, outputs)` for groups of streams, a group a thread at most, each with its own parts of the buffers: for what
/// is cheaper for many streams at once.
pub fn groups<const I: usize, const O: usize>(
    offsets: &[usize],
    work: usize,
    inputs: [(&[f32], Per); I],
    outputs: [(&mut [f32], Per); O],
    task: &(impl Fn(&[usize], [&[f32]; I], [&mut [f32]; O]) + Sync),
) {
    into_groups(rayon::current_num_threads(), offsets, work, inputs, outputs, task);
}

fn into_groups<const I: usize, const O: usize>(
    most: usize,
    offsets: &[usize],
    work: usize,
    mut inputs: [(&[f32], Per); I],
    mut outputs: [(&mut [f32], Per); O],
    task: &(impl Fn(&[usize], [&[f32]; I], [&mut [f32]; O]) + Sync),
) {
    let streams = offsets.len() - 1;
    if most < 2 || streams < 2 || (offsets[streams] - offsets[0]) * work < 2 * SPLIT {
        task(offsets, inputs.map(|(values, _)| values), outputs.map(|(values, _)| values));
        return;
    }
    let half = streams / 2;
    let (low_in, low_out) = (cut(&mut inputs, &offsets[..=half]), cut_mut(&mut outputs, &offsets[..=half]));
    rayon::join(
        || into_groups(most / 2, &offsets[..=half], work, low_in, low_out, task),
        || into_groups(most - most / 2, &offsets[half..], work, inputs, outputs, task),
    );
}

/// Cuts off the part of the first streams.
fn cut<'a, const I: usize>(buffers: &mut [(&'a [f32], Per); I], offsets: &[usize]) -> [(&'a [f32], Per); I] {
    std::array::from_fn(|i| {
        let (values, per) = buffers[i];
        let (low, high) = values.split_at(per.len(offsets));
        buffers[i].0 = high;
        (low, per)
    })
}

fn cut_mut<'a, const O: usize>(buffers: &mut [(&'a mut [f32], Per); O], offsets: &[usize]) -> [(&'a mut [f32], Per); O] {
    std::array::from_fn(|i| {
        let (values, per) = &mut buffers[i];
        let (low, high) = std::mem::take(values).split_at_mut(per.len(offsets));
        *values = high;
        (low, *per)
    })
}

/// Cuts `values` into parts of these lengths.
pub fn carve<const N: usize>(mut values: &[f32], lens: [usize; N]) -> [&[f32]; N] {
    std::array::from_fn(|i| {
        let (part, rest) = values.split_at(lens[i]);
        values = rest;
        part
    })
}

/// Cuts `values` into parts of these lengths, to be written.
pub fn carve_mut<const N: usize>(mut values: &mut [f32], lens: [usize; N]) -> [&mut [f32]; N] {
    std::array::from_fn(|i| {
        let (part, rest) = std::mem::take(&mut values).split_at_mut(lens[i]);
        values = rest;
        part
    })
}

/// Gaps of some rows; empty if there are none at all.
pub fn gaps_of(gaps: &[usize], rows: Range<usize>) -> &[usize] {
    if gaps.is_empty() { gaps } else { &gaps[rows] }
}

/// Adds every stream's sums to `total`, in the order of the streams.
pub fn add_up(sums: &[f32], total: &mut [f32]) {
    for sums in sums.chunks_exact(total.len()) {
        total.iter_mut().zip(sums).for_each(|(total, part)| *total += part);
    }
}

/// The row before each row: before a stream's first, the values from `start` on in the `stride` values of its state.
pub fn rows_before(
    rows_nm: &[f32],
    width: usize,
    offsets: &[usize],
    state: &[f32],
    (stride, start): (usize, usize),
    before_nm: &mut [f32],
) {
    for (pair, state) in offsets.windows(2).zip(state.chunks_exact(stride)) {
        if pair[0] < pair[1] {
            let rows = pair[0] * width..pair[1] * width;
            let before = &mut before_nm[rows.clone()];
            before[..width].copy_from_slice(&state[start..start + width]);
            before[width..].copy_from_slice(&rows_nm[rows.start..rows.end - width]);
        }
    }
}

/// Puts every stream's last row where [`rows_before`] finds it at the next call.
pub fn keep_last(rows_nm: &[f32], width: usize, offsets: &[usize], state: &mut [f32], (stride, start): (usize, usize)) {
    for (pair, state) in offsets.windows(2).zip(state.chunks_exact_mut(stride)) {
        if pair[0] < pair[1] {
            state[start..start + width].copy_from_slice(&rows_nm[(pair[1] - 1) * width..pair[1] * width]);
        }
    }
}

/// The adjoint of [`rows_before`]: adds each row's part to the row before it; a stream's first has none.
pub fn add_before(dbefore_nm: &[f32], width: usize, offsets: &[usize], drows_nm: &mut [f32]) {
    for pair in offsets.windows(2).filter(|pair| pair[0] < pair[1]) {
        let later = &dbefore_nm[(pair[0] + 1) * width..pair[1] * width];
        drows_nm[pair[0] * width..].iter_mut().zip(later).for_each(|(total, part)| *total += part);
    }
}
