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

/// The parameters of a table that are used as they lie in mapped files. Where they are streamed, Model::run_layers()
/// gives back the pages of every layer that it has gone through, so that only some layers are resident at a time. They
/// are read again when they are touched, from what the system keeps of files or from the disk: no value changes, and a
/// parameter that several layers share is only read more often. What was converted while loading or is on a GPU is not
/// mapped; nothing of it is given back. A file of which nothing is mapped is not held open, and so not what it keeps of
/// its metadata.
class Residency {
 public:
  /// For whoever loads: parameter `index` is used as `info` lies in `source`, which stays open for that.
  void add(std::int64_t index, const TensorInfo& info, std::shared_ptr<const TensorSource> source) {
    mapped_.emplace(index, Mapped{std::move(source), info});
  }

  /// Whether layers are streamed from here on; a training step that has begun goes on as it began.
  void stream(bool on) { streams_ = on; }
  bool streams() const { return streams_; }

  /// Mapped bytes of these parameters.
  std::int64_t bytes(const std::vector<std::int64_t>& parameters) const;
  /// Of all.
  std::int64_t bytes() const;

  /// Gives back the pages of these parameters.
  void release(const std::vector<std::int64_t>& parameters) const;
  /// Of all.
  void release() const;
  /// Lets the system begin to read these parameters, which does not make them resident yet.
  void prefetch(const std::vector<std::int64_t>& parameters) const;

 private:
  struct Mapped {
    std::shared_ptr<const TensorSource> source;
    TensorInfo info;
  };

  template <typename Visit>
  void for_each(const std::vector<std::int64_t>& parameters, const Visit& visit) const;

  std::unordered_map<std::int64_t, Mapped> mapped_;  // by parameter index
  std::atomic<bool> streams_ = false;
};

}  // namespace graft
