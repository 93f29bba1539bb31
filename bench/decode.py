#!/usr/bin/env python3
"""Reading and writing by graft and by llama.cpp (its server, through xllamacpp), one after the other, on the same tokens
of the same file in the same type. How probable both find the text that llama.cpp writes is held together: a rate at a
worse prediction would say nothing. Prints a line for each type and system, then the ratios.

  bench/setup_peers
  bench/decode.py --model SmolLM2-135M-Instruct.Q4_1.gguf --types Q4_1 Q4_0 Q8_0 BF16

With --speculate also what graft's proposals bring (docs/generate.md): on a prompt that ends with its own beginning, which
the model goes on copying, and on the text read once. They must not change a token.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys

import both_sides

RATES = {"prefill": "reading 512 tokens", "decode_1": "writing one text", "decode_16": "writing 16 texts"}
READ = 16  # ids before the text that is scored
MOST_LOSS = 0.01  # nats a token, that is 1% of the perplexity


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, type=pathlib.Path, help=".gguf file; other types are made of it")
    parser.add_argument("--types", nargs="+", default=["Q4_0", "Q8_0", "BF16"])
    parser.add_argument("--text", type=pathlib.Path, default=both_sides.HOUSE / "LICENSE", help="at least 600 tokens")
    parser.add_argument("--graft", default=both_sides.HOUSE / "build/dev/bin/graft")
    parser.add_argument("--bench", default=both_sides.HOUSE / "build/dev/bench/bench_decode")
    parser.add_argument("--peer-python", default=both_sides.HOUSE / ".deps/peers/bin/python")
    parser.add_argument("--kv-cache", choices=["dense", "q8"], default="dense", help="of graft; its loss shows the error")
    parser.add_argument("--speculate", nargs="?", const="auto", metavar="N", help="auto, or so many tokens at a time")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--work", type=pathlib.Path, default=both_sides.HOUSE / "build/bench", help="for files in other types")
    return parser.parse_args()


def peer(options, file, *rest, ids=None):
    done = subprocess.run([options.peer_python, both_sides.HOUSE / "bench/peers/llama_peer.py", file, "--threads",
                           str(options.threads), *map(str, rest)], input=ids, check=True, stdout=subprocess.PIPE,
                          stderr=subprocess.DEVNULL, text=True)
    return done.stdout


def ids_of(options):
    done = subprocess.run([options.graft, "generate", "--model", options.model, "--prompt-file", options.text, "--json",
                           "--max-new-tokens", "1"], check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    return json.loads(done.stdout)["prompt_ids"]


def file_of(options, kind):
    if kind in options.model.name:
        return options.model
    made = options.work / f"{options.model.stem}.{kind}.gguf"
    if not made.exists():
        options.work.mkdir(parents=True, exist_ok=True)
        part = made.with_suffix(".part")
        peer(options, options.model, "--write", kind, part)
        part.rename(made)
    return made


def graft(options, file, kind, ids):
    weights = "dense" if kind == "BF16" else "packed"
    done = subprocess.run([options.bench, file, weights, "bfloat16", options.speculate or "off",
                           options.kv_cache], input=ids, check=True, stdout=subprocess.PIPE, text=True,
                          env={**os.environ, "OMP_NUM_THREADS": str(options.threads)})
    return json.loads(done.stdout)


def show(kind, system, figures):
    print(f"{kind:5} {system:9} prefill {figures['prefill']:6.0f}  decode {figures['decode_1']:6.1f}  16 texts "
          f"{figures['decode_16']:6.0f} tokens/s  loss {figures['loss']:.4f}  load {figures['load']:.2f} s  "
          f"{figures['peak_memory_bytes'] / 2**20:.0f} MiB", flush=True)


def show_speculation(options, kind, figures):
    """Prints the rates; returns what is wrong with them."""
    if not options.speculate:
        return []
    for name, what in (("copy", "copying"), ("fresh", "no copy")):
        print(f"{kind:5} {what:9} {figures[name]:6.1f} tokens/s, with --speculate {options.speculate} "
              f"{figures[name + '_proposing']:6.1f} ({figures[name + '_proposing'] / figures[name]:.2f}x, "
              f"{figures[name + '_tokens_a_pass']:.2f} tokens a pass)", flush=True)
    return [f"{kind}: proposals changed a text ({name})" for name in ("copy", "fresh") if not figures[name + "_same"]]


def main():
    options = arguments()
    ids = ids_of(options)
    worse = []
    for kind in options.types:
        file = file_of(options, kind)
        theirs = json.loads(peer(options, file, ids=" ".join(map(str, ids))).splitlines()[-1])
        # The text that llama.cpp wrote stands where graft's loss is taken.
        ours = graft(options, file, kind, " ".join(map(str, ids[:READ] + theirs["text"] + ids[READ:])))
        show(kind, "llama.cpp", theirs)
        show(kind, "graft", ours)
        print(f"{kind:5} ratio     " + ", ".join(f"{name} {ours[key] / theirs[key]:.2f}x" for key, name in RATES.items()))
        if ours["loss"] > theirs["loss"] + MOST_LOSS:
            worse.append(f"{kind}: graft's loss is {ours['loss'] - theirs['loss']:.4f} above llama.cpp's")
        worse += show_speculation(options, kind, ours)
    if worse:
        sys.exit("decode.py: not at equal quality: " + "; ".join(worse))


if __name__ == "__main__":
    main()
