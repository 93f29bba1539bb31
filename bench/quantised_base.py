#!/usr/bin/env python3
"""What tuning loses over a frozen base in 4-bit blocks: the same job over a bfloat16 base and over the same base quantised
while it is loaded (--weights), on the same examples and batches, with several seeds. Prints the mean loss of the last ten
steps, the held-out loss after them and the peak memory, then the ratios to bfloat16 over the seeds with their spread, and
fails where a loss is more than 2% above bfloat16's. --output keeps all figures as JSON, and goes on from there when the
benchmark was interrupted.

  bench/quantised_base.py --model .deps/peers/smollm2 --data bbcnews/data --seeds 3 --output quantised.json
  bench/quantised_base.py --model .deps/peers/smollm2 --task e2e --data e2e/ --seeds 3 --output quantised.json
  bench/quantised_base.py --model .deps/peers/smollm2 --task e2e --data e2e/ --seeds 1 --weights q4_1 q4_k q5_k q6_k

The held-out loss is the mean of -log p of the right choice among the choices, or of -log p of a right text's tokens. A GGUF
file has lost already what its own blocks lose: q4_0 of a Q4_1 file is quantised twice, and --weights packed takes the file's
blocks as they are. A folder of bfloat16 weights shows what the blocks alone do. Of q4_k, q5_k and q6_k the matrices whose rows
are no multiple of 256 are in Q5_0, Q5_1 and Q8_0 (most of a SmolLM2-135M, whose rows have 576 values): graft says how many.
"""

import math
import pathlib
import statistics
import sys
import tempfile
import typing

import both_sides

WEIGHTS = ["packed", "q8_0", "q4_0", "q4_1", "q5_0", "q5_1", "q4_k", "q5_k", "q6_k"]
LAST, MOST = 10, 1.02  # steps whose losses are averaged; the highest ratio to bfloat16


class Job(typing.NamedTuple):
    recipe: str
    shots: int
    rows: int  # held out
    texts: bool


JOBS = {
    "bbc_news": Job("tfew-cpu", 8, 200, texts=False),
    "banking77": Job("tfew-cpu", 8, 100, texts=False),
    "e2e": Job("e2e-cpu", 100, 64, texts=True),
}
FIGURES = {"train_loss": f"loss of the last {LAST} steps", "held_out_loss": "held-out loss", "peak_memory_bytes": "peak memory"}


def arguments():
    parser = both_sides.parser(__doc__, "the task's data", steps=50, peer=False)
    parser.add_argument("--task", choices=list(JOBS), default="bbc_news")
    parser.add_argument("--method", default="ia3", help="any that leaves the base frozen")
    parser.add_argument("--weights", nargs="+", choices=WEIGHTS, default=["q4_0"],
                        help="kinds of blocks, one after the other (default: q4_0)")
    parser.add_argument("--rows", type=int, help="held-out examples")
    parser.add_argument("--set", action="append", default=[], help="for graft tune, of all runs")
    options = parser.parse_args()
    options.rows = options.rows or JOBS[options.task].rows
    return options


def held_out_loss(folder, texts):
    if texts:
        told = [line["scores"]["log_likelihood"] for line in both_sides.lines(folder / "metrics.jsonl") if "scores" in line]
        return -told[-1]
    after = [row for row in both_sides.lines(folder / "predictions.jsonl") if row["phase"] == "after"]
    return statistics.mean(-math.log(max(row["probabilities"][row["truth"]], 1e-30)) for row in after)


def measure(options, case):
    job = JOBS[case["task"]]
    settings = [f"model.weights={case['weights']}", "train.precision=bfloat16", *options.set]
    if job.texts:  # their likelihood is asked for, not what would be written
        settings += [f"train.eval_every={options.steps}", "generation.max_new_tokens=1"]
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as work:
        folder = pathlib.Path(work) / "run"
        summary = both_sides.tune(options, folder, case["seed"], "--task", case["task"], "--recipe", job.recipe, "--method",
                                  case["method"], "--shots", str(job.shots), "--eval-rows", str(options.rows),
                                  *[word for setting in settings for word in ("--set", setting)])
        kept = {key: summary[key] for key in ("losses", "step_seconds", "peak_memory_bytes", "base_bytes")}
        return both_sides.stamped(**case, **kept, train_loss=statistics.mean(summary["losses"][-LAST:]),
                                  held_out_loss=held_out_loss(folder, job.texts))


def show(row):
    print(f"{row['task']}, {row['method']}, seed {row['seed']}  {row['weights']:6}  last {LAST} steps {row['train_loss']:.4f}  "
          f"held out {row['held_out_loss']:.4f}  {row['step_seconds']:.2f} s/step  {row['peak_memory_bytes'] / 2**20:.0f} MiB, "
          f"{row['base_bytes'] / 2**20:.0f} of them weights", flush=True)


def close(rows, weights):
    """Prints the ratios of a kind of blocks to bfloat16; what is above the bar."""
    of = lambda kind: {row["seed"]: row for row in rows if row["weights"] == kind}
    dense, blocks = of("dense"), of(weights)
    worse = []
    for figure, name in FIGURES.items():
        pairs = [(blocks[seed][figure], dense[seed][figure]) for seed in dense]
        mine, theirs = (statistics.mean(values) for values in zip(*pairs))
        single = [mine / other for mine, other in pairs]
        print(f"{weights}, {name}: {mine / theirs:.2%} of bfloat16's ({mine:.4g} and {theirs:.4g}, means of {len(pairs)} seeds; "
              f"singly {min(single):.2%} to {max(single):.2%})", flush=True)
        if figure != "peak_memory_bytes" and not mine <= MOST * theirs:
            worse.append(f"{weights}: {name} is {mine / theirs - 1:+.1%} beside bfloat16's")
    return worse


def row_of(rows, case):
    return next((row for row in rows if case.items() <= row.items()), None)


def main():
    options = arguments()
    rows = both_sides.kept(options)
    found = []
    for seed in both_sides.seeds(options):
        for weights in ["dense", *options.weights]:
            case = {"task": options.task, "method": options.method, "steps": options.steps, "rows": options.rows,
                    "settings": options.set, "model": pathlib.Path(options.model).name, "weights": weights, "seed": seed}
            if row_of(rows, case) is None:
                rows.append(measure(options, case))
                both_sides.keep(options, rows)
            found.append(row_of(rows, case))
            show(found[-1])
    worse = [line for weights in options.weights for line in close(found, weights)]
    if worse:
        sys.exit("quantised_base.py: above the bar of 2%: " + "; ".join(worse))


if __name__ == "__main__":
    sys.exit(main())
