#include "eval/write.h"

#include "base/interrupt.h"
#include "base/progress.h"
#include "data/unicode.h"

namespace graft {

std::vector<std::string> write_texts(const Model& model, const std::vector<ChoiceTokens>& examples,
                                     const WriteOptions& options) {
  std::vector<std::string> texts;
  Progress progress(options.what, static_cast<std::int64_t>(examples.size()));
  const std::int32_t slot = options.generate.slots.empty() ? -1 : 0;
  while (texts.size() < examples.size()) {
    std::vector<Prompt> prompts;
    for (std::size_t i = texts.size(); i < examples.size() && prompts.size() < static_cast<std::size_t>(options.batch);
         ++i)
      prompts.push_back({examples[i].prompt, 0, slot});
    for (const Generated& written : generate(model, prompts, options.generate)) {
      if (written.reason == StopReason::Cancelled) fail_interrupted("evaluation");
      texts.push_back(without_space_around(replace_invalid_utf8(written.text)));
    }
    progress.update(static_cast<std::int64_t>(texts.size()));
  }
  return texts;
}

}  // namespace graft
