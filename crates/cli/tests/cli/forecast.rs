//! `forecast`, with a model and without.

use crate::{
    TRAINED, bits,
    common::{SMALL, csv},
    forecast_of_all_rows, foretoken, refused, stdout, with_input,
};

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
fn a_forecast_goes_on_from_where_the_run_left_its_rows() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Rows behind the test rows, gaps, and intervals that follow the stream.
    let lines: Vec<String> = csv(900).lines().map(|line| format!("{line}\n")).collect();
    let with_gap = [&lines[..400], &lines[409..]].concat().concat();
    let run =
        SMALL.replace("shares = [0.6, 0.2, 0.2]", "rows = [500, 150, 150]").replace("taps = 12", "taps = 12\nadaptive = 0.1");
    std::fs::write(folder.join("data.csv"), &with_gap).unwrap();
    std::fs::write(folder.join("run.toml"), run).unwrap();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    let forecast = |file: &str| stdout(&foretoken(&["forecast", "out", file], folder));
    assert_eq!(forecast("data.csv"), forecast_of_all_rows("data.csv", folder, "out", true));
    let longer = csv(930).lines().skip(901).fold(with_gap.clone(), |text, line| text + line + "\n");
    std::fs::write(folder.join("longer.csv"), longer).unwrap();
    assert_eq!(forecast("longer.csv"), forecast_of_all_rows("longer.csv", folder, "out", true));
    // Too few rows behind it, another sample long ago.
    std::fs::write(folder.join("shorter.csv"), [&lines[..400], &lines[409..891]].concat().concat()).unwrap();
    std::fs::write(folder.join("other.csv"), with_gap.replacen(&lines[1], "0,7,40\n", 1)).unwrap();
    for other in ["shorter.csv", "other.csv"] {
        assert_eq!(forecast(other), forecast_of_all_rows(other, folder, "out", false));
    }
    // One that is damaged is told of.
    let (state, whole) = (folder.join("out/state.json"), forecast("data.csv"));
    std::fs::write(&state, std::fs::read_to_string(&state).unwrap().replacen("\"samples\":", "\"samples\":1", 1)).unwrap();
    let output = foretoken(&["forecast", "out", "data.csv"], folder);
    assert!(String::from_utf8_lossy(&output.stderr).contains("state.json: snapshot checksum: expected "));
    assert_eq!(stdout(&output), whole);
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
fn counts_are_not_forecast_below_nothing_until_they_fall_below_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let count = |row: usize| (40.0 * (row as f64 * 0.26).sin() + (row * row % 31) as f64 - 9.0).round().max(0.0);
    let file = |rows: usize, last: f64| {
        let lines = (0..rows).map(|row| format!("{row},{}\n", if row + 1 < rows { count(row) } else { last }));
        "t,n\n".to_string() + &lines.collect::<String>()
    };
    std::fs::write(folder.join("data.csv"), file(600, count(599))).unwrap();
    let output = foretoken(&["forecast", "data.csv", "--horizon", "12", "--minutes", "0"], folder);
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(told.contains("forecasts are kept within: n 0 at least\n"), "{told}");
    let said = |csv: String| {
        let fields =
            csv.lines().skip(1).flat_map(|line| line.split(',').skip(2).take(12).map(str::to_string).collect::<Vec<_>>());
        fields.map(|field| field.parse::<f64>().unwrap()).collect::<Vec<_>>()
    };
    let within = said(stdout(&output));
    assert_eq!(within.len(), 12 * 12, "points and quantiles");
    assert!(within.iter().all(|&value| value >= 0.0) && within.contains(&0.0), "{within:?}");
    std::fs::write(folder.join("below.csv"), file(601, -4.0)).unwrap();
    let below = said(stdout(&foretoken(&["forecast", "runs/data-12", "below.csv"], folder)));
    assert!(below.iter().any(|&value| value < 0.0), "{below:?}");
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
    assert_eq!(forecast_of_all_rows("data.csv", folder, "runs/data-5", true), first);
    assert!(String::from_utf8_lossy(&again.stderr).contains("used again"));
    let shorter = stdout(&foretoken(&["forecast", "runs/data-5", "data.csv", "--horizon", "3"], folder));
    assert!(shorter.lines().skip(1).all(|line| first.contains(line)) && shorter.lines().count() == 1 + 2 * 3);
    refused(
        &["forecast", "runs", "--horizon", "5"],
        folder,
        &["runs: expected a file of data, or a model and data, found a folder alone"],
    );
    // Of other rows it is told, and of a column that is a number to its writer.
    std::fs::write(folder.join("data.csv"), csv(900).replacen("\n0,", "\n0,7", 1)).unwrap();
    let changed = foretoken(&arguments, folder);
    stdout(&changed);
    let told = String::from_utf8_lossy(&changed.stderr).into_owned();
    assert!(told.contains("the file no longer begins with the rows that runs/data-5 was trained on"), "{told}");
    let shop: String = (0..200).map(|day| format!("{day},\"€1,0{}.50\",{}\n", 10 + day % 80, day % 9)).collect();
    std::fs::write(folder.join("shop.csv"), "t,sales,units\n".to_string() + &shop).unwrap();
    let words = ["shop.csv:2: column `sales`: expected a finite number, or nothing, NA, NaN, null or None, found `€1,010.50`"];
    refused(&["forecast", "shop.csv", "--horizon", "5", "--minutes", "0"], folder, &words);
    std::fs::write(folder.join("data.csv"), csv(900)).unwrap();
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
    // Rows of another step are other data; what is not known is said.
    let rows = csv(900);
    std::fs::write(
        folder.join("data.csv"),
        rows.lines().map(|row| format!("{row},1\n")).collect::<String>().replacen(",1\n", ",new\n", 1),
    )
    .unwrap();
    let wider = foretoken(&arguments, folder);
    assert_eq!(stdout(&wider), first);
    assert!(String::from_utf8_lossy(&wider.stderr).contains("not forecast: new"), "{}", String::from_utf8_lossy(&wider.stderr));
    let hours = |(row, line): (usize, &str)| match row {
        0 => format!("{line}\n"),
        _ => format!("2024-01-{:02} {:02}:00:00,{}\n", 1 + (row - 1) / 24, (row - 1) % 24, line.split_once(',').unwrap().1),
    };
    std::fs::write(folder.join("data.csv"), rows.lines().take(700).enumerate().map(hours).collect::<String>()).unwrap();
    refused(&arguments, folder, &["data.csv", "expected rows every 1, as its model was trained on, found every 1 h"]);
    std::fs::write(folder.join("data.csv"), rows).unwrap();
    for (bad, words) in [
        (&["forecast", "data.csv"][..], "data and --horizon"),
        (&["forecast", "data.csv", "--horizon", "400"], "432 to train on and"),
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
fn flat_columns_are_left_out_and_wild_values_are_no_measurements() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let value = |row: usize| 10.0 * (row as f64 * std::f64::consts::TAU / 20.0).sin() + ((row * row) % 7) as f64 * 0.1;
    let wild = |row: usize| if [100, 295].contains(&row) { -9999.0 } else { value(row) };
    let lines = (0..300).map(|row| format!("{row},7.5,{},\n", wild(row))).collect::<String>();
    std::fs::write(folder.join("data.csv"), format!("step,flat,load,late\n{lines}")).unwrap();
    let output = foretoken(&["forecast", "data.csv", "--horizon", "10", "--minutes", "0"], folder);
    let (forecast, told) = (stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(told.contains("left out, since they do not vary over the training rows: flat, late"), "{told}");
    assert!(told.contains("made missing") && told.contains("a season of 20 samples"), "{told}");
    assert_eq!(forecast.lines().count(), 1 + 10);
    for (step, line) in forecast.lines().skip(1).enumerate() {
        let point: f64 = line.split(',').nth(2).unwrap().parse().unwrap();
        assert!((point - value(300 + step)).abs() < 2.0, "{step}: {line}");
    }
    // An incident that lasts is no glitch: the forecast goes on after it, where the file ends.
    let incident = |row: usize| if row >= 280 { 400.0 + value(row) } else { value(row) };
    let lines = (0..300).map(|row| format!("{row},{},web-{}\n", incident(row), row % 3)).collect::<String>();
    std::fs::write(folder.join("incident.csv"), format!("step,load,host\n{lines}")).unwrap();
    let output = foretoken(&["forecast", "incident.csv", "--horizon", "10", "--minutes", "0"], folder);
    let (forecast, told) = (stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(told.contains("left out, since they hold no numbers: host") && !told.contains("have no value"), "{told}");
    assert!(forecast.lines().nth(1).unwrap().starts_with("300,load,"), "{forecast}");
    // One wild value at the end is made missing, and has a place all the same.
    let lines = (0..300).map(|row| format!("{row},{}\n", if row == 299 { 9999.0 } else { value(row) })).collect::<String>();
    std::fs::write(folder.join("end.csv"), format!("step,load\n{lines}")).unwrap();
    let output = foretoken(&["forecast", "end.csv", "--horizon", "10", "--minutes", "0"], folder);
    let forecast = stdout(&output);
    assert!(forecast.lines().nth(1).unwrap().starts_with("300,load,"), "{forecast}");
    let flat = (0..300).map(|row| format!("{row},7.5\n")).collect::<String>();
    std::fs::write(folder.join("flat.csv"), format!("step,flat\n{flat}")).unwrap();
    let words = ["flat.csv", "expected a column whose values vary over the training rows, found flat"];
    refused(&["forecast", "flat.csv", "--horizon", "10"], folder, &words);
}

#[test]
fn a_forecast_is_not_written_over_its_data_nor_into_no_folder() {
    let folder = TRAINED.path();
    let data = std::fs::read(folder.join("data.csv")).unwrap();
    refused(&["forecast", "out", "data.csv", "--out", "./data.csv"], folder, &["data.csv", "one that is read"]);
    refused(&["forecast", "out", "data.csv", "--svg", "data.csv"], folder, &["data.csv", "one that is read"]);
    for kept in ["out/model.safetensors", "out/../out/run.toml"] {
        refused(&["forecast", "out", "data.csv", "--out", kept], folder, &["one that is read"]);
        refused(&["stream", "out", "--usage", kept], folder, &["one that is read"]);
    }
    refused(&["forecast", "out", "data.csv", "--out", "out"], folder, &["expected a file to write to, found a folder"]);
    let twice = ["backtest", "out", "data.csv", "--json", "new.json", "--parquet", "./new.json"];
    refused(&twice, folder, &["expected a file for each result, found one for two"]);
    refused(&["forecast", "data.csv", "--horizon", "3", "--out", "no/a.csv"], folder, &["no/a.csv", "expected a folder no"]);
    refused(&["forecast", "out", "data.csv", "--minutes", "1"], folder, &["expected no --minutes where there is a model"]);
    assert!(data == std::fs::read(folder.join("data.csv")).unwrap() && !folder.join("runs").exists());
    // Of fewer steps less is drawn.
    stdout(&foretoken(&["forecast", "out", "data.csv", "--horizon", "3", "--svg", "three.svg", "--out", "three.csv"], folder));
    assert!(std::fs::read_to_string(folder.join("three.svg")).unwrap().contains("Forecast of 3 samples from 900"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("three.csv", folder.join("link.csv")).unwrap();
        stdout(&foretoken(&["forecast", "out", "data.csv", "--out", "link.csv"], folder));
        assert!(folder.join("link.csv").symlink_metadata().unwrap().is_symlink());
        assert_eq!(std::fs::read_to_string(folder.join("three.csv")).unwrap().lines().count(), 1 + 2 * 8);
        let piped = stdout(&foretoken(&["forecast", "out", "data.csv", "--out", "/dev/stdout"], folder));
        assert_eq!(piped.lines().count(), 1 + 2 * 8);
    }
}

#[test]
fn a_level_that_has_changed_is_followed_and_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let noise = |row: usize| (row * 7919 % 1009) as f64 / 1009.0;
    let file = |rows: usize, at: usize| {
        let value = |row: usize| 50.0 + 10.0 * (row as f64 * 0.26).sin() + noise(row) + if row < at { 0.0 } else { 60.0 };
        "t,a\n".to_string() + &(0..rows).map(|row| format!("{row},{}\n", value(row))).collect::<String>()
    };
    std::fs::write(folder.join("data.csv"), file(1200, 1200)).unwrap();
    let arguments = ["forecast", "data.csv", "--horizon", "12", "--minutes", "0"];
    let told = String::from_utf8_lossy(&foretoken(&arguments, folder).stderr).into_owned();
    assert!(!told.contains("jump of"), "{told}");
    let shown = stdout(&foretoken(&["inspect", "runs/data-12"], folder));
    assert!(shown.contains("a jump is followed where the next sample is off by more than about: a "), "{shown}");
    // Ten samples of a new level.
    std::fs::write(folder.join("shifted.csv"), file(1210, 1200)).unwrap();
    let output = foretoken(&["forecast", "runs/data-12", "shifted.csv"], folder);
    let (csv, told) = (stdout(&output), String::from_utf8_lossy(&output.stderr).into_owned());
    assert!(
        told.contains("a: a jump of ") && told.contains(" at 1200, as none before it was, and the level has stayed"),
        "{told}"
    );
    let points: Vec<f64> = csv.lines().skip(1).map(|line| line.split(',').nth(2).unwrap().parse().unwrap()).collect();
    let truth = |step: usize| 110.5 + 10.0 * ((1210 + step) as f64 * 0.26).sin();
    let worst = points.iter().enumerate().map(|(step, point)| (point - truth(step)).abs()).fold(0.0, f64::max);
    assert!(points.len() == 12 && worst < 6.0, "{worst} {points:?}");
    // Live it is told once, with the sample that makes sure, and the forecast is the same.
    let live = with_input(&["stream", "runs/data-12"], folder, file(1210, 1200).as_bytes());
    let said = String::from_utf8_lossy(&live.stderr).into_owned();
    assert_eq!(said.matches("a jump of ").count(), 1, "{said}");
    assert!(said.contains("line:1205: a: a jump of ") && said.contains(" 3 samples before this one, as none"), "{said}");
    assert_eq!(bits(stdout(&live).lines().last().unwrap()), crate::points(&csv));
    // There is none without a linear expert.
    let run = SMALL.replace("season = 24", "season = 24\njumps = true").replace("linear = { lookback = 48 }\n", "");
    std::fs::write(folder.join("run.toml"), run).unwrap();
    refused(&["train", "run.toml"], folder, &["run.toml: data.jumps: expected a linear expert and a scaler of a window"]);
}
