//! Files as they are: gaps, doubled rows and missing values, wide or long, with covariates. What is repaired is counted.

mod first;
mod layout;
mod numeric;
mod series;

pub use layout::{Layout, layout};
pub use numeric::numeric_columns;

pub(crate) use first::First;

use crate::{
    Align, Audit, Covariate, DataError, DateOrder, Every, FindingKind, Format, ReadOptions, Signal, Stamps, Values,
    audit::Ledger,
    compact, dates,
    grid::{self, Grid},
    hold::Holding,
    hours::{self, Hours, Open},
    local,
    number::NUMBER_OR_MISSING,
    outliers::EVERYTHING,
    read::series::{Key, Series},
    stamps::{self, Clock, DAY, Form, STAMP, Style},
    statics,
    table::{self, Field, Header, Table},
    top::Top,
    track::{Track, bounded, changing, check_stamps, groups, regularise},
    values,
};
use std::{borrow::Cow, collections::BTreeMap, path::Path};

/// Values of a signal in memory at most, 2 GiB: long series with little in common would fill any memory with missing values.
const CELLS: u64 = 1 << 28;
const NOT_BEFORE: &str = "a stamp not before the one above (rows are out of order, or a clock was put back: stamps with an offset from UTC tell the hours apart)";
const NOT_AFTER: &str = "a stamp not after the one above, as those before it go back (rows are out of order, or a clock was put back: stamps with an offset from UTC tell the hours apart)";
pub(crate) const KNOWN: &str = "a finite number, TRUE or FALSE, as the covariate is known for the future";

