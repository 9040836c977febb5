"""Hugging Face's Mamba-2 mixer, the chunked form of the state-space duality, gradients by autograd.

It runs mostly in f32, so the numbers are the recurrence written out in float64, asserted against it.
"""

import pathlib

import torch
from safetensors.torch import save_file
from torch.nn.functional import pad, silu, softplus
from transformers import Mamba2Config
from transformers.models.mamba2.modeling_mamba2 import Mamba2Mixer

torch.manual_seed(13)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
WIDTH, EXPAND, HEADS, STATES, TAPS, CHUNK, SAMPLES, EPS = 6, 2, 3, 5, 4, 16, 40, 1e-6
INNER = EXPAND * WIDTH

config = Mamba2Config(
    hidden_size=WIDTH,
    num_hidden_layers=1,
    **{"expand": EXPAND, "num_heads": HEADS, "head_dim": INNER // HEADS, "n_groups": 1, "state_size": STATES},
    **{"conv_kernel": TAPS, "chunk_size": CHUNK, "layer_norm_epsilon": EPS, "time_step_limit": (0.0, float("inf"))},
    **{"use_bias": False, "use_conv_bias": True},
)
mixer = Mamba2Mixer(config, layer_idx=0).double().eval()
names = {
    # Columns z | x | B | C | dt.
    "in": "in_proj.weight",
    "conv": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "step_bias": "dt_bias",
    "a_log": "A_log",
    "skip": "D",
    "gain": "norm.weight",
    "out": "out_proj.weight",
}
means = {"step_bias": -1.0, "skip": 1.0, "gain": 1.0}
scales = {"in": 0.4, "conv": 0.6, "conv_bias": 0.2, "step_bias": 0.3, "a_log": 0.5, "skip": 0.3, "gain": 0.2, "out": 0.3}


def ours(value):
    """A tensor of the mixer, laid out as foretoken has it: [inputs, outputs], taps by channels, vectors as one row."""
    return value.reshape(len(value), -1).T


def recurrence(w, x):
    z, u, step = (x @ w["in"]).split([INNER, INNER + 2 * STATES, HEADS], dim=1)
    window = pad(u, (0, 0, TAPS - 1, 0))
    u = silu(sum(w["conv"][tap] * window[tap : tap + SAMPLES] for tap in range(TAPS)) + w["conv_bias"])
    u, b, c = u.split([INNER, STATES, STATES], dim=1)
    u = u.reshape(SAMPLES, HEADS, -1)
    step = softplus(step + w["step_bias"])
    assert 0.05 < step.min() and step.max() < 1.2, "a step is out of range: take another seed"
    decay = torch.exp(-step * w["a_log"].exp())
    h, rows = torch.zeros(HEADS, INNER // HEADS, STATES), []
    for t in range(SAMPLES):
        h = decay[t, :, None, None] * h + step[t, :, None, None] * u[t, :, :, None] * b[t]
        rows.append(h @ c[t])
    y = (torch.stack(rows) + w["skip"].T * u).reshape(SAMPLES, INNER) * silu(z)
    return (y * torch.rsqrt(y.square().mean(dim=1, keepdim=True) + EPS) * w["gain"]) @ w["out"]


parameters = dict(mixer.named_parameters())
assert sorted(parameters) == sorted(names.values())
with torch.no_grad():
    for name, theirs in names.items():
        # What foretoken reads is f32: the reference computes on the rounded values.
        value = means.get(name, 0) + scales[name] * torch.randn_like(parameters[theirs])
        parameters[theirs].copy_(value.float())
w = {name: ours(parameters[theirs]).detach().clone().requires_grad_() for name, theirs in names.items()}
x = torch.randn(SAMPLES, WIDTH).float().double().requires_grad_()
dy = torch.randn(SAMPLES, WIDTH).float().double()
y = recurrence(w, x)
(y * dy).sum().backward()
results = {"y": y.detach(), "dx": x.grad} | {f"dw.{name}": value.grad for name, value in w.items()}

again = x.detach()[None].requires_grad_()
output = mixer(again)
(output * dy).sum().backward()
theirs = {"y": output.detach()[0], "dx": again.grad[0]} | {f"dw.{name}": ours(parameters[names[name]].grad) for name in names}
errors = {name: ((theirs[name] - value).abs().max() / value.abs().max()).item() for name, value in results.items()}
assert max(errors.values()) < 2e-6, errors
print(f"transformers: agrees to {max(errors.values()):.1e}")

tensors = {"x": x.detach(), "dy": dy} | {f"w.{name}": value.detach() for name, value in w.items()} | results
path = pathlib.Path(__file__).parent.parent / "testdata" / "mamba2.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
