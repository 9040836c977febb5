//! Contract 4: the fast backward against finite differences of the plain step in `f64`, choices and draws fixed.

use crate::case::{Case, draws, rows_of, small, wide};
use foretoken_model::{
    layer::{BackwardPass, Pass},
    plain::{PlainPass, Sample},
};

/// Central differences with this step are good to about 1e-9.
const STEP: f64 = 1e-5;
/// Gradients summed in `f32`, relative to the largest of the same weight (or one).
const GRADIENTS: f64 = 5e-5;
/// Weight of the auxiliary losses in the loss under test.
const AUXILIARY: f32 = 1.7;
/// Values of each weight that are tried.
const TRIED: usize = 14;

const SEED: u64 = 21;

/// What a training pass gives: outputs, auxiliary loss, gradient of the rows, gradient of the weights.
pub type Fast = (Vec<f32>, f32, Vec<f32>, Vec<f32>);

/// A training pass and its backward, with seeded gradients of the outputs.
pub fn fast(case: &Case, streams: &[Vec<f32>], seed: u64, step: u64) -> Fast {
    let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
    let (x, offsets) = case.pack(&rows);
    let mut y = vec![f32::NAN; offsets[rows.len()] * case.widths.1];
    let mut pass = Pass::training(seed, step);
    let context = case.context(&x);
    let packed = rows_of(&x, &offsets, &context);
    let saved = case.engine.forward(packed, &mut case.engine.state(rows.len()), &mut y, &mut pass).unwrap();
    let dy = draws(SEED, y.len());
    let (mut dx, mut gradient) = (vec![f32::NAN; x.len()], vec![0.0; case.arena.len()]);
    let backward = BackwardPass { auxiliary: AUXILIARY };
    case.engine.backward(packed, saved, &dy, &mut dx, &mut gradient, &backward);
    (y, pass.auxiliary, dx, gradient)
}

/// The same loss by the plain step.
fn plain_loss(case: &Case, arena: &[f64], streams: &[Vec<f64>], dy: &[f32], pass: &mut PlainPass) -> (f64, f64) {
    let y = case.plain(arena, streams, pass);
    let main: f64 = y.iter().zip(dy).map(|(y, dy)| y * f64::from(*dy)).sum();
    let auxiliary = case.layer.plain_auxiliary(pass);
    (main + f64::from(AUXILIARY) * auxiliary, auxiliary)
}

#[test]
fn contract_4_backward_is_the_gradient_of_the_plain_step() {
    for case in small() {
        let streams = case.streams(&[9, 6]);
        let (y, auxiliary, dx, gradient) = fast(&case, &streams, 5, 8);
        let dy = draws(SEED, y.len());
        let (mut arena, mut inputs) = (wide(&case.arena), streams.iter().map(|x| wide(x)).collect::<Vec<_>>());
        let fresh = || PlainPass { training: Some((5, 8)), ..PlainPass::default() };
        let mut base = fresh();
        let (loss, plain_auxiliary) = plain_loss(&case, &arena, &inputs, &dy, &mut base);
        let fast_loss: f64 = y.iter().zip(&dy).map(|(y, dy)| f64::from(*y) * f64::from(*dy)).sum();
        let total = fast_loss + f64::from(AUXILIARY) * f64::from(auxiliary);
        assert!((total - loss).abs() < 1e-4 * loss.abs().max(10.0), "{}: loss {total}, plain {loss}", case.name);
        assert!((f64::from(auxiliary) - plain_auxiliary).abs() < 1e-5, "{}: auxiliary {auxiliary}", case.name);

        let forced = Some(base.choices());
        let slope = |arena: &[f64], inputs: &[Vec<f64>]| {
            let mut pass = PlainPass { forced: forced.clone(), ..fresh() };
            plain_loss(&case, arena, inputs, &dy, &mut pass).0
        };
        for spec in case.layout.specs() {
            let range = spec.weight.range();
            let tried: Vec<usize> = range.clone().step_by(range.len().div_ceil(TRIED)).collect();
            let numeric: Vec<f64> = tried
                .iter()
                .map(|&place| {
                    let before = arena[place];
                    let mut at = |value: f64| {
                        arena[place] = value;
                        slope(&arena, &inputs)
                    };
                    let difference = at(before + STEP) - at(before - STEP);
                    arena[place] = before;
                    difference / (2.0 * STEP)
                })
                .collect();
            let scale = numeric.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
            for (&place, numeric) in tried.iter().zip(&numeric) {
                let error = (f64::from(gradient[place]) - numeric).abs();
                let place = place - range.start;
                assert!(error <= GRADIENTS * scale, "{} {}[{place}]: {error} of {numeric}", case.name, spec.name);
            }
        }
        let width = case.widths.0;
        let mut at = 0;
        for stream in 0..inputs.len() {
            for place in 0..inputs[stream].len() {
                // The first values are also the context, through which no gradient flows.
                if place % width < 4 {
                    continue;
                }
                let before = inputs[stream][place];
                let mut value = |value: f64| {
                    inputs[stream][place] = value;
                    slope(&arena, &inputs)
                };
                let numeric = (value(before + STEP) - value(before - STEP)) / (2.0 * STEP);
                inputs[stream][place] = before;
                let error = (f64::from(dx[at + place]) - numeric).abs();
                assert!(error <= GRADIENTS * numeric.abs().max(5.0), "{} dx[{place}]: {error} of {numeric}", case.name);
            }
            at += inputs[stream].len();
        }
    }
}

