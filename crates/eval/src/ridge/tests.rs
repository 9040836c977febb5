use super::*;

const NAN: f64 = f64::NAN;

fn wave(rows: usize) -> Vec<f64> {
    (0..rows).map(|row| (row as f64 * 0.7).sin() + ((row * 7919) % 101) as f64 / 300.0).collect()
}

fn fit(columns: &[Vec<f64>], horizon: usize) -> Ridge {
    Ridge::fit(columns, columns.len(), &(0..300), &(300..400), Inputs::samples(20), &[horizon], 0).expect("fits")
}

/// Sums of the same windows in another order, and maps from them.
const SAME_SUMS: f64 = 1e-6;

#[test]
fn a_fold_is_fitted_on_the_windows_without_a_row_of_it() {
    let (columns, inputs, end) = (vec![wave(300)], Inputs::samples(10), 5);
    let of = |origins: Vec<usize>| sum(&columns, &[(0, origins)], &inputs, end);
    let all = of((10..296).collect());
    // Part 100..150: windows of 10 rows before and 5 after an origin.
    let mut rest = of((96..160).collect());
    rest.complement(&all);
    let direct = of((10..296).filter(|origin| origin + end <= 100 || origin - 10 >= 150).collect());
    assert_eq!(rest.windows, direct.windows);
    // Those of every third origin that are taken are the same in any part.
    let thinned = |origins: Range<usize>| blocks(0..1, &origins, 3).swap_remove(0).1;
    let (all, part) = (thinned(10..296), thinned(96..160));
    assert!(part.iter().copied().eq(all.iter().copied().filter(|origin| (96..160).contains(origin))) && all.len() > 90);
    let fitted = |sums: &Sums| Ridge::candidates(inputs, sums, &(0..end)).expect("windows");
    for (a, b) in fitted(&rest).iter().zip(fitted(&direct)) {
        assert!(a.weights_lh.iter().zip(&b.weights_lh).all(|(a, b)| f64::from(a - b).abs() < SAME_SUMS));
    }
    // Held-out parts overrule validation rows that are nothing but noise.
    let mut column = wave(400);
    (300..400).for_each(|row| column[row] = ((row * 7907) % 97) as f64);
    let strengths = |folds: usize| {
        Ridge::fit(std::slice::from_ref(&column), 1, &(0..300), &(300..400), inputs, &[end], folds).expect("fits").strengths[0]
    };
    assert!(strengths(0) > strengths(6), "{} {}", strengths(0), strengths(6));
}

#[test]
fn a_reverting_ridge_goes_part_of_the_way_to_the_mean_of_all() {
    let column = wave(400);
    let profile = Some(Profile { season: 3, cycles: 2 });
    let inputs = Inputs { lookback: 12, profile, level: false, season: None };
    let ridge = Ridge::fit(std::slice::from_ref(&column), 1, &(0..300), &(300..400), inputs, &[7], 0).expect("fits");
    let (before, after) = (ridge.forecast(0, &column, 350..351), ridge.clone().reverting(5.0).forecast(0, &column, 350..351));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    let phase = |phase: usize| 0.5 * (column[344 + phase] + column[347 + phase]);
    for step in 0..7 {
        let share = 1.0 - (-((step + 1) as f64) / 5.0).exp();
        let level = mean(&column[..350]) + phase(step % 3) - mean(&column[344..350]);
        let expected = (1.0 - share) * before[step] + share * level;
        assert!((after[step] - expected).abs() < 1e-5, "{step}: {} {expected}", after[step]);
    }
}

#[test]
fn halfway_between_two_fits_is_the_mean_of_their_forecasts() {
    let columns = [wave(400), wave(430)[30..].to_vec()];
    let fit = |rows: Range<usize>| {
        let shared = Ridge::fit(&columns, 2, &rows, &(300..400), Inputs::samples(12), &[6], 0).expect("fits");
        let own = Own::fit_with(&columns, &rows, &shared, &[6], &[1.0]).expect("fits");
        shared.clone().beside(Ridge { own: Some(own), ..shared }, vec![0.5; 6]).reverting(40.0)
    };
    let (one, other) = (fit(0..150), fit(0..300));
    let between = other.clone().halfway_to(&one);
    for (index, column) in columns.iter().enumerate() {
        let [one, other, between] = [&one, &other, &between].map(|ridge| ridge.forecast(index, column, 350..360));
        assert_ne!(one, other);
        for ((one, other), between) in one.iter().zip(&other).zip(&between) {
            assert!((0.5 * (one + other) - between).abs() < 1e-5, "{one} {other} {between}");
        }
    }
}

