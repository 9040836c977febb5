//! Kernels of foretoken on plain slices: forward and backward, deterministic for any number of threads.
#![allow(unsafe_code)]
pub mod activation;
pub mod experts;
pub mod linear;
pub mod norm;
pub mod plain;
pub mod router;
pub mod s4d;
