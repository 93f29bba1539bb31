"""The reference's side of peft_parity_test.cpp: PEFT reads graft's adapters, and makes adapters for graft to read.

    python tests/compat/peft_parity.py GOLDENS SCRATCH

SCRATCH/graft/MODEL/VARIANT holds an adapter that graft wrote and, in logits.safetensors, graft's inputs and logits: PEFT must
load it without a complaint and give the same logits. SCRATCH/peft/MODEL/VARIANT is written likewise by PEFT, with PEFT's
own default targets among the variants; t5-v11/authors also gets adapter.pt, the same vectors under the names that T-Few's
authors gave theirs. Exit status 1 where a gap exceeds the tolerance or PEFT complains.
"""

import argparse
import pathlib
import sys
import warnings

import torch
import transformers
from peft import (IA3Config, LNTuningConfig, LoraConfig, PeftModel, PrefixTuningConfig, PromptTuningConfig,
                  get_peft_model)
from peft.utils import TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING
from safetensors.torch import load_file, save_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "golden"))
from cases import CASES, decoder_prefix, family, is_encoder_decoder, load_model, virtual_tokens_task  # noqa: E402
from methods.layernorm import TARGETS  # noqa: E402
from reference import trainable  # noqa: E402

TOLERANCE = 1e-4  # of the largest logit, float32


def variants(name):
    """PEFT's configurations; a target that is not named is PEFT's own default for the architecture."""
    task = None if is_encoder_decoder(name) else "CAUSAL_LM"
    conv1d = {"fan_in_fan_out": name == "gpt2"}
    # PEFT has no defaults for these.
    ia3 = {"target_modules": ["qkv_proj", "down_proj"], "feedforward_modules": ["down_proj"]} if name == "phi3" else {}
    lora = {"target_modules": ["qkv_proj"]} if name == "phi3" else {}
    found = {
        "ia3": IA3Config(task_type=task, **conv1d, **ia3),
        "lora": LoraConfig(task_type=task, **conv1d, **lora),
        "lora-all": LoraConfig(task_type=task, target_modules="all-linear", r=3, lora_alpha=5, use_rslora=True, **conv1d),
    }
    known = CASES[name]().model_type in TRANSFORMERS_MODELS_TO_LNTUNING_TARGET_MODULES_MAPPING
    found["layernorm"] = LNTuningConfig(task_type=task, target_modules=None if known else TARGETS[family(name)])
    virtual = {"task_type": virtual_tokens_task(name), "num_virtual_tokens": 3}
    prefix = {**virtual, **(decoder_prefix(name) if is_encoder_decoder(name) else {})}
    found["prompt_tuning"] = PromptTuningConfig(**virtual)
    found["prefix_tuning"] = PrefixTuningConfig(**prefix)
    found["prefix_tuning-network"] = PrefixTuningConfig(**prefix, prefix_projection=True, encoder_hidden_size=24)
    found["lora-dora"] = LoraConfig(task_type=task, use_dora=True, rank_pattern={"v_proj": 3}, **conv1d, **lora)
    tables = ["wte" if name == "gpt2" else "embed_tokens", "lm_head"]
    inner = {"gpt2": ["c_attn"], "t5": ["q", "v"], "phi3": ["qkv_proj"]}.get(family(name), ["q_proj", "v_proj"])
    found["lora-tables"] = LoraConfig(task_type=task, target_modules=inner + tables, rank_pattern={"lm_head": 3}, **conv1d)
    found["lora-saved"] = LoraConfig(task_type=task, target_modules=inner, modules_to_save=tables, **conv1d)
    for bias in ("all", "lora_only"):
        found[f"lora-bias-{bias}"] = LoraConfig(task_type=task, target_modules=inner, bias=bias, **conv1d)
    # One pair of factors for both tables; PEFT ties GPT-2's not.
    if name in ("gpt2", "qwen2"):
        found["lora-tied"] = LoraConfig(task_type=task, target_modules=inner + tables[:1], ensure_weight_tying=True, **conv1d)
    if name == "t5-v11":
        found["authors"] = IA3Config(target_modules=["k", "v", "wi_1"], feedforward_modules=[])
    return found


