#include "generate/cached_step.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <c10/core/ScalarType.h>

#include <algorithm>
#include <atomic>

#include "generate/read_prefix.h"
#include "nn/kernels/any_row.h"
#include "nn/rope.h"

namespace graft {
namespace {

constexpr std::int64_t kLeastPerThread = 1 << 14, kRun = 1 << 12;  // values
constexpr std::int64_t kScaleBytes = sizeof(float);                // of a head's 8-bit codes

// Looked at while they are written.
at::Tensor finite_logits(const Model& model, const at::Tensor& hidden, const ForwardOptions& options) {
  const at::Tensor made = model.logits(hidden, options);
  const at::Tensor given = (rows::readable(made) ? made : made.to(at::kCPU, at::kFloat)).contiguous();
  const bool wide = given.scalar_type() == at::kFloat;
  const at::Tensor logits = wide ? given : at::empty(given.sizes(), given.options().dtype(at::kFloat));
  auto* values = logits.data_ptr<float>();
  std::atomic<bool> finite{true};
  at::parallel_for(0, given.numel(), kLeastPerThread, [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t first = begin; first < end; first += kRun) {
      const std::int64_t count = std::min(kRun, end - first);
      if (!wide) rows::read(given, first, values + first, count);
      if (!rows::finite(values + first, count)) finite = false;
    }
  });
  if (!finite) fail_not_finite(model, "logits");
  return logits;
}

}  // namespace

std::vector<std::int64_t> first_tokens(const Model& model, const Prompt& prompt) {
  return model.encoder_decoder() ? std::vector<std::int64_t>{decoder_start_of(model.config())} : prompt.tokens;
}

std::int64_t positions_left(const Model& model, Stack stack, const std::vector<const SiteHooks*>& slots,
                            std::int32_t slot) {
  const std::int64_t all = model.config().max_positions;
  const SiteHooks* hooks = slot < 0 ? nullptr : slots[static_cast<std::size_t>(slot)];
  return all <= 0 || hooks == nullptr ? all : all - hooks->virtual_tokens(stack);
}

void add_prompt(StepInput& input, const Model& model, const Prompt& prompt, std::int32_t cache, std::int64_t read) {
  const std::int32_t source = model.encoder_decoder() ? input.encoder.add(prompt.tokens, -1, prompt.slot) : -1;
  auto tokens = first_tokens(model, prompt);
  tokens.erase(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(read));
  input.decoder.add(tokens, -1, prompt.slot, source);
  Segment& segment = input.decoder.segments.back();
  segment.cache = cache;
  if (source < 0) segment.prompt_end = segment.length;
}

void add_tokens(StepInput& input, const std::vector<std::int64_t>& tokens, std::int32_t slot, std::int32_t cache) {
  input.decoder.add(tokens, -1, slot);
  input.decoder.segments.back().cache = cache;
}

void read_again(StepInput& input, KvCache& cache, const std::vector<std::int64_t>& text, const Prompt& prompt,
                std::int32_t sequence) {
  cache.truncate(sequence, 0);
  add_tokens(input, text, prompt.slot, sequence);
  input.decoder.segments.back().prompt_end = static_cast<std::int64_t>(prompt.tokens.size());
}

std::int64_t begin_with_prefix(KvCache& cache, std::int32_t sequence, const Model& model, const Prompt& prompt,
                               const GenerateOptions& options) {
  if (options.prefix == nullptr) return 0;
  const auto read = static_cast<std::int64_t>(options.prefix->tokens().size()),
             more = static_cast<std::int64_t>(prompt.tokens.size()) - read, held = options.prefix->cache().length(0);
  if (turns_anew(model.config().rope, held, held + more)) return 0;
  cache.begin_with(sequence, options.prefix->cache(), 0);
  return read;
}

void add_token(StepInput& input, std::int64_t token, std::int32_t slot, std::int32_t cache) {
  add_tokens(input, {token}, slot, cache);
}

std::int64_t kept_bytes(const Model& model, const KeptTexts& texts, KvFormat format) {
  const ModelConfig& config = model.config();
  const std::int64_t pairs = 2 * model.cache_layers(),  // keys and values
      dense = config.head_dim * static_cast<std::int64_t>(c10::elementSize(model.dtype())),
                     head = format == KvFormat::Dense ? dense : config.head_dim + kScaleBytes,
                     token = pairs * config.kv_heads * head, written = texts.beams * texts.written;
  if (model.encoder_decoder()) return pairs * config.heads * dense * texts.read + token * written;
  const std::int64_t last_pages = std::min(texts.read, texts.count * (KvCache::kPageTokens - 1));
  return token * (texts.read + (texts.beams - 1) * last_pages + written);
}

at::Tensor last_logits(const Model& model, const StepInput& input, const ForwardOptions& options) {
  return last_logits(model, input, options, std::vector<std::int64_t>(input.decoder.segments.size(), 1));
}

at::Tensor last_logits(const Model& model, const StepInput& input, const ForwardOptions& options,
                       const std::vector<std::int64_t>& counts) {
  std::vector<std::int64_t> rows;
  for (std::size_t s = 0; s < counts.size(); ++s) {
    const Segment& segment = input.decoder.segments[s];
    for (std::int64_t i = counts[s]; i > 0; --i) rows.push_back(segment.begin + segment.length - i);
  }
  at::Tensor hidden = model.forward(input, options);
  if (hidden.size(0) != static_cast<std::int64_t>(rows.size()))
    hidden = hidden.index_select(0, at::tensor(rows, at::kLong).to(hidden.device()));
  ForwardOptions of_rows = options;
  of_rows.rows = chosen_runs(slot_runs(input.decoder), rows);
  return finite_logits(model, hidden, of_rows);
}

}  // namespace graft
