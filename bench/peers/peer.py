"""What the peers' scripts share."""

import argparse
import json
import pathlib


def parser(description):
    result = argparse.ArgumentParser(description=description)
    result.add_argument("--model", required=True, help="safetensors folder")
    result.add_argument("--run", required=True, type=pathlib.Path, help="graft's run folder")
    result.add_argument("--threads", type=int, default=0, help="0: as many as PyTorch takes")
    return result


def say(**values):
    print(json.dumps(values), flush=True)


def lines(file):
    with open(file, encoding="utf-8") as opened:
        return [json.loads(line) for line in opened]


def steps(run, most=0):
    """Lines of the run's training steps, with examples and learning rate; the first `most` of them, 0: all."""
    found = [line for line in lines(run / "metrics.jsonl") if "examples" in line]
    return found[:most] if most else found
