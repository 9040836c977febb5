//! The built command, as a user runs it.

mod common;

use common::{SMALL, csv, small};
use parquet::{
    file::reader::{FileReader, SerializedFileReader},
    record::RowAccessor,
};
use std::{
    collections::{BTreeMap, BTreeSet},
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

fn json(path: &Path) -> serde_json::Value {
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn train_fills_the_run_folder() {
    let folder = TRAINED.path();
    for name in ["run.toml", "model.safetensors", "checkpoint.safetensors", "forecast.csv", "forecast.svg", "routing.svg"] {
        assert!(folder.join("out").join(name).metadata().unwrap().len() > 300, "{name}");
    }
    let metrics = json(&folder.join("out/metrics.json"));
    for part in ["test", "validation"] {
        for name in ["model", "network", "ridge", "seasonal-naive"] {
            for score in ["mse", "mae", "mase", "wql", "coverage_80"] {
                let value = metrics[part][name][score].as_f64().unwrap_or(f64::NAN);
                assert!(value > 0.0, "{part}.{name}.{score}: {value}");
            }
            assert_eq!(metrics[part][name]["mse_by_step"].as_array().unwrap().len(), 8);
        }
    }
    // 900 rows, 180 of them test rows, so 173 windows.
    assert_eq!(metrics["windows"], 173);
    assert_eq!(metrics["seed"], 1);
    for number in ["seconds", "tokens_per_second", "parameters", "active_parameters", "linear_share"] {
        assert!(metrics[number].as_f64().unwrap() >= 0.0, "{number}");
    }
    let usage = &metrics["expert_usage"][0];
    let chosen: u64 = usage["chosen"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(chosen, 2 * usage["samples"].as_u64().unwrap());
    let forecast = std::fs::read_to_string(folder.join("out/forecast.csv")).unwrap();
    assert_eq!(forecast.lines().count(), 1 + 2 * 8);
    assert!(forecast.starts_with("ds,unique_id,point,q0.025,q0.1,"), "{forecast}");
}

#[test]
fn one_thread_and_two_give_the_same_model() {
    // Wide enough for a linear expert whose products and eigenvectors could be shared out.
    let linear = "linear = { lookback = 400, structural = { lookbacks = [200], seasons = [24] } }";
    let folder = small(&SMALL.replace("linear = { lookback = 48 }", linear));
    let folder = folder.path();
    let models = ["1", "2"].map(|threads| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
        command.args(["train", "run.toml", "--out", threads]).env("RAYON_NUM_THREADS", threads).current_dir(folder);
        stdout(&command.output().unwrap());
        std::fs::read(folder.join(threads).join("model.safetensors")).unwrap()
    });
    assert!(models[0] == models[1]);
}

#[test]
fn the_resolved_run_gives_the_same_model_again() {
    let folder = TRAINED.path();
    stdout(&foretoken(&["train", "out/run.toml", "--out", "again"], folder));
    let model = |run: &str| std::fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(model("out") == model("again"));
    let test = |run: &str| json(&folder.join(run).join("metrics.json"))["test"].clone();
    assert_eq!(test("out"), test("again"));

    // Resuming a finished run trains no more and gives the same model.
    let resumed = stdout(&foretoken(&["train", "run.toml", "--out", "again", "--resume"], folder));
    assert!(resumed.contains("resumed after epoch 3") && model("out") == model("again"), "{resumed}");
    // Options of the command line are the run's, and a checkpoint of another run is refused.
    stdout(&foretoken(&["train", "run.toml", "--out", "other", "--seed", "5", "--epochs", "1"], folder));
    let saved = std::fs::read_to_string(folder.join("other/run.toml")).unwrap();
    assert!(saved.contains("seed = 5") && saved.contains("epochs = 1"), "{saved}");
    assert!(model("other") != model("out"));
    refused(
        &["train", "run.toml", "--out", "other", "--resume"],
        folder,
        &["other/checkpoint.safetensors", "another configuration"],
    );
}

#[test]
fn a_model_without_linear_expert_and_mixture_is_still_whole() {
    let mixture = SMALL.find("[[model.layers]]").unwrap()..SMALL.find("[train]").unwrap();
    let run = SMALL.replace(&SMALL[mixture], "[[model.layers]]\ntype = \"s4d\"\nstates = 4\n\n");
    let run = run.replace("linear = { lookback = 48 }", "quantiles = [0.25, 0.5, 0.75]");
    // 450 training rows: too few for the ridge's usual look-back of 512.
    let folder = small(&run.replace("[0.6, 0.2, 0.2]", "[0.5, 0.3, 0.2]"));
    let shown = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder.path()));
    assert!(shown.contains("no ridge baseline") && shown.contains("seasonal-naive"), "{shown}");
    let metrics = json(&folder.path().join("out/metrics.json"));
    assert_eq!(metrics["linear_share"], 0.0);
    assert!(metrics["test"]["model"]["coverage_80"].is_null(), "no such quantiles");
    assert_eq!(metrics["expert_usage"].as_array().unwrap().len(), 0);
    assert!(std::fs::read_to_string(folder.path().join("out/routing.svg")).unwrap().contains("no mixture"));
}

