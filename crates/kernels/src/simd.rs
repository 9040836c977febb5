//! Sixteen virtual lanes of `f32`: one AVX-512 register, two of AVX2, four of NEON, or an array.
//!
//! A kernel is a [`Task`], generic over [`Simd`]; [`dispatch`] runs it with the best instructions of the machine. A value of a
//! [`Simd`] type is the proof that its instructions exist, so none can be made outside this module. All instruction sets
//! round alike: `fma` is fused everywhere, and [`Simd::sum`] adds in one fixed tree.

#[cfg(target_arch = "aarch64")]
mod arm;
#[cfg(target_arch = "x86_64")]
mod x86;

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Lanes of a vector.
pub const LANES: usize = 16;

/// Operations on sixteen lanes. Comparisons follow x86: where one side is NaN, the second operand wins.
pub trait Simd: Copy {
    /// Sixteen lanes.
    type F: Copy;
    /// Vectors across a tile of a matrix product, of six rows, that the registers can hold: 4 where they are many, else 1.
    const TILE: usize;

    /// Every lane the same.
    fn splat(self, value: f32) -> Self::F;
    /// Reads sixteen values.
    fn load(self, from: &[f32; LANES]) -> Self::F;
    /// Writes sixteen values.
    fn store(self, value: Self::F, to: &mut [f32; LANES]);
    /// `a + b`.
    fn add(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a − b`.
    fn sub(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a·b`.
    fn mul(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a/b`.
    fn div(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a·b + c`, rounded once.
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `c − a·b`, rounded once.
    fn neg_fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F;
    /// `a > b ? a : b`.
    fn max(self, a: Self::F, b: Self::F) -> Self::F;
    /// `a < b ? a : b`.
    fn min(self, a: Self::F, b: Self::F) -> Self::F;
    /// The nearest whole number, ties to even.
    fn round(self, a: Self::F) -> Self::F;
    /// `a·2ⁿ` for whole `n` in −150..=128, rounded once; `a` near one.
    fn scale(self, a: Self::F, n: Self::F) -> Self::F;
    /// `a < b ? yes : no`.
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F;

    /// Reads fewer than sixteen values; the other lanes are zero.
    #[inline(always)]
    fn load_part(self, from: &[f32]) -> Self::F {
        let mut lanes = [0.0; LANES];
        lanes[..from.len()].copy_from_slice(from);
        self.load(&lanes)
    }

    /// Writes the first `to.len()` lanes.
    #[inline(always)]
    fn store_part(self, value: Self::F, to: &mut [f32]) {
        let mut lanes = [0.0; LANES];
        self.store(value, &mut lanes);
        to.copy_from_slice(&lanes[..to.len()]);
    }

    /// `|a|`.
    #[inline(always)]
    fn abs(self, a: Self::F) -> Self::F {
        self.max(self.sub(self.splat(0.0), a), a)
    }

    /// The sum of the lanes: halves, quarters, eighths, pairs.
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        let mut lanes = [0.0; LANES];
        self.store(a, &mut lanes);
        let mut width = LANES / 2;
        while width > 0 {
            for lane in 0..width {
                lanes[lane] += lanes[lane + width];
            }
            width /= 2;
        }
        lanes[0]
    }

    /// The sums of sixteen vectors, one a lane, each as [`Simd::sum`] gives it.
    #[inline(always)]
    fn sums(self, all: &[Self::F; LANES]) -> Self::F {
        let mut lanes = [0.0; LANES];
        for i in 0..LANES {
            lanes[i] = self.sum(all[i]);
        }
        self.load(&lanes)
    }
}

/// Reads the `index`-th sixteen values; there must be so many.
#[inline(always)]
pub fn load<S: Simd>(simd: S, from: &[f32], index: usize) -> S::F {
    simd.load(from[index * LANES..].first_chunk().expect("a whole vector"))
}

/// Writes the `index`-th sixteen values; there must be so many.
#[inline(always)]
pub fn store<S: Simd>(simd: S, value: S::F, to: &mut [f32], index: usize) {
    simd.store(value, to[index * LANES..].first_chunk_mut().expect("a whole vector"));
}

/// Reads sixteen values from `start` on; beyond the end are zeros.
#[inline(always)]
pub fn read<S: Simd>(simd: S, from: &[f32], start: usize) -> S::F {
    match from[start..].first_chunk() {
        Some(whole) => simd.load(whole),
        None => simd.load_part(&from[start..]),
    }
}

/// Writes sixteen values from `start` on, as many as there is room for.
#[inline(always)]
pub fn write<S: Simd>(simd: S, value: S::F, to: &mut [f32], start: usize) {
    match to[start..].first_chunk_mut() {
        Some(whole) => simd.store(value, whole),
        None => simd.store_part(value, &mut to[start..]),
    }
}

/// A computation that any instruction set can run.
pub trait Task {
    /// What it gives.
    type Output;
    /// Runs with the instructions that `simd` stands for. Must be `#[inline(always)]`, with all it calls.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

/// An instruction set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Isa {
    /// Plain Rust.
    Portable = 1,
    /// AVX2 with FMA.
    Avx2 = 2,
    /// AVX-512F.
    Avx512 = 3,
    /// NEON.
    Neon = 4,
}

static CURRENT: AtomicU8 = AtomicU8::new(0);

impl Isa {
    /// What this machine has, worst first.
    pub fn available() -> Vec<Self> {
        #[allow(unused_mut)]
        let mut found = vec![Self::Portable];
        #[cfg(target_arch = "x86_64")]
        {
            let avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
            if avx2 {
                found.push(Self::Avx2);
            }
            if avx2 && is_x86_feature_detected!("avx512f") {
                found.push(Self::Avx512);
            }
        }
        #[cfg(target_arch = "aarch64")]
        found.push(Self::Neon);
        found
    }

