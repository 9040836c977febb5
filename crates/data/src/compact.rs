//! Dates that are written as integers: `202401` for a month, `20240131` for a day, two digits more each for hours, minutes and
//! seconds.
//!
//! Whether integers are dates is seen on all of a file: each must be one, of as many digits as the others, in years that data is
//! of. A counter that happens to begin there soon counts what is no date; dates pass over the ends of months, which as integers
//! are gaps.

use crate::{
    Hours, grid,
    stamps::{self, Form},
};
use jiff::civil::{Date, DateTime, Time};
use std::ops::RangeInclusive;

/// Integers outside of these years are taken for counts.
const YEARS: RangeInclusive<i64> = 1900..=2100;
/// Dates at least, where they are no more regular than integers: within one month they are both.
const MANY: usize = 7;

/// The digits of an integer that is a date by the calendar, and its seconds since 1970.
pub(crate) fn seconds(number: i64) -> Option<(u8, i64)> {
    let digits = match number {
        100_000..=999_999 => 6,
        10_000_000..=99_999_999 => 8,
        1_000_000_000..=9_999_999_999 => 10,
        100_000_000_000..=999_999_999_999 => 12,
        10_000_000_000_000..=99_999_999_999_999 => 14,
        _ => return None,
    };
    let all = number * 10i64.pow(14 - digits);
    let year = all / 10_000_000_000;
    let pair = |from_the_right: u32| (all / 100i64.pow(from_the_right) % 100) as i8;
    let day = if digits == 6 { 1 } else { pair(3) };
    let date = Date::new(year as i16, pair(4), day).ok().filter(|_| YEARS.contains(&year))?;
    let time = Time::new(pair(2), pair(1), pair(0), 0).ok()?;
    Some((digits as u8, stamps::seconds(date.to_datetime(time))))
}

/// A time as an integer of so many digits.
pub(crate) fn write(time: DateTime, digits: u8) -> String {
    let mut text = time.strftime("%Y%m%d%H%M%S").to_string();
    text.truncate(digits.into());
    text
}

/// Groups of sequences of sorted integers as dates, sequence by sequence, and the form of these; none where they are integers. A
/// group has one clock.
pub(crate) fn dates(groups: &[Vec<&[i64]>], told: Option<Hours>) -> Option<(Vec<Vec<i64>>, Form)> {
    let all = || groups.iter().flatten();
    let (digits, _) = seconds(*all().flat_map(|numbers| numbers.iter()).next()?)?;
    let ticks = |&number: &i64| seconds(number).filter(|(own, _)| *own == digits).map(|(_, ticks)| ticks);
    let dates = all().map(|numbers| numbers.iter().map(ticks).collect()).collect::<Option<Vec<Vec<i64>>>>()?;
    let mut rest = dates.iter().map(Vec::as_slice);
    let grouped: Vec<Vec<&[i64]>> = groups.iter().map(|group| rest.by_ref().take(group.len()).collect()).collect();
    let (as_dates, as_integers) = (grid::misfits(&grouped, true, told), grid::misfits(groups, false, None));
    let many = dates.iter().any(|dates| dates.len() >= MANY);
    let are_dates = as_dates < as_integers || (many && as_dates == as_integers);
    are_dates.then_some((dates, Form::Digits(digits)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_dates_by_the_calendar() {
        let write = |ticks, form| stamps::Style::whole(form).write(ticks, 0);
        for (number, expected) in [
            (202_402, Some("2024-02-01 00:00:00")),
            (20_240_229, Some("2024-02-29 00:00:00")),
            (2_024_011_323, Some("2024-01-13 23:00:00")),
            (202_401_132_359, Some("2024-01-13 23:59:00")),
            (20_240_113_235_958, Some("2024-01-13 23:59:58")),
            (20_230_229, None),
            (20_240_132, None),
            (20_240_001, None),
            (202_413, None),
            (2_024_011_324, None),
            (202_401_132_360, None),
            (20_240_113_235_960, None),
            (18_991_231, None),
            (21_010_101, None),
            (2024, None),
            (2_024_011, None),
            (-20_240_101, None),
            (1_700_000_000, None),
            (i64::MAX, None),
        ] {
            let read = seconds(number);
            let ticks = read.map(|(_, ticks)| ticks);
            assert_eq!(ticks.and_then(|ticks| write(ticks, Form::Spaced)).as_deref(), expected, "{number}");
            let written = read.and_then(|(digits, ticks)| write(ticks, Form::Digits(digits)));
            assert!(written.is_none_or(|text| text == number.to_string()), "{number}");
        }
    }

    fn are_dates(numbers: impl IntoIterator<Item = i64>) -> bool {
        dates(&[vec![&numbers.into_iter().collect::<Vec<_>>()]], None).is_some()
    }

    #[test]
    fn what_passes_over_ends_as_dates_do_is_dates() {
        let month = |last: i64| 20_240_101..=20_240_100 + last;
        assert!(are_dates(month(31)) && are_dates(month(7)));
        assert!(!are_dates(month(6)) && !are_dates(month(32)) && !are_dates([20_240_101]));
        assert!(are_dates([20_240_130, 20_240_131, 20_240_201]) && are_dates([20_240_131, 20_240_229, 20_240_331]));
        assert!(are_dates((1..=12).map(|month| 202_400 + month)) && are_dates([202_411, 202_412, 202_501]));
        assert!(!are_dates((1..=13).map(|month| 202_400 + month)) && !are_dates([202_401, 202_402]));
        assert!(are_dates((20..24).map(|hour| 2_024_011_300 + hour).chain([2_024_011_400])));
        // Two of them have any step.
        assert!(!are_dates([20_240_131, 20_240_201]));
        // Other digits, or every hundredth.
        assert!(!are_dates([202_312, 20_240_101]) && !are_dates([20_240_101, 20_240_201, 20_240_301]));
        assert!(!are_dates([]));
    }
}
