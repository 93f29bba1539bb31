"""DoRA on the maps of lora.py, the first layer's with a rank and an alpha of their own."""

from peft import LoraConfig, get_peft_model

from cases import family, peft_task
from methods.lora import TARGETS, value  # noqa: F401

# A module of the first layer, as PEFT's patterns name it.
FIRST = {"llama": "layers.0.self_attn.q_proj", "phi3": "layers.0.self_attn.qkv_proj", "gpt2": "h.0.attn.c_attn",
         "t5": "encoder.block.0.layer.0.SelfAttention.q", "bart": "encoder.layers.0.self_attn.q_proj"}


def adapt(model, name):
    first = FIRST[family(name)]
    return get_peft_model(model, LoraConfig(task_type=peft_task(name), r=4, lora_alpha=8, lora_dropout=0.0, use_dora=True,
                                            rank_pattern={first: 2}, alpha_pattern={first: 6},
                                            target_modules=TARGETS[family(name)], fan_in_fan_out=family(name) == "gpt2"))


def save(model, folder):
    model.save_pretrained(folder)
