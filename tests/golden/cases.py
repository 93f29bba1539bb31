"""The tiny random models of the goldens: one entry of CASES per variant of an architecture."""

import json
import pathlib

import torch
from safetensors.torch import save_file
from transformers import (AutoModelForCausalLM, AutoModelForSeq2SeqLM, BartConfig, Gemma2Config, Gemma3TextConfig, GPT2Config,
                          LlamaConfig, MistralConfig, MT5Config, Olmo2Config, Phi3Config, Qwen2Config, Qwen3Config, T5Config)

VOCABULARY = 160


def llama(**changes):
    config = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=4, max_position_embeddings=64, rms_norm_eps=1e-5, tie_word_embeddings=False,
                  bos_token_id=1, eos_token_id=2)
    config.update(changes)
    return LlamaConfig(**config)


def qwen2(**changes):
    config = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-6, tie_word_embeddings=True,
                  bos_token_id=1, eos_token_id=2)
    config.update(changes)
    return Qwen2Config(**config)


def decoder(kind, **changes):
    """A Llama-like decoder of another family; heads of 12 so that they are not hidden size over heads."""
    config = dict(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
                  num_key_value_heads=2, head_dim=12, max_position_embeddings=64, bos_token_id=1, eos_token_id=2,
                  pad_token_id=0)
    config.update(changes)
    return kind(**{key: value for key, value in config.items() if value is not None})


def gemma(kind, **changes):
    # Caps that bend the scores and logits of a model this small, windows shorter than the golden sequences.
    return decoder(kind, num_hidden_layers=3, query_pre_attn_scalar=20, sliding_window=5, **changes)


def mistral():
    # The window is shorter than two of the golden sequences, and than what is generated.
    return MistralConfig(vocab_size=VOCABULARY, hidden_size=32, intermediate_size=48, num_hidden_layers=2,
                         num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64, rms_norm_eps=1e-5,
                         tie_word_embeddings=False, sliding_window=5, bos_token_id=1, eos_token_id=2)


def gpt2():
    return GPT2Config(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=64, resid_pdrop=0.0,
                      embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=1, eos_token_id=2)


def t5(kind=T5Config, **changes):
    # d_kv * num_heads differs from d_model on purpose (as in T5-3B); few buckets so that distant positions share one.
    config = dict(vocab_size=VOCABULARY, d_model=32, d_kv=12, d_ff=48, num_layers=2, num_decoder_layers=3, num_heads=4,
                  relative_attention_num_buckets=8, relative_attention_max_distance=16, dropout_rate=0.0,
                  decoder_start_token_id=0)
    config.update(changes)
    return kind(**config)


def bart(**changes):
    return BartConfig(vocab_size=VOCABULARY, d_model=32, encoder_ffn_dim=48, decoder_ffn_dim=48, encoder_layers=2,
                      decoder_layers=3, encoder_attention_heads=4, decoder_attention_heads=4, max_position_embeddings=64,
                      dropout=0.0, **changes)


def rope(kind, **keys):
    return {"rope_type": kind, **{"rope_theta": 10000.0, **keys}}


CASES = {
    "llama": lambda: llama(),
    "llama-gqa": lambda: llama(num_key_value_heads=2, tie_word_embeddings=True, num_hidden_layers=3),
    "llama-linear": lambda: llama(head_dim=12, rope_parameters=rope("linear", factor=2.0)),
    "llama-dynamic": lambda: llama(max_position_embeddings=64, rope_parameters=rope("dynamic", factor=2.0)),
    "llama-llama3": lambda: llama(rope_parameters=rope("llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0,
                                                       original_max_position_embeddings=32)),
    "llama-yarn": lambda: llama(rope_parameters=rope("yarn", factor=4.0, original_max_position_embeddings=16)),
    "qwen2": lambda: qwen2(),
    "gpt2": gpt2,
    "t5": lambda: t5(feed_forward_proj="relu"),
    "t5-v11": lambda: t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False),
    "mistral": mistral,
    # One layer sees everything, the other a window.
    "qwen2-window": lambda: qwen2(use_sliding_window=True, sliding_window=6, max_window_layers=1),
    "bart": bart,
    "bart-scaled": lambda: bart(scale_embedding=True, activation_function="relu"),
    "qwen3": lambda: decoder(Qwen3Config),
    "gemma2": lambda: gemma(Gemma2Config, attn_logit_softcapping=2.0, final_logit_softcapping=5.0),
    "gemma3": lambda: gemma(Gemma3TextConfig, layer_types=["sliding_attention", "full_attention", "sliding_attention"],
                            rope_parameters={"full_attention": rope("linear", factor=8.0, rope_theta=1e6),
                                             "sliding_attention": rope("default")}),
    # Three quarters of a head are rotated.
    "phi3": lambda: decoder(Phi3Config, head_dim=None, sliding_window=6, resid_pdrop=0.0, embd_pdrop=0.0,
                            rope_parameters=rope("default", partial_rotary_factor=0.75)),
    "olmo2": lambda: decoder(Olmo2Config, head_dim=None, attention_bias=True, pad_token_id=None),
    "mt5": lambda: t5(MT5Config, feed_forward_proj="gated-gelu"),
    # A deep encoder under a shallow decoder.
    "byt5": lambda: t5(feed_forward_proj="gated-gelu", tie_word_embeddings=False, num_layers=4, num_decoder_layers=1,
                       tokenizer_class="ByT5Tokenizer"),
    # One of the golden sequences is longer than the context before the extension, the others are not.
    "phi3-longrope": lambda: decoder(Phi3Config, head_dim=None, resid_pdrop=0.0, embd_pdrop=0.0, max_position_embeddings=128,
                                     original_max_position_embeddings=48,
                                     rope_parameters=rope("longrope", partial_rotary_factor=0.75, short_factor=[1.0, 1.2, 2.0],
                                                          long_factor=[1.5, 4.0, 9.0])),
}


