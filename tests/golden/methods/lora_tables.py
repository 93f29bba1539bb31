"""LoRA of rank 4 on the embeddings, the head and the queries, whether the base ties the two tables or not."""

from peft import LoraConfig, get_peft_model

from cases import family, peft_task

TARGETS = {"llama": ["q_proj", "embed_tokens", "lm_head"], "gpt2": ["c_attn", "wte", "lm_head"],
           "t5": ["q", "embed_tokens", "lm_head"], "bart": ["q_proj", "embed_tokens", "lm_head"]}


def suits(name):
    return name in ("llama", "qwen2", "gpt2", "t5-v11", "bart")


def value(noise):
    return 0.2 * noise


def adapt(model, name):
    return get_peft_model(model, LoraConfig(task_type=peft_task(name), r=4, lora_alpha=8, lora_dropout=0.0,
                                            target_modules=TARGETS[family(name)], fan_in_fan_out=family(name) == "gpt2"))


def save(model, folder):
    model.save_pretrained(folder, save_embedding_layers=False)
