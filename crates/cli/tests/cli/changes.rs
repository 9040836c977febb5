//! Sensors that tell of changes alone.

use super::*;

/// A wandering level by the minute, rounded: all of its samples, and those that are another than the one before.
fn level() -> [Vec<(usize, f64)>; 2] {
    let (mut value, mut all) = (0.0, Vec::new());
    for minute in 0..2500 {
        value += uniform(minute) - 0.5;
        all.push((minute, (3.0 * value + 6.0 * (minute as f64 * 0.05).sin()).round() / 5.0));
    }
    let mut changes = all.clone();
    changes.dedup_by_key(|(_, value)| *value);
    [all, changes]
}

fn lines(samples: &[(usize, f64)]) -> String {
    let line = |(minute, value): &(usize, f64)| {
        format!("2024-01-{:02} {:02}:{:02},{value}\n", 1 + minute / 1440, minute / 60 % 24, minute % 60)
    };
    samples.iter().map(line).collect()
}

#[test]
fn values_that_are_told_when_they_change_last() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let [mut all, changes] = level();
    // Both end with a change.
    all.truncate(changes[changes.len() - 1].0 + 1);
    std::fs::write(folder.join("all.csv"), format!("time,level\n{}", lines(&all))).unwrap();
    std::fs::write(folder.join("changes.csv"), format!("time,level\n{}", lines(&changes))).unwrap();
    let forecast = |data: &str| {
        let output = foretoken(&["forecast", data, "--horizon", "6", "--minutes", "0"], folder);
        (stdout(&output), String::from_utf8(output.stderr).unwrap())
    };
    let (expected, told) = forecast("all.csv");
    assert!(!told.contains("lasts"), "{told}");
    let (said, told) = forecast("changes.csv");
    let by = "values are told when they change: each lasts until the next, at most for 1 d, and rows are means over every 1 min";
    assert!(told.contains(by) && told.contains("the value before lasts"), "{told}");
    assert_eq!(said, expected);
    let (again, told) = forecast("changes.csv");
    assert!(again == expected && told.contains("trained before, used again"), "{told}");
    // A stream has the steps in between when the next change comes, stopped and resumed, too.
    let (all, changes) = (lines(&all[..400]), lines(&changes.iter().copied().filter(|(at, _)| *at < 400).collect::<Vec<_>>()));
    let live = |run: &str, lines: &str, more: &[&str]| {
        stdout(&with_input(&[&["stream", run][..], more].concat(), folder, lines.as_bytes()))
    };
    let (expected, said) = (live("runs/all-6", &all, &[]), live("runs/changes-6", &changes, &[]));
    assert!(said.lines().count() > changes.lines().count() + 50);
    assert!(expected.starts_with(&said));
    let half = changes.len() / 2 + changes[changes.len() / 2..].find('\n').unwrap() + 1;
    let snapshot = ["--snapshot", "state.json"];
    let first = live("runs/changes-6", &changes[..half], &snapshot);
    assert_eq!(first + &live("runs/changes-6", &changes[half..], &snapshot), said);
    // A run of one's own is told how.
    let run = SMALL.replace("data.csv", "changes.csv").replace("horizon = 96", "horizon = 6");
    std::fs::write(folder.join("run.toml"), run).unwrap();
    let output = foretoken(&["train", "run.toml", "--out", "out"], folder);
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("with `every = \"1 min\"` and `hold = \"1 d\"` in `data.read` each lasts until the next"),
        "{errors}"
    );
}
