//! The training loop: it learns, repeats itself bit for bit, resumes, and says what is wrong.

use foretoken_model::{
    Column, Covariates, ForecasterConfig, ModelError,
    linear_expert::{LinearConfig, LinearWeights},
};
use foretoken_train::{
    Checkpoint, Further, Group, NotFinite, Sampling, Schedule, StepReport, Task, TrainConfig, Trainer, loader::Loader,
};
use std::ops::ControlFlow;

const ROWS: usize = 700;

fn model(mixture: &str) -> ForecasterConfig {
    let text = format!(
        r#"
        horizon = 6
        quantiles = [0.1, 0.5, 0.9]
        taps = 12
        width = 16
        scaler = {{ window = 48 }}
        [[layers]]
        type = "s4d"
        states = 4
        [[layers]]
        type = "mixture"
        num_experts = 3
        experts = [{{ type = "swiglu" }}, {{ type = "s4d", states = 2 }}]
        {mixture}
        "#
    );
    toml::from_str(&text).unwrap()
}

fn config() -> TrainConfig {
    TrainConfig { epochs: 4, batch: 4, window: 64, burn_in: 8, positions: 12, warm_up: 5, ..TrainConfig::default() }
}

fn columns() -> [Vec<f64>; 2] {
    [0.0, 1.3].map(|shift| (0..ROWS).map(|t| (t as f64 * 0.26 + shift).sin() + 0.3 * (t as f64 * 0.9).cos()).collect())
}

fn task(values: &[Vec<f64>; 2]) -> Task<'_> {
    Task {
        columns: ["a", "b"].map(|name| Column { name: name.into(), mean: 0.0, deviation: 0.75 }).to_vec(),
        values: values.iter().map(Vec::as_slice).collect(),
        train: 0..520,
        validation: 520..ROWS,
        ..Task::default()
    }
}

fn trained(model: &ForecasterConfig, config: &TrainConfig) -> (Vec<u32>, Vec<f64>) {
    let values = columns();
    let mut trainer = Trainer::new(model, config, task(&values)).unwrap();
    let mut errors = Vec::new();
    while !trainer.finished() {
        errors.push(trainer.train_epoch(|_| {}).unwrap().validation.network_mse);
    }
    (trainer.best().unwrap().weights().iter().map(|weight| weight.to_bits()).collect(), errors)
}

#[test]
fn it_learns() {
    for mixture in ["", "routing_strategy = 'noisy-top-k'\nexpert_dropout = 0.1", "routing_strategy = 'softmax'"] {
        let (_, errors) = trained(&model(mixture), &TrainConfig { epochs: 12, ..config() });
        let best = errors.iter().copied().fold(f64::MAX, f64::min);
        // The signal's variance is one: a forecast of the mean scores about that.
        assert!(best < 0.35 && best < 0.6 * errors[0], "{mixture}: {errors:?}");
    }
}

#[test]
fn the_same_seed_gives_the_same_bits_on_one_thread_and_two() {
    let model = model("routing_strategy = 'noisy-top-k'\nexpert_dropout = 0.2");
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    let one = pool(1).install(|| trained(&model, &config()));
    assert_eq!(pool(2).install(|| trained(&model, &config())), one);
    assert_ne!(trained(&model, &TrainConfig { seed: 2, ..config() }).0, one.0);
}

#[test]
fn covariates_that_are_not_there_are_an_error() {
    let known = Column { name: "heat".into(), mean: 0.0, deviation: 1.0 };
    let mut model = model("");
    model.covariates.known = 1;
    let values = columns();
    let refused = |task: Task<'_>| Trainer::new(&model, &config(), task).err().expect("refused").to_string();
    let none = refused(task(&values));
    assert!(none.contains("known covariates") && none.contains('1') && none.contains('0'), "{none}");
    let covariates = Covariates { known: vec![known], ..Covariates::default() };
    let no_values = refused(Task { covariates, ..task(&values) });
    assert!(no_values.contains("known covariates"), "{no_values}");
}

/// Everything that training has to carry over: noise, moments, a mean, states from before, batches in parts.
fn demanding() -> (ForecasterConfig, TrainConfig) {
    let config = TrainConfig { ema: 0.9, carry: true, accumulate: 2, batch: 2, ..config() };
    (model("routing_strategy = 'noisy-top-k'\nexpert_dropout = 0.1"), config)
}

