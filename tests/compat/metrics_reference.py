"""What the metrics of generated texts are held to: sacrebleu, rouge_score and nltk, which are small and in every environment that
makes goldens; and CIDEr-D and ROUGE-L of COCO's captions written out here, as their package brings a hundred megabytes of other
things (metrics_parity.py holds graft to it, and what is written out here, too). Cases are pairs of a hypothesis and its references;
a reference gives {"corpus": value, "each": values of the cases}."""

import collections
import itertools
import math

from nltk.translate.meteor_score import meteor_score
from nltk.translate.nist_score import corpus_nist
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics import BLEU, CHRF, TER
from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a


class NoSynonyms:
    """A WordNet that has none."""

    def synsets(self, word):
        return []


def columns(cases):
    """References as sacrebleu takes them: the first of every case, the second, …"""
    return [list(column) for column in itertools.zip_longest(*(references for _, references in cases))]


def sacrebleu_scores(metric, sentence, cases):
    """What corpus_score and sentence_score do, without counting twice, which for TER takes minutes."""
    counts = metric._extract_corpus_statistics([text for text, _ in cases], columns(cases))
    return {"corpus": metric._aggregate_and_compute(counts).score, "each": [sentence._compute_score_from_stats(list(row)).score for row in counts]}


def bleu(cases, **settings):
    return sacrebleu_scores(BLEU(force=True, **settings), BLEU(force=True, effective_order=True, **settings), cases)


def same(metric, cases):
    return sacrebleu_scores(metric, metric, cases)


def mean(values):
    return {"corpus": sum(values) / len(values), "each": values}


def rouge(kind, stem, cases):
    scorer = RougeScorer([kind], use_stemmer=stem)
    found = [scorer.score_multi(references, text)[kind] for text, references in cases]
    return {"corpus": sum(score.fmeasure for score in found) / len(found), "each": [value for score in found for value in score]}


def meteor(cases, *parameters):
    names = dict(zip(("alpha", "beta", "gamma"), parameters))
    return mean([meteor_score([t.split() for t in references], text.split(), wordnet=NoSynonyms(), **names) for text, references in cases])


def ascii_lower(text):
    """As mteval has it."""
    return "".join(letter.lower() if letter.isascii() else letter for letter in text)


def bleu_e2e(cases):
    """mteval's BLEU of a corpus in which every order has a match: sacrebleu's in small letters."""
    small = [(ascii_lower(text), list(map(ascii_lower, references))) for text, references in cases]
    return {"corpus": BLEU(force=True).corpus_score([text for text, _ in small], columns(small)).score}


def nist(cases):
    """Of cases with one reference each: of several nltk takes the best, mteval the n-grams of all."""
    split = Tokenizer13a()
    words = lambda text: split(ascii_lower(text)).split()
    references, texts = [[words(reference)] for _, [reference] in cases], [words(text) for text, _ in cases]
    return {"corpus": corpus_nist(references, texts), "each": [corpus_nist([one], [text]) for one, text in zip(references, texts)]}


def longest_common(first, second):
    """Words of the longest common subsequence."""
    row = [0] * (len(second) + 1)
    for one in first:
        diagonal = 0
        for place, other in enumerate(second, 1):
            diagonal, row[place] = row[place], diagonal + 1 if one == other else max(row[place], row[place - 1])
    return row[-1]


def rouge_l_coco(cases, beta=1.2):
    def score(text, references):
        words = text.split(" ")
        pairs = [(longest_common(words, reference.split(" ")), len(reference.split(" "))) for reference in references]
        precision, recall = max(common for common, _ in pairs) / len(words), max(common / length for common, length in pairs)
        return (1 + beta**2) * precision * recall / (recall + beta**2 * precision) if precision and recall else 0.0

    return mean([score(text, references) for text, references in cases])


def ngrams(text, order=4):
    words = text.split()
    return collections.Counter(tuple(words[at : at + n]) for n in range(1, order + 1) for at in range(len(words) - n + 1))


def cider(cases, sigma=6.0):
    """CIDEr-D: of each order the cosine of frequencies weighted by how few cases have an n-gram, where a text gains nothing by
    saying it more often than the reference, with a Gaussian penalty on the difference in length; the mean over orders and
    references, times 10."""
    counted = [(ngrams(text), [ngrams(reference) for reference in references]) for text, references in cases]
    holders = collections.Counter(ngram for _, references in counted for ngram in set().union(*references))

    def weighted(counts):
        vectors = [{} for _ in range(4)]
        for ngram, count in counts.items():
            vectors[len(ngram) - 1][ngram] = count * math.log(len(cases) / max(1, holders[ngram]))
        bigrams = sum(count for ngram, count in counts.items() if len(ngram) == 2)
        return vectors, [math.sqrt(sum(value**2 for value in vector.values())) for vector in vectors], bigrams

    def similarity(text, reference):
        (mine, my_norms, my_length), (theirs, their_norms, their_length) = text, reference
        total = 0.0
        for vector, other, norm, other_norm in zip(mine, theirs, my_norms, their_norms):
            if norm and other_norm:
                total += sum(min(value, other.get(ngram, 0)) * other.get(ngram, 0) for ngram, value in vector.items()) / (norm * other_norm)
        return total / 4 * math.exp(-((my_length - their_length) ** 2) / (2 * sigma**2))

    def score(text, references):
        text = weighted(text)
        return 10 * sum(similarity(text, weighted(reference)) for reference in references) / len(references)

    return mean([score(text, references) for text, references in counted])


def references():
    """By the names of tests/compat/metric_variants.h."""
    metrics = {
        "bleu none": lambda c: bleu(c, tokenize="none"),
        "bleu 13a": lambda c: bleu(c),
        "bleu intl": lambda c: bleu(c, tokenize="intl"),
        "bleu lower": lambda c: bleu(c, lowercase=True),
        "bleu smooth none": lambda c: bleu(c, smooth_method="none"),
        "bleu smooth floor": lambda c: bleu(c, smooth_method="floor"),
        "bleu smooth floor 0.5": lambda c: bleu(c, smooth_method="floor", smooth_value=0.5),
        "bleu smooth add-k": lambda c: bleu(c, smooth_method="add-k"),
        "bleu order 2": lambda c: bleu(c, max_ngram_order=2),
        "chrf": lambda c: same(CHRF(), c),
        "chrf++": lambda c: same(CHRF(word_order=2), c),
        "chrf lower whitespace beta 3": lambda c: same(CHRF(beta=3, lowercase=True, whitespace=True), c),
        "chrf eps": lambda c: same(CHRF(word_order=1, eps_smoothing=True), c),
        "rougeL_coco": rouge_l_coco,
        "cider": cider,
        "meteor": meteor,
        "meteor 0.8 1.5 0.3": lambda c: meteor(c, 0.8, 1.5, 0.3),
    }
    for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum"):
        metrics[kind] = lambda c, kind=kind: rouge(kind, False, c)
        metrics[kind + " stem"] = lambda c, kind=kind: rouge(kind, True, c)
    return metrics


def ter_references():
    """TER's, which take the longest."""
    return {
        "ter": lambda c: same(TER(), c),
        "ter case": lambda c: same(TER(case_sensitive=True), c),
        "ter normalised": lambda c: same(TER(normalized=True), c),
        "ter no punctuation": lambda c: same(TER(no_punct=True), c),
    }
