use super::*;
use std::io::Write;

mod fractions;
mod long;

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
        format!("{} {}", signal.stamps.at(row), values.join(","))
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
fn the_newest_first_is_turned_round() {
    check(
        "t,a,b\n4,5,1\n2,6,2\n1,7,\n",
        "",
        "1 7,-; 2 6,2; 3 -,-; 4 5,1",
        "Reordered 2 :3; Gap 1 :2; Inserted 1 :2; Missing b 1 :4",
    );
    check(
        "t,a,f\n2024-01-03,,3\n2024-01-02,2,2\n2024-01-02,2,2\n2024-01-01,1,1\n",
        "future = [\"f\"]",
        "2024-01-01 1,1; 2024-01-02 2,2; 2024-01-03 -,3",
        "Reordered 3 :3; Duplicate 1 :4",
    );
    // The hour that a clock had twice, told apart.
    check(
        "t,a\n2020-10-25 03:00:00+01:00,4\n2020-10-25 02:00:00+01:00,3\n2020-10-25 02:00:00+02:00,2\n2020-10-25 01:00:00+02:00,1\n",
        "",
        "2020-10-25 01:00:00+02:00 1; 2020-10-25 02:00:00+02:00 2; 2020-10-25 02:00:00+01:00 3; 2020-10-25 03:00:00+01:00 4",
        "Reordered 3 :3",
    );
    // Of two rows with one stamp the later line stays, as it does elsewhere.
    check("t,a\n3,1\n2,8\n2,6\n1,7\n0,5\n", "", "0 5; 1 7; 2 6; 3 1", "Reordered 4 :3; Conflict 1 :4");
}

