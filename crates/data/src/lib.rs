//! Signals: columns of numbers over time, from CSV files and from lines that arrive one by one.

mod csv_wide;
mod error;
mod lines;
mod scale;
mod signal;
mod split;
mod stamps;

pub use csv_wide::read_wide;
pub use error::DataError;
pub use lines::{LineParser, Parsed};
pub use scale::Standardiser;
pub use signal::Signal;
pub use split::{Ranges, Split};
pub use stamps::next_stamps;
