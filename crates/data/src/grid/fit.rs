//! The grid that fits some stamps.
//!
//! Its step is the most frequent difference. Where clocks are early and late, or periods are no whole ticks (thirty frames a second to the millisecond), it
//! is the roundest step amid all differences with a grid that most are near, in parts of ticks if need be. Where there is none, since what is early or late
//! makes all after it so (a loop that sleeps for a minute and works for a moment), but one row follows the other by about a step or several, rows are counted
//! from one to the next, on the grid that the last one is on.

use super::{FINEST, Grid, Step, Unit, differences, step_past};
use crate::stamps::LARGEST;

/// A difference within this part of a step from so many of them is a step, or several.
const ABOUT: f64 = 0.25;
/// Differences that are, of all, where rows are counted from one to the next.
const MOST: f64 = 0.9;
/// A rounder step may have its stamps so many times as far from their places as the nearest one.
const ROUND: f64 = 1.1;
/// Steps of clocks, in seconds.
const CLOCKS: [i64; 20] =
    [86_400, 43_200, 21_600, 14_400, 10_800, 7_200, 3_600, 1_800, 1_200, 900, 600, 300, 120, 60, 30, 20, 15, 10, 5, 2];

/// The grids of some groups of sequences of sorted ticks, one a sequence.
pub(crate) struct Fit {
    pub grids: Vec<Grid>,
    /// Stamps that are not even near their grid.
    pub far: usize,
    /// Where rows are counted from one to the next, by sequence.
    counted: Option<Vec<Vec<i64>>>,
}

impl Fit {
    /// The position of a row of a sequence, which has these ticks, and whether it is met exactly, or as nearly as ticks can.
    pub fn position(&self, sequence: usize, row: usize, ticks: i64) -> (i64, bool) {
        let grid = &self.grids[sequence];
        match &self.counted {
            Some(counted) => (counted[sequence][row], grid.ticks(counted[sequence][row]) == Some(ticks)),
            None => grid.position(ticks),
        }
    }
}

/// The grid of each of the sequences of some groups: of the most frequent step, or where not most stamps are near that, or they have fractions and not most
/// differences are it, of the roundest that three of four are near and none is much nearer; or that rows are counted on. Of the most frequent step where there is none.
pub(crate) fn fit(groups: &[Vec<&[i64]>], civil: bool, resolution: u8, weekends: usize) -> Fit {
    let all: usize = groups.iter().flatten().map(|ticks| ticks.len()).sum();
    let frequent = step_past(groups, civil, resolution, weekends);
    let fitted = |grid: &dyn Fn(&[&[i64]]) -> Grid| {
        let own = |group: &Vec<&[i64]>| std::iter::repeat_n(grid(group), group.len());
        let grids: Vec<Grid> = groups.iter().flat_map(own).collect();
        let (mut far, mut off) = (0, 0.0);
        for (ticks, grid) in groups.iter().flatten().zip(&grids) {
            far += ticks.iter().filter(|&&ticks| !grid.is_near(ticks)).count();
            // Half a tick is as near as they can be.
            let beyond = |&ticks: &i64| grid.late(ticks).unsigned_abs().saturating_sub(grid.step.parts as u64 / 2) as f64;
            off += ticks.iter().map(beyond).sum::<f64>() / grid.step.parts as f64;
        }
        (grids, far, off)
    };
    let (grids, far, _) = fitted(&|group| Grid::fit(frequent, group));
    let alike = || {
        let (all, held) = differences(frequent.unit, groups)
            .fold((0, 0), |(all, held), difference| (all + 1, held + usize::from(difference == frequent.size)));
        2 * held >= all
    };
    if 2 * far <= all && (resolution == 0 || alike()) || !matches!(frequent.unit, Unit::Count | Unit::Second) {
        return Fit { grids, far, counted: None };
    }
    let steps = round_steps(groups, frequent.unit, resolution).into_iter();
    let mut round: Vec<_> = steps.map(|step| fitted(&|group| Grid::amid(step, group))).collect();
    round.retain(|(_, far, _)| *far <= all / 4);
    let least = round.iter().map(|(.., off)| *off).fold(f64::INFINITY, f64::min);
    match round.into_iter().find(|(.., off)| *off <= ROUND * least) {
        Some((grids, far, _)) => Fit { grids, far, counted: None },
        None => counted(groups, frequent.unit).unwrap_or(Fit { grids, far, counted: None }),
    }
}

