"""llama.cpp's own quantizer, of llama-cpp-python.

    python llama_quantize.py IN.gguf FILE_TYPE OUT.gguf [FILE_TYPE OUT.gguf...]

FILE_TYPE is a number of llama.cpp's llama_ftype.
"""

import ctypes
import sys

import llama_cpp

source, rest = sys.argv[1], sys.argv[2:]
llama_cpp.llama_backend_init()
for kind, out in zip(rest[::2], rest[1::2]):
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype, params.nthread = int(kind), 1
    if llama_cpp.llama_model_quantize(source.encode(), out.encode(), ctypes.byref(params)) != 0:
        sys.exit(f"llama_model_quantize to type {kind} failed")
