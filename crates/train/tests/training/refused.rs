//! What cannot be trained is named.

use super::*;

#[test]
fn covariates_that_are_not_there_are_an_error() {
    let known = Column::new("heat", 0.0, 1.0);
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
