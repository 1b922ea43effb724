# Serves a GGUF file with llama.cpp's own server, as the PyPI package xllamacpp ships it: to measure lentil serve beside it with
# interop/bench/serve --beside.
# llama_server.py MODEL.gguf PORT SLOTS THREADS
import sys
import time

import xllamacpp

p = xllamacpp.CommonParams()
p.model.path = sys.argv[1]
p.hostnames = ["127.0.0.1"]
p.port = int(sys.argv[2])
p.n_parallel = int(sys.argv[3])
p.n_ctx = 1024 * p.n_parallel
p.cpuparams.n_threads = p.cpuparams_batch.n_threads = int(sys.argv[4])
server = xllamacpp.Server(p)
print(xllamacpp.get_system_info(), flush=True)
while True:
    time.sleep(1)