#[test]
fn a_run_resumed_after_any_step_ends_with_the_bits_of_one_that_never_stopped() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let ((model, config), values) = (demanding(), columns());
    let mut straight = Trainer::new(&model, &config, task(&values)).unwrap();
    while !straight.finished() {
        straight.train_epoch(|_| {}).unwrap();
    }
    // A stop after every third step: in the middle of epochs, after their last step, before and after validation.
    let mut stops = 0;
    loop {
        let mut trainer = Trainer::new(&model, &config, task(&values)).unwrap();
        if stops > 0 {
            trainer.resume(Checkpoint::load(&path, trainer.run(), trainer.arena_len(), 6).unwrap());
        }
        let from = trainer.step();
        let ended = loop {
            if trainer.finished() {
                break true;
            }
            let after = |trainer: &Trainer<'_>, _: &StepReport| match trainer.step() - from {
                3 => ControlFlow::Break(()),
                _ => ControlFlow::Continue(()),
            };
            if trainer.train_until(after).unwrap().is_none() {
                break false;
            }
        };
        if ended {
            assert_eq!(trainer.checkpoint(), straight.checkpoint());
            break;
        }
        trainer.checkpoint().save(&path).unwrap();
        stops += 1;
    }
    assert_eq!(stops, 5);
    let mean = &straight.checkpoint().arenas[3];
    assert!(mean != &straight.checkpoint().arenas[0] && mean.iter().all(|weight| weight.is_finite()));
}

