"""A large, ugly corpus, the same for a seed: what tokenizers get wrong, one text a line.

Texts may hold any character except NUL that this Python's Unicode has, line ends included. malformed() gives bytes that are no UTF-8,
characters() every character.
"""

import itertools
import random
import unicodedata

SCRIPTS = {
    "latin": (0x41, 0x24F), "ipa": (0x250, 0x2AF), "greek": (0x370, 0x3FF), "cyrillic": (0x400, 0x52F),
    "armenian": (0x530, 0x58F), "hebrew": (0x590, 0x5FF), "arabic": (0x600, 0x6FF), "syriac": (0x700, 0x74F),
    "devanagari": (0x900, 0x97F), "bengali": (0x980, 0x9FF), "tamil": (0xB80, 0xBFF), "telugu": (0xC00, 0xC7F),
    "thai": (0xE00, 0xE7F), "tibetan": (0xF00, 0xFFF), "georgian": (0x10A0, 0x10FF), "jamo": (0x1100, 0x11FF),
    "ethiopic": (0x1200, 0x137F), "khmer": (0x1780, 0x17FF), "mongolian": (0x1800, 0x18AF),
    "extended": (0x1E00, 0x1FFF), "punctuation": (0x2000, 0x206F), "letterlike": (0x2100, 0x218F),
    "arrows": (0x2190, 0x22FF), "enclosed": (0x2460, 0x24FF), "boxes": (0x2500, 0x27BF), "kana": (0x3040, 0x30FF),
    "bopomofo": (0x3100, 0x312F), "han": (0x4E00, 0x9FFF), "yi": (0xA000, 0xA48F), "hangul": (0xAC00, 0xD7A3),
    "compat": (0xF900, 0xFAFF), "presentation": (0xFB00, 0xFDFF), "halfwidth": (0xFF00, 0xFFEF),
    "gothic": (0x10330, 0x1034F), "deseret": (0x10400, 0x1044F), "cuneiform": (0x12000, 0x1203F),
    "mathematical": (0x1D400, 0x1D7FF), "emoji": (0x1F300, 0x1F64F), "more_emoji": (0x1F680, 0x1F6FF),
    "han_b": (0x20000, 0x20100), "tags": (0xE0020, 0xE007F),
}
SPACES = [" ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", "\r", "\u00a0", "\u2003", "\u3000", "\u200b", "\u2028", "\x0b", "\x0c",
          "\x85", "\u1680", "\u202f", "\u205f", "\u180e", "\ufeff", " \n ", "\n \t"]
EMOJI = ["👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "👍🏽", "❤️", "🧑🏿‍🚀", "1️⃣", "☠", "😀😃", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "™️", "🤷🏻‍♀️"]
SPECIAL = ["<|im_start|>", "<|im_end|>", "<|endoftext|>", "<s>", "</s>", "<unk>", "<pad>", "<extra_id_0>", "<extra_id_99>",
           "<repo_name>", "<0x0A>", "▁", "▁▁the", "<|im_start|", "<|endoftext|>x", " </s> ", "Ġ", "Ċ"]
CODE = ["for (int i = 0; i < n; ++i) {\n\tx[i] += 0x1F;\n}", "def f(x):\n    return x**2  # ok", "SELECT * FROM t WHERE a='b';",
        "<div class=\"a\">&nbsp;</div>", "a->b::c<d>&&e||!f", "```python\nprint('hi')\n```", "$\\frac{1}{2}$", "#include <stdio.h>",
        "if x == y:\n        pass\n\n\n", "C:\\Users\\x", "--flag=value -x", "{{\"a\": [1, 2.5e-3, null]}}"]
URLS = ["https://example.org/a/b?c=d&e=%20f#g", "mailto:a.b+c@d.co.uk", "ftp://10.0.0.1:8080/", "www.bbc.co.uk/news", "@handle #tag"]
CONTRACTIONS = ["don't", "I'll", "we've", "he'd", "it's", "I'm", "they're", "DON'T", "o'clock", "'s", "’s", "rock'n'roll", "y'all'd've"]

# The bytes on either side of every border that the well-formed sequences of UTF-8 have (The Unicode Standard, table 3-7).
BORDERS = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0, 0xC1, 0xC2, 0xDF, 0xE0, 0xE1, 0xEC, 0xED, 0xEE, 0xEF, 0xF0, 0xF1, 0xF3, 0xF4,
           0xF5, 0xF8, 0xFC, 0xFE, 0xFF]
# Overlong forms, surrogates and what is beyond U+10FFFF, which have the shape of UTF-8; a pair of surrogates is CESU-8's.
FORBIDDEN = [b"\xC0\xAF", b"\xC1\xBF", b"\xE0\x80\xAF", b"\xE0\x9F\xBF", b"\xF0\x80\x80\xAF", b"\xF0\x8F\xBF\xBF", b"\xED\xA0\x80",
             b"\xED\xBF\xBF", b"\xED\xA0\xBD\xED\xB8\x80", b"\xF4\x90\x80\x80", b"\xF7\xBF\xBF\xBF", b"\xF8\x88\x80\x80\x80", b"\xFC\x84\x80\x80\x80\x80"]

# Blocks of many characters that are all alike.
ALIKE = [(0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x17000, 0x18CFF), (0x20000, 0x3FFFF)]


def known(character):
    """Whether Unicode has it. What newer versions have is outside all classes of a pattern to whoever does not know it yet."""
    return unicodedata.category(character) not in ("Cn", "Cs", "Co")