/// Rows counted from one to the next, by the stamps of each group, where most follow one another by a step or several.
fn counted(groups: &[Vec<&[i64]>], unit: Unit) -> Option<Fit> {
    let (mean, _) = usual(&differences(unit, groups).collect::<Vec<_>>())?;
    let parts = [1000, 1].into_iter().find(|parts| largest(groups) < LARGEST / parts)? as i64;
    let step = Step { unit, size: (mean * parts as f64).round() as i64, parts };
    let (mut grids, mut positions, mut about, mut all) = (Vec::new(), Vec::new(), 0, 0);
    for group in groups {
        let mut ticks = group.concat();
        ticks.sort_unstable();
        ticks.dedup();
        let &last = ticks.last()?;
        let grid = Grid { step, phase: (last * parts).rem_euclid(step.size.max(1)), anchor: (1, 0) };
        let (mut places, mut before) = (vec![0; ticks.len()], grid.position(last).0);
        for at in (0..ticks.len()).rev() {
            let steps = ticks.get(at + 1).map_or(0.0, |next| (next - ticks[at]) as f64 / mean);
            all += 1;
            about += usize::from((steps - steps.round()).abs() <= ABOUT && (steps > ABOUT || at + 1 == ticks.len()));
            before -= steps.round() as i64;
            places[at] = before;
        }
        for sequence in group {
            let place = |ticks_of: &i64| places[ticks.partition_point(|ticks| ticks < ticks_of)];
            positions.push(sequence.iter().map(place).collect());
            grids.push(grid.clone());
        }
    }
    (about as f64 >= MOST * f64::from(all)).then_some(Fit { grids, far: 0, counted: Some(positions) })
}

/// The mean of the differences that are no gaps, and how far they are from it in the mean; none of none.
fn usual(differences: &[i64]) -> Option<(f64, f64)> {
    let mut all = differences.to_vec();
    let middle = all.len() / 2;
    let median = if all.is_empty() { None } else { Some(*all.select_nth_unstable(middle).1 as f64) }?;
    all.retain(|&difference| (difference as f64 / median - 1.0).abs() < 0.5);
    let mean = |of: &dyn Fn(f64) -> f64| all.iter().map(|&difference| of(difference as f64)).sum::<f64>() / all.len() as f64;
    let middle = mean(&|difference| difference);
    Some((middle, mean(&|difference| (difference - middle).abs())))
}

/// The largest of all ticks, without its sign.
fn largest(groups: &[Vec<&[i64]>]) -> u64 {
    let ends = groups.iter().flatten().filter_map(|ticks| Some([*ticks.first()?, *ticks.last()?]));
    ends.flatten().map(i64::unsigned_abs).max().unwrap_or(0)
}

/// Steps amid all differences, the roundest first, then in ever smaller parts of ticks.
fn round_steps(groups: &[Vec<&[i64]>], unit: Unit, resolution: u8) -> Vec<Step> {
    let Some((mean, spread)) = usual(&differences(unit, groups).collect::<Vec<_>>()) else { return Vec::new() };
    let second = 10i64.pow(resolution.into());
    let clocks = CLOCKS.iter().filter(|_| unit == Unit::Second).filter_map(|seconds| seconds.checked_mul(second));
    let decimals = (0..18).rev().flat_map(|digits| [5, 2, 1].map(|of| of * 10i64.pow(digits)));
    let decimals = decimals.filter(|&size| unit == Unit::Count || size <= second);
    let sizes: Vec<i64> = clocks.chain(decimals).collect();
    let (largest, longest) = (largest(groups), groups.iter().flatten().map(|ticks| ticks.len()).max().unwrap_or(0));
    let mut steps: Vec<Step> = Vec::new();
    for parts in (0..=FINEST.saturating_sub(resolution)).step_by(3).map(|digits| 10i64.pow(digits.into())) {
        if largest >= LARGEST / parts as u64 {
            break;
        }
        // Below a tick, what was not tried before.
        let finer = [500, 200, 100, 50, 20, 10, 5, 2, 1];
        for &size in if parts == 1 { &sizes[..] } else { &finer[..] } {
            let times = (mean * parts as f64 / size as f64).round();
            let new = Step { unit, size: times as i64 * size, parts };
            let off = (new.size as f64 / parts as f64 - mean).abs();
            // Rows that drift from their places by more than a step are near few of them.
            if new.size > 0 && off <= spread + 1.0 && off * longest as f64 <= mean && steps.last() != Some(&new) {
                steps.push(new);
            }
        }
    }
    steps
}