/// Reads a CSV or Parquet file, repairs what can be repaired, and says what it found.
///
/// Rows are put on a regular grid, whose step is the most frequent one (of months, if the stamps are months apart; of
/// hours of the week, `options.hours` or those that rows are in and pass over all others of; the roundest that fits as well as any, where few are on that): a stamp off it
/// moves to the nearest position, or where there is no such grid but rows follow one another by about a step, to that after the row before; of rows with
/// one position the last one on the grid stays, and a missing row is inserted without
/// values, where covariates known for the future repeat their last. Rows at the end that have no target but known covariates are
/// the future; they stay, after [`Signal::observed_len`]. Series of a long file are missing where they have no row.
///
/// In a wide file the stamps are the first column, or, where that numbers the rows or has no stamps, the one of dates behind it. Times of day in a column of a CSV
/// file are joined with the dates in the one before it. Where `options.every` is told, the rows of each of these steps are one first, with the means of their values, or, with `options.hold`, of what lasts.
///
/// A wide file whose stamps never go forward, the newest first, is turned round; the rows of a long one may have any order.
///
/// Stamps that are missing or follow are written in the finest form that any stamp of the file has, fractions with as many digits as all have, or else without zeros behind them. Stamps with an offset count
/// in UTC, or, where they are whole local days apart and no less regular so, by days, weeks, months or hours of local clocks;
/// what is missing or follows is written with the last row's offset then, or in UTC where the offset never changes. Integers are dates
/// if all are, from 1900 to 2100, of 6, 8, 10, 12 or 14 digits (`202401` a month, `20240131` a day, and two digits more each for
/// hours, minutes and seconds), and either more regular as dates or at least seven and as regular.
///
/// The file is read twice, to count its rows and to place their values (where dates have the year last once more, or three times, for their order), a little of it in memory at a time. With `options.memory` the values lie in mapped
/// files where they are more than that; then a column at a time is in memory.
///
/// # Errors
/// An unreadable file, a header or options that do not fit it, ragged rows, text or infinity in a column of numbers, a known
/// covariate that is missing, stamps that do not parse or, in a wide file, go both forward and back, one stamp and different values in
/// more than half of the rows, stamps without a regular step, or more rows in gaps than twice those in the file; no memory for its values, or no room where they are mapped.
pub fn read(path: &Path, options: &ReadOptions) -> Result<(Signal, Audit), DataError> {
    options.check()?;
    let mut ledger = Ledger::default();
    let table = Table::open(path, options.decimal)?;
    let roles = Roles::find(path, &table, options)?;
    let series = Series::count(path, &table, &roles, options)?;
    let width = series.width(&roles);
    let budget = options.memory.map_or(u64::MAX, |memory| memory.0);
    let rows = series.rows();
    let words = rows
        .checked_mul(width)
        .ok_or_else(|| table::fault(path, "values that fit in memory", format!("{rows} rows of {width}")))?;
    // Beside these values there will be those of the signal.
    let bytes = (words as u64).saturating_mul(8);
    let mut room = values::numbers(words, bytes > budget / 2).map_err(|error| match error {
        DataError::Memory { values } => {
            table::fault(path, format!("memory for {values} values, or `memory` that bounds it"), "less")
        }
        error => error,
    })?;
    let mut held = if bytes > budget / 2 { 0 } else { bytes };
    let mut room_of_steps;
    let mut tracks = series.tracks(&mut room, &roles);
    let order = dates::order(path, &table, roles.time, options.dates)?;
    let (style, resolution) = samples(path, &table, &roles, &series, &mut tracks, options, order, &mut ledger)?;
    if order.is_some() {
        in_order(table.header(), &roles, &tracks, style, resolution)?;
    }
    tracks.iter_mut().for_each(|track| track.sort(&mut ledger));
    if options.every.is_none() {
        check_stamps(path, &tracks)?;
    }
    let style = settle(&mut tracks, style, resolution, options);
    let (style, resolution) = match options.every {
        Some(every) => {
            let size = ticks(path, every, (style, resolution))?;
            match options.hold {
                Some(hold) => {
                    let holding = Holding::of(size, hold, resolution, &tracks, options);
                    room_of_steps = holding.room(path, &tracks, budget / 2 - held)?;
                    held += if room_of_steps.is_mapped() { 0 } else { 8 * room_of_steps.len() as u64 };
                    tracks = holding.fill(&tracks, &mut room_of_steps, &mut ledger);
                }
                None => tracks.iter_mut().for_each(|track| track.average(size, &options.missing, &mut ledger)),
            }
            coarsen(&mut tracks, size, (style, resolution))
        }
        None => (style, resolution),
    };
    let civil = style.form != Form::Integer;
    let open = open(path, table.header(), &roles, &mut tracks, (style, resolution), options, &mut ledger)?;
    let grids = regularise(path, &mut tracks, options, civil, resolution, open, &mut ledger)?;
    let changes = grids.first().filter(|_| options.every.is_none());
    let changes = changes.and_then(|grid| changing(&tracks, grid.step, resolution));
    let wide: Vec<String> = match roles.ids.is_empty() {
        true => roles.targets.iter().map(|&at| table.header().names[at].clone()).collect(),
        false => Vec::new(),
    };
    for track in &mut tracks {
        let names: Vec<String> = track.name.iter().chain(&wide).chain(&options.past).cloned().collect();
        track.clean(&names, options, &mut ledger);
    }
    let (names, ids) = if roles.ids.is_empty() { (wide.clone(), wide) } else { (series.names, series.ids) };
    let mut signal = assemble(path, &tracks, &grids, names, (style, resolution), options, budget - held, &mut ledger)?;
    if let Some(path) = &options.statics {
        signal.statics = statics::read(path, options.decimal, &options.id, &ids)?;
    }
    let step = grids.first().map_or("-".into(), |grid| grid::words(grid.step, resolution));
    let seconds = grids.first().filter(|_| civil).map(|grid| grid::seconds(grid.step, resolution));
    // Series without a common clock have phases of their own.
    let own = |open: Open| if options.align == Align::End { open.hours } else { open.own_hours() };
    let hours = open.map_or(Hours::ALWAYS, own);
    let audit = Audit {
        rows: signal.len(),
        series: signal.names.len(),
        others: series.others.into_iter().collect(),
        step,
        seconds,
        hours,
        dates: order,
        decimal: table.decimal()?,
        changes,
        findings: ledger.close(),
    };
    tracing::info!(path = %path.display(), rows = audit.rows, series = audit.series, step = audit.step, "signal read");
    Ok((signal, audit))
}

