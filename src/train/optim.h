// Optimisers over an adapter's fp32 tensors, with all of their state in named tensors.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace graft {

struct OptimizerSettings {
  std::string name = "adafactor";  ///< adafactor or adamw
  double weight_decay = 0;
  double beta1 = 0.9;            ///< AdamW
  double beta2 = 0.999;          ///< AdamW
  double eps = 1e-8;             ///< AdamW
  bool scale_parameter = false;  ///< Adafactor: a tensor's rate is times its root mean square, of at least 0.001
};

/// Not thread-safe. Parameters keep their identity: steps write in place.
class Optimizer {
 public:
  virtual ~Optimizer() = default;
  /// One step with learning rate `lr` on the gradients that stand in the parameters, which are then cleared.
  virtual void step(double lr) = 0;
  /// State tensors by name, shared: what a checkpoint saves, and copies back into.
  virtual std::map<std::string, at::Tensor> state() const = 0;
  virtual void set_steps(std::int64_t steps) = 0;
};

/// AdamW: Loshchilov and Hutter 2019. Adafactor: Shazeer and Stern 2018 without relative steps and momentum, with
/// update clipping at 1 and decay 1 − t^−0.8, as T-Few's authors call it (they scale by the parameter, but for
/// prompts). `lr_ratios`, if not empty, has for each parameter its learning rate as a multiple of step()'s. Throws
/// InvalidArgument for another name.
std::unique_ptr<Optimizer> make_optimizer(const OptimizerSettings& settings, std::vector<at::Tensor> parameters,
                                          std::vector<double> lr_ratios = {});

/// Scales gradients so that their common L2 norm is at most `limit` (0: no clipping); returns the norm before.
/// Gradients whose norm is not finite are left as they are.
double clip_gradients(const std::vector<at::Tensor>& parameters, double limit);

/// Learning rate at `step` (from 0) of `steps`: rises linearly over `warmup`, then stays ("constant"), falls to zero
/// linearly ("linear") or along a half cosine ("cosine"). Throws InvalidArgument for another name.
double learning_rate(const std::string& schedule, double peak, std::int64_t step, std::int64_t steps,
                     std::int64_t warmup);

}  // namespace graft
