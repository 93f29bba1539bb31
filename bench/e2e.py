#!/usr/bin/env python3
"""E2E with few examples by graft and by transformers + PEFT, one after the other, on the same examples, batches,
learning rates and held-out prompts. Both systems' texts are scored by the same code, graft's. Prints a line for each
method, size, seed and system, then the ratio of the times of a step (the bar: at most a third of the peer's);
--output keeps all figures as JSON, and goes on from there when the benchmark was interrupted.

  bench/setup_peers
  bench/e2e.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data e2e/ --methods lora prefix_tuning --sizes 100 --seeds 3
"""

import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import both_sides

METRICS = ["bleu_e2e", "nist", "meteor", "rougeL_e2e", "cider_e2e"]
# What the methods need beside the recipe e2e-cpu; learning rates of the sizes of the papers'.
SETTINGS = {
    "lora": ["method.options.rank=4", "method.options.alpha=32", "optimizer.lr=1e-3"],
    "prefix_tuning": ["method.options.length=10", "method.options.hidden=512", "optimizer.lr=1e-3"],
    "ia3": ["optimizer.lr=1e-2"],
    "full": ["optimizer.lr=5e-5"],
}
NO_PEER = {"full", "ia3"}  # asked of graft alone


def arguments():
    parser = both_sides.parser(__doc__, "folder with E2E's valid.txt and test.txt", steps=200)
    parser.add_argument("--metrics", default=both_sides.HOUSE / "build/dev/graft_metrics_dump", help="scores the texts of both")
    parser.add_argument("--methods", nargs="+", default=["lora", "prefix_tuning"], choices=sorted(SETTINGS))
    parser.add_argument("--sizes", nargs="+", type=int, default=[100], help="training examples")
    parser.add_argument("--prompts", type=int, default=0, help="held-out prompts, 0: all 630")
    parser.add_argument("--without-peer", action="store_true", help="graft alone")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the run folders here")
    return parser.parse_args()


def scored(options, texts, references):
    cases = "".join(json.dumps([text, references[key]]) + "\n" for key, text in texts.items())
    done = subprocess.run([options.metrics, "scores"], input=cases, check=True, stdout=subprocess.PIPE, text=True)
    values = json.loads(done.stdout)
    return {metric: values[metric]["corpus"] for metric in METRICS}


def run_graft(options, method, size, seed, folder):
    settings = [word for setting in SETTINGS[method] for word in ("--set", setting)]
    summary = both_sides.tune(options, folder, seed, "--task", "e2e", "--recipe", "e2e-cpu", "--method", method, "--shots",
                              str(size), "--eval-rows", str(options.prompts), *settings)
    predictions = both_sides.lines(folder / "predictions.jsonl")
    references = {row["id"]: row["references"] for row in predictions}
    of = lambda phase: scored(options, {row["id"]: row["output"] for row in predictions if row["phase"] == phase}, references)
    return {"scores": of("after"), "before": of("before"), "write_seconds": summary["after"]["seconds"],
            **{key: summary[key] for key in ("step_seconds", "all_step_seconds", "step_tokens", "peak_memory_bytes")}}


def run_peer(options, folder):
    texts = folder / "peer.jsonl"
    summary = both_sides.peer(options, "e2e_peer.py", folder, "--output", texts)["summary"]
    references = {row["id"]: row["references"] for row in both_sides.lines(folder / "predictions.jsonl")}
    return {"scores": scored(options, {row["id"]: row["output"] for row in both_sides.lines(texts)}, references),
            **{key: summary[key] for key in ("step_seconds", "all_step_seconds", "write_seconds", "peak_memory_bytes")}}


def show(case, system, figures):
    values = "  ".join(f"{metric} {figures['scores'][metric]:.4g}" for metric in METRICS)
    print(f"{case['method']:13} {case['size']:4} examples  seed {case['seed']}  {system:5}  {values}  "
          f"{figures['step_seconds']:.2f} s/step  {figures['write_seconds']:.0f} s to write  "
          f"{figures['peak_memory_bytes'] / 2**30:.2f} GiB", flush=True)


def close(options, results):
    """The bar: three times the peer's rate. graft bench times LoRA and no prefixes."""
    both = [row for row in results if "peer" in row]
    methods = {row["method"] for row in both}
    limits = {}
    if "lora" in methods:
        limits = both_sides.limits(options, options.model, "--only", "lora", "--task", "e2e", "--data", options.data,
                                   "--recipe", "e2e-cpu")
    for row in both:
        both_sides.compared_steps(f"{row['method']}, {row['size']} examples, seed {row['seed']}", row["graft"], row["peer"],
                                  limits.get(row["method"]))


def measure(options, case, work):
    folder = work / f"{case['method']}-{case['size']}-{case['seed']}"
    row = {**case, "graft": run_graft(options, case["method"], case["size"], case["seed"], folder)}
    show(case, "graft", row["graft"])
    if not options.without_peer and case["method"] not in NO_PEER:
        row["peer"] = run_peer(options, folder)
        show(case, "peer", row["peer"])
    return row


def cases(options):
    return [{"method": method, "size": size, "seed": seed}
            for method in options.methods for size in options.sizes for seed in both_sides.seeds(options)]


def main():
    options = arguments()
    work = options.keep or pathlib.Path(tempfile.mkdtemp(prefix="graft-bench-"))
    rows = both_sides.kept(options)
    try:
        for case in cases(options):
            if any(case.items() <= row.items() for row in rows):
                continue
            rows.append(measure(options, case, work))
            both_sides.keep(options, rows)
    finally:
        if not options.keep:
            shutil.rmtree(work)
    close(options, rows)


if __name__ == "__main__":
    sys.exit(main())
