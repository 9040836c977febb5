//! `foretoken inspect`: what a model is, who in it speaks when, and whether it chose well.

use crate::{
    draw,
    error::CliError,
    routing::{Timeline, timelines, trace},
    run::{beside, data_of, predictor, read_for, read_series},
    say::say,
    table,
};
use foretoken_data::{Outliers, Signal};
use foretoken_eval::adjusted_rand_index;
use foretoken_kernels::thinned::place_of;
use foretoken_model::{
    Forecaster,
    audit::{Audited, audit},
    mixture::MixtureEngine,
    usage::MARGINS,
};
use foretoken_train::Checkpoint;
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    sync::Arc,
};

/// Show a model's parts, its experts' usage on data, and an audit of its choices.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  foretoken inspect runs/etth1 examples/data/ETTh1.csv --svg routing.svg\n  \
                        foretoken inspect runs/regimes examples/data/regimes.csv --regime regime --last 4000 --audit")]
pub struct Arguments {
    /// The weights file, or a run folder with `model.safetensors`; or a checkpoint, of which it is shown where training stands.
    model: PathBuf,
    /// A CSV or Parquet file with the model's series: shows the experts' usage over it, and the routing of its last rows.
    data: Option<PathBuf>,
    /// Rows, at the end of the data, of the routing timeline (in text at most the last 192), of the comparison with `--regime` and of the audit.
    #[arg(long, default_value_t = 96, requires = "data", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    last: usize,
    /// Draw the routing timeline here.
    #[arg(long, requires = "data")]
    svg: Option<PathBuf>,
    /// Write every choice of every mixture over the data here; `forecast --replay` makes the same ones again.
    #[arg(long, requires = "data")]
    trace: Option<PathBuf>,
    /// Column of the data that names the true regime of each row: shows how far the routing recovers it.
    #[arg(long, requires = "data")]
    regime: Option<String>,
    /// Force every expert on sampled rows: the regret of the chosen route, and each expert's error by regime.
    #[arg(long, requires = "data")]
    audit: bool,
    /// Rows that the audit samples.
    #[arg(long, default_value_t = 100, requires = "audit", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..))]
    samples: usize,
}

/// Columns of the text timeline at most.
const SHOWN: usize = 192;
/// What stands there where a sample is missing.
const MISSING: char = '·';

