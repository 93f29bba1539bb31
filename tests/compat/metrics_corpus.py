"""Cases for the generation metrics: references of the E2E challenge, by meaning representation, and hypotheses made from
them that are wrong in many ways."""

import pathlib
import random

ODD_WORDS = ["£20-25", "1,000.5", "5-star", "don't", "'s", "it's", "U.S.", "e.g.", "3.", "...", "—", "“quoted”", "naïve", "ÉCOLE", "straße",
             "ΣΊΣΥΦΟΣ", "İstanbul", "東京", "です。", "🙂", "a&amp;b", "&lt;tag&gt;", "<skipped>", "(hi)", "C++", "x_y", "½", "٣٫١٤", "no\u00a0break",
             "\u2028", "\x1c", "e\u0301", "100%", "$5", "-", "--", "-2", "0", "Ⅷ", "running", "flies", "skies", "generalization", "happily",
             "controlled", "geologies", "agreed", "dying", "rationally", "yyyy", "\u212aelvin"]


def grouped(data):
    """Lists of references by meaning representation, in the order of the file."""
    groups = {}
    for line in (pathlib.Path(data) / "e2e" / "test.txt").read_text().split("\n"):
        if line:
            source, text = line.split("||")
            groups.setdefault(source, []).append(text.strip())
    return list(groups.values())


def dropped(words, rng):
    return [word for word in words if rng.random() > 0.2]


def swapped(words, rng):
    words = list(words)
    for _ in range(3):
        if len(words) > 1:
            a = rng.randrange(len(words) - 1)
            words[a], words[a + 1] = words[a + 1], words[a]
    return words


def repeated(words, rng):
    return [word for word in words for _ in range(rng.choice([1, 1, 1, 2, 3]))]


def moved(words, rng):
    if len(words) < 4:
        return words
    start = rng.randrange(len(words) - 2)
    phrase, rest = words[start:start + rng.randrange(1, 8)], words[:start] + words[start + 8:]
    at = rng.randrange(len(rest) + 1)
    return rest[:at] + phrase + rest[at:]


def odd(words, rng):
    words = list(words)
    for _ in range(4):
        words.insert(rng.randrange(len(words) + 1), rng.choice(ODD_WORDS))
    return words


def upper(words, rng):
    return [rng.choice([str.upper, str.title, str.lower])(word) for word in words]


def shuffled(words, rng):
    return rng.sample(words, len(words))


def joined(words, rng):
    """Text as a model writes it: signs beside words, sometimes several lines."""
    text = " ".join(words)
    for sign in ".,;:!?":
        if rng.random() < 0.7:
            text = text.replace(" " + sign, sign)
    if rng.random() < 0.2:
        text = text.replace(". ", rng.choice([".\n", "-\n", "\n-", ".\n\n"]))
    return text + rng.choice(["", "", " ", "\n", "  \t"])


CHANGES = [dropped, swapped, repeated, moved, odd, upper, shuffled]


def changed(text, rng):
    words = text.split()
    for change in rng.sample(CHANGES, rng.choice([0, 1, 1, 2, 3])):
        words = change(words, rng)
    return joined(words, rng)


def cases(data, count, seed):
    """`count` pairs of a hypothesis and its references; the first few are those that have a rule of their own."""
    rng = random.Random(seed)
    groups = grouped(data)
    found = [("", ["A reference."]), ("A text.", [""]), ("", [""]), ("", ["", "x"]), ("   ", ["a"]), (".", ["."]), ("one", ["one"]),
             ("a b", ["a b", ""]), ("the the the the", ["the cat"]), ("ab", ["abc"]), ("\n", ["a\nb"]), ("x" * 300, ["x" * 290]),
             ("end of line-\n", ["end of line-"]), ("a  b", ["a b"]), ("'s", ["it 's"])]
    long = [word for group in groups[:40] for word in group[0].split()]
    for length in (60, 90, 130):  # the limits of TER: places, candidates, and the beam
        found.append((" ".join(shuffled(long[:length], rng)), [" ".join(long[:length])]))
        found.append((" ".join(long[length:2 * length]), [" ".join(long[:length]), " ".join(long[length - 55:2 * length])]))
        found.append((" ".join(rng.choice("ab c d".split()) for _ in range(length)), [" ".join(rng.choice("a b c".split()) for _ in range(length))]))
    found += [(" ".join(long[:3]), [" ".join(long[:200])]), (" ".join(long[:200]), [" ".join(long[5:8])])]
    while len(found) < count:
        group = groups[len(found) % len(groups)]
        references = [joined(text.split(), rng) if rng.random() < 0.5 else text for text in group]
        if rng.random() < 0.1:
            references[rng.randrange(len(references))] = rng.choice(["", " ".join(odd([], rng))])
        if rng.random() < 0.15:
            references = references[:1]
        found.append((changed(rng.choice(group), rng), references))
    return found[:count]


def plain_cases(data, count, seed):
    """Cases such as the E2E script reads: one line each, none empty; hypotheses of at least five words."""
    rng = random.Random(seed)
    found = []
    groups = grouped(data)
    for index in range(count):
        group = groups[index % len(groups)]
        words = upper(swapped(rng.choice(group).split(), rng), rng)
        hypothesis = " ".join(joined(words, rng).split())
        if len(words) > 7:
            found.append((hypothesis, [" ".join(joined(text.split(), rng).split()) for text in group]))
    return found
