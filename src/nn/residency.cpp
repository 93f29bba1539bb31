#include "nn/residency.h"

namespace graft {

template <typename Visit>
void Residency::for_each(const std::vector<std::int64_t>& parameters, const Visit& visit) const {
  for (const std::int64_t index : parameters) {
    const auto found = mapped_.find(index);
    if (found != mapped_.end()) visit(found->second);
  }
}

std::int64_t Residency::bytes(const std::vector<std::int64_t>& parameters) const {
  std::int64_t total = 0;
  for_each(parameters, [&total](const TensorInfo& info) { total += static_cast<std::int64_t>(info.bytes); });
  return total;
}

std::int64_t Residency::bytes() const {
  std::int64_t total = 0;
  for (const auto& [index, info] : mapped_) total += static_cast<std::int64_t>(info.bytes);
  return total;
}

void Residency::release(const std::vector<std::int64_t>& parameters) const {
  for_each(parameters, [this](const TensorInfo& info) { source_->release(info); });
}

void Residency::release() const {
  for (const auto& [index, info] : mapped_) source_->release(info);
}

void Residency::prefetch(const std::vector<std::int64_t>& parameters) const {
  for_each(parameters, [this](const TensorInfo& info) { source_->prefetch(info); });
}

}  // namespace graft
