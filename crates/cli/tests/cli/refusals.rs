//! What is refused, by name; readers that leave.

use crate::{
    TRAINED,
    common::{SMALL, csv, small},
    foretoken, refused, repository, stdout, with_input,
};
use std::process::{Command, Stdio};

#[test]
fn bad_data_is_named_with_its_place() {
    let good = csv(900);
    let check = |data: &str, words: &[&str]| {
        let folder = small(SMALL);
        std::fs::write(folder.path().join("data.csv"), data).unwrap();
        refused(&["train", "run.toml", "--out", "out"], folder.path(), words);
        assert!(!folder.path().join("out").exists(), "nothing is left behind");
    };
    check("", &["data.csv", "header", "empty file"]);
    check(&good[good.find('\n').unwrap() + 1..], &["data.csv", "expected a header"]);
    check(&good.replacen("\n7,", "\n7,1,", 1), &["data.csv:9", "expected 3 fields, found 4"]);
    check(&good.replacen("\n7,", "\n7,x", 1), &["data.csv:9", "column `load`", "a finite number", "`x"]);
    check(&csv(30), &["data.csv", "expected", "found"]);
    check(&csv(100), &["data.csv", "expected at least", "found"]);
    let constant: String = good
        .lines()
        .enumerate()
        .map(|(row, line)| match row {
            0 => format!("{line}\n"),
            _ => format!("{},3\n", line.rsplit_once(',').unwrap().0),
        })
        .collect();
    check(&constant, &["data.csv", "column `oil temperature`", "vary", "3"]);
    // 180 test rows, the last of 900; one value stands behind them.
    let blank: String = good.lines().take(721).map(|line| format!("{line}\n")).collect::<String>()
        + &(720..901).map(|row| if row < 900 { format!("{row},,\n") } else { "900,1,2\n".into() }).collect::<String>();
    let folder = small(&SMALL.replace("shares = [0.6, 0.2, 0.2]", "rows = [540, 180, 180]"));
    std::fs::write(folder.path().join("data.csv"), blank).unwrap();
    let words = ["data.csv: test rows: expected a value in at least one, found none from 720 to 899"];
    refused(&["train", "run.toml"], folder.path(), &words);
    let folder = small(SMALL);
    std::fs::remove_file(folder.path().join("data.csv")).unwrap();
    refused(&["train", "run.toml"], folder.path(), &["data.csv", "No such file"]);
    refused(&["train", "absent.toml"], folder.path(), &["absent.toml", "No such file"]);
}

#[test]
fn a_bad_run_is_named_with_its_field() {
    let check = |from: &str, to: &str, words: &[&str]| {
        assert!(SMALL.contains(from), "{from}");
        let folder = small(&SMALL.replacen(from, to, 1));
        refused(&["train", "run.toml", "--out", "out"], folder.path(), &[&["run.toml"], words].concat());
    };
    check("epochs = 3", "horizons = [8, 4, 8]", &["train.horizons", "horizons that rise", "[8, 4, 8]"]);
    check("epochs = 3", "epoch = 3", &["line 20", "unknown field `epoch`", "epochs"]);
    check("epochs = 3", "epochs = 0", &["train.epochs", "at least 1"]);
    check("epochs = 3", "epochs = ", &["line 20"]);
    check("epochs = 3", "epochs = 1.5", &["line 20, `epochs`: invalid type", "floating point `1.5`"]);
    check("window = 48 }", "window = true }", &["line 11, `window`: invalid type"]);
    check("states = 4", "states = 4.5", &["model.layers.0.experts.0: s4d, `states`: invalid type"]);
    check("horizon = 8", "horizons = 8", &["line 8", "horizons"]);
    check("burn_in = 8", "burn_in = 18446744073709551615", &["train.burn_in", "burn_in + positions <= window (64)"]);
    check(
        "burn_in = 8",
        "burn_in = 8\nhorizons = [3, 5]",
        &["train.horizons: expected 8, the model's horizon, among them, found [3, 5]"],
    );
    check("season = 24", "season = 0", &["season", "at least 1"]);
    check("width = 16", "width = 0", &["model.width", "at least 1", "found 0"]);
    check("num_experts = 3", "num_experts = 3\ntop_k = 0", &["model.layers.0.top_k", "1 to num_experts (3)", "found 0"]);
    check("num_experts = 3", "num_experts = 3\ntop_k = 4", &["model.layers.0.top_k", "found 4"]);
    check("num_experts = 3", "num_experts = 0", &["model.layers.0.num_experts", "found 0"]);
    check("num_experts = 3", "num_experts = 3\nexperts_dropout = 0.1", &["model.layers.0", "experts_dropout"]);
    let dense = "num_experts = 3\nrouting_strategy = \"softmax\"\nload_balance_coeff = 0.1";
    check("num_experts = 3", dense, &["model.layers.0.load_balance_coeff", "no gradient"]);
    check("\"s4d\"", "\"s5d\"", &["model.layers.0.experts.0.type", "`s5d`"]);
    check("shares = [0.6, 0.2, 0.2]", "shares = [0.6, 0.2, 0.3]", &["three shares", "sum to 1"]);
    for (from, to, words) in [
        ("season = 24", "season = 24\ncolumns = [\"gone\"]", &["data.csv", "expected a column `gone`", "load"]),
        ("season = 24", "season = 700", &["data.csv", "data.season: expected at most the 540 rows", "found 700"]),
        ("lookback = 48", "lookback = 4800", &["data.csv", "expected at least 4808", "found 540"]),
        ("window = 64", "window = 640", &["data.csv", "expected at least 648", "found 540"]),
    ] {
        refused(&["train", "run.toml", "--out", "out"], small(&SMALL.replacen(from, to, 1)).path(), words);
    }
}

