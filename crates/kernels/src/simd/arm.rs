//! NEON.

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
