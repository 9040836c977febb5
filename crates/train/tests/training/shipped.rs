//! What is kept after training: the better of network and linear expert, and its intervals.

use super::*;

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
    (options, LinearWeights { weights_lh, bias_h: vec![0.0; 6], ..LinearWeights::default() })
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

#[test]
fn a_horizon_that_no_validation_row_reaches_has_no_error() {
    let (values, config) = (columns(), TrainConfig { horizons: vec![2, 6], epochs: 1, ..config() });
    let short = Task { validation: 520..525, ..task(&values) };
    let validation = Trainer::new(&model(""), &config, short).unwrap().train_epoch(|_| {}).unwrap().validation;
    let [two, six] = validation.mse_by_horizon[..] else { panic!("{validation:?}") };
    assert!(six.is_nan() && two > 0.0 && validation.mse == two && validation.network_mse == two, "{validation:?}");
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
        LinearWeights { weights_lh: vec![0.0; 48 * 6], bias_h: vec![0.0; 6], ..LinearWeights::default() },
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
