//! Files as they are: gaps, doubled rows and missing values, wide or long, with covariates. What is repaired is counted.

use crate::{
    Align, Audit, Covariate, DataError, FindingKind, Format, ReadOptions, Signal,
    audit::Ledger,
    grid::{self, Grid},
    number::{self, NUMBER_OR_MISSING},
    stamps::{self, Form},
    statics,
    table::{self, Header, Line},
    track::{Row, Track, bounded, regularise},
};
use std::{collections::HashMap, path::Path};

/// Integer stamps stay below this, so that differences of them are integers, too.
const LARGEST: u64 = 1 << 61;
/// Values of a signal at most, 2 GiB: long series with little in common would fill any memory with missing values.
const CELLS: u64 = 1 << 28;
const STAMP: &str = "a date, a date and time to the second, or an integer of at most 61 bits, in the form of the first";
const KNOWN: &str = "a finite number, TRUE or FALSE, as the covariate is known for the future";

/// Reads a CSV file, repairs what can be repaired, and says what it found.
///
/// Rows are put on a regular grid, whose step is the most frequent one (of months, if the stamps are months apart): a stamp off it
/// moves to the nearest position, of rows with one position the last one on the grid stays, and a missing row is inserted without
/// values, where covariates known for the future repeat their last. Rows at the end that have no target but known covariates are
/// the future; they stay, after [`Signal::observed_len`]. Series of a long file are missing where they have no row.
///
/// # Errors
/// An unreadable file, a header or options that do not fit it, ragged rows, text or infinity in a column of numbers, a known
/// covariate that is missing, stamps that do not parse or, in a wide file, go backwards, stamps without a regular step, or more
/// rows in gaps than twice those in the file.
pub fn read(path: &Path, options: &ReadOptions) -> Result<(Signal, Audit), DataError> {
    options.check()?;
    let mut ledger = Ledger::default();
    let bytes = std::fs::read(path).map_err(|source| DataError::Io { path: path.into(), source })?;
    let text = decode(&bytes, &mut ledger);
    let (header, lines) = table::open(path, &text)?;
    let roles = Roles::find(path, &header, options)?;
    let (mut tracks, form) = samples(path, &header, lines, &roles, options)?;
    tracks.iter_mut().for_each(|track| track.sort(&mut ledger));
    let grids = regularise(path, &mut tracks, &options.future, form != Form::Integer, options.align, &mut ledger)?;
    for track in &mut tracks {
        let names: Vec<String> = track.name.iter().chain(&roles.targets).chain(&options.past).cloned().collect();
        track.clean(&names, options, &mut ledger);
    }
    let mut signal = assemble(path, &tracks, &grids, &roles, form, options, &mut ledger)?;
    if let Some(path) = &options.statics {
        signal.statics = statics::read(path, &options.id, &signal.names)?;
    }
    let step = grids.first().map_or("-".into(), |grid| grid::words(grid.unit, grid.step));
    let audit = Audit { rows: signal.len(), series: signal.names.len(), step, findings: ledger.close() };
    tracing::info!(path = %path.display(), rows = audit.rows, series = audit.series, step = audit.step, "signal read");
    Ok((signal, audit))
}

/// UTF-8, with every byte that is not of it as Latin-1.
fn decode(bytes: &[u8], ledger: &mut Ledger) -> String {
    let (mut text, mut line) = (String::with_capacity(bytes.len()), 1);
    for chunk in bytes.utf8_chunks() {
        line += chunk.valid().matches('\n').count() as u64;
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|&byte| char::from(byte)));
        if !chunk.invalid().is_empty() {
            ledger.add(FindingKind::Latin1, None, chunk.invalid().len(), line);
        }
    }
    text
}

/// What the columns of a file are.
struct Roles {
    id: Option<usize>,
    time: usize,
    /// Names of the target columns of a wide file.
    targets: Vec<String>,
    /// Targets, then covariates of the past.
    measured: Vec<usize>,
    known: Vec<usize>,
}