#[test]
fn backtest_repeats_the_scores_of_training() {
    let folder = TRAINED.path();
    let table = stdout(&foretoken(&["backtest", "out", "data.csv"], folder));
    let metrics = json(&folder.join("out/metrics.json"));
    for name in ["model", "network", "ridge", "seasonal-naive"] {
        let row = table.lines().find(|line| line.trim_start().starts_with(name)).unwrap_or_else(|| panic!("{name} in {table}"));
        let mse = format!("{:.4}", metrics["test"][name]["mse"].as_f64().unwrap());
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
    let forecasters: BTreeSet<&str> = rows.iter().map(|row| row.forecaster.as_str()).collect();
    assert!(scores["forecasters"].as_object().unwrap().keys().eq(&forecasters));
    assert!(rows.iter().any(|row| row.truth.is_none() && row.point.is_some()), "missing values are null");
    // The last row is in January, hour 640: a window's stamps follow its cutoff.
    let last = rows.iter().rfind(|row| row.forecaster == "model-refit" && row.series == "s2").unwrap();
    assert_eq!((last.step, last.stamp.as_str(), last.cutoff.as_str()), (3, "2024-01-27 15:00:00", "2024-01-27 12:00:00"));
    let kept = std::fs::read_dir(folder).unwrap().filter(|entry| entry.as_ref().unwrap().path().is_file()).count();
    assert_eq!(kept, 4, "nothing but data, run, JSON and Parquet");
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
    check(&["--parquet", "absent/forecasts.parquet"], &["absent/forecasts.parquet", "No such file"]);
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

/// From 0 to 1, by SplitMix64 (Steele et al. 2014).
fn uniform(place: usize) -> f64 {
    let mut z = (place as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((z ^ (z >> 31)) >> 40) as f64 / f64::from(1 << 24)
}

/// An autoregressive process: its best forecast is linear.
fn process(rows: usize) -> String {
    // Near enough to normal.
    let noise = |row: usize| (0..12).map(|part| uniform(12 * row + part)).sum::<f64>() - 6.0;
    let mut last = [0.0, 0.0];
    let lines = (0..rows).map(|row| {
        last = [1.2 * last[0] - 0.5 * last[1] + noise(row), last[0]];
        format!("{row},{}\n", last[0])
    });
    "time,x\n".to_string() + &lines.collect::<String>()
}

#[test]
fn a_network_that_adds_nothing_is_not_shipped() {
    let folder = small(&SMALL.replace("keep_network = true\n", ""));
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), process(6000)).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    assert!(told.contains("the linear expert is shipped alone; --keep-network"), "{told}");
    let metrics = json(&folder.join("out/metrics.json"));
    assert_eq!((&metrics["shipped"], &metrics["linear_share"]), (&"linear".into(), &1.0.into()));
    assert!(metrics["gain"]["standard_error"].as_f64().unwrap() > 0.0);
    let of = |name: &str, score: &str| metrics["test"][name][score].as_f64().unwrap();
    // The ridge is the same map, in f64.
    assert!((of("model", "mse") / of("linear", "mse") - 1.0).abs() < 1e-4);
    assert!(of("network", "mse") > 0.0 && of("blend", "mse") > 0.0 && metrics["validation"]["blend"]["mse"].is_number());
    for (score, level) in [("coverage_80", 0.8), ("coverage_95", 0.95)] {
        assert!((of("model", score) - level).abs() < 0.05, "{score}: {}", of("model", score));
    }

    // Every command runs it, and training's scores come again.
    stdout(&foretoken(&["backtest", "out", "data.csv", "--json", "scores.json"], folder));
    let again = &json(&folder.join("scores.json"))["forecasters"];
    assert!(again["model"] == metrics["test"]["model"] && again["network"].is_null());
    let data = std::fs::read_to_string(folder.join("data.csv")).unwrap();
    let streamed = stdout(&with_input(&["stream", "out"], folder, data.as_bytes()));
    assert_eq!(bits(streamed.lines().last().unwrap()), points(&stdout(&foretoken(&["forecast", "out", "data.csv"], folder))));
    let shown = stdout(&foretoken(&["inspect", "out", "data.csv", "--svg", "routing.svg", "--audit"], folder));
    assert!(shown.contains("head_bias") && !shown.contains("mixture"), "{shown}");

    // The network is in the checkpoint: with the option it is shipped, and nothing is trained again.
    let size = |run: &str| folder.join(run).join("model.safetensors").metadata().unwrap().len();
    let alone = size("out");
    let kept = stdout(&foretoken(&["train", "run.toml", "--out", "out", "--resume", "--keep-network"], folder));
    assert!(kept.contains("resumed after epoch 3") && kept.contains("is kept as told") && !kept.contains("epoch   1"), "{kept}");
    let whole = json(&folder.join("out/metrics.json"));
    assert!(whole["shipped"] == "model" && whole["test"]["blend"].is_null() && size("out") > 2 * alone);
    for name in ["network", "linear", "seasonal-naive"] {
        assert_eq!(whole["test"][name], metrics["test"][name], "{name}");
    }
    assert_eq!(whole["test"]["model"], metrics["test"]["blend"]);
    assert!(std::fs::read_to_string(folder.join("out/run.toml")).unwrap().contains("keep_network = true"));
}

#[test]
fn a_network_that_pays_is_shipped() {
    // Regimes: one map for all of them is what a linear expert has.
    let run = std::fs::read_to_string(repository().join("examples/regimes.toml")).unwrap();
    let data = repository().join("examples/data/regimes.csv").display().to_string();
    let run = run.replace("data/regimes.csv", &data).replace("taps = 16", "taps = 16\nlinear = { lookback = 512 }");
    let folder = small(&run);
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out", "--epochs", "12"], folder.path()));
    let metrics = json(&folder.path().join("out/metrics.json"));
    assert!(told.contains("both are shipped") && metrics["shipped"] == "model", "{told}");
    let of = |name: &str| metrics["test"][name]["mse"].as_f64().unwrap();
    assert!(of("model") < 0.95 * of("ridge"), "{} {}", of("model"), of("ridge"));
}

#[test]
fn inspect_shows_parameters_usage_and_routing() {
    let folder = TRAINED.path();
    let shown = stdout(&foretoken(&["inspect", "out", "data.csv", "--last", "40", "--svg", "routing.svg"], folder));
    for part in ["parameters", "head", "horizon = 8", "2 of 3 experts", "1 swiglu", "gate weight", "last 40 samples"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    let line = shown.lines().find(|line| line.trim_start().starts_with("oil temperature  ")).unwrap();
    let symbols = line.trim_start().trim_start_matches("oil temperature").trim();
    assert!(symbols.len() == 40 && symbols.chars().all(|symbol| "012".contains(symbol)), "{symbols}");
    let drawn = std::fs::read_to_string(folder.join("routing.svg")).unwrap();
    assert!(drawn.contains("0 s4d") && drawn.contains("oil temperature"));
    assert!(!stdout(&foretoken(&["inspect", "out"], folder)).contains("samples"));
}

#[test]
fn forecast_goes_on_after_the_last_row() {
    let folder = TRAINED.path();
    let csv = stdout(&foretoken(&["forecast", "out", "data.csv", "--svg", "ahead.svg"], folder));
    let stamps: Vec<&str> = csv.lines().skip(1).map(|line| line.split(',').next().unwrap()).collect();
    assert_eq!(stamps[..8], ["900", "901", "902", "903", "904", "905", "906", "907"]);
    assert!(std::fs::read_to_string(folder.join("ahead.svg")).unwrap().contains("linear expert alone"));
    let to_file = foretoken(&["forecast", "out/model.safetensors", "data.csv", "--out", "ahead.csv"], folder);
    assert_eq!(stdout(&to_file), "");
    assert_eq!(std::fs::read_to_string(folder.join("ahead.csv")).unwrap(), csv);
}

#[test]
fn a_column_that_is_silent_or_empty_is_drawn_without_what_it_lacks() {
    let folder = TRAINED.path();
    let all = std::fs::read_to_string(folder.join("data.csv")).unwrap();
    let orange = |known: &dyn Fn(usize, usize) -> bool| {
        let line = |(row, line): (usize, &str)| {
            let fields = line.split(',').enumerate();
            fields.map(|(at, field)| if row == 0 || at == 0 || known(row, at) { field } else { "" }).collect::<Vec<_>>().join(",")
        };
        std::fs::write(folder.join("silent.csv"), all.lines().enumerate().map(line).collect::<Vec<_>>().join("\n")).unwrap();
        stdout(&foretoken(&["forecast", "out", "silent.csv", "--svg", "silent.svg"], folder));
        let drawn = std::fs::read_to_string(folder.join("silent.svg")).unwrap();
        drawn.matches("<polyline fill=\"none\" opacity=\"1\" stroke=\"#D55E00\"").count()
    };
    // One in the legend, if any.
    assert_eq!(orange(&|_, _| true), 3);
    assert_eq!(orange(&|_, column| column == 1), 2);
    assert_eq!(orange(&|_, column| column == 2), 2);
    assert_eq!(orange(&|row, column| column == 2 || row > 890), 2);
}

#[test]
fn a_trace_is_written_and_replayed_to_the_same_forecast() {
    let folder = TRAINED.path();
    let free = stdout(&foretoken(&["forecast", "out", "data.csv"], folder));
    stdout(&foretoken(&["inspect", "out", "data.csv", "--trace", "trace.json"], folder));
    assert_eq!(stdout(&foretoken(&["forecast", "out", "data.csv", "--replay", "trace.json"], folder)), free);
    // Other choices, another forecast.
    let mut trace = json(&folder.join("trace.json"));
    for stream in trace["trace"]["mixtures"][0]["streams"].as_array_mut().unwrap() {
        for pair in stream["choices"].as_array_mut().unwrap().chunks_mut(2) {
            (pair[0], pair[1]) = (2.into(), 0.into());
        }
    }
    let write = |trace: &serde_json::Value| std::fs::write(folder.join("other.json"), trace.to_string()).unwrap();
    write(&trace);
    assert_ne!(stdout(&foretoken(&["forecast", "out", "data.csv", "--replay", "other.json"], folder)), free);
    let replay = ["forecast", "out", "data.csv", "--replay", "other.json"];
    trace["trace"]["mixtures"][0]["streams"][1]["choices"][5] = 9.into();
    write(&trace);
    refused(&replay, folder, &["other.json", "mixture 0, stream 1", "experts below 3", "found 9"]);
    trace["trace"]["mixtures"][0]["streams"][1]["choices"][5] = 2.into();
    write(&trace);
    refused(&replay, folder, &["other.json", "different experts"]);
    trace["format_version"] = 9.into();
    write(&trace);
    refused(&replay, folder, &["other.json", "format_version", "expected 1", "found 9"]);
    std::fs::write(folder.join("other.json"), r#"{"format_version":1,"trace":{"mixtures":[]}}"#).unwrap();
    refused(&replay, folder, &["other.json", "2 of 3 experts", "no mixture"]);
    // A trace that is too short ends in an error, not in free choices.
    std::fs::write(folder.join("head.csv"), csv(100)).unwrap();
    stdout(&foretoken(&["inspect", "out", "head.csv", "--trace", "short.json"], folder));
    refused(&["forecast", "out", "data.csv", "--replay", "short.json"], folder, &["routing trace", "more than 100 samples"]);
}

#[test]
fn an_audit_holds_every_expert_against_the_chosen_route() {
    // Without its linear expert, which knows this signal so well that nothing is left to regret.
    let folder = small(&SMALL.replace("linear = { lookback = 48 }\n", ""));
    let folder = folder.path();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    let lines: Vec<String> = csv(900).lines().map(String::from).collect();
    let regimes = lines.iter().enumerate().map(|(row, line)| match row {
        0 => format!("{line},regime\n"),
        _ => format!("{line},{}\n", row / 100 % 3),
    });
    std::fs::write(folder.join("regimes.csv"), regimes.collect::<String>()).unwrap();
    let shown = stdout(&foretoken(
        &["inspect", "out", "regimes.csv", "--last", "300", "--audit", "--samples", "20", "--regime", "regime"],
        folder,
    ));
    for part in ["adjusted Rand index", "audit of mixture 0, 40 samples", "regret", "best single expert", "1 swiglu"] {
        assert!(shown.contains(part), "{part} in {shown}");
    }
    // The route has both of its experts; alone none is better than the best.
    let number = |after: &str| {
        let rest = &shown[shown.find(after).unwrap() + after.len()..];
        rest.trim_start().split([',', ';', ' ', '\n']).next().unwrap().parse::<f64>().unwrap()
    };
    let (route, best, regret) = (number("chosen route"), number("in hindsight"), number("regret"));
    assert!((route - best - regret).abs() < 2e-4 && best > 0.0 && best <= number("for all samples") + 1e-4, "{shown}");
    refused(&["inspect", "out", "data.csv", "--regime", "gone"], folder, &["data.csv", "expected a column `gone`"]);
    // Rows without a regime have one of their own in the audit.
    let bare = |line: &str| format!("{},\n", line.rsplit_once(',').unwrap().0);
    let blank = std::fs::read_to_string(folder.join("regimes.csv")).unwrap();
    let blank = blank.lines().enumerate().map(|(row, line)| if row == 800 { bare(line) } else { format!("{line}\n") });
    std::fs::write(folder.join("blank.csv"), blank.collect::<String>()).unwrap();
    let arguments = ["inspect", "out", "blank.csv", "--last", "300", "--audit", "--samples", "300", "--regime", "regime"];
    let shown = stdout(&foretoken(&arguments, folder));
    let own = shown.lines().find(|line| line.split_whitespace().next() == Some("-"));
    assert_eq!(own.and_then(|line| line.split_whitespace().nth(1)), Some("2"), "{shown}");
    // Of a file that lacks 20 rows, the leading experts themselves as regimes: rows stay where they are.
    let gaps = |regimes: &str| {
        let named = lines.iter().enumerate().filter(|(row, _)| !(100..120).contains(row)).map(|(row, line)| match row {
            0 => format!("{line},regime\n"),
            1..=800 => format!("{line},\n"),
            _ => format!("{line},{}\n", regimes.get(row - 801..row - 800).unwrap_or("")),
        });
        std::fs::write(folder.join("gaps.csv"), named.collect::<String>()).unwrap();
        stdout(&foretoken(&["inspect", "out", "gaps.csv", "--last", "150", "--regime", "regime"], folder))
    };
    let first = gaps("0");
    let leaders = first.lines().find_map(|line| line.strip_prefix("  load ")).unwrap().trim();
    let again = gaps(&leaders[50..]);
    assert!(
        leaders.len() == 150 && again.contains("  load: adjusted Rand index of leading experts and regimes 1.000"),
        "{again}"
    );
    std::fs::write(folder.join("none.csv"), csv(900).replace('\n', ",\n").replacen(",\n", ",regime\n", 1)).unwrap();
    refused(&["inspect", "out", "none.csv", "--regime", "regime"], folder, &["none.csv: column `regime`: expected a regime in"]);
}

#[test]
fn a_stream_writes_what_its_experts_are_used_for() {
    let folder = TRAINED.path();
    stdout(&with_input(&["stream", "out", "--usage", "usage.json"], folder, csv(300).as_bytes()));
    let usage = json(&folder.join("usage.json"));
    assert_eq!(usage[0]["samples"], 600, "two columns");
    let chosen: u64 = usage[0]["chosen"].as_array().unwrap().iter().map(|count| count.as_u64().unwrap()).sum();
    assert_eq!(chosen, 1200);
    assert_eq!(usage[0]["transitions"].as_array().unwrap().len(), 3);
}

/// Points of a forecast CSV in the order of a stream's line.
fn points(csv: &str) -> Vec<u64> {
    csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse::<f64>().unwrap().to_bits()).collect()
}

fn bits(line: &str) -> Vec<u64> {
    line.split(',').map(|value| value.parse::<f64>().unwrap().to_bits()).collect()
}

#[test]
fn etth1_streams_to_the_bits_of_forecast_also_when_stopped_half_way() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    let run = repository().join("examples/etth1.toml").display().to_string();
    stdout(&foretoken(&["train", &run, "--epochs", "1", "--out", &at("run")], folder.path()));
    let data = std::fs::read_to_string(repository().join("examples/data/ETTh1.csv")).unwrap();
    let head: String = data.lines().take(2001).flat_map(|line| [line, "\n"]).collect();
    std::fs::write(at("head.csv"), &head).unwrap();
    let forecast = points(&stdout(&foretoken(&["forecast", &at("run"), &at("head.csv")], folder.path())));
    let streamed = stdout(&with_input(&["stream", &at("run")], folder.path(), head.as_bytes()));
    assert_eq!(streamed.lines().count(), 2000, "one line out a line in, none for the header");
    assert_eq!(bits(streamed.lines().last().unwrap()), forecast);

    let (first, second) = head.split_at(head.match_indices('\n').nth(1000).unwrap().0 + 1);
    let snapshot = ["stream", &at("run"), "--snapshot", &at("snapshot.json")];
    let one = stdout(&with_input(&snapshot, folder.path(), first.as_bytes()));
    let two = stdout(&with_input(&snapshot, folder.path(), second.as_bytes()));
    assert_eq!(format!("{one}{two}"), streamed);
}

#[test]
fn a_bad_line_is_reported_and_changes_nothing() {
    let folder = TRAINED.path();
    let lines: Vec<String> = csv(60).lines().map(String::from).collect();
    let clean = stdout(&with_input(&["stream", "out"], folder, lines.join("\n").as_bytes()));
    assert_eq!(clean.lines().count(), 60);
    let mut dirty: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    for (place, bad) in [(10, "noon,1,two"), (20, "1"), (30, "5,NaN,1"), (40, "6,1,1e300"), (50, "")] {
        dirty.insert(place, bad.into());
    }
    dirty.insert(55, vec![0xff, 0xfe]);
    let output = with_input(&["stream", "out"], folder, &dirty.join(&b'\n'));
    assert_eq!(stdout(&output), clean);
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = [
        "line:11: column `oil temperature`: expected a finite number, found `two`",
        "line:21: expected 2 or 3 fields, found 1",
        "line:31: column `load`: expected a finite number, found `NaN`",
        "line:41: column `oil temperature`: expected a value within 1e12 deviations of the mean",
        "line:51: expected 2 or 3 fields, found 1",
        "line:56: expected UTF-8",
    ];
    assert_eq!(errors.lines().count(), expected.len(), "{errors}");
    assert!(errors.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{errors}");
    // Without header and stamps it is the same stream.
    let bare: String = lines[1..].iter().map(|line| line.split_once(',').unwrap().1.to_string() + "\n").collect();
    assert_eq!(stdout(&with_input(&["stream", "out"], folder, bare.as_bytes())), clean);
}

#[track_caller]
fn refused(arguments: &[&str], folder: &Path, words: &[&str]) {
    let output = foretoken(arguments, folder);
    let text = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && text.lines().count() == 1 && text.starts_with("error: "), "{arguments:?}: {text:?}");
    assert!(words.iter().all(|word| text.contains(word)), "{arguments:?}: {text:?} lacks one of {words:?}");
}

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
    check("epochs = 3", "epoch = 3", &["line 20", "unknown field `epoch`", "epochs"]);
    check("epochs = 3", "epochs = 0", &["train.epochs", "at least 1"]);
    check("epochs = 3", "epochs = ", &["line 20"]);
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
fn a_reader_that_leaves_ends_the_stream_quietly() {
    let folder = TRAINED.path();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
    command.args(["stream", "out"]).current_dir(folder).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(csv(5000).as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().ok();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", String::from_utf8_lossy(&output.stderr));
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
    unread(&["inspect", "out"]);
    unread(&["inspect", "out", "data.csv", "--audit", "--samples", "2"]);
    unread(&["train", "run.toml", "--out", "unread", "--epochs", "1"]);
    assert!(folder.join("unread/metrics.json").exists());
}

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

#[test]
fn a_family_is_one_word_and_the_resolved_run_spells_it_out() {
    let resolved = std::fs::read_to_string(FAMILY.path().join("out/run.toml")).unwrap();
    assert!(!resolved.contains("family") && resolved.contains("type = \"s5\"") && resolved.contains("width = 32"), "{resolved}");
}

#[test]
fn a_stream_may_look_back_on_a_bounded_past() {
    let (folder, data) = (FAMILY.path(), csv(300));
    let whole = stdout(&with_input(&["stream", "out"], folder, data.as_bytes()));
    let bounded = stdout(&with_input(&["stream", "out", "--refresh", "100"], folder, data.as_bytes()));
    let same = whole.lines().zip(bounded.lines()).take_while(|(a, b)| a == b).count();
    // At the second exchange the state begins at the first: what it saw until then is gone.
    assert_eq!(same, 200);
    let [head, tail] =
        [0..151, 151..301].map(|part| data.lines().skip(part.start).take(part.len()).flat_map(|l| [l, "\n"]).collect::<String>());
    let stopped = |input: &str| {
        let arguments = ["stream", "out", "--refresh", "100", "--snapshot", "state.json"];
        stdout(&with_input(&arguments, folder, input.as_bytes()))
    };
    assert_eq!(stopped(&head) + &stopped(&tail), bounded);
    refused(&["stream", "out", "--refresh", "50", "--snapshot", "state.json"], folder, &["state.json", "refresh", "50", "100"]);
    refused(&["stream", "out", "--refresh", "0"], folder, &["refresh", "at least 1", "0"]);
    assert!(stdout(&foretoken(&["backtest", "out", "data.csv", "--refresh", "64"], folder)).contains("model"));
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

/// Three series of one clock and different lengths, with a gap, missing values, a double, a sentinel and rows out of order.
fn dirty() -> String {
    let value =
        |series: usize, hour: usize| 10.0 * series as f64 + (hour as f64 * 0.26).sin() + (hour * 7919 % 101) as f64 / 300.0;
    let stamp = |hour: usize| format!("2024-{:02}-{:02} {:02}:00:00", 1 + hour / 672, 1 + hour / 24 % 28, hour % 24);
    let mut lines = vec!["unique_id,ds,y".to_string()];
    for series in 0..3 {
        // All in January and February, whose 28 first days follow one another but for the three between them.
        for hour in (200 * series)..640 {
            match (series, hour) {
                (0, 300..310) => {}
                (1, _) if hour % 40 == 7 => lines.push(format!("s1,{},", stamp(hour))),
                (2, 500) => lines.push(format!("s2,{},-9999", stamp(hour))),
                (2, 510) => (0..2).for_each(|_| lines.push(format!("s2,{},{}", stamp(hour), value(2, hour)))),
                _ => lines.push(format!("s{series},{},{}", stamp(hour), value(series, hour))),
            }
        }
    }
    lines.swap(5, 9);
    lines.join("\n")
}

/// A small run for them, at two horizons.
fn dirty_run() -> String {
    SMALL
        .replace(
            "split = { shares = [0.6, 0.2, 0.2] }",
            "split = { last = [80, 60] }\nread = { format = \"long\", missing = [-9999.0] }",
        )
        .replace("horizon = 8", "horizon = 8\nadaptive = 0.05")
        .replace("[train]", "[train]\nhorizons = [3, 8]")
}

#[test]
fn dirty_series_of_different_lengths_are_audited_learned_and_flagged() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), dirty()).unwrap();
    std::fs::write(folder.join("run.toml"), dirty_run()).unwrap();
    let table = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    for words in [
        "640 rows of 3 series, every 1 h",
        "rows out of order",
        "rows missing in gaps",
        "repeated rows",
        "numbers that mean missing",
    ] {
        assert!(table.contains(words), "{words}: {table}");
    }
    let metrics = json(&folder.join("out/metrics.json"));
    let of = |horizon: &str, score: &str| metrics["test_by_horizon"][horizon]["model"][score].as_f64().unwrap();
    // The signal's variance is about half; the noise a tenth of that.
    assert!(of("3", "mse") < 0.3 && of("8", "mse") < 0.4, "{} {}", of("3", "mse"), of("8", "mse"));
    assert_eq!((of("3", "windows"), of("8", "windows")), (3.0 * 58.0, 3.0 * 53.0));
    assert_eq!(metrics["test_by_horizon"]["8"], metrics["test"]);
    // The rows are too few for the usual ridge, and the linear expert is not called that.
    assert!(table.contains("no ridge baseline") && metrics["test"]["ridge"].is_null() && metrics["test"]["linear"].is_object());
    let csv = stdout(&foretoken(&["forecast", "out", "data.csv"], folder));
    let missing = |id: &str| -> f64 {
        let line = csv.lines().find(|line| line.contains(&format!(",{id},"))).unwrap();
        line.rsplit(',').next().unwrap().parse().unwrap()
    };
    assert!(missing("s0") == 0.0 && missing("s1") > 0.0 && missing("s1") < 0.1, "{csv}");
    // Live, a missing field is a missing sample, if it is allowed.
    let rows = "1,11,21\n1.1,,21.2\n1.2,11.2,NaN\n";
    let live = stdout(&with_input(&["stream", "out", "--missing"], folder, rows.as_bytes()));
    assert!(live.lines().count() == 3 && !live.contains("NaN"), "{live}");
    assert_eq!(stdout(&with_input(&["stream", "out"], folder, rows.as_bytes())).lines().count(), 1);
    // Who spoke is shown where there are samples, and audited there.
    let shown = stdout(&foretoken(&["inspect", "out", "data.csv", "--last", "150", "--samples", "20", "--audit"], folder));
    let line =
        |id: &str| shown.lines().find(|line| line.trim_start().starts_with(&format!("{id} "))).expect("a column").to_string();
    assert_eq!((line("s0").matches('·').count(), line("s1").matches('·').count()), (0, 3), "{shown}");
    assert!(shown.contains("audit of mixture 0"), "{shown}");
    let drawn = std::fs::read_to_string(folder.join("out/routing.svg")).unwrap();
    assert!(drawn.contains("mixture 0") && !drawn.contains("no mixture"), "missing samples are no reason to draw nothing");
}

