//! Fitting a run: what `train` does once, and `backtest --refit` many times.

use crate::{
    error::CliError,
    run::{Prepared, Run},
};
use foretoken_data::Ranges;
use foretoken_eval::Ridge;
use foretoken_model::{ModelError, linear_expert::LinearWeights};
use foretoken_train::{EpochReport, Task, Trainer};
use indicatif::{ProgressBar, ProgressStyle};
use std::path::Path;

/// A trainer of the run whose TOML is at `path`, for the training and validation rows of `ranges`; it sees no row after them.
pub fn trainer<'a>(
    run: &Run,
    path: &Path,
    data: &'a Prepared,
    ranges: &Ranges,
    expert: Option<&Ridge>,
) -> Result<Trainer<'a>, CliError> {
    let task = Task {
        columns: data.columns.clone(),
        covariates: data.covariates.clone(),
        beside: data.beside(),
        values: data.signal.slice(0..ranges.validation.end),
        train: ranges.train.clone(),
        validation: ranges.validation.clone(),
        linear: expert.map(|ridge| LinearWeights { weights_lh: ridge.weights_lh.clone(), bias_h: ridge.bias_h.clone() }),
    };
    Trainer::new(&run.model, &run.train, task).map_err(|error| match error {
        error @ ModelError::TooShort { .. } => CliError::file(&data.path, error),
        error => in_file(path, error),
    })
}

/// Trains to the end, or until `done`, told of every epoch, says not to go on.
pub fn train(
    trainer: &mut Trainer<'_>,
    bar: &ProgressBar,
    mut done: impl FnMut(&Trainer<'_>, &EpochReport) -> Result<bool, CliError>,
) -> Result<(), CliError> {
    while !trainer.finished() {
        let epoch = trainer.train_epoch(|step| {
            bar.inc(1);
            bar.set_message(format!("loss {:.4}, balance {:.4}", step.loss, step.auxiliary));
        })?;
        if !done(trainer, &epoch)? {
            break;
        }
    }
    Ok(())
}

/// A bar of training steps, without a length yet. `before` are more fields of indicatif's in front of its numbers.
pub fn bar(before: &str) -> ProgressBar {
    let template = format!("{{wide_bar}} {before}{{pos}}/{{len}} steps, {{per_sec}}, {{msg}}, at most {{eta}} left");
    ProgressBar::new(0).with_style(ProgressStyle::with_template(&template).expect("a template that parses"))
}

/// Names the file in which a configuration error stands.
pub fn in_file(path: &Path, error: ModelError) -> CliError {
    match error {
        error @ (ModelError::Config { .. } | ModelError::Syntax { .. }) => CliError::file(path, error),
        error => error.into(),
    }
}
