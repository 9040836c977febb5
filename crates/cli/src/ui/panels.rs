//! The panels: each draws a part of the state into its place.

use super::{
    curve::Curve,
    draw::thousands,
    plot::{BLUE, FAINT, GREEN, GREY, ORANGE, Plot, SHADE, Series, YELLOW, figure},
    state::{Load, State},
};
use crate::{draw::short, table::duration};
use ratatui::{
    buffer::Buffer,
    layout::{Constraint, Layout, Rect},
    style::{Color, Stylize},
    text::{Line, Span},
    widgets::{Block, BorderType, Borders, Paragraph, Widget, Wrap},
};

/// Experts' colours, in order.
const PALETTE: [Color; 7] = [BLUE, YELLOW, GREEN, Color::Indexed(175), ORANGE, Color::Indexed(117), Color::Indexed(143)];
/// Columns of an expert: its name, as far as there is room beside the rest, a bar and its share.
const EXPERT: u16 = 16;
const NAME: usize = 12;
const BAR: usize = 4;
const SHARE: usize = 6;
/// Eighths of a cell, from the left and from below.
const WIDE: [char; 9] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
const HIGH: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A frame with as much of a title above as has room, and a legend below if all of it has; gives what is inside.
fn framed(name: &str, title: Vec<Span<'static>>, legend: Vec<Span<'static>>, area: Rect, buffer: &mut Buffer) -> Rect {
    let name = if title.is_empty() { name.into() } else { format!("{name} ") };
    let mut title: Vec<_> = [name.fg(Color::Reset).bold()].into_iter().chain(title).collect();
    // Two corners and a space; the second may be missed.
    let room = usize::from(area.width.saturating_sub(3));
    let fits = |spans: &[Span<'static>]| spans.iter().map(Span::width).sum::<usize>() <= room;
    while title.len() > 1 && !fits(&title) {
        title.pop();
    }
    let legend = if fits(&legend) { legend } else { Vec::new() };
    let spaced = |spans: Vec<Span<'static>>| match spans.is_empty() {
        true => Line::default(),
        false => Line::from_iter([Span::from(" ")].into_iter().chain(spans).chain([" ".into()])),
    };
    let block = Block::new().borders(Borders::ALL).border_type(BorderType::Rounded).border_style(FAINT);
    let block = block.title(spaced(title)).title_bottom(spaced(legend).right_aligned());
    let inner = block.inner(area);
    block.render(area, buffer);
    inner
}

/// The values of a curve one after the other: where many share a place, its least and its greatest.
fn raw(curve: &Curve) -> Vec<(f64, f64)> {
    let both = curve.buckets().iter().flat_map(|bucket| [(bucket.x as f64, bucket.low), (bucket.x as f64, bucket.high)]);
    both.collect()
}

fn ends(curve: &Curve, what: &str) -> [String; 2] {
    let [first, last] = [curve.buckets().first(), curve.buckets().last()].map(|bucket| bucket.map_or(0, |bucket| bucket.x));
    [format!("{what} {}", thousands(first)), thousands(last)]
}

/// The loss, step by step.
pub fn loss(state: &State, area: Rect, buffer: &mut Buffer) {
    let newest = state.step.map_or(f64::NAN, |step| step.loss.into());
    smoothed("Loss", &state.loss, newest, ORANGE, area, buffer);
}

/// A curve, and its smoothed self before it.
fn smoothed(name: &'static str, curve: &Curve, newest: f64, colour: Color, area: Rect, buffer: &mut Buffer) {
    let smooth = curve.smooth().map_or("–".into(), figure);
    let legend = vec!["smoothed ".fg(colour), smooth.fg(colour).bold()];
    let inner = framed(name, vec![figure(newest).fg(GREY).bold()], legend, area, buffer);
    let smooth = curve.buckets().iter().map(|bucket| (bucket.x as f64, bucket.smooth)).collect();
    let series = vec![Series { points: raw(curve), colour: FAINT }, Series { points: smooth, colour }];
    Plot { series, logarithmic: true, below: ends(curve, "step"), ..Plot::default() }.render(inner, buffer);
}

