//! How a model's linear expert is fitted: its ridges, maps of the columns' own, structural ones and their share.

use super::Judge;
use crate::{error::CliError, respond::Left, run::Prepared, say::remark, table};
use foretoken_data::{Ranges, Values};
use foretoken_eval::{Baseline, Corrected, Correction, EvalError, Inputs, Looks, Own, Profile, Ridge, Seen, structural};
use foretoken_model::linear_expert::{CorrectionConfig, LinearConfig, StructuralConfig};
use std::ops::Range;

/// How often the structural maps count where what else a linear expert is counts once, and errs as much.
const STRUCTURAL: f64 = 2.0;
/// With structural maps a linear expert without corrections errs so many times as much on the validation rows at most: else it has none. Corrections mend more
/// of what structural maps err than of what ridges do (LOG.md).
const HARM: f64 = 1.05;
/// Validation rows that say so: a few dozen do not (LOG.md).
const FEWEST_TO_HARM: usize = 96;

/// A model's linear expert, fitted.
pub struct Expert {
    /// The ridge that it is.
    pub ridge: Ridge,
    /// What is added to it, which may be nothing; none where it was not judged.
    pub correction: Option<Correction>,
}

impl Expert {
    /// What is added to it, in words; nothing where that was not judged.
    pub fn told(&self) -> Option<String> {
        let correction = self.correction.as_ref()?;
        if correction.is_empty() {
            return Some("no correction of the linear expert pays: there is none".into());
        }
        let picks = &correction.picks;
        let of = |seen: Seen| picks.iter().filter(|picks| picks.iter().flatten().any(|pick| pick.seen == seen)).count();
        let blended = correction.blend.iter().flat_map(|blend| &blend.shares);
        let blended = blended.filter(|shares| shares.iter().any(|share| *share > 0.0)).count();
        let count = |count: usize| table::count(count as u64, "column");
        Some(format!(
            "the linear expert has corrections: of {} by their own samples, of {} by those of all columns, of {} by an autoregression of all",
            count(of(Seen::Own)),
            count(of(Seen::All)),
            count(blended)
        ))
    }
}

/// A linear expert for the columns themselves: what is said of what is left, corrected by all of them, and what they do in response.
pub struct Whole<'a> {
    pub expert: &'a Expert,
    pub data: &'a Prepared,
}

impl Baseline for Whole<'_> {
    fn lookback(&self) -> usize {
        self.expert.ridge.lookback()
    }

    fn forecast(&self, index: usize, _: &[f64], origins: Range<usize>) -> Vec<f64> {
        let (Expert { ridge: expert, correction }, columns) = (self.expert, self.data.learned());
        let mut said = match correction {
            Some(correction) => Corrected { expert, correction, columns }.forecast(index, &columns[index], origins.clone()),
            None => expert.forecast(index, &columns[index], origins.clone()),
        };
        let Some(Left { responses, .. }) = &self.data.left else { return said };
        let responses = &responses[index];
        for (said, origin) in said.chunks_exact_mut(expert.horizon).zip(origins) {
            // Nothing is known beyond the rows.
            let coming = responses[origin.min(responses.len())..].iter().copied().chain(std::iter::repeat(f64::NAN));
            said.iter_mut().zip(coming).for_each(|(said, response)| *said += response);
        }
        said
    }
}

