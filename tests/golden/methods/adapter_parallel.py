"""Adapter beside the feed-forward (He et al. 2021): it reads what the feed-forward reads."""

from methods.adapter import BOTTLENECK, apply, bottleneck, value  # noqa: F401

import own


def feed_forward(model, module_name):
    """The module whose input the last map's output belongs to."""
    return model.get_submodule(module_name.rsplit(".", 1)[0])


def adapt(model, name):
    own.freeze(model)
    for module_name, _, stack, layer, role in own.linears(model, name):
        if role != "down":
            continue
        maps = bottleneck(model, f"{stack}.{layer}.{role}", model.config.hidden_size)
        feed_forward(model, module_name).register_forward_hook(
            lambda _, inputs, y, maps=maps: (y + apply(maps, inputs[0])).to(y.dtype))
    return own.Named(model)


def save(model, folder):
    own.save(model, folder, "ADAPTER", options={"bottleneck": BOTTLENECK, "placement": "parallel"})
