//! Lines on standard output, whose reader may leave.

/// Prints a line as `println!` does, but gives an error where that cannot be.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($line)*).map_err($crate::error::CliError::Output)
    }};
}
pub(crate) use say;
