//! Does the mixture pay? One table: a mixture beside what could stand in its place, trained afresh on three data sets.
//!
//! The run is the same for all but for what stands in the mixture's place: an expert of it alone, one for each kind, or SwiGLU layers of the mixture's
//! active or total size. Networks are kept whatever they add to the linear expert. A row without the linear expert is the network alone of the same
//! training, in which the linear expert takes no part. The kind of expert and the shape of the larger dense network (one layer or two) are chosen by the
//! networks' mean error on validation rows, and nothing is by test rows.
//!
//! ETTh1 and the regimes are the examples' runs, the regimes' with a linear expert beside it. Weather has a light run, few taps and
//! five epochs, and the mixture that was best there on validation rows: three seeds of all take about 15 CPU-minutes.

use super::{
    accuracy,
    mixture::{EVIDENCE, largest, mean, mixture_of, smallest, train, weather_run},
};
use crate::{Failure, root, run};
use serde_json::Value;
use std::path::Path;

/// How far sizes may differ that are called equal.
const EQUAL: f64 = 0.05;

/// A data set, and a run on it that has a mixture and a linear expert.
struct Case {
    title: &'static str,
    run: toml::Table,
    /// Hidden widths of the SwiGLU layers that are as large as the mixture's active part.
    active: &'static [usize],
    /// The same for all of the mixture, in one layer and in two.
    total: [&'static [usize]; 2],
}

/// Measures and prints the table.
pub fn ablation(data: Option<&Path>, seeds: u64) -> Result<(), Failure> {
    run("cargo", &["build", "--release", "--quiet"], &[])?;
    let folder = tempfile::tempdir()?;
    let mut cases = vec![
        Case { title: "ETTh1, 96 hours", run: example("etth1")?, active: &[129], total: [&[238], &[119, 119]] },
        Case { title: "Regimes, 8 steps", run: example("regimes")?, active: &[13], total: [&[46], &[23, 23]] },
    ];
    match data.map(|data| accuracy::weather(data, folder.path())).transpose()? {
        Some(Some(csv)) => cases.push(Case {
            title: "Weather, 96 steps",
            run: weather_run(&csv, &mixture_of("{ type = \"swiglu\", hidden = 128 }", EVIDENCE)).parse()?,
            active: &[128],
            total: [&[512], &[256, 256]],
        }),
        Some(None) => {}
        None => println!("# weather: left out; `--data DIR` with the benchmark's weather.csv.zip measures it"),
    }
    let columns = cases.iter().map(|case| measure(case, seeds, folder.path())).collect::<Result<Vec<_>, _>>()?;
    show(&cases, &columns);
    Ok(())
}

/// An example's run with its data's path whole and a linear expert, the default one if it has none.
fn example(name: &str) -> Result<toml::Table, Failure> {
    let examples = root().join("examples");
    let mut run: toml::Table = std::fs::read_to_string(examples.join(format!("{name}.toml")))?.parse()?;
    let data = part(&mut run, "data")?;
    let path = examples.join(data.get("path").and_then(toml::Value::as_str).unwrap_or_default());
    data.insert("path".into(), path.display().to_string().into());
    part(&mut run, "model")?.entry("linear").or_insert_with(|| toml::Table::new().into());
    Ok(run)
}

/// A part of a run.
fn part<'a>(run: &'a mut toml::Table, name: &str) -> Result<&'a mut toml::Table, Failure> {
    let found = run.get_mut(name).and_then(toml::Value::as_table_mut);
    found.ok_or_else(|| format!("a run of the ablation: expected [{name}], found none").into())
}

/// The layers of a run.
fn layers(run: &toml::Table) -> Result<&Vec<toml::Value>, Failure> {
    let found = run.get("model").and_then(|model| model.get("layers")).and_then(toml::Value::as_array);
    found.ok_or_else(|| "a run of the ablation: expected model.layers, found none".into())
}

/// A network with every seed.
struct Trained {
    name: String,
    text: String,
    runs: Vec<Value>,
}

