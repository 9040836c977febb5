//! Router.
/// A bad logit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFiniteLogit {
    /// row
    pub row: usize,
    /// expert
    pub expert: usize,
}
fn finite(l: &[f32], e: usize) -> Result<(), NonFiniteLogit> {
    match l.iter().position(|v| !v.is_finite()) {
        Some(p) => Err(NonFiniteLogit { row: p / e, expert: p % e }),
        None => Ok(()),
    }
}
fn soft(l: &[f32], w: &mut [f32]) {
    let m = l.iter().fold(f32::MIN, |a, &b| a.max(b));
    let mut s = 0.0;
    for (w, l) in w.iter_mut().zip(l) {
        *w = (l - m).exp();
        s += *w;
    }
    w.iter_mut().for_each(|w| *w /= s);
}
/// softmax
pub fn softmax(l: &[f32], e: usize, w: &mut [f32]) -> Result<(), NonFiniteLogit> {
    finite(l, e)?;
    l.chunks_exact(e).zip(w.chunks_exact_mut(e)).for_each(|(l, w)| soft(l, w));
    Ok(())
}
/// backward +=
pub fn softmax_backward(w: &[f32], e: usize, dw: &[f32], dl: &mut [f32]) {
    for ((w, dw), dl) in w.chunks_exact(e).zip(dw.chunks_exact(e)).zip(dl.chunks_exact_mut(e)) {
        let s: f32 = w.iter().zip(dw).map(|(a, b)| a * b).sum();
        for i in 0..e {
            dl[i] += w[i] * (dw[i] - s);
        }
    }
}
/// top k
pub fn top_k(l: &[f32], e: usize, k: usize, c: &mut [u32], w: &mut [f32]) -> Result<u64, NonFiniteLogit> {
    finite(l, e)?;
    let mut ties = 0;
    for ((l, c), w) in l.chunks_exact(e).zip(c.chunks_exact_mut(k)).zip(w.chunks_exact_mut(k)) {
        let mut last = f32::MAX;
        for s in 0..k {
            let mut best: Option<usize> = None;
            for i in 0..e {
                if c[..s].contains(&(i as u32)) {
                    continue;
                }
                if best.is_none_or(|b| l[i] > l[b]) {
                    best = Some(i);
                }
            }
            let b = best.unwrap_or(0);
            c[s] = b as u32;
            w[s] = l[b];
            last = l[b];
        }
        if (0..e).any(|i| !c.contains(&(i as u32)) && last - l[i] < 1e-5) {
            ties += 1;
        }
        let m = w[0];
        let mut t = 0.0;
        for w in w.iter_mut() {
            *w = (*w - m).exp();
            t += *w;
        }
        w.iter_mut().for_each(|w| *w /= t);
    }
    Ok(ties)
}
/// backward +=
pub fn top_k_backward(c: &[u32], w: &[f32], dw: &[f32], e: usize, k: usize, dl: &mut [f32]) {
    for (((c, w), dw), dl) in c.chunks_exact(k).zip(w.chunks_exact(k)).zip(dw.chunks_exact(k)).zip(dl.chunks_exact_mut(e)) {
        let s: f32 = w.iter().zip(dw).map(|(a, b)| a * b).sum();
        for i in 0..k {
            dl[c[i] as usize] += w[i] * (dw[i] - s);
        }
    }
}
/// switch
pub fn switch_loss(l: &[f32], e: usize, counts: &[u64]) -> f32 {
    let n = l.len() / e;
    if n == 0 {
        return 0.0;
    }
    let t: u64 = counts.iter().sum();
    let mut p = vec![0.0f64; e];
    let mut w = vec![0.0; e];
    for l in l.chunks_exact(e) {
        soft(l, &mut w);
        for i in 0..e {
            p[i] += w[i] as f64;
        }
    }
    (e as f64 * (0..e).map(|i| counts[i] as f64 / t as f64 * p[i] / n as f64).sum::<f64>()) as f32
}
/// backward +=
pub fn switch_loss_backward(l: &[f32], e: usize, counts: &[u64], scale: f32, dl: &mut [f32]) {
    let n = l.len() / e;
    if n == 0 {
        return;
    }
    let t: u64 = counts.iter().sum();
    let mut w = vec![0.0; e];
    let g: Vec<f32> = counts.iter().map(|&c| scale * e as f32 * c as f32 / t as f32 / n as f32).collect();
    for (l, dl) in l.chunks_exact(e).zip(dl.chunks_exact_mut(e)) {
        soft(l, &mut w);
        let s: f32 = w.iter().zip(&g).map(|(a, b)| a * b).sum();
        for i in 0..e {
            dl[i] += w[i] * (g[i] - s);
        }
    }
}
fn sp(x: f32) -> f32 {
    x.max(0.0) + (-x.abs()).exp().ln_1p()
}
/// noisy
pub fn noisy_logits(c: &[f32], r: &[f32], z: &[f32], std: f32, o: &mut [f32]) {
    for i in 0..c.len() {
        o[i] = c[i] + std * z[i] * sp(r[i]);
    }
}
/// backward +=
pub fn noisy_logits_backward(r: &[f32], z: &[f32], std: f32, d: &[f32], dr: &mut [f32]) {
    for i in 0..r.len() {
        dr[i] += d[i] * std * z[i] / (1.0 + (-r[i]).exp());
    }
}
