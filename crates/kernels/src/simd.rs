//! Sixteen virtual lanes of `f32`: one AVX-512 register, two of AVX2, four of NEON, or an array.
//!
//! A kernel is a [`Task`], generic over [`Simd`]; [`dispatch`] runs it with the best instructions of the machine. A value of a
//! [`Simd`] type is the proof that its instructions exist, so none can be made outside this module. All instruction sets
//! round alike: `fma` is fused everywhere, and [`Simd::sum`] adds in one fixed tree.

use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

/// Lanes of a vector.
pub const LANES: usize = 16;

/// Operations on sixteen lanes. Comparisons follow x86: where one side is NaN, the second operand wins.
pub trait Simd: Copy {
    /// Sixteen lanes.
    type F: Copy;
    /// Vectors across one row tile of a matrix product that the registers can hold.
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

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Simd, Task};
    use std::arch::x86_64::*;

    /// Proof of AVX-512F.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx512(());

    /// Proof of AVX2 and FMA.
    #[derive(Clone, Copy, Debug)]
    pub struct Avx2(());

    /// # Safety
    /// The machine has AVX-512F, AVX2 and FMA.
    #[target_feature(enable = "avx512f,avx2,fma")]
    pub unsafe fn with_avx512<T: Task>(task: T) -> T::Output {
        task.run(Avx512(()))
    }

    /// # Safety
    /// The machine has AVX2 and FMA.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn with_avx2<T: Task>(task: T) -> T::Output {
        task.run(Avx2(()))
    }

    const NEAREST: i32 = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;

    // SAFETY of every block below: `self` exists, so the machine has the instructions; pointers come from arrays of sixteen or
    // are masked to the slice's length.
    impl Simd for Avx512 {
        type F = __m512;
        const TILE: usize = 4;

        #[inline(always)]
        fn splat(self, value: f32) -> __m512 {
            unsafe { _mm512_set1_ps(value) }
        }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> __m512 {
            unsafe { _mm512_loadu_ps(from.as_ptr()) }
        }
        #[inline(always)]
        fn store(self, value: __m512, to: &mut [f32; LANES]) {
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), value) }
        }
        #[inline(always)]
        fn load_part(self, from: &[f32]) -> __m512 {
            debug_assert!(from.len() <= LANES);
            unsafe { _mm512_maskz_loadu_ps(mask(from.len()), from.as_ptr()) }
        }
        #[inline(always)]
        fn store_part(self, value: __m512, to: &mut [f32]) {
            debug_assert!(to.len() <= LANES);
            unsafe { _mm512_mask_storeu_ps(to.as_mut_ptr(), mask(to.len()), value) }
        }
        #[inline(always)]
        fn add(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_add_ps(a, b) }
        }
        #[inline(always)]
        fn sub(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_sub_ps(a, b) }
        }
        #[inline(always)]
        fn mul(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_mul_ps(a, b) }
        }
        #[inline(always)]
        fn div(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_div_ps(a, b) }
        }
        #[inline(always)]
        fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn neg_fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
            unsafe { _mm512_fnmadd_ps(a, b, c) }
        }
        #[inline(always)]
        fn max(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_max_ps(a, b) }
        }
        #[inline(always)]
        fn min(self, a: __m512, b: __m512) -> __m512 {
            unsafe { _mm512_min_ps(a, b) }
        }
        #[inline(always)]
        fn round(self, a: __m512) -> __m512 {
            unsafe { _mm512_roundscale_ps::<NEAREST>(a) }
        }
        #[inline(always)]
        fn scale(self, a: __m512, n: __m512) -> __m512 {
            unsafe { _mm512_scalef_ps(a, n) }
        }
        #[inline(always)]
        fn select_less(self, a: __m512, b: __m512, yes: __m512, no: __m512) -> __m512 {
            unsafe { _mm512_mask_blend_ps(_mm512_cmp_ps_mask::<_CMP_LT_OQ>(a, b), no, yes) }
        }
    }

    #[inline(always)]
    fn mask(len: usize) -> u16 {
        ((1u32 << len) - 1) as u16
    }

    #[inline(always)]
    fn both(f: impl Fn(usize) -> __m256) -> [__m256; 2] {
        [f(0), f(1)]
    }

    // SAFETY of every block below: as above, with pointers to the two halves of arrays of sixteen.
    impl Simd for Avx2 {
        type F = [__m256; 2];
        const TILE: usize = 1;

        #[inline(always)]
        fn splat(self, value: f32) -> Self::F {
            both(|_| unsafe { _mm256_set1_ps(value) })
        }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::F {
            both(|half| unsafe { _mm256_loadu_ps(from.as_ptr().add(8 * half)) })
        }
        #[inline(always)]
        fn store(self, value: Self::F, to: &mut [f32; LANES]) {
            unsafe {
                _mm256_storeu_ps(to.as_mut_ptr(), value[0]);
                _mm256_storeu_ps(to.as_mut_ptr().add(8), value[1]);
            }
        }
        #[inline(always)]
        fn add(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_add_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn sub(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_sub_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn mul(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_mul_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn div(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_div_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_fmadd_ps(a[i], b[i], c[i]) })
        }
        #[inline(always)]
        fn neg_fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_fnmadd_ps(a[i], b[i], c[i]) })
        }
        #[inline(always)]
        fn max(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_max_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn min(self, a: Self::F, b: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_min_ps(a[i], b[i]) })
        }
        #[inline(always)]
        fn round(self, a: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_round_ps::<NEAREST>(a[i]) })
        }
        #[inline(always)]
        fn scale(self, a: Self::F, n: Self::F) -> Self::F {
            // In two steps, so that both powers are normal numbers; only the second can round.
            both(|i| unsafe {
                let n = _mm256_cvtps_epi32(n[i]);
                let half = _mm256_srai_epi32::<1>(n);
                let rest = _mm256_sub_epi32(n, half);
                let power = |n| _mm256_castsi256_ps(_mm256_slli_epi32::<23>(_mm256_add_epi32(n, _mm256_set1_epi32(127))));
                _mm256_mul_ps(_mm256_mul_ps(a[i], power(half)), power(rest))
            })
        }
        #[inline(always)]
        fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
            both(|i| unsafe { _mm256_blendv_ps(no[i], yes[i], _mm256_cmp_ps::<_CMP_LT_OQ>(a[i], b[i])) })
        }
    }
}

