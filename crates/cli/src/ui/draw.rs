//! Where everything goes. What has no room is left out in the order of [`Panel::DROPPED`], and the last line says what is.

use super::{
    panels,
    plot::{BLUE, FAINT, GREY, ORANGE, YELLOW, figure},
    state::State,
};
use crate::table::duration;
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style, Stylize},
    text::{Line, Span},
};

/// What shows everything.
const ENOUGH: &str = "80×24 shows all";
/// Least columns of a status with the run's name, of two panels beside each other, and of one.
const WIDE: u16 = 100;
const TWO: u16 = 80;
const ONE: u16 = 28;
/// Lines that are no panel: what is done, how far it is, and the keys.
const FRAMING: u16 = 3;

/// A part of the screen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Panel {
    Loss,
    Validation,
    Rates,
    Experts,
    Forecast,
    Messages,
}

impl Panel {
    /// Which goes first where not all have room.
    pub const DROPPED: [Self; 6] = [Self::Rates, Self::Messages, Self::Experts, Self::Forecast, Self::Validation, Self::Loss];
    /// As they stand: two a row, or below each other.
    const ROWS: [[Self; 2]; 3] = [[Self::Loss, Self::Validation], [Self::Rates, Self::Experts], [Self::Forecast, Self::Messages]];

    /// Least lines, and the part of what is left over that a row with it gets.
    fn lines(self) -> (u16, u16) {
        match self {
            Self::Loss | Self::Validation => (6, 3),
            Self::Rates => (5, 2),
            Self::Experts => (4, 2),
            Self::Forecast => (7, 4),
            Self::Messages => (4, 1),
        }
    }

    /// What is left out is called.
    fn name(self) -> &'static str {
        match self {
            Self::Loss => "loss",
            Self::Validation => "validation",
            Self::Rates => "rate and norm",
            Self::Experts => "experts",
            Self::Forecast => "forecast",
            Self::Messages => "messages",
        }
    }
}

/// Panels and their places, and those that have none.
pub fn arrange(area: Rect) -> (Vec<(Panel, Rect)>, Vec<Panel>) {
    let room = area.height.saturating_sub(FRAMING);
    let mut left_out = if area.width < ONE { Panel::DROPPED.len() } else { 0 };
    let rows = loop {
        let shown = |panel: &Panel| Panel::DROPPED[left_out..].contains(panel);
        let all = Panel::ROWS.iter().flatten().copied().filter(shown);
        let rows: Vec<Vec<Panel>> = match area.width {
            TWO.. => Panel::ROWS.iter().map(|row| row.iter().copied().filter(shown).collect()).collect(),
            _ => all.map(|panel| vec![panel]).collect(),
        };
        let rows: Vec<_> = rows.into_iter().filter(|row| !row.is_empty()).collect();
        if rows.iter().map(|row| least(row).0).sum::<u16>() <= room {
            break rows;
        }
        left_out += 1;
    };
    let spare = room - rows.iter().map(|row| least(row).0).sum::<u16>();
    let parts: u16 = rows.iter().map(|row| least(row).1).sum();
    let (mut places, mut y, mut given, mut so_far) = (Vec::new(), area.y + FRAMING - 1, 0, 0);
    for row in &rows {
        let (lines, part) = least(row);
        so_far += part;
        let more = (u32::from(spare) * u32::from(so_far) / u32::from(parts)) as u16 - given;
        given += more;
        let height = lines + more;
        let first = if row.len() == 2 { area.width * 58 / 100 } else { area.width };
        places.push((row[0], Rect { y, height, width: first, ..area }));
        if let Some(&second) = row.get(1) {
            places.push((second, Rect { x: area.x + first, y, height, width: area.width - first }));
        }
        y += height;
    }
    (places, Panel::DROPPED[..left_out].to_vec())
}

fn least(row: &[Panel]) -> (u16, u16) {
    let lines = row.iter().map(|panel| panel.lines());
    lines.reduce(|a, b| (a.0.max(b.0), a.1.max(b.1))).unwrap_or_default()
}

