//! The mixture at work: what the experts say is put together again, and its gradients are taken apart.

use super::{
    Clock, Mixture,
    deal::{Deal, Task},
};
use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Need, Pass, Rows, Saved, Scratch, State, Workspace},
    router::{RouterEngine, RouterKept, keep_slots, row_draws},
    usage::UsageCounters,
    weights::Weight,
};
use foretoken_kernels::{
    activation,
    buffers::{self, Buffer},
    experts,
    linear::{self, Panels},
};
use rayon::prelude::*;
use std::sync::Arc;

/// A mixture with packed weights.
pub struct MixtureEngine {
    id: usize,
    pub(super) input: usize,
    pub(super) output: usize,
    clock: Clock,
    dropout: f32,
    noisy: bool,
    pub(super) router: RouterEngine,
    names: Vec<String>,
    pub(super) experts: Vec<Expert>,
    shared: Vec<Box<dyn Engine>>,
    shared_gate: Option<SharedGate>,
    trained: Arc<UsageCounters>,
    live: UsageCounters,
}

pub(super) struct Expert {
    pub(super) engine: Box<dyn Engine>,
    /// Runs on every sample, and only the chosen ones are read.
    pub(super) every: bool,
}

struct SharedGate {
    span: Weight,
    panels: Panels,
    transposed: Option<Panels>,
}

struct Kept {
    router: RouterKept,
    scaled_nk: Vec<f32>,
    keep_nk: Vec<bool>,
    order: Vec<u32>,
    place: Vec<u32>,
    spans: Vec<usize>,
    gaps: Vec<usize>,
    segments: Vec<Vec<usize>>,
    grouped_ad: Buffer,
    out_ao: Buffer,
    experts: Vec<Option<Saved>>,
    shared: Vec<(Saved, Vec<f32>)>,
    shared_gate_n: Vec<f32>,
    training: bool,
}

impl MixtureEngine {
    pub(super) fn new(mixture: &Mixture, arena: &[f32], train: bool) -> Self {
        let expert = |expert: &super::Expert| {
            let engine = expert.layer.prepare(arena, train);
            // An expert without a state says the same whether it sees the others' samples or not, unless its last choice counts.
            let sticks = engine.mixtures().iter().any(|mixture| mixture.router().options().switch_cost > 0.0);
            let every = mixture.clock == Clock::Every && (sticks || !engine.state(1).is_empty());
            Expert { engine, every }
        };
        let gate = |span: Weight| {
            let (w, [inputs, outputs]) = (span.of(arena), span.shape);
            let transposed = train.then(|| Panels::pack_transposed(w, inputs, outputs));
            SharedGate { span, panels: Panels::pack(w, inputs, outputs), transposed }
        };
        Self {
            id: mixture.id,
            input: mixture.input,
            output: mixture.output,
            clock: mixture.clock,
            dropout: mixture.dropout,
            noisy: mixture.noisy,
            router: mixture.router.prepare(arena, train),
            names: mixture.experts.iter().map(|expert| expert.name.clone()).collect(),
            experts: mixture.experts.iter().map(expert).collect(),
            shared: mixture.shared.iter().map(|shared| shared.layer.prepare(arena, train)).collect(),
            shared_gate: mixture.shared_gate_d.map(gate),
            trained: mixture.trained.clone(),
            live: UsageCounters::new(mixture.experts.len()),
        }
    }

    /// Number of the mixture in its model, in the order of building.
    pub fn id(&self) -> usize {
        self.id
    }

    /// What kind of layer each expert is.
    pub fn expert_names(&self) -> &[String] {
        &self.names
    }

    /// One of the experts.
    pub fn expert(&self, index: usize) -> &dyn Engine {
        &*self.experts[index].engine
    }

    /// Experts chosen a sample.
    pub fn top_k(&self) -> usize {
        self.router.top_k()
    }

    /// What an expert's time is.
    pub fn clock(&self) -> Clock {
        self.clock
    }

    /// The router.
    pub fn router(&self) -> &RouterEngine {
        &self.router
    }

    /// Counts of `run`, over all streams that share this engine.
    pub fn live_usage(&self) -> &UsageCounters {
        &self.live
    }

    /// Counts of training passes, over all engines of the mixture; evaluation never touches them.
    pub fn training_usage(&self) -> &Arc<UsageCounters> {
        &self.trained
    }

    fn gap_len(&self, rows: usize) -> usize {
        if self.clock == Clock::Elapsed { rows * self.top_k() } else { 0 }
    }

