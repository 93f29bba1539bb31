"""How families of models cut a text before their merges, step by step as the tokenizer.json of each has it.

FAMILIES goes by the names that llama.cpp gives them in `tokenizer.ggml.pre`, PARTS are single steps that meet few characters in a
text. make(FOLDER, TEXTS) writes a small tokenizer of each as tokenizer.json, of the families as tokenizer.gguf too.
"""

import dataclasses
import json
import random

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

GPT2 = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2 = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
QWEN35 = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
          r"|\s*[\r\n]+|\s+(?!\S)|\s+")
O200K = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
         r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
TEKKEN = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+"
          r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*"
          r"|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
SEED_CODER = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| ?[^\\s\\p{L}\\p{N}\r\n]+"
              "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")
# Characters by number: some of them look like others, and are those others to an editor that normalises.
CASED_LETTERS = """
41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376 377 37B-37D 37F 386 388-38A 38C 38E-3A1 3A3-3F5 3F7-481 48A-52F
531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A 1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D
1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102
2107 210A-2113 2115 2119-211D 2124 2126 2128 212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183 2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE
2CF2 2CF3 A640-A66D A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F 104B0-104D3
104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"""
MARKS = "21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002"
ASIAN = "4E00-9FA5 800-4E00 AC00-D7FF"
HAN_AND_KANA = "4E00-9FA5 3040-309F 30A0-30FF"
DEEPSEEK3 = ("[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*"
             "|\\s*[\r\n]+|\\s+(?!\\S)|\\s+")


def one_of(ranges):
    return "[" + "".join("-".join(chr(int(end, 16)) for end in one.split("-")) for one in ranges.split()) + "]"


def split(*patterns):
    return [pre_tokenizers.Split(Regex(pattern), "isolated") for pattern in patterns]


def single_digits():
    return [pre_tokenizers.Digits(individual_digits=True)]


@dataclasses.dataclass
class Family:
    steps: list
    normalizer: object = None  # of tokenizer.json; a GGUF file has no word for one
    whole: bool = False  # a piece that is a token is taken whatever the merges say
    bos: bool = False


FAMILIES = {
    "llama-bpe": Family(split(LLAMA3), whole=True, bos=True),
    # OLMo 2's and Phi-4's spelling: what is between the matches goes, and nothing is.
    "dbrx": Family([pre_tokenizers.Split(Regex(LLAMA3), "removed", invert=True)]),
    "qwen2": Family(split(QWEN2), normalizer=normalizers.NFC()),
    "qwen35": Family(split(QWEN35), normalizer=normalizers.NFC()),
    "gpt-4o": Family(split(O200K)),
    "tekken": Family(split(TEKKEN), whole=True, bos=True),
    "seed-coder": Family(split(SEED_CODER)),
    "deepseek-llm": Family(split("[\r\n]", f"\\s?{one_of(CASED_LETTERS)}+", f"\\s?{one_of(MARKS)}+", "\\s+$", f"{one_of(ASIAN)}+") + single_digits(), bos=True),
    "deepseek-coder": Family(split("[\r\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", f"{one_of(ASIAN)}+") + single_digits(), bos=True),
    "deepseek-v3": Family(split("\\p{N}{1,3}", f"{one_of(HAN_AND_KANA)}+", DEEPSEEK3), bos=True),
    # llama.cpp's steps. Falcon's own cut digits off once more, at places where its vocabulary has no merges.
    "falcon": Family([pre_tokenizers.Punctuation("contiguous")] + split(GPT2, "[0-9][0-9][0-9]")),
}
# Any two of the classes that patterns know differ in one of these; what has the class goes.
CLASSES = [r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{N}\p{S}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{P}\p{S}]", r"[\p{M}\p{N}\p{P}\p{S}]"]
PARTS = {
    "nfc": Family([], normalizers.NFC()),
    "nfkd": Family([], normalizers.NFKD()),
    "strip-accents": Family([], normalizers.StripAccents()),
    "lowercase": Family([], normalizers.Lowercase()),
    "punctuation": Family([pre_tokenizers.Punctuation("removed")]),
    **{f"classes-{at}": Family([pre_tokenizers.Split(Regex(one), "removed")]) for at, one in enumerate(CLASSES)},
}
SPECIAL = ["<s>", "<|im_start|>", "<|im_end|>", "<|endoftext|>"]  # the corpus has them all
PLAIN_ADDED = "<repo_name>"


def vocabulary(texts):
    """Tokens and merges across every border a family may cut at, so that a cut that is off changes the ids."""
    chunks, shuffled = [], random.Random(2)
    for text in texts:
        at = 0
        while at < len(text):
            length = shuffled.randint(2, 9)
            chunks.append(text[at:at + length])
            at += length
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    trained.train_from_iterator(chunks, trainers.BpeTrainer(vocab_size=6000, show_progress=False,
                                                            initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    model = json.loads(trained.to_str())["model"]
    return model["vocab"], [tuple(merge) for merge in model["merges"]]


def merges_of(family, merges):
    """Where tokens are taken whole, some are such that no merge makes them: otherwise it would not show."""
    return [merge for rank, merge in enumerate(merges) if not family.whole or rank % 4 != 3]


def tokenizer_json(family, vocab, merges):
    made = Tokenizer(models.BPE(vocab=vocab, merges=merges_of(family, merges), ignore_merges=family.whole))
    if family.normalizer:
        made.normalizer = family.normalizer
    made.pre_tokenizer = pre_tokenizers.Sequence(family.steps + [pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    made.decoder = decoders.ByteLevel()
    made.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in SPECIAL])
    made.add_tokens([AddedToken(PLAIN_ADDED, special=False, normalized=False)])
    if family.bos:
        bos = (SPECIAL[0], made.token_to_id(SPECIAL[0]))
        made.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False),
                                                   processors.TemplateProcessing(single=f"{SPECIAL[0]} $A", special_tokens=[bos])])
    return made


def write_gguf(path, name, tokenizer, merges):
    from gguf import GGUFWriter

    family, (normal, control, user) = FAMILIES[name], (1, 3, 4)
    tokens = [tokenizer.id_to_token(index) for index in range(tokenizer.get_vocab_size())]
    writer = GGUFWriter(path, "llama")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(name)
    writer.add_token_list(tokens)
    writer.add_token_types([control if t in SPECIAL else user if t == PLAIN_ADDED else normal for t in tokens])
    writer.add_token_merges([" ".join(merge) for merge in merges_of(family, merges)])
    writer.add_bos_token_id(tokens.index(SPECIAL[0]))
    writer.add_add_bos_token(family.bos)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.close()


def make(folder, texts):
    vocab, merges = vocabulary(texts)
    for name, family in (FAMILIES | PARTS).items():
        (folder / name).mkdir(exist_ok=True)
        made = tokenizer_json(family, vocab, merges)
        made.save(str(folder / name / "tokenizer.json"))
        if name in FAMILIES:
            write_gguf(folder / name / "tokenizer.gguf", name, made, merges)
