"""Makes train/testdata/optimizers.json: what MLX's optimizers make of known gradients.

Run with .interop/venv/bin/python. Each case is an optimizer with its options, a
learning rate or a schedule, and the parameters after 30 updates. Parameters and
gradients follow from a formula that the test repeats (value and gradient below),
so that the file holds results alone.
"""

import json
from pathlib import Path

import mlx.core as mx
import mlx.optimizers as optim
import numpy as np

OUT = Path(__file__).resolve().parent.parent.parent / "train" / "testdata" / "optimizers.json"
UPDATES = 30
SHAPES = {"vector": [5], "wide": [4, 7], "tall": [9, 3], "stack": [2, 3, 4], "late": [4, 4]}
CLASSES = {"adam": optim.Adam, "adamw": optim.AdamW, "muon": optim.Muon, "sgd": optim.SGD, "adafactor": optim.Adafactor}

# (name, options, learning rate or arguments of linear_schedule)
CASES = [
    ("adam", {}, 0.01),
    ("adam", {"betas": [0.8, 0.95], "eps": 1e-6, "bias_correction": True}, [0.03, 0.01, 20]),
    ("adamw", {}, 0.01),
    ("adamw", {"weight_decay": 0.1}, 0.01),
    ("sgd", {}, 0.05),
    ("sgd", {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True}, 0.01),
    ("sgd", {"momentum": 0.5, "dampening": 0.25}, [0.03, 0.01, 20]),
    ("muon", {}, 0.02),
    ("muon", {"momentum": 0.8, "nesterov": False, "weight_decay": 0.0, "ns_steps": 3}, [0.03, 0.01, 20]),
    ("muon", {"weight_decay": 0.3, "ns_steps": 0}, 0.02),
    ("adafactor", {}, 1e-5),
    ("adafactor", {"relative_step": False}, [0.03, 0.01, 20]),
    ("adafactor", {"relative_step": False, "scale_parameter": False, "weight_decay": 0.1}, 0.01),
    ("adafactor", {"warmup_init": True, "scale_parameter": False}, 1e-5),
    ("adafactor", {"beta_1": 0.9, "weight_decay": 0.05}, 1e-5),
    ("adafactor", {"eps": [1e-12, 0.5], "clip_threshold": 0.4, "decay_rate": -0.6, "beta_1": None}, 1e-5),
]


def value(seed, i):
    """Element i of a stream of numbers in [-1, 1) that float32 holds exactly."""
    x = (seed * 7919 + i + 1) * 2654435761 % (1 << 32)
    x = (x ^ (x >> 15)) * 2246822519 % (1 << 32)
    x = (x ^ (x >> 13)) * 3266489917 % (1 << 32)
    return (x >> 8) / (1 << 23) - 1


def array(shape, at):
    """Sizes differ from element to element, by powers of two up to 64."""
    flat = [at(i) / (1 << i % 7) for i in range(int(np.prod(shape)))]
    return mx.array(np.array(flat, dtype=np.float32).reshape(shape))


def gradient(name, number, shape, update):
    """The gradient of one update, from 1; that of "late" is zero at first, as a
    LoRA's first matrix has it."""
    if name == "late" and update < 3:
        return mx.zeros(shape)
    return array(shape, lambda i: value(100 * number + update, i))


def run(name, options, rate):
    schedule = optim.linear_schedule(*rate) if isinstance(rate, list) else rate
    optimizer = CLASSES[name](learning_rate=schedule, **options)
    numbers = {k: i for i, k in enumerate(SHAPES)}
    params = {k: array(s, lambda i, k=k: value(50 + numbers[k], i)) for k, s in SHAPES.items()}
    for update in range(1, UPDATES + 1):
        grads = {k: gradient(k, numbers[k], s, update) for k, s in SHAPES.items()}
        params = optimizer.apply_gradients(grads, params)
        mx.eval(params, optimizer.state)
    return {k: [float(v) for v in np.array(p).reshape(-1)] for k, p in params.items()}


def main():
    cases = [{"name": n, "options": o, "rate": r, "params": run(n, o, r)} for n, o, r in CASES]
    OUT.parent.mkdir(exist_ok=True)
    head = json.dumps({"mlx": mx.__version__, "updates": UPDATES, "shapes": SHAPES})
    lines = ",\n".join(json.dumps(c) for c in cases)
    OUT.write_text(head[:-1] + ', "cases": [\n' + lines + "\n]}\n")


main()
