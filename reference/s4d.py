"""S4D as a convolution (Gu et al. 2022, arXiv:2206.11893): the kernel by its closed form, the product by FFT, in complex128.

Independent of the recurrence that foretoken runs; agreement means that discretisation, scan, read-out and gradients are right.
"""

import math
import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
CHANNELS, STATES, OUTPUTS, SAMPLES = 5, 4, 3, 70

w = {
    "log_step": torch.empty(1, CHANNELS).uniform_(math.log(1e-2), math.log(3e-1)),
    "log_neg_re": math.log(0.5) + 0.2 * torch.randn(CHANNELS, STATES),
    "im": math.pi * torch.arange(STATES).repeat(CHANNELS, 1) + 0.1 * torch.randn(CHANNELS, STATES),
    "c_re": 0.7 * torch.randn(CHANNELS, STATES),
    "c_im": 0.7 * torch.randn(CHANNELS, STATES),
    "skip": torch.randn(1, CHANNELS),
    "out": torch.randn(CHANNELS, 2 * OUTPUTS) / math.sqrt(CHANNELS),
    "bias": 0.1 * torch.randn(1, 2 * OUTPUTS),
}
# What foretoken reads is f32: the reference computes on the rounded values.
w = {name: value.float().double().requires_grad_() for name, value in w.items()}
x = torch.randn(SAMPLES, CHANNELS).float().double().requires_grad_()
dy = torch.randn(SAMPLES, OUTPUTS).float().double()

step = w["log_step"].exp().reshape(CHANNELS, 1)
a = torch.complex(-w["log_neg_re"].exp(), w["im"])
c = torch.complex(w["c_re"], w["c_im"]) * (torch.exp(step * a) - 1) / a
powers = torch.exp((step * a)[:, :, None] * torch.arange(SAMPLES))
kernel = 2 * torch.einsum("cn,cnl->cl", c, powers).real
length = 2 * SAMPLES
spectrum = torch.fft.rfft(x.T, n=length) * torch.fft.rfft(kernel, n=length)
s = torch.fft.irfft(spectrum, n=length)[:, :SAMPLES].T + w["skip"] * x
ab = torch.nn.functional.silu(s) @ w["out"] + w["bias"]
y = torch.nn.functional.glu(ab, dim=-1)
(y * dy).sum().backward()

tensors = {f"w.{name}": value.detach() for name, value in w.items()} | {f"dw.{name}": value.grad for name, value in w.items()}
tensors |= {"x": x.detach(), "dy": dy, "y": y.detach(), "dx": x.grad}
path = pathlib.Path(__file__).parent.parent / "testdata" / "s4d.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
