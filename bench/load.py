#!/usr/bin/env python3
"""From the start of a process to the first token of a text that goes on a short prompt, by graft and by llama.cpp (its
server, through xllamacpp), in turn, with the same file, the same tokens and everything in the page cache. Ends before any
figure where both do not write the same token. Prints medians, quartiles, the ratio, both sides' peak resident memory, and
whether the bars are held: 0.25 s, and less memory than the peer. Ends with status 1 where one is not.

  bench/setup_peers
  bench/load.py --model SmolLM2-135M-Instruct.Q4_1.gguf

The peer's clock begins before its library is loaded, behind Python's own start, and what Python holds by then does not count
as its memory: both would only flatter graft. A first round of each is left out: it fills the page cache. The start of the
command alone, which is mostly LibTorch's libraries, is a line of its own.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

import both_sides

MOST_SECONDS = 0.25


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path, help=".gguf file")
    parser.add_argument("--prompt", default="The capital of France is")
    parser.add_argument("--graft", default=both_sides.HOUSE / "build/dev/bin/graft", help="the command that is measured")
    parser.add_argument("--peer-python", default=both_sides.HOUSE / ".deps/peers/bin/python", help="that bench/setup_peers made")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--context", type=int, default=512, help="tokens that the peer makes room for; graft makes room as it goes")
    parser.add_argument("--rounds", type=int, default=15, help="how often each has its turn")
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error(f"--rounds {options.rounds}: give 1 or more")
    return options


def environment(options):
    return {**os.environ, "OMP_NUM_THREADS": str(options.threads)}


def timed(command, options):
    """Seconds up to the first byte of a command's output, and its peak resident memory when it has ended."""
    began = time.perf_counter()
    child = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment(options))
    first = os.read(child.stdout.fileno(), 1)
    seconds = time.perf_counter() - began
    child.stdout.read()
    child.stdout.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode or not first:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_maxrss * 1024


def writing(options, *more):
    return [options.graft, "--quiet", "generate", "--model", options.model, "--prompt", options.prompt, "--max-new-tokens", "1",
            "--ignore-eos", *more]


def written(options):
    """The prompt's ids, and the text that graft writes behind them."""
    done = subprocess.run(list(map(str, writing(options, "--json"))), check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True, env=environment(options))
    line = json.loads(done.stdout)
    return line["prompt_ids"], line["text"]


def peer(options, ids):
    done = subprocess.run([options.peer_python, both_sides.HOUSE / "bench/peers/load_peer.py", options.model, "--threads",
                           str(options.threads), "--context", str(options.context)], input=json.dumps(ids), check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def measured(options):
    """Seconds and bytes of every round, the first of which is left out, of graft, of the peer, and of graft's start alone."""
    ids, text = written(options)
    ours, theirs, start = [], [], []
    for _ in range(options.rounds + 1):
        ours.append(timed(writing(options), options))
        figures = peer(options, ids)
        if figures["text"] != text:
            sys.exit(f"load.py: behind the same ids graft writes {text!r} and the peer {figures['text']!r}: both do not compute "
                     "the same, or two tokens are about as probable, which another --prompt tells")
        theirs.append((figures["seconds"], figures["memory_bytes"]))
        start.append(timed([options.graft, "--version"], options))
    return ours[1:], theirs[1:], start[1:]


def verdict(what, held):
    print(f"{'held' if held else 'MISSED'}: {what}", flush=True)
    return held


def main():
    options = arguments()
    ours, theirs, start = measured(options)
    seconds, memory = [[row[place] for row in ours] for place in (0, 1)]
    peer_seconds, peer_memory = [[row[place] for row in theirs] for place in (0, 1)]
    largest = max(memory), max(peer_memory)
    print(f"{both_sides.machine()}; {options.rounds} rounds", flush=True)
    both_sides.compared("first token", "s", seconds, peer_seconds, memory=largest, fewer=True)
    low, middle, high = both_sides.quartiles([row[0] for row in start])
    print(f"the command's start alone: {middle:.4g} ({low:.4g} to {high:.4g}) s", flush=True)
    median = statistics.median(seconds)
    held = [verdict(f"the first token after {median:.3f} s (bar: under {MOST_SECONDS} s)", median < MOST_SECONDS),
            verdict(f"{largest[0] / 2**20:.0f} MiB resident (bar: below the peer's {largest[1] / 2**20:.0f} MiB)",
                    largest[0] < largest[1])]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
