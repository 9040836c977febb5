"""Hugging Face's Mamba mixer and mambapy's block with its parallel scan, gradients by autograd.

Both hold parts in f32, so the numbers are the recurrence written out in float64, asserted against the two.
"""

import pathlib

import torch
from mambapy.mamba import MambaBlock
from mambapy.mamba import MambaConfig as MambapyConfig
from safetensors.torch import save_file
from torch.nn.functional import pad, silu, softplus
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

torch.manual_seed(12)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
WIDTH, EXPAND, STATES, TAPS, RANK, SAMPLES = 6, 2, 4, 4, 2, 40
INNER = EXPAND * WIDTH

config = MambaConfig(
    hidden_size=WIDTH,
    num_hidden_layers=1,
    **{"expand": EXPAND, "state_size": STATES, "conv_kernel": TAPS, "time_step_rank": RANK},
    **{"use_bias": False, "use_conv_bias": True, "use_mambapy": False},
)
mixer = MambaMixer(config, layer_idx=0).double().eval()
names = {
    "in": "in_proj.weight",
    "conv": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "select": "x_proj.weight",
    "step": "dt_proj.weight",
    "step_bias": "dt_proj.bias",
    "a_log": "A_log",
    "skip": "D",
    "out": "out_proj.weight",
}
means = {"step_bias": -1.2, "skip": 1.0}
scales = {"in": 0.4, "conv": 0.6, "conv_bias": 0.2, "select": 0.5, "step": 0.4, "step_bias": 0.3}
scales |= {"a_log": 0.5, "skip": 0.3, "out": 0.3}


def ours(name, value):
    """A tensor of the mixer, laid out as foretoken has it: [inputs, outputs], taps by channels, vectors as one row."""
    return value if name == "a_log" else value.reshape(len(value), -1).T


def recurrence(w, x):
    u, z = (x @ w["in"]).chunk(2, dim=1)
    window = pad(u, (0, 0, TAPS - 1, 0))
    u = silu(sum(w["conv"][tap] * window[tap : tap + SAMPLES] for tap in range(TAPS)) + w["conv_bias"])
    step, b, c = (u @ w["select"]).split([RANK, STATES, STATES], dim=1)
    step = softplus(step @ w["step"] + w["step_bias"])
    assert 0.05 < step.min() and step.max() < 0.7, "a step is out of range: take another seed"
    h, rows = torch.zeros(INNER, STATES), []
    for t in range(SAMPLES):
        h = torch.exp(-step[t, :, None] * w["a_log"].exp()) * h + (step[t] * u[t])[:, None] * b[t]
        rows.append(h @ c[t])
    return ((torch.stack(rows) + w["skip"] * u) * silu(z)) @ w["out"]


parameters = dict(mixer.named_parameters())
assert sorted(parameters) == sorted(names.values())
with torch.no_grad():
    for name, theirs in names.items():
        # What foretoken reads is f32: the reference computes on the rounded values.
        value = means.get(name, 0) + scales[name] * torch.randn_like(parameters[theirs])
        parameters[theirs].copy_(value.float())
w = {name: ours(name, parameters[theirs]).detach().clone().requires_grad_() for name, theirs in names.items()}
x = torch.randn(SAMPLES, WIDTH).float().double().requires_grad_()
dy = torch.randn(SAMPLES, WIDTH).float().double()
y = recurrence(w, x)
(y * dy).sum().backward()
results = {"y": y.detach(), "dx": x.grad} | {f"dw.{name}": value.grad for name, value in w.items()}

block = MambaBlock(MambapyConfig(d_model=WIDTH, n_layers=1, dt_rank=RANK, d_state=STATES, expand_factor=EXPAND, d_conv=TAPS))
block = block.double()
block.load_state_dict(mixer.state_dict())
for reference, module in [("transformers", mixer), ("mambapy", block)]:
    again = x.detach()[None].requires_grad_()
    output = module(again)
    (output * dy).sum().backward()
    theirs = {"y": output.detach()[0], "dx": again.grad[0]}
    theirs |= {f"dw.{name}": ours(name, module.get_parameter(names[name]).grad) for name in names}
    errors = {name: ((theirs[name] - value).abs().max() / value.abs().max()).item() for name, value in results.items()}
    assert max(errors.values()) < 1e-6, (reference, errors)
    print(f"{reference}: agrees to {max(errors.values()):.1e}")

tensors = {"x": x.detach(), "dy": dy} | {f"w.{name}": value.detach() for name, value in w.items()} | results
path = pathlib.Path(__file__).parent.parent / "testdata" / "mamba.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
