// Weights that are used as they lie in a mapped file, until reading them takes most of the time.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <functional>
#include <mutex>

namespace graft {

/// It takes some hundreds of readings to win back the time of a copy (a virtual machine's memory may have to be found
/// first): who reads fewer times does without, and who reads often loses no more than the copy takes.
inline constexpr int kReadsBeforeCopy = 128;

/// Values of a mapped file, whose pages are of 4 KiB, and from the kReadsBeforeCopy-th reading by few rows on their
/// copy in memory of the process's own (in_huge_pages()), which is read a quarter faster. The mapped pages are given
/// back as they are copied, so that the values are resident once. For any threads.
class MappedValues {
 public:
  /// Whether there is room for a copy; asked once for each.
  using HasRoom = std::function<bool()>;
  /// Gives back the mapped pages of bytes [first, first + count) of the values, which are not read there from then on.
  using GiveBack = std::function<void(std::size_t first, std::size_t count)>;

  /// `mapped` is contiguous, on the CPU.
  MappedValues(const at::Tensor& mapped, HasRoom has_room, GiveBack give_back);

  /// The copy where there is one, else the mapped values: the same bits. What was given out before stays what it was.
  at::Tensor now() const;
  /// For whoever multiplies few rows with all of the values, as for each token of a text that is written. True where
  /// this reading is the one for which they were copied.
  bool read_once_more();
  /// Back to the mapped values, as if none had been read.
  void drop_copy();

 private:
  at::Tensor copied() const;

  mutable std::mutex mutex_;
  at::Tensor mapped_, copy_;
  HasRoom has_room_;
  GiveBack give_back_;
  int reads_ = 0;
};

}  // namespace graft