# The length of a pass decides the positions' angles.
BY_LENGTH = ("llama-dynamic", "phi3-longrope")


def windowed(name):
    """Whether a layer sees a window only."""
    return getattr(CASES[name](), "sliding_window", None) is not None


def is_encoder_decoder(name):
    return family(name) in ("t5", "bart")


def family(name):
    start = "t5" if name in ("mt5", "byt5") else name.split("-")[0]
    return start if start in ("t5", "bart", "gpt2", "phi3") else "llama"


def decoder_start(name):
    return 2 if family(name) == "bart" else 0


def peft_task(name):
    """For adapters that are modules of the model PEFT's plain wrapper serves."""
    return None if is_encoder_decoder(name) else "CAUSAL_LM"


def virtual_tokens_task(name):
    """Prompts and prefixes are put in by the wrapper of the task; the plain one would leave them out."""
    return "SEQ_2_SEQ_LM" if is_encoder_decoder(name) else "CAUSAL_LM"


def decoder_prefix(name):
    """The shape of a prefix in an encoder-decoder's decoder, where PEFT guesses from the encoder and the model's width."""
    config = CASES[name]()
    if family(name) == "bart":
        layers, heads, width = config.decoder_layers, config.decoder_attention_heads, config.d_model
    else:
        layers, heads, width = config.num_decoder_layers, config.num_heads, config.num_heads * config.d_kv
    return {"num_layers": layers, "num_attention_heads": heads, "token_dim": width}


def auto_class(name):
    return AutoModelForSeq2SeqLM if is_encoder_decoder(name) else AutoModelForCausalLM


def randomise(state, generator, counted_from_one):
    """Values large enough that every part of the model moves the logits, small enough that no softmax saturates."""
    for name, tensor in state.items():
        noise = torch.randn(tensor.shape, generator=generator)
        if "norm" in name or ".ln_" in name:
            state[name] = (0.0 if name.endswith("bias") or counted_from_one else 1.0) + 0.2 * noise
        elif "out_proj." in name or "fc2." in name:
            # BART normalises behind each sum: a strong branch, which says much the same at every position, would leave
            # keys that hardly differ and gradients that are rounding.
            state[name] = 0.05 * noise
        elif name.endswith("bias"):
            state[name] = 0.3 * noise
        elif "embed" in name or "wte" in name or "wpe" in name or "shared" in name:
            state[name] = 0.5 * noise
        elif name.endswith((".q.weight", ".k.weight")):
            state[name] = 0.15 * noise  # T5 does not divide its scores by sqrt(d_kv)
        else:
            state[name] = 0.25 * noise
    return state


def write_model(name, folder: pathlib.Path, seed: int):
    """Writes config.json and model.safetensors as the published checkpoints of the family hold them."""
    folder.mkdir(parents=True, exist_ok=True)
    config = CASES[name]()
    model = auto_class(name).from_config(config)
    untied_t5 = name in ("t5-v11", "mt5", "byt5")
    # A tied tensor is stored once, under the name of its first owner.
    names = {key for key, _ in [*model.named_parameters(), *model.named_buffers()]}
    shapes = {key: value.shape for key, value in model.state_dict().items() if key in names}
    if untied_t5:
        shapes["lm_head.weight"] = model.lm_head.weight.shape
    state = randomise({key: torch.empty(shape) for key, shape in sorted(shapes.items())},
                      torch.Generator().manual_seed(seed), counted_from_one=name.startswith("gemma"))
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    document = config.to_dict()
    document["architectures"] = [type(model).__name__]
    document["dtype"] = "float32"
    if untied_t5:
        document["tie_word_embeddings"] = False  # the class reads it, but writes true
    (folder / "config.json").write_text(json.dumps(document, indent=1, sort_keys=True) + "\n")


def load_model(name, folder, dtype):
    model = auto_class(name).from_pretrained(folder, dtype=dtype, attn_implementation="eager").to(dtype)
    model.generation_config.eos_token_id = None
    if is_encoder_decoder(name):
        # PEFT 0.21's wrapper for SEQ_2_SEQ_LM keeps a method for its generate() that transformers 5.18 no longer has.
        model._prepare_encoder_decoder_kwargs_for_generation = None
    return model.eval()
