"""What the benchmarks share: graft's run, the peer's run of the same folder, whether both computed the same losses, the file
of figures from which an interrupted benchmark goes on, and the line that holds both sides together: medians, quartiles,
ratio, share of the machine's limit, peak memory. The limit is what `graft bench` measures."""

import argparse
import datetime
import json
import os
import pathlib
import platform
import statistics
import subprocess
import sys

HOUSE = pathlib.Path(__file__).resolve().parent.parent
# Steps whose losses are held together before a ratio is printed, and how far apart they may be, as a share of the peer's.
# Later ones part because rounding adds up; they are told.
FIRST_STEPS, MOST_GAP = 3, 0.01
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16", "asimd", "bf16")


def lines(file):
    with open(file, encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def parser(description, data, steps, needed=True, peer=True):
    """`needed`: whether a model and data have to be named; `peer`: whether there is one."""
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--model", required=needed, help="for graft: .gguf file or folder")
    result.add_argument("--data", required=needed, help=data)
    if peer:
        result.add_argument("--peer-model", default=HOUSE / ".deps/peers/smollm2", help="the same model as a safetensors folder")
        result.add_argument("--peer-python", default=HOUSE / ".deps/peers/bin/python", help="that bench/setup_peers made")
    result.add_argument("--graft", default=HOUSE / "build/dev/bin/graft", help="the command that is measured")
    result.add_argument("--seeds", type=int, default=1, help="how many runs, each of a seed of its own")
    result.add_argument("--first-seed", type=int, default=0)
    result.add_argument("--steps", type=int, default=steps, help=f"of each run (default: {steps})")
    result.add_argument("--output", type=pathlib.Path, help="keep all figures in this JSON file; what it holds is not run again")
    return result


def seeds(options):
    return range(options.first_seed, options.first_seed + options.seeds)


def machine():
    """This machine in words, as a kept row names it."""
    info = pathlib.Path("/proc/cpuinfo")
    fields = dict(line.split(":", 1) for line in info.read_text().splitlines() if ":" in line) if info.exists() else {}
    fields = {name.strip(): value.strip() for name, value in fields.items()}
    flags = fields.get("flags", fields.get("Features", "")).split()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (f"{len(os.sched_getaffinity(0))} cores of {fields.get('model name', platform.machine())} "
            f"({', '.join(name for name in FEATURES if name in flags)}), {memory:.0f} GiB")


def stamped(**row):
    """A row of figures with where and when they were taken."""
    return {**row, "machine": machine(), "date": datetime.date.today().isoformat()}


def quartiles(values):
    """First quartile, median, third quartile of one or more values."""
    if len(values) == 1:
        return values[0], values[0], values[0]
    return tuple(statistics.quantiles(values, n=4, method="inclusive"))


def compared(what, unit, ours, theirs, limit=None, memory=None, fewer=False, bar=None):
    """Prints a line on both sides' measurements (lists; with `fewer`, less is better) and returns graft's advantage, a ratio
    of medians. `limit`: what the machine allows, in the same unit; `memory`: peak bytes of both; `bar`: the ratio that is
    asked for, of which the line says whether it is met."""
    sides = [quartiles(values) for values in (ours, theirs)]
    mine, other = (middle for _, middle, _ in sides)
    ratio = other / mine if fewer else mine / other
    told = [f"{middle:.4g} ({low:.4g} to {high:.4g})" for low, middle, high in sides]
    line = f"{what}: graft {told[0]}, peer {told[1]} {unit}: {ratio:.2f}x"
    if limit:
        shares = [limit / value if fewer else value / limit for value in (mine, other)]
        line += f"; of the machine's limit {shares[0]:.0%}, {shares[1]:.0%}"
    if memory:
        line += f"; peak memory {memory[0] / 2**20:.0f}, {memory[1] / 2**20:.0f} MiB: {memory[0] / memory[1]:.2f}x"
    if bar:
        line += f"; asked: {bar:g}x, {'met' if ratio >= bar else 'NOT met'}"
    print(line, flush=True)
    return ratio


def limits(options, model, *arguments):
    """Rows of `graft bench` on a model by name, those left out that it could not make."""
    done = subprocess.run([options.graft, "--quiet", "bench", "--model", model, "--seconds", "15", "--json",
                           *map(str, arguments)], check=True, stdout=subprocess.PIPE, text=True)
    return {row["name"]: row for row in json.loads(done.stdout)["rows"] if row["repetitions"]}


def limit_of(row, unit):
    """Units a second that the machine's limit allows; None without a row."""
    return row["per_second"][unit]["median"] / row["share_of_limit"] if row else None


def peak_of(command, **more):
    """Runs a command without its output: its peak resident memory in bytes."""
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL, **more)
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return usage.ru_maxrss * 1024


