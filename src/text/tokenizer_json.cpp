#include <algorithm>
#include <charconv>
#include <cmath>

#include "base/error.h"
#include "text/loaders.h"
#include "text/unigram.h"

namespace graft::text {
namespace {

constexpr int kMaxProcessors = 16;

// A score as the reference's JSON reader gets it: digits as one integer, rounded, then one division, which is an ulp
// off for some scores of 17 digits. Where two segmentations nearly tie, that ulp decides.
double score_as_read(double score) {
  char text[40];
  const auto end = std::to_chars(text, text + sizeof text, std::fabs(score), std::chars_format::scientific).ptr;
  std::uint64_t digits = 0;
  int decimals = -1;  // digits behind the point; -1 before it
  const char* at = text;
  for (; at < end && *at != 'e'; ++at) {
    if (*at == '.') {
      decimals = 0;
    } else {
      digits = digits * 10 + static_cast<std::uint64_t>(*at - '0');
      decimals += decimals >= 0;
    }
  }
  int exponent = 0;
  if (at < end) std::from_chars(at + (at[1] == '+' ? 2 : 1), end, exponent);
  exponent -= std::max(decimals, 0);
  constexpr int kLargestExact = 22;  // powers of ten up to this one are doubles
  if (!std::isfinite(score) || exponent > 0 || exponent < -kLargestExact) return score;
  double power = 1;
  for (int count = 0; count < -exponent; ++count) power *= 10;
  return std::copysign(static_cast<double>(digits) / power, score);
}

void read_vocabulary(PipelineSpec& spec, const Json& model, const std::string& context) {
  const Json& vocabulary = object_field(model, "vocab", context);
  for (const auto& [token, id] : vocabulary.items()) {
    if (!id.is_number_integer()) fail(Category::Corruption, context, "the id of token '{}' must be an integer", token);
    spec.vocabulary.put(token, id.get<std::int64_t>(), vocabulary.size(), context);
  }
}

std::vector<std::pair<std::string, std::string>> read_merges(const Json& model, const std::string& context) {
  std::vector<std::pair<std::string, std::string>> merges;
  for (const Json& merge : array_field(model, "merges", context)) {
    if (merge.is_string()) {
      merges.push_back(split_merge(merge.get_ref<const std::string&>(), context));
    } else if (merge.is_array() && merge.size() == 2 && merge[0].is_string() && merge[1].is_string()) {
      merges.emplace_back(merge[0].get<std::string>(), merge[1].get<std::string>());
    } else {
      fail(Category::Corruption, context, "merge {} must be \"left right\" or [left, right]", merges.size());
    }
  }
  return merges;
}

void read_bpe(PipelineSpec& spec, const Json& model, const std::string& context) {
  read_vocabulary(spec, model, context);
  const Json* dropout = find_field(model, "dropout", context);
  if (dropout != nullptr && *dropout != 0)
    fail(Category::Unsupported, context, "dropout {} makes the cut random; set it to null", dropout->dump());
  BpeOptions options;
  options.byte_level = spec.pre.byte_level;
  options.byte_fallback = bool_field(model, "byte_fallback", context, false);
  options.fuse_unk = bool_field(model, "fuse_unk", context, false);
  options.ignore_merges = bool_field(model, "ignore_merges", context, false);
  options.continuing_subword_prefix = string_field(model, "continuing_subword_prefix", context, "");
  options.end_of_word_suffix = string_field(model, "end_of_word_suffix", context, "");
  if (find_field(model, "unk_token", context) != nullptr) {
    const std::string unk = string_field(model, "unk_token", context);
    options.unk = spec.vocabulary.find(unk);
    if (!options.unk.has_value()) fail(Category::Corruption, context, "unk_token '{}' is not in the vocabulary", unk);
    spec.unk = options.unk;
  }
  set_bpe(spec, read_merges(model, context), std::move(options), context);
}

void read_unigram(PipelineSpec& spec, const Json& model, const std::string& context) {
  if (spec.pre.byte_level) fail(Category::Unsupported, context, "ByteLevel before a unigram model is not supported");
  const Json& vocabulary = array_field(model, "vocab", context);
  std::vector<double> scores;
  for (const Json& entry : vocabulary) {
    if (!entry.is_array() || entry.size() != 2 || !entry[0].is_string() || !entry[1].is_number()) {
      fail(Category::Corruption, context, "entry {} of vocab must be [token, score]", scores.size());
    }
    spec.vocabulary.put(entry[0].get<std::string>(), static_cast<std::int64_t>(scores.size()), vocabulary.size(),
                        context);
    scores.push_back(score_as_read(entry[1].get<double>()));
    spec.scores.emplace_back(static_cast<float>(scores.back()));
  }
  UnigramOptions options;
  options.byte_fallback = bool_field(model, "byte_fallback", context, false);
  if (find_field(model, "unk_id", context) != nullptr) {
    const std::int64_t unk = integer_field(model, "unk_id", context);
    if (unk < 0 || unk >= static_cast<std::int64_t>(scores.size())) {
      fail(Category::Corruption, context, "unk_id {} is outside the vocabulary of {} tokens", unk, scores.size());
    }
    options.unk = spec.unk = static_cast<TokenId>(unk);
  }
  spec.model = std::make_unique<Unigram>(spec.vocabulary, std::move(scores), std::move(options), context);
  spec.kind = "unigram";
}

void read_added(PipelineSpec& spec, const Json& file, const std::string& context) {
  if (find_field(file, "added_tokens", context) == nullptr) return;
  for (const Json& entry : array_field(file, "added_tokens", context)) {
    AddedToken token;
    token.content = string_field(entry, "content", context);
    if (token.content.empty()) continue;
    // As in the reference, the vocabulary's own id wins over the one written here.
    const std::int64_t id = spec.vocabulary.find(token.content).value_or(-1);
    const std::int64_t written = integer_field(entry, "id", context);
    if (id < 0 && (written < 0 || written > static_cast<std::int64_t>(spec.vocabulary.tokens.size() * 4 + 65536))) {
      fail(Category::Corruption, context, "added token '{}' has id {}, out of range", token.content, written);
    }
    token.id = static_cast<TokenId>(id >= 0 ? id : written);
    read_flags(entry, context, token);
    spec.added.push_back(std::move(token));
  }
}

TokenId id_of_special(const PipelineSpec& spec, const std::string& content, const std::string& context) {
  for (const AddedToken& token : spec.added) {
    if (token.content == content) return token.id;
  }
  const auto id = spec.vocabulary.find(content);
  if (!id.has_value())
    fail(Category::Corruption, context, "'{}' is neither an added token nor in the vocabulary", content);
  return *id;
}

void read_template(PipelineSpec& spec, const Json& component, const std::string& context) {
  std::vector<TokenId> around[2];
  int sequences = 0;
  for (const Json& part : array_field(component, "single", context)) {
    if (find_field(part, "Sequence", context) != nullptr) {
      ++sequences;
      continue;
    }
    const std::string name = string_field(object_field(part, "SpecialToken", context), "id", context);
    const Json& token = object_field(object_field(component, "special_tokens", context), name.c_str(), context);
    for (const Json& id : array_field(token, "ids", context)) {
      if (!id.is_number_integer()) fail(Category::Corruption, context, "the ids of '{}' must be integers", name);
      const auto value = id.get<std::int64_t>();
      if (value < 0 || value > static_cast<std::int64_t>(spec.vocabulary.tokens.size() + spec.added.size() + 65536)) {
        fail(Category::Corruption, context, "the id {} of '{}' is out of range", value, name);
      }
      around[sequences == 0 ? 0 : 1].push_back(static_cast<TokenId>(value));
    }
  }
  if (sequences != 1)
    fail(Category::Unsupported, context, "a template with {} sequences instead of one is not supported", sequences);
  spec.prefix.insert(spec.prefix.begin(), around[0].begin(), around[0].end());
  spec.suffix.insert(spec.suffix.end(), around[1].begin(), around[1].end());
}

void read_post_processor(PipelineSpec& spec, const Json& component, const std::string& context, int depth = 0) {
  const std::string type = type_of(component, context);
  if (type == "ByteLevel") return;  // it moves offsets only
  if (type == "TemplateProcessing") return read_template(spec, component, context);
  if (type == "RobertaProcessing" || type == "BertProcessing") {
    const auto id_of = [&](const char* key) {
      const Json& pair = array_field(component, key, context);
      if (pair.empty() || !pair[0].is_string())
        fail(Category::Corruption, context, "field '{}' must be [token, id]", key);
      return id_of_special(spec, pair[0].get<std::string>(), context);
    };
    spec.prefix.insert(spec.prefix.begin(), id_of("cls"));
    spec.suffix.push_back(id_of("sep"));
    return;
  }
  if (type == "Sequence") {
    if (depth >= kMaxProcessors)
      fail(Category::Corruption, context, "sequences are nested more than {} deep", kMaxProcessors);
    for (const Json& step : array_field(component, "processors", context))
      read_post_processor(spec, step, context, depth + 1);
    return;
  }
  fail(Category::Unsupported, context,
       "the post-processor '{}' is not supported (known: TemplateProcessing ByteLevel BertProcessing RobertaProcessing "
       "Sequence)",
       type);
}

}  // namespace

void read_flags(const Json& entry, const std::string& context, AddedToken& token) {
  token.special = bool_field(entry, "special", context, false);
  token.single_word = bool_field(entry, "single_word", context, false);
  token.lstrip = bool_field(entry, "lstrip", context, false);
  token.rstrip = bool_field(entry, "rstrip", context, false);
  token.normalized = bool_field(entry, "normalized", context, !token.special);
}

PipelineSpec spec_of_tokenizer_json(const Json& file, const std::string& context) {
  PipelineSpec spec;
  if (const Json* component = find_field(file, "normalizer", context))
    spec.normalizer = make_normalizer(*component, context + ": normalizer");
  if (const Json* component = find_field(file, "pre_tokenizer", context)) {
    spec.pre = make_pre_tokenization(*component, context + ": pre_tokenizer");
  }
  if (const Json* component = find_field(file, "decoder", context))
    spec.decoder = make_decoder(*component, context + ": decoder");
  const Json& model = object_field(file, "model", context);
  const std::string where = context + ": model";
  // Old files leave the type out; a unigram model has scores.
  const std::string type =
      string_field(model, "type", where, find_field(model, "merges", where) != nullptr ? "BPE" : "Unigram");
  if (type == "BPE") {
    read_bpe(spec, model, where);
  } else if (type == "Unigram") {
    read_unigram(spec, model, where);
  } else {
    fail(Category::Unsupported, where, "the model type '{}' is not supported (known: BPE, Unigram)", type);
  }
  read_added(spec, file, context + ": added_tokens");
  if (const Json* component = find_field(file, "post_processor", context)) {
    read_post_processor(spec, *component, context + ": post_processor");
  }
  for (const std::vector<TokenId>* ids : {&spec.prefix, &spec.suffix}) {
    for (const TokenId id : *ids) {
      const bool added = std::ranges::any_of(spec.added, [&](const AddedToken& token) { return token.id == id; });
      if (!added && static_cast<std::size_t>(id) >= spec.vocabulary.tokens.size()) {
        fail(Category::Corruption, context + ": post_processor", "id {} is outside the vocabulary", id);
      }
    }
  }
  return spec;
}

}  // namespace graft::text
