"""Kernels of level, seasons and noise by scikit-learn's Gaussian process regression: forecasts, squares and determinants for crates/eval/src/structural.rs.

A mean that is not known is a constant kernel of great variance, CONSTANT. With it log N(z | 0, K + c·11ᵀ) = −½(n·ln 2π + determinant + ln c + square) as c
grows; the kernel times 4 tells the two apart.
"""

import json
from pathlib import Path

import numpy as np
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import ConstantKernel, ExpSineSquared, Matern, WhiteKernel

CONSTANT = 1e6
KERNELS = [
    dict(season=12.0, smoothness=0, drift=2, levels=[[1.0, 100.0], [3.0, 2000.0]], width=0.7, shapes=[[2.0, 900.0], [0.5, 20.0]], second=None, memory=[0.3, 3.0], noise=0.05),
    dict(season=12.0, smoothness=1, drift=1, levels=[[0.4, 50.0], [0.2, 900.0]], width=1.3, shapes=[[5.0, 300.0], [0.1, 40.0]], second=[36.0, 0.8, 700.0, 0.3, 0.0], memory=[0.1, 8.0], noise=0.4),
    dict(season=10.0, smoothness=2, drift=2, levels=[[2.0, 70.0], [1.0, 5000.0]], width=0.4, shapes=[[0.7, 500.0], [1.5, 30.0]], second=[50.0, 1.1, 400.0, 0.4, 2.0], memory=[0.6, 2.0], noise=0.01),
]


def matern(variance, time, smoothness=0):
    return ConstantKernel(variance) * Matern(length_scale=time, nu=0.5 + smoothness)


def kernel(season, smoothness, drift, levels, width, shapes, second, memory, noise):
    def fading(variance, time):
        return matern(variance, time, smoothness)

    # scikit-learn's periodic kernel is exp(−2 sin²(πd/p)/ℓ²), as ours.
    periodic = ExpSineSquared(length_scale=width, periodicity=season)
    k = fading(*levels[0]) + matern(*levels[1], drift) + (fading(*shapes[0]) + fading(*shapes[1])) * periodic
    if second:
        samples, variance, time, own_width, change = second
        own = fading(variance, time) * ExpSineSquared(length_scale=own_width, periodicity=samples)
        k = k + own
        if change:
            k = k + ConstantKernel(change) * own * periodic
    return k + matern(*memory) + WhiteKernel(noise)


def main():
    rng = np.random.default_rng(0)
    golden = []
    for parameters in KERNELS:
        n, horizon = 60, 15
        t = np.arange(n + horizon)[:, None].astype(float)
        z = 0.5 * np.cumsum(rng.normal(size=n)) + 2 * np.sin(2 * np.pi * np.arange(n) / 12) + 0.2 * rng.normal(size=n)
        k = kernel(**parameters)
        process = GaussianProcessRegressor(k + ConstantKernel(CONSTANT), alpha=0.0, optimizer=None).fit(t[:n], z)
        forecast = process.predict(t[n:])
        likelihood = [
            GaussianProcessRegressor(ConstantKernel(scale) * (k + ConstantKernel(CONSTANT)), alpha=0.0, optimizer=None)
            .fit(t[:n], z)
            .log_marginal_likelihood_value_
            for scale in (1.0, 4.0)
        ]
        square = (likelihood[1] - likelihood[0] + 0.5 * n * np.log(4.0)) / (0.5 - 0.125)
        determinant = -2 * likelihood[0] - n * np.log(2 * np.pi) - square - np.log(CONSTANT)
        golden.append(
            dict(kernel=parameters, window=z.tolist(), forecast=forecast.tolist(), square=float(square), determinant=float(determinant))
        )
    path = Path(__file__).parent.parent / "testdata" / "structural.json"
    path.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
