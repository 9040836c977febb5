//! Dirty series, covariates, columns that see one another: trained, scored, streamed.

use crate::{bits, common::SMALL, forecast_of_all_rows, foretoken, json, points, refused, stdout, uniform, with_input};

/// Three series of one clock and different lengths, with a gap, missing values, a double, a sentinel and rows out of order.
pub fn dirty() -> String {
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
pub fn dirty_run() -> String {
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

/// A temperature that follows its setpoint slowly, which is known `ahead` rows after the last temperature, and a second column that does not.
fn driven(rows: usize, ahead: usize) -> String {
    let (mut state, mut text) = (0.0, "time,warm,free,set\n".to_string());
    for row in 0..rows + ahead {
        let set = (8.0 * uniform(row / 25)).floor();
        state += 0.1 * (set - state);
        let stamp = format!("{:.2}", row as f64 / 100.0);
        match row < rows {
            true => {
                text +=
                    &format!("{stamp},{},{},{set}\n", state + 0.02 * uniform(row), uniform(3 * row) + (row as f64 * 0.2).sin())
            }
            false => text += &format!("{stamp},,,{set}\n"),
        }
    }
    text
}

#[test]
fn files_of_another_step_and_series_that_are_not_known_are_told_of() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let file = |hours: usize, more: &str| {
        let stamp = |hour: usize| format!("2024-{:02}-{:02} {:02}:00:00", 1 + hour / 672, 1 + hour / 24 % 28, hour % 24);
        let line = |row: usize| format!("{},{},{}{more}\n", stamp(row * hours), (row as f64 * 0.26).sin(), (row * row) % 7);
        format!("t,a,b{}\n", if more.is_empty() { "" } else { ",c" }) + &(0..700).map(line).collect::<String>()
    };
    for (name, text) in [("data.csv", file(1, "")), ("two.csv", file(2, "")), ("more.csv", file(1, ",5"))] {
        std::fs::write(folder.join(name), text).unwrap();
    }
    std::fs::write(folder.join("run.toml"), SMALL).unwrap();
    stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    let saved = std::fs::read_to_string(folder.join("out/run.toml")).unwrap();
    assert!(saved.contains("step = 3600.0\n"), "{saved}");
    let told = |arguments: &[&str], input: &str| {
        let output = with_input(arguments, folder, input.as_bytes());
        stdout(&output);
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for command in ["forecast", "backtest"] {
        let step = told(&[command, "out", "two.csv"], "");
        assert!(step.contains("two.csv: its rows are 2 h apart, and the model has learned from rows 3600 s apart"), "{step}");
        let more = told(&[command, "out", "more.csv"], "");
        assert!(more.contains("more.csv: not among the columns of the model, and not forecast: c\n"), "{more}");
        assert!(!more.contains("apart") && !told(&[command, "out", "data.csv"], "").contains("apart"), "{more}");
    }
    let (two, one) = (told(&["stream", "out"], &file(2, "")), told(&["stream", "out"], &file(1, "")));
    assert!(two.contains("line:7: samples are 7200 s apart, and the model has learned from rows 3600 s apart"), "{two}");
    assert!(!one.contains("apart"), "{one}");
    // A leap that the stamps alone could not tell yet.
    let lines = file(1, "");
    let wrong: Vec<&str> = lines.lines().take(4).chain(["2916-01-01 01:00:00,1,2"]).chain(lines.lines().skip(4)).collect();
    let leap = told(&["stream", "out", "--missing"], &(wrong.join("\n") + "\n"));
    assert!(
        leap.contains("line:5: column `stamp`: expected a stamp at most ") && leap.matches("expected").count() == 1,
        "{leap}"
    );
    // Beside files of another step it is told what is learned from; a step is a number of seconds.
    let also = SMALL.replace("season = 24", "season = 24\nstep = 7200.0\nalso = [\"two.csv\"]");
    std::fs::write(folder.join("also.toml"), &also).unwrap();
    let output = foretoken(&["train", "also.toml", "--out", "both"], folder);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(said.contains("rows every 1 h, where data.step says 7200 s"), "{said}");
    assert!(said.contains("two.csv: learned from rows every 2 h beside those every 1 h of the run's own file"), "{said}");
    std::fs::write(folder.join("wrong.toml"), also.replace("7200.0", "-1.0")).unwrap();
    let output = foretoken(&["train", "wrong.toml"], folder);
    assert!(String::from_utf8_lossy(&output.stderr).contains("data.step: expected seconds, a number above 0, found -1"));
    // What does nothing is refused, and what has no rows to be fitted on.
    for (options, words) in [
        ("covariates = { response = 10 }", "response: expected covariates that are known ahead beside the calendar, found none"),
        ("covariates = { response = 9223372036854775807 }", "response: expected covariates"),
    ] {
        std::fs::write(folder.join("wrong.toml"), SMALL.replace("horizon = 8", &format!("horizon = 8\n{options}"))).unwrap();
        let output = foretoken(&["train", "wrong.toml"], folder);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && error.contains(words), "{error}");
    }
}

#[test]
fn columns_that_respond_to_what_is_known_follow_it() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let run = SMALL.replace("season = 24", "season = 24\nread = { future = [\"set\"] }");
    std::fs::write(folder.join("data.csv"), driven(1500, 0)).unwrap();
    std::fs::write(folder.join("run.toml"), &run).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    assert!(told.contains("columns respond to `set` over "), "{told}");
    let metrics = json(&folder.join("out/metrics.json"));
    let of = |name: &str, place: usize| metrics["test"][name]["by_column"][place]["mse"].as_f64().unwrap();
    assert!(of("linear", 0) < 0.05 * of("ridge", 0) && of("model", 0) < 0.1 * of("ridge", 0), "{}", metrics["test"]);
    assert!(of("linear", 1) < 1.1 * of("ridge", 1), "{}", metrics["test"]);
    // A backtest of what was saved, whether fitted anew or not, responds too.
    stdout(&foretoken(&["backtest", "out", "data.csv", "--json", "scores.json"], folder));
    let again = &json(&folder.join("scores.json"))["forecasters"];
    for name in ["model", "network", "linear", "ridge"] {
        assert_eq!(again[name], metrics["test"][name], "{name}");
    }
    let refit = ["backtest", "out", "data.csv", "--step", "40", "--refit", "10", "--json", "refit.json"];
    stdout(&foretoken(&refit, folder));
    let refit = &json(&folder.join("refit.json"))["forecasters"];
    let mse = |name: &str| refit[name]["mse"].as_f64().unwrap();
    assert!(mse("model-refit") < 0.5 * mse("ridge") && mse("linear-refit") < 0.5 * mse("ridge"), "{refit}");
    let shown = stdout(&foretoken(&["inspect", "out"], folder));
    assert!(shown.contains("response to what is known ahead"), "{shown}");
    // The coming setpoints have to be known, and move what follows.
    std::fs::write(folder.join("known.csv"), driven(1500, 8)).unwrap();
    let forecast = stdout(&foretoken(&["forecast", "out", "known.csv"], folder));
    assert_eq!(forecast, forecast_of_all_rows("known.csv", folder, "out", true));
    let colder = driven(1500, 8).replacen(",,,", ",,,-", 3);
    std::fs::write(folder.join("colder.csv"), colder).unwrap();
    let colder = stdout(&foretoken(&["forecast", "out", "colder.csv"], folder));
    let moved: Vec<bool> = points(&forecast).iter().zip(points(&colder)).map(|(warm, cold)| *warm != cold).collect();
    assert_eq!(moved, [[true; 8], [false; 8]].concat(), "{forecast}{colder}");
    // Live, from a snapshot, the same.
    let lines: Vec<String> = driven(1500, 0).lines().map(|line| line.rsplit_once(',').unwrap().0.to_string() + "\n").collect();
    let stream = |lines: &[String], more: &[&str]| {
        let all = [&["stream", "out", "--snapshot", "state.json"], more].concat();
        stdout(&with_input(&all, folder, lines.concat().as_bytes()))
    };
    let live = stream(&lines[..700], &["--known", "known.csv"]) + &stream(&lines[700..], &[]);
    assert_eq!(live.lines().count(), 1500);
    assert_eq!(bits(live.lines().last().unwrap()), points(&forecast));
    // Not asked for, and beside bounds.
    let options = |options: &str| run.replace("horizon = 8", &format!("horizon = 8\ncovariates = {{ response = {options} }}"));
    std::fs::write(folder.join("none.toml"), options("0")).unwrap();
    let told = stdout(&foretoken(&["train", "none.toml", "--out", "none"], folder));
    assert!(!told.contains("respond"), "{told}");
    std::fs::write(folder.join("wrong.toml"), options("9223372036854775807")).unwrap();
    let output = foretoken(&["train", "wrong.toml"], folder);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && error.contains("training rows of a response: expected at least "), "{error}");
    std::fs::write(folder.join("wrong.toml"), options("20").replace("season = 24", "season = 24\nbounds = true")).unwrap();
    let output = foretoken(&["train", "wrong.toml"], folder);
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(error.contains("wrong.toml: model.covariates.response: expected none beside data.bounds"), "{error}");
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
    // What the network makes of them: a response would leave it nothing.
    let run = run.replace("horizon = 8", "horizon = 8\ncovariates = { response = 0 }");
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
    refused(&["forecast", "out", "data.csv"], &["data.csv", "series `load`: expected `heat` of the next 8 samples, found 0"]);
    std::fs::write(folder.join("known.csv"), heated(740, 8)).unwrap();
    let forecast = stdout(&foretoken(&["forecast", "out", "known.csv"], folder));
    assert!(forecast.lines().nth(1).unwrap().starts_with("2024-01-31T20:00:00Z,load,"), "{forecast}");
    assert_eq!(forecast, forecast_of_all_rows("known.csv", folder, "out", true));
    // Of fewer steps, of fewer hours.
    std::fs::write(folder.join("three.csv"), heated(740, 3)).unwrap();
    let three = stdout(&foretoken(&["forecast", "out", "three.csv", "--horizon", "3"], folder));
    assert!(three.lines().eq(forecast.lines().take(4)), "{three}");
    refused(&["forecast", "out", "three.csv", "--horizon", "4"], &["`heat` of the next 4 samples, found 3"]);
    // Live: the load and the rain line by line, what is known from the file.
    let lines: Vec<String> = heated(740, 0).lines().map(|line| line.rsplit_once(',').unwrap().0.to_string() + "\n").collect();
    let stream = |lines: &[String], more: &[&str]| {
        let known = ["stream", "out", "--snapshot", "state.json"];
        stdout(&with_input(&[&known[..], more].concat(), folder, lines.concat().as_bytes()))
    };
    // A line that is refused leaves nothing of its rain behind.
    let bad = [&lines[..200], &["2024-01-09T08:00:00Z,calm,7\n".into()], &lines[200..300]].concat();
    let first = stream(&bad, &["--known", "known.csv"]);
    // Nor of the gap before it.
    let missing = |lines: &[String]| {
        stdout(&with_input(&["stream", "out", "--missing", "--known", "known.csv"], folder, lines.concat().as_bytes()))
    };
    let wet = [&lines[..200], &["2024-01-09T18:00:00Z,7,1e300\n".into()], &lines[200..300]].concat();
    assert_eq!(missing(&wet), missing(&lines[..300]));
    // The same command once more passes over what is known already.
    std::fs::copy(folder.join("state.json"), folder.join("again.json")).unwrap();
    let again = ["stream", "out", "--snapshot", "again.json", "--known", "known.csv"];
    let again = stdout(&with_input(&again, folder, lines[300..].concat().as_bytes()));
    let live = stream(&lines[300..], &[]);
    assert_eq!(again, live);
    assert_eq!(first.lines().count() + live.lines().count(), 740);
    assert_eq!(bits(live.lines().last().unwrap()), points(&forecast));
    // Of the next sample's horizon one hour is not known: it is taken, and the stream goes on.
    let state = std::fs::read(folder.join("state.json")).unwrap();
    let output = with_input(&["stream", "out", "--snapshot", "state.json"], folder, b"2024-01-31T20:00:00Z,5,0\n");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success() && output.stdout.is_empty() && said.contains("line:1: no forecast"), "{said}");
    assert_ne!(state, std::fs::read(folder.join("state.json")).unwrap());
    refused(&["stream", "out"], &["--known", "a stamp, heat, found none"]);
    // A sample that never came takes its hour with it, and each of the others has its own, wherever the known hours begin.
    let gap = |known: &str| {
        let input = [&lines[..1], &lines[5..400], &lines[410..]].concat().concat();
        with_input(&["stream", "out", "--known", known], folder, input.as_bytes())
    };
    let later: String = heated(740, 8)
        .lines()
        .enumerate()
        .filter(|(line, _)| !(1..5).contains(line))
        .map(|(_, line)| line.to_string() + "\n")
        .collect();
    std::fs::write(folder.join("later.csv"), later).unwrap();
    let (early, late) = (gap("known.csv"), gap("later.csv"));
    assert_eq!(stdout(&early), stdout(&late));
    assert_eq!(stdout(&early).lines().count(), 726);
    let said = String::from_utf8_lossy(&early.stderr).into_owned();
    assert_eq!(said, "line:397: its stamp passes over 10 samples, of which no line tells\n");
    // Of the same gap in a stream that knows nothing of the hours ten rows are passed over by hand: other hours, another forecast.
    let unstamped: String = lines[1..400].iter().chain(&lines[410..]).map(|line| line.split_once(',').unwrap().1).collect();
    let by_order = stdout(&with_input(&["stream", "out", "--known", "known.csv"], folder, unstamped.as_bytes()));
    let by_stamp = stdout(&with_input(
        &["stream", "out", "--known", "known.csv"],
        folder,
        [&lines[..400], &lines[410..]].concat().concat().as_bytes(),
    ));
    let same = by_order.lines().zip(by_stamp.lines()).take_while(|(one, other)| one == other).count();
    assert_eq!(same, 399);
    // A clock that is a little late is that of the nearest hour.
    let tardy = lines[1..4].concat().replace(":00:00Z", ":07:00Z");
    let tardy = stdout(&with_input(&["stream", "out", "--known", "known.csv"], folder, tardy.as_bytes()));
    assert!(tardy.lines().eq(by_order.lines().take(3)), "{tardy}");
    // Hours that begin after the first sample are not its own, and a file that leaves some out is not what follows a snapshot.
    let output = with_input(&["stream", "out", "--known", "later.csv"], folder, lines[..3].concat().as_bytes());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.starts_with(
            "line:2: column `stamp`: expected a stamp of what is known ahead, 2024-01-01T04:00:00Z to 2024-02-01T03:00:00Z, found"
        ),
        "{said}"
    );
    let hours = heated(740, 20);
    let lacking: Vec<&str> = hours.lines().take(1).chain(hours.lines().skip(750)).collect();
    std::fs::write(folder.join("lacking.csv"), lacking.join("\n")).unwrap();
    refused(
        &["stream", "out", "--snapshot", "state.json", "--known", "lacking.csv"],
        &["lacking.csv:2", "expected 2024-02-01T04:00:00Z, a step after what is known already, found `2024-02-01T05:00:00Z`"],
    );
    refused(&["stream", "out", "--snapshot", "known.csv", "--known", "known.csv"], &["known.csv", "one that is read"]);
    let doubled = run.replace("[\"heat\"]", "[\"hour-of-day-sin\"]");
    std::fs::write(folder.join("doubled.csv"), heated(740, 0).replace("heat", "hour-of-day-sin")).unwrap();
    std::fs::write(folder.join("doubled.toml"), doubled.replace("data.csv", "doubled.csv")).unwrap();
    refused(&["train", "doubled.toml"], &["data.calendar", "`hour-of-day-sin` twice"]);
    // The hours ahead are no test rows.
    stdout(&foretoken(&["backtest", "out", "known.csv", "--json", "known.json"], folder));
    assert_eq!(json(&folder.join("known.json"))["forecasters"]["model"], metrics["test"]["model"]);
    // Counts in the model that are not the data's.
    std::fs::write(folder.join("wrong.toml"), run.replace("response = 0", "response = 0, known = 2")).unwrap();
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