impl Trained {
    fn mse(&self, rows: &str, who: &str) -> Vec<f64> {
        self.runs.iter().map(|run| run[rows][who]["mse"].as_f64().unwrap_or(f64::NAN)).collect()
    }

    /// All parameters, those of one sample, and those of the linear expert.
    fn sizes(&self) -> [f64; 3] {
        ["parameters", "active_parameters", "linear_parameters"].map(|key| self.runs[0][key].as_f64().unwrap_or(f64::NAN))
    }

    /// Parameters of the network: all, and those of one sample.
    fn network(&self) -> [f64; 2] {
        let [all, active, linear] = self.sizes();
        [all - linear, active - linear]
    }

    /// A cell of the table, for a forecaster of its metrics.
    fn cell(&self, who: &str, parameters: [f64; 2]) -> Cell {
        Cell { test: self.mse("test", who), validation: mean(&self.mse("validation", who)), parameters }
    }
}

/// What a row says of a data set.
struct Cell {
    test: Vec<f64>,
    validation: f64,
    /// All and active.
    parameters: [f64; 2],
}

/// The rows of a data set's networks.
const NETWORKS: [&str; 4] = ["mixture", "its best expert alone", "dense, equal active size", "dense, equal total size"];

/// Networks of a data set as they are trained.
struct Bench<'a> {
    case: &'a Case,
    seeds: u64,
    folder: &'a Path,
    trained: Vec<Trained>,
}

impl Bench<'_> {
    /// Trains the network with other layers in the mixture's place, or with the mixture, unless it was before; gives its place.
    fn network(&mut self, name: &str, instead: Option<&[toml::Value]>) -> Result<usize, Failure> {
        let text = variant(&self.case.run, instead)?;
        if let Some(same) = self.trained.iter().position(|other| other.text == text) {
            return Ok(same);
        }
        let name = format!("{}, {name}", self.case.title);
        let runs = (1..=self.seeds).map(|seed| train(self.folder, &name, &text, seed)).collect::<Result<Vec<_>, _>>()?;
        let own = Trained { name, text, runs };
        let [both, alone] = ["model", "network"].map(|who| mean(&own.mse("validation", who)));
        let [all, active] = own.network();
        println!("# {}: validation MSE {both:.4}, network alone {alone:.4}, its parameters {all} ({active} active)", own.name);
        self.trained.push(own);
        Ok(self.trained.len() - 1)
    }

    /// A dense network of SwiGLU layers, as large as it has to be.
    fn dense(&mut self, name: &str, widths: &[usize], expected: f64) -> Result<usize, Failure> {
        let swiglu = |&hidden: &usize| {
            let options = [("type", toml::Value::from("swiglu")), ("hidden", toml::Value::from(hidden as i64))];
            options.map(|(option, value)| (option.to_string(), value)).into_iter().collect::<toml::Table>().into()
        };
        let network = self.network(name, Some(&widths.iter().map(swiglu).collect::<Vec<_>>()))?;
        let (found, name) = (self.trained[network].network()[0], &self.trained[network].name);
        match (found / expected - 1.0).abs() <= EQUAL {
            true => Ok(network),
            false => Err(format!("{name}: expected {expected} parameters give or take {EQUAL}, found {found}").into()),
        }
    }

    /// The one with the least mean error on validation rows.
    fn best(&self, of: &[usize]) -> Result<usize, Failure> {
        let error = |network: &usize| mean(&self.trained[*network].mse("validation", "network"));
        let best = of.iter().copied().min_by(|a, b| error(a).total_cmp(&error(b))).ok_or("nothing to choose from")?;
        println!("# chosen on validation rows: {}", self.trained[best].name);
        Ok(best)
    }
}

