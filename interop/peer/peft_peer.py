"""Adapters of Hugging Face's PEFT on transformers' models, in float32 on the CPU.

    python peft_peer.py JOBS.json

JOBS.json is a list of objects with "model" (a folder), "tokens" and "adapter" (a
folder). With "settings" the adapter is made of these settings of the class "kind",
all of its numbers random, and saved there; else it is loaded from there. Logits of
the tokens go to the file "logits" as a tensor of that name, [T, vocab].
"""

import json
import sys
import warnings

import peft
import torch
import transformers
from safetensors.torch import save_file

warnings.filterwarnings("ignore")
torch.set_num_threads(1)
torch.manual_seed(7)
for job in json.load(open(sys.argv[1])):
    base = transformers.AutoModelForCausalLM.from_pretrained(job["model"], dtype=torch.float32, attn_implementation="eager")
    if "settings" in job:
        config = getattr(peft, job.get("kind", "LoraConfig"))(task_type="CAUSAL_LM", **job["settings"])
        model = peft.get_peft_model(base, config)
        with torch.no_grad():
            for p in model.parameters():
                if p.requires_grad:
                    p.normal_(std=0.1)
        model.save_pretrained(job["adapter"])
    else:
        model = peft.PeftModel.from_pretrained(base, job["adapter"])
    if "logits" in job:
        model.eval()
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([job["tokens"]])).logits[0]
        save_file({"logits": logits.contiguous()}, job["logits"])
