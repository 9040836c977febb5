//! `backtest`: windows, refits, files of forecasts.

use crate::{
    FAMILY, TRAINED,
    common::{SMALL, csv, small},
    foretoken, json, refused,
    series::{dirty, dirty_run},
    stdout, with_input,
};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    process::{Command, Stdio},
};

#[test]
fn backtest_repeats_the_scores_of_training() {
    let folder = TRAINED.path();
    let table = stdout(&foretoken(&["backtest", "out", "data.csv"], folder));
    let metrics = json(&folder.join("out/metrics.json"));
    for name in ["model", "network", "ridge", "seasonal-naive"] {
        let row = table.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name} in {table}"));
        let mse = metrics["test"][name]["mse"].as_f64().unwrap();
        let mse = if mse < 1e-4 { format!("{mse:.3e}") } else { format!("{mse:.4}") };
        assert!(row.contains(&mse), "{row} lacks {mse}");
    }
    assert!(table.contains("173 windows of 2 columns"), "{table}");
    assert!(["MSE by step", "MSE by series", "oil temperature"].iter().all(|part| table.contains(part)), "{table}");
}

#[test]
fn backtest_takes_every_so_many_windows_and_writes_json() {
    let folder = TRAINED.path();
    let run = |arguments: &[&str]| {
        let all = [&["backtest", "out", "data.csv", "--json", "scores.json"], arguments].concat();
        (stdout(&foretoken(&all, folder)), json(&folder.join("scores.json")))
    };
    let (_, whole) = run(&[]);
    let metrics = json(&folder.join("out/metrics.json"));
    for (name, scores) in metrics["test"].as_object().unwrap() {
        assert_eq!(&whole["forecasters"][name], scores, "{name}: what training found");
    }
    assert!(whole["forecasters"]["mstl-ets"]["mse"].as_f64().unwrap() > 0.0);
    assert_eq!(whole["by_horizon"]["8"], whole["forecasters"]);
    assert_eq!((&whole["windows"], &whole["series"][1]), (&173.into(), &"oil temperature".into()));
    let (table, daily) = run(&["--step", "24"]);
    assert!(table.contains("8 windows of 2 columns") && daily["windows"] == 8, "{table}");
    assert_eq!(run(&["--step", "24", "--windows", "3"]).1["windows"], 3);
    // One window, the last, is what the columns' own scores are of.
    let (_, last) = run(&["--windows", "1"]);
    for name in ["model", "ridge", "seasonal-naive"] {
        let scores = &last["forecasters"][name];
        let of = |value: &serde_json::Value| value.as_f64().unwrap();
        let columns = scores["by_column"].as_array().unwrap();
        let mean = (of(&columns[0]["mse"]) + of(&columns[1]["mse"])) / 2.0;
        assert!((mean - of(&scores["mse"])).abs() < 1e-12 && columns[0]["windows"] == 1, "{name}");
        let pit: f64 = scores["pit"].as_array().unwrap().iter().map(of).sum();
        assert!((pit - 1.0).abs() < 1e-9 && of(&scores["crps"]) > 0.0 && of(&scores["width_80"]) > 0.0, "{name}");
        assert!(of(&scores["width_95"]) >= of(&scores["width_80"]), "{name}");
    }
    // Fourteen of a longer season do not fit before the validation rows.
    let other = folder.join("season");
    std::fs::create_dir(&other).unwrap();
    std::fs::copy(folder.join("out/model.safetensors"), other.join("model.safetensors")).unwrap();
    let resolved = std::fs::read_to_string(folder.join("out/run.toml")).unwrap();
    std::fs::write(other.join("run.toml"), resolved.replace("season = 24", "season = 40")).unwrap();
    let told = stdout(&foretoken(&["backtest", "season", "data.csv"], folder));
    assert!(told.contains("no mstl-ets baseline: expected at least 560 rows before those of validation, found 540"), "{told}");
    for bad in [["--step", "0"], ["--windows", "0"]] {
        let output = foretoken(&[&["backtest", "out", "data.csv"][..], &bad].concat(), folder);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(bad[0]));
    }
}