/// The errors of every epoch's validation.
pub fn validation(state: &State, area: Rect, buffer: &mut Buffer) {
    let newest = state.validated;
    let linear = newest.map_or(Some(f64::NAN), |found| found.linear);
    let named = [
        ("model", newest.map(|found| found.model), BLUE),
        ("network", newest.map(|found| found.network), ORANGE),
        ("linear", linear, GREEN),
    ];
    let (mut title, mut legend) = (Vec::new(), Vec::new());
    for (place, (name, value, colour)) in named.into_iter().enumerate() {
        let value = value.map_or(if newest.is_none() { "–" } else { "none" }.into(), figure);
        let (line, space) = if place == 0 { (&mut title, "") } else { (&mut legend, if place == 1 { "  " } else { "" }) };
        line.extend([format!("{name} ").fg(colour), format!("{value}{space}").fg(colour).bold()]);
    }
    let inner = framed("Validation MSE", title, legend, area, buffer);
    let colours = [BLUE, ORANGE, GREEN];
    // The model last, so that it lies on what it may be equal to.
    let series = [1, 2, 0].map(|place| Series { points: raw(&state.errors[place]), colour: colours[place] });
    let below = ends(&state.errors[0], "epoch");
    Plot { series: series.into(), logarithmic: true, below, ..Plot::default() }.render(inner, buffer);
}

/// Learning rate and norm of the gradient, beside each other.
pub fn rates(state: &State, area: Rect, buffer: &mut Buffer) {
    let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
    let rate = state.step.map_or("–".into(), |step| figure(step.rate));
    let inner = framed("Learning rate", vec![rate.fg(GREEN).bold()], Vec::new(), left, buffer);
    let series = vec![Series { points: raw(&state.rate), colour: GREEN }];
    Plot { series, below: ends(&state.rate, "step"), ..Plot::default() }.render(inner, buffer);
    let norm = state.step.map_or(f64::NAN, |step| step.norm);
    smoothed("Gradient norm", &state.norm, norm, YELLOW, right, buffer);
}

/// The share of the samples that each expert got.
pub fn experts(state: &State, area: Rect, buffer: &mut Buffer) {
    let epoch = state.step.map_or(String::new(), |step| format!("training, epoch {}", step.epoch));
    let inner = framed("Expert load", vec![epoch.fg(GREY)], Vec::new(), area, buffer);
    if state.loads.is_empty() {
        let text = if state.step.is_some() { "no mixture in this model" } else { "nothing yet" };
        return Line::styled(text, GREY).render(inner, buffer);
    }
    let lines = |load: &Load, across: usize| load.experts.len().div_ceil(across) + usize::from(state.loads.len() > 1);
    let fits = |across: &usize| state.loads.iter().map(|load| lines(load, *across)).sum::<usize>() <= usize::from(inner.height);
    let across = (1..=usize::from((inner.width / EXPERT).max(1))).find(fits);
    let mut rows: Vec<Line<'static>> = Vec::new();
    for load in &state.loads {
        let title = format!("mixture {}", load.mixture);
        match across {
            Some(across) => {
                rows.extend((state.loads.len() > 1).then(|| Line::styled(title, GREY)));
                rows.extend(bars(load, across, usize::from(inner.width) / across));
            }
            None => rows.push(column_bars(load, &title, usize::from(inner.width))),
        }
    }
    let room = usize::from(inner.height);
    if rows.len() > room && room > 0 {
        let more = rows.len() - room + 1;
        rows.truncate(room - 1);
        rows.push(Line::styled(format!("and {more} more mixtures"), GREY));
    }
    Paragraph::new(rows).render(inner, buffer);
}

fn shares(load: &Load) -> Option<Vec<f64>> {
    (load.samples > 0).then(|| load.chosen.iter().map(|&chosen| chosen as f64 / load.samples as f64).collect())
}

/// A bar for each expert, filled column by column of so many cells; a full bar is all samples.
fn bars(load: &Load, across: usize, width: usize) -> Vec<Line<'static>> {
    let (shares, down) = (shares(load), load.experts.len().div_ceil(across));
    let wide = NAME.min(width.saturating_sub(BAR + SHARE + 2));
    let cells = width.saturating_sub(wide + SHARE + 2);
    let one = |expert: usize| {
        let name: String = format!("{expert} {}", load.experts[expert]).chars().take(wide).collect();
        let share = shares.as_ref().map(|shares| shares[expert]);
        let eighths = (share.unwrap_or(0.0).min(1.0) * 8.0 * cells as f64).round() as usize;
        let mut bar = "█".repeat(eighths / 8);
        if bar.chars().count() < cells {
            bar.push(WIDE[eighths % 8]);
        }
        let text = share.map_or("–".into(), |share| format!("{:.1}%", 100.0 * share));
        [
            format!("{name:<wide$} ").fg(GREY),
            format!("{bar:<cells$}").fg(PALETTE[expert % PALETTE.len()]),
            format!("{text:>SHARE$} ").into(),
        ]
    };
    let line = |row: usize| (0..across).map(move |column| column * down + row).filter(|&expert| expert < load.experts.len());
    (0..down).map(|row| Line::from_iter(line(row).flat_map(one))).collect()
}

