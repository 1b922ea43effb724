"""Makes testdata/models: tiny random models saved by transformers, with its logits.

Run with an environment that has torch and transformers (not the pinned peers:
CI never makes these again), for all models or for those named as arguments. The
versions used are written to models/made-with.json.
Every folder is what save_pretrained wrote, plus golden.safetensors:
ids I32 [T] and logits F32 [T, vocab] of one full forward pass in float32.
"""

import json
import shutil
import sys
from pathlib import Path

import torch
import transformers
from safetensors.torch import save_file
from transformers import AutoConfig, AutoModelForCausalLM

OUT = Path(__file__).resolve().parent.parent / "testdata" / "models"
TOKENS = 40

SMALL = dict(
    hidden_size=64,
    intermediate_size=88,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    vocab_size=256,
    max_position_embeddings=256,
    rms_norm_eps=1e-5,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)

# name -> (model_type, config, dtype of the file, shard size, edit of config.json)
MODELS = {
    "llama": (
        "llama",
        dict(
            intermediate_size=176,
            tie_word_embeddings=False,
            rope_parameters=dict(
                rope_type="llama3",
                rope_theta=10000.0,
                factor=8.0,
                low_freq_factor=1.0,
                high_freq_factor=4.0,
                original_max_position_embeddings=128,
            ),
        ),
        torch.float32,
        None,
        None,
    ),
    "llama-bias": (
        "llama",
        dict(
            attention_bias=True,
            mlp_bias=True,
            tie_word_embeddings=True,
            rope_parameters=dict(rope_type="linear", rope_theta=500.0, factor=2.0),
        ),
        torch.bfloat16,
        None,
        "old rope keys",
    ),
    "llama-yarn": (
        "llama",
        dict(
            head_dim=32,
            num_hidden_layers=1,
            tie_word_embeddings=False,
            rope_parameters=dict(
                rope_type="yarn",
                rope_theta=10000.0,
                factor=4.0,
                original_max_position_embeddings=64,
            ),
        ),
        torch.float16,
        None,
        None,
    ),
    "mistral": (
        "mistral",
        dict(head_dim=24, tie_word_embeddings=False, sliding_window=None,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.float32,
        "100KB",
        None,
    ),
    "qwen2": (
        "qwen2",
        dict(tie_word_embeddings=True,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.float32,
        None,
        "old rope keys",
    ),
    "qwen3": (
        "qwen3",
        dict(head_dim=32, tie_word_embeddings=False,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.bfloat16,
        None,
        None,
    ),
    "smollm3": (
        "smollm3",
        dict(num_hidden_layers=4, no_rope_layer_interval=4, tie_word_embeddings=True,
             rope_parameters=dict(rope_type="default", rope_theta=2e6)),
        torch.bfloat16,
        None,
        None,
    ),
    "mixtral": (
        "mixtral",
        dict(num_local_experts=4, num_experts_per_tok=2, tie_word_embeddings=False, sliding_window=None,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.bfloat16,
        None,
        "old rope keys",
    ),
    "qwen3_moe": (
        "qwen3_moe",
        dict(num_hidden_layers=4, head_dim=32, num_experts=12, num_experts_per_tok=3, moe_intermediate_size=24,
             norm_topk_prob=True, decoder_sparse_step=2, mlp_only_layers=[], tie_word_embeddings=False,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.bfloat16,
        None,
        "old rope keys",
    ),
    "qwen3_moe-raw": (
        "qwen3_moe",
        dict(head_dim=32, num_experts=5, num_experts_per_tok=2, moe_intermediate_size=40,
             norm_topk_prob=False, decoder_sparse_step=1, mlp_only_layers=[0], tie_word_embeddings=True,
             rope_parameters=dict(rope_type="default", rope_theta=1e6)),
        torch.float32,
        None,
        None,
    ),
}


def randomize(model, seed):
    """Weights wide enough that attention and logits are far from uniform."""
    gen = torch.Generator().manual_seed(seed)
    tied = model.config.tie_word_embeddings
    with torch.no_grad():
        for name, p in sorted(model.named_parameters()):
            noise = torch.randn(p.shape, generator=gen)
            if name.endswith("norm.weight") or "layernorm" in name:
                p.copy_(1 + 0.2 * noise)
            elif name.endswith("bias"):
                p.copy_(0.3 * noise)
            elif "embed_tokens" in name:
                p.copy_((0.4 if tied else 1.0) * noise)
            elif name.startswith("lm_head"):
                p.copy_(0.4 * noise)
            else:
                p.copy_(1.2 * noise / p.shape[-1] ** 0.5)


def old_rope_keys(folder):
    """Writes rope as transformers 4 did: rope_theta and rope_scaling on top."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    rope = config.pop("rope_parameters")
    config["rope_theta"] = rope.pop("rope_theta")
    kind = rope.pop("rope_type")
    config["rope_scaling"] = None if kind == "default" else {"type": kind, **rope}
    config["torch_dtype"] = config.pop("dtype")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def main():
    for seed, (name, (kind, more, dtype, shard, edit)) in enumerate(MODELS.items()):
        if sys.argv[1:] and name not in sys.argv[1:]:
            continue
        folder = OUT / name
        shutil.rmtree(folder, ignore_errors=True)
        config = AutoConfig.for_model(kind, **{**SMALL, **more})
        config._attn_implementation = "eager"
        model = AutoModelForCausalLM.from_config(config)
        randomize(model, seed)
        model = model.to(dtype)
        model.save_pretrained(folder, **({"max_shard_size": shard} if shard else {}))

        model = AutoModelForCausalLM.from_pretrained(
            folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
        ).eval()
        gen = torch.Generator().manual_seed(100 + seed)
        ids = torch.randint(3, config.vocab_size, (1, TOKENS), generator=gen)
        with torch.no_grad():
            logits = model(ids).logits[0]
            exact = model.double()(ids).logits[0]
        save_file(
            {"ids": ids[0].to(torch.int32), "logits": logits.contiguous()},
            folder / "golden.safetensors",
        )
        if edit == "old rope keys":
            old_rope_keys(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        error = (logits - exact).abs().max() / exact.abs().max()
        top = exact.softmax(-1).max(-1).values.mean()
        print(f"{name:12} float32 against float64: {error:.1e} of the largest logit;"
              f" mean top probability {top:.2f}; std {exact.std():.2f}")
    made = {"torch": torch.__version__, "transformers": transformers.__version__}
    path = OUT / "made-with.json"
    versions = json.loads(path.read_text()) if path.exists() and sys.argv[1:] else {}
    path.write_text(json.dumps({**versions, **made}, indent=2) + "\n")


main()
