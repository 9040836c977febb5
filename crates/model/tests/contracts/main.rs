//! The contracts of a layer, run over every registered kind, every option and a layer that a stranger added.

mod case;
mod checkpointing;
mod gradients;
mod leaky;

use case::{Case, all, draws, rows_of, small, wide};
use foretoken_model::{
    layer::{Pass, Rows, Workspace},
    plain::{PlainPass, Sample},
    trace::Trace,
};

/// `f32` with its own polynomials against `f64`, through a few layers and some dozen samples, relative to the largest output.
const PLAIN: f64 = 3e-5;
/// Scores closer than this may be ordered otherwise in `f64`.
const NEAR_TIE: f64 = 1e-5;
/// A row's gate weights sum to one within a few roundings.
const GATE_SUM: f32 = 1e-6;

/// Lengths of ragged streams, one of them empty, none a multiple of a kernel's stretch.
const RAGGED: [usize; 4] = [37, 0, 21, 5];

#[test]
fn contract_1_same_bits_for_any_split_and_any_streams() {
    for case in all() {
        let streams = case.streams(&RAGGED);
        let (together, state) = case.run(&streams, 1000);
        for step in [1, 3, 16] {
            assert!((together.clone(), state.clone()) == case.run(&streams, step), "{}: {step} rows a call", case.name);
        }
        for (stream, expected) in streams.iter().zip(&together) {
            assert!(case.run(std::slice::from_ref(stream), 7).0[0] == *expected, "{}: a stream alone", case.name);
        }
    }
}

#[test]
fn contract_1_same_bits_for_any_number_of_threads() {
    let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
    for case in all().iter().filter(|case| case.widths.0 >= 32) {
        let streams = case.streams(&[1500, 700, 1500, 900]);
        let train = |threads| pool(threads).install(|| gradients::fast(case, &streams, 9, 4));
        let run = |threads| pool(threads).install(|| case.run(&streams, 10_000));
        assert!(run(1) == run(2), "{}: run", case.name);
        assert!(train(1) == train(2), "{}: forward and backward", case.name);
    }
}

#[test]
fn contract_1_experts_beside_each_other_give_the_bits_of_one_after_the_other() {
    // Many experts of few rows each, with states and losses of their own: what runs over threads by experts.
    let inner = "{ type = 'mixture', num_experts = 2, top_k = 1, bias_rate = 0.01, renormalise = false, experts = [{ type = 's4d', states = 2 }] }";
    for clock in ["routed", "elapsed", "every"] {
        let options = format!(
            "num_experts = 10\nclock = '{clock}'\nexperts = [{inner}, {{ type = 'swiglu' }}, {{ type = 's4d', states = 2 }}]"
        );
        let case = Case::of("mixture", &options, (8, 8));
        let streams = case.streams(&[400, 0, 450]);
        let pool = |threads| rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let all = |threads| pool(threads).install(|| (case.run(&streams, 10_000), gradients::fast(&case, &streams, 9, 4)));
        assert!(all(1) == all(2) && all(2) == all(3), "{clock}");
    }
}

#[test]
fn contract_1_the_plain_step_is_the_definition() {
    for case in all() {
        let streams = case.streams(&RAGGED);
        let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
        let mut trace = Trace::default();
        let y: Vec<f32> = case.call(&rows, &mut case.engine.state(rows.len()), Some(&mut trace)).concat();
        let mut pass = PlainPass { forced: Some(choices(&trace)), ..PlainPass::default() };
        let inputs: Vec<Vec<f64>> = streams.iter().map(|x| wide(x)).collect();
        let plain = case.plain(&wide(&case.arena), &inputs, &mut pass);
        let scale = plain.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
        for (place, (fast, plain)) in y.iter().zip(&plain).enumerate() {
            assert!((f64::from(*fast) - plain).abs() <= PLAIN * scale, "{} at {place}: {fast}, plain {plain}", case.name);
        }
        check_choices(&case, &trace, &pass);
    }
}

/// `[mixture][row][slot]` of one call, stream after stream.
fn choices(trace: &Trace) -> Vec<Vec<Vec<u32>>> {
    let of = |mixture: &foretoken_model::trace::MixtureTrace| {
        mixture.streams.iter().flat_map(|stream| stream.choices.chunks(mixture.top_k)).map(<[u32]>::to_vec).collect()
    };
    trace.mixtures.iter().map(of).collect()
}

