//! More values than memory: under a limit that the plain way does not fit in, `data.read.memory` trains the very same model.
#![cfg(target_os = "linux")]

use parquet::{
    basic::{Repetition, Type as Physical},
    data_type::{DoubleType, Int64Type},
    file::{properties::WriterProperties, writer::SerializedFileWriter},
    schema::types::Type,
};
use std::{
    fmt::Write,
    path::Path,
    process::{Command, Output},
    sync::Arc,
};

const ROWS: usize = 50_000;
const COLUMNS: usize = 100;
/// Private memory that may be written to, in kB: 40 MB of values, as much standardised, and more while they are read do not fit beside the rest. The plain way needs
/// more than 180,000, the other less than 140,000.
const LIMIT: usize = 165_000;

const RUN: &str = r#"
[data]
path = "PATH"
split = { last = [40, 40] }
season = 24
READ

[model]
horizon = 8
taps = 8
width = 4
scaler = { window = 48 }
linear = { lookback = 24 }

[[model.layers]]
type = "s4d"
states = 2

[train]
epochs = 1
steps = 3
sampling = { power = 0.5, weights = { c7 = 2.0 } }
window = 64
burn_in = 8
positions = 8
keep_network = true
"#;

/// Exact in two digits behind the point.
fn value(row: usize, column: usize) -> f64 {
    (2 * (row * (7919 + 31 * column) % 101) + 10 * (row % 24)) as f64 / 100.0
}

fn write_csv(path: &Path) {
    let mut text = "t".to_string();
    (0..COLUMNS).for_each(|column| write!(text, ",c{column}").unwrap());
    for row in 0..ROWS {
        write!(text, "\n{row}").unwrap();
        (0..COLUMNS).for_each(|column| write!(text, ",{}", value(row, column)).unwrap());
    }
    std::fs::write(path, text).unwrap();
}

fn write_parquet(path: &Path) {
    let column = |name: &str, kind| {
        Arc::new(Type::primitive_type_builder(name, kind).with_repetition(Repetition::REQUIRED).build().unwrap())
    };
    let values = (0..COLUMNS).map(|index| column(&format!("c{index}"), Physical::DOUBLE));
    let columns = std::iter::once(column("t", Physical::INT64)).chain(values).collect();
    let schema = Arc::new(Type::group_type_builder("many").with_fields(columns).build().unwrap());
    let file = std::fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(WriterProperties::builder().build())).unwrap();
    let rows: Vec<usize> = (0..ROWS).collect();
    for rows in rows.chunks(ROWS / 8) {
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let stamps: Vec<i64> = rows.iter().map(|&row| row as i64).collect();
        column.typed::<Int64Type>().write_batch(&stamps, None, None).unwrap();
        column.close().unwrap();
        for index in 0..COLUMNS {
            let mut column = group.next_column().unwrap().unwrap();
            let values: Vec<f64> = rows.iter().map(|&row| value(row, index)).collect();
            column.typed::<DoubleType>().write_batch(&values, None, None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// Trains from a file with these options of the reader; one thread, since each takes its own room for products.
fn train(folder: &Path, data: &str, read: &str, limit: Option<usize>, out: &str) -> Output {
    std::fs::write(folder.join("run.toml"), RUN.replace("PATH", data).replace("READ", read)).unwrap();
    let limit = limit.map_or(String::new(), |limit| format!("ulimit -d {limit} && "));
    let program = env!("CARGO_BIN_EXE_foretoken");
    let mut command = Command::new("sh");
    command.args(["-c", &format!("{limit}exec \"$0\" train run.toml --out {out}"), program]);
    command.current_dir(folder).env("RAYON_NUM_THREADS", "1").env("RUST_BACKTRACE", "0").output().unwrap()
}

#[test]
fn values_beyond_memory_train_the_same_model() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    write_csv(&folder.join("many.csv"));
    write_parquet(&folder.join("many.parquet"));
    let shown = |output: &Output| {
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let metrics = |out: &str| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(folder.join(out).join("metrics.json")).unwrap()).unwrap()
    };
    let plain = shown(&train(folder, "many.csv", "", None, "plain"));
    assert!(plain.contains("of memory\n") && metrics("plain")["peak_mapped_bytes"] == 0, "{plain}");
    assert!(!train(folder, "many.csv", "", Some(LIMIT), "failed").status.success(), "the limit is too high to show anything");

    let budget = "read = { memory = \"8 MiB\" }";
    let model = |out: &str| std::fs::read(folder.join(out).join("model.safetensors")).unwrap();
    for (data, out) in [("many.csv", "csv"), ("many.parquet", "parquet")] {
        let printed = shown(&train(folder, data, budget, Some(LIMIT), out));
        assert!(printed.contains("of values in mapped files among it"), "{printed}");
        assert!(model(out) == model("plain"), "{data}: the same bits");
        let metrics = metrics(out);
        let bytes = (ROWS * COLUMNS * 8) as u64;
        assert!(metrics["peak_mapped_bytes"].as_u64().unwrap() >= 2 * bytes, "{metrics}");
        assert!(metrics["peak_memory_bytes"].as_u64().unwrap() > 0);
    }
}
