"""Writes the Parquet files of the tests with pyarrow, and what pyarrow reads from them as JSON lines.

    pip install pyarrow==26.0.1 && python make.py
"""

import datetime
import json
import random

import pyarrow as pa
import pyarrow.parquet as pq

random.seed(7)
message = pa.struct([
    ("role", pa.string()), ("content", pa.string()),
    ("tool_calls", pa.list_(pa.struct([("name", pa.string()), ("arguments", pa.map_(pa.string(), pa.int64()))]))),
])
schema = pa.schema([
    ("zebra", pa.int64()), ("messages", pa.list_(message)), ("tools", pa.list_(pa.list_(pa.string()))),
    ("score", pa.float64()), ("small", pa.float32()), ("ok", pa.bool_()), ("count", pa.uint32()), ("byte", pa.int8()),
    ("nothing", pa.null()), ("label", pa.dictionary(pa.int32(), pa.string())), ("long", pa.large_string()),
    pa.field("always", pa.string(), nullable=False), ("half", pa.float16()),
    ("meta", pa.struct([("b", pa.struct([("deep", pa.list_(pa.int32()))])), ("a", pa.string())])),
])


def word():
    return random.choice(["lentil", "Bohne", "pois chiche", "豆", "🫘", "", "x" * 40])


def maybe(value):
    return None if random.random() < 0.2 else value


def turn(role):
    calls = [{"name": word(), "arguments": [(word(), i) for i in range(random.randrange(3))]} for _ in range(random.randrange(3))]
    return {"role": role, "content": maybe(word()), "tool_calls": maybe(calls)}


def row(i):
    return {
        "zebra": maybe(random.randrange(-2**63, 2**63)), "messages": maybe([turn("user"), turn("assistant")][: random.randrange(3)]),
        "tools": maybe([maybe([maybe(word()) for _ in range(random.randrange(3))]) for _ in range(random.randrange(3))]),
        "score": maybe(random.random()), "small": maybe(random.choice([0.5, -1.25, 3.0])), "ok": maybe(random.random() < 0.5),
        "count": maybe(random.randrange(2**32)), "byte": maybe(random.randrange(-128, 128)), "nothing": None,
        "label": maybe(random.choice(["a", "b"])), "long": maybe(word() * 3), "always": f"row {i}", "half": maybe(random.choice([1.5, -0.1875, 65504.0])),
        "meta": maybe({"b": maybe({"deep": maybe([maybe(j) for j in range(i % 4)])}), "a": maybe(word())}),
    }


rows = [row(i) for i in range(60)]
table = pa.Table.from_pylist(rows, schema=schema)
variants = {
    "snappy": {"compression": "snappy", "row_group_size": 17},
    "gzip": {"compression": "gzip"},
    "zstd-v2": {"compression": "zstd", "data_page_version": "2.0", "row_group_size": 25},
    "lz4": {"compression": "lz4", "use_dictionary": False},
    "plain-pages": {"compression": "none", "use_dictionary": False, "data_page_size": 100, "write_batch_size": 7},
    "delta-v2": {
        "compression": "snappy", "data_page_version": "2.0", "use_dictionary": False,
        "column_encoding": {
            "zebra": "DELTA_BINARY_PACKED", "count": "DELTA_BINARY_PACKED", "long": "DELTA_BYTE_ARRAY", "always": "DELTA_BYTE_ARRAY",
            "messages.list.element.content": "DELTA_LENGTH_BYTE_ARRAY", "score": "BYTE_STREAM_SPLIT", "small": "BYTE_STREAM_SPLIT",
            "byte": "DELTA_BINARY_PACKED", "ok": "RLE",
        },
    },
    "old-lists": {"compression": "none", "use_compliant_nested_type": False, "version": "1.0"},
}
for name, how in variants.items():
    pq.write_table(table, f"{name}.parquet", **how)




def dump(name, table):
    with open(name, "w") as f:
        for r in table.to_pylist():
            f.write(json.dumps(r, ensure_ascii=False, default=str) + "\n")


dump("rows.jsonl", pq.read_table("snappy.parquet"))
for name in variants:
    a, b = pq.read_table(f"{name}.parquet").to_pylist(), pq.read_table("snappy.parquet").to_pylist()
    assert json.dumps(a, default=str) == json.dumps(b, default=str), name

times = pa.table({
    "day": pa.array([datetime.date(2024, 2, 29), None, datetime.date(1901, 1, 1)]),
    "ms": pa.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 400000), datetime.datetime(1969, 1, 1), None], pa.timestamp("ms")),
    "us": pa.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.datetime(1969, 1, 1), None], pa.timestamp("us")),
    "ns": pa.array([datetime.datetime(2024, 2, 29, 1, 2, 3, 4), datetime.datetime(1969, 1, 1), None], pa.timestamp("ns")),
})
pq.write_table(times, "times.parquet")
dump("times.jsonl", pq.read_table("times.parquet").cast(pa.schema([("day", pa.date32()), ("ms", pa.timestamp("us")), ("us", pa.timestamp("us")), ("ns", pa.timestamp("us"))])))
pq.write_table(table.slice(0, 0), "empty.parquet")
pq.write_table(pa.table({"text": ["a"]}), "brotli.parquet", compression="brotli")
pq.write_table(pa.table({"text": [b"\xff\xfe"], "price": pa.array([1], pa.decimal128(5, 2))}), "odd.parquet")
many = pa.table({"text": [f"text {i}" for i in range(2000)], "id": list(range(2000))})
pq.write_table(many, "long.parquet", compression="zstd", row_group_size=700)
pq.write_table(pa.table({"text": [f"{i} " + "long " * 200_000 for i in range(60)]}), "wide.parquet", compression="zstd", compression_level=19)
