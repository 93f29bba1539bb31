#include "config/gguf_families.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "base/error.h"
#include "base/suggest.h"
#include "config/families.h"
#include "config/gguf_keys.h"

namespace graft {
namespace {

std::vector<float> read_divisors(const TensorSource& gguf, const TensorInfo& info, std::int64_t pairs,
                                 const std::string& where) {
  if (info.elements() != pairs)
    fail(Category::Corruption, where, "{} has {} values, {} were expected", info.name, info.elements(), pairs);
  std::vector<float> divisors(static_cast<std::size_t>(pairs));
  to_float(info.dtype, gguf.bytes(info), divisors);
  return divisors;
}

// The factors are tensors, and what else there is to know stands under the keys of other scalings.
bool read_longrope_tensors(const TensorSource& gguf, const std::string& where, RopeConfig& rope) {
  const TensorInfo *near = gguf.find(kShortRopeFactors), *far = gguf.find(kLongRopeFactors);
  if (near == nullptr && far == nullptr) return false;
  if (near == nullptr || far == nullptr)
    fail(Category::Corruption, where, "holds {} and not its counterpart for {} texts; fetch it again",
         (near == nullptr ? far : near)->name, near == nullptr ? "short" : "long");
  rope.scaling = RopeScaling::LongRope;
  rope.factors = read_divisors(gguf, *near, rope.dimensions / 2, where);
  rope.long_factors = read_divisors(gguf, *far, rope.dimensions / 2, where);
  return true;
}

class GgufReading : public GgufExchange {
 public:
  GgufReading(const GgufKeys& keys, const TensorSource& gguf, const std::string& where)
      : keys_(keys), gguf_(gguf), where_(where) {}

  void count(const char* key, std::int64_t& value, std::optional<std::int64_t> usual) override {
    value = keys_.size(key, usual);
  }
  void number(const char* key, double& value, std::optional<double> usual) override {
    value = keys_.number(key, usual);
  }
  void epsilon(const char* key, double& value) override { value = keys_.norm_eps(key); }
  void unusual_count(const char* key, std::int64_t& value, std::int64_t usual) override {
    value = keys_.size(key, usual);
  }
  void unusual_number(const char* key, double& value, double usual) override { value = keys_.number(key, usual); }
  void equal_count(const char* key, std::int64_t value) override {
    const std::int64_t other = keys_.size(key, value);
    if (other != value) fail(Category::Unsupported, where_, "{} is {}, where graft needs {}", key, other, value);
  }
  void count_or_none(const char* key, std::optional<std::int64_t>& value, bool) override {
    value.reset();
    if (keys_.number(key, 0) != 0) value = keys_.size(key);
  }
  void id(const char* key, std::optional<std::int64_t>& value) override {
    if (keys_.has(key)) value = keys_.id(key);
  }
  void scaling(const char* key, RopeScaling& value) override {
    const std::string kind = keys_.text(key);
    if (kind != "none" && kind != "linear" && kind != "yarn")
      fail(Category::Unsupported, where_, "{} '{}'{}", key, kind, did_you_mean(kind, {"none", "linear", "yarn"}));
    if (kind == "none" || value != RopeScaling::None) return;
    value = kind == "linear" ? RopeScaling::Linear : RopeScaling::Yarn;
  }
  void rotation_tensors(ModelConfig& config) override {
    RopeConfig& rope = config.rope;
    const bool in_part = config.fused_maps && rope.dimensions < config.head_dim && rope.dimensions % 2 == 0;
    if (rope.dimensions != config.head_dim && !in_part) {
      fail(Category::Unsupported, where_, "rope.dimension_count: rotation of {} of {} dimensions", rope.dimensions,
           config.head_dim);
    }
    if (read_longrope_tensors(gguf_, where_, rope)) return;
    // Llama 3's scaling reaches GGUF as one divisor per frequency.
    if (const TensorInfo* factors = gguf_.find(kRopeFactors)) {
      rope.scaling = RopeScaling::Factors;
      rope.factors = read_divisors(gguf_, *factors, rope.dimensions / 2, where_);
    }
  }

