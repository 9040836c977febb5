"""S5 (Smith et al. 2022, arXiv:2208.04933): the functions of s5-pytorch in complex128, gradients by autograd; its HiPPO-N start.

s5-pytorch keeps both halves of every conjugate pair and sums Re(C·x); foretoken keeps one half and takes it twice.
"""

import math
import pathlib
import sys

import torch

sys.path.pop(0)  # This folder: the package has this script's name.
from s5.init import make_DPLR_HiPPO
from s5.s5_model import S5, apply_ssm, discretize_zoh
from safetensors.torch import save_file

torch.manual_seed(8)  # One of the better conditioned: all in f32 the gradients are 1e-6 off at most.
torch.set_default_dtype(torch.float64)
CHANNELS, STATES, OUTPUTS, SAMPLES = 5, 4, 3, 70

w = {
    "log_step": torch.empty(1, STATES).uniform_(math.log(1e-2), math.log(3e-1)),
    "log_neg_re": math.log(0.5) + 0.2 * torch.randn(1, STATES),
    "im": 3 * torch.randn(1, STATES),
    "b": 0.5 * torch.randn(2 * STATES, CHANNELS),
    "c": 0.5 * torch.randn(2 * STATES, CHANNELS),
    "skip": torch.randn(1, CHANNELS),
    "out": torch.randn(CHANNELS, 2 * OUTPUTS) / math.sqrt(CHANNELS),
    "bias": 0.1 * torch.randn(1, 2 * OUTPUTS),
}
w = {name: value.float().double().requires_grad_() for name, value in w.items()}
x = torch.randn(SAMPLES, CHANNELS).float().double().requires_grad_()
dy = torch.randn(SAMPLES, OUTPUTS).float().double()


def pairs(half, dim=0):
    return torch.cat([half, half.conj()], dim=dim)


log_step = torch.cat([w["log_step"][0]] * 2)
a = pairs(torch.complex(-w["log_neg_re"].exp(), w["im"])[0])
b = pairs(torch.complex(*w["b"].chunk(2)))
c = pairs(torch.complex(*w["c"].chunk(2)).T, dim=1)
d = w["skip"][0]


def ssm(step_scale):
    return apply_ssm(*discretize_zoh(a, b, step_scale * log_step.exp()), c, d, x)[0]


def read_out(s):
    return torch.nn.functional.glu(torch.nn.functional.silu(s) @ w["out"] + w["bias"], dim=-1)


y = read_out(ssm(1.0))
(y * dy).sum().backward()
y_half = read_out(ssm(0.5))
assert a.dtype == torch.complex128 and y.dtype == torch.float64

with torch.no_grad():
    # The whole module, which computes in complex64, and the convolution form.
    torch.set_default_dtype(torch.float32)
    module = S5(CHANNELS, 2 * STATES).seq
    module.Lambda.data, module.B.data, module.C.data = a.cfloat(), torch.view_as_real(b), c.cfloat()
    module.D.data, module.log_step.data = d.float(), log_step.float()
    lags = torch.arange(SAMPLES)[:, None] - torch.arange(SAMPLES)
    for scale in (1.0, 0.5):
        torch.testing.assert_close(module(x.float(), step_scale=scale).double(), ssm(scale), rtol=1e-5, atol=1e-5)
        half, step = a[:STATES], scale * w["log_step"][0].exp()
        powers = torch.exp(step * half * lags.clamp(min=0)[:, :, None]) * (lags >= 0)[:, :, None]
        driven = x.cdouble() @ (((step * half).exp() - 1) / half * b[:STATES].T)
        again = 2 * (torch.einsum("tsp,sp->tp", powers, driven) @ c[:, :STATES].T).real + d * x
        torch.testing.assert_close(again, ssm(scale), rtol=1e-11, atol=1e-11)

# The original keeps the first half of the spectrum (`conj_sym`), in ascending order: the negative imaginary parts.
spectrum = torch.from_numpy(make_DPLR_HiPPO(2 * STATES)[0])
torch.testing.assert_close(spectrum, spectrum.conj().flip(0), rtol=1e-12, atol=1e-12)
init = {"init.log_neg_re": (-spectrum.real[:STATES]).log(), "init.im": spectrum.imag[:STATES]}

tensors = {f"w.{name}": value.detach() for name, value in w.items()} | {f"dw.{name}": value.grad for name, value in w.items()}
tensors |= {"x": x.detach(), "dy": dy, "y": y.detach(), "dx": x.grad, "y_half": y_half.detach()} | init
path = pathlib.Path(__file__).parent.parent / "testdata" / "s5.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
