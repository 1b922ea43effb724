"""Makes testdata/smollm2: greedy answers and a loss of SmolLM2-135M-Instruct.

Run with an environment that has torch, transformers and gguf:

    make_smollm2.py MODEL.gguf

transformers dequantizes the GGUF's Q4_1 and Q8_0 weights to float32 and runs in
float32, so its answers are those of the stored weights with no other rounding.
loss.json is its mean loss over the tokens of testdata/chat/test.jsonl. Each answer has the rendered prompt, its ids, the ids chosen (an end-of-sequence
id is the last) and how far the runner-up's logit stands below each choice.
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = Path(__file__).resolve().parent.parent / "testdata" / "smollm2"
COUNT = 64


def measure(model, tokenizer):
    """The loss of every token of the rendered rows but each row's first."""
    total, count = 0.0, 0
    for line in (HERE.parent / "chat" / "test.jsonl").read_text().splitlines():
        text = tokenizer.apply_chat_template(json.loads(line)["messages"], tokenize=False)
        ids = torch.tensor([tokenizer(text, add_special_tokens=False)["input_ids"]])
        with torch.no_grad():
            n = ids.shape[1] - 1
            total += model(ids, labels=ids).loss.item() * n
            count += n
    (HERE / "loss.json").write_text(json.dumps({"loss": total / count, "tokens": count}) + "\n")


def main():
    path = Path(sys.argv[1])
    tokenizer = AutoTokenizer.from_pretrained(path.parent, gguf_file=path.name)
    model = AutoModelForCausalLM.from_pretrained(
        path.parent, gguf_file=path.name, dtype=torch.float32
    ).eval()
    measure(model, tokenizer)
    answers = []
    for prompt in json.loads((HERE / "prompts.json").read_text()):
        text = tokenizer.apply_chat_template(
            [{"role": "user", "content": prompt}], add_generation_prompt=True, tokenize=False
        )
        ids = tokenizer(text, add_special_tokens=False)["input_ids"]
        chosen, gaps, step, cache = [], [], torch.tensor([ids]), None
        with torch.no_grad():
            while len(chosen) < COUNT:
                out = model(step, past_key_values=cache, use_cache=True)
                cache = out.past_key_values
                top = out.logits[0, -1].topk(2)
                chosen.append(int(top.indices[0]))
                gaps.append(round(float(top.values[0] - top.values[1]), 5))
                if chosen[-1] == tokenizer.eos_token_id:
                    break
                step = torch.tensor([[chosen[-1]]])
        print(repr(tokenizer.decode(chosen))[:110], min(gaps))
        answers.append({"text": text, "prompt": ids, "ids": chosen, "gaps": gaps})
    (HERE / "greedy.json").write_text(json.dumps(answers) + "\n")


main()
