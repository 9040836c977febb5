//! Routing: which expert spoke when, one strip an expert, the stronger the colour the larger its gate weight.

use super::{Area, GREY, INK, MOST_SERIES, PALETTE, fit, of_all, pieces, short, text, text_left_of, write};
use crate::{error::CliError, routing::Timeline};
use plotters::prelude::*;
use std::path::Path;

const LEFT: i32 = 150;
const RIGHT: i32 = 90;
const WIDTH: i32 = 1100;
const TOP: i32 = 64;
const SIGNAL: i32 = 46;
const STRIP: i32 = 13;
const GAP: i32 = 22;
const HEAD: i32 = 34;
const FOOT: i32 = 30;
/// Characters of a name that there is room for.
const NAME: usize = 18;
/// Shades of a colour.
const SHADES: f64 = 12.0;

/// Writes the picture of these rows; `signals` is one slice a column, as long as the timelines.
pub fn draw(
    timelines: &[Timeline],
    names: &[String],
    signals: &[&[f64]],
    stamps: &[String],
    path: &Path,
) -> Result<(), CliError> {
    let all = names.len();
    let names = &names[..all.min(MOST_SERIES)];
    let column = |timeline: &Timeline| SIGNAL + STRIP * timeline.experts.len() as i32 + GAP;
    let panel = |timeline: &Timeline| HEAD + FOOT + column(timeline) * names.len() as i32;
    let height = TOP + timelines.iter().map(panel).sum::<i32>().max(HEAD);
    write(path, (WIDTH as u32, height as u32), |area| {
        area.draw(&Text::new(format!("Which expert spoke when{}", of_all(all)), (16, 12), text(20, INK)))?;
        let note = "strength of colour: gate weight · line: the signal · right: share of the gate weight over all samples shown";
        area.draw(&Text::new(note.to_string(), (16, 40), text(13, GREY)))?;
        if timelines.is_empty() {
            area.draw(&Text::new("This model has no mixture.".to_string(), (16, TOP), text(15, INK)))?;
        }
        let mut top = TOP;
        for timeline in timelines {
            let title =
                format!("mixture {}: {} of {} experts a sample", timeline.mixture, timeline.top_k, timeline.experts.len());
            area.draw(&Text::new(title, (16, top + 6), text(15, INK)))?;
            top += HEAD;
            for (index, name) in names.iter().enumerate() {
                strips(area, timeline, index, name, signals[index], top)?;
                top += column(timeline);
            }
            axis(area, stamps, top - GAP + 6)?;
            top += FOOT;
        }
        Ok(())
    })
}

/// Left edge of a row's cell.
fn place(row: usize, rows: usize) -> i32 {
    LEFT + ((WIDTH - LEFT - RIGHT) as usize * row / rows.max(1)) as i32
}

fn strips(
    area: &Area<'_>,
    timeline: &Timeline,
    column: usize,
    name: &str,
    signal: &[f64],
    top: i32,
) -> Result<(), Box<dyn std::error::Error>> {
    let rows = signal.len();
    area.draw(&Text::new(fit(name, NAME), (16, top + 14), text(14, INK)))?;
    let (low, high) = signal.iter().fold((f64::MAX, f64::MIN), |(low, high), &value| (low.min(value), high.max(value)));
    let height = |value: f64| top + 40 - (36.0 * (value - low) / (high - low).max(1e-12)) as i32;
    let points: Vec<(usize, f64)> = signal.iter().copied().enumerate().collect();
    for piece in pieces(&points) {
        let mut line: Vec<(i32, i32)> = piece.iter().map(|&(row, value)| (place(row, rows), height(value))).collect();
        if let [(x, y)] = line[..] {
            line.push((x + 1, y));
        }
        area.draw(&PathElement::new(line, INK.mix(0.8).stroke_width(1)))?;
    }
    let present = signal.iter().filter(|value| !value.is_nan()).count();
    for (expert, kind) in timeline.experts.iter().enumerate() {
        let (y, colour) = (top + SIGNAL + STRIP * expert as i32, PALETTE[expert % PALETTE.len()]);
        area.draw(&Text::new(format!("{expert} {kind}"), (LEFT - 8, y + STRIP / 2), text_left_of(11, INK)))?;
        area.draw(&Rectangle::new([(LEFT, y), (WIDTH - RIGHT, y + STRIP - 2)], GREY.mix(0.08).filled()))?;
        let weights = |row: usize| timeline.weight(column, row, expert);
        // Neighbours of one shade are one rectangle: the picture stays small.
        let shade = |row: usize| (f64::from(weights(row)).sqrt() * SHADES).round();
        let mut start = 0;
        for row in 1..=rows {
            if row < rows && shade(row) == shade(start) {
                continue;
            }
            if shade(start) > 0.0 {
                let cell = [(place(start, rows), y), (place(row, rows), y + STRIP - 2)];
                area.draw(&Rectangle::new(cell, colour.mix(shade(start) / SHADES).filled()))?;
            }
            start = row;
        }
        let share = (0..rows).map(|row| f64::from(weights(row))).sum::<f64>() / present.max(1) as f64;
        area.draw(&Text::new(format!("{:.0}%", 100.0 * share), (WIDTH - 40, y + STRIP / 2), text_left_of(11, INK)))?;
    }
    Ok(())
}

fn axis(area: &Area<'_>, stamps: &[String], y: i32) -> Result<(), Box<dyn std::error::Error>> {
    const LABELS: usize = 8;
    for label in 0..LABELS {
        let row = label * stamps.len() / LABELS;
        let x = place(row, stamps.len());
        area.draw(&PathElement::new([(x, y - 6), (x, y)], GREY))?;
        if let Some(stamp) = stamps.get(row) {
            area.draw(&Text::new(short(stamp).to_string(), (x, y + 2), text(12, INK)))?;
        }
    }
    Ok(())
}