#[test]
fn blocks_are_fits_of_their_own() {
    let whole = [wave(400), wave(430)[30..].to_vec()];
    // Gaps that a longer horizon's windows may have, and a shorter one's may not.
    let mut gaps = whole.clone();
    (20..400).step_by(13).for_each(|row| gaps[0][row] = NAN);
    (100..103).chain(320..322).for_each(|row| gaps[1][row] = NAN);
    blocks_of(&whole);
    blocks_of(&gaps);
}

fn blocks_of(columns: &[Vec<f64>; 2]) {
    let inputs = Inputs { lookback: 12, profile: Some(Profile { season: 9, cycles: 3 }), level: false, season: None };
    let fit = |cuts: &[usize]| Ridge::fit(columns, 2, &(0..300), &(300..400), inputs, cuts, 0).expect("fits");
    let (whole, short) = (fit(&[4, 10, 30]), fit(&[10]));
    // The second block of a fit to 30 steps has the windows of a fit to 10.
    let apart = |steps: Range<usize>| {
        let whole = whole.forecast(0, &columns[0], 320..350);
        let short = short.forecast(0, &columns[0], 320..350);
        let pairs = whole.chunks_exact(30).zip(short.chunks_exact(10)).filter(|(whole, _)| !whole[0].is_nan());
        pairs.flat_map(|(a, b)| steps.clone().map(|step| (a[step] - b[step]).abs()).collect::<Vec<_>>()).fold(0.0, f64::max)
    };
    // Sums in another order, weights in f32.
    assert!(apart(4..10) < 1e-4, "{}", apart(4..10));
    assert_eq!(whole.strengths.len(), 3);
}

#[test]
fn the_mean_of_ridges_forecasts_the_mean() {
    let columns = [wave(400)];
    let profile = Some(Profile { season: 9, cycles: 3 });
    let members = [Inputs { lookback: 12, profile, level: false, season: None }, Inputs::samples(31), Inputs::samples(5)];
    let members = members.map(|inputs| Ridge::fit(&columns, 1, &(0..300), &(300..400), inputs, &[4, 10], 0).expect("fits"));
    let (mean, forecasts) = (Ridge::mean(&members), members.each_ref().map(|ridge| ridge.forecast(0, &columns[0], 320..350)));
    assert_eq!((mean.inputs.lookback, mean.inputs.profile), (31, profile));
    for (place, forecast) in mean.forecast(0, &columns[0], 320..350).into_iter().enumerate() {
        let expected = forecasts.iter().map(|forecast| forecast[place]).sum::<f64>() / 3.0;
        // Weights in f32.
        assert!((forecast - expected).abs() < 1e-5, "{place}: {forecast} {expected}");
    }
}

#[test]
fn a_profile_is_the_mean_of_its_cycles() {
    let past: Vec<f64> = (0..20).map(|i| (i * i) as f64).collect();
    let mut x = Vec::new();
    let inputs = Inputs { lookback: 4, profile: Some(Profile { season: 3, cycles: 2 }), level: false, season: None };
    let mean = inputs.push(&past, 0.0, 1.0, &mut x);
    assert_eq!((inputs.width(), inputs.span(), mean), (7, 6, (256 + 289 + 324 + 361) as f64 / 4.0));
    let expected = [(14 * 14 + 17 * 17) as f64, (15 * 15 + 18 * 18) as f64, (16 * 16 + 19 * 19) as f64];
    assert_eq!(x[4..], expected.map(|sum| sum / 2.0 - mean));
}

#[test]
fn a_gap_is_the_last_value_before_it() {
    let (mut gap, mut filled) = (wave(400), wave(400));
    for row in [100, 101, 250, 333] {
        gap[row] = NAN;
        filled[row] = filled[if row == 101 { 99 } else { row - 1 }];
    }
    // No window of 20 lacks more than 2.
    let own = fit(&[gap.clone()], 20);
    assert_eq!(own, fit(&[filled.clone()], 20));
    assert_eq!(own.forecast(0, &gap, 90..280), own.forecast(0, &filled, 90..280));
    let mut later = gap.clone();
    later[200..].fill(NAN);
    assert_eq!(own.forecast(0, &gap, 150..201), own.forecast(0, &later, 150..201), "nothing from the future");
}

#[test]
fn windows_that_lack_too_much_are_left_out_and_not_forecast() {
    let whole = wave(400);
    // A column that begins late is fitted on the rows it has; one that never begins is no matter.
    let mut late = whole.clone();
    late[..150].fill(NAN);
    let columns = [late.clone(), vec![NAN; 400]];
    let windows = sum(&columns, &blocks(0..2, &(20..296), 1), &Inputs::samples(20), 5).windows;
    assert_eq!(windows, 296 - 170);
    let ridge = fit(&columns, 5);
    assert!(ridge.weights_lh.iter().all(|weight| weight.is_finite()));
    let forecast = ridge.forecast(0, &late, 160..180);
    for (row, forecast) in forecast.chunks_exact(5).enumerate() {
        let complete = 160 + row >= 170;
        assert!(forecast.iter().all(|value| value.is_nan() != complete), "{}: {forecast:?}", 160 + row);
    }
    assert!(ridge.forecast(0, &columns[1], 100..101).iter().all(|value| value.is_nan()));
    let mut holes = whole;
    holes[200..219].fill(NAN);
    let missing = |origin: usize| ridge.forecast(0, &holes, origin..origin + 1)[0].is_nan();
    assert!(!missing(218) && missing(219) && missing(220) && !missing(221), "one of twenty is too few");
}

