#!/usr/bin/env python3
"""Speed of graft's generation metrics against their references on the same cases in the same run, one thread each.

python bench/metrics.py --dump build/release/graft_metrics_dump [--data DATA] [--cases 4693]

As many cases as E2E's test file has lines, each a changed text with all references of its meaning representation. Needs what
tests/compat/metrics_parity.py needs; NIST has its reference only with --e2e, a copy of github.com/tuetschek/e2e-metrics.
"""

import argparse
import os
import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tests" / "compat"))
import both_sides  # noqa: E402
import metrics_corpus  # noqa: E402
import metrics_parity as parity  # noqa: E402
import metrics_reference  # noqa: E402
from rouge_score.rouge_scorer import RougeScorer  # noqa: E402
from sacrebleu.metrics import BLEU, CHRF, TER  # noqa: E402


def sacrebleu(metric):
    return lambda cases: metric.corpus_score([text for text, _ in cases], metrics_reference.columns(cases)).score


def rouge(kind):
    scorer = RougeScorer([kind])
    return lambda cases: sum(scorer.score_multi(references, text)[kind].fmeasure for text, references in cases) / len(cases)


def nist(folder):
    sys.path.insert(0, str(folder))
    from metrics.pymteval import NISTScore

    def score(cases):
        scorer = NISTScore()
        for text, references in cases:
            scorer.append(text, references)
        return scorer.score()
    return score


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dump", required=True, help="graft_metrics_dump of a build")
    parser.add_argument("--data", default=os.environ.get("GRAFT_DATA", "../shared/data"), help="folder with e2e/test.txt")
    parser.add_argument("--cases", type=int, default=4693, help="texts that are scored (default: 4693)")
    parser.add_argument("--ter-cases", type=int, default=200, help="of these, for TER, whose reference takes a third of a second for each")
    parser.add_argument("--repeats", type=int, default=3, help="how often each side has its turn")
    parser.add_argument("--e2e", help="a copy of github.com/tuetschek/e2e-metrics, for NIST")
    args = parser.parse_args()
    cases = metrics_corpus.plain_cases(args.data, args.cases, 0)
    references = {"bleu": sacrebleu(BLEU(force=True)), "chrf": sacrebleu(CHRF()), "chrf++": sacrebleu(CHRF(word_order=2)),
                  "ter": sacrebleu(TER()), "rougeL_coco": lambda c: parity.coco(parity.Rouge(), c)["corpus"],
                  "cider": lambda c: parity.coco(parity.Cider(), c)["corpus"], "meteor": lambda c: metrics_reference.meteor(c)["corpus"]}
    references.update({kind: rouge(kind) for kind in ("rouge1", "rouge2", "rougeL", "rougeLsum")})
    if args.e2e:
        references["nist"] = nist(args.e2e)
    few = cases[:args.ter_cases]
    mine = parity.graft(args.dump, cases, "time", str(args.repeats))
    mine["ter"] = parity.graft(args.dump, few, "time", str(args.repeats))["ter"]
    print(f"{len(cases)} cases with {sum(len(r) for _, r in cases)} references; TER {len(few)} with {sum(len(r) for _, r in few)}")
    for name, score in references.items():
        start = time.perf_counter()  # once: sacrebleu keeps what it has tokenised, so that a second run is another task
        score(few if name == "ter" else cases)
        seconds = time.perf_counter() - start
        both_sides.compared(name, "s", mine[name], [seconds], fewer=True)


if __name__ == "__main__":
    main()
