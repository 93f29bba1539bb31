// Tensor names of GGUF files and of Hugging Face checkpoints.
#pragma once

#include <string>

namespace graft {

/// "blk.3.attn_q.weight" → "model.layers.3.self_attn.q_proj.weight"; a name it does not know stays as it is.
std::string hugging_face_name(const std::string& gguf_name, const std::string& architecture);

}  // namespace graft
