"""What the cross-checks ask of mlx-lm, answered as JSON on standard output.

    mlxpeer.py train  OPTIONS.json           one mlx_lm.lora run, unrounded figures
    mlxpeer.py test   OPTIONS.json           its --test, unrounded
    mlxpeer.py logits MODEL IDS OUT [ADAPTER] one forward pass in float32
    mlxpeer.py greedy MODEL PROMPTS.json N [ADAPTER]  greedy token ids

OPTIONS.json holds mlx_lm.lora's options by their YAML names; what is missing gets
mlx-lm's default. Everything mlx-lm prints goes to standard error.
"""

import contextlib
import json
import sys
import types

import mlx.core as mx
import numpy as np
from mlx_lm import lora
from mlx_lm.tuner.callbacks import TrainingCallback
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


def greedy(model, prompt, count):
    """Plain argmax decoding over mlx-lm's own cache, no stop token.

    Also gives, for each step, how far the runner-up stands below the choice.
    """
    from mlx_lm.models.cache import make_prompt_cache

    cache, ids, gaps = make_prompt_cache(model), [], []
    step = mx.array([prompt])
    for _ in range(count):
        last = np.array(model(step, cache=cache)[0, -1].astype(mx.float32))
        order = np.argsort(-last, kind="stable")
        ids.append(int(order[0]))
        gaps.append(float(last[order[0]] - last[order[1]]))
        step = mx.array([[ids[-1]]])
    return {"ids": ids, "gaps": gaps}


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
    elif command == "greedy":
        model, _ = load(args[0], adapter_path=args[3] if len(args) > 3 else None)
        with open(args[1]) as f:
            prompts = json.load(f)
        answer = [greedy(to_float32(model), p, int(args[2])) for p in prompts]
    else:
        sys.exit(__doc__)
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    main()
