"""Datasets as mlx-lm sees them, with .interop/datasets on PYTHONPATH.

    datasetpeer.py write ROWS.jsonl OUT.parquet [OPTIONS]  the rows as a Parquet file, as pyarrow writes it
    datasetpeer.py train CASES.json                        mlx_lm.lora on each case, figures as mlxpeer.py gives them

Where a case fails its answer is {"error": TEXT}. The endpoint of the hub and the cache come from the environment.
"""

import json
import sys


def write(rows, out, options="{}"):
    import pyarrow as pa
    import pyarrow.parquet as pq

    with open(rows) as f:
        table = pa.Table.from_pylist([json.loads(line) for line in f])
    pq.write_table(table, out, **json.loads(options))


def train(cases):
    import datasets
    import mlxpeer

    datasets.disable_progress_bars()
    with open(cases) as f:
        cases = json.load(f)
    answers = {}
    for name, given in cases.items():
        try:
            answers[name] = mlxpeer.run({"train": True, **given})
        except Exception as e:
            answers[name] = {"error": f"{type(e).__name__}: {e}"}
    json.dump(answers, sys.stdout)


{"write": write, "train": train}[sys.argv[1]](*sys.argv[2:])
