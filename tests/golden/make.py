#!/usr/bin/env python3
"""Writes the goldens: tiny random models and what the pinned reference computes with them. README.md lists every key.

    ./setup --goldens && .deps/torch/bin/python tests/golden/make.py

Nothing is done when the folder is up to date; what else it holds is removed when it is not.
"""

import argparse
import concurrent.futures
import copy
import hashlib
import json
import multiprocessing
import os
import pathlib
import shutil
import sys
import time

import real
import texts

HERE = pathlib.Path(__file__).resolve().parent
# Batches on which nothing amplifies rounding (the default's do: ReLUs that flip, key biases).
BATCH_SEEDS = {"t5": 10201, "mt5": 21, "byt5": 11, "gpt2/bitfit": 40300, "gpt2/fish": 10301, "qwen2-window/fish": 10300,
               "phi3-longrope/bitfit": 11001}
NUDGES = 2  # reruns with other last digits, which show what they decide
# By how much of a tensor's largest value a number may move in reruns and be compared: a third of what is allowed to graft.
STABLE = 3e-5
# What reruns may decide, of a golden's numbers after ten steps and of its losses. Beyond, another seed is needed.
LARGEST_SHARE = 0.1
LARGEST_SPREAD = 3e-5


def fingerprint():
    digest = hashlib.sha256()
    for path in [*sorted([*HERE.glob("*.py"), *HERE.glob("methods/*.py"), HERE / "requirements.txt"]), *texts.sources()]:
        digest.update(path.read_bytes())
    digest.update(str(real.gguf()).encode())
    return digest.hexdigest()


def save(tensors, path, metadata):
    """save_file for tensors that are all finite: one that is not would make comparisons with it pass or fail at random."""
    import torch
    from safetensors.torch import save_file

    for key, value in tensors.items():
        if value.is_floating_point() and not torch.isfinite(value).all():
            raise ValueError(f"{path}: {key} has {int((~torch.isfinite(value)).sum())} values that are NaN or infinite: mend "
                             "what computes it, or choose another seed in BATCH_SEEDS")
    save_file(tensors, path, metadata=metadata)


