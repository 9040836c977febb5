//! Kernels of foretoken on plain slices: forward and backward, no framework.
//!
//! ```text
//! simd        16 virtual lanes over AVX-512, AVX2+FMA, NEON and plain Rust, chosen at run time
//! math        exp, sigmoid, silu, softplus, tanh of 16 lanes, with their errors in ULP
//! linear      packed panels: one row or many, the same bits
//! activation  silu, SwiGLU, GLU, softplus, …       norm     RMSNorm, LayerNorm, GroupNorm
//! s4d         diagonal complex scan, by channel    s5       the same of many inputs
//! selective   the scan of Mamba and Mamba-2        rwkv7    a delta rule on matrices
//! attention   a window over a ring of keys         recurrent  cells of GRU and LSTM
//! conv        depthwise causal convolution         streams  work by stream, over threads
//! hold        zero-order hold of S4D and S5
//! router      scores → choice → weights            experts  grouping rows by expert
//! numbers     f64 in memory, or in a mapped file that nobody else has
//! balance     losses that keep experts in use      evidence a filter over models of the signal
//! adamw       an optimiser's step, in one pass
//! thinned     which of many places are taken, in step with no season
//! buffers     what training passes take and give back
//! plain       definitions, generic over f32 and f64: the oracle
//! ```
//! Every sum runs in one order, whatever the instruction set, the number of rows in a call or the number of threads; so a
//! sample gets the same bits alone and among thousands. Shapes are asserted: a wrong one is a bug of the caller.

#![allow(unsafe_code)]

pub mod activation;
pub mod adamw;
pub mod attention;
pub mod balance;
pub mod buffers;
pub mod conv;
pub mod evidence;
pub mod experts;
mod hold;
pub mod linear;
pub mod math;
pub mod missing;
pub mod norm;
pub mod numbers;
pub mod plain;
pub mod recurrent;
pub mod router;
pub mod rwkv7;
pub mod s4d;
pub mod s5;
pub mod selective;
pub mod simd;
pub mod streams;
pub mod thinned;
