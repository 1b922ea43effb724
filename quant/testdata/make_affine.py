"""Makes affine.json: checksums of what MLX's CPU quantizer gives for weights
that the Go test makes again from the same recurrence (see weights below).

    pip install 'mlx[cpu]' numpy
    python make_affine.py > affine.json            # the committed file
    python make_affine.py 1024 > /tmp/affine.json  # more rows, for a longer check
"""
import json
import sys
import zlib

import mlx.core as mx
import numpy as np

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 16
COLS = 256


def weights(rows, cols):
    """Row r mod 8 decides the kind of row; the rest is a linear congruence."""
    w = np.zeros((rows, cols), np.float32)
    x = 1
    for r in range(rows):
        for c in range(cols):
            x = (x * 1664525 + 1013904223) % 2**32
            u = (x >> 8) / 2**24 - 0.5
            kind = r % 8
            if kind == 3:  # whole groups of zeros, and one that is constant
                u = 0.0 if c % 128 < 64 else 0.375
            elif kind == 4:  # no positive weight
                u = -abs(u)
            elif kind == 5:  # no negative weight, and tiny
                u = abs(u) * 1e-6
            elif kind == 6:  # one outlier per 64
                u = u * 100 if c % 64 == 17 else u
            elif kind == 7:  # many exact ties
                u = round(u * 16) / 8
            w[r, c] = u * (1 + r)
    return w


def crc(a):
    return "%08x" % zlib.crc32(np.array(a).tobytes())


mx.set_default_device(mx.cpu)
w = mx.array(weights(ROWS, COLS))
cases = []
for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
    for bits in (2, 3, 4, 5, 6, 8):
        for group in (32, 64, 128):
            x = w.astype(dtype)
            q, s, b = mx.quantize(x, group_size=group, bits=bits)
            # Scales are compared as bytes: view bfloat16 as uint16 first.
            view = mx.uint32 if dtype == mx.float32 else mx.uint16
            f32 = mx.dequantize(q, s.astype(mx.float32), b.astype(mx.float32), group_size=group, bits=bits)
            cases.append({"dtype": name, "bits": bits, "group": group, "data": crc(q),
                          "scales": crc(s.view(view)), "biases": crc(b.view(view)), "floats": crc(f32)})

print('{"mlx": "%s", "rows": %d, "cols": %d, "cases": [' % (mx.__version__, ROWS, COLS))
print(",\n".join(json.dumps(c) for c in cases))
print("]}")
