"""DPO and ORPO in float64, by numpy alone: what `lentil lora --train-mode` is compared with.

    preference.py OPTIONS.json

OPTIONS.json has {"model", "data", "train_mode", "beta", "mask_prompt", "iters", "learning_rate",
"num_layers", "lora_parameters", "init"}. Adapter matrices are drawn and written to "init", in
mlx-lm's form; then all rows of data/train.jsonl make one batch of each step. Standard output
is a JSON list of TRL's figures of each step, taken before its update (MLX's Adam).

The losses follow the papers (Rafailov et al., 2023; Hong et al., 2024) and TRL's definition of ORPO:
the chosen sequence's likelihood is the mean over the tokens of all of them, prompts included
unless masked. Gradients come from the few lines of reverse-mode differentiation below.
"""

import json
import os
import sys
from pathlib import Path

os.environ["OPENBLAS_NUM_THREADS"] = "1"  # small matrices

import numpy as np
from safetensors.numpy import load_file, save_file
from transformers import AutoTokenizer


class Value:
    """An array that knows how the gradient of a result goes back into it."""

    def __init__(self, data, parents=(), trained=False):
        self.data, self.grad = np.asarray(data, dtype=np.float64), None
        self.parents = [p for p in parents if p[0].trained]
        self.trained = trained or bool(self.parents)

    def __add__(self, o):
        o = value(o)
        return Value(self.data + o.data, [(self, lambda g: g), (o, lambda g: g)])

    def __mul__(self, o):
        o = value(o)
        return Value(self.data * o.data, [(self, lambda g: g * o.data), (o, lambda g: g * self.data)])

    def __neg__(self):
        return self * -1.0

    def __sub__(self, o):
        return self + -value(o)

    def __pow__(self, n):
        return Value(self.data**n, [(self, lambda g: g * n * self.data ** (n - 1))])

    def __truediv__(self, o):
        return self * value(o) ** -1.0

    def __matmul__(self, o):
        o = value(o)
        return Value(self.data @ o.data, [(self, lambda g: g @ np.swapaxes(o.data, -1, -2)), (o, lambda g: np.swapaxes(self.data, -1, -2) @ g)])

    def exp(self):
        y = np.exp(self.data)
        return Value(y, [(self, lambda g: g * y)])

    def log(self):
        return Value(np.log(self.data), [(self, lambda g: g / self.data)])

    def sum(self, axis=None):
        def back(g):
            return np.broadcast_to(g if axis is None else np.expand_dims(g, axis), self.data.shape)

        return Value(self.data.sum(axis), [(self, back)])

    def mean(self, axis=None):
        return self.sum(axis) / (self.data.size if axis is None else self.data.shape[axis])

    def reshape(self, *shape):
        return Value(self.data.reshape(shape), [(self, lambda g: g.reshape(self.data.shape))])

    def swap(self, a, b):
        return Value(np.swapaxes(self.data, a, b), [(self, lambda g: np.swapaxes(g, a, b))])

    def __getitem__(self, at):
        def back(g):
            out = np.zeros_like(self.data)
            out[at] = g  # nothing is taken twice
            return out

        return Value(self.data[at], [(self, back)])

    def backward(self):
        order, seen = [], set()

        def visit(v):
            if id(v) not in seen:
                seen.add(id(v))
                for parent, _ in v.parents:
                    visit(parent)
                order.append(v)

        visit(self)
        for v in order:
            v.grad = np.zeros_like(v.data)
        self.grad = np.ones_like(self.data)
        for v in reversed(order):
            for parent, back in v.parents:
                g = back(v.grad)
                while g.ndim > parent.data.ndim:  # undo broadcasting
                    g = g.sum(0)
                for axis, n in enumerate(parent.data.shape):
                    if n == 1 and g.shape[axis] > 1:
                        g = g.sum(axis, keepdims=True)
                parent.grad = parent.grad + g


def value(x):
    return x if isinstance(x, Value) else Value(x)


def concat(a, b):
    n = a.data.shape[-1]
    return Value(np.concatenate([a.data, b.data], -1), [(a, lambda g: g[..., :n]), (b, lambda g: g[..., n:])])


def log_softmax(x):
    x = x - x.data.max(-1, keepdims=True)
    return x - x.exp().sum(-1).log().reshape(*x.data.shape[:-1], 1)


