#!/usr/bin/env python3
"""Writes a model of T0-3B's shape (T5 1.1 XL: 2.85 billion parameters), or with --size 11b of T0-11B's (T5 1.1 XXL), or with
--size base of T5 1.1 base's, with random bf16 weights, for measurements of memory and time.

    .deps/peers/bin/python bench/make_t0_3b.py OUT --text rte/seed32.jsonl
    graft tune --model OUT --task rte --data rte/seed32.jsonl --recipe tfew --memory 8GiB \
      --set data.template=0 --set train.precision=bfloat16 --steps 2 --eval-rows 8 --output runs/t0-3b

(--memory 4GiB streams the weights of 3b, --memory 20GiB those of 11b. bench/setup_peers makes .deps/peers.)

The tokenizer is a SentencePiece-like unigram model trained on --text, so that texts get about as many tokens as T5 gives
them. Tensors are drawn and written one by one (0.5, 5.7 or 22 GB in shards of about 1 GB); memory stays under 2 GB.
"""

import argparse
import json
import pathlib
import typing

import torch
from safetensors.torch import save_file
from tokenizers import SentencePieceUnigramTokenizer
from tokenizers.processors import TemplateProcessing

HEAD_DIM, VOCABULARY, BUCKETS = 64, 32128, 32
SHARD_BYTES = 1 << 30


class Size(typing.NamedTuple):
    model: int
    heads: int
    inner: int
    layers: int  # of the encoder, and as many of the decoder


SIZES = {"base": Size(768, 12, 2048, 12), "3b": Size(2048, 32, 5120, 24), "11b": Size(4096, 64, 10240, 24)}


def config(size):
    return {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_model": size.model, "d_kv": HEAD_DIM,
            "d_ff": size.inner, "num_layers": size.layers, "num_decoder_layers": size.layers, "num_heads": size.heads,
            "vocab_size": VOCABULARY, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False,
            "relative_attention_num_buckets": BUCKETS, "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6,
            "decoder_start_token_id": 0, "pad_token_id": 0, "eos_token_id": 1, "dtype": "bfloat16"}


def attention(size, name):
    inner = size.heads * HEAD_DIM
    shapes = {f"{name}.{part}.weight": (inner, size.model) for part in "qkv"}
    return {**shapes, f"{name}.o.weight": (size.model, inner)}


def tower(size, stack):
    shapes = {f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (BUCKETS, size.heads)}
    parts = ["SelfAttention", "EncDecAttention"] if stack == "decoder" else ["SelfAttention"]
    for block in range(size.layers):
        for number, part in enumerate([*parts, "DenseReluDense"]):
            layer = f"{stack}.block.{block}.layer.{number}"
            shapes[f"{layer}.layer_norm.weight"] = (size.model,)
            if part != "DenseReluDense":
                shapes.update(attention(size, f"{layer}.{part}"))
                continue
            shapes.update({f"{layer}.{part}.{gate}.weight": (size.inner, size.model) for gate in ("wi_0", "wi_1")})
            shapes[f"{layer}.{part}.wo.weight"] = (size.model, size.inner)
    return {**shapes, f"{stack}.final_layer_norm.weight": (size.model,)}


def shapes(size):
    table = (VOCABULARY, size.model)
    return {"shared.weight": table, **tower(size, "encoder"), **tower(size, "decoder"), "lm_head.weight": table}


def draw(name, shape, generator):
    """Of T5's own initialisation, so that activations keep their size through all layers."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    deviation = 1.0 if name == "shared.weight" else shape[1] ** -0.5
    if name.endswith(".q.weight"):
        deviation *= HEAD_DIM ** -0.5
    return (torch.randn(shape, generator=generator) * deviation).to(torch.bfloat16)


def shards(size):
    parts, filled = [[]], 0
    for name, shape in shapes(size).items():
        nbytes = 2 * torch.Size(shape).numel()
        if filled + nbytes > SHARD_BYTES and parts[-1]:
            parts.append([])
            filled = 0
        parts[-1].append((name, shape))
        filled += nbytes
    return parts


def write_weights(out, size):
    generator = torch.Generator().manual_seed(0)
    parts, weight_map, total = shards(size), {}, 0
    for number, part in enumerate(parts, 1):
        file = f"model-{number:05}-of-{len(parts):05}.safetensors"
        tensors = {name: draw(name, shape, generator) for name, shape in part}
        save_file(tensors, out / file, metadata={"format": "pt"})
        weight_map.update({name: file for name in tensors})
        total += sum(tensor.numel() for tensor in tensors.values())
        print(f"{file}: {len(tensors)} tensors", flush=True)
    index = {"metadata": {"total_size": 2 * total}, "weight_map": weight_map}
    (out / "model.safetensors.index.json").write_text(json.dumps(index, indent=1))
    return total


def write_tokenizer(out, text):
    tokenizer = SentencePieceUnigramTokenizer()
    tokenizer.train([str(text)], vocab_size=8000, special_tokens=["<pad>", "</s>", "<unk>"], unk_token="<unk>", show_progress=False)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer.save(str(out / "tokenizer.json"))
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"}
    (out / "tokenizer_config.json").write_text(json.dumps({"tokenizer_class": "T5TokenizerFast", **special}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--text", required=True, type=pathlib.Path, help="what the tokenizer is trained on")
    parser.add_argument("--size", choices=list(SIZES), default="3b")
    arguments = parser.parse_args()
    size = SIZES[arguments.size]
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "config.json").write_text(json.dumps(config(size), indent=1) + "\n")
    write_tokenizer(arguments.out, arguments.text)
    print(f"{arguments.out}: {write_weights(arguments.out, size) / 1e9:.2f} billion parameters")


if __name__ == "__main__":
    main()
