"""Noisy top-k gating and its balance losses (Shazeer et al. 2017, arXiv:1701.06538, eq. 3-11) in float64 with given noise."""

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
# One more than the choice needs: whose noisy value the load's threshold is must not hang either.
margin = (ordered[:, :-1] - ordered[:, 1:])[:, : TOP_K + 1].min()
assert margin > 1e-4, f"a choice hangs on {margin}: take another seed"
kept, choice = h.topk(TOP_K)
masked = torch.full_like(h, -torch.inf).scatter(1, choice, kept)
weights = masked.softmax(dim=1).gather(1, choice)
dclean, draw = torch.autograd.grad((weights * dweights).sum(), (clean, raw), retain_graph=True)


def squared_variation(total):
    return total.var(unbiased=False) / (total.mean() ** 2 + 1e-10)


importance = masked.softmax(dim=1).sum(dim=0)
importance_loss = squared_variation(importance)
dclean_importance, draw_importance = torch.autograd.grad(importance_loss, (clean, raw), retain_graph=True)

# The k-th largest noisy value of the others, by the paper's words and as implementations have it; it has a gradient too.
others = [torch.cat([h[:, :expert], h[:, expert + 1 :]], dim=1) for expert in range(EXPERTS)]
threshold = torch.stack([other.topk(TOP_K).values[:, TOP_K - 1] for other in others], dim=1)
assert torch.equal(threshold, torch.where(masked.isfinite(), ordered[:, TOP_K, None], ordered[:, TOP_K - 1, None]))
deviation = STD * torch.nn.functional.softplus(raw)
load = torch.distributions.Normal(0.0, 1.0).cdf((clean - threshold) / deviation).sum(dim=0)
load_loss = squared_variation(load)
dclean_load, draw_load = torch.autograd.grad(load_loss, (clean, raw))

tensors = {"clean": clean.detach(), "raw": raw.detach(), "noise": noise, "dweights": dweights, "h": h.detach()}
tensors |= {"choice": choice, "weights": weights.detach(), "dclean": dclean, "draw": draw}
tensors |= {"importance": importance.detach()[None], "importance_loss": importance_loss.detach().reshape(1, 1)}
tensors |= {"dclean_importance": dclean_importance, "draw_importance": draw_importance}
tensors |= {"load": load.detach()[None], "load_loss": load_loss.detach().reshape(1, 1)}
tensors |= {"dclean_load": dclean_load, "draw_load": draw_load}
path = pathlib.Path(__file__).parent.parent / "testdata" / "noisy_top_k.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
