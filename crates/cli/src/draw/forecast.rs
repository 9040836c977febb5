//! A forecast: history, truth, point forecast, bands and baseline, one panel a column.

use super::{Area, BLUE, GREY, INK, MOST_SERIES, ORANGE, fit, label, of_all, pieces, short, text, write};
use crate::{error::CliError, table::count};
use foretoken_model::{Forecast, Forecaster};
use plotters::prelude::*;
use std::path::Path;

/// What is drawn, in the data's unit.
pub struct Picture<'a> {
    pub forecaster: &'a Forecaster,
    pub forecast: &'a Forecast,
    /// Rows before the forecast, one slice a column; their stamps, and those of the steps to draw.
    pub history: Vec<&'a [f64]>,
    pub stamps: &'a [String],
    /// What came true, where it is known.
    pub truth: Option<Vec<&'a [f64]>>,
    /// A baseline's name and its forecasts, NaN where it has none.
    pub baseline: Option<(&'a str, Vec<Vec<f64>>)>,
}

const WIDTH: u32 = 1100;
const PANEL: u32 = 190;
const TOP: u32 = 64;
const BOTTOM: u32 = 12;
/// Opacity of one band; the inner lies on the outer.
const BAND: f64 = 0.2;

impl Picture<'_> {
    /// Steps to draw.
    fn steps(&self) -> usize {
        self.stamps.len() - self.history[0].len()
    }
}

/// Writes the picture.
pub fn draw(picture: &Picture<'_>, path: &Path) -> Result<(), CliError> {
    let columns = picture.history.len().min(MOST_SERIES) as u32;
    write(path, (WIDTH, TOP + PANEL * columns + BOTTOM), |area| {
        let (head, rest) = area.split_vertically(TOP);
        legend(picture, &head)?;
        let (body, _) = rest.split_vertically(PANEL * columns);
        for (index, panel) in body.split_evenly((columns as usize, 1)).iter().enumerate() {
            column(picture, index, panel)?;
        }
        Ok(())
    })
}

fn legend(picture: &Picture<'_>, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let steps = picture.steps();
    let from = &picture.stamps[picture.history[0].len()];
    area.draw(&Text::new(
        format!("Forecast of {} from {from}{}", count(steps as u64, "sample"), of_all(picture.history.len())),
        (16, 12),
        text(20, INK),
    ))?;
    let mut x = 16;
    let mut entry = |name: &str, colour: RGBColor, band: Option<f64>| -> Result<(), Box<dyn std::error::Error>> {
        if let Some(strength) = band {
            area.draw(&Rectangle::new([(x, 43), (x + 22, 55)], colour.mix(strength).filled()))?;
        } else {
            area.draw(&PathElement::new([(x, 49), (x + 22, 49)], colour.stroke_width(2)))?;
        }
        area.draw(&Text::new(name.to_string(), (x + 28, 43), text(14, INK)))?;
        x += 52 + 7 * name.len() as i32;
        Ok(())
    };
    entry("history", GREY, None)?;
    if picture.truth.is_some() {
        entry("truth", INK, None)?;
    }
    entry("forecast", BLUE, None)?;
    for (index, (low, high)) in bands(&picture.forecaster.config().quantiles).into_iter().enumerate() {
        let levels = &picture.forecaster.config().quantiles;
        entry(
            &format!("{:.0}% band", 100.0 * (levels[high] - levels[low])),
            BLUE,
            Some([BAND, 1.0 - (1.0 - BAND).powi(2)][index]),
        )?;
    }
    if let Some((name, _)) = &picture.baseline {
        entry(name, ORANGE, None)?;
    }
    Ok(())
}

/// The widest band and one half as wide, as far as the levels have them: indices of their ends.
fn bands(levels: &[f64]) -> Vec<(usize, usize)> {
    let count = levels.len();
    let pairs = [0, count / 4].map(|low| (low, count - 1 - low));
    let mut pairs: Vec<_> = pairs.into_iter().filter(|(low, high)| low < high).collect();
    pairs.dedup();
    pairs
}

