#include "cli/core/machine_limits.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/InferenceMode.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/clock.h"
#include "base/cpu.h"
#include "base/memory.h"
#include "cli/core/bench_turns.h"
#include "cli/core/evaluation.h"
#include "nn/kernels/block_product.h"
#include "nn/kernels/huge_pages.h"
#include "nn/kernels/rows.h"
#include "nn/stores/store.h"

namespace graft {
namespace {

constexpr std::size_t kLeast = 3, kMost = 15;  // repetitions
constexpr std::int64_t kLeastBuffer = std::int64_t{256} << 20, kMostBuffer = std::int64_t{1} << 30;

// A GPU works on after its call has returned.
void await(const at::Tensor& result) {
  if (!result.is_cpu()) result.flatten().narrow(0, 0, 1).to(at::kCPU);
}

// A map's matrix in some store, and rows to multiply with it.
struct TimedMap {
  std::shared_ptr<const WeightStore> store;
  at::Tensor x;
  Activations activations;
  double flops, count;

  double seconds() const {
    const auto start = Clock::now();
    await(store->linear(x, Layout::OutIn, std::nullopt, activations));
    return seconds_since(start);
  }
};

std::shared_ptr<const WeightStore> eight_bit_store(const MapShape& shape, at::ScalarType compute) {
  const at::Tensor values = at::randn({shape.out, shape.in}, at::kFloat);
  const std::int64_t blocks = shape.in / block_elements(DType::Q8_0);
  const at::Tensor bytes = at::empty({shape.out, blocks * block_bytes(DType::Q8_0)}, at::kByte);
  quantise(DType::Q8_0, {values.const_data_ptr<float>(), static_cast<std::size_t>(values.numel())},
           {reinterpret_cast<std::byte*>(bytes.data_ptr<std::uint8_t>()), static_cast<std::size_t>(bytes.numel())});
  return block_store(DType::Q8_0, bytes, compute);
}

bool has_eight_bit(const std::vector<MapShape>& shapes, const LimitSettings& settings) {
  const auto whole_blocks = [](const MapShape& shape) { return shape.in % block_elements(DType::Q8_0) == 0; };
  return settings.device.is_cpu() && BlockProduct::fast() && std::all_of(shapes.begin(), shapes.end(), whole_blocks);
}

// One format of all maps; each call of repeat() is a repetition.
class Products {
 public:
  Products(const std::vector<MapShape>& shapes, const LimitSettings& settings, at::ScalarType dtype, bool eight_bit) {
    const auto like = at::TensorOptions().device(settings.device).dtype(dtype);
    for (const auto& shape : shapes) {
      const double flops = 2.0 * static_cast<double>(settings.rows * shape.in * shape.out);
      maps_.push_back({eight_bit ? eight_bit_store(shape, dtype) : dense_store(at::randn({shape.out, shape.in}, like)),
                       at::randn({settings.rows, shape.in}, like),
                       eight_bit ? Activations::EightBit : Activations::Exact, flops,
                       static_cast<double>(shape.count)});
      maps_.back().seconds();  // lays the matrix out
    }
  }

  void repeat() {
    double flops = 0, seconds = 0;
    for (const auto& map : maps_) {
      flops += map.count * map.flops;
      seconds += map.count * map.seconds();
    }
    rates_.push_back(flops / seconds);
  }

  ReportScore rate() const { return quartiles_of(rates_); }

 private:
  std::vector<TimedMap> maps_;
  std::vector<double> rates_;
};

std::int64_t cache_bytes() {
#ifdef _SC_LEVEL3_CACHE_SIZE
  return std::max<std::int64_t>(0, ::sysconf(_SC_LEVEL3_CACHE_SIZE));
#else
  return 0;
#endif
}

std::int64_t buffer_bytes(const LimitSettings& settings) {
  if (settings.buffer_bytes > 0) return settings.buffer_bytes;
  const std::int64_t wanted = std::clamp(4 * cache_bytes(), kLeastBuffer, kMostBuffer);
  return settings.device.is_cpu() ? std::min(wanted, available_memory() / 4) : wanted;
}

class Memory {
 public:
  explicit Memory(const LimitSettings& settings) : buffer_(buffer(settings)), weights_(kChunk, 1.0F) {
    buffer_.fill_(1);  // pages that nobody wrote to are all one
    seconds();
  }

  void repeat() { rates_.push_back(static_cast<double>(buffer_.nbytes()) / seconds()); }

  ReportScore rate() const { return quartiles_of(rates_); }

