//! What a CSV file has between its fields, and before the decimals of its numbers.

use serde::{Deserialize, Serialize};

/// What may stand between fields; of those that a line has as often the first.
const SEPARATORS: [char; 4] = [',', ';', '\t', '|'];

/// What may stand inside a number: before its decimals, or between thousands.
pub(crate) const SIGNS: [char; 6] = [',', '.', '\'', ' ', '\u{a0}', '\u{202f}'];

/// What a file of spreadsheets may say of itself above its header.
const TOLD: &str = "sep=";

/// What stands before the decimals of numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Decimal {
    /// `1234.5`.
    Point,
    /// `1234,5`, and points between thousands.
    Comma,
}

impl Decimal {
    /// Whether a number may only be meant with these decimals; of `1.234` and `1,234` the second is no number with a point.
    pub(crate) fn of(text: &str) -> Option<Self> {
        let pointed = || text.contains('.') && text.parse::<f64>().is_ok_and(f64::is_finite);
        match comma(text) {
            Some(_) if text.contains(',') => Some(Self::Comma),
            // More than one point stands between thousands.
            Some(_) if text.matches('.').count() > 1 => Some(Self::Comma),
            None if pointed() || grouped(text).is_some_and(|(_, sign, is_sure)| sign == ',' && is_sure || text.contains('.')) => {
                Some(Self::Point)
            }
            _ => None,
        }
    }
}

/// A finite number with a decimal comma, `-1.234,5` and `1,5e3`, or without decimals; a point stands between thousands alone.
pub(crate) fn comma(text: &str) -> Option<f64> {
    let (whole, behind) = text.split_once(',').map_or((text, None), |(whole, behind)| (whole, Some(behind)));
    let mut groups = whole.split(|sign| SIGNS.contains(&sign));
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let first = groups.next().unwrap_or_default();
    let mut number = String::from(first);
    let mut grouped = false;
    for group in groups {
        if group.len() != 3 || !are_digits(group) {
            return None;
        }
        grouped = true;
        number += group;
    }
    let digits = first.trim_start_matches(['+', '-']);
    // Thousands begin with no zero.
    if grouped && !((1..=3).contains(&digits.len()) && are_digits(digits) && !digits.starts_with('0')) {
        return None;
    }
    if let Some(behind) = behind {
        if behind.contains('.') || behind.is_empty() {
            return None;
        }
        number += ".";
        number += behind;
    }
    number.parse().ok().filter(|value: &f64| value.is_finite())
}

/// What may stand between thousands where decimals have a point.
const BETWEEN_THOUSANDS: [char; 6] = [',', '\'', '’', ' ', '\u{a0}', '\u{202f}'];

/// A finite number with one sign between its thousands, and decimals behind a point or none: `-1,234.5` and `1'234`; that sign, and whether it can be meant in no
/// other way, as `1,234` can.
pub(crate) fn grouped(text: &str) -> Option<(f64, char, bool)> {
    let (whole, decimals) = text.split_once('.').map_or((text, None), |(whole, decimals)| (whole, Some(decimals)));
    let digits = whole.trim_start_matches(['+', '-']);
    let sign = digits.chars().find(|sign| BETWEEN_THOUSANDS.contains(sign))?;
    let are_digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let groups: Vec<&str> = digits.split(sign).collect();
    let fits = whole.len() - digits.len() < 2
        && groups[0].len() <= 3
        && !groups[0].starts_with('0')
        && groups[1..].iter().all(|group| group.len() == 3)
        && groups.iter().all(|group| are_digits(group))
        && decimals.is_none_or(are_digits);
    let number: f64 = if fits { text.replace(sign, "").parse().ok()? } else { return None };
    Some((number, sign, sign != ',' || decimals.is_some() || groups.len() > 2))
}

/// How often each separator stands in a line outside of quotes, commas between digits left out where those stand before decimals.
fn counts(line: &str, decimal: Option<Decimal>) -> [usize; SEPARATORS.len()] {
    let mut counts = [0usize; SEPARATORS.len()];
    let (mut quoted, mut before, mut signs) = (false, ' ', line.chars().peekable());
    while let Some(sign) = signs.next() {
        quoted ^= sign == '"';
        let is_decimal = decimal == Some(Decimal::Comma)
            && sign == ','
            && before.is_ascii_digit()
            && signs.peek().is_some_and(char::is_ascii_digit);
        if let Some(at) = SEPARATORS.iter().position(|own| *own == sign)
            && !quoted
            && !is_decimal
        {
            counts[at] += 1;
        }
        before = sign;
    }
    counts
}