#[test]
fn columns_that_drive_one_another_correct_the_linear_expert() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // The second column is the first one three samples later; some values are missing, and the third begins late.
    let line = |row: usize| {
        let lead = if row % 50 == 7 { String::new() } else { uniform(row + 4).to_string() };
        // A glitch, which reaches into the second column no further than 8 deviations.
        let lead = if row == 1490 { "4".into() } else { lead };
        let late = if row < 80 { String::new() } else { uniform(row + 70_000).to_string() };
        format!("{row},{lead},{},{late}\n", uniform(row + 1) + 0.1 * uniform(row + 90_000))
    };
    let data = "time,lead,follow,late\n".to_string() + &(0..1500).map(line).collect::<String>();
    std::fs::write(folder.join("data.csv"), &data).unwrap();
    let linear = "adaptive = 0.05\nlinear = { lookback = 96, cuts = [3], correction = { own = 8, across = 6 } }";
    // A network that learns nothing leaves the linear expert alone. The season is too long for a baseline that takes many fits.
    let run = SMALL
        .replace("season = 24", "season = 96")
        .replace("linear = { lookback = 48 }", linear)
        .replace("keep_network = true\n", "learning_rate = 1e-9\n");
    std::fs::write(folder.join("run.toml"), &run).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    assert!(
        told.contains("corrections: of 0 columns by their own samples, of 1 column by those of all columns, of 0 columns by"),
        "{told}"
    );
    assert!(told.contains("the linear expert is shipped alone"), "{told}");
    let metrics = json(&folder.join("out/metrics.json"));
    let of = |name: &str, score: &str| metrics["test"][name][score].as_f64().unwrap();
    // The same maps, of a stream in f32 and of windows in f64.
    assert!((of("model", "mse") / of("linear", "mse") - 1.0).abs() < 1e-4, "{} {}", of("model", "mse"), of("linear", "mse"));
    let column = |name: &str, index: usize| metrics["test"][name]["by_column"][index]["mse"].as_f64().unwrap();
    // Three steps of eight are known, but for a hundredth.
    assert!(column("linear", 1) < 0.8 * column("ridge", 1), "{} {}", column("linear", 1), column("ridge", 1));
    assert_eq!(metrics["test"]["model"]["mse_by_step"].as_array().unwrap().len(), 8);
    stdout(&foretoken(&["backtest", "out", "data.csv", "--json", "scores.json"], folder));
    assert_eq!(json(&folder.join("scores.json"))["forecasters"]["model"], metrics["test"]["model"]);
    let lines: Vec<&str> = data.split_inclusive('\n').collect();
    let stream = |lines: &[&str]| {
        let arguments = ["stream", "out", "--missing", "--snapshot", "state"];
        stdout(&with_input(&arguments, folder, lines.concat().as_bytes()))
    };
    let live = stream(&lines[..700]) + &stream(&lines[700..]);
    assert_eq!(bits(live.lines().last().unwrap()), points(&stdout(&foretoken(&["forecast", "out", "data.csv"], folder))));

    // Fitted once more, and on the way of a backtest, what was picked is picked.
    std::fs::write(folder.join("again.toml"), run.replace("[train]", "[train]\nrefit = true")).unwrap();
    stdout(&foretoken(&["train", "again.toml", "--out", "again"], folder));
    let again = json(&folder.join("again/metrics.json"));
    assert_ne!(again["test"]["model"]["mse"], again["test"]["selected"]["mse"]);
    assert_eq!(again["test"]["selected"]["mse"], metrics["test"]["model"]["mse"]);
    let arguments = ["backtest", "again", "data.csv", "--refit", "1000", "--json", "scores.json"];
    stdout(&foretoken(&arguments, folder));
    let scores = json(&folder.join("scores.json"));
    for name in ["model", "linear"] {
        assert_eq!(scores["forecasters"][format!("{name}-refit")], again["test"][name], "{name}");
    }

    // More samples of all columns than are worth looking at are refused before anything is fitted.
    std::fs::write(
        folder.join("wide.toml"),
        run.replace("lookback = 96", "lookback = 1400").replace("across = 6", "across = 1366"),
    )
    .unwrap();
    refused(
        &["train", "wide.toml"],
        folder,
        &["wide.toml: model.linear.correction.across: expected at most 1365 samples of each of 3 columns, found 1366"],
    );

    // Rows too few for it say that, and not that none pays.
    std::fs::write(folder.join("few.toml"), run.replace("shares = [0.6, 0.2, 0.2]", "rows = [110, 100, 100]")).unwrap();
    let few = foretoken(&["train", "few.toml", "--out", "few", "--epochs", "1"], folder);
    let told = String::from_utf8_lossy(&few.stderr).into_owned();
    assert!(
        told.contains("the linear expert has no corrections: ") && told.contains("training windows of the correction"),
        "{told}"
    );
    assert!(!stdout(&few).contains("correction of the linear expert pays"));

    // Noise has none, and says so.
    let noise = |row: usize| format!("{row},{},{}\n", uniform(row + 11), uniform(row + 50_000));
    std::fs::write(folder.join("data.csv"), "time,a,b\n".to_string() + &(0..1500).map(noise).collect::<String>()).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "none", "--epochs", "1"], folder));
    assert!(told.contains("no correction of the linear expert pays"), "{told}");
    stdout(&foretoken(&["forecast", "none", "data.csv"], folder));
}

