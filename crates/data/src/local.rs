//! Days of local clocks: stamps with an offset from UTC that are whole local days apart, or in hours of the local week. Where the offset changes in spring and
//! autumn a grid in UTC would have half of them an hour off it, or find no months in them; where it does not, a local Monday may be a Sunday of UTC.

use crate::{
    Align, Hours, grid, hours,
    stamps::{self, DAY, Form, Time},
    track::{Track, groups},
};
use jiff::civil::DateTime;

/// Sequences of ticks, and the form that they go on in.
type Settled<T> = Option<(T, Form)>;

/// A local time and its offset from UTC.
pub(crate) fn write(time: DateTime, offset: i32, spaced: bool) -> String {
    let civil = time.strftime(if spaced { "%Y-%m-%d %H:%M:%S" } else { "%Y-%m-%dT%H:%M:%S" });
    let (sign, ahead) = (if offset < 0 { '-' } else { '+' }, offset.unsigned_abs());
    let seconds = if ahead.is_multiple_of(60) { String::new() } else { format!(":{:02}", ahead % 60) };
    format!("{civil}{sign}{:02}:{:02}{seconds}", ahead / 3600, ahead / 60 % 60)
}

/// The local ticks of times in order, `utc` those in UTC, where they are days and UTC's are not.
pub(crate) fn days(times: &[Time], utc: &[i64], told: Option<Hours>) -> Settled<Vec<i64>> {
    let last = times.last()?;
    let varies = times.iter().any(|time| time.offset != last.offset);
    if !varies && last.offset == 0 {
        return None;
    }
    let local: Vec<i64> = times.iter().map(|time| time.ticks.saturating_add(time.offset.into())).collect();
    are_local(&[vec![&local]], &[vec![utc]], told).then(|| (local, going_on(last, varies)))
}

/// The form that days go on in whose last is this one: by the clock where its offset changes, else in UTC.
fn going_on(last: &Time, varies: bool) -> Form {
    let (offset, spaced) = (last.offset, last.form == Form::SpacedUtc);
    if varies { Form::Local { offset, spaced } } else { Form::LocalUtc { offset, spaced } }
}

/// The local ticks of tracks in UTC, which are sorted, where they are days and UTC's are not.
pub(crate) fn tracks(tracks: &[Track<'_>], form: Form, align: Align, told: Option<Hours>) -> Settled<Vec<Vec<i64>>> {
    let (mut all, mut last): (Vec<Vec<i64>>, Option<(i64, Time)>) = (Vec::with_capacity(tracks.len()), None);
    let (utc, mut varies) = (groups(tracks, align), false);
    let may_close = told.as_ref().is_some_and(Hours::closes) || (told.is_none() && hours::has_nights(&utc));
    for track in tracks {
        let mut local = Vec::with_capacity(track.rows);
        for row in 0..track.rows {
            let time = time(track, row, form);
            let ticks = time.ticks + i64::from(time.offset);
            if !may_close && local.first().is_some_and(|first: &i64| (ticks - first) % DAY != 0) {
                return None;
            }
            varies |= last.is_some_and(|(_, last)| last.offset != time.offset);
            if last.is_none_or(|(latest, _)| ticks >= latest) {
                last = Some((ticks, time));
            }
            local.push(ticks);
        }
        all.push(local);
    }
    let (_, last) = last.filter(|(_, last)| varies || last.offset != 0)?;
    let mut rest = all.iter().map(Vec::as_slice);
    let local: Vec<Vec<&[i64]>> = utc.iter().map(|group| rest.by_ref().take(group.len()).collect()).collect();
    are_local(&local, &utc, told).then(|| (all, going_on(&last, varies)))
}

/// Whether stamps have an offset from UTC.
pub(crate) fn has_offsets(tracks: &[Track<'_>], form: Form) -> bool {
    tracks.iter().any(|track| (0..track.rows).any(|row| time(track, row, form).offset != 0))
}

/// Whether sequences that share a clock have one local time at every time.
fn is_one_clock(local: &[Vec<&[i64]>], utc: &[Vec<&[i64]>]) -> bool {
    local.iter().zip(utc).filter(|(local, _)| local.len() > 1).all(|(local, utc)| {
        let mut both: Vec<(i64, i64)> = utc.concat().into_iter().zip(local.concat()).collect();
        both.sort_unstable();
        both.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].1 == pair[1].1)
    })
}

/// The time of a row; texts with an offset were kept.
fn time(track: &Track<'_>, row: usize, form: Form) -> Time {
    let text = track.odd.get(&(track.line(row) as i64));
    text.and_then(|text| stamps::parse(text)).unwrap_or(Time::plain(track.ticks[row], form))
}

/// Whether local times are in order, each sequence at its time of the day or all in hours of the week, and fit on their grid no worse than those in UTC on theirs.
fn are_local(local: &[Vec<&[i64]>], utc: &[Vec<&[i64]>], told: Option<Hours>) -> bool {
    let pairs = || local.iter().flatten().zip(utc.iter().flatten()).flat_map(|(local, utc)| local.windows(2).zip(utc.windows(2)));
    // Days are alike wherever they begin, hours are not.
    let has_hours = is_one_clock(local, utc) && hours::open(local, told).is_some();
    // An hour that a clock has twice is no day.
    let whole = |local: &[i64], utc: &[i64]| match local[1] - local[0] {
        0 => utc[0] == utc[1],
        between => between > 0 && (has_hours || between % DAY == 0),
    };
    pairs().all(|(local, utc)| whole(local, utc))
        && pairs().any(|(local, _)| local[0] < local[1])
        && grid::misfits(local, true, told) <= grid::misfits(utc, true, told)
}
