"""Makes encode.json: random weights and the GGUF blocks that the gguf package
(the reference in Python of the ggml project) quantizes them to. It has no
quantizers for the K types.

    pip install gguf numpy
    python make_encode.py > encode.json
"""
import base64
import json

import numpy as np
from gguf import GGMLQuantizationType as T, quants

rng = np.random.default_rng(11)
lines = []
for t in (T.Q4_0, T.Q4_1, T.Q5_0, T.Q5_1, T.Q8_0):
    for kind in range(6):
        x = rng.normal(size=32).astype(np.float32) * np.float32(0.02)
        if kind == 1:
            x = np.abs(x)
        elif kind == 2:
            x = -np.abs(x) - np.float32(0.01)
        elif kind == 3:
            x[:] = 0
        elif kind == 4:  # ties, and equal magnitudes of both signs
            x = np.round(x * 800).astype(np.float32) / 4
            x[3], x[9] = -4, 4
        elif kind == 5:
            x *= np.float32(1e5)
        block = quants.quantize(x.reshape(1, 32), t)
        lines.append(json.dumps({
            "type": t.name, "weights": base64.b64encode(x.astype("<f4").tobytes()).decode(),
            "block": base64.b64encode(block.tobytes()).decode()}))
print("[" + ",\n".join(lines) + "]")
