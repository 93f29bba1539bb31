"""BitFit: the biases of every linear map (from zero where there is none) and of every LayerNorm."""

import torch
import torch.nn.functional as F

import own


def value(noise):
    return 0.3 * noise


def adapt(model, name):
    own.freeze(model)
    modules = list(model.named_modules())
    for module_name, module, *_ in own.linears(model, name):
        base = getattr(module, "bias", None)
        outputs = module.nf if hasattr(module, "nf") else module.out_features
        base = torch.zeros(outputs) if base is None else base.detach()
        del module.bias
        bias = own.register(model, module_name + ".bias", base)
        transposed = hasattr(module, "nf")

        def forward(x, module=module, bias=bias, transposed=transposed):
            weight = module.weight.T if transposed else module.weight
            return (F.linear(x, weight) + bias).to(x.dtype)
        module.forward = forward
    for module_name, module in modules:
        if isinstance(module, torch.nn.LayerNorm):
            bias = own.register(model, module_name + ".bias", module.bias)

            def normalise(x, module=module, bias=bias):
                return F.layer_norm(x, module.normalized_shape, module.weight, bias.to(x.dtype), module.eps)
            module.forward = normalise
    return own.Named(model)


def save(model, folder):
    own.save(model, folder, "BITFIT", options={})