impl<'a> Judge<'a> {
    /// A model's linear expert, if it has one.
    pub fn expert(&self, linear: Option<&LinearConfig>) -> Result<Option<Expert>, CliError> {
        let Some(options) = linear else { return Ok(None) };
        let (columns, Ranges { train, validation, .. }) = (self.data.learned(), &self.ranges);
        let (series, cuts) = (self.all_series(), self.cuts(options));
        let fit = |_: usize, inputs: Inputs| self.fit(&series, inputs, &cuts, options.folds);
        let own = |shared: &Ridge| Own::fit(columns, train, validation, shared, &cuts);
        let structural = |of: &StructuralConfig| self.structural(of, train);
        // One share for all steps, unless they are told apart.
        let blocks = if options.cuts.is_empty() { vec![self.horizon()] } else { cuts.clone() };
        let share = |ridges: &Ridge, structural: &Ridge| {
            let starts = std::iter::once(0).chain(blocks.iter().copied());
            let steps: Vec<Range<usize>> = starts.zip(&blocks).map(|(start, &end)| start..end).collect();
            let square = |ridge: &Ridge, steps: &Range<usize>| {
                let origins = validation.start..(validation.end + 1).saturating_sub(steps.end).max(validation.start);
                ridge.mean_square(columns, origins, steps)
            };
            let alone: Vec<Option<f64>> = steps.iter().map(|steps| square(ridges, steps)).collect();
            let of_steps = |(steps, ridges): (&Range<usize>, &Option<f64>)| {
                vec![structural_share(*ridges, square(structural, steps)); steps.len()]
            };
            let mut share_h: Vec<f64> = steps.iter().zip(&alone).flat_map(of_steps).collect();
            // What is corrected is judged as it is then, and few rows say nothing of harm.
            if options.correction.is_some() || validation.len() < FEWEST_TO_HARM {
                return share_h;
            }
            let both = ridges.clone().beside(structural.clone(), share_h.clone());
            for (steps, alone) in steps.iter().zip(alone) {
                if square(&both, steps).zip(alone).is_some_and(|(both, alone)| both > HARM * alone) {
                    share_h[steps.clone()].fill(0.0);
                }
            }
            share_h
        };
        let ridge = whole(options, fit, own, structural, share).map_err(|error| self.named(error))?;
        let corrected = options.correction.map(|CorrectionConfig { own, across, autoregression }| {
            Correction::fit(columns, train, validation, &ridge, Looks { own, across, autoregression }, &cuts)
        });
        let correction = match corrected.transpose() {
            Ok(correction) => correction,
            Err(error @ EvalError::TooShort { .. }) => {
                remark!("the linear expert has no corrections: {error}");
                None
            }
            Err(error) => return Err(self.named(error)),
        };
        Ok(Some(Expert { ridge, correction }))
    }

    /// The mean of a linear expert and what it is fitted once more, with the strengths and the share it was picked with, on training and validation rows: what the newest
    /// rows alone say, all of one moment, counts half (Pesaran & Timmermann, Selection of estimation window in the presence of breaks, 2007).
    pub fn expert_again(&self, options: &LinearConfig, expert: &Expert) -> Result<Expert, CliError> {
        let Expert { ridge: expert, correction } = expert;
        let (rows, series) = (self.ranges.train.start..self.ranges.validation.end, self.all_series());
        let (columns, cuts) = (self.data.learned(), &self.cuts(options));
        let picked = |place: usize| &expert.strengths[place * cuts.len()..][..cuts.len()];
        let fit = |place: usize, inputs: Inputs| Ridge::fit_with(&series, &rows, inputs, cuts, picked(place));
        let own = |shared: &Ridge| {
            let strengths = expert.own.as_ref().map_or(&[][..], |own| &own.strengths);
            Own::fit_with(columns, &rows, shared, cuts, strengths)
        };
        let structural = |of: &StructuralConfig| self.structural(of, &rows);
        let again = whole(options, fit, own, structural, |_, _| expert.share_h.clone()).map_err(|error| self.named(error))?;
        let corrected = correction.as_ref().map(|correction| {
            let again = Correction::fit_with(columns, &rows, &again, correction, cuts);
            again.map(|again| again.halfway_to(correction))
        });
        let correction = corrected.transpose().map_err(|error| self.named(error))?;
        Ok(Expert { ridge: again.halfway_to(expert), correction })
    }

    fn structural(&self, of: &StructuralConfig, rows: &Range<usize>) -> Result<Own, EvalError> {
        structural(self.data.learned(), rows, &of.lookbacks, &of.seasons, &self.horizons)
    }

    /// The steps that a linear expert's blocks end at: its own, or the horizons that are scored.
    fn cuts(&self, options: &LinearConfig) -> Vec<usize> {
        if options.cuts.is_empty() { self.horizons.clone() } else { [&options.cuts[..], &[self.horizon()]].concat() }
    }