/// A load that follows a heating known ahead, and a rain that is not; `ahead` rows of the heating after the last load.
fn heated(rows: usize, ahead: usize) -> String {
    let heat = |row: usize| if uniform(row) < 0.3 { "TRUE" } else { "FALSE" };
    let load = |row: usize| (row as f64 * 0.26).sin() + if heat(row) == "TRUE" { 2.0 } else { 0.0 };
    let line = |row: usize| {
        let stamp = format!("2024-{:02}-{:02}T{:02}:00:00Z", 1 + row / 744, 1 + row / 24 % 31, row % 24);
        match row < rows {
            true => format!("{stamp},{},{},{}\n", load(row), (row as f64 * 0.9).cos(), heat(row)),
            false => format!("{stamp},,,{}\n", heat(row)),
        }
    };
    "time,load,rain,heat\n".to_string() + &(0..rows + ahead).map(line).collect::<String>()
}

#[test]
fn covariates_are_learned_from_and_have_to_be_known() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = SMALL.replace(
        "season = 24",
        "season = 24\ncolumns = [\"load\"]\nread = { past = [\"rain\"], future = [\"heat\"], statics = \"statics.csv\", id = \"id\" }\n\
         calendar = [\"hour-of-day\"]",
    );
    let run = run.replace("epochs = 3", "epochs = 40\npatience = 40\nbatch = 2");
    std::fs::write(folder.join("statics.csv"), "id,area\nload,3.5\n").unwrap();
    std::fs::write(folder.join("data.csv"), heated(740, 0)).unwrap();
    std::fs::write(folder.join("run.toml"), &run).unwrap();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    let metrics = json(&folder.join("out/metrics.json"));
    let mse = |name: &str| metrics["test"][name]["mse"].as_f64().unwrap();
    // The linear expert does not see the heating.
    assert!(mse("model") < 0.5 * mse("linear"), "{} {}", mse("model"), mse("linear"));
    let saved = std::fs::read_to_string(folder.join("out/run.toml")).unwrap();
    assert!(saved.contains("past = 1") && saved.contains("known = 3") && saved.contains("statics = 1"), "{saved}");
    stdout(&foretoken(&["backtest", "out", "data.csv", "--json", "scores.json"], folder));
    assert_eq!(json(&folder.join("scores.json"))["forecasters"]["model"], metrics["test"]["model"]);
    stdout(&foretoken(&["inspect", "out", "data.csv", "--audit"], folder));
    // A forecast needs the heating of its hours.
    let refused = |arguments: &[&str], words: &[&str]| {
        let output = foretoken(arguments, folder);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && words.iter().all(|word| error.contains(word)), "{error} lacks one of {words:?}");
    };
    refused(&["forecast", "out", "data.csv"], &["data.csv", "known covariates of the horizon", "8", "0"]);
    std::fs::write(folder.join("known.csv"), heated(740, 8)).unwrap();
    let forecast = stdout(&foretoken(&["forecast", "out", "known.csv"], folder));
    assert!(forecast.lines().nth(1).unwrap().starts_with("2024-01-31T20:00:00Z,load,"), "{forecast}");
    // Live: the load and the rain line by line, what is known from the file.
    let lines: Vec<String> = heated(740, 0).lines().map(|line| line.rsplit_once(',').unwrap().0.to_string() + "\n").collect();
    let stream = |lines: &[String], more: &[&str]| {
        let known = ["stream", "out", "--snapshot", "state.json"];
        stdout(&with_input(&[&known[..], more].concat(), folder, lines.concat().as_bytes()))
    };
    // A line that is refused leaves nothing of its rain behind.
    let bad = [&lines[..200], &["2024-01-09T08:00:00Z,calm,7\n".into()], &lines[200..300]].concat();
    let first = stream(&bad, &["--known", "known.csv"]);
    let live = stream(&lines[300..], &[]);
    assert_eq!(first.lines().count() + live.lines().count(), 740);
    assert_eq!(bits(live.lines().last().unwrap()), points(&forecast));
    // Of the next sample's horizon one hour is not known: it is taken, and the stream goes on.
    let state = std::fs::read(folder.join("state.json")).unwrap();
    let output = with_input(&["stream", "out", "--snapshot", "state.json"], folder, b"2024-01-31T20:00:00Z,5,0\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty() && said.contains("line:1: no forecast"), "{said}");
    assert_ne!(state, std::fs::read(folder.join("state.json")).unwrap());
    refused(&["stream", "out"], &["--known", "heat, hour-of-day-sin"]);
    // The hours ahead are no test rows.
    stdout(&foretoken(&["backtest", "out", "known.csv", "--json", "known.json"], folder));
    assert_eq!(json(&folder.join("known.json"))["forecasters"]["model"], metrics["test"]["model"]);
    // Counts in the model that are not the data's.
    std::fs::write(folder.join("wrong.toml"), run.replace("horizon = 8", "horizon = 8\ncovariates = { known = 2 }")).unwrap();
    refused(&["train", "wrong.toml"], &["model.covariates.known", "expected 3", "found 2"]);
}