/// Contract 9: what the fast router chose is what the definition chooses, unless it is a near tie; gate weights sum as the gate says.
fn check_choices(case: &Case, trace: &Trace, pass: &PlainPass) {
    for mixture in case.engine.mixtures() {
        let Some(routed) = pass.routed.get(mixture.id()) else { continue };
        let streams = trace.mixtures.get(mixture.id()).map_or(&[][..], |own| &own.streams);
        let k = mixture.top_k();
        let slots: Vec<(&[u32], &[f32])> =
            streams.iter().flat_map(|stream| stream.choices.chunks(k).zip(stream.weights.chunks(k))).collect();
        assert_eq!(slots.len(), routed.len(), "{}", case.name);
        for (row, ((choice, weights), routed)) in slots.into_iter().zip(routed).enumerate() {
            if let Some(expected) = mixture.router().weight_sum() {
                let sum: f32 = weights.iter().sum();
                assert!((sum - expected).abs() <= GATE_SUM * expected, "{} row {row}: gate weights sum to {sum}", case.name);
            }
            if mixture.router().options().strategy.kind().every {
                continue;
            }
            let select = &routed.select;
            let mut order: Vec<usize> = (0..select.len()).collect();
            order.sort_by(|&a, &b| select[b].total_cmp(&select[a]));
            for (&expert, &best) in choice.iter().zip(&order) {
                let difference = select[best] - select[expert as usize];
                assert!(difference.abs() < NEAR_TIE, "{} row {row}: chose {expert}, best {best}", case.name);
            }
        }
    }
}

#[test]
fn contract_2_and_10_forward_gives_the_bits_and_the_states_of_run() {
    for case in all() {
        let streams = case.streams(&RAGGED);
        let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
        let (packed, offsets) = case.pack(&rows);
        let mut state = case.engine.state(rows.len());
        let mut y = vec![f32::NAN; offsets[rows.len()] * case.widths.1];
        let context = case.context(&packed);
        case.engine.forward(rows_of(&packed, &offsets, &context), &mut state, &mut y, &mut Pass::quiet()).unwrap();
        let (run, run_state) = case.run(&streams, 1000);
        let bits: Vec<u32> = y.into_iter().map(f32::to_bits).collect();
        assert!(bits == run.concat() && state == run_state, "{}", case.name);
    }
}

#[test]
fn contract_10_a_gap_is_what_the_definition_says_it_is() {
    for case in all().iter().filter(|case| case.layer.can_elapse()) {
        let x = case.streams(&[40]).remove(0);
        let gaps: Vec<usize> = (0..40).map(|row| [0, 0, 3, 0, 1, 17, 0, 120][row % 8]).collect();
        let context = case.context(&x);
        let rows = |from: usize, to: usize| Rows {
            gaps: &gaps[from..to],
            ..rows_of(&x[from * case.widths.0..to * case.widths.0], &[], &context[from * 4..to * 4])
        };
        let run = |cuts: &[usize]| {
            let (mut state, mut y, mut trace) = (case.engine.state(1), Vec::new(), Trace::default());
            for pair in cuts.windows(2) {
                let offsets = [0, pair[1] - pair[0]];
                let mut workspace = Workspace::default();
                workspace.reserve(case.engine.scratch(offsets[1], 1));
                let mut scratch = workspace.scratch();
                scratch.trace = Some(&mut trace);
                let mut out = vec![f32::NAN; offsets[1] * case.widths.1];
                let rows = Rows { offsets: &offsets, ..rows(pair[0], pair[1]) };
                case.engine.run(rows, &mut state, &mut out, &mut scratch).unwrap();
                y.extend(out);
            }
            (y, state, trace)
        };
        let whole = run(&[0, 40]);
        assert!(run(&[0, 5, 6, 23, 40]) == whole, "{}: any split", case.name);
        let mut state = case.engine.state(1);
        let mut y = vec![f32::NAN; 40 * case.widths.1];
        let all = Rows { offsets: &[0, 40], ..rows(0, 40) };
        case.engine.forward(all, &mut state, &mut y, &mut Pass::quiet()).unwrap();
        assert!(y == whole.0 && state == whole.1, "{}: forward", case.name);
        let mut pass = PlainPass { forced: Some(choices(&whole.2)), ..PlainPass::default() };
        let (arena, mut plain_state) = (wide(&case.arena), case.layer.plain_state());
        let mut plain = Vec::new();
        for (x, &gap) in wide(&x).chunks(case.widths.0).zip(&gaps) {
            let sample = Sample { x, gap: gap as u64, context: &x[..4] };
            plain.extend(case.layer.plain_step(&arena, sample, &mut plain_state, &mut pass));
        }
        let scale = plain.iter().fold(1.0f64, |scale, value| scale.max(value.abs()));
        for (place, (fast, plain)) in y.iter().zip(&plain).enumerate() {
            assert!((f64::from(*fast) - plain).abs() <= PLAIN * scale, "{} at {place}: {fast}, plain {plain}", case.name);
        }
    }
}

