#include "adapters/core/bottleneck.h"

#include <ATen/ATen.h>

#include <algorithm>

#include "base/error.h"

namespace graft::adapters {
namespace {

std::vector<Site> sublayers_of(const Model& model, bool attention, bool cross) {
  std::vector<Site> sites;
  for (const auto& entry : model.roles()) {
    if (entry.site.stack == Stack::Cross && !cross) continue;
    if (entry.site.role == Role::Down || (attention && entry.site.role == Role::O)) sites.push_back(entry.site);
  }
  return sites;
}

// Only where a bottleneck stands after each attention there is one more.
bool after_cross(const Options& options, const Model& model, const std::string& placement) {
  if (!options.flag("cross", false)) return false;
  refuse_without_encoder(model, "cross", "puts a bottleneck after the attention over an encoder");
  if (placement != "houlsby")
    fail(Category::InvalidArgument, "method.options.cross",
         "goes with placement=houlsby: {} has no bottleneck after any attention; leave it out", placement);
  return true;
}

}  // namespace

const std::vector<std::string>& BottleneckSettings::names() {
  static const std::vector<std::string> kNames = {"placement", "cross", "reduction", "bottleneck", "activation"};
  return kNames;
}

BottleneckSettings::BottleneckSettings(const Options& options, const Model& model) {
  const std::string placement = options.choice("placement", {"houlsby", "pfeiffer", "parallel"});
  parallel = placement == "parallel";
  sublayers = sublayers_of(model, placement == "houlsby", after_cross(options, model, placement));
  features = model.config().hidden_size;
  const std::int64_t reduction = options.integer("reduction", 32, 1);
  bottleneck = options.integer("bottleneck", std::max<std::int64_t>(8, features / reduction), 1);
  refuse_beyond_base(
      2.0 * static_cast<double>(bottleneck) * static_cast<double>(features) * static_cast<double>(sublayers.size()),
      model, "method.options.bottleneck");
  activate = activation(options.choice("activation", {"relu", "gelu", "gelu_new", "silu"}));
}

bool Bottleneck::acts_on(const Site& site) const {
  return std::find(settings_.sublayers.begin(), settings_.sublayers.end(), site) != settings_.sublayers.end();
}

at::Tensor Bottleneck::sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const {
  const Maps here = maps(last);
  const at::Tensor from = (settings_.parallel ? x : y).to(at::kFloat);
  const at::Tensor inner = settings_.activate(at::linear(from, here.down, here.down_bias));
  return at::add(y, at::linear(inner, here.up, here.up_bias)).to(y.scalar_type());
}

at::Tensor Bottleneck::merged(std::int64_t, const at::Tensor&) const {
  fail(Category::Unsupported, "merge",
       "a bottleneck is not linear, so no weight of the base can hold it; keep the adapter");
}

}  // namespace graft::adapters
