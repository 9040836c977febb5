//! Split conformal calibration: factors of the quantiles' distances from the median, from rows that were held back from training.
//!
//! Errors are compared with distances, so a window that was said to be uncertain counts for as much as one that was not. Neighbouring steps share their
//! factors: the horizon is cut into blocks that double in length, and between their middles factors are interpolated. A column has a factor of its own:
//!
//! ```text
//! s_c = (n·u_c + ROWS·u)/((n + ROWS)·u)       u_c: mean |y − m| over the mean distance from m, in the column; u: the mean of all u_c; n: its rows
//! ```

use crate::validate::held_back;
use foretoken_model::{Beside, Forecaster, ModelError, conformal::Calibration, predictor::Parts, stretch::MOST_APART};
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
/// A model whose errors are so many times its distances is not calibrated but wrong.
const LARGEST_FACTOR: f64 = 1e3;

/// A block of steps, and its errors by level.
#[derive(Clone)]
struct Block {
    steps: Range<usize>,
    stride: usize,
    ratios: Vec<Vec<f32>>,
    /// The column of each of them.
    columns: Vec<u32>,
}

/// Absolute errors over the mean distance from the median, of one column.
#[derive(Clone, Copy, Default)]
struct Sizes {
    sum: f64,
    count: f64,
}

/// The factors that make the quantiles of `forecaster` hold on `rows` of `columns` (the data's unit); the stream runs from the first row. `None` where
/// there are too few errors to tell.
///
/// # Errors
/// A forecaster that is calibrated already, or what it refuses.
pub fn calibrate(
    forecaster: &Arc<Forecaster>,
    columns: &[&[f64]],
    beside: &Beside<'_>,
    rows: Range<usize>,
) -> Result<Option<Calibration>, ModelError> {
    if forecaster.calibration().is_some() {
        return Err(ModelError::config("calibration", "a forecaster without one", "one with"));
    }
    let horizon = forecaster.config().horizon;
    let levels = &forecaster.blueprint().levels;
    let (count, middle) = levels.shape();
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
            ratios: vec![Vec::new(); count],
            columns: Vec::new(),
        });
        start = end;
    }
    let history: Vec<&[f64]> = columns.iter().map(|column| &column[..rows.end]).collect();
    let wanted = |row: usize| row + 1 >= rows.start && row + 1 < rows.end && (row + 1 - rows.start).is_multiple_of(stride);
    let add = |blocks: &mut [Block], sizes: &mut [Sizes], turn: usize, row: usize, column: usize, parts: &Parts| {
        for block in blocks {
            // Windows take turns among the steps, so that none is left out.
            let first = block.steps.start + turn % block.stride;
            for step in (first..block.steps.end.min(rows.end - row - 1)).step_by(block.stride) {
                let truth = forecaster.columns()[column].standardise(history[column][row + 1 + step]);
                let quantiles = &parts.combined[step * count..][..count];
                if truth.is_nan() {
                    continue;
                }
                let error = truth - quantiles[middle];
                let distance = quantiles.iter().map(|quantile| (quantile - quantiles[middle]).abs()).sum::<f64>();
                let distance = distance / (count - 1).max(1) as f64;
                if distance > 0.0 {
                    sizes[column].sum += error.abs() / distance;
                    sizes[column].count += 1.0;
                }
                block.columns.push(column as u32);
                for (level, ratios) in block.ratios.iter_mut().enumerate().filter(|(level, _)| *level != middle) {
                    let distance = quantiles[level] - quantiles[middle];
                    ratios.push((error / distance.abs().max(f64::MIN_POSITIVE) * distance.signum()) as f32);
                }
            }
        }
    };
    // A group has the sizes of all columns, but adds to those of its own alone.
    let mut sizes = vec![Sizes::default(); columns.len()];
    let group = |group| (group, blocks.clone(), sizes.clone());
    let mut groups: Vec<(usize, Vec<Block>, Vec<Sizes>)> = (0..columns.len().min(MOST_APART)).map(group).collect();
    let sinks = groups.iter_mut().map(|(turn, blocks, sizes)| {
        |row: usize, column: usize, parts: &Parts| {
            *turn += 1;
            add(blocks, sizes, *turn, row, column, parts);
        }
    });
    held_back(forecaster, beside)?.advance_many_apart(&history, wanted, &mut sinks.collect::<Vec<_>>())?;
    for (_, group, more) in &groups {
        for (block, more) in blocks.iter_mut().zip(group) {
            block.ratios.iter_mut().zip(&more.ratios).for_each(|(ratios, more)| ratios.extend_from_slice(more));
            block.columns.extend_from_slice(&more.columns);
        }
        for (sizes, more) in sizes.iter_mut().zip(more) {
            sizes.sum += more.sum;
            sizes.count += more.count;
        }
    }
    drop(groups);
    let there = |column: &&[f64]| column[rows.start..].iter().filter(|value| !value.is_nan()).count() as f64;
    let factors_c = of_columns(&sizes, history.iter().map(there));
    for block in &mut blocks {
        for ratios in &mut block.ratios {
            ratios.iter_mut().zip(&block.columns).for_each(|(ratio, &column)| *ratio /= factors_c[column as usize]);
        }
    }
    // Blocks beyond the rows, or with too few errors, do as the one before them.
    let mut factors: Vec<Vec<f64>> = Vec::new();
    for block in &mut blocks {
        let known = block.ratios[if middle == 0 { count - 1 } else { 0 }].len();
        match (known >= FEWEST_ERRORS, factors.last()) {
            (true, _) | (false, None) if known > 0 => factors.push(block.factors(levels.levels(), middle)),
            (_, Some(before)) => factors.push(before.clone()),
            _ => return Ok(None),
        }
    }
    let centre = |block: &Block| 0.5 * (block.steps.start + block.steps.end - 1) as f64;
    let at = |step: usize, level: usize| {
        let next = blocks.partition_point(|block| centre(block) < step as f64);
        let (low, high) = (next.saturating_sub(1), next.min(blocks.len() - 1));
        let span = centre(&blocks[high]) - centre(&blocks[low]);
        let way = if span > 0.0 { (step as f64 - centre(&blocks[low])) / span } else { 0.0 };
        (factors[low][level] + way * (factors[high][level] - factors[low][level])) as f32
    };
    let factors_hq =
        (0..horizon).flat_map(|step| (0..count).map(move |level| (step, level))).map(|(step, level)| at(step, level));
    Calibration::new(factors_hq.collect(), factors_c, horizon, levels).map(Some)
}

