"""FISH mask with a given mask: every seventh value of each parameter."""

import torch
from safetensors.torch import save_file
from torch import nn
from torch.func import functional_call

import own


def value(noise):
    return 0.3 * noise


class Sparse(nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = [model]  # not a submodule: its parameters are not this module's
        self.indices = {}
        wide = torch.promote_types(model.dtype, torch.float32)
        self.dtype_holder = nn.Parameter(torch.zeros((), dtype=wide), requires_grad=False)
        for name, parameter in list(model.named_parameters()):
            self.indices[name] = torch.arange(0, parameter.numel(), 7)
            own.register(self, f"base_model.model.{name}.fish_values", parameter.flatten()[self.indices[name]])

    def forward(self, **kwargs):
        model, changed = self.model[0], {}
        for name, base in model.named_parameters():
            values = self.get_parameter(f"base_model.model.{name}.fish_values")
            whole = base.to(values.dtype).flatten().index_put((self.indices[name],), values)
            changed[name] = whole.view(base.shape).to(base.dtype)
        return functional_call(model, changed, (), kwargs)


def adapt(model, name):
    own.freeze(model)
    return Sparse(model)


def save(model, folder):
    own.save(model, folder, "FISH")
    tensors = {key: value.detach() for key, value in model.named_parameters() if value.requires_grad}
    tensors |= {f"base_model.model.{name}.fish_indices": indices for name, indices in model.indices.items()}
    save_file(tensors, folder / "adapter_model.safetensors", metadata={"format": "pt"})