def golden(name, method, bases, out, seed):
    """One golden.safetensors and, for an adapter, its PEFT folder. `bases` are the model in each dtype."""
    import torch

    import reference
    import tfew

    def fresh(dtype):
        return reference.adapt(copy.deepcopy(bases[dtype]), name, method, seed)

    batch_seed = BATCH_SEEDS.get(f"{name}/{method}", BATCH_SEEDS.get(name, seed + 1))
    sequences = reference.batch(name, torch.Generator().manual_seed(batch_seed))
    keys = {f"{key}.{i}": value for i, sequence in enumerate(sequences) for key, value in sequence.items()}

    model = fresh(torch.float32)
    reference.METHODS[method].save(model, out / "adapter")
    config = out / "adapter" / "adapter_config.json"
    if config.exists():
        document = {**json.loads(config.read_text()), "base_model_name_or_path": "../../model"}
        config.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    for prefix, one in (("", model), ("bf16.", fresh(torch.bfloat16))):
        loss, outputs = reference.lm_loss(one, sequences)
        keys[prefix + "loss"] = loss
        keys.update({f"{prefix}logits.{i}": value for i, value in enumerate(outputs)})
        keys.update({f"{prefix}grad.{key}": value for key, value in reference.gradients(one, loss).items()})

    prompt = sequences[0]["input_ids"][:5]
    keys["generate.prompt"] = prompt
    keys["generate.ids"], margin = reference.greedy(model, name, prompt)
    keys["generate.margin"] = torch.tensor(margin)

    if method == "ia3":
        examples = tfew.examples(torch.Generator().manual_seed(seed + 2))
        labels = [label for _, _, label in examples]
        keys["tfew.labels"] = torch.tensor(labels)
        scores = tfew.token_log_probabilities(model, name, examples)
        for i, (prompt, choices, _) in enumerate(examples):
            keys[f"tfew.prompt.{i}"] = prompt
            for j, choice in enumerate(choices):
                keys[f"tfew.choice.{i}.{j}"] = choice
                keys[f"tfew.logp.{i}.{j}"] = scores[i][j]
        for part, loss in tfew.losses(scores, labels).items():
            keys[f"tfew.loss.{part}"] = loss
            keys.update({f"tfew.{part}.grad.{key}": value for key, value in reference.gradients(model, loss).items()})

    # A true gradient of 0 (a key's bias without rotary positions, which a softmax does not see) is rounding noise alone.
    wide = fresh(torch.float64)
    precise = reference.gradients(wide, reference.lm_loss(wide, sequences)[0])
    largest = max(value.abs().max().item() for value in precise.values())
    unseen = {key for key, value in precise.items() if value.abs().max() < 1e-9 * largest}
    keys.update({f"unstable.grad.{key}": torch.ones_like(value, dtype=torch.uint8)
                 for key, value in precise.items() if key in unseen})

    most = (0.0, 0.0)
    for kind, prefix in (("adamw", "step10"), ("adafactor", "adafactor10")):
        losses, after = reference.train(fresh(torch.float32), name, sequences, kind)
        reruns = [reference.train(fresh(torch.float64), name, sequences, kind, wide=True),
                  *(reference.train(nudged(fresh(torch.float32), turn), name, sequences, kind) for turn in range(NUDGES))]
        spread = torch.stack([(other - losses).abs().max() for other, _ in reruns]).max().item() / losses.abs().max().item()
        keys[f"losses.{kind}"] = losses
        keys.update({f"{prefix}.{key}": value for key, value in after.items()})
        masks = unstable(after, [values for _, values in reruns], unseen)
        keys.update({f"unstable.{prefix}.{key}": value for key, value in masks.items()})
        share = masked_share(masks, precise, 1e-9 * largest)
        most = max(most[0], spread), max(most[1], share)
        if not (spread <= LARGEST_SPREAD and share <= LARGEST_SHARE):
            raise ValueError(f"{name}/{method}: after ten steps of {kind} rounding moves losses by {spread:.1e} (at most "
                             f"{LARGEST_SPREAD}) and decides {share:.1%} of the numbers (at most {LARGEST_SHARE:.0%}): choose "
                             "another seed in BATCH_SEEDS")
        losses, after = reference.train(fresh(torch.bfloat16), name, sequences, kind)
        keys[f"bf16.losses.{kind}"] = losses
        keys.update({f"bf16.{prefix}.{key}": value for key, value in after.items()})

    tensors = {key: (value.detach().float() if value.is_floating_point() else value).contiguous().clone()
               for key, value in keys.items()}
    out.mkdir(parents=True, exist_ok=True)
    save(tensors, out / "golden.safetensors", metadata={"case": name, "method": method})
    noisy = [(key, int(value.sum())) for key, value in keys.items() if key.startswith("unstable.")]
    return (f"loss {keys['loss'].item():.4f} margin {margin:.4f} unstable {sum(count for _, count in noisy)} elements "
            f"in {len(noisy)} tensors, rounding {most[0]:.1e} of losses and {most[1]:.1%} of numbers")


def unstable(values, others, unseen):
    """Masks of what the reruns have otherwise: there the gradient is rounding noise that the optimiser normalises to a step."""
    import torch

    masks = {}
    for key, value in values.items():
        mask = torch.full(value.shape, key in unseen)
        for other in others:
            mask |= ~((value - other[key]).abs() <= STABLE * value.abs().max())
        if mask.any():
            masks[key] = mask.to(torch.uint8)
    return masks


def masked_share(masks, gradients, least):
    """Of all numbers but those of tensors that have some whose true gradient is 0: fp64 makes next to nothing of it, not
    nothing, and Adafactor divides a whole vector by a mean that this noise is in."""
    counted = [key for key, gradient in gradients.items() if not ((gradient != 0) & (gradient.abs() <= least)).any()]
    masked = sum(int((masks[key] == 1).sum()) for key in counted if key in masks)
    return masked / max(sum(gradients[key].numel() for key in counted), 1)


def nudged(model, turn):
    """The same model with every parameter off by about two units in the last place: as another order of sums would do it."""
    import torch

    generator = torch.Generator().manual_seed(7 + turn)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(1 + 2e-7 * torch.randn(parameter.shape, generator=generator))
    return model


