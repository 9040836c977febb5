//! Split conformal calibration: factors of the quantiles' distances from the median, from rows that were held back from training.
//!
//! Errors are compared with distances, so a window that was said to be uncertain counts for as much as one that was not. Neighbouring steps share what is
//! learned: the horizon is cut into blocks that double in length, and between their middles all is interpolated. A column has a factor of its own:
//!
//! ```text
//! s_c = (n·u_c + ROWS·u)/((n + ROWS)·u)       u_c: mean |y − m| over the mean distance from m, in the column; u: the mean of all u_c; n: its rows
//! ```
//! Or, with `held_back`, that part of a distance is its mean over all held-back windows times s_c, where u_c is the mean |y − m| of the column in the block,
//! and the network's part has no factor a column.
//!
//! Counts, latencies and what is mostly zero lie to one side of a point forecast that errs least in squares. Where that is beyond doubt in a column, in the earlier
//! half of the rows and in the later, the median is moved by the median error, and all errors are taken from there (`OFF`).
//!
//! Forecasts h steps ahead overlap, so that n rows hold n/h of them that are independent. As many errors tell a deviation as Student's t has it:
//! distances at h steps are t_ν(level)/z(level) times as far, ν = n/h over all columns.

use crate::validate::{held_back, is_wanted};
use distrs::{Normal, StudentsT};
use foretoken_kernels::thinned::place_of;
use foretoken_model::{
    Beside, Forecaster, ModelError,
    conformal::{Calibration, Held, LARGEST_FACTOR},
    predictor::Parts,
    stretch::MOST_APART,
};
use rayon::prelude::*;
use std::{ops::Range, sync::Arc};

/// Most windows looked at, over all columns.
const MOST_WINDOWS: usize = 20_000;
/// Most errors of a block; its steps are thinned to keep to it.
const MOST_ERRORS: usize = 200_000;
/// Fewest errors of a block that tell anything of its tails.
const FEWEST_ERRORS: usize = 100;
/// Rows of a column that say as much of its errors as those of all columns do.
const ROWS: f64 = 96.0;
/// Independent errors below which a level cannot tell how far those on its side alone reach.
const FEWEST_A_SIDE: f64 = 30.0;
/// By how much more than a half of a column's truths lie to one side where the point forecast is not its median; as many standard errors of that share besides.
const OFF: f64 = 0.15;
const ERRORS: f64 = 3.0;

/// A block of steps, and what was seen of them.
#[derive(Clone)]
struct Block {
    steps: Range<usize>,
    stride: usize,
    errors: Vec<Seen>,
    /// Distances of the levels from the median, by level.
    distances: Vec<Vec<f32>>,
}

/// An error, and where it was.
#[derive(Clone, Copy)]
struct Seen {
    column: u32,
    step: u32,
    error: f32,
    /// Whether it is of the later half of the rows.
    late: bool,
}

