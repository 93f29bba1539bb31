// LoRA's adapter: low-rank updates beside the maps and tables of a model, and PEFT's files of them. The method itself,
// its options and where it begins, is src/adapters/lora.cpp.
#pragma once

#include <ATen/ATen.h>

#include <cmath>
#include <cstdint>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <vector>

#include "adapters/core/method.h"
#include "nn/site_index.h"

namespace graft::adapters {

struct LoraSettings {
  std::int64_t rank = 8;  ///< of targets without their own
  double alpha = 16;
  double dropout = 0;  ///< share of the inputs that a step of training leaves out
  bool rslora = false;
  bool dora = false;
  double lr_ratio = 1;  ///< of B
  bool tie = false;     ///< the head, which is tied to the embeddings, has their update too
};

/// One map or table with its update.
struct LoraTarget {
  RoleEntry entry;
  double alpha = 16;
  at::Tensor a;          ///< [R, in] fp32
  at::Tensor b;          ///< [out, R] fp32
  at::Tensor magnitude;  ///< [out] fp32; undefined without DoRA
  /// PiSSA trains b·a in the base's place: what it began from counts as taken out of the base.
  at::Tensor start_a, start_b;

  std::int64_t rank() const { return a.size(0); }
  /// The update as one pair of matrices.
  at::Tensor whole_a() const { return start_a.defined() ? at::cat({a, start_a}) : a; }
  at::Tensor whole_b() const { return start_b.defined() ? at::cat({b, -start_b}, 1) : b; }
  at::Tensor update() const { return at::matmul(whole_b(), whole_a()); }
  /// rsLoRA (Kalajdzievski 2023) divides by √rank.
  double scale(bool rslora) const {
    return rslora ? alpha / std::sqrt(static_cast<double>(rank())) : alpha / static_cast<double>(rank());
  }
};

/// Lengths [out] of the rows of a matrix [out, in].
at::Tensor row_norms(const at::Tensor& weight);

class Lora : public Adapter {
 public:
  /// The targets' tensors are shared. With LoraSettings::tie, ties_head() is true of the targets.
  Lora(const Model& model, LoraSettings settings, const std::vector<LoraTarget>& targets);

  const std::map<Site, LoraTarget>& targets() const { return targets_; }
  double scale(const LoraTarget& target) const { return target.scale(settings_.rslora); }
  bool tied() const { return settings_.tie; }

  bool acts_on(const Site& site) const override;
  /// Of a map's site, where neither dropout nor DoRA is at work.
  std::optional<LowRankUpdate> low_rank(const Site& site) const override;
  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override;
  /// Of a map with DoRA, which scales the base's part as well.
  bool needs_base_output(const Site& site) const override;
  std::vector<AdapterTensor> parameters() const override;
  /// PEFT's files (lora_file.cpp), which know whole maps: updates of slices of one are written as one update of it, of
  /// their ranks together, with rows of zeros where there is none. Throws Unsupported for DoRA of a slice.
  nlohmann::json peft_config() const override;
  std::vector<PeftTensor> peft_tensors() const override;
  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override;

  /// What PiSSA takes out of the base: decomposed anew, singular vectors may come out otherwise.
  std::vector<PeftTensor> prepared() const override;
  void take_prepared(const std::vector<PeftTensor>& found) override;
  void begin_step(std::uint64_t seed) override { seed_ = seed; }
  void set_training(bool training) override { training_ = training; }

 private:
  bool dropping() const { return training_ && settings_.dropout > 0; }
  std::optional<LowRankUpdate> plain_update(const LoraTarget& target) const;
  at::Tensor updated(const LoraTarget& target, const Site& site, const at::Tensor& x, const at::Tensor& y) const;
  at::Tensor embedded(const LoraTarget& target, const at::Tensor& ids, const at::Tensor& y) const;
  LoraTarget tied_head() const;
  std::vector<LoraTarget> stored() const;
  void refuse_half_tables() const;
  at::Tensor summed_norms(const LoraTarget& target) const;
  at::Tensor without_bias(const LoraTarget& target, const at::Tensor& y) const;
  at::Tensor dropped(const Site& site, const at::Tensor& x) const;

  const Model& model_;
  LoraSettings settings_;
  std::map<Site, LoraTarget> targets_;
  SiteIndex<LoraTarget> index_;
  std::uint64_t seed_ = 0;
  bool training_ = false;
};

/// Whether embeddings among the targets are one parameter with the head, of a decoder-only model, that has no update of
/// its own. PEFT ties embeddings of no other name.
bool ties_head(const Model& model, const std::vector<LoraTarget>& targets);

/// Method::from_peft of LoRA.
std::unique_ptr<Adapter> lora_from_peft(const Model& model, const nlohmann::json& config,
                                        const std::vector<PeftTensor>& tensors);

}  // namespace graft::adapters