#[cfg(target_arch = "aarch64")]
mod arm {
    use super::{LANES, Simd, Task};
    use std::arch::aarch64::*;

    /// Proof of NEON.
    #[derive(Clone, Copy, Debug)]
    pub struct Neon(());

    /// # Safety
    /// The machine has NEON.
    #[target_feature(enable = "neon")]
    pub unsafe fn with_neon<T: Task>(task: T) -> T::Output {
        task.run(Neon(()))
    }

    #[inline(always)]
    fn four(f: impl Fn(usize) -> float32x4_t) -> [float32x4_t; 4] {
        [f(0), f(1), f(2), f(3)]
    }

    // SAFETY of every block below: `self` exists, so the machine has NEON; pointers are to the quarters of arrays of sixteen.
    impl Simd for Neon {
        type F = [float32x4_t; 4];
        const TILE: usize = 1;

        #[inline(always)]
        fn splat(self, value: f32) -> Self::F {
            four(|_| unsafe { vdupq_n_f32(value) })
        }
        #[inline(always)]
        fn load(self, from: &[f32; LANES]) -> Self::F {
            four(|i| unsafe { vld1q_f32(from.as_ptr().add(4 * i)) })
        }
        #[inline(always)]
        fn store(self, value: Self::F, to: &mut [f32; LANES]) {
            for (i, part) in value.into_iter().enumerate() {
                unsafe { vst1q_f32(to.as_mut_ptr().add(4 * i), part) }
            }
        }
        #[inline(always)]
        fn add(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vaddq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn sub(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vsubq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn mul(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vmulq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn div(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vdivq_f32(a[i], b[i]) })
        }
        #[inline(always)]
        fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            four(|i| unsafe { vfmaq_f32(c[i], a[i], b[i]) })
        }
        #[inline(always)]
        fn neg_fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
            four(|i| unsafe { vfmsq_f32(c[i], a[i], b[i]) })
        }
        #[inline(always)]
        fn max(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vbslq_f32(vcgtq_f32(a[i], b[i]), a[i], b[i]) })
        }
        #[inline(always)]
        fn min(self, a: Self::F, b: Self::F) -> Self::F {
            four(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), a[i], b[i]) })
        }
        #[inline(always)]
        fn round(self, a: Self::F) -> Self::F {
            four(|i| unsafe { vrndnq_f32(a[i]) })
        }
        #[inline(always)]
        fn scale(self, a: Self::F, n: Self::F) -> Self::F {
            // In two steps, so that both powers are normal numbers; only the second can round.
            four(|i| unsafe {
                let n = vcvtnq_s32_f32(n[i]);
                let half = vshrq_n_s32::<1>(n);
                let power = |n| vreinterpretq_f32_s32(vshlq_n_s32::<23>(vaddq_s32(n, vdupq_n_s32(127))));
                vmulq_f32(vmulq_f32(a[i], power(half)), power(vsubq_s32(n, half)))
            })
        }
        #[inline(always)]
        fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
            four(|i| unsafe { vbslq_f32(vcltq_f32(a[i], b[i]), yes[i], no[i]) })
        }
    }
}