#[test]
fn rows_of_an_office_are_forecast_and_streamed_in_its_hours() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Twelve weeks from 1 January 2024, a Monday, from eight to five; a row in fifty is missing.
    let date = |day: usize| {
        format!(
            "2024-{:02}-{:02}",
            1 + usize::from(day > 30) + usize::from(day > 59),
            match day {
                0..=30 => day + 1,
                31..=59 => day - 30,
                _ => day - 59,
            }
        )
    };
    let rows = (0..84).filter(|day| day % 7 < 5).flat_map(|day| (8..17).map(move |hour| (day, hour)));
    let rows = rows.map(|(day, hour)| {
        let value = 10.0 - (hour as f64 - 12.0).powi(2) / 4.0 + (day % 7) as f64 + uniform(24 * day + hour);
        format!("{} {hour:02}:00:00,{value:.3}\n", date(day))
    });
    let rows: Vec<String> = rows.enumerate().filter(|(row, _)| row % 50 != 17).map(|(_, row)| row).collect();
    std::fs::write(folder.join("data.csv"), format!("ds,load\n{}", rows.concat())).unwrap();
    std::fs::write(folder.join("run.toml"), SMALL.replace("season = 24", "season = 9")).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    for words in ["540 rows of 1 series, every 1 h, mon-fri 08:00-17:00", "rows are of mon-fri 08:00-17:00 alone"] {
        assert!(told.contains(words), "{words}: {told}");
    }
    assert!(std::fs::read_to_string(folder.join("out/run.toml")).unwrap().contains("hours = \"mon-fri 08:00-17:00\""));
    // A few rows alone are of the same hours, and so is what follows.
    let few = &rows[rows.len() - 60..];
    std::fs::write(folder.join("few.csv"), format!("ds,load\n{}", few.concat())).unwrap();
    let forecast = stdout(&foretoken(&["forecast", "out", "few.csv"], folder));
    let stamps: Vec<&str> = forecast.lines().skip(1).map(|line| &line[..19]).collect();
    assert_eq!((stamps[0], stamps[7]), ("2024-03-25 08:00:00", "2024-03-25 15:00:00"));
    // A stream knows them from its first line on: nothing but what is missing is passed over.
    let output = with_input(&["stream", "out", "--missing", "--snapshot", "state"], folder, few.concat().as_bytes());
    let missing = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(missing.lines().count() == 1 && missing.contains("passes over 1 sample, which counts as missing"), "{missing}");
    assert_eq!(bits(stdout(&output).lines().last().unwrap()), points(&forecast));
    let saturday = b"2024-03-23 08:00:00,1\n2024-03-25 08:00:00,1\n";
    let output = with_input(&["stream", "out", "--missing", "--snapshot", "state"], folder, saturday);
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    let expected = "line:1: column `stamp`: expected a stamp within mon-fri 08:00-17:00, found `2024-03-23 08:00:00`\n";
    assert_eq!((stdout(&output).lines().count(), &*errors), (1, expected));
    // A row outside of them is left out, and told of; where they are many it is another clock.
    std::fs::write(folder.join("late.csv"), format!("ds,load\n{}2024-03-25 17:00:00,1\n", few.concat())).unwrap();
    let output = foretoken(&["forecast", "out", "late.csv"], folder);
    assert!(String::from_utf8_lossy(&output.stderr).contains("rows outside of the hours"));
    assert_eq!(stdout(&output), forecast);
    let late = few.concat().replace(" 15:", " 19:").replace(" 16:", " 20:");
    std::fs::write(folder.join("late.csv"), format!("ds,load\n{late}")).unwrap();
    let expected = "a stamp within mon-fri 08:00-17:00 (`hours`), as most rows have";
    refused(&["forecast", "out", "late.csv"], folder, &["late.csv:", "column `ds`: expected", expected]);
    // The run says all that it takes to read the same again.
    stdout(&foretoken(&["train", "out/run.toml", "--out", "again"], folder));
    let weights = |out: &str| std::fs::read(folder.join(out).join("model.safetensors")).unwrap();
    assert_eq!(weights("out"), weights("again"));
}

