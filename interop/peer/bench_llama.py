"""Speed of llama.cpp on one model, as JSON on standard output: its decode calls
alone are timed, through llama-cpp-python's low-level interface.

    python bench_llama.py MODEL.gguf THREADS PROMPT_TOKENS GENERATION_TOKENS
"""
import ctypes
import json
import sys
import time

import llama_cpp as llama

path = sys.argv[1]
threads, prompt_tokens, count = map(int, sys.argv[2:])


@llama.llama_log_callback
def silent(level, text, data):
    pass


llama.llama_log_set(silent, ctypes.c_void_p(0))
llama.llama_backend_init()
start = time.perf_counter()
model = llama.llama_model_load_from_file(path.encode(), llama.llama_model_default_params())
if not model:
    sys.exit(f"llama.cpp does not load {path}")
options = llama.llama_context_default_params()
options.n_ctx = prompt_tokens + count + 16
options.n_batch = max(prompt_tokens, 512)
options.n_threads = options.n_threads_batch = threads
context = llama.llama_init_from_model(model, options)
load = time.perf_counter() - start
vocab = llama.llama_vocab_n_tokens(llama.llama_model_get_vocab(model))


def decode(tokens):
    """Seconds that llama.cpp takes to have the logits after tokens."""
    array = (llama.llama_token * len(tokens))(*tokens)
    start = time.perf_counter()
    if llama.llama_decode(context, llama.llama_batch_get_one(array, len(tokens))) != 0:
        sys.exit("llama_decode failed")
    llama.llama_synchronize(context)
    return time.perf_counter() - start


prompt = [10 + i * 7919 % (vocab - 10) for i in range(prompt_tokens)]
opening = load + decode(prompt)  # which warms up, too
llama.llama_memory_clear(llama.llama_get_memory(context), True)
read = decode(prompt)
write = sum(decode([10 + i * 104729 % (vocab - 10)]) for i in range(count))
print(json.dumps({
    "prompt_tps": prompt_tokens / read,
    "generation_tps": count / write,
    "first_token_seconds": read,
    "opening_seconds": opening,
}))
