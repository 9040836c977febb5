//! `train`: what a run folder holds, what is shipped, what is learned from.

use crate::{
    FAMILY, TRAINED, bits,
    common::{SMALL, small},
    foretoken, json, points, refused, repository, stdout, uniform, with_input,
};
use std::process::Command;

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
    let known = SMALL.replace("season = 24", "season = 24\nread = { future = [\"shift\"] }");
    let folder = small(&known.replace("keep_network = true\n", ""));
    let folder = folder.path();
    let process = process(6000);
    let shifts = process.lines().enumerate().map(|(row, line)| match row {
        0 => format!("{line},shift\n"),
        _ => format!("{line},{}\n", row / 8 % 3),
    });
    std::fs::write(folder.join("data.csv"), shifts.collect::<String>()).unwrap();
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
    // It looks at nothing that is known ahead, and asks for none.
    let lines: Vec<&str> = process.split_inclusive('\n').collect();
    let stream =
        |lines: &[&str]| stdout(&with_input(&["stream", "out", "--snapshot", "state"], folder, lines.concat().as_bytes()));
    let streamed = stream(&lines[..2000]) + &stream(&lines[2000..]);
    assert_eq!(streamed.lines().count(), 6000);
    assert_eq!(bits(streamed.lines().last().unwrap()), points(&stdout(&foretoken(&["forecast", "out", "data.csv"], folder))));
    let shown = stdout(&foretoken(&["inspect", "out", "data.csv", "--svg", "routing.svg", "--audit"], folder));
    assert!(shown.contains("head_bias") && shown.contains("without a mixture") && !shown.contains("mixture 0"), "{shown}");

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
fn a_family_is_one_word_and_the_resolved_run_spells_it_out() {
    let resolved = std::fs::read_to_string(FAMILY.path().join("out/run.toml")).unwrap();
    assert!(!resolved.contains("family") && resolved.contains("type = \"s5\"") && resolved.contains("width = 32"), "{resolved}");
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
fn structural_maps_that_harm_have_no_share() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // It swings, and no level does.
    let lines = (0..2000).map(|row| format!("{row},{}\n", (row as f64 * 0.65).sin() + 2.4 * uniform(row + 1)));
    std::fs::write(folder.join("data.csv"), "time,x\n".to_string() + &lines.collect::<String>()).unwrap();
    let error = |name: &str, more: &str| {
        let run = SMALL.replace("lookback = 48", &format!("lookback = 48{more}")).replace("epochs = 3", "epochs = 1");
        std::fs::write(folder.join(format!("{name}.toml")), run).unwrap();
        stdout(&foretoken(&["train", &format!("{name}.toml"), "--out", name], folder));
        let metrics = json(&folder.join(name).join("metrics.json"));
        metrics["test"]["linear"]["mse"].as_f64().unwrap()
    };
    let maps = ", structural = { lookbacks = [48], seasons = [] }";
    let (without, with) = (error("without", ", cuts = [3]"), error("with", &format!(", cuts = [3]{maps}")));
    assert!((with / without - 1.0).abs() < 1e-6, "{with} {without}");
    // Corrections are not forestalled, and few rows say nothing.
    let corrected = error("corrected", &format!(", cuts = [3]{maps}, correction = {{ own = 24 }}"));
    assert!((corrected / without - 1.0).abs() > 1e-6, "{corrected} {without}");
    let few: Vec<String> =
        std::fs::read_to_string(folder.join("data.csv")).unwrap().lines().take(401).map(String::from).collect();
    std::fs::write(folder.join("data.csv"), few.join("\n")).unwrap();
    let (without, with) = (error("without", ", cuts = [3]"), error("with", &format!(", cuts = [3]{maps}")));
    assert!((with / without - 1.0).abs() > 1e-6, "{with} {without}");
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
    let output = foretoken(&["train", "run.toml", "--epochs", "1", "--out", "longer"], folder);
    stdout(&output);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("other.csv: learned from the last 720 of its 780 training rows, as many as"), "{said}");
}

#[test]
fn without_a_terminal_the_screen_is_lines() {
    let folder = small(SMALL);
    let output = foretoken(&["train", "run.toml", "--ui", "--epochs", "1"], folder.path());
    assert!(stdout(&output).contains("epoch   1  loss "));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(text.contains("no --ui, lines instead: standard output is not a terminal"), "{text}");
}
