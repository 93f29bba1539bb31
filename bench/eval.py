#!/usr/bin/env python3
"""Evaluation by graft and by lm-evaluation-harness 0.4.13, one after the other, on the same weights, the same questions and
the same prompts, which graft renders and the harness reads from graft's samples. Prints a line for each task and side:
questions a second, accuracy; then for each task the share of equal predictions in float32, the largest gap of a
log-probability and of a metric, and graft's rate in its standard setting beside the best of the harness's, with the ratio,
the shares of the machine's limit (in bfloat16) and the peak memory. --rounds repeats all of it in turn.

  bench/setup_peers
  bench/eval.py --data ../shared/data --rows 200 --output eval.json

--output keeps all figures as JSON and goes on from there when the benchmark was interrupted.
"""

import argparse
import csv
import json
import math
import os
import pathlib
import random
import shutil
import statistics
import subprocess
import sys
import time

import both_sides

LEAST_EQUAL = 0.995
STANDARD = "graft float32"  # what graft eval does when nothing is said
# The least ratio of rates that docs/benchmarks.md promises; what is not named here is only told.
LEAST_RATIO = {"four_words": 5, "four_letters": 5, "banking77": 20, "boolq_8": 3}

FOUR = """name: {name}
format: jsonl
splits: {{pool: .}}
label: label
labels: ["0", "1", "2", "3"]
templates:
  - prompt: "{prompt}"
    choices: [{choices}]
"""
LETTERS = "Customer: {text}\\nWhat is the question about?\\nA. {a}\\nB. {b}\\nC. {c}\\nD. {d}\\nAnswer:"
WORDS = "Customer: {text}\\nThe customer's question is about"


def arguments():
    house = both_sides.HOUSE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=house / ".deps/peers/smollm2", type=pathlib.Path, help="safetensors folder, for both")
    parser.add_argument("--data", default=os.environ.get("GRAFT_DATA", "../shared/data"), type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=200, help="questions of a task at most")
    parser.add_argument("--rate-rows", type=int, default=48, help="questions for the settings whose predictions are not compared")
    parser.add_argument("--rounds", type=int, default=1, help="how often each side has its turn")
    parser.add_argument("--tasks", nargs="+", default=list(TASKS), choices=list(TASKS))
    parser.add_argument("--peer-settings", nargs="+", default=["float32:8", "bfloat16:8", "bfloat16:16"],
                        help="dtype:batch size of the harness; the predictions of the first are compared")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--peer-python", default=house / ".deps/peers/bin/python")
    parser.add_argument("--graft", default=house / "build/dev/bin/graft")
    parser.add_argument("--work", type=pathlib.Path, default=house / "build/bench/eval", help="graft's runs and made data")
    parser.add_argument("--output", type=pathlib.Path, help="keep all figures in this JSON file; what it holds is not run again")
    return parser.parse_args()


def superglue(name):
    return lambda options: (name, f"{options.data}/tfew/{name}/*.jsonl")


def arithmetic(options):
    return "two_digit_addition", options.data / "gpt3-arithmetic/two_digit_addition.jsonl"


def banking(options):
    return "banking77", options.data / "banking77"


def four(name):
    """Questions of Banking77 with the right intent among four: the intents' words as choices, or letters."""

    def made(options):
        letters = name == "four_letters"
        choices = [f'" {letter}"' for letter in "ABCD"] if letters else [f'" {{{field}}}"' for field in "abcd"]
        folder = options.work / "data"
        folder.mkdir(parents=True, exist_ok=True)
        task, rows = folder / f"{name}.yaml", folder / "four.jsonl"
        task.write_text(FOUR.format(name=name, prompt=LETTERS if letters else WORDS, choices=", ".join(choices)))
        rows.write_text("".join(json.dumps(row) + "\n" for row in four_rows(options.data / "banking77/test.csv")))
        return task, rows

    return made


