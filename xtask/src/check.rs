//! What CI runs, and what it needs installed.

use crate::{Failure, run};
use std::{
    collections::{BTreeMap, BTreeSet},
    process::Command,
};

/// A target with NEON, to see that those kernels compile.
const NEON: &str = "aarch64-unknown-linux-gnu";

/// Runs every check; the first failure ends it.
pub fn check() -> Result<bool, Failure> {
    let ci = std::env::var_os("CI").is_some();
    if ci {
        setup()?;
    }
    run("cargo", &["fmt", "--all", "--check"], &[])?;
    built_once()?;
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

/// Whether the binary and the tests ask for the same features of all that they share: else burn, which is above much of it, would be built twice.
fn built_once() -> Result<(), Failure> {
    let (binary, tests) = (features(&["--edges=normal,build"])?, features(&["--edges=normal,build,dev", "--workspace"])?);
    match binary.iter().find(|(package, features)| tests.get(*package).is_some_and(|of_tests| of_tests != *features)) {
        Some((package, found)) => {
            let expected = &tests[package];
            Err(format!("features of {package}: expected {expected:?} for the binary, as the tests have it, found {found:?} (see crates/cli/Cargo.toml)").into())
        }
        None => Ok(()),
    }
}

/// By package, the features that it is built with.
fn features(arguments: &[&str]) -> Result<BTreeMap<String, BTreeSet<String>>, Failure> {
    let tree = Command::new("cargo").args(["tree", "--prefix=none", "--format={p};{f}"]).args(arguments).output()?;
    if !tree.status.success() {
        return Err(String::from_utf8_lossy(&tree.stderr).into());
    }
    let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (package, features) in String::from_utf8(tree.stdout)?.lines().filter_map(|line| line.split_once(';')) {
        all.entry(package.into()).or_default().insert(features.trim_end_matches(" (*)").into());
    }
    Ok(all)
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
