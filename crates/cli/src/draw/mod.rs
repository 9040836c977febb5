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

/// The pieces of a line between its gaps, where its values are finite.
pub fn pieces<X>(points: &[(X, f64)]) -> impl Iterator<Item = &[(X, f64)]> {
    points.split(|(_, value)| !value.is_finite()).filter(|piece| piece.len() > 1)
}

/// A text style.
pub fn text(size: u32, colour: RGBColor) -> TextStyle<'static> {
    ("sans-serif", size).into_font().color(&colour)
}

/// The same, right-aligned and centred on its height.
pub fn text_left_of(size: u32, colour: RGBColor) -> TextStyle<'static> {
    text(size, colour).pos(text_anchor::Pos::new(text_anchor::HPos::Right, text_anchor::VPos::Center))
}

/// A stamp short enough for an axis: without the year's century and the seconds.
pub fn short(stamp: &str) -> &str {
    match stamp.len() {
        19 => &stamp[5..16],
        _ => stamp,
    }
}
