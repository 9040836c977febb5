//! Parquet files that are written here: what pyarrow does not write, and what no writer would.

use foretoken_data::{Bytes, FindingKind, ReadOptions, Signal, read, read_known};
use parquet::{
    data_type::{BoolType, DataType, DoubleType, FixedLenByteArray, FixedLenByteArrayType, FloatType, Int64Type},
    file::{
        metadata::{ParquetMetaData, ParquetMetaDataWriter},
        properties::{EnabledStatistics, WriterProperties},
        reader::{FileReader, SerializedFileReader},
        writer::{SerializedFileWriter, SerializedRowGroupWriter},
    },
    schema::parser::parse_message_type,
};
use std::{fs::File, path::Path, sync::Arc};
use tempfile::NamedTempFile;

type Group<'a> = SerializedRowGroupWriter<'a, File>;

/// A file of one row group.
fn written(schema: &str, fill: impl FnOnce(&mut Group<'_>)) -> NamedTempFile {
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a temporary file");
    let properties = WriterProperties::builder().set_statistics_enabled(EnabledStatistics::None).set_offset_index_disabled(true);
    let schema = Arc::new(parse_message_type(schema).expect("a schema"));
    let to = file.reopen().expect("a handle");
    let mut writer = SerializedFileWriter::new(to, schema, Arc::new(properties.build())).expect("begins");
    let mut group = writer.next_row_group().expect("a group");
    fill(&mut group);
    group.close().expect("a group's end");
    writer.close().expect("an end");
    file
}

/// The next column of a group.
fn column<T: DataType>(group: &mut Group<'_>, values: &[T::T]) {
    let mut column = group.next_column().expect("a column").expect("one more column");
    column.typed::<T>().write_batch(values, None, None).expect("values");
    column.close().expect("a column's end");
}

fn read_with(path: &Path, options: &str) -> Result<(Signal, foretoken_data::Audit), String> {
    read(path, &toml::from_str(options).expect("options")).map_err(|error| error.to_string())
}

#[test]
fn numbers_that_mean_missing_are_found_among_singles() {
    let file = written("message m { REQUIRED INT64 t; REQUIRED FLOAT a; REQUIRED DOUBLE b; REQUIRED FLOAT f; }", |group| {
        column::<Int64Type>(group, &[0, 1, 2, 3, 4]);
        column::<FloatType>(group, &[1.5, -999.9, 2.5, f32::NAN, -999.9]);
        column::<DoubleType>(group, &[1.0, -999.9, f64::from(-999.9f32), 4.0, -999.9]);
        column::<FloatType>(group, &[1.0, 2.0, 3.0, 4.0, 5.0]);
    });
    let (signal, audit) = read_with(file.path(), "missing = [-999.9]\nfuture = [\"f\"]").expect("reads");
    let shown: Vec<bool> = signal.columns[0].iter().map(|value| value.is_nan()).collect();
    assert_eq!(shown, [false, true, false, true, true]);
    // What is kept in double precision is another number.
    let shown: Vec<bool> = signal.columns[1].iter().map(|value| value.is_nan()).collect();
    assert_eq!(shown, [false, true, false, false, true]);
    let found: Vec<(FindingKind, Option<&str>, usize, u64)> =
        audit.findings.iter().map(|found| (found.kind, found.column.as_deref(), found.count, found.line)).collect();
    let expected = [
        (FindingKind::Missing, Some("a"), 1, 4),
        (FindingKind::Sentinel, Some("a"), 2, 2),
        (FindingKind::Sentinel, Some("b"), 2, 2),
    ];
    assert_eq!(found, expected);
    // The last row has nothing but what is known of it.
    assert_eq!((signal.len(), signal.observed_len()), (5, 4));
    let error =
        read_with(file.path(), "missing = [-999.9]\ncolumns = [\"b\"]\nfuture = [\"a\"]").expect_err("a gap in what is known");
    assert!(error.contains(":2: column `a`: expected a finite number, TRUE or FALSE") && error.ends_with("`-999.9`"), "{error}");
}

/// A bit or two of `f64`.
const ROUNDED: f64 = 1e-15;

#[test]
fn decimals_of_any_width_are_rounded() {
    let of = |value: i128, width: usize| FixedLenByteArray::from(value.to_be_bytes()[16 - width..].to_vec());
    let schema = "message m { REQUIRED INT64 t; REQUIRED FIXED_LEN_BYTE_ARRAY(16) a (DECIMAL(38, 2)); \
                  REQUIRED FIXED_LEN_BYTE_ARRAY(11) b (DECIMAL(25, 0)); }";
    let file = written(schema, |group| {
        column::<Int64Type>(group, &[0, 1]);
        column::<FixedLenByteArrayType>(group, &[of(-12_345, 16), of(100_000_000_000_000_000_000_000_000, 16)]);
        column::<FixedLenByteArrayType>(group, &[of(-1, 11), of(1 << 80, 11)]);
    });
    let (signal, _) = read_with(file.path(), "").expect("reads");
    for (values, expected) in signal.columns.iter().zip([[-123.45, 1e24], [-1.0, 2f64.powi(80)]]) {
        let near = values.iter().zip(expected).all(|(value, expected)| (value / expected - 1.0).abs() < ROUNDED);
        assert!(near, "{values:?}");
    }
}

/// A whole file of 40 rows.
fn small() -> NamedTempFile {
    written("message m { REQUIRED INT64 t; REQUIRED DOUBLE a; }", |group| {
        column::<Int64Type>(group, &(0..40).collect::<Vec<i64>>());
        column::<DoubleType>(group, &(0..40).map(f64::from).collect::<Vec<f64>>());
    })
}

/// A number as a footer has it: its sign last, seven bits a byte.
fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)) as u64;
    let mut bytes = Vec::new();
    while rest > 127 {
        bytes.push(rest as u8 | 128);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// The same pages under a footer that counts other rows.
fn forged(whole: &Path, rows: i64, in_group: i64, in_column: i64) -> NamedTempFile {
    let bytes = std::fs::read(whole).expect("the file");
    let reader = SerializedFileReader::new(File::open(whole).expect("the file")).expect("a footer");
    let group = reader.metadata().row_group(0).clone();
    let chunks = group.columns().iter().map(|chunk| chunk.clone().into_builder().set_num_values(in_column).build());
    let chunks = chunks.collect::<Result<_, _>>().expect("chunks");
    let group = group.into_builder().set_num_rows(in_group).set_column_metadata(chunks).build().expect("a group");
    let metadata = ParquetMetaData::new(reader.metadata().file_metadata().clone(), vec![group]);
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, &metadata).finish().expect("a footer");
    footer.truncate(footer.len() - 8);
    // The writer sums up the rows of the groups, which come next.
    let of = |rows: i64| [&[0x16][..], &varint(rows), &[0x19, 0x1c]].concat();
    let summed = of(in_group);
    let at = footer.windows(summed.len()).position(|window| window == summed).expect("the rows");
    footer.splice(at..at + summed.len(), of(rows));
    let size = |bytes: &[u8]| u32::from_le_bytes(bytes[bytes.len() - 8..][..4].try_into().expect("four bytes")) as usize;
    let pages = &bytes[..bytes.len() - 8 - size(&bytes)];
    let file = tempfile::Builder::new().suffix(".parquet").tempfile().expect("a temporary file");
    let forged = [pages, &footer, &(footer.len() as u32).to_le_bytes(), b"PAR1"].concat();
    std::fs::write(file.path(), forged).expect("written");
    file
}

