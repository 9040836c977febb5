"""Hugging Face's Mixtral block, 8 experts, 2 a token, width 256, hidden 512, timed as `crates/foretoken/benches/moe.rs` times ours.

usage: bench_moe.py THREADS; one line a figure: name, milliseconds (best of several)
"""

import sys
import time

import torch
from transformers import MixtralConfig
from transformers.models.mixtral.modeling_mixtral import MixtralSparseMoeBlock

threads = int(sys.argv[1])
torch.set_num_threads(threads)
torch.manual_seed(0)


def best(work, rounds):
    for _ in range(2):
        work()
    times = []
    for _ in range(rounds):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return 1e3 * min(times)


def block(implementation, width, hidden):
    config = MixtralConfig(hidden_size=width, intermediate_size=hidden, num_local_experts=8, num_experts_per_tok=2)
    config._experts_implementation = implementation
    module = MixtralSparseMoeBlock(config)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.02)
    return module


def training(module, x):
    y = module(x)
    (y[0] if isinstance(y, tuple) else y).sum().backward()
    module.zero_grad()


for implementation in ("eager", "grouped_mm"):
    module = block(implementation, 256, 512)
    with torch.no_grad():
        one, many = torch.randn(1, 1, 256), torch.randn(1, 4096, 256)
        print(f"peer.{implementation}.{threads}.one_token_ms {best(lambda: module(one), 200):.4f}")
        print(f"peer.{implementation}.{threads}.forward_4096_ms {best(lambda: module(many), 7):.3f}")
    x = torch.randn(1, 4096, 256, requires_grad=True)
    print(f"peer.{implementation}.{threads}.training_4096_ms {best(lambda: training(module, x), 5):.3f}")
    small = block(implementation, 64, 128)
    with torch.no_grad():
        token = torch.randn(1, 1, 64)
        print(f"peer.{implementation}.{threads}.small_token_ms {best(lambda: small(token), 200):.4f}", flush=True)
