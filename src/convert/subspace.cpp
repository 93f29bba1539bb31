#include "convert/subspace.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <map>

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

// [R, in] of each map, by the site's name.
std::map<std::string, at::Tensor> matrices_of(const Adapter& adapter, bool update, const char* which) {
  std::map<std::string, at::Tensor> by_name, found;
  for (const auto& tensor : adapter.parameters()) by_name[tensor.name] = tensor.value.detach();
  for (const auto& [tensor, a] : by_name) {
    const std::string site = tensor.substr(0, tensor.size() - std::min<std::size_t>(2, tensor.size()));
    const auto b = by_name.find(site + ".b");
    if (tensor.ends_with(".a") && b != by_name.end()) found[site] = update ? of_update(a, b->second) : a;
  }
  if (found.empty() || adapter.peft_config().value("peft_type", std::string()) != "LORA")
    fail(Category::InvalidArgument, which, "is no LoRA adapter; graft blend --as lora makes one of (IA)³");
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
  for (const auto& entry : model.roles()) {
    const auto mine = first.find(name(entry.site)), other = second.find(name(entry.site));
    if (mine == first.end() || other == second.end()) continue;
    result.push_back(
        {mine->first, entry.site.role, entry.in, subspace_similarity(mine->second, other->second).to(at::kCPU)});
  }
  if (result.empty()) fail(Category::InvalidArgument, "the adapters", "update no map in common");
  return result;
}

}  // namespace graft
