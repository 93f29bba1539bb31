"""Compares `graft generate` with transformers' own loading of the same GGUF file.

    python tests/compat/generate_parity.py --graft build/dev/bin/graft --model SmolLM2-135M-Instruct.Q4_1.gguf

For each prompt: the largest gap between graft's logits and the reference's (float32, relative to the reference's largest
logit and absolute), and whether every greedy token is the one the reference picks after the same tokens, which is when the
reference's own greedy text is the same. `--generate N` also lets the reference write N of the texts with its own cache.
Exit status 1 where a gap exceeds --tolerance or a token differs. A test (generate_parity_test.cpp) compares a few prompts and
tokens in every run; docs/benchmarks.md has the figures of all.
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM, AutoTokenizer

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "golden"))
from real import PROMPTS  # noqa: E402


def graft_output(arguments, ids, folder):
    prompts = os.path.join(folder, "prompts.jsonl")
    logits = os.path.join(folder, "logits.safetensors")
    with open(prompts, "w") as file:
        file.writelines(json.dumps(line) + "\n" for line in ids)
    command = [arguments.graft, "generate", "--model", arguments.model, "--prompts", prompts, "--dtype", "float32", "--ignore-eos",
               "--max-new-tokens", str(arguments.tokens), "--logits", logits, "--json"]
    result = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in result.stdout.splitlines()], load_file(logits)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", required=True, help="the program")
    parser.add_argument("--model", required=True, help="a .gguf file")
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--prompts", type=int, default=len(PROMPTS))
    parser.add_argument("--generate", type=int, default=0, help="texts the reference also writes itself")
    parser.add_argument("--tolerance", type=float, default=1e-3, help="absolute, on logits")
    arguments = parser.parse_args()
    folder, file = os.path.split(os.path.abspath(arguments.model))
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=file)
    prompts = PROMPTS[: arguments.prompts]
    ids = [tokenizer(prompt, add_special_tokens=False).input_ids for prompt in prompts]
    with tempfile.TemporaryDirectory() as scratch:
        texts, logits = graft_output(arguments, ids, scratch)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=file, dtype=torch.float32).eval()

    gaps, differing = [], 0
    for i, prompt in enumerate(ids):
        written = texts[i]["ids"]
        with torch.inference_mode():
            reference = model(torch.tensor([prompt + written])).logits[0]
        gap = (logits[str(i)] - reference[: len(prompt)]).abs().max().item()
        picks = reference[len(prompt) - 1 : -1].argmax(-1).tolist()
        first = next((at for at, (a, b) in enumerate(zip(written, picks)) if a != b), None)
        note = f"{len(written)} tokens the same"
        if first is not None or len(written) != arguments.tokens:
            differing += 1
            row = reference[len(prompt) - 1 + (first or 0)].topk(2).values
            note = f"{len(written)} tokens, first difference at {first} (the reference's two best logits there: {row.tolist()})"
        if i < arguments.generate:
            with torch.inference_mode():
                own = model.generate(torch.tensor([prompt]), max_new_tokens=arguments.tokens, do_sample=False, eos_token_id=-1, pad_token_id=0)
            same = own[0, len(prompt) :].tolist() == written
            differing += not same
            note += ", as the reference's own text" if same else ", UNLIKE the reference's own text"
        gaps.append(gap)
        text_same = tokenizer.decode(written, skip_special_tokens=True) == texts[i]["text"]
        print(f"{i:2d}  logit gap {gap:.2e} of {reference.abs().max().item():.1f}  {note}{'' if text_same else ', text differs'}", flush=True)
    worst = torch.tensor(gaps).max().item()  # no number where one is none, which Python's max() passes over
    print(f"largest logit gap {worst:.2e}; {differing} of {len(ids)} texts differ")
    sys.exit(1 if differing or not worst <= arguments.tolerance else 0)


if __name__ == "__main__":
    main()
