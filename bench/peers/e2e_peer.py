#!/usr/bin/env python3
"""A run of `graft tune` on a generation task once more with transformers and PEFT, written plainly: LoRA, prefix tuning,
(IA)3 or everything, padded batches, the prompt's labels at -100.

Everything comes from graft's run folder, so that both systems do the same work: the training examples (train.jsonl), the
examples and the learning rate of every step (metrics.jsonl), the held-out prompts (predictions.jsonl), the settings
(config.yaml); with --start the values that training begins with, too. Prints one JSON object a line; --output takes what was
written for each held-out prompt, one JSON line each.
"""

import json
import pathlib
import resource
import statistics
import time

import safetensors.torch
import torch
import yaml
from peft import IA3Config, LoraConfig, PrefixTuningConfig, get_peft_model
from transformers import AutoModelForCausalLM, AutoTokenizer

import peer

WRITTEN_AT_A_TIME = 32


def arguments():
    parser = peer.parser(__doc__)
    parser.add_argument("--output", required=True, type=pathlib.Path, help="JSON lines: id, output")
    parser.add_argument("--start", type=pathlib.Path, help="state of a graft run whose values it begins with (default: own draws)")
    return parser.parse_args()


def adapted(model, method):
    options = method["options"]
    name = method["name"]
    if name == "full":
        return model
    if name == "lora":
        config = LoraConfig(task_type="CAUSAL_LM", r=int(options.get("rank", 8)), lora_alpha=float(options.get("alpha", 16)),
                            lora_dropout=float(options.get("dropout", 0)), target_modules=["q_proj", "v_proj"])
    elif name == "ia3":
        config = IA3Config(task_type="CAUSAL_LM", target_modules=["k_proj", "v_proj", "down_proj"],
                           feedforward_modules=["down_proj"])
    elif name == "prefix_tuning":
        config = PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=int(options.get("length", 10)),
                                    prefix_projection=True, encoder_hidden_size=int(options.get("hidden", 512)))
    else:
        raise SystemExit(f"no peer for the method {name}")
    return get_peft_model(model, config)


def peer_name(method, name):
    """What PEFT calls a tensor of graft's adapter."""
    if method == "prefix_tuning":
        return name.replace("decoder.", "prompt_encoder.default.", 1)
    _, layer, role, matrix = name.split(".")
    return f"base_model.model.model.layers.{layer}.self_attn.{role}_proj.lora_{matrix.upper()}.default.weight"


def take_start(model, method, file):
    mark = "parameter."
    values = {peer_name(method, name.removeprefix(mark)): value for name, value in safetensors.torch.load_file(file).items()
              if name.startswith(mark)}
    trained = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    shapes = lambda tensors: {name: list(tensor.shape) for name, tensor in tensors.items()}
    if shapes(values) != shapes(trained):
        raise SystemExit(f"{file}: holds {shapes(values)}, PEFT trains {shapes(trained)}")
    with torch.no_grad():
        for name, parameter in trained.items():
            parameter.copy_(values[name])


def make_optimiser(settings, parameters):
    if settings["name"] != "adamw":
        raise SystemExit("the peer has AdamW only")
    return torch.optim.AdamW(parameters, lr=float(settings["lr"]), eps=float(settings["eps"]),
                             weight_decay=float(settings["weight_decay"]),
                             betas=(float(settings["beta1"]), float(settings["beta2"])))


def encoded(tokenizer, prompt, text):
    encode = lambda part: tokenizer(part, add_special_tokens=False)["input_ids"]
    return encode(prompt), encode(text) + [tokenizer.eos_token_id]


def padded(rows, pad, value, left=False):
    width = max(len(row) for row in rows)
    fill = [[value if pad is None else pad] * (width - len(row)) for row in rows]
    return torch.tensor([more + row if left else row + more for row, more in zip(rows, fill)])