#[test]
fn batches_made_ahead_checkpoints_and_passes_done_again_change_no_bit() {
    let (model, config) = demanding();
    let one = trained(&model, &config);
    for prefetch in [0, 1, 7] {
        let beside = TrainConfig { prefetch, checkpoint_steps: 3, checkpointing: prefetch > 0, ..config.clone() };
        assert_eq!(trained(&model, &beside), one);
    }
}

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
fn a_step_that_is_not_finite_is_named_or_left_out() {
    let mut values = columns();
    values[1][300] = 1e39;
    let run = |not_finite| {
        let config = TrainConfig { not_finite, epochs: 1, ..config() };
        let mut trainer = Trainer::new(&model(""), &config, task(&values)).unwrap();
        let mut skipped = 0;
        let done = trainer.train_epoch(|step| skipped += u64::from(step.skipped));
        (done, skipped, trainer.skipped(), trainer.checkpoint())
    };
    let (stopped, _, _, left) = run(NotFinite::Stop);
    let text = stopped.unwrap_err().to_string();
    assert!(text.contains("step ") && text.contains("`b` from row") && text.contains("finite"), "{text}");
    assert!(left.arenas.iter().flatten().all(|weight| weight.is_finite()), "the weights before the step");
    let (done, reported, counted, left) = run(NotFinite::Skip);
    assert!(reported > 0 && reported == counted && counted < left.progress.step, "{counted} of {}", left.progress.step);
    assert!(done.is_err() || done.unwrap().loss.is_finite());
    assert!(left.arenas.iter().flatten().all(|weight| weight.is_finite()));
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
fn every_schedule_trains() {
    let model = model("");
    let of = |schedule| trained(&model, &TrainConfig { schedule, ..config() });
    let all = [Schedule::Cosine, Schedule::Constant, Schedule::OneCycle].map(of);
    assert!(all[0].0 != all[1].0 && all[1].0 != all[2].0 && all[0].0 != all[2].0);
    assert!(all.iter().all(|(_, errors)| errors[3] < errors[0]), "{:?}", all.map(|(_, errors)| errors));
}

#[test]
fn checkpoints_that_do_not_belong_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("checkpoint.safetensors");
    let (model, values) = (model(""), columns());
    let trainer = Trainer::new(&model, &config(), task(&values)).unwrap();
    trainer.checkpoint().save(&path).unwrap();
    let load = |run: &str| Checkpoint::load(&path, run, trainer.arena_len(), 6);
    assert_eq!(load(trainer.run()).unwrap(), trainer.checkpoint());
    let check = |error: ModelError, word: &str| {
        let text = error.to_string();
        assert!(text.contains("checkpoint.safetensors") && text.contains(word) && !text.contains('\n'), "{text}");
    };
    let other = Trainer::new(&model, &TrainConfig { seed: 9, ..config() }, task(&values)).unwrap();
    check(load(other.run()).unwrap_err(), "another configuration");
    let bytes = std::fs::read(&path).unwrap();
    // A bit of a weight, and one of the numbers.
    for place in [bytes.len() - 5, bytes.windows(12).position(|part| part == b"\"best_epoch\\").unwrap() + 14] {
        let mut damaged = bytes.clone();
        damaged[place] ^= 1;
        std::fs::write(&path, damaged).unwrap();
        check(load(trainer.run()).unwrap_err(), "checksum");
    }
    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    check(load(trainer.run()).unwrap_err(), "whole checkpoint");
    std::fs::write(&path, b"").unwrap();
    check(load(trainer.run()).unwrap_err(), "whole checkpoint");
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

#[test]
fn patience_ends_training() {
    let values = columns();
    // Too small a rate to get anywhere, and too large a one to stay.
    let config = TrainConfig { epochs: 50, patience: 2, learning_rate: 1.0, ..config() };
    let mut trainer = Trainer::new(&model(""), &config, task(&values)).unwrap();
    while !trainer.finished() {
        trainer.train_epoch(|_| {}).unwrap();
    }
    let progress = trainer.checkpoint().progress;
    assert!(progress.epoch < 50 && progress.epoch == progress.best_epoch + 2, "{progress:?}");
}

#[test]
fn a_fresh_model_is_its_linear_expert_and_sharing_never_hurts_validation() {
    let values = columns();
    let mut model = model("");
    let (options, weights) = persistence();
    model.linear = Some(options);
    let linear = Some(weights);
    let mut trainer = Trainer::new(&model, &config(), Task { linear, ..task(&values) }).unwrap();
    assert_eq!(trainer.best().unwrap().network_share(), [0.0; 6]);
    while !trainer.finished() {
        let validation = trainer.train_epoch(|_| {}).unwrap().validation;
        assert!(validation.mse <= validation.linear_mse.unwrap() + 1e-12, "{validation:?}");
    }
    assert!(trainer.best().unwrap().network_share().iter().any(|share| *share > 0.5));
}

/// Persistence as a linear expert: the newest sample, which is what the last row of the map carries.
fn persistence() -> (foretoken_model::linear_expert::LinearConfig, LinearWeights) {
    let weights_lh = (0..24 * 6).map(|place| if place >= 23 * 6 { 1.0 } else { 0.0 }).collect();
    let options = foretoken_model::linear_expert::LinearConfig { lookback: 24, ..Default::default() };
    (options, LinearWeights { weights_lh, bias_h: vec![0.0; 6], own_clh: Vec::new() })
}

#[test]
fn what_is_shipped_is_what_pays() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(4);
    // A random walk: nothing is better than persistence.
    let mut step = |at: &mut f64| {
        *at += 0.2 * (rng.random::<f64>() - 0.5);
        Some(*at)
    };
    let walks = [(); 2].map(|()| (0..3 * ROWS).scan(0.0, |at, _| step(at)).collect::<Vec<f64>>());
    let (linear, weights) = persistence();
    let model = foretoken_model::ForecasterConfig { linear: Some(linear), ..model("") };
    let ship = |values: &[Vec<f64>; 2], keep_network: bool| {
        let config = TrainConfig { keep_network, ..config() };
        let validation = 520..values[0].len().min(2 * ROWS);
        let task = Task { linear: Some(weights.clone()), validation, ..task(values) };
        let mut trainer = Trainer::new(&model, &config, task).unwrap();
        while !trainer.finished() {
            trainer.train_epoch(|_| {}).unwrap();
        }
        trainer.ship().unwrap()
    };
    let alone = ship(&walks, false);
    let gain = alone.gain.unwrap();
    assert!(!gain.pays() && alone.unshipped.is_some() && alone.forecaster.is_linear_alone(), "{gain:?}");
    assert!(10 * alone.forecaster.parameters() < alone.unshipped.unwrap().parameters());
    assert!(alone.forecaster.calibration().is_some());
    // Its 80% interval on rows that nothing was fitted on.
    let (mut inside, mut all) = (0, 0);
    let views: Vec<&[f64]> = walks.iter().map(Vec::as_slice).collect();
    let count = |row: usize, column: usize, parts: &foretoken_model::predictor::Parts| {
        for step in 0..6 {
            let truth = alone.forecaster.columns()[column].standardise(walks[column][row + 1 + step]);
            inside += usize::from((parts.combined[3 * step]..parts.combined[3 * step + 2]).contains(&truth));
            all += 1;
        }
    };
    let mut predictor = foretoken_model::Predictor::new(alone.forecaster.clone());
    predictor.advance_many(&views, |row| (2 * ROWS..3 * ROWS - 6).contains(&row), count, None).unwrap();
    let covered = inside as f64 / all as f64;
    assert!((covered - 0.8).abs() < 0.05, "{covered}");

    let kept = ship(&walks, true);
    assert!(kept.gain == Some(gain) && kept.unshipped.is_none() && !kept.forecaster.is_linear_alone());
    // Sums of sines are the network's.
    let pays = ship(&columns(), false);
    assert!(pays.gain.unwrap().pays() && pays.unshipped.is_none() && !pays.forecaster.is_linear_alone(), "{:?}", pays.gain);
}

