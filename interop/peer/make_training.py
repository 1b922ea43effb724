"""Makes testdata/training: what mlx_lm.lora does on the tiny 4-bit chat model.

Run with .interop/venv/bin/python after make_quant.py. For each variant NAME.json
holds the options, the unrounded figures of every step (steps_per_report 1), the
lines the command itself printed and the names, shapes and dtypes of the adapter
file; NAME/ holds adapter_config.json and, where kept, the adapters themselves.
random.json and random.safetensors pin the random streams behind them.
Arguments choose variants; without any all are made.
"""

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm.tuner.datasets import CacheDataset
from mlx_lm.tuner.trainer import iterate_batches
from mlx_lm.tuner.utils import linear_to_lora_layers
from mlx_lm.utils import load

from mlxpeer import logits, to_float32

ROOT = Path(__file__).resolve().parent.parent
DATA = ROOT / "testdata"
OUT = DATA / "training"
ANSI = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\r")

COMMON = dict(
    data="testdata/chat", batch_size=4, iters=30, steps_per_report=1,
    steps_per_eval=10, val_batches=2, save_every=20, seed=0, num_layers=-1,
)
COSINE = dict(name="cosine_decay", arguments=[2e-4, 12, 1e-5], warmup=3)
F32, BF16 = "testdata/mlx/llama-4bit", "testdata/mlx/llama-4bit-bf16"

# name -> (options, whether the final adapters are kept)
VARIANTS = {
    "defaults": (dict(model=F32), False),
    "mask": (dict(model=F32, mask_prompt=True, num_layers=2, learning_rate=1e-4,
                  test=True, val_batches=-1), True),
    "bf16": (dict(model=BF16, mask_prompt=True, learning_rate=1e-4), False),
    "accumulate": (dict(model=F32, grad_accumulation_steps=2, lr_schedule=COSINE), False),
    "dropout": (dict(model=F32, learning_rate=1e-4,
                     lora_parameters=dict(rank=8, scale=20.0, dropout=0.1)), False),
    "adamw": (dict(model=F32, learning_rate=1e-4, optimizer="adamw",
                   optimizer_config=dict(adamw=dict(weight_decay=0.1, bias_correction=True)),
                   grad_checkpoint=True), False),
    "sgd": (dict(model=F32, learning_rate=1e-2, optimizer="sgd",
                 optimizer_config=dict(sgd=dict(momentum=0.9, nesterov=True)),
                 lora_parameters=dict(rank=4, scale=10.0, dropout=0.0,
                                      keys=["self_attn.q_proj", "self_attn.v_proj",
                                            "lm_head"])), False),
    "muon": (dict(model=F32, learning_rate=2e-3, optimizer="muon"), False),
    "adafactor": (dict(model=F32, learning_rate=1e-4, optimizer="adafactor"), False),
    "adafactor-schedule": (dict(model="testdata/mlx/llama-dense", fine_tune_type="full", num_layers=2,
                                lr_schedule=COSINE, optimizer="adafactor",
                                optimizer_config=dict(adafactor=dict(relative_step=False, scale_parameter=False,
                                                                     beta_1=0.9, weight_decay=0.1))), False),
    "full": (dict(model="testdata/mlx/llama-dense", fine_tune_type="full", num_layers=1,
                  learning_rate=1e-3, test=True), False),
    "dora": (dict(model=F32, mask_prompt=True, num_layers=2, learning_rate=1e-3, fine_tune_type="dora",
                  lora_parameters=dict(rank=6, scale=8.0, dropout=0.0,
                                       keys=["self_attn.q_proj", "self_attn.v_proj", "self_attn.o_proj",
                                             "mlp.gate_proj", "mlp.down_proj", "lm_head"]),
                  test=True, val_batches=-1), True),
    "dora-dense": (dict(model="testdata/mlx/llama-dense", learning_rate=1e-3, fine_tune_type="dora",
                        grad_accumulation_steps=2, grad_checkpoint=True,
                        lora_parameters=dict(rank=4, scale=10.0, dropout=0.0,
                                             keys=["self_attn.q_proj", "self_attn.v_proj", "mlp.down_proj"])), False),
    "dora-bf16": (dict(model=BF16, mask_prompt=True, learning_rate=1e-4, fine_tune_type="dora"), False),
    "mixtral": (dict(model="testdata/mlx/mixtral-4bit", mask_prompt=True, learning_rate=1e-4,
                     test=True, val_batches=-1), True),
    "qwen3_moe": (dict(model="testdata/mlx/qwen3_moe-4bit", learning_rate=1e-4, num_layers=2,
                       grad_checkpoint=True, lora_parameters=dict(rank=3, scale=10.0, dropout=0.0)), False),
    "short": (dict(model=F32, seed=42, max_seq_length=48, mask_prompt=True, batch_size=3,
                   learning_rate=1e-4), False),
}


