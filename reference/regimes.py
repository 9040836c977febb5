"""Two synthetic signals: one that switches between regimes, and one that never does.

Each regime is an autoregression of order two driven by white noise, scaled to unit variance so that no regime is known by its size. The
regime follows a Markov chain that stays for 120 samples on average. The column `regime` is the truth, for scoring routing; no model sees it.
"""

import math
import pathlib

import numpy as np

ROWS = 20_000
STAY = 1 - 1 / 120
# (a1, a2): x_t = a1·x_{t−1} + a2·x_{t−2} + noise. Three oscillators of radius 0.97, and a signal that alternates.
PERIODS = [6, 16, 48]
RADIUS = 0.97
REGIMES = [(2 * RADIUS * math.cos(2 * math.pi / period), -(RADIUS**2)) for period in PERIODS] + [(-0.9, 0.0)]


def unit_noise(a1, a2):
    """Standard deviation of the noise that gives the autoregression unit variance."""
    return math.sqrt((1 + a2) * ((1 - a2) ** 2 - a1**2) / (1 - a2))


def signal(seed, switching):
    rng = np.random.default_rng(seed)
    regime, x, rows = 1, [0.0, 0.0], []
    for _ in range(ROWS):
        if switching and rng.random() > STAY:
            regime = (regime + 1 + rng.integers(len(REGIMES) - 1)) % len(REGIMES)
        a1, a2 = REGIMES[regime]
        value = a1 * x[-1] + a2 * x[-2] + unit_noise(a1, a2) * rng.standard_normal()
        x = [x[-1], value]
        rows.append((value, regime))
    return rows


for name, switching in [("regimes", True), ("one_regime", False)]:
    path = pathlib.Path(__file__).parent.parent / "examples" / "data" / f"{name}.csv"
    lines = [f"{t},{value:.4f},{regime}" for t, (value, regime) in enumerate(signal(20261124, switching))]
    path.write_text("t,x,regime\n" + "\n".join(lines) + "\n")
