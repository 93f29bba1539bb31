"""Compares graft's generation metrics with their references, value by value: of the corpus, and of each case where the
reference has one. Every run of the tests compares what needs no such packages, programs or hours (tests/golden/texts.py).

python metrics_parity.py --dump build/core/graft_metrics_dump [--data DATA] [--cases 1000] [--e2e FOLDER] [--cider FOLDER]

Needs the packages of metrics_requirements.txt. --e2e is a copy of github.com/tuetschek/e2e-metrics (and needs perl), --cider one
of github.com/vrama91/cider, and Stanford's tokenizer needs java; what is missing is left out. TER takes most of the time, half an hour or so.
Ends with status 1 where a value differs by more than --tolerance.
"""

import argparse
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import types

import metrics_corpus
import metrics_reference
from metrics_reference import same
from nltk.stem.porter import PorterStemmer
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from sacrebleu.metrics import CHRF, TER


def graft(dump, cases, mode="scores", *arguments):
    lines = "".join(json.dumps(case) + "\n" for case in cases)
    done = subprocess.run([dump, mode, *arguments], input=lines.encode(), capture_output=True)
    if done.returncode != 0:
        sys.exit(f"graft_metrics_dump: {done.stderr.decode()}")
    return json.loads(done.stdout)


def coco(scorer, cases):
    hypotheses = {i: [text] for i, (text, _) in enumerate(cases)}
    references = {i: list(texts) for i, (_, texts) in enumerate(cases)}
    score, each = scorer.compute_score(references, hypotheses)
    return {"corpus": float(score), "each": [float(value) for value in each]}


def plain_cider(folder):
    """The scorer of the paper's authors, which is written in Python 2."""
    text = (pathlib.Path(folder) / "pyciderevalcap" / "cider" / "cider_scorer.py").read_text()
    module = types.ModuleType("cider_scorer")
    exec(text.replace("iteritems", "items").replace("xrange", "range"), module.__dict__)

    class Scorer:
        def compute_score(self, references, hypotheses):
            scorer = module.CiderScorer(n=4)
            for i in references:
                scorer += (hypotheses[i][0], references[i])
            return scorer.compute_score("corpus")

    return Scorer()


def references_of(args):
    metrics = {**metrics_reference.references(), "rougeL_coco": lambda c: coco(Rouge(), c), "cider": lambda c: coco(Cider(), c)}
    if args.cider:
        metrics["cider plain"] = lambda c: coco(plain_cider(args.cider), c)
    return {**metrics, **metrics_reference.ter_references()}


def sgml(kind, rows):
    """As the E2E script writes it: of each column one document; missing references are empty."""
    text = f'<{kind}set setid="e2e" srclang="any" trglang="en">\n'
    for column in range(max(map(len, rows))):
        text += f'<doc docid="test" genre="news" origlang="any" sysid="{kind}_{column}">\n<p>\n'
        text += "".join(f'<seg id="{i}">{row[column] if column < len(row) else ""}</seg>\n' for i, row in enumerate(rows, 1))
        text += "</p>\n</doc>\n"
    return text + f"</{kind}set>"


def mteval(folder, cases):
    """BLEU (times 100) and NIST of the Perl script, with more digits than it prints by itself."""
    with tempfile.TemporaryDirectory() as scratch:
        place = pathlib.Path(scratch)
        script = (pathlib.Path(folder) / "mteval" / "mteval-v13a-sig.pl").read_text()
        (place / "mteval.pl").write_text(script.replace("%2.4f  BLEU score = %.4f", "%.12f  BLEU score = %.12f"))
        (place / "XML").mkdir()
        (place / "XML" / "Twig.pm").write_text("package XML::Twig; 1;\n")  # only .xml files need it
        (place / "ref.sgm").write_text(sgml("ref", [references for _, references in cases]))
        (place / "tst.sgm").write_text(sgml("tst", [[text] for text, _ in cases]))
        (place / "src.sgm").write_text(sgml("src", [["x"] for _ in cases]))
        command = ["perl", "-I", scratch, "mteval.pl", "-r", "ref.sgm", "-s", "src.sgm", "-t", "tst.sgm", "-f", "log"]
        out = subprocess.run(command, cwd=scratch, capture_output=True, check=True).stdout.decode()
    nist, bleu = re.search(r"NIST score = ([0-9.]+)\s+BLEU score = ([0-9.]+)", out).groups()
    return {"bleu_e2e": {"corpus": 100 * float(bleu)}, "nist": {"corpus": float(nist)}}


def e2e_scores(folder, cases):
    sys.path.insert(0, str(folder))
    from metrics.pymteval import NISTScore
    scorer = NISTScore()
    for text, references in cases:
        scorer.append(text, references)
    return {**mteval(folder, cases), "nist pymteval": {"corpus": scorer.score()}}


