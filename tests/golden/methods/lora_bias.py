"""LoRA on queries and values with all of the model's biases trained (PEFT's bias: all)."""

from peft import LoraConfig, get_peft_model

from cases import peft_task


def suits(name):
    return name in ("qwen2", "olmo2")  # keys are rotated: a softmax sees their biases


def value(noise):
    return 0.2 * noise


def adapt(model, name):
    return get_peft_model(model, LoraConfig(task_type=peft_task(name), r=4, lora_alpha=8, lora_dropout=0.0, bias="all",
                                            target_modules=["q_proj", "v_proj"]))


def save(model, folder):
    model.save_pretrained(folder)
