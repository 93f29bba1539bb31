#include "generate/forced.h"

#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>

#include "base/error.h"
#include "nn/kv_cache.h"
#include "nn/rope.h"

namespace graft {
namespace {

// One sequence of the cache that tokens are appended to.
class Reader {
 public:
  Reader(const Model& model, const std::vector<const SiteHooks*>& slots)
      : model_(model), cache_(model.cache_layers()), sequence_(cache_.add_sequence()), slot_(slots.empty() ? -1 : 0) {
    forward_.slots = slots;
    forward_.cache = &cache_;
  }

  /// Hidden state [1, C] behind the prompt.
  at::Tensor prefill(const std::vector<std::int64_t>& prompt) {
    prompt_ = text_ = prompt;
    if (!model_.encoder_decoder()) {
      const at::Tensor hidden = read_text();
      prompt_length_ = cache_.length(sequence_);
      return hidden;
    }
    StepInput input;
    const auto source = input.encoder.add(prompt, -1, slot_);
    input.decoder.add({decoder_start_of(model_.config())}, -1, slot_, source);
    const at::Tensor hidden = read(input);
    prompt_length_ = cache_.length(sequence_);
    return hidden;
  }

  /// Hidden state [1, C] behind one more token.
  at::Tensor step(std::int64_t token) {
    text_.push_back(token);
    const std::int64_t cached = cache_.length(sequence_);
    if (turns_anew(model_.config().rope, cached, cached + 1)) return read_text();
    StepInput input;
    input.decoder.add({token}, -1, slot_);
    return read(input);
  }

  void back_to_prompt() {
    const bool turned = turns_anew(model_.config().rope, prompt_length_, cache_.length(sequence_));
    text_ = prompt_;
    if (turned) {
      read_text();
    } else {
      cache_.truncate(sequence_, prompt_length_);
    }
  }

 private:
  // From its beginning.
  at::Tensor read_text() {
    cache_.truncate(sequence_, 0);
    StepInput input;
    input.decoder.add(text_, -1, slot_);
    input.decoder.segments.back().prompt_end = static_cast<std::int64_t>(prompt_.size());
    return read(input);
  }

  // The one segment of the decoder, on the sequence.
  at::Tensor read(StepInput& input) {
    input.decoder.segments.front().cache = sequence_;
    const at::Tensor hidden = model_.forward(input, forward_);
    return hidden.narrow(0, hidden.size(0) - 1, 1);
  }

  const Model& model_;
  KvCache cache_;
  std::int32_t sequence_, slot_;
  ForwardOptions forward_;
  std::vector<std::int64_t> prompt_, text_;
  std::int64_t prompt_length_ = 0;  // in the cache
};

}  // namespace

at::Tensor forced_hidden(const Model& model, const std::vector<std::int64_t>& prompt,
                         const std::vector<std::vector<std::int64_t>>& continuations,
                         const std::vector<const SiteHooks*>& slots) {
  if (prompt.empty()) fail(Category::InvalidArgument, "prompt", "is empty; give at least one token");
  const c10::InferenceMode inference;
  Reader reader(model, slots);
  const at::Tensor first = reader.prefill(prompt);
  std::vector<at::Tensor> rows;
  for (const auto& tokens : continuations) {
    if (tokens.empty()) fail(Category::InvalidArgument, "continuation", "is empty; give at least one token");
    rows.push_back(first);
    // The last token predicts nothing that is asked for.
    for (std::size_t t = 0; t + 1 < tokens.size(); ++t) rows.push_back(reader.step(tokens[t]));
    reader.back_to_prompt();
  }
  return at::cat(rows);
}

}  // namespace graft
