"""Compares graft's tokenizers with their references on the ugly corpus, text by text.

python tokenizer_parity.py --dump build/core/graft_tokenizer_dump --work build/tokenizer --data DATA [--lines 100000] [--show 3]
Ends with status 1 where a line differs.
"""

import argparse
import subprocess
import sys

import tokenizer_corpus
import tokenizer_models


def run(dump, path, mode, data):
    done = subprocess.run([dump, path, mode], input=data, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"graft_tokenizer_dump {path}: {done.stderr.decode()}")
    return done.stdout


def compare(name, texts, args):
    reference = tokenizer_models.reference(args.work, name, args.data)
    path = tokenizer_models.path_of(args.work, name, args.data)
    expected = [reference.encode(text) for text in texts]
    rows = run(args.dump, path, "encode", b"".join(t.encode() + b"\0" for t in texts)).decode().split("\n")[:-1]
    found = [[int(i) for i in row.split()] for row in rows]
    differing = [i for i in range(len(texts)) if i >= len(found) or found[i] != expected[i]]
    for index in differing[:args.show]:
        print(f"  {name} line {index}: {texts[index]!r}\n    expected {expected[index]}\n    found    {found[index]}")
    # NUL ends a record, so texts that decode to one are left out. SentencePiece itself knows no special tokens but its unknown one.
    back = [reference.plain(ids) for ids in expected]
    texts_back = [reference.decode(ids) for ids in back]
    kept = [i for i, text in enumerate(texts_back) if "\0" not in text and back[i]]
    rows = "".join(" ".join(map(str, back[i])) + "\n" for i in kept).encode()
    decoded = run(args.dump, path, "decode_all", rows).decode().split("\0")[:-1]
    wrong = [i for i, text in zip(kept, decoded) if texts_back[i] != text] + [-1] * (len(kept) - len(decoded))
    for index in [i for i in wrong if i >= 0][:args.show]:
        print(f"  {name} decode line {index}: {back[index]}\n    expected {texts_back[index]!r}\n    found    {decoded[kept.index(index)]!r}")
    ids = sum(map(len, expected))
    print(f"{name}: {len(texts)} lines, {ids} ids, {len(differing)} lines differ; decode: {len(kept)} lines, {len(wrong)} differ", flush=True)
    return not differing and not wrong


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--dump", required=True)
    parser.add_argument("--work", required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--lines", type=int, default=100000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--show", type=int, default=3)
    parser.add_argument("--only", nargs="*", default=tokenizer_models.NAMES)
    args = parser.parse_args()
    tokenizer_models.make(args.work)
    words = " ".join(tokenizer_models.articles()).split(" ")
    texts = tokenizer_corpus.lines(args.lines, words, args.seed)
    return 0 if all([compare(name, texts, args) for name in args.only]) else 1


if __name__ == "__main__":
    sys.exit(main())