def ptb_scores(cases):
    """ROUGE-L and CIDEr as the E2E script computes them, on the words of Stanford's tokenizer."""
    texts = PTBTokenizer().tokenize({i: [{"caption": text}] for i, (text, _) in enumerate(cases)})
    references = PTBTokenizer().tokenize({i: [{"caption": text} for text in texts] for i, (_, texts) in enumerate(cases)})
    words = [(texts[i][0], references[i]) for i in range(len(cases))]
    return {"rougeL_e2e": {"corpus": coco(Rouge(), words)["corpus"]}, "cider_e2e": {"corpus": coco(Cider(), words)["corpus"]}}


def compare(name, expected, found, cases, args):
    per_case = len(expected.get("each", [])) // len(cases)
    pairs = list(zip([expected["corpus"]] + expected.get("each", []), [found["corpus"]] + found.get("each", [])))
    gaps = [abs(a - b) for a, b in pairs]
    wrong = [i for i, gap in enumerate(gaps) if not gap <= args.tolerance]
    for i in wrong[:args.show]:
        where = "corpus" if i == 0 else repr(cases[(i - 1) // per_case])[:300]
        print(f"  {name}: expected {pairs[i][0]}, found {pairs[i][1]}: {where}")
    print(f"{name:30} corpus {expected['corpus']:12.6f}, {len(pairs)} values, largest gap {max(gaps):.1e}, {len(wrong)} differ", flush=True)
    return not wrong and len(found.get("each", [])) >= len(expected.get("each", []))


def compare_stems(args):
    """Every word of the cases, and as many endings of the stemmer's rules on beginnings of words."""
    words = {word.lower() for group in metrics_corpus.grouped(args.data) for text in group for word in text.split()}
    endings = ("sses ies ss s eed ed ing ated bled ized y ational tional enci anci izer bli abli alli entli eli ousli ization ation ator alism "
               "iveness fulness ousness aliti iviti biliti fulli logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant "
               "ement ment ent sion tion ion ou ism ate iti ous ive ize e ll lly ied yed ying").split()
    words |= {word[:cut] + ending for word in sorted(words) for cut in range(1, 6) for ending in endings}
    words = sorted(words)
    done = subprocess.run([args.dump, "stems"], input="\n".join(words).encode(), capture_output=True, check=True)
    stemmer = PorterStemmer()
    wrong = [(word, stem) for word, stem in zip(words, done.stdout.decode().split("\n")) if stemmer.stem(word) != stem]
    print(f"{'stems':30} {len(words)} words, {len(wrong)} differ {wrong[:args.show]}", flush=True)
    return not wrong


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True, help="graft_metrics_dump of a build")
    parser.add_argument("--data", default=os.environ.get("GRAFT_DATA", "../shared/data"), help="folder with e2e/test.txt")
    parser.add_argument("--cases", type=int, default=1000, help="texts that are compared")
    parser.add_argument("--seed", type=int, default=0, help="of the texts")
    parser.add_argument("--e2e", help="a copy of github.com/tuetschek/e2e-metrics")
    parser.add_argument("--cider", help="a copy of github.com/vrama91/cider")
    parser.add_argument("--show", type=int, default=3, help="differences that are printed of each metric")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="how far apart two values may be")
    args = parser.parse_args()
    good = [compare_stems(args)]
    raw = [b"caf\xc3 \xff\xfe bar", b"\xed\xa0\x80 x \xf0\x9f\x99"]
    broken = [("hex:" + text.hex(), ["hex:" + b"caf\xc3\xa9 bar \x80".hex(), "x"]) for text in raw]
    decoded = [(text.decode(errors="replace"), [b"caf\xc3\xa9 bar \x80".decode(errors="replace"), "x"]) for text in raw]
    found = graft(args.dump, broken)
    good += [compare("not UTF-8: " + name, same(metric, decoded), found[name], decoded, args) for name, metric in (("chrf", CHRF()), ("ter", TER()))]
    plain = metrics_corpus.plain_cases(args.data, args.cases, args.seed)
    found = graft(args.dump, plain)
    expected = {**(e2e_scores(args.e2e, plain) if args.e2e else {}), **(ptb_scores(plain) if shutil.which("java") else {})}
    good += [compare(name, values, found[name], plain, args) for name, values in expected.items()]
    cases = metrics_corpus.cases(args.data, args.cases, args.seed)
    found = graft(args.dump, cases)
    # What the goldens are made with is held to the package, too.
    good += [compare(f"{name}, written out", coco(scorer, cases), written(cases), cases, args) for name, scorer, written in
             (("rougeL_coco", Rouge(), metrics_reference.rouge_l_coco), ("cider", Cider(), metrics_reference.cider))]
    good += [compare(name, reference(cases), found[name], cases, args) for name, reference in references_of(args).items()]
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