def peer(command, given):
    """One run in a fresh process, as a user's would be."""
    with tempfile.NamedTemporaryFile("w", suffix=".json") as f:
        json.dump(given, f)
        f.flush()
        done = subprocess.run(
            [sys.executable, ROOT / "peer" / "mlxpeer.py", command, f.name],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
    if done.returncode:
        sys.exit(done.stderr)
    return json.loads(done.stdout)


def printed(given):
    """What the command prints, with colours and redrawn lines taken out."""
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as f:
        json.dump({**given, "train": True}, f)  # JSON is YAML
        f.flush()
        text = subprocess.run(
            [sys.executable, "-m", "mlx_lm", "lora", "-c", f.name],
            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, check=True,
        ).stdout
    rows = [line.rstrip() for line in ANSI.sub("", text).splitlines()]
    return [r for r in rows if re.match(r"\s+\d+ +(val )?\d|Test loss|Trainable", r)]


def trainings(only):
    for name, (more, keep) in VARIANTS.items():
        if only and name not in only:
            continue
        folder = OUT / name
        with tempfile.TemporaryDirectory() as scratch:
            given = {**COMMON, **more, "adapter_path": scratch}
            result = peer("train", given)
            lines = printed({**given, "adapter_path": scratch + "/printed"})
            arrays = mx.load(scratch + "/adapters.safetensors")
            folder.mkdir(parents=True, exist_ok=True)
            config = json.loads((Path(scratch) / "adapter_config.json").read_text())
            config["adapter_path"] = given["adapter_path"] = "adapters"
            (folder / "adapter_config.json").write_text(json.dumps(config, indent=4))
            if keep:
                shutil.copy(scratch + "/adapters.safetensors", folder)
                model, _ = load(str(ROOT / given["model"]), adapter_path=scratch)
                ids = np.random.RandomState(3).randint(3, 512, 24).tolist()
                result["ids"] = ids
                out = logits(to_float32(model), ids)
                mx.save_safetensors(str(folder / "logits.safetensors"), {"logits": out})
        saved = {
            "options": given, **result, "printed": lines,
            "adapters": {k: [str(v.dtype).split(".")[-1], *v.shape]
                         for k, v in sorted(arrays.items())},
        }
        (OUT / f"{name}.json").write_text(json.dumps(saved, indent=1) + "\n")
        print(f"{name}: {result['losses'][0]:.4f} -> {result['losses'][-1]:.4f}, valid {result['valid']}")


class Rows:
    """A data set whose rows are raw dicts, as mlx_lm.lora's own are."""

    def __init__(self, keys):
        self.keys = keys

    def __getitem__(self, i):
        return {f"key{k}": i for k in range(self.keys[i])}

    def __len__(self):
        return len(self.keys)

    def process(self, row):
        return [row["key0"] + 1], 0


def order(keys, batch, epochs, seed):
    """The row numbers of every batch over some epochs."""
    np.random.seed(seed)
    batches = iterate_batches(CacheDataset(Rows(keys)), batch, 32, loop=True)
    count = len(keys) // batch * epochs
    return [(np.array(next(batches)[0])[:, 0] - 1).tolist() for _ in range(count)]


def random_streams():
    """Row order, first LoRA matrices and dropout masks at known seeds."""
    uneven = [1, 2, 1, 1, 3, 1, 2, 1, 1, 1, 2]
    facts = {
        "orders": [
            dict(keys=[1] * 32, batch=4, epochs=3, seed=0, rows=order([1] * 32, 4, 3, 0)),
            dict(keys=[1] * 32, batch=3, epochs=2, seed=42, rows=order([1] * 32, 3, 2, 42)),
            dict(keys=uneven, batch=2, epochs=2, seed=0, rows=order(uneven, 2, 2, 0)),
        ]
    }
    arrays = {}
    model, _ = load(str(ROOT / F32))
    mx.random.seed(0)
    model.freeze()
    linear_to_lora_layers(model, 2, dict(rank=8, scale=20.0, dropout=0.0))
    for i, layer in enumerate(model.layers):
        for name, module in layer.named_modules():
            if hasattr(module, "lora_a"):
                arrays[f"model.layers.{i}.{name}.lora_a"] = module.lora_a
    facts["key_after"] = [int(v) for v in np.array(mx.random.state[0])]
    facts["wrapped"] = list(arrays)  # in the order mlx-lm wraps: it decides the stream
    # Only a few rows of each: enough to know stream and order, small on disk.
    arrays = {k: v[:4] for k, v in arrays.items()}
    mx.random.seed(5)
    for shape in ((2, 3, 8), (3, 5)):
        arrays["bernoulli." + "x".join(map(str, shape))] = mx.random.bernoulli(0.9, shape)
    mx.save_safetensors(str(OUT / "random.safetensors"), arrays)
    (OUT / "random.json").write_text(json.dumps(facts) + "\n")


def main():
    OUT.mkdir(exist_ok=True)
    if not sys.argv[1:]:
        random_streams()
    trainings(sys.argv[1:])


main()