def tune(options, folder, seed, *arguments, steps=None):
    """graft's run in `folder`, of options.steps where `steps` says nothing: its summary, with the seconds and losses of every
    step, the seconds' median, and a step's mean tokens."""
    subprocess.run([options.graft, "--quiet", "tune", "--model", options.model, "--data", options.data, "--seed", str(seed),
                    "--steps", str(steps or options.steps), "--output", folder, *arguments], check=True,
                   stdout=subprocess.DEVNULL)
    return tuned(folder)


def tuned(folder):
    """What tune() gives, of a folder in which a run has ended."""
    steps = [line for line in lines(folder / "metrics.jsonl") if "examples" in line]
    clock = [0.0] + [step["seconds"] for step in steps]
    summary = json.loads((folder / "summary.json").read_text())
    return {**summary, **step_figures([b - a for a, b in zip(clock, clock[1:])]), "losses": [step["loss"] for step in steps],
            "step_tokens": summary["train_tokens"] / summary["steps"]}


def peer(options, script, folder, *arguments):
    """The peer's run of graft's run folder: its events by name, and those of its steps."""
    done = subprocess.run([options.peer_python, HOUSE / "bench/peers" / script, "--model", options.peer_model, "--run", folder,
                           *arguments], check=True, stdout=subprocess.PIPE, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    steps = [event for event in events if event["event"] == "step"]
    found = {**{event["event"]: event for event in events}, "steps": steps}
    found["summary"].update(step_figures([step["seconds"] for step in steps]), losses=[step["loss"] for step in steps])
    return found


def step_figures(seconds):
    return {"step_seconds": statistics.median(seconds), "all_step_seconds": [round(second, 4) for second in seconds]}


def tell_gaps(what, ours, theirs):
    """Prints how far apart the losses of both sides' steps are, as far as both went; those of the first ones."""
    gaps = [abs(mine - other) / abs(other) for mine, other in zip(ours, theirs)]
    first = gaps[:FIRST_STEPS]
    print(f"{what}: losses within {max(first):.2%} in the first {len(first)} steps, within {max(gaps):.2%} in {len(gaps)}",
          flush=True)
    return first


def agree(what, ours, theirs):
    """tell_gaps(), and ends the benchmark where the first losses are not the same: a ratio of rates would say nothing."""
    if not all(gap <= MOST_GAP for gap in tell_gaps(what, ours, theirs)):  # nor where one is not a number
        sys.exit(f"{what}: the losses are more than {MOST_GAP:.0%} apart, so both sides do not compute the same; first steps: "
                 f"graft {ours[:FIRST_STEPS]}, peer {theirs[:FIRST_STEPS]}")


def in_turn(rounds, ours, theirs):
    """ours(round) and theirs(round), in turn: the figures of both, with the seconds of all rounds' steps and the largest
    memory."""
    def joined(side):
        seconds = [second for figures in side for second in figures["all_step_seconds"]]
        return {**side[-1], **step_figures(seconds), "peak_memory_bytes": max(one["peak_memory_bytes"] for one in side)}

    both = [(ours(number), theirs(number)) for number in range(rounds)]
    return tuple(joined(side) for side in zip(*both))


def compared_steps(what, graft, peer, row, bar=None):
    """compared() of two sides' steps; `row` of limits() is of such steps, or None."""
    limit = graft["step_tokens"] / limit_of(row, "tokens") if row else None
    return compared(what, "s a step", graft["all_step_seconds"], peer["all_step_seconds"], limit=limit, fewer=True,
                    memory=(graft["peak_memory_bytes"], peer["peak_memory_bytes"]), bar=bar)


def kept(options):
    return json.loads(options.output.read_text()) if options.output and options.output.exists() else []


def keep(options, rows):
    """One row a line, and never half of a file."""
    if not options.output:
        return
    options.output.parent.mkdir(parents=True, exist_ok=True)
    part = options.output.with_name(options.output.name + ".part")
    part.write_text("[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]\n")
    part.replace(options.output)