#[test]
fn what_cannot_be_trained_is_an_error() {
    let values = columns();
    let check = |config: TrainConfig, words: &[&str]| {
        let text = Trainer::new(&model(""), &config, task(&values)).err().expect("refused").to_string();
        assert!(words.iter().all(|word| text.contains(word)) && !text.contains('\n'), "{text}");
    };
    check(TrainConfig { epochs: 0, ..config() }, &["train.epochs", "at least 1"]);
    check(TrainConfig { batch: 0, ..config() }, &["train.batch"]);
    check(TrainConfig { held_back: 1.5, ..config() }, &["train.held_back", "a number from 0 to 1", "1.5"]);
    check(TrainConfig { learning_rate: f64::NAN, ..config() }, &["train.learning_rate", "finite"]);
    check(TrainConfig { clip_norm: 0.0, ..config() }, &["train.clip_norm", "> 0"]);
    check(TrainConfig { burn_in: 60, ..config() }, &["train.burn_in", "window"]);
    check(TrainConfig { steps: Some(0), ..config() }, &["train.steps", "at least 1"]);
    check(TrainConfig { steps: Some(1 << 20), batch: 1 << 10, ..config() }, &["train.steps", "accumulate"]);
    check(TrainConfig { prefetch: usize::MAX, ..config() }, &["train.prefetch", "at most 4096"]);
    let sampling = |power: f64, name: &str| Some(Sampling { power, weights: [(name.to_string(), 1.0)].into() });
    check(TrainConfig { sampling: sampling(f64::NAN, "a"), ..config() }, &["train.sampling.power", "NaN"]);
    check(TrainConfig { sampling: sampling(1.0, "c"), ..config() }, &["train.sampling.weights", "names of series", "`c`"]);
    check(TrainConfig { window: 600, ..config() }, &["training", "606", "520"]);
    check(TrainConfig { history: 480, ..config() }, &["train.history", "541", "520"]);
    check(TrainConfig { history: usize::MAX, ..config() }, &["train.history", "520"]);
    let mut diverging = Trainer::new(&model(""), &TrainConfig { learning_rate: 1e30, ..config() }, task(&values)).unwrap();
    let error = (0..4).find_map(|_| diverging.train_epoch(|_| {}).err()).expect("not finite").to_string();
    assert!(error.contains("step 2 (epoch 1)") && error.contains("finite") && error.contains("`a` from row"), "{error}");
}

#[test]
fn heads_are_trained_where_the_history_is_complete() {
    use foretoken_model::{Blueprint, Registry};
    let (model, mut values) = (model(""), columns());
    values[1][..200].fill(f64::NAN);
    let blueprint = Blueprint::new(&model, &Registry::default()).unwrap();
    for (history, sampling) in [(0, None), (100, None), (100, Some(Sampling::default()))] {
        let config = TrainConfig { history, sampling, ..config() };
        let loader = Loader::new(&blueprint, &task(&values), &config).unwrap();
        let lessons: Vec<_> = (0..60).flat_map(|epoch| loader.epoch(epoch, 0, None)).collect();
        for (column, begins) in [(0, 0), (1, 200)] {
            let windows = || lessons.iter().flat_map(|lesson| &lesson.windows).filter(|window| window.0 == column);
            let rows = || windows().map(|window| window.1 + config.burn_in + 1);
            // The phase of an epoch's windows is drawn, so that 60 epochs see nearly all.
            let first = rows().min().unwrap();
            assert!((begins + history.max(config.burn_in + 1)..begins + history + 16).contains(&first), "{history}: {first}");
            let last = windows().map(|window| window.1 + config.window).max().unwrap();
            assert!((500..=514).contains(&last), "{history}: {last}");
        }
    }
}

