"""The error of a forecaster that knows the four regimes of `regimes.py` and filters which one holds: what no model can beat by much.

Mean squared error of 8 steps on the test rows of `examples/regimes.toml`, in units of the training rows' deviation.
"""

import math
import pathlib

import numpy as np

HORIZON, TRAIN, TEST, RADIUS, STAY = 8, 14_000, 16_000, 0.97, 1 - 1 / 120
REGIMES = np.array([(2 * RADIUS * math.cos(2 * math.pi / p), -(RADIUS**2)) for p in (6, 16, 48)] + [(-0.9, 0.0)])
a1, a2 = REGIMES.T
deviation = np.sqrt((1 + a2) * ((1 - a2) ** 2 - a1**2) / (1 - a2))

path = pathlib.Path(__file__).parent.parent / "examples" / "data" / "regimes.csv"
x = np.loadtxt(path, delimiter=",", skiprows=1)[:, 1]
switch = np.full((4, 4), (1 - STAY) / 3)
np.fill_diagonal(switch, STAY)
posterior, error, count = np.full(4, 0.25), 0.0, 0
for t in range(2, len(x) - HORIZON):
    residual = (x[t] - a1 * x[t - 1] - a2 * x[t - 2]) / deviation
    posterior = (switch.T @ posterior) * np.exp(-0.5 * residual**2) / deviation
    posterior /= posterior.sum()
    if t + 1 < TEST:
        continue
    before, now = np.full(4, x[t - 1]), np.full(4, x[t])
    for step in range(1, HORIZON + 1):
        before, now = now, a1 * now + a2 * before
        error += (posterior @ now - x[t + step]) ** 2
        count += 1
print(f"{error / count / x[:TRAIN].var():.4f}")