def reader_copies(model_folder, out):
    """The same tensors as a PyTorch zip, a legacy pickle, shards with an index, and a zip whose tensors share one storage."""
    import torch
    from safetensors.torch import load_file, save_file

    state = load_file(model_folder / "model.safetensors")
    names = sorted(state)
    for folder in ("bin", "legacy", "sharded", "bin-sharded", "views"):
        (out / folder).mkdir(parents=True)
        shutil.copy(model_folder / "config.json", out / folder)
    torch.save(state, out / "bin" / "pytorch_model.bin")
    torch.save(state, out / "legacy" / "pytorch_model.bin", _use_new_zipfile_serialization=False)
    storage = torch.arange(24, dtype=torch.float32)
    torch.save({"whole": storage.view(4, 6), "offset": storage[6:18].view(3, 4), "transposed": storage.view(4, 6).t(),
                "half": storage.half(), "bfloat": storage.bfloat16(), "integers": torch.arange(5)},
               out / "views" / "pytorch_model.bin")
    shards = [names[0::2], names[1::2]]
    for folder, stem, suffix in (("sharded", "model", "safetensors"), ("bin-sharded", "pytorch_model", "bin")):
        weights = {}
        for number, part in enumerate(shards, 1):
            file = f"{stem}-{number:05}-of-{len(shards):05}.{suffix}"
            tensors = {key: state[key] for key in part}
            if suffix == "bin":
                torch.save(tensors, out / folder / file)
            else:
                save_file(tensors, out / folder / file, metadata={"format": "pt"})
            weights.update({key: file for key in part})
        total = sum(value.numel() * value.element_size() for value in state.values())
        index = {"metadata": {"total_size": total}, "weight_map": weights}
        (out / folder / f"{stem}.{suffix}.index.json").write_text(json.dumps(index, indent=1))


def case(number, name, out):
    """Everything of one model, in a process of its own: one line a method, and what is wrong with any."""
    import torch
    import transformers

    import beams
    import reference
    from cases import load_model, write_model

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)  # the same sums in the same order on every machine with these instructions
    write_model(name, out / name / "model", seed=100 + number)
    bases = {dtype: load_model(name, out / name / "model", dtype) for dtype in (torch.float32, torch.bfloat16, torch.float64)}
    searched = beams.golden(copy.deepcopy(bases[torch.float32]), name, torch.Generator().manual_seed(7000 + number))
    save(searched, out / name / "beams.safetensors", {"case": name})
    lines, problems = [], []
    for method in filter(lambda one: reference.suits(one, name), reference.METHODS):
        try:
            lines.append(f"{name:14} {method:5} {golden(name, method, bases, out / name / method, seed=1000 * (number + 1))}")
        except ValueError as problem:
            problems.append(str(problem))
    return lines, problems


def real_model(out):
    """A line on what was made of a real model; it is not there on every machine."""
    import torch
    import transformers

    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    torch.set_num_threads(1)
    return real.write(out / "smollm2", save)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", nargs="?", type=pathlib.Path, default=HERE / "data", help="folder (default: data beside this file)")
    out = parser.parse_args().out.resolve()
    stamp = out / "stamp"
    if stamp.exists() and stamp.read_text() == fingerprint():
        print(f"goldens in {out} are up to date")
        return
    from cases import CASES

    began, problems = time.time(), []
    shutil.rmtree(out, ignore_errors=True)
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(len(os.sched_getaffinity(0)), mp_context=spawn) as workers:
        real_line = workers.submit(real_model, out)
        texts_line = workers.submit(texts.write, out / "metrics.json")
        for lines, wrong in workers.map(case, range(len(CASES)), CASES, [out] * len(CASES)):
            print("\n".join(lines), flush=True)
            problems += wrong
        print(real_line.result(), texts_line.result(), sep="\n", flush=True)
    if problems:
        sys.exit("make.py: no goldens: " + "\n".join(problems))
    reader_copies(out / "llama-gqa" / "model", out / "readers")
    stamp.write_text(fingerprint())
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(f"goldens: {out}, {size / 1e6:.1f} MB, {time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
