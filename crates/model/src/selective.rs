//! What Mamba and Mamba-2 share: a causal convolution in front of a selective scan, and the state of both.

use crate::{
    layer::Rows,
    weights::{Layout, Weight},
};
use foretoken_kernels::{
    buffers,
    conv::Conv,
    selective::{Selected, SelectedGradient, Selective},
    streams::{self, Per},
};

/// The convolution and the scan, packed. A stream's state is the convolution's last rows, then the scan's.
pub(crate) struct Core {
    pub taps_kc: Vec<f32>,
    pub bias_c: Vec<f32>,
    pub scan: Selective,
}

/// Columns of rows: those from `start` on, of rows of `stride` values.
#[derive(Clone, Copy)]
pub(crate) struct Columns {
    pub stride: usize,
    pub start: usize,
}

impl Core {
    fn conv(&self) -> Conv<'_> {
        Conv { taps_kc: &self.taps_kc, bias_c: &self.bias_c }
    }

    fn channels(&self) -> usize {
        self.bias_c.len()
    }

    fn held(&self) -> usize {
        self.taps_kc.len() - self.channels()
    }

    /// Numbers in the state of one stream.
    pub fn state_len(&self) -> usize {
        self.held() + self.scan.state_len()
    }

    /// Numbers that a training pass keeps of the scan's states.
    pub fn saved_len(&self, offsets: &[usize]) -> usize {
        Per::Stretch(self.scan.state_len()).len(offsets)
    }

    /// The convolution of some columns of `x`.
    pub fn convolve(&self, rows: Rows<'_>, x: &[f32], columns: Columns, state: &mut [f32], y_nc: &mut [f32]) {
        let outputs = [(y_nc, Per::Row(self.channels())), (state, Per::Stream(self.state_len()))];
        let inputs = [(x, Per::Row(columns.stride))];
        streams::each(rows.offsets, self.taps_kc.len(), inputs, outputs, &|_, [x], [y, state]| {
            self.conv().run(x, columns.stride, columns.start, &mut state[..self.held()], y);
        });
    }

    /// Its gradients: the columns of dx are overwritten, the weights' added. `first` is the state before the pass.
    pub fn convolve_backward(
        &self,
        rows: Rows<'_>,
        x: &[f32],
        columns: Columns,
        first: &[f32],
        dy_nc: &[f32],
        dx: &mut [f32],
        (dtaps_kc, dbias_c): (&mut [f32], &mut [f32]),
    ) {
        let (own, channels) = (self.taps_kc.len(), self.channels());
        let mut sums = vec![0.0; (own + channels) * rows.streams()];
        let inputs = [(x, Per::Row(columns.stride)), (first, Per::Stream(self.state_len())), (dy_nc, Per::Row(channels))];
        let outputs = [(dx, Per::Row(columns.stride)), (&mut sums[..], Per::Stream(own + channels))];
        streams::each(rows.offsets, 3 * own, inputs, outputs, &|_, [x, first, dy], [dx, sums]| {
            let (dtaps, dbias) = sums.split_at_mut(own);
            self.conv().backward(x, columns.stride, columns.start, &first[..self.held()], dy, dx, dtaps, dbias);
        });
        for sums in sums.chunks_exact(own + channels) {
            let (taps, bias) = sums.split_at(own);
            streams::add_up(taps, dtaps_kc);
            streams::add_up(bias, dbias_c);
        }
    }

    /// The scan of rows `[u | B | C]`; `saved`, unless it is empty, gets states for the backward pass.
    pub fn scan(&self, rows: Rows<'_>, x_nx: &[f32], step_ne: &[f32], state: &mut [f32], y_ne: &mut [f32], saved: &mut [f32]) {
        let (scan, channels) = (&self.scan, y_ne.len() / rows.count().max(1));
        let kept = if saved.is_empty() { 0 } else { scan.state_len() };
        let inputs = [(x_nx, Per::Row(scan.width())), (step_ne, Per::Row(channels))];
        let outputs = [(y_ne, Per::Row(channels)), (state, Per::Stream(self.state_len())), (saved, Per::Stretch(kept))];
        streams::each(rows.offsets, scan.work(), inputs, outputs, &|range, [x_nx, step_ne], [y, state, saved]| {
            let selected = Selected { x_nx, step_ne, gaps: rows.gaps_of(range) };
            scan.run(selected, &mut state[self.held()..], y, saved);
        });
    }

    /// Whether the last Δ of every stream's state is one that softplus can give.
    pub fn is_sound(&self, state: &[f32]) -> bool {
        state.chunks_exact(self.state_len()).all(|state| self.scan.is_sound(&state[self.held()..]))
    }

    /// Its gradients: dx is overwritten, Δ's added, and those of A and the skip added to `da` and `dskip`.
    pub fn scan_backward(
        &self,
        rows: Rows<'_>,
        (x_nx, step_ne): (&[f32], &[f32]),
        saved: &[f32],
        dy_ne: &[f32],
        (dx_nx, dstep_ne): (&mut [f32], &mut [f32]),
        (da, dskip): (&mut [f32], &mut [f32]),
    ) {
        let (scan, width, channels) = (&self.scan, self.scan.width(), dskip.len());
        let (own, scratch_len) = (scan.sums_len(), scan.scratch_len());
        let (mut sums, mut scratch) = (vec![0.0; own * rows.streams()], buffers::junk(scratch_len * rows.streams()));
        let inputs = [
            (x_nx, Per::Row(width)),
            (step_ne, Per::Row(channels)),
            (saved, Per::Stretch(scan.state_len())),
            (dy_ne, Per::Row(channels)),
        ];
        let outputs = [
            (dx_nx, Per::Row(width)),
            (dstep_ne, Per::Row(channels)),
            (&mut sums[..], Per::Stream(own)),
            (&mut scratch[..], Per::Stream(scratch_len)),
        ];
        streams::each(rows.offsets, 3 * scan.work(), inputs, outputs, &|range, inputs, [dx_nx, dstep_ne, sums, scratch]| {
            let [x_nx, step_ne, saved, dy] = inputs;
            let selected = Selected { x_nx, step_ne, gaps: rows.gaps_of(range) };
            scan.backward(selected, saved, dy, SelectedGradient { dx_nx, dstep_ne, sums }, scratch);
        });
        sums.chunks_exact(own).for_each(|sums| scan.collect(sums, da, dskip));
    }
}

/// The definition of the convolution: `held` are the rows before, oldest first, and move on by one.
pub(crate) fn plain_conv(arena: &[f64], taps_kc: Weight, bias_c: Weight, x: &[f64], held: &mut [f64]) -> Vec<f64> {
    let (c, taps) = (bias_c.shape[1], &arena[taps_kc.range()]);
    let y = (0..c).map(|i| {
        let past: f64 = held.iter().skip(i).step_by(c).zip(taps.iter().skip(i).step_by(c)).map(|(x, tap)| x * tap).sum();
        arena[bias_c.range()][i] + past + x[i] * taps[taps.len() - c + i]
    });
    let y = y.collect();
    if !held.is_empty() {
        held.rotate_left(c);
        let newest = held.len() - c;
        held[newest..].copy_from_slice(x);
    }
    y
}

/// The taps and biases of a depthwise convolution, as PyTorch starts them: uniform on ±1/√taps.
pub(crate) fn conv_weights(layout: &mut Layout, taps: usize, channels: usize) -> (Weight, Weight) {
    let init = crate::weights::Init::Uniform(1.0 / (taps as f32).sqrt());
    (layout.free("conv", [taps, channels], init.clone()), layout.free("conv_bias", [1, channels], init))
}
