"""Speed of mlx-lm on the CPU, as JSON.

    python bench_mlx.py MODEL answer PROMPT_TOKENS GENERATION_TOKENS
    python bench_mlx.py MODEL train BATCH LENGTH LAYERS
    python bench_mlx.py MODEL as-is answer ...

The second of two passes counts. Scales and activations are float32: in the
float16 of the files MLX's CPU build is forty times slower. It takes as many
threads as there are cores. With as-is the model stays as it is, on the device
that MLX prefers.
"""

import json
import re
import sys
import time
from importlib.metadata import version
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
from mlx_lm.generate import generate_step
from mlx_lm.tuner.trainer import default_loss
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load_model

args = sys.argv[2:]
as_is = args[0] == "as-is"
if as_is:
    args = args[1:]
else:
    mx.set_default_device(mx.cpu)
model, config = load_model(Path(sys.argv[1]))
if not as_is:
    model.set_dtype(mx.float32)
what, numbers = args[0], [int(n) for n in args[1:]]
mx.random.seed(0)
out = {"version": f"mlx-lm {version('mlx-lm')}, mlx {version('mlx')}"}
if what == "answer":
    count, written = numbers
    prompt = mx.random.randint(0, config["vocab_size"], (count,))
    for _ in range(2):
        start = time.perf_counter()
        for i, _token in enumerate(generate_step(prompt, model, max_tokens=written)):
            if i == 0:
                first = time.perf_counter()
        end = time.perf_counter()
    out |= {"prompt_tps": count / (first - start), "generation_tps": (written - 1) / (end - first) if written > 1 else 0, "first_token_seconds": first - start}
else:
    batch, length, layers = numbers
    model.freeze()
    linear_to_lora_layers(model, layers if layers > 0 else config["num_hidden_layers"], {"rank": 8, "scale": 20.0, "dropout": 0.0})
    model.train()
    optimizer = optim.Adam(learning_rate=0.0)
    step = nn.value_and_grad(model, default_loss)
    tokens = mx.random.randint(0, config["vocab_size"], (batch, length + 1))
    lengths = mx.array([[1, length + 1]] * batch)
    for _ in range(2):
        start = time.perf_counter()
        (loss, _count), grad = step(model, tokens, lengths)
        optimizer.update(model, grad)
        mx.eval(model.parameters(), optimizer.state, loss)
        seconds = time.perf_counter() - start
    out |= {"train_tps": batch * length / seconds, "seconds": seconds, "loss": loss.item()}
out["peak_bytes"] = int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) * 1024
json.dump(out, sys.stdout)
