//! `foretoken`: train, backtest, forecast and stream from the command line.

mod also;
mod command;
mod draw;
mod error;
mod fit;
mod forecast_file;
mod interrupt;
mod journal;
mod layout;
mod refit;
mod respond;
mod routing;
mod run;
mod said;
mod say;
mod score;
mod screen;
mod sensible;
mod session;
mod ship;
mod state;
mod table;
mod ui;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Parser)]
#[command(name = "foretoken", version, about = "Predict live signals with a sparse mixture of sequence experts")]
#[command(after_help = "Example:\n  foretoken train examples/etth1.toml")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(command::train::Arguments),
    Forecast(command::forecast::Arguments),
    Backtest(command::backtest::Arguments),
    Stream(command::stream::Arguments),
    Inspect(command::inspect::Arguments),
}

fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "off".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let done = match Arguments::parse().command {
        Command::Train(arguments) => command::train::run(&arguments),
        Command::Forecast(arguments) => command::forecast::run(&arguments),
        Command::Backtest(arguments) => command::backtest::run(&arguments),
        Command::Stream(arguments) => command::stream::run(&arguments),
        Command::Inspect(arguments) => command::inspect::run(&arguments),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is_closed_pipe() => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(%error, "the command failed");
            crate::say::remark!("error: {error}");
            match error {
                // As shells give the end by a signal.
                error::CliError::Interrupted { signal, .. } => ExitCode::from(128 + signal as u8),
                _ => ExitCode::FAILURE,
            }
        }
    }
}
