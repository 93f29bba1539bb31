#!/usr/bin/env python3
"""Writes corpora made of real paragraphs, in which near duplicates and pieces of an evaluation are planted, and what a
deduplication has to keep and a contamination check to find, which is known from how they are made. bench/data.py runs it.

  dedup.jsonl, dedup-wanted.jsonl             documents, and those that stay
  train.jsonl, eval.jsonl, eval-wanted.json   documents, examples, and the numbers of the dirty ones
"""

import argparse
import json
import pathlib
import random

from peers.data_peer import plain_words

# Words of a run that counts as contamination, and documents beyond which it is common.
ORDER, COMMON = 13, 10
# Around every planted run, so that no word beside it goes on with what the example says.
FENCE = "qzx"


def runs(words):
    return [" ".join(words[first:first + ORDER]) for first in range(len(words) - ORDER + 1)]


def paragraphs(folder):
    """Those of at least 20 words of all .txt files below a folder, but for what shares a run of ORDER words with an earlier one."""
    seen, kept = set(), []
    for file in sorted(folder.rglob("*.txt")):
        for text in file.read_text(encoding="utf-8", errors="replace").split("\n\n"):
            text = " ".join(text.split())
            found = runs(plain_words(text))
            if len(found) > 20 - ORDER and not any(run in seen for run in found):
                kept.append(text)
            seen.update(found)
    if len(kept) < 1000:
        raise SystemExit(f"planted.py: --data: {folder} holds {len(kept)} paragraphs of 20 words that are not said twice, "
                         "and 1,000 are needed: name a folder with more text, such as BBC News")
    return kept


def document(pool, draw):
    """Two of these have next to nothing in common."""
    return "\n".join(draw.sample(pool, draw.randint(8, 16)))


def edited(text, changes, draw):
    """With as many words replaced, in even distances: each takes and brings five shingles of five words."""
    words = text.split(" ")
    for change in range(changes):
        words[(2 * change + 1) * len(words) // (2 * changes)] = f"changed{draw.randrange(10**6)}"
    return " ".join(words)


def disguised(text):
    """The same words in other letters and signs."""
    return " – ".join(text.upper().replace(",", ";").split(". "))


def near_duplicates(pool, size, seed):
    """Documents of `size` bytes or a little more, and those of them that stay: the first of each cluster."""
    draw = random.Random(seed)
    made, total, cluster = [], 0, 0
    while total < size:
        family = [document(pool, draw)]
        words = family[0].count(" ")
        kind = cluster % 10
        if kind == 0:
            family += [family[0]]
        elif kind == 1:
            family += [disguised(family[0])]
        elif kind == 2:  # a Jaccard coefficient near 0.95
            family += [edited(family[0], max(1, words // 200), draw)]
        elif kind == 3:  # each is near the one before it, the last no nearer than 0.85 to the first
            for _ in range(3):
                family.append(edited(family[-1], max(1, words // 200), draw))
        made += [(cluster, text) for text in family]
        if kind == 4:  # near 0.5, so no duplicate
            made.append((-1 - cluster, edited(family[0], words // 15, draw)))
            total += len(made[-1][1].encode())
        total += sum(len(text.encode()) for text in family)
        cluster += 1
    draw.shuffle(made)
    firsts = {}
    for family, text in made:
        firsts.setdefault(family, text)
    return [text for _, text in made], list(firsts.values())


def overlaps(pool, size, seed, examples=400):
    """Training documents of `size` bytes or a little more, the examples of an evaluation, and which of these are dirty, by
    number. A quarter of the examples each: a run of ORDER to ORDER + 7 words in 1 to 3 documents; one word less than ORDER;
    ORDER words in more documents than COMMON; nothing at all."""
    draw = random.Random(seed)
    long = [text for text in pool if len(plain_words(text)) >= ORDER + 20]
    asked = draw.sample(long, min(examples, len(long) // 4))
    left = sorted(set(pool) - set(asked))
    train, total = [], 0
    while total < size:
        train.append(document(left, draw))
        total += len(train[-1].encode())
    for number, text in enumerate(asked):
        words = plain_words(text)
        count, places = ((ORDER + draw.randrange(8), draw.randint(1, 3)), (ORDER - 1, 1), (ORDER, COMMON + 2), (0, 0))[number % 4]
        first = draw.randrange(len(words) - count + 1)
        planted = f"{FENCE} {', '.join(words[first:first + count]).title()} {FENCE}."
        for place in draw.sample(range(len(train)), places):
            train[place] += "\n" + planted
    return train, asked, list(range(0, len(asked), 4))


def write(file, texts):
    file.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path, help="where the files go")
    parser.add_argument("--data", required=True, type=pathlib.Path, help="folder with texts as .txt files")
    parser.add_argument("--megabytes", type=int, default=50, help="of each corpus (default: 50)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    pool, size = paragraphs(options.data), options.megabytes * 10**6
    options.folder.mkdir(parents=True, exist_ok=True)
    texts, stay = near_duplicates(pool, size, options.seed)
    write(options.folder / "dedup.jsonl", texts)
    write(options.folder / "dedup-wanted.jsonl", stay)
    print(f"dedup: {len(texts)} documents, {len(texts) - len(stay)} of them planted duplicates")
    train, asked, dirty = overlaps(pool, size, options.seed)
    write(options.folder / "train.jsonl", train)
    write(options.folder / "eval.jsonl", asked)
    (options.folder / "eval-wanted.json").write_text(json.dumps(dirty))
    print(f"contamination: {len(train)} documents, {len(asked)} examples, {len(dirty)} of them planted")


if __name__ == "__main__":
    main()