/// A row of `backtest --parquet`.
#[derive(Clone, Debug, PartialEq)]
struct Row {
    series: String,
    cutoff: String,
    stamp: String,
    step: usize,
    truth: Option<f64>,
    forecaster: String,
    point: Option<f64>,
    /// From the lowest level on.
    quantiles: Vec<Option<f64>>,
}

fn rows(path: &Path) -> Vec<Row> {
    let reader = SerializedFileReader::new(std::fs::File::open(path).unwrap()).unwrap();
    let row = |row: parquet::record::Row| Row {
        series: row.get_string(0).unwrap().clone(),
        cutoff: row.get_string(1).unwrap().clone(),
        stamp: row.get_string(2).unwrap().clone(),
        step: row.get_int(3).unwrap() as usize,
        truth: row.get_double(4).ok(),
        forecaster: row.get_string(5).unwrap().clone(),
        point: row.get_double(6).ok(),
        quantiles: (7..row.len()).map(|at| row.get_double(at).ok()).collect(),
    };
    reader.get_row_iter(None).unwrap().map(|each| row(each.unwrap())).collect()
}

#[test]
fn one_refit_of_all_windows_is_the_run_again() {
    for folder in [TRAINED.path(), FAMILY.path()] {
        let scores = |file: &str, arguments: &[&str]| {
            let printed = stdout(&foretoken(&[&["backtest", "out", "data.csv", "--json", file], arguments].concat(), folder));
            (printed, json(&folder.join(file))["forecasters"].clone())
        };
        let (_, alone) = scores("alone.json", &[]);
        let (printed, refitted) = scores("refitted.json", &["--refit", "1000"]);
        assert!(printed.contains("refit 1 of 1, on the 7"), "{printed}");
        for (name, own) in alone.as_object().unwrap() {
            assert_eq!(&refitted[name], own, "{name}: as without refits");
            let refit = refitted.get(format!("{name}-refit"));
            assert!(refit.is_none_or(|refit| refit == own), "{name}: the same rows, the same model");
            assert_eq!(refit.is_some(), !["seasonal-naive", "mstl-ets"].contains(&name.as_str()), "{name}");
        }
    }
}

