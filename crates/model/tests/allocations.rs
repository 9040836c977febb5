//! Contract 7: `run`, `advance` and `predict` allocate nothing.

mod common;

use foretoken_model::{
    Beside, CovariateConfig, ForecasterConfig, LayerConfig, Predictor, Registry,
    layer::{Rows, Workspace},
    weights::Layout,
};
use std::sync::Arc;

fn allocations(work: impl FnOnce()) -> u64 {
    allocation_counter::measure(work).count_total
}

#[test]
fn nothing_is_allocated() {
    assert!(allocations(|| drop(std::hint::black_box(vec![1]))) > 0, "the counter works");
    let registry = Registry::default();
    for kind in registry.kinds() {
        for example in kind.examples {
            let config = LayerConfig { kind: kind.name.into(), options: toml::from_str(example).unwrap() };
            let mut layout = Layout::default();
            let layer = layout.with_context(9, |layout| registry.build(&config, 9, 9, layout)).unwrap();
            let engine = layer.prepare(&layout.initialise(1), false);
            let mut workspace = Workspace::default();
            workspace.reserve(engine.scratch(40, 2));
            let (mut state, x, mut y) = (engine.state(2), vec![0.3; 40 * 9], vec![0.0; 40 * 9]);
            let mut run = || {
                let rows = |x, offsets| Rows { context_nc: x, ..Rows::new(x, offsets) };
                engine.run(rows(&x, &[0, 25, 40]), &mut state, &mut y, &mut workspace.scratch()).unwrap();
                engine.run(rows(&x[..18], &[0, 1, 2]), &mut state, &mut y[..18], &mut workspace.scratch()).unwrap();
            };
            // The first call may look up the instruction set.
            run();
            assert_eq!(allocations(run), 0, "{} [{example}]", kind.name);
        }
    }
    let covariates = CovariateConfig { known: 1, response: Some(7), ..CovariateConfig::default() };
    let responding = ForecasterConfig { covariates, ..common::config() };
    for config in common::variants().into_iter().chain([responding]) {
        let mut predictor = Predictor::new(Arc::new(common::forecaster_of(&config, 1)));
        let mut forecast = predictor.forecast_buffer();
        if config.covariates.known > 0 {
            predictor.tell(&Beside { past: Vec::new(), known: vec![vec![&[0.5; 80]]] }).unwrap();
        }
        predictor.advance(&[20.0, 21.0]).unwrap();
        // The first jump of a column asks what is left of one.
        let first = if predictor.forecaster().columns().iter().any(|column| column.jump.is_some()) { 60 } else { 0 };
        (0..first).for_each(|row| predictor.advance(&[common::value(0, row), common::value(1, row)]).unwrap());
        for row in first..first + 60 {
            let sample = [common::value(0, row), common::value(1, row)];
            assert_eq!(allocations(|| predictor.advance(&sample).unwrap()), 0, "advance");
            assert_eq!(allocations(|| predictor.predict(&mut forecast).unwrap()), 0, "predict");
        }
    }
}
