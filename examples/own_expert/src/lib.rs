//! Two predictors that foretoken knows nothing of. All it asks of them is [`SignalPredictor`].

use foretoken::{ModelError, SignalPredictor};

/// Holt's linear exponential smoothing of one series: a level and a trend, and from there a straight line.
pub struct Holt {
    horizon: usize,
    smoothing: [f32; 2],
    state: Option<[f32; 2]>,
}

impl Holt {
    /// A smoother that forecasts `horizon` samples; `smoothing` of level and trend, each in 0..=1.
    pub fn new(horizon: usize, smoothing: [f32; 2]) -> Self {
        Self { horizon, smoothing, state: None }
    }
}

impl SignalPredictor for Holt {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        let &[x] = x else { return Err(ModelError::Width { what: "sample", expected: 1, found: x.len() }) };
        let [level, trend] = self.state.unwrap_or([x, 0.0]);
        let [a, b] = self.smoothing;
        let new = a * x + (1.0 - a) * (level + trend);
        let [level, trend] = *self.state.insert([new, b * (new - level) + (1.0 - b) * trend]);
        Ok((1..=self.horizon).map(|step| level + step as f32 * trend).collect())
    }

    fn reset(&mut self) {
        self.state = None;
    }

    fn context_window(&self) -> Option<usize> {
        None
    }
}

/// Repeats what was seen one period ago.
pub struct Repeat {
    horizon: usize,
    period: usize,
    seen: Vec<f32>,
}

impl Repeat {
    /// A forecaster of `horizon` samples that remembers `period` of them.
    pub fn new(horizon: usize, period: usize) -> Self {
        Self { horizon, period, seen: Vec::new() }
    }
}

impl SignalPredictor for Repeat {
    fn step(&mut self, x: &[f32]) -> Result<Vec<f32>, ModelError> {
        let &[x] = x else { return Err(ModelError::Width { what: "sample", expected: 1, found: x.len() }) };
        if self.seen.len() == self.period {
            self.seen.remove(0);
        }
        self.seen.push(x);
        let last = self.seen.len();
        Ok((0..self.horizon).map(|step| if last == self.period { self.seen[step % last] } else { x }).collect())
    }

    fn reset(&mut self) {
        self.seen.clear();
    }

    fn context_window(&self) -> Option<usize> {
        Some(self.period)
    }
}
