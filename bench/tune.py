#!/usr/bin/env python3
"""The quick start's job by graft and by transformers + PEFT, one after the other for each seed, on the same examples,
batches, losses, optimiser and learning rates. Prints a line a seed and system, then medians, interquartile ranges and
ratios; --output keeps them as JSON, and goes on from there when the benchmark was interrupted.

  bench/setup_peers
  bench/tune.py --model .deps/quickstart/…/SmolLM2-135M-Instruct.Q4_1.gguf --data .deps/quickstart/…/bbcnews/data --seeds 5
"""

import pathlib
import shutil
import statistics
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
    return figures(options, summary["before"], summary["after"], summary)


def run_peer(options, folder):
    events = both_sides.peer(options, "tfew_peer.py", folder)
    return figures(options, events["before"], events["after"], events["summary"])


def figures(options, before, after, summary):
    return {"before": before["accuracy"], "after": after["accuracy"], "step_seconds": summary["step_seconds"],
            "examples_per_second": 2 * options.rows / (before["seconds"] + after["seconds"]),
            "peak_memory_bytes": summary["peak_memory_bytes"]}


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


def quartiles(values):
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def close(rows):
    for name in ("graft", "peer"):
        low, middle, high = quartiles([row[name]["after"] for row in rows])
        print(f"{name:5}  accuracy after: median {middle:.1%}, interquartile range {low:.1%} to {high:.1%}, {len(rows)} seeds")
    median = lambda name, key: statistics.median(row[name][key] for row in rows)
    print(f"graft / peer: step rate {median('peer', 'step_seconds') / median('graft', 'step_seconds'):.2f}x, "
          f"evaluation rate {median('graft', 'examples_per_second') / median('peer', 'examples_per_second'):.2f}x, "
          f"peak memory {median('graft', 'peak_memory_bytes') / median('peer', 'peak_memory_bytes'):.2f}x")


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
    close(rows)


if __name__ == "__main__":
    sys.exit(main())
