//! Every kernel against its definition in `f64`, and every backward against finite differences of that definition.

use foretoken_kernels::{
    activation, balance,
    evidence::{Evidence, EvidenceGradient},
    experts,
    linear::{Panels, bias_gradient, linear, linear_add, weight_gradient},
    norm, plain, router,
    s4d::{self, S4dGradient, S4dParameters, S4dSystem},
};
use proptest::prelude::*;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;

/// `f32` against `f64` over sums of a few hundred terms of size one.
const VALUES: f64 = 2e-5;
/// Gradients in `f32` against central differences in `f64` (good to 1e-9 themselves), relative to the largest of them.
const GRADIENTS: f64 = 1e-4;
/// Step of the differences: balances truncation h² against rounding 1e-16/h.
const STEP: f64 = 1e-5;

fn draws(seed: u64, len: usize) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.5..1.5)).collect()
}

fn wide(values: &[f32]) -> Vec<f64> {
    values.iter().map(|&value| f64::from(value)).collect()
}

#[track_caller]
fn close(got: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(got.len(), expected.len());
    let scale = expected.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
    for (place, (got, expected)) in got.iter().zip(expected).enumerate() {
        assert!((f64::from(*got) - expected).abs() <= tolerance * scale, "{place}: {got} for {expected} (scale {scale})");
    }
}

/// Compares `gradient` with central differences of `loss` at `x`.
#[track_caller]
fn close_to_differences(gradient: &[f32], x: &[f32], loss: impl Fn(&[f64]) -> f64) {
    let mut x = wide(x);
    let differences: Vec<f64> = (0..x.len())
        .map(|place| {
            let mut at = |shift: f64| {
                let before = x[place];
                x[place] += shift;
                let value = loss(&x);
                x[place] = before;
                value
            };
            (at(STEP) - at(-STEP)) / (2.0 * STEP)
        })
        .collect();
    close(gradient, &differences, GRADIENTS);
}

