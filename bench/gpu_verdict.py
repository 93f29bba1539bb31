#!/usr/bin/env python3
"""Whether the figures that bench/gpu.sh left in a folder reach what is asked of a GPU. One line each, met or NOT met:

  training   products of a step, at 45% of the rate at which the GPU multiplies or more (MFU), in each kind of tuning
  writing    bytes that one text's tokens read, at 70% of the rate at which its memory is read or more
  recipe     1,000 T-Few steps at T0-11B's shape, in 10 minutes or less

The GPU's rates are those of its data sheet where its name is known here, else those that graft bench measured on it, which
are lower. FLOPs are counted as graft bench counts them. Ends with 3 where a bar is not met, or training or writing was not
measured at all: what was never timed reaches nothing. (The recipe is asked for with --t0 of bench/gpu.sh.)

  bench/gpu_verdict.py build/gpu --gpu "NVIDIA H100 80GB HBM3"
"""

import argparse
import json
import pathlib
import sys

MFU, BANDWIDTH, MINUTES, STEPS = 0.45, 0.70, 10, 1000
TUNED = ("ia3", "lora", "full")
NOT_MET = 3  # exit status
# Dense bfloat16 FLOP/s and bytes/s, as NVIDIA's data sheets have them, by the name that nvidia-smi tells. The whole name: an
# H200 NVL and a GH200 are other GPUs.
DATA_SHEETS = {"NVIDIA H200": (989e12, 4.8e12), "NVIDIA H100 80GB HBM3": (989e12, 3.35e12),
               "NVIDIA A100-SXM4-80GB": (312e12, 2.039e12), "NVIDIA A100-SXM4-40GB": (312e12, 1.555e12)}


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="OUTPUT of bench/gpu.sh")
    parser.add_argument("--gpu", default="", help="its name, as nvidia-smi tells it (default: the measured rates hold)")
    return parser.parse_args()


def rates_of(bench, gpu):
    """FLOP/s, bytes/s, and where they come from."""
    known = DATA_SHEETS.get(gpu.strip())
    if known and bench["dtype"] == "bfloat16":
        return *known, "data sheet"
    machine = bench["machine"]
    return machine[bench["dtype"] + "_flops"]["median"], machine["read_bytes"]["median"], "measured"


def told(bar, what, value, met):
    print(f"{bar}: {what}: {value}, {'met' if met else 'NOT met'}")
    return met


def bench_verdicts(file, gpu):
    """Each the bar and whether it is met."""
    bench = json.loads(file.read_text())
    flops, read, source = rates_of(bench, gpu)
    for row in bench["rows"]:
        if not row["repetitions"]:
            continue
        seconds = row["seconds"]["median"]
        if row["name"] in TUNED:
            bar, asked, share, limit = "training", MFU, row["flops"] / seconds / flops, f"{flops / 1e12:.4g} TFLOP/s"
        elif row["name"] == "decode_1":
            bar, asked, share, limit = "writing", BANDWIDTH, row["bytes_read"] / seconds / read, f"{read / 1e9:.4g} GB/s"
        else:
            continue
        value = f"{share:.1%} of {limit} ({source}), asked: {asked:.0%}"
        yield bar, told(bar, f"{file.stem}, {row['what']}", value, share >= asked)


def recipe_verdict(file):
    run = json.loads(file.read_text())
    minutes = run["train_seconds"] / run["steps"] * STEPS / 60
    return told("recipe", f"{STEPS:,} steps, from {run['steps']:,}", f"{minutes:.1f} minutes, asked: {MINUTES}", minutes <= MINUTES)


def main():
    options = arguments()
    verdicts = [verdict for file in sorted(options.folder.glob("bench*.json")) for verdict in bench_verdicts(file, options.gpu)]
    recipe = options.folder / "run-t0" / "summary.json"
    if not verdicts and not recipe.exists():
        sys.exit(f"gpu_verdict.py: {options.folder}: holds no figure of bench/gpu.sh; run that first")
    met = [held for _, held in verdicts]
    for bar in ("training", "writing"):
        if all(bar != measured for measured, _ in verdicts):
            met.append(told(bar, "not measured", f"no row of it in {options.folder}/bench*.json", False))
    if recipe.exists():
        met.append(recipe_verdict(recipe))
    else:
        print(f"recipe: not measured: no {recipe}, which --t0 of bench/gpu.sh makes")
    if not all(met):
        sys.exit(NOT_MET)


if __name__ == "__main__":
    sys.exit(main())