/// What makes the quantiles of `forecaster` hold on `rows` of `columns` (the data's unit); the stream runs from the first row. `None` where there are too
/// few errors to tell. `part` of a distance is what these rows say, whatever the network does.
///
/// # Errors
/// A forecaster that is calibrated already, or what it refuses.
pub fn calibrate(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    rows: Range<usize>,
    part: f64,
) -> Result<Option<Calibration>, ModelError> {
    if forecaster.calibration().is_some() {
        return Err(ModelError::config("calibration", "a forecaster without one", "one with"));
    }
    let horizon = forecaster.config().horizon;
    let levels = &forecaster.blueprint().levels;
    let (count, middle) = levels.shape();
    let mut blocks = gather(forecaster, columns, beside, &rows)?;
    let there = |column: &&[f64]| column[rows.clone()].iter().filter(|value| !value.is_nan()).count() as f64;
    let present: Vec<f64> = columns.iter().map(there).collect();
    if blocks[0].errors.is_empty() || count == 1 {
        return Ok(None);
    }
    // Blocks beyond the rows, or with too few errors, do as the one before them.
    let enough = |place: &usize| *place == 0 || blocks[*place].errors.len() >= FEWEST_ERRORS;
    let source: Vec<usize> = (0..blocks.len()).map(|block| (0..=block).rev().find(enough).unwrap_or(0)).collect();
    let between = Between::new(&blocks);
    let spread = |of: &dyn Fn(usize) -> f64| -> Vec<f32> {
        let by_block: Vec<f64> = source.iter().map(|&place| of(place)).collect();
        (0..horizon).map(|step| between.at(step, &by_block) as f32).collect()
    };
    let centres = centres(&blocks, &present);
    let centres_ch: Vec<f32> = match centres.iter().flatten().any(|centre| *centre != 0.0) {
        true => (0..columns.len()).flat_map(|column| spread(&|place| centres[place][column])).collect(),
        false => Vec::new(),
    };
    for seen in blocks.iter_mut().flat_map(|block| &mut block.errors) {
        seen.error -= centres_ch.get(seen.column as usize * horizon + seen.step as usize).copied().unwrap_or(0.0);
    }
    let rest = (part > 0.0).then(|| {
        let errors = |block: &Block| shrunk(block.errors.iter().map(|seen| (seen.column, f64::from(seen.error.abs()))), &present);
        let sizes: Vec<Vec<f64>> = blocks.iter().map(errors).collect();
        let means: Vec<Vec<f64>> = blocks.iter().map(Block::mean_distances).collect();
        Rest {
            sizes_ch: (0..columns.len()).flat_map(|column| spread(&|place| sizes[place][column])).collect(),
            distances_qh: (0..count).map(|level| spread(&|place| means[place][level])).collect(),
        }
    });
    let factors_c: Vec<f32> = match rest {
        Some(_) => vec![1.0; columns.len()],
        None => {
            let errors = blocks.iter().flat_map(|block| block.errors_over_distances(middle));
            shrunk(errors, &present).into_iter().map(|factor| factor as f32).collect()
        }
    };
    let to = |seen: &Seen, level: usize, distance: f32| match &rest {
        Some(rest) => (1.0 - part) * f64::from(distance) + part * rest.of(seen, level),
        None => f64::from(factors_c[seen.column as usize]) * f64::from(distance),
    };
    let all = present.iter().sum::<f64>();
    let of_block = |block: &Block| -> Vec<f64> {
        let symmetric = all / (block.steps.end as f64) < FEWEST_A_SIDE;
        let of_level = |level| if level == middle { 1.0 } else { block.factor(level, levels.levels()[level], symmetric, &to) };
        (0..count).map(of_level).collect()
    };
    let factors: Vec<Vec<f64>> = blocks.par_iter().map(of_block).collect();
    let factors_qh: Vec<Vec<f32>> = (0..count).map(|level| spread(&|place| factors[place][level])).collect();
    let by_step = |of: &dyn Fn(usize, usize) -> f64| -> Vec<f32> {
        let wider =
            |step: usize, level: usize| if level == middle { 1.0 } else { few(levels.levels()[level], all / (step + 1) as f64) };
        let at = |step: usize, level: usize| (wider(step, level) * of(step, level)) as f32;
        (0..horizon).flat_map(|step| (0..count).map(move |level| at(step, level))).collect()
    };
    let mut of_network = by_step(&|step, level| (1.0 - part) * f64::from(factors_qh[level][step]));
    of_network.iter_mut().for_each(|factor| *factor = factor.min(LARGEST_FACTOR));
    let calibration = Calibration::new(of_network, factors_c, horizon, levels)?;
    let calibration = if centres_ch.is_empty() { calibration } else { calibration.off_centre(centres_ch)? };
    let Some(Rest { sizes_ch, distances_qh }) = rest else { return Ok(Some(calibration)) };
    let distances_hq = by_step(&|step, level| part * f64::from(factors_qh[level][step]) * f64::from(distances_qh[level][step]));
    calibration.beside(Held { distances_hq, sizes_ch }).map(Some)
}

