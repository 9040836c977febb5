//! Stamps that are numbers: counts, or seconds of a run with a fraction.

use super::{Form, SECOND, Time};
use crate::compact;

/// Digits behind a point that are told apart; more, as sums of decimals have, are rounded.
const DIGITS: usize = 9;

/// An integer, or a decimal number: `7`, `-0.25`, `1e-3`. With zeros in front it may be a month or an hour, and is none; a date of fourteen digits is one,
/// whose seconds have a fraction.
pub(super) fn parse(stamp: &str) -> Option<Time> {
    if let Ok(ticks) = stamp.parse::<i64>() {
        let digits = stamp.strip_prefix('-').unwrap_or(stamp);
        let plain = stamp == "0" || !digits.starts_with(['0', '+']);
        return Some(Time { plain, ..Time::plain(ticks, Form::Integer) });
    }
    let unsigned = stamp.strip_prefix(['-', '+']).unwrap_or(stamp);
    if !unsigned.starts_with(|first: char| first == '.' || first.is_ascii_digit()) {
        return None;
    }
    if stamp.contains(['e', 'E']) {
        let written = stamp.parse::<f64>().ok().filter(|value| value.is_finite())?.to_string();
        return parse(&written).map(|time| Time { plain: false, ..time });
    }
    let (whole, fraction) = unsigned.split_once('.')?;
    let seconds = compact::seconds(whole.parse().unwrap_or(0)).filter(|_| whole.len() == 14 && unsigned == stamp);
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let padded = whole.len() > 1 && whole.starts_with('0');
    if !are_digits(whole) || !are_digits(fraction) || padded || whole.len() + fraction.len() == 0 {
        return None;
    }
    let (kept, rest) = fraction.split_at(fraction.len().min(DIGITS));
    let all = format!("{whole}{kept:0<DIGITS$}").parse::<i128>().ok()? + i128::from(rest.starts_with(|digit| digit > '4'));
    if let Some((_, ticks)) = seconds {
        // The second of a date, as digits alone.
        let all = i128::from(ticks) * SECOND + format!("{kept:0<DIGITS$}").parse::<i128>().ok()?;
        return Time::of_nanoseconds(all, Form::Spaced).map(|time| Time { plain: false, digits: kept.len() as u8, ..time });
    }
    let time = Time::of_nanoseconds(if stamp.starts_with('-') { -all } else { all }, Form::Integer)?;
    let plain = !stamp.starts_with('+')
        && !whole.is_empty()
        && !kept.is_empty()
        && rest.is_empty()
        && (all > 0 || stamp.starts_with('0'));
    Some(Time { digits: if rest.is_empty() { kept.len() as u8 } else { time.digits }, plain, ..time })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decimals_are_read_to_nine_digits() {
        for (stamp, ticks, nanoseconds, digits, plain) in [
            ("0.0", 0, 0, 1, true),
            ("0.25", 0, 250_000_000, 2, true),
            ("12.500", 12, 500_000_000, 3, true),
            ("-0.25", -1, 750_000_000, 2, true),
            ("-3.0", -3, 0, 1, true),
            ("1700000000.123456789", 1_700_000_000, 123_456_789, 9, true),
            // Sums of decimals, in binary.
            ("0.30000000000000004", 0, 300_000_000, 1, false),
            ("0.7999999999999999", 0, 800_000_000, 1, false),
            ("0.99999999999", 1, 0, 0, false),
            ("1e-05", 0, 10_000, 5, false),
            ("2.5E1", 25, 0, 0, false),
            ("+0.5", 0, 500_000_000, 1, false),
            (".5", 0, 500_000_000, 1, false),
            ("5.", 5, 0, 0, false),
            ("-0.0", 0, 0, 1, false),
        ] {
            let expected = Time { nanoseconds, digits, plain, ..Time::plain(ticks, Form::Integer) };
            assert_eq!(parse(stamp), Some(expected), "{stamp}");
        }
        let time = parse("20240131235959.250").expect("a time");
        assert_eq!((time.text().as_deref(), time.plain), (Some("2024-01-31 23:59:59.250"), false));
        assert_eq!(parse("20240132235959.250").map(|time| time.form), Some(Form::Integer));
        for stamp in ["", ".", "-", "e5", "01.2016", "1.2.2016", "1,5", "0x1.8", "inf", "nan", "1e300", "1_0.5", "1.5 ", "٣.٥"]
        {
            assert_eq!(parse(stamp), None, "{stamp}");
        }
    }
}
