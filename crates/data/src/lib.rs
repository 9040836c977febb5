//! Signals: columns of numbers over time, from CSV and Parquet files and from lines that arrive one by one.

mod audit;
mod calendar;
mod csv_table;
mod csv_wide;
mod error;
mod grid;
mod lines;
mod memory;
mod number;
mod options;
mod outliers;
mod parquet_table;
mod read;
mod scale;
mod signal;
mod split;
mod stamps;
mod statics;
mod table;
mod track;
mod values;

pub use audit::{Audit, Finding, FindingKind};
pub use calendar::{CalendarFeature, calendar};
pub use csv_wide::{read_known, read_wide};
pub use error::DataError;
pub use foretoken_kernels::numbers::Numbers;
pub use lines::{LineParser, Parsed};
pub use memory::Bytes;
pub use options::{Align, Format, Outliers, ReadOptions};
pub use read::{column_names, read};
pub use scale::{Standardiser, mean_and_deviation};
pub use signal::{Covariate, Signal, Static};
pub use split::{Ranges, Split};
pub use stamps::Stamps;
pub use values::Values;
