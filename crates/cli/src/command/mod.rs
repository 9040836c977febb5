//! One file a command.

pub mod backtest;
pub mod forecast;
pub mod inspect;
pub mod stream;
pub mod train;