def loss_of(model, batch, pad, smoothing):
    ids = padded([prompt + text for prompt, text in batch], pad, pad)
    mask = padded([[1] * len(prompt + text) for prompt, text in batch], 0, 0)
    labels = padded([[-100] * len(prompt) + text for prompt, text in batch], -100, -100)
    if not smoothing:
        return model(input_ids=ids, attention_mask=mask, labels=labels).loss
    logits = model(input_ids=ids, attention_mask=mask).logits[:, :-1].float()
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), label_smoothing=smoothing)


@torch.inference_mode()
def write(model, tokenizer, prompts, how, pad):
    model.eval()
    early = {"true": True, "false": False, "never": "never"}[str(how["early_stopping"]).lower()]
    search = {} if how["beams"] == 1 else {"length_penalty": float(how["length_penalty"]), "early_stopping": early}
    began, texts = time.perf_counter(), []
    for at in range(0, len(prompts), WRITTEN_AT_A_TIME):
        rows = [tokenizer(prompt, add_special_tokens=False)["input_ids"] for prompt in prompts[at : at + WRITTEN_AT_A_TIME]]
        ids = padded(rows, pad, pad, left=True)
        mask = padded([[1] * len(row) for row in rows], 0, 0, left=True)
        written = model.generate(input_ids=ids, attention_mask=mask, do_sample=False, num_beams=how["beams"],
                                 max_new_tokens=how["max_new_tokens"], no_repeat_ngram_size=how["no_repeat_ngram"],
                                 eos_token_id=tokenizer.eos_token_id, pad_token_id=pad, **search)
        texts += [text.strip() for text in tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)]
    return texts, time.perf_counter() - began


def train(model, run, examples, config, pad):
    optimiser = make_optimiser(config["optimizer"], [p for p in model.parameters() if p.requires_grad])
    clip, smoothing = float(config["optimizer"]["clip_norm"]), float(config["objective"]["label_smoothing"])
    model.train()
    times = []
    for step in peer.steps(run):
        for group in optimiser.param_groups:
            group["lr"] = step["lr"]
        batch = [examples[index] for index in step["examples"]]
        began = time.perf_counter()
        loss = loss_of(model, batch, pad, smoothing)
        loss.backward()
        if clip:
            torch.nn.utils.clip_grad_norm_([p for p in model.parameters() if p.requires_grad], clip)
        optimiser.step()
        optimiser.zero_grad(set_to_none=True)
        times.append(time.perf_counter() - began)
        peer.say(event="step", step=step["step"], loss=loss.item(), seconds=times[-1])
    return times


def main():
    options = arguments()
    if options.threads:
        torch.set_num_threads(options.threads)
    config = yaml.safe_load((options.run / "config.yaml").read_text())
    torch.manual_seed(config["train"]["seed"])
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    pad = tokenizer.pad_token_id if tokenizer.pad_token_id is not None else tokenizer.eos_token_id
    dtype = torch.bfloat16 if config["train"]["precision"] == "bfloat16" else torch.float32
    model = adapted(AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype), config["method"])
    if options.start:
        take_start(model, config["method"]["name"], options.start)
    examples = [encoded(tokenizer, row["prompt"], row["choices"][0]) for row in peer.lines(options.run / "train.jsonl")]
    held_out = [row for row in peer.lines(options.run / "predictions.jsonl") if row["phase"] == "after"]

    times = train(model, options.run, examples, config, pad)
    texts, seconds = write(model, tokenizer, [row["prompt"] for row in held_out], config["generation"], pad)
    with open(options.output, "w", encoding="utf-8") as out:
        for row, text in zip(held_out, texts):
            out.write(json.dumps({"id": row["id"], "output": text}) + "\n")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    peer.say(event="summary", step_seconds=statistics.median(times), write_seconds=seconds, peak_memory_bytes=peak,
             torch=torch.__version__, threads=torch.get_num_threads())


if __name__ == "__main__":
    main()