#[test]
fn rows_that_a_footer_invents_take_no_memory() {
    let whole = small();
    let many = 1_000_000_000_000;
    assert_eq!(read_with(forged(whole.path(), 40, 40, 40).path(), "").expect("reads").0.len(), 40);
    for (rows, in_group, in_column, expected) in [
        (many, 40, 40, "found 1000000000000 rows in its footer and 40 in its row groups"),
        (-1, 40, 40, "found -1 rows in its footer and 40 in its row groups"),
        (-1, -1, 40, "found a row group of -1 rows"),
        (40, i64::MAX, 40, "found 40 rows in its footer and 9223372036854775807 in its row groups"),
        (many, many, 40, "ends 999999999960 rows before its row group"),
        (many, many, many, "ends 999999999960 rows before its row group"),
        (i64::MAX, i64::MAX, i64::MAX, "ends 9223372036854775767 rows before its row group"),
    ] {
        let file = forged(whole.path(), rows, in_group, in_column);
        for memory in [None, Some(Bytes(0))] {
            let error = read(file.path(), &ReadOptions { memory, ..ReadOptions::default() }).expect_err(expected).to_string();
            assert!(error.contains("a Parquet file that is whole") && error.contains(expected), "{error}");
        }
    }
}

#[test]
fn known_covariates_of_parquet_are_a_step_apart() {
    let schema = "message m { REQUIRED INT64 t (TIMESTAMP(MILLIS, false)); REQUIRED BOOLEAN heat; }";
    let of = |hours: &[i64]| {
        written(schema, |group| {
            column::<Int64Type>(group, &hours.iter().map(|hour| hour * 3_600_000).collect::<Vec<i64>>());
            column::<BoolType>(group, &hours.iter().map(|hour| hour % 2 == 0).collect::<Vec<bool>>());
        })
    };
    let known = read_known(of(&[0, 1, 2, 3]).path(), &["heat".into()], &[], &ReadOptions::default(), &[]).expect("reads");
    assert_eq!(known.values, [[1.0, 0.0, 1.0, 0.0]]);
    for (hours, expected) in [
        (
            &[0, 1, 2, 4][..],
            ":4: column `t`: expected 1970-01-01 03:00:00, a step after the one above, found `1970-01-01 04:00:00`",
        ),
        (&[0, 1, 1, 2], ":3: column `t`: expected 1970-01-01 02:00:00, a step after the one above, found `1970-01-01 01:00:00`"),
        (&[0, 2, 1, 3], ":3: column `t`: expected a stamp not before the one above, found `1970-01-01 01:00:00`"),
    ] {
        let error =
            read_known(of(hours).path(), &["heat".into()], &[], &ReadOptions::default(), &[]).expect_err(expected).to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn stamps_with_a_fraction_are_shown_with_it() {
    for (kind, a_second, expected) in [
        ("TIMESTAMP(MILLIS, false)", 1_000, ["2024-01-31 23:59:59", "2024-02-01 00:00:00.5", "2024-02-01 00:00:02.0"]),
        ("TIMESTAMP(MICROS, true)", 1_000_000, ["2024-01-31T23:59:59Z", "2024-02-01T00:00:00.5Z", "2024-02-01T00:00:02.0Z"]),
        ("TIMESTAMP(NANOS, false)", 1_000_000_000, ["2024-01-31 23:59:59", "2024-02-01 00:00:00.5", "2024-02-01 00:00:02.0"]),
    ] {
        let file = written(&format!("message m {{ REQUIRED INT64 t ({kind}); REQUIRED DOUBLE a; }}"), |group| {
            let first = 1_706_745_599 * a_second;
            column::<Int64Type>(group, &[first, first + a_second * 3 / 2]);
            column::<DoubleType>(group, &[1.0, 2.0]);
        });
        let (signal, audit) = read_with(file.path(), "").expect("reads");
        assert_eq!([signal.stamps.slice(0..2), signal.stamps.after(2, 1)].concat(), expected);
        assert_eq!(audit.step, "1.5 s");
    }
    // Seconds of a run.
    let file = written("message m { REQUIRED DOUBLE t; REQUIRED DOUBLE a; }", |group| {
        column::<DoubleType>(group, &[0.1, 0.2, 0.1 + 0.2]);
        column::<DoubleType>(group, &[1.0, 2.0, 3.0]);
    });
    let (signal, audit) = read_with(file.path(), "").expect("reads");
    assert_eq!((signal.stamps.after(3, 2), &*audit.step), (vec!["0.4".to_string(), "0.5".into()], "0.1"));
}

#[test]
fn integers_that_are_dates_are_read_as_dates() {
    let file = written("message m { REQUIRED INT64 t; REQUIRED DOUBLE a; }", |group| {
        column::<Int64Type>(group, &[20_240_628, 20_240_629, 20_240_701]);
        column::<DoubleType>(group, &[1.0, 2.0, 3.0]);
    });
    let (signal, audit) = read_with(file.path(), "").expect("reads");
    assert_eq!((signal.len(), &*audit.step, audit.total(FindingKind::Inserted)), (4, "1 d", 1));
    assert_eq!(signal.stamps.after(4, 1), ["20240702"]);
}

#[test]
fn the_newest_first_is_turned_round_wherever_it_lies() {
    let rows = 5000;
    let file = written("message m { REQUIRED INT64 t; REQUIRED DOUBLE a; }", |group| {
        column::<Int64Type>(group, &(0..rows).rev().map(i64::from).collect::<Vec<i64>>());
        column::<DoubleType>(group, &(0..rows).rev().map(|row| f64::from(row % 7)).collect::<Vec<f64>>());
    });
    for options in ["", "memory = \"0 B\""] {
        let (signal, audit) = read_with(file.path(), options).expect("reads");
        let expected: Vec<f64> = (0..rows).map(|row| f64::from(row % 7)).collect();
        assert_eq!((signal.columns[0].is_mapped(), &signal.columns[0][..]), (!options.is_empty(), &expected[..]));
        assert_eq!((signal.stamps.at(0), audit.findings.len()), ("0".into(), 1));
        let found = &audit.findings[0];
        assert_eq!((found.kind, found.count, found.line), (FindingKind::Reordered, rows as usize - 1, 2));
    }
    let file = written("message m { REQUIRED INT64 t; REQUIRED DOUBLE hour; }", |group| {
        column::<Int64Type>(group, &[1, 1, 2, 2]);
        column::<DoubleType>(group, &[0.0, 1.0, 0.0, 1.0]);
    });
    let error = read_with(file.path(), "").expect_err("an hour beside the day");
    assert!(error.contains("expected one row a stamp, found 4 of 4 rows") && error.contains("the first on line 2"), "{error}");
}
