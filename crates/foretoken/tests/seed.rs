//! What a mixture of experts promises, through the public library: each of these was hollow in the crate our words come from.

use foretoken::{MixtureOfExperts, ModelError, MoeConfig, RoutingStrategy, SignalPredictor};

fn config(strategy: RoutingStrategy) -> MoeConfig {
    let mut config = MoeConfig { input_dim: 6, output_dim: 4, ..MoeConfig::default() };
    config.mixture.num_experts = 5;
    config.mixture.routing_strategy = strategy;
    config
}

const STRATEGIES: [RoutingStrategy; 4] =
    [RoutingStrategy::Softmax, RoutingStrategy::TopK, RoutingStrategy::NoisyTopK, RoutingStrategy::Sigmoid];

fn sample(t: usize) -> Vec<f32> {
    (0..6).map(|i| (t as f32 * 0.7 + i as f32 * 1.3).sin()).collect()
}

fn signal(len: usize) -> Vec<f32> {
    (0..len).flat_map(sample).collect()
}

#[test]
fn weights_sum_to_one_and_differ_between_inputs() {
    for strategy in STRATEGIES {
        let mut mixture = MixtureOfExperts::new(&config(strategy), 1).unwrap();
        let chosen = if strategy == RoutingStrategy::Softmax { 5 } else { 2 };
        let mut seen = Vec::new();
        for t in 0..50 {
            let (experts, weights) = mixture.route(&sample(t)).unwrap();
            assert_eq!((experts.len(), weights.len()), (chosen, chosen), "{strategy:?}");
            assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6 && weights.iter().all(|weight| *weight > 0.0));
            assert!(experts.iter().all(|expert| *expert < 5));
            seen.push((experts, weights));
        }
        assert!(seen.windows(2).all(|pair| pair[0].1 != pair[1].1), "{strategy:?}: weights differ between inputs");
        if strategy != RoutingStrategy::Softmax {
            let mut choices: Vec<_> = seen.into_iter().map(|(experts, _)| experts).collect();
            choices.sort();
            choices.dedup();
            assert!(choices.len() > 2, "{strategy:?}: choices differ between inputs");
        }
    }
}

#[test]
fn outputs_are_not_zero_and_depend_on_every_expert_chosen() {
    for strategy in STRATEGIES {
        let mut mixture = MixtureOfExperts::new(&config(strategy), 1).unwrap();
        let x = sample(3);
        let (experts, _) = mixture.route(&x).unwrap();
        let y = mixture.step(&x).unwrap();
        assert!(y.iter().all(|value| value.is_finite() && *value != 0.0), "{strategy:?}: {y:?}");
        for expert in 0..5 {
            let mut weights = mixture.weights().to_vec();
            let name = format!("experts.{expert}.down");
            let spec = mixture.layout().specs().iter().find(|spec| spec.name == name).unwrap();
            spec.weight.of_mut(&mut weights).iter_mut().for_each(|weight| *weight *= 2.0);
            let mut changed = MixtureOfExperts::from_weights(mixture.config(), weights).unwrap();
            assert_eq!(changed.step(&x).unwrap() != y, experts.contains(&expert), "{strategy:?}: expert {expert}");
        }
    }
}

#[test]
fn noise_changes_choices_in_training_and_never_at_inference() {
    let x = signal(200);
    let noisy = MixtureOfExperts::new(&config(RoutingStrategy::NoisyTopK), 1).unwrap();
    let chosen = |seed: u64, step: u64| {
        let mixture = MixtureOfExperts::from_weights(noisy.config(), noisy.weights().to_vec()).unwrap();
        let y = mixture.forward_training(&x, seed, step).unwrap();
        (y, mixture.training_usage_stats().chosen)
    };
    assert_eq!(chosen(1, 0), chosen(1, 0), "seeded");
    assert_ne!(chosen(1, 0), chosen(1, 1));
    assert_ne!(chosen(1, 0), chosen(2, 0));

    let mut first = MixtureOfExperts::new(noisy.config(), 1).unwrap();
    let mut second = MixtureOfExperts::new(noisy.config(), 1).unwrap();
    let quiet = first.forward(&x).unwrap();
    assert_eq!(quiet, second.forward(&x).unwrap());
    assert_ne!(quiet, chosen(1, 0).0);
    // A stream is quiet also right after training passes, and those do not count as its usage.
    let usage = second.expert_usage_stats();
    second.forward_training(&x, 7, 7).unwrap();
    assert_eq!(second.expert_usage_stats(), usage);
}

#[test]
fn widths_may_differ_and_a_wrong_one_is_a_typed_error() {
    for (input_dim, output_dim) in [(1, 1), (3, 17), (17, 3)] {
        let config = MoeConfig { input_dim, output_dim, ..config(RoutingStrategy::TopK) };
        let mut mixture = MixtureOfExperts::new(&config, 1).unwrap();
        assert_eq!(mixture.step(&vec![0.5; input_dim]).unwrap().len(), output_dim);
        for wrong in [0, input_dim + 1] {
            let error = mixture.step(&vec![0.5; wrong]).unwrap_err();
            assert!(matches!(error, ModelError::Width { expected, found, .. } if (expected, found) == (input_dim, wrong)));
            assert!(mixture.route(&vec![0.5; wrong]).is_err());
        }
        let mut bad = vec![0.5; input_dim];
        bad[0] = f32::NAN;
        assert!(matches!(mixture.step(&bad), Err(ModelError::Sample { .. })), "NaN never passes");
    }
}