/// What the columns of a file are.
struct Roles {
    /// Of a long file.
    ids: Vec<usize>,
    time: usize,
    /// The first column of a wide file that may be a series.
    from: usize,
    targets: Vec<usize>,
    /// Covariates of the past.
    past: Vec<usize>,
    known: Vec<usize>,
}

impl Roles {
    fn find(path: &Path, table: &Table, options: &ReadOptions) -> Result<Self, DataError> {
        let header = table.header();
        header.check_values(path)?;
        let wide = options.format == Format::Wide;
        let first = if wide { First::of(table)? } else { First::Stamps };
        let (time, from) = first.time_and_from();
        let place = |name: &String| match header.place(path, name, if wide { from } else { 0 })? {
            at if wide && at == time => Err(table::fault(path, format!("`{name}` to be a series"), "the column of stamps")),
            at => Ok(at),
        };
        let places = |names: &[String]| names.iter().map(place).collect::<Result<Vec<_>, _>>();
        let (past, known) = (places(&options.past)?, places(&options.future)?);
        let (ids, time, targets) = match (&options.columns, wide) {
            (_, false) => (places(&options.id.0)?, place(&options.time)?, places(&options.target.0)?),
            (Some(names), true) => (Vec::new(), time, places(names)?),
            (None, true) => {
                let others = (from..header.names.len()).filter(|at| *at != time && !past.contains(at) && !known.contains(at));
                (Vec::new(), time, others.collect())
            }
        };
        match targets.is_empty() {
            true => Err(table::fault(path, "at least one target column", "none")),
            false => Ok(Self { ids, time, from, targets, past, known }),
        }
    }

    /// All columns that are read.
    fn columns(&self) -> Vec<usize> {
        [&self.ids[..], &[self.time], &self.targets, &self.past, &self.known].concat()
    }
}