/// Errors on `rows` and distances of the levels, by blocks of steps.
fn gather(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    rows: &Range<usize>,
) -> Result<Vec<Block>, ModelError> {
    let horizon = forecaster.config().horizon;
    let (count, middle) = forecaster.blueprint().levels.shape();
    let windows = rows.len().saturating_sub(1) * columns.len();
    let stride = windows.div_ceil(MOST_WINDOWS).max(1);
    let mut blocks = Vec::new();
    let mut start = 0;
    while start < horizon {
        let end = (2 * start).max(start + 4).min(horizon);
        let taken = (windows / stride).max(1) * (end - start);
        blocks.push(Block {
            steps: start..end,
            stride: taken.div_ceil(MOST_ERRORS).max(1),
            errors: Vec::new(),
            distances: vec![Vec::new(); count],
        });
        start = end;
    }
    let history: Vec<&[f64]> = columns.iter().map(|column| &column[..rows.end]).collect();
    let wanted = |row: usize| row + 1 >= rows.start && row + 1 < rows.end && is_wanted(row + 1 - rows.start, stride);
    let add = |blocks: &mut [Block], turn: usize, row: usize, column: usize, parts: &Parts| {
        for block in blocks {
            // Windows take turns among the steps, in no order of the columns.
            let first = block.steps.start + place_of(turn, block.stride, 0);
            for step in (first..block.steps.end.min(rows.end - row - 1)).step_by(block.stride) {
                let truth = forecaster.columns()[column].standardise(history[column][row + 1 + step]);
                let quantiles = &parts.combined[step * count..][..count];
                if truth.is_nan() {
                    continue;
                }
                let error = (truth - quantiles[middle]) as f32;
                let late = 2 * (row + 1) > rows.start + rows.end;
                block.errors.push(Seen { column: column as u32, step: step as u32, error, late });
                let away = quantiles.iter().map(|quantile| (quantile - quantiles[middle]).abs() as f32);
                block.distances.iter_mut().zip(away).for_each(|(distances, away)| distances.push(away));
            }
        }
    };
    let mut groups: Vec<(usize, Vec<Block>)> = (0..columns.len().min(MOST_APART)).map(|group| (group, blocks.clone())).collect();
    let sinks = groups.iter_mut().map(|(turn, blocks)| {
        |row: usize, column: usize, parts: &Parts| {
            *turn += 1;
            add(blocks, *turn, row, column, parts);
        }
    });
    held_back(forecaster, beside)?.advance_many_apart(&history, wanted, &mut sinks.collect::<Vec<_>>())?;
    for (_, group) in &groups {
        for (block, more) in blocks.iter_mut().zip(group) {
            block.errors.extend_from_slice(&more.errors);
            block.distances.iter_mut().zip(&more.distances).for_each(|(distances, more)| distances.extend_from_slice(more));
        }
    }
    Ok(blocks)
}