class Corpus:
    def __init__(self, seed, words):
        self.random = random.Random(seed)
        self.words = words
        self.letters = {name: [chr(c) for c in range(low, high + 1) if known(chr(c))]
                        for name, (low, high) in SCRIPTS.items()}
        self.marks = [chr(c) for c in range(0x300, 0x370)] + ["\u0483", "\u20d7", "\u0e31", "\u093f", "\u3099"]

    def script(self):
        letters = self.letters[self.random.choice(list(self.letters))]
        return "".join(self.random.choice(letters) for _ in range(self.random.randint(1, 12)))

    def english(self):
        start = self.random.randrange(len(self.words))
        return " ".join(self.words[start:start + self.random.randint(1, 15)])

    def number(self):
        r = self.random
        return r.choice([str(r.randrange(10 ** r.randint(1, 15))), f"{r.random() * 1e4:,.2f}", f"${r.randrange(999)}m",
                         "".join(r.choice("٠١٢٣٤٥٦٧٨٩०१२३½¼²³ⅣⅫ①〇一二") for _ in range(r.randint(1, 6))), f"{r.randrange(256):#x}", "1st 2nd 3rd"])

    def character(self):
        r = self.random
        while not known(one := chr(r.choice([r.randrange(0x20, 0xD800), r.randrange(0xE000, 0x11000), r.randrange(0x1F000, 0x1FA00)]))):
            pass
        return one

    def accented(self):
        r = self.random
        word = r.choice(self.words)
        return r.choice([unicodedata.normalize("NFD", word + "éüñçå"), "".join(c + r.choice(self.marks) * r.randint(0, 2) for c in word),
                         "ÅÉÎöüßſŒæ" + word.upper(), "ﬁﬂﬃ" + word, "İıIiſK" + word])

    def control(self):
        return "".join(chr(self.random.choice([*range(1, 32), 0x7F, *range(0x80, 0xA0), 0xAD, 0x200D, 0x202E, 0xFFFD, 0xFFFE]))
                       for _ in range(self.random.randint(1, 5)))

    def broken(self):
        data = bytearray(self.english().encode() + self.script().encode())
        for _ in range(self.random.randint(1, 4)):
            data[self.random.randrange(len(data))] = self.random.randrange(128, 256)
        return "".join(one for one in bytes(data).decode("utf-8", errors="replace") if known(one))

    def malformed(self):
        """Characters cut short, bytes that lost theirs, and forbidden forms between good text."""
        r = self.random
        data = bytearray()
        for _ in range(r.randint(1, 5)):
            good = (self.part() + self.script()).encode()
            data += good[r.randint(0, 3):len(good) - r.randint(0, 3)]
            data += r.choice([b"", b"", r.choice(FORBIDDEN), r.choice(FORBIDDEN)[:-1], bytes(r.choices(range(0x80, 0x100), k=r.randint(1, 4)))])
        made = bytes(data).replace(b"\0", b"")
        # Bytes may come together to a character that some know and others do not.
        unassigned = any(unicodedata.category(one) == "Cn" and one != "\ufffe" for one in made.decode("utf-8", errors="replace"))
        return self.malformed() if unassigned else made

    def run(self):
        character = self.random.choice([" ", "\n", "a", "=", "-", "0", "é", "あ", "\t", ".", "!?", "▁", "👍"])
        return character * self.random.choice([2, 3, 5, 8, 16, 33, 64, 100, 257])

    def part(self):
        r = self.random
        kind = r.random()
        if kind < 0.34:
            return self.english()
        if kind < 0.54:
            return self.script()
        choices = [self.number, self.accented, self.control, self.broken, self.run, lambda: r.choice(EMOJI), lambda: r.choice(SPECIAL),
                   lambda: r.choice(CODE), lambda: r.choice(URLS), lambda: r.choice(CONTRACTIONS), lambda: r.choice(SPACES),
                   self.character]
        return r.choice(choices)()

    def line(self):
        r = self.random
        text = r.choice(["", "", " ", "\n", "  "])
        for _ in range(r.randint(1, 8)):
            text += self.part() + r.choice(["", " ", " ", " ", r.choice(SPACES)])
        return text.replace("\0", "")


def lines(count, words, seed=0):
    """`count` texts built from `words` (a list of real ones) and everything above."""
    corpus = Corpus(seed, words)
    return [corpus.line() for _ in range(count)]


def sequences():
    """Every sequence of up to three of the border bytes, and of four where the first asks for as many or more."""
    short = [bytes(word) for length in (1, 2, 3) for word in itertools.product(BORDERS, repeat=length)]
    followers = [0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC2, 0xED, 0xF0, 0xFF]
    return short + [bytes(word) for word in itertools.product([b for b in BORDERS if b >= 0xF0], *[followers] * 3)]


def malformed(count, words, seed=0):
    """Bytes: `count` lines of good text among bad, and all of sequences(), some to a line with a letter between."""
    corpus = Corpus(seed, words)
    every = sequences()
    return [corpus.malformed() for _ in range(count)] + [b"x".join(every[at:at + 64]) for at in range(0, len(every), 64)]


def characters():
    """Every character between letters and marks, some to a line; of those that are alike a few."""
    step = {code: (code - low) % 61 == 0 for low, high in ALIKE for code in range(low, high + 1)}
    every = [chr(code) for code in range(1, 0x110000) if step.get(code, True) and known(chr(code))]
    # U+0345 comes behind every other mark when marks are put in order.
    return ["".join(f"{one}a\u0345{one}7" for one in every[at:at + 32]) for at in range(0, len(every), 32)]
