//! Several horizons scored from one long forecast.

use crate::{
    board::{ScoreBoard, Unit},
    metrics::Scores,
};
use std::ops::Range;

/// One board for each of several horizons: each scores every window that its own horizon fits, as a forecaster of that horizon would be.
#[derive(Clone, Debug)]
pub struct HorizonBoards {
    end: usize,
    /// By horizon.
    boards: Vec<(usize, ScoreBoard)>,
}

impl HorizonBoards {
    /// Empty boards for the horizons `cuts` and quantiles at `levels`, for windows whose forecast rows lie in `rows`; `scales` is one MASE
    /// unit a column.
    pub fn new(rows: &Range<usize>, cuts: &[usize], levels: &[f64], scales: &[f64]) -> Self {
        Self { end: rows.end, boards: cuts.iter().map(|&cut| (cut, ScoreBoard::new(cut, levels, scales))).collect() }
    }

    /// The same for columns that were standardised by these units, one a column.
    pub fn in_units(self, units: &[Unit]) -> Self {
        Self { boards: self.boards.into_iter().map(|(cut, board)| (cut, board.in_units(units))).collect(), ..self }
    }

    /// The quantile levels.
    pub fn levels(&self) -> &[f64] {
        self.boards.first().map_or(&[], |(_, board)| board.levels())
    }

    /// The longest horizon.
    pub fn longest(&self) -> usize {
        self.boards.iter().map(|(cut, _)| *cut).max().unwrap_or(0)
    }

    /// Steps of the longest horizon that a window at `origin` is scored at: what `add` needs, at least.
    pub fn steps(&self, origin: usize) -> usize {
        self.boards.iter().map(|(cut, _)| *cut).filter(|cut| origin + cut <= self.end).max().unwrap_or(0)
    }

    /// Adds one window to the boards of all horizons that fit: `truth` and `point` `[steps]`, `quantiles` `[steps][levels]`, where the
    /// steps may be more than `steps(origin)`.
    pub fn add(&mut self, origin: usize, column: usize, truth: &[f64], point: &[f64], quantiles: &[f64]) {
        for (cut, board) in self.boards.iter_mut().filter(|(cut, _)| origin + cut <= self.end) {
            let quantiles = &quantiles[..*cut * board.levels().len()];
            board.add(column, &truth[..*cut], point[..*cut].iter().copied(), quantiles);
        }
    }

    /// Adds the sums of other boards of the same horizons.
    pub fn merge(&mut self, other: &Self) {
        for ((cut, own), (others, other)) in self.boards.iter_mut().zip(&other.boards) {
            assert_eq!(cut, others, "boards of the same horizons");
            own.merge(other);
        }
    }

    /// The scores so far, in the order of the cuts.
    pub fn scores(&self) -> Vec<Scores> {
        self.boards.iter().map(|(_, board)| board.scores()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Origins;

    #[test]
    fn each_board_is_that_of_a_forecaster_of_its_horizon() {
        let (rows, cuts, levels, scales) = (20..60, [3, 7, 15], [0.025, 0.5, 0.975], [0.7, 1.3]);
        let value = |seed: usize| ((seed * 7919 % 101) as f64 - 50.0) / 20.0;
        let truth = |column: usize, row: usize| if (row + column).is_multiple_of(9) { f64::NAN } else { value(row * 3 + column) };
        let point =
            |origin: usize, step: usize| if (origin + step).is_multiple_of(31) { f64::NAN } else { value(origin * 5 + step) };
        let window = |origin: usize, column: usize, steps: usize| {
            let points: Vec<f64> = (0..steps).map(|step| point(origin, step)).collect();
            let quantiles: Vec<f64> = points.iter().flat_map(|point| [point - 1.0, *point, point + 1.5]).collect();
            let truths: Vec<f64> = (0..steps).map(|step| truth(column, origin + step)).collect();
            (truths, points, quantiles)
        };
        let mut boards = HorizonBoards::new(&rows, &cuts, &levels, &scales);
        let mut separate = cuts.map(|cut| ScoreBoard::new(cut, &levels, &scales));
        for column in 0..2 {
            for origin in Origins::of(&rows, 3).unwrap().iter() {
                let (truth, point, quantiles) = window(origin, column, 15);
                boards.add(origin, column, &truth[..boards.steps(origin)], &point, &quantiles);
            }
            for (board, cut) in separate.iter_mut().zip(cuts) {
                for origin in Origins::of(&rows, cut).unwrap().iter() {
                    let (truth, point, quantiles) = window(origin, column, cut);
                    board.add(column, &truth, point.into_iter(), &quantiles);
                }
            }
        }
        let expected = separate.map(|board| board.scores());
        assert_eq!(boards.scores(), expected);
        assert_eq!(expected.map(|scores| scores.windows), [76, 68, 52]);
        let mut twice = boards.clone();
        twice.merge(&boards);
        assert_eq!(twice.scores()[2].windows, 104);
        assert_eq!((boards.steps(45), boards.steps(46), boards.steps(58)), (15, 7, 0));
    }
}
