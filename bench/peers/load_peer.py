#!/usr/bin/env python3
"""Loads llama.cpp's server (xllamacpp) and a model and lets it write one token behind the ids that come from standard input,
as a JSON list. Prints one JSON object: the token's text, the seconds from before the library was loaded to it, and the peak
resident memory beyond what Python held before."""

import argparse
import json
import pathlib
import resource
import sys
import time


def resident():
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize()


def written(options, ids):
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(options.model)
    params.n_parallel, params.n_ctx = 1, options.context
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.warmup, params.verbosity = False, -1
    running = xllamacpp.Server(params)
    return running.handle_completions({"prompt": ids, "n_predict": 1, "temperature": 0, "top_k": 1, "ignore_eos": True})


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--context", type=int, default=512)
    options = parser.parse_args()
    ids = json.load(sys.stdin)
    before, began = resident(), time.perf_counter()
    answer = written(options, ids)
    seconds = time.perf_counter() - began
    if answer["timings"]["predicted_n"] != 1:
        sys.exit(f"load_peer.py: {answer['timings']['predicted_n']} tokens were written, not one")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"text": answer["choices"][0]["text"], "seconds": seconds, "memory_bytes": peak - before}))


if __name__ == "__main__":
    main()
