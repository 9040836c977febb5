//! The learning rate over the steps, and which weights learn at another.

use foretoken_model::{ModelError, weights::Spec};
use serde::{Deserialize, Serialize};
use std::{f64::consts::PI, ops::Range};

/// How the learning rate goes on after its warm-up. `warm_up` are steps, at most half of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// A linear rise, then half a cosine down to zero (Loshchilov & Hutter 2017, arXiv:1608.03983).
    #[default]
    Cosine,
    /// A linear rise, then the peak to the end.
    Constant,
    /// One cycle (Smith & Topin 2018, arXiv:1708.07120): half a cosine from a 25th of the peak up to it over the warm-up, another down to a
    /// 250,000th. The moments' decays stay as they are.
    OneCycle,
}

impl Schedule {
    /// What the peak learning rate is multiplied by at `step` of `steps`.
    pub fn factor(self, step: u64, steps: u64, warm_up: u64) -> f64 {
        let warm_up = warm_up.min(steps / 2).max(1);
        let done = (step.saturating_sub(warm_up)) as f64 / (steps - warm_up.min(steps)).max(1) as f64;
        let risen = (step + 1) as f64 / warm_up as f64;
        let falling = 0.5 * (1.0 + (PI * done.min(1.0)).cos());
        let between = |low: f64, share: f64| low + (1.0 - low) * share;
        match (self, step < warm_up) {
            (Self::Cosine | Self::Constant, true) => risen,
            (Self::Cosine, false) => falling,
            (Self::Constant, false) => 1.0,
            (Self::OneCycle, true) => between(1.0 / 25.0, 0.5 * (1.0 - (PI * risen).cos())),
            (Self::OneCycle, false) => between(1.0 / 250_000.0, falling),
        }
    }
}

/// Weights that learn otherwise than the rest.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Group {
    /// Parts of a weight's path that follow each other, a star for any one: `log_step`, `blocks.0`, `experts.*.gate`. `foretoken inspect` lists
    /// the paths.
    pub weights: String,
    /// What the learning rate is multiplied by, 1 unless an earlier group says otherwise; 0 keeps the weights as they begin.
    pub rate: Option<f64>,
    /// Weight decay, instead of the run's on matrices, and none on the dynamics of state-space models, norms and biases.
    pub decay: Option<f64>,
}

impl Group {
    fn holds(&self, name: &str) -> bool {
        let (name, parts): (Vec<_>, Vec<_>) = (name.split('.').collect(), self.weights.split('.').collect());
        name.windows(parts.len()).any(|names| names.iter().zip(&parts).all(|(name, part)| *part == "*" || name == part))
    }

    pub(crate) fn check(&self) -> Result<(), ModelError> {
        for (field, value) in [("rate", self.rate.unwrap_or(1.0)), ("decay", self.decay.unwrap_or(0.0))] {
            if !(value.is_finite() && value >= 0.0) {
                return Err(ModelError::config(field, "a finite number >= 0", value));
            }
        }
        if self.rate.or(self.decay).is_none() {
            return Err(ModelError::config("rate", "a rate or a decay of its own", "neither"));
        }
        Ok(())
    }
}

/// A span of the arena whose weights learn alike.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Alike {
    pub span: Range<usize>,
    /// What the learning rate is multiplied by.
    pub rate: f64,
    pub decay: f64,
}

/// The arena by spans that learn alike: what the run says of all weights, then its groups, the later ones over the earlier.
pub(crate) fn alike(specs: &[Spec], decay: f64, groups: &[Group]) -> Result<Vec<Alike>, ModelError> {
    for (index, group) in groups.iter().enumerate() {
        if !specs.iter().any(|spec| group.holds(&spec.name)) {
            let expected = format!("parts of a weight's path, such as `{}`", specs.last().map_or("", |spec| &spec.name));
            return Err(ModelError::config(&format!("groups.{index}.weights"), expected, format!("`{}`", group.weights)));
        }
    }
    let mut all: Vec<Alike> = Vec::new();
    for spec in specs {
        let mut own = Alike { span: spec.weight.range(), rate: 1.0, decay: if spec.decay { decay } else { 0.0 } };
        for group in groups.iter().filter(|group| group.holds(&spec.name)) {
            own.rate = group.rate.unwrap_or(own.rate);
            own.decay = group.decay.unwrap_or(own.decay);
        }
        match all.last_mut().filter(|last| (last.rate, last.decay, last.span.end) == (own.rate, own.decay, own.span.start)) {
            Some(last) => last.span.end = own.span.end,
            None => all.push(own),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use foretoken_model::weights::{Layout, fan_in};

    #[test]
    fn every_schedule_rises_to_its_peak_and_falls_as_it_says() {
        let at = |schedule: Schedule, step| schedule.factor(step, 100, 10);
        for schedule in [Schedule::Cosine, Schedule::Constant, Schedule::OneCycle] {
            assert!((0..9).all(|step| at(schedule, step) < at(schedule, step + 1)));
            assert_eq!(at(schedule, 9), 1.0);
            assert!((10..99).all(|step| at(schedule, step) >= at(schedule, step + 1)));
        }
        assert_eq!(at(Schedule::Constant, 99), 1.0);
        assert!(at(Schedule::Cosine, 99) < 0.001 && at(Schedule::OneCycle, 99) < 0.001);
        assert!((at(Schedule::Cosine, 55) - 0.5).abs() < 1e-9);
        // A warm-up longer than half the run is cut.
        assert_eq!(Schedule::Cosine.factor(4, 10, 50), 1.0);
    }

    #[test]
    fn groups_hold_parts_of_a_path() {
        let holds = |weights: &str, name: &str| Group { weights: weights.into(), rate: None, decay: None }.holds(name);
        assert!(holds("log_step", "blocks.0.layer.log_step") && holds("blocks.0", "blocks.0.gain"));
        assert!(holds("experts.*.gate", "blocks.1.layer.experts.3.gate"));
        assert!(!holds("step", "blocks.0.layer.log_step") && !holds("blocks.1", "blocks.0.gain") && !holds("a.b.c", "a.b"));
    }

    #[test]
    fn a_later_group_changes_only_what_it_names() {
        let mut layout = Layout::default();
        layout.matrix("embed", [2, 2], fan_in(2));
        let group = |rate, decay| Group { weights: "embed".into(), rate, decay };
        let of = |groups: &[Group]| {
            alike(layout.specs(), 0.1, groups).expect("spans").iter().map(|own| (own.rate, own.decay)).collect::<Vec<_>>()
        };
        assert_eq!(of(&[group(Some(0.0), None), group(None, Some(0.5))]), [(0.0, 0.5)]);
        assert_eq!(of(&[group(None, Some(0.5)), group(Some(2.0), None)]), [(2.0, 0.5)]);
        assert_eq!(of(&[]), [(1.0, 0.1)]);
    }
}