/// Runs the command.
pub fn run(arguments: &Arguments) -> Result<(), CliError> {
    if Checkpoint::is_one(&arguments.model) {
        let Checkpoint { progress, arenas, .. } = Checkpoint::read(&arguments.model)?;
        say!(
            "a checkpoint after {} steps: {} epochs and {} steps of the next, {} left out; {} parameters, the best of epoch {}",
            progress.step,
            progress.epoch,
            progress.epoch_step,
            progress.skipped,
            arenas[0].len(),
            progress.best_epoch,
        )?;
        return Ok(());
    }
    let data = arguments.data.as_ref().unwrap_or(&arguments.model);
    super::forecast::writable(&[&arguments.svg, &arguments.trace], &[&arguments.model, data])?;
    let forecaster = super::forecast::load(&arguments.model)?;
    let names = super::forecast::names(&forecaster);
    let seen = arguments.data.as_ref().map(|path| Seen::of(&forecaster, path, arguments)).transpose()?;
    // Files come before lines, whose reader may leave.
    if let (Some(seen), Some(path)) = (&seen, &arguments.svg) {
        let (rows, signal) = (seen.rows.clone(), &seen.signal);
        draw::routing::draw(&seen.timelines, &names, &signal.slice(rows.clone()), &signal.stamps.slice(rows), path)?;
    }
    if let (Some(Seen { signal, rows, .. }), Some(path)) = (&seen, &arguments.trace) {
        trace(&forecaster, &signal.slice(0..rows.end), &beside(signal))?.save(path)?;
    }
    say!("{} parameters, {} active", forecaster.parameters(), forecaster.active_parameters())?;
    for spec in forecaster.blueprint().layout.specs() {
        say!("  {:40} {:?}", spec.name, spec.weight.shape)?;
    }
    if let Some(linear) = forecaster.linear() {
        say!("  {:40} {}", "linear expert", linear.parameters())?;
    }
    if let Some(response) = &forecaster.covariates().response {
        say!("  {:40} {} over {} rows", "response to what is known ahead", response.weights_crk.len(), response.samples)?;
    }
    let config = toml::to_string(forecaster.config()).map_err(|error| CliError::file(&arguments.model, error))?;
    table::show_bounds(forecaster.columns())?;
    table::show_jumps(forecaster.columns())?;
    table::show_limits(&[forecaster.columns(), &forecaster.covariates().past].concat())?;
    say!("\n{config}")?;
    let Some(Seen { signal, rows, regimes, timelines }) = seen else { return Ok(()) };
    if timelines.is_empty() {
        say!("a model without a mixture: nothing is routed")?;
    }
    forecaster.network().mixtures().into_iter().try_for_each(usage)?;
    for timeline in &timelines {
        show(timeline, &names, rows.len())?;
        if let Some(regimes) = &regimes {
            for (column, name) in names.iter().enumerate() {
                let named =
                    rows.clone().filter_map(|row| Some((timeline.loudest(column, row - rows.start)?, regimes.of_row[row]?)));
                let (loudest, regimes): (Vec<usize>, Vec<usize>) = named.unzip();
                let index = adjusted_rand_index(&loudest, &regimes);
                say!("  {name}: adjusted Rand index of leading experts and regimes {index:.3}")?;
            }
        }
    }
    if arguments.audit {
        audits(&forecaster, &signal, &timelines, rows, arguments.samples, regimes.as_ref()).map_err(|error| match error {
            CliError::Model(error) => CliError::file(data, format!("audit: {error}")),
            error => error,
        })?;
    }
    Ok(())
}

/// Data, and what a model's routers made of it.
struct Seen {
    signal: Signal,
    /// The last ones, which are shown.
    rows: std::ops::Range<usize>,
    regimes: Option<Regimes>,
    timelines: Vec<Timeline>,
}

impl Seen {
    fn of(forecaster: &Arc<Forecaster>, path: &Path, arguments: &Arguments) -> Result<Self, CliError> {
        let (model, names) = (&arguments.model, super::forecast::names(forecaster));
        let (signal, _) = read_for(model, path, forecaster)?;
        let end = signal.observed_len();
        let rows = end.saturating_sub(arguments.last)..end;
        let regimes = arguments.regime.as_ref().map(|column| Regimes::read(model, path, &names, column)).transpose()?;
        let mut stream = predictor(forecaster);
        stream.tell(&beside(&signal))?;
        let timelines = timelines(stream, &signal.slice(0..end), rows.start)?;
        Ok(Self { signal, rows, regimes, timelines })
    }
}

/// The regime of every row, numbered, where the file names one, and their names.
struct Regimes {
    of_row: Vec<Option<usize>>,
    names: Vec<String>,
}

impl Regimes {
    /// Reads a column as a covariate of the series `names`, so that it lies on their rows.
    fn read(model: &Path, path: &Path, names: &[String], column: &String) -> Result<Self, CliError> {
        let mut options = data_of(model)?.map(|data| data.read).unwrap_or_default();
        // Numbers are names here: none is far off, and 2 and 2.0 are one regime.
        options.outliers = Outliers::Report;
        if !names.contains(column) && !options.past.contains(column) && !options.future.contains(column) {
            options.past.push(column.clone());
        }
        let (signal, _) = read_series(path, &options, Some(names))?;
        let values = match signal.covariates.iter().find(|covariate| covariate.name == *column) {
            Some(covariate) => &covariate.values[..],
            None => signal.names.iter().position(|name| name == column).map_or(&[][..], |at| &signal.columns[at..=at]),
        };
        let [values] = values else {
            let found = format!("expected one column `{column}` for all series, found one for each of {}", names.len());
            return Err(CliError::file(path, found));
        };
        let named = || values.iter().filter(|value| !value.is_nan());
        let names: BTreeMap<u64, String> = named().map(|value| (value.to_bits(), value.to_string())).collect();
        if names.is_empty() {
            return Err(CliError::file(path, format!("column `{column}`: expected a regime in some row, found none")));
        }
        let keys: Vec<u64> = names.keys().copied().collect();
        let of_row = values.iter().map(|value| keys.binary_search(&value.to_bits()).ok()).collect();
        Ok(Self { of_row, names: names.into_values().collect() })
    }
}

