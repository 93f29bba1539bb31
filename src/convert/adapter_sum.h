// Adapters of one model added up: the change that each makes to the base's weights, times a factor.
#pragma once

#include <cstdint>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "adapters/core/peft.h"
#include "convert/weight_work.h"

namespace graft {

/// W + Σ fᵢ · (mergedᵢ(W) − W) for every base parameter W: what a sum of adapters means, whatever their methods. It
/// computes in merged weights only and has no tensors and no file of its own.
class AdapterSum : public Adapter {
 public:
  /// The adapters must outlive the sum.
  explicit AdapterSum(std::vector<Summand> summands) : summands_(std::move(summands)) {}

  std::vector<AdapterTensor> parameters() const override { return {}; }
  nlohmann::json peft_config() const override;
  std::vector<PeftTensor> peft_tensors() const override;
  /// Throws Unsupported where one of them cannot be merged.
  at::Tensor merged(std::int64_t index, const at::Tensor& base) const override;

 private:
  std::vector<Summand> summands_;
};

/// The sum as one adapter of the summands' own method, exactly, at the cost of one (LoRA: of the ranks together; FISH:
/// of the places together); of a combination ("lora+layernorm") part by part. Nullptr where they are of several methods
/// (`method` is empty), theirs has no such form, or parts of a combination change the same parameter.
std::unique_ptr<Adapter> exact_sum(const Model& model, const std::string& method, const std::vector<Summand>& summands);

/// How much of a change of the weights a LoRA adapter holds. Norms are Frobenius's over all changed maps.
struct LowRankReport {
  std::size_t maps = 0;
  double lost = 0;        ///< norm of what it does not hold, of the change's norm
  double worst = 0;       ///< the same of one map, where it is largest
  std::string worst_map;  ///< its module
};

/// The sum as LoRA: for each changed map, embeddings and head among them, the best update of rank `rank` (a truncated
/// singular value decomposition), of scale 1. Throws InvalidArgument (rank below 1), Unsupported where the sum changes
/// what LoRA does not reach (a bias, a norm, a table that is embeddings and head), names it.
std::unique_ptr<Adapter> low_rank_sum(const Model& model, const AdapterSum& sum, std::int64_t rank,
                                      LowRankReport& report);

/// What low_rank_sum() does, matrix by matrix, where the sum changes these (merged_parameters()). Refers to both.
/// Throws as that of vectors that it changes, and where it changes nothing.
std::vector<TensorWork> low_rank_work(const Model& model, const AdapterSum& sum, const std::set<std::int64_t>& changed,
                                      std::int64_t rank);

}  // namespace graft
