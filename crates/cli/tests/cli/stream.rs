//! `stream`: the same bits as `forecast`, whatever comes in.

use crate::{
    FAMILY, TRAINED, bits,
    common::{SMALL, csv, small},
    foretoken, json, points, refused, repository, stdout, with_input,
};
use std::{
    io::Write,
    process::{Command, Stdio},
};

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
fn a_stream_says_all_that_forecast_says() {
    let folder = TRAINED.path();
    std::fs::write(folder.join("head.csv"), csv(400)).unwrap();
    let lines = stdout(&with_input(&["stream", "out", "--json", "--horizon", "3"], folder, csv(400).as_bytes()));
    assert_eq!(lines.lines().count(), 400);
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!((&last["line"], &last["ds"]), (&401.into(), &"399".into()));
    let forecast = stdout(&foretoken(&["forecast", "out", "head.csv", "--horizon", "3"], folder));
    let mut rows = csv::Reader::from_reader(forecast.as_bytes());
    let header = rows.headers().unwrap().clone();
    let (mut compared, mut steps) = (0, [0; 2]);
    for row in rows.records() {
        let row = row.unwrap();
        let step = &mut steps[usize::from(&row[1] == "oil temperature")];
        let said = &last["columns"][&row[1]];
        for (name, value) in header.iter().zip(&row).skip(2) {
            let found = match name.strip_prefix('q') {
                Some(level) => &said["quantiles"][level][*step],
                None if name == "missing" => &said[name],
                None => &said[name][*step],
            };
            assert_eq!(found.as_f64().unwrap().to_bits(), value.parse::<f64>().unwrap().to_bits(), "{name} at {step} of {said}");
            compared += 1;
        }
        *step += 1;
    }
    assert_eq!((compared, steps), (2 * 3 * 15, [3, 3]));
    // Without it a line has the points, and a column that has not begun nothing.
    let points = stdout(&with_input(&["stream", "out", "--horizon", "3"], folder, csv(400).as_bytes()));
    let of =
        |name: &str| last["columns"][name]["point"].as_array().unwrap().iter().map(|point| point.as_f64().unwrap().to_bits());
    assert_eq!(bits(points.lines().last().unwrap()), of("load").chain(of("oil temperature")).collect::<Vec<_>>());
    let begun = stdout(&with_input(&["stream", "out", "--json", "--missing"], folder, b"1,\n"));
    let begun: serde_json::Value = serde_json::from_str(&begun).unwrap();
    assert!(begun["ds"].is_null() && begun["columns"]["load"]["point"][0].is_number());
    assert!(begun["columns"]["oil temperature"]["point"][0].is_null() && begun["columns"]["oil temperature"]["missing"] == 1.0);
    refused(&["stream", "out", "--horizon", "9"], folder, &["expected a horizon of at most 8", "found 9"]);
}

