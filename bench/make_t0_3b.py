"""Writes a model of T0-3B's shape (T5 1.1 XL: 2.85 billion parameters) with random bf16 weights, for measurements of memory and time.

    python bench/make_t0_3b.py OUT --text rte/seed32.jsonl
    graft tune --model OUT --task rte --data rte/seed32.jsonl --recipe tfew --set train.checkpoint_layers=true \
      --set train.precision=bfloat16 --steps 2 --eval-rows 8 --output runs/t0-3b

The tokenizer is a SentencePiece-like unigram model trained on --text, so that texts get about as many tokens as T5 gives
them. Tensors are drawn and written one by one (5.7 GB in shards of about 1 GB); memory stays under 1 GB.
"""

import argparse
import json
import pathlib

import torch
from safetensors.torch import save_file
from tokenizers import SentencePieceUnigramTokenizer
from tokenizers.processors import TemplateProcessing

MODEL, HEAD_DIM, HEADS, INNER, LAYERS, VOCABULARY, BUCKETS = 2048, 64, 32, 5120, 24, 32128, 32
SHARD_BYTES = 1 << 30


def config():
    return {"architectures": ["T5ForConditionalGeneration"], "model_type": "t5", "d_model": MODEL, "d_kv": HEAD_DIM, "d_ff": INNER,
            "num_layers": LAYERS, "num_decoder_layers": LAYERS, "num_heads": HEADS, "vocab_size": VOCABULARY,
            "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "relative_attention_num_buckets": BUCKETS,
            "relative_attention_max_distance": 128, "layer_norm_epsilon": 1e-6, "decoder_start_token_id": 0, "pad_token_id": 0,
            "eos_token_id": 1, "dtype": "bfloat16"}


def attention(name):
    inner = HEADS * HEAD_DIM
    shapes = {f"{name}.{part}.weight": (inner, MODEL) for part in "qkv"}
    return {**shapes, f"{name}.o.weight": (MODEL, inner)}


def tower(stack):
    shapes = {f"{stack}.block.0.layer.0.SelfAttention.relative_attention_bias.weight": (BUCKETS, HEADS)}
    parts = ["SelfAttention", "EncDecAttention"] if stack == "decoder" else ["SelfAttention"]
    for block in range(LAYERS):
        for number, part in enumerate([*parts, "DenseReluDense"]):
            layer = f"{stack}.block.{block}.layer.{number}"
            shapes[f"{layer}.layer_norm.weight"] = (MODEL,)
            if part != "DenseReluDense":
                shapes.update(attention(f"{layer}.{part}"))
                continue
            shapes.update({f"{layer}.{part}.{gate}.weight": (INNER, MODEL) for gate in ("wi_0", "wi_1")})
            shapes[f"{layer}.{part}.wo.weight"] = (MODEL, INNER)
    return {**shapes, f"{stack}.final_layer_norm.weight": (MODEL,)}


def shapes():
    table = (VOCABULARY, MODEL)
    return {"shared.weight": table, **tower("encoder"), **tower("decoder"), "lm_head.weight": table}


def draw(name, shape, generator):
    """Of T5's own initialisation, so that activations keep their size through 48 layers."""
    if len(shape) == 1:
        return torch.ones(shape, dtype=torch.bfloat16)
    deviation = 1.0 if name == "shared.weight" else shape[1] ** -0.5
    if name.endswith(".q.weight"):
        deviation *= HEAD_DIM ** -0.5
    return (torch.randn(shape, generator=generator) * deviation).to(torch.bfloat16)


def shards():
    parts, size = [[]], 0
    for name, shape in shapes().items():
        nbytes = 2 * torch.Size(shape).numel()
        if size + nbytes > SHARD_BYTES and parts[-1]:
            parts.append([])
            size = 0
        parts[-1].append((name, shape))
        size += nbytes
    return parts


def write_weights(out):
    generator = torch.Generator().manual_seed(0)
    parts, weight_map, total = shards(), {}, 0
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
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "config.json").write_text(json.dumps(config(), indent=1) + "\n")
    write_tokenizer(arguments.out, arguments.text)
    print(f"{arguments.out}: {write_weights(arguments.out) / 1e9:.2f} billion parameters")


if __name__ == "__main__":
    main()
