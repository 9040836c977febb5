"""RWKV-7 (Peng et al. 2025, arXiv:2503.14456) written out in float64, gradients by autograd; asserted against the `rwkv` package.

With a path as its argument it also writes the same model there under its native names, with its logits, for `rwkv7_candle`.
"""

import math
import os
import pathlib
import sys
import tempfile

import torch
from safetensors.torch import save_file
from torch.nn.functional import group_norm, layer_norm, normalize

os.environ |= {"RWKV_V7_ON": "1", "RWKV_JIT_ON": "0", "RWKV_CUDA_ON": "0"}
from rwkv.model import RWKV

torch.manual_seed(16)  # One of the better conditioned: all in f32 the gradients are 2e-6 off at most.
torch.set_default_dtype(torch.float64)
DEPTH, WIDTH, HEADS, SIZE, HIDDEN, ROWS = 2, 8, 2, 4, 32, 40
RANKS = {"w": 3, "a": 3, "v": 2, "g": 5}


def matrix(inputs, outputs):
    return torch.randn(inputs, outputs) / math.sqrt(inputs)


def gain():
    return 1 + 0.2 * torch.randn(1, WIDTH)


def bias():
    return 0.2 * torch.randn(1, WIDTH)


w = {}
for layer in range(DEPTH):
    for name in ("norm1", "norm2", "ln_x"):
        w[f"layers.{layer}.{name}"], w[f"layers.{layer}.{name}_bias"] = gain(), bias()
    for name in ("receptance", "key", "value", "output"):
        w[f"layers.{layer}.{name}"] = matrix(WIDTH, WIDTH)
    for name, rank in RANKS.items():
        if (layer, name) != (0, "v"):
            w[f"layers.{layer}.{name}1"], w[f"layers.{layer}.{name}2"] = matrix(WIDTH, rank), matrix(rank, WIDTH)
            if name != "g":
                w[f"layers.{layer}.{name}0"] = 0.7 * torch.randn(1, WIDTH) - 0.5
    w[f"layers.{layer}.shift"] = torch.rand(6, WIDTH)  # r, w, k, v, a, g
    w[f"layers.{layer}.k_k"], w[f"layers.{layer}.k_a"], w[f"layers.{layer}.r_k"] = gain(), gain(), 0.5 * torch.randn(1, WIDTH)
    w[f"layers.{layer}.ffn_shift"] = torch.rand(1, WIDTH)
    w[f"layers.{layer}.ffn_key"], w[f"layers.{layer}.ffn_value"] = matrix(WIDTH, HIDDEN), 0.5 * matrix(HIDDEN, WIDTH)
w = {name: value.float().double().requires_grad_() for name, value in w.items()}

# What comes in is what the language model's first layer gets: embeddings after `ln0`.
embedding = torch.randn(ROWS, WIDTH).float().double()
ln0 = {"weight": gain()[0].float().double(), "bias": bias()[0].float().double()}
tokens = torch.randperm(ROWS)
x = layer_norm(embedding, (WIDTH,), **ln0)[tokens].float().double().requires_grad_()
dy = torch.randn(ROWS, WIDTH).float().double()


def before(x):
    return torch.cat([torch.zeros_like(x[:1]), x[:-1]])


def time_mix(x, w, first):
    xr, xw, xk, xv, xa, xg = (x + (before(x) - x) * shift for shift in w["shift"])
    r, k, v = xr @ w["receptance"], xk @ w["key"], xv @ w["value"]
    decay = torch.exp(-math.exp(-0.5) * torch.sigmoid(w["w0"] + torch.tanh(xw @ w["w1"]) @ w["w2"]))
    a = torch.sigmoid(w["a0"] + xa @ w["a1"] @ w["a2"])
    g = torch.sigmoid(xg @ w["g1"]) @ w["g2"]
    if first is not None:
        v = v + (first - v) * torch.sigmoid(w["v0"] + xv @ w["v1"] @ w["v2"])
    removed = normalize((k * w["k_k"]).view(ROWS, HEADS, SIZE), dim=-1, eps=1e-12)
    k = k * (1 + (a - 1) * w["k_a"])

    state, out = torch.zeros(HEADS, SIZE, SIZE, dtype=x.dtype), []
    for t in range(ROWS):
        rt, kt, vt, at, wt = (values[t].view(HEADS, SIZE) for values in (r, k, v, a, decay))
        kk = removed[t]
        read = torch.einsum("hij,hj->hi", state, kk)
        state = state * wt[:, None, :] - read[:, :, None] * (kk * at)[:, None, :] + vt[:, :, None] * kt[:, None, :]
        out.append(torch.einsum("hij,hj->hi", state, rt).flatten())
    out = group_norm(torch.stack(out), HEADS, w["ln_x"][0], w["ln_x_bias"][0], eps=64e-5)
    bonus = (r * k * w["r_k"]).view(ROWS, HEADS, SIZE).sum(-1, keepdim=True) * v.view(ROWS, HEADS, SIZE)
    return ((out + bonus.flatten(1)) * g) @ w["output"], v if first is None else first