#[test]
fn stamps_behind_numbers_of_rows_are_found() {
    check(
        ",ds,y\n0,2024-01-01,5\n1,2024-01-02,6\n2,2024-01-04,7\n",
        "",
        "2024-01-01 5; 2024-01-02 6; 2024-01-03 -; 2024-01-04 7",
        "Numbered 3 :2; Gap 1 :4; Inserted 1 :4",
    );
    // Keys with holes, and the dates last.
    check(
        "id,y,when\n3,5,1/13/2024\n17,6,1/14/2024\n19,7,1/15/2024\n",
        "",
        "2024-01-13 5; 2024-01-14 6; 2024-01-15 7",
        "Numbered id 3 :2; MonthFirst 3 :2",
    );
    // Times in digits, in seconds since 1970, or that stand still; two columns of dates, and none.
    for (text, signal) in [
        ("t,a\n20240101,1\n20240102,2\n20240103,3\n", "20240101 1; 20240102 2; 20240103 3"),
        ("t,a\n0,1\n1,2\n2,3\n", "0 1; 1 2; 2 3"),
    ] {
        check(text, "", signal, "");
    }
    let seconds = "t,day,a\n1704067200,2024-01-01,1\n1704153600,2024-01-02,2\n1704240000,2024-01-03,3\n";
    check(seconds, "columns = [\"a\"]", "1704067200 1; 1704153600 2; 1704240000 3", "");
    let twice = "n,from,to,a\n0,2024-01-01,2024-01-02,1\n1,2024-01-02,2024-01-03,2\n2,2024-01-03,2024-01-04,3\n";
    check(twice, "columns = [\"a\"]", "0 1; 1 2; 2 3", "");
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
fn weekends_are_no_gaps_among_workdays_and_holidays_are() {
    let days = ["04,1", "05,2", "08,3", "09,4", "11,5", "12,6", "15,7"].map(|day| format!("2024-01-{day}\n"));
    check(
        &format!("t,a\n{}", days.concat()),
        "",
        "2024-01-04 1; 2024-01-05 2; 2024-01-08 3; 2024-01-09 4; 2024-01-10 -; 2024-01-11 5; 2024-01-12 6; 2024-01-15 7",
        "Gap 1 :6; Inserted 1 :6",
    );
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(format!("t,a\n{}", days.concat()).as_bytes()).expect("written");
    let (signal, audit) = read(file.path(), &ReadOptions::default()).expect("reads");
    assert_eq!(audit.step, "1 d, mon-fri");
    // The next weekend is passed over, too, however the stamps were kept.
    let next = ["2024-01-18", "2024-01-19", "2024-01-22"].map(String::from);
    assert_eq!((signal.stamps.each_day_and_week(), signal.stamps.after(10, 3)), (Some([1, 5]), next.to_vec()));
    assert_eq!(crate::Stamps::from(signal.stamps.slice(0..8)).after(8, 4)[1..], ["2024-01-17", "2024-01-18", "2024-01-19"]);
}

/// Rows of an office over two weeks from a Monday on, at half past each hour from nine to five.
fn office(date: impl Fn(usize) -> String, offset: &str) -> Vec<String> {
    let days = (1..=12).filter(|day| ![6, 7].contains(day));
    let rows = days.flat_map(|day| (9..17).map(move |hour| (day, hour)));
    rows.map(|(day, hour)| format!("{} {hour:02}:30:00{offset},{}\n", date(day), 100 * day + hour)).collect()
}

#[test]
fn nights_and_weekends_are_no_gaps_where_rows_pass_over_them() {
    let january = office(|day| format!("2024-01-{day:02}"), "");
    let mut rows = [january, vec!["2024-01-15 09:30:00,0\n".into(), "2024-01-16 09:30:00,0\n".into()]].concat();
    // A holiday and an hour are gaps, as are afternoons without rows.
    rows.retain(|row| !row.starts_with("2024-01-10") && !row.starts_with("2024-01-03 12"));
    let text = format!("t,a\n{}", rows.concat());
    let (all, audit) = shown(&text, "");
    assert!(all.contains("2024-01-05 16:30:00 516; 2024-01-08 09:30:00 809"), "{all}");
    assert!(all.contains("2024-01-03 11:30:00 311; 2024-01-03 12:30:00 -; 2024-01-03 13:30:00 313"), "{all}");
    assert_eq!(audit, "Gap 3 :21; Inserted 16 :21");
    let (signal, audit) = read_bytes(text.as_bytes(), "").expect("reads");
    assert_eq!(audit.step, "1 h, mon-fri 09:30-17:30");
    assert_eq!((signal.len(), signal.stamps.each_day_and_week()), (89, Some([8, 5])));
    assert_eq!(signal.stamps.after(80, 2), ["2024-01-15 09:30:00", "2024-01-15 10:30:00"]);
}

#[test]
fn rows_outside_of_the_hours_are_left_out() {
    let date = |day: usize| jiff::civil::date(2024, 1, 1).saturating_add(jiff::Span::new().days(day as i64 - 1)).to_string();
    let mut rows: Vec<String> = (0..7).flat_map(|fortnight| office(|day| date(day + 14 * fortnight), "")).collect();
    // One row by night.
    rows.insert(80, format!("{} 02:00:00,-7\n", date(15)));
    let text = format!("t,a\n{}", rows.concat());
    let (signal, audit) = read_bytes(text.as_bytes(), "").expect("reads");
    assert_eq!((&*audit.step, audit.hours.to_string()), ("1 h, mon-fri 09:30-17:30", "mon-fri 09:30-17:30".to_string()));
    let left_out = audit.findings.iter().find(|finding| finding.kind == crate::FindingKind::Outside).expect("one row");
    assert!(left_out.count == 1 && left_out.line == 82 && signal.columns[0].iter().all(|value| *value != -7.0));
    // Of series that have no common clock, each at its time of the hour.
    let series = |name: &str, minute: &str| {
        let rows = [office(date, ""), office(|day| date(day + 14), "")].concat();
        rows.iter().map(|row| format!("{name},{}", row.replace(":30:", minute))).collect::<String>()
    };
    let text = format!("unique_id,ds,y\n{}{}", series("a", ":30:"), series("b", ":45:"));
    let (signal, audit) = read_bytes(text.as_bytes(), "format = \"long\"\nalign = \"end\"").expect("reads");
    assert_eq!((signal.len(), audit.hours.to_string()), (160, "mon-fri 09:00-17:00".to_string()));
    assert!(audit.is_clean() && signal.columns.iter().all(|column| column.iter().all(|value| !value.is_nan())), "{audit:?}");
}

#[test]
fn dates_with_the_year_last_are_read_as_one_of_them_tells() {
    let shown = |rows: &str, options: &str| shown(&format!("t,a\n{rows}"), options);
    let told = |kind: &str, count: usize| format!("{kind} {count} :2");
    let (rows, findings) = shown("31.12.2016,1\n1.1.2017,2\n2.1.2017,3\n", "");
    assert_eq!((&*rows, findings), ("2016-12-31 1; 2017-01-01 2; 2017-01-02 3", told("DayFirst", 3)));
    let (rows, findings) = shown("12/30/2016 11:00 PM,1\n12/31/2016 12:00 AM,2\n12/31/2016 1:00 AM,3\n", "");
    assert_eq!((&*rows, findings), ("2016-12-30 23:00 1; 2016-12-31 00:00 2; 2016-12-31 01:00 3", told("MonthFirst", 3)));
    let few = "1/2/2016,1\n2/2/2016,2\n3/2/2016,3\n";
    assert_eq!(shown(few, "dates = \"day-first\"").0, "2016-02-01 1; 2016-02-02 2; 2016-02-03 3");
    assert_eq!(shown(few, "dates = \"month-first\"").0, "2016-01-02 1; 2016-02-02 2; 2016-03-02 3");
    for (rows, options, expected) in [
        (few, "", "or `data.read.dates` in a run, found none in column `t`, from line 2 on"),
        (
            "13/1/2016,1\n1/14/2016,2\n",
            "",
            ":3: column `t`: expected a date with the day first, as others or `dates` have it, found `1/14/2016`",
        ),
        (
            "13/1/2016,1\n",
            "dates = \"month-first\"",
            ":2: column `t`: expected a date with the month first, as others or `dates` have it, found `13/1/2016`",
        ),
        ("13/13/2016,1\n", "dates = \"day-first\"", "found `13/13/2016`"),
        ("13/1/2016,1\nnoon,2\n", "", "found `noon`"),
        ("13/1/2016 25:00,1\n", "", "found `13/1/2016 25:00`"),
    ] {
        let error = read_bytes(format!("t,a\n{rows}").as_bytes(), options).expect_err(rows).to_string();
        assert!(error.ends_with(expected), "{error}");
    }
    // Of a year of two digits, which are the last unless only so dates are regular.
    for (rows, options, expected) in [
        ("06/12/23 11:00:00 PM,1\n06/13/23 12:00:00 AM,2\n", "", "2023-06-12 23:00:00 1; 2023-06-13 00:00:00 2"),
        ("30/01/24,1\n31/01/24,2\n01/02/24,3\n", "", "2024-01-30 1; 2024-01-31 2; 2024-02-01 3"),
        ("24/01/30,1\n24/01/31,2\n24/02/01,3\n", "", "2024-01-30 1; 2024-01-31 2; 2024-02-01 3"),
        ("01.02.24,1\n02.02.24,2\n", "", "2024-02-01 1; 2024-02-02 2"),
        ("24.01.31,1\n24.02.01,2\n24.02.02,3\n", "", "2024-01-31 1; 2024-02-01 2; 2024-02-02 3"),
        ("31-Jan-24,1\n01-Feb-24,2\n", "", "31-Jan-24 1; 01-Feb-24 2"),
        ("01/02/03,1\n01/02/04,2\n", "dates = \"year-first\"", "2001-02-03 1; 2001-02-04 2"),
    ] {
        assert_eq!(shown(rows, options).0, expected, "{rows}");
    }
    let day = "06/12/23 10:00:00 AM,1\n06/12/23 11:00:00 AM,2\n";
    let error = read_bytes(format!("t,a\n{day}").as_bytes(), "").expect_err("one day").to_string();
    assert!(error.contains("or `data.read.dates` in a run"), "{error}");
    // Or what alone is regular.
    let months: String = (1..=12).map(|month| format!("{month}/1/2016,1\n")).collect();
    assert!(shown(&(months + "1/1/2017,1\n"), "").0.ends_with("2016-11-01 1; 2016-12-01 1; 2017-01-01 1"));
    // Series that go both ways may have days and months exchanged.
    let long = "unique_id,ds,y\na,1/30/2016,1\na,1/31/2016,2\na,1/2/2016,3\n";
    let error = read_bytes(long.as_bytes(), "format = \"long\"").expect_err("exchanged").to_string();
    assert!(
        error.contains(":4: column `ds`: expected a date not before the one above in its series: with the year last"),
        "{error}"
    );
    let back = "unique_id,ds,y\na,1/31/2016,1\na,1/30/2016,2\na,1/29/2016,3\nb,1/30/2016,1\nb,1/31/2016,2\n";
    assert_eq!(read_bytes(back.as_bytes(), "format = \"long\"").expect("reads").0.len(), 3);
    // A file without a header is still one.
    let error = read_bytes(b"12/31/2016,1\n1/1/2017,2\n", "").expect_err("no header").to_string();
    assert!(error.contains("a header with column names on line 1"), "{error}");
}

#[test]
fn hours_may_be_told() {
    let few = "t,a\n2024-01-05 15:30:00,1\n2024-01-05 16:30:00,2\n2024-01-08 09:30:00,3\n";
    check(few, "hours = \"mon-fri 09:00-17:00\"", "2024-01-05 15:30:00 1; 2024-01-05 16:30:00 2; 2024-01-08 09:30:00 3", "");
    let rows = office(|day| format!("2024-01-{day:02}"), "").concat();
    let rows = format!("t,a\n{rows}");
    for (text, hours, expected) in [
        (
            few,
            "mon-fri 09:00-15:45",
            ":3: column `t`: expected a stamp within mon-fri 09:00-15:45 (`hours`), as most rows have (1 of 3 have not), found `2024-01-05 16:30:00`",
        ),
        (&rows, "always", "expected rows on at least a third of the grid of 1 h, found 80 rows and 192 missing between them"),
        (
            "t,a\n2024-01-05 15:30:00,1\n2024-01-05 15:30:00.5,2\n",
            "mon-fri",
            "by one clock, a step apart that a day has whole ones of, found 2024-01-05 15:30:00.0 of another kind",
        ),
        ("t,a\n1,1\n2,2\n", "mon-fri", "by one clock, a step apart that a day has whole ones of, found 1 of another kind"),
    ] {
        let error = read_bytes(text.as_bytes(), &format!("hours = \"{hours}\"")).expect_err(hours).to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn hours_are_those_of_the_local_clock() {
    // Clocks go forward on the Sunday between.
    let (march, april) = (|day| format!("2024-03-{}", day + 17), |day| format!("2024-04-{day:02}"));
    let rows = [office(march, "+01:00"), office(april, "+02:00")].concat().concat();
    let (signal, audit) = read_bytes(format!("t,a\n{rows}").as_bytes(), "").expect("reads");
    assert_eq!((signal.len(), &*audit.step), (160, "1 h, mon-fri 09:30-17:30"));
    assert_eq!(signal.stamps.after(160, 1), ["2024-04-15 09:30:00+02:00"]);
    // Sites whose clocks differ have days in common, and no hours.
    let sites = |times: &[&str]| {
        let site = |name: &str, offset: &str| {
            let rows = (1..=21).flat_map(|day| times.iter().map(move |time| (day, time)));
            rows.map(|(day, time)| format!("{name},2024-01-{day:02} {time}{offset},1\n")).collect::<String>()
        };
        let text = format!("unique_id,ds,y\n{}{}", site("a", "+01:00"), site("b", "+00:00"));
        read_bytes(text.as_bytes(), "format = \"long\"").map(|(signal, audit)| (signal.len(), audit.step))
    };
    assert_eq!(sites(&["00:00:00"]).expect("reads"), (21, "1 d".into()));
    let error = sites(&["08:00:00", "09:00:00", "10:00:00"]).expect_err("nights").to_string();
    assert!(error.contains("a third of the grid"), "{error}");
    // Those of half a week tell nothing, and are what is told.
    let few = "t,a\n2024-03-28 16:00:00+01:00,1\n2024-03-29 09:00:00+01:00,2\n2024-03-29 10:00:00+01:00,3\n";
    let (signal, audit) = read_bytes(few.as_bytes(), "hours = \"mon-fri 09:00-17:00\"").expect("reads");
    assert_eq!((signal.len(), &*audit.step), (3, "1 h, mon-fri 09:00-17:00"));
}

#[test]
fn one_row_has_no_step() {
    for (rows, next) in
        [("2024-01-01 05:00:00,1\n", ["+1", "+2"]), ("2024-01-31,1\n2024-01-31,1\n", ["+1", "+2"]), ("7,1\n", ["8", "9"])]
    {
        let (signal, audit) = read_bytes(format!("t,a\n{rows}").as_bytes(), "").expect("reads");
        assert_eq!((signal.len(), &*audit.step, signal.stamps.months()), (1, "-", None), "{rows}");
        assert_eq!(signal.stamps.after(1, 2), next, "{rows}");
    }
}

#[test]
fn integers_count_unless_they_are_seconds_since_1970() {
    for (stamps, counts) in [
        ([0, 1, 2], true),
        ([0, 2, 4], true),
        ([-7, 3_593, 7_193], true),
        ([20_240, 23_840, 27_440], true),
        ([1_700_000_000, 1_700_003_600, 1_700_007_200], false),
        ([1_700_000_000, 1_700_000_001, 1_700_000_002], true),
    ] {
        let text: String = stamps.map(|stamp| format!("{stamp},1\n")).concat();
        let (signal, _) = read_bytes(format!("t,a\n{text}").as_bytes(), "").expect("reads");
        assert_eq!(signal.stamps.are_counts(), counts, "{stamps:?}");
        assert_eq!(signal.stamps.after(3, 1), [(2 * stamps[2] - stamps[1]).to_string()]);
    }
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
fn stamps_with_an_offset_count_in_utc() {
    // Clocks go back an hour.
    let text = "t,a\n2020-10-25 01:00:00+02:00,1\n2020-10-25 02:00:00+02:00,2\n2020-10-25 02:00:00+01:00,3\n2020-10-25 04:00:00+01:00,4\n";
    check(
        text,
        "",
        "2020-10-25 01:00:00+02:00 1; 2020-10-25 02:00:00+02:00 2; 2020-10-25 02:00:00+01:00 3; 2020-10-25 02:00:00+00:00 -; \
         2020-10-25 04:00:00+01:00 4",
        "Gap 1 :5; Inserted 1 :5",
    );
    let (signal, _) = read_bytes(text.as_bytes(), "").expect("reads");
    assert_eq!(signal.stamps.after(5, 2), ["2020-10-25 04:00:00+00:00", "2020-10-25 05:00:00+00:00"]);
}

/// A file of one column, 1, 2, …, its step in words, and the two stamps after it.
fn after(stamps: &[&str]) -> (Signal, String, Vec<String>) {
    let lines = stamps.iter().enumerate().map(|(row, stamp)| format!("{stamp},{}\n", row + 1));
    let text = format!("t,a\n{}", lines.collect::<String>());
    let (signal, audit) = read_bytes(text.as_bytes(), "").unwrap_or_else(|error| panic!("{text:?}: {error}"));
    assert_eq!(audit.lines(), [[""; 4]; 0], "{text:?}");
    assert_eq!(signal.stamps.iter().collect::<Vec<_>>(), stamps);
    let next = signal.stamps.after(signal.len(), 2);
    (signal, audit.step, next)
}

fn goes_on(stamps: &[&str], step: &str, expected: [&str; 2]) {
    let (_, found, next) = after(stamps);
    assert_eq!((&*found, &next[..]), (step, &expected.map(String::from)[..]), "{stamps:?}");
}

#[test]
fn the_finest_form_is_the_files() {
    goes_on(&["2024-02-01", "2024-02-01 01:00:00", "2024-02-01 02:00:00"], "1 h", ["2024-02-01 03:00:00", "2024-02-01 04:00:00"]);
    goes_on(
        &["2024-01-31T22:00", "2024-01-31T23:00", "2024-02-01", "2024-02-01T01:00:00"],
        "1 h",
        ["2024-02-01T02:00:00", "2024-02-01T03:00:00"],
    );
    // Form of the first where they say as much.
    goes_on(&["2024-02-01", "2024-02-01 12:00", "2024-02-02T00:00"], "12 h", ["2024-02-02 12:00", "2024-02-03 00:00"]);
    goes_on(&["2024-02-01", "2024-02-02"], "1 d", ["2024-02-03", "2024-02-04"]);
    check(
        "unique_id,ds,y\na,2024-02-01,1\nb,2024-02-01,2\na,2024-02-01 06:00,3\na,2024-02-01 12:00,4\nb,2024-02-01 18:00:00,5\n",
        "format = \"long\"",
        "2024-02-01 1,2; 2024-02-01 06:00 3,-; 2024-02-01 12:00 4,-; 2024-02-01 18:00:00 -,5",
        "Gap b 1 :6; Inserted b 2 :6",
    );
}

#[test]
fn months_go_on_as_months() {
    goes_on(&["2023-10", "2023-11", "2023-12"], "1 mo", ["2024-01", "2024-02"]);
    goes_on(&["2021-01", "2022-01", "2023-01"], "1 y", ["2024-01", "2025-01"]);
    goes_on(&["2023-10", "2023-11-01", "2023-12"], "1 mo", ["2024-01-01", "2024-02-01"]);
    check("t,a\n2000-01,1\n2000-02,2\n2000-04,3\n", "", "2000-01 1; 2000-02 2; 2000-03 -; 2000-04 3", "Gap 1 :4; Inserted 1 :4");
    check(
        "t,a\n2024-3-24 23:00,1\n2024-3-25 0:00,2\n2024-3-25 2:00,3\n",
        "",
        "2024-3-24 23:00 1; 2024-3-25 0:00 2; 2024-03-25 01:00 -; 2024-3-25 2:00 3",
        "Gap 1 :4; Inserted 1 :4",
    );
    let months = ["2023-12", "2024-01"].map(String::from);
    let year = calendar_of(&months, crate::CalendarFeature::DayOfYear);
    assert_eq!((year[1], year[2]), (0.0, (std::f64::consts::TAU * (31.0 / 366.0)).sin()));
}

#[test]
fn integers_that_are_dates_go_on_as_dates() {
    goes_on(&["20240229", "20240301", "20240302"], "1 d", ["20240303", "20240304"]);
    goes_on(&["20240628", "20240629", "20240630", "20240701"], "1 d", ["20240702", "20240703"]);
    goes_on(&["202410", "202411", "202412", "202501"], "1 mo", ["202502", "202503"]);
    goes_on(&["2024022922", "2024022923", "2024030100"], "1 h", ["2024030101", "2024030102"]);
    goes_on(&["202312312340", "202312312350", "202401010000"], "10 min", ["202401010010", "202401010020"]);
    goes_on(&["20231231235958", "20231231235959", "20240101000000"], "1 s", ["20240101000001", "20240101000002"]);
    goes_on(&["20240105", "20240112", "20240119", "20240126", "20240202"], "7 d", ["20240209", "20240216"]);
    goes_on(&["20240330", "20240331", "20240332"], "1", ["20240333", "20240334"]);
    goes_on(&["20240101", "20240102", "20240103"], "1", ["20240104", "20240105"]);
    let month: Vec<String> = (20_240_101..=20_240_131).map(|day: i64| day.to_string()).collect();
    goes_on(&month.iter().map(String::as_str).collect::<Vec<_>>(), "1 d", ["20240201", "20240202"]);
    let (signal, ..) = after(&["20240629", "20240630", "20240701"]);
    let weekend = crate::calendar(&signal.stamps, 1, &[crate::CalendarFeature::Weekend], false).expect("dates");
    assert_eq!((&weekend[0].values[0][..], signal.step()), (&[1.0, 1.0, 0.0, 0.0][..], Some(DAY)));
    check(
        "t,a\n20240630,1\n20240701,2\n20240703,3\n",
        "",
        "20240630 1; 20240701 2; 20240702 -; 20240703 3",
        "Gap 1 :4; Inserted 1 :4",
    );
    check(
        "unique_id,ds,y\nb,20240701,1\na,20240630,2\na,20240629,3\na,20240701,4\nb,20240702,5\n",
        "format = \"long\"",
        "20240629 -,3; 20240630 -,2; 20240701 1,4; 20240702 5,-",
        "Reordered a 1 :4",
    );
    // Digits that stand otherwise are no dates.
    check("t,a\n+20240630,1\n20240701,2\n20240772,3\n", "", "+20240630 1; 20240701 2; 20240772 3", "");
}

#[test]
fn days_of_local_clocks_are_regular() {
    let of = |stamps: &[(&str, &str)], time: &str| {
        let of = |(day, offset): &(&str, &str)| format!("2024-{day}{time}{offset}");
        stamps.iter().map(of).collect::<Vec<String>>()
    };
    let on = |stamps: &[(&str, &str)], time: &str, step: &str, expected: [&str; 2]| {
        goes_on(&of(stamps, time).iter().map(String::as_str).collect::<Vec<_>>(), step, expected);
    };
    let [winter, summer] = ["+01:00", "+02:00"];
    let days = [("03-29", winter), ("03-30", winter), ("03-31", winter), ("04-01", summer), ("04-02", summer), ("04-03", summer)];
    on(&days, " 00:00:00", "1 d", ["2024-04-04 00:00:00+02:00", "2024-04-05 00:00:00+02:00"]);
    let months = [("01-31", winter), ("02-29", winter), ("03-31", summer), ("04-30", summer)];
    on(&months, "T06:00:00", "1 mo", ["2024-05-31T06:00:00+02:00", "2024-06-30T06:00:00+02:00"]);
    let weeks = [("10-14", summer), ("10-21", summer), ("10-28", winter), ("11-04", winter)];
    on(&weeks, " 00:00:00", "7 d", ["2024-11-11 00:00:00+01:00", "2024-11-18 00:00:00+01:00"]);
    let workdays =
        [("03-21", "Z"), ("03-22", "Z"), ("03-25", "Z"), ("03-26", "Z"), ("03-27", "Z"), ("03-28", "Z"), ("03-29", "Z")];
    let workdays = [&workdays[..], &[("04-01", "+01:00"), ("04-02", "+01:00")]].concat();
    on(&workdays, "T09:00:00", "1 d, mon-fri", ["2024-04-03T09:00:00+01:00", "2024-04-04T09:00:00+01:00"]);
    // Others are written in UTC: one offset, hours, and days of UTC.
    on(&days[..3], " 00:00:00", "1 d", ["2024-03-31 23:00:00+00:00", "2024-04-01 23:00:00+00:00"]);
    let utc = ["2024-03-30 01:00:00+01:00", "2024-03-31 01:00:00+01:00", "2024-04-01 02:00:00+02:00"];
    goes_on(&utc, "1 d", ["2024-04-02 00:00:00+00:00", "2024-04-03 00:00:00+00:00"]);
    // The calendar is the same of stamps that are kept as texts.
    let stamps = of(&days, " 00:00:00");
    let (signal, ..) = after(&stamps.iter().map(String::as_str).collect::<Vec<_>>());
    let calendar = |stamps: &Stamps| crate::calendar(stamps, 2, &[crate::CalendarFeature::HourOfDay], false).expect("times");
    assert_eq!((calendar(&signal.stamps), signal.step()), (calendar(&Stamps::from(stamps)), Some(DAY)));
    check(
        "unique_id,ds,y\na,2024-03-31T00:00+01:00,2\na,2024-03-30T00:00+01:00,1\na,2024-04-01T00:00+02:00,3\na,2024-04-03T00:00+02:00,4\n\
         b,2024-04-01T00:00+02:00,5\nb,2024-04-02T00:00+02:00,6\nb,2024-04-03T00:00+02:00,7\n",
        "format = \"long\"",
        "2024-03-30T00:00+01:00 1,-; 2024-03-31T00:00+01:00 2,-; 2024-04-01T00:00+02:00 3,5; 2024-04-02T00:00+02:00 -,6; \
         2024-04-03T00:00+02:00 4,7",
        "Reordered a 1 :3; Gap a 1 :5; Inserted a 1 :5",
    );
}

/// What a feature of the calendar is for these stamps and two more, however they are kept.
fn calendar_of(stamps: &[String], feature: crate::CalendarFeature) -> Vec<f64> {
    let rows: String = stamps.iter().map(|stamp| format!("{stamp},1\n")).collect();
    let (signal, _) = read_bytes(format!("t,a\n{rows}").as_bytes(), "").expect("reads");
    let of = |stamps: &Stamps| crate::calendar(stamps, 2, &[feature], false).expect("times")[0].values[0].to_vec();
    let values = of(&signal.stamps);
    assert_eq!(values, of(&Stamps::from(stamps.to_vec())), "{stamps:?}");
    values
}

#[test]
fn what_counts_by_the_local_clock_has_its_calendar() {
    let weekend = |stamps: &[String]| calendar_of(stamps, crate::CalendarFeature::Weekend);
    // From Friday, 29 March 2024, on; the clocks change on Sunday.
    for (winter, summer) in
        [("+01:00", "+02:00"), ("+05:30", "+05:30"), ("-05:00", "-04:00"), ("-05:00", "-05:00"), ("Z", "+01:00")]
    {
        let day = |day: u32, offset: &str| format!("2024-{:02}-{:02}T00:00:00{offset}", 3 + day / 32, day % 32 + day / 32);
        let days: Vec<String> = (29..32).map(|of| day(of, winter)).chain((32..37).map(|of| day(of, summer))).collect();
        assert_eq!(weekend(&days), [0.0, 1.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.0], "{days:?}");
        assert!(calendar_of(&days, crate::CalendarFeature::HourOfDay).iter().all(|sine| *sine == 0.0), "{days:?}");
    }
    let months = ["2023-11-01 00:00:00+01:00", "2023-12-01 00:00:00+01:00", "2024-01-01 00:00:00+01:00"].map(String::from);
    let year = calendar_of(&months, crate::CalendarFeature::DayOfYear);
    assert_eq!((year[2], year[4]), (0.0, (std::f64::consts::TAU * (60.0 / 366.0)).sin()));
    // Hours stay in UTC, and so do days of UTC.
    let hours = ["2024-03-30T00:00:00+05:30", "2024-03-30T01:00:00+05:30"].map(String::from);
    assert_eq!(weekend(&hours), [0.0; 4]);
    let twice = ["2020-10-25 02:00:00+02:00", "2020-10-25 02:00:00+01:00"].map(String::from);
    let hour = |hour: f64| (std::f64::consts::TAU * (hour / 24.0)).sin();
    assert_eq!(calendar_of(&twice, crate::CalendarFeature::HourOfDay), [0.0, 1.0, 2.0, 3.0].map(hour));
    let utc = ["2024-03-29T23:00:00-01:00", "2024-03-31T00:00:00Z", "2024-04-01T02:00:00+02:00"].map(String::from);
    assert_eq!(weekend(&utc), [1.0, 1.0, 0.0, 0.0, 0.0]);
}

#[test]
fn workdays_are_those_of_the_local_clock() {
    // Thursday, 4 January 2024; in UTC Mondays begin on Sundays.
    let days = ["04", "05", "08", "09", "10", "11", "12", "15"].map(|day| format!("2024-01-{day}T00:00:00+05:30"));
    goes_on(&days.each_ref().map(String::as_str), "1 d, mon-fri", ["2024-01-15T18:30:00Z", "2024-01-16T18:30:00Z"]);
    assert_eq!(calendar_of(&days, crate::CalendarFeature::Weekend), [0.0; 10]);
    // In the evening, west of UTC.
    let days = days.map(|day| day.replace("T00:00:00+05:30", " 21:00:00-05:00"));
    goes_on(&days.each_ref().map(String::as_str), "1 d, mon-fri", ["2024-01-17 02:00:00+00:00", "2024-01-18 02:00:00+00:00"]);
    // A holiday is written as what follows is.
    let text: String = days.iter().filter(|day| !day.contains("-10")).map(|day| format!("{day},1\n")).collect();
    let (rows, audit) = shown(&format!("t,a\n{text}"), "");
    assert!(rows.contains("2024-01-09 21:00:00-05:00 1; 2024-01-11 02:00:00+00:00 -; 2024-01-11 21:00:00-05:00 1"), "{rows}");
    assert_eq!(audit, "Gap 1 :6; Inserted 1 :6");
}

#[test]
fn stamps_that_are_a_little_off_have_a_grid() {
    let jittered = |by: [i64; 7]| {
        let row = |row: i64| format!("{},1\n", 60 * row + by[row as usize % 7] * i64::from(row % 3 > 0));
        (0..1200).map(row).collect::<String>()
    };
    let (signal, audit) = read_bytes(format!("t,a\n{}", jittered([1, -1, 0, 1, -1, 1, -1])).as_bytes(), "").expect("reads");
    assert_eq!((signal.len(), &*audit.step), (1200, "60"));
    assert_eq!((signal.stamps.at(0), signal.stamps.at(1199)), ("0".into(), (60 * 1199).to_string()));
    assert!(audit.total(FindingKind::Snapped) > 600 && audit.findings.len() == 1, "{audit:?}");
    // Much more than a tenth of the step is off the grid.
    let error = read_bytes(format!("t,a\n{}", jittered([9, -9, 0, 9, -9, 9, -9])).as_bytes(), "").expect_err("no grid");
    assert!(error.to_string().contains("685 of 1200 off the grid of 60, the first on line 3"), "{error}");
}

#[test]
fn the_known_future_stays() {
    let (text, options) = ("t,a,f\n1,5,1\n2,,2\n3,6,3\n4,,4\n5,NA,5\n", "future = [\"f\"]");
    check(text, options, "1 5,1; 2 -,2; 3 6,3; 4 -,4; 5 -,5", "Missing a 1 :3");
    let (signal, _) = read_bytes(text.as_bytes(), options).expect("reads");
    assert_eq!((signal.observed_len(), signal.len()), (3, 5));
    let covariate =
        Covariate { name: "f".into(), known: true, values: vec![vec![1.0, 2.0, 3.0, 4.0, 5.0].into()], limits: EVERYTHING };
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
fn glitches_are_masked_and_what_lasts_is_kept_unless_it_is_all_one_number() {
    let of = |outliers: &[&str]| {
        let last = outliers.iter().enumerate().map(|(row, value)| format!("{},{value},1\n", 400 + row)).collect::<String>();
        format!("t,a,b\n{}{last}", (0..400).map(|row| format!("{row},{0},{0}\n", row % 10)).collect::<String>())
    };
    let glitches = |outliers: &[&str]| shown(&of(outliers), "outliers = \"glitches\"");
    for (outliers, audit) in [
        (&["1000"][..], "Masked a 1 :402"),
        (&["1000", "1001"], "Outlier a 2 :402"),
        (&["-9999", "-9999"], "Masked a 2 :402"),
        (&["-9999", "1000", "-9999"], "Outlier a 3 :402"),
        (&["1"], ""),
    ] {
        let (signal, found) = glitches(outliers);
        assert_eq!(found, audit, "{outliers:?}");
        let value = if audit.starts_with("Masked") { "-" } else { outliers[0] };
        assert!(signal.contains(&format!("; 400 {value},1")), "{signal}");
    }
    // Each column by itself.
    let text = of(&["1000"]).replace("\n7,7,7\n8,8,8\n", "\n7,7,1000\n8,8,1001\n");
    assert_eq!(shown(&text, "outliers = \"glitches\"").1, "Outlier b 2 :9; Masked a 1 :402");
}

#[test]
fn limits_are_those_of_outliers_and_hold_what_stayed() {
    let rows = |last: [&str; 2]| {
        let body: String = (0..400).map(|row| format!("{row},{0},{0}\n", row % 10)).collect();
        format!("t,a,p\n{body}400,{},1\n401,{},1\n", last[0], last[1])
    };
    let limits = |last: [&str; 2], options: &str| {
        let (signal, _) = read_bytes(rows(last).as_bytes(), &format!("past = [\"p\"]\n{options}")).expect("reads");
        (signal.limits, signal.covariates[0].limits)
    };
    assert_eq!(limits(["5", "1000"], ""), (Vec::new(), EVERYTHING));
    let usual = limits(["5", "5"], "outliers = \"glitches\"");
    let (low, high) = usual.0[0];
    assert!(low < -60.0 && high > 60.0 && high < 80.0 && usual.1.0 < -60.0, "{usual:?}");
    // A glitch and what `mask` took stay beyond them; what stayed is within.
    for (last, outliers, lowest, highest) in [
        (["5", "1000"], "glitches", low, high),
        (["900", "1000"], "mask", low, high),
        (["900", "-1000"], "glitches", -1000.0, 900.0),
    ] {
        let [found] = limits(last, &format!("outliers = \"{outliers}\"")).0[..] else { panic!("one column") };
        assert!((found.0 - lowest).abs() < 1.0 && (found.1 - highest).abs() < 1.0, "{found:?}: {last:?}");
    }
    // Of a long file each series has its own, and what goes along the widest.
    let long: String = (0..100).map(|row| format!("a,{row},{0},{0}\nb,{row},{1},{1}\n", row % 10, 1000 + row % 10)).collect();
    let text = format!("unique_id,ds,y,p\n{long}");
    let options = "format = \"long\"\npast = [\"p\"]\noutliers = \"glitches\"";
    let (signal, _) = read_bytes(text.as_bytes(), options).expect("reads");
    let [a, b] = signal.limits[..] else { panic!("two series") };
    assert!(a.1 < 100.0 && b.0 > 900.0 && signal.covariates[0].limits == (a.0, b.1), "{a:?} {b:?}");
    // What is known for the future is never made missing.
    let (signal, _) = read_bytes(text.as_bytes(), &options.replace("past", "future")).expect("reads");
    assert_eq!(signal.covariates[0].limits, EVERYTHING);
}

#[test]
fn a_schedule_is_none_of_glitches_where_lines_are_left_out() {
    // Every 150 hours, of which others are left out in no order.
    let line = |hour: usize| match hour % 150 {
        7 => format!("{hour},{}\n", 500 + hour),
        _ if (hour * 7919 + hour * hour) % 101 < 12 => String::new(),
        _ => format!("{hour},{}\n", hour % 10),
    };
    let text = format!("t,a\n{}", (0..3000).map(line).collect::<String>());
    let (_, found) = shown(&text, "outliers = \"glitches\"");
    assert!(found.contains("Outlier a 20") && !found.contains("Masked"), "{found}");
}

#[test]
fn a_value_that_was_masked_was_observed() {
    let rows = (0..100).map(|row| format!("{row},{}\n", row % 10)).collect::<String>();
    for outliers in ["mask", "glitches"] {
        let options = format!("outliers = \"{outliers}\"");
        let text = format!("t,a\n{rows}100,1000\n");
        let (signal, _) = read_bytes(text.as_bytes(), &options).expect("reads");
        assert_eq!((signal.observed_len(), signal.len()), (101, 101));
        // Before rows that have none.
        let (signal, _) =
            read_bytes(format!("{text}101,\n102,-1\n").as_bytes(), &format!("{options}\nmissing = [-1]")).expect("reads");
        assert_eq!((signal.observed_len(), signal.len()), (101, 103));
        let known = text.replace('\n', ",1\n") + "101,,1\n";
        let (signal, _) =
            read_bytes(known.replacen(",1\n", ",f\n", 1).as_bytes(), &format!("{options}\nfuture = [\"f\"]")).expect("reads");
        assert_eq!((signal.observed_len(), signal.len()), (101, 102));
        // What goes along is no value of a series.
        let past: String = (0..100).map(|row| format!("{row},{0},{0}\n", row % 10)).collect();
        let (signal, audit) =
            read_bytes(format!("t,a,p\n{past}100,,1000\n").as_bytes(), &format!("{options}\npast = [\"p\"]")).expect("reads");
        assert_eq!((signal.observed_len(), signal.len(), audit.total(FindingKind::Masked)), (100, 101, 1));
    }
    // Ends meet where the last value was, masked or not.
    let long: String = (0..100).map(|row| format!("a,{row},{0}\nb,{row},{0}\n", row % 10)).collect();
    let (signal, _) = read_bytes(
        format!("unique_id,ds,y\n{long}a,100,1000\nb,100,5\n").as_bytes(),
        "format = \"long\"\nalign = \"end\"\noutliers = \"mask\"",
    )
    .expect("reads");
    assert_eq!((signal.observed_len(), signal.len()), (101, 101));
    assert_eq!((signal.columns[0][99], signal.columns[1][99], signal.columns[1][100]), (9.0, 9.0, 5.0));
}

#[test]
fn wide_columns_are_chosen_by_name() {
    let text = "t,a,b,note\n1,5,6,x\n2,7,8,y\n";
    check(text, "columns = [\"b\", \"a\"]", "1 6,5; 2 8,7", "");
    check(text, "columns = [\"b\"]\npast = [\"a\"]", "1 6,5; 2 8,7", "");
    check("date,0,OT\n1,5,6\n", "", "1 5,6", "");
    check("date,0,1\n1,5,6\n", "columns = [\"1\"]", "1 6", "");
}

fn numeric(text: &str, options: &str) -> Result<(Vec<String>, Vec<String>), DataError> {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("written");
    numeric_columns(file.path(), &toml::from_str(options).expect("options"))
}

#[test]
fn columns_of_text_are_told_from_those_of_numbers() {
    let text = "t,a,note,b,heat,none,c\n1,5,x,,TRUE,,x\n2,6,y,,FALSE,NA,inf\n3,x,,-9,true,nan,7e3\n";
    let of = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<String>>();
    for (options, numbers, others) in [
        ("", &["a", "b", "none", "c"][..], &["note", "heat"][..]),
        ("missing = [-9]", &["a", "b", "none", "c"], &["note", "heat"]),
        ("past = [\"a\"]\nfuture = [\"heat\"]", &["b", "none", "c"], &["note"]),
        ("columns = [\"note\", \"c\", \"a\"]", &["a", "c"], &["note"]),
        ("format = \"long\"\nid = \"note\"\ntime = \"t\"\ntarget = \"heat\"", &[], &["heat"]),
    ] {
        assert_eq!(numeric(text, options).expect("reads"), (of(numbers), of(others)), "{options}");
    }
    // A column whose fields say nothing but inf is none of numbers.
    assert_eq!(numeric("t,a,b\n1,inf,2\n", "").expect("reads"), (of(&["b"]), of(&["a"])));
    assert_eq!(numeric("t,a\n", "").expect("reads"), (of(&["a"]), of(&[])));
    for (text, options, expected) in [
        ("t,a,b\n1,2\n", "", ":2: expected 3 fields, found 2"),
        ("t,a\n1,2\n", "columns = [\"b\"]", "expected a column `b`, found a"),
        ("t,a\n1,2\n", "past = [\"a\"]", "expected at least one target column, found none"),
    ] {
        let error = numeric(text, options).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn packed_files_are_named() {
    for (bytes, expected) in [
        (&b"\x1f\x8b\x08\x00\x00\x00"[..], "expected CSV or Parquet that is unpacked, found a gzip file"),
        (b"PK\x03\x04\x14\x00", "found a zip file"),
        (b"\x28\xb5\x2f\xfd\x04", "found a zstd file"),
    ] {
        let error = read_bytes(bytes, "").expect_err(expected).to_string();
        assert!(error.ends_with(expected), "{error}");
    }
}

#[test]
fn bytes_that_are_not_utf8_are_latin1() {
    let (signal, audit) = read_bytes(b"t,\xb0C\n1,5\n2,6\n", "").expect("reads");
    assert_eq!(signal.names, ["°C"]);
    assert_eq!(audit.lines(), [["bytes that are not UTF-8", "1", "first on line 1", "read as Latin-1"]]);
    assert!(read_bytes("t,°C\n1,5\n2,6\n".as_bytes(), "").expect("reads").1.is_clean());
}

#[test]
fn files_in_utf16_are_named() {
    let of = |mark: &[u8], bytes: fn(u16) -> [u8; 2]| {
        let text = "t,a\n1,2\n".encode_utf16().flat_map(bytes);
        read_bytes(&[mark, &text.collect::<Vec<u8>>()].concat(), "").expect_err("no UTF-8").to_string()
    };
    for error in [of(b"\xff\xfe", u16::to_le_bytes), of(b"\xfe\xff", u16::to_be_bytes)] {
        assert!(error.ends_with(": expected UTF-8, found UTF-16, by its byte order mark"), "{error}");
    }
    for error in [of(b"", u16::to_le_bytes), of(b"", u16::to_be_bytes)] {
        assert!(error.ends_with(": expected UTF-8, found NUL bytes, as UTF-16 has them"), "{error}");
    }
}

#[test]
fn a_header_may_begin_with_a_hash() {
    check("#t,a\n1,5\n2,6\n", "", "1 5; 2 6", "");
    check("#unique_id,ds,y\na,1,5\na,2,6\n", "format = \"long\"\nid = \"#unique_id\"", "1 5; 2 6", "");
}

#[test]
fn every_fault_is_named_with_its_place() {
    let long = "format = \"long\"";
    for (text, options, expected) in [
        ("", "", "empty file"),
        ("t,a\n", "", "expected rows under the header"),
        ("1,2\n2,3\n", "", "expected a header"),
        ("V1,V2\nH1,5\nH2,6\n", "", ":2: column `V1`: expected a month, a date"),
        ("t,a\n1,2,3\n", "", ":2: expected 2 fields, found 3"),
        ("t,a\n1,x\n", "", ":2: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `x`"),
        ("t,a\n1,inf\n", "", ":2: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `inf`"),
        (
            "t,a\n1,1\n2,1\n1,1\n",
            "",
            ":4: column `t`: expected a stamp not before the one above (rows are out of order, or a clock was put back: stamps with an",
        ),
        (
            "t,a\n3,1\n3,1\n2,1\n1,1\n2,1\n",
            "",
            ":6: column `t`: expected a stamp not after the one above, as those before it go back (rows are out of order",
        ),
        (
            "date,hour,load\n2024-01-01,0,5\n2024-01-01,1,6\n2024-01-02,0,7\n2024-01-02,1,8\n2024-01-03,0,9\n",
            "",
            ": expected one row a stamp, found 4 of 5 rows with the stamp of another and different values, the first on line 3: time \
             may lie in more than one column",
        ),
        ("year,month,x\n2024,2,5\n2024,1,6\n2023,2,7\n2023,1,8\n", "", "found 4 of 4 rows with the stamp of another"),
        (
            "unique_id,ds,y\na,1,5\nb,1,5\na,1,6\nb,1,6\nb,2,7\n",
            long,
            "found 4 of 5 rows with the stamp of another and different values, the first on line 4",
        ),
        ("t,a\n2,1\n2020-01-01,1\n", "", ":3: column `t`: expected a month, a date"),
        (
            "t,a\n2020-01-01 00:00:00,1\n2020-01-01 01:00:00Z,1\n",
            "",
            ":3: column `t`: expected a month, a date, a date and time, or a number of at most 61 bits without its point, in the form of \
             the first, an offset from UTC included, found `2020-01-01 01:00:00Z`",
        ),
        ("t,a\n2020-01-01 00:00:00+01:00,1\n2020-01-01 01:00:00,1\n", "", ":3: column `t`: expected a month, a date"),
        ("t,a\n9223372036854775807,1\n", "", ":2: column `t`: expected a month, a date"),
        ("t,a\n1/7/16 0:00,1\n", "", ": expected dates with the year first, or a day above 12"),
        ("t,a\n1/7/016 0:00,1\n", "", ":2: column `t`: expected a month, a date"),
        (
            "t;a\n1;2,5\n2;1.234\n3;4.5\n",
            "",
            ":4: column `a`: expected a finite number, or nothing, NA, NaN, null or None, with a decimal comma, as other numbers of the file or `decimal` have it, found `4.5`",
        ),
        (
            "t;a\n1;2,5\n",
            "decimal = \"point\"",
            ":2: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `2,5`",
        ),
        ("t;a\n1;2.5\n2;2,5\n", "", ":3: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `2,5`"),
        ("t,a\n1,\"2,500\"\n", "", ":2: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `2,500`"),
        ("t;a;b\n1;2,5\n", "", ":2: expected 3 fields, found 2"),
        ("t;a;\n1;2;3\n", "", ":2: expected 2 fields, found 3"),
        ("t,,b\n1,2,\n", "", "neither empty nor doubled, found `` as column 2"),
        (
            "# from, here\nt,a,b\n1,2\n",
            "",
            "expected a header with column names, and no comment above it, found `# from,here` on line 1",
        ),
        ("\n# here\nt,a\n", "", "found `# here` on line 2"),
        ("# from; here\n# there\nt,a\n", "", "found `# from;here` on line 1"),
        ("# here\n", "", "found `# here` on line 1"),
        ("t\n1\n", "", "expected a stamp column and at least one value column, found 1 column"),
        ("\u{1f}\u{8b}", "", "at least one value column"),
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
        ("t,a\n0,1\n10,1\n13,1\n26,1\n33,1\n57,1\n61,1\n", "", "found 5 of 7 off the grid of 10, the first on line 4"),
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
fn fields_and_decimals_are_told_apart_by_the_file() {
    let read =
        |text: &str, options: &str| read_bytes(text.as_bytes(), options).unwrap_or_else(|error| panic!("{text:?}: {error}"));
    let plain = read("t,a,b\n1,2.5,1234.5\n2,-0.5,2000\n3,,1000000\n", "").0;
    for (text, options) in [
        ("t;a;b\n1;2.5;1234.5\n2;-0.5;2000\n3;;1000000\n", ""),
        ("t\ta\tb\n1\t2.5\t1234.5\n2\t-0.5\t2000\n3\t\t1000000\n", ""),
        ("t|a|b\n1|2.5|1234.5\n2|-0.5|2000\n3||1000000\n", ""),
        ("sep=;\r\nt;a;b\r\n1;2,5;1234,5\r\n2;-0,5;2.000\r\n3;;1.000.000\r\n", ""),
        ("\u{feff}t;a;b\n1;2,5;1.234,5\n2;-0,5;2 000\n3;NA;1'000'000\n", ""),
        ("t;a;b\n1;\"2,5\";1234,5\n2;-0,5;2e3\n3;;1000000\n", "decimal = \"comma\""),
        ("t,a,b\n1,\"2,5\",\"1.234,5\"\n2,\"-0,5\",2.000\n3,,1000000\n", "decimal = \"comma\""),
        ("t,a,b\n1,\"2,5\",\"1.234,5\"\n2,\"-0,5\",\"2000\"\n3,,\"1.000.000\"\n", ""),
        ("t,a,b\n1,2.5,1234.5\n2,-0.5,2000\n3,-,1000000\n", ""),
        // What tells of points is not overruled.
        ("t,a,b\n1,2.5,1234.5\n2,-0.5,2000\n3,,1000000\n", "decimal = \"comma\""),
    ] {
        let (signal, audit) = read(text, options);
        assert_eq!((&signal.stamps, &signal.names), (&plain.stamps, &plain.names), "{text:?}");
        let values =
            |signal: &Signal| signal.columns.iter().flat_map(|column| column.to_vec()).map(f64::to_bits).collect::<Vec<_>>();
        assert_eq!(values(&signal), values(&plain), "{text:?}");
        let has_commas = text.contains("2,5");
        assert_eq!(audit.decimal.is_some(), has_commas, "{text:?}");
        assert_eq!(audit.total(FindingKind::DecimalComma) > 0, has_commas, "{text:?}");
    }
    // A text with a comma does not count where numbers have points.
    let (signal, _) = read("t,note,a\n1,\"1,5\",2\n2,\"2,5\",2.5\n", "columns = [\"a\"]");
    assert_eq!(signal.columns[0][..], [2.0, 2.5]);
    // Lines are those of the file.
    let error = read_bytes(b"sep=;\nt;a\n1;2,5\n2;x\n", "").expect_err("no number").to_string();
    assert!(error.contains(":4: column `a`"), "{error}");
    // Numbers that do not tell are as it is told.
    for (options, expected) in [("", 1.234), ("decimal = \"comma\"", 1234.0)] {
        assert_eq!(read("t;a\n1;1.234\n2;2.345\n", options).0.columns[0][0], expected);
    }
    // Stamps and names are no numbers, and covariates are.
    let (long, _) = read(
        "unique_id;ds;y;f\nr 1.234;01.02.2024 00:00;1,5;0,5\nr 1.234;01.02.2024 01:00;2,5;1\n",
        "format = \"long\"\nfuture = [\"f\"]",
    );
    assert_eq!(
        (long.names[0].as_str(), &long.columns[0][..], &long.covariates[0].values[0][..]),
        ("r 1.234", &[1.5, 2.5][..], &[0.5, 1.0][..])
    );
    let (seconds, _) = read("t;a\n0,5;1,5\n1,0;2\n1,5;3\n", "");
    assert_eq!(seconds.stamps.at(2), "1.5");
}

#[test]
fn thousands_may_be_told_apart() {
    check(
        "t;a;b\n1;1,234.5;1'234\n2;-2,345,678;999\n3;12;12 345.25\n",
        "",
        "1 1234.5,1234; 2 -2345678,999; 3 12,12345.25",
        "Thousands a 2 :2; Thousands b 2 :2",
    );
    // Other numbers tell that a comma is no decimal one, or an option.
    check("t,a,b\n1,\"1,234\",0.5\n2,7,1\n", "", "1 1234,0.5; 2 7,1", "Thousands a 1 :2");
    check("t,a\n1,\"1,234\"\n2,7\n", "decimal = \"point\"", "1 1234; 2 7", "Thousands a 1 :2");
    for (text, found) in [
        ("t,a\n1,\"1,234\"\n2,7\n", "1,234"),
        ("t;a\n1;0.5\n2;1,23.5\n", "1,23.5"),
        ("t;a\n1;0.5\n2;1,234'567\n", "1,234'567"),
        ("t;a\n1;0.5\n2;0,234\n", "0,234"),
        ("t;a\n1;0.5\n2;1'234.\n", "1'234."),
        ("t;a\n1;0.5\n2;--1'234\n", "--1'234"),
        ("t;a\n1;0,5\n2;1,234.5\n", "1,234.5"),
    ] {
        let error = read_bytes(text.as_bytes(), "").expect_err(text).to_string();
        assert!(error.ends_with(&format!("found `{found}`")), "{text:?}: {error}");
    }
}

#[test]
fn stamps_may_lie_behind_what_is_none() {
    let rows = "2024-01-01 5; 2024-01-02 4; 2024-01-03 7";
    check("y,when\n5,2024-01-01\n4,2024-01-02\n7,2024-01-03\n", "", rows, "StampsBehind when 3 :2");
    check(
        "site,when,y\nA,1.1.2024,5\nA,2.1.2024,4\nA,3.1.2024,7\n",
        "columns = [\"y\"]",
        rows,
        "StampsBehind when 3 :2; DayFirst 3 :2",
    );
    let known = "past = [\"y\"]";
    check(
        "y,when,a\n5,2024-01-01,1\n4,2024-01-02,2\n7,2024-01-03,3\n",
        known,
        "2024-01-01 1,5; 2024-01-02 2,4; 2024-01-03 3,7",
        "StampsBehind when 3 :2",
    );
    // What rises beside dates is measured, unless those stand still; and times since 1970 are times.
    check(
        "kWh,day,y\n0.5,2024-01-01,5\n1.5,2024-01-02,4\n2.5,2024-01-03,7\n",
        "",
        "2024-01-01 0.5,5; 2024-01-02 1.5,4; 2024-01-03 2.5,7",
        "StampsBehind day 3 :2",
    );
    let run = "t,day,y\n0.5,2024-01-01,5\n1.5,2024-01-01,4\n";
    check(run, "columns = [\"y\"]", "0.5 5; 1.5 4", "");
    let since = "t,day,y\n1704067200.5,2024-01-01,5\n1704153600.5,2024-01-02,4\n";
    check(since, "columns = [\"y\"]", "1704067200.5 5; 1704153600.5 4", "");
    // Of two columns of dates neither is taken.
    for (text, expected) in [
        (
            "y,from,to\n5,2024-01-01,2024-01-02\n4,2024-01-02,2024-01-03\n5,2024-01-03,2024-01-04\n",
            ":2: column `from`: expected a finite number",
        ),
        (",when,y\nA,2024-01-01,5\nA,2024-01-02,4\n", ":2: column ``: expected a month"),
        ("site,when,y\nA,2024-01-01,5\nA,noon,4\n", ":2: column `site`: expected a month"),
    ] {
        let error = read_bytes(text.as_bytes(), "").expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn times_of_day_are_joined_with_their_dates() {
    let rows = "2024-01-01 22:00:00 1; 2024-01-01 23:00:00 2; 2024-01-02 00:00:00 3";
    for (text, more) in [
        ("Date,Time,y\n2024-01-01,22:00:00,1\n2024-01-01,23:00:00,2\n2024-01-02,00:00:00,3\n", ""),
        ("Date;Time;y\n01.01.2024;22.00.00;1\n01.01.2024;23.00.00;2\n02.01.2024;00.00.00;3\n", "; DayFirst 3 :2"),
        ("Date,Time,y\n1/1/2024,10:00:00 PM,1\n1/1/2024,11:00:00 PM,2\n1/2/2024,12:00:00 AM,3\n", "; MonthFirst 3 :2"),
    ] {
        check(text, "", rows, &format!("Joined Time 3 :2{more}"));
    }
    // Behind other columns, too.
    check(
        "no,Date,Time,y\n1,2024-01-01,22:00,1\n2,2024-01-01,23:00,2\n3,2024-01-02,00:00,3\n",
        "",
        "2024-01-01 22:00 1; 2024-01-01 23:00 2; 2024-01-02 00:00 3",
        "Numbered no 3 :2; Joined Time 3 :2",
    );
    let long = "format = \"long\"\nid = \"room\"\ntime = \"Date Time\"";
    let text = "room,Date,Time,y\na,2024-01-01,22:00,1\na,2024-01-01,23:00,2\nb,2024-01-01,23:00,3\n";
    check(text, long, "2024-01-01 22:00 1,-; 2024-01-01 23:00 2,3", "Joined Time 3 :2");
    // Of one row a date the second column is a series, and what is no time of day is no stamp.
    let error = read_bytes(b"Date,Sunrise,y\n2024-01-01,08:11,1\n2024-01-02,08:10,2\n", "").expect_err("a time").to_string();
    assert!(error.contains(":2: column `Sunrise`: expected a finite number"), "{error}");
    let minutes =
        (0..120).map(|minute| format!("2024-01-01,{:02}:{:02},{minute}\n", minute / 60, minute % 60)).collect::<String>();
    let error = read_bytes(format!("Date,Time,y\n{minutes}2024-01-01,late,3\n").as_bytes(), "").expect_err("no time").to_string();
    assert!(
        error.contains(":122: column `Date Time`: expected a month") && error.ends_with("found `2024-01-01 late`"),
        "{error}"
    );
}

#[test]
fn what_says_nothing_at_the_edges_of_a_file_is_left_out() {
    check("t;a;;\n1;2;;\n2;3\n;;;\n3;;\n;;\n", "", "1 2; 2 3; 3 -", "Blank 2 :4; Missing a 1 :5");
    check("t,a\n1,?\n2,3\n", "", "1 -; 2 3", "Missing a 1 :2");
    check("t,a\n1,unavailable\n2,3\n3,Unknown\n", "", "1 -; 2 3; 3 -", "Missing a 2 :2");
    check("# from, here\n\nt,a,b\n1,2,3\n2,,4\n", "", "1 2,3; 2 -,4", "Preamble 1 :1; Missing a 1 :5");
    check("# from; here\n# there\nt,a\n1,2\n2,3\n", "", "1 2; 2 3", "Preamble 2 :1");
    check("sep=;\nOf 2024\nt;a\n;kW\n1;2,5\n2;3\n", "", "1 2.5; 2 3", "Preamble 1 :2; Units 1 :4; DecimalComma a 1 :5");
    // A second table is no preamble.
    let error = read_bytes(b"t,a\n1,2\n2,3\nt,a\n3,4\n", "").expect_err("a header").to_string();
    assert!(error.contains(":4: column `t`: expected a month"), "{error}");
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"t,a\n1,2\n,\n").expect("written");
    let error = crate::read_wide(file.path()).expect_err("strict").to_string();
    assert!(error.contains("expected rows with fields that say something, found 1 without, the first on line 3"), "{error}");
}

#[test]
fn statics_follow_the_series() {
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"unique_id,area\nb,2\na,1\n").expect("written");
    let options = format!("statics = {:?}", file.path());
    let (signal, _) = read_bytes(b"t,a,b\n1,5,6\n", &options).expect("reads");
    assert_eq!(signal.statics, [crate::Static { name: "area".into(), values: vec![1.0, 2.0] }]);
}

#[cfg(unix)]
#[test]
fn what_cannot_be_read_twice_is_refused() {
    let error = read(Path::new("/dev/null"), &ReadOptions::default()).expect_err("a device").to_string();
    assert_eq!(error, "/dev/null: expected a file, which is read more than once, found a pipe or a device");
}
