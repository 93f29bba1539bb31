// What training costs, in floating-point operations.
#pragma once

#include "adapters/core/method.h"
#include "eval/choices.h"

namespace graft {

/// FLOPs of the matrix products of one training example, two a multiply-add (Kaplan et al. 2020, section 2.1): forward
/// and backward through the activations 2 + 2 a weight and token, and 2 for the gradient of every trained number and
/// token. A look-up of an embedding is none; the head counts for the rows whose logits a loss needs. Left out are the
/// products of queries with keys and of attention with values, norms and activations, and layers that are computed
/// again (checkpoint_layers): it is the work of the model, not of the machine.
double training_flops(const Model& model, const Adapter& adapter, const ChoiceTokens& example);

}  // namespace graft
