#include "convert/subspace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

#include "adapters/core/combination.h"
#include "adapters/core/lora_adapter.h"
#include "adapters/core/lora_config.h"
#include "base/error.h"

namespace graft {
namespace {

// [in, R], the largest singular value first.
at::Tensor right_singular(const at::Tensor& matrix) {
  return std::get<2>(at::linalg_svd(matrix.to(at::kDouble), /*full_matrices=*/false)).t();
}

// B·A has the right singular vectors of R·A [R, in], where B = QR.
at::Tensor of_update(const at::Tensor& a, const at::Tensor& b) {
  return at::matmul(std::get<1>(at::linalg_qr(b.to(at::kDouble))), a.to(at::kDouble));
}

// An adapter that is LoRA, or the part of it that is; nullptr where none is.
const adapters::Lora* lora_of(const Adapter& adapter) {
  if (const auto* several = dynamic_cast<const Combination*>(&adapter)) {
    for (const auto& part : several->parts()) {
      if (const auto* lora = lora_of(*part.adapter)) return lora;
    }
  }
  return dynamic_cast<const adapters::Lora*>(&adapter);
}

// [R, in] of each map and table.
std::map<Site, at::Tensor> matrices_of(const Adapter& adapter, bool update, const char* which) {
  const adapters::Lora* lora = lora_of(adapter);
  if (lora == nullptr)
    fail(Category::InvalidArgument, which, "is no LoRA adapter; graft blend --as lora makes one of (IA)³");
  std::map<Site, at::Tensor> found;
  for (const auto& [site, target] : lora->targets()) {
    const at::Tensor a = target.a.detach();
    found[site] = update ? of_update(a, target.b.detach()) : a;
  }
  return found;
}

}  // namespace

at::Tensor subspace_similarity(const at::Tensor& a, const at::Tensor& b) {
  const at::Tensor u = right_singular(a), v = right_singular(b);
  // Sums of squares over the leading i rows and j columns.
  const at::Tensor sums = at::matmul(u.t(), v).square().cumsum(0).cumsum(1);
  const auto count = [](std::int64_t size) { return at::arange(1, size + 1, at::kDouble); };
  return sums / at::minimum(count(sums.size(0)).unsqueeze(1), count(sums.size(1)).unsqueeze(0)).to(sums.device());
}

std::vector<MapSimilarity> similarity_of(const Model& model, const Adapter& a, const Adapter& b, bool update) {
  const auto first = matrices_of(a, update, "the first adapter"), second = matrices_of(b, update, "the second adapter");
  std::vector<MapSimilarity> result;
  for (const auto& entry : adapters::maps_and_tables(model)) {
    const auto mine = first.find(entry.site), other = second.find(entry.site);
    if (mine == first.end() || other == second.end()) continue;
    result.push_back(
        {name(entry.site), entry.site.role, entry.in, subspace_similarity(mine->second, other->second).to(at::kCPU)});
  }
  if (result.empty()) fail(Category::InvalidArgument, "the adapters", "update no map in common");
  return result;
}

}  // namespace graft
