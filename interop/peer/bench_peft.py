"""Seconds of a LoRA training step with PyTorch and PEFT in float32 on the CPU, as JSON.

    python bench_peft.py CONFIG_DIR THREADS BATCH LENGTH LAYERS

CONFIG_DIR has a config.json; weights are random. LAYERS are the last blocks
that get an adapter, -1 all. The second of two steps counts.
"""

import json
import re
import sys
import time

import peft
import torch
import transformers

folder = sys.argv[1]
threads, batch, length, layers = map(int, sys.argv[2:6])
torch.set_num_threads(threads)
torch.manual_seed(0)
config = transformers.AutoConfig.from_pretrained(folder)
if hasattr(config, "quantization_config"):
    del config.quantization_config
base = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.float32)
total = config.num_hidden_layers
chosen = list(range(total - layers if layers > 0 else 0, total))
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
model = peft.get_peft_model(base, peft.LoraConfig(r=8, lora_alpha=160, target_modules=names, layers_to_transform=chosen, task_type="CAUSAL_LM"))
optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.0)
tokens = torch.randint(0, config.vocab_size, (batch, length + 1))
model.train()
for _ in range(2):
    start = time.perf_counter()
    logits = model(input_ids=tokens[:, :-1]).logits
    loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    seconds = time.perf_counter() - start
peak = int(re.search(r"VmHWM:\s*(\d+)", open("/proc/self/status").read())[1]) * 1024
json.dump({"train_tps": batch * length / seconds, "seconds": seconds, "peak_bytes": peak, "loss": loss.item(),
           "version": f"torch {torch.__version__}, peft {peft.__version__}"}, sys.stdout)
