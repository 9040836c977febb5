//! The training loop: it learns, repeats itself bit for bit, resumes, and says what is wrong.

mod lessons;
mod refused;
mod resuming;
mod shipped;
mod steps;

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
        columns: ["a", "b"].map(|name| Column::new(name, 0.0, 0.75)).to_vec(),
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
fn every_schedule_trains() {
    let model = model("");
    let of = |schedule| trained(&model, &TrainConfig { schedule, ..config() });
    let all = [Schedule::Cosine, Schedule::Constant, Schedule::OneCycle].map(of);
    assert!(all[0].0 != all[1].0 && all[1].0 != all[2].0 && all[0].0 != all[2].0);
    assert!(all.iter().all(|(_, errors)| errors[3] < errors[0]), "{:?}", all.map(|(_, errors)| errors));
}
