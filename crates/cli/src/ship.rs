//! What a run ships, in words and in scores.

use crate::{
    error::CliError,
    score::{Boards, Judge},
};
use foretoken_eval::Origins;
use foretoken_train::{Gain, Shipped};

/// What is in `model.safetensors`, for `metrics.json`.
pub fn name(shipped: &Shipped) -> &'static str {
    if shipped.unshipped.is_some() { "linear" } else { "model" }
}

/// Says what the network adds to the linear expert, how sure that is, and what is shipped.
pub fn tell(shipped: &Shipped) {
    let Some(Gain { linear_mse, blend_mse, gain, standard_error }) = shipped.gain else { return };
    let error = standard_error.map_or("an error unknown".into(), |error| format!("{:.2}%", 100.0 * error));
    let what = match (&shipped.unshipped, shipped.gain.is_some_and(|gain| gain.pays())) {
        (Some(_), _) => "the network does not pay, and the linear expert is shipped alone; --keep-network ships both",
        (None, true) => "both are shipped",
        (None, false) => "the network does not pay, and is kept as told",
    };
    println!(
        "validation MSE: linear expert {linear_mse:.4}, with the network {blend_mse:.4}, a gain of {:.2}% ± {error}: {what}",
        100.0 * gain
    );
}

/// Sums of errors of what is shipped, as `model`; of what was selected, as `selected`, where it was fitted once more; of the trained network alone, as
/// `network`; and of both together where they are not shipped, as `blend`. Usage of the experts of what is shipped is counted or not.
pub fn boards(shipped: &Shipped, judge: &Judge<'_>, origins: &Origins, counted: bool) -> Result<Boards, CliError> {
    let mut boards = judge.model(&shipped.forecaster, origins, counted)?;
    if let Some(selected) = &shipped.selected {
        let of_model = judge.model(selected, origins, false)?.into_iter().filter(|(name, _)| name == "model");
        boards.extend(of_model.map(|(_, board)| ("selected".into(), board)));
    }
    if let Some(unshipped) = &shipped.unshipped {
        let mut trained = judge.model(unshipped, origins, false)?;
        trained.iter_mut().filter(|(name, _)| name == "model").for_each(|(name, _)| *name = "blend".into());
        boards.extend(trained);
    }
    Ok(boards)
}

/// The same on validation rows, which what was fitted once more has seen: of what was selected. No usage is counted.
pub fn validated(shipped: &Shipped, judge: &Judge<'_>, origins: &Origins) -> Result<Boards, CliError> {
    let forecaster = shipped.selected.as_ref().unwrap_or(&shipped.forecaster).clone();
    let selected = Shipped { forecaster, selected: None, unshipped: shipped.unshipped.clone(), gain: shipped.gain };
    boards(&selected, judge, origins, false)
}