#[test]
fn errors_count_in_the_data_s_unit_as_far_as_they_are_asked_to() {
    use foretoken_model::{Blueprint, Registry};
    let (model, mut values) = (model(""), columns());
    values[1].iter_mut().for_each(|value| *value *= 16.0);
    let blueprint = Blueprint::new(&model, &Registry::default()).unwrap();
    let lesson = |unit_power: f64| {
        let mut task = task(&values);
        task.columns[1].deviation *= 16.0;
        let loader = Loader::new(&blueprint, &task, &TrainConfig { unit_power, ..config() }).unwrap();
        loader.epoch(0, 0, None).next().unwrap()
    };
    let (plain, weighed) = (lesson(0.0), lesson(0.5));
    assert_eq!(plain.targets_mh, weighed.targets_mh);
    let (windows, positions) = (plain.windows, config().positions);
    assert!([0, 1].iter().all(|column| windows.iter().any(|window| window.0 == *column)), "{windows:?}");
    for (place, (plain, weighed)) in plain.deviations_m.iter().zip(&weighed.deviations_m).enumerate() {
        // Four times as much for a unit of sixteen, and 1 in the mean.
        let expected = [0.4, 1.6][windows[place / positions].0];
        assert!((weighed / plain - expected).abs() < 1e-6, "{place}: {weighed} {plain}");
    }
    let refused = Trainer::new(&model, &TrainConfig { unit_power: 1.5, ..config() }, task(&values)).err().expect("refused");
    assert!(refused.to_string().contains("train.unit_power: expected a number from 0 to 1, found 1.5"), "{refused}");
}

#[test]
fn an_ensemble_of_every_family_trains_carried_saves_and_streams_the_same_bits() {
    use foretoken_model::{Forecaster, Predictor, Registry};
    use std::sync::Arc;
    let text =
        "horizon = 6\nquantiles = [0.1, 0.5, 0.9]\ntaps = 12\nfamily = 'ensemble'\nsize = 'tiny'\nscaler = { window = 48 }";
    let (model, values) = (toml::from_str(text).unwrap(), columns());
    let config = TrainConfig { carry: true, ..config() };
    let mut trainer = Trainer::new(&model, &config, task(&values)).unwrap();
    let mut losses = Vec::new();
    while !trainer.finished() {
        losses.push(trainer.train_epoch(|_| {}).unwrap().loss);
    }
    assert!(losses.iter().all(|loss| loss.is_finite()) && losses[losses.len() - 1] < losses[0], "{losses:?}");
    // The same seed gives the same weights, states carried or not.
    assert_eq!(trained(&model, &config), trained(&model, &config));
    assert!(trained(&model, &config).0 != trained(&model, &TrainConfig { carry: false, ..config.clone() }).0);

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let original = trainer.best().unwrap();
    original.save(&path).unwrap();
    let loaded = Arc::new(Forecaster::load(&path, &Registry::default()).unwrap());
    assert_eq!(loaded.fingerprint(), original.fingerprint());
    let after = |step: usize| {
        let mut predictor = Predictor::new(loaded.clone());
        for start in (0..ROWS).step_by(step) {
            let part = values.each_ref().map(|column| &column[start..ROWS.min(start + step)]);
            match step {
                1 => predictor.advance(&part.map(|column| column[0])).unwrap(),
                _ => predictor.advance_many(&part, |_| false, |_, _, _| {}, None).unwrap(),
            }
        }
        let mut forecast = predictor.forecast_buffer();
        predictor.predict(&mut forecast).unwrap();
        (forecast, predictor.snapshot().unwrap())
    };
    let whole = after(ROWS);
    assert!(after(1) == whole && after(7) == whole && after(100) == whole);
    let used = loaded.network().mixtures()[0].live_usage().read();
    assert!(used.chosen.iter().filter(|&&chosen| chosen > 0).count() > 1, "{:?}", used.chosen);
}

/// Targets and features of a lesson, as bits.
fn lesson_bits(lesson: &foretoken_train::loader::Lesson) -> Vec<u32> {
    lesson.targets_mh.iter().chain(&lesson.batch.features_nk).map(|value| value.to_bits()).collect()
}

