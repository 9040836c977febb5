//! What a run ends with: linear expert and network, or the linear expert alone where the network adds nothing to it.

use crate::{
    calibrate::calibrate,
    trainer::Trainer,
    validate::{Gain, validate},
};
use foretoken_model::{Forecaster, ModelError};
use std::sync::Arc;

/// What a run ships.
#[derive(Debug)]
pub struct Shipped {
    /// To be saved and used; its quantiles are calibrated on the validation rows.
    pub forecaster: Arc<Forecaster>,
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
        let alone = Arc::new(alone);
        let calibration = calibrate(&alone, &task.values, &task.beside, task.validation.clone())?;
        Ok(Some(Arc::new(Arc::into_inner(alone).expect("no predictor is left").calibrated(calibration))))
    }

    /// The best forecaster so far, or its linear expert alone where the network does not pay, see [`Gain::pays`], and is not to be kept.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn ship(&self) -> Result<Shipped, ModelError> {
        let trained = Arc::new(self.best()?);
        let task = self.task();
        let gain = validate(&trained, &task.values, &task.beside, task.validation.clone(), self.horizons())?.gain;
        let pays = self.config().keep_network || gain.is_none_or(|gain| gain.pays());
        Ok(match if pays { None } else { self.linear_alone()? } {
            Some(alone) => Shipped { forecaster: alone, unshipped: Some(trained), gain },
            None => Shipped { forecaster: trained, unshipped: None, gain },
        })
    }
}
