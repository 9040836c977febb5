//! Checkpoints: a run that stopped goes on with the same bits, and no other run does.

use super::*;

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
