//! Fitting a run: what `train` does once, and `backtest --refit` many times.

use crate::{
    error::CliError,
    run::{Prepared, Run},
    score::{Expert, Judge},
};
use foretoken_data::Ranges;
use foretoken_eval::Maps;
use foretoken_model::{
    Blueprint, Column, Jump, ModelError, Registry, jumps,
    linear_expert::{LinearExpert, LinearWeights, SomeMaps},
    scaler::ScalerKind,
};
use foretoken_train::{EpochReport, Further, Shipped, StepReport, Task, Trainer};
use indicatif::{ProgressBar, ProgressStyle};
use std::{ops::ControlFlow, path::Path};

/// A trainer of the run whose TOML is at `path`, for the training and validation rows of `ranges`; it sees no row after them.
pub fn trainer<'a>(
    run: &Run,
    path: &Path,
    data: &'a Prepared,
    ranges: &Ranges,
    expert: Option<&Expert>,
) -> Result<Trainer<'a>, CliError> {
    let further = data.also.iter().flat_map(|also| also.columns.iter().zip(&also.values));
    let further = further.map(|(column, values)| Further { column: column.clone(), values: &values[..ranges.validation.end] });
    let task = Task {
        columns: columns(run, path, data, ranges, expert)?,
        covariates: data.covariates.clone(),
        beside: data.beside(),
        values: data.signal.slice(0..ranges.validation.end),
        left: data.left.iter().flat_map(|left| &left.values).map(|values| &values[..ranges.validation.end]).collect(),
        also: further.collect(),
        train: ranges.train.clone(),
        validation: ranges.validation.clone(),
        linear: expert.map(linear),
    };
    Trainer::new(&run.model, &run.train, task).map_err(|error| match error {
        error @ ModelError::TooShort { .. } => CliError::file(&data.path, error),
        error => in_file(path, error),
    })
}

/// The columns, with what is a jump of theirs if the run wants those followed: training and validation rows tell.
///
/// # Errors
/// A run without a linear expert, which is what tells jumps, or with a scaler that is not of a window, whose statistics could not follow.
fn columns(run: &Run, path: &Path, data: &Prepared, ranges: &Ranges, expert: Option<&Expert>) -> Result<Vec<Column>, CliError> {
    if !run.data.jumps {
        return Ok(data.columns.clone());
    }
    let scaler = &run.model.scaler;
    let Some((options, expert)) = run.model.linear.as_ref().zip(expert).filter(|_| scaler.kind == ScalerKind::Window) else {
        return Err(CliError::file(path, "data.jumps: expected a linear expert and a scaler of a window, found none or another"));
    };
    let linear = LinearExpert::new(linear(expert), options, run.model.horizon, data.columns.len())?;
    let memory = Blueprint::new(&run.model, &Registry::default()).map_err(|error| in_file(path, error))?.memory();
    let rows: Vec<&[f64]> = data.learned().iter().map(|values| &values[..ranges.validation.end]).collect();
    let with = |(column, jump): (&Column, Option<Jump>)| Column { jump, ..column.clone() };
    Ok(data.columns.iter().zip(jumps::limits(&linear, scaler, memory, &rows)).map(with).collect())
}

fn linear(expert: &Expert) -> LinearWeights {
    let Expert { ridge, correction } = expert;
    let some = |maps: &Maps| SomeMaps { columns: maps.columns.clone(), maps_kih: maps.maps_kih.clone() };
    LinearWeights {
        weights_lh: ridge.weights_lh.clone(),
        bias_h: ridge.bias_h.clone(),
        own_clh: ridge.own.as_ref().map_or(Vec::new(), |own| own.maps_clh.clone()),
        correct_own: correction.as_ref().map_or(SomeMaps::default(), |correction| some(&correction.own)),
        correct_across: correction.as_ref().map_or(SomeMaps::default(), |correction| some(&correction.across)),
        keep_ch: correction.as_ref().map_or(Vec::new(), |correction| correction.keep_ch.clone()),
    }
}

/// Fits what is shipped once more, on training and validation rows, if the run wants it so; none where `asked` says that it is to end.
pub fn again(
    run: &Run,
    trainer: &Trainer<'_>,
    judge: &Judge<'_>,
    expert: Option<&Expert>,
    shipped: Shipped,
    bar: &ProgressBar,
    asked: impl Fn() -> bool,
) -> Result<Option<Shipped>, CliError> {
    if !run.train.refit {
        return Ok(Some(shipped));
    }
    let expert = run.model.linear.as_ref().zip(expert);
    let expert = expert.map(|(options, expert)| judge.expert_again(options, expert)).transpose()?;
    let mut begun = false;
    let report = |step: StepReport| {
        // Of more rows than before: an epoch may have more steps.
        if !std::mem::replace(&mut begun, true) {
            bar.inc_length(trainer.best_epoch() * step.steps);
        }
        show(bar, &step);
        if asked() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    Ok(trainer.refit(shipped, expert.as_ref().map(linear), report)?.filter(|_| !asked()))
}

/// Who looks on while a trainer trains; each call says whether to go on.
pub trait Watch {
    /// After every step.
    fn step(&mut self, trainer: &Trainer<'_>, step: &StepReport) -> Result<ControlFlow<()>, CliError>;
    /// After every epoch.
    fn epoch(&mut self, trainer: &Trainer<'_>, epoch: &EpochReport) -> Result<ControlFlow<()>, CliError>;
}

/// Trains to the end, or until told not to go on.
pub fn train(trainer: &mut Trainer<'_>, watch: &mut dyn Watch) -> Result<(), CliError> {
    while !trainer.finished() {
        let mut problem = None;
        let epoch = trainer.train_until(|trainer, step| {
            watch.step(trainer, step).unwrap_or_else(|error| {
                problem = Some(error);
                ControlFlow::Break(())
            })
        })?;
        if let Some(problem) = problem {
            return Err(problem);
        }
        let Some(epoch) = epoch else { break };
        if watch.epoch(trainer, &epoch)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// Moves a bar on by one step.
pub fn show(bar: &ProgressBar, step: &StepReport) {
    bar.inc(1);
    bar.set_message(format!("loss {:.4}, balance {:.4}", step.loss, step.auxiliary));
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