#[test]
fn mixed_columns_see_one_another() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The second column is the first one a sample later, and that is noise.
    let lines = (0..900).map(|row| format!("{row},{},{}\n", uniform(row + 1), uniform(row)));
    std::fs::write(folder.join("data.csv"), "time,lead,follow\n".to_string() + &lines.collect::<String>()).unwrap();
    let run = SMALL.replace("horizon = 8", "horizon = 1").replace("epochs = 3", "epochs = 30\npatience = 30\nbatch = 2");
    let errors = |name: &str, run: &str| -> Vec<f64> {
        std::fs::write(folder.join(format!("{name}.toml")), run).unwrap();
        stdout(&foretoken(&["train", &format!("{name}.toml"), "--out", name], folder));
        let metrics = json(&folder.join(name).join("metrics.json"));
        stdout(&foretoken(&["backtest", name, "data.csv", "--json", "scores.json"], folder));
        assert_eq!(json(&folder.join("scores.json"))["forecasters"]["model"], metrics["test"]["model"]);
        let columns = metrics["test"]["model"]["by_column"].as_array().unwrap();
        columns.iter().map(|column| column["mse"].as_f64().unwrap()).collect()
    };
    let (alone, mixed) = (errors("alone", &run), errors("mixed", &run.replace("season = 24", "season = 24\nmix = true")));
    // In units of its deviation noise has an error of 1.
    assert!(alone[1] > 0.8 && mixed[1] < 0.3 && mixed[0] > 0.8, "{alone:?} {mixed:?}");
    let data = std::fs::read_to_string(folder.join("data.csv")).unwrap();
    let live = stdout(&with_input(&["stream", "mixed"], folder, data.as_bytes()));
    assert_eq!(bits(live.lines().last().unwrap()), points(&stdout(&foretoken(&["forecast", "mixed", "data.csv"], folder))));
}