#[test]
fn dates_with_the_year_last_are_kept_for_forecasts_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // Hours from 1 March 2024 on, as spreadsheets write them.
    let stamp = |hour: usize| {
        let (day, hour) = (hour / 24, hour % 24);
        let (month, day) = if day < 31 { (3, day + 1) } else { (4, day - 30) };
        format!("{month}/{day}/2024 {}:00 {}", (hour + 11) % 12 + 1, if hour < 12 { "AM" } else { "PM" })
    };
    let value = |hour: usize| (hour as f64 * 0.26).sin() + uniform(hour) / 5.0;
    let rows: Vec<String> = (0..900).map(|hour| format!("{},{:.3}\n", stamp(hour), value(hour))).collect();
    std::fs::write(folder.join("data.csv"), format!("ds,load\n{}", rows.concat())).unwrap();
    std::fs::write(folder.join("run.toml"), SMALL).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    assert!(told.contains("dates with the year last") && told.contains("read with the month first"), "{told}");
    assert!(std::fs::read_to_string(folder.join("out/run.toml")).unwrap().contains("dates = \"month-first\""));
    // Of a few days none tells which is the month.
    let few = rows[744..804].concat();
    std::fs::write(folder.join("few.csv"), format!("ds,load\n{few}")).unwrap();
    let forecast = stdout(&foretoken(&["forecast", "out", "few.csv"], folder));
    assert!(forecast.lines().nth(1).unwrap().starts_with("2024-04-03 12:00,load,"), "{forecast}");
    let output = with_input(&["stream", "out", "--json"], folder, few.as_bytes());
    let last: serde_json::Value = serde_json::from_str(stdout(&output).lines().last().unwrap()).unwrap();
    assert_eq!(last["ds"], "2024-04-03 11:00");
    let live = stdout(&with_input(&["stream", "out"], folder, few.as_bytes()));
    assert_eq!(bits(live.lines().last().unwrap()), points(&forecast));
    // A gap is one, and a stamp that goes back is refused.
    let lines = [&rows[744], &rows[745], &rows[750], &rows[749]].map(String::as_str).concat();
    let output = with_input(&["stream", "out"], folder, lines.as_bytes());
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("line:3: its stamp passes over 4 samples")
            && errors.contains("line:4: column `stamp`: expected 2024-04-01 07:00"),
        "{errors}"
    );
}

