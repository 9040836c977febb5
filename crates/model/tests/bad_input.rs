//! Configurations and files that cannot be: each a typed error of one line that says where, expected and found.

mod common;

use common::{config, forecaster};
use foretoken_model::{
    Blueprint, Forecaster, ForecasterConfig, MixtureOfExperts, ModelError, MoeConfig, Registry,
    linear_expert::{CorrectionConfig, LinearConfig, StructuralConfig},
};
use std::path::Path;

#[track_caller]
fn refused(error: &ModelError, words: &[&str]) {
    let text = error.to_string();
    assert!(words.iter().all(|word| text.contains(word)), "{text:?} lacks one of {words:?}");
    assert_eq!(text.lines().count(), 1, "{text:?} is one line");
}

#[track_caller]
fn bad_mixture(options: &str, words: &[&str]) {
    let text = format!("input_dim = 4\noutput_dim = 4\n[mixture]\n{options}");
    let error = match MoeConfig::from_toml(&text) {
        Ok(config) => MixtureOfExperts::new(&config, 1).err().unwrap_or_else(|| panic!("{options} was accepted")),
        Err(error) => error,
    };
    refused(&error, words);
}

#[test]
fn mixtures() {
    bad_mixture("top_k = 0", &["top_k", "1 to num_experts (8)", "found 0"]);
    bad_mixture("num_experts = 4\ntop_k = 5", &["top_k", "1 to num_experts (4)", "found 5"]);
    bad_mixture("num_experts = 0", &["num_experts", "at least 1", "found 0"]);
    bad_mixture("num_expert = 4", &["unknown field", "num_expert"]);
    bad_mixture("routing_strategy = 'best'", &["best", "top-k"]);
    bad_mixture("routing_strategy = 'softmax'\ntop_k = 2", &["top_k", "softmax uses every expert"]);
    bad_mixture("routing_strategy = 'softmax'\nload_balance_coeff = 0.1", &["load_balance_coeff", "no gradient", "0.1"]);
    bad_mixture("num_experts = 2\ntop_k = 2\nload_balance_coeff = 0.1", &["load_balance_coeff", "no gradient"]);
    bad_mixture("load_balance_coeff = -1.0", &["load_balance_coeff", ">= 0", "-1"]);
    bad_mixture("load_balance_coeff = nan", &["load_balance_coeff", "finite"]);
    bad_mixture("expert_dropout = 1.0", &["expert_dropout", "p < 1"]);
    bad_mixture("noise_std = 1.0", &["noise_std", "noisy-top-k"]);
    bad_mixture("routing_strategy = 'noisy-top-k'\nnoise_std = -1.0", &["noise_std", ">= 0"]);
    bad_mixture("experts = []", &["experts", "1 to num_experts (8)"]);
    bad_mixture("num_experts = 1\ntop_k = 1\nexperts = [{type='s4d'}, {type='swiglu'}]", &["experts", "found 2"]);
    bad_mixture(
        "experts = [{ type = 'mamba9' }]",
        &[
            "experts.0",
            "one of s4d, swiglu, linear, gru, lstm, mamba, mamba2, s5, attention, rwkv7, mixture, stack, projected",
            "`mamba9`",
        ],
    );
    bad_mixture("experts = [{ type = 's4d', states = 0 }]", &["experts.0", "states", "at least 1"]);
    bad_mixture("experts = [{ type = 's4d', step_min = 2.0 }]", &["experts.0", "step_min"]);
    for family in ["s5", "mamba", "mamba2"] {
        bad_mixture(&format!("experts = [{{ type = '{family}', step_min = 0.0 }}]"), &["experts.0", "step_min", "found 0"]);
        bad_mixture(&format!("experts = [{{ type = '{family}', states = 0 }}]"), &["experts.0", "states", "at least 1"]);
    }
    for (family, option) in [
        ("mamba", "conv"),
        ("mamba", "rank"),
        ("mamba", "expand"),
        ("mamba2", "heads"),
        ("mamba2", "head_size"),
        ("gru", "hidden"),
    ]
    .into_iter()
    .chain([("lstm", "hidden"), ("rwkv7", "depth"), ("rwkv7", "heads"), ("rwkv7", "gate_rank"), ("attention", "window")])
    {
        bad_mixture(&format!("experts = [{{ type = '{family}', {option} = 0 }}]"), &["experts.0", option, "at least 1"]);
        bad_mixture(
            &format!("experts = [{{ type = '{family}', {option}s = 1 }}]"),
            &["experts.0", family, &format!("{option}s")],
        );
    }
    let wide = "at most 1048576";
    bad_mixture(
        "experts = [{ type = 'mamba', expand = 288230376151711744 }]",
        &["experts.0", "expand", wide, "288230376151711744"],
    );
    bad_mixture("experts = [{ type = 'swiglu', hidden = 1048577 }]", &["experts.0", "hidden", wide, "1048577"]);
    bad_mixture("experts = [{ type = 'mamba2', expand = 2, heads = 3 }]", &["experts.0", "expand", "`heads`", "found 2"]);
    bad_mixture("experts = [{ type = 'rwkv7', value_rank = 2 }]", &["experts.0", "value_rank", "second block", "found 2"]);
    bad_mixture(
        "experts = [{ type = 'attention', heads = 4, kv_heads = 3 }]",
        &["experts.0", "kv_heads", "divisor of heads (4)", "3"],
    );
    bad_mixture("experts = [{ type = 'attention', head_size = 3 }]", &["experts.0", "head_size", "even", "3"]);
    bad_mixture("experts = [{ type = 'attention', rope_base = 0.5 }]", &["experts.0", "rope_base", ">= 1", "0.5"]);
    bad_mixture("experts = [{ type = 'swiglu', hiden = 3 }]", &["experts.0", "swiglu", "hiden"]);
    bad_mixture("experts = [{ type = 'stack', layers = [] }]", &["experts.0", "layers", "at least one layer"]);
    bad_mixture("renormalise = false\nrouting_strategy = 'softmax'", &["renormalise", "top-k, sigmoid or evidence", "false"]);
    bad_mixture("gate_scale = 0.0", &["gate_scale", "> 0"]);
    bad_mixture("bias_rate = 0.1\nrouting_strategy = 'noisy-top-k'", &["bias_rate", "sigmoid", "0.1"]);
    bad_mixture("load_coeff = 0.1", &["load_coeff", "noisy-top-k", "0.1"]);
    bad_mixture(
        "num_experts = 2\nload_coeff = 0.1\nrouting_strategy = 'noisy-top-k'\nload_balance_coeff = 0.0",
        &["load_coeff", "fewer"],
    );
    bad_mixture("importance_coeff = -1.0", &["importance_coeff", ">= 0"]);
    bad_mixture("num_experts = 2\nbias_rate = 0.1", &["bias_rate", "every expert", "0.1"]);
    bad_mixture("top_k = 1\nimportance_coeff = 0.1", &["importance_coeff", "renormalise", "0.1"]);
    bad_mixture("z_loss_coeff = inf", &["z_loss_coeff", "finite"]);
    bad_mixture("switch_cost = -0.5", &["switch_cost", ">= 0"]);
    bad_mixture("num_experts = 2\nswitch_cost = 0.5", &["switch_cost", "nothing switches"]);
    bad_mixture("switch_cost = 0.5\nload_coeff = 0.1\nrouting_strategy = 'noisy-top-k'", &["switch_cost", "load_coeff"]);
    bad_mixture("evidence = { lags = 3 }", &["evidence", "routing_strategy"]);
    bad_mixture("routing_strategy = 'evidence'", &["routing_strategy", "trunk", "0 taps"]);
    bad_mixture("routing_strategy = 'evidence'\nevidence = { lags = 0 }", &["evidence.lags", "at least 1"]);
    bad_mixture("routing_strategy = 'evidence'\nevidence = { switching = 1.0 }", &["evidence.switching", "0 < p < 1"]);
    bad_mixture("shared_gate = true", &["shared_gate", "shared experts"]);
    bad_mixture("shared = [{ type = 'swiglu', hidden = 0 }]", &["shared.0", "hidden", "at least 1"]);
    bad_mixture("clock = 'often'", &["often", "routed"]);
    bad_mixture("experts = [{ type = 'projected', width = 0, layer = { type = 's4d' } }]", &["experts.0", "width", "at least 1"]);
    bad_mixture(
        "experts = [{ type = 'projected', width = 3, layer = { type = 's4d', states = 0 } }]",
        &["experts.0.layer", "states"],
    );
    for width in ["input_dim = 0\noutput_dim = 4", "input_dim = 4\noutput_dim = 0"] {
        let config = MoeConfig::from_toml(&format!("{width}\n[mixture]")).unwrap();
        refused(&MixtureOfExperts::new(&config, 1).err().unwrap(), &["width", "at least 1", "found 0"]);
    }
}

