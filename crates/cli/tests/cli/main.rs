//! The built command, as a user runs it.

#[path = "../common/mod.rs"]
mod common;

mod backtest;
mod changes;
mod forecast;
mod inspect;
mod instructions;
mod refusals;
mod series;
mod stream;
mod train;

use common::{SMALL, small};
use foretoken_kernels::thinned::place_of;
use foretoken_model::Snapshot;
use std::{
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::LazyLock,
};

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn foretoken(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_foretoken")).args(arguments).current_dir(folder).output().unwrap()
}

fn with_input(arguments: &[&str], folder: &Path, input: &[u8]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
    command.args(arguments).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || stdin.write_all(&input));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().ok();
    output
}

#[track_caller]
fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A small run, trained once for all tests.
static TRAINED: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = small(SMALL);
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder.path()));
    folder
});

/// A run of one family by its word, for data of any rate.
const RATED: &str = r#"
[data]
path = "data.csv"
split = { rows = [600, 150, 150] }
season = 24

[model]
horizon = 8
taps = 1
scaler = { window = 48 }
family = "s5"
size = "tiny"

[train]
epochs = 2
window = 64
burn_in = 8
carry = true
"#;

static FAMILY: LazyLock<tempfile::TempDir> = LazyLock::new(|| {
    let folder = small(RATED);
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder.path()));
    folder
});

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// From 0 to 1, of 2²⁴ values; 0 at place 0.
fn uniform(place: usize) -> f64 {
    place_of(place.wrapping_sub(1), 1 << 24, 0) as f64 / f64::from(1 << 24)
}

/// Points of a forecast CSV in the order of a stream's line.
fn points(csv: &str) -> Vec<u64> {
    csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse::<f64>().unwrap().to_bits()).collect()
}

/// What `forecast RUN DATA` says when it goes through all rows, though a state of the run's own is there, and `is_used` where it is sound.
#[track_caller]
fn forecast_of_all_rows(data: &str, folder: &Path, run: &str, is_used: bool) -> String {
    let copy = tempfile::tempdir_in(folder).unwrap();
    for file in ["model.safetensors", "run.toml"] {
        std::fs::copy(folder.join(run).join(file), copy.path().join(file)).unwrap();
    }
    let mut state = Snapshot::from_json(&std::fs::read_to_string(folder.join(run).join("state.json")).unwrap()).unwrap();
    state.model = "another".into();
    std::fs::write(copy.path().join("state.json"), state.to_json().unwrap()).unwrap();
    let output = foretoken(&["forecast", copy.path().to_str().unwrap(), data], folder);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(told.contains("state.json: snapshot model: expected "), is_used, "{told}");
    stdout(&output)
}

fn bits(line: &str) -> Vec<u64> {
    line.split(',').map(|value| value.parse::<f64>().unwrap().to_bits()).collect()
}

#[track_caller]
fn refused(arguments: &[&str], folder: &Path, words: &[&str]) {
    let output = foretoken(arguments, folder);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.lines().count() == 1 && text.starts_with("error: "), "{arguments:?}: {text:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text:?} lacks one of {words:?}");
}
