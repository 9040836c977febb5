//! What CI runs, and what it needs installed.

use crate::{Failure, run};
use std::process::Command;

/// A target with NEON, to see that those kernels compile.
const NEON: &str = "aarch64-unknown-linux-gnu";

/// Runs every check; the first failure ends it.
pub fn check() -> Result<bool, Failure> {
    let ci = std::env::var_os("CI").is_some();
    if ci {
        setup()?;
    }
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    run("cargo", &["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"], &[])?;
    // The library must also build without burn.
    run("cargo", &["clippy", "--release", "--package", "foretoken", "--no-default-features", "--", "-D", "warnings"], &[])?;
    if has_neon() {
        run("cargo", &["check", "--release", "--package", "foretoken-kernels", "--target", NEON], &[])?;
    } else if ci {
        return Err(format!("the target {NEON} is missing, and under CI nothing is skipped").into());
    } else {
        eprintln!("SKIPPED: the NEON kernels are not compiled, as the target {NEON} is missing; `cargo xtask setup` installs it");
    }
    run("cargo", &["doc", "--release", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])?;
    run("cargo", &["test", "--release", "--workspace"], &[])?;
    println!("every check passed");
    Ok(true)
}

fn has_neon() -> bool {
    let listed = Command::new("rustup").args(["target", "list", "--installed"]).output();
    listed.is_ok_and(|listed| String::from_utf8_lossy(&listed.stdout).lines().any(|target| target == NEON))
}

/// Installs what `check` needs beyond Rust itself.
pub fn setup() -> Result<bool, Failure> {
    if !has_neon() {
        run("rustup", &["target", "add", NEON], &[])?;
    }
    Ok(true)
}
