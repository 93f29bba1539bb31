"""Prompt tuning with five virtual tokens; in encoder-decoder models before the encoder's text. There PEFT has rows for the
decoder too, which its model does not read."""

from peft import PromptTuningConfig, get_peft_model
from torch import nn

import own
from cases import virtual_tokens_task

LENGTH = 5


def value(noise):
    return 0.5 * noise


class Prompted(nn.Module):
    """PEFT's model with its virtual rows cut off and its parameter under the file's name."""

    def __init__(self, peft):
        super().__init__()
        self.peft = [peft]  # not a submodule: its parameters are not this module's
        self.config, self.generation_config = peft.config, peft.generation_config
        self.prompt_embeddings = peft.prompt_encoder["default"].embedding.weight

    def forward(self, **kwargs):
        out = self.peft[0](**kwargs)
        text = kwargs.get("decoder_input_ids", kwargs["input_ids"])
        out.logits = out.logits[:, -text.shape[1]:]
        return out


def adapt(model, name):
    own.freeze(model)
    return Prompted(get_peft_model(model, PromptTuningConfig(task_type=virtual_tokens_task(name), num_virtual_tokens=LENGTH)))


def save(model, folder):
    model.peft[0].save_pretrained(folder)
