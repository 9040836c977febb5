//! Grouped experts: the rows of a call sorted by the expert they were given to, and the experts' outputs put together again.
//!
//! An *assignment* is one (row, slot) pair, numbered `row·k + slot`. Grouping keeps rows in order inside an expert, so that a
//! stream's samples reach an expert in time order.

use rayon::prelude::*;

/// Sorts assignments by expert, in order within each: `order[place]` is the assignment at a place, expert e has places
/// `spans[e]..spans[e + 1]`.
pub fn group(choice_nk: &[u32], experts: usize, order: &mut [u32], spans: &mut [usize]) {
    assert!(order.len() == choice_nk.len() && spans.len() == experts + 1, "shapes of a grouping");
    spans.fill(0);
    for &expert in choice_nk {
        spans[expert as usize + 1] += 1;
    }
    for expert in 0..experts {
        spans[expert + 1] += spans[expert];
    }
    // spans[e] walks from its start to its end, which is the next start: shift back afterwards.
    for (assignment, &expert) in choice_nk.iter().enumerate() {
        order[spans[expert as usize]] = assignment as u32;
        spans[expert as usize] += 1;
    }
    spans.copy_within(..experts, 1);
    spans[0] = 0;
}

/// `place[assignment]`: the inverse of `order`.
pub fn invert(order: &[u32], place: &mut [u32]) {
    for (at, &assignment) in order.iter().enumerate() {
        place[assignment as usize] = at as u32;
    }
}

/// Where each stream's samples begin among one expert's: `segments[s]..segments[s + 1]` for the rows `offsets[s]..offsets[s + 1]`
/// of the call. `order` is the expert's part.
pub fn segments_of(order: &[u32], k: usize, offsets: &[usize], segments: &mut [usize]) {
    let mut count = 0;
    for (segment, &offset) in segments.iter_mut().zip(offsets) {
        while count < order.len() && (order[count] as usize / k) < offset {
            count += 1;
        }
        *segment = count;
    }
}

/// Values that are worth a second thread.
const SPLIT: usize = 1 << 17;
/// Rows of one task.
const BLOCK: usize = 256;

/// Calls `f(block, rows)` for blocks of `BLOCK` rows of `width` values, over threads if there is enough to do.
fn blocks(rows: &mut [f32], width: usize, f: impl Fn(usize, &mut [f32]) + Sync) {
    if rows.len() >= SPLIT && rayon::current_num_threads() > 1 {
        rows.par_chunks_mut(BLOCK * width).enumerate().for_each(|(block, rows)| f(block * BLOCK, rows));
    } else {
        f(0, rows);
    }
}

/// Copies each assignment's row to its place.
pub fn gather(x_nd: &[f32], d: usize, k: usize, order: &[u32], rows_ad: &mut [f32]) {
    blocks(rows_ad, d, |first, rows_ad| {
        for (&assignment, row) in order[first..].iter().zip(rows_ad.chunks_exact_mut(d)) {
            row.copy_from_slice(&x_nd[assignment as usize / k * d..][..d]);
        }
    });
}

/// Adds the rows' gradients back, slot by slot: `dx += …`.
pub fn gather_backward(drows_ad: &[f32], d: usize, k: usize, place: &[u32], dx_nd: &mut [f32]) {
    blocks(dx_nd, d, |first, dx_nd| {
        for (dx, place) in dx_nd.chunks_exact_mut(d).zip(place[first * k..].chunks_exact(k)) {
            for &place in place {
                dx.iter_mut().zip(&drows_ad[place as usize * d..][..d]).for_each(|(total, part)| *total += part);
            }
        }
    });
}

/// `y = Σ weight·out` over a row's slots, first to last.
pub fn combine(out_ao: &[f32], o: usize, k: usize, place: &[u32], weights_nk: &[f32], y_no: &mut [f32]) {
    blocks(y_no, o, |first, y_no| {
        let slots = place[first * k..].chunks_exact(k).zip(weights_nk[first * k..].chunks_exact(k));
        for (y, (place, weights)) in y_no.chunks_exact_mut(o).zip(slots) {
            y.fill(0.0);
            for (&place, &weight) in place.iter().zip(weights) {
                let out = &out_ao[place as usize * o..][..o];
                y.iter_mut().zip(out).for_each(|(y, out)| *y += weight * out);
            }
        }
    });
}

/// Gradients of [`combine`]; both outputs are overwritten.
pub fn combine_backward(
    out_ao: &[f32],
    o: usize,
    k: usize,
    order: &[u32],
    place: &[u32],
    weights_nk: &[f32],
    dy_no: &[f32],
    dout_ao: &mut [f32],
    dweights_nk: &mut [f32],
) {
    blocks(dout_ao, o, |first, dout_ao| {
        for (&assignment, dout) in order[first..].iter().zip(dout_ao.chunks_exact_mut(o)) {
            let (weight, dy) = (weights_nk[assignment as usize], &dy_no[assignment as usize / k * o..][..o]);
            dout.iter_mut().zip(dy).for_each(|(dout, dy)| *dout = weight * dy);
        }
    });
    let dot = |(assignment, dweight): (usize, &mut f32)| {
        let (out, dy) = (&out_ao[place[assignment] as usize * o..][..o], &dy_no[assignment / k * o..][..o]);
        *dweight = out.iter().zip(dy).map(|(out, dy)| out * dy).sum();
    };
    if out_ao.len() >= SPLIT && rayon::current_num_threads() > 1 {
        dweights_nk.par_iter_mut().enumerate().with_min_len(BLOCK).for_each(dot);
    } else {
        dweights_nk.iter_mut().enumerate().for_each(dot);
    }
}
