//! `inspect`: parts, usage, traces and audits.

use crate::{
    TRAINED,
    common::{SMALL, csv, small},
    foretoken, json, refused, stdout,
};

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
fn a_trace_is_written_and_replayed_to_the_same_forecast() {
    let folder = TRAINED.path();
    let free = stdout(&foretoken(&["forecast", "out", "data.csv"], folder));
    let usage = |shown: String| shown.lines().find(|line| line.contains("near ties")).map(String::from);
    let shown = stdout(&foretoken(&["inspect", "out", "data.csv", "--trace", "trace.json"], folder));
    assert_eq!(usage(shown), usage(stdout(&foretoken(&["inspect", "out", "data.csv"], folder))));
    for option in ["--trace", "--svg"] {
        refused(&["inspect", "out", "data.csv", option, "data.csv"], folder, &["data.csv", "one that is read"]);
    }
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