#[track_caller]
fn bad_forecaster(change: impl Fn(&mut ForecasterConfig), words: &[&str]) {
    let mut config = config();
    change(&mut config);
    refused(&Blueprint::new(&config, &Registry::default()).unwrap_err(), words);
}

#[test]
fn forecasters() {
    bad_forecaster(|config| config.width = 0, &["width", "at least 1"]);
    bad_forecaster(|config| config.horizon = 0, &["horizon", "at least 1"]);
    bad_forecaster(|config| config.taps = 0, &["taps", "at least 1"]);
    bad_forecaster(|config| config.quantiles = vec![0.1, 0.9], &["quantiles", "0.5"]);
    bad_forecaster(|config| config.scaler.window = 0, &["scaler.window", "at least 1"]);
    bad_forecaster(|config| config.scaler.floor = 0.0, &["scaler.floor", "at least 0.000001"]);
    bad_forecaster(|config| config.linear = Some(LinearConfig { lookback: 0, ..Default::default() }), &["linear.lookback"]);
    for cuts in [&[0][..], &[3, 3], &[3, 2], &[100_000]] {
        bad_forecaster(
            |config| config.linear = Some(LinearConfig { cuts: cuts.to_vec(), ..Default::default() }),
            &["linear.cuts", "steps that rise from 1 to", &format!("{cuts:?}")],
        );
    }
    let structural = |lookbacks: &[usize], seasons: &[usize]| {
        let structural = StructuralConfig { lookbacks: lookbacks.to_vec(), seasons: seasons.to_vec() };
        Some(LinearConfig { lookback: 48, structural: Some(structural), ..Default::default() })
    };
    for lookbacks in [&[][..], &[24, 49], &[0], &[24, 24], &[36, 24]] {
        bad_forecaster(
            |config| config.linear = structural(lookbacks, &[24]),
            &["linear.structural.lookbacks", "1 to 48", &format!("{lookbacks:?}")],
        );
    }
    for seasons in [&[1][..], &[24, 24], &[24, 12], &[2, 3, 4], &[24, usize::MAX]] {
        bad_forecaster(
            |config| config.linear = structural(&[48], seasons),
            &["linear.structural.seasons", "at most two seasons", &format!("{seasons:?}")],
        );
    }
    for (own, across, words) in [(0, 0, "correction.own"), (49, 0, "correction.own"), (4, 49, "correction.across")] {
        let correction = Some(CorrectionConfig { own, across, autoregression: false });
        bad_forecaster(
            |config| config.linear = Some(LinearConfig { lookback: 48, correction, ..Default::default() }),
            &["linear", words, "expected", "found"],
        );
    }
    bad_forecaster(|config| config.layers.clear(), &["layers", "at least one"]);
    bad_forecaster(|config| config.layers[1].kind = "mix".into(), &["layers.1", "mixture", "`mix`"]);
}

