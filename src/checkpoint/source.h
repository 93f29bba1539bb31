// What every checkpoint format gives: named tensors whose bytes are mapped and read only when touched.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace graft {

/// Element or block type of a stored tensor. The Q types are GGML blocks (docs/formats/gguf.md).
enum class DType {
  F64,
  F32,
  F16,
  BF16,
  F8_E4M3,
  F8_E5M2,
  I64,
  I32,
  I16,
  I8,
  U64,
  U32,
  U16,
  U8,
  Bool,
  Q8_0,
  Q4_0,
  Q4_1,
  Q5_0,
  Q5_1,
  Q4_K,
  Q5_K,
  Q6_K,
  Q2_K,
  Q3_K,
  IQ4_NL
};

/// Name as printed, e.g. "BF16", "Q4_1".
const char* name(DType dtype);
/// Elements in one block (1 for plain types, 32 or 256 for GGML blocks).
std::int64_t block_elements(DType dtype);
/// Bytes of one block.
std::int64_t block_bytes(DType dtype);
/// True for the GGML block types.
bool is_quantised(DType dtype);

struct TensorInfo {
  std::string name;  ///< the checkpoint's own name
  DType dtype = DType::F32;
  std::vector<std::int64_t> shape;  ///< row-major, outermost first (GGUF's reversed order is undone)
  std::size_t file = 0;             ///< index into TensorSource::files()
  std::uint64_t offset = 0;         ///< of the first byte in that file
  std::uint64_t bytes = 0;

  std::int64_t elements() const;
};

/// A checkpoint on disk: one file, or several shards behind an index. Immutable and safe to read from several threads.
/// The spans it gives live as long as the source.
class TensorSource {
 public:
  virtual ~TensorSource() = default;

  /// "safetensors", "pytorch" or "gguf".
  virtual std::string format() const = 0;
  /// In the order of the file (shards in the order of their names).
  virtual const std::vector<TensorInfo>& tensors() const = 0;
  virtual const std::vector<std::filesystem::path>& files() const = 0;
  /// Raw row-major bytes, exactly `info.bytes` of them. May throw Corruption where a format is checked late.
  virtual std::span<const std::byte> bytes(const TensorInfo& info) const = 0;
  /// For whoever has read a tensor and will not soon read it again: what of it is mapped no longer counts as this
  /// process's memory.
  virtual void release(const TensorInfo& info) const { (void)info; }
  /// For whoever will soon read a tensor: what of it is mapped begins to be read.
  virtual void prefetch(const TensorInfo& info) const { (void)info; }
  /// The format's own metadata: safetensors' __metadata__, GGUF's key-value pairs (arrays included), else an empty
  /// object.
  virtual const nlohmann::json& metadata() const = 0;
  /// metadata() without what of it is long and not read while loading a model: of a GGUF file, the tokenizer's arrays
  /// (every token and every merge).
  virtual const nlohmann::json& settings() const { return metadata(); }

  /// The tensor of that name, or nullptr.
  const TensorInfo* find(std::string_view name) const;
  /// The tensor of that name. Throws NotFound with the nearest name.
  const TensorInfo& at(std::string_view name) const;

 private:
  mutable std::shared_ptr<const void> index_;
};

/// Opens a checkpoint by content: a .safetensors, .bin/.pt/.pth (PyTorch zip) or .gguf file, or a folder that holds
/// model.safetensors[.index.json], pytorch_model.bin[.index.json], adapter_model.safetensors/.bin or one .gguf model.
/// Throws NotFound, Corruption (truncated, overlapping, lying header), Unsupported (old or encrypted format), Io.
std::unique_ptr<TensorSource> open_checkpoint(const std::filesystem::path& path);

/// Values of a stored tensor as fp32, out.size() == elements. Plain types are converted, GGML blocks dequantised.
/// Throws Unsupported for integer and boolean types.
void to_float(DType dtype, std::span<const std::byte> bytes, std::span<float> out);

/// GGML blocks as fp32, or rounded to bfloat16 (to nearest, ties to even), on the calling thread alone. `out` has the
/// blocks' elements. Throws Unsupported for a type that has no blocks.
void dequantise(DType dtype, std::span<const std::byte> blocks, std::span<float> out);
void dequantise(DType dtype, std::span<const std::byte> blocks, std::span<std::uint16_t> out);

/// How the values of GGML blocks follow from whole numbers: value = scale · (code - offset) + minimum.
struct BlockCodes {
  int bits = 8;             ///< 4 or 8: codes lie in [0, 2^bits)
  std::int64_t group = 32;  ///< values that share a scale and a minimum
  std::int32_t offset = 0;
  bool minima = false;      ///< false: all are 0
  bool half_scales = true;  ///< scales and minima are numbers in half precision, with which a block begins
};
/// Throws Unsupported for a type that has no blocks.
BlockCodes block_codes(DType dtype);
/// Scale and minimum of every group of the blocks; with the formula above they give dequantise()'s values, bit for bit.
/// `minima` is empty where BlockCodes::minima is false. Throws as block_codes, InvalidArgument where sizes do not fit.
void block_scales(DType dtype, std::span<const std::byte> blocks, std::span<float> scales, std::span<float> minima);
/// The codes of every value, as they lie in the file: those under a scale of zero, too. `out` has the blocks' elements.
/// Throws as block_scales().
void codes_of_blocks(DType dtype, std::span<const std::byte> blocks, std::span<std::uint8_t> out);

/// fp32 values as GGML blocks, on the calling thread. Blocks of 32 are rounded as GGML's reference quantisation does
/// (quantize_row_…_ref of ggml-quants.c), byte for byte; those of 256 by least squares (quantise_k.h). Values are whole
/// blocks, finite and within ±500,000, beyond which a half-precision scale overflows. Throws Unsupported for a type
/// that is_writable() or is_quantised() is false of, InvalidArgument where sizes do not fit.
void quantise(DType dtype, std::span<const float> values, std::span<std::byte> blocks);

/// As quantise(), for blocks that no other program is to find the same: the scales of Q4_1, Q5_0 and Q5_1 too are those
/// of least squared error among a few dozen candidates, which leaves about a fifth less of it in the two with minima
/// and a tenth less in Q5_0. Q8_0 and Q4_0 are quantise()'s. Minima are halves: values of Q4_1 and Q5_1 within ±65,504.
void quantise_closely(DType dtype, std::span<const float> values, std::span<std::byte> blocks);

/// Whether quantise_closely() looks for scales among candidates, which takes many times as long as reading the values:
/// true of all blocks that it writes but Q8_0 and Q4_0.
bool scales_are_fitted(DType dtype);

/// Whether from_float() writes the type: of what to_float() reads all but 8-bit floats, Q2_K, Q3_K and IQ4_NL.
bool is_writable(DType dtype);

/// fp32 values as bytes of a stored type, the inverse of to_float: F64, F32, F16 and BF16 (to nearest, ties to even;
/// beyond F16's 65,504 infinity), or blocks through quantise(). Throws Unsupported for another type, InvalidArgument
/// where sizes do not fit.
void from_float(DType dtype, std::span<const float> values, std::span<std::byte> out);

/// SHA-256 over the sorted list of (name, dtype, shape, SHA-256 of the bytes): the same for any sharding or order.
std::string content_hash(const TensorSource& source);

/// content_hash() of a file that is yet to be written.
class ContentHash {
 public:
  void add(const std::string& name, DType dtype, const std::vector<std::int64_t>& shape,
           std::span<const std::byte> bytes);
  std::string finish();

 private:
  std::vector<std::string> lines_;
};

}  // namespace graft
