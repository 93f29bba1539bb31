// Which pages of mapped weights count as this process's memory.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

class MappedValues;

/// The parameters of a table that are used as they lie in mapped files. Where they are streamed, Model::run_layers()
/// gives back the pages of every layer that it has gone through, so that only some layers are resident at a time. They
/// are read again when they are touched, from what the system keeps of files or from the disk: no value changes, and a
/// parameter that several layers share is only read more often. What was converted while loading or is on a GPU is not
/// mapped; nothing of it is given back. A file of which nothing is mapped is not held open, and so not what it keeps of
/// its metadata. Where memory has room, what writing a text reads for each token is copied (MappedValues): its bytes
/// are resident as a copy then, in the place of the mapped ones, and what gives back these gives back the copy.
class Residency {
 public:
  /// For whoever loads: parameter `index` is used as `info` lies in `source`, which stays open for that. `values` are
  /// those that may be copied; null: never.
  void add(std::int64_t index, const TensorInfo& info, std::shared_ptr<const TensorSource> source,
           std::shared_ptr<MappedValues> values = nullptr) {
    mapped_.emplace(index, Mapped{std::move(source), info, std::move(values)});
  }

  /// Whether layers are streamed from here on, copies being given back then; a training step that has begun goes on as
  /// it began.
  void stream(bool on);
  bool streams() const { return streams_; }

  /// Whether mapped values may be copied: not while layers are streamed, and only where there are pages of 2 MiB and
  /// memory for twice the mapped bytes, so that the system can keep the files beside the copies. Asked of the system
  /// once for all of them, and again behind release(). Throws as available_memory().
  bool has_room_for_copies() const;

  /// Mapped bytes of these parameters.
  std::int64_t bytes(const std::vector<std::int64_t>& parameters) const;
  /// Of all.
  std::int64_t bytes() const;

  /// Gives back the pages of these parameters, and their copies.
  void release(const std::vector<std::int64_t>& parameters) const;
  /// Of all.
  void release() const;
  /// Lets the system begin to read these parameters, which does not make them resident yet.
  void prefetch(const std::vector<std::int64_t>& parameters) const;

 private:
  struct Mapped {
    std::shared_ptr<const TensorSource> source;
    TensorInfo info;
    std::shared_ptr<MappedValues> values;  // null: never copied

    void release() const;
  };
  enum class Room : std::uint8_t { Unasked, There, Wanting };

  template <typename Visit>
  void for_each(const std::vector<std::int64_t>& parameters, const Visit& visit) const;

  std::unordered_map<std::int64_t, Mapped> mapped_;  // by parameter index
  std::atomic<bool> streams_ = false;
  mutable std::atomic<Room> room_ = Room::Unasked;
};

}  // namespace graft
