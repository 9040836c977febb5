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
    let correction = Correction::fit(columns, &TRAIN, &VALIDATION, &expert, Looks { own, across, autoregression: false }, &CUTS)
        .expect("fits");
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
    let (columns, looks) = (unlike(), Looks { own: 6, across: 3, autoregression: false });
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
            let own = fitting.samples.own(&columns[2], 1000);
            let x = fitting.samples.look(seen, Some(&own), origins, fitting.samples.inputs(seen));
            let left = fitting.left(2, origins).0;
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
    let looks = Looks { own: 6, across: 6, autoregression: false };
    let error = |train: Range<usize>, validation: Range<usize>| {
        Correction::fit(&columns, &train, &validation, &expert, looks, &CUTS).expect_err("too few").to_string()
    };
    assert!(error(0..20, 20..60).contains("training windows of the correction"), "{}", error(0..20, 20..60));
    assert!(error(0..400, 400..403).contains("validation windows of the correction"), "{}", error(0..400, 400..403));
}

/// Two masses on springs that pull one another, and a third column on its own.
fn coupled() -> Vec<Vec<f64>> {
    let (mut places, mut speeds) = ([1.0, 0.0], [0.0, 0.5]);
    let mut columns = vec![Vec::new(); 3];
    for ((one, other), third) in noise(31).zip(noise(32)).zip(noise(33)).take(ROWS) {
        let pull = 0.2 * (places[1] - places[0]);
        speeds[0] += pull - 0.1 * places[0] - 0.02 * speeds[0] + 0.2 * one;
        speeds[1] += -pull - 0.15 * places[1] - 0.02 * speeds[1] + 0.2 * other;
        (0..2).for_each(|mass| places[mass] += speeds[mass]);
        (0..2).for_each(|mass| columns[mass].push(0.3 * places[mass]));
        columns[2].push(third);
    }
    columns
}

const BLENDED: Looks = Looks { own: 0, across: 6, autoregression: true };

fn blended(columns: &[Vec<f64>]) -> (Ridge, Correction) {
    let expert = expert(columns);
    let correction = Correction::fit(columns, &TRAIN, &VALIDATION, &expert, BLENDED, &CUTS).expect("fits");
    (expert, correction)
}

#[test]
fn columns_that_follow_from_one_another_are_forecast_by_an_autoregression() {
    let columns = coupled();
    let (expert, correction) = blended(&columns);
    let blend = correction.blend.as_ref().expect("it pays");
    assert!(blend.shares[0][1] > 0.3 && blend.shares[1][1] > 0.3, "{blend:?}");
    let direct = fitted(&columns, 0, 6).1;
    let of = |correction| Corrected { expert: &expert, correction, columns: &columns };
    for index in 0..2 {
        let errors = [error(&of(&correction), &columns, index, 1..4), error(&of(&direct), &columns, index, 1..4)];
        assert!(errors[0] < 0.97 * errors[1] && errors[0] < 0.5 * error(&expert, &columns, index, 1..4), "{index}: {errors:?}");
    }
    // A column that has gone far is left to the rest: it would be drawn back.
    let mut far = columns.clone();
    far[0].iter_mut().skip(900).for_each(|value| *value += 20.0);
    let beyond = Corrected { expert: &expert, correction: &correction, columns: &far };
    assert_eq!(beyond.forecast(0, &far[0], 1000..1010), expert.forecast(0, &far[0], 1000..1010));
    // What is missing is the value before it: the window holds what it does not begin with.
    let mut filled = columns.clone();
    (filled[0][992], filled[0][993], filled[0][994], filled[0][995]) = (20.0, NAN, NAN, NAN);
    let beyond = Corrected { expert: &expert, correction: &correction, columns: &filled };
    let (said, rest) = (beyond.forecast(0, &filled[0], 999..1003), expert.forecast(0, &filled[0], 999..1003));
    assert!(said[..12] == rest[..12] && said[12..] != rest[12..], "{said:?} {rest:?}");
}

#[test]
fn what_is_folded_is_the_recursion_of_the_fitted_equations() {
    let columns = coupled();
    let (expert, correction) = blended(&columns);
    let blend = correction.blend.as_ref().expect("it pays");
    let (pick, share) = (blend.picks[1], blend.shares[1][1]);
    // (G + λI)·A = Xᵀz of every training window, without a strength on the constant.
    let inputs = 3 * pick.order + 1;
    let input = |rows: &[Vec<f64>]| -> Vec<f64> { rows.iter().flatten().copied().chain([1.0]).collect() };
    let rows = |origin: usize| -> Vec<Vec<f64>> {
        (origin - pick.order..origin).map(|row| columns.iter().map(|column| column[row]).collect()).collect()
    };
    let (mut gram, mut cross) = (Mat::<f64>::zeros(inputs, inputs), Mat::<f64>::zeros(inputs, 3));
    for origin in 12..=796 {
        let x = input(&rows(origin));
        for i in 0..inputs {
            (0..inputs).for_each(|j| gram[(i, j)] += x[i] * x[j]);
            (0..3).for_each(|column| cross[(i, column)] += x[i] * columns[column][origin]);
        }
    }
    (0..inputs - 1).for_each(|i| gram[(i, i)] += pick.strength);
    let next = faer::linalg::solvers::Solve::solve(&gram.partial_piv_lu(), &cross);
    let direct = Correction { blend: None, keep_ch: Vec::new(), ..fitted(&columns, 0, 6).1 };
    let [whole, alone] = [&correction, &direct].map(|correction| Corrected { expert: &expert, correction, columns: &columns });
    for origin in [1000, 1100] {
        let mut window = rows(origin);
        let said = whole.forecast(1, &columns[1], origin..origin + 1);
        let rest = alone.forecast(1, &columns[1], origin..origin + 1);
        for step in 0..4 {
            let x = input(&window);
            let row: Vec<f64> = (0..3).map(|column| (0..inputs).map(|i| x[i] * next[(i, column)]).sum()).collect();
            if step > 0 {
                let expected = (1.0 - share) * rest[step] + share * row[1];
                assert!((said[step] - expected).abs() < 5.0 * SAME, "{origin} {step}: {} {expected}", said[step]);
            }
            window.remove(0);
            window.push(row);
        }
    }
}

#[test]
fn an_autoregression_is_fitted_again_as_it_was_picked() {
    let columns = coupled();
    let (expert, correction) = blended(&columns);
    assert_eq!(Correction::fit_with(&columns, &TRAIN, &expert, &correction, &CUTS).expect("fits"), correction);
    let more = Correction::fit_with(&columns, &(0..1000), &expert, &correction, &CUTS).expect("fits");
    assert_eq!((&more.blend, &more.keep_ch), (&correction.blend, &correction.keep_ch));
    assert_ne!(more.across, correction.across);
    // What wanders follows from nothing; a column that never moves divides nothing by nothing.
    let walk = |seed: u64| {
        let next = |last: &mut f64, noise: f64| {
            *last += 0.1 * noise;
            Some(*last)
        };
        noise(seed + 40).scan(0.0, next).take(ROWS).collect()
    };
    let walks: Vec<Vec<f64>> = (0..4).map(walk).collect();
    assert_eq!(blended(&walks).1.blend, None);
    let still = vec![walks[0].clone(), vec![0.0; ROWS], vec![NAN; ROWS]];
    let found = blended(&still).1;
    let is_finite = |values: &[f32]| values.iter().all(|value| value.is_finite());
    assert!(is_finite(&found.across.maps_kih) && is_finite(&found.keep_ch) && !found.across.columns.contains(&2), "{found:?}");
}
