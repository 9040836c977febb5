"""Hugging Face's Qwen2-MoE block: gates not renormalised, a shared expert behind a sigmoid, gradients by autograd."""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import Qwen2MoeConfig
from transformers.models.qwen2_moe.modeling_qwen2_moe import Qwen2MoeSparseMoeBlock

torch.manual_seed(1)
WIDTH, HIDDEN, SHARED, EXPERTS, TOP_K, ROWS = 6, 10, 7, 5, 2, 24

config = Qwen2MoeConfig(
    hidden_size=WIDTH,
    moe_intermediate_size=HIDDEN,
    shared_expert_intermediate_size=SHARED,
    num_experts=EXPERTS,
    num_experts_per_tok=TOP_K,
)
config._experts_implementation = "eager"
assert not config.norm_topk_prob
block = Qwen2MoeSparseMoeBlock(config)
for parameter in block.parameters():
    torch.nn.init.normal_(parameter, std=0.6)
# The router's softmax runs in f32, everything else in f64: the second reference below has no such step.
block = block.double()
x = torch.randn(1, ROWS, WIDTH).double().requires_grad_()
dy = torch.randn(1, ROWS, WIDTH).double()

logits = x[0] @ block.gate.weight.T
ordered = logits.sort(descending=True).values
margin = (ordered[:, TOP_K - 1] - ordered[:, TOP_K]).min()
assert margin > 1e-2, f"a choice hangs on {margin}: take another seed"
kept = logits >= ordered[:, TOP_K - 1 : TOP_K]
assert kept.any(dim=0).all(), "an expert without a row: take another seed"

y = block(x)
shared, gate_up, down = block.shared_expert, block.experts.gate_up_proj, block.experts.down_proj
leaves = {"x": x, "router.gate": block.gate.weight, "gate_up": gate_up, "down": down}
leaves |= {"shared_gate": block.shared_expert_gate.weight}
leaves |= {f"shared.0.{part}": getattr(shared, f"{part}_proj").weight for part in ["gate", "up", "down"]}
gradients = dict(zip(leaves, torch.autograd.grad((y * dy).sum(), leaves.values())))

# The second reference: every expert on every row, in f64 throughout.
gate, up = torch.einsum("rd,ehd->reh", x[0], gate_up).chunk(2, dim=-1)
outputs = torch.einsum("reh,edh->red", torch.nn.functional.silu(gate) * up, down)
again = ((logits.softmax(dim=1) * kept)[:, :, None] * outputs).sum(dim=1)
hidden = torch.nn.functional.silu(x[0] @ shared.gate_proj.weight.T) * (x[0] @ shared.up_proj.weight.T)
again = again + (x[0] @ leaves["shared_gate"].T).sigmoid() * (hidden @ shared.down_proj.weight.T)
torch.testing.assert_close(y[0], again, rtol=1e-6, atol=1e-6)
for name, gradient in zip(leaves, torch.autograd.grad((again * dy[0]).sum(), leaves.values())):
    torch.testing.assert_close(gradients[name], gradient, rtol=1e-6, atol=1e-6, msg=name)

tensors = {"x": x.detach()[0], "dy": dy[0], "y": y.detach()[0], "dx": gradients.pop("x")[0]}
for prefix, values in [("w", leaves), ("dw", gradients)]:
    for name in ["router.gate", "shared.0.gate", "shared.0.up", "shared.0.down", "shared_gate"]:
        tensors[f"{prefix}.{name}"] = values[name].detach().T
    for expert in range(EXPERTS):
        tensors[f"{prefix}.experts.{expert}.gate"] = values["gate_up"].detach()[expert, :HIDDEN].T
        tensors[f"{prefix}.experts.{expert}.up"] = values["gate_up"].detach()[expert, HIDDEN:].T
        tensors[f"{prefix}.experts.{expert}.down"] = values["down"].detach()[expert].T
path = pathlib.Path(__file__).parent.parent / "testdata" / "qwen2_moe.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
