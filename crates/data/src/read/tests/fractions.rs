//! Stamps with fractions, and clocks that are early and late.

use super::*;

/// A column of counts beside these stamps: as it is read, and what the audit says of its step.
fn of<S: AsRef<str>>(stamps: impl IntoIterator<Item = S>) -> Result<(Signal, Audit), DataError> {
    let rows = stamps.into_iter().enumerate().map(|(row, stamp)| format!("{},{row}\n", stamp.as_ref()));
    read_bytes(format!("t,a\n{}", rows.collect::<String>()).as_bytes(), "")
}

/// These stamps are regular, are written as they were, and go on.
fn regular(stamps: &[&str], step: &str, expected: [&str; 2]) {
    let (signal, audit) = of(stamps).unwrap_or_else(|error| panic!("{stamps:?}: {error}"));
    assert!(audit.is_clean(), "{stamps:?}: {audit:?}");
    assert_eq!((&*audit.step, signal.stamps.slice(0..stamps.len())), (step, stamps.iter().map(ToString::to_string).collect()));
    assert_eq!(signal.stamps.after(stamps.len(), 2), expected, "{stamps:?}");
    // So do stamps that are on no grid yet.
    let texts: Vec<String> = stamps.iter().map(ToString::to_string).collect();
    assert_eq!(Stamps::from(texts).after(stamps.len(), 2), expected, "{stamps:?}");
}

#[test]
fn fractions_of_a_second_are_read_and_go_on() {
    regular(
        &["2024-01-01 00:00:00.000", "2024-01-01 00:00:00.100", "2024-01-01 00:00:00.200"],
        "100 ms",
        ["2024-01-01 00:00:00.300", "2024-01-01 00:00:00.400"],
    );
    // What has none where others have six, and what has as many as it needs.
    regular(
        &["2024-01-01T00:00:00", "2024-01-01T00:00:00.500000", "2024-01-01T00:00:01", "2024-01-01T00:00:01.500000"],
        "500 ms",
        ["2024-01-01T00:00:02.000000", "2024-01-01T00:00:02.500000"],
    );
    regular(
        &["2024-01-01T00:00:00.5Z", "2024-01-01T00:00:00.75Z", "2024-01-01T00:00:01Z", "2024-01-01T00:00:01.25Z"],
        "250 ms",
        ["2024-01-01T00:00:01.5Z", "2024-01-01T00:00:01.75Z"],
    );
    regular(
        &["1969-12-31 23:59:59.999998+00:00", "1969-12-31 23:59:59.999999+00:00", "1970-01-01 00:00:00.000000+00:00"],
        "1 µs",
        ["1970-01-01 00:00:00.000001+00:00", "1970-01-01 00:00:00.000002+00:00"],
    );
    // Whole seconds with zeros behind them are what they were: days, workdays, months.
    let days = ["2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09", "2024-01-10", "2024-01-11", "2024-01-12", "2024-01-15"]
        .map(|day| format!("{day}T00:00:00.000Z"));
    regular(&days.each_ref().map(String::as_str), "1 d, mon-fri", ["2024-01-16T00:00:00.000Z", "2024-01-17T00:00:00.000Z"]);
    regular(
        &["2024-01-01 00:00:00.0", "2024-02-01 00:00:00.0", "2024-03-01 00:00:00.0"],
        "1 mo",
        ["2024-04-01 00:00:00.0", "2024-05-01 00:00:00.0"],
    );
    regular(
        &["2024-03-30 00:00:00.000+01:00", "2024-03-31 00:00:00.000+01:00", "2024-04-01 00:00:00.000+02:00"],
        "1 d",
        ["2024-04-02 00:00:00.000+02:00", "2024-04-03 00:00:00.000+02:00"],
    );
}

#[test]
fn decimals_count_in_their_last_digit() {
    regular(&["0.00", "0.01", "0.02", "0.03"], "0.01", ["0.04", "0.05"]);
    // As languages print them.
    regular(&["0.0", "0.05", "0.1", "0.15000000000000002", "0.2"], "0.05", ["0.25", "0.3"]);
    regular(&["0", "2.5", "5", "7.5"], "2.5", ["10.0", "12.5"]);
    regular(&["-0.50", "-0.25", "0.00", "0.25"], "0.25", ["0.50", "0.75"]);
    regular(&["1700000000.25", "1700000060.25", "1700000120.25"], "60", ["1700000180.25", "1700000240.25"]);
    let (signal, _) = of(["0.0", "0.5", "1.0"]).expect("reads");
    assert_eq!((signal.step(), signal.stamps.are_counts()), (None, true));
    let (signal, _) = of(["1700000000.25", "1700000060.25", "1700000120.25"]).expect("reads");
    assert_eq!((signal.step(), signal.stamps.are_counts()), (Some(60), false));
    check("t,a\n0.5,1\n1.0,2\n2.0,3\n2.0,4\n", "", "0.5 1; 1.0 2; 1.5 -; 2.0 4", "Conflict 1 :5; Gap 1 :5; Inserted 1 :5");
}

