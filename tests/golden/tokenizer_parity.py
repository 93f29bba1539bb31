"""Compares graft's tokenizers with their references on the ugly corpus, text by text.

python tokenizer_parity.py --dump build/core/graft_tokenizer_dump --work build/tokenizer --data DATA [--lines 100000] [--show 3]
Ends with status 1 where a line differs.
"""

import argparse
import os
import subprocess
import sys
import unicodedata

import tokenizer_corpus
import tokenizer_models
import tokenizer_patterns


def run(dump, path, mode, data, *more):
    done = subprocess.run([dump, path, mode, *more], input=data, capture_output=True)
    if done.returncode != 0:
        sys.exit(f"graft_tokenizer_dump {path}: {done.stderr.decode()}")
    return done.stdout


def differing_lines(path, mode, texts, expected, args):
    """Where graft's ids are others, after the first few are shown."""
    rows = run(args.dump, path, mode, b"".join(text + b"\0" for text in texts)).decode().split("\n")[:-1]
    found = [[int(i) for i in row.split()] for row in rows]
    differing = [i for i in range(len(texts)) if i >= len(found) or found[i] != expected[i]]
    for index in differing[:args.show]:
        print(f"  {path} line {index}: {texts[index]!r}\n    expected {expected[index]}\n    found    {found[index:index + 1]}")
    return differing


def differing_decoded(path, reference, ids, args):
    """Likewise for texts. NUL ends a record, so ids of a text that has one are left out."""
    texts = [reference.decode(one) for one in ids]
    kept = [i for i, text in enumerate(texts) if "\0" not in text and ids[i]]
    rows = "".join(" ".join(map(str, ids[i])) + "\n" for i in kept).encode()
    decoded = run(args.dump, path, "decode_all", rows).decode().split("\0")[:-1]
    differing = [at for at, i in enumerate(kept) if at >= len(decoded) or decoded[at] != texts[i]]
    for at in differing[:args.show]:
        print(f"  {path} decode line {kept[at]}: {ids[kept[at]]}\n    expected {texts[kept[at]]!r}\n    found    {decoded[at:at + 1]}")
    return kept, differing


# SentencePiece's own files, which graft writes into GGUF with all that they say.
WRITTEN = ("unigram-model", "bpe-model")


def written_gguf(path, name, args):
    if name not in WRITTEN:
        return None
    file = os.path.join(args.work, name + ".gguf")
    run(args.dump, path, "gguf", b"", file)
    return file


def same_as_gguf(name, text):
    """Whether a GGUF file, which says nothing of a normaliser of tokenizer.json, gives the same ids."""
    if name in WRITTEN:
        return True
    return tokenizer_patterns.FAMILIES[name].normalizer is None or unicodedata.is_normalized("NFC", text)


def compare(name, texts, args):
    """`texts` are bytes. The reference takes characters: U+FFFD for each maximal part that is no UTF-8."""
    reference = tokenizer_models.reference(args.work, name, args.data)
    path = tokenizer_models.path_of(args.work, name, args.data)
    mode = "encode_special" if getattr(reference, "around", False) else "encode"
    read = [text.decode("utf-8", errors="replace") for text in texts]
    expected = [reference.encode(text) for text in read]
    differing = differing_lines(path, mode, texts, expected, args)
    gguf = tokenizer_models.gguf_of(args.work, name) or written_gguf(path, name, args)
    if gguf:
        kept = [i for i, text in enumerate(read) if same_as_gguf(name, text)]
        differing += differing_lines(gguf, mode, [texts[i] for i in kept], [expected[i] for i in kept], args)
    ids = sum(map(len, expected))
    print(f"{name}: {len(texts)} lines, {ids} ids, {len(differing)} lines differ", end="\n" if name in tokenizer_models.PARTS else "; ")
    if name in tokenizer_models.PARTS:
        return not differing
    # SentencePiece itself knows no special tokens but its unknown one. Turned round, ids make characters cut short.
    back = [reference.plain(ids) for ids in expected]
    kept, wrong = differing_decoded(path, reference, back + [ids[::-1] for ids in back[:len(back) // 4]], args)
    print(f"decode: {len(kept)} lines, {len(wrong)} differ", flush=True)
    return not differing and not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True, help="graft_tokenizer_dump of a build")
    parser.add_argument("--work", required=True, help="folder for the reference tokenizers, which are made once")
    parser.add_argument("--data", required=True, help="folder with gpt2-tokenizer")
    parser.add_argument("--lines", type=int, default=100000, help="texts that are compared")
    parser.add_argument("--seed", type=int, default=0, help="of the texts")
    parser.add_argument("--show", type=int, default=3, help="differences that are printed of each tokenizer")
    parser.add_argument("--only", nargs="*", default=tokenizer_models.NAMES + tokenizer_models.PARTS, help="these tokenizers")
    args = parser.parse_args()
    tokenizer_models.make(args.work)
    words = " ".join(tokenizer_models.articles()).split(" ")
    texts = [text.encode() for text in tokenizer_corpus.lines(args.lines, words, args.seed)]
    texts += tokenizer_corpus.malformed(args.lines // 10, words, args.seed)
    characters = [text.encode() for text in tokenizer_corpus.characters()]
    return 0 if all([compare(name, characters if name in tokenizer_models.PARTS else texts, args) for name in args.only]) else 1


if __name__ == "__main__":
    sys.exit(main())