/// One line for all experts, a cell each, as high as its share of the largest.
fn column_bars(load: &Load, title: &str, width: usize) -> Line<'static> {
    let shares = shares(load);
    let most = shares.iter().flatten().copied().fold(f64::MIN_POSITIVE, f64::max);
    let note = match &shares {
        None => " nothing yet".into(),
        Some(shares) => {
            let least = shares.iter().copied().fold(f64::MAX, f64::min);
            format!(" {:.1}–{:.1}%", 100.0 * least, 100.0 * most)
        }
    };
    let room = width.saturating_sub(title.len() + 1 + note.chars().count());
    let mut spans = vec![format!("{title} ").fg(GREY)];
    for (expert, share) in shares.iter().flatten().enumerate().take(room) {
        let high = HIGH[(8.0 * share / most).round() as usize];
        spans.push(high.to_string().fg(PALETTE[expert % PALETTE.len()]));
    }
    spans.push(note.into());
    Line::from(spans)
}

/// One column's first validation window: history, truth, and what recent weights say.
pub fn forecast(state: &State, area: Rect, buffer: &mut Buffer) {
    let window = &state.about.window;
    let Some(column) = window.columns.get(state.column) else {
        let inner = framed("Forecast", Vec::new(), Vec::new(), area, buffer);
        return Line::styled("no column", GREY).render(inner, buffer);
    };
    let said = state.forecasts.get(state.column).and_then(Option::as_ref);
    let of = match state.forecast_step {
        None => "after the first epoch".into(),
        Some(_) if said.is_none() => "none, the column has not begun".into(),
        Some(step) => format!("after step {}", thousands(step)),
    };
    let title = vec![format!("{} of {} · {of}", state.column + 1, window.columns.len()).fg(GREY)];
    let legend = ["history ".fg(GREY), "truth ".fg(YELLOW), "median ".fg(BLUE)];
    let band = window.band().map(|[low, high]| {
        let share = 100.0 * (window.levels[high] - window.levels[low]);
        Span::from(format!(" {share:.0}%, not calibrated ")).bg(SHADE).fg(Color::Indexed(255))
    });
    let legend = legend.into_iter().chain(band).collect();
    let inner = framed(&format!("Forecast {}", column.name), title, legend, area, buffer);
    let first = window.before - window.drawn;
    let (history, truth) = column.values[first..].split_at(window.drawn);
    let at = |from: usize, values: &[f64]| values.iter().enumerate().map(|(row, &value)| ((from + row) as f64, value)).collect();
    let mut plot = Plot::default();
    plot.series.push(Series { points: at(0, history), colour: GREY });
    plot.series.push(Series { points: at(window.drawn, truth), colour: YELLOW });
    if let Some(said) = said {
        let medians: Vec<f64> = said.iter().map(|step| step[1]).collect();
        plot.series.push(Series { points: at(window.drawn, &medians), colour: BLUE });
        let band = said.iter().enumerate().map(|(step, [low, _, high])| ((window.drawn + step) as f64, *low, *high));
        plot.band = if window.band().is_some() { band.collect() } else { Vec::new() };
    }
    let stamp = |row: usize| window.stamps.get(row).map_or(String::new(), |stamp| short(stamp).into());
    plot.below = [stamp(first), stamp(window.stamps.len().saturating_sub(1))];
    plot.render(inner, buffer);
}

/// Checkpoints, steps left out, and the newest warnings.
pub fn messages(state: &State, area: Rect, buffer: &mut Buffer) {
    let inner = framed("Checkpoints and warnings", Vec::new(), Vec::new(), area, buffer);
    let checkpoint = match state.checkpoint {
        None => "no checkpoint yet".fg(GREY),
        Some((step, at)) => {
            format!("checkpoint: step {}, {} ago", thousands(step), duration((state.seconds - at).max(0.0))).into()
        }
    };
    let skipped = match state.skipped {
        0 => "no step left out".fg(GREY),
        count => format!("{} steps left out", thousands(count)).fg(YELLOW),
    };
    let mut lines = vec![Line::from(checkpoint), Line::from(skipped)];
    let warnings = state.said.iter().rev().filter(|said| said.0);
    lines.extend(
        warnings.take(inner.height.into()).map(|(_, text)| Line::from(vec!["! ".fg(YELLOW).bold(), text.clone().into()])),
    );
    Paragraph::new(lines).wrap(Wrap { trim: true }).render(inner, buffer);
}
