//! Runs the model that `rwkv7.py PATH` wrote through candle-transformers' RWKV-7 and compares the logits: `rwkv7_candle PATH`.

use candle_core::{DType, Device, Result, Tensor, safetensors};
use candle_nn::VarBuilder;
use candle_transformers::models::rwkv_v7::{Config, Model, ModelVersion, State};

fn main() -> Result<()> {
    let path = std::env::args().nth(1).expect("the path of a model that rwkv7.py wrote");
    let device = Device::Cpu;
    let tensors = safetensors::load(path, &device)?;
    let tokens: Vec<u32> = tensors["tokens"].to_dtype(DType::U32)?.to_vec1()?;
    let expected = tensors["logits"].clone();
    let (vocab_size, hidden_size) = tensors["emb.weight"].dims2()?;
    let config = Config {
        version: ModelVersion::V7,
        vocab_size,
        hidden_size,
        num_hidden_layers: 2,
        head_size: tensors["blocks.0.att.r_k"].dim(1)?,
        intermediate_size: None,
        rescale_every: 0,
    };
    let model = Model::new(&config, VarBuilder::from_tensors(tensors, DType::F32, &device))?;

    let mut state = State::new(&config, &device)?;
    let mut rows = Vec::new();
    for &token in &tokens {
        rows.push(model.forward(&Tensor::new(&[[token]], &device)?, &mut state, &[token])?);
    }
    let error: f32 = (Tensor::stack(&rows, 0)? - &expected)?.abs()?.max_all()?.to_scalar()?;
    let largest: f32 = expected.abs()?.max_all()?.to_scalar()?;
    println!("{} tokens, logits up to {largest}, largest difference {error:e}", tokens.len());
    assert!(error <= 1e-5, "candle and the golden disagree");
    Ok(())
}
