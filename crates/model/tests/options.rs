//! Every option of a mixture visibly changes what is computed: each test fails if its option did nothing.

use foretoken_model::{
    LayerConfig, Registry,
    layer::{BackwardPass, Engine, Pass, Rows},
    weights::Layout,
};

const WIDTH: usize = 6;
const ROWS: usize = 40;

/// What a mixture with these options computes: parameters, inference, training, its auxiliary loss, gradient of the router.
#[derive(Debug, PartialEq)]
struct Computed {
    parameters: usize,
    active: usize,
    run: Vec<f32>,
    training: Vec<f32>,
    auxiliary: f32,
    router_gradient: Vec<f32>,
    chosen: Vec<u64>,
}

fn x() -> Vec<f32> {
    (0..ROWS * WIDTH).map(|i| (i as f32 * 0.61).sin()).collect()
}

fn forward(engine: &dyn Engine, pass: &mut Pass) -> Vec<f32> {
    let mut y = vec![f32::NAN; ROWS * WIDTH];
    engine.forward(Rows::new(&x(), &[0, ROWS]), &mut engine.state(1), &mut y, pass).unwrap();
    y
}

fn compute(options: &str) -> Computed {
    compute_with(options, 3)
}

fn compute_with(options: &str, seed: u64) -> Computed {
    let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(options).unwrap() };
    let mut layout = Layout::default();
    let layer = Registry::default().build(&config, WIDTH, WIDTH, &mut layout).unwrap();
    let engine = layer.prepare(&layout.initialise(1), true);
    let run = forward(&*engine, &mut Pass::quiet());
    let mut pass = Pass::training(seed, 4);
    let mut training = vec![f32::NAN; ROWS * WIDTH];
    let saved = engine.forward(Rows::new(&x(), &[0, ROWS]), &mut engine.state(1), &mut training, &mut pass).unwrap();
    let (mut dx, mut gradient) = (vec![0.0; ROWS * WIDTH], vec![0.0; layout.len()]);
    engine.backward(
        Rows::new(&x(), &[0, ROWS]),
        saved,
        &[0.5; ROWS * WIDTH],
        &mut dx,
        &mut gradient,
        &BackwardPass { auxiliary: 1.0 },
    );
    let router = layout.specs().iter().find(|spec| spec.name == "router.gate").unwrap();
    Computed {
        parameters: layout.len(),
        active: layer.active_parameters(),
        run,
        training,
        auxiliary: pass.auxiliary,
        router_gradient: router.weight.of(&gradient).to_vec(),
        chosen: engine.mixtures()[0].training_usage().read().chosen,
    }
}

const NOISY: &str = "num_experts = 4\nrouting_strategy = 'noisy-top-k'\n";

#[test]
fn noise_changes_choices_in_training_and_never_at_inference() {
    let (noisy, silent) = (compute(NOISY), compute(&format!("{NOISY}noise_std = 0.0")));
    assert_eq!(noisy.run, silent.run);
    assert_eq!(silent.training, silent.run);
    assert_ne!(noisy.training, silent.training);
    assert_ne!(noisy.chosen, silent.chosen);
    let louder = compute(&format!("{NOISY}noise_std = 3.0"));
    assert_ne!(louder.training, noisy.training);
    assert_eq!(compute(NOISY), noisy, "seeded");
    assert_ne!(compute_with(NOISY, 99).training, noisy.training, "by the seed");
}

#[test]
fn dropout_changes_training_and_never_inference() {
    let (with, without) = (compute("num_experts = 4\nexpert_dropout = 0.5"), compute("num_experts = 4"));
    assert_eq!(with.run, without.run);
    assert_ne!(with.training, without.training);
    assert_eq!(without.training, without.run);
    // Dropped contributions are zero, kept ones doubled: the mean over many draws is the output without dropout.
    let rows: Vec<Vec<f32>> =
        (0..4000).map(|seed| compute_with("num_experts = 4\nexpert_dropout = 0.5", seed).training).collect();
    for place in [0, 7, 100] {
        let mean = rows.iter().map(|row| row[place]).sum::<f32>() / rows.len() as f32;
        // Standard error of 4000 draws of values of size one: 0.016.
        assert!((mean - without.run[place]).abs() < 0.08, "{mean} for {}", without.run[place]);
    }
}

#[test]
fn the_balance_loss_has_a_value_and_a_gradient() {
    let with = |coefficient: f32| compute(&format!("num_experts = 4\nload_balance_coeff = {coefficient:?}"));
    let (none, some, more) = (with(0.0), with(0.1), with(0.2));
    assert_eq!(none.auxiliary, 0.0);
    assert!(some.auxiliary > 0.0 && (more.auxiliary - 2.0 * some.auxiliary).abs() < 1e-6);
    assert_ne!(none.router_gradient, some.router_gradient);
    assert_eq!(none.training, some.training);
    // The gradient is linear in the coefficient, and moves the loss down.
    for ((none, some), more) in none.router_gradient.iter().zip(&some.router_gradient).zip(&more.router_gradient) {
        assert!((2.0 * (some - none) - (more - none)).abs() < 1e-5);
    }
}

