//! S4D.
use crate::plain::Real;
use rayon::prelude::*;
/// system
pub struct S4dSystem {
    d: usize,
    n: usize,
    ar: Vec<f32>,
    ai: Vec<f32>,
    cr: Vec<f32>,
    ci: Vec<f32>,
    skip: Vec<f32>,
}
/// gradient
pub struct S4dGradient {
    ar: Vec<f64>,
    ai: Vec<f64>,
    cr: Vec<f64>,
    ci: Vec<f64>,
    skip: Vec<f64>,
}
impl S4dGradient {
    /// zeros
    pub fn new(s: &S4dSystem) -> Self {
        let z = || vec![0.0; s.d * s.n];
        Self { ar: z(), ai: z(), cr: z(), ci: z(), skip: vec![0.0; s.d] }
    }
}
type C = (f64, f64);
fn mul(a: C, b: C) -> C {
    (a.0 * b.0 - a.1 * b.1, a.0 * b.1 + a.1 * b.0)
}
fn div(a: C, b: C) -> C {
    let m = b.0 * b.0 + b.1 * b.1;
    ((a.0 * b.0 + a.1 * b.1) / m, (a.1 * b.0 - a.0 * b.1) / m)
}
fn conj(a: C) -> C {
    (a.0, -a.1)
}
impl S4dSystem {
    /// discretise
    pub fn discretise(d: usize, n: usize, ls: &[f32], lnr: &[f32], im: &[f32], cr: &[f32], ci: &[f32], skip: &[f32]) -> Self {
        let mut s = Self {
            d,
            n,
            ar: vec![0.0; d * n],
            ai: vec![0.0; d * n],
            cr: vec![0.0; d * n],
            ci: vec![0.0; d * n],
            skip: skip.to_vec(),
        };
        for i in 0..d * n {
            let dt = (ls[i / n] as f64).exp();
            let a = (-(lnr[i] as f64).exp(), im[i] as f64);
            let m = (dt * a.0).exp();
            let ab = (m * (dt * a.1).cos(), m * (dt * a.1).sin());
            let cb = mul((cr[i] as f64, ci[i] as f64), div((ab.0 - 1.0, ab.1), a));
            s.ar[i] = ab.0 as f32;
            s.ai[i] = ab.1 as f32;
            s.cr[i] = cb.0 as f32;
            s.ci[i] = cb.1 as f32;
        }
        s
    }
    /// len
    pub fn state_len(&self) -> usize {
        2 * self.d * self.n
    }
    /// len
    pub fn checkpoint_len(&self, _: &[usize]) -> usize {
        0
    }
    /// scan
    pub fn scan(&self, u: &[f32], off: &[usize], st: &mut [f32], y: &mut [f32]) {
        let (d, n) = (self.d, self.n);
        let mut ys: Vec<&mut [f32]> = vec![];
        let mut rest = y;
        for w in off.windows(2) {
            let (a, b) = rest.split_at_mut((w[1] - w[0]) * d);
            ys.push(a);
            rest = b;
        }
        let body = |(s, (st, y)): (usize, (&mut [f32], &mut &mut [f32]))| {
            let u = &u[off[s] * d..off[s + 1] * d];
            for (u, y) in u.chunks_exact(d).zip(y.chunks_exact_mut(d)) {
                for c in 0..d {
                    let mut acc = 0.0;
                    for j in c * n..(c + 1) * n {
                        let (r, i) = (st[2 * j], st[2 * j + 1]);
                        let nr = self.ar[j] * r - self.ai[j] * i + u[c];
                        let ni = self.ar[j] * i + self.ai[j] * r;
                        st[2 * j] = nr;
                        st[2 * j + 1] = ni;
                        acc += self.cr[j] * nr - self.ci[j] * ni;
                    }
                    y[c] = 2.0 * acc + self.skip[c] * u[c];
                }
            }
        };
        if u.len() * n > 1 << 16 {
            st.par_chunks_exact_mut(2 * d * n).zip(ys.par_iter_mut()).enumerate().for_each(body);
        } else {
            st.chunks_exact_mut(2 * d * n).zip(ys.iter_mut()).enumerate().for_each(body);
        }
    }
    /// scan
    pub fn scan_saved(&self, u: &[f32], off: &[usize], st: &mut [f32], y: &mut [f32], _: &mut [f32]) {
        self.scan(u, off, st, y);
    }
    /// backward from zero state
    pub fn scan_backward(&self, u: &[f32], off: &[usize], _: &[f32], dy: &[f32], du: &mut [f32], g: &mut S4dGradient) {
        let (d, n) = (self.d, self.n);
        let parts: Vec<(Vec<f32>, S4dGradient)> = (0..off.len() - 1)
            .into_par_iter()
            .map(|s| {
                let (u, dy) = (&u[off[s] * d..off[s + 1] * d], &dy[off[s] * d..off[s + 1] * d]);
                let t = u.len() / d;
                let mut du = vec![0.0; u.len()];
                let mut g = S4dGradient::new(self);
                let mut h = vec![(0.0f32, 0.0f32); t + 1];
                for c in 0..d {
                    for k in 0..t {
                        du[k * d + c] += self.skip[c] * dy[k * d + c];
                        g.skip[c] += (dy[k * d + c] * u[k * d + c]) as f64;
                    }
                    for j in c * n..(c + 1) * n {
                        let (ar, ai, cr, ci) = (self.ar[j], self.ai[j], self.cr[j], self.ci[j]);
                        for k in 0..t {
                            let (r, i) = h[k];
                            h[k + 1] = (ar * r - ai * i + u[k * d + c], ar * i + ai * r);
                        }
                        let (mut lr, mut li) = (0.0f32, 0.0f32);
                        let mut acc = [0.0f32; 4];
                        for k in (0..t).rev() {
                            let y = 2.0 * dy[k * d + c];
                            acc[0] += y * h[k + 1].0;
                            acc[1] -= y * h[k + 1].1;
                            let nlr = ar * lr + ai * li + y * cr;
                            let nli = ar * li - ai * lr - y * ci;
                            lr = nlr;
                            li = nli;
                            du[k * d + c] += lr;
                            let (r, i) = h[k];
                            acc[2] += lr * r + li * i;
                            acc[3] += -lr * i + li * r;
                        }
                        g.cr[j] += acc[0] as f64;
                        g.ci[j] += acc[1] as f64;
                        g.ar[j] += acc[2] as f64;
                        g.ai[j] += acc[3] as f64;
                    }
                }
                (du, g)
            })
            .collect();
        for (s, (p, q)) in parts.iter().enumerate() {
            du[off[s] * d..off[s + 1] * d].copy_from_slice(p);
            for (a, b) in [(&mut g.ar, &q.ar), (&mut g.ai, &q.ai), (&mut g.cr, &q.cr), (&mut g.ci, &q.ci), (&mut g.skip, &q.skip)]
            {
                a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
            }
        }
    }
    /// chain rule
    pub fn parameter_gradient(
        &self,
        ls: &[f32],
        lnr: &[f32],
        im: &[f32],
        cr: &[f32],
        ci: &[f32],
        _skip: &[f32],
        g: &S4dGradient,
        dls: &mut [f32],
        dlnr: &mut [f32],
        dim: &mut [f32],
        dcr: &mut [f32],
        dci: &mut [f32],
        ds: &mut [f32],
    ) {
        let n = self.n;
        for i in 0..self.d * n {
            let dt = (ls[i / n] as f64).exp();
            let a = (-(lnr[i] as f64).exp(), im[i] as f64);
            let m = (dt * a.0).exp();
            let ab = (m * (dt * a.1).cos(), m * (dt * a.1).sin());
            let q = div((ab.0 - 1.0, ab.1), a);
            let c = (cr[i] as f64, ci[i] as f64);
            let gc = (g.cr[i], g.ci[i]);
            let dc = mul(gc, conj(q));
            dcr[i] += dc.0 as f32;
            dci[i] += dc.1 as f32;
            let gq = mul(gc, conj(c));
            let mut gab = (g.ar[i], g.ai[i]);
            let t = mul(gq, conj(div((1.0, 0.0), a)));
            gab.0 += t.0;
            gab.1 += t.1;
            let t = mul(gq, conj(div(q, a)));
            let mut ga = (-t.0, -t.1);
            let gz = mul(gab, conj(ab));
            ga.0 += gz.0 * dt;
            ga.1 += gz.1 * dt;
            let ddt = gz.0 * a.0 + gz.1 * a.1;
            dls[i / n] += (ddt * dt) as f32;
            dlnr[i] += (ga.0 * a.0) as f32;
            dim[i] += ga.1 as f32;
        }
        ds.iter_mut().zip(&g.skip).for_each(|(a, b)| *a += *b as f32);
    }
}
/// plain
pub fn plain_step<R: Real>(
    d: usize,
    n: usize,
    ls: &[R],
    lnr: &[R],
    im: &[R],
    cr: &[R],
    ci: &[R],
    skip: &[R],
    u: &[R],
    st: &mut [R],
    y: &mut [R],
) {
    let (zero, one, two) = (R::from_f64(0.0), R::from_f64(1.0), R::from_f64(2.0));
    for c in 0..d {
        let dt = ls[c].exp();
        let mut acc = zero;
        for j in c * n..(c + 1) * n {
            let (re, i) = (zero - lnr[j].exp(), im[j]);
            let m = (dt * re).exp();
            let (br, bi) = (m * (dt * i).cos(), m * (dt * i).sin());
            let (x, z) = (st[2 * j], st[2 * j + 1]);
            let nr = br * x - bi * z + u[c];
            let ni = br * z + bi * x;
            st[2 * j] = nr;
            st[2 * j + 1] = ni;
            let (pr, pi) = (br - one, bi);
            let mm = re * re + i * i;
            let (qr, qi) = ((pr * re + pi * i) / mm, (pi * re - pr * i) / mm);
            let (kr, ki) = (cr[j] * qr - ci[j] * qi, cr[j] * qi + ci[j] * qr);
            acc = acc + kr * nr - ki * ni;
        }
        y[c] = two * acc + skip[c] * u[c];
    }
}
