"""One forward pass of a model in mxfp4, nvfp4 or mxfp8, in float32.

    mlxfp.py MODEL IDS OUT

mlx-lm itself starts such models in bfloat16, whatever the type of their other
weights: that is what an embedding in these modes gives. Here it is widened, as
its values are exact, and the rest of the pass is in float32.
"""

import sys

import mlx.core as mx
import mlx.nn as nn
from mlx_lm.utils import load

from mlxpeer import logits, to_float32


class Widened(nn.QuantizedEmbedding):
    def __call__(self, x):
        return super().__call__(x).astype(mx.float32)


model, _ = load(sys.argv[1])
to_float32(model)
model.model.embed_tokens.__class__ = Widened
mx.save_safetensors(sys.argv[3], {"logits": logits(model, [int(i) for i in sys.argv[2].split(",")])})
