// How much the low-rank updates of two LoRA adapters have in common (Hu et al. 2021, section 7.2 and appendix G).
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

#include "adapters/core/method.h"
#include "convert/weight_work.h"

namespace graft {

/// φ(i, j) = ‖Uᵢᵀ Vⱼ‖² / min(i, j) for i ≤ R and j ≤ S (their equation 4), [R, S] fp64 in 0…1, where the columns of Uᵢ
/// are the i right singular vectors of a [R, in] with the largest values, those of Vⱼ likewise of b [S, in]. 1: the
/// smaller space lies in the larger one; random spaces have max(i, j) / in on average. Both matrices fp32 or fp64.
at::Tensor subspace_similarity(const at::Tensor& a, const at::Tensor& b);

/// Of one map that both adapters change, or table: token embeddings map from as many features as there are tokens.
struct MapSimilarity {
  std::string site;  ///< "decoder.3.q"
  Role role = Role::Q;
  std::int64_t in = 0;  ///< features
  at::Tensor grid;      ///< subspace_similarity()
};

/// Of the matrices A, or with `update` of the whole updates B·A, whatever their factors are. In the model's order,
/// embeddings and head last. Of several methods together LoRA is meant. Throws InvalidArgument where an adapter has no
/// LoRA, or they share no map.
std::vector<MapSimilarity> similarity_of(const Model& model, const Adapter& a, const Adapter& b, bool update = false);

/// What similarity_of() does, map by map; `values` are those of both matrices. Throws as that.
std::vector<TensorWork> similarity_work(const Model& model, const Adapter& a, const Adapter& b, bool update = false);

}  // namespace graft
