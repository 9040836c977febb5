//! Kernels of foretoken on plain slices: forward and backward, no framework.
//!
//! ```text
//! simd        16 virtual lanes over AVX-512, AVX2+FMA, NEON and plain Rust, chosen at run time
//! math        exp, sigmoid, silu, softplus, tanh of 16 lanes, with their errors in ULP
//! linear      packed panels: one row or many, the same bits
//! activation  silu, SwiGLU, GLU, softplus          norm     RMSNorm
//! s4d         diagonal complex scan                router   scores → choice → weights
//! experts     grouping rows by expert              balance  losses that keep experts in use
//! evidence    a filter over models of the signal   plain    every definition, generic over f32 and f64: the oracle
//! ```
//! Every sum runs in one order, whatever the instruction set, the number of rows in a call or the number of threads; so a
//! sample gets the same bits alone and among thousands. Shapes are asserted: a wrong one is a bug of the caller.

#![allow(unsafe_code)]

pub mod activation;
pub mod balance;
pub mod evidence;
pub mod experts;
pub mod linear;
pub mod math;
pub mod norm;
pub mod plain;
pub mod router;
pub mod s4d;
pub mod simd;

use rayon::prelude::*;

/// Values from which on zeros are worth a second thread.
const SPLIT: usize = 1 << 18;

/// `len` zeros, written by all threads if there are many: a training pass asks for tens of megabytes.
pub fn zeros(len: usize) -> Vec<f32> {
    if len < SPLIT || rayon::current_num_threads() < 2 {
        return vec![0.0; len];
    }
    rayon::iter::repeat_n(0.0, len).with_min_len(SPLIT / 4).collect()
}
