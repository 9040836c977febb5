"""Models of `foretoken forecast DATA` beside AutoETS, dynamic optimised Theta, AutoARIMA and the seasonal naive of statsforecast, on small files of several kinds.

usage: short_series.py FORETOKEN, the built binary; one line a file as it is done, then the table

Five forecasts of each file, one after the other, from the rows before each. MASE is scaled by the seasonal naive's error on those rows; the quantile loss is
of the levels .1 to .9, over the mean absolute value. Both are means over columns and forecasts, seconds of the processor those of one forecast of all columns,
training included. AutoARIMA has no seasons of 24.
"""

import io
import os
import resource
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pmdarima.datasets
import statsmodels.api as sm
from statsforecast.models import AutoARIMA, AutoETS, DynamicOptimizedTheta, SeasonalNaive
from vega_datasets import local_data

FORECASTS = 5
LEVELS = np.arange(1, 10) / 10
PEERS = {
    "AutoETS": lambda season: AutoETS(season_length=season),
    "Theta": lambda season: DynamicOptimizedTheta(season_length=season),
    "AutoARIMA": lambda season: AutoARIMA(season_length=season),
    "seasonal naive": lambda season: SeasonalNaive(season_length=season),
}


def files():
    """Name, frame with stamps `ds` first, horizon, season."""

    def from_start(values, start, freq):
        values = pd.DataFrame(values).reset_index(drop=True)
        return pd.concat([pd.Series(pd.date_range(start, periods=len(values), freq=freq), name="ds"), values], axis=1)

    jobs = local_data.us_employment().rename(columns={"month": "ds"})
    jobs = jobs[["ds", "construction", "manufacturing", "retail_trade", "utilities", "information", "leisure_and_hospitality", "government"]]
    macro = sm.datasets.macrodata.load_pandas().data[["realcons", "realinv", "cpi", "m1", "tbilrate"]]
    stocks = local_data.stocks().pivot(index="date", columns="symbol", values="price")[["AAPL", "AMZN", "IBM", "MSFT"]].dropna()
    weather = local_data.seattle_weather()[["date", "temp_max", "temp_min", "wind"]].rename(columns={"date": "ds"})
    msft = pmdarima.datasets.load_msft()[["Date", "Close"]].rename(columns={"Date": "ds"}).tail(2000)
    yield "employment by month", jobs, 6, 12
    yield "stocks by month", stocks.reset_index().rename(columns={"date": "ds"}), 6, 12
    yield "wool by quarter", from_start({"wool": pmdarima.datasets.load_woolyrnq()}, "1965-01-01", "QS"), 8, 4
    yield "macroeconomy by quarter", from_start(macro, "1959-01-01", "QS"), 8, 4
    yield "weather by day", weather, 14, 7
    yield "MSFT by workday", msft, 20, 5
    for city, frame in [("Seattle", local_data.seattle_temps()), ("San Francisco", local_data.sf_temps())]:
        yield f"{city} by hour", frame.rename(columns={"date": "ds"})[["ds", "temp"]], 48, 24


def seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def ours(binary, rows, horizon, stamps):
    """Point and quantiles `[level][step]` by column, at the stamps."""
    with tempfile.TemporaryDirectory() as folder:
        rows.to_csv(Path(folder) / "data.csv", index=False)
        command = [binary, "forecast", "data.csv", "--horizon", str(horizon)]
        said = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if said.returncode:
        sys.exit(said.stderr)
    said = pd.read_csv(io.StringIO(said.stdout), parse_dates=["ds"])
    for name, column in said.groupby("unique_id"):
        column = column.set_index("ds").loc[stamps]
        yield name, column["point"].to_numpy(), np.stack([column[f"q{level:.1f}"] for level in LEVELS])


def theirs(peer, values, horizon, season):
    said = PEERS[peer](season).forecast(y=values, h=horizon, level=[20, 40, 60, 80])
    sides = [said[f"lo-{level}"] for level in (80, 60, 40, 20)] + [said["mean"]] + [said[f"hi-{level}"] for level in (20, 40, 60, 80)]
    return said["mean"], np.stack(sides)


def scores(y, known, season, point, quantiles):
    scale = np.abs(known[season:] - known[:-season]).mean()
    over = y - quantiles
    pinball = np.where(over > 0, LEVELS[:, None] * over, (LEVELS[:, None] - 1) * over)
    inside = (y >= quantiles[0]) & (y <= quantiles[-1])
    return np.abs(y - point).mean() / scale, 2 * pinball.mean() / np.abs(y).mean(), inside.mean()


def main():
    warnings.filterwarnings("ignore")
    binary = os.path.abspath(sys.argv[1])
    table = []
    for name, frame, horizon, season in files():
        frame["ds"] = pd.to_datetime(frame["ds"])
        found = {}
        peers = [peer for peer in PEERS if peer != "AutoARIMA" or season < 24]
        for left in range(FORECASTS, 0, -1):
            end = len(frame) - left * horizon
            rows, coming = frame.iloc[:end], frame.iloc[end : end + horizon]
            if season == 5:
                # Holidays make as many rows longer than as many workdays.
                coming = coming[coming["ds"] <= pd.bdate_range(rows["ds"].iloc[-1], periods=horizon + 1)[-1]]
            for who in ["foretoken", *peers]:
                before = seconds()
                if who == "foretoken":
                    said = list(ours(binary, rows, horizon, coming["ds"]))
                else:
                    said = [(column, *theirs(who, rows[column].to_numpy(float), horizon, season)) for column in frame.columns[1:]]
                taken = seconds() - before
                for column, point, quantiles in said:
                    y, known = coming[column].to_numpy(float), rows[column].to_numpy(float)
                    score = scores(y, known, season, point[: len(y)], quantiles[:, : len(y)])
                    found.setdefault(who, []).append((*score, taken))
        means = {who: np.mean(values, axis=0) for who, values in found.items()}
        print(name, {who: [round(float(value), 4) for value in mean] for who, mean in means.items()}, flush=True)
        table.append((name, frame.shape, means))
    print("\nMASE / quantile loss / inside 80% / seconds\n")
    who = ["foretoken", *PEERS]
    print("| | rows, series | " + " | ".join(who) + " |")
    print("|---" * (len(who) + 2) + "|")
    for name, shape, means in table:
        cell = lambda mean: f"{mean[0]:.3f} / {mean[1]:.4f} / {100 * mean[2]:.0f}% / {mean[3]:.1f}"
        print(f"| {name} | {shape[0]:,}, {shape[1] - 1} | " + " | ".join(cell(means[peer]) if peer in means else "–" for peer in who) + " |")
    relative = lambda peer, at: np.exp(np.mean([np.log(means[peer][at] / means["seasonal naive"][at]) for *_, means in table if peer in means]))
    for peer in who:
        print(f"{peer}: MASE {relative(peer, 0):.3f}, quantile loss {relative(peer, 1):.3f} of the seasonal naive's (geometric mean of the files it has)")


if __name__ == "__main__":
    main()