fn load(path: &Path) -> ModelError {
    Forecaster::load(path, &Registry::default()).expect_err("a bad file")
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    let name = "model.safetensors";
    refused(&load(&path), &[name, "No such file"]);
    forecaster().save(&path).unwrap();
    let good = std::fs::read(&path).unwrap();
    let check = |bytes: &[u8], words: &[&str]| {
        std::fs::write(&path, bytes).unwrap();
        refused(&load(&path), &[&[name], words].concat());
    };
    check(b"", &["expected a safetensors file", "0 bytes"]);
    check(b"hello, this is no model", &["expected", "found"]);
    for len in [7, 40, good.len() / 2, good.len() - 1] {
        check(&good[..len], &["expected"]);
    }
    let text = |from: &str, to: &str| {
        assert_eq!(from.len(), to.len(), "the header keeps its length");
        let at = good.windows(from.len()).position(|part| part == from.as_bytes()).expect("in the header");
        [&good[..at], to.as_bytes(), &good[at + from.len()..]].concat()
    };
    check(&text(r#"\"format_version\":7"#, r#"\"format_version\":0"#), &["format_version", "expected 12", "found 0"]);
    check(&text(r#""foretoken""#, r#""foretokeN""#), &["expected a foretoken model", "another safetensors file"]);
    check(&text(r#""network.head""#, r#""network.hexd""#), &["tensor `head`", "found none"]);
    check(&text("checksum", "checksun"), &["tensor `checksum`", "expected one, found none"]);
    check(&text(r#"\"taps\":6"#, r#"\"taps\":7"#), &["tensor `embed`", "[7, 12]", "[6, 12]"]);
    check(&text(r#"\"width\":12"#, r#"\"width\":00"#), &["header"]);
    check(&text(r#"\"horizon\":5"#, r#"\"horizoX\":5"#), &["header", "horizoX"]);
    let mut poisoned = good.clone();
    // Behind the last value the checksum's eight bytes.
    let last = poisoned.len() - 12;
    poisoned[last..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
    check(&poisoned, &["tensor", "finite", "NaN"]);
    let mut flipped = good.clone();
    flipped[last] ^= 1;
    check(&flipped, &["expected a whole file", "checksum"]);
    let foreign = safetensors::serialize(
        [("x", safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![1], &[0; 4]).unwrap())],
        None,
    );
    check(&foreign.unwrap(), &["expected a foretoken model"]);
}

#[test]
fn a_failed_write_leaves_the_old_file_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    forecaster().save(&path).unwrap();
    let before = std::fs::read(&path).unwrap();
    // The target cannot be replaced: it is a folder that is not empty.
    let taken = folder.path().join("taken");
    std::fs::create_dir_all(taken.join("inside")).unwrap();
    refused(&forecaster().save(&taken).unwrap_err(), &["taken"]);
    assert!(taken.join("inside").is_dir());
    refused(&forecaster().save(&folder.path().join("absent/model.safetensors")).unwrap_err(), &["absent"]);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 2, "no temporary file is left: {left:?}");
}
