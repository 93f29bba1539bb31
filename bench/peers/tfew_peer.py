#!/usr/bin/env python3
"""The quick start's job with transformers and PEFT, written plainly: (IA)3, T-Few losses, one padded row per choice.

Both systems must see the same data, so the examples come from JSONL files that graft writes: one line per example,
{"prompt": "…", "choices": [" a", " b"], "label": 0}. The training file is read in order, --batch lines a step, from the top
again at its end; write it with steps * batch lines to give every batch exactly. Prints one JSON object a line.
"""

import argparse
import json
import resource
import statistics
import time

import torch
import torch.nn.functional as F
from peft import IA3Config, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="safetensors folder")
    parser.add_argument("--train", required=True)
    parser.add_argument("--eval", required=True)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--lr", type=float, default=3e-3)
    parser.add_argument("--warmup", type=float, default=0.06, help="fraction of the steps, linear; then linear decay to 0")
    parser.add_argument("--optimiser", choices=("adamw", "adafactor"), default="adafactor")
    parser.add_argument("--dtype", choices=("bf16", "fp32"), default="bf16")
    parser.add_argument("--threads", type=int, default=0)
    return parser.parse_args()


def say(**values):
    print(json.dumps(values), flush=True)


def read_examples(path, tokenizer):
    examples = []
    with open(path, encoding="utf-8") as lines:
        for line in lines:
            row = json.loads(line)
            encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
            examples.append((encode(row["prompt"]), [encode(choice) for choice in row["choices"]], row["label"]))
    return examples


def choice_scores(model, batch, pad):
    """Per example a list of token log-probabilities, one tensor per choice."""
    rows = [(prompt, choice) for prompt, choices, _ in batch for choice in choices]
    width = max(len(prompt) + len(choice) for prompt, choice in rows)
    ids = torch.full((len(rows), width), pad)
    mask = torch.zeros_like(ids)
    for number, (prompt, choice) in enumerate(rows):
        whole = torch.tensor(prompt + choice)
        ids[number, : len(whole)] = whole
        mask[number, : len(whole)] = 1
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1].float().log_softmax(-1)
    chosen = logits.gather(-1, ids[:, 1:, None])[..., 0]
    flat = [chosen[number, len(prompt) - 1 : len(prompt) + len(choice) - 1]
            for number, (prompt, choice) in enumerate(rows)]
    result = []
    for _, choices, _ in batch:
        result.append(flat[: len(choices)])
        flat = flat[len(choices) :]
    return result


def tfew_loss(scores, labels):
    total = 0.0
    for choices, label in zip(scores, labels):
        wrong = torch.cat([choice for index, choice in enumerate(choices) if index != label])
        means = torch.stack([choice.mean() for choice in choices])
        unlikelihood = -torch.log1p(-wrong.exp().clamp(max=1 - 1e-6)).mean()
        total = total - choices[label].mean() + unlikelihood + F.cross_entropy(means[None], torch.tensor([label]))
    return total / len(labels)


@torch.inference_mode()
def evaluate(model, examples, size, pad):
    model.eval()
    began, right = time.perf_counter(), 0
    for at in range(0, len(examples), size):
        batch = examples[at : at + size]
        for choices, (_, _, label) in zip(choice_scores(model, batch, pad), batch):
            right += int(torch.stack([choice.mean() for choice in choices]).argmax()) == label
    seconds = time.perf_counter() - began
    return {"accuracy": right / len(examples), "seconds": round(seconds, 2), "examples_per_second": round(len(examples) / seconds, 3)}


def make_optimiser(options, parameters):
    if options.optimiser == "adamw":
        return torch.optim.AdamW(parameters, lr=options.lr, weight_decay=0.0)
    from transformers.optimization import Adafactor
    return Adafactor(parameters, lr=options.lr, scale_parameter=False, relative_step=False, warmup_init=False)


def main():
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    pad = tokenizer.eos_token_id
    dtype = torch.bfloat16 if options.dtype == "bf16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
    targets = ["k_proj", "v_proj", "down_proj"]
    model = get_peft_model(model, IA3Config(target_modules=targets, feedforward_modules=["down_proj"]))
    train, held_out = read_examples(options.train, tokenizer), read_examples(options.eval, tokenizer)

    say(event="before", **evaluate(model, held_out, options.batch, pad))
    optimiser = make_optimiser(options, [p for p in model.parameters() if p.requires_grad])
    model.train()
    times, warm = [], max(1.0, options.steps * options.warmup)
    for step in range(options.steps):
        for group in optimiser.param_groups:
            group["lr"] = options.lr * min(1.0, (step + 1) / warm) * (1 - step / options.steps)
        batch = [train[(step * options.batch + i) % len(train)] for i in range(options.batch)]
        began = time.perf_counter()
        loss = tfew_loss(choice_scores(model, batch, pad), [label for _, _, label in batch])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - began)
        say(event="step", step=step, loss=round(loss.item(), 5), seconds=round(times[-1], 3))
    say(event="after", **evaluate(model, held_out, options.batch, pad))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    say(event="summary", median_step_seconds=round(statistics.median(times), 3) if times else None,
        train_seconds=round(sum(times), 1), peak_rss_bytes=peak, torch=torch.__version__, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
