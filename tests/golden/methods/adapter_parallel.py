"""Adapter beside the feed-forward (He et al. 2021): it reads what the feed-forward reads. GELU."""

import torch.nn.functional as F

from methods.adapter import BOTTLENECK, apply, bottleneck, value  # noqa: F401

import own


def adapt(model, name):
    own.freeze(model)
    read = {}
    for _, module, stack, layer, role in own.linears(model, name):
        place = (stack, layer)
        if role in ("up", "gate_up"):
            module.register_forward_pre_hook(lambda _, inputs, place=place: read.update({place: inputs[0]}))
        if role != "down":
            continue
        maps = bottleneck(model, f"{stack}.{layer}.{role}", model.config.hidden_size)
        module.register_forward_hook(lambda _, __, y, maps=maps, place=place: (y + apply(maps, read[place], F.gelu)).to(y.dtype))
    return own.Named(model)


def save(model, folder):
    own.save(model, folder, "ADAPTER", options={"bottleneck": BOTTLENECK, "placement": "parallel", "activation": "gelu"})
