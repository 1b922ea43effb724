"""Makes blocks.json: random GGUF blocks and the values that the gguf package
(the reference in Python of the ggml project) gives for them.

    pip install gguf numpy
    python make_blocks.py > blocks.json
"""
import base64
import json
import zlib

import numpy as np
from gguf import GGMLQuantizationType as T, quants
from gguf.constants import GGML_QUANT_SIZES

BLOCKS = 3
# Byte offsets of the f16 numbers in a block.
HALVES = {T.Q4_0: [0], T.Q4_1: [0, 2], T.Q5_0: [0], T.Q5_1: [0, 2], T.Q8_0: [0], T.Q4_K: [0, 2], T.Q6_K: [208], T.Q5_K: [0, 2]}

rng = np.random.default_rng(7)
lines = []
for t, halves in HALVES.items():
    elements, size = GGML_QUANT_SIZES[t]
    blocks = rng.integers(0, 256, (BLOCKS, size), dtype=np.uint8)
    for b in range(BLOCKS):
        for at in halves:
            scale = rng.normal() * (0.01, 1e-6, 700)[b]  # ordinary, subnormal, overflowing biases
            blocks[b, at:at + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    values = quants.dequantize(blocks, t).astype("<f4").reshape(BLOCKS, elements)
    for b in range(BLOCKS):
        lines.append(json.dumps({
            "type": t.name, "block": base64.b64encode(blocks[b].tobytes()).decode(),
            # The first and last eight values; all of them through a checksum.
            "head": values[b, :8].tolist(), "tail": values[b, -8:].tolist(),
            "crc": "%08x" % zlib.crc32(values[b].tobytes())}))
print("[" + ",\n".join(lines) + "]")
