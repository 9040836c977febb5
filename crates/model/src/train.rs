//! A whole network as one operation of burn's autodiff.
//!
//! The operation takes the flat arena of weights and gives two values: the loss of the quantiles `[position][horizon][levels]`, and the sum of
//! the auxiliary losses. Its backward is the network's own, on slices. Back ends other than `Flex` are refused by burn.

use crate::{
    layer::{BackwardPass, Nudge, Pass, State},
    network::{Heard, Network, NetworkEngine, NetworkKept},
};
use burn::{
    backend::{
        Autodiff, Backend, Dispatch, Flex,
        autodiff::{
            checkpoint::{base::Checkpointer, strategy::CheckpointStrategy},
            grads::Gradients,
            ops::{Backward, Ops, OpsKind},
        },
        backend_extension,
        tensor::FloatTensor,
    },
    tensor::{Tensor, TensorData},
};
use burn_flex::FlexTensor;
use std::sync::{Arc, Mutex};

/// One training call: the batch, and where the pass's random draws come from.
#[derive(Clone, Debug)]
pub struct Batch {
    /// `[row][inputs]`.
    pub features_nk: Vec<f32>,
    /// Row offsets of the windows.
    pub offsets: Vec<usize>,
    /// Samples that were missing before each row; empty: none.
    pub gaps: Vec<usize>,
    /// The state that each window starts from; empty ones if absent.
    pub state: Option<State>,
    /// Rows at which the heads are evaluated.
    pub positions: Vec<usize>,
    /// Covariates known of each step from there, `[position][horizon][known]`.
    pub known_mk: Vec<f32>,
    /// Seed and step of the draws.
    pub pass: Pass,
}

impl Batch {
    fn heard(&self) -> Heard<'_> {
        Heard { features_nk: &self.features_nk, offsets: &self.offsets, gaps: &self.gaps }
    }
}

/// What forecasts are held against: takes quantiles `[position][horizon][levels]`, gives their loss, and fills their gradient.
pub type Loss = dyn Fn(&[f32], &mut [f32]) -> f32 + Send + Sync;

/// A batch on its way through the network.
#[derive(Clone)]
pub struct Call {
    network: Arc<Network>,
    batch: Arc<Batch>,
    loss: Arc<Loss>,
    error: Arc<Mutex<Option<crate::ModelError>>>,
    nudges: Arc<Mutex<Vec<Nudge>>>,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Call({} positions)", self.batch.positions.len())
    }
}

/// What the backward needs: the packed weights and what forward kept. Taken once.
#[derive(Clone)]
struct Tape {
    call: Call,
    len: usize,
    kept: Arc<Mutex<Option<Kept>>>,
}

/// The packed network, what its forward kept, and the loss's gradient.
type Kept = (NetworkEngine, NetworkKept, Vec<f32>);

impl std::fmt::Debug for Tape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tape of {:?}", self.call)
    }
}

trait NetworkKernels: Backend {
    fn compute(weights: FloatTensor<Self>, call: Call) -> (FloatTensor<Self>, Tape);
    fn gradient(tape: Tape, dy: FloatTensor<Self>) -> FloatTensor<Self>;
}

/// The operation.
#[backend_extension(Flex, Autodiff)]
pub trait NetworkBackend: Backend {
    /// Loss and auxiliary loss of `call` with these weights.
    fn network(weights: FloatTensor<Self>, call: Call) -> FloatTensor<Self>;
}

fn tensor(values: Vec<f32>) -> FlexTensor {
    let shape = [values.len()];
    FlexTensor::from_data(TensorData::new(values, shape))
}

