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
  for_each(parameters, [&total](const Mapped& mapped) { total += static_cast<std::int64_t>(mapped.info.bytes); });
  return total;
}

std::int64_t Residency::bytes() const {
  std::int64_t total = 0;
  for (const auto& [index, mapped] : mapped_) total += static_cast<std::int64_t>(mapped.info.bytes);
  return total;
}

void Residency::release(const std::vector<std::int64_t>& parameters) const {
  for_each(parameters, [](const Mapped& mapped) { mapped.source->release(mapped.info); });
}

void Residency::release() const {
  for (const auto& [index, mapped] : mapped_) mapped.source->release(mapped.info);
}

void Residency::prefetch(const std::vector<std::int64_t>& parameters) const {
  for_each(parameters, [](const Mapped& mapped) { mapped.source->prefetch(mapped.info); });
}

}  // namespace graft
