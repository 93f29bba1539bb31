#!/usr/bin/env python3
"""Reading and writing by graft and by llama.cpp (its server, through xllamacpp), in turn, on the same tokens of the same
file in the same type. How probable both find the text that llama.cpp writes is held together first: a rate at a worse
prediction would say nothing, and none is printed then. Prints a line for each type and rate, and whether the ratio is as asked;
of one text in 4 bits the best files of both sides are held together.

  bench/setup_peers
  bench/decode.py --model SmolLM2-135M-Instruct.Q4_1.gguf --types Q4_1 Q4_0 Q8_0 BF16

With --speculate also what graft's proposals bring (docs/generate.md): on a prompt that ends with its own beginning, which
the model goes on copying, and on the text read once. They must not change a token.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys

import both_sides

# By the names that graft bench gives them.
RATES = {"prefill": "reading 512 tokens", "decode_1": "writing one text", "decode_16": "writing 16 texts"}
# Times the peer's rate. Of one text by type; in 4 bits, of the best of them.
BARS, BARS_OF_ONE, FOUR_BITS, BAR_OF_FOUR = {"prefill": 2, "decode_16": 2}, {"Q8_0": 2, "BF16": 1.7}, ("Q4_0", "Q4_1"), 2.5
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
    parser.add_argument("--rounds", type=int, default=1, help="how often each has its turn")
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


def measured(options, file, kind, ids):
    """Both sides' figures, the rates of all rounds together."""
    theirs, ours = [], []
    for _ in range(options.rounds):
        theirs.append(json.loads(peer(options, file, ids=" ".join(map(str, ids))).splitlines()[-1]))
        # The text that llama.cpp wrote stands where graft's loss is taken.
        ours.append(graft(options, file, kind, " ".join(map(str, ids[:READ] + theirs[-1]["text"] + ids[READ:]))))
    joined = lambda rounds: {**rounds[-1], **{key: [rate for one in rounds for rate in one[key]] for key in RATES}}
    return joined(ours), joined(theirs)


def show(options, file, kind, ours, theirs):
    weights = "dense" if kind == "BF16" else "packed"
    limits = both_sides.limits(options, file, "--only", "prefill,decode", "--weights", weights)
    memory = ours["peak_memory_bytes"], theirs["peak_memory_bytes"]
    for key, name in RATES.items():
        both_sides.compared(f"{kind}, {name}", "tokens a second", ours[key], theirs[key], memory=memory,
                            limit=both_sides.limit_of(limits.get(key), "tokens"),
                            bar=BARS_OF_ONE.get(kind) if key == "decode_1" else BARS[key])


def show_best(rates):
    """`rates`: of one text by graft and by the peer, by type."""
    if not rates:
        return
    ours, theirs = (max((both[side] for both in rates.values()), key=statistics.median) for side in (0, 1))
    both_sides.compared("4 bits, writing one text, the best file of each", "tokens a second", ours, theirs, bar=BAR_OF_FOUR)


def show_speculation(options, kind, figures):
    """Prints the rates; returns what is wrong with them."""
    if not options.speculate:
        return []
    for name, what in (("copy", "copying"), ("fresh", "no copy")):
        plain, proposing = statistics.median(figures[name]), statistics.median(figures[name + "_proposing"])
        print(f"{kind:5} {what:9} {plain:6.1f} tokens/s, with --speculate {options.speculate} {proposing:6.1f} "
              f"({proposing / plain:.2f}x, {figures[name + '_tokens_a_pass']:.2f} tokens a pass)", flush=True)
    return [f"{kind}: proposals changed a text ({name})" for name in ("copy", "fresh") if not figures[name + "_same"]]


def main():
    options = arguments()
    ids = ids_of(options)
    worse, four_bits = [], {}
    for kind in options.types:
        file = file_of(options, kind)
        ours, theirs = measured(options, file, kind, ids)
        print(f"{kind}: loss {ours['loss']:.4f}, {theirs['loss']:.4f}; load {ours['load']:.2f}, {theirs['load']:.2f} s", flush=True)
        if not ours["loss"] <= theirs["loss"] + MOST_LOSS:  # nor where one is not a number
            worse.append(f"{kind}: graft's loss is {ours['loss'] - theirs['loss']:.4f} above llama.cpp's")
            continue
        show(options, file, kind, ours, theirs)
        if kind in FOUR_BITS:
            four_bits[kind] = ours["decode_1"], theirs["decode_1"]
        worse += show_speculation(options, kind, ours)
    show_best(four_bits)
    if worse:
        sys.exit("decode.py: not at equal quality: " + "; ".join(worse))


if __name__ == "__main__":
    main()
