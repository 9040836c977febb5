//! The project's own tasks: `cargo xtask check`, `cargo xtask setup`, `cargo xtask score [NAME]`, `cargo xtask ablation`, `cargo xtask soak`.

mod check;
mod score;
mod soak;

use clap::{Parser, Subcommand};
use std::{
    path::{Path, PathBuf},
    process::{Command, ExitCode},
};

#[derive(Parser)]
#[command(name = "xtask", about = "Tasks of the project")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Exactly what CI runs: format, lints, the lean build, documentation, tests.
    Check,
    /// Install what `check` needs beyond Rust itself.
    Setup,
    /// Measure the figures that the README claims, afresh; exit code 1 if one falls short of its bound.
    Score {
        /// Figures whose name starts so; all if absent.
        name: Option<String>,
        /// Folder with data that the repository cannot hold: the benchmarks' own files for `accuracy`, bike sharing's for `covariates`. Without it those figures say so and are left out.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Measure `accuracy` on test rows, instead of validation rows; each use is logged in LOG.md.
        #[arg(long = "final")]
        last: bool,
        /// Seeds that `accuracy` is trained with.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
    /// Kill a training at random moments and resume it, and look whether it ends with the same weights. A few minutes.
    Soak {
        /// Kills.
        #[arg(long, default_value_t = 200)]
        kills: u64,
        /// Resumed trainings that must end, each with the bits of one that was never killed.
        #[arg(long, default_value_t = 20)]
        resumes: u64,
        /// Of the moments.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measure whether the mixture pays: train it, its experts alone and dense networks of equal size, and print one Markdown table. About 15 CPU-minutes.
    Ablation {
        /// Folder under which weather.csv.zip lies; without it Weather is left out.
        #[arg(long)]
        data: Option<PathBuf>,
        /// Seeds that every network is trained with.
        #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..))]
        seeds: u64,
    },
}

/// Why a task ended early.
type Failure = Box<dyn std::error::Error>;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map_or_else(PathBuf::new, Path::to_path_buf)
}

/// Runs a command at the root of the repository and fails if it fails.
fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<(), Failure> {
    println!("$ {program} {}", arguments.join(" "));
    let status = Command::new(program).args(arguments).envs(variables.iter().copied()).current_dir(root()).status();
    match status.map_err(|error| format!("{program}: {error}"))?.success() {
        true => Ok(()),
        false => Err(format!("{program} {} failed", arguments.join(" ")).into()),
    }
}

fn main() -> ExitCode {
    let done = match Arguments::parse().task {
        Task::Check => check::check(),
        Task::Setup => check::setup(),
        Task::Score { name, data, last, seeds } => {
            score::score(name.as_deref().unwrap_or(""), &score::Options { data, last, seeds })
        }
        Task::Soak { kills, resumes, seed } => soak::soak(kills, resumes, seed).map(|()| true),
        Task::Ablation { data, seeds } => score::ablation::ablation(data.as_deref(), seeds).map(|()| true),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