/// What a mixture's experts were used for.
fn usage(mixture: &MixtureEngine) -> Result<(), CliError> {
    let usage = mixture.live_usage().read();
    let samples = usage.samples;
    say!(
        "mixture {}: {} of {} experts a sample, {samples} samples, {} near ties",
        mixture.id(),
        mixture.top_k(),
        mixture.expert_names().len(),
        usage.near_ties,
    )?;
    let recent: f64 = usage.recent_chosen.iter().sum::<f64>().max(1.0);
    for (expert, (name, share)) in mixture.expert_names().iter().zip(usage.shares()).enumerate() {
        let mass = usage.gate_mass[expert] / samples.max(1) as f64;
        say!(
            "  {} {name:10} chosen {:5.1}%, lately {:5.1}%, gate weight {:5.1}%",
            symbol(expert),
            100.0 * share,
            100.0 * usage.recent_chosen[expert] / recent,
            100.0 * mass
        )?;
    }
    let dead = usage.dead_experts();
    let dead = if dead.is_empty() { "none".to_string() } else { dead.iter().map(|&expert| symbol(expert)).collect() };
    say!(
        "  imbalance {:.2}, largest load {:.2} over the mean, dead experts: {dead}; entropy {:.2} nats; leading expert changes at {:.1}% of \
         the samples",
        usage.coefficient_of_variation(),
        usage.max_violation(),
        usage.entropy,
        100.0 * usage.switch_rate(),
    )?;
    let total = samples.max(1) as f64;
    let margins = usage.margins.iter().enumerate().filter(|(_, count)| **count > 0).map(|(bin, &count)| {
        let edge = MARGINS.get(bin).map_or(format!(">= {}", MARGINS[MARGINS.len() - 1]), |edge| format!("< {edge}"));
        format!("{edge}: {:.1}%", 100.0 * count as f64 / total)
    });
    say!("  margin of the choice  {}", margins.collect::<Vec<_>>().join(", "))?;
    let runs = usage.run_lengths.iter().enumerate().filter(|(_, count)| **count > 0);
    say!(
        "  runs of one leader    {}",
        runs.map(|(bin, count)| format!("{}+: {count}", 1u64 << bin)).collect::<Vec<_>>().join(", ")
    )?;
    say!("  from (row) one leader to the next:")?;
    for (expert, row) in usage.transitions.iter().enumerate().take(16) {
        let total = row.iter().sum::<u64>().max(1) as f64;
        let cells: String = row.iter().take(16).map(|&count| format!(" {:5.1}%", 100.0 * count as f64 / total)).collect();
        say!("    {}{cells}", symbol(expert))?;
    }
    Ok(())
}

fn show(timeline: &Timeline, names: &[String], rows: usize) -> Result<(), CliError> {
    let first = rows.saturating_sub(SHOWN);
    say!("\nmixture {}, the loudest expert at each of the last {} samples:", timeline.mixture, rows - first)?;
    let width = names.iter().map(|name| name.chars().count()).max().unwrap_or(0);
    for (column, name) in names.iter().enumerate() {
        let line: String = (first..rows).map(|row| timeline.loudest(column, row).map_or(MISSING, symbol)).collect();
        say!("  {name:width$}  {line}")?;
    }
    Ok(())
}