 private:
  const GgufKeys& keys_;
  const TensorSource& gguf_;
  const std::string& where_;
};

// Files keep no word of ties. A head that is the embeddings over again, if in a type of its own, is tied to them.
bool repeats_embeddings(const TensorSource& gguf) {
  constexpr std::int64_t kMostRows = 64;
  constexpr double kMostOff = 0.3;  // of their size: what the coarsest blocks round away
  const TensorInfo *head = gguf.find("output.weight"), *embedding = gguf.find("token_embd.weight");
  if (head == nullptr) return true;
  if (embedding == nullptr || head->shape != embedding->shape || head->shape.size() != 2) return false;
  if (head->elements() == 0) return false;
  const auto all = static_cast<std::size_t>(head->shape[0]),
             rows = static_cast<std::size_t>(std::min(head->shape[0], kMostRows));
  const auto values_of = [&](const TensorInfo& info) {
    std::vector<float> values(rows * static_cast<std::size_t>(info.shape[1]));
    to_float(info.dtype, gguf.bytes(info).first(gguf.bytes(info).size() / all * rows), values);
    return values;
  };
  const std::vector<float> theirs = values_of(*embedding), own = values_of(*head);
  double off = 0, size = 0;
  for (std::size_t i = 0; i < own.size(); ++i) {
    off += std::pow(static_cast<double>(own[i]) - theirs[i], 2);
    size += std::pow(static_cast<double>(theirs[i]), 2);
  }
  return off <= kMostOff * kMostOff * size;
}

// What its tensors say before the keys are read.
void look_at_t5(const TensorSource& gguf, ModelConfig& config) {
  config.kv_heads = config.heads;
  config.gated = gguf.find("enc.blk.0.ffn_gate.weight") != nullptr;
  config.tie_embeddings = repeats_embeddings(gguf);
}

// The same of the families of src/arch/llama.cpp.
void look_at_decoder(const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  config.attention_bias = gguf.find("blk.0.attn_q.bias") != nullptr;
  config.attention_output_bias = gguf.find("blk.0.attn_output.bias") != nullptr;
  config.mlp_bias = gguf.find("blk.0.ffn_down.bias") != nullptr;
  // Only files of the llama architecture (Mistral among them) are permuted; others keep Hugging Face's order.
  config.rope_interleaved = config.model_type == "llama";
  if (gguf.find("blk.0.ffn_gate_inp.weight") != nullptr)
    fail(Category::Unsupported, where, "is a mixture of experts, which graft does not run");
}

void finish_t5(const GgufKeys& keys, ModelConfig& config) {
  const std::int64_t buckets = config.relative_attention_num_buckets;
  if (buckets < families::kFewestRelativeBuckets ||
      !families::beyond_single_distances(config.relative_attention_max_distance, buckets))
    keys.refuse("attention.relative_buckets_count", "a whole number from 4 to 255");
  config.max_positions = 0;  // that of the files is llama.cpp's, T5 has none
  if (!config.pad) config.pad = 0;
  if (config.eos.empty()) config.eos = {1};
  if (!config.decoder_start) config.decoder_start = config.pad;
}

}  // namespace

double GgufKeys::number(const char* key, std::optional<double> fallback) const {
  if (!has(key)) return fields_.number(prefix_ + key, fallback);
  const auto single = static_cast<float>(fields_.number(prefix_ + key));
  return std::isfinite(single) ? std::stod(fmt::format("{}", single)) : single;
}

double GgufKeys::norm_eps(const char* key) const {
  const double eps = number(key);
  if (!(eps >= 0 && eps < 1)) refuse(key, "a number from 0 to below 1");
  return eps;
}

void read_gguf_sizes(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  GgufReading reading(keys, gguf, where);
  exchange_gguf_sizes(reading, config);
}

void read_gguf_family(const GgufKeys& keys, const TensorSource& gguf, const std::string& where, ModelConfig& config) {
  const std::string architecture = config.model_type;
  const bool t5 = architecture == "t5";
  if (t5) look_at_t5(gguf, config);
  if (architecture == "gpt2") config.kv_heads = config.heads;
  if (!t5 && architecture != "gpt2") look_at_decoder(gguf, where, config);
  assume_gguf_family(architecture, config);
  GgufReading reading(keys, gguf, where);
  exchange_gguf_family(reading, architecture, config);
  if (t5) finish_t5(keys, config);
  if (architecture == "gemma3") config.model_type = "gemma3_text";
  if (architecture == "olmo2" && (config.sliding_window || keys.has("attention.sliding_window_pattern")))
    fail(Category::Unsupported, where, "is an OLMo 3 (it has a sliding window), which graft does not run; take OLMo 2");
}

}  // namespace graft