fn column(picture: &Picture<'_>, index: usize, area: &Area<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let config = picture.forecaster.config();
    let (horizon, steps, count) = (config.horizon, picture.steps(), config.quantiles.len());
    let history = picture.history[index];
    let start = history.len();
    let quantiles = &picture.forecast.quantiles[index * horizon * count..][..steps * count];
    let truth = picture.truth.as_ref().map(|truth| truth[index]);
    let baseline = picture.baseline.as_ref().map(|(_, forecasts)| &forecasts[index][..steps]);
    let shown = history.iter().chain(quantiles).chain(truth.into_iter().flatten()).chain(baseline.into_iter().flatten());
    let finite = shown.copied().filter(|value| value.is_finite());
    let ends = finite.fold(None, |ends, value| {
        let (low, high) = ends.unwrap_or((value, value));
        Some((low.min(value), high.max(value)))
    });
    area.draw(&Text::new(fit(&picture.forecaster.columns()[index].name, 120), (82, 8), text(15, INK)))?;
    // Nothing to draw has no axis.
    let Some((low, high)) = ends else { return Ok(()) };
    let margin = 0.06 * (high - low).max(1e-9 * high.abs().max(1.0));
    let mut chart = ChartBuilder::on(area)
        .margin_left(12)
        .margin_right(20)
        .margin_top(6)
        .x_label_area_size(24)
        .y_label_area_size(62)
        .build_cartesian_2d(0.0..(start + steps - 1) as f64, low - margin..high + margin)?;
    let value = |value: &f64| label(*value, high - low, high.abs().max(low.abs()));
    let stamp = |place: &f64| picture.stamps.get(place.round() as usize).map_or(String::new(), |stamp| short(stamp).into());
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(GREY.mix(0.2))
        .light_line_style(TRANSPARENT)
        .axis_style(GREY)
        .x_labels(8)
        .y_labels(4)
        .x_label_formatter(&stamp)
        .y_label_formatter(&value)
        .label_style(text(12, INK))
        .draw()?;
    // The newest sample is where the forecast's lines begin.
    let from = |values: &mut dyn Iterator<Item = f64>| -> Vec<(f64, f64)> {
        let ahead: Vec<(f64, f64)> = values.enumerate().map(|(step, value)| ((start + step) as f64, value)).collect();
        let newest = ((start - 1) as f64, history[start - 1]);
        std::iter::once(newest)
            .filter(|_| ahead.first().is_some_and(|(_, value)| value.is_finite()))
            .chain(ahead.iter().copied())
            .collect()
    };
    for (low, high) in bands(&config.quantiles) {
        let edge = |level: usize| from(&mut quantiles.chunks_exact(count).map(|q| q[level]));
        let outline: Vec<(f64, f64)> = edge(low).into_iter().chain(edge(high).into_iter().rev()).collect();
        let outline: Vec<(f64, f64)> = outline.into_iter().filter(|(_, value)| value.is_finite()).collect();
        if !outline.is_empty() {
            chart.draw_series([Polygon::new(outline, BLUE.mix(BAND))])?;
        }
    }
    let past = history.iter().enumerate().map(|(row, &value)| (row as f64, value));
    chart.draw_series(line(past, GREY.stroke_width(1)))?;
    if let Some(baseline) = baseline {
        chart.draw_series(line(from(&mut baseline.iter().copied()), ORANGE.stroke_width(1)))?;
    }
    if let Some(truth) = truth {
        chart.draw_series(line(from(&mut truth.iter().copied()), INK.stroke_width(1)))?;
    }
    let point = &picture.forecast.point[index * horizon..][..steps];
    chart.draw_series(line(from(&mut point.iter().copied()), BLUE.stroke_width(2)))?;
    let origin = (start - 1) as f64;
    chart.draw_series([PathElement::new([(origin, low - margin), (origin, high + margin)], GREY.mix(0.7))])?;
    Ok(())
}

/// Half of the dash that a sample between gaps is drawn as.
const DASH: f64 = 0.3;

/// A line over what is finite, a piece of it between gaps each.
fn line(points: impl IntoIterator<Item = (f64, f64)>, style: ShapeStyle) -> Vec<PathElement<(f64, f64)>> {
    let points: Vec<(f64, f64)> = points.into_iter().collect();
    let path = |piece: &[(f64, f64)]| match piece {
        [(place, value)] => vec![(place - DASH, *value), (place + DASH, *value)],
        piece => piece.to_vec(),
    };
    pieces(&points).map(|piece| PathElement::new(path(piece), style)).collect()
}
