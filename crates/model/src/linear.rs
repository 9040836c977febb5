//! A linear layer: `y = x·W + b`. As an expert it makes a mixture of linear maps.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Init, Layout, Weight, fan_in},
};
use foretoken_kernels::linear::{self, Panels};
use serde::{Deserialize, Serialize};

/// `type = "linear"`.
pub const KIND: Kind = Kind { name: "linear", build, examples: &["", "bias = false"] };

/// Options of a linear layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LinearLayerConfig {
    /// Whether there is a bias.
    pub bias: bool,
}

impl Default for LinearLayerConfig {
    fn default() -> Self {
        Self { bias: true }
    }
}

#[derive(Debug)]
struct Linear {
    weight_do: Weight,
    bias_o: Option<Weight>,
}

fn build(
    _: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: LinearLayerConfig = config.read()?;
    Ok(Box::new(Linear {
        weight_do: layout.matrix("weight", [input, output], fan_in(input)),
        bias_o: options.bias.then(|| layout.free("bias", [1, output], Init::Constant(0.0))),
    }))
}

impl Layer for Linear {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let (w, [inputs, outputs]) = (self.weight_do.of(arena), self.weight_do.shape);
        Box::new(LinearEngine {
            weight: self.weight_do,
            bias: self.bias_o,
            panels: Panels::pack(w, inputs, outputs),
            bias_o: self.bias_o.map(|bias| bias.of(arena).to_vec()),
            transposed: train.then(|| Panels::pack_transposed(w, inputs, outputs)),
        })
    }

    fn active_parameters(&self) -> usize {
        self.weight_do.range().len() + self.bias_o.map_or(0, |bias| bias.range().len())
    }

    fn can_elapse(&self) -> bool {
        true
    }

    fn resample(&self, _: &mut [f32], _: f32) -> Result<(), ModelError> {
        Ok(())
    }

    fn plain_state(&self) -> PlainState {
        PlainState::default()
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, _: &mut PlainState, _: &mut PlainPass) -> Vec<f64> {
        let mut y = plain::multiply(sample.x, &arena[self.weight_do.range()], self.weight_do.shape[1]);
        if let Some(bias) = self.bias_o {
            y.iter_mut().zip(&arena[bias.range()]).for_each(|(y, bias)| *y += bias);
        }
        y
    }
}

struct LinearEngine {
    weight: Weight,
    bias: Option<Weight>,
    panels: Panels,
    bias_o: Option<Vec<f32>>,
    transposed: Option<Panels>,
}

impl Engine for LinearEngine {
    fn widths(&self) -> (usize, usize) {
        (self.panels.inputs(), self.panels.outputs())
    }

    fn state(&self, _: usize) -> State {
        State::default()
    }

    fn scratch(&self, _: usize, _: usize) -> Need {
        Need::default()
    }

    fn run(&self, rows: Rows<'_>, _: &mut State, y_no: &mut [f32], _: &mut Scratch<'_>) -> Result<(), ModelError> {
        linear::linear(rows.x_nd, &self.panels, self.bias_o.as_deref(), y_no);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, _: &mut State, y_no: &mut [f32], _: &mut Pass) -> Result<Saved, ModelError> {
        linear::linear(rows.x_nd, &self.panels, self.bias_o.as_deref(), y_no);
        Ok(Box::new(()))
    }

    fn backward(&self, rows: Rows<'_>, _: Saved, dy_no: &[f32], dx_nd: &mut [f32], gradient: &mut [f32], _: &BackwardPass) {
        let (inputs, outputs) = self.widths();
        linear::weight_gradient(rows.x_nd, dy_no, inputs, outputs, self.weight.of_mut(gradient));
        if let Some(bias) = self.bias {
            linear::bias_gradient(dy_no, bias.of_mut(gradient));
        }
        linear::linear(dy_no, self.transposed.as_ref().expect("prepared for training"), None, dx_nd);
    }
}
