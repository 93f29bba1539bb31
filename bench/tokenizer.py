#!/usr/bin/env python3
"""Throughput of graft's tokenizers against Hugging Face's on the same text in the same run.

python bench/tokenizer.py --dump build/release/graft_tokenizer_dump --work build/tokenizer --data DATA
"""

import argparse
import os
import pathlib
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden"))
import both_sides  # noqa: E402
import tokenizer_corpus  # noqa: E402
import tokenizer_models  # noqa: E402

# The batch call of the reference runs on as many threads as this says.
os.environ.setdefault("RAYON_NUM_THREADS", "2")


def seconds_of(function, repeats):
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        function()
        seconds.append(time.perf_counter() - start)
    return seconds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True, help="graft_tokenizer_dump of a build")
    parser.add_argument("--work", required=True, help="folder for the reference tokenizers, which are made once")
    parser.add_argument("--data", required=True, help="folder with gpt2-tokenizer")
    parser.add_argument("--repeats", type=int, default=3, help="how often each side has its turn")
    args = parser.parse_args()
    tokenizer_models.make(args.work)
    articles = tokenizer_models.articles()
    sets = {"articles": articles, "ugly": tokenizer_corpus.lines(10000, " ".join(articles).split(" "), 1)}
    for text_name, texts in sets.items():
        data = b"".join(t.encode() + b"\0" for t in texts)
        megabytes = sum(len(t.encode()) for t in texts) / 1e6
        for name in tokenizer_models.NAMES:
            reference = tokenizer_models.reference(args.work, name, args.data)
            path = tokenizer_models.path_of(args.work, name, args.data)

            def compare(threads, mode, function):
                out = subprocess.run([args.dump, path, mode, str(args.repeats)], input=data, capture_output=True, check=True).stdout
                rates = lambda seconds: [megabytes / float(one) for one in seconds]
                both_sides.compared(f"{text_name}, {name}, {threads}", "MB/s", rates(out.split()[1:]),
                                    rates(seconds_of(function, args.repeats)))

            compare("one thread", "time", lambda: [reference.encode(t) for t in texts])
            if isinstance(reference, tokenizer_models.Fast):
                compare("two threads", "threads", lambda: reference.tokenizer.encode_batch(texts, add_special_tokens=False))


if __name__ == "__main__":
    main()
