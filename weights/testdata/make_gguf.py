"""Makes tiny.gguf, a file with a tensor of every supported type and a metadata
entry of every kind, and tiny.json, the values that the gguf package reads from
it, under Hugging Face names and in Hugging Face's order of rows.

    pip install gguf numpy
    python make_gguf.py
"""
import json
import zlib
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType as T, GGUFValueType as V, GGUFWriter, quants
from gguf.constants import GGML_QUANT_SIZES

HERE = Path(__file__).parent
HEADS, KV_HEADS, HIDDEN = 2, 1, 64
rng = np.random.default_rng(11)

# (name, Hugging Face name, shape, type, heads whose rows are interleaved)
TENSORS = [
    ("token_embd.weight", "model.embed_tokens.weight", (3, 64), T.Q4_1, 0),
    ("output_norm.weight", "model.norm.weight", (64,), T.F32, 0),
    ("output.weight", "lm_head.weight", (3, 256), T.Q6_K, 0),
    ("blk.0.attn_norm.weight", "model.layers.0.input_layernorm.weight", (64,), T.F32, 0),
    ("blk.0.ffn_norm.weight", "model.layers.0.post_attention_layernorm.weight", (64,), T.F32, 0),
    ("blk.0.attn_q.weight", "model.layers.0.self_attn.q_proj.weight", (16, 64), T.Q4_0, HEADS),
    ("blk.0.attn_q.bias", "model.layers.0.self_attn.q_proj.bias", (16,), T.F32, HEADS),
    ("blk.0.attn_k.weight", "model.layers.0.self_attn.k_proj.weight", (8, 64), T.Q8_0, KV_HEADS),
    ("blk.0.attn_k.bias", "model.layers.0.self_attn.k_proj.bias", (8,), T.F32, KV_HEADS),
    ("blk.0.attn_v.weight", "model.layers.0.self_attn.v_proj.weight", (8, 64), T.F16, 0),
    ("blk.0.attn_output.weight", "model.layers.0.self_attn.o_proj.weight", (4, 64), T.BF16, 0),
    ("blk.0.ffn_gate.weight", "model.layers.0.mlp.gate_proj.weight", (4, 64), T.Q5_0, 0),
    ("blk.0.ffn_up.weight", "model.layers.0.mlp.up_proj.weight", (4, 64), T.Q5_1, 0),
    ("blk.0.ffn_down.weight", "model.layers.0.mlp.down_proj.weight", (4, 256), T.Q4_K, 0),
    ("blk.1.attn_q.weight", "model.layers.1.self_attn.q_proj.weight", (16, 64), T.F16, HEADS),
    ("blk.1.attn_k.weight", "model.layers.1.self_attn.k_proj.weight", (8, 256), T.Q4_K, KV_HEADS),
]


def interleave(w, heads):
    """The order llama.cpp's converter gives to rows of rotated projections."""
    if heads == 0:
        return w
    halves = w.reshape(heads, 2, w.shape[0] // heads // 2, *w.shape[1:])
    return np.ascontiguousarray(halves.swapaxes(1, 2).reshape(w.shape))


def random_blocks(shape, kind):
    """Blocks of a type that the gguf package cannot quantize to."""
    elements, size = GGML_QUANT_SIZES[kind]
    blocks = rng.integers(0, 256, (shape[0], shape[1] // elements, size), dtype=np.uint8)
    for at in {T.Q4_K: [0, 2], T.Q6_K: [208]}[kind]:
        scales = np.float16(rng.normal(size=blocks.shape[:2]) * 0.01)
        blocks[:, :, at:at + 2] = scales.view(np.uint8).reshape(*blocks.shape[:2], 2)
    return blocks.reshape(shape[0], -1)


writer = GGUFWriter(HERE / "tiny.gguf", "llama")
writer.add_block_count(2)
writer.add_context_length(2048)
writer.add_embedding_length(HIDDEN)
writer.add_feed_forward_length(256)
writer.add_head_count(HEADS)
writer.add_head_count_kv(KV_HEADS)
writer.add_key_length(8)
writer.add_rope_dimension_count(8)
writer.add_rope_freq_base(500000.0)
writer.add_layer_norm_rms_eps(1e-5)
writer.add_bos_token_id(1)
writer.add_eos_token_id(2)
writer.add_uint8("test.u8", 200)
writer.add_int8("test.i8", -100)
writer.add_uint16("test.u16", 60000)
writer.add_int16("test.i16", -30000)
writer.add_int32("test.i32", -2000000000)
writer.add_uint64("test.u64", 2**63 + 1)
writer.add_int64("test.i64", -2**62)
writer.add_float64("test.f64", 0.1)
writer.add_bool("test.bool", True)
writer.add_string("test.string", "Linsen \u00e0 la cr\u00e8me")
writer.add_array("test.strings", ["one", "", "three"])
writer.add_array("test.floats", [0.5, -1.5])
writer.add_array("test.ints", [1, -2, 3])
writer.add_array("test.bools", [True, False])
writer.add_key_value("test.bytes", [1, 2, 255], V.ARRAY, V.UINT8)

golden = []
for name, hf, shape, kind, heads in TENSORS:
    if kind in (T.Q4_K, T.Q6_K):
        raw = random_blocks(shape, kind)  # these are rows as stored
    else:
        w = interleave(rng.normal(size=shape).astype(np.float32), heads)
        raw = {T.F32: lambda: w, T.F16: lambda: w.astype(np.float16)}.get(kind, lambda: quants.quantize(w, kind))()
    plain = kind in (T.F32, T.F16)
    writer.add_tensor(name, raw, raw_dtype=None if plain else kind)
    values = (raw if plain else quants.dequantize(raw, kind)).astype("<f4").reshape(shape)
    # Undo interleave by the inverse of what it does to row numbers.
    values = values[np.argsort(interleave(np.arange(shape[0]), heads))] if heads else values
    values = values + np.float32(0)  # no negative zeros: they compare equal but have other bytes
    golden.append({"name": hf, "type": kind.name, "shape": shape, "first": values.reshape(-1)[:4].tolist(),
                   "crc": "%08x" % zlib.crc32(np.ascontiguousarray(values).tobytes())})

writer.write_header_to_file()
writer.write_kv_data_to_file()
writer.write_tensors_to_file()
writer.close()
(HERE / "tiny.json").write_text("[" + ",\n".join(json.dumps(g) for g in golden) + "]\n")
