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

// Of a map or a table.
struct LowRankMatrix {
  at::Tensor a, b;  // [R, in], [out, R]
  bool update = false;

  // [R, in]
  at::Tensor value() const { return update ? of_update(a, b) : a; }
};

std::map<Site, LowRankMatrix> matrices_of(const Adapter& adapter, bool update, const char* which) {
  const adapters::Lora* lora = lora_of(adapter);
  if (lora == nullptr)
    fail(Category::InvalidArgument, which, "is no LoRA adapter; graft blend --as lora makes one of (IA)³");
  std::map<Site, LowRankMatrix> found;
  for (const auto& [site, target] : lora->targets())
    found[site] = LowRankMatrix{target.a.detach(), target.b.detach(), update};
  return found;
}

// What both adapters change.
struct SharedMap {
  RoleEntry entry;
  LowRankMatrix mine, other;

  at::Tensor similarity() const { return subspace_similarity(mine.value(), other.value()); }
};

std::vector<SharedMap> shared_maps(const Model& model, const Adapter& a, const Adapter& b, bool update) {
  const auto first = matrices_of(a, update, "the first adapter"), second = matrices_of(b, update, "the second adapter");
  std::vector<SharedMap> shared;
  for (const auto& entry : adapters::maps_and_tables(model)) {
    const auto mine = first.find(entry.site), other = second.find(entry.site);
    if (mine != first.end() && other != second.end()) shared.push_back({entry, mine->second, other->second});
  }
  if (shared.empty()) fail(Category::InvalidArgument, "the adapters", "update no map in common");
  return shared;
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
  std::vector<MapSimilarity> result;
  for (const SharedMap& map : shared_maps(model, a, b, update))
    result.push_back({name(map.entry.site), map.entry.site.role, map.entry.in, map.similarity().to(at::kCPU)});
  return result;
}

std::vector<TensorWork> similarity_work(const Model& model, const Adapter& a, const Adapter& b, bool update) {
  std::vector<TensorWork> work;
  for (const SharedMap& map : shared_maps(model, a, b, update)) {
    const std::string kind =
        fmt::format("{} and {} of {} to {}", map.mine.a.size(0), map.other.a.size(0), map.entry.in, map.entry.out);
    work.push_back({kind, map.mine.a.numel() + map.other.a.numel(), [map] { map.similarity(); }});
  }
  return work;
}

}  // namespace graft
