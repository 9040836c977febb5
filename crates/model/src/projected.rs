//! A layer of another width between two projections: `y = layer(x·In)·Out`. It lets an expert be narrower or wider than its model, and
//! a stack, which keeps its width, stand where widths differ.

use crate::{
    ModelError,
    layer::{BackwardPass, Engine, Kind, Layer, LayerConfig, Need, Pass, Registry, Rows, Saved, Scratch, State},
    mixture::MixtureEngine,
    plain::{self, PlainPass, PlainState, Sample},
    weights::{Layout, Weight, fan_in, positive},
};
use foretoken_kernels::linear::{self, Panels};
use serde::{Deserialize, Serialize};

/// `type = "projected"`.
pub const KIND: Kind = Kind {
    name: "projected",
    build,
    examples: &[
        "width = 5\nlayer = { type = 's4d', states = 3 }",
        "width = 4\nlayer = { type = 'stack', layers = [{ type = 's4d', states = 2 }, { type = 'mixture', num_experts = 3 }] }",
    ],
};

/// Options of a projected layer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProjectedConfig {
    /// Width of the layer inside.
    pub width: usize,
    /// The layer inside.
    pub layer: LayerConfig,
}

#[derive(Debug)]
struct Projected {
    in_dw: Weight,
    layer: Box<dyn Layer>,
    out_wo: Weight,
}

fn build(
    registry: &Registry,
    config: &LayerConfig,
    input: usize,
    output: usize,
    layout: &mut Layout,
) -> Result<Box<dyn Layer>, ModelError> {
    let options: ProjectedConfig = config.read()?;
    let width = positive("width", options.width)?;
    Ok(Box::new(Projected {
        in_dw: layout.matrix("in", [input, width], fan_in(input)),
        layer: layout
            .scope("layer", |layout| registry.build(&options.layer, width, width, layout))
            .map_err(|error| error.under("layer"))?,
        out_wo: layout.matrix("out", [width, output], fan_in(width)),
    }))
}

impl Layer for Projected {
    fn prepare(&self, arena: &[f32], train: bool) -> Box<dyn Engine> {
        let pack = |weight: Weight| Panels::pack(weight.of(arena), weight.shape[0], weight.shape[1]);
        let transposed = |weight: Weight| Panels::pack_transposed(weight.of(arena), weight.shape[0], weight.shape[1]);
        Box::new(ProjectedEngine {
            spans: [self.in_dw, self.out_wo],
            panels: [self.in_dw, self.out_wo].map(pack),
            transposed: train.then(|| [self.in_dw, self.out_wo].map(transposed)),
            layer: self.layer.prepare(arena, train),
        })
    }

    fn active_parameters(&self) -> usize {
        self.in_dw.range().len() + self.layer.active_parameters() + self.out_wo.range().len()
    }

    fn can_elapse(&self) -> bool {
        self.layer.can_elapse()
    }

    fn resample(&self, arena: &mut [f32], factor: f32) -> Result<(), ModelError> {
        self.layer.resample(arena, factor).map_err(|error| error.under("layer"))
    }

    fn plain_state(&self) -> PlainState {
        self.layer.plain_state()
    }

    fn plain_step(&self, arena: &[f64], sample: Sample<'_>, state: &mut PlainState, pass: &mut PlainPass) -> Vec<f64> {
        let x = plain::multiply(sample.x, &arena[self.in_dw.range()], self.in_dw.shape[1]);
        let y = self.layer.plain_step(arena, sample.with(&x), state, pass);
        plain::multiply(&y, &arena[self.out_wo.range()], self.out_wo.shape[1])
    }

    fn plain_auxiliary(&self, pass: &PlainPass) -> f64 {
        self.layer.plain_auxiliary(pass)
    }
}

struct ProjectedEngine {
    spans: [Weight; 2],
    panels: [Panels; 2],
    transposed: Option<[Panels; 2]>,
    layer: Box<dyn Engine>,
}

struct Kept {
    x_nw: Vec<f32>,
    y_nw: Vec<f32>,
    layer: Saved,
}

impl ProjectedEngine {
    fn width(&self) -> usize {
        self.panels[0].outputs()
    }
}

impl Engine for ProjectedEngine {
    fn widths(&self) -> (usize, usize) {
        (self.panels[0].inputs(), self.panels[1].outputs())
    }

    fn state(&self, streams: usize) -> State {
        self.layer.state(streams)
    }

    fn scratch(&self, rows: usize, streams: usize) -> Need {
        self.layer.scratch(rows, streams).plus(Need::floats(2 * rows * self.width()))
    }

    fn run(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], scratch: &mut Scratch<'_>) -> Result<(), ModelError> {
        let len = rows.count() * self.width();
        let (x_nw, y_nw) = (scratch.floats(len), scratch.floats(len));
        linear::linear(rows.x_nd, &self.panels[0], None, x_nw);
        self.layer.run(rows.with(x_nw), state, y_nw, &mut scratch.rest())?;
        linear::linear(y_nw, &self.panels[1], None, y_no);
        Ok(())
    }

    fn forward(&self, rows: Rows<'_>, state: &mut State, y_no: &mut [f32], pass: &mut Pass) -> Result<Saved, ModelError> {
        let len = rows.count() * self.width();
        let (mut x_nw, mut y_nw) = (vec![0.0; len], vec![0.0; len]);
        linear::linear(rows.x_nd, &self.panels[0], None, &mut x_nw);
        let layer = self.layer.forward(rows.with(&x_nw), state, &mut y_nw, pass)?;
        linear::linear(&y_nw, &self.panels[1], None, y_no);
        Ok(Box::new(Kept { x_nw, y_nw, layer }))
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
        let kept = saved.downcast::<Kept>().expect("saved by this layer");
        let [into_t, out_t] = self.transposed.as_ref().expect("prepared for training");
        let ((inputs, outputs), width) = (self.widths(), self.width());
        let (mut dy_nw, mut dx_nw) = (vec![0.0; kept.y_nw.len()], vec![0.0; kept.x_nw.len()]);
        linear::weight_gradient(&kept.y_nw, dy_no, width, outputs, self.spans[1].of_mut(gradient));
        linear::linear(dy_no, out_t, None, &mut dy_nw);
        self.layer.backward(rows.with(&kept.x_nw), kept.layer, &dy_nw, &mut dx_nw, gradient, pass);
        linear::weight_gradient(rows.x_nd, &dx_nw, inputs, width, self.spans[0].of_mut(gradient));
        linear::linear(&dx_nw, into_t, None, dx_nd);
    }

    fn is_sound(&self, state: &State) -> bool {
        self.layer.is_sound(state)
    }

    fn mixtures(&self) -> Vec<&MixtureEngine> {
        self.layer.mixtures()
    }
}
