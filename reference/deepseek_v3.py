"""Hugging Face's DeepSeek-V3 block: a bias that only selects, scaled gates, a shared expert, gradients by autograd."""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import DeepseekV3Config
from transformers.models.deepseek_v3.modeling_deepseek_v3 import DeepseekV3MoE

torch.manual_seed(2)
WIDTH, HIDDEN, EXPERTS, TOP_K, ROWS, SCALE = 6, 10, 8, 3, 24, 2.5

config = DeepseekV3Config(
    hidden_size=WIDTH,
    moe_intermediate_size=HIDDEN,
    n_routed_experts=EXPERTS,
    num_experts_per_tok=TOP_K,
    routed_scaling_factor=SCALE,
    **{"n_shared_experts": 1, "n_group": 1, "topk_group": 1, "norm_topk_prob": True},
)
config._experts_implementation = "eager"
block = DeepseekV3MoE(config)
for parameter in block.parameters():
    torch.nn.init.normal_(parameter, std=0.6)
torch.nn.init.normal_(block.gate.e_score_correction_bias, std=0.2)
# The router runs in f32, everything else in f64: the second reference below has no such step.
block = block.double()
x = torch.randn(1, ROWS, WIDTH).double().requires_grad_()
dy = torch.randn(1, ROWS, WIDTH).double()

bias = block.gate.e_score_correction_bias
scores = (x[0] @ block.gate.weight.T).sigmoid()
ordered = (scores + bias).sort(descending=True).values
margin = (ordered[:, TOP_K - 1] - ordered[:, TOP_K]).min()
assert margin > 1e-3, f"a choice hangs on {margin}: take another seed"
kept = scores + bias >= ordered[:, TOP_K - 1 : TOP_K]
assert kept.any(dim=0).all(), "an expert without a row: take another seed"
unbiased = scores >= scores.sort(descending=True).values[:, TOP_K - 1 : TOP_K]
assert 0 < (kept != unbiased).any(dim=1).sum() < ROWS, "the bias must change some choices, not all"

y = block(x)
shared, gate_up, down = block.shared_experts, block.experts.gate_up_proj, block.experts.down_proj
leaves = {"x": x, "router.gate": block.gate.weight, "gate_up": gate_up, "down": down}
leaves |= {f"shared.0.{part}": getattr(shared, f"{part}_proj").weight for part in ["gate", "up", "down"]}
gradients = dict(zip(leaves, torch.autograd.grad((y * dy).sum(), leaves.values())))

# The second reference: every expert on every row, in f64 throughout.
gate, up = torch.einsum("rd,ehd->reh", x[0], gate_up).chunk(2, dim=-1)
outputs = torch.einsum("reh,edh->red", torch.nn.functional.silu(gate) * up, down)
gates = SCALE * scores * kept / (scores * kept).sum(dim=1, keepdim=True)
hidden = torch.nn.functional.silu(x[0] @ shared.gate_proj.weight.T) * (x[0] @ shared.up_proj.weight.T)
again = (gates[:, :, None] * outputs).sum(dim=1) + hidden @ shared.down_proj.weight.T
torch.testing.assert_close(y[0], again, rtol=1e-6, atol=1e-6)
for name, gradient in zip(leaves, torch.autograd.grad((again * dy[0]).sum(), leaves.values())):
    torch.testing.assert_close(gradients[name], gradient, rtol=1e-6, atol=1e-6, msg=name)

tensors = {"x": x.detach()[0], "dy": dy[0], "y": y.detach()[0], "dx": gradients.pop("x")[0]}
tensors |= {"w.router.bias": bias.reshape(1, EXPERTS), "dw.router.bias": torch.zeros(1, EXPERTS)}
for prefix, values in [("w", leaves), ("dw", gradients)]:
    for name in ["router.gate", "shared.0.gate", "shared.0.up", "shared.0.down"]:
        tensors[f"{prefix}.{name}"] = values[name].detach().T
    for expert in range(EXPERTS):
        tensors[f"{prefix}.experts.{expert}.gate"] = values["gate_up"].detach()[expert, :HIDDEN].T
        tensors[f"{prefix}.experts.{expert}.up"] = values["gate_up"].detach()[expert, HIDDEN:].T
        tensors[f"{prefix}.experts.{expert}.down"] = values["down"].detach()[expert].T
path = pathlib.Path(__file__).parent.parent / "testdata" / "deepseek_v3.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
