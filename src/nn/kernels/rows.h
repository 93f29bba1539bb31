// Loops over one row of numbers, each compiled for every set of vector instructions; the machine's own is taken at run
// time. What is fused of them (norms, rotations, gates, attention of one query) is put together where it is used.
#pragma once

#include <cstdint>

namespace graft::rows {

using Bits = std::uint16_t;  ///< of a bfloat16

/// Values as fp32, and back, to the nearest with ties to even. Of fp32 both copy.
void widen(const float* from, float* to, std::int64_t count);
void widen(const Bits* from, float* to, std::int64_t count);
void narrow(const float* from, float* to, std::int64_t count);
void narrow(const float* from, Bits* to, std::int64_t count);
/// Each value to the nearest bfloat16.
void round_to_bfloat16(float* x, std::int64_t count);

/// Rows of a matrix, `stride` values apart.
template <typename T>
struct Table {
  const T* first = nullptr;
  std::int64_t count = 0, stride = 0, width = 0;
};

float dot(const float* a, const float* b, std::int64_t count);
float dot(const float* a, const Bits* b, std::int64_t count);
/// A number for each row, for each of some vectors.
template <typename Value>
struct PerRow {
  Value* first = nullptr;
  std::int64_t stride = 0;  ///< from one vector's numbers to the next's
};

/// out[v][r] = row r times vector v of x [vectors, width]. A row is read once for up to four vectors; the bits of one
/// do not depend on the others. With each row, one of `next` is asked for from memory, for whoever reads these
/// afterwards.
void dots(const float* x, std::int64_t vectors, Table<float> rows, PerRow<float> out, Table<float> next = {});
void dots(const float* x, std::int64_t vectors, Table<Bits> rows, PerRow<float> out, Table<Bits> next = {});
void dots(const float* x, std::int64_t vectors, Table<std::int8_t> rows, PerRow<float> out,
          Table<std::int8_t> next = {});
/// sum [vectors, width] += Σ weights[v][r] · row r, likewise. Rows in several calls add up to the bits of one call.
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<float> rows, float* sum);
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<Bits> rows, float* sum);
void add_weighted(PerRow<const float> weights, std::int64_t vectors, Table<std::int8_t> rows, float* sum);
/// sum += factor · x
void add_scaled(float* sum, float factor, const float* x, std::int64_t count);
void add_scaled(float* sum, float factor, const Bits* x, std::int64_t count);
/// sum += a ⊙ b
void add_products(float* sum, const float* a, const float* b, std::int64_t count);
void scale(float* x, float factor, std::int64_t count);
void multiply(float* x, const float* by, std::int64_t count);

/// x becomes -inf where `numbers` are no larger than `most`.
void hide(float* x, const std::int32_t* numbers, std::int32_t most, std::int64_t count);
float largest(const float* x, std::int64_t count);
/// Whether none is NaN or infinite.
bool finite(const float* x, std::int64_t count);
/// x becomes exp(x - shift); returns the sum. Within 2 units in the last place; 0 below exp(-87).
float exponentials(float* x, float shift, std::int64_t count);
/// out [width] = exp(factor · (x - the largest)) of the values [begin, end) of x [width], at least one, and 0
/// elsewhere; factor > 0, and `width` is a multiple of 16. Returns the sum of what was not rounded yet.
float exponentials(const float* x, std::int64_t begin, std::int64_t end, float factor, Bits* out, std::int64_t width);
/// The gradient of probabilities becomes that of the scores before `scale` and softmax: p · (gradient - mean) · scale.
void softmax_backward(const float* p, float* gradient, float mean, float scale, std::int64_t count);
/// a becomes a·cos - b·sin, b becomes b·cos + a·sin.
void rotate(float* a, float* b, const float* cos, const float* sin, std::int64_t count);
/// What a gate goes through, x · sigmoid(u): SiLU with u = x, GELU in its tanh form with u = 2 √(2/π) (x + 0.044715
/// x³).
enum class Gate : std::uint8_t { Silu, GeluTanh };
/// out = activation(gate) ⊙ up. With `scale` [count], which may be null, the result, as its type has it, is multiplied
/// by that.
void gated(Gate kind, const float* gate, const float* up, const float* scale, float* out, std::int64_t count);
void gated(Gate kind, const Bits* gate, const Bits* up, const float* scale, Bits* out, std::int64_t count);
/// The gradients of gate and up from that of gated()'s result, in memory of their own; with `scale`, that of the scale
/// is added to `of_scale` [count].
template <typename T>
struct GateGradients {
  T* gate;
  T* up;
  float* of_scale;
};
void gated_backward(Gate kind, const float* grad, const float* gate, const float* up, const float* scale,
                    GateGradients<float> out, std::int64_t count);
void gated_backward(Gate kind, const Bits* grad, const Bits* gate, const Bits* up, const float* scale,
                    GateGradients<Bits> out, std::int64_t count);
/// Groups of `width` values in 8 bits: value = scale of its group · code, with a largest magnitude of 127; `sums` are
/// those of the codes. A group that is not finite has zeros and NaN for its scale.
void quantise_groups(const float* x, std::int64_t groups, std::int64_t width, std::int8_t* codes, float* scales,
                     std::int32_t* sums);

}  // namespace graft::rows
