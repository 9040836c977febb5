//! The grid that fits some stamps.
//!
//! Its step is the most frequent difference. Where clocks are early and late, or periods are no whole ticks (thirty frames a second to the millisecond), it
//! is the roundest step with a grid that most are near, hardly fewer follow one another on than on any other, and hardly any is nearer, in parts of ticks if
//! need be. Where there is none, since what is early or late
//! makes all after it so (a loop that sleeps for a minute and works for a moment), but one row follows the other by about a step or several, rows are counted
//! from one to the next, on the grid that the last one is on.

use super::{FINEST, Grid, Step, Unit, differences, place, step};
use crate::{hours::Open, stamps::LARGEST};

/// A difference within this part of a step from so many of them is a step, or several.
const ABOUT: f64 = 0.25;
/// Differences that are, of all, where rows are counted from one to the next.
const MOST: f64 = 0.9;
/// Parts of a file whose steps have to be the same, each to within a part of the step of all, where rows are counted.
const STRETCHES: usize = 4;
const SAME: f64 = 0.1;
/// The most frequent step is not doubted where one in so many stamps speak against it, or there are less than so many at all.
const FEW: usize = 8;
const MANY: usize = 30;
/// So many times fewer gaps make a step of which there are fewer.
const FEWER: usize = 10;
/// One in so many breaks more is no worse, nor are stamps so small a part of a tick further from their places than they can be.
const MORE: usize = 50;
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
    /// So many times the grid of a step of ticks that all are on.
    pub fn told(count: usize, size: i64, civil: bool) -> Self {
        let step = Step { unit: if civil { Unit::Second } else { Unit::Count }, size, parts: 1 };
        Self { grids: vec![Grid { step, phase: 0, anchor: (1, 0) }; count], far: 0, counted: None }
    }

    /// Whether the stamp of a row of a sequence may be a late one of the position before its own.
    pub fn may_be_late(&self, sequence: usize, ticks: i64) -> bool {
        self.counted.is_none() && self.grids[sequence].is_early(ticks)
    }

    /// The position of a row of a sequence, which has these ticks, and whether it is met exactly, or as nearly as ticks can.
    pub fn position(&self, sequence: usize, row: usize, ticks: i64) -> (i64, bool) {
        let grid = &self.grids[sequence];
        match &self.counted {
            Some(counted) => (counted[sequence][row], grid.ticks(counted[sequence][row]) == Some(ticks)),
            None => grid.position(ticks),
        }
    }
}

/// Grids of one step, one a sequence, and what speaks against them.
struct Trial {
    grids: Vec<Grid>,
    /// Stamps that are not even near them.
    far: usize,
    /// Stamps that are not on them.
    unmet: usize,
    /// How far stamps are from their places, in ticks; half a tick is as near as they can be.
    off: f64,
    /// Stamps that do not follow the one before by a step.
    breaks: usize,
}

impl Trial {
    fn of(groups: &[Vec<&[i64]>], grid: impl Fn(&[&[i64]]) -> Grid) -> Self {
        let own = |group: &Vec<&[i64]>| std::iter::repeat_n(grid(group), group.len());
        let grids: Vec<Grid> = groups.iter().flat_map(own).collect();
        let (mut far, mut unmet, mut off, mut breaks) = (0, 0, 0.0, 0);
        for (ticks, grid) in groups.iter().flatten().zip(&grids) {
            far += ticks.iter().filter(|&&ticks| !grid.is_near(ticks)).count();
            unmet += ticks.iter().filter(|&&ticks| !grid.position(ticks).1).count();
            let beyond = |&ticks: &i64| (grid.late(ticks).unsigned_abs() as f64 / grid.step.parts as f64 - 0.5).max(0.0);
            off += ticks.iter().map(beyond).sum::<f64>();
            let follows = |pair: &&[i64]| pair[0] == pair[1] || grid.position(pair[0]).0 + 1 == grid.position(pair[1]).0;
            breaks += ticks.windows(2).filter(|pair| !follows(pair)).count();
        }
        Self { grids, far, unmet, off, breaks }
    }