fn dot(a: &[f64], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * f64::from(*b)).sum()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn products(rows in 0usize..20, k in 0usize..70, m in 1usize..150, seed: u64) {
        let (x, w, bias) = (draws(seed, rows * k), draws(seed + 1, k * m), draws(seed + 2, m));
        let panels = Panels::pack(&w, k, m);
        let expected = |start: &[f32]| -> Vec<f64> {
            (0..rows * m).map(|i| {
                let row = plain::multiply(&wide(&x[i / m * k..][..k]), &wide(&w), m);
                row[i % m] + f64::from(start[i % start.len()])
            }).collect()
        };
        if k > 0 {
            let mut y = vec![f32::NAN; rows * m];
            linear(&x, &panels, Some(&bias), &mut y);
            close(&y, &expected(&bias), VALUES);
            linear(&x, &panels, None, &mut y);
            close(&y, &expected(&[0.0]), VALUES);
            let mut z = draws(seed + 3, rows * m);
            if !z.is_empty() {
                let start = expected(&z);
                linear_add(&x, &panels, &mut z);
                close(&z, &start, VALUES);
            }
            let mut back = vec![f32::NAN; rows * k];
            linear(&y, &Panels::pack_transposed(&w, k, m), None, &mut back);
            let product = |i: usize| (0..m).map(|j| f64::from(y[i / k * m + j]) * f64::from(w[i % k * m + j])).sum();
            close(&back, &(0..rows * k).map(product).collect::<Vec<f64>>(), VALUES);
        }
    }

    #[test]
    fn gradients_of_products(rows in 0usize..20, k in 1usize..200, m in 1usize..40, seed: u64) {
        let (x, dy) = (draws(seed, rows * k), draws(seed + 1, rows * m));
        let (mut dw, mut db) = (vec![1.0; k * m], vec![1.0; m]);
        weight_gradient(&x, &dy, k, m, &mut dw);
        bias_gradient(&dy, &mut db);
        let at = |i: usize, j: usize| (0..rows).map(|r| f64::from(x[r * k + i]) * f64::from(dy[r * m + j])).sum::<f64>() + 1.0;
        close(&dw, &(0..k * m).map(|i| at(i / m, i % m)).collect::<Vec<_>>(), VALUES);
        let bias = |j: usize| (0..rows).map(|r| f64::from(dy[r * m + j])).sum::<f64>() + 1.0;
        close(&db, &(0..m).map(bias).collect::<Vec<_>>(), VALUES);
    }

    #[test]
    fn norms(rows in 0usize..5, d in 1usize..40, seed: u64) {
        let (x, gain, dy) = (draws(seed, rows * d), draws(seed + 1, d), draws(seed + 2, rows * d));
        let value = |x: &[f64], gain: &[f64]| x.chunks(d).flat_map(|x| plain::rms_norm(x, gain)).collect::<Vec<_>>();
        let mut y = vec![f32::NAN; rows * d];
        norm::rms_norm(&x, &gain, &mut y);
        close(&y, &value(&wide(&x), &wide(&gain)), VALUES);
        let (mut dx, mut dgain) = (vec![0.0; rows * d], vec![0.0; d]);
        norm::rms_norm_backward(&x, &gain, &dy, &mut dx, &mut dgain);
        close_to_differences(&dx, &x, |x| dot(&value(x, &wide(&gain)), &dy));
        close_to_differences(&dgain, &gain, |gain| dot(&value(&wide(&x), gain), &dy));
    }

    #[test]
    fn activations(len in 0usize..40, seed: u64) {
        let (x, u, dy) = (draws(seed, len), draws(seed + 1, len), draws(seed + 2, len));
        let mut y = vec![f32::NAN; len];
        let (mut dx, mut du) = (vec![f32::NAN; len], vec![f32::NAN; len]);
        let one = |x: &[f64], f: fn(f64) -> f64| x.iter().map(|&x| f(x)).collect::<Vec<_>>();
        let two = |x: &[f64], u: &[f64], f: fn(f64) -> f64| x.iter().zip(u).map(|(&x, &u)| f(x) * u).collect::<Vec<_>>();

        activation::silu(&x, &mut y);
        close(&y, &one(&wide(&x), plain::silu), VALUES);
        activation::silu_backward(&x, &dy, &mut dx);
        close_to_differences(&dx, &x, |x| dot(&one(x, plain::silu), &dy));

        activation::softplus(&x, &mut y);
        close(&y, &one(&wide(&x), plain::softplus), VALUES);
        activation::softplus_backward(&x, &dy, &mut dx);
        close_to_differences(&dx, &x, |x| dot(&one(x, plain::softplus), &dy));

        activation::swiglu(&x, &u, &mut y);
        close(&y, &two(&wide(&x), &wide(&u), plain::silu), VALUES);
        activation::swiglu_backward(&x, &u, &dy, &mut dx, &mut du);
        close_to_differences(&dx, &x, |x| dot(&two(x, &wide(&u), plain::silu), &dy));
        close_to_differences(&du, &u, |u| dot(&two(&wide(&x), u, plain::silu), &dy));
    }

    #[test]
    fn gated_linear_units(rows in 0usize..4, m in 1usize..40, seed: u64) {
        let (ab, dy) = (draws(seed, 2 * rows * m), draws(seed + 1, rows * m));
        let value = |ab: &[f64]| ab.chunks(2 * m).flat_map(|ab| {
            (0..m).map(|i| ab[i] * plain::sigmoid(ab[m + i])).collect::<Vec<_>>()
        }).collect::<Vec<_>>();
        let (mut y, mut dab) = (vec![f32::NAN; rows * m], vec![f32::NAN; 2 * rows * m]);
        activation::glu(&ab, m, &mut y);
        close(&y, &value(&wide(&ab)), VALUES);
        activation::glu_backward(&ab, m, &dy, &mut dab);
        close_to_differences(&dab, &ab, |ab| dot(&value(ab), &dy));
    }

    #[test]
    fn scans(d in 1usize..40, states in 1usize..7, lengths in prop::collection::vec(0usize..40, 1..4), seed: u64) {
        let missed = seed % 3;
        let offsets: Vec<usize> = lengths.iter().scan(0, |end, len| { *end += len; Some(*end) }).collect();
        let offsets = [vec![0], offsets].concat();
        let rows = offsets[offsets.len() - 1];
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut between = |low: f32, high: f32, len: usize| (0..len).map(|_| rng.random_range(low..high)).collect::<Vec<f32>>();
        let parts = [
            between(-5.0, -1.0, d), between(-1.5, 0.0, d * states), between(-6.0, 6.0, d * states),
            between(-1.0, 1.0, d * states), between(-1.0, 1.0, d * states), between(-1.0, 1.0, d),
        ];
        let (u, dy) = (between(-1.0, 1.0, rows * d), between(-1.0, 1.0, rows * d));
        // No gaps, gaps that are all zero, gaps of every size.
        let gaps: Vec<usize> = match missed {
            0 => Vec::new(),
            1 => vec![0; rows],
            _ => (0..rows).map(|row| [0, 1, 0, 2, 7, 0, 31, 300][(row * 5 + d) % 8]).collect(),
        };
        let value = |parts: &[Vec<f64>; 6], u: &[f64]| {
            let mut y = vec![0.0; rows * d];
            for pair in offsets.windows(2) {
                let mut state = vec![0.0; 2 * d * states];
                for row in pair[0]..pair[1] {
                    s4d::plain_gap(&parameters(parts), gaps.get(row).map_or(0, |&gap| gap as u64), &mut state);
                    s4d::plain_step(&parameters(parts), &u[row * d..][..d], &mut state, &mut y[row * d..][..d]);
                }
            }
            y
        };
        let wide_parts = parts.each_ref().map(|part| wide(part));
        let system = S4dSystem::discretise(d, states, &parameters(&parts));
        let streams = offsets.len() - 1;
        let (mut y, mut again) = (vec![f32::NAN; rows * d], vec![f32::NAN; rows * d]);
        let mut state = vec![0.0; streams * system.state_len()];
        let mut saved = vec![f32::NAN; system.checkpoint_len(&offsets)];
        system.scan(&u, &offsets, &gaps, &mut state, &mut y);
        close(&y, &value(&wide_parts, &wide(&u)), VALUES);
        let mut fresh = vec![0.0; state.len()];
        system.scan_saved(&u, &offsets, &gaps, &mut fresh, &mut again, &mut saved);
        prop_assert_eq!((&y, &state), (&again, &fresh));

        let mut du = vec![f32::NAN; rows * d];
        let mut gradient = S4dGradient::new(&system);
        system.scan_backward(&u, &offsets, &gaps, &saved, &dy, &mut du, &mut gradient);
        close_to_differences(&du, &u, |u| dot(&value(&wide_parts, u), &dy));
        let mut dparts = parts.each_ref().map(|part| vec![0.0f32; part.len()]);
        system.parameter_gradient(&parameters(&parts), &gradient, dparts.each_mut().map(Vec::as_mut_slice));
        for which in 0..6 {
            close_to_differences(&dparts[which], &parts[which], |part| {
                let mut parts = wide_parts.clone();
                parts[which] = part.to_vec();
                dot(&value(&parts, &wide(&u)), &dy)
            });
        }
    }

    #[test]
    fn routers(rows in 1usize..6, experts in 1usize..20, seed: u64) {
        let k = 1 + seed as usize % experts;
        let (logits, dweights) = (draws(seed, rows * experts), draws(seed + 1, rows * experts));
        let each = |logits: &[f64]| logits.chunks(experts).map(<[f64]>::to_vec).collect::<Vec<_>>();

        let mut weights = vec![f32::NAN; rows * experts];
        router::softmax(&logits, experts, &mut weights);
        let value = |logits: &[f64]| each(logits).iter().flat_map(|row| plain::softmax(row)).collect::<Vec<_>>();
        close(&weights, &value(&wide(&logits)), VALUES);
        let mut dlogits = vec![0.0; rows * experts];
        router::softmax_backward(&weights, experts, &dweights, &mut dlogits);
        close_to_differences(&dlogits, &logits, |logits| dot(&value(logits), &dweights));

        let (mut choice, mut weights) = (vec![u32::MAX; rows * k], vec![f32::NAN; rows * k]);
        logits.chunks(experts).zip(choice.chunks_mut(k)).for_each(|(row, choice)| _ = router::choose(row, choice));
        router::softmax_of_chosen(&logits, experts, &choice, k, &mut weights);
        let chosen: Vec<u32> = each(&wide(&logits)).iter().flat_map(|row| plain::top_k(row, k)).collect();
        prop_assert_eq!(&choice, &chosen);
        let value = |logits: &[f64]| each(logits).iter().zip(chosen.chunks(k)).flat_map(|(row, chosen)| {
            plain::softmax(&chosen.iter().map(|&e| row[e as usize]).collect::<Vec<_>>())
        }).collect::<Vec<_>>();
        close(&weights, &value(&wide(&logits)), VALUES);
        let mut dlogits = vec![0.0; rows * experts];
        router::softmax_of_chosen_backward(&choice, &weights, &dweights[..rows * k], experts, k, &mut dlogits);
        close_to_differences(&dlogits, &logits, |logits| dot(&value(logits), &dweights[..rows * k]));

        let mut counts = vec![0; experts];
        choice.iter().for_each(|&expert| counts[expert as usize] += 1);
        let mut probabilities = vec![f32::NAN; rows * experts];
        router::softmax(&logits, experts, &mut probabilities);
        let loss = |p: &[f64]| plain::switch_loss(&each(p), &counts);
        close(&[balance::switch_loss(&probabilities, &counts) as f32], &[loss(&wide(&probabilities))], VALUES);
        let slope: Vec<f32> = balance::switch_slope(&probabilities, &counts).iter().map(|&slope| slope as f32).collect();
        close_to_differences(&slope.repeat(rows), &probabilities, loss);

        let loss = |logits: &[f64]| plain::z_loss(&each(logits));
        close(&[balance::z_loss(&logits, experts) as f32], &[loss(&wide(&logits))], VALUES);
        let mut dlogits = vec![0.0; rows * experts];
        balance::z_loss_backward(&logits, experts, 3.0, &mut dlogits);
        close_to_differences(&dlogits, &logits, |logits| 3.0 * loss(logits));

        let values: Vec<f32> = (0..experts).map(|i| 1.5 + logits[i]).collect();
        let slope: Vec<f32> = balance::squared_variation_slope(&wide(&values)).iter().map(|&slope| slope as f32).collect();
        close_to_differences(&slope, &values, balance::squared_variation);

        let (raw, normal) = (draws(seed + 2, logits.len()), draws(seed + 3, logits.len()));
        let value = |raw: &[f64]| {
            (0..raw.len()).map(|i| f64::from(logits[i]) + 0.7 * f64::from(normal[i]) * plain::softplus(raw[i])).collect::<Vec<_>>()
        };
        let mut noisy = vec![f32::NAN; logits.len()];
        router::noisy_logits(&logits, &raw, &normal, 0.7, &mut noisy);
        close(&noisy, &value(&wide(&raw)), VALUES);
        let mut draw = vec![0.0; raw.len()];
        router::noisy_logits_backward(&raw, &normal, 0.7, &dweights, &mut draw);
        close_to_differences(&draw, &raw, |raw| dot(&value(raw), &dweights));
    }

    #[test]
    fn evidence_filters(experts in 1usize..6, lags in 1usize..5, rows in 1usize..12, seed: u64) {
        let width = lags + 2;
        let (signal, weights) = (draws(seed, rows * width), draws(seed + 1, rows * experts));
        let parts = [draws(seed + 2, experts * lags), draws(seed + 3, experts), draws(seed + 4, experts)];
        let models = |parts: &[Vec<f64>; 3]| -> f64 {
            let [lags_ep, bias_e, log_deviation_e] = parts.each_ref().map(Vec::as_slice);
            let models = Evidence { lags_ep, bias_e, log_deviation_e, switching: 0.1 };
            let mut posterior = vec![0.0f64; experts];
            signal.chunks(width).zip(weights.chunks(experts)).map(|(signal, weights)| {
                let loss = models.step(signal, &mut posterior, |l| l);
                let sum: f64 = posterior.iter().map(|l| l.exp()).sum();
                assert!((sum - 1.0).abs() < 1e-9, "a posterior");
                0.7 * loss + dot(&posterior, weights)
            }).sum()
        };
        let [lags_ep, bias_e, log_deviation_e] = parts.each_ref().map(Vec::as_slice);
        let fast = Evidence { lags_ep, bias_e, log_deviation_e, switching: 0.1 };
        let mut posteriors = vec![vec![0.0f32; experts]];
        for signal in signal.chunks(width) {
            let mut posterior = posteriors[posteriors.len() - 1].clone();
            fast.step(signal, &mut posterior, |l| l as f32);
            posteriors.push(posterior);
        }
        let mut gradients = parts.each_ref().map(|part| vec![0.0f32; part.len()]);
        let [lags_ep, bias_e, log_deviation_e] = &mut gradients;
        let mut into = EvidenceGradient { lags_ep, bias_e, log_deviation_e };
        let mut dposterior = vec![0.0; experts];
        for row in (0..rows).rev() {
            dposterior.iter_mut().zip(&weights[row * experts..]).for_each(|(dl, &weight)| *dl += f64::from(weight));
            let signal = &signal[row * width..(row + 1) * width];
            fast.step_backward(signal, &posteriors[row], &posteriors[row + 1], 0.7, &mut dposterior, &mut into);
        }
        let wide_parts = parts.each_ref().map(|part| wide(part));
        for which in 0..3 {
            close_to_differences(&gradients[which], &parts[which], |part| {
                let mut parts = wide_parts.clone();
                parts[which] = part.to_vec();
                models(&parts)
            });
        }
    }

    #[test]
    fn grouped_experts(rows in 1usize..12, experts in 1usize..7, d in 1usize..20, seed: u64) {
        let k = 1 + seed as usize % experts;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let choice: Vec<u32> = (0..rows).flat_map(|_| {
            let mut all: Vec<u32> = (0..experts as u32).collect();
            all.shuffle(&mut rng);
            all.truncate(k);
            all
        }).collect();
        let (mut order, mut place, mut spans) = (vec![0; rows * k], vec![0; rows * k], vec![0; experts + 1]);
        experts::group(&choice, experts, &mut order, &mut spans);
        experts::invert(&order, &mut place);
        let mut expected: Vec<u32> = (0..(rows * k) as u32).collect();
        expected.sort_by_key(|&assignment| choice[assignment as usize]);
        prop_assert_eq!(&order, &expected);
        prop_assert!((0..rows * k).all(|assignment| order[place[assignment] as usize] as usize == assignment));

        let offsets = [0, rows / 3, rows / 3, rows];
        for expert in 0..experts {
            let mine = &order[spans[expert]..spans[expert + 1]];
            let mut segments = [usize::MAX; 4];
            experts::segments_of(mine, k, &offsets, &mut segments);
            let before = |row: usize| mine.iter().filter(|&&assignment| (assignment as usize / k) < row).count();
            prop_assert_eq!(segments, offsets.map(before));
        }

        let (x, weights, dy) = (draws(seed, rows * d), draws(seed + 1, rows * k), draws(seed + 2, rows * d));
        let mut grouped = vec![f32::NAN; rows * k * d];
        experts::gather(&x, d, k, &order, &mut grouped);
        // Each expert scales its rows by its number plus one.
        let scale = |assignment: usize| f64::from(choice[assignment] + 1);
        let value = |x: &[f64], weights: &[f64]| (0..rows * d).map(|i| {
            (0..k).map(|slot| i / d * k + slot).map(|a| weights[a] * scale(a) * x[i]).sum::<f64>()
        }).collect::<Vec<_>>();
        let at = |i: usize| scale(order[i / d] as usize) as f32;
        let out: Vec<f32> = grouped.iter().enumerate().map(|(i, value)| value * at(i)).collect();
        let mut y = vec![f32::NAN; rows * d];
        experts::combine(&out, d, k, &place, &weights, &mut y);
        close(&y, &value(&wide(&x), &wide(&weights)), VALUES);
        let (mut dout, mut dweights) = (vec![f32::NAN; out.len()], vec![f32::NAN; rows * k]);
        experts::combine_backward(&out, d, k, &order, &place, &weights, &dy, &mut dout, &mut dweights);
        close_to_differences(&dweights, &weights, |weights| dot(&value(&wide(&x), weights), &dy));
        dout.iter_mut().enumerate().for_each(|(i, value)| *value *= at(i));
        let mut dx = vec![0.0; rows * d];
        experts::gather_backward(&dout, d, k, &place, &mut dx);
        close_to_differences(&dx, &x, |x| dot(&value(x, &wide(&weights)), &dy));
    }
}

