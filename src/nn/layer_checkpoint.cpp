#include "nn/layer_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <iterator>

namespace graft {
namespace {

// A capsule: an autograd context keeps other objects only where their class is registered with TorchScript.
struct SavedLayer : torch::CustomClassHolder {
  explicit SavedLayer(LayerFunction f) : function(std::move(f)) {}
  LayerFunction function;
};

std::vector<at::Tensor> leaves(const std::vector<at::Tensor>& inputs) {
  std::vector<at::Tensor> result;
  for (const auto& input : inputs) result.push_back(input.detach().requires_grad_(input.requires_grad()));
  return result;
}

// `anchor` requires grad, so that the layer is part of the graph even where only its own leaves are trained.
class Recompute : public torch::autograd::Function<Recompute> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& anchor, const LayerFunction* layer,
                            at::TensorList inputs) {
    (void)anchor;
    ctx->saved_data["layer"] = c10::IValue::make_capsule(c10::make_intrusive<SavedLayer>(*layer));
    ctx->save_for_backward(inputs.vec());
    // With gradients, as the second pass: attention picks its kernel by whether one is wanted. The graph is dropped.
    at::AutoGradMode enabled(true);
    const at::Tensor out = (*layer)(leaves(inputs.vec())), result = out.detach();
    // In front of all that learns nothing is computed again, and what follows is computed as it is without this.
    if (!out.requires_grad()) ctx->mark_non_differentiable({result});
    return result;
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    const std::vector<at::Tensor> inputs = leaves(saved);
    {
      at::AutoGradMode enabled(true);
      const auto layer = c10::static_intrusive_pointer_cast<SavedLayer>(ctx->saved_data["layer"].toCapsule());
      const at::Tensor out = layer->function(inputs);
      torch::autograd::backward({out}, {grads[0]});
    }
    torch::autograd::variable_list result = {at::Tensor(), at::Tensor()};
    for (const auto& input : inputs) result.push_back(input.grad());
    return result;
  }
};

// The layer as a function of the defined inputs alone: the autograd engine takes no others.
LayerFunction of_defined(const LayerFunction& layer, const std::vector<at::Tensor>& inputs) {
  std::vector<bool> given;
  for (const auto& input : inputs) given.push_back(input.defined());
  return [layer, given](const std::vector<at::Tensor>& defined) {
    std::vector<at::Tensor> all;
    std::size_t next = 0;
    for (const bool here : given) all.push_back(here ? defined[next++] : at::Tensor());
    return layer(all);
  };
}

}  // namespace

at::Tensor checkpointed(const LayerFunction& layer, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return layer(inputs);
  const at::Tensor anchor = at::zeros({1}, inputs[0].options().dtype(at::kFloat)).requires_grad_(true);
  const LayerFunction function = of_defined(layer, inputs);
  std::vector<at::Tensor> defined;
  std::copy_if(inputs.begin(), inputs.end(), std::back_inserter(defined), [](const auto& x) { return x.defined(); });
  return Recompute::apply(anchor, &function, at::TensorList(defined));
}

}  // namespace graft
