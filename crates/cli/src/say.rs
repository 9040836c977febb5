//! Lines on standard output and standard error, whose readers may leave.

/// Prints a line as `println!` does, but gives an error where that cannot be.
macro_rules! say {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        writeln!(std::io::stdout(), $($line)*).map_err($crate::error::CliError::Output)
    }};
}
pub(crate) use say;

/// Prints a line as `eprintln!` does, where anybody reads it: nothing ends because a remark cannot be written.
macro_rules! remark {
    ($($line:tt)*) => {{
        use std::io::Write as _;
        _ = writeln!(std::io::stderr(), $($line)*);
    }};
}
pub(crate) use remark;
