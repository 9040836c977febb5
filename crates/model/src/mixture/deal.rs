//! How the rows of a call are dealt to the experts, and how one expert runs on its part.

use super::engine::MixtureEngine;
use crate::{
    ModelError,
    layer::{Pass, Rows, Saved, Scratch, State},
    trace::leading_slot,
    usage::{RoutedSample, UsageCounters},
};
use foretoken_kernels::experts;

/// How the rows of a call are dealt to the experts.
pub(super) struct Deal<'a> {
    pub(super) order: &'a mut [u32],
    pub(super) place: &'a mut [u32],
    pub(super) spans: &'a mut [usize],
    /// Samples missed before each dealt row, by its place; empty unless the clock is elapsed.
    pub(super) gaps: &'a mut [usize],
}

/// One expert's part of a call.
pub(super) struct Task<'a> {
    pub(super) index: usize,
    pub(super) state: &'a mut State,
    pub(super) out_ao: &'a mut [f32],
}

/// Assignments from which on experts run beside each other, if each has less than a quarter of them.
const APART: usize = 1024;

impl MixtureEngine {
    /// Groups the rows by expert, lets every stream's clock pass, and counts.
    pub(super) fn deal(
        &self,
        rows: Rows<'_>,
        (choice_nk, weights_nk, margins_n): (&[u32], &[f32], &[f32]),
        counters: &mut [u64],
        usage: Option<&UsageCounters>,
        deal: &mut Deal<'_>,
    ) {
        let (k, memory) = (self.top_k(), self.router.memory());
        experts::group(choice_nk, self.experts.len(), deal.order, deal.spans);
        experts::invert(deal.order, deal.place);
        for (pair, counters) in rows.offsets.windows(2).zip(counters.chunks_exact_mut(memory.len())) {
            for row in pair[0]..pair[1] {
                let slots = row * k..(row + 1) * k;
                let (choice_k, weights_k) = (&choice_nk[slots.clone()], &weights_nk[slots.clone()]);
                let place = &deal.place[slots];
                memory.pass(counters, rows.gap(row), choice_k, |slot, missed| {
                    if let Some(gap) = deal.gaps.get_mut(place[slot] as usize) {
                        *gap = missed;
                    }
                });
                let leader = choice_k[leading_slot(weights_k)] as usize;
                let before = memory.lead(counters, leader);
                if let Some(usage) = usage {
                    usage.record(&RoutedSample { choice_k, weights_k, margin: margins_n[row], leader, before });
                }
            }
        }
        usage.iter().for_each(|usage| usage.settle());
    }

    /// What the rows of an expert's calls are: all of them, or those dealt to it.
    pub(super) fn rows_of<'a>(
        &self,
        index: usize,
        rows: Rows<'a>,
        deal: &'a Deal<'_>,
        grouped_ad: &'a [f32],
        segments: &'a [usize],
    ) -> Rows<'a> {
        if self.experts[index].every {
            return Rows { context_nc: &[], ..rows };
        }
        let span = deal.spans[index]..deal.spans[index + 1];
        let gaps = if deal.gaps.is_empty() { &[][..] } else { &deal.gaps[span.clone()] };
        Rows { x_nd: &grouped_ad[span.start * self.input..span.end * self.input], offsets: segments, gaps, context_nc: &[] }
    }

    /// Whether the experts run beside each other: many rows, but too few for each expert to share its own out.
    pub(super) fn apart(&self, rows: usize) -> bool {
        let assignments = rows * self.top_k();
        assignments >= APART && assignments / self.experts.len() < APART / 4 && rayon::current_num_threads() > 1
    }

    /// Each expert with its state and the places of its outputs, one after the other.
    pub(super) fn each<'a>(
        &'a self,
        deal: &'a Deal<'_>,
        states: &'a mut [State],
        mut out_ao: &'a mut [f32],
    ) -> impl Iterator<Item = Task<'a>> + 'a {
        let spans: &[usize] = deal.spans;
        let output = self.output;
        states.iter_mut().take(self.experts.len()).enumerate().map(move |(index, state)| {
            let (own, rest) = std::mem::take(&mut out_ao).split_at_mut((spans[index + 1] - spans[index]) * output);
            out_ao = rest;
            Task { index, state, out_ao: own }
        })
    }

    pub(super) fn run_one(
        &self,
        index: usize,
        rows: Rows<'_>,
        deal: &Deal<'_>,
        grouped_ad: &[f32],
        segments: &mut [usize],
        state: &mut State,
        out_ao: &mut [f32],
        all_no: &mut [f32],
        scratch: &mut Scratch<'_>,
    ) -> Result<(), ModelError> {
        let (expert, order) = (&self.experts[index], &deal.order[deal.spans[index]..deal.spans[index + 1]]);
        if order.is_empty() && !expert.every {
            return Ok(());
        }
        experts::segments_of(order, self.top_k(), rows.offsets, segments);
        let own = self.rows_of(index, rows, deal, grouped_ad, segments);
        if !expert.every {
            return expert.engine.run(own, state, out_ao, scratch);
        }
        expert.engine.run(own, state, all_no, scratch)?;
        experts::gather(all_no, self.output, self.top_k(), order, out_ao);
        Ok(())
    }

    pub(super) fn forward_one(
        &self,
        index: usize,
        rows: Rows<'_>,
        deal: &Deal<'_>,
        grouped_ad: &[f32],
        state: &mut State,
        out_ao: &mut [f32],
        all_no: &mut [f32],
        pass: &mut Pass,
    ) -> Result<(Vec<usize>, Option<Saved>), ModelError> {
        let (expert, order) = (&self.experts[index], &deal.order[deal.spans[index]..deal.spans[index + 1]]);
        let mut segments = vec![0; rows.offsets.len()];
        experts::segments_of(order, self.top_k(), rows.offsets, &mut segments);
        if order.is_empty() && !expert.every {
            return Ok((segments, None));
        }
        let own = self.rows_of(index, rows, deal, grouped_ad, &segments);
        let saved = if expert.every {
            let saved = expert.engine.forward(own, state, all_no, pass)?;
            experts::gather(all_no, self.output, self.top_k(), order, out_ao);
            saved
        } else {
            expert.engine.forward(own, state, out_ao, pass)?
        };
        Ok((segments, Some(saved)))
    }
}
