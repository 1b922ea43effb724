"""Tokens a second and peak memory of LoRA steps with PyTorch and PEFT on a card, as a line a setting.

    python bench_peft_gpu.py [--json] CONFIG_DIR BATCH LAYERS LENGTH...

CONFIG_DIR has a config.json; weights are random bf16. LAYERS are the last blocks that get an adapter of rank 8, -1 all. The
median of five steps behind three counts. Where bitsandbytes is there, the base is measured in NF4 as well. With --json the
figures are one object, and the lines go to standard error.
"""

import json
import re
import sys
import time

import peft
import torch
import transformers

as_json = "--json" in sys.argv
arguments = [a for a in sys.argv[1:] if a != "--json"]
folder, batch, layers = arguments[0], int(arguments[1]), int(arguments[2])
figures = {}


def say(line):
    print(line, file=sys.stderr if as_json else sys.stdout, flush=True)


torch.manual_seed(0)
config = transformers.AutoConfig.from_pretrained(folder)
if hasattr(config, "quantization_config"):
    del config.quantization_config
names = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
total = config.num_hidden_layers
chosen = list(range(total - layers if layers > 0 else 0, total))


def base(four):
    with torch.device("cuda"):
        model = transformers.AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    if not four:
        return model
    import bitsandbytes

    for name, module in list(model.named_modules()):
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            parent, leaf = re.match(r"(?:(.*)\.)?([^.]+)$", name).groups()
            q = bitsandbytes.nn.Linear4bit(module.in_features, module.out_features, bias=False, compute_dtype=torch.bfloat16, quant_type="nf4")
            q.weight = bitsandbytes.nn.Params4bit(module.weight.data, requires_grad=False, quant_type="nf4")
            setattr(model.get_submodule(parent or ""), leaf, q.cuda())
    return model


def measure(what, model, length):
    model.train()
    optimizer = torch.optim.Adam([p for p in model.parameters() if p.requires_grad], lr=0.0)
    tokens = torch.randint(0, config.vocab_size, (batch, length + 1), device="cuda")
    torch.cuda.reset_peak_memory_stats()
    times = []
    for _ in range(8):
        torch.cuda.synchronize()
        start = time.perf_counter()
        logits = model(input_ids=tokens[:, :-1]).logits
        torch.nn.functional.cross_entropy(logits.float().flatten(0, 1), tokens[:, 1:].flatten()).backward()
        optimizer.step()
        optimizer.zero_grad()
        torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    median = sorted(times[3:])[2]
    rate, peak = batch * length / median, torch.cuda.max_memory_allocated()
    figures[f"{what} {length} train_tps"], figures[f"{what} {length} peak_bytes"] = rate, peak
    say(f"PEFT {what}, {batch} rows of {length}: {rate:.0f} tokens/s, {peak / 2**30:.1f} GiB")


say(f"torch {torch.__version__}, transformers {transformers.__version__}, peft {peft.__version__}")
settings = ["bf16"]
try:
    import bitsandbytes  # noqa: F401

    settings.append("NF4")
except ImportError:
    say("PEFT NF4: skipped, bitsandbytes is missing")
for what in settings:
    lora = peft.LoraConfig(r=8, lora_alpha=160, target_modules=names, layers_to_transform=chosen, task_type="CAUSAL_LM")
    model = peft.get_peft_model(base(what == "NF4"), lora)
    for length in map(int, arguments[3:]):
        try:
            measure(what, model, length)
        except torch.cuda.OutOfMemoryError:
            say(f"PEFT {what}, {batch} rows of {length}: out of memory")
    del model
    torch.cuda.empty_cache()
if as_json:
    print(json.dumps(figures))