/// Trains the networks of a data set: a cell for each of [`NETWORKS`] with the linear expert, then without, then one for the ridge.
fn measure(case: &Case, seeds: u64, folder: &Path) -> Result<Vec<Cell>, Failure> {
    let mut bench = Bench { case, seeds, folder, trained: Vec::new() };
    let mixture = bench.network("mixture", None)?;
    let [all, of_sample] = bench.trained[mixture].network();
    let mut kinds = Vec::new();
    for expert in experts(&case.run)? {
        let name = format!("{} alone", expert.get("type").and_then(toml::Value::as_str).unwrap_or_default());
        kinds.push(bench.network(&name, Some(&[expert]))?);
    }
    let active = bench.dense("dense of equal active size", case.active, of_sample)?;
    let [one, two] = case.total;
    let totals =
        [bench.dense("dense of equal total size", one, all)?, bench.dense("dense of equal total size, two layers", two, all)?];
    let rows = [mixture, bench.best(&kinds)?, active, bench.best(&totals)?].map(|row| &bench.trained[row]);
    let seconds = bench.trained.iter().flat_map(|own| &own.runs).filter_map(|run| run["cpu_seconds"].as_f64()).sum::<f64>();
    println!("# {}: {:.1} CPU-min", case.title, seconds / 60.0);
    let [_, _, linear] = rows[0].sizes();
    let with = rows.iter().map(|row| row.cell("model", row.network().map(|size| size + linear)));
    let without = rows.iter().map(|row| row.cell("network", row.network()));
    // The usual ridge, unless the linear expert is another.
    let ridge = if rows[0].runs[0]["test"]["linear"].is_null() { "ridge" } else { "linear" };
    Ok(with.chain(without).chain([rows[0].cell(ridge, [linear; 2])]).collect())
}

/// The run with other layers in its mixture's place, as TOML; with the mixture if there are none. Its network is kept.
fn variant(run: &toml::Table, instead: Option<&[toml::Value]>) -> Result<String, Failure> {
    let of = |layer: &toml::Value| match instead.filter(|_| is_mixture(layer)) {
        Some(instead) => instead.to_vec(),
        None => vec![layer.clone()],
    };
    let layers: Vec<toml::Value> = layers(run)?.iter().flat_map(of).collect();
    let mut run = run.clone();
    part(&mut run, "model")?.insert("layers".into(), layers.into());
    part(&mut run, "train")?.insert("keep_network".into(), true.into());
    Ok(run.to_string())
}

fn is_mixture(layer: &toml::Value) -> bool {
    layer.get("type").and_then(toml::Value::as_str) == Some("mixture")
}

/// The experts of a run's mixture, one of each kind.
fn experts(run: &toml::Table) -> Result<Vec<toml::Value>, Failure> {
    let mixture = layers(run)?.iter().find(|layer| is_mixture(layer));
    let experts = mixture.and_then(|mixture| mixture.get("experts")).and_then(toml::Value::as_array);
    let experts = experts.ok_or("a run of the ablation: expected a mixture with experts, found none")?;
    let first = |place: &usize| !experts[..*place].contains(&experts[*place]);
    Ok((0..experts.len()).filter(first).map(|place| experts[place].clone()).collect())
}

/// Prints the table; the best mean on test rows of each data set is bold.
fn show(cases: &[Case], columns: &[Vec<Cell>]) {
    let titles = cases.iter().map(|case| format!(" {} | validation | parameters (active) |", case.title));
    println!("\n| test MSE |{}", titles.collect::<String>());
    println!("|---|{}", "---|---|---|".repeat(cases.len()));
    let with = NETWORKS.map(|name| format!("{name}, and linear expert"));
    let names = with.into_iter().chain(NETWORKS.map(|name| format!("{name}, no linear expert"))).chain(["ridge alone".into()]);
    for (row, name) in names.enumerate() {
        let cells = columns.iter().map(|column| {
            let Cell { test, validation, parameters: [all, active] } = &column[row];
            let spread = 0.5 * (largest(test) - smallest(test));
            let error = if spread < 5e-5 { format!("{:.4}", mean(test)) } else { format!("{:.4} ± {spread:.4}", mean(test)) };
            let best = smallest(&column.iter().map(|cell| mean(&cell.test)).collect::<Vec<_>>());
            let error = if mean(test) == best { format!("**{error}**") } else { error };
            let active = if all == active { String::new() } else { format!(" ({active})") };
            format!(" {error} | {validation:.4} | {all}{active} |")
        });
        println!("| {name} |{}", cells.collect::<String>());
    }
}