#[test]
fn contract_4_backward_from_a_carried_state_stops_at_it() {
    for case in small() {
        let width = case.widths.0;
        let (streams, split) = (case.streams(&[24, 19]), 17 * width);
        let (past, rest): (Vec<&[f32]>, Vec<&[f32]>) = streams.iter().map(|x| x.split_at(split)).unzip();
        let mut state = case.engine.state(streams.len());
        case.call(&past, &mut state, None);
        let (x, offsets) = case.pack(&rest);
        let (context, mut y) = (case.context(&x), vec![f32::NAN; offsets[rest.len()] * case.widths.1]);
        let packed = rows_of(&x, &offsets, &context);
        let saved = case.engine.forward(packed, &mut state, &mut y, &mut Pass::quiet()).unwrap();
        let (dy, mut dx, mut gradient) = (draws(SEED, y.len()), vec![f32::NAN; x.len()], vec![0.0; case.arena.len()]);
        case.engine.backward(packed, saved, &dy, &mut dx, &mut gradient, &BackwardPass { auxiliary: 0.0 });

        // The definition: the states after the past, as they are with these weights, whatever the weights do then.
        let mut arena = wide(&case.arena);
        let step = |arena: &[f64], x: &[f64], state: &mut _, pass: &mut PlainPass| {
            case.layer.plain_step(arena, Sample { x, gap: 0, context: &x[..4] }, state, pass)
        };
        let mut states = Vec::new();
        for past in &past {
            let mut state = case.layer.plain_state();
            wide(past).chunks(width).for_each(|x| drop(step(&arena, x, &mut state, &mut PlainPass::default())));
            states.push(state);
        }
        let loss = |arena: &[f64], forced: Option<Vec<Vec<Vec<u32>>>>| {
            let mut pass = PlainPass { forced, ..PlainPass::default() };
            let (mut total, mut dy) = (0.0, dy.iter());
            for (rest, state) in rest.iter().zip(&states) {
                let mut state = state.clone();
                for x in wide(rest).chunks(width) {
                    let y = step(arena, x, &mut state, &mut pass);
                    total += y.iter().zip(&mut dy).map(|(y, dy)| y * f64::from(*dy)).sum::<f64>();
                }
            }
            (total, pass)
        };
        let choices = loss(&arena, None).1.choices();
        for spec in case.layout.specs() {
            let range = spec.weight.range();
            let tried: Vec<usize> = range.clone().step_by(range.len().div_ceil(4)).collect();
            let mut numeric = |place: usize| {
                let before = arena[place];
                let mut at = |value: f64| {
                    arena[place] = value;
                    loss(&arena, Some(choices.clone())).0
                };
                let difference = at(before + STEP) - at(before - STEP);
                arena[place] = before;
                difference / (2.0 * STEP)
            };
            let numeric: Vec<f64> = tried.iter().map(|&place| numeric(place)).collect();
            let scale = numeric.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
            for (&place, numeric) in tried.iter().zip(&numeric) {
                let error = (f64::from(gradient[place]) - numeric).abs();
                let place = place - range.start;
                assert!(error <= GRADIENTS * scale, "{} {}[{place}]: {error} of {numeric}", case.name, spec.name);
            }
        }
    }
}
