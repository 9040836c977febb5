//! Zero-order hold of one diagonal complex state, and its chain rule, in `f64`: what S4D and S5 share.
//!
//! ```text
//! Ā = exp(ΔA),  q = (Ā − 1)/A,   A = −exp(log_neg_re) + i·im,  Δ = exp(log_step)
//! ```

pub(crate) type Complex = (f64, f64);

pub(crate) fn multiply(a: Complex, b: Complex) -> Complex {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}

pub(crate) fn conjugate(a: Complex) -> Complex {
    (a.0, -a.1)
}

fn divide(a: Complex, b: Complex) -> Complex {
    let square = b.0 * b.0 + b.1 * b.1;
    ((a.0 * b.0 + a.1 * b.1) / square, (a.1 * b.0 - a.0 * b.1) / square)
}

/// A discretised state.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hold {
    step: f64,
    a: Complex,
    pub a_bar: Complex,
    pub q: Complex,
}

impl Hold {
    pub fn new(log_step: f32, log_neg_re: f32, im: f32) -> Self {
        let step = f64::from(log_step).exp();
        let a = (-f64::from(log_neg_re).exp(), f64::from(im));
        let size = (step * a.0).exp();
        let a_bar = (size * (step * a.1).cos(), size * (step * a.1).sin());
        Self { step, a, a_bar, q: divide((a_bar.0 - 1.0, a_bar.1), a) }
    }

    /// Gradients of log_step, log_neg_re and im from those of Ā and q. For z = f·w in complex numbers, the gradient of w is that of z times
    /// conj(f).
    pub fn gradient(&self, da_bar: Complex, dq: Complex) -> [f64; 3] {
        let by_a_bar = multiply(dq, conjugate(divide((1.0, 0.0), self.a)));
        let da_bar = (da_bar.0 + by_a_bar.0, da_bar.1 + by_a_bar.1);
        let by_a = multiply(dq, conjugate(divide(self.q, self.a)));
        let dz = multiply(da_bar, conjugate(self.a_bar));
        let da = (dz.0 * self.step - by_a.0, dz.1 * self.step - by_a.1);
        [(dz.0 * self.a.0 + dz.1 * self.a.1) * self.step, da.0 * self.a.0, da.1]
    }
}
