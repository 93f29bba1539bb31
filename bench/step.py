#!/usr/bin/env python3
"""A step in which every token is a target: (IA)3, LoRA and full fine-tuning by graft and by transformers + PEFT, on the same
texts, batches, learning rates and optimiser. For each method a short run of both first: it ends where their losses are not
the same. Then both do all steps in turn, --rounds times, and the medians over all rounds are held together, and to the bars:
2.5 times the peer's rate for (IA)3 and LoRA, 2 for full.

  bench/setup_peers
  bench/step.py --model SmolLM2-135M-Instruct.Q4_1.gguf --data bbcnews/data
"""

import csv
import pathlib
import sys
import tempfile

import both_sides

BATCH, WORDS, TEXTS = 8, 96, 32  # 96 words of news are about 128 tokens
SETTINGS = {
    "ia3": ["optimizer.lr=3e-3"],
    "lora": ["method.options.rank=8", "method.options.alpha=16", "optimizer.lr=2e-4"],
    "full": ["optimizer.lr=2e-5"],
}
BARS = {"ia3": 2.5, "lora": 2.5, "full": 2}  # times the peer's rate


def arguments():
    parser = both_sides.parser(__doc__, "BBC News, one folder per topic", steps=8)
    parser.add_argument("--texts", type=pathlib.Path, help="write the texts into this CSV file and run nothing")
    parser.add_argument("--rounds", type=int, default=2, help="how often each side has its turn")
    parser.add_argument("--methods", nargs="+", default=list(SETTINGS), choices=list(SETTINGS))
    return parser.parse_args()


def write_texts(options, file):
    """A text's first word is its prompt, and so no target."""
    rows = []
    for article in sorted(pathlib.Path(options.data).glob("*/*.txt")):
        words = article.read_text(encoding="utf-8", errors="replace").split()
        if len(words) >= WORDS:
            rows.append((words[0], " " + " ".join(words[1:WORDS])))
        if len(rows) == TEXTS + 1:  # one is held out
            break
    with open(file, "w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([("first", "rest"), *rows])


def run_graft(options, method, folder, steps):
    settings = [f"train.batch_size={BATCH}", "generation.max_new_tokens=1", "data.train_split=train", "data.held_out_split=",
                *SETTINGS[method]]
    return both_sides.tune(options, folder, 0, "--recipe", "e2e-cpu", "--method", method, "--prompt-column", "first",
                           "--target-column", "rest", "--shots", str(TEXTS), "--eval-rows", "1",
                           *[word for setting in settings for word in ("--set", setting)], steps=steps)


def run_peer(options, folder):
    return both_sides.peer(options, "e2e_peer.py", folder, "--output", folder / "peer.jsonl")["summary"]


def check(options, method, work):
    folder = work / f"{method}-check"
    ours = run_graft(options, method, folder, both_sides.FIRST_STEPS)
    both_sides.agree(f"{method}, short run", ours["losses"], run_peer(options, folder)["losses"])


def measure(options, method, work):
    check(options, method, work)
    folder = lambda number: work / f"{method}-{number}"
    graft, peer = both_sides.in_turn(options.rounds, lambda number: run_graft(options, method, folder(number), options.steps),
                                     lambda number: run_peer(options, folder(number)))
    of = lambda summary, *more: {key: summary[key] for key in ("all_step_seconds", "losses", "peak_memory_bytes", *more)}
    return both_sides.stamped(method=method, rounds=options.rounds, graft=of(graft, "step_tokens"), peer=of(peer),
                              limit=both_sides.limits(options, options.model, "--only", method).get(method))


def show(row):
    both_sides.agree(row["method"], row["graft"]["losses"], row["peer"]["losses"])
    both_sides.compared_steps(row["method"], row["graft"], row["peer"], row["limit"], BARS[row["method"]])


def main():
    options = arguments()
    if options.texts:
        return write_texts(options, options.texts)
    rows = both_sides.kept(options)
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as work:
        texts = pathlib.Path(work) / "texts.csv"
        write_texts(options, texts)
        options.data = texts
        for method in options.methods:
            if all(row["method"] != method for row in rows):
                rows.append(measure(options, method, pathlib.Path(work)))
                both_sides.keep(options, rows)
    for row in rows:
        show(row)


if __name__ == "__main__":
    sys.exit(main())
