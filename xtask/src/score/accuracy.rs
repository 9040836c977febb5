//! How accurate forecasts are, and whether their intervals hold: trained afresh on the benchmarks, on validation rows, or on test rows with `--final`.

use super::{
    Bound::{About, AtMost},
    Group, Measured, Options, binary, figure,
};
use crate::{Failure, root};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::{
    io::{Read, Write},
    path::{Path, PathBuf},
    process::Command,
};

/// Medians over the seeds on test rows; with validation rows nothing is held against them.
pub const GROUP: Group = Group {
    figures: &[
        figure("accuracy.etth1_mse", "MSE", AtMost(0.400)),
        figure("accuracy.etth1_mae", "MAE", AtMost(0.418)),
        figure("accuracy.etth1_coverage_80_worst", "share", About(0.8, 0.03)),
        figure("accuracy.etth1_coverage_95_worst", "share", About(0.95, 0.03)),
        figure("accuracy.etth2_mse", "MSE", AtMost(0.330)),
        figure("accuracy.etth2_mae", "MAE", AtMost(0.380)),
        figure("accuracy.etth2_coverage_80_worst", "share", About(0.8, 0.03)),
        figure("accuracy.etth2_coverage_95_worst", "share", About(0.95, 0.03)),
        figure("accuracy.weather_96_mse", "MSE", AtMost(0.149)),
        figure("accuracy.weather_192_mse", "MSE", AtMost(0.194)),
        figure("accuracy.weather_336_mse", "MSE", AtMost(0.245)),
        figure("accuracy.weather_720_mse", "MSE", AtMost(0.314)),
        figure("accuracy.weather_coverage_80_worst", "share", About(0.8, 0.03)),
        figure("accuracy.weather_coverage_95_worst", "share", About(0.95, 0.03)),
        figure("accuracy.m4_hourly_mase", "MASE", AtMost(0.90)),
        figure("accuracy.m4_hourly_wql", "WQL", AtMost(0.028)),
        figure("accuracy.m4_hourly_coverage_80_worst", "share", About(0.8, 0.03)),
        figure("accuracy.m4_hourly_coverage_95_worst", "share", About(0.95, 0.03)),
        figure("accuracy.cpu_minutes_worst", "CPU-min", AtMost(10.0)),
    ],
    measure: accuracy,
};

/// A file of a benchmark, as it is published.
pub struct Source {
    /// Its name.
    pub name: &'static str,
    /// Of its content.
    pub sha256: &'static str,
}

/// A benchmark: its run in `examples/accuracy`, its files, and how they become the run's one file.
struct Benchmark {
    name: &'static str,
    sources: &'static [Source],
    prepare: fn(&[PathBuf], &Path) -> Result<(), Failure>,
    /// Who is held against its bars: on ETT those are of models fitted on the training months alone.
    judged: &'static str,
}

const BENCHMARKS: [Benchmark; 4] = [
    Benchmark {
        name: "etth1",
        sources: &[Source { name: "ETTh1.csv", sha256: "f18de3ad269cef59bb07b5438d79bb3042d3be49bdeecf01c1cd6d29695ee066" }],
        prepare: copy,
        judged: "selected",
    },
    Benchmark {
        name: "etth2",
        sources: &[Source { name: "ETTh2.csv", sha256: "a3dc2c597b9218c7ce1cd55eb77b283fd459a1d09d753063f944967dd6b9218b" }],
        prepare: copy,
        judged: "selected",
    },
    Benchmark {
        name: "weather",
        sources: &[Source {
            name: "weather.csv.zip",
            sha256: "c7947b155aa0eecd5103ffd43575c513982951c4dd76c8cd6438bc00260cf537",
        }],
        prepare: unpack,
        judged: "model",
    },
    Benchmark {
        name: "m4_hourly",
        sources: &[
            Source { name: "Hourly-train.csv.gz", sha256: "4d56abb6310bc349657607a9ab0fed833985c7558f5c3e246818057e51667e2a" },
            Source { name: "Hourly-test.csv", sha256: "71a57fccb15e534d973626ada4fb87febf789e9317715b7cc6dd3b5f90db6f42" },
        ],
        prepare: lengthen,
        judged: "model",
    },
];

/// Weather's file made ready in `folder`, if it is under `data`; says so where it is not.
pub fn weather(data: &Path, folder: &Path) -> Result<Option<PathBuf>, Failure> {
    BENCHMARKS.iter().find(|benchmark| benchmark.name == "weather").ok_or("no benchmark weather")?.file(data, folder)
}

