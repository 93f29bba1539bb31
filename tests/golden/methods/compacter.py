"""Compacter++: two Kronecker sums of rank one with a shared rule, after each feed-forward; GELU by tanh."""

import torch
import torch.nn.functional as F

import own

N, BOTTLENECK = 4, 8


def value(noise):
    return 0.5 * noise


def hypercomplex(model, path, rule, size_in, size_out):
    left = own.register(model, path + ".W_left", torch.zeros(N, size_in // N, 1))
    right = own.register(model, path + ".W_right", torch.zeros(N, 1, size_out // N))
    bias = own.register(model, path + ".b", torch.zeros(size_out))

    def apply(x):
        weight = sum(torch.kron(rule[i], left[i] @ right[i]) for i in range(N))
        return x @ weight + bias
    return apply


def adapt(model, name):
    own.freeze(model)
    rule = own.register(model, "phm_rule", torch.zeros(N, N, N))
    for _, module, stack, layer, role in own.linears(model, name):
        if role != "down":
            continue
        size, path = model.config.hidden_size, f"{stack}.{layer}.{role}"
        down = hypercomplex(model, path + ".down_sampler", rule, size, BOTTLENECK)
        up = hypercomplex(model, path + ".up_sampler", rule, BOTTLENECK, size)
        module.register_forward_hook(lambda _, __, y, down=down, up=up, rule=rule: (y + up(F.gelu(down(y.to(rule.dtype)), approximate="tanh"))).to(y.dtype))
    return own.Named(model)


def save(model, folder):
    own.save(model, folder, "COMPACTER", options={"bottleneck": BOTTLENECK, "placement": "pfeiffer", "n": N, "activation": "gelu_new"})
