"""Adapter (Houlsby): a ReLU bottleneck of 8 after each self-attention and feed-forward."""

import torch
import torch.nn.functional as F

import own

BOTTLENECK = 8


def value(noise):
    return 0.3 * noise


def bottleneck(model, path, size):
    return {key: own.register(model, f"{path}.{key}", torch.zeros(shape))
            for key, shape in (("down_proj.weight", (BOTTLENECK, size)), ("down_proj.bias", (BOTTLENECK,)),
                               ("up_proj.weight", (size, BOTTLENECK)), ("up_proj.bias", (size,)))}


def apply(maps, x, activation=F.relu):
    inner = activation(F.linear(x.to(maps["down_proj.weight"].dtype), maps["down_proj.weight"], maps["down_proj.bias"]))
    return F.linear(inner, maps["up_proj.weight"], maps["up_proj.bias"])


def adapt(model, name):
    own.freeze(model)
    for _, module, stack, layer, role in own.linears(model, name):
        if role not in ("o", "down") or stack == "cross":
            continue
        maps = bottleneck(model, f"{stack}.{layer}.{role}", model.config.hidden_size)
        module.register_forward_hook(lambda _, __, y, maps=maps: (y + apply(maps, y)).to(y.dtype))
    return own.Named(model)


def save(model, folder):
    own.save(model, folder, "ADAPTER", options={"bottleneck": BOTTLENECK})
