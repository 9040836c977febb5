"""Hugging Face's Jamba mixer, a Mamba whose step, B and C are RMS-normalised, and mambapy's block with the same norms.

Both hold parts in f32, so the numbers are the recurrence written out in float64, asserted against the two.
"""

import pathlib

import torch
from mambapy.mamba import MambaBlock
from mambapy.mamba import MambaConfig as MambapyConfig
from safetensors.torch import save_file
from torch.nn.functional import pad, silu, softplus
from transformers import DynamicCache, JambaConfig
from transformers.models.jamba.modeling_jamba import JambaMambaMixer

torch.manual_seed(16)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
WIDTH, EXPAND, STATES, TAPS, RANK, SAMPLES, EPS = 6, 2, 4, 4, 2, 40, 1e-6
INNER = EXPAND * WIDTH

config = JambaConfig(
    hidden_size=WIDTH,
    **{"num_hidden_layers": 2, "attn_layer_period": 2, "attn_layer_offset": 1, "rms_norm_eps": EPS},
    **{"mamba_expand": EXPAND, "mamba_d_state": STATES, "mamba_d_conv": TAPS, "mamba_dt_rank": RANK},
    **{"mamba_conv_bias": True, "mamba_proj_bias": False, "use_mambapy": False},
)
mixer = JambaMambaMixer(config, layer_idx=0).double().eval()
names = {
    "in": "in_proj.weight",
    "conv": "conv1d.weight",
    "conv_bias": "conv1d.bias",
    "select": "x_proj.weight",
    "step_gain": "dt_layernorm.weight",
    "b_gain": "b_layernorm.weight",
    "c_gain": "c_layernorm.weight",
    "step": "dt_proj.weight",
    "step_bias": "dt_proj.bias",
    "a_log": "A_log",
    "skip": "D",
    "out": "out_proj.weight",
}
means = {"step_gain": 1.0, "b_gain": 1.0, "c_gain": 1.0, "step_bias": -1.2, "skip": 1.0}
scales = {"in": 0.4, "conv": 0.6, "conv_bias": 0.2, "select": 0.6, "step_gain": 0.2, "b_gain": 0.2, "c_gain": 0.2}
scales |= {"step": 0.4, "step_bias": 0.3, "a_log": 0.5, "skip": 0.3, "out": 0.3}


def ours(name, value):
    """A tensor of the mixer, laid out as foretoken has it: [inputs, outputs], taps by channels, vectors as one row."""
    return value if name == "a_log" else value.reshape(len(value), -1).T


def rms_norm(x, gain):
    return x * torch.rsqrt(x.square().mean(dim=1, keepdim=True) + EPS) * gain


def recurrence(w, x):
    u, z = (x @ w["in"]).chunk(2, dim=1)
    window = pad(u, (0, 0, TAPS - 1, 0))
    u = silu(sum(w["conv"][tap] * window[tap : tap + SAMPLES] for tap in range(TAPS)) + w["conv_bias"])
    step, b, c = (u @ w["select"]).split([RANK, STATES, STATES], dim=1)
    assert min(part.norm(dim=1).min() for part in (step, b, c)) > 0.02, "a norm divides by little: take another seed"
    step, b, c = rms_norm(step, w["step_gain"]), rms_norm(b, w["b_gain"]), rms_norm(c, w["c_gain"])
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

sizes = {"d_model": WIDTH, "n_layers": 1, "dt_rank": RANK, "d_state": STATES, "expand_factor": EXPAND, "d_conv": TAPS}
block = MambaBlock(MambapyConfig(**sizes, rms_norm_eps=EPS, inner_layernorms=True)).double()
block.b_layernorm, block.c_layernorm = block.B_layernorm, block.C_layernorm
block.load_state_dict(mixer.state_dict(), strict=False)
for reference, module in [("transformers", mixer), ("mambapy", block)]:
    again = x.detach()[None].requires_grad_()
    output = module(again)
    (output * dy).sum().backward()
    theirs = {"y": output.detach()[0], "dx": again.grad[0]}
    theirs |= {f"dw.{name}": ours(name, module.get_parameter(names[name]).grad) for name in names}
    errors = {name: ((theirs[name] - value).abs().max() / value.abs().max()).item() for name, value in results.items()}
    assert max(errors.values()) < 2e-6, (reference, errors)
    print(f"{reference}: agrees to {max(errors.values()):.1e}")

# Upstream, chunks of several samples through the cache start from a zero state (transformers#45513); single samples do not.
for chunk in (1, 8):
    cache = DynamicCache(config=config)
    with torch.no_grad():
        output = torch.cat([mixer(part, cache=cache) for part in x[None].split(chunk, dim=1)], dim=1)[0]
    print(f"transformers, cached chunks of {chunk}: off by {((output - y).abs().max() / y.abs().max()).item():.1e}")

tensors = {"x": x.detach(), "dy": dy} | {f"w.{name}": value.detach() for name, value in w.items()} | results
path = pathlib.Path(__file__).parent.parent / "testdata" / "jamba_mamba.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