#[test]
fn refits_are_scored_beside_the_run_on_the_same_windows() {
    let folder = TRAINED.path();
    let arguments = ["backtest", "out", "data.csv", "--step", "20", "--refit", "4", "--json", "refits.json"];
    let printed = stdout(&foretoken(&arguments, folder));
    // 173 windows, every twentieth, so 9 in three parts: from rows 732, 812 and 892.
    for words in ["refit 1 of 3, on the 732 rows before 732:", "refit 2 of 3, on the 812 rows", "refit 3 of 3, on the 892 rows"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    let table = &printed[printed.find("9 windows of 2 columns").unwrap()..printed.find("MSE by step").unwrap()];
    let names: Vec<&str> =
        table.lines().filter_map(|line| line.split_whitespace().next()).filter(|word| word.is_ascii()).collect();
    let beside = ["model", "network", "linear", "ridge"].map(|name| [name.to_string(), format!("{name}-refit")]).concat();
    assert!(names.iter().filter(|name| beside.iter().any(|each| each == *name)).eq(&beside), "{table}");
    let scores = json(&folder.join("refits.json"))["forecasters"].clone();
    for name in beside {
        assert_eq!(scores[&name]["windows"], 18, "{name}");
    }
    for name in ["model", "linear", "ridge"] {
        assert_ne!(scores[name]["mse"], scores[format!("{name}-refit")]["mse"], "{name}: more rows, another fit");
    }
}

#[test]
fn the_future_reaches_no_refit() {
    for folder in [TRAINED.path(), FAMILY.path()] {
        let forecasts = |data: &str| {
            let file = format!("{data}.parquet");
            let arguments = ["backtest", "out", data, "--step", "20", "--refit", "2", "--parquet", &file];
            stdout(&foretoken(&arguments, folder));
            rows(&folder.join(file))
        };
        // From this row on all is another. A forecast starts there; of the first folder it is a refit's first.
        const CHANGED: usize = 812;
        let change = |(row, line): (usize, &str)| match row.checked_sub(1) {
            Some(row) if row >= CHANGED => format!("{row},{},{}\n", row % 7, row * 31 % 11),
            _ => format!("{line}\n"),
        };
        std::fs::write(folder.join("changed.csv"), csv(900).lines().enumerate().map(change).collect::<String>()).unwrap();
        let (before, after) = (forecasts("data.csv"), forecasts("changed.csv"));
        assert_eq!(before.len(), after.len());
        let (mut same, mut other) = (BTreeSet::new(), BTreeSet::new());
        for (a, b) in before.iter().zip(&after) {
            assert_eq!((&a.cutoff, &a.step, &a.forecaster), (&b.cutoff, &b.step, &b.forecaster));
            if a.cutoff.parse::<usize>().unwrap() < CHANGED {
                assert_eq!((a.point, &a.quantiles), (b.point, &b.quantiles), "{a:?}");
                same.insert((&a.forecaster, &a.cutoff));
            } else if a.point != b.point {
                other.insert((&a.forecaster, &a.cutoff));
            }
        }
        for name in ["model-refit", "ridge-refit"] {
            let count = |of: &BTreeSet<(&String, &String)>| of.iter().filter(|(forecaster, _)| *forecaster == name).count();
            assert!(count(&same) >= 4 && count(&other) == 4, "{name}: {} {}", count(&same), count(&other));
        }
    }
}

#[test]
fn parquet_holds_every_forecast_that_was_scored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), dirty()).unwrap();
    std::fs::write(folder.join("run.toml"), dirty_run()).unwrap();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    std::fs::write(folder.join("all.parquet"), "old").unwrap();
    let arguments = ["out", "data.csv", "--step", "2", "--refit", "15", "--json", "all.json", "--parquet", "all.parquet"];
    stdout(&foretoken(&[&["backtest"], &arguments[..]].concat(), folder));
    let (scores, rows) = (json(&folder.join("all.json")), rows(&folder.join("all.parquet")));
    let bytes = std::fs::read(folder.join("out/model.safetensors")).unwrap();
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
    let header: serde_json::Value = serde_json::from_slice(&bytes[8..8 + length]).unwrap();
    let header: serde_json::Value = serde_json::from_str(header["__metadata__"]["foretoken"].as_str().unwrap()).unwrap();
    let columns = header["columns"].as_array().unwrap().iter();
    let deviations: BTreeMap<&str, f64> =
        columns.map(|column| (column["name"].as_str().unwrap(), column["deviation"].as_f64().unwrap())).collect();
    // Windows are scored at the horizons that they reach.
    let mut reach = BTreeMap::new();
    for row in &rows {
        let reached = reach.entry((&row.forecaster, &row.series, &row.cutoff)).or_insert(0);
        *reached = row.step.max(*reached);
    }
    let levels = header["forecaster"]["quantiles"].as_array().unwrap();
    let at = |level: f64| levels.iter().position(|each| each == level).unwrap();
    for (horizon, forecasters) in scores["by_horizon"].as_object().unwrap() {
        let horizon: usize = horizon.parse().unwrap();
        for (name, scores) in forecasters.as_object().unwrap() {
            let (mut error, mut inside, mut count) = (0.0, 0, 0);
            let own = rows.iter().filter(|row| &row.forecaster == name && row.step <= horizon);
            for row in own.filter(|row| reach[&(&row.forecaster, &row.series, &row.cutoff)] >= horizon) {
                let quantile = |level| row.quantiles[at(level)];
                let Some((truth, point)) = row.truth.zip(row.point) else { continue };
                error += ((truth - point) / deviations[row.series.as_str()]).powi(2);
                inside += usize::from(quantile(0.1).unwrap() <= truth && truth <= quantile(0.9).unwrap());
                count += 1;
            }
            let (mse, cover) = (scores["mse"].as_f64().unwrap(), scores["coverage_80"].as_f64().unwrap());
            assert!((error / count as f64 / mse - 1.0).abs() < 1e-9, "{name} at {horizon}: {} {mse}", error / count as f64);
            assert!((inside as f64 / count as f64 - cover).abs() < 1e-9, "{name} at {horizon}: {inside} of {count}, {cover}");
        }
    }
    for (horizon, skills) in scores["skill"].as_object().unwrap() {
        let of = |name: &str| scores["by_horizon"][horizon][name]["mse"].as_f64().unwrap();
        for (name, skill) in skills.as_object().unwrap() {
            assert_eq!(skill.as_f64().unwrap(), 1.0 - of(name) / of("seasonal-naive"), "{name} at {horizon}");
        }
        assert!(skills.get("model").is_some() && skills["seasonal-naive"] == 0.0, "{skills:?}");
    }
    let forecasters: BTreeSet<&str> = rows.iter().map(|row| row.forecaster.as_str()).collect();
    assert!(scores["forecasters"].as_object().unwrap().keys().eq(&forecasters));
    assert!(rows.iter().any(|row| row.truth.is_none() && row.point.is_some()), "missing values are null");
    // A window's stamps follow its cutoff; every so many are counted from the last of the longest horizon.
    let last = rows.iter().rfind(|row| row.forecaster == "model-refit" && row.series == "s2").unwrap();
    assert_eq!((last.step, last.stamp.as_str(), last.cutoff.as_str()), (3, "2024-01-27 14:00:00", "2024-01-27 11:00:00"));
    let kept = std::fs::read_dir(folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!(kept, 4, "nothing but data, run, JSON and Parquet");
}