    /// What the linear expert learns from.
    fn all_series(&self) -> Vec<&'a Values> {
        let further = self.data.also.iter().flat_map(|also| &also.standardised);
        self.data.learned().iter().chain(further).collect()
    }
}

/// The share of structural maps by the mean squares of what else a linear expert is and of them, on validation rows: each counts by the inverse of its square's
/// square. By the inverse of the square itself it would be best if errors were independent (Bates & Granger, The combination of forecasts, 1969); these are
/// alike, so that the better one should have more (LOG.md).
fn structural_share(ridges: Option<f64>, structural: Option<f64>) -> f64 {
    let equal = STRUCTURAL / (STRUCTURAL + 1.0);
    let (Some(ridges), Some(structural)) = (ridges, structural) else { return equal };
    let (ours, others) = (STRUCTURAL * ridges.powi(2), structural.powi(2));
    if ours + others > 0.0 { ours / (ours + others) } else { equal }
}

/// The linear expert, of ridges that `fit` makes of their number and inputs, own maps that `own` makes of the ridge beside them, the last, and structural
/// ones, whose share `share` makes of the expert without them and of them alone.
fn whole(
    linear: &LinearConfig,
    fit: impl Fn(usize, Inputs) -> Result<Ridge, EvalError>,
    own: impl Fn(&Ridge) -> Result<Own, EvalError>,
    structural: impl Fn(&StructuralConfig) -> Result<Own, EvalError>,
    share: impl Fn(&Ridge, &Ridge) -> Vec<f64>,
) -> Result<Ridge, EvalError> {
    let inputs = members(linear);
    let members = inputs.iter().enumerate().map(|(place, &inputs)| fit(place, inputs));
    let members = members.collect::<Result<Vec<Ridge>, EvalError>>()?;
    let mut expert = Ridge::mean(&members);
    if let Some(lookback) = linear.own {
        let own_inputs = Inputs { season: linear.season(), ..Inputs::samples(lookback) };
        // It may be one of the members.
        let shared = match inputs.iter().position(|inputs| *inputs == own_inputs) {
            Some(place) => members[place].clone(),
            None => fit(members.len(), own_inputs)?,
        };
        let own = own(&shared)?;
        let half_h = vec![0.5; shared.horizon];
        expert = expert.beside(Ridge { own: Some(own), ..shared }, half_h);
    }
    if let Some(options) = &linear.structural {
        let maps = structural(options)?;
        let level = Ridge::level(maps.lookback, expert.horizon);
        // What is missing is filled for them as it is for the whole that they are judged for.
        let inputs = Inputs { season: linear.season(), ..level.inputs };
        let maps = Ridge { own: Some(maps), inputs, ..level };
        let share_h = share(&expert, &maps);
        expert = expert.beside(maps, share_h);
    }
    Ok(match linear.reversion {
        Some(time) => expert.reverting(time),
        None => expert,
    })
}

/// What the ridges look at whose mean is a model's linear expert.
fn members(linear: &LinearConfig) -> Vec<Inputs> {
    let profile = linear.profile.map(|profile| Profile { season: profile.season, cycles: profile.cycles });
    let lookbacks = || linear.shorter.iter().copied().chain([linear.lookback]);
    let of = |lookback: usize, profile: Option<Profile>| Inputs { lookback, profile, level: false, season: linear.season() };
    let plain = lookbacks().map(|lookback| of(lookback, None));
    match profile {
        None => plain.collect(),
        // A look-back alone has the profile beside it.
        Some(_) if linear.shorter.is_empty() => vec![of(linear.lookback, profile)],
        Some(_) => plain.chain(lookbacks().map(|lookback| of(lookback, profile))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn structural_maps_count_by_what_they_are_worth() {
        let near = |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        near(structural_share(Some(0.3), Some(0.3)), 2.0 / 3.0);
        near(structural_share(Some(0.6), Some(0.3)), 8.0 / 9.0);
        near(structural_share(Some(0.3), Some(0.6)), 1.0 / 3.0);
        near(structural_share(Some(0.3), Some(0.0)), 1.0);
        near(structural_share(Some(0.0), Some(0.0)), 2.0 / 3.0);
        near(structural_share(None, Some(1.0)), 2.0 / 3.0);
    }
}
