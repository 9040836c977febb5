//! Grouping.
/// group
pub fn group(c: &[u32], e: usize, order: &mut [u32], offsets: &mut [usize]) {
    offsets.fill(0);
    for &x in c {
        offsets[x as usize + 1] += 1;
    }
    for i in 0..e {
        offsets[i + 1] += offsets[i];
    }
    for (i, &x) in c.iter().enumerate() {
        order[offsets[x as usize]] = i as u32;
        offsets[x as usize] += 1;
    }
    for i in (1..=e).rev() {
        offsets[i] = offsets[i - 1];
    }
    offsets[0] = 0;
}
/// invert
pub fn invert(order: &[u32], place: &mut [u32]) {
    for (i, &o) in order.iter().enumerate() {
        place[o as usize] = i as u32;
    }
}
/// gather
pub fn gather(x: &[f32], d: usize, k: usize, order: &[u32], rows: &mut [f32]) {
    for (&o, r) in order.iter().zip(rows.chunks_exact_mut(d)) {
        r.copy_from_slice(&x[o as usize / k * d..][..d]);
    }
}
/// backward +=
pub fn gather_backward(dr: &[f32], d: usize, k: usize, order: &[u32], dx: &mut [f32]) {
    for (&o, r) in order.iter().zip(dr.chunks_exact(d)) {
        dx[o as usize / k * d..][..d].iter_mut().zip(r).for_each(|(a, b)| *a += b);
    }
}
/// combine
pub fn combine(out: &[f32], d: usize, k: usize, place: &[u32], w: &[f32], y: &mut [f32]) {
    y.fill(0.0);
    for (row, y) in y.chunks_exact_mut(d).enumerate() {
        for s in row * k..(row + 1) * k {
            let o = &out[place[s] as usize * d..][..d];
            for i in 0..d {
                y[i] += w[s] * o[i];
            }
        }
    }
}
/// backward =
pub fn combine_backward(out: &[f32], d: usize, k: usize, place: &[u32], w: &[f32], dy: &[f32], dout: &mut [f32], dw: &mut [f32]) {
    for (row, dy) in dy.chunks_exact(d).enumerate() {
        for s in row * k..(row + 1) * k {
            let p = place[s] as usize * d;
            let mut t = 0.0;
            for i in 0..d {
                dout[p + i] = w[s] * dy[i];
                t += dy[i] * out[p + i];
            }
            dw[s] = t;
        }
    }
}
/// segments
pub fn segments_of(order: &[u32], k: usize, offsets: &[usize], out: &mut [usize]) {
    let mut j = 0;
    for (s, &o) in offsets.iter().enumerate() {
        while j < order.len() && (order[j] as usize / k) < o {
            j += 1;
        }
        out[s] = j;
    }
}