#[test]
fn few_validation_rows_cost_no_scores() {
    let folder = small(
        &SMALL
            .replace("{ shares = [0.6, 0.2, 0.2] }", "{ rows = [600, 6, 60] }")
            .replace("linear = { lookback = 48 }\n", "")
            .replace("keep_network = true", "horizons = [4, 8]"),
    );
    let folder = folder.path();
    stdout(&foretoken(&["train", "run.toml", "--epochs", "1", "--out", "out"], folder));
    stdout(&foretoken(&["backtest", "out", "data.csv", "--json", "scores.json"], folder));
    let scores = json(&folder.join("scores.json"));
    assert!(scores["by_horizon"]["4"]["mstl-ets"]["mse"].is_f64(), "{scores}");
    for option in ["--json", "--parquet"] {
        refused(&["backtest", "out", "data.csv", option, "data.csv"], folder, &["data.csv", "one that is read"]);
    }
    let both = ["backtest", "out", "data.csv", "--json", "x", "--parquet", "x"];
    refused(&both, folder, &["x: expected a file for each result"]);
}

#[test]
fn refits_and_parquet_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::create_dir(folder.join("out")).unwrap();
    std::fs::write(folder.join("data.csv"), csv(900)).unwrap();
    std::fs::copy(TRAINED.path().join("out/model.safetensors"), folder.join("out/model.safetensors")).unwrap();
    let run = std::fs::read_to_string(TRAINED.path().join("out/run.toml")).unwrap();
    std::fs::write(folder.join("out/run.toml"), run.replace("width = 16", "width = 8")).unwrap();
    let check = |arguments: &[&str], words: &[&str]| {
        let output = foretoken(&[&["backtest", "out", "data.csv"], arguments].concat(), folder);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| error.contains(word)), "{error} lacks one of {words:?}");
    };
    check(&["--refit", "3"], &["run.toml", "model", "found another"]);
    check(&["--refit", "0"], &["--refit", "0 is not in"]);
    check(&["--refit", "3", "--rate", "2"], &["--refit", "cannot be used with", "--rate"]);
    check(&["--parquet", "absent/forecasts.parquet"], &["absent/forecasts.parquet", "expected a folder absent"]);
    // A write that is killed leaves what was there, or the whole file.
    std::fs::write(folder.join("kept.parquet"), "old").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
    command.args(["backtest", "out", "data.csv", "--parquet", "kept.parquet"]).current_dir(folder).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    std::thread::sleep(std::time::Duration::from_millis(60));
    child.kill().unwrap();
    child.wait().unwrap();
    let kept = std::fs::read(folder.join("kept.parquet")).unwrap();
    assert!(kept == b"old" || (kept.starts_with(b"PAR1") && kept.ends_with(b"PAR1")));
}

