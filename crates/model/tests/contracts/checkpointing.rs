//! Contract 2, once more: a pass that keeps only what each block got, and computes the rest again, gives the bits of one that keeps everything.

use crate::case::{Case, all, draws, rows_of};
use foretoken_model::{
    LayerConfig,
    layer::{BackwardPass, Nudge, Pass, State},
    trace::{Replay, Trace},
    usage::ExpertUsage,
};

/// Outputs, auxiliary loss, nudges, gradients of rows and weights, the state left behind, and what was counted.
type Everything = ([Vec<u32>; 3], u32, Vec<Nudge>, State, Vec<ExpertUsage>);

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

fn everything(case: &Case, pass: Pass) -> Everything {
    case.engine.mixtures().iter().for_each(|mixture| mixture.training_usage().clear());
    // From states that are not empty.
    let before = case.streams(&[7, 3, 0]);
    let rows: Vec<&[f32]> = before.iter().map(Vec::as_slice).collect();
    let mut state = case.engine.state(3);
    case.call(&rows, &mut state, None);
    let streams = case.streams(&[37, 0, 21]);
    let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
    let (x, offsets) = case.pack(&rows);
    let context = case.context(&x);
    let packed = rows_of(&x, &offsets, &context);
    let (mut y, mut dx) = (vec![f32::NAN; offsets[3] * case.widths.1], vec![f32::NAN; x.len()]);
    let (mut gradient, mut pass) = (vec![0.0; case.arena.len()], pass);
    let saved = case.engine.forward(packed, &mut state, &mut y, &mut pass).unwrap();
    case.engine.backward(packed, saved, &draws(6, y.len()), &mut dx, &mut gradient, &BackwardPass { auxiliary: 1.7 });
    let usage = case.engine.mixtures().iter().map(|mixture| mixture.training_usage().read()).collect();
    ([bits(&y), bits(&dx), bits(&gradient)], pass.auxiliary.to_bits(), pass.nudges, state, usage)
}

fn check(case: &Case, pass: &Pass) {
    let all = everything(case, pass.clone());
    assert!(all == everything(case, pass.clone().with_checkpointing(true)), "{}", case.name);
}

/// A stack of two such layers.
fn stacked(case: &Case, options: &str) -> Case {
    let kind = case.name.split_whitespace().next().expect("a kind");
    let layer = LayerConfig { kind: kind.into(), options: toml::from_str(options).expect("an example is TOML") };
    let layers = vec![toml::Value::try_from(layer).expect("a table"); 2];
    let stack = toml::Table::from_iter([("layers".to_string(), toml::Value::Array(layers))]);
    Case::of("stack", &stack.to_string(), case.widths)
}

#[test]
fn contract_2_checkpointing_gives_the_same_bits() {
    let mut stacks = 0;
    for case in all().iter().filter(|case| case.widths.0 == case.widths.1) {
        check(case, &Pass::training(5, 8));
        let options = case.name.split_once('[').and_then(|(_, rest)| rest.rsplit_once(']')).expect("a name with its options").0;
        let stack = stacked(case, options);
        check(&stack, &Pass::training(5, 8));
        check(&stack, &Pass::quiet());
        stacks += 1;
    }
    assert!(stacks > 20, "every kind and option");
}

#[test]
fn contract_2_checkpointing_makes_the_choices_it_is_told() {
    let mixture = "{ type = 'mixture', num_experts = 4, top_k = 2, experts = [{ type = 's4d', states = 2 }] }";
    let case = Case::of("stack", &format!("layers = [{mixture}, {{ type = 'gru' }}, {mixture}]"), (6, 6));
    let streams = case.streams(&[37, 0, 21]);
    let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
    // Choices from empty states: not all of them those that the router would make.
    let mut trace = Trace::default();
    case.call(&rows, &mut case.engine.state(3), Some(&mut trace));
    check(&case, &Pass { replay: Some(Replay::choices(trace).unwrap()), ..Pass::training(5, 8) });
}
