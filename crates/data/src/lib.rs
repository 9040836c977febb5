//! Signals: columns of numbers over time, from CSV files and from lines that arrive one by one.

mod audit;
mod calendar;
mod csv_wide;
mod error;
mod grid;
mod lines;
mod number;
mod options;
mod outliers;
mod read;
mod scale;
mod signal;
mod split;
mod stamps;
mod statics;
mod table;
mod track;

pub use audit::{Audit, Finding, FindingKind};
pub use calendar::{CalendarFeature, calendar};
pub use csv_wide::{read_known, read_wide};
pub use error::DataError;
pub use lines::{LineParser, Parsed};
pub use options::{Align, Format, Outliers, ReadOptions};
pub use read::read;
pub use scale::{Standardiser, mean_and_deviation};
pub use signal::{Covariate, Signal, Static};
pub use split::{Ranges, Split};
pub use stamps::next_stamps;
