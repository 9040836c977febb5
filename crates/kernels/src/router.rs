//! The router's arithmetic: scores → choice → weights, its gradients, and the balance loss.
//!
//! ```text
//! softmax   G = exp(l − max)/Σ, over every expert
//! top-k     the k largest scores (ties: lower index), G = softmax over them      (Mixtral, arXiv:2401.04088)
//! noisy     H = l + std·z·softplus(r), z ~ N(0, 1)                              (Shazeer et al. 2017, arXiv:1701.06538)
//! Switch    L = E·Σ f_e·P_e,  f_e = share of the assignments, P_e = mean of softmax(l)_e   (Fedus et al. 2021, arXiv:2101.03961)
//! ```
//! Rows have a handful of experts, so these are plain loops; exponentials are [`math`]'s, the same on every machine. f is a
//! count and has no gradient.

use crate::{
    activation, math,
    simd::{LANES, Simd, Task, dispatch},
};

/// Scores closer than this count as a near tie: rounding elsewhere could have chosen otherwise.
pub const NEAR_TIE: f32 = 1e-5;

/// A score that is NaN or infinite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NonFiniteLogit {
    /// Row of the call.
    pub row: usize,
    /// The expert.
    pub expert: usize,
}

fn all_finite(logits_ne: &[f32], experts: usize) -> Result<(), NonFiniteLogit> {
    match logits_ne.iter().position(|logit| !logit.is_finite()) {
        Some(place) => Err(NonFiniteLogit { row: place / experts, expert: place % experts }),
        None => Ok(()),
    }
}

/// Softmax of each row of `width`, in place.
struct Softmax<'a> {
    rows: &'a mut [f32],
    width: usize,
}

impl Task for Softmax<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        for row in self.rows.chunks_exact_mut(self.width) {
            let top = simd.splat(row.iter().fold(f32::MIN, |top, &value| top.max(value)));
            for part in row.chunks_mut(LANES) {
                let value = math::exp(simd, simd.sub(simd.load_part(part), top));
                simd.store_part(value, part);
            }
            let total: f32 = row.iter().sum();
            row.iter_mut().for_each(|value| *value /= total);
        }
    }
}

fn softmax_rows(rows: &mut [f32], width: usize) {
    dispatch(Softmax { rows, width });
}

/// Weights of every expert, each row summing to one.
///
/// # Errors
/// A score that is not finite.
pub fn softmax(logits_ne: &[f32], experts: usize, weights_ne: &mut [f32]) -> Result<(), NonFiniteLogit> {
    all_finite(logits_ne, experts)?;
    weights_ne.copy_from_slice(logits_ne);
    softmax_rows(weights_ne, experts);
    Ok(())
}

/// Adds the scores' gradient: `dl += G ⊙ (dG − ⟨G, dG⟩)`.
pub fn softmax_backward(weights_ne: &[f32], experts: usize, dweights_ne: &[f32], dlogits_ne: &mut [f32]) {
    let rows = weights_ne.chunks_exact(experts).zip(dweights_ne.chunks_exact(experts)).zip(dlogits_ne.chunks_exact_mut(experts));
    for ((weights, dweights), dlogits) in rows {
        let mean: f32 = weights.iter().zip(dweights).map(|(w, dw)| w * dw).sum();
        for ((dlogit, w), dw) in dlogits.iter_mut().zip(weights).zip(dweights) {
            *dlogit += w * (dw - mean);
        }
    }
}

/// The k best experts of each row, best first, and their weights; gives the number of near ties at the edge of the choice.
///
/// # Errors
/// A score that is not finite.
pub fn top_k(
    logits_ne: &[f32],
    experts: usize,
    k: usize,
    choice_nk: &mut [u32],
    weights_nk: &mut [f32],
) -> Result<u64, NonFiniteLogit> {
    assert!((1..=experts).contains(&k), "1 to {experts} experts, not {k}");
    all_finite(logits_ne, experts)?;
    let mut near_ties = 0;
    let rows = logits_ne.chunks_exact(experts).zip(choice_nk.chunks_exact_mut(k)).zip(weights_nk.chunks_exact_mut(k));
    for ((logits, choice), weights) in rows {
        for slot in 0..k {
            let (taken, free) = choice.split_at_mut(slot);
            let best = best_of(logits, taken).expect("fewer slots than experts");
            free[0] = best;
            weights[slot] = logits[best as usize];
        }
        let last = weights[k - 1];
        near_ties += u64::from(best_of(logits, choice).is_some_and(|next| last - logits[next as usize] < NEAR_TIE));
    }
    softmax_rows(weights_nk, k);
    Ok(near_ties)
}