/// Two noisy columns, on a course of their own; the second file of them lacks a field.
fn course(file: usize, rows: usize) -> String {
    let shift = file as f64;
    let load = |t: usize| (t as f64 * 0.26 + shift).sin() * (1.0 + shift) + uniform(t + 5000 * file);
    let oil = |t: usize| ((t as f64 * 0.5 + shift).cos() + uniform(t + 9000 * file)) * 30.0;
    let line = |t: usize| match (file, t) {
        (1, 50) => format!("{t},{},\n", load(t)),
        _ => format!("{t},{},{}\n", load(t), oil(t)),
    };
    "time,load,oil temperature\n".to_string() + &(0..rows).map(line).collect::<String>()
}

/// Of a map that was folded with none but itself, in f32.
const FOLDED: f64 = 1e-4;

#[test]
fn structural_maps_are_saved_and_fitted_again() {
    let linear = "linear = { lookback = 48, reversion = 500, structural = { lookbacks = [24, 48], seasons = [24, 168] } }";
    let folder = small(&SMALL.replace("linear = { lookback = 48 }", linear).replace("epochs = 3", "epochs = 2\nrefit = true"));
    let folder = folder.path();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    let trained = json(&folder.join("out/metrics.json"));
    assert_ne!(trained["test"]["linear"]["mse"], trained["test"]["ridge"]["mse"]);
    assert_ne!(trained["test"]["linear"]["mse"], trained["test"]["selected"]["mse"]);
    let arguments = ["backtest", "out", "data.csv", "--refit", "1000", "--json", "scores.json"];
    stdout(&foretoken(&arguments, folder));
    let scores = json(&folder.join("scores.json"));
    for name in ["model", "linear"] {
        assert_eq!(scores["forecasters"][name], trained["test"][name], "{name}");
        assert_eq!(scores["forecasters"][format!("{name}-refit")], trained["test"][name], "{name}");
    }
    let short = SMALL
        .replace("linear = { lookback = 48 }", "linear = { lookback = 48, structural = { lookbacks = [49], seasons = [24] } }");
    refused(
        &["train", "run.toml", "--out", "bad"],
        small(&short).path(),
        &["model.linear.structural.lookbacks", "1 to 48", "[49]"],
    );
}

