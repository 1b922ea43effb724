"""What the gguf package, with which llama.cpp's converter writes, finds in a file, as JSON.

    python gguf_peer.py FILE.gguf

"metadata" gives value type and value (of lists: type of the elements and their
number), "writer" the type in which the package's own writer would have stored the
same key, "tensors" type and shape, "strange" the names that it does not know for the
architecture.
"""

import json
import os
import sys
import tempfile

import gguf
from gguf import GGUFValueType, GGUFWriter

reader = gguf.GGUFReader(sys.argv[1])
metadata, values = {}, {}
for key, field in reader.fields.items():
    if key.startswith("GGUF."):
        continue
    values[key] = field.contents()
    kind = [t.name for t in field.types]
    metadata[key] = {"type": kind, "value": len(values[key]) if kind[0] == "ARRAY" else values[key]}

arch = values["general.architecture"]
out = GGUFWriter(os.path.join(tempfile.mkdtemp(), "x"), arch)
# The writer's methods of the converters, by key.
methods = {
    gguf.Keys.General.TYPE: out.add_type, gguf.Keys.General.NAME: out.add_name, gguf.Keys.General.FILE_TYPE: out.add_file_type,
    gguf.Keys.General.QUANTIZATION_VERSION: out.add_quantization_version,
    gguf.Keys.LLM.VOCAB_SIZE: out.add_vocab_size, gguf.Keys.LLM.CONTEXT_LENGTH: out.add_context_length,
    gguf.Keys.LLM.EMBEDDING_LENGTH: out.add_embedding_length, gguf.Keys.LLM.BLOCK_COUNT: out.add_block_count,
    gguf.Keys.LLM.FEED_FORWARD_LENGTH: out.add_feed_forward_length, gguf.Keys.Attention.HEAD_COUNT: out.add_head_count,
    gguf.Keys.Attention.HEAD_COUNT_KV: out.add_head_count_kv, gguf.Keys.Attention.KEY_LENGTH: out.add_key_length,
    gguf.Keys.Attention.VALUE_LENGTH: out.add_value_length, gguf.Keys.Attention.LAYERNORM_RMS_EPS: out.add_layer_norm_rms_eps,
    gguf.Keys.LLM.EXPERT_COUNT: out.add_expert_count, gguf.Keys.LLM.EXPERT_USED_COUNT: out.add_expert_used_count,
    gguf.Keys.LLM.EXPERT_FEED_FORWARD_LENGTH: out.add_expert_feed_forward_length,
    gguf.Keys.Rope.DIMENSION_COUNT: out.add_rope_dimension_count, gguf.Keys.Rope.FREQ_BASE: out.add_rope_freq_base,
    gguf.Keys.Rope.SCALING_TYPE: lambda v: out.add_rope_scaling_type(gguf.RopeScalingType(v)), gguf.Keys.Rope.SCALING_FACTOR: out.add_rope_scaling_factor,
    gguf.Keys.Rope.SCALING_ORIG_CTX_LEN: out.add_rope_scaling_orig_ctx_len, gguf.Keys.Rope.SCALING_ATTN_FACTOR: out.add_rope_scaling_attn_factors,
    gguf.Keys.Rope.SCALING_YARN_BETA_FAST: out.add_rope_scaling_yarn_beta_fast, gguf.Keys.Rope.SCALING_YARN_BETA_SLOW: out.add_rope_scaling_yarn_beta_slow,
    gguf.Keys.Tokenizer.MODEL: out.add_tokenizer_model, gguf.Keys.Tokenizer.PRE: out.add_tokenizer_pre, gguf.Keys.Tokenizer.LIST: out.add_token_list,
    gguf.Keys.Tokenizer.TOKEN_TYPE: out.add_token_types, gguf.Keys.Tokenizer.SCORES: out.add_token_scores, gguf.Keys.Tokenizer.MERGES: out.add_token_merges,
    gguf.Keys.Tokenizer.BOS_ID: out.add_bos_token_id, gguf.Keys.Tokenizer.EOS_ID: out.add_eos_token_id, gguf.Keys.Tokenizer.EOT_ID: out.add_eot_token_id,
    gguf.Keys.Tokenizer.UNK_ID: out.add_unk_token_id, gguf.Keys.Tokenizer.PAD_ID: out.add_pad_token_id,
    gguf.Keys.Tokenizer.ADD_BOS: out.add_add_bos_token, gguf.Keys.Tokenizer.ADD_EOS: out.add_add_eos_token,
    gguf.Keys.Tokenizer.ADD_PREFIX: out.add_add_space_prefix, gguf.Keys.Tokenizer.CHAT_TEMPLATE: out.add_chat_template,
    gguf.Keys.Adapter.TYPE: lambda v: out.add_string(gguf.Keys.Adapter.TYPE, v), gguf.Keys.Adapter.LORA_ALPHA: lambda v: out.add_float32(gguf.Keys.Adapter.LORA_ALPHA, v),
}
writer, strange = {}, []
for template, method in methods.items():
    key = template.format(arch=arch)
    if key in values:
        method(values[key])
for shard in out.kv_data:
    for key, v in shard.items():
        writer[key] = ["ARRAY", GGUFValueType.get_type(v.value[0]).name] if v.type == GGUFValueType.ARRAY else [v.type.name]
strange += [key for key in values if key not in writer and key != "general.architecture"]

known = set()
model = next(k for k, v in gguf.MODEL_ARCH_NAMES.items() if v == arch)
for tensor in gguf.MODEL_TENSORS[model]:
    for block in range(int(values.get(arch + ".block_count", 64))):
        known.add(gguf.TENSOR_NAMES[tensor].format(bid=block))
tensors = {}
for t in reader.tensors:
    name = t.name.removesuffix(".lora_a").removesuffix(".lora_b")
    if name.removesuffix(".weight").removesuffix(".bias") not in known:
        strange.append(t.name)
    tensors[t.name] = {"type": t.tensor_type.name, "shape": [int(n) for n in reversed(t.shape)]}
json.dump({"metadata": metadata, "writer": writer, "tensors": tensors, "strange": strange}, sys.stdout)
