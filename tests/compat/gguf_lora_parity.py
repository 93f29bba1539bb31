"""Compares llama.cpp's reading of a LoRA file that graft wrote with graft's own.

    bench/setup_peers
    .deps/peers/bin/python tests/compat/gguf_lora_parity.py --graft build/dev/bin/graft

On SmolLM2-135M-Instruct as it is, whose embeddings are its head too, with LoRA on maps of layers; and with a head of its own,
with LoRA on embeddings and head as well. Adapters of random values, of several ranks and alphas, come as PEFT's folder; graft
converts them and reads both, llama.cpp (xllamacpp) the GGUF file. Behind each prompt the log-probabilities of the next token
are compared, of those that llama.cpp finds most probable; the base's must be far from them. Exit status 1 where a gap exceeds
--tolerance.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile

import torch
import xllamacpp
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer

HOUSE = pathlib.Path(__file__).resolve().parents[2]
PROMPTS = ["The capital of France is", "def add(a, b):\n    return", "Water boils at", "Dear Sir or Madam,\n\nI am writing"]
MOST_PROBABLE = 20
# Ranks and alphas. The file has one alpha: the ratio of the others goes into their lora_b.
MAPS = {"self_attn.q_proj": (4, 8), "self_attn.k_proj": (2, 8), "self_attn.v_proj": (4, 3), "self_attn.o_proj": (4, 8),
        "mlp.down_proj": (4, 8)}
TABLES = {"model.embed_tokens": (3, 8), "lm_head": (2, 8)}
SHARE = 0.3  # of an update's norm in its weight's


def untied(source, folder):
    """The model with a head of its own, of other values than the embeddings."""
    shutil.copytree(source, folder)
    config = json.loads((folder / "config.json").read_text())
    config["tie_word_embeddings"] = False
    (folder / "config.json").write_text(json.dumps(config))
    tensors = load_file(folder / "model.safetensors")
    embeddings = tensors["model.embed_tokens.weight"]
    noise = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(3))
    tensors["lm_head.weight"] = (embeddings.float() * (1 + 0.05 * noise)).to(embeddings.dtype)
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def targets_of(weights, tables):
    for name in weights:
        module = name.removesuffix(".weight")
        for part, numbers in MAPS.items():
            if module.endswith(part):
                yield module, numbers
        if tables and module in TABLES:
            yield module, TABLES[module]


def write_peft(source, folder, tables):
    weights = load_file(source / "model.safetensors")
    generator = torch.Generator().manual_seed(7)
    tensors, ranks, alphas = {}, {}, {}
    for module, (rank, alpha) in targets_of(weights, tables):
        weight = weights[module + ".weight"].float()
        embeddings = module.endswith("embed_tokens")
        out, into = weight.t().shape if embeddings else weight.shape
        a, b = torch.randn(rank, into, generator=generator), torch.randn(out, rank, generator=generator)
        b *= SHARE * weight.norm() / ((b @ a).norm() * alpha / rank)
        suffixes = (".lora_embedding_A", ".lora_embedding_B") if embeddings else (".lora_A.weight", ".lora_B.weight")
        for suffix, value in zip(suffixes, (a, b)):
            tensors["base_model.model." + module + suffix] = value.contiguous()
        ranks[module], alphas[module] = rank, alpha
    folder.mkdir()
    save_file(tensors, folder / "adapter_model.safetensors", {"format": "pt"})
    (folder / "adapter_config.json").write_text(json.dumps(
        {"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": 4, "lora_alpha": 8, "target_modules": list(ranks),
         "rank_pattern": ranks, "alpha_pattern": alphas, "bias": "none", "use_rslora": False}))
    return folder


def grafts(options, model, adapter, ids, scratch):
    """Log-probabilities [V] of the token behind each prompt."""
    prompts, logits = scratch / "prompts.jsonl", scratch / "logits.safetensors"
    prompts.write_text("".join(json.dumps(line) + "\n" for line in ids))
    logits.unlink(missing_ok=True)
    chosen = [] if adapter is None else ["--adapter", adapter]
    subprocess.run([options.graft, "generate", "--model", model, *chosen, "--prompts", prompts, "--dtype", "float32",
                    "--max-new-tokens", "1", "--logits", logits, "--json"], check=True, stdout=subprocess.DEVNULL)
    found = load_file(logits)
    return [torch.log_softmax(found[str(i)][-1].double(), -1) for i in range(len(ids))]


def llamas(options, model, adapter, ids):
    """{token: log-probability} of the most probable tokens behind each prompt."""
    params = xllamacpp.CommonParams()
    params.model.path, params.n_parallel, params.n_ctx = str(model), 1, 512
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    params.cache_prompt, params.verbosity = False, -1
    params.lora_adapters = [xllamacpp.CommonAdapterLoraInfo(str(adapter), 1.0)]
    running = xllamacpp.Server(params)
    found = []
    for prompt in ids:
        answer = running.handle_completions({"prompt": prompt, "n_predict": 1, "temperature": 0, "cache_prompt": False,
                                             "logprobs": MOST_PROBABLE})
        first = answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]
        if len(first) != MOST_PROBABLE:
            sys.exit(f"gguf_lora_parity: llama.cpp told {len(first)} log-probabilities, not {MOST_PROBABLE}")
        found.append({token["id"]: token["logprob"] for token in first})
    return found


def gap(theirs, ours):
    """The largest; no number where one is none, which Python's max() passes over."""
    return torch.tensor([logprob - ours[i][token].item() for i, tokens in enumerate(theirs)
                         for token, logprob in tokens.items()]).abs().max().item()


def compare(options, name, source, tables, scratch):
    tokenizer = Tokenizer.from_file(str(source / "tokenizer.json"))
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in PROMPTS]
    model, file = scratch / f"{name}.gguf", scratch / f"{name}-lora.gguf"
    folder = write_peft(source, scratch / f"{name}-peft", tables)
    convert = [options.graft, "convert", "--model"]
    subprocess.run([*convert, source, "--dtype", "float32", "--output", model], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*convert, model, folder, "--output", file], check=True, stdout=subprocess.DEVNULL)
    theirs = llamas(options, model, file, ids)
    of_file, of_folder, of_base = (gap(theirs, grafts(options, model, adapter, ids, scratch))
                                   for adapter in (file, folder, None))
    print(f"{name:6}  largest gap of a log-probability to llama.cpp's: of the GGUF file {of_file:.1e}, of the PEFT folder "
          f"{of_folder:.1e}, of the base without an adapter {of_base:.1e}", flush=True)
    right = all(off <= options.tolerance for off in (of_file, of_folder))
    return right and of_base > 10 * options.tolerance


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--graft", default=HOUSE / "build/dev/bin/graft", help="the program")
    parser.add_argument("--model", type=pathlib.Path, default=HOUSE / ".deps/peers/smollm2", help="a folder whose head is tied")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--tolerance", type=float, default=5e-3, help="absolute, on log-probabilities")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        scratch = pathlib.Path(place)
        right = compare(options, "tied", options.model, False, scratch)
        right = compare(options, "untied", untied(options.model, scratch / "folder"), True, scratch) and right
    sys.exit(0 if right else 1)


if __name__ == "__main__":
    main()