def log_sigmoid(x):
    return -((-x).exp() + 1.0).log()


def dequantized(tensors, name):
    """A matrix of MLX's affine format: each value is scale·q + bias of its group."""
    if name + ".scales" not in tensors:
        return tensors[name + ".weight"].astype(np.float64)
    packed, scales = tensors[name + ".weight"], tensors[name + ".scales"].astype(np.float64)
    biases = tensors[name + ".biases"].astype(np.float64)
    bits = 4
    q = (packed[..., None] >> (np.arange(32 // bits, dtype=np.uint32) * bits)) & (2**bits - 1)
    q = q.reshape(*scales.shape, -1)
    return (q * scales[..., None] + biases[..., None]).reshape(scales.shape[0], -1)


class Llama:
    def __init__(self, folder):
        self.c = json.loads((Path(folder) / "config.json").read_text())
        tensors = load_file(Path(folder) / "model.safetensors")
        names = {n.removesuffix(".weight") for n in tensors if n.endswith(".weight")}
        self.w = {n: dequantized(tensors, n) for n in names}
        self.adapter, self.scale = {}, 0.0

    def linear(self, name, x, adapted):
        y = x @ self.w[name].T
        if adapted and name in self.adapter:
            a, b = self.adapter[name]
            y = y + (x @ a @ b) * self.scale
        return y

    def norm(self, x, name):
        square = (x * x).mean(-1).reshape(-1, 1) + self.c["rms_norm_eps"]
        return x * square**-0.5 * self.w[name]

    def attention(self, at, x, adapted):
        c, t = self.c, x.data.shape[0]
        heads, kv = c["num_attention_heads"], c["num_key_value_heads"]
        dim = c["hidden_size"] // heads
        angle = np.arange(t)[:, None] * c["rope_theta"] ** (-np.arange(0, dim, 2) / dim)
        cos, sin = np.cos(angle), np.sin(angle)

        def project(p, n, rotate):
            y = self.linear(f"{at}{p}_proj", x, adapted).reshape(t, n, dim).swap(0, 1)  # [n, T, dim]
            if rotate:
                a, b = y[..., : dim // 2], y[..., dim // 2 :]
                y = concat(a * cos - b * sin, b * cos + a * sin)
            return y

        q, k, v = project("q", heads, True), project("k", kv, True), project("v", kv, False)
        q, k, v = q.reshape(kv, heads // kv, t, dim), k.reshape(kv, 1, t, dim), v.reshape(kv, 1, t, dim)
        score = (q @ k.swap(2, 3)) * dim**-0.5 + np.where(np.tri(t) > 0, 0.0, -1e30)
        y = (log_softmax(score).exp() @ v).reshape(heads, t, dim).swap(0, 1).reshape(t, heads * dim)
        return self.linear(at + "o_proj", y, adapted)

    def log_probs(self, ids, adapted):
        """log p of ids[1:], each after those before it: [T-1]."""
        x = value(self.w["model.embed_tokens"][ids[:-1]])
        for i in range(self.c["num_hidden_layers"]):
            at = f"model.layers.{i}."
            x = x + self.attention(at + "self_attn.", self.norm(x, at + "input_layernorm"), adapted)
            h = self.norm(x, at + "post_attention_layernorm")
            gate = self.linear(at + "mlp.gate_proj", h, adapted)
            silu = gate / ((-gate).exp() + 1.0)
            x = x + self.linear(at + "mlp.down_proj", silu * self.linear(at + "mlp.up_proj", h, adapted), adapted)
        logits = self.norm(x, "model.norm") @ self.w["lm_head"].T
        return log_softmax(logits)[np.arange(len(ids) - 1), ids[1:]]


def pairs(o):
    """Each row as (chosen ids, rejected ids, length of the prompt)."""
    tok = AutoTokenizer.from_pretrained(o["model"])

    def ids(messages, opened):
        text = tok.apply_chat_template(messages, tokenize=False, add_generation_prompt=opened)
        return tok(text, add_special_tokens=False)["input_ids"]

    out = []
    for line in (Path(o["data"]) / "train.jsonl").read_text().splitlines():
        row = json.loads(line)
        chosen, rejected = row["chosen"], row["rejected"]
        if isinstance(chosen, str):
            prompt = [{"role": "user", "content": row["prompt"]}]
            chosen, rejected = ([{"role": "assistant", "content": side}] for side in (chosen, rejected))
        elif "prompt" in row:
            prompt = row["prompt"]
        else:
            n = next(i for i, (a, b) in enumerate(zip(chosen, rejected)) if a != b)
            prompt, chosen, rejected = chosen[:n], chosen[n:], rejected[n:]
        start = ids(prompt, True)
        sides = [np.array(ids(prompt + side, False)) for side in (chosen, rejected)]
        assert all(list(side[: len(start)]) == start for side in sides), "the prompt is no prefix"
        out.append((*sides, len(start)))
    return out


def mean(values):
    return sum(values[1:], values[0]) / len(values)


def dpo(model, rows, o):
    losses, chosen, rejected, logps = [], [], [], []
    for c, r, n in rows:
        of = [[model.log_probs(s, adapted)[n - 1 :].sum() for s in (c, r)] for adapted in (True, False)]
        rewards = [(of[0][i] - of[1][i].data) * o["beta"] for i in range(2)]
        losses.append(-log_sigmoid(rewards[0] - rewards[1]))
        chosen.append(rewards[0].data), rejected.append(rewards[1].data), logps.append([x.data for x in of[0]])
    return mean(losses), figures(chosen, rejected, logps)


def orpo(model, rows, o):
    nll, tokens, odds, chosen, rejected, logps = [], 0, [], [], [], []
    for c, r, n in rows:
        whole = model.log_probs(c, True)
        learnt = whole[n - 1 :] if o["mask_prompt"] else whole
        nll.append(-learnt.sum())
        tokens += learnt.data.size
        of = [whole[n - 1 :].mean(), model.log_probs(r, True)[n - 1 :].mean()]
        odds.append((of[0] - of[1]) - ((-of[0].exp() + 1.0).log() - (-of[1].exp() + 1.0).log()))
        chosen.append(of[0].data * o["beta"]), rejected.append(of[1].data * o["beta"]), logps.append([x.data for x in of])
    likelihood = sum(nll[1:], nll[0]) / tokens
    ratio = mean([log_sigmoid(x) for x in odds])
    more = {"nll_loss": likelihood.data, "log_odds_ratio": ratio.data, "log_odds_chosen": mean(odds).data}
    return likelihood - ratio * o["beta"], figures(chosen, rejected, logps) | more


def figures(chosen, rejected, logps):
    chosen, rejected, logps = np.array(chosen), np.array(rejected), np.array(logps)
    return {
        "rewards/chosen": chosen.mean(), "rewards/rejected": rejected.mean(), "rewards/margins": (chosen - rejected).mean(),
        "rewards/accuracies": (chosen > rejected).mean(), "logps/chosen": logps[:, 0].mean(), "logps/rejected": logps[:, 1].mean(),
    }


def main():
    o = json.loads(Path(sys.argv[1]).read_text())
    model, lora = Llama(o["model"]), o["lora_parameters"]
    model.scale = lora["scale"]
    random = np.random.default_rng(7)
    blocks = model.c["num_hidden_layers"]
    saved = {}
    for i in range(blocks - o["num_layers"], blocks):
        for key in lora["keys"]:
            name = f"model.layers.{i}.{key}"
            out, width = model.w[name].shape
            a = random.normal(0, width**-0.5, (width, lora["rank"])).astype(np.float32)
            b = random.normal(0, 0.02, (lora["rank"], out)).astype(np.float32)
            saved |= {name + ".lora_a": a, name + ".lora_b": b}
            model.adapter[name] = (Value(a, trained=True), Value(b, trained=True))
    save_file(saved, o["init"])
    rows, steps = pairs(o), []
    params = [p for pair in model.adapter.values() for p in pair]
    moments = [(np.zeros_like(p.data), np.zeros_like(p.data)) for p in params]
    for _ in range(o["iters"]):
        loss, told = {"dpo": dpo, "orpo": orpo}[o["train_mode"]](model, rows, o)
        loss.backward()
        steps.append({"loss": float(loss.data)} | {k: float(v) for k, v in told.items()})
        for i, p in enumerate(params):
            m, v = moments[i]
            m, v = 0.9 * m + 0.1 * p.grad, 0.999 * v + 0.001 * p.grad**2
            p.data, moments[i] = p.data - o["learning_rate"] * m / (np.sqrt(v) + 1e-8), (m, v)
    print(json.dumps(steps))


main()