#[test]
fn further_files_are_learned_from_and_not_scored() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), course(0, 1200)).unwrap();
    std::fs::write(folder.join("other.csv"), course(1, 1100)).unwrap();
    // The linear expert's options are the usual ridge's.
    let run = SMALL.replace("linear = { lookback = 48 }", "linear = {}").replace("epochs = 3", "epochs = 2\nrefit = true");
    let also = run.replace("season = 24", "season = 24\nalso = [\"other.csv\"]");
    let also = also.replace("epochs = 2", "epochs = 2\nsampling = { weights = { \"other/load\" = 2.0 } }");
    std::fs::write(folder.join("alone.toml"), run).unwrap();
    std::fs::write(folder.join("with.toml"), &also).unwrap();
    let [alone, with] = ["alone", "with"].map(|name| {
        let told = stdout(&foretoken(&["train", &format!("{name}.toml"), "--out", name], folder));
        assert_eq!(told.contains("other.csv: 1100 rows of 2 series"), name == "with", "{told}");
        json(&folder.join(name).join("metrics.json"))
    });
    // Linear expert and usual ridge are two where one of them has learned more.
    let mse = |metrics: &serde_json::Value, name: &str| metrics["test"][name]["mse"].as_f64().unwrap();
    assert!(
        (mse(&with, "ridge") / mse(&alone, "ridge") - 1.0).abs() < FOLDED,
        "{} {}",
        mse(&with, "ridge"),
        mse(&alone, "ridge")
    );
    assert!(alone["test"]["linear"].is_null() && with["test"]["linear"].is_object());
    for name in ["model", "selected", "network"] {
        assert_ne!(mse(&with, name), mse(&alone, name), "{name}");
    }
    assert!((mse(&with, "linear") / mse(&with, "ridge") - 1.0).abs() > FOLDED);
    for part in ["test", "validation"] {
        let scores = with[part].as_object().unwrap();
        assert!(scores.values().all(|scores| scores["by_column"].as_array().unwrap().len() == 2), "{part}");
    }
    assert_eq!((&with["windows"], &with["audit"]), (&alone["windows"], &alone["audit"]));
    let forecast = std::fs::read_to_string(folder.join("with/forecast.csv")).unwrap();
    assert!(forecast.lines().count() == 1 + 2 * 8 && !forecast.contains("other/"), "{forecast}");

    // Fitted again before the first test row, all is what `train` made, from whatever folder.
    let run_folder = folder.join("with");
    let arguments = ["backtest", ".", "../data.csv", "--refit", "1000", "--json", "scores.json"];
    stdout(&foretoken(&arguments, &run_folder));
    let scores = json(&run_folder.join("scores.json"));
    for (name, trained) in [("model", "model"), ("linear", "linear"), ("ridge", "ridge")] {
        assert_eq!(scores["forecasters"][name], with["test"][trained], "{name}");
        assert_eq!(scores["forecasters"][format!("{name}-refit")], with["test"][trained], "{name}");
    }
    // On the further file itself nothing is learned from twice.
    stdout(&foretoken(&["backtest", "with", "other.csv", "--step", "50"], folder));

    std::fs::write(folder.join("run.toml"), also.replace("season = 24", "season = 24\nunit = \"seasonal-change\"")).unwrap();
    refused(&["train", "run.toml", "--out", "with", "--resume"], folder, &["another configuration"]);
    let check = |change: [&str; 2], words: &[&str]| {
        std::fs::write(folder.join("bad.toml"), also.replace(change[0], change[1])).unwrap();
        refused(&["train", "bad.toml", "--out", "bad"], folder, words);
    };
    let covariates = "data.also: expected series without covariates, found ";
    for (key, option) in [
        ("data.mix", "mix = true"),
        ("data.calendar", "calendar = [\"hour-of-day\"]"),
        ("data.read.past", "read = { past = [\"load\"] }"),
        ("data.read.future", "read = { future = [\"load\"] }"),
        ("data.read.statics", "read = { statics = \"statics.csv\" }"),
    ] {
        check(["season = 24", &format!("season = 24\n{option}")], &["bad.toml", &format!("{covariates}{key}")]);
    }
    check(["[\"other.csv\"]", "[\"other.csv\", \"./data.csv\"]"], &["bad.toml", "data.also: expected", "data.csv again"]);
    check(["[\"other.csv\"]", "[\"other.csv\", \"other.csv\"]"], &["bad.toml", "data.also: expected", "other.csv again"]);
    check(["[\"other.csv\"]", "[\"none.csv\"]"], &["none.csv"]);
    check(["other/load", "other/gas"], &["train.sampling.weights", "`other/gas`"]);
    check(["season = 24", "season = 24\ncolumns = [\"load\", \"gas\"]"], &["`gas`"]);
    std::fs::write(folder.join("other.csv"), course(1, 1300)).unwrap();
    check(["bad", "bad"], &["other.csv: training rows: expected at most 720, as many as", "data.csv has, found 780"]);
}

