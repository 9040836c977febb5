"""Small files in Parquet, as pyarrow and pandas write them, and the same tables as CSV: crates/data reads both to the same signal.

    python reference/parquet.py            # writes testdata/parquet

Values are seeded; floats of 32 bits are eighths, so that their texts say the same.
"""

import pathlib

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

OUT = pathlib.Path(__file__).parent.parent / "testdata" / "parquet"


def write(name, table, frame=None, **options):
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    pq.write_table(table, OUT / f"{name}.parquet", **options)
    if frame is not None:
        frame.to_csv(OUT / f"{name}.csv", index=False)


def main():
    OUT.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(5)
    hours = pd.date_range("2024-02-28 20:00", periods=40, freq="h")

    # Missing values, a gap, a doubled row, in groups of 7 rows and pages of few.
    wide = pd.DataFrame({
        "date": hours,
        "double": rng.normal(size=40).round(3),
        "single": (rng.integers(-80, 80, 40) / 8).astype(np.float32),
        "count": rng.integers(0, 99, 40).astype(np.int32),
        "unsigned": rng.integers(0, 99, 40).astype(np.uint64),
    })
    wide.loc[[3, 17], "double"] = np.nan
    wide.loc[11, "single"] = np.nan
    wide = pd.concat([wide[:20], wide[19:25], wide[27:]])
    write("wide", wide, wide, row_group_size=7, data_page_size=64)
    write("wide_gzip", wide, compression="gzip", data_page_version="2.0")
    write("wide_zstd", wide, compression="zstd", data_page_version="2.0")
    write("wide_lz4", wide, compression="lz4")
    write("wide_plain", wide, compression="none", use_dictionary=False)

    # Series of different lengths, categories, covariates, rows out of order.
    days = pd.date_range("2023-12-20", periods=30, freq="D")
    series = {"north": days, "south": days[10:], "7": days[5:25]}
    long = pd.concat([
        pd.DataFrame({
            "unique_id": name,
            "ds": stamps,
            "y": rng.normal(size=len(stamps)).round(4),
            "rain": rng.integers(0, 9, len(stamps)),
            "holiday": rng.random(len(stamps)) < 0.2,
        })
        for name, stamps in series.items()
    ])
    long.loc[long.index[4], "y"] = np.nan
    long = long.sample(frac=1.0, random_state=2)
    frame = pa.Table.from_pandas(long.assign(unique_id=long["unique_id"].astype("category")), preserve_index=False)
    write("long", frame.set_column(1, "ds", frame["ds"].cast(pa.timestamp("us"))), long, row_group_size=16)
    # The same with dates, and with text.
    write("long_dates", frame.set_column(1, "ds", frame["ds"].cast(pa.date32())))
    write("long_text", frame.set_column(1, "ds", pa.array(long["ds"].dt.strftime("%Y-%m-%d"))))

    # An index of stamps comes last; pandas writes it under this name.
    index = pd.DataFrame({"a": rng.normal(size=12).round(3), "b": range(12)}, index=pd.date_range("2024-01-01", periods=12, freq="D"))
    index.to_parquet(OUT / "index.parquet")
    index.to_csv(OUT / "index.csv", index_label="__index_level_0__")
    # Integer stamps, text for numbers, decimals.
    integers = pd.DataFrame({"t": range(-3, 9), "a": [str(v / 4) for v in range(12)]})
    decimals = [(v - 6) / 4 for v in range(12)]
    table = pa.Table.from_pandas(integers).append_column("d", pa.array(decimals).cast(pa.decimal128(9, 2)))
    write("integers", table, integers.assign(d=decimals), store_decimal_as_integer=True)
    write("decimals", table)
    utc = pd.DataFrame({"ds": hours.tz_localize("UTC"), "a": range(40)})
    utc_csv = utc.assign(ds=hours.strftime("%Y-%m-%dT%H:%M:%SZ"))
    write("utc", pa.Table.from_pandas(utc), utc_csv, coerce_timestamps="ms")

    # What is refused.
    values = np.arange(12, dtype=float)
    write("infinite", pd.DataFrame({"t": range(12), "a": np.where(values == 4, np.inf, values)}))
    write("brotli", pd.DataFrame({"t": range(12), "a": values}), compression="brotli")
    write("nested", pa.table({"t": pa.array(range(3)), "a": pa.array([[1.0], [2.0], [3.0, 4.0]])}))
    write("binary", pa.table({"t": pa.array(range(3)), "a": pa.array([b"12", b"34", b"56"], pa.binary(2))}))
    write("fractions", pa.table({"t": pa.array([0, 1_500, 2_000], pa.timestamp("ms")), "a": pa.array([1.0, 2.0, 3.0])}))


if __name__ == "__main__":
    main()
