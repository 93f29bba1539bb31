"""Prompt tuning with five virtual tokens; T5, whose wrapper PEFT 0.21 lacks for transformers 5.18: written out, in the encoder."""

import json

import torch
from peft import PromptTuningConfig, get_peft_model
from safetensors.torch import save_file
from torch import nn

import own
from cases import is_encoder_decoder

LENGTH = 5


def value(noise):
    return 0.5 * noise


class EncoderPrompt(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = [model]  # not a submodule: its parameters are not this module's
        self.config, self.generation_config = model.config, model.generation_config
        dtype = torch.promote_types(model.dtype, torch.float32)
        self.prompt_embeddings = nn.Parameter(torch.zeros(LENGTH, model.config.hidden_size, dtype=dtype))

    def forward(self, input_ids, **kwargs):
        model = self.model[0]
        words = model.get_input_embeddings()(input_ids)
        prompt = self.prompt_embeddings[None].to(words.dtype)
        return model(inputs_embeds=torch.cat((prompt, words), dim=1), **kwargs)


class DecoderPrompt(nn.Module):
    """PEFT's model with its virtual rows cut off and its parameter under the file's name."""

    def __init__(self, peft):
        super().__init__()
        self.peft = [peft]
        self.config, self.generation_config = peft.config, peft.generation_config
        self.prompt_embeddings = peft.prompt_encoder["default"].embedding.weight

    def forward(self, **kwargs):
        out = self.peft[0](**kwargs)
        out.logits = out.logits[:, -kwargs["input_ids"].shape[1]:]
        return out


def adapt(model, name):
    own.freeze(model)
    if is_encoder_decoder(name):
        return EncoderPrompt(model)
    return DecoderPrompt(get_peft_model(model, PromptTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=LENGTH)))


def save(model, folder):
    if isinstance(model, DecoderPrompt):
        model.peft[0].save_pretrained(folder)
        return
    folder.mkdir(parents=True, exist_ok=True)
    document = {"peft_type": "PROMPT_TUNING", "num_virtual_tokens": LENGTH, "num_transformer_submodules": 1}
    (folder / "adapter_config.json").write_text(json.dumps(document))
    save_file({"prompt_embeddings": model.prompt_embeddings.detach()}, folder / "adapter_model.safetensors")