def four_rows(file):
    with open(file, encoding="utf-8", newline="") as opened:
        asked = list(csv.DictReader(opened))
    intents = sorted({row["category"] for row in asked})
    draw = random.Random(0)
    for row in asked:
        some = draw.sample([intent for intent in intents if intent != row["category"]], 3)
        label = draw.randrange(4)
        some.insert(label, row["category"])
        yield {"text": row["text"], "label": label, **{field: intent.replace("_", " ") for field, intent in zip("abcd", some)}}


# name: (task and data, demonstrations, tokens that the harness writes)
TASKS = {
    "rte": (superglue("rte"), 0, 0),
    "copa": (superglue("copa"), 0, 0),
    "four_words": (four("four_words"), 0, 0),
    "four_letters": (four("four_letters"), 0, 0),
    "banking77": (banking, 0, 0),
    "boolq_8": (superglue("boolq"), 8, 0),
    "addition_scored": (arithmetic, 0, 0),
    "addition_written": (arithmetic, 0, 8),
}


def graft(options, name, dtype, rows):
    """graft's run of a task from nothing: its figures, with the answers, and where its samples lie."""
    source, shots, _ = TASKS[name]
    task, data = source(options)
    folder = options.work / f"{name}-{dtype}"
    shutil.rmtree(folder, ignore_errors=True)
    command = [options.graft, "--quiet", "eval", "--model", options.model, "--task", task, "--data", data, "--eval-rows", rows,
               "--output", folder, "--scores", folder / "scores", "--output-format", "lm-eval", "--dtype", dtype]
    command += ["--shots", shots] if shots else []
    # The harness's text is compared with what greedy decoding would begin with: graft writes none.
    command += ["--metric", "token_perplexity"] if name.startswith("addition") else ["--normalisation", "none"]
    began = time.perf_counter()
    peak = both_sides.peak_of(command, env={**os.environ, "OMP_NUM_THREADS": str(options.threads)})
    whole = time.perf_counter() - began
    row = next(row for row in json.loads((folder / "results.json").read_text())["tasks"][0]["rows"] if row["shots"] == shots)
    return {"seconds": row["runs"][0]["seconds"], "whole_seconds": whole, "peak_memory_bytes": peak, **graft_answers(folder, shots)}


def graft_answers(folder, shots):
    setting = folder / "lm-eval" / f"{shots}-shot"
    found = next(iter(json.loads(next(setting.glob("results_*.json")).read_text())["results"].values()))
    answers = []
    samples = both_sides.lines(samples_of(folder, shots))
    for sample in samples:
        scores = [float(response[0]) for response in sample["filtered_resps"]]
        choice = scores.index(max(scores)) if "choices" in sample["doc"] else int(sample["acc"])
        answers.append({"id": sample["doc"]["id"], "prediction": choice, "scores": scores})
    metrics = {key.split(",")[0]: value for key, value in found.items() if key.endswith(",none") and "_stderr" not in key}
    return {"questions": len(answers), "metrics": metrics, "answers": answers}


def samples_of(folder, shots):
    return next((folder / "lm-eval" / f"{shots}-shot").glob("samples_*.jsonl"))


def peer(options, name, setting, limit):
    _, shots, write = TASKS[name]
    dtype, batch = setting.split(":")
    folder = options.work / f"{name}-float32"
    if not folder.exists():  # the figures were kept and the run was not
        graft(options, name, "float32", options.rows)
    command = [options.peer_python, both_sides.HOUSE / "bench/peers/lm_eval_peer.py", "--model", options.model, "--samples",
               samples_of(folder, shots), "--dtype", dtype, "--batch-size", batch, "--limit", limit, "--write", write,
               "--threads", options.threads]
    began = time.perf_counter()
    done = subprocess.run(list(map(str, command)), check=True, stdout=subprocess.PIPE, text=True)
    whole = time.perf_counter() - began
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    answers = [event for event in events if event["event"] == "answer"]
    return {**events[-1], "whole_seconds": whole, "answers": answers}


def sides(options):
    """Side → how to measure it. Every one runs alone."""
    found = {STANDARD: lambda name: graft(options, name, "float32", options.rows)}
    for number, setting in enumerate(options.peer_settings):
        limit = 0 if number == 0 else options.rate_rows
        found[f"lm-eval {setting}"] = lambda name, setting=setting, limit=limit: peer(options, name, setting, limit)
    found["graft bfloat16"] = lambda name: graft(options, name, "bfloat16", options.rows)
    return found