#[test]
fn backtest_of_another_file_is_in_the_units_of_the_model() {
    let folder = FAMILY.path();
    let rows = csv(900);
    let mut lines = rows.lines();
    let header = lines.next().unwrap();
    let moved = lines.map(|line| {
        let values: Vec<f64> = line.split(',').map(|value| value.parse().unwrap()).collect();
        format!("{},{},{}\n", values[0], 2.0 * values[1] + 30.0, 2.0 * values[2] - 500.0)
    });
    std::fs::write(folder.join("moved.csv"), format!("{header}\n{}", moved.collect::<String>())).unwrap();
    let errors = |data: &str| {
        let path = folder.join(format!("{data}.json"));
        stdout(&foretoken(&["backtest", "out", data, "--json", &path.display().to_string()], folder));
        let scores = json(&path);
        ["model", "seasonal-naive"].map(|name| scores["forecasters"][name]["mse"].as_f64().unwrap())
    };
    let ([model, naive], [moved_model, moved_naive]) = (errors("data.csv"), errors("moved.csv"));
    // Truth and forecast in one unit: twice the signal, four times the error, wherever it lies.
    assert!((moved_naive / naive - 4.0).abs() < 1e-6, "{naive}, moved {moved_naive}");
    assert!((moved_model / model - 4.0).abs() < 0.4, "{model}, moved {moved_model}");
}

#[test]
fn a_model_of_steps_in_time_runs_at_another_rate() {
    let folder = FAMILY.path();
    // Every row twice: the held signal, sampled twice as often.
    let rows = csv(900);
    let mut lines = rows.lines();
    let header = lines.next().unwrap();
    let doubled = lines.enumerate().flat_map(|(row, line)| {
        let values = line.split_once(',').unwrap().1;
        [format!("{},{values}\n", 2 * row), format!("{},{values}\n", 2 * row + 1)]
    });
    std::fs::write(folder.join("fine.csv"), format!("{header}\n{}", doubled.collect::<String>())).unwrap();
    let error = |arguments: &[&str]| -> f64 {
        let printed = stdout(&foretoken(&[&["backtest", "out"], arguments].concat(), folder));
        let line = printed.lines().find(|line| line.trim_start().starts_with("model")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let (own, twice) = (error(&["data.csv"]), error(&["fine.csv", "--rate", "2"]));
    assert!((twice / own - 1.0).abs() < 0.02, "{own} at its own rate, {twice} at twice");
    assert_eq!(error(&["data.csv", "--rate", "1"]), own);
    let fine = std::fs::read_to_string(folder.join("fine.csv")).unwrap();
    let last = |arguments: &[&str], input: &str| -> Vec<f64> {
        let printed = stdout(&with_input(&[&["stream", "out"], arguments].concat(), folder, input.as_bytes()));
        printed.lines().last().unwrap().split(',').map(|value| value.parse().unwrap()).collect()
    };
    let (coarse, fine) = (last(&[], &rows), last(&["--rate", "2"], &fine));
    let close = coarse.iter().zip(&fine).all(|(a, b)| (a - b).abs() < 0.02 * (1.0 + a.abs()));
    assert!(coarse.len() == fine.len() && close, "{coarse:?}, at twice the rate {fine:?}");
    for rate in ["0", "-1", "nan", "1e18"] {
        refused(&["stream", "out", &format!("--rate={rate}")], folder, &["rate", "0.001 to 1000"]);
    }
    let words = ["taps", "expected 1", "found 12"];
    refused(&["backtest", &TRAINED.path().join("out").display().to_string(), "data.csv", "--rate", "2"], folder, &words);
}
