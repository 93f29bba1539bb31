#!/usr/bin/env python3
"""Deduplication and the contamination check by graft and by Python (datasketch's MinHashLSH; a set of 13-grams), in turn, over
the same corpus: real paragraphs in random order, with near duplicates, chains of them, and pieces of an evaluation planted.
Both sides have to keep and find exactly what was planted, else the benchmark ends; then it prints megabytes a second, ratio
and peak memory. graft's seconds are those of the whole process, the peer's without what Python takes to start. One thread each.

  bench/setup_peers
  bench/data.py --data bbcnews/data --output data.json

--output keeps all figures as JSON and goes on from there when the benchmark was interrupted.
"""

import argparse
import itertools
import json
import pathlib
import subprocess
import sys
import time

import both_sides
import planted

HASHES, THRESHOLD, SHINGLE = 128, 0.8, 5
BANDS, ROWS = 16, 8  # what graft makes of these, and prints
KEY = ("what", "side", "round", "megabytes", "seed")


def arguments():
    house = both_sides.HOUSE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder with texts as .txt files, BBC News for one")
    parser.add_argument("--megabytes", type=int, default=50, help="of each corpus (default: 50)")
    parser.add_argument("--rounds", type=int, default=3, help="how often each side has its turn")
    parser.add_argument("--seed", type=int, default=0, help="of the corpora")
    parser.add_argument("--peer-python", default=house / ".deps/peers/bin/python", help="that bench/setup_peers made")
    parser.add_argument("--graft", default=house / "build/dev/bin/graft", help="the command that is measured")
    parser.add_argument("--work", type=pathlib.Path, default=house / "build/bench/data", help="for the corpora and what is made of them")
    parser.add_argument("--output", type=pathlib.Path, help="keep all figures in this JSON file; what it holds is not run again")
    return parser.parse_args()


def plant(options):
    """In a process of its own: one that is started shows at the least the memory of the one that starts it."""
    subprocess.run([sys.executable, both_sides.HOUSE / "bench/planted.py", options.work, "--data", options.data, "--megabytes",
                    str(options.megabytes), "--seed", str(options.seed)], check=True)


def graft(options, *command):
    """The seconds of the whole process, and its peak memory."""
    began = time.perf_counter()
    peak = both_sides.peak_of([options.graft, "--quiet", "data", *command])
    return {"seconds": time.perf_counter() - began, "peak_memory_bytes": peak}


def peer(options, *command):
    done = subprocess.run([options.peer_python, both_sides.HOUSE / "bench/peers/data_peer.py", *map(str, command)], check=True,
                          stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def texts(file):
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


def dedup(options, side):
    """Figures, and what stayed as texts, in order."""
    kept = options.work / f"kept-{side}.jsonl"
    kept.unlink(missing_ok=True)
    command = ["dedup", options.work / "dedup.jsonl", "--output", kept, "--hashes", HASHES, "--threshold", THRESHOLD, "--shingle", SHINGLE]
    figures = graft(options, *command) if side == "graft" else peer(options, *command, "--bands", BANDS, "--rows", ROWS)
    return figures, texts(kept), texts(options.work / "dedup-wanted.jsonl")


def contamination(options, side):
    """Figures, and the numbers of the dirty examples."""
    train, asked, found = (options.work / name for name in ("train.jsonl", "eval.jsonl", f"seen-{side}"))
    settings = ["--eval", asked, "--output", found, "--common", planted.COMMON]
    if side == "graft":
        figures = graft(options, "contamination", "--train", train, *settings, "--ngram", planted.ORDER)
        dirty = [int(line["where"].rsplit(":", 1)[1]) - 1 for line in both_sides.lines(found / "dirty.jsonl")]
    else:
        figures = peer(options, "contamination", train, *settings, "--order", planted.ORDER)
        dirty = json.loads(found.read_text())
    return figures, dirty, json.loads((options.work / "eval-wanted.json").read_text())


# Of each the corpus whose bytes count, and what measures a side.
WORK = {"dedup": ("dedup.jsonl", dedup), "contamination": ("train.jsonl", contamination)}


def check(what, side, found, wanted):
    """Ends the benchmark where a side gives something else than was planted: its rate would say nothing."""
    for place, (one, other) in enumerate(itertools.zip_longest(found, wanted)):
        if one != other:
            sys.exit(f"data.py: {what}: at place {place + 1} of what was planted {side} gives {str(one)[:200]!r} and not "
                     f"{str(other)[:200]!r}")


def measured(options, what, rows):
    """All rounds of both sides, in turn; those that are kept are taken."""
    corpus, measure = WORK[what]
    for turn in range(options.rounds):
        for side in ("graft", "peer"):
            key = dict(zip(KEY, (what, side, turn, options.megabytes, options.seed)))
            row = next((row for row in rows if all(row[name] == value for name, value in key.items())), None)
            if row is None:
                figures, found, wanted = measure(options, side)
                check(what, side, found, wanted)
                row = both_sides.stamped(**key, bytes=(options.work / corpus).stat().st_size, **figures)
                rows.append(row)
                both_sides.keep(options, rows)
            yield row


def main():
    options = arguments()
    plant(options)
    rows = both_sides.kept(options)
    for what in WORK:
        done = list(measured(options, what, rows))
        sides = [[row for row in done if row["side"] == side] for side in ("graft", "peer")]
        rates = [[row["bytes"] / 1e6 / row["seconds"] for row in side] for side in sides]
        both_sides.compared(what, "MB/s", *rates, memory=[max(row["peak_memory_bytes"] for row in side) for side in sides])


if __name__ == "__main__":
    main()