def channel_mix(x, w):
    return torch.relu((x + (before(x) - x) * w["ffn_shift"]) @ w["ffn_key"]) ** 2 @ w["ffn_value"]


def stack(x, w):
    h, first = x, None
    for layer in range(DEPTH):
        own = {name.split(".")[2]: value for name, value in w.items() if name.startswith(f"layers.{layer}.")}
        mixed, first = time_mix(layer_norm(h, (WIDTH,), own["norm1"][0], own["norm1_bias"][0], eps=1e-5), own, first)
        h = h + mixed
        h = h + channel_mix(layer_norm(h, (WIDTH,), own["norm2"][0], own["norm2_bias"][0], eps=1e-5), own)
    return h - x


y = stack(x, w)
(y * dy).sum().backward()

# The same as a language model: logits are the normalised outputs, padded with zeros up to the vocabulary.
native = {"emb.weight": embedding, "head.weight": torch.eye(ROWS, WIDTH)}
native |= {f"blocks.0.ln0.{name}": value for name, value in ln0.items()}
native |= {"ln_out.weight": torch.ones(WIDTH), "ln_out.bias": torch.zeros(WIDTH)}
# Layer 0 has no value residual; files have its weights all the same.
native |= {"blocks.0.att.v0": torch.zeros(1, 1, WIDTH)}
native |= {"blocks.0.att.v1": torch.zeros(WIDTH, RANKS["v"]), "blocks.0.att.v2": torch.zeros(RANKS["v"], WIDTH)}
for name, value in w.items():
    _, layer, name = name.split(".")
    block, value = f"blocks.{layer}", value.detach()
    if name == "shift":
        native |= {f"{block}.att.x_{letter}": row.view(1, 1, WIDTH) for letter, row in zip("rwkvag", value)}
    elif name.startswith(("norm", "ln_x")):
        part = {"norm1": "ln1", "norm2": "ln2", "ln_x": "att.ln_x"}[name.removesuffix("_bias")]
        native[f"{block}.{part}.{'bias' if name.endswith('_bias') else 'weight'}"] = value[0]
    elif name == "r_k":
        native[f"{block}.att.r_k"] = value.view(HEADS, SIZE)
    elif name == "ffn_shift":
        native[f"{block}.ffn.x_k"] = value.view(1, 1, WIDTH)
    elif name in ("receptance", "key", "value", "output", "ffn_key", "ffn_value"):
        part = name.replace("ffn_", "ffn.") if name.startswith("ffn") else f"att.{name}"
        native[f"{block}.{part}.weight"] = value.T
    else:
        native[f"{block}.att.{name}"] = value if name[1] in "12" else value.view(1, 1, WIDTH)
native = {name: value.float().contiguous() for name, value in native.items()}
logits = layer_norm((x + y).detach(), (WIDTH,), eps=1e-5) @ native["head.weight"].double().T

with tempfile.TemporaryDirectory() as folder:
    torch.save(native, f"{folder}/model.pth")
    model = RWKV(model=f"{folder}/model", strategy="cpu fp32")
whole, _ = model.forward(tokens.tolist(), None, full_output=True)
torch.testing.assert_close(whole.double(), logits, rtol=1e-5, atol=1e-5)
state = None
for token, expected in zip(tokens.tolist(), logits):
    one, state = model.forward(token, state)
    torch.testing.assert_close(one.double(), expected, rtol=1e-5, atol=1e-5)

tensors = {f"w.{name}": value.detach() for name, value in w.items()} | {f"dw.{name}": value.grad for name, value in w.items()}
tensors |= {"x": x.detach(), "dy": dy, "y": y.detach(), "dx": x.grad}
path = pathlib.Path(__file__).parent.parent / "testdata" / "rwkv7.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
if len(sys.argv) > 1:
    save_file(native | {"tokens": tokens, "logits": logits.float()}, sys.argv[1])