impl Roles {
    fn find(path: &Path, header: &Header, options: &ReadOptions) -> Result<Self, DataError> {
        let wide = options.format == Format::Wide;
        let place = |name: &String| header.place(path, name, usize::from(wide));
        let places = |names: &[String]| names.iter().map(place).collect::<Result<Vec<_>, _>>();
        let (past, known) = (places(&options.past)?, places(&options.future)?);
        let (id, time, mut measured) = match (&options.columns, wide) {
            (_, false) => (Some(place(&options.id)?), place(&options.time)?, vec![place(&options.target)?]),
            (Some(names), true) => (None, 0, places(names)?),
            (None, true) => (None, 0, (1..header.names.len()).filter(|at| !past.contains(at) && !known.contains(at)).collect()),
        };
        if measured.is_empty() {
            return Err(table::fault(path, "at least one target column", "none"));
        }
        let targets = if wide { measured.iter().map(|&at| header.names[at].to_string()).collect() } else { Vec::new() };
        measured.extend(past);
        Ok(Self { id, time, targets, measured, known })
    }
}

/// The rows of a file by their clock, in the order of the file, and the form of their stamps.
fn samples(
    path: &Path,
    header: &Header,
    lines: impl Iterator<Item = Result<Line, DataError>>,
    roles: &Roles,
    options: &ReadOptions,
) -> Result<(Vec<Track>, Form), DataError> {
    let track = |name: Option<String>| Track { name, rows: Vec::new(), targets: roles.targets.len().max(1) };
    let kept = options.columns.iter().flatten().filter(|_| roles.id.is_some());
    let mut tracks: Vec<Track> = kept.map(|name| track(Some(name.clone()))).collect();
    let mut places: HashMap<String, usize> =
        tracks.iter().enumerate().filter_map(|(place, track)| Some((track.name.clone()?, place))).collect();
    let mut form = None;
    for line in lines {
        let line = line?;
        let name = roles.id.map_or("", |id| &line.fields[id]);
        if let (Some(id), "") = (roles.id, name) {
            return Err(header.field(&line, id, "the name of a series"));
        }
        let place = match places.get(name) {
            Some(&place) => place,
            None if roles.id.is_some() && options.columns.is_some() => continue,
            None => {
                places.insert(name.into(), tracks.len());
                tracks.push(track(roles.id.map(|_| name.into())));
                tracks.len() - 1
            }
        };
        let stamp = &line.fields[roles.time];
        let time = stamps::parse(stamp)
            .filter(|time| time.whole && time.ticks.unsigned_abs() < LARGEST)
            .filter(|time| (*form.get_or_insert(time.form) == Form::Integer) == (time.form == Form::Integer))
            .ok_or_else(|| header.field(&line, roles.time, STAMP))?;
        let rows = &mut tracks[place].rows;
        if roles.id.is_none() && rows.last().is_some_and(|last| time.ticks < last.ticks) {
            return Err(header.field(&line, roles.time, "a stamp not before the one above"));
        }
        let numbers = |columns: &[usize], parse: fn(&str) -> Option<f64>, expected| {
            let number = |&at: &usize| parse(&line.fields[at]).ok_or_else(|| header.field(&line, at, expected));
            columns.iter().map(number).collect::<Result<Vec<f64>, _>>()
        };
        let measured = numbers(&roles.measured, number::finite_or_missing, NUMBER_OR_MISSING)?;
        let known = numbers(&roles.known, number::finite_or_truth, KNOWN)?;
        if let Some(at) = known.iter().position(|value| options.missing.contains(value)) {
            return Err(header.field(&line, roles.known[at], KNOWN));
        }
        rows.push(Row { line: line.number, ticks: time.ticks, stamp: stamp.into(), measured, known, position: 0, met: true });
    }
    let empty = |track: &&Track| track.rows.is_empty();
    if let Some(name) = tracks.iter().find(empty).and_then(|track| track.name.as_ref()) {
        return Err(table::fault(path, format!("rows of series `{name}`"), "none"));
    }
    match form {
        Some(form) if !tracks.is_empty() => Ok((tracks, form)),
        _ => Err(table::fault(path, "rows under the header", "none")),
    }
}

