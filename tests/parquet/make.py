#!/usr/bin/env python3
"""Writes the Parquet files of this folder, which tests read: python3 tests/parquet/make.py, with pyarrow 26.0.1.

They are kept, so that tests need no pyarrow of Python's, only the libraries in it.
"""

import datetime
import decimal
import json
import pathlib

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).parent


def with_notes(table, classes):
    """What Hugging Face's `datasets` notes of its columns: here only the names of classes."""
    features = {column: {"names": names, "_type": "ClassLabel"} for column, names in classes.items()}
    features["text"] = {"dtype": "string", "_type": "Value"}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def types():
    """Every kind of value, nulls among them, in two row groups."""
    texts, entry = pa.list_(pa.string()), pa.struct([("role", pa.string()), ("content", pa.string())])
    answers = pa.struct([("text", texts), ("answer_start", pa.list_(pa.int32()))])
    image = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {
        "text": pa.array(['a "b"\n\\ é', "", None]),
        "label": pa.array([0, 1, -1], pa.int64()),
        "answers": pa.array(
            [{"text": ["x", "y"], "answer_start": [1, 2]}, {"text": [], "answer_start": []}, None], answers
        ),
        "turns": pa.array([[{"role": "user", "content": "hi"}], [], [{"role": "bot", "content": None}]], pa.list_(entry)),
        "image": pa.array(
            [{"bytes": b"\xff\xd8", "path": "a.jpg"}, {"bytes": None, "path": None}, {"bytes": b"", "path": "c.jpg"}],
            image,
        ),
        "sound": pa.array([b"RIFF", b"", None]),
        "tiny": pa.array([-128, 127, 0], pa.int8()),
        "huge": pa.array([2**64 - 1, 0, 1], pa.uint64()),
        "single": pa.array([0.1, 5, float("nan")], pa.float32()),
        "double": pa.array([1e300, -2.5, float("inf")]),
        "half": pa.array([0.5, 1, 2], pa.float16()),
        "flag": pa.array([True, False, None]),
        "day": pa.array([datetime.date(2024, 5, 1), None, None]),
        "time": pa.array([datetime.datetime(2024, 5, 1, 12, 30)] * 3, pa.timestamp("us")),
        "price": pa.array([decimal.Decimal("12.50")] * 3, pa.decimal128(10, 2)),
        "kind": pa.array(["u", "v", "u"]).dictionary_encode(),
        "map": pa.array([[("k", 1)], [], None], pa.map_(pa.string(), pa.int32())),
        "pair": pa.array([[1, 2], [3, 4], [5, 6]], pa.list_(pa.int8(), 2)),
        "nothing": pa.nulls(3),
    }
    table = with_notes(pa.table(columns), {"label": ["negative", "positive"]})
    pq.write_table(table, HERE / "types.parquet", row_group_size=2, compression="zstd")


def codings():
    """A column for each way in which values are packed or compressed. Its rows are those of one column."""
    packed = {"snappy": "SNAPPY", "gzip": "GZIP", "brotli": "BROTLI", "lz4": "LZ4", "zstd": "ZSTD", "none": "NONE"}
    encoded = {"delta": "DELTA_BYTE_ARRAY", "lengths": "DELTA_LENGTH_BYTE_ARRAY", "plain": "PLAIN"}
    values = pa.array([f"value {i % 7}" for i in range(50)])
    table = pa.table({name: values for name in [*packed, *encoded]})
    pq.write_table(
        table,
        HERE / "codings.parquet",
        compression={**packed, **{name: "NONE" for name in encoded}},
        use_dictionary=list(packed),
        column_encoding=encoded,
        store_schema=False,
        write_statistics=False,
    )


def reviews():
    """A data set in two parts, as hubs keep it."""
    for part in range(2):
        rows = range(300 * part, 300 * part + 300)
        table = pa.table(
            {"text": [f"review {i}: {'good' if i % 2 else 'bad'}" for i in rows], "label": [i % 2 for i in rows]}
        )
        table = with_notes(table, {"label": ["negative", "positive"]})
        name = f"train-0000{part}-of-00002.parquet"
        pq.write_table(table, HERE / name, row_group_size=200, compression="zstd", use_dictionary=False)


def odd():
    """No row; no column but bytes; text that is no UTF-8."""
    pq.write_table(pa.table({"text": pa.array([], pa.string())}), HERE / "empty.parquet", compression="none")
    pq.write_table(pa.table({"bytes": [b"\xff"]}), HERE / "bytes.parquet", compression="none")
    latin = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(b"\0\0\0\0\4\0\0\0\7\0\0\0"), pa.py_buffer(b"caf\xe9tea")]
    )
    pq.write_table(pa.table({"text": latin}), HERE / "latin1.parquet", compression="none", write_statistics=False)


if __name__ == "__main__":
    types()
    codings()
    reviews()
    odd()
