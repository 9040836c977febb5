"""A ridge with lags of all columns and of what is known, and the known path ahead, beside `examples/loop.toml`: squared and absolute error on its test windows.

usage: arx.py, from anywhere; standardised as the run is, its strength picked on validation rows
"""

import pathlib

import numpy as np
import pandas as pd
from sklearn.linear_model import Ridge

LAGS, HORIZON = 256, 60


def main():
    frame = pd.read_csv(pathlib.Path(__file__).parents[2] / "examples" / "data" / "loop.csv")
    train, test = int(0.7 * len(frame)), int(0.8 * len(frame))
    y, u = frame[["temperature", "power"]].to_numpy(), frame[["setpoint"]].to_numpy()
    y, u = ((each - each[:train].mean(0)) / each[:train].std(0) for each in (y, u))

    def windows(start, end):
        origins = range(max(start, LAGS), end - HORIZON + 1)
        x = [np.concatenate([y[at - LAGS : at].ravel(), u[at - LAGS : at + HORIZON].ravel()]) for at in origins]
        return np.array(x), np.array([y[at : at + HORIZON].ravel() for at in origins])

    (x, targets), held, tested = windows(0, train), windows(train, test), windows(test, len(frame))
    fits = [Ridge(strength, solver="cholesky").fit(x, targets) for strength in (1e-3, 1e-1, 1, 10, 100)]
    best = min(fits, key=lambda fit: np.square(fit.predict(held[0]) - held[1]).mean())
    errors = best.predict(tested[0]) - tested[1]
    print(f"strength {best.alpha}: MSE {np.square(errors).mean():.6f}, MAE {np.abs(errors).mean():.4f}")


main()