#[test]
fn an_epoch_may_be_entered_anywhere() {
    use foretoken_model::{Blueprint, Registry};
    let (model, values) = (model(""), columns());
    let blueprint = Blueprint::new(&model, &Registry::default()).unwrap();
    let sampling = Some(Sampling { power: 0.5, ..Sampling::default() });
    for config in [config(), TrainConfig { sampling, steps: Some(9), ..config() }] {
        let loader = Loader::new(&blueprint, &task(&values), &config).unwrap();
        let all: Vec<Vec<u32>> = loader.epoch(3, 100, None).map(|lesson| lesson_bits(&lesson)).collect();
        assert_eq!(all.len() as u64, loader.steps());
        for skipped in [0, 1, all.len() - 1, all.len()] {
            let rest: Vec<Vec<u32>> = loader.epoch(3, 100, None).skip(skipped).map(|lesson| lesson_bits(&lesson)).collect();
            assert!(rest == all[skipped..], "{skipped}");
        }
        assert!(loader.epoch(4, 100, None).map(|lesson| lesson_bits(&lesson)).ne(all), "another epoch, other windows");
    }
}

#[test]
fn a_series_without_weight_is_not_learned_from() {
    let mut values = columns();
    let config = TrainConfig {
        sampling: Some(Sampling { power: 0.0, weights: [("b".to_string(), 0.0)].into() }),
        steps: Some(5),
        epochs: 1,
        ..config()
    };
    for carry in [false, true] {
        let config = TrainConfig { carry, ..config.clone() };
        let weights = |values: &[Vec<f64>; 2]| {
            let mut trainer = Trainer::new(&model(""), &config, task(values)).unwrap();
            assert_eq!(trainer.steps_an_epoch(), 5);
            trainer.train_epoch(|_| {}).unwrap();
            trainer.checkpoint().arenas[0].clone()
        };
        let before = weights(&values);
        values[1].iter_mut().for_each(|value| *value += 0.5);
        assert!(before == weights(&values), "the other series' values do not matter");
        values[0].iter_mut().for_each(|value| *value += 0.01);
        values[0][77] = 2.0;
        assert!(before != weights(&values));
    }
}

#[test]
fn a_horizon_that_no_validation_row_reaches_has_no_error() {
    let (values, config) = (columns(), TrainConfig { horizons: vec![2, 6], epochs: 1, ..config() });
    let short = Task { validation: 520..525, ..task(&values) };
    let validation = Trainer::new(&model(""), &config, short).unwrap().train_epoch(|_| {}).unwrap().validation;
    let [two, six] = validation.mse_by_horizon[..] else { panic!("{validation:?}") };
    assert!(six.is_nan() && two > 0.0 && validation.mse == two && validation.network_mse == two, "{validation:?}");
}

#[test]
fn a_checkpoint_of_other_values_is_refused() {
    let (mut values, folder) = (columns(), tempfile::tempdir().unwrap());
    let path = folder.path().join("checkpoint.safetensors");
    let mut trainer = Trainer::new(&model(""), &config(), task(&values)).unwrap();
    trainer.train_epoch(|_| {}).unwrap();
    trainer.checkpoint().save(&path).unwrap();
    let of = |values: &[Vec<f64>; 2]| {
        let run = Trainer::new(&model(""), &config(), task(values)).unwrap();
        Checkpoint::load(&path, run.run(), run.arena_len(), 6).map(drop)
    };
    of(&values).unwrap();
    values[1][530] += 1e-9;
    assert!(of(&values).unwrap_err().to_string().contains("other data"));
}

/// The task with a series beside its columns.
fn with_further<'a>(values: &'a [Vec<f64>; 2], other: &'a [f64]) -> Task<'a> {
    let column = Column { name: "file/c".into(), mean: 40.0, deviation: 3.5 };
    Task { also: vec![Further { column, values: other }], ..task(values) }
}

