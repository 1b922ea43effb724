"""Logits by transformers' rules without PyTorch, as float64: the config classes and rotary
settings are transformers' own, run over numpy; the decoder is written out here.

    reference.py JOBS.json

JOBS.json is a list of {"model": FOLDER, "ids": [...], "out": FILE}: each FILE gets "logits"
[T, vocab] in float32. Standard output is a JSON list of each model's window of each layer, 0
for none.
"""

import json
import sys
import types
from pathlib import Path

import numpy as np
import transformers.modeling_rope_utils as rope_utils
from safetensors.numpy import load_file, save_file
from transformers import AutoConfig


class Array(np.ndarray):
    """An array with the few methods of a PyTorch tensor that the rotary code calls."""

    def to(self, *_, **__):
        return self

    def float(self):
        return self


def array(x):
    return np.asarray(x, dtype=np.float64).view(Array)


rope_utils.torch = types.SimpleNamespace(
    arange=lambda *a, **_: array(np.arange(*a)), tensor=lambda x, **_: array(x), clamp=lambda x, a, b: array(np.clip(x, a, b)),
    where=lambda c, a, b: array(np.where(c, a, b)), float32=None, float=None, int64=None,
)


def windows(config):
    n, types_ = config.num_hidden_layers, getattr(config, "layer_types", None)
    if config.model_type in ("mistral", "mixtral", "qwen3_moe"):  # no list of layers there
        return [config.sliding_window or 0] * n
    if config.model_type == "llama":
        return [0] * n
    return [config.sliding_window if t == "sliding_attention" else 0 for t in types_]


def frequencies(config):
    kind = config.rope_parameters["rope_type"]
    dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    if kind == "default":
        return config.rope_parameters["rope_theta"] ** (-np.arange(0, dim, 2) / dim), 1.0
    length = config.max_position_embeddings if kind == "longrope" else None
    freq, factor = rope_utils.ROPE_INIT_FUNCTIONS[kind](config, None, length)
    return np.asarray(freq), factor


def norm(x, w, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * w


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def silu(x):
    return x / (1 + np.exp(-x))


class Decoder:
    def __init__(self, folder):
        self.c = AutoConfig.from_pretrained(folder)
        self.w = {k: v.astype(np.float64) for k, v in load_file(Path(folder) / "model.safetensors").items()}
        self.windows = windows(self.c)
        self.freq, self.scale = frequencies(self.c)

    def linear(self, name, x):
        return x @ self.w[name + ".weight"].T + self.w.get(name + ".bias", 0)

    def rotate(self, x):  # [T, heads, dim]
        angle = np.arange(len(x))[:, None, None] * self.freq
        cos, sin = np.cos(angle) * self.scale, np.sin(angle) * self.scale
        a, b = np.split(x, 2, -1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

    def attention(self, i, x):
        at, c, t = f"model.layers.{i}.self_attn.", self.c, len(x)
        dim = getattr(c, "head_dim", None) or c.hidden_size // c.num_attention_heads
        q, k, v = (self.linear(at + p + "_proj", x).reshape(t, -1, dim) for p in "qkv")
        if at + "q_norm.weight" in self.w:
            q, k = (norm(a, self.w[f"{at}{p}_norm.weight"], c.rms_norm_eps) for p, a in (("q", q), ("k", k)))
        if getattr(c, "no_rope_layers", [1] * (i + 1))[i]:
            q, k = self.rotate(q), self.rotate(k)
        k, v = (np.repeat(a, q.shape[1] // a.shape[1], 1) for a in (k, v))
        score = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(dim)
        distance = np.arange(t)[:, None] - np.arange(t)
        seen = (distance >= 0) & (distance < (self.windows[i] or t))
        y = np.einsum("hqk,khd->qhd", softmax(np.where(seen, score, -np.inf)), v)
        return self.linear(at + "o_proj", y.reshape(t, -1))

    def experts(self, at, x):
        p = softmax(self.linear(at + "gate", x))
        best = np.argsort(-p, -1, kind="stable")[:, : self.c.num_experts_per_tok]
        chosen = np.take_along_axis(p, best, -1)
        if getattr(self.c, "norm_topk_prob", True):
            chosen = chosen / chosen.sum(-1, keepdims=True)
        gate, up, down = (self.w[f"{at}switch_mlp.{m}_proj.weight"] for m in ("gate", "up", "down"))
        out = np.zeros_like(x)
        for t, row in enumerate(x):
            for e, share in zip(best[t], chosen[t]):
                out[t] += share * (down[e] @ (silu(gate[e] @ row) * (up[e] @ row)))
        return out

    def feed_forward(self, i, x):
        for module in ("block_sparse_moe.", "mlp."):
            at = f"model.layers.{i}.{module}"
            if at + "gate.weight" in self.w:
                return self.experts(at, x)
        return self.linear(at + "down_proj", silu(self.linear(at + "gate_proj", x)) * self.linear(at + "up_proj", x))

    def logits(self, ids):
        c, x = self.c, self.w["model.embed_tokens.weight"][ids]
        for i in range(c.num_hidden_layers):
            at = f"model.layers.{i}."
            x = x + self.attention(i, norm(x, self.w[at + "input_layernorm.weight"], c.rms_norm_eps))
            x = x + self.feed_forward(i, norm(x, self.w[at + "post_attention_layernorm.weight"], c.rms_norm_eps))
        head = self.w.get("lm_head.weight", self.w["model.embed_tokens.weight"])
        return norm(x, self.w["model.norm.weight"], c.rms_norm_eps) @ head.T


answer = []
for job in json.load(open(sys.argv[1])):
    decoder = Decoder(job["model"])
    save_file({"logits": decoder.logits(job["ids"]).astype(np.float32)}, job["out"])
    answer.append(decoder.windows)
print(json.dumps(answer))
