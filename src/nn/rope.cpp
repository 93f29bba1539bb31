#include "nn/rope.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <numbers>
#include <vector>

#include "base/error.h"
#include "nn/kernels/any_row.h"
#include "nn/learns.h"

namespace graft {
namespace {

// x cos ∓ rotated sin on halves, of x [N, heads, D] or [N, heads · D], whose heads lie together; the backward pass is
// the rotation by the opposite angle, so only the table is kept.
at::Tensor rotated_by_rows(const at::Tensor& x, std::int64_t dim, const at::Tensor& cos, const at::Tensor& sin) {
  RECORD_USER_SCOPE("graft::rotate");
  const at::Tensor cosines = cos.contiguous(), sines = sin.contiguous();
  const std::int64_t heads = x.dim() == 2 ? x.size(1) / dim : x.size(1), half = cos.size(-1), token = x.stride(0),
                     width = heads * dim;
  at::Tensor y = rows::empty({x.size(0), heads, dim}, x.scalar_type());
  at::parallel_for(0, x.size(0), rows::rows_per_thread(width), [&](std::int64_t begin, std::int64_t end) {
    std::vector<float> row(static_cast<std::size_t>(width));
    for (std::int64_t n = begin; n < end; ++n) {
      const float *cosine = cosines.const_data_ptr<float>() + n * half,
                  *sine = sines.const_data_ptr<float>() + n * half;
      rows::read(x, n * token, row.data(), width);
      for (float* head = row.data(); head < row.data() + width; head += dim)
        rows::rotate(head, head + half, cosine, sine, half);
      rows::write(row.data(), y, n * width, width);
    }
  });
  return y;
}

bool has_rows(const at::Tensor& x, std::int64_t dim, const at::Tensor& cos) {
  return rows::readable(x) && cos.size(0) == x.size(0) && 2 * cos.size(-1) <= dim;
}

at::Tensor rotated(const at::Tensor& x, const at::Tensor& cos, const at::Tensor& sin) {
  if (x.dim() == 3 && has_rows(x, x.size(2), cos)) return rotated_by_rows(x.contiguous(), x.size(2), cos, sin);
  const std::int64_t half = cos.size(-1), rotary = 2 * half;
  const at::Tensor wide = x.to(at::kFloat);
  const at::Tensor first = wide.narrow(-1, 0, half), second = wide.narrow(-1, half, half);
  std::vector<at::Tensor> parts = {first * cos - second * sin, second * cos + first * sin};
  if (rotary < x.size(-1)) parts.push_back(wide.narrow(-1, rotary, x.size(-1) - rotary));
  return at::cat(parts, -1).to(x.scalar_type());
}

class Rotate : public torch::autograd::Function<Rotate> {
 public:
  static at::Tensor forward(torch::autograd::AutogradContext* ctx, const at::Tensor& x, const at::Tensor& cos,
                            const at::Tensor& sin) {
    ctx->save_for_backward({cos, sin});
    return rotated(x, cos, sin);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* ctx,
                                                 torch::autograd::variable_list grads) {
    const auto saved = ctx->get_saved_variables();
    return {rotated(grads[0], saved[0], saved[1].neg()), at::Tensor(), at::Tensor()};
  }
};

at::Tensor plain_frequencies(double theta, std::int64_t dim) {
  return at::pow(theta, at::arange(0, dim, 2, at::kDouble) / -static_cast<double>(dim));
}

// Llama 3.1: low frequencies are stretched by `factor`, high ones kept, with a linear ramp between.
at::Tensor llama3_frequencies(const RopeConfig& config, const at::Tensor& base) {
  const at::Tensor wavelength = 2 * std::numbers::pi / base;
  const double original = static_cast<double>(config.original_max_position);
  const at::Tensor ramp = at::clamp(
      (original / wavelength - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor), 0.0, 1.0);
  return base / config.factor * (1 - ramp) + base * ramp;
}

at::Tensor divided(const at::Tensor& base, const std::vector<float>& factors) {
  return base / at::tensor(factors, at::kFloat).to(at::kDouble);
}

at::Tensor yarn_frequencies(const RopeConfig& config, const at::Tensor& base, std::int64_t dim) {
  const double original = static_cast<double>(config.original_max_position);
  const auto correction = [&](double rotations) {
    return dim * std::log(original / (rotations * 2 * std::numbers::pi)) / (2 * std::log(config.theta));
  };
  const double first = correction(config.beta_fast), last = correction(config.beta_slow);
  const double low = std::max(config.truncate ? std::floor(first) : first, 0.0);
  double high = std::min(config.truncate ? std::ceil(last) : last, static_cast<double>(dim - 1));
  if (high == low) high += 0.001;
  const at::Tensor ramp = at::clamp((at::arange(dim / 2, at::kDouble) - low) / (high - low), 0.0, 1.0);
  return base / config.factor * ramp + base * (1 - ramp);
}

}  // namespace

Rope::Rope(const RopeConfig& config, std::int64_t head_dim, std::int64_t max_positions)
    : config_(config), dim_(config.dimensions > 0 ? config.dimensions : head_dim) {
  if (dim_ % 2 != 0) fail(Category::Corruption, "head_dim", "{} is odd; rotary embeddings need pairs", dim_);
  if (config_.original_max_position == 0) config_.original_max_position = max_positions;
  if (config_.scaling != RopeScaling::Dynamic) frequencies_ = inverse_frequencies(0).unsqueeze(0).to(at::kFloat);
  if (config_.scaling == RopeScaling::LongRope)
    long_ = inverse_frequencies(config_.original_max_position + 1).unsqueeze(0).to(at::kFloat);
}

at::Tensor Rope::inverse_frequencies(std::int64_t length) const {
  const std::int64_t before = config_.original_max_position;
  if (config_.scaling == RopeScaling::Dynamic && length > before) {
    const double dim = static_cast<double>(dim_);
    const double stretch =
        config_.factor * static_cast<double>(length) / static_cast<double>(before) - (config_.factor - 1);
    return plain_frequencies(config_.theta * std::pow(stretch, dim / (dim - 2)), dim_);
  }
  const at::Tensor base = plain_frequencies(config_.theta, dim_);
  switch (config_.scaling) {
    case RopeScaling::Linear:
      return base / config_.factor;
    case RopeScaling::Llama3:
      return llama3_frequencies(config_, base);
    case RopeScaling::Yarn:
      return yarn_frequencies(config_, base, dim_);
    case RopeScaling::Factors:
      return divided(base, config_.factors);
    case RopeScaling::LongRope:
      return divided(base, length > before ? config_.long_factors : config_.factors);
    default:
      return base;
  }
}

// [1, D/2], or [N, D/2] where sequences differ.
at::Tensor Rope::frequencies(const at::Tensor& lengths) const {
  if (long_.defined()) {
    const at::Tensor beyond = lengths.cpu() > config_.original_max_position;
    return beyond.any().item<bool>() ? at::where(beyond.unsqueeze(1), long_, frequencies_) : frequencies_;
  }
  if (frequencies_.defined()) return frequencies_;
  const at::Tensor host = lengths.cpu();
  std::map<std::int64_t, at::Tensor> by_length;
  std::vector<at::Tensor> rows;
  for (std::int64_t i = 0; i < host.size(0); ++i) {
    const auto length = host[i].item<std::int64_t>();
    at::Tensor& row = by_length[length];
    if (!row.defined()) row = inverse_frequencies(length);
    rows.push_back(row);
  }
  return at::stack(rows);
}

RopeTable Rope::table(const at::Tensor& positions, const at::Tensor& lengths) const {
  const bool scaled = config_.scaling == RopeScaling::Yarn || config_.scaling == RopeScaling::LongRope;
  const double factor = scaled ? config_.attention_factor : 1.0;
  const at::Tensor angles =
      positions.to(at::kFloat).unsqueeze(1) * frequencies(lengths).to(positions.device(), at::kFloat);
  return {angles.cos() * factor, angles.sin() * factor};
}

bool turns_anew(const RopeConfig& config, std::int64_t before, std::int64_t after) {
  return config.scaling == RopeScaling::LongRope && before > 0 && before <= config.original_max_position &&
         after > config.original_max_position;
}

at::Tensor rotate(const at::Tensor& x, const RopeTable& table) {
  const at::Tensor cos = table.cos.unsqueeze(1), sin = table.sin.unsqueeze(1);
  return learns(x) ? Rotate::apply(x, cos, sin) : rotated(x, cos, sin);
}

at::Tensor rotate(const at::Tensor& x, std::int64_t head_dim, const RopeTable& table) {
  if (!learns(x) && x.stride(1) == 1 && has_rows(x, head_dim, table.cos))
    return rotated_by_rows(x, head_dim, table.cos, table.sin);
  return rotate(x.reshape({x.size(0), x.size(1) / head_dim, head_dim}), table);
}

}  // namespace graft