/// The largest score not yet taken; of equals the first.
fn best_of(logits: &[f32], taken: &[u32]) -> Option<u32> {
    let free = (0..logits.len() as u32).filter(|expert| !taken.contains(expert));
    free.reduce(|best, expert| if logits[expert as usize] > logits[best as usize] { expert } else { best })
}

/// Adds the scores' gradient; the choice itself has none.
pub fn top_k_backward(
    choice_nk: &[u32],
    weights_nk: &[f32],
    dweights_nk: &[f32],
    experts: usize,
    k: usize,
    dlogits_ne: &mut [f32],
) {
    let rows = choice_nk.chunks_exact(k).zip(weights_nk.chunks_exact(k)).zip(dweights_nk.chunks_exact(k));
    for (((choice, weights), dweights), dlogits) in rows.zip(dlogits_ne.chunks_exact_mut(experts)) {
        let mean: f32 = weights.iter().zip(dweights).map(|(w, dw)| w * dw).sum();
        for ((&expert, w), dw) in choice.iter().zip(weights).zip(dweights) {
            dlogits[expert as usize] += w * (dw - mean);
        }
    }
}

/// The Switch loss of these scores, with `counts[e]` assignments to each expert: 1 at perfect balance. Zero without rows.
pub fn switch_loss(logits_ne: &[f32], experts: usize, counts: &[u64]) -> f32 {
    let rows = logits_ne.len() / experts;
    let assignments: u64 = counts.iter().sum();
    if rows == 0 || assignments == 0 {
        return 0.0;
    }
    let mut probabilities = logits_ne.to_vec();
    softmax_rows(&mut probabilities, experts);
    let mut total = 0.0;
    for row in probabilities.chunks_exact(experts) {
        total += row.iter().zip(counts).map(|(&p, &count)| f64::from(p) * count as f64).sum::<f64>();
    }
    (experts as f64 * total / (rows as f64 * assignments as f64)) as f32
}

/// Adds `scale` times the gradient of [`switch_loss`].
pub fn switch_loss_backward(logits_ne: &[f32], experts: usize, counts: &[u64], scale: f32, dlogits_ne: &mut [f32]) {
    let rows = logits_ne.len() / experts;
    let assignments: u64 = counts.iter().sum();
    if rows == 0 || assignments == 0 {
        return;
    }
    let mut probabilities = logits_ne.to_vec();
    softmax_rows(&mut probabilities, experts);
    let scale = f64::from(scale) * experts as f64 / (rows as f64 * assignments as f64);
    let slope: Vec<f32> = counts.iter().map(|&count| (scale * count as f64) as f32).collect();
    for (probabilities, dlogits) in probabilities.chunks_exact(experts).zip(dlogits_ne.chunks_exact_mut(experts)) {
        softmax_backward(probabilities, experts, &slope, dlogits);
    }
}

/// `H = l + std·z·softplus(r)`.
pub fn noisy_logits(clean: &[f32], raw: &[f32], normal: &[f32], std: f32, noisy: &mut [f32]) {
    activation::softplus(raw, noisy);
    for ((noisy, clean), normal) in noisy.iter_mut().zip(clean).zip(normal) {
        *noisy = clean + std * normal * *noisy;
    }
}

/// Adds the gradient of `raw`; that of `clean` is `dnoisy` itself.
pub fn noisy_logits_backward(raw: &[f32], normal: &[f32], std: f32, dnoisy: &[f32], draw: &mut [f32]) {
    let mut slope = vec![0.0; raw.len()];
    activation::sigmoid(raw, &mut slope);
    for (((draw, slope), normal), dnoisy) in draw.iter_mut().zip(slope).zip(normal).zip(dnoisy) {
        *draw += dnoisy * std * normal * slope;
    }
}
