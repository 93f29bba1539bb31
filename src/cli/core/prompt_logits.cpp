#include "cli/core/prompt_logits.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include <cstddef>
#include <cstdint>

#include "base/error.h"
#include "nn/forest_plan.h"
#include "nn/tensor_file.h"

namespace graft {

void write_logits(const std::string& file, const Model& model, const std::vector<WritingRequest>& requests,
                  const GenerateOptions& options) {
  if (model.encoder_decoder()) fail(Category::Unsupported, "--logits", "is for decoder-only models");
  const c10::InferenceMode inference;
  ForwardOptions forward;
  forward.slots = options.slots;
  NamedTensors tensors;
  for (std::size_t i = 0; i < requests.size(); ++i) {
    StepInput input;
    input.decoder.add(requests[i].ids, -1, requests[i].slot);
    input.decoder.segments.front().prompt_end = static_cast<std::int64_t>(requests[i].ids.size());
    forward.rows = slot_runs(input.decoder);
    tensors.emplace_back(std::to_string(i), model.logits(model.forward(input, forward), forward).to(at::kFloat));
  }
  write_tensors(file, tensors);
}

}  // namespace graft
