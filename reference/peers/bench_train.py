"""PyTorch's models in the shape that `crates/model/benches/train.rs` trains: width 128, 4 layers, windows of 512, forward, backward and AdamW.

usage: bench_train.py THREADS [llama|lstm|gru|mamba2 ...]; one line a figure: name, tokens a second (best of several steps)
"""

import sys
import time

import torch
from torch import nn
from transformers import LlamaConfig, LlamaForCausalLM, Mamba2Config, Mamba2ForCausalLM

WORDS, LAYERS, WIDTH, WINDOW = 16, 4, 128, 512

threads, names = int(sys.argv[1]), sys.argv[2:]
torch.set_num_threads(threads)


class Recurrent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.embed = nn.Embedding(WORDS, WIDTH)
        self.layers = kind(WIDTH, WIDTH, num_layers=LAYERS, batch_first=True)
        self.head = nn.Linear(WIDTH, WORDS)

    def forward(self, x):
        return self.head(self.layers(self.embed(x))[0])


def llama():
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=4,
            num_key_value_heads=4,
            intermediate_size=320,
            use_cache=False,
        )
    )


def mamba2():
    return Mamba2ForCausalLM(
        Mamba2Config(
            vocab_size=WORDS,
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            state_size=64,
            head_dim=32,
            num_heads=8,
            n_groups=1,
            expand=2,
            chunk_size=64,
            use_cache=False,
        )
    )


# Model, windows a step, steps.
MODELS = {
    "llama": (llama, 16, 5),
    "lstm": (lambda: Recurrent(nn.LSTM), 16, 5),
    "gru": (lambda: Recurrent(nn.GRU), 16, 5),
    "mamba2": (mamba2, 4, 3),
}

for name in names or MODELS:
    build, windows, steps = MODELS[name]
    torch.manual_seed(0)
    model = build().train()
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    x = torch.randint(0, WORDS, (windows, WINDOW))
    times = []
    for _ in range(steps + 1):
        start = time.perf_counter()
        y = model(x)
        y = y.logits if hasattr(y, "logits") else y
        loss = nn.functional.cross_entropy(y.reshape(-1, WORDS), x.reshape(-1))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        times.append(time.perf_counter() - start)
    print(f"peer.{name}.{threads}.samples_a_second {windows * WINDOW / min(times[1:]):.0f}", flush=True)
