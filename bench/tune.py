#!/usr/bin/env python3
"""A T-Few job by graft and by transformers + PEFT, one after the other for each seed, on the same examples, batches, losses,
optimiser and learning rates: the quick start's (BBC News, five choices) or Banking77's (77 choices). The peer has one padded
row per choice. Prints a line a seed and system, then whether the losses of the first steps are the same (it ends where they
are not), and then medians, interquartile ranges, shares of the machine's limit, ratios, and whether these are as asked: 12
times the peer's rate with five choices, 40 times with 77. --output keeps all figures as JSON, and goes on from there when the
benchmark was interrupted.

  bench/setup_peers
  bench/tune.py --model .deps/quickstart/…/SmolLM2-135M-Instruct.Q4_1.gguf --data .deps/quickstart/…/bbcnews/data --seeds 5
  bench/tune.py --task banking77 --model SmolLM2-135M-Instruct.Q4_1.gguf --data banking77/

A step of Banking77 takes the peer minutes, because every prompt is computed 77 times: by default it does the first three of
graft's steps (--peer-steps), an example at a time (in one pass a batch does not fit 24 GiB), and nothing is evaluated.
"""

import argparse
import pathlib
import shutil
import sys
import tempfile
import typing

import both_sides


class Job(typing.NamedTuple):
    data: str
    steps: int
    peer_steps: int  # 0: all
    at_a_time: int   # examples of one pass of the peer, 0: the batch
    evaluation: bool


JOBS = {
    "bbc_news": Job("BBC News, one folder per topic", steps=60, peer_steps=0, at_a_time=0, evaluation=True),
    "banking77": Job("Banking77's folder, with train.csv and test.csv", steps=8, peer_steps=3, at_a_time=1, evaluation=False),
}
BARS = {"bbc_news": 12, "banking77": 40}  # times the peer's rate of training


def arguments():
    parser = both_sides.parser(__doc__, "; ".join(f"{name}: {job.data}" for name, job in JOBS.items()), steps=None)
    told = lambda field: ", ".join(f"{getattr(job, field)} for {name}" for name, job in JOBS.items())
    parser.add_argument("--task", choices=list(JOBS), default="bbc_news")
    parser.add_argument("--shots", type=int, default=8, help="training examples per class")
    parser.add_argument("--rows", type=int, default=200, help="held-out examples, where there is an evaluation")
    parser.add_argument("--peer-steps", type=int, help=f"the peer does so many of the run's first steps, 0: all ({told('peer_steps')})")
    parser.add_argument("--examples-at-a-time", type=int, dest="at_a_time",
                        help=f"of a step in one pass of the peer, whose memory goes with it, 0: all ({told('at_a_time')})")
    parser.add_argument("--evaluation", action=argparse.BooleanOptionalAction,
                        help=f"both sides before and after training ({told('evaluation')})")
    options = parser.parse_args()
    for field, value in JOBS[options.task]._asdict().items():
        if getattr(options, field) is None:
            setattr(options, field, value)
    return options


def run_graft(options, seed, folder):
    rows = options.rows if options.evaluation else 1  # graft always scores what is held out
    summary = both_sides.tune(options, folder, seed, "--task", options.task, "--shots", str(options.shots), "--eval-rows",
                              str(rows), "--recipe", "tfew-cpu")
    return {**figures(options, summary, summary), "step_tokens": summary["step_tokens"]}


def run_peer(options, folder):
    more = [] if options.evaluation else ["--no-evaluation"]
    events = both_sides.peer(options, "tfew_peer.py", folder, "--steps", str(options.peer_steps), "--examples-at-a-time",
                             str(options.at_a_time), *more)
    return figures(options, events["summary"], events)


def figures(options, summary, evaluations):
    found = {key: summary[key] for key in ("step_seconds", "all_step_seconds", "losses", "peak_memory_bytes")}
    if not options.evaluation:
        return found
    before, after = evaluations["before"], evaluations["after"]
    return {**found, "before": before["accuracy"], "after": after["accuracy"],
            "examples_per_second": 2 * options.rows / (before["seconds"] + after["seconds"])}


def measure(options, seed):
    work = pathlib.Path(tempfile.mkdtemp(prefix="graft-bench-"))
    try:
        row = both_sides.stamped(task=options.task, seed=seed, graft=run_graft(options, seed, work / "run"))
        show(row, "graft")
        row["peer"] = run_peer(options, work / "run")
        show(row, "peer")
        return row
    finally:
        shutil.rmtree(work)


def show(row, name):
    it = row[name]
    score = (f"  accuracy {it['before']:.1%} -> {it['after']:.1%}  {it['examples_per_second']:6.2f} examples/s"
             if "after" in it else "")
    print(f"{row['task']}, seed {row['seed']}  {name:5}  {it['step_seconds']:6.2f} s/step, {len(it['losses'])} steps"
          f"  {it['peak_memory_bytes'] / 2**30:5.2f} GiB{score}", flush=True)


def close(options, rows):
    for row in rows:
        both_sides.agree(f"{row['task']}, seed {row['seed']}", row["graft"]["losses"], row["peer"]["losses"])
    limits = both_sides.limits(options, options.model, "--only", "ia3,score" if options.evaluation else "ia3", "--task",
                               options.task, "--data", options.data)
    for row in rows:
        both_sides.compared_steps(f"seed {row['seed']}, training", row["graft"], row["peer"], limits.get("ia3"), BARS[options.task])
    evaluated = [row for row in rows if "after" in row["graft"]]
    if evaluated:
        close_evaluation(evaluated, limits)


def close_evaluation(rows, limits):
    for name in ("graft", "peer"):
        low, middle, high = both_sides.quartiles([row[name]["after"] for row in rows])
        print(f"{name:5}  accuracy after: median {middle:.1%}, interquartile range {low:.1%} to {high:.1%}, {len(rows)} seeds")
    rates = [[row[name]["examples_per_second"] for row in rows] for name in ("graft", "peer")]
    both_sides.compared("evaluation", "examples a second", *rates, limit=both_sides.limit_of(limits.get("score"), "questions"))


def main():
    options = arguments()
    rows = both_sides.kept(options)
    of_task = lambda: [row for row in rows if row["task"] == options.task]
    for row in of_task():
        show(row, "graft")
        show(row, "peer")
    for seed in both_sides.seeds(options):
        if all(row["seed"] != seed for row in of_task()):
            rows.append(measure(options, seed))
            both_sides.keep(options, rows)
    close(options, of_task())


if __name__ == "__main__":
    sys.exit(main())