impl NetworkKernels for Flex {
    fn compute(weights: FlexTensor, call: Call) -> (FlexTensor, Tape) {
        let weights = weights.to_contiguous();
        let arena = weights.as_slice::<f32>().expect("contiguous f32 weights");
        let engine = call.network.prepare(arena, true);
        let batch = &call.batch;
        let mut pass = batch.pass.clone();
        let mut quantiles = vec![0.0; batch.positions.len() * engine.outputs()];
        let state = batch.state.clone().unwrap_or_else(|| engine.state(batch.offsets.len() - 1));
        let forward = engine.forward(batch.heard(), state, &batch.positions, &batch.known_mk, &mut quantiles, &mut pass);
        let mut loss = 0.0;
        let kept = match forward {
            Ok(kept) => {
                let mut gradient = vec![0.0; quantiles.len()];
                loss = (call.loss)(&quantiles, &mut gradient);
                Some((engine, kept, gradient))
            }
            Err(error) => {
                *call.error.lock().expect("no panic while locked") = Some(error);
                None
            }
        };
        let auxiliary = pass.auxiliary;
        *call.nudges.lock().expect("no panic while locked") = pass.nudges;
        let tape = Tape { len: arena.len(), call, kept: Arc::new(Mutex::new(kept)) };
        (tensor(vec![loss, auxiliary]), tape)
    }

    fn gradient(tape: Tape, dy: FlexTensor) -> FlexTensor {
        let dy = dy.to_contiguous();
        let dy = dy.as_slice::<f32>().expect("contiguous f32 gradient");
        let mut gradient = vec![0.0; tape.len];
        if let Some((engine, kept, mut dquantiles)) = tape.kept.lock().expect("no panic while locked").take() {
            let batch = &tape.call.batch;
            dquantiles.iter_mut().for_each(|value| *value *= dy[0]);
            let pass = BackwardPass { auxiliary: dy[1] };
            engine.backward(batch.heard(), &batch.positions, &batch.known_mk, kept, &dquantiles, &mut gradient, &pass);
        }
        tensor(gradient)
    }
}

impl NetworkBackend for Flex {
    fn network(weights: FlexTensor, call: Call) -> FlexTensor {
        Self::compute(weights, call).0
    }
}

impl<B: NetworkBackend + NetworkKernels, C: CheckpointStrategy> NetworkBackend for Autodiff<B, C> {
    fn network(weights: FloatTensor<Self>, call: Call) -> FloatTensor<Self> {
        #[derive(Debug)]
        struct NetworkBackward;
        impl<B: NetworkKernels> Backward<B, 1> for NetworkBackward {
            type State = Tape;
            fn backward(self, ops: Ops<Tape, 1>, grads: &mut Gradients, _: &mut Checkpointer) {
                let dy = grads.consume::<B>(&ops.node);
                let [parent] = ops.parents;
                if let Some(node) = parent {
                    grads.register::<B>(node.id, B::gradient(ops.state, dy));
                }
            }
        }
        let (weights, node) = weights.into_parts();
        match NetworkBackward.prepare::<C>([node]).compute_bound().stateful() {
            OpsKind::Tracked(prepared) => {
                let (y, tape) = B::compute(weights, call);
                prepared.finish(tape, y)
            }
            OpsKind::UnTracked(prepared) => prepared.finish(B::network(weights, call)),
        }
    }
}

/// Runs `batch` through `network` with the flat `weights`: the loss and the auxiliary loss; and what is to be added to the weights after the
/// optimiser's step.
///
/// # Errors
/// What [`NetworkEngine::forward`] refuses.
pub fn network(
    network: &Arc<Network>,
    weights: Tensor<1>,
    batch: Batch,
    loss: Arc<Loss>,
) -> Result<(Tensor<1>, Vec<Nudge>), crate::ModelError> {
    let call = Call { network: network.clone(), batch: Arc::new(batch), loss, error: Arc::default(), nudges: Arc::default() };
    let (error, nudges) = (call.error.clone(), call.nudges.clone());
    let output = Tensor::from_dispatch(Dispatch::network(weights.into_dispatch(), call));
    match error.lock().expect("no panic while locked").take() {
        Some(error) => Err(error),
        None => Ok((output, std::mem::take(&mut *nudges.lock().expect("no panic while locked")))),
    }
}