#[test]
fn usage_adds_up_and_needs_no_growing_memory() {
    for strategy in STRATEGIES {
        let mut mixture = MixtureOfExperts::new(&config(strategy), 1).unwrap();
        let k = if strategy == RoutingStrategy::Softmax { 5 } else { 2 };
        let mut size = 0;
        for round in 1..=20u64 {
            mixture.forward(&signal(500)).unwrap();
            let usage = mixture.expert_usage_stats();
            assert_eq!(usage.samples, 500 * round);
            assert_eq!(usage.chosen.iter().sum::<u64>(), 500 * round * k);
            assert!((usage.gate_mass.iter().sum::<f64>() - 500.0 * round as f64).abs() < 0.1);
            assert!((usage.shares().iter().sum::<f64>() - 1.0).abs() < 1e-12);
            let floats = usage.gate_mass.len() + usage.recent_chosen.len() + usage.recent_gate_mass.len();
            let counts = usage.chosen.len() + usage.margins.len() + usage.run_lengths.len();
            let now = floats + counts + usage.transitions.iter().map(Vec::len).sum::<usize>();
            assert!(size == 0 || size == now, "the statistics do not grow");
            size = now;
        }
        mixture.clear_routing_history();
        let fresh = MixtureOfExperts::new(&config(strategy), 1).unwrap();
        assert_eq!(mixture.expert_usage_stats(), fresh.expert_usage_stats());
    }
}

#[test]
fn reset_replays_the_same_bits() {
    let mut config = config(RoutingStrategy::TopK);
    config.mixture.experts = vec![foretoken::LayerConfig::new("s4d"), foretoken::LayerConfig::new("swiglu")];
    let mut mixture = MixtureOfExperts::new(&config, 1).unwrap();
    let replay = |mixture: &mut MixtureOfExperts| -> Vec<u32> {
        (0..100).flat_map(|t| mixture.step(&sample(t)).unwrap()).map(f32::to_bits).collect()
    };
    let first = replay(&mut mixture);
    assert_ne!(replay(&mut mixture), first, "the experts remember");
    mixture.reset();
    assert_eq!(replay(&mut mixture), first);
    mixture.reset();
    let at_once = mixture.forward(&signal(100)).unwrap();
    assert_eq!(at_once.into_iter().map(f32::to_bits).collect::<Vec<_>>(), first);
}

#[test]
fn the_context_is_one_sample_without_state_and_unbounded_with_it() {
    let mut config = config(RoutingStrategy::TopK);
    assert_eq!(MixtureOfExperts::new(&config, 1).unwrap().context_window(), Some(1));
    config.mixture.experts = vec![foretoken::LayerConfig::new("s4d")];
    assert_eq!(MixtureOfExperts::new(&config, 1).unwrap().context_window(), None);
}

#[test]
fn the_balance_loss_is_one_at_balance_and_more_beside_it() {
    let mut balanced = config(RoutingStrategy::TopK);
    balanced.mixture.load_balance_coeff = Some(1.0);
    let mixture = MixtureOfExperts::new(&balanced, 1).unwrap();
    let loss = mixture.load_balance_loss(&signal(300), 0, 0).unwrap();
    let mut weights = mixture.weights().to_vec();
    let gate = mixture.layout().specs().iter().find(|spec| spec.name == "router.gate").unwrap().weight;
    gate.of_mut(&mut weights).iter_mut().for_each(|weight| *weight *= 1e-3);
    // Scores near zero: every expert equally probable.
    let even = MixtureOfExperts::from_weights(&balanced, weights.clone()).unwrap().load_balance_loss(&signal(300), 0, 0).unwrap();
    assert!((even - 1.0).abs() < 1e-2, "{even}");
    assert!(loss > even, "{loss} {even}");
}

#[test]
fn the_configuration_goes_to_toml_and_back() {
    for strategy in STRATEGIES {
        let mut config = config(strategy);
        config.mixture.expert_dropout = 0.25;
        config.mixture.experts =
            vec![foretoken::LayerConfig::new("s4d").with("states", 8), foretoken::LayerConfig::new("swiglu")];
        let text = config.to_toml().unwrap();
        assert_eq!(MoeConfig::from_toml(&text).unwrap(), config, "{text}");
    }
    let defaults = MoeConfig::default();
    assert_eq!((defaults.input_dim, defaults.output_dim, defaults.mixture.num_experts), (256, 256, 8));
}

#[test]
fn it_says_what_it_is() {
    let shown = MixtureOfExperts::new(&config(RoutingStrategy::NoisyTopK), 1).unwrap().to_string();
    for part in ["6 → 4", "2 of 5", "noisy-top-k", "swiglu", "parameters"] {
        assert!(shown.contains(part), "{shown} lacks {part}");
    }
}
