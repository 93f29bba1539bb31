#!/usr/bin/env python3
"""E2E with few examples by graft and by transformers + PEFT, on the same examples, batches, learning rates and held-out
prompts, and from the same values of what is trained: where an adapter is drawn at random, the peer's begins with graft's
draws. Both systems' texts are scored by the same code, graft's. Prints a line for each method, size, seed and side, then
the table over the seeds of what is finished so far (what is missing is told), where graft is below the peer by more than the
seeds' spread, and the ratio of the times of a step (the bar: at most a third of the peer's).

  bench/setup_peers
  bench/e2e.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data e2e/ --output bench/results/e2e.json \
    --methods lora prefix_tuning ia3 full --sizes 50 100 200 500 --seeds 3

All of it takes hours, so it goes on where it was stopped: --output keeps a row for each method, size, seed and side, with the
machine and the date, and the folder beside it graft's runs, whose examples and batches the peer takes. A slice is asked for
with --methods, --sizes, --first-seed, --seeds and --sides, e.g. on several machines, each with its own --output; --merge
takes their rows into one, and --table prints the table and runs nothing:

  bench/e2e.py --table --output bench/results/e2e.json --merge here.json there.json --sizes 50 100 200 500 --seeds 3

Times are compared where both sides ran on the same machine.
"""

import argparse
import contextlib
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

import both_sides

METRICS = ["bleu_e2e", "nist", "meteor", "rougeL_e2e", "cider_e2e"]
SIDES = ["graft", "peer"]
KEY = ("method", "size", "seed", "side")
# What the methods need beside the recipe e2e-cpu; learning rates of the sizes of the papers'.
SETTINGS = {
    "lora": ["method.options.rank=4", "method.options.alpha=32", "optimizer.lr=1e-3"],
    "prefix_tuning": ["method.options.length=10", "method.options.hidden=512", "optimizer.lr=1e-3"],
    "ia3": ["optimizer.lr=1e-2"],
    "full": ["optimizer.lr=5e-5"],
}
NO_PEER = {"full", "ia3"}  # asked of graft alone
DRAWN = {"lora", "prefix_tuning"}  # begin with random values