#[test]
fn k_counts_the_experts_of_a_sample() {
    let with = |k: usize| compute(&format!("num_experts = 4\ntop_k = {k}\nload_balance_coeff = 0.0"));
    let all: Vec<Computed> = (1..=4).map(with).collect();
    for (k, computed) in (1..).zip(&all) {
        assert_eq!(computed.chosen.iter().sum::<u64>(), (ROWS * k) as u64);
        assert_eq!(computed.parameters, all[0].parameters);
    }
    assert!(all.windows(2).all(|pair| pair[0].run != pair[1].run && pair[0].active < pair[1].active));
    let softmax = compute("num_experts = 4\nrouting_strategy = 'softmax'");
    assert_eq!(softmax.chosen, [ROWS as u64; 4]);
    assert_ne!(softmax.run, all[1].run);
}

#[test]
fn e_and_the_experts_are_what_is_built() {
    let (four, six) = (compute("num_experts = 4"), compute("num_experts = 6"));
    assert_eq!((four.chosen.len(), six.chosen.len()), (4, 6));
    assert!(four.parameters < six.parameters && four.run != six.run);
    let other = compute("num_experts = 4\nexperts = [{ type = 's4d', states = 4 }]");
    let mixed = compute("num_experts = 4\nexperts = [{ type = 'swiglu' }, { type = 's4d', states = 4 }]");
    let wider = compute("num_experts = 4\nexperts = [{ type = 'swiglu', hidden = 40 }]");
    let all = [&four, &other, &mixed, &wider];
    for (index, a) in all.iter().enumerate() {
        for b in &all[..index] {
            assert!(a.run != b.run && a.parameters != b.parameters);
        }
    }
}

#[test]
fn renormalise_and_scale_change_the_weights_and_not_the_choice() {
    let base = compute("num_experts = 4\nload_balance_coeff = 0.0");
    let raw = compute("num_experts = 4\nload_balance_coeff = 0.0\nrenormalise = false");
    let scaled = compute("num_experts = 4\nload_balance_coeff = 0.0\ngate_scale = 2.0");
    assert!(base.chosen == raw.chosen && base.chosen == scaled.chosen);
    assert_ne!(base.run, raw.run);
    assert!(base.run.iter().zip(&scaled.run).all(|(base, scaled)| (2.0 * base - scaled).abs() < 1e-5));
    // One expert with weight one teaches its router nothing; weighted by its probability it does.
    let one = |renormalise: bool| {
        compute(&format!("num_experts = 4\ntop_k = 1\nload_balance_coeff = 0.0\nrenormalise = {renormalise}"))
    };
    assert!(one(true).router_gradient.iter().all(|gradient| *gradient == 0.0));
    assert!(one(false).router_gradient.iter().any(|gradient| *gradient != 0.0));
}

#[test]
fn every_gate_computes_something_else() {
    let gates = ["top-k", "noisy-top-k", "sigmoid", "softmax"];
    let runs: Vec<_> = gates
        .iter()
        .map(|gate| compute(&format!("num_experts = 4\nrouting_strategy = '{gate}'\nload_balance_coeff = 0.0")).training)
        .collect();
    for (index, run) in runs.iter().enumerate() {
        assert!(runs[..index].iter().all(|other| other != run), "{}", gates[index]);
    }
}

#[test]
fn each_balance_loss_has_a_value_and_a_gradient() {
    let with = |option: &str| compute(&format!("{NOISY}load_balance_coeff = 0.0\n{option}"));
    let none = with("");
    assert_eq!(none.auxiliary, 0.0);
    for option in ["importance_coeff", "load_coeff", "z_loss_coeff"] {
        let (some, more) = (with(&format!("{option} = 0.1")), with(&format!("{option} = 0.2")));
        assert!(some.auxiliary > 0.0 && (more.auxiliary - 2.0 * some.auxiliary).abs() < 1e-5, "{option}");
        assert_eq!(none.training, some.training, "{option}");
        for ((none, some), more) in none.router_gradient.iter().zip(&some.router_gradient).zip(&more.router_gradient) {
            assert!((2.0 * (some - none) - (more - none)).abs() < 1e-4, "{option}");
        }
        assert_ne!(none.router_gradient, some.router_gradient, "{option}");
    }
}

