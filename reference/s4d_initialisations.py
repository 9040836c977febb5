"""The four initial spectra of S4D (Gu et al. 2022, arXiv:2206.11893), written out in float64; the last from HiPPO-LegS itself."""

import pathlib

import numpy as np
from safetensors.numpy import save_file

PAIRS = 8
SIZE = 2 * PAIRS
n = np.arange(PAIRS)

lin = -0.5 + 1j * np.pi * n
inv = -0.5 + 1j * SIZE / np.pi * (SIZE / (2 * n + 1) - 1)
real = -(n + 1.0) + 0j

# HiPPO-LegS: A = -(lower triangle of √(2i+1)√(2j+1)) - diag(i+1); adding half of P·Pᵀ with P = √(2i+1) leaves a normal matrix.
i = np.arange(SIZE)
p = np.sqrt(2 * i + 1)
hippo = -np.tril(np.outer(p, p), -1) - np.diag(i + 1.0)
spectrum = np.linalg.eigvals(hippo + 0.5 * np.outer(p, p))
assert np.allclose(spectrum.real, -0.5), "the normal part has one real part"
legs = np.sort_complex(spectrum[spectrum.imag > 0])
assert len(legs) == PAIRS

tensors = {}
for name, a in {"lin": lin, "inv": inv, "real": real, "legs": legs}.items():
    tensors[f"{name}.log_neg_re"] = np.log(-a.real).astype(np.float32).reshape(1, -1)
    tensors[f"{name}.im"] = np.sort(a.imag).astype(np.float32).reshape(1, -1)
path = pathlib.Path(__file__).parent.parent / "testdata" / "s4d_initialisations.safetensors"
save_file(tensors, path)
