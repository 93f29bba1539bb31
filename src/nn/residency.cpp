#include "nn/residency.h"

#include "base/memory.h"
#include "nn/kernels/huge_pages.h"
#include "nn/stores/mapped_values.h"

namespace graft {

void Residency::Mapped::release() const {
  if (values != nullptr) values->drop_copy();
  source->release(info);
}

void Residency::stream(bool on) {
  streams_ = on;
  if (on) release();
}

bool Residency::has_room_for_copies() const {
  if (streams_) return false;
  Room room = room_;
  if (room == Room::Unasked) {
    const bool there = huge_pages_are_given() && available_memory() / 2 >= bytes();
    room_ = room = there ? Room::There : Room::Wanting;
  }
  return room == Room::There;
}

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
  for_each(parameters, [](const Mapped& mapped) { mapped.release(); });
}

void Residency::release() const {
  room_ = Room::Unasked;
  for (const auto& [index, mapped] : mapped_) mapped.release();
}

void Residency::prefetch(const std::vector<std::int64_t>& parameters) const {
  for_each(parameters, [](const Mapped& mapped) { mapped.source->prefetch(mapped.info); });
}

}  // namespace graft
