"""Prefix tuning with four virtual tokens and no network. Encoder-decoder: written out, in all three kinds of attention, which
PEFT does not have (prefix_tuning_peft.py has what it has)."""

import torch
import torch.nn.functional as F
from peft import PrefixTuningConfig, get_peft_model
from torch import nn

import own
from cases import is_encoder_decoder

LENGTH = 4


def value(noise):
    return 0.3 * noise


class DecoderPrefix(nn.Module):
    """PEFT's model with its parameter under the file's name."""

    def __init__(self, peft):
        super().__init__()
        self.peft = [peft]
        self.config, self.generation_config = peft.config, peft.generation_config
        self.prompt_embeddings = peft.prompt_encoder["default"].embedding.weight

    def forward(self, input_ids, attention_mask=None, use_cache=False):
        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return self.peft[0](input_ids=input_ids, attention_mask=mask, use_cache=True)


class EncoderDecoderPrefix(own.Named):
    """Rows that stand for the virtual tokens go in front of both texts; every attention's keys and values of theirs are
    replaced."""

    def forward(self, input_ids, decoder_input_ids, attention_mask=None, **kwargs):
        model = self.base_model.model
        if attention_mask is not None:
            kwargs["attention_mask"] = F.pad(attention_mask, (LENGTH, 0), value=1)

        def longer(ids):
            words = model.get_input_embeddings()(ids)
            return torch.cat((words.new_zeros(len(words), LENGTH, words.shape[-1]), words), dim=1)
        out = model(inputs_embeds=longer(input_ids), decoder_inputs_embeds=longer(decoder_input_ids), **kwargs)
        out.logits = out.logits[:, LENGTH:]
        return out


def adapt_encoder_decoder(model, name):
    modules = [entry for entry in own.linears(model, name) if entry[4] in ("k", "v")]
    for stack in ("encoder", "decoder", "cross"):
        maps = [(module, int(layer), role) for _, module, at, layer, role in modules if at == stack]
        width = maps[0][0].out_features
        prefix = own.register(model, stack + ".prefix", torch.zeros(LENGTH, len(maps) * width))
        for module, layer, role in maps:
            begin = (2 * layer + (role == "v")) * width

            def replace(_, __, y, prefix=prefix, begin=begin, width=width):
                rows = prefix[None, :, begin:begin + width].to(y.dtype).expand(len(y), -1, -1)
                return torch.cat((rows, y[:, LENGTH:]), dim=1)
            module.register_forward_hook(replace)
    return EncoderDecoderPrefix(model)


def adapt(model, name):
    own.freeze(model)
    if is_encoder_decoder(name):
        return adapt_encoder_decoder(model, name)
    return DecoderPrefix(get_peft_model(model, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)))


def save(model, folder):
    if isinstance(model, EncoderDecoderPrefix):
        own.save(model, folder, "PREFIX_TUNING", num_virtual_tokens=LENGTH)
        return
    model.peft[0].save_pretrained(folder)
