"""Makes testdata/mlx: MLX-quantized tiny models, mlx-lm's logits, packed matrices.

Run with .interop/venv/bin/python after make_tokenizer.py; with the argument
"experts" only the mixtures of experts are made. Deterministic on one
machine; logits are of a float32 forward over the stored (float32 or bfloat16)
scales. golden.safetensors: ids I32 [T], logits F32 [T, vocab].
"""

import shutil
import sys
import types
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import mlx.optimizers as optim
import numpy as np
from mlx.utils import tree_map_with_path
from mlx_lm import convert
from mlx_lm.convert import mixed_quant_predicate_builder
from mlx_lm.tuner.datasets import CacheDataset, load_local_dataset
from mlx_lm.tuner.trainer import default_loss, iterate_batches
from mlx_lm.utils import _get_classes, load, load_model, quantize_model
from mlx_lm.utils import save_config, save_model

from mlxpeer import logits, to_float32

DATA = Path(__file__).resolve().parent.parent / "testdata"
OUT = DATA / "mlx"
BUILD = DATA.parent.parent / ".interop" / "build"

BASE = dict(
    hidden_size=128,
    intermediate_size=192,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=512,
    max_position_embeddings=2048,
    rms_norm_eps=1e-5,
    rope_theta=10000.0,
    eos_token_id=2,
    pad_token_id=0,
)
CHAT = dict(
    BASE, model_type="llama", num_hidden_layers=3, tie_word_embeddings=False,
    architectures=["LlamaForCausalLM"], torch_dtype="float32",
)


DENSE = dict(
    CHAT, hidden_size=64, intermediate_size=88, num_hidden_layers=2, tie_word_embeddings=True
)


def fresh(config, seed):
    """A model of the given config with random float32 weights."""
    mx.random.seed(seed)
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))

    def widen(path, p):
        noise = mx.random.normal(p.shape)
        if "norm" in path:
            return 1 + 0.2 * noise
        if path.endswith("bias"):
            return 0.3 * noise
        if "embed_tokens" in path:
            return 0.5 * noise
        return noise * (1.2 if "lm_head" not in path else 4.0) / p.shape[-1] ** 0.5

    model.update(tree_map_with_path(widen, model.parameters()))
    mx.eval(model.parameters())
    return model


def pretrain(config, folder, steps=40):
    """A small chat model that has begun to learn: losses then look like losses."""
    mx.random.seed(1)
    np.random.seed(1)
    model_class, args_class = _get_classes(config)
    model = model_class(args_class.from_dict(config))
    save_model(folder, model)
    save_config(dict(config), folder / "config.json")
    for f in (DATA / "tokenizer").iterdir():
        shutil.copy(f, folder)
    model, tokenizer = load(str(folder))
    unmasked = types.SimpleNamespace(mask_prompt=False)
    train, _, _ = load_local_dataset(DATA / "chat", tokenizer, unmasked)
    opt = optim.Adam(learning_rate=1e-3)
    step = nn.value_and_grad(model, default_loss)
    batches = iterate_batches(CacheDataset(train), 4, 2048, loop=True)
    for i, (batch, lengths) in zip(range(steps), batches):
        (loss, _), grad = step(model, batch, lengths)
        opt.update(model, grad)
        mx.eval(model.parameters(), opt.state)
        if i % 10 == 0 or i == steps - 1:
            print(f"pretrain {i}: {loss.item():.3f}")
    save_model(folder, model)


def ids_for(config, seed):
    return np.random.RandomState(seed).randint(3, config["vocab_size"], 40).tolist()


def golden(folder, seed):
    model, config = load_model(folder)
    ids = ids_for(config, seed)
    native = logits(model, ids)
    out = {"ids": mx.array(ids, mx.int32), "logits": logits(to_float32(model), ids)}
    if native.dtype != mx.float32:
        gap = mx.abs(native.astype(mx.float32) - out["logits"]).max() / (
            out["logits"].max() - out["logits"].min()
        )
        print(f"{folder.name}: {native.dtype} differs by {gap.item():.1e} of the range")
    mx.save_safetensors(str(folder / "golden.safetensors"), out)
    for extra in ("README.md",):
        (folder / extra).unlink(missing_ok=True)


