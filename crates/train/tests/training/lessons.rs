//! What a step learns from.

use super::*;

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

/// The task with a series beside its columns.
fn with_further<'a>(values: &'a [Vec<f64>; 2], other: &'a [f64]) -> Task<'a> {
    let column = Column::new("file/c", 40.0, 3.5);
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