/// By block and column, how far from the point forecasts the median of the truths lies, where that is beyond doubt, else 0. Blocks of more steps, of which fewer
/// errors are independent, are as far off as the one before them beside the size of their errors, but no farther than the median of their own: errors of one
/// side add up to ones of both.
fn centres(blocks: &[Block], rows: &[f64]) -> Vec<Vec<f64>> {
    let mut ratios = vec![0.0; rows.len()];
    let of_block = |block: &Block| -> Vec<f64> {
        let mut errors: Vec<[Vec<f32>; 2]> = vec![Default::default(); rows.len()];
        block.errors.iter().for_each(|seen| errors[seen.column as usize][usize::from(seen.late)].push(seen.error));
        let of_column = |((halves, rows), ratio): (([Vec<f32>; 2], &f64), &mut f64)| {
            // Half of the truths that were met count to either side.
            let side = |errors: &[f32]| {
                let side = |error: &f32| if *error == 0.0 { 0.0 } else { f64::from(error.signum()) };
                errors.iter().map(side).sum::<f64>() / 2.0 / errors.len().max(1) as f64
            };
            let sides = halves.each_ref().map(|half| side(half));
            let mut all = halves.concat();
            let doubt = OFF.max(ERRORS * 0.5 / (rows / block.steps.end as f64).sqrt());
            let size = all.iter().map(|error| f64::from(error.abs())).sum::<f64>() / all.len().max(1) as f64;
            if all.is_empty() || size == 0.0 {
                return *ratio * size;
            }
            let is_off = side(&all).abs() > doubt && sides[0] * sides[1] > OFF * OFF;
            let half = all.len() / 2;
            let (_, median, _) = all.select_nth_unstable_by(half, f32::total_cmp);
            let (least, most) = (f64::from(*median).min(0.0), f64::from(*median).max(0.0));
            *ratio = if is_off { f64::from(*median) / size } else { ratio.clamp(least / size, most / size) };
            *ratio * size
        };
        errors.into_iter().zip(rows).zip(&mut ratios).map(of_column).collect()
    };
    blocks.iter().map(of_block).collect()
}

/// How much farther out a level other than the median lies where so many independent errors told how large they are: Student's quantile over the
/// normal one. Of less than one error as of one.
fn few(level: f64, errors: f64) -> f64 {
    StudentsT::ppf(level, errors.max(1.0)) / Normal::ppf(level, 0.0, 1.0)
}

/// What held-back rows say of distances, before they are calibrated.
struct Rest {
    sizes_ch: Vec<f32>,
    distances_qh: Vec<Vec<f32>>,
}

impl Rest {
    fn of(&self, seen: &Seen, level: usize) -> f64 {
        let (distances_h, step) = (&self.distances_qh[level], seen.step as usize);
        f64::from(self.sizes_ch[seen.column as usize * distances_h.len() + step]) * f64::from(distances_h[step])
    }
}

/// The mean of what was seen in each column over the mean of the columns' means, drawn to 1 where few rows tell.
fn shrunk(seen: impl Iterator<Item = (u32, f64)>, rows: &[f64]) -> Vec<f64> {
    let mut sums = vec![(0.0, 0.0); rows.len()];
    for (column, value) in seen {
        let (sum, count) = &mut sums[column as usize];
        *sum += value;
        *count += 1.0;
    }
    let known: Vec<f64> = sums.iter().filter(|(_, count)| *count > 0.0).map(|(sum, count)| sum / count).collect();
    let all = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let of = |(&(sum, count), rows): (&(f64, f64), &f64)| match count > 0.0 && all > 0.0 {
        true => ((rows * sum / count + ROWS * all) / ((rows + ROWS) * all)).min(f64::from(LARGEST_FACTOR)),
        false => 1.0,
    };
    sums.iter().zip(rows).map(of).collect()
}

/// Where steps lie between the middles of blocks.
struct Between(Vec<f64>);

impl Between {
    fn new(blocks: &[Block]) -> Self {
        Self(blocks.iter().map(|block| 0.5 * (block.steps.start + block.steps.end - 1) as f64).collect())
    }

    /// What is known by block, at a step.
    fn at(&self, step: usize, by_block: &[f64]) -> f64 {
        let centres = &self.0;
        let next = centres.partition_point(|&centre| centre < step as f64);
        let (low, high) = (next.saturating_sub(1), next.min(centres.len() - 1));
        let span = centres[high] - centres[low];
        let way = if span > 0.0 { (step as f64 - centres[low]) / span } else { 0.0 };
        by_block[low] + way * (by_block[high] - by_block[low])
    }
}

impl Block {
    /// Errors over the mean distance of the levels, and their columns.
    fn errors_over_distances(&self, middle: usize) -> impl Iterator<Item = (u32, f64)> {
        let others = (self.distances.len() - 1).max(1) as f64;
        self.errors.iter().enumerate().filter_map(move |(place, seen)| {
            let sum = |(level, distances): (usize, &Vec<f32>)| if level == middle { 0.0 } else { f64::from(distances[place]) };
            let distance = self.distances.iter().enumerate().map(sum).sum::<f64>() / others;
            (distance > 0.0).then(|| (seen.column, f64::from(seen.error.abs()) / distance))
        })
    }

