//! What a forecaster says of some steps of its horizon, from one column's history, hidden row and the covariates known of those steps.

use crate::{
    conformal::stretch,
    covariates::Along,
    forecaster::Forecaster,
    layer::Workspace,
    linear_expert::{LinearConfig, LinearExpert},
    network::Heads,
    predictor::Parts,
    scaler::ColumnHistory,
};

/// The heads and the linear expert for some steps.
#[derive(Clone, Copy)]
pub(crate) struct Voice<'a> {
    pub(crate) heads: &'a Heads,
    pub(crate) linear: Option<&'a LinearExpert>,
    /// The steps, from 0; all of the horizon if absent.
    pub(crate) steps: Option<&'a [usize]>,
}

impl Forecaster {
    /// The voice for the whole horizon.
    pub(crate) fn voice(&self) -> Voice<'_> {
        Voice { heads: self.network().heads(), linear: self.linear(), steps: None }
    }
}

/// Room for what is computed on the way.
pub(crate) struct Room {
    quantiles: Vec<f32>,
    known: Vec<f32>,
    linear: Vec<f32>,
}

impl Room {
    pub(crate) fn new(forecaster: &Forecaster) -> Self {
        let config = forecaster.config();
        let inputs = config.linear.as_ref().map_or(0, LinearConfig::inputs);
        Self {
            quantiles: vec![0.0; config.horizon * config.quantiles.len()],
            known: vec![0.0; config.horizon * config.covariates.known],
            linear: vec![0.0; inputs + config.horizon],
        }
    }
}

impl Parts {
    pub(crate) fn new(steps: usize, levels: usize) -> Self {
        let outputs = vec![0.0; steps * levels];
        Self {
            combined: outputs.clone(),
            network: outputs,
            linear: vec![0.0; steps],
            between: vec![0.0; steps],
            linear_spoke: false,
        }
    }
}

impl Voice<'_> {
    fn step(self, place: usize) -> usize {
        self.steps.map_or(place, |steps| steps[place])
    }

    /// One column's forecast, standardised, into `parts`.
    pub(crate) fn speak(
        self,
        forecaster: &Forecaster,
        history: &ColumnHistory,
        hidden_d: &[f32],
        (along, column): (&Along, usize),
        room: &mut Room,
        workspace: &mut Workspace,
        parts: &mut Parts,
    ) {
        let (count, middle) = forecaster.blueprint().levels.shape();
        let quantiles = &mut room.quantiles[..self.heads.outputs()];
        let places = quantiles.len() / count;
        let known = forecaster.config().covariates.known;
        let known_sk = &mut room.known[..places * known];
        along.steps(column, (0..places).map(|place| self.step(place)), known, known_sk);
        // The heads speak of the steps after the newest sample that was there.
        let missed = usize::try_from(history.missed()).unwrap_or(usize::MAX);
        self.heads.forecast(hidden_d, missed, known_sk, quantiles, &mut workspace.scratch());
        let (mean, deviation) = history.scale(&forecaster.config().scaler);
        parts.network.iter_mut().zip(quantiles.iter()).for_each(|(part, q)| *part = f64::from(*q) * deviation + mean);
        parts.linear_spoke =
            self.linear.is_some_and(|linear| linear.forecast(column, history, &mut room.linear, &mut parts.linear));
        let steps = parts.combined.chunks_exact_mut(count).zip(parts.network.chunks_exact(count)).enumerate();
        for (place, (combined, network)) in steps {
            let step = self.step(place);
            let median = network[middle];
            let (mut shift, mut between) = (0.0, 0.0);
            if parts.linear_spoke {
                let (share, distance) = (f64::from(forecaster.network_share()[step]), parts.linear[place] - median);
                (shift, between) = (distance * (1.0 - share), distance.abs() * (share * (1.0 - share)).sqrt());
            }
            parts.between[place] = between;
            combined.iter_mut().zip(network).for_each(|(combined, network)| *combined = network + shift);
            if let Some(calibration) = forecaster.calibration() {
                let (factors, own) = calibration.at(step, count, column);
                stretch(combined, middle, |level| f64::from(factors[level]) * f64::from(own));
            }
        }
    }
}
