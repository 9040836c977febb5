//! What a mixture says of its experts: exact, in memory that does not grow, and read while a stream goes on.

use foretoken_model::usage::{MARGINS, RoutedSample, UsageCounters};

/// Gate mass and entropy are counted in steps of 2⁻²⁰.
const UNIT: f64 = 1e-6;

fn sample<'a>(choice: &'a [u32], weights: &'a [f32], leader: usize, before: Option<(usize, u64)>) -> RoutedSample<'a> {
    RoutedSample { choice_k: choice, weights_k: weights, margin: 0.05, leader, before }
}

#[test]
fn every_statistic_is_what_it_says() {
    let counters = UsageCounters::new(3);
    // Leaders 0 0 0 1 0 0: runs of 3 and 1 have ended.
    let leaders = [0, 0, 0, 1, 0, 0usize];
    let (mut before, mut led) = (None, 0);
    for leader in leaders {
        let choice = [leader as u32, 1 - leader as u32];
        counters.record(&sample(&choice, &[0.75, 0.25], leader, before.map(|before| (before, led))));
        led = if before == Some(leader) { led + 1 } else { 1 };
        before = Some(leader);
    }
    let usage = counters.read();
    assert_eq!((usage.samples, usage.near_ties, usage.switches), (6, 0, 2));
    assert_eq!(usage.chosen, [6, 6, 0]);
    assert!((usage.gate_mass[0] - (5.0 * 0.75 + 0.25)).abs() < UNIT);
    let entropy = -(0.75f64 * 0.75f64.ln() + 0.25 * 0.25f64.ln());
    assert!((usage.entropy - entropy).abs() < UNIT);
    assert_eq!(usage.transitions, [[3, 1, 0], [1, 0, 0], [0, 0, 0]]);
    assert!((usage.switch_rate() - 0.4).abs() < 1e-12);
    assert_eq!(usage.run_lengths[..3], [1, 1, 0], "one run of 1, one of 3");
    let bin = MARGINS.iter().position(|&edge| 0.05 < edge).unwrap();
    assert_eq!(usage.margins.iter().sum::<u64>(), usage.margins[bin]);
    assert!((usage.max_violation() - 0.5).abs() < 1e-12);
    assert_eq!(usage.dead_experts(), [2]);
    assert!((usage.coefficient_of_variation() - 0.5f64.sqrt()).abs() < 1e-6);
    counters.clear();
    assert_eq!(counters.read(), UsageCounters::new(3).read());
}

#[test]
fn recent_counts_forget_by_half_every_1024_samples() {
    let counters = UsageCounters::new(2);
    for _ in 0..10_240 {
        counters.record(&sample(&[0], &[1.0], 0, None));
        counters.settle();
    }
    let full = counters.read().recent_chosen[0];
    for _ in 0..1024 {
        counters.record(&sample(&[1], &[1.0], 1, None));
        counters.settle();
    }
    let usage = counters.read();
    assert!((usage.recent_chosen[0] / full - 0.5).abs() < 1e-9 && usage.chosen == [10_240, 1024]);
    assert!(
        (usage.recent_chosen[1] / full - 0.5).abs() < 1e-3 && (usage.recent_gate_mass[1] - usage.recent_chosen[1]).abs() < 1e-3
    );
}

#[test]
fn what_one_call_takes_column_by_column_is_forgotten_alike() {
    let counters = UsageCounters::new(2);
    for _ in 0..5 {
        for expert in 0..2u32 {
            (0..2048).for_each(|_| counters.record(&sample(&[expert], &[1.0], expert as usize, None)));
        }
        counters.settle();
    }
    let recent = counters.read().recent_chosen;
    assert!(recent[0] == recent[1] && recent[0] < 1.1 * 2048.0, "{recent:?}");
}

#[test]
fn a_near_tie_is_counted() {
    let counters = UsageCounters::new(2);
    for margin in [0.0, 9e-6, 2e-5, f32::INFINITY] {
        counters.record(&RoutedSample { margin, ..sample(&[0], &[1.0], 0, None) });
    }
    let usage = counters.read();
    assert_eq!((usage.near_ties, usage.margins[0], usage.margins[MARGINS.len()]), (2, 2, 1));
}

#[test]
fn threads_may_count_and_read_at_once() {
    let counters = UsageCounters::new(2);
    std::thread::scope(|scope| {
        for expert in 0..2u32 {
            let counters = &counters;
            scope.spawn(move || (0..5000).for_each(|_| counters.record(&sample(&[expert], &[1.0], expert as usize, None))));
        }
        assert!(counters.read().samples <= 10_000);
    });
    assert_eq!(counters.read().chosen, [5000, 5000]);
}