/// Draws everything.
pub fn draw(state: &State, frame: &mut Frame<'_>) {
    let area = frame.area();
    let line = |row: u16| Rect { y: area.y + row, height: 1, ..area };
    if area.is_empty() {
        return;
    }
    let (places, hidden) = arrange(area);
    frame.render_widget(status(state, area.width), line(0));
    if area.height >= 3 {
        frame.render_widget(progress(state, area.width), line(1));
    }
    for (panel, place) in places {
        let buffer = frame.buffer_mut();
        match panel {
            Panel::Loss => panels::loss(state, place, buffer),
            Panel::Validation => panels::validation(state, place, buffer),
            Panel::Rates => panels::rates(state, place, buffer),
            Panel::Experts => panels::experts(state, place, buffer),
            Panel::Forecast => panels::forecast(state, place, buffer),
            Panel::Messages => panels::messages(state, place, buffer),
        }
    }
    if area.height >= 2 {
        frame.render_widget(footer(state, &hidden), line(area.height - 1));
    }
}

/// Where training stands: the name where there is much room, then the most needed first, and nothing by half but the first.
fn status(state: &State, width: u16) -> Line<'static> {
    let figures = |name: &'static str, value: String| vec![name.fg(GREY), value.bold(), "  ".into()];
    let mut parts = Vec::new();
    if width >= WIDE {
        parts.push(vec![format!("foretoken · {}   ", state.about.name).bold()]);
    }
    match state.step {
        None => parts.push(vec!["before the first step  ".into()]),
        Some(step) => parts.extend([
            figures("epoch ", format!("{}/{}", step.epoch, state.about.epochs)),
            figures("step ", format!("{}/{}", step.step, step.steps)),
            figures("loss ", figure(step.loss.into())),
        ]),
    }
    let warnings = state.said.iter().filter(|said| said.0).count();
    if warnings > 0 {
        parts.push(vec![format!("! {} warnings  ", thousands(warnings as u64)).fg(YELLOW)]);
    }
    parts.extend(state.validated.map(|found| figures("validation MSE ", figure(found.model))));
    parts.extend(state.best.map(|best| figures("best network: epoch ", best.epoch.to_string())));
    let mut shown = Line::default();
    for part in parts {
        let part = Line::from(part);
        if !shown.spans.is_empty() && shown.width() + part.width() > usize::from(width) + 2 {
            break;
        }
        shown.spans.extend(part.spans);
    }
    shown
}

/// How far it is, and what is left; in fewer words where there is no room for more, and beside a bar where there is.
fn progress(state: &State, width: u16) -> Line<'static> {
    let (done, steps) = (state.done, state.steps().max(1));
    let pace = state.samples_a_second().map_or("– samples/s".into(), |pace| format!("{} samples/s", thousands(pace as u64)));
    let left = state.seconds_left().map_or("time left not known yet".into(), |left| format!("at most {} left", duration(left)));
    let share = format!("{:.0}%", 100.0 * done as f64 / steps as f64);
    let doing = if state.validating() { "validating · " } else { "" };
    let (all, so_far) = (format!("{}/{} steps", thousands(done), thousands(steps)), duration(state.seconds));
    let texts = [
        format!("{share}  {doing}{all} · {pace} · {so_far} · {left}"),
        format!("{share}  {pace} · {left}"),
        format!("{share}  {left}"),
        share,
    ];
    let fitting = texts.into_iter().find(|text| Line::from(text.as_str()).width() <= usize::from(width));
    let text = fitting.unwrap_or_default();
    let room = usize::from(width).saturating_sub(Line::from(text.as_str()).width() + 1);
    if room < 4 {
        return Line::from(text);
    }
    let full = (room as u64 * done.min(steps) / steps) as usize;
    Line::from(vec!["━".repeat(full).fg(BLUE), "━".repeat(room - full).fg(FAINT), format!(" {text}").into()])
}

/// What is hidden, or which keys there are.
fn footer(state: &State, hidden: &[Panel]) -> Line<'static> {
    if state.ending {
        let text = "ending after this step, with a checkpoint; Ctrl-C again ends at once, without";
        return Line::styled(text, Style::new().fg(ORANGE).add_modifier(Modifier::BOLD));
    }
    if !hidden.is_empty() {
        let names: Vec<&str> = hidden.iter().map(|panel| panel.name()).collect();
        return Line::styled(format!("too small ({ENOUGH}), hidden: {}", names.join(", ")), YELLOW);
    }
    let key = |key: &'static str| Span::from(key).bold();
    let mut keys = vec![key("q"), " ends with a checkpoint   ".fg(GREY)];
    if state.about.window.columns.len() > 1 {
        keys.extend([key("← →"), " another column".fg(GREY)]);
    }
    Line::from(keys)
}

/// A count with its thousands apart.
pub fn thousands(count: u64) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}
