"""What the benchmarks of whole jobs share: graft's run, the peer's run of the same folder, and the file of figures from
which an interrupted benchmark goes on."""

import argparse
import json
import pathlib
import statistics
import subprocess

HOUSE = pathlib.Path(__file__).resolve().parent.parent


def lines(file):
    with open(file, encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def parser(description, data, steps):
    result = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--model", required=True, help="for graft: .gguf file or folder")
    result.add_argument("--data", required=True, help=data)
    result.add_argument("--peer-model", default=HOUSE / ".deps/peers/smollm2", help="the same model as a safetensors folder")
    result.add_argument("--peer-python", default=HOUSE / ".deps/peers/bin/python")
    result.add_argument("--graft", default=HOUSE / "build/dev/bin/graft")
    result.add_argument("--seeds", type=int, default=1)
    result.add_argument("--first-seed", type=int, default=0)
    result.add_argument("--steps", type=int, default=steps)
    result.add_argument("--output", type=pathlib.Path, help="keep all figures in this JSON file; what it holds is not run again")
    return result


def seeds(options):
    return range(options.first_seed, options.first_seed + options.seeds)


def tune(options, folder, seed, *arguments):
    """graft's run in `folder`: its summary, with the median seconds of a step."""
    subprocess.run([options.graft, "--quiet", "tune", "--model", options.model, "--data", options.data, "--seed", str(seed),
                    "--steps", str(options.steps), "--output", folder, *arguments], check=True, stdout=subprocess.DEVNULL)
    clock = [0.0] + [line["seconds"] for line in lines(folder / "metrics.jsonl")]
    summary = json.loads((folder / "summary.json").read_text())
    return {**summary, "step_seconds": statistics.median(b - a for a, b in zip(clock, clock[1:]))}


def peer(options, script, folder, *arguments):
    """The peer's run of graft's run folder: its events by name, and those of its steps."""
    done = subprocess.run([options.peer_python, HOUSE / "bench/peers" / script, "--model", options.peer_model, "--run", folder,
                           *arguments], check=True, stdout=subprocess.PIPE, text=True)
    events = [json.loads(line) for line in done.stdout.splitlines()]
    return {**{event["event"]: event for event in events}, "steps": [event for event in events if event["event"] == "step"]}


def kept(options):
    return json.loads(options.output.read_text()) if options.output and options.output.exists() else []


def keep(options, rows):
    if options.output:
        options.output.write_text(json.dumps(rows, indent=1) + "\n")