def quantized(name, config, seed, predicate, group, bits, dtype):
    """Quantizes a fresh model with mlx-lm's own functions and saves the folder."""
    model = fresh(config, seed)
    model.set_dtype(dtype)
    model, config = quantize_model(
        model, dict(config), group, bits, quant_predicate=predicate(model)
    )
    save_model(OUT / name, model)
    save_config(config, OUT / name / "config.json")
    golden(OUT / name, seed)


def every_width(_):
    """A different width and group for each kind of layer; k_proj stays dense."""
    widths = {
        "q_proj": (3, 32), "v_proj": (6, 32), "o_proj": (2, 128),
        "gate_proj": (8, 64), "up_proj": (5, 128), "down_proj": (3, 64),
        "embed_tokens": (6, 128),
    }

    def predicate(path, module):
        kind = path.split(".")[-1]
        if kind not in widths:
            return False
        bits, group = widths[kind]
        return {"group_size": group, "bits": bits, "mode": "affine"}

    return predicate


def packed():
    """Matrices quantized by mx.quantize on the CPU, for each width and group."""
    mx.random.seed(7)
    w = mx.random.normal((6, 256))
    w[2, :64] = mx.abs(w[2, :64]) + 0.5  # a group with no negative value
    w[3, :64] = -mx.abs(w[3, :64]) - 0.5  # and one with no positive value
    w[4, 64:128] = 0.0
    w[5, 128:192] = 0.25
    out = {}
    for dtype, tag in ((mx.float32, "f32"), (mx.bfloat16, "bf16")):
        out[f"{tag}.w"] = w.astype(dtype)
        for bits in (2, 3, 4, 5, 6, 8):
            for group in (32, 64, 128):
                q, s, b = mx.quantize(w.astype(dtype), group, bits)
                key = f"{tag}.{bits}.{group}"
                out[f"{key}.weight"], out[f"{key}.scales"], out[f"{key}.biases"] = q, s, b
                out[f"{key}.dequantized"] = mx.dequantize(q, s, b, group, bits)
    mx.save_safetensors(str(OUT / "packed.safetensors"), out)


# Small mixtures that have begun to learn, quantized as mlx_lm.convert does.
EXPERTS = {
    "mixtral-4bit": dict(DENSE, model_type="mixtral", intermediate_size=64, num_local_experts=4,
                         num_experts_per_tok=2, tie_word_embeddings=False,
                         architectures=["MixtralForCausalLM"]),
    "qwen3_moe-4bit": dict(DENSE, model_type="qwen3_moe", intermediate_size=128, num_hidden_layers=3,
                           head_dim=32, num_experts=10, num_experts_per_tok=3, moe_intermediate_size=64,
                           norm_topk_prob=True, decoder_sparse_step=1, mlp_only_layers=[1],
                           tie_word_embeddings=False, architectures=["Qwen3MoeForCausalLM"]),
}


def experts():
    for seed, (name, config) in enumerate(EXPERTS.items()):
        dense = BUILD / name
        shutil.rmtree(OUT / name, ignore_errors=True)
        pretrain(config, dense)
        convert(str(dense), str(OUT / name), quantize=True, dtype="float32")
        golden(OUT / name, 15 + seed)


def main():
    if sys.argv[1:] == ["experts"]:
        return experts()
    shutil.rmtree(OUT, ignore_errors=True)
    shutil.rmtree(BUILD, ignore_errors=True)
    OUT.mkdir(parents=True)
    dense = BUILD / "llama-chat"
    pretrain(CHAT, dense)
    for name, dtype in (("llama-4bit", "float32"), ("llama-4bit-bf16", "bfloat16")):
        convert(str(dense), str(OUT / name), quantize=True, dtype=dtype)
        golden(OUT / name, 11)
    pretrain(DENSE, OUT / "llama-dense")
    golden(OUT / "llama-dense", 14)
    mixed = dict(BASE, model_type="qwen3", num_hidden_layers=4, head_dim=32,
                 tie_word_embeddings=False, torch_dtype="bfloat16")
    quantized("qwen3-mixed-3-6", mixed, 12,
              lambda m: mixed_quant_predicate_builder("mixed_3_6", m, 64), 64, 4,
              mx.bfloat16)
    every = dict(BASE, model_type="qwen2", num_hidden_layers=1, intermediate_size=256,
                 vocab_size=256, tie_word_embeddings=True, torch_dtype="float32")
    quantized("qwen2-every-width", every, 13, every_width, 32, 4, mx.float32)
    experts()
    packed()


main()