fn parameters<R>(parts: &[Vec<R>; 6]) -> S4dParameters<'_, R> {
    let [log_step, log_neg_re, im, c_re, c_im, skip] = parts;
    S4dParameters { log_step, log_neg_re, im, c_re, c_im, skip }
}

#[test]
fn ties_go_to_the_lower_index_and_are_counted() {
    let (mut choice, mut weights) = ([9; 2], [0.0; 2]);
    assert_eq!((router::choose(&[0.5, 1.0, 0.5, 1.0], &mut choice), choice), (0.5, [1, 3]));
    router::softmax_of_chosen(&[0.5, 1.0, 0.5, 1.0], 4, &choice, 2, &mut weights);
    assert_eq!(weights, [0.5, 0.5]);
    assert_eq!((router::choose(&[1.0, 1.0, 1.0, 0.0], &mut choice), choice), (0.0, [0, 1]));
    assert_eq!(router::choose(&[0.0, 1.0], &mut choice), f32::INFINITY);
}

#[test]
fn a_score_that_is_not_finite_is_named() {
    let mut logits = [0.0; 6];
    logits[4] = f32::NAN;
    let error = Err(router::NonFiniteLogit { row: 1, expert: 1 });
    assert_eq!(router::all_finite(&logits, 3), error);
}