#[test]
fn bad_models_are_named() {
    let folder = TRAINED.path();
    let good = std::fs::read(folder.join("out/model.safetensors")).unwrap();
    std::fs::write(folder.join("short.safetensors"), &good[..good.len() / 2]).unwrap();
    std::fs::write(folder.join("foreign.safetensors"), b"{}").unwrap();
    for command in ["forecast", "backtest", "inspect"] {
        refused(&[command, "short.safetensors", "data.csv"], folder, &["short.safetensors", "whole safetensors file"]);
        refused(&[command, "foreign.safetensors", "data.csv"], folder, &["foreign.safetensors", "expected"]);
        refused(&[command, "absent", "data.csv"], folder, &["absent", "No such file"]);
        refused(&[command, "out", "absent.csv"], folder, &["absent.csv", "No such file"]);
    }
    std::fs::write(folder.join("other.csv"), "time,a\n1,2\n2,3\n").unwrap();
    refused(&["forecast", "out", "other.csv"], folder, &["other.csv", "expected a column `load`", "found a"]);
    std::fs::write(folder.join("bad.json"), "{").unwrap();
    refused(&["stream", "out", "--snapshot", "bad.json"], folder, &["bad.json"]);
    stdout(&with_input(&["stream", "out", "--snapshot", "whole.json"], folder, b"1,2\n"));
    let state = std::fs::read_to_string(folder.join("whole.json")).unwrap();
    std::fs::write(folder.join("bad.json"), state.replace("\"samples\":1", "\"samples\":2")).unwrap();
    refused(&["stream", "out", "--snapshot", "bad.json"], folder, &["bad.json", "snapshot checksum", "it is damaged"]);
}

#[test]
fn help_shows_an_example() {
    let folder = repository();
    for command in ["train", "forecast", "backtest", "stream", "inspect"] {
        let help = stdout(&foretoken(&[command, "--help"], &folder));
        assert!(help.contains("Example:\n  ") && help.contains(&format!("foretoken {command}")), "{help}");
    }
    assert!(stdout(&foretoken(&["--help"], &folder)).contains("Example"));
}

#[test]
fn a_reader_that_leaves_ends_tables_quietly_and_no_training() {
    let folder = TRAINED.path();
    let unread = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
        let mut child =
            command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    unread(&["backtest", "out", "data.csv", "--windows", "3", "--json", "unread.json"]);
    assert!(folder.join("unread.json").exists());
    let parquet = ["--refit", "1", "--parquet", "unread.parquet"];
    unread(&[&["backtest", "out", "data.csv", "--windows", "2"][..], &parquet].concat());
    assert!(folder.join("unread.parquet").exists());
    unread(&["forecast", "out", "data.csv", "--svg", "unread.svg"]);
    assert!(folder.join("unread.svg").exists());
    unread(&["inspect", "out", "data.csv", "--svg", "unread2.svg", "--trace", "unread.trace"]);
    assert!(folder.join("unread2.svg").exists() && folder.join("unread.trace").exists());
    unread(&["inspect", "out"]);
    unread(&["inspect", "out", "data.csv", "--audit", "--samples", "2"]);
    unread(&["train", "run.toml", "--out", "unread", "--epochs", "1"]);
    assert!(folder.join("unread/metrics.json").exists());
}
