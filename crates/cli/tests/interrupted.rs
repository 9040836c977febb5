//! Training that is killed, asked to end, or out of disk, as a user meets it.
#![cfg(unix)]

mod common;

use common::{SMALL, small};
use std::{
    fs,
    path::Path,
    process::{Child, Command, Output, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

/// Every kind of state that a checkpoint has to hold.
fn folder() -> tempfile::TempDir {
    let train = "carry = true\nema = 0.99\nbatch = 2\npatience = 40\ncheckpoint_steps = 3\n";
    let run = SMALL.replace("num_experts = 3", "num_experts = 3\nrouting_strategy = 'noisy-top-k'");
    small(&(run.replace("epochs = 3", "epochs = 40") + train))
}

fn command(arguments: &[&str], folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_foretoken"));
    command.args(arguments).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn train(out: &str, folder: &Path) -> Command {
    let mut command = command(&["train", "run.toml", "--out", out], folder);
    if folder.join(out).join("checkpoint.safetensors").exists() {
        command.arg("--resume");
    }
    command
}

#[track_caller]
fn succeeds(output: &Output) {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Waits until the log has so many lines, or the process has ended.
fn wait_for(lines: usize, log: &Path, child: &mut Child) {
    let started = Instant::now();
    while fs::read_to_string(log).unwrap_or_default().lines().count() < lines && child.try_wait().unwrap().is_none() {
        assert!(started.elapsed() < Duration::from_secs(120), "no {lines} lines in {}", log.display());
        sleep(Duration::from_millis(2));
    }
}

#[test]
fn killed_at_any_moment_it_resumes_to_the_same_model() {
    let folder = folder();
    let folder = folder.path();
    succeeds(&train("straight", folder).output().unwrap());
    let (mut kills, mut lines) = (0, 30);
    loop {
        let mut child = train("killed", folder).spawn().unwrap();
        wait_for(lines, &folder.join("killed/log.jsonl"), &mut child);
        if child.try_wait().unwrap().is_some() {
            succeeds(&child.wait_with_output().unwrap());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
        lines += 150;
        succeeds(&command(&["inspect", "killed/checkpoint.safetensors"], folder).output().unwrap());
    }
    assert!(kills >= 3, "{kills}");
    let read = |run: &str, name: &str| fs::read(folder.join(run).join(name)).unwrap();
    assert!(read("straight", "model.safetensors") == read("killed", "model.safetensors"));
    assert!(read("straight", "best.safetensors") == read("killed", "best.safetensors"));
    // What a killed write left is gone, and every line of the log is whole.
    let names = fs::read_dir(folder.join("killed")).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(names.filter(|name| name.starts_with('.')).count(), 0);
    let log = String::from_utf8(read("killed", "log.jsonl")).unwrap();
    let events: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let count = |name: &str| events.iter().filter(|event| event["event"] == name).count();
    assert_eq!((count("start"), count("end")), (kills + 1, 1));
    assert!(count("step") > 200 && count("epoch") >= 40 && count("checkpoint") >= 40);
    // The best epoch so far is a model.
    succeeds(&command(&["forecast", "killed/best.safetensors", "data.csv"], folder).output().unwrap());
}

#[test]
fn asked_to_end_it_leaves_a_checkpoint_of_the_last_step() {
    let folder = folder();
    let folder = folder.path();
    succeeds(&train("straight", folder).output().unwrap());
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut child = train("asked", folder).spawn().unwrap();
        let log = folder.join("asked/log.jsonl");
        let lines = fs::read_to_string(&log).unwrap_or_default().lines().count();
        wait_for(lines + 40, &log, &mut child);
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("interrupted after step") && text.contains("--resume"), "{text}");
        let last = fs::read_to_string(&log).unwrap();
        let last: Vec<serde_json::Value> = last.lines().rev().take(2).map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!((&last[0]["event"], &last[1]["event"]), (&"end".into(), &"checkpoint".into()));
        assert_eq!(last[0]["step"], last[1]["step"]);
    }
    succeeds(&train("asked", folder).output().unwrap());
    let read = |run: &str| fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(read("straight") == read("asked"));
}

#[test]
fn asked_to_end_a_refit_leaves_the_checkpoint_before_it() {
    let folder = folder();
    let folder = folder.path();
    let run = fs::read_to_string(folder.join("run.toml")).unwrap();
    fs::write(folder.join("run.toml"), run + "refit = true\n").unwrap();
    let mut child = train("asked", folder).spawn().unwrap();
    let log = folder.join("asked/log.jsonl");
    let ended = |log: &Path| fs::read_to_string(log).unwrap_or_default().contains("\"event\":\"end\"");
    while !ended(&log) && child.try_wait().unwrap().is_none() {
        sleep(Duration::from_millis(1));
    }
    assert!(Command::new("kill").args(["-s", "INT", &child.id().to_string()]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.code() == Some(130) && text.contains("interrupted after step") && text.contains("--resume"), "{text}");
    assert!(!folder.join("asked/model.safetensors").exists());
    succeeds(&train("asked", folder).output().unwrap());
    succeeds(&train("straight", folder).output().unwrap());
    let read = |run: &str| fs::read(folder.join(run).join("model.safetensors")).unwrap();
    assert!(read("straight") == read("asked"));
}

#[test]
fn a_file_that_is_written_again_stays_as_private_as_it_was() {
    use std::os::unix::fs::PermissionsExt;
    let folder = small(SMALL);
    let folder = folder.path();
    succeeds(&train("out", folder).output().unwrap());
    let model = folder.join("out/model.safetensors");
    fs::set_permissions(&model, fs::Permissions::from_mode(0o600)).unwrap();
    succeeds(&train("out", folder).output().unwrap());
    assert_eq!(model.metadata().unwrap().permissions().mode() & 0o777, 0o600);
}

#[test]
fn a_stream_that_is_stopped_keeps_its_state() {
    use std::{
        io::{BufRead, BufReader, Write},
        os::unix::process::ExitStatusExt,
    };
    let folder = small(SMALL);
    let folder = folder.path();
    succeeds(&train("out", folder).output().unwrap());
    let data = fs::read_to_string(folder.join("data.csv")).unwrap();
    let lines: Vec<String> = data.lines().map(|line| line.to_string() + "\n").collect();
    let stream = |snapshot: &str| {
        let mut command = command(&["stream", "out", "--snapshot", snapshot], folder);
        command.stdin(Stdio::piped()).spawn().unwrap()
    };
    let mut whole = stream("whole.json");
    whole.stdin.take().unwrap().write_all(lines.concat().as_bytes()).unwrap();
    let expected = whole.wait_with_output().unwrap().stdout;
    for (signal, number) in [("INT", 2), ("TERM", 15)] {
        _ = fs::remove_file(folder.join("state.json"));
        let mut child = stream("state.json");
        let mut input = child.stdin.take().unwrap();
        input.write_all(lines[..61].concat().as_bytes()).unwrap();
        // It has taken them, and waits.
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut said = String::new();
        (0..60).for_each(|_| _ = output.read_line(&mut said).unwrap());
        assert!(Command::new("kill").args(["-s", signal, &child.id().to_string()]).status().unwrap().success());
        assert_eq!(child.wait().unwrap().signal(), Some(number));
        let mut rest = stream("state.json");
        rest.stdin.take().unwrap().write_all(lines[61..].concat().as_bytes()).unwrap();
        assert!(
            said.into_bytes().into_iter().chain(rest.wait_with_output().unwrap().stdout).eq(expected.iter().copied()),
            "{signal}"
        );
    }
}

#[test]
fn a_full_disk_costs_no_old_file() {
    let folder = folder();
    let folder = folder.path();
    let mut child = train("full", folder).spawn().unwrap();
    wait_for(60, &folder.join("full/log.jsonl"), &mut child);
    child.kill().unwrap();
    child.wait().unwrap();
    let read = |name: &str| fs::read(folder.join("full").join(name)).unwrap();
    let (checkpoint, best) = (read("checkpoint.safetensors"), read("best.safetensors"));
    // No file may grow beyond some kilobytes, and the system's refusal is an error instead of a signal.
    let limited =
        format!("trap '' XFSZ; ulimit -f 8; exec {} train run.toml --out full --resume", env!("CARGO_BIN_EXE_foretoken"));
    let output = Command::new("sh").args(["-c", &limited]).current_dir(folder).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && text.contains("error: full/model.safetensors: "), "{text}");
    assert!(text.contains("warning: no checkpoint after step"), "{text}");
    assert!(checkpoint == read("checkpoint.safetensors") && best == read("best.safetensors"));
}
