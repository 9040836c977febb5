//! Series of a long file, and samples on no grid.

use super::*;

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
            format!("{},{}\n", stamp(at), row % 13)
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
        assert!(matches!(error, DataError::Irregular { every: Some(found), .. } if found.to_string() == every));
        let (_, audit) = read_bytes(text.as_bytes(), &format!("every = \"{every}\"")).expect("reads");
        assert!(audit.step == step && audit.total(FindingKind::Averaged) > 200, "{audit:?}");
    }
    // Most steps of a few far from one another have none.
    let few = (0..40u64).map(|row| format!("{},1\n", row * row * row)).collect::<String>();
    let error = read_bytes(format!("t,a\n{few}").as_bytes(), "").expect_err("no grid");
    assert!(matches!(error, DataError::Irregular { every: None, .. }), "{error}");
}
