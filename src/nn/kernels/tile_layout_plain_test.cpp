#include "nn/kernels/tile_layout.h"

#include <gtest/gtest.h>

#include <numeric>
#include <vector>

namespace graft::rows {
namespace {

template <typename T>
std::vector<T> counted(std::int64_t count) {
  std::vector<T> values(static_cast<std::size_t>(count));
  std::iota(values.begin(), values.end(), T{1});
  return values;
}

template <typename T>
void expect_turned(std::int64_t count, std::int64_t width) {
  const auto x = counted<T>(count * width);
  std::vector<T> to(x.size());
  turn(x.data(), count, width, to.data());
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < width; ++c)
      ASSERT_EQ(to[static_cast<std::size_t>(c * count + r)], x[static_cast<std::size_t>(r * width + c)])
          << count << " x " << width << ": " << r << ", " << c;
  }
}

void expect_paired(std::int64_t count, std::int64_t width) {
  const auto x = counted<Bits>(count * width);
  std::vector<Bits> by_rows(x.size()), by_columns(x.size());
  if (count % 2 == 0) pair_rows(x.data(), count, width, by_rows.data());
  if (width % 2 == 0) pair_columns(x.data(), count, width, by_columns.data());
  for (std::int64_t r = 0; r < count; ++r) {
    for (std::int64_t c = 0; c < width; ++c) {
      const Bits value = x[static_cast<std::size_t>(r * width + c)];
      if (count % 2 == 0) {
        ASSERT_EQ(by_rows[static_cast<std::size_t>((r / 2 * width + c) * 2 + r % 2)], value) << r << ", " << c;
      }
      if (width % 2 == 0) {
        ASSERT_EQ(by_columns[static_cast<std::size_t>((c / 2 * count + r) * 2 + c % 2)], value) << r << ", " << c;
      }
    }
  }
}

// Whole numbers, which both types hold. Each line lies by itself, behind it nothing; room in a row stays as it is.
template <typename T>
void expect_added(std::int64_t count, std::int64_t width, std::vector<T> (*stored)(const std::vector<float>&)) {
  std::vector<std::vector<T>> lines;
  std::vector<const T*> starts;
  for (std::int64_t r = 0; r < count; ++r) {
    std::vector<float> values;
    for (std::int64_t c = 0; c < width; ++c) values.push_back(static_cast<float>((r * 7 + c * 5) % 101 - 50));
    lines.push_back(stored(values));
    starts.push_back(lines.back().data());
  }
  const std::int64_t stride = count + 3;
  auto to = counted<float>(width * stride);
  const auto before = to;
  add_turned(starts.data(), count, width, 0.5F, to.data(), stride);
  for (std::int64_t c = 0; c < width; ++c) {
    for (std::int64_t r = 0; r < stride; ++r) {
      const auto at = static_cast<std::size_t>(c * stride + r);
      const float added = static_cast<float>((r * 7 + c * 5) % 101 - 50);
      ASSERT_EQ(to[at], r < count ? before[at] * 0.5F + added : before[at]) << r << ", " << c;
    }
  }
}

std::vector<float> as_they_are(const std::vector<float>& values) {
  return values;
}
std::vector<Bits> as_bits(const std::vector<float>& values) {
  std::vector<Bits> bits(values.size());
  narrow(values.data(), bits.data(), static_cast<std::int64_t>(values.size()));
  return bits;
}

TEST(TileLayout, AddsLinesAsColumnsAtEverySmallSize) {
  for (std::int64_t count = 1; count <= 20; ++count) {
    for (std::int64_t width = 1; width <= 20; ++width) {
      SCOPED_TRACE(std::to_string(count) + " x " + std::to_string(width));
      expect_added<float>(count, width, as_they_are);
      expect_added<Bits>(count, width, as_bits);
    }
  }
}

TEST(TileLayout, HoldsEveryValueInItsPlaceAtEverySmallSize) {
  for (std::int64_t count = 1; count <= 34; ++count) {
    for (std::int64_t width = 1; width <= 34; ++width) {
      SCOPED_TRACE(std::to_string(count) + " x " + std::to_string(width));
      expect_turned<float>(count, width);
      expect_turned<Bits>(count, width);
      expect_paired(count, width);
    }
  }
}

}  // namespace
}  // namespace graft::rows
