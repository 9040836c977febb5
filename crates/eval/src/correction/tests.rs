use super::*;
use crate::ridge::Inputs as Looked;

/// Sums in another order, maps in `f32`.
const SAME: f64 = 1e-4;
const CUTS: [usize; 2] = [1, 4];
const TRAIN: Range<usize> = 0..800;
const VALIDATION: Range<usize> = 800..1000;
const ROWS: usize = 1200;
const NAN: f64 = f64::NAN;

fn noise(seed: u64) -> impl Iterator<Item = f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) + 1;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f64 / (1u64 << 24) as f64 - 0.5
    })
}

/// The second does three rows later what the first does; the third is on its own.
fn driven() -> Vec<Vec<f64>> {
    let first: Vec<f64> = noise(1).take(ROWS).collect();
    let second = (0..ROWS).zip(noise(2)).map(|(row, noise)| row.checked_sub(3).map_or(0.0, |row| first[row]) + 0.2 * noise);
    vec![first.clone(), second.collect(), noise(3).take(ROWS).collect()]
}

/// Columns that go on as they last went, and one that turns back.
fn unlike() -> Vec<Vec<f64>> {
    let column = |of: u64| {
        let memory = if of == 2 { -0.8 } else { 0.8 };
        let next = |last: &mut f64, noise: f64| {
            *last = memory * *last + noise;
            Some(*last)
        };
        noise(of + 10).scan(0.0, next).take(ROWS).collect()
    };
    (0..4).map(column).collect()
}

fn expert(columns: &[Vec<f64>]) -> Ridge {
    Ridge::fit(columns, columns.len(), &TRAIN, &VALIDATION, Looked::samples(12), &CUTS, 0).expect("fits")
}

fn fitted(columns: &[Vec<f64>], own: usize, across: usize) -> (Ridge, Correction) {
    let expert = expert(columns);
    let correction = Correction::fit(columns, &TRAIN, &VALIDATION, &expert, Looks { own, across }, &CUTS).expect("fits");
    (expert, correction)
}

/// Mean square of a column's errors at some steps on the rows after the validation rows.
fn error(baseline: &dyn Baseline, columns: &[Vec<f64>], index: usize, steps: Range<usize>) -> f64 {
    let origins = 1000..ROWS - 4;
    let said = baseline.forecast(index, &columns[index], origins.clone());
    let errors = said.chunks_exact(4).zip(origins).flat_map(|(said, origin)| {
        steps.clone().map(move |step| (said[step] - columns[index][origin + step]).powi(2)).collect::<Vec<_>>()
    });
    errors.clone().sum::<f64>() / errors.count() as f64
}

#[test]
fn a_column_that_another_drives_is_forecast_from_it() {
    let columns = driven();
    let (expert, correction) = fitted(&columns, 6, 6);
    assert_eq!(correction.across.columns, [1], "{:?}", correction.picks);
    assert!(correction.own.columns.is_empty() && correction.picks[2].iter().all(Option::is_none), "{:?}", correction.picks);
    let whole = Corrected { expert: &expert, correction: &correction, columns: &columns };
    let gain = |index: usize| error(&whole, &columns, index, 0..3) / error(&expert, &columns, index, 0..3);
    assert!(gain(1) < 0.1 && gain(0) == 1.0 && gain(2) == 1.0, "{} {} {}", gain(0), gain(1), gain(2));
}

#[test]
fn a_column_that_is_unlike_the_others_has_a_map_of_its_own_samples() {
    let columns = unlike();
    let (expert, correction) = fitted(&columns, 6, 0);
    assert!(correction.own.columns.contains(&2) && correction.across.columns.is_empty(), "{:?}", correction.picks);
    let whole = Corrected { expert: &expert, correction: &correction, columns: &columns };
    let gain = error(&whole, &columns, 2, 0..4) / error(&expert, &columns, 2, 0..4);
    assert!(gain < 0.85, "{gain}");
}

#[test]
fn noise_has_none() {
    let columns: Vec<Vec<f64>> = (0..5).map(|seed| noise(seed + 20).take(ROWS).collect()).collect();
    let (expert, correction) = fitted(&columns, 6, 6);
    assert!(correction.is_empty(), "{:?}", correction.picks);
    let whole = Corrected { expert: &expert, correction: &correction, columns: &columns };
    assert_eq!(whole.forecast(3, &columns[3], 1000..1010), expert.forecast(3, &columns[3], 1000..1010));
    // A column that never moves divides nothing by nothing.
    let still = vec![columns[0].clone(), vec![0.0; ROWS]];
    assert!(fitted(&still, 6, 6).1.picks[1].iter().all(Option::is_none));
}

#[test]
fn they_are_ridge_regressions_of_what_is_left() {
    let columns = driven();
    let (expert, correction) = fitted(&columns, 0, 5);
    let strength = correction.picks[1][1].expect("picked").strength;
    let map = |input: usize| f64::from(correction.across.maps_kih[input * 4 + 2]);
    // (G + λI)·D = Xᵀ(Y − expert), at every window.
    let (mut sum, mut cross) = ([0.0; 15], [0.0; 15]);
    for origin in 12..=796 {
        let x: Vec<f64> = columns
            .iter()
            .flat_map(|column| {
                let window = &column[origin - 5..origin];
                let mean = window.iter().sum::<f64>() / 5.0;
                window.iter().map(move |value| value - mean).collect::<Vec<_>>()
            })
            .collect();
        let said: f64 = x.iter().enumerate().map(|(input, x)| x * map(input)).sum();
        let left = columns[1][origin + 2] - expert.forecast(1, &columns[1], origin..origin + 1)[2];
        for (input, x) in x.iter().enumerate() {
            sum[input] += x * said;
            cross[input] += x * left;
        }
    }
    for (input, cross) in cross.iter().enumerate() {
        let sum = sum[input] + strength * map(input);
        assert!((sum - cross).abs() < SAME * cross.abs().max(1.0), "{input}: {sum} {cross}");
    }
}