#[test]
fn balance_loss_is_one_at_perfect_balance() {
    let loss = balance::switch_loss(&[0.25; 12], &[3, 3, 3, 3]);
    assert!((loss - 1.0).abs() < 1e-12, "{loss}");
    assert_eq!(balance::squared_variation(&[3.0; 4]), 0.0);
}

#[test]
fn evidence_never_becomes_infinitely_sure() {
    // A model that fits a stuck signal perfectly, its deviation driven as low as can be; then a step.
    let models = Evidence { lags_ep: &[1.0, 0.0], bias_e: &[0.0, 0.0], log_deviation_e: &[-80.0, 0.0], switching: 0.01 };
    let mut posterior = [0.0f32; 2];
    for signal in [[1.0f32, 1.0]; 50].into_iter().chain([[1.0, 1e30], [1e30, 1e30], [1.0, 1.0]]) {
        let loss = models.step(&signal, &mut posterior, |l| l as f32);
        assert!(loss.is_finite() && posterior.iter().all(|l| l.is_finite()), "{posterior:?}");
    }
    let (mut lags, mut bias, mut deviation) = ([0.0f32; 2], [0.0f32; 2], [0.0f32; 2]);
    let mut into = EvidenceGradient { lags_ep: &mut lags, bias_e: &mut bias, log_deviation_e: &mut deviation };
    let mut dposterior = [1.0, -1.0];
    let before = posterior;
    models.step(&[1.0, 1e30], &mut posterior, |l| l as f32);
    models.step_backward(&[1.0, 1e30], &before, &posterior, 1.0, &mut dposterior, &mut into);
    assert_eq!(into.log_deviation_e[0], 0.0, "no slope below the least deviation");
    assert!(lags.iter().chain(&bias).chain(&deviation).all(|gradient| gradient.is_finite()));
}
