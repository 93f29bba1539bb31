// The tensors of a model between the layouts of Hugging Face and of llama.cpp.
#pragma once

#include <vector>

#include "config/model_config.h"
#include "convert/passage.h"

namespace graft {

/// Every parameter of a Hugging Face folder on its way into a GGUF file, or of a GGUF file on its way into a folder:
/// under the other's name, in the other's order of rows and columns. `to` has the stored type. Throws NotFound for a
/// tensor that the family has and the files have not, Corruption for one of another shape or without a place, as
/// outline_model.
std::vector<Passage> model_passages(const ModelFiles& files);

/// The type that llama.cpp's converter and its llama-quantize give to a matrix of a GGUF file whose rows have `row`
/// values: the fitting_blocks() of `wanted`, or F16.
DType whole_blocks(DType wanted, std::int64_t row);

/// Whether it keeps its precision whatever is wanted: vectors, norms and positions, which llama.cpp computes in fp32.
bool keeps_precision(const TensorPlan& tensor);

}  // namespace graft
