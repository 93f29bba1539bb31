// Random texts through a model: whether two ways to compute are the same function.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "arch/core/model.h"

namespace graft {

/// `texts` random texts, the same in every call for models with one vocabulary, in one packed batch. Returns the logits
/// [T, V] fp32 with which each of their last tokens is predicted (of an encoder–decoder model: all of the target's),
/// through `hooks`, or the base model where it is null. Throws ResourceExhausted and the like as Model::forward does.
at::Tensor probe_logits(const Model& model, const SiteHooks* hooks, std::int64_t texts);

/// Largest difference between two logits of probe_logits().
double largest_gap(const at::Tensor& a, const at::Tensor& b);

}  // namespace graft
