#!/usr/bin/env python3
"""A run of `graft tune` once more with transformers and PEFT, written plainly: (IA)3, T-Few losses, one padded row per
choice. For decoders; t5_peer.py is for encoder-decoders.

Everything comes from graft's run folder, so that both systems do the same work: the training examples (train.jsonl), the
examples and the learning rate of every step (metrics.jsonl), the held-out examples (predictions.jsonl), the optimiser's
settings (config.yaml). Prints one JSON object a line.

Rows of many choices need much memory: a token takes about 1.7 MB of SmolLM2-135M's activations and logits. Gradients of
parts of a batch add up to the same step (--examples-at-a-time), because all losses are means over examples.
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


def arguments(description):
    parser = peer.parser(description)
    parser.add_argument("--steps", type=int, default=0, help="the first so many of the run's steps; 0: all")
    parser.add_argument("--no-evaluation", action="store_true", help="train only")
    parser.add_argument("--examples-at-a-time", type=int, default=0, help="of a step, in one pass; 0: all")
    return parser.parse_args()


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
    return by_example([chosen[number, len(prompt) - 1 : len(prompt) + len(choice) - 1]
                       for number, (prompt, choice) in enumerate(rows)], batch)


def by_example(flat, batch):
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
def evaluate(model, scores, examples, size):
    model.eval()
    began, right = time.perf_counter(), 0
    for at in range(0, len(examples), size):
        batch = examples[at : at + size]
        for choices, (_, _, label) in zip(scores(batch), batch):
            right += int(torch.stack([choice.mean() for choice in choices]).argmax()) == label
    seconds = time.perf_counter() - began
    model.train()
    return {"accuracy": right / len(examples), "seconds": seconds}


def make_optimiser(settings, parameters):
    if settings["name"] == "adamw":
        return torch.optim.AdamW(parameters, lr=float(settings["lr"]), eps=float(settings["eps"]),
                                 weight_decay=float(settings["weight_decay"]),
                                 betas=(float(settings["beta1"]), float(settings["beta2"])))
    from transformers.optimization import Adafactor
    return Adafactor(parameters, lr=float(settings["lr"]), scale_parameter=False, relative_step=False, warmup_init=False)


def make_step(optimiser, scores, batch, size):
    """One step over `size` examples at a time; its loss."""
    total = 0.0
    for at in range(0, len(batch), size):
        part = batch[at : at + size]
        loss = tfew_loss(scores(part), [label for _, _, label in part]) * (len(part) / len(batch))
        loss.backward()
        total += loss.item()
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return total


def train(options, optimiser, scores, examples, size):
    """Seconds of every step."""
    times = []
    for step in peer.steps(options.run, options.steps):
        for group in optimiser.param_groups:
            group["lr"] = step["lr"]
        batch = [examples[index] for index in step["examples"]]
        began = time.perf_counter()
        loss = make_step(optimiser, scores, batch, size)
        times.append(time.perf_counter() - began)
        peer.say(event="step", step=step["step"], loss=loss, seconds=times[-1])
    return times


def config_of(options):
    if options.threads:
        torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    return yaml.safe_load((options.run / "config.yaml").read_text())


def dtype_of(config):
    return torch.bfloat16 if config["train"]["precision"] == "bfloat16" else torch.float32


def repeat(options, config, model, encoded, scores):
    """The run once more. `encoded(prompt, choices)` are their ids; `scores(batch)` of (prompt, choices, label) is what
    choice_scores() gives."""
    at_a_time = options.examples_at_a_time or config["train"]["batch_size"]
    examples = [(*encoded(row["prompt"], row["choices"]), row["label"]) for row in peer.lines(options.run / "train.jsonl")]
    held_out = [] if options.no_evaluation else [
        (*encoded(row["text"], row["choices"]), row["truth"])
        for row in peer.lines(options.run / "predictions.jsonl") if row["phase"] == "before"]
    if held_out:
        peer.say(event="before", **evaluate(model, scores, held_out, at_a_time))
    optimiser = make_optimiser(config["optimizer"], [p for p in model.parameters() if p.requires_grad])
    model.train()
    times = train(options, optimiser, scores, examples, at_a_time)
    if held_out:
        peer.say(event="after", **evaluate(model, scores, held_out, at_a_time))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    prompts, choices, _ = zip(*examples)
    peer.say(event="summary", step_seconds=statistics.median(times), peak_memory_bytes=peak, torch=torch.__version__,
             threads=torch.get_num_threads(), prompt_tokens=statistics.mean(map(len, prompts)),
             choice_tokens=statistics.mean(len(choice) for some in choices for choice in some))


def main():
    options = arguments(__doc__)
    config = config_of(options)
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype_of(config))
    targets = ["k_proj", "v_proj", "down_proj"]
    model = get_peft_model(model, IA3Config(target_modules=targets, feedforward_modules=["down_proj"]))
    encode = lambda text: tokenizer(text, add_special_tokens=False)["input_ids"]
    repeat(options, config, model, lambda prompt, choices: (encode(prompt), [encode(choice) for choice in choices]),
           lambda batch: choice_scores(model, batch, tokenizer.eos_token_id))


if __name__ == "__main__":
    main()
