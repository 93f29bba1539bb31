// Recomputing a layer in the backward pass instead of keeping its activations (Chen et al. 2016).
#pragma once

#include <ATen/core/Tensor.h>

#include <functional>
#include <vector>

namespace graft {

/// A layer: tensors it may need gradients for in (undefined ones too), one tensor out. It may use other trainable
/// leaves (adapter parameters); their gradients are accumulated in place. It must compute the same values every time it
/// is called.
using LayerFunction = std::function<at::Tensor(const std::vector<at::Tensor>&)>;

/// layer(inputs), keeping only the inputs for the backward pass. It asks for a gradient where layer(inputs) does.
/// Without gradient mode it is a plain call.
at::Tensor checkpointed(const LayerFunction& layer, const std::vector<at::Tensor>& inputs);

}  // namespace graft