/// The signal over all rows that any track has.
fn assemble(
    path: &Path,
    tracks: &[Track],
    grids: &[Grid],
    roles: &Roles,
    form: Form,
    options: &ReadOptions,
    ledger: &mut Ledger,
) -> Result<Signal, DataError> {
    let position = |track: &Track, row: usize| track.rows.get(row).map_or(0, |row| row.position);
    // The position that all tracks share, if they share only their end.
    let origin = |track: &Track| match options.align {
        Align::Stamp => 0,
        Align::End => position(track, track.observed(&[]).saturating_sub(1)),
    };
    let mut spans: Vec<(i64, i64, u64)> = Vec::with_capacity(tracks.len());
    for track in tracks {
        let (first, last) = (position(track, 0), position(track, track.rows.len() - 1));
        spans.push((first - origin(track), last - origin(track), track.rows[0].line));
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
    bounded(path, &grid::words(grids[0].unit, grids[0].step), reach + 1 - start - holes, holes)?;
    let length = (reach + 1 - start) as usize;
    let values = tracks.len() * (tracks[0].targets + options.past.len() + options.future.len());
    if (length as u64).saturating_mul(values as u64) > CELLS {
        return Err(table::fault(path, format!("at most {CELLS} values"), format!("{length} rows of {values}")));
    }

    let mut stamps: Vec<Option<String>> = vec![None; length];
    let mut columns = Vec::new();
    let covariate = |name: &String, known| Covariate { name: name.clone(), known, values: Vec::new() };
    let mut past: Vec<Covariate> = options.past.iter().map(|name| covariate(name, false)).collect();
    let mut future: Vec<Covariate> = options.future.iter().map(|name| covariate(name, true)).collect();
    for track in tracks {
        let shift = origin(track) + start;
        let index = |row: &Row| (row.position - shift) as usize;
        let column = |value: &dyn Fn(&Row) -> f64| {
            let mut values = vec![f64::NAN; length];
            track.rows.iter().for_each(|row| values[index(row)] = value(row));
            values
        };
        columns.extend((0..track.targets).map(|at| column(&|row| row.measured[at])));
        for (at, covariate) in past.iter_mut().enumerate() {
            covariate.values.push(column(&|row| row.measured[track.targets + at]));
        }
        for (at, covariate) in future.iter_mut().enumerate() {
            let mut values = column(&|row| row.known[at]);
            for pair in track.rows.windows(2) {
                values[index(&pair[0])..index(&pair[1])].fill(pair[0].known[at]);
            }
            covariate.values.push(values);
        }
        for row in track.rows.iter().filter(|row| row.met) {
            stamps[index(row)].get_or_insert_with(|| row.stamp.clone());
        }
    }
    let stamp = |(row, stamp): (usize, Option<String>)| match (options.align, stamp) {
        (Align::End, _) => Ok(row.to_string()),
        (Align::Stamp, Some(stamp)) => Ok(stamp),
        (Align::Stamp, None) => {
            let written = grids[0].ticks(row as i64 + start).and_then(|ticks| stamps::write(ticks, form));
            written.ok_or_else(|| table::fault(path, "stamps before the year 10000", format!("a gap at row {row}")))
        }
    };
    let names =
        if roles.id.is_none() { roles.targets.clone() } else { tracks.iter().filter_map(|track| track.name.clone()).collect() };
    Ok(Signal {
        stamps: stamps.into_iter().enumerate().map(stamp).collect::<Result<_, _>>()?,
        names,
        columns,
        covariates: past.into_iter().chain(future).collect(),
        statics: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn read_bytes(bytes: &[u8], options: &str) -> Result<(Signal, Audit), DataError> {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(bytes).expect("written");
        read(file.path(), &toml::from_str(options).expect("options"))
    }

    /// A file as it is read: a line for each row, `-` for what is missing, then the audit's kinds, columns, counts and lines.
    fn shown(text: &str, options: &str) -> (String, String) {
        let (signal, audit) = read_bytes(text.as_bytes(), options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
        let number = |value: f64| if value.is_nan() { "-".into() } else { value.to_string() };
        let all = || signal.columns.iter().chain(signal.covariates.iter().flat_map(|covariate| &covariate.values));
        let row = |row: usize| {
            let values: Vec<String> = all().map(|values| number(values[row])).collect();
            format!("{} {}", signal.stamps[row], values.join(","))
        };
        let rows: Vec<String> = (0..signal.len()).map(row).collect();
        assert!(all().all(|values| values.len() == signal.len()));
        assert_eq!((audit.rows, audit.series), (signal.len(), signal.columns.len()));
        let finding = |finding: &crate::Finding| {
            let column = finding.column.as_ref().map_or(String::new(), |name| format!(" {name}"));
            format!("{:?}{column} {} :{}", finding.kind, finding.count, finding.line)
        };
        (rows.join("; "), audit.findings.iter().map(finding).collect::<Vec<_>>().join("; "))
    }

    fn check(text: &str, options: &str, rows: &str, findings: &str) {
        assert_eq!(shown(text, options), (rows.into(), findings.into()), "{text:?}");
    }

    #[test]
    fn a_file_without_faults_is_the_strict_readers() {
        let text = "date,a,b\n2016-07-01 00:00:00,1,2.5\n2016-07-01 01:00:00,-3e2,4\n";
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(text.as_bytes()).expect("written");
        let (signal, audit) = read(file.path(), &ReadOptions::default()).expect("reads");
        assert_eq!(signal, crate::read_wide(file.path()).expect("reads"));
        assert!(audit.is_clean() && audit.lines().is_empty() && audit.step == "1 h", "{audit:?}");
    }

    #[test]
    fn missing_values_are_counted_by_column() {
        check("t,a,b\n1,,NA\n2,nan,5\n3,NULL,6\n4,1,7\n", "", "1 -,-; 2 -,5; 3 -,6; 4 1,7", "Missing a 3 :2; Missing b 1 :2");
        check("t,a\n1,5\n2,-9999\n3,-1\n", "missing = [-9999, -1]", "1 5; 2 -; 3 -", "Sentinel a 2 :3");
        check("t,a,x\n1,5,\n2,6,-9\n", "past = [\"x\"]\nmissing = [-9]", "1 5,-; 2 6,-", "Missing x 1 :2; Sentinel x 1 :3");
    }

    #[test]
    fn doubled_stamps_are_merged_or_the_last_wins() {
        check("t,a\n1,5\n2,6\n2,6\n3,7\n", "", "1 5; 2 6; 3 7", "Duplicate 1 :4");
        check("t,a\n1,5\n2,\n2,\n3,7\n", "", "1 5; 2 -; 3 7", "Duplicate 1 :4; Missing a 1 :4");
        check("t,a\n1,5\n2,6\n2,8\n3,7\n", "", "1 5; 2 8; 3 7", "Conflict 1 :4");
    }

    #[test]
    fn gaps_get_rows() {
        check("t,a\n0,1\n2,2\n4,3\n10,4\n", "", "0 1; 2 2; 4 3; 6 -; 8 -; 10 4", "Gap 1 :5; Inserted 2 :5");
        check(
            "t,a,p,f\n0,1,1,1\n1,2,2,2\n3,3,3,3\n",
            "past = [\"p\"]\nfuture = [\"f\"]",
            "0 1,1,1; 1 2,2,2; 2 -,-,2; 3 3,3,3",
            "Gap 1 :4; Inserted 1 :4; Repeated f 1 :4",
        );
        check(
            "t,a\n2020-02-28 23:40:00,1\n2020-02-28 23:50:00,2\n2020-02-29 00:10:00,3\n",
            "",
            "2020-02-28 23:40:00 1; 2020-02-28 23:50:00 2; 2020-02-29 00:00:00 -; 2020-02-29 00:10:00 3",
            "Gap 1 :4; Inserted 1 :4",
        );
        check(
            "t,a\n2020-01-31,1\n2020-02-29,2\n2020-04-30,3\n",
            "",
            "2020-01-31 1; 2020-02-29 2; 2020-03-31 -; 2020-04-30 3",
            "Gap 1 :4; Inserted 1 :4",
        );
    }

    #[test]
    fn stamps_off_the_grid_move_to_it() {
        check("t,a\n0,1\n10,2\n21,3\n30,4\n40,5\n", "", "0 1; 10 2; 20 3; 30 4; 40 5", "Snapped 1 :4");
        check("t,a\n0,1\n10,2\n20,3\n21,9\n30,4\n", "", "0 1; 10 2; 20 3; 30 4", "Snapped 1 :5; Conflict 1 :5");
        check("t,a\n0,1\n10,2\n20,3\n21,3\n30,4\n", "", "0 1; 10 2; 20 3; 30 4", "Snapped 1 :5; Duplicate 1 :5");
        check(
            "t,a\n0,1\n10,2\n19,3\n21,9\n30,4\n40,5\n50,6\n",
            "",
            "0 1; 10 2; 20 9; 30 4; 40 5; 50 6",
            "Snapped 2 :4; Conflict 1 :5",
        );
        check("t,a\n2020-01-01,1\n2020-02-01,2\n2020-03-01,3\n", "", "2020-01-01 1; 2020-02-01 2; 2020-03-01 3", "");
        check("t,a\n2019-03-01,1\n2020-03-01,2\n2021-03-01,3\n", "", "2019-03-01 1; 2020-03-01 2; 2021-03-01 3", "");
    }

    #[test]
    fn the_known_future_stays() {
        let (text, options) = ("t,a,f\n1,5,1\n2,,2\n3,6,3\n4,,4\n5,NA,5\n", "future = [\"f\"]");
        check(text, options, "1 5,1; 2 -,2; 3 6,3; 4 -,4; 5 -,5", "Missing a 1 :3");
        let (signal, _) = read_bytes(text.as_bytes(), options).expect("reads");
        assert_eq!((signal.observed_len(), signal.len()), (3, 5));
        let covariate = Covariate { name: "f".into(), known: true, values: vec![vec![1.0, 2.0, 3.0, 4.0, 5.0]] };
        assert_eq!((signal.names, signal.covariates), (vec!["a".to_string()], vec![covariate]));
    }

    #[test]
    fn outliers_are_reported_or_masked() {
        let rows =
            |last: &str| format!("t,a\n{}100,{last}\n", (0..100).map(|row| format!("{row},{}\n", row % 10)).collect::<String>());
        assert_eq!(shown(&rows("1000"), "").1, "Outlier a 1 :102");
        assert_eq!(shown(&rows("1000"), "outlier_factor = 1000.0").1, "");
        let (signal, masked) = shown(&rows("1000"), "outliers = \"mask\"");
        assert_eq!(masked, "Masked a 1 :102");
        assert!(signal.ends_with("; 100 -"));
        assert_eq!(shown("t,a\n0,1\n1,1\n2,1\n3,1\n", "").1, "");
    }

    #[test]
    fn wide_columns_are_chosen_by_name() {
        let text = "t,a,b,note\n1,5,6,x\n2,7,8,y\n";
        check(text, "columns = [\"b\", \"a\"]", "1 6,5; 2 8,7", "");
        check(text, "columns = [\"b\"]\npast = [\"a\"]", "1 6,5; 2 8,7", "");
    }

    #[test]
    fn long_series_share_their_stamps() {
        let head = "unique_id,ds,y";
        check(&format!("{head}\nb,1,5\na,2,6\nb,2,7\na,3,8\n"), "format = \"long\"", "1 5,-; 2 7,6; 3 -,8", "");
        check(
            &format!("{head}\na,3,6\na,1,5\nb,1,\na,2,7\n"),
            "format = \"long\"",
            "1 5,-; 2 7,-; 3 6,-",
            "Reordered a 2 :3; Missing b 1 :4",
        );
        check(
            &format!("{head}\na,1,5\na,2,6\na,4,7\n"),
            "format = \"long\"",
            "1 5; 2 6; 3 -; 4 7",
            "Gap a 1 :4; Inserted a 1 :4",
        );
        check(
            &format!("{head}\na,1,5\na,2,6\nb,4,7\nb,5,8\n"),
            "format = \"long\"",
            "1 5,-; 2 6,-; 3 -,-; 4 -,7; 5 -,8",
            "Gap 1 :4; Inserted 1 :4",
        );
        check(
            &format!("{head}\na,1,5\nb,1,x\nc,1,6\nc,2,7\na,2,8\n"),
            "format = \"long\"\ncolumns = [\"c\", \"a\"]",
            "1 6,5; 2 7,8",
            "",
        );
        check(
            "who,f,when,v,p\nz,1,1,5,2\nz,3,2,,4\ny,9,2,6,8\n",
            "format = \"long\"\nid = \"who\"\ntime = \"when\"\ntarget = \"v\"\npast = [\"p\"]\nfuture = [\"f\"]",
            "1 5,-,2,-,1,-; 2 -,6,4,8,3,9",
            "",
        );
    }

    #[test]
    fn long_series_without_a_clock_share_their_end() {
        check(
            "unique_id,ds,y\na,1,1\na,2,2\na,3,3\nb,107,4\nb,108,5\nc,7,6\n",
            "format = \"long\"\nalign = \"end\"",
            "0 1,-,-; 1 2,4,-; 2 3,5,6",
            "",
        );
        check(
            "unique_id,ds,y,f\na,2020-01-01,1,1\na,2020-01-02,2,2\na,2020-01-03,,3\nb,1990-05-05,4,4\nb,1990-05-07,5,5\nb,1990-05-08,,6\n\
             b,1990-05-09,,7\n",
            "format = \"long\"\nalign = \"end\"\nfuture = [\"f\"]",
            "0 -,4,-,4; 1 1,-,1,4; 2 2,5,2,5; 3 -,-,3,6; 4 -,-,-,7",
            "Gap b 1 :6; Inserted b 1 :6; Repeated f 1 :6",
        );
    }

    #[test]
    fn bytes_that_are_not_utf8_are_latin1() {
        let (signal, audit) = read_bytes(b"t,\xb0C\n1,5\n2,6\n", "").expect("reads");
        assert_eq!(signal.names, ["°C"]);
        assert_eq!(audit.lines(), [["bytes that are not UTF-8", "1", "first on line 1", "read as Latin-1"]]);
        assert!(read_bytes("t,°C\n1,5\n2,6\n".as_bytes(), "").expect("reads").1.is_clean());
    }

    #[test]
    fn every_fault_is_named_with_its_place() {
        let long = "format = \"long\"";
        for (text, options, expected) in [
            ("", "", "empty file"),
            ("t,a\n", "", "expected rows under the header"),
            ("1,2\n2,3\n", "", "expected a header"),
            ("V1,V2\nH1,5\nH2,6\n", "", ":2: column `V1`: expected a date"),
            ("t,a\n1,2,3\n", "", ":2: expected 2 fields, found 3"),
            ("t,a\n1,x\n", "", ":2: column `a`: expected a finite number, or nothing, NA, NaN or null, found `x`"),
            ("t,a\n1,inf\n", "", ":2: column `a`: expected a finite number, or nothing, NA, NaN or null, found `inf`"),
            ("t,a\n2,1\n1,1\n", "", ":3: column `t`: expected a stamp not before the one above, found `1`"),
            ("t,a\n2,1\n2020-01-01,1\n", "", ":3: column `t`: expected a date"),
            ("t,a\n9223372036854775807,1\n", "", ":2: column `t`: expected a date"),
            ("t,a\n2020-01-01 00:00:00.5,1\n", "", ":2: column `t`: expected a date"),
            ("t,a\n1,1\n", "columns = [\"b\"]", "expected a column `b`, found a"),
            ("t,a\n1,1\n", "columns = [\"t\"]", "expected a column `t`, found a"),
            ("t,a\n1,1\n", "past = [\"a\"]", "expected at least one target column, found none"),
            (
                "t,a,f\n1,1,1\n2,1,\n",
                "future = [\"f\"]",
                ":3: column `f`: expected a finite number, TRUE or FALSE, as the covariate is known",
            ),
            ("t,a,f\n1,1,-9\n", "future = [\"f\"]\nmissing = [-9]", ":2: column `f`: expected a finite number, TRUE"),
            ("t,a\n1,1\n2,1\n1000,1\n", "", "expected rows on at least a third of the grid of 1, found 3 rows and 997 missing"),
            ("t,a\n0,1\n10,1\n21,1\n33,1\n46,1\n60,1\n75,1\n", "", "found 4 of 7 off the grid of 10, the first on line 4"),
            ("unique_id,ds,x\na,1,1\n", long, "expected a column `y`, found unique_id, ds, x"),
            ("unique_id,ds,y\n,1,1\n", long, ":2: column `unique_id`: expected the name of a series"),
            ("unique_id,ds,y\na,1,1\n", "format = \"long\"\ncolumns = [\"b\"]", "expected rows of series `b`, found none"),
            (
                "unique_id,ds,y\na,1,1\na,2,1\nb,50,1\n",
                long,
                "expected rows on at least a third of the grid of 1, found 3 rows and 47",
            ),
            ("t,a\n1,1\n", "align = \"end\"", "align: expected"),
            ("t,a\n1,1\n", "statics = \"no/such.csv\"", "no/such.csv: "),
        ] {
            let error = read_bytes(text.as_bytes(), options).expect_err(text).to_string();
            assert!(error.contains(expected) && !error.contains('\n'), "{text:?}: {error}");
        }
    }

    #[test]
    fn statics_follow_the_series() {
        let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
        file.write_all(b"unique_id,area\nb,2\na,1\n").expect("written");
        let options = format!("statics = {:?}", file.path());
        let (signal, _) = read_bytes(b"t,a,b\n1,5,6\n", &options).expect("reads");
        assert_eq!(signal.statics, [crate::Static { name: "area".into(), values: vec![1.0, 2.0] }]);
    }
}