impl Benchmark {
    /// The run's file, made ready in `folder` from what is under `data`; says so where that is not all there.
    fn file(&self, data: &Path, folder: &Path) -> Result<Option<PathBuf>, Failure> {
        let found = self.sources.iter().map(|source| find(data, source)).collect::<Result<Option<Vec<_>>, _>>()?;
        let Some(sources) = found else {
            let names: Vec<_> = self.sources.iter().map(|source| source.name).collect();
            println!("# {}: left out; no {} with the right SHA-256 under {}", self.name, names.join(" and "), data.display());
            return Ok(None);
        };
        let csv = folder.join(format!("{}.csv", self.name));
        (self.prepare)(&sources, &csv)?;
        Ok(Some(csv))
    }
}

fn copy(sources: &[PathBuf], to: &Path) -> Result<(), Failure> {
    std::fs::copy(&sources[0], to).map(|_| ()).map_err(Into::into)
}

/// Weather with its rows numbered: the benchmark counts rows, and its stamps have a gap and a double.
fn number_rows(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let mut lines = text.lines().enumerate();
    let columns = lines.next().map_or(0, |(_, header)| header.split(',').count() - 1);
    let header = (0..columns).map(|column| format!(",c{column}")).collect::<String>();
    let rows = lines.filter_map(|(row, line)| line.split_once(',').map(|(_, values)| format!("{row},{values}\n")));
    format!("row{header}\n{}", rows.collect::<String>())
}

fn unpack(sources: &[PathBuf], to: &Path) -> Result<(), Failure> {
    let mut archive = zip::ZipArchive::new(std::fs::File::open(&sources[0])?)?;
    let place = (0..archive.len()).find(|&place| {
        archive.by_index(place).is_ok_and(|file| file.name().ends_with("weather.csv") && !file.name().starts_with("__MACOSX"))
    });
    let mut bytes = Vec::new();
    archive.by_index(place.ok_or("no weather.csv in the archive")?)?.read_to_end(&mut bytes)?;
    std::fs::write(to, number_rows(&bytes)).map_err(Into::into)
}

/// A line a series, its test values after its training values, as a line a sample.
fn lengthen(sources: &[PathBuf], to: &Path) -> Result<(), Failure> {
    let mut train = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(&sources[0])?).read_to_string(&mut train)?;
    let test = std::fs::read_to_string(&sources[1])?;
    let fields = |line: &str| line.split(',').map(|field| field.trim_matches('"').to_string()).collect::<Vec<_>>();
    let mut file = std::io::BufWriter::new(std::fs::File::create(to)?);
    writeln!(file, "unique_id,ds,y")?;
    for (train, test) in train.lines().zip(test.lines()).skip(1) {
        let (train, test) = (fields(train), fields(test));
        if train[0] != test[0] {
            return Err(format!("expected one order of series, found {} beside {}", train[0], test[0]).into());
        }
        let values = train[1..].iter().chain(&test[1..]).filter(|value| !value.is_empty());
        for (row, value) in values.enumerate() {
            writeln!(file, "{},{row},{value}", train[0])?;
        }
    }
    file.flush().map_err(Into::into)
}

/// The file of this name and content anywhere under a folder.
pub fn find(folder: &Path, source: &Source) -> Result<Option<PathBuf>, Failure> {
    let mut folders = vec![folder.to_path_buf()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|error| format!("{}: {error}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().is_some_and(|name| name == source.name) {
                let hash: String = Sha256::digest(std::fs::read(&path)?).iter().map(|byte| format!("{byte:02x}")).collect();
                if hash == source.sha256 {
                    return Ok(Some(path));
                }
                println!("# {}: expected SHA-256 {}, found {hash}", path.display(), source.sha256);
            }
        }
    }
    Ok(None)
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or(f64::NAN)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// One score at one horizon with every seed.
fn over_seeds(runs: &[Value], rows: &str, horizon: &str, who: &str, score: &str) -> Vec<f64> {
    runs.iter().map(|run| number(&run[format!("{rows}_by_horizon")][horizon][who][score])).collect()
}

fn accuracy(options: &Options) -> Result<Measured, Failure> {
    let Some(data) = &options.data else {
        println!("# accuracy: left out; `--data DIR` with the benchmarks' files measures it");
        return Ok(Measured::new());
    };
    let rows = if options.last { "test" } else { "validation" };
    let folder = tempfile::tempdir()?;
    let (mut figures, mut summary, mut costs) = (Measured::new(), Vec::new(), Vec::new());
    for benchmark in &BENCHMARKS {
        let Some(csv) = benchmark.file(data, folder.path())? else { continue };
        let example = root().join("examples/accuracy").join(format!("{}.toml", benchmark.name));
        let text = std::fs::read_to_string(&example)?;
        let line = |line: &str| if line.starts_with("path = ") { format!("path = {:?}\n", csv) } else { format!("{line}\n") };
        let run = folder.path().join(format!("{}.toml", benchmark.name));
        std::fs::write(&run, text.lines().map(line).collect::<String>())?;
        let runs = (1..=options.seeds).map(|seed| train(&run, seed)).collect::<Result<Vec<_>, _>>()?;
        report(benchmark, rows, &runs, &mut figures, &mut summary);
        costs.extend(runs.iter().map(|run| number(&run["cpu_seconds"]) / 60.0));
    }
    figures.insert("accuracy.cpu_minutes_worst".into(), costs.iter().copied().fold(0.0, f64::max));
    println!("# CPU-minutes a run: {}", costs.iter().map(|cost| format!("{cost:.1}")).collect::<Vec<_>>().join(" "));
    if !options.last {
        println!("# on validation rows, which no bound is about; `--final` measures on test rows");
        return Ok(Measured::new());
    }
    log(&summary, options.seeds)?;
    Ok(figures)
}