#[test]
fn errors_from_sums_are_those_of_the_windows() {
    let (columns, looks) = (unlike(), Looks { own: 6, across: 3 });
    let expert = expert(&columns);
    let stretches = stretches(&TRAIN, Some(&VALIDATION), 12, 4);
    let count: usize = stretches.iter().map(|stretch| stretch.len()).sum();
    assert_eq!((count, stretches[BETWEEN].len()), (785 + 197, 9), "all windows, three between two quarters each");
    let samples = Samples::of(&columns, 0..1000, None, looks, true);
    let fitting = Fitting { columns: &columns, expert: &expert, samples, stretches: &stretches };
    let [own, all] = fitting.sums(2, |_| true).map(|sums| sums.expect("wanted"));
    let grams = fitting.grams();
    let grams = [own.iter().map(|sums| &sums.gram).collect(), grams.iter().collect::<Vec<_>>()];
    for ((seen, sums), grams) in BOTH.into_iter().zip([own.as_slice(), &all]).zip(&grams) {
        let inputs = Inputs::of(grams, true).expect("finite");
        for held_out in [0, 2, HELD_BACK] {
            let axes = if held_out == HELD_BACK { &inputs.whole } else { &inputs.folds[held_out] };
            let mut cross = Mat::zeros(sums[0].cross.nrows(), 4);
            fitted_on(held_out).for_each(|stretch| cross += &sums[stretch].cross);
            let origins = &stretches[held_out];
            let (x, left) = (fitting.samples.look(seen, &columns[2], origins), fitting.left(2, origins).0);
            for (place, errors) in inputs.errors(sums, held_out).iter().enumerate() {
                let map = &axes.vectors * axes.map(&axes.along(&cross), STRENGTHS[place]);
                let said = rows_of(&x, map.nrows()) * &map;
                for (step, error) in errors.iter().enumerate() {
                    let rows = left.chunks_exact(4).enumerate();
                    let direct: f64 = rows.map(|(row, left)| (left[step] - said[(row, step)]).powi(2)).sum();
                    assert!((error - direct).abs() < 1e-8 * direct.max(1.0), "{seen:?} {held_out} {step}: {error} {direct}");
                }
            }
        }
    }
}

#[test]
fn what_is_missing_is_the_value_before_it_and_what_has_not_begun_says_nothing() {
    let mut columns = driven();
    columns[2][..990].fill(NAN);
    for row in [500, 501, 1003] {
        columns[0][row] = NAN;
    }
    let (expert, correction) = fitted(&columns, 0, 6);
    assert_eq!(correction.across.columns, [1]);
    let whole = Corrected { expert: &expert, correction: &correction, columns: &columns };
    let (said, plain) = (whole.forecast(1, &columns[1], 992..1010), expert.forecast(1, &columns[1], 992..1010));
    let filled = |column: usize, row: usize| (0..=row).rev().map(|row| columns[column][row]).find(|value| !value.is_nan());
    for (place, origin) in (992..1010).enumerate() {
        for step in 0..4 {
            let mut expected = plain[place * 4 + step];
            for column in 0..3 {
                // Six rows of the third are there from row 996 on.
                let window: Option<Vec<f64>> = (origin - 6..origin).map(|row| filled(column, row)).collect();
                let Some(window) = window else { continue };
                let mean = window.iter().sum::<f64>() / 6.0;
                for (at, value) in window.iter().enumerate() {
                    expected += (value - mean) * f64::from(correction.across.maps_kih[(column * 6 + at) * 4 + step]);
                }
            }
            let found = said[place * 4 + step];
            assert!((found - expected).abs() < SAME, "{origin} {step}: {found} {expected}");
        }
    }
    assert!(whole.forecast(2, &columns[2], 992..994).iter().all(|value| value.is_nan()), "no window, no forecast");
}

#[test]
fn fitted_again_on_the_same_rows_they_are_the_same() {
    let columns = driven();
    let (expert, correction) = fitted(&columns, 6, 6);
    let again = Correction::fit_with(&columns, &TRAIN, &expert, &correction, &CUTS).expect("fits");
    assert_eq!(again, correction);
    let more = Correction::fit_with(&columns, &(0..1000), &expert, &correction, &CUTS).expect("fits");
    let half = more.clone().halfway_to(&correction);
    let first = |correction: &Correction| correction.across.maps_kih[20];
    assert_eq!(first(&half), 0.5 * (first(&more) + first(&correction)));
    assert_ne!(first(&more), first(&correction));
}

#[test]
fn few_rows_are_refused() {
    let columns = driven();
    let expert = expert(&columns);
    let looks = Looks { own: 6, across: 6 };
    let error = |train: Range<usize>, validation: Range<usize>| {
        Correction::fit(&columns, &train, &validation, &expert, looks, &CUTS).expect_err("too few").to_string()
    };
    assert!(error(0..20, 20..60).contains("training windows of the correction"), "{}", error(0..20, 20..60));
    assert!(error(0..400, 400..403).contains("validation windows of the correction"), "{}", error(0..400, 400..403));
}
