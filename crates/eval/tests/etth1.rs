//! The baselines on ETTh1 against the numbers known from independent programs.

use foretoken_data::{Split, Standardiser, read_wide};
use foretoken_eval::{Baseline, Inputs, MstlEts, Origins, Ridge, Scores, SeasonalNaive, evaluate, naive_scales, residual_spread};
use std::path::Path;

/// Published figures have three decimals.
const TOLERANCE: f64 = 0.001;
const HORIZON: usize = 96;

fn score(baseline: &dyn Baseline, columns: &[Vec<f64>]) -> Scores {
    let ranges = Split::Ett.resolve(columns[0].len()).expect("long enough");
    let levels = [0.1, 0.5, 0.9];
    let train: Vec<&[f64]> = columns.iter().map(|column| &column[ranges.train.clone()]).collect();
    let validation = Origins::of(&ranges.validation, HORIZON).expect("long enough");
    let spread = residual_spread(baseline, columns, &validation, HORIZON, &levels, usize::MAX).expect("spread");
    let test = Origins::of(&ranges.test, HORIZON).expect("long enough");
    assert_eq!(test.iter().len(), 2785);
    evaluate(baseline, columns, &test, &levels, &spread, &naive_scales(&train, 24)).expect("scores")
}

fn columns() -> Vec<Vec<f64>> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/data/ETTh1.csv");
    let signal = read_wide(&path).expect("the example data");
    Standardiser::fit(&signal, 0..8640).expect("varies").apply(&signal)
}

#[test]
fn seasonal_naive_and_ridge_are_the_known_floor() {
    let columns = columns();
    let naive = score(&SeasonalNaive { season: 24, horizon: HORIZON }, &columns);
    assert!((naive.mse - 0.512).abs() < TOLERANCE && (naive.mae - 0.433).abs() < TOLERANCE, "{} {}", naive.mse, naive.mae);
    let ridge =
        Ridge::fit(&columns, columns.len(), &(0..8640), &(8640..11520), Inputs::samples(512), &[HORIZON], 0).expect("fits");
    let scores = score(&ridge, &columns);
    assert!((scores.mse - 0.367).abs() < TOLERANCE && (scores.mae - 0.391).abs() < TOLERANCE, "{} {}", scores.mse, scores.mae);
    assert!((0.6..0.95).contains(&scores.coverage_80.unwrap()), "{}", scores.coverage_80.unwrap());
}

/// Of two forecasters that both repeat a season and differ in how much they smooth.
const NEAR: f64 = 1.1;

#[test]
fn mstl_ets_is_near_or_better_than_seasonal_naive() {
    let columns = &columns()[6..];
    let ranges = Split::Ett.resolve(columns[0].len()).expect("long enough");
    for horizon in [24, 96] {
        let origins = Origins::of(&ranges.test, horizon).expect("long enough").thinned(0, 29, None);
        let mse = |baseline: &dyn Baseline| {
            let scores = evaluate(baseline, columns, &origins, &[0.5], &vec![0.0; horizon], &[1.0]).expect("scores");
            assert_eq!(scores.unforecast, 0);
            scores.mse
        };
        let own = mse(&MstlEts { season: 24, horizon, lookback: 14 * 24 });
        let naive = mse(&SeasonalNaive { season: 24, horizon });
        println!("{horizon}: {own} {naive}");
        assert!(own < NEAR * naive, "{horizon}: {own} {naive}");
    }
}

#[test]
fn ridge_has_the_same_bits_on_one_thread_and_two() {
    let columns: Vec<Vec<f64>> = columns().into_iter().take(2).collect();
    let fit = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
        pool.install(|| Ridge::fit(&columns, 2, &(0..2000), &(2000..2500), Inputs::samples(96), &[24], 0).expect("fits"))
    };
    assert_eq!(fit(1), fit(2));
}

#[test]
fn too_few_rows_say_how_many() {
    let columns = vec![vec![0.0; 100]];
    let error = Ridge::fit(&columns, 1, &(0..50), &(50..100), Inputs::samples(48), &[24], 0).expect_err("short").to_string();
    assert!(error.contains("72 rows, found 50"), "{error}");
}