    /// By level.
    fn mean_distances(&self) -> Vec<f64> {
        let mean = |distances: &Vec<f32>| distances.iter().copied().map(f64::from).sum::<f64>() / distances.len() as f64;
        self.distances.iter().map(mean).collect()
    }

    /// The level's quantile of errors over what `to` makes of distances, the finite sample counted; `symmetric`: of errors to either side.
    fn factor(&self, level: usize, at: f64, symmetric: bool, to: &dyn Fn(&Seen, usize, f32) -> f64) -> f64 {
        let side = |error: f64| {
            if symmetric {
                error.abs()
            } else if at > 0.5 {
                error
            } else {
                -error
            }
        };
        let ratio = |(seen, distance): (&Seen, &f32)| {
            (side(f64::from(seen.error)) / to(seen, level, *distance).max(f64::MIN_POSITIVE)) as f32
        };
        let mut ratios: Vec<f32> = self.errors.iter().zip(&self.distances[level]).map(ratio).collect();
        if ratios.is_empty() {
            return 1.0;
        }
        let inside = if symmetric { (2.0 * at - 1.0).abs() } else { at.max(1.0 - at) };
        let rank = (((ratios.len() + 1) as f64 * inside).ceil() as usize).clamp(1, ratios.len()) - 1;
        let (_, at, _) = ratios.select_nth_unstable_by(rank, f32::total_cmp);
        f64::from(at.clamp(0.0, LARGEST_FACTOR))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Tables of the t distribution have three decimals.
    const TABLE: f64 = 1e-3;

    #[test]
    fn few_errors_are_students() {
        for (level, errors, expected) in
            [(0.9, 5.0, 1.476 / 1.2816), (0.1, 5.0, 1.476 / 1.2816), (0.975, 2.0, 4.303 / 1.96), (0.9, 1e6, 1.0)]
        {
            assert!((few(level, errors) - expected).abs() < TABLE, "{level} {errors}: {}", few(level, errors));
        }
        assert_eq!(few(0.975, 0.3).to_bits(), few(0.975, 1.0).to_bits());
        let by_errors: Vec<f64> = (10..400).map(|errors| few(0.975, f64::from(errors) * 0.1)).collect();
        assert!(by_errors.is_sorted_by(|less, more| less > more), "{by_errors:?}");
    }

    #[test]
    fn a_median_is_moved_no_farther_than_a_blocks_own() {
        let block = |steps: Range<usize>, errors: &dyn Fn(usize) -> f32| Block {
            errors: (0..4000)
                .map(|at| Seen { column: 0, step: steps.start as u32, error: errors(at), late: at >= 2000 })
                .collect(),
            steps,
            stride: 1,
            distances: Vec::new(),
        };
        // Nine of ten lie below.
        let skewed = |scale: f32| move |at: usize| if at.is_multiple_of(10) { 9.0 * scale } else { -scale };
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-6, "{found} {expected}");
        // With the rows' number as it is only the first block tells beyond doubt.
        let of = |far: &dyn Fn(usize) -> f32| {
            let found = centres(&[block(0..4, &skewed(1.0)), block(4..400, far)], &[400.0]);
            near(found[0][0], -1.0);
            found[1][0]
        };
        near(of(&skewed(2.0)), -2.0);
        // To either side alike, and to the other.
        near(of(&|at| [-3.0, 0.0, 0.0, 3.0][at % 4]), 0.0);
        near(of(&|at| [-3.0, -0.25, -0.25, 3.0][at % 4]), -0.25);
        near(of(&|at| [-3.0, 0.5, 0.5, 3.0][at % 4]), 0.0);
    }
}