 private:
  static constexpr std::int64_t kWidth = 64, kRowBytes = kWidth * static_cast<std::int64_t>(sizeof(float));
  static constexpr std::int64_t kChunk = 32;        // rows
  static constexpr std::int64_t kLeastRows = 4096;  // of a thread
  static constexpr std::int64_t kLineValues = 16;

  // As weights in blocks lie.
  static at::Tensor buffer(const LimitSettings& settings) {
    const std::int64_t rows = std::max<std::int64_t>(1, buffer_bytes(settings) / kRowBytes);
    if (settings.device.is_cpu()) return zeros_in_huge_pages({rows, kRowBytes}).view(at::kFloat);
    return at::empty({rows, kWidth}, at::TensorOptions().device(settings.device).dtype(at::kFloat));
  }

  double seconds() const {
    const auto start = Clock::now();
    if (buffer_.is_cpu()) {
      read();
    } else {
      await(buffer_.sum());
    }
    return seconds_since(start);
  }

  // Sums that stay in registers, of rows that were asked for a chunk before: nothing but reading takes time.
  void read() const {
    const float* data = buffer_.const_data_ptr<float>();
    at::parallel_for(0, buffer_.size(0), kLeastRows, [&](std::int64_t begin, std::int64_t end) {
      float sums[kWidth] = {};
      for (std::int64_t first = begin; first < end; first += kChunk) {
        const std::int64_t count = std::min(kChunk, end - first), next = std::min(first + kChunk, end - count);
        for (std::int64_t i = 0; i < count * kWidth; i += kLineValues) __builtin_prefetch(data + next * kWidth + i);
        rows::add_weighted({weights_.data(), kChunk}, 1,
                           rows::Table<float>{data + first * kWidth, count, kWidth, kWidth}, sums);
      }
    });
  }

  at::Tensor buffer_;           // [rows, kWidth] fp32
  std::vector<float> weights_;  // of a chunk's rows
  std::vector<double> rates_;
};

// Each in turn, until the time is up.
void repeat_in_turn(const std::vector<std::function<void()>>& measurements, double seconds) {
  const auto start = Clock::now();
  for (std::size_t r = 0; r < kMost && (r < kLeast || seconds_since(start) < seconds); ++r) {
    for (const auto& measure : measurements) {
      stop_benchmark_if_asked();
      measure();
    }
  }
}

}  // namespace

std::vector<MapShape> map_shapes(const Model& model) {
  std::map<std::string, std::pair<std::int64_t, std::int64_t>> matrices;
  for (const auto& entry : model.roles()) matrices[entry.weight] = {entry.whole, entry.in};
  std::map<std::pair<std::int64_t, std::int64_t>, std::int64_t> counts;
  for (const auto& [weight, shape] : matrices) ++counts[shape];
  std::vector<MapShape> shapes;
  for (const auto& [shape, count] : counts) shapes.push_back({shape.first, shape.second, count});
  return shapes;
}

MachineLimits measure_limits(const std::vector<MapShape>& shapes, const LimitSettings& settings) {
  const c10::InferenceMode inference;
  Products wide(shapes, settings, at::kFloat, false);
  std::optional<Products> half, eight;
  if (!settings.device.is_cpu() || cpu_features().avx512_bf16 || settings.dtype == at::kBFloat16)
    half.emplace(shapes, settings, at::kBFloat16, false);
  if (has_eight_bit(shapes, settings)) eight.emplace(shapes, settings, settings.dtype, true);
  std::vector<std::function<void()>> products = {[&wide] { wide.repeat(); }};
  if (half) products.emplace_back([&half] { half->repeat(); });
  if (eight) products.emplace_back([&eight] { eight->repeat(); });
  Memory memory(settings);
  products.emplace_back([&memory] { memory.repeat(); });
  repeat_in_turn(products, settings.seconds);
  MachineLimits limits;
  limits.float32 = wide.rate();
  if (half) limits.bfloat16 = half->rate();
  if (eight) limits.eight_bit = eight->rate();
  limits.reading = memory.rate();
  return limits;
}

MachineRate rate_of(const MachineLimits& limits, at::ScalarType dtype, bool eight_bit) {
  double flops = dtype == at::kBFloat16 && limits.bfloat16 ? limits.bfloat16->value : limits.float32.value;
  if (eight_bit && limits.eight_bit) flops = std::max(flops, limits.eight_bit->value);
  return {flops, limits.reading.value};
}

}  // namespace graft