def show(row):
    figures = ", ".join(f"{name} {value:.4g}" for name, value in row["metrics"].items())
    print(f"{row['task']:17} {row['side']:20} {row['questions']:4} questions  {row['questions'] / row['seconds']:8.2f} questions/s  "
          f"{row['whole_seconds']:7.1f} s in all  {figures}", flush=True)


def rate(row):
    return row["questions"] / row["seconds"]


def largest(gaps):
    """0 of none; no number where one is none, which max() passes over."""
    gaps = list(gaps)
    return math.nan if any(map(math.isnan, gaps)) else max(gaps, default=0.0)


def compared(mine, theirs):
    """Share of equal predictions, the largest gaps of a log-probability and of a metric that both have."""
    pairs = list(zip(mine["answers"], theirs["answers"]))
    if len(mine["answers"]) != len(theirs["answers"]) or any(a["id"] != b["id"] for a, b in pairs):
        sys.exit(f"eval.py: {mine['task']}: the harness answered other questions; remove --output and --work, and run again")
    equal = sum(a["prediction"] == b["prediction"] for a, b in pairs) / len(pairs)
    gap = largest(abs(x - float(y)) for a, b in pairs for x, y in zip(a["scores"], b["scores"]))
    shared = mine["metrics"].keys() & theirs["metrics"].keys() - {"perplexity"}
    return equal, gap, largest(abs(mine["metrics"][name] - theirs["metrics"][name]) for name in shared)


def limit(options, name):
    """Questions a second that the machine allows; None behind demonstrations, which graft bench does not put in front."""
    source, shots, _ = TASKS[name]
    if shots:
        return None
    task, data = source(options)
    rows = both_sides.limits(options, options.model, "--only", "score", "--task", task, "--data", data, "--dtype", "bfloat16")
    return both_sides.limit_of(rows.get("score"), "questions")


def close(options, name, rows):
    """Prints what both sides give together; what is worse than promised."""
    of = {row["side"]: row for row in rows if row["task"] == name}
    rates = lambda side: [rate(row) for row in rows if (row["task"], row["side"]) == (name, side)]
    mine, theirs = of[STANDARD], of[f"lm-eval {options.peer_settings[0]}"]
    equal, gap, metric = compared(mine, theirs)
    best = max((side for side in of if side.startswith("lm-eval")), key=lambda side: statistics.median(rates(side)))
    print(f"{name:17} equal predictions {equal:.2%}, largest gap of a log-probability {gap:.2g}, of a metric {metric:.2g}")
    allowed = limit(options, name)
    beside = lambda side: both_sides.compared(f"{name}, {side} beside {best}", "questions a second", rates(side), rates(best),
                                              limit=allowed, memory=[of[one]["peak_memory_bytes"] for one in (side, best)])
    ratio = beside(STANDARD)
    beside("graft bfloat16")
    worse = []
    if options.peer_settings[0].startswith("float32") and equal < LEAST_EQUAL:
        worse.append(f"{name}: {equal:.2%} equal predictions")
    if ratio < LEAST_RATIO.get(name, 0):
        worse.append(f"{name}: {ratio:.1f} times the rate, not {LEAST_RATIO[name]}")
    return worse


def main():
    options = arguments()
    rows = both_sides.kept(options)
    worse = []
    turns = [(turn, *side) for turn in range(options.rounds) for side in sides(options).items()]
    for name in options.tasks:
        for turn, side, measure in turns:
            row = next((row for row in rows if (row["task"], row["side"], row["round"]) == (name, side, turn)), None)
            if row is None:
                row = {"task": name, "side": side, "round": turn, **measure(name)}
                rows.append(row)
                both_sides.keep(options, rows)
            show(row)
        worse += close(options, name, rows)
    if worse:
        sys.exit("eval.py: below what is promised: " + "; ".join(worse))


if __name__ == "__main__":
    main()