def randomise(model, generator):
    with torch.no_grad():
        for key, parameter in sorted(trainable(model).items()):
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(1 + 0.3 * noise if "ia3" in key else 0.2 * noise)


def logits(model, sequence):
    """[T, V] of the text; PEFT's models give rows for a prompt's virtual tokens too."""
    batch = {key: value[None] for key, value in sequence.items()}
    kind = model.active_peft_config.peft_type
    batch["use_cache"] = kind == "PREFIX_TUNING"
    if "decoder_input_ids" not in batch:
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        return model(**batch).logits[0, -len(sequence["input_ids"]):]
    return model(**batch).logits[0]


def sequences(tensors):
    found = []
    while f"input_ids.{len(found)}" in tensors:
        keys = [key for key in ("input_ids", "decoder_input_ids") if f"{key}.{len(found)}" in tensors]
        found.append({key: tensors[f"{key}.{len(found)}"] for key in keys})
    return found


def read_grafts(model, folder):
    """The gap of PEFT's logits to graft's, and what PEFT complained of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        adapted = PeftModel.from_pretrained(model, folder).eval()
        # Of adapters with biases PEFT takes one, and tells of a missing tensor but not of one too many.
        biased = getattr(adapted.active_peft_config, "bias", "none") != "none"
        unexpected = [] if biased else adapted.load_adapter(folder, "again").unexpected_keys
    # What PEFT says of its own adapters too: of RMSNorms, of tied tables, of GPT-2's head, and of the tensor that lies
    # outside all modules.
    known = ("Unsupported layer type", "tie_word_embeddings", "fan_in_fan_out")
    complaints = [str(warning.message) for warning in caught if not any(part in str(warning.message) for part in known)]
    complaints += [f"unexpected key {key}" for key in unexpected if key != "prompt_embeddings"]
    stored = load_file(folder / "logits.safetensors")
    gaps = []
    for i, sequence in enumerate(sequences(stored)):
        own = logits(adapted, sequence).detach()
        gaps.append((own - stored[f"logits.{i}"]).abs().max() / own.abs().max())
    return torch.stack(gaps).max().item(), complaints  # Python's max() passes over what is no number


def write_for_graft(model, config, inputs, folder, seed):
    adapted = get_peft_model(model, config).eval()
    randomise(adapted, torch.Generator().manual_seed(seed))
    adapted.save_pretrained(folder, save_embedding_layers=False)
    tensors = {key: value for key, value in inputs.items() if "input_ids" in key}
    for i, sequence in enumerate(sequences(inputs)):
        tensors[f"logits.{i}"] = logits(adapted, sequence).detach().contiguous()
    save_file(tensors, folder / "logits.safetensors")


def write_authors_names(folder):
    stored = load_file(folder / "adapter_model.safetensors")
    prefix, suffix = "base_model.model.", ".ia3_l"
    torch.save({key[len(prefix):-len(suffix)] + ".multi_lora_b": value for key, value in stored.items()}, folder / "adapter.pt")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("goldens", type=pathlib.Path, help="folder that tests/golden/make.py wrote")
    parser.add_argument("scratch", type=pathlib.Path, help="folder with graft's adapters, which gets PEFT's")
    options = parser.parse_args()
    goldens, scratch = options.goldens, options.scratch
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    failed = False
    for case in sorted((scratch / "graft").iterdir()):
        name = case.name
        for folder in sorted(case.iterdir()):
            gap, complaints = read_grafts(load_model(name, goldens / name / "model", torch.float32), folder)
            failed = failed or not gap <= TOLERANCE or bool(complaints)
            print(f"  {name:8}  {folder.name:10}  graft → PEFT  {gap:.1e}", *complaints, sep="  ", flush=True)
            inputs = load_file(folder / "logits.safetensors")
        for number, (variant, config) in enumerate(variants(name).items()):
            model = load_model(name, goldens / name / "model", torch.float32)
            write_for_graft(model, config, inputs, scratch / "peft" / name / variant, seed=number)
    write_authors_names(scratch / "peft" / "t5-v11" / "authors")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
