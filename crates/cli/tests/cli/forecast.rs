//! `forecast`, with a model and without.

use crate::{TRAINED, common::csv, foretoken, refused, stdout};

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
