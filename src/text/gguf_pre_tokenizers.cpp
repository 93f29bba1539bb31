// What llama.cpp calls the pre-tokenizers of byte-level BPEs, and what each does in the words of tokenizer.json.
#include <algorithm>

#include "base/error.h"
#include "base/suggest.h"
#include "text/loaders.h"

namespace graft::text {
namespace {

// Each as the tokenizer.json of its models writes it.
constexpr const char* kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kQwen35 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kGpt4o =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kTekken =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr const char* kSeedCoder =
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1}| "
    "?[^\\s\\p{L}\\p{N}\r\n]+|\\s*[\r\n]+|\\s+(?!\\S)|"
    "\\s+";

// DeepSeek's steps: letters that have cases, marks, Asian scripts. Characters by number, because some look like others
// that an editor may turn them into.
constexpr const char* kLineEnd = "[\r\n]";
constexpr const char* kCasedLetters =
    "\\s?[A-Za-z\u00B5\u00C0-\u00D6\u00D8-\u00F6\u00F8-\u01BA\u01BC-\u01BF\u01C4-\u0293\u0295-\u02AF\u0370-\u0373"
    "\u0376\u0377\u037B-\u037D\u037F\u0386\u0388-\u038A\u038C\u038E-\u03A1\u03A3-\u03F5\u03F7-\u0481\u048A-\u052F"
    "\u0531-\u0556\u10A0-\u10C5\u13A0-\u13F5\u13F8-\u13FD\u1C90-\u1CBA\u1CBD-\u1CBF\u1D00-\u1D2B\u1D6B-\u1D77\u1D79"
    "-\u1D9A\u1E00-\u1F15\u1F18-\u1F1D\u1F20-\u1F45\u1F48-\u1F4D\u1F50-\u1F57\u1F59\u1F5B\u1F5D\u1F5F-\u1F7D\u1F80-"
    "\u1FB4\u1FB6-\u1FBC\u1FBE\u1FC2-\u1FC4\u1FC6-\u1FCC\u1FD0-\u1FD3\u1FD6-\u1FDB\u1FE0-\u1FEC\u1FF2-\u1FF4\u1FF6-"
    "\u1FFC\u2102\u2107\u210A-\u2113\u2115\u2119-\u211D\u2124\u2126\u2128\u212A-\u212D\u212F-\u2134\u2139\u213C-"
    "\u213F\u2145-\u2149\u214E\u2183\u2184\u2C00-\u2C7B\u2C7E-\u2CE4\u2CEB-\u2CEE\u2CF2\u2CF3\uA640-\uA66D\uA680-"
    "\uA69B\uA722-\uA76F\uA771-\uA787\uA78B-\uA78E\uAB70-\uABBF\uFB00-\uFB06\uFB13-\uFB17\uFF21-\uFF3A\uFF41-\uFF5A"
    "\U00010400-\U0001044F\U000104B0-\U000104D3\U000104D8-\U000104FB\U00010C80-\U00010CB2\U00010CC0-\U00010CF2"
    "\U000118A0-\U000118DF\U0001E900-\U0001E943]+";
constexpr const char* kMarks = "\\s?[!-/:-~\uFF01-\uFF0F\uFF1A-\uFF5E\u2018-\u201F\u3000-\u3002]+";
constexpr const char* kSpacesAtTheEnd = "\\s+$";
constexpr const char* kAsian = "[\u4E00-\u9FA5\u0800-\u4E00\uAC00-\uD7FF]+";
constexpr const char* kHanAndKana = "[\u4E00-\u9FA5\u3040-\u309F\u30A0-\u30FF]+";
constexpr const char* kDeepSeek3 =
    "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+"
    "| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+";

Json byte_level(bool use_regex) {
  return {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"trim_offsets", false}, {"use_regex", use_regex}};
}

Json single_digits() {
  return {{"type", "Digits"}, {"individual_digits", true}};
}

// Cut by each pattern after the other.
Json splits(const std::vector<std::string>& patterns) {
  Json steps = Json::array();
  for (const std::string& pattern : patterns) {
    const Json split = {
        {"type", "Split"}, {"pattern", {{"Regex", pattern}}}, {"behavior", "Isolated"}, {"invert", false}};
    steps.push_back(split);
  }
  return steps;
}

// `steps` and then `last`, which turns to bytes.
Json sequence(Json steps, const Json& last = byte_level(false)) {
  steps.push_back(last);
  Json made = {{"type", "Sequence"}};
  made["pretokenizers"] = std::move(steps);
  return made;
}

