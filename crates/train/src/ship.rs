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
    /// The best forecaster so far, or its linear expert alone where the network does not pay, see [`Gain::pays`], and is not to be kept.
    ///
    /// # Errors
    /// What the model refuses.
    pub fn ship(&self) -> Result<Shipped, ModelError> {
        let trained = Arc::new(self.best()?);
        let task = self.task();
        let gain = validate(&trained, &task.values, task.validation.clone(), self.horizons())?.gain;
        let linear = task.linear.as_ref().filter(|_| !self.config().keep_network && gain.is_some_and(|gain| !gain.pays()));
        let Some(linear) = linear else { return Ok(Shipped { forecaster: trained, unshipped: None, gain }) };
        let alone = Arc::new(Forecaster::linear_alone(trained.config(), task.columns.clone(), linear.clone())?);
        let calibration = calibrate(&alone, &task.values, task.validation.clone())?;
        let alone = Arc::into_inner(alone).expect("no predictor is left").calibrated(calibration);
        Ok(Shipped { forecaster: Arc::new(alone), unshipped: Some(trained), gain })
    }
}
