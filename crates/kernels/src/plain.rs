//! Plain versions, generic over `f32` and `f64`: the oracles of everything fast.

use std::ops::{Add, Div, Mul, Sub};

/// A real number: `f32` or `f64`.
pub trait Real: Copy + PartialOrd + Add<Output = Self> + Sub<Output = Self> + Mul<Output = Self> + Div<Output = Self> {
    /// Rounds from `f64`.
    fn from_f64(value: f64) -> Self;
    /// Widens to `f64`.
    fn to_f64(self) -> f64;
    /// e^x.
    fn exp(self) -> Self;
    /// Natural logarithm.
    fn ln(self) -> Self;
    /// Square root.
    fn sqrt(self) -> Self;
    /// Sine.
    fn sin(self) -> Self;
    /// Cosine.
    fn cos(self) -> Self;
}

macro_rules! real {
    ($($type:ty),*) => {$(
        impl Real for $type {
            fn from_f64(value: f64) -> Self { value as $type }
            fn to_f64(self) -> f64 { self as f64 }
            fn exp(self) -> Self { self.exp() }
            fn ln(self) -> Self { self.ln() }
            fn sqrt(self) -> Self { self.sqrt() }
            fn sin(self) -> Self { self.sin() }
            fn cos(self) -> Self { self.cos() }
        }
    )*};
}
real!(f32, f64);
