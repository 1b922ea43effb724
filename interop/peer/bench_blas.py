"""Seconds of c = a @ b.T in float32 with numpy's OpenBLAS, as JSON.

    python bench_blas.py M N K

OPENBLAS_NUM_THREADS sets the threads. The best of the repetitions in half a
second counts, as on the other side.
"""

import json
import sys
import time

import numpy as np

m, n, k = map(int, sys.argv[1:4])
random = np.random.default_rng(0)
a = random.standard_normal((m, k), dtype=np.float32)
b = random.standard_normal((n, k), dtype=np.float32)
c = np.empty((m, n), dtype=np.float32)
np.matmul(a, b.T, out=c)
best, end = 1e9, time.perf_counter() + 0.5
while time.perf_counter() < end:
    start = time.perf_counter()
    np.matmul(a, b.T, out=c)
    best = min(best, time.perf_counter() - start)
blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
json.dump({"seconds": best, "gflops": 2 * m * n * k / best / 1e9, "version": f"{blas['name']} {blas['version']}"}, sys.stdout)
