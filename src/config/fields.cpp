#include "config/fields.h"

#include <map>

#include "base/error.h"

namespace graft {
namespace {

// Sizes of real models are far below; a larger one would only overflow products later.
constexpr std::int64_t kLargestSize = std::int64_t{1} << 31;

// What a loop or a table goes by before a tensor's shape is there to hold it to: far beyond any model too, but small
// enough for both, and for all of them together to count a model's bytes in 63 bits.
std::int64_t largest_size(const std::string& key) {
  constexpr std::int64_t kLayers = 1 << 12, kHeads = 1 << 12, kHeadSize = 1 << 13, kWidth = 1 << 20, kTokens = 1 << 24;
  static const std::map<std::string, std::int64_t> kLargest = {{"num_hidden_layers", kLayers},
                                                               {"n_layer", kLayers},
                                                               {"num_layers", kLayers},
                                                               {"num_decoder_layers", kLayers},
                                                               {"encoder_layers", kLayers},
                                                               {"decoder_layers", kLayers},
                                                               {"block_count", kLayers},
                                                               {"decoder_block_count", kLayers},
                                                               {"num_attention_heads", kHeads},
                                                               {"num_key_value_heads", kHeads},
                                                               {"n_head", kHeads},
                                                               {"num_heads", kHeads},
                                                               {"encoder_attention_heads", kHeads},
                                                               {"decoder_attention_heads", kHeads},
                                                               {"head_count", kHeads},
                                                               {"head_count_kv", kHeads},
                                                               {"head_dim", kHeadSize},
                                                               {"d_kv", kHeadSize},
                                                               {"key_length", kHeadSize},
                                                               {"hidden_size", kWidth},
                                                               {"n_embd", kWidth},
                                                               {"d_model", kWidth},
                                                               {"embedding_length", kWidth},
                                                               {"intermediate_size", kWidth},
                                                               {"n_inner", kWidth},
                                                               {"d_ff", kWidth},
                                                               {"encoder_ffn_dim", kWidth},
                                                               {"decoder_ffn_dim", kWidth},
                                                               {"feed_forward_length", kWidth},
                                                               {"relative_attention_num_buckets", kWidth},
                                                               {"relative_buckets_count", kWidth},
                                                               {"vocab_size", kTokens}};
  const auto found = kLargest.find(key.substr(key.rfind('.') + 1));  // GGUF's keys have the architecture in front
  return found == kLargest.end() ? kLargestSize : found->second;
}

std::string size_range(const std::string& key) {
  const std::int64_t largest = largest_size(key);
  return largest == kLargestSize ? "a whole number from 1 to 2^31"
                                 : fmt::format("a whole number from 1 to {}", largest);
}

}  // namespace

const nlohmann::json* Fields::get(const std::string& key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool Fields::has(const std::string& key) const {
  return get(key) != nullptr;
}

void Fields::refuse(const std::string& key, const std::string& expected) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr)
    fail(Category::InvalidArgument, where_, "field '{}' is missing ({} was expected)", key, expected);
  fail(Category::InvalidArgument, where_, "field '{}' is {}; {} was expected", key,
       value->dump(-1, ' ', true, nlohmann::json::error_handler_t::replace).substr(0, 80), expected);
}

std::int64_t Fields::size(const std::vector<std::string>& keys, std::optional<std::int64_t> fallback) const {
  for (const std::string& key : keys) {
    const nlohmann::json* value = get(key);
    if (value == nullptr) continue;
    const bool whole =
        value->is_number_integer() &&
        (!value->is_number_unsigned() || value->get<std::uint64_t>() <= static_cast<std::uint64_t>(kLargestSize));
    if (!whole || value->get<std::int64_t>() < 1 || value->get<std::int64_t>() > largest_size(key))
      refuse(key, size_range(key));
    return value->get<std::int64_t>();
  }
  if (!fallback) refuse(keys.front(), size_range(keys.front()));
  return *fallback;
}

double Fields::number(const std::string& key, std::optional<double> fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr && fallback) return *fallback;
  if (value == nullptr || !value->is_number()) refuse(key, "a number");
  return value->get<double>();
}

bool Fields::flag(const std::string& key, bool fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) refuse(key, "true or false");
  return value->get<bool>();
}

std::string Fields::text(const std::string& key, const std::string& fallback) const {
  const nlohmann::json* value = get(key);
  if (value == nullptr) return fallback;
  if (!value->is_string()) refuse(key, "a string");
  return value->get<std::string>();
}

std::optional<std::int64_t> Fields::id(const std::string& key) const {
  const std::vector<std::int64_t> all = ids(key);
  return all.empty() ? std::nullopt : std::optional(all.front());
}

std::vector<std::int64_t> Fields::ids(const std::string& key) const {
  const nlohmann::json* value = get(key);
  std::vector<std::int64_t> all;
  if (value == nullptr) return all;
  for (const nlohmann::json& item : value->is_array() ? *value : nlohmann::json::array({*value})) {
    if (!item.is_number_integer() || item.get<std::int64_t>() > kLargestSize)
      refuse(key, "a token id or a list of them");
    // Some configurations write -1 for "none".
    if (item.get<std::int64_t>() >= 0) all.push_back(item.get<std::int64_t>());
  }
  return all;
}

}  // namespace graft
