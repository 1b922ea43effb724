"""What the cross-checks ask of mlx-lm, answered as JSON on standard output.

    mlxpeer.py train  OPTIONS.json           one mlx_lm.lora run, unrounded figures
    mlxpeer.py test   OPTIONS.json           its --test, unrounded
    mlxpeer.py logits MODEL IDS OUT [ADAPTER] one forward pass in float32
    mlxpeer.py jobs JOBS.json                the same for a list of models, ids and outs
    mlxpeer.py greedy MODEL PROMPTS.json N [ADAPTER]  greedy token ids
    mlxpeer.py perplexity OPTIONS.json       mlx_lm.perplexity over a local folder
    mlxpeer.py cache  MODEL PROMPTS.json FILE N SIZE [BITS GROUP START]   mlx_lm.cache_prompt of
                                             the first prompt's ids, and greedy token ids
                                             after the second's
    mlxpeer.py resume MODEL PROMPTS.json FILE N   the same, from a file that is there

OPTIONS.json holds mlx_lm.lora's options by their YAML names; what is missing gets
mlx-lm's default. Everything mlx-lm prints goes to standard error.
"""

import contextlib
import json
import sys
import types
from pathlib import Path

import mlx.core as mx
import numpy as np
from mlx_lm import lora, perplexity
from mlx_lm.generate import generate_step
from mlx_lm.models.cache import load_prompt_cache, make_prompt_cache, save_prompt_cache
from mlx_lm.tuner.callbacks import TrainingCallback
from mlx_lm.tuner.datasets import load_local_dataset
from mlx_lm.utils import load


class Recorder(TrainingCallback):
    """Keeps what the trainer reports, before it is rounded for the screen."""

    def __init__(self):
        self.train, self.valid = [], []

    def on_train_loss_report(self, info):
        self.train.append(info)

    def on_val_loss_report(self, info):
        self.valid.append(info)


def options(given):
    return types.SimpleNamespace(**{**json.loads(json.dumps(lora.CONFIG_DEFAULTS)), **given})


def run(given):
    """Runs mlx_lm.lora in this process and returns its unrounded figures."""
    recorder, tested = Recorder(), []
    evaluate = lora.evaluate

    def keep(*args, **kwargs):
        tested.append(evaluate(*args, **kwargs))
        return tested[-1]

    lora.get_reporting_callbacks = lambda *_, **__: recorder
    lora.evaluate = keep
    with contextlib.redirect_stdout(sys.stderr):
        lora.run(options(given))
    lora.evaluate = evaluate
    result = {
        "losses": [t["train_loss"] for t in recorder.train],
        "learning_rates": [t["learning_rate"] for t in recorder.train],
        "trained_tokens": [t["trained_tokens"] for t in recorder.train],
        "valid": [[v["iteration"] + 1, v["val_loss"]] for v in recorder.valid],
    }
    if tested:
        result["test_loss"] = tested[0]
    return result


def to_float32(model):
    """Float32 throughout: scales and biases widen exactly, sums lose nothing."""
    model.set_dtype(mx.float32)
    return model


def logits(model, ids):
    out = model(mx.array([ids]))[0]
    mx.eval(out)
    return out


def greedy(model, prompt, count, cache=None):
    """Plain argmax decoding over mlx-lm's own cache, no stop token.

    Also gives, for each step, how far the runner-up stands below the choice, and
    behind a given cache the first step's logits.
    """
    first = [] if cache else None
    cache, ids, gaps = cache or make_prompt_cache(model), [], []
    step = mx.array([prompt])
    for _ in range(count):
        last = np.array(model(step, cache=cache)[0, -1].astype(mx.float32))
        first = last.tolist() if first == [] else first
        order = np.argsort(-last, kind="stable")
        ids.append(int(order[0]))
        gaps.append(float(last[order[0]] - last[order[1]]))
        step = mx.array([[ids[-1]]])
    return {"ids": ids, "gaps": gaps} | ({"logits": first} if first else {})


def measure(o):
    """mlx_lm.perplexity's own sampling and arithmetic in float32, on a folder
    instead of the hub."""
    perplexity.load_dataset = lambda args, tokenizer: load_local_dataset(Path(o["data"]), tokenizer, args)
    np.random.seed(o["seed"])
    model, tokenizer = load(o["model"], adapter_path=o.get("adapter_path"))
    rows = perplexity.load_data(tokenizer, o["data"], o["num_samples"], o["sequence_length"])
    with contextlib.redirect_stdout(sys.stderr):
        value, error = perplexity.eval_ppl(to_float32(model), rows, o["batch_size"])
    return {"perplexity": value, "standard_error": error, "rows": rows.tolist()}


def cached(command, path, prompts, file, count, size=0, bits=0, group=64, start=0):
    """Continues the second prompt behind the first, which is in a prompt cache file
    that this writes, or finds there."""
    model, _ = load(path)
    to_float32(model)
    if command == "cache":
        cache = make_prompt_cache(model, size or None)
        quantized = {"kv_bits": bits, "kv_group_size": group, "quantized_kv_start": start} if bits else {}
        for _ in generate_step(mx.array(prompts[0]), model, max_tokens=0, prompt_cache=cache, **quantized):
            pass
        save_prompt_cache(file, cache, {"model": path, "tokenizer_config": "{}"})
    cache, metadata = load_prompt_cache(file, return_metadata=True)
    answer = greedy(model, prompts[1], count, cache)
    answer["classes"] = [type(c).__name__ for c in cache]
    answer["metadata"] = metadata
    return answer


def main():
    command, *args = sys.argv[1:]
    if command in ("train", "test"):
        with open(args[0]) as f:
            answer = run({command: True, **json.load(f)})
    elif command == "logits":
        model, _ = load(args[0], adapter_path=args[3] if len(args) > 3 else None)
        out = logits(to_float32(model), [int(i) for i in args[1].split(",")])
        mx.save_safetensors(args[2], {"logits": out})
        answer = {"shape": out.shape, "out": args[2]}
    elif command == "jobs":
        with open(args[0]) as f:
            answer = jobs = json.load(f)
        for job in jobs:
            model, _ = load(job["model"])
            mx.save_safetensors(job["out"], {"logits": logits(to_float32(model), job["ids"])})
    elif command == "greedy":
        model, _ = load(args[0], adapter_path=args[3] if len(args) > 3 else None)
        with open(args[1]) as f:
            prompts = json.load(f)
        answer = [greedy(to_float32(model), p, int(args[2])) for p in prompts]
    elif command == "perplexity":
        with open(args[0]) as f:
            answer = measure(json.load(f))
    elif command in ("cache", "resume"):
        with open(args[1]) as f:
            answer = cached(command, args[0], json.load(f), args[2], *map(int, args[3:]))
    else:
        sys.exit(__doc__)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
