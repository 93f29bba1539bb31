// Adapter: a bottleneck after each attention and feed-forward (Houlsby et al. 2019), after the feed-forward only
// (Pfeiffer et al. 2020) or beside it (He et al. 2021).
#include <ATen/ATen.h>

#include <map>

#include "adapters/core/bottleneck.h"
#include "adapters/core/own_format.h"

namespace graft {
namespace {

class HoulsbyAdapter : public adapters::Bottleneck {
 public:
  HoulsbyAdapter(const Model& model, const adapters::BottleneckSettings& settings, nlohmann::json options, Rng& rng)
      : Bottleneck(settings), options_(std::move(options)) {
    for (const Site& site : settings.sublayers) {
      // Down: small and normal; up: zero, so that training starts at the base model.
      maps_[site] = {trainable(normal({settings.bottleneck, settings.features}, 0.02, rng), model),
                     trainable(at::zeros({settings.bottleneck}), model),
                     trainable(at::zeros({settings.features, settings.bottleneck}), model),
                     trainable(at::zeros({settings.features}), model)};
    }
  }

  std::vector<AdapterTensor> parameters() const override {
    std::vector<AdapterTensor> result;
    for (const auto& [site, maps] : maps_) {
      result.push_back({name(site) + ".down_proj.weight", maps.down});
      result.push_back({name(site) + ".down_proj.bias", maps.down_bias});
      result.push_back({name(site) + ".up_proj.weight", maps.up});
      result.push_back({name(site) + ".up_proj.bias", maps.up_bias});
    }
    return result;
  }

  nlohmann::json peft_config() const override { return adapters::own_config("ADAPTER", options_); }
  std::vector<PeftTensor> peft_tensors() const override { return adapters::own_tensors(*this); }

 protected:
  Maps maps(const Site& site) const override { return maps_.at(site); }

 private:
  nlohmann::json options_;
  std::map<Site, Maps> maps_;
};

std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& given, Rng& rng) {
  const adapters::Options options("adapter", given, adapters::BottleneckSettings::names());
  return std::make_unique<HoulsbyAdapter>(model, adapters::BottleneckSettings(options, model), given, rng);
}

std::unique_ptr<Adapter> from_peft(const Model& model, const nlohmann::json& config,
                                   const std::vector<PeftTensor>& tensors) {
  return adapters::from_own(adapters::find("adapter"), model, config, tensors);
}

}  // namespace

namespace adapters {
extern const Method adapter;
const Method adapter{
    "adapter",
    "Adapter: a bottleneck after or beside the sublayers (Houlsby et al. 2019)",
    "placement=houlsby|pfeiffer|parallel  cross=false (encoder–decoder, houlsby: after cross-attention too)\n"
    "bottleneck=max(8, width/reduction)  reduction=32  activation=relu",
    "ADAPTER",
    create,
    from_peft};
}  // namespace adapters
}  // namespace graft