#[test]
fn without_a_model_one_is_trained_told_of_and_kept() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), csv(900)).unwrap();
    let arguments = ["forecast", "data.csv", "--horizon", "5", "--minutes", "0"];
    let output = foretoken(&arguments, folder);
    let first = stdout(&output);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("runs/data-5 is trained for 5 steps") && told.contains("min for training are over"), "{told}");
    assert_eq!(first.lines().count(), 1 + 2 * 5, "{first}");
    assert!(first.starts_with("ds,unique_id,point,"));
    let again = foretoken(&arguments, folder);
    assert_eq!(stdout(&again), first);
    assert!(String::from_utf8_lossy(&again.stderr).contains("used again"));
    let shorter = stdout(&foretoken(&["forecast", "runs/data-5", "data.csv", "--horizon", "3"], folder));
    assert!(shorter.lines().skip(1).all(|line| first.contains(line)) && shorter.lines().count() == 1 + 2 * 3);
    // A model of another file is not used, nor trained over.
    std::fs::create_dir(folder.join("other")).unwrap();
    std::fs::write(folder.join("other/data.csv"), csv(800)).unwrap();
    refused(
        &["forecast", "other/data.csv", "--horizon", "5"],
        folder,
        &[
            "runs/data-5/run.toml: data.path: expected other/data.csv, found ",
            "/data.csv; ",
            "`foretoken forecast runs/data-5 other/data.csv`",
        ],
    );
    for (bad, words) in [
        (&["forecast", "data.csv"][..], "data and --horizon"),
        (&["forecast", "data.csv", "--horizon", "400"], "rows to train on"),
        (&["forecast", "runs/data-5", "data.csv", "--horizon", "6"], "at most 5"),
    ] {
        let output = foretoken(bad, folder);
        assert!(!output.status.success() && String::from_utf8_lossy(&output.stderr).contains(words), "{bad:?}");
    }
}

