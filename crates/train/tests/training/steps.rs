//! What one step does to the weights.

use super::*;

#[test]
fn batches_in_parts_make_the_step_of_the_whole() {
    let values = columns();
    // Without a mixture, whose balance is one batch's.
    let model: ForecasterConfig = toml::from_str(
        "horizon = 6\nquantiles = [0.5]\ntaps = 12\nwidth = 16\nscaler = { window = 48 }\n[[layers]]\ntype = 's4d'\nstates = 4",
    )
    .unwrap();
    let weights = |batch, accumulate| {
        let config = TrainConfig { batch, accumulate, epochs: 1, ..config() };
        let mut trainer = Trainer::new(&model, &config, task(&values)).unwrap();
        let mut norms = Vec::new();
        // Each window at its positions of its own draws: the first step's norm is near, not the same.
        trainer.train_epoch(|step| norms.push(step.norm)).unwrap();
        (trainer.steps_an_epoch(), norms[0])
    };
    let (whole, parts) = (weights(4, 1), weights(2, 2));
    assert_eq!(whole.0, parts.0);
    assert!((whole.1 / parts.1 - 1.0).abs() < 0.25, "{whole:?} {parts:?}");
}

#[test]
fn groups_learn_at_their_own_rate() {
    let values = columns();
    let changed = |groups: Vec<Group>| {
        let config = TrainConfig { groups, epochs: 1, ..config() };
        let mut trainer = Trainer::new(&model(""), &config, task(&values)).unwrap();
        let before = trainer.checkpoint().arenas[0].clone();
        let specs = trainer.best().unwrap().blueprint().layout.specs().to_vec();
        trainer.train_epoch(|_| {}).unwrap();
        let after = trainer.checkpoint().arenas[0].clone();
        let moved = |spec: &foretoken_model::weights::Spec| spec.weight.of(&before) != spec.weight.of(&after);
        specs.into_iter().map(|spec| (moved(&spec), spec.name)).collect::<Vec<_>>()
    };
    let group = |weights: &str, rate: f64| Group { weights: weights.into(), rate: Some(rate), decay: None };
    assert!(changed(Vec::new()).iter().all(|(moved, _)| *moved));
    for (moved, name) in changed(vec![group("blocks.0", 0.0), group("blocks.*.gain", 1.0)]) {
        assert_eq!(moved, !name.starts_with("blocks.0.layer"), "{name}");
    }
    let refused = |group: Group| {
        let config = TrainConfig { groups: vec![group], ..config() };
        Trainer::new(&model(""), &config, task(&values)).err().expect("refused").to_string()
    };
    let nobody = refused(group("blocks.7", 1.0));
    assert!(nobody.contains("train.groups.0.weights") && nobody.contains("blocks.7"), "{nobody}");
    let negative = refused(group("gain", -1.0));
    assert!(negative.contains("train.groups.0.rate") && negative.contains("-1"), "{negative}");
}

#[test]
fn weight_decay_touches_matrices_only() {
    let values = columns();
    let mut trainer = Trainer::new(&model(""), &config(), task(&values)).unwrap();
    let names = |decay: bool| -> Vec<String> {
        let forecaster = trainer.best().unwrap();
        let specs = forecaster.blueprint().layout.specs().iter().filter(|spec| spec.decay == decay);
        specs.map(|spec| spec.name.clone()).collect()
    };
    let free = ["bias", "gain", "log_step", "log_neg_re", "im", "c_re", "c_im", "skip"];
    assert!(names(true).iter().all(|name| !free.iter().any(|free| name.ends_with(free))), "{:?}", names(true));
    assert!(names(true).iter().any(|name| name == "embed") && names(false).iter().any(|name| name.ends_with("skip")));
    // One step's decay is a share of each weight as it began.
    let begun = trainer.checkpoint().arenas[0].clone();
    let rate = first_step(&mut trainer).rate;
    let decayed = |weight_decay: f64| {
        let mut trainer = Trainer::new(&model(""), &TrainConfig { weight_decay, ..config() }, task(&values)).unwrap();
        first_step(&mut trainer);
        trainer.checkpoint().arenas[0].clone()
    };
    let (free, decayed, forecaster) = (decayed(0.0), decayed(0.5), trainer.best().unwrap());
    for spec in forecaster.blueprint().layout.specs() {
        for place in spec.weight.range() {
            let expected = if spec.decay { rate * 0.5 * f64::from(begun[place]) } else { 0.0 };
            let found = f64::from(free[place]) - f64::from(decayed[place]);
            assert!(
                (found - expected).abs() < ROUNDING * f64::from(begun[place].abs().max(1.0)),
                "{}: {found} {expected}",
                spec.name
            );
        }
    }
}

/// Of a weight near 1 in single precision, a few times.
const ROUNDING: f64 = 4.0 * f32::EPSILON as f64;

/// The first step of a trainer that has done none.
fn first_step(trainer: &mut Trainer<'_>) -> StepReport {
    let mut first = None;
    let after = |_: &Trainer<'_>, step: &StepReport| {
        first = Some(*step);
        ControlFlow::Break(())
    };
    assert!(trainer.train_until(after).unwrap().is_none(), "broken off");
    first.unwrap()
}

#[test]
fn clipping_bounds_the_step() {
    let values = columns();
    for (clip_norm, is_clipped) in [(1e6, false), (1e-3, true)] {
        let mut trainer = Trainer::new(&model(""), &TrainConfig { clip_norm, ..config() }, task(&values)).unwrap();
        let norm = first_step(&mut trainer).norm;
        // After one step AdamW's first moment is a tenth of the gradient that it was given.
        let kept = trainer.checkpoint();
        let squares = kept.arenas[1].iter().map(|moment| f64::from(10.0 * moment).powi(2));
        let given = squares.sum::<f64>().sqrt();
        assert_eq!(norm > clip_norm, is_clipped);
        assert!((given / norm.min(clip_norm) - 1.0).abs() < 1e-4, "{given} of {norm}");
    }
}
