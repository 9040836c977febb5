//! Lines over two axes, and a shaded band behind them.

use ratatui::{
    buffer::Buffer,
    layout::{Alignment, Rect},
    style::{Color, Style},
    symbols::Marker,
    text::Line,
    widgets::{
        Widget,
        canvas::{Canvas, Line as Stroke, Points},
    },
};

/// Colours that people with any colour vision tell apart, on dark and light ground; of the terminals' 256.
pub const BLUE: Color = Color::Indexed(39);
pub const ORANGE: Color = Color::Indexed(208);
pub const GREEN: Color = Color::Indexed(36);
pub const YELLOW: Color = Color::Indexed(214);
pub const GREY: Color = Color::Indexed(244);
/// What is raw, behind what is smoothed.
pub const FAINT: Color = Color::Indexed(240);
/// What a band is shaded with.
pub const SHADE: Color = Color::Indexed(24);

/// Least columns of a plot that has room for labels beside it.
const LABELLED: u16 = 20;

/// Points that are joined, where both ends are numbers.
pub struct Series {
    pub points: Vec<(f64, f64)>,
    pub colour: Color,
}

/// What is plotted.
#[derive(Default)]
pub struct Plot {
    pub series: Vec<Series>,
    /// `(x, low, high)`.
    pub band: Vec<(f64, f64, f64)>,
    /// Whether the vertical axis is logarithmic, as far as all values are above zero.
    pub logarithmic: bool,
    /// What is written below: at the left and at the right.
    pub below: [String; 2],
}

/// A number in few characters.
pub fn figure(value: f64) -> String {
    let size = value.abs();
    match () {
        _ if !value.is_finite() => "–".into(),
        _ if value == 0.0 => "0".into(),
        _ if !(0.001..100_000.0).contains(&size) => format!("{value:.1e}"),
        _ if size < 10.0 => format!("{value:.4}"),
        _ if size < 1000.0 => format!("{value:.2}"),
        _ => format!("{value:.0}"),
    }
}

/// Least and greatest of finite values.
fn span(values: impl Iterator<Item = f64>) -> Option<[f64; 2]> {
    values.filter(|value| value.is_finite()).fold(None, |span, value| match span {
        None => Some([value, value]),
        Some([low, high]) => Some([low.min(value), high.max(value)]),
    })
}

/// The same with some room around.
fn roomy([low, high]: [f64; 2]) -> [f64; 2] {
    let room = if high > low { 0.04 * (high - low) } else { 0.5 * low.abs().max(1e-9) };
    [low - room, high + room]
}

impl Plot {
    /// Draws into `area`; says so where there is nothing yet.
    pub fn render(&self, area: Rect, buffer: &mut Buffer) {
        let points = || self.series.iter().flat_map(|series| &series.points);
        let values = || points().map(|point| point.1).chain(self.band.iter().flat_map(|band| [band.1, band.2]));
        let places = points().map(|point| point.0).chain(self.band.iter().map(|band| band.0));
        let (Some(places), Some(values_span)) = (span(places), span(values())) else {
            return Line::styled("nothing yet", GREY).render(area, buffer);
        };
        let logarithmic = self.logarithmic && values_span[0] > 0.0;
        let scale = |value: f64| if logarithmic { value.ln() } else { value };
        let back = |value: f64| if logarithmic { value.exp() } else { value };
        let [low, high] = roomy(values_span.map(scale));
        let labels = [values_span[1], back((low + high) / 2.0), values_span[0]].map(figure);
        let width = labels.iter().map(|label| label.chars().count() as u16).max().unwrap_or(0);
        let labelled = area.width >= LABELLED && area.height >= 3;
        let [left, bottom] = if labelled { [width + 1, 1] } else { [0, 0] };
        let inner = Rect { x: area.x + left, width: area.width - left, height: area.height - bottom, ..area };
        if inner.is_empty() {
            return;
        }
        if labelled {
            let rows = [0, inner.height / 2, inner.height - 1];
            for ((label, row), place) in labels.into_iter().zip(rows).zip(0..) {
                if place != 1 || inner.height >= 5 {
                    let at = Rect { y: area.y + row, width, height: 1, ..area };
                    Line::styled(label, GREY).alignment(Alignment::Right).render(at, buffer);
                }
            }
            self.write_below(Rect { y: area.y + inner.height, height: 1, ..inner }, buffer);
        }
        let [from, to] = if places[1] > places[0] { places } else { [places[0] - 1.0, places[0] + 1.0] };
        let line = |a: &(f64, f64), b: &(f64, f64), color: Color| Stroke::new(a.0, scale(a.1), b.0, scale(b.1), color);
        Canvas::default()
            .marker(Marker::Braille)
            .x_bounds([from, to])
            .y_bounds([low, high])
            .paint(|context| {
                for Series { points, colour } in &self.series {
                    // A cell has one colour: it is the last line's that runs through it.
                    context.layer();
                    let there = |point: &&(f64, f64)| point.1.is_finite();
                    let dots: Vec<(f64, f64)> = points.iter().filter(there).map(|point| (point.0, scale(point.1))).collect();
                    context.draw(&Points::new(&dots, *colour));
                    for pair in points.windows(2).filter(|pair| pair.iter().all(|point| point.1.is_finite())) {
                        context.draw(&line(&pair[0], &pair[1], *colour));
                    }
                }
            })
            .render(inner, buffer);
        self.shade(inner, [from, to], [low, high], scale, buffer);
    }

    /// Shades the cells that the band runs through: a column of cells by the step that is at its middle or next to it.
    fn shade(&self, area: Rect, [from, to]: [f64; 2], [low, high]: [f64; 2], scale: impl Fn(f64) -> f64, buffer: &mut Buffer) {
        let row = |value: f64| {
            let down = (high - scale(value)) / (high - low) * f64::from(area.height);
            (down.max(0.0) as u16).min(area.height - 1)
        };
        let cell = (to - from) / f64::from(area.width);
        for column in 0..area.width {
            let middle = from + cell * (f64::from(column) + 0.5);
            let next = self.band.partition_point(|step| step.0 < middle);
            let Some(&(x, least, most)) = self.band.get(next) else { continue };
            if (next > 0 || x - middle <= cell / 2.0) && least.is_finite() && most.is_finite() {
                for y in row(most)..=row(least) {
                    buffer[(area.x + column, area.y + y)].set_style(Style::new().bg(SHADE));
                }
            }
        }
    }

    /// At the right only where there is room beside the left.
    fn write_below(&self, area: Rect, buffer: &mut Buffer) {
        let [left, right] = &self.below;
        Line::styled(left.as_str(), GREY).render(area, buffer);
        if left.chars().count() + right.chars().count() < usize::from(area.width) {
            Line::styled(right.as_str(), GREY).alignment(Alignment::Right).render(area, buffer);
        }
    }
}