/// A noisy oscillation of its own course.
fn oscillation(rows: usize, seed: usize) -> Vec<f64> {
    let mut values = vec![0.0, 1.0];
    for row in 2..rows {
        let hash = (row as u64 + 1_000_003 * seed as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let hash = (hash ^ hash >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let noise = (hash >> 40) as f64 / (1u64 << 24) as f64 - 0.5;
        values.push(1.6 * values[row - 1] - 0.9 * values[row - 2] + noise);
    }
    values
}

#[test]
fn further_columns_are_learned_from_and_not_judged_on() {
    let (inputs, train, validation, cuts) = (Inputs::samples(20), 0..600, 600..700, [2, 5]);
    let mut columns = [oscillation(1200, 1), oscillation(1200, 2)];
    columns[0][..540].fill(NAN);
    let fit = |columns: &[Vec<f64>], judged| Ridge::fit(columns, judged, &train, &validation, inputs, &cuts, 3).expect("fits");
    let (alone, with) = (fit(&columns[..1], 1), fit(&columns, 1));
    assert_eq!(with, Ridge::fit_with(&columns, &train, inputs, &cuts, &with.strengths).expect("fits"), "learned from both");
    // The first column has 60 training rows, the map has 20 inputs. Most of the error is noise that nobody knows.
    let truth = &columns[0];
    let error = |ridge: &Ridge| {
        let forecast = ridge.forecast(0, truth, 700..1195);
        let steps = forecast.chunks_exact(5).zip(truth[700..].windows(5)).flat_map(|(own, truth)| own.iter().zip(truth));
        steps.map(|(own, truth)| (own - truth).powi(2)).sum::<f64>()
    };
    assert!(error(&with) < 0.9 * error(&alone), "{} {}", error(&with), error(&alone));
    // Nothing is made of a further column's validation rows, unless it is judged on as well.
    let both = fit(&columns, 2);
    columns[1][600..].iter_mut().enumerate().for_each(|(row, value)| *value = ((row * 7907) % 97) as f64);
    assert_eq!(fit(&columns, 1), with);
    assert_ne!(fit(&columns, 2), both);
}

#[test]
fn nothing_to_fit_on_is_an_error() {
    let error = |column: Vec<f64>| {
        Ridge::fit(&[column], 1, &(0..300), &(300..400), Inputs::samples(20), &[5], 0).expect_err("missing").to_string()
    };
    assert!(error(vec![NAN; 400]).contains("training windows"));
    let mut ends = wave(400);
    ends[280..].fill(NAN);
    assert!(error(ends).contains("validation windows"));
}

#[test]
fn its_mean_square_is_that_of_its_forecasts() {
    let columns = [wave(300), wave(330)[30..].to_vec()];
    let ridge = Ridge::fit(&columns, 2, &(0..200), &(200..300), Inputs::samples(8), &[4], 0).expect("fits");
    let own = Own::fit(&columns, &(0..200), &(200..300), &ridge, &[4]).expect("fits");
    let own = Ridge { own: Some(own), ..ridge.clone() };
    let share_h = vec![0.25, 0.25, 0.5, 1.0];
    let both = ridge.clone().beside(own.clone(), share_h.clone());
    assert_eq!(both.share_h, share_h);
    let said = |of: &Ridge, column: usize| of.forecast(column, &columns[column], 200..290);
    let (one, other) = (said(&ridge, 0), said(&own, 0));
    for (place, said) in said(&both, 0).into_iter().enumerate() {
        let share = share_h[place % 4];
        assert!((said - (1.0 - share) * one[place] - share * other[place]).abs() < 1e-5, "step {}", place % 4);
    }
    for steps in [0..4, 1..3] {
        let error = |column: usize| {
            let truth = (200..290).flat_map(|origin| columns[column][origin..origin + 4].to_vec());
            let errors = said(&both, column).into_iter().zip(truth).enumerate();
            errors.filter(|(place, _)| steps.contains(&(place % 4))).map(|(_, (said, truth))| (said - truth).powi(2)).sum::<f64>()
        };
        let expected = (error(0) + error(1)) / (2 * 90 * steps.len()) as f64;
        let found = both.mean_square(&columns, 200..290, &steps).expect("windows");
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
    assert_eq!(both.mean_square(&[[f64::NAN; 300]], 200..290, &(0..4)), None);
}
