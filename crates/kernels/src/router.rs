//! The router's arithmetic: scores → choice → weights, and its gradients.
//!
//! ```text
//! softmax   G = exp(l − max)/Σ, over every expert
//! top-k     the k largest scores (ties: lower index), G = softmax over them      (Mixtral, arXiv:2401.04088)
//! noisy     H = l + std·z·softplus(r), z ~ N(0, 1)                              (Shazeer et al. 2017, arXiv:1701.06538)
//! ```
//! Rows have a handful of experts, so these are plain loops; exponentials are [`math`]'s, the same on every machine.

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

/// Checks every score.
///
/// # Errors
/// The first that is NaN or infinite.
pub fn all_finite(logits_ne: &[f32], experts: usize) -> Result<(), NonFiniteLogit> {
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
pub fn softmax(logits_ne: &[f32], experts: usize, weights_ne: &mut [f32]) {
    weights_ne.copy_from_slice(logits_ne);
    softmax_rows(weights_ne, experts);
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

/// The `choice.len()` best of one row of scores, best first, ties to the lower index; gives the margin between the last chosen and
/// the best of the others, infinite if there are none.
pub fn choose(scores_e: &[f32], choice_k: &mut [u32]) -> f32 {
    assert!((1..=scores_e.len()).contains(&choice_k.len()), "1 to {} experts, not {}", scores_e.len(), choice_k.len());
    for slot in 0..choice_k.len() {
        let (taken, free) = choice_k.split_at_mut(slot);
        free[0] = best_of(scores_e, taken).expect("fewer slots than experts");
    }
    let last = scores_e[choice_k[choice_k.len() - 1] as usize];
    best_of(scores_e, choice_k).map_or(f32::INFINITY, |next| last - scores_e[next as usize])
}

/// The largest score not yet taken; of equals the first.
fn best_of(scores: &[f32], taken: &[u32]) -> Option<u32> {
    let mut best: Option<(u32, f32)> = None;
    for (expert, &score) in scores.iter().enumerate() {
        if best.is_none_or(|(_, top)| score > top) && !taken.contains(&(expert as u32)) {
            best = Some((expert as u32, score));
        }
    }
    best.map(|(expert, _)| expert)
}

/// Each row's chosen values: `picked[slot] = values[choice[slot]]`.
pub fn pick(values_ne: &[f32], experts: usize, choice_nk: &[u32], k: usize, picked_nk: &mut [f32]) {
    let rows = values_ne.chunks_exact(experts).zip(choice_nk.chunks_exact(k)).zip(picked_nk.chunks_exact_mut(k));
    for ((values, choice), picked) in rows {
        picked.iter_mut().zip(choice).for_each(|(picked, &expert)| *picked = values[expert as usize]);
    }
}

/// Adds the gradient of [`pick`]'s values.
pub fn pick_backward(dpicked_nk: &[f32], choice_nk: &[u32], k: usize, experts: usize, dvalues_ne: &mut [f32]) {
    let rows = dpicked_nk.chunks_exact(k).zip(choice_nk.chunks_exact(k)).zip(dvalues_ne.chunks_exact_mut(experts));
    for ((dpicked, choice), dvalues) in rows {
        choice.iter().zip(dpicked).for_each(|(&expert, dpicked)| dvalues[expert as usize] += dpicked);
    }
}

/// The softmax of one row of scores, of which only the chosen are wanted.
pub fn softmax_part(scores_e: &[f32], choice_k: &[u32], weights_k: &mut [f32]) {
    dispatch(SoftmaxPart { scores_e, choice_k, weights_k });
}

struct SoftmaxPart<'a> {
    scores_e: &'a [f32],
    choice_k: &'a [u32],
    weights_k: &'a mut [f32],
}

impl Task for SoftmaxPart<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let top = self.scores_e.iter().fold(f32::MIN, |top, &value| top.max(value));
        let mut total = 0.0;
        for (index, part) in self.scores_e.chunks(LANES).enumerate() {
            let mut lanes = [0.0; LANES];
            simd.store(math::exp(simd, simd.sub(simd.load_part(part), simd.splat(top))), &mut lanes);
            for (lane, &value) in lanes[..part.len()].iter().enumerate() {
                total += value;
                for (&expert, weight) in self.choice_k.iter().zip(&mut *self.weights_k) {
                    if expert as usize == index * LANES + lane {
                        *weight = value;
                    }
                }
            }
        }
        self.weights_k.iter_mut().for_each(|weight| *weight /= total);
    }
}

/// The sigmoid of the chosen scores of one row.
pub fn sigmoid_part(scores_e: &[f32], choice_k: &[u32], weights_k: &mut [f32]) {
    for (weight, &expert) in weights_k.iter_mut().zip(choice_k) {
        let mut value = [0.0];
        activation::sigmoid(&[scores_e[expert as usize]], &mut value);
        *weight = value[0];
    }
}

/// Softmax over the chosen scores alone.
pub fn softmax_of_chosen(logits_ne: &[f32], experts: usize, choice_nk: &[u32], k: usize, weights_nk: &mut [f32]) {
    pick(logits_ne, experts, choice_nk, k, weights_nk);
    softmax_rows(weights_nk, k);
}

/// Adds the scores' gradient; the choice itself has none.
pub fn softmax_of_chosen_backward(
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
