"""(IA)3 on keys, values and the input of the feed-forward's last matrix, as PEFT's own defaults have it."""

from peft import IA3Config, get_peft_model

from cases import family, peft_task

TARGETS = {
    "llama": (["k_proj", "v_proj", "down_proj"], ["down_proj"]),
    "gpt2": (["c_attn", "mlp.c_proj"], ["mlp.c_proj"]),
    "t5": (["k", "v", "wo"], ["wo"]),
    "phi3": (["qkv_proj", "down_proj"], ["down_proj"]),
    "bart": (["k_proj", "v_proj", "fc2"], ["fc2"]),
}


def value(noise):
    return 1 + 0.3 * noise


def adapt(model, name):
    targets, feedforward = TARGETS[family(name)]
    return get_peft_model(model, IA3Config(task_type=peft_task(name), target_modules=targets, feedforward_modules=feedforward,
                                           fan_in_fan_out=family(name) == "gpt2"))


def save(model, folder):
    model.save_pretrained(folder)