    fn fit(self) -> Fit {
        Fit { grids: self.grids, far: self.far, counted: None }
    }
}

/// The grid of each of the sequences of some groups: of the most frequent step, if that is most of them and few stamps speak against it; else of the step that
/// most stamps are near, least of them do not follow one another by, and nearly none is nearer, the roundest of those. Where there is none rows may be counted
/// on. Else it is a grid that most stamps are far from.
pub(crate) fn fit(groups: &[Vec<&[i64]>], civil: bool, resolution: u8, open: Option<Open>) -> Fit {
    let all: usize = groups.iter().flatten().map(|ticks| ticks.len()).sum();
    let frequent = step(groups, civil, resolution, open);
    let first = Trial::of(groups, |group| Grid::fit(frequent, group));
    if frequent.size == 0 || !matches!(frequent.unit, Unit::Count | Unit::Second) {
        return first.fit();
    }
    let (count, held) = differences(frequent.unit, groups)
        .fold((0, 0), |(all, held), difference| (all + 1, held + usize::from(difference == frequent.size)));
    let (is_most, is_near) = (2 * held >= count, 2 * first.far <= all);
    if is_most && is_near && (all < MANY || first.unmet + first.breaks <= all / FEW) {
        return first.fit();
    }
    let Some(usual) = Usual::of(groups, frequent.unit) else { return first.fit() };
    let mut steps = round_steps(groups, &usual, frequent.unit, resolution);
    steps.retain(|step| !step.is(&frequent));
    let mut trials: Vec<Trial> = steps.into_iter().map(|step| Trial::of(groups, |group| Grid::amid(step, group))).collect();
    if first.off == 0.0 {
        // Where all are on its grid gaps are gaps, unless they are what is left of a period that is no whole tick.
        trials.retain(|trial| MORE as f64 * trial.off <= all as f64 && FEWER * trial.breaks <= first.breaks);
    }
    trials.insert(if is_most { 0 } else { trials.len() }, first);
    trials.retain(|trial| 2 * trial.far <= all);
    let fewest = trials.iter().map(|trial| trial.breaks).min().unwrap_or(0);
    trials.retain(|trial| trial.breaks <= fewest + fewest / MORE);
    let least = trials.iter().map(|trial| trial.off).fold(f64::INFINITY, f64::min);
    if let Some(trial) = trials.into_iter().find(|trial| trial.off <= ROUND * least) {
        return trial.fit();
    }
    let far = || Trial::of(groups, |group| Grid::amid(Step { size: usual.median, ..frequent }, group)).fit();
    counted(groups, &usual, frequent.unit).unwrap_or_else(far)
}

