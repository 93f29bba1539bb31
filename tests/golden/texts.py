"""What the metrics of generated texts are, by the programs that tests/compat/metrics_reference.py names, on a thousand cases made of
E2E's references (tests/compat/metrics_corpus.py)."""

import json
import os
import pathlib
import sys

HERE = pathlib.Path(__file__).resolve().parent
COMPAT = HERE.parent / "compat"
CASES = 1000
TER_CASES = 60  # its reference takes a tenth of a second a case, and a sanitizer's build longer


def data():
    """The folder with published data; None where it has no E2E."""
    folder = pathlib.Path(os.environ.get("GRAFT_DATA") or HERE.parents[2] / "shared/data")
    return folder if (folder / "e2e/test.txt").exists() else None


def sources():
    """All that the file depends on, but for versions."""
    texts = [data() / "e2e/test.txt"] if data() else []
    return [COMPAT / "metrics_corpus.py", COMPAT / "metrics_reference.py", *texts]


def few(cases, count):
    return [(text, references[:count]) for text, references in cases]


def short(cases):
    return [(text, references) for text, references in cases if all(len(one.split()) < 50 for one in (text, *references))]


def groups(folder):
    """By name: cases, and their references by the names of tests/compat/metric_variants.h."""
    import metrics_corpus
    import metrics_reference

    varied = metrics_corpus.cases(folder, CASES, 0)
    ter = metrics_reference.ter_references()
    standard = {"ter": ter.pop("ter")}
    plain = metrics_corpus.plain_cases(folder, 2 * CASES, 0)[:CASES]
    return {
        "varied": (varied, metrics_reference.references()),
        # TER of all references in all settings takes half an hour, of a few long texts minutes.
        "two references": (few(varied[:TER_CASES], 2), standard),
        "short": (few(short(varied)[:TER_CASES], 2), ter),
        "plain": (plain, {"bleu_e2e": metrics_reference.bleu_e2e}),
        "one reference": (few(plain, 1), {"nist": metrics_reference.nist}),
    }


def write(file):
    """Says how it went. ValueError where a value is not finite, which would pass or fail by chance."""
    if data() is None:
        return "metrics        left out: they are made of E2E's texts; set GRAFT_DATA to a folder with e2e/test.txt"
    sys.path.insert(0, str(COMPAT))
    made = {}
    for name, (cases, references) in groups(data()).items():
        made[name] = {"cases": cases, "scores": {metric: reference(cases) for metric, reference in references.items()}}
    values = sum(1 + len(scores.get("each", [])) for group in made.values() for scores in group["scores"].values())
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(made, allow_nan=False), encoding="utf-8")
    return f"metrics        {sum(len(group['scores']) for group in made.values())} metrics, {values} values"
