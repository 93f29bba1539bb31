// How a model's matrices are kept in memory, and the names of the block types, wherever a user gives one.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "checkpoint/source.h"

namespace graft {

/// Every block type that is_writable(), in the order in which users are told them.
const std::vector<DType>& block_types();

/// name() in small letters, "q4_k": what a user gives.
std::string block_name(DType type);

/// "q8_0, q4_0, …, q5_k or q6_k", with `last` ("or") before the last.
std::string block_names(const std::string& last);

/// `wanted` where rows of `row` values are whole blocks of it; else the type with blocks of 32 that llama.cpp takes in
/// its place, Q5_0 for Q4_K, Q5_1 for Q5_K, Q8_0 for Q6_K; nothing where rows are no whole blocks of that either.
std::optional<DType> fitting_blocks(DType wanted, std::int64_t row);

/// How the matrices of linear maps, embeddings and the head are kept (the setting model.weights). Dense: in the compute
/// dtype. Packed: in the GGML blocks in which the file has them, as everything else dense. The others: in these blocks,
/// quantised while loading where the file has others; a matrix is in its fitting_blocks(), dense where there are none.
enum class WeightFormat { Dense, Packed, Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, Q4_K, Q5_K, Q6_K };

/// "dense", "packed", and the block_types() by name: the one list of what model.weights and --weights take.
std::vector<std::string> weight_names();

/// The format of one of weight_names(). Throws InvalidArgument with the nearest for another.
WeightFormat weight_format(const std::string& name);
std::string name(WeightFormat format);

/// What a format quantises to while loading; nothing of Dense and Packed.
std::optional<DType> loading_type(WeightFormat format);

}  // namespace graft
