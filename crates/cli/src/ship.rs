//! What a run ships, in words and in scores.

use crate::{
    error::CliError,
    say::say,
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
    _ = say!(
        "validation MSE: linear expert {linear_mse:.4}, with the network {blend_mse:.4}, a gain of {:.2}% ± {error}: {what}",
        100.0 * gain
    );
}

/// Sums of errors on validation and test rows: of what is shipped, as `model`; of what was selected, as `selected`, where it was fitted once more; of the trained
/// network alone, as `network`; and of both together where they are not shipped, as `blend`. What was fitted once more has seen the validation rows: there, `model` is
/// what was selected. Usage of the experts of what is shipped is counted.
pub fn boards(shipped: &Shipped, judge: &Judge<'_>, validation: &Origins, test: &Origins) -> Result<[Boards; 2], CliError> {
    let [mut validated, mut tested] = match &shipped.selected {
        None => judge.model(&shipped.forecaster, [validation, test], true)?,
        Some(selected) => {
            let [mut tested] = judge.model(&shipped.forecaster, [test], true)?;
            let [validated, of_selected] = judge.model(selected, [validation, test], false)?;
            let of_model = of_selected.into_iter().filter(|(name, _)| name == "model");
            tested.extend(of_model.map(|(_, board)| ("selected".into(), board)));
            [validated, tested]
        }
    };
    if let Some(unshipped) = &shipped.unshipped {
        for (boards, trained) in
            [&mut validated, &mut tested].into_iter().zip(judge.model(unshipped, [validation, test], false)?)
        {
            let renamed = trained.into_iter().map(|(name, board)| (if name == "model" { "blend".into() } else { name }, board));
            boards.extend(renamed);
        }
    }
    Ok([validated, tested])
}