#[test]
fn a_bad_line_is_reported_and_changes_nothing() {
    let folder = TRAINED.path();
    let lines: Vec<String> = csv(60).lines().map(String::from).collect();
    let clean = stdout(&with_input(&["stream", "out"], folder, lines.join("\n").as_bytes()));
    assert_eq!(clean.lines().count(), 60);
    let mut dirty: Vec<Vec<u8>> = lines.iter().map(|line| line.clone().into_bytes()).collect();
    for (place, bad) in [(10, "noon,1,two"), (20, "1"), (30, "5,NaN,1"), (40, "36,1,1e300"), (50, "")] {
        dirty.insert(place, bad.into());
    }
    dirty.insert(55, vec![0xff, 0xfe]);
    let output = with_input(&["stream", "out"], folder, &dirty.join(&b'\n'));
    assert_eq!(stdout(&output), clean);
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = [
        "line:11: column `oil temperature`: expected a finite number, found `two`",
        "line:21: expected 3 fields, found 1",
        "line:31: column `load`: expected a finite number, found `NaN`",
        "line:41: column `oil temperature`: expected a value within 1e12 deviations of the mean",
        "line:51: expected 3 fields, found 1",
        "line:56: expected UTF-8",
    ];
    assert_eq!(errors.lines().count(), expected.len(), "{errors}");
    assert!(errors.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{errors}");
    // Without header and stamps it is the same stream.
    let bare: String = lines[1..].iter().map(|line| line.split_once(',').unwrap().1.to_string() + "\n").collect();
    assert_eq!(stdout(&with_input(&["stream", "out"], folder, bare.as_bytes())), clean);
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
fn stamps_that_go_back_are_refused_and_gaps_are_told_of() {
    let folder = TRAINED.path();
    let whole = csv(60);
    let lines: Vec<&str> = whole.lines().collect();
    let clean = stdout(&with_input(&["stream", "out"], folder, whole.as_bytes()));
    // Line 31 comes twice, and after it one from before.
    let twice = [&lines[..31], &lines[30..31], &lines[9..10], &lines[31..]].concat().join("\n");
    let output = with_input(&["stream", "out"], folder, twice.as_bytes());
    assert_eq!(stdout(&output), clean);
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = ["line:32: column `stamp`: expected 30, a step after", "line:33: column `stamp`: expected 30, a step after"];
    assert!(errors.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{errors}");
    assert_eq!(errors.lines().count(), 2, "{errors}");
    let gap = [&lines[..31], &lines[41..]].concat().join("\n");
    let output = with_input(&["stream", "out"], folder, gap.as_bytes());
    assert_eq!(stdout(&output).lines().count(), 50);
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "line:32: its stamp passes over 10 samples, of which no line tells\n");
}

#[test]
fn what_stamps_pass_over_is_missing_where_samples_may_be() {
    let folder = TRAINED.path();
    let whole = csv(120);
    let lines: Vec<String> = whole.lines().map(String::from).collect();
    let stream = |lines: &[String], more: &[&str]| {
        let output = with_input(&[&["stream", "out", "--missing"], more].concat(), folder, lines.join("\n").as_bytes());
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let empty: Vec<String> = (0..10).map(|row| format!("{},,", 60 + row)).collect();
    let (told, _) = stream(&[&lines[..61], &empty[..], &lines[71..]].concat(), &[]);
    let gap = [&lines[..61], &lines[71..]].concat();
    let (live, errors) = stream(&gap, &[]);
    let expected: Vec<&str> = told.lines().take(60).chain(told.lines().skip(70)).collect();
    assert!(live.lines().eq(expected), "a gap is as many lines without values");
    assert_eq!(errors, "line:62: its stamp passes over 10 samples, which count as missing\n");
    // As `forecast` of the same rows has it.
    std::fs::write(folder.join("gap.csv"), gap.join("\n")).unwrap();
    let forecast = points(&stdout(&foretoken(&["forecast", "out", "gap.csv"], folder)));
    assert_eq!(bits(live.lines().last().unwrap()), forecast);
    // A line that is refused behind a gap leaves no trace of it, and a snapshot goes on.
    let bad = [&gap[..61], &["70,1e300,1".into()], &gap[61..]].concat();
    let (mended, errors) = stream(&bad, &[]);
    assert!(mended == live && errors.starts_with("line:62: column `load`: expected a value within"), "{errors}");
    let (first, _) = stream(&gap[..61], &["--snapshot", "gap.json"]);
    assert_eq!(first + &stream(&gap[61..], &["--snapshot", "gap.json"]).0, live);
    // Behind a gap as long as the look-back, too.
    let long = [&lines[..61], &["700,1,1".into()]].concat();
    stream(&long, &["--snapshot", "long.json"]);
    assert_eq!(stream(&["701,1,2".to_string()], &["--snapshot", "long.json"]).0.lines().count(), 1);
    // Not as many as a clock that went mad passes over, or one that was set.
    let mad = [&lines[..61], &["2000000,1,1".into(), "60,1,1".into(), "3000000,1,1".into(), "3000001,1,1".into()]].concat();
    let (live, errors) = stream(&mad, &[]);
    let expected = [
        "line:62: column `stamp`: expected a stamp at most 1000000 steps after the one before, 59, ",
        "line:64: column `stamp`: expected a stamp at most 1000000 steps after the one before, 60, ",
        "line:65: its stamp passes over 2999940 samples, too many to be missing",
    ];
    assert!(errors.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{errors}");
    assert_eq!((live.lines().count(), errors.lines().count()), (62, 3), "{errors}");
}

#[test]
fn glitches_are_missing_until_they_are_a_level() {
    let folder = small(&SMALL.replace("season = 24", "season = 24\nread = { outliers = \"glitches\" }"));
    let folder = folder.path();
    stdout(&foretoken(&["train", "run.toml", "--epochs", "1", "--out", "out"], folder));
    let shown = stdout(&foretoken(&["inspect", "out"], folder));
    assert!(shown.contains("a live sample is a glitch beyond: load -") && shown.contains(", oil temperature -"), "{shown}");
    let stream = |values: &[&str], more: &[&str]| {
        let last: String = values.iter().enumerate().map(|(row, value)| format!("{},{value},7\n", 100 + row)).collect();
        let output = with_input(&[&["stream", "out"], more].concat(), folder, (csv(100) + &last).as_bytes());
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let glitches = ["9999", "0.5", "-9999", "9999", "0.25", "9999", "9999", "9999", "9999", "0.5"];
    let empty = ["", "0.5", "", "", "0.25", "", "", "", "", "0.5"];
    let (live, errors) = stream(&glitches, &[]);
    assert_eq!(live, stream(&empty, &["--missing"]).0);
    assert!(errors.starts_with("line:102: column `load`: 9999 is a glitch, beyond -") && errors.lines().count() == 7, "{errors}");
    // The third in a row is where the column is now.
    let (level, errors) = stream(&["900", "900.1", "900.2", "902", "902"], &[]);
    assert_eq!(level, stream(&["", "", "900.2", "902", "902"], &["--missing", "--keep-glitches"]).0);
    assert_eq!(errors.lines().count(), 2, "{errors}");
    let (kept, errors) = stream(&glitches, &["--keep-glitches"]);
    assert!(errors.is_empty() && kept != live, "{errors}");
    // Ten are told of, and the hundredth; one number is a level when nothing else is left to look back on.
    let (_, errors) = stream(&["9999"; 40], &[]);
    assert!(errors.lines().count() == 10 && errors.ends_with("; few more of them are said\n"), "{errors}");
    let (stuck, errors) = stream(&[&["9999", "-9999"][..]; 55].concat(), &[]);
    assert!(errors.lines().count() == 11 && errors.ends_with("; it is the 100th, and --keep-glitches takes them\n"), "{errors}");
    assert_eq!(stuck, stream(&[""; 110], &["--missing"]).0);
    let constant = [[""; 48].as_slice(), &["9999"; 3]].concat();
    assert_eq!(stream(&["9999"; 51], &[]).0, stream(&constant, &["--missing", "--keep-glitches"]).0);
    // What a line is refused for counts for nothing; a snapshot knows what lay beyond.
    let lines: Vec<&str> = level.lines().collect();
    let begun = csv(100);
    let part = |rows: &str| {
        let output = with_input(&["stream", "out", "--snapshot", "beyond.json", "--json"], folder, rows.as_bytes());
        stdout(&output).lines().map(|line| serde_json::from_str(line).unwrap()).collect::<Vec<serde_json::Value>>()
    };
    part(&(begun + "100,900,7\n"));
    let said = part("100,333,7\n101,900.1,7\n102,900.2,7\n");
    let glitch = |row: usize, column: &str| said[row]["columns"][column]["glitch"].as_bool().unwrap();
    assert_eq!((said.len(), glitch(0, "load"), glitch(0, "oil temperature"), glitch(1, "load")), (2, true, false, false));
    let point: Vec<f64> = serde_json::from_value(said[1]["columns"]["load"]["point"].clone()).unwrap();
    assert!(lines[102].starts_with(&format!("{},", point[0])), "{point:?} {}", lines[102]);
}

#[cfg(unix)]
#[test]
fn remarks_that_cannot_be_written_cost_no_state() {
    let folder = TRAINED.path();
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
    command.args(["stream", "out", "--snapshot", "unheard.json"]).current_dir(folder);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(full).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"bad\n0,1,2\n1,x,2\n2,2,3\n").unwrap();
    assert_eq!(stdout(&child.wait_with_output().unwrap()).lines().count(), 2);
    assert!(folder.join("unheard.json").exists());
    refused(&["stream", "out", "--usage", "no/usage.json"], folder, &["no/usage.json"]);
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
fn a_stream_that_goes_on_knows_what_it_took() {
    let folder = TRAINED.path();
    let whole = csv(60);
    let lines: Vec<&str> = whole.lines().collect();
    let clean = stdout(&with_input(&["stream", "out"], folder, whole.as_bytes()));
    let arguments = ["stream", "out", "--snapshot", "place.json"];
    let first = stdout(&with_input(&arguments, folder, lines[..31].join("\n").as_bytes()));
    // Two lines once more, one without its stamp, and a gap.
    let bare = lines[31].split_once(',').unwrap().1;
    let again = [&lines[29..31], &[bare], &lines[31..51], &lines[56..]].concat().join("\n");
    let output = with_input(&arguments, folder, again.as_bytes());
    let both = first + &stdout(&output);
    assert!(both.lines().take(50).eq(clean.lines().take(50)) && both.lines().count() == 55, "{both}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let expected = [
        "line:1: column `stamp`: expected 30, a step after",
        "line:2: column `stamp`: expected 30, a step after",
        "line:3: expected 3 fields, found 2",
        "line:24: its stamp passes over 5 samples",
    ];
    assert!(errors.lines().zip(expected).all(|(line, expected)| line.starts_with(expected)), "{errors}");
    assert_eq!(errors.lines().count(), expected.len(), "{errors}");
}

#[test]
fn a_line_without_an_end_is_refused() {
    let folder = TRAINED.path();
    let long = format!("0,1,2\n1,{},2\n2,1,{}", "1".repeat(70_000), "2".repeat(100_000));
    let output = with_input(&["stream", "out"], folder, long.as_bytes());
    assert_eq!(stdout(&output).lines().count(), 1);
    let errors = String::from_utf8(output.stderr).unwrap();
    let said = |line: usize| format!("line:{line}: expected at most 65536 bytes, found more\n");
    assert_eq!(errors, said(2) + &said(3));
}

#[test]
fn numbers_that_mean_missing_are_missing_in_streams_too() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    std::fs::write(folder.join("data.csv"), csv(900)).unwrap();
    std::fs::write(folder.join("run.toml"), SMALL.replace("season = 24", "season = 24\nread = { missing = [-9999] }")).unwrap();
    stdout(&foretoken(&["train", "run.toml", "--epochs", "1", "--out", "out"], folder));
    let stream = |value: &str, more: &[&str]| {
        let lines = csv(100) + &format!("100,{value},7\n");
        with_input(&[&["stream", "out"], more].concat(), folder, lines.as_bytes())
    };
    assert_eq!(stdout(&stream("-9999", &["--missing"])), stdout(&stream("", &["--missing"])));
    let refused = stream("-9999", &[]);
    let error = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(
        error.starts_with("line:102: column `load`: expected a number that does not mean a missing value, found `-9999`"),
        "{error}"
    );
    assert_eq!(stdout(&refused).lines().count(), 100);
}

#[test]
fn a_header_of_another_order_ends_the_stream() {
    let folder = TRAINED.path();
    for header in ["time,oil temperature,load", "oil temperature,load", "time,load,humidity"] {
        let output = with_input(&["stream", "out"], folder, format!("{header}\n0,1,2\n").as_bytes());
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && output.stdout.is_empty(), "{header}");
        assert!(error.contains("line:1: expected the columns load, oil temperature in this order"), "{error}");
    }
    // No more a header than its bytes are lines.
    let output = with_input(&["stream", "out"], folder, b"PAR1\x15\x04\n\x15\n");
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(error.ends_with("standard input: expected lines of CSV, found Parquet\n"), "{error}");
}
