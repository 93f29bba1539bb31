#!/usr/bin/env python3
"""A run of `graft tune` once more with transformers and PEFT, written plainly: (IA)3, T-Few losses, one padded row per
choice.

Everything comes from graft's run folder, so that both systems do the same work: the training examples (train.jsonl), the
examples and the learning rate of every step (metrics.jsonl), the held-out examples (predictions.jsonl), the optimiser's
settings (config.yaml). Prints one JSON object a line.
"""

import resource
import statistics
import time

import torch
import torch.nn.functional as F
import yaml
from peft import IA3Config, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import peer


def encoded(tokenizer, prompt, choices, label):
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    return encode(prompt), [encode(choice) for choice in choices], label


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
    return {"accuracy": right / len(examples), "seconds": seconds}


def make_optimiser(settings, parameters):
    if settings["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=float(settings["lr"]), eps=float(settings["eps"]),
                                 weight_decay=float(settings["weight_decay"]),
                                 betas=(float(settings["beta1"]), float(settings["beta2"])))
    from transformers.optimization import Adafactor
    return Adafactor(parameters, lr=float(settings["lr"]), scale_parameter=False, relative_step=False, warmup_init=False)


def main():
    options = peer.parser(__doc__).parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    config = yaml.safe_load((options.run / "config.yaml").read_text())
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    pad, size = tokenizer.eos_token_id, config["train"]["batch_size"]
    dtype = torch.bfloat16 if config["train"]["precision"] == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype)
    targets = ["k_proj", "v_proj", "down_proj"]
    model = get_peft_model(model, IA3Config(target_modules=targets, feedforward_modules=["down_proj"]))
    train = [encoded(tokenizer, row["prompt"], row["choices"], row["label"]) for row in peer.lines(options.run / "train.jsonl")]
    held_out = [encoded(tokenizer, row["text"], row["choices"], row["truth"])
                for row in peer.lines(options.run / "predictions.jsonl") if row["phase"] == "before"]

    peer.say(event="before", **evaluate(model, held_out, size, pad))
    optimiser = make_optimiser(config["optimizer"], [p for p in model.parameters() if p.requires_grad])
    model.train()
    times = []
    for step in peer.lines(options.run / "metrics.jsonl"):
        if "examples" not in step:
            continue
        for group in optimiser.param_groups:
            group["lr"] = step["lr"]
        batch = [train[index] for index in step["examples"]]
        began = time.perf_counter()
        loss = tfew_loss(choice_scores(model, batch, pad), [label for _, _, label in batch])
        loss.backward()
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - began)
        peer.say(event="step", step=step["step"], loss=loss.item(), seconds=times[-1])
    peer.say(event="after", **evaluate(model, held_out, size, pad))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peer.say(event="summary", step_seconds=statistics.median(times), peak_memory_bytes=peak, torch=torch.__version__,
        threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