#[test]
fn further_series_are_trained_on_and_nothing_else() {
    use foretoken_model::{Blueprint, Registry};
    let (model, values, config) = (model(""), columns(), TrainConfig { epochs: 1, ..config() });
    let mut other: Vec<f64> = (0..ROWS).map(|t| 40.0 + 5.0 * (t as f64 * 0.4).sin()).collect();
    other[..100].fill(f64::NAN);
    let blueprint = Blueprint::new(&model, &Registry::default()).unwrap();
    let loader = Loader::new(&blueprint, &with_further(&values, &other), &config).unwrap();
    let windows: Vec<(usize, usize)> = loader.epoch(0, 0, None).flat_map(|lesson| lesson.windows).collect();
    let rows = |series: usize| windows.iter().filter(move |(own, _)| *own == series).map(|&(_, row)| row);
    assert!(rows(0).count() > 3 && rows(1).count() > 3 && rows(2).count() > 3, "{windows:?}");
    assert!(rows(2).all(|row| (100..520).contains(&row)) && windows.iter().all(|&(series, _)| series < 3));

    let weights = |task: Task<'_>| {
        let mut trainer = Trainer::new(&model, &config, task).unwrap();
        let validation = trainer.train_epoch(|_| {}).unwrap().validation;
        assert!(validation.network_mse.is_finite());
        let names: Vec<String> = trainer.best().unwrap().columns().iter().map(|column| column.name.clone()).collect();
        assert_eq!(names, ["a", "b"]);
        (trainer.checkpoint().arenas[0].clone(), trainer.run().to_string())
    };
    let (alone, learned) = (weights(task(&values)), weights(with_further(&values, &other)));
    assert!(alone.0 != learned.0, "it is learned from");
    assert!(!alone.1.contains("file/c") && learned.1.contains("file/c"), "a checkpoint of one is not the other's");
    other[520..].fill(f64::NAN);
    assert!(weights(with_further(&values, &other)) == learned, "nothing is made of its other rows");

    // It has its weight and its name.
    let sampling = Some(Sampling { power: 0.0, weights: ["a", "b"].map(|name| (name.to_string(), 0.0)).into() });
    other[300] = 1e39;
    let only = TrainConfig { sampling, steps: Some(9), ..config.clone() };
    let error = Trainer::new(&model, &only, with_further(&values, &other)).unwrap().train_epoch(|_| {}).unwrap_err().to_string();
    assert!(error.contains("`file/c` from row") && !error.contains("`a` from row"), "{error}");
    // No covariates are known of it.
    let mut mixed = model.clone();
    mixed.covariates.columns = 2;
    let error = Trainer::new(&mixed, &config, with_further(&values, &other)).err().expect("refused").to_string();
    assert!(error.contains("also: expected series without covariates"), "{error}");
}

#[test]
fn it_learns_from_series_with_gaps_and_late_beginnings() {
    let mut values = columns();
    for (column, values) in values.iter_mut().enumerate() {
        for (row, value) in values.iter_mut().enumerate() {
            if (row + column) % 9 == 4 || (200..230).contains(&row) || (column == 1 && row < 150) {
                *value = f64::NAN;
            }
        }
    }
    let mut trainer = Trainer::new(&model(""), &TrainConfig { epochs: 12, window: 48, ..config() }, task(&values)).unwrap();
    let mut best = f64::MAX;
    while !trainer.finished() {
        best = best.min(trainer.train_epoch(|_| {}).unwrap().validation.network_mse);
    }
    // As without gaps, see above, and a little worse.
    assert!(best < 0.45, "{best}");
    assert!(trainer.best().unwrap().calibration().is_some());
}

#[test]
fn a_columns_intervals_know_how_large_its_errors_were() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(6);
    let mut noise = || rng.random::<f64>() - 0.5;
    // A walk, which persistence knows, and noise, which it does not; the scaler's deviation says the same of both.
    let mut walk = vec![0.0];
    (1..3 * ROWS).for_each(|row| walk.push(0.98 * walk[row - 1] + noise()));
    let values = [walk, (0..3 * ROWS).map(|_| 5.0 * noise()).collect()];
    let (linear, weights) = persistence();
    let model = ForecasterConfig { linear: Some(linear), ..model("") };
    let task = Task { linear: Some(weights), validation: 520..2 * ROWS, ..task(&values) };
    let trainer = Trainer::new(&model, &TrainConfig { held_back: 0.5, ..config() }, task).unwrap();
    let own = trainer.linear_alone().unwrap().expect("a linear expert");
    let calibration = own.calibration().expect("enough rows");
    let held = calibration.held().expect("of the rows that were held back");
    assert!((0..6).all(|step| held.sizes_ch[step] < 0.8 && held.sizes_ch[6 + step] > 1.2), "{:?}", held.sizes_ch);

    // Inside the 80% interval, on rows that nothing was fitted on, by column.
    let covered = |forecaster: &std::sync::Arc<foretoken_model::Forecaster>| {
        let (mut inside, mut all) = ([0; 2], 0);
        let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
        let count = |row: usize, column: usize, parts: &foretoken_model::predictor::Parts| {
            for step in 0..6 {
                let truth = forecaster.columns()[column].standardise(values[column][row + 1 + step]);
                let quantiles = &parts.combined[3 * step..][..3];
                inside[column] += usize::from(quantiles[0] <= truth && truth <= quantiles[2]);
                all += 1;
            }
        };
        let mut predictor = foretoken_model::Predictor::new(forecaster.clone());
        predictor.advance_many(&views, |row| (2 * ROWS..3 * ROWS - 6).contains(&row), count, None).unwrap();
        inside.map(|inside| 2.0 * inside as f64 / all as f64)
    };
    let uniform = foretoken_model::conformal::Held { sizes_ch: vec![1.0; 12], ..held.clone() };
    let uniform = calibration.clone().beside(uniform).unwrap();
    let of_all = trainer.linear_alone().unwrap().and_then(std::sync::Arc::into_inner).expect("only here");
    let of_all = std::sync::Arc::new(of_all.calibrated(Some(uniform)));
    let (own, of_all) = (covered(&own), covered(&of_all));
    let off = |covered: [f64; 2]| covered.map(|covered| (covered - 0.8).abs()).iter().sum::<f64>();
    assert!(off(own) < 0.7 * off(of_all), "{own:?} {of_all:?}");
    assert!((0.5 * (own[0] + own[1]) - 0.8).abs() < 0.04, "{own:?}");
}

