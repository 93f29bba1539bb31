"""LayerNorm tuning of every normalisation."""

from peft import LNTuningConfig, get_peft_model

from cases import family, peft_task

TARGETS = {
    "llama": ["input_layernorm", "post_attention_layernorm", "pre_feedforward_layernorm", "post_feedforward_layernorm",
              "q_norm", "k_norm", "norm"],
    "phi3": ["input_layernorm", "post_attention_layernorm", "norm"],
    "bart": ["self_attn_layer_norm", "encoder_attn_layer_norm", "final_layer_norm", "layernorm_embedding"],
    "gpt2": ["ln_1", "ln_2", "ln_f"],
    "t5": ["layer_norm", "final_layer_norm"],
}


def value(noise):
    return 1 + 0.2 * noise


def adapt(model, name):
    # In bf16 the vectors stay bf16: transformers' norms would return fp32 with others.
    return get_peft_model(model, LNTuningConfig(task_type=peft_task(name), target_modules=TARGETS[family(name)]),
                          autocast_adapter_dtype=False)


def save(model, folder):
    model.save_pretrained(folder)