    /// What kernels use.
    #[inline]
    pub fn current() -> Self {
        match CURRENT.load(Relaxed) {
            1 => Self::Portable,
            2 => Self::Avx2,
            3 => Self::Avx512,
            4 => Self::Neon,
            _ => Self::detect(),
        }
    }

    #[cold]
    fn detect() -> Self {
        let best = Self::available().pop().unwrap_or(Self::Portable);
        CURRENT.store(best as u8, Relaxed);
        best
    }

    /// Makes every kernel of the process use this instruction set: for tests and measurements.
    ///
    /// # Panics
    /// If the machine lacks it.
    pub fn force(self) {
        assert!(Self::available().contains(&self), "this machine has no {self:?}");
        CURRENT.store(self as u8, Relaxed);
    }
}

/// Runs a task with the instructions of [`Isa::current`].
#[inline]
pub fn dispatch<T: Task>(task: T) -> T::Output {
    match Isa::current() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: `current` is only ever an instruction set that `available` found.
        Isa::Avx512 => unsafe { x86::with_avx512(task) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::Avx2 => unsafe { x86::with_avx2(task) },
        #[cfg(target_arch = "aarch64")]
        // SAFETY: every aarch64 target of Rust has NEON.
        Isa::Neon => unsafe { arm::with_neon(task) },
        _ => task.run(Portable(())),
    }
}

/// Plain Rust on arrays.
#[derive(Clone, Copy, Debug)]
pub struct Portable(());

#[inline(always)]
fn each(f: impl Fn(usize) -> f32) -> [f32; LANES] {
    std::array::from_fn(f)
}

/// 2ⁿ for whole `n` in −126..=127.
#[inline(always)]
fn power_of_two(n: i32) -> f32 {
    f32::from_bits(((n + 127) << 23) as u32)
}

impl Simd for Portable {
    type F = [f32; LANES];
    const TILE: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [value; LANES]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        *from
    }
    #[inline(always)]
    fn store(self, value: Self::F, to: &mut [f32; LANES]) {
        *to = value;
    }
    #[inline(always)]
    fn add(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] + b[i])
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] - b[i])
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] * b[i])
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| a[i] / b[i])
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(|i| a[i].mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn neg_fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        each(|i| (-a[i]).mul_add(b[i], c[i]))
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| if a[i] > b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        each(|i| if a[i] < b[i] { a[i] } else { b[i] })
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        each(|i| a[i].round_ties_even())
    }
    #[inline(always)]
    fn scale(self, a: Self::F, n: Self::F) -> Self::F {
        // In two steps, so that both powers are normal numbers; only the second can round.
        each(|i| {
            let n = n[i] as i32;
            a[i] * power_of_two(n >> 1) * power_of_two(n - (n >> 1))
        })
    }
    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        each(|i| if a[i] < b[i] { yes[i] } else { no[i] })
    }
}
