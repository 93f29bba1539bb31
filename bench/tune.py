#!/usr/bin/env python3
"""The quick start's job by graft and by transformers + PEFT, one after the other for each seed, on the same examples,
batches, losses, optimiser and learning rates. Prints a line a seed and system, then medians, interquartile ranges and
ratios; --output keeps them as JSON.

  bench/setup_peers
  bench/tune.py --model .deps/quickstart/…/SmolLM2-135M-Instruct.Q4_1.gguf --data .deps/quickstart/…/bbcnews/data --seeds 5
"""

import argparse
import json
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile

HOUSE = pathlib.Path(__file__).resolve().parent.parent


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="for graft: .gguf file or folder")
    parser.add_argument("--data", required=True, help="BBC News, one folder per topic")
    parser.add_argument("--peer-model", default=HOUSE / ".deps/peers/smollm2", help="the same model as a safetensors folder")
    parser.add_argument("--peer-python", default=HOUSE / ".deps/peers/bin/python")
    parser.add_argument("--graft", default=HOUSE / "build/dev/bin/graft")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--rows", type=int, default=200)
    parser.add_argument("--output", type=pathlib.Path, help="write all figures to this JSON file")
    return parser.parse_args()


def run_graft(options, seed, folder):
    subprocess.run([options.graft, "--quiet", "tune", "--model", options.model, "--task", "bbc_news", "--data", options.data,
                    "--shots", "8", "--eval-rows", str(options.rows), "--seed", str(seed), "--steps", str(options.steps),
                    "--recipe", "tfew-cpu", "--output", folder], check=True, stdout=subprocess.DEVNULL)
    summary = json.loads((folder / "summary.json").read_text())
    clock = [0.0] + [json.loads(line)["seconds"] for line in open(folder / "metrics.jsonl")]
    return {"before": summary["before"]["accuracy"], "after": summary["after"]["accuracy"],
            "step_seconds": statistics.median(b - a for a, b in zip(clock, clock[1:])),
            "examples_per_second": 2 * options.rows / (summary["before"]["seconds"] + summary["after"]["seconds"]),
            "peak_memory_bytes": summary["peak_memory_bytes"]}


def run_peer(options, folder):
    done = subprocess.run([options.peer_python, HOUSE / "bench/peers/tfew_peer.py", "--model", options.peer_model,
                           "--run", folder], check=True, stdout=subprocess.PIPE, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    before, after, summary = (next(e for e in events if e["event"] == name) for name in ("before", "after", "summary"))
    return {"before": before["accuracy"], "after": after["accuracy"], "step_seconds": summary["step_seconds"],
            "examples_per_second": 2 * options.rows / (before["seconds"] + after["seconds"]),
            "peak_memory_bytes": summary["peak_memory_bytes"]}


def show(seed, name, figures):
    print(f"seed {seed}  {name:5}  accuracy {figures['before']:.1%} -> {figures['after']:.1%}  "
          f"{figures['step_seconds']:6.2f} s/step  {figures['examples_per_second']:6.2f} examples/s  "
          f"{figures['peak_memory_bytes'] / 2**30:5.2f} GiB", flush=True)


def quartiles(values):
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def close(results):
    for name, rows in results.items():
        low, middle, high = quartiles([row["after"] for row in rows])
        print(f"{name:5}  accuracy after: median {middle:.1%}, interquartile range {low:.1%} to {high:.1%}, {len(rows)} seeds")
    median = lambda name, key: statistics.median(row[key] for row in results[name])
    print(f"graft / peer: step rate {median('peer', 'step_seconds') / median('graft', 'step_seconds'):.2f}x, "
          f"evaluation rate {median('graft', 'examples_per_second') / median('peer', 'examples_per_second'):.2f}x, "
          f"peak memory {median('graft', 'peak_memory_bytes') / median('peer', 'peak_memory_bytes'):.2f}x")


def main():
    options = arguments()
    results = {"graft": [], "peer": []}
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        work = pathlib.Path(tempfile.mkdtemp(prefix="graft-bench-"))
        try:
            for name, run in (("graft", lambda: run_graft(options, seed, work / "run")),
                              ("peer", lambda: run_peer(options, work / "run"))):
                results[name].append(run())
                show(seed, name, results[name][-1])
        finally:
            shutil.rmtree(work)
        if options.output:
            options.output.write_text(json.dumps(results, indent=1) + "\n")
    close(results)


if __name__ == "__main__":
    sys.exit(main())