#[test]
fn a_selection_bias_moves_against_the_load_and_changes_the_choice_alone() {
    let config = |rate: f32| format!("num_experts = 4\ntop_k = 1\nbias_rate = {rate:?}");
    let build = |options: &str| {
        let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(options).unwrap() };
        let mut layout = Layout::default();
        let layer = Registry::default().build(&config, WIDTH, WIDTH, &mut layout).unwrap();
        (layer, layout)
    };
    let (layer, layout) = build(&config(0.01));
    let mut arena = layout.initialise(1);
    let mut spread = Vec::new();
    for step in 0..60 {
        let engine = layer.prepare(&arena, true);
        let mut pass = Pass::training(1, step);
        forward(&*engine, &mut pass);
        let usage = engine.mixtures()[0].training_usage().read();
        engine.mixtures()[0].training_usage().clear();
        spread.push(usage.max_violation());
        assert_eq!(pass.nudges.len(), 1);
        let mean = ROWS as f64 / 4.0;
        for (by, &count) in pass.nudges[0].by.iter().zip(&usage.chosen) {
            assert_eq!(*by, 0.01 * if count as f64 == mean { 0.0 } else { (mean - count as f64).signum() as f32 });
        }
        pass.nudges[0].apply(&mut arena);
        // An evaluation pass changes nothing.
        let mut quiet = Pass::quiet();
        forward(&*engine, &mut quiet);
        assert!(quiet.nudges.is_empty() && engine.mixtures()[0].training_usage().read().samples == 0);
    }
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    assert!(mean(&spread[50..]) < 0.5 * spread[0], "the load evens out: {spread:?}");
}

#[test]
fn shared_experts_speak_at_every_sample_and_can_be_gated() {
    let base = compute("num_experts = 4");
    let shared = compute("num_experts = 4\nshared = [{ type = 'swiglu' }]");
    let gated = compute("num_experts = 4\nshared = [{ type = 'swiglu' }]\nshared_gate = true");
    assert!(base.run != shared.run && shared.run != gated.run && base.chosen == shared.chosen);
    assert!(base.active < shared.active && shared.active < gated.active);
}

#[test]
fn a_switching_cost_makes_choices_stay_in_training_and_in_streaming_alike() {
    let switches = |cost: f32| {
        let options = format!("num_experts = 4\ntop_k = 1\nload_balance_coeff = 0.0\nswitch_cost = {cost:?}");
        let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(&options).unwrap() };
        let mut layout = Layout::default();
        let layer = Registry::default().build(&config, WIDTH, WIDTH, &mut layout).unwrap();
        let engine = layer.prepare(&layout.initialise(1), true);
        let training = forward(&*engine, &mut Pass::training(3, 4));
        let usage = engine.mixtures()[0].training_usage().read();
        assert_eq!(training, compute(&options).run);
        assert_eq!(usage.transitions.iter().flatten().sum::<u64>(), ROWS as u64 - 1);
        usage.switches
    };
    let counts = [0.0, 0.3, 1.0, 100.0].map(switches);
    assert!(counts.windows(2).all(|pair| pair[0] >= pair[1]) && counts[0] > counts[2] && counts[3] == 0, "{counts:?}");
}

#[test]
fn the_clock_and_the_width_of_an_expert_are_what_is_computed() {
    let with = |clock: &str| compute(&format!("num_experts = 4\nclock = '{clock}'\nexperts = [{{ type = 's4d', states = 4 }}]"));
    let runs = ["routed", "elapsed", "every"].map(with);
    assert!(runs[0].run != runs[1].run && runs[1].run != runs[2].run && runs[0].run != runs[2].run);
    assert!(runs[0].parameters == runs[2].parameters && runs[0].active < runs[2].active);
    let expert = |width: usize| {
        compute(&format!("num_experts = 4\nexperts = [{{ type = 'projected', width = {width}, layer = {{ type = 's4d' }} }}]"))
    };
    assert!(expert(3).parameters < expert(9).parameters && expert(3).run != expert(9).run);
}

/// What an evidence gate computes, with the rows' own values as the signal.
fn evidence(options: &str) -> (Vec<f32>, f32) {
    let text = format!("num_experts = 3\ntop_k = 1\nrouting_strategy = 'evidence'\n{options}");
    let config = LayerConfig { kind: "mixture".into(), options: toml::from_str(&text).unwrap() };
    let mut layout = Layout::default();
    let layer = layout.with_context(WIDTH, |layout| Registry::default().build(&config, WIDTH, WIDTH, layout)).unwrap();
    let engine = layer.prepare(&layout.initialise(1), true);
    let (x, mut pass) = (x(), Pass::training(1, 1));
    let mut y = vec![f32::NAN; ROWS * WIDTH];
    let rows = Rows { context_nc: &x, ..Rows::new(&x, &[0, ROWS]) };
    engine.forward(rows, &mut engine.state(1), &mut y, &mut pass).unwrap();
    (y, pass.auxiliary)
}

#[test]
fn every_option_of_the_evidence_counts() {
    let base = evidence("load_balance_coeff = 0.0\nevidence = { lags = 3 }");
    for option in ["lags = 2", "lags = 3, switching = 0.4", "lags = 3, coeff = 0.5"] {
        assert_ne!(evidence(&format!("load_balance_coeff = 0.0\nevidence = {{ {option} }}")), base, "{option}");
    }
}
