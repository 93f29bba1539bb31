#include "nn/layer_checkpoint.h"

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/csrc/autograd/custom_function.h>

namespace graft {
namespace {

struct SavedLayer : torch::CustomClassHolder {
  explicit SavedLayer(LayerFunction f) : function(std::move(f)) {}
  LayerFunction function;
};

// `anchor` requires grad, so that the layer is part of the graph even where only its own leaves are trained.
class Recompute : public torch::autograd::Function<Recompute> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& anchor, const LayerFunction* layer,
                            at::TensorList inputs) {
    (void)anchor;
    ctx->saved_data["layer"] = c10::make_intrusive<SavedLayer>(*layer);
    ctx->save_for_backward(inputs.vec());
    return (*layer)(inputs.vec());
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    std::vector<at::Tensor> inputs;
    for (std::size_t i = 0; i < saved.size(); ++i) {
      inputs.push_back(saved[i].defined() ? saved[i].detach().requires_grad_(saved[i].requires_grad()) : at::Tensor());
    }
    {
      at::AutoGradMode enabled(true);
      const at::Tensor out = ctx->saved_data["layer"].toCustomClass<SavedLayer>()->function(inputs);
      torch::autograd::backward({out}, {grads[0]});
    }
    torch::autograd::variable_list result = {at::Tensor(), at::Tensor()};
    for (const auto& input : inputs) result.push_back(input.defined() ? input.grad() : at::Tensor());
    return result;
  }
};

}  // namespace

at::Tensor checkpointed(const LayerFunction& layer, const std::vector<at::Tensor>& inputs) {
  if (!at::GradMode::is_enabled()) return layer(inputs);
  const at::Tensor anchor = at::zeros({1}, inputs[0].options().dtype(at::kFloat)).requires_grad_(true);
  return Recompute::apply(anchor, &layer, at::TensorList(inputs));
}

}  // namespace graft
