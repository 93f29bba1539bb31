// What examples cost, in floating-point operations.
#pragma once

#include "adapters/core/method.h"
#include "cost/paper_rule.h"
#include "eval/choices.h"

namespace graft {

/// The counts of one example.
ExampleTokens tokens_of(const ChoiceTokens& example);

/// FLOPs of the matrix products of scoring every choice of one example, two a multiply-add (Kaplan et al. 2020, section
/// 2.1): the prompt once for all choices, the virtual tokens of `adapter` (null: none) too, where texts do not share
/// them: those are once in a batch. A look-up of an embedding is none; the head counts for the rows whose logits are
/// needed. Left out are the products of queries with keys and of attention with values, norms, activations, and the
/// products of an adapter itself (a merged one has none). Rows whose logits are not needed count in the last layer,
/// too, though scoring computes no more there than their keys and values: it is the work of the model, not of the
/// machine.
double inference_flops(const Model& model, const Adapter* adapter, const ExampleTokens& example);

/// The same of one training example: forward and backward through the activations 2 + 2 a weight and token, and 2 for
/// the gradient of every trained number and token (the virtual tokens where the method has such). Layers that are
/// computed again (checkpoint_layers) are left out as well: it is the work of the model, not of the machine.
double training_flops(const Model& model, const Adapter& adapter, const ExampleTokens& example);

}  // namespace graft