/// Audits every mixture of the trunk at rows spread over `rows`, in step with no season.
fn audits(
    forecaster: &Arc<Forecaster>,
    signal: &Signal,
    timelines: &[Timeline],
    rows: std::ops::Range<usize>,
    samples: usize,
    regimes: Option<&Regimes>,
) -> Result<(), CliError> {
    let end = rows.end.saturating_sub(forecaster.config().horizon);
    let rows = rows.start..end.max(rows.start);
    let samples = samples.min(rows.len());
    let edge = |part: usize| rows.start + rows.len() * part / samples;
    let sampled: Vec<usize> = (0..samples).map(|part| edge(part) + place_of(part, edge(part + 1) - edge(part), 0)).collect();
    if sampled.is_empty() {
        say!("\nno audit: no row has a whole horizon after it; a larger --last has")?;
    }
    for timeline in timelines.iter().filter(|_| !sampled.is_empty()) {
        let audited = audit(forecaster, &signal.slice(0..signal.observed_len()), &beside(signal), timeline.mixture, &sampled)?;
        match audited.is_empty() {
            true => say!(
                "\nno audit of mixture {}: at each of the rows the sample is missing, or all of its horizon",
                timeline.mixture
            )?,
            false => report(timeline, &audited, regimes)?,
        }
    }
    Ok(())
}

fn report(timeline: &Timeline, audited: &[Audited], regimes: Option<&Regimes>) -> Result<(), CliError> {
    let mean = |values: &mut dyn Iterator<Item = f64>| {
        let (count, sum) = values.fold((0u32, 0.0), |(count, sum), value| (count + 1, sum + value));
        sum / f64::from(count.max(1))
    };
    let route = mean(&mut audited.iter().map(|one| one.route));
    let regret = mean(&mut audited.iter().map(Audited::regret));
    let right = audited.iter().filter(|one| one.leader == one.best()).count() as f64 / audited.len() as f64;
    say!(
        "\naudit of mixture {}, {} samples, mean squared errors over the horizon, standardised:",
        timeline.mixture,
        audited.len()
    )?;
    say!(
        "  chosen route {route:.4}, best expert alone in hindsight {:.4}, regret {regret:.4}; the leader was the best at {:.0}%",
        route - regret,
        100.0 * right,
    )?;
    let best = (0..timeline.experts.len()).map(|expert| mean(&mut audited.iter().map(|one| one.alone[expert])));
    let best = best.fold(f64::INFINITY, f64::min);
    say!("  best single expert for all samples {best:.4}")?;
    let (title, groups): (_, Vec<(String, Vec<&Audited>)>) = match regimes {
        Some(regimes) => {
            let name = |regime: Option<usize>| regime.map_or("-".into(), |regime| regimes.names[regime].clone());
            ("regime", group(audited, |one| regimes.of_row[one.row], name))
        }
        None => ("leader", group(audited, |one| one.leader, |leader| symbol(leader).to_string())),
    };
    let head: String =
        timeline.experts.iter().enumerate().map(|(e, kind)| format!(" {:>11}", format!("{} {kind}", symbol(e)))).collect();
    say!("  {title:>8} {:>8} {:>9}{head}", "samples", "route")?;
    for (name, group) in groups {
        let cell = |expert: usize| format!(" {:11.4}", mean(&mut group.iter().map(|one| one.alone[expert])));
        let cells: String = (0..timeline.experts.len()).map(cell).collect();
        say!("  {name:>8} {:>8} {:9.4}{cells}", group.len(), mean(&mut group.iter().map(|one| one.route)))?;
    }
    Ok(())
}

fn group<K: Ord>(audited: &[Audited], key: impl Fn(&Audited) -> K, name: impl Fn(K) -> String) -> Vec<(String, Vec<&Audited>)> {
    let mut groups: BTreeMap<K, Vec<&Audited>> = BTreeMap::new();
    audited.iter().for_each(|one| groups.entry(key(one)).or_default().push(one));
    groups.into_iter().map(|(key, group)| (name(key), group)).collect()
}

/// One character an expert: digits, small letters, capitals, and `+` for those that are left.
fn symbol(expert: usize) -> char {
    let symbols = ('0'..='9').chain('a'..='z').chain('A'..='Z');
    symbols.into_iter().nth(expert).unwrap_or('+')
}
