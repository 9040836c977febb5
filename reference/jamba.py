"""A sparse block of Hugging Face's Jamba, as it runs inside the whole model on a sequence, gradients by autograd."""

import pathlib

import torch
from safetensors.torch import save_file
from transformers import JambaConfig, JambaModel

torch.manual_seed(4)
WIDTH, HIDDEN, EXPERTS, TOP_K, ROWS, VOCABULARY = 6, 10, 6, 2, 24, 32

# Mamba, attention, mamba, attention; a mixture in the first and the third.
config = JambaConfig(
    vocab_size=VOCABULARY,
    hidden_size=WIDTH,
    intermediate_size=HIDDEN,
    num_hidden_layers=4,
    **{"num_attention_heads": 2, "num_key_value_heads": 1},
    num_experts=EXPERTS,
    num_experts_per_tok=TOP_K,
    **{"expert_layer_period": 2, "expert_layer_offset": 0, "attn_layer_period": 2, "attn_layer_offset": 1},
    **{"mamba_d_state": 4, "mamba_dt_rank": 2, "use_mamba_kernels": False},
)
config._experts_implementation = "eager"
model = JambaModel(config).eval()
assert config.layers_block_type == ["mamba", "attention"] * 2
for parameter in model.parameters():
    torch.nn.init.normal_(parameter, std=0.6)
block = model.layers[2].feed_forward
captured = []
block.register_forward_hook(lambda _, inputs, output: captured.append((inputs[0], output)))
with torch.no_grad():
    model(torch.randint(VOCABULARY, (1, ROWS)), use_cache=False)
((inside, outside),) = captured

# The model ran in f32. The block again on what it got there, in f64 but for the router's softmax.
block = block.double()
x = inside.double().requires_grad_()
dy = torch.randn(1, ROWS, WIDTH).double()
logits = x[0] @ block.router.weight.T
ordered = logits.sort(descending=True).values
margin = (ordered[:, TOP_K - 1] - ordered[:, TOP_K]).min()
assert margin > 1e-2, f"a choice hangs on {margin}: take another seed"
kept = logits >= ordered[:, TOP_K - 1 : TOP_K]
assert kept.any(dim=0).all(), "an expert without a row: take another seed"

y = block(x)
torch.testing.assert_close(y, outside.double(), rtol=1e-6, atol=1e-6)
gate_up, down = block.experts.gate_up_proj, block.experts.down_proj
leaves = {"x": x, "router.gate": block.router.weight, "gate_up": gate_up, "down": down}
gradients = dict(zip(leaves, torch.autograd.grad((y * dy).sum(), leaves.values())))

# The second reference: every expert on every row, in f64 throughout.
gate, up = torch.einsum("rd,ehd->reh", x[0], gate_up).chunk(2, dim=-1)
outputs = torch.einsum("reh,edh->red", torch.nn.functional.silu(gate) * up, down)
again = ((logits.softmax(dim=1) * kept)[:, :, None] * outputs).sum(dim=1)
torch.testing.assert_close(y[0], again, rtol=1e-6, atol=1e-6)
for name, gradient in zip(leaves, torch.autograd.grad((again * dy[0]).sum(), leaves.values())):
    torch.testing.assert_close(gradients[name], gradient, rtol=1e-6, atol=1e-6, msg=name)

tensors = {"x": x.detach()[0], "dy": dy[0], "y": y.detach()[0], "dx": gradients.pop("x")[0]}
for prefix, values in [("w", leaves), ("dw", gradients)]:
    tensors[f"{prefix}.router.gate"] = values["router.gate"].detach().T
    for expert in range(EXPERTS):
        tensors[f"{prefix}.experts.{expert}.gate"] = values["gate_up"].detach()[expert, :HIDDEN].T
        tensors[f"{prefix}.experts.{expert}.up"] = values["gate_up"].detach()[expert, HIDDEN:].T
        tensors[f"{prefix}.experts.{expert}.down"] = values["down"].detach()[expert].T
path = pathlib.Path(__file__).parent.parent / "testdata" / "jamba.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
