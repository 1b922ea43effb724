"""Makes fp.json: checksums of what MLX's CPU quantizer gives in the modes mxfp4,
nvfp4 and mxfp8 for weights that the Go test makes again (see weights below), and
what MLX reads for every byte of a scale and of an element.

    pip install 'mlx[cpu]' numpy
    python make_fp.py > fp.json            # the committed file
    python make_fp.py 4096 > /tmp/fp.json  # more rows, for a longer check
"""
import json
import sys
import zlib

import mlx.core as mx
import numpy as np

ROWS = int(sys.argv[1]) if len(sys.argv) > 1 else 48
COLS = 256


def weights(rows, cols):
    """Row r mod 8 decides the kind of row, r mod 3 its size; the rest is a linear congruence."""
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
            elif kind == 5:  # down to half precision's smallest numbers
                u = u * 2.0 ** -(c // 16)
            elif kind == 6:  # one outlier per 64
                u = u * 100 if c % 64 == 17 else u
            elif kind == 7:  # exact ties of E2M1, on both sides
                u = 6.0 if c % 16 == 0 else round(u * 48) / 4
            w[r, c] = u * (1.0, 1e-3, 300.0)[r % 3]
    return w


def crc(a):
    return "%08x" % zlib.crc32(np.array(a).tobytes())


def every(mode):
    """All bytes as elements with scale 1, then all bytes as scales of the element 1."""
    one, group = {"mxfp4": (0x22, 32), "nvfp4": (0x22, 16), "mxfp8": (0x38, 32)}[mode]
    unit = 56 if mode == "nvfp4" else 127
    count = group if mode == "mxfp8" else group // 2  # bytes of a group
    elements = np.arange(256, dtype=np.uint8).reshape(256 // count, count)
    flat = np.full((256, count), one, np.uint8)
    out = []
    for q, s in ((elements, np.full((256 // count, 1), unit, np.uint8)), (flat, np.arange(256, dtype=np.uint8).reshape(256, 1))):
        f = mx.dequantize(mx.array(q.view(np.uint32)), mx.array(s), mode=mode, dtype=mx.float32)
        out.append(np.array(f))
    return [[str(v) for v in out[0].reshape(-1)], [str(v) for v in out[1][:, 0]]]


mx.set_default_device(mx.cpu)
w = mx.array(weights(ROWS, COLS))
cases = []
for name, dtype in (("F32", mx.float32), ("F16", mx.float16), ("BF16", mx.bfloat16)):
    for mode in ("mxfp4", "nvfp4", "mxfp8"):
        q, s = mx.quantize(w.astype(dtype), mode=mode)
        f32 = mx.dequantize(q, s, mode=mode, dtype=mx.float32)
        cases.append({"dtype": name, "mode": mode, "data": crc(q), "scales": crc(s), "floats": crc(f32)})

print('{"mlx": "%s", "rows": %d, "cols": %d, "cases": [' % (mx.__version__, ROWS, COLS))
print(",\n".join(json.dumps(c) for c in cases))
print('],\n"bytes": {')
print(",\n".join('"%s": %s' % (m, json.dumps(every(m))) for m in ("mxfp4", "nvfp4", "mxfp8")))
print("}}")
