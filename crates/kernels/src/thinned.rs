//! Which of many places are taken where one of so many will do: one of every cell of `stride` places, drawn by SplitMix64 (Steele et al. 2014), so that
//! they fall in step with no season.

use std::ops::Range;

/// Which of the `stride` places of a cell is taken; of another `turn` another.
#[must_use]
pub fn place_of(cell: usize, stride: usize, turn: usize) -> usize {
    let state = (cell as u64).wrapping_add((turn as u64).wrapping_mul(0xd1b5_4a32_d192_ed03)).wrapping_add(1);
    let z = state.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((u128::from(z ^ (z >> 31)) * stride as u128) >> 64) as usize
}

/// Whether a place is taken, cells counted from place 0. `stride` is at least 1.
#[must_use]
pub fn is_taken(place: usize, stride: usize, turn: usize) -> bool {
    place % stride == place_of(place / stride, stride, turn)
}

/// The places of a range that are taken, ascending: the same whatever range they lie in. `stride` is at least 1.
pub fn taken(range: Range<usize>, stride: usize, turn: usize) -> impl Iterator<Item = usize> + Clone {
    let cells = range.start / stride..range.end.div_ceil(stride);
    let place = move |cell| cell * stride + place_of(cell, stride, turn);
    cells.map(place).filter(move |place| range.contains(place))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_every_cell_is_taken_whatever_the_range() {
        for stride in [1, 2, 3, 24, 1000] {
            for turn in [0, 1, 7] {
                let all: Vec<usize> = taken(0..10 * stride, stride, turn).collect();
                assert!(all.iter().enumerate().all(|(cell, place)| place / stride == cell) && all.len() == 10, "{all:?}");
                assert!((0..10 * stride).filter(|&place| is_taken(place, stride, turn)).eq(all.iter().copied()));
                let (from, to) = (stride + stride / 2, 7 * stride + 1);
                assert!(taken(from..to, stride, turn).eq(all.iter().copied().filter(|place| (from..to).contains(place))));
            }
        }
        assert_eq!(taken(5..5, 3, 0).count(), 0);
    }

    #[test]
    fn all_phases_of_any_season_have_their_turn() {
        for season in [2, 5, 7, 12, 24, 52, 96, 168, 365] {
            for stride in [2, 3, 5, 7, 12, 24, 26, 73, 168, 365] {
                let cells = 100 * season;
                let mut counts = vec![0; season];
                taken(0..cells * stride, stride, 0).for_each(|place| counts[place % season] += 1);
                // A hundred each in the mean; of five thousand draws of a normal deviate none is five deviations off.
                assert!(counts.iter().all(|count| (50..=150).contains(count)), "{season} {stride}: {counts:?}");
            }
        }
    }
}
