//! Series of a long file, and samples on no grid.

use super::*;
use crate::{Gather, Gathered, Steps};

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
    check(&format!("{head}\na,1,5\na,2,6\na,4,7\n"), "format = \"long\"", "1 5; 2 6; 3 -; 4 7", "Gap a 1 :4; Inserted a 1 :4");
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
fn several_columns_may_name_a_series_and_have_its_values() {
    let text = "ds,room,meter,kW,V,x\n1,a,1,5,230,0\n1,b,1,6,,1\n2,a,1,7,231,2\n2,b,1,8,232,3\n1,,2,9,233,4\n";
    let options = "format = \"long\"\nid = [\"room\", \"meter\"]\ntarget = [\"kW\", \"V\"]\n";
    let names = |options: &str| read_bytes(text.as_bytes(), options).expect("reads").0.names;
    assert_eq!(names(options), ["a/1/kW", "a/1/V", "b/1/kW", "b/1/V", "2/kW", "2/V"]);
    check(text, options, "1 5,230,6,-,9,233; 2 7,231,8,232,-,-", "Missing b/1/V 1 :3");
    let kept = format!("{options}columns = [\"b/1/V\", \"a/1/kW\"]\npast = [\"x\"]");
    assert_eq!(names(&kept), ["b/1/V", "a/1/kW"]);
    check(text, &kept, "1 -,5,1,0; 2 232,7,3,2", "Missing b/1/V 1 :3");
    let (_, audit) = read_bytes(text.as_bytes(), &kept).expect("reads");
    assert_eq!(audit.others, ["2/V", "2/kW", "a/1/V", "b/1/kW"]);
    // What is not kept may hold anything.
    let worse = text.replace("231", "high");
    check(&worse, &kept, "1 -,5,1,0; 2 232,7,3,2", "Missing b/1/V 1 :3");
    for (text, options, expected) in [
        (worse.as_str(), options, ":4: column `V`: expected a finite number, or nothing, NA, NaN, null or None, found `high`"),
        (
            "ds,room,meter,kW,V\n1,a,1,5,230\n1,a/1,,6,231\n",
            options,
            ":3: column `room`: expected ids that tell series apart, one alone `a/1/kW`, found `a/1`",
        ),
        ("ds,room,meter,kW,V\n1,,,5,230\n", options, ":2: column `room`: expected the name of a series, found ``"),
        (text, &format!("{options}columns = [\"a/1\"]"), "expected rows of series `a/1`, found none"),
    ] {
        let error = read_bytes(text.as_bytes(), options).expect_err(expected).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
    // Each id has its statics, whatever it measures.
    let mut file = tempfile::NamedTempFile::new().expect("a temporary file");
    file.write_all(b"area,meter,room\n7,1,b\n8,1,a\n9,2,\n").expect("written");
    let (signal, _) = read_bytes(text.as_bytes(), &format!("statics = {:?}\n{options}", file.path())).expect("reads");
    assert_eq!(signal.statics, [crate::Static { name: "area".into(), values: vec![8.0, 8.0, 7.0, 7.0, 9.0, 9.0] }]);
}

#[test]
fn rows_on_no_grid_are_means_of_steps() {
    check(
        "t,a,b,f\n2024-01-01 00:00:10.5,1,5,0\n2024-01-01 00:04:59.25,2,,1\n2024-01-01 00:05:00,-9,7,4\n2024-01-01 00:19:00,4,8,9\n",
        "every = \"5 min\"\nmissing = [-9]\nfuture = [\"f\"]",
        "2024-01-01 00:00:00 1.5,5,0.5; 2024-01-01 00:05:00 -,7,4; 2024-01-01 00:10:00 -,-,4; 2024-01-01 00:15:00 4,8,9",
        "Averaged 1 :3; Gap 1 :5; Inserted 1 :5; Repeated f 1 :5; Missing a 1 :4",
    );
    check(
        "unique_id,ds,y\na,7,1\nb,12,5\na,9,2\na,11,4\nb,28,6\n",
        "format = \"long\"\nevery = 10",
        "0 1.5,-; 10 4,5; 20 -,6",
        "Averaged a 1 :4",
    );
    for (text, options, expected) in [
        (
            "t,a\n2024-01-01,1\n2024-01-02,2\n",
            "every = 60",
            "expected `every` as a step of stamps that are times, no finer than they are written, found `60`",
        ),
        ("t,a\n1,1\n2,2\n", "every = \"1 h\"", "stamps that are numbers, no finer than they are written, found `1 h`"),
        ("t,a\n2024-01-01 00:00:00,1\n2024-01-01 00:00:01,2\n", "every = \"250 ms\"", "found `250 ms`"),
        (
            "t,a\n1,1\n2,2\n900,2\n",
            "every = 1",
            "expected rows on at least a third of the grid of 1, found 3 rows and 897 missing between them",
        ),
    ] {
        let error = read_bytes(text.as_bytes(), options).expect_err(text).to_string();
        assert!(error.contains(expected), "{text:?}: {error}");
    }
}

#[test]
fn what_is_on_no_grid_is_told_with_a_step_that_has_most_rows() {
    // What lies between two is drawn from 1 to 7 minutes, or as few of what stamps count.
    let rows = |stamp: &dyn Fn(u64) -> String| {
        let mut at = 0;
        let row = |row: u64| {
            at += 60 + row * 7919 % 361;
            format!("{},{}\n", stamp(at), row * row % 13)
        };
        format!("t,a\n{}", (0..600).map(row).collect::<String>())
    };
    let date = |at: u64| format!("2024-01-{:02} {:02}:{:02}:{:02}", 1 + at / 86_400, at / 3600 % 24, at / 60 % 60, at % 60);
    for (text, every, step) in [
        (rows(&date), "10 min", "10 min"),
        (rows(&|at| format!("{}.{:03}", date(at), at * 37 % 1000)), "10 min", "10 min"),
        (rows(&|at| (1_700_000_000 + at).to_string()), "600", "600"),
        (rows(&|at| (1_700_000_000_000 + 1000 * at + 37 * at % 1000).to_string()), "600000", "600000"),
        (rows(&|at| at.to_string()), "500", "500"),
    ] {
        let error = read_bytes(text.as_bytes(), "").expect_err("no grid");
        let told = format!("; with `every = \"{every}\"` in `data.read` rows are means of what each of these steps has");
        assert!(error.to_string().ends_with(&told), "{error}");
        assert!(
            matches!(error, DataError::Irregular { steps: Some(Steps { every: found, hold: None }), .. } if found.to_string() == every)
        );
        let (_, audit) = read_bytes(text.as_bytes(), &format!("every = \"{every}\"")).expect("reads");
        assert!(audit.step == step && audit.total(FindingKind::Averaged) > 200, "{audit:?}");
    }
    // Most steps of a few far from one another have none.
    let few = (0..40u64).map(|row| format!("{},1\n", row * row * row)).collect::<String>();
    let error = read_bytes(format!("t,a\n{few}").as_bytes(), "").expect_err("no grid");
    assert!(matches!(error, DataError::Irregular { steps: None, .. }), "{error}");
}

#[test]
fn values_last_until_the_next() {
    let text = "time,a\n2024-01-01 00:01,1\n2024-01-01 00:04,3\n2024-01-01 00:31,4\n2024-01-01 02:00,5\n";
    // A minute and a half of four, of one and of three; then three lasts for half an hour.
    check(
        text,
        "every = \"10 min\"\nhold = \"30 min\"",
        "2024-01-01 00:00 2.333333333333333; 2024-01-01 00:10 3; 2024-01-01 00:20 3; 2024-01-01 00:30 3.9; \
         2024-01-01 00:40 4; 2024-01-01 00:50 4; 2024-01-01 01:00 4; 2024-01-01 01:10 -; 2024-01-01 01:20 -; 2024-01-01 01:30 -; \
         2024-01-01 01:40 -; 2024-01-01 01:50 -; 2024-01-01 02:00 5",
        "Averaged 1 :3; Held 5 :3; Gap 1 :5; Inserted 5 :5",
    );
    // A missing value tells nothing, of several in a row either; series of a long file last to the end of all.
    let text = "t,a,b\n0,1,5\n1,,6\n2,2,-9\n5,,\n7,3,\n";
    check(text, "every = 2\nhold = 100\nmissing = [-9]", "0 1,5.5; 2 2,6; 4 2,6; 6 2.5,6", "Averaged 1 :3; Untold 5 :3");
    let text = "unique_id,ds,y\na,0,1\nb,1,6\na,2,2\na,7,3\n";
    check(text, "format = \"long\"\nevery = 2\nhold = 4", "0 1,6; 2 2,6; 4 2,6; 6 3,-", "Held a 1 :4; Held b 2 :3");
    check(text, "format = \"long\"\nalign = \"end\"\nevery = 2\nhold = 4", "0 1,-; 1 2,-; 2 2,-; 3 3,6", "Held a 1 :4");
    // What is known ahead lasts, too, and the last sample not beside it.
    let text = "t,a,k\n0,1,5\n3,2,6\n7,,8\n8,,9\n";
    check(text, "every = 2\nhold = 100\nfuture = [\"k\"]", "0 1,5; 2 1.5,5.5; 4 -,6; 6 -,7; 8 -,9", "Held 1 :3");
    for (text, options, expected) in [
        (
            "t,a\n0,1\n9,2\n",
            "hold = 5",
            "hold: expected none without `every`, or a time as that is, or a number as that is, found `5`",
        ),
        ("t,a\n0,1\n9,2\n", "every = 1\nhold = \"1 d\"", "hold: expected none without `every`, or a time as that is"),
        (
            "t,a\n0,1\n9000,2\n",
            "every = 1\nhold = 1e6",
            "expected at most 1000 steps (`every`) a row in the mean, into which its values last (`hold`), found 9001 steps of 2 rows",
        ),
    ] {
        let error = read_bytes(text.as_bytes(), options).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn values_that_are_told_when_they_change_are_found() {
    let random = |row: u64| (row.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40) as f64 / (1u64 << 24) as f64;
    // A walk by the minute, rounded, and its changes alone, at their minute or some seconds later.
    let rows = |is_late: bool, all: bool| {
        let (mut value, mut last, mut rows) = (0.0, f64::NAN, String::from("time,a\n"));
        for minute in 0..3000u64 {
            value += random(minute) - 0.5;
            let shown = f64::round(1.5 * value) / 10.0;
            if all || shown != last {
                let seconds = if is_late { (59.0 * random(minute + 7777)) as u64 } else { 0 };
                rows +=
                    &format!("2024-01-0{} {:02}:{:02}:{seconds:02},{shown}\n", 1 + minute / 1440, minute / 60 % 24, minute % 60);
            }
            last = shown;
        }
        rows
    };
    let (_, audit) = read_bytes(rows(false, true).as_bytes(), "").expect("reads");
    assert_eq!(audit.changes, None);
    let (_, audit) = read_bytes(rows(false, false).as_bytes(), "").expect("reads");
    let steps = audit.changes.expect("changes");
    assert_eq!((steps.every.to_string().as_str(), steps.hold.map(|hold| hold.to_string())), ("1 min", Some("1 d".into())));
    let (signal, audit) = read_bytes(rows(false, false).as_bytes(), "every = \"1 min\"\nhold = \"1 d\"").expect("reads");
    let (all, _) = read_bytes(rows(false, true).as_bytes(), "").expect("reads");
    assert!(audit.changes.is_none() && audit.total(FindingKind::Held) > 500, "{audit:?}");
    assert_eq!(signal.columns[0][..], all.columns[0][..signal.len()]);
    let error = read_bytes(rows(true, false).as_bytes(), "").expect_err("no grid");
    assert!(
        error.to_string().ends_with(
            "; with `every = \"5 min\"` and `hold = \"1 d\"` in `data.read` rows are means of what lasts in each of these steps"
        ),
        "{error}"
    );
}

#[test]
fn a_stream_has_the_rows_of_its_file_where_values_last() {
    let options = "every = \"1 min\"\nhold = \"5 min\"\nmissing = [-9]";
    let (mut at, mut lines) = (0u64, Vec::new());
    for row in 0..400u64 {
        at += 1 + row * row % 97 + if row % 50 == 0 { 900 } else { 0 };
        let stamp = format!("2024-01-01 {:02}:{:02}:{:02}", at / 3600, at / 60 % 60, at % 60);
        let value = |row: u64| match row % 7 {
            3 => f64::NAN,
            4 => -9.0,
            _ => (row * 37 % 11) as f64 / 3.0,
        };
        lines.push((stamp, value(row), value(row * 13 + 1)));
    }
    let field = |value: f64| if value.is_nan() { String::new() } else { value.to_string() };
    let text: String = lines.iter().map(|(stamp, a, b)| format!("{stamp},{},{}\n", field(*a), field(*b))).collect();
    let (signal, audit) = read_bytes(format!("time,a,b\n{text}").as_bytes(), options).expect("reads");
    assert!(audit.total(FindingKind::Held) > 50 && audit.total(FindingKind::Inserted) > 20, "{audit:?}");
    let options: ReadOptions = toml::from_str(options).expect("options");
    let names = ["a".to_string(), "b".into()];
    let told = |value: f64| if value == -9.0 { f64::NAN } else { value };
    let stream = |rows: &mut Gather, lines: &[(String, f64, f64)]| {
        let (mut streamed, mut ends): (Vec<Gathered>, Vec<(usize, usize)>) = (Vec::new(), Vec::new());
        for (at, (stamp, a, b)) in lines.iter().enumerate() {
            rows.add(at as u64, stamp, &[(0, told(*a)), (1, told(*b))], "").expect(stamp);
            let before = streamed.len();
            streamed.extend(rows.by_ref().map(|row| row.expect("whole")));
            ends.extend((streamed.len() > before).then_some((at, streamed.len())));
        }
        rows.end();
        streamed.extend(rows.by_ref().map(|row| row.expect("whole")));
        (streamed, ends)
    };
    let (streamed, ends) = stream(&mut Gather::of(&options, &names, None, true), &lines);
    // It may end behind any row, and go on with the line that has ended it.
    for &(at, count) in ends.iter().step_by(9) {
        let mut resumed = Gather::of(&options, &names, None, true);
        assert!(resumed.resume(&streamed[count - 1].stamp, &streamed[count - 1].lasting));
        let (rest, _) = stream(&mut resumed, &lines[at..]);
        let shown = |rows: &[Gathered]| {
            format!("{:?}", rows.iter().map(|row| (&row.stamp, &row.values, &row.lasting)).collect::<Vec<_>>())
        };
        assert_eq!(shown(&rest), shown(&streamed[count..]));
    }
    let rows = (0..signal.len()).map(|row| (signal.stamps.at(row).to_string(), signal.columns[0][row], signal.columns[1][row]));
    let all: Vec<(String, u64, u64)> =
        rows.filter(|(_, a, b)| !a.is_nan() || !b.is_nan()).map(|(stamp, a, b)| (stamp, a.to_bits(), b.to_bits())).collect();
    let found = streamed.iter().map(|row| (row.stamp.clone(), row.values[0].to_bits(), row.values[1].to_bits()));
    assert_eq!(found.collect::<Vec<_>>(), all);
}
