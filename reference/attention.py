"""Hugging Face's Mistral attention (rotary, grouped queries, sliding window) and Llama's under the same mask.

Their softmax is in f32, so the numbers are the attention written out in float64, asserted against the two.
"""

import math
import pathlib

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, MistralConfig
from transformers.masking_utils import create_sliding_window_causal_mask
from transformers.models.llama.modeling_llama import LlamaAttention
from transformers.models.mistral.modeling_mistral import MistralAttention, MistralRotaryEmbedding

torch.manual_seed(10)
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
WIDTH, HEADS, KEY_HEADS, HEAD, WINDOW, THETA, SAMPLES = 6, 4, 2, 4, 7, 10000.0, 40

sizes = {"hidden_size": WIDTH, "num_attention_heads": HEADS, "num_key_value_heads": KEY_HEADS, "head_dim": HEAD}
sizes |= {"rope_parameters": {"rope_type": "default", "rope_theta": THETA}, "attn_implementation": "eager"}
config = MistralConfig(**sizes, sliding_window=WINDOW)
mistral = MistralAttention(config, layer_idx=0).double().eval()
# Llama's config wants a width that the heads divide; its layer does not.
llama_config = LlamaConfig(**sizes | {"hidden_size": HEADS * HEAD})
llama_config.hidden_size = WIDTH
llama = LlamaAttention(llama_config, layer_idx=0).double().eval()
names = {"query": "q_proj.weight", "key": "k_proj.weight", "value": "v_proj.weight", "out": "o_proj.weight"}
scales = {"query": 0.6, "key": 0.6, "value": 0.5, "out": 0.4}


def attention(w, x):
    lag = torch.arange(SAMPLES)[:, None] - torch.arange(SAMPLES)
    angle = torch.arange(SAMPLES)[:, None] * THETA ** (-torch.arange(0, HEAD, 2) / HEAD)

    def heads(name, rotary):
        value = (x @ w[name]).reshape(SAMPLES, -1, HEAD).transpose(0, 1)
        if rotary:
            first, second = value.chunk(2, dim=2)
            turned = [first * angle.cos() - second * angle.sin(), second * angle.cos() + first * angle.sin()]
            value = torch.cat(turned, dim=2)
        return value.repeat_interleave(HEADS // len(value), dim=0)

    query, key, value = heads("query", True), heads("key", True), heads("value", False)
    scores = query @ key.transpose(1, 2) / math.sqrt(HEAD)
    weights = scores.masked_fill((lag < 0) | (lag >= WINDOW), -math.inf).softmax(dim=2)
    return (weights @ value).transpose(0, 1).reshape(SAMPLES, -1) @ w["out"]


parameters = dict(mistral.named_parameters())
assert sorted(parameters) == sorted(names.values())
with torch.no_grad():
    for name, theirs in names.items():
        # What foretoken reads is f32: the reference computes on the rounded values.
        parameters[theirs].copy_((scales[name] * torch.randn_like(parameters[theirs])).float())
llama.load_state_dict(mistral.state_dict())
w = {name: parameters[theirs].T.detach().clone().requires_grad_() for name, theirs in names.items()}
x = torch.randn(SAMPLES, WIDTH).float().double().requires_grad_()
dy = torch.randn(SAMPLES, WIDTH).float().double()
y = attention(w, x)
(y * dy).sum().backward()
results = {"y": y.detach(), "dx": x.grad} | {f"dw.{name}": value.grad for name, value in w.items()}

positions = torch.arange(SAMPLES)[None]
embeddings = MistralRotaryEmbedding(config)(x[None], position_ids=positions)
mask = create_sliding_window_causal_mask(
    config=config, inputs_embeds=x[None], attention_mask=None, cache=None, position_ids=positions
)
for reference, module in [("Mistral", mistral), ("Llama", llama)]:
    again = x.detach()[None].requires_grad_()
    output = module(again, position_embeddings=embeddings, attention_mask=mask)[0]
    # What the last sample sees: itself and the six before.
    (seen,) = torch.autograd.grad(output[0, -1].sum(), again, retain_graph=True)
    assert seen[0].any(dim=1).nonzero().flatten().tolist() == list(range(SAMPLES - WINDOW, SAMPLES))
    (output * dy).sum().backward()
    theirs = {"y": output.detach()[0], "dx": again.grad[0]}
    theirs |= {f"dw.{name}": module.get_parameter(names[name]).grad.T for name in names}
    errors = {name: ((theirs[name] - value).abs().max() / value.abs().max()).item() for name, value in results.items()}
    assert max(errors.values()) < 1e-6, (reference, errors)
    print(f"{reference}: agrees to {max(errors.values()):.1e}")

tensors = {"x": x.detach(), "dy": dy} | {f"w.{name}": value.detach() for name, value in w.items()} | results
path = pathlib.Path(__file__).parent.parent / "testdata" / "attention.safetensors"
save_file({name: value.float().contiguous() for name, value in tensors.items()}, path)