/// Fills the tracks in the order of the file, and gives the style of the stamps and the resolution of their ticks.
fn samples(
    path: &Path,
    table: &Table,
    roles: &Roles,
    series: &Series,
    tracks: &mut [Track<'_>],
    options: &ReadOptions,
    order: Option<DateOrder>,
    ledger: &mut Ledger,
) -> Result<(Style, u8), DataError> {
    let header = table.header();
    let mut rows = table.rows(&roles.columns())?;
    let changed = || table::fault(path, "a file that stays as it is while it is read", "other rows than before");
    let (mut style, mut resolution): (Option<Style>, u8) = (None, 0);
    let (mut at_midnight, mut direction) = (true, None);
    let (mut key, mut count, mut covariates) = (Key::default(), 0, Vec::new());
    // How numbers are written, by column: how often, and the first line.
    let mut signs: BTreeMap<(FindingKind, usize), (usize, u64)> = BTreeMap::new();
    while let Some(line) = rows.advance()? {
        let places = key.places(&*rows, roles, series).ok_or_else(changed)?;
        if places.iter().all(Option::is_none) {
            continue;
        }
        if places.iter().flatten().any(|&place| tracks[place].is_full()) {
            return Err(changed());
        }
        count += 1;
        let field = rows.field(roles.time);
        let turned = match (order, field) {
            (Some(order), Field::Text(text)) => Some(order.year_first(text)),
            _ => None,
        };
        let stamp = turned.as_deref().map_or(field, Field::Text);
        match order.filter(|_| matches!(turned, Some(Cow::Owned(_)))) {
            Some(DateOrder::DayFirst) => ledger.add(FindingKind::DayFirst, None, 1, line),
            Some(DateOrder::MonthFirst) => ledger.add(FindingKind::MonthFirst, None, 1, line),
            Some(DateOrder::YearFirst) => ledger.add(FindingKind::YearFirst, None, 1, line),
            None => {}
        }
        let time = stamp
            .time()
            .filter(|time| style.is_none_or(|style| style.form.clock() == time.form.clock()))
            .filter(|time| time.form == Form::Integer || stamps::civil(time.ticks).is_some());
        // Ticks are as fine as the finest stamp.
        let fraction = time.map_or(0, |time| stamps::shortest(time.nanoseconds)).saturating_sub(resolution);
        resolution += fraction;
        let fits = fraction == 0 || tracks.iter_mut().all(|track| track.refine(10i64.pow(fraction.into())).is_some());
        let (time, ticks) = time
            .and_then(|time| Some((time, time.at(resolution)?)))
            .filter(|_| fits)
            .ok_or_else(|| header.field(line, roles.time, STAMP, field))?;
        // The style of the file says all that any stamp says.
        let finest = style.map_or(Style::of(&time), |style| style.and(&time));
        if let Some(coarser) = style.replace(finest).filter(|style| *style != finest) {
            tracks.iter_mut().for_each(|track| track.keep_texts(resolution, coarser, |ticks| finest.write(ticks, resolution)));
        }
        if let ([Some(place)], true) = (places, roles.ids.is_empty())
            && let Some(row) = tracks[*place].rows.checked_sub(1)
        {
            // The first two stamps that differ say which way the file goes.
            let way = ticks.cmp(&tracks[*place].ticks[row]);
            if way.is_ne() && *direction.get_or_insert(way) != way {
                return Err(header.field(line, roles.time, if way.is_lt() { NOT_BEFORE } else { NOT_AFTER }, stamp));
            }
        }
        let mut number = |at: usize, is_known: bool| {
            let field = rows.field(at).meaning(&options.missing);
            let mut note = |kind| signs.entry((kind, at)).or_insert((0, line)).0 += 1;
            if let Field::Comma(_) = field {
                note(FindingKind::DecimalComma);
            }
            if is_known {
                let value = field.finite_or_truth().filter(|value| !options.missing.contains(value));
                return value.ok_or_else(|| header.field(line, at, KNOWN, field));
            }
            if let Some(value) = field.finite_or_missing() {
                return Ok(value);
            }
            let grouped = table.tells_points().and_then(|is_told| field.grouped(is_told));
            grouped.inspect(|_| note(FindingKind::Thousands)).ok_or_else(|| header.field(line, at, NUMBER_OR_MISSING, field))
        };
        for (own, place) in series.targets(roles).zip(places) {
            let Some(place) = *place else { continue };
            let track = &mut tracks[place];
            for (&at, column) in own.iter().zip(&mut track.measured) {
                column[track.rows] = number(at, false)?;
            }
        }
        covariates.clear();
        for (columns, is_known) in [(&roles.past, false), (&roles.known, true)] {
            for &at in columns {
                covariates.push(number(at, is_known)?);
            }
        }
        at_midnight &= matches!(stamp, Field::Time(_)) && time.ticks % DAY == 0 && time.nanoseconds == 0;
        for &place in places.iter().flatten() {
            let track = &mut tracks[place];
            let (targets, row) = (track.targets, track.rows);
            let columns = track.measured[targets..].iter_mut().chain(&mut track.known);
            columns.zip(&covariates).for_each(|(column, value)| column[row] = *value);
            if !finest.is_of(&time) {
                track.odd.insert(line as i64, stamp.text().into());
            }
            track.push(line, ticks);
        }
    }
    if roles.ids.is_empty() && roles.time > 0 {
        let kind = if roles.from == 0 { FindingKind::StampsBehind } else { FindingKind::Numbered };
        let name = Some(header.names[if roles.from == 0 { roles.time } else { 0 }].as_str()).filter(|name| !name.is_empty());
        ledger.add(kind, name, count, 2);
    }
    if let Some(Top { above, units, .. }) = table.top() {
        for (kind, lines) in [(FindingKind::Preamble, &above[..]), (FindingKind::Units, units.as_slice())] {
            if let Some(first) = lines.first() {
                ledger.add(kind, None, lines.len(), *first);
            }
        }
    }
    if let Some(times) = table.times() {
        ledger.add(FindingKind::Joined, Some(times), count, 2);
    }
    if let Some((count, line)) = rows.blank() {
        ledger.add(FindingKind::Blank, None, count, line);
    }
    for ((kind, at), (count, line)) in signs {
        ledger.add(kind, Some(&header.names[at]), count, line);
    }
    if let Some((count, line)) = rows.foreign() {
        ledger.add(FindingKind::Latin1, None, count, line);
    }
    match style {
        Some(_) if tracks.iter().any(|track| !track.is_full()) => Err(changed()),
        // Timestamps of days are shown as days.
        Some(Style { form: Form::Spaced, .. }) if at_midnight => Ok((Style::whole(Form::Date), 0)),
        Some(style) => Ok((style, resolution)),
        None => Err(changed()),
    }
}

/// Takes integers for dates where they are, and times of local clocks where their days or hours are regular; the style that stamps are
/// written in then. Tracks are sorted.
fn settle(tracks: &mut [Track<'_>], style: Style, resolution: u8, options: &ReadOptions) -> Style {
    let (align, told) = (options.align, options.hours);
    let plain = style.digits == 0 && tracks.iter().all(|track| track.odd.is_empty());
    let settled = match style.form.clock() {
        Clock::Integer if plain => compact::dates(&groups(tracks, align), told),
        Clock::Utc if resolution == 0 => local::tracks(tracks, style.form, align, told),
        _ => None,
    };
    let Some((ticks, form)) = settled else { return style };
    for (track, ticks) in tracks.iter_mut().zip(ticks) {
        if form.clock() == Clock::Utc {
            track.keep_texts(resolution, style, |_| None);
        }
        track.ticks[..ticks.len()].copy_from_slice(&ticks);
    }
    Style { form, ..style }
}

/// Ticks of a step.
///
/// # Errors
/// A step of time where stamps are numbers, one of numbers where they are times, or one that is no whole number of ticks.
fn ticks(path: &Path, every: Every, (style, resolution): (Style, u8)) -> Result<i64, DataError> {
    every.ticks(resolution).filter(|_| every.is_of(style.form.clock())).ok_or_else(|| {
        let kind = if style.form == Form::Integer { "numbers" } else { "times" };
        let expected = format!("`every` as a step of stamps that are {kind}, no finer than they are written");
        table::fault(path, expected, format!("`{every}`"))
    })
}

/// How the stamps of steps of so many ticks are written: whole ones have no fractions.
fn coarsen(tracks: &mut [Track<'_>], size: i64, (style, resolution): (Style, u8)) -> (Style, u8) {
    let parts = 10i64.pow(resolution.into());
    if resolution == 0 || size % parts != 0 {
        return (style, resolution);
    }
    tracks.iter_mut().for_each(|track| track.coarsen(parts));
    (Style { digits: 0, trimmed: false, ..style }, 0)
}

/// Whether the dates of each series go one way. With the year last those that do not may have day and month exchanged.
fn in_order(header: &Header, roles: &Roles, tracks: &[Track<'_>], style: Style, resolution: u8) -> Result<(), DataError> {
    for track in tracks {
        let ticks = &track.ticks[..track.rows];
        let Some(row) =
            (1..ticks.len()).find(|&row| ticks[row] < ticks[row - 1]).filter(|_| !ticks.is_sorted_by(|one, next| one >= next))
        else {
            continue;
        };
        let stamp = style.write(ticks[row], resolution).unwrap_or_default();
        let expected = "a date not before the one above in its series: with the year last, day and month may be exchanged";
        return Err(header.field(track.line(row), roles.time, expected, Field::Text(&stamp)));
    }
    Ok(())
}

/// Hours that more than one in so many rows is outside of are told, and those of another clock.
const MOST_OUTSIDE: usize = 10;

/// The hours that rows are of, where they close, without the rows outside of them. Tracks are sorted.
///
/// # Errors
/// Hours that are told: of stamps that are no whole seconds of dates, by no step that a day has whole ones of, or not those of most rows; a series that has no row
/// within.
fn open(
    path: &Path,
    header: &Header,
    roles: &Roles,
    tracks: &mut [Track<'_>],
    (style, resolution): (Style, u8),
    options: &ReadOptions,
    ledger: &mut Ledger,
) -> Result<Option<Open>, DataError> {
    let told = options.hours.filter(Hours::closes);
    let is_dated = style.form != Form::Integer && resolution == 0;
    let elsewhere = style.form.clock() == Clock::Utc && !style.form.is_local();
    let mut open = if is_dated { hours::open(&groups(tracks, options.align), options.hours) } else { None };
    // Hours are those of the stamps' own clock.
    open = open.filter(|_| !elsewhere || !local::has_offsets(tracks, style.form));
    open = open.filter(|open| options.every.is_none_or(|every| every.ticks(0) == Some(open.step)));
    let Some(open) = open else {
        let differ = tracks.iter().any(|track| track.ticks[..track.rows].windows(2).any(|pair| pair[0] < pair[1]));
        return match told.filter(|_| differ || !is_dated) {
            Some(hours) => Err(table::fault(
                path,
                format!(
                    "rows within {hours} (`hours`): dates and times of whole seconds by one clock, a step apart that a day has whole ones of"
                ),
                format!(
                    "{} of another kind",
                    tracks.first().and_then(|track| style.write(track.ticks[0], resolution)).unwrap_or_default()
                ),
            )),
            None => Ok(None),
        };
    };
    // Without a common clock each series has its own phase.
    let own = |track: &Track<'_>| if options.align == Align::End { open.of(&[&track.ticks[..track.rows]]) } else { open };
    let rows = tracks.iter().map(|track| track.rows).sum::<usize>();
    let outside = tracks.iter().map(|track| {
        let open = own(track);
        (0..track.rows).filter(|&row| !open.place(track.ticks[row]).1).map(|row| (track.line(row), track.ticks[row])).collect()
    });
    let outside: Vec<Vec<(u64, i64)>> = outside.collect();
    let count = outside.iter().map(Vec::len).sum::<usize>();
    if let Some((line, ticks)) = outside.iter().flatten().min().filter(|_| MOST_OUTSIDE * count > rows) {
        let stamp = style.write(*ticks, resolution).unwrap_or_default();
        let expected = format!("a stamp within {} (`hours`), as most rows have ({count} of {rows} have not)", open.hours);
        return Err(header.field(*line, roles.time, expected, Field::Text(&stamp)));
    }
    if let Some((track, _)) = tracks.iter().zip(&outside).find(|(track, outside)| outside.len() == track.rows) {
        return match told {
            Some(hours) => {
                let name = track.name.as_deref().unwrap_or_default();
                Err(table::fault(path, format!("rows of series `{name}` within {hours} (`hours`)"), "none"))
            }
            None => Ok(None),
        };
    }
    for track in tracks.iter_mut() {
        track.leave_out(own(track), ledger);
    }
    Ok(Some(open))
}

/// The signal over all rows that any track has; in memory, if it takes no more than `budget`.
fn assemble(
    path: &Path,
    tracks: &[Track<'_>],
    grids: &[Grid],
    names: Vec<String>,
    (style, resolution): (Style, u8),
    options: &ReadOptions,
    budget: u64,
    ledger: &mut Ledger,
) -> Result<Signal, DataError> {
    // The position that all tracks share, if they share only their end.
    let origin = |track: &Track<'_>| match options.align {
        Align::Stamp => 0,
        Align::End => track.ticks[track.observed(&[]).saturating_sub(1)],
    };
    let origins: Vec<i64> = tracks.iter().map(origin).collect();
    let mut spans: Vec<(i64, i64, u64)> = Vec::with_capacity(tracks.len());
    for (track, origin) in tracks.iter().zip(&origins) {
        spans.push((track.ticks[0] - origin, track.ticks[track.rows - 1] - origin, track.line(0)));
    }
    spans.sort_unstable();
    let start = spans.first().map_or(0, |span| span.0);
    let (mut reach, mut holes) = (start - 1, 0);
    for &(first, last, line) in &spans {
        if first > reach + 1 {
            holes += first - reach - 1;
            ledger.add(FindingKind::Gap, None, 1, line);
            ledger.add(FindingKind::Inserted, None, (first - reach - 1) as usize, line);
        }
        reach = reach.max(last);
    }
    bounded(path, &grid::words(grids[0].step, resolution), reach + 1 - start - holes, holes)?;
    let length = (reach + 1 - start) as usize;
    let (targets, past, future) = (tracks[0].targets, options.past.len(), options.future.len());
    let (width, count) = (targets + past + future, tracks.len());
    let cells = (length as u64).saturating_mul((count * width) as u64);
    // Targets are there once more, standardised.
    let standardised = (length as u64).saturating_mul((count * targets) as u64);
    let mapped = cells.saturating_add(standardised).saturating_mul(8) > budget;
    if cells > CELLS && !mapped {
        let found = format!("{length} rows of {}, and no `memory` for values beyond them", count * width);
        return Err(table::fault(path, format!("at most {CELLS} values in memory"), found));
    }
    let fill = |column: usize, values: &mut [f64]| {
        let (place, at) = (column / width, column % width);
        let (track, shift) = (&tracks[place], origins[place] + start);
        let index = |row: usize| (track.ticks[row] - shift) as usize;
        values.fill(f64::NAN);
        match at.checked_sub(targets + past) {
            None => (0..track.rows).for_each(|row| values[index(row)] = track.measured[at][row]),
            Some(at) => {
                for row in 0..track.rows {
                    let until = if row + 1 < track.rows { index(row + 1) } else { index(row) + 1 };
                    values[index(row)..until].fill(track.known[at][row]);
                }
            }
        }
    };
    let masked = |(track, origin): (&Track<'_>, &i64)| match track.masked {
        0 => 0,
        rows => (track.ticks[rows - 1] - origin - start) as usize + 1,
    };
    let masked_len = tracks.iter().zip(&origins).map(masked).max().unwrap_or(0);
    let all = Values::table(count * width, length, mapped, fill)?;
    let of = |at: usize| all.iter().skip(at).step_by(width).cloned().collect::<Vec<Values>>();
    let limits = |at: usize| {
        let of_tracks = tracks.iter().filter_map(|track| track.limits.get(at)).copied();
        of_tracks.reduce(|one, other| (one.0.min(other.0), one.1.max(other.1))).unwrap_or(EVERYTHING)
    };
    let covariate = |(at, name): (usize, &String), known| {
        let limits = if known { EVERYTHING } else { limits(targets + at) };
        Covariate { name: name.clone(), known, values: of(targets + at), limits }
    };
    let covariates = options.past.iter().enumerate().map(|named| covariate(named, false));
    let covariates = covariates.chain(options.future.iter().enumerate().map(|(at, name)| covariate((past + at, name), true)));
    let stamps = match options.align {
        Align::End => Stamps::counted(length),
        Align::Stamp => Stamps::regular(grids[0].clone(), start, length, (style, resolution), odd(tracks, start, length))
            .ok_or_else(|| table::fault(path, "stamps before the year 10000", "a gap beyond it"))?,
    };
    Ok(Signal {
        stamps,
        names,
        columns: all.chunks(width).flat_map(|own| own[..targets].to_vec()).collect(),
        covariates: covariates.collect(),
        statics: Vec::new(),
        masked_len,
        limits: tracks.iter().flat_map(|track| track.limits.iter().take(targets).copied()).collect(),
    })
}

/// The stamps on the grid that are written in a form of their own, by row; the first track with a row has it.
fn odd(tracks: &[Track<'_>], start: i64, length: usize) -> BTreeMap<usize, Box<str>> {
    let mut odd = BTreeMap::new();
    if tracks.iter().all(|track| track.odd.is_empty()) {
        return odd;
    }
    let mut given = vec![false; length];
    for track in tracks {
        for row in (0..track.rows).filter(|&row| track.met(row)) {
            let at = (track.ticks[row] - start) as usize;
            if let (false, Some(text)) = (std::mem::replace(&mut given[at], true), track.odd.get(&(track.line(row) as i64))) {
                odd.insert(at, text.clone());
            }
        }
    }
    odd
}

#[cfg(test)]
mod tests;
