"""What the references of methods outside PEFT share: places by graft's names, parameters under the adapter file's names."""

import json
import re

import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

from cases import family

GPT2_ROLES = {"attn.c_attn": "qkv", "attn.c_proj": "o", "mlp.c_fc": "up", "mlp.c_proj": "down"}
BART_ROLES = {"q_proj": "q", "k_proj": "k", "v_proj": "v", "out_proj": "o", "fc1": "up", "fc2": "down"}
T5_ROLES = {"wi": "up", "wi_0": "gate", "wi_1": "up", "wo": "down"}


def place(name, module):
    """(stack, layer, role) of a linear map of the model, or None."""
    if family(name) in ("llama", "phi3"):
        found = re.fullmatch(r"model\.layers\.(\d+)\.(?:self_attn|mlp)\.(\w+)_proj", module)
        return found and ("decoder", found[1], found[2])
    if family(name) == "gpt2":
        found = re.fullmatch(r"transformer\.h\.(\d+)\.(\w+\.c_\w+)", module)
        return found and ("decoder", found[1], GPT2_ROLES[found[2]])
    if family(name) == "bart":
        found = re.fullmatch(r"model\.(encoder|decoder)\.layers\.(\d+)\.(?:(self|encoder)_attn\.)?(\w+)", module)
        if not found or found[4] not in BART_ROLES:
            return None
        return "cross" if found[3] == "encoder" else found[1], found[2], BART_ROLES[found[4]]
    found = re.fullmatch(r"(encoder|decoder)\.block\.(\d+)\.layer\.\d\.(\w+)\.(q|k|v|o|wi|wi_0|wi_1|wo)", module)
    return found and ("cross" if found[3] == "EncDecAttention" else found[1], found[2], T5_ROLES.get(found[4], found[4]))


def linears(model, name):
    """(module name, module, stack, layer, role) of every linear map of the blocks."""
    for module_name, module in list(model.named_modules()):
        if (found := place(name, module_name)) is not None:
            yield (module_name, module, *found)


def register(model, path, value):
    """A trainable parameter of the model at a dotted path, in fp32 or wider."""
    *parents, last = path.split(".")
    module = model
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, nn.Module())
        module = getattr(module, parent)
    dtype = torch.promote_types(next(model.parameters(), value).dtype, torch.float32)
    parameter = nn.Parameter(value.detach().to(dtype).clone())
    module.register_parameter(last, parameter)
    return parameter


class Masters(nn.Module):
    """A model whose trained parameters are fp32, cast to the model's own dtype for each pass: mixed precision as usual."""

    def __init__(self, model):
        super().__init__()
        self.held = [model]  # not a submodule: its parameters are not this module's
        self.dtypes = {}
        for name, parameter in list(model.named_parameters()):
            if parameter.requires_grad:
                self.dtypes[name] = parameter.dtype
                register(self, name, parameter)

    def forward(self, **kwargs):
        cast = {name: self.get_parameter(name).to(dtype) for name, dtype in self.dtypes.items()}
        return functional_call(self.held[0], cast, (), kwargs)


def with_masters(model):
    """The model; where it would train parameters in bf16, whose rounding swallows small steps, as Masters."""
    narrow = any(parameter.requires_grad and parameter.dtype == torch.bfloat16 for parameter in model.parameters())
    return Masters(model) if narrow else model


class Named(nn.Module):
    """The model with PEFT's prefix in front of its parameters' names."""

    def __init__(self, model):
        super().__init__()
        self.base_model = nn.Module()
        self.base_model.model = model

    def __getattr__(self, key):
        try:
            return super().__getattr__(key)
        except AttributeError:
            return getattr(self.base_model.model, key)

    def forward(self, *args, **kwargs):
        return self.base_model.model(*args, **kwargs)


def save(model, folder, peft_type, **fields):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": peft_type, **fields}))
    tensors = {key: value.detach().contiguous() for key, value in model.named_parameters() if value.requires_grad}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})


def freeze(model):
    for parameter in model.parameters():
        parameter.requires_grad_(False)