/// What may separate the fields of a line, what stands in it most often first.
pub(crate) fn separators(line: &str) -> Vec<char> {
    let mut there: Vec<(usize, char)> = counts(line, None).into_iter().zip(SEPARATORS).filter(|(count, _)| *count > 0).collect();
    there.sort_by_key(|(count, _)| std::cmp::Reverse(*count));
    there.into_iter().map(|(_, sign)| sign).collect()
}

/// What separates the fields of a line by itself: what stands in it most often. A comma where nothing does, or a semicolon where that stands before decimals.
pub(crate) fn separator(line: &str, decimal: Option<Decimal>) -> char {
    let counts = counts(line, decimal);
    let most = counts.iter().max().copied().unwrap_or(0);
    match counts.iter().position(|count| *count == most) {
        Some(at) if most > 0 => SEPARATORS[at],
        _ => SEPARATORS[usize::from(decimal == Some(Decimal::Comma))],
    }
}

/// The separator that a line tells of, as spreadsheets write it: `sep=;`.
pub(crate) fn told(line: &str) -> Option<char> {
    let line = line.trim_end_matches(['\r', '\n']);
    let sign = line.strip_prefix('\u{feff}').unwrap_or(line).trim_matches('"').strip_prefix(TOLD)?;
    SEPARATORS.into_iter().find(|own| sign.chars().eq([*own]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_with_decimal_commas_are_those_with_points() {
        for (text, expected) in [
            ("20,13", 20.13),
            ("-0,5", -0.5),
            ("+3", 3.0),
            (",5", 0.5),
            ("1.234,50", 1234.5),
            ("-1.234.567", -1_234_567.0),
            ("1 234,5", 1234.5),
            ("1\u{202f}234", 1234.0),
            ("1'234,5", 1234.5),
            ("1,5e3", 1500.0),
            ("12e-1", 1.2),
            ("1.234", 1234.0),
        ] {
            assert_eq!(comma(text), Some(expected), "{text}");
        }
        for text in [
            "12.5",
            "0.123",
            "1.2345",
            "1234.567",
            "1,234.5",
            "1,2,3",
            "5,",
            ",",
            "",
            "a",
            "1.234.5",
            "inf",
            "12:30",
            "1,5 kW",
            "-.234",
            "01.02.2024",
        ] {
            assert_eq!(comma(text), None, "{text}");
        }
    }

    #[test]
    fn what_can_be_meant_in_one_way_tells() {
        for (text, expected) in [
            ("20,13", Some(Decimal::Comma)),
            ("1,234.5", Some(Decimal::Point)),
            ("1'234.5", Some(Decimal::Point)),
            ("1,234,567", Some(Decimal::Point)),
            ("1'234", None),
            ("1,234", Some(Decimal::Comma)),
            ("1.234.567", Some(Decimal::Comma)),
            ("12.5", Some(Decimal::Point)),
            ("-0.123", Some(Decimal::Point)),
            ("1e-3", None),
            ("1.234", None),
            ("12", None),
            ("2024,01,02", None),
            ("01.02.2024", None),
            ("x,y", None),
            ("", None),
        ] {
            assert_eq!(Decimal::of(text), expected, "{text}");
        }
    }

    #[test]
    fn fields_are_separated_by_what_a_line_has_most_of() {
        for (line, expected) in [
            ("t,a;b,c", ','),
            ("t;a", ';'),
            ("Zeit;Temperatur (innen, oben);Last", ';'),
            ("t\ta\tb", '\t'),
            ("t|a", '|'),
            ("\"a;b;c\",d", ','),
            ("t", ','),
            ("", ','),
            ("a,b;c", ','),
        ] {
            assert_eq!(separator(line, None), expected, "{line}");
        }
        for (line, expected) in
            [("0,5", ';'), ("1;0,5;3,5;4,5", ';'), ("t\t0,5", '\t'), ("t,\"0,5\"", ','), ("t,a,b", ','), ("a", ';')]
        {
            assert_eq!(separator(line, Some(Decimal::Comma)), expected, "{line}");
        }
        let tells = ["sep=;\r\n", "\u{feff}\"sep=\t\"", "sep=,", "sep=", "sep=;;", "sep", "sep=;a"];
        assert_eq!(tells.map(told), [Some(';'), Some('\t'), Some(','), None, None, None, None]);
    }
}
