//! What the first column of a wide file is.

use crate::{
    DataError, compact, dates, stamps,
    table::{Field, Table},
};

/// Rows that are looked at for the column of stamps.
const LOOKED_AT: usize = 100;
/// Numbers of rows stay below it, times since 1970 do not.
const MOST_NUMBERED: i64 = 100_000_000;

/// What the first column of a wide file is.
pub(crate) enum First {
    Stamps,
    /// Numbers of the rows, as indices and keys are, before the column of stamps.
    Numbers(usize),
    /// A series like others, as no stamps go forth and back, or a text; the stamps are in another column.
    Values(usize),
}

impl First {
    /// Where stamps lie, and the first column that may be a series.
    pub fn time_and_from(self) -> (usize, usize) {
        match self {
            Self::Stamps => (0, 1),
            Self::Numbers(time) => (time, 1),
            Self::Values(time) => (time, 0),
        }
    }

    /// Whether a file has one column of dates in words, or digits with signs, behind a first one that has none: that are the stamps, where the first has integers that rise
    /// and are no dates, or what is no stamps in order.
    ///
    /// # Errors
    /// An unreadable file.
    pub fn of(table: &Table) -> Result<Self, DataError> {
        let columns: Vec<usize> = (0..table.header().names.len()).filter(|&column| table.has_fields(column)).collect();
        let is_unnamed = table.header().names[0].is_empty();
        if columns.first() != Some(&0) {
            return Ok(Self::Stamps);
        }
        let number = |field: Field<'_>| match field {
            Field::Integer(number) => Some(number),
            Field::Text(text) => text.parse().ok(),
            _ => None,
        };
        let is_date = |field: Field<'_>| match field {
            Field::Text(text) => text.parse::<f64>().is_err() && dates::is_stamp(text),
            field => matches!(field, Field::Time(_)),
        };
        let (mut rows, mut dated) = (table.rows(&columns)?, columns[1..].to_vec());
        let (mut last, mut are_numbers, mut are_dates) = (None, true, true);
        // Whether the first column's times are of days long ago, or none; and which ways they go.
        let (mut before, mut are_stamps, mut are_early, mut ways) = (None, true, true, [false; 2]);
        let (mut dates, mut go_on): (Vec<String>, bool) = (Vec::new(), true);
        for _ in 0..LOOKED_AT {
            // What is wrong with a row is found where it is read.
            if !matches!(rows.advance(), Ok(Some(_))) {
                break;
            }
            let field = rows.field(0);
            dated.retain(|&column| is_date(rows.field(column)));
            if dated.is_empty() || is_date(field) {
                return Ok(Self::Stamps);
            }
            match number(field) {
                Some(number) if (0..MOST_NUMBERED).contains(&number) && last.is_none_or(|last| last < number) => {
                    last = Some(number);
                    are_dates &= compact::seconds(number).is_some();
                }
                _ => are_numbers = false,
            }
            match field.time().map(stamps::nanoseconds) {
                Some(time) => {
                    ways[0] |= before.is_some_and(|before| before < time);
                    ways[1] |= before.is_some_and(|before| before > time);
                    are_early &= time < i128::from(MOST_NUMBERED) * stamps::SECOND;
                    before = Some(time);
                }
                None => are_stamps = false,
            }
            let now: Vec<String> = dated.iter().map(|&column| rows.field(column).text().into_owned()).collect();
            go_on &= dates != now;
            dates = now;
        }
        // What rises beside dates that go on is measured.
        let is_value = !are_stamps || ways == [true; 2] || are_early && go_on && !are_numbers;
        Ok(match dated[..] {
            [time] if are_numbers && last.is_some() && !are_dates => Self::Numbers(time),
            [time] if is_value && !is_unnamed => Self::Values(time),
            _ => Self::Stamps,
        })
    }
}
