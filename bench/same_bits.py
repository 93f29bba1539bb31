#!/usr/bin/env python3
"""Whether a question's scores are the same bits alone, in batches of any size and in any order, in float32 and bfloat16,
on one thread and on two. Asks Banking77's intents among four, with an adapter where one is given; fails where one
log-probability of one choice differs.

  bench/same_bits.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data banking77/ --rows 500
"""

import argparse
import csv
import os
import pathlib
import random
import subprocess
import sys
import tempfile

import both_sides

CHOICES = ["card arrival", "card linking", "exchange rate", "card not working"]
TASK = """name: four_intents
format: csv
splits: {test: rows.csv}
label: category
labels: [card_arrival, card_linking, exchange_rate, card_not_working]
templates:
  - name: intent
    prompt: "Customer: {text}\\nWhat is it about?"
    choices: [" card arrival", " card linking", " exchange rate", " card not working"]
"""


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=".gguf file or folder")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder with Banking77's test.csv and train.csv")
    parser.add_argument("--adapter", help="beside the base model")
    parser.add_argument("--graft", default=both_sides.HOUSE / "build/dev/bin/graft")
    parser.add_argument("--rows", type=int, default=500)
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="each is compared with itself")
    return parser.parse_args()


def questions(options):
    rows = []
    for name in ("test.csv", "train.csv"):
        with open(options.data / name, encoding="utf-8", newline="") as opened:
            rows += [row for row in csv.DictReader(opened) if row["category"].replace("_", " ") in CHOICES]
    texts = {row["text"]: row for row in rows}
    return list(texts.values())[:options.rows]


def scored(options, folder, rows, dtype, threads, batch_tokens):
    """Log-probabilities by setting and question."""
    folder.mkdir()
    (folder / "task.yaml").write_text(TASK)
    with open(folder / "rows.csv", "w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, ["text", "category"])
        writer.writeheader()
        writer.writerows(rows)
    adapter = ["--adapter", options.adapter] if options.adapter else []
    subprocess.run([options.graft, "--quiet", "eval", "--model", options.model, "--task", folder / "task.yaml", "--data", folder,
                    "--shots", "0", "--normalisation", "none", "--dtype", dtype, "--batch-tokens", str(batch_tokens),
                    "--output", folder / "run", "--scores", folder / "scores", *adapter], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    return {(line["setting"], line["id"]): line["scores"] for line in both_sides.lines(folder / "run/predictions.jsonl")}


def main():
    options = arguments()
    rows = questions(options)
    shuffled = random.Random(0).sample(rows, len(rows))
    tokens = 40  # of a question with its choices, about
    differing = 0
    with tempfile.TemporaryDirectory() as work:
        for dtype in options.dtypes:
            for threads in options.threads:
                alone = scored(options, pathlib.Path(work) / f"{dtype}-{threads}-1", rows, dtype, threads, 1)
                for size in (2, 8, 64):
                    got = scored(options, pathlib.Path(work) / f"{dtype}-{threads}-{size}", shuffled, dtype, threads, size * tokens)
                    assert got.keys() == alone.keys()
                    others = sum(a != b for key in alone for a, b in zip(alone[key], got[key]))
                    differing += others
                    print(f"{dtype}, {threads} thread{'s' * (threads > 1)}, batches of about {size}, shuffled: {len(alone)} questions, "
                          f"{others} differing log-probabilities", flush=True)
    sys.exit(f"{differing} log-probabilities differ" if differing else 0)


if __name__ == "__main__":
    main()
