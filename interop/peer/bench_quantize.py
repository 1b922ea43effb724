"""Stores a GGUF file in another type with llama.cpp.

    bench_quantize.py FROM.gguf TO.gguf TYPE THREADS
"""

import ctypes
import sys

import llama_cpp

source, target, kind, threads = sys.argv[1:]
params = llama_cpp.llama_model_quantize_default_params()
params.nthread = int(threads)
params.ftype = {"Q8_0": 7, "Q4_0": 2, "Q4_K_M": 15, "Q5_K_M": 17, "Q6_K": 18}[kind]
if llama_cpp.llama_model_quantize(source.encode(), target.encode(), ctypes.byref(params)):
    sys.exit(f"llama.cpp did not store {source} as {kind}")