Json deepseek(const std::vector<std::string>& patterns) {
  Json steps = splits(patterns);
  steps.push_back(single_digits());
  return sequence(std::move(steps));
}

// As llama.cpp does it. Falcon's own tokenizer.json cuts digits off once more, where its vocabulary has no merges.
Json falcon() {
  const Json punctuation = {{"type", "Punctuation"}, {"behavior", "Contiguous"}};
  Json steps = Json::array();
  steps.push_back(punctuation);
  for (const Json& step : splits({std::string(kGpt2Pattern), "[0-9][0-9][0-9]"})) steps.push_back(step);
  return sequence(std::move(steps));
}

struct NamedPreTokenizer {
  std::vector<std::string> names;  // the first is what a file of it is written with
  Json component;
  bool whole = false;   // a piece that is a token is taken whole, whatever the merges say
  bool written = true;  // llama.cpp reads it as it is read here
};

std::vector<NamedPreTokenizer> all_pre_tokenizers() {
  return {
      {{"gpt-2", "gpt2", "default", "phi-2", "jina-es", "jina-de", "jina-v2-es", "jina-v2-de", "mpt", "olmo", "jais",
        "exaone4", "trillion", "granite-docling", "gigachat", "a.x-4.0", "mellum", "modern-bert"},
       byte_level(true)},
      {{"smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"},
       sequence(Json::array({single_digits()}), byte_level(true))},
      {{"llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "midm-2.0", "lfm2", "jina-v5-nano"},
       sequence(splits({kLlama3})),
       true},
      {{"dbrx", "smaug-bpe"}, sequence(splits({kLlama3}))},
      {{"qwen2", "deepseek-r1-qwen", "megrez", "stablelm2", "kormo", "f2llmv2", "hunyuan", "solar-open", "grok-2"},
       sequence(splits({kQwen2}))},
      {{"qwen35"}, sequence(splits({kQwen35}))},
      {{"gpt-4o", "kanana2", "talkie", "minimax-m2"}, sequence(splits({kGpt4o}))},
      // Llama 4's tokenizer.json takes tokens whole; llama.cpp merges.
      {{"llama4"}, sequence(splits({kGpt4o})), true, false},
      {{"tekken"}, sequence(splits({kTekken})), true},
      {{"seed-coder"}, sequence(splits({kSeedCoder}))},
      {{"deepseek-llm"}, deepseek({kLineEnd, kCasedLetters, kMarks, kSpacesAtTheEnd, kAsian})},
      {{"deepseek-coder"}, deepseek({kLineEnd, "\\s?\\p{L}+", "\\s?\\p{P}+", kAsian})},
      {{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"},
       sequence(splits({"\\p{N}{1,3}", kHanAndKana, kDeepSeek3}))},
      {{"falcon"}, falcon()},
  };
}

const std::vector<NamedPreTokenizer>& named_pre_tokenizers() {
  static const std::vector<NamedPreTokenizer> all = all_pre_tokenizers();
  return all;
}

const NamedPreTokenizer* find_pre_tokenizer(const std::string& name) {
  for (const NamedPreTokenizer& one : named_pre_tokenizers()) {
    if (std::ranges::find(one.names, name) != one.names.end()) return &one;
  }
  return nullptr;
}

}  // namespace

Json gguf_pre_tokenizer(const std::string& name, const std::string& context) {
  if (const NamedPreTokenizer* found = find_pre_tokenizer(name)) return found->component;
  std::vector<std::string> known;
  for (const NamedPreTokenizer& one : named_pre_tokenizers())
    known.insert(known.end(), one.names.begin(), one.names.end());
  if (nearest(name, known).empty()) known = gguf_pre_tokenizer_names();  // not all sixty of them
  fail(Category::Unsupported, context,
       "the pre-tokenizer '{}' is not known{}; convert the model with its tokenizer.json beside it", name,
       did_you_mean(name, known));
}

bool gguf_ignores_merges(const std::string& name) {
  const NamedPreTokenizer* found = find_pre_tokenizer(name);
  return found != nullptr && found->whole;
}

std::vector<std::string> gguf_pre_tokenizer_names() {
  std::vector<std::string> names;
  for (const NamedPreTokenizer& one : named_pre_tokenizers()) {
    if (one.written) names.push_back(one.names.front());
  }
  return names;
}

}  // namespace graft::text