fn train(run: &Path, seed: u64) -> Result<Value, Failure> {
    let out = run.with_extension(seed.to_string());
    let output = Command::new(binary()).arg("train").arg(run).args(["--seed", &seed.to_string(), "--out"]).arg(&out).output()?;
    if !output.status.success() {
        return Err(format!("{}: {}", run.display(), String::from_utf8_lossy(&output.stderr)).into());
    }
    Ok(serde_json::from_str(&std::fs::read_to_string(out.join("metrics.json"))?)?)
}

/// Prints a benchmark's table and keeps its figures.
fn report(benchmark: &Benchmark, rows: &str, runs: &[Value], figures: &mut Measured, summary: &mut Vec<String>) {
    let Benchmark { name, judged, .. } = *benchmark;
    let horizons: Vec<String> = match runs[0][format!("{rows}_by_horizon")].as_object() {
        Some(by_horizon) => by_horizon.keys().cloned().collect(),
        None => Vec::new(),
    };
    let mut horizons: Vec<(usize, String)> = horizons.into_iter().filter_map(|text| Some((text.parse().ok()?, text))).collect();
    horizons.sort();
    for who in ["model", "selected", "network", "linear", "ridge", "seasonal-naive"] {
        if runs[0][format!("{rows}_by_horizon")][&horizons[0].1][who].is_null() {
            continue;
        }
        let mut averages = [vec![0.0; runs.len()], vec![0.0; runs.len()]];
        for (_, horizon) in &horizons {
            let of = |score: &str| over_seeds(runs, rows, horizon, who, score);
            let scores = ["mse", "mae", "mase", "wql", "wql_in_units", "coverage_80", "coverage_95"].map(|score| {
                let values = of(score);
                let spread = values.iter().copied().fold(f64::MIN, f64::max) - values.iter().copied().fold(f64::MAX, f64::min);
                format!("{score} {:.4} ± {:.4}", median(values), spread / 2.0)
            });
            println!("# {name} {rows} {horizon} {who}: {}", scores.join(", "));
            for (average, score) in averages.iter_mut().zip(["mse", "mae"]) {
                average.iter_mut().zip(of(score)).for_each(|(average, value)| *average += value / horizons.len() as f64);
            }
        }
        let [mse, mae] = averages.map(median);
        println!("# {name} {rows} average {who}: MSE {mse:.4}, MAE {mae:.4}");
        summary.push(format!("{name} {who} {mse:.4}/{mae:.4}"));
        if who != judged {
            continue;
        }
        let mut keep = |figure: &str, value: f64| _ = figures.insert(format!("accuracy.{name}_{figure}"), value);
        keep("mse", mse);
        keep("mae", mae);
        for (_, horizon) in &horizons {
            keep(&format!("{horizon}_mse"), median(over_seeds(runs, rows, horizon, who, "mse")));
        }
        let last = &horizons[horizons.len() - 1].1;
        keep("mase", median(over_seeds(runs, rows, last, who, "mase")));
        keep("wql", median(over_seeds(runs, rows, last, who, "wql_in_units")));
        for (score, level) in [("coverage_80", 0.8), ("coverage_95", 0.95)] {
            let covered = horizons.iter().map(|(_, horizon)| median(over_seeds(runs, rows, horizon, who, score)));
            let worst = covered.max_by(|a, b| (a - level).abs().total_cmp(&(b - level).abs()));
            keep(&format!("{score}_worst"), worst.unwrap_or(f64::NAN));
        }
    }
}

/// Every look at test rows is on record.
fn log(summary: &[String], seeds: u64) -> Result<(), Failure> {
    let output = Command::new("date").arg("+%Y-%m-%d").output()?;
    let date = String::from_utf8(output.stdout)?;
    let mut file = std::fs::OpenOptions::new().append(true).open(root().join("LOG.md"))?;
    writeln!(
        file,
        "- {}: `score accuracy --final`, test rows, medians of {seeds} seeds, MSE/MAE: {}.",
        date.trim(),
        summary.join("; ")
    )?;
    Ok(())
}
