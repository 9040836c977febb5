"""Noisy top-k gating (Shazeer et al. 2017, arXiv:1701.06538, eq. 3-5) in float64 with given noise."""

import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(1)
torch.set_default_dtype(torch.float64)
ROWS, EXPERTS, TOP_K, STD = 30, 6, 3, 0.8

clean = torch.randn(ROWS, EXPERTS).float().double().requires_grad_()
raw = torch.randn(ROWS, EXPERTS).float().double().requires_grad_()
noise = torch.randn(ROWS, EXPERTS).float().double()
dweights = torch.randn(ROWS, TOP_K).float().double()

h = clean + STD * noise * torch.nn.functional.softplus(raw)
ordered = h.sort(descending=True).values
margin = (ordered[:, :-1] - ordered[:, 1:])[:, :TOP_K].min()
assert margin > 1e-4, f"a choice hangs on {margin}: take another seed"
kept, choice = h.topk(TOP_K)
masked = torch.full_like(h, -torch.inf).scatter(1, choice, kept)
weights = masked.softmax(dim=1).gather(1, choice)
(weights * dweights).sum().backward()

tensors = {"clean": clean.detach(), "raw": raw.detach(), "noise": noise, "dweights": dweights, "h": h.detach()}
tensors |= {"choice": choice, "weights": weights.detach(), "dclean": clean.grad, "draw": raw.grad}
path = pathlib.Path(__file__).parent.parent / "testdata" / "noisy_top_k.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
