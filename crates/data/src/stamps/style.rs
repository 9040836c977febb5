//! How the stamps of a file are written.

use super::{Form, SECONDS, Time, civil};
use crate::{compact, local};

/// Digits behind the point of a nanosecond.
const NANO: u8 = 9;

/// How the stamps of a file are written: their form, and their digits behind the point.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Style {
    pub form: Form,
    /// Digits behind the point; at most so many where `trimmed`.
    pub digits: u8,
    /// Whether zeros that end them are left out, as languages write decimals: of a number all but one, of a time the point, too.
    pub trimmed: bool,
}

/// Digits that so many nanoseconds need behind the point.
pub(crate) fn shortest(nanoseconds: i32) -> u8 {
    let zeros = |digits: &u8| nanoseconds % 10i32.pow((NANO - digits).into()) == 0;
    (0..NANO).find(zeros).unwrap_or(NANO)
}

impl Style {
    /// That of whole stamps in a form.
    pub fn whole(form: Form) -> Self {
        Self { form, digits: 0, trimmed: false }
    }

    /// That of one stamp.
    pub fn of(time: &Time) -> Self {
        Self { digits: time.digits, ..Self::whole(time.form) }
    }

    /// That of stamps so far and another: in the finest form, trimmed where those with a point have not all as many digits behind it.
    pub fn and(self, time: &Time) -> Self {
        let differ = self.digits > 0 && time.digits > 0 && self.digits != time.digits;
        Self { form: self.form.finest(time.form), digits: self.digits.max(time.digits), trimmed: self.trimmed || differ }
    }

    /// Whether a time was written so.
    pub fn is_of(self, time: &Time) -> bool {
        let digits = match self.trimmed {
            true => shortest(time.nanoseconds).max(u8::from(self.form == Form::Integer)),
            false => self.digits,
        };
        time.plain && time.form == self.form && time.digits == digits
    }

    /// A stamp of ticks, of which a second has 10 to the power of `resolution`; `None` beyond the year 9999.
    pub fn write(self, ticks: i64, resolution: u8) -> Option<String> {
        let second = 10i64.pow(resolution.into());
        self.write_parts(ticks.div_euclid(second), ticks.rem_euclid(second), resolution)
    }

    /// A stamp of seconds and nanoseconds; `None` beyond the year 9999.
    pub fn write_time(self, seconds: i64, nanoseconds: i32) -> Option<String> {
        self.write_parts(seconds, nanoseconds.into(), NANO)
    }

    /// Of whole seconds and a fraction, to the nearest that its digits tell.
    fn write_parts(self, mut whole: i64, mut fraction: i64, resolution: u8) -> Option<String> {
        let digits = self.digits.min(resolution);
        let unit = 10i64.pow((resolution - digits).into());
        fraction = (fraction + unit / 2) / unit;
        if fraction == 10i64.pow(digits.into()) {
            (whole, fraction) = (whole.checked_add(1)?, 0);
        }
        if self.digits == 0 {
            return write(whole, self.form);
        }
        let is_number = self.form == Form::Integer;
        let negative = is_number && whole < 0;
        if negative && fraction > 0 {
            (whole, fraction) = (whole + 1, 10i64.pow(digits.into()) - fraction);
        }
        // Digits of the fraction, and zeros behind them.
        let mut behind = if digits == 0 { String::new() } else { format!("{fraction:0width$}", width = digits.into()) };
        behind.extend(std::iter::repeat_n('0', (self.digits - digits).into()));
        if self.trimmed {
            behind.truncate(behind.trim_end_matches('0').len().max(usize::from(is_number)));
        }
        if is_number {
            return Some(format!("{}{}.{behind}", if negative { "-" } else { "" }, whole.unsigned_abs()));
        }
        let text = write(whole, self.form)?;
        let (civil, zone) = text.split_at_checked(SECONDS)?;
        Some(if behind.is_empty() { text } else { format!("{civil}.{behind}{zone}") })
    }
}

/// A whole stamp in a form; `None` beyond the year 9999.
fn write(ticks: i64, form: Form) -> Option<String> {
    if form == Form::Integer {
        return Some(ticks.to_string());
    }
    if let Form::LocalUtc { offset, spaced } = form {
        return write(ticks.checked_sub(offset.into())?, if spaced { Form::SpacedUtc } else { Form::Utc });
    }
    let time = civil(ticks)?;
    Some(match form {
        Form::Month if time.day() == 1 => time.strftime("%Y-%m").to_string(),
        Form::Date | Form::Month => time.strftime("%Y-%m-%d").to_string(),
        Form::SpacedMinute if time.second() == 0 => time.strftime("%Y-%m-%d %H:%M").to_string(),
        Form::IsoMinute if time.second() == 0 => time.strftime("%Y-%m-%dT%H:%M").to_string(),
        Form::Iso | Form::IsoMinute => time.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
        Form::Utc => time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        Form::SpacedUtc => time.strftime("%Y-%m-%d %H:%M:%S+00:00").to_string(),
        Form::Digits(digits) => compact::write(time, digits),
        Form::Local { offset, spaced } => local::write(time, offset, spaced),
        Form::Spaced | Form::SpacedMinute | Form::Integer | Form::LocalUtc { .. } => {
            time.strftime("%Y-%m-%d %H:%M:%S").to_string()
        }
    })
}
