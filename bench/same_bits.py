#!/usr/bin/env python3
"""Whether a question's scores are the same bits alone, in batches of any size and in any order, by a command that asks all
questions and by one that asks few or one, in float32 and bfloat16, on one thread and on two. Asks Banking77's intents among
four, behind demonstrations too (--shots) and with an adapter where one is given; fails where one log-probability of one
choice differs.

  bench/same_bits.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data banking77/ --rows 500
  bench/same_bits.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data banking77/ --rows 500 --shots 8
"""

import argparse
import csv
import itertools
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
splits: {train: shown.csv, test: rows.csv}
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
    parser.add_argument("--shots", type=int, default=0, help="demonstrations in front of every question, beside a row without")
    parser.add_argument("--dtypes", nargs="+", default=["float32", "bfloat16"], choices=["float32", "bfloat16"])
    parser.add_argument("--threads", nargs="+", type=int, default=[1, 2], help="each is compared with itself")
    return parser.parse_args()


def questions(options):
    """The rows that are asked, and those that are shown."""
    rows = []
    for name in ("test.csv", "train.csv"):
        with open(options.data / name, encoding="utf-8", newline="") as opened:
            rows += [row for row in csv.DictReader(opened) if row["category"].replace("_", " ") in CHOICES]
    texts = list({row["text"]: row for row in rows}.values())
    shown = random.Random(1).sample(texts, options.shots)
    asked = [row for row in texts if row not in shown][:options.rows]
    if len(asked) < options.rows:
        sys.exit(f"{options.data} has {len(asked)} questions beside {options.shots} demonstrations; ask for fewer --rows")
    return asked, shown


def write_rows(file, rows):
    with open(file, "w", encoding="utf-8", newline="") as opened:
        writer = csv.DictWriter(opened, ["text", "category"])
        writer.writeheader()
        writer.writerows(rows)


def parts(rows):
    """What a command each asks: one question, another, few, more, and the rest."""
    ends = [0, *(end for end in (1, 2, 9, 73) if end < len(rows)), len(rows)]
    return [rows[begin:end] for begin, end in zip(ends, ends[1:])]


def scored(options, folder, rows, shown, dtype, threads, batch_tokens):
    """Log-probabilities by setting and question, as one command has them."""
    folder.mkdir()
    (folder / "task.yaml").write_text(TASK)
    write_rows(folder / "rows.csv", rows)
    write_rows(folder / "shown.csv", shown)
    demonstrations = ["--demonstrations", "fixed"] if options.shots else []
    adapter = ["--adapter", options.adapter] if options.adapter else []
    subprocess.run([options.graft, "--quiet", "eval", "--model", options.model, "--task", folder / "task.yaml", "--data", folder,
                    "--shots", str(options.shots), *demonstrations, "--normalisation", "none", "--dtype", dtype, "--batch-tokens", str(batch_tokens),
                    "--output", folder / "run", "--scores", folder / "scores", *adapter], check=True, stdout=subprocess.DEVNULL,
                   env={**os.environ, "OMP_NUM_THREADS": str(threads)})
    return {(line["setting"], line["id"]): line["scores"] for line in both_sides.lines(folder / "run/predictions.jsonl")}


def differing(alone, got):
    assert got.keys() == alone.keys()
    return sum(a != b for key in alone for a, b in zip(alone[key], got[key]))


def ways(ask, rows):
    """Scores of all questions, each in a batch of its own, and then what is to have the same: what it is, and its scores."""
    tokens = 40  # of a question with its choices, about
    shuffled = random.Random(0).sample(rows, len(rows))
    yield "alone", ask("alone", rows, 1)
    for size in (2, 8, 64):
        yield f"batches of about {size}, shuffled", ask(f"batches-{size}", shuffled, size * tokens)
    together = {}
    for place, part in enumerate(parts(shuffled)):
        together.update(ask(f"part-{place}", part, 8 * tokens))
    yield f"commands of {', '.join(str(len(part)) for part in parts(rows))}", together


def main():
    options = arguments()
    rows, shown = questions(options)
    total = 0
    with tempfile.TemporaryDirectory() as work:
        for dtype, threads in itertools.product(options.dtypes, options.threads):
            def ask(name, asked, batch_tokens, dtype=dtype, threads=threads):
                folder = pathlib.Path(work) / f"{dtype}-{threads}-{name}"
                return scored(options, folder, asked, shown, dtype, threads, batch_tokens)

            (_, alone), *others = ways(ask, rows)
            for what, got in others:
                count = differing(alone, got)
                total += count
                print(f"{dtype}, {threads} thread{'s' * (threads > 1)}, {what}: {len(alone)} scored questions, "
                      f"{count} differing log-probabilities", flush=True)
    sys.exit(f"{total} log-probabilities differ" if total else 0)


if __name__ == "__main__":
    main()