    /// `len` where some expert runs on rows that were not dealt to it, else nothing.
    fn beside(&self, len: usize) -> usize {
        if self.shared.is_empty() && self.experts.iter().all(|expert| !expert.every) { 0 } else { len }
    }

    /// σ(x·w) of every row; ones without a gate.
    fn shared_weights(&self, x_nd: &[f32], logits_n: &mut [f32], gate_n: &mut [f32]) {
        match &self.shared_gate {
            Some(gate) => {
                linear::linear(x_nd, &gate.panels, None, logits_n);
                activation::sigmoid(logits_n, gate_n);
            }
            None => gate_n.fill(1.0),
        }
    }
}

/// `y += gate ⊙ out`, row by row.
fn add_scaled(y_no: &mut [f32], gate_n: &[f32], out_no: &[f32]) {
    // A sample that every stream misses has no rows.
    let Some(width) = y_no.len().checked_div(gate_n.len()) else { return };
    for ((y, out), gate) in y_no.chunks_exact_mut(width).zip(out_no.chunks_exact(width)).zip(gate_n) {
        y.iter_mut().zip(out).for_each(|(y, out)| *y += gate * out);
    }
}

impl Engine for MixtureEngine {
    fn widths(&self) -> (usize, usize) {
        (self.input, self.output)
    }

