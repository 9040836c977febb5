"""PyTorch's GRU with a linear read-out, in float64 throughout, gradients by autograd."""

import math
import pathlib

import torch
from safetensors.torch import save_file

torch.manual_seed(5)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
INPUTS, HIDDEN, OUTPUTS, SAMPLES = 5, 4, 3, 40

gru = torch.nn.GRU(INPUTS, HIDDEN, batch_first=True)
out = torch.nn.Linear(HIDDEN, OUTPUTS)
leaves = {
    # Columns r | z | n.
    "input": gru.weight_ih_l0,
    "input_bias": gru.bias_ih_l0,
    "hidden": gru.weight_hh_l0,
    "hidden_bias": gru.bias_hh_l0,
    "out": out.weight,
    "out_bias": out.bias,
}
with torch.no_grad():
    for leaf in leaves.values():
        # What foretoken reads is f32: the reference computes on the rounded values.
        leaf.copy_((torch.randn_like(leaf) * (0.4 if leaf.dim() == 1 else 1 / math.sqrt(leaf.shape[1]))).float())
x = torch.randn(1, SAMPLES, INPUTS).float().double().requires_grad_()
dy = torch.randn(1, SAMPLES, OUTPUTS).float().double()
y = out(gru(x)[0])
(y * dy).sum().backward()

tensors = {"x": x.detach()[0], "dy": dy[0], "y": y.detach()[0], "dx": x.grad[0]}
for name, leaf in leaves.items():
    for prefix, value in [("w", leaf.detach()), ("dw", leaf.grad)]:
        tensors[f"{prefix}.{name}"] = value[None] if value.dim() == 1 else value.T
path = pathlib.Path(__file__).parent.parent / "testdata" / "gru.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