def arguments():
    parser = both_sides.parser(__doc__, "folder with E2E's valid.txt and test.txt", steps=200, needed="--table" not in sys.argv)
    parser.add_argument("--metrics", default=both_sides.HOUSE / "build/dev/graft_metrics_dump", help="scores the texts of both")
    parser.add_argument("--methods", nargs="+", default=["lora", "prefix_tuning"], choices=sorted(SETTINGS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[100], help="training examples")
    parser.add_argument("--sides", nargs="+", default=SIDES, choices=SIDES)
    parser.add_argument("--prompts", type=int, default=0, help="held-out prompts, 0: all 630")
    parser.add_argument("--runs", type=pathlib.Path, help="folder of graft's runs (default: beside --output, else for this time)")
    parser.add_argument("--merge", nargs="+", type=pathlib.Path, default=[], help="take the rows of these files up that are missing")
    parser.add_argument("--table", action="store_true", help="print the table of what is finished, run nothing")
    return parser.parse_args()


def scored(options, texts, references):
    cases = "".join(json.dumps([text, references[key]]) + "\n" for key, text in texts.items())
    done = subprocess.run([options.metrics, "scores"], input=cases, check=True, stdout=subprocess.PIPE, text=True)
    values = json.loads(done.stdout)
    return {metric: values[metric]["corpus"] for metric in METRICS}


def has_ended(folder):
    summary = folder / "summary.json"
    return summary.exists() and "after" in json.loads(summary.read_text())


def tune(options, case, folder, prompts, settings=(), steps=None):
    words = [word for setting in (*SETTINGS[case["method"]], *settings) for word in ("--set", setting)]
    return both_sides.tune(options, folder, case["seed"], "--task", "e2e", "--recipe", "e2e-cpu", "--method", case["method"],
                           "--shots", str(case["size"]), "--eval-rows", str(prompts), *words, steps=steps)


def graft_run(options, case, folder):
    """The summary of graft's run, which is made, or goes on, where it has not ended."""
    if has_ended(folder):
        return both_sides.tuned(folder)
    summary = tune(options, case, folder, options.prompts)
    for heavy in ("model", "state"):  # a whole model for each run of the method full
        shutil.rmtree(folder / heavy, ignore_errors=True)
    return summary


def run_graft(options, case, folder):
    summary = graft_run(options, case, folder)
    predictions = both_sides.lines(folder / "predictions.jsonl")
    references = {row["id"]: row["references"] for row in predictions}
    of = lambda phase: scored(options, {row["id"]: row["output"] for row in predictions if row["phase"] == phase}, references)
    return {"scores": of("after"), "before": of("before"), "write_seconds": summary["after"]["seconds"],
            **{key: summary[key] for key in ("step_seconds", "all_step_seconds", "losses", "step_tokens", "peak_memory_bytes")}}


def start_of(options, case, folder):
    """A file with the values that graft's adapter begins with: the state of another run of the seed, behind one step that is
    too small to change them (LoRA's zeros become some 1e-31)."""
    file = folder / "start.safetensors"
    if not file.exists():
        with tempfile.TemporaryDirectory(prefix="graft-bench-") as work:
            run = pathlib.Path(work) / "start"
            tune(options, case, run, 1, ("optimizer.lr=1e-30", "optimizer.weight_decay=0"), steps=1)
            shutil.move(run / "state" / "state.safetensors", file)
    return file


def run_peer(options, case, folder):
    graft_run(options, case, folder)
    texts = folder / "peer.jsonl"
    start = ["--start", start_of(options, case, folder)] if case["method"] in DRAWN else []
    summary = both_sides.peer(options, "e2e_peer.py", folder, "--output", texts, *start)["summary"]
    references = {row["id"]: row["references"] for row in both_sides.lines(folder / "predictions.jsonl")}
    return {"scores": scored(options, {row["id"]: row["output"] for row in both_sides.lines(texts)}, references),
            "same_start": True,
            **{key: summary[key] for key in ("step_seconds", "all_step_seconds", "losses", "write_seconds", "peak_memory_bytes")}}


def measure(options, case, runs):
    folder = runs / f"{case['method']}-{case['size']}-{case['seed']}"
    side = run_graft if case["side"] == "graft" else run_peer
    return both_sides.stamped(**case, steps=options.steps, prompts=options.prompts, **side(options, case, folder))


def show(row):
    values = "  ".join(f"{metric} {row['scores'][metric]:.4g}" for metric in METRICS)
    print(f"{row['method']:13} {row['size']:4} examples  seed {row['seed']}  {row['side']:5}  {values}  "
          f"{row['step_seconds']:.2f} s/step  {row['write_seconds']:.0f} s to write  "
          f"{row['peak_memory_bytes'] / 2**30:.2f} GiB", flush=True)


def cases(options):
    return [dict(zip(KEY, (method, size, seed, side)))
            for method in options.methods for size in options.sizes for seed in both_sides.seeds(options)
            for side in options.sides if side == "graft" or method not in NO_PEER]


def row_of(rows, case):
    return next((row for row in rows if all(row[key] == case[key] for key in KEY)), None)


def refuse_others(options, rows):
    """Rows of other steps or prompts, and a peer's that began with draws of its own, are of another table."""
    if any(row["side"] == "peer" and not row.get("same_start") for row in rows):
        sys.exit("e2e.py: a kept row of the peer is of an earlier version, where it began with other values than graft; give "
                 "another --output")
    wanted = {"steps": options.steps, "prompts": options.prompts}
    for row in rows:
        for name, value in wanted.items():
            if row[name] != value:
                sys.exit(f"e2e.py: a kept row is of {row[name]} {name} and {value} are asked for; give --{name} {row[name]}, or "
                         "another --output")


def merged(options, rows):
    for file in options.merge:
        rows += [row for row in json.loads(file.read_text()) if row_of(rows, row) is None]
    return rows


def cell(values):
    """Mean, and lowest to highest where there are several."""
    if not values:
        return "missing"
    spread = f" ({min(values):.4g} to {max(values):.4g})" if len(values) > 1 else ""
    return f"{statistics.mean(values):.4g}{spread}"


def told_seeds(options, found):
    missing = [seed for seed in both_sides.seeds(options) if seed not in found]
    return f"{len(found)} of {options.seeds}" + (f", missing {', '.join(map(str, missing))}" if missing else "")


def table(options, rows):
    print(f"\n| method | examples | side | {' | '.join(METRICS)} | s a step | seeds |\n|{' --- |' * (len(METRICS) + 5)}")
    wanted = [dict(zip(("method", "size", "side"), key)) for key in
              dict.fromkeys((case["method"], case["size"], case["side"]) for case in cases(options))]
    for group in wanted:
        found = {case["seed"]: row for case in cases(options)
                 if group.items() <= case.items() and (row := row_of(rows, case)) is not None}
        values = [cell([row["scores"][metric] for row in found.values()]) for metric in METRICS]
        step = cell([row["step_seconds"] for row in found.values()])
        print("| " + " | ".join([group["method"], str(group["size"]), group["side"], *values, step,
                                 told_seeds(options, found)]) + " |")


def pairs(options, rows):
    """(method, size) → the rows of both sides, of seeds that both have."""
    found = {}
    for case in cases(options):
        both = [row_of(rows, {**case, "side": side}) for side in SIDES]
        if case["side"] == "graft" and None not in both:
            found.setdefault((case["method"], case["size"]), []).append(both)
    return found


def below(options, rows):
    """Where graft's mean is below the peer's by more than the seeds' spread, the wider of both sides'."""
    worse = []
    for (method, size), both in pairs(options, rows).items():
        for metric in METRICS:
            mine, theirs = ([side["scores"][metric] for side in one] for one in zip(*both))
            spread = max(max(values) - min(values) for values in (mine, theirs))
            if len(both) > 1 and not statistics.mean(mine) >= statistics.mean(theirs) - spread:  # nor where one is no number
                worse.append(f"{method}, {size} examples: {metric} {statistics.mean(mine):.4g}, the peer's "
                             f"{statistics.mean(theirs):.4g}, spread {spread:.4g}")
    compared = sum(len(both) > 1 for both in pairs(options, rows).values())
    print(f"\ngraft below the peer by more than the seeds' spread, in {compared} pairs of rows with several seeds: "
          + ("; ".join(worse) or "nowhere"))


def ratios(options, rows):
    """graft bench times LoRA and no prefixes, on this machine alone."""
    both = [pair for some in pairs(options, rows).values() for pair in some if pair[0]["machine"] == pair[1]["machine"]]
    here = both_sides.machine()
    limits = {}
    if not options.table and any(pair[0]["method"] == "lora" and pair[0]["machine"] == here for pair in both):
        limits = both_sides.limits(options, options.model, "--only", "lora", "--task", "e2e", "--data", options.data,
                                   "--recipe", "e2e-cpu")
    for graft, peer in both:
        limit = limits.get(graft["method"]) if graft["machine"] == here else None
        what = f"{graft['method']}, {graft['size']} examples, seed {graft['seed']}"
        if "losses" in graft:
            both_sides.tell_gaps(what, graft["losses"], peer["losses"])
        both_sides.compared_steps(what, graft, peer, limit)
    for name in sorted({row["machine"] for row in rows}):
        dates = sorted(row["date"] for row in rows if row["machine"] == name)
        print(f"measured on {name}, {dates[0]} to {dates[-1]}")


@contextlib.contextmanager
def run_folder(options):
    """Kept beside the figures: what was stopped goes on, and the peer finds graft's runs."""
    kept = options.runs or (options.output.with_suffix(".runs") if options.output else None)
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="graft-bench-") as folder:
            yield pathlib.Path(folder)
        return
    kept.mkdir(parents=True, exist_ok=True)
    yield kept


def fill(options, rows):
    with run_folder(options) as runs:
        for case in cases(options):
            if row_of(rows, case) is None:
                rows.append(measure(options, case, runs))
                both_sides.keep(options, rows)
            show(row_of(rows, case))


def main():
    options = arguments()
    rows = merged(options, both_sides.kept(options))
    refuse_others(options, rows)
    if options.merge:
        both_sides.keep(options, rows)
    if not options.table:
        fill(options, rows)
    table(options, rows)
    below(options, rows)
    ratios(options, rows)


if __name__ == "__main__":
    sys.exit(main())
