//! Training rates of `crates/model/benches/train.rs`: four layers 128 wide, windows of 512, one thread. PyTorch beside them:
//! `reference/peers/bench_train.py`.

use super::{
    Bound::{AtLeast, AtMost},
    Group, Measured, Options, figure, figures_of,
};
use crate::Failure;
use std::process::Command;

/// Samples a second a core, and what checkpointing saves.
pub const GROUP: Group = Group {
    figures: &[
        figure("train.s4d", "samples/s", AtLeast(40_000.0)),
        figure("train.mamba", "samples/s", AtLeast(25_000.0)),
        figure("train.mamba2", "samples/s", AtLeast(25_000.0)),
        figure("train.rwkv7", "samples/s", AtLeast(12_000.0)),
        figure("train.attention", "samples/s", AtLeast(16_000.0)),
        figure("train.mixture_over_dense", "share", AtLeast(0.85)),
        figure("train.mamba_checkpointing_memory", "share", AtMost(0.6)),
    ],
    measure: train,
};

/// What the figures are made of.
const FAMILIES: [&str; 7] = ["s4d", "mamba", "mamba2", "rwkv7", "attention", "dense", "mixture"];

fn train(_: &Options) -> Result<Measured, Failure> {
    let mut command = Command::new("cargo");
    command.args(["bench", "--quiet", "-p", "foretoken-model", "--bench", "train", "--"]).args(FAMILIES);
    let mut measured = figures_of(&mut command)?;
    for (name, value) in &measured {
        println!("# {name} {value}");
    }
    let of = |name: &str| measured.get(name).copied().ok_or_else(|| format!("{name} was not measured"));
    let ratios = [
        ("train.mixture_over_dense", of("train.mixture")? / of("train.dense")?),
        ("train.mamba_checkpointing_memory", of("train.mamba_checkpointing_peak")? / of("train.mamba_peak")?),
    ];
    measured.extend(ratios.map(|(name, value)| (name.to_string(), value)));
    Ok(measured)
}
