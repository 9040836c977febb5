//! A curve in memory that does not grow: neighbouring values share a bucket once there are many.

/// Most buckets of a curve.
pub const MOST: usize = 512;
/// What is left of a value in the smoothed curve after one more: a mean over about 50.
const LEFT: f64 = 0.98;

/// Neighbouring values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bucket {
    /// Where its last value lies.
    pub x: u64,
    /// Its least value.
    pub low: f64,
    /// Its greatest.
    pub high: f64,
    /// The smoothed curve at its last value.
    pub smooth: f64,
}

/// A curve, by the number of its step or epoch. Values that are not finite are not in it.
#[derive(Clone, Debug)]
pub struct Curve {
    buckets: Vec<Bucket>,
    /// Values a bucket.
    span: u64,
    sum: f64,
    weight: f64,
}

impl Default for Curve {
    fn default() -> Self {
        Self { buckets: Vec::new(), span: 1, sum: 0.0, weight: 0.0 }
    }
}

impl Curve {
    /// Adds a value; `x` goes up.
    pub fn push(&mut self, x: u64, value: f64) {
        if !value.is_finite() {
            return;
        }
        (self.sum, self.weight) = (LEFT * self.sum + (1.0 - LEFT) * value, LEFT * self.weight + 1.0 - LEFT);
        self.put(Bucket { x, low: value, high: value, smooth: self.sum / self.weight });
        if self.buckets.len() > MOST {
            self.span *= 2;
            std::mem::take(&mut self.buckets).into_iter().for_each(|bucket| self.put(bucket));
        }
    }

    fn put(&mut self, bucket: Bucket) {
        match self.buckets.last_mut() {
            Some(last) if last.x / self.span == bucket.x / self.span => {
                *last = Bucket { low: last.low.min(bucket.low), high: last.high.max(bucket.high), ..bucket };
            }
            _ => self.buckets.push(bucket),
        }
    }

    /// All of it.
    pub fn buckets(&self) -> &[Bucket] {
        &self.buckets
    }

    /// The smoothed curve at its end; none before the first value.
    pub fn smooth(&self) -> Option<f64> {
        self.buckets.last().map(|bucket| bucket.smooth)
    }
}
