"""lm-eval on tasks whose rows lie here, asking a server of completions, answered as JSON on standard output.

    harness.py URL MODEL FOLDER TASK,TASK SEED MAX_TOKENS RUN...

FOLDER has TASK.jsonl and, where examples come from a split of their own, TASK.train.jsonl. A task is lm-eval's own config with the
data replaced. MODEL is the folder that the server has its model from: the tokenizer and the chat template are taken from it.
A RUN is SHOTS,TEMPLATE,MULTITURN, such as 2,true,false; SHOTS may be "none" for the task's. Needs lm-eval (interop/clients.sh).
"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()

import lm_eval
from lm_eval.models.openai_completions import LocalCompletionsAPI
from lm_eval.tasks import TaskManager

CONFIGS = {
    "arc": "arc/arc_easy.yaml", "openbookqa": "openbookqa/openbookqa.yaml", "piqa": "piqa/piqa.yaml", "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml", "boolq": "super_glue/boolq/default.yaml", "mmlu": "mmlu/default/mmlu_nutrition.yaml",
    "truthfulqa": "truthfulqa/truthfulqa_mc1.yaml", "gsm8k": "gsm8k/gsm8k.yaml", "triviaqa": "triviaqa/default.yaml",
}
# The split that is asked, and the one that examples come from.
SPLITS = {
    "arc": ("test", "train"), "openbookqa": ("test", "train"), "gsm8k": ("test", "train"), "mmlu": ("test", "dev"),
}
# As in the configs, which have no place for a bound beside it.
UNTIL = {"gsm8k": ["Question:", "</s>", "<|im_end|>"], "triviaqa": ["\n", ".", ","]}


def main():
    url, model, folder, names, seed, tokens, *runs = sys.argv[1:]
    folder, names, seed = Path(folder), names.split(","), int(seed)
    configs = Path(tempfile.mkdtemp())
    for name in names:
        asked, examples = SPLITS.get(name, ("validation", "train"))
        files = {asked: str(folder / f"{name}.jsonl"), examples: str(folder / f"{name}.train.jsonl")}
        if asked == "test" and examples == "train":
            files["validation"] = files["test"]
        official = Path(lm_eval.__file__).parent / "tasks" / CONFIGS[name]
        text = (
            f"include: {official}\ntask: lentil_{name}\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs:\n  data_files: {json.dumps(files)}\n"
        )
        if name in UNTIL:
            text += f"generation_kwargs: {json.dumps({'until': UNTIL[name], 'do_sample': False, 'temperature': 0.0, 'max_gen_toks': int(tokens)})}\n"
        (configs / f"{name}.yaml").write_text(text)
    manager = TaskManager(include_path=str(configs), include_defaults=False)
    lm, out = LocalCompletionsAPI(model="base", base_url=url, tokenizer=model, tokenizer_backend="huggingface", tokenized_requests=True, num_concurrent=4), []
    for run in runs:
        shots, template, multiturn = run.split(",")
        got = lm_eval.simple_evaluate(
            model=lm, tasks=[f"lentil_{n}" for n in names], task_manager=manager, num_fewshot=None if shots == "none" else int(shots),
            fewshot_as_multiturn=multiturn == "true", apply_chat_template=template == "true", fewshot_random_seed=seed, random_seed=seed,
            numpy_random_seed=seed, torch_random_seed=seed, bootstrap_iters=0,
        )["results"]
        out.append({name: {k: v for k, v in got[f"lentil_{name}"].items() if isinstance(v, float)} for name in names})
    return out


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = main()
    json.dump(answer, sys.stdout)
