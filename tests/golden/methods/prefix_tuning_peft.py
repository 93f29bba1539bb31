"""Prefix tuning of encoder-decoder models as PEFT has it: four virtual tokens in the decoder's self-attention alone, whose
layer l has the keys and values of block 2 l modulo the number of layers."""

from peft import PrefixTuningConfig, get_peft_model
from torch import nn

import own
from cases import decoder_prefix, is_encoder_decoder, virtual_tokens_task
from methods.prefix_tuning import LENGTH, value  # noqa: F401


def suits(name):
    return is_encoder_decoder(name)


class Prefixed(nn.Module):
    """PEFT's model with its parameter under the file's name."""

    def __init__(self, peft):
        super().__init__()
        self.peft = [peft]  # not a submodule: its parameters are not this module's
        self.config, self.generation_config = peft.config, peft.generation_config
        self.prompt_embeddings = peft.prompt_encoder["default"].embedding.weight

    def forward(self, use_cache=False, **kwargs):
        return self.peft[0](use_cache=True, **kwargs)


def adapt(model, name):
    own.freeze(model)
    return Prefixed(get_peft_model(model, PrefixTuningConfig(task_type=virtual_tokens_task(name), num_virtual_tokens=LENGTH,
                                                             **decoder_prefix(name))))


def save(model, folder):
    model.peft[0].save_pretrained(folder)
