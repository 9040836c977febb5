//! Parquet files as pandas and pyarrow write them (`reference/parquet.py`) read to the signal that their CSV reads to.

use foretoken_data::{Audit, Bytes, ReadOptions, Signal, numeric_columns, read, read_known, read_wide};
use std::path::{Path, PathBuf};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/parquet").join(name)
}

/// The bits of a signal: NaN equals itself.
fn bits(signal: &Signal) -> (Vec<String>, Vec<String>, Vec<Vec<u64>>) {
    let columns = signal.columns.iter().chain(signal.covariates.iter().flat_map(|covariate| &covariate.values));
    let bits = columns.map(|values| values.iter().map(|value| value.to_bits()).collect()).collect();
    (signal.stamps.iter().collect(), signal.names.clone(), bits)
}

fn options(text: &str) -> ReadOptions {
    toml::from_str(text).expect("options")
}

fn read_golden(name: &str, text: &str) -> (Signal, Audit) {
    read(&golden(name), &options(text)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn check(parquet: &str, csv: &str, text: &str) -> Signal {
    let ((signal, audit), (expected, mut as_csv)) = (read_golden(parquet, text), read_golden(csv, text));
    assert_eq!(bits(&signal), bits(&expected), "{parquet}");
    // The first row stands on the second line.
    as_csv.findings.iter_mut().for_each(|finding| finding.line -= 1);
    assert_eq!(audit, as_csv, "{parquet}");
    // The same where all lies in mapped files.
    let mapped = read(&golden(parquet), &ReadOptions { memory: Some(Bytes(0)), ..options(text) }).expect("reads");
    assert!(mapped.0.columns.iter().all(|values| values.is_mapped()) && !signal.columns[0].is_mapped());
    assert_eq!(bits(&mapped.0), bits(&signal));
    assert_eq!(mapped.1, audit);
    signal
}

#[test]
fn wide_files_are_their_csv() {
    for name in ["wide", "wide_gzip", "wide_zstd", "wide_lz4", "wide_plain"] {
        let signal = check(&format!("{name}.parquet"), "wide.csv", "");
        assert_eq!((signal.columns.len(), signal.len(), signal.step()), (4, 40, Some(3600)));
        assert_eq!(signal.stamps.at(39), "2024-03-01 11:00:00");
    }
    check(
        "wide.parquet",
        "wide.csv",
        "columns = [\"count\", \"double\"]\npast = [\"single\"]\nmissing = [93]\nmemory = \"1 GiB\"",
    );
    check("wide.parquet", "wide.csv", "future = [\"unsigned\"]");
    check("integers.parquet", "integers.csv", "");
    check("decimals.parquet", "integers.csv", "");
    check("utc.parquet", "utc.csv", "");
}

#[test]
fn an_index_of_stamps_is_the_stamp_column() {
    let signal = check("index.parquet", "index.csv", "");
    assert_eq!((&signal.names[..], signal.stamps.at(0)), (&["a".to_string(), "b".into()][..], "2024-01-01".to_string()));
}

#[test]
fn long_files_are_their_csv() {
    let along = "format = \"long\"\npast = [\"rain\"]\nfuture = [\"holiday\"]\n";
    for name in ["long.parquet", "long_dates.parquet", "long_text.parquet"] {
        for text in ["", "align = \"end\"", "columns = [\"7\", \"north\"]", "outliers = \"mask\"\noutlier_factor = 1.0"] {
            let signal = check(name, "long.csv", &format!("{along}{text}"));
            assert!(signal.names.contains(&"north".to_string()), "{:?}", signal.names);
        }
    }
}

#[test]
fn strict_readers_read_parquet() {
    for (parquet, csv) in [("index.parquet", "index.csv"), ("integers.parquet", "integers.csv")] {
        let [signal, expected] = [parquet, csv].map(|name| read_wide(&golden(name)).expect(name));
        assert_eq!(bits(&signal).2, bits(&expected).2);
    }
    let known = |name: &str| read_known(&golden(name), &["b".into(), "a".into()], &[], &ReadOptions::default(), &[]).expect(name);
    assert_eq!(known("index.parquet").values, known("index.csv").values);
    // A long file's stamps begin anew with every series.
    let error = read_known(&golden("long.parquet"), &["holiday".into()], &[], &ReadOptions::default(), &[])
        .expect_err("refused")
        .to_string();
    assert!(error.contains("column `ds`: expected a stamp not before the one above"), "{error}");
}

#[test]
fn columns_that_hold_no_numbers_are_told_apart() {
    let of = |name: &str| {
        let (numbers, others) = numeric_columns(&golden(name), &ReadOptions::default()).expect(name);
        (numbers.join(" "), others.join(" "))
    };
    for (name, columns) in [
        ("wide.parquet", "double single count unsigned"),
        ("wide.csv", "double single count unsigned"),
        ("index.parquet", "a b"),
        ("decimals.parquet", "a d"),
        ("infinite.parquet", "a"),
    ] {
        assert_eq!(of(name), (columns.into(), String::new()), "{name}");
    }
    for name in ["nested.parquet", "binary.parquet"] {
        assert_eq!(of(name).1, "a", "{name}");
    }
    // Read as wide, a long file has texts beside its numbers.
    for name in ["long.parquet", "long.csv"] {
        let (numbers, others) = of(name);
        assert_eq!((numbers.contains("rain"), others.contains("holiday")), (true, true), "{name}: {numbers}; {others}");
    }
}

#[test]
fn every_fault_is_named_with_its_place() {
    let folder = tempfile::tempdir().expect("a folder");
    let whole = std::fs::read(golden("wide.parquet")).expect("the golden");
    // A page that is not what its header says.
    let mut broken = whole.clone();
    broken[60..90].fill(0xff);
    let written: [(&str, &[u8]); 4] =
        [("cut.parquet", &whole[..whole.len() / 2]), ("text.parquet", b"t,a\n1,2\n"), ("none.parquet", b""), ("broken", &broken)];
    for (name, bytes) in written {
        std::fs::write(folder.path().join(name), bytes).expect("written");
    }
    // Bytes at which the parquet crate panics.
    let mut flipped = std::fs::read(golden("wide_plain.parquet")).expect("the golden");
    flipped[16] = 4;
    std::fs::write(folder.path().join("flipped"), flipped).expect("written");
    for (path, text, expected) in [
        (
            golden("infinite.parquet"),
            "",
            ":5: column `a`: expected a finite number, or nothing, NA, NaN, null or None, found `inf`",
        ),
        (
            golden("brotli.parquet"),
            "",
            "expected column `t` compressed with snappy, gzip, zstd or lz4, or not at all, found BROTLI",
        ),
        (golden("nested.parquet"), "", "expected numbers, text, dates or timestamps in column `a`, found columns in it"),
        (golden("binary.parquet"), "", "in column `a`, found FIXED_LEN_BYTE_ARRAY"),
        (golden("wide.parquet"), "columns = [\"b\"]", "expected a column `b`, found double, single, count, unsigned"),
        (
            golden("long.parquet"),
            "columns = [\"y\"]",
            ":3: column `ds`: expected a stamp not after the one above, as those before it go",
        ),
        (
            golden("long.parquet"),
            "format = \"long\"\nfuture = [\"rain\"]\nmissing = [0]",
            "column `rain`: expected a finite number, TRUE",
        ),
        (golden("long.parquet"), "format = \"long\"\ncolumns = [\"east\"]", "expected rows of series `east`, found none"),
        (golden("long.parquet"), "format = \"long\"\ntarget = \"holiday\"", "column `holiday`: expected a finite number"),
        (folder.path().join("cut.parquet"), "", "cut.parquet: expected a Parquet file that is whole"),
        (folder.path().join("text.parquet"), "", "text.parquet: expected a Parquet file that is whole"),
        (folder.path().join("none.parquet"), "", "none.parquet: expected a Parquet file that is whole"),
        (folder.path().join("broken"), "", "broken: expected a Parquet file that is whole"),
        (
            folder.path().join("flipped"),
            "",
            "flipped: expected a Parquet file that is whole, found one at which its decoder panicked",
        ),
        (folder.path().join("absent.parquet"), "", "absent.parquet: "),
    ] {
        let error = read(&path, &options(text)).map(|_| ()).expect_err(expected).to_string();
        assert!(error.contains(expected) && !error.contains('\n'), "{}: {error}", path.display());
    }
}

#[test]
fn no_wrong_byte_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("flipped.parquet");
    for name in ["fractions", "wide_gzip", "wide_zstd", "wide_lz4"] {
        let mut bytes = std::fs::read(golden(&format!("{name}.parquet"))).expect("the golden");
        for at in 0..bytes.len() {
            bytes[at] ^= 4;
            std::fs::write(&path, &bytes).expect("written");
            let error = read(&path, &ReadOptions::default()).err().map(|error| error.to_string());
            assert!(error.is_none_or(|error| error.contains("flipped.parquet")), "{name}, byte {at}");
            bytes[at] ^= 4;
        }
    }
}