#[test]
fn decimal_commas_are_kept_for_forecasts_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let value = |hour: usize| ((hour as f64 * 0.26).sin() + uniform(hour) / 5.0 + 2.0) * 1000.0;
    let rows = |hours: std::ops::Range<usize>, of: &dyn Fn(usize) -> String| hours.map(of).collect::<String>();
    // With a comma, and with a point between thousands.
    let german = |hour: usize| {
        let (whole, decimals) = (value(hour) as u64, (value(hour).fract() * 100.0) as u64);
        let whole = if whole < 1000 { format!("{whole}") } else { format!("{}.{:03}", whole / 1000, whole % 1000) };
        format!("{hour};{whole},{decimals:02};{}\n", hour % 7)
    };
    let plain = |hour: usize| {
        let (whole, decimals) = (value(hour) as u64, (value(hour).fract() * 100.0) as u64);
        format!("{hour},{whole}.{decimals:02},{}\n", hour % 7)
    };
    std::fs::write(folder.join("data.csv"), format!("ds;load;x\n{}", rows(0..900, &german))).unwrap();
    std::fs::write(folder.join("plain.csv"), format!("ds,load,x\n{}", rows(0..900, &plain))).unwrap();
    std::fs::write(folder.join("run.toml"), SMALL).unwrap();
    std::fs::write(folder.join("plain.toml"), SMALL.replace("data.csv", "plain.csv")).unwrap();
    let told = stdout(&foretoken(&["train", "run.toml", "--out", "out"], folder));
    assert!(told.contains("numbers with a decimal comma") && told.contains("`load` 900, first on line 2"), "{told}");
    assert!(std::fs::read_to_string(folder.join("out/run.toml")).unwrap().contains("decimal = \"comma\""));
    stdout(&foretoken(&["train", "plain.toml", "--out", "plain"], folder));
    let forecast = |run: &str, data: &str| stdout(&foretoken(&["forecast", run, data], folder));
    let expected = forecast("plain", "plain.csv");
    assert_eq!(forecast("out", "data.csv"), expected);
    assert_eq!(forecast("out", "plain.csv"), expected, "its numbers tell");
    assert_eq!(forecast("plain", "data.csv"), expected, "its numbers tell");
    let live = |run: &str, lines: &str| stdout(&with_input(&["stream", run], folder, lines.as_bytes()));
    let expected = live("plain", &rows(0..300, &plain));
    assert_eq!(live("out", &format!("ds;load;x\n{}", rows(0..300, &german))), expected);
    assert_eq!(live("plain", &rows(0..300, &plain).replace(',', "\t")), expected);
    let output = with_input(&["stream", "out"], folder, b"0;1,5;1\n1;2.5;1\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("line:2: column `load`: expected a finite number, with a decimal comma, found `2.5`"), "{errors}");
}