#[test]
fn without_a_calendar_a_season_is_found_in_the_rows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let value = |row: usize| 10.0 * (row as f64 * std::f64::consts::TAU / 20.0).sin() + ((row * row) % 7) as f64 * 0.1;
    let lines = |rows: usize| (0..rows).map(|row| format!("{row},{}\n", value(row))).collect::<String>();
    std::fs::write(folder.join("data.csv"), format!("step,load\n{}", lines(300))).unwrap();
    let output = foretoken(&["forecast", "data.csv", "--horizon", "10", "--minutes", "0"], folder);
    let (forecast, told) = (stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(told.contains("a season of 20 samples, which the training rows show: the stamps tell of none"), "{told}");
    let run = std::fs::read_to_string(folder.join("runs/data-10/run.toml")).unwrap();
    assert!(run.contains("season = 20\n"), "{run}");
    for (step, line) in forecast.lines().skip(1).enumerate() {
        let point: f64 = line.split(',').nth(2).unwrap().parse().unwrap();
        assert!((point - value(300 + step)).abs() < 1.0, "{step}: {line}");
    }
}

#[test]
fn without_a_terminal_the_screen_is_lines() {
    let folder = small(SMALL);
    let output = foretoken(&["train", "run.toml", "--ui", "--epochs", "1"], folder.path());
    assert!(stdout(&output).contains("epoch   1  loss "));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no --ui, lines instead: standard output is not a terminal"), "{text}");
}