#[test]
fn periods_that_are_no_whole_ticks_are_regular() {
    for (rate, digits, step) in [(30.0, 3, "0.033333"), (3.0, 1, "0.3333"), (60.0, 4, "0.016666"), (44_100.0, 6, "0.000022")] {
        let stamps: Vec<String> = (0..5_000).map(|row| format!("{:.digits$}", f64::from(row) / rate)).collect();
        let (signal, audit) = of(&stamps[..4_000]).unwrap_or_else(|error| panic!("{rate}: {error}"));
        assert!(audit.step.starts_with(step) && audit.total(FindingKind::Snapped) < 400, "{rate}: {audit:?}");
        assert_eq!((signal.len(), signal.stamps.at(3_999)), (4_000, stamps[3_999].clone()));
        assert_eq!(signal.stamps.after(4_000, 1_000)[..3], stamps[4_000..4_003], "{rate}");
    }
    // A loop that sleeps for a minute and works for a moment.
    let stamps =
        |row: i64| format!("2024-01-01 {:02}:{:02}:{:02}", row * 603 / 36_000, row * 603 / 600 % 60, row * 603 / 10 % 60);
    let (signal, audit) = of((0..1_400).map(stamps)).expect("reads");
    assert_eq!((signal.len(), &*audit.step, signal.step()), (1_400, "60.3 s", None));
    assert_eq!(signal.stamps.after(1_400, 2), ["2024-01-01 23:27:00", "2024-01-01 23:28:00"]);
}

#[test]
fn clocks_with_noise_have_the_roundest_step_near_it() {
    let mut seed = 1u64;
    let mut noise = |most: i64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (seed >> 33) as i64 % (2 * most + 1) - most
    };
    // Microseconds; a row is left out.
    let mut stamp = |row: i64, step: i64, most: i64| {
        let at = 3_600_000_000 + row * step + noise(most);
        let second = at.div_euclid(1_000_000);
        let [day, hour, minute] = [second / 86_400 + 1, second / 3_600 % 24, second / 60 % 60];
        format!("2024-01-{day:02}T{hour:02}:{minute:02}:{:02}.{:06}", second % 60, at.rem_euclid(1_000_000))
    };
    for (step, most, rows, expected, seconds) in [
        (600_000_000, 5_000_000, 3_000, "10 min", Some(600)),
        (60_000_000, 900_000, 9_000, "1 min", Some(60)),
        (1_000_000, 40_000, 20_000, "1 s", Some(1)),
        (20_000, 900, 20_000, "20 ms", None),
    ] {
        let (signal, audit) = of((0..rows).filter(|row| *row != 50).map(|row| stamp(row, step, most))).expect("reads");
        assert_eq!((signal.len() as i64, &*audit.step, signal.step()), (rows, expected, seconds));
        assert!(signal.columns[0][50].is_nan() && audit.total(FindingKind::Inserted) == 1, "{audit:?}");
    }
}

#[test]
fn rows_that_follow_one_another_are_counted() {
    // A loop that sleeps for a minute and works for up to nine seconds: after an hour no clock tells where it is. Its machine was off for two hours.
    let (mut seed, mut at, mut stamps) = (1u64, 0u64, Vec::new());
    for row in 0..2_000 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        at += 60_000 + (seed >> 33) % 9_000 + if row == 1_000 { 7_200_000 } else { 0 };
        stamps.push(format!("{}.{:03}", at / 1_000, at % 1_000));
    }
    let (signal, audit) = of(&stamps).expect("reads");
    let gap = audit.total(FindingKind::Inserted);
    assert!((110..114).contains(&gap) && signal.len() == 2_000 + gap, "{audit:?}");
    assert!(signal.columns[0].iter().filter(|value| !value.is_nan()).enumerate().all(|(row, value)| row as f64 == *value));
    assert!(audit.step.starts_with("64.4") || audit.step.starts_with("64.5"), "{}", audit.step);
    // What follows goes on from the last row.
    assert_eq!(signal.stamps.at(signal.len() - 1), stamps[1_999]);
    let next: f64 = signal.stamps.after(signal.len(), 1)[0].parse().expect("a number");
    assert!((64.4..64.6).contains(&(next - at as f64 / 1_000.0)), "{next} after {at}");
    // Of several series each row of one stamp has one place.
    let rows = stamps.iter().map(|stamp| format!("a,{stamp},1\nb,{stamp},2\n")).collect::<String>();
    let (both, _) = read_bytes(format!("unique_id,ds,y\n{rows}").as_bytes(), "format = \"long\"").expect("reads");
    assert_eq!(both.stamps, signal.stamps);
}

