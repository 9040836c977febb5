//! AVX-512 and AVX2 with FMA.

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
    #[inline(always)]
    fn sums(self, all: &[__m512; LANES]) -> __m512 {
        // The tree of `sum`, of several vectors at once: each step leaves half the lanes of each, side by side.
        unsafe {
            let mut halves = [_mm512_setzero_ps(); 8];
            for i in 0..8 {
                let (a, b) = (all[2 * i], all[2 * i + 1]);
                halves[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x44>(a, b), _mm512_shuffle_f32x4::<0xee>(a, b));
            }
            let mut quarters = [_mm512_setzero_ps(); 4];
            for i in 0..4 {
                let (a, b) = (halves[2 * i], halves[2 * i + 1]);
                quarters[i] = _mm512_add_ps(_mm512_shuffle_f32x4::<0x88>(a, b), _mm512_shuffle_f32x4::<0xdd>(a, b));
            }
            let mut eighths = [_mm512_setzero_ps(); 2];
            for i in 0..2 {
                let (a, b) = (quarters[2 * i], quarters[2 * i + 1]);
                eighths[i] = _mm512_add_ps(_mm512_shuffle_ps::<0x44>(a, b), _mm512_shuffle_ps::<0xee>(a, b));
            }
            let [a, b] = eighths;
            let sums = _mm512_add_ps(_mm512_shuffle_ps::<0x88>(a, b), _mm512_shuffle_ps::<0xdd>(a, b));
            // They lie in columns of four.
            let order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
            _mm512_permutexvar_ps(order, sums)
        }
    }
}

#[inline(always)]
fn mask(len: usize) -> u16 {
    ((1u32 << len) - 1) as u16
}

/// Both halves, as an expression of `i`. Not a function of a closure: a closure that is not inlined has no AVX2, and calls every instruction of its own.
macro_rules! both {
    ($i:ident => $half:expr) => {
        [
            {
                let $i = 0;
                $half
            },
            {
                let $i = 1;
                $half
            },
        ]
    };
}

// SAFETY of every block below: as above, with pointers to the two halves of arrays of sixteen.
impl Simd for Avx2 {
    type F = [__m256; 2];
    const TILE: usize = 1;

    #[inline(always)]
    fn splat(self, value: f32) -> Self::F {
        [unsafe { _mm256_set1_ps(value) }; 2]
    }
    #[inline(always)]
    fn load(self, from: &[f32; LANES]) -> Self::F {
        both!(half => unsafe { _mm256_loadu_ps(from.as_ptr().add(8 * half)) })
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
        both!(i => unsafe { _mm256_add_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn sub(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_sub_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn mul(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_mul_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn div(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_div_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_fmadd_ps(a[i], b[i], c[i]) })
    }
    #[inline(always)]
    fn neg_fma(self, a: Self::F, b: Self::F, c: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_fnmadd_ps(a[i], b[i], c[i]) })
    }
    #[inline(always)]
    fn max(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_max_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn min(self, a: Self::F, b: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_min_ps(a[i], b[i]) })
    }
    #[inline(always)]
    fn round(self, a: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_round_ps::<NEAREST>(a[i]) })
    }
    #[inline(always)]
    fn scale(self, a: Self::F, n: Self::F) -> Self::F {
        // In two steps, so that both powers are normal numbers; only the second can round.
        both!(i => unsafe {
            let (n, bias) = (_mm256_cvtps_epi32(n[i]), _mm256_set1_epi32(127));
            let half = _mm256_srai_epi32::<1>(n);
            let first = _mm256_slli_epi32::<23>(_mm256_add_epi32(half, bias));
            let second = _mm256_slli_epi32::<23>(_mm256_add_epi32(_mm256_sub_epi32(n, half), bias));
            _mm256_mul_ps(_mm256_mul_ps(a[i], _mm256_castsi256_ps(first)), _mm256_castsi256_ps(second))
        })
    }
    #[inline(always)]
    fn select_less(self, a: Self::F, b: Self::F, yes: Self::F, no: Self::F) -> Self::F {
        both!(i => unsafe { _mm256_blendv_ps(no[i], yes[i], _mm256_cmp_ps::<_CMP_LT_OQ>(a[i], b[i])) })
    }
    #[inline(always)]
    fn sum(self, a: Self::F) -> f32 {
        unsafe {
            let eight = _mm256_add_ps(a[0], a[1]);
            let four = _mm_add_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps::<1>(eight));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
}
