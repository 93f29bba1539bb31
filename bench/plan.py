#!/usr/bin/env python3
"""What `graft plan` says of five jobs, what the runs say themselves of their memory, and what they then take. Fails where a
figure is more than 15% off.

  bench/plan.py --model SmolLM2-135M-Instruct.Q4_1.gguf --bbc bbcnews/data --tfew tfew/ --e2e e2e/
"""

import argparse
import json
import pathlib
import re
import subprocess
import sys
import tempfile

import both_sides

MOST_OFF = 0.15


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help=".gguf file or folder")
    parser.add_argument("--bbc", required=True, type=pathlib.Path, help="BBC News, one folder per topic")
    parser.add_argument("--tfew", required=True, type=pathlib.Path, help="folder with rte/ and copa/")
    parser.add_argument("--e2e", required=True, type=pathlib.Path, help="folder with E2E's valid.txt and test.txt")
    parser.add_argument("--graft", default=both_sides.HOUSE / "build/dev/bin/graft")
    return parser.parse_args()


def jobs(options):
    tfew = lambda task: ["--task", task, "--data", f"{options.tfew}/{task}/*.jsonl"]
    return {
        "(IA)3, five topics": ["--task", "bbc_news", "--data", options.bbc, "--shots", "8", "--eval-rows", "100",
                               "--recipe", "tfew-cpu", "--steps", "30"],
        "LoRA, entailment": [*tfew("rte"), "--shots", "32", "--eval-rows", "100", "--recipe", "lora", "--steps", "30"],
        "full, causes": [*tfew("copa"), "--shots", "32", "--eval-rows", "100", "--recipe", "tfew-cpu", "--method", "full",
                         "--set", "optimizer.lr=1e-5", "--steps", "30"],
        "prefixes, texts": ["--task", "e2e", "--data", options.e2e, "--shots", "50", "--eval-rows", "64", "--recipe", "e2e-cpu",
                            "--method", "prefix_tuning", "--steps", "60"],
        "(IA)3 over 4 bits": ["--task", "bbc_news", "--data", options.bbc, "--shots", "8", "--eval-rows", "100", "--recipe",
                              "tfew-cpu", "--steps", "20", "--set", "model.weights=q4_0", "--set",
                              "train.checkpoint_layers=true"],
    }


def planned(options, job, folder):
    done = subprocess.run([options.graft, "--quiet", "plan", "--json", "tune", "--model", options.model, *job, "--output", folder],
                          check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def made(options, job, folder):
    """The run's summary, and the bytes of memory of its estimate; None where it has no line of it."""
    done = subprocess.run([options.graft, "--quiet", "tune", "--model", options.model, *job, "--output", folder],
                          stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    sys.stderr.write(done.stderr)
    done.check_returncode()
    line = re.search(r"^estimate: .* and (?:about|at most) ([\d.]+) ([kMGT]?B) of memory", done.stderr, re.MULTILINE)
    told = float(line[1]) * 1000 ** ["B", "kB", "MB", "GB", "TB"].index(line[2]) if line else None
    return json.loads((folder / "summary.json").read_text()), told


def show(name, what, plan, fact, told):
    """Prints both; what is to be said of the job where the plan was too far off, else nothing."""
    off = plan / fact - 1
    met = abs(off) <= MOST_OFF
    print(f"{name:20} {what:9} planned {told(plan):>9}, then {told(fact):>9}: {off:+.1%}, {'met' if met else 'NOT met'}", flush=True)
    return [] if met else [f"{name}, {what}: {off:+.1%}"]


def main():
    options = arguments()
    missed = []
    seconds, memory = lambda value: f"{value:.1f} s", lambda value: f"{value / 2**20:.0f} MiB"
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as work:
        for number, (name, job) in enumerate(jobs(options).items()):
            folder = pathlib.Path(work) / str(number)
            plan = planned(options, job, folder)
            fact, estimate = made(options, job, folder)
            missed += show(name, "training", plan["train_seconds"], fact["train_seconds"], seconds)
            missed += show(name, "scoring", plan["evaluate_seconds"] * plan["evaluations"],
                           fact["before"]["seconds"] + fact["after"]["seconds"], seconds)
            missed += show(name, "memory", plan["memory_bytes"], fact["peak_memory_bytes"], memory)
            if estimate:
                missed += show(name, "estimate", estimate, fact["peak_memory_bytes"], memory)
    if missed:
        sys.exit(f"plan.py: more than {MOST_OFF:.0%} off: " + "; ".join(missed))
    print(f"all within {MOST_OFF:.0%}")


if __name__ == "__main__":
    sys.exit(main())
