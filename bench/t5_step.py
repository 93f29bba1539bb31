#!/usr/bin/env python3
"""A T-Few step of an encoder-decoder by graft and by transformers + PEFT, in turn: (IA)3 with the three losses, 8 examples of
256 encoder tokens and three choices, bfloat16, AdamW, on the same examples, batches and learning rates. The model has the
shape of T5 1.1 base or of T0-3B and random weights, which bench/make_t0_3b.py writes once under --work (0.5 or 5.7 GB), or is
a T5 folder of your own (--model). Ends after the first round where the losses of both sides are not the same; prints how far
apart they are, then the times of a step, their ratio, the shares of the machine's limit, the peak memory, and whether the
ratio is as asked: 2 times the peer's rate.

  bench/setup_peers
  bench/t5_step.py --sizes base 3b --text rte/seed32.jsonl

bench/peers/t5_peer.py says what either side computes. Examples are windows of --text, one after the other. The peer needs
about 20 GB of memory at T0-3B's shape; graft takes what is free (--memory limits it).
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import both_sides

PER_LABEL, PROMPT_WORDS, PROMPT_TOKENS = 17, 300, 256  # graft bench trains on 16; one token of a prompt is </s>
LABELS = 3
BAR = 2  # times the peer's rate
TASK = f"""name: three_choices
format: jsonl
splits: {{pool: .}}
label: label
labels: ["0", "1", "2"]
collapse_whitespace: [text]
max_tokens: {{text: {PROMPT_TOKENS - 1}}}
templates:
  - prompt: "{{text}}"
    choices: [" yes, it does", " no, it does not", " perhaps it does"]
"""


def arguments():
    house = both_sides.HOUSE
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", required=True, type=pathlib.Path, help="a text of some thousand words")
    parser.add_argument("--sizes", nargs="+", choices=["base", "3b"], default=["base"], help="shapes with random weights")
    parser.add_argument("--model", type=pathlib.Path, help="instead of --sizes: a T5 folder with tokenizer.json")
    parser.add_argument("--steps", type=int, default=4, help="of a side's turn")
    parser.add_argument("--rounds", type=int, default=2, help="how often each side has its turn")
    parser.add_argument("--memory", help="for graft tune --memory, e.g. 8GiB")
    parser.add_argument("--peer-python", default=house / ".deps/peers/bin/python")
    parser.add_argument("--graft", default=house / "build/dev/bin/graft")
    parser.add_argument("--work", type=pathlib.Path, default=house / "build/bench", help="for the models")
    parser.add_argument("--output", type=pathlib.Path, help="keep all figures in this JSON file; what it holds is not run again")
    return parser.parse_args()


def model_of(options, size):
    """A folder with random weights of a shape, made where it is missing."""
    made = options.work / f"t5-{size}"
    if not made.exists():
        part = made.with_suffix(".part")
        subprocess.run([options.peer_python, both_sides.HOUSE / "bench/make_t0_3b.py", part, "--text", options.text, "--size",
                        size], check=True)
        part.rename(made)
    return made


def write_examples(text, folder):
    """The task and its rows: windows of the text with labels in turn."""
    words, count = text.read_text(encoding="utf-8", errors="replace").split(), PER_LABEL * LABELS
    if len(words) < PROMPT_WORDS + count:
        sys.exit(f"t5_step.py: {text} has {len(words)} words; give a --text of {PROMPT_WORDS + count} words at least")
    stride = (len(words) - PROMPT_WORDS) // count
    rows = [{"text": " ".join(words[at * stride : at * stride + PROMPT_WORDS]), "label": str(at % LABELS)} for at in range(count)]
    (folder / "task.yaml").write_text(TASK)
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def run_graft(options, folder):
    memory = ["--memory", options.memory] if options.memory else []
    return both_sides.tune(options, folder, 0, "--task", options.task, "--shots", str(PER_LABEL - 1), "--eval-rows", "1",
                           "--recipe", "tfew-cpu", *memory)


def measure(options, work, name):
    """A row without the machine's limit."""
    options.data, options.task = work / "rows.jsonl", work / "task.yaml"
    folder = lambda number: work / f"{name}-{number}"
    ours = {}

    def graft(number):
        ours[number] = run_graft(options, folder(number))
        return ours[number]

    def peer(number):
        found = both_sides.peer(options, "t5_peer.py", folder(number), "--no-evaluation")["summary"]
        both_sides.agree(f"{name}, round {number + 1}", ours[number]["losses"], found["losses"])
        return found

    mine, theirs = both_sides.in_turn(options.rounds, graft, peer)
    of = lambda summary, *more: {key: summary[key] for key in ("all_step_seconds", "losses", "peak_memory_bytes", *more)}
    return both_sides.stamped(model=name, rounds=options.rounds, graft=of(mine, "step_tokens"),
                              peer=of(theirs, "prompt_tokens", "choice_tokens"))


def show(row):
    peer = row["peer"]
    both_sides.agree(row["model"], row["graft"]["losses"], peer["losses"])
    print(f"{row['model']}: {peer['prompt_tokens']:.0f} tokens a prompt, {peer['choice_tokens']:.1f} a choice; graft computes "
          f"{row['graft']['step_tokens']:.0f} a step")
    both_sides.compared_steps(row["model"], row["graft"], peer, row.get("limit"), BAR)


def main():
    options = arguments()
    rows = both_sides.kept(options)
    with tempfile.TemporaryDirectory(prefix="graft-bench-") as work:
        work = pathlib.Path(work)
        write_examples(options.text, work)
        own = options.model
        for name in [own.name] if own else options.sizes:
            row = next((row for row in rows if row["model"] == name), None)
            if row is None:
                options.model = options.peer_model = own or model_of(options, name)
                row = measure(options, work, name)
                rows.append(row)
                both_sides.keep(options, rows)
                row["limit"] = both_sides.limits(options, options.model, "--only", "ia3", "--task", options.task, "--data",
                                                 options.data).get("ia3")
                both_sides.keep(options, rows)
            show(row)


if __name__ == "__main__":
    sys.exit(main())
