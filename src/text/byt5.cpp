// ByT5's tokenizer (Xue et al. 2022): three special tokens, the 256 bytes, and sentinels behind them. It has no file of
// its own.
#include "base/error.h"
#include "text/loaders.h"
#include "text/unicode.h"

namespace graft::text {
namespace {

constexpr TokenId kPad = 0, kEnd = 1, kUnknown = 2, kFirstByte = 3, kFirstSentinel = kFirstByte + 256;
constexpr std::int64_t kSentinels = 125, kMostSentinels = 10000;

class Bytes : public Model {
 public:
  void encode(std::string_view piece, std::vector<TokenId>& out, ModelScratch&) const override {
    for (const char byte : piece) out.push_back(kFirstByte + static_cast<unsigned char>(byte));
  }
};

// The vocabulary writes a byte as the character of that number; all other tokens are longer.
class BytesDecoder : public Decoder {
 public:
  void apply(std::vector<std::string>& tokens) const override {
    std::string bytes;
    for (const std::string& token : tokens) {
      std::size_t end = 0;
      const char32_t point = next_code_point(token, end);
      if (end == token.size() && point < 256) {
        bytes.push_back(static_cast<char>(point));
      } else {
        bytes += token;
      }
    }
    tokens.assign(1, without_invalid_utf8(bytes));
  }
};

// A file lists the sentinels, under the name of its time, or only counts them.
std::vector<std::string> sentinels(const Json& config, const std::string& context) {
  std::vector<std::string> names;
  for (const char* key : {"extra_special_tokens", "additional_special_tokens"}) {
    if (!names.empty() || find_field(config, key, context) == nullptr) continue;
    for (const Json& entry : array_field(config, key, context)) {
      if (!entry.is_string()) fail(Category::Corruption, context, "{} holds something that is no token", key);
      names.push_back(entry.get<std::string>());
    }
  }
  if (!names.empty()) return names;
  const bool counted = find_field(config, "extra_ids", context) != nullptr;
  const std::int64_t count = counted ? integer_field(config, "extra_ids", context) : kSentinels;
  if (count < 0 || count > kMostSentinels) fail(Category::Corruption, context, "extra_ids is {}", count);
  for (std::int64_t i = 0; i < count; ++i) names.push_back(fmt::format("<extra_id_{}>", i));
  return names;
}

}  // namespace

PipelineSpec spec_of_byt5(const Json& config, const std::string& context) {
  PipelineSpec spec;
  spec.kind = "bytes";
  spec.model = std::make_unique<Bytes>();
  spec.decoder = std::make_unique<BytesDecoder>();
  const auto names = sentinels(config, context);
  const std::size_t expected = static_cast<std::size_t>(kFirstSentinel) + names.size();
  for (TokenId byte = 0; byte < 256; ++byte) {
    std::string token;
    append_utf8(token, static_cast<char32_t>(byte));
    spec.vocabulary.put(std::move(token), kFirstByte + byte, expected, context);
  }
  const auto add = [&](TokenId id, const std::string& content, bool strips) {
    spec.added.push_back({.id = id, .content = content, .special = true, .lstrip = strips, .rstrip = strips});
  };
  add(kPad, "<pad>", true);
  add(kEnd, "</s>", true);
  add(kUnknown, "<unk>", true);
  for (std::size_t i = 0; i < names.size(); ++i) add(kFirstSentinel + static_cast<TokenId>(i), names[i], false);
  spec.suffix = {kEnd};
  spec.pad = kPad;
  spec.eos = kEnd;
  spec.unk = kUnknown;
  return spec;
}

}  // namespace graft::text