#[test]
fn rows_of_several_series_are_read_forecast_and_streamed_whatever_their_columns_are_called() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let stamp =
        |hour: usize, late: usize| format!("2024-{:02}-{:02} {:02}:00:0{late}", 1 + hour / 672, 1 + hour / 24 % 28, hour % 24);
    let value = |hour: usize, series: usize| (hour as f64 * 0.26 + series as f64).sin() * 3.0 + uniform(2 * hour + series) + 20.0;
    // As a line of sensors says it that are asked in turn, one after the other a second later.
    let polled = |hours: std::ops::Range<usize>| {
        let lines = hours.flat_map(|hour| ["attic", "cellar"].into_iter().enumerate().map(move |(at, room)| (hour, at, room)));
        lines.map(|(hour, at, room)| format!("{},ok,{room},{:.2}\n", stamp(hour, at), value(hour, at))).collect::<String>()
    };
    let wide = |hours: std::ops::Range<usize>| {
        hours.map(|hour| format!("{},{:.2},{:.2}\n", stamp(hour, 0), value(hour, 0), value(hour, 1))).collect::<String>()
    };
    std::fs::write(folder.join("polled.csv"), format!("time,state,sensor,payload\n{}", polled(0..700))).unwrap();
    std::fs::write(folder.join("wide.csv"), format!("ds,attic,cellar\n{}", wide(0..700))).unwrap();
    let forecast = |data: &str| {
        let output = foretoken(&["forecast", data, "--horizon", "6", "--minutes", "0"], folder);
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (expected, _) = forecast("wide.csv");
    let (points_said, told) = forecast("polled.csv");
    let said = "a row a series and stamp: series are told apart by `sensor`, stamps are `time`, values `payload`";
    assert!(told.contains(said) && told.contains("left out, since they hold no numbers, or tell no more: state"), "{told}");
    assert_eq!(points_said, expected);
    let (again, told) = forecast("polled.csv");
    assert!(again == expected && told.contains("trained before, used again"), "{told}");
    let stream = |lines: &str, more: &[&str]| {
        let output = with_input(&[&["stream", "runs/polled-6"], more].concat(), folder, lines.as_bytes());
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (expected, _) = stream(&wide(0..700), &[]);
    let header = "state,sensor,payload,time\n";
    let turned = |hours| {
        let turn = |line: &str| {
            let fields: Vec<&str> = line.split(',').collect();
            format!("{},{},{},{}\n", fields[1], fields[2], fields[3], fields[0])
        };
        polled(hours).lines().map(turn).collect::<String>()
    };
    assert_eq!(stream(&(header.to_string() + &turned(0..700)), &[]).0, expected);
    // A series that is not known, one that is absent, and a line too many.
    let lines: Vec<String> = turned(0..3).lines().map(String::from).collect();
    let odd = [&lines[0], "ok,loft,5,2024-01-01 00:00:01", &lines[1], &lines[1], &lines[2], &lines[4], &lines[5]].join("\n");
    let (out, told) = stream(&(header.to_string() + &odd + "\n"), &["--json"]);
    for expected in [
        "line:3: series `loft` is none of the model's, and its lines are passed over",
        "line:5: column `stamp`: expected a stamp after 2024-01-01 00:00:00, whose row is taken, found `2024-01-01 00:00:01`",
        "line:6: column `cellar`: expected a line of it for the row of 2024-01-01 01:00:00, as of others, found `none`",
    ] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
    let of: Vec<serde_json::Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of: Vec<_> = of.iter().map(|said| (said["line"].as_u64().unwrap(), said["ds"].as_str().unwrap().to_string())).collect();
    assert_eq!(of, [(4, stamp(0, 0)), (8, stamp(2, 0))]);
    let (out, told) = stream(&(header.to_string() + &odd + "\n"), &["--missing"]);
    assert!(out.lines().count() == 3 && !told.contains("cellar"), "{told}");
}

#[test]
fn samples_on_no_grid_are_averaged_in_files_and_streams() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    // One to seven minutes apart.
    let mut at = 0;
    let samples: Vec<(u64, f64)> = (0..4000)
        .map(|row| {
            at += 60 + row as u64 * 7919 % 361;
            (at, (at as f64 / 3600.0 * 0.26).sin() * 3.0 + uniform(row) + 20.0)
        })
        .collect();
    let stamp = |at: u64| format!("2024-01-{:02} {:02}:{:02}:{:02}", 1 + at / 86_400, at / 3600 % 24, at / 60 % 60, at % 60);
    let lines =
        |samples: &[(u64, f64)]| samples.iter().map(|(at, value)| format!("{},{value}\n", stamp(*at))).collect::<String>();
    std::fs::write(folder.join("events.csv"), format!("time,level\n{}", lines(&samples))).unwrap();
    let step = |at: u64| at / 600 * 600;
    let mut steps: Vec<(u64, f64, f64)> = Vec::new();
    for (at, value) in &samples {
        match steps.last_mut().filter(|last| last.0 == step(*at)) {
            Some(last) => (last.1, last.2) = (last.1 + value, last.2 + 1.0),
            None => steps.push((step(*at), *value, 1.0)),
        }
    }
    let means: Vec<(u64, f64)> = steps.iter().map(|(at, sum, count)| (*at, sum / count)).collect();
    std::fs::write(folder.join("means.csv"), format!("time,level\n{}", lines(&means))).unwrap();
    let forecast = |data: &str| {
        let output = foretoken(&["forecast", data, "--horizon", "6", "--minutes", "0"], folder);
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (expected, _) = forecast("means.csv");
    let (said, told) = forecast("events.csv");
    assert!(told.contains("stamps are on no grid: rows are means of what comes within every 10 min"), "{told}");
    assert!(told.contains("rows beside others of their step"), "{told}");
    assert_eq!(said, expected);
    assert!(std::fs::read_to_string(folder.join("runs/events-6/run.toml")).unwrap().contains("every = \"10 min\""));
    let (again, told) = forecast("events.csv");
    assert!(again == expected && told.contains("trained before, used again"), "{told}");
    // What lasts some hours tells no series apart, though each of them comes every day.
    let weather = |with: [&str; 2]| {
        let line =
            |(at, value): &(u64, f64)| format!("{},{}{value}\n", 1_700_000_000 + 10 * at, with[usize::from(at / 3000 % 3 == 1)]);
        samples.iter().map(line).collect::<String>()
    };
    std::fs::write(folder.join("weather.csv"), format!("ts,weather,level\n{}", weather(["sun,", "rain,"]))).unwrap();
    std::fs::write(folder.join("plain.csv"), format!("ts,level\n{}", weather(["", ""]))).unwrap();
    let (said, told) = forecast("weather.csv");
    assert!(told.contains("left out, since they hold no numbers: weather") && said == forecast("plain.csv").0, "{told}");
    // A step is over where the next begins, and the last with the lines.
    let live = |run: &str, lines: &str| with_input(&["stream", run, "--missing"], folder, lines.as_bytes());
    let expected = stdout(&live("runs/means-6", &lines(&means)));
    let output = live("runs/events-6", &format!("time,level\n{}", lines(&samples)));
    assert_eq!(stdout(&output), expected);
    let early = live("runs/events-6", &lines(&samples[..3]));
    let late = format!("{}{}", lines(&samples[..3]), "1,2\n2024-01-01 00:00:00,7\n");
    let output = live("runs/events-6", &late);
    let errors = String::from_utf8(output.stderr.clone()).unwrap();
    assert!(
        errors.contains("line:4: column `stamp`: expected a stamp that has a step of 10 min, found `1`")
            && errors.contains("line:5: column `stamp`: expected a stamp "),
        "{errors}"
    );
    assert_eq!(stdout(&output), stdout(&early));
    // A run of one's own is told how.
    std::fs::write(folder.join("run.toml"), SMALL.replace("data.csv", "events.csv")).unwrap();
    let output = foretoken(&["train", "run.toml", "--out", "out"], folder);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("with `every = \"10 min\"` in `data.read` rows are means of what each of these steps has"),
        "{errors}"
    );
}
