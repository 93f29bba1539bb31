"""LoRA of rank 4 on queries and values; GPT-2: on the fused map."""

from peft import LoraConfig, get_peft_model

from cases import family, peft_task

TARGETS = {"llama": ["q_proj", "v_proj"], "gpt2": ["c_attn"], "t5": ["q", "v"],
           "phi3": ["qkv_proj"], "bart": ["q_proj", "v_proj"]}


def value(noise):
    return 0.2 * noise


def adapt(model, name):
    return get_peft_model(model, LoraConfig(task_type=peft_task(name), r=4, lora_alpha=8, lora_dropout=0.0,
                                            target_modules=TARGETS[family(name)], fan_in_fan_out=family(name) == "gpt2"))


def save(model, folder):
    model.save_pretrained(folder)
