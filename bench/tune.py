#!/usr/bin/env python3
"""The quick start's job by graft and by transformers + PEFT, one after the other for each seed, on the same examples,
batches, losses, optimiser and learning rates. Prints a line a seed and system, then medians, interquartile ranges, shares
of the machine's limit and ratios; --output keeps them as JSON, and goes on from there when the benchmark was interrupted.

  bench/setup_peers
  bench/tune.py --model .deps/quickstart/…/SmolLM2-135M-Instruct.Q4_1.gguf --data .deps/quickstart/…/bbcnews/data --seeds 5
"""

import pathlib
import shutil
import sys
import tempfile

import both_sides


def arguments():
    parser = both_sides.parser(__doc__, "BBC News, one folder per topic", steps=60)
    parser.add_argument("--rows", type=int, default=200)
    return parser.parse_args()


def run_graft(options, seed, folder):
    summary = both_sides.tune(options, folder, seed, "--task", "bbc_news", "--shots", "8", "--eval-rows", str(options.rows),
                              "--recipe", "tfew-cpu")
    return {**figures(options, summary["before"], summary["after"], summary), "step_tokens": summary["step_tokens"]}


def run_peer(options, folder):
    events = both_sides.peer(options, "tfew_peer.py", folder)
    return figures(options, events["before"], events["after"], events["summary"])


def figures(options, before, after, summary):
    keys = ("step_seconds", "all_step_seconds", "peak_memory_bytes")
    return {"before": before["accuracy"], "after": after["accuracy"], **{key: summary[key] for key in keys},
            "examples_per_second": 2 * options.rows / (before["seconds"] + after["seconds"])}


def measure(options, seed):
    work = pathlib.Path(tempfile.mkdtemp(prefix="graft-bench-"))
    try:
        row = {"seed": seed, "graft": run_graft(options, seed, work / "run")}
        show(row, "graft")
        row["peer"] = run_peer(options, work / "run")
        show(row, "peer")
        return row
    finally:
        shutil.rmtree(work)


def show(row, name):
    it = row[name]
    print(f"seed {row['seed']}  {name:5}  accuracy {it['before']:.1%} -> {it['after']:.1%}  {it['step_seconds']:6.2f} s/step"
          f"  {it['examples_per_second']:6.2f} examples/s  {it['peak_memory_bytes'] / 2**30:5.2f} GiB", flush=True)


def close(options, rows):
    for name in ("graft", "peer"):
        low, middle, high = both_sides.quartiles([row[name]["after"] for row in rows])
        print(f"{name:5}  accuracy after: median {middle:.1%}, interquartile range {low:.1%} to {high:.1%}, {len(rows)} seeds")
    limits = both_sides.limits(options, options.model, "--only", "ia3,score", "--task", "bbc_news", "--data", options.data)
    for row in rows:
        both_sides.compared_steps(f"seed {row['seed']}, training", row["graft"], row["peer"], limits.get("ia3"))
    rates = [[row[name]["examples_per_second"] for row in rows] for name in ("graft", "peer")]
    both_sides.compared("evaluation", "examples a second", *rates, limit=both_sides.limit_of(limits.get("score"), "questions"))


def main():
    options = arguments()
    rows = both_sides.kept(options)
    for row in rows:
        show(row, "graft")
        show(row, "peer")
    for seed in both_sides.seeds(options):
        if all(row["seed"] != seed for row in rows):
            rows.append(measure(options, seed))
            both_sides.keep(options, rows)
    close(options, rows)


if __name__ == "__main__":
    sys.exit(main())
