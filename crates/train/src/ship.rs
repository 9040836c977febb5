//! What a run ends with: linear expert and network, or the linear expert alone where the network adds nothing to it.

use crate::{
    trainer::{StepReport, Task, Trainer},
    validate::Gain,
};
use foretoken_model::{Forecaster, ModelError, linear_expert::LinearWeights};
use std::{ops::ControlFlow, sync::Arc};

/// What a run ships.
#[derive(Debug)]
pub struct Shipped {
    /// To be saved and used; its quantiles are calibrated on the validation rows.
    pub forecaster: Arc<Forecaster>,
    /// What was selected on the validation rows, where it was fitted once more since.
    pub selected: Option<Arc<Forecaster>>,
    /// What was trained, where that is another.
    pub unshipped: Option<Arc<Forecaster>>,
    /// What the network adds on the validation rows; none without a linear expert that could stand alone.
    pub gain: Option<Gain>,
}

impl Trainer<'_> {
    /// The linear expert alone, calibrated on the validation rows; none without one.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn linear_alone(&self) -> Result<Option<Arc<Forecaster>>, ModelError> {
        let task = self.task();
        let Some(linear) = task.linear.clone() else { return Ok(None) };
        let alone = Forecaster::linear_alone(self.model(), task.columns.clone(), task.covariates.clone(), linear)?;
        Ok(Some(Arc::new(self.calibrated(alone)?)))
    }

    /// The best forecaster so far, or its linear expert alone where the network does not pay, see [`Gain::pays`], and is not to be kept.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn ship(&self) -> Result<Shipped, ModelError> {
        let (trained, gain) = (Arc::new(self.best()?), self.gain()?);
        let pays = self.config().keep_network || gain.is_none_or(|gain| gain.pays());
        Ok(match if pays { None } else { self.linear_alone()? } {
            Some(alone) => Shipped { forecaster: alone, selected: None, unshipped: Some(trained), gain },
            None => Shipped { forecaster: trained, selected: None, unshipped: None, gain },
        })
    }

    /// Fits what is shipped once more, on training and validation rows: `linear` is the expert for them, the network learns from the beginning for as many
    /// epochs as its best had. Shares and calibration stay those of rows that what was selected did not see. None if `report` broke it off.
    ///
    /// # Errors
    /// As [`Trainer::train_epoch`].
    pub fn refit(
        &self,
        shipped: Shipped,
        linear: Option<LinearWeights>,
        report: impl FnMut(StepReport) -> ControlFlow<()>,
    ) -> Result<Option<Shipped>, ModelError> {
        let (task, selected) = (self.task(), shipped.forecaster);
        let again = match linear {
            Some(linear) if selected.is_linear_alone() => {
                Forecaster::linear_alone(self.model(), task.columns.clone(), task.covariates.clone(), linear)?
            }
            linear => {
                let train = task.train.start..task.validation.end;
                let mut trainer = Trainer::new(self.model(), self.config(), Task { train, linear, ..task.clone() })?;
                if trainer.train_blindly(self.best_epoch(), report)?.is_break() {
                    return Ok(None);
                }
                trainer.of_mean(selected.network_share().to_vec())?
            }
        };
        let again = again.calibrated(selected.calibration().cloned());
        Ok(Some(Shipped { forecaster: Arc::new(again), selected: Some(selected), ..shipped }))
    }
}
