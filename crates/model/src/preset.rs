//! Families of models by one word, in three sizes.
//!
//! | family | a block | after |
//! |---|---|---|
//! | `s4d`, `s5`, `attention` | the layer, then SwiGLU | arXiv:2206.11893, 2208.04933, 2004.05150 |
//! | `mamba`, `mamba2` | the layer twice, as in the papers | arXiv:2312.00752, 2405.21060 |
//! | `rwkv7` | its own time mix and channel mix | arXiv:2503.14456 |
//! | `gru`, `lstm` | the layer | |
//! | `ensemble` | a mixture with one expert of each family, top-2, then SwiGLU | |
//!
//! `tiny` is one block 32 wide, `small` two blocks 64 wide, `base` four blocks 128 wide; an `ensemble` has half as many blocks, at least one.

use crate::{ModelError, layer::LayerConfig};
use serde::{Deserialize, Serialize};

/// How large a preset is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Size {
    /// One block, 32 wide.
    Tiny,
    /// Two blocks, 64 wide.
    #[default]
    Small,
    /// Four blocks, 128 wide.
    Base,
}

impl Size {
    fn blocks(self) -> usize {
        match self {
            Self::Tiny => 1,
            Self::Small => 2,
            Self::Base => 4,
        }
    }

    /// Width of the trunk.
    pub fn width(self) -> usize {
        match self {
            Self::Tiny => 32,
            Self::Small => 64,
            Self::Base => 128,
        }
    }
}

/// Sequence layers that are a family each.
pub const SEQUENCES: [&str; 8] = ["s4d", "s5", "mamba", "mamba2", "rwkv7", "attention", "gru", "lstm"];

/// The word for one expert of each.
pub const ENSEMBLE: &str = "ensemble";

/// The layers of a family.
///
/// # Errors
/// A word that is no family.
pub fn layers(family: &str, size: Size) -> Result<Vec<LayerConfig>, ModelError> {
    let (blocks, layer) = (size.blocks(), LayerConfig::new(family));
    let repeat = |block: &[LayerConfig], times: usize| Ok(vec![block; times].concat());
    match family {
        "s4d" | "s5" | "attention" => repeat(&[layer, LayerConfig::new("swiglu")], blocks),
        "mamba" | "mamba2" => repeat(&[layer], 2 * blocks),
        "rwkv7" => repeat(&[layer.with("depth", blocks as i64)], 1),
        "gru" | "lstm" => repeat(&[layer], blocks),
        ENSEMBLE => repeat(&[ensemble(), LayerConfig::new("swiglu")], blocks.div_ceil(2)),
        _ => {
            let expected = format!("one of {}, {ENSEMBLE}", SEQUENCES.join(", "));
            Err(ModelError::config("family", expected, format!("`{family}`")))
        }
    }
}

/// A mixture with one expert of each family.
fn ensemble() -> LayerConfig {
    let expert = |name: &&str| toml::Value::Table(toml::Table::from_iter([("type".to_string(), toml::Value::from(*name))]));
    let experts: Vec<toml::Value> = SEQUENCES.iter().map(expert).collect();
    LayerConfig::new("mixture").with("num_experts", experts.len() as i64).with("top_k", 2).with("experts", experts)
}