#[test]
fn contract_3_causal() {
    for case in all() {
        let streams = case.streams(&[30, 12]);
        let (before, _) = case.run(&streams, 1000);
        for t in [0, 11, 29] {
            let mut changed = streams.clone();
            changed[0][t * case.widths.0..][..case.widths.0].copy_from_slice(&draws(77, case.widths.0));
            let (after, _) = case.run(&changed, 1000);
            let place = t * case.widths.1;
            assert!(after[0][..place] == before[0][..place] && after[1] == before[1], "{}: the past changed", case.name);
            assert!(after[0][place..] != before[0][place..], "{}: the sample has no effect", case.name);
        }
    }
}

#[test]
fn contract_6_reset_and_restore_give_the_bits_of_never_having_stopped() {
    for case in all() {
        let streams = case.streams(&[24, 9]);
        let (expected, _) = case.run(&streams, 1000);
        let halves = |from: usize, to: usize| -> Vec<Vec<f32>> {
            streams.iter().map(|x| x[(from * case.widths.0).min(x.len())..(to * case.widths.0).min(x.len())].to_vec()).collect()
        };
        let call = |rows: &[Vec<f32>], state: &mut _| {
            let rows: Vec<&[f32]> = rows.iter().map(Vec::as_slice).collect();
            case.call(&rows, state, None)
        };
        let mut state = case.engine.state(2);
        let first = call(&halves(0, 10), &mut state);
        let saved = serde_json::to_string(&state).unwrap();
        call(&halves(10, 24), &mut state);
        let mut restored = serde_json::from_str(&saved).unwrap();
        let second = call(&halves(10, 24), &mut restored);
        for stream in 0..2 {
            let bits: Vec<u32> = [&first[stream], &second[stream]].into_iter().flatten().map(|value| value.to_bits()).collect();
            assert!(bits == expected[stream], "{}: restored", case.name);
        }
        state.reset();
        assert!(state == case.engine.state(2), "{}: reset", case.name);
    }
}

#[test]
fn contract_6_usage_and_state_reset_apart() {
    for case in small() {
        let streams = case.streams(&[8]);
        let (expected, _) = case.run(&streams, 1000);
        let mut state = case.engine.state(1);
        case.call(&[&streams[0]], &mut state, None);
        for mixture in case.engine.mixtures() {
            let usage = mixture.live_usage().read();
            assert_eq!(usage.chosen.iter().sum::<u64>(), usage.samples * mixture.top_k() as u64, "{}", case.name);
            if let Some(sum) = mixture.router().weight_sum() {
                let expected = f64::from(sum) * usage.samples as f64;
                assert!((usage.gate_mass.iter().sum::<f64>() - expected).abs() < 1e-3, "{}", case.name);
            }
            mixture.live_usage().clear();
        }
        let before = state.clone();
        assert!(case.engine.mixtures().iter().all(|mixture| mixture.live_usage().read().samples == 0));
        assert!(state == before && case.run(&streams, 3).0 == expected, "{}", case.name);
        let used: Vec<u64> = case.engine.mixtures().iter().map(|mixture| mixture.live_usage().read().samples).collect();
        state.reset();
        let after: Vec<u64> = case.engine.mixtures().iter().map(|mixture| mixture.live_usage().read().samples).collect();
        assert_eq!(used, after, "{}", case.name);
    }
}

#[test]
fn contract_7_scratch_may_hold_anything() {
    for case in small() {
        let streams = case.streams(&[13, 4]);
        let rows: Vec<&[f32]> = streams.iter().map(Vec::as_slice).collect();
        let (packed, offsets) = case.pack(&rows);
        let mut workspace = Workspace::default();
        let context = case.context(&packed);
        let need = case.engine.scratch(17, 2);
        workspace.reserve(need);
        let mut run = || {
            let mut y = vec![f32::NAN; 17 * case.widths.1];
            let rows = rows_of(&packed, &offsets, &context);
            case.engine.run(rows, &mut case.engine.state(2), &mut y, &mut workspace.scratch()).unwrap();
            y.into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        // Junk first, then what the last call left behind.
        let (first, second) = (run(), run());
        assert!(first == second && first == case.run(&streams, 1000).0.concat(), "{}", case.name);
    }
}

#[test]
fn contract_8_hostile_input_stays_finite() {
    for case in small() {
        let width = case.widths.0;
        let signals: [(&str, Vec<f32>); 4] = [
            ("a large constant", vec![1e6; 3000 * width]),
            ("large steps", (0..3000 * width).map(|i| if (i / width / 7) % 2 == 0 { 1e6 } else { -1e6 }).collect()),
            ("silence after a pulse", (0..20_000 * width).map(|i| if i < width { 1.0 } else { 0.0 }).collect()),
            ("next to nothing", vec![f32::MIN_POSITIVE; 3000 * width]),
        ];
        for (name, signal) in signals {
            let mut state = case.engine.state(1);
            let y = case.call(&[&signal], &mut state, None).concat();
            assert!(y.iter().all(|value| value.is_finite()) && state.is_finite(), "{}: {name}", case.name);
        }
    }
}