    fn state(&self, streams: usize) -> State {
        let shared = self.shared.iter().map(|shared| shared.state(streams));
        State {
            floats: vec![0.0; streams * self.router.state_len()],
            counters: vec![0; streams * self.router.memory().len()],
            children: self.experts.iter().map(|expert| expert.engine.state(streams)).chain(shared).collect(),
        }
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        let assignments = rows * self.top_k();
        let engines = self.experts.iter().map(|expert| &expert.engine).chain(&self.shared);
        let inside = engines.fold(Need::default(), |need, engine| need.or(engine.scratch(rows, streams)));
        let own = Need {
            floats: assignments * (self.input + self.output) + self.beside(rows * self.output) + 2 * rows,
            choices: 2 * assignments,
            offsets: self.experts.len() + 1 + streams + 1 + self.gap_len(rows),
        };
        inside.plus(own).plus(self.router.scratch(rows))
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let (n, k, output) = (rows.count(), self.top_k(), self.output);
        let choice = self.router.route(rows, &mut state.floats, &mut state.counters, self.id, scratch)?;
        let mut deal = Deal {
            order: scratch.choices(n * k),
            place: scratch.choices(n * k),
            spans: scratch.offsets(self.experts.len() + 1),
            gaps: scratch.offsets(self.gap_len(n)),
        };
        let routed = (choice.experts_nk, choice.weights_nk, choice.margins_n);
        let usage = scratch.count.then_some(&self.live);
        self.deal(rows, routed, &mut state.counters, usage, &mut deal);
        if let Some(trace) = &mut scratch.trace {
            trace.record(self.id, self.experts.len(), k, rows.offsets, choice.experts_nk, choice.weights_nk);
        }
        let (grouped_ad, out_ao) = (scratch.floats(n * k * self.input), scratch.floats(n * k * output));
        let (all_no, logits_n, gate_n) = (scratch.floats(self.beside(n * output)), scratch.floats(n), scratch.floats(n));
        experts::gather(rows.x_nd, self.input, k, deal.order, grouped_ad);
        if self.apart(n) && scratch.trace.is_none() && scratch.replay.is_none() {
            let count = scratch.count;
            let tasks: Vec<_> = self.each(&deal, &mut state.children, out_ao).collect();
            tasks.into_par_iter().try_for_each(|Task { index, state, out_ao }| {
                let mut workspace = Workspace::default();
                let expert = &self.experts[index];
                let own = if expert.every { n } else { deal.spans[index + 1] - deal.spans[index] };
                workspace.reserve(expert.engine.scratch(own, rows.streams()));
                let mut scratch = workspace.scratch();
                scratch.count = count;
                let mut all_no = vec![0.0; if expert.every { n * output } else { 0 }];
                let mut segments = vec![0; rows.offsets.len()];
                self.run_one(index, rows, &deal, grouped_ad, &mut segments, state, out_ao, &mut all_no, &mut scratch)
            })?;
        } else {
            let segments = scratch.offsets(rows.offsets.len());
            for Task { index, state, out_ao } in self.each(&deal, &mut state.children, out_ao) {
                self.run_one(index, rows, &deal, grouped_ad, segments, state, out_ao, all_no, &mut scratch.rest())?;
            }
        }
        experts::combine(out_ao, output, k, deal.place, choice.weights_nk, y_no);
        if !self.shared.is_empty() {
            self.shared_weights(rows.x_nd, logits_n, gate_n);
        }
        for (shared, state) in self.shared.iter().zip(&mut state.children[self.experts.len()..]) {
            shared.run(Rows { context_nc: &[], ..rows }, state, all_no, &mut scratch.rest())?;
            add_scaled(y_no, gate_n, all_no);
        }
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], pass: &mut Pass) -> Result<Saved, ModelError> {
        let (n, k, count) = (rows.count(), self.top_k(), self.experts.len());
        let (input, output) = self.widths();
        let routed = self.router.forward(rows, &mut state.floats, &mut state.counters, self.id, pass)?;
        pass.auxiliary += routed.auxiliary;
        let mut kept = Kept {
            scaled_nk: routed.weights_nk.clone(),
            keep_nk: Vec::new(),
            router: routed,
            order: vec![0; n * k],
            place: vec![0; n * k],
            spans: vec![0; count + 1],
            gaps: vec![0; self.gap_len(n)],
            segments: Vec::with_capacity(count),
            grouped_ad: buffers::junk(n * k * input),
            out_ao: buffers::junk(n * k * output),
            experts: Vec::with_capacity(count),
            shared: Vec::with_capacity(self.shared.len()),
            shared_gate_n: vec![0.0; n],
            training: pass.training,
        };
        if pass.training && self.dropout > 0.0 {
            kept.keep_nk = vec![true; n * k];
            for (row, (keep, scaled)) in kept.keep_nk.chunks_exact_mut(k).zip(kept.scaled_nk.chunks_exact_mut(k)).enumerate() {
                keep_slots(&mut row_draws(pass.seed, pass.step, self.id, row), self.noisy, count, self.dropout, keep);
                for (scaled, keep) in scaled.iter_mut().zip(keep) {
                    *scaled *= if *keep { 1.0 / (1.0 - self.dropout) } else { 0.0 };
                }
            }
        }
        let mut deal = Deal { order: &mut kept.order, place: &mut kept.place, spans: &mut kept.spans, gaps: &mut kept.gaps };
        let routed = (&kept.router.choice_nk[..], &kept.router.weights_nk[..], &kept.router.margins_n[..]);
        let usage = (pass.training && pass.count).then_some(&*self.trained);
        self.deal(rows, routed, &mut state.counters, usage, &mut deal);
        experts::gather(rows.x_nd, input, k, deal.order, &mut kept.grouped_ad);
        let mut all_no = vec![0.0; self.beside(n * output)];
        // Each expert has its own pass, so that sums of losses do not depend on who runs beside whom.
        let own_pass = |pass: &Pass, replay| Pass { auxiliary: 0.0, nudges: Vec::new(), replay, ..*pass };
        let mut done = Vec::with_capacity(count);
        if self.apart(n) && pass.replay.is_none() {
            let tasks: Vec<_> = self.each(&deal, &mut state.children, &mut kept.out_ao).collect();
            let one = |Task { index, state, out_ao }: Task<'_>| {
                let mut own = own_pass(pass, None);
                let mut all_no = vec![0.0; if self.experts[index].every { n * output } else { 0 }];
                self.forward_one(index, rows, &deal, &kept.grouped_ad, state, out_ao, &mut all_no, &mut own)
                    .map(|(segments, saved)| (segments, saved, own))
            };
            tasks.into_par_iter().map(one).collect_into_vec(&mut done);
        } else {
            for Task { index, state, out_ao } in self.each(&deal, &mut state.children, &mut kept.out_ao) {
                let replay = pass.replay.take();
                let mut own = own_pass(pass, replay);
                let result = self.forward_one(index, rows, &deal, &kept.grouped_ad, state, out_ao, &mut all_no, &mut own);
                pass.replay = own.replay.take();
                done.push(result.map(|(segments, saved)| (segments, saved, own)));
            }
        }
        for result in done {
            let (segments, saved, own) = result?;
            kept.segments.push(segments);
            kept.experts.push(saved);
            pass.auxiliary += own.auxiliary;
            pass.nudges.extend(own.nudges);
        }
        experts::combine(&kept.out_ao, output, k, &kept.place, &kept.scaled_nk, y_no);
        if !self.shared.is_empty() {
            self.shared_weights(rows.x_nd, &mut vec![0.0; n], &mut kept.shared_gate_n);
        }
        for (shared, state) in self.shared.iter().zip(&mut state.children[count..]) {
            let saved = shared.forward(Rows { context_nc: &[], ..rows }, state, &mut all_no, pass)?;
            add_scaled(y_no, &kept.shared_gate_n, &all_no);
            kept.shared.push((saved, all_no.clone()));
        }
        Ok(Box::new(kept))
    }

    fn backward(
        &self,
        rows: Rows<'_>,
        saved: Saved,
        dy_no: &[f32],
        dx_nd: &mut [f32],
        gradient: &mut [f32],
        pass: &BackwardPass,
    ) {
        let mut kept = *saved.downcast::<Kept>().expect("saved by this layer");
        let (n, k) = (rows.count(), self.top_k());
        let (input, output) = self.widths();
        let (mut dout_ao, mut dgrouped_ad) = (buffers::junk(n * k * output), buffers::zeroed(n * k * input));
        let mut dweights_nk = vec![0.0; n * k];
        experts::combine_backward(
            &kept.out_ao,
            output,
            k,
            &kept.order,
            &kept.place,
            &kept.scaled_nk,
            dy_no,
            &mut dout_ao,
            &mut dweights_nk,
        );
        for (dweight, keep) in dweights_nk.iter_mut().zip(&kept.keep_nk) {
            *dweight *= if *keep { 1.0 / (1.0 - self.dropout) } else { 0.0 };
        }
        dx_nd.fill(0.0);
        let mut part_nd = vec![0.0; self.beside(dx_nd.len())];
        let add = |dx_nd: &mut [f32], part_nd: &[f32]| dx_nd.iter_mut().zip(part_nd).for_each(|(total, part)| *total += part);
        for (index, (expert, saved)) in self.experts.iter().zip(std::mem::take(&mut kept.experts)).enumerate() {
            let Some(saved) = saved else { continue };
            let deal = Deal { order: &mut kept.order, place: &mut kept.place, spans: &mut kept.spans, gaps: &mut kept.gaps };
            let span = deal.spans[index]..deal.spans[index + 1];
            let own = self.rows_of(index, rows, &deal, &kept.grouped_ad, &kept.segments[index]);
            let dout = &dout_ao[span.start * output..span.end * output];
            if expert.every {
                let mut dall_no = vec![0.0; n * output];
                for (&assignment, dout) in deal.order[span].iter().zip(dout.chunks_exact(output)) {
                    dall_no[assignment as usize / k * output..][..output].copy_from_slice(dout);
                }
                expert.engine.backward(own, saved, &dall_no, &mut part_nd, gradient, pass);
                add(dx_nd, &part_nd);
            } else {
                expert.engine.backward(own, saved, dout, &mut dgrouped_ad[span.start * input..span.end * input], gradient, pass);
            }
        }
        // An expert that ran on all rows left none for the rows dealt to it.
        experts::gather_backward(&dgrouped_ad, input, k, &kept.place, dx_nd);
        let mut dlogits_n = vec![0.0; n];
        for (shared, (saved, out_no)) in self.shared.iter().zip(kept.shared) {
            let mut dout_no = vec![0.0; n * output];
            add_scaled(&mut dout_no, &kept.shared_gate_n, dy_no);
            shared.backward(Rows { context_nc: &[], ..rows }, saved, &dout_no, &mut part_nd, gradient, pass);
            add(dx_nd, &part_nd);
            let pairs = out_no.chunks_exact(output).zip(dy_no.chunks_exact(output));
            for ((dlogit, (out, dy)), gate) in dlogits_n.iter_mut().zip(pairs).zip(&kept.shared_gate_n) {
                *dlogit += gate * (1.0 - gate) * out.iter().zip(dy).map(|(out, dy)| out * dy).sum::<f32>();
            }
        }
        if let Some(gate) = &self.shared_gate {
            linear::weight_gradient(rows.x_nd, &dlogits_n, input, 1, gate.span.of_mut(gradient));
            linear::linear_add(&dlogits_n, gate.transposed.as_ref().expect("prepared for training"), dx_nd);
        }
        let auxiliary = if kept.training { pass.auxiliary } else { 0.0 };
        self.router.backward(rows, &kept.router, &mut dweights_nk, auxiliary, dx_nd, gradient);
    }

    fn is_sound(&self, state: &State) -> bool {
        let memory = self.router.memory();
        let engines = self.experts.iter().map(|expert| &expert.engine).chain(&self.shared);
        state.counters.chunks(memory.len()).all(|counters| memory.is_sound(counters))
            && engines.zip(&state.children).all(|(engine, state)| engine.is_sound(state))
    }

    fn mixtures(&self) -> Vec<&MixtureEngine> {
        let engines = self.experts.iter().map(|expert| &expert.engine).chain(&self.shared);
        std::iter::once(self).chain(engines.flat_map(|engine| engine.mixtures())).collect()
    }
}
