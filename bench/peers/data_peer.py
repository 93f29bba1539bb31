#!/usr/bin/env python3
"""What `graft data dedup` and `graft data contamination` do, in Python: near duplicates by datasketch's MinHashLSH, with the same
number of hashes, bands and rows, whose clusters are connected components; and the examples of an evaluation of which a run of
words stands in the training text, by a dictionary of these runs. Prints one JSON line: the seconds from the first document
read to the last byte written (what Python takes to start and to import is left out) and the peak memory.

  data_peer.py dedup corpus.jsonl --output kept.jsonl
  data_peer.py contamination train.jsonl --eval eval.jsonl --output dirty.json
"""

import argparse
import json
import re
import resource
import sys
import time
import unicodedata


def signs():
    """What words are without: Unicode's punctuation, and ASCII's symbols."""
    for code in range(sys.maxunicode + 1):
        category = unicodedata.category(chr(code))
        if category[0] == "P" or (category[0] == "S" and code < 128):
            yield chr(code)


SIGNS = re.compile("[" + re.escape("".join(signs())) + "]+")


def plain_words(text):
    return SIGNS.sub("", text.lower()).split()


def texts(file):
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)["text"]


class Sets:
    """Disjoint sets, each told by its smallest member."""

    def __init__(self):
        self.parents = []

    def find(self, member):
        while self.parents[member] != member:
            self.parents[member] = member = self.parents[self.parents[member]]
        return member

    def join(self, first, second):
        low, high = sorted((self.find(first), self.find(second)))
        self.parents[high] = low


def shingles(text, length):
    words = plain_words(text)
    return {" ".join(words[first:first + length]).encode() for first in range(max(1, len(words) - length + 1))}


def dedup(options):
    import xxhash
    from datasketch import MinHash, MinHashLSH

    began = time.perf_counter()
    index = MinHashLSH(threshold=options.threshold, num_perm=options.hashes, params=(options.bands, options.rows))
    sets, signatures = Sets(), []
    # xxhash, since datasketch's own SHA-1 takes longer.
    made = MinHash.generator((shingles(text, options.shingle) for text in texts(options.file)), num_perm=options.hashes,
                             hashfunc=xxhash.xxh32_intdigest)
    for number, signature in enumerate(made):
        sets.parents.append(number)
        for other in index.query(signature):
            if sets.find(other) != sets.find(number) and signature.jaccard(signatures[other]) >= options.threshold:
                sets.join(other, number)
        index.insert(number, signature, check_duplication=False)
        signatures.append(signature)
    with open(options.output, "w", encoding="utf-8") as out:
        for number, text in enumerate(texts(options.file)):
            if sets.find(number) == number:
                out.write(json.dumps({"text": text}, ensure_ascii=False) + "\n")
    return time.perf_counter() - began


def runs(text, order):
    words = plain_words(text)
    return (" ".join(words[first:first + order]) for first in range(len(words) - order + 1))


def contamination(options):
    began = time.perf_counter()
    asked = [set(runs(text, options.order)) for text in texts(options.eval)]
    wanted = set().union(*asked)
    documents = dict.fromkeys(wanted, 0)
    for text in texts(options.file):
        for run in wanted.intersection(runs(text, options.order)):
            documents[run] += 1
    dirty = [number for number, some in enumerate(asked) if any(0 < documents[run] <= options.common for run in some)]
    with open(options.output, "w", encoding="utf-8") as out:
        json.dump(dirty, out)
    return time.perf_counter() - began


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["dedup", "contamination"])
    parser.add_argument("file", help=".jsonl file with a field text")
    parser.add_argument("--eval", help="of contamination: another one, with the examples")
    parser.add_argument("--output", required=True)
    parser.add_argument("--hashes", type=int, default=128)
    parser.add_argument("--bands", type=int, default=16)
    parser.add_argument("--rows", type=int, default=8)
    parser.add_argument("--threshold", type=float, default=0.8)
    parser.add_argument("--shingle", type=int, default=5, help="words of a shingle")
    parser.add_argument("--order", type=int, default=13, help="words of a run")
    parser.add_argument("--common", type=int, default=10, help="runs of more documents than this are not looked at")
    options = parser.parse_args()
    seconds = {"dedup": dedup, "contamination": contamination}[options.what](options)
    print(json.dumps({"seconds": seconds, "peak_memory_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}))


if __name__ == "__main__":
    main()