/// A factor a column, from the sizes of their errors and their rows.
fn of_columns(sizes: &[Sizes], rows: impl Iterator<Item = f64>) -> Vec<f32> {
    let mean = |sizes: &Sizes| sizes.sum / sizes.count;
    let known: Vec<f64> = sizes.iter().filter(|sizes| sizes.count > 0.0).map(mean).collect();
    let all = known.iter().sum::<f64>() / known.len().max(1) as f64;
    let of = |(sizes, rows): (&Sizes, f64)| match sizes.count > 0.0 && all > 0.0 {
        true => ((rows * mean(sizes) + ROWS * all) / ((rows + ROWS) * all)).min(LARGEST_FACTOR) as f32,
        false => 1.0,
    };
    sizes.iter().zip(rows).map(of).collect()
}

impl Block {
    /// The level's quantile of the ratios, the finite sample counted; 1 at the median.
    fn factors(&mut self, levels: &[f64], middle: usize) -> Vec<f64> {
        let of = |(level, ratios): (usize, &mut Vec<f32>)| {
            if level == middle || ratios.is_empty() {
                return 1.0;
            }
            let inside = levels[level].max(1.0 - levels[level]);
            let rank = (((ratios.len() + 1) as f64 * inside).ceil() as usize).clamp(1, ratios.len()) - 1;
            let (_, at, _) = ratios.select_nth_unstable_by(rank, f32::total_cmp);
            f64::from(*at).clamp(0.0, LARGEST_FACTOR)
        };
        self.ratios.par_iter_mut().enumerate().map(of).collect()
    }
}
