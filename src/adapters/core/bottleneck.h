// Residual bottlenecks at the sublayers, which Adapter and Compacter share: they differ in how the two maps are made.
#pragma once

#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "adapters/core/options.h"
#include "nn/activation.h"

namespace graft::adapters {

/// Where the bottlenecks are and how wide: options that both methods have, and their help.
struct BottleneckSettings {
  static const std::vector<std::string>& names();
  BottleneckSettings(const Options& options, const Model& model);

  bool parallel = false;        ///< reads the sublayer's input (He et al. 2021), not its output
  std::vector<Site> sublayers;  ///< by the site of their last map
  std::int64_t features = 0;    ///< C
  std::int64_t bottleneck = 0;  ///< d, at least 1
  Activation activate = nullptr;
};

/// y + up(activation(down(y))), or with x for y inside where the placement is parallel. Cannot be merged.
class Bottleneck : public Adapter {
 public:
  explicit Bottleneck(BottleneckSettings settings) : settings_(std::move(settings)) {}
  bool acts_on(const Site& site) const override;
  bool changes_sublayer(const Site& last) const override { return acts_on(last); }
  at::Tensor sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const override;
  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override;

 protected:
  struct Maps {
    at::Tensor down;       // [d, C]
    at::Tensor down_bias;  // [d]
    at::Tensor up;         // [C, d]
    at::Tensor up_bias;    // [C]
  };
  virtual Maps maps(const Site& site) const = 0;
  const BottleneckSettings& settings() const { return settings_; }

 private:
  BottleneckSettings settings_;
};

}  // namespace graft::adapters
