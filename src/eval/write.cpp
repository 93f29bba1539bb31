#include "eval/write.h"

#include <algorithm>
#include <optional>

#include "base/clock.h"
#include "base/interrupt.h"
#include "base/progress.h"
#include "data/unicode.h"
#include "generate/read_prefix.h"

namespace graft {
namespace {

std::vector<Prompt> next_batch(const std::vector<ChoiceTokens>& examples, std::size_t first, std::int32_t slot,
                               const WriteOptions& options) {
  std::vector<Prompt> prompts;
  std::int64_t tokens = 0;
  for (std::size_t i = first; i < examples.size() && static_cast<std::int64_t>(prompts.size()) < options.batch; ++i) {
    tokens += static_cast<std::int64_t>(examples[i].prompt.size());
    if (!prompts.empty() && tokens > options.batch_tokens) break;
    prompts.push_back({examples[i].prompt, 0, slot});
  }
  return prompts;
}

std::string up_to_stop(const std::string& text, const std::vector<std::string>& stops) {
  std::size_t end = text.size();
  for (const auto& stop : stops) end = std::min(end, text.find(stop));
  return text.substr(0, end);
}

}  // namespace

std::vector<WrittenText> write_texts(const Model& model, const std::vector<ChoiceTokens>& examples,
                                     const WriteOptions& options) {
  std::vector<WrittenText> texts;
  if (examples.empty()) return texts;
  std::optional<Progress> progress;
  if (options.shows) progress.emplace(options.what, static_cast<std::int64_t>(examples.size()));
  auto began = Clock::now();
  GenerateOptions how = options.generate;
  if (how.beam.beams > 1) how.stop.clear();
  const std::int32_t slot = how.slots.empty() ? -1 : 0;
  std::optional<ReadPrefix> prefix;
  if (!options.prefix.empty())
    how.prefix = &prefix.emplace(model, options.prefix, how.slots, slot, how.activations, how.kv_cache);
  while (texts.size() < examples.size()) {
    const auto prompts = next_batch(examples, texts.size(), slot, options);
    const auto generated = generate(model, prompts, how);
    const auto ended = Clock::now();
    const double each = seconds_between(began, ended) / static_cast<double>(prompts.size());
    began = ended;
    std::vector<std::pair<std::size_t, WrittenText>> done;
    for (std::size_t i = 0; i < generated.size(); ++i) {
      if (generated[i].reason == StopReason::Cancelled) continue;
      const std::string text = up_to_stop(replace_invalid_utf8(generated[i].text), options.generate.stop);
      done.emplace_back(texts.size() + i,
                        WrittenText{text, static_cast<std::int64_t>(generated[i].tokens.size()), each});
    }
    if (options.on_written && !done.empty()) options.on_written(done);
    if (done.size() < generated.size()) fail_interrupted("evaluation");
    for (auto& one : done) texts.push_back(std::move(one.second));
    if (progress) progress->update(static_cast<std::int64_t>(texts.size()));
  }
  return texts;
}

}  // namespace graft
