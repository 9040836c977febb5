"""Hugging Face's Mixtral block: routing, experts and balance loss, with gradients by autograd."""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock, load_balancing_loss_func

torch.manual_seed(3)
WIDTH, HIDDEN, EXPERTS, TOP_K, ROWS, COEFFICIENT = 6, 10, 5, 2, 24, 0.3

config = MixtralConfig(hidden_size=WIDTH, intermediate_size=HIDDEN, num_local_experts=EXPERTS, num_experts_per_tok=TOP_K)
config._experts_implementation = "eager"
block = MixtralSparseMoeBlock(config)
for parameter in block.parameters():
    torch.nn.init.normal_(parameter, std=0.6)
# The block routes in f32; everything else runs in f64, so the golden is as good as the choice.
block = block.double()
x = torch.randn(1, ROWS, WIDTH).double().requires_grad_()
dy = torch.randn(1, ROWS, WIDTH).double()

logits = x[0] @ block.gate.weight.T
ordered = logits.sort(descending=True).values
margin = (ordered[:, TOP_K - 1] - ordered[:, TOP_K]).min()
assert margin > 1e-2, f"a choice hangs on {margin}: take another seed"

y = block(x)
y = y[0] if isinstance(y, tuple) else y
# Their loss is k at perfect balance, ours is 1.
balance = load_balancing_loss_func((logits,), EXPERTS, TOP_K) / TOP_K
((y * dy).sum() + COEFFICIENT * balance).backward()

gate_up, down = block.experts.gate_up_proj, block.experts.down_proj
tensors = {"x": x.detach()[0], "dy": dy[0], "y": y.detach()[0], "dx": x.grad[0], "balance": balance.detach().reshape(1, 1)}
tensors |= {"w.router.gate": block.gate.weight.detach().T, "dw.router.gate": block.gate.weight.grad.T}
for expert in range(EXPERTS):
    for prefix, gates, downs in [("w", gate_up.detach(), down.detach()), ("dw", gate_up.grad, down.grad)]:
        tensors[f"{prefix}.experts.{expert}.gate"] = gates[expert, :HIDDEN].T
        tensors[f"{prefix}.experts.{expert}.up"] = gates[expert, HIDDEN:].T
        tensors[f"{prefix}.experts.{expert}.down"] = downs[expert].T
path = pathlib.Path(__file__).parent.parent / "testdata" / "mixtral.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