#[test]
fn events_have_no_step() {
    let (mut seed, mut at) = (1u64, 0.0);
    let stamps = (0..900).map(|_| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        at -= ((seed >> 11) as f64 / (1u64 << 53) as f64).ln();
        format!("{at:.3}")
    });
    let error = of(stamps).expect_err("no grid").to_string();
    assert!(error.contains("expected stamps with a regular step, found"), "{error}");
}

#[test]
fn ticks_that_do_not_fit_are_refused() {
    for (text, line) in [
        ("t,a\n0.000000001,1\n9000000000.5,2\n", 3),
        ("t,a\n9000000000,1\n9000000000.000000001,2\n", 3),
        ("t,a\n2024-01-01 00:00:00.5,1\n1e9,2\n", 3),
        ("t,a\n01.2016,1\n02.2016,2\n", 2),
    ] {
        let error = read_bytes(text.as_bytes(), "").expect_err(text).to_string();
        assert!(error.contains(&format!(":{line}: column `t`: expected a month, a date")), "{text}: {error}");
    }
}

#[test]
fn periods_of_few_ticks_leave_no_gaps() {
    let of_period = |rows: i64, period: f64, digits: usize| {
        let stamp = |row: i64| format!("{:.digits$}", row as f64 * period);
        let stamps: Vec<String> = (0..rows + 3).map(stamp).collect();
        let (signal, audit) = of(&stamps[..rows as usize]).unwrap_or_else(|error| panic!("{period}: {error}"));
        assert_eq!(signal.len() as i64, rows, "{period}: {audit:?}");
        for (next, expected) in signal.stamps.after(rows as usize, 3).iter().zip(&stamps[rows as usize..]) {
            let off = |stamp: &String| stamp.parse::<f64>().expect("a number");
            assert!((off(next) - off(expected)).abs() < 1.5 * 0.1f64.powi(digits.min(9) as i32), "{period}: {next}, {expected}");
        }
    };
    for (period, digits) in [
        (1.0 / 60.0, 2),
        (1.0 / 45.0, 2),
        (1.0 / 70.0, 2),
        (1.0 / 80.0, 2),
        (1.0 / 8.0, 1),
        (1.6, 0),
        (15.5, 0),
        (1.0 / 44_100.0, 5),
        (1.0 / 30.0, 6),
        (1.0 / 24.0, 5),
        (1.0 / 24.0, 12),
    ] {
        for rows in [300, 700, 3_000] {
            of_period(rows, period, digits);
        }
    }
    // Dropped frames are gaps, and the others are where they were.
    let frames = (0..3_000).filter(|row| row % 11 != 5 && row % 17 != 3).map(|row| format!("{:.3}", f64::from(row) / 30.0));
    let (signal, audit) = of(frames).expect("reads");
    assert_eq!((signal.len(), signal.stamps.at(2_999)), (3_000, "99.967".into()), "{audit:?}");
    assert!(audit.step.starts_with("0.03333") && audit.total(FindingKind::Snapped) < 100, "{audit:?}");
    // Half of the rows missing is no other period.
    let (signal, audit) = of((0..900).filter(|row| row * row % 7 % 2 == 0).map(|row| row.to_string())).expect("reads");
    assert_eq!((signal.len(), &*audit.step), (900, "1"));
}

#[test]
fn two_rates_are_no_loop() {
    let stamps = (0..700).scan(0.0, |at, row| {
        *at += if row < 350 { 0.1 } else { 0.15 };
        Some(format!("{:.3}", *at + f64::from(row * row % 7) / 1_000.0))
    });
    let error = of(stamps).expect_err("two rates").to_string();
    assert!(error.contains("expected stamps with a regular step, found"), "{error}");
}

#[test]
fn a_late_row_is_not_the_next_ones() {
    // Every minute, the eighth 40 s late; and the tenth once more, a moment later.
    let mut stamps: Vec<String> = (0..40).map(|row| format!("{}", 60 * row + i64::from(row == 8) * 40)).collect();
    stamps.insert(11, "601".into());
    let (signal, audit) = of(&stamps).expect("reads");
    assert_eq!((signal.len(), signal.columns[0][8], signal.columns[0][9]), (40, 8.0, 9.0), "{audit:?}");
    assert_eq!((audit.total(FindingKind::Conflict), audit.total(FindingKind::Gap)), (1, 0), "{audit:?}");
}

#[test]
fn digits_of_a_date_may_have_a_fraction() {
    let stamps: Vec<String> = (0..120).map(|row| format!("2024010100{:02}{:02}.500", row / 60, row % 60)).collect();
    let (signal, audit) = of(&stamps).expect("reads");
    assert_eq!((signal.len(), &*audit.step, signal.stamps.at(61)), (120, "1 s", stamps[61].clone()));
    assert_eq!(signal.stamps.after(120, 1), ["2024-01-01 00:02:00.500"]);
    let commas = ["\"2024-01-01 00:00:00,000\"", "\"2024-01-01 00:00:00,100\""];
    assert_eq!(of(commas).expect("reads").0.stamps.after(2, 1), ["2024-01-01 00:00:00.200"]);
}