#[test]
fn what_is_mostly_zero_has_zero_as_its_median() {
    use rand::{Rng, SeedableRng};
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
    // One row in twelve has a count, and noise beside it is as often below its forecast as above.
    let mut count = || if rng.random::<f64>() < 1.0 / 12.0 { 6.0 } else { 0.0 };
    let counts: Vec<f64> = (0..3 * ROWS).map(|_| count()).collect();
    let values = [counts, (0..3 * ROWS).map(|row| ((row * row) as f64 * 0.37).sin()).collect()];
    let mean = (
        LinearConfig { lookback: 48, ..LinearConfig::default() },
        LinearWeights { weights_lh: vec![0.0; 48 * 6], bias_h: vec![0.0; 6], own_clh: Vec::new() },
    );
    let model = ForecasterConfig { linear: Some(mean.0), ..model("") };
    for held_back in [0.0, 0.5] {
        let task = Task { linear: Some(mean.1.clone()), validation: 520..2 * ROWS, ..task(&values) };
        let trainer = Trainer::new(&model, &TrainConfig { held_back, ..config() }, task).unwrap();
        let alone = trainer.linear_alone().unwrap().expect("a linear expert");
        let centres = alone.calibration().expect("enough rows").centres();
        assert!(centres[..6].iter().all(|centre| *centre < -0.3) && centres[6..] == [0.0; 6], "{centres:?}");
        let (mut below, mut inside, mut all) = (0, 0, 0);
        let count = |row: usize, column: usize, parts: &foretoken_model::predictor::Parts| {
            for step in 0..6 {
                let quantiles = &parts.combined[3 * step..][..3];
                if column == 1 {
                    assert_eq!(parts.points[step], quantiles[1], "nothing is off there");
                    continue;
                }
                let truth = alone.columns()[0].standardise(values[0][row + 1 + step]);
                below += usize::from(quantiles[1] < truth - 1.0);
                inside += usize::from(quantiles[0] - 1.0 <= truth && truth <= quantiles[2] + 1.0);
                all += 1;
                assert!(parts.points[step] > quantiles[1], "the mean is above the median");
            }
        };
        let views: Vec<&[f64]> = values.iter().map(Vec::as_slice).collect();
        let mut predictor = foretoken_model::Predictor::new(alone.clone());
        predictor.advance_many(&views, |row| (2 * ROWS..3 * ROWS - 6).contains(&row), count, None).unwrap();
        let share = |count: usize| count as f64 / all as f64;
        // Zeros are more than nine in ten, and a count is 8 standardised; the mean of 48 samples moves by a third.
        assert!(share(below) < 0.2 && share(inside) > 0.85, "{} {}", share(below), share(inside));
    }
}

#[test]
fn a_calibration_is_of_the_models_own_quantiles() {
    let values = columns();
    let calibration = |adaptive| {
        let model = ForecasterConfig { adaptive, ..model("") };
        let mut trainer = Trainer::new(&model, &TrainConfig { epochs: 1, ..config() }, task(&values)).unwrap();
        trainer.train_epoch(|_| {}).unwrap();
        trainer.best().unwrap().calibration().cloned()
    };
    assert!(calibration(None).is_some());
    assert_eq!(calibration(Some(0.2)), calibration(None), "what a stream would have learned is not calibrated away");
}
