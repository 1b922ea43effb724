"""Reads a folder of event files with TensorBoard's own reader and prints scalars and texts as JSON."""

import json
import sys

from tensorboard.backend.event_processing import event_accumulator

reader = event_accumulator.EventAccumulator(sys.argv[1], size_guidance={"scalars": 0, "tensors": 0})
reader.Reload()
tags = reader.Tags()
texts = {}
for tag in tags["tensors"]:
    for event in reader.Tensors(tag):
        texts.setdefault(tag, []).append([event.step, event.tensor_proto.string_val[0].decode()])
scalars = {tag: [[e.step, e.value] for e in reader.Scalars(tag)] for tag in tags["scalars"]}
print(json.dumps({"scalars": scalars, "texts": texts, "plugins": list(reader.summary_metadata) and {t: m.plugin_data.plugin_name for t, m in reader.summary_metadata.items()}}))
