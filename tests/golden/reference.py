"""What the reference computes for one model and method: logits, loss, gradients, optimiser steps, generated tokens."""

import importlib
import pathlib

import torch
import torch.nn.functional as F
from transformers.optimization import Adafactor

import own
from cases import BY_LENGTH, VOCABULARY, decoder_start, is_encoder_decoder, windowed

# One file of methods/ each: value(noise) (None: the model's own values), adapt(model, name), save(model, folder).
METHODS = {path.stem: importlib.import_module(f"methods.{path.stem}")
           for path in sorted((pathlib.Path(__file__).parent / "methods").glob("*.py"))}
STEPS = 10
# Small, so that what rounding makes of ten steps stays below what is compared: at ten times as much a ReLU flips, and with it
# most of a tensor is another.
LEARNING_RATE = 3e-4


def suits(method, name):
    """Whether the method has a reference on this model; one without a suits() of its own has on all."""
    return getattr(METHODS[method], "suits", lambda _: True)(name)


def batch(name, generator):
    """Sequences of different length, kept apart so that nothing is padded."""
    def tokens(count):
        return torch.randint(3, VOCABULARY, (count,), generator=generator)
    if is_encoder_decoder(name):
        sequences = []
        for source, target in ((9, 4), (21, 7), (5, 1)):
            targets = tokens(target)
            sequences.append({"input_ids": tokens(source), "targets": targets,
                              "decoder_input_ids": F.pad(targets[:-1], (1, 0), value=decoder_start(name))})
        return sequences
    lengths = (7, 80 if name in BY_LENGTH else 24, 3)
    rows = [tokens(length) for length in lengths]
    return [{"input_ids": row, "targets": row[1:]} for row in rows]


def adapt(model, name, method, seed):
    """The model with a non-trivial adapter: its parameters are away from where training would begin."""
    model = own.with_masters(METHODS[method].adapt(model, name).eval())
    value, generator = METHODS[method].value, torch.Generator().manual_seed(seed)
    if value is None:
        return model
    with torch.no_grad():
        for _, parameter in sorted(trainable(model).items()):
            parameter.copy_(value(torch.randn(parameter.shape, generator=generator)))
    return model


def trainable(model):
    """Trainable parameters under the names of the adapter file (PEFT's adapter name left out)."""
    def written(key):
        return key.replace(".default", "").replace("lora_magnitude_vector.weight", "lora_magnitude_vector")
    return {written(key): value for key, value in model.named_parameters() if value.requires_grad}


def logits(model, sequence):
    extra = {}
    if "decoder_input_ids" in sequence:
        extra["decoder_input_ids"] = sequence["decoder_input_ids"][None]
    return model(input_ids=sequence["input_ids"][None], use_cache=False, **extra).logits[0]


def lm_loss(model, sequences):
    total, count, outputs = 0.0, 0, []
    for sequence in sequences:
        out = logits(model, sequence)
        outputs.append(out)
        targets = sequence["targets"]
        total = total + F.cross_entropy(out[: len(targets)].to(torch.promote_types(out.dtype, torch.float32)), targets,
                                        reduction="sum")
        count += len(targets)
    return total / count, outputs


def padded_loss(model, sequences):
    """What lm_loss gives, from one right-padded forward pass over all sequences: a third of its time."""
    def padded(key):
        return torch.nn.utils.rnn.pad_sequence([sequence[key] for sequence in sequences], batch_first=True)
    extra = {"decoder_input_ids": padded("decoder_input_ids")} if "decoder_input_ids" in sequences[0] else {}
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(sequence["input_ids"]) for sequence in sequences], batch_first=True)
    out = model(input_ids=padded("input_ids"), attention_mask=mask, use_cache=False, **extra).logits
    kept = torch.cat([row[: len(sequence["targets"])] for row, sequence in zip(out, sequences)])
    return F.cross_entropy(kept.to(torch.promote_types(kept.dtype, torch.float32)),
                           torch.cat([sequence["targets"] for sequence in sequences]))


def gradients(model, loss):
    parameters = trainable(model)
    found = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True, allow_unused=True)
    return {key: torch.zeros_like(value) if gradient is None else gradient
            for (key, value), gradient in zip(parameters.items(), found)}


def make_optimiser(kind, model):
    parameters = list(trainable(model).values())
    if kind == "adamw":
        return torch.optim.AdamW(parameters, lr=LEARNING_RATE, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)
    return Adafactor(parameters, lr=LEARNING_RATE, eps=(1e-30, 1e-3), clip_threshold=1.0, decay_rate=-0.8, beta1=None,
                     weight_decay=0.0, scale_parameter=False, relative_step=False, warmup_init=False)


def apart(name, wide):
    """Whether sequences may not be padded. In fp64 (`wide`) a row of padding that is outside of every window is NaN: the
    mask's lowest number is minus infinity to the softmax, which the reference takes in fp32."""
    return name in BY_LENGTH or (windowed(name) and wide)


def train(model, name, sequences, kind, wide=False):
    """Ten steps on the same batch; the loss of each step is taken before its update."""
    optimiser, losses = make_optimiser(kind, model), []
    loss_of = (lambda *batch: lm_loss(*batch)[0]) if apart(name, wide) else padded_loss
    for _ in range(STEPS):
        optimiser.zero_grad(set_to_none=True)
        loss = loss_of(model, sequences)
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    return torch.stack(losses), {key: value.detach().clone() for key, value in trainable(model).items()}


@torch.no_grad()
def greedy(model, name, prompt, count=20):
    """Greedy tokens by recomputing the whole sequence each time, and the smallest gap between best and second-best logit."""
    ids, margin = (torch.tensor([decoder_start(name)]) if is_encoder_decoder(name) else prompt), float("inf")
    start = len(ids)
    for _ in range(count):
        if is_encoder_decoder(name):
            last = logits(model, {"input_ids": prompt, "decoder_input_ids": ids})[-1]
        else:
            last = logits(model, {"input_ids": ids})[-1]
        best = last.topk(2).values
        margin = min(margin, (best[0] - best[1]).item())
        ids = torch.cat([ids, last.argmax()[None]])
    return ids[start:], margin