/// Rows counted from one to the next, by the stamps of each group, where most follow one another by a step or several, the same from beginning to end.
fn counted(groups: &[Vec<&[i64]>], usual: &Usual, unit: Unit) -> Option<Fit> {
    let mean = usual.mean;
    let parts = [1000, 1].into_iter().find(|parts| largest(groups) < LARGEST / parts)? as i64;
    let step = Step { unit, size: (mean * parts as f64).round() as i64, parts };
    let (mut grids, mut positions, mut about, mut all) = (Vec::new(), Vec::new(), 0usize, 0usize);
    for group in groups {
        let mut ticks = group.concat();
        ticks.sort_unstable();
        ticks.dedup();
        for stretch in ticks.chunks(ticks.len().div_ceil(STRETCHES).max(2)) {
            if Usual::of(&[vec![stretch]], unit).is_some_and(|own| (own.mean / mean - 1.0).abs() > SAME) {
                return None;
            }
        }
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
    (about as f64 >= MOST * all as f64).then_some(Fit { grids, far: 0, counted: Some(positions) })
}

/// What lies between stamps that follow one another, in ticks.
struct Usual {
    median: i64,
    /// Of the line through all stamps over their steps, which are counted from one to the next.
    mean: f64,
    /// How far those that are no gaps are from that, in the mean.
    spread: f64,
}

impl Usual {
    /// None where no two stamps differ.
    fn of(groups: &[Vec<&[i64]>], unit: Unit) -> Option<Self> {
        let mut all: Vec<i64> = differences(unit, groups).collect();
        let middle = all.len() / 2;
        let median = if all.is_empty() { None } else { Some(*all.select_nth_unstable(middle).1) }?;
        let ones = || all.iter().filter(|&&difference| is_one(difference, median)).map(|&difference| difference as f64);
        let (count, sum) = ones().fold((0.0, 0.0), |(count, sum), one| (count + 1.0, sum + one));
        let mean = slope(groups, unit, median, sum / count)?;
        Some(Self { median, mean, spread: ones().map(|one| (one - mean).abs()).sum::<f64>() / count })
    }
}

/// Whether a difference is one step: half of the median more or less, or a tick, is no gap and no doubled row.
fn is_one(difference: i64, median: i64) -> bool {
    let off = (difference - median).abs();
    off <= 1 || 2 * i128::from(off) < i128::from(median)
}

/// The slope of the line through the stamps of each sequence by their steps, which are so long or nearly; none of one step.
fn slope(groups: &[Vec<&[i64]>], unit: Unit, median: i64, step: f64) -> Option<f64> {
    let (mut square, mut product) = (0.0, 0.0);
    for ticks in groups.iter().flatten().filter(|ticks| ticks.len() > 1) {
        let first = place(unit, ticks[0]);
        let mut points: Vec<(f64, f64)> = Vec::with_capacity(ticks.len());
        for &ticks in *ticks {
            let at = (place(unit, ticks) - first) as f64;
            let (steps, before) = points.last().copied().unwrap_or((0.0, 0.0));
            let own = if is_one((at - before) as i64, median) { 1.0 } else { ((at - before) / step).round() };
            points.push((steps + own, at));
        }
        let count = points.len() as f64;
        let (steps, at) = points.iter().fold((0.0, 0.0), |(steps, at), point| (steps + point.0 / count, at + point.1 / count));
        square += points.iter().map(|point| (point.0 - steps).powi(2)).sum::<f64>();
        product += points.iter().map(|point| (point.0 - steps) * (point.1 - at)).sum::<f64>();
    }
    (square > 0.0).then(|| product / square)
}

/// The largest of all ticks, without its sign.
fn largest(groups: &[Vec<&[i64]>]) -> u64 {
    let ends = groups.iter().flatten().filter_map(|ticks| Some([*ticks.first()?, *ticks.last()?]));
    ends.flatten().map(i64::unsigned_abs).max().unwrap_or(0)
}

/// Round steps in ticks, the shortest first; those of clocks, where a second has so many.
pub(crate) fn round_sizes(second: Option<i64>) -> impl Iterator<Item = i64> {
    let clocks = CLOCKS.iter().rev().filter_map(move |seconds| seconds.checked_mul(second?));
    let decimals = (0..18).flat_map(|digits| [1, 2, 5].map(|of| of * 10i64.pow(digits)));
    decimals.filter(move |&size| second.is_none_or(|second| size <= second)).chain(clocks)
}

/// Steps near the usual one, the roundest first, then in ever smaller parts of ticks.
fn round_steps(groups: &[Vec<&[i64]>], &Usual { mean, spread, .. }: &Usual, unit: Unit, resolution: u8) -> Vec<Step> {
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
            if new.size > 0
                && off <= spread + 1.0
                && off * longest as f64 <= mean
                && !steps.last().is_some_and(|last| last.is(&new))
            {
                steps.push(new);
            }
        }
    }
    steps
}
