//! A small forecaster that has every part: S4D, a mixed mixture, a linear expert, two columns.
// Each test binary uses a part of it.
#![allow(dead_code)]

use foretoken_model::{
    Blueprint, Bounds, Column, Covariates, Forecaster, ForecasterConfig, Jump, LayerConfig, Registry,
    linear_expert::{CorrectionConfig, LinearConfig, LinearWeights, ProfileConfig, SomeMaps, StructuralConfig},
    preset::{self, Size},
    response::Response,
    scaler::ScalerKind,
};

pub fn config() -> ForecasterConfig {
    let text = r#"
        horizon = 5
        quantiles = [0.1, 0.5, 0.9]
        taps = 6
        width = 12
        scaler = { kind = "window", window = 20, warm_up = 3 }
        linear = { lookback = 16 }

        [[layers]]
        type = "s4d"
        states = 4

        [[layers]]
        type = "mixture"
        num_experts = 3
        experts = [{ type = "swiglu", hidden = 8 }, { type = "s4d", states = 2 }]
    "#;
    toml::from_str(text).unwrap()
}

pub fn value(column: usize, row: usize) -> f64 {
    (row as f64 * 0.31 + column as f64).sin() * 4.0 + (row % 7) as f64 + 20.0
}

/// Two columns of `rows` samples.
pub fn columns(rows: usize) -> Vec<Vec<f64>> {
    (0..2).map(|column| (0..rows).map(|row| value(column, row)).collect()).collect()
}

pub fn forecaster_of(config: &ForecasterConfig, seed: u64) -> Forecaster {
    forecaster_within(config, seed, Bounds::default())
}

/// The same, the first column within `bounds`.
pub fn forecaster_within(config: &ForecasterConfig, seed: u64, bounds: Bounds) -> Forecaster {
    let blueprint = Blueprint::new(config, &Registry::default()).unwrap();
    let mut weights = blueprint.layout.initialise(seed);
    weights.iter_mut().enumerate().for_each(|(place, weight)| *weight += 0.05 * (place as f32).sin());
    let mut columns = ["load", "oil"].map(|name| Column::new(name, 23.0, 3.5)).to_vec();
    columns[0].bounds = bounds;
    // So small that jumps are tried and followed all the time.
    if config.linear.as_ref().is_some_and(|linear| linear.structural.is_some()) {
        columns.iter_mut().for_each(|column| column.jump = Some(Jump { scale: 0.02, limit: 2.0 }));
    }
    let some = |inputs: usize, column: usize, horizon: usize| match inputs {
        0 => SomeMaps::default(),
        _ => SomeMaps { columns: vec![column], maps_kih: (0..inputs * horizon).map(|i| 0.04 * (i as f32 * 0.9).cos()).collect() },
    };
    let linear = config.linear.as_ref().map(|linear| LinearWeights {
        weights_lh: (0..linear.inputs() * config.horizon).map(|i| 0.1 * (i as f32 * 0.7).cos()).collect(),
        bias_h: (0..config.horizon).map(|i| 0.01 * i as f32).collect(),
        own_clh: (0..columns.len() * linear.own_lookback().unwrap_or(0) * config.horizon)
            .map(|i| 0.05 * (i as f32 * 1.3).sin())
            .collect(),
        // Of the first column by its own samples, of the second by those of both.
        correct_own: some(linear.correction.map_or(0, |correction| correction.own), 0, config.horizon),
        correct_across: some(linear.correction.map_or(0, |correction| correction.inputs_across(2)), 1, config.horizon),
        keep_ch: match linear.correction {
            Some(CorrectionConfig { autoregression: true, .. }) => {
                (0..2 * config.horizon).map(|i| 0.9 - 0.05 * i as f32).collect()
            }
            _ => Vec::new(),
        },
    });
    let share = (0..config.horizon).map(|step| step as f32 / config.horizon as f32).collect();
    Forecaster::new(blueprint, columns, covariates(config), weights, linear, share).unwrap()
}

/// Covariates as many as `config` has.
pub fn covariates(config: &ForecasterConfig) -> Covariates {
    let own = config.covariates;
    let columns = |kind: &str, count: usize| {
        let column = |index: usize| Column::new(format!("{kind}{index}"), index as f64, 1.5);
        (0..count).map(column).collect::<Vec<_>>()
    };
    Covariates {
        past: columns("past", own.past),
        known: columns("known", own.known),
        statics: columns("static", own.statics),
        values_cs: (0..2 * own.statics).map(|index| (index as f64).sin()).collect(),
        response: own.response.map(|samples| Response {
            samples,
            weights_crk: (0..2 * samples * own.known).map(|at| (at as f32 * 0.7).sin() * 0.3).collect(),
        }),
    }
}

pub fn forecaster() -> Forecaster {
    forecaster_of(&config(), 1)
}

/// The small forecaster's variants: each scaler, linear experts with everything and with corrections, no linear expert, no mixture, a mixture of every family, one with a shared expert.
pub fn variants() -> Vec<ForecasterConfig> {
    let base = config();
    let scaled = |kind| {
        let mut config = base.clone();
        config.scaler.kind = kind;
        config
    };
    let mut seasonal = base.clone();
    seasonal.linear = Some(LinearConfig {
        lookback: 6,
        profile: Some(ProfileConfig { season: 4, cycles: 3 }),
        reversion: Some(9.0),
        own: Some(5),
        ..LinearConfig::default()
    });
    let mut structural = base.clone();
    let maps = StructuralConfig { lookbacks: vec![3, 5], seasons: vec![2, 6] };
    structural.linear = Some(LinearConfig { lookback: 6, own: Some(4), structural: Some(maps), ..LinearConfig::default() });
    let mut corrected = base.clone();
    corrected.linear.as_mut().unwrap().correction = Some(CorrectionConfig { own: 0, across: 7, autoregression: false });
    let mut twice = structural.clone();
    twice.linear.as_mut().unwrap().correction = Some(CorrectionConfig { own: 6, across: 3, autoregression: true });
    let mut plain = base.clone();
    plain.layers = vec![LayerConfig::new("swiglu")];
    let alone = ForecasterConfig { linear: None, ..base.clone() };
    let mut families = alone.clone();
    families.layers = preset::layers(preset::ENSEMBLE, Size::Tiny).unwrap();
    let mut shared = base.clone();
    shared.layers[1] = shared.layers[1].clone().with("shared", toml::toml! { all = [{ type = "swiglu" }] }["all"].clone());
    vec![
        families,
        base.clone(),
        scaled(ScalerKind::Prefix),
        scaled(ScalerKind::Exponential),
        seasonal,
        structural,
        corrected,
        twice,
        plain,
        alone,
        shared,
    ]
}
