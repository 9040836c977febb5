//! Pictures, as SVG.

pub mod forecast;
pub mod routing;

use crate::error::CliError;
use foretoken_model::file::write_atomically;
use plotters::{prelude::*, style::text_anchor};
use std::path::Path;

/// Colours that people with any colour vision tell apart (Okabe & Ito 2008).
pub const BLUE: RGBColor = RGBColor(0, 114, 178);
pub const ORANGE: RGBColor = RGBColor(213, 94, 0);
pub const INK: RGBColor = RGBColor(40, 40, 46);
pub const GREY: RGBColor = RGBColor(130, 130, 138);
pub const PALETTE: [RGBColor; 7] = [
    BLUE,
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    ORANGE,
    RGBColor(86, 180, 233),
    RGBColor(90, 90, 60),
];

pub type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

/// Draws into an SVG of this size and writes it whole.
pub fn write(
    path: &Path,
    size: (u32, u32),
    draw: impl FnOnce(&Area<'_>) -> Result<(), Box<dyn std::error::Error>>,
) -> Result<(), CliError> {
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, size).into_drawing_area();
        let problem = |error: Box<dyn std::error::Error>| CliError::file(path, error);
        area.fill(&WHITE).map_err(|error| problem(error.into()))?;
        draw(&area).map_err(problem)?;
        area.present().map_err(|error| problem(error.into()))?;
    }
    // Names may hold what XML has no place for.
    svg.retain(|character| !character.is_control() || matches!(character, '\n' | '\t'));
    Ok(write_atomically(path, svg.as_bytes())?)
}

/// Most series that a picture shows: the first ones.
pub const MOST_SERIES: usize = 32;

/// What a picture says of series that it does not show.
pub fn of_all(series: usize) -> String {
    if series > MOST_SERIES { format!(" · the first {MOST_SERIES} of {series} series") } else { String::new() }
}

/// The pieces of a line between its gaps, where its values are finite; a sample alone is one.
pub fn pieces<X>(points: &[(X, f64)]) -> impl Iterator<Item = &[(X, f64)]> {
    points.split(|(_, value)| !value.is_finite()).filter(|piece| !piece.is_empty())
}

/// A text style.
pub fn text(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// The same, right-aligned and centred on its height.
pub fn text_left_of(size: u32, colour: RGBColor) -> TextStyle<'static> {
    text(size, colour).pos(text_anchor::Pos::new(text_anchor::HPos::Right, text_anchor::VPos::Center))
}

/// A stamp short enough for an axis: a time without its year, seconds and offset.
pub fn short(stamp: &str) -> &str {
    let is_time = stamp.len() >= 16 && stamp.as_bytes()[4] == b'-' && stamp.as_bytes()[13] == b':';
    stamp.get(5..16).filter(|_| is_time).unwrap_or(stamp)
}

/// A name of at most so many characters.
pub fn fit(name: &str, most: usize) -> String {
    match name.chars().count() > most {
        true => name.chars().take(most - 1).chain(['…']).collect(),
        false => name.into(),
    }
}

/// Labels of an axis whose values span so much, in as few digits as tell them apart.
pub fn label(value: f64, span: f64, largest: f64) -> String {
    if !(1e-3..1e6).contains(&largest) {
        return format!("{value:.2e}");
    }
    let decimals = (1.0 - span.max(1e-9).log10().floor()).clamp(0.0, 5.0) as usize;
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_and_tell_values_apart() {
        for (value, span, largest, expected) in [
            (12.5, 20.0, 30.0, "12"),
            (12.5, 4.0, 30.0, "12.5"),
            (0.0125, 0.02, 0.03, "0.013"),
            (-498e6, 1e9, 1e9, "-4.98e8"),
            (2e-9, 1e-9, 3e-9, "2.00e-9"),
        ] {
            assert_eq!(label(value, span, largest), expected);
        }
        for (stamp, expected) in [
            ("2024-01-02 03:04:05", "01-02 03:04"),
            ("2024-01-02T03:04:05+02:00", "01-02T03:04"),
            ("2024-01-02", "2024-01-02"),
            ("a text, longer than a stamp", "a text, longer than a stamp"),
            ("ääääääääääääääää", "ääääääääääääääää"),
        ] {
            assert_eq!(short(stamp), expected);
        }
        assert_eq!((fit("temperature", 11), fit("temperature", 5)), ("temperature".into(), "temp…".into()));
    }
}
