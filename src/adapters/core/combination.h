// Several methods at once on one model: LoRA with BitFit, (IA)³ with LayerNorm, …
#pragma once

#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "adapters/core/method.h"

namespace graft {

/// One method by its name, or several in the order in which each acts on what the ones before it made: "lora+bitfit".
class MethodChoice {
 public:
  /// Throws InvalidArgument: an unknown name, a name twice.
  explicit MethodChoice(const std::string& names);

  /// "lora+bitfit"
  std::string name() const;
  const std::vector<const Method*>& parts() const { return parts_; }
  bool single() const { return parts_.size() == 1; }
  /// False where what it trains fits in no adapter file, only in a whole model.
  bool has_adapter_file() const;
  /// A fresh adapter changes nothing.
  bool starts_at_base() const;
  /// A fresh adapter at its initial value. `options` are the method's own, or {"lora": {…}, "bitfit": {…}} where there
  /// are several. Throws InvalidArgument as Method::create and Combination.
  std::unique_ptr<Adapter> create(const Model& model, const nlohmann::json& options, Rng& rng) const;

 private:
  std::vector<const Method*> parts_;
};

/// Adapters of several methods as one: f₂(f₁(base)), where each f sees the input and the output of what it wraps.
class Combination : public Adapter {
 public:
  struct Part {
    const Method* method;
    std::unique_ptr<Adapter> adapter;
  };

  /// Throws InvalidArgument where a part replaces base parameters, two parts train one vector of a norm, act on one
  /// table, put virtual tokens in front of one stack, or stand in an order that the model or DoRA cannot follow.
  Combination(const Model& model, std::vector<Part> parts);

  const std::vector<Part>& parts() const { return parts_; }

  bool acts_on(const Site& site) const override;
  at::Tensor input_scale(const Site& site) const override;
  std::optional<at::Tensor> output_scale(const Site& site) const override;
  /// That of a part which acts there alone.
  std::optional<LowRankUpdate> low_rank(const Site& site) const override;
  at::Tensor output(const Site& site, const at::Tensor& x, const at::Tensor& y) const override;
  bool changes_sublayer(const Site& last) const override;
  at::Tensor sublayer(const Site& last, const at::Tensor& x, const at::Tensor& y) const override;
  std::int64_t virtual_tokens(Stack stack) const override;
  bool infix() const override;
  at::Tensor prompt(Stack stack) const override;
  std::pair<at::Tensor, at::Tensor> prefix(Stack stack, std::int64_t layer) const override;
  at::Tensor norm(std::int64_t index) const override;
  at::Tensor head_table() const override;

  std::vector<AdapterTensor> parameters() const override;
  /// PEFT's, where one file of its LoRA holds all (companions.h); else {"peft_type": "COMBINATION", "parts": ["lora",
  /// "ia3"]}: each part has a folder of its own beside it.
  nlohmann::json peft_config() const override;
  /// That file's, or those of the parts, each with its folder in front. Throws what a part throws whose file cannot
  /// hold it.
  std::vector<PeftTensor> peft_tensors() const override;
  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override;
  bool merges_into_weight(const Site& site) const override;

  void prepare(std::size_t examples, const ExampleLoss& loss) override;
  /// Of all parts, each with its method's name in front.
  std::vector<PeftTensor> prepared() const override;
  void take_prepared(const std::vector<PeftTensor>& found) override;
  void begin_step(std::uint64_t seed) override;
  void set_training(bool training) override;

 private:
  const Adapter* with_virtual_tokens(Stack stack) const;
  at::Tensor scale_around(const Site& site, std::size_t first) const;

  const Model& model_;
  std::vector<Part> parts_;
};

/// What adapter_config.json of a combination says its type is.
inline constexpr const char* kCombinationType = "COMBINATION";

}  // namespace graft
