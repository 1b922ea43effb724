"""mlx_lm.evaluate's own path through lm-eval, on tasks whose rows lie here, answered as JSON on standard output.

    harness.py MODEL FOLDER TASK,TASK SHOTS SEED TEMPLATE MULTITURN MAX_TOKENS

FOLDER has TASK.jsonl and, where examples come from a split of their own, TASK.train.jsonl. A task is lm-eval's own config with the
data replaced. SHOTS is a number, or "none" for the task's. Needs mlx-lm (interop/venv.sh) and, behind it on the path, lm-eval
(interop/clients.sh).
"""

import contextlib
import json
import os
import sys
import tempfile
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["HF_DATASETS_CACHE"] = tempfile.mkdtemp()
sys.path.append(str(Path(__file__).resolve().parents[2] / ".interop/clients/lib" / f"python3.{sys.version_info[1]}" / "site-packages"))

import lm_eval
from lm_eval.tasks import TaskManager
from mlx_lm.evaluate import MLXLM

CONFIGS = {
    "arc": "arc/arc_easy.yaml", "openbookqa": "openbookqa/openbookqa.yaml", "piqa": "piqa/piqa.yaml", "hellaswag": "hellaswag/hellaswag.yaml",
    "winogrande": "winogrande/default.yaml", "boolq": "super_glue/boolq/default.yaml", "mmlu": "mmlu/default/mmlu_nutrition.yaml",
    "truthfulqa": "truthfulqa/truthfulqa_mc1.yaml", "gsm8k": "gsm8k/gsm8k.yaml", "triviaqa": "triviaqa/default.yaml",
}
# The split that is asked, and the one that examples come from.
SPLITS = {
    "arc": ("test", "train"), "openbookqa": ("test", "train"), "gsm8k": ("test", "train"), "mmlu": ("test", "dev"),
}


def main():
    model, folder, names, shots, seed, template, multiturn, tokens = sys.argv[1:]
    folder, names = Path(folder), names.split(",")
    configs = Path(tempfile.mkdtemp())
    for name in names:
        asked, examples = SPLITS.get(name, ("validation", "train"))
        files = {asked: str(folder / f"{name}.jsonl")}
        files[examples] = str(folder / f"{name}.train.jsonl")
        if asked == "test" and examples == "train":
            files["validation"] = files["test"]
        official = Path(lm_eval.__file__).parent / "tasks" / CONFIGS[name]
        (configs / f"{name}.yaml").write_text(
            f"include: {official}\ntask: lentil_{name}\ndataset_path: json\ndataset_name: null\n"
            f"dataset_kwargs:\n  data_files: {json.dumps(files)}\n"
        )
    lm = MLXLM(model, max_tokens=int(tokens), use_chat_template=template == "true")
    results = lm_eval.simple_evaluate(
        model=lm, tasks=[f"lentil_{n}" for n in names], task_manager=TaskManager(include_path=str(configs)), num_fewshot=None if shots == "none" else int(shots),
        fewshot_as_multiturn=multiturn == "true", apply_chat_template=template == "true", fewshot_random_seed=int(seed), random_seed=int(seed),
        numpy_random_seed=int(seed), torch_random_seed=int(seed), bootstrap_iters=0,
    )
    out = {}
    for name in names:
        samples = results["samples"][f"lentil_{name}"]
        out[name] = {
            "results": {k: v for k, v in results["results"][f"lentil_{name}"].items() if isinstance(v, float)},
            "contexts": [s["arguments"]["gen_args_0"]["arg_0"] if isinstance(s["arguments"], dict) else s["arguments"][0][0] for s in samples],
            "likelihoods": [[float(r[0][0]) for r in s["resps"]] for s in samples if isinstance(s["resps"][0][0], (list, tuple))],
        }
    return out


if __name__ == "__main__":
    with contextlib.redirect_stdout(sys.stderr):
        answer = main()
    json.dump(answer, sys.stdout)
